//! Code words of one block read at four places at once.
//!
//! Read one by one, each word waits for the length of the one before it: some eight cycles for one or two literals, while the processor
//! could do four times as much. So four lanes begin at places some hundred bytes apart. All but the first begin at a guess, most likely in
//! the middle of a word; but prefix codes find back to the right words by themselves after some wrong ones. Where the lane before comes to a
//! place that a lane has been at, all that this one read from there on is known to be right; what it read before is thrown away. Where it
//! comes to none, the lane's work is in vain, and words are read one by one for a while.
//!
//! Knows nothing of rows or checksums. Lanes only note what they read; it is put together in order at the end, so their guesses cannot show in
//! the result. The twin is the serial reader in `inflate`.

use crate::codes::{Codes, SYMBOL_BITS};
use crate::fault::Fault;
use crate::inflate::{Matched, copy, matched, no_word};

const LANES: usize = 4;
/// Turns of a lane in a round.
const TURNS: usize = 128;
/// Looks of a lane in a turn: of as many bits together as one refill brings at least.
const LOOKS: usize = (57 / SYMBOL_BITS) as usize;
/// Looks in which the lane before must meet the next.
const MEETING: usize = 48;
/// Literals of a lane at the most: two a look, and what a write may touch behind them.
const LITERALS: usize = 2 * (TURNS * LOOKS + MEETING) + 8;
/// Literals that a round may write beyond the limit it is given.
pub(crate) const OVERRUN: usize = LITERALS;

/// Where a lane was when a turn began.
#[derive(Clone, Copy, Default)]
struct Place {
    bit: usize,
    /// What it had noted by then.
    literals: u32,
    others: u32,
}

/// What was read that is not a literal.
#[derive(Clone, Copy)]
struct Other {
    /// Literals of the lane before it.
    literals: u32,
    what: Matched,
    /// The bit behind it.
    bit: usize,
}

struct Lane {
    places: [Place; TURNS],
    literals: [u8; LITERALS],
    others: Vec<Other>,
}

/// What lanes need from round to round.
pub(crate) struct Lanes {
    lanes: Box<[Lane; LANES]>,
    /// Bits that a lane passed over in a round, lately.
    round_bits: usize,
    /// Bytes to be written serially before the next round.
    pause: usize,
    /// The last pause: doubled by each round in vain.
    last_pause: usize,
    /// Rounds by how many lanes were right, but for those that came to an end.
    #[cfg(test)]
    pub(crate) rounds: [usize; LANES + 1],
}

/// Shortest and longest pause.
const PAUSES: std::ops::RangeInclusive<usize> = 4 << 10..=256 << 10;

