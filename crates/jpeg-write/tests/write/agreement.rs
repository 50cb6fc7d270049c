//! Two decoders read what is written, alike, and it looks like its source; progressive files hold the same coefficients.

use crate::fixture::{KINDS, Kind, channel, decoded, decoded_by_zune, halved, plane, psnr, rgb, written, ycbcr};
use jpeg_write::{Options, Picture, Plane, Sampling, Segment};
use proptest::prelude::*;

const SIDES: [(u32, u32); 9] = [(1, 1), (7, 9), (8, 8), (16, 16), (17, 33), (24, 40), (64, 15), (100, 75), (203, 117)];
const QUALITIES: [u8; 5] = [1, 50, 80, 95, 100];

/// Least PSNR at a quality, of photos.
fn floor(quality: u8) -> f64 {
    match quality {
        1 => 17.0,
        50 => 30.0,
        80 => 32.0,
        95 => 37.0,
        _ => 44.0,
    }
}

/// Both decoders' pixels, which must be near: their colour and upsampling round differently.
fn both(jpeg: &[u8], what: &str) -> Vec<u8> {
    let (ours, theirs) = (decoded(jpeg), decoded_by_zune(jpeg));
    let likeness = psnr(&ours, &theirs);
    assert!(likeness > 38.0, "{what}: decoders are {likeness:.1} dB apart");
    ours
}

#[test]
fn every_kind_of_picture_is_read_by_two_decoders() {
    let mut files = 0;
    for ((width_px, height_px), kind) in SIDES.iter().flat_map(|sides| KINDS.map(|kind| (*sides, kind))) {
        let bytes = rgb(kind, width_px, height_px);
        let grey = channel(&bytes, 1);
        let planes = ycbcr(&bytes);
        let small = [halved(&planes[1], width_px, height_px), halved(&planes[2], width_px, height_px)];
        let rgba: Vec<u8> = bytes.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 77]).collect();
        let luma = plane(&planes[0], width_px, height_px);
        let (half_width, half_height) = (width_px.div_ceil(2), height_px.div_ceil(2));
        let full = |index: usize| plane(&planes[index], width_px, height_px);
        let half = |index: usize| plane(&small[index], half_width, half_height);
        let pictures = [
            ("grey", Picture::Grey(plane(&grey, width_px, height_px))),
            ("full planes", Picture::YCbCr { luma, blue: full(1), red: full(2) }),
            ("half planes", Picture::YCbCr { luma, blue: half(0), red: half(1) }),
            ("rgb", Picture::Rgb { bytes: &bytes, width_px, height_px }),
            ("rgba", Picture::Rgba { bytes: &rgba, width_px, height_px }),
        ];
        for (quality, (name, picture)) in QUALITIES.iter().flat_map(|quality| pictures.iter().map(move |picture| (*quality, picture))) {
            for sampling in [Sampling::Half, Sampling::Full] {
                let what = format!("{name} {kind:?} {width_px}x{height_px} quality {quality} {sampling:?}");
                let options = Options { sampling, ..Options::new(quality) };
                let baseline = written(picture, &options);
                assert!(baseline == written(picture, &options), "{what}: other bytes the second time");
                let pixels = both(&baseline, &what);
                let progressive = written(picture, &Options { progressive: true, ..options });
                assert!(pixels == both(&progressive, &what), "{what}: progressive pixels differ");
                files += 2;
                let source = if *name == "grey" { &grey } else { &bytes };
                if kind == Kind::Photo && width_px > 8 {
                    let likeness = psnr(source, &pixels);
                    assert!(likeness > floor(quality), "{what}: {likeness:.1} dB");
                }
                if kind == Kind::Flat && quality > 1 {
                    assert!(psnr(source, &pixels) > 38.0, "{what}");
                }
                if kind == Kind::Text && *name == "grey" && quality == 100 {
                    assert!(psnr(source, &pixels) > 48.0, "{what}");
                }
            }
        }
    }
    assert_eq!(files, SIDES.len() * KINDS.len() * QUALITIES.len() * 5 * 2 * 2);
}

