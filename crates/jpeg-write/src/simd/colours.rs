//! x86-64: two rows of pixels to luma, and to chroma of half the sides.
//!
//! A pixel becomes two pairs of 16-bit lanes, red with green and blue with green, whose products are added in pairs. Weights that do not fit
//! 16 bits are shared out: green's part of luma among the two pairs, and a half, which is exact, is a shift. Everything is a whole number below
//! 2^31, so that the order of sums does not matter and results are those of the plain loop.

use super::Avx2;
use crate::strip::{BLUE, LUMA, RED};
use std::arch::x86_64::*;

/// Pixels of each row in one go.
const PIXELS: usize = 16;
/// What green has of luma in the first pair; the rest is in the second.
const GREEN: i32 = 1 << 14;
/// Half of four sums is rounded down: `strip::weighed`.
const CHROMA_ROUND: i32 = (128 << 18) + (1 << 17) - 1;

/// Two 16-bit lanes.
const fn lanes(first: i32, second: i32) -> i32 {
    assert!(first as i16 as i32 == first && second as i16 as i32 == second);
    first & 0xffff | second << 16
}

impl Avx2 {
    /// As the plain loop of `strip::Half`, on the first pixels of rows of `N` bytes a pixel; returns how many, an even number.
    #[inline(always)]
    pub(crate) fn half<const N: usize>(self, rows: [&[u8]; 2], luma: [&mut [u8]; 2], blue: &mut [u8], red: &mut [u8]) -> usize {
        // SAFETY: an `Avx2` is only made where the processor has the feature this function is compiled for.
        unsafe { half::<N>(rows, luma, blue, red) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn half<const N: usize>([upper, lower]: [&[u8]; 2], [upper_luma, lower_luma]: [&mut [u8]; 2], blue: &mut [u8], red: &mut [u8]) -> usize {
    let lumas = upper_luma.as_chunks_mut::<PIXELS>().0.iter_mut().zip(lower_luma.as_chunks_mut::<PIXELS>().0);
    let chromas = blue.as_chunks_mut::<{ PIXELS / 2 }>().0.iter_mut().zip(red.as_chunks_mut::<{ PIXELS / 2 }>().0);
    let mut done = 0;
    for ((upper_luma, lower_luma), (blue, red)) in lumas.zip(chromas) {
        // The last load of sixteen bytes reaches a little further than its four pixels.
        let (Some(above), Some(below)) = (upper.get(N * done..), lower.get(N * done..)) else { break };
        let (Some(above), Some(below)) = (above.first_chunk::<64>(), below.first_chunk::<64>()) else { break };
        let (above, below) = (pairs::<N>(above), pairs::<N>(below));
        *upper_luma = luma(above);
        *lower_luma = luma(below);
        // Of two by two pixels each.
        let [red_green, blue_green] = std::array::from_fn(|part| {
            let [even, odd] = by_turns(std::array::from_fn(|eight| _mm256_add_epi16(above[eight][part], below[eight][part])));
            _mm256_add_epi16(even, odd)
        });
        let round = _mm256_set1_epi32(CHROMA_ROUND);
        let weighed = |values, first, second| _mm256_madd_epi16(values, _mm256_set1_epi32(lanes(first, second)));
        // A half of 16 fraction bits.
        let half = |values| _mm256_slli_epi32::<15>(_mm256_and_si256(values, _mm256_set1_epi32(0xffff)));
        let blues = _mm256_add_epi32(weighed(red_green, BLUE[0], BLUE[1]), half(blue_green));
        let reds = _mm256_add_epi32(weighed(blue_green, RED[2], RED[1]), half(red_green));
        let down = |sum| _mm256_srai_epi32::<18>(_mm256_add_epi32(sum, round));
        // Four of blue and four of red in each half, brought together.
        let words = _mm256_packs_epi32(down(blues), down(reds));
        let bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(words, words), _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
        let both = _mm256_castsi256_si128(bytes);
        *blue = _mm_cvtsi128_si64(both).to_le_bytes();
        *red = _mm_extract_epi64::<1>(both).to_le_bytes();
        done += PIXELS;
    }
    done
}

/// Sixteen pixels as red with green and blue with green: those from 0 and 8 on, four each in a half, then those from 4 and 12 on.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs<const N: usize>(pixels: &[u8; 64]) -> [[__m256i; 2]; 2] {
    let four = |first: usize| {
        let bytes = pixels[N * first..].first_chunk::<16>().expect("12 pixels of four bytes, and sixteen bytes, are 64");
        // SAFETY: both types are sixteen bytes, and any sixteen bytes are a value of either.
        unsafe { std::mem::transmute::<[u8; 16], __m128i>(*bytes) }
    };
    std::array::from_fn(|eight| {
        let bytes = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(four(4 * eight)), four(4 * eight + 8));
        [_mm256_shuffle_epi8(bytes, places::<N>(0)), _mm256_shuffle_epi8(bytes, places::<N>(2))]
    })
}

/// Where a component and green lie in each of four pixels; words are filled up with nothing.
#[inline]
#[target_feature(enable = "avx2")]
fn places<const N: usize>(component: i32) -> __m256i {
    const NOTHING: i32 = 0x8000_8000_u32.cast_signed();
    let pixel = |at: i32| NOTHING | (at * N as i32 + component) | (at * N as i32 + 1) << 16;
    let four = _mm_setr_epi32(pixel(0), pixel(1), pixel(2), pixel(3));
    _mm256_broadcastsi128_si256(four)
}

#[inline]
#[target_feature(enable = "avx2")]
fn luma(pairs: [[__m256i; 2]; 2]) -> [u8; PIXELS] {
    let [first, second] = pairs.map(|[red_green, blue_green]| {
        let red_green = _mm256_madd_epi16(red_green, _mm256_set1_epi32(lanes(LUMA[0], GREEN)));
        let blue_green = _mm256_madd_epi16(blue_green, _mm256_set1_epi32(lanes(LUMA[2], LUMA[1] - GREEN)));
        let sum = _mm256_add_epi32(_mm256_add_epi32(red_green, blue_green), _mm256_set1_epi32(1 << 15));
        _mm256_srli_epi32::<16>(sum)
    });
    let words = _mm256_packus_epi32(first, second);
    let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
    // SAFETY: both types are sixteen bytes, and any sixteen bytes are a value of either.
    unsafe { std::mem::transmute::<__m128i, [u8; 16]>(bytes) }
}

/// Of 32-bit lanes of two vectors, in each half those of even places, then those of odd ones; the first vector's before the second's.
#[inline]
#[target_feature(enable = "avx2")]
fn by_turns([first, second]: [__m256i; 2]) -> [__m256i; 2] {
    let (first, second) = (_mm256_castsi256_ps(first), _mm256_castsi256_ps(second));
    [
        _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(first, second)),
        _mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_11_01>(first, second)),
    ]
}
