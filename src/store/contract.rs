//! The contract of a blob store: what every back end must keep, as a suite any of them can run.
//!
//! Knows no back end: it goes through [`BlobStore`] alone. It leaves the store as it found it, so it may run against a
//! bucket that is in use.

use std::io::Write as _;

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::{BlobStore, Staged, StagingDir, StoreError};
use crate::{
    clock::{Clock as _, IdSource as _, RandomIds, SystemClock},
    domain::BlobId,
};

/// Most bytes in one piece of [`super::BlobRead::stream`].
const PIECE_BYTES: usize = 256 * 1024;

/// Runs the whole suite. Removes every blob it made.
///
/// # Panics
/// When the store breaks the contract; the message says where.
pub async fn check(store: &dyn BlobStore, staging: &StagingDir) {
    what_is_stored_is_read(store, staging).await;
    ranges_are_exact(store).await;
    missing_blobs_are_told(store).await;
    delete_is_idempotent(store).await;
    many_are_each_as_one(store).await;
    list_has_every_blob_once(store, staging).await;
    dropped_staged_files_are_gone(staging);
    room_is_told(store).await;
}

fn fresh() -> BlobId {
    BlobId::from_uuid(RandomIds.new_id(SystemClock.now()))
}

/// Bytes without a short period, so that a shifted read shows.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn stage(staging: &StagingDir, bytes: &[u8]) -> Staged {
    let (mut file, path) = staging.create().expect("a staging file is made");
    file.write_all(bytes).expect("a staging file is written");
    staging.staged(path, bytes.len() as u64)
}

async fn what_is_stored_is_read(store: &dyn BlobStore, staging: &StagingDir) {
    for size in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 5] {
        let bytes = pattern(size);
        let (put, persisted) = (fresh(), fresh());
        store.put(put, bytes.clone().into()).await.expect("put works");
        let staged = stage(staging, &bytes);
        let path = staged.path.to_path_buf();
        store.persist(persisted, staged).await.expect("persist works");
        assert!(!path.exists(), "a persisted file no longer lies in staging");
        for id in [put, persisted] {
            assert_eq!(store.read(id).await.expect("read works"), bytes, "{size} bytes");
            let read = store.open(id, None).await.expect("open works");
            assert_eq!(read.total_bytes, size as u64);
            let pieces: Vec<Bytes> = read.stream.try_collect().await.expect("the stream works");
            assert!(pieces.iter().all(|p| !p.is_empty() && p.len() <= PIECE_BYTES), "pieces have 1 to {PIECE_BYTES} bytes");
            assert_eq!(pieces.concat(), bytes, "{size} bytes");
            store.delete(id).await.expect("delete works");
        }
    }
}

async fn ranges_are_exact(store: &dyn BlobStore) {
    let bytes = pattern(2 * PIECE_BYTES + 100);
    let total = bytes.len() as u64;
    let piece = PIECE_BYTES as u64;
    let id = fresh();
    store.put(id, bytes.clone().into()).await.expect("put works");
    for range in [0..0, 0..1, 0..total, 5..5, 7..piece + 7, 1..total - 1, total - 1..total, total..total] {
        let read = store.open(id, Some(range.clone())).await.expect("open works");
        assert_eq!(read.total_bytes, total, "the size of the whole blob comes with a range");
        let pieces: Vec<Bytes> = read.stream.try_collect().await.expect("the stream works");
        let wanted = &bytes[usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small")];
        assert_eq!(pieces.concat(), wanted, "{range:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "what the store must refuse")]
    for range in [0..total + 1, total..total + 1, total + 1..total + 1, 9..3, u64::MAX..u64::MAX, 0..u64::MAX] {
        let refused = store.open(id, Some(range.clone())).await.err();
        assert!(matches!(refused, Some(StoreError::Damaged(..))), "{range:?} of {total} bytes is refused: {refused:?}");
    }
    store.delete(id).await.expect("delete works");
}

async fn missing_blobs_are_told(store: &dyn BlobStore) {
    let id = fresh();
    assert!(matches!(store.read(id).await, Err(StoreError::NotFound(of)) if of == id), "read of a missing blob says so");
    for range in [None, Some(0..1)] {
        assert!(matches!(store.open(id, range).await, Err(StoreError::NotFound(of)) if of == id), "open of a missing blob says so");
    }
}

async fn delete_is_idempotent(store: &dyn BlobStore) {
    let (gone, stays) = (fresh(), fresh());
    store.delete(gone).await.expect("a blob that never was is no error");
    store.put(gone, Bytes::from_static(b"gone")).await.expect("put works");
    store.put(stays, Bytes::from_static(b"stays")).await.expect("put works");
    store.delete(gone).await.expect("delete works");
    store.delete(gone).await.expect("a second delete is no error");
    assert!(matches!(store.read(gone).await, Err(StoreError::NotFound(_))));
    assert_eq!(store.read(stays).await.expect("others are untouched"), "stays");
    store.delete(stays).await.expect("delete works");
}

async fn many_are_each_as_one(store: &dyn BlobStore) {
    let first = fresh();
    let ids: Vec<BlobId> = (0..9).map(|n| if n == 0 { first } else { store.beside(fresh(), first) }).collect();
    let blobs = ids.iter().enumerate().map(|(n, id)| (*id, Bytes::from(pattern(n * 1_000)))).collect();
    let told = store.put_many(blobs).await;
    assert!(told.len() == ids.len() && told.iter().all(Result::is_ok), "{told:?}");
    let missing = fresh();
    let told = store.put_many(vec![(ids[3], Bytes::from_static(b"taken")), (missing, Bytes::from_static(b"fresh"))]).await;
    assert!(told[0].is_err() && told[1].is_ok(), "one that fails fails alone: {told:?}");
    store.delete(missing).await.expect("delete works");
    let read = store.read_many(ids.iter().copied().chain([missing]).collect()).await;
    for (n, read) in read.iter().take(ids.len()).enumerate() {
        assert_eq!(read.as_ref().expect("read works"), &pattern(n * 1_000), "in their order");
    }
    assert!(matches!(read.last(), Some(Err(StoreError::NotFound(of))) if *of == missing), "{:?}", read.last());
    assert!(store.put_many(Vec::new()).await.is_empty() && store.read_many(Vec::new()).await.is_empty());
    for id in ids {
        store.delete(id).await.expect("delete works");
    }
}

async fn list_has_every_blob_once(store: &dyn BlobStore, staging: &StagingDir) {
    let ids: Vec<BlobId> = (0..20).map(|_| fresh()).collect();
    for (i, id) in ids.iter().enumerate() {
        if i % 2 == 0 {
            store.put(*id, pattern(i).into()).await.expect("put works");
        } else {
            store.persist(*id, stage(staging, &pattern(i))).await.expect("persist works");
        }
    }
    let listed = store.list().await.expect("list works");
    for id in &ids {
        assert_eq!(listed.iter().filter(|l| *l == id).count(), 1, "{id} is listed once");
        store.delete(*id).await.expect("delete works");
    }
    let listed = store.list().await.expect("list works");
    assert!(ids.iter().all(|id| !listed.contains(id)), "deleted blobs are not listed");
}

fn dropped_staged_files_are_gone(staging: &StagingDir) {
    let staged = stage(staging, b"never stored");
    let path = staged.path.to_path_buf();
    assert!(path.exists());
    drop(staged);
    assert!(!path.exists(), "a staged file that is dropped is unlinked");
}

async fn room_is_told(store: &dyn BlobStore) {
    if let Some(free) = store.free().await.expect("free works") {
        assert!(free.bytes < u64::MAX / 2, "{free:?} cannot be true");
    }
}
