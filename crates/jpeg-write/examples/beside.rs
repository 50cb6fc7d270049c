//! What one encode costs, beside jpeg-encoder with optimised tables, in turns: `beside PICTURE.ppm [QUALITY [ROUNDS]]`; or
//! `beside --serve PICTURE.ppm QUALITY`, which reads lines `WAY TIMES` and answers with the nanoseconds of the fastest, so that another
//! program's encoder can take turns with these; `WAY FILE` with a name that is no number writes the picture.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "examples may read files and the environment")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "an example ends where something is wrong")]

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use jpeg_write::{Options, Picture, Plane, Sampling, encode};
use std::{env, fs, hint::black_box, io::BufRead, time::Instant};

struct Source {
    rgb: Vec<u8>,
    width_px: u32,
    height_px: u32,
    planes: [Vec<u8>; 3],
}

/// A binary PPM of 8 bits without comments.
fn source(path: &str) -> Source {
    let bytes = fs::read(path).expect("a readable file");
    let mut fields = bytes.splitn(4, |byte| byte.is_ascii_whitespace());
    let mut number = || -> u32 { std::str::from_utf8(fields.next().unwrap()).unwrap().trim_start_matches("P6").parse().unwrap_or(0) };
    assert_eq!(number(), 0, "P6");
    let (width_px, height_px) = (number(), number());
    let rgb = bytes[bytes.len() - 3 * (width_px * height_px) as usize..].to_vec();
    // Planes as our own encoder makes them of pixels.
    let (width, height) = (width_px as usize, height_px as usize);
    let at = |x: usize, y: usize, c: usize| f64::from(rgb[3 * (y.min(height - 1) * width + x.min(width - 1)) + c]);
    let luma = (0..width * height).map(|i| {
        (0.299 * at(i % width, i / width, 0) + 0.587 * at(i % width, i / width, 1) + 0.114 * at(i % width, i / width, 2)).round() as u8
    });
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let chroma = |weights: [f64; 3]| -> Vec<u8> {
        (0..half_width * half_height)
            .map(|i| {
                let (x, y) = (2 * (i % half_width), 2 * (i / half_width));
                let mean = |c: usize| (at(x, y, c) + at(x + 1, y, c) + at(x, y + 1, c) + at(x + 1, y + 1, c)) / 4.0;
                (128.0 + weights[0] * mean(0) + weights[1] * mean(1) + weights[2] * mean(2)).round().min(255.0) as u8
            })
            .collect()
    };
    let planes = [luma.collect(), chroma([-0.168735892, -0.331264108, 0.5]), chroma([0.5, -0.418687589, -0.081312411])];
    Source { rgb, width_px, height_px, planes }
}

const WAYS: [&str; 7] = ["planes", "rgb", "rgb444", "grey", "planes-progressive", "jpeg-encoder", "jpeg-encoder-progressive"];

fn written(way: &str, source: &Source, quality: u8) -> Vec<u8> {
    let Source { rgb, width_px, height_px, planes } = source;
    let (width_px, height_px) = (*width_px, *height_px);
    let mut out = Vec::new();
    let progressive = way.ends_with("-progressive");
    if way.starts_with("jpeg-encoder") {
        let mut encoder = Encoder::new(&mut out, quality);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder.set_optimized_huffman_tables(true);
        encoder.set_progressive(progressive);
        encoder.encode(rgb, width_px as u16, height_px as u16, ColorType::Rgb).expect("a picture");
        return out;
    }
    let luma = Plane { samples: &planes[0], stride: width_px as usize, width_px, height_px };
    let half = |samples| Plane {
        samples,
        stride: width_px.div_ceil(2) as usize,
        width_px: width_px.div_ceil(2),
        height_px: height_px.div_ceil(2),
    };
    let sampling = if way == "rgb444" { Sampling::Full } else { Sampling::Half };
    let picture = match way {
        "rgb" | "rgb444" => Picture::Rgb { bytes: rgb, width_px, height_px },
        "grey" => Picture::Grey(luma),
        _ => Picture::YCbCr { luma, blue: half(&planes[1]), red: half(&planes[2]) },
    };
    encode(&picture, &Options { sampling, progressive, ..Options::new(quality) }, &mut out).expect("a picture");
    out
}

/// Of the fastest: what others do on the machine only adds.
fn nanoseconds(way: &str, source: &Source, quality: u8, times: u32) -> f64 {
    let once = |_| {
        let start = Instant::now();
        black_box(written(way, black_box(source), quality));
        start.elapsed().as_nanos() as f64
    };
    (0..times).map(once).fold(f64::INFINITY, f64::min)
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--serve", path, quality] = arguments[..] {
        let (source, quality) = (source(path), quality.parse().unwrap());
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let (way, rest) = line.split_once(' ').expect("WAY TIMES");
            match rest.parse() {
                Ok(times) => println!("{}", nanoseconds(way, &source, quality, times)),
                Err(_) => {
                    fs::write(rest, written(way, &source, quality)).unwrap();
                    println!("0");
                }
            }
        }
        return;
    }
    let path = arguments.first().expect("PICTURE.ppm [QUALITY [ROUNDS]]");
    let quality = arguments.get(1).map_or(80, |text| text.parse().expect("a quality"));
    let rounds: usize = arguments.get(2).map_or(15, |text| text.parse().expect("rounds"));
    let source = source(path);
    let times = 5 + (1_000_000 / (source.width_px * source.height_px)).min(50);
    let mut measured = vec![Vec::new(); WAYS.len()];
    for _ in 0..rounds {
        for (way, measured) in WAYS.iter().zip(&mut measured) {
            measured.push(nanoseconds(way, &source, quality, times));
        }
    }
    println!("{path}, quality {quality}: {} x {}", source.width_px, source.height_px);
    for (way, measured) in WAYS.iter().zip(&mut measured) {
        measured.sort_by(f64::total_cmp);
        println!("{way:>24} {:9.3} ms {:9} bytes", measured[rounds / 2] / 1e6, written(way, &source, quality).len());
    }
}
