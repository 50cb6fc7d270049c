//! Inverse transforms of a block to 1x1, 2x2, 4x4 and 8x8 samples.
//!
//! Knows nothing of where coefficients come from. The small ones take only the lowest 1, 2x2 or 4x4 coefficients, scaled so that a
//! flat block keeps its value (T.81 A.3.3 with N points in place of 8; as in libjpeg from version 7 on). The 8x8 one computes the
//! same integers as libjpeg's accurate `islow` method (Loeffler, Ligtenberg and Moschytz, ICASSP 1989). What is more than 16 bits
//! wraps after the quantiser and saturates after the first pass, as in libjpeg-turbo's vector code and ours, so that no coefficient
//! can make anything overflow; those an encoder can produce never get there.
//!
//! libjpeg-turbo's own 2x2 and 4x4 transforms (from version 6b) differ: they also read higher odd coefficients, and so give the mean
//! of each 4x4 or 2x2 pixels of the full block. That needs nearly every coefficient decoded; here those are what is skipped.

use crate::simd::Avx2;
use std::num::Wrapping;

/// A coefficient times its quantiser.
type Value = Wrapping<i32>;

/// Bits of the fixed-point constants.
const CONST_BITS: usize = 13;

/// Fraction bits kept between the two passes.
const PASS1_BITS: usize = 2;

/// `value`, rounded, as a constant of `CONST_BITS` fraction bits.
const fn fixed(value: f64) -> Value {
    Wrapping((value * (1 << CONST_BITS) as f64 + 0.5) as i32)
}

const F0_298: Value = fixed(0.298631336);
const F0_390: Value = fixed(0.390180644);
const F0_541: Value = fixed(0.541196100);
const F0_765: Value = fixed(0.765366865);
const F0_899: Value = fixed(0.899976223);
const F1_175: Value = fixed(1.175875602);
const F1_501: Value = fixed(1.501321110);
const F1_847: Value = fixed(1.847759065);
const F1_961: Value = fixed(1.961570560);
const F2_053: Value = fixed(2.053119869);
const F2_562: Value = fixed(2.562915447);
const F3_072: Value = fixed(3.072711026);

#[inline(always)]
fn descale(value: Value, bits: usize) -> Value {
    (value + Wrapping(1 << (bits - 1))) >> bits
}

/// After the first pass: as 16 bits hold it.
#[inline(always)]
fn between(value: Value) -> Value {
    Wrapping(descale(value, CONST_BITS - PASS1_BITS).0.clamp(i16::MIN.into(), i16::MAX.into()))
}

/// To a sample: level shift and clamp.
#[inline(always)]
fn sample(value: Value) -> u8 {
    (value + Wrapping(128)).0.clamp(0, 255) as u8
}

#[inline(always)]
fn dequantised(coefficient: i16, quantiser: u16) -> Value {
    Wrapping(i32::from(coefficient.wrapping_mul(quantiser as i16)))
}

/// The block's mean.
#[inline(always)]
pub(crate) fn one(dc: i16, quantiser: u16) -> u8 {
    sample(descale(dequantised(dc, quantiser), 3))
}

/// Two by two samples from four coefficients in natural order, to `out` and `out[stride..]`.
#[inline(always)]
pub(crate) fn two(coefficients: &[i16; 4], quantisers: &[u16; 4], out: &mut [u8], stride: usize) {
    let at = |index: usize| dequantised(coefficients[index], quantisers[index]);
    let (sum0, difference0) = (at(0) + at(2), at(0) - at(2));
    let (sum1, difference1) = (at(1) + at(3), at(1) - at(3));
    let rows = [[sum0 + sum1, sum0 - sum1], [difference0 + difference1, difference0 - difference1]];
    for (row, values) in rows.iter().enumerate() {
        for (place, &value) in out[row * stride..row * stride + 2].iter_mut().zip(values) {
            *place = sample(descale(value, 3));
        }
    }
}

