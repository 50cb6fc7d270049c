//! Format, geometry, orientation, frames and alpha from the header, before any large allocation.
//!
//! Reads headers only and seeks over the rest. No allocation follows a length found in the file, and no loop is longer than a
//! fixed number of blocks, whatever the bytes say. Pixels are never decoded here.

mod avif;
mod bmff;
mod bmp;
mod exif;
mod gif;
mod heif;
mod ico;
mod jpeg;
mod jxl;
mod orientation;
mod png;
mod qoi;
mod svg;
mod tiff;
mod track;
mod webp;

pub use orientation::Orientation;

pub(crate) use heif::{Coded, Heif};
pub(crate) use ico::Icon;
pub(crate) use jxl::Jxl;
pub(crate) use svg::MAX_BYTES as MAX_SVG_BYTES;
pub(crate) use tiff::Tiff;
pub(crate) use track::Sequence;

use crate::{
    codec::Described,
    error::{Error, ErrorKind},
    limits::Limits,
};
use std::{
    io::{self, BufRead, ErrorKind as IoErrorKind, Read, Seek, SeekFrom},
    sync::Arc,
};

/// Name of this stage in errors.
const STAGE: &str = "probe";

/// Bytes [`sniff`] wants before it says yes.
pub(crate) const SNIFF_BYTES: usize = 16;

/// Bytes it looks at.
const HEAD_BYTES: u64 = 4096;

/// Blocks (segments, chunks) walked at most before the pixels begin: real files have some tens.
const MAX_BLOCKS: u32 = 10_000;

/// Formats we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG (ITU-T T.81), baseline and progressive, 8 bit.
    Jpeg,
    /// PNG (third edition), animated ones too.
    Png,
    /// WebP (RFC 9649), lossy, lossless, animated.
    WebP,
    /// GIF 87a and 89a.
    Gif,
    /// AVIF, 8 to 12 bit, of one tile or a grid, and sequences.
    Avif,
    /// TIFF (revision 6.0) and BigTIFF, the first page.
    Tiff,
    /// BMP, of Windows and OS/2.
    Bmp,
    /// ICO, its largest picture.
    Ico,
    /// QOI.
    Qoi,
    /// JPEG XL, bare or in boxes, animated ones too.
    Jxl,
    /// SVG, drawn at the size that is wanted; only where [`Limits::allow_svg`] says so.
    Svg,
    /// HEIC: told from others by all builds, read by those with the feature `heic`.
    Heic,
}

/// Every format with its media type, its usual ending and its name; the names of a format that is called by several come first.
const NAMES: [(&str, Format); 16] = [
    ("jpeg", Format::Jpeg),
    ("jpg", Format::Jpeg),
    ("png", Format::Png),
    ("webp", Format::WebP),
    ("gif", Format::Gif),
    ("avif", Format::Avif),
    ("tiff", Format::Tiff),
    ("tif", Format::Tiff),
    ("bmp", Format::Bmp),
    ("ico", Format::Ico),
    ("qoi", Format::Qoi),
    ("jxl", Format::Jxl),
    ("svg", Format::Svg),
    ("heic", Format::Heic),
    ("heif", Format::Heic),
    ("avifs", Format::Avif),
];

