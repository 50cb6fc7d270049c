//! TIFF (revision 6.0) and BigTIFF: the first directory's fields, and how many pages there are.
//!
//! Directories lie anywhere in a file: a head slice mostly ends in `Truncated`. No array is longer than [`MAX_VALUES`], no walk longer than the pages
//! allowed.

use super::{Format, Orientation, Probe, Reader, check_area, check_frames};
use crate::{
    codec::{self, ToSrgb},
    error::{Error, ErrorKind},
    limits::Limits,
    probe::Parts,
};
use std::{
    io::{BufRead, Read, Seek},
    ops::Range,
    sync::Arc,
};

/// Fields of a directory at most: real ones have some tens.
const MAX_FIELDS: u64 = 4096;
/// Values of a field read at most: a palette of 8 bits has 768.
const MAX_VALUES: u64 = 3 << 8;
/// Strips or tiles at most.
const MAX_CHUNKS: u64 = 1 << 17;
/// Profiles read at most.
const MAX_PROFILE_BYTES: u64 = 4 << 20;

/// How the samples of a page lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tiff {
    /// 262: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 inks, 6 YCbCr, others.
    pub(crate) photometric: u16,
    /// Where that number stands in the file, and its bytes there.
    pub(crate) photometric_at: Range<u64>,
    pub(crate) big_endian: bool,
    /// 258, of every sample.
    pub(crate) bits: u8,
    /// 277.
    pub(crate) samples: u16,
    /// 339: 1 unsigned, 2 signed, 3 floating point.
    pub(crate) sample_format: u16,
    /// 284: a plane for each sample.
    pub(crate) is_planar: bool,
    /// 259.
    pub(crate) compression: u16,
    /// 338, the first: 1 alpha that colours are multiplied by, 2 alpha apart.
    pub(crate) extra: Option<u16>,
    pub(crate) chunk_width_px: u32,
    pub(crate) chunk_height_px: u32,
    pub(crate) is_tiled: bool,
    /// Of one plane.
    pub(crate) chunks: u32,
    /// 320: all reds, all greens, all blues.
    pub(crate) palette: Vec<u16>,
    /// 530.
    pub(crate) subsampling: (u16, u16),
    /// Bytes of the shared tables of JPEG strips.
    pub(crate) table_bytes: u64,
    pub(crate) icc: Option<Vec<u8>>,
}

/// One field of a directory.
#[derive(Clone, Copy)]
struct Field {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where its values lie.
    at: u64,
}

impl Field {
    /// Bytes of a value (section 2, "Types").
    fn value_bytes(self) -> u64 {
        match self.kind {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 1,
        }
    }
}

struct Order {
    big_endian: bool,
    /// BigTIFF.
    wide: bool,
}

impl Order {
    fn number(&self, bytes: &[u8]) -> u64 {
        let fold = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
    }
}

