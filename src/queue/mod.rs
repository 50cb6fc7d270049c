//! The job engine: claim under a lease when a core is free, work, record each task as it ends, renew, give back.
//!
//! Knows catalog, store and compute; knows no HTTP. Invariants: never more leases than permits, but for small jobs, of which a handful shares a
//! core; no transaction stays
//! open while working; a job whose lease was lost writes nothing.

mod ahead;
mod backoff;
mod bulk;
mod handful;
mod leases;
mod making;
mod once;
mod recording;
mod spans;
mod steer;
mod telling;
#[cfg(test)]
mod tests;
mod work;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use image_pipeline::{Limits, Presets, Watermarks};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tracing::{error, info, warn};

use crate::{
    catalog::{Accepted, Catalog, CatalogError, Claim, Claimed, ClaimedJob, Erased, JobFinished, Together},
    clock::{Clock, IdSource},
    compute::{BytesPermit, Compute, CorePermit},
    domain::{JobId, JobState, LeaseToken, UploadId, UploadState},
    follow::{Attempt, Event, Follow, OfJob, What},
    store::{BlobStore, Doubts},
    telemetry::{Metrics, Traces, error_chain},
};

use ahead::Ahead;
use handful::{Pace, Small};
use leases::{Held, Leases};
use work::Start;

pub use bulk::{Steer, Steered};
pub use once::{Once, OnceError};

/// How jobs are worked on.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of this process in leases.
    pub owner: String,
    /// How long a hold lasts unless renewed; renewed at a third of it.
    pub lease: Duration,
    /// Longest time one job may hold a core.
    pub job_deadline: Duration,
    /// A job whose worker died more often than this fails.
    pub max_crashes: u32,
    /// What an image may be.
    pub limits: Limits,
    /// Images that options may lay over others.
    pub watermarks: Arc<Watermarks>,
    /// Uploads are refused while more jobs than this wait.
    pub max_queued_jobs: u64,
}

/// The parts the engine works with.
#[derive(Clone)]
pub struct Parts {
    /// Rows.
    pub catalog: Arc<dyn Catalog>,
    /// Bytes.
    pub store: Arc<dyn BlobStore>,
    /// The pool.
    pub compute: Arc<Compute>,
    /// Waiters to wake.
    pub follow: Follow,
    /// Counts and times.
    pub metrics: Arc<Metrics>,
    /// Where spans go.
    pub traces: Traces,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Tokens.
    pub ids: Arc<dyn IdSource>,
    /// Where results go whose row may or may not be there.
    pub doubts: Doubts,
}

/// The engine; cheap to clone.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    parts: Parts,
    presets: Presets,
    wake: Notify,
    /// May be below zero for a moment: a job can be claimed before its upload is counted.
    queued: AtomicI64,
    leases: Arc<Leases>,
    ahead: Ahead,
    pace: Pace,
    last_progress_ms: AtomicU64,
}

impl Queue {
    /// An engine that does nothing until [`Queue::run`]; `queued` jobs wait already.
    #[must_use]
    pub fn new(options: Options, parts: Parts, queued: u64) -> Self {
        let last_progress_ms = AtomicU64::new(u64::try_from(parts.clock.now().as_millis()).unwrap_or(0));
        Self {
            inner: Arc::new(Inner {
                options,
                parts,
                presets: Presets::builtin(),
                wake: Notify::new(),
                queued: AtomicI64::new(i64::try_from(queued).unwrap_or(i64::MAX)),
                leases: Arc::default(),
                ahead: Ahead::default(),
                pace: Pace::default(),
                last_progress_ms,
            }),
        }
    }

