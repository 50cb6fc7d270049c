//! Inflating a zlib stream (RFC 1950, 1951) into a window of bounded size, a stretch at a time.
//!
//! Knows nothing of rows. Invariant: what was not yet taken, and 32 KiB before that which is still to come, stay in the window; every byte
//! given out was counted into the checksum that the stream's end is held to.

use crate::bits::Bits;
use crate::codes::{Codes, DISTANCE_BITS, Entry, LENGTHS_ORDER, SYMBOL_BITS};
use crate::fault::Fault;
use crate::lanes::{Lanes, OVERRUN, Round};
use crate::simd::{self, Work};
use simd_adler32::Adler32;

/// How far back a copy may reach.
const WINDOW: usize = 32 << 10;
/// Bytes inflated at a time, at least: so many that moving the window costs little, so few that they stay in the second cache.
const STRETCH: usize = 96 << 10;
/// The longest copy, and what is written beyond its end.
const SLACK: usize = OVERRUN + 258 + 32;

enum State {
    /// At the stream's head.
    Head,
    /// At a block's head.
    Block,
    /// In a block of so many bytes more, as they are.
    Stored(usize),
    /// In a block of code words.
    Coded,
    /// Behind the last block.
    Ended,
}

pub(crate) struct Inflater<'s> {
    bits: Bits<'s>,
    codes: Codes,
    pub(crate) lanes: Lanes,
    state: State,
    is_last_block: bool,
    out: Vec<u8>,
    /// What was not taken lies from here
    start: usize,
    /// to here.
    end: usize,
    checksum: Adler32,
    /// Counted into the checksum up to here.
    summed: usize,
    /// What is still to be taken, all in all.
    left: u64,
    /// Nothing comes behind `end` any more, for this reason.
    fault: Option<Fault>,
}

const WRONG_CHECKSUM: Fault = Fault::Malformed("the checksum of its pixels is wrong");

impl<'s> Inflater<'s> {
    /// `all` is how many bytes will be taken in all; `most_bytes` the most that will be asked for at a time.
    pub(crate) fn new(bits: Bits<'s>, all: u64, most_bytes: usize) -> Self {
        Self {
            bits,
            codes: Codes::new(),
            lanes: Lanes::new(),
            state: State::Head,
            is_last_block: false,
            out: vec![0; WINDOW + most_bytes.max(usize::try_from(all).map_or(STRETCH, |all| all.min(STRETCH))) + SLACK],
            start: 0,
            end: 0,
            checksum: Adler32::new(),
            summed: 0,
            left: all,
            fault: None,
        }
    }

    /// The next `count` bytes, at most as many as `new` was told; fewer at the stream's end. They stay until they are [taken](Self::take).
    pub(crate) fn ahead(&mut self, count: usize) -> Result<&[u8], Fault> {
        if self.end - self.start < count {
            // A turn may look further than to what is wanted.
            self.fill(self.left).or_else(|fault| if self.end - self.start < count { Err(fault) } else { Ok(()) })?;
        }
        Ok(&self.out[self.start..self.end.min(self.start + count)])
    }

    pub(crate) fn take(&mut self, count: usize) {
        self.start += count;
        self.left -= count as u64;
    }

