//! A CPU profile of the running process: whose work the cores did for some seconds, as folded stacks or as a flame graph.
//!
//! `sampler.rs` copies registers and stack of whatever thread uses the CPU, `stacks.rs` makes names of them, `flame.rs` draws. Knows no other
//! room. Invariant: a process is never the worse for having been looked at. The signal handler touches nothing but memory of its own and asks
//! the kernel for the rest; stacks are walked later, on another thread. `docs/decisions/0062-profile.md` says why no library does this here.

mod flame;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod sampler;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod stacks;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

/// Samples in a second of CPU time, all threads together. No round number, so that nothing that happens a hundred times a second is met at
/// the same place each time.
pub const SAMPLES_PER_CPU_SECOND: u32 = 199;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// One at a time: there is one timer in a process.
    #[error("another profile is being made")]
    Busy,
    /// This system or processor is not known here.
    #[error("profiles are made on Linux on x86-64 and AArch64 only")]
    Unsupported,
    /// The system would not let us.
    #[error("the system does not let this process be profiled")]
    Refused(#[source] std::io::Error),
}

/// Makes profiles, one at a time.
#[derive(Clone, Debug)]
pub struct Profiler(Arc<Semaphore>);

impl Default for Profiler {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Profiler {
    /// Looks for `time`, then tells what it saw.
    ///
    /// # Cancel safety
    /// May be dropped: sampling ends a moment later.
    ///
    /// # Errors
    /// [`ProfileError`] says each.
    pub async fn record(&self, time: Duration) -> Result<Profile, ProfileError> {
        let Ok(only_one) = Arc::clone(&self.0).try_acquire_owned() else { return Err(ProfileError::Busy) };
        let wanted = Arc::new(AtomicBool::new(true));
        let _end = End(Arc::clone(&wanted));
        let recorded = tokio::task::spawn_blocking(move || {
            let recorded = record(time, &wanted);
            drop(only_one);
            recorded
        });
        recorded.await.unwrap_or_else(|_| Err(ProfileError::Refused(std::io::Error::other("the profile's own thread failed"))))
    }
}

/// Nobody waits for it any more.
struct End(Arc<AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn record(time: Duration, wanted: &AtomicBool) -> Result<Profile, ProfileError> {
    /// The sampler has room for a third of a second of eight cores.
    const LOOK_EVERY: Duration = Duration::from_millis(40);
    let mut stacks = stacks::Stacks::of_this_process();
    let begun = std::time::Instant::now();
    let sampling = sampler::Sampling::start(SAMPLES_PER_CPU_SECOND).map_err(ProfileError::Refused)?;
    while wanted.load(Ordering::Relaxed) && begun.elapsed() < time {
        std::thread::sleep(LOOK_EVERY.min(time.saturating_sub(begun.elapsed())));
        sampling.take(|sample| stacks.add(sample));
    }
    let lost = sampling.stop(|sample| stacks.add(sample));
    Ok(Profile { time: begun.elapsed(), lost, folded: stacks.folded() })
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn record(_: Duration, _: &AtomicBool) -> Result<Profile, ProfileError> {
    Err(ProfileError::Unsupported)
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// How long was looked.
    pub time: Duration,
    /// Samples that there was no room for.
    pub lost: u64,
    /// Samples by stack: the thread's name and its functions, outermost first, joined by `;`.
    folded: BTreeMap<String, u64>,
}

impl Profile {
    /// All samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.folded.values().sum()
    }

    /// As a picture: SVG, without scripts; names and shares of all frames as their titles.
    #[must_use]
    pub fn to_svg(&self) -> String {
        flame::draw(self)
    }
}

/// One line a stack, `thread;outermost;…;innermost count`: what flame graph tools and speedscope.app read.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.folded.iter().try_for_each(|(stack, count)| writeln!(f, "{stack} {count}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn spin_for_the_profile(until: &AtomicBool) -> u64 {
        let mut sum = 0_u64;
        while !until.load(Ordering::Relaxed) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        sum
    }

    // Also on one core, and beside other tests: only shares of what was sampled are asked for.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[tokio::test]
    async fn a_busy_thread_is_seen_by_name_with_its_callers_and_one_profile_is_made_at_a_time() {
        let done = Arc::new(AtomicBool::new(false));
        let busy = {
            let done = Arc::clone(&done);
            std::thread::Builder::new().name("spinner-7".into()).spawn(move || spin_for_the_profile(&done)).expect("a thread")
        };
        let profiler = Profiler::default();
        let (first, second) = tokio::join!(profiler.record(Duration::from_secs(2)), profiler.record(Duration::from_secs(2)));
        done.store(true, Ordering::Relaxed);
        busy.join().expect("ends");
        assert!(matches!(second, Err(ProfileError::Busy)), "{second:?}");
        let profile = first.expect("a profile");
        let text = profile.to_string();
        let spinning: Vec<&str> = text.lines().filter(|line| line.contains("spin_for_the_profile")).collect();
        assert!(!spinning.is_empty(), "{text}");
        for line in &spinning {
            assert!(line.starts_with("spinner;"), "threads of one kind are one: {line}");
        }
        // Its callers were walked: the thread begins in libstd's thread start.
        assert!(
            spinning
                .iter()
                .any(|line| line.split("spin_for_the_profile").next().is_some_and(|outer| outer.contains("__rust_begin_short_backtrace"))),
            "{spinning:#?}"
        );
        let counted: u64 = text.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum();
        assert_eq!(counted, profile.samples());
        let svg = profile.to_svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("spin_for_the_profile"));
        // The next one begins from nothing.
        let idle = profiler.record(Duration::from_millis(200)).await.expect("a profile");
        assert!(!idle.to_string().contains("spin_for_the_profile"), "{idle}");
    }
}
