//! The result is what the definition says, to within rounding.

use crate::twin::*;
use proptest::prelude::*;
use row_resize::{Filter, Job, Light, Pixel, Region};

const SIDES: [(u32, u32); 8] = [(20, 15), (7, 40), (61, 10), (100, 90), (1, 1), (61, 47), (3, 400), (700, 2)];

/// Levels: half a one is the last rounding's. Light's steps are coarse where it is dark.
fn allowed(light: Light) -> f64 {
    match light {
        Light::Encoded => 0.65,
        Light::Linear => 1.0,
    }
}

#[test]
fn agrees_with_the_definition_of_every_filter() {
    let mut compared = 0;
    for pixel in PIXELS {
        for filter in FILTERS {
            for light in LIGHTS {
                for target_px in SIDES {
                    let whole = Region::whole((61, 47));
                    for region in [whole, Region { left_px: 10.25, top_px: 3.5, width_px: 40.5, height_px: 30.0 }] {
                        let job = Job { source_px: (61, 47), region, target_px, pixel, filter, light };
                        // Noise, so that every weight counts. Colours are held to less where little of them is seen: half a level of
                        // error in the alpha of a hardly visible pixel is many of its colour.
                        let source = noise(source_bytes(&job), 7);
                        let farthest = farthest(&job, &source, 64.0);
                        assert!(farthest <= allowed(light), "{job:?}: {farthest}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(compared, 3 * 4 * 2 * 8 * 2);
}

#[test]
fn agrees_at_great_ratios() {
    for (source_px, target_px) in [((5000, 3), (5, 3)), ((3, 5000), (2, 5)), ((1200, 900), (2, 1)), ((3, 2), (300, 200))] {
        for pixel in PIXELS {
            for light in LIGHTS {
                let job = Job { light, ..job(source_px, target_px, pixel) };
                let farthest = farthest(&job, &noise(source_bytes(&job), 3), 40.0);
                assert!(farthest <= 1.0, "{job:?}: {farthest}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_anywhere((job, seed) in jobs(40)) {
        let farthest = farthest(&job, &noise(source_bytes(&job), seed), 64.0);
        prop_assert!(farthest <= allowed(job.light), "{}", farthest);
    }

    #[test]
    fn flat_colour_stays((job, seed) in jobs(90)) {
        let colour = noise(4, seed);
        let alpha = colour[3].max(1);
        let colour = [colour[0], colour[1], colour[2], alpha];
        let source = picture(&job, |_, _, channel| colour[channel]);
        for pixel in result(&job, &source).chunks(job.pixel.channels()) {
            if alpha >= 64 || job.filter == Filter::Nearest {
                prop_assert_eq!(pixel, &colour[..job.pixel.channels()]);
            } else {
                // Alpha is exact all the same; colours of what is hardly seen are as near as their weighting allows.
                prop_assert!(pixel.get(3).is_none_or(|a| *a == alpha));
            }
        }
    }
}

#[test]
fn whole_pixels_of_the_same_size_are_copied() {
    for pixel in PIXELS {
        for filter in FILTERS {
            for light in LIGHTS {
                let region = Region { left_px: 2.0, top_px: 1.0, width_px: 4.0, height_px: 5.0 };
                let job = Job { source_px: (9, 7), region, target_px: (4, 5), pixel, filter, light };
                let source = noise(source_bytes(&job), 2);
                let channels = pixel.channels();
                let cut: Vec<u8> =
                    source.chunks(9 * channels).skip(1).take(5).flat_map(|row| &row[2 * channels..6 * channels]).copied().collect();
                assert_eq!(result(&job, &source), cut, "{job:?}");
            }
        }
    }
}

#[test]
fn outside_of_the_region_plays_no_part() {
    for light in LIGHTS {
        for filter in FILTERS {
            let region = Region { left_px: 10.0, top_px: 10.0, width_px: 20.0, height_px: 20.0 };
            let job = Job { source_px: (40, 40), region, target_px: (5, 10), pixel: Pixel::Rgb8, filter, light };
            let inside = |at: u32| (10..30).contains(&at);
            let source = picture(&job, |x, y, _| if inside(x) && inside(y) { 200 } else { 0 });
            assert!(result(&job, &source).iter().all(|byte| *byte == 200), "{job:?}");
        }
    }
}

#[test]
fn one_direction_alone_may_keep_its_size() {
    let job = Job { light: Light::Encoded, ..job((50, 30), (20, 30), Pixel::Rgb8) };
    assert!(farthest(&job, &noise(source_bytes(&job), 5), 0.0) <= 0.6);
}
