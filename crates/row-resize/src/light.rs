//! Source bytes to half-way samples and back where a byte is not simply a level: light in place of encoded values, colours weighted
//! with alpha. Knows nothing of weights.
//!
//! Such samples go from 0 to [`FULL`], taken down by 16384 to be centred as all half-way samples are. sRGB's transfer is that of
//! IEC 61966-2-1. A level survives the way there and back; so does a colour under any alpha but 0.

use std::sync::OnceLock;

use crate::simd::{self, Work};
use crate::vertical::{FRACTION_BITS, ZERO};
use crate::weave::byte_of;
use crate::{Light, Pixel};

/// What is as bright, or as opaque, as can be.
const FULL: u32 = 255 << FRACTION_BITS;

/// Both directions of sRGB's transfer.
pub(crate) struct Transfer {
    /// For each byte, light from 0 to [`FULL`].
    light: [u16; 256],
    /// For each light from 0 to [`FULL`], the nearest byte, as seen by the eye: by encoded values.
    byte: Box<[u8]>,
}

impl Transfer {
    /// Made when first asked for, then kept: 33 KiB for the whole process.
    pub(crate) fn srgb() -> &'static Self {
        static SRGB: OnceLock<Transfer> = OnceLock::new();
        SRGB.get_or_init(|| {
            let light_of = |encoded: f64| if encoded <= 0.04045 { encoded / 12.92 } else { ((encoded + 0.055) / 1.055).powf(2.4) };
            let light = std::array::from_fn(|byte| (light_of(byte as f64 / 255.0) * f64::from(FULL)).round() as u16);
            let mut byte = vec![u8::MAX; FULL as usize + 1].into_boxed_slice();
            let mut from = 0;
            for level in 0..255_u8 {
                let end = (light_of((f64::from(level) + 0.5) / 255.0) * f64::from(FULL)).ceil() as usize;
                byte[from..end].fill(level);
                from = end;
            }
            Self { light, byte }
        })
    }
}

/// How rows of one job become half-way samples.
#[derive(Clone, Copy)]
pub(crate) struct Deep {
    pub(crate) channels: usize,
    alpha: bool,
    transfer: Option<&'static Transfer>,
}

impl Deep {
    pub(crate) fn new(pixel: Pixel, light: Light) -> Self {
        let transfer = (light == Light::Linear).then(Transfer::srgb);
        Self { channels: pixel.channels(), alpha: pixel == Pixel::Rgba8, transfer }
    }

    /// A source row to half-way samples, colours weighted with alpha.
    pub(crate) fn row(self, bytes: &[u8], out: &mut [i16]) {
        match (self.alpha, self.transfer, simd::detect()) {
            (true, None, Some(avx2)) => {
                let done = 4 * avx2.weigh_pixels(bytes, out);
                simd::run(ToWords { deep: self, bytes: &bytes[done..], out: &mut out[done..] });
            }
            _ => simd::run(ToWords { deep: self, bytes, out }),
        }
    }

    /// Result samples, one row of `plane` for each channel, to bytes. `opaque` as for `weave`.
    pub(crate) fn finish(self, planes: &[i16], plane: usize, opaque: bool, out: &mut [u8]) {
        simd::run(ToBytes { deep: self, planes, plane, opaque, out });
    }
}

/// `FULL / 255 / 255` with 16 fraction bits, rounded up: a product of two bytes times this is cut off to what it should be, or one less,
/// and where one of the two is 255, to exactly that.
pub(crate) const FULL_OF_PRODUCT: u16 = 32_897;

/// Opaque bytes as half-way samples.
#[inline]
pub(crate) fn widen(byte: u8) -> i16 {
    ((i32::from(byte) << FRACTION_BITS) + ZERO) as i16
}

/// Whether every pixel of a row of RGBA is opaque.
pub(crate) fn is_opaque(row: &[u8]) -> bool {
    simd::run(Opaque(row))
}

struct Opaque<'a>(&'a [u8]);

impl Work for Opaque<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let all =
            |pixels: &[u8]| pixels.as_chunks::<4>().0.iter().fold(u32::MAX, |all, pixel| all & u32::from_le_bytes(*pixel)) >> 24 == 255;
        let (blocks, rest) = self.0.as_chunks::<512>();
        blocks.iter().all(|block| all(block)) && all(rest)
    }
}

struct ToWords<'a> {
    deep: Deep,
    bytes: &'a [u8],
    out: &'a mut [i16],
}

impl Work for ToWords<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match (self.deep.alpha, self.deep.transfer) {
            (false, None) => {
                for (out, &byte) in self.out.iter_mut().zip(self.bytes) {
                    *out = widen(byte);
                }
            }
            (false, Some(transfer)) => {
                for (out, &byte) in self.out.iter_mut().zip(self.bytes) {
                    *out = (i32::from(transfer.light[usize::from(byte)]) + ZERO) as i16;
                }
            }
            (true, None) => {
                for (out, &[r, g, b, a]) in self.out.as_chunks_mut::<4>().0.iter_mut().zip(self.bytes.as_chunks::<4>().0) {
                    let product = |byte: u8| u32::from(byte) * u32::from(a) * u32::from(FULL_OF_PRODUCT);
                    let colour = |byte: u8| ((product(byte) >> 16) as i32 + ZERO) as i16;
                    *out = [colour(r), colour(g), colour(b), widen(a)];
                }
            }
            (true, Some(transfer)) => {
                for (out, &[r, g, b, a]) in self.out.as_chunks_mut::<4>().0.iter_mut().zip(self.bytes.as_chunks::<4>().0) {
                    // Rounded, and exact where alpha is 255.
                    let weighed = |light: u16| ((u32::from(light) * u32::from(a) + 127) / 255) as i32;
                    let colour = |byte: u8| (weighed(transfer.light[usize::from(byte)]) + ZERO) as i16;
                    *out = [colour(r), colour(g), colour(b), widen(a)];
                }
            }
        }
    }
}

struct ToBytes<'a> {
    deep: Deep,
    planes: &'a [i16],
    plane: usize,
    opaque: bool,
    out: &'a mut [u8],
}

impl Work for ToBytes<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let byte = |value: f32| match self.deep.transfer {
            Some(transfer) => transfer.byte[value.clamp(0.0, FULL as f32).round_ties_even() as usize],
            None => (value.clamp(0.0, FULL as f32) * (1.0 / (1 << FRACTION_BITS) as f32) + 0.5) as u8,
        };
        let channels = self.deep.channels;
        if self.deep.alpha && !self.opaque {
            let mut planes = self.planes.chunks_exact(self.plane);
            let mut next = || planes.next().unwrap_or_default();
            let samples = next().iter().zip(next()).zip(next()).zip(next());
            for (pixel, (((r, g), b), a)) in self.out.as_chunks_mut::<4>().0.iter_mut().zip(samples) {
                let alpha = byte_of(*a);
                // What cannot be seen has no colour.
                let share = if alpha == 0 { 0.0 } else { FULL as f32 / (i32::from(*a) - ZERO) as f32 };
                let colour = |sample: &i16| byte((i32::from(*sample) - ZERO) as f32 * share);
                *pixel = [colour(r), colour(g), colour(b), alpha];
            }
        } else {
            let coloured = if self.deep.alpha { 3 } else { channels };
            for (at, pixel) in self.out.chunks_exact_mut(channels).enumerate() {
                pixel.fill(u8::MAX);
                for (channel, out) in pixel[..coloured].iter_mut().enumerate() {
                    *out = byte((i32::from(self.planes[channel * self.plane + at]) - ZERO) as f32);
                }
            }
        }
    }
}
