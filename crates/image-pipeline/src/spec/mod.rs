//! Options as text -> a canonical [`Spec`]; every option, its range, its aliases. Knows nothing of pixels.
//!
//! Invariant: a `Spec` that came from text holds only values the option table allows, and
//! `Spec::parse(&spec.canonical(), &presets)` gives it back unchanged.

mod args;
mod canonical;
mod error;
mod format;
mod model;
mod options;
mod parse;
mod presets;
#[cfg(test)]
mod tests;

pub use error::SpecError;
pub use format::DEFAULT_QUALITY;
pub use model::{Crop, Filters, FormatChoice, Gravity, Length, Output, OutputFormat, Resize, ResizeMode, Rgb, Rotation, Spec};
pub use options::{Arg, ArgKind, OPTIONS, OptionRow};
pub use presets::Presets;
