//! What of the service's room of this name is fuzzed; their paths to other rooms are the same here as there.

#[allow(dead_code, missing_docs)]
#[path = "../../../src/ingest/disposition.rs"]
mod disposition;
#[allow(dead_code, missing_docs)]
#[path = "../../../src/ingest/media_type.rs"]
mod media_type;
#[allow(dead_code, missing_docs)]
#[path = "../../../src/ingest/parser.rs"]
pub mod parser;

pub use disposition::{display_name, parse_disposition};
pub use media_type::boundary;
