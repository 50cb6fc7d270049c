//! Blobs of commits whose outcome was not known, settled while the service runs: a full disk must not stay full of what was refused.

use std::sync::Arc;

use crate::{
    catalog::Catalog,
    store::{BlobStore, Doubts},
};

use super::BATCH;

/// What is in doubt, and where it is settled.
pub struct Doubtful {
    /// The list.
    pub doubts: Doubts,
    /// Bytes.
    pub store: Arc<dyn BlobStore>,
    /// Rows.
    pub catalog: Arc<dyn Catalog>,
}

impl Doubtful {
    /// Removes those that no row refers to; returns how many blobs that were. What cannot be told or removed yet stays on the list.
    ///
    /// # Cancel safety
    /// When dropped, some may be off the list without being removed; the repair after the next start finds them.
    pub async fn settle(&self) -> usize {
        let doubtful = self.doubts.take();
        // A commit that goes through takes the place of the failed one in the log: from then on it is certain that this one is not coming back.
        if doubtful.is_empty() || self.catalog.ping().await.is_err() {
            self.doubts.add(doubtful);
            return 0;
        }
        let mut removed = 0;
        for batch in doubtful.chunks(BATCH) {
            let Ok(live) = self.catalog.live_blobs(batch).await else {
                self.doubts.add(batch.iter().copied());
                continue;
            };
            for blob in batch.iter().filter(|blob| !live.contains(blob)) {
                match self.store.delete(*blob).await {
                    Ok(()) => removed += 1,
                    Err(_) => self.doubts.add([*blob]),
                }
            }
        }
        removed
    }
}
