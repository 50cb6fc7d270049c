//! AVIF and HEIC: brands, the `meta` box, and how many frames a sequence has. Boxes are stepped over unless they are needed; what is read of them
//! is bounded.

use super::{
    Format, Parts, Probe, Reader,
    bmff::{BoxHead, Fields},
    check_area, check_frames,
    heif::{Coding, Fault, Heif, Meta},
    track,
};
use crate::{
    codec::{self, ToSrgb},
    error::{Error, ErrorKind},
    limits::Limits,
};
use std::{
    io::{BufRead, Read, Seek},
    ops::Range,
    sync::Arc,
};

/// Bytes of a `meta` box's lists read at most, all together: a file of a phone has some kilobytes, its profile included.
const MAX_META_BYTES: u64 = 4 << 20;
/// Bytes of a `moov` box read at most.
const MAX_MOVIE_BYTES: u64 = 4 << 20;
/// Boxes walked at most, on each level.
const MAX_BOXES: u32 = 1000;

/// The kinds of file these brands (ISO/IEC 14496-12, 4.3) say, in the order they are tried.
const AVIF_BRANDS: [[u8; 4]; 2] = [*b"avif", *b"avis"];
const HEIC_BRANDS: [[u8; 4]; 8] = [*b"heic", *b"heix", *b"heim", *b"heis", *b"hevc", *b"hevx", *b"hevm", *b"hevs"];

/// The format of a file that begins with an `ftyp` box: AVIF before HEIC, as files of both brands hold both.
pub(super) fn sniff(head: &[u8]) -> Option<Format> {
    if head.get(4..8)? != b"ftyp" {
        return None;
    }
    let bytes = u32::from_be_bytes(*head.first_chunk::<4>()?) as usize;
    let brands = &head[8..bytes.clamp(8, head.len())];
    // Behind the first lies its version.
    let mut brands = brands.as_chunks::<4>().0.iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, brand)| brand);
    let all = brands.clone();
    if brands.any(|brand| AVIF_BRANDS.contains(brand)) {
        Some(Format::Avif)
    } else if all.into_iter().any(|brand| HEIC_BRANDS.contains(brand)) {
        Some(Format::Heic)
    } else {
        None
    }
}

/// Reads the file from its first byte.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, format: Format, limits: &Limits) -> Result<Probe, Error> {
    let mut heif: Option<Heif> = None;
    let mut is_sequence = false;
    let mut movie = Vec::new();
    let mut walk = || -> Result<(), Error> {
        for _ in 0..MAX_BOXES {
            if heif.is_some() && !is_sequence {
                return Ok(());
            }
            if reader.at_end()? {
                break;
            }
            let head = head(reader)?;
            match &head.kind {
                b"ftyp" => {
                    let brands = body(reader, head, 4096)?;
                    is_sequence = brands
                        .as_chunks::<4>()
                        .0
                        .iter()
                        .enumerate()
                        .any(|(at, brand)| at != 1 && matches!(brand, b"avis" | b"hevc" | b"msf1"));
                }
                b"meta" if heif.is_none() => heif = Some(meta(reader, head)?),
                b"moov" => {
                    movie = body(reader, head, MAX_MOVIE_BYTES)?;
                    if heif.is_some() {
                        return Ok(());
                    }
                }
                _ => match head.body_bytes {
                    Some(bytes) => reader.skip(bytes)?,
                    None => break,
                },
            }
        }
        Ok(())
    };
    match walk() {
        // What is shown is known; the number of frames is not.
        Err(error) if error.kind() == ErrorKind::Truncated && heif.is_some() => {}
        other => other?,
    }
    let Some(mut heif) = heif else {
        let text = if is_sequence { "file holds a film without a still picture" } else { "file ends without a picture" };
        let kind = if is_sequence { ErrorKind::Unsupported } else { ErrorKind::Truncated };
        return Err(reader.error(kind, text));
    };
    let frames = if is_sequence { track::samples(Fields(&movie)) } else { Some(1) };
    if let Some(frames) = frames {
        // The frames of others are not read.
        let pixels = if format == Format::Avif { u64::from(heif.colour.width_px) * u64::from(heif.colour.height_px) } else { 0 };
        check_frames(format, frames, pixels, limits)?;
        if frames > 1 {
            heif.sequence = track::sequence(Fields(&movie), frames, (heif.colour.width_px, heif.colour.height_px));
        }
    }
    describe(reader, format, heif, frames, limits)
}

