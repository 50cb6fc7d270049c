"""SSIMULACRA2 of pairs of PNGs (100 is the same), for `jpeg-quality` and `upright`: the crate of that name, built in a project of its own
below target/compare."""
import subprocess

import jpeg_sides as common

SCORER = """\
[package]
name = "scorer"
version = "0.0.0"
edition = "2024"
[dependencies]
png = "0.18"
ssimulacra2 = "0.5"
[workspace]
[profile.release]
debug = false
"""
SCORER_MAIN = """\
//! Two PNG paths a line, parted by a tab, to `ok 0 SCORE`.
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};
use std::{error::Error, fs::File, io::{self, BufRead, BufReader}};

fn picture(path: &str) -> Result<Rgb, Box<dyn Error>> {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path)?)).read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().ok_or("too large")?];
    let frame = reader.next_frame(&mut bytes)?;
    if (frame.color_type, frame.bit_depth) != (png::ColorType::Rgb, png::BitDepth::Eight) {
        return Err(format!("{path} is not 8-bit RGB").into());
    }
    let pixels = bytes[..frame.buffer_size()].as_chunks::<3>().0.iter().map(|p| p.map(|c| f32::from(c) / 255.0)).collect();
    let (width, height) = (usize::try_from(frame.width)?, usize::try_from(frame.height)?);
    Ok(Rgb::new(pixels, width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (reference, other) = line.split_once('\\t').ok_or("two paths")?;
        println!("ok\\t0\\t{}", compute_frame_ssimulacra2(picture(reference)?, picture(other)?)?);
    }
    Ok(())
}
"""


def scorer():
    folder = common.REPO / "target/compare/ssimulacra2"
    (folder / "src").mkdir(parents=True, exist_ok=True)
    for name, text in (("Cargo.toml", SCORER), ("src/main.rs", SCORER_MAIN)):
        if not (folder / name).is_file() or (folder / name).read_text() != text:
            (folder / name).write_text(text)
    subprocess.run(["cargo", "build", "--release", "--quiet", "--target-dir", folder / "target"], cwd=folder, check=True)
    return common.Side("ssimulacra2", [folder / "target/release/scorer"])