/// A four-point pass without its last scaling: `CONST_BITS` fraction bits are added.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn four_points([a, b, c, d]: [Value; 4]) -> [Value; 4] {
    let (even0, even1) = ((a + c) << CONST_BITS, (a - c) << CONST_BITS);
    let turn = (b + d) * F0_541;
    let (odd0, odd1) = (turn + b * F0_765, turn - d * F1_847);
    [even0 + odd0, even1 + odd1, even1 - odd1, even0 - odd0]
}

/// Four by four samples from sixteen coefficients in natural order.
#[inline(always)]
pub(crate) fn four(coefficients: &[i16; 16], quantisers: &[u16; 16], out: &mut [u8], stride: usize) {
    #[cfg(target_arch = "x86_64")]
    crate::simd::four(coefficients, quantisers, out, stride);
    #[cfg(not(target_arch = "x86_64"))]
    four_plainly(coefficients, quantisers, out, stride);
}

/// As [`four`], on any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn four_plainly(coefficients: &[i16; 16], quantisers: &[u16; 16], out: &mut [u8], stride: usize) {
    let mut middle = [[Wrapping(0); 4]; 4];
    for column in 0..4 {
        let at = |row: usize| dequantised(coefficients[4 * row + column], quantisers[4 * row + column]);
        let values = four_points([at(0), at(1), at(2), at(3)]);
        for row in 0..4 {
            middle[row][column] = between(values[row]);
        }
    }
    for (row, values) in middle.iter().enumerate() {
        let values = four_points(*values);
        for (place, value) in out[row * stride..row * stride + 4].iter_mut().zip(values) {
            *place = sample(descale(value, CONST_BITS + PASS1_BITS + 3));
        }
    }
}

/// An eight-point pass without its last scaling.
#[inline(always)]
fn eight_points(v: [Value; 8]) -> [Value; 8] {
    let turn = (v[2] + v[6]) * F0_541;
    let (t2, t3) = (turn - v[6] * F1_847, turn + v[2] * F0_765);
    let (t0, t1) = ((v[0] + v[4]) << CONST_BITS, (v[0] - v[4]) << CONST_BITS);
    let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];

    let (t0, t1, t2, t3) = (v[7], v[5], v[3], v[1]);
    let (z1, z2, z3, z4) = (t0 + t3, t1 + t2, t0 + t2, t1 + t3);
    let z5 = (z3 + z4) * F1_175;
    let (z1, z2) = (-(z1 * F0_899), -(z2 * F2_562));
    let (z3, z4) = (z5 - z3 * F1_961, z5 - z4 * F0_390);
    let odd = [t3 * F1_501 + z1 + z4, t2 * F3_072 + z2 + z3, t1 * F2_053 + z2 + z4, t0 * F0_298 + z1 + z3];
    [
        even[0] + odd[0],
        even[1] + odd[1],
        even[2] + odd[2],
        even[3] + odd[3],
        even[3] - odd[3],
        even[2] - odd[2],
        even[1] - odd[1],
        even[0] - odd[0],
    ]
}

/// Eight by eight samples from sixty-four coefficients in natural order.
#[inline(always)]
pub(crate) fn eight(coefficients: &[i16; 64], quantisers: &[u16; 64], out: &mut [u8], stride: usize, avx2: Option<Avx2>) {
    match avx2 {
        Some(avx2) => avx2.eight(coefficients, quantisers, out, stride),
        None => eight_plainly(coefficients, quantisers, out, stride),
    }
}

