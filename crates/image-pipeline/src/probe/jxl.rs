//! JPEG XL: the headers of its codestream (ISO/IEC 18181-1, annex D and E), bare or in boxes (18181-2).
//!
//! Bits are read from a bounded beginning of the codestream. The colour profile, which is packed, is not unpacked here.

use super::{Orientation, Probe, Reader, bmff::BoxHead, check_area, check_frames};
use crate::{
    codec,
    error::{Error, ErrorKind},
    limits::Limits,
    probe::{Format, Parts},
};
use std::io::{BufRead, Read, Seek};

/// Bytes of the codestream looked at: names of channels may be some kilobytes.
const MAX_HEAD_BYTES: u64 = 64 << 10;
/// Boxes walked at most before the codestream.
const MAX_BOXES: u32 = 1000;
/// 18181-2, 9.1.
const CONTAINER: &[u8; 12] = b"\0\0\0\x0cJXL \r\n\x87\n";
const CODESTREAM: [u8; 2] = [0xff, 0x0a];

/// What a decoder needs to know beside the sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jxl {
    /// Channels beside colours: alpha, depth, spots.
    pub(crate) extra_channels: u32,
    pub(crate) is_grey: bool,
    /// The profile is packed into the codestream.
    pub(crate) has_icc: bool,
}

pub(super) fn is_signature(head: &[u8]) -> bool {
    head.starts_with(CONTAINER) || head.starts_with(&CODESTREAM)
}

/// Reads the file from its first byte.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let head = codestream(reader)?;
    let mut bits = Bits { bytes: &head, at: 0 };
    let found = Header::read(&mut bits);
    let Some(found) = found else {
        let is_cut = (head.len() as u64) < MAX_HEAD_BYTES;
        let (kind, text) = if is_cut {
            (ErrorKind::Truncated, "image ends inside its header")
        } else {
            (ErrorKind::Malformed, "jpeg xl has a header that does not end")
        };
        return Err(reader.error(kind, text));
    };
    if found.signature != CODESTREAM {
        return Err(reader.error(ErrorKind::Malformed, "jpeg xl has boxes without a codestream"));
    }
    let side = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
    let (width_px, height_px) = (side(found.width), side(found.height));
    check_area(Format::Jxl, width_px, height_px, limits)?;
    let mut probe = Probe::still(Format::Jxl, width_px, height_px);
    probe.orientation = Orientation::from_exif(found.orientation).unwrap_or_default();
    probe.bits = found.bits.min(32) as u8;
    probe.has_alpha = found.has_alpha;
    probe.channels = if found.jxl.is_grey { 1 } else { 3 } + u8::from(found.has_alpha);
    (probe.has_icc, probe.needs_profile) = (found.jxl.has_icc, !found.is_srgb);
    probe.parts = Parts::Jxl(found.jxl);
    if found.is_animated {
        // A packed profile is not unpacked for a number.
        probe.frames = if found.jxl.has_icc { None } else { frames(reader, probe.pixels(), limits)? };
    }
    Ok(probe)
}

fn frames<R: BufRead + Seek>(reader: &mut Reader<'_, R>, pixels: u64, limits: &Limits) -> Result<Option<u32>, Error> {
    reader.seek_to(0)?;
    let frames = codec::jxl_frames(reader.source, limits.max_frames)?;
    frames.map(|frames| check_frames(Format::Jxl, frames, pixels, limits).map(|()| frames.max(1))).transpose()
}

/// The beginning of the codestream, put together where it lies in pieces.
fn codestream<R: BufRead + Seek>(reader: &mut Reader<'_, R>) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    let take = |reader: &mut Reader<'_, R>, bytes: u64, head: &mut Vec<u8>| -> Result<(), Error> {
        let bytes = bytes.min(MAX_HEAD_BYTES - head.len() as u64);
        reader.source.by_ref().take(bytes).read_to_end(head).map(drop).map_err(|error| reader.failed(error))
    };
    if reader.array::<2>()? == CODESTREAM {
        head.extend(CODESTREAM);
        take(reader, MAX_HEAD_BYTES, &mut head)?;
        return Ok(head);
    }
    reader.skip(CONTAINER.len() as u64 - 2)?;
    for _ in 0..MAX_BOXES {
        if reader.at_end()? || head.len() as u64 == MAX_HEAD_BYTES {
            break;
        }
        let (size, kind) = (reader.u32_be()?, reader.array()?);
        let large = if size == 1 { Some(u64::from_be_bytes(reader.array()?)) } else { None };
        let found =
            BoxHead::of(size, kind, large).ok_or_else(|| reader.error(ErrorKind::Malformed, "file has a box smaller than its own head"))?;
        let bytes = found.body_bytes;
        match &found.kind {
            b"jxlc" => {
                take(reader, bytes.unwrap_or(u64::MAX), &mut head)?;
                break;
            }
            b"jxlp" => {
                let place = reader.u32_be()?;
                let bytes = bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(4));
                let before = head.len() as u64;
                take(reader, bytes, &mut head)?;
                let read = head.len() as u64 - before;
                // The top bit marks the last piece.
                if place >> 31 == 1 || bytes == u64::MAX {
                    break;
                }
                reader.skip(bytes - read)?;
            }
            _ => match bytes {
                Some(bytes) => reader.skip(bytes)?,
                None => break,
            },
        }
    }
    Ok(head)
}

