//! What is held at each stage of a plan, in the order of the work: the same walk `run` makes, with sides instead of pixels.

use super::{Base, Plan};
use crate::{
    codec::{self, Output},
    pixels::Shape,
    probe::Orientation,
    stage,
};
use std::ops::Range;

/// One stage of the work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    pub(super) work: Work,
    /// Everything held while it runs, the source included: an upper bound.
    pub(super) held_bytes: u64,
}

/// What is worked on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// Reading the source, and resampling its rows into bases.
    Decode,
    /// Making a base from a larger one.
    Resize(usize),
    /// Turning a base and converting its colours.
    Settle(usize),
    /// Step `.1` of finish `.0`.
    Step(usize, usize),
    /// Writing output `.1` of finish `.0`.
    Encode(usize, usize),
}

/// All stages in order.
pub(super) fn stages(plan: &Plan, source_bytes: u64) -> Vec<Stage> {
    walked(plan, source_bytes, false)
}

/// Most bytes held where every base is made before the first finish.
pub(crate) fn bases_first_bytes(plan: &Plan, source_bytes: u64) -> u64 {
    walked(plan, source_bytes, true).iter().map(|stage| stage.held_bytes).max().unwrap_or(source_bytes)
}

/// Most bytes held beside the bases while a finish is worked on and some of its outputs are written. `own` says that its base is used up
/// and no longer among them.
pub(crate) fn finish_bytes(plan: &Plan, finish: usize, outputs: Range<usize>, own: bool) -> u64 {
    finishing(plan, finish, outputs, own).iter().map(|(_, bytes)| *bytes).max().unwrap_or(0)
}

fn walked(plan: &Plan, source_bytes: u64, bases_first: bool) -> Vec<Stage> {
    let mut walk = Walk { plan, stages: Vec::new(), live_bytes: source_bytes + plan.carried_bytes(), made: vec![false; plan.bases.len()] };
    let roots = || plan.bases.iter().enumerate().filter(|(_, base)| base.parent.is_none());
    let feeding = roots().map(|(_, base)| root_bytes(plan, base)).sum::<u64>();
    if plan.frames > 0 {
        walk.live_bytes += moving_bytes(plan);
        walk.stage(Work::Decode, feeding);
    } else if !(plan.reads_no_still()) {
        walk.stage(Work::Decode, codec::decode_working_bytes(&plan.probe, plan.reading) + feeding + plan.facts_bytes());
    }
    walk.live_bytes += roots().map(|(_, base)| base.resized.bytes()).sum::<u64>();
    for (index, _) in roots() {
        walk.settle(index);
    }
    let mut uses: Vec<usize> = plan.bases.iter().map(|base| base.uses).collect();
    if bases_first {
        for index in 0..plan.bases.len() {
            walk.make(index, &mut uses);
        }
    }
    for &finish in &plan.order {
        walk.finish(finish, &mut uses);
    }
    walk.stages
}

/// Bytes held beside the source from the first frame of an animation to the last: canvases, and the files that grow.
pub(crate) fn moving_bytes(plan: &Plan) -> u64 {
    let file = |(finish, output): (&super::Finish, Output)| {
        let frames = if output.max_frames == 0 { plan.frames } else { output.max_frames.min(plan.frames) };
        codec::moving_held_bytes(finish.result, u64::from(frames), output)
    };
    let outputs = plan.finishes.iter().flat_map(|finish| finish.outputs.iter().map(move |(_, output)| (finish, *output)));
    codec::frames_bytes(&plan.probe).saturating_add(outputs.map(file).fold(0, u64::saturating_add))
}

/// Bytes held for a base while its rows come in, itself included.
pub(crate) fn root_bytes(plan: &Plan, base: &Base) -> u64 {
    base.resized.bytes() + stage::resize::feed_bytes(plan.decoded, base.region, base.resized, base.kernel, base.linear_light)
}

