//! Where the blocks of a sequential scan begin, found ahead of decoding by several chains at once.
//!
//! Huffman codes can only be read one after another: each look-up waits for the one before it, and a processor that could do six
//! things at once does one. But a reader that begins at any place falls into step after a few codes, as the codes of a true and of a
//! false start soon end at the same bit (T.81's codes synchronise themselves; Klein and Wiseman, Parallel Huffman decoding, 2003). So
//! the window is cut into as many parts as there are lanes, and all are followed in turns, a group of look-ups each, without a branch
//! that depends on the data. The first lane knows where it is. It goes on into the second one's part until an MCU begins where one
//! of the second's began: from there on the second was right, and so on.
//!
//! What comes out is the bit offset of each block, so that blocks can be decoded independently. What no lane has found is left to
//! the serial reader, faults too. Knows nothing of coefficients. Invariant: an offset that is handed out is where the serial
//! reader would begin that block.

use std::hint::select_unpredictable;

use crate::{
    entropy::{Window, word_at},
    huffman::{Huffman, Skip},
    simd::{self, Avx2},
};

/// Chains followed at once.
const LANES: usize = 4;

/// Blocks a lane takes note of, at most; a power of two.
const NOTES: usize = 8192;

/// Bits an entry is found by.
const LOOK_BITS: u32 = 12;

/// Tables: two for each of four components, a power of two.
const TABLES: usize = 8;

/// Bits one entry may consume: two, and the bits the third is found by, fit the 57 that a load leaves.
const ENTRY_MAX: u32 = 22;

/// A block's end, as an index in the counter.
const END: u32 = 64 << 8;

/// Parts smaller than this are not worth the bits that are read twice until two lanes agree.
const LEAST_BITS: u32 = 8 * 2048;

/// Blocks of an MCU are ten at most (T.81, B.2.3).
const MEMBERS: usize = 16;

/// Misses after which it is not tried again.
const GIVE_UP: u32 = 12;

/// Bits a group takes at most.
const GROUP_BITS: u32 = 3 * ENTRY_MAX;

type Notes = [u32; NOTES];

/// The tables of a scan's components.
pub(crate) struct Steps {
    /// Entries are `index << 8 | bits` as in [`Skip`]. For each pair of codes a table that begins with DC, and one for AC alone.
    tables: Box<[[u16; 1 << LOOK_BITS]; TABLES]>,
    /// By `2 * place in the MCU + (whether within a block)`: the table of a group's first look-up, and of the others.
    tables_of: [[u8; 2]; 2 * MEMBERS],
    /// By `2 * place in the MCU + (whether its block ended)`: what `tables_of` is asked next.
    next_key: [u8; 2 * MEMBERS],
    /// By place in the MCU: which of the pairs.
    pair_of: [usize; MEMBERS],
    pairs: Vec<(Huffman, Huffman)>,
    members: u32,
}

impl Steps {
    /// For the blocks of an MCU, each with its DC and AC codes.
    pub(crate) fn new(members: &[(&Huffman, &Huffman)]) -> Option<Self> {
        let tables = vec![[0; 1 << LOOK_BITS]; TABLES].into_boxed_slice();
        let mut tables: Box<[[u16; 1 << LOOK_BITS]; TABLES]> = tables.try_into().ok()?;
        let (mut tables_of, mut next_key, mut pair_of) = ([[0; 2]; 2 * MEMBERS], [0; 2 * MEMBERS], [0; MEMBERS]);
        let mut pairs: Vec<(&Huffman, &Huffman)> = Vec::new();
        for (place, &(dc, ac)) in members.iter().enumerate().take(MEMBERS) {
            let known = pairs.iter().position(|pair| std::ptr::eq(pair.0, dc) && std::ptr::eq(pair.1, ac));
            let pair = known.unwrap_or(pairs.len());
            let [with_dc, ac_alone] = tables.as_chunks_mut::<2>().0.get_mut(pair)?;
            if known.is_none() {
                pairs.push((dc, ac));
                Skip::fill(with_dc, Some(dc), ac, ENTRY_MAX, true);
                Skip::fill(ac_alone, None, ac, ENTRY_MAX, true);
            }
            let (with_dc, ac_alone) = (2 * pair as u8, 2 * pair as u8 + 1);
            (tables_of[2 * place], tables_of[2 * place + 1]) = ([with_dc, ac_alone], [ac_alone, ac_alone]);
            (next_key[2 * place], next_key[2 * place + 1]) = (2 * place as u8 + 1, 2 * ((place + 1) % members.len()) as u8);
            pair_of[place] = pair;
        }
        let pairs = pairs.into_iter().map(|(dc, ac)| (dc.clone(), ac.clone())).collect();
        Some(Self { tables, tables_of, next_key, pair_of, pairs, members: members.len().min(MEMBERS) as u32 })
    }
}

