//! Probe and specs to one decode, a tree of pictures, what is written of each, and what that holds and takes. No pixels here.
//!
//! The order of the work is fixed: rows are decoded once and resampled as they come, into every picture that is made from them
//! (crop, scale and cut in one); each of those is turned upright and brought to sRGB; smaller ones are made from larger ones where that
//! loses nothing to speak of; then each is finished ([`Step`] by step) and written, cheap ones first. What
//! [`run`](crate::run()) charges for never passes what is estimated here: both follow [`Plan::order`] and ask the same functions.

pub(crate) mod deep;
mod explain;
mod memory;
mod passes;
mod reading;
mod step;
mod tree;
mod want;

pub(crate) use explain::finish_ns;
pub use explain::{PlanStage, StageCost};
pub(crate) use memory::{bases_first_bytes, finish_bytes, moving_bytes, output_bytes, root_bytes, settle_bytes};
pub(crate) use step::Step;
pub(crate) use tree::{Base, Finish};

use crate::{
    codec::{self, Output, Reading},
    error::{Error, ErrorKind},
    facts,
    limits::Limits,
    metadata::Carry,
    pixels::{Layout, Shape},
    probe::Probe,
    spec::{KeptMetadata, Kernel, OutputFormat, Spec},
    stage::overlay::Watermarks,
};
use tree::Tree;
use want::Want;

/// Name of this stage in errors.
const STAGE: &str = "plan";

/// What will be done with one image. Its text ([`Display`](std::fmt::Display)) explains it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) probe: Probe,
    pub(crate) limits: Limits,
    /// What the decoder gives, of which it never holds more than some rows where it can; the regions of bases without a parent are in
    /// its pixels.
    pub(crate) decoded: Shape,
    /// How much of the source is read.
    pub(crate) reading: Reading,
    /// Parents before their children.
    pub(crate) bases: Vec<Base>,
    /// In no order.
    pub(crate) finishes: Vec<Finish>,
    /// Indices of finishes, cheap ones first.
    pub(crate) order: Vec<usize>,
    /// What is made of all frames of an animation: the same tree again for each of them. Its own has none.
    pub(crate) moving: Option<Box<Plan>>,
    /// What keeps 16 bits, each by itself.
    pub(crate) deep: Vec<deep::DeepPart>,
    /// Most frames that are read; of stills 0.
    pub(crate) frames: u32,
    /// What the image is shall be told, too.
    pub(crate) facts: bool,
}

/// Plans one decode and the variants of all `specs` from it.
///
/// # Errors
/// `InvalidSpec`: a result would have a longer side than allowed, options name a watermark (see [`plan_with`]) or have letters that the font has not.
/// `LimitExceeded`: the work would need more memory.
pub fn plan(probe: &Probe, specs: &[Spec], limits: &Limits) -> Result<Plan, Error> {
    plan_with(probe, specs, limits, &Watermarks::default())
}

/// The same with watermarks that options may name.
///
/// # Errors
/// As [`plan`], and `InvalidSpec` where options name a watermark that is not among them.
pub fn plan_with(probe: &Probe, specs: &[Spec], limits: &Limits, watermarks: &Watermarks) -> Result<Plan, Error> {
    let wants = specs.iter().map(|spec| Want::of(probe, spec, limits, watermarks)).collect::<Result<Vec<_>, _>>()?;
    for want in &wants {
        want.check(limits, codec::decoded_layout(probe))?;
    }
    let (moving, still): (Vec<usize>, Vec<usize>) = (0..wants.len()).partition(|&index| wants[index].moves);
    let moving = (!moving.is_empty()).then(|| Box::new(moving_part(probe, &wants, &moving, limits)));
    let (deep, still): (Vec<usize>, Vec<usize>) = still.into_iter().partition(|&index| wants[index].deep);
    let mut plan = still_part(probe, &wants, &still, limits);
    plan.moving = moving;
    plan.deep = deep.into_iter().flat_map(|index| deep_part(probe, &wants, index)).collect();
    plan.fitting()
}

/// The tree of the wants of these indices.
fn grown(wants: &[Want], indices: &[usize], whole: Shape, needs_profile: bool) -> Tree {
    let wants: Vec<Want> = indices.iter().map(|&index| wants[index].clone()).collect();
    let mut tree = Tree::grow(&wants, whole, needs_profile);
    for (index, _) in tree.finishes.iter_mut().flat_map(|finish| &mut finish.outputs) {
        *index = indices[*index];
    }
    tree
}

