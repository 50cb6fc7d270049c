//! Probe and specs to one decode, an ordered list of steps for each variant, result sizes and a memory estimate. No pixels here.
//!
//! Every variant works from the decoded pixels as they are stored: the part it needs is resampled first and turned upright after,
//! where there is less to move. The order within a variant is fixed: resize (crop, scale and cut in one), orient, profile, colour,
//! blur, sharpen, pixelate, flatten, encode. What [`run`](crate::run()) charges for never passes what is estimated here: both ask
//! [`Step::held_bytes`].
//!
//! Resampling a small variant from a larger one's result instead of the decoded pixels would fit in here: a variant would name its
//! input.

use crate::{
    codec::{self, Chroma, Reading, Refinement, Scale},
    error::{Error, ErrorKind},
    limits::Limits,
    pixels::Layout,
    probe::{Orientation, Probe},
    spec::{DEFAULT_QUALITY, Filters, OutputFormat, Rgb, Spec},
    stage::{
        self,
        geometry::{Geometry, Region},
    },
};
use std::fmt;

/// Name of this stage in errors.
const STAGE: &str = "plan";

/// White, where JPEG needs something under transparent pixels and nothing was said.
const PAPER: Rgb = Rgb([255; 3]);

/// Sides and layout of a picture on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) layout: Layout,
}

impl Shape {
    /// Bytes of its pixels.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.width_px).saturating_mul(u64::from(self.height_px)).saturating_mul(self.layout.channels() as u64)
    }
}

/// One piece of work on pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// Resample a region to these sides.
    Resize { region: Region, width_px: u32, height_px: u32 },
    /// Turn and mirror.
    Orient(Orientation),
    /// Colours to sRGB, if the source's profile turns out to ask for it.
    Profile,
    /// Brightness, contrast, saturation, grey, sepia, negative.
    Colour(Filters),
    /// Gaussian blur of this sigma.
    Blur(f32),
    /// Unsharp mask of this sigma.
    Sharpen(f32),
    /// Blocks of this side.
    Pixelate(u32),
    /// A colour under transparent pixels.
    Flatten(Rgb),
}

impl Step {
    /// Name in errors and in the plan's text.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Resize { .. } => "resize",
            Self::Orient(_) => "orient",
            Self::Profile => "profile",
            Self::Colour(_) => "colour",
            Self::Blur(_) => "blur",
            Self::Sharpen(_) => "sharpen",
            Self::Pixelate(_) => "pixelate",
            Self::Flatten(_) => "flatten",
        }
    }

    /// What a picture is after this step.
    pub(crate) fn after(self, shape: Shape) -> Shape {
        match self {
            Self::Resize { width_px, height_px, .. } => Shape { width_px, height_px, ..shape },
            Self::Orient(orientation) if orientation.swaps_sides() => {
                Shape { width_px: shape.height_px, height_px: shape.width_px, ..shape }
            }
            Self::Flatten(_) => Shape { layout: Layout::Rgb8, ..shape },
            _ => shape,
        }
    }

    /// Bytes held beside the input while this step runs, its result included: an upper bound. `shared` says that the input is the decoded
    /// picture other variants still need, so that a step which works in place copies it first.
    pub(crate) fn held_bytes(self, shape: Shape, shared: bool) -> u64 {
        let copy = if shared { shape.bytes() } else { 0 };
        match self {
            Self::Resize { region, width_px, height_px } => stage::resize::scratch_bytes(shape.layout, region, width_px, height_px),
            Self::Orient(orientation) if orientation.swaps_sides() => copy + shape.bytes(),
            // A row at a time.
            Self::Profile => copy + u64::from(shape.width_px) * 8,
            Self::Orient(_) | Self::Colour(_) | Self::Pixelate(_) | Self::Flatten(_) => copy + u64::from(shape.width_px) * 64,
            Self::Blur(_) => copy + stage::blur::scratch_bytes(shape.layout, shape.width_px, shape.height_px),
            // The blurred picture beside the sharp one.
            Self::Sharpen(_) => copy + shape.bytes() + stage::blur::scratch_bytes(shape.layout, shape.width_px, shape.height_px),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Resize { region, width_px, height_px } => {
                let Region { left_px, top_px, width_px: from_width, height_px: from_height } = region;
                write!(f, "resize {from_width:.6}x{from_height:.6} at {left_px:.6},{top_px:.6} to {width_px}x{height_px}")
            }
            Self::Orient(orientation) => write!(f, "orient {}", orientation.exif()),
            Self::Blur(sigma) | Self::Sharpen(sigma) => write!(f, "{} {sigma}", self.name()),
            Self::Pixelate(side_px) => write!(f, "pixelate {side_px}"),
            Self::Flatten(Rgb([r, g, b])) => write!(f, "flatten {r:02x}{g:02x}{b:02x}"),
            Self::Profile | Self::Colour(_) => f.write_str(self.name()),
        }
    }
}

