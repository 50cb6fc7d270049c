//! JPEG in (jpeg-shrink, strict) and out (jpeg-write).
//!
//! Luma and chroma stay planes, each as large as the reading makes it; who resamples them brings them to one size. A picture that ends
//! early is refused, not padded with grey: the decoder is strict, and before it starts the file must have an end-of-image marker behind
//! its first scan. CMYK and YCCK become sRGB as they are read, by their profile or by the formula of [`inks`](super::inks); Adobe's programs
//! write such samples inverted.

use super::{
    Chroma, DECODE, ENCODE, Opened, Reading, Rows, disagreement, icc,
    inks::{self, Inks},
};
use crate::{
    error::{Error, ErrorKind},
    metadata::Written,
    pixels::{Layout, Pixels, Shape, SourcePlane},
    probe::{Format, Probe},
    watch::Watch,
};
use jpeg_shrink::{ColourModel, Decoder};

/// Scans of a progressive picture; libjpeg's own scripts have ten, and each costs a walk over all blocks.
const MAX_SCANS: u32 = 100;

/// From here on chroma is written at full size.
pub(crate) const FULL_CHROMA_QUALITY: u8 = 90;

/// Rows given out at a time where they are not planes.
const STRIP_ROWS: u32 = 16;

/// A picture being decoded.
pub(super) struct Strips<'s> {
    decoder: Decoder<'s>,
    /// Where colours are not planes of luma and chroma: rows of those.
    rows: Option<RgbRows>,
}

/// Rows of red, green and blue.
struct RgbRows {
    bytes: Vec<u8>,
    printed: Option<Printed>,
    next_row: u32,
}

/// A picture of four inks.
struct Printed {
    inks: Inks,
    /// A row as the decoder gives it.
    row: Vec<u8>,
    /// Whether 255 is no ink.
    inverted: bool,
}

/// Opens a picture, whole or at a half, a quarter or an eighth, reading only what that needs.
pub(super) fn open<'s>(probe: &Probe, source: &'s [u8], reading: Reading) -> Result<Opened<'s>, Error> {
    if !has_end(source) {
        return Err(truncated());
    }
    let limits = jpeg_shrink::Limits {
        max_pixels: probe.pixels(),
        max_memory_bytes: working_bytes(probe, reading),
        max_scans: MAX_SCANS,
        ..jpeg_shrink::Limits::default()
    };
    let Reading { scale, refinement, chroma, corners, rgb, .. } = reading;
    let options = jpeg_shrink::Options { limits, refinement, chroma, corners, ..jpeg_shrink::Options::new(scale) };
    let decoder = Decoder::new(source, options).map_err(|error| not_decoded(error, Watch::NEVER))?;
    let header = decoder.header();
    let is_ycbcr = header.colour == ColourModel::YCbCr;
    if (header.width_px, header.height_px) != (probe.width_px, probe.height_px) || is_ycbcr != probe.frame.is_ycbcr {
        return Err(disagreement(Format::Jpeg));
    }
    let profile = if probe.needs_profile || probe.channels == 4 { header.icc_profile(source) } else { None };
    let to_srgb = profile.as_ref().filter(|_| probe.channels != 4).and_then(|profile| icc::read(profile, probe.channels == 1).conversion());
    let is_planar = is_ycbcr && !rgb || header.colour == ColourModel::Grey;
    let (planes, rows) = if is_planar {
        (planes(probe, reading, &decoder.plane_sides()), None)
    } else {
        let printed = (probe.channels == 4).then(|| Printed {
            inks: Inks::new(profile.as_deref()),
            row: vec![0; decoder.row_bytes()],
            inverted: header.adobe_transform.is_some(),
        });
        let plane = SourcePlane { width_px: decoder.width_px(), height_px: decoder.height_px(), share: (1.0, 1.0) };
        let bytes = vec![0; 3 * decoder.width_px() as usize * STRIP_ROWS as usize];
        (vec![plane], Some(RgbRows { bytes, printed, next_row: 0 }))
    };
    Ok(Opened { to_srgb, planes, strips: super::Strips::Jpeg(Box::new(Strips { decoder, rows })) })
}

/// How large a component is beside the decoded picture.
fn planes(probe: &Probe, reading: Reading, sides: &[(u32, u32)]) -> Vec<SourcePlane> {
    let largest = largest_factors(probe);
    let sampling = probe.frame.sampling;
    let plane = |(&(width_px, height_px), factors): (&(u32, u32), (u8, u8))| {
        let more = f64::from(enlarged(factors, largest, reading)) / f64::from(reading.scale.eighths());
        let share = (f64::from(factors.0) * more / f64::from(largest.0), f64::from(factors.1) * more / f64::from(largest.1));
        SourcePlane { width_px, height_px, share }
    };
    sides.iter().zip(sampling).map(plane).collect()
}

