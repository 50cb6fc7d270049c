//! WebP's RIFF chunks (RFC 9649, section 2) and the heads of its two bitstreams.

use super::{MAX_BLOCKS, Probe, Reader, check_area, check_frames};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    probe::Format,
};
use std::io::{BufRead, Seek};

/// VP8X flags, RFC 9649 section 2.7.
const FLAG_ANIMATION: u8 = 0x02;
const FLAG_EXIF: u8 = 0x08;
const FLAG_ALPHA: u8 = 0x10;
const FLAG_ICC: u8 = 0x20;

/// Bytes a pixel libwebp keeps of a lossless picture: a word, and room for its transforms.
const LOSSLESS_BYTES: u64 = 5;

/// Reads what follows `RIFF`: size, `WEBP`, chunks.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let riff_bytes = u64::from(reader.u32_le()?);
    reader.skip(4)?;
    let kind = reader.array::<4>()?;
    let bytes = u64::from(reader.u32_le()?);
    match &kind {
        b"VP8 " => lossy(reader, limits),
        b"VP8L" => lossless(reader, limits),
        b"VP8X" => extended(reader, riff_bytes, bytes, limits),
        _ => Err(reader.error(ErrorKind::Malformed, "webp does not begin with a picture or its header")),
    }
}

/// RFC 6386, 9.1: frame tag, start code, 14 bits a side (the two above are a scale we do not apply, as no reader does).
fn lossy<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let tag = reader.array::<3>()?;
    if tag[0] & 1 != 0 || reader.array::<3>()? != [0x9d, 0x01, 0x2a] {
        return Err(reader.error(ErrorKind::Malformed, "webp does not begin with a key frame"));
    }
    let width_px = u32::from(reader.u16_le()? & 0x3fff);
    let height_px = u32::from(reader.u16_le()? & 0x3fff);
    check_area(Format::WebP, width_px, height_px, limits)?;
    Ok(Probe { has_planes: true, ..Probe::still(Format::WebP, width_px, height_px) })
}

/// RFC 9649, 3.4: signature, 14 bits a side less one, alpha hint, version.
fn lossless<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let signature = reader.byte()?;
    let packed = reader.u32_le()?;
    if signature != 0x2f || packed >> 29 != 0 {
        return Err(reader.error(ErrorKind::Malformed, "webp has a broken lossless header"));
    }
    let (width_px, height_px) = ((packed & 0x3fff) + 1, ((packed >> 14) & 0x3fff) + 1);
    check_area(Format::WebP, width_px, height_px, limits)?;
    let mut probe = Probe::still(Format::WebP, width_px, height_px);
    probe.has_alpha = packed >> 28 & 1 == 1;
    probe.decoder_bytes = probe.pixels() * LOSSLESS_BYTES;
    probe.channels = if probe.has_alpha { 4 } else { 3 };
    Ok(probe)
}

/// The canvas, then, where there is something to find there, the chunks behind it.
fn extended<R: BufRead + Seek>(reader: &mut Reader<'_, R>, riff_bytes: u64, bytes: u64, limits: &Limits) -> Result<Probe, Error> {
    let Some(rest_bytes) = bytes.checked_sub(10) else {
        return Err(reader.error(ErrorKind::Malformed, "webp has a header shorter than 10 bytes"));
    };
    let [flags, _, _, _, w0, w1, w2, h0, h1, h2] = reader.array::<10>()?;
    let (width_px, height_px) = (u32::from_le_bytes([w0, w1, w2, 0]) + 1, u32::from_le_bytes([h0, h1, h2, 0]) + 1);
    check_area(Format::WebP, width_px, height_px, limits)?;
    let mut probe = Probe::still(Format::WebP, width_px, height_px);
    probe.has_alpha = flags & FLAG_ALPHA != 0;
    probe.channels = if probe.has_alpha { 4 } else { 3 };
    probe.has_icc = flags & FLAG_ICC != 0;
    probe.needs_profile = probe.has_icc;
    let animated = flags & FLAG_ANIMATION != 0;
    // Which bitstream comes is not known yet: the dearer one. An animation has two canvases of four bytes besides.
    probe.decoder_bytes = probe.pixels() * (LOSSLESS_BYTES + if animated { 8 } else { 0 });
    if !animated && flags & (FLAG_EXIF | FLAG_ICC) == 0 {
        return Ok(probe);
    }
    reader.skip(rest_bytes + (bytes & 1))?;
    // Counted as the RIFF size is: `WEBP`, this chunk's head and body.
    let mut walked_bytes = 12 + bytes + (bytes & 1);
    let (mut frames, mut pictures) = (0, 0);
    for _ in 0..MAX_BLOCKS.max(limits.max_frames.saturating_mul(2)) {
        // Some writers leave out the last padding byte, some count it wrongly: one byte less is whole.
        if pictures + frames > 0 && walked_bytes + 1 >= riff_bytes && reader.at_end()? {
            break;
        }
        let kind = reader.array::<4>()?;
        let bytes = u64::from(reader.u32_le()?);
        match &kind {
            b"ANMF" => {
                frames += 1;
                check_frames(Format::WebP, frames, probe.pixels(), limits)?;
            }
            b"VP8 " | b"VP8L" => {
                pictures += 1;
                probe.has_planes = &kind == b"VP8 " && !animated && !probe.has_alpha;
            }
            b"ICCP" => {
                probe.profile_bytes = bytes;
                if !animated && flags & FLAG_EXIF == 0 {
                    break;
                }
            }
            b"EXIF" => {
                probe.orientation = reader.orientation_of_block(bytes)?;
                break;
            }
            _ => {}
        }
        walked_bytes += 8 + bytes + (bytes & 1);
        reader.skip(bytes + (bytes & 1))?;
    }
    probe.frames = Some(if animated { frames.max(1) } else { 1 });
    Ok(probe)
}
