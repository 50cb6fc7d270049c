//! Four inks to sRGB: by the picture's profile, or by a stated formula where it has none that can be used. Knows nothing of files.
//!
//! The formula is Neugebauer's: paper printed with shares `c`, `m`, `y`, `k` of four inks shows sixteen colours, each on the share of the
//! paper that just those inks cover, as if they fell at random (Demichel). Shares grow as inks spread on paper: by the powers below. The sixteen
//! colours are summed as sRGB values, not as light, which stands for the light that spreads within paper (Yule and Nielsen). Colours and powers were fitted
//! by least squares to press conditions CGATS TR 001 (SWOP coated), as the public-domain profile CGATS001Compat-v2-micro has them, over 6561 inks; paper and black are
//! that profile's own. Mean dE2000 to that profile 2.1, where `(255 - c) * (255 - k) / 255` has 8.4 (record 0037).

use super::icc::{MAX_PROFILE_BYTES, options};
use moxcms::{ColorProfile, DataColorSpace, Layout as CmsLayout, Transform8BitExecutor};
use std::sync::Arc;

/// Colours of paper under the inks whose bits are set: cyan 1, magenta 2, yellow 4, black 8.
const PRIMARIES: [[f32; 3]; 16] = [
    [255.0, 255.0, 255.0],
    [-47.0, 162.0, 222.0],
    [227.0, 25.0, 134.0],
    [50.0, 49.0, 143.0],
    [252.0, 226.0, 33.0],
    [-14.0, 161.0, 85.0],
    [231.0, 43.0, 38.0],
    [56.0, 52.0, 51.0],
    [35.0, 31.0, 32.0],
    [-13.0, 16.0, 37.0],
    [26.0, -13.0, 6.0],
    [-8.0, -12.0, 9.0],
    [19.0, 27.0, -9.0],
    [-10.0, 16.0, -4.0],
    [27.0, -10.0, -11.0],
    [-10.0, -8.0, -8.0],
];

/// What the share of cyan, magenta, yellow and black is raised to.
const SPREAD: [f32; 4] = [1.13, 1.09, 1.05, 1.16];

/// Bytes that reading a profile of so many bytes takes, and what comes of it: an upper bound, from measured peaks and a margin. The grid has 17
/// steps an ink.
pub(crate) fn reading_bytes(profile_bytes: u64) -> u64 {
    const GRID: u64 = 11 << 18;
    const FORMULA: u64 = 8 << 10;
    FORMULA + if profile_bytes == 0 || profile_bytes > MAX_PROFILE_BYTES as u64 { profile_bytes } else { GRID + 3 * profile_bytes }
}

/// What makes inks colours.
pub(crate) enum Inks {
    Profile(Arc<Transform8BitExecutor>),
    Formula(Box<Formula>),
}

/// Shares of paper covered by each value of each ink.
pub(crate) struct Formula([[f32; 256]; 4]);

impl Inks {
    /// By this profile, unless it is broken, too large or not one of inks.
    pub(crate) fn new(profile: Option<&[u8]>) -> Self {
        let usable = profile.filter(|profile| profile.len() <= MAX_PROFILE_BYTES);
        usable.and_then(transform).map_or_else(|| Self::Formula(Box::new(Formula::new())), Self::Profile)
    }

    /// Pixels of cyan, magenta, yellow and black, 0 none to 255 all, to as many of red, green and blue.
    pub(crate) fn to_srgb(&self, inks: &[u8], rgb: &mut [u8]) {
        match self {
            Self::Profile(transform) => {
                // As many pixels on both sides: what else could be refused was refused when it was made.
                if transform.transform(inks, rgb).is_err() {
                    rgb.fill(0);
                }
            }
            Self::Formula(formula) => {
                for (rgb, inks) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(inks.as_chunks::<4>().0) {
                    *rgb = formula.colour(*inks);
                }
            }
        }
    }
}

