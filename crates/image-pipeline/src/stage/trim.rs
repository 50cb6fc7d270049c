//! Where a picture is more than an edge of one colour. Finding is one thing, cutting another: frames of an animation are cut alike.
//!
//! A pixel belongs to the edge if no channel, colours weighted with alpha, is farther from the edge's colour than the threshold (libvips'
//! `find_trim` without its median filter). A picture that is all edge stays as it is.

use super::{geometry::Rect, mix};
use crate::{
    error::Error,
    pixels::{Layout, Pixels},
    spec::{Rgb, Trim},
    watch::{Watch, band_rows},
};

/// What is left of a picture of one plane.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn find(pixels: &Pixels, trim: &Trim, watch: Watch<'_>) -> Result<Rect, Error> {
    match pixels.layout {
        Layout::Rgba8 => {
            let weighted = |[r, g, b, alpha]: [u8; 4]| [mix(r, 0, alpha), mix(g, 0, alpha), mix(b, 0, alpha), alpha];
            find_channels::<4>(pixels, trim, weighted, watch)
        }
        Layout::Rgb8 => find_channels::<3>(pixels, trim, |pixel| pixel, watch),
        _ => find_channels::<1>(pixels, trim, |pixel| pixel, watch),
    }
}

fn find_channels<const C: usize>(pixels: &Pixels, trim: &Trim, seen: impl Fn([u8; C]) -> [u8; C], watch: Watch<'_>) -> Result<Rect, Error> {
    let (width, height) = (pixels.width_px as usize, pixels.height_px as usize);
    let whole = Rect::whole(pixels.width_px, pixels.height_px);
    let (all, _) = pixels.bytes.as_chunks::<C>();
    let edge: [u8; C] = match trim.colour {
        None => seen(all[0]),
        // Of a grey picture its luma is compared.
        Some(Rgb(colour)) if C == 1 => [super::ramp::luma(colour); C],
        Some(Rgb(colour)) => std::array::from_fn(|channel| colour.get(channel).copied().unwrap_or(255)),
    };
    // Differences are whole numbers.
    let threshold = trim.threshold.clamp(0.0, 255.0) as u8;
    let differs = |pixel: &[u8; C]| seen(*pixel).iter().zip(edge).any(|(value, edge)| value.abs_diff(edge) > threshold);
    let row = |y: usize| &all[y * width..(y + 1) * width];
    let look = |y: usize| if y.is_multiple_of(band_rows(width * C)) { watch.check("fit") } else { Ok(()) };
    let shows = |y: usize| look(y).map(|()| row(y).iter().any(differs));
    let (mut top, mut bottom) = (0, height - 1);
    while !shows(top)? {
        top += 1;
        if top == height {
            return Ok(whole);
        }
    }
    while !shows(bottom)? {
        bottom -= 1;
    }
    let (mut left, mut right) = (width, 0);
    for y in top..=bottom {
        look(y)?;
        let row = row(y);
        // Only what could move an edge outwards is looked at.
        if let Some(first) = row[..left].iter().position(differs) {
            left = first;
        }
        if let Some(last) = row[right..].iter().rposition(differs) {
            right += last + 1;
        }
    }
    let (mut gaps_x, mut gaps_y) = ((left, width - right), (top, height - 1 - bottom));
    let even = |(one, other): (usize, usize)| (one.min(other), one.min(other));
    if trim.equal_horizontal {
        gaps_x = even(gaps_x);
    }
    if trim.equal_vertical {
        gaps_y = even(gaps_y);
    }
    Ok(Rect {
        left_px: gaps_x.0 as u32,
        top_px: gaps_y.0 as u32,
        width_px: (width - gaps_x.0 - gaps_x.1) as u32,
        height_px: (height - gaps_y.0 - gaps_y.1) as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, noise, picture, pictures};
    use super::*;
    use proptest::prelude::*;

    fn find(pixels: &Pixels, trim: &Trim) -> Rect {
        super::find(pixels, trim, Watch::NEVER).expect("nobody ends it")
    }

    fn trim(threshold: f32, colour: Option<[u8; 3]>) -> Trim {
        Trim { threshold, colour: colour.map(Rgb), equal_horizontal: false, equal_vertical: false }
    }

    fn rect(left_px: u32, top_px: u32, width_px: u32, height_px: u32) -> Rect {
        Rect { left_px, top_px, width_px, height_px }
    }

    /// A dark box on near-white paper.
    fn boxed(layout: Layout) -> Pixels {
        picture(30, 20, layout, |x, y, channel| match (channel, (4..25).contains(&x) && (3..9).contains(&y)) {
            (3, _) => 255,
            (_, true) => 20,
            (_, false) => 250 + ((x + y) % 4) as u8,
        })
    }

    #[test]
    fn the_edge_goes() {
        for layout in [Layout::Grey8, Layout::Rgb8, Layout::Rgba8] {
            let pixels = boxed(layout);
            assert_eq!(find(&pixels, &trim(10.0, None)), rect(4, 3, 21, 6));
            assert_eq!(find(&pixels, &trim(10.0, Some([255; 3]))), rect(4, 3, 21, 6));
            assert_eq!(find(&pixels, &trim(10.0, Some([20; 3]))), rect(0, 0, 30, 20));
            assert_eq!(find(&pixels, &trim(255.0, None)), rect(0, 0, 30, 20), "all of it is edge");
            assert_eq!(find(&pixels, &Trim { equal_horizontal: true, ..trim(10.0, None) }), rect(4, 3, 22, 6));
            assert_eq!(find(&pixels, &Trim { equal_vertical: true, ..trim(10.0, None) }), rect(4, 3, 21, 14));
        }
    }

    #[test]
    fn what_is_transparent_is_edge_whatever_its_colour() {
        let mut pixels = noise(10, 10, Layout::Rgba8, 3);
        for y in 0..10 {
            for x in 0..10 {
                pixels.bytes[(y * 10 + x) * 4 + 3] = if (2..7).contains(&x) && y > 4 { 255 } else { 0 };
            }
        }
        assert_eq!(find(&pixels, &trim(0.0, None)), rect(2, 5, 5, 5));
    }

    proptest! {
        #[test]
        fn is_the_smallest_box_of_all_that_differs(pixels in pictures(9), threshold in 0.0_f32..=255.0, colour in proptest::option::of(any::<[u8; 3]>())) {
            let trim = trim(threshold, colour);
            let seen = |pixel: &[u8]| -> Vec<u8> {
                let alpha = *pixel.get(3).unwrap_or(&255);
                pixel.iter().enumerate().map(|(channel, value)| if channel == 3 { *value } else { mix(*value, 0, alpha) }).collect()
            };
            let edge: Vec<u8> = colour.map_or_else(|| seen(at(&pixels, 0, 0)), |colour| colour.iter().copied().chain([255]).collect());
            let differs = |x, y| seen(at(&pixels, x, y)).iter().zip(&edge).any(|(value, edge)| f32::from(value.abs_diff(*edge)) > threshold);
            let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
            for y in 0..pixels.height_px {
                for x in 0..pixels.width_px {
                    if differs(x, y) {
                        (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1));
                    }
                }
            }
            let wanted = if right == 0 { Rect::whole(pixels.width_px, pixels.height_px) } else { rect(left, top, right - left, bottom - top) };
            prop_assert_eq!(find(&pixels, &trim), wanted);
        }
    }
}