fn describe<R: BufRead + Seek>(
    reader: &Reader<'_, R>,
    format: Format,
    heif: Heif,
    frames: Option<u32>,
    limits: &Limits,
) -> Result<Probe, Error> {
    let coded = &heif.colour;
    check_area(format, coded.width_px, coded.height_px, limits)?;
    check_area(format, coded.tile_width_px, coded.tile_height_px, limits)?;
    let wanted = if format == Format::Avif { Coding::Av1 } else { Coding::Hevc };
    if [Some(coded), heif.alpha.as_ref()].into_iter().flatten().any(|coded| coded.coding != wanted) {
        return Err(reader.error(ErrorKind::Unsupported, format!("{format} has a picture that is coded in another way")));
    }
    let [_, _, width_px, height_px] = heif.crop;
    let mut probe = Probe::still(format, width_px, height_px);
    probe.frames = frames.map(|frames| frames.max(1));
    probe.orientation = heif.orientation;
    probe.bits = coded.bits;
    probe.has_alpha = heif.alpha.is_some();
    probe.channels = if coded.monochrome { 1 } else { 3 } + u8::from(probe.has_alpha);
    probe.has_icc = heif.icc.is_some();
    probe.profile_bytes = heif.icc.as_ref().map_or(0, |profile| profile.len() as u64);
    probe.described.code_points = match (&heif.icc, heif.cicp) {
        (None, Some(cicp)) => u8::try_from(cicp.primaries).ok().zip(u8::try_from(cicp.transfer).ok()),
        _ => None,
    };
    probe.needs_profile = match (&heif.icc, heif.cicp) {
        (_, Some(cicp)) if cicp.is_hdr() => false,
        (Some(profile), _) => ToSrgb::from_profile(profile).is_some(),
        (None, Some(cicp)) => ToSrgb::from_cicp(cicp).is_some(),
        // The bitstream may say.
        (None, None) => true,
    };
    probe.decoder_bytes = codec::heif_bytes(format, &heif);
    probe.parts = Parts::Heif(Arc::new(heif));
    Ok(probe)
}

fn head<R: BufRead + Seek>(reader: &mut Reader<'_, R>) -> Result<BoxHead, Error> {
    let (size, kind) = (reader.u32_be()?, reader.array()?);
    let large = if size == 1 { Some(u64::from_be_bytes(reader.array()?)) } else { None };
    BoxHead::of(size, kind, large).ok_or_else(|| reader.error(ErrorKind::Malformed, "file has a box smaller than its own head"))
}

/// A box's body of at most so many bytes, read as it comes.
fn body<R: BufRead + Seek>(reader: &mut Reader<'_, R>, head: BoxHead, most_bytes: u64) -> Result<Vec<u8>, Error> {
    let bytes = head.body_bytes.unwrap_or(most_bytes);
    if bytes > most_bytes {
        return Err(reader.error(ErrorKind::Malformed, format!("file has a header box of {bytes} bytes, at most {most_bytes} are read")));
    }
    let mut found = Vec::new();
    reader.source.by_ref().take(bytes).read_to_end(&mut found).map_err(|error| reader.failed(error))?;
    if head.body_bytes.is_some_and(|bytes| found.len() as u64 != bytes) {
        return Err(reader.error(ErrorKind::Truncated, "image ends inside its header"));
    }
    Ok(found)
}

/// Reads a `meta` box: its lists to memory, its data stepped over.
fn meta<R: BufRead + Seek>(reader: &mut Reader<'_, R>, head_of_meta: BoxHead) -> Result<Heif, Error> {
    reader.u32_be()?;
    let mut left = head_of_meta.body_bytes.map(|bytes| bytes.saturating_sub(4));
    let mut lists: Vec<([u8; 4], Vec<u8>)> = Vec::new();
    let (mut data_at, mut read_bytes) = (None, 0);
    for _ in 0..MAX_BOXES {
        if left == Some(0) || (left.is_none() && reader.at_end()?) {
            break;
        }
        let before = reader.position()?;
        let found = head(reader)?;
        let at = reader.position()?;
        if found.kind == *b"idat" {
            data_at = Some(at);
        }
        if Meta::wants(found.kind) {
            let list = body(reader, found, MAX_META_BYTES - read_bytes)?;
            read_bytes += list.len() as u64;
            lists.push((found.kind, list));
        } else {
            match found.body_bytes {
                Some(bytes) => reader.skip(bytes)?,
                None => break,
            }
        }
        let walked = reader.position()? - before;
        left = match left {
            Some(left) => Some(
                left.checked_sub(walked).ok_or_else(|| reader.error(ErrorKind::Malformed, "file has a box that juts out of another"))?,
            ),
            None => None,
        };
    }
    let behind = reader.position()?;
    let mut meta = Meta::default();
    for (kind, list) in &lists {
        meta.put(*kind, Fields(list));
    }
    let mut failed = None;
    let found = meta.picture(data_at, &mut |place: Range<u64>| {
        read_at(reader, place).map_err(|error| {
            failed = Some(error);
            Fault::Broken("its grid could not be read")
        })
    });
    let found = found.map_err(|fault| match (failed, fault) {
        (Some(error), _) => error,
        (None, Fault::Broken(text)) => reader.error(ErrorKind::Malformed, format!("file cannot be read: {text}")),
        (None, Fault::Unsupported(text)) => reader.error(ErrorKind::Unsupported, format!("file is of a kind that is not read: {text}")),
    })?;
    reader.seek_to(behind)?;
    Ok(found)
}

fn read_at<R: BufRead + Seek>(reader: &mut Reader<'_, R>, place: Range<u64>) -> Result<Vec<u8>, Error> {
    reader.seek_to(place.start)?;
    let bytes = place.end - place.start;
    let mut found = Vec::new();
    reader.source.by_ref().take(bytes).read_to_end(&mut found).map_err(|error| reader.failed(error))?;
    if found.len() as u64 != bytes {
        return Err(reader.error(ErrorKind::Truncated, "image ends inside its header"));
    }
    Ok(found)
}