/// What is made of every frame, each of them given as a whole canvas in colour with alpha.
fn moving_part(probe: &Probe, wants: &[Want], indices: &[usize], limits: &Limits) -> Plan {
    let decoded = Shape { width_px: probe.width_px, height_px: probe.height_px, layout: Layout::Rgba8 };
    let Tree { bases, finishes } = grown(wants, indices, decoded, probe.needs_profile);
    let wanted = indices.iter().map(|&index| wants[index].output.max_frames);
    let wanted = wanted.map(|frames| if frames == 0 { u32::MAX } else { frames }).max().unwrap_or(0);
    let allowed = u32::try_from(limits.max_animation_pixels / probe.pixels().max(1)).unwrap_or(u32::MAX);
    let frames = wanted.min(probe.frames.unwrap_or(limits.max_frames.min(allowed))).max(1);
    let order = order_of(&finishes, &bases);
    Plan {
        probe: probe.clone(),
        limits: *limits,
        decoded,
        reading: Reading::WHOLE,
        bases,
        finishes,
        order,
        moving: None,
        deep: Vec::new(),
        frames,
        facts: false,
    }
}

/// A want by itself, from a decode of its own.
fn deep_part(probe: &Probe, wants: &[Want], index: usize) -> Option<deep::DeepPart> {
    let whole = Shape { width_px: probe.width_px, height_px: probe.height_px, layout: codec::decoded_layout(probe) };
    let Tree { mut bases, mut finishes } = grown(wants, &[index], whole, false);
    Some(deep::DeepPart { base: bases.pop()?, finish: finishes.pop()? })
}

fn order_of(finishes: &[Finish], bases: &[Base]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..finishes.len()).collect();
    order.sort_by_key(|&index| (explain::finish_ns(&finishes[index], bases[finishes[index].base].shape()), index));
    order
}

/// What is made of one picture: of an animation its first frame.
fn still_part(probe: &Probe, wants: &[Want], indices: &[usize], limits: &Limits) -> Plan {
    let is_linear = indices.iter().any(|&index| wants[index].linear_light);
    // One pixel as it is, of the whole picture, is not one of a smaller picture.
    let is_nearest = indices.iter().any(|&index| wants[index].kernel == Kernel::Nearest);
    // What the planes of a WebP lose to being rounded once more is gone where there are four samples or more for one.
    let shrinks = indices.iter().all(|&index| wants[index].is_half_of_its_part());
    let layout = match codec::decoded_layout(probe) {
        // Light is that of colours.
        Layout::Ycc444 if is_linear => Layout::Rgb8,
        Layout::Rgb8 if codec::has_planes(probe) && !is_linear && shrinks => Layout::Ycc444,
        layout => layout,
    };
    let whole = Shape { width_px: probe.width_px, height_px: probe.height_px, layout };
    let Tree { mut bases, finishes } = grown(wants, indices, whole, probe.needs_profile);
    let roots: Vec<&Base> = bases.iter().filter(|base| base.parent.is_none()).collect();
    // A transform to fewer samples is a mean of stored values.
    let mut reading = if codec::can_shrink(probe) && !is_linear && !is_nearest {
        reading::reading_for(&roots, probe.progressive)
    } else {
        Reading::WHOLE
    };
    reading.rgb = layout == Layout::Rgb8;
    reading.planes = layout == Layout::Ycc444 && codec::has_planes(probe);
    // Pixel `x` of a picture at a smaller scale covers `x * 8 / eighths` of the whole one and as many behind it, so a region only changes
    // its unit; where sides were rounded up, what was added lies outside.
    let share = f64::from(reading.scale.eighths()) / 8.0;
    let (mut across, mut down) = (share, share);
    let mut decoded = Shape { width_px: reading.scale.of(whole.width_px), height_px: reading.scale.of(whole.height_px), ..whole };
    if probe.is_drawing() {
        let (width_px, height_px) = reading::drawn_px(&roots, whole.width_px, whole.height_px, limits);
        reading.drawn_px = Some((width_px, height_px));
        (across, down) = (f64::from(width_px) / f64::from(whole.width_px), f64::from(height_px) / f64::from(whole.height_px));
        decoded = Shape { width_px, height_px, ..whole };
    }
    for base in bases.iter_mut().filter(|base| base.parent.is_none()) {
        base.region = base.region.scaled(across, down);
    }
    let order = order_of(&finishes, &bases);
    Plan {
        probe: probe.clone(),
        limits: *limits,
        decoded,
        reading,
        bases,
        finishes,
        order,
        moving: None,
        deep: Vec::new(),
        frames: 0,
        facts: false,
    }
}

/// The refusal of work that needs more memory than allowed.
pub(crate) fn too_much_memory(bytes: u64, limits: &Limits, stage: &'static str) -> Error {
    let text = format!("image needs {bytes} bytes of memory, limit is {}", limits.max_memory_bytes);
    Error::new(ErrorKind::LimitExceeded, stage, text)
}

