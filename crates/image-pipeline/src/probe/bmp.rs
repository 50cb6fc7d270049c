//! BMP: the file header and the bitmap header behind it, of any version.

use super::{Probe, Reader, check_area};
use crate::{
    codec,
    error::{Error, ErrorKind},
    limits::Limits,
    probe::Format,
};
use std::io::{BufRead, Seek};

/// Sizes of the bitmap headers that exist: OS/2's two, Windows' five and one with masks.
const HEADER_BYTES: [u32; 8] = [12, 16, 40, 52, 56, 64, 108, 124];

/// Whether a file begins as a BMP does. Two letters are little: the size of a header must follow.
pub(super) fn is_signature(head: &[u8]) -> bool {
    let header = head.get(14..18).and_then(|bytes| bytes.first_chunk::<4>());
    head.starts_with(b"BM") && header.is_some_and(|bytes| HEADER_BYTES.contains(&u32::from_le_bytes(*bytes)))
}

/// Reads the file from its first byte; `head` is its beginning, all headers and the palette among it.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, head: &[u8], limits: &Limits) -> Result<Probe, Error> {
    reader.skip(14)?;
    let (width_px, height_px, bits) = header(reader)?;
    check_area(Format::Bmp, width_px, height_px, limits)?;
    let mut probe = Probe::still(Format::Bmp, width_px, height_px);
    probe.bits = bits.min(8) as u8;
    probe.has_alpha = codec::bmp_has_alpha(head).ok_or_else(|| reader.error(ErrorKind::Malformed, "bmp has a broken header"))?;
    probe.channels = match (bits, probe.has_alpha) {
        (..=8, _) => 1,
        (_, true) => 4,
        (_, false) => 3,
    };
    Ok(probe)
}

/// Sides and bits a pixel of a bitmap header. A negative height means top to bottom.
pub(super) fn header<R: BufRead + Seek>(reader: &mut Reader<'_, R>) -> Result<(u32, u32, u16), Error> {
    let header_bytes = reader.u32_le()?;
    if !HEADER_BYTES.contains(&header_bytes) {
        return Err(reader.error(ErrorKind::Malformed, format!("bitmap has a header of {header_bytes} bytes, which does not exist")));
    }
    let (width_px, height_px) = if header_bytes == 12 {
        (u32::from(reader.u16_le()?), u32::from(reader.u16_le()?))
    } else {
        let (width, height) = (reader.u32_le()?.cast_signed(), reader.u32_le()?.cast_signed());
        (u32::try_from(width).unwrap_or(0), height.unsigned_abs())
    };
    reader.skip(2)?;
    let bits = reader.u16_le()?;
    Ok((width_px, height_px, bits))
}
