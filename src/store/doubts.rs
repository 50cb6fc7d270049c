//! Blobs of which it is not known whether a row refers to them: their commit failed half-way, or they could not be removed.
//!
//! They must not be deleted on the spot: a commit whose sync failed may be there after all once the service was restarted. Upkeep settles them
//! as soon as a later commit has gone through, since then the catalog tells for certain. Should the process end before, the orphan sweep of the next
//! start does the same. Knows neither catalog nor files.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::BlobId;

/// The list, shared by those who add to it and the one who settles it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Doubts(Arc<Mutex<Vec<BlobId>>>);

impl Doubts {
    /// Notes blobs whose commit was answered with an error: nothing will refer to them that does not already.
    pub fn add(&self, blobs: impl IntoIterator<Item = BlobId>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(blobs);
    }

    /// All of them, to be settled by the caller, who adds again what it could not settle.
    #[must_use]
    pub fn take(&self) -> Vec<BlobId> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
