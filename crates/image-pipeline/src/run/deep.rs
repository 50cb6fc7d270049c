//! Results that keep 16 bits: read, cut and scaled, turned, written, one after the other. Nothing of them is shared with the others.

use super::{Charge, Encoded, VariantOutcome, Writing};
use crate::{
    codec,
    error::Error,
    metadata::Written,
    plan::deep::{self, DeepPart},
};
use std::time::{Duration, Instant};

/// Makes all such results of the plan and publishes each once.
pub(super) fn run(writing: Writing<'_>, source: &[u8], charge: &mut Charge<'_>, publish: &mut (dyn FnMut(VariantOutcome) + Send)) {
    for part in &writing.plan.deep {
        let started = Instant::now();
        let mut encode = Duration::ZERO;
        let result = make(writing, part, source, charge, &mut encode);
        publish(VariantOutcome { index: part.output().0, result, transform: started.elapsed().saturating_sub(encode), encode });
    }
}

fn make(
    Writing { plan, context, blocks }: Writing<'_>,
    part: &DeepPart,
    source: &[u8],
    charge: &mut Charge<'_>,
    encode: &mut Duration,
) -> Result<Encoded, Error> {
    let (base, (_, output)) = (&part.base, part.output());
    context.check("decode")?;
    charge.hold(deep::decoding_bytes(plan), "decode")?;
    let whole = codec::decode_deep(&plan.probe, source, &plan.limits, context.watch())?;
    context.check("resize")?;
    charge.hold(deep::whole_bytes(plan) + deep::resizing_bytes(plan, part), "resize")?;
    let resized = whole.resized(base.region, base.resized.width_px, base.resized.height_px, base.kernel)?;
    drop(whole);
    context.check("orient")?;
    let result_bytes = deep::result_bytes(plan, part);
    charge.hold(2 * result_bytes, "orient")?;
    let turned = resized.oriented(base.transform)?;
    context.check("encode")?;
    charge.hold(result_bytes + deep::writing_bytes(plan, part), "encode")?;
    let started = Instant::now();
    let (width_px, height_px) = (turned.width_px(), turned.height_px());
    let bytes = codec::encode_deep(turned, &Written::of(blocks, output.carry));
    *encode = started.elapsed();
    Ok(Encoded { bytes: bytes?, width_px, height_px, format: output.format, quality: output.told_quality(), frames: 1 })
}
