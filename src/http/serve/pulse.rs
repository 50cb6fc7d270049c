//! What a connection is doing, as a few numbers: written by the parts that see bytes and requests, judged once a tick.
//!
//! Timers would have to be moved at every read and write; a number is stored instead, and one look now and then decides.
//! Must not touch the connection. Invariant: [`Watch::judge`] depends on nothing but the numbers and the time it is given.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How long a connection may do nothing, or less than it should.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// From a head's first byte to its last.
    pub(super) head: Duration,
    /// Without a request in flight.
    pub(super) idle: Duration,
    /// Time in which a peer that we wait for must take `min_rate` bytes a second.
    pub(super) write: Duration,
    /// Bytes a second.
    pub(super) min_rate: u64,
}

impl Bounds {
    /// How often to look: an eighth of the shortest time, so that none is overrun by much.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.head.min(self.idle).min(self.write);
        (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(5))
    }

    /// What must be taken in `write`: at least something.
    fn quota_bytes(&self) -> u64 {
        let millis = u64::try_from(self.write.as_millis()).unwrap_or(u64::MAX);
        (self.min_rate.saturating_mul(millis) / 1000).max(1)
    }
}

/// A moment as milliseconds since the connection began, 0 for "not now".
#[derive(Debug, Default)]
pub(super) struct Mark(AtomicU64);

impl Mark {
    pub(super) fn set(&self, now_ms: u64) {
        self.0.store(now_ms.max(1), Relaxed);
    }

    /// Keeps an earlier moment.
    pub(super) fn begin(&self, now_ms: u64) {
        let _ = self.0.compare_exchange(0, now_ms.max(1), Relaxed, Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    fn at(&self) -> Option<u64> {
        Some(self.0.load(Relaxed)).filter(|ms| *ms > 0)
    }
}

/// The numbers. Each is exact for itself; together they may be a moment apart, which a tick later is healed.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    /// Since when a head has begun and not ended (HTTP/1).
    pub(super) head: Mark,
    /// Since when no request is in flight.
    idle: Mark,
    /// Whether the last write could not be taken.
    pub(super) is_blocked: AtomicBool,
    /// Whether only what still comes is read and dropped, which has bounds of its own.
    pub(super) is_lingering: AtomicBool,
    /// Whether what is unsent shall be thrown away when the connection closes.
    pub(super) is_given_up: AtomicBool,
    /// Bytes the peer's side has taken.
    pub(super) sent_bytes: AtomicU64,
    /// Requests whose answer has not ended.
    in_flight: AtomicU32,
    /// Those of them whose next step is the peer's: answered, and nobody asks for more of the answer.
    waiting_for_peer: AtomicU32,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let pulse = Self {
            begun: Instant::now(),
            head: Mark::default(),
            idle: Mark::default(),
            is_blocked: AtomicBool::new(false),
            is_lingering: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
            sent_bytes: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            waiting_for_peer: AtomicU32::new(0),
        };
        pulse.idle.set(0);
        pulse
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn request_begins(&self) {
        self.in_flight.fetch_add(1, Relaxed);
        self.idle.clear();
    }

    pub(super) fn request_ends(&self) {
        if self.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.idle.set(self.now_ms());
        }
    }

    pub(super) fn peer_is_next(&self) {
        self.waiting_for_peer.fetch_add(1, Relaxed);
    }

    pub(super) fn we_are_next(&self) {
        self.waiting_for_peer.fetch_sub(1, Relaxed);
    }
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Fine,
    /// End it in the protocol's way.
    Idle,
    /// A head took too long.
    SlowHead,
    /// The peer takes too little of what it asked for.
    SlowReader,
}

/// The judge of one connection, and what it remembers between two looks.
#[derive(Debug, Default)]
pub(super) struct Watch {
    looked_ms: u64,
    /// Time spent waiting for the peer to take bytes, and what had been sent when it began.
    stalled_ms: u64,
    sent_before: u64,
    /// When a write was last found blocked: hyper had the end of an answer by then, the peer had not.
    blocked_ms: u64,
}

