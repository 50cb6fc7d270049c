//! Decodes JPEG straight to 1/2, 1/4 or 1/8 of its size (or whole), reading only what that size needs.
mod block;
mod decoder;
mod entropy;
mod error;
mod header;
mod huffman;
mod idct;
mod options;
mod plane;
mod rows;
mod scan;

pub use decoder::Decoder;
pub use error::{Error, ErrorKind};
pub use header::{Coding, ColourModel, Component, Header, Segment, SegmentKind, probe};
pub use options::{Layout, Limits, Options, Outcome, Refinement, Scale};
