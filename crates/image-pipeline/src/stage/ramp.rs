//! Colours by luma: what tint and duotone make of each lightness. Knows nothing of layouts.
//!
//! Tint takes CIE L* of the grey and a*, b* of its colour (CIE 15, D65 white, sRGB of IEC 61966-2-1), as sharp does; colours that sRGB has
//! not are cut off channel by channel. Duotone mixes its two colours in proportion to luma. With both, duotone is given the tinted one's.

use crate::spec::{Filters, Rgb};

/// A colour for each luma.
pub(super) type Ramp = [[u8; 3]; 256];

/// Weights of luma, Rec. ITU-R BT.709-6, in parts of 2^14; they add up to that.
const LUMA: [u32; 3] = [3483, 11718, 1183];

/// X, Y, Z of D65 white, for a luminance of 1.
const WHITE: [f64; 3] = [0.950_47, 1.0, 1.088_83];

/// What `filters` ask for, if anything.
pub(super) fn of(filters: &Filters) -> Option<Box<Ramp>> {
    let tint = filters.tint.map(tint);
    let duotone = filters.duotone.map(duotone);
    match (tint, duotone) {
        (Some(tint), Some(duotone)) => Some(Box::new(tint.map(|colour| duotone[usize::from(luma(colour))]))),
        (one, other) => one.or(other).map(Box::new),
    }
}

/// Replaces each colour by that of its luma, XORed with `flip`; alpha stays.
pub(super) fn colour_by_luma<const C: usize>(pixels: &mut [[u8; C]], ramp: &Ramp, flip: u8) {
    for pixel in pixels {
        let colour = ramp[usize::from(luma([pixel[0], pixel[1], pixel[2]]))];
        for (place, value) in pixel.iter_mut().zip(colour) {
            *place = value ^ flip;
        }
    }
}

/// Luma of a colour, rounded.
#[inline(always)]
pub(super) fn luma([r, g, b]: [u8; 3]) -> u8 {
    let sum = u32::from(r) * LUMA[0] + u32::from(g) * LUMA[1] + u32::from(b) * LUMA[2];
    // The weights add up to 1, so a mean of bytes is a byte.
    ((sum + (1 << 13)) >> 14) as u8
}

fn duotone([Rgb(dark), Rgb(light)]: [Rgb; 2]) -> Ramp {
    std::array::from_fn(|luma| std::array::from_fn(|channel| super::mix(light[channel], dark[channel], luma as u8)))
}

fn tint(Rgb(colour): Rgb) -> Ramp {
    let [_, a, b] = lab(colour.map(|value| f64::from(value) / 255.0));
    std::array::from_fn(|value| {
        let [lightness, ..] = lab([value as f64 / 255.0; 3]);
        // A cast of a float to u8 saturates.
        srgb([lightness, a, b]).map(|value| (value * 255.0).round() as u8)
    })
}

/// sRGB, 0 to 1 each, to CIE L*a*b*.
fn lab(rgb: [f64; 3]) -> [f64; 3] {
    const TO_XYZ: [[f64; 3]; 3] =
        [[0.412_456_4, 0.357_576_1, 0.180_437_5], [0.212_672_9, 0.715_152_2, 0.072_175], [0.019_333_9, 0.119_192, 0.950_304_1]];
    let light = rgb.map(|value| if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) });
    let xyz = TO_XYZ.map(|row| row[0] * light[0] + row[1] * light[1] + row[2] * light[2]);
    let f = |share: f64| if share > 216.0 / 24_389.0 { share.cbrt() } else { (24_389.0 / 27.0 * share + 16.0) / 116.0 };
    let [x, y, z] = [f(xyz[0] / WHITE[0]), f(xyz[1] / WHITE[1]), f(xyz[2] / WHITE[2])];
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// And back; outside of 0 to 1 where sRGB has no such colour.
fn srgb([lightness, a, b]: [f64; 3]) -> [f64; 3] {
    const FROM_XYZ: [[f64; 3]; 3] =
        [[3.240_454_2, -1.537_138_5, -0.498_531_4], [-0.969_266, 1.876_010_8, 0.041_556], [0.055_643_4, -0.204_025_9, 1.057_225_2]];
    let y = (lightness + 16.0) / 116.0;
    let inverse = |f: f64| if f > 6.0 / 29.0 { f * f * f } else { (116.0 * f - 16.0) * 27.0 / 24_389.0 };
    let xyz = [WHITE[0] * inverse(y + a / 500.0), WHITE[1] * inverse(y), WHITE[2] * inverse(y - b / 200.0)];
    let light = FROM_XYZ.map(|row| row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2]);
    light.map(|light| if light <= 0.003_130_8 { light.max(0.0) * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_tints_nothing_and_lightness_stays() {
        let grey = tint(Rgb([119; 3]));
        assert!(grey.iter().enumerate().all(|(value, colour)| colour.iter().all(|channel| channel.abs_diff(value as u8) <= 1)), "{grey:?}");
        // The tint itself is met at its own lightness.
        let orange = Rgb([200, 120, 40]);
        let own = lab(orange.0.map(|value| f64::from(value) / 255.0))[0];
        let ramp = tint(orange);
        let nearest = (0..256).min_by_key(|value| ((lab([f64::from(*value) / 255.0; 3])[0] - own).abs() * 1000.0) as u64).unwrap();
        let met = ramp[nearest as usize];
        assert!(met.iter().zip(orange.0).all(|(one, other)| one.abs_diff(other) <= 2), "{met:?}");
        assert_eq!(ramp[0], [ramp[0][0], 0, 0]);
    }

    #[test]
    fn lab_is_that_of_the_books() {
        // sRGB red: L* 53.24, a* 80.09, b* 67.20.
        let [l, a, b] = lab([1.0, 0.0, 0.0]);
        assert!((l - 53.24).abs() < 0.01 && (a - 80.09).abs() < 0.02 && (b - 67.20).abs() < 0.02, "{l} {a} {b}");
        for colour in [[0.2, 0.5, 0.9], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.01, 0.02, 0.0]] {
            assert!(srgb(lab(colour)).iter().zip(colour).all(|(one, other)| (one - other).abs() < 1e-3), "{colour:?}");
        }
    }

    #[test]
    fn luma_is_exact_at_the_ends_and_near_between() {
        for value in 0..=255 {
            assert_eq!(luma([value; 3]), value);
            let exact = 0.2126 * f64::from(value) + 0.0722 * 255.0;
            assert!((f64::from(luma([value, 0, 255])) - exact).abs() <= 0.52);
        }
    }

    #[test]
    fn duotone_runs_from_one_colour_to_the_other() {
        let ramp = duotone([Rgb([0, 50, 255]), Rgb([255, 50, 0])]);
        assert!(ramp.iter().enumerate().all(|(value, colour)| *colour == [value as u8, 50, 255 - value as u8]));
    }
}