/// One chain.
#[derive(Clone, Copy, Default)]
struct Lane {
    /// Bit offset in the window.
    at: u32,
    /// Coefficient index, shifted by 8; 0 before a block.
    index: u32,
    /// Place in the MCU.
    place: u32,
    /// Blocks passed.
    blocks: u32,
    /// Where it may rest.
    stop: u32,
    /// It met what is no code, and had to be right.
    lost: bool,
}

impl Lane {
    fn rests(&self) -> bool {
        self.at >= self.stop || self.blocks as usize >= NOTES - 1 || self.lost
    }
}

/// What was found ahead.
pub(crate) struct Ahead {
    notes: Box<[Notes; LANES]>,
    /// Lane, and its blocks from and to; whole MCUs.
    runs: Vec<(usize, usize, usize)>,
    /// Bit offset behind them.
    end: u32,
    members: usize,
    /// Two for each lane that the one before it did not meet, less one for each that it did.
    misses: u32,
}

impl Ahead {
    pub(crate) fn new(steps: &Steps) -> Self {
        let notes = vec![[0; NOTES]; LANES].into_boxed_slice();
        let notes = notes.try_into().unwrap_or_else(|_| Box::new([[0; NOTES]; LANES]));
        Self { notes, runs: Vec::new(), end: 0, members: steps.members as usize, misses: 0 }
    }

    /// Whether looking further is worth it: lanes that do not fall into step only cost.
    pub(crate) fn pays(&self) -> bool {
        self.misses < GIVE_UP
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Bit offset in the window behind what was found.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// Offsets of the next blocks, of `most` MCUs at most.
    pub(crate) fn take(&mut self, most: usize) -> &[u32] {
        let Some((lane, from, to)) = self.runs.first_mut() else { return &[] };
        let (lane, first) = (*lane, *from);
        let last = (first + most * self.members).min(*to);
        *from = last;
        if last == *to {
            self.runs.remove(0);
        }
        self.notes.get(lane).and_then(|notes| notes.get(first..last)).unwrap_or_default()
    }

    /// Looks from bit `from`, where an MCU begins, on to `limit`; `block_bits` is what a block takes, roughly.
    pub(crate) fn look(&mut self, steps: &Steps, window: &Window, from: u32, limit: u32, block_bits: u32) {
        self.runs.clear();
        self.end = from;
        // As many bits as the notes hold, with a third to spare for what is denser than the rest.
        let part = (limit.saturating_sub(from) / LANES as u32).min(block_bits.max(2).saturating_mul(NOTES as u32 / 4 * 3));
        if part < LEAST_BITS {
            self.misses = GIVE_UP;
            return;
        }
        let mut lanes: [Lane; LANES] = std::array::from_fn(|lane| {
            let at = from + lane as u32 * part;
            Lane { at, stop: at + part, ..Lane::default() }
        });
        for (lane, notes) in lanes.iter().zip(self.notes.iter_mut()) {
            notes[0] = lane.at;
        }
        self.follow_all(steps, window, &mut lanes);
        self.join(steps, window, &mut lanes, limit);
        if self.runs.is_empty() {
            self.misses = GIVE_UP;
        }
    }

    /// Follows every lane to its stop.
    fn follow_all(&mut self, steps: &Steps, window: &Window, lanes: &mut [Lane; LANES]) {
        loop {
            let mut left = [0; LANES];
            let mut count = 0;
            for (lane, state) in lanes.iter().enumerate() {
                if !state.rests() {
                    left[count] = lane;
                    count += 1;
                }
            }
            match count {
                0 => return,
                1 => self.follow_some(steps, window, lanes, [left[0]], true),
                2 => self.follow_some(steps, window, lanes, [left[0], left[1]], true),
                3 => self.follow_some(steps, window, lanes, [left[0], left[1], left[2]], true),
                _ => self.follow_some(steps, window, lanes, left, true),
            }
        }
    }

    /// One turn of some lanes; where `guessing`, all but the first may begin anew.
    fn follow_some<const N: usize>(
        &mut self,
        steps: &Steps,
        window: &Window,
        lanes: &mut [Lane; LANES],
        which: [usize; N],
        guessing: bool,
    ) {
        let mut some = which.map(|lane| lanes[lane]);
        if let Ok(mut notes) = self.notes.get_disjoint_mut(which) {
            let trouble = simd::run(Follow { steps, window, lanes: &mut some, notes: &mut notes });
            for (n, lane) in some.iter_mut().enumerate() {
                if trouble >> n & 1 == 1 && !singly(steps, window, lane, notes[n]) {
                    if which[n] == 0 || !guessing {
                        lane.lost = true;
                    } else {
                        // A guess that was wrong, and anew a byte on.
                        *lane = Lane { at: lane.at + 8, stop: lane.stop, ..Lane::default() };
                        notes[n][0] = lane.at;
                    }
                }
            }
        }
        for (lane, state) in which.into_iter().zip(some) {
            lanes[lane] = state;
        }
    }

    /// From lane to lane, as far as they agree.
    fn join(&mut self, steps: &Steps, window: &Window, lanes: &mut [Lane; LANES], limit: u32) {
        let (mut lane, mut from) = (0, 0);
        for next in 1..LANES {
            match self.meet(steps, window, lanes, lane, next, limit) {
                Some(place) => {
                    self.push(lane, from, lanes[lane].blocks as usize);
                    (lane, from) = (next, place);
                    self.misses = self.misses.saturating_sub(1);
                }
                None => self.misses += 2,
            }
        }
        self.push(lane, from, lanes[lane].blocks as usize);
    }

    fn push(&mut self, lane: usize, from: usize, to: usize) {
        let to = to - to % self.members.max(1);
        self.end = self.notes[lane][to & (NOTES - 1)];
        if from < to {
            self.runs.push((lane, from, to));
        }
    }

    /// Follows `lane` into the part of `next` until an MCU of both begins at the same bit; the number of that block in `next`.
    fn meet(&mut self, steps: &Steps, window: &Window, lanes: &mut [Lane; LANES], lane: usize, next: usize, limit: u32) -> Option<usize> {
        let members = self.members.max(1);
        let known = lanes[next].blocks as usize / members;
        let mut mcu = 0;
        loop {
            let state = lanes[lane];
            if state.index == 0 && state.place == 0 {
                let notes = &self.notes[next];
                while mcu <= known && notes[(mcu * members) & (NOTES - 1)] < state.at {
                    mcu += 1;
                }
                if mcu > known {
                    return None;
                }
                if notes[(mcu * members) & (NOTES - 1)] == state.at {
                    return Some(mcu * members);
                }
            }
            lanes[lane].stop = state.at + 1;
            if lanes[lane].rests() || state.at >= limit {
                return None;
            }
            self.follow_some(steps, window, lanes, [lane], false);
        }
    }
}

/// Arguments of [`follow`].
struct Follow<'a, 'n, const N: usize> {
    steps: &'a Steps,
    window: &'a Window,
    lanes: &'a mut [Lane; N],
    notes: &'a mut [&'n mut Notes; N],
}

