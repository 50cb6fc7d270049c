//! The blur against the Gaussian as defined, at all its widths; edges, alpha, planes, tiny pictures.

use super::super::samples::{at, noise, picture, pictures};
use super::*;
use proptest::prelude::*;

fn blur(pixels: &mut Pixels, sigma_px: f32) {
    super::blur(pixels, sigma_px, Watch::NEVER).expect("nobody ends it");
}

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
    // Half of a step is rounding.
    for sigma in [0.3, 0.8, 1.5, 2.0, 2.9, 3.0, 3.1, 5.0, 9.0, 10.5, 30.0] {
        // Noise, an edge across, and what is furthest from what half of the samples can hold.
        let pixels = [
            noise(37, 29, Layout::Rgb8, 7),
            picture(37, 29, Layout::Rgb8, |x, y, channel| if x + channel as u32 * y < 21 { 0 } else { 255 }),
            picture(37, 29, Layout::Rgb8, |x, y, _| if y < 9 || (x + y) % 2 == 0 { 0 } else { 255 }),
        ];
        for (number, pixels) in pixels.iter().enumerate() {
            let difference = worst(pixels, sigma);
            assert!(difference <= 0.8, "sigma {sigma}, picture {number}: {difference}");
        }
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
        let mirrored = super::super::orient::orient(pixels.clone(), crate::probe::Orientation::Rotate180, Watch::NEVER).unwrap();
        assert!(super::super::samples::max_difference(&pixels, &mirrored) <= 1, "sigma {sigma}");
    }
}

/// Each plane is blurred as a grey picture is, chroma of half the sides by half as much.
#[test]
fn planes_are_blurred_each_by_itself() {
    for sigma in [2.0, 2.9, 3.0, 7.5, 40.0] {
        for (width, height, layout) in
            [(1, 1, Layout::Ycc444), (40, 31, Layout::Ycc444), (40, 31, Layout::Ycc420), (33, 70, Layout::Ycc420)]
        {
            let before = noise(width, height, layout, 5);
            let mut after = before.clone();
            blur(&mut after, sigma);
            for (index, (before, after)) in before.planes().zip(after.planes()).enumerate() {
                let mut grey = Pixels::new(before.width_px, before.height_px, Layout::Grey8, before.bytes.to_vec()).unwrap();
                blur(&mut grey, if layout == Layout::Ycc420 && index > 0 { sigma / 2.0 } else { sigma });
                assert!(after.bytes == grey.bytes, "sigma {sigma}, plane {index} of {width}x{height} {layout:?}");
            }
        }
    }
}

/// Where chroma has nothing finer than its samples hold, halving it first is nearly the same; beyond an edge one goes on with the mean of two samples,
/// the other with the last.
#[test]
fn halved_chroma_is_blurred_as_whole_chroma_is() {
    for sigma in [2.0, 3.0, 7.5, 40.0] {
        let mut whole = Pixels::blank(Shape { width_px: 64, height_px: 48, layout: Layout::Ycc444 }).unwrap();
        for index in 0..3 {
            for (at, sample) in (0..).zip(whole.plane_mut(index)) {
                let (x, y) = (f64::from(at % 64), f64::from(at / 64));
                *sample = (127.5 + 127.0 * (x / 5.0).sin() * (y / (4.0 + index as f64)).cos()) as u8;
            }
        }
        let mut half = super::super::samples::halve(&whole);
        blur(&mut half, sigma);
        blur(&mut whole, sigma);
        let difference = super::super::samples::max_difference(&half, &super::super::samples::halve(&whole));
        assert!(difference <= 5, "sigma {sigma}: {difference}");
    }
}

#[test]
fn what_is_held_is_told_for_every_width() {
    let shape = Shape { width_px: 1000, height_px: 700, layout: Layout::Rgb8 };
    // A level has a quarter of the pixels in words, the next a quarter of that.
    let (narrow, wide) = (scratch_bytes(shape, 2.9), scratch_bytes(shape, 100.0));
    assert!(narrow < 150_000 && wide > shape.bytes() / 2 && wide < shape.bytes(), "{narrow} {wide}");
    assert!(scratch_bytes(Shape { layout: Layout::Ycc420, ..shape }, 100.0) < wide / 2);
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
    for (width, height) in [(1, 1), (1, 300), (300, 1), (9, 2), (64, 64), (65, 63)] {
        for (layout, value) in [(Layout::Rgb8, 77), (Layout::Rgb8, 255), (Layout::Rgba8, 255), (Layout::Rgba8, 100), (Layout::Grey8, 1)] {
            for sigma in [1.0, 3.0, 9.0, 100.0] {
                let flat = picture(width, height, layout, |_, _, channel| if channel == 3 { 255 } else { value });
                let mut blurred = flat.clone();
                blur(&mut blurred, sigma);
                assert!(blurred == flat, "{width}x{height} {layout:?} of {value}, sigma {sigma}");
            }
        }
    }
}

#[test]
fn grey_is_blurred_as_its_colours_would_be() {
    for sigma in [0.7, 3.0, 12.0] {
        for (width, height) in [(1, 1), (40, 3), (33, 70)] {
            let mut grey = noise(width, height, Layout::Grey8, 11);
            let mut rgb = super::super::samples::to_rgb(&grey);
            blur(&mut grey, sigma);
            blur(&mut rgb, sigma);
            assert_eq!(super::super::samples::to_rgb(&grey), rgb, "sigma {sigma}, {width}x{height}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn is_the_same_with_vectors_and_without(pixels in pictures(90), sigma in 0.2_f32..=30.0) {
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
        let opaque = super::super::flatten::flatten(pixels, crate::spec::Rgb([0; 3]), Watch::NEVER).unwrap();
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
    fn alpha_weighted_kernel_agrees_with_the_slow_one(seed in any::<u64>(), sigma in 0.4_f32..=8.0) {
        let mut pixels = noise(11, 9, Layout::Rgba8, seed);
        // Colours of nearly transparent pixels are not defined to 8 bits, so alpha keeps above a quarter here.
        pixels.bytes.iter_mut().skip(3).step_by(4).for_each(|alpha| *alpha = 64 + *alpha / 4 * 3 / 2);
        let difference = worst(&pixels, sigma);
        prop_assert!(difference <= 1.1, "sigma {}: {}", sigma, difference);
    }
}
