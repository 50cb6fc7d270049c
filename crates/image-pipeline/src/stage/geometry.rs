//! Which part of the picture goes where, and how large: pure arithmetic on sides, no pixels.
//!
//! Meaning of the modes, of sides left out, of `enlarge` and of gravity: imgproxy's. Invariant: no side is ever 0, and a rectangle
//! lies within the picture it belongs to.

use crate::pixels::Shape;
use crate::probe::Orientation;
use crate::spec::{Anchor, Crop, Gravity, Length, Pass, ResizeMode};

use super::orient::inverse;

/// A rectangle of whole pixels; sides are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) left_px: u32,
    pub(crate) top_px: u32,
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
}

impl Rect {
    /// All of a picture.
    pub(crate) const fn whole(width_px: u32, height_px: u32) -> Self {
        Self { left_px: 0, top_px: 0, width_px, height_px }
    }
}

/// A rectangle in pixels and parts of pixels, as it falls when a result is traced back to its source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Region {
    pub(crate) left_px: f64,
    pub(crate) top_px: f64,
    pub(crate) width_px: f64,
    pub(crate) height_px: f64,
}

impl Region {
    /// All of a picture.
    pub(crate) fn whole(shape: Shape) -> Self {
        Self { left_px: 0.0, top_px: 0.0, width_px: f64::from(shape.width_px), height_px: f64::from(shape.height_px) }
    }

    /// The same part of a picture that is so many times as wide and as high.
    pub(crate) fn scaled(self, across: f64, down: f64) -> Self {
        Self {
            left_px: self.left_px * across,
            top_px: self.top_px * down,
            width_px: self.width_px * across,
            height_px: self.height_px * down,
        }
    }

    /// The same place in the stored picture, which `transform` brings to the shown one of `shown_width_px` x `shown_height_px`.
    pub(crate) fn stored(self, transform: Orientation, shown_width_px: u32, shown_height_px: u32) -> Self {
        let right_gap = f64::from(shown_width_px) - self.left_px - self.width_px;
        let bottom_gap = f64::from(shown_height_px) - self.top_px - self.height_px;
        let (left_px, top_px) = match inverse(transform) {
            Orientation::Upright => (self.left_px, self.top_px),
            Orientation::FlipHorizontal => (right_gap, self.top_px),
            Orientation::Rotate180 => (right_gap, bottom_gap),
            Orientation::FlipVertical => (self.left_px, bottom_gap),
            Orientation::Transpose => (self.top_px, self.left_px),
            Orientation::Rotate90 => (bottom_gap, self.left_px),
            Orientation::Transverse => (bottom_gap, right_gap),
            Orientation::Rotate270 => (self.top_px, right_gap),
        };
        let (width_px, height_px) = if transform.swaps_sides() { (self.height_px, self.width_px) } else { (self.width_px, self.height_px) };
        Self { left_px, top_px, width_px, height_px }
    }
}

/// How a result comes out of its source: cut `crop` from the source, scale it to `scaled`, keep `cut` of that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Geometry {
    /// In the shown source.
    pub(crate) crop: Rect,
    /// Sides the crop is scaled to. May pass any memory: only `cut` of it is ever made.
    pub(crate) scaled_px: (u32, u32),
    /// In the scaled picture; its sides are those of the result.
    pub(crate) cut: Rect,
    /// Pixels for each of those that paddings, borders and offsets are said in: `dpr`, no more than the source has where nothing is enlarged.
    pub(crate) dpr: f64,
}

impl Geometry {
    /// Traces a pass for a source as shown: EXIF, turn and flips applied. Sides are at least 1. Where what stays depends on what is in the
    /// picture (`sm`), it is the middle here.
    pub(crate) fn of(pass: &Pass, width_px: u32, height_px: u32) -> Self {
        let crop = match pass.crop {
            Some(crop) => crop_rect(crop, pass.gravity, width_px, height_px),
            None => Rect::whole(width_px, height_px),
        };
        let Target { scaled_px, kept_px, dpr } = resize_target(pass, crop.width_px, crop.height_px);
        Self { crop, scaled_px, cut: place(pass.gravity, dpr, scaled_px, kept_px), dpr }
    }

