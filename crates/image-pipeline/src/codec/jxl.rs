//! JPEG XL in (the `jxl` crate, the reader of browsers): bare codestreams and boxes, still pictures and animations.
//!
//! One thread. The library hands out 8 bits in the colours the file says, or 16 of high dynamic range, which is bent to sRGB here; alpha is made
//! straight. Its panics are errors like others.

use super::{DECODE, Opened, Plays, caught, cicp::Cicp, decoded_layout, disagreement, icc::ToSrgb, picture, picture_buffer, tone::ToneMap};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, Pixels},
    probe::{Format, Jxl, Parts, Probe},
};
use jxl::{
    api::{
        AlphaMode, Endianness, Event, JxlBitstreamInput, JxlColorEncoding, JxlColorProfile, JxlColorType, JxlDataFormat, JxlDecoder,
        JxlDecoderOptions, JxlOutputBuffer, JxlPixelFormat, JxlPrimaries, JxlTransferFunction, ProfileLevel,
    },
    error::Error as Fault,
};
use std::{
    io::{self, BufRead, IoSliceMut, Seek, SeekFrom},
    num::NonZeroU32,
    ops::Range,
};

/// Bytes held beside the source, the picture included: an upper bound, from measured peaks and a margin.
pub(super) fn working_bytes(probe: &Probe) -> u64 {
    /// Tables, groups under way, a profile.
    const FIXED: u64 = 24 << 20;
    let extra = if let Parts::Jxl(Jxl { extra_channels, .. }) = probe.parts { u64::from(extra_channels) } else { 0 };
    // Words of every channel, twice where a filter needs its neighbours, and the picture, of 16 bits where it is deep.
    let pixel = (3 + extra) * 8 + decoded_layout(probe).channels() as u64 * 3;
    FIXED + super::icc::reading_bytes(super::icc::MAX_PROFILE_BYTES as u64) + probe.pixels() * pixel
}

fn options() -> JxlDecoderOptions {
    let mut options = JxlDecoderOptions::default();
    // Turned where all are turned.
    options.adjust_orientation = false;
    options.alpha_mode = AlphaMode::Unpremultiplied;
    options.max_profile_level = ProfileLevel::Main10;
    options
}

fn refused(kind: ErrorKind, text: &'static str) -> Error {
    Error::new(kind, DECODE, text).in_format(Format::Jxl)
}

fn broken(error: Fault) -> Error {
    let kind = match &error {
        Fault::OutOfBounds(_) => refused(ErrorKind::Truncated, "jpeg xl ends before its picture does"),
        Fault::OutOfMemory(_) | Fault::ImageOutOfMemory(..) | Fault::IccTooLarge => {
            refused(ErrorKind::LimitExceeded, "jpeg xl wants more memory than is allowed")
        }
        _ => refused(ErrorKind::Malformed, "jpeg xl is broken"),
    };
    kind.caused_by(error)
}

fn cut() -> Error {
    refused(ErrorKind::Truncated, "jpeg xl ends before its picture does")
}

/// Decodes the first frame.
pub(super) fn open(probe: &Probe, source: &[u8]) -> Result<Opened<'static>, Error> {
    let (pixels, to_srgb) = caught(Format::Jxl, || decode(probe, source))?;
    Ok(Opened::whole(pixels, to_srgb))
}

fn decode(probe: &Probe, source: &[u8]) -> Result<(Pixels, Option<ToSrgb>), Error> {
    let (mut coded, to_srgb) = Coded::open(probe, source)?;
    coded.next()?.ok_or_else(|| refused(ErrorKind::Malformed, "jpeg xl holds no picture"))?;
    let layout = decoded_layout(probe);
    let pixels = if coded.are_pixels() {
        picture(probe, layout, coded.samples)?
    } else {
        let mut bytes = picture_buffer(probe, layout)?;
        coded.put(layout.channels(), &mut bytes);
        picture(probe, layout, bytes)?
    };
    Ok((pixels, to_srgb))
}

/// A codestream whose headers were read: its frames come one by one, each composed on the whole canvas by the library.
struct Coded<'s> {
    decoder: JxlDecoder,
    input: &'s [u8],
    is_grey: bool,
    /// Where it is of high dynamic range, and so of 16 bits.
    tone: Option<ToneMap>,
    /// Channels, of `row_bytes` a row.
    stored: usize,
    row_bytes: usize,
    height: usize,
    /// The last frame, in `whole` of it: rows of 16 bits must lie on even addresses.
    samples: Vec<u8>,
    whole: Range<usize>,
    is_last: bool,
}