impl Plan {
    /// The same, and what the image is: [`RunReport::facts`](crate::RunReport::facts). A picture for that is sampled from the rows that the
    /// variants are made of; it costs some hundred microseconds, whatever the size of the image.
    ///
    /// # Errors
    /// `LimitExceeded`: the work would need more memory than allowed.
    pub fn with_facts(self) -> Result<Self, Error> {
        Self { facts: true, ..self }.fitting()
    }

    fn fitting(self) -> Result<Self, Error> {
        let memory_bytes = self.memory_bytes(0);
        if memory_bytes > self.limits.max_memory_bytes {
            return Err(too_much_memory(memory_bytes, &self.limits, STAGE));
        }
        Ok(self)
    }

    /// Whether all that is wanted is made of frames, or of 16 bits: then no other picture is decoded.
    pub(crate) fn reads_no_still(&self) -> bool {
        self.finishes.is_empty() && (self.moving.is_some() || !self.deep.is_empty()) && !self.facts
    }

    /// Bytes held for facts while the image is decoded.
    pub(crate) fn facts_bytes(&self) -> u64 {
        // Of a profile its name is wanted.
        let profile = if self.probe.has_icc { codec::profile_bytes(&self.probe) } else { 0 };
        if self.facts { facts::WORKING_BYTES + profile } else { 0 }
    }

    /// Most bytes held at one time while this plan runs on a source of `source_bytes`: the source, what the decoder keeps, pictures that
    /// are still needed, and the buffers of the step under way. An upper bound.
    #[must_use]
    pub fn memory_bytes(&self, source_bytes: u64) -> u64 {
        let most = |plan| memory::stages(plan, source_bytes).iter().map(|stage| stage.held_bytes).max().unwrap_or(source_bytes);
        let deep = self.deep.iter().map(|part| deep::held_bytes(self, part, source_bytes)).max().unwrap_or(0);
        most(self).max(self.moving.as_deref().map_or(0, most)).max(deep)
    }

    /// Width and height in pixels of the result of spec `index`; where it is trimmed, the most they may be.
    ///
    /// # Panics
    /// Where there is no such spec.
    #[must_use]
    pub fn result_size(&self, index: usize) -> (u32, u32) {
        let Shape { width_px, height_px, .. } = self.written(index).0.result;
        (width_px, height_px)
    }

    /// Format of the result of spec `index`; `None` where its pixels decide.
    ///
    /// # Panics
    /// Where there is no such spec.
    #[must_use]
    pub fn output_format(&self, index: usize) -> Option<OutputFormat> {
        let output = self.written(index).1;
        (!output.by_content).then_some(output.format)
    }

    /// Number of specs planned for.
    #[must_use]
    pub fn variant_count(&self) -> usize {
        self.all_finishes().map(|finish| finish.outputs.len()).sum()
    }

    /// Whether spec `index` is made of all frames of an animation.
    #[must_use]
    pub fn moves(&self, index: usize) -> bool {
        self.moving.iter().flat_map(|plan| &plan.finishes).any(|finish| finish.outputs.iter().any(|(spec, _)| *spec == index))
    }

    fn all_finishes(&self) -> impl Iterator<Item = &Finish> + Clone {
        let deep = self.deep.iter().map(|part| &part.finish);
        self.finishes.iter().chain(self.moving.iter().flat_map(|plan| &plan.finishes)).chain(deep)
    }

    /// What is written beside pixels, of every variant.
    pub(crate) fn carried(&self) -> impl Iterator<Item = Carry> + Clone {
        self.all_finishes().flat_map(|finish| finish.outputs.iter().map(|(_, output)| output.carry)).filter(|carry| !carry.is_nothing())
    }

    /// Bytes held from the first to the last: of the source's metadata, at most, and a little for steps, tables and names beside pictures.
    pub(crate) fn carried_bytes(&self) -> u64 {
        const LITTLE: u64 = 8 << 10;
        let of = |metadata: bool| {
            self.carried()
                .map(|carry| {
                    let only = if metadata { Carry { profile: false, ..carry } } else { Carry { metadata: KeptMetadata::None, ..carry } };
                    only.held_bytes(&self.probe)
                })
                .max()
                .unwrap_or(0)
        };
        LITTLE + of(true) + of(false)
    }

    fn written(&self, index: usize) -> (&Finish, Output) {
        let mut all = self.all_finishes().flat_map(|finish| finish.outputs.iter().map(move |output| (finish, output)));
        let (finish, (_, output)) = all.find(|(_, (spec, _))| *spec == index).unwrap_or_else(|| panic!("no spec has index {index}"));
        (finish, *output)
    }
}
