//! From samples to quantised coefficients, two blocks at a time.
//!
//! The forward cosine transform of T.81, A.3.3 after Loeffler, Ligtenberg and Moschytz, in integers of 13 fraction bits: libjpeg's `islow`,
//! the same to the last bit. It gives eight times the coefficients, which quantisation takes back. Knows nothing of planes or coding.
//! Invariant: vectors and plain code give the same; quantised values are at most 1024 in size, all but the first at most 1023.

use crate::{
    quantise::{NATURAL, Quantiser},
    simd::Avx2,
};

/// Samples of two blocks side by side: eight rows of sixteen.
pub(crate) type Tile = [u8; 128];

/// Two blocks' quantised coefficients, lowest frequencies first, and of each block a bit set for every value that is not zero.
pub(crate) struct Pair {
    pub(crate) values: [[i16; 64]; 2],
    pub(crate) masks: [u64; 2],
}

impl Pair {
    pub(crate) const EMPTY: Self = Self { values: [[0; 64]; 2], masks: [0; 2] };
}

const fn fixed(value: f64) -> i32 {
    (value * 8192.0 + 0.5) as i32
}

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

/// The flow graph's rotations multiplied out: factors of the sum `0 - 3` and `1 - 2` for outputs 2 and 6.
pub(crate) const EVEN: [[i32; 2]; 2] = [[F0_541 + F0_765, F0_541], [F0_541, F0_541 - F1_847]];

/// Factors of the differences `3 - 4`, `2 - 5`, `1 - 6`, `0 - 7` for outputs 1, 3, 5 and 7.
pub(crate) const ODD: [[i32; 4]; 4] = [
    [F1_175 - F0_899, F1_175 - F0_390, F1_175, F1_501 - F0_899 - F0_390 + F1_175],
    [F1_175 - F1_961, F1_175 - F2_562, F3_072 - F2_562 - F1_961 + F1_175, F1_175],
    [F1_175, F2_053 - F2_562 - F0_390 + F1_175, F1_175 - F2_562, F1_175 - F0_390],
    [F0_298 - F0_899 - F1_961 + F1_175, F1_175, F1_175 - F1_961, F1_175 - F0_899],
];

/// Transforms and quantises two blocks side by side, which share a table: eight rows of sixteen samples, `stride` bytes from each to the
/// next. All must be there.
#[inline(always)]
pub(crate) fn pair(avx2: Option<Avx2>, samples: &[u8], stride: usize, quantiser: &Quantiser, out: &mut Pair) {
    match avx2 {
        Some(avx2) => avx2.pair(samples, stride, quantiser, out),
        None => plain(samples, stride, quantiser, out),
    }
}

/// The plain twin.
fn plain(samples: &[u8], stride: usize, quantiser: &Quantiser, out: &mut Pair) {
    for block in 0..2 {
        let mut work = [[0i32; 8]; 8];
        for (index, row) in work.iter_mut().enumerate() {
            let samples = &samples[index * stride + 8 * block..][..8];
            let values: [i32; 8] = std::array::from_fn(|x| i32::from(samples[x]) - 128);
            *row = eight(values, |sum| sum << 2, 11);
        }
        for column in 0..8 {
            let values: [i32; 8] = std::array::from_fn(|y| work[y][column]);
            let values = eight(values, |sum| (sum + 2) >> 2, 15);
            for (row, value) in work.iter_mut().zip(values) {
                row[column] = value;
            }
        }
        out.masks[block] = 0;
        for (at, &index) in NATURAL.iter().enumerate() {
            let index = usize::from(index);
            let value = quantiser.quantise(index, work[index / 8][index % 8] as i16);
            out.values[block][at] = value;
            out.masks[block] |= u64::from(value != 0) << at;
        }
    }
}

/// Eight values in one direction. Sums alone are scaled by `even`, products rounded down by `shift` bits.
#[inline(always)]
fn eight(values: [i32; 8], even: impl Fn(i32) -> i32, shift: u32) -> [i32; 8] {
    let sum = |index: usize| values[index] + values[7 - index];
    let differences: [i32; 4] = std::array::from_fn(|index| values[3 - index] - values[4 + index]);
    let (outer, inner) = (sum(0) + sum(3), sum(1) + sum(2));
    let turned = [sum(0) - sum(3), sum(1) - sum(2)];
    let descaled = |sum: i32| (sum + (1 << (shift - 1))) >> shift;
    let two = |factors: [i32; 2]| descaled(turned[0] * factors[0] + turned[1] * factors[1]);
    let odd = |factors: [i32; 4]| descaled(differences.iter().zip(factors).map(|(value, factor)| value * factor).sum());
    [even(outer + inner), odd(ODD[0]), two(EVEN[0]), odd(ODD[1]), even(outer - inner), odd(ODD[2]), two(EVEN[1]), odd(ODD[3])]
}

