//! Unsharp mask: each colour moves away from its blurred neighbourhood by as much as it differs from it.

use super::blur::blur;
use crate::{
    error::Error,
    pixels::{Layout, Pixels},
    watch::{BAND_BYTES, Watch},
};

/// Sharpens with a mask of standard deviation `sigma_px`, 0 to 100: `2 * v - blurred(v)`. Alpha is untouched. 0 does nothing.
/// Holds a second picture of the same size while it runs.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn sharpen(pixels: &mut Pixels, sigma_px: f32, watch: Watch<'_>) -> Result<(), Error> {
    if sigma_px.is_nan() || sigma_px <= 0.0 {
        return Ok(());
    }
    let mut blurred = pixels.clone();
    blur(&mut blurred, sigma_px, watch)?;
    let has_alpha = pixels.layout == Layout::Rgba8;
    for (values, softs) in pixels.bytes.chunks_mut(BAND_BYTES).zip(blurred.bytes.chunks_mut(BAND_BYTES)) {
        watch.check("sharpen")?;
        if has_alpha {
            // Alpha does not differ from its neighbourhood, then.
            for (soft, pixel) in softs.as_chunks_mut::<4>().0.iter_mut().zip(values.as_chunks::<4>().0) {
                soft[3] = pixel[3];
            }
        }
        for (value, soft) in values.iter_mut().zip(softs) {
            *value = away(*value, *soft);
        }
    }
    Ok(())
}

/// `2 * value - soft`, confined; one of the differences is 0.
#[inline]
const fn away(value: u8, soft: u8) -> u8 {
    value.saturating_add(value.saturating_sub(soft)).saturating_sub(soft.saturating_sub(value))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, noise, picture, pictures};
    use super::*;
    use proptest::prelude::*;

    fn sharpen(pixels: &mut Pixels, sigma_px: f32) {
        super::sharpen(pixels, sigma_px, Watch::NEVER).expect("nobody ends it");
    }

    fn blur(pixels: &mut Pixels, sigma_px: f32) {
        super::blur(pixels, sigma_px, Watch::NEVER).expect("nobody ends it");
    }

    #[test]
    fn an_edge_gets_steeper_and_flat_parts_stay() {
        let mut pixels = picture(40, 8, Layout::Rgb8, |x, _, _| if x < 20 { 100 } else { 150 });
        sharpen(&mut pixels, 1.0);
        assert_eq!((at(&pixels, 2, 4)[0], at(&pixels, 37, 4)[0]), (100, 150));
        assert!(at(&pixels, 19, 4)[0] < 95 && at(&pixels, 20, 4)[0] > 155, "{:?} {:?}", at(&pixels, 19, 4), at(&pixels, 20, 4));
    }

    #[test]
    fn zero_does_nothing() {
        let before = noise(5, 5, Layout::Rgba8, 1);
        let mut after = before.clone();
        sharpen(&mut after, 0.0);
        assert_eq!(before, after);
    }

    #[test]
    fn grey_is_sharpened_as_its_colours_would_be() {
        let mut grey = noise(31, 20, Layout::Grey8, 5);
        let mut rgb = super::super::samples::to_rgb(&grey);
        sharpen(&mut grey, 1.0);
        sharpen(&mut rgb, 1.0);
        assert_eq!(super::super::samples::to_rgb(&grey), rgb);
    }

    proptest! {
        #[test]
        fn is_twice_the_picture_less_the_blurred_one(pixels in pictures(14), sigma in 0.0_f32..6.0) {
            let (mut sharp, mut soft) = (pixels.clone(), pixels.clone());
            sharpen(&mut sharp, sigma);
            blur(&mut soft, sigma);
            let channels = pixels.layout.channels();
            for (index, ((sharp, soft), before)) in sharp.bytes.iter().zip(&soft.bytes).zip(&pixels.bytes).enumerate() {
                let wanted = if index % channels == 3 { *before } else { (2 * i32::from(*before) - i32::from(*soft)).clamp(0, 255) as u8 };
                prop_assert_eq!(*sharp, wanted);
            }
        }
    }
}
