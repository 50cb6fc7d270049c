//! The very sources of the service that are fuzzed, and no more of it: a build with sanitizers then takes minutes less.

#[allow(dead_code, missing_docs)]
#[path = "../../src/domain/mod.rs"]
pub mod domain;
pub mod ingest;
