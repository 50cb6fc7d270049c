//! JPEG markers (ITU-T T.81, annex B) up to the first scan.

use super::{MAX_BLOCKS, Probe, Reader, check_area, exif};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    probe::{Format, Orientation},
};
use std::io::{BufRead, Seek};

/// Bytes between markers that belong to none, as some cameras leave them; more is no header.
const MAX_STRAY_BYTES: u32 = 64 * 1024;

/// Walks the segments behind SOI until SOS.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let mut frame: Option<Probe> = None;
    let mut orientation: Option<Orientation> = None;
    let mut has_icc = false;
    let mut stray_bytes = 0;
    for _ in 0..MAX_BLOCKS {
        let marker = next_marker(reader, &mut stray_bytes)?;
        match marker {
            // TEM and RST stand alone; a second SOI is tolerated as libjpeg does between images.
            0x01 | 0xd0..=0xd8 => continue,
            0xd9 => return Err(reader.error(ErrorKind::Malformed, "jpeg ends without a picture")),
            0xda => {
                let mut frame = frame.ok_or_else(|| reader.error(ErrorKind::Malformed, "jpeg has a scan before its frame header"))?;
                frame.orientation = orientation.unwrap_or_default();
                frame.has_icc = has_icc;
                // B.2.3: a first scan without all components means that the others come later and all must be kept.
                reader.skip(2)?;
                let one_pass = !frame.progressive && reader.byte()? == frame.channels;
                if one_pass {
                    frame.decoder_bytes = 0;
                }
                return Ok(frame);
            }
            _ => {}
        }
        let payload_bytes = u64::from(reader.u16_be()?)
            .checked_sub(2)
            .ok_or_else(|| reader.error(ErrorKind::Malformed, "jpeg has a segment shorter than its length field"))?;
        match marker {
            // SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC).
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                if frame.is_some() {
                    return Err(reader.error(ErrorKind::Malformed, "jpeg has two frame headers"));
                }
                frame = Some(frame_header(reader, marker, payload_bytes, limits)?);
            }
            0xe1 if orientation.is_none() && payload_bytes >= 6 => {
                if reader.array::<6>()? == *b"Exif\0\0" {
                    orientation = Some(reader.orientation_of_block((payload_bytes - 6).min(exif::MAX_READ_BYTES))?);
                } else {
                    reader.skip(payload_bytes - 6)?;
                }
            }
            0xe2 if payload_bytes >= 12 => {
                has_icc |= reader.array::<12>()? == *b"ICC_PROFILE\0";
                reader.skip(payload_bytes - 12)?;
            }
            _ => reader.skip(payload_bytes)?,
        }
    }
    Err(reader.error(ErrorKind::Malformed, "jpeg has too many segments before its picture"))
}

/// The next marker code, over fill bytes (B.1.1.2) and a bounded number of stray ones.
fn next_marker<R: BufRead + Seek>(reader: &mut Reader<'_, R>, stray_bytes: &mut u32) -> Result<u8, Error> {
    let mut after_ff = false;
    loop {
        match reader.byte()? {
            0xff => after_ff = true,
            code @ 0x01..=0xfe if after_ff => return Ok(code),
            _ => after_ff = false,
        }
        *stray_bytes += 1;
        if *stray_bytes > MAX_STRAY_BYTES + 2 * MAX_BLOCKS {
            return Err(reader.error(ErrorKind::Malformed, "jpeg has no marker where one must be"));
        }
    }
}

/// B.2.2: precision, lines, samples a line, components with their sampling.
fn frame_header<R: BufRead + Seek>(reader: &mut Reader<'_, R>, marker: u8, payload_bytes: u64, limits: &Limits) -> Result<Probe, Error> {
    let unsupported = match marker {
        0xc0..=0xc2 => None,
        0xc3 | 0xc7 | 0xcb | 0xcf => Some("lossless jpeg is not supported"),
        0xc5 | 0xc6 | 0xcd | 0xce => Some("hierarchical jpeg is not supported"),
        _ => Some("arithmetic-coded jpeg is not supported"),
    };
    if let Some(text) = unsupported {
        return Err(reader.error(ErrorKind::Unsupported, text));
    }
    let [bits] = reader.array::<1>()?;
    let (height_px, width_px) = (u32::from(reader.u16_be()?), u32::from(reader.u16_be()?));
    let channels = reader.byte()?;
    if bits != 8 {
        return Err(reader.error(ErrorKind::Unsupported, format!("jpeg has {bits} bits a channel, supported is 8")));
    }
    check_area(Format::Jpeg, width_px, height_px, limits)?;
    if !matches!(channels, 1 | 3 | 4) {
        return Err(reader.error(ErrorKind::Unsupported, format!("jpeg has {channels} components, supported are 1, 3 and 4")));
    }
    if payload_bytes != 6 + 3 * u64::from(channels) {
        return Err(reader.error(ErrorKind::Malformed, "jpeg frame header has a wrong length"));
    }
    let mut sampling = [(1u64, 1u64); 4];
    let sampling = &mut sampling[..usize::from(channels)];
    for factors in sampling.iter_mut() {
        let [_, packed, _] = reader.array::<3>()?;
        *factors = (u64::from(packed >> 4), u64::from(packed & 15));
        if !(1..=4).contains(&factors.0) || !(1..=4).contains(&factors.1) {
            return Err(reader.error(ErrorKind::Malformed, "jpeg has a sampling factor outside 1 to 4"));
        }
    }
    let mut probe = Probe::still(Format::Jpeg, width_px, height_px);
    probe.bits = bits;
    probe.channels = channels;
    probe.progressive = marker == 0xc2;
    // A.1.1 and A.2: whole MCUs of 8h by 8v samples, two bytes a coefficient; where they are refined a bit each beside that.
    let block_bytes = if probe.progressive { 128 + 8 } else { 128 };
    let h_max = sampling.iter().map(|s| s.0).max().unwrap_or(1);
    let v_max = sampling.iter().map(|s| s.1).max().unwrap_or(1);
    let mcus = u64::from(width_px).div_ceil(8 * h_max) * u64::from(height_px).div_ceil(8 * v_max);
    probe.decoder_bytes = sampling.iter().map(|(h, v)| mcus * h * v * block_bytes).sum();
    Ok(probe)
}
