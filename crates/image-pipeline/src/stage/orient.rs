//! Turns and mirrors: EXIF orientation, rotation and flips become one of eight transforms, done in one pass.

use crate::error::Error;
use crate::pixels::{Pixels, PlaneRows};
use crate::probe::Orientation;
use crate::spec::{Pass, Rotation, Spec};
use crate::watch::{Watch, band_rows};

/// Side of the tiles of a transposition: two tiles of 32x32 RGBA pixels are 8 KiB, well inside the first-level cache.
const TILE_PX: usize = 32;

/// A transform as: swap rows and columns first, then mirror left-right, then mirror top-bottom. Each of the eight has one such form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    transpose: bool,
    mirror_x: bool,
    mirror_y: bool,
}

impl Parts {
    const fn of(orientation: Orientation) -> Self {
        let (transpose, mirror_x, mirror_y) = match orientation {
            Orientation::Upright => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::Rotate180 => (false, true, true),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Transpose => (true, false, false),
            Orientation::Rotate90 => (true, true, false),
            Orientation::Transverse => (true, true, true),
            Orientation::Rotate270 => (true, false, true),
        };
        Self { transpose, mirror_x, mirror_y }
    }

    const fn orientation(self) -> Orientation {
        match (self.transpose, self.mirror_x, self.mirror_y) {
            (false, false, false) => Orientation::Upright,
            (false, true, false) => Orientation::FlipHorizontal,
            (false, true, true) => Orientation::Rotate180,
            (false, false, true) => Orientation::FlipVertical,
            (true, false, false) => Orientation::Transpose,
            (true, true, false) => Orientation::Rotate90,
            (true, true, true) => Orientation::Transverse,
            (true, false, true) => Orientation::Rotate270,
        }
    }
}

/// One transform for `first` and then `second`.
pub(crate) const fn then(first: Orientation, second: Orientation) -> Orientation {
    let (a, b) = (Parts::of(first), Parts::of(second));
    // A transposition that comes after mirrors exchanges them.
    let (mirror_x, mirror_y) = if b.transpose { (a.mirror_y, a.mirror_x) } else { (a.mirror_x, a.mirror_y) };
    Parts { transpose: a.transpose != b.transpose, mirror_x: mirror_x != b.mirror_x, mirror_y: mirror_y != b.mirror_y }.orientation()
}

/// The transform that takes `orientation` back.
pub(crate) const fn inverse(orientation: Orientation) -> Orientation {
    match orientation {
        Orientation::Rotate90 => Orientation::Rotate270,
        Orientation::Rotate270 => Orientation::Rotate90,
        other => other,
    }
}

/// What brings the stored picture to where the spec wants it: EXIF (if `auto_rotate`), then the turn, then the flips.
pub(crate) const fn transform(spec: &Spec, stored: Orientation) -> Orientation {
    let upright = if spec.auto_rotate { stored } else { Orientation::Upright };
    then(upright, turned(&spec.first))
}

/// The turn of a pass, and then its flips.
pub(crate) const fn turned(pass: &Pass) -> Orientation {
    let turn = match pass.rotate {
        Rotation::Deg0 => Orientation::Upright,
        Rotation::Deg90 => Orientation::Rotate90,
        Rotation::Deg180 => Orientation::Rotate180,
        Rotation::Deg270 => Orientation::Rotate270,
    };
    let flips = Parts { transpose: false, mirror_x: pass.flip_horizontal, mirror_y: pass.flip_vertical }.orientation();
    then(turn, flips)
}

/// Whether a transform mirrors the stored picture's columns, and its rows.
pub(crate) const fn mirrors_stored(orientation: Orientation) -> (bool, bool) {
    let parts = Parts::of(orientation);
    // Mirrors come after the transposition, by which columns became rows.
    if parts.transpose { (parts.mirror_y, parts.mirror_x) } else { (parts.mirror_x, parts.mirror_y) }
}

