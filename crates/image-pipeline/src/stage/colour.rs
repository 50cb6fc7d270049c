//! Point filters: brightness, contrast, gamma, saturation, hue, grey, sepia, tint, duotone, negative. One pass over the pixels, alpha untouched.
//!
//! All on sRGB-encoded values, as imgproxy and CSS do. Formulas: brightness adds; contrast is `(v - 127.5) * factor + 127.5`, gamma
//! `255 * (v / 255)^(1 / gamma)`, saturation the `saturate` matrix with Rec. 709 weights, hue the `hueRotate` matrix, sepia the `sepia(1)`
//! matrix, contrast and the matrices as in W3C Filter Effects Module 1; tint and duotone are looked up by luma ([`super::ramp`]).
//! Order: as named above; values are confined to 0..=255 after gamma, after the matrices and at the end.

use super::ramp::{self, Ramp};
use crate::{
    error::Error,
    pixels::{Layout, Pixels},
    simd,
    spec::Filters,
    watch::Watch,
};

/// Weights of red, green and blue in luma: Rec. ITU-R BT.709-6, item 3.2.
const LUMA: [f32; 3] = [0.2126, 0.7152, 0.0722];
/// W3C Filter Effects Module Level 1, `sepia(1)`.
const SEPIA: Matrix = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]];
const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Fraction bits of the matrix: the largest entry, saturation 10, is below 16, so three products of 255 stay below 2^28.
const FRACTION_BITS: u32 = 14;

/// Pixels taken through all of the recipe before the next; they stay in the nearest cache.
const PIXELS_AT_ONCE: usize = 2048;

type Matrix = [[f32; 3]; 3];

/// What the filters come to: a table per value, then a matrix over the three channels, then colours by luma, then perhaps the negative.
struct Recipe {
    table: Option<[u8; 256]>,
    matrix: Option<[[i32; 3]; 3]>,
    ramp: Option<Box<Ramp>>,
    invert: bool,
}

impl Recipe {
    fn of(filters: &Filters) -> Self {
        let contrast = filters.contrast.filter(|factor| *factor != 1.0);
        let gamma = filters.gamma.filter(|gamma| *gamma != 1.0);
        let table = (filters.brightness != 0 || contrast.is_some() || gamma.is_some()).then(|| {
            std::array::from_fn(|value| {
                let brighter = value as f64 + f64::from(filters.brightness);
                let value = (brighter - 127.5) * f64::from(contrast.unwrap_or(1.0)) + 127.5;
                // A cast of a float to u8 saturates.
                gamma.map_or(value, |gamma| (value.clamp(0.0, 255.0) / 255.0).powf(1.0 / f64::from(gamma)) * 255.0).round() as u8
            })
        });
        let matrix = matrix(filters).map(|matrix| matrix.map(|row| row.map(|entry| (entry * (1 << FRACTION_BITS) as f32).round() as i32)));
        Self { table, matrix, ramp: ramp::of(filters), invert: filters.invert }
    }
}

/// The three colour matrices as one, `None` where none is wanted.
fn matrix(filters: &Filters) -> Option<Matrix> {
    let saturation = filters.saturation.filter(|factor| *factor != 1.0);
    if saturation.is_none() && filters.hue_deg == 0.0 && !filters.grayscale && !filters.sepia {
        return None;
    }
    let mut all = IDENTITY;
    if let Some(factor) = saturation {
        all = product(saturate(factor), all);
    }
    if filters.hue_deg != 0.0 {
        all = product(hue_rotate(filters.hue_deg), all);
    }
    if filters.grayscale {
        all = product(saturate(0.0), all);
    }
    if filters.sepia {
        all = product(SEPIA, all);
    }
    Some(all)
}

/// Each channel keeps `factor` of its distance from luma.
fn saturate(factor: f32) -> Matrix {
    std::array::from_fn(|to| std::array::from_fn(|from| LUMA[from] * (1.0 - factor) + if to == from { factor } else { 0.0 }))
}