    /// Width and height of the result.
    pub(crate) const fn result_px(&self) -> (u32, u32) {
        (self.cut.width_px, self.cut.height_px)
    }

    /// Result pixels for each of the source's, across and down.
    pub(crate) fn scale(&self) -> (f64, f64) {
        (f64::from(self.scaled_px.0) / f64::from(self.crop.width_px), f64::from(self.scaled_px.1) / f64::from(self.crop.height_px))
    }

    /// The part of the shown source the result is made of; resampling just this to the result's size does crop, scaling and cut in one.
    pub(crate) fn region(&self) -> Region {
        let scale_x = f64::from(self.crop.width_px) / f64::from(self.scaled_px.0);
        let scale_y = f64::from(self.crop.height_px) / f64::from(self.scaled_px.1);
        Region {
            left_px: f64::from(self.crop.left_px) + f64::from(self.cut.left_px) * scale_x,
            top_px: f64::from(self.crop.top_px) + f64::from(self.cut.top_px) * scale_y,
            width_px: f64::from(self.cut.width_px) * scale_x,
            height_px: f64::from(self.cut.height_px) * scale_y,
        }
    }
}

/// Where `crop` cuts a picture of these sides.
pub(crate) fn crop_rect(crop: Crop, fallback: Gravity, width_px: u32, height_px: u32) -> Rect {
    let side = |length: Length, full: u32| match length {
        Length::Full => full,
        Length::Px(px) => px.clamp(1, full),
        Length::Share(share) => to_side(f64::from(full) * f64::from(share)).min(full),
    };
    place(crop.gravity.unwrap_or(fallback), 1.0, (width_px, height_px), (side(crop.width, width_px), side(crop.height, height_px)))
}

/// What resizing comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    /// The sides to scale to.
    pub(crate) scaled_px: (u32, u32),
    /// How much of that is kept.
    pub(crate) kept_px: (u32, u32),
    /// As [`Geometry::dpr`].
    pub(crate) dpr: f64,
}

/// The sides to scale a picture of these sides to, and how much of that to keep. Box, zoom, `enlarge`, `dpr` and least sides have their
/// say in this order, which is imgproxy's.
pub(crate) fn resize_target(pass: &Pass, width_px: u32, height_px: u32) -> Target {
    let resize = pass.resize;
    let (width, height) = (f64::from(width_px), f64::from(height_px));
    let wanted = |side: u32, own: f64| if side == 0 { own } else { f64::from(side) };
    let (box_width, box_height) = (wanted(resize.width_px, width), wanted(resize.height_px, height));
    let mode = match resize.mode {
        ResizeMode::Auto if (width >= height) == (box_width >= box_height) => ResizeMode::Fill,
        ResizeMode::Auto => ResizeMode::Fit,
        mode => mode,
    };
    // How many times smaller each side becomes.
    let (mut shrink_x, mut shrink_y) = (width / box_width, height / box_height);
    match mode {
        ResizeMode::Force => {}
        _ if resize.width_px == 0 => shrink_x = shrink_y,
        _ if resize.height_px == 0 => shrink_y = shrink_x,
        ResizeMode::Fit | ResizeMode::Auto => (shrink_x, shrink_y) = (shrink_x.max(shrink_y), shrink_x.max(shrink_y)),
        ResizeMode::Fill | ResizeMode::FillDown | ResizeMode::Outside => {
            (shrink_x, shrink_y) = (shrink_x.min(shrink_y), shrink_x.min(shrink_y));
        }
    }
    let [zoom_x, zoom_y] = resize.zoom.map(f64::from);
    (shrink_x, shrink_y) = (shrink_x / zoom_x, shrink_y / zoom_y);
    let mut dpr = f64::from(pass.dpr);
    if !resize.enlarge {
        // The side that would grow keeps its size and the other follows, so that the result keeps the shape that was asked for.
        if shrink_x < 1.0 {
            (shrink_x, shrink_y) = (1.0, shrink_y / shrink_x);
        }
        if shrink_y < 1.0 {
            (shrink_x, shrink_y) = (shrink_x / shrink_y, 1.0);
        }
        dpr = dpr.min(shrink_x).min(shrink_y);
    }
    if resize.min_width_px > 0 && width / shrink_x < f64::from(resize.min_width_px) {
        let least = width / f64::from(resize.min_width_px);
        (shrink_x, shrink_y) = (least, shrink_y * least / shrink_x);
    }
    if resize.min_height_px > 0 && height / shrink_y < f64::from(resize.min_height_px) {
        let least = height / f64::from(resize.min_height_px);
        (shrink_x, shrink_y) = (shrink_x * least / shrink_y, least);
    }
    (shrink_x, shrink_y) = (shrink_x / dpr, shrink_y / dpr);
    let scaled_px = (to_side(width / shrink_x), to_side(height / shrink_y));
    // The box as it is in pixels of the result.
    let boxed = |side: u32, zoom: f64, scaled: u32| if side == 0 { scaled } else { to_side(f64::from(side) * zoom * dpr).min(scaled) };
    let (mut keep_width, mut keep_height) = scaled_px;
    let passes_the_box = resize.min_width_px > 0 || resize.min_height_px > 0;
    if matches!(mode, ResizeMode::Fill | ResizeMode::FillDown) || (passes_the_box && mode != ResizeMode::Outside) {
        keep_width = boxed(resize.width_px, zoom_x, scaled_px.0);
        keep_height = boxed(resize.height_px, zoom_y, scaled_px.1);
    }
    if mode == ResizeMode::FillDown && resize.width_px > 0 && resize.height_px > 0 {
        let (box_width, box_height) = (box_width * zoom_x * dpr, box_height * zoom_y * dpr);
        let (over_x, over_y) = (box_width / f64::from(scaled_px.0), box_height / f64::from(scaled_px.1));
        if over_x > over_y && over_x > 1.0 {
            keep_width = scaled_px.0;
            keep_height = to_side(f64::from(keep_width) * box_height / box_width).min(scaled_px.1);
        } else if over_y > 1.0 {
            keep_height = scaled_px.1;
            keep_width = to_side(f64::from(keep_height) * box_width / box_height).min(scaled_px.0);
        }
    }
    Target { scaled_px, kept_px: (keep_width, keep_height), dpr }
}

