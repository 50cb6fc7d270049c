//! Point filters: brightness, contrast, saturation, grey, sepia, negative. One pass over the pixels, alpha untouched.
//!
//! All on sRGB-encoded values, as imgproxy and CSS do. Formulas: brightness adds; contrast is `(v - 127.5) * factor + 127.5`, saturation
//! the `saturate` matrix with Rec. 709 weights, sepia the `sepia(1)` matrix, contrast and the matrices as in W3C Filter Effects Module 1.
//! Order: brightness, contrast, saturation, grey, sepia, negative; values are confined to 0..=255 after contrast and at the end.

use crate::pixels::{Layout, Pixels};
use crate::spec::Filters;

/// Weights of red, green and blue in luma: Rec. ITU-R BT.709-6, item 3.2.
const LUMA: [f32; 3] = [0.2126, 0.7152, 0.0722];
/// W3C Filter Effects Module Level 1, `sepia(1)`.
const SEPIA: Matrix = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]];
const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Fraction bits of the matrix: the largest entry, saturation 10, is below 16, so three products of 255 stay below 2^28.
const FRACTION_BITS: u32 = 14;

type Matrix = [[f32; 3]; 3];

/// What the filters come to: a table per value, then a matrix over the three channels, then perhaps the negative.
struct Recipe {
    table: Option<[u8; 256]>,
    matrix: Option<[[i32; 3]; 3]>,
    invert: bool,
}

impl Recipe {
    fn of(filters: &Filters) -> Self {
        let contrast = filters.contrast.filter(|factor| *factor != 1.0);
        let table = (filters.brightness != 0 || contrast.is_some()).then(|| {
            std::array::from_fn(|value| {
                let brighter = value as f32 + f32::from(filters.brightness);
                // A cast of a float to u8 saturates.
                ((brighter - 127.5) * contrast.unwrap_or(1.0) + 127.5).round() as u8
            })
        });
        let matrix = matrix(filters).map(|matrix| matrix.map(|row| row.map(|entry| (entry * (1 << FRACTION_BITS) as f32).round() as i32)));
        Self { table, matrix, invert: filters.invert }
    }
}

/// The three colour matrices as one, `None` where none is wanted.
fn matrix(filters: &Filters) -> Option<Matrix> {
    let saturation = filters.saturation.filter(|factor| *factor != 1.0);
    if saturation.is_none() && !filters.grayscale && !filters.sepia {
        return None;
    }
    let mut all = IDENTITY;
    if let Some(factor) = saturation {
        all = product(saturate(factor), all);
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

fn product(after: Matrix, before: Matrix) -> Matrix {
    std::array::from_fn(|to| std::array::from_fn(|from| (0..3).map(|via| after[to][via] * before[via][from]).sum()))
}

/// Whether [`colour`] would change anything.
pub(crate) fn is_wanted(filters: &Filters) -> bool {
    let recipe = Recipe::of(filters);
    recipe.table.is_some() || recipe.matrix.is_some() || recipe.invert
}

/// Applies the point filters among `filters`.
pub(crate) fn colour(pixels: &mut Pixels, filters: &Filters) {
    let recipe = Recipe::of(filters);
    match pixels.layout {
        Layout::Rgb8 => colour_channels::<3>(&mut pixels.bytes, &recipe),
        Layout::Rgba8 => colour_channels::<4>(&mut pixels.bytes, &recipe),
    }
}

fn colour_channels<const C: usize>(bytes: &mut [u8], recipe: &Recipe) {
    let (pixels, _) = bytes.as_chunks_mut::<C>();
    let flip = if recipe.invert { u8::MAX } else { 0 };
    match (recipe.table.as_ref(), recipe.matrix.as_ref()) {
        (None, None) if flip == 0 => {}
        (None, None) => pixels.iter_mut().for_each(|pixel| pixel[..3].iter_mut().for_each(|value| *value ^= flip)),
        (Some(table), None) => {
            let table = table.map(|value| value ^ flip);
            pixels.iter_mut().for_each(|pixel| pixel[..3].iter_mut().for_each(|value| *value = table[usize::from(*value)]));
        }
        (None, Some(matrix)) => pixels.iter_mut().for_each(|pixel| turn(pixel, matrix, flip, i32::from)),
        (Some(table), Some(matrix)) => {
            pixels.iter_mut().for_each(|pixel| turn(pixel, matrix, flip, |value| i32::from(table[usize::from(value)])))
        }
    }
}

#[inline]
fn turn<const C: usize>(pixel: &mut [u8; C], matrix: &[[i32; 3]; 3], flip: u8, value: impl Fn(u8) -> i32) {
    let (r, g, b) = (value(pixel[0]), value(pixel[1]), value(pixel[2]));
    for (place, row) in pixel.iter_mut().zip(matrix) {
        let sum = (row[0] * r + row[1] * g + row[2] * b + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
        *place = sum.clamp(0, 255) as u8 ^ flip;
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{noise, pictures};
    use super::*;
    use proptest::prelude::*;

    /// The slow twin: the definitions one after the other, in doubles.
    fn slow(pixels: &Pixels, filters: &Filters) -> Pixels {
        let mut out = pixels.clone();
        for pixel in out.bytes.chunks_mut(pixels.layout.channels()) {
            let mut rgb = [0, 1, 2].map(|channel| f64::from(pixel[channel]));
            for value in &mut rgb {
                let contrast = f64::from(filters.contrast.unwrap_or(1.0));
                *value = ((*value + f64::from(filters.brightness) - 127.5) * contrast + 127.5).round().clamp(0.0, 255.0);
            }
            let luma = |rgb: [f64; 3]| 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
            let grey = luma(rgb);
            rgb = rgb.map(|value| grey + (value - grey) * f64::from(filters.saturation.unwrap_or(1.0)));
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
        fn one_pass_agrees_with_the_definitions(
            pixels in pictures(9), brightness in -255_i16..=255, contrast in proptest::option::of(0.0_f32..=10.0),
            saturation in proptest::option::of(0.0_f32..=10.0), grayscale in any::<bool>(), sepia in any::<bool>(), invert in any::<bool>(),
        ) {
            let filters = Filters { brightness, contrast, saturation, grayscale, sepia, invert, ..Filters::default() };
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
