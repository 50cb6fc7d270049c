//! Something on top of a picture: an image of the operator's or a line of text, once or all over.
//!
//! Knows watermarks as pixels; where they come from is the caller's. Laying over is Porter and Duff's `over` (Compositing Digital Images,
//! 1984) on straight alpha.

use super::{
    geometry::{self, Region},
    lettering, resize,
};
use crate::{
    error::Error,
    pixels::{Layout, Pixels, Shape},
    spec::{Gravity, Kernel, Place, TextMark, Watermark},
    watch::{Watch, band_rows},
};
use std::{collections::BTreeMap, sync::Arc};

/// Images that options may lay over others, by name; the one named `default` is that of options which name none.
#[derive(Clone, Debug, Default)]
pub struct Watermarks(pub(crate) BTreeMap<String, Arc<Pixels>>);

impl Watermarks {
    /// What a watermark is called that options need not name.
    pub const DEFAULT: &'static str = "default";

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What they hold, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.values().map(|pixels| pixels.bytes.len() as u64).sum()
    }

    /// The pixels that a spec asks for.
    pub(crate) fn of(&self, mark: &Watermark) -> Option<Arc<Pixels>> {
        self.0.get(mark.name.as_deref().unwrap_or(Self::DEFAULT)).cloned()
    }
}

/// What is laid over a picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Overlay {
    /// An image with alpha.
    Image { pixels: Arc<Pixels>, mark: Watermark, dpr: f64 },
    /// A line of text.
    Text { mark: TextMark, dpr: f64 },
}

impl Overlay {
    /// One word for a plan.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Image { .. } => "watermark",
            Self::Text { .. } => "text",
        }
    }

    /// Sides of the image on a picture of these; `None`: as it is.
    fn scaled_px(pixels: &Pixels, scale: f32, width_px: u32, height_px: u32) -> Option<(u32, u32)> {
        if scale <= 0.0 {
            return None;
        }
        let (own_width, own_height) = (f64::from(pixels.width_px), f64::from(pixels.height_px));
        let share = |side: u32, own: f64| f64::from(side) * f64::from(scale) / own;
        let factor = share(width_px, own_width).min(share(height_px, own_height));
        let side = |own: f64| ((own * factor).round() as u32).max(1);
        Some((side(own_width), side(own_height)))
    }

    /// Most bytes held beside a picture of this shape.
    pub(crate) fn held_bytes(&self, shape: Shape) -> u64 {
        match self {
            Self::Image { pixels, mark, .. } => match Self::scaled_px(pixels, mark.scale, shape.width_px, shape.height_px) {
                None => 0,
                Some((width_px, height_px)) => {
                    let to = Shape { width_px, height_px, layout: Layout::Rgba8 };
                    to.bytes() + resize::feed_bytes(pixels.shape(), Region::whole(pixels.shape()), to, Kernel::Lanczos3, false)
                }
            },
            Self::Text { mark, dpr } => lettering::held_bytes(mark, *dpr, shape.width_px, shape.height_px),
        }
    }

    /// Lays it over a picture of red, green, blue and perhaps alpha.
    ///
    /// # Errors
    /// `Internal`, or `InvalidSpec` where text has characters that the font has not. As [`Watch::check`].
    pub(crate) fn lay_over(&self, under: &mut Pixels, watch: Watch<'_>) -> Result<(), Error> {
        let (width_px, height_px) = (under.width_px, under.height_px);
        match self {
            Self::Image { pixels, mark, dpr } => match Self::scaled_px(pixels, mark.scale, width_px, height_px) {
                None => lay(under, pixels, mark.place, (mark.x, mark.y), mark.opacity, *dpr, watch),
                Some((width_px, height_px)) => {
                    let to = Shape { width_px, height_px, layout: Layout::Rgba8 };
                    let scaled = resize::resize(pixels, Region::whole(pixels.shape()), to, Kernel::Lanczos3, false, watch)?;
                    lay(under, &scaled, mark.place, (mark.x, mark.y), mark.opacity, *dpr, watch)
                }
            },
            Self::Text { mark, dpr } => {
                let line = lettering::line(mark, *dpr, width_px, height_px)?;
                lay(under, &line, mark.place, (mark.x, mark.y), mark.opacity, *dpr, watch)
            }
        }
    }
}