#[test]
fn the_longest_sides_are_written() {
    for (width_px, height_px) in [(1, 65535), (65535, 1)] {
        let bytes = rgb(Kind::Photo, width_px, height_px);
        for (sampling, progressive) in [(Sampling::Half, false), (Sampling::Full, true)] {
            let options = Options { sampling, progressive, ..Options::new(90) };
            let jpeg = written(&Picture::Rgb { bytes: &bytes, width_px, height_px }, &options);
            assert!(psnr(&bytes, &both(&jpeg, "long")) > 30.0);
        }
    }
}

/// Interleaved pixels become what planes of the same colours would be, but for rounding.
#[test]
fn pixels_and_planes_give_the_same_picture() {
    let (width_px, height_px) = (203, 117);
    let bytes = rgb(Kind::Photo, width_px, height_px);
    let planes = ycbcr(&bytes);
    let small = [halved(&planes[1], width_px, height_px), halved(&planes[2], width_px, height_px)];
    let luma = plane(&planes[0], width_px, height_px);
    let options = Options::new(100);
    let from_pixels = decoded(&written(&Picture::Rgb { bytes: &bytes, width_px, height_px }, &options));
    let blue = plane(&small[0], width_px.div_ceil(2), height_px.div_ceil(2));
    let red = Plane { samples: &small[1], ..blue };
    let from_planes = decoded(&written(&Picture::YCbCr { luma, blue, red }, &options));
    assert!(psnr(&from_pixels, &from_planes) > 45.0, "{}", psnr(&from_pixels, &from_planes));
    let full = Options { sampling: Sampling::Full, ..options };
    let from_pixels = decoded(&written(&Picture::Rgb { bytes: &bytes, width_px, height_px }, &full));
    let picture = Picture::YCbCr { luma, blue: plane(&planes[1], width_px, height_px), red: plane(&planes[2], width_px, height_px) };
    // The rounding of 16 fraction bits hardly shows.
    assert!(psnr(&from_pixels, &decoded(&written(&picture, &full))) > 55.0);
}

#[test]
fn pure_colours_stay_pure() {
    for colour in [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3], [0; 3], [255, 255, 0], [0, 255, 255], [255, 0, 255]] {
        let bytes = colour.repeat(33 * 17);
        for sampling in [Sampling::Full, Sampling::Half] {
            let jpeg = written(&Picture::Rgb { bytes: &bytes, width_px: 33, height_px: 17 }, &Options { sampling, ..Options::new(100) });
            let worst = decoded(&jpeg).iter().zip(&bytes).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst.is_some_and(|worst| worst <= 2), "{colour:?} {sampling:?}: {worst:?}");
        }
    }
}

#[test]
fn rows_may_be_apart_and_the_last_one_short() {
    let samples: Vec<u8> = (0..40 * 21u32).map(|at| (at % 40 * 5 + at / 40) as u8).collect();
    let apart = Plane { samples: &samples[..40 * 20 + 33], stride: 40, width_px: 33, height_px: 21 };
    let tight: Vec<u8> = samples.chunks(40).flat_map(|row| &row[..33]).copied().collect();
    let options = Options::new(85);
    assert!(written(&Picture::Grey(apart), &options) == written(&Picture::Grey(plane(&tight, 33, 21)), &options));
}

#[test]
fn progressive_is_smaller_on_what_looks_like_a_photo() {
    // With as much grain as a scaled photo has of detail.
    let grain = rgb(Kind::Noise, 640, 480);
    let bytes: Vec<u8> = rgb(Kind::Photo, 640, 480).iter().zip(grain).map(|(shape, grain)| shape / 8 * 7 + grain / 8).collect();
    let picture = Picture::Rgb { bytes: &bytes, width_px: 640, height_px: 480 };
    for quality in [60, 80, 90, 95] {
        let baseline = written(&picture, &Options::new(quality)).len();
        let progressive = written(&picture, &Options { progressive: true, ..Options::new(quality) }).len();
        assert!(progressive <= baseline, "{progressive} bytes beside {baseline} at {quality}");
    }
}

