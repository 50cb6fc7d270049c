//! Colours to sRGB: what an ICC profile, or the numbers of a header ([`described`](super::described)), say of stored values becomes one
//! conversion. Knows nothing of the files they come from.
//!
//! The intent is perceptual, as sharp has it, or the one a profile has tables for. A profile that is broken, too large, or of another kind
//! of picture is no profile: values are taken for sRGB, as browsers do (record 0037).

use crate::{
    error::Error,
    pixels::{Layout, Pixels},
    watch::{Watch, band_rows},
};
use moxcms::{ColorProfile, DataColorSpace, Layout as CmsLayout, RenderingIntent, ToneReprCurve, Transform8BitExecutor, TransformOptions};
use std::sync::{Arc, Mutex, PoisonError};

/// In errors.
const STAGE: &str = "profile";

/// Larger profiles are not read: real ones have some kilobytes, those with tables up to two megabytes.
pub(crate) const MAX_PROFILE_BYTES: usize = 4 << 20;

/// A conversion to sRGB that changes something.
#[derive(Clone)]
pub(crate) struct ToSrgb(Arc<Conversion>);

enum Conversion {
    /// Each value on its own: grey, or colours that are grey.
    Values(Box<[u8; 256]>),
    /// Red, green and blue together.
    Colours { rgb: Arc<Transform8BitExecutor>, rgba: Arc<Transform8BitExecutor> },
}

/// What a profile says.
#[derive(Clone)]
pub(crate) enum Said {
    /// Nothing that could be used.
    Nothing,
    /// That values are sRGB, to within one step of 255.
    Srgb,
    /// That they are something else.
    Other(ToSrgb),
}

impl Said {
    /// This, or else what others say.
    pub(crate) fn or(self, others: impl FnOnce() -> Self) -> Self {
        if matches!(self, Self::Nothing) { others() } else { self }
    }

    /// The conversion, where there is something to convert.
    pub(crate) fn conversion(self) -> Option<ToSrgb> {
        match self {
            Self::Other(to_srgb) => Some(to_srgb),
            Self::Nothing | Self::Srgb => None,
        }
    }
}

/// A profile, whether it was asked as one of grey, and what came of it.
type Known = (Vec<u8>, bool, Said);

/// Profiles read last: to make a conversion takes milliseconds, and photos of a kind carry the same profile. Small ones only, so that all of
/// it is some hundred kilobytes.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());
const MOST_KNOWN: usize = 8;
/// In so few bytes no table for colours has room that deserves the name; where there is one, the matrix counts. So these take little memory.
pub(super) const SMALL_BYTES: usize = 16 << 10;

/// Bytes that reading a profile of so many bytes takes, and what comes of it: an upper bound, from measured peaks and a margin. Tables are
/// unpacked, and resampled to a grid of 33 steps a colour.
pub(crate) fn reading_bytes(profile_bytes: u64) -> u64 {
    const FEW: u64 = 512 << 10;
    const GRID: u64 = 2 << 20;
    match profile_bytes {
        0 => 0,
        small if small <= SMALL_BYTES as u64 => FEW,
        large if large <= MAX_PROFILE_BYTES as u64 => GRID + 3 * large,
        large => large,
    }
}

/// Reads the profile of a picture of grey, or of red, green and blue.
pub(crate) fn read(profile: &[u8], is_grey: bool) -> Said {
    if profile.len() > SMALL_BYTES {
        return read_unknown(profile, is_grey);
    }
    // Nothing panics while it is held, and a half-made list would be a list all the same.
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, _, said)) = known().iter().find(|(other, grey, _)| other == profile && *grey == is_grey) {
        return said.clone();
    }
    let said = read_unknown(profile, is_grey);
    let mut known = known();
    if known.len() == MOST_KNOWN {
        known.remove(0);
    }
    known.push((profile.to_vec(), is_grey, said.clone()));
    said
}

fn read_unknown(profile: &[u8], is_grey: bool) -> Said {
    if profile.len() > MAX_PROFILE_BYTES {
        return Said::Nothing;
    }
    let Ok(mut read) = ColorProfile::new_from_slice(profile) else { return Said::Nothing };
    if profile.len() <= SMALL_BYTES {
        (read.lut_a_to_b_perceptual, read.lut_a_to_b_colorimetric, read.lut_a_to_b_saturation) = (None, None, None);
    }
    of_profile(&read, is_grey)
}

