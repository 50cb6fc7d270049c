//! What is weighted: light where it is asked for, colours by their alpha.

use crate::twin::*;
use row_resize::{Filter, Job, Light, Pixel};

#[test]
fn a_chequerboard_keeps_its_light() {
    for (light, grey) in [(Light::Linear, 188), (Light::Encoded, 128)] {
        for pixel in [Pixel::Grey8, Pixel::Rgb8] {
            let job = Job { filter: Filter::Triangle, light, ..job((64, 64), (8, 8), pixel) };
            let source = picture(&job, |x, y, _| if (x + y) % 2 == 0 { 255 } else { 0 });
            // At the edges weights are not symmetric.
            let inner = result(&job, &source)[(8 * 3 + 3) * pixel.channels()];
            assert!(inner == grey || (light == Light::Encoded && inner == 127), "{pixel:?}: {inner}");
        }
    }
}

#[test]
fn every_level_survives_light_and_back() {
    // Twice as high: one direction is not copied.
    let job = Job { light: Light::Linear, ..job((256, 1), (256, 2), Pixel::Grey8) };
    let source: Vec<u8> = (0..=255).collect();
    assert_eq!(result(&job, &source), [&source[..], &source[..]].concat());
}

#[test]
fn transparent_colour_leaves_no_halo() {
    for light in LIGHTS {
        for filter in FILTERS {
            // Opaque red beside fully transparent green: no result pixel that is seen may be greenish.
            let job = Job { filter, light, ..job((64, 64), (16, 16), Pixel::Rgba8) };
            let source = picture(&job, |x, _, channel| match (channel, x < 30) {
                (0, true) | (3, true) => 255,
                (1, false) => 255,
                _ => 0,
            });
            for (at, pixel) in result(&job, &source).chunks(4).enumerate() {
                assert!(pixel[3] == 0 || (pixel[0] >= 254 && pixel[1] <= 1), "{filter:?} {light:?} {at}: {pixel:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_seen_has_no_colour() {
    let job = job((40, 40), (11, 13), Pixel::Rgba8);
    let source = picture(&job, |_, _, channel| [200, 100, 50, 0][channel]);
    assert!(result(&job, &source).iter().all(|byte| *byte == 0));
}

#[test]
fn opaque_pictures_are_the_same_with_alpha_and_without() {
    for light in LIGHTS {
        for target_px in [(20, 31), (150, 120), (7, 50)] {
            let with = Job { light, ..job((83, 61), target_px, Pixel::Rgba8) };
            let without = Job { pixel: Pixel::Rgb8, ..with };
            let colours = noise(source_bytes(&without), 9);
            let source: Vec<u8> = colours.chunks(3).flat_map(|colour| [colour[0], colour[1], colour[2], 255]).collect();
            let with = result(&with, &source);
            assert!(with.chunks(4).all(|pixel| pixel[3] == 255));
            let worst = with.chunks(4).flat_map(|pixel| &pixel[..3]).zip(result(&without, &colours)).map(|(a, b)| a.abs_diff(b)).max();
            // Weights of RGB may have more bits.
            assert!(worst <= Some(1), "{light:?} {target_px:?}: {worst:?}");
        }
    }
}

#[test]
fn alpha_that_begins_late_changes_only_what_it_touches() {
    let job = job((90, 200), (40, 80), Pixel::Rgba8);
    let mut source = noise(source_bytes(&job), 4);
    source.chunks_mut(4).for_each(|pixel| pixel[3] = 255);
    let opaque = result(&job, &source);
    // One pixel of row 130.
    source[(130 * 90 + 45) * 4 + 3] = 10;
    let touched = result(&job, &source);
    let row_bytes = 40 * 4;
    let rows: Vec<usize> =
        opaque.chunks(row_bytes).zip(touched.chunks(row_bytes)).enumerate().filter(|(_, (a, b))| a != b).map(|(row, _)| row).collect();
    // Row 130 lies in result row 52; Lanczos reaches three rows either way.
    assert!(rows.contains(&52) && rows.iter().all(|row| (49..=55).contains(row)), "{rows:?}");
}
