//! One job from its lease to its end: read, one decode, each task stored and committed as it ends, one log line a task.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytes::Bytes;
use image_pipeline::{Encoded, ErrorKind, RunReport, Spec, VariantOutcome};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::{
    catalog::{CatalogError, ClaimedJob, JobDone, JobTiming, Release, StoredVariant, TaskTiming},
    compute::{BytesPermit, ComputeError, CorePermit},
    domain::{BlobId, TaskCode, TaskFailure},
    facts::Facts,
    follow::{Attempt, OfJob, What},
    store::StoreError,
    telemetry::error_chain,
};

use super::{
    Inner,
    ahead::Begun,
    backoff,
    making::{Outcomes, Wanted, Worked, on_pool},
    recording::{Progress, Stored, log_task, record},
    spans,
};

/// Pause between two tries to give a job back to a catalog that cannot be written.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(1);

/// How work begun ahead ended.
pub(super) enum Done {
    /// The staged file could not be read, as it may have got its final name by then; nothing was begun.
    NotRead(CorePermit, BytesPermit),
    /// As any other.
    Worked {
        /// What it took to read the staged file.
        read: Duration,
        result: Box<Result<Worked, ComputeError>>,
    },
}

/// How a claimed job begins.
pub(super) enum Start {
    /// On this core.
    Fresh(CorePermit),
    /// It was begun before it was claimed.
    Ahead(Begun),
}

/// Works on a job; true if it went back to the queue.
pub(super) async fn work(inner: &Arc<Inner>, job: ClaimedJob, start: Start, cancel: Arc<AtomicBool>) -> bool {
    let now = inner.parts.clock.now();
    let (started, queue) = match &start {
        Start::Fresh(_) => (Instant::now(), now.since(job.queued_at)),
        // It did not wait.
        Start::Ahead(begun) => (begun.started, Duration::ZERO),
    };
    let mut progress = Progress::of(&job, started, queue);
    if job.tasks.is_empty() {
        // Every task had ended, only the job's own end was not recorded before a crash.
        drop(start);
        return conclude(inner, &job, progress, None, &cancel).await;
    }
    let (core, _bytes) = match start {
        Start::Fresh(core) => (core, None),
        Start::Ahead(begun) => match follow_begun(inner, &job, &mut progress, begun).await {
            Ok(worked) => return end(inner, &job, progress, worked, &cancel).await,
            Err((core, bytes)) => (core, Some(bytes)),
        },
    };
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
    end(inner, &job, progress, worked, &cancel).await
}

/// What came of the work as a whole: `Ok(None)`: stopped half-way for a passing reason; `Err`: failed for good.
type Ended = Result<Option<(RunReport, Duration)>, TaskFailure>;

/// True if the job went back to the queue.
async fn end(inner: &Inner, job: &ClaimedJob, mut progress: Progress, worked: Ended, cancel: &AtomicBool) -> bool {
    let report = match worked {
        Ok(report) => report,
        Err(reason) => {
            if let Some(last) = progress.last.take() {
                record(inner, job, &mut progress, last, None).await;
            }
            fail_rest(inner, job, &mut progress, &reason).await;
            None
        }
    };
    conclude(inner, job, progress, report, cancel).await
}

/// Runs the pipeline and records tasks while it runs.
async fn work_on_pool(
    inner: &Arc<Inner>,
    job: &ClaimedJob,
    progress: &mut Progress,
    source: Bytes,
    core: CorePermit,
    cancel: Arc<AtomicBool>,
) -> Ended {
    let specs = job.tasks.iter().map(|task| Spec::parse(&task.spec, &inner.presets)).collect::<Result<Vec<Spec>, _>>();
    // Canonical text this build wrote parses in this build; another build's may not.
    let specs = specs.map_err(|error| failure(TaskCode::Internal, format!("stored options do not parse: {error}")))?;
    let wanted = Wanted { specs, sha256: job.sha256, cost_bytes: job.cost_bytes, facts: !job.has_facts };
    // One result a task at the most, so the channel's length is bounded by the job.
    let (publish, outcomes) = mpsc::unbounded_channel();
    let working = on_pool(inner, wanted, source, (core, None), cancel, publish);
    let worked = record_while(inner, job, progress, outcomes, working).await;
    judge(job, progress, worked)
}

