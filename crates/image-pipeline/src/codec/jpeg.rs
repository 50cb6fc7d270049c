//! JPEG in (jpeg-shrink where the plan asks for less than the full size, else zune-jpeg; both strict) and out (jpeg-encoder).
//!
//! A picture that ends early is refused, not padded with grey: the decoder runs in its strict mode, and before it starts the file
//! must have an end-of-image marker behind its first scan. (Data missing before such a marker is not seen: the decoder reads on in
//! zeros, as libjpeg does with a warning.) CMYK and YCCK become RGB by the plain formula `r = c' * k' / 255` over the
//! inverted samples Adobe writes; their profiles are not applied.

use super::{DECODE, Decoded, ENCODE, Scale, decode_working_bytes, disagreement, icc::ToSrgb, picture, picture_buffer};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, Pixels},
    probe::{Format, Probe},
};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::{JpegDecoder, errors::DecodeErrors};

/// Scans of a progressive picture; libjpeg's own scripts have ten, and each costs a walk over all blocks.
const MAX_SCANS: usize = 100;

/// From here on chroma is written at full size.
pub(super) const FULL_CHROMA_QUALITY: u8 = 90;

/// Decodes to RGB.
pub(super) fn decode(probe: &Probe, source: &[u8]) -> Result<Decoded, Error> {
    if !has_end(source) {
        return Err(truncated());
    }
    let (width, height) = (probe.width_px as usize, probe.height_px as usize);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(width)
        .set_max_height(height)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(source), options);
    decoder.decode_headers().map_err(refused)?;
    if decoder.dimensions() != Some((width, height)) {
        return Err(disagreement(Format::Jpeg));
    }
    let mut bytes = picture_buffer(probe, Layout::Rgb8)?;
    if decoder.output_buffer_size() != Some(bytes.len()) {
        return Err(Error::new(ErrorKind::Unsupported, DECODE, "jpeg has an unknown colour model").in_format(Format::Jpeg));
    }
    decoder.decode_into(&mut bytes).map_err(refused)?;
    let profile = if probe.has_icc && probe.channels == 3 { decoder.icc_profile() } else { None };
    let to_srgb = profile.and_then(|profile| ToSrgb::from_profile(&profile));
    Ok(Decoded { pixels: picture(probe, Layout::Rgb8, bytes)?, to_srgb })
}

/// Decodes to RGB at a half, a quarter or an eighth, reading only what that needs.
pub(super) fn decode_small(probe: &Probe, source: &[u8], scale: Scale) -> Result<Decoded, Error> {
    if !has_end(source) {
        return Err(truncated());
    }
    let limits = jpeg_shrink::Limits {
        max_pixels: probe.pixels(),
        max_memory_bytes: decode_working_bytes(probe),
        max_scans: MAX_SCANS as u32,
        ..jpeg_shrink::Limits::default()
    };
    let options = jpeg_shrink::Options { limits, ..jpeg_shrink::Options::new(scale) };
    let mut decoder = jpeg_shrink::Decoder::new(source, options).map_err(not_shrunk)?;
    if (decoder.header().width_px, decoder.header().height_px) != (probe.width_px, probe.height_px) {
        return Err(disagreement(Format::Jpeg));
    }
    let (width_px, height_px) = (decoder.width_px(), decoder.height_px());
    let internal = |text| Error::new(ErrorKind::Internal, DECODE, text).in_format(Format::Jpeg);
    let count = Pixels::byte_count(width_px, height_px, Layout::Rgb8).ok_or_else(|| internal("shrunk jpeg is larger than its source"))?;
    let mut bytes = vec![0; count];
    match decoder.layout() {
        jpeg_shrink::Layout::Rgb8 => {
            decoder.decode_into(&mut bytes).map_err(not_shrunk)?;
        }
        jpeg_shrink::Layout::Grey8 => {
            let mut grey = vec![0; decoder.row_bytes()];
            for row in bytes.chunks_exact_mut(3 * grey.len()) {
                decoder.read_rows(&mut grey).map_err(not_shrunk)?;
                for (pixel, &value) in row.chunks_exact_mut(3).zip(&grey) {
                    pixel.fill(value);
                }
            }
        }
        jpeg_shrink::Layout::Cmyk8 => return Err(internal("a jpeg of four inks was to be shrunk")),
    }
    let profile = if probe.has_icc && probe.channels == 3 { decoder.header().icc_profile(source) } else { None };
    let to_srgb = profile.and_then(|profile| ToSrgb::from_profile(&profile));
    let pixels = Pixels::new(width_px, height_px, Layout::Rgb8, bytes).ok_or_else(|| internal("decoder gave a wrong number of bytes"))?;
    Ok(Decoded { pixels, to_srgb })
}

fn not_shrunk(error: jpeg_shrink::Error) -> Error {
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

fn refused(error: DecodeErrors) -> Error {
    match &error {
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) | DecodeErrors::FormatStatic("Premature end of buffer") => truncated(),
        DecodeErrors::Unsupported(_) => {
            Error::new(ErrorKind::Unsupported, DECODE, "jpeg is of a kind that is not supported").in_format(Format::Jpeg)
        }
        _ => Error::new(ErrorKind::Malformed, DECODE, "jpeg is broken").in_format(Format::Jpeg),
    }
    .caused_by(error.to_string())
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
