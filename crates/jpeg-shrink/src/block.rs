//! Entropy decoding of one block, sequential and progressive, keeping only the coefficients a size needs.
//!
//! Knows nothing of where blocks lie. Sources: ITU-T T.81 F.2.2 (sequential), G.1.2 and G.2 (progressive). A kept block is the
//! lowest `side * side` coefficients in natural order, `side` 1, 2, 4 or 8.

use crate::{
    entropy::{Bits, Window},
    huffman::{Huffman, NoCode, Skip, Values, extended},
};

/// Natural position (8 * row + column) of each zigzag index.
pub(crate) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28, 35, 42, 49, 56,
    57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Not kept.
const NONE: u8 = 255;

/// A block being decoded: kept coefficients in front, and a place for each other slot a byte can name.
pub(crate) type Scratch = [i16; 256];

/// Which coefficients are kept, and where.
pub(crate) struct Kept {
    /// By zigzag index: place in the kept block, or `NONE`.
    slots: [u8; 64],
    /// The last zigzag index with a place.
    pub(crate) last: u32,
}

impl Kept {
    pub(crate) fn new(side: usize) -> Self {
        let (mut slots, mut last) = ([NONE; 64], 0);
        for (index, &natural) in ZIGZAG.iter().enumerate() {
            let (row, column) = (usize::from(natural) / 8, usize::from(natural) % 8);
            if row < side && column < side {
                slots[index] = (row * side + column) as u8;
                last = index as u32;
            }
        }
        Self { slots, last }
    }

    /// The kept part of a table in zigzag order, in natural order; the rest is 0.
    pub(crate) fn pick(&self, zigzag: &[u16; 64]) -> [u16; 64] {
        let mut picked = [0; 64];
        for (&slot, &value) in self.slots.iter().zip(zigzag) {
            if let Some(place) = picked.get_mut(usize::from(slot)) {
                *place = value;
            }
        }
        picked
    }
}

/// Decodes the DC difference at the top of `bits`, of which 31 or more must be valid. Returns the bits it takes, too.
#[inline(always)]
pub(crate) fn dc_difference(dc: &Huffman, bits: u64) -> Result<(i32, u32), NoCode> {
    let (length, size) = dc.find(bits)?;
    if size > 15 {
        return Err(NoCode);
    }
    Ok((extended(bits << length, u32::from(size)), length + u32::from(size)))
}

/// The DC coefficient of a sequential block; its AC coefficients are stepped over.
#[inline(always)]
pub(crate) fn dc_only(dc: &Huffman, ac: &Huffman, skip: &Skip, bits: &mut Bits, window: &Window, before: &mut i16) -> Result<(), NoCode> {
    bits.refill(window);
    let (difference, used) = dc_difference(dc, bits.peek())?;
    *before = before.wrapping_add(difference as i16);
    if used <= 14 {
        return skip.block_after(ac, bits, window, used);
    }
    bits.consume(used);
    bits.refill(window);
    skip.rest_of_block(ac, bits, window, 1)
}

/// A sequential block with as many coefficients as `kept` has, to the front of `block`, which must be zeros there; behind that it is
/// room for what is not kept.
#[inline(always)]
pub(crate) fn sequential(
    (dc, ac, values, skip): (&Huffman, &Huffman, &Values, Option<&Skip>),
    kept: &Kept,
    bits: &mut Bits,
    window: &Window,
    before: &mut i16,
    block: &mut Scratch,
) -> Result<(), NoCode> {
    bits.refill(window);
    // Without a skip table every symbol is looked at.
    let last = if skip.is_some() { kept.last } else { 63 };
    let index = leading((dc, ac, values), kept, last, bits, window, before, block)?;
    match skip {
        Some(skip) if index < 64 => {
            bits.refill(window);
            skip.rest_of_block(ac, bits, window, index)
        }
        _ => Ok(()),
    }
}

/// The coefficients of a sequential block up to zigzag index `last` at least, to `block` as in [`sequential`]; where the next one
/// would be, 64 where the block has ended. Bits must be refilled.
#[inline(always)]
pub(crate) fn leading(
    (dc, ac, values): (&Huffman, &Huffman, &Values),
    kept: &Kept,
    last: u32,
    bits: &mut Bits,
    window: &Window,
    before: &mut i16,
    block: &mut Scratch,
) -> Result<u32, NoCode> {
    let (difference, used) = dc_difference(dc, bits.peek())?;
    bits.consume(used);
    *before = before.wrapping_add(difference as i16);
    block[0] = *before;
    let mut index = 1;
    while index <= last {
        bits.refill(window);
        let entry = values.find(bits.peek());
        let value = if entry != 0 {
            bits.consume(entry & 63);
            index += entry >> 8 & 255;
            if index >= Values::END {
                return Ok(64);
            }
            (entry >> 16) as i16
        } else {
            let (length, symbol) = ac.find(bits.peek())?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            let value = extended(bits.peek() << length, size);
            bits.consume(length + size);
            if size == 0 && run != 15 {
                return Ok(64);
            }
            index += run + 1;
            value as i16
        };
        if index > 64 {
            return Err(NoCode);
        }
        block[usize::from(kept.slots[(index - 1) as usize & 63])] = value;
    }
    Ok(index)
}