impl<const N: usize> simd::Work for Follow<'_, '_, N> {
    type Output = u32;

    #[inline(always)]
    fn run(self, _avx2: Option<Avx2>) -> u32 {
        follow(self.steps, self.window, self.lanes, self.notes)
    }
}

/// Follows all lanes, a group of three look-ups each in turns, until one rests or meets what its tables do not hold; returns which did,
/// a bit each. Those are left before that group.
///
/// There is no branch in it that is taken but for trouble, which is rare: what lanes share is the time that each look-up waits for the
/// one before it, and a branch taken wrongly would take that from all of them.
#[inline(always)]
fn follow<const N: usize>(steps: &Steps, window: &Window, lanes: &mut [Lane; N], notes: &mut [&mut Notes; N]) -> u32 {
    let mut states =
        lanes.map(|lane| State { at: lane.at, index: lane.index, key: 2 * lane.place + u32::from(lane.index != 0), blocks: lane.blocks });
    let mut trouble = 0;
    // As many rounds as no lane can rest in, so that they need not be asked.
    let mut rounds = u32::MAX;
    for lane in lanes.iter() {
        let bits = lane.stop.saturating_sub(lane.at) / GROUP_BITS;
        rounds = rounds.min(bits).min((NOTES as u32 - 1).saturating_sub(lane.blocks));
    }
    for _ in 0..rounds.max(1) {
        // Written out, so that the states stay in registers as far as there are some.
        if N > 0 {
            trouble |= u32::from(states[0].group(steps, window, notes[0]));
        }
        if N > 1 {
            trouble |= u32::from(states[1].group(steps, window, notes[1])) << 1;
        }
        if N > 2 {
            trouble |= u32::from(states[2].group(steps, window, notes[2])) << 2;
        }
        if N > 3 {
            trouble |= u32::from(states[3].group(steps, window, notes[3])) << 3;
        }
        if trouble != 0 {
            break;
        }
    }
    for (lane, state) in lanes.iter_mut().zip(states) {
        (lane.at, lane.index, lane.place, lane.blocks) = (state.at, state.index, state.key / 2, state.blocks);
    }
    trouble
}