    /// Jobs were recorded: count them and look for work at once.
    pub fn accepted(&self, accepted: &Accepted) {
        if accepted.replayed {
            return;
        }
        self.recorded(accepted);
        let queued = accepted.upload.images.iter().filter(|(_, job)| job.state == JobState::Queued).count();
        self.inner.queued.fetch_add(i64::try_from(queued).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.inner.tell_received(accepted);
        self.inner.wake.notify_one();
    }

    /// Jobs were deleted: the work at them is asked to stop, their end is told, and what they held up goes on.
    pub fn erased(&self, erased: &Erased) {
        self.inner.queued.fetch_sub(i64::try_from(erased.queued_jobs).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.inner.leases.cancel(&erased.running);
        self.not_coming(&erased.cancelled.iter().map(|(job, _)| *job).collect::<Vec<_>>());
        for (job, image) in &erased.cancelled {
            self.inner.tell(erased.upload, What::JobCancelled(OfJob { job: *job, image: *image }, JobState::Cancelled));
        }
        if let Some(left) = erased.left {
            self.inner.tell_if_final(erased.upload, left);
        }
        self.inner.wake.notify_one();
    }

    /// Jobs that wait.
    #[must_use]
    pub fn queued(&self) -> u64 {
        u64::try_from(self.inner.queued.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// More would be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queued() >= self.inner.options.max_queued_jobs
    }

    /// The limit of [`Queue::is_full`].
    #[must_use]
    pub fn max_queued_jobs(&self) -> u64 {
        self.inner.options.max_queued_jobs
    }

    /// How long ago a job last ended or the queue was last empty: what readiness looks at.
    #[must_use]
    pub fn time_without_progress(&self) -> Duration {
        let now = u64::try_from(self.inner.parts.clock.now().as_millis()).unwrap_or(0);
        Duration::from_millis(now.saturating_sub(self.inner.last_progress_ms.load(Ordering::Relaxed)))
    }

    /// Works until `stop` turns true, then waits for what runs, at most `grace`; what is still running then is
    /// cancelled and given back to the queue.
    pub async fn run(self, mut stop: watch::Receiver<bool>, grace: Duration) {
        let renewals = tokio::spawn(self.clone().renew_forever());
        let mut running = JoinSet::new();
        loop {
            while let Some(ended) = running.try_join_next() {
                note_panic(ended);
            }
            // A wake-up that comes before this is polled is kept by `Notify`, so none is missed.
            let woken = self.inner.wake.notified();
            let cores = tokio::select! {
                biased;
                _ = stop.wait_for(|stopping| *stopping) => break,
                cores = self.inner.free_cores() => cores,
            };
            // Never dropped half-way: a claim that was answered to nobody would hold its jobs until the lease ends.
            let next = self.inner.start_work(cores, &mut running).await;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stopping| *stopping) => break,
                () = self.inner.until(next, woken) => {}
            }
        }
        while let Some(ended) = running.try_join_next() {
            note_panic(ended);
        }
        if !running.is_empty() {
            info!(jobs = running.len(), "finishing running jobs");
            let all = async {
                while let Some(ended) = running.join_next().await {
                    note_panic(ended);
                }
            };
            if tokio::time::timeout(grace, all).await.is_err() {
                warn!(jobs = running.len(), "grace is over, giving running jobs back");
                self.inner.leases.cancel_all();
                while running.join_next().await.is_some() {}
            }
        }
        renewals.abort();
    }

    async fn renew_forever(self) {
        let mut tick = tokio::time::interval(self.inner.options.lease / 3);
        loop {
            tick.tick().await;
            let Inner { parts, options, leases, .. } = &*self.inner;
            leases.renew(&*parts.catalog, &*parts.clock, options.lease).await;
            self.inner.take_back_expired().await;
        }
    }
}

/// A panic in the engine itself: the job is found again when its lease, which nobody renews any more, ends.
fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a job's task ended badly; it is taken up again when its lease ends");
    }
}

/// When the dispatcher looks for work again.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// There may be more.
    AtOnce,
    /// The next job waits for memory; it stays at the head of the line.
    WhenBytesAreFreed,
    /// A job whose worker died before runs alone: nothing is started beside it, nor it beside others.
    WhenIdle,
    /// Nothing is due before, unless something comes in.
    After(Duration),
}

impl Inner {
    /// Waits for a core; takes those that are free beside it, too.
    ///
    /// # Cancel safety
    /// Dropped while waiting it holds nothing.
    async fn free_cores(&self) -> Vec<CorePermit> {
        let mut cores = vec![self.parts.compute.core().await];
        while let Some(core) = self.parts.compute.try_core() {
            cores.push(core);
        }
        cores
    }

    /// Claims what can start now and starts it; says when to look again.
    ///
    /// # Cancel safety
    /// Must be run to its end: what was claimed is then either started or given back.
    async fn start_work(self: &Arc<Self>, mut cores: Vec<CorePermit>, running: &mut JoinSet<()>) -> Next {
        let together = self.pace.together(self.leases.count());
        let claimed = match self.claim(cores.len(), together).await {
            Ok(claimed) => claimed,
            Err(error) => {
                error!(error = %error_chain(&error), "could not claim jobs");
                return Next::After(Duration::from_millis(500));
            }
        };
        let sharing = claimed.jobs.iter().filter(|job| together.holds(job.cost_bytes)).count();
        let got_all = together.places(claimed.jobs.len(), sharing) >= cores.len();
        let alone = claimed.waits_alone || claimed.jobs.iter().any(|job| job.suspect);
        let mut out_of_bytes = claimed.blocked_bytes.is_some();
        let mut small = Vec::with_capacity(sharing);
        for job in claimed.jobs {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            if let Some(mut begun) = self.ahead.take(&job) {
                // It has a core and memory of its own.
                let held = self.leases.hold(job.lease, begun.cancel.take());
                running.spawn(Arc::clone(self).work_on(job, Start::Ahead(begun), None, held));
                continue;
            }
            // Never waited for while holding a core. They are there, unless a request that waits for its image took them since
            // the claim was asked for; then the job goes back to its place.
            let Some(bytes) = self.parts.compute.try_bytes(job.cost_bytes) else {
                out_of_bytes = true;
                self.give_back(&job).await;
                continue;
            };
            let held = self.leases.hold(job.lease, Arc::default());
            if together.holds(job.cost_bytes) {
                small.push(Small { job, bytes, held });
                continue;
            }
            match cores.pop() {
                Some(core) => drop(running.spawn(Arc::clone(self).work_on(job, Start::Fresh(core), Some(bytes), held))),
                // A claim gives no more than there are places.
                None => self.give_back(&job).await,
            }
        }
        self.start_small(small, cores, running);
        // Everything that was claimed is held, or was given back.
        self.leases.all_held();
        if alone {
            return Next::WhenIdle;
        }
        if out_of_bytes {
            return Next::WhenBytesAreFreed;
        }
        if got_all {
            return Next::AtOnce;
        }
        self.ahead.none_waits();
        if self.parts.compute.free_cores() > 0 && running.is_empty() {
            self.progressed();
        }
        let due = self.parts.catalog.next_due().await.unwrap_or_default();
        let now = self.parts.clock.now();
        // The clock may jump: look again at least once a minute.
        Next::After(due.map_or(Duration::from_secs(60), |due| due.since(now).clamp(Duration::from_millis(1), Duration::from_secs(60))))
    }

