//! Blobs of one store taken into another, for backups: as a second name of the same file where both lie on one file system, else as a copy.
//!
//! A stored file is never written to again, so a second name of it keeps its bytes for good, whatever becomes of the first.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::{INCOMING, LocalStore, PIECE_BYTES, UNFINISHED_PREFIX, blocking, of_reading, of_writing, shard_name, shard_of};
use crate::{domain::BlobId, store::StoreError};

/// A blob that is wanted, and what its file must hold.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which.
    pub id: BlobId,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of them; compared where the bytes are copied.
    pub sha256: [u8; 32],
}

/// How a blob was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was there.
    Already,
    /// By a second name.
    Linked,
    /// By its bytes.
    Copied,
}

impl LocalStore {
    /// The name of a blob's file below the root of a store.
    #[must_use]
    pub fn name(id: BlobId) -> String {
        format!("{}/{id}", shard_name(shard_of(id)))
    }

    /// Takes blobs of another store into this one, in order; ends early when there is no room left. What was taken is durable after [`LocalStore::sync`].
    ///
    /// # Errors
    /// Of each blob: [`StoreError::NotFound`] and [`StoreError::Damaged`] tell of the other store. [`StoreError::Full`] of this one, and then it is
    /// the last.
    ///
    /// # Cancel safety
    /// What was begun goes on to its end.
    pub async fn take_from(&self, other: &Self, wanted: Vec<Wanted>) -> Vec<(Wanted, Result<Taken, StoreError>)> {
        let (this, other) = (self.clone(), other.clone());
        let taking = blocking(move || {
            let mut all = Vec::with_capacity(wanted.len());
            for of in wanted {
                let taken = take(&this, &other, &of);
                let is_full = matches!(taken, Err(StoreError::Full(_)));
                all.push((of, taken));
                if is_full {
                    break;
                }
            }
            Ok(all)
        });
        taking.await.unwrap_or_default()
    }

    /// Makes all that was taken durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn sync(&self) -> Result<(), StoreError> {
        let root = self.root.clone();
        blocking(move || Ok(rustix::fs::syncfs(File::open(&root)?).map_err(io::Error::from)?)).await
    }
}

