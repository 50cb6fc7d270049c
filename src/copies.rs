//! Copies of bytes that are stored already, after their rows: which of the two stays.
//!
//! Knows nothing of uploads and jobs, which both bring copies. The invariant: a good copy is never removed in favour of a file that is not there
//! or is damaged. Nothing here fails: the rows are committed, and what cannot be settled now goes to the doubts, which upkeep settles.

use tracing::warn;

use crate::{
    catalog::Catalog,
    domain::BlobId,
    store::{BlobStore, Doubts, holds},
    telemetry::error_chain,
};

/// A copy that was just stored and that no row refers to.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    /// Where it is.
    pub blob: BlobId,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Their number.
    pub bytes: u64,
}

/// Where copies are settled.
#[derive(Clone, Copy)]
pub struct Copies<'a> {
    /// Bytes.
    pub store: &'a dyn BlobStore,
    /// Rows.
    pub catalog: &'a dyn Catalog,
    /// Takes what cannot be settled now.
    pub doubts: &'a Doubts,
}

impl Copies<'_> {
    /// Drops a copy whose bytes are in `kept` already; should the file of that be lost or damaged, the copy takes its place for all that share it.
    ///
    /// # Cancel safety
    /// When dropped, the copy may be left without a row; the repair after the next start finds it.
    pub async fn settle(&self, copy: &Copied, kept: Option<BlobId>) {
        if let Some(kept) = kept.filter(|kept| *kept != copy.blob)
            // What cannot be read counts as lost: a copy too many does no harm.
            && !holds(self.store, kept, copy.bytes, copy.sha256).await.unwrap_or(false)
        {
            match self.catalog.replace_blob(kept, copy.blob).await {
                Ok(true) => {
                    warn!(lost = %kept, fresh = %copy.blob, "a stored file was missing or damaged; the same bytes came again and replace it");
                    return self.forget(kept).await;
                }
                // Not live any more: somebody else replaced it, or it was deleted.
                Ok(false) => {}
                Err(error) => {
                    // It may refer to the copy all the same.
                    warn!(lost = %kept, fresh = %copy.blob, error = %error_chain(&error), "could not replace a file that is missing or damaged");
                    return self.doubts.add([copy.blob]);
                }
            }
        }
        self.remove(copy.blob).await;
    }

    /// Removes a blob that no row refers to.
    pub async fn remove(&self, blob: BlobId) {
        if let Err(error) = self.store.delete(blob).await {
            warn!(%blob, error = %error_chain(&error), "could not remove a blob that is not needed, trying again later");
            self.doubts.add([blob]);
        }
    }

    /// Removes what is left of a dead blob, then its row.
    pub async fn forget(&self, dead: BlobId) {
        if let Err(error) = self.store.delete(dead).await {
            return warn!(blob = %dead, error = %error_chain(&error), "could not remove a dead blob; the next start tries again");
        }
        if let Err(error) = self.catalog.purge_blobs(&[dead]).await {
            warn!(blob = %dead, error = %error_chain(&error), "could not forget a dead blob; the next start tries again");
        }
    }
}
