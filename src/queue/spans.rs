//! An attempt at a job as spans: the wait, reading, decoding, and each task with its steps.
//!
//! Ids follow from those of job, task and claim, so that nothing has to be kept for them and a later process goes on with the same trace. Knows nothing of
//! who takes spans.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use image_pipeline::Operation;
use uuid::Uuid;

use crate::{
    catalog::{ClaimedJob, JobTiming, TaskTiming},
    domain::{JobId, TaskCode, span_id},
    telemetry::{Fact, Kind, Span, Traces},
};

use super::recording::{EndedTask, Progress};

/// Hands an attempt that ended over, with the tasks that ended in it.
pub(super) fn hand_over(traces: &Traces, job: &ClaimedJob, progress: &Progress, timing: &JobTiming, peak_bytes: u64) {
    // One that is cut short by a stop does not count, and comes again under the same number.
    let again = progress.passing.as_ref();
    if !traces.is_on() || again.is_some_and(|reason| reason.code == TaskCode::Cancelled) {
        return;
    }
    let (started, took) = (progress.started, progress.started.elapsed());
    // It may have waited longer than this machine is up, and than there are instants.
    let queued = started.checked_sub(timing.queue).unwrap_or(started);
    let trace = trace_of(job);
    let id = |step| step_id(job.lease.job.uuid(), job, step);
    let failed = || progress.samples.iter().find(|task| task.outcome != COMPLETED).map(|task| format!("{}: {}", task.outcome, task.detail));
    traces.send(Span {
        parent: job.origin.map(|origin| span_id(origin.request)),
        kind: Kind::Consumer,
        error: again.map(|reason| format!("{}: {}", reason.code, reason.detail)).or_else(failed),
        facts: job_facts(job, peak_bytes),
        ..span(trace, id(WHOLE), "job", queued, started - queued + took)
    });
    let within = Some(id(WHOLE));
    for (step, name, start, took) in [
        (QUEUE, "queue", queued, started - queued),
        (READ, "read", started, timing.read),
        (DECODE, "decode", started + timing.read, timing.decode),
    ] {
        // It broke off in there, or needed nothing of it.
        if step == QUEUE || !took.is_zero() {
            traces.send(Span { parent: within, ..span(trace, id(step), name, start, took) });
        }
    }
    for ended in &progress.samples {
        hand_over_task(traces, job, (trace, within), ended, started);
    }
}

/// A task and its steps, laid one behind the other up to its end: how long each took is what was measured of them.
fn hand_over_task(traces: &Traces, job: &ClaimedJob, (trace, within): ([u8; 16], Option<u64>), ended: &EndedTask, started: Instant) {
    let task = &job.tasks[ended.index];
    let id = |step| step_id(task.id.uuid(), job, step);
    let operation = Operation::of_canonical(&task.spec).as_str();
    let TaskTiming { transform, encode, store } = ended.timing;
    let took = (transform + encode + store).min(ended.total);
    let mut at = started + (ended.total - took);
    traces.send(Span {
        parent: within,
        error: (ended.outcome != COMPLETED).then(|| format!("{}: {}", ended.outcome, ended.detail)),
        facts: vec![
            ("pixmill.task.id", task.id.to_string().into()),
            ("pixmill.variant", task.name.to_string().into()),
            ("pixmill.operation", operation.into()),
            ("pixmill.outcome", ended.outcome.into()),
            ("pixmill.format", ended.format.into()),
            ("pixmill.bytes", ended.bytes.into()),
        ],
        ..span(trace, id(WHOLE), format!("task {operation}"), at, took)
    });
    for (step, name, time) in [(TRANSFORM, "transform", transform), (ENCODE, "encode", encode), (STORE, "store", store)] {
        // A task that failed with its whole job was in none of them.
        if !time.is_zero() {
            traces.send(Span { parent: Some(id(WHOLE)), ..span(trace, id(step), name, at, time) });
        }
        at += time;
    }
}

const COMPLETED: &str = "completed";

/// Which part of a job or task a span is: two bits of its id.
type Step = u64;
const WHOLE: Step = 0;
const QUEUE: Step = 1;
const READ: Step = 2;
const DECODE: Step = 3;
const TRANSFORM: Step = 1;
const ENCODE: Step = 2;
const STORE: Step = 3;

/// Differs for each step of a job or task, and from those of other claims of it and of others as far as their random bits do; never 0.
fn step_id(of: Uuid, claimed: &ClaimedJob, step: Step) -> u64 {
    let mixed = span_id(of) ^ span_id(claimed.lease.token.uuid());
    mixed & !0b11 | step | 1 << 63
}

fn span(trace: [u8; 16], id: u64, name: impl Into<Cow<'static, str>>, start: Instant, took: Duration) -> Span {
    Span { trace, id, parent: None, name: name.into(), kind: Kind::Internal, start, took, error: None, facts: vec![] }
}

/// That of the request's client, or the request, or of the job alone.
fn trace_of(job: &ClaimedJob) -> [u8; 16] {
    let own = |job: JobId| job.uuid().into_bytes();
    job.origin.map_or_else(|| own(job.lease.job), |origin| origin.trace_or_own())
}

fn job_facts(job: &ClaimedJob, peak_bytes: u64) -> Vec<(&'static str, Fact)> {
    let mut facts = vec![
        ("pixmill.job.id", job.lease.job.to_string().into()),
        ("pixmill.image.id", job.image.to_string().into()),
        ("pixmill.upload.id", job.upload.to_string().into()),
        ("pixmill.priority", job.priority.as_str().into()),
        ("pixmill.attempt", u64::from(job.attempt).into()),
        ("pixmill.source_bytes", job.bytes.into()),
        ("pixmill.peak_bytes", peak_bytes.into()),
    ];
    facts.extend(job.origin.map(|origin| ("pixmill.request.id", origin.request.to_string().into())));
    facts
}
