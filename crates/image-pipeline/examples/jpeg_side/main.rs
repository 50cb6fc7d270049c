//! Our side of `scripts/compare/jpeg` and `scripts/compare/jpeg-quality`: orders on standard input, one a line, an answer to each.
//!
//! Fields of a line are parted by tabs. Files are read once and kept, so what is timed is bytes in memory to bytes in memory, by this
//! program's own clock. A first argument is taken as the only order (fields parted by commas), for counting instructions.
//!
//! | order | what is done and timed |
//! |---|---|
//! | `whole PATH BOX` | probe, plan, run as the service does: fit into the box, JPEG of quality 80 |
//! | `pixels PATH BOX OUT` | the same to PNG: the pixels before encoding |
//! | `decode PATH EIGHTHS HOW` | jpeg-shrink alone; HOW is of `read`, `lowest` (left out) or `leave` (refinements), `large` or `small` (chroma): `read-large` |
//! | `shrunk PATH EIGHTHS HOW WIDTH HEIGHT OUT` | that and Lanczos3 to these sides, to PNG |
//! | `photo SEED WIDTH HEIGHT OUT` | a picture made up by [`photo`], to PPM |
//!
//! Answers: `ok NANOSECONDS WIDTH HEIGHT`, then for `whole` and `pixels` the sides decoded; or `error TEXT`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a program may read files")]

mod photo;
#[path = "../side/mod.rs"]
mod side;

use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};
use image_pipeline::{Context, Limits, Presets, Spec, plan, probe, run};
use jpeg_shrink::{Chroma, Decoder, Layout, Options, Refinement, Scale};
use side::{Files, answer_all};
use std::{
    error::Error,
    fs,
    hint::black_box,
    io::{self, Cursor},
    sync::atomic::AtomicBool,
    time::Instant,
};

/// Pixels of RGB, width, height.
type Picture = (Vec<u8>, u32, u32);

#[derive(Default)]
struct Side {
    files: Files,
}

impl Side {
    fn answer(&mut self, order: &[&str]) -> Result<String, Box<dyn Error>> {
        match *order {
            ["whole", path, side_px] => {
                let source = self.files.read(path)?;
                piped(&source, &format!("rs:fit:{side_px}:{side_px}/q:80/f:jpg"), None)
            }
            ["pixels", path, side_px, out] => {
                let source = self.files.read(path)?;
                piped(&source, &format!("rs:fit:{side_px}:{side_px}/f:png"), Some(out))
            }
            ["decode", path, eighths, how] => {
                let source = self.files.read(path)?;
                let started = Instant::now();
                let (pixels, width_px, height_px) = decoded(&source, eighths, how)?;
                black_box(&pixels);
                Ok(format!("{}\t{width_px}\t{height_px}", started.elapsed().as_nanos()))
            }
            ["shrunk", path, eighths, how, width_px, height_px, out] => {
                let source = self.files.read(path)?;
                let to = (width_px.parse()?, height_px.parse()?);
                let started = Instant::now();
                let pixels = resized(&source, eighths, how, to)?;
                let took = started.elapsed().as_nanos();
                write_png(out, &pixels, to)?;
                Ok(format!("{took}\t{width_px}\t{height_px}"))
            }
            ["photo", seed, width_px, height_px, out] => {
                let started = Instant::now();
                let pixels = photo::photo(width_px.parse()?, height_px.parse()?, seed.parse()?);
                fs::write(out, [format!("P6\n{width_px} {height_px}\n255\n").as_bytes(), &pixels].concat())?;
                Ok(format!("{}\t{width_px}\t{height_px}", started.elapsed().as_nanos()))
            }
            _ => Err("no such order".into()),
        }
    }
}

/// The whole path, once, with everything the service does for an image but storing it.
fn piped(source: &[u8], options: &str, out: Option<&str>) -> Result<String, Box<dyn Error>> {
    let presets = Presets::builtin();
    let spec = Spec::parse(options, &presets)?;
    let cancel = AtomicBool::new(false);
    let context = Context { deadline: None, cancel: &cancel, spare: None };
    let started = Instant::now();
    let limits = Limits::default();
    let found = probe(&mut Cursor::new(source), &limits)?;
    let plan = plan(&found, std::slice::from_ref(&spec), &limits)?;
    let mut result = None;
    run(&plan, source, &context, &mut |outcome| result = Some(outcome.result))?;
    let encoded = result.ok_or("nothing was made")??;
    let took = started.elapsed().as_nanos();
    if let Some(out) = out {
        fs::write(out, &encoded.bytes)?;
    }
    // The plan's text begins `decode jpeg WIDTHxHEIGHT`.
    let text = plan.to_string();
    let decoded = text.split_whitespace().nth(2).unwrap_or("?");
    Ok(format!("{took}\t{}\t{}\t{decoded}", encoded.width_px, encoded.height_px))
}

fn decoded(source: &[u8], eighths: &str, how: &str) -> Result<Picture, Box<dyn Error>> {
    let scale = match eighths {
        "1" => Scale::Eighth,
        "2" => Scale::Quarter,
        "4" => Scale::Half,
        "8" => Scale::Full,
        _ => return Err("eighths are 1, 2, 4 or 8".into()),
    };
    let (refinement, chroma) = match how {
        "read-large" => (Refinement::Read, Chroma::Large),
        "read-small" => (Refinement::Read, Chroma::Small),
        "lowest-large" => (Refinement::LeaveOutLowest, Chroma::Large),
        "lowest-small" => (Refinement::LeaveOutLowest, Chroma::Small),
        "leave-large" => (Refinement::LeaveOut, Chroma::Large),
        "leave-small" => (Refinement::LeaveOut, Chroma::Small),
        _ => return Err("no such way to decode".into()),
    };
    let mut decoder = Decoder::new(source, Options { refinement, chroma, ..Options::new(scale) })?;
    if decoder.layout() != Layout::Rgb8 {
        return Err("only colour is measured".into());
    }
    let mut pixels = vec![0; decoder.output_bytes()];
    decoder.decode_into(&mut pixels)?;
    Ok((pixels, decoder.width_px(), decoder.height_px()))
}

/// As the pipeline's resize has it: what the decoder rounded up lies outside the region.
fn resized(source: &[u8], eighths: &str, how: &str, to: (u32, u32)) -> Result<Vec<u8>, Box<dyn Error>> {
    let header = jpeg_shrink::probe(source)?;
    let (pixels, width_px, height_px) = decoded(source, eighths, how)?;
    let share = eighths.parse::<f64>()? / 8.0;
    let from = TypedImageRef::<U8x3>::from_buffer(width_px, height_px, &pixels)?;
    let mut bytes = vec![0; 3 * to.0 as usize * to.1 as usize];
    let mut target = TypedImage::<U8x3>::from_buffer(to.0, to.1, &mut bytes)?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).crop(
        0.0,
        0.0,
        f64::from(header.width_px) * share,
        f64::from(header.height_px) * share,
    );
    Resizer::new().resize_typed(&from, &mut target, &options)?;
    Ok(bytes)
}

fn write_png(path: &str, pixels: &[u8], (width_px, height_px): (u32, u32)) -> Result<(), Box<dyn Error>> {
    let mut encoder = png::Encoder::new(io::BufWriter::new(fs::File::create(path)?), width_px, height_px);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut side = Side::default();
    answer_all(std::env::args().nth(1), |order| side.answer(order))
}