/// Lays `over`, which has alpha, where it belongs.
fn lay(under: &mut Pixels, over: &Pixels, place: Place, (x, y): (f32, f32), opacity: f32, dpr: f64, watch: Watch<'_>) -> Result<(), Error> {
    // Two steps of a byte, so that faint ones keep their shades.
    let opacity = (opacity.clamp(0.0, 1.0) * 256.0).round() as u32;
    let (outer, inner) = ((under.width_px, under.height_px), (over.width_px, over.height_px));
    let Place::At(anchor) = place else {
        // Tiles never overlap: spacing that would make them is none.
        let step = |inner: u32, offset: f32, outer: u32| i64::from(inner) + geometry::offset_px(offset, outer, dpr).max(0);
        let (across, down) = (step(inner.0, x, outer.0), step(inner.1, y, outer.1));
        // One tile lies in the middle.
        let first = |outer: u32, inner: u32, step: i64| (i64::from(outer) - i64::from(inner)).div_euclid(2).rem_euclid(step) - step;
        let mut top = first(outer.1, inner.1, down);
        let middle = (i64::from(outer.1) - i64::from(inner.1)).div_euclid(2);
        while top < i64::from(outer.1) {
            let is_moved = place == Place::Chequered && ((top - middle) / down) % 2 != 0;
            let mut left = first(outer.0, inner.0, across) - if is_moved { across / 2 } else { 0 };
            while left < i64::from(outer.0) {
                compose(under, over, left, top, opacity, watch)?;
                left += across;
            }
            top += down;
        }
        return Ok(());
    };
    let (left, top) = geometry::position(Gravity { anchor, x, y }, dpr, outer, inner);
    compose(under, over, left, top, opacity, watch)
}

/// Lays `over` with its top left pixel at a place that may be outside; `opacity` in parts of 256.
fn compose(under: &mut Pixels, over: &Pixels, left: i64, top: i64, opacity: u32, watch: Watch<'_>) -> Result<(), Error> {
    let span = |start: i64, length: u32, most: u32| {
        let (from, to) = (start.max(0), (start + i64::from(length)).min(i64::from(most)));
        (from < to).then(|| (from as usize, (from - start) as usize, (to - from) as usize))
    };
    let (Some((x, from_x, width)), Some((y, from_y, height))) =
        (span(left, over.width_px, under.width_px), span(top, over.height_px, under.height_px))
    else {
        return Ok(());
    };
    let (under_stride, over_stride) = (under.stride(), over.stride());
    let channels = under.layout.channels();
    for row in 0..height {
        if row.is_multiple_of(band_rows(width * 4)) {
            watch.check("overlay")?;
        }
        let from = &over.bytes[(from_y + row) * over_stride + from_x * 4..][..width * 4];
        let to = &mut under.bytes[(y + row) * under_stride + x * channels..][..width * channels];
        if channels == 4 {
            for (to, from) in to.as_chunks_mut::<4>().0.iter_mut().zip(from.as_chunks::<4>().0) {
                *to = over_clear(*to, *from, opacity);
            }
        } else {
            for (to, from) in to.as_chunks_mut::<3>().0.iter_mut().zip(from.as_chunks::<4>().0) {
                let alpha = faded(from[3], opacity);
                *to = std::array::from_fn(|channel| super::mix(from[channel], to[channel], alpha));
            }
        }
    }
    Ok(())
}

fn faded(alpha: u8, opacity: u32) -> u8 {
    // At most 255 times 256 parts of 256.
    ((u32::from(alpha) * opacity + 128) >> 8) as u8
}

