//! Variants of an animation: its frames are read once, and each goes the same way into every file that is made of all of them.
//!
//! A frame's way is a still picture's: bases, steps, outputs of the plan's tree. Invariants: no more than a constant number of canvases is
//! held beside the files that grow; deadline and cancel flag are looked at between frames and between steps; a frame that is broken ends all
//! variants that need it, and none of them with fewer frames than it should have.
//!
//! A file that passes its `max_bytes` is written again with less quality: all frames are read once more for all such files together, at most
//! seven times, and what was decided for the first frame stays.

use super::{
    Charge, Context, Encoded, Picture, VariantOutcome, Work, Writing,
    bounded::{Next, Search},
    own_bytes, transform,
};
use crate::{
    codec::{self, Frames, Moving, Output},
    error::{Error, ErrorKind},
    metadata::Written,
    pixels::Pixels,
    plan::{Plan, Step, moving_bytes, root_bytes},
    stage::resize::Feed,
};
use std::{
    borrow::Cow,
    mem,
    time::{Duration, Instant},
};

/// A file that grows.
struct Growing {
    /// Of its spec.
    index: usize,
    /// As it is tried now.
    output: Output,
    search: Search,
    frames: u32,
    /// `None` before the first frame.
    file: Option<Moving>,
    shape: (u32, u32),
    encode: Duration,
}

impl Growing {
    fn is_full(&self) -> bool {
        self.output.max_frames > 0 && self.frames >= self.output.max_frames
    }

    /// The file, or `None` where all frames are to go by once more.
    fn end(&mut self, walked: Result<(), Error>, writing: Writing<'_>) -> Option<Result<Encoded, Error>> {
        let started = Instant::now();
        let none = || Error::new(ErrorKind::Malformed, "decode", "animation has no frames");
        let written = || Written::of(writing.blocks, self.output.carry);
        let file = self.file.take();
        let ended = walked.and_then(|()| file.ok_or_else(none)?.finish(&written(), writing.context.watch()));
        let ended = ended.and_then(|bytes| self.search.tried(self.output.quality, bytes));
        self.encode += started.elapsed();
        let (width_px, height_px) = self.shape;
        Some(match ended {
            Ok(Next::Try(quality)) => {
                self.output.quality = quality;
                self.frames = 0;
                return None;
            }
            Ok(Next::Done(bytes, quality)) => {
                let output = Output { quality, ..self.output };
                let (format, quality) = (output.format, output.told_quality());
                Ok(Encoded { bytes, width_px, height_px, format, quality, frames: self.frames })
            }
            Err(error) => Err(error),
        })
    }

    fn outcome(self, result: Result<Encoded, Error>, transform: Duration) -> VariantOutcome {
        VariantOutcome { index: self.index, result, transform, encode: self.encode }
    }
}

/// What is done to every frame of one finish.
struct Way {
    /// The plan's steps; those that follow a picture's content as they were decided for the first frame.
    steps: Vec<Step>,
    growing: Vec<Growing>,
    transform: Duration,
}

/// Makes all variants of a moving part, in the order of the plan, and publishes each once. Returns the time to read frames and to resample
/// them.
pub(super) fn run(
    writing: Writing<'_>,
    source: &[u8],
    charge: &mut Charge<'_>,
    publish: &mut (dyn FnMut(VariantOutcome) + Send),
) -> Duration {
    let plan = writing.plan;
    let mut ways: Vec<Way> = plan.finishes.iter().map(Way::of).collect();
    let held_bytes = moving_bytes(plan);
    charge.live_bytes += held_bytes;
    let mut decode = Duration::ZERO;
    // Again for those whose bound was passed.
    while ways.iter().any(|way| !way.growing.is_empty()) {
        let walked = charge.hold(0, "decode").and_then(|()| walk(writing, source, charge, &mut ways, &mut decode, publish));
        for &finish in &plan.order {
            let way = &mut ways[finish];
            for mut growing in mem::take(&mut way.growing) {
                match growing.end(walked.clone(), writing) {
                    Some(result) => publish(growing.outcome(result, mem::take(&mut way.transform))),
                    None => way.growing.push(growing),
                }
            }
        }
    }
    charge.live_bytes -= held_bytes;
    decode
}

impl Way {
    fn of(finish: &crate::plan::Finish) -> Self {
        let shape = (finish.result.width_px, finish.result.height_px);
        let growing = finish.outputs.iter().map(|&(index, output)| {
            let search = Search::of(output);
            Growing { index, output, search, frames: 0, file: None, shape, encode: Duration::ZERO }
        });
        Self { steps: finish.steps.clone(), growing: growing.collect(), transform: Duration::ZERO }
    }

    /// Ends all of its variants.
    fn fail(&mut self, error: &Error, publish: &mut dyn FnMut(VariantOutcome)) {
        for growing in mem::take(&mut self.growing) {
            publish(growing.outcome(Err(error.clone()), mem::take(&mut self.transform)));
        }
    }

    fn wants_more(&self) -> bool {
        self.growing.iter().any(|growing| !growing.is_full())
    }
}

