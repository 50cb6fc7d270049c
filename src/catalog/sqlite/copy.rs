//! A catalog copied as it is at one moment, and what a copy is asked about its blobs.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt as _, path::Path};

use super::{
    super::CatalogError,
    SqliteCatalog,
    columns::{Columns, Read, id},
};
use crate::domain::{BlobId, UploadId};

/// Uploads one of whose images has this blob as its original, or a result of whose original it is.
pub(super) const UPLOADS_OF: &str = "SELECT upload FROM images WHERE blob = ?1 \
     UNION ALL SELECT i.upload FROM variants v JOIN images i ON i.blob = v.blob WHERE v.result = ?1";

impl SqliteCatalog {
    /// Writes the catalog, as it is at one moment, to a new file (mode 0640). One read transaction from begin to end: who writes meanwhile waits for
    /// nothing, but the write-ahead log grows by what is written until it is over.
    ///
    /// # Errors
    /// When the file is there already, or there is no room for it. What was written of it is the caller's to remove.
    pub async fn copy_to(&self, path: &Path) -> Result<(), CatalogError> {
        let name = path.to_str().ok_or_else(|| CatalogError::Backend(format!("{} is no UTF-8", path.display()).into()))?;
        // An empty file is taken as it is, mode and all.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path);
        drop(made.map_err(|error| CatalogError::Disk(error.into()))?);
        let mut conn = self.readers.acquire().await?;
        // https://sqlite.org/lang_vacuum.html#vacuuminto
        sqlx::query("VACUUM INTO ?").bind(name).execute(&mut *conn).await?;
        drop(conn);
        let synced = std::fs::File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|error| CatalogError::Disk(error.into()))
    }

    /// Uploads that a blob belongs to, as an original or as a result.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn uploads_of(&self, blob: BlobId) -> Read<Vec<UploadId>> {
        let rows = sqlx::query(UPLOADS_OF).bind(id(blob.uuid())).fetch_all(&self.readers).await?;
        let mut uploads = rows.iter().map(|row| Columns(row).uuid("upload").map(UploadId::from_uuid)).collect::<Read<Vec<_>>>()?;
        uploads.sort();
        uploads.dedup();
        Ok(uploads)
    }
}