/// W3C Filter Effects Module Level 1, `hueRotate`. Grey stays: each row adds up to 1.
fn hue_rotate(degrees: f32) -> Matrix {
    const KEPT: Matrix = [[0.213, 0.715, 0.072]; 3];
    const BY_COSINE: Matrix = [[0.787, -0.715, -0.072], [-0.213, 0.285, -0.072], [-0.213, -0.715, 0.928]];
    const BY_SINE: Matrix = [[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]];
    let (sine, cosine) = degrees.to_radians().sin_cos();
    std::array::from_fn(|to| std::array::from_fn(|from| KEPT[to][from] + cosine * BY_COSINE[to][from] + sine * BY_SINE[to][from]))
}

fn product(after: Matrix, before: Matrix) -> Matrix {
    std::array::from_fn(|to| std::array::from_fn(|from| (0..3).map(|via| after[to][via] * before[via][from]).sum()))
}

/// Whether [`colour`] would change anything.
pub(crate) fn is_wanted(filters: &Filters) -> bool {
    let is_factor = |factor: Option<f32>| factor.is_some_and(|factor| factor != 1.0);
    filters.brightness != 0
        || [filters.contrast, filters.gamma, filters.saturation].into_iter().any(is_factor)
        || filters.hue_deg != 0.0
        || filters.grayscale
        || filters.sepia
        || filters.tint.is_some()
        || filters.duotone.is_some()
        || filters.invert
}

/// Whether grey stays grey: [`colour`] takes a grey picture then.
pub(crate) fn keeps_grey(filters: &Filters) -> bool {
    !filters.sepia && filters.tint.is_none() && filters.duotone.is_none()
}

/// Applies the point filters among `filters`; to a grey picture those that leave it grey.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn colour(pixels: &mut Pixels, filters: &Filters, watch: Watch<'_>) -> Result<(), Error> {
    let (recipe, layout) = (Recipe::of(filters), pixels.layout);
    watch.bands("colour", &mut pixels.bytes, |band| match layout {
        Layout::Rgba8 => colour_channels::<4>(band, &recipe),
        Layout::Grey8 => colour_grey(band, &recipe),
        // Planes are made red, green and blue before.
        _ => colour_channels::<3>(band, &recipe),
    })
}

/// Saturation, hue and grey leave grey as it is: their rows add up to 1.
fn colour_grey(bytes: &mut [u8], recipe: &Recipe) {
    let flip = if recipe.invert { u8::MAX } else { 0 };
    let table: [u8; 256] = std::array::from_fn(|value| recipe.table.map_or(value as u8, |table| table[value]) ^ flip);
    bytes.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

fn colour_channels<const C: usize>(bytes: &mut [u8], recipe: &Recipe) {
    let (pixels, _) = bytes.as_chunks_mut::<C>();
    let flip = if recipe.invert { u8::MAX } else { 0 };
    // What is looked up is looked up for a while and then multiplied, so that the latter is done in vectors.
    for pixels in pixels.chunks_mut(PIXELS_AT_ONCE) {
        // The negative is part of whatever comes last.
        let early_flip = if recipe.ramp.is_some() { 0 } else { flip };
        match (recipe.table.as_ref(), recipe.matrix.as_ref()) {
            (None, None) if early_flip == 0 => {}
            (None, None) => pixels.iter_mut().for_each(|pixel| pixel[..3].iter_mut().for_each(|value| *value ^= early_flip)),
            (Some(table), None) => look_up(pixels, &table.map(|value| value ^ early_flip)),
            (table, Some(matrix)) => {
                if let Some(table) = table {
                    look_up(pixels, table);
                }
                simd::run(Turn { pixels, matrix, flip: early_flip });
            }
        }
        if let Some(ramp) = &recipe.ramp {
            ramp::colour_by_luma(pixels, ramp, flip);
        }
    }
}

fn look_up<const C: usize>(pixels: &mut [[u8; C]], table: &[u8; 256]) {
    pixels.iter_mut().for_each(|pixel| pixel[..3].iter_mut().for_each(|value| *value = table[usize::from(*value)]));
}

struct Turn<'t, const C: usize> {
    pixels: &'t mut [[u8; C]],
    matrix: &'t [[i32; 3]; 3],
    flip: u8,
}

