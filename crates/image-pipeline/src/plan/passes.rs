//! The steps of a pass, in the fixed order of the work. Knows nothing of sources and outputs.

use super::step::Step;
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    pixels::Shape,
    probe::Orientation,
    spec::{Frame, Padding, Pass, Spec},
    stage::{
        self,
        fit::{self, Fit},
        geometry::{self, Geometry, scaled_length},
        overlay::{Overlay, Watermarks},
    },
};
use std::sync::Arc;

/// What is known while passes are laid out.
pub(super) struct Laying<'w> {
    /// Whether the picture may be transparent by now.
    pub(super) has_alpha: bool,
    pub(super) watermarks: &'w Watermarks,
}

/// Everything a pass does once a picture has its size; lengths are said in pixels of which the result has `dpr` each.
///
/// # Errors
/// `InvalidSpec`: there is no such watermark, or the font has not such letters.
pub(super) fn finish(pass: &Pass, dpr: f64, laying: &mut Laying<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    filter(pass, steps);
    surround(pass, dpr, laying, steps);
    let mut lay = |overlay| steps.push(Step::Overlay(Arc::new(overlay)));
    if let Some(mark) = &pass.watermark {
        let pixels = laying.watermarks.of(mark).ok_or_else(|| no_watermark(mark.name.as_deref(), laying.watermarks))?;
        lay(Overlay::Image { pixels, mark: mark.clone(), dpr });
    }
    if let Some(mark) = &pass.text {
        stage::lettering::check(&mark.text)?;
        lay(Overlay::Text { mark: mark.clone(), dpr });
    }
    Ok(())
}

/// A pass on a picture that is there. `shape` is brought to what it leaves.
///
/// # Errors
/// As [`finish`].
pub(super) fn further(
    pass: &Pass,
    shape: &mut Shape,
    limits: &Limits,
    laying: &mut Laying<'_>,
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
    let begun = steps.len();
    let turn = stage::orient::turned(pass);
    steps.extend((turn != Orientation::Upright).then_some(Step::Turn(turn)));
    let (width_px, height_px) = if turn.swaps_sides() { (shape.height_px, shape.width_px) } else { (shape.width_px, shape.height_px) };
    // Of what is trimmed only bounds are known: whether a box changes anything is decided with the picture.
    let is_bound = steps.iter().any(Step::trims);
    if fit::is_wanted(pass, width_px, height_px) || (is_bound && fit::is_asked(pass)) {
        steps.push(Step::Fit(Fit { pass: Arc::new(pass.clone()), longest_px: limits.max_side_px }));
    }
    finish(pass, Geometry::of(pass, width_px, height_px).dpr, laying, steps)?;
    *shape = steps[begun..].iter().fold(*shape, |shape, step| step.after(shape));
    Ok(())
}

fn filter(pass: &Pass, steps: &mut Vec<Step>) {
    let filters = pass.filters;
    let wanted = [
        (filters.median_px > 1).then_some(Step::Median(filters.median_px)),
        filters.normalize.then_some(Step::Normalize),
        stage::colour::is_wanted(&filters).then_some(Step::Colour(filters)),
        (filters.blur_sigma > 0.0).then_some(Step::Blur(filters.blur_sigma)),
        (filters.sharpen_sigma > 0.0).then_some(Step::Sharpen(filters.sharpen_sigma)),
        (filters.pixelate_px > 1).then_some(Step::Pixelate(filters.pixelate_px)),
    ];
    steps.extend(wanted.into_iter().flatten());
}

fn surround(pass: &Pass, dpr: f64, laying: &mut Laying<'_>, steps: &mut Vec<Step>) {
    let Frame { border, round_px, padding } = pass.frame;
    let ground = pass.background;
    let (round_px, padding) = (scaled_length(round_px, dpr), scaled(padding, dpr));
    if let Some(gravity) = pass.extend {
        let (width_px, height_px) = geometry::box_px(pass, dpr);
        steps.push(Step::Extend { width_px, height_px, gravity, dpr, ground });
        laying.has_alpha |= ground.is_none();
    }
    if let Some(border) = border {
        // A line that was asked for is seen.
        steps.push(Step::Border { px: scaled_length(border.px, dpr).max(1), colour: border.colour, round_px });
    }
    if round_px > 0 {
        steps.push(Step::Round(round_px));
        laying.has_alpha = true;
    }
    if padding != Padding::default() {
        steps.push(Step::Pad { padding, ground });
        laying.has_alpha |= ground.is_none();
    }
    if let Some(colour) = ground.filter(|_| laying.has_alpha) {
        steps.push(Step::Flatten(colour));
        laying.has_alpha = false;
    }
}

fn scaled(Padding { top_px, right_px, bottom_px, left_px }: Padding, dpr: f64) -> Padding {
    let [top_px, right_px, bottom_px, left_px] = [top_px, right_px, bottom_px, left_px].map(|px| scaled_length(px, dpr));
    Padding { top_px, right_px, bottom_px, left_px }
}

impl Watermarks {
    /// Whether all that options name are here, of any image.
    ///
    /// # Errors
    /// `InvalidSpec` where one is not; the text says which are.
    pub fn check(&self, spec: &Spec) -> Result<(), Error> {
        let marks = std::iter::once(&spec.first).chain(&spec.then).filter_map(|pass| pass.watermark.as_ref());
        for mark in marks {
            self.of(mark).ok_or_else(|| no_watermark(mark.name.as_deref(), self))?;
        }
        Ok(())
    }
}

fn no_watermark(name: Option<&str>, watermarks: &Watermarks) -> Error {
    let known: Vec<&str> = watermarks.names().take(16).collect();
    let known = if known.is_empty() { "none is configured".to_owned() } else { format!("there are {}", known.join(", ")) };
    let text = format!("no watermark is called \"{}\", {known}", name.unwrap_or(Watermarks::DEFAULT));
    Error::new(ErrorKind::InvalidSpec, super::STAGE, text)
}
