//! How fast a picture becomes a 320 and a 1280 pixel variant, beside the `image` crate doing the same in the same run.
//!
//! One question per group: `<source>/<width>`, arms `pipeline` and `image crate`; throughput in source pixels. Sources are generated
//! (gradients under noise, which compress like a sharp photo) and, where `PIXMILL_CORPUS` names a folder, its `large-photos`.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use image::{DynamicImage, ImageFormat, RgbImage, imageops::FilterType};
use image_pipeline::{Context, Limits, OutputFormat, Presets, Spec, plan, probe, run};
use std::{hint::black_box, io::Cursor, sync::atomic::AtomicBool};

/// Longer sides of the results, in pixels.
const BOXES_PX: [u32; 2] = [320, 1280];
/// Quality of both arms.
const QUALITY: u8 = 80;

/// Gradients with noise of 16 steps: 12 megapixels, as a telephone takes them.
fn photo_like(width_px: u32, height_px: u32) -> RgbImage {
    let mut state = 0x9e37_79b9_u32;
    RgbImage::from_fn(width_px, height_px, |x, y| {
        // xorshift32 (Marsaglia 2003): the same picture in every run.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let noise = (state >> 28) as u8;
        let wave = ((x as f32 / 90.0).sin() * (y as f32 / 70.0).cos() * 60.0 + 120.0) as u8;
        image::Rgb([wave + noise, (x * 200 / width_px) as u8 + noise, (y * 200 / height_px) as u8 + noise])
    })
}

/// Runs the whole pipeline on one source with one spec; the variant's bytes.
fn pipeline(source: &[u8], spec: &Spec, limits: &Limits) -> Vec<u8> {
    let found = probe(&mut Cursor::new(source), limits).expect("sources of the bench are whole");
    let plan = plan(&found, std::slice::from_ref(spec), limits).expect("specs of the bench fit");
    let mut result = Vec::new();
    let cancel = AtomicBool::new(false);
    run(&plan, source, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| {
        result = outcome.result.expect("specs of the bench run").bytes;
    })
    .expect("sources of the bench decode");
    result
}

/// The same with the `image` crate: load, Lanczos3 (what our resize uses), write.
fn baseline(source: &[u8], box_px: u32) -> Vec<u8> {
    let small = image::load_from_memory(source).expect("sources of the bench are whole").resize(box_px, box_px, FilterType::Lanczos3);
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    small.into_rgb8().write_with_encoder(encoder).expect("memory takes what is written");
    bytes
}

fn sources() -> Vec<(String, Vec<u8>)> {
    let picture = DynamicImage::ImageRgb8(photo_like(4032, 3024));
    let encoded = |format| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).expect("memory takes what is written");
        bytes.into_inner()
    };
    let jpeg = encoded(ImageFormat::Jpeg);
    let limits = Limits::default();
    let webp = Spec::parse("f:webp", &Presets::builtin()).expect("a fixed text");
    assert_eq!(webp.output_format(image_pipeline::Format::Jpeg, false), Some(OutputFormat::WebP));
    let webp = pipeline(&jpeg, &webp, &limits);
    let mut sources =
        vec![("jpeg-12mp".to_owned(), jpeg), ("png-12mp".to_owned(), encoded(ImageFormat::Png)), ("webp-12mp".to_owned(), webp)];
    match std::env::var_os("PIXMILL_CORPUS") {
        Some(root) => {
            let folder = std::path::Path::new(&root).join("large-photos");
            let mut paths: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                #[allow(clippy::disallowed_methods, reason = "the bench brings bytes to the pipeline")]
                let Ok(bytes) = std::fs::read(&path) else { continue };
                if image_pipeline::sniff(&bytes).is_some() {
                    sources.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), bytes));
                }
            }
        }
        None => println!("PIXMILL_CORPUS is not set: generated pictures only"),
    }
    sources
}

fn thumbnails(criterion: &mut Criterion) {
    let limits = Limits::default();
    for (name, source) in sources() {
        let Ok(found) = probe(&mut Cursor::new(&source), &limits) else { continue };
        for box_px in BOXES_PX {
            let text = format!("rs:fit:{box_px}:{box_px}/q:{QUALITY}/f:jpg");
            let spec = Spec::parse(&text, &Presets::builtin()).expect("a fixed text");
            let mut group = criterion.benchmark_group(format!("{name}/{box_px}"));
            group.throughput(Throughput::Elements(found.pixels()));
            group.sample_size(10);
            group.bench_function(BenchmarkId::from_parameter("pipeline"), |bencher| {
                bencher.iter(|| black_box(pipeline(black_box(&source), &spec, &limits)));
            });
            group.bench_function(BenchmarkId::from_parameter("image crate"), |bencher| {
                bencher.iter(|| black_box(baseline(black_box(&source), box_px)));
            });
            group.finish();
        }
    }
}

criterion_group!(benches, thumbnails);
criterion_main!(benches);
