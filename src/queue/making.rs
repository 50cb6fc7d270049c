//! From an original's bytes to its variants, on a core of the pool: the check that they are what was stored, beside the work; what they come to as it
//! ends.
//!
//! Knows no rows and no files. Invariant: nothing of an original is handed out before it was seen to be whole.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytes::Bytes;
use image_pipeline::{Context, Limits, RunReport, Spare, Spec, VariantOutcome, Watermarks, plan_with, probe, run};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::compute::{BytesPermit, ComputeError, CorePermit, Stop};

use super::Inner;

/// From so many bytes on a source is checked beside the work: what that takes, a good millisecond, is some times what a thread costs.
const CHECKED_BESIDE_BYTES: usize = 2 << 20;

/// What the pool hands back when a job's core is free again.
pub(super) struct Worked {
    /// `None`: the original is not what was stored, and was not worked on.
    pub(super) report: Option<Result<RunReport, image_pipeline::Error>>,
    pub(super) cpu: Duration,
}

/// Variants as they end.
pub(super) type Outcomes = mpsc::UnboundedReceiver<VariantOutcome>;

/// What is to be made of an original.
pub(super) struct Wanted {
    pub(super) specs: Vec<Spec>,
    /// Of the original's bytes.
    pub(super) sha256: [u8; 32],
    pub(super) cost_bytes: u64,
    /// The report shall say what the original is.
    pub(super) facts: bool,
}

/// Makes the variants on a core of the pool, in the memory that was admitted; what comes of each is sent as it ends.
pub(super) async fn on_pool(
    inner: &Arc<Inner>,
    wanted: Wanted,
    source: Bytes,
    (core, bytes): (CorePermit, Option<BytesPermit>),
    cancel: Arc<AtomicBool>,
    publish: mpsc::UnboundedSender<VariantOutcome>,
) -> Result<Worked, ComputeError> {
    let work = Work::new(inner, wanted, source);
    let working = inner.parts.compute.run(core, inner.options.job_deadline, cancel, move |stop| {
        let worked = work.run(stop, &mut |outcome| {
            // Nobody takes it where the job is not wanted any more.
            let _ = publish.send(outcome);
        });
        drop((work, bytes));
        worked
    });
    working.await
}

/// The work at one original, with all it takes.
pub(super) struct Work {
    wanted: Wanted,
    source: Bytes,
    limits: Limits,
    watermarks: Arc<Watermarks>,
}

impl Work {
    pub(super) fn new(inner: &Inner, wanted: Wanted, source: Bytes) -> Self {
        let mut limits = inner.options.limits;
        limits.max_memory_bytes = limits.max_memory_bytes.min(wanted.cost_bytes.saturating_mul(2));
        Self { wanted, source, limits, watermarks: Arc::clone(&inner.options.watermarks) }
    }

    /// Makes the variants, on the pool's thread that this is called on.
    pub(super) fn run(&self, stop: &Stop, send: &mut (dyn FnMut(VariantOutcome) + Send)) -> Worked {
        let Self { wanted: Wanted { specs, sha256, facts, .. }, source, limits, watermarks } = self;
        let (begun, lent) = (Instant::now(), stop.lent());
        // A disk that gives other bytes than it took must not have them made into variants that look good: see `docs/decisions/0022`.
        let is_intact = || <[u8; 32]>::from(Sha256::digest(source)) == *sha256;
        let report = beside_check(stop, source.len(), &is_intact, send, |send| {
            make_variants(source, Asked { specs, limits, watermarks, facts: *facts }, stop, send)
        });
        Worked { report, cpu: begun.elapsed() + (stop.lent() - lent) }
    }
}

/// Does `make` while a core that is idle, if there is one, sees whether the source is what was stored; before that is known nothing is
/// published. `None`: it is not.
pub(super) fn beside_check(
    stop: &Stop,
    source_bytes: usize,
    is_intact: &(dyn Fn() -> bool + Sync),
    publish: &mut (dyn FnMut(VariantOutcome) + Send),
    make: impl FnOnce(&mut (dyn FnMut(VariantOutcome) + Send)) -> Result<RunReport, image_pipeline::Error> + Send,
) -> Option<Result<RunReport, image_pipeline::Error>> {
    if source_bytes < CHECKED_BESIDE_BYTES {
        return is_intact().then(|| make(publish));
    }
    let intact = OnceLock::new();
    let parts = Mutex::new((Some((make, publish)), None));
    stop.share(2, &|part| {
        if part == 0 {
            intact.get_or_init(is_intact);
            return;
        }
        let taken = lock(&parts).0.take();
        if let Some((make, publish)) = taken {
            let report = make(&mut |outcome| {
                if *intact.get_or_init(is_intact) {
                    publish(outcome);
                }
            });
            lock(&parts).1 = Some(report);
        }
    });
    lock(&parts).1.take().filter(|_| *intact.get_or_init(is_intact))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is asked of the pipeline.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) specs: &'a [Spec],
    pub(super) limits: &'a Limits,
    pub(super) watermarks: &'a Watermarks,
    /// The report shall say what the original is.
    pub(super) facts: bool,
}

/// Makes all variants of a source.
pub(super) fn make_variants(
    source: &[u8],
    asked: Asked<'_>,
    stop: &Stop,
    publish: &mut (dyn FnMut(VariantOutcome) + Send),
) -> Result<RunReport, image_pipeline::Error> {
    let Asked { specs, limits, watermarks, facts } = asked;
    let found = probe(&mut std::io::Cursor::new(source), limits)?;
    let planned = plan_with(&found, specs, limits, watermarks)?;
    let planned = if facts { planned.with_facts()? } else { planned };
    let spare = Idle { stop, lent: Mutex::default() };
    run(&planned, source, &Context { deadline: Some(stop.deadline), cancel: &stop.cancel, spare: Some(&spare) }, publish)
}

/// The pool's idle cores and free memory, as the pipeline asks for them.
#[derive(Debug)]
struct Idle<'a> {
    stop: &'a Stop,
    /// Given back when the run has ended.
    lent: Mutex<Vec<BytesPermit>>,
}

impl Spare for Idle<'_> {
    fn share(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        self.stop.share(count, work);
    }

    fn lend_bytes(&self, bytes: u64) -> bool {
        let permit = self.stop.more_bytes(bytes);
        let is_lent = permit.is_some();
        lock(&self.lent).extend(permit);
        is_lent
    }
}
