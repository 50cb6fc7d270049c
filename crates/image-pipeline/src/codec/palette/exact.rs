//! The colours of a picture one by one, as long as they are few.

use super::{Palette, weighted};

const SLOTS: usize = 1 << 10;

/// A set of straight colours with their order of coming. What is wholly transparent is one colour.
pub(in crate::codec) struct Exact {
    /// Colour and index; `u64::MAX`: free.
    slots: Box<[u64; SLOTS]>,
    colours: Vec<[u8; 4]>,
    most: usize,
    last: ([u8; 4], u8),
}

impl Exact {
    /// Of `most` colours, 1 to 256.
    pub(in crate::codec) fn new(most: usize) -> Self {
        Self { slots: Box::new([u64::MAX; SLOTS]), colours: Vec::new(), most: most.min(256), last: ([0, 0, 0, 1], 0) }
    }

    /// Index of a colour, which is added if there is room; `None`: there are too many.
    #[inline]
    pub(in crate::codec) fn index(&mut self, colour: [u8; 4]) -> Option<u8> {
        let colour = if colour[3] == 0 { [0; 4] } else { colour };
        if colour == self.last.0 && !self.colours.is_empty() {
            return Some(self.last.1);
        }
        let key = u32::from_le_bytes(colour);
        let mut slot = key.wrapping_mul(0x9e37_79b1) as usize >> 22;
        loop {
            let found = self.slots[slot];
            if found == u64::MAX {
                if self.colours.len() == self.most {
                    return None;
                }
                let index = self.colours.len() as u8;
                self.colours.push(colour);
                self.slots[slot] = u64::from(key) << 8 | u64::from(index);
                self.last = (colour, index);
                return Some(index);
            }
            if (found >> 8) as u32 == key {
                self.last = (colour, found as u8);
                return Some(found as u8);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// They as a palette, in the order of their indices; of none a transparent one.
    pub(in crate::codec) fn palette(&self) -> Palette {
        let none = [[0; 4]].into_iter().filter(|_| self.colours.is_empty());
        Palette { is_exact: true, ..Palette::of(self.colours.iter().map(|&colour| weighted(colour)).chain(none).collect()) }
    }
}
