//! One spec traced back to the source: which part becomes how large, and what is done to it then. Knows nothing of other specs.

use super::{
    passes::{self, Laying},
    step::Step,
};
use crate::{
    codec::{self, FULL_CHROMA_QUALITY, Output},
    error::{Error, ErrorKind},
    limits::Limits,
    metadata::Carry,
    pixels::{Layout, Shape},
    probe::{Format, Orientation, Probe},
    spec::{DEFAULT_EFFORT, DEFAULT_QUALITY, FormatChoice, Kernel, OutputFormat, Pass, Rgb, Spec},
    stage::{
        self,
        fit::{self, Fit},
        geometry::{Geometry, Rect, Region},
        overlay::Watermarks,
    },
};
use std::sync::Arc;

/// White, where JPEG needs something under transparent pixels and nothing was said.
const PAPER: Rgb = Rgb([255; 3]);

/// What chroma and colour a result is written from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Colour {
    /// Chroma of half the sides will do.
    Half,
    /// Chroma of the picture's size.
    Whole,
    /// Red, green and blue.
    Rgb,
}

/// What one spec asks for.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    /// What brings the stored picture to the shown one.
    pub(crate) transform: Orientation,
    /// The part it is made of, in pixels of the source as shown.
    pub(crate) region: Region,
    /// Its sides as shown.
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    /// What pixels are weighed with.
    pub(crate) kernel: Kernel,
    /// Light is resampled, not stored values.
    pub(crate) linear_light: bool,
    /// Colours stay as they are stored.
    pub(crate) own_colours: bool,
    /// What is done then, in order.
    pub(crate) steps: Vec<Step>,
    pub(crate) output: Output,
    /// All frames are wanted, of a source that has several.
    pub(crate) moves: bool,
    /// All 16 bits of the source's samples stay.
    pub(crate) deep: bool,
}

impl Want {
    /// # Errors
    /// `InvalidSpec`: no such watermark, letters that the font has not.
    pub(crate) fn of(probe: &Probe, spec: &Spec, limits: &Limits, watermarks: &Watermarks) -> Result<Self, Error> {
        // A drawing is not enlarged from pixels: any size is its own.
        let mut drawn = None;
        let spec = if probe.is_drawing() {
            let drawn = drawn.insert(spec.clone());
            drawn.first.resize.enlarge = true;
            drawn
        } else {
            spec
        };
        let transform = stage::orient::transform(spec, probe.orientation);
        let (shown_width_px, shown_height_px) = sides(transform, probe.width_px, probe.height_px);
        let first = &spec.first;
        let geometry = Geometry::of(first, shown_width_px, shown_height_px);
        let max_frames = spec.output.max_frames.unwrap_or(0);
        let may_move = probe.is_animated() && codec::can_move(probe) && max_frames != 1;
        let said = match (probe.format, spec.output.format) {
            // What moves and is not written as what it is goes on moving.
            (Format::Jxl, FormatChoice::Keep) if may_move => Some(OutputFormat::WebP),
            _ => spec.output_format(probe.format, probe.has_alpha),
        };
        let format = said.unwrap_or(OutputFormat::WebP);
        let moves = may_move && format.can_move();
        let own_colours = spec.output.keep_profile && codec::has_own_colours(probe) && format.has_profiles();
        let is_turned = spec.auto_rotate || transform != Orientation::Upright;
        let base = base(first, &geometry, limits, (shown_width_px, shown_height_px));
        // Later frames may be transparent where the first is not.
        let mut laying = Laying { has_alpha: probe.has_alpha || moves, watermarks };
        let mut steps: Vec<Step> = base.decide.into_iter().collect();
        passes::finish(first, geometry.dpr, &mut laying, &mut steps)?;
        let shape = Shape {
            width_px: base.width_px,
            height_px: base.height_px,
            layout: if moves { Layout::Rgba8 } else { codec::decoded_layout(probe) },
        };
        let mut shape = steps.iter().fold(shape, |shape, step| step.after(shape));
        for pass in &spec.then {
            passes::further(pass, &mut shape, limits, &mut laying, &mut steps)?;
        }
        let needs_paper = laying.has_alpha && format == OutputFormat::Jpeg;
        steps.extend(needs_paper.then_some(Step::Flatten(PAPER)));
        let output = Output {
            format,
            quality: spec.output.quality.unwrap_or(DEFAULT_QUALITY),
            progressive: spec.output.progressive,
            effort: spec.output.effort.unwrap_or(DEFAULT_EFFORT),
            max_bytes: spec.output.max_bytes,
            lossless: spec.output.lossless,
            colors: spec.output.colors,
            dither: (spec.output.dither.unwrap_or(1.0).clamp(0.0, 1.0) * 255.0).round() as u8,
            max_frames,
            carry: Carry {
                metadata: spec.output.metadata,
                profile: own_colours,
                orientation: if is_turned { Orientation::Upright } else { probe.orientation },
            },
            by_content: said.is_none() && !moves,
        };
        // Depth goes with colours: who keeps these keeps both, as far as nothing is done that is done in 8 bits.
        let is_plain = steps.is_empty() && !first.linear_light && output.max_bytes.is_none();
        let deep = spec.output.keep_profile && (own_colours || !probe.needs_profile) && is_plain && codec::keeps_depth(probe, output);
        Ok(Self {
            transform,
            region: base.region,
            width_px: base.width_px,
            height_px: base.height_px,
            kernel: first.kernel,
            linear_light: first.linear_light,
            own_colours,
            steps,
            output,
            moves,
            deep,
        })
    }