impl Watch {
    pub(super) fn judge(&mut self, pulse: &Pulse, bounds: &Bounds, now_ms: u64) -> Verdict {
        let since_last = now_ms.saturating_sub(self.looked_ms);
        self.looked_ms = now_ms;
        if pulse.is_lingering.load(Relaxed) {
            return Verdict::Fine;
        }
        let over = |since: Option<u64>, limit: Duration| since.is_some_and(|at| u128::from(now_ms.saturating_sub(at)) >= limit.as_millis());
        // Behind a request in flight the rest of the next head is not read: no fault of the client.
        let (head, idle) = (pulse.head.at(), pulse.idle.at());
        if let (Some(head), Some(idle)) = (head, idle)
            // At the last look within the time, not at the first behind it.
            && over(Some(head.max(idle)), bounds.head.saturating_sub(bounds.tick()))
        {
            return Verdict::SlowHead;
        }
        let sent = pulse.sent_bytes.load(Relaxed);
        let in_flight = pulse.in_flight.load(Relaxed);
        let blocked = pulse.is_blocked.load(Relaxed);
        if blocked {
            self.blocked_ms = now_ms;
        }
        if blocked || (in_flight > 0 && pulse.waiting_for_peer.load(Relaxed) >= in_flight) {
            self.stalled_ms += since_last;
        } else if in_flight == 0 {
            self.stalled_ms = 0;
            self.sent_before = sent;
        }
        if sent.saturating_sub(self.sent_before) >= bounds.quota_bytes() {
            self.stalled_ms = 0;
            self.sent_before = sent;
        }
        if u128::from(self.stalled_ms) >= bounds.write.as_millis() {
            return Verdict::SlowReader;
        }
        // While a head comes in, its own time counts.
        if head.is_none() && !blocked && over(idle.map(|at| at.max(self.blocked_ms)), bounds.idle) {
            return Verdict::Idle;
        }
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds =
        Bounds { head: Duration::from_secs(30), idle: Duration::from_secs(75), write: Duration::from_secs(20), min_rate: 1000 };

    /// Looks once a second for `seconds`; when and what the first verdict was.
    fn run(pulse: &Pulse, watch: &mut Watch, from_s: u64, seconds: u64, mut each: impl FnMut(u64)) -> Option<(u64, Verdict)> {
        (from_s + 1..=from_s + seconds).find_map(|s| {
            each(s);
            let verdict = watch.judge(pulse, &BOUNDS, s * 1000);
            (verdict != Verdict::Fine).then_some((s, verdict))
        })
    }

    #[test]
    fn idle_counts_from_the_last_request() {
        let (pulse, mut watch) = (Pulse::new(), Watch::default());
        assert_eq!(run(&pulse, &mut watch, 0, 100, |_| ()), Some((76, Verdict::Idle)));
        let (pulse, mut watch) = (Pulse::new(), Watch::default());
        pulse.request_begins();
        assert_eq!(run(&pulse, &mut watch, 0, 1000, |_| ()), None, "a request may take as long as it takes");
        pulse.request_ends();
        pulse.idle.set(1_000_000);
        assert_eq!(run(&pulse, &mut watch, 1000, 100, |_| ()), Some((1075, Verdict::Idle)));
    }

    #[test]
    fn a_head_has_its_time() {
        let (pulse, mut watch) = (Pulse::new(), Watch::default());
        pulse.head.begin(70_000);
        pulse.head.begin(80_000);
        // A look a second here, every 2.5 s by the bounds: the last one within the 30 s.
        assert_eq!(run(&pulse, &mut watch, 70, 100, |_| ()), Some((98, Verdict::SlowHead)));
    }

    #[test]
    fn a_peer_that_takes_too_little_is_slow_and_one_at_the_rate_is_not() {
        for (bytes_a_second, verdict) in [(0, Some((20, Verdict::SlowReader))), (900, Some((20, Verdict::SlowReader))), (1000, None)] {
            let (pulse, mut watch) = (Pulse::new(), Watch::default());
            pulse.request_begins();
            pulse.is_blocked.store(true, Relaxed);
            let found = run(&pulse, &mut watch, 0, 500, |_| {
                pulse.sent_bytes.fetch_add(bytes_a_second, Relaxed);
            });
            assert_eq!(found, verdict, "{bytes_a_second}");
        }
    }

    #[test]
    fn waiting_for_us_is_not_held_against_the_peer() {
        let (pulse, mut watch) = (Pulse::new(), Watch::default());
        pulse.request_begins();
        pulse.request_begins();
        pulse.peer_is_next();
        assert_eq!(run(&pulse, &mut watch, 0, 500, |_| ()), None, "one of two answers is still being made");
        pulse.peer_is_next();
        assert_eq!(run(&pulse, &mut watch, 500, 500, |_| ()), Some((520, Verdict::SlowReader)), "a window that is never opened");
    }

    #[test]
    fn idle_counts_from_the_last_byte_that_had_to_wait() {
        let (pulse, mut watch) = (Pulse::new(), Watch::default());
        pulse.request_begins();
        pulse.request_ends();
        pulse.idle.set(1);
        pulse.is_blocked.store(true, Relaxed);
        let found = run(&pulse, &mut watch, 0, 200, |_| {
            pulse.sent_bytes.fetch_add(2000, Relaxed);
        });
        assert_eq!(found, None, "the answer is being taken");
        pulse.is_blocked.store(false, Relaxed);
        assert_eq!(run(&pulse, &mut watch, 200, 100, |_| ()), Some((275, Verdict::Idle)));
    }

    #[test]
    fn the_tick_follows_the_shortest_time() {
        assert_eq!(BOUNDS.tick(), Duration::from_millis(2500));
        assert_eq!(Bounds { write: Duration::from_millis(40), ..BOUNDS }.tick(), Duration::from_millis(10));
    }
}