/// As [`eight`], on any processor.
fn eight_plainly(coefficients: &[i16; 64], quantisers: &[u16; 64], out: &mut [u8], stride: usize) {
    let mut middle = [[Wrapping(0); 8]; 8];
    for column in 0..8 {
        let at = |row: usize| dequantised(coefficients[8 * row + column], quantisers[8 * row + column]);
        if (1..8).all(|row| coefficients[8 * row + column] == 0) {
            let flat = between(at(0) << CONST_BITS);
            for row in &mut middle {
                row[column] = flat;
            }
            continue;
        }
        let values = eight_points([at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)]);
        for row in 0..8 {
            middle[row][column] = between(values[row]);
        }
    }
    for (row, values) in middle.iter().enumerate() {
        let values = eight_points(*values);
        for (place, value) in out[row * stride..row * stride + 8].iter_mut().zip(values) {
            *place = sample(descale(value, CONST_BITS + PASS1_BITS + 3));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::simd::Avx2;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    /// The N-point inverse transform as the formula says, from the lowest NxN of `coefficients` (natural order of NxN).
    fn slowly(size: usize, coefficients: &[i16], quantisers: &[u16]) -> Vec<f64> {
        let norm = |index: usize| if index == 0 { (0.5f64).sqrt() } else { 1.0 };
        let mut out = Vec::new();
        for y in 0..size {
            for x in 0..size {
                let mut sum = 0.0;
                for v in 0..size {
                    for u in 0..size {
                        let value = f64::from(coefficients[size * v + u]) * f64::from(quantisers[size * v + u]);
                        let angle = |at: usize, frequency: usize| ((2 * at + 1) as f64 * frequency as f64 * PI / (2 * size) as f64).cos();
                        sum += norm(u) * norm(v) * value * angle(x, u) * angle(y, v);
                    }
                }
                out.push((sum / 4.0 + 128.0).clamp(0.0, 255.0));
            }
        }
        out
    }

    fn check(size: usize, fast: &[u8], coefficients: &[i16], quantisers: &[u16]) -> Result<(), TestCaseError> {
        for (got, want) in fast.iter().zip(slowly(size, coefficients, quantisers)) {
            prop_assert!((f64::from(*got) - want).abs() <= 0.75, "{got} is not near {want}");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn transforms_agree_with_the_formula(coefficients in prop::array::uniform32(-40i16..40), more in prop::array::uniform32(-20i16..20), quantisers in prop::collection::vec(1u16..12, 64)) {
            let mut all = [0i16; 64];
            all[..32].copy_from_slice(&coefficients);
            all[32..].copy_from_slice(&more);
            let quantisers: [u16; 64] = quantisers.try_into().unwrap();
            let mut out = [0u8; 64];
            super::eight_plainly(&all, &quantisers, &mut out, 8);
            check(8, &out, &all, &quantisers)?;
            super::four(all.first_chunk().unwrap(), quantisers.first_chunk().unwrap(), &mut out, 4);
            check(4, &out[..16], &all[..16], &quantisers)?;
            super::two(all.first_chunk().unwrap(), quantisers.first_chunk().unwrap(), &mut out, 2);
            check(2, &out[..4], &all[..4], &quantisers)?;
            check(1, &[super::one(all[0], quantisers[0])], &all[..1], &quantisers)?;
        }

        /// All of them, and such as photos have: small, and few of high frequency.
        #[test]
        fn vectors_give_what_plain_code_gives(
            coefficients in prop::collection::vec(any::<i16>(), 64),
            quantisers in prop::collection::vec(any::<u16>(), 64),
            shift in 0u32..14,
            kept in 1usize..=64,
            offset in 0usize..4,
        ) {
            let mut all = [0i16; 64];
            for (place, value) in all.iter_mut().zip(&coefficients[..kept]) {
                *place = value >> shift;
            }
            let mut factors = [0u16; 64];
            for (place, value) in factors.iter_mut().zip(&quantisers) {
                *place = value >> (shift / 2);
            }
            let stride = 8 + offset;
            let (mut plain, mut vectors) = (vec![7u8; 7 * stride + 8], vec![7u8; 7 * stride + 8]);
            super::eight_plainly(&all, &factors, &mut plain, stride);
            super::eight(&all, &factors, &mut vectors, stride, Avx2::detect());
            prop_assert_eq!(&plain, &vectors);
            if all[1..].iter().all(|&value| value == 0) {
                prop_assert_eq!(super::one(all[0], factors[0]), plain[0]);
            }
            let (all, factors) = (all.first_chunk().unwrap(), factors.first_chunk().unwrap());
            super::four_plainly(all, factors, &mut plain, stride);
            super::four(all, factors, &mut vectors, stride);
            prop_assert_eq!(&plain, &vectors);
            super::two(all.first_chunk().unwrap(), factors.first_chunk().unwrap(), &mut plain, stride);
        }
    }
}
