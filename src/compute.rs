//! The one door to CPU work: own named threads behind permits in cores and bytes, a deadline, panics turned into errors.
//!
//! Nothing else in the service computes on pixels, and nothing here knows what a job is. Invariants: never more work at
//! once than there are threads; never more bytes admitted than the budget; a full waiting line refuses, it does not grow.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

mod lend;

use lend::Lender;

/// Bytes are admitted in units of this size, so that a budget of any machine fits a semaphore's counter.
const UNIT_BYTES: u64 = 64 << 10;

/// Worker threads yield to the threads that serve connections: on a saturated machine an upload or a health check is
/// answered first, and image work takes what is left. The bench `pool` shows the difference.
const WORKER_NICENESS: i32 = 10;

/// How the pool is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads, and permits in cores.
    pub workers: u32,
    /// Permits in bytes.
    pub budget_bytes: u64,
    /// Callers of [`Compute::admit`] that may wait at once.
    pub max_waiting: u32,
    /// What a thread does when there was work and then none for a while.
    pub when_idle: Option<WhenIdle>,
}

/// What is done after work, once every core has been free for a while: at most once for each time that there was work.
#[derive(Clone, Copy, Debug)]
pub struct WhenIdle {
    /// How long nothing was begun.
    pub pause: Duration,
    /// Done on a pool thread; work that comes in meanwhile is taken by another, if there is one.
    pub call: fn(),
}

/// Why work was not admitted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It could never fit.
    #[error("work needs {cost_bytes} bytes, the whole budget is {budget_bytes}")]
    TooCostly {
        /// What it needs.
        cost_bytes: u64,
        /// What there is.
        budget_bytes: u64,
    },
    /// Too many wait already.
    #[error("{waiting} callers wait already, which is the limit")]
    Full {
        /// How many.
        waiting: u32,
    },
}

/// Why admitted work gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// It panicked; the text is the panic's own.
    #[error("work panicked: {0}")]
    Panicked(String),
    /// The pool is gone.
    #[error("the pool has stopped")]
    Stopped,
}

/// What running work looks at between its steps, and where it finds help.
#[derive(Clone, Debug)]
pub struct Stop {
    /// When it has to end.
    pub deadline: Instant,
    /// Set when nobody wants the result any more.
    pub cancel: Arc<AtomicBool>,
    lender: Lender,
}

impl Stop {
    /// Calls `work` with each of `0..count` once, on this thread and on threads of cores that are free; returns when all calls have ended.
    ///
    /// Never waits for a core, and lends none that somebody waits for: each is given back after its call. Memory is not asked for: what
    /// runs at once has to fit in what this work was admitted with, or has of [`Stop::more_bytes`].
    ///
    /// # Panics
    /// With the panic of a call, after those under way have ended; the others are not begun then.
    pub fn share(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        self.lender.share(count, work);
    }

    /// More memory than this work was admitted with, if so much is free and nobody waits for any.
    #[must_use]
    pub fn more_bytes(&self, bytes: u64) -> Option<BytesPermit> {
        self.lender.bytes(bytes)
    }

    /// Time that other cores worked for this work beside its own so far.
    #[must_use]
    pub fn lent(&self) -> Duration {
        self.lender.lent()
    }
}

/// The right to use one core.
#[derive(Debug)]
pub struct CorePermit(#[expect(dead_code, reason = "held, not read: dropping it frees the core")] OwnedSemaphorePermit);

/// The right to use some of the memory budget.
#[derive(Debug)]
pub struct BytesPermit {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
}

impl Drop for BytesPermit {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.freed.notify_one();
    }
}

