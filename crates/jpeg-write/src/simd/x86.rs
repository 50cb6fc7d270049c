//! x86-64: the transform in vectors, and a way to have plain code compiled for newer processors.
//!
//! Knows nothing of planes or entropy coding. A vector holds a row of each of two blocks, one in either half, and what crosses lanes
//! stays in its half. Sums of samples fit 16 bits (`transform` says how large they get: at most 8 * 128 * 4 * 8 = 2^15, reached only
//! from below zero); products are added in pairs, in 32 bits, so their order does not matter.

use super::Work;
use crate::{
    quantise::{NATURAL, Quantiser},
    transform::{EVEN, ODD, Pair},
};
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

    /// As `transform::pair`.
    #[inline(always)]
    pub(crate) fn pair(self, samples: &[u8], stride: usize, quantiser: &Quantiser, out: &mut Pair) {
        // SAFETY: as above.
        unsafe { pair(samples, stride, quantiser, out) }
    }

    /// As `transform::at_least`.
    #[inline(always)]
    pub(crate) fn at_least(self, values: &[i16; 64], least: i16) -> u64 {
        // SAFETY: as above.
        unsafe { at_least(values, least) }
    }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn run<W: Work>(avx2: Avx2, work: W) -> W::Output {
    work.run(Some(avx2))
}

#[inline(always)]
fn eight_words(values: [i16; 8]) -> __m128i {
    // SAFETY: both types are sixteen bytes, and any sixteen bytes are a value of either.
    unsafe { std::mem::transmute(values) }
}

#[inline(always)]
fn eight_factors(values: &[u16; 8]) -> __m128i {
    // SAFETY: as above.
    unsafe { std::mem::transmute(*values) }
}

#[inline(always)]
fn words_of(values: __m128i) -> [i16; 8] {
    // SAFETY: as above.
    unsafe { std::mem::transmute(values) }
}

/// Two factors of a pair, as one 32-bit lane; they must fit 16 bits.
const fn factors(first: i32, second: i32) -> i32 {
    assert!(first as i16 as i32 == first && second as i16 as i32 == second);
    first & 0xffff | second << 16
}

/// Changes rows for columns, in each half.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(rows: [__m256i; 8]) -> [__m256i; 8] {
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let (a0, a1) = (_mm256_unpacklo_epi16(r0, r1), _mm256_unpackhi_epi16(r0, r1));
    let (b0, b1) = (_mm256_unpacklo_epi16(r2, r3), _mm256_unpackhi_epi16(r2, r3));
    let (c0, c1) = (_mm256_unpacklo_epi16(r4, r5), _mm256_unpackhi_epi16(r4, r5));
    let (d0, d1) = (_mm256_unpacklo_epi16(r6, r7), _mm256_unpackhi_epi16(r6, r7));
    let (e0, e1) = (_mm256_unpacklo_epi32(a0, b0), _mm256_unpackhi_epi32(a0, b0));
    let (e2, e3) = (_mm256_unpacklo_epi32(a1, b1), _mm256_unpackhi_epi32(a1, b1));
    let (f0, f1) = (_mm256_unpacklo_epi32(c0, d0), _mm256_unpackhi_epi32(c0, d0));
    let (f2, f3) = (_mm256_unpacklo_epi32(c1, d1), _mm256_unpackhi_epi32(c1, d1));
    [
        _mm256_unpacklo_epi64(e0, f0),
        _mm256_unpackhi_epi64(e0, f0),
        _mm256_unpacklo_epi64(e1, f1),
        _mm256_unpackhi_epi64(e1, f1),
        _mm256_unpacklo_epi64(e2, f2),
        _mm256_unpackhi_epi64(e2, f2),
        _mm256_unpacklo_epi64(e3, f3),
        _mm256_unpackhi_epi64(e3, f3),
    ]
}

