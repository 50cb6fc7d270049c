//! The plan as text: a line for each stage, in the order of the work, with what it takes and what is held meanwhile.
//!
//! Times are rough: what one core of the machine that the benchmarks ran on takes (`scripts/bench pipeline`), to tell dear from cheap.

use super::{
    Finish, Plan, Step, deep,
    memory::{Stage, Work, stages},
};
use crate::{
    codec::{Chroma, Output, Refinement, Scale},
    pixels::Shape,
    probe::{Format, Orientation},
    spec::OutputFormat,
    stage::geometry::Region,
};
use std::fmt;

/// Nanoseconds that writing a picture takes.
fn encode_ns(shape: Shape, output: Output) -> u64 {
    let pixel_ns = match (output.format, output.effort) {
        (OutputFormat::Jpeg, _) => 2,
        (OutputFormat::Png, _) => 16,
        (OutputFormat::Gif, _) => 40,
        (OutputFormat::Avif, effort) => 700 + 300 * u64::from(effort),
        (OutputFormat::WebP, ..3) => 35,
        (OutputFormat::WebP, _) => 85,
    };
    shape.pixels() * pixel_ns
}

fn step_ns(step: &Step, shape: Shape) -> u64 {
    let pixel_ns = match step {
        Step::ToRgb
        | Step::HalveChroma
        | Step::ToPlanes
        | Step::Turn(_)
        | Step::Extend { .. }
        | Step::Border { .. }
        | Step::Pad { .. }
        | Step::Round(_) => 1,
        Step::Flatten(_) | Step::Pixelate(_) | Step::Colour(_) | Step::Smart { .. } | Step::Cut(_) | Step::Overlay(_) => 2,
        Step::Normalize | Step::Levels(_) => 3,
        Step::Blur(_) | Step::Sharpen(_) | Step::Median(3) | Step::Fit(_) | Step::Take(_) => 4,
        Step::Median(_) => 150,
    };
    shape.pixels() * pixel_ns
}

/// What all steps of a finish take.
fn steps_ns(finish: &Finish, from: Shape) -> u64 {
    let mut shape = from;
    let each = finish.steps.iter().map(|step| {
        let before = shape;
        shape = step.after(shape);
        step_ns(step, if before.pixels() > shape.pixels() { before } else { shape })
    });
    each.sum()
}

fn resize_ns(from: Shape, region: Region, to: Shape) -> u64 {
    // Every sample of the source takes part in six results; every result's row is summed up once more.
    let share = (region.width_px * region.height_px / from.pixels() as f64).min(1.0);
    (from.bytes() as f64 * share * 0.4) as u64 + to.bytes() * 2
}

/// What finishing a base of this shape and writing it takes: the order of results.
pub(crate) fn finish_ns(finish: &Finish, from: Shape) -> u64 {
    steps_ns(finish, from) + finish.outputs.iter().map(|(_, output)| encode_ns(finish.result, *output)).sum::<u64>()
}

impl Plan {
    fn stage_ns(&self, work: Work, source_bytes: u64) -> u64 {
        match work {
            Work::Decode => {
                let feeding: u64 = self.roots().map(|(_, base)| resize_ns(self.decoded, base.region, base.resized)).sum();
                self.decode_ns(source_bytes) + feeding
            }
            Work::Resize(index) => {
                let base = &self.bases[index];
                base.parent.map_or(0, |parent| resize_ns(self.bases[parent].shape(), base.region, base.resized))
            }
            Work::Settle(index) => {
                let base = &self.bases[index];
                let pixel_ns = if base.profile { 8 } else { 2 };
                base.resized.pixels() * pixel_ns
            }
            Work::Step(finish, step) => step_ns(&self.finishes[finish].steps[step], self.shape_before(finish, step)),
            Work::Encode(finish, output) => encode_ns(self.finishes[finish].result, self.finishes[finish].outputs[output].1),
        }
    }

