//! HEIC in (`heic-decoder`), in builds with the feature `heic`: of a young decoder, so only where it is asked for.
//!
//! The probe says what is shown and how it is turned and cut; the library decodes the picture as coded, whole, and brings it to colours.

use super::{DECODE, Opened, caught, cicp::Cicp, decoded_layout, disagreement, icc::ToSrgb, picture, picture_buffer, tone::ToneMap};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, Pixels},
    probe::{Format, Heif, Parts, Probe},
};
use heic_decoder::{DecodeOptions, DecodedImage, HeifError, decode_with};

/// Bytes held beside the source, the picture included: an upper bound.
pub(super) fn held_bytes(heif: &Heif) -> u64 {
    const FIXED: u64 = 4 << 20;
    /// Words of three planes, of the tile and of the whole, modes of blocks, and colours of 16 bits.
    const PIXEL_BYTES: u64 = 40;
    let alpha = if heif.alpha.is_some() { 12 } else { 0 };
    let profile = super::icc::reading_bytes(heif.icc.as_ref().map_or(0, |profile| profile.len() as u64));
    FIXED + profile + u64::from(heif.colour.width_px) * u64::from(heif.colour.height_px) * (PIXEL_BYTES + alpha)
}

/// Decodes the picture.
pub(super) fn open(probe: &Probe, source: &[u8]) -> Result<Opened<'static>, Error> {
    let Parts::Heif(heif) = &probe.parts else { return Err(disagreement(Format::Heic)) };
    let (pixels, cicp) = caught(Format::Heic, || {
        let image = decode_with(source, &DecodeOptions { apply_transforms: false }).map_err(refused)?;
        let cicp = heif.cicp.or_else(|| said(&image)).unwrap_or(Cicp::SRGB);
        Ok((shown(probe, heif, &image, cicp)?, cicp))
    })?;
    let to_srgb = match &heif.icc {
        _ if cicp.is_hdr() => None,
        Some(profile) => ToSrgb::from_profile(profile),
        None => ToSrgb::from_cicp(cicp),
    };
    Ok(Opened::whole(pixels, to_srgb))
}

fn said(image: &DecodedImage) -> Option<Cicp> {
    let found = image.color_info?;
    Some(Cicp {
        primaries: found.colour_primaries,
        transfer: found.transfer_characteristics,
        matrix: found.matrix_coefficients,
        full_range: found.full_range,
    })
}

/// The part that is shown, in colours.
fn shown(probe: &Probe, heif: &Heif, image: &DecodedImage, cicp: Cicp) -> Result<Pixels, Error> {
    const BITS: u32 = 16;
    if (image.width, image.height) != (heif.colour.width_px as usize, heif.colour.height_px as usize) {
        return Err(disagreement(Format::Heic));
    }
    let layout = decoded_layout(probe);
    let channels = layout.channels();
    let whole: Vec<u8> = if let Some(tone) = ToneMap::new(cicp, BITS) {
        let deep = image.to_rgba16().map_err(refused)?.data;
        let pixels = deep.as_chunks::<4>().0.iter();
        pixels
            .flat_map(|&[r, g, b, a]| {
                let [r, g, b] = tone.map([r, g, b]);
                [r, g, b, ((u32::from(a) + 128) / 257) as u8].into_iter().take(channels)
            })
            .collect()
    } else if layout == Layout::Rgba8 {
        image.to_rgba8().map_err(refused)?.data
    } else {
        image.to_rgb8().map_err(refused)?.data
    };
    let [left, top, width, _] = heif.crop.map(|side| side as usize);
    let mut bytes = picture_buffer(probe, layout)?;
    let rows = whole.chunks_exact(image.width * channels).skip(top);
    for (row, target) in rows.zip(bytes.chunks_exact_mut(width * channels)) {
        target.copy_from_slice(&row[left * channels..(left + width) * channels]);
    }
    if heif.premultiplied && layout == Layout::Rgba8 {
        bytes.as_chunks_mut::<4>().0.iter_mut().for_each(super::straighten);
    }
    picture(probe, layout, bytes)
}

fn refused(error: HeifError) -> Error {
    let (kind, text) = match error {
        HeifError::Truncated { .. } => (ErrorKind::Truncated, "heic ends before its picture does"),
        HeifError::Unsupported(_) => (ErrorKind::Unsupported, "heic is of a kind that is not supported"),
        HeifError::LimitExceeded(_) => (ErrorKind::LimitExceeded, "heic wants more memory than is allowed"),
        _ => (ErrorKind::Malformed, "heic is broken"),
    };
    Error::new(kind, DECODE, text).in_format(Format::Heic).caused_by(error)
}
