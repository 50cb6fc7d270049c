//! All 16 bits of a PNG, in and out, for results that keep the depth of their source. What becomes 8 bits is not here.

use super::{STRIP_ROWS, encoder, library, ordinary::Ordinary, refused, unwritable};
use crate::codec::{DECODE, disagreement};
use crate::deep::Deep;
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;
use crate::metadata::Written;
use crate::probe::{Format, Probe};
use crate::watch::Watch;
use png::{BitDepth, ColorType, Compression, Filter};

/// Samples of a pixel as [`decode`] gives them: the file's, and one more where a colour of it is transparent.
pub(crate) fn channels(probe: &Probe) -> usize {
    usize::from(probe.channels) + usize::from(probe.has_alpha && probe.channels % 2 == 1)
}

/// The default image as stored.
pub(crate) fn decode(probe: &Probe, source: &[u8], limits: &Limits, watch: Watch<'_>) -> Result<Deep, Error> {
    let mut reader = library(probe, source, limits)?;
    let (colour, depth) = reader.output_color_type();
    if depth != BitDepth::Sixteen || colour.samples() != channels(probe) {
        return Err(disagreement(Format::Png));
    }
    let mut picture = Deep::blank(probe.width_px, probe.height_px, channels(probe))?;
    let row_bytes = picture.stride();
    let too_large = || Error::new(ErrorKind::LimitExceeded, DECODE, "image does not fit the memory of this machine").in_format(Format::Png);
    if let Some(mut ordinary) = Ordinary::open(reader.info(), source)? {
        let mut left = picture.bytes_mut();
        while let Some(rows) = ordinary.strip()? {
            watch.check(DECODE)?;
            let (to, rest) = left.split_at_mut_checked(rows.len()).ok_or_else(|| disagreement(Format::Png))?;
            to.copy_from_slice(rows);
            left = rest;
        }
        if !left.is_empty() {
            return Err(disagreement(Format::Png));
        }
    } else if reader.info().interlaced {
        if reader.output_buffer_size().ok_or_else(too_large)? != picture.bytes_mut().len() {
            return Err(disagreement(Format::Png));
        }
        reader.next_frame(picture.bytes_mut()).map_err(refused)?;
        reader.finish().map_err(refused)?;
    } else {
        for (at, to) in picture.bytes_mut().chunks_exact_mut(row_bytes).enumerate() {
            if (at as u32).is_multiple_of(STRIP_ROWS) {
                watch.check(DECODE)?;
            }
            let row = reader.next_row().map_err(refused)?.ok_or_else(|| disagreement(Format::Png))?;
            to.copy_from_slice(row.data().get(..row_bytes).ok_or_else(|| disagreement(Format::Png))?);
        }
        reader.finish().map_err(refused)?;
    }
    picture.make_native();
    Ok(picture)
}

/// Whether [`decode`] is for this file: one of 16 bits a sample.
pub(crate) fn is_deep(probe: &Probe) -> bool {
    probe.bits == 16 && !probe.is_animated()
}

/// Writes all 16 bits.
pub(crate) fn encode(mut picture: Deep, written: &Written) -> Result<Vec<u8>, Error> {
    picture.make_big_endian();
    let mut bytes = Vec::new();
    let mut encoder = encoder((picture.width_px(), picture.height_px()), &mut bytes, written)?;
    encoder.set_color(match picture.channels() {
        1 => ColorType::Grayscale,
        2 => ColorType::GrayscaleAlpha,
        3 => ColorType::Rgb,
        _ => ColorType::Rgba,
    });
    encoder.set_depth(BitDepth::Sixteen);
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Adaptive);
    let write = || {
        let mut writer = encoder.write_header()?;
        writer.write_image_data(picture.bytes())?;
        writer.finish()
    };
    write().map_err(unwritable)?;
    Ok(bytes)
}
