//! Bytes in, image variants out: option grammar, probing, planning and running, all under limits.
//!
//! No files, network, threads, environment or wall clock here: the caller brings bytes, a deadline and a cancel flag.
//!
//! The way of the data: [`Spec::parse`] reads options; [`probe()`] reads a header; [`plan()`] turns both into one decode
//! and an ordered list of stages with a memory estimate; [`run()`] does the work and hands out each variant as it ends.

mod codec;
mod deep;
mod error;
mod facts;
mod limits;
mod metadata;
mod pixels;
mod plan;
mod probe;
mod run;
mod simd;
mod spec;
mod stage;
mod watch;

pub use error::{Error, ErrorKind};
pub use facts::{Camera, Facts, Swatch};
pub use limits::Limits;
pub use plan::{Plan, PlanStage, StageCost, plan, plan_with};
pub use probe::{Format, Orientation, Probe, probe, sniff};
pub use run::{Context, Encoded, RunReport, Spare, VariantOutcome, run};
pub use spec::*;
pub use stage::overlay::Watermarks;

/// Part of every variant's identity: raised when the same input and spec would give other bytes than before.
pub const PIPELINE_VERSION: u32 = 6;
