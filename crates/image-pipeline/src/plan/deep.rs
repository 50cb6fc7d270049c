//! Results that keep all 16 bits of their source: each is made from a decode of its own, of the whole picture. The others know nothing of it.

use super::{Base, Finish, Plan, explain::StageCost};
use crate::codec::{self, Output};
use crate::deep::{Deep, deep_bytes};
use crate::pixels::Shape;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct DeepPart {
    /// The part of the source, its sides and its turn; the layout is not meant.
    pub(crate) base: Base,
    /// Without steps, and with a single output.
    pub(crate) finish: Finish,
}

impl DeepPart {
    /// The index of its spec, and how it is written.
    pub(crate) fn output(&self) -> (usize, Output) {
        self.finish.outputs[0]
    }
}

/// Bytes held while the picture is decoded, it included, beside the source.
pub(crate) fn decoding_bytes(plan: &Plan) -> u64 {
    codec::decode_working_bytes(&plan.probe, plan.reading) + whole_bytes(plan)
}

/// Bytes of the decoded picture.
pub(crate) fn whole_bytes(plan: &Plan) -> u64 {
    deep_bytes(plan.probe.width_px, plan.probe.height_px, codec::deep_channels(&plan.probe))
}

/// Bytes of the result; turning does not change them.
pub(crate) fn result_bytes(plan: &Plan, part: &DeepPart) -> u64 {
    let Shape { width_px, height_px, .. } = part.base.resized;
    deep_bytes(width_px, height_px, codec::deep_channels(&plan.probe))
}

/// Bytes held while it is resized beside the decoded picture, it included.
pub(crate) fn resizing_bytes(plan: &Plan, part: &DeepPart) -> u64 {
    let from = (plan.probe.width_px, plan.probe.height_px);
    result_bytes(plan, part) + Deep::resizing_bytes(from, part.base.resized.width_px, codec::deep_channels(&plan.probe))
}

/// Bytes held beside the result while it is written, the file included.
pub(crate) fn writing_bytes(plan: &Plan, part: &DeepPart) -> u64 {
    /// The deflater's tables, rows with every filter.
    const FIXED: u64 = 1 << 20;
    // What is filtered, and what is packed.
    FIXED + 2 * result_bytes(plan, part) + 2 * part.output().1.carry.written_bytes(&plan.probe)
}

/// Most bytes held at one time for a part, the source included.
pub(crate) fn held_bytes(plan: &Plan, part: &DeepPart, source_bytes: u64) -> u64 {
    let result = result_bytes(plan, part);
    let stages = [decoding_bytes(plan), whole_bytes(plan) + resizing_bytes(plan, part), 2 * result, result + writing_bytes(plan, part)];
    source_bytes + plan.carried_bytes() + stages.into_iter().max().unwrap_or(0)
}

/// A part in words, and what it takes.
pub(super) fn described(plan: &Plan, part: &DeepPart, source_bytes: u64) -> (String, StageCost) {
    let (index, output) = part.output();
    let Shape { width_px, height_px, .. } = part.finish.result;
    let text = format!("variant {index}: decode, resize and encode {} {width_px}x{height_px}, 16 bit", output.format.as_str());
    let (from, to) = (plan.probe.pixels(), part.finish.result.pixels());
    let time_ns = source_bytes * 2 + from * 12 + to * 60;
    (text, StageCost { time_ns, held_bytes: held_bytes(plan, part, source_bytes) })
}