/// Bytes held beside a base while it is turned and its colours are converted.
pub(crate) fn settle_bytes(base: &Base) -> u64 {
    let turned = Shape { layout: base.resized.layout, ..base.shape() };
    let turning = if base.transform.swaps_sides() {
        base.resized.bytes()
    } else if base.transform == Orientation::Upright {
        0
    } else {
        u64::from(base.resized.width_px) * 64
    };
    let converting = if base.to_rgb { base.shape().bytes() } else { 0 };
    let profile = if base.profile { u64::from(turned.width_px) * 8 } else { 0 };
    turning.max(converting).max(profile)
}

/// Bytes held while a picture is written, the file included: with the blocks of its metadata, and once more as they lie in the file.
pub(crate) fn output_bytes(plan: &Plan, shape: Shape, output: Output) -> u64 {
    codec::encode_working_bytes(shape, output) + 2 * output.carry.written_bytes(&plan.probe)
}

/// The stages of a finish, each with what is held beside the bases.
fn finishing(plan: &Plan, index: usize, outputs: Range<usize>, own: bool) -> Vec<(Work, u64)> {
    let finish = &plan.finishes[index];
    let mut shape = plan.bases[finish.base].shape();
    let mut own_bytes = if own { shape.bytes() } else { 0 };
    let mut stages = Vec::with_capacity(finish.steps.len() + outputs.len());
    for (number, step) in finish.steps.iter().enumerate() {
        stages.push((Work::Step(index, number), own_bytes + step.held_bytes(shape, own_bytes == 0)));
        shape = step.after(shape);
        own_bytes = shape.bytes();
    }
    for output in outputs {
        let how = finish.outputs[output].1;
        let bytes = if plan.frames > 0 {
            codec::moving_frame_bytes(shape, how) + 2 * how.carry.written_bytes(&plan.probe)
        } else {
            output_bytes(plan, shape, how)
        };
        stages.push((Work::Encode(index, output), own_bytes + bytes));
    }
    stages
}

struct Walk<'p> {
    plan: &'p Plan,
    stages: Vec<Stage>,
    /// Source, and bases that are still needed.
    live_bytes: u64,
    made: Vec<bool>,
}

impl Walk<'_> {
    fn stage(&mut self, work: Work, more_bytes: u64) {
        self.stages.push(Stage { work, held_bytes: self.live_bytes.saturating_add(more_bytes) });
    }

    /// From the size it has to what others take of it.
    fn settle(&mut self, index: usize) {
        let base = &self.plan.bases[index];
        self.made[index] = true;
        if base.transform != Orientation::Upright || base.to_rgb || base.profile {
            self.stage(Work::Settle(index), settle_bytes(base));
            self.live_bytes = self.live_bytes - base.resized.bytes() + base.shape().bytes();
        }
    }

    fn make(&mut self, index: usize, uses: &mut [usize]) {
        if self.made[index] {
            return;
        }
        let base = &self.plan.bases[index];
        let Some(parent) = base.parent else { return };
        self.make(parent, uses);
        let from = self.plan.bases[parent].shape();
        self.stage(
            Work::Resize(index),
            base.resized.bytes() + stage::resize::feed_bytes(from, base.region, base.resized, base.kernel, base.linear_light),
        );
        self.live_bytes += base.resized.bytes();
        self.release(parent, uses);
        self.settle(index);
    }

    fn release(&mut self, index: usize, uses: &mut [usize]) {
        uses[index] -= 1;
        if uses[index] == 0 {
            self.live_bytes -= self.plan.bases[index].shape().bytes();
        }
    }

    fn finish(&mut self, index: usize, uses: &mut [usize]) {
        let finish = &self.plan.finishes[index];
        self.make(finish.base, uses);
        // The last to need a base may use it up.
        let is_last = uses[finish.base] == 1;
        if is_last {
            self.release(finish.base, uses);
        }
        for (work, more_bytes) in finishing(self.plan, index, 0..finish.outputs.len(), is_last) {
            self.stage(work, more_bytes);
        }
        if !is_last {
            self.release(finish.base, uses);
        }
    }
}
