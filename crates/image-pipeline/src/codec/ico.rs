//! ICO in: the entry the probe chose, a PNG by our own reader, a bitmap with its mask by the `image` crate's.

use super::{
    DECODE, Opened,
    bmp::{refused, whole},
    caught, disagreement, png,
};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    probe::{Format, Icon, Parts, Probe},
};
use image::codecs::ico::IcoDecoder;
use std::io::Cursor;

/// Head of a file with one entry.
const HEAD_BYTES: usize = 6 + 16;

/// Bytes held beside the source, the picture included.
pub(super) fn working_bytes(probe: &Probe) -> u64 {
    /// Head, header, palette.
    const FIXED: u64 = 64 << 10;
    match &probe.parts {
        Parts::Icon(icon) => icon.png.as_ref().map_or(FIXED + probe.pixels() * 4 + bitmap_bytes(probe), png::working_bytes),
        _ => FIXED + probe.pixels() * 4,
    }
}

/// Bytes of a bitmap of these sides at most: 32 bits a pixel, a palette, a mask.
fn bitmap_bytes(probe: &Probe) -> u64 {
    const HEADER_AND_PALETTE: u64 = 2048;
    HEADER_AND_PALETTE + probe.pixels() * 4 + u64::from(probe.width_px).div_ceil(32) * 4 * u64::from(probe.height_px)
}

/// Opens the chosen entry.
pub(super) fn open<'s>(probe: &Probe, source: &'s [u8], limits: &Limits) -> Result<Opened<'s>, Error> {
    let Parts::Icon(icon) = &probe.parts else { return Err(disagreement(Format::Ico)) };
    let Icon { start, bytes, ref png } = **icon;
    let (start, bytes) = (start as usize, bytes as usize);
    let cut = || Error::new(ErrorKind::Truncated, DECODE, "ico ends before its picture does").in_format(Format::Ico);
    let entry = source.get(start..).and_then(|rest| rest.get(..bytes)).ok_or_else(cut)?;
    if let Some(inner) = png {
        return png::open(inner, entry, limits);
    }
    let entry = &entry[..entry.len().min(usize::try_from(bitmap_bytes(probe)).unwrap_or(usize::MAX))];
    // The library chooses for itself: it is shown a file of one entry.
    let side = |side_px: u32| if side_px >= 256 { 0 } else { side_px as u8 };
    let mut file = Vec::with_capacity(HEAD_BYTES + entry.len());
    file.extend([0, 0, 1, 0, 1, 0, side(probe.width_px), side(probe.height_px), 0, 0, 1, 0, 32, 0]);
    file.extend((entry.len() as u32).to_le_bytes());
    file.extend((HEAD_BYTES as u32).to_le_bytes());
    file.extend_from_slice(entry);
    let pixels = caught(Format::Ico, || {
        let decoder = IcoDecoder::new(Cursor::new(&file)).map_err(|error| refused(Format::Ico, error))?;
        whole(probe, decoder)
    })?;
    Ok(Opened::whole(pixels, None))
}
