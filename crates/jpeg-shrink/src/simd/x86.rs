//! x86-64: transforms, colour, and a way to have plain code compiled for newer processors.
//!
//! Knows nothing of planes or entropy coding. Both transforms are those of `idct`, written as products of pairs: an output is a sum of
//! `coefficient * constant`, exact in 32 bits, so the order in which it is added up does not matter, and one instruction multiplies
//! and adds eight pairs. No sum overflows: inputs have 16 bits, and the constants of one output add up to less than 2^16.

use super::Work;
use std::arch::x86_64::*;

/// Proof that the processor has AVX2, BMI1, BMI2 and LZCNT (as all that have the first do, but for oddities).
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// Asks the processor, or rather what the standard library remembers of its answer.
    #[inline(always)]
    pub(crate) fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt");
        there.then_some(Self(()))
    }

    /// Runs `work` compiled for this processor.
    #[inline(always)]
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        // SAFETY: `self` is only made where the processor has the features this function is compiled for.
        unsafe { run(self, work) }
    }

    /// As `idct::eight`. `out` must reach to the end of the eighth row's eight samples.
    #[inline(always)]
    pub(crate) fn eight(self, coefficients: &[i16; 64], quantisers: &[u16; 64], out: &mut [u8], stride: usize) {
        // SAFETY: as above.
        unsafe { eight(coefficients, quantisers, out, stride) }
    }

    /// Deals the low bits of `value` out to the bits set in `mask`, from the lowest on. (Slow on AMD before Zen 3, yet no slower
    /// than a loop.)
    #[inline(always)]
    pub(crate) fn deposit(self, value: u64, mask: u64) -> u64 {
        // SAFETY: as above.
        unsafe { _pdep_u64(value, mask) }
    }

    /// YCbCr to RGB8, as `rows::rgb`, for as many pixels as make whole vectors; returns how many.
    #[inline(always)]
    pub(crate) fn ycbcr(self, luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) -> usize {
        // SAFETY: as above.
        unsafe { ycbcr(luma, blue, red, out) }
    }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn run<W: Work>(avx2: Avx2, work: W) -> W::Output {
    work.run(Some(avx2))
}

#[inline(always)]
fn eight_words(values: &[i16; 8]) -> __m128i {
    // SAFETY: both types are sixteen bytes, and any sixteen bytes are a value of either.
    unsafe { std::mem::transmute(*values) }
}

#[inline(always)]
fn eight_factors(values: &[u16; 8]) -> __m128i {
    // SAFETY: as above.
    unsafe { std::mem::transmute(*values) }
}

#[inline(always)]
fn sixteen_bytes(values: &[u8; 16]) -> __m128i {
    // SAFETY: as above.
    unsafe { std::mem::transmute(*values) }
}

#[inline(always)]
fn bytes_of(values: __m128i) -> [u8; 16] {
    // SAFETY: as above.
    unsafe { std::mem::transmute(values) }
}

/// Two factors of a pair, as one 32-bit lane; they must fit 16 bits.
const fn pair(first: i32, second: i32) -> i32 {
    assert!(first as i16 as i32 == first && second as i16 as i32 == second);
    first & 0xffff | second << 16
}

/// `idct`'s constants: 13 fraction bits.
const fn fixed(value: f64) -> i32 {
    (value * 8192.0 + 0.5) as i32
}

const ONE: i32 = 1 << 13;
const F0_298: i32 = fixed(0.298631336);
const F0_390: i32 = fixed(0.390180644);
const F0_541: i32 = fixed(0.541196100);
const F0_765: i32 = fixed(0.765366865);
const F0_899: i32 = fixed(0.899976223);
const F1_175: i32 = fixed(1.175875602);
const F1_501: i32 = fixed(1.501321110);
const F1_847: i32 = fixed(1.847759065);
const F1_961: i32 = fixed(1.961570560);
const F2_053: i32 = fixed(2.053119869);
const F2_562: i32 = fixed(2.562915447);
const F3_072: i32 = fixed(3.072711026);

