//! What one decode costs at each scale, beside zune-jpeg's full one: a synthesised photo, and those of the folder `PIXMILL_CORPUS`
//! names. Throughput is in pixels of the whole picture, so that scales compare. libjpeg-turbo's scaled decode is Pillow's `draft`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "benches may read files and the environment")]
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use jpeg_shrink::{Decoder, Options, Refinement, Scale};
use std::{env, fs, path::Path, time::Duration};

/// Waves of all sizes and a little noise: bits per pixel like a photo's.
fn synthesised(progressive: bool) -> Vec<u8> {
    let (width, height) = (3000u16, 2000u16);
    let mut state = 1u32;
    let mut pixels = Vec::with_capacity(3 * usize::from(width) * usize::from(height));
    for y in 0..u32::from(height) {
        for x in 0..u32::from(width) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (x, y) = (x as f32, y as f32);
            let wave = 50.0 * (x / 170.0 + y / 230.0).sin() + 30.0 * (x / 23.0 - y / 31.0).sin() + 12.0 * (x / 5.0).sin() * (y / 6.0).cos();
            let noise = (state >> 27) as f32 * 0.4;
            for tint in [0.9, 1.0, 1.1] {
                pixels.push((120.0 + wave * tint + noise) as u8);
            }
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_progressive(progressive);
    encoder.encode(&pixels, width, height, ColorType::Rgb).expect("a buffer takes any picture");
    bytes
}

fn pictures() -> Vec<(String, Vec<u8>)> {
    let mut pictures = vec![("synthesised".to_owned(), synthesised(false)), ("synthesised-progressive".to_owned(), synthesised(true))];
    match env::var_os("PIXMILL_CORPUS") {
        Some(root) => {
            for name in ["kleiber-6028x3391-baseline", "samsung-s7-edge-4032x3024", "craft-beer", "Elephants_5640x3172"] {
                let path = Path::new(&root).join("large-photos").join(name).with_extension("jpg");
                pictures.push((name.to_owned(), fs::read(path).expect("the corpus has its photos")));
            }
        }
        None => eprintln!("SKIPPED: PIXMILL_CORPUS names no folder, real photos are not measured"),
    }
    pictures
}

fn decode(bytes: &[u8], options: Options, pixels: &mut Vec<u8>) {
    let mut decoder = Decoder::new(bytes, options).expect("the picture is whole");
    pixels.resize(decoder.output_bytes(), 0);
    decoder.decode_into(pixels).expect("the picture is whole");
}

/// With its vector code, into a buffer kept as ours is.
fn zune(bytes: &[u8], pixels: &mut Vec<u8>) {
    let mut decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(bytes));
    decoder.decode_headers().expect("the picture is whole");
    pixels.resize(decoder.output_buffer_size().expect("headers are read"), 0);
    decoder.decode_into(pixels).expect("the picture is whole");
}

fn benches(criterion: &mut Criterion) {
    for (name, bytes) in pictures() {
        let header = jpeg_shrink::probe(&bytes).expect("the picture is whole");
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        group.throughput(Throughput::Elements(u64::from(header.width_px) * u64::from(header.height_px)));
        let mut pixels = Vec::new();
        for scale in [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full] {
            let options = Options::new(scale);
            group.bench_function(BenchmarkId::new("shrink", format!("{scale:?}")), |bencher| {
                bencher.iter(|| decode(&bytes, options, &mut pixels));
            });
            if header.coding == jpeg_shrink::Coding::Progressive {
                let options = Options { refinement: Refinement::LeaveOut, ..options };
                group.bench_function(BenchmarkId::new("shrink-unrefined", format!("{scale:?}")), |bencher| {
                    bencher.iter(|| decode(&bytes, options, &mut pixels));
                });
            }
        }
        group.bench_function("zune", |bencher| bencher.iter(|| zune(&bytes, &mut pixels)));
        group.finish();
    }
}

criterion_group!(all, benches);
criterion_main!(all);
