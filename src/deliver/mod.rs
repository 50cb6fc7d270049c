//! Finding what to send: the original or a named variant, from an in-memory index, else from the catalog.
//!
//! Variants are write-once, so an entry goes stale only when its image is deleted, and is forgotten then. No SQL once an
//! entry is in the index. Knows no framework.

mod checked;
mod conditional;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::sync::Cache;

use crate::{
    catalog::{Catalog, CatalogError, Erased, JobView, TaskView},
    domain::{BlobId, ImageId, TaskState, Timestamp, VariantName, hex, media},
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
    /// When it goes by itself, if ever.
    pub expires_at: Option<Timestamp>,
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
    /// Counts deletions, so that what was read from the catalog before one is not remembered after it.
    erasures: AtomicU64,
}

impl Deliver {
    /// An empty index.
    #[must_use]
    pub fn new(catalog: Arc<dyn Catalog>, store: Arc<dyn BlobStore>) -> Self {
        Self { catalog, store, index: Cache::new(INDEX_ENTRIES), erasures: AtomicU64::new(0) }
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
        let erasures = self.erasures.load(Ordering::SeqCst);
        let Some(view) = self.catalog.image(image).await? else { return Ok(Found::Missing) };
        let entry = Servable {
            blob: view.blob,
            bytes: view.bytes,
            etag: etag(&view.sha256),
            sha256: view.sha256,
            format: view.format,
            filename: view.filename.as_deref().map(|name| media::stem(name).to_owned()),
            expires_at: self.catalog.expires_at(view.upload).await?,
        };
        Ok(Found::Ready(self.remember(key, entry, erasures)))
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
        let erasures = self.erasures.load(Ordering::SeqCst);
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
                    expires_at: self.catalog.expires_at(view.job.upload).await?,
                };
                Ok(Found::Ready(self.remember(key, entry, erasures)))
            }
            (TaskState::Queued | TaskState::Running | TaskState::Completed, _) => Ok(Found::InWork(Box::new(view.job))),
            (TaskState::Failed | TaskState::Cancelled, _) => Ok(Found::Failed(Box::new((view.task, view.job)))),
        }
    }

    fn remember(&self, key: Key, entry: Servable, erasures: u64) -> Arc<Servable> {
        let entry = Arc::new(entry);
        self.index.insert(key.clone(), Arc::clone(&entry));
        // A deletion that began to forget before the insertion is seen here; one that begins later finds the entry.
        if self.erasures.load(Ordering::SeqCst) != erasures {
            self.index.remove(&key);
        }
        entry
    }

    /// Forgets what was deleted; to be called once that is committed.
    pub fn erased(&self, erased: &Erased) {
        self.erasures.fetch_add(1, Ordering::SeqCst);
        for image in &erased.images {
            self.index.remove(&Key::Original(image.id));
            for name in &image.variants {
                self.index.remove(&Key::Variant(image.id, name.clone()));
            }
        }
    }

    /// Forgets one entry, whose bytes were not where it says: the next look-up asks the catalog.
    pub fn forget(&self, image: ImageId, name: Option<&VariantName>) {
        self.index.remove(&name.map_or(Key::Original(image), |name| Key::Variant(image, name.clone())));
    }

    /// Notes that bytes the catalog counts on are not there. The first to notice logs it.
    pub async fn note_missing(&self, servable: &Servable) {
        match self.catalog.mark_missing(&[servable.blob]).await {
            Ok(news) if news.is_empty() => {}
            Ok(_) => tracing::error!(blob = %servable.blob, "the file of a stored image or variant is missing"),
            Err(error) => tracing::warn!(blob = %servable.blob, %error, "could not mark a missing file"),
        }
    }

    /// The bytes of `range` (all of them when absent). A whole file is hashed in passing: the piece that completes it is given only when all are
    /// what was stored, so that a damaged file never arrives complete. A range cannot be checked.
    ///
    /// # Errors
    /// When the store fails, the blob is gone or not as long as it was, or it is found damaged before a byte was sent (always, when it fits one piece).
    pub async fn open(&self, servable: &Servable, range: Option<Range<u64>>) -> Result<BlobRead, StoreError> {
        let whole = range.is_none();
        let read = match self.store.open(servable.blob, range).await {
            // Cut short before the range's end.
            Err(StoreError::Damaged(..)) => return Err(StoreError::NotFound(servable.blob)),
            opened => opened?,
        };
        if read.total_bytes != servable.bytes {
            // Cut short: what is left would go out under the wrong length and tag. For clients and for the repair that is as good as gone.
            return Err(StoreError::NotFound(servable.blob));
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

    #[tokio::test]
    async fn what_was_read_before_a_deletion_is_not_remembered_after_it() {
        let folder = tempfile::tempdir().expect("temp folder");
        let catalog = crate::catalog::sqlite::SqliteCatalog::open(&folder.path().join("catalog.db")).await.expect("opens");
        let store = crate::store::LocalStore::open(folder.path().join("blobs")).expect("opens");
        let deliver = Deliver::new(Arc::new(catalog), Arc::new(store));
        let id = |n| uuid::Uuid::from_u128(n);
        let (gone, other) = (ImageId::from_uuid(id(1)), ImageId::from_uuid(id(2)));
        let name: VariantName = "v".parse().expect("a name");
        let entry = Servable {
            blob: BlobId::from_uuid(id(3)),
            bytes: 1,
            sha256: [0; 32],
            etag: etag(&[0; 32]),
            format: "png".into(),
            filename: None,
            expires_at: None,
        };
        let keys = [Key::Original(gone), Key::Variant(gone, name.clone()), Key::Original(other)];
        for key in &keys {
            deliver.remember(key.clone(), entry.clone(), 0);
        }
        deliver.erased(&Erased {
            upload: crate::domain::UploadId::from_uuid(id(4)),
            images: vec![crate::catalog::ErasedImage { id: gone, variants: vec![name] }],
            running: Vec::new(),
            queued_jobs: 0,
            cancelled: Vec::new(),
            left: None,
            dead: Vec::new(),
        });
        let there = || keys.iter().map(|key| deliver.index.get(key).is_some()).collect::<Vec<_>>();
        assert_eq!(there(), [false, false, true]);
        // Looked up before, remembered late.
        deliver.remember(keys[0].clone(), entry.clone(), 0);
        assert_eq!(there(), [false, false, true]);
        deliver.remember(keys[0].clone(), entry, 1);
        deliver.forget(other, None);
        assert_eq!(there(), [true, false, false]);
    }

    #[test]
    fn tags_are_quoted_and_differ() {
        assert_eq!(etag(&[0xab; 32]), format!("\"{}\"", "ab".repeat(16)));
        assert_ne!(etag(&[1; 32]), etag(&[2; 32]));
    }
}