    fn decode_ns(&self, source_bytes: u64) -> u64 {
        let pixels = self.decoded.pixels();
        match self.probe.format {
            Format::Jpeg => {
                // By the byte: codes to be read or skipped. A progressive file has scans that are stepped over.
                let tenths = match (self.reading.scale, self.probe.progressive, self.reading.refinement) {
                    (Scale::Eighth, false, _) => 26,
                    (Scale::Eighth, true, _) => 20,
                    (Scale::Quarter, true, Refinement::LeaveOut) => 40,
                    (_, true, Refinement::LeaveOutLowest) => 120,
                    (_, true, _) => 180,
                    (Scale::Quarter, ..) => 55,
                    _ => 80,
                };
                source_bytes * tenths / 10 + pixels
            }
            // A frame of it.
            _ if self.frames > 0 => source_bytes * 5 / u64::from(self.frames) + pixels * 4,
            Format::Png => source_bytes * 2 + pixels * 4,
            Format::WebP => source_bytes * 10 + pixels * 8,
            Format::Gif => source_bytes * 5 + pixels * 2,
            Format::Tiff => source_bytes * 3 + pixels * 8,
            Format::Bmp | Format::Ico | Format::Qoi => source_bytes + pixels * 3,
            Format::Jxl => source_bytes * 30 + pixels * 20,
            Format::Svg => source_bytes * 50 + pixels * 20,
            Format::Avif | Format::Heic => source_bytes * 60 + pixels * 15,
        }
    }

    pub(crate) fn roots(&self) -> impl Iterator<Item = (usize, &super::Base)> {
        self.bases.iter().enumerate().filter(|(_, base)| base.parent.is_none())
    }

    /// The plan as text for a source of so many bytes: a line for each stage with a rough time and the memory held meanwhile.
    ///
    /// ```
    /// # use image_pipeline::{Limits, Presets, Spec, plan, probe};
    /// # fn explain(file: &[u8]) -> Result<String, Box<dyn std::error::Error>> {
    /// let limits = Limits::default();
    /// let found = probe(&mut std::io::Cursor::new(file), &limits)?;
    /// let spec = Spec::parse("rs:fit:320:320/f:jpg", &Presets::builtin())?;
    /// Ok(plan(&found, &[spec], &limits)?.explain(file.len() as u64))
    /// # }
    /// ```
    #[must_use]
    pub fn explain(&self, source_bytes: u64) -> String {
        Explained { plan: self, source_bytes }.to_string()
    }
}

/// One stage of a plan in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanStage {
    /// What is done; what is made of the rows of a decode stands in stages of its own behind it, without time or memory, and before what is
    /// done once for each frame of an animation stands how many there are.
    pub text: String,
    /// Roughly what one core needs for it, in nanoseconds, and the bytes held meanwhile, the source included.
    pub cost: Option<StageCost>,
}

/// What a stage takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageCost {
    /// Rough: to tell dear from cheap.
    pub time_ns: u64,
    /// An upper bound.
    pub held_bytes: u64,
}

impl Plan {
    /// The stages in the order of the work, for a source of so many bytes.
    #[must_use]
    pub fn explained(&self, source_bytes: u64) -> Vec<PlanStage> {
        let mut all = Vec::new();
        for plan in [self].into_iter().chain(self.moving.as_deref()) {
            if plan.frames > 0 {
                all.push(PlanStage { text: format!("for each of {} frames:", plan.frames), cost: None });
            }
            for Stage { work, held_bytes } in stages(plan, source_bytes) {
                let cost = Some(StageCost { time_ns: plan.stage_ns(work, source_bytes), held_bytes });
                all.push(PlanStage { text: plan.describe(work), cost });
                if matches!(work, Work::Decode) {
                    all.extend(plan.roots().map(|(index, base)| {
                        let Shape { width_px, height_px, layout } = base.resized;
                        let light = if base.linear_light { " in linear light" } else { "" };
                        let text = format!("  picture {index}: {} to {width_px}x{height_px} {}{light}", part(base.region), layout.name());
                        PlanStage { text, cost: None }
                    }));
                }
            }
        }
        all.extend(self.deep.iter().map(|part| {
            let (text, cost) = deep::described(self, part, source_bytes);
            PlanStage { text, cost: Some(cost) }
        }));
        all
    }
}

