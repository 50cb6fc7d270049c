//! The vertical pass: one row at half-way from as many source rows as it has weights. Knows nothing of columns or channels: all samples
//! of a row are alike.
//!
//! Half-way samples are `i16`, [`FRACTION_BITS`] fraction bits, with the middle of the range, 128, at zero: so there is room for what
//! a filter with negative lobes overshoots by, 64 levels and more at either end. Sums are exact in 32 bits and rounded once, so the
//! order of adding does not matter, nor whether vectors did it.

use std::ops::Range;

use crate::simd;

/// Fraction bits of half-way samples, in 8-bit levels.
pub(crate) const FRACTION_BITS: u32 = 7;

/// Half-way samples of level zero are this.
pub(crate) const ZERO: i32 = -(128 << FRACTION_BITS);

/// Rows are multiples of this many samples, whatever of them is used.
pub(crate) const BLOCK: usize = 64;

/// Weighted sum of rows of bytes. Row `k` is `row_block[offsets[k]..]`, as long as `out`; there are as many weights, of `bits`
/// fraction bits, and an even number of them.
pub(crate) fn sum_bytes(ring: &[u8], offsets: &[usize], weights: &[i16], bits: u32, out: &mut [i16]) {
    hold(offsets, weights, out);
    let shift = bits - FRACTION_BITS;
    // The weights add up to 1, so taking 128 away from the sum is taking it away from every sample.
    let start = (1 << (shift - 1)) - (128 << bits);
    match simd::detect() {
        Some(avx2) => avx2.sum_bytes(ring, offsets, weights, start, shift, out),
        None => plain(ring, offsets, weights, start, shift, out),
    }
}

/// Two such sums of the same rows at once, for which bytes are unpacked once. Outside of its span, from an even place to an even place, a
/// sum's weights are zero.
pub(crate) fn sum_bytes_twice(
    ring: &[u8],
    offsets: &[usize],
    weights: [&[i16]; 2],
    spans: [Range<usize>; 2],
    bits: u32,
    mut out: [&mut [i16]; 2],
) {
    hold(offsets, weights[0], out[0]);
    hold(offsets, weights[1], out[1]);
    let shift = bits - FRACTION_BITS;
    let start = (1 << (shift - 1)) - (128 << bits);
    if let Some(avx2) = simd::detect() {
        return avx2.sum_bytes_twice(ring, offsets, weights, spans, start, shift, out);
    }
    for ((weights, span), out) in weights.into_iter().zip(spans).zip(&mut out) {
        plain(ring, &offsets[span.clone()], &weights[span], start, shift, out);
    }
}

/// The same of rows that are at half-way scale already.
pub(crate) fn sum_words(ring: &[i16], offsets: &[usize], weights: &[i16], bits: u32, out: &mut [i16]) {
    hold(offsets, weights, out);
    let start = 1 << (bits - 1);
    match simd::detect() {
        Some(avx2) => avx2.sum_words(ring, offsets, weights, start, bits, out),
        None => plain(ring, offsets, weights, start, bits, out),
    }
}

/// Rows are taken by twos, in blocks.
fn hold(offsets: &[usize], weights: &[i16], out: &[i16]) {
    debug_assert!(out.len().is_multiple_of(BLOCK) && offsets.len() == weights.len() && offsets.len().is_multiple_of(2));
}

/// The twin of both: `(start + sum) >> shift`.
pub(crate) fn plain<T: Copy + Into<i32>>(ring: &[T], offsets: &[usize], weights: &[i16], start: i32, shift: u32, out: &mut [i16]) {
    let (blocks, _) = out.as_chunks_mut::<BLOCK>();
    for (block, out) in blocks.iter_mut().enumerate() {
        let mut sums = [start; BLOCK];
        for (&offset, &weight) in offsets.iter().zip(weights) {
            let row = &ring[offset + block * BLOCK..][..BLOCK];
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(value.into() * i32::from(weight));
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = (sum >> shift).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
        }
    }
}
