//! The end of a task: its row, and the job's with it, then what is told of it, counted and logged.
//!
//! Knows nothing of how results are made and stored. Invariant: nothing is told of an end before it is recorded.

use std::time::{Duration, Instant};

use image_pipeline::Operation;
use tracing::{debug, info, warn};

use crate::{
    catalog::{CatalogError, ClaimedJob, JobDone, JobTiming, StoredVariant, TaskDone, TaskFinished, TaskTiming},
    copies::{Copied, Copies},
    domain::{TaskCode, TaskFailure},
    follow::{self, OfJob, What},
    telemetry::{TaskSample, error_chain},
};

use super::Inner;

/// Where a job stands while its tasks end one by one.
pub(super) struct Progress {
    pub(super) started: Instant,
    pub(super) queue: Duration,
    pub(super) read: Duration,
    /// Tasks by index whose end is recorded.
    pub(super) ended: Vec<bool>,
    pub(super) samples: Vec<EndedTask>,
    /// The last task, stored: its end is recorded with the job's.
    pub(super) last: Option<Stored>,
    /// The job cannot go on now; try again later.
    pub(super) passing: Option<TaskFailure>,
    pub(super) lease_lost: bool,
}

impl Progress {
    /// Nothing has ended yet.
    pub(super) fn of(job: &ClaimedJob, started: Instant, queue: Duration) -> Self {
        Self {
            started,
            queue,
            read: Duration::ZERO,
            ended: vec![false; job.tasks.len()],
            samples: Vec::new(),
            last: None,
            passing: None,
            lease_lost: false,
        }
    }

    /// Whether every other task has ended.
    pub(super) fn is_last(&self, index: usize) -> bool {
        self.ended.iter().enumerate().all(|(other, ended)| *ended != (other == index))
    }
}

/// A task whose end is to be recorded; its bytes are durable.
pub(super) struct Stored {
    pub(super) index: usize,
    pub(super) result: Result<StoredVariant, TaskFailure>,
    pub(super) timing: TaskTiming,
    pub(super) format: &'static str,
}

/// What a task's log line needs beside the job's numbers.
pub(super) struct EndedTask {
    pub(super) index: usize,
    pub(super) outcome: &'static str,
    pub(super) detail: String,
    pub(super) format: &'static str,
    pub(super) bytes: u64,
    pub(super) timing: TaskTiming,
    pub(super) total: Duration,
}

/// What is to be told of a task's end once it is recorded.
pub(super) struct Ending {
    index: usize,
    what: What,
    own: Option<Copied>,
    worked: Option<(JobTiming, u64)>,
    outcome: &'static str,
    detail: String,
    format: &'static str,
    bytes: u64,
    timing: TaskTiming,
    total: Duration,
}

/// A task's end as it is to be recorded, with the job's if that is known, and as it is to be told then. The time is taken here, before anything is
/// committed: where the job ends with the task, both took as long.
pub(super) fn ending(inner: &Inner, job: &ClaimedJob, started: Instant, stored: Stored, job_done: Option<JobDone>) -> (TaskDone, Ending) {
    let total = job_done.as_ref().map_or_else(|| started.elapsed(), |done| done.timing.total);
    let Stored { index, result, timing, format } = stored;
    let own = result.as_ref().ok().map(|stored| Copied { blob: stored.blob, sha256: stored.sha256, bytes: stored.bytes });
    let (outcome, detail) = match &result {
        Ok(_) => ("completed", String::new()),
        Err(reason) => (reason.code.as_str(), reason.detail.clone()),
    };
    let (what, bytes) = (told(job, index, &result, timing), own.as_ref().map_or(0, |own| own.bytes));
    let worked = job_done.as_ref().map(|job| (job.timing, job.peak_bytes));
    let done = TaskDone { task: job.tasks[index].id, at: inner.parts.clock.now(), outcome: result, timing, job: job_done };
    (done, Ending { index, what, own, worked, outcome, detail, format, bytes, timing, total })
}

/// Records one task's end, whose bytes are durable, and the job's with it if that is known; true if it was recorded.
pub(super) async fn record(inner: &Inner, job: &ClaimedJob, progress: &mut Progress, stored: Stored, job_done: Option<JobDone>) -> bool {
    let (done, ending) = ending(inner, job, progress.started, stored, job_done);
    let finished = inner.parts.catalog.finish_task(job.lease, done).await;
    recorded(inner, job, progress, ending, finished).await
}

