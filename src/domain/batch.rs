//! A batch: further work at many stored images. Its states, and what is counted of it.

use super::states::words;
use std::{fmt, str::FromStr};

words!(
    /// State of a batch.
    BatchState {
        /// Images are still to be looked at, or jobs of it wait or run.
        Running = "running",
        /// Every image that matches has its variants.
        Completed = "completed",
        /// Some have, some have not.
        Partial = "partial",
        /// None has.
        Failed = "failed",
        /// Stopped; what was done stays.
        Cancelled = "cancelled",
    }
);

/// What is counted of a batch, in images. Each image that was looked at and matches is in exactly one of `skipped`, `refused` and the five of its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// How many match: an estimate from the count at the start, exact once all were looked at. `None` before they were counted.
    pub matched: Option<u64>,
    /// Every variant had been asked for before.
    pub skipped: u64,
    /// No job can be made for it.
    pub refused: u64,
    /// Its job waits or runs.
    pub open: u64,
    /// Its job completed.
    pub completed: u64,
    /// Its job made some of the variants.
    pub partial: u64,
    /// Its job made none.
    pub failed: u64,
    /// Its job was cancelled, or deleted before it had ended.
    pub cancelled: u64,
}

impl BatchCounts {
    /// Jobs that were made.
    #[must_use]
    pub const fn jobs(&self) -> u64 {
        self.open + self.completed + self.partial + self.failed + self.cancelled
    }

    /// Images that were looked at and match.
    #[must_use]
    pub const fn looked_at(&self) -> u64 {
        self.jobs() + self.skipped + self.refused
    }

    /// Images about which nothing is left to do.
    #[must_use]
    pub const fn settled(&self) -> u64 {
        self.looked_at() - self.open
    }
}

impl BatchState {
    /// Nothing more happens, unless somebody retries a job of it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Running)
    }

    /// The state of a batch whose images were all looked at and whose jobs have all ended.
    #[must_use]
    pub const fn of_counts(counts: &BatchCounts) -> Self {
        let made = counts.completed + counts.skipped;
        let not_made = counts.failed + counts.refused;
        match (made + counts.partial, not_made + counts.partial + counts.cancelled) {
            (_, 0) => Self::Completed,
            (0, _) if not_made == 0 => Self::Cancelled,
            (0, _) => Self::Failed,
            _ => Self::Partial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_became_of_its_images() {
        let of = |skipped, refused, completed, partial, failed, cancelled| {
            BatchState::of_counts(&BatchCounts { matched: None, skipped, refused, open: 0, completed, partial, failed, cancelled })
        };
        assert_eq!(of(0, 0, 0, 0, 0, 0), BatchState::Completed, "there was nothing to do");
        assert_eq!(of(3, 0, 2, 0, 0, 0), BatchState::Completed);
        assert_eq!(of(0, 1, 2, 0, 0, 0), BatchState::Partial);
        assert_eq!(of(0, 0, 0, 1, 0, 0), BatchState::Partial);
        assert_eq!(of(1, 0, 0, 0, 0, 1), BatchState::Partial);
        assert_eq!(of(0, 1, 0, 0, 1, 1), BatchState::Failed);
        assert_eq!(of(0, 0, 0, 0, 0, 2), BatchState::Cancelled);
    }

    #[test]
    fn every_image_is_counted_once() {
        let counts =
            BatchCounts { matched: Some(40), skipped: 1, refused: 2, open: 4, completed: 8, partial: 16, failed: 32, cancelled: 64 };
        assert_eq!((counts.jobs(), counts.looked_at(), counts.settled()), (124, 127, 123));
    }
}
