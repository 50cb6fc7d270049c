//! What can go wrong, where in the file, and by whose fault.
//!
//! Texts are for people; callers branch on [`ErrorKind`] only.

use std::{borrow::Cow, fmt};

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes break the format.
    Malformed,
    /// The bytes end before the picture does.
    Truncated,
    /// A kind of JPEG that is not decoded here: arithmetic, lossless, hierarchical, 12 bits, two or more than four components.
    Unsupported,
    /// The picture asks for more than [`Limits`](crate::Limits) allow.
    LimitExceeded,
    /// The caller's buffer does not hold one row.
    BufferTooSmall,
    /// The caller said not to go on.
    Interrupted,
}

/// Why a picture was not decoded, with the place in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    position: usize,
    text: Cow<'static, str>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, position: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, position, text: text.into() }
    }

    pub(crate) fn malformed(position: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Malformed, position, text)
    }

    pub(crate) fn truncated(position: usize) -> Self {
        Self::new(ErrorKind::Truncated, position, "jpeg ends before its picture does")
    }

    pub(crate) fn unsupported(position: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, position, text)
    }

    pub(crate) fn limit(position: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::LimitExceeded, position, text)
    }

    pub(crate) fn interrupted(position: usize) -> Self {
        Self::new(ErrorKind::Interrupted, position, "decoding was interrupted")
    }

    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Offset into the input, in bytes, at or shortly after the fault.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {}", self.text, self.position)
    }
}

impl std::error::Error for Error {}
