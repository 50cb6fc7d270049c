//! Tables of whole symbols, single and in pairs, and the loops that read sequential blocks with them where coefficients are wanted.
//!
//! Knows nothing of where blocks lie. Sources: ITU-T T.81 F.2.2. An entry tells by the next bits how long a code and its extra bits are
//! together, so that the next look-up need not wait for the coefficient's value, which is worked out beside it; nothing but the block's
//! end is branched on. The value takes two operations: all bits of the symbol, read as one number, are the value plus what its code and
//! its first extra bit make up alone, and that is in the table.

use std::hint::select_unpredictable;

use crate::{
    block::{Kept, SLOTS, Scratch, dc_difference},
    entropy::{Bits, Window, word_at},
    huffman::{Huffman, NoCode, Skip, extended},
};

/// Bits that a symbol's code, and its sign, are found by: 8 KiB a table. With one less, dense photos look too many up singly.
const LOOK_BITS: u32 = 11;

/// Bits that a pair is found by: 8 KiB a table. With one or two more a photo's tables leave the first-level cache, and cost more than they
/// save.
const PAIRS_BITS: u32 = 10;

/// Bits of a symbol with its extra bits, at most: three fit the 56 bits a refill leaves.
const SYMBOL_MAX: u32 = 18;

/// The step of an end-of-block code; larger than any index.
pub(crate) const END: u32 = 128;

/// The step of "look yourself": a code or value too long for the table, or no code at all.
pub(crate) const ESCAPE: u32 = 192;

/// By the next `LOOK_BITS` bits: `constant << 16 | step << 8 | bits`, where `bits` is how many the code and its extra bits are, `step` the
/// run and the coefficient itself, or `END`, or `ESCAPE`, and `constant` what added to those bits as a number makes its value.
pub(crate) struct Symbols(Box<[u32; 1 << LOOK_BITS]>);

/// A symbol as tables hold it.
struct Symbol {
    step: u32,
    /// Code and extra bits.
    bits: u32,
    /// What all its bits as a number are more than its value.
    less: u32,
}

impl Symbol {
    /// The symbol at the top of `bits`, where its code and sign lie in the first `room` of them and all of it is no longer than `most`.
    fn find(ac: &Huffman, progressive: bool, bits: u64, room: u32, most: u32) -> Option<Self> {
        let (length, symbol) = ac.find(bits).ok()?;
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if length + u32::from(size > 0) > room || length + size > most {
            return None;
        }
        let step = match (size, run) {
            (0, 0) => END,
            (0, 1..=14) if progressive => return None,
            (0, 1..=14) => END,
            _ => run + 1,
        };
        let code = (bits >> (64 - length)) as u32;
        // Where the first extra bit is 0 the value is less by all ones (T.81, F.2.2.1).
        let ones = if size == 0 || bits << length >> 63 == 1 { 0 } else { (1 << size) - 1 };
        Some(Self { step, bits: length + size, less: (code << size) + ones })
    }
}

impl Symbols {
    /// `progressive` end-of-band codes that come with a count are left to be looked at.
    pub(crate) fn new(ac: &Huffman, progressive: bool) -> Self {
        let mut table = Box::new([ESCAPE << 8; 1 << LOOK_BITS]);
        for (prefix, entry) in table.iter_mut().enumerate() {
            let bits = (prefix as u64) << (64 - LOOK_BITS);
            if let Some(symbol) = Symbol::find(ac, progressive, bits, LOOK_BITS, SYMBOL_MAX) {
                *entry = symbol.less.wrapping_neg() << 16 | symbol.step << 8 | symbol.bits;
            }
        }
        Self(table)
    }

    #[inline(always)]
    pub(crate) fn find(&self, bits: u64) -> u32 {
        self.0[(bits >> (64 - LOOK_BITS)) as usize]
    }
}

/// The value that an entry's symbol has; 0 where it has no extra bits, and anything where it is no symbol.
#[inline(always)]
pub(crate) fn value(entry: u32, bits: u64) -> i16 {
    (bits >> (entry.wrapping_neg() & 63)).wrapping_add(u64::from(entry >> 16)) as i16
}

