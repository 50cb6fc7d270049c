//! Colours weighted with their alpha, and back: for steps that compare or add colours of pixels more and less transparent.

use super::mix;
use crate::{error::Error, pixels::Pixels, watch::Watch};

/// Colours of a picture with alpha times alpha, rounded.
pub(super) fn multiply(pixels: &mut Pixels, stage: &'static str, watch: Watch<'_>) -> Result<(), Error> {
    watch.bands(stage, &mut pixels.bytes, |band| {
        for pixel in band.as_chunks_mut::<4>().0 {
            let [r, g, b, alpha] = *pixel;
            *pixel = [mix(r, 0, alpha), mix(g, 0, alpha), mix(b, 0, alpha), alpha];
        }
    })
}

/// Colours divided by alpha, rounded and confined; what is transparent becomes 0 throughout.
pub(super) fn divide(pixels: &mut Pixels, stage: &'static str, watch: Watch<'_>) -> Result<(), Error> {
    watch.bands(stage, &mut pixels.bytes, |band| {
        for pixel in band.as_chunks_mut::<4>().0 {
            let [r, g, b, alpha] = *pixel;
            let part =
                |value: u8| (u32::from(value) * 255 + u32::from(alpha) / 2).checked_div(u32::from(alpha)).unwrap_or(0).min(255) as u8;
            *pixel = [part(r), part(g), part(b), alpha];
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::noise;
    use super::*;
    use crate::pixels::Layout;

    #[test]
    fn there_and_back_is_near_and_opaque_stays() {
        let before = noise(40, 40, Layout::Rgba8, 3);
        let mut after = before.clone();
        multiply(&mut after, "median", Watch::NEVER).expect("nobody ends it");
        divide(&mut after, "median", Watch::NEVER).expect("nobody ends it");
        for (one, other) in before.bytes.chunks(4).zip(after.bytes.chunks(4)) {
            assert_eq!(one[3], other[3]);
            let allowed = if one[3] == 0 { 255.0 } else { 127.5 / f64::from(one[3]) + 0.5 };
            assert!(one.iter().zip(other).all(|(one, other)| f64::from(one.abs_diff(*other)) <= allowed), "{one:?} {other:?}");
        }
    }
}