fn largest_factors(probe: &Probe) -> (u8, u8) {
    let factors = &probe.frame.sampling[..usize::from(probe.channels.min(4))];
    (factors.iter().map(|factors| factors.0).max().unwrap_or(1), factors.iter().map(|factors| factors.1).max().unwrap_or(1))
}

/// Samples a side of a component's blocks: as jpeg-shrink decides.
fn enlarged((across, down): (u8, u8), largest: (u8, u8), reading: Reading) -> u32 {
    let wanted = reading.scale.eighths();
    let (wide, high) = (u32::from(largest.0) * wanted, u32::from(largest.1) * wanted);
    let (across, down) = (u32::from(across), u32::from(down));
    let large = reading.chroma == Chroma::Large;
    let mut side = wanted;
    while side < 8
        && (large || wide > 2 * across * side || high > 2 * down * side)
        && wide.is_multiple_of(across * side * 2)
        && high.is_multiple_of(down * side * 2)
    {
        side *= 2;
    }
    side
}

/// Bytes the decoder holds beside the source: coefficients where they must wait, two strips, windows and tables.
pub(super) fn working_bytes(probe: &Probe, reading: Reading) -> u64 {
    /// Windows of entropy-coded data, tables, and what the chains ahead note; and at most what several scans were seen to need beside that.
    const FIXED: u64 = 1 << 20;
    const SCANS: u64 = 7 << 18;
    let largest = largest_factors(probe);
    let (mcus_wide, mcus_high) = (probe.width_px.div_ceil(8 * u32::from(largest.0)), probe.height_px.div_ceil(8 * u32::from(largest.1)));
    let mut bytes = FIXED + if probe.frame.waits { SCANS.min(probe.pixels() / 8) } else { 0 };
    for factors in probe.frame.sampling.into_iter().take(probe.channels.into()) {
        let side = u64::from(enlarged(factors, largest, reading));
        let blocks_wide = u64::from(mcus_wide) * u64::from(factors.0);
        let blocks = blocks_wide * u64::from(mcus_high) * u64::from(factors.1);
        // Refinements are told apart by a mask a block.
        let waiting = if probe.frame.waits { blocks * (2 * side * side + if probe.progressive { 8 } else { 0 }) } else { 0 };
        let strips = blocks_wide * side * (2 * side * u64::from(factors.1) + 1);
        bytes += waiting + strips;
    }
    let profile = match (probe.channels, probe.needs_profile) {
        (4, _) => inks::reading_bytes(probe.profile_bytes),
        (_, true) => icc::reading_bytes(probe.profile_bytes),
        _ => 0,
    };
    // Rows brought to one size and to colours, where they leave as that.
    bytes + profile + u64::from(reading.scale.of(probe.width_px)) * 3 * u64::from(STRIP_ROWS + 10)
}

impl Strips<'_> {
    /// The next rows of each plane; `false` at the end.
    pub(super) fn next(&mut self, watch: Watch<'_>, take: &mut dyn FnMut(usize, Rows<'_>)) -> Result<bool, Error> {
        let keep_going = || !watch.is_over();
        let not_decoded = |error| not_decoded(error, watch);
        let Some(rows) = &mut self.rows else {
            let Some(strip) = self.decoder.read_strip_while(&keep_going).map_err(not_decoded)? else { return Ok(false) };
            for (index, samples) in strip.components().enumerate() {
                take(index, Rows { bytes: samples.bytes, stride: samples.stride, first_row: samples.first_row });
            }
            return Ok(true);
        };
        let stride = 3 * self.decoder.width_px() as usize;
        let count = match &mut rows.printed {
            None => self.decoder.read_rows_while(&mut rows.bytes, &keep_going).map_err(not_decoded)?,
            Some(Printed { inks, row, inverted }) => {
                let mut count = 0;
                for rgb in rows.bytes.chunks_exact_mut(stride) {
                    if self.decoder.read_rows_while(row, &keep_going).map_err(not_decoded)? == 0 {
                        break;
                    }
                    if *inverted {
                        row.iter_mut().for_each(|ink| *ink = 255 - *ink);
                    }
                    inks.to_srgb(row, rgb);
                    count += 1;
                }
                count
            }
        };
        if count == 0 {
            return Ok(false);
        }
        take(0, Rows { bytes: &rows.bytes[..count * stride], stride, first_row: rows.next_row });
        rows.next_row += count as u32;
        Ok(true)
    }
}

