//! Idle cores and free memory lent to work that is running already, for the pieces it can be cut into.
//!
//! Knows no job and no pixels. Invariants: a core is lent only if it is free this moment, so whoever waits for one gets it first and a busy
//! pool lends nothing; it is given back after each piece; never more threads compute than cores are held for them.

use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{BytesPermit, Compute, give_way, units_up};

/// Where running work finds cores that nobody uses.
#[derive(Clone, Debug)]
pub(super) struct Lender {
    cores: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    freed: Arc<Notify>,
    wanting: Arc<AtomicU32>,
    lent_ns: Arc<AtomicU64>,
}

impl Lender {
    pub(super) fn of(pool: &Compute) -> Self {
        let Compute { cores, bytes, freed, wanting, .. } = pool;
        Self {
            cores: Arc::clone(cores),
            bytes: Arc::clone(bytes),
            freed: Arc::clone(freed),
            wanting: Arc::clone(wanting),
            lent_ns: Arc::default(),
        }
    }

    /// See [`Stop::more_bytes`](super::Stop::more_bytes).
    pub(super) fn bytes(&self, bytes: u64) -> Option<BytesPermit> {
        if self.wanting.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(units_up(bytes)).ok()?;
        Some(BytesPermit { permit: Some(permit), freed: Arc::clone(&self.freed) })
    }

    /// Time that lent threads worked, less what the borrower waited for them.
    pub(super) fn lent(&self) -> Duration {
        Duration::from_nanos(self.lent_ns.load(Ordering::Relaxed))
    }

    /// See [`Stop::share`](super::Stop::share).
    pub(super) fn share(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        let round = Round { lender: self, next: AtomicUsize::new(0), count, work, held: Mutex::default(), worked_ns: AtomicU64::new(0) };
        let waited = thread::scope(|scope| {
            let mut lent = Vec::new();
            let active = Active(&round);
            while let Some(own) = round.next_piece() {
                while round.left() > 0 && round.take_core() {
                    // Taken here, so that what is left is known before the thread is under way.
                    let first = round.next_piece();
                    let name = format!("pixmill-lent-{}", lent.len());
                    match thread::Builder::new().name(name).spawn_scoped(scope, {
                        let round = &round;
                        move || round.work_while_lent(first)
                    }) {
                        Ok(thread) => lent.push(thread),
                        Err(error) => {
                            tracing::debug!(%error, "no thread to lend");
                            round.give_back();
                            first.into_iter().for_each(work);
                            break;
                        }
                    }
                }
                work(own);
            }
            // From here on this thread only waits: its core does for one that is lent.
            drop(active);
            let begun = Instant::now();
            let mut panics = lent.into_iter().filter_map(|thread| thread.join().err());
            let first = panics.next();
            panics.for_each(drop);
            first.map_or_else(|| begun.elapsed(), |payload| resume_unwind(payload))
        });
        let worked_ns = round.worked_ns.load(Ordering::Relaxed).saturating_sub(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
        self.lent_ns.fetch_add(worked_ns, Ordering::Relaxed);
    }
}

/// Pieces of one call.
struct Round<'a> {
    lender: &'a Lender,
    next: AtomicUsize,
    count: usize,
    work: &'a (dyn Fn(usize) + Sync),
    /// A core for each thread that computes, but for one: the borrower has its own, which is as good for any of them.
    held: Mutex<Vec<OwnedSemaphorePermit>>,
    worked_ns: AtomicU64,
}

impl Round<'_> {
    fn left(&self) -> usize {
        self.count.saturating_sub(self.next.load(Ordering::Relaxed))
    }

    /// A core if nobody uses it or waits for it: a semaphore that is given a permit back hands it to those who wait.
    fn take_core(&self) -> bool {
        let Ok(core) = Arc::clone(&self.lender.cores).try_acquire_owned() else { return false };
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(core);
        true
    }

    fn give_back(&self) {
        let core = self.held.lock().unwrap_or_else(PoisonError::into_inner).pop();
        drop(core);
    }

    fn next_piece(&self) -> Option<usize> {
        Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|&piece| piece < self.count)
    }

    fn work_while_lent(&self, mut piece: Option<usize>) {
        let mut active = Active(self);
        if let Err(error) = give_way() {
            tracing::debug!(%error, "lent thread keeps its priority");
        }
        while let Some(index) = piece {
            let begun = Instant::now();
            (self.work)(index);
            self.worked_ns.fetch_add(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            drop(active);
            if self.left() == 0 || !self.take_core() {
                return;
            }
            active = Active(self);
            piece = self.next_piece();
        }
    }
}

/// A thread that computes; its core is given back when it ends, and after a panic nothing new is begun.
struct Active<'a, 'r>(&'a Round<'r>);