/// Of a picture of these sides, as stored, the column and row of what the transform brings to (x, y).
pub(crate) fn place_before(orientation: Orientation, (width_px, height_px): (u32, u32), (x, y): (usize, usize)) -> (usize, usize) {
    let parts = Parts::of(orientation);
    let (width, height) = if parts.transpose { (height_px, width_px) } else { (width_px, height_px) };
    let x = if parts.mirror_x { width as usize - 1 - x } else { x };
    let y = if parts.mirror_y { height as usize - 1 - y } else { y };
    if parts.transpose { (y, x) } else { (x, y) }
}

/// Applies the transform, plane by plane: in place where the sides stay, else into a new buffer of the same size, tile by tile.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn orient(mut pixels: Pixels, orientation: Orientation, watch: Watch<'_>) -> Result<Pixels, Error> {
    let parts = Parts::of(orientation);
    let Pixels { width_px, height_px, layout, .. } = pixels;
    if !parts.transpose {
        for index in 0..layout.planes() {
            let width_px = layout.plane_px(index, width_px, height_px).0;
            let plane = pixels.plane_mut(index);
            match layout.channels() {
                1 => mirror::<1>(plane, width_px, parts, watch)?,
                3 => mirror::<3>(plane, width_px, parts, watch)?,
                _ => mirror::<4>(plane, width_px, parts, watch)?,
            }
        }
        return Ok(pixels);
    }
    let mut turned = Pixels { width_px: height_px, height_px: width_px, layout, bytes: vec![0; pixels.bytes.len()] };
    for (index, from) in pixels.planes().enumerate() {
        let to = turned.plane_mut(index);
        match layout.channels() {
            1 => transpose::<1>(from, to, parts, watch)?,
            3 => transpose::<3>(from, to, parts, watch)?,
            _ => transpose::<4>(from, to, parts, watch)?,
        }
    }
    Ok(turned)
}

fn mirror<const C: usize>(plane: &mut [u8], width_px: u32, parts: Parts, watch: Watch<'_>) -> Result<(), Error> {
    let stride = width_px as usize * C;
    let rows_a_look = band_rows(stride);
    let turn = |row: &mut [u8]| {
        if parts.mirror_x {
            row.as_chunks_mut::<C>().0.reverse();
        }
    };
    // With its top at the bottom: pairs of rows, and the middle one of an odd number.
    let swapped = if parts.mirror_y { plane.len() / stride / 2 * stride } else { 0 };
    let (top, rest) = plane.split_at_mut(swapped);
    let (rest, bottom) = rest.split_at_mut(rest.len() - swapped);
    for (at, (above, below)) in top.chunks_exact_mut(stride).zip(bottom.rchunks_exact_mut(stride)).enumerate() {
        if at.is_multiple_of(rows_a_look) {
            watch.check("orient")?;
        }
        above.swap_with_slice(below);
        turn(above);
        turn(below);
    }
    for (at, row) in rest.chunks_exact_mut(stride).enumerate() {
        if at.is_multiple_of(rows_a_look) {
            watch.check("orient")?;
        }
        turn(row);
    }
    Ok(())
}

