//! x86-64 with AVX2 and BMI2: four filtered rows at once, and a way to have plain code compiled for it.
//!
//! Knows nothing of files. Bounds of all that a call touches are checked when it begins.

use super::Work;
use crate::unfilter::{AVERAGE, PAETH, SUB, UP};
use std::arch::x86_64::*;

/// Proof that the processor has AVX2 and BMI2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// Asks the processor, or rather what the standard library remembers of its answer.
    #[inline(always)]
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2")).then_some(Self(()))
    }

    /// Runs `work` compiled for this processor.
    #[inline(always)]
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        // SAFETY: `self` is only made where the processor has the features this function is compiled for.
        unsafe { run(work) }
    }

    /// The pixels 6 - 2 r to the last but 1 + 2 r of row r of four, of `N` bytes each, under `above`; what is left of them is done.
    ///
    /// # Panics
    /// If `N` is not 1 to 4, or rows are not of one length of at least eight pixels.
    pub(crate) fn wave<const N: usize>(self, filters: [u8; 4], raw: [&[u8]; 4], above: &[u8], out: [&mut [u8]; 4]) {
        const { assert!(0 < N && N <= 4) };
        let row_bytes = above.len();
        assert!(row_bytes.is_multiple_of(N) && row_bytes >= 8 * N && raw.iter().all(|row| row.len() == row_bytes));
        assert!(out.iter().all(|row| row.len() == row_bytes));
        let (raw, above, out, pixels) = (raw.map(<[u8]>::as_ptr), above.as_ptr(), out.map(<[u8]>::as_mut_ptr), row_bytes / N);
        // SAFETY: as above; all rows are as long as `above`.
        unsafe {
            if filters == [PAETH; 4] {
                wave::<N, true>(filters, raw, above, out, pixels);
            } else {
                wave::<N, false>(filters, raw, above, out, pixels);
            }
        }
    }
}

#[target_feature(enable = "avx2,bmi2")]
fn run<W: Work>(work: W) -> W::Output {
    work.run()
}

/// The `N` bytes at `from` and, where four are quicker to read, bytes behind them.
///
/// # Safety
/// `N` bytes lie at `from`, four if `N` is 3.
#[inline(always)]
unsafe fn load<const N: usize>(from: *const u8) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        match N {
            1 => u32::from(*from),
            2 => u32::from(from.cast::<u16>().read_unaligned()),
            _ => from.cast::<u32>().read_unaligned(),
        }
    }
}

/// # Safety
/// As of [`load`].
#[inline(always)]
unsafe fn store<const N: usize>(to: *mut u8, pixel: i32) {
    // SAFETY: the caller's.
    unsafe {
        match N {
            1 => *to = pixel as u8,
            2 => to.cast::<u16>().write_unaligned(pixel as u16),
            _ => to.cast::<i32>().write_unaligned(pixel),
        }
    }
}

/// `ALL_PAETH`: each of `filters` is that, which most rows of photos have.
///
/// # Safety
/// `pixels` pixels of `N` bytes lie at each pointer, at least eight.
#[target_feature(enable = "avx2,bmi2")]
unsafe fn wave<const N: usize, const ALL_PAETH: bool>(
    filters: [u8; 4],
    raw: [*const u8; 4],
    above: *const u8,
    out: [*mut u8; 4],
    pixels: usize,
) {
    // Samples of row r are the words 4 r to 4 r + 3 of each vector.
    let chosen = |filter: u8| {
        let word = |row: usize| if filters[row] == filter { -1_i64 } else { 0 };
        _mm256_setr_epi64x(word(0), word(1), word(2), word(3))
    };
    let (sub, up, average, paeth) = (chosen(SUB), chosen(UP), chosen(AVERAGE), chosen(PAETH));
    // SAFETY: for all that is read and written below. At turn t row r is at pixel t - 2 r, from 6 - 2 r to pixels - 2 - 2 r: each is in its
    // row, and behind it lies another, so that a fourth byte may be touched. What is stored beyond a pixel is stored anew at the next turn
    // or by the caller.
    unsafe {
        let done = |row: usize, pixel: usize| load::<N>(out[row].add(pixel * N)).cast_signed();
        let four = |words: [i32; 4]| _mm256_cvtepu8_epi16(_mm_setr_epi32(words[0], words[1], words[2], words[3]));
        // What rows came to two turns ago and at the last: none yet for the last row.
        let mut before = four([done(0, 4), done(1, 2), done(2, 0), 0]);
        let mut left = four([done(0, 5), done(1, 3), done(2, 1), 0]);
        let mut above_left = four([load::<N>(above.add(5 * N)).cast_signed(), done(0, 3), done(1, 1), 0]);
        for turn in 6..pixels - 1 {
            let at = |row: usize| load::<N>(raw[row].add((turn - 2 * row) * N)).cast_signed();
            let raw = four([at(0), at(1), at(2), at(3)]);
            // Above row r is what row r - 1 came to two turns ago.
            let shifted = _mm256_permute4x64_epi64::<0b10_01_00_00>(before);
            let first = _mm_cvtepu8_epi16(_mm_cvtsi32_si128(load::<N>(above.add(turn * N)).cast_signed()));
            let b = _mm256_blend_epi32::<0b11>(shifted, _mm256_castsi128_si256(first));
            let (a, c) = (left, above_left);
            // The predictor of `unfilter::paeth` with fewer steps that wait for `a`: where twice the corner is beyond the others, the one
            // farther from it; the other one where it lies beyond on the other side; else the corner.
            let c3 = _mm256_add_epi16(c, _mm256_add_epi16(c, c));
            let threshold = _mm256_sub_epi16(_mm256_sub_epi16(c3, b), a);
            let (low, high) = (_mm256_min_epi16(a, b), _mm256_max_epi16(a, b));
            let near = _mm256_blendv_epi8(low, c, _mm256_cmpgt_epi16(high, threshold));
            let near = _mm256_blendv_epi8(high, near, _mm256_cmpgt_epi16(threshold, low));
            above_left = b;
            before = left;
            // The upper bytes of all words are zero and stay so.
            if ALL_PAETH {
                left = _mm256_add_epi8(raw, near);
            } else {
                let middle = _mm256_srli_epi16::<1>(_mm256_add_epi16(a, b));
                let by_side = _mm256_or_si256(_mm256_and_si256(a, sub), _mm256_and_si256(b, up));
                let others = _mm256_or_si256(by_side, _mm256_and_si256(middle, average));
                let foretold = _mm256_or_si256(others, _mm256_and_si256(near, paeth));
                left = _mm256_add_epi8(raw, foretold);
            }
            let packed = _mm256_packus_epi16(left, left);
            let (upper, lower) = (_mm256_castsi256_si128(packed), _mm256_extracti128_si256::<1>(packed));
            store::<N>(out[0].add(turn * N), _mm_cvtsi128_si32(upper));
            store::<N>(out[1].add((turn - 2) * N), _mm_extract_epi32::<1>(upper));
            store::<N>(out[2].add((turn - 4) * N), _mm_cvtsi128_si32(lower));
            store::<N>(out[3].add((turn - 6) * N), _mm_extract_epi32::<1>(lower));
        }
    }
}
