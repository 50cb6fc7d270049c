//! Runs a plan: one decode, whose rows are resampled as they come; then picture by picture what is made of them, each variant handed out as
//! it ends; then what keeps 16 bits (`run/deep.rs`); then, of an animation, the same for every frame (`run/moving.rs`).
//!
//! Where the caller has idle threads to lend, pictures are finished on those, too; none is started here.
//!
//! Deadline and cancel flag are looked at between strips, between steps, and in every step of ours once a band of rows (`watch.rs`); what a
//! codec of others does in one call is finished first. What is held is charged before it is made. One variant's failure is its own; only a failed decode fails the run.

use crate::{
    codec::{self, Opened, Output, ToSrgb},
    error::{Error, ErrorKind},
    facts::{Facts, Sampler},
    limits::Limits,
    metadata::{Blocks, Written},
    pixels::{Layout, Pixels, Shape},
    plan::{Base, Plan, Step, bases_first_bytes, output_bytes, root_bytes, settle_bytes, too_much_memory},
    probe::Orientation,
    spec::OutputFormat,
    stage::{self, resize::Feed},
    watch::Watch,
};
use std::{
    borrow::Cow,
    fmt,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

/// Threads that have nothing to do.
pub trait Spare: Sync + fmt::Debug {
    /// Calls `work` with each of `0..count` once, on this thread and on those that are idle right now; returns when all calls have ended.
    /// Waits for no other thread to become idle. A panic of one call is a panic of this thread, once the others under way have ended; calls
    /// that were not begun by then are left out.
    fn share(&self, count: usize, work: &(dyn Fn(usize) + Sync));

    /// Whether so many bytes more than planned may be held until the run ends. Asked where two pieces fit beside each other only then.
    fn lend_bytes(&self, bytes: u64) -> bool {
        let _ = bytes;
        false
    }
}

/// When to stop, and who helps.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Work ends soon after this.
    pub deadline: Option<Instant>,
    /// Work ends soon after this is set.
    pub cancel: &'a AtomicBool,
    /// Idle threads that may finish variants beside this one; `None`: this one does it all.
    pub spare: Option<&'a dyn Spare>,
}

impl<'a> Context<'a> {
    fn watch(&self) -> Watch<'a> {
        Watch { deadline: self.deadline, cancel: self.cancel }
    }

    fn check(&self, stage: &'static str) -> Result<(), Error> {
        self.watch().check(stage)
    }
}

/// A finished variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The file; metadata as the spec asks for it.
    pub bytes: Vec<u8>,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// Which format `bytes` is.
    pub format: OutputFormat,
    /// 1 to 100; `None` where there is none: PNG, GIF, lossless WebP.
    pub quality: Option<u8>,
    /// Frames of an animation; 1 for a still picture.
    pub frames: u32,
}

/// How one variant ended.
#[derive(Clone, Debug)]
pub struct VariantOutcome {
    /// Place of its spec among those the plan was made of.
    pub index: usize,
    /// The variant, or why there is none.
    pub result: Result<Encoded, Error>,
    /// Time from the decoded pictures to the last step before encoding; what several variants share is the first one's.
    pub transform: Duration,
    /// Time to encode.
    pub encode: Duration,
}

/// What the run as a whole took.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// Time to decode, and to resample and turn what is made of the decoded rows.
    pub decode: Duration,
    /// Most bytes charged at one time: at the most what the plan was estimated at, and what was lent.
    pub peak_bytes: u64,
    /// What the image is, if the plan was made with facts.
    pub facts: Option<Facts>,
}

/// What is held against what may be.
struct Charge<'a> {
    limits: &'a Limits,
    /// Source, and pictures that are still needed.
    live_bytes: u64,
    peak_bytes: u64,
}

impl Charge<'_> {
    /// Says that `more_bytes` are about to be held beside what lives.
    fn hold(&mut self, more_bytes: u64, stage: &'static str) -> Result<(), Error> {
        let bytes = self.live_bytes.saturating_add(more_bytes);
        if bytes > self.limits.max_memory_bytes {
            return Err(too_much_memory(bytes, self.limits, stage));
        }
        self.peak_bytes = self.peak_bytes.max(bytes);
        Ok(())
    }

    /// Whether so many bytes in all, of which `more_bytes` were not planned, may be held.
    fn lends(&self, spare: &dyn Spare, bytes: u64, more_bytes: u64) -> bool {
        bytes <= self.limits.max_memory_bytes && spare.lend_bytes(more_bytes)
    }
}

