//! x86-64 with AVX2: both passes, splitting and weaving of channels, and a way to have plain code compiled for it.
//!
//! Knows nothing of jobs. Products of 16-bit pairs are added in 32 bits, exactly, so the order does not matter and the twins agree.
//! Every load and store is of a slice with its bounds checked.

use super::Work;
use crate::axis::Columns;
use crate::light::FULL_OF_PRODUCT;
use crate::vertical::{BLOCK, FRACTION_BITS, ZERO};
use crate::weave::GROUP;
use std::arch::x86_64::*;
use std::ops::Range;

/// Proof that the processor has AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// Asks the processor, or rather what the standard library remembers of its answer.
    #[inline(always)]
    pub(crate) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Runs `work` compiled for this processor.
    #[inline(always)]
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        // SAFETY: `self` is only made where the processor has the features this function is compiled for.
        unsafe { run(work) }
    }

    /// As `vertical::plain`.
    pub(crate) fn sum_bytes(self, ring: &[u8], offsets: &[usize], weights: &[i16], start: i32, shift: u32, out: &mut [i16]) {
        // SAFETY: as above.
        unsafe { sum_bytes(ring, offsets, weights, start, shift, out) }
    }

    /// As `vertical::sum_bytes_twice`.
    #[expect(clippy::too_many_arguments, reason = "as its twin's, with what is made of one of them")]
    pub(crate) fn sum_bytes_twice(
        self,
        ring: &[u8],
        offsets: &[usize],
        weights: [&[i16]; 2],
        spans: [Range<usize>; 2],
        start: i32,
        shift: u32,
        out: [&mut [i16]; 2],
    ) {
        // SAFETY: as above.
        unsafe { sum_bytes_twice(ring, offsets, weights, spans, start, shift, out) }
    }

    /// As `vertical::plain`.
    pub(crate) fn sum_words(self, ring: &[i16], offsets: &[usize], weights: &[i16], start: i32, shift: u32, out: &mut [i16]) {
        // SAFETY: as above.
        unsafe { sum_words(ring, offsets, weights, start, shift, out) }
    }

    /// As `horizontal::plain` for each channel.
    pub(crate) fn sum_columns(self, columns: &Columns, planes: &[i16], plane: usize, out: &mut [i16], result: usize, channels: usize) {
        // SAFETY: as above.
        unsafe {
            match (columns.each, channels) {
                (8, 1) => sum_narrow_columns::<1>(columns, planes, plane, out, result),
                (8, 3) => sum_narrow_columns::<3>(columns, planes, plane, out, result),
                (8, _) => sum_narrow_columns::<4>(columns, planes, plane, out, result),
                (16, 1) => sum_wide_columns::<1, 1>(columns, planes, plane, out, result),
                (32, 1) => sum_wide_columns::<2, 1>(columns, planes, plane, out, result),
                (_, 1) => sum_wide_columns::<0, 1>(columns, planes, plane, out, result),
                (16, 3) => sum_wide_columns::<1, 3>(columns, planes, plane, out, result),
                (32, 3) => sum_wide_columns::<2, 3>(columns, planes, plane, out, result),
                (_, 3) => sum_wide_columns::<0, 3>(columns, planes, plane, out, result),
                (_, _) => sum_wide_columns::<0, 4>(columns, planes, plane, out, result),
            }
        }
    }

    /// Pixels with alpha to half-way samples weighted with it, as `light` does, for as many as make whole vectors; returns how many.
    pub(crate) fn weigh_pixels(self, bytes: &[u8], out: &mut [i16]) -> usize {
        // SAFETY: as above.
        unsafe { weigh_pixels(bytes, out) }
    }

    /// As `weave::split`, for as many pixels as make whole groups; returns how many.
    pub(crate) fn split(self, row: &[i16], channels: usize, planes: &mut [i16], plane: usize) -> usize {
        let mut planes = planes.chunks_exact_mut(plane);
        let mut next = || planes.next().unwrap_or_default();
        // SAFETY: as above.
        unsafe {
            match channels {
                3 => split_three(row, [next(), next(), next()]),
                4 => split_four(row, [next(), next(), next(), next()]),
                _ => 0,
            }
        }
    }

    /// As `weave::weave`, for as many pixels as make whole groups; returns how many.
    pub(crate) fn weave(self, planes: &[i16], plane: usize, channels: usize, opaque: bool, out: &mut [u8]) -> usize {
        let mut planes = planes.chunks_exact(plane);
        let mut next = || planes.next().unwrap_or_default();
        // SAFETY: as above.
        unsafe {
            match channels {
                1 => weave_one(next(), out),
                3 => weave_three([next(), next(), next()], out),
                4 if opaque => weave_four([next(), next(), next()], None, out),
                4 => weave_four([next(), next(), next()], Some(next()), out),
                _ => 0,
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn run<W: Work>(work: W) -> W::Output {
    work.run()
}

#[inline(always)]
fn load_words(values: &[i16; 16]) -> __m256i {
    // SAFETY: both types are 32 bytes, and any 32 bytes are a value of either.
    unsafe { std::mem::transmute(*values) }
}

#[inline(always)]
fn load_half(values: &[i16; 8]) -> __m128i {
    // SAFETY: both types are 16 bytes, and any 16 bytes are a value of either.
    unsafe { std::mem::transmute(*values) }
}

#[inline(always)]
fn words_of(values: __m256i) -> [i16; 16] {
    // SAFETY: as above.
    unsafe { std::mem::transmute(values) }
}

#[inline(always)]
fn half_of(values: __m128i) -> [i16; 8] {
    // SAFETY: as above.
    unsafe { std::mem::transmute(values) }
}

#[inline(always)]
fn bytes_of(values: __m128i) -> [u8; 16] {
    // SAFETY: as above.
    unsafe { std::mem::transmute(values) }
}

/// Two neighbouring weights for every 32-bit lane.
#[inline]
#[target_feature(enable = "avx2")]
fn pair([first, second]: [i16; 2]) -> __m256i {
    _mm256_set1_epi32(i32::from(first) & 0xffff | i32::from(second) << 16)
}

/// Sixteen values of 16 bits, or 32 bytes, from `place` on.
///
/// # Safety
/// `values` must hold 32 bytes from `place` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_at<T: Copy>(values: &[T], place: usize) -> __m256i {
    debug_assert!((place * size_of::<T>()) + 32 <= size_of_val(values));
    // SAFETY: the caller's; the load needs no alignment, and any bytes are values of both types this is called for.
    unsafe { _mm256_loadu_si256(values.as_ptr().add(place).cast()) }
}

/// Eight values from each of two places on.
///
/// # Safety
/// `values` must hold eight from both on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_two(values: &[i16], first: usize, second: usize) -> __m256i {
    debug_assert!(first.max(second) + 8 <= values.len());
    // SAFETY: the caller's; the loads need no alignment, and any bytes are values.
    unsafe {
        let (first, second) = (values.as_ptr().add(first), values.as_ptr().add(second));
        _mm256_set_m128i(_mm_loadu_si128(second.cast()), _mm_loadu_si128(first.cast()))
    }
}

/// Panics unless every row, as long as the result, lies within the ring: what the loads below rely on.
#[inline(always)]
fn hold_bounds(ring_length: usize, offsets: &[usize], out_length: usize) {
    let last = offsets.iter().max().copied().unwrap_or(0);
    assert!(out_length <= ring_length && last <= ring_length - out_length, "a row reaches beyond the ring");
}

#[target_feature(enable = "avx2")]
fn sum_bytes(ring: &[u8], offsets: &[usize], weights: &[i16], start: i32, shift: u32, out: &mut [i16]) {
    hold_bounds(ring.len(), offsets, out.len());
    let start = _mm256_set1_epi32(start);
    let shift = _mm_cvtsi32_si128(shift as i32);
    for (block, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut sums = [[start; 4]; 2];
        for (&[first, second], &weights) in offsets.as_chunks::<2>().0.iter().zip(weights.as_chunks::<2>().0) {
            for (half, sums) in sums.iter_mut().enumerate() {
                let column = block * BLOCK + half * 32;
                // SAFETY: `column + 32` is at most the length of `out`, for which bounds were checked above.
                let words = unsafe { unpacked(ring, first + column, second + column) };
                add_products(sums, words, pair(weights));
            }
        }
        for (out, sums) in out.as_chunks_mut::<32>().0.iter_mut().zip(sums) {
            store_sums(out, sums, shift);
        }
    }
}

/// A pair of rows, 32 columns of them, unpacked: columns 0 to 3 and 16 to 19, 4 to 7 and 20 to 23, and so on.
///
/// # Safety
/// Both places must have 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unpacked(ring: &[u8], first: usize, second: usize) -> [__m256i; 4] {
    let zero = _mm256_setzero_si256();
    // SAFETY: the caller's.
    let (first, second) = unsafe { (load_at(ring, first), load_at(ring, second)) };
    let (low, high) = (_mm256_unpacklo_epi8(first, second), _mm256_unpackhi_epi8(first, second));
    [_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero), _mm256_unpacklo_epi8(high, zero), _mm256_unpackhi_epi8(high, zero)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_products(sums: &mut [__m256i; 4], words: [__m256i; 4], weights: __m256i) {
    for (sum, words) in sums.iter_mut().zip(words) {
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, weights));
    }
}

