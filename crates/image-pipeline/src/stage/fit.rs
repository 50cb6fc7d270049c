//! What brings a picture that is there to its size in one resampling: trimming, crop, resize and the places that depend on what is in it. Deciding
//! is one thing ([`Fit::decided`]), doing another ([`Taking`]): frames of an animation are all taken as the first one is.

use super::{
    geometry::{self, Geometry, Rect, Region},
    resize, smart, trim,
};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Pixels, Shape},
    spec::{Anchor, Kernel, Pass, ResizeMode},
    watch::Watch,
};
use std::sync::Arc;

/// A pass whose trim, crop and resize are yet to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fit {
    pub(crate) pass: Arc<Pass>,
    /// The longest side a result may have.
    pub(crate) longest_px: u32,
}

/// A part of a picture, and the sides it comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Taking {
    pub(crate) region: Region,
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) kernel: Kernel,
    pub(crate) linear_light: bool,
}

/// Whether a pass cuts or resizes at all.
pub(crate) fn is_wanted(pass: &Pass, width_px: u32, height_px: u32) -> bool {
    let geometry = Geometry::of(pass, width_px, height_px);
    let sides = (width_px, height_px);
    pass.trim.is_some() || geometry.crop != Rect::whole(width_px, height_px) || geometry.scaled_px != sides || geometry.result_px() != sides
}

/// Whether a pass may cut or resize some picture.
pub(crate) fn is_asked(pass: &Pass) -> bool {
    pass.trim.is_some() || pass.crop.is_some() || pass.dpr != 1.0 || pass.resize != Pass::default().resize
}

/// Whether `crop` cuts where it looks best, of a picture of these sides.
pub(crate) fn crops_smartly(pass: &Pass, geometry: &Geometry, width_px: u32, height_px: u32) -> bool {
    let gravity = pass.crop.and_then(|crop| crop.gravity).unwrap_or(pass.gravity);
    pass.crop.is_some() && gravity.anchor == Anchor::Smart && (geometry.crop.width_px, geometry.crop.height_px) != (width_px, height_px)
}

/// Whether what passes the box is cut where it looks best.
pub(crate) fn cuts_smartly(pass: &Pass, geometry: &Geometry) -> bool {
    pass.gravity.anchor == Anchor::Smart && geometry.result_px() != geometry.scaled_px
}

impl Fit {
    /// The sides of the result of a picture of these sides; where it is trimmed, the longest they may be.
    pub(crate) fn result_px(&self, width_px: u32, height_px: u32) -> (u32, u32) {
        let pass = &*self.pass;
        if pass.trim.is_none() {
            return Geometry::of(pass, width_px, height_px).result_px();
        }
        let resize = pass.resize;
        let dpr = f64::from(pass.dpr);
        let crop = pass.crop.map_or(Rect::whole(width_px, height_px), |crop| geometry::crop_rect(crop, pass.gravity, width_px, height_px));
        let length = |px: u32, zoom: f32| f64::from(px) * f64::from(zoom) * dpr;
        let reach = |own: u32, boxed: u32, least: u32, zoom: f32| Reach {
            own: own.into(),
            boxed: length(boxed, zoom),
            least: length(least, 1.0),
            zoom: zoom.into(),
        };
        let [across, down] = resize.zoom;
        let wide = reach(crop.width_px, resize.width_px, resize.min_width_px, across);
        let high = reach(crop.height_px, resize.height_px, resize.min_height_px, down);
        // Sides are rounded, and longer ones than allowed are never made.
        let side = |one: &Reach, other: &Reach| {
            let most = f64::from(self.longest_px);
            (one.longest(other, resize.mode, resize.enlarge, dpr, most) + 1.0).min(most).max(1.0) as u32
        };
        (side(&wide, &high), side(&high, &wide))
    }

