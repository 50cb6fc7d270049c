//! Blobs: bytes under a fresh id, durable when a call returns. Paths and buckets are known here and nowhere else.

pub mod contract;
mod disk;
mod doubts;
mod local;

use std::{ops::Range, path::PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream::BoxStream};
use sha2::{Digest as _, Sha256};

use crate::domain::BlobId;

pub use disk::{Disk, DiskFile, Faults, Step};
pub use doubts::Doubts;
pub use local::{LocalStore, Taken, Wanted, make_folder};

/// Errors of a store, as far as a caller can act on them.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such blob.
    #[error("blob {0} is not there")]
    NotFound(BlobId),
    /// No room (ENOSPC, EDQUOT, no inodes).
    #[error("no room left in the store")]
    Full(#[source] std::io::Error),
    /// The bytes are not those that were stored.
    #[error("blob {0} is damaged: {1}")]
    Damaged(BlobId, String),
    /// Anything else; may pass.
    #[error("store failed")]
    Io(#[from] std::io::Error),
}

/// A complete file on the local staging disk, not yet durable. Dropping it unlinks it. It holds no descriptor: a request
/// may bring many files.
#[derive(Debug)]
pub struct Staged {
    /// Unlinks the file when dropped before it was stored.
    pub path: tempfile::TempPath,
    /// Its size.
    pub bytes: u64,
    disk: Disk,
}

/// Room on the disk of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Bytes that can still be written.
    pub bytes: u64,
    /// Files that can still be made, where the file system has a fixed number of them.
    pub files: Option<u64>,
}

impl Staged {
    /// All its bytes. The file is unlinked, on the same trip to a blocking thread.
    ///
    /// # Errors
    /// When it cannot be read.
    ///
    /// # Cancel safety
    /// Dropped at any point it leaves no file.
    pub async fn read(self) -> std::io::Result<Vec<u8>> {
        let reading = tokio::task::spawn_blocking(move || std::fs::read(&self.path));
        reading.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }
}

impl Staged {
    /// All its bytes, read while the file is on its way into the store. Begun at once, not when it is polled: a file that has got its final name
    /// before is not found.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_beside(&self) -> impl Future<Output = std::io::Result<Bytes>> + Send + use<> {
        let (path, disk) = (self.path.to_path_buf(), self.disk.clone());
        let reading = tokio::task::spawn_blocking(move || disk.read(&path));
        async { reading.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) }
    }
}

/// A blob being read.
pub struct BlobRead {
    /// Size of the whole blob.
    pub total_bytes: u64,
    /// The wanted bytes, in pieces of at most 256 KiB.
    pub stream: BoxStream<'static, std::io::Result<Bytes>>,
}

/// Where bytes are kept.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Takes a staged file in: file synced, renamed into place, folder synced, in this order, before it returns.
    ///
    /// # Cancel safety
    /// When dropped, the blob may or may not exist; nothing refers to it and a sweep removes it.
    async fn persist(&self, id: BlobId, staged: Staged) -> Result<(), StoreError>;

    /// Stores bytes, as durably as [`BlobStore::persist`].
    async fn put(&self, id: BlobId, bytes: Bytes) -> Result<(), StoreError>;

    /// Stores many small blobs, each as durably as [`BlobStore::put`] does; what failed says so in its place.
    ///
    /// # Cancel safety
    /// As [`BlobStore::persist`].
    async fn put_many(&self, of: Vec<(BlobId, Bytes)>) -> Vec<Result<(), StoreError>>;

    /// The fresh id `id`, changed so that what is put under it together with `first` costs less than it would elsewhere.
    fn beside(&self, id: BlobId, first: BlobId) -> BlobId;

    /// All bytes of a blob.
    async fn read(&self, id: BlobId) -> Result<Bytes, StoreError>;

    /// All bytes of each of many small blobs.
    async fn read_many(&self, of: Vec<BlobId>) -> Vec<Result<Bytes, StoreError>>;

    /// The bytes of a blob from `range` (whole when absent), as a stream. A range that does not lie inside is [`StoreError::Damaged`]: nobody asks for
    /// more than was stored.
    async fn open(&self, id: BlobId, range: Option<Range<u64>>) -> Result<BlobRead, StoreError>;

    /// Removes a blob; one that is not there is no error.
    async fn delete(&self, id: BlobId) -> Result<(), StoreError>;

    /// The ids of all blobs, for sweeps; unordered.
    async fn list(&self) -> Result<Vec<BlobId>, StoreError>;

    /// What can still be stored, where that is known.
    async fn free(&self) -> Result<Option<Free>, StoreError>;
}

/// Whether a blob is there with all its `bytes`. Damage inside of it is not looked for.
///
/// # Errors
/// When the store cannot tell.
pub async fn is_whole(store: &dyn BlobStore, id: BlobId, bytes: u64) -> Result<bool, StoreError> {
    match store.open(id, Some(0..0)).await {
        Ok(read) => Ok(read.total_bytes == bytes),
        Err(StoreError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a blob is there with these very bytes. Reads all of it, in pieces; the hashing is done on blocking threads.
///
/// # Errors
/// When the store cannot tell.
pub async fn holds(store: &dyn BlobStore, id: BlobId, bytes: u64, sha256: [u8; 32]) -> Result<bool, StoreError> {
    let mut read = match store.open(id, None).await {
        Ok(read) if read.total_bytes == bytes => read,
        Ok(_) | Err(StoreError::NotFound(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut hash = Sha256::new();
    while let Some(piece) = read.stream.try_next().await? {
        let hashing = tokio::task::spawn_blocking(move || {
            hash.update(&piece);
            hash
        });
        hash = hashing.await.map_err(std::io::Error::other)?;
    }
    Ok(<[u8; 32]>::from(hash.finalize()) == sha256)
}

/// How names in the staging folder begin.
const STAGED_PREFIX: &str = "up-";

/// Where uploads are staged: always a local folder, on the same file system as a local store.
#[derive(Clone, Debug)]
pub struct StagingDir {
    path: PathBuf,
    disk: Disk,
}

impl StagingDir {
    /// Makes the folder if needed and removes what an earlier process left in it; returns how many files that were.
    ///
    /// # Errors
    /// When the folder cannot be made, read or emptied.
    pub fn open(path: PathBuf) -> std::io::Result<(Self, usize)> {
        Self::open_on(path, Disk::default())
    }

    /// The same on a disk of the caller's.
    ///
    /// # Errors
    /// As [`StagingDir::open`].
    pub fn open_on(path: PathBuf, disk: Disk) -> std::io::Result<(Self, usize)> {
        std::fs::create_dir_all(&path)?;
        let mut swept = 0;
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            // Only what we made: the folder may be somebody's who mistook it.
            if entry.file_type()?.is_file() && entry.file_name().as_encoded_bytes().starts_with(STAGED_PREFIX.as_bytes()) {
                std::fs::remove_file(entry.path())?;
                swept += 1;
            }
        }
        Ok((Self { path, disk }, swept))
    }

    /// A file of this folder that has got all its `bytes`.
    #[must_use]
    pub fn staged(&self, path: tempfile::TempPath, bytes: u64) -> Staged {
        Staged { path, bytes, disk: self.disk.clone() }
    }

    /// A fresh, empty file in the folder, readable by this user only. Blocking.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(&self) -> std::io::Result<(DiskFile, tempfile::TempPath)> {
        self.disk.create(STAGED_PREFIX, &self.path)
    }
}