/// 32 sums, in the order of `unpacked`, to samples.
#[inline]
#[target_feature(enable = "avx2")]
fn store_sums(out: &mut [i16; 32], [a, b, c, d]: [__m256i; 4], shift: __m128i) {
    let (a, b) = (_mm256_sra_epi32(a, shift), _mm256_sra_epi32(b, shift));
    let (c, d) = (_mm256_sra_epi32(c, shift), _mm256_sra_epi32(d, shift));
    // Columns 0 to 7 and 16 to 23; 8 to 15 and 24 to 31.
    let (even, odd) = (_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    out[..16].copy_from_slice(&words_of(_mm256_permute2x128_si256::<0x20>(even, odd)));
    out[16..].copy_from_slice(&words_of(_mm256_permute2x128_si256::<0x31>(even, odd)));
}

#[target_feature(enable = "avx2")]
fn sum_bytes_twice(
    ring: &[u8],
    offsets: &[usize],
    [upper_weights, lower_weights]: [&[i16]; 2],
    [upper_span, lower_span]: [Range<usize>; 2],
    start: i32,
    shift: u32,
    [upper_out, lower_out]: [&mut [i16]; 2],
) {
    hold_bounds(ring.len(), offsets, upper_out.len().max(lower_out.len()));
    let start = _mm256_set1_epi32(start);
    let shift = _mm_cvtsi32_si128(shift as i32);
    let rows = offsets.as_chunks::<2>().0;
    let (upper_weights, lower_weights) = (upper_weights.as_chunks::<2>().0, lower_weights.as_chunks::<2>().0);
    // In pairs of rows: where the lower sum begins, where the upper one ends; between the two both go on.
    let (begin, end) = (lower_span.start / 2, upper_span.end / 2);
    let (alone, together) = (begin.min(end), begin..end.max(begin));
    let outs = upper_out.as_chunks_mut::<32>().0.iter_mut().zip(lower_out.as_chunks_mut::<32>().0);
    for (block, (upper_out, lower_out)) in outs.enumerate() {
        let column = block * 32;
        let (mut upper, mut lower) = ([start; 4], [start; 4]);
        for (&[first, second], &weights) in rows[..alone].iter().zip(&upper_weights[..alone]) {
            // SAFETY: `column + 32` is at most the length of the longer result, for which bounds were checked above.
            let words = unsafe { unpacked(ring, first + column, second + column) };
            add_products(&mut upper, words, pair(weights));
        }
        let weights = upper_weights[together.clone()].iter().zip(&lower_weights[together.clone()]);
        for (&[first, second], (&above, &below)) in rows[together.clone()].iter().zip(weights) {
            // SAFETY: as above.
            let words = unsafe { unpacked(ring, first + column, second + column) };
            add_products(&mut upper, words, pair(above));
            add_products(&mut lower, words, pair(below));
        }
        for (&[first, second], &weights) in rows[together.end..].iter().zip(&lower_weights[together.end..]) {
            // SAFETY: as above.
            let words = unsafe { unpacked(ring, first + column, second + column) };
            add_products(&mut lower, words, pair(weights));
        }
        store_sums(upper_out, upper, shift);
        store_sums(lower_out, lower, shift);
    }
}

#[target_feature(enable = "avx2")]
fn sum_words(ring: &[i16], offsets: &[usize], weights: &[i16], start: i32, shift: u32, out: &mut [i16]) {
    hold_bounds(ring.len(), offsets, out.len());
    let start = _mm256_set1_epi32(start);
    let shift = _mm_cvtsi32_si128(shift as i32);
    for (block, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut sums = [[start; 2]; 4];
        for (&[first, second], &weights) in offsets.as_chunks::<2>().0.iter().zip(weights.as_chunks::<2>().0) {
            let weights = pair(weights);
            for (quarter, sums) in sums.iter_mut().enumerate() {
                let column = block * BLOCK + quarter * 16;
                // SAFETY: `column + 16` is at most the length of `out`, for which bounds were checked above.
                let (first, second) = unsafe { (load_at(ring, first + column), load_at(ring, second + column)) };
                let words = [_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)];
                for (sum, words) in sums.iter_mut().zip(words) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, weights));
                }
            }
        }
        for (out, sums) in out.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
            let [a, b] = sums;
            *out = words_of(_mm256_packs_epi32(_mm256_sra_epi32(a, shift), _mm256_sra_epi32(b, shift)));
        }
    }
}