/// `transform::eight` across vectors, but for outputs 0 and 4, which are sums not yet scaled.
#[inline]
#[target_feature(enable = "avx2")]
fn eight_points<const SHIFT: i32>(v: [__m256i; 8]) -> [__m256i; 8] {
    let sum = |index: usize| _mm256_add_epi16(v[index], v[7 - index]);
    let difference = |index: usize| _mm256_sub_epi16(v[index], v[7 - index]);
    let (s0, s1, s2, s3) = (sum(0), sum(1), sum(2), sum(3));
    let (outer, inner) = (_mm256_add_epi16(s0, s3), _mm256_add_epi16(s1, s2));
    let (turned0, turned1) = (_mm256_sub_epi16(s0, s3), _mm256_sub_epi16(s1, s2));
    let (d3, d2, d1, d0) = (difference(3), difference(2), difference(1), difference(0));

    let round = _mm256_set1_epi32(1 << (SHIFT - 1));
    let times = |values, [first, second]: [i32; 2]| _mm256_madd_epi16(values, _mm256_set1_epi32(factors(first, second)));
    let down = |low, high| {
        let (low, high) = (_mm256_add_epi32(low, round), _mm256_add_epi32(high, round));
        _mm256_packs_epi32(_mm256_srai_epi32::<SHIFT>(low), _mm256_srai_epi32::<SHIFT>(high))
    };
    let (low, high) = (_mm256_unpacklo_epi16(turned0, turned1), _mm256_unpackhi_epi16(turned0, turned1));
    let even = |pair: [i32; 2]| down(times(low, pair), times(high, pair));
    let (low32, high32) = (_mm256_unpacklo_epi16(d3, d2), _mm256_unpackhi_epi16(d3, d2));
    let (low10, high10) = (_mm256_unpacklo_epi16(d1, d0), _mm256_unpackhi_epi16(d1, d0));
    let odd = |[f3, f2, f1, f0]: [i32; 4]| {
        down(
            _mm256_add_epi32(times(low32, [f3, f2]), times(low10, [f1, f0])),
            _mm256_add_epi32(times(high32, [f3, f2]), times(high10, [f1, f0])),
        )
    };
    [
        _mm256_add_epi16(outer, inner),
        odd(ODD[0]),
        even(EVEN[0]),
        odd(ODD[1]),
        _mm256_sub_epi16(outer, inner),
        odd(ODD[2]),
        even(EVEN[1]),
        odd(ODD[3]),
    ]
}

/// Which bytes of a row of coefficients go where in the `group`th eight of rising frequency; -1 where the row has none.
const fn gathering(group: usize, row: usize) -> Option<[i16; 8]> {
    let mut order = [-1i16; 8];
    let mut any = false;
    let mut lane = 0;
    while lane < 8 {
        let index = NATURAL[8 * group + lane] as usize;
        if index / 8 == row {
            let low = 2 * (index % 8) as i16;
            order[lane] = low | (low + 1) << 8;
            any = true;
        }
        lane += 1;
    }
    if any { Some(order) } else { None }
}

const GATHERINGS: [[Option<[i16; 8]>; 8]; 8] = {
    let mut all = [[None; 8]; 8];
    let mut at = 0;
    while at < 64 {
        all[at / 8][at % 8] = gathering(at / 8, at % 8);
        at += 1;
    }
    all
};

#[inline]
#[target_feature(enable = "avx2")]
fn gathered<const GROUP: usize>(rows: &[__m256i; 8]) -> __m256i {
    let mut all: Option<__m256i> = None;
    for (row, order) in rows.iter().zip(&const { GATHERINGS[GROUP] }) {
        if let Some(order) = order {
            let part = _mm256_shuffle_epi8(*row, _mm256_broadcastsi128_si256(eight_words(*order)));
            all = Some(all.map_or(part, |all| _mm256_or_si256(all, part)));
        }
    }
    // Every group has values, so of some row.
    all.unwrap_or(rows[0])
}