/// A bit for each value that is at least `least` in size; `least` is 1 to 1024.
#[inline(always)]
pub(crate) fn at_least(avx2: Option<Avx2>, values: &[i16; 64], least: i16) -> u64 {
    match avx2 {
        Some(avx2) => avx2.at_least(values, least),
        None => values.iter().rev().fold(0, |mask, value| mask << 1 | u64::from(value.unsigned_abs() >= least.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    fn agree(tile: &Tile, quality: u8) {
        let Some(avx2) = Avx2::detect() else { return };
        for quantiser in Quantiser::pair(quality) {
            let (mut vectors, mut twin) = (Pair::EMPTY, Pair::EMPTY);
            pair(Some(avx2), tile, 16, &quantiser, &mut vectors);
            plain(tile, 16, &quantiser, &mut twin);
            assert_eq!(vectors.values, twin.values);
            assert_eq!(vectors.masks, twin.masks);
            for (values, mask) in twin.values.iter().zip(twin.masks) {
                assert!(values[0].abs() <= 1024 && values[1..].iter().all(|value| value.abs() <= 1023));
                assert_eq!(at_least(None, values, 1), mask);
                for least in [1, 2, 3, 4, 1023, 1024] {
                    assert_eq!(at_least(Some(avx2), values, least), at_least(None, values, least));
                }
            }
        }
    }

    #[test]
    fn rows_may_be_apart_and_must_be_there() {
        let samples: Vec<u8> = (0..7 * 50 + 16u32).map(|at| (at * at / 60) as u8).collect();
        let mut tile = [0; 128];
        for (to, from) in tile.chunks_mut(16).zip(samples.chunks(50)) {
            to.copy_from_slice(&from[..16]);
        }
        let quantiser = &Quantiser::pair(90)[0];
        let (mut apart, mut together) = (Pair::EMPTY, Pair::EMPTY);
        pair(simd::detect(), &samples, 50, quantiser, &mut apart);
        pair(simd::detect(), &tile, 16, quantiser, &mut together);
        assert_eq!(apart.values, together.values);
        for (samples, stride) in [(&samples[..7 * 50 + 15], 50), (&samples[..], usize::MAX / 7 + 1), (&[][..], 0)] {
            let call = || {
                let mut out = Pair::EMPTY;
                pair(simd::detect(), samples, stride, quantiser, &mut out);
            };
            assert!(std::panic::catch_unwind(call).is_err(), "{} bytes at {stride}", samples.len());
        }
    }

    #[test]
    fn vectors_are_there_or_it_is_said() {
        if simd::detect().is_none() {
            eprintln!("SKIPPED: this processor has no AVX2, there is one way only");
        }
    }

    /// Every sign pattern of a coefficient at its largest.
    #[test]
    fn extremes_fit() {
        agree(&[0; 128], 100);
        agree(&[255; 128], 100);
        for (v, u) in (0..8).flat_map(|v| (0..8).map(move |u| (v, u))) {
            let mut tile = [0; 128];
            for (at, sample) in tile.iter_mut().enumerate() {
                let (x, y) = (at % 8, at / 16);
                let wave = |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos();
                let positive = wave(x, u) * wave(y, v) > 0.0;
                *sample = if positive == (at % 16 < 8) { 255 } else { 0 };
            }
            agree(&tile, 100);
            agree(&tile, 1);
        }
    }

    proptest! {
        #[test]
        fn vectors_give_the_same_bits(bytes in proptest::collection::vec(any::<u8>(), 128), quality in 1u8..=100, shift in 0u32..8) {
            let mut tile = [0; 128];
            for (to, from) in tile.iter_mut().zip(bytes) {
                *to = (from >> shift) + (97 >> (7 - shift));
            }
            agree(&tile, quality);
        }

        /// With divisors of one: less than 0.75 from the transform as it is written down.
        #[test]
        fn transform_is_near_the_true_one(bytes in proptest::collection::vec(any::<u8>(), 128)) {
            let tile: Tile = bytes.try_into().unwrap();
            let mut out = Pair::EMPTY;
            plain(&tile, 16, &Quantiser::pair(100)[0], &mut out);
            for (at, &index) in NATURAL.iter().enumerate() {
                let (v, u) = (usize::from(index / 8), usize::from(index % 8));
                let scale = |frequency: usize| if frequency == 0 { 0.5f64.sqrt() } else { 1.0 };
                for block in 0..2 {
                    let mut sum = 0.0;
                    for (y, x) in (0..8).flat_map(|y| (0..8).map(move |x| (y, x))) {
                        let wave = |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos();
                        sum += (f64::from(tile[16 * y + 8 * block + x]) - 128.0) * wave(x, u) * wave(y, v);
                    }
                    let exact = sum * scale(u) * scale(v) / 4.0;
                    prop_assert!((exact - f64::from(out.values[block][at])).abs() < 0.75, "{} beside {}", out.values[block][at], exact);
                }
            }
        }
    }
}