/// Runs of more blocks than one symbol tells, of nothing and of corrections alone.
#[test]
fn long_runs_are_cut() {
    let (width_px, height_px) = (1600, 1000);
    let flat = vec![77; (width_px * height_px) as usize];
    let noise = rgb(Kind::Noise, 3, 8);
    let stark: Vec<u8> = (0..height_px)
        .flat_map(|y| (0..width_px).map(move |x| (x, y)))
        .map(|(x, y)| noise[(x % 8 + y % 8 * 8) as usize] / 128 * 255)
        .collect();
    for (samples, quality) in [(&flat, 80), (&stark, 80), (&stark, 100)] {
        let picture = Picture::Grey(plane(samples, width_px, height_px));
        let baseline = decoded(&written(&picture, &Options::new(quality)));
        let progressive = written(&picture, &Options { progressive: true, ..Options::new(quality) });
        assert!(baseline == both(&progressive, "runs"));
    }
}

/// Noise has more tokens than are kept: its blocks are transformed, and its scans made, a second time.
#[test]
fn what_is_not_kept_is_written_all_the_same() {
    let (width_px, height_px) = (901, 703);
    let bytes = rgb(Kind::Noise, width_px, height_px);
    let picture = Picture::Rgb { bytes: &bytes, width_px, height_px };
    for sampling in [Sampling::Full, Sampling::Half] {
        let options = Options { sampling, ..Options::new(100) };
        let baseline = both(&written(&picture, &options), "noise");
        assert!(baseline == both(&written(&picture, &Options { progressive: true, ..options }), "noise in scans"));
        assert!(sampling == Sampling::Half || psnr(&bytes, &baseline) > 44.0, "{}", psnr(&bytes, &baseline));
    }
}

#[test]
fn segments_come_behind_jfifs_own_and_output_is_added_to() {
    let segments =
        [Segment { number: 2, bytes: b"ICC_PROFILE\0\x01\x01rest" }, Segment { number: 1, bytes: &[7; jpeg_write::MAX_SEGMENT_BYTES] }];
    let mut out = b"before".to_vec();
    let options = Options { segments: &segments, ..Options::new(80) };
    jpeg_write::encode(&Picture::Grey(plane(&[9; 64], 8, 8)), &options, &mut out).unwrap();
    assert!(out.starts_with(b"before\xff\xd8\xff\xe0\x00\x10JFIF\0"));
    assert_eq!(out[26..30], [0xff, 0xe2, 0, 20]);
    assert_eq!(out[30..46], *b"ICC_PROFILE\0\x01\x01re");
    assert_eq!(out[48..52], [0xff, 0xe1, 0xff, 0xff]);
    assert!(out.ends_with(&[0xff, 0xd9]));
    assert_eq!(decoded(&out[6..]).len(), 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any samples, in any shape, come out as an all-but-lossless file, whichever way they are written.
    #[test]
    fn any_plane_comes_back(
        (width_px, height_px, stride, samples) in (1u32..60, 1u32..60, 0usize..9).prop_flat_map(|(width, height, more)| {
            let stride = width as usize + more;
            (Just(width), Just(height), Just(stride), proptest::collection::vec(any::<u8>(), stride * height as usize))
        }),
        shift in 0u32..8,
    ) {
        let samples: Vec<u8> = samples.iter().map(|sample| sample >> shift).collect();
        let picture = Picture::Grey(Plane { samples: &samples, stride, width_px, height_px });
        let baseline = decoded(&written(&picture, &Options::new(100)));
        let progressive = decoded(&written(&picture, &Options { progressive: true, ..Options::new(100) }));
        prop_assert!(baseline == progressive);
        let source: Vec<u8> = samples.chunks(stride).flat_map(|row| &row[..width_px as usize]).copied().collect();
        let worst = source.iter().zip(&baseline).map(|(a, b)| a.abs_diff(*b)).max();
        prop_assert!(worst.is_some_and(|worst| worst <= 4), "{:?}", worst);
    }

    #[test]
    fn any_colours_are_the_same_progressive(
        (width_px, height_px, bytes) in (1u32..50, 1u32..50).prop_flat_map(|(width, height)| {
            (Just(width), Just(height), proptest::collection::vec(any::<u8>(), (3 * width * height) as usize))
        }),
        quality in 1u8..=100,
        full in any::<bool>(),
    ) {
        let picture = Picture::Rgb { bytes: &bytes, width_px, height_px };
        let options = Options { sampling: if full { Sampling::Full } else { Sampling::Half }, ..Options::new(quality) };
        let baseline = decoded(&written(&picture, &options));
        let progressive = decoded(&written(&picture, &Options { progressive: true, ..options }));
        prop_assert!(baseline == progressive);
    }
}
