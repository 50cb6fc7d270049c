//! pixmill: a self-hosted upload-and-process image service.
//!
//! The rooms and what each may use are drawn in `docs/ARCHITECTURE.md`; `tests/it/tidy.rs` holds them to it.

pub mod catalog;
pub mod clock;
pub mod domain;
pub mod ingest;
pub mod store;
