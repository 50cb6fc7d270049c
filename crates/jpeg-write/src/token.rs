//! A scan as tokens: each a Huffman symbol with the bits that follow it, in 32 bits; kept, counted, and written once codes are known.
//!
//! Knows nothing of blocks or pictures. Invariant: whatever is kept fits the room it was given. What does not is made a second time, by
//! whoever made it, and written as it comes: memory is bounded for any picture, and only those that want much more than
//! photos do are transformed twice.

use crate::{bits::Writer, error::Error, huffman::Code};

/// Which table a symbol is of, and its place in a [`Table`].
pub(crate) const DC: [u32; 2] = [0, 1 << 8];
/// As [`DC`], for what is not DC.
pub(crate) const AC: [u32; 2] = [2 << 8, 3 << 8];

/// Bits without a symbol before them, up to 16: `RAW + count`. Symbols of DC are below.
const RAW: u32 = 0x20;

/// Most bits after a symbol: a DC difference has 11, other coefficients 10, and runs of blocks are kept below 2^11.
pub(crate) const MAX_EXTRA_BITS: u32 = 11;

/// A symbol's place, and from bit 16 on the bits after it.
pub(crate) type Token = u32;

/// Tokens of one block at most: each stands for one coefficient or more.
pub(crate) const BLOCK_TOKENS: usize = 64;

/// Room for a block's tokens and what is written over by the next: a power of two, so that places need no check.
const SLOT_TOKENS: usize = 2 * BLOCK_TOKENS;

/// Where a block's tokens go.
pub(crate) type Slot = [Token; SLOT_TOKENS];

/// For each symbol's place: its code, moved up by as many bits as follow it, from bit 5 on; the number of all those bits in bits 0 to 4.
pub(crate) type Table = [u32; 1024];

#[inline(always)]
pub(crate) const fn token(place: u32, extra: u32) -> Token {
    place | extra << 16
}

/// Up to 16 bits as they are.
pub(crate) const fn raw(bits: u32, count: u32) -> Token {
    token(RAW + count, bits)
}

/// What is nothing at all.
pub(crate) const NOTHING: Token = raw(0, 0);

/// Bits after a symbol.
const fn extra_bits(place: u32, symbol: u32) -> u32 {
    let size = symbol & 15;
    // Runs of blocks: size in the upper half.
    if place >= AC[0] && size == 0 && symbol < 0xf0 { symbol >> 4 } else { size }
}

/// Tokens of a piece of [`Sink`]'s memory: 64 KiB, still in the second-level cache when they are counted.
pub(crate) const PIECE_TOKENS: usize = 1 << 14;

/// Where tokens go.
pub(crate) struct Sink<'o> {
    /// What is being filled: a whole piece, and how far.
    piece: Vec<Token>,
    filled: usize,
    /// Counted, and not yet written; as long as they are full.
    full: Vec<Vec<Token>>,
    /// Most pieces in `full`.
    room: usize,
    counts: Box<Table>,
    /// Whether some were let go, counted only.
    spilled: bool,
    writer: Option<(Writer, Box<Table>)>,
    pub(crate) out: &'o mut Vec<u8>,
    keep_going: &'o dyn Fn() -> bool,
}

impl<'o> Sink<'o> {
    /// Keeps up to `pieces` pieces, one at least.
    pub(crate) fn new(pieces: usize, out: &'o mut Vec<u8>, keep_going: &'o dyn Fn() -> bool) -> Self {
        let room = pieces.max(1) - 1;
        let piece = vec![0; PIECE_TOKENS];
        let counts = Box::new([0; 1024]);
        Self { piece, filled: 0, full: Vec::with_capacity(room), room, counts, spilled: false, writer: None, out, keep_going }
    }

    /// Room for a block's tokens; [`Self::fill`] says how many there were.
    #[inline(always)]
    pub(crate) fn slot(&mut self) -> &mut Slot {
        if self.filled + SLOT_TOKENS > PIECE_TOKENS {
            self.flush();
        }
        #[expect(clippy::expect_used, reason = "a piece is larger than a slot, and either empty or was just seen to hold one more")]
        self.piece[self.filled..].first_chunk_mut().expect("room for a block")
    }

    #[inline(always)]
    pub(crate) fn fill(&mut self, tokens: usize) {
        self.filled += tokens;
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, token: Token) {
        if self.filled == PIECE_TOKENS {
            self.flush();
        }
        self.piece[self.filled] = token;
        self.filled += 1;
    }

