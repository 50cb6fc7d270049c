//! When a job that failed for a passing reason is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Pause after the given attempt (from 1): doubling from one second to five minutes, each shortened by up to half.
/// `noise` is any evenly spread number; it keeps jobs that failed together from coming back together
/// ("equal jitter", M. Brooker, AWS Architecture Blog, 2015).
pub(super) fn pause_after(attempt: u32, noise: u64) -> Duration {
    let doubled = FIRST.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX)).min(LONGEST);
    let half_ms = u64::try_from(doubled.as_millis()).unwrap_or(u64::MAX) / 2;
    Duration::from_millis(half_ms + noise % (half_ms + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_bounds() {
        for attempt in 1..80 {
            let (low, high) = (pause_after(attempt, 0), pause_after(attempt, u64::MAX - u64::MAX % 500));
            assert!(low >= Duration::from_millis(500) && high <= LONGEST, "{attempt}: {low:?} {high:?}");
        }
        assert!(pause_after(4, 0) > pause_after(2, 0));
        assert_ne!(pause_after(3, 1), pause_after(3, 2));
    }
}