#[inline]
#[target_feature(enable = "avx2")]
fn pair(samples: &[u8], stride: usize, quantiser: &Quantiser, out: &mut Pair) {
    // The one check of eight rows.
    let there = stride.checked_mul(7).and_then(|last| last.checked_add(16)).is_some_and(|bytes| bytes <= samples.len());
    assert!(there, "eight rows of sixteen samples");
    let centre = _mm256_set1_epi16(128);
    let row = |index: usize| {
        // SAFETY: the sixteen bytes begin at 7 * stride at most, and so end within the slice.
        let samples = unsafe { _mm_loadu_si128(samples.as_ptr().add(index * stride).cast()) };
        _mm256_sub_epi16(_mm256_cvtepu8_epi16(samples), centre)
    };
    let rows = [row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)];
    let mut columns = eight_points::<11>(transposed(rows));
    columns[0] = _mm256_slli_epi16::<2>(columns[0]);
    columns[4] = _mm256_slli_epi16::<2>(columns[4]);
    let mut rows = eight_points::<15>(transposed(columns));
    let two = _mm256_set1_epi16(2);
    rows[0] = _mm256_srai_epi16::<2>(_mm256_add_epi16(rows[0], two));
    rows[4] = _mm256_srai_epi16::<2>(_mm256_add_epi16(rows[4], two));

    let (half, _) = quantiser.half.as_chunks::<8>();
    let (factor, _) = quantiser.factor.as_chunks::<8>();
    let (scale, _) = quantiser.scale.as_chunks::<8>();
    let both = |words: &[u16; 8]| _mm256_broadcastsi128_si256(eight_factors(words));
    for (index, row) in rows.iter_mut().enumerate() {
        let rounded = _mm256_add_epi16(_mm256_abs_epi16(*row), both(&half[index]));
        // The second one as signed numbers, which both are: as unsigned ones LLVM widens them to 32 bits and back.
        let quotient = _mm256_mulhi_epi16(_mm256_mulhi_epu16(rounded, both(&factor[index])), both(&scale[index]));
        *row = _mm256_sign_epi16(quotient, *row);
    }

    let eights = [
        gathered::<0>(&rows),
        gathered::<1>(&rows),
        gathered::<2>(&rows),
        gathered::<3>(&rows),
        gathered::<4>(&rows),
        gathered::<5>(&rows),
        gathered::<6>(&rows),
        gathered::<7>(&rows),
    ];
    let [first, second] = &mut out.values;
    let places = first.as_chunks_mut::<8>().0.iter_mut().zip(second.as_chunks_mut::<8>().0);
    for (values, (first, second)) in eights.iter().zip(places) {
        *first = words_of(_mm256_castsi256_si128(*values));
        *second = words_of(_mm256_extracti128_si256::<1>(*values));
    }
    // Saturation keeps what is not zero so.
    let packed = |index: usize| _mm256_packs_epi16(eights[2 * index], eights[2 * index + 1]);
    let (p0, p1, p2, p3) = (packed(0), packed(1), packed(2), packed(3));
    let zeros = |values| u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(values, _mm256_setzero_si256())) as u32);
    let mask = |low, high| !(zeros(low) | zeros(high) << 32);
    out.masks = [
        mask(_mm256_permute2x128_si256::<0x20>(p0, p1), _mm256_permute2x128_si256::<0x20>(p2, p3)),
        mask(_mm256_permute2x128_si256::<0x31>(p0, p1), _mm256_permute2x128_si256::<0x31>(p2, p3)),
    ];
}

#[inline]
#[target_feature(enable = "avx2")]
fn at_least(values: &[i16; 64], least: i16) -> u64 {
    let (values, _) = values.as_chunks::<8>();
    let below = _mm256_set1_epi16(least - 1);
    let large = |index: usize| {
        let values = _mm256_set_m128i(eight_words(values[index + 1]), eight_words(values[index]));
        _mm256_cmpgt_epi16(_mm256_abs_epi16(values), below)
    };
    let half = |index: usize| {
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(large(index), large(index + 2)));
        u64::from(_mm256_movemask_epi8(packed) as u32)
    };
    half(0) | half(4) << 32
}
