//! Runs a plan: one decode, then each variant from the same pixels, handed out as it ends.
//!
//! Deadline and cancel flag are looked at between steps, so a step under way is finished first. What is held is charged before it is
//! made. One variant's failure is its own; only a failed decode fails the run.

use crate::{
    codec::{self, ToSrgb},
    error::{Error, ErrorKind},
    limits::Limits,
    pixels::Pixels,
    plan::{Plan, Shape, Step, Variant, too_much_memory},
    spec::OutputFormat,
    stage::{
        self,
        geometry::{Rect, Region},
    },
};
use std::{
    borrow::Cow,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// No step begins after this.
    pub deadline: Option<Instant>,
    /// No step begins once this is set.
    pub cancel: &'a AtomicBool,
}

impl Context<'_> {
    fn check(&self, stage: &'static str) -> Result<(), Error> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, stage, "work was cancelled"));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::new(ErrorKind::TimedOut, stage, "work took longer than is allowed"));
        }
        Ok(())
    }
}

/// A finished variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The file, without metadata.
    pub bytes: Vec<u8>,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// Which format `bytes` is.
    pub format: OutputFormat,
    /// 1 to 100; `None` for PNG, which has none.
    pub quality: Option<u8>,
}

/// How one variant ended.
#[derive(Clone, Debug)]
pub struct VariantOutcome {
    /// Place of its spec among those the plan was made of.
    pub index: usize,
    /// The variant, or why there is none.
    pub result: Result<Encoded, Error>,
    /// Time from the decoded pixels to the last step before encoding.
    pub transform: Duration,
    /// Time to encode.
    pub encode: Duration,
}

/// What the run as a whole took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// Time to decode.
    pub decode: Duration,
    /// Most bytes charged at one time.
    pub peak_bytes: u64,
}

/// What is held against what may be.
struct Charge<'a> {
    limits: &'a Limits,
    peak_bytes: u64,
}

impl Charge<'_> {
    /// Says that `bytes` in all are about to be held.
    fn hold(&mut self, bytes: u64, stage: &'static str) -> Result<(), Error> {
        if bytes > self.limits.max_memory_bytes {
            return Err(too_much_memory(bytes, self.limits, stage));
        }
        self.peak_bytes = self.peak_bytes.max(bytes);
        Ok(())
    }
}

/// Decodes `source`, which must be what the plan's probe was read from, and makes every variant, cheap ones first. Each is handed to
/// `publish` as it ends, failed ones too, exactly once.
///
/// # Errors
/// The decode failed: `Truncated`, `Malformed`, `Unsupported`, `LimitExceeded`, `TimedOut`, `Cancelled`, `Internal`; nothing was published.
/// A passed deadline or a set flag later on ends the variants that are left, each with its own error.
pub fn run(plan: &Plan, source: &[u8], context: &Context<'_>, publish: &mut dyn FnMut(VariantOutcome)) -> Result<RunReport, Error> {
    let limits = &plan.limits;
    let source_bytes = source.len() as u64;
    if source_bytes > limits.max_bytes {
        let text = format!("image has {source_bytes} bytes, limit is {}", limits.max_bytes);
        return Err(Error::new(ErrorKind::LimitExceeded, "decode", text).in_format(plan.probe.format));
    }
    context.check("decode")?;
    let mut charge = Charge { limits, peak_bytes: 0 };
    charge.hold(source_bytes + plan.decoded.bytes() + codec::decode_working_bytes(&plan.probe), "decode")?;

    let started = Instant::now();
    let codec::Decoded { pixels, to_srgb } = codec::decode(&plan.probe, source, limits, plan.reading)?;
    let decode = started.elapsed();

    let mut work = Work { charge, context, to_srgb: to_srgb.as_ref() };
    let mut decoded = Some(pixels);
    for (position, &index) in plan.order.iter().enumerate() {
        let is_last = position + 1 == plan.order.len();
        // The last variant may use the pixels up.
        let pixels = if is_last { decoded.take().map(Cow::Owned) } else { decoded.as_ref().map(Cow::Borrowed) };
        // Present until the last turn.
        let Some(pixels) = pixels else { break };
        publish(work.variant(&plan.variants[index], index, pixels, source_bytes));
    }
    Ok(RunReport { decode, peak_bytes: work.charge.peak_bytes })
}

struct Work<'a> {
    charge: Charge<'a>,
    context: &'a Context<'a>,
    to_srgb: Option<&'a ToSrgb>,
}

