//! What is written, and how: pictures, options, and the checks both must pass.
//!
//! Knows nothing of coding. Invariant: behind [`Picture::check`] every row of every plane is there, and sides are 1 to 65535.

use crate::error::Error;

/// Longest side: T.81, B.2.2 has 16 bits for it.
pub(crate) const MAX_SIDE_PX: u32 = 65535;

/// Most bytes of a [`Segment`]: a segment's length has 16 bits and counts itself (T.81, B.1.1.4).
pub const MAX_SEGMENT_BYTES: usize = 65533;

/// Samples of one component, 8 bits each.
#[derive(Clone, Copy)]
pub struct Plane<'a> {
    /// Rows from the top; the last one need not be filled up to the stride.
    pub samples: &'a [u8],
    /// Bytes from one row to the next, at least `width_px`.
    pub stride: usize,
    /// Samples of a row.
    pub width_px: u32,
    /// Rows.
    pub height_px: u32,
}

/// A picture, in one of the forms that are written.
#[derive(Clone, Copy)]
pub enum Picture<'a> {
    /// One plane: a grey picture, whatever [`Sampling`] says.
    Grey(Plane<'a>),
    /// JFIF's YCbCr (BT.601, full range). Chroma as large as luma is written 4:4:4; half as large both ways (rounded up, JFIF's
    /// centred position), 4:2:0.
    YCbCr {
        /// Y.
        luma: Plane<'a>,
        /// Cb.
        blue: Plane<'a>,
        /// Cr.
        red: Plane<'a>,
    },
    /// Three bytes a pixel, rows tightly packed.
    Rgb {
        /// 3 * `width_px` * `height_px` bytes, from the top.
        bytes: &'a [u8],
        /// Pixels of a row.
        width_px: u32,
        /// Rows.
        height_px: u32,
    },
    /// Four bytes a pixel, rows tightly packed; the fourth is not looked at.
    Rgba {
        /// 4 * `width_px` * `height_px` bytes, from the top.
        bytes: &'a [u8],
        /// Pixels of a row.
        width_px: u32,
        /// Rows.
        height_px: u32,
    },
}

/// How large chroma is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sampling {
    /// 4:4:4: a sample a pixel.
    Full,
    /// 4:2:0: a sample for 2x2 pixels, their mean.
    Half,
}

/// Bytes for an application, such as a colour profile's (ICC.1, B.4) or Exif's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// `n` of APPn, 0 to 15.
    pub number: u8,
    /// What follows the length, at most [`MAX_SEGMENT_BYTES`]; the name that tells it from others is part of it.
    pub bytes: &'a [u8],
}

/// How a picture is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options<'a> {
    /// 1 to 100: libjpeg's scaling of the tables in T.81, annex K.
    pub quality: u8,
    /// For [`Picture::Rgb`] and [`Picture::Rgba`] only; planes say it by their sides.
    pub sampling: Sampling,
    /// Whether the picture comes in scans that get finer: smaller on photos, and more work for both sides.
    pub progressive: bool,
    /// Written after JFIF's own APP0, in order.
    pub segments: &'a [Segment<'a>],
}

impl Options<'_> {
    /// Baseline 4:2:0 without segments.
    #[must_use]
    pub const fn new(quality: u8) -> Self {
        Self { quality, sampling: Sampling::Half, progressive: false, segments: &[] }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(1..=100).contains(&self.quality) {
            return Err(Error::Quality(self.quality));
        }
        let wrong = |segment: &&Segment<'_>| segment.number > 15 || segment.bytes.len() > MAX_SEGMENT_BYTES;
        match self.segments.iter().find(wrong) {
            Some(segment) => Err(Error::Segment { number: segment.number, bytes: segment.bytes.len() }),
            None => Ok(()),
        }
    }
}

impl<'a> Plane<'a> {
    fn check(&self) -> Result<(), Error> {
        check_sides(self.width_px, self.height_px)?;
        let (width, height) = (self.width_px as usize, self.height_px as usize);
        if self.stride < width {
            return Err(Error::Stride { stride: self.stride, width_px: self.width_px });
        }
        let needed = self.stride.checked_mul(height - 1).and_then(|bytes| bytes.checked_add(width));
        check_bytes(self.samples.len(), needed)
    }

    fn sides_px(&self) -> (u32, u32) {
        (self.width_px, self.height_px)
    }

    /// The rows from `first` on, `rows` or as many as there are; `None` where there are none.
    pub(crate) fn rows(&self, first: usize, rows: usize) -> Option<Plane<'a>> {
        let height_px = (self.height_px as usize).checked_sub(first).filter(|&left| left > 0)?.min(rows) as u32;
        Some(Plane { samples: self.samples.get(first * self.stride..)?, height_px, ..*self })
    }
}

impl Picture<'_> {
    /// Width and height.
    #[must_use]
    pub fn sides_px(&self) -> (u32, u32) {
        match *self {
            Self::Grey(luma) | Self::YCbCr { luma, .. } => luma.sides_px(),
            Self::Rgb { width_px, height_px, .. } | Self::Rgba { width_px, height_px, .. } => (width_px, height_px),
        }
    }

    /// Refuses what cannot be written; gives the sampling of chroma, `None` for grey.
    pub(crate) fn check(&self, sampling: Sampling) -> Result<Option<Sampling>, Error> {
        match *self {
            Self::Grey(luma) => luma.check().map(|()| None),
            Self::YCbCr { luma, blue, red } => {
                luma.check()?;
                let (width_px, height_px) = luma.sides_px();
                let sampling = if blue.sides_px() == luma.sides_px() {
                    Some(Sampling::Full)
                } else if blue.sides_px() == (width_px.div_ceil(2), height_px.div_ceil(2)) {
                    Some(Sampling::Half)
                } else {
                    None
                };
                if sampling.is_none() || blue.sides_px() != red.sides_px() {
                    return Err(Error::Chroma { luma_px: luma.sides_px(), blue_px: blue.sides_px(), red_px: red.sides_px() });
                }
                blue.check()?;
                red.check()?;
                Ok(sampling)
            }
            Self::Rgb { bytes, width_px, height_px } => check_pixels(bytes, width_px, height_px, 3).map(|()| Some(sampling)),
            Self::Rgba { bytes, width_px, height_px } => check_pixels(bytes, width_px, height_px, 4).map(|()| Some(sampling)),
        }
    }
}

fn check_sides(width_px: u32, height_px: u32) -> Result<(), Error> {
    let fits = |side: u32| (1..=MAX_SIDE_PX).contains(&side);
    if fits(width_px) && fits(height_px) { Ok(()) } else { Err(Error::Side { width_px, height_px }) }
}

fn check_bytes(found: usize, needed: Option<usize>) -> Result<(), Error> {
    match needed {
        Some(needed) if found >= needed => Ok(()),
        _ => Err(Error::TooFewBytes { found, needed: needed.unwrap_or(usize::MAX) }),
    }
}

fn check_pixels(bytes: &[u8], width_px: u32, height_px: u32, channels: usize) -> Result<(), Error> {
    check_sides(width_px, height_px)?;
    let needed = (width_px as usize).checked_mul(height_px as usize).and_then(|pixels| pixels.checked_mul(channels));
    check_bytes(bytes.len(), needed)
}