/// What the loads of columns rely on, beside no start being more than `reach - each`: every weight is there, no channel's row is shorter
/// than `reach`, and there are `channels` of them.
#[inline(always)]
fn hold_columns(columns: &Columns, planes: &[i16], plane: usize, out: &[i16], result: usize, channels: usize) {
    assert!(columns.weights.len() >= columns.starts.len() * columns.each, "columns lack weights");
    assert!(columns.reach <= plane && planes.len() >= channels * plane, "rows are shorter than columns reach");
    assert!(columns.starts.len() <= result && out.len() >= channels * result, "the result has no place for all columns");
}

/// Eight weights a column: two columns to a vector. All channels of a column after each other, for weights are many.
#[target_feature(enable = "avx2")]
fn sum_narrow_columns<const CHANNELS: usize>(columns: &Columns, planes: &[i16], plane: usize, out: &mut [i16], result: usize) {
    hold_columns(columns, planes, plane, out, result, CHANNELS);
    assert!(columns.each == 8, "columns have {} weights", columns.each);
    let round = _mm256_set1_epi32(1 << (columns.bits - 1));
    let shift = _mm_cvtsi32_si128(columns.bits as i32);
    for (group, starts) in columns.starts.as_chunks::<8>().0.iter().enumerate() {
        let mut products = [[_mm256_setzero_si256(); 4]; CHANNELS];
        for (two, &[first, second]) in starts.as_chunks::<2>().0.iter().enumerate() {
            // SAFETY: columns have eight weights each, as was checked; `Columns` has no start from which eight samples pass `reach`, and
            // no channel's row is shorter.
            let weights = unsafe { load_at(&columns.weights, (group * 8 + two * 2) * 8) };
            for (channel, products) in products.iter_mut().enumerate() {
                let at = channel * plane;
                // SAFETY: as above.
                let values = unsafe { load_two(planes, at + first as usize, at + second as usize) };
                products[two] = _mm256_madd_epi16(values, weights);
            }
        }
        for (channel, [a, b, c, d]) in products.into_iter().enumerate() {
            // Columns 0, 2, 4, 6 and 1, 3, 5, 7.
            let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
            let sums = _mm256_sra_epi32(_mm256_add_epi32(sums, round), shift);
            let words = _mm256_packs_epi32(sums, sums);
            let words = half_of(_mm_unpacklo_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words)));
            out[channel * result + group * 8..][..8].copy_from_slice(&words);
        }
    }
}

