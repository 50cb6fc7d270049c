//! One job from its lease to its end: read, one decode, each task stored and committed as it ends, one log line a task.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytes::Bytes;
use image_pipeline::{Context, Encoded, ErrorKind, Limits, RunReport, Spec, VariantOutcome, plan, probe, run};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use crate::{
    catalog::{CatalogError, ClaimedJob, JobDone, JobTiming, Release, StoredVariant, TaskDone, TaskTiming},
    compute::{ComputeError, CorePermit, Stop},
    copies::{Copied, Copies},
    domain::{BlobId, TaskCode, TaskFailure},
    store::StoreError,
    telemetry::{TaskSample, error_chain},
};

use super::{Inner, backoff};

/// Pause between two tries to give a job back to a catalog that cannot be written.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(1);

/// What the pool hands back when a job's core is free again.
struct Worked {
    /// `None`: the original is not what was stored, and was not worked on.
    report: Option<Result<RunReport, image_pipeline::Error>>,
    cpu: Duration,
}

/// Where a job stands while its tasks end one by one.
struct Progress {
    started: Instant,
    queue: Duration,
    read: Duration,
    /// Tasks by index whose end is recorded.
    ended: Vec<bool>,
    samples: Vec<Ended>,
    /// The job cannot go on now; try again later.
    passing: Option<TaskFailure>,
    lease_lost: bool,
}

/// What a task's log line needs beside the job's numbers.
struct Ended {
    index: usize,
    outcome: &'static str,
    detail: String,
    format: &'static str,
    bytes: u64,
    timing: TaskTiming,
    total: Duration,
}

/// Works on a job; true if it went back to the queue.
pub(super) async fn work(inner: &Arc<Inner>, job: ClaimedJob, core: CorePermit, cancel: Arc<AtomicBool>) -> bool {
    let now = inner.parts.clock.now();
    let mut progress = Progress {
        started: Instant::now(),
        queue: now.since(job.queued_at),
        read: Duration::ZERO,
        ended: vec![false; job.tasks.len()],
        samples: Vec::new(),
        passing: None,
        lease_lost: false,
    };
    if job.tasks.is_empty() {
        // Every task had ended, only the job's own end was not recorded before a crash.
        drop(core);
        return conclude(inner, &job, progress, None, &cancel).await;
    }
    let source = inner.parts.store.read(job.blob).await;
    progress.read = progress.started.elapsed();
    let worked = match source {
        Ok(source) => work_on_pool(inner, &job, &mut progress, source, core, Arc::clone(&cancel)).await,
        Err(error) => {
            drop(core);
            // A file that is not there may have been replaced meanwhile, by the same bytes sent again, or may come back with a
            // volume; the last attempt gives up. Should the image be deleted, the lease is lost and nothing is said.
            let detail = match &error {
                StoreError::NotFound(_) => {
                    note_missing(inner, job.blob).await;
                    "the stored original is missing"
                }
                StoreError::Full(_) | StoreError::Io(_) | StoreError::Damaged(..) => {
                    warn!(job.id = %job.lease.job, error = %error_chain(&error), "could not read the original");
                    "reading the stored original failed"
                }
            };
            progress.passing = Some(failure(TaskCode::Storage, detail));
            Ok(None)
        }
    };
    let report = match worked {
        Ok(report) => report,
        Err(reason) => {
            fail_rest(inner, &job, &mut progress, &reason).await;
            None
        }
    };
    conclude(inner, &job, progress, report, &cancel).await
}

