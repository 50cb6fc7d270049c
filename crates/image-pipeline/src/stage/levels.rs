//! Lightness stretched to the whole range. What a picture's range is, is one thing, and stretching another: frames of an animation are stretched
//! alike.
//!
//! Luma (Rec. 709 on encoded values) below which a hundredth of the picture lies becomes 0, that above which a hundredth lies 255, what is
//! between follows in proportion; each channel moves as far as its pixel's luma, so that differences between channels stay. sharp does
//! the same to L* of CIE L*a*b*.

use super::ramp::luma;
use crate::{
    error::Error,
    pixels::{Layout, Pixels},
    simd,
    watch::{BAND_BYTES, Watch},
};

/// The luma that become 0 and 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) low: u8,
    pub(crate) high: u8,
}

impl Levels {
    /// Those of a picture; what is transparent counts by its alpha.
    ///
    /// # Errors
    /// As [`Watch::check`].
    pub(crate) fn of(pixels: &Pixels, watch: Watch<'_>) -> Result<Self, Error> {
        let mut counts = [0_u64; 256];
        // Of planes the first is luma.
        let bytes = pixels.width_px as usize * pixels.height_px as usize * pixels.layout.channels();
        for band in pixels.bytes[..bytes].chunks(BAND_BYTES) {
            watch.check("normalize")?;
            match pixels.layout {
                Layout::Rgba8 => {
                    for pixel in band.as_chunks::<4>().0 {
                        counts[usize::from(luma([pixel[0], pixel[1], pixel[2]]))] += u64::from(pixel[3]);
                    }
                }
                Layout::Rgb8 => band.as_chunks::<3>().0.iter().for_each(|pixel| counts[usize::from(luma(*pixel))] += 1),
                _ => band.iter().for_each(|value| counts[usize::from(*value)] += 1),
            }
        }
        let total: u64 = counts.iter().sum();
        // The first value up to which more than so many hundredths lie.
        let percentile = |hundredths: u64| {
            let mut below = 0;
            counts.iter().position(|count| {
                below += count;
                below * 100 > total * hundredths
            })
        };
        Ok(match (percentile(1), percentile(99)) {
            (Some(low), Some(high)) => Self { low: low as u8, high: high as u8 },
            // Nothing is visible.
            _ => Self { low: 0, high: 255 },
        })
    }

    /// By how much each luma moves; `None` where there is nothing to stretch.
    fn moves(self) -> Option<[i16; 256]> {
        let (low, high) = (i32::from(self.low), i32::from(self.high));
        let range = high - low;
        if range < 2 || range == 255 {
            return None;
        }
        Some(std::array::from_fn(|luma| {
            let luma = luma as i32;
            let stretched = ((luma - low) * 255 + range / 2).div_euclid(range).clamp(0, 255);
            (stretched - luma) as i16
        }))
    }
}

/// Stretches a picture's lightness; alpha stays.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn stretch(pixels: &mut Pixels, levels: Levels, watch: Watch<'_>) -> Result<(), Error> {
    let Some(moves) = levels.moves() else { return Ok(()) };
    let layout = pixels.layout;
    // Of planes the first is luma.
    let bytes = pixels.width_px as usize * pixels.height_px as usize * layout.channels();
    watch.bands("normalize", &mut pixels.bytes[..bytes], |band| match layout {
        Layout::Rgba8 => stretch_colours(band.as_chunks_mut::<4>().0, &moves),
        Layout::Rgb8 => stretch_colours(band.as_chunks_mut::<3>().0, &moves),
        _ => band.iter_mut().for_each(|value| *value = moved(*value, moves[usize::from(*value)])),
    })
}

#[inline(always)]
const fn moved(value: u8, by: i16) -> u8 {
    let sum = value as i16 + by;
    // Confined, so it is a byte.
    if sum < 0 {
        0
    } else if sum > 255 {
        255
    } else {
        sum as u8
    }
}

fn stretch_colours<const C: usize>(pixels: &mut [[u8; C]], moves: &[i16; 256]) {
    simd::run(Stretch { pixels, moves });
}

struct Stretch<'s, const C: usize> {
    pixels: &'s mut [[u8; C]],
    moves: &'s [i16; 256],
}