/// Sixteen weights a column, or a multiple: `VECTORS` times as many, or any where that is 0. All channels of a column after each
/// other, for weights are many.
#[target_feature(enable = "avx2")]
fn sum_wide_columns<const VECTORS: usize, const CHANNELS: usize>(
    columns: &Columns,
    planes: &[i16],
    plane: usize,
    out: &mut [i16],
    result: usize,
) {
    let each = if VECTORS == 0 { columns.each } else { 16 * VECTORS };
    let weights = &columns.weights[..];
    hold_columns(columns, planes, plane, out, result, CHANNELS);
    assert!(each == columns.each && each.is_multiple_of(16), "columns have {} weights", columns.each);
    let round = _mm256_set1_epi32(1 << (columns.bits - 1));
    let shift = _mm_cvtsi32_si128(columns.bits as i32);
    for (group, starts) in columns.starts.as_chunks::<8>().0.iter().enumerate() {
        let sums = |column: usize| {
            let (start, weights_start) = (starts[column] as usize, (group * 8 + column) * each);
            let mut sums = [_mm256_setzero_si256(); CHANNELS];
            let mut at = 0;
            while at < each {
                // SAFETY: columns have `each` weights, as was checked; `Columns` has no start from which `each` samples pass `reach`,
                // and no channel's row is shorter.
                let weights = unsafe { load_at(weights, weights_start + at) };
                for (channel, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: as above.
                    let values = unsafe { load_at(planes, channel * plane + start + at) };
                    let products = _mm256_madd_epi16(values, weights);
                    *sum = if at == 0 { products } else { _mm256_add_epi32(*sum, products) };
                }
                at += 16;
            }
            sums
        };
        let fold = |first: [__m256i; CHANNELS], second: [__m256i; CHANNELS]| {
            let mut folded = first;
            for (folded, second) in folded.iter_mut().zip(second) {
                *folded = _mm256_hadd_epi32(*folded, second);
            }
            folded
        };
        let first = fold(fold(sums(0), sums(1)), fold(sums(2), sums(3)));
        let second = fold(fold(sums(4), sums(5)), fold(sums(6), sums(7)));
        for (channel, (first, second)) in first.into_iter().zip(second).enumerate() {
            let low = _mm256_permute2x128_si256::<0x20>(first, second);
            let high = _mm256_permute2x128_si256::<0x31>(first, second);
            let sums = _mm256_sra_epi32(_mm256_add_epi32(_mm256_add_epi32(low, high), round), shift);
            let words = half_of(_mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums)));
            out[channel * result + group * 8..][..8].copy_from_slice(&words);
        }
    }
}