/// Runs the pipeline and records tasks while it runs. `Ok(None)`: stopped half-way for a passing reason.
async fn work_on_pool(
    inner: &Arc<Inner>,
    job: &ClaimedJob,
    progress: &mut Progress,
    source: Bytes,
    core: CorePermit,
    cancel: Arc<AtomicBool>,
) -> Result<Option<(RunReport, Duration)>, TaskFailure> {
    let specs = job.tasks.iter().map(|task| Spec::parse(&task.spec, &inner.presets)).collect::<Result<Vec<Spec>, _>>();
    // Canonical text this build wrote parses in this build; another build's may not.
    let specs = specs.map_err(|error| failure(TaskCode::Internal, format!("stored options do not parse: {error}")))?;
    // One result a task at the most, so the channel's length is bounded by the job.
    let (publish, mut outcomes) = mpsc::unbounded_channel();
    let mut limits = inner.options.limits;
    limits.max_memory_bytes = limits.max_memory_bytes.min(job.cost_bytes.saturating_mul(2));
    let sha256 = job.sha256;
    let on_pool = inner.parts.compute.run(core, inner.options.job_deadline, cancel, move |stop| {
        let begun = Instant::now();
        // A disk that gives other bytes than it took must not have them made into variants that look good: see `docs/decisions/0022`.
        let is_intact = <[u8; 32]>::from(Sha256::digest(&source)) == sha256;
        let report = is_intact.then(|| {
            make_variants(&source, &specs, &limits, stop, &mut |outcome| {
                // The receiver lives until the work has ended.
                let _ = publish.send(outcome);
            })
        });
        Worked { report, cpu: begun.elapsed() }
    });
    tokio::pin!(on_pool);
    let mut worked = None;
    loop {
        tokio::select! {
            Some(outcome) = outcomes.recv() => record(inner, job, progress, outcome).await,
            done = &mut on_pool, if worked.is_none() => worked = Some(done),
            else => break,
        }
    }
    match worked {
        Some(Ok(Worked { report: Some(Ok(report)), cpu })) => Ok(Some((report, cpu))),
        Some(Ok(Worked { report: None, .. })) => {
            error!(job.id = %job.lease.job, image.id = %job.image, blob = %job.blob, "the stored original is damaged: its SHA-256 is another");
            // Passing, though no attempt of ours will mend it: the operator may, from a copy, and the upload need not be sent again then.
            progress.passing =
                Some(failure(TaskCode::Storage, "the stored original is damaged: its bytes are not those that were uploaded"));
            Ok(None)
        }
        Some(Ok(Worked { report: Some(Err(error)), .. })) => match passing_or_final(&error) {
            Ok(passing) => {
                progress.passing = Some(passing);
                Ok(None)
            }
            Err(reason) => Err(reason),
        },
        Some(Err(ComputeError::Panicked(text))) => {
            error!(job.id = %job.lease.job, image.id = %job.image, "image work panicked: {text}");
            Err(failure(TaskCode::Internal, "the image made the decoder fail unexpectedly"))
        }
        Some(Err(ComputeError::Stopped)) | None => {
            progress.passing = Some(failure(TaskCode::Cancelled, "the service is stopping"));
            Ok(None)
        }
    }
}

pub(super) fn make_variants(
    source: &[u8],
    specs: &[Spec],
    limits: &Limits,
    stop: &Stop,
    publish: &mut dyn FnMut(VariantOutcome),
) -> Result<RunReport, image_pipeline::Error> {
    let found = probe(&mut std::io::Cursor::new(source), limits)?;
    let planned = plan(&found, specs, limits)?;
    run(&planned, source, &Context { deadline: Some(stop.deadline), cancel: &stop.cancel }, publish)
}

/// Records one task's end: durable bytes first, then the row.
async fn record(inner: &Inner, job: &ClaimedJob, progress: &mut Progress, outcome: VariantOutcome) {
    let Some(task) = job.tasks.get(outcome.index) else { return };
    if progress.lease_lost {
        return;
    }
    let begun = Instant::now();
    let (result, ended) = match outcome.result {
        Ok(encoded) => {
            let format = encoded.format.as_str();
            match put(inner, encoded).await {
                Ok(stored) => {
                    let bytes = stored.bytes;
                    (Ok(stored), ("completed", String::new(), format, bytes))
                }
                Err(error) => {
                    warn!(job.id = %job.lease.job, variant = %task.name, error = %error_chain(&error), "could not store a variant");
                    progress.passing = Some(failure(TaskCode::Storage, "storing the variant failed"));
                    return;
                }
            }
        }
        Err(error) => match passing_or_final(&error) {
            Ok(passing) => {
                progress.passing = Some(passing);
                return;
            }
            Err(reason) => {
                let ended = (reason.code.as_str(), reason.detail.clone(), "none", 0);
                (Err(reason), ended)
            }
        },
    };
    let timing = TaskTiming { transform: outcome.transform, encode: outcome.encode, store: begun.elapsed() };
    let blob = result.as_ref().ok().map(|stored| stored.blob);
    if finish_task(inner, job, progress, outcome.index, result, timing).await {
        let total = progress.started.elapsed();
        let (outcome_word, detail, format, bytes) = ended;
        progress.samples.push(Ended { index: outcome.index, outcome: outcome_word, detail, format, bytes, timing, total });
    } else if let Some(blob) = blob {
        if progress.lease_lost {
            copies(inner).remove(blob).await;
        } else {
            // After any other failure the row may be there all the same.
            inner.parts.doubts.add([blob]);
        }
    }
}