/// A plan and the size of its source.
struct Explained<'p> {
    plan: &'p Plan,
    source_bytes: u64,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, source_bytes } = *self;
        let stages = plan.explained(source_bytes);
        let wide = stages.iter().map(|stage| stage.text.chars().count()).max().unwrap_or(0);
        for PlanStage { text, cost } in stages {
            match cost {
                Some(StageCost { time_ns, held_bytes }) => {
                    let (ms, mib) = (time_ns as f64 / 1e6, held_bytes as f64 / f64::from(1 << 20));
                    writeln!(f, "{text:wide$}  ~{ms:.1} ms  {mib:.1} MiB held")?;
                }
                None => writeln!(f, "{text}")?,
            }
        }
        write!(f, "most held {} bytes", plan.memory_bytes(source_bytes))
    }
}

impl fmt::Display for Plan {
    /// As [`Plan::explain`], without the source's bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Explained { plan: self, source_bytes: 0 })
    }
}

impl Plan {
    fn describe(&self, work: Work) -> String {
        match work {
            Work::Decode => {
                let Shape { width_px, height_px, layout } = self.decoded;
                let mut text = format!("decode {} {}x{}", self.probe.format, self.probe.width_px, self.probe.height_px);
                if self.reading.scale != Scale::Full {
                    text += &format!(" at 1/{} to {width_px}x{height_px}", 8 / self.reading.scale.eighths());
                }
                text += &format!(" {}", if layout.planes() > 1 { "ycc" } else { layout.name() });
                match self.reading.refinement {
                    Refinement::LeaveOut if self.probe.progressive => text += ", without refinements",
                    Refinement::LeaveOutLowest if self.probe.progressive => text += ", without luma's lowest bit",
                    _ => {}
                }
                if layout.planes() > 1 && self.reading.chroma == Chroma::Small {
                    text += ", chroma as stored";
                }
                text
            }
            Work::Resize(index) => {
                let base = &self.bases[index];
                let Shape { width_px, height_px, layout } = base.resized;
                let from = base.parent.unwrap_or_default();
                format!("picture {index}: {} of picture {from} to {width_px}x{height_px} {}", part(base.region), layout.name())
            }
            Work::Settle(index) => {
                let base = &self.bases[index];
                let mut text = format!("picture {index}:");
                if base.transform != Orientation::Upright {
                    text += &format!(" orient {}", base.transform.exif());
                }
                if base.to_rgb {
                    text += " rgb";
                }
                if base.profile {
                    text += " profile";
                }
                text
            }
            Work::Step(finish, step) => format!("variant {}: {}", self.names(finish), self.finishes[finish].steps[step]),
            Work::Encode(finish, output) => {
                let Shape { width_px, height_px, .. } = self.finishes[finish].result;
                let (spec, output) = self.finishes[finish].outputs[output];
                let mut quality =
                    output.told_quality().filter(|_| !output.by_content).map_or_else(String::new, |quality| format!(" quality {quality}"));
                if output.lossless {
                    quality += " lossless";
                }
                if let Some(colors) = output.colors {
                    quality += &format!(" colors {colors}");
                }
                if output.format == OutputFormat::Jpeg && output.progressive {
                    quality += " progressive";
                }
                let picture = self.finishes[finish].base;
                format!(
                    "variant {spec}: encode picture {picture} {} {width_px}x{height_px}{quality}",
                    if output.by_content { "by content" } else { output.format.as_str() }
                )
            }
        }
    }

    /// What step `step` of a finish is done to.
    fn shape_before(&self, finish: usize, step: usize) -> Shape {
        let Finish { base, steps, .. } = &self.finishes[finish];
        steps[..step].iter().fold(self.bases[*base].shape(), |shape, step| step.after(shape))
    }

    /// Specs of a finish, as they are numbered.
    fn names(&self, finish: usize) -> String {
        let names: Vec<String> = self.finishes[finish].outputs.iter().map(|(spec, _)| spec.to_string()).collect();
        names.join(", ")
    }
}

/// A part of a picture, in its pixels.
fn part(region: Region) -> String {
    let Region { left_px, top_px, width_px, height_px } = region;
    let digits = |value: f64| (value * 1000.0).round() / 1000.0;
    format!("{}x{} at {},{}", digits(width_px), digits(height_px), digits(left_px), digits(top_px))
}