/// One symbol or two, by the next `PAIRS_BITS` bits: `constant << 48 | value << 32 | steps << 16 | step << 8 | bits`. The first of two is seen
/// whole, and its value in the entry; the other, or a single one, has a constant as in [`Symbols`]. `steps` are both, `step` the first one's,
/// or `END` where there is none. A block's end may lie between them where that is its last coefficient; so pairs are for those who want no
/// coefficient behind `PAIRS_LAST`.
pub(crate) struct Pairs(Box<[u64; 1 << PAIRS_BITS]>);

/// A step is 16 at most, and a block's last index 63.
const PAIRS_LAST: u32 = 46;

/// `ESCAPE` of pairs: larger than two steps of which the second is `END`.
const PAIRS_ESCAPE: u32 = 256;

impl Pairs {
    pub(crate) fn new(ac: &Huffman) -> Self {
        let mut table = Box::new([u64::from(PAIRS_ESCAPE << 16 | END << 8); 1 << PAIRS_BITS]);
        for (prefix, entry) in table.iter_mut().enumerate() {
            let bits = (prefix as u64) << (64 - PAIRS_BITS);
            let Some(first) = Symbol::find(ac, false, bits, PAIRS_BITS, SYMBOL_MAX) else { continue };
            let room = PAIRS_BITS.saturating_sub(first.bits);
            let second = if first.step == END || room == 0 {
                None
            } else {
                Symbol::find(ac, false, bits << first.bits, room, SYMBOL_MAX - first.bits)
            };
            let (less, value, steps, step, used) = match second {
                None => (first.less, 0, first.step, END, first.bits),
                Some(second) => {
                    let before = (bits >> (64 - first.bits)) as u32;
                    let (less, used) = (second.less + (before << second.bits), first.bits + second.bits);
                    (less, before.wrapping_sub(first.less), first.step + second.step, first.step, used)
                }
            };
            let (constant, value) = (u64::from(less.wrapping_neg() as u16), u64::from(value as u16));
            *entry = constant << 48 | value << 32 | u64::from(steps << 16 | step << 8 | used);
        }
        Self(table)
    }

    #[inline(always)]
    fn find(&self, bits: u64) -> u64 {
        self.0[(bits >> (64 - PAIRS_BITS)) as usize]
    }
}

/// What the AC coefficients of sequential blocks are read with.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'t> {
    pub(crate) ac: &'t Huffman,
    pub(crate) symbols: &'t Symbols,
    /// Where not all coefficients are wanted, and none behind `PAIRS_LAST`.
    pub(crate) small: Option<(&'t Pairs, &'t Skip)>,
}

/// A sequential block with as many coefficients as `kept` has, to the front of `block`, which must be zeros there; behind that it is
/// room for what is not kept. Returns the zigzag index of the last coefficient read, 0 where there is DC alone.
#[inline(always)]
pub(crate) fn sequential(
    dc: &Huffman,
    reading: Reading<'_>,
    kept: &Kept,
    bits: &mut Bits,
    window: &Window,
    before: &mut i16,
    block: &mut Scratch,
) -> Result<u32, NoCode> {
    bits.refill(window);
    match reading.small {
        Some((pairs, skip)) => {
            let index = leading(dc, (reading.ac, pairs), kept, bits, window, before, block)?;
            if index >= END {
                return Ok(index - END);
            }
            if index >= 63 {
                return if index == 63 { Ok(63) } else { Err(NoCode) };
            }
            bits.refill(window);
            skip.rest_of_block(reading.ac, bits, window, index + 1).map(|()| index)
        }
        None => {
            mean(dc, bits, before, block)?;
            all((reading.ac, reading.symbols), kept, bits, window, block)
        }
    }
}

/// The mean, to `block` as in [`sequential`]. Bits must be refilled.
#[inline(always)]
fn mean(dc: &Huffman, bits: &mut Bits, before: &mut i16, block: &mut Scratch) -> Result<(), NoCode> {
    let (difference, used) = dc_difference(dc, bits.peek())?;
    bits.consume(used);
    *before = before.wrapping_add(difference as i16);
    block[0] = *before;
    Ok(())
}

