//! The steps between decoding and encoding, one file each, all on [`Pixels`](crate::pixels::Pixels). They know nothing of formats.
//!
//! Order of work: `orient`, `crop` and `resize` as `geometry` says, then `colour`, `blur`, `sharpen`, `pixelate`, then `flatten`.
//! `orient` may as well come after `resize`, where there is less to move: [`geometry::Region::stored`] turns the place around.
//!
//! Invariant: every step is a pure function of its arguments; the same pixels and options give the same pixels.

pub(crate) mod blur;
pub(crate) mod colour;
pub(crate) mod crop;
pub(crate) mod flatten;
pub(crate) mod geometry;
pub(crate) mod orient;
pub(crate) mod pixelate;
pub(crate) mod resize;
pub(crate) mod sharpen;

#[cfg(test)]
pub(crate) mod samples;

/// `(colour * alpha + under * (255 - alpha)) / 255`, rounded to nearest; exact for all bytes (checked in `flatten`'s tests).
pub(crate) const fn mix(colour: u8, under: u8, alpha: u8) -> u8 {
    let sum = colour as u32 * alpha as u32 + under as u32 * (255 - alpha as u32) + 128;
    // At most 255 * 255 + 128, so the result is at most 255.
    ((sum + (sum >> 8)) >> 8) as u8
}
