//! A copy of a data folder, which may be in use: the catalog as it is at one moment, a list of its blobs, and the blobs themselves if they are wanted.
//!
//! Changes nothing in the folder it copies and needs no lock. What makes it safe beside uploads, jobs and deletions:
//! - A blob is live only once its file is durable, so whatever a copied catalog names had its file at that moment.
//! - A file goes only after its blob is dead. So a file that is not there any more belongs to a blob that the catalog, asked again, does not name: then
//!   the copy is taken anew. As blobs are taken before the first copy, and a second name keeps a file, few are left to be missed.
//! - The copied catalog gets its name last: without it a folder with blobs in it is refused at a start.
//!
//! Knows the embedded back ends only; a database server and an object store have means of their own.

use std::{
    collections::HashSet,
    fmt,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use tracing::{info, warn};

use crate::{
    catalog::{Catalog as _, CatalogError, LiveBlob, sqlite::SqliteCatalog},
    domain::{BlobId, UploadId, hex},
    store::{BlobStore as _, LocalStore, StoreError, Taken, Wanted, make_folder},
};

/// Blobs read from a catalog and taken at once.
const BATCH: u32 = 500;
/// How often a copy of the catalog is taken anew because blobs it names were deleted before they could be taken. Each round takes as long as the catalog
/// takes to be copied; one in which nothing is deleted that came since the last is enough. Where there never is one, what is missing is told.
const ROUNDS: u32 = 100;
/// The list of blobs, in the folder of the copy.
const LIST: &str = "blobs.txt";
/// What the copied catalog is called until all is there.
const UNFINISHED: &str = "catalog.db.partial";

/// Where things lie in a data folder.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The catalog.
    pub catalog: &'static str,
    /// The folder of blobs.
    pub blobs: &'static str,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The destination cannot be used.
    #[error("{}: {why}", .path.display())]
    Destination {
        /// Which.
        path: PathBuf,
        /// What was found, and what is allowed.
        why: String,
    },
    /// The destination's disk is full.
    #[error("no room left in {}, what was written was removed", .0.display())]
    Full(PathBuf),
    /// The catalog that is to be copied, or its copy.
    #[error("the catalog could not be copied")]
    Catalog(#[source] CatalogError),
    /// Blobs could not be taken.
    #[error("stored files could not be copied")]
    Store(#[source] StoreError),
    /// Anything else about files.
    #[error("{}", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

/// What was backed up.
#[derive(Debug, Default)]
pub struct Backup {
    /// Size of the copied catalog.
    pub catalog_bytes: u64,
    /// Blobs it names.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that are second names of the files of the data folder.
    pub linked: u64,
    /// Blobs that were copied.
    pub copied: u64,
    /// Blobs that the catalog names and the copy has not.
    pub missing: Vec<Missing>,
}

/// A blob that is not in the copy.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub blob: BlobId,
    /// Uploads it belongs to.
    pub uploads: Vec<UploadId>,
    /// Why.
    pub why: String,
}

impl fmt::Display for Backup {
    /// A line for each missing blob, then the sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Missing { blob, uploads, why } in &self.missing {
            let uploads: Vec<String> = uploads.iter().map(ToString::to_string).collect();
            writeln!(f, "blob {blob} of upload {}: {why}", uploads.join(", "))?;
        }
        let Self { catalog_bytes, blobs, bytes, linked, copied, missing } = self;
        let missing = missing.len();
        writeln!(f, "catalog {catalog_bytes} bytes; {blobs} blobs, {bytes} bytes: {linked} linked, {copied} copied, {missing} missing")
    }
}

/// Copies the data folder `from` to `to`, which must be empty or not be there.
///
/// # Errors
/// When there is no data folder at `from`, or `to` cannot be used or is full. Then what was written to `to` is removed again. A blob that is lost or
/// damaged is no error but among [`Backup::missing`].
pub async fn backup(from: &Path, to: &Path, names: Names, with_blobs: bool) -> Result<Backup, BackupError> {
    let made = prepare(from, to)?;
    let work = Work { from, to, names };
    let done = work.run(with_blobs).await;
    if done.is_err() {
        work.clear(made);
    }
    done
}