impl<const C: usize> simd::Work for Stretch<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Option<simd::Avx2>) {
        for pixel in self.pixels {
            let by = self.moves[usize::from(luma([pixel[0], pixel[1], pixel[2]]))];
            for value in &mut pixel[..3] {
                *value = moved(*value, by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{noise, picture, pictures};
    use super::*;
    use proptest::prelude::*;

    fn stretch(pixels: &mut Pixels, levels: Levels) {
        super::stretch(pixels, levels, Watch::NEVER).expect("nobody ends it");
    }

    fn levels_of(pixels: &Pixels) -> Levels {
        Levels::of(pixels, Watch::NEVER).expect("nobody ends it")
    }

    #[test]
    fn the_range_becomes_the_whole() {
        let mut pixels = picture(100, 10, Layout::Grey8, |x, _, _| 50 + x as u8);
        let levels = levels_of(&pixels);
        assert_eq!(levels, Levels { low: 51, high: 149 });
        stretch(&mut pixels, levels);
        assert_eq!((pixels.bytes[0], pixels.bytes[1], pixels.bytes[50], pixels.bytes[99]), (0, 0, 128, 255));
    }

    #[test]
    fn grey_and_colour_are_stretched_alike_and_alpha_weighs() {
        let mut grey = picture(64, 64, Layout::Grey8, |x, y, _| (80 + x / 2 + y) as u8);
        let mut rgb = super::super::samples::to_rgb(&grey);
        assert_eq!(levels_of(&grey), levels_of(&rgb));
        let levels = levels_of(&grey);
        stretch(&mut grey, levels);
        stretch(&mut rgb, levels);
        assert_eq!(super::super::samples::to_rgb(&grey), rgb);
        let seen = picture(20, 10, Layout::Rgba8, |x, _, channel| match (channel, x < 10) {
            (3, true) => 0,
            (3, false) => 255,
            (_, true) => 0,
            (_, false) => 90 + x as u8,
        });
        assert_eq!(levels_of(&seen), Levels { low: 100, high: 109 });
        let unseen = picture(4, 4, Layout::Rgba8, |_, _, channel| if channel == 3 { 0 } else { 70 });
        assert_eq!(levels_of(&unseen).moves(), None);
    }

    #[test]
    fn flat_pictures_stay() {
        let mut flat = picture(9, 9, Layout::Rgb8, |_, _, _| 77);
        let before = flat.clone();
        stretch(&mut flat, levels_of(&before));
        assert_eq!(flat, before);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pixels in pictures(12), low in 0_u8..=255, high in 0_u8..=255) {
            let levels = Levels { low, high };
            let mut fast = pixels.clone();
            stretch(&mut fast, levels);
            let range = f64::from(high) - f64::from(low);
            let channels = pixels.layout.channels();
            for (before, after) in pixels.bytes.chunks(channels).zip(fast.bytes.chunks(channels)) {
                let luma = 0.2126 * f64::from(before[0]) + 0.7152 * f64::from(before[1]) + 0.0722 * f64::from(before[2]);
                for channel in 0..channels {
                    let exact = if range < 2.0 || channel == 3 {
                        f64::from(before[channel])
                    } else {
                        let moved = ((luma - f64::from(low)) * 255.0 / range).clamp(0.0, 255.0);
                        (f64::from(before[channel]) + moved - luma).clamp(0.0, 255.0)
                    };
                    // Luma is a whole number first: half a level of it is as many after as the range is stretched.
                    let allowed = 1.02 + if range >= 2.0 { 0.52 * 255.0 / range } else { 0.0 };
                    prop_assert!((f64::from(after[channel]) - exact).abs() <= allowed, "{:?} {:?} {:?}", levels, before, after);
                }
            }
        }

        #[test]
        fn percentiles_are_those_of_the_sorted_values(seed in any::<u64>(), side in 1_u32..40) {
            let pixels = noise(side, side, Layout::Grey8, seed);
            let mut sorted = pixels.bytes.clone();
            sorted.sort_unstable();
            let Levels { low, high } = levels_of(&pixels);
            let count = sorted.len();
            prop_assert_eq!((low, high), (sorted[count / 100], sorted[count * 99 / 100]));
        }
    }
}
