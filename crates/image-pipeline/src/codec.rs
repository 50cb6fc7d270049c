//! One decode seam and one encode seam; a file per format behind them.
//!
//! Pixels come out as stored (orientation not applied), 8 bit, in the layout [`decoded_layout`] says; metadata stays behind, but for
//! the colour profile, which leaves as a ready conversion. Decoders get memory limits, and every error becomes the pipeline's own.

mod gif;
mod icc;
mod jpeg;
mod png;
mod webp;

pub(crate) use icc::ToSrgb;
pub(crate) use jpeg_shrink::{Chroma, Refinement, Scale};

use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    pixels::{Layout, Pixels},
    probe::{Format, Probe},
    spec::OutputFormat,
};

/// Stage names in errors.
const DECODE: &str = "decode";
const ENCODE: &str = "encode";

/// What a source holds.
pub(crate) struct Decoded {
    /// As stored, one picture, first frame of an animation on its canvas.
    pub(crate) pixels: Pixels,
    /// What makes the colours sRGB, where the source says they are something else.
    pub(crate) to_srgb: Option<ToSrgb>,
}

/// How the decoded pixels of this source lie; also the upper bound of their bytes.
pub(crate) fn decoded_layout(probe: &Probe) -> Layout {
    if probe.has_alpha { Layout::Rgba8 } else { Layout::Rgb8 }
}

/// Bytes a decoder holds beside source and result while it works: an upper bound.
pub(crate) fn decode_working_bytes(probe: &Probe) -> u64 {
    /// Tables, rows, inflate windows and profiles, whatever the size of the picture.
    const FIXED: u64 = 2 << 20;
    let rows = u64::from(probe.width_px) * 512;
    let pixels = if probe.format == Format::Png { probe.pixels() * u64::from(png_samples(probe)) } else { 0 };
    // Rows before and after upsampling or filtering.
    FIXED + rows + pixels + probe.decoder_bytes
}

/// Bytes a pixel beside the result: 16-bit samples before they are cut, grey (or a palette's index) before it is spread.
fn png_samples(probe: &Probe) -> u8 {
    let keyed = u8::from(probe.has_alpha && probe.channels % 2 == 1);
    match (probe.bits, probe.channels) {
        (16, channels) => (channels + keyed) * 2,
        (_, channels @ ..=2) => channels + keyed,
        _ => 0,
    }
}

/// Whether this source can be decoded to a smaller [`Scale`] than the full one.
pub(crate) fn can_shrink(probe: &Probe) -> bool {
    probe.format == Format::Jpeg
}

/// How much of a JPEG is read; other formats are read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) scale: Scale,
    pub(crate) refinement: Refinement,
    pub(crate) chroma: Chroma,
}

impl Reading {
    /// All of it.
    pub(crate) const WHOLE: Self = Self { scale: Scale::Full, refinement: Refinement::Read, chroma: Chroma::Large };
}

/// Decodes the picture `probe` was read from, read as a whole where it cannot shrink; sides are rounded up.
///
/// # Errors
/// `Truncated`, `Malformed`, `Unsupported`, `LimitExceeded` (a decoder wanted more memory than allowed), `Internal`.
pub(crate) fn decode(probe: &Probe, source: &[u8], limits: &Limits, reading: Reading) -> Result<Decoded, Error> {
    match probe.format {
        Format::Jpeg => jpeg::decode(probe, source, reading),
        Format::Png => png::decode(probe, source, limits),
        Format::WebP => webp::decode(probe, source),
        Format::Gif => gif::decode(probe, source, limits),
    }
}

/// Writes pixels; `quality` is 1 to 100 and means nothing to PNG. JPEG drops alpha: flatten first.
///
/// # Errors
/// `LimitExceeded` where a side is longer than the format can say, `Internal`.
pub(crate) fn encode(pixels: &Pixels, format: OutputFormat, quality: u8) -> Result<Vec<u8>, Error> {
    let longest_px = longest_side_px(format);
    let side_px = pixels.width_px.max(pixels.height_px);
    if side_px > longest_px {
        let text = format!("result has a side of {side_px} pixels, limit of {} is {longest_px}", format.as_str());
        return Err(Error::new(ErrorKind::LimitExceeded, ENCODE, text));
    }
    match format {
        OutputFormat::Jpeg => jpeg::encode(pixels, quality),
        OutputFormat::Png => png::encode(pixels),
        OutputFormat::WebP => webp::encode(pixels, quality),
    }
}

/// The longest side a format can say, in pixels: T.81 B.2.2, the PNG crate's own bound aside from 2^31 - 1, WebP's 14 bits.
pub(crate) const fn longest_side_px(format: OutputFormat) -> u32 {
    match format {
        OutputFormat::Jpeg => 65_535,
        OutputFormat::Png => 0x7fff_ffff,
        OutputFormat::WebP => 16_383,
    }
}

/// Bytes an encoder holds while it works, its output included: an upper bound for real pictures, from measured peaks and a margin.
pub(crate) fn encode_working_bytes(width_px: u32, height_px: u32, layout: Layout, format: OutputFormat, quality: u8) -> u64 {
    const FIXED: u64 = 1 << 20;
    let has_alpha = layout == Layout::Rgba8;
    let bytes_per_pixel = match format {
        // Planes and all coefficients, for optimised tables, and the growing output: measured 5.6 and 8.4.
        OutputFormat::Jpeg if quality < jpeg::FULL_CHROMA_QUALITY => 8,
        OutputFormat::Jpeg => 14,
        // A filtered copy and the growing output: measured 4.
        OutputFormat::Png => 8,
        // YUV, tokens and the output: measured 5.5. Alpha is a lossless picture of its own: with it, noise measured 34.
        OutputFormat::WebP => 10 + if has_alpha { 32 } else { 0 },
    };
    FIXED + u64::from(width_px) * u64::from(height_px) * bytes_per_pixel
}

/// A buffer for a whole picture; refuses what does not fit the address space.
fn picture_buffer(probe: &Probe, layout: Layout) -> Result<Vec<u8>, Error> {
    let bytes = Pixels::byte_count(probe.width_px, probe.height_px, layout);
    bytes.map(|bytes| vec![0; bytes]).ok_or_else(|| {
        let text = format!("image of {} pixels does not fit the memory of this machine", probe.pixels());
        Error::new(ErrorKind::LimitExceeded, DECODE, text).in_format(probe.format)
    })
}

/// Wraps decoded bytes; a decoder that gave another number of them than it said is our fault.
fn picture(probe: &Probe, layout: Layout, bytes: Vec<u8>) -> Result<Pixels, Error> {
    Pixels::new(probe.width_px, probe.height_px, layout, bytes)
        .ok_or_else(|| Error::new(ErrorKind::Internal, DECODE, "decoder gave a wrong number of bytes").in_format(probe.format))
}

/// The decoder saw other sides than the probe: two readers, two pictures, so neither is believed.
fn disagreement(format: Format) -> Error {
    Error::new(ErrorKind::Malformed, DECODE, "image says two different sizes").in_format(format)
}

#[cfg(test)]
pub(crate) mod tests;
