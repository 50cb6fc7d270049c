//! Colour spaces that a header describes by numbers instead of a profile: PNG's gAMA and cHRM, and the code points of ITU-T H.273 in its cICP
//! and in AVIF's and JPEG XL's headers. Knows nothing of files; what cannot be meant is not described.

use super::icc::{Said, of_profile};
use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, MatrixCoefficients, ToneReprCurve,
    TransferCharacteristics, WHITE_POINT_D65,
};

/// What is between two gammas that look alike: libpng's PNG_GAMMA_THRESHOLD. Many programs write sRGB pictures with gAMA 45455 alone.
const ALIKE: f64 = 0.05;
/// Of sRGB, as PNG (third edition, 11.3.2.5) has it.
const SRGB_GAMMA: f64 = 0.45455;
/// Chromaticities of white, red, green and blue: BT.709's, in hundred-thousandths.
const SRGB_CHROMATICITIES: [u32; 8] = [31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000];

/// What a PNG says of its colours beside a profile, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Described {
    /// Primaries and transfer of H.273.
    pub(crate) code_points: Option<(u8, u8)>,
    /// sRGB, whatever else is said.
    pub(crate) is_srgb: bool,
    /// The power values were raised to when they were stored, times 100000.
    pub(crate) gamma: Option<u32>,
    /// x and y of white, red, green, blue, times 100000.
    pub(crate) chromaticities: Option<[u32; 8]>,
}

impl Described {
    /// What comes before a profile.
    pub(crate) fn by_code_points(&self, is_grey: bool) -> Said {
        self.code_points.map_or(Said::Nothing, |(primaries, transfer)| code_points(primaries, transfer, is_grey))
    }

    /// What counts where there is no profile, or none that can be used.
    pub(crate) fn otherwise(&self, is_grey: bool) -> Said {
        match self {
            Self { is_srgb: true, .. } => Said::Srgb,
            Self { gamma: None, chromaticities: None, .. } => Said::Nothing,
            _ => self.profile(is_grey).map_or(Said::Nothing, |profile| of_profile(&profile, is_grey)),
        }
    }

    /// What counts of red, green and blue, as a profile to be written.
    pub(crate) fn by_numbers(&self) -> Option<ColorProfile> {
        match self {
            Self { code_points: Some((primaries, transfer)), .. } => code_points_profile(*primaries, *transfer, false),
            Self { is_srgb: true, .. } | Self { gamma: None, chromaticities: None, .. } => None,
            _ => self.profile(false),
        }
    }

    /// gAMA and cHRM as a profile; what is left out is as in sRGB.
    fn profile(&self, is_grey: bool) -> Option<ColorProfile> {
        let curve = match self.gamma {
            Some(gamma) => power(f64::from(gamma) / 100_000.0)?,
            None => srgb_curve(),
        };
        if is_grey {
            return Some(grey(curve));
        }
        let profile = with_curve(ColorProfile::new_srgb(), curve);
        match self.chromaticities.filter(|stored| !are_srgb(stored)) {
            Some(stored) => with_chromaticities(profile, stored),
            None => Some(profile),
        }
    }
}

/// The curve from stored values to light for a power they were stored with.
fn power(gamma: f64) -> Option<ToneReprCurve> {
    if (gamma / SRGB_GAMMA - 1.0).abs() < ALIKE {
        return Some(srgb_curve());
    }
    (0.1..=10.0).contains(&gamma).then(|| ToneReprCurve::Parametric(vec![(1.0 / gamma) as f32]))
}

fn grey(curve: ToneReprCurve) -> ColorProfile {
    let mut profile = ColorProfile::new_gray_with_gamma(1.0);
    profile.gray_trc = Some(curve);
    profile
}

/// The same with this curve for all colours, whatever it was made of.
fn with_curve(mut profile: ColorProfile, curve: ToneReprCurve) -> ColorProfile {
    (profile.red_trc, profile.green_trc, profile.blue_trc) = (Some(curve.clone()), Some(curve.clone()), Some(curve));
    profile.cicp = None;
    profile
}

/// IEC 61966-2-1 as ICC.1's parametric curve 3.
fn srgb_curve() -> ToneReprCurve {
    ToneReprCurve::Parametric(vec![2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045])
}

/// To within what programs round by.
fn are_srgb(stored: &[u32; 8]) -> bool {
    stored.iter().zip(SRGB_CHROMATICITIES).all(|(&stored, srgb)| stored.abs_diff(srgb) <= 100)
}

/// The same with other primaries; `None` where they span no colours.
fn with_chromaticities(mut profile: ColorProfile, stored: [u32; 8]) -> Option<ColorProfile> {
    let [white, red, green, blue] = [0, 2, 4, 6].map(|at| [stored[at], stored[at + 1]].map(|value| f64::from(value) / 100_000.0));
    let area = (red[0] - blue[0]) * (green[1] - blue[1]) - (green[0] - blue[0]) * (red[1] - blue[1]);
    let is_real = |[x, y]: [f64; 2]| y > 0.001 && x >= 0.0 && x + y <= 1.0;
    if area.abs() < 0.001 || !is_real(white) || ![red, green, blue].into_iter().all(|[x, y]| y > 0.0 && x + y <= 1.1) {
        return None;
    }
    let chromaticity = |[x, y]: [f64; 2]| Chromaticity::new(x as f32, y as f32);
    let primaries = ColorPrimaries { red: chromaticity(red), green: chromaticity(green), blue: chromaticity(blue) };
    profile.update_rgb_colorimetry(chromaticity(white).to_xyyb(), primaries);
    let finite = [profile.red_colorant, profile.green_colorant, profile.blue_colorant]
        .iter()
        .all(|xyz| xyz.x.is_finite() && xyz.y.is_finite() && xyz.z.is_finite());
    finite.then_some(profile)
}

