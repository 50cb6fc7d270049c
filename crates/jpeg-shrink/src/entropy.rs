//! Entropy-coded bytes to bits: unstuffing into a window, the 64-bit accumulator, restart markers.
//!
//! Knows nothing of codes or coefficients. Unstuffing is done apart from decoding, a window of 124 KiB at a time, so that the
//! decoder's refill is one load, a shift and an or, without a branch. Invariant: at the start of every MCU the window holds more
//! bytes than an MCU can take, or all that are left; what is read past those is noticed before the next MCU, and never lies
//! outside the window.

use crate::{
    error::Error,
    input::{Input, Pause},
};

/// Bytes of the window; a power of two, so that an offset can be masked rather than checked.
pub(crate) const WINDOW_BYTES: usize = 1 << 17;

/// More than an MCU takes: 10 blocks of 64 coefficients of 16 + 16 bits are 2560 bytes; progressive refinement takes less.
const SLACK_BYTES: usize = 4096;

/// Unstuffed bytes, and room to load eight at any masked offset.
pub(crate) type Window = [u8; WINDOW_BYTES + 8];

/// The next bits, most significant first.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bits {
    acc: u64,
    /// Bits of `acc` that are consumed from, at most 63; those below are valid too, and loaded again.
    count: u32,
    /// Offset of the next byte to load.
    at: usize,
}

/// The 57 or more bits from bit `at` of the window on.
#[inline(always)]
pub(crate) fn word_at(window: &Window, at: u32) -> u64 {
    let byte = (at >> 3) as usize & (WINDOW_BYTES - 1);
    let mut eight = [0; 8];
    eight.copy_from_slice(&window[byte..byte + 8]);
    u64::from_be_bytes(eight) << (at & 7)
}

impl Bits {
    /// From bit `at` of the window on, refilled.
    #[inline(always)]
    pub(crate) fn starting(window: &Window, at: u32) -> Self {
        let mut bits = Self { acc: 0, count: 0, at: (at >> 3) as usize };
        bits.refill(window);
        bits.consume(at & 7);
        bits
    }

    /// Bit of the window that comes next.
    fn position(&self) -> u32 {
        (8 * self.at as u32).saturating_sub(self.count)
    }

    /// Leaves 56 or more valid bits.
    #[inline(always)]
    pub(crate) fn refill(&mut self, window: &Window) {
        let at = self.at & (WINDOW_BYTES - 1);
        let mut eight = [0; 8];
        eight.copy_from_slice(&window[at..at + 8]);
        self.acc |= u64::from_be_bytes(eight) >> (self.count & 63);
        self.at += ((63 - (self.count & 63)) >> 3) as usize;
        self.count |= 56;
    }

    #[inline(always)]
    pub(crate) fn peek(&self) -> u64 {
        self.acc
    }

    /// Steps over `bits`, which must be no more than are valid.
    #[inline(always)]
    pub(crate) fn consume(&mut self, bits: u32) {
        self.acc <<= bits & 63;
        self.count = self.count.wrapping_sub(bits);
    }

    /// Reads up to 16 bits; at least as many must be valid.
    #[inline(always)]
    pub(crate) fn take(&mut self, bits: u32) -> u32 {
        let value = ((self.acc >> 1) >> (63 - bits)) as u32;
        self.consume(bits);
        value
    }
}

/// One scan's entropy-coded bytes. Offsets are those of the file; what of it is there comes with each call.
pub(crate) struct Source {
    /// Offset of the next byte to unstuff.
    from: usize,
    /// Offset of the segment's first byte, and unstuffed bytes that have left the window since: for errors.
    segment_from: usize,
    dropped: usize,
    pub(crate) window: Box<Window>,
    /// Unstuffed bytes in the window.
    filled: usize,
    /// Whether nothing more comes before the next marker.
    ended: bool,
    /// Where the window must be seen to, as a byte offset in it.
    low: usize,
    pub(crate) bits: Bits,
    interval: u32,
    until_restart: u32,
    next_restart: u8,
}

impl Source {
    /// From offset `from` on; `next_restart` is the number of the first restart marker that is due.
    pub(crate) fn new(from: usize, restart_interval: u32, next_restart: u8) -> Self {
        Self {
            from,
            segment_from: from,
            dropped: 0,
            window: Box::new([0; WINDOW_BYTES + 8]),
            filled: 0,
            ended: false,
            low: 0,
            bits: Bits::default(),
            interval: restart_interval,
            until_restart: restart_interval,
            next_restart,
        }
    }

    /// To be called before every MCU; `true` where a restart marker was passed and predictions begin anew.
    #[inline(always)]
    pub(crate) fn before_mcu(&mut self, input: Input<'_>) -> Result<bool, Pause> {
        let restarted = self.interval != 0 && self.until_restart == 0;
        if restarted {
            self.restart(input)?;
        }
        if self.bits.at >= self.low {
            self.top_up(input)?;
        }
        if self.interval != 0 {
            self.until_restart -= 1;
        }
        Ok(restarted || self.fresh())
    }

