//! Entropy decoding of one block in a progressive scan over a band of AC coefficients, first pass and refinement.
//!
//! Knows nothing of where blocks lie. Source: ITU-T T.81 G.1.2.2, G.1.2.3 and G.2. Which coefficients of a block are not zero is kept
//! as a mask with index 0 at the top bit, so that the correction bits of a refinement, as they come from the file, can be dealt out
//! to them at once: what a symbol passes is counted and stepped over in words, and applied once a block.

use crate::{
    block::Kept,
    entropy::{Bits, Window},
    huffman::{Huffman, NoCode, extended},
    simd::Avx2,
    symbols::{self, END, ESCAPE, Symbols},
};

/// The mask of coefficient `index`, 0 to 63.
const fn only(index: u32) -> u64 {
    1 << 63 >> index
}

/// The mask of coefficients from `index` on, 0 to 64.
const fn from(index: u32) -> u64 {
    match u64::MAX.checked_shr(index) {
        Some(mask) => mask,
        None => 0,
    }
}

/// A scan over a band of AC coefficients of one component.
pub(crate) struct Band<'t> {
    pub(crate) ac: &'t Huffman,
    pub(crate) symbols: &'t Symbols,
    pub(crate) kept: &'t Kept,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) low: u32,
    /// Blocks still to pass that have nothing (more) in the band.
    pub(crate) run: u32,
    pub(crate) avx2: Option<Avx2>,
}