/// How a round ended.
pub(crate) struct Round {
    /// The first bit that was not read.
    pub(crate) bit: usize,
    /// The block's end was read.
    pub(crate) ended: bool,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        let lane = || Lane { places: [Place::default(); TURNS], literals: [0; LITERALS], others: Vec::new() };
        Self {
            lanes: Box::new([lane(), lane(), lane(), lane()]),
            round_bits: TURNS * LOOKS * 8,
            pause: 0,
            last_pause: 0,
            #[cfg(test)]
            rounds: [0; LANES + 1],
        }
    }

    /// Whether a round over `bytes` from `bit` on is worth its while; if not, up to how many bytes may be written before it is to be asked again.
    #[inline(always)]
    pub(crate) fn pause(&mut self, bytes: &[u8], bit: usize) -> Option<usize> {
        if self.pause > 0 {
            return Some(self.pause);
        }
        // All lanes must have something to read, whatever it is.
        let last = bit / 8 + LANES * self.round_bits / 8 + 64;
        (last > bytes.len()).then_some(usize::MAX)
    }

    /// So many bytes have been written serially.
    #[inline(always)]
    pub(crate) fn written(&mut self, bytes: usize) {
        self.pause = self.pause.saturating_sub(bytes);
    }

    /// Reads from `bit` of `bytes` on and writes from `end` on, until `limit` or somewhat beyond. `inline(always)` as its callers.
    #[inline(always)]
    pub(crate) fn round(
        &mut self,
        bytes: &[u8],
        bit: usize,
        codes: &Codes,
        out: &mut [u8],
        end: &mut usize,
        limit: usize,
    ) -> Result<Round, Fault> {
        // Somewhat less than is expected, so that each lane has found the right words where the one before comes to an end.
        let apart = self.round_bits - self.round_bits / 16;
        let starts: [usize; LANES] = std::array::from_fn(|lane| bit + lane * apart);
        let (reached, turns) = self.read(bytes, starts, codes);
        let mut from = Place { bit, literals: 0, others: 0 };
        let (mut right, mut last) = (0, bit);
        for (lane, &end_of_lane) in reached.iter().enumerate() {
            let mut at = end_of_lane;
            let met = if lane + 1 < LANES { self.meet(bytes, &mut at, lane, codes, turns) } else { None };
            right = lane + 1;
            last = at.bit;
            let round = self.lanes[lane].write(from, at, out, end, limit)?;
            if let Some(round) = round {
                // That the block, or the room, came to its end says nothing of guesses.
                return Ok(round);
            }
            match met {
                Some(place) => from = place,
                None => break,
            }
        }
        self.judge(right, reached[0].bit - bit);
        Ok(Round { bit: last, ended: false })
    }

    /// Learns from a round of which so many lanes were right.
    fn judge(&mut self, right: usize, first_bits: usize) {
        #[cfg(test)]
        {
            self.rounds[right] += 1;
        }
        self.round_bits = (self.round_bits + first_bits) / 2;
        self.round_bits = self.round_bits.max(64 * LANES);
        let others: usize = self.lanes[..right].iter().map(|lane| lane.others.len()).sum();
        let is_in_vain = right < LANES - 1 || others > right * TURNS * LOOKS / 6;
        self.last_pause = if is_in_vain { (2 * self.last_pause).clamp(*PAUSES.start(), *PAUSES.end()) } else { 0 };
        self.pause = self.last_pause;
    }

    /// All lanes, turn by turn: where each came to, and how many places each has noted.
    #[inline(always)]
    fn read(&mut self, bytes: &[u8], starts: [usize; LANES], codes: &Codes) -> ([Place; LANES], usize) {
        let lanes = &mut *self.lanes;
        lanes.iter_mut().for_each(|lane| lane.others.clear());
        let mut bits = starts;
        let mut literals = [0_usize; LANES];
        let mut words = [0_u64; LANES];
        let mut turns = 0;
        'turns: while turns < TURNS {
            for lane in 0..LANES {
                lanes[lane].places[turns] =
                    Place { bit: bits[lane], literals: literals[lane] as u32, others: lanes[lane].others.len() as u32 };
            }
            turns += 1;
            for lane in 0..LANES {
                let Some(word) = word(bytes, bits[lane]) else { break 'turns };
                words[lane] = word;
            }
            for _ in 0..LOOKS {
                for lane in 0..LANES {
                    let entry = codes.symbols.look(words[lane]);
                    if entry.is_only_literals() {
                        let to = literals[lane];
                        lanes[lane].literals[to..to + 2].copy_from_slice(&entry.high().to_le_bytes());
                        literals[lane] += entry.literals();
                        words[lane] >>= entry.bits();
                        bits[lane] += entry.bits() as usize;
                    } else {
                        let Some((bit, word)) = lanes[lane].other(bytes, bits[lane], codes, &mut literals[lane]) else { break 'turns };
                        (bits[lane], words[lane]) = (bit, word);
                    }
                }
            }
        }
        (std::array::from_fn(|lane| lanes[lane].place(bits[lane], literals[lane])), turns)
    }

    /// Goes on with a lane, from `at`, to a place where the next lane was.
    #[inline(always)]
    fn meet(&mut self, bytes: &[u8], at: &mut Place, lane: usize, codes: &Codes, turns: usize) -> Option<Place> {
        let (before, next) = self.lanes.split_at_mut(lane + 1);
        let (lane, mut places) = (&mut before[lane], next[0].places[..turns].iter());
        let mut place = places.next()?;
        let (mut bit, mut literals) = (at.bit, at.literals as usize);
        for _ in 0..MEETING {
            while place.bit < bit {
                let Some(next) = places.next() else {
                    *at = lane.place(bit, literals);
                    return None;
                };
                place = next;
            }
            if place.bit == bit {
                *at = lane.place(bit, literals);
                return Some(*place);
            }
            let Some(word) = word(bytes, bit) else { break };
            let entry = codes.symbols.look(word);
            if entry.is_only_literals() {
                lane.literals[literals..literals + 2].copy_from_slice(&entry.high().to_le_bytes());
                literals += entry.literals();
                bit += entry.bits() as usize;
            } else {
                let Some((behind, _)) = lane.other(bytes, bit, codes, &mut literals) else { break };
                bit = behind;
            }
        }
        *at = lane.place(bit, literals);
        None
    }
}