/// Decodes `source`, which must be what the plan's probe was read from, and makes every variant, cheap ones first; lent threads begin with
/// the dear ones. Each is handed to `publish` as it ends, failed ones too, exactly once, one after the other. The bytes are the same
/// whoever helps.
///
/// # Errors
/// The decode failed: `Truncated`, `Malformed`, `Unsupported`, `LimitExceeded`, `TimedOut`, `Cancelled`, `Internal`; nothing was published.
/// A passed deadline or a set flag later on ends the variants that are left, each with its own error.
pub fn run(
    plan: &Plan,
    source: &[u8],
    context: &Context<'_>,
    publish: &mut (dyn FnMut(VariantOutcome) + Send),
) -> Result<RunReport, Error> {
    let source_bytes = source.len() as u64;
    if source_bytes > plan.limits.max_bytes {
        let text = format!("image has {source_bytes} bytes, limit is {}", plan.limits.max_bytes);
        return Err(Error::new(ErrorKind::LimitExceeded, "decode", text).in_format(plan.probe.format));
    }
    let memory_bytes = plan.memory_bytes(source_bytes);
    if memory_bytes > plan.limits.max_memory_bytes {
        return Err(too_much_memory(memory_bytes, &plan.limits, "decode").in_format(plan.probe.format));
    }
    let blocks = Blocks::of(&plan.probe, source, plan.carried());
    let mut work = Work::new(plan, context, &blocks, source_bytes);
    let started = Instant::now();
    let facts = if plan.reads_no_still() { None } else { work.decode(source)? };
    let mut decode = started.elapsed();
    let most_bytes = memory_bytes.max(bases_first_bytes(plan, source_bytes));
    let lends = |spare: &&dyn Spare| most_bytes == memory_bytes || work.charge.lends(*spare, most_bytes, most_bytes - memory_bytes);
    match context.spare.filter(|_| pieces::is_worth_sharing(plan)).filter(lends) {
        Some(spare) if work.make_all() => {
            let pictures = std::mem::take(&mut work.pictures);
            pieces::run(plan, context, &blocks, &mut work.charge, pictures, most_bytes, spare, publish);
        }
        _ => {
            for &finish in &plan.order {
                work.finish(finish, publish);
            }
        }
    }
    deep::run(Writing { plan, context, blocks: &blocks }, source, &mut work.charge, publish);
    if let Some(moving) = &plan.moving {
        decode += moving::run(Writing { plan: moving, context, blocks: &blocks }, source, &mut work.charge, publish);
    }
    Ok(RunReport { decode, peak_bytes: work.charge.peak_bytes, facts })
}

/// A base, once it is made and until it was last used.
struct Picture {
    pixels: Option<Pixels>,
    uses: usize,
}

struct Work<'a> {
    plan: &'a Plan,
    context: &'a Context<'a>,
    /// The source's metadata, as far as some variant takes any.
    blocks: &'a Blocks<'a>,
    charge: Charge<'a>,
    to_srgb: Option<ToSrgb>,
    pictures: Vec<Picture>,
}

impl<'a> Work<'a> {
    fn new(plan: &'a Plan, context: &'a Context<'a>, blocks: &'a Blocks<'a>, source_bytes: u64) -> Self {
        let charge = Charge { limits: &plan.limits, live_bytes: source_bytes + plan.carried_bytes(), peak_bytes: 0 };
        let pictures = plan.bases.iter().map(|base| Picture { pixels: None, uses: base.uses }).collect();
        Self { plan, context, blocks, charge, to_srgb: None, pictures }
    }