/// The same of a profile that was read.
pub(super) fn of_profile(profile: &ColorProfile, is_grey: bool) -> Said {
    let conversion = match (profile.color_space, is_grey) {
        (DataColorSpace::Gray, true) => values(profile).map(Box::new).map(Conversion::Values),
        (DataColorSpace::Rgb, false) => colours(profile),
        _ => None,
    };
    match conversion {
        None => Said::Nothing,
        Some(conversion) if conversion.changes_something() => Said::Other(ToSrgb(Arc::new(conversion))),
        Some(_) => Said::Srgb,
    }
}

/// Perceptual, unless the profile has tables for another intent only.
pub(super) fn options(profile: &ColorProfile) -> TransformOptions {
    let rendering_intent = match profile {
        ColorProfile { lut_a_to_b_perceptual: Some(_), .. } => RenderingIntent::Perceptual,
        ColorProfile { lut_a_to_b_colorimetric: Some(_), .. } => RenderingIntent::RelativeColorimetric,
        ColorProfile { lut_a_to_b_saturation: Some(_), .. } => RenderingIntent::Saturation,
        _ => RenderingIntent::Perceptual,
    };
    TransformOptions { rendering_intent, ..TransformOptions::default() }
}

fn colours(profile: &ColorProfile) -> Option<Conversion> {
    let (srgb, options) = (ColorProfile::new_srgb(), options(profile));
    let transform = |layout| profile.create_transform_8bit(layout, &srgb, layout, options).ok();
    Some(Conversion::Colours { rgb: transform(CmsLayout::Rgb)?, rgba: transform(CmsLayout::Rgba)? })
}

/// ICC.1:2022, F.2: the curve gives the share of white. Lab profiles give it as lightness.
fn values(profile: &ColorProfile) -> Option<[u8; 256]> {
    let curve = profile.gray_trc.as_ref().filter(|curve| is_usable(curve))?.make_linear_evaluator().ok()?;
    let light = |value: f32| match profile.pcs {
        DataColorSpace::Lab => of_lightness(value.clamp(0.0, 1.0)),
        _ => value,
    };
    Some(std::array::from_fn(|value| (encoded(light(curve.evaluate_value(value as f32 / 255.0))) * 255.0).round() as u8))
}

/// A parametric curve without parameters is none.
fn is_usable(curve: &ToneReprCurve) -> bool {
    !matches!(curve, ToneReprCurve::Parametric(parameters) if parameters.is_empty())
}

/// Light of lightness, both 0 to 1: CIE 15, 8.2.1.
fn of_lightness(lightness: f32) -> f32 {
    let f = (lightness * 100.0 + 16.0) / 116.0;
    if f > 6.0 / 29.0 { f.powi(3) } else { 3.0 * (6.0_f32 / 29.0).powi(2) * (f - 4.0 / 29.0) }
}