fn walk(
    writing: Writing<'_>,
    source: &[u8],
    charge: &mut Charge<'_>,
    ways: &mut [Way],
    decode: &mut Duration,
    publish: &mut dyn FnMut(VariantOutcome),
) -> Result<(), Error> {
    let Writing { plan, context, blocks } = writing;
    context.check("decode")?;
    let started = Instant::now();
    let mut frames = Frames::open(&plan.probe, source, &plan.limits)?;
    *decode += started.elapsed();
    let plane = crate::pixels::SourcePlane { width_px: plan.decoded.width_px, height_px: plan.decoded.height_px, share: (1.0, 1.0) };
    let (mut count, to_srgb, plays) = (0_u32, frames.to_srgb.clone(), frames.plays);
    while ways.iter().any(Way::wants_more) {
        context.check("decode")?;
        let started = Instant::now();
        let Some(frame) = frames.next()? else { break };
        count += 1;
        check_count(plan, count)?;
        let pictures = plan.bases.iter().map(|base| Picture { pixels: None, uses: base.uses }).collect();
        let mut work = Work { plan, context, blocks, charge: Charge { ..*charge }, to_srgb: to_srgb.clone(), pictures };
        let feeding: u64 = plan.roots().map(|(_, base)| root_bytes(plan, base)).sum();
        work.charge.hold(feeding, "resize")?;
        let mut made = Vec::new();
        for (index, base) in plan.roots() {
            let mut feed = Feed::new(&[plane], base.region, base.resized, base.transform, base.kernel, base.linear_light)?;
            feed.push(0, 0, frame.rgba, plan.decoded.width_px as usize * 4, context.watch());
            context.check("resize")?;
            let pixels = feed.finish()?;
            work.charge.live_bytes += pixels.bytes.len() as u64;
            made.push((index, pixels));
        }
        for (index, pixels) in made {
            let settled = work.settle(&plan.bases[index], pixels)?;
            work.pictures[index].pixels = Some(settled);
        }
        *decode += started.elapsed();
        for &finish in &plan.order {
            let started = Instant::now();
            let made = work.make(plan.finishes[finish].base);
            let way = &mut ways[finish];
            let added = made.and_then(|()| {
                let (base, spent) = (plan.finishes[finish].base, started);
                add(&mut work, base, way, (frame.delay_ms, plays), spent)
            });
            if let Err(error) = added {
                way.fail(&error, publish);
            }
        }
        charge.peak_bytes = work.charge.peak_bytes;
    }
    Ok(())
}

/// Finishes a frame's base in one way and adds it to the files of that.
fn add(work: &mut Work<'_>, base: usize, way: &mut Way, (delay_ms, plays): (u32, codec::Plays), started: Instant) -> Result<(), Error> {
    // The last to need a base may use it up.
    let last = if work.pictures[base].uses == 1 { work.take(base) } else { None };
    let is_last = last.is_some();
    let shared = work.pictures[base].pixels.take();
    let pixels = last.map(Cow::Owned).or(shared.as_ref().map(Cow::Borrowed)).ok_or_else(super::missing);
    let done = pixels.and_then(|pixels| {
        let pixels = if way.growing.iter().any(|growing| !growing.is_full()) {
            stepped(&mut work.charge, work.context, &mut way.steps, way.growing.iter().all(|growing| growing.frames == 0), pixels)?
        } else {
            pixels
        };
        way.transform += started.elapsed();
        for growing in way.growing.iter_mut().filter(|growing| !growing.is_full()) {
            let started = Instant::now();
            work.context.check("encode")?;
            work.charge.hold(own_bytes(&pixels) + codec::moving_frame_bytes(pixels.shape(), growing.output), "encode")?;
            if growing.file.is_none() {
                // Where it is trimmed, only now.
                growing.shape = (pixels.width_px, pixels.height_px);
                growing.file = Some(Moving::begin(growing.output, plays, &pixels, work.context.watch())?);
            }
            if let Some(file) = &mut growing.file {
                file.add(&pixels, delay_ms, work.context.watch())?;
            }
            growing.frames += 1;
            growing.encode += started.elapsed();
        }
        Ok(())
    });
    work.pictures[base].pixels = shared;
    if !is_last && work.pictures[base].uses > 0 {
        drop(work.take(base));
    }
    done
}

/// The steps of a way. Of the first frame those that follow a picture's content are decided, and are the same for all others.
fn stepped<'p>(
    charge: &mut Charge<'_>,
    context: &Context<'_>,
    steps: &mut [Step],
    is_first: bool,
    mut pixels: Cow<'p, Pixels>,
) -> Result<Cow<'p, Pixels>, Error> {
    for step in steps {
        if is_first {
            charge.hold(own_bytes(&pixels) + step.held_bytes(pixels.shape(), own_bytes(&pixels) == 0), step.name())?;
            *step = step.decided(&pixels, context.watch())?;
        }
        pixels = transform(charge, context, std::slice::from_ref(step), pixels)?;
    }
    Ok(pixels)
}

/// Refuses more frames than allowed, or more pixels in them, where the header did not tell.
fn check_count(plan: &Plan, count: u32) -> Result<(), Error> {
    let limits = &plan.limits;
    let refuse = |kind, text| Err(Error::new(kind, "decode", text).in_format(plan.probe.format));
    if count > limits.max_frames {
        return refuse(ErrorKind::TooManyFrames, format!("image has {count} frames or more, limit is {}", limits.max_frames));
    }
    let pixels = plan.probe.pixels().saturating_mul(u64::from(count));
    if count > 1 && pixels > limits.max_animation_pixels {
        let text = format!("image has {pixels} pixels in {count} frames or more, limit is {}", limits.max_animation_pixels);
        return refuse(ErrorKind::TooManyPixels, text);
    }
    Ok(())
}