/// Takes over what was begun ahead. `Err`: nothing could be begun, and nothing was recorded; here is what it was to be worked on with.
async fn follow_begun(inner: &Inner, job: &ClaimedJob, progress: &mut Progress, begun: Begun) -> Result<Ended, (CorePermit, BytesPermit)> {
    let Begun { outcomes, done, .. } = begun;
    match record_while(inner, job, progress, outcomes, done).await {
        Some(Ok(Done::NotRead(core, bytes))) => Err((core, bytes)),
        Some(Ok(Done::Worked { read, result })) => {
            progress.read = read;
            Ok(judge(job, progress, Some(*result)))
        }
        // Its task does nothing but await the pool, which tells panics of the work as errors: it was stopped with the service.
        Some(Err(_)) | None => Ok(judge(job, progress, None)),
    }
}

/// Waits for `working`; meanwhile stores and records what it sends. The last task of the job is stored only, and kept in `progress`. `None`: it never
/// ended.
async fn record_while<T>(
    inner: &Inner,
    job: &ClaimedJob,
    progress: &mut Progress,
    mut outcomes: Outcomes,
    working: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(working);
    let mut worked = None;
    loop {
        tokio::select! {
            Some(outcome) = outcomes.recv() => {
                let Some(stored) = store(inner, job, progress, outcome).await else { continue };
                if progress.is_last(stored.index) {
                    progress.last = Some(stored);
                } else {
                    record(inner, job, progress, stored, None).await;
                }
            }
            done = &mut working, if worked.is_none() => worked = Some(done),
            else => return worked,
        }
    }
}

/// Goes on with what was made of a job on the pool, all of it; true if the job went back to the queue.
pub(super) async fn follow_made(
    inner: &Inner,
    job: &ClaimedJob,
    mut progress: Progress,
    (outcomes, worked): (Vec<VariantOutcome>, Result<Worked, ComputeError>),
    cancel: &AtomicBool,
) -> bool {
    let (publish, published) = mpsc::unbounded_channel();
    for outcome in outcomes {
        // Taken below.
        let _ = publish.send(outcome);
    }
    drop(publish);
    let worked = record_while(inner, job, &mut progress, published, std::future::ready(worked)).await;
    let worked = judge(job, &mut progress, worked);
    end(inner, job, progress, worked, cancel).await
}

/// Records what was stored of a job that could not store the rest, and gives it back; true if it went back to the queue.
pub(super) async fn follow_stored(
    inner: &Inner,
    job: &ClaimedJob,
    mut progress: Progress,
    (stored, report): (Vec<Stored>, (RunReport, Duration)),
    cancel: &AtomicBool,
) -> bool {
    for stored in stored {
        record(inner, job, &mut progress, stored, None).await;
    }
    progress.passing = Some(failure(TaskCode::Storage, "storing the variant failed"));
    conclude(inner, job, progress, Some(report), cancel).await
}

/// What the pool's answer means for the job.
fn judge(job: &ClaimedJob, progress: &mut Progress, worked: Option<Result<Worked, ComputeError>>) -> Ended {
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

/// Makes what came of a task durable. `None`: the job cannot go on now.
async fn store(inner: &Inner, job: &ClaimedJob, progress: &mut Progress, outcome: VariantOutcome) -> Option<Stored> {
    let task = job.tasks.get(outcome.index)?;
    if progress.lease_lost {
        return None;
    }
    let begun = Instant::now();
    let (result, format) = match outcome.result {
        Ok(encoded) => {
            let format = encoded.format.as_str();
            match put(inner, encoded).await {
                Ok(stored) => (Ok(stored), format),
                Err(error) => {
                    warn!(job.id = %job.lease.job, variant = %task.name, error = %error_chain(&error), "could not store a variant");
                    progress.passing = Some(failure(TaskCode::Storage, "storing the variant failed"));
                    return None;
                }
            }
        }
        Err(error) => match passing_or_final(&error) {
            Ok(passing) => {
                progress.passing = Some(passing);
                return None;
            }
            Err(reason) => (Err(reason), "none"),
        },
    };
    let timing = TaskTiming { transform: outcome.transform, encode: outcome.encode, store: begun.elapsed() };
    Some(Stored { index: outcome.index, result, timing, format })
}

async fn put(inner: &Inner, encoded: Encoded) -> Result<StoredVariant, StoreError> {
    let stored = variant_of(BlobId::from_uuid(inner.parts.ids.new_id(inner.parts.clock.now())), &encoded);
    inner.parts.store.put(stored.blob, Bytes::from(encoded.bytes)).await?;
    Ok(stored)
}

/// A result as it is recorded, once its bytes are stored as this blob.
pub(super) fn variant_of(blob: BlobId, encoded: &Encoded) -> StoredVariant {
    StoredVariant {
        blob,
        bytes: encoded.bytes.len() as u64,
        sha256: Sha256::digest(&encoded.bytes).into(),
        width_px: encoded.width_px,
        height_px: encoded.height_px,
        format: encoded.format.as_str().to_owned(),
        quality: encoded.quality,
        frames: encoded.frames,
    }
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
        let failed = Stored { index, result: Err(reason.clone()), timing: TaskTiming::default(), format: "none" };
        record(inner, job, progress, failed, None).await;
    }
}