/// A lane as the loop sees it.
#[derive(Clone, Copy)]
struct State {
    at: u32,
    index: u32,
    /// What `tables_of` is asked.
    key: u32,
    blocks: u32,
}

impl State {
    /// Three look-ups; `true` and unchanged where they met trouble.
    #[inline(always)]
    fn group(&mut self, steps: &Steps, window: &Window, notes: &mut Notes) -> bool {
        let word = word_at(window, self.at);
        let [first, ac] = steps.tables_of[self.key as usize & (2 * MEMBERS - 1)];
        let (first, ac) = (&steps.tables[first as usize & (TABLES - 1)], &steps.tables[ac as usize & (TABLES - 1)]);
        let one = self.index + u32::from(first[(word >> (64 - LOOK_BITS)) as usize]);
        let two = one + u32::from(ac[((word << (one & 63)) >> (64 - LOOK_BITS)) as usize]);
        let three = two + u32::from(ac[((word << (two & 63)) >> (64 - LOOK_BITS)) as usize]);
        // The first that ends the block, or the last.
        let mut reached = select_unpredictable(two >= END, two, three);
        reached = select_unpredictable(one >= END, one, reached);
        // 128 and more is an end code's; with 64 in it, no entry was found, or the last went to coefficient 63 or beyond.
        if reached & END != 0 {
            return true;
        }
        let ended = reached >> 15;
        self.at += reached & 255;
        self.index = reached & 0x3f00 & ended.wrapping_sub(1);
        self.key = u32::from(steps.next_key[((self.key & !1) | ended) as usize & (2 * MEMBERS - 1)]);
        self.blocks += ended;
        // Within a block, to the place behind it, where it will be overwritten.
        notes[(self.blocks + 1 - ended) as usize & (NOTES - 1)] = self.at;
        false
    }
}

/// Steps over up to eight symbols one by one, to the block's end at most; `false` where there is no code.
#[cold]
#[inline(never)]
fn singly(steps: &Steps, window: &Window, lane: &mut Lane, notes: &mut Notes) -> bool {
    let Some((dc, ac)) = steps.pairs.get(steps.pair_of[lane.place as usize & (MEMBERS - 1)]) else { return false };
    for _ in 0..8 {
        let bits = word_at(window, lane.at);
        let codes = if lane.index == 0 { dc } else { ac };
        let Ok((length, symbol)) = codes.find(bits) else { return false };
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let index = lane.index >> 8;
        let reached = match (index, run, size) {
            (0, 0, _) => 1,
            (0, ..) => return false,
            (_, 0..15, 0) => 64,
            _ => index + run + 1,
        };
        if reached > 64 {
            return false;
        }
        lane.at += length + size;
        lane.index = reached << 8;
        if reached == 64 {
            lane.index = 0;
            lane.blocks += 1;
            lane.place = if lane.place + 1 == steps.members { 0 } else { lane.place + 1 };
            notes[lane.blocks as usize & (NOTES - 1)] = lane.at;
            break;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::HuffmanSpec;

    /// One code of each length, from 1 on; the last is of all ones but for its last bit.
    fn codes(symbols: &[u8]) -> Huffman {
        let mut counts = [0; 16];
        counts[..symbols.len()].fill(1);
        Huffman::new(&HuffmanSpec { counts, symbols: symbols.to_vec(), at: 0 }).unwrap()
    }

    /// Three entries of 22 bits are more than the 64 of a word.
    #[test]
    fn the_longest_entries_are_counted_whole() {
        let (dc, ac) = (codes(&[0]), codes(&[0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x11, 0x0a]));
        // Blocks of 63 coefficients, a code of 12 bits and 10 extra bits each, without an end code.
        const BLOCK_BITS: usize = 1 + 63 * 22;
        let mut window: Box<Window> = vec![0; 8 + crate::entropy::WINDOW_BYTES].into_boxed_slice().try_into().unwrap();
        let (mut at, mut state) = (0, 0x1234_5678_u32);
        let limit = 8 * (window.len() - 64);
        while at + BLOCK_BITS < limit {
            at += 1;
            for _ in 0..63 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let symbol = 0b1111_1111_1110 << 10 | (state >> 22);
                for bit in (0..22).rev() {
                    window[at / 8] |= ((symbol >> bit & 1) as u8) << (7 - at % 8);
                    at += 1;
                }
            }
        }
        let steps = Steps::new(&[(&dc, &ac)]).unwrap();
        let mut ahead = Ahead::new(&steps);
        ahead.look(&steps, &window, 0, at as u32, BLOCK_BITS as u32);
        let mut found = 0;
        while !ahead.is_empty() {
            for &start in ahead.take(100) {
                assert_eq!(start as usize, found * BLOCK_BITS);
                found += 1;
            }
        }
        assert!(found > 150, "{found}");
    }
}
