//! JPEG markers (ITU-T T.81, annex B) up to the first scan.

use super::{JpegFrame, MAX_BLOCKS, Probe, Reader, check_area, exif};
use crate::{
    codec::icc::{self, Said},
    error::{Error, ErrorKind},
    limits::Limits,
    probe::{Format, Orientation},
};
use std::io::{BufRead, Seek};

/// Bytes between markers that belong to none, as some cameras leave them; more is no header.
const MAX_STRAY_BYTES: u32 = 64 * 1024;

/// Profiles up to this size are looked into: those of cameras, screens and editors have 500 bytes to 4 KiB.
const MAX_PROFILE_BYTES: u64 = 64 * 1024;

/// What segments before the frame say of colours.
#[derive(Default)]
struct Colours {
    has_jfif: bool,
    adobe_transform: Option<u8>,
    /// Pieces of a profile by their number (ICC.1, annex B.4).
    profile: Vec<(u8, Vec<u8>)>,
    profile_bytes: u64,
}

impl Colours {
    /// As jpeg-shrink tells them apart: JFIF first, then Adobe's mark, then the components' names.
    fn is_ycbcr(&self, ids: [u8; 4], channels: u8) -> bool {
        channels == 3 && (self.has_jfif || !(self.adobe_transform == Some(0) || self.adobe_transform.is_none() && ids.starts_with(b"RGB")))
    }

    /// Whether colours of one channel or three must be converted; of a profile too large to look into it is not known, and said.
    fn need_profile(mut self, has_icc: bool, channels: u8) -> bool {
        if channels == 4 || !has_icc || self.profile_bytes > MAX_PROFILE_BYTES {
            // Four inks become colours as they are read.
            return has_icc && channels != 4;
        }
        self.profile.sort_by_key(|(number, _)| *number);
        let whole: Vec<u8> = self.profile.into_iter().flat_map(|(_, piece)| piece).collect();
        matches!(icc::read(&whole, channels == 1), Said::Other(_))
    }
}

/// Walks the segments behind SOI until SOS.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let mut frame: Option<Probe> = None;
    let mut orientation: Option<Orientation> = None;
    let mut has_icc = false;
    let mut colours = Colours::default();
    let mut ids = [0; 4];
    let mut stray_bytes = 0;
    for _ in 0..MAX_BLOCKS {
        let marker = next_marker(reader, &mut stray_bytes)?;
        match marker {
            // TEM and RST stand alone; a second SOI is tolerated as libjpeg does between images.
            0x01 | 0xd0..=0xd8 => continue,
            0xd9 => return Err(reader.error(ErrorKind::Malformed, "jpeg ends without a picture")),
            0xda => {
                let mut found = frame.ok_or_else(|| reader.error(ErrorKind::Malformed, "jpeg has a scan before its frame header"))?;
                found.orientation = orientation.unwrap_or_default();
                found.has_icc = has_icc;
                found.frame.is_ycbcr = colours.is_ycbcr(ids, found.channels);
                found.profile_bytes = colours.profile_bytes;
                found.needs_profile = colours.need_profile(has_icc, found.channels);
                // B.2.3: a first scan without all components means that the others come later and all must be kept.
                reader.skip(2)?;
                found.frame.waits = found.progressive || reader.byte()? != found.channels;
                return Ok(found);
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
                let found;
                (found, ids) = frame_header(reader, marker, payload_bytes, limits)?;
                frame = Some(found);
            }
            0xe1 if orientation.is_none() && payload_bytes >= 6 => {
                if reader.array::<6>()? == *b"Exif\0\0" {
                    orientation = Some(reader.orientation_of_block((payload_bytes - 6).min(exif::MAX_READ_BYTES))?);
                } else {
                    reader.skip(payload_bytes - 6)?;
                }
            }
            0xe0 if payload_bytes >= 5 => {
                colours.has_jfif |= reader.array::<5>()? == *b"JFIF\0";
                reader.skip(payload_bytes - 5)?;
            }
            0xe2 if payload_bytes >= 14 => {
                let head = reader.array::<14>()?;
                let piece_bytes = payload_bytes - 14;
                if head.starts_with(b"ICC_PROFILE\0") {
                    has_icc = true;
                    colours.profile_bytes += piece_bytes;
                    if colours.profile_bytes <= MAX_PROFILE_BYTES {
                        let mut piece = vec![0; piece_bytes as usize];
                        reader.fill(&mut piece)?;
                        colours.profile.push((head[12], piece));
                        continue;
                    }
                }
                reader.skip(piece_bytes)?;
            }
            // Adobe TN 5116, section 18: the transform is the last of 12 bytes.
            0xee if payload_bytes >= 12 => {
                let head = reader.array::<12>()?;
                if head.starts_with(b"Adobe") {
                    colours.adobe_transform = Some(head[11]);
                }
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
fn frame_header<R: BufRead + Seek>(
    reader: &mut Reader<'_, R>,
    marker: u8,
    payload_bytes: u64,
    limits: &Limits,
) -> Result<(Probe, [u8; 4]), Error> {
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
    let mut sampling = [(1, 1); 4];
    let mut ids = [0; 4];
    for (factors, id) in sampling.iter_mut().zip(&mut ids).take(channels.into()) {
        let [name, packed, _] = reader.array::<3>()?;
        *id = name;
        *factors = (packed >> 4, packed & 15);
        if !(1..=4).contains(&factors.0) || !(1..=4).contains(&factors.1) {
            return Err(reader.error(ErrorKind::Malformed, "jpeg has a sampling factor outside 1 to 4"));
        }
    }
    let mut probe = Probe::still(Format::Jpeg, width_px, height_px);
    probe.bits = bits;
    probe.channels = channels;
    probe.progressive = marker == 0xc2;
    probe.frame = JpegFrame { sampling, ..JpegFrame::default() };
    Ok((probe, ids))
}
