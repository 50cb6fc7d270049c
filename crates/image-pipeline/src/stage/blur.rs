//! Gaussian blur, down the columns and along the rows; edges go on with their last pixel.
//!
//! Below a standard deviation of [`WIDE`] the kernel itself is summed, over whole rows ([`kernel`]). From there on the picture is brought to
//! half its sides as often as is needed, blurred by what is left, and brought back ([`pyramid`]): a wide Gaussian leaves nothing that half
//! of the samples do not have, so that all widths are as near to it, and cost falls with width. Colours are weighted with their alpha, so
//! transparent ones do not bleed. Planes are blurred each by itself, chroma of half the sides by half as much.

mod kernel;
mod pyramid;
mod rows;
#[cfg(test)]
mod tests;

use crate::{
    error::Error,
    pixels::{Layout, Pixels, Shape},
    simd,
    watch::Watch,
};
use rows::{Bytes, Words};

/// From here on samples are halved first. Worst over all pictures, halving is a third of an 8-bit step off at 3 px, two thirds at 2.5.
const WIDE: f64 = 3.0;
/// From here on chroma of half the sides is blurred as it is: what is above half of the samples' reach has less than a hundredth of its
/// weight left.
pub(crate) const HALVES_CHROMA: f32 = 2.0;

/// Blurs with standard deviation `sigma_px`, 0 to 100; alpha is blurred too. 0 does nothing.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn blur(pixels: &mut Pixels, sigma_px: f32, watch: Watch<'_>) -> Result<(), Error> {
    let Shape { width_px, height_px, layout } = pixels.shape();
    for index in 0..layout.planes() {
        let sigma = plane_sigma(layout, index, sigma_px);
        // Below, the first neighbour weighs less than half of an 8-bit step.
        if sigma.is_nan() || sigma < 0.2 {
            continue;
        }
        let stride = layout.plane_px(index, width_px, height_px).0 as usize * layout.channels();
        let bytes = pixels.plane_mut(index);
        match layout {
            Layout::Rgba8 => simd::run(Plane::<4> { rows: Bytes { bytes, stride }, sigma, watch })?,
            Layout::Rgb8 => simd::run(Plane::<3> { rows: Bytes { bytes, stride }, sigma, watch })?,
            Layout::Grey8 | Layout::Ycc444 | Layout::Ycc420 => simd::run(Plane::<1> { rows: Bytes { bytes, stride }, sigma, watch })?,
        }
    }
    Ok(())
}

fn plane_sigma(layout: Layout, index: usize, sigma_px: f32) -> f64 {
    let share = if layout == Layout::Ycc420 && index > 0 { 0.5 } else { 1.0 };
    f64::from(sigma_px) * share
}

/// Most bytes [`blur`] holds beside the picture.
pub(crate) fn scratch_bytes(shape: Shape, sigma_px: f32) -> u64 {
    let of_plane = |index| {
        let (width_px, height_px) = shape.layout.plane_px(index, shape.width_px, shape.height_px);
        let channels = shape.layout.channels();
        let mut sigma = plane_sigma(shape.layout, index, sigma_px);
        let (mut width, mut height, mut levels) = (width_px as usize, height_px as usize, 0);
        // Lines are longest at the widest level, and the kernel is at work while all of them are there.
        let lines = pyramid::scratch_bytes(width, channels);
        while sigma >= WIDE {
            (width, height) = (pyramid::halved_px(width), pyramid::halved_px(height));
            sigma = narrowed(sigma);
            levels += Words::bytes(width * channels, height) as u64;
        }
        levels + kernel::scratch_bytes(sigma, width * channels).max(lines)
    };
    (0..shape.layout.planes()).map(of_plane).max().unwrap_or(0)
}

/// What is left to be blurred of a picture that is brought to half its sides and back, in pixels of the smaller one.
fn narrowed(sigma_px: f64) -> f64 {
    ((sigma_px * sigma_px - pyramid::VARIANCE) / 4.0).sqrt()
}

struct Plane<'p, const C: usize> {
    rows: Bytes<'p, C>,
    /// At least 0.2.
    sigma: f64,
    watch: Watch<'p>,
}

impl<const C: usize> simd::Work for Plane<'_, C> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn run(self, avx2: Option<simd::Avx2>) -> Result<(), Error> {
        let Self { mut rows, mut sigma, watch } = self;
        if sigma < WIDE {
            return kernel::blur::<C>(avx2, &mut rows, &kernel::Weights::of(sigma), watch);
        }
        let mut larger: Vec<Words> = Vec::new();
        let mut smallest = pyramid::halve::<C>(avx2, &rows, watch)?;
        sigma = narrowed(sigma);
        while sigma >= WIDE {
            let half = pyramid::halve::<C>(avx2, &smallest, watch)?;
            larger.push(std::mem::replace(&mut smallest, half));
            sigma = narrowed(sigma);
        }
        kernel::blur::<C>(avx2, &mut smallest, &kernel::Weights::of(sigma), watch)?;
        while let Some(mut level) = larger.pop() {
            pyramid::double::<C>(&smallest, &mut level, watch)?;
            smallest = level;
        }
        pyramid::double::<C>(&smallest, &mut rows, watch)
    }
}
