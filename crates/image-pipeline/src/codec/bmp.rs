//! BMP in (the `image` crate): all depths, run lengths and masks that it knows.

use super::{DECODE, caught, decoded_layout, disagreement, picture, picture_buffer};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, Pixels},
    probe::{Format, Probe},
};
use image::{ColorType, ImageDecoder, ImageError, codecs::bmp::BmpDecoder};
use std::io::{Cursor, ErrorKind as IoErrorKind};

/// Whether a file with this head has an alpha channel; `None` if the head is broken or cut.
pub(super) fn has_alpha(head: &[u8]) -> Option<bool> {
    let decoder = caught(Format::Bmp, || BmpDecoder::new(Cursor::new(head)).map_err(|error| refused(Format::Bmp, error)));
    Some(decoder.ok()?.color_type() == ColorType::Rgba8)
}

/// Decodes the picture.
pub(super) fn decode(probe: &Probe, source: &[u8]) -> Result<Pixels, Error> {
    caught(Format::Bmp, || {
        let decoder = BmpDecoder::new(Cursor::new(source)).map_err(|error| refused(Format::Bmp, error))?;
        whole(probe, decoder)
    })
}

/// All of what a decoder of the `image` crate holds.
pub(super) fn whole(probe: &Probe, decoder: impl ImageDecoder) -> Result<Pixels, Error> {
    let layout = match decoder.color_type() {
        ColorType::Rgb8 => Layout::Rgb8,
        ColorType::Rgba8 => Layout::Rgba8,
        _ => return Err(disagreement(probe.format)),
    };
    if decoder.dimensions() != (probe.width_px, probe.height_px) || layout != decoded_layout(probe) {
        return Err(disagreement(probe.format));
    }
    let mut bytes = picture_buffer(probe, layout)?;
    decoder.read_image(&mut bytes).map_err(|error| refused(probe.format, error))?;
    picture(probe, layout, bytes)
}

/// An error of the `image` crate in ours.
pub(super) fn refused(format: Format, error: ImageError) -> Error {
    let (kind, text) = match &error {
        ImageError::IoError(io) if io.kind() == IoErrorKind::UnexpectedEof => (ErrorKind::Truncated, "ends before its picture does"),
        ImageError::Unsupported(_) => (ErrorKind::Unsupported, "is of a kind that is not supported"),
        ImageError::Limits(_) => (ErrorKind::LimitExceeded, "wants more memory than is allowed"),
        _ => (ErrorKind::Malformed, "is broken"),
    };
    Error::new(kind, DECODE, format!("{format} {text}")).in_format(format).caused_by(error)
}