impl Band<'_> {
    /// Stores a coefficient if it is kept.
    #[inline(always)]
    fn store(&self, block: &mut [i16], index: u32, value: i16) -> Result<(), NoCode> {
        if index > 63 {
            return Err(NoCode);
        }
        if let Some(place) = block.get_mut(usize::from(self.kept.slots[index as usize & 63])) {
            *place = value;
        }
        Ok(())
    }

    /// An end-of-band code's run, without this block.
    #[inline(always)]
    fn run_of(bits: &mut Bits, exponent: u32) -> u32 {
        (1 << exponent) - 1 + bits.take(exponent)
    }

    /// Blocks, of the next `most`, of which there is nothing to read within a run; they are passed. `masks` are theirs in a refinement.
    #[inline(always)]
    pub(crate) fn pass(&mut self, most: usize, masks: Option<&[u64]>) -> usize {
        let most = most.min(self.run as usize);
        let band = from(self.first) & !from(self.last + 1);
        let passed = match masks {
            None => most,
            Some(masks) => masks.iter().take(most).take_while(|&mask| mask & band == 0).count(),
        };
        self.run -= passed as u32;
        passed
    }

    /// A block of a first scan; `mask`, where refinements follow, remembers what is not zero.
    #[inline(always)]
    pub(crate) fn first_pass(&mut self, bits: &mut Bits, window: &Window, block: &mut [i16], mask: Option<&mut u64>) -> Result<(), NoCode> {
        if self.run > 0 {
            self.run -= 1;
            return Ok(());
        }
        let mut marks = 0;
        // The index read last; a band begins at 1 or later.
        let mut index = self.first - 1;
        let done = 'block: {
            while index < self.last {
                bits.refill(window);
                let entry = self.symbols.find(bits.peek());
                let mut value = symbols::value(entry, bits.peek());
                bits.consume(entry & 63);
                index += entry >> 8 & 255;
                if index >= ESCAPE {
                    index -= ESCAPE;
                    let (length, symbol) = match self.ac.find(bits.peek()) {
                        Ok(found) => found,
                        Err(none) => break 'block Err(none),
                    };
                    bits.consume(length);
                    let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                    if size == 0 && run != 15 {
                        self.run = Self::run_of(bits, run);
                        break;
                    }
                    value = extended(bits.peek(), size) as i16;
                    bits.consume(size);
                    index += run + 1;
                } else if index >= END {
                    break;
                }
                if value != 0 {
                    if let Err(none) = self.store(block, index, value << self.low) {
                        break 'block Err(none);
                    }
                    marks |= only(index & 63);
                }
            }
            Ok(())
        };
        if let Some(mask) = mask {
            *mask |= marks;
        }
        done
    }

    /// A block of a refinement scan: new coefficients of one bit, and a bit for each that is not zero yet passed on the way.
    #[inline(always)]
    pub(crate) fn refine(&mut self, bits: &mut Bits, window: &Window, block: &mut [i16], mask: &mut u64) -> Result<(), NoCode> {
        // What lies ahead in the band: coefficients that were not zero before this scan, and all others.
        let band = from(self.first) & !from(self.last + 1);
        let (mut old, mut zeros) = (*mask & band, !*mask & band);
        let (mut fresh, mut negative, mut corrected) = (0, 0, 0);
        let done = 'block: {
            while self.run == 0 && old | zeros != 0 {
                bits.refill(window);
                let (length, symbol) = match self.ac.find(bits.peek()) {
                    Ok(found) => found,
                    Err(none) => break 'block Err(none),
                };
                bits.consume(length);
                let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                if size == 0 && run != 15 {
                    // This block's end is counted with the run, and taken off below.
                    self.run = Self::run_of(bits, run) + 1;
                    break;
                }
                let sign = bits.peek() >> 63;
                bits.consume(u32::from(size != 0));
                // `run` zeros are passed, and all that is not zero up to the next one; that one is the lowest bit behind which nothing is.
                let place = match zeros.count_ones().checked_sub(run + 1) {
                    Some(after) => deposit(1 << after, zeros, self.avx2),
                    None => 0,
                };
                let ahead = place.saturating_sub(1);
                corrected |= self.corrections(bits, window, old & !ahead);
                (old, zeros) = (old & ahead, zeros & ahead);
                if size != 0 {
                    if place == 0 {
                        break 'block Err(NoCode);
                    }
                    fresh |= place;
                    negative |= place & sign.wrapping_sub(1);
                }
            }
            if self.run > 0 {
                self.run -= 1;
                bits.refill(window);
                corrected |= self.corrections(bits, window, old);
            }
            Ok(())
        };
        *mask |= fresh;
        fresh &= self.kept.mask;
        while fresh != 0 {
            let index = fresh.leading_zeros();
            fresh ^= only(index);
            if let Some(place) = block.get_mut(usize::from(self.kept.slots[index as usize & 63])) {
                *place = if negative & only(index) == 0 { 1 << self.low } else { -1 << self.low };
            }
        }
        done?;
        let bit = 1i16 << self.low;
        corrected &= self.kept.mask;
        while corrected != 0 {
            let index = corrected.leading_zeros();
            corrected ^= only(index);
            if let Some(place) = block.get_mut(usize::from(self.kept.slots[index as usize & 63]))
                && *place & bit == 0
            {
                *place = place.wrapping_add(if *place >= 0 { bit } else { -bit });
            }
        }
        Ok(())
    }

    /// Reads the correction bits of the coefficients in `passed`; returns those whose bit is set. 32 bits or more must be valid.
    #[inline(always)]
    fn corrections(&self, bits: &mut Bits, window: &Window, passed: u64) -> u64 {
        const MOST: u32 = 32;
        let mut count = passed.count_ones();
        let mut all = 0;
        if count > MOST {
            all = bits.peek() >> (64 - MOST);
            bits.consume(MOST);
            bits.refill(window);
            count -= MOST;
        }
        all = all << count | (bits.peek() >> 1) >> (63 - count);
        bits.consume(count);
        deposit(all, passed, self.avx2)
    }
}

/// Deals the low bits of `value` out to the bits set in `mask`, from the lowest on.
#[inline(always)]
fn deposit(value: u64, mask: u64, avx2: Option<Avx2>) -> u64 {
    match avx2 {
        Some(avx2) => avx2.deposit(value, mask),
        None => deposit_plainly(value, mask),
    }
}

/// As [`deposit`], on any processor.
fn deposit_plainly(mut value: u64, mut mask: u64) -> u64 {
    let mut dealt = 0;
    while mask != 0 && value != 0 {
        let lowest = mask & mask.wrapping_neg();
        if value & 1 == 1 {
            dealt |= lowest;
        }
        value >>= 1;
        mask ^= lowest;
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::{deposit, deposit_plainly};
    use crate::simd::Avx2;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_give_what_plain_code_gives(value in any::<u64>(), mask in any::<u64>()) {
            prop_assert_eq!(deposit_plainly(value, mask), deposit(value, mask, Avx2::detect()));
        }
    }
}