/// One result.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) steps: Vec<Step>,
    pub(crate) result: Shape,
    pub(crate) format: OutputFormat,
    pub(crate) quality: u8,
}

impl Variant {
    fn of(probe: &Probe, spec: &Spec, decoded: Shape) -> Self {
        let transform = stage::orient::transform(spec, probe.orientation);
        let (shown_width_px, shown_height_px) = sides(transform, decoded.width_px, decoded.height_px);
        let geometry = Geometry::of(spec, shown_width_px, shown_height_px);
        let (result_width_px, result_height_px) = geometry.result_px();
        let (width_px, height_px) = sides(transform, result_width_px, result_height_px);
        let region = geometry.region().stored(transform, shown_width_px, shown_height_px);
        let whole = region.width_px == f64::from(decoded.width_px) && region.height_px == f64::from(decoded.height_px);
        let untouched = whole && (width_px, height_px) == (decoded.width_px, decoded.height_px);

        let format = spec.output_format(probe.format, probe.has_alpha);
        let filters = spec.filters;
        let has_alpha = decoded.layout == Layout::Rgba8;
        let paper = spec.background.or((format == OutputFormat::Jpeg).then_some(PAPER)).filter(|_| has_alpha);
        let steps: Vec<Step> = [
            (!untouched).then_some(Step::Resize { region, width_px, height_px }),
            (transform != Orientation::Upright).then_some(Step::Orient(transform)),
            probe.has_icc.then_some(Step::Profile),
            stage::colour::is_wanted(&filters).then_some(Step::Colour(filters)),
            (filters.blur_sigma > 0.0).then_some(Step::Blur(filters.blur_sigma)),
            (filters.sharpen_sigma > 0.0).then_some(Step::Sharpen(filters.sharpen_sigma)),
            (filters.pixelate_px > 1).then_some(Step::Pixelate(filters.pixelate_px)),
            paper.map(Step::Flatten),
        ]
        .into_iter()
        .flatten()
        .collect();
        let result = steps.iter().fold(decoded, |shape, step| step.after(shape));
        Self { steps, result, format, quality: spec.output.quality.unwrap_or(DEFAULT_QUALITY) }
    }

    /// Makes it start from a picture decoded at this scale. Pixel `x` of that covers `x * 8 / eighths` of the stored picture's and as
    /// many behind it, so a region only changes its unit; where the sides were rounded up, what was added lies outside.
    fn shrink(&mut self, scale: Scale) {
        let share = f64::from(scale.eighths()) / 8.0;
        if let Some(Step::Resize { region, .. }) = self.steps.first_mut() {
            let Region { left_px, top_px, width_px, height_px } = *region;
            *region = Region { left_px: left_px * share, top_px: top_px * share, width_px: width_px * share, height_px: height_px * share };
        }
    }