impl<'s> Coded<'s> {
    fn open(probe: &Probe, mut input: &'s [u8]) -> Result<(Self, Option<ToSrgb>), Error> {
        const BITS: u32 = 16;
        let mut decoder = JxlDecoder::new(options());
        await_event(&mut decoder, &mut input, Event::BasicInfo)?;
        let info = decoder.basic_info().ok_or_else(|| disagreement(Format::Jxl))?;
        if info.size != (probe.width_px as usize, probe.height_px as usize) {
            return Err(disagreement(Format::Jxl));
        }
        let extra = info.extra_channels.len();
        let profile = decoder.embedded_color_profile().ok_or_else(|| disagreement(Format::Jxl))?;
        if profile.is_cmyk() {
            return Err(refused(ErrorKind::Unsupported, "jpeg xl is of inks, which is not read"));
        }
        let is_grey = profile.channels() == 1;
        let tone = match decoder.output_color_profile().and_then(high_range) {
            Some(cicp) => Some(ToneMap::new(cicp, BITS).ok_or_else(|| disagreement(Format::Jxl))?),
            None => None,
        };
        let color_type = match (is_grey, probe.has_alpha) {
            (true, false) => JxlColorType::Grayscale,
            (true, true) => JxlColorType::GrayscaleAlpha,
            (false, false) => JxlColorType::Rgb,
            (false, true) => JxlColorType::Rgba,
        };
        let depth = if tone.is_some() {
            JxlDataFormat::U16 { endianness: Endianness::native(), bit_depth: 16 }
        } else {
            JxlDataFormat::U8 { bit_depth: 8 }
        };
        let format = JxlPixelFormat { color_type, color_data_format: Some(depth), extra_channel_format: vec![None; extra] };
        decoder.set_pixel_format(format).map_err(broken)?;
        let to_srgb = match decoder.output_color_profile() {
            Some(profile) if tone.is_none() && !is_grey => profile.try_as_icc().and_then(|profile| ToSrgb::from_profile(&profile)),
            _ => None,
        };
        let stored = if is_grey { 1 } else { 3 } + usize::from(probe.has_alpha);
        let (row_bytes, height) = (probe.width_px as usize * stored * depth.bytes_per_sample(), probe.height_px as usize);
        let samples = vec![0; row_bytes * height + usize::from(tone.is_some())];
        let start = if tone.is_some() { samples.as_ptr().align_offset(2) } else { 0 };
        let whole = start..start + row_bytes * height;
        Ok((Self { decoder, input, is_grey, tone, stored, row_bytes, height, samples, whole, is_last: false }, to_srgb))
    }

    /// Decodes the next frame, and says how long it stays, in milliseconds; `None` behind the last.
    fn next(&mut self) -> Result<Option<f64>, Error> {
        loop {
            if self.is_last {
                return Ok(None);
            }
            match self.decoder.process(&mut self.input, None, None).map_err(broken)? {
                Event::FrameHeader => break,
                Event::Complete => return Ok(None),
                Event::NeedMoreInput { .. } if self.input.is_empty() => return Err(cut()),
                _ => {}
            }
        }
        let stays_ms = self.decoder.frame_header().and_then(|header| header.duration).unwrap_or(0.0);
        loop {
            let mut buffers = [JxlOutputBuffer::new(&mut self.samples[self.whole.clone()], self.height, self.row_bytes)];
            match self.decoder.process(&mut self.input, Some(&mut buffers), None).map_err(broken)? {
                Event::FrameComplete { has_more_frames } => {
                    self.is_last = !has_more_frames;
                    return Ok(Some(stays_ms));
                }
                Event::Complete => {
                    self.is_last = true;
                    return Ok(Some(stays_ms));
                }
                Event::NeedMoreInput { .. } if self.input.is_empty() => return Err(cut()),
                _ => {}
            }
        }
    }

    /// Whether the samples are pixels as they lie.
    fn are_pixels(&self) -> bool {
        self.tone.is_none() && !self.is_grey
    }

    /// The last frame as red, green and blue, and alpha where there are four channels.
    fn put(&self, channels: usize, out: &mut [u8]) {
        let samples = &self.samples[self.whole.clone()];
        let colours = if self.is_grey { 1 } else { 3 };
        let pixels = out.chunks_exact_mut(channels);
        if let Some(tone) = &self.tone {
            for (pixel, found) in pixels.zip(samples.as_chunks::<2>().0.chunks_exact(self.stored)) {
                let word = |at: usize| u16::from_ne_bytes(found[at]);
                pixel[..3].copy_from_slice(&tone.map(if self.is_grey { [word(0); 3] } else { [word(0), word(1), word(2)] }));
                if let Some(alpha) = pixel.get_mut(3) {
                    *alpha = if self.stored > colours { ((u32::from(word(colours)) + 128) / 257) as u8 } else { 255 };
                }
            }
        } else {
            for (pixel, found) in pixels.zip(samples.chunks_exact(self.stored)) {
                pixel[..3].copy_from_slice(&if self.is_grey { [found[0]; 3] } else { [found[0], found[1], found[2]] });
                if let Some(alpha) = pixel.get_mut(3) {
                    *alpha = found.get(colours).copied().unwrap_or(255);
                }
            }
        }
    }
}

/// The frames of an animation.
pub(super) struct Frames<'s> {
    coded: Coded<'s>,
    rgba: Vec<u8>,
    plays: Plays,
    /// Milliseconds that all frames so far stay, as the file has them: what is told is rounded so that the sum is right.
    stay_ms: f64,
}

