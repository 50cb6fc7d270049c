//! The embedded catalog: SQLite through sqlx, one file beside the blobs.
//!
//! Writes go through one task that commits what waits together (`writer.rs`); reads have connections of their own and
//! are one statement each. What was answered survives the loss of power (write-ahead log, `synchronous = FULL`).

mod accept;
mod add;
mod batches;
mod blobs;
mod bulk;
mod columns;
mod copy;
mod erase;
mod finish_many;
mod history;
mod lists;
mod mark;
mod steer;
mod totals;
mod views;
mod work;
mod writer;

use std::{
    fs::OpenOptions,
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{
    ConnectOptions as _, Connection as _, SqlSafeStr as _, SqliteConnection, SqlitePool,
    migrate::{Migrate as _, MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Accepted, Cancellation, Catalog, CatalogError, Claim, Claimed, Deletion, ImageView, JobAdded, JobDone, JobFinished, JobView, Lease,
    Listed, LiveBlob, NewJob, NewUpload, Page, Past, PastJob, Release, Retried, Standing, Subject, TaskDone, TaskFinished, Totals,
    UploadView, VariantView, Voided, Waiting,
};
use crate::domain::{BlobId, ImageId, JobId, JobState, Timestamp, UploadId, VariantName};
use tokio::sync::{Semaphore, SemaphorePermit};
use writer::Writer;

/// Connections that read. Their statements are short; more would only wait for a core.
const READERS: u32 = 3;
/// How many of them lists may hold at once, so that who reads a single thing never waits for those who read many.
const LISTERS: usize = 1;
/// How long a statement waits for another process's lock (a backup, a shell) before it fails.
const BUSY: Duration = Duration::from_secs(5);

/// Where sqlx notes which migrations were applied.
const APPLIED: &str = "_sqlx_migrations";
/// Version (ascending), name and text of every migration; embedded, so that the binary needs no files.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "rows", include_str!("../migrations/sqlite/0001_rows.sql")),
    (2, "lists_deletion", include_str!("../migrations/sqlite/0002_lists_deletion.sql")),
    (3, "facts", include_str!("../migrations/sqlite/0003_facts.sql")),
    (4, "frames", include_str!("../migrations/sqlite/0004_frames.sql")),
    (5, "batches", include_str!("../migrations/sqlite/0005_batches.sql")),
    (6, "history", include_str!("../migrations/sqlite/0006_history.sql")),
    (7, "kept_files", include_str!("../migrations/sqlite/0007_kept_files.sql")),
    (8, "batches_end", include_str!("../migrations/sqlite/0008_batches_end.sql")),
];

/// Why a catalog cannot be opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("catalog {path} was written by a newer release (schema {found}, this release knows up to {known})")]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("catalog {path} is no catalog of this program or is damaged")]
    NotACatalog { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("catalog {path} cannot be brought to this release's schema")]
    Migrate { path: PathBuf, source: MigrateError },
    #[error("catalog {path} cannot be made")]
    Make { path: PathBuf, source: std::io::Error },
}

/// Rows in one SQLite file.
#[derive(Debug)]
pub struct SqliteCatalog {
    writer: Writer,
    readers: SqlitePool,
    listers: Semaphore,
    /// Where it is noted how far it has come.
    mark: PathBuf,
}

