//! Round corners: how much of each corner pixel a quarter circle covers, and what becomes of the rest.
//!
//! Coverage is exact along each of [`LINES`] lines through a pixel and their mean across, so edges are smooth.

use crate::{
    pixels::{Layout, Pixels},
    spec::Rgb,
};

/// Lines through a pixel.
const LINES: u32 = 8;

/// The largest radius that fits: half of the shorter side.
fn fitting(width_px: u32, height_px: u32, radius_px: f64) -> f64 {
    radius_px.min(f64::from(width_px.min(height_px)) / 2.0).max(0.0)
}

/// For each pixel of row `y` from the left on as far as the corner goes, how much of it the rounded box covers.
fn coverage(width: u32, height: u32, radius_px: f64, y: u32, covered: &mut Vec<f64>) {
    covered.clear();
    covered.resize(radius_px.ceil() as usize, 0.0);
    let (width, height) = (f64::from(width), f64::from(height));
    for line in 0..LINES {
        let at = f64::from(y) + (f64::from(line) + 0.5) / f64::from(LINES);
        let from_centre = (radius_px - at).max(at - (height - radius_px)).max(0.0);
        let start = radius_px - (radius_px * radius_px - from_centre * from_centre).max(0.0).sqrt();
        for (x, sum) in covered.iter_mut().enumerate() {
            let x = x as f64;
            *sum += ((x + 1.0).min(width - start) - x.max(start)).clamp(0.0, 1.0) / f64::from(LINES);
        }
    }
}

/// Calls `change` with each pixel of the four corners inside of a border that a circle of this radius does not cover whole, and what it covers, 0 to 255.
fn corners<const C: usize>(pixels: &mut Pixels, border_px: u32, radius_px: f64, change: impl Fn(&mut [u8; C], u8)) {
    // The sides inside of the border; a border is nowhere wider than half of what it is around.
    let (stride, border) = (pixels.width_px as usize, border_px as usize);
    let (width, height) = (stride - 2 * border, pixels.height_px as usize - 2 * border);
    let radius_px = fitting(width as u32, height as u32, radius_px);
    let (all, _) = pixels.bytes.as_chunks_mut::<C>();
    let mut covered = Vec::new();
    for y in 0..radius_px.ceil() as usize {
        coverage(width as u32, height as u32, radius_px, y as u32, &mut covered);
        let (top, bottom) = (y, height - 1 - y);
        for (x, share) in covered.iter().enumerate() {
            let share = (share * 255.0).round() as u8;
            if share == 255 {
                continue;
            }
            let (left, right) = (x, width - 1 - x);
            // Where a side is odd, its middle belongs to two corners: it is changed once.
            for (index, (x, y)) in [(left, top), (right, top), (left, bottom), (right, bottom)].into_iter().enumerate() {
                if (index % 2 == 0 || right > left) && (index < 2 || bottom > top) {
                    change(&mut all[(border + y) * stride + border + x], share);
                }
            }
        }
    }
}

/// Cuts the corners off a picture with alpha; a radius that is too large is as large as fits.
pub(crate) fn round(pixels: &mut Pixels, radius_px: f64) {
    debug_assert_eq!(pixels.layout, Layout::Rgba8);
    corners::<4>(pixels, 0, radius_px, |pixel, share| {
        pixel[3] = super::mix(pixel[3], 0, share);
        if pixel[3] == 0 {
            *pixel = [0; 4];
        }
    });
}

/// Makes the inside of a border's line round where its outside will be: what is left of the radius there.
pub(crate) fn fill_inner_corners(pixels: &mut Pixels, border_px: u32, radius_px: u32, colour: Rgb) {
    let inner_px = inner_radius(pixels.width_px, pixels.height_px, radius_px, border_px);
    fill_corners(pixels, border_px, inner_px, colour);
}

/// Puts `colour` into the corners of what lies inside of a border of red, green, blue and perhaps alpha.
fn fill_corners(pixels: &mut Pixels, border_px: u32, radius_px: f64, Rgb(colour): Rgb) {
    match pixels.layout {
        Layout::Rgba8 => corners::<4>(pixels, border_px, radius_px, |pixel, share| {
            // The picture's part weighs with its alpha, the colour's is opaque.
            let (part, rest) = (u32::from(pixel[3]) * u32::from(share), 255 * (255 - u32::from(share)));
            let sum = part + rest;
            for (value, colour) in pixel.iter_mut().zip(colour) {
                *value = ((u32::from(*value) * part + u32::from(colour) * rest + sum / 2).checked_div(sum).unwrap_or(0)) as u8;
            }
            pixel[3] = ((sum + 127) / 255) as u8;
        }),
        _ => corners::<3>(pixels, border_px, radius_px, |pixel, share| {
            for (value, colour) in pixel.iter_mut().zip(colour) {
                *value = super::mix(*value, colour, share);
            }
        }),
    }
}

/// The radius that is left inside of a border, of a picture that has these sides with it.
fn inner_radius(width_px: u32, height_px: u32, radius_px: u32, border_px: u32) -> f64 {
    (fitting(width_px, height_px, f64::from(radius_px)) - f64::from(border_px)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, picture};
    use super::*;
    use proptest::prelude::*;

    /// The slow twin: points of a fine grid, inside or outside of the rounded box.
    fn slow(width: u32, height: u32, radius: f64, x: u32, y: u32) -> f64 {
        const GRID: u32 = 32;
        let radius = fitting(width, height, radius);
        let inside = |x: f64, y: f64| {
            let gap = |at: f64, side: f64| (radius - at).max(at - (side - radius)).max(0.0);
            gap(x, f64::from(width)).hypot(gap(y, f64::from(height))) <= radius
        };
        let step = |at: u32, part: u32| f64::from(at) + (f64::from(part) + 0.5) / f64::from(GRID);
        let hits = (0..GRID * GRID).filter(|part| inside(step(x, part % GRID), step(y, part / GRID))).count();
        hits as f64 / f64::from(GRID * GRID)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn covers_what_a_fine_grid_says(width in 1_u32..24, height in 1_u32..24, radius in 0_u32..16) {
            let mut pixels = picture(width, height, Layout::Rgba8, |_, _, _| 255);
            round(&mut pixels, f64::from(radius));
            let mut filled = picture(width, height, Layout::Rgb8, |_, _, _| 255);
            fill_corners(&mut filled, 0, f64::from(radius), Rgb([0; 3]));
            for y in 0..height {
                for x in 0..width {
                    let share = slow(width, height, f64::from(radius), x, y);
                    let got = f64::from(at(&pixels, x, y)[3]) / 255.0;
                    prop_assert!((got - share).abs() < 0.04, "{}x{} r {} at {},{}: {} {}", width, height, radius, x, y, got, share);
                    prop_assert_eq!(at(&filled, x, y)[0], at(&pixels, x, y)[3]);
                }
            }
        }
    }

    #[test]
    fn borders_are_mixed_by_alpha() {
        let mut clear = picture(9, 9, Layout::Rgba8, |_, _, channel| if channel == 3 { 0 } else { 200 });
        fill_corners(&mut clear, 0, 4.0, Rgb([10, 20, 30]));
        assert_eq!(at(&clear, 0, 0), [10, 20, 30, 255]);
        assert_eq!(at(&clear, 4, 4), [200, 200, 200, 0]);
        assert_eq!(inner_radius(20, 10, 100, 2), 3.0);
        assert_eq!(inner_radius(20, 10, 1, 2), 0.0);
    }
}