fn transpose<const C: usize>(from: PlaneRows<'_>, to: &mut [u8], parts: Parts, watch: Watch<'_>) -> Result<(), Error> {
    let (width, height) = (from.height_px as usize, from.width_px as usize);
    let (source, _) = from.bytes.as_chunks::<C>();
    let (target, _) = to.as_chunks_mut::<C>();
    // Columns of the source are rows of the target: `height` pixels stand between two neighbours in a target row.
    for (band, rows) in target.chunks_mut(width * TILE_PX).enumerate() {
        watch.check("orient")?;
        for tile_left in (0..width).step_by(TILE_PX) {
            let tile_right = (tile_left + TILE_PX).min(width);
            for (row_in_band, row) in rows.chunks_exact_mut(width).enumerate() {
                let y = band * TILE_PX + row_in_band;
                let column = if parts.mirror_y { height - 1 - y } else { y };
                for (x, pixel) in (tile_left..tile_right).zip(&mut row[tile_left..tile_right]) {
                    let line = if parts.mirror_x { width - 1 - x } else { x };
                    *pixel = source[line * height + column];
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, noise, pictures};
    use super::*;
    use crate::pixels::Layout;
    use proptest::prelude::*;

    fn orient(pixels: Pixels, orientation: Orientation) -> Pixels {
        super::orient(pixels, orientation, Watch::NEVER).expect("nobody ends it")
    }

    /// Where the pixel at (x, y) of a `width` x `height` picture goes, straight from the table of Exif 2.32.
    fn place(orientation: Orientation, x: u32, y: u32, width: u32, height: u32) -> (u32, u32) {
        match orientation.exif() {
            1 => (x, y),
            2 => (width - 1 - x, y),
            3 => (width - 1 - x, height - 1 - y),
            4 => (x, height - 1 - y),
            5 => (y, x),
            6 => (height - 1 - y, x),
            7 => (height - 1 - y, width - 1 - x),
            8 => (y, width - 1 - x),
            other => panic!("no orientation {other}"),
        }
    }

    fn check(pixels: &Pixels) {
        for orientation in Orientation::ALL {
            let turned = orient(pixels.clone(), orientation);
            let sides = if orientation.swaps_sides() { (pixels.height_px, pixels.width_px) } else { (pixels.width_px, pixels.height_px) };
            assert_eq!((turned.width_px, turned.height_px), sides);
            for y in 0..pixels.height_px {
                for x in 0..pixels.width_px {
                    let (to_x, to_y) = place(orientation, x, y, pixels.width_px, pixels.height_px);
                    assert_eq!(at(&turned, to_x, to_y), at(pixels, x, y), "{orientation:?} {x} {y}");
                }
            }
            assert_eq!(&orient(turned, inverse(orientation)), pixels);
        }
    }

    #[test]
    fn larger_than_a_tile() {
        check(&noise(70, 33, Layout::Rgb8, 1));
        check(&noise(1, 65, Layout::Rgba8, 2));
    }

    #[test]
    fn planes_turn_alike() {
        for layout in [Layout::Grey8, Layout::Ycc444, Layout::Ycc420] {
            // Sides for which halves are whole: each plane then turns as a picture of its own.
            let pixels = noise(70, 34, layout, 5);
            for orientation in Orientation::ALL {
                let turned = orient(pixels.clone(), orientation);
                for (from, to) in pixels.planes().zip(turned.planes()) {
                    let alone = Pixels::new(from.width_px, from.height_px, Layout::Grey8, from.bytes.to_vec()).unwrap();
                    assert_eq!(orient(alone, orientation).bytes, to.bytes, "{layout:?} {orientation:?}");
                }
            }
        }
    }

    #[test]
    fn composition_is_application_in_order() {
        let pixels = noise(5, 3, Layout::Rgb8, 3);
        for first in Orientation::ALL {
            for second in Orientation::ALL {
                assert_eq!(
                    orient(orient(pixels.clone(), first), second),
                    orient(pixels.clone(), then(first, second)),
                    "{first:?} {second:?}"
                );
            }
        }
    }

    #[test]
    fn spec_turns_after_exif_and_flips_last() {
        let spec: Spec = "rot:90/fl:1".parse().expect("parses");
        assert_eq!(transform(&spec, Orientation::Upright), then(Orientation::Rotate90, Orientation::FlipHorizontal));
        let stored = transform(&spec, Orientation::Rotate270);
        assert_eq!(stored, Orientation::FlipHorizontal);
        let still: Spec = "ar:0".parse().expect("parses");
        assert_eq!(transform(&still, Orientation::Rotate90), Orientation::Upright);
    }

    proptest! {
        #[test]
        fn every_pixel_goes_where_exif_says(pixels in pictures(12)) {
            check(&pixels);
        }
    }
}