    /// To the end of the stream, if no more bytes come, and of the file: what else the data holds is passed over unread, as other readers do.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        if self.start == self.end {
            // The picture is there: a stream that goes on behind it, breaks off or makes no sense does it no harm.
            if let Err(WRONG_CHECKSUM) = self.fill(1) {
                return Err(WRONG_CHECKSUM);
            }
        }
        self.bits.finish()
    }

    /// Until there is room for no more, or `wanted` are there, or the stream ends.
    fn fill(&mut self, wanted: u64) -> Result<(), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let keep = self.start.min(self.end.saturating_sub(WINDOW));
        self.out.copy_within(keep..self.end, 0);
        (self.start, self.end, self.summed) = (self.start - keep, self.end - keep, self.summed - keep);
        let limit = self.out.len() - SLACK;
        let limit = usize::try_from(wanted).map_or(limit, |wanted| limit.min(self.start + wanted));
        while self.end < limit && !matches!(self.state, State::Ended) {
            self.step(limit).inspect_err(|fault| self.fault = Some(*fault))?;
        }
        self.sum();
        Ok(())
    }

    fn sum(&mut self) {
        self.checksum.write(&self.out[self.summed..self.end]);
        self.summed = self.end;
    }

    fn step(&mut self, limit: usize) -> Result<(), Fault> {
        match self.state {
            State::Head => {
                let (method, flags) = (self.bits.take(8)?, self.bits.take(8)?);
                if (method << 8 | flags) % 31 != 0 || method & 0xF != 8 || method >> 4 > 7 || flags & 0x20 != 0 {
                    return Err(Fault::Malformed("its data does not begin as a zlib stream does"));
                }
                self.state = State::Block;
            }
            State::Block if self.is_last_block => {
                self.sum();
                self.bits.align()?;
                let mut stated = 0;
                for _ in 0..4 {
                    stated = stated << 8 | self.bits.take(8)?;
                }
                if stated != self.checksum.finish() {
                    return Err(WRONG_CHECKSUM);
                }
                self.state = State::Ended;
            }
            State::Block => {
                self.is_last_block = self.bits.take(1)? == 1;
                self.state = match self.bits.take(2)? {
                    0 => {
                        self.bits.align()?;
                        let (length, inverse) = (self.bits.take(16)?, self.bits.take(16)?);
                        if length ^ inverse != 0xFFFF {
                            return Err(Fault::Malformed("its data has a block whose length is wrong"));
                        }
                        State::Stored(length as usize)
                    }
                    1 => {
                        self.codes.make_fixed()?;
                        State::Coded
                    }
                    2 => {
                        self.read_codes()?;
                        State::Coded
                    }
                    _ => return Err(Fault::Malformed("its data has a block of a kind that there is not")),
                };
            }
            State::Stored(0) => self.state = State::Block,
            State::Stored(left) => {
                let some = left.min(limit - self.end);
                let copied = self.bits.bytes(&mut self.out[self.end..self.end + some])?;
                self.end += copied;
                self.state = State::Stored(left - copied);
            }
            State::Coded => {
                let Self { bits, codes, lanes, out, end, .. } = self;
                let ended = simd::run(Stretch { bits, codes, lanes, out, end, limit })?;
                if ended || self.end < limit && self.one()? {
                    self.state = State::Block;
                }
            }
            State::Ended => {}
        }
        Ok(())
    }

    /// The head of a block with codes of its own (3.2.7).
    fn read_codes(&mut self) -> Result<(), Fault> {
        let symbols = 257 + self.bits.take(5)? as usize;
        let distances = 1 + self.bits.take(5)? as usize;
        if symbols > 286 || distances > 30 {
            return Err(Fault::Malformed("its data has a code for more than there is"));
        }
        let mut lengths_lengths = [0; 19];
        for &place in &LENGTHS_ORDER[..4 + self.bits.take(4)? as usize] {
            lengths_lengths[place] = self.bits.take(3)? as u8;
        }
        self.codes.make_lengths(&lengths_lengths)?;
        let mut lengths = [0_u8; 286 + 30];
        let lengths = &mut lengths[..symbols + distances];
        let mut at = 0;
        while at < lengths.len() {
            if self.bits.held < 32 {
                self.bits.refill()?;
            }
            let entry = self.codes.distances.look(self.bits.word);
            if entry.is_special() {
                return Err(Fault::Malformed("its data has a code word that stands for nothing"));
            }
            self.bits.pass(entry.bits())?;
            let (length, times) = match entry.high() {
                16 if at == 0 => return Err(Fault::Malformed("its data repeats a length before there is one")),
                16 => (lengths[at - 1], 3 + self.bits.take(2)?),
                17 => (0, 3 + self.bits.take(3)?),
                18 => (0, 11 + self.bits.take(7)?),
                length => (length as u8, 1),
            };
            let run = lengths.get_mut(at..at + times as usize);
            run.ok_or(Fault::Malformed("its data has more lengths than code words"))?.fill(length);
            at += times as usize;
        }
        let (symbols, distances) = lengths.split_at(symbols);
        self.codes.make(symbols, distances)
    }

    /// One word, with all care; whether it was the block's end.
    fn one(&mut self) -> Result<bool, Fault> {
        let Self { bits, codes, out, end, .. } = self;
        if bits.held < 48 {
            bits.refill()?;
        }
        // Of two words the second might be made of bits that are not there.
        let entry = codes.symbols.look_for_one(bits.word);
        if entry.is_only_literals() {
            bits.pass(entry.bits())?;
            put(out, *end, entry);
            *end += entry.literals();
            return Ok(false);
        }
        let held = bits.held;
        let (what, taken) = matched(entry, bits.word, bits.word >> entry.bits(), codes);
        bits.pass(taken)?;
        let (length, distance) = match what {
            Matched::Copy { length, distance } => (usize::from(length), usize::from(distance)),
            Matched::End => return Ok(true),
            Matched::Nothing => return Err(no_word(held)),
        };
        copy(out, *end, length, distance)?;
        *end += length;
        Ok(false)
    }
}

