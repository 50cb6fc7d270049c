//! Frames of an animated PNG (PNG third edition, clause 13.8 and the chunks acTL, fcTL and fdAT), composed one by one on one canvas.
//!
//! The default image is a frame only where a frame control chunk stands before it; else it is for those who show no animation.

use super::{OTHER_METADATA_BYTES, refused, round_to_eight, to_srgb, unpacked_bytes};
use crate::codec::{DECODE, Plays, ToSrgb, disagreement, picture_buffer};
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;
use crate::pixels::Layout;
use crate::probe::{Format, Probe};
use png::{BitDepth, BlendOp, ColorType, DecodeOptions, Decoder, DisposeOp, FrameControl, Reader, Transformations};
use std::io::Cursor;
use std::num::NonZeroU32;

/// The frames of an animation, one after the other on one canvas.
pub(in crate::codec) struct Frames<'s> {
    reader: Reader<Cursor<&'s [u8]>>,
    colour: ColorType,
    depth: BitDepth,
    width: usize,
    height: usize,
    /// RGBA.
    canvas: Vec<u8>,
    /// The canvas before the last frame, where that must come back.
    saved: Vec<u8>,
    /// Samples of a frame as the library gives them.
    samples: Vec<u8>,
    /// Those of 16 bits, in 8.
    eight: Vec<u8>,
    /// What becomes of the last frame's rectangle.
    last: Option<FrameControl>,
    left: u32,
    plays: Plays,
}

/// Bytes held while frames are read: canvas, what comes back, samples; the decoder's own.
pub(in crate::codec) fn frames_bytes(probe: &Probe) -> u64 {
    super::working_bytes(probe) + probe.pixels() * if probe.bits == 16 { 20 } else { 12 }
}

impl<'s> Frames<'s> {
    pub(in crate::codec) fn open(probe: &Probe, source: &'s [u8], limits: &Limits) -> Result<(Self, Option<ToSrgb>), Error> {
        let mut options = DecodeOptions::default();
        options.set_ignore_adler32(false);
        options.set_ignore_text_chunk(true);
        let mut decoder = Decoder::new_with_options(Cursor::new(source), options);
        // The library counts a row for every frame, and never gives one back.
        let rows_bytes = u64::from(probe.width_px) * 16 * (u64::from(probe.frames.unwrap_or(1)) + 2);
        let allowed = OTHER_METADATA_BYTES + unpacked_bytes(probe) + rows_bytes;
        decoder.set_limits(png::Limits { bytes: usize::try_from(allowed).unwrap_or(usize::MAX) });
        decoder.set_transformations(Transformations::EXPAND);
        let mut reader = decoder.read_info().map_err(refused)?;
        if (reader.info().width, reader.info().height) != (probe.width_px, probe.height_px) {
            return Err(disagreement(Format::Png));
        }
        let Some(control) = reader.info().animation_control else { return Err(disagreement(Format::Png)) };
        if control.num_frames > limits.max_frames {
            return Err(disagreement(Format::Png));
        }
        let (colour, depth) = reader.output_color_type();
        let is_grey = matches!(reader.info().color_type, ColorType::Grayscale | ColorType::GrayscaleAlpha);
        let to_srgb = if probe.needs_profile { to_srgb(probe, reader.info().icc_profile.as_deref(), is_grey) } else { None };
        let too_large =
            || Error::new(ErrorKind::LimitExceeded, DECODE, "image does not fit the memory of this machine").in_format(Format::Png);
        let mut samples = vec![0; reader.output_buffer_size().ok_or_else(too_large)?];
        if reader.info().frame_control.is_none() {
            reader.next_frame(&mut samples).map_err(refused)?;
        }
        let frames = Self {
            reader,
            colour,
            depth,
            width: probe.width_px as usize,
            height: probe.height_px as usize,
            canvas: picture_buffer(probe, Layout::Rgba8)?,
            saved: Vec::new(),
            samples,
            eight: Vec::new(),
            last: None,
            left: control.num_frames,
            plays: Plays(NonZeroU32::new(control.num_plays)),
        };
        Ok((frames, to_srgb))
    }