impl Format {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Jpeg,
        Self::Png,
        Self::WebP,
        Self::Gif,
        Self::Avif,
        Self::Tiff,
        Self::Bmp,
        Self::Ico,
        Self::Qoi,
        Self::Jxl,
        Self::Svg,
        Self::Heic,
    ];

    /// `image/jpeg`, …
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Avif => "image/avif",
            Self::Tiff => "image/tiff",
            Self::Bmp => "image/bmp",
            Self::Ico => "image/vnd.microsoft.icon",
            Self::Qoi => "image/qoi",
            Self::Jxl => "image/jxl",
            Self::Svg => "image/svg+xml",
            Self::Heic => "image/heic",
        }
    }

    /// Usual ending of file names, without a dot: `jpg`, `png`, `tif`, ….
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Avif => "avif",
            Self::Tiff => "tif",
            Self::Bmp => "bmp",
            Self::Ico => "ico",
            Self::Qoi => "qoi",
            Self::Jxl => "jxl",
            Self::Svg => "svg",
            Self::Heic => "heic",
        }
    }

    /// Name in the API: `jpeg`, `png`, `tiff`, ….
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Avif => "avif",
            Self::Tiff => "tiff",
            Self::Bmp => "bmp",
            Self::Ico => "ico",
            Self::Qoi => "qoi",
            Self::Jxl => "jxl",
            Self::Svg => "svg",
            Self::Heic => "heic",
        }
    }

    /// The format of this name or ending, any case; `None` if it is none we read.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, format)| format)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a JPEG's frame and first scan say of how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct JpegFrame {
    /// Sampling factors across and down, 1 to 4, of as many components as there are.
    pub(crate) sampling: [(u8, u8); 4],
    /// Its three components are luma and chroma.
    pub(crate) is_ycbcr: bool,
    /// Its coefficients must be kept until the last scan.
    pub(crate) waits: bool,
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Told by the first bytes.
    pub format: Format,
    /// Stored width in pixels, 1 and more; of an animation, of its canvas.
    pub width_px: u32,
    /// Stored height in pixels, 1 and more.
    pub height_px: u32,
    /// How the stored picture is turned; broken or missing metadata says upright.
    pub orientation: Orientation,
    /// Frames of an animation, 1 for a still picture; `None` where the source ended before all were counted.
    pub frames: Option<u32>,
    /// Whether pixels may be transparent.
    pub has_alpha: bool,
    /// Bits a channel as stored: 1, 2, 4, 8 or 16; of a palette, of its index.
    pub bits: u8,
    /// Channels as stored: 1 grey or palette, 2 grey and alpha, 3 colour, 4 colour and alpha, or CMYK in a JPEG.
    pub channels: u8,
    /// Sent in several passes: progressive JPEG, interlaced PNG or GIF.
    pub progressive: bool,
    /// An ICC profile is embedded.
    pub has_icc: bool,
    /// Bytes a decoder must keep for the whole picture beside the result: indices of a GIF's frame, words of a lossless WebP and canvases
    /// of an animated one; 0 where it works by rows, and for JPEG, where it depends on what is read.
    pub(crate) decoder_bytes: u64,
    /// Most pixels of a frame that were seen, of a GIF; its frames may jut out of the canvas.
    pub(crate) frame_pixels: u64,
    /// A still lossy WebP without alpha: luma, and chroma of half the sides.
    pub(crate) has_planes: bool,
    /// Samples are indices of a palette's colours.
    pub(crate) is_palette: bool,
    /// Colours are not sRGB already, as far as the header was read, and become it once the picture has its size.
    pub(crate) needs_profile: bool,
    /// Bytes of the profile, as stored; 0 without.
    pub(crate) profile_bytes: u64,
    /// What a PNG says of colours beside a profile.
    pub(crate) described: Described,
    /// Of a JPEG.
    pub(crate) frame: JpegFrame,
    /// Where its Exif block lies, from the image's first byte on.
    pub(crate) exif_at: Option<Block>,
    /// Where its parts lie.
    pub(crate) parts: Parts,
}

/// What the decoders of some formats need to know of a file, read once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) enum Parts {
    /// Nothing beside the probe.
    #[default]
    None,
    Heif(Arc<Heif>),
    Tiff(Arc<Tiff>),
    Icon(Arc<Icon>),
    Jxl(Jxl),
    /// A drawing of so many bytes, without pixels of its own.
    Vector {
        bytes: u64,
    },
}

/// A part of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    first_byte: u64,
    bytes: u64,
}

impl Block {
    /// The part, if the source has it.
    pub(crate) fn of(self, source: &[u8]) -> Option<&[u8]> {
        let first = usize::try_from(self.first_byte).ok()?;
        source.get(first..)?.get(..usize::try_from(self.bytes).ok()?)
    }
}

impl Probe {
    fn still(format: Format, width_px: u32, height_px: u32) -> Self {
        Self {
            format,
            width_px,
            height_px,
            orientation: Orientation::Upright,
            frames: Some(1),
            has_alpha: false,
            bits: 8,
            channels: 3,
            progressive: false,
            has_icc: false,
            decoder_bytes: 0,
            frame_pixels: 0,
            has_planes: false,
            is_palette: false,
            needs_profile: false,
            profile_bytes: 0,
            described: Described::default(),
            frame: JpegFrame::default(),
            parts: Parts::None,
            exif_at: None,
        }
    }

    /// Width and height in pixels as shown: orientation applied.
    #[must_use]
    pub fn display_size(&self) -> (u32, u32) {
        if self.orientation.swaps_sides() { (self.height_px, self.width_px) } else { (self.width_px, self.height_px) }
    }

    /// Whether there is, or may be, more than one frame.
    #[must_use]
    pub fn is_animated(&self) -> bool {
        self.frames != Some(1)
    }

    /// Whether it has no pixels of its own, so that no size is larger than it is.
    pub(crate) fn is_drawing(&self) -> bool {
        matches!(self.parts, Parts::Vector { .. })
    }

    /// Width times height.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        u64::from(self.width_px) * u64::from(self.height_px)
    }
}

