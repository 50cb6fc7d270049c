//! The decoder from outside: against a slow obvious twin, against zune-jpeg, on broken input, and on a corpus.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests may read files and the environment")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod chance;
mod corners;
mod corpus;
mod hostile;
mod interrupted;
mod markers;
mod pictures;
mod pieces;
mod recorded;
mod strips;
mod twin;
mod writer;
mod writings;