/// A job's end, as far as it is known by now.
pub(super) fn job_done(inner: &Inner, progress: &Progress, report: Option<(RunReport, Duration)>) -> JobDone {
    let (report, cpu) = report.map_or((None, Duration::ZERO), |(report, cpu)| (Some(report), cpu));
    let timing = JobTiming {
        queue: progress.queue,
        read: progress.read,
        decode: report.as_ref().map_or(Duration::ZERO, |r| r.decode),
        cpu,
        total: progress.started.elapsed(),
    };
    let peak_bytes = report.as_ref().map_or(0, |r| r.peak_bytes);
    let facts = report.and_then(|report| report.facts).and_then(|found| Facts::from(&found).to_text());
    JobDone { at: inner.parts.clock.now(), timing, peak_bytes, facts }
}

/// Ends the job or gives it back; true if it went back.
async fn conclude(
    inner: &Inner,
    job: &ClaimedJob,
    mut progress: Progress,
    report: Option<(RunReport, Duration)>,
    cancel: &AtomicBool,
) -> bool {
    let done = job_done(inner, &progress, report);
    let mut is_recorded = false;
    if let Some(last) = progress.last.take() {
        let all_ended = progress.is_last(last.index) && !progress.lease_lost;
        is_recorded = record(inner, job, &mut progress, last, Some(done.clone()).filter(|_| all_ended)).await && all_ended;
    }
    after(inner, job, progress, done, is_recorded, cancel).await
}

/// What is left to do when the ends of tasks are recorded, and the job's with them or not (`is_recorded`); true if the job went back.
pub(super) async fn after(
    inner: &Inner,
    job: &ClaimedJob,
    progress: Progress,
    done: JobDone,
    is_recorded: bool,
    cancel: &AtomicBool,
) -> bool {
    let (timing, peak_bytes) = (done.timing, done.peak_bytes);
    for ended in &progress.samples {
        log_task(inner, job, ended, &timing, peak_bytes);
    }
    if progress.lease_lost {
        return false;
    }
    spans::hand_over(&inner.parts.traces, job, &progress, &timing, peak_bytes);
    let all_ended = progress.ended.iter().all(|ended| *ended);
    if all_ended {
        inner.parts.metrics.job_waited(job.priority.as_str(), timing.queue);
        for (stage, time) in [("read", timing.read), ("decode", timing.decode)] {
            inner.parts.metrics.stage(stage, time);
        }
        inner.parts.metrics.job_peak(peak_bytes);
        if is_recorded {
            return false;
        }
        match inner.parts.catalog.finish_job(job.lease, done).await {
            Ok(ended) => {
                inner.tell_worked(job, ended, &timing, peak_bytes);
                return false;
            }
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
    let due = release.due;
    match inner.parts.catalog.release_job(job.lease, release).await {
        Ok(Some(ended)) => {
            inner.tell_ended(job, ended, Some(reason.clone()));
            warn!(job.id = %job.lease.job, attempt = job.attempt, code = %reason.code, "job failed: {}, no attempts left", reason.detail);
            Ok(false)
        }
        Ok(None) => {
            if !unspent {
                let attempt = Attempt { attempt: job.attempt, max_attempts: job.max_attempts };
                let of = OfJob { job: job.lease.job, image: job.image };
                inner.tell(job.upload, What::JobRetrying(of, attempt, due, Some(reason.clone())));
                inner.parts.metrics.job_retried(job.priority.as_str());
                warn!(job.id = %job.lease.job, attempt = job.attempt, code = %reason.code, "attempt failed: {}, trying again", reason.detail);
            }
            Ok(true)
        }
        Err(CatalogError::LeaseLost) => Ok(false),
        Err(error) => Err(error),
    }
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
        // `InvalidSpec` is what only the pixels told: `max_bytes` that no quality keeps, a trimmed picture that becomes too large; or a watermark
        // that the configuration has no more.
        ErrorKind::TooManyFrames | ErrorKind::LimitExceeded | ErrorKind::InvalidSpec => TaskCode::LimitExceeded,
        ErrorKind::TimedOut => return Ok(failure(TaskCode::Timeout, error.to_string())),
        ErrorKind::Cancelled => return Ok(failure(TaskCode::Cancelled, error.to_string())),
        ErrorKind::Internal => TaskCode::Internal,
    };
    Err(failure(code, error.to_string()))
}
