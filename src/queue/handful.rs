//! A handful of small jobs on one core: read, made, stored and recorded together, as what they cost beside their pixels is hand-overs and syncs.
//!
//! Each keeps its own lease, memory, cancel flag, deadline and log line. Only what goes well goes this way to its end: whatever is out of the ordinary
//! with one job is told by the ordinary way (`work.rs`) with what is there by then, and the others go on. Invariants: one job at a time
//! on a core; what is not begun within a slice of time goes back to the queue, as if it had never been claimed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use image_pipeline::{RunReport, Spec, VariantOutcome};
use tracing::warn;

use crate::{
    catalog::{CatalogError, ClaimedJob, JobDone, TaskFinished, TaskTiming, Together},
    compute::{BytesPermit, ComputeError, CorePermit, Stop, caught, thread_time},
    domain::BlobId,
    telemetry::error_chain,
};

use super::{
    Inner,
    leases::Held,
    making::{Wanted, Work, Worked},
    recording::{Ending, Progress, Stored, ending, recorded},
    work::{self, Start},
};

/// What a job may cost at most to share a core: a picture of some hundred pixels a side, beside the 1 MiB that every plan is charged.
const SMALL_BYTES: u64 = 2 << 20;
/// For how long jobs of a handful are begun: what comes in meanwhile and is more urgent waits no longer for it than for one job of this length. Time on
/// the core, not on the wall: on a machine that others keep busy a handful takes longer for their sake, and smaller ones would only make it worse.
const SLICE: Duration = Duration::from_millis(10);
/// Fewest and most jobs in a handful.
const FEWEST: u32 = 2;
const MOST: u32 = 64;
/// Leases held above which handfuls do not grow the number any more: a disk that lags behind shall not have all that waits under lease.
const MOST_HELD: u32 = 1024;

/// How many jobs are a handful now: as many as were seen to fit into a slice.
#[derive(Debug)]
pub(super) struct Pace(AtomicU32);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU32::new(FEWEST))
    }
}

impl Pace {
    /// Which jobs share a core, with so many leases held.
    pub(super) fn together(&self, held: u32) -> Together {
        let jobs = if held < MOST_HELD { self.0.load(Ordering::Relaxed) } else { 1 };
        Together { cost_bytes: SMALL_BYTES, jobs }
    }

    /// Of so many jobs in a handful so many were begun, in this time.
    fn note(&self, given: usize, begun: usize, took: Duration) {
        let (now, given) = (self.0.load(Ordering::Relaxed), u32::try_from(given).unwrap_or(MOST));
        let begun = u32::try_from(begun).unwrap_or(MOST);
        let next = if begun < given || took > SLICE {
            begun.min(now / 2)
        } else if given * 2 > now && took < SLICE / 2 {
            now * 2
        } else {
            now
        };
        self.0.store(next.clamp(FEWEST, MOST), Ordering::Relaxed);
    }
}

/// A small job, with all it holds.
pub(super) struct Small {
    pub(super) job: ClaimedJob,
    pub(super) bytes: BytesPermit,
    pub(super) held: Held,
}

/// What came of one on the core.
type Made = (Vec<VariantOutcome>, Result<Worked, ComputeError>);

/// One of which all tasks came to a variant.
struct Good {
    small: Small,
    progress: Progress,
    report: (RunReport, Duration),
    results: Vec<VariantOutcome>,
}

/// One of which all results are stored.
struct Kept {
    small: Small,
    progress: Progress,
    report: (RunReport, Duration),
    stored: Vec<Stored>,
}

/// One whose ends are to be recorded.
struct Ended {
    small: Small,
    progress: Progress,
    done: JobDone,
    endings: Vec<Ending>,
}

