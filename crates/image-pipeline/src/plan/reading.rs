//! How much of a JPEG is read, and how large a drawing is drawn, for what is wanted of it: scale, refinements, chroma (records 0015 and 0024).

use super::tree::Base;
use crate::{
    codec::{Chroma, Corners, Reading, Refinement, Scale},
    limits::Limits,
    pixels::Layout,
};

/// What a scale leaves every base's resampling to do, at least: it is chosen as small as this allows. sharp leaves no less, libvips 2.
/// Measured by SSIMULACRA2 against a full decode (`scripts/compare/jpeg-quality`; record 0024 has the table).
const SPARE: f64 = 1.5;
/// The same at 1/8 and 1/4 for progressive JPEGs: the next scale costs little more there, and the peers nothing.
const PROGRESSIVE_SPARE: f64 = 2.0;
/// From here on a half's chroma, where it is subsampled, needs half its detail only, though it is written whole: a small loss for a good
/// part of the cost. At 1/8 and 1/4 it costs 1 to 2 points and saves little.
const SMALL_CHROMA_SPARE: f64 = 2.0;
/// From here on a half of a progressive file needs no lowest bit of luma: as for chroma, with a little more left, so that photos of few bytes do
/// not fall behind the peers.
const LOWEST_SPARE: f64 = 2.2;

/// Sides at which a drawing of these sides serves all that is made of it, within the pixels allowed.
pub(super) fn drawn_px(roots: &[&Base], width_px: u32, height_px: u32, limits: &Limits) -> (u32, u32) {
    let wanted = roots.iter().map(|base| {
        let across = f64::from(base.resized.width_px) / base.region.width_px;
        across.max(f64::from(base.resized.height_px) / base.region.height_px)
    });
    let (width, height) = (f64::from(width_px), f64::from(height_px));
    let most = (limits.max_pixels as f64 / (width * height)).sqrt().min(f64::from(limits.max_side_px) / width.max(height));
    let scale = wanted.fold(0.0, f64::max).min(most);
    // Rounded down where the bound decides, so that it holds.
    let side = |side: f64| if scale < most { (side * scale).round() } else { (side * scale).floor() }.max(1.0) as u32;
    if roots.is_empty() { (width_px, height_px) } else { (side(width), side(height)) }
}

/// The reading for bases that are resampled from the decoded rows.
pub(super) fn reading_for(roots: &[&Base], progressive: bool) -> Reading {
    let leaves = |scale: Scale, spare: f64| {
        let share = f64::from(scale.eighths()) / 8.0;
        roots.iter().all(|base| {
            // Sides of results are rounded; that alone must not cost a scale.
            base.region.width_px * share >= spare * (f64::from(base.resized.width_px) - 0.5)
                && base.region.height_px * share >= spare * (f64::from(base.resized.height_px) - 0.5)
        })
    };
    // Where all is written with chroma of half the sides, chroma as it lies in the file leaves as much as luma does. At 1/8 and 1/4 that is
    // not enough (1 to 2 points again), and more costs little.
    let half_chroma = roots.iter().all(|base| base.resized.layout == Layout::Ycc420);
    let spare = |scale| if progressive && scale != Scale::Half { PROGRESSIVE_SPARE } else { SPARE };
    let smallest = [Scale::Eighth, Scale::Quarter, Scale::Half].into_iter().find(|scale| leaves(*scale, spare(*scale)));
    let scale = smallest.filter(|_| !roots.is_empty()).unwrap_or(Scale::Full);
    // A progressive file's refinements are most of its bytes. At 1/8 only chroma has any, at 1/4 leaving them out shows little; at 1/2 it
    // would cost up to 6 points, but luma's lowest bit 0.1 to 1, 2.4 at most: of the photo that is furthest above the peers there.
    let refinement = match scale {
        Scale::Eighth | Scale::Quarter => Refinement::LeaveOut,
        Scale::Half if leaves(scale, LOWEST_SPARE) => Refinement::LeaveOutLowest,
        Scale::Half | Scale::Full => Refinement::Read,
    };
    let leaves_half = scale == Scale::Half && leaves(scale, SMALL_CHROMA_SPARE);
    let chroma = if leaves_half || scale >= Scale::Half && half_chroma { Chroma::Small } else { Chroma::Large };
    // What is highest in both directions at 1/2 is lost on the way to half of that: 0.1 point, for a tenth of the decode.
    let corners = if leaves_half { Corners::LeaveOut } else { Corners::Read };
    Reading { scale, refinement, chroma, corners, rgb: false, planes: false, drawn_px: None }
}
