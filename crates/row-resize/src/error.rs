//! What a job can be refused for. Knows nothing of weights or rows; every refusal comes before anything is allocated.

use std::fmt;

/// Why a [`Job`](crate::Job) cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A side of the source or of the result has no pixels.
    EmptySide,
    /// The region is empty, not finite, or reaches beyond the source.
    Region,
    /// A picture or a buffer would pass the address space.
    TooLarge,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptySide => "a side of the source or of the result has 0 pixels, at least 1 is needed",
            Self::Region => "the region is empty or reaches beyond the source",
            Self::TooLarge => "the picture is too large for the address space",
        })
    }
}

impl std::error::Error for Error {}
