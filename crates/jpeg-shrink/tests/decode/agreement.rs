//! The decoder against its twin at every scale, and against zune-jpeg at full size.

use crate::{pictures, twin};
use jpeg_shrink::{Chroma, Decoder, Layout, Options, Refinement, Scale};

pub(crate) const SCALES: [Scale; 4] = [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full];

pub(crate) fn decode(bytes: &[u8], options: Options) -> (Vec<u8>, u32, u32, Layout) {
    let mut decoder = Decoder::new(bytes, options).unwrap();
    let mut pixels = vec![0; decoder.output_bytes()];
    let outcome = decoder.decode_into(&mut pixels).unwrap();
    assert_eq!((outcome.rows, outcome.fault), (decoder.height_px(), None));
    (pixels, decoder.width_px(), decoder.height_px(), decoder.layout())
}

/// Rounding happens in up to three places (samples, upsampling, colour with its factor of 1.772): at most 3, and rarely more than 1.
#[test]
fn every_manner_and_scale_agrees_with_the_twin() {
    let pictures = pictures::all();
    assert_eq!(pictures.len(), 8 * 6 * 4 + 6 + 6 + 4);
    for (name, bytes) in pictures {
        for scale in SCALES {
            let (got, width, height, layout) = decode(&bytes, Options::new(scale));
            let (want, twin_width, twin_height, channels) = twin::decode(&bytes, scale.eighths() as usize);
            assert_eq!((width as usize, height as usize, layout.channels()), (twin_width, twin_height, channels), "{name} {scale:?}");
            let (mut worst, mut sum) = (0f64, 0f64);
            for (got, want) in got.iter().zip(&want) {
                let error = (f64::from(*got) - want).abs();
                worst = worst.max(error);
                sum += error * error;
            }
            let mean = (sum / want.len() as f64).sqrt();
            assert!(worst <= 3.0 && mean <= 0.8, "{name} at {scale:?}: worst error {worst}, root mean square {mean}");
        }
    }
}

fn zune(bytes: &[u8]) -> (Vec<u8>, usize, usize) {
    use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
    let mut decoder =
        zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB));
    let pixels = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    (pixels, width, height)
}

/// zune-jpeg upsamples otherwise, so only pictures with full chroma are compared closely.
#[test]
fn full_size_agrees_with_zune() {
    let mut compared = 0;
    for (name, bytes) in pictures::all() {
        let close = name.contains("F_1_1") || name == "progressive-444";
        if !close {
            continue;
        }
        let (got, width, height, layout) = decode(&bytes, Options::new(Scale::Full));
        assert_eq!(layout, Layout::Rgb8);
        let (want, zune_width, zune_height) = zune(&bytes);
        assert_eq!((width as usize, height as usize), (zune_width, zune_height), "{name}");
        let worst = got.iter().zip(&want).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 4, "{name}: {worst}");
        compared += 1;
    }
    assert_eq!(compared, 27);
}

/// The small results are what a box filter makes of zune-jpeg's full ones, but for what it lets through that the transform does not.
#[test]
fn small_sizes_are_near_a_box_filter() {
    for (name, bytes) in pictures::FIXTURES {
        let (full, width, height) = zune(bytes);
        for (scale, least_db) in [(Scale::Eighth, 24.0), (Scale::Quarter, 24.0), (Scale::Half, 24.0)] {
            let (got, small_width, _, layout) = decode(bytes, Options::new(scale));
            let factor = 8 / scale.eighths() as usize;
            let channels = layout.channels();
            let (mut sum, mut count) = (0f64, 0f64);
            for y in 0..height / factor {
                for x in 0..width / factor {
                    for channel in 0..channels {
                        let mut total = 0f64;
                        for dy in 0..factor {
                            for dx in 0..factor {
                                let at = ((y * factor + dy) * width + x * factor + dx) * 3 + channel;
                                total += f64::from(full[at]);
                            }
                        }
                        let mean = total / (factor * factor) as f64;
                        let value = f64::from(got[(y * small_width as usize + x) * channels + channel]);
                        sum += (mean - value).powi(2);
                        count += 1.0;
                    }
                }
            }
            let decibels = 10.0 * (255.0 * 255.0 / (sum / count)).log10();
            assert!(decibels >= least_db, "{name} {scale:?}: {decibels:.1} dB");
        }
    }
}

