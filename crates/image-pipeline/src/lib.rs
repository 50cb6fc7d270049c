//! Bytes in, image variants out: option grammar, probing, planning and running, all under limits.
#![allow(dead_code)]
mod pixels;
mod spec;
pub use spec::*;