/// What primaries and a transfer of H.273 (tables 2 and 3) say. Of no grey is more than the transfer looked at.
pub(crate) fn code_points(primaries: u8, transfer: u8, is_grey: bool) -> Said {
    code_points_profile(primaries, transfer, is_grey).map_or(Said::Nothing, |profile| of_profile(&profile, is_grey))
}

/// The same as a profile; `None` for what is reserved, unspecified or no light of a display.
fn code_points_profile(primaries: u8, transfer: u8, is_grey: bool) -> Option<ColorProfile> {
    let curve = match transfer {
        // Pictures with the transfers of cameras (BT.709, 601, 2020) are shown as sRGB is, as Chrome does; 2 says nothing.
        1 | 2 | 6 | 13 | 14 | 15 => srgb_curve(),
        4 => ToneReprCurve::Parametric(vec![2.2]),
        5 => ToneReprCurve::Parametric(vec![2.8]),
        8 => ToneReprCurve::Parametric(vec![1.0]),
        _ => return None,
    };
    if is_grey {
        return Some(grey(curve));
    }
    let primaries = match primaries {
        2 => CicpColorPrimaries::Bt709,
        other => CicpColorPrimaries::try_from(other).ok()?,
    };
    let srgb = CicpProfile {
        color_primaries: primaries,
        transfer_characteristics: TransferCharacteristics::Srgb,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    };
    ColorPrimaries::try_from(primaries).ok()?;
    let mut profile = ColorProfile::new_from_cicp(srgb);
    profile.media_white_point = Some(WHITE_POINT_D65.to_xyzd());
    Some(with_curve(profile, curve))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::{Layout, Pixels};

    fn shown(said: Said, rgb: [u8; 3]) -> [u8; 3] {
        let mut pixels = Pixels::new(1, 1, Layout::Rgb8, rgb.to_vec()).unwrap();
        said.conversion().unwrap().apply(&mut pixels, crate::watch::Watch::NEVER).unwrap();
        [pixels.bytes[0], pixels.bytes[1], pixels.bytes[2]]
    }

    #[test]
    fn gamma_is_undone() {
        for is_grey in [false, true] {
            let said = |gamma| Described { gamma: Some(gamma), ..Described::default() }.otherwise(is_grey);
            // Stored as light: IEC 61966-2-1 of 55 / 255 is 128.
            assert_eq!(shown(said(100_000), [55, 55, 55]), [128; 3]);
            // (128 / 255) ^ 1.6 as sRGB.
            assert!(shown(said(62_500), [128; 3])[0].abs_diff(156) <= 1);
            for same in [45_455, 45_000, 44_000, 47_000] {
                assert!(matches!(said(same), Said::Srgb), "{same}");
            }
            for nonsense in [0, 1, 5_000_000, u32::MAX] {
                assert!(matches!(said(nonsense), Said::Nothing), "{nonsense}");
            }
        }
    }

    #[test]
    fn chromaticities_move_colours_and_not_grey() {
        let said = |chromaticities| {
            Described { gamma: Some(45_455), chromaticities: Some(chromaticities), ..Described::default() }.otherwise(false)
        };
        assert!(matches!(said(SRGB_CHROMATICITIES), Said::Srgb));
        // Red and green exchanged.
        let swapped = [31270, 32900, 30000, 60000, 64000, 33000, 15000, 6000];
        assert_eq!(shown(said(swapped), [200, 0, 0]), [0, 200, 0]);
        assert_eq!(shown(said(swapped), [128; 3]), [128; 3]);
        for flat in [[0; 8], [31270, 0, 1, 1, 1, 1, 1, 1], [31270, 32900, 30000, 30000, 30000, 30000, 30000, 30000], [u32::MAX; 8]] {
            assert!(matches!(said(flat), Said::Nothing), "{flat:?}");
        }
    }

    #[test]
    fn code_points_come_first_and_srgb_ends_the_search() {
        let all = Described { code_points: Some((12, 13)), is_srgb: true, gamma: Some(100_000), chromaticities: None };
        let p3 = shown(all.by_code_points(false), [200, 100, 50]);
        assert!(p3[0].abs_diff(215) <= 1 && p3[1].abs_diff(93) <= 1 && p3[2].abs_diff(31) <= 1, "{p3:?}");
        assert!(matches!(all.otherwise(false), Said::Srgb));
        for srgb in [(1, 13), (1, 1), (2, 2), (1, 6)] {
            assert!(matches!(code_points(srgb.0, srgb.1, false), Said::Srgb), "{srgb:?}");
        }
        for nothing in [(0, 13), (3, 13), (255, 13), (1, 0), (1, 255)] {
            assert!(matches!(code_points(nothing.0, nothing.1, false), Said::Nothing), "{nothing:?}");
        }
        assert_eq!(shown(code_points(1, 8, true), [55; 3]), [128; 3]);
    }
}
