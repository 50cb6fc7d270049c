//! Entropy decoding of one block's DC coefficient, and which coefficients a size keeps.
//!
//! Knows nothing of where blocks lie. Sources: ITU-T T.81 F.2.2 (sequential), G.1.2.1 (progressive). A kept block is the
//! lowest `side * side` coefficients in natural order, `side` 1, 2, 4 or 8.

use crate::{
    entropy::{Bits, Window},
    huffman::{Huffman, NoCode, Skip, extended},
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

/// Indices that three look-ups reach from within a block, where each may be past the end by up to 256; a power of two.
pub(crate) const SLOTS: usize = 1024;

/// Which coefficients are kept, and where.
pub(crate) struct Kept {
    /// By zigzag index: place in the kept block, or `NONE`; indices past a block's end have none.
    pub(crate) slots: [u8; SLOTS],
    /// The last zigzag index with a place.
    pub(crate) last: u32,
    /// Which indices have one, 0 at the top bit.
    pub(crate) mask: u64,
}

impl Kept {
    /// The lowest `side` in both directions; of four without the three that are highest in both where `rounded`.
    pub(crate) fn new(side: usize, rounded: bool) -> Self {
        let highest = if rounded && side == 4 { 4 } else { 14 };
        let (mut slots, mut last, mut mask) = ([NONE; SLOTS], 0, 0);
        for (index, &natural) in ZIGZAG.iter().enumerate() {
            let (row, column) = (usize::from(natural) / 8, usize::from(natural) % 8);
            if row < side && column < side && row + column <= highest {
                slots[index] = (row * side + column) as u8;
                last = index as u32;
                mask |= 1 << 63 >> index;
            }
        }
        Self { slots, last, mask }
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

/// The first DC scan of a progressive picture: the difference, shifted by `low`.
#[inline(always)]
pub(crate) fn dc_first(dc: &Huffman, bits: &mut Bits, window: &Window, before: &mut i16, low: u32) -> Result<i16, NoCode> {
    bits.refill(window);
    let (difference, used) = dc_difference(dc, bits.peek())?;
    bits.consume(used);
    *before = before.wrapping_add(difference as i16);
    Ok(((i32::from(*before)) << low) as i16)
}