impl Work<'_> {
    fn variant(&mut self, variant: &Variant, index: usize, pixels: Cow<'_, Pixels>, source_bytes: u64) -> VariantOutcome {
        let started = Instant::now();
        // What stays held all the while beside the variant's own pixels.
        let base_bytes = source_bytes + if is_shared(&pixels) { pixels.bytes.len() as u64 } else { 0 };
        let transformed = self.transform(&variant.steps, pixels, base_bytes);
        let transform = started.elapsed();
        let started = Instant::now();
        let result = transformed.and_then(|pixels| self.encode(variant, &pixels, base_bytes + own_bytes(&pixels, is_shared(&pixels))));
        VariantOutcome { index, result, transform, encode: started.elapsed() }
    }

    fn transform<'p>(&mut self, steps: &[Step], mut pixels: Cow<'p, Pixels>, base_bytes: u64) -> Result<Cow<'p, Pixels>, Error> {
        for &step in steps {
            self.context.check(step.name())?;
            if matches!(step, Step::Profile) && self.to_srgb.is_none() {
                continue;
            }
            let shared = is_shared(&pixels);
            let shape = Shape { width_px: pixels.width_px, height_px: pixels.height_px, layout: pixels.layout };
            self.charge.hold(base_bytes + own_bytes(&pixels, shared) + step.held_bytes(shape, shared), step.name())?;
            pixels = Cow::Owned(self.apply(step, pixels)?);
        }
        Ok(pixels)
    }

    fn apply(&self, step: Step, pixels: Cow<'_, Pixels>) -> Result<Pixels, Error> {
        if let Step::Resize { region, width_px, height_px } = step {
            return match (pixels, unscaled(region, width_px, height_px)) {
                // Only a cut, of pixels nobody else needs: no second buffer.
                (Cow::Owned(pixels), Some(rect)) => Ok(stage::crop::crop(pixels, rect)),
                (pixels, _) => stage::resize::resize(&pixels, region, width_px, height_px),
            };
        }
        let mut pixels = pixels.into_owned();
        match step {
            Step::Orient(orientation) => return Ok(stage::orient::orient(pixels, orientation)),
            Step::Flatten(background) => return Ok(stage::flatten::flatten(pixels, background)),
            Step::Profile => self.to_srgb.iter().for_each(|to_srgb| to_srgb.apply(&mut pixels)),
            Step::Colour(filters) => stage::colour::colour(&mut pixels, &filters),
            Step::Blur(sigma_px) => stage::blur::blur(&mut pixels, sigma_px),
            Step::Sharpen(sigma_px) => stage::sharpen::sharpen(&mut pixels, sigma_px),
            Step::Pixelate(side_px) => stage::pixelate::pixelate(&mut pixels, side_px),
            Step::Resize { .. } => {}
        }
        Ok(pixels)
    }

    fn encode(&mut self, variant: &Variant, pixels: &Pixels, held_bytes: u64) -> Result<Encoded, Error> {
        self.context.check("encode")?;
        let Pixels { width_px, height_px, layout, .. } = *pixels;
        let working_bytes = codec::encode_working_bytes(width_px, height_px, layout, variant.format, variant.quality);
        self.charge.hold(held_bytes + working_bytes, "encode")?;
        let bytes = codec::encode(pixels, variant.format, variant.quality)?;
        let quality = (variant.format != OutputFormat::Png).then_some(variant.quality);
        Ok(Encoded { bytes, width_px, height_px, format: variant.format, quality })
    }
}

/// The rectangle, if a region is whole pixels and keeps its size.
fn unscaled(region: Region, width_px: u32, height_px: u32) -> Option<Rect> {
    let (left_px, top_px) = (region.left_px.round(), region.top_px.round());
    let kept = (region.width_px, region.height_px) == (f64::from(width_px), f64::from(height_px));
    let whole = (region.left_px, region.top_px) == (left_px, top_px);
    // Within the picture, so neither cast cuts anything off.
    (kept && whole).then_some(Rect { left_px: left_px as u32, top_px: top_px as u32, width_px, height_px })
}

/// Whether these are the decoded pixels, which other variants still need.
#[allow(clippy::ptr_arg, reason = "it is the kind of Cow that is asked for")]
fn is_shared(pixels: &Cow<'_, Pixels>) -> bool {
    matches!(pixels, Cow::Borrowed(_))
}

/// Bytes of pixels that are the variant's own.
fn own_bytes(pixels: &Pixels, shared: bool) -> u64 {
    if shared { 0 } else { pixels.bytes.len() as u64 }
}

#[cfg(test)]
mod tests;