impl Inner {
    /// Works on all of them.
    pub(super) async fn work_on_handful(self: Arc<Self>, all: Vec<Small>, core: CorePermit) {
        let (started, now) = (Instant::now(), self.parts.clock.now());
        let sources = self.parts.store.read_many(all.iter().map(|small| small.job.blob).collect()).await;
        let read = started.elapsed();
        let (mut ready, mut works) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
        let mut apart: Vec<BoxFuture<'_, ()>> = Vec::new();
        for (small, source) in all.into_iter().zip(sources) {
            match source.ok().and_then(|source| self.work_of(&small.job, source)) {
                Some(work) => {
                    works.push((work, Arc::clone(&small.held.cancel)));
                    ready.push(small);
                }
                None => apart.push(Arc::clone(&self).alone(small).boxed()),
            }
        }
        let limit = self.options.job_deadline;
        let made = self.parts.compute.run(core, limit, Arc::default(), move |stop| make_all(&works, limit, stop)).await;
        // Stopped with the service: none was begun.
        let (made, took) = made.unwrap_or_default();
        self.pace.note(ready.len(), made.len(), took);
        let mut made = made.into_iter();
        let mut good = Vec::with_capacity(ready.len());
        for small in ready {
            let Some(made) = made.next() else {
                apart.push(self.back(small).boxed());
                continue;
            };
            self.tell_started(&small.job);
            let progress = Progress { read, ..Progress::of(&small.job, started, now.since(small.job.queued_at)) };
            match as_good(small, progress, made) {
                Ok(one) => good.push(one),
                Err(odd) => {
                    let (small, progress, made) = *odd;
                    apart.push(self.follow_made(small, progress, made).boxed());
                }
            }
        }
        // What is more urgent does not wait for the disk with the others. One is all there is, nearly always.
        let mut good = good.into_iter().peekable();
        while let Some(priority) = good.peek().map(|one| one.small.job.priority) {
            let alike = std::iter::from_fn(|| good.next_if(|one| one.small.job.priority == priority)).collect();
            let kept = self.store_all(alike, &mut apart).await;
            self.record_all(kept, &mut apart).await;
        }
        join_all(apart).await;
    }

    /// `None`: told by the ordinary way.
    fn work_of(&self, job: &ClaimedJob, source: Bytes) -> Option<Work> {
        let specs = job.tasks.iter().map(|task| Spec::parse(&task.spec, &self.presets)).collect::<Result<Vec<Spec>, _>>().ok()?;
        let wanted = Wanted { specs, sha256: job.sha256, cost_bytes: job.cost_bytes, facts: !job.has_facts };
        (!job.tasks.is_empty()).then(|| Work::new(self, wanted, source))
    }

    /// The ordinary way from the start.
    async fn alone(self: Arc<Self>, small: Small) {
        let core = self.parts.compute.core().await;
        self.work_on(small.job, Start::Fresh(core), Some(small.bytes), small.held).await;
    }

    /// Back to its place in the queue.
    async fn back(&self, small: Small) {
        self.give_back(&small.job).await;
        drop(small);
        self.wake.notify_one();
    }

    /// The ordinary way from where all was made.
    async fn follow_made(&self, small: Small, progress: Progress, made: Made) {
        let requeued = work::follow_made(self, &small.job, progress, made, &small.held.cancel).await;
        self.ended(small, requeued);
    }

    fn ended(&self, small: Small, requeued: bool) {
        let upload = small.job.upload;
        drop(small);
        self.job_ended(upload, requeued);
    }

