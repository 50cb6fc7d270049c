//! The steps between decoding and encoding, one file each, all on [`Pixels`](crate::pixels::Pixels). They know nothing of formats.
//!
//! Order of work: `resize` (which crops) as `geometry` says, then `orient`, where there is less to move ([`geometry::Region::stored`] turns
//! the place around); `chroma`; `fit` where what stays depends on the picture (`trim`, `smart`); `median`, `levels`, `colour`, `blur`, `sharpen`,
//! `pixelate`; `canvas` and `round`; `flatten`; `overlay`. A further pass begins again at `orient`.
//!
//! Invariant: every step is a pure function of its arguments; the same pixels and options give the same pixels.

pub(crate) mod blur;
pub(crate) mod canvas;
pub(crate) mod chroma;
pub(crate) mod colour;
mod deep;
pub(crate) mod fit;
pub(crate) mod flatten;
pub(crate) mod geometry;
pub(crate) mod lettering;
pub(crate) mod levels;
pub(crate) mod median;
pub(crate) mod orient;
pub(crate) mod overlay;
pub(crate) mod pixelate;
mod premultiplied;
mod ramp;
pub(crate) mod resize;
pub(crate) mod round;
pub(crate) mod sharpen;
pub(crate) mod smart;
pub(crate) mod trim;

#[cfg(test)]
pub(crate) mod samples;

/// `(colour * alpha + under * (255 - alpha)) / 255`, rounded to nearest; exact for all bytes (checked in `flatten`'s tests).
pub(crate) const fn mix(colour: u8, under: u8, alpha: u8) -> u8 {
    let sum = colour as u32 * alpha as u32 + under as u32 * (255 - alpha as u32) + 128;
    // At most 255 * 255 + 128, so the result is at most 255.
    ((sum + (sum >> 8)) >> 8) as u8
}