    /// Makes every base that comes from the decoded rows, and tells what the image is if that is asked.
    fn decode(&mut self, source: &[u8]) -> Result<Option<Facts>, Error> {
        let plan = self.plan;
        self.context.check("decode")?;
        let feeding: u64 = plan.roots().map(|(_, base)| root_bytes(plan, base)).sum();
        self.charge.hold(codec::decode_working_bytes(&plan.probe, plan.reading) + feeding + plan.facts_bytes(), "decode")?;
        let mut opened = codec::open(&plan.probe, source, &plan.limits, plan.reading)?;
        let mut feeds = Vec::new();
        for (index, base) in plan.roots() {
            feeds.push((index, Feed::new(&opened.planes, base.region, base.resized, base.transform, base.kernel, base.linear_light)?));
        }
        let mut sampler = plan.facts.then(|| Sampler::new(&opened.planes, plan.decoded.layout));
        self.drain(&mut opened, &mut feeds, sampler.as_mut())?;
        self.to_srgb = opened.to_srgb.take();
        // What the decoder kept is not held beside what is made of the pictures.
        drop(opened);
        let facts = sampler.and_then(Sampler::finish).map(|small| self.facts(source, small)).transpose()?;
        let mut made = Vec::new();
        for (index, feed) in feeds {
            let pixels = feed.finish()?;
            self.charge.live_bytes += pixels.bytes.len() as u64;
            made.push((index, pixels));
        }
        for (index, pixels) in made {
            let settled = self.settle(&plan.bases[index], pixels)?;
            self.pictures[index].pixels = Some(settled);
        }
        // Its tables are not held beside what is made of pictures that have their colours.
        self.to_srgb = None;
        Ok(facts)
    }

    /// From the small picture as it was stored.
    fn facts(&self, source: &[u8], small: Pixels) -> Result<Facts, Error> {
        let watch = self.context.watch();
        let mut small = if small.layout.channels() == 1 { stage::chroma::to_rgb(&small, watch)? } else { small };
        if let Some(to_srgb) = &self.to_srgb {
            to_srgb.apply(&mut small, watch)?;
        }
        let probe = &self.plan.probe;
        let icc = if probe.has_icc { codec::profile(probe, source) } else { None };
        Ok(Facts::of(probe, source, icc.as_deref(), &stage::orient::orient(small, probe.orientation, watch)?))
    }

    fn drain(&self, opened: &mut Opened<'_>, feeds: &mut [(usize, Feed)], mut sampler: Option<&mut Sampler>) -> Result<(), Error> {
        let watch = self.context.watch();
        loop {
            watch.check("decode")?;
            let more = opened.strip(watch, &mut |plane, rows| {
                for (_, feed) in feeds.iter_mut() {
                    feed.push(plane, rows.first_row, rows.bytes, rows.stride, watch);
                }
                if let Some(sampler) = &mut sampler {
                    sampler.push(plane, rows.first_row, rows.bytes, rows.stride);
                }
            })?;
            if !more {
                return watch.check("decode");
            }
        }
    }

    /// Turns a base that has its size, and converts its colours.
    fn settle(&mut self, base: &Base, mut pixels: Pixels) -> Result<Pixels, Error> {
        let before = pixels.bytes.len() as u64;
        if base.transform == Orientation::Upright && !base.to_rgb && !base.profile {
            return Ok(pixels);
        }
        let watch = self.context.watch();
        watch.check("orient")?;
        self.charge.hold(settle_bytes(base), "orient")?;
        if base.transform != Orientation::Upright {
            pixels = stage::orient::orient(pixels, base.transform, watch)?;
        }
        if base.to_rgb {
            pixels = stage::chroma::to_rgb(&pixels, watch)?;
        }
        if let Some(to_srgb) = self.to_srgb.as_ref().filter(|_| base.profile) {
            to_srgb.apply(&mut pixels, watch)?;
        }
        self.charge.live_bytes = self.charge.live_bytes - before + pixels.bytes.len() as u64;
        Ok(pixels)
    }

    /// Sees to it that a base is there.
    fn make(&mut self, index: usize) -> Result<(), Error> {
        let base = &self.plan.bases[index];
        let (None, Some(parent)) = (&self.pictures[index].pixels, base.parent) else { return Ok(()) };
        self.make(parent)?;
        self.context.check("resize")?;
        let Some(from) = &self.pictures[parent].pixels else { return Err(missing()) };
        self.charge.hold(
            base.resized.bytes() + stage::resize::feed_bytes(from.shape(), base.region, base.resized, base.kernel, base.linear_light),
            "resize",
        )?;
        let watch = self.context.watch();
        let pixels = stage::resize::resize(from, base.region, base.resized, base.kernel, base.linear_light, watch)?;
        self.charge.live_bytes += pixels.bytes.len() as u64;
        drop(self.take(parent));
        let settled = self.settle(base, pixels)?;
        self.pictures[index].pixels = Some(settled);
        Ok(())
    }

