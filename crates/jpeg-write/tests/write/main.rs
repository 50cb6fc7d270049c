//! What the encoder promises, seen from outside: files that two decoders read alike, and that look like their source.
#![allow(missing_docs, reason = "a test binary")]

mod agreement;
mod fixture;
mod memory;
mod refused;