    /// Most bytes held beside a picture of this shape: the result, and what resampling takes.
    pub(crate) fn held_bytes(&self, shape: Shape) -> u64 {
        let pass = &*self.pass;
        let (width_px, height_px) = self.result_px(shape.width_px, shape.height_px);
        let result = Shape { width_px, height_px, ..shape };
        let feeding = if pass.trim.is_none() {
            let region = Geometry::of(pass, shape.width_px, shape.height_px).region();
            resize::feed_bytes(shape, region, result, pass.kernel, pass.linear_light)
        } else {
            // However much is trimmed, no side shrinks more than twice as much as the whole one would: the box is the same, the picture no
            // larger, and a side that is rounded up from less than a pixel and a half ends there.
            let target = geometry::resize_target(pass, shape.width_px, shape.height_px);
            let shrink = |own: u32, scaled: u32| f64::from(own) / f64::from(scaled);
            let most = 2.0 * shrink(shape.width_px, target.scaled_px.0).max(shrink(shape.height_px, target.scaled_px.1)).max(1.0);
            let side = |own: u32| ((f64::from(own) / most) as u32).max(1);
            let small = Shape { width_px: side(shape.width_px), height_px: side(shape.height_px), ..shape };
            let region = Region::whole(shape);
            // Weights of as many columns as there may be, and half-way rows of them.
            let columns = u64::from(width_px) * (16.0 * most + 64.0) as u64;
            resize::feed_bytes(shape, region, small, pass.kernel, pass.linear_light) + columns
        };
        result.bytes() + feeding + smart::scratch_bytes(shape.height_px)
    }

    /// What of this picture becomes how large.
    ///
    /// # Errors
    /// `InvalidSpec`: trimmed as it is, the result would be larger than allowed. As [`Watch::check`].
    pub(crate) fn decided(&self, pixels: &Pixels, watch: Watch<'_>) -> Result<Taking, Error> {
        let pass = &*self.pass;
        let left = match &pass.trim {
            Some(trim) => trim::find(pixels, trim, watch)?,
            None => Rect::whole(pixels.width_px, pixels.height_px),
        };
        let mut geometry = Geometry::of(pass, left.width_px, left.height_px);
        let (width_px, height_px) = geometry.result_px();
        if width_px.max(height_px) > self.longest_px {
            let text = format!("result is {width_px} by {height_px} pixels, longest side allowed is {}", self.longest_px);
            return Err(Error::new(ErrorKind::InvalidSpec, "resize", text));
        }
        let crops = crops_smartly(pass, &geometry, left.width_px, left.height_px);
        let cuts = cuts_smartly(pass, &geometry);
        let mut region = geometry.region();
        if crops && !cuts {
            let found = smart::find(pixels, left, geometry.crop.width_px, geometry.crop.height_px, watch)?;
            (geometry.crop.left_px, geometry.crop.top_px) = (found.left_px - left.left_px, found.top_px - left.top_px);
            region = geometry.region();
        } else if cuts {
            // Where both cut, the best place of what stays in the end is looked for once.
            let part = if crops { Rect::whole(left.width_px, left.height_px) } else { geometry.crop };
            let whole_px = |length: f64, most: u32| (length.round() as u32).clamp(1, most);
            let (width, height) = (whole_px(region.width_px, part.width_px), whole_px(region.height_px, part.height_px));
            let seen = Rect { left_px: left.left_px + part.left_px, top_px: left.top_px + part.top_px, ..part };
            let found = smart::find(pixels, seen, width, height, watch)?;
            // In pixels of what was left by trimming; the part's sides were rounded for the search.
            let start = |found: u32, trimmed: u32, end: u32, length: f64| f64::from(found - trimmed).min(f64::from(end) - length).max(0.0);
            region.left_px = start(found.left_px, left.left_px, part.left_px + part.width_px, region.width_px);
            region.top_px = start(found.top_px, left.top_px, part.top_px + part.height_px, region.height_px);
        }
        region.left_px += f64::from(left.left_px);
        region.top_px += f64::from(left.top_px);
        Ok(Taking { region, width_px, height_px, kernel: pass.kernel, linear_light: pass.linear_light })
    }
}

/// What decides how long a side of a picture may become of which anything may have been trimmed, down to a single pixel.
struct Reach {
    /// What it has before.
    own: f64,
    /// What it is to have, in pixels of the result; 0 where nothing is said.
    boxed: f64,
    /// What it has at least, in the same.
    least: f64,
    zoom: f64,
}

impl Reach {
    /// The longest it may become: what is said of it, or what follows from the `other` side where that leads and is trimmed to one pixel. No more
    /// than `refused` where nothing better is known. See [`geometry::resize_target`].
    fn longest(&self, other: &Self, mode: ResizeMode, enlarges: bool, dpr: f64, refused: f64) -> f64 {
        let Self { own, boxed, least, zoom } = *self;
        let led = |length: f64| own * length * zoom / other.zoom;
        let mut side = match (boxed > 0.0, other.boxed > 0.0, mode) {
            (false, false, _) | (false, _, ResizeMode::Force) => own * zoom * dpr,
            (false, true, _) => led(other.boxed),
            (true, true, ResizeMode::Outside) => boxed.max(led(other.boxed)),
            (true, ..) => boxed,
        };
        if !enlarges {
            side = side.min(own);
        }
        side = side.max(least);
        if other.least > 0.0 {
            side = side.max(if mode == ResizeMode::Force { refused } else { led(other.least) });
        }
        // The box is kept wherever there is one.
        if boxed > 0.0 && mode != ResizeMode::Outside { side.min(boxed.max(least)) } else { side }
    }
}

