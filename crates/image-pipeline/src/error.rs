//! The one error of the pipeline: whose fault, in which stage, of which format, and a text that may go out.
//!
//! The text never holds bytes of the image, addresses or names of files; what a decoder said is kept apart as the source.

use crate::probe::Format;
use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

/// What a caller branches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes break the rules of their format.
    Malformed,
    /// The bytes end too early; of a head slice: more are needed.
    Truncated,
    /// Not a format we read, or a kind of it we do not read.
    Unsupported,
    /// More pixels than allowed.
    TooManyPixels,
    /// More frames than allowed.
    TooManyFrames,
    /// Another limit: bytes, memory, side of a result.
    LimitExceeded,
    /// The options cannot be applied to this image.
    InvalidSpec,
    /// The deadline has passed.
    TimedOut,
    /// The caller gave up.
    Cancelled,
    /// Our fault.
    Internal,
}

/// Why an image could not be probed, planned, decoded, changed or written. Cheap to clone: shared runs hand it to every waiter.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    stage: &'static str,
    format: Option<Format>,
    text: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` found in `stage` (`probe`, `plan`, `decode`, …); `text` is outward: lower case, what was found and what is allowed.
    pub(crate) fn new(kind: ErrorKind, stage: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, stage, format: None, text: text.into(), source: None }
    }

    /// The same, of an image of this format.
    #[must_use]
    pub(crate) fn in_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// The same, with what a library said, for logs only.
    #[must_use]
    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What a caller branches on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stage that found it, one lower-case word.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        self.stage
    }

    /// The format of the image, where it was known.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.format
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
