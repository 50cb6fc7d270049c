//! Follows the frames of an HTTP/2 connection on their way in, to bound what costs us work and brings nothing: pings,
//! settings, window updates, priorities, resets, empty data.
//!
//! The h2 crate bounds streams reset before they were accepted, CONTINUATION frames, header lists, empty and tiny DATA
//! frames and streams reset for errors; it answers every PING and SETTINGS for ever. Invariant: nine bytes of state for the
//! frame and one number for the budget.

/// What a client may send beyond requests, before anything is earned.
const BUDGET: u32 = 10_000;
/// Frames earned by time.
const EARNED_A_SECOND: u64 = 200;
/// A client that reads what we send acknowledges it with window updates: two frames for each 1024 bytes are plenty.
const BYTES_FOR_A_FRAME: u64 = 512;
/// A reset costs the work its stream had caused.
const RESET_COST: u32 = 20;

const HEAD_BYTES: usize = 9;
/// The connection preface before the first frame.
const PREFACE_BYTES: u32 = 24;

/// Frame types (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;

/// Where in a connection's frames we are, and what may still come for nothing.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    filled: usize,
    /// Bytes of preface or payload still to come.
    skip: u32,
    budget: u32,
    /// Until when time was paid for, and up to which byte sent.
    paid_ms: u64,
    paid_bytes: u64,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { head: [0; HEAD_BYTES], filled: 0, skip: PREFACE_BYTES, budget: BUDGET, paid_ms: 0, paid_bytes: 0 }
    }

    /// Goes on with the next bytes; false when the client has sent too many frames that bring nothing.
    /// `now_ms` and `sent_bytes` count from the connection's beginning.
    pub(super) fn feed(&mut self, mut bytes: &[u8], now_ms: u64, sent_bytes: u64) -> bool {
        loop {
            let here = bytes.len().min(self.skip as usize);
            // No more than `skip`, which is a u32.
            self.skip -= here as u32;
            bytes = &bytes[here..];
            let wanted = (HEAD_BYTES - self.filled).min(bytes.len());
            if wanted == 0 {
                return true;
            }
            self.head[self.filled..self.filled + wanted].copy_from_slice(&bytes[..wanted]);
            self.filled += wanted;
            bytes = &bytes[wanted..];
            if self.filled == HEAD_BYTES {
                self.filled = 0;
                let [a, b, c, kind, ..] = self.head;
                self.skip = u32::from_be_bytes([0, a, b, c]);
                if !self.pays(cost(kind, self.skip), now_ms, sent_bytes) {
                    return false;
                }
            }
        }
    }

    fn pays(&mut self, cost: u32, now_ms: u64, sent_bytes: u64) -> bool {
        if self.budget < cost {
            let earned_by_time = now_ms.saturating_sub(self.paid_ms) * EARNED_A_SECOND / 1000;
            let earned_by_bytes = sent_bytes.saturating_sub(self.paid_bytes) / BYTES_FOR_A_FRAME;
            let earned = u32::try_from(earned_by_time + earned_by_bytes).unwrap_or(BUDGET);
            self.budget = self.budget.saturating_add(earned).min(BUDGET);
            (self.paid_ms, self.paid_bytes) = (now_ms, sent_bytes);
        }
        let paid = self.budget >= cost;
        self.budget = self.budget.saturating_sub(cost);
        paid
    }
}

fn cost(kind: u8, payload_bytes: u32) -> u32 {
    match kind {
        DATA if payload_bytes > 0 => 0,
        // h2 bounds these by the number of streams and the size of a header list.
        HEADERS | CONTINUATION => 0,
        RST_STREAM => RESET_COST,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    fn begun() -> Frames {
        let mut frames = Frames::new();
        assert!(frames.feed(&[b'P'; 24], 0, 0));
        frames
    }

    /// How many of these pass, cut into pieces of `size` bytes.
    fn passing(kind: u8, payload: &[u8], size: usize) -> usize {
        let mut frames = begun();
        let bytes = frame(kind, payload);
        (0..50_000).find(|_| !bytes.chunks(size).all(|piece| frames.feed(piece, 0, 0))).unwrap_or(50_000)
    }

    #[test]
    fn floods_end_and_uploads_do_not() {
        const PING: u8 = 6;
        const SETTINGS: u8 = 4;
        const WINDOW_UPDATE: u8 = 8;
        for size in [1, 7, 9, 4096] {
            assert_eq!(passing(PING, &[0; 8], size), 10_000, "{size}");
            assert_eq!(passing(SETTINGS, &[], size), 10_000, "{size}");
            assert_eq!(passing(WINDOW_UPDATE, &[0; 4], size), 10_000, "{size}");
            assert_eq!(passing(DATA, &[], size), 10_000, "{size}");
            assert_eq!(passing(RST_STREAM, &[0; 4], size), 500, "{size}");
            assert_eq!(passing(0xfa, &[1; 30], size), 10_000, "unknown types, {size}");
            assert_eq!(passing(DATA, &[7; 100], size), 50_000, "{size}");
        }
    }

    #[test]
    fn time_and_what_was_sent_earn_frames() {
        const PING: u8 = 6;
        let ping = frame(PING, &[0; 8]);
        // How many pass after all that came for nothing has been used up.
        let then = |now_ms: u64, sent_bytes: u64| {
            let mut frames = begun();
            assert!((0..10_000).all(|_| frames.feed(&ping, 0, 0)));
            (0..20_000).take_while(|_| frames.feed(&ping, now_ms, sent_bytes)).count()
        };
        assert_eq!(then(0, 0), 0);
        assert_eq!(then(10_000, 0), 2000);
        assert_eq!(then(0, 1 << 20), 2048);
        assert_eq!(then(10_000, 1 << 20), 4048);
        assert_eq!(then(1 << 40, 0), 10_000, "never more than the budget");
    }
}
