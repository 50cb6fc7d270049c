//! Options as text -> a canonical [`Spec`]; every option, its range, its aliases. Knows nothing of pixels.
//!
//! Invariant: a `Spec` that came from text holds only values the option table allows, and
//! `Spec::parse(&spec.canonical(), &presets)` gives it back unchanged.

mod args;
mod canonical;
mod error;
mod format;
mod model;
mod operation;
mod options;
mod parse;
mod passes;
mod presets;
mod surround;
#[cfg(test)]
mod tests;
mod text;
mod words;

pub(crate) use args::is_name;
pub use error::SpecError;
pub use format::{DEFAULT_EFFORT, DEFAULT_QUALITY};
pub use model::{
    Anchor, Border, Crop, Filters, FormatChoice, Frame, Gravity, KeptMetadata, Kernel, Length, Output, OutputFormat, Padding, Pass, Place,
    Resize, ResizeMode, Rgb, Rotation, Spec, TextMark, Trim, Watermark,
};
pub use operation::Operation;
pub use options::{Arg, ArgKind, OPTIONS, OptionRow};
pub use presets::Presets;
