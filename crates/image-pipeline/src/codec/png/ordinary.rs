//! Rows of ordinary PNGs: not interlaced, no palette, no transparent colour, 8 or 16 bits; what photos and most screens are. Our own reader
//! gives them (record 0054), quicker than the library, which has read the header and reads all other kinds.

use super::{STRIP_ROWS, round_to_eight, spread_grey};
use crate::codec::{DECODE, Rows};
use crate::error::{Error, ErrorKind};
use crate::probe::{Format, Probe};
use png::{BitDepth, ColorType, Info};
use png_rows::{Fault, Shape};

pub(in crate::codec) struct Ordinary<'s> {
    rows: png_rows::Rows<'s>,
    colour: ColorType,
    depth: BitDepth,
    width_px: usize,
    /// Rows that are not as the file has them.
    made: Vec<u8>,
    /// A strip of 16-bit samples while it becomes 8.
    eight: Vec<u8>,
    next_row: u32,
}

impl<'s> Ordinary<'s> {
    /// Rows of `source`, whose header says `info`; `None` for other kinds.
    pub(super) fn open(info: &Info<'_>, source: &'s [u8]) -> Result<Option<Self>, Error> {
        let (colour, depth) = (info.color_type, info.bit_depth);
        let is_ordinary =
            !info.interlaced && info.trns.is_none() && colour != ColorType::Indexed && matches!(depth, BitDepth::Eight | BitDepth::Sixteen);
        if !is_ordinary {
            return Ok(None);
        }
        let pixel_bytes = colour.samples() * if depth == BitDepth::Sixteen { 2 } else { 1 };
        let width_px = info.width as usize;
        let shape = Shape { row_bytes: width_px * pixel_bytes, pixel_bytes, rows: info.height };
        let rows = png_rows::Rows::open(source, shape).map_err(refused)?;
        Ok(Some(Self { rows, colour, depth, width_px, made: Vec::new(), eight: Vec::new(), next_row: 0 }))
    }

    /// The next rows as the file has them; `None` at the end, where it was found whole.
    pub(super) fn strip(&mut self) -> Result<Option<&[u8]>, Error> {
        self.rows.next(STRIP_ROWS as usize).map_err(refused)
    }

    /// The next rows; `false` at the end, where the file was found whole.
    pub(super) fn next(&mut self, take: &mut dyn FnMut(usize, Rows<'_>)) -> Result<bool, Error> {
        let Some(strip) = self.rows.next(STRIP_ROWS as usize).map_err(refused)? else { return Ok(false) };
        let samples = match self.depth {
            BitDepth::Sixteen => {
                round_to_eight(strip, &mut self.eight);
                &self.eight
            }
            _ => strip,
        };
        let (bytes, channels) = match self.colour {
            ColorType::Grayscale | ColorType::GrayscaleAlpha => {
                self.made.clear();
                spread_grey(self.colour, samples, &mut self.made);
                (&self.made[..], self.colour.samples() + 2)
            }
            _ => (samples, self.colour.samples()),
        };
        let stride = self.width_px * channels;
        let first_row = self.next_row;
        self.next_row += (bytes.len() / stride) as u32;
        take(0, Rows { bytes, stride, first_row });
        Ok(true)
    }
}

/// Bytes held for a picture of which the library reads the header only: the reader's, and the rows given out where they must be made.
pub(super) fn held_bytes(probe: &Probe) -> u64 {
    let pixel_bytes = usize::from(probe.channels) * usize::from(probe.bits.div_ceil(8));
    let shape = Shape { row_bytes: probe.width_px as usize * pixel_bytes, pixel_bytes, rows: probe.height_px };
    png_rows::Rows::held_bytes(shape)
}

fn refused(fault: Fault) -> Error {
    let (kind, text) = match fault {
        Fault::Truncated => (ErrorKind::Truncated, "png ends before its picture does"),
        _ => (ErrorKind::Malformed, "png is broken"),
    };
    Error::new(kind, DECODE, text).in_format(Format::Png).caused_by(fault)
}