/// A single symbol that no table holds, at a coefficient behind `index`: as [`sequential`] returns it, and `END` more for a block's end.
#[inline(always)]
fn single(ac: &Huffman, kept: &Kept, index: u32, bits: &mut Bits, window: &Window, block: &mut Scratch) -> Result<u32, NoCode> {
    bits.refill(window);
    let (length, symbol) = ac.find(bits.peek())?;
    let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
    let value = extended(bits.peek() << length, size);
    bits.consume(length + size);
    if size == 0 && run != 15 {
        return Ok(index + END);
    }
    let index = index + run + 1;
    block[usize::from(kept.slots[index as usize & (SLOTS - 1)])] = value as i16;
    Ok(index)
}

/// The AC coefficients of a sequential block; returns as [`sequential`].
#[inline(always)]
fn all((ac, symbols): (&Huffman, &Symbols), kept: &Kept, bits: &mut Bits, window: &Window, block: &mut Scratch) -> Result<u32, NoCode> {
    let mut index = 0;
    loop {
        bits.refill(window);
        // Three symbols, as many as surely fit.
        let mut step = || {
            let entry = symbols.find(bits.peek());
            let value = value(entry, bits.peek());
            bits.consume(entry & 63);
            index += entry >> 8 & 255;
            block[usize::from(kept.slots[index as usize & (SLOTS - 1)])] = value;
            index < 63
        };
        if step() && step() && step() {
            continue;
        }
        if index >= ESCAPE {
            index = single(ac, kept, index - ESCAPE, bits, window, block)?;
            if index < 63 {
                continue;
            }
        }
        return match index {
            63 => Ok(63),
            END.. => Ok(index - END),
            _ => Err(NoCode),
        };
    }
}

/// The mean, and the coefficients of a sequential block up to those kept at least, to `block` as in [`sequential`]; the index of the last
/// one read, and `END` more where the block has ended. Bits must be refilled.
#[inline(always)]
pub(crate) fn leading(
    dc: &Huffman,
    (ac, pairs): (&Huffman, &Pairs),
    kept: &Kept,
    bits: &mut Bits,
    window: &Window,
    before: &mut i16,
    block: &mut Scratch,
) -> Result<u32, NoCode> {
    mean(dc, bits, before, block)?;
    let last = kept.last.min(PAIRS_LAST);
    let mut index = 0;
    loop {
        bits.refill(window);
        // Three look-ups, as many as surely fit.
        let mut step = || {
            let entry = pairs.find(bits.peek());
            let first = index + (entry >> 8 & 255) as u32;
            block[usize::from(kept.slots[first as usize & (SLOTS - 1)])] = (entry >> 32) as i16;
            let value = (bits.peek() >> (entry.wrapping_neg() & 63)).wrapping_add(entry >> 48) as i16;
            bits.consume(entry as u32 & 63);
            index += (entry >> 16) as u32 & 0xffff;
            block[usize::from(kept.slots[index as usize & (SLOTS - 1)])] = value;
            index < last
        };
        if step() && step() && step() {
            continue;
        }
        if index >= PAIRS_ESCAPE {
            index = single(ac, kept, index - PAIRS_ESCAPE, bits, window, block)?;
            if index < last {
                continue;
            }
        }
        return Ok(index);
    }
}

/// Blocks that [`few`] reads at once.
pub(crate) const AT_ONCE: usize = 4;

