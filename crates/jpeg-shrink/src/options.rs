//! What the caller chooses and what it gets told: scale, limits, leniency, layout, outcome.
//!
//! Plain values; no decoding here.

use crate::error::Error;

/// How much smaller than the picture its pixels are wanted; sizes are rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scale {
    /// An eighth: the mean of each block.
    Eighth,
    /// A quarter.
    Quarter,
    /// A half.
    Half,
    /// As it is.
    Full,
}

impl Scale {
    /// Samples per side of a block: 1, 2, 4 or 8.
    #[must_use]
    pub fn eighths(self) -> u32 {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 2,
            Self::Half => 4,
            Self::Full => 8,
        }
    }

    /// One part in `divisor`: 1, 2, 4 or 8; `None` for any other.
    #[must_use]
    pub fn one_in(divisor: u32) -> Option<Self> {
        [Self::Full, Self::Half, Self::Quarter, Self::Eighth].into_iter().find(|scale| 8 / scale.eighths() == divisor)
    }

    /// A length of `full_px` pixels at this scale, as the decoder rounds it.
    #[must_use]
    pub fn of(self, full_px: u32) -> u32 {
        (u64::from(full_px) * u64::from(self.eighths())).div_ceil(8) as u32
    }

    /// The smallest scale that leaves a resize from `source_px` to `target_px` at least a factor of `spare`. 2 is libvips' rule, and
    /// loses little that can be seen.
    #[must_use]
    pub fn leaving(source_px: u32, target_px: u32, spare: f64) -> Self {
        [Self::Eighth, Self::Quarter, Self::Half]
            .into_iter()
            .find(|scale| f64::from(source_px) * f64::from(scale.eighths()) / 8.0 >= f64::from(target_px) * spare)
            .unwrap_or(Self::Full)
    }
}

/// What the caller allows a picture to cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pixels of the whole picture, before shrinking.
    pub max_pixels: u64,
    /// Bytes the decoder may allocate: strips and waiting coefficients, not the caller's output.
    pub max_memory_bytes: u64,
    /// Scans that are looked at.
    pub max_scans: u32,
    /// Blocks visited plus bytes read, over all scans.
    pub max_work: u64,
}

impl Default for Limits {
    /// 268 million pixels, 512 MiB, 200 scans, 2^28 steps: what a picture of so many pixels needs some times over, and 2 to 3 s of
    /// work at most where a hostile one is made of nothing but runs of empty blocks.
    fn default() -> Self {
        Self { max_pixels: 1 << 28, max_memory_bytes: 512 << 20, max_scans: 200, max_work: 1 << 28 }
    }
}

/// What to do with the low-order bits that a progressive picture's last AC scans add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refinement {
    /// Read them: the result is that of the whole file.
    #[default]
    Read,
    /// Read all but the lowest bit of luma, which stands in a scan of its own as a rule, the longest of many files: up to two fifths less
    /// work, and hardly seen (0.1 to 1 point of SSIMULACRA2, 2.4 at most) where the picture is to be made smaller still by two.
    LeaveOutLowest,
    /// Leave them out: faster, for their scans are most of a file, at some loss of fine contrast.
    LeaveOut,
}

/// How chroma stored smaller than luma (4:2:0 and the like) becomes as large, at scales below 1/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chroma {
    /// By a larger inverse transform, where that gives luma's size; as libjpeg-turbo has it. All detail that was stored.
    #[default]
    Large,
    /// By upsampling, from half luma's size or more. Reads and transforms up to a quarter as many of its coefficients; nothing can be seen of
    /// that where the picture is to be made smaller still by two.
    Small,
    /// As stored: each block gives as many samples as one of luma's, and planes keep the ratio of their sampling factors. For those who
    /// read strips and resample each plane from its own size; rows are upsampled from that as with [`Self::Small`].
    Native,
}

/// At 1/2: what is read of a block's sixteen lowest coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Corners {
    /// All of them.
    #[default]
    Read,
    /// All but the three that are highest in both directions, which stand last in a block: a tenth less work on photos in one scan, and
    /// next to nothing lost (0.1 point of SSIMULACRA2 at most) where the picture is to be made smaller still by two.
    LeaveOut,
}

/// How to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The size wanted.
    pub scale: Scale,
    /// What it may cost.
    pub limits: Limits,
    /// Progressive pictures: whether all AC precision is read.
    pub refinement: Refinement,
    /// Pictures with subsampled chroma: where its larger size comes from.
    pub chroma: Chroma,
    /// Pictures at 1/2: whether all that such a size can show is read.
    pub corners: Corners,
    /// Whether to return what could be read of a broken picture.
    pub lenient: bool,
}

impl Options {
    /// Strict, with default limits.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self {
            scale,
            limits: Limits::default(),
            refinement: Refinement::Read,
            chroma: Chroma::Large,
            corners: Corners::Read,
            lenient: false,
        }
    }
}

/// How pixels lie in the caller's buffer: tightly packed rows from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One byte a pixel.
    Grey8,
    /// Red, green, blue.
    Rgb8,
    /// Cyan, magenta, yellow, black as stored: where [`Header::adobe_transform`](crate::Header::adobe_transform) is there, 255 is no ink.
    Cmyk8,
}

impl Layout {
    /// Bytes of a pixel.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Grey8 => 1,
            Self::Rgb8 => 3,
            Self::Cmyk8 => 4,
        }
    }
}

/// What [`Decoder::decode_into`](crate::Decoder::decode_into) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Rows written. A progressive picture has all its rows even where late scans are missing.
    pub rows: u32,
    /// What stopped a lenient decoder.
    pub fault: Option<Error>,
}
