//! QOI: a header of 14 bytes.

use super::{Probe, Reader, check_area};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    probe::Format,
};
use std::io::{BufRead, Seek};

/// Reads what follows `qoif`.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let (width_px, height_px) = (reader.u32_be()?, reader.u32_be()?);
    check_area(Format::Qoi, width_px, height_px, limits)?;
    let [channels, colour_space] = reader.array()?;
    if !matches!(channels, 3 | 4) || colour_space > 1 {
        return Err(
            reader.error(ErrorKind::Malformed, format!("qoi has {channels} channels in colour space {colour_space}, which does not exist"))
        );
    }
    let mut probe = Probe::still(Format::Qoi, width_px, height_px);
    probe.channels = channels;
    probe.has_alpha = channels == 4;
    Ok(probe)
}