impl SqliteCatalog {
    /// Opens the catalog at `path`, in a folder that exists; makes it (mode 0640) if it is not there and brings it to
    /// this release's schema.
    ///
    /// # Errors
    /// When the file is no catalog, is damaged, was written by a newer release, or there is no room.
    pub async fn open(path: &Path) -> Result<Self, CatalogError> {
        match OpenOptions::new().write(true).create_new(true).mode(0o640).open(path) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                return Err(CatalogError::Backend(OpenError::Make { path: path.into(), source: e }.into()));
            }
            // The files that SQLite puts beside it take its mode.
            _ => {}
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            // An I/O error on a mapped page is a SIGBUS, which no error handling outlives.
            .pragma("mmap_size", "0")
            .pragma("temp_store", "memory")
            .thread_name(|n| format!("catalog-{n}"))
            .disable_statement_logging();
        let writing = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // In KiB, here and below. What is not in these small caches is in the system's; larger ones fill up for hours, like a leak.
            .pragma("cache_size", "-4096")
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864");
        let mut conn = writing.connect().await.map_err(|e| of_opening(path, e))?;
        migrate(path, &mut conn).await?;
        let reading = options.read_only(true).pragma("cache_size", "-1024");
        let readers = SqlitePoolOptions::new().max_connections(READERS).test_before_acquire(false).connect_lazy_with(reading);
        Ok(Self { writer: Writer::start(conn), readers, listers: Semaphore::new(LISTERS), mark: mark::path_of(path) })
    }

    /// A catalog that may be in use by another process, for reading: what writes fails. Neither makes nor changes it.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn open_to_read(path: &Path) -> Result<Self, CatalogError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY)
            .read_only(true)
            .pragma("mmap_size", "0")
            .disable_statement_logging();
        let mut conn = options.connect().await.map_err(|e| of_opening(path, e))?;
        refuse_newer(path, &mut conn).await?;
        let readers = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
        Ok(Self { writer: Writer::start(conn), readers, listers: Semaphore::new(LISTERS), mark: mark::path_of(path) })
    }

    /// Lets what waits be written, moves the write-ahead log into the file and closes it. Later calls find the catalog
    /// closed; a second close does nothing.
    pub async fn close(&self) {
        let conn = self.writer.stop().await;
        self.readers.close().await;
        let Some(mut conn) = conn else { return };
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await {
            tracing::warn!(%error, "the catalog's log could not be moved into it; the next start does so");
        }
        if let Err(error) = conn.close().await {
            tracing::warn!(%error, "the catalog did not close cleanly; the next start repairs it");
        }
    }

    /// A list's turn to read; lists come one after another.
    async fn list_turn(&self) -> Result<SemaphorePermit<'_>, CatalogError> {
        self.listers.acquire().await.map_err(|e| CatalogError::Backend(e.into()))
    }

    async fn mark(&self, of: &[BlobId], missing: bool) -> Result<Vec<BlobId>, CatalogError> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let of = of.to_vec();
        self.writer.run(move |session| Box::pin(async move { blobs::mark(session, &of, missing).await })).await
    }

    /// How many transactions were committed since it was opened; fewer than commands when these come together.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }
}

/// Refuses a catalog whose schema is ahead of us; writes nothing.
async fn refuse_newer(path: &Path, conn: &mut SqliteConnection) -> Result<(), CatalogError> {
    let is_there: bool = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = ?")
        .bind(APPLIED)
        .fetch_one(&mut *conn)
        .await
        .map_err(|e| of_opening(path, e))?;
    let known = MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or(0);
    if is_there {
        let applied = conn.list_applied_migrations(APPLIED).await.map_err(|e| of_migrating(path, e))?;
        if let Some(found) = applied.iter().map(|m| m.version).max().filter(|found| *found > known) {
            return Err(CatalogError::Backend(OpenError::Newer { path: path.into(), found, known }.into()));
        }
    }
    Ok(())
}

/// Brings the schema up to date, unless it is ahead of us.
async fn migrate(path: &Path, conn: &mut SqliteConnection) -> Result<(), CatalogError> {
    // Asked before anything is written: a newer catalog must stay as it is.
    refuse_newer(path, conn).await?;
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect()).run(conn).await.map_err(|e| of_migrating(path, e))
}

fn of_migrating(path: &Path, error: MigrateError) -> CatalogError {
    match error {
        MigrateError::Execute(e) => of_opening(path, e),
        source => CatalogError::Backend(OpenError::Migrate { path: path.into(), source }.into()),
    }
}

