//! Resamples a region of a picture whose rows arrive in order, as a decoder makes them, so that the source picture never exists as a
//! whole. Safe code but for vector instructions, no dependencies; knows nothing of files or formats.
//!
//! # What is computed
//!
//! Result pixel `j` of `n` along a side lies over the source at `c = start + (j + 1/2) * length / n`, where `start` and `length` are the
//! region's. Source pixel `i`, whose centre is `i + 1/2`, weighs `f((i + 1/2 - c) / s)`, where `f` is the [`Filter`] and
//! `s = max(1, length / n)` stretches it when the picture shrinks. Pixels that the region does not touch have no weight; those of one
//! result pixel are divided by their sum. Both directions do the same, apart. What a filter with negative lobes overshoots by is cut
//! off at the end only.
//!
//! # How
//!
//! Vertically first, over whole rows: as many as the filter is high wait in a ring, as bytes; a result row is their weighted sum in
//! 16 bits with seven fraction bits, whose channels are then taken apart, summed horizontally and woven again. Weights are integers of 14
//! to 22 bits that add up to 1 exactly; sums are exact in 32 bits and rounded once a pass. So
//!
//! - a result is within one level of the definition's for any picture (two thirds of one without [`Light::Linear`]; colours of what is
//!   less than a quarter opaque may be farther off), and flat colour stays as it is;
//! - the same rows give the same bytes on every processor, whatever the pieces they come in (but for the last bits of sines);
//! - a region of whole pixels and the result's size is a copy, alpha and all.
//!
//! Memory is bound by [`working_bytes`]: rows, never pictures.
//!
//! # Example
//!
//! ```
//! use row_resize::{Filter, Job, Light, Pixel, Region, Resizer};
//!
//! let source_px = (300, 200);
//! let job = Job {
//!     source_px,
//!     region: Region::whole(source_px),
//!     target_px: (30, 20),
//!     pixel: Pixel::Rgb8,
//!     filter: Filter::Lanczos3,
//!     light: Light::Encoded,
//! };
//! let mut resizer = Resizer::new(&job)?;
//! let mut result = vec![0; resizer.target_bytes()];
//! for first_row in (0..200).step_by(8) {
//!     let rows = [128; 8 * 300 * 3]; // A decoder's.
//!     resizer.push(first_row, &rows, 300 * 3, &mut result);
//! }
//! assert!(resizer.is_done() && result.iter().all(|byte| *byte == 128));
//! # Ok::<(), row_resize::Error>(())
//! ```
#![deny(unsafe_code)]

mod axis;
mod error;
mod filtering;
mod horizontal;
mod light;
mod pick;
mod resizer;
mod simd;
mod vertical;
mod weave;

pub use error::Error;
pub use resizer::{Resizer, resize, working_bytes};

/// How pixels are stored: 8-bit samples, interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixel {
    /// One sample: grey, or one channel of a picture whose channels are apart.
    Grey8,
    /// Red, green, blue.
    Rgb8,
    /// Red, green, blue, straight (not premultiplied) alpha. Colours are weighted with alpha, so that what is transparent leaves no halo;
    /// pixels whose alpha becomes 0 are 0 throughout.
    Rgba8,
}

impl Pixel {
    /// Samples, and bytes, of a pixel.
    pub const fn channels(self) -> usize {
        match self {
            Self::Grey8 => 1,
            Self::Rgb8 => 3,
            Self::Rgba8 => 4,
        }
    }
}

/// The kernel that weights come from, by `x` in result samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `sinc(x) * sinc(x / 3)` for `|x| < 3`, `sinc(x) = sin(pi * x) / (pi * x)` (Duff's windowed sinc, in Turkowski, "Filters for Common
    /// Resampling Tasks", Graphics Gems, 1990).
    Lanczos3,
    /// Cubic convolution with a = -1/2 (Keys, 1981), known as "cubic": `1.5|x|^3 - 2.5|x|^2 + 1` for `|x| < 1`,
    /// `-0.5|x|^3 + 2.5|x|^2 - 4|x| + 2` for `|x| < 2`.
    CatmullRom,
    /// `1 - |x|` for `|x| < 1`, known as "linear".
    Triangle,
    /// The one pixel below the middle of the result pixel, as it is.
    Nearest,
}

/// What is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light {
    /// The stored values, as libvips and Pillow do by default.
    Encoded,
    /// The light they stand for: sRGB's transfer (IEC 61966-2-1) is undone and applied again.
    Linear,
}

/// A part of the source, in its pixels; fractions are welcome. Pixels that it does not touch play no part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// From the source's left edge.
    pub left_px: f64,
    /// From the source's upper edge.
    pub top_px: f64,
    /// More than 0.
    pub width_px: f64,
    /// More than 0.
    pub height_px: f64,
}

impl Region {
    /// All of a picture.
    pub fn whole((width_px, height_px): (u32, u32)) -> Self {
        Self { left_px: 0.0, top_px: 0.0, width_px: f64::from(width_px), height_px: f64::from(height_px) }
    }
}

/// What is made of what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// Width and height of the source.
    pub source_px: (u32, u32),
    /// The part of the source that becomes the result.
    pub region: Region,
    /// Width and height of the result.
    pub target_px: (u32, u32),
    /// Of source and result.
    pub pixel: Pixel,
    /// Of both directions.
    pub filter: Filter,
    /// Of colours; alpha is never light.
    pub light: Light,
}