    /// Empties the piece that is being filled: it is written, kept or only counted.
    #[cold]
    #[inline(never)]
    fn flush(&mut self) {
        let tokens = &self.piece[..self.filled];
        if let Some((writer, table)) = &mut self.writer {
            writer.write(tokens, table, self.out);
        } else {
            count(tokens, &mut self.counts);
            if self.spilled || self.full.len() == self.room {
                self.spilled = true;
                self.full.clear();
            } else {
                let mut piece = std::mem::replace(&mut self.piece, vec![0; PIECE_TOKENS]);
                piece.truncate(self.filled);
                self.full.push(piece);
            }
        }
        self.filled = 0;
    }

    /// Ends counting: gives the codes of the tables a scan uses, by their first place.
    pub(crate) fn codes<const N: usize>(&mut self, places: [u32; N]) -> [Code; N] {
        // The last piece stays where it is.
        count(&self.piece[..self.filled], &mut self.counts);
        let mut table = Box::new([0; 1024]);
        for bits in 1..=16 {
            table[(RAW + bits) as usize] = bits;
        }
        let codes = places.map(|place| {
            let mut counts = [0; 256];
            // Of DC's places, those from RAW on are not symbols.
            let symbols = if place < AC[0] { 16 } else { 256 };
            counts[..symbols].copy_from_slice(&self.counts[place as usize..][..symbols]);
            let code = Code::best(&counts);
            for (symbol, code, bits) in code.codes() {
                let extra = extra_bits(place, u32::from(symbol));
                table[place as usize + usize::from(symbol)] = (code << extra) << 5 | (bits + extra);
            }
            code
        });
        self.writer = Some((Writer::new(), table));
        codes
    }

    /// Whether the same tokens are to be given once more, before [`Self::finish`].
    pub(crate) fn wants_again(&mut self) -> bool {
        if self.spilled {
            self.filled = 0;
        }
        self.spilled
    }

    /// Whether the caller gave the picture up.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if (self.keep_going)() { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Ends the scan; what follows is another's.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        if let Some((writer, table)) = &mut self.writer {
            for piece in self.full.drain(..) {
                if !(self.keep_going)() {
                    return Err(Error::Interrupted);
                }
                writer.write(&piece, table, self.out);
            }
        }
        self.flush();
        if let Some((writer, _)) = self.writer.take() {
            writer.finish(self.out);
        }
        self.counts.fill(0);
        self.spilled = false;
        Ok(())
    }
}

/// Neighbours are counted apart: the same symbol twice running would wait for its own count.
fn count(tokens: &[Token], counts: &mut Table) {
    let mut others: Table = [0; 1024];
    let (pairs, last) = tokens.as_chunks::<2>();
    for [first, second] in pairs {
        counts[(first & 1023) as usize] += 1;
        others[(second & 1023) as usize] += 1;
    }
    for token in last {
        counts[(token & 1023) as usize] += 1;
    }
    for (count, other) in counts.iter_mut().zip(others) {
        *count += other;
    }
}

/// A block's tokens (T.81, F.1.2): `values` lowest frequencies first, `mask` as `transform::Pair` has it, `difference` of DC to the block
/// before, `class` of its tables. Gives their number.
///
/// How many values a block has cannot be foretold, so they are taken four at a time, and what is too many is written over.
#[inline(always)]
pub(crate) fn block(values: &[i16; 64], mask: u64, difference: i32, class: usize, slot: &mut Slot) -> usize {
    let (size, extra) = sized(difference);
    slot[0] = token(DC[class] | size, extra);
    let place = AC[class];
    let mut left = mask & !1;
    let mut filled = 1 + left.count_ones() as usize;
    if has_long_run(left) {
        filled = block_with_long_runs(values, left, place, slot);
    } else {
        let mut before = 0;
        for first in (1..64).step_by(4) {
            for at in first..first + 4 {
                let next = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                let value = SIZED[values[next as usize % 64] as usize % SIZED.len()];
                // Behind the last value this is nothing's token, and may be of any table.
                slot[at % SLOT_TOKENS] = (place | value).wrapping_add(next.wrapping_sub(before + 1) << 4);
                before = next;
            }
            if first + 4 >= filled {
                break;
            }
        }
    }
    // A block whose last coefficient is not zero needs no end.
    slot[filled % SLOT_TOKENS] = token(place, 0);
    filled + usize::from(mask >> 63 == 0)
}

