//! Blobs as files below one folder: `<root>/<last byte of the id, hex>/<id>`.
//!
//! Knows nothing of what the bytes mean or who refers to them. The invariant: a file under a blob's name is complete and
//! durable once the call that put it there returned without error; everything unfinished has another name, in
//! `<root>/incoming/`, or lies in the staging folder. Each call is one trip to a blocking thread.

mod copy;
mod many;

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use uuid::Uuid;

use super::{BlobRead, BlobStore, Disk, DiskFile, Free, Staged, StagingDir, StoreError};
use crate::domain::BlobId;

pub use copy::{Taken, Wanted};

/// Most bytes in one piece of a stream; what fits into one piece is opened and read in one trip.
const PIECE_BYTES: u64 = 256 * 1024;
/// Where `put` writes before it renames.
const INCOMING: &str = "incoming";
/// How unfinished files are called.
const UNFINISHED_PREFIX: &str = ".tmp-";

/// Blobs as files below one folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: Arc<Path>,
    disk: Disk,
}

impl LocalStore {
    /// Opens the store at `root`, making the folder, its 256 shards and `incoming/` durably where they are missing, and
    /// removes what an earlier process left unfinished in `incoming/`. Blocking.
    ///
    /// # Errors
    /// When a folder cannot be made, synced or emptied.
    pub fn open(root: PathBuf) -> Result<Self, StoreError> {
        Self::open_on(root, Disk::default())
    }