/// What a word comes to that is no literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    Copy {
        length: u16,
        distance: u16,
    },
    End,
    /// It is no word, or a length with none behind it.
    Nothing,
}

/// Of `entry`, resolved, whose literal is seen to, at the beginning of `word`; `behind` begins with the bits behind it. Also how many bits it takes up, at least one.
#[inline(always)]
pub(crate) fn matched(entry: Entry, word: u64, behind: u64, codes: &Codes) -> (Matched, u32) {
    if entry.is_special() {
        return if entry.is_end() { (Matched::End, entry.bits()) } else { (Matched::Nothing, 1) };
    }
    let distance = codes.distances.resolve(codes.distances.look(behind), behind);
    if distance.is_special() {
        return (Matched::Nothing, 1);
    }
    // Both fit: 258 and 32768 at the most.
    (Matched::Copy { length: entry.length(word) as u16, distance: distance.distance(behind) as u16 }, entry.bits() + distance.bits())
}

/// What cannot be read at the end of all data may have been cut.
pub(crate) fn no_word(held: u32) -> Fault {
    if held < 48 { Fault::Truncated } else { Fault::Malformed("its data has a code word that stands for nothing") }
}

/// One or two literals; of one a byte is written behind it that does not count.
#[inline(always)]
fn put(out: &mut [u8], at: usize, entry: Entry) {
    out[at..at + 2].copy_from_slice(&entry.high().to_le_bytes());
}

/// Copies what lies `distance` before `at` there, and up to 31 bytes more.
#[inline(always)]
pub(crate) fn copy(out: &mut [u8], at: usize, length: usize, distance: usize) -> Result<(), Fault> {
    let Some(mut from) = at.checked_sub(distance) else { return Err(Fault::Malformed("its data copies what lies before its beginning")) };
    let out = &mut out[..at + length + 32];
    let mut to = at;
    if distance >= 16 {
        while to < at + length {
            let some: [u8; 16] = *out[from..].first_chunk().expect("it lies before `to`");
            out[to..to + 16].copy_from_slice(&some);
            (from, to) = (from + 16, to + 16);
        }
        return Ok(());
    }
    if distance == 1 {
        let byte = out[from];
        let mut to = at;
        while to < at + length {
            out[to..to + 16].fill(byte);
            to += 16;
        }
        return Ok(());
    }
    // As many whole patterns as make eight bytes; then these over and over.
    let wide = distance * 8_usize.div_ceil(distance);
    for _ in 0..wide.min(length) {
        out[to] = out[from];
        (from, to) = (from + 1, to + 1);
    }
    while to < at + length {
        let some: [u8; 8] = *out[to - wide..].first_chunk().expect("it lies before `to`");
        out[to..to + 8].copy_from_slice(&some);
        to += 8;
    }
    Ok(())
}

/// Code words as long as there is room for the longest on both sides; whether the block's end was met.
struct Stretch<'i, 's> {
    bits: &'i mut Bits<'s>,
    codes: &'i Codes,
    lanes: &'i mut Lanes,
    out: &'i mut [u8],
    end: &'i mut usize,
    limit: usize,
}

/// Bits of the longest word for a distance and of what is behind it.
const MOST_OF_DISTANCE: u32 = 15 + 13;

/// Bytes that one turn may look at.
const TURN: usize = 16;

