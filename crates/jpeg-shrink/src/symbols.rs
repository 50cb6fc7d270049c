//! A table of whole symbols, and the loop that reads sequential blocks with it where their coefficients are wanted.
//!
//! Knows nothing of where blocks lie. Sources: ITU-T T.81 F.2.2. An entry tells by the next bits how long a code and its extra bits are
//! together, so that the next look-up need not wait for the coefficient's value, which is worked out beside it; nothing but the block's
//! end is branched on.

use crate::{
    block::{Kept, Scratch, dc_difference},
    entropy::{Bits, Window},
    huffman::{Huffman, NoCode, Skip, extended},
};

/// Codes up to this length are found in one look-up: 4 KiB a table.
const LOOK_BITS: u32 = 10;

/// Bits of a symbol with its extra bits, at most: three fit the 56 bits a refill leaves.
const SYMBOL_MAX: u32 = 18;

/// The step of an end-of-block code; larger than any index.
pub(crate) const END: u32 = 128;

/// The step of "look yourself": a code or value too long for the table, or no code at all.
pub(crate) const ESCAPE: u32 = 192;

/// By the next `LOOK_BITS` bits: `length << 24 | (63 - size) << 16 | step << 8 | bits`, where `length` is the code's, `bits` its own and
/// its extra bits', `step` the run and the coefficient itself, or `END`, or `ESCAPE`.
pub(crate) struct Symbols(Box<[u32; 1 << LOOK_BITS]>);

impl Symbols {
    /// `progressive` end-of-band codes that come with a count are left to be looked at.
    pub(crate) fn new(ac: &Huffman, progressive: bool) -> Self {
        let mut table = Box::new([63 << 16 | ESCAPE << 8; 1 << LOOK_BITS]);
        for (prefix, entry) in table.iter_mut().enumerate() {
            let Ok((length, symbol)) = ac.find((prefix as u64) << (64 - LOOK_BITS)) else { continue };
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if length <= LOOK_BITS && length + size <= SYMBOL_MAX {
                let step = match (size, run) {
                    (0, 0) => END,
                    (0, 1..=14) => {
                        if progressive {
                            continue;
                        }
                        END
                    }
                    _ => run + 1,
                };
                *entry = length << 24 | (63 - size) << 16 | step << 8 | (length + size);
            }
        }
        Self(table)
    }

    #[inline(always)]
    pub(crate) fn find(&self, bits: u64) -> u32 {
        self.0[(bits >> (64 - LOOK_BITS)) as usize]
    }
}

/// The value that an entry's symbol has; 0 where it has no extra bits.
#[inline(always)]
pub(crate) fn value(entry: u32, bits: u64) -> i16 {
    let (length, unused) = (entry >> 24 & 63, entry >> 16 & 63);
    let extra = bits << length;
    let (magnitude, ones) = ((extra >> 1) >> unused, (u64::MAX >> 1) >> unused);
    // Where the first bit is 0 the value is less by all ones (T.81, F.2.2.1).
    let positive = (extra as i64 >> 63) as u64;
    magnitude.wrapping_sub(ones & !positive) as i16
}

/// A sequential block with as many coefficients as `kept` has, to the front of `block`, which must be zeros there; behind that it is
/// room for what is not kept. Returns the zigzag index of the last coefficient read, 0 where there is DC alone.
#[inline(always)]
pub(crate) fn sequential(
    (dc, ac, symbols, skip): (&Huffman, &Huffman, &Symbols, Option<&Skip>),
    kept: &Kept,
    bits: &mut Bits,
    window: &Window,
    before: &mut i16,
    block: &mut Scratch,
) -> Result<u32, NoCode> {
    bits.refill(window);
    // Without a skip table every symbol is looked at.
    let last = if skip.is_some() { kept.last } else { 63 };
    let index = leading((dc, ac, symbols), kept, last, bits, window, before, block)?;
    match (index, skip) {
        (END.., _) => Ok(index - END),
        (63, _) => Ok(63),
        (64.., _) => Err(NoCode),
        (_, Some(skip)) => {
            bits.refill(window);
            skip.rest_of_block(ac, bits, window, index + 1).map(|()| index)
        }
        // Without a skip table `last` is 63.
        (_, None) => Err(NoCode),
    }
}

/// The coefficients of a sequential block up to zigzag index `last` at least, to `block` as in [`sequential`]; the index of the last one
/// read, and `END` more where the block has ended. Bits must be refilled.
#[inline(always)]
pub(crate) fn leading(
    (dc, ac, symbols): (&Huffman, &Huffman, &Symbols),
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
    let mut index = 0;
    loop {
        bits.refill(window);
        // Three symbols, as many as surely fit.
        let mut step = || {
            let entry = symbols.find(bits.peek());
            let value = value(entry, bits.peek());
            bits.consume(entry & 63);
            index += entry >> 8 & 255;
            block[usize::from(kept.slots[index as usize & 255])] = value;
            index < last
        };
        if step() && step() && step() {
            continue;
        }
        if index >= ESCAPE {
            index -= ESCAPE;
            bits.refill(window);
            let (length, symbol) = ac.find(bits.peek())?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            let value = extended(bits.peek() << length, size);
            bits.consume(length + size);
            if size == 0 && run != 15 {
                return Ok(index + END);
            }
            index += run + 1;
            block[usize::from(kept.slots[index as usize & 255])] = value as i16;
            if index < last {
                continue;
            }
        }
        return Ok(index);
    }
}