fn transform(profile: &[u8]) -> Option<Arc<Transform8BitExecutor>> {
    let profile = ColorProfile::new_from_slice(profile).ok().filter(|profile| profile.color_space == DataColorSpace::Cmyk)?;
    profile.create_transform_8bit(CmsLayout::Rgba, &ColorProfile::new_srgb(), CmsLayout::Rgb, options(&profile)).ok()
}

impl Formula {
    fn new() -> Self {
        Self(SPREAD.map(|power| std::array::from_fn(|ink| (ink as f32 / 255.0).powf(power))))
    }

    fn colour(&self, inks: [u8; 4]) -> [u8; 3] {
        let share = |ink: usize| self.0[ink][usize::from(inks[ink])];
        let mut colours = PRIMARIES;
        // The ink of the highest bit first: each halves what is left.
        let mut count = 16;
        for ink in (0..4).rev() {
            count /= 2;
            let covered = share(ink);
            let (bare, printed) = colours.split_at_mut(count);
            for (bare, printed) in bare.iter_mut().zip(printed) {
                for (bare, printed) in bare.iter_mut().zip(printed) {
                    *bare += (*printed - *bare) * covered;
                }
            }
        }
        // A cast of a float to u8 saturates.
        colours[0].map(|value| (value + 0.5) as u8)
    }
}

#[cfg(test)]
pub(crate) mod made;

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(inks: &Inks, of: [u8; 4]) -> [u8; 3] {
        let mut rgb = [0; 3];
        inks.to_srgb(&of, &mut rgb);
        rgb
    }

    #[test]
    fn without_a_profile_the_formula_is_that_of_a_press() {
        let inks = Inks::new(None);
        assert!(matches!(inks, Inks::Formula(_)));
        assert_eq!(colour(&inks, [0; 4]), [255; 3]);
        assert_eq!(colour(&inks, [0, 0, 0, 255]), [35, 31, 32]);
        assert_eq!(colour(&inks, [255; 4]), [0; 3]);
        // SWOP's solids as Adobe's programs show them, and half of black.
        for (of, wanted) in [
            ([255, 0, 0, 0], [0, 174, 239]),
            ([0, 255, 0, 0], [236, 0, 140]),
            ([0, 0, 255, 0], [255, 242, 0]),
            ([0, 0, 0, 128], [147, 149, 152]),
        ] {
            let got = colour(&inks, of);
            assert!(got.iter().zip(wanted).all(|(got, wanted)| got.abs_diff(wanted) <= 33), "{of:?}: {got:?}");
        }
        // More ink is never lighter.
        for ink in 0..4 {
            let ramp = (0..=255).map(|value| {
                let mut of = [0; 4];
                of[ink] = value;
                colour(&inks, of).map(u32::from).iter().sum::<u32>()
            });
            assert!(ramp.collect::<Vec<_>>().is_sorted_by(|one, other| one >= other), "ink {ink}");
        }
    }

    #[test]
    fn profiles_of_inks_are_used_and_others_are_not() {
        let inks = Inks::new(Some(&made::profile_of_inks(2).encode().unwrap()));
        assert!(matches!(inks, Inks::Profile(_)));
        let [paper, grey, black, yellow] = [[0; 4], [255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 255, 0]].map(|of| colour(&inks, of));
        assert!(paper.iter().all(|&value| value >= 253), "{paper:?}");
        // L* 70 is 171, L* 10 is 27.
        assert!(grey.iter().all(|&value| value.abs_diff(171) <= 3), "{grey:?}");
        assert!(black.iter().all(|&value| value.abs_diff(27) <= 4), "{black:?}");
        assert!(yellow[2] < 60 && yellow[0] > 150, "{yellow:?}");
        for other in [ColorProfile::new_srgb().encode().unwrap(), b"nothing".to_vec(), vec![0; MAX_PROFILE_BYTES + 1]] {
            assert!(matches!(Inks::new(Some(&other)), Inks::Formula(_)));
        }
    }
}
