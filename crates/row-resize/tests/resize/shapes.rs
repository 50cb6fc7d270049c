//! Extreme shapes, and jobs that are refused.

use crate::twin::*;
use row_resize::{Error, Filter, Job, Pixel, Region, Resizer, working_bytes};

#[test]
fn extreme_shapes_work() {
    let shapes = [
        ((1, 65_535), (1, 3)),
        ((65_535, 1), (3, 1)),
        ((65_535, 1), (1, 1)),
        ((1, 1), (100, 100)),
        ((1, 65_535), (1, 65_535)),
        ((65_535, 2), (65_535, 3)),
        ((2, 3), (200, 300)),
        ((1000, 1000), (1, 1)),
        ((7, 7), (700, 1)),
    ];
    for pixel in PIXELS {
        for filter in FILTERS {
            for light in LIGHTS {
                for (source_px, target_px) in shapes {
                    let job = Job { filter, light, ..job(source_px, target_px, pixel) };
                    let source = picture(&job, |_, _, channel| [10, 128, 250, 255][channel]);
                    let channels = pixel.channels();
                    let target = result(&job, &source);
                    assert!(target.chunks(channels).all(|pixel| *pixel == [10, 128, 250, 255][..channels]), "{job:?}");
                }
            }
        }
    }
}

#[test]
fn regions_smaller_than_a_pixel_work() {
    let source_px = (4, 4);
    for filter in FILTERS {
        let region = Region { left_px: 2.3, top_px: 1.4, width_px: 0.1, height_px: 0.2 };
        let job = Job { filter, region, ..job(source_px, (50, 50), Pixel::Grey8) };
        let source = noise(16, 1);
        assert!(result(&job, &source).iter().all(|byte| *byte == source[6]), "{filter:?}");
    }
}

#[test]
fn impossible_jobs_are_refused() {
    let good = job((10, 10), (5, 5), Pixel::Rgb8);
    let refused = |job: Job| Resizer::new(&job).err();
    assert_eq!(refused(good), None);
    assert_eq!(refused(Job { source_px: (0, 10), ..good }), Some(Error::EmptySide));
    assert_eq!(refused(Job { target_px: (5, 0), ..good }), Some(Error::EmptySide));
    for (left_px, width_px) in
        [(0.0, 0.0), (0.0, 10.1), (5.0, 6.0), (-0.1, 5.0), (f64::NAN, 5.0), (0.0, f64::INFINITY), (0.0, f64::NAN), (10.0, 1.0)]
    {
        let region = Region { left_px, top_px: 0.0, width_px, height_px: 10.0 };
        assert_eq!(refused(Job { region, ..good }), Some(Error::Region), "{left_px} {width_px}");
        let region = Region { left_px: 0.0, top_px: left_px, width_px: 10.0, height_px: width_px };
        assert_eq!(refused(Job { region, ..good }), Some(Error::Region), "{left_px} {width_px}");
    }
    let huge = Job { target_px: (u32::MAX, u32::MAX), filter: Filter::Nearest, ..good };
    assert_eq!(refused(huge), Some(Error::TooLarge));
    assert_eq!(working_bytes(&Job { source_px: (0, 1), ..good }), 0);
    // Noise of arithmetic is not a fault.
    let region = Region { left_px: 0.3, top_px: 0.0, width_px: 9.700_000_000_01, height_px: 10.0 };
    assert_eq!(refused(Job { region, ..good }), None);
}