    pub(in crate::codec) fn plays(&self) -> Plays {
        self.plays
    }

    /// The canvas with the next frame, and how long it stays, in milliseconds; `None` behind the last.
    pub(in crate::codec) fn next(&mut self) -> Result<Option<(&[u8], u32)>, Error> {
        self.dispose();
        if self.left == 0 {
            self.reader.finish().map_err(refused)?;
            return Ok(None);
        }
        self.left -= 1;
        self.reader.next_frame(&mut self.samples).map_err(refused)?;
        let Some(control) = self.reader.info().frame_control else { return Err(disagreement(Format::Png)) };
        let (across, down) = (control.x_offset as usize + control.width as usize, control.y_offset as usize + control.height as usize);
        if across > self.width || down > self.height {
            return Err(Error::new(ErrorKind::Malformed, DECODE, "png has a frame that juts out of its canvas").in_format(Format::Png));
        }
        if control.dispose_op == DisposeOp::Previous {
            self.saved.clear();
            self.saved.reserve_exact(self.canvas.len());
            self.saved.extend_from_slice(&self.canvas);
        }
        // Rows of an interlaced frame lie as far apart as those of the canvas.
        let stride_px = if self.reader.info().interlaced { self.width } else { control.width as usize };
        let pixel_bytes = self.colour.samples() * if self.depth == BitDepth::Sixteen { 2 } else { 1 };
        let samples = stride_px * control.height as usize * pixel_bytes;
        if self.depth == BitDepth::Sixteen {
            round_to_eight(&self.samples[..samples], &mut self.eight);
        }
        let channels = self.colour.samples();
        let rows = if self.depth == BitDepth::Sixteen { &self.eight } else { &self.samples }
            .chunks_exact(stride_px * channels)
            .take(control.height as usize);
        for (row, target) in rows.zip(self.canvas.chunks_exact_mut(self.width * 4).skip(control.y_offset as usize)) {
            let (target, _) = target[control.x_offset as usize * 4..across * 4].as_chunks_mut::<4>();
            for (pixel, sample) in target.iter_mut().zip(row.chunks_exact(channels)) {
                let over = match *sample {
                    [r, g, b, alpha] => [r, g, b, alpha],
                    [r, g, b] => [r, g, b, 255],
                    [grey, alpha] => [grey, grey, grey, alpha],
                    _ => [sample[0], sample[0], sample[0], 255],
                };
                *pixel = if control.blend_op == BlendOp::Over { blend(over, *pixel) } else { over };
            }
        }
        self.last = Some(control);
        // A denominator of 0 counts as 100.
        let share = if control.delay_den == 0 { 100 } else { u64::from(control.delay_den) };
        let delay_ms = (u64::from(control.delay_num) * 1000 + share / 2) / share;
        Ok(Some((&self.canvas, delay_ms as u32)))
    }

    fn dispose(&mut self) {
        let Some(last) = self.last.take() else { return };
        match last.dispose_op {
            DisposeOp::None => {}
            DisposeOp::Background => {
                let (left, right) = (last.x_offset as usize * 4, (last.x_offset + last.width) as usize * 4);
                let rows = self.canvas.chunks_exact_mut(self.width * 4).skip(last.y_offset as usize).take(last.height as usize);
                rows.for_each(|row| row[left..right].fill(0));
            }
            DisposeOp::Previous => self.canvas.copy_from_slice(&self.saved),
        }
    }
}

/// Straight alpha over straight alpha (clause 13.16), rounded to the nearest.
fn blend(over: [u8; 4], under: [u8; 4]) -> [u8; 4] {
    match (over[3], under[3]) {
        (255, _) | (_, 0) => over,
        (0, _) => under,
        _ => {
            let (a, b) = (u32::from(over[3]), u32::from(under[3]));
            // Alphas of 255 * 255 together.
            let below = b * (255 - a);
            let all = a * 255 + below;
            let mixed = |channel: usize| (u32::from(over[channel]) * a * 255 + u32::from(under[channel]) * below + all / 2) / all;
            [mixed(0) as u8, mixed(1) as u8, mixed(2) as u8, ((all + 127) / 255) as u8]
        }
    }
}