/// Bytes held while frames are read: those of a picture, the frames that later ones are made from (four at most), and the canvas.
pub(super) fn frames_bytes(probe: &Probe) -> u64 {
    let extra = if let Parts::Jxl(Jxl { extra_channels, .. }) = probe.parts { u64::from(extra_channels) } else { 0 };
    working_bytes(probe) + probe.pixels() * ((3 + extra) * 16 + 4)
}

impl<'s> Frames<'s> {
    pub(super) fn open(probe: &Probe, source: &'s [u8]) -> Result<(Self, Option<ToSrgb>), Error> {
        caught(Format::Jxl, || {
            let (coded, to_srgb) = Coded::open(probe, source)?;
            let animation = coded.decoder.basic_info().and_then(|info| info.animation.as_ref());
            let plays = Plays(animation.and_then(|animation| NonZeroU32::new(animation.num_loops)));
            Ok((Self { coded, rgba: picture_buffer(probe, Layout::Rgba8)?, plays, stay_ms: 0.0 }, to_srgb))
        })
    }

    pub(super) fn plays(&self) -> Plays {
        self.plays
    }

    /// The canvas with the next frame, and how long it stays, in milliseconds; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<(&[u8], u32)>, Error> {
        let coded = &mut self.coded;
        let Some(stays_ms) = caught(Format::Jxl, || coded.next())? else { return Ok(None) };
        self.coded.put(4, &mut self.rgba);
        let until_ms = self.stay_ms + stays_ms;
        // A cast of a float saturates.
        let delay_ms = (until_ms.round() - self.stay_ms.round()) as u32;
        self.stay_ms = until_ms;
        Ok(Some((&self.rgba, delay_ms)))
    }
}

/// Code points of colours of high dynamic range; `None` of others.
fn high_range(profile: &JxlColorProfile) -> Option<Cicp> {
    let transfer = match profile.transfer_function()? {
        JxlTransferFunction::PQ => 16,
        JxlTransferFunction::HLG => 18,
        _ => return None,
    };
    let primaries = match profile {
        JxlColorProfile::Simple(JxlColorEncoding::RgbColorSpace { primaries: JxlPrimaries::BT2100, .. }) => 9,
        JxlColorProfile::Simple(JxlColorEncoding::RgbColorSpace { primaries: JxlPrimaries::P3, .. }) => 12,
        _ => 1,
    };
    Some(Cicp { primaries, transfer, matrix: 0, full_range: true })
}

/// Goes on until the library says that it has come to this.
fn await_event(decoder: &mut JxlDecoder, input: &mut &[u8], wanted: Event) -> Result<(), Error> {
    loop {
        match decoder.process(input, None, None).map_err(broken)? {
            event if event == wanted => return Ok(()),
            Event::NeedMoreInput { .. } if input.is_empty() => return Err(cut()),
            Event::Complete => return Err(refused(ErrorKind::Malformed, "jpeg xl holds no picture")),
            _ => {}
        }
    }
}

/// Shown frames of the animation that starts at the reader's position; `None` where it ends before all were seen. Counts no further than one more
/// than `most`.
pub(super) fn frames<R: BufRead + Seek>(source: &mut R, most: u32) -> Result<Option<u32>, Error> {
    let mut options = options();
    options.scan_frames_only = true;
    let start = source.stream_position().ok();
    let end = source.seek(SeekFrom::End(0)).ok();
    let (Some(start), Some(end)) = (start, end) else { return Ok(None) };
    if source.seek(SeekFrom::Start(start)).is_err() {
        return Ok(None);
    }
    let mut input = Input { source, left: end.saturating_sub(start) };
    caught(Format::Jxl, || {
        let mut decoder = JxlDecoder::new(options);
        loop {
            let event = match decoder.process(&mut input, None, None) {
                Ok(event) => event,
                Err(Fault::OutOfBounds(_)) => return Ok(None),
                Err(error) => return Err(broken(error)),
            };
            let seen = decoder.scanned_frames().len();
            match event {
                _ if seen > most as usize => return Ok(Some(most.saturating_add(1))),
                Event::Complete => return Ok(Some(seen as u32)),
                Event::FrameComplete { has_more_frames: false } => return Ok(Some(seen as u32)),
                Event::NeedMoreInput { .. } if input.left == 0 => return Ok(None),
                _ => {}
            }
        }
    })
}

/// A reader as the library wants it.
struct Input<'r, R> {
    source: &'r mut R,
    left: u64,
}

impl<R: BufRead + Seek> JxlBitstreamInput for Input<'_, R> {
    fn available_bytes(&mut self) -> io::Result<usize> {
        Ok(usize::try_from(self.left).unwrap_or(usize::MAX))
    }

    fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = self.source.read_vectored(buffers)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }

    fn skip(&mut self, bytes: usize) -> io::Result<usize> {
        let skipped = self.left.min(bytes as u64);
        self.source.seek_relative(skipped as i64)?;
        self.left -= skipped;
        Ok(skipped as usize)
    }
}

#[cfg(test)]
mod tests;