/// Whether more than fifteen zeros are passed on the way to some value.
#[inline(always)]
fn has_long_run(values: u64) -> bool {
    // What each value, and DC before them, reaches: itself and fifteen more, and from there the next one.
    let reach = values | 1;
    let reach = reach | reach << 1;
    let reach = reach | reach << 2;
    let reach = reach | reach << 4;
    let reach = reach | reach << 8;
    values & !(reach << 1) != 0
}

/// All tokens but the first and the end's; gives the number of tokens so far.
#[inline(never)]
fn block_with_long_runs(values: &[i16; 64], mut left: u64, place: u32, slot: &mut Slot) -> usize {
    let (mut filled, mut before) = (1, 0);
    while left != 0 {
        let at = left.trailing_zeros();
        left &= left - 1;
        let mut run = at - before - 1;
        before = at;
        while run > 15 {
            slot[filled % SLOT_TOKENS] = token(place | 0xf0, 0);
            filled += 1;
            run -= 16;
        }
        let (size, extra) = sized(i32::from(values[at as usize % 64]));
        slot[filled % SLOT_TOKENS] = token(place | run << 4 | size, extra);
        filled += 1;
    }
    filled
}

/// Bits a value takes, and they: of what is negative, those of the value less one (T.81, F.1.2.1).
#[inline(always)]
pub(crate) const fn sized(value: i32) -> (u32, u32) {
    let size = 32 - value.unsigned_abs().leading_zeros();
    let bits = (value + (value >> 31)) as u32 & ((1 << size) - 1);
    (size, bits)
}

/// [`sized`] as a token has it, of every value but DC's, by its lowest eleven bits: a look-up is less than the arithmetic.
static SIZED: [Token; 2048] = {
    let mut all = [0; 2048];
    let mut value = -1024;
    while value < 1024 {
        let (size, extra) = sized(value);
        all[(value & 2047) as usize] = token(size, extra);
        value += 1;
    }
    all
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_the_standards() {
        assert_eq!(sized(0), (0, 0));
        assert_eq!(sized(1), (1, 1));
        assert_eq!(sized(-1), (1, 0));
        assert_eq!(sized(5), (3, 5));
        assert_eq!(sized(-5), (3, 2));
        assert_eq!(sized(-2047), (11, 0));
    }

    proptest! {
        /// As the standard's own flow chart has it, a coefficient at a time.
        #[test]
        fn blocks_are_what_single_steps_give(places in proptest::collection::vec((0usize..64, -1023i16..=1023), 0..64), difference in -2047..=2047) {
            let mut values = [0; 64];
            for (place, value) in places {
                values[place] = value;
            }
            let mask = values.iter().enumerate().fold(0, |mask, (at, value)| mask | u64::from(*value != 0) << at);
            let (size, extra) = sized(difference);
            let mut expected = vec![token(size, extra)];
            let mut zeros = 0;
            for value in &values[1..] {
                if *value == 0 {
                    zeros += 1;
                    continue;
                }
                while zeros > 15 {
                    expected.push(token(0x2f0, 0));
                    zeros -= 16;
                }
                let (size, extra) = sized(i32::from(*value));
                expected.push(token(0x200 | zeros << 4 | size, extra));
                zeros = 0;
            }
            if zeros > 0 {
                expected.push(token(0x200, 0));
            }
            let mut slot = [!0; SLOT_TOKENS];
            let filled = block(&values, mask, difference, 0, &mut slot);
            prop_assert_eq!(&slot[..filled], &expected[..]);
        }
    }

    #[test]
    fn a_block_full_of_values_and_one_of_long_runs_fit() {
        let mut slot = [0; SLOT_TOKENS];
        assert_eq!(block(&[-7; 64], u64::MAX, 3, 0, &mut slot), 64);
        assert!(slot[1..64].iter().all(|token| *token == 0x203));
        let mut values = [0; 64];
        values[63] = 1;
        assert_eq!(block(&values, 1 << 63, 0, 1, &mut slot), 5);
        assert_eq!(slot[..5], [0x100, 0x3f0, 0x3f0, 0x3f0, 0x3e1 | 1 << 16]);
        assert_eq!(block(&[0; 64], 0, 0, 1, &mut slot), 2);
        assert_eq!(slot[..2], [0x100, 0x300]);
    }
}