#[test]
fn rows_come_in_any_portion() {
    for (name, bytes) in pictures::FIXTURES {
        for scale in SCALES {
            let (whole, ..) = decode(bytes, Options::new(scale));
            for portion in [1, 3, 1000] {
                let mut decoder = Decoder::new(bytes, Options::new(scale)).unwrap();
                let mut rows = Vec::new();
                let mut buffer = vec![0; decoder.row_bytes() * portion + 1];
                loop {
                    let count = decoder.read_rows(&mut buffer).unwrap();
                    if count == 0 {
                        break;
                    }
                    rows.extend_from_slice(&buffer[..count * decoder.row_bytes()]);
                }
                assert!(rows == whole, "{name} {scale:?} in portions of {portion}");
            }
            assert!(Decoder::new(bytes, Options::new(scale)).unwrap().read_rows(&mut [0; 1]).is_err());
        }
    }
}

/// Without refinements a picture is coarser, not another.
#[test]
fn refinements_may_be_left_out() {
    for (name, bytes) in pictures::FIXTURES {
        for scale in SCALES {
            let (fine, ..) = decode(bytes, Options::new(scale));
            let (coarse, ..) = decode(bytes, Options { refinement: Refinement::LeaveOut, ..Options::new(scale) });
            let sum: f64 = fine.iter().zip(&coarse).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
            let decibels = 10.0 * (255.0 * 255.0 / (sum / fine.len() as f64)).log10();
            assert!(decibels >= 26.0, "{name} {scale:?}: {decibels:.1} dB");
            assert!(scale == Scale::Eighth || fine != coarse, "{name} {scale:?}");
        }
    }
}

/// Without luma's lowest bit it is between the two, and chroma is whole.
#[test]
fn the_lowest_bit_of_luma_may_be_left_out() {
    let error = |fine: &[u8], other: &[u8]| fine.iter().zip(other).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>();
    let mut between = 0;
    for (name, bytes) in pictures::FIXTURES {
        for scale in [Scale::Half, Scale::Full] {
            let how = |refinement| decode(bytes, Options { refinement, ..Options::new(scale) }).0;
            let (fine, middle, coarse) = (how(Refinement::Read), how(Refinement::LeaveOutLowest), how(Refinement::LeaveOut));
            assert!(error(&fine, &middle) <= error(&fine, &coarse), "{name} {scale:?}");
            between += u32::from(fine != middle && middle != coarse);
        }
    }
    assert!(between >= 2, "{between}");
}

/// Small chroma is softer, not another; where it is stored as large as luma nothing changes, nor at full size.
#[test]
fn small_chroma_is_softer() {
    let mut softer = 0;
    for (name, bytes) in pictures::all() {
        for scale in SCALES {
            let (large, width, ..) = decode(&bytes, Options::new(scale));
            let (small, ..) = decode(&bytes, Options { chroma: Chroma::Small, ..Options::new(scale) });
            if large == small {
                continue;
            }
            softer += 1;
            assert!(scale != Scale::Full && !name.contains("F_1_1") && !name.contains("444") && !name.contains("grey"), "{name} {scale:?}");
            let sum: f64 = large.iter().zip(&small).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
            let decibels = 10.0 * (255.0 * 255.0 / (sum / large.len() as f64)).log10();
            // Chroma has waves of 20 pixels and checks of 16 in these pictures: at 1/8 that is its finest detail.
            assert!(width < 8 || decibels >= 16.0, "{name} {scale:?}: {decibels:.1} dB");
        }
    }
    assert!(softer > 100, "{softer}");
}