/// The first DC scan of a progressive picture: the difference, shifted by `low`.
#[inline(always)]
pub(crate) fn dc_first(dc: &Huffman, bits: &mut Bits, window: &Window, before: &mut i16, low: u32) -> Result<i16, NoCode> {
    bits.refill(window);
    let (difference, used) = dc_difference(dc, bits.peek())?;
    bits.consume(used);
    *before = before.wrapping_add(difference as i16);
    Ok(((i32::from(*before)) << low) as i16)
}

/// A scan over a band of AC coefficients of one component.
pub(crate) struct Band<'t> {
    pub(crate) ac: &'t Huffman,
    pub(crate) kept: &'t Kept,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) low: u32,
    /// Blocks still to pass that have nothing (more) in the band.
    pub(crate) run: u32,
}

/// Marks coefficient `index` as not zero.
#[inline(always)]
fn mark(mask: &mut Option<&mut u64>, index: u32) {
    if let Some(mask) = mask {
        **mask |= 1 << index;
    }
}

impl Band<'_> {
    /// Stores a coefficient if it is kept.
    #[inline(always)]
    fn store(&self, block: &mut [i16], index: u32, value: i32) -> Result<(), NoCode> {
        let slot = *self.kept.slots.get(index as usize).ok_or(NoCode)?;
        if let Some(place) = block.get_mut(usize::from(slot)) {
            *place = value as i16;
        }
        Ok(())
    }

    /// An end-of-band code's run, without this block.
    #[inline(always)]
    fn run_of(bits: &mut Bits, exponent: u32) -> u32 {
        (1 << exponent) - 1 + bits.take(exponent)
    }

    /// A block of a first scan; `mask`, where refinements follow, remembers what is not zero.
    #[inline(always)]
    pub(crate) fn first_pass(
        &mut self,
        bits: &mut Bits,
        window: &Window,
        block: &mut [i16],
        mut mask: Option<&mut u64>,
    ) -> Result<(), NoCode> {
        if self.run > 0 {
            self.run -= 1;
            return Ok(());
        }
        let mut index = self.first;
        while index <= self.last {
            bits.refill(window);
            let (length, symbol) = self.ac.find(bits.peek())?;
            bits.consume(length);
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run != 15 {
                    self.run = Self::run_of(bits, run);
                    return Ok(());
                }
                index += 16;
                continue;
            }
            index += run;
            let value = extended(bits.peek(), size);
            bits.consume(size);
            self.store(block, index, value << self.low)?;
            mark(&mut mask, index);
            index += 1;
        }
        Ok(())
    }

    /// A block of a refinement scan: new coefficients of one bit, and a bit for each that is not zero yet passed on the way.
    pub(crate) fn refine(&mut self, bits: &mut Bits, window: &Window, block: &mut [i16], mask: &mut u64) -> Result<(), NoCode> {
        let mut index = self.first;
        if self.run == 0 {
            while index <= self.last {
                bits.refill(window);
                let (length, symbol) = self.ac.find(bits.peek())?;
                bits.consume(length);
                let (mut run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                let mut fresh = 0;
                if size == 0 {
                    if run != 15 {
                        // This block's end is counted with the run, and taken off below.
                        self.run = Self::run_of(bits, run) + 1;
                        break;
                    }
                } else {
                    fresh = if bits.take(1) == 1 { 1 << self.low } else { -1 << self.low };
                }
                while index <= self.last {
                    if *mask >> index & 1 == 1 {
                        self.correct(bits, window, block, index);
                    } else if run == 0 {
                        break;
                    } else {
                        run -= 1;
                    }
                    index += 1;
                }
                if fresh != 0 {
                    if index > self.last {
                        return Err(NoCode);
                    }
                    self.store(block, index, fresh)?;
                    *mask |= 1 << index;
                }
                index += 1;
            }
        }
        if self.run > 0 {
            self.run -= 1;
            // What is kept is corrected; the bits of the rest are stepped over together.
            while index <= self.last.min(self.kept.last) {
                if *mask >> index & 1 == 1 {
                    self.correct(bits, window, block, index);
                }
                index += 1;
            }
            if index <= self.last {
                let behind = (*mask >> index) & (u64::MAX >> (63 - (self.last - index)));
                let mut passed = behind.count_ones();
                while passed > 0 {
                    bits.refill(window);
                    let step = passed.min(48);
                    bits.consume(step);
                    passed -= step;
                }
            }
        }
        Ok(())
    }

    /// Reads the correction bit of a coefficient that is not zero.
    #[inline(always)]
    fn correct(&self, bits: &mut Bits, window: &Window, block: &mut [i16], index: u32) {
        bits.refill(window);
        if bits.take(1) == 1
            && let Some(&slot) = self.kept.slots.get(index as usize)
            && let Some(place) = block.get_mut(usize::from(slot))
        {
            let bit = 1i16 << self.low;
            if *place & bit == 0 {
                *place = place.wrapping_add(if *place >= 0 { bit } else { -bit });
            }
        }
    }
}
