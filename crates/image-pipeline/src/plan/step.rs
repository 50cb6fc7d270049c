//! One piece of work on a picture that has its size: what it is called, what it leaves, what it holds meanwhile, and what is decided by what is in
//! the picture.

use crate::error::Error;
use crate::{
    pixels::{Layout, Pixels, Shape},
    probe::Orientation,
    spec::{Filters, Gravity, Padding, Rgb},
    stage::{
        self,
        fit::{Fit, Taking},
        geometry::{self, Rect},
        levels::Levels,
        overlay::Overlay,
    },
    watch::Watch,
};
use std::{fmt, sync::Arc};

/// One piece of work on pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Planes, or grey, to red, green and blue.
    ToRgb,
    /// Chroma planes to half their sides.
    HalveChroma,
    /// Red, green and blue to planes, chroma of half the sides.
    ToPlanes,
    /// Turn and mirror, at the beginning of a further pass.
    Turn(Orientation),
    /// Trim, crop and resize as a pass says.
    Fit(Fit),
    /// What [`Step::Fit`] is once it is decided.
    Take(Taking),
    /// The part of these sides that is most worth keeping, and what is kept of that.
    Smart { width_px: u32, height_px: u32, keep: Rect },
    /// What [`Step::Smart`] is once it is decided.
    Cut(Rect),
    /// Median of windows of this side.
    Median(u32),
    /// Lightness stretched to the whole range.
    Normalize,
    /// What [`Step::Normalize`] is once it is decided.
    Levels(Levels),
    /// Point filters.
    Colour(Filters),
    /// Gaussian blur of this sigma.
    Blur(f32),
    /// Unsharp mask of this sigma.
    Sharpen(f32),
    /// Blocks of this side.
    Pixelate(u32),
    /// Ground up to these sides where the picture is smaller; a side of 0 stays.
    Extend { width_px: u32, height_px: u32, gravity: Gravity, dpr: f64, ground: Option<Rgb> },
    /// A line around the picture; inside of it corners are round if the outer ones will be.
    Border { px: u32, colour: Rgb, round_px: u32 },
    /// Round corners.
    Round(u32),
    /// Ground around the picture.
    Pad { padding: Padding, ground: Option<Rgb> },
    /// A colour under transparent pixels.
    Flatten(Rgb),
    /// Something on top.
    Overlay(Arc<Overlay>),
}

