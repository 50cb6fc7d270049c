//! ICC profiles to sRGB. Knows nothing of the files they come from; a broken, grey or CMYK profile is no profile.

use crate::pixels::{Layout, Pixels};
use moxcms::{ColorProfile, DataColorSpace, Layout as CmsLayout, Transform8BitExecutor, TransformOptions};
use std::sync::Arc;

/// Larger profiles are not read: real ones have some kilobytes, those with tables up to two megabytes.
const MAX_PROFILE_BYTES: usize = 4 << 20;

/// A conversion of 8-bit RGB to sRGB that changes something.
pub(crate) struct ToSrgb {
    rgb: Arc<Transform8BitExecutor>,
    rgba: Arc<Transform8BitExecutor>,
}

impl ToSrgb {
    /// Reads a profile; `None` if it cannot be used or is sRGB to within one step of 255.
    pub(crate) fn from_profile(profile: &[u8]) -> Option<Self> {
        if profile.len() > MAX_PROFILE_BYTES {
            return None;
        }
        let source = ColorProfile::new_from_slice(profile).ok()?;
        if source.color_space != DataColorSpace::Rgb {
            return None;
        }
        let srgb = ColorProfile::new_srgb();
        let transform = |layout| source.create_transform_8bit(layout, &srgb, layout, TransformOptions::default()).ok();
        let conversion = Self { rgb: transform(CmsLayout::Rgb)?, rgba: transform(CmsLayout::Rgba)? };
        conversion.changes_something().then_some(conversion)
    }

    /// Tries a grid of 9 steps a channel.
    fn changes_something(&self) -> bool {
        const STEPS: u32 = 9;
        let level = |step: u32| (step * 255 / (STEPS - 1)) as u8;
        let grid: Vec<u8> =
            (0..STEPS.pow(3)).flat_map(|at| [level(at % STEPS), level(at / STEPS % STEPS), level(at / STEPS / STEPS)]).collect();
        let mut converted = vec![0; grid.len()];
        self.rgb.transform(&grid, &mut converted).is_ok() && grid.iter().zip(&converted).any(|(a, b)| a.abs_diff(*b) > 1)
    }

    /// Converts in place, row by row, alpha kept. What the library refuses stays as it is.
    pub(crate) fn apply(&self, pixels: &mut Pixels) {
        let transform = match pixels.layout {
            Layout::Rgb8 => &self.rgb,
            Layout::Rgba8 => &self.rgba,
        };
        let stride = pixels.stride();
        let mut row = vec![0; stride];
        for target in pixels.bytes.chunks_exact_mut(stride) {
            row.copy_from_slice(target);
            if transform.transform(&row, target).is_err() {
                target.copy_from_slice(&row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srgb_needs_no_conversion_and_display_p3_does() {
        let srgb = ColorProfile::new_srgb().encode().unwrap();
        assert!(ToSrgb::from_profile(&srgb).is_none());
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        let conversion = ToSrgb::from_profile(&p3).unwrap();
        let mut pixels = Pixels::new(2, 1, Layout::Rgba8, vec![200, 100, 50, 7, 128, 128, 128, 255]).unwrap();
        conversion.apply(&mut pixels);
        // A P3 orange lies further out in sRGB: more red, less blue; grey and alpha stay.
        assert!(pixels.bytes[0] > 204 && pixels.bytes[2] < 46, "{:?}", pixels.bytes);
        assert_eq!(pixels.bytes[3..], [7, 128, 128, 128, 255]);
    }

    #[test]
    fn broken_grey_and_huge_profiles_are_no_profiles() {
        assert!(ToSrgb::from_profile(b"").is_none());
        assert!(ToSrgb::from_profile(&[0x5a; 300]).is_none());
        let grey = ColorProfile::new_gray_with_gamma(2.2).encode().unwrap();
        assert!(ToSrgb::from_profile(&grey).is_none());
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        for end in 0..p3.len() {
            let _ = ToSrgb::from_profile(&p3[..end]);
        }
        assert!(ToSrgb::from_profile(&vec![0; MAX_PROFILE_BYTES + 1]).is_none());
    }
}
