//! Gaussian blur, down the columns and along the rows; edges go on with their last pixel.
//!
//! Up to a standard deviation of 10 px the kernel itself is summed, over whole rows ([`kernel`]). Above, where it would cost more, three
//! extended box filters take its place, whose cost does not grow with sigma and whose variance is exactly that of the kernel (Gwosdek,
//! Grewenig, Bruhn, Weickert: Theoretical Foundations of Gaussian Convolution by Extended Box Filtering, 2011). Colours are weighted with
//! their alpha, so transparent ones do not bleed.
//!
//! For boxes both directions are the same work on a strip of neighbouring lines, laid out so that the lanes are adjacent in memory.

mod kernel;

use crate::{
    pixels::{Layout, Pixels},
    simd,
};

/// Largest standard deviation for which the kernel is summed itself.
const EXACT_SIGMA: f32 = 10.0;
/// Box filters in a row.
const PASSES: usize = 3;
/// Lines of a strip: of colours, and of grey.
const LINES: usize = 8;
const GREY_LINES: usize = 32;
/// Values are kept with 8 fraction bits between the passes, as whole numbers: sums of up to 256 of them are exact in an f32.
const SCALE: f32 = 256.0;

/// Blurs with standard deviation `sigma_px`, 0 to 100; alpha is blurred too. 0 does nothing.
pub(crate) fn blur(pixels: &mut Pixels, sigma_px: f32) {
    // Below, the first neighbour weighs less than half of an 8-bit step.
    if sigma_px.is_nan() || sigma_px < 0.2 {
        return;
    }
    if sigma_px <= EXACT_SIGMA {
        return kernel::blur(pixels, &kernel::Weights::of(sigma_px));
    }
    let boxes = Boxes::of(sigma_px);
    match pixels.layout {
        Layout::Rgba8 => simd::run(Strips::<4, { 4 * LINES }> { pixels, boxes }),
        Layout::Grey8 => simd::run(Strips::<1, GREY_LINES> { pixels, boxes }),
        // Planes of luma and chroma are made red, green and blue before.
        _ => simd::run(Strips::<3, { 3 * LINES }> { pixels, boxes }),
    }
}

/// Most bytes [`blur`] holds beside the picture.
pub(crate) fn scratch_bytes(layout: Layout, width_px: u32, height_px: u32) -> u64 {
    let lanes = if layout == Layout::Grey8 { GREY_LINES } else { layout.channels() * LINES };
    let strips = 2 * (u64::from(width_px.max(height_px)) + 2 * MAX_MARGIN) * (lanes * size_of::<f32>()) as u64;
    strips.max(kernel::scratch_bytes(EXACT_SIGMA, width_px as usize * layout.channels()))
}

/// What boxes of sigma 100 reach beyond the picture, in pixels: three times a radius of 99 and the partial pixel.
const MAX_MARGIN: u64 = 300;

/// A box of `2 * radius + 1` whole pixels and a share `edge` of one more on both ends.
#[derive(Clone, Copy)]
struct Boxes {
    radius: usize,
    edge: f32,
}

impl Boxes {
    fn of(sigma_px: f32) -> Self {
        // Gwosdek et al., equations 13 to 15, with the variance shared among the passes.
        let variance = sigma_px * sigma_px / PASSES as f32;
        let radius = (0.5 * (12.0 * variance + 1.0).sqrt() - 0.5).floor();
        let edge = (2.0 * radius + 1.0) * (radius * (radius + 1.0) - 3.0 * variance) / (6.0 * (variance - (radius + 1.0) * (radius + 1.0)));
        Self { radius: radius as usize, edge }
    }

    /// Pixels to be added on both ends of a line: each box must see the picture's edge go on unblurred, or the edge would be blurred
    /// differently from what lies within.
    fn margin(self) -> usize {
        PASSES * (self.radius + 1)
    }

    /// Filters the lines of a strip; the result is in the first buffer.
    #[inline(always)]
    fn run<const L: usize>(self, strip: &mut Vec<[f32; L]>, spare: &mut Vec<[f32; L]>) {
        for _ in 0..PASSES {
            box_pass(strip, spare, self.radius, self.edge);
            std::mem::swap(strip, spare);
        }
    }
}