/// The format these first bytes belong to: by signature alone, never by name or declared type. Fewer than 16 bytes say nothing; that files of
/// one container are told apart takes the container's whole first box, some 64 bytes at most, and SVG all that stands before its root
/// element.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<Format> {
    let first = head.first_chunk::<SNIFF_BYTES>()?;
    if first.starts_with(&[0xff, 0xd8, 0xff]) {
        Some(Format::Jpeg)
    } else if first.starts_with(png::SIGNATURE) {
        Some(Format::Png)
    } else if first.starts_with(b"GIF87a") || first.starts_with(b"GIF89a") {
        Some(Format::Gif)
    } else if first.starts_with(b"RIFF") && first[8..12] == *b"WEBP" {
        Some(Format::WebP)
    } else if tiff::is_signature(first) {
        Some(Format::Tiff)
    } else if bmp::is_signature(head) {
        Some(Format::Bmp)
    } else if ico::is_signature(head) {
        Some(Format::Ico)
    } else if first.starts_with(b"qoif") {
        Some(Format::Qoi)
    } else if jxl::is_signature(head) {
        Some(Format::Jxl)
    } else if svg::is_svg(head) {
        Some(Format::Svg)
    } else {
        avif::sniff(head)
    }
}

/// Reads the headers of the image that starts at the reader's position.
///
/// A head slice of a longer file will do: what cannot be told from it ends in [`ErrorKind::Truncated`], "more is needed"; what can be
/// refused from it (size, kind) is refused at once. A GIF whose first frame is in the slice is answered with `frames: None`.
///
/// # Errors
/// `Truncated` (the source ends inside what must be read), `Malformed`, `Unsupported` (no format we read, or a kind of it we do not
/// read), `TooManyPixels`, `TooManyFrames`, `Internal` (the reader failed).
pub fn probe<R: BufRead + Seek>(source: &mut R, limits: &Limits) -> Result<Probe, Error> {
    let first_byte =
        source.stream_position().map_err(|error| Error::new(ErrorKind::Internal, STAGE, "image could not be read").caused_by(error))?;
    let mut reader = Reader { source, format: None, first_byte, exif_at: None };
    let mut head = Vec::new();
    reader.source.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| reader.failed(error))?;
    reader.rewind(head.len())?;
    if head.len() < SNIFF_BYTES {
        return Err(reader.error(ErrorKind::Truncated, "image ends inside its header"));
    }
    let format =
        sniff(&head).ok_or_else(|| reader.error(ErrorKind::Unsupported, format!("not an image format that is read here: {READ}")))?;
    reader.format = Some(format);
    let found = match format {
        Format::Jpeg => {
            reader.skip(2)?;
            jpeg::probe(&mut reader, limits)
        }
        Format::Png => {
            reader.skip(png::SIGNATURE.len() as u64)?;
            png::probe(&mut reader, limits)
        }
        Format::Gif => {
            reader.skip(6)?;
            gif::probe(&mut reader, limits)
        }
        Format::WebP => {
            reader.skip(4)?;
            webp::probe(&mut reader, limits)
        }
        Format::Avif => avif::probe(&mut reader, Format::Avif, limits),
        Format::Tiff => tiff::probe(&mut reader, limits),
        Format::Bmp => bmp::probe(&mut reader, &head, limits),
        Format::Ico => ico::probe(&mut reader, limits),
        Format::Qoi => {
            reader.skip(4)?;
            qoi::probe(&mut reader, limits)
        }
        Format::Jxl => jxl::probe(&mut reader, limits),
        Format::Svg if limits.allow_svg => svg::probe(&mut reader, limits),
        Format::Svg => Err(reader.error(ErrorKind::Unsupported, "SVG is not read unless it is allowed: --allow-svg")),
        Format::Heic if cfg!(feature = "heic") => avif::probe(&mut reader, Format::Heic, limits),
        Format::Heic => Err(reader.error(ErrorKind::Unsupported, HEIC_IS_OFF)),
    };
    found.map(|found| Probe { exif_at: reader.exif_at, ..found })
}

/// What is read, in errors.
const READ: &str = "jpeg, png, webp, gif, avif, tiff, bmp, ico, qoi, jpeg xl";

/// The refusal of HEIC by a build without it.
pub(crate) const HEIC_IS_OFF: &str = "heic is not read by this build: it takes one with the feature heic";

/// Refuses a picture without area or with more of it than allowed.
fn check_area(format: Format, width_px: u32, height_px: u32, limits: &Limits) -> Result<(), Error> {
    if width_px == 0 || height_px == 0 {
        let text = format!("image is {width_px} by {height_px} pixels, both sides must be at least 1");
        return Err(Error::new(ErrorKind::Malformed, STAGE, text).in_format(format));
    }
    let pixels = u64::from(width_px) * u64::from(height_px);
    if pixels > limits.max_pixels {
        let text = format!("image has {pixels} pixels, limit is {}", limits.max_pixels);
        return Err(Error::new(ErrorKind::TooManyPixels, STAGE, text).in_format(format));
    }
    Ok(())
}