/// One more in a count, until it is dropped.
struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn in_line(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The pool. Dropping it lets the threads end after the work they hold.
#[derive(Debug)]
pub struct Compute {
    options: Options,
    cores: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    freed: Arc<Notify>,
    waiting: AtomicU32,
    /// Those who wait for bytes.
    wanting: Arc<AtomicU32>,
    work: crossbeam_channel::Sender<Work>,
}

impl Compute {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(options: Options) -> std::io::Result<Self> {
        let (work, inbox) = crossbeam_channel::unbounded::<Work>();
        let cores = Arc::new(Semaphore::new(options.workers as usize));
        let has_worked = Arc::new(AtomicBool::new(false));
        for n in 0..options.workers {
            let (inbox, cores, has_worked) = (inbox.clone(), Arc::clone(&cores), Arc::clone(&has_worked));
            std::thread::Builder::new().name(format!("pixmill-work-{n}")).spawn(move || {
                if let Err(error) = give_way() {
                    tracing::warn!(%error, "worker thread keeps normal priority");
                }
                let is_idle = || cores.available_permits() == options.workers as usize;
                while let Some(piece) = next_piece(&inbox, options.when_idle, &has_worked, is_idle) {
                    piece();
                    has_worked.store(true, Ordering::Relaxed);
                }
            })?;
        }
        Ok(Self {
            options,
            cores,
            bytes: Arc::new(Semaphore::new(units_down(options.budget_bytes) as usize)),
            freed: Arc::new(Notify::new()),
            waiting: AtomicU32::new(0),
            wanting: Arc::default(),
            work,
        })
    }

    /// The whole memory budget in bytes, as far as it can be admitted.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        u64::from(units_down(self.options.budget_bytes)) * UNIT_BYTES
    }

    /// Bytes not admitted to anybody now.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.bytes.available_permits() as u64 * UNIT_BYTES
    }

    /// Cores in all.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.options.workers as usize
    }

    /// Cores not in use now.
    #[must_use]
    pub fn free_cores(&self) -> u64 {
        self.cores.available_permits() as u64
    }

    /// Waits for a core. Callers are served in the order they came.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line.
    pub async fn core(&self) -> CorePermit {
        CorePermit(self.permits(&self.cores, 1).await)
    }

    /// A core if one is free now.
    #[must_use]
    pub fn try_core(&self) -> Option<CorePermit> {
        Arc::clone(&self.cores).try_acquire_owned().ok().map(CorePermit)
    }

    /// Waits for bytes (rounded up to whole units, and down to the whole budget). Never to be awaited while holding a core:
    /// [`Compute::admit`] takes bytes first, and two that wait for each other wait for ever.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line.
    pub async fn bytes(&self, cost_bytes: u64) -> BytesPermit {
        let units = units_up(cost_bytes).min(units_down(self.options.budget_bytes));
        let _place = Place::in_line(&self.wanting);
        BytesPermit { permit: Some(self.permits(&self.bytes, units).await), freed: Arc::clone(&self.freed) }
    }

    /// Bytes if so many are free now (rounded as in [`Compute::bytes`]).
    #[must_use]
    pub fn try_bytes(&self, cost_bytes: u64) -> Option<BytesPermit> {
        let units = units_up(cost_bytes).min(units_down(self.options.budget_bytes));
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(units).ok()?;
        Some(BytesPermit { permit: Some(permit), freed: Arc::clone(&self.freed) })
    }

    async fn permits(&self, semaphore: &Arc<Semaphore>, n: u32) -> OwnedSemaphorePermit {
        match Arc::clone(semaphore).acquire_many_owned(n).await {
            Ok(permit) => permit,
            // The semaphores are never closed: they live as long as the pool, which `self` borrows.
            Err(_) => std::future::pending().await,
        }
    }

    /// Resolves when bytes have been given back since the last call.
    pub async fn bytes_freed(&self) {
        let _place = Place::in_line(&self.wanting);
        self.freed.notified().await;
    }

    /// Waits for both a core and `cost_bytes`, in a line of bounded length.
    ///
    /// # Errors
    /// [`Refused::TooCostly`] if it could never fit, [`Refused::Full`] if the line is full.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line.
    pub async fn admit(&self, cost_bytes: u64) -> Result<(CorePermit, BytesPermit), Refused> {
        if cost_bytes > self.budget_bytes() {
            return Err(Refused::TooCostly { cost_bytes, budget_bytes: self.budget_bytes() });
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _place = Place(&self.waiting);
        if before >= self.options.max_waiting {
            return Err(Refused::Full { waiting: before });
        }
        // Bytes first: whoever waits for memory must not hold a core idle.
        let bytes = self.bytes(cost_bytes).await;
        Ok((self.core().await, bytes))
    }

    /// Runs `work` on a pool thread; the core is given back the moment it ends. The deadline runs from the moment
    /// the work begins.
    ///
    /// # Errors
    /// [`ComputeError::Panicked`] if the work panicked.
    ///
    /// # Cancel safety
    /// Dropping the future sets the cancel flag; the core is given back when the work has noticed.
    pub async fn run<T: Send + 'static>(
        &self,
        core: CorePermit,
        limit: Duration,
        cancel: Arc<AtomicBool>,
        work: impl FnOnce(&Stop) -> T + Send + 'static,
    ) -> Result<T, ComputeError> {
        struct CancelOnDrop(Option<Arc<AtomicBool>>);
        impl Drop for CancelOnDrop {
            fn drop(&mut self) {
                if let Some(flag) = &self.0 {
                    flag.store(true, Ordering::Relaxed);
                }
            }
        }
        let (reply, answer) = oneshot::channel();
        let mut guard = CancelOnDrop(Some(Arc::clone(&cancel)));
        let lender = Lender::of(self);
        let piece: Work = Box::new(move || {
            let stop = Stop { deadline: Instant::now() + limit, cancel, lender };
            let result = caught(|| work(&stop));
            drop(core);
            // Nobody listening means nobody wants it.
            let _ = reply.send(result);
        });
        self.work.send(piece).map_err(|_| ComputeError::Stopped)?;
        let result = answer.await.unwrap_or(Err(ComputeError::Stopped));
        guard.0 = None;
        result
    }
}