/// Makes the destination; true if it was not there.
fn prepare(from: &Path, to: &Path) -> Result<bool, BackupError> {
    let refused = |why: &str| BackupError::Destination { path: to.to_owned(), why: why.to_owned() };
    if to.starts_with(from) {
        return Err(refused("lies in the data folder; a backup goes into a folder outside of it"));
    }
    let is_new = !to.exists();
    make_folder(to).map_err(|error| BackupError::Io(to.to_owned(), error))?;
    let mut entries = fs::read_dir(to).map_err(|error| BackupError::Io(to.to_owned(), error))?;
    match entries.next() {
        None => Ok(is_new),
        Some(_) => Err(refused("is not empty; a backup goes into an empty folder, or one that is not there yet")),
    }
}

struct Work<'w> {
    from: &'w Path,
    to: &'w Path,
    names: Names,
}

impl Work<'_> {
    async fn run(&self, with_blobs: bool) -> Result<Backup, BackupError> {
        let catalog = SqliteCatalog::open_to_read(&self.from.join(self.names.catalog)).await.map_err(|error| self.of_catalog(error))?;
        let mut backup = Backup::default();
        let stores = if with_blobs {
            let from = LocalStore::open_to_read(self.from.join(self.names.blobs)).map_err(BackupError::Store)?;
            let to = LocalStore::open(self.to.join(self.names.blobs)).map_err(|error| self.of_store(error))?;
            // Nearly all of it, before the catalog is copied: what is deleted from here on has a second name already.
            self.take_live(&catalog, &from, &to, &mut backup).await?;
            Some((from, to))
        } else {
            None
        };
        let mut round = 1;
        let list = loop {
            let copy = self.copy_catalog(&catalog).await?;
            let Some((from, to)) = &stores else { break self.list(&copy, &mut backup).await? };
            let missing = self.take_live(&copy, from, to, &mut backup).await?;
            let ids: Vec<BlobId> = missing.iter().map(|(wanted, _)| wanted.id).collect();
            let still_live = catalog.live_blobs(&ids).await.map_err(|error| self.of_catalog(error))?;
            if still_live.len() < ids.len() && round < ROUNDS {
                info!(deleted = ids.len() - still_live.len(), "blobs were deleted while they were copied, copying the catalog again");
                round += 1;
                continue;
            }
            backup.missing = self.belonging(&copy, missing).await?;
            break self.list(&copy, &mut backup).await?;
        };
        if let Some((_, to)) = &stores {
            self.drop_others(to, &list).await?;
            to.sync().await.map_err(|error| self.of_store(error))?;
        }
        self.finish(&mut backup)?;
        Ok(backup)
    }

    /// A copy of the catalog in the place of an earlier one, open to be read.
    async fn copy_catalog(&self, catalog: &SqliteCatalog) -> Result<SqliteCatalog, BackupError> {
        let path = self.to.join(UNFINISHED);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.of_io(&path, error)),
            _ => {}
        }
        catalog.copy_to(&path).await.map_err(|error| self.of_catalog(error))?;
        SqliteCatalog::open_to_read(&path).await.map_err(|error| self.of_catalog(error))
    }

    /// Takes all live blobs of a catalog; returns those that could not be.
    async fn take_live(
        &self,
        catalog: &SqliteCatalog,
        from: &LocalStore,
        to: &LocalStore,
        backup: &mut Backup,
    ) -> Result<Vec<(Wanted, StoreError)>, BackupError> {
        let (mut after, mut missing) = (None, Vec::new());
        loop {
            let batch = catalog.blobs_after(after, BATCH).await.map_err(|error| self.of_catalog(error))?;
            let Some(last) = batch.last() else { return Ok(missing) };
            after = Some(last.id);
            let wanted = batch.iter().map(|blob| Wanted { id: blob.id, bytes: blob.bytes, sha256: blob.sha256 }).collect();
            for (wanted, taken) in to.take_from(from, wanted).await {
                match taken {
                    Ok(Taken::Already) => {}
                    Ok(Taken::Linked) => backup.linked += 1,
                    Ok(Taken::Copied) => backup.copied += 1,
                    Err(error @ (StoreError::NotFound(_) | StoreError::Damaged(..))) => missing.push((wanted, error)),
                    Err(error) => return Err(self.of_store(error)),
                }
            }
        }
    }

    async fn belonging(&self, copy: &SqliteCatalog, missing: Vec<(Wanted, StoreError)>) -> Result<Vec<Missing>, BackupError> {
        let mut all = Vec::with_capacity(missing.len());
        for (wanted, error) in missing {
            let uploads = copy.uploads_of(wanted.id).await.map_err(|error| self.of_catalog(error))?;
            let why = match error {
                StoreError::Damaged(_, how) => format!("its file is damaged: {how}"),
                _ => "its file is not there".to_owned(),
            };
            warn!(blob = %wanted.id, "not in the backup: {why}");
            all.push(Missing { blob: wanted.id, uploads, why });
        }
        Ok(all)
    }

    /// Writes the list of what a catalog names; returns it.
    async fn list(&self, copy: &SqliteCatalog, backup: &mut Backup) -> Result<HashSet<BlobId>, BackupError> {
        let path = self.to.join(LIST);
        let failed = |error| self.of_io(&path, error);
        let mut file = BufWriter::new(File::create(&path).map_err(failed)?);
        writeln!(file, "# SHA-256, bytes and file of every blob that {} names", self.names.catalog).map_err(failed)?;
        let (mut after, mut all) = (None, HashSet::new());
        (backup.blobs, backup.bytes) = (0, 0);
        loop {
            let batch = copy.blobs_after(after, BATCH).await.map_err(|error| self.of_catalog(error))?;
            let Some(last) = batch.last() else { break };
            after = Some(last.id);
            for LiveBlob { id, bytes, sha256, .. } in batch {
                writeln!(file, "{}  {bytes}  {}/{}", hex(&sha256), self.names.blobs, LocalStore::name(id)).map_err(failed)?;
                (backup.blobs, backup.bytes) = (backup.blobs + 1, backup.bytes + bytes);
                all.insert(id);
            }
        }
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        Ok(all)
    }

    /// Removes what was taken before it was deleted.
    async fn drop_others(&self, to: &LocalStore, named: &HashSet<BlobId>) -> Result<(), BackupError> {
        for blob in to.list().await.map_err(|error| self.of_store(error))? {
            if !named.contains(&blob) {
                to.delete(blob).await.map_err(|error| self.of_store(error))?;
            }
        }
        Ok(())
    }

    /// Gives the catalog its name.
    fn finish(&self, backup: &mut Backup) -> Result<(), BackupError> {
        let (from, to) = (self.to.join(UNFINISHED), self.to.join(self.names.catalog));
        let failed = |error| self.of_io(&to, error);
        backup.catalog_bytes = fs::metadata(&from).map_err(failed)?.len();
        fs::rename(&from, &to).map_err(failed)?;
        File::open(self.to).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Removes all that may have been written. What cannot be removed stays, without a catalog.
    fn clear(&self, with_folder: bool) {
        for file in [UNFINISHED, LIST] {
            drop(fs::remove_file(self.to.join(file)));
        }
        drop(fs::remove_dir_all(self.to.join(self.names.blobs)));
        if with_folder {
            drop(fs::remove_dir(self.to));
        }
    }

    fn of_catalog(&self, error: CatalogError) -> BackupError {
        if matches!(error, CatalogError::Full(_)) { BackupError::Full(self.to.to_owned()) } else { BackupError::Catalog(error) }
    }

    fn of_store(&self, error: StoreError) -> BackupError {
        if matches!(error, StoreError::Full(_)) { BackupError::Full(self.to.to_owned()) } else { BackupError::Store(error) }
    }

    fn of_io(&self, path: &Path, error: io::Error) -> BackupError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BackupError::Full(self.to.to_owned()),
            _ => BackupError::Io(path.to_owned(), error),
        }
    }
}