    /// Stores all results, side by side where the store knows how; jobs of which one cannot be stored go on apart.
    async fn store_all<'a>(&'a self, good: Vec<Good>, apart: &mut Vec<BoxFuture<'a, ()>>) -> Vec<Kept> {
        let (begun, now) = (Instant::now(), self.parts.clock.now());
        let (mut puts, mut first) = (Vec::with_capacity(good.len()), None);
        let mut kept: Vec<Kept> = Vec::with_capacity(good.len());
        for Good { small, progress, report, results } in good {
            let mut stored = Vec::with_capacity(results.len());
            for VariantOutcome { index, result, transform, encode } in results {
                let Ok(encoded) = result else { continue };
                let fresh = BlobId::from_uuid(self.parts.ids.new_id(now));
                let blob = self.parts.store.beside(fresh, *first.get_or_insert(fresh));
                let timing = TaskTiming { transform, encode, store: Duration::ZERO };
                stored.push(Stored { index, result: Ok(work::variant_of(blob, &encoded)), timing, format: encoded.format.as_str() });
                puts.push((blob, Bytes::from(encoded.bytes)));
            }
            kept.push(Kept { small, progress, report, stored });
        }
        let mut told = self.parts.store.put_many(puts).await.into_iter();
        let store = begun.elapsed();
        let mut all = Vec::with_capacity(kept.len());
        for mut one in kept {
            let results = one.stored.len();
            one.stored.retain_mut(|stored| {
                stored.timing.store = store;
                let told = told.next().unwrap_or(Ok(()));
                told.inspect_err(|error| {
                    let variant = &one.small.job.tasks[stored.index].name;
                    warn!(job.id = %one.small.job.lease.job, %variant, error = %error_chain(error), "could not store a variant");
                })
                .is_ok()
            });
            if one.stored.len() == results {
                all.push(one);
            } else {
                apart.push(self.follow_stored(one).boxed());
            }
        }
        all
    }

    /// The ordinary way from where some of it was stored.
    async fn follow_stored(&self, Kept { small, progress, report, stored }: Kept) {
        let requeued = work::follow_stored(self, &small.job, progress, (stored, report), &small.held.cancel).await;
        self.ended(small, requeued);
    }

    /// Records all ends in one transaction. Where that fails each is told alone, so that one that cannot be written holds up no other.
    async fn record_all<'a>(&'a self, kept: Vec<Kept>, apart: &mut Vec<BoxFuture<'a, ()>>) {
        let (mut dones, mut all) = (Vec::with_capacity(kept.len()), Vec::with_capacity(kept.len()));
        for Kept { small, progress, report, stored } in kept {
            let done = work::job_done(self, &progress, Some(report));
            let (last, mut endings) = (stored.len().saturating_sub(1), Vec::with_capacity(stored.len()));
            for (n, stored) in stored.into_iter().enumerate() {
                let (task, ending) = ending(self, &small.job, progress.started, stored, (n == last).then(|| done.clone()));
                dones.push((small.job.lease, task));
                endings.push(ending);
            }
            all.push(Ended { small, progress, done, endings });
        }
        if all.is_empty() {
            return;
        }
        match self.parts.catalog.finish_tasks(dones.clone()).await {
            Ok(finished) => {
                let mut finished = finished.into_iter();
                for one in all {
                    let finished = finished.by_ref().take(one.endings.len()).collect();
                    self.conclude(one, finished).await;
                }
            }
            Err(error) => {
                warn!(jobs = all.len(), error = %error_chain(&error), "could not record the ends of jobs together, trying one by one");
                let mut dones = dones.into_iter();
                for one in all {
                    let dones: Vec<_> = dones.by_ref().take(one.endings.len()).collect();
                    let tell = async {
                        let mut finished = Vec::with_capacity(dones.len());
                        for (lease, done) in dones {
                            finished.push(self.parts.catalog.finish_task(lease, done).await);
                        }
                        self.conclude(one, finished).await;
                    };
                    apart.push(tell.boxed());
                }
            }
        }
    }

    /// Goes on from what the catalog said of a job's tasks, of which the last one told the job's end.
    async fn conclude(&self, Ended { small, mut progress, done, endings }: Ended, finished: Vec<Result<TaskFinished, CatalogError>>) {
        let mut is_recorded = false;
        for (ending, finished) in endings.into_iter().zip(finished) {
            is_recorded = recorded(self, &small.job, &mut progress, ending, finished).await;
        }
        let requeued = work::after(self, &small.job, progress, done, is_recorded, &small.held.cancel).await;
        self.ended(small, requeued);
    }
}

/// One after the other, as long as the slice lasts; what is not begun has no result. And how long it took.
fn make_all(works: &[(Work, Arc<AtomicBool>)], limit: Duration, stop: &Stop) -> (Vec<Made>, Duration) {
    let begun = thread_time();
    let took = || thread_time().saturating_sub(begun);
    let mut all = Vec::with_capacity(works.len());
    for (work, cancel) in works {
        if !all.is_empty() && (took() > SLICE || stop.cancel.load(Ordering::Relaxed)) {
            break;
        }
        let mut own = stop.clone();
        (own.deadline, own.cancel) = (Instant::now() + limit, Arc::clone(cancel));
        let mut outcomes = Vec::new();
        let worked = caught(|| work.run(&own, &mut |outcome| outcomes.push(outcome)));
        all.push((outcomes, worked));
    }
    (all, took())
}

/// Whether all went well.
fn as_good(small: Small, progress: Progress, (outcomes, worked): Made) -> Result<Good, Box<(Small, Progress, Made)>> {
    let is_good = outcomes.len() == small.job.tasks.len() && outcomes.iter().all(|outcome| outcome.result.is_ok());
    match worked {
        Ok(Worked { report: Some(Ok(report)), cpu }) if is_good => Ok(Good { small, progress, report: (report, cpu), results: outcomes }),
        worked => Err(Box::new((small, progress, (outcomes, worked)))),
    }
}

#[cfg(test)]
mod tests;