fn over_clear(under: [u8; 4], over: [u8; 4], opacity: u32) -> [u8; 4] {
    let alpha = u32::from(faded(over[3], opacity));
    let (part, rest) = (alpha * 255, u32::from(under[3]) * (255 - alpha));
    let sum = part + rest;
    let mut result = [0; 4];
    for channel in 0..3 {
        let colours = u32::from(over[channel]) * part + u32::from(under[channel]) * rest;
        result[channel] = (colours + sum / 2).checked_div(sum).unwrap_or(0) as u8;
    }
    result[3] = ((sum + 127) / 255) as u8;
    result
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, noise, picture, pictures};
    use super::*;
    use crate::spec::Anchor;
    use proptest::prelude::*;

    fn image(pixels: Pixels, place: Place, scale: f32) -> Overlay {
        let mark = Watermark { name: None, opacity: 1.0, place, x: 0.0, y: 0.0, scale };
        Overlay::Image { pixels: Arc::new(pixels), mark, dpr: 1.0 }
    }

    fn red(width: u32, height: u32) -> Pixels {
        picture(width, height, Layout::Rgba8, |_, _, channel| if channel % 3 == 0 { 255 } else { 0 })
    }

    /// Where red pixels are: first and last column and row, and how many.
    fn reds(pixels: &Pixels) -> (u32, u32, u32, u32, usize) {
        let all: Vec<(u32, u32)> = (0..pixels.height_px)
            .flat_map(|y| (0..pixels.width_px).map(move |x| (x, y)))
            .filter(|(x, y)| at(pixels, *x, *y)[..3] == [255, 0, 0])
            .collect();
        let side = |of: fn(&(u32, u32)) -> u32| (all.iter().map(of).min().unwrap_or(0), all.iter().map(of).max().unwrap_or(0));
        let (x, y) = (side(|at| at.0), side(|at| at.1));
        (x.0, x.1, y.0, y.1, all.len())
    }

    #[test]
    fn it_lies_where_it_is_said_to() {
        for (place, wanted) in [
            (Place::At(Anchor::NorthWest), (0, 3, 0, 1, 8)),
            (Place::At(Anchor::SouthEast), (16, 19, 8, 9, 8)),
            (Place::At(Anchor::Centre), (8, 11, 4, 5, 8)),
            (Place::Tiled, (0, 19, 0, 9, 200)),
            (Place::Chequered, (0, 19, 0, 9, 200)),
        ] {
            for layout in [Layout::Rgb8, Layout::Rgba8] {
                let mut under = picture(20, 10, layout, |_, _, _| 90);
                image(red(4, 2), place, 0.0).lay_over(&mut under, Watch::NEVER).expect("lays");
                assert_eq!(reds(&under), wanted, "{place:?} {layout:?}");
            }
        }
        let mut under = picture(40, 20, Layout::Rgb8, |_, _, _| 90);
        image(red(4, 2), Place::At(Anchor::West), 0.5).lay_over(&mut under, Watch::NEVER).expect("lays");
        assert_eq!(reds(&under), (0, 19, 5, 14, 200), "half of the width, fit inside");
    }

    #[test]
    fn tiles_keep_their_distance_and_rows_alternate() {
        let mut under = picture(30, 30, Layout::Rgb8, |_, _, _| 90);
        let mark = Watermark { name: None, opacity: 1.0, place: Place::Chequered, x: 6.0, y: 6.0, scale: 0.0 };
        Overlay::Image { pixels: Arc::new(red(4, 4)), mark, dpr: 1.0 }.lay_over(&mut under, Watch::NEVER).expect("lays");
        let is_red = |x, y| at(&under, x, y) == [255, 0, 0];
        // The middle one, its neighbours in the row, and those of the next row half-way between.
        assert!(is_red(13, 13) && is_red(16, 16) && !is_red(17, 13) && is_red(23, 13) && is_red(3, 13));
        assert!(is_red(18, 23) && is_red(8, 23) && !is_red(13, 23) && is_red(18, 3));
    }

    #[test]
    fn what_reaches_outside_is_cut_off() {
        for (x, y) in [(-2.0, -1.0), (-400.0, 0.0), (0.0, 70.0)] {
            let mut under = noise(6, 5, Layout::Rgb8, 1);
            let mark = Watermark { name: None, opacity: 1.0, place: Place::At(Anchor::NorthWest), x, y, scale: 0.0 };
            Overlay::Image { pixels: Arc::new(red(4, 3)), mark, dpr: 1.0 }.lay_over(&mut under, Watch::NEVER).expect("lays");
            let wanted = if x == -2.0 { 4 } else { 0 };
            assert_eq!(reds(&under).4, wanted, "{x} {y}");
        }
    }

    proptest! {
        #[test]
        fn is_over_as_it_is_defined(under in pictures(7), seed in any::<u64>(), opacity in 0.0_f32..=1.0) {
            let over = noise(under.width_px, under.height_px, Layout::Rgba8, seed);
            let mut result = under.clone();
            lay(&mut result, &over, Place::At(Anchor::Centre), (0.0, 0.0), opacity, 1.0, Watch::NEVER).expect("nobody ends it");
            for y in 0..under.height_px {
                for x in 0..under.width_px {
                    let (below, above, got) = (at(&under, x, y), at(&over, x, y), at(&result, x, y));
                    let alpha = f64::from(above[3]) / 255.0 * f64::from(opacity);
                    let below_alpha = f64::from(*below.get(3).unwrap_or(&255)) / 255.0;
                    let sum = alpha + below_alpha * (1.0 - alpha);
                    for channel in 0..3 {
                        let exact = (f64::from(above[channel]) * alpha + f64::from(below[channel]) * below_alpha * (1.0 - alpha)) / sum;
                        // The weight is rounded to a byte; of what is hardly seen that is much of its colour.
                        let allowed = 1.0 + 1.5 / sum;
                        prop_assert!(sum < 0.02 || (f64::from(got[channel]) - exact).abs() <= allowed, "{:?} {:?} {:?} {}", below, above, got, exact);
                    }
                    if let Some(alpha) = got.get(3) {
                        prop_assert!((f64::from(*alpha) - sum * 255.0).abs() <= 1.5);
                    }
                }
            }
        }
    }
}
