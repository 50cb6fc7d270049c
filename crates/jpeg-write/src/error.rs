//! What a picture or its options can be refused for.
//!
//! All of it is the caller's: once the picture is accepted, nothing fails but by his own wish. Texts are for people, with what was found and what is allowed.

use std::fmt;

/// Why a picture was not written; nothing was added to the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A side is no pixel long, or longer than the format can say.
    Side {
        /// Width of the picture.
        width_px: u32,
        /// Height of the picture.
        height_px: u32,
    },
    /// A plane or a buffer of pixels holds fewer bytes than its sides (and stride) need.
    TooFewBytes {
        /// Bytes found.
        found: usize,
        /// Bytes needed; `usize::MAX` where they cannot be counted.
        needed: usize,
    },
    /// A plane's stride is shorter than its row.
    Stride {
        /// Bytes from row to row.
        stride: usize,
        /// Bytes of a row.
        width_px: u32,
    },
    /// The chroma planes differ, or are neither as large as luma nor half of it.
    Chroma {
        /// Sides of luma.
        luma_px: (u32, u32),
        /// Sides of the blue difference.
        blue_px: (u32, u32),
        /// Sides of the red difference.
        red_px: (u32, u32),
    },
    /// The quality is not 1 to 100.
    Quality(u8),
    /// A segment's number is not 0 to 15, or its bytes are more than fit.
    Segment {
        /// Its number: `n` of APPn.
        number: u8,
        /// Its bytes.
        bytes: usize,
    },
    /// The caller said not to go on.
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Side { width_px, height_px } => write!(f, "picture is {width_px} x {height_px} pixels, a side can have 1 to 65535"),
            Self::TooFewBytes { found, needed } => write!(f, "picture has {found} bytes, its sides need {needed}"),
            Self::Stride { stride, width_px } => write!(f, "stride is {stride} bytes, a row needs {width_px}"),
            Self::Chroma { luma_px: (width, height), blue_px, red_px } => write!(
                f,
                "chroma is {} x {} and {} x {} samples, allowed are {width} x {height} or {} x {} for both",
                blue_px.0,
                blue_px.1,
                red_px.0,
                red_px.1,
                width.div_ceil(2),
                height.div_ceil(2)
            ),
            Self::Quality(quality) => write!(f, "quality is {quality}, allowed are 1 to 100"),
            Self::Segment { number, bytes } => {
                write!(
                    f,
                    "segment APP{number} has {bytes} bytes, allowed are APP0 to APP15 and {} bytes",
                    crate::picture::MAX_SEGMENT_BYTES
                )
            }
            Self::Interrupted => f.write_str("writing was interrupted"),
        }
    }
}

impl std::error::Error for Error {}