    /// The same on a disk of the caller's. Blocking.
    ///
    /// # Errors
    /// As [`LocalStore::open`].
    pub fn open_on(root: PathBuf, disk: Disk) -> Result<Self, StoreError> {
        // Relative paths would follow the process's working folder about.
        let root = std::path::absolute(root)?;
        make_folder(&root)?;
        let incoming = root.join(INCOMING);
        make_folder(&incoming)?;
        for entry in fs::read_dir(&incoming)? {
            let entry = entry?;
            if entry.file_type()?.is_file() && entry.file_name().as_encoded_bytes().starts_with(UNFINISHED_PREFIX.as_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
        for shard in 0..=u8::MAX {
            let shard = root.join(shard_name(shard));
            new_folder(&shard)?;
        }
        // Once for all names, and always: an earlier process may have died between making and syncing them. The shards
        // themselves hold nothing yet; each is synced with the first blob in it, before that blob counts as stored.
        sync_folder(&root)?;
        Ok(Self { root: root.into(), disk })
    }

    /// A store that is in use by another process, for reading: makes and sweeps nothing.
    ///
    /// # Errors
    /// When there is no store.
    pub fn open_to_read(root: PathBuf) -> Result<Self, StoreError> {
        let root = std::path::absolute(root)?;
        fs::read_dir(root.join(shard_name(0)))?;
        Ok(Self { root: root.into(), disk: Disk::default() })
    }

    /// Stages an empty file, stores it and removes it again: whether uploads can be taken in at all, found out before one comes. Only doing it
    /// tells: a bind mount has the device number of what is bound, and refuses the rename all the same. Blocking.
    ///
    /// # Errors
    /// What an upload would fail with.
    pub fn try_out(&self, staging: &StagingDir) -> Result<(), StoreError> {
        let (_, path) = staging.create().map_err(of_writing)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let to = self.root.join(INCOMING).join(format!("{UNFINISHED_PREFIX}{name}"));
        commit(staging.staged(path, 0), &to, &self.disk)?;
        Ok(self.disk.remove(&to)?)
    }

    /// Whether there is no blob at all; ends at the first it finds. Blocking.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        for shard in 0..=u8::MAX {
            for entry in fs::read_dir(self.root.join(shard_name(shard)))? {
                if blob_of(&entry?, shard).is_some() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.root.join(shard_name(shard_of(id))).join(id.to_string())
    }
}

#[async_trait]
impl BlobStore for LocalStore {
    async fn persist(&self, id: BlobId, staged: Staged) -> Result<(), StoreError> {
        let (to, disk) = (self.path(id), self.disk.clone());
        blocking(move || commit(staged, &to, &disk)).await
    }

    async fn put(&self, id: BlobId, bytes: Bytes) -> Result<(), StoreError> {
        self.put_many(vec![(id, bytes)]).await.pop().unwrap_or(Ok(()))
    }

    async fn put_many(&self, of: Vec<(BlobId, Bytes)>) -> Vec<Result<(), StoreError>> {
        let (store, count) = (self.clone(), of.len());
        many(count, move || many::put(&store, of)).await
    }

    fn beside(&self, id: BlobId, first: BlobId) -> BlobId {
        // In one folder, which is synced once for both.
        let mut bytes = *id.uuid().as_bytes();
        bytes[15] = shard_of(first);
        BlobId::from_uuid(Uuid::from_bytes(bytes))
    }

    async fn read(&self, id: BlobId) -> Result<Bytes, StoreError> {
        let (path, disk) = (self.path(id), self.disk.clone());
        blocking(move || disk.read(&path).map_err(|e| of_reading(id, e))).await
    }

    async fn read_many(&self, of: Vec<BlobId>) -> Vec<Result<Bytes, StoreError>> {
        let store = self.clone();
        let read = move |id| store.disk.read(&store.path(id)).map_err(|e| of_reading(id, e));
        many(of.len(), move || of.into_iter().map(read).collect()).await
    }

    async fn open(&self, id: BlobId, range: Option<Range<u64>>) -> Result<BlobRead, StoreError> {
        let (path, disk) = (self.path(id), self.disk.clone());
        let (total_bytes, first, rest) = blocking(move || {
            let file = disk.open(&path).map_err(|e| of_reading(id, e))?;
            let total_bytes = file.file.metadata()?.len();
            let mut rest = Rest { file: Arc::new(file), range: range.unwrap_or(0..total_bytes) };
            if rest.range.start > rest.range.end || rest.range.end > total_bytes {
                let text = format!("range {:?} lies outside of a blob of {total_bytes} bytes", rest.range);
                return Err(StoreError::Damaged(id, text));
            }
            let first = rest.next_piece()?;
            Ok((total_bytes, first, rest))
        })
        .await?;
        Ok(BlobRead { total_bytes, stream: pieces(first, rest) })
    }

    async fn delete(&self, id: BlobId) -> Result<(), StoreError> {
        let (path, disk) = (self.path(id), self.disk.clone());
        // Not synced: a file that comes back after a crash is referred to by nothing, and a sweep removes it.
        blocking(move || match disk.remove(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        })
        .await
    }

    async fn list(&self) -> Result<Vec<BlobId>, StoreError> {
        let root = Arc::clone(&self.root);
        blocking(move || {
            let mut ids = Vec::new();
            for shard in 0..=u8::MAX {
                for entry in fs::read_dir(root.join(shard_name(shard)))? {
                    ids.extend(blob_of(&entry?, shard));
                }
            }
            Ok(ids)
        })
        .await
    }

    async fn free(&self) -> Result<Option<Free>, StoreError> {
        let (root, disk) = (Arc::clone(&self.root), self.disk.clone());
        blocking(move || Ok(Some(disk.free(&root)?))).await
    }
}

/// Makes a staged file durable under its final name. On any error neither name is left.
fn commit(staged: Staged, to: &Path, disk: &Disk) -> Result<(), StoreError> {
    let Staged { path, bytes, .. } = staged;
    // A descriptor of its own sees write-back errors that nobody was told of yet (Linux 4.13 and later).
    let file = File::open(&path)?;
    let found = file.metadata()?.len();
    if found != bytes {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("staged file has {found} bytes, {bytes} were written")).into());
    }
    // After a failed sync the kernel drops the dirty pages and calls the next sync clean: there is no second try, the
    // file is given up.
    disk.sync_file(&file).map_err(of_writing)?;
    // Ids are fresh, so a file of this name would be a fault of ours; it is not overwritten.
    disk.rename(path, to).map_err(of_writing)?;
    let folder = to.parent().unwrap_or(Path::new("."));
    disk.sync_folder(folder).map_err(|error| {
        // Whether the name reached the disk is unknown, so it is taken back. Should this fail too, nothing refers to the
        // blob and a sweep removes it.
        drop(fs::remove_file(to));
        of_writing(error)
    })
}

/// What is left of a blob being read. The open file keeps the bytes alive even when the blob is deleted meanwhile.
struct Rest {
    file: Arc<DiskFile>,
    range: Range<u64>,
}

impl Rest {
    /// Reads and takes off the next piece; nothing at the end. Blocking.
    fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        let piece_bytes = (self.range.end - self.range.start).min(PIECE_BYTES);
        if piece_bytes == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; usize::try_from(piece_bytes).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut piece, self.range.start)?;
        self.range.start += piece_bytes;
        Ok(Some(piece.into()))
    }
}

