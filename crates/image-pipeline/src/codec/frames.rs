//! The seam of animations: frames out of a source one after the other, each composed on the whole canvas; frames into a file as they come.
//!
//! No more than a constant number of canvases is held on either side. A source that is broken in a later frame is an error there, as a still
//! picture's is (record 0008): frames before it have been given out by then, and are worth nothing.

use super::{ENCODE, Output, ToSrgb, avif, gif, jxl, png, webp};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    metadata::Written,
    pixels::{Pixels, Shape},
    probe::{Format, Parts, Probe},
    spec::OutputFormat,
    watch::Watch,
};
use std::num::NonZeroU32;

/// How often an animation is played; `None`: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plays(pub(crate) Option<NonZeroU32>);

impl Plays {
    pub(crate) const FOREVER: Self = Self(None);
    pub(crate) const ONCE: Self = Self(NonZeroU32::new(1));
}

/// Whether the frames of this source can be read one by one.
pub(crate) fn can_move(probe: &Probe) -> bool {
    match (probe.format, &probe.parts) {
        (Format::Gif | Format::WebP | Format::Png | Format::Jxl, _) => true,
        (Format::Avif, Parts::Heif(heif)) => heif.sequence.is_some(),
        _ => false,
    }
}

/// An animation about to be read, once, from its first frame.
pub(crate) struct Frames<'s> {
    /// What makes the colours sRGB, where the source says they are something else.
    pub(crate) to_srgb: Option<ToSrgb>,
    /// How often it is played.
    pub(crate) plays: Plays,
    kind: Kind<'s>,
}

enum Kind<'s> {
    Gif(Box<gif::Frames<'s>>),
    WebP(webp::Frames<'s>),
    Png(Box<png::Frames<'s>>),
    Jxl(Box<jxl::Frames<'s>>),
    Avif(Box<avif::Frames<'s>>),
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'f> {
    /// RGBA8 of the whole canvas, rows tightly packed, straight alpha; not turned, colours as stored.
    pub(crate) rgba: &'f [u8],
    /// How long it stays.
    pub(crate) delay_ms: u32,
}

impl<'s> Frames<'s> {
    /// Opens the animation that `probe` was read from.
    ///
    /// # Errors
    /// `Truncated`, `Malformed`, `Unsupported`, `LimitExceeded`, `Internal` (of a format without animations, too).
    pub(crate) fn open(probe: &Probe, source: &'s [u8], limits: &Limits) -> Result<Self, Error> {
        Ok(match probe.format {
            Format::Gif => {
                let frames = gif::Frames::open(probe, source)?;
                Self { to_srgb: None, plays: frames.plays(), kind: Kind::Gif(Box::new(frames)) }
            }
            Format::WebP => {
                let (frames, to_srgb) = webp::Frames::open(probe, source)?;
                Self { to_srgb, plays: frames.plays(), kind: Kind::WebP(frames) }
            }
            Format::Png => {
                let (frames, to_srgb) = png::Frames::open(probe, source, limits)?;
                Self { to_srgb, plays: frames.plays(), kind: Kind::Png(Box::new(frames)) }
            }
            Format::Jxl => {
                let (frames, to_srgb) = jxl::Frames::open(probe, source)?;
                Self { to_srgb, plays: frames.plays(), kind: Kind::Jxl(Box::new(frames)) }
            }
            Format::Avif => {
                let (frames, to_srgb) = avif::Frames::open(probe, source)?;
                Self { to_srgb, plays: frames.plays(), kind: Kind::Avif(Box::new(frames)) }
            }
            format => return Err(Error::new(ErrorKind::Internal, super::DECODE, "format has no frames").in_format(format)),
        })
    }

    /// The next frame; `None` behind the last, where the source was found whole.
    ///
    /// # Errors
    /// As [`Frames::open`].
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let next = match &mut self.kind {
            Kind::Gif(frames) => frames.next(),
            Kind::WebP(frames) => frames.next(),
            Kind::Png(frames) => frames.next(),
            Kind::Jxl(frames) => frames.next(),
            Kind::Avif(frames) => frames.next(),
        };
        Ok(next?.map(|(rgba, delay_ms)| Frame { rgba, delay_ms }))
    }
}

/// Bytes held beside the source while frames are read: an upper bound.
pub(crate) fn frames_bytes(probe: &Probe) -> u64 {
    match probe.format {
        Format::Gif => gif::frames_bytes(probe),
        Format::WebP => webp::frames_bytes(probe),
        Format::Png => png::frames_bytes(probe),
        Format::Jxl => jxl::frames_bytes(probe),
        Format::Avif => avif::frames_bytes(probe),
        _ => 0,
    }
}

/// An animation being written.
pub(crate) enum Moving {
    Gif(Box<gif::Writer>),
    WebP(Box<webp::Writer>),
}

impl Moving {
    /// Begins with the first frame, which is added like the others afterwards.
    ///
    /// # Errors
    /// `LimitExceeded` where a side is longer than the format can say, `Internal`; as [`Watch::check`].
    pub(crate) fn begin(output: Output, plays: Plays, first: &Pixels, watch: Watch<'_>) -> Result<Self, Error> {
        super::check_sides(first, output.format)?;
        match output.format {
            OutputFormat::Gif => gif::Writer::new(first.shape(), output, Some(plays), first, watch).map(Box::new).map(Self::Gif),
            OutputFormat::WebP => Ok(Self::WebP(Box::new(webp::Writer::new(first.shape(), output, plays)))),
            _ => Err(Error::new(ErrorKind::Internal, ENCODE, "format has no animations")),
        }
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// `Internal`, `LimitExceeded` where the file would be larger than the format can say; as [`Watch::check`].
    pub(crate) fn add(&mut self, pixels: &Pixels, delay_ms: u32, watch: Watch<'_>) -> Result<(), Error> {
        match self {
            Self::Gif(writer) => writer.add(pixels, delay_ms, watch),
            Self::WebP(writer) => writer.add(pixels, delay_ms),
        }
    }

    /// The file, with blocks beside its frames; a GIF has none.
    ///
    /// # Errors
    /// `Internal`; as [`Watch::check`].
    pub(crate) fn finish(self, written: &Written, watch: Watch<'_>) -> Result<Vec<u8>, Error> {
        match self {
            Self::Gif(writer) => writer.finish(watch),
            Self::WebP(writer) => {
                let shape = writer.shape();
                Ok(webp::with_blocks(writer.finish(), shape, written))
            }
        }
    }
}

/// Bytes held for an animation from its first frame to its last, `frames` of them, the file included: an upper bound.
pub(crate) fn moving_held_bytes(shape: Shape, frames: u64, output: Output) -> u64 {
    let held = match output.format {
        OutputFormat::Gif => gif::held_bytes(shape, frames),
        OutputFormat::WebP => webp::held_bytes(shape, frames, output),
        _ => 0,
    };
    // Of several tries the best so far is kept.
    held + output.max_bytes.map_or(0, |bytes| u64::from(bytes.get()).min(held))
}

/// Bytes held beside that while a frame is added.
pub(crate) fn moving_frame_bytes(shape: Shape, output: Output) -> u64 {
    match output.format {
        OutputFormat::Gif => gif::frame_bytes(shape),
        OutputFormat::WebP => webp::frame_bytes(shape, output),
        _ => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests;
