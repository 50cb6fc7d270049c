//! What a catalog is to the files that lie beside it: theirs, or an older one that somebody put in its place.

use crate::domain::Timestamp;

/// Whether a catalog is the one that was last in use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is: whatever it does not know was never committed, or was deleted.
    Newest,
    /// It is from before: what it does not know may be the only copy of what a newer catalog knows.
    Older,
    /// Nothing was noted that would tell.
    Unknown,
}

/// What is known of the time before this start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// As it was found.
    pub standing: Standing,
    /// Files from before this are kept, also those that no row names: an older catalog was found here then.
    pub keep_before: Option<Timestamp>,
}