    /// What it is written from.
    pub(crate) fn colour(&self) -> Colour {
        match self.output {
            _ if !self.steps.iter().all(Step::keeps_planes) => Colour::Rgb,
            Output { format: OutputFormat::Jpeg, quality: FULL_CHROMA_QUALITY.., .. } => Colour::Whole,
            Output { format: OutputFormat::Jpeg, .. } => Colour::Half,
            // libwebp takes its means of chroma in linear light: planes written as they are lose up to 1.3 points (record 0031).
            Output { format: OutputFormat::Png | OutputFormat::WebP | OutputFormat::Avif | OutputFormat::Gif, .. } => Colour::Rgb,
        }
    }

    /// Whether it is at most half as large as what it is made of, both ways.
    pub(crate) fn is_half_of_its_part(&self) -> bool {
        self.region.width_px >= 2.0 * f64::from(self.width_px) && self.region.height_px >= 2.0 * f64::from(self.height_px)
    }

    /// Whether it is the same part of the source at the same size.
    pub(crate) fn is_same_picture(&self, other: &Self) -> bool {
        (self.transform, self.width_px, self.height_px) == (other.transform, other.width_px, other.height_px)
            && self.region == other.region
            && (self.linear_light, self.own_colours) == (other.linear_light, other.own_colours)
            && self.kernel == other.kernel
    }

    /// The longest sides of anything that is made on the way, and of the result.
    ///
    /// # Errors
    /// `InvalidSpec`: one is longer than allowed.
    pub(crate) fn check(&self, limits: &Limits, layout: crate::pixels::Layout) -> Result<(), Error> {
        let Output { format, by_content, .. } = self.output;
        // What is chosen by content is chosen among those that can say it.
        let longest_px = if by_content { limits.max_side_px } else { limits.max_side_px.min(codec::longest_side_px(format)) };
        let mut shape = Shape { width_px: self.width_px, height_px: self.height_px, layout };
        let mut shapes = vec![];
        // A picture that is whole before it is trimmed is as large as the source.
        if !matches!(self.steps.first(), Some(Step::Fit(_) | Step::Smart { .. })) {
            shapes.push(shape);
        }
        // Sides that depend on what is in the picture are looked at when they are known, with all that is made of it (`run::transform`). A pixel is
        // left of it in any case: what is put around that is too large whatever is left.
        let mut is_bound = false;
        for step in &self.steps {
            is_bound |= step.trims();
            shape = match step {
                Step::Fit(_) if is_bound => Shape { width_px: 1, height_px: 1, ..shape },
                step => step.after(shape),
            };
            shapes.push(shape);
        }
        let Some(Shape { width_px, height_px, .. }) = shapes.into_iter().find(|shape| shape.width_px.max(shape.height_px) > longest_px)
        else {
            return Ok(());
        };
        let text = format!("result is {width_px} by {height_px} pixels, longest side allowed for {} is {longest_px}", format.as_str());
        Err(Error::new(ErrorKind::InvalidSpec, super::STAGE, text))
    }
}

/// What the first pass asks of the decoded rows, and the step that is left where what stays depends on the picture.
struct Based {
    region: Region,
    width_px: u32,
    height_px: u32,
    decide: Option<Step>,
}

fn base(pass: &Pass, geometry: &Geometry, limits: &Limits, (shown_width_px, shown_height_px): (u32, u32)) -> Based {
    let whole = Region { left_px: 0.0, top_px: 0.0, width_px: f64::from(shown_width_px), height_px: f64::from(shown_height_px) };
    if pass.trim.is_some() {
        let fit = Fit { pass: Arc::new(pass.clone()), longest_px: limits.max_side_px };
        return Based { region: whole, width_px: shown_width_px, height_px: shown_height_px, decide: Some(Step::Fit(fit)) };
    }
    let (width_px, height_px) = geometry.result_px();
    if fit::crops_smartly(pass, geometry, shown_width_px, shown_height_px) {
        // All of the picture at the scale of the result; the crop is some part of it.
        let (across, down) = geometry.scale();
        let side = |shown: u32, scale: f64, least: u32| ((f64::from(shown) * scale).round() as u32).max(least);
        // Where both crop and cut look for the best place, it is that of what stays.
        let (part, keep) = if fit::cuts_smartly(pass, geometry) {
            ((width_px, height_px), Rect::whole(width_px, height_px))
        } else {
            (geometry.scaled_px, geometry.cut)
        };
        return Based {
            region: whole,
            width_px: side(shown_width_px, across, part.0),
            height_px: side(shown_height_px, down, part.1),
            decide: Some(Step::Smart { width_px: part.0, height_px: part.1, keep }),
        };
    }
    if fit::cuts_smartly(pass, geometry) {
        let crop = geometry.crop;
        let region = Region {
            left_px: f64::from(crop.left_px),
            top_px: f64::from(crop.top_px),
            width_px: f64::from(crop.width_px),
            height_px: f64::from(crop.height_px),
        };
        let (scaled_width_px, scaled_height_px) = geometry.scaled_px;
        let decide = Some(Step::Smart { width_px, height_px, keep: Rect::whole(width_px, height_px) });
        return Based { region, width_px: scaled_width_px, height_px: scaled_height_px, decide };
    }
    Based { region: geometry.region(), width_px, height_px, decide: None }
}

/// Both sides, in the order a transform leaves them.
pub(crate) fn sides(transform: Orientation, width_px: u32, height_px: u32) -> (u32, u32) {
    if transform.swaps_sides() { (height_px, width_px) } else { (width_px, height_px) }
}