    fn check(&self, limits: &Limits) -> Result<(), Error> {
        let side_px = self.result.width_px.max(self.result.height_px);
        let longest_px = limits.max_side_px.min(codec::longest_side_px(self.format));
        if side_px > longest_px {
            let Shape { width_px, height_px, .. } = self.result;
            let text =
                format!("result is {width_px} by {height_px} pixels, longest side allowed for {} is {longest_px}", self.format.as_str());
            return Err(Error::new(ErrorKind::InvalidSpec, STAGE, text));
        }
        Ok(())
    }

    /// Most bytes held beside source and decoded picture.
    fn peak_bytes(&self, decoded: Shape) -> u64 {
        let (mut shape, mut own_bytes, mut peak_bytes) = (decoded, 0, 0);
        for step in &self.steps {
            peak_bytes = peak_bytes.max(own_bytes + step.held_bytes(shape, own_bytes == 0));
            shape = step.after(shape);
            own_bytes = shape.bytes();
        }
        peak_bytes.max(own_bytes + codec::encode_working_bytes(shape.width_px, shape.height_px, shape.layout, self.format, self.quality))
    }
}

/// Both sides, in the order a transform leaves them.
fn sides(transform: Orientation, width_px: u32, height_px: u32) -> (u32, u32) {
    if transform.swaps_sides() { (height_px, width_px) } else { (width_px, height_px) }
}

/// What will be done with one image. Its text ([`Display`](fmt::Display)) explains it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) probe: Probe,
    pub(crate) limits: Limits,
    pub(crate) decoded: Shape,
    /// How much of the source is read; `decoded` and the variants' regions are at this scale.
    pub(crate) reading: Reading,
    /// In the order of the specs.
    pub(crate) variants: Vec<Variant>,
    /// Indices of variants, cheap ones first.
    pub(crate) order: Vec<usize>,
}

/// Plans one decode and the variants of all `specs` from it.
///
/// # Errors
/// `InvalidSpec`: a result would have a longer side than allowed. `LimitExceeded`: the work would need more memory.
pub fn plan(probe: &Probe, specs: &[Spec], limits: &Limits) -> Result<Plan, Error> {
    let decoded = Shape { width_px: probe.width_px, height_px: probe.height_px, layout: codec::decoded_layout(probe) };
    let mut variants: Vec<Variant> = specs.iter().map(|spec| Variant::of(probe, spec, decoded)).collect();
    for variant in &variants {
        variant.check(limits)?;
    }
    let reading = if codec::can_shrink(probe) { reading_for(&variants, probe.progressive) } else { Reading::WHOLE };
    let scale = reading.scale;
    for variant in &mut variants {
        variant.shrink(scale);
    }
    let decoded = Shape { width_px: scale.of(probe.width_px), height_px: scale.of(probe.height_px), ..decoded };
    let mut order: Vec<usize> = (0..variants.len()).collect();
    order.sort_by_key(|&index| (variants[index].result.bytes(), index));
    let plan = Plan { probe: probe.clone(), limits: *limits, decoded, reading, variants, order };
    let memory_bytes = plan.memory_bytes(0);
    if memory_bytes > limits.max_memory_bytes {
        return Err(too_much_memory(memory_bytes, limits, STAGE));
    }
    Ok(plan)
}

/// What a scale leaves every variant's resize to do, at least: it is chosen as small as this allows. sharp leaves no less, libvips 2.
/// Measured by SSIMULACRA2 against a full decode (`scripts/compare/jpeg-quality`; record 0024 has the table).
const SPARE: f64 = 1.5;
/// The same at 1/8 and 1/4 for progressive JPEGs: the next scale costs little more there, and the peers nothing.
const PROGRESSIVE_SPARE: f64 = 2.0;
/// From here on a half's chroma, where it is subsampled, needs half its detail only: a small loss for a good part of the cost. At 1/8 and
/// 1/4 it costs 1 to 2 points and saves little.
const SMALL_CHROMA_SPARE: f64 = 2.0;