/// Rounding of the two passes' shifts by 11 and 18; the second also adds the level shift of 128.
const ROUND1: i32 = 1 << 10;
const ROUND2: i32 = (1 << 17) + (128 << 18);

/// One pass over eight lanes. `pairs` hold values 0 and 4, 2 and 6, 1 and 3, 5 and 7; the results are not yet scaled.
#[inline]
#[target_feature(enable = "avx2")]
fn eight_points([v04, v26, v13, v57]: [__m256i; 4], round: i32) -> [__m256i; 8] {
    let times = |values, first, second| _mm256_madd_epi16(values, _mm256_set1_epi32(pair(first, second)));
    let round = _mm256_set1_epi32(round);
    let sum = _mm256_add_epi32(times(v04, ONE, ONE), round);
    let difference = _mm256_add_epi32(times(v04, ONE, -ONE), round);
    let (outer, inner) = (times(v26, F0_541 + F0_765, F0_541), times(v26, F0_541, F0_541 - F1_847));
    let even = [
        _mm256_add_epi32(sum, outer),
        _mm256_add_epi32(difference, inner),
        _mm256_sub_epi32(difference, inner),
        _mm256_sub_epi32(sum, outer),
    ];
    // The odd half of Loeffler's flow graph, multiplied out.
    let odd = [
        _mm256_add_epi32(times(v13, F1_175 + F1_501 - F0_899 - F0_390, F1_175), times(v57, F1_175 - F0_390, F1_175 - F0_899)),
        _mm256_add_epi32(times(v13, F1_175, F1_175 + F3_072 - F2_562 - F1_961), times(v57, F1_175 - F2_562, F1_175 - F1_961)),
        _mm256_add_epi32(times(v13, F1_175 - F0_390, F1_175 - F2_562), times(v57, F1_175 + F2_053 - F2_562 - F0_390, F1_175)),
        _mm256_add_epi32(times(v13, F1_175 - F0_899, F1_175 - F1_961), times(v57, F1_175, F1_175 + F0_298 - F0_899 - F1_961)),
    ];
    [
        _mm256_add_epi32(even[0], odd[0]),
        _mm256_add_epi32(even[1], odd[1]),
        _mm256_add_epi32(even[2], odd[2]),
        _mm256_add_epi32(even[3], odd[3]),
        _mm256_sub_epi32(even[3], odd[3]),
        _mm256_sub_epi32(even[2], odd[2]),
        _mm256_sub_epi32(even[1], odd[1]),
        _mm256_sub_epi32(even[0], odd[0]),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn eight(coefficients: &[i16; 64], quantisers: &[u16; 64], out: &mut [u8], stride: usize) {
    let (coefficients, _) = coefficients.as_chunks::<8>();
    let (quantisers, _) = quantisers.as_chunks::<8>();
    let row = |index: usize| _mm_mullo_epi16(eight_words(&coefficients[index]), eight_factors(&quantisers[index]));
    let interleaved = |first: usize, second: usize| {
        let (first, second) = (row(first), row(second));
        _mm256_set_m128i(_mm_unpackhi_epi16(first, second), _mm_unpacklo_epi16(first, second))
    };
    let columns = [interleaved(0, 4), interleaved(2, 6), interleaved(1, 3), interleaved(5, 7)];
    let mut rows = eight_points(columns, ROUND1);
    for row in &mut rows {
        *row = _mm256_srai_epi32::<11>(*row);
    }

    // Rows two and two, each in a half; then a row's pairs of columns 0 and 4, 2 and 6, 1 and 3, 5 and 7.
    let order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 4, 5, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    let two = |first: __m256i, second: __m256i| {
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(first, second));
        _mm256_shuffle_epi8(packed, order)
    };
    let (r01, r23, r45, r67) = (two(rows[0], rows[1]), two(rows[2], rows[3]), two(rows[4], rows[5]), two(rows[6], rows[7]));
    let (low0, high0) = (_mm256_unpacklo_epi32(r01, r23), _mm256_unpackhi_epi32(r01, r23));
    let (low4, high4) = (_mm256_unpacklo_epi32(r45, r67), _mm256_unpackhi_epi32(r45, r67));
    // Lanes are rows 0, 2, 4, 6, 1, 3, 5, 7.
    let rows = [
        _mm256_unpacklo_epi64(low0, low4),
        _mm256_unpackhi_epi64(low0, low4),
        _mm256_unpacklo_epi64(high0, high4),
        _mm256_unpackhi_epi64(high0, high4),
    ];
    let mut columns = eight_points(rows, ROUND2);
    for column in &mut columns {
        *column = _mm256_srai_epi32::<18>(*column);
    }

    // To bytes: in each half four columns of four rows, which change places.
    let square = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    let half = |a: __m256i, b: __m256i, c: __m256i, d: __m256i| {
        _mm256_shuffle_epi8(_mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)), square)
    };
    let left = half(columns[0], columns[1], columns[2], columns[3]);
    let right = half(columns[4], columns[5], columns[6], columns[7]);
    let (upper, lower) = (_mm256_unpacklo_epi32(left, right), _mm256_unpackhi_epi32(left, right));
    let mut put = |first: usize, values: __m128i| {
        let bytes = bytes_of(values);
        out[first * stride..][..8].copy_from_slice(&bytes[..8]);
        out[(first + 2) * stride..][..8].copy_from_slice(&bytes[8..]);
    };
    put(0, _mm256_castsi256_si128(upper));
    put(1, _mm256_extracti128_si256::<1>(upper));
    put(4, _mm256_castsi256_si128(lower));
    put(5, _mm256_extracti128_si256::<1>(lower));
}