/// The nearest whole number of a value below 2^22: adding 1.5 * 2^23 leaves no room for a fraction.
#[inline(always)]
fn whole(value: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    (value + MAGIC) - MAGIC
}

#[inline(always)]
fn box_pass<const L: usize>(from: &[[f32; L]], to: &mut [[f32; L]], radius: usize, edge: f32) {
    let last = from.len() - 1;
    let share = 1.0 / (2.0 * radius as f32 + 1.0 + 2.0 * edge);
    // Whole numbers below 2^24 throughout, so the running sum never drifts.
    let mut sum = [0.0_f32; L];
    for at in 0..=2 * radius {
        let line = &from[at.saturating_sub(radius).min(last)];
        for lane in 0..L {
            sum[lane] += line[lane];
        }
    }
    for (at, out) in to.iter_mut().enumerate() {
        let (before, leaving) = (&from[at.saturating_sub(radius + 1)], &from[at.saturating_sub(radius)]);
        let entering = &from[(at + radius + 1).min(last)];
        for lane in 0..L {
            out[lane] = whole((sum[lane] + edge * (before[lane] + entering[lane])) * share);
            sum[lane] += entering[lane] - leaving[lane];
        }
    }
}

struct Strips<'b, const C: usize, const L: usize> {
    pixels: &'b mut Pixels,
    boxes: Boxes,
}

impl<const C: usize, const L: usize> simd::Work for Strips<'_, C, L> {
    #[inline(always)]
    fn run(self, _: Option<simd::Avx2>) {
        let Self { pixels, boxes } = self;
        let across = L / C;
        let (width, height) = (pixels.width_px as usize, pixels.height_px as usize);
        let (all, _) = pixels.bytes.as_chunks_mut::<C>();
        let margin = boxes.margin();
        let mut strip = vec![[0.0; L]; height + 2 * margin];
        let mut spare = strip.clone();
        for left in (0..width).step_by(across) {
            let lines = across.min(width - left);
            for (row, line) in all.chunks_exact(width).zip(&mut strip[margin..]) {
                for (pixel, lane) in row[left..left + lines].iter().zip(line.as_chunks_mut::<C>().0) {
                    *lane = load(*pixel);
                }
            }
            extend_ends(&mut strip, margin);
            boxes.run(&mut strip, &mut spare);
            for (row, line) in all.chunks_exact_mut(width).zip(&strip[margin..]) {
                for (pixel, lane) in row[left..left + lines].iter_mut().zip(line.as_chunks::<C>().0) {
                    *pixel = store(*lane);
                }
            }
        }
        strip.resize(width + 2 * margin, [0.0; L]);
        spare.resize(width + 2 * margin, [0.0; L]);
        for rows in all.chunks_mut(width * across) {
            for (place, row) in rows.chunks_exact(width).enumerate() {
                for (pixel, line) in row.iter().zip(&mut strip[margin..]) {
                    line.as_chunks_mut::<C>().0[place] = load(*pixel);
                }
            }
            extend_ends(&mut strip, margin);
            boxes.run(&mut strip, &mut spare);
            for (place, row) in rows.chunks_exact_mut(width).enumerate() {
                for (pixel, line) in row.iter_mut().zip(&strip[margin..]) {
                    *pixel = store(line.as_chunks::<C>().0[place]);
                }
            }
        }
    }
}

/// Fills the margins with the first and the last pixel of the picture.
#[inline(always)]
fn extend_ends<const L: usize>(strip: &mut [[f32; L]], margin: usize) {
    let end = strip.len() - margin;
    let (first, last) = (strip[margin], strip[end - 1]);
    strip[..margin].fill(first);
    strip[end..].fill(last);
}

/// Bytes to scaled whole numbers; colours weighted with alpha, which is the fourth of four.
#[inline(always)]
fn load<const C: usize>(pixel: [u8; C]) -> [f32; C] {
    if C == 4 {
        let opacity = f32::from(pixel[3]) * (SCALE / 255.0);
        std::array::from_fn(|channel| {
            let value = f32::from(pixel[channel]);
            if channel == 3 { value * SCALE } else { whole(value * opacity) }
        })
    } else {
        pixel.map(|value| f32::from(value) * SCALE)
    }
}

