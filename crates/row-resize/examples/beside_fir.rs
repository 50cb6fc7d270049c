//! What a resize costs beside fast_image_resize's, in turns, caches swept before each: the best time of all rounds, and the median of the
//! rounds' ratios. "rows": the picture is in memory, cold. "decoded": a decoder is stood in for by a copy of the same warm 16 rows again
//! and again, into one strip for ours, into a fresh picture for theirs. Run it on one core:
//! `against [rounds [part of a case's name [ours]]]`.
#![allow(clippy::disallowed_methods, missing_docs, reason = "an example measures time")]

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions};
use row_resize::{Filter, Job, Light, Pixel, Region, Resizer};
use std::hint::black_box;
use std::time::Instant;

const STRIP: usize = 16;

struct Case {
    name: &'static str,
    job: Job,
    opaque: bool,
}

fn case(name: &'static str, source_px: (u32, u32), target_px: (u32, u32), pixel: Pixel, opaque: bool) -> Case {
    let job = Job { source_px, region: Region::whole(source_px), target_px, pixel, filter: Filter::Lanczos3, light: Light::Encoded };
    Case { name, job, opaque }
}

fn picture(case: &Case) -> Vec<u8> {
    let channels = case.job.pixel.channels();
    let mut state = 1_u32;
    let count = case.job.source_px.0 as usize * case.job.source_px.1 as usize * channels;
    (0..count)
        .map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if channels == 4 && at % 4 == 3 && case.opaque { 255 } else { (at / 977 % 200) as u8 + (state >> 27) as u8 }
        })
        .collect()
}

fn ours(job: &Job, source: &[u8], strip: Option<&mut Vec<u8>>) -> Vec<u8> {
    let mut resizer = Resizer::new(job).expect("a good job");
    let mut target = vec![0; resizer.target_bytes()];
    let stride = job.source_px.0 as usize * job.pixel.channels();
    let mut strip = strip;
    for (at, rows) in source.chunks(STRIP * stride).enumerate() {
        let rows = match &mut strip {
            Some(strip) => {
                strip[..rows.len()].copy_from_slice(&source[..rows.len()]);
                &strip[..rows.len()]
            }
            None => rows,
        };
        resizer.push((at * STRIP) as u32, rows, stride, &mut target);
    }
    assert!(resizer.is_done());
    target
}

fn theirs<P: PixelTrait>(job: &Job, source: &[u8], weigh: bool, decoded: bool) -> Vec<u8> {
    let fresh;
    let source = if decoded {
        let mut picture = vec![0; source.len()];
        for to in picture.chunks_mut(STRIP * job.source_px.0 as usize * job.pixel.channels()) {
            to.copy_from_slice(&source[..to.len()]);
        }
        fresh = picture;
        &fresh[..]
    } else {
        source
    };
    let from = TypedImageRef::<P>::from_buffer(job.source_px.0, job.source_px.1, source).expect("sides fit");
    let mut target = vec![0; job.target_px.0 as usize * job.target_px.1 as usize * job.pixel.channels()];
    let mut to = TypedImage::<P>::from_buffer(job.target_px.0, job.target_px.1, &mut target).expect("sides fit");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).use_alpha(weigh);
    fast_image_resize::Resizer::new().resize_typed(&from, &mut to, &options).expect("resizes");
    target
}

fn fir(case: &Case, source: &[u8], decoded: bool) -> Vec<u8> {
    match case.job.pixel {
        Pixel::Grey8 => theirs::<U8>(&case.job, source, false, decoded),
        Pixel::Rgb8 => theirs::<U8x3>(&case.job, source, false, decoded),
        Pixel::Rgba8 => theirs::<U8x4>(&case.job, source, !case.opaque, decoded),
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(15);
    let only = std::env::args().nth(2).unwrap_or_default();
    let cases = [
        case("grey 3014x1696 -> 1280x720", (3014, 1696), (1280, 720), Pixel::Grey8, true),
        case("grey 1507x848 -> 640x360", (1507, 848), (640, 360), Pixel::Grey8, true),
        case("rgb 3000x2000 -> 1280x853", (3000, 2000), (1280, 853), Pixel::Rgb8, true),
        case("rgb 6000x4000 -> 320x213", (6000, 4000), (320, 213), Pixel::Rgb8, true),
        case("rgba 2000x2000 -> 500, opaque", (2000, 2000), (500, 500), Pixel::Rgba8, true),
        case("rgba 2000x2000 -> 500, clear", (2000, 2000), (500, 500), Pixel::Rgba8, false),
        case("grey 1280x720 -> 320x180", (1280, 720), (320, 180), Pixel::Grey8, true),
        case("rgb 1280x720 -> 320x180", (1280, 720), (320, 180), Pixel::Rgb8, true),
        case("rgb 640x480 -> 1280x960", (640, 480), (1280, 960), Pixel::Rgb8, true),
    ];
    let mut sweep = vec![1_u8; 64 << 20];
    for case in cases.iter().filter(|case| case.name.contains(&only)) {
        let source = picture(case);
        let mut strip = vec![0; STRIP * case.job.source_px.0 as usize * case.job.pixel.channels()];
        let worst = ours(&case.job, &source, None).iter().zip(fir(case, &source, false)).map(|(a, b)| a.abs_diff(b)).max();
        let mut times: [Vec<f64>; 4] = Default::default();
        if std::env::args().nth(3).is_some() {
            for _ in 0..rounds {
                black_box(ours(&case.job, &source, Some(&mut strip)));
            }
            continue;
        }
        for _ in 0..rounds {
            for (way, times) in times.iter_mut().enumerate() {
                for byte in sweep.iter_mut().step_by(64) {
                    *byte = byte.wrapping_add(1);
                }
                let begun = Instant::now();
                black_box(match way {
                    0 => ours(&case.job, &source, None),
                    1 => fir(case, &source, false),
                    2 => ours(&case.job, &source, Some(&mut strip)),
                    _ => fir(case, &source, true),
                });
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
        let ratio =
            |ours: &[f64], theirs: &[f64]| median(&mut theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours).collect::<Vec<_>>());
        let (rows, decoded) = (ratio(&times[0], &times[1]), ratio(&times[2], &times[3]));
        let [a, b, c, d] = times.each_ref().map(|times| times.iter().copied().fold(f64::MAX, f64::min));
        println!(
            "{:32} rows {a:7.3} ms against {b:7.3}: {:5.2}x   decoded {c:7.3} ms against {d:7.3}: {:5.2}x   differ by {}",
            case.name,
            rows,
            decoded,
            worst.unwrap_or(0)
        );
    }
}