fn reading_for(variants: &[Variant], progressive: bool) -> Reading {
    let leaves = |scale: Scale, spare: f64| {
        let share = f64::from(scale.eighths()) / 8.0;
        variants.iter().all(|variant| match variant.steps.first() {
            // Sides of results are rounded; that alone must not cost a scale.
            Some(Step::Resize { region, width_px, height_px }) => {
                region.width_px * share >= spare * (f64::from(*width_px) - 0.5)
                    && region.height_px * share >= spare * (f64::from(*height_px) - 0.5)
            }
            _ => false,
        })
    };
    let spare = |scale| if progressive && scale != Scale::Half { PROGRESSIVE_SPARE } else { SPARE };
    let smallest = [Scale::Eighth, Scale::Quarter, Scale::Half].into_iter().find(|scale| leaves(*scale, spare(*scale)));
    let Some(scale) = smallest.filter(|_| !variants.is_empty()) else { return Reading::WHOLE };
    // A progressive file's refinements are most of its bytes. At 1/8 only chroma has any, at 1/4 leaving them out shows little; at 1/2 it
    // would cost up to 6 points.
    let refinement = if scale <= Scale::Quarter { Refinement::LeaveOut } else { Refinement::Read };
    let chroma = if scale == Scale::Half && leaves(scale, SMALL_CHROMA_SPARE) { Chroma::Small } else { Chroma::Large };
    Reading { scale, refinement, chroma }
}

/// The refusal of work that needs more memory than allowed.
pub(crate) fn too_much_memory(bytes: u64, limits: &Limits, stage: &'static str) -> Error {
    let text = format!("image needs {bytes} bytes of memory, limit is {}", limits.max_memory_bytes);
    Error::new(ErrorKind::LimitExceeded, stage, text)
}

impl Plan {
    /// Most bytes held at one time while this plan runs on a source of `source_bytes`: source, decoded pixels, what the decoder keeps
    /// beside them, and the largest variant's buffers. An upper bound.
    #[must_use]
    pub fn memory_bytes(&self, source_bytes: u64) -> u64 {
        let variants = self.variants.iter().map(|variant| variant.peak_bytes(self.decoded)).max().unwrap_or(0);
        source_bytes.saturating_add(self.decoded.bytes()).saturating_add(variants.max(codec::decode_working_bytes(&self.probe)))
    }

    /// Width and height in pixels of the result of spec `index`.
    ///
    /// # Panics
    /// Where there is no such spec.
    #[must_use]
    pub fn result_size(&self, index: usize) -> (u32, u32) {
        let Shape { width_px, height_px, .. } = self.variants[index].result;
        (width_px, height_px)
    }

    /// Format of the result of spec `index`.
    ///
    /// # Panics
    /// Where there is no such spec.
    #[must_use]
    pub fn output_format(&self, index: usize) -> OutputFormat {
        self.variants[index].format
    }

    /// Number of specs planned for.
    #[must_use]
    pub fn variant_count(&self) -> usize {
        self.variants.len()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { width_px, height_px, layout } = self.decoded;
        let channels = if layout == Layout::Rgba8 { "rgba" } else { "rgb" };
        writeln!(f, "decode {} {width_px}x{height_px} to {channels}", self.probe.format)?;
        for &index in &self.order {
            let variant = &self.variants[index];
            write!(f, "variant {index}: ")?;
            for step in &variant.steps {
                write!(f, "{step}, ")?;
            }
            write!(f, "encode {}", variant.format.as_str())?;
            if variant.format != OutputFormat::Png {
                write!(f, " quality {}", variant.quality)?;
            }
            writeln!(f, ": {}x{}", variant.result.width_px, variant.result.height_px)?;
        }
        write!(f, "memory {} bytes and the source", self.memory_bytes(0))
    }
}