#[inline(always)]
fn store<const C: usize>(lanes: [f32; C]) -> [u8; C] {
    // A cast of a float to u8 saturates, and half is added for the nearest.
    if C == 4 {
        let unweight = if lanes[3] > 0.0 { 255.0 / lanes[3] } else { 0.0 };
        std::array::from_fn(|channel| {
            let value = if channel == 3 { lanes[3] / SCALE } else { lanes[channel] * unweight };
            (value + 0.5) as u8
        })
    } else {
        lanes.map(|value| (value / SCALE + 0.5) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, noise, picture, pictures};
    use super::*;
    use proptest::prelude::*;

    /// The slow twin: the Gaussian as defined, in doubles, four sigmas wide; colours weighted with alpha.
    fn slow(pixels: &Pixels, sigma: f64) -> Vec<f64> {
        let reach = (4.0 * sigma).ceil() as i64;
        let weight = |distance: i64| (-((distance * distance) as f64) / (2.0 * sigma * sigma)).exp();
        let (width, height) = (i64::from(pixels.width_px), i64::from(pixels.height_px));
        let channels = pixels.layout.channels();
        let mut out = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let mut sums = [0.0; 4];
                let (mut opacity, mut total) = (0.0, 0.0);
                for dy in -reach..=reach {
                    for dx in -reach..=reach {
                        let pixel = at(pixels, (x + dx).clamp(0, width - 1) as u32, (y + dy).clamp(0, height - 1) as u32);
                        let weight = weight(dx) * weight(dy);
                        let alpha = pixel.get(3).map_or(1.0, |alpha| f64::from(*alpha) / 255.0);
                        total += weight;
                        opacity += weight * alpha;
                        for channel in 0..3 {
                            sums[channel] += weight * alpha * f64::from(pixel[channel]);
                        }
                    }
                }
                out.extend((0..3).map(|channel| if opacity > 0.0 { sums[channel] / opacity } else { 0.0 }));
                if channels == 4 {
                    out.push(opacity / total * 255.0);
                }
            }
        }
        out
    }

    fn worst(pixels: &Pixels, sigma: f32) -> f64 {
        let mut fast = pixels.clone();
        blur(&mut fast, sigma);
        fast.bytes.iter().zip(slow(pixels, f64::from(sigma))).map(|(fast, slow)| (f64::from(*fast) - slow).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn agrees_with_the_slow_convolution() {
        // Noise is the hardest case: every weight matters. Half of a step is rounding; box filters differ from the Gaussian by a few hundredths of their weight.
        for (sigma, allowed) in [(0.3, 1.1), (0.8, 1.1), (1.5, 1.1), (2.0, 1.1), (3.0, 1.1), (5.0, 1.1), (9.0, 1.1), (10.5, 4.0)] {
            let difference = worst(&noise(37, 29, Layout::Rgb8, 7), sigma);
            assert!(difference <= allowed, "sigma {sigma}: {difference}");
        }
    }

    #[test]
    fn an_impulse_keeps_its_energy_and_its_place() {
        for sigma in [0.5, 1.0, 2.0, 2.5, 4.0, 10.5] {
            let mut pixels = picture(101, 101, Layout::Rgb8, |x, y, _| if x.abs_diff(50) <= 20 && y.abs_diff(50) <= 20 { 240 } else { 0 });
            let before: u64 = pixels.bytes.iter().map(|byte| u64::from(*byte)).sum();
            blur(&mut pixels, sigma);
            let after: u64 = pixels.bytes.iter().map(|byte| u64::from(*byte)).sum();
            let change = (after as f64 - before as f64).abs() / before as f64;
            assert!(change < 0.005, "sigma {sigma}: {change}");
            let mirrored = super::super::orient::orient(pixels.clone(), crate::probe::Orientation::Rotate180);
            assert!(super::super::samples::max_difference(&pixels, &mirrored) <= 1, "sigma {sigma}");
        }
    }

    #[test]
    fn the_boxes_have_the_variance_of_the_kernel() {
        for sigma in [2.1_f32, 3.3, 10.1, 50.0, 100.0] {
            let Boxes { radius, edge } = Boxes::of(sigma);
            assert!((0.0..1.0).contains(&edge), "{edge}");
            let (radius, edge) = (radius as f64, f64::from(edge));
            let squares: f64 = (1..=radius as i64).map(|at| (at * at) as f64).sum::<f64>() + edge * (radius + 1.0) * (radius + 1.0);
            let variance = 3.0 * 2.0 * squares / (2.0 * radius + 1.0 + 2.0 * edge);
            assert!((variance.sqrt() - f64::from(sigma)).abs() < 0.01 * f64::from(sigma), "{sigma}: {}", variance.sqrt());
            // Sums stay exact: the widest box times the largest value is below 2^24.
            assert!(PASSES as f64 * (radius + 1.0) <= MAX_MARGIN as f64);
            assert!((2.0 * radius + 3.0) * 255.0 * 256.0 < 16_777_216.0);
        }
    }

    #[test]
    fn transparent_colour_does_not_bleed() {
        let mut pixels = picture(40, 20, Layout::Rgba8, |x, _, channel| match (channel, x < 20) {
            (0, true) | (3, true) | (1, false) => 255,
            _ => 0,
        });
        blur(&mut pixels, 3.0);
        for pixel in pixels.bytes.chunks(4).filter(|pixel| pixel[3] > 2) {
            assert!(pixel[0] >= 254 && pixel[1] <= 1, "{pixel:?}");
        }
    }

    #[test]
    fn tiny_pictures_and_no_sigma() {
        for sigma in [0.0, 0.1, f32::NAN] {
            let before = noise(6, 6, Layout::Rgba8, 3);
            let mut after = before.clone();
            blur(&mut after, sigma);
            assert_eq!(before, after);
        }
        for (width, height) in [(1, 1), (1, 300), (300, 1), (9, 2)] {
            let mut flat = picture(width, height, Layout::Rgb8, |_, _, _| 77);
            blur(&mut flat, 100.0);
            assert!(flat.bytes.iter().all(|byte| *byte == 77));
        }
    }

    #[test]
    fn grey_is_blurred_as_its_colours_would_be() {
        for sigma in [0.7, 3.0, 12.0] {
            for (width, height) in [(1, 1), (40, 3), (33, 70)] {
                let mut grey = noise(width, height, Layout::Grey8, 11);
                let mut rgb = super::super::chroma::to_rgb(&grey);
                blur(&mut grey, sigma);
                blur(&mut rgb, sigma);
                assert_eq!(super::super::chroma::to_rgb(&grey), rgb, "sigma {sigma}, {width}x{height}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn is_the_same_with_vectors_and_without(pixels in pictures(90), sigma in 0.2_f32..=12.0) {
            if simd::detect().is_none() {
                eprintln!("SKIPPED: this processor has no AVX2, there is one way only");
                return Ok(());
            }
            let (mut fast, mut plain) = (pixels.clone(), pixels);
            blur(&mut fast, sigma);
            simd::PLAIN.set(true);
            blur(&mut plain, sigma);
            simd::PLAIN.set(false);
            prop_assert!(fast == plain);
        }

        #[test]
        fn stays_within_the_range_of_the_picture(pixels in pictures(20), sigma in 0.0_f32..=20.0) {
            let opaque = super::super::flatten::flatten(pixels, crate::spec::Rgb([0; 3]));
            let mut blurred = opaque.clone();
            blur(&mut blurred, sigma);
            for channel in 0..3 {
                let range = |pixels: &Pixels| {
                    let values = || pixels.bytes.iter().skip(channel).step_by(3).copied();
                    (values().min().unwrap_or(0), values().max().unwrap_or(0))
                };
                let (before, after) = (range(&opaque), range(&blurred));
                prop_assert!(after.0 >= before.0 && after.1 <= before.1, "{:?} {:?}", before, after);
            }
        }

        #[test]
        fn alpha_weighted_kernel_agrees_with_the_slow_one(seed in any::<u64>(), sigma in 0.4_f32..=2.0) {
            let mut pixels = noise(11, 9, Layout::Rgba8, seed);
            // Colours of nearly transparent pixels are not defined to 8 bits, so alpha keeps above a quarter here.
            pixels.bytes.iter_mut().skip(3).step_by(4).for_each(|alpha| *alpha = 64 + *alpha / 4 * 3 / 2);
            let difference = worst(&pixels, sigma);
            prop_assert!(difference <= 2.6, "sigma {}: {}", sigma, difference);
        }
    }
}