    /// Whether an MCU comes that begins a segment.
    fn fresh(&self) -> bool {
        self.interval != 0 && self.until_restart + 1 == self.interval
    }

    /// Fills the window from the next bit on, and returns that bit and the one where looking ahead must end; `None` where more of the input
    /// should be waited for. No restart may be due.
    pub(crate) fn look_ahead(&mut self, input: Input<'_>) -> Option<(u32, u32)> {
        let at = self.bits.position();
        if !self.ended {
            self.bits = Bits { acc: 0, count: 0, at: (at >> 3) as usize };
            self.fill(input);
            self.bits = Bits::starting(&self.window, at & 7);
            if !self.ended && self.filled < WINDOW_BYTES - SLACK_BYTES {
                return None;
            }
        }
        // What a group of look-ups takes lies before the end then.
        Some((self.bits.position(), 8 * (self.filled as u32).saturating_sub(16)))
    }

    /// Offset of the first byte that is still needed.
    pub(crate) fn needed_from(&self) -> usize {
        self.from
    }

    /// Goes on at bit `at` of the window.
    pub(crate) fn go_to(&mut self, at: u32) {
        self.bits = Bits::starting(&self.window, at);
    }

    /// MCUs between two restart markers; 0 for none.
    pub(crate) fn restart_interval(&self) -> usize {
        self.interval as usize
    }

    /// To be called after the last MCU: whether what was decoded was there. Returns where to look for the next marker.
    pub(crate) fn finish(&self, input: Input<'_>) -> Result<(), Error> {
        self.check(input)
    }

    /// Roughly where decoding stands in the file.
    pub(crate) fn position(&self, input: Input<'_>) -> usize {
        let mut unstuffed = self.dropped + (self.bits.at.saturating_sub(self.bits.count as usize / 8)).min(self.filled);
        if self.segment_from < input.base {
            // The segment's beginning is gone; stuffing is rare.
            return (self.segment_from + unstuffed).min(self.from);
        }
        let mut at = self.segment_from;
        while unstuffed > 0 && at < input.end() {
            at += if input.after(at).starts_with(&[0xff, 0]) { 2 } else { 1 };
            unstuffed -= 1;
        }
        at.min(input.end())
    }

    fn check(&self, input: Input<'_>) -> Result<(), Error> {
        let consumed = 8 * self.bits.at as u64 - u64::from(self.bits.count.min(8 * self.bits.at as u32));
        if !self.ended || consumed <= 8 * self.filled as u64 {
            return Ok(());
        }
        match input.after(self.from) {
            [_, marker, ..] => Err(Error::malformed(self.from, format!("entropy-coded data end early, at marker {marker:#04x}"))),
            _ => Err(Error::truncated(input.end())),
        }
    }

    #[cold]
    #[inline(never)]
    fn top_up(&mut self, input: Input<'_>) -> Result<(), Pause> {
        self.check(input)?;
        if !self.ended {
            self.fill(input);
            if !self.ended && self.bits.at >= self.low {
                return Err(Pause::Starved);
            }
        }
        Ok(())
    }

    /// Moves what is left to the front and unstuffs more behind it.
    fn fill(&mut self, input: Input<'_>) {
        let used = self.bits.at.min(self.filled);
        self.dropped += used;
        self.window.copy_within(used..self.filled, 0);
        self.filled -= used;
        self.bits.at -= used;
        let room = &mut self.window[self.filled..WINDOW_BYTES - SLACK_BYTES];
        let mut at = self.from.saturating_sub(input.base);
        let (written, ended) = unstuff(input.bytes, &mut at, room);
        self.from = input.base + at;
        self.filled += written;
        // A marker takes two bytes to tell; without them the end may only be that of what has come.
        self.ended = ended && (input.complete || at + 1 < input.bytes.len());
        self.low = if self.ended { self.filled } else { self.filled.saturating_sub(SLACK_BYTES) };
        if self.ended {
            // What is read past the end is zeros, whatever the window held before.
            self.window[self.filled..self.filled + SLACK_BYTES].fill(0);
        }
    }

    /// Passes the restart marker that is due, over what stands before it.
    fn restart(&mut self, input: Input<'_>) -> Result<(), Pause> {
        self.check(input)?;
        while !self.ended {
            let before = self.from;
            self.filled = 0;
            self.bits = Bits::default();
            self.fill(input);
            if !self.ended && self.from == before {
                return Err(Pause::Starved);
            }
        }
        let mut at = self.from;
        while input.after(at).get(1) == Some(&0xff) {
            at += 1;
        }
        match input.after(at).get(1) {
            Some(&code) if code == 0xd0 + self.next_restart => {}
            Some(&code) => {
                let due = self.next_restart;
                return Err(Error::malformed(at, format!("marker {code:#04x} stands where restart {due} is due")).into());
            }
            None if input.complete => return Err(Error::truncated(input.end()).into()),
            None => return Err(Pause::Starved),
        }
        self.next_restart = (self.next_restart + 1) & 7;
        self.until_restart = self.interval;
        self.from = at + 2;
        self.segment_from = self.from;
        self.dropped = 0;
        self.bits = Bits::default();
        self.filled = 0;
        self.low = 0;
        self.ended = false;
        Ok(())
    }
}

