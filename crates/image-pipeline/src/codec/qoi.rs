//! QOI in (the `image` crate).

use super::{
    bmp::{refused, whole},
    caught,
};
use crate::{
    error::Error,
    pixels::Pixels,
    probe::{Format, Probe},
};
use image::codecs::qoi::QoiDecoder;
use std::io::Cursor;

/// Decodes the picture. The library takes an end for an error of the data: what follows the header is at least the end's marker.
pub(super) fn decode(probe: &Probe, source: &[u8]) -> Result<Pixels, Error> {
    caught(Format::Qoi, || {
        let decoder = QoiDecoder::new(Cursor::new(source)).map_err(|error| refused(Format::Qoi, error))?;
        whole(probe, decoder)
    })
}
