//! Huffman tables: canonical decoding, and the skip tables that swallow several AC symbols at once.
//!
//! Knows nothing of scans or blocks. Source: ITU-T T.81 annexes C and F.2.2. Invariant: every look-up is total; what is no code is
//! reported, never a panic.

use crate::{
    entropy::{Bits, Window},
    error::Error,
    header::HuffmanSpec,
};

/// Codes up to this length are found in one look-up.
const LOOK_BITS: u32 = 10;

/// Bits a skip entry is found by: 16 KiB a table, so that luma's and chroma's stay in the first-level cache together.
const SKIP_BITS: u32 = 13;

/// Bits one skip entry may consume: three entries and one more look-up fit the 56 bits a refill leaves (3 * 14 + 13 = 55).
const SKIP_MAX: u32 = 14;

/// Added to the index field of the skip counter by an end-of-block code; larger than any sum of runs.
const EOB_STEP: u32 = 128 << 8;

/// The skip entry for "look yourself": a code too long for the table, or no code at all. Larger than any other entry.
const ESCAPE: u32 = 192 << 8;

/// The bits are no code of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoCode;

/// One table, ready to decode with.
#[derive(Clone)]
pub(crate) struct Huffman {
    /// By the next `LOOK_BITS` bits: `length << 8 | symbol`, 0 where the code is longer or there is none.
    look: Box<[u16; 1 << LOOK_BITS]>,
    /// By length: one past the last code, shifted to 16 bits.
    ends: [u32; 17],
    /// By length: add to a code for its symbol's place.
    places: [i32; 17],
    symbols: [u8; 256],
}

impl Huffman {
    pub(crate) fn new(spec: &HuffmanSpec) -> Result<Self, Error> {
        let mut look = Box::new([0u16; 1 << LOOK_BITS]);
        let (mut ends, mut places, mut symbols) = ([0; 17], [0; 17], [0; 256]);
        for (place, symbol) in symbols.iter_mut().zip(&spec.symbols) {
            *place = *symbol;
        }
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=16u32 {
            code <<= 1;
            let count = u32::from(spec.counts[length as usize - 1]);
            if code + count > 1 << length {
                return Err(Error::malformed(spec.at, format!("huffman table has too many codes of {length} bits")));
            }
            places[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                if length <= LOOK_BITS {
                    let from = (code << (LOOK_BITS - length)) as usize;
                    let entry = (length as u16) << 8 | u16::from(symbols[place]);
                    look[from..from + (1 << (LOOK_BITS - length))].fill(entry);
                }
                code += 1;
                place += 1;
            }
            ends[length as usize] = code << (16 - length);
        }
        Ok(Self { look, ends, places, symbols })
    }

    /// The code at the top of `bits`, as `(length, symbol)`; `bits` must hold 16 or more valid bits for codes to be right.
    #[inline(always)]
    pub(crate) fn find(&self, bits: u64) -> Result<(u32, u8), NoCode> {
        let entry = self.look[(bits >> (64 - LOOK_BITS)) as usize];
        if entry != 0 { Ok((u32::from(entry >> 8), entry as u8)) } else { self.find_long(bits) }
    }

    #[cold]
    #[inline(never)]
    fn find_long(&self, bits: u64) -> Result<(u32, u8), NoCode> {
        let sixteen = (bits >> 48) as u32;
        for length in LOOK_BITS + 1..=16 {
            if sixteen < self.ends[length as usize] {
                let place = (sixteen >> (16 - length)) as i32 + self.places[length as usize];
                return self.symbols.get(place as usize).map(|&symbol| (length, symbol)).ok_or(NoCode);
            }
        }
        Err(NoCode)
    }
}

/// A value of `size` bits at the top of `bits`, sign-extended as T.81 F.2.2.1 has it. `size` is 0 to 16.
#[inline(always)]
pub(crate) fn extended(bits: u64, size: u32) -> i32 {
    let value = ((bits >> 1) >> (63 - size)) as i32;
    let negative = ((bits >> 63) as i32) - 1;
    value + (negative & ((-1i32 << size) + 1))
}

/// A table to step over AC coefficients with: by the next `SKIP_BITS` bits, how many bits whole symbols with their extra bits take
/// (low byte) and how many coefficients they pass (high byte).
pub(crate) struct Skip(Box<[u16; 1 << SKIP_BITS]>);

impl Skip {
    /// `many` packs several symbols into an entry; building that costs about 0.1 ms, so small scans go without.
    pub(crate) fn new(ac: &Huffman, many: bool) -> Self {
        let mut table = Box::new([0u16; 1 << SKIP_BITS]);
        Self::fill(&mut *table, None, ac, SKIP_MAX, many);
        Self(table)
    }