/// The box of a pass in pixels of the result, 0 where a side is left out: what `extend` fills up to.
pub(crate) fn box_px(pass: &Pass, dpr: f64) -> (u32, u32) {
    let side = |side: u32, zoom: f32| if side == 0 { 0 } else { to_side(f64::from(side) * f64::from(zoom) * dpr) };
    (side(pass.resize.width_px, pass.resize.zoom[0]), side(pass.resize.height_px, pass.resize.zoom[1]))
}

/// A length before `dpr` in pixels of the result.
pub(crate) fn scaled_length(px: u32, dpr: f64) -> u32 {
    (f64::from(px) * dpr).round() as u32
}

/// A side of whole pixels, at least 1.
fn to_side(length: f64) -> u32 {
    // The cast saturates, so even an absurd enlargement stays a number that limits can refuse.
    (length.round() as u32).max(1)
}

/// Lays the inner rectangle into the outer one; the inner is nowhere larger.
pub(crate) fn place(gravity: Gravity, dpr: f64, outer: (u32, u32), inner: (u32, u32)) -> Rect {
    let (left, top) = position(gravity, dpr, outer, inner);
    let within = |at: i64, outer: u32, inner: u32| at.clamp(0, i64::from(outer - inner)) as u32;
    Rect { left_px: within(left, outer.0, inner.0), top_px: within(top, outer.1, inner.1), width_px: inner.0, height_px: inner.1 }
}