impl Taking {
    /// Takes the part out of a picture.
    ///
    /// # Errors
    /// As [`resize::resize`].
    pub(crate) fn take(&self, pixels: &Pixels, watch: Watch<'_>) -> Result<Pixels, Error> {
        let to = Shape { width_px: self.width_px, height_px: self.height_px, layout: pixels.layout };
        resize::resize(pixels, self.region, to, self.kernel, self.linear_light, watch)
    }

    /// Most bytes held beside a picture of this shape.
    pub(crate) fn held_bytes(&self, shape: Shape) -> u64 {
        let to = Shape { width_px: self.width_px, height_px: self.height_px, ..shape };
        to.bytes() + resize::feed_bytes(shape, self.region, to, self.kernel, self.linear_light)
    }
}

/// A rectangle of whole pixels of a picture of one plane.
pub(crate) fn cut(pixels: &Pixels, rect: Rect) -> Pixels {
    let channels = pixels.layout.channels();
    let (left, width) = (rect.left_px as usize * channels, rect.width_px as usize * channels);
    let rows = pixels.bytes.chunks_exact(pixels.stride()).skip(rect.top_px as usize).take(rect.height_px as usize);
    let mut bytes = Vec::with_capacity(width * rect.height_px as usize);
    rows.for_each(|row| bytes.extend_from_slice(&row[left..left + width]));
    Pixels { width_px: rect.width_px, height_px: rect.height_px, layout: pixels.layout, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use proptest::prelude::*;

    fn fit(text: &str, longest_px: u32) -> Fit {
        Fit { pass: Arc::new(text.parse::<Spec>().expect("parses").first), longest_px }
    }

    #[test]
    fn what_trimming_may_leave_is_no_larger_than_it_can_become() {
        for (text, longest) in [
            ("t:10", (25, 17)),
            ("t:10/w:20", (21, 17)),
            ("t:10/w:20/el:1", (21, 321)),
            ("t:10/rs:fit:64:64:1", (65, 65)),
            ("t:10/c:4:0/h:20/el:1", (81, 21)),
            ("t:10/z:2/el:1", (49, 33)),
            ("t:10/rs:outside:30:20:1", (481, 481)),
            ("t:10/min-width:5", (25, 81)),
            ("t:10/w:9000/el:1", (9001, 16384)),
        ] {
            assert_eq!(fit(text, 16384).result_px(24, 16), longest, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_trimmed_picture_comes_out_larger_than_said(
            (mode, width, height) in (0..6_usize, prop_oneof![Just(0), 1..900_u32], prop_oneof![Just(0), 1..900_u32]),
            (enlarge, zoom_x, zoom_y, dpr) in (any::<bool>(), 0.05..4_f32, 0.05..4_f32, 0.1..8_f32),
            (min_width, min_height) in (prop_oneof![Just(0), 1..900_u32], prop_oneof![Just(0), 1..900_u32]),
            (whole_width, whole_height, left, right) in (1..4000_u32, 1..4000_u32, 0.0..1_f64, 0.0..1_f64),
            crop in prop_oneof![Just(String::new()), (1..500_u32, 0..500_u32).prop_map(|(width, height)| format!("/c:{width}:{height}"))],
        ) {
            let mode = ["fit", "fill", "fill-down", "force", "auto", "outside"][mode];
            let text = format!(
                "t:10{crop}/rs:{mode}:{width}:{height}:{}/z:{zoom_x:.3}:{zoom_y:.3}/dpr:{dpr:.2}/mw:{min_width}/mh:{min_height}",
                u8::from(enlarge)
            );
            let fit = fit(&text, 20_000);
            let longest = fit.result_px(whole_width, whole_height);
            // Trimmed to anything, often to almost nothing.
            let part = |whole: u32, share: f64| ((f64::from(whole) * share * share * share) as u32).max(1);
            let (width, height) = Geometry::of(&fit.pass, part(whole_width, left), part(whole_height, right)).result_px();
            let is_refused = width.max(height) > fit.longest_px;
            prop_assert!(is_refused || width <= longest.0 && height <= longest.1, "{text} {width}x{height} of {longest:?}");
        }
    }
}
