//! ICO: the directory, and the header of its largest picture, a PNG or a bitmap.

use super::{Parts, Probe, Reader, bmp, check_area, png};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    probe::Format,
};
use std::{
    io::{BufRead, Seek},
    sync::Arc,
};

/// The entry that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Icon {
    /// Where it lies in the file, and its bytes.
    pub(crate) start: u32,
    pub(crate) bytes: u32,
    /// What its own header says, where it is a PNG.
    pub(crate) png: Option<Probe>,
}

/// Bytes of the head, of an entry.
const HEAD_BYTES: u32 = 6;
const ENTRY_BYTES: u32 = 16;

/// Whether a file begins as an icon does. Four bytes of small numbers are little: the first entry must lie behind the directory.
pub(super) fn is_signature(head: &[u8]) -> bool {
    let Some(&[0, 0, 1, 0, low, high, ..]) = head.first_chunk::<6>() else { return false };
    let count = u32::from(u16::from_le_bytes([low, high]));
    // The first entry's length and place.
    let word = |at: usize| head.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>()).map(|bytes| u32::from_le_bytes(*bytes));
    let (length, place) = (word(14), word(18));
    (1..=256).contains(&count)
        && length.is_some_and(|length| (40..1 << 26).contains(&length))
        && place.is_some_and(|place| (HEAD_BYTES + count * ENTRY_BYTES..1 << 26).contains(&place))
}

/// Reads the file from its first byte.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    reader.skip(4)?;
    let count = reader.u16_le()?;
    // Largest first, then deepest; of equals the first.
    let mut best: Option<((u32, u16), u32, u32)> = None;
    for _ in 0..count {
        let [width, height, _colours, _reserved] = reader.array::<4>()?;
        let (_planes, bits) = (reader.u16_le()?, reader.u16_le()?);
        let (bytes, start) = (reader.u32_le()?, reader.u32_le()?);
        let side = |side: u8| if side == 0 { 256 } else { u32::from(side) };
        let rank = (side(width) * side(height), bits);
        if best.is_none_or(|(other, ..)| rank > other) {
            best = Some((rank, start, bytes));
        }
    }
    let Some((_, start, bytes)) = best else { return Err(reader.error(ErrorKind::Malformed, "ico has no pictures")) };
    reader.seek_to(u64::from(start))?;
    let is_png = reader.array::<8>()? == *png::SIGNATURE;
    let mut found;
    let mut inner = None;
    if is_png {
        let picture = png::probe(reader, limits)?;
        found = Probe { format: Format::Ico, ..picture.clone() };
        inner = Some(picture);
    } else {
        reader.seek_to(u64::from(start))?;
        let (width_px, height_px, bits) = bmp::header(reader)?;
        // Colours and mask one above the other.
        let height_px = height_px / 2;
        check_area(Format::Ico, width_px, height_px, limits)?;
        found = Probe::still(Format::Ico, width_px, height_px);
        (found.has_alpha, found.bits) = (true, bits.min(8) as u8);
        found.channels = if bits <= 8 { 2 } else { 4 };
    }
    found.frames = Some(1);
    found.parts = Parts::Icon(Arc::new(Icon { start, bytes, png: inner }));
    Ok(found)
}
