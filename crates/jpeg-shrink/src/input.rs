//! The bytes of a file as far as they have come.
//!
//! Knows nothing of what they mean.

use crate::error::Error;

/// A part of a file, or all of it.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
    /// Offset in the file of the first of them.
    pub(crate) base: usize,
    /// Whether nothing comes behind them.
    pub(crate) complete: bool,
}

impl<'a> Input<'a> {
    pub(crate) fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, base: 0, complete: true }
    }

    /// Offset in the file behind the last byte.
    pub(crate) fn end(&self) -> usize {
        self.base + self.bytes.len()
    }

    /// The bytes from offset `at` of the file on; none where those are not there.
    pub(crate) fn after(&self, at: usize) -> &'a [u8] {
        at.checked_sub(self.base).and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }
}

/// Why decoding does not go on.
#[derive(Debug)]
pub(crate) enum Pause {
    /// More of the input is needed; nothing was lost.
    Starved,
    /// For good.
    Fault(Error),
}

impl From<Error> for Pause {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}