/// As [`leading`], of blocks that begin at bits `starts`, where no more than the first few coefficients are kept. Three look-ups nearly
/// always reach them, and are always made: a loop would guess its end wrongly for every other block. Four blocks are looked at in turns, so
/// that what one waits for is time for the others.
#[inline(always)]
pub(crate) fn few(
    dc: &Huffman,
    (ac, pairs): (&Huffman, &Pairs),
    kept: &Kept,
    starts: [u32; AT_ONCE],
    window: &Window,
    before: &mut i16,
    blocks: &mut [Scratch; AT_ONCE],
) -> Result<(), NoCode> {
    let last = kept.last.min(PAIRS_LAST);
    let mut states = [(0, 0, 0); AT_ONCE];
    for ((state, start), block) in states.iter_mut().zip(starts).zip(blocks.iter_mut()) {
        let word = word_at(window, start);
        let (difference, used) = dc_difference(dc, word)?;
        block[0] = difference as i16;
        *state = (start + used, 0, 0);
    }
    for _ in 0..3 {
        for ((at, index, reached), block) in states.iter_mut().zip(blocks.iter_mut()) {
            let bits = word_at(window, *at);
            let entry = pairs.find(bits);
            let first = *index + (entry >> 8 & 255) as u32;
            block[usize::from(kept.slots[first as usize & (SLOTS - 1)])] = (entry >> 32) as i16;
            let value = (bits >> (entry.wrapping_neg() & 63)).wrapping_add(entry >> 48) as i16;
            *at += entry as u32 & 63;
            *index += (entry >> 16) as u32 & 0xffff;
            block[usize::from(kept.slots[*index as usize & (SLOTS - 1)])] = value;
            // The first that is far enough.
            *reached = select_unpredictable(*reached >= last, *reached, *index);
        }
    }
    for (((_, _, reached), start), block) in states.into_iter().zip(starts).zip(blocks) {
        if (last..PAIRS_ESCAPE).contains(&reached) {
            *before = before.wrapping_add(block[0]);
            block[0] = *before;
        } else {
            // Again, from the start; what was put down is right, as far as it went.
            let mut bits = Bits::starting(window, start);
            leading(dc, (ac, pairs), kept, &mut bits, window, before, block)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::HuffmanSpec;
    use proptest::prelude::*;

    proptest! {
        /// Codes of many lengths, zero runs and end codes among them, against one symbol after the other.
        #[test]
        fn pairs_are_two_symbols(
            bits in any::<u64>(),
            counts in prop::array::uniform16(0u8..3),
            symbols in prop::collection::vec(prop_oneof![Just(0u8), Just(0xf0), 1u8..8, any::<u8>()], 48),
        ) {
            // No more codes of a length than are left, and never the one of all ones.
            let (mut counts, mut left, mut total) = (counts, 1usize, 0);
            for count in &mut counts {
                left *= 2;
                *count = (*count).min((left - 1).min(2) as u8);
                left -= usize::from(*count);
                total += usize::from(*count);
            }
            let ac = Huffman::new(&HuffmanSpec { counts, symbols: symbols[..total].to_vec(), at: 0 }).unwrap();
            let (single, pairs) = (Symbols::new(&ac, false), Pairs::new(&ac));
            let entry = pairs.find(bits);
            let (used, step, steps) = (entry as u32 & 255, (entry >> 8 & 255) as u32, (entry >> 16 & 0xffff) as u32);
            let last_value = (bits >> (entry.wrapping_neg() & 63)).wrapping_add(entry >> 48) as i16;
            let first = single.find(bits);
            let (first_bits, first_step) = (first & 255, first >> 8 & 255);
            if first_step == ESCAPE || steps == PAIRS_ESCAPE {
                // A pair's table is found by a bit less.
                prop_assert_eq!((used, step, steps), (0, END, PAIRS_ESCAPE));
            } else if step == END {
                prop_assert_eq!((used, steps, last_value), (first_bits, first_step, value(first, bits)));
            } else {
                let behind = bits << first_bits;
                let second = single.find(behind);
                prop_assert_eq!((step, (entry >> 32) as i16), (first_step, value(first, bits)));
                prop_assert_eq!((used, steps), (first_bits + (second & 255), first_step + (second >> 8 & 255)));
                prop_assert_eq!(last_value, value(second, behind));
            }
            // And a single one is what its code says.
            if first_step != ESCAPE {
                let (length, symbol) = ac.find(bits).unwrap();
                prop_assert_eq!(i32::from(value(first, bits)), extended(bits << length, u32::from(symbol & 15)));
                prop_assert_eq!(first_bits, length + u32::from(symbol & 15));
            }
        }
    }
}
