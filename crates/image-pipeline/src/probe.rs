//! Format, geometry, orientation, frames and alpha from the header, before any large allocation.
//!
//! Reads headers only and seeks over the rest. No allocation follows a length found in the file, and no loop is longer than a
//! fixed number of blocks, whatever the bytes say. Pixels are never decoded here.

mod exif;
mod gif;
mod jpeg;
mod png;
mod webp;

use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
};
use std::io::{self, BufRead, ErrorKind as IoErrorKind, Read, Seek};

/// Name of this stage in errors.
const STAGE: &str = "probe";

/// Bytes [`sniff`] wants before it says yes.
pub(crate) const SNIFF_BYTES: usize = 16;

/// Blocks (segments, chunks) walked at most before the pixels begin: real files have some tens.
const MAX_BLOCKS: u32 = 10_000;

/// Formats we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG (ITU-T T.81), baseline and progressive, 8 bit.
    Jpeg,
    /// PNG (third edition), its default image.
    Png,
    /// WebP (RFC 9649), lossy and lossless; of an animation the first frame.
    WebP,
    /// GIF 87a and 89a, the first frame.
    Gif,
}

impl Format {
    /// `image/jpeg`, …
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
        }
    }

    /// Usual ending of file names, without a dot: `jpg`, `png`, `webp`, `gif`.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
        }
    }

    /// Name in the API: `jpeg`, `png`, `webp`, `gif`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
        }
    }

    /// The format of this name or ending, any case; `None` if it is none we read.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        const NAMES: [(&str, Format); 5] =
            [("jpeg", Format::Jpeg), ("jpg", Format::Jpeg), ("png", Format::Png), ("webp", Format::WebP), ("gif", Format::Gif)];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, format)| format)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the stored rows and columns lie in the picture: Exif 2.32, tag 0x0112. The name says what brings it upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Orientation {
    /// 1: as stored.
    #[default]
    Upright = 1,
    /// 2: mirror left-right.
    FlipHorizontal = 2,
    /// 3: half a turn.
    Rotate180 = 3,
    /// 4: mirror top-bottom.
    FlipVertical = 4,
    /// 5: swap rows and columns (mirror on the falling diagonal).
    Transpose = 5,
    /// 6: a quarter turn clockwise.
    Rotate90 = 6,
    /// 7: mirror on the rising diagonal.
    Transverse = 7,
    /// 8: a quarter turn counter-clockwise.
    Rotate270 = 8,
}

impl Orientation {
    /// All eight, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Upright,
        Self::FlipHorizontal,
        Self::Rotate180,
        Self::FlipVertical,
        Self::Transpose,
        Self::Rotate90,
        Self::Transverse,
        Self::Rotate270,
    ];

    /// The orientation of this Exif number, 1 to 8.
    #[must_use]
    pub fn from_exif(number: u32) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }

    /// The Exif number, 1 to 8.
    #[must_use]
    pub const fn exif(self) -> u8 {
        self as u8
    }

    /// Whether width and height change places on the way to upright.
    #[must_use]
    pub const fn swaps_sides(self) -> bool {
        matches!(self, Self::Transpose | Self::Rotate90 | Self::Transverse | Self::Rotate270)
    }
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
    /// Bytes a decoder must keep for the whole picture beside the result: coefficients of a JPEG in several scans, indices of a GIF's frame,
    /// words of a lossless WebP and canvases of an animated one; 0 where it works by rows.
    pub(crate) decoder_bytes: u64,
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
        }
    }

    /// Width and height in pixels as shown: orientation applied.
    #[must_use]
    pub fn display_size(&self) -> (u32, u32) {
        if self.orientation.swaps_sides() { (self.height_px, self.width_px) } else { (self.width_px, self.height_px) }
    }

    /// Width times height.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        u64::from(self.width_px) * u64::from(self.height_px)
    }
}

/// The format these first bytes belong to: by signature alone, never by name or declared type. Fewer than 16 bytes say nothing.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<Format> {
    let head = head.first_chunk::<SNIFF_BYTES>()?;
    if head.starts_with(&[0xff, 0xd8, 0xff]) {
        Some(Format::Jpeg)
    } else if head.starts_with(png::SIGNATURE) {
        Some(Format::Png)
    } else if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") {
        Some(Format::Gif)
    } else if head.starts_with(b"RIFF") && head[8..12] == *b"WEBP" {
        Some(Format::WebP)
    } else {
        None
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
    let mut reader = Reader { source, format: None };
    let head = reader.array::<SNIFF_BYTES>()?;
    let format =
        sniff(&head).ok_or_else(|| reader.error(ErrorKind::Unsupported, "not an image format that is read here: jpeg, png, webp, gif"))?;
    reader.format = Some(format);
    match format {
        Format::Jpeg => {
            reader.rewind(SNIFF_BYTES - 2)?;
            jpeg::probe(&mut reader, limits)
        }
        Format::Png => {
            reader.rewind(SNIFF_BYTES - png::SIGNATURE.len())?;
            png::probe(&mut reader, limits)
        }
        Format::Gif => {
            reader.rewind(SNIFF_BYTES - 6)?;
            gif::probe(&mut reader, limits)
        }
        Format::WebP => {
            reader.rewind(SNIFF_BYTES - b"RIFF".len())?;
            webp::probe(&mut reader, limits)
        }
    }
}

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

/// Refuses an animation with more frames than allowed.
fn check_frames(format: Format, frames: u32, limits: &Limits) -> Result<(), Error> {
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
}

impl<R: BufRead + Seek> Reader<'_, R> {
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