/// The first piece (read already), then the others, each read when it is asked for. Ends after an error.
fn pieces(first: Option<Bytes>, rest: Rest) -> BoxStream<'static, io::Result<Bytes>> {
    if rest.range.is_empty() {
        return stream::iter(first.map(Ok)).boxed();
    }
    let others = stream::unfold(Some(rest), |rest| async move {
        let mut rest = rest?;
        let read = move || {
            let piece = rest.next_piece()?;
            Ok((piece, rest))
        };
        match tokio::task::spawn_blocking(read).await.unwrap_or_else(|e| Err(io::Error::other(e))) {
            Ok((piece, rest)) => piece.map(|piece| (Ok(piece), Some(rest))),
            Err(e) => Some((Err(e), None)),
        }
    });
    stream::iter(first.map(Ok)).chain(others).boxed()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e).into()))
}

/// As [`blocking`], for a result each of `count` blobs.
async fn many<T: Send + 'static>(
    count: usize,
    work: impl FnOnce() -> Vec<Result<T, StoreError>> + Send + 'static,
) -> Vec<Result<T, StoreError>> {
    let died = |error| (0..count).map(|_| Err(io::Error::other(format!("{error}")).into())).collect();
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error: tokio::task::JoinError| died(error))
}

/// The blob of an entry in a shard. What is not called like one of our blobs is not ours to list (and never ours to sweep).
fn blob_of(entry: &fs::DirEntry, shard: u8) -> Option<BlobId> {
    let id = entry.file_name().to_str()?.parse::<BlobId>().ok()?;
    (shard_of(id) == shard).then_some(id)
}

fn shard_of(id: BlobId) -> u8 {
    // The last byte of a UUIDv7 is random; the first ones are the time.
    id.uuid().as_bytes()[15]
}

fn shard_name(shard: u8) -> String {
    format!("{shard:02x}")
}

fn of_reading(id: BlobId, error: io::Error) -> StoreError {
    if error.kind() == ErrorKind::NotFound { StoreError::NotFound(id) } else { error.into() }
}

fn of_writing(error: io::Error) -> StoreError {
    match error.kind() {
        // ENOSPC also stands for "no inodes left".
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full(error),
        ErrorKind::CrossesDevices => {
            let text = format!("the staging folder must be on the same file system as the blobs: {error}");
            io::Error::new(ErrorKind::CrossesDevices, text).into()
        }
        _ => error.into(),
    }
}

/// Makes a folder and those above it that are missing; each new name is synced. The path must be absolute. Blocking.
///
/// # Errors
/// When a folder cannot be made or synced.
pub fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent();
    if let Some(above) = above {
        make_folder(above)?;
    }
    new_folder(path)?;
    above.map_or(Ok(()), sync_folder)
}