/// True if the end was recorded.
async fn finish_task(
    inner: &Inner,
    job: &ClaimedJob,
    progress: &mut Progress,
    index: usize,
    outcome: Result<StoredVariant, TaskFailure>,
    timing: TaskTiming,
) -> bool {
    let own = outcome.as_ref().ok().map(|stored| Copied { blob: stored.blob, sha256: stored.sha256, bytes: stored.bytes });
    let done = TaskDone { task: job.tasks[index].id, at: inner.parts.clock.now(), outcome, timing };
    match inner.parts.catalog.finish_task(job.lease, done).await {
        Ok(finished) => {
            progress.ended[index] = true;
            if let Some(own) = own.filter(|own| finished.surplus == Some(own.blob)) {
                copies(inner).settle(&own, finished.kept).await;
            }
            if let Some(dead) = finished.dead {
                copies(inner).forget(dead).await;
            }
            inner.parts.follow.changed(job.upload);
            true
        }
        Err(CatalogError::LeaseLost) => {
            debug!(job.id = %job.lease.job, "lease lost, dropping a late result");
            progress.lease_lost = true;
            false
        }
        Err(error) => {
            warn!(job.id = %job.lease.job, error = %error_chain(&error), "could not record a task's end");
            progress.passing = Some(failure(TaskCode::Storage, "recording the result failed"));
            false
        }
    }
}

async fn put(inner: &Inner, encoded: Encoded) -> Result<StoredVariant, StoreError> {
    let blob = BlobId::from_uuid(inner.parts.ids.new_id(inner.parts.clock.now()));
    let stored = StoredVariant {
        blob,
        bytes: encoded.bytes.len() as u64,
        sha256: Sha256::digest(&encoded.bytes).into(),
        width_px: encoded.width_px,
        height_px: encoded.height_px,
        format: encoded.format.as_str().to_owned(),
        quality: encoded.quality,
    };
    inner.parts.store.put(blob, Bytes::from(encoded.bytes)).await?;
    Ok(stored)
}

fn copies(inner: &Inner) -> Copies<'_> {
    Copies { store: &*inner.parts.store, catalog: &*inner.parts.catalog, doubts: &inner.parts.doubts }
}

/// Marks an original as missing; the first to notice says so.
async fn note_missing(inner: &Inner, blob: BlobId) {
    match inner.parts.catalog.mark_missing(&[blob]).await {
        Ok(news) if news.is_empty() => {}
        Ok(_) => error!(%blob, "the file of a stored original is missing"),
        Err(error) => warn!(%blob, error = %error_chain(&error), "could not mark a missing file"),
    }
}

/// Fails every task that has not ended, for one reason.
async fn fail_rest(inner: &Inner, job: &ClaimedJob, progress: &mut Progress, reason: &TaskFailure) {
    for index in 0..job.tasks.len() {
        if progress.ended[index] || progress.lease_lost || progress.passing.is_some() {
            continue;
        }
        let timing = TaskTiming::default();
        if finish_task(inner, job, progress, index, Err(reason.clone()), timing).await {
            let total = progress.started.elapsed();
            let (outcome, detail) = (reason.code.as_str(), reason.detail.clone());
            progress.samples.push(Ended { index, outcome, detail, format: "none", bytes: 0, timing, total });
        }
    }
}

/// Ends the job or gives it back; true if it went back.
async fn conclude(inner: &Inner, job: &ClaimedJob, progress: Progress, report: Option<(RunReport, Duration)>, cancel: &AtomicBool) -> bool {
    let (report, cpu) = report.map_or((None, Duration::ZERO), |(report, cpu)| (Some(report), cpu));
    let timing = JobTiming {
        queue: progress.queue,
        read: progress.read,
        decode: report.as_ref().map_or(Duration::ZERO, |r| r.decode),
        cpu,
        total: progress.started.elapsed(),
    };
    let peak_bytes = report.as_ref().map_or(0, |r| r.peak_bytes);
    for ended in &progress.samples {
        log_task(inner, job, ended, &timing, peak_bytes);
    }
    if progress.lease_lost {
        return false;
    }
    let all_ended = progress.ended.iter().all(|ended| *ended);
    if all_ended {
        for (stage, time) in [("queue", timing.queue), ("read", timing.read), ("decode", timing.decode)] {
            inner.parts.metrics.stage(stage, time);
        }
        inner.parts.metrics.job_peak(peak_bytes);
        let done = JobDone { at: inner.parts.clock.now(), timing, peak_bytes };
        match inner.parts.catalog.finish_job(job.lease, done).await {
            Ok(_) => return false,
            Err(CatalogError::LeaseLost) => return false,
            // The lease ends by itself and the job is found complete by whoever takes it then.
            Err(error) => warn!(job.id = %job.lease.job, error = %error_chain(&error), "could not record a job's end"),
        }
    }
    let reason = progress.passing.unwrap_or_else(|| failure(TaskCode::Storage, "recording the result failed"));
    let is_cancelled = || cancel.load(std::sync::atomic::Ordering::Relaxed);
    loop {
        match release(inner, job, reason.clone(), is_cancelled()).await {
            Ok(requeued) => return requeued,
            Err(error) if is_cancelled() => {
                error!(job.id = %job.lease.job, error = %error_chain(&error), "could not give a job back; the next start takes it up");
                return false;
            }
            Err(error) => {
                // Left to the end of its lease it would be taken for a job that killed its worker. The lease is renewed meanwhile.
                warn!(job.id = %job.lease.job, error = %error_chain(&error), "could not give a job back, trying again");
                tokio::time::sleep(GIVE_BACK_EVERY).await;
            }
        }
    }
}