/// The bits from `bit` on, 57 at least.
#[inline(always)]
fn word(bytes: &[u8], bit: usize) -> Option<u64> {
    let word: &[u8; 8] = bytes.get(bit / 8..)?.first_chunk()?;
    Some(u64::from_le_bytes(*word) >> (bit % 8))
}

impl Lane {
    fn place(&self, bit: usize, literals: usize) -> Place {
        Place { bit, literals: literals as u32, others: self.others.len() as u32 }
    }

    /// Notes what the first look did not find to be a literal; the bit behind it and the bits from there on. `None`, and nothing is noted,
    /// where it may reach beyond `bytes`.
    #[cold]
    #[inline(never)]
    fn other(&mut self, bytes: &[u8], bit: usize, codes: &Codes, literals: &mut usize) -> Option<(usize, u64)> {
        let here = word(bytes, bit)?;
        let entry = codes.symbols.resolve(codes.symbols.look(here), here);
        let mut behind = bit + entry.bits() as usize;
        let mut what = None;
        if !entry.is_only_literals() {
            // A guess may be at what is no word; it goes on all the same.
            let (found, bits) = matched(entry, here, word(bytes, behind)?, codes);
            behind = bit + bits as usize;
            what = Some(found);
        }
        let next = word(bytes, behind)?;
        self.literals[*literals..*literals + 2].copy_from_slice(&entry.high().to_le_bytes());
        *literals += entry.literals();
        self.others.extend(what.map(|what| Other { literals: *literals as u32, what, bit: behind }));
        Some((behind, next))
    }

    /// Writes what lies between two places; how the round ends where it ends with it.
    fn write(&self, from: Place, to: Place, out: &mut [u8], end: &mut usize, limit: usize) -> Result<Option<Round>, Fault> {
        let mut literals = from.literals as usize;
        for other in &self.others[from.others as usize..to.others as usize] {
            put_all(out, end, &self.literals[literals..other.literals as usize]);
            literals = other.literals as usize;
            match other.what {
                Matched::Copy { length, distance } => {
                    let (length, distance) = (usize::from(length), usize::from(distance));
                    copy(out, *end, length, distance)?;
                    *end += length;
                    if *end >= limit {
                        return Ok(Some(Round { bit: other.bit, ended: false }));
                    }
                }
                Matched::End => return Ok(Some(Round { bit: other.bit, ended: true })),
                Matched::Nothing => return Err(no_word(u32::MAX)),
            }
        }
        put_all(out, end, &self.literals[literals..to.literals as usize]);
        let is_full = *end >= limit;
        Ok(is_full.then_some(Round { bit: to.bit, ended: false }))
    }
}

#[inline(always)]
fn put_all(out: &mut [u8], end: &mut usize, literals: &[u8]) {
    out[*end..*end + literals.len()].copy_from_slice(literals);
    *end += literals.len();
}