/// Makes one folder; one that is there already will do.
fn new_folder(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o750).create(path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::fs::PermissionsExt as _};

    use futures_util::TryStreamExt as _;

    use super::super::{StagingDir, contract};
    use super::*;

    fn setup() -> (tempfile::TempDir, LocalStore, StagingDir) {
        let folder = tempfile::tempdir().expect("temp folder");
        let store = LocalStore::open(folder.path().join("data/blobs")).expect("opens");
        let (staging, swept) = StagingDir::open(folder.path().join("staging")).expect("opens");
        assert_eq!(swept, 0);
        (folder, store, staging)
    }

    fn staged(staging: &StagingDir, bytes: &[u8]) -> Staged {
        let (mut file, path) = staging.create().expect("creates");
        file.write_all(bytes).expect("writes");
        staging.staged(path, bytes.len() as u64)
    }

    fn id(last: u8) -> BlobId {
        BlobId::from_uuid(Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_0000 | u128::from(last)))
    }

    fn files_below(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).expect("lists") {
            let path = entry.expect("entry").path();
            if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
        }
        found
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        let (folder, store, staging) = setup();
        contract::check(&store, &staging).await;
        assert_eq!(files_below(folder.path()), Vec::<PathBuf>::new(), "nothing is left behind");
    }

    #[tokio::test]
    async fn the_place_of_a_blob_is_its_last_byte_and_its_id() {
        let (folder, store, staging) = setup();
        store.persist(id(0x0f), staged(&staging, b"abc")).await.expect("persists");
        let path = folder.path().join("data/blobs/0f/0198c0de-0000-7000-8000-00000000000f");
        assert_eq!(fs::read(&path).expect("is there"), b"abc");
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o137, 0, "nobody else may read or change it");
    }

    #[tokio::test]
    async fn opening_again_keeps_blobs_and_sweeps_what_is_unfinished() {
        let (folder, store, _) = setup();
        store.put(id(1), Bytes::from_static(b"kept")).await.expect("puts");
        let root = folder.path().join("data/blobs");
        fs::write(root.join("incoming/.tmp-torn"), b"ha").expect("writes");
        fs::write(root.join("01/stray.txt"), b"not ours").expect("writes");
        let again = LocalStore::open(root.clone()).expect("opens again");
        assert_eq!(again.read(id(1)).await.expect("reads"), "kept");
        assert_eq!(again.list().await.expect("lists"), [id(1)]);
        assert!(!root.join("incoming/.tmp-torn").exists());
    }

    #[tokio::test]
    async fn an_id_is_never_overwritten() {
        let (folder, store, staging) = setup();
        store.put(id(2), Bytes::from_static(b"first")).await.expect("puts");
        assert!(store.put(id(2), Bytes::from_static(b"second")).await.is_err());
        assert!(store.persist(id(2), staged(&staging, b"third")).await.is_err());
        assert_eq!(store.read(id(2)).await.expect("reads"), "first");
        assert_eq!(files_below(folder.path()).len(), 1, "the refused files are gone");
    }

    #[tokio::test]
    async fn a_failed_rename_leaves_nothing() {
        let (folder, store, staging) = setup();
        fs::remove_dir(folder.path().join("data/blobs/04")).expect("removes");
        let failed = store.persist(id(4), staged(&staging, b"abc")).await;
        assert!(matches!(failed, Err(StoreError::Io(_))), "{failed:?}");
        assert!(store.put(id(4), Bytes::from_static(b"abc")).await.is_err());
        assert_eq!(files_below(folder.path()), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn a_file_of_another_length_is_refused() {
        let (folder, store, staging) = setup();
        let mut short = staged(&staging, b"abc");
        short.bytes = 4;
        let failed = store.persist(id(5), short).await.expect_err("is refused");
        assert!(format!("{failed:?}").contains("3 bytes, 4 were written"), "{failed:?}");
        assert_eq!(files_below(folder.path()), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn another_file_system_is_refused_in_clear_words() {
        use std::os::unix::fs::MetadataExt as _;
        let (folder, store, _) = setup();
        let device = |path: &Path| fs::metadata(path).map(|m| m.dev()).ok();
        let shm = Path::new("/dev/shm");
        if device(shm).is_none() || device(shm) == device(folder.path()) {
            eprintln!("skipped: no second file system to be found at /dev/shm");
            return;
        }
        let elsewhere = tempfile::tempdir_in(shm).expect("temp folder");
        let (staging, _) = StagingDir::open(elsewhere.path().to_owned()).expect("opens");
        let failed = store.persist(id(6), staged(&staging, b"abc")).await.expect_err("is refused");
        assert!(format!("{failed:?}").contains("same file system"), "{failed:?}");
        let told = store.try_out(&staging).expect_err("is told at once");
        assert!(format!("{told:?}").contains("same file system"), "{told:?}");
        assert_eq!(files_below(elsewhere.path()), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn a_blob_deleted_while_it_is_read_is_read_to_its_end() {
        let (_folder, store, _) = setup();
        let bytes: Vec<u8> = (0..PIECE_BYTES * 3 + 17).map(|i| (i % 251) as u8).collect();
        store.put(id(7), bytes.clone().into()).await.expect("puts");
        let read = store.open(id(7), None).await.expect("opens");
        store.delete(id(7)).await.expect("deletes");
        let pieces: Vec<Bytes> = read.stream.try_collect().await.expect("reads on");
        assert!(pieces.iter().all(|p| p.len() as u64 <= PIECE_BYTES));
        assert_eq!(pieces.concat(), bytes);
    }

    #[test]
    fn no_room_is_told_from_other_errors() {
        use rustix::io::Errno;
        for (errno, full) in [(Errno::NOSPC, true), (Errno::DQUOT, true), (Errno::IO, false), (Errno::ACCESS, false)] {
            let error = of_writing(io::Error::from_raw_os_error(errno.raw_os_error()));
            assert_eq!(matches!(error, StoreError::Full(_)), full, "{error:?}");
        }
    }
}