/// Copies entropy-coded bytes from `source[*at..]` without their stuffing until `out` is full (`false`) or a marker or the end of the
/// input is reached (`true`, `*at` at the `FF`).
fn unstuff(source: &[u8], at: &mut usize, out: &mut [u8]) -> (usize, bool) {
    const STEP: usize = 32;
    let (mut from, mut to) = (*at, 0);
    let ended = loop {
        while let (Some(bytes), Some(room)) = (source.get(from..from + STEP), out.get_mut(to..to + STEP)) {
            room.copy_from_slice(bytes);
            let clean = bytes.iter().fold(0u8, |found, &byte| found | u8::from(byte == 0xff)) == 0;
            let whole = if clean { STEP } else { first_ff(bytes) };
            from += whole;
            to += whole;
            if !clean {
                break;
            }
        }
        let Some(place) = out.get_mut(to) else { break false };
        match source.get(from..).unwrap_or_default() {
            [0xff, 0, ..] => {
                *place = 0xff;
                from += 2;
            }
            [0xff, ..] | [] => break true,
            [byte, ..] => {
                *place = *byte;
                from += 1;
            }
        }
        to += 1;
    };
    *at = from;
    (to, ended)
}

/// Where the first `FF` of `bytes` stands, eight bytes at a time.
fn first_ff(bytes: &[u8]) -> usize {
    for (index, eight) in bytes.chunks_exact(8).enumerate() {
        let mut word = [0; 8];
        word.copy_from_slice(eight);
        let inverted = !u64::from_le_bytes(word);
        let zero = inverted.wrapping_sub(0x0101_0101_0101_0101) & !inverted & 0x8080_8080_8080_8080;
        if zero != 0 {
            return 8 * index + zero.trailing_zeros() as usize / 8;
        }
    }
    bytes.len() - bytes.len() % 8
}

#[cfg(test)]
mod tests {
    use super::{Source, unstuff};
    use crate::input::Input;
    use proptest::prelude::*;

    /// The obvious twin.
    fn slowly(source: &[u8]) -> (Vec<u8>, usize) {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < source.len() {
            match source[at..] {
                [0xff, 0, ..] => {
                    out.push(0xff);
                    at += 2;
                }
                [0xff, ..] => break,
                [byte, ..] => {
                    out.push(byte);
                    at += 1;
                }
                [] => unreachable!(),
            }
        }
        (out, at)
    }

    proptest! {
        #[test]
        fn unstuffing_agrees_with_its_twin(bytes in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(0xff), 1 => Just(0)], 0..400)) {
            let (expected, stop) = slowly(&bytes);
            let (mut out, mut at) = (vec![0; 500], 0);
            let (written, ended) = unstuff(&bytes, &mut at, &mut out);
            prop_assert!(ended);
            prop_assert_eq!(at, stop);
            prop_assert_eq!(&out[..written], &expected[..]);
        }

        #[test]
        fn bits_come_in_order_across_windows(seed in any::<u64>(), widths in prop::collection::vec(0u32..=16, 200)) {
            // More than two windows of pseudo-random bytes with stuffing.
            let mut state = seed | 1;
            let plain: Vec<u8> = (0..150_000).map(|_| { state ^= state << 13; state ^= state >> 7; state ^= state << 17; (state >> 11) as u8 }).collect();
            let mut stuffed = Vec::new();
            for &byte in &plain {
                stuffed.push(byte);
                if byte == 0xff { stuffed.push(0); }
            }
            stuffed.extend([0xff, 0xd9]);
            let input = Input::whole(&stuffed);
            let mut source = Source::new(0, 0, 0);
            let mut at = 0u64;
            'all: loop {
                prop_assert!(source.before_mcu(input).is_ok());
                for &width in &widths {
                    if at + u64::from(width) > 8 * plain.len() as u64 { break 'all; }
                    source.bits.refill(&source.window);
                    let got = source.bits.take(width);
                    let mut want = 0;
                    for bit in at..at + u64::from(width) {
                        want = want << 1 | u32::from(plain[(bit / 8) as usize] >> (7 - bit % 8) & 1);
                    }
                    prop_assert_eq!(got, want);
                    at += u64::from(width);
                }
                if widths.iter().sum::<u32>() == 0 { break; }
            }
        }
    }
}
