//! Where samples come from and go to: bytes of a picture, or words between the levels of a pyramid.
//!
//! Words have 7 fraction bits. Of four channels the fourth is alpha: colours are weighted with it on the way in and unweighted on the way
//! out, so that those of nearly transparent pixels are coarse.

use crate::simd::{WORDS as LANES, part};

/// Fraction bits of a word: two of them, with what is given back, can be added.
const VALUE_BITS: u32 = 7;

/// Rows of samples of one plane.
pub(super) trait Rows {
    /// Samples of a row; rows.
    fn sides(&self) -> (usize, usize);

    /// Gives row `at` as words.
    fn load(&self, at: usize, words: &mut [u16]);

    /// Takes samples of row `at` from `left` on, a multiple of the lanes: as many as the row has.
    fn store(&mut self, at: usize, left: usize, words: &[u16; LANES]);
}

/// A picture, or one plane of it, of `C` channels a pixel.
pub(super) struct Bytes<'p, const C: usize> {
    pub(super) bytes: &'p mut [u8],
    /// Bytes of a row.
    pub(super) stride: usize,
}

impl<const C: usize> Rows for Bytes<'_, C> {
    #[inline(always)]
    fn sides(&self) -> (usize, usize) {
        (self.stride, self.bytes.len() / self.stride)
    }

    #[inline(always)]
    fn load(&self, at: usize, words: &mut [u16]) {
        let bytes = &self.bytes[at * self.stride..][..self.stride];
        if C < 4 {
            words.iter_mut().zip(bytes).for_each(|(word, byte)| *word = u16::from(*byte) << VALUE_BITS);
            return;
        }
        for (words, pixel) in words.as_chunks_mut::<4>().0.iter_mut().zip(bytes.as_chunks::<4>().0) {
            let alpha = u16::from(pixel[3]);
            // 128 / 255 in 16 fraction bits, rounded up: 255 weighted with alpha is alpha, exactly.
            let weighted = |colour: u8| part(u16::from(colour) * alpha, 32_897);
            *words = [weighted(pixel[0]), weighted(pixel[1]), weighted(pixel[2]), alpha << VALUE_BITS];
        }
    }

    #[inline(always)]
    fn store(&mut self, at: usize, left: usize, words: &[u16; LANES]) {
        let row = &mut self.bytes[at * self.stride..][left..self.stride];
        match row.first_chunk_mut::<LANES>() {
            Some(block) => *block = bytes_of::<C>(words),
            None => row.copy_from_slice(&bytes_of::<C>(words)[..row.len()]),
        }
    }
}

#[inline(always)]
fn bytes_of<const C: usize>(words: &[u16; LANES]) -> [u8; LANES] {
    if C < 4 {
        return words.map(|word| ((word + (1 << (VALUE_BITS - 1))) >> VALUE_BITS) as u8);
    }
    // What makes 255 of full opacity, of each pixel; and of alpha itself.
    let mut unweight = [0.0; LANES / 4];
    for (unweight, words) in unweight.iter_mut().zip(words.as_chunks::<4>().0) {
        *unweight = f32::from(words[3].max(1));
    }
    unweight.iter_mut().for_each(|alpha| *alpha = 255.0 / *alpha);
    let mut factors = [1.0 / f32::from(1_u16 << VALUE_BITS); LANES];
    for (factors, unweight) in factors.as_chunks_mut::<4>().0.iter_mut().zip(unweight) {
        factors[..3].fill(unweight);
    }
    let mut bytes = [0; LANES];
    for ((byte, word), factor) in bytes.iter_mut().zip(words).zip(&factors) {
        // Of a float of 2^23 and more the last bits are the nearest whole number.
        *byte = ((f32::from(*word) * factor).min(255.0) + 8_388_608.0).to_bits() as u8;
    }
    bytes
}

/// A level between two others.
pub(super) struct Words {
    /// Rows one after the other, each filled up to whole blocks of lanes; and one block more.
    words: Vec<u16>,
    samples: usize,
    height: usize,
}

impl Words {
    pub(super) fn new(samples: usize, height: usize) -> Self {
        Self { words: vec![0; samples.next_multiple_of(LANES) * height + LANES], samples, height }
    }

    /// Bytes of a level of these sides.
    pub(super) fn bytes(samples: usize, height: usize) -> usize {
        (samples.next_multiple_of(LANES) * height + LANES) * size_of::<u16>()
    }

    /// Row `at` and what lies behind it, a block at least.
    #[inline(always)]
    pub(super) fn row_from(&self, at: usize) -> &[u16] {
        &self.words[at * self.samples.next_multiple_of(LANES)..]
    }
}

impl Rows for Words {
    #[inline(always)]
    fn sides(&self) -> (usize, usize) {
        (self.samples, self.height)
    }

    #[inline(always)]
    fn load(&self, at: usize, words: &mut [u16]) {
        words.copy_from_slice(&self.row_from(at)[..self.samples]);
    }

    #[inline(always)]
    fn store(&mut self, at: usize, left: usize, words: &[u16; LANES]) {
        let stride = self.samples.next_multiple_of(LANES);
        self.words[at * stride + left..][..LANES].copy_from_slice(words);
    }
}