    /// Sees to it that all bases are there; false: each finish will tell why its own is not.
    fn make_all(&mut self) -> bool {
        (0..self.plan.bases.len()).all(|index| self.make(index).is_ok())
    }

    /// One use of a base is over: its pixels if that was the last.
    fn take(&mut self, index: usize) -> Option<Pixels> {
        let picture = &mut self.pictures[index];
        picture.uses -= 1;
        let pixels = if picture.uses == 0 { picture.pixels.take() } else { None };
        self.charge.live_bytes -= pixels.as_ref().map_or(0, |pixels| pixels.bytes.len() as u64);
        pixels
    }

    fn finish(&mut self, index: usize, publish: &mut (dyn FnMut(VariantOutcome) + Send)) {
        let plan = self.plan;
        let finish = &plan.finishes[index];
        let started = Instant::now();
        let made = self.make(finish.base);
        // The last to need a base may use it up.
        let last = if self.pictures[finish.base].uses == 1 { self.take(finish.base) } else { None };
        let is_last = last.is_some();
        let transformed = made.and_then(|()| {
            let shared = self.pictures[finish.base].pixels.as_ref();
            let pixels = last.map(Cow::Owned).or(shared.map(Cow::Borrowed)).ok_or_else(missing)?;
            transform(&mut self.charge, self.context, &finish.steps, pixels)
        });
        let writing = Writing { plan, context: self.context, blocks: self.blocks };
        writing.publish(&mut self.charge, &transformed, &finish.outputs, started.elapsed(), publish);
        drop(transformed);
        if !is_last && self.pictures[finish.base].uses > 0 {
            drop(self.take(finish.base));
        }
    }
}

/// What a bug in the plan's tree would look like.
fn missing() -> Error {
    Error::new(ErrorKind::Internal, "resize", "a picture that others are made from is missing")
}

fn transform<'p>(
    charge: &mut Charge<'_>,
    context: &Context<'_>,
    steps: &[Step],
    mut pixels: Cow<'p, Pixels>,
) -> Result<Cow<'p, Pixels>, Error> {
    for step in steps {
        context.check(step.name())?;
        charge.hold(own_bytes(&pixels) + step.held_bytes(pixels.shape(), own_bytes(&pixels) == 0), step.name())?;
        let step = step.decided(&pixels, context.watch())?;
        check_sides(step.after(pixels.shape()), charge.limits, step.name())?;
        pixels = Cow::Owned(apply(&step, pixels, context.watch())?);
    }
    Ok(pixels)
}

/// Before anything is made: where a picture was trimmed, its plan could not tell.
fn check_sides(shape: Shape, limits: &Limits, stage: &'static str) -> Result<(), Error> {
    let Shape { width_px, height_px, .. } = shape;
    if width_px.max(height_px) <= limits.max_side_px {
        return Ok(());
    }
    let text = format!("result is {width_px} by {height_px} pixels, longest side allowed is {}", limits.max_side_px);
    Err(Error::new(ErrorKind::InvalidSpec, stage, text))
}

/// What variants are written by, whoever writes them.
#[derive(Clone, Copy)]
struct Writing<'a> {
    plan: &'a Plan,
    context: &'a Context<'a>,
    blocks: &'a Blocks<'a>,
}

impl Writing<'_> {
    /// Writes a finished picture in all these ways; the first is told what `transform` took.
    fn publish(
        self,
        charge: &mut Charge<'_>,
        finished: &Result<Cow<'_, Pixels>, Error>,
        outputs: &[(usize, Output)],
        mut transform: Duration,
        publish: &mut dyn FnMut(VariantOutcome),
    ) {
        for &(index, output) in outputs {
            let started = Instant::now();
            let result = match finished {
                Ok(pixels) => self.encode(charge, pixels, output),
                Err(error) => Err(error.clone()),
            };
            publish(VariantOutcome { index, result, transform: std::mem::take(&mut transform), encode: started.elapsed() });
        }
    }

    #[allow(clippy::ptr_arg, reason = "it is the kind of Cow that is asked for")]
    fn encode(self, charge: &mut Charge<'_>, pixels: &Cow<'_, Pixels>, output: Output) -> Result<Encoded, Error> {
        self.context.check("encode")?;
        let Shape { width_px, height_px, .. } = pixels.shape();
        charge.hold(own_bytes(pixels) + output_bytes(self.plan, pixels.shape(), output), "encode")?;
        let chosen = codec::choose(pixels, output);
        let written = Written::of(self.blocks, output.carry);
        let mut done = bounded::encode(self.context, pixels, chosen, &written);
        // A bound need not be passed for a format that nobody asked for.
        if let Some(lossy) = codec::second_choice(pixels, output, chosen).filter(|_| is_unkept(&done)) {
            done = bounded::encode(self.context, pixels, lossy, &written);
        }
        let (bytes, output) = done?;
        Ok(Encoded { bytes, width_px, height_px, format: output.format, quality: output.told_quality(), frames: 1 })
    }
}

