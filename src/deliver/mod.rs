//! Finding what to send: the original or a named variant, from an in-memory index, else from the catalog.
//!
//! Variants are write-once, so an entry never goes stale. No SQL once an entry is in the index. Knows no framework.

mod checked;
mod conditional;

use std::{ops::Range, sync::Arc};

use quick_cache::sync::Cache;

use crate::{
    catalog::{Catalog, CatalogError, JobView, TaskView},
    domain::{BlobId, ImageId, TaskState, VariantName, hex, media},
    store::{BlobRead, BlobStore, StoreError},
};

pub use conditional::{Conditions, Selection, select};

/// Entries kept; each is about 300 bytes.
const INDEX_ENTRIES: usize = 100_000;

/// A complete thing that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servable {
    /// Where its bytes are.
    pub blob: BlobId,
    /// Their number.
    pub bytes: u64,
    /// Strong, quoted: the SHA-256 of the bytes.
    pub etag: String,
    /// The same, whole: what is sent is checked against it.
    pub sha256: [u8; 32],
    /// `jpeg`, `png`, …
    pub format: String,
    /// Display name without extension, for saving.
    pub filename: Option<String>,
}

/// What became of a look-up.
#[derive(Clone, Debug)]
pub enum Found {
    /// Here it is.
    Ready(Arc<Servable>),
    /// Still in work.
    InWork(Box<JobView>),
    /// It ended without a result.
    Failed(Box<(TaskView, JobView)>),
    /// No such image or variant.
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Original(ImageId),
    Variant(ImageId, VariantName),
}

/// The index over store and catalog.
pub struct Deliver {
    catalog: Arc<dyn Catalog>,
    store: Arc<dyn BlobStore>,
    index: Cache<Key, Arc<Servable>>,
}

impl Deliver {
    /// An empty index.
    #[must_use]
    pub fn new(catalog: Arc<dyn Catalog>, store: Arc<dyn BlobStore>) -> Self {
        Self { catalog, store, index: Cache::new(INDEX_ENTRIES) }
    }

    /// The stored original of an image.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn original(&self, image: ImageId) -> Result<Found, CatalogError> {
        let key = Key::Original(image);
        if let Some(entry) = self.index.get(&key) {
            return Ok(Found::Ready(entry));
        }
        let Some(view) = self.catalog.image(image).await? else { return Ok(Found::Missing) };
        let entry = Servable {
            blob: view.blob,
            bytes: view.bytes,
            etag: etag(&view.sha256),
            sha256: view.sha256,
            format: view.format,
            filename: view.filename.as_deref().map(|name| media::stem(name).to_owned()),
        };
        Ok(Found::Ready(self.remember(key, entry)))
    }

    /// A named variant of an image.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn variant(&self, image: ImageId, name: &VariantName) -> Result<Found, CatalogError> {
        let key = Key::Variant(image, name.clone());
        if let Some(entry) = self.index.get(&key) {
            return Ok(Found::Ready(entry));
        }
        let Some(view) = self.catalog.variant(image, name).await? else { return Ok(Found::Missing) };
        match (view.task.state, &view.task.result) {
            (TaskState::Completed, Some(result)) => {
                let stem = view.filename.as_deref().map(|file| format!("{}-{name}", media::stem(file)));
                let entry = Servable {
                    blob: result.blob,
                    bytes: result.bytes,
                    etag: etag(&result.sha256),
                    sha256: result.sha256,
                    format: result.format.clone(),
                    filename: stem,
                };
                Ok(Found::Ready(self.remember(key, entry)))
            }
            (TaskState::Queued | TaskState::Running | TaskState::Completed, _) => Ok(Found::InWork(Box::new(view.job))),
            (TaskState::Failed | TaskState::Cancelled, _) => Ok(Found::Failed(Box::new((view.task, view.job)))),
        }
    }

    fn remember(&self, key: Key, entry: Servable) -> Arc<Servable> {
        let entry = Arc::new(entry);
        self.index.insert(key, Arc::clone(&entry));
        entry
    }

    /// The bytes of `range` (all of them when absent). A whole file is hashed in passing: the piece that completes it is given only when all are
    /// what was stored, so that a damaged file never arrives complete. A range cannot be checked.
    ///
    /// # Errors
    /// When the store fails, the blob is gone, or it is found damaged before a byte was sent (always, when it fits one piece).
    pub async fn open(&self, servable: &Servable, range: Option<Range<u64>>) -> Result<BlobRead, StoreError> {
        let whole = range.is_none();
        let read = self.store.open(servable.blob, range).await?;
        if read.total_bytes != servable.bytes {
            let text = format!("it has {} bytes, {} were stored", read.total_bytes, servable.bytes);
            return Err(StoreError::Damaged(servable.blob, text));
        }
        if whole { checked::checked(read, servable).await } else { Ok(read) }
    }
}

/// The strong entity tag of bytes with this hash.
#[must_use]
pub fn etag(sha256: &[u8; 32]) -> String {
    // 128 bits of the hash tell any two results apart.
    format!("\"{}\"", hex(&sha256[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_quoted_and_differ() {
        assert_eq!(etag(&[0xab; 32]), format!("\"{}\"", "ab".repeat(16)));
        assert_ne!(etag(&[1; 32]), etag(&[2; 32]));
    }
}