/// Refuses an animation with more frames, or more pixels of all of them on the canvas, than allowed; a canvas of 0 where only one of the
/// frames is ever read.
fn check_frames(format: Format, frames: u32, canvas_pixels: u64, limits: &Limits) -> Result<(), Error> {
    let pixels = canvas_pixels.saturating_mul(u64::from(frames));
    if frames > 1 && pixels > limits.max_animation_pixels {
        let text = format!("image has {pixels} pixels in {frames} frames or more, limit is {}", limits.max_animation_pixels);
        return Err(Error::new(ErrorKind::TooManyPixels, STAGE, text).in_format(format));
    }
    if frames > limits.max_frames {
        let text = format!("image has {frames} frames or more, limit is {}", limits.max_frames);
        return Err(Error::new(ErrorKind::TooManyFrames, STAGE, text).in_format(format));
    }
    Ok(())
}

/// The source with the pipeline's errors.
struct Reader<'a, R> {
    source: &'a mut R,
    format: Option<Format>,
    /// Where the image begins.
    first_byte: u64,
    /// Where its metadata were found.
    exif_at: Option<Block>,
}

impl<R: BufRead + Seek> Reader<'_, R> {
    /// Bytes from the image's beginning.
    fn position(&mut self) -> Result<u64, Error> {
        let at = self.source.stream_position().map_err(|error| self.failed(error))?;
        Ok(at - self.first_byte)
    }

    /// Goes to so many bytes from the image's beginning; past the end shows at the next read.
    fn seek_to(&mut self, at: u64) -> Result<(), Error> {
        let out_of_range = || self.error(ErrorKind::Malformed, "a place in the header is out of range");
        let target = i64::try_from(at).map_err(|_| out_of_range())?;
        let from = i64::try_from(self.position()?).unwrap_or(i64::MAX);
        self.source.seek_relative(target - from).map_err(|error| self.failed(error))
    }

    fn error(&self, kind: ErrorKind, text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        let error = Error::new(kind, STAGE, text);
        match self.format {
            Some(format) => error.in_format(format),
            None => error,
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        match error.kind() {
            IoErrorKind::UnexpectedEof => self.error(ErrorKind::Truncated, "image ends inside its header"),
            _ => self.error(ErrorKind::Internal, "image could not be read").caused_by(error),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        Ok(bytes)
    }

    /// All of `bytes`, whose length the caller bounded.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.source.read_exact(bytes).map_err(|error| self.failed(error))
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    fn u16_be(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u16_le(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32_be(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u32_le(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Steps over `bytes`; going past the end shows at the next read.
    fn skip(&mut self, bytes: u64) -> Result<(), Error> {
        let bytes = i64::try_from(bytes).map_err(|_| self.error(ErrorKind::Malformed, "a length in the header is out of range"))?;
        self.source.seek_relative(bytes).map_err(|error| self.failed(error))
    }

    /// Bytes from here to the end.
    fn rest_bytes(&mut self) -> Result<u64, Error> {
        let at = self.source.stream_position().map_err(|error| self.failed(error))?;
        let end = self.source.seek(SeekFrom::End(0)).map_err(|error| self.failed(error))?;
        self.source.seek(SeekFrom::Start(at)).map_err(|error| self.failed(error))?;
        Ok(end.saturating_sub(at))
    }

    fn rewind(&mut self, bytes: usize) -> Result<(), Error> {
        self.source.seek_relative(-(bytes as i64)).map_err(|error| self.failed(error))
    }

    /// Whether the source ends here.
    fn at_end(&mut self) -> Result<bool, Error> {
        match self.source.fill_buf() {
            Ok(buffer) => Ok(buffer.is_empty()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Consumes a block of `bytes` and reads its beginning as Exif metadata. What is broken in there is not an error.
    fn orientation_of_block(&mut self, bytes: u64) -> Result<Orientation, Error> {
        let kept = bytes.min(exif::MAX_READ_BYTES);
        let at = self.source.stream_position().map_err(|error| self.failed(error))?;
        self.exif_at = Some(Block { first_byte: at - self.first_byte, bytes: kept });
        let mut block = Vec::new();
        self.source.by_ref().take(kept).read_to_end(&mut block).map_err(|error| self.failed(error))?;
        if (block.len() as u64) < kept {
            return Err(self.error(ErrorKind::Truncated, "image ends inside its metadata"));
        }
        self.skip(bytes - kept)?;
        Ok(exif::orientation(&block))
    }
}

#[cfg(test)]
mod tests;