fn of_opening(path: &Path, source: sqlx::Error) -> CatalogError {
    match CatalogError::from(source) {
        CatalogError::Backend(source) => CatalogError::Backend(OpenError::NotACatalog { path: path.into(), source }.into()),
        of_the_disk => of_the_disk,
    }
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<u32>().ok());
        // The low byte of an extended result code: https://sqlite.org/rescode.html
        match code.map(|code| code & 0xff) {
            Some(13) => Self::Full(error.into()),              // SQLITE_FULL
            Some(3 | 8 | 10 | 14) => Self::Disk(error.into()), // SQLITE_PERM, READONLY, IOERR, CANTOPEN
            _ => Self::Backend(error.into()),
        }
    }
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn accept_upload(&self, upload: NewUpload) -> Result<Accepted, CatalogError> {
        self.writer.run(move |session| Box::pin(async move { accept::accept_upload(session, &upload).await })).await
    }

    async fn claim_jobs(&self, claim: Claim) -> Result<Claimed, CatalogError> {
        self.writer.run(move |session| Box::pin(async move { work::claim_jobs(session, &claim).await })).await
    }

    async fn renew_leases(&self, leases: &[Lease], until: Timestamp) -> Result<Vec<Lease>, CatalogError> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let leases = leases.to_vec();
        self.writer.run(move |session| Box::pin(async move { work::renew_leases(session, &leases, until).await })).await
    }

    async fn finish_task(&self, lease: Lease, done: TaskDone) -> Result<TaskFinished, CatalogError> {
        self.writer.run(move |session| Box::pin(async move { work::finish_task(session, &(lease, done)).await })).await
    }

    async fn finish_tasks(&self, of: Vec<(Lease, TaskDone)>) -> Result<Vec<Result<TaskFinished, CatalogError>>, CatalogError> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.run(move |session| Box::pin(async move { finish_many::finish_tasks(session, &of).await })).await
    }

    async fn finish_job(&self, lease: Lease, done: JobDone) -> Result<JobFinished, CatalogError> {
        self.writer.run(move |session| Box::pin(async move { work::finish_job(session, lease, &done).await })).await
    }

    async fn release_job(&self, lease: Lease, release: Release) -> Result<Option<JobFinished>, CatalogError> {
        self.writer.run(move |session| Box::pin(async move { work::release_job(session, lease, &release).await })).await
    }

    async fn void_leases(&self, now: Timestamp, max_crashes: u32) -> Result<Voided, CatalogError> {
        self.writer.run(move |session| Box::pin(work::void_leases(session, None, now, max_crashes))).await
    }

    async fn expire_leases(&self, now: Timestamp, max_crashes: u32) -> Result<Voided, CatalogError> {
        self.writer.run(move |session| Box::pin(work::void_leases(session, Some(now), now, max_crashes))).await
    }

    async fn cancel_job(&self, id: JobId, at: Timestamp) -> Result<Cancellation, CatalogError> {
        self.writer.run(move |session| Box::pin(steer::cancel_job(session, id, at))).await
    }

    async fn retry_job(&self, id: JobId, at: Timestamp) -> Result<Retried, CatalogError> {
        self.writer.run(move |session| Box::pin(steer::retry_job(session, id, at))).await
    }

    async fn add_job(&self, image: ImageId, job: NewJob, at: Timestamp) -> Result<JobAdded, CatalogError> {
        self.writer.run(move |session| Box::pin(async move { add::add_job(session, image, &job, None, at).await })).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, CatalogError> {
        views::next_due(&self.readers).await
    }

    async fn upload(&self, id: UploadId) -> Result<Option<UploadView>, CatalogError> {
        views::upload(&mut *self.readers.acquire().await?, id).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobView>, CatalogError> {
        views::job(&self.readers, id).await
    }

    async fn image(&self, id: ImageId) -> Result<Option<ImageView>, CatalogError> {
        views::image(&self.readers, id).await
    }

    async fn facts(&self, of: &[BlobId]) -> Result<Vec<(BlobId, String)>, CatalogError> {
        views::facts(&self.readers, of).await
    }

    async fn variant(&self, image: ImageId, name: &VariantName) -> Result<Option<VariantView>, CatalogError> {
        views::variant(&self.readers, image, name).await
    }

    async fn totals(&self) -> Result<Totals, CatalogError> {
        totals::read(&self.readers).await
    }

    async fn live_blobs(&self, of: &[BlobId]) -> Result<Vec<BlobId>, CatalogError> {
        blobs::live_blobs(&self.readers, of).await
    }

    async fn uploads(&self, page: Page<UploadId>) -> Result<Listed<UploadView, UploadId>, CatalogError> {
        let _turn = self.list_turn().await?;
        lists::uploads(&self.readers, &page).await
    }

    async fn images(&self, page: Page<ImageId>) -> Result<Listed<(ImageView, Vec<JobView>), ImageId>, CatalogError> {
        let _turn = self.list_turn().await?;
        lists::images(&self.readers, &page).await
    }

    async fn jobs(&self, page: Page<JobId>, state: Option<JobState>) -> Result<Listed<JobView, JobId>, CatalogError> {
        let _turn = self.list_turn().await?;
        lists::jobs(&self.readers, &page, state).await
    }

    async fn delete_upload(&self, id: UploadId, at: Timestamp) -> Result<Deletion, CatalogError> {
        self.writer.run(move |session| Box::pin(erase::delete_upload(session, id, at))).await
    }

    async fn delete_image(&self, id: ImageId, at: Timestamp) -> Result<Deletion, CatalogError> {
        self.writer.run(move |session| Box::pin(erase::delete_image(session, id, at))).await
    }

    async fn was_deleted(&self, subject: Subject) -> Result<bool, CatalogError> {
        erase::was_deleted(&self.readers, subject).await
    }

    async fn purge_tombstones(&self, before: Timestamp, limit: u32) -> Result<u64, CatalogError> {
        self.writer.run(move |session| Box::pin(erase::purge_tombstones(session, before, limit))).await
    }

    async fn expires_at(&self, id: UploadId) -> Result<Option<Timestamp>, CatalogError> {
        history::expires_at(&self.readers, id).await
    }

    async fn expired_uploads(&self, now: Timestamp, limit: u32) -> Result<Vec<UploadId>, CatalogError> {
        history::expired_uploads(&self.readers, now, limit).await
    }

    async fn past_job(&self, id: JobId) -> Result<Option<PastJob>, CatalogError> {
        history::past_job(&self.readers, id).await
    }

    async fn past_jobs(&self, page: Page<JobId>) -> Result<Listed<PastJob, JobId>, CatalogError> {
        let _turn = self.list_turn().await?;
        history::past_jobs(&self.readers, &page).await
    }

    async fn purge_past_jobs(&self, before: Timestamp, limit: u32) -> Result<u64, CatalogError> {
        self.writer.run(move |session| Box::pin(history::purge_past_jobs(session, before, limit))).await
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, CatalogError> {
        history::waiting(&self.readers).await
    }

    async fn dead_blobs(&self, after: Option<BlobId>, limit: u32) -> Result<Vec<BlobId>, CatalogError> {
        blobs::dead_blobs(&self.readers, after, limit).await
    }

    async fn purge_blobs(&self, of: &[BlobId]) -> Result<(), CatalogError> {
        if of.is_empty() {
            return Ok(());
        }
        let of = of.to_vec();
        self.writer.run(move |session| Box::pin(async move { blobs::purge_blobs(session, &of).await })).await
    }

    async fn blobs_after(&self, after: Option<BlobId>, limit: u32) -> Result<Vec<LiveBlob>, CatalogError> {
        blobs::blobs_after(&self.readers, after, limit).await
    }

    async fn mark_missing(&self, of: &[BlobId]) -> Result<Vec<BlobId>, CatalogError> {
        self.mark(of, true).await
    }

    async fn mark_found(&self, of: &[BlobId]) -> Result<Vec<BlobId>, CatalogError> {
        self.mark(of, false).await
    }

    async fn replace_blob(&self, lost: BlobId, fresh: BlobId) -> Result<bool, CatalogError> {
        self.writer.run(move |session| Box::pin(blobs::replace_blob(session, lost, fresh))).await
    }

    async fn recall(&self, now: Timestamp) -> Result<Past, CatalogError> {
        let standing = match mark::read(&self.mark) {
            None => Standing::Unknown,
            Some(noted) if noted > mark::age(&self.totals().await?) => Standing::Older,
            Some(_) => Standing::Newest,
        };
        if standing == Standing::Older {
            // Before the mark is this catalog's own, which tells nothing of what was here.
            self.keep_files(now).await?;
        }
        if standing != Standing::Unknown
            && let Err(error) = self.vouch().await
        {
            // What stands there is too low then, or says once more that this one is older: no file goes by that.
            tracing::warn!(%error, "could not note how far the catalog has come");
        }
        let before: Option<i64> = sqlx::query_scalar("SELECT max(before) FROM kept_files").fetch_one(&self.readers).await?;
        Ok(Past { standing, keep_before: before.map(Timestamp::from_millis) })
    }

    async fn keep_files(&self, before: Timestamp) -> Result<(), CatalogError> {
        let before = before.as_millis();
        self.writer.run(move |session| Box::pin(blobs::keep_files(session, before))).await
    }

    async fn vouch(&self) -> Result<(), CatalogError> {
        let path = self.mark.clone();
        self.writer.keep_mark(move |totals| mark::Mark::begin(&path, mark::age(totals))).await
    }

    async fn ping(&self) -> Result<(), CatalogError> {
        totals::read(&self.readers).await?;
        // Writes the row as it is: a whole commit, down to the disk.
        self.writer
            .run(|session| {
                Box::pin(async move {
                    sqlx::query("UPDATE totals SET uploads = uploads").execute(&mut session.conn).await?;
                    Ok(())
                })
            })
            .await
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