/// Bits, lowest first (annex B.1).
struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Bits<'_> {
    fn read(&mut self, count: usize) -> Option<u64> {
        let mut value = 0;
        for place in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value |= u64::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.read(1)? == 1)
    }

    /// `U32` (B.2.2): bits and what is added, of four ways.
    fn u32(&mut self, ways: [(usize, u64); 4]) -> Option<u64> {
        let (count, added) = ways[self.read(2)? as usize];
        Some(self.read(count)? + added)
    }

    /// `Enum` (B.2.5).
    fn word(&mut self) -> Option<u64> {
        self.u32([(0, 0), (0, 1), (4, 2), (6, 18)])
    }

    /// `SizeHeader` (D.2): width and height.
    fn size(&mut self) -> Option<(u64, u64)> {
        let small = self.flag()?;
        let side =
            |bits: &mut Self| if small { Some((bits.read(5)? + 1) * 8) } else { Some(bits.u32([(9, 0), (13, 0), (18, 0), (30, 0)])? + 1) };
        let height = side(self)?;
        let width = match self.ratio(height)? {
            Some(width) => width,
            None => side(self)?,
        };
        Some((width, height))
    }

    /// The width by its ratio to the height; `None` where it is said apart.
    fn ratio(&mut self, height: u64) -> Option<Option<u64>> {
        Some(match self.read(3)? {
            1 => Some(height),
            2 => Some(height * 12 / 10),
            3 => Some(height * 4 / 3),
            4 => Some(height * 3 / 2),
            5 => Some(height * 16 / 9),
            6 => Some(height * 5 / 4),
            7 => Some(height * 2),
            _ => None,
        })
    }

    fn preview(&mut self) -> Option<()> {
        let eighths = self.flag()?;
        let side = |bits: &mut Self| {
            if eighths { bits.u32([(0, 16), (0, 32), (5, 1), (9, 33)]) } else { bits.u32([(6, 1), (8, 65), (10, 321), (12, 1345)]) }
        };
        let height = side(self)?;
        if self.ratio(height)?.is_none() {
            side(self)?;
        }
        Some(())
    }

    /// `BitDepth` (D.3.3): bits a sample.
    fn depth(&mut self) -> Option<u64> {
        if self.flag()? {
            let bits = self.u32([(0, 32), (0, 16), (0, 24), (6, 1)])?;
            self.read(4)?;
            Some(bits)
        } else {
            self.u32([(0, 8), (0, 10), (0, 12), (6, 1)])
        }
    }
}

struct Header {
    signature: [u8; 2],
    width: u64,
    height: u64,
    orientation: u32,
    is_animated: bool,
    bits: u64,
    has_alpha: bool,
    is_srgb: bool,
    jxl: Jxl,
}

impl Header {
    /// `ImageMetadata` (D.3) up to the colour encoding.
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let signature = [bits.read(8)? as u8, bits.read(8)? as u8];
        let (width, height) = bits.size()?;
        let mut found = Self {
            signature,
            width,
            height,
            orientation: 1,
            is_animated: false,
            bits: 8,
            has_alpha: false,
            is_srgb: true,
            jxl: Jxl { extra_channels: 0, is_grey: false, has_icc: false },
        };
        if bits.flag()? {
            return Some(found);
        }
        if bits.flag()? {
            found.orientation = bits.read(3)? as u32 + 1;
            if bits.flag()? {
                bits.size()?;
            }
            if bits.flag()? {
                bits.preview()?;
            }
            found.is_animated = bits.flag()?;
            if found.is_animated {
                bits.u32([(0, 100), (0, 1000), (10, 1), (30, 1)])?;
                bits.u32([(0, 1), (0, 1001), (8, 1), (10, 1)])?;
                bits.u32([(0, 0), (3, 0), (16, 0), (32, 0)])?;
                bits.flag()?;
            }
        }
        found.bits = bits.depth()?;
        bits.flag()?;
        let channels = bits.u32([(0, 0), (0, 1), (4, 2), (12, 1)])?;
        found.jxl.extra_channels = channels as u32;
        for _ in 0..channels {
            found.has_alpha |= channel(bits)? == ALPHA;
        }
        bits.flag()?;
        found.is_srgb = bits.flag()?;
        if !found.is_srgb {
            found.jxl.has_icc = bits.flag()?;
            found.jxl.is_grey = bits.word()? == 1;
        }
        Some(found)
    }
}

const ALPHA: u64 = 0;
const SPOT_COLOUR: u64 = 2;
const FILTER_ARRAY: u64 = 5;

/// `ExtraChannelInfo` (D.3.6): its type.
fn channel(bits: &mut Bits<'_>) -> Option<u64> {
    if bits.flag()? {
        return Some(ALPHA);
    }
    let kind = bits.word()?;
    bits.depth()?;
    bits.u32([(0, 0), (0, 3), (0, 4), (3, 1)])?;
    for _ in 0..bits.u32([(0, 0), (4, 0), (5, 16), (10, 48)])? {
        bits.read(8)?;
    }
    match kind {
        ALPHA => drop(bits.flag()?),
        SPOT_COLOUR => drop(bits.read(64)?),
        FILTER_ARRAY => drop(bits.u32([(0, 1), (2, 0), (4, 3), (8, 19)])?),
        _ => {}
    }
    Some(kind)
}