/// As `idct::four`.
#[inline(always)]
pub(crate) fn four(coefficients: &[i16; 16], quantisers: &[u16; 16], out: &mut [u8], stride: usize) {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { four_by_sse2(coefficients, quantisers, out, stride) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn four_by_sse2(coefficients: &[i16; 16], quantisers: &[u16; 16], out: &mut [u8], stride: usize) {
    let ([c0, c1], []) = coefficients.as_chunks::<8>() else { return };
    let ([q0, q1], []) = quantisers.as_chunks::<8>() else { return };
    let times = |values, first, second| _mm_madd_epi16(values, _mm_set1_epi32(pair(first, second)));
    let pass = |v02: __m128i, v13: __m128i, round: i32| {
        let round = _mm_set1_epi32(round);
        let (sum, difference) = (_mm_add_epi32(times(v02, ONE, ONE), round), _mm_add_epi32(times(v02, ONE, -ONE), round));
        let (outer, inner) = (times(v13, F0_541 + F0_765, F0_541), times(v13, F0_541, F0_541 - F1_847));
        [_mm_add_epi32(sum, outer), _mm_add_epi32(difference, inner), _mm_sub_epi32(difference, inner), _mm_sub_epi32(sum, outer)]
    };
    let upper = _mm_mullo_epi16(eight_words(c0), eight_factors(q0));
    let lower = _mm_mullo_epi16(eight_words(c1), eight_factors(q1));
    let mut rows = pass(_mm_unpacklo_epi16(upper, lower), _mm_unpackhi_epi16(upper, lower), ROUND1);
    for row in &mut rows {
        *row = _mm_srai_epi32::<11>(*row);
    }
    // A row's pairs of columns 0 and 2, 1 and 3.
    let pairs = |first, second| {
        let packed = _mm_packs_epi32(first, second);
        _mm_castsi128_ps(_mm_shufflehi_epi16::<0b11_01_10_00>(_mm_shufflelo_epi16::<0b11_01_10_00>(packed)))
    };
    let (r01, r23) = (pairs(rows[0], rows[1]), pairs(rows[2], rows[3]));
    let even = _mm_castps_si128(_mm_shuffle_ps::<0b10_00_10_00>(r01, r23));
    let odd = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(r01, r23));
    let mut columns = pass(even, odd, ROUND2);
    for column in &mut columns {
        *column = _mm_srai_epi32::<18>(*column);
    }
    let (c01, c23) = (_mm_packs_epi32(columns[0], columns[1]), _mm_packs_epi32(columns[2], columns[3]));
    let (even, odd) = (_mm_unpacklo_epi16(c01, c23), _mm_unpackhi_epi16(c01, c23));
    let bytes = bytes_of(_mm_packus_epi16(_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)));
    for (row, values) in bytes.as_chunks::<4>().0.iter().enumerate() {
        out[row * stride..][..4].copy_from_slice(values);
    }
}