impl Work for Stretch<'_, '_> {
    type Output = Result<bool, Fault>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { bits, codes, lanes, out, end, limit } = self;
        let Bits { whole, at, word, held, .. } = bits;
        let bytes = whole.bytes();
        loop {
            // A little, where the held bits are those of another stretch of memory.
            let mut serially = 32;
            if let Some(bit) = (*at * 8).checked_sub(*held as usize) {
                match lanes.pause(bytes, bit) {
                    Some(pause) => serially = pause,
                    None if *end < limit => {
                        let Round { bit, ended } = lanes.round(bytes, bit, codes, out, end, limit)?;
                        (*at, *word, *held) = (bit / 8, 0, 0);
                        if bit % 8 > 0 {
                            (*at, *word, *held) = (bit / 8 + 1, u64::from(bytes[bit / 8]) >> (bit % 8), 8 - (bit % 8) as u32);
                        }
                        if ended {
                            return Ok(true);
                        }
                        continue;
                    }
                    None => return Ok(false),
                }
            }
            let begun = *end;
            let ended = serial(bytes, at, word, held, codes, out, end, limit.min(begun.saturating_add(serially)))?;
            lanes.written(*end - begun);
            if ended || *end >= limit || bytes.len() - *at < TURN {
                return Ok(ended);
            }
        }
    }
}

/// One word behind the other, as long as there are bytes for a turn and less than `limit` are written.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "what a stretch consists of, each by itself")]
fn serial(
    bytes: &[u8],
    from: &mut usize,
    word_before: &mut u64,
    held_before: &mut u32,
    codes: &Codes,
    out: &mut [u8],
    end: &mut usize,
    limit: usize,
) -> Result<bool, Fault> {
    const { assert!(3 * SYMBOL_BITS + 20 <= 56 && DISTANCE_BITS <= 15) };
    let (mut word, mut held, mut at) = (*word_before & ((1 << *held_before) - 1), *held_before, *end);
    let mut piece = &bytes[*from..];
    // At least 56 bits; those above `held` are the right ones too.
    macro_rules! refill {
        () => {{
            word |= u64::from_le_bytes(*piece.first_chunk().expect("the turn began with more")) << held;
            piece = &piece[(63 - held as usize) / 8..];
            held |= 56;
        }};
    }
    macro_rules! pass {
        ($bits:expr) => {{
            word >>= $bits;
            held -= $bits;
        }};
    }
    macro_rules! literals {
        ($entry:expr) => {{
            pass!($entry.bits());
            put(out, at, $entry);
            at += $entry.literals();
        }};
    }
    // The last literals of a turn; then the next turn, if there is one.
    macro_rules! literals_end_turn {
        ($entry:ident) => {{
            literals!($entry);
            if piece.len() < TURN || at >= limit {
                break;
            }
            refill!();
            $entry = codes.symbols.look(word);
            continue;
        }};
    }
    let mut result = Ok(false);
    if piece.len() >= TURN && at < limit {
        refill!();
        // Looked up ahead: while a copy is made the next word is on its way.
        let mut entry = codes.symbols.look(word);
        loop {
            if entry.is_only_literals() {
                literals!(entry);
                entry = codes.symbols.look(word);
                if entry.is_only_literals() {
                    literals!(entry);
                    entry = codes.symbols.look(word);
                    if entry.is_only_literals() {
                        literals_end_turn!(entry);
                    }
                }
            }
            if entry.is_special() {
                entry = codes.symbols.resolve(entry, word);
                if entry.is_only_literals() {
                    literals_end_turn!(entry);
                }
                if entry.is_special() {
                    result = if entry.is_end() { Ok(true) } else { Err(no_word(u32::MAX)) };
                    pass!(entry.bits());
                    break;
                }
            }
            // A literal may stand before it.
            out[at] = entry.high() as u8;
            at += entry.literals();
            let length = entry.length(word);
            pass!(entry.bits());
            if held < MOST_OF_DISTANCE {
                refill!();
            }
            let entry_behind = codes.distances.resolve(codes.distances.look(word), word);
            if entry_behind.is_special() {
                result = Err(no_word(u32::MAX));
                break;
            }
            let distance = entry_behind.distance(word);
            pass!(entry_behind.bits());
            let to = at;
            at += length;
            let goes_on = piece.len() >= TURN && at < limit;
            if goes_on {
                refill!();
                entry = codes.symbols.look(word);
            }
            if let Err(fault) = copy(out, to, length, distance) {
                // What was not written does not count.
                (result, at) = (Err(fault), to);
                break;
            }
            if !goes_on {
                break;
            }
        }
    }
    *from = bytes.len() - piece.len();
    (*word_before, *held_before, *end) = (word, held, at);
    result
}