/// Eight pixels a turn.
#[target_feature(enable = "avx2")]
fn weigh_pixels(bytes: &[u8], out: &mut [i16]) -> usize {
    let zero = _mm256_setzero_si256();
    // Alpha for the three colours of each of two pixels; alpha itself is taken times 255.
    let alphas = both(_mm_setr_epi8(6, 7, 6, 7, 6, 7, 6, 7, 14, 15, 14, 15, 14, 15, 14, 15));
    let (whole, factor) = (_mm256_set1_epi16(255), _mm256_set1_epi16(FULL_OF_PRODUCT as i16));
    let weighed = |words: __m256i| {
        let alphas = _mm256_blend_epi16::<0b1000_1000>(_mm256_shuffle_epi8(words, alphas), whole);
        let full = _mm256_mulhi_epu16(_mm256_mullo_epi16(words, alphas), factor);
        _mm256_add_epi16(full, _mm256_set1_epi16(ZERO as i16))
    };
    let mut done = 0;
    for (bytes, out) in bytes.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        // SAFETY: there are 32 bytes.
        let pixels = unsafe { load_at(bytes, 0) };
        // Pixels 0, 1, 4, 5 and 2, 3, 6, 7.
        let (low, high) = (weighed(_mm256_unpacklo_epi8(pixels, zero)), weighed(_mm256_unpackhi_epi8(pixels, zero)));
        out[..16].copy_from_slice(&words_of(_mm256_permute2x128_si256::<0x20>(low, high)));
        out[16..].copy_from_slice(&words_of(_mm256_permute2x128_si256::<0x31>(low, high)));
        done += 8;
    }
    done
}

