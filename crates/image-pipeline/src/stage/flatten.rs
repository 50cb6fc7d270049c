//! Puts a colour under transparent pixels. After it a picture has no alpha.

use super::mix;
use crate::error::Error;
use crate::pixels::{Layout, Pixels};
use crate::spec::Rgb;
use crate::watch::{BAND_BYTES, Watch};

/// Lays the picture over `background` and drops the alpha channel, in the buffer it is in. Without alpha nothing happens.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn flatten(mut pixels: Pixels, background: Rgb, watch: Watch<'_>) -> Result<Pixels, Error> {
    if pixels.layout != Layout::Rgba8 {
        return Ok(pixels);
    }
    let Rgb([under_r, under_g, under_b]) = background;
    let count = pixels.bytes.len() / 4;
    const BAND_PX: usize = BAND_BYTES / 4;
    for first in (0..count).step_by(BAND_PX) {
        watch.check("flatten")?;
        let end = (first + BAND_PX).min(count);
        for pixel in pixels.bytes[first * 4..end * 4].as_chunks_mut::<4>().0 {
            let [r, g, b, alpha] = *pixel;
            *pixel = [mix(r, under_r, alpha), mix(g, under_g, alpha), mix(b, under_b, alpha), alpha];
        }
        // Packing apart from mixing lets the compiler do the latter on many pixels at once.
        for index in first.max(1)..end {
            pixels.bytes.copy_within(index * 4..index * 4 + 3, index * 3);
        }
    }
    pixels.bytes.truncate(count * 3);
    pixels.bytes.shrink_to_fit();
    pixels.layout = Layout::Rgb8;
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::super::samples::noise;
    use super::*;
    use proptest::prelude::*;

    fn flatten(pixels: Pixels, background: Rgb) -> Pixels {
        super::flatten(pixels, background, Watch::NEVER).expect("nobody ends it")
    }

    #[test]
    fn mixing_is_exact() {
        for colour in 0..=255_u8 {
            for alpha in 0..=255_u8 {
                for under in [0, 1, 100, 254, 255_u8] {
                    let sum = f64::from(colour) * f64::from(alpha) + f64::from(under) * f64::from(255 - alpha);
                    assert_eq!(mix(colour, under, alpha), (sum / 255.0).round() as u8, "{colour} {under} {alpha}");
                }
            }
        }
    }

    #[test]
    fn without_alpha_nothing_happens() {
        let pixels = noise(4, 4, Layout::Rgb8, 1);
        assert_eq!(flatten(pixels.clone(), Rgb([1, 2, 3])), pixels);
    }

    proptest! {
        #[test]
        fn mixes_by_alpha(seed in any::<u64>(), background in any::<[u8; 3]>()) {
            let mut pixels = noise(9, 5, Layout::Rgba8, seed);
            pixels.bytes[3] = 0;
            pixels.bytes[7] = 255;
            let flat = flatten(pixels.clone(), Rgb(background));
            prop_assert_eq!(flat.bytes.len(), 9 * 5 * 3);
            prop_assert_eq!(&flat.bytes[..3], &background[..]);
            prop_assert_eq!(&flat.bytes[3..6], &pixels.bytes[4..7]);
            for (before, after) in pixels.bytes.chunks(4).zip(flat.bytes.chunks(3)) {
                let alpha = f64::from(before[3]) / 255.0;
                for channel in 0..3 {
                    let exact = f64::from(before[channel]) * alpha + f64::from(background[channel]) * (1.0 - alpha);
                    prop_assert!((exact - f64::from(after[channel])).abs() <= 0.501);
                }
            }
        }
    }
}
