//! JPEGs made of a fuzzer's bytes: every input is a picture and a manner of writing it, so every file breaks no rule.
//!
//! Shared by the targets `jpeg` and `jpeg_twin`, which take this file in by its path. The writer is that of the decoder's tests.

#[path = "../../crates/jpeg-shrink/tests/decode/writer.rs"]
mod writer;

use writer::{Codes, Picture, Sign};
pub(crate) use writer::{Manner, jpeg};

/// None has more than the ten blocks that an MCU may have.
const FACTORS: [&[(usize, usize)]; 16] = [
    &[(1, 1)],
    &[(1, 1), (1, 1), (1, 1)],
    &[(2, 1), (1, 1), (1, 1)],
    &[(1, 2), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1)],
    &[(2, 2), (2, 1), (1, 2)],
    &[(2, 2), (1, 2), (1, 2)],
    &[(4, 1), (1, 1), (1, 1)],
    &[(1, 4), (2, 1), (1, 1)],
    &[(4, 2), (1, 1), (1, 1)],
    &[(3, 1), (1, 1), (1, 1)],
    &[(3, 2), (1, 1), (2, 1)],
    &[(1, 1), (2, 2), (2, 2)],
    &[(1, 2), (2, 1), (1, 1)],
    &[(1, 1), (1, 1), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1), (2, 2)],
];

/// Bytes of the input, then zeros.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A block: a byte of how many coefficients, then the DC's, then a step and a value each. Held to what keeps samples near their
    /// range, for out of it decoders overflow, each in its own way.
    fn block(&mut self, quantisers: &[u16; 64]) -> [i16; 64] {
        let mut block = [0; 64];
        let head = self.byte();
        if head == 0 {
            return block;
        }
        let fit = |value: i16, most: i16, quantiser: u16| value.clamp(-most, most) / quantiser.min(2048) as i16;
        block[0] = fit(i16::from(self.byte() as i8) * 9, 1100, quantisers[0]);
        let mut at = 0;
        for _ in 0..head & 63 {
            let step = self.byte();
            at += 1 + usize::from(step & 31);
            if at > 63 {
                break;
            }
            let value = i16::from(self.byte() as i8);
            let value = if step & 32 == 0 { value % 4 } else { value * 3 };
            // Sixty-four of these sum up to what an encoder can produce.
            let most = if head & 64 == 0 { 400 / (1 + at as i16) + 4 } else { 60 };
            block[at] = if step & 192 == 0 {
                value.signum() * (most / 2 / quantisers[at].min(2048) as i16).min(1)
            } else {
                fit(value, most, quantisers[at])
            };
        }
        block
    }
}

/// A picture and how to write it.
pub(crate) struct Written {
    pub(crate) picture: Picture,
    pub(crate) manner: Manner,
}

/// `large` is a larger picture, sequential and without restarts, of the same blocks again and again: its file has more than 128 KiB
/// unless there is little in the blocks.
pub(crate) fn written(input: &[u8], large: bool) -> Written {
    let mut choices = Choices(input);
    let mut ahead = Choices(if large { input.get(7..).unwrap_or_default() } else { &[] });
    let blocks: Vec<[i16; 64]> = std::iter::from_fn(|| (!ahead.0.is_empty()).then(|| ahead.block(&[1; 64]))).collect();
    let factors = FACTORS[usize::from(choices.byte() & 15)];
    let size = (1 + usize::from(choices.byte()) % 72, 1 + usize::from(choices.byte()) % 72);
    let (style, kind, script, more) = (choices.byte(), choices.byte(), choices.byte(), choices.byte());
    let wide = style & 1 == 1;
    let quantisers = writer::quantisers(1 + u16::from(more >> 4), u16::from(style >> 5) * if wide { 9 } else { 1 } / 2);
    let parts = factors.len();
    let (size, quantisers) = if large { ((8 * size.0, 8 * size.1), writer::quantisers(1, 0)) } else { (size, quantisers) };
    let mut turn = 0;
    let picture = Picture::new(size, factors, quantisers, |part, x, y| {
        if !large {
            return choices.block(&quantisers[part.min(1)]);
        }
        // So that they come in ever other order.
        turn += 1 + usize::from(x * y % 7 == 3);
        blocks.get(turn % blocks.len().max(1)).copied().unwrap_or([0; 64])
    });
    let mut manner = match kind & 3 {
        0 => Manner::plain(parts),
        1 => Manner::apart(parts),
        _ => Manner::progressive(parts, u32::from(script) << 5 | u32::from(more & 15) << 13 | u32::from(kind >> 3)),
    };
    manner.wide = wide;
    manner.codes = if style & 2 == 0 { Codes::Flat } else { Codes::Steep };
    manner.restart = u16::from(style >> 2 & 7);
    if large {
        manner.scans = Manner::plain(parts).scans;
        (manner.progressive, manner.restart) = (false, 0);
    }
    manner.sign = match (parts, kind & 4) {
        (3, 0) => Sign::Jfif,
        (3, _) => Sign::Adobe(more & 1),
        (4, 4) => Sign::Adobe(2),
        _ => Sign::None,
    };
    Written { picture, manner }
}
