//! Deleting for a client: rows first, in one transaction, then everybody who holds something of them is told, then files.
//!
//! Knows no HTTP. The invariant: no file goes before the commit that made its blob dead, and none is forgotten, as the
//! rows of dead blobs go last. What a crash leaves in between is found at the next start (`upkeep`).

use std::sync::Arc;

use tracing::{info, warn};

use crate::{
    catalog::{Catalog, CatalogError, Deletion, Erased, Subject},
    clock::Clock,
    deliver::Deliver,
    domain::{BlobId, ImageId, UploadId},
    follow::{Event, Follow, What},
    queue::Queue,
    store::BlobStore,
    telemetry::error_chain,
};

/// What the eraser works with.
#[derive(Clone)]
pub struct Parts {
    /// Rows.
    pub catalog: Arc<dyn Catalog>,
    /// Bytes.
    pub store: Arc<dyn BlobStore>,
    /// Stops the work at deleted jobs.
    pub queue: Queue,
    /// Forgets deleted variants.
    pub deliver: Arc<Deliver>,
    /// Wakes who waits for a deleted upload.
    pub follow: Follow,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// What is to be deleted.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// An upload with its images.
    Upload(UploadId),
    /// One image.
    Image(ImageId),
}

/// Deletes uploads and images; cheap to clone.
#[derive(Clone)]
pub struct Eraser(Parts);

/// What a wish to delete came to, for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is gone, durably.
    Done,
    /// It was gone before.
    Gone,
    /// It never was.
    Unknown,
}

impl Eraser {
    /// An eraser over these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(parts)
    }

    /// Deletes `target`. When this returns its rows are gone durably and its files are unlinked, but for those that could
    /// not be; they are tried again at the next start.
    ///
    /// # Errors
    /// When the catalog fails; then nothing was deleted.
    ///
    /// # Cancel safety
    /// Once polled, the deletion goes on to its end even when this future is dropped.
    pub async fn erase(&self, target: Target) -> Result<Outcome, CatalogError> {
        let this = self.clone();
        let erasing = tokio::spawn(async move { this.run(target).await });
        erasing.await.unwrap_or_else(|died| Err(CatalogError::Backend(died.into())))
    }

    async fn run(&self, target: Target) -> Result<Outcome, CatalogError> {
        let Parts { catalog, queue, deliver, follow, clock, .. } = &self.0;
        let deletion = match target {
            Target::Upload(id) => catalog.delete_upload(id, clock.now()).await?,
            Target::Image(id) => catalog.delete_image(id, clock.now()).await?,
        };
        let erased = match deletion {
            Deletion::Done(erased) => erased,
            Deletion::Gone => return Ok(Outcome::Gone),
            Deletion::Unknown => return Ok(Outcome::Unknown),
        };
        deliver.erased(&erased);
        queue.erased(&erased);
        let is_gone = match target {
            Target::Upload(_) => true,
            // Also where nobody can say: who follows it is woken and looks.
            Target::Image(_) => catalog.was_deleted(Subject::Upload(erased.upload)).await.unwrap_or_default(),
        };
        if is_gone {
            follow.tell(Event { upload: Some(erased.upload), at: clock.now(), what: What::UploadDeleted });
        } else {
            follow.changed(erased.upload);
        }
        let Erased { upload, images, cancelled, dead, .. } = &erased;
        info!(upload.id = %upload, images = images.len(), cancelled = cancelled.len(), blobs = dead.len(), "deleted");
        self.remove(dead).await;
        Ok(Outcome::Done)
    }

    /// Unlinks the files of dead blobs, then forgets their rows.
    async fn remove(&self, dead: &[BlobId]) {
        let mut removed = Vec::with_capacity(dead.len());
        for blob in dead {
            match self.0.store.delete(*blob).await {
                Ok(()) => removed.push(*blob),
                Err(error) => warn!(%blob, error = %error_chain(&error), "could not remove a deleted file; the next start tries again"),
            }
        }
        if let Err(error) = self.0.catalog.purge_blobs(&removed).await {
            warn!(error = %error_chain(&error), "could not forget deleted blobs; the next start tries again");
        }
    }
}