/// Where the inner rectangle lies by its gravity, perhaps in part or wholly outside of the outer one. Offsets of 1 and more are pixels before
/// `dpr`, others shares of the outer side; they lead away from the side they are said of, of the middle to the right and down.
pub(crate) fn position(gravity: Gravity, dpr: f64, outer: (u32, u32), inner: (u32, u32)) -> (i64, i64) {
    let Gravity { anchor, x, y } = gravity;
    let (across, down) = match anchor {
        Anchor::FocusPoint => {
            let start = |at: f32, outer: u32, inner: u32| (f64::from(at) * f64::from(outer) - f64::from(inner) / 2.0).round() as i64;
            return (start(x, outer.0, inner.0), start(y, outer.1, inner.1));
        }
        Anchor::Centre | Anchor::Smart => (Side::Middle, Side::Middle),
        Anchor::North => (Side::Middle, Side::Start),
        Anchor::South => (Side::Middle, Side::End),
        Anchor::East => (Side::End, Side::Middle),
        Anchor::West => (Side::Start, Side::Middle),
        Anchor::NorthEast => (Side::End, Side::Start),
        Anchor::NorthWest => (Side::Start, Side::Start),
        Anchor::SouthEast => (Side::End, Side::End),
        Anchor::SouthWest => (Side::Start, Side::End),
    };
    let free = |outer: u32, inner: u32| i64::from(outer) - i64::from(inner);
    (across.of(free(outer.0, inner.0), offset_px(x, outer.0, dpr)), down.of(free(outer.1, inner.1), offset_px(y, outer.1, dpr)))
}

/// An offset in pixels of the result.
pub(crate) fn offset_px(offset: f32, side: u32, dpr: f64) -> i64 {
    let offset = f64::from(offset);
    (offset * if offset.abs() < 1.0 { f64::from(side) } else { dpr }).round() as i64
}

enum Side {
    Start,
    Middle,
    End,
}