fn take(this: &LocalStore, other: &LocalStore, of: &Wanted) -> Result<Taken, StoreError> {
    let (from, to) = (other.path(of.id), this.path(of.id));
    let taken = match fs::hard_link(&from, &to) {
        Ok(()) => Taken::Linked,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Taken::Already,
        Err(error) if cannot_link(&error) => {
            copy(this, &from, &to, of)?;
            Taken::Copied
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(StoreError::NotFound(of.id)),
        Err(error) => return Err(of_writing(error)),
    };
    let found = fs::metadata(&to).map_err(|error| of_reading(of.id, error))?.len();
    if found != of.bytes {
        drop(fs::remove_file(&to));
        return Err(StoreError::Damaged(of.id, format!("{found} bytes, {} were stored", of.bytes)));
    }
    Ok(taken)
}

/// Another file system, one that knows no second names, too many of them, or a kernel that guards them (`fs.protected_hardlinks`).
fn cannot_link(error: &io::Error) -> bool {
    let code = Errno::from_io_error(error);
    code.is_some_and(|code| [Errno::XDEV, Errno::PERM, Errno::MLINK, Errno::NOTSUP, Errno::NOSYS, Errno::ACCESS].contains(&code))
}

/// Under a name of what is unfinished until it is whole and holds what it should.
fn copy(this: &LocalStore, from: &Path, to: &Path, of: &Wanted) -> Result<(), StoreError> {
    let mut source = File::open(from).map_err(|error| of_reading(of.id, error))?;
    let unfinished = this.root.join(INCOMING).join(format!("{UNFINISHED_PREFIX}{}", of.id));
    let written = (|| {
        let mut target =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(of_writing)?;
        let (mut piece, mut hash) = (vec![0; usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX)], Sha256::new());
        loop {
            let length = source.read(&mut piece)?;
            if length == 0 {
                break;
            }
            hash.update(&piece[..length]);
            target.write_all(&piece[..length]).map_err(of_writing)?;
        }
        if <[u8; 32]>::from(hash.finalize()) != of.sha256 {
            return Err(StoreError::Damaged(of.id, "its SHA-256 is not the one that was recorded".to_owned()));
        }
        fs::rename(&unfinished, to).map_err(of_writing)
    })();
    if written.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    written
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::store::BlobStore as _;

    fn wanted(n: u128, bytes: &[u8]) -> Wanted {
        Wanted { id: BlobId::from_uuid(Uuid::from_u128(n)), bytes: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
    }

    fn ends(taken: Vec<(Wanted, Result<Taken, StoreError>)>) -> Vec<String> {
        taken.into_iter().map(|(_, taken)| taken.map_or_else(|error| error.to_string(), |taken| format!("{taken:?}"))).collect()
    }

    /// Two stores, the second in a folder below `other`.
    async fn stores(other: &Path) -> (tempfile::TempDir, tempfile::TempDir, LocalStore, LocalStore) {
        let (a, b) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir_in(other).expect("a folder"));
        let from = LocalStore::open(a.path().join("blobs")).expect("opens");
        let to = LocalStore::open(b.path().join("blobs")).expect("opens");
        (a, b, from, to)
    }

    #[tokio::test]
    async fn blobs_are_linked_once_and_outlive_their_first_name() {
        let (_a, _b, from, to) = stores(&std::env::temp_dir()).await;
        let (cat, dog) = (wanted(1, b"cat"), wanted(2, b"dog"));
        from.put(cat.id, Bytes::from_static(b"cat")).await.expect("puts");
        let lies = Wanted { bytes: 4, ..wanted(3, b"cow") };
        from.put(lies.id, Bytes::from_static(b"cow")).await.expect("puts");
        let first = ends(to.take_from(&from, vec![cat, dog, lies]).await);
        assert_eq!(first[0], "Linked");
        assert!(first[1].ends_with("is not there") && first[2].contains("3 bytes, 4 were stored"), "{first:?}");
        assert_eq!(ends(to.take_from(&from, vec![cat]).await), ["Already"]);
        from.delete(cat.id).await.expect("deletes");
        to.sync().await.expect("syncs");
        assert_eq!(to.read(cat.id).await.expect("reads"), "cat");
        assert_eq!(to.list().await.expect("lists"), [cat.id], "nothing of what failed");
        assert!(to.root.join(LocalStore::name(cat.id)).is_file());
    }

    #[tokio::test]
    async fn what_cannot_be_linked_is_copied_and_compared() {
        // A file system of its own, wherever temporary files lie; without one there is nothing to find out.
        let shm = Path::new("/dev/shm");
        let device = |path: &Path| std::fs::metadata(path).map(|of| std::os::unix::fs::MetadataExt::dev(&of)).ok();
        if device(shm).is_none() || device(shm) == device(&std::env::temp_dir()) {
            eprintln!("skipped: /dev/shm is no file system of its own");
            return;
        }
        let (_a, _b, from, to) = stores(shm).await;
        let (cat, rotten) = (wanted(1, b"cat"), wanted(2, b"dog"));
        from.put(cat.id, Bytes::from_static(b"cat")).await.expect("puts");
        from.put(rotten.id, Bytes::from_static(b"dug")).await.expect("puts");
        let taken = ends(to.take_from(&from, vec![cat, rotten]).await);
        assert_eq!(taken[0], "Copied");
        assert!(taken[1].contains("SHA-256"), "{taken:?}");
        assert_eq!(to.read(cat.id).await.expect("reads"), "cat");
        assert_eq!(to.list().await.expect("lists"), [cat.id]);
        assert_eq!(fs::read_dir(to.root.join(INCOMING)).expect("reads").count(), 0, "nothing unfinished is left");
    }
}