impl<const C: usize> simd::Work for Turn<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Option<simd::Avx2>) {
        for pixel in self.pixels {
            let [r, g, b] = [0, 1, 2].map(|channel| i32::from(pixel[channel]));
            for (place, row) in pixel.iter_mut().zip(self.matrix) {
                let sum = (row[0] * r + row[1] * g + row[2] * b + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
                *place = sum.clamp(0, 255) as u8 ^ self.flip;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{noise, pictures};
    use super::*;
    use proptest::prelude::*;

    fn colour(pixels: &mut Pixels, filters: &Filters) {
        super::colour(pixels, filters, Watch::NEVER).expect("nobody ends it");
    }

    /// The slow twin: the definitions one after the other, in doubles.
    fn slow(pixels: &Pixels, filters: &Filters) -> Pixels {
        let mut out = pixels.clone();
        for pixel in out.bytes.chunks_mut(pixels.layout.channels()) {
            let mut rgb = [0, 1, 2].map(|channel| f64::from(pixel[channel]));
            for value in &mut rgb {
                let contrast = f64::from(filters.contrast.unwrap_or(1.0));
                *value = ((*value + f64::from(filters.brightness) - 127.5) * contrast + 127.5).clamp(0.0, 255.0);
                *value = filters.gamma.map_or(*value, |gamma| (*value / 255.0).powf(1.0 / f64::from(gamma)) * 255.0).round();
            }
            let luma = |rgb: [f64; 3]| 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
            let grey = luma(rgb);
            rgb = rgb.map(|value| grey + (value - grey) * f64::from(filters.saturation.unwrap_or(1.0)));
            // The hueRotate matrix, entry by entry as the recommendation writes it.
            let (s, c) = f64::from(filters.hue_deg).to_radians().sin_cos();
            let rotate = [
                [0.213 + c * 0.787 - s * 0.213, 0.715 - c * 0.715 - s * 0.715, 0.072 - c * 0.072 + s * 0.928],
                [0.213 - c * 0.213 + s * 0.143, 0.715 + c * 0.285 + s * 0.140, 0.072 - c * 0.072 - s * 0.283],
                [0.213 - c * 0.213 - s * 0.787, 0.715 - c * 0.715 + s * 0.715, 0.072 + c * 0.928 + s * 0.072],
            ];
            rgb = rotate.map(|row| row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2]);
            if filters.grayscale {
                rgb = [luma(rgb); 3];
            }
            if filters.sepia {
                rgb = SEPIA.map(|row| (0..3).map(|from| f64::from(row[from]) * rgb[from]).sum());
            }
            for (place, value) in pixel.iter_mut().zip(rgb) {
                let value = value.round().clamp(0.0, 255.0) as u8;
                *place = if filters.invert { 255 - value } else { value };
            }
        }
        out
    }

    #[test]
    fn known_values() {
        let run = |filters: Filters, rgb: [u8; 3]| {
            let mut pixels = Pixels::new(1, 1, Layout::Rgb8, rgb.to_vec()).expect("one pixel");
            colour(&mut pixels, &filters);
            [pixels.bytes[0], pixels.bytes[1], pixels.bytes[2]]
        };
        assert_eq!(run(Filters { grayscale: true, ..Filters::default() }, [255, 0, 0]), [54; 3]);
        assert_eq!(run(Filters { grayscale: true, ..Filters::default() }, [255; 3]), [255; 3]);
        assert_eq!(run(Filters { invert: true, ..Filters::default() }, [0, 1, 255]), [255, 254, 0]);
        assert_eq!(run(Filters { brightness: -255, ..Filters::default() }, [0, 100, 255]), [0; 3]);
        assert_eq!(run(Filters { contrast: Some(2.0), ..Filters::default() }, [127, 64, 200]), [127, 1, 255]);
        assert_eq!(run(Filters { contrast: Some(0.0), ..Filters::default() }, [0, 64, 255]), [128; 3]);
        assert_eq!(run(Filters { sepia: true, ..Filters::default() }, [255; 3]), [255, 255, 239]);
        assert_eq!(run(Filters { saturation: Some(10.0), ..Filters::default() }, [255, 0, 128]), [255, 0, 255]);
        assert_eq!(run(Filters { gamma: Some(2.0), ..Filters::default() }, [0, 64, 255]), [0, 128, 255]);
        assert_eq!(run(Filters { hue_deg: 180.0, ..Filters::default() }, [255, 0, 0]), [0, 109, 109]);
        assert_eq!(run(Filters { hue_deg: 77.0, ..Filters::default() }, [90; 3]), [90; 3]);
        let duotone = Some([crate::spec::Rgb([10, 20, 30]), crate::spec::Rgb([210, 120, 30])]);
        assert_eq!(run(Filters { duotone, ..Filters::default() }, [0; 3]), [10, 20, 30]);
        assert_eq!(run(Filters { duotone, invert: true, ..Filters::default() }, [255; 3]), [45, 135, 225]);
    }

    #[test]
    fn nothing_wanted_changes_nothing() {
        let before = noise(5, 5, Layout::Rgba8, 1);
        let mut after = before.clone();
        colour(&mut after, &Filters::default());
        assert_eq!(before, after);
        assert!(!is_wanted(&Filters { blur_sigma: 2.0, contrast: Some(1.0), ..Filters::default() }));
        assert!(is_wanted(&Filters { invert: true, ..Filters::default() }));
    }

    proptest! {
        #[test]
        fn grey_is_treated_as_its_colours_would_be(
            seed in any::<u64>(), brightness in -255_i16..=255, contrast in proptest::option::of(0.0_f32..=10.0),
            gamma in proptest::option::of(0.1_f32..=10.0), hue_deg in 0.0_f32..360.0, saturation in proptest::option::of(0.0_f32..=10.0), grayscale in any::<bool>(), invert in any::<bool>(),
        ) {
            let filters = Filters { brightness, contrast, gamma, hue_deg, saturation, grayscale, invert, ..Filters::default() };
            prop_assert!(keeps_grey(&filters));
            let mut grey = noise(16, 16, Layout::Grey8, seed);
            let mut rgb = super::super::samples::to_rgb(&grey);
            colour(&mut grey, &filters);
            colour(&mut rgb, &filters);
            prop_assert_eq!(super::super::samples::to_rgb(&grey), rgb);
        }

        #[test]
        fn one_pass_agrees_with_the_definitions(
            pixels in pictures(9), brightness in -255_i16..=255, contrast in proptest::option::of(0.0_f32..=10.0),
            gamma in proptest::option::of(0.1_f32..=10.0), hue_deg in prop_oneof![Just(0.0_f32), 0.0_f32..360.0], saturation in proptest::option::of(0.0_f32..=10.0), grayscale in any::<bool>(), sepia in any::<bool>(), invert in any::<bool>(),
        ) {
            let filters = Filters { brightness, contrast, gamma, hue_deg, saturation, grayscale, sepia, invert, ..Filters::default() };
            let mut fast = pixels.clone();
            colour(&mut fast, &filters);
            let slow = slow(&pixels, &filters);
            for (index, (fast, slow)) in fast.bytes.iter().zip(&slow.bytes).enumerate() {
                prop_assert!(fast.abs_diff(*slow) <= 1, "byte {}: {} {}", index, fast, slow);
            }
            if pixels.layout == Layout::Rgba8 {
                prop_assert!(fast.bytes.iter().zip(&pixels.bytes).skip(3).step_by(4).all(|(after, before)| after == before));
            }
        }
    }
}