/// The same order in both halves.
#[inline]
#[target_feature(enable = "avx2")]
fn both(order: __m128i) -> __m256i {
    _mm256_broadcastsi128_si256(order)
}

#[inline]
#[target_feature(enable = "avx2")]
fn halves(low: &[i16; 8], high: &[i16; 8]) -> __m256i {
    _mm256_set_m128i(load_half(high), load_half(low))
}

#[target_feature(enable = "avx2")]
fn split_three(row: &[i16], [red, green, blue]: [&mut [i16]; 3]) -> usize {
    // Eight pixels are three times eight samples; each place of the three holds one sample of each channel, so two blends collect a
    // channel, out of order.
    let red_order = both(_mm_setr_epi8(0, 1, 6, 7, 12, 13, 2, 3, 8, 9, 14, 15, 4, 5, 10, 11));
    let green_order = both(_mm_setr_epi8(2, 3, 8, 9, 14, 15, 4, 5, 10, 11, 0, 1, 6, 7, 12, 13));
    let blue_order = both(_mm_setr_epi8(4, 5, 10, 11, 0, 1, 6, 7, 12, 13, 2, 3, 8, 9, 14, 15));
    let planes = red.as_chunks_mut::<GROUP>().0.iter_mut().zip(green.as_chunks_mut().0).zip(blue.as_chunks_mut().0);
    let mut done = 0;
    for (((red, green), blue), row) in planes.zip(row.as_chunks::<48>().0) {
        let ([v0, v1, v2, v3, v4, v5], _) = row.as_chunks::<8>() else { break };
        let (a, b, c) = (halves(v0, v3), halves(v1, v4), halves(v2, v5));
        let reds = _mm256_blend_epi16::<0b0010_0100>(_mm256_blend_epi16::<0b1001_0010>(a, b), c);
        let greens = _mm256_blend_epi16::<0b0100_1001>(_mm256_blend_epi16::<0b0010_0100>(a, b), c);
        let blues = _mm256_blend_epi16::<0b1001_0010>(_mm256_blend_epi16::<0b0100_1001>(a, b), c);
        *red = words_of(_mm256_shuffle_epi8(reds, red_order));
        *green = words_of(_mm256_shuffle_epi8(greens, green_order));
        *blue = words_of(_mm256_shuffle_epi8(blues, blue_order));
        done += GROUP;
    }
    done
}