impl Side {
    fn of(self, free: i64, offset: i64) -> i64 {
        match self {
            Self::Start => offset,
            // The odd pixel is to the right, also where there is less than no room.
            Self::Middle => (free + 1).div_euclid(2) + offset,
            Self::End => free - offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Resize, Spec};
    use proptest::prelude::*;

    fn trace(text: &str, width: u32, height: u32) -> Geometry {
        let spec: Spec = text.parse().expect("parses");
        Geometry::of(&spec.first, width, height)
    }

    #[test]
    fn modes_give_the_sizes_imgproxy_gives() {
        for (text, source, wanted) in [
            ("", (4032, 3024), (4032, 3024)),
            ("rs:fit:320:320", (4032, 3024), (320, 240)),
            ("rs:fit:320:320", (3024, 4032), (240, 320)),
            ("rs:fit:320:320", (100, 50), (100, 50)),
            ("rs:fit:320:320:1", (100, 50), (320, 160)),
            ("w:320", (4032, 3024), (320, 240)),
            ("h:240", (4032, 3024), (320, 240)),
            ("rs:fit:1:1", (65535, 1), (1, 1)),
            ("h:100", (1, 65535), (1, 100)),
            ("rs:fill:320:320", (4032, 3024), (320, 320)),
            ("rs:fill:200:50", (100, 100), (100, 50)),
            ("rs:fill:200:300", (100, 100), (100, 100)),
            ("rs:fill:200:300:1", (100, 100), (200, 300)),
            ("rs:fill:320:0", (4032, 3024), (320, 240)),
            ("rs:fill-down:200:50", (100, 100), (100, 25)),
            ("rs:fill-down:300:200", (100, 100), (100, 67)),
            ("rs:fill-down:50:20", (100, 100), (50, 20)),
            ("rs:force:200:50", (100, 100), (100, 25)),
            ("rs:force:200:50:1", (100, 100), (200, 50)),
            ("rs:force:50:0", (100, 100), (50, 100)),
            ("rs:auto:320:200", (4032, 3024), (320, 200)),
            ("rs:auto:200:320", (4032, 3024), (200, 150)),
            ("c:100:50", (4032, 3024), (100, 50)),
            ("c:0.5:0", (4032, 3024), (2016, 3024)),
            ("c:65535:65535", (30, 20), (30, 20)),
            ("c:0.0001:1", (30, 20), (1, 1)),
            ("c:1000:1000/rs:fit:100:100", (4032, 3024), (100, 100)),
            ("rs:outside:320:320", (4032, 3024), (427, 320)),
            ("rs:outside:320:320", (100, 50), (100, 50)),
            ("rs:outside:320:320:1", (100, 50), (640, 320)),
            ("w:100/dpr:2", (4032, 3024), (200, 150)),
            ("rs:fill:100:50/dpr:2", (4032, 3024), (200, 100)),
            ("w:100/dpr:2", (150, 100), (150, 100)),
            ("rs:fill:100:50/dpr:2", (150, 100), (150, 75)),
            ("w:100/dpr:2/el:1", (150, 100), (200, 133)),
            ("w:100/dpr:0.5", (4032, 3024), (50, 38)),
            ("dpr:2", (100, 50), (100, 50)),
            ("dpr:2/el:1", (100, 50), (200, 100)),
            ("z:0.5", (100, 50), (50, 25)),
            ("z:2", (100, 50), (100, 50)),
            ("z:2/el:1", (100, 50), (200, 100)),
            ("z:0.5:1", (100, 50), (50, 50)),
            ("w:40/z:2", (100, 50), (80, 40)),
            ("rs:fill:20:20/z:2", (100, 50), (40, 40)),
            ("mw:200", (100, 50), (200, 100)),
            ("mw:50", (100, 50), (100, 50)),
            ("mh:200", (100, 50), (400, 200)),
            ("rs:fit:10:10/mw:40", (100, 50), (10, 10)),
            ("h:10/mw:40", (100, 50), (40, 10)),
            ("h:10/mw:40/mh:30", (100, 50), (60, 10)),
            ("mw:200/mh:10", (100, 50), (200, 100)),
            ("mw:200/dpr:2", (100, 50), (200, 100)),
        ] {
            assert_eq!(trace(text, source.0, source.1).result_px(), wanted, "{text} of {source:?}");
        }
    }

    #[test]
    fn gravity_says_what_stays() {
        let left_top = |text: &str| {
            let region = trace(text, 400, 200).region();
            (region.left_px, region.top_px)
        };
        assert_eq!(left_top("rs:fill:100:100"), (100.0, 0.0));
        assert_eq!(left_top("rs:fill:100:100/g:we"), (0.0, 0.0));
        assert_eq!(left_top("rs:fill:100:100/g:soea"), (200.0, 0.0));
        assert_eq!(left_top("rs:fill:100:100/g:fp:1:1"), (200.0, 0.0));
        assert_eq!(left_top("rs:fill:100:100/g:fp:0.5:0"), (100.0, 0.0));
        assert_eq!(left_top("c:100:100:no"), (150.0, 0.0));
        assert_eq!(left_top("c:100:100/g:so"), (150.0, 100.0));
        assert_eq!(left_top("c:100:100:nowe/g:so"), (0.0, 0.0));
        assert_eq!(left_top("c:100:100:nowe:10:20"), (10.0, 20.0));
        assert_eq!(left_top("c:100:100:soea:10:20"), (290.0, 80.0));
        assert_eq!(left_top("c:100:100:we:0.25:-30"), (100.0, 20.0));
        assert_eq!(left_top("c:100:100:ce:-1000:0"), (0.0, 50.0));
        assert_eq!(left_top("rs:fill:100:100/g:we:25"), (50.0, 0.0));
        assert_eq!(left_top("rs:fill:50:50/g:we:25/dpr:2"), (100.0, 0.0));
        assert_eq!(left_top("rs:fill:100:100/g:sm"), (100.0, 0.0));
    }

    #[test]
    fn stored_region_is_where_the_pixels_come_from() {
        // A 4x3 stored picture; the top-left 2x1 of the shown one.
        let region = Region { left_px: 0.0, top_px: 0.0, width_px: 2.0, height_px: 1.0 };
        let places = Orientation::ALL.map(|orientation| {
            let (width, height) = if orientation.swaps_sides() { (3, 4) } else { (4, 3) };
            let stored = region.stored(orientation, width, height);
            (stored.left_px, stored.top_px, stored.width_px, stored.height_px)
        });
        let wanted = [
            (0.0, 0.0, 2.0, 1.0),
            (2.0, 0.0, 2.0, 1.0),
            (2.0, 2.0, 2.0, 1.0),
            (0.0, 2.0, 2.0, 1.0),
            (0.0, 0.0, 1.0, 2.0),
            (0.0, 1.0, 1.0, 2.0),
            (3.0, 1.0, 1.0, 2.0),
            (3.0, 0.0, 1.0, 2.0),
        ];
        assert_eq!(places, wanted);
    }

    fn sides() -> impl Strategy<Value = u32> {
        prop_oneof![3 => 1_u32..5000, 1 => Just(1_u32), 1 => Just(65_535_u32)]
    }

    fn boxes() -> impl Strategy<Value = u32> {
        prop_oneof![4 => 1_u32..5000, 1 => Just(0_u32), 1 => Just(65_535_u32)]
    }

    proptest! {
        #[test]
        fn results_keep_their_promises(
            width in sides(), height in sides(), box_width in boxes(), box_height in boxes(), mode in 0_usize..5, enlarge in any::<bool>(),
            focus in (0.0_f32..=1.0, 0.0_f32..=1.0),
        ) {
            let mode = [ResizeMode::Fit, ResizeMode::Fill, ResizeMode::FillDown, ResizeMode::Force, ResizeMode::Auto][mode];
            let resize = Resize { mode, width_px: box_width, height_px: box_height, enlarge, ..Resize::default() };
            let pass = Pass { resize, gravity: Gravity::focus(focus.0, focus.1), ..Pass::default() };
            let Geometry { scaled_px: scaled, cut, .. } = Geometry::of(&pass, width, height);
            prop_assert!(scaled.0 >= 1 && scaled.1 >= 1 && cut.width_px >= 1 && cut.height_px >= 1);
            prop_assert!(cut.left_px + cut.width_px <= scaled.0 && cut.top_px + cut.height_px <= scaled.1);
            let boxed = |side: u32, result: u32| side == 0 || result <= side;
            if mode != ResizeMode::Force || enlarge {
                prop_assert!(boxed(box_width, cut.width_px) && boxed(box_height, cut.height_px), "{:?} {:?}", resize, cut);
            }
            if !enlarge {
                prop_assert!(scaled.0 <= width && scaled.1 <= height);
            }
            if mode == ResizeMode::Fill && enlarge && box_width > 0 && box_height > 0 {
                prop_assert_eq!((cut.width_px, cut.height_px), (box_width, box_height));
            }
            if mode != ResizeMode::Force {
                // The shape is kept to within a pixel of what one side says of the other.
                let (width, height) = (f64::from(width), f64::from(height));
                let (to_width, to_height) = (f64::from(scaled.0), f64::from(scaled.1));
                let off = (to_width - to_height * width / height).abs().min((to_height - to_width * height / width).abs());
                prop_assert!(off < 1.0, "{:?} -> {:?}", (width, height), scaled);
            }
        }

        #[test]
        fn regions_lie_in_the_source(
            width in 1_u32..3000, height in 1_u32..3000, crop in (lengths(), lengths()), box_width in boxes(), box_height in boxes(),
            fill in any::<bool>(), enlarge in any::<bool>(), turn in 0_usize..8,
        ) {
            let pass = Pass {
                crop: Some(Crop { width: crop.0, height: crop.1, gravity: Some(Gravity::at(Anchor::SouthEast)) }),
                resize: Resize {
                    mode: if fill { ResizeMode::Fill } else { ResizeMode::Fit }, width_px: box_width, height_px: box_height, enlarge,
                    ..Resize::default()
                },
                ..Pass::default()
            };
            let geometry = Geometry::of(&pass, width, height);
            let region = geometry.region();
            let inside = |region: Region, width: u32, height: u32| {
                region.left_px >= -1e-6 && region.top_px >= -1e-6 && region.width_px > 0.0 && region.height_px > 0.0
                    && region.left_px + region.width_px <= f64::from(width) + 1e-6
                    && region.top_px + region.height_px <= f64::from(height) + 1e-6
            };
            prop_assert!(inside(region, width, height), "{:?} {:?}", geometry, region);
            let transform = Orientation::ALL[turn];
            let (stored_width, stored_height) = if transform.swaps_sides() { (height, width) } else { (width, height) };
            prop_assert!(inside(region.stored(transform, width, height), stored_width, stored_height));
        }
    }

    fn lengths() -> impl Strategy<Value = Length> {
        prop_oneof![Just(Length::Full), (1_u32..5000).prop_map(Length::Px), (0.0001_f32..0.9999).prop_map(Length::Share)]
    }
}