/// Does `work`, whose panic is an error.
///
/// # Errors
/// [`ComputeError::Panicked`] if it panicked.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, ComputeError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| ComputeError::Panicked(panic_text(&*payload)))
}

/// The time that the calling thread has been on a core: as long as the clock on the wall where nobody else wants one.
#[must_use]
pub fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The next piece of work, `None` when the pool is gone. The first thread that waits in vain after work, and finds no core in use, does
/// what is to be done then.
fn next_piece(
    inbox: &crossbeam_channel::Receiver<Work>,
    when_idle: Option<WhenIdle>,
    has_worked: &AtomicBool,
    is_idle: impl Fn() -> bool,
) -> Option<Work> {
    while let Some(WhenIdle { pause, call }) = when_idle.filter(|_| has_worked.load(Ordering::Relaxed)) {
        match inbox.recv_timeout(pause) {
            Ok(piece) => return Some(piece),
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return None,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                if is_idle() && has_worked.swap(false, Ordering::Relaxed) {
                    call();
                }
            }
        }
    }
    inbox.recv().ok()
}

/// Lowers the calling thread's weight and asks for the longest time slice.
///
/// Weight alone is not enough: since Linux 6.6 (EEVDF) a thread that wakes may have to wait for the end of the running
/// one's slice, and an upload wakes a thread a dozen times on its way. From 6.12 on a thread that wakes with a shorter
/// slice takes the core at once; older kernels ignore the wish (sched_setattr(2), `sched_runtime`).
#[allow(unsafe_code)]
fn give_way() -> std::io::Result<()> {
    const LONGEST_SLICE_NS: u64 = 100_000_000;
    let wish = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: WORKER_NICENESS,
        sched_priority: 0,
        sched_runtime: LONGEST_SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the call reads `size` bytes of `wish`, which lives until it returns, and writes no memory of ours; 0 is the
    // calling thread.
    let failed = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wish, 0) } != 0;
    if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

fn units_up(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

fn units_down(bytes: u64) -> u32 {
    // Half of u32 is far above any machine (128 TiB) and below what a semaphore may hold.
    u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).min(u32::MAX / 2)
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string).or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no text".to_owned())
}