/// Goes on from what the catalog said; true if the end was recorded, and then it is told.
pub(super) async fn recorded(
    inner: &Inner,
    job: &ClaimedJob,
    progress: &mut Progress,
    ending: Ending,
    finished: Result<TaskFinished, CatalogError>,
) -> bool {
    let Ending { index, what, own, worked, outcome, detail, format, bytes, timing, total } = ending;
    match finished {
        Ok(finished) => {
            progress.ended[index] = true;
            if let Some(own) = own.filter(|own| finished.surplus == Some(own.blob)) {
                copies(inner).settle(&own, finished.kept).await;
            }
            if let Some(dead) = finished.dead {
                copies(inner).forget(dead).await;
            }
            inner.tell(job.upload, what);
            if let Some(ended) = finished.job {
                let (timing, peak_bytes) = worked.unwrap_or_default();
                inner.tell_worked(job, ended, &timing, peak_bytes);
            }
            progress.samples.push(EndedTask { index, outcome, detail, format, bytes, timing, total });
            true
        }
        Err(CatalogError::LeaseLost) => {
            debug!(job.id = %job.lease.job, "lease lost, dropping a late result");
            progress.lease_lost = true;
            if let Some(own) = own {
                copies(inner).remove(own.blob).await;
            }
            false
        }
        Err(error) => {
            warn!(job.id = %job.lease.job, error = %error_chain(&error), "could not record a task's end");
            progress.passing = Some(TaskFailure { code: TaskCode::Storage, detail: "recording the result failed".into() });
            // The row may be there all the same.
            inner.parts.doubts.add(own.map(|own| own.blob));
            false
        }
    }
}

fn copies(inner: &Inner) -> Copies<'_> {
    Copies { store: &*inner.parts.store, catalog: &*inner.parts.catalog, doubts: &inner.parts.doubts }
}

/// A task's end as it is told to who follows it.
fn told(job: &ClaimedJob, index: usize, result: &Result<StoredVariant, TaskFailure>, timing: TaskTiming) -> What {
    let (of, variant) = (OfJob { job: job.lease.job, image: job.image }, job.tasks[index].name.clone());
    match result {
        Ok(stored) => {
            let times = vec![("transform_ms", timing.transform), ("encode_ms", timing.encode), ("store_ms", timing.store)];
            let StoredVariant { bytes, width_px, height_px, ref format, .. } = *stored;
            What::TaskCompleted(of, variant, follow::Stored { bytes, width_px, height_px, format: format.clone() }, times)
        }
        Err(reason) => What::TaskFailed(of, variant, reason.clone()),
    }
}

/// The one line of a task, with the same numbers as its job's JSON and the metrics.
pub(super) fn log_task(inner: &Inner, job: &ClaimedJob, ended: &EndedTask, timing: &JobTiming, peak_bytes: u64) {
    let task = &job.tasks[ended.index];
    let EndedTask { outcome, format, bytes, total, .. } = *ended;
    let TaskTiming { transform, encode, store } = ended.timing;
    let operation = Operation::of_canonical(&task.spec).as_str();
    inner.parts.metrics.task_ended(&TaskSample { outcome, operation, format, transform, encode, store, total });
    info!(
        outcome,
        variant = %task.name,
        operation,
        task.id = %task.id,
        job.id = %job.lease.job,
        image.id = %job.image,
        upload.id = %job.upload,
        request.id = job.origin.map(|origin| tracing::field::display(origin.request)),
        trace.id = job.origin.and_then(|origin| origin.trace).map(tracing::field::display),
        priority = %job.priority,
        attempt = job.attempt,
        queue_ms = ms(timing.queue),
        read_ms = ms(timing.read),
        decode_ms = ms(timing.decode),
        transform_ms = ms(transform),
        encode_ms = ms(encode),
        store_ms = ms(store),
        total_ms = ms(total),
        peak_bytes,
        source_bytes = job.bytes,
        bytes,
        format,
        detail = (!ended.detail.is_empty()).then_some(ended.detail.as_str()),
        "task ended"
    );
}

/// Milliseconds with microsecond precision, as everywhere numbers are shown.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