impl Drop for Active<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.next.store(self.0.count, Ordering::Relaxed);
        }
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ComputeError, Options, Stop};
    use super::*;
    use std::{
        sync::{Barrier, mpsc},
        thread::ThreadId,
    };

    const LONG: Duration = Duration::from_secs(60);

    fn pool(workers: u32) -> Arc<Compute> {
        Arc::new(Compute::start(Options { workers, budget_bytes: 1 << 20, max_waiting: 2, when_idle: None }).expect("threads start"))
    }

    async fn run<T: Send + 'static>(pool: &Compute, work: impl FnOnce(&Stop) -> T + Send + 'static) -> Result<T, ComputeError> {
        pool.run(pool.core().await, LONG, Arc::default(), work).await
    }

    /// Which thread had each piece.
    fn threads(stop: &Stop, count: usize, work: impl Fn(usize) + Sync) -> Vec<ThreadId> {
        let seen = Mutex::new(vec![None; count]);
        stop.share(count, &|index| {
            work(index);
            let before = seen.lock().expect("no panic")[index].replace(thread::current().id());
            assert_eq!(before, None, "each piece once");
        });
        seen.into_inner().expect("no panic").into_iter().map(|thread| thread.expect("every piece")).collect()
    }

    #[tokio::test]
    async fn an_idle_pool_lends_all_its_cores() {
        let pool = pool(3);
        for count in [3, 7] {
            let (pieces, lent) = run(&pool, move |stop| {
                let all_at_once = Barrier::new(3);
                let pieces = threads(stop, count, |index| {
                    // Comes to an end only if three threads are in it.
                    if index < 3 {
                        all_at_once.wait();
                    }
                    let name = thread::current().name().expect("named").to_owned();
                    assert!(name.starts_with("pixmill-lent-") || name.starts_with("pixmill-work-"), "{name}");
                });
                (pieces, stop.lent())
            })
            .await
            .expect("runs");
            assert!(pieces[..3].iter().all(|thread| pieces[..3].iter().filter(|other| *other == thread).count() == 1), "{pieces:?}");
            assert!(lent < LONG);
            assert_eq!(pool.free_cores(), 3);
        }
    }

    #[tokio::test]
    async fn memory_is_lent_while_nobody_waits_for_any() {
        let pool = pool(1);
        let lent = |bytes| {
            let pool = Arc::clone(&pool);
            async move { run(&pool, move |stop| stop.more_bytes(bytes).is_some()).await.expect("runs") }
        };
        assert!(lent(1 << 20).await, "all of it");
        assert!(!lent((1 << 20) + 1).await, "not more than there is");
        assert_eq!(pool.free_bytes(), 1 << 20);
        let held = pool.bytes(1 << 19).await;
        assert!(lent(1 << 19).await && !lent((1 << 19) + 1).await);
        let mut waiting = Box::pin(pool.bytes(1 << 20));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(!lent(1).await, "somebody waits for it");
        drop(held);
        drop(waiting.await);
        let mut waiting = Box::pin(pool.bytes_freed());
        // What was freed before is told at once.
        while futures_util::poll!(&mut waiting).is_ready() {
            waiting = Box::pin(pool.bytes_freed());
        }
        assert!(!lent(1).await, "the next job waits for it");
        drop(waiting);
        assert!(lent(1).await);
    }

    #[tokio::test]
    async fn a_busy_pool_lends_nothing() {
        let pool = pool(2);
        let other = pool.core().await;
        let (pieces, own) = run(&pool, |stop| (threads(stop, 5, |_| ()), thread::current().id())).await.expect("runs");
        assert_eq!(pieces, [own; 5]);
        drop(other);
        assert_eq!(run(&pool, |stop| threads(stop, 0, |_| ()).len()).await.expect("runs"), 0);
        assert_eq!(pool.free_cores(), 2);
    }

    #[tokio::test]
    async fn whoever_waits_has_a_lent_core_after_the_piece() {
        let pool = pool(2);
        let (begun, has_begun) = mpsc::channel();
        let gate = Arc::new(Barrier::new(3));
        let work = {
            let gate = Arc::clone(&gate);
            move |stop: &Stop| {
                let pieces = threads(stop, 40, |index| {
                    if index < 2 {
                        begun.send(()).expect("test waits");
                        gate.wait();
                    }
                });
                (pieces, thread::current().id())
            }
        };
        let mut running = Box::pin(run(&pool, work));
        assert!(futures_util::poll!(&mut running).is_pending());
        has_begun.recv().expect("one thread");
        has_begun.recv().expect("and another");
        let mut waiting = Box::pin(pool.core());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        gate.wait();
        // Held to the end: nothing can be lent any more.
        let core = waiting.await;
        let (pieces, own) = running.await.expect("runs");
        assert_eq!(pieces.iter().filter(|thread| **thread != own).count(), 1, "{pieces:?}");
        drop(core);
        assert_eq!(pool.free_cores(), 2);
    }

    #[tokio::test]
    async fn a_borrower_that_waits_holds_no_core_beside_the_lent_ones() {
        let pool = pool(2);
        let (open, gate) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let mut running = Box::pin(run(&pool, move |stop| {
            let (own, gate, both) = (thread::current().id(), Mutex::new(gate), Barrier::new(2));
            stop.share(2, &|_| {
                both.wait();
                begun.send(()).expect("test waits");
                if thread::current().id() != own {
                    gate.lock().expect("no panic").recv().expect("test opens");
                }
            });
        }));
        assert!(futures_util::poll!(&mut running).is_pending());
        has_begun.recv().expect("both are under way");
        // Comes only if one of the two cores is given back while the lent piece goes on.
        let core = pool.core().await;
        assert_eq!(pool.free_cores(), 0);
        open.send(()).expect("the piece waits");
        running.await.expect("runs");
        drop(core);
        assert_eq!(pool.free_cores(), 2);
    }

    #[tokio::test]
    async fn a_panic_of_a_piece_is_the_works_and_the_cores_come_back() {
        let pool = pool(3);
        for on_lent in [true, false] {
            let result = run(&pool, move |stop| {
                let (own, all) = (thread::current().id(), Barrier::new(3));
                stop.share(50, &|index| {
                    if index < 3 {
                        all.wait();
                        assert!((thread::current().id() != own) != on_lent, "boom");
                    }
                });
            })
            .await;
            assert!(matches!(&result, Err(ComputeError::Panicked(text)) if text == "boom"), "{result:?}");
            assert_eq!(pool.free_cores(), 3);
        }
        assert_eq!(run(&pool, |_| 5).await.expect("still works"), 5);
    }
}
