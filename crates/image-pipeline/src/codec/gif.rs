//! GIF in and out. A still picture is the first frame on its canvas; frames are composed one by one on one canvas. What no frame covers is
//! transparent, and so is what a disposal clears; what juts out is cut.

mod lzw;
mod reader;
mod writer;

pub(crate) use writer::Writer;
pub(super) use writer::{frame_bytes, held_bytes};

use super::{Plays, decoded_layout, disagreement, picture, picture_buffer};
use crate::{
    error::Error,
    pixels::{Layout, Pixels},
    probe::{Format, Probe},
};
use reader::{Disposal, Placed, Reader, interlaced_rows};

/// Decodes the first frame.
pub(super) fn decode(probe: &Probe, source: &[u8]) -> Result<Pixels, Error> {
    let mut reader = open(probe, source, probe.decoder_bytes)?;
    let placed = reader.next()?.ok_or_else(reader::truncated)?;
    let layout = decoded_layout(probe);
    let mut canvas = picture_buffer(probe, layout)?;
    match layout {
        Layout::Rgba8 => draw::<4>(&placed, reader.indices(), &mut canvas, reader.width),
        _ => draw::<3>(&placed, reader.indices(), &mut canvas, reader.width),
    }
    picture(probe, layout, canvas)
}

fn open<'s>(probe: &Probe, source: &'s [u8], max_pixels: u64) -> Result<Reader<'s>, Error> {
    let reader = Reader::open(source, max_pixels)?;
    if (reader.width, reader.height) != (probe.width_px as usize, probe.height_px as usize) {
        return Err(disagreement(Format::Gif));
    }
    Ok(reader)
}

/// The part of a picture that lies on a canvas of these sides: columns, rows.
fn visible(placed: &Placed<'_>, width: usize, height: usize) -> (usize, usize) {
    (placed.width.min(width.saturating_sub(placed.left)), placed.height.min(height.saturating_sub(placed.top)))
}

/// Draws a picture on a canvas of `C` bytes a pixel, 3 or 4, as far as it lies on it; transparent pixels only where there are 4.
fn draw<const C: usize>(placed: &Placed<'_>, indices: &[u8], canvas: &mut [u8], width: usize) {
    let (columns, _) = visible(placed, width, usize::MAX);
    if columns == 0 {
        return;
    }
    let mut colours = [[0; C]; 256];
    for (index, colour) in colours.iter_mut().enumerate() {
        // An index behind the palette's end is black, as browsers show it.
        let rgb = placed.palette.get(index * 3..index * 3 + 3).unwrap_or(&[0; 3]);
        colour[..3].copy_from_slice(rgb);
        if C == 4 {
            colour[3] = 255;
        }
    }
    let transparent = placed.transparent.filter(|_| C == 4);
    let rows = indices.chunks_exact(placed.width);
    let mut interlaced = interlaced_rows(placed.height);
    for (came, row) in rows.enumerate() {
        let y = placed.top + if placed.interlaced { interlaced.next().unwrap_or(came) } else { came };
        let start = (y * width + placed.left) * C;
        let Some(target) = canvas.get_mut(start..start + columns * C) else { continue };
        let (target, _) = target.as_chunks_mut::<C>();
        match transparent {
            None => {
                for (pixel, &index) in target.iter_mut().zip(row) {
                    *pixel = colours[usize::from(index)];
                }
            }
            Some(transparent) => {
                for (pixel, &index) in target.iter_mut().zip(row) {
                    if index != transparent {
                        *pixel = colours[usize::from(index)];
                    }
                }
            }
        }
    }
}

/// The frames of an animation, one after the other on one canvas.
pub(super) struct Frames<'s> {
    reader: Reader<'s>,
    /// RGBA.
    canvas: Vec<u8>,
    /// What the last picture's rectangle held before it, where that must come back.
    saved: Vec<u8>,
    /// What becomes of the last picture's rectangle: first row and column, columns, rows.
    last: (Disposal, [usize; 4]),
}

/// Bytes held while frames are read: canvas, what comes back, indices, table.
pub(super) fn frames_bytes(probe: &Probe) -> u64 {
    (64 << 10) + probe.pixels() * 8 + frame_pixels(probe)
}

/// Most pixels of a frame: as the probe saw them, or as many as the canvas has.
fn frame_pixels(probe: &Probe) -> u64 {
    probe.frame_pixels.max(probe.pixels())
}

impl<'s> Frames<'s> {
    pub(super) fn open(probe: &Probe, source: &'s [u8]) -> Result<Self, Error> {
        let reader = open(probe, source, frame_pixels(probe))?;
        let canvas = picture_buffer(probe, Layout::Rgba8)?;
        Ok(Self { reader, canvas, saved: Vec::new(), last: (Disposal::Keep, [0; 4]) })
    }

    pub(super) fn plays(&self) -> Plays {
        self.reader.plays()
    }

    /// The canvas with the next frame, and how long it stays, in milliseconds; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<(&[u8], u32)>, Error> {
        let width = self.reader.width;
        let (disposal, [top, left, columns, rows]) = self.last;
        let places = |[top, left, columns, rows]: [usize; 4]| {
            (top..top + rows).map(move |y| (y * width + left) * 4..(y * width + left + columns) * 4)
        };
        match disposal {
            Disposal::Keep => {}
            Disposal::Clear => places([top, left, columns, rows]).for_each(|place| self.canvas[place].fill(0)),
            Disposal::Restore => {
                for (place, row) in places([top, left, columns, rows]).zip(self.saved.chunks_exact((columns * 4).max(1))) {
                    self.canvas[place].copy_from_slice(row);
                }
            }
        }
        self.last.0 = Disposal::Keep;
        let Some(placed) = self.reader.next()? else { return Ok(None) };
        let (columns, rows) = visible(&placed, width, self.reader.height);
        self.last = (placed.disposal, [placed.top, placed.left, columns, rows]);
        if columns == 0 || rows == 0 {
            self.last.0 = Disposal::Keep;
        }
        if self.last.0 == Disposal::Restore {
            self.saved.clear();
            self.saved.reserve_exact(columns * rows * 4);
            for place in places(self.last.1) {
                self.saved.extend_from_slice(&self.canvas[place]);
            }
        }
        draw::<4>(&placed, self.reader.indices(), &mut self.canvas, width);
        Ok(Some((&self.canvas, u32::from(placed.delay_cs) * 10)))
    }
}