/// Gives a job back that was claimed and cannot start, as the memory it needs was taken meanwhile; the attempt does not count. True if it went back
/// to the queue: it may have been deleted since.
pub(super) async fn give_back(inner: &Inner, job: &ClaimedJob) -> bool {
    release(inner, job, failure(TaskCode::Cancelled, "no memory is free for it"), true).await.unwrap_or_else(|error| {
        error!(job.id = %job.lease.job, error = %error_chain(&error), "could not give a job back; it is taken up when its lease ends");
        false
    })
}

/// True if it went back to the queue, false if it ended or is not ours any more. With `unspent` the attempt is given back, too, and `reason` is not
/// recorded.
async fn release(inner: &Inner, job: &ClaimedJob, reason: TaskFailure, unspent: bool) -> Result<bool, CatalogError> {
    let now = inner.parts.clock.now();
    let release = if unspent {
        Release { at: now, due: now, failure: None }
    } else {
        let noise = inner.parts.ids.new_id(now).as_u128() as u64;
        Release { at: now, due: now.after(backoff::pause_after(job.attempt, noise)), failure: Some(reason.clone()) }
    };
    let given_up = release.failure.is_some() && job.attempt >= job.max_attempts;
    match inner.parts.catalog.release_job(job.lease, release).await {
        Ok(()) if given_up => {
            warn!(job.id = %job.lease.job, attempt = job.attempt, code = %reason.code, "job failed: {}, no attempts left", reason.detail);
            Ok(false)
        }
        Ok(()) => {
            if !unspent {
                inner.parts.metrics.job_retried();
                warn!(job.id = %job.lease.job, attempt = job.attempt, code = %reason.code, "attempt failed: {}, trying again", reason.detail);
            }
            Ok(true)
        }
        Err(CatalogError::LeaseLost) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The one line of a task, with the same numbers as its job's JSON and the metrics.
fn log_task(inner: &Inner, job: &ClaimedJob, ended: &Ended, timing: &JobTiming, peak_bytes: u64) {
    let task = &job.tasks[ended.index];
    let Ended { outcome, format, bytes, total, .. } = *ended;
    let TaskTiming { transform, encode, store } = ended.timing;
    inner.parts.metrics.task_ended(&TaskSample { outcome, format, transform, encode, store, total });
    info!(
        outcome,
        variant = %task.name,
        task.id = %task.id,
        job.id = %job.lease.job,
        image.id = %job.image,
        upload.id = %job.upload,
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

fn failure(code: TaskCode, detail: impl Into<String>) -> TaskFailure {
    TaskFailure { code, detail: detail.into() }
}

/// `Ok`: may pass, try again. `Err`: final.
pub(super) fn passing_or_final(error: &image_pipeline::Error) -> Result<TaskFailure, TaskFailure> {
    let code = match error.kind() {
        ErrorKind::Malformed => TaskCode::MalformedImage,
        ErrorKind::Truncated => TaskCode::TruncatedImage,
        ErrorKind::Unsupported => TaskCode::UnsupportedFormat,
        ErrorKind::TooManyPixels => TaskCode::TooManyPixels,
        ErrorKind::TooManyFrames | ErrorKind::LimitExceeded => TaskCode::LimitExceeded,
        ErrorKind::TimedOut => return Ok(failure(TaskCode::Timeout, error.to_string())),
        ErrorKind::Cancelled => return Ok(failure(TaskCode::Cancelled, error.to_string())),
        ErrorKind::InvalidSpec | ErrorKind::Internal => TaskCode::Internal,
    };
    Err(failure(code, error.to_string()))
}