    /// Entries for every prefix of as many bits as `table` has entries for; each consumes `most` bits at most. With `dc` the first symbol
    /// of an entry is a DC coefficient.
    pub(crate) fn fill(table: &mut [u16], dc: Option<&Huffman>, ac: &Huffman, most: u32, many: bool) {
        let look_bits = table.len().ilog2();
        for (prefix, entry) in table.iter_mut().enumerate() {
            let bits = (prefix as u64) << (64 - look_bits);
            let (mut used, mut index) = (0u32, 0u32);
            if let Some(dc) = dc {
                match dc.find(bits) {
                    Ok((length, size @ 0..=15)) if length <= look_bits && length + u32::from(size) <= most => {
                        (used, index) = (length + u32::from(size), 1);
                    }
                    _ => {
                        *entry = ESCAPE as u16;
                        continue;
                    }
                }
            }
            while used < look_bits && (many || used == 0) {
                let Ok((length, symbol)) = ac.find(bits << used) else { break };
                let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                // The code itself must be known whole; its extra bits need not be, they are only counted.
                if used + length > look_bits || used + length + size > most {
                    break;
                }
                if size == 0 && run != 15 {
                    used += length;
                    index += EOB_STEP >> 8;
                    break;
                }
                if index + run + 1 > 63 {
                    break;
                }
                used += length + size;
                index += run + 1;
            }
            *entry = if used == 0 { ESCAPE as u16 } else { (index << 8 | used) as u16 };
        }
    }

    /// Steps over the rest of a block from coefficient `from` (1 to 63) on. Bits must be refilled; they are left so that a refill
    /// is due.
    ///
    /// One counter holds the bits used since the refill (low byte, at most 56) and the coefficient's index (above), so that a
    /// look-up costs a shift, a load and one addition. An entry may swallow symbols behind the block's end where that end is
    /// coefficient 63 and has no code of its own; the index shows it, and the group of look-ups is done again symbol by symbol.
    #[inline(always)]
    pub(crate) fn rest_of_block(&self, ac: &Huffman, bits: &mut Bits, window: &Window, from: u32) -> Result<(), NoCode> {
        const END: u32 = 64 << 8;
        let table = &*self.0;
        let mut index = from << 8;
        loop {
            let mut counter = index;
            let mut entry;
            let acc = bits.peek();
            'group: {
                entry = u32::from(table[((acc << (counter & 63)) >> (64 - SKIP_BITS)) as usize]);
                counter += entry;
                if counter >= END {
                    break 'group;
                }
                entry = u32::from(table[((acc << (counter & 63)) >> (64 - SKIP_BITS)) as usize]);
                counter += entry;
                if counter >= END {
                    break 'group;
                }
                entry = u32::from(table[((acc << (counter & 63)) >> (64 - SKIP_BITS)) as usize]);
                counter += entry;
                if counter >= END {
                    break 'group;
                }
                entry = u32::from(table[((acc << (counter & 63)) >> (64 - SKIP_BITS)) as usize]);
                counter += entry;
            }
            if counter < END {
                bits.consume(counter & 63);
                bits.refill(window);
                index = counter & !255;
                continue;
            }
            let reached = counter >> 8;
            if reached == 64 || (128..192).contains(&reached) && entry != ESCAPE {
                bits.consume(counter & 63);
                return Ok(());
            }
            // What was well before an escape stays; a group that ran over is done again from its start.
            let steps = if entry == ESCAPE {
                bits.consume((counter - ESCAPE) & 63);
                index = (counter - ESCAPE) & !255;
                1
            } else {
                8
            };
            // By value, so that the accumulator need not live in memory for this rare call's sake.
            let (after, reached) = singly(ac, *bits, window, index >> 8, steps)?;
            *bits = after;
            match reached {
                Some(reached) => index = reached << 8,
                None => return Ok(()),
            }
        }
    }

    /// As [`Self::rest_of_block`] from the first AC coefficient on, where `used` bits of the refill are gone already, 14 at most: three
    /// look-ups still fit (14 + 2 * 14 + 13 = 55).
    #[inline(always)]
    pub(crate) fn block_after(&self, ac: &Huffman, bits: &mut Bits, window: &Window, used: u32) -> Result<(), NoCode> {
        const END: u32 = 64 << 8;
        let table = &*self.0;
        let acc = bits.peek();
        let mut counter = 1 << 8 | used;
        let mut entry = u32::from(table[((acc << (counter & 63)) >> (64 - SKIP_BITS)) as usize]);
        counter += entry;
        'group: {
            if counter >= END {
                break 'group;
            }
            entry = u32::from(table[((acc << (counter & 63)) >> (64 - SKIP_BITS)) as usize]);
            counter += entry;
            if counter >= END {
                break 'group;
            }
            entry = u32::from(table[((acc << (counter & 63)) >> (64 - SKIP_BITS)) as usize]);
            counter += entry;
        }
        if counter < END {
            bits.consume(counter & 63);
            bits.refill(window);
            return self.rest_of_block(ac, bits, window, counter >> 8);
        }
        let reached = counter >> 8;
        if entry != ESCAPE && (reached == 64 || (128..192).contains(&reached)) {
            bits.consume(counter & 63);
            return Ok(());
        }
        bits.consume(used);
        bits.refill(window);
        self.rest_of_block(ac, bits, window, 1)
    }
}

/// Steps over up to `steps` symbols one by one from coefficient `index` on; where it got to, or `None` at the block's end. Leaves
/// the bits refilled.
#[cold]
#[inline(never)]
fn singly(ac: &Huffman, mut bits: Bits, window: &Window, mut index: u32, steps: u32) -> Result<(Bits, Option<u32>), NoCode> {
    for _ in 0..steps {
        bits.refill(window);
        let (length, symbol) = ac.find(bits.peek())?;
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        bits.consume(length + size);
        if size == 0 && run != 15 {
            return Ok((bits, None));
        }
        index += run + 1;
        match index {
            0..64 => {}
            64 => return Ok((bits, None)),
            _ => return Err(NoCode),
        }
    }
    bits.refill(window);
    Ok((bits, Some(index)))
}
