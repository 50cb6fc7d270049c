//! What can be wrong with a file, by what a caller can say of it.

use std::fmt;

/// Why there are no (more) rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends before its picture does.
    Truncated,
    /// The file breaks a rule, which is named.
    Malformed(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => out.write_str("the file ends before its picture does"),
            Self::Malformed(rule) => out.write_str(rule),
        }
    }
}

impl std::error::Error for Fault {}
