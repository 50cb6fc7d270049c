//! Bytes stored under fresh ids, one blob or many at a time, step by step: all are written, then all are synced, then all get their names, then each
//! folder is synced once.
//!
//! The invariant is that of each alone: a file under a blob's name is synced, and its name is durable when its `Ok` is given back. A step that fails
//! for one blob gives up that blob and no other; only a folder that cannot be synced gives up all that went into it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use bytes::Bytes;
use tempfile::TempPath;

use super::{DiskFile, INCOMING, LocalStore, StoreError, UNFINISHED_PREFIX, of_writing, shard_name, shard_of};
use crate::domain::BlobId;

/// A file that has got its bytes and no name yet. Dropped, it is unlinked.
struct Written {
    file: DiskFile,
    path: TempPath,
}

/// Stores them all. Blocking.
pub(super) fn put(store: &LocalStore, of: Vec<(BlobId, Bytes)>) -> Vec<Result<(), StoreError>> {
    let (disk, incoming) = (&store.disk, store.root.join(INCOMING));
    let write = |bytes: &Bytes| {
        let (mut file, path) = disk.create(UNFINISHED_PREFIX, &incoming)?;
        file.write_all(bytes)?;
        Ok(Written { file, path })
    };
    let written: Vec<io::Result<Written>> = of.iter().map(|(_, bytes)| write(bytes)).collect();
    // One file is written out by its sync. Of many the disk gets all first, and the journal of the file system tells of all at the first sync.
    if let [_, _, ..] = written.as_slice() {
        written.iter().flatten().for_each(|written| disk.start_writing(&written.file.file));
    }
    // After a failed sync the kernel drops the dirty pages and calls the next sync clean: there is no second try, the file is given up.
    let synced = written.into_iter().map(|written| written.and_then(|written| disk.sync_file(&written.file.file).map(|()| written.path)));
    let synced: Vec<io::Result<TempPath>> = synced.collect();

    let mut folders: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    let mut stored: Vec<Result<(), StoreError>> = Vec::with_capacity(of.len());
    for (n, (path, (id, _))) in synced.into_iter().zip(&of).enumerate() {
        // Ids are fresh, so a file of this name would be a fault of ours; it is not overwritten.
        let named = path.and_then(|path| disk.rename(path, &store.path(*id)));
        if named.is_ok() {
            folders.entry(shard_of(*id)).or_default().push(n);
        }
        stored.push(named.map_err(of_writing));
    }
    for (shard, members) in folders {
        let Err(error) = disk.sync_folder(&store.root.join(shard_name(shard))) else { continue };
        for n in members {
            // Whether the name reached the disk is unknown, so it is taken back. Should this fail too, nothing refers to the blob and a sweep
            // removes it.
            let path: PathBuf = store.path(of[n].0);
            drop(fs::remove_file(path));
            stored[n] = Err(of_writing(again(&error)));
        }
    }
    stored
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use uuid::Uuid;

    use super::super::super::{BlobStore as _, Disk, Faults, Step};
    use super::*;

    /// Notes every call, and fails the n-th of a kind.
    #[derive(Debug, Default)]
    struct Noting {
        calls: Mutex<Vec<Step>>,
        fails: Mutex<Option<(Step, usize)>>,
    }

    impl Faults for Noting {
        fn before(&self, step: Step, bytes: usize) -> io::Result<usize> {
            let mut calls = self.calls.lock().expect("no panic");
            calls.push(step);
            let nth = calls.iter().filter(|call| **call == step).count();
            let fails = *self.fails.lock().expect("no panic") == Some((step, nth));
            if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(bytes) }
        }
    }

    fn blobs() -> Vec<(BlobId, Bytes)> {
        // Two in one folder, one in another.
        let id = |n: u128, shard: u8| BlobId::from_uuid(Uuid::from_u128(n << 64 | u128::from(shard)));
        [(id(1, 7), "one"), (id(2, 9), "two"), (id(3, 7), "three")].map(|(id, text)| (id, Bytes::from(text))).into()
    }

    #[tokio::test]
    async fn no_name_is_given_before_all_are_synced_and_each_folder_is_synced_once_after_that() {
        let folder = tempfile::tempdir().expect("temp folder");
        let noting = Arc::new(Noting::default());
        let store = LocalStore::open_on(folder.path().join("blobs"), Disk::with_faults(noting.clone())).expect("opens");
        noting.calls.lock().expect("no panic").clear();
        assert!(store.put_many(blobs()).await.iter().all(Result::is_ok));
        let mut calls = std::mem::take(&mut *noting.calls.lock().expect("no panic"));
        let written: Vec<Step> = calls.drain(..6).collect();
        assert_eq!(written, [Step::Create, Step::Write, Step::Create, Step::Write, Step::Create, Step::Write]);
        let (sync, rename, names) = (Step::SyncFile, Step::Rename, Step::SyncFolder);
        assert_eq!(calls, [sync, sync, sync, rename, rename, rename, names, names], "two folders");
    }

    #[tokio::test]
    async fn what_fails_for_one_is_told_of_one_and_of_a_folder_for_all_in_it() {
        let lost: [(Step, usize, &[usize]); 6] = [
            (Step::Create, 2, &[1]),
            (Step::Write, 1, &[0]),
            (Step::SyncFile, 3, &[2]),
            (Step::Rename, 2, &[1]),
            (Step::SyncFolder, 1, &[0, 2]),
            (Step::SyncFolder, 2, &[1]),
        ];
        for (step, nth, lost) in lost {
            let folder = tempfile::tempdir().expect("temp folder");
            let noting = Arc::new(Noting::default());
            let store = LocalStore::open_on(folder.path().join("blobs"), Disk::with_faults(noting.clone())).expect("opens");
            noting.calls.lock().expect("no panic").clear();
            *noting.fails.lock().expect("no panic") = Some((step, nth));
            let told = store.put_many(blobs()).await;
            *noting.fails.lock().expect("no panic") = None;
            let failed: Vec<usize> = told.iter().enumerate().filter(|(_, told)| told.is_err()).map(|(n, _)| n).collect();
            assert_eq!(failed, lost, "{step:?} {nth}: {told:?}");
            for (n, (id, bytes)) in blobs().into_iter().enumerate() {
                assert_eq!(store.read(id).await.ok(), (!lost.contains(&n)).then_some(bytes), "{step:?} {nth}: {n}");
            }
            let left = fs::read_dir(folder.path().join("blobs").join(INCOMING)).expect("lists").count();
            assert_eq!(left, 0, "{step:?} {nth}: something unfinished was left");
        }
    }
}
