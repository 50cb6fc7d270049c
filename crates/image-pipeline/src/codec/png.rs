//! PNG in and out (the `png` crate). 16 bits become 8 by rounding, palettes and grey become colour; gamma is left alone.
//!
//! Checksums are verified, of the pixels too, and the file must reach its IEND: a cut file is refused.

use super::{DECODE, Decoded, ENCODE, disagreement, icc::ToSrgb, picture};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    pixels::{Layout, Pixels},
    probe::{Format, Probe},
};
use png::{BitDepth, ColorType, Compression, DecodeOptions, Decoder, DecodingError, Encoder, Transformations};
use std::io::{Cursor, ErrorKind as IoErrorKind};

/// What metadata may unpack to: profiles; texts are not read at all.
const METADATA_BYTES: usize = 8 << 20;

/// Decodes the default image.
pub(super) fn decode(probe: &Probe, source: &[u8], limits: &Limits) -> Result<Decoded, Error> {
    let mut options = DecodeOptions::default();
    options.set_ignore_adler32(false);
    options.set_ignore_text_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(source), options);
    // One row of 16-bit colour, window and metadata; the picture itself lies in our buffer.
    let row_bytes = probe.width_px as usize * 16;
    let allowed = usize::try_from(limits.max_memory_bytes).unwrap_or(usize::MAX);
    decoder.set_limits(png::Limits { bytes: (METADATA_BYTES + row_bytes).min(allowed) });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(refused)?;
    if (reader.info().width, reader.info().height) != (probe.width_px, probe.height_px) {
        return Err(disagreement(Format::Png));
    }
    let (colour, depth) = reader.output_color_type();
    let too_large = || Error::new(ErrorKind::LimitExceeded, DECODE, "image does not fit the memory of this machine").in_format(Format::Png);
    let mut bytes = vec![0; reader.output_buffer_size().ok_or_else(too_large)?];
    let frame = reader.next_frame(&mut bytes).map_err(refused)?;
    if (frame.width, frame.height) != (probe.width_px, probe.height_px) {
        return Err(disagreement(Format::Png));
    }
    reader.finish().map_err(refused)?;
    if depth == BitDepth::Sixteen {
        round_to_eight(&mut bytes);
    }
    let (layout, bytes) = match colour {
        ColorType::Rgb => (Layout::Rgb8, bytes),
        ColorType::Rgba => (Layout::Rgba8, bytes),
        ColorType::Grayscale => (Layout::Rgb8, bytes.iter().flat_map(|&grey| [grey; 3]).collect()),
        ColorType::GrayscaleAlpha => {
            let spread = bytes.as_chunks::<2>().0.iter().flat_map(|&[grey, alpha]| [grey, grey, grey, alpha]);
            (Layout::Rgba8, spread.collect())
        }
        // EXPAND leaves no palette.
        ColorType::Indexed => return Err(Error::new(ErrorKind::Internal, DECODE, "palette was not resolved").in_format(Format::Png)),
    };
    let is_colour = !matches!(reader.info().color_type, ColorType::Grayscale | ColorType::GrayscaleAlpha);
    let profile = reader.info().icc_profile.as_deref().filter(|_| is_colour);
    let to_srgb = profile.and_then(ToSrgb::from_profile);
    Ok(Decoded { pixels: picture(probe, layout, bytes)?, to_srgb })
}

/// Big-endian 16-bit samples to 8 bits, in place: `round(v * 255 / 65535)`, which is `round(v / 257)`.
fn round_to_eight(bytes: &mut Vec<u8>) {
    let samples = bytes.len() / 2;
    for at in 0..samples {
        let sample = u32::from(u16::from_be_bytes([bytes[2 * at], bytes[2 * at + 1]]));
        bytes[at] = ((sample + 128) / 257) as u8;
    }
    bytes.truncate(samples);
    bytes.shrink_to_fit();
}

fn refused(error: DecodingError) -> Error {
    let (kind, text) = match &error {
        DecodingError::IoError(io) if io.kind() == IoErrorKind::UnexpectedEof => (ErrorKind::Truncated, "png ends before its picture does"),
        DecodingError::IoError(_) | DecodingError::Parameter(_) => (ErrorKind::Internal, "png could not be read"),
        DecodingError::Format(_) => (ErrorKind::Malformed, "png is broken"),
        DecodingError::LimitsExceeded => (ErrorKind::LimitExceeded, "png wants more memory than is allowed"),
    };
    Error::new(kind, DECODE, text).in_format(Format::Png).caused_by(error)
}

/// 8-bit RGB or RGBA, the crate's fast level (its own deflate and filter).
pub(super) fn encode(pixels: &Pixels) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, pixels.width_px, pixels.height_px);
    encoder.set_color(match pixels.layout {
        Layout::Rgb8 => ColorType::Rgb,
        Layout::Rgba8 => ColorType::Rgba,
    });
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    let write = || {
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels.bytes)?;
        writer.finish()
    };
    write().map_err(|error| Error::new(ErrorKind::Internal, ENCODE, "png could not be written").in_format(Format::Png).caused_by(error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_round_to_the_nearest_of_eight() {
        let mut bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_be_bytes).collect();
        round_to_eight(&mut bytes);
        for (sample, &byte) in bytes.iter().enumerate() {
            assert_eq!(byte, (sample as f64 * 255.0 / 65535.0).round() as u8, "{sample}");
        }
    }
}