/// Starts so many threads at once and lets them end.
///
/// # Errors
/// When the system gives fewer.
pub fn can_start(threads: usize) -> std::io::Result<()> {
    let gate = std::sync::RwLock::new(());
    let closed = gate.write();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, || drop(gate.read()))?;
        }
        drop(closed);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn pool(workers: u32, budget_bytes: u64) -> Arc<Compute> {
        Arc::new(Compute::start(Options { workers, budget_bytes, max_waiting: 2, when_idle: None }).expect("threads start"))
    }

    fn flag() -> Arc<AtomicBool> {
        Arc::new(AtomicBool::new(false))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn never_more_at_once_than_workers() {
        let pool = pool(3, 1 << 30);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = Vec::new();
        for _ in 0..40 {
            let (pool, now, most) = (Arc::clone(&pool), Arc::clone(&now), Arc::clone(&most));
            tasks.push(tokio::spawn(async move {
                let core = pool.core().await;
                let work = move |_: &Stop| {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                pool.run(core, LONG, flag(), work).await.expect("runs");
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(pool.free_cores(), 3);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_core_comes_back() {
        let pool = pool(1, 1 << 30);
        for _ in 0..3 {
            let core = pool.core().await;
            let result = pool.run(core, LONG, flag(), |_| -> () { panic!("boom {}", 7) }).await;
            assert!(matches!(result, Err(ComputeError::Panicked(text)) if text == "boom 7"));
        }
        assert_eq!(pool.run(pool.core().await, LONG, flag(), |_| 5).await.expect("still works"), 5);
    }

    #[tokio::test]
    async fn bytes_are_admitted_up_to_the_budget() {
        let pool = pool(4, 10 * UNIT_BYTES);
        assert_eq!(
            pool.admit(11 * UNIT_BYTES).await.expect_err("never fits"),
            Refused::TooCostly { cost_bytes: 11 * UNIT_BYTES, budget_bytes: 10 * UNIT_BYTES }
        );
        let held = pool.bytes(8 * UNIT_BYTES).await;
        assert_eq!(pool.free_bytes(), 2 * UNIT_BYTES);
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.admit(3 * UNIT_BYTES).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.expect("no panic").expect("admitted");
        assert_eq!((pool.free_bytes(), pool.free_cores()), (10 * UNIT_BYTES, 4));
    }

    #[tokio::test]
    async fn a_full_line_refuses() {
        let pool = pool(1, UNIT_BYTES);
        let held = pool.admit(1).await.expect("free");
        let mut line: Vec<_> = (0..2).map(|_| Box::pin(pool.admit(1))).collect();
        for waiter in &mut line {
            assert!(futures_util::poll!(waiter).is_pending());
        }
        assert_eq!(pool.admit(1).await.expect_err("line is full"), Refused::Full { waiting: 2 });
        line.pop();
        let mut again = Box::pin(pool.admit(1));
        assert!(futures_util::poll!(&mut again).is_pending(), "a place that was given up is free again");
        drop(held);
        line.remove(0).await.expect("served");
    }

    #[tokio::test]
    async fn what_is_to_be_done_when_idle_is_done_once_after_work() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let when_idle = WhenIdle {
            pause: Duration::from_millis(20),
            call: || {
                CALLS.fetch_add(1, Ordering::SeqCst);
            },
        };
        let options = Options { workers: 3, budget_bytes: 1 << 20, max_waiting: 2, when_idle: Some(when_idle) };
        let pool = Compute::start(options).expect("threads start");
        for round in 1..=2 {
            let held = pool.core().await;
            for _ in 0..4 {
                pool.run(pool.core().await, LONG, flag(), |_| ()).await.expect("runs");
            }
            tokio::time::sleep(when_idle.pause * 3).await;
            assert_eq!(CALLS.load(Ordering::SeqCst), round - 1, "somebody has a core");
            pool.run(held, LONG, flag(), |_| ()).await.expect("runs");
            while CALLS.load(Ordering::SeqCst) < round {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(when_idle.pause * 3).await;
            assert_eq!(CALLS.load(Ordering::SeqCst), round);
        }
    }

    #[tokio::test]
    async fn dropping_the_caller_cancels_the_work() {
        let pool = pool(1, UNIT_BYTES);
        let core = pool.core().await;
        let (started, has_started) = std::sync::mpsc::channel();
        let mut running = Box::pin(pool.run(core, LONG, flag(), move |stop| {
            started.send(()).expect("test waits");
            while !stop.cancel.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        }));
        assert!(futures_util::poll!(&mut running).is_pending());
        has_started.recv().expect("starts");
        drop(running);
        // Comes back only if the work noticed.
        let _core = pool.core().await;
    }
}
