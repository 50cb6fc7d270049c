//! Pixels to one row per channel at half-way, and back to bytes at the end. Knows nothing of weights.
//!
//! Both take whole groups of [`GROUP`] pixels by vectors, and what is left over one by one.

use crate::simd;
use crate::vertical::{FRACTION_BITS, ZERO};

/// Pixels that vectors take at once.
pub(crate) const GROUP: usize = 16;

/// Deals interleaved samples out to one row per channel, as many pixels as `planes` have place for (each `plane` samples).
pub(crate) fn split(row: &[i16], channels: usize, planes: &mut [i16], plane: usize) {
    let done = match simd::detect() {
        Some(avx2) => avx2.split(row, channels, planes, plane),
        None => 0,
    };
    for (channel, plane) in planes.chunks_exact_mut(plane).take(channels).enumerate() {
        for (sample, pixel) in plane[done..].iter_mut().zip(row[done * channels..].chunks_exact(channels)) {
            *sample = pixel[channel];
        }
    }
}

/// Rounds rows of `plane` samples to bytes, confines them to `0..=255` and interleaves them into `out`.
///
/// With `opaque`, the fourth channel is not read and 255 everywhere.
pub(crate) fn weave(planes: &[i16], plane: usize, channels: usize, opaque: bool, out: &mut [u8]) {
    let done = match simd::detect() {
        Some(avx2) => avx2.weave(planes, plane, channels, opaque, out),
        None => 0,
    };
    let coloured = if opaque { 3 } else { channels };
    for (at, pixel) in out.chunks_exact_mut(channels).enumerate().skip(done) {
        pixel.fill(u8::MAX);
        for (channel, byte) in pixel[..coloured].iter_mut().enumerate() {
            *byte = byte_of(planes[channel * plane + at]);
        }
    }
}

/// The level nearest to a half-way sample.
pub(crate) fn byte_of(sample: i16) -> u8 {
    ((i32::from(sample) - ZERO + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS).clamp(0, 255) as u8
}
