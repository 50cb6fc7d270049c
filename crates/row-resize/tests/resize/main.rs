//! Promises of the crate, held from outside: what comes out agrees with the definition, whatever the pieces.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod agreement;
mod light;
mod memory;
mod pieces;
mod shapes;
mod twin;