/// Whether a file begins as a TIFF does.
pub(super) fn is_signature(head: &[u8]) -> bool {
    matches!(head.first_chunk::<4>(), Some(b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+"))
}

/// Reads the file from its first byte.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let head = reader.array::<4>()?;
    let order = Order { big_endian: head[0] == b'M', wide: head.contains(&b'+') };
    if order.wide {
        let sizes = reader.array::<4>()?;
        if order.number(&sizes[..2]) != 8 || order.number(&sizes[2..]) != 0 {
            return Err(reader.error(ErrorKind::Malformed, "tiff has offsets of another size than 8 bytes"));
        }
    }
    let first = number(reader, &order, if order.wide { 8 } else { 4 })?;
    let (fields, next) = directory(reader, &order, first)?;
    let mut probe = describe(reader, &order, &fields, limits)?;
    match pages(reader, &order, first, next, limits) {
        Ok(pages) => probe.frames = Some(pages),
        Err(error) if error.kind() == ErrorKind::Truncated => probe.frames = None,
        Err(error) => return Err(error),
    }
    Ok(probe)
}

fn number<R: BufRead + Seek>(reader: &mut Reader<'_, R>, order: &Order, bytes: usize) -> Result<u64, Error> {
    let mut found = [0; 8];
    reader.fill(&mut found[..bytes])?;
    Ok(order.number(&found[..bytes]))
}

/// The fields of the directory at `at`, and where the next one lies, 0 for none.
fn directory<R: BufRead + Seek>(reader: &mut Reader<'_, R>, order: &Order, at: u64) -> Result<(Vec<Field>, u64), Error> {
    reader.seek_to(at)?;
    let count = number(reader, order, if order.wide { 8 } else { 2 })?;
    if count > MAX_FIELDS {
        return Err(reader.error(ErrorKind::Malformed, format!("tiff has a directory of {count} fields, at most {MAX_FIELDS} are read")));
    }
    let inline_bytes = if order.wide { 8 } else { 4 };
    let mut fields = Vec::new();
    for _ in 0..count {
        let (tag, kind) = (number(reader, order, 2)? as u16, number(reader, order, 2)? as u16);
        let count = number(reader, order, inline_bytes)?;
        let at = reader.position()?;
        let mut field = Field { tag, kind, count, at };
        let value = number(reader, order, inline_bytes)?;
        if count.saturating_mul(field.value_bytes()) > inline_bytes as u64 {
            field.at = value;
        }
        fields.push(field);
    }
    let next = number(reader, order, inline_bytes)?;
    Ok((fields, next))
}

/// Counts the pages of the chain; smaller copies of others (NewSubfileType 1) and masks (4) are none.
fn pages<R: BufRead + Seek>(reader: &mut Reader<'_, R>, order: &Order, first: u64, next: u64, limits: &Limits) -> Result<u32, Error> {
    let mut seen = vec![first];
    let mut pages = 1;
    let mut at = next;
    // Copies and masks are walked over, too.
    let most = limits.max_frames.saturating_mul(4).max(16) as usize;
    while at != 0 && !seen.contains(&at) && seen.len() < most {
        seen.push(at);
        let (fields, next) = directory(reader, order, at)?;
        let kind = match find(&fields, 254) {
            Some(field) => values(reader, order, field)?.first().copied().unwrap_or(0),
            None => 0,
        };
        if kind & 0b101 == 0 {
            pages += 1;
            check_frames(Format::Tiff, pages, 0, limits)?;
        }
        at = next;
    }
    Ok(pages)
}

fn find(fields: &[Field], tag: u16) -> Option<Field> {
    fields.iter().find(|field| field.tag == tag).copied()
}

/// The whole numbers of a field, [`MAX_VALUES`] at most; of other types none.
fn values<R: BufRead + Seek>(reader: &mut Reader<'_, R>, order: &Order, field: Field) -> Result<Vec<u64>, Error> {
    if !matches!(field.kind, 1 | 3 | 4 | 7 | 13 | 16 | 18) {
        return Ok(Vec::new());
    }
    reader.seek_to(field.at)?;
    (0..field.count.min(MAX_VALUES)).map(|_| number(reader, order, field.value_bytes() as usize)).collect()
}

fn describe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, order: &Order, fields: &[Field], limits: &Limits) -> Result<Probe, Error> {
    let mut all = |tag: u16| -> Result<Vec<u64>, Error> {
        find(fields, tag).map(|field| values(reader, order, field)).transpose().map(Option::unwrap_or_default)
    };
    let mut one = |tag: u16, default: u64| -> Result<u64, Error> { Ok(all(tag)?.first().copied().unwrap_or(default)) };
    let side = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let (width_px, height_px) = (side(one(256, 0)?), side(one(257, 0)?));
    check_area(Format::Tiff, width_px, height_px, limits)?;
    let (compression, samples, planar) = (one(259, 1)? as u16, one(277, 1)?, one(284, 1)?);
    let orientation = one(274, 1)?;
    let is_tiled = find(fields, 322).is_some();
    let (chunk_width_px, chunk_height_px) =
        if is_tiled { (side(one(322, 0)?), side(one(323, 0)?)) } else { (width_px, side(one(278, u64::from(height_px))?).min(height_px)) };
    let (bits, formats, extra, palette, subsampling) = (all(258)?, all(339)?, all(338)?, all(320)?, all(530)?);
    let photometric = find(fields, 262).filter(|field| field.count == 1 && matches!(field.kind, 3 | 4));
    let broken = |text: &'static str| Error::new(ErrorKind::Malformed, super::STAGE, text).in_format(Format::Tiff);
    let unread = |text: String| Error::new(ErrorKind::Unsupported, super::STAGE, text).in_format(Format::Tiff);
    let Some(photometric) = photometric else { return Err(unread("tiff does not say what its samples are".to_owned())) };
    let photometric_at = photometric.at..photometric.at + photometric.value_bytes();
    let photometric = values(reader, order, photometric)?.first().copied().unwrap_or(0) as u16;
    let depth = bits.first().copied().unwrap_or(1);
    if samples == 0 || samples > 64 || bits.iter().any(|&other| other != depth) {
        return Err(unread(format!("tiff has {samples} samples a pixel of {bits:?} bits, which are not read")));
    }
    if chunk_width_px == 0 || chunk_height_px == 0 {
        return Err(broken("tiff has strips or tiles without pixels"));
    }
    let chunks = u64::from(width_px).div_ceil(u64::from(chunk_width_px)) * u64::from(height_px).div_ceil(u64::from(chunk_height_px));
    let planes = if planar == 2 { samples } else { 1 };
    if chunks * planes > MAX_CHUNKS {
        return Err(unread(format!("tiff has {} strips or tiles, at most {MAX_CHUNKS} are read", chunks * planes)));
    }
    // A tile may be larger than its picture, but not by much.
    let tile_pixels = u64::from(chunk_width_px).saturating_mul(u64::from(chunk_height_px));
    if is_tiled && tile_pixels > limits.max_pixels {
        return Err(Error::new(
            ErrorKind::TooManyPixels,
            super::STAGE,
            format!("tiff has tiles of {tile_pixels} pixels, limit is {}", limits.max_pixels),
        )
        .in_format(Format::Tiff));
    }
    let icc = match find(fields, 34_675) {
        Some(field) if field.count > 4 && field.count <= MAX_PROFILE_BYTES => Some(bytes(reader, field)?),
        _ => None,
    };
    let extra = extra.first().map(|&kind| kind as u16);
    let colours = match photometric {
        2 | 6 => 3,
        5 => 4,
        _ => 1,
    };
    let mut probe = Probe::still(Format::Tiff, width_px, height_px);
    probe.orientation = u32::try_from(orientation).ok().and_then(Orientation::from_exif).unwrap_or_default();
    probe.bits = u8::try_from(depth).unwrap_or(u8::MAX);
    probe.has_alpha = samples > colours && matches!(extra, Some(1 | 2));
    probe.channels = colours as u8 + u8::from(probe.has_alpha);
    probe.has_icc = icc.is_some();
    probe.profile_bytes = icc.as_ref().map_or(0, |profile| profile.len() as u64);
    probe.needs_profile = photometric != 5 && icc.as_deref().is_some_and(|profile| ToSrgb::from_profile(profile).is_some());
    let tiff = Tiff {
        photometric,
        photometric_at,
        big_endian: order.big_endian,
        bits: probe.bits,
        samples: samples as u16,
        sample_format: formats.first().map_or(1, |&format| format as u16),
        is_planar: planar == 2,
        compression,
        extra,
        chunk_width_px,
        chunk_height_px,
        is_tiled,
        chunks: chunks as u32,
        palette: palette.iter().map(|&value| value as u16).collect(),
        subsampling: (subsampling.first().map_or(2, |&by| by as u16), subsampling.get(1).map_or(2, |&by| by as u16)),
        table_bytes: find(fields, 347).map_or(0, |field| field.count),
        icc,
    };
    probe.decoder_bytes = codec::tiff_bytes(&probe, &tiff);
    probe.parts = Parts::Tiff(Arc::new(tiff));
    Ok(probe)
}

/// All bytes of a field, whose number the caller bounded.
fn bytes<R: BufRead + Seek>(reader: &mut Reader<'_, R>, field: Field) -> Result<Vec<u8>, Error> {
    reader.seek_to(field.at)?;
    let mut found = Vec::new();
    reader.source.by_ref().take(field.count).read_to_end(&mut found).map_err(|error| reader.failed(error))?;
    if found.len() as u64 != field.count {
        return Err(reader.error(ErrorKind::Truncated, "image ends inside its metadata"));
    }
    Ok(found)
}