/// sRGB's value, 0 to 1, of light: IEC 61966-2-1. What is no number is black.
fn encoded(light: f32) -> f32 {
    let light = if light.is_nan() { 0.0 } else { light.clamp(0.0, 1.0) };
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

impl Conversion {
    /// Tries a grid of 9 steps a channel, or all values.
    fn changes_something(&self) -> bool {
        const STEPS: u32 = 9;
        match self {
            Self::Values(table) => table.iter().enumerate().any(|(value, to)| (value as u8).abs_diff(*to) > 1),
            Self::Colours { rgb, .. } => {
                let level = |step: u32| (step * 255 / (STEPS - 1)) as u8;
                let grid: Vec<u8> =
                    (0..STEPS.pow(3)).flat_map(|at| [level(at % STEPS), level(at / STEPS % STEPS), level(at / STEPS / STEPS)]).collect();
                let mut converted = vec![0; grid.len()];
                rgb.transform(&grid, &mut converted).is_ok() && grid.iter().zip(&converted).any(|(a, b)| a.abs_diff(*b) > 1)
            }
        }
    }
}

impl ToSrgb {
    /// Reads the profile of a picture of red, green and blue; `None` if it cannot be used or is sRGB to within one step of 255.
    pub(crate) fn from_profile(profile: &[u8]) -> Option<Self> {
        read(profile, false).conversion()
    }

    /// Converts in place, row by row, alpha kept. What the library refuses stays as it is.
    ///
    /// # Errors
    /// As [`Watch::check`].
    pub(crate) fn apply(&self, pixels: &mut Pixels, watch: Watch<'_>) -> Result<(), Error> {
        let stride = pixels.stride();
        match &*self.0 {
            Conversion::Values(table) => {
                let (channels, coloured) = (pixels.layout.channels(), pixels.layout.channels().min(3));
                watch.bands(STAGE, &mut pixels.bytes, |band| {
                    for pixel in band.chunks_exact_mut(channels) {
                        pixel[..coloured].iter_mut().for_each(|value| *value = table[usize::from(*value)]);
                    }
                })?;
            }
            Conversion::Colours { rgb, rgba } => {
                // Planes are made red, green and blue before.
                let transform = if pixels.layout == Layout::Rgba8 { rgba } else { rgb };
                let mut row = vec![0; stride];
                for (at, target) in pixels.bytes.chunks_exact_mut(stride).enumerate() {
                    if at.is_multiple_of(band_rows(4 * stride)) {
                        watch.check(STAGE)?;
                    }
                    row.copy_from_slice(target);
                    if transform.transform(&row, target).is_err() {
                        target.copy_from_slice(&row);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(said: Said, layout: Layout, bytes: &[u8]) -> Vec<u8> {
        let pixels = bytes.len() / layout.channels();
        let mut pixels = Pixels::new(pixels as u32, 1, layout, bytes.to_vec()).unwrap();
        said.conversion().unwrap().apply(&mut pixels, Watch::NEVER).unwrap();
        pixels.bytes
    }

    #[test]
    fn srgb_needs_no_conversion_and_display_p3_does() {
        let srgb = ColorProfile::new_srgb().encode().unwrap();
        assert!(matches!(read(&srgb, false), Said::Srgb));
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        // By the matrices of CSS Color 4 in doubles; green lies outside and is cut off.
        for (p3_rgb, wanted) in [([200, 100, 50], [215, 93, 31]), ([64, 160, 96], [0, 163, 89]), ([90, 90, 160], [90, 90, 165])] {
            let got = converted(read(&p3, false), Layout::Rgb8, &p3_rgb);
            assert!(got.iter().zip(wanted).all(|(got, wanted)| got.abs_diff(wanted) <= 1), "{p3_rgb:?}: {got:?}, wanted {wanted:?}");
        }
        let got = converted(read(&p3, false), Layout::Rgba8, &[200, 100, 50, 7, 128, 128, 128, 255]);
        assert_eq!(got[3..], [7, 128, 128, 128, 255]);
    }

    #[test]
    fn grey_profiles_are_curves() {
        let linear = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        let got = converted(read(&linear, true), Layout::Grey8, &[0, 55, 128, 255]);
        // IEC 61966-2-1 of 55 / 255 and 128 / 255.
        assert_eq!(got, [0, 128, 188, 255]);
        let got = converted(read(&linear, true), Layout::Rgba8, &[55, 55, 55, 9]);
        assert_eq!(got, [128, 128, 128, 9]);
        let mut lightness = ColorProfile::new_gray_with_gamma(1.0);
        lightness.pcs = DataColorSpace::Lab;
        let got = converted(of_profile(&lightness, true), Layout::Grey8, &[128]);
        // L* of 50.2 is a light of 0.1858.
        assert!(got[0].abs_diff(120) <= 1, "{got:?}");
    }

    #[test]
    fn broken_huge_and_foreign_profiles_are_no_profiles() {
        assert!(matches!(read(b"", false), Said::Nothing));
        assert!(matches!(read(&[0x5a; 300], false), Said::Nothing));
        let grey = ColorProfile::new_gray_with_gamma(1.5).encode().unwrap();
        assert!(matches!(read(&grey, false), Said::Nothing));
        assert!(matches!(read(&grey, true), Said::Other(_)));
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        assert!(matches!(read(&p3, true), Said::Nothing));
        assert!(matches!(read(&vec![0; MAX_PROFILE_BYTES + 1], false), Said::Nothing));
    }

    #[test]
    fn no_change_of_a_byte_makes_a_profile_panic() {
        let mut cms = Vec::new();
        for profile in
            [ColorProfile::new_display_p3(), ColorProfile::new_gray_with_gamma(2.2), super::super::inks::made::profile_of_inks(2)]
        {
            cms.push(profile.encode().unwrap());
        }
        let mut read_well = 0;
        for whole in &cms {
            let step = (whole.len() / 150).max(1);
            for at in (0..whole.len()).step_by(step) {
                for value in [0, 0x7f, 0xff] {
                    let mut broken = whole.clone();
                    broken[at] = value;
                    for is_grey in [false, true] {
                        read_well += u32::from(!matches!(read_unknown(&broken, is_grey), Said::Nothing));
                    }
                    let _ = super::super::inks::Inks::new(Some(&broken));
                }
            }
            for end in (0..whole.len()).step_by(step) {
                let _ = read_unknown(&whole[..end], false);
            }
        }
        assert!(read_well > 100, "{read_well}");
    }
}
