//! The seams for time and chance: production uses the system, tests a clock they turn by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use uuid::{NoContext, Uuid};

use crate::domain::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `now`.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_millis()))
    }

    /// Moves on by `ms` milliseconds (back, if negative).
    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Makes ids.
pub trait IdSource: Send + Sync + 'static {
    /// A fresh UUIDv7 for something that happens at `now`.
    fn new_id(&self, now: Timestamp) -> Uuid;
}

/// UUIDv7 (RFC 9562, section 5.7) with all 74 bits beside the time random: no counter, so that an id tells
/// nothing about its neighbours.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn new_id(&self, now: Timestamp) -> Uuid {
        let ms = u64::try_from(now.as_millis()).unwrap_or(0);
        let sub_nanos = u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000;
        Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, ms / 1000, sub_nanos))
    }
}

/// Like [`RandomIds`], but no id carries a time before the floor, wherever the clock goes. So an id with a time before
/// the floor was made by somebody else: with the start of the process as the floor, by an earlier process.
#[derive(Clone, Copy, Debug)]
pub struct FlooredIds(Timestamp);

impl FlooredIds {
    /// Ids of times from `floor` on.
    #[must_use]
    pub const fn from(floor: Timestamp) -> Self {
        Self(floor)
    }
}

impl IdSource for FlooredIds {
    fn new_id(&self, now: Timestamp) -> Uuid {
        RandomIds.new_id(now.max(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::BlobId;

    #[test]
    fn ids_carry_the_time_and_differ() {
        let now = Timestamp::from_millis(1_790_000_000_123);
        let (a, b) = (RandomIds.new_id(now), RandomIds.new_id(now));
        assert_ne!(a, b);
        assert_eq!(a.get_version_num(), 7);
        let (secs, nanos) = a.get_timestamp().expect("v7 has a time").to_unix();
        assert_eq!((secs, nanos / 1_000_000), (1_790_000_000, 123));
    }

    #[test]
    fn a_clock_set_back_makes_no_id_from_before_the_floor() {
        let at = |now| BlobId::from_uuid(FlooredIds::from(Timestamp::from_millis(1_000)).new_id(Timestamp::from_millis(now)));
        assert_eq!(at(999).made_at(), Timestamp::from_millis(1_000));
        assert_eq!(at(-5).made_at(), Timestamp::from_millis(1_000));
        assert_eq!(at(2_000).made_at(), Timestamp::from_millis(2_000));
    }
}