/// Sixteen pixels a turn. With 16 fraction bits as in `rows`: 1.402 is taken as 1 + 26345 / 65536, 1.772 as 2 - 14942 / 65536 and
/// -0.71414 as 18734 / 65536 - 1, so that the factors fit 16 bits; `(2 * a * f >> 16) + 1 >> 1` is `a * f + HALF >> 16`.
#[target_feature(enable = "avx2")]
fn ycbcr(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) -> usize {
    let (luma, blue, red) = (luma.as_chunks::<16>().0, blue.as_chunks::<16>().0, red.as_chunks::<16>().0);
    let out = out.as_chunks_mut::<48>().0;
    let pixels = 16 * luma.len().min(blue.len()).min(red.len()).min(out.len());
    let (one, centre) = (_mm256_set1_epi16(1), _mm256_set1_epi16(128));
    let rounded = |twice: __m256i, factor: i16| {
        let product = _mm256_mulhi_epi16(twice, _mm256_set1_epi16(factor));
        _mm256_srai_epi16::<1>(_mm256_add_epi16(product, one))
    };
    let mixed = |values: __m256i| {
        let sum = _mm256_madd_epi16(values, _mm256_set1_epi32(pair(-22554, 18734)));
        _mm256_srai_epi32::<16>(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << 15)))
    };
    // Eight pixels a half: red in bytes 0 to 7, green in 8 to 15, and blue apart; -1 leaves a byte to the other.
    let shuffle = |order: __m128i| _mm256_broadcastsi128_si256(order);
    let front_rg = shuffle(_mm_setr_epi8(0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5));
    let front_b = shuffle(_mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1));
    let back_rg = shuffle(_mm_setr_epi8(13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    let back_b = shuffle(_mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1));
    for (((out, luma), blue), red) in out.iter_mut().zip(luma).zip(blue).zip(red) {
        let luma = _mm256_cvtepu8_epi16(sixteen_bytes(luma));
        let blue = _mm256_sub_epi16(_mm256_cvtepu8_epi16(sixteen_bytes(blue)), centre);
        let red = _mm256_sub_epi16(_mm256_cvtepu8_epi16(sixteen_bytes(red)), centre);
        let (blue2, red2) = (_mm256_add_epi16(blue, blue), _mm256_add_epi16(red, red));
        let r = _mm256_add_epi16(_mm256_add_epi16(luma, red), rounded(red2, 26345));
        let b = _mm256_add_epi16(_mm256_add_epi16(luma, blue2), rounded(blue2, -14942));
        let mixed = _mm256_packs_epi32(mixed(_mm256_unpacklo_epi16(blue, red)), mixed(_mm256_unpackhi_epi16(blue, red)));
        let g = _mm256_add_epi16(_mm256_sub_epi16(luma, red), mixed);
        let (rg, b) = (_mm256_packus_epi16(r, g), _mm256_packus_epi16(b, b));
        let front = _mm256_or_si256(_mm256_shuffle_epi8(rg, front_rg), _mm256_shuffle_epi8(b, front_b));
        let back = _mm256_or_si256(_mm256_shuffle_epi8(rg, back_rg), _mm256_shuffle_epi8(b, back_b));
        out[..16].copy_from_slice(&bytes_of(_mm256_castsi256_si128(front)));
        out[16..24].copy_from_slice(&bytes_of(_mm256_castsi256_si128(back))[..8]);
        out[24..40].copy_from_slice(&bytes_of(_mm256_extracti128_si256::<1>(front)));
        out[40..].copy_from_slice(&bytes_of(_mm256_extracti128_si256::<1>(back))[..8]);
    }
    pixels
}
