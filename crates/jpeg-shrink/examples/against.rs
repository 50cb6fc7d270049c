//! Compares a decode with another's: `against in.jpg 1|2|4|8 other.pnm`, for `scripts/compare/djpeg`.
//!
//! Prints one line: `strict`, `lenient` (with the rows that were read, and why no more) or `refused` (and why); then the size; then
//! `halved` where a component is half as large both ways, `kept` where none is; then the peak signal-to-noise ratio in dB over the rows that were read, `same` where they are the same to the last bit, or `size` where
//! the other picture's differs. Inks become colours as djpeg has them, each times black.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a program may read files")]

use jpeg_shrink::{Decoder, Layout, Options, Scale};
use std::{error::Error, fs};

/// Width, height and pixels of a binary PGM or PPM file with one byte a sample.
fn pnm(bytes: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut rest = bytes;
    let mut words = Vec::new();
    while words.len() < 4 {
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        words.push(std::str::from_utf8(&rest[..end]).ok()?);
        rest = &rest[end + 1..];
    }
    let (width, height) = (words[1].parse().ok()?, words[2].parse().ok()?);
    let channels = if words[0] == "P5" { 1 } else { 3 };
    (words[3] == "255" && rest.len() == width * height * channels).then_some((width, height, rest))
}

fn colours(inks: &[u8]) -> Vec<u8> {
    let times = |ink: u8, black: u8| ((u32::from(ink) * u32::from(black) * 2 + 255) / 510) as u8;
    inks.chunks_exact(4).flat_map(|pixel| [times(pixel[0], pixel[3]), times(pixel[1], pixel[3]), times(pixel[2], pixel[3])]).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, input, divisor, other] = arguments.as_slice() else { return Err("usage: against in.jpg 1|2|4|8 other.pnm".into()) };
    let scale = divisor.parse().ok().and_then(Scale::one_in).ok_or("the divisor is 1, 2, 4 or 8")?;
    let bytes = fs::read(input)?;
    let mut pixels = Vec::new();
    let mut told = Vec::new();
    let mut halved = false;
    for lenient in [false, true] {
        let mut decode = || {
            let mut decoder = Decoder::new(&bytes, Options { lenient, ..Options::new(scale) })?;
            pixels.clear();
            pixels.resize(decoder.output_bytes(), 0);
            let outcome = decoder.decode_into(&mut pixels)?;
            let components = &decoder.header().components;
            let largest = components.iter().fold((1, 1), |(h, v), part| (part.horizontal.max(h), part.vertical.max(v)));
            halved = components.iter().any(|part| largest.0 % (2 * part.horizontal) == 0 && largest.1 % (2 * part.vertical) == 0);
            Ok::<_, jpeg_shrink::Error>((outcome, decoder.width_px(), decoder.height_px(), decoder.row_bytes(), decoder.layout()))
        };
        match decode() {
            Ok(decoded) => {
                told.push(decoded);
                break;
            }
            Err(error) if lenient => {
                println!("refused ({error})");
                return Ok(());
            }
            Err(error) => eprintln!("strict: {error}"),
        }
    }
    let (outcome, width, height, row_bytes, layout) = told.remove(0);
    let how = match &outcome.fault {
        None => "strict".to_owned(),
        Some(fault) => format!("lenient ({} of {height} rows: {fault})", outcome.rows),
    };
    pixels.truncate(outcome.rows as usize * row_bytes);
    if layout == Layout::Cmyk8 {
        pixels = colours(&pixels);
    }
    let wanted = fs::read(other)?;
    let difference = match pnm(&wanted) {
        Some((other_width, other_height, wanted))
            if (other_width, other_height) == (width as usize, height as usize) && wanted.len() >= pixels.len() =>
        {
            let sum: f64 = pixels.iter().zip(wanted).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
            let mean = sum / pixels.len().max(1) as f64;
            if sum == 0.0 { "same".to_owned() } else { format!("{:.1}", 10.0 * (255.0 * 255.0 / mean).log10()) }
        }
        _ => "size".to_owned(),
    };
    println!("{how} {width}x{height} {} {difference}", if halved { "halved" } else { "kept" });
    Ok(())
}
