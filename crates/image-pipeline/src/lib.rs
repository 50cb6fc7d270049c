//! Bytes in, image variants out: option grammar, probing, planning and running, all under limits.
//!
//! No files, network, threads, environment or wall clock here: the caller brings bytes, a deadline and a cancel flag.
#![allow(dead_code)]

mod codec;
mod error;
mod limits;
mod pixels;
mod probe;
mod spec;
mod stage;

pub use error::{Error, ErrorKind};
pub use limits::Limits;
pub use probe::{Format, Orientation, Probe, probe, sniff};
pub use spec::*;

/// Part of every variant's identity: raised when the same input and spec would give other bytes than before.
pub const PIPELINE_VERSION: u32 = 1;
