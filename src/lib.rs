//! pixmill: a self-hosted upload-and-process image service.
//!
//! The rooms and what each may use are drawn in `docs/ARCHITECTURE.md`; `tests/it/tidy.rs` holds them to it.

pub mod app;
pub mod backup;
pub mod batch;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod compute;
pub mod config;
pub mod copies;
pub mod deliver;
pub mod domain;
pub mod erase;
pub mod facts;
pub mod follow;
pub mod further;
pub mod heap;
pub mod http;
pub mod ingest;
pub mod order;
pub mod profile;
pub mod queue;
pub mod signals;
pub mod store;
pub mod telemetry;
pub mod upkeep;
