//! How fast a batch goes on, for when it will have ended. Plain numbers; knows no clock.

use std::time::Duration;

use crate::domain::{BatchCounts, Timestamp};

/// Progress is told, and the pace worked out anew, this often at most.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Since a batch was taken up by this process: a pause of the service is no part of its pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    since: Timestamp,
    settled_then: u64,
    told_at: Timestamp,
    told: BatchCounts,
    expected_end: Option<Timestamp>,
}

impl Pace {
    pub(super) const fn begun(now: Timestamp, counts: BatchCounts) -> Self {
        Self { since: now, settled_then: counts.settled(), told_at: now, told: counts, expected_end: None }
    }

    /// Whether there is something to tell; then it counts as told.
    pub(super) fn is_news(&mut self, now: Timestamp, counts: BatchCounts) -> bool {
        if self.told == counts || now.since(self.told_at) < EVERY {
            return false;
        }
        (self.told_at, self.told) = (now, counts);
        let done = counts.settled().saturating_sub(self.settled_then);
        let left = counts.matched.map(|matched| matched.saturating_sub(counts.settled()));
        self.expected_end = left.filter(|_| done > 0).map(|left| {
            let took_ms = now.since(self.since).as_millis();
            let left_ms = took_ms.saturating_mul(u128::from(left)) / u128::from(done);
            now.after(Duration::from_millis(u64::try_from(left_ms).unwrap_or(u64::MAX)))
        });
        true
    }

    pub(super) const fn expected_end(&self) -> Option<Timestamp> {
        self.expected_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(matched: Option<u64>, completed: u64, open: u64) -> BatchCounts {
        BatchCounts { matched, completed, open, ..BatchCounts::default() }
    }

    #[test]
    fn the_end_is_expected_by_what_was_done_since_it_was_taken_up() {
        let at = |s: i64| Timestamp::from_millis(1_790_000_000_000 + s * 1000);
        let mut pace = Pace::begun(at(0), counts(Some(1000), 400, 10));
        assert!(!pace.is_news(at(5), counts(Some(1000), 400, 10)), "nothing has changed");
        assert_eq!(pace.expected_end(), None);
        assert!(pace.is_news(at(10), counts(Some(1000), 500, 10)));
        assert_eq!(pace.expected_end(), Some(at(60)), "100 in 10 s, 500 are left");
        assert!(!pace.is_news(Timestamp::from_millis(at(10).as_millis() + 999), counts(Some(1000), 600, 10)), "once a second");
        assert!(pace.is_news(at(11), counts(Some(1000), 510, 10)));
        assert!(pace.is_news(at(13), counts(None, 510, 10)));
        assert_eq!(pace.expected_end(), None, "not counted yet");
    }
}