    /// Starts small jobs, as many on each core.
    fn start_small(self: &Arc<Self>, mut small: Vec<Small>, mut cores: Vec<CorePermit>, running: &mut JoinSet<()>) {
        while let Some(core) = cores.pop() {
            let rest = small.split_off(small.len().div_ceil(cores.len() + 1));
            let mut handful = std::mem::replace(&mut small, rest);
            match handful.len() {
                0 => {}
                1 => {
                    if let Some(Small { job, bytes, held }) = handful.pop() {
                        running.spawn(Arc::clone(self).work_on(job, Start::Fresh(core), Some(bytes), held));
                    }
                }
                _ => drop(running.spawn(Arc::clone(self).work_on_handful(handful, core))),
            }
        }
    }

    /// Gives a claimed job back and counts it, if it went back: one that was deleted meanwhile, or waits for its lease to end, does not wait here.
    async fn give_back(&self, job: &ClaimedJob) {
        if work::give_back(self, job).await {
            self.queued.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Resolves when it is time to look for work again, or something has come in.
    async fn until(&self, next: Next, woken: impl Future<Output = ()>) {
        let passed = async {
            match next {
                Next::AtOnce => {}
                Next::WhenIdle => self.leases.none_held().await,
                Next::WhenBytesAreFreed => self.parts.compute.bytes_freed().await,
                Next::After(pause) => tokio::time::sleep(pause).await,
            }
        };
        if matches!(next, Next::WhenIdle) {
            return passed.await;
        }
        tokio::select! { () = woken => {}, () = passed => {} }
    }

    async fn claim(&self, limit: usize, together: Together) -> Result<Claimed, CatalogError> {
        let most = limit.saturating_mul(together.jobs as usize);
        let now = self.parts.clock.now();
        let claim = Claim {
            owner: self.options.owner.clone(),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            together,
            budget_bytes: self.parts.compute.free_bytes(),
            whole_budget_bytes: self.parts.compute.budget_bytes(),
            running: self.leases.count(),
            now,
            lease: self.options.lease,
            tokens: (0..most).map(|_| LeaseToken::from_uuid(self.parts.ids.new_id(now))).collect(),
        };
        self.parts.catalog.claim_jobs(claim).await
    }

    async fn work_on(self: Arc<Self>, job: ClaimedJob, start: Start, bytes: Option<BytesPermit>, held: Held) {
        self.tell_started(&job);
        let upload = job.upload;
        let requeued = work::work(&self, job, start, Arc::clone(&held.cancel)).await;
        drop(bytes);
        drop(held);
        self.job_ended(upload, requeued);
    }

    fn tell_started(&self, job: &ClaimedJob) {
        let of = OfJob { job: job.lease.job, image: job.image };
        self.tell(job.upload, What::JobStarted(of, Attempt { attempt: job.attempt, max_attempts: job.max_attempts }));
    }

    /// A job is not worked on any more, and what it held was let go; with `requeued` it went back to the queue.
    fn job_ended(&self, upload: UploadId, requeued: bool) {
        if requeued {
            self.queued.fetch_add(1, Ordering::Relaxed);
        }
        self.progressed();
        self.parts.follow.changed(upload);
        // A requeued job has a due time the dispatcher has to learn of.
        if requeued {
            self.wake.notify_one();
        }
    }

    fn progressed(&self) {
        let now = u64::try_from(self.parts.clock.now().as_millis()).unwrap_or(0);
        self.last_progress_ms.store(now, Ordering::Relaxed);
    }
}

impl Inner {
    /// Takes back jobs nobody renews: their end could not be recorded, or another node died with them.
    async fn take_back_expired(&self) {
        match self.parts.catalog.expire_leases(self.parts.clock.now(), self.options.max_crashes).await {
            Ok(voided) if voided.requeued.is_empty() && voided.failed.is_empty() => {}
            Ok(voided) => {
                warn!(requeued = voided.requeued.len(), failed = voided.failed.len(), "took back jobs whose lease had ended");
                self.queued.fetch_add(i64::try_from(voided.requeued.len()).unwrap_or(i64::MAX), Ordering::Relaxed);
                self.wake.notify_one();
                self.tell_of_failed(&voided.failed).await;
            }
            Err(error) => warn!(error = %error_chain(&error), "could not look for leases that have ended"),
        }
    }
}
