//! JPEG in (jpeg-shrink, strict) and out (jpeg-encoder).
//!
//! A picture that ends early is refused, not padded with grey: the decoder is strict, and before it starts the file must have an
//! end-of-image marker behind its first scan. CMYK and YCCK become RGB by the plain formula `r = (255 - c) * (255 - k) / 255`, over
//! samples that Adobe's programs write inverted; their profiles are not applied.

use super::{DECODE, Decoded, ENCODE, Reading, decode_working_bytes, disagreement, icc::ToSrgb};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, Pixels},
    probe::{Format, Probe},
};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// Scans of a progressive picture; libjpeg's own scripts have ten, and each costs a walk over all blocks.
const MAX_SCANS: u32 = 100;

/// From here on chroma is written at full size.
pub(super) const FULL_CHROMA_QUALITY: u8 = 90;

/// Decodes to RGB, whole or at a half, a quarter or an eighth, reading only what that needs.
pub(super) fn decode(probe: &Probe, source: &[u8], reading: Reading) -> Result<Decoded, Error> {
    if !has_end(source) {
        return Err(truncated());
    }
    let limits = jpeg_shrink::Limits {
        max_pixels: probe.pixels(),
        max_memory_bytes: decode_working_bytes(probe),
        max_scans: MAX_SCANS,
        ..jpeg_shrink::Limits::default()
    };
    let Reading { scale, refinement, chroma } = reading;
    let options = jpeg_shrink::Options { limits, refinement, chroma, ..jpeg_shrink::Options::new(scale) };
    let mut decoder = jpeg_shrink::Decoder::new(source, options).map_err(not_decoded)?;
    if (decoder.header().width_px, decoder.header().height_px) != (probe.width_px, probe.height_px) {
        return Err(disagreement(Format::Jpeg));
    }
    let (width_px, height_px) = (decoder.width_px(), decoder.height_px());
    let internal = |text| Error::new(ErrorKind::Internal, DECODE, text).in_format(Format::Jpeg);
    let count = Pixels::byte_count(width_px, height_px, Layout::Rgb8).ok_or_else(|| {
        let text = format!("image of {} pixels does not fit the memory of this machine", probe.pixels());
        Error::new(ErrorKind::LimitExceeded, DECODE, text).in_format(Format::Jpeg)
    })?;
    let mut bytes = vec![0; count];
    match decoder.layout() {
        jpeg_shrink::Layout::Rgb8 => {
            decoder.decode_into(&mut bytes).map_err(not_decoded)?;
        }
        layout @ (jpeg_shrink::Layout::Grey8 | jpeg_shrink::Layout::Cmyk8) => {
            let inverted = decoder.header().adobe_transform.is_some();
            let mut stored = vec![0; decoder.row_bytes()];
            for row in bytes.chunks_exact_mut(3 * width_px as usize) {
                decoder.read_rows(&mut stored).map_err(not_decoded)?;
                if layout == jpeg_shrink::Layout::Grey8 {
                    for (pixel, &value) in row.chunks_exact_mut(3).zip(&stored) {
                        pixel.fill(value);
                    }
                } else {
                    for (pixel, inks) in row.chunks_exact_mut(3).zip(stored.as_chunks::<4>().0) {
                        pixel.copy_from_slice(&without_inks(*inks, inverted));
                    }
                }
            }
        }
    }
    let profile = if probe.has_icc && probe.channels == 3 { decoder.header().icc_profile(source) } else { None };
    let to_srgb = profile.and_then(|profile| ToSrgb::from_profile(&profile));
    let pixels = Pixels::new(width_px, height_px, Layout::Rgb8, bytes).ok_or_else(|| internal("decoder gave a wrong number of bytes"))?;
    Ok(Decoded { pixels, to_srgb })
}

/// What light four inks leave, 0 to 255 each; `inverted` where 255 is no ink.
fn without_inks(inks: [u8; 4], inverted: bool) -> [u8; 3] {
    let [c, m, y, k] = inks.map(|ink| u16::from(if inverted { ink } else { 255 - ink }));
    [c, m, y].map(|ink| ((ink * k + 127) / 255) as u8)
}

fn not_decoded(error: jpeg_shrink::Error) -> Error {
    use jpeg_shrink::ErrorKind as Kind;
    let (kind, text) = match error.kind() {
        Kind::Truncated => return truncated().caused_by(error),
        Kind::Unsupported => (ErrorKind::Unsupported, "jpeg is of a kind that is not supported"),
        Kind::LimitExceeded => (ErrorKind::LimitExceeded, "jpeg needs more work or memory than is allowed"),
        Kind::BufferTooSmall => (ErrorKind::Internal, "decoder wanted a larger buffer"),
        _ => (ErrorKind::Malformed, "jpeg is broken"),
    };
    Error::new(kind, DECODE, text).in_format(Format::Jpeg).caused_by(error)
}

fn truncated() -> Error {
    Error::new(ErrorKind::Truncated, DECODE, "jpeg ends before its picture does").in_format(Format::Jpeg)
}

/// Whether an EOI marker follows the first scan. In entropy-coded data `FF` is always followed by `00` or a restart marker (T.81,
/// F.1.2.3), so a file cut anywhere in its picture has none; thumbnails in metadata lie before the scan. Searched from the end,
/// where whole files have it.
fn has_end(source: &[u8]) -> bool {
    first_scan(source).is_some_and(|at| source[at..].windows(2).rev().any(|pair| pair == [0xff, 0xd9]))
}

/// Where the first scan begins.
fn first_scan(source: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        // To the next marker code, over stray and fill bytes.
        at += source.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        at += source.get(at..)?.iter().position(|&byte| byte != 0xff)?;
        let code = source[at];
        at += 1;
        match code {
            0xda => return Some(at),
            0x00 | 0x01 | 0xd0..=0xd9 => {}
            _ => at += usize::from(u16::from_be_bytes(*source.get(at..)?.first_chunk()?)),
        }
    }
}

/// Baseline, optimised Huffman tables; 4:2:0 below quality 90 and 4:4:4 from there, as sharp and Pillow's users know it.
pub(super) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, Error> {
    let internal = |text| Error::new(ErrorKind::Internal, ENCODE, text).in_format(Format::Jpeg);
    let (Ok(width), Ok(height)) = (u16::try_from(pixels.width_px), u16::try_from(pixels.height_px)) else {
        return Err(internal("result is too large for jpeg"));
    };
    let colour = match pixels.layout {
        Layout::Rgb8 => ColorType::Rgb,
        Layout::Rgba8 => ColorType::Rgba,
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(if quality < FULL_CHROMA_QUALITY { SamplingFactor::F_2_2 } else { SamplingFactor::F_1_1 });
    encoder.set_optimized_huffman_tables(true);
    encoder
        .encode(&pixels.bytes, width, height, colour)
        .map_err(|error| internal("jpeg could not be written").caused_by(error.to_string()))?;
    Ok(bytes)
}
