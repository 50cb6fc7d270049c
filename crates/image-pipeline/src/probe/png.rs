//! PNG chunks (third edition, clauses 5 and 11) up to the first IDAT.

use super::{MAX_BLOCKS, Probe, Reader, check_area, check_frames};
use crate::{
    codec::icc::Said,
    error::{Error, ErrorKind},
    limits::Limits,
    probe::Format,
};
use std::io::{BufRead, Seek};

/// Clause 5.2.
pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Walks the chunks behind the signature.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let mut probe = header(reader, limits)?;
    for _ in 0..MAX_BLOCKS {
        let bytes = u64::from(reader.u32_be()?);
        let kind = reader.array::<4>()?;
        if bytes > 0x7fff_ffff || !kind.iter().all(u8::is_ascii_alphabetic) {
            return Err(reader.error(ErrorKind::Malformed, "png has a broken chunk header"));
        }
        match &kind {
            b"IDAT" => {
                probe.needs_profile = needs_profile(&probe);
                return Ok(probe);
            }
            b"IEND" => return Err(reader.error(ErrorKind::Malformed, "png ends without a picture")),
            b"tRNS" => {
                probe.has_alpha = true;
                reader.skip(bytes + 4)?;
            }
            b"iCCP" => {
                (probe.has_icc, probe.profile_bytes) = (true, bytes);
                reader.skip(bytes + 4)?;
            }
            b"cICP" if bytes == 4 => {
                let [primaries, transfer, matrix, _] = reader.array()?;
                probe.described.code_points = (matrix == 0).then_some((primaries, transfer));
                reader.skip(4)?;
            }
            b"sRGB" => {
                probe.described.is_srgb = true;
                reader.skip(bytes + 4)?;
            }
            b"gAMA" if bytes == 4 => {
                probe.described.gamma = Some(reader.u32_be()?);
                reader.skip(4)?;
            }
            b"cHRM" if bytes == 32 => {
                let mut stored = [0; 8];
                for value in &mut stored {
                    *value = reader.u32_be()?;
                }
                probe.described.chromaticities = Some(stored);
                reader.skip(4)?;
            }
            b"eXIf" => {
                probe.orientation = reader.orientation_of_block(bytes)?;
                reader.skip(4)?;
            }
            b"acTL" if bytes == 8 => {
                let frames = reader.u32_be()?;
                check_frames(Format::Png, frames, probe.pixels(), limits)?;
                probe.frames = Some(frames.max(1));
                reader.skip(8)?;
            }
            _ => reader.skip(bytes + 4)?,
        }
    }
    Err(reader.error(ErrorKind::Malformed, "png has too many chunks before its picture"))
}

/// Whether colours may have to be converted: of a profile, which is packed, it is not known.
fn needs_profile(probe: &Probe) -> bool {
    let is_grey = probe.channels <= 2 && !probe.is_palette;
    let others = || if probe.has_icc { Said::Nothing } else { probe.described.otherwise(is_grey) };
    match probe.described.by_code_points(is_grey).or(others) {
        Said::Other(_) => true,
        Said::Nothing => probe.has_icc,
        Said::Srgb => false,
    }
}

/// IHDR (11.2.1) with its checksum.
fn header<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let block = reader.array::<25>()?;
    let (length, typed) = (&block[..4], &block[4..21]);
    if length != 13u32.to_be_bytes() || &typed[..4] != b"IHDR" {
        return Err(reader.error(ErrorKind::Malformed, "png does not begin with its header"));
    }
    if block[21..] != crc32(typed).to_be_bytes() {
        return Err(reader.error(ErrorKind::Malformed, "png header has a wrong checksum"));
    }
    let side = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let (width_px, height_px) = (side(8), side(12));
    let [bits, colour, compression, filter, interlace] = [block[16], block[17], block[18], block[19], block[20]];
    if width_px > 0x7fff_ffff || height_px > 0x7fff_ffff {
        return Err(reader.error(ErrorKind::Malformed, "png has a side above 2147483647 pixels"));
    }
    check_area(Format::Png, width_px, height_px, limits)?;
    let channels = match (colour, bits) {
        (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
        (2, 8 | 16) => 3,
        (4, 8 | 16) => 2,
        (6, 8 | 16) => 4,
        _ => return Err(reader.error(ErrorKind::Malformed, format!("png has colour type {colour} with {bits} bits, which does not exist"))),
    };
    if compression != 0 || filter != 0 || interlace > 1 {
        return Err(reader.error(ErrorKind::Malformed, "png has an unknown compression, filter or interlace method"));
    }
    let mut probe = Probe::still(Format::Png, width_px, height_px);
    probe.bits = bits;
    probe.channels = channels;
    probe.is_palette = colour == 3;
    probe.has_alpha = matches!(colour, 4 | 6);
    probe.progressive = interlace == 1;
    Ok(probe)
}

/// Annex D: CRC-32 of ISO 3309, bit by bit, for the 17 bytes of a header.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
