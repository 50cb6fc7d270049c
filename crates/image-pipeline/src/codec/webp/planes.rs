//! Luma and chroma of a lossy picture, as JPEG has them.
//!
//! WebP's are of limited range (BT.601: luma from 16 to 235, chroma from 16 to 240), JFIF's of all of it; both have their chroma in the middle
//! of the four pixels it covers. Samples are rounded a second time, so these are for pictures that become smaller.

use super::super::{Opened, Rows, ToSrgb};
use crate::{
    pixels::{Layout, Pixels, SourcePlane},
    simd,
};

/// Rows of luma given out at a time: with their chroma they stay in a second-level cache.
const STRIP_ROWS: usize = 64;

/// A decoded picture whose samples get their range as they are given out.
pub(crate) struct Strips {
    pixels: Pixels,
    next_row: usize,
}

/// `pixels` are planes, chroma of half the sides, of limited range.
pub(super) fn opened(pixels: Pixels, to_srgb: Option<ToSrgb>) -> Opened<'static> {
    let plane = |index| {
        let (width_px, height_px) = Layout::Ycc420.plane_px(index, pixels.width_px, pixels.height_px);
        SourcePlane { width_px, height_px, share: if index > 0 { (0.5, 0.5) } else { (1.0, 1.0) } }
    };
    Opened {
        to_srgb,
        planes: (0..Layout::Ycc420.planes()).map(plane).collect(),
        strips: super::super::Strips::WebP(Strips { pixels, next_row: 0 }),
    }
}

impl Strips {
    /// The next rows of each plane; `false` at the end.
    pub(crate) fn next(&mut self, take: &mut dyn FnMut(usize, Rows<'_>)) -> bool {
        let first = self.next_row;
        if first >= self.pixels.height_px as usize {
            return false;
        }
        self.next_row += STRIP_ROWS;
        for index in 0..Layout::Ycc420.planes() {
            let shrink = 1 + usize::from(index > 0);
            let stride = (self.pixels.width_px as usize).div_ceil(shrink);
            let plane = self.pixels.plane_mut(index);
            let end = (self.next_row / shrink * stride).min(plane.len());
            let bytes = &mut plane[first / shrink * stride..end];
            simd::run(Widen { bytes, is_luma: index == 0 });
            take(index, Rows { bytes, stride, first_row: (first / shrink) as u32 });
        }
        true
    }
}

/// Samples of limited range to the same of all of it.
struct Widen<'w> {
    bytes: &'w mut [u8],
    is_luma: bool,
}

impl simd::Work for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Option<simd::Avx2>) {
        if self.is_luma {
            self.bytes.iter_mut().for_each(|byte| *byte = luma(*byte));
        } else {
            self.bytes.iter_mut().for_each(|byte| *byte = chroma(*byte));
        }
    }
}

/// `(v - 16) * 255 / 219`, rounded to the nearest and confined.
#[inline(always)]
fn luma(limited: u8) -> u8 {
    let above = u16::from(limited.saturating_sub(16));
    // 36 / 219 in 16 fraction bits; the product has 8.
    let more = (simd::part(above << 8, 10_773) + 128) >> 8;
    (above + more).min(255) as u8
}

/// `(v - 128) * 255 / 224 + 128`, the same way.
#[inline(always)]
fn chroma(limited: u8) -> u8 {
    let value = u16::from(limited);
    // 31 / 224 in 16 fraction bits; all in 7, less 128 * 31 / 224, and half for the nearest.
    let widened = (value << 7) + (simd::part(value << 8, 9_070) >> 1);
    (widened.saturating_sub(2267 - 64) >> 7).min(255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_widened_to_the_nearest() {
        for limited in 0..=u8::MAX {
            let value = f64::from(limited);
            assert_eq!(luma(limited), ((value - 16.0) * 255.0 / 219.0).round().clamp(0.0, 255.0) as u8, "luma {limited}");
            assert_eq!(chroma(limited), ((value - 128.0) * 255.0 / 224.0 + 128.0).round().clamp(0.0, 255.0) as u8, "chroma {limited}");
        }
        assert_eq!([16, 126, 235].map(luma), [0, 128, 255]);
        assert_eq!([16, 128, 240].map(chroma), [1, 128, 255]);
    }
}