fn not_decoded(error: jpeg_shrink::Error, watch: Watch<'_>) -> Error {
    use jpeg_shrink::ErrorKind as Kind;
    if error.kind() == Kind::Interrupted
        && let Err(over) = watch.check(DECODE)
    {
        return over.in_format(Format::Jpeg);
    }
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

/// The profile in a file's segments.
pub(super) fn profile(source: &[u8]) -> Option<Vec<u8>> {
    jpeg_shrink::probe(source).ok()?.icc_profile(source)
}

/// Bytes of a segment of a profile: 65533 less its name and numbers (ICC.1:2022, B.4).
const PROFILE_PIECE_BYTES: usize = 65_519;

/// The segments of blocks: Exif first, as readers expect it (Exif 2.32, 4.5.4).
fn segments(written: &Written) -> Vec<(u8, Vec<u8>)> {
    let mut segments = Vec::new();
    if let Some(exif) = &written.exif {
        segments.push((1, [b"Exif\0\0", &exif[..]].concat()));
    }
    if let Some(packet) = &written.xmp {
        segments.push((1, [b"http://ns.adobe.com/xap/1.0/\0", packet.as_bytes()].concat()));
    }
    let pieces = written.profile.as_deref().unwrap_or_default().chunks(PROFILE_PIECE_BYTES);
    let count = pieces.len() as u8;
    segments.extend(pieces.zip(1..=count).map(|(piece, number)| (2, [b"ICC_PROFILE\0", &[number, count][..], piece].concat())));
    segments
}

/// Baseline or progressive, Huffman tables of its own; 4:2:0 below quality 90 and 4:4:4 from there, as sharp and Pillow's users know it. Planes are
/// written as they are.
pub(super) fn encode(pixels: &Pixels, quality: u8, progressive: bool, written: &Written, watch: Watch<'_>) -> Result<Vec<u8>, Error> {
    let mut planes = pixels.planes().map(|plane| jpeg_write::Plane {
        samples: plane.bytes,
        stride: plane.stride,
        width_px: plane.width_px,
        height_px: plane.height_px,
    });
    let Pixels { width_px, height_px, .. } = *pixels;
    let picture = match (pixels.layout, planes.next(), planes.next(), planes.next()) {
        (Layout::Grey8, Some(luma), ..) => jpeg_write::Picture::Grey(luma),
        (Layout::Ycc444 | Layout::Ycc420, Some(luma), Some(blue), Some(red)) => jpeg_write::Picture::YCbCr { luma, blue, red },
        (Layout::Rgba8, ..) => jpeg_write::Picture::Rgba { bytes: &pixels.bytes, width_px, height_px },
        _ => jpeg_write::Picture::Rgb { bytes: &pixels.bytes, width_px, height_px },
    };
    let sampling = if quality < FULL_CHROMA_QUALITY { jpeg_write::Sampling::Half } else { jpeg_write::Sampling::Full };
    let segments = segments(written);
    let segments: Vec<jpeg_write::Segment<'_>> =
        segments.iter().map(|(number, bytes)| jpeg_write::Segment { number: *number, bytes }).collect();
    let options = jpeg_write::Options { quality, sampling, progressive, segments: &segments };
    let mut bytes = Vec::new();
    jpeg_write::encode_while(&picture, &options, &mut bytes, &|| !watch.is_over()).map_err(|error| match watch.check(ENCODE) {
        Err(over) if error == jpeg_write::Error::Interrupted => over.in_format(Format::Jpeg),
        _ => Error::new(ErrorKind::Internal, ENCODE, "jpeg could not be written").in_format(Format::Jpeg).caused_by(error),
    })?;
    Ok(bytes)
}

/// Bytes the encoder holds while it works, its output included, of which a buffer that grows holds up to twice: an upper bound, noise included.
pub(super) fn encode_working_bytes(shape: Shape, quality: u8, progressive: bool) -> u64 {
    // Of the output, eighths of a byte for each pixel.
    let (sampling, eighths) = match (shape.layout, quality) {
        (Layout::Grey8, _) => (None, 9),
        (_, ..FULL_CHROMA_QUALITY) => (Some(jpeg_write::Sampling::Half), 5),
        _ => (Some(jpeg_write::Sampling::Full), 20),
    };
    jpeg_write::working_bytes(shape.width_px, shape.height_px, sampling, progressive) + shape.pixels() * eighths / 8
}