#[target_feature(enable = "avx2")]
fn split_four(row: &[i16], [red, green, blue, alpha]: [&mut [i16]; 4]) -> usize {
    let by_channel = both(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    let planes = red.as_chunks_mut::<GROUP>().0.iter_mut().zip(green.as_chunks_mut().0).zip(blue.as_chunks_mut().0);
    let mut done = 0;
    for ((((red, green), blue), alpha), row) in planes.zip(alpha.as_chunks_mut().0).zip(row.as_chunks::<64>().0) {
        let ([v0, v1, v2, v3, v4, v5, v6, v7], _) = row.as_chunks::<8>() else { break };
        let two = |low, high| _mm256_shuffle_epi8(halves(low, high), by_channel);
        let (a, b, c, d) = (two(v0, v4), two(v1, v5), two(v2, v6), two(v3, v7));
        let (front_rg, front_ba) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (back_rg, back_ba) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        *red = words_of(_mm256_unpacklo_epi64(front_rg, back_rg));
        *green = words_of(_mm256_unpackhi_epi64(front_rg, back_rg));
        *blue = words_of(_mm256_unpacklo_epi64(front_ba, back_ba));
        *alpha = words_of(_mm256_unpackhi_epi64(front_ba, back_ba));
        done += GROUP;
    }
    done
}

/// Rounded to bytes: eight of the first and eight of the second in each half.
#[inline]
#[target_feature(enable = "avx2")]
fn to_bytes(first: &[i16; GROUP], second: &[i16; GROUP]) -> __m256i {
    let half = _mm256_set1_epi16(1 << (FRACTION_BITS - 1));
    let round = |values| _mm256_srai_epi16::<{ FRACTION_BITS as i32 }>(_mm256_adds_epi16(load_words(values), half));
    let centred = _mm256_packs_epi16(round(first), round(second));
    _mm256_xor_si256(centred, _mm256_set1_epi8(i8::MIN))
}

#[target_feature(enable = "avx2")]
fn weave_one(plane: &[i16], out: &mut [u8]) -> usize {
    let mut done = 0;
    for (out, values) in out.as_chunks_mut::<GROUP>().0.iter_mut().zip(plane.as_chunks::<GROUP>().0) {
        let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(to_bytes(values, values));
        *out = bytes_of(_mm256_castsi256_si128(bytes));
        done += GROUP;
    }
    done
}

#[target_feature(enable = "avx2")]
fn weave_three([red, green, blue]: [&[i16]; 3], out: &mut [u8]) -> usize {
    // Eight pixels a half: red in bytes 0 to 7, green in 8 to 15, and blue apart; -1 leaves a byte to the other.
    let front_rg = both(_mm_setr_epi8(0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5));
    let front_b = both(_mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1));
    let back_rg = both(_mm_setr_epi8(13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    let back_b = both(_mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1));
    let planes = red.as_chunks::<GROUP>().0.iter().zip(green.as_chunks().0).zip(blue.as_chunks().0);
    let mut done = 0;
    for (out, ((red, green), blue)) in out.as_chunks_mut::<48>().0.iter_mut().zip(planes) {
        let (rg, b) = (to_bytes(red, green), to_bytes(blue, blue));
        let front = _mm256_or_si256(_mm256_shuffle_epi8(rg, front_rg), _mm256_shuffle_epi8(b, front_b));
        let back = _mm256_or_si256(_mm256_shuffle_epi8(rg, back_rg), _mm256_shuffle_epi8(b, back_b));
        out[..16].copy_from_slice(&bytes_of(_mm256_castsi256_si128(front)));
        out[16..24].copy_from_slice(&bytes_of(_mm256_castsi256_si128(back))[..8]);
        out[24..40].copy_from_slice(&bytes_of(_mm256_extracti128_si256::<1>(front)));
        out[40..].copy_from_slice(&bytes_of(_mm256_extracti128_si256::<1>(back))[..8]);
        done += GROUP;
    }
    done
}

#[target_feature(enable = "avx2")]
fn weave_four([red, green, blue]: [&[i16]; 3], alpha: Option<&[i16]>, out: &mut [u8]) -> usize {
    let turns = both(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    // Without an alpha channel the highest value stands in, which becomes 255.
    const OPAQUE: [i16; GROUP] = [i16::MAX; GROUP];
    let mut alpha = alpha.map(|alpha| alpha.as_chunks::<GROUP>().0.iter());
    let planes = red.as_chunks::<GROUP>().0.iter().zip(green.as_chunks().0).zip(blue.as_chunks().0);
    let mut done = 0;
    for (out, ((red, green), blue)) in out.as_chunks_mut::<64>().0.iter_mut().zip(planes) {
        let alpha = alpha.as_mut().map_or(Some(&OPAQUE), Iterator::next).unwrap_or(&OPAQUE);
        let rg = _mm256_shuffle_epi8(to_bytes(red, green), turns);
        let ba = _mm256_shuffle_epi8(to_bytes(blue, alpha), turns);
        let (low, high) = (_mm256_unpacklo_epi16(rg, ba), _mm256_unpackhi_epi16(rg, ba));
        out[..16].copy_from_slice(&bytes_of(_mm256_castsi256_si128(low)));
        out[16..32].copy_from_slice(&bytes_of(_mm256_castsi256_si128(high)));
        out[32..48].copy_from_slice(&bytes_of(_mm256_extracti128_si256::<1>(low)));
        out[48..].copy_from_slice(&bytes_of(_mm256_extracti128_si256::<1>(high)));
        done += GROUP;
    }
    done
}