impl Step {
    /// Name in errors and in the plan's text.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::ToRgb => "rgb",
            Self::HalveChroma => "halve chroma",
            Self::ToPlanes => "planes",
            Self::Turn(_) => "orient",
            Self::Fit(_) => "fit",
            Self::Take(_) => "resize",
            Self::Smart { .. } => "smart crop",
            Self::Cut(_) => "crop",
            Self::Median(_) => "median",
            Self::Normalize | Self::Levels(_) => "normalize",
            Self::Colour(_) => "colour",
            Self::Blur(_) => "blur",
            Self::Sharpen(_) => "sharpen",
            Self::Pixelate(_) => "pixelate",
            Self::Extend { .. } => "extend",
            Self::Border { .. } => "border",
            Self::Round(_) => "round corners",
            Self::Pad { .. } => "padding",
            Self::Flatten(_) => "flatten",
            Self::Overlay(overlay) => overlay.name(),
        }
    }

    /// Whether it takes a grey picture, and leaves it one.
    pub(crate) fn keeps_grey(&self) -> bool {
        match self {
            Self::Colour(filters) => stage::colour::keeps_grey(filters),
            Self::Turn(_)
            | Self::Fit(_)
            | Self::Take(_)
            | Self::Smart { .. }
            | Self::Cut(_)
            | Self::Median(_)
            | Self::Normalize
            | Self::Levels(_)
            | Self::Blur(_)
            | Self::Sharpen(_)
            | Self::Pixelate(_) => true,
            Self::ToRgb
            | Self::HalveChroma
            | Self::ToPlanes
            | Self::Extend { .. }
            | Self::Border { .. }
            | Self::Round(_)
            | Self::Pad { .. }
            | Self::Flatten(_)
            | Self::Overlay(_) => false,
        }
    }

    /// Whether it takes planes of luma and chroma, chroma of half the sides too, and leaves them as good as it would leave colours.
    pub(crate) fn keeps_planes(&self) -> bool {
        matches!(self, Self::Blur(sigma) if *sigma >= stage::blur::HALVES_CHROMA)
    }

    /// Whether it trims: only bounds are known of what it leaves until there is a picture.
    pub(crate) fn trims(&self) -> bool {
        matches!(self, Self::Fit(fit) if fit.pass.trim.is_some())
    }

    /// What it will do to this picture, and to others that are to be treated like it: the same step, but for those that look at what is in the
    /// picture. They become others that no longer do; the frames of an animation all get the steps decided by its first.
    ///
    /// # Errors
    /// `InvalidSpec`: with what was found, the result would be larger than allowed. As [`Watch::check`].
    pub(crate) fn decided(&self, pixels: &Pixels, watch: Watch<'_>) -> Result<Self, Error> {
        Ok(match self {
            Self::Fit(fit) => Self::Take(fit.decided(pixels, watch)?),
            &Self::Smart { width_px, height_px, keep } => {
                let found = stage::smart::find(pixels, Rect::whole(pixels.width_px, pixels.height_px), width_px, height_px, watch)?;
                Self::Cut(Rect { left_px: found.left_px + keep.left_px, top_px: found.top_px + keep.top_px, ..keep })
            }
            Self::Normalize => Self::Levels(Levels::of(pixels, watch)?),
            other => other.clone(),
        })
    }

    /// What a picture is after this step: its sides are the longest there may be where they depend on what is in the picture.
    pub(crate) fn after(&self, shape: Shape) -> Shape {
        match self {
            Self::ToRgb | Self::Flatten(_) => Shape { layout: Layout::Rgb8, ..shape },
            Self::HalveChroma | Self::ToPlanes => Shape { layout: Layout::Ycc420, ..shape },
            Self::Round(_) => Shape { layout: Layout::Rgba8, ..shape },
            Self::Turn(turn) if turn.swaps_sides() => Shape { width_px: shape.height_px, height_px: shape.width_px, ..shape },
            Self::Fit(fit) => {
                let (width_px, height_px) = fit.result_px(shape.width_px, shape.height_px);
                Shape { width_px, height_px, ..shape }
            }
            Self::Take(taking) => Shape { width_px: taking.width_px, height_px: taking.height_px, ..shape },
            Self::Smart { keep: Rect { width_px, height_px, .. }, .. } | Self::Cut(Rect { width_px, height_px, .. }) => {
                Shape { width_px: *width_px, height_px: *height_px, ..shape }
            }
            Self::Extend { ground, .. } | Self::Pad { ground, .. } => {
                let Rect { width_px, height_px, .. } = self.ground(shape.width_px, shape.height_px);
                // What is as large already is left alone.
                let is_larger = (width_px, height_px) != (shape.width_px, shape.height_px);
                if is_larger || matches!(self, Self::Extend { .. }) {
                    stage::canvas::laid(shape, width_px, height_px, *ground)
                } else {
                    shape
                }
            }
            Self::Border { .. } => {
                let Rect { width_px, height_px, .. } = self.ground(shape.width_px, shape.height_px);
                Shape { width_px, height_px, ..shape }
            }
            _ => shape,
        }
    }

    /// Where a picture of these sides lies on the ground that this step puts under it, and the ground's sides.
    pub(crate) fn ground(&self, width_px: u32, height_px: u32) -> Rect {
        match *self {
            Self::Extend { width_px: to_width, height_px: to_height, gravity, dpr, .. } => {
                let outer = (to_width.max(width_px), to_height.max(height_px));
                let Rect { left_px, top_px, .. } = geometry::place(gravity, dpr, outer, (width_px, height_px));
                Rect { left_px, top_px, width_px: outer.0, height_px: outer.1 }
            }
            Self::Pad { padding: Padding { top_px, right_px, bottom_px, left_px }, .. } => Rect {
                left_px,
                top_px,
                width_px: width_px.saturating_add(left_px).saturating_add(right_px),
                height_px: height_px.saturating_add(top_px).saturating_add(bottom_px),
            },
            Self::Border { px, .. } => {
                let side = |side: u32| side.saturating_add(px.saturating_mul(2));
                Rect { left_px: px, top_px: px, width_px: side(width_px), height_px: side(height_px) }
            }
            _ => Rect::whole(width_px, height_px),
        }
    }

    /// Bytes held beside the input while this step runs, its result included: an upper bound. `shared` says that the input is still needed
    /// by others, so that a step which works in place copies it first.
    pub(crate) fn held_bytes(&self, shape: Shape, shared: bool) -> u64 {
        let copy = if shared { shape.bytes() } else { 0 };
        let result = self.after(shape).bytes();
        match self {
            Self::ToRgb
            | Self::HalveChroma
            | Self::ToPlanes
            | Self::Extend { .. }
            | Self::Border { .. }
            | Self::Pad { .. }
            | Self::Cut(_) => result,
            Self::Turn(turn) if turn.swaps_sides() => copy + result,
            Self::Fit(fit) => fit.held_bytes(shape),
            Self::Take(taking) => taking.held_bytes(shape),
            Self::Smart { .. } => result + stage::smart::scratch_bytes(shape.height_px),
            Self::Median(window_px) => {
                copy + stage::median::scratch_bytes(shape.width_px, shape.bytes(), shape.layout.channels(), *window_px)
            }
            // Where there is no alpha yet it is made first.
            Self::Round(_) if shape.layout == Layout::Rgba8 => copy,
            Self::Round(_) => result,
            Self::Turn(_) | Self::Colour(_) | Self::Pixelate(_) | Self::Flatten(_) | Self::Normalize | Self::Levels(_) => {
                copy + u64::from(shape.width_px) * 64
            }
            Self::Blur(sigma) => copy + stage::blur::scratch_bytes(shape, *sigma),
            // The blurred picture beside the sharp one.
            Self::Sharpen(sigma) => copy + shape.bytes() + stage::blur::scratch_bytes(shape, *sigma),
            Self::Overlay(overlay) => copy + overlay.held_bytes(shape),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Blur(sigma) | Self::Sharpen(sigma) => write!(f, " {sigma}"),
            Self::Pixelate(px) | Self::Median(px) | Self::Round(px) => write!(f, " {px}"),
            Self::Flatten(colour) => write!(f, " {}", colour.hex()),
            Self::Border { px, colour, .. } => write!(f, " {px} {}", colour.hex()),
            Self::Turn(turn) => write!(f, " {}", turn.exif()),
            Self::Fit(fit) if fit.pass.trim.is_some() => f.write_str(", trimmed first"),
            Self::Smart { width_px, height_px, .. } => write!(f, " to {width_px}x{height_px}"),
            Self::Extend { width_px, height_px, .. } => write!(f, " to {width_px}x{height_px}"),
            _ => Ok(()),
        }
    }
}