/// Whether a bound could not be kept.
fn is_unkept<T>(done: &Result<T, Error>) -> bool {
    done.as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidSpec)
}

/// Bytes of pixels that no other variant needs.
#[allow(clippy::ptr_arg, reason = "it is the kind of Cow that is asked for")]
fn own_bytes(pixels: &Cow<'_, Pixels>) -> u64 {
    if matches!(pixels, Cow::Borrowed(_)) { 0 } else { pixels.bytes.len() as u64 }
}

/// Does a step that is decided. A picture that others need stays as it is.
fn apply(step: &Step, pixels: Cow<'_, Pixels>, watch: Watch<'_>) -> Result<Pixels, Error> {
    let too_large = || Error::new(ErrorKind::LimitExceeded, "canvas", "the picture with what is around it is too large");
    let ground = step.ground(pixels.width_px, pixels.height_px);
    // These make a new picture anyhow.
    match step {
        Step::ToRgb => return stage::chroma::to_rgb(&pixels, watch),
        Step::HalveChroma => return stage::chroma::halve(&pixels, watch),
        Step::ToPlanes => return stage::chroma::to_planes(&pixels, watch),
        Step::Take(taking) => return taking.take(&pixels, watch),
        Step::Cut(rect) => return Ok(stage::fit::cut(&pixels, *rect)),
        Step::Extend { ground: colour, .. } | Step::Pad { ground: colour, .. } => {
            return stage::canvas::lay(&pixels, ground, *colour).ok_or_else(too_large);
        }
        Step::Border { px, colour, round_px } => {
            let mut bordered = stage::canvas::lay(&pixels, ground, Some(*colour)).ok_or_else(too_large)?;
            stage::round::fill_inner_corners(&mut bordered, *px, *round_px, *colour);
            return Ok(bordered);
        }
        Step::Round(radius_px) if pixels.layout != Layout::Rgba8 => {
            let mut rounded = stage::canvas::lay(&pixels, ground, None).ok_or_else(too_large)?;
            stage::round::round(&mut rounded, f64::from(*radius_px));
            return Ok(rounded);
        }
        _ => {}
    }
    let mut pixels = pixels.into_owned();
    match step {
        Step::Turn(turn) => return stage::orient::orient(pixels, *turn, watch),
        Step::Flatten(background) => return stage::flatten::flatten(pixels, *background, watch),
        Step::Median(window_px) => stage::median::median(&mut pixels, *window_px, watch)?,
        Step::Levels(levels) => stage::levels::stretch(&mut pixels, *levels, watch)?,
        Step::Colour(filters) => stage::colour::colour(&mut pixels, filters, watch)?,
        Step::Blur(sigma_px) => stage::blur::blur(&mut pixels, *sigma_px, watch)?,
        Step::Sharpen(sigma_px) => stage::sharpen::sharpen(&mut pixels, *sigma_px, watch)?,
        Step::Pixelate(side_px) => stage::pixelate::pixelate(&mut pixels, *side_px, watch)?,
        Step::Round(radius_px) => stage::round::round(&mut pixels, f64::from(*radius_px)),
        Step::Overlay(overlay) => overlay.lay_over(&mut pixels, watch)?,
        Step::Fit(_) | Step::Smart { .. } | Step::Normalize => {
            return Err(Error::new(ErrorKind::Internal, step.name(), "a step was done before it was decided"));
        }
        Step::ToRgb
        | Step::HalveChroma
        | Step::ToPlanes
        | Step::Take(_)
        | Step::Cut(_)
        | Step::Extend { .. }
        | Step::Pad { .. }
        | Step::Border { .. } => {}
    }
    Ok(pixels)
}

mod bounded;
mod deep;
mod moving;
mod pieces;
#[cfg(test)]
mod tests;
mod watermarks;
