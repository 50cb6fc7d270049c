//! The one row of totals and the differences that move it. Knows no other table.

use sqlx::{FromRow, SqliteConnection, SqliteExecutor};

use super::super::{CatalogError, Totals};

/// What one transaction changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub(super) struct Delta {
    pub(super) uploads: i64,
    pub(super) bytes_received: i64,
    pub(super) completed_tasks: i64,
    pub(super) failed_tasks: i64,
    pub(super) cancelled_tasks: i64,
    pub(super) pending_tasks: i64,
    pub(super) queued_jobs: i64,
    pub(super) running_jobs: i64,
    pub(super) task_micros: i64,
}

impl Delta {
    /// Adds this to the row and commits the open transaction, in one trip.
    pub(super) async fn write_and_commit(self, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE totals SET uploads = uploads + ?, bytes_received = bytes_received + ?, \
             completed_tasks = completed_tasks + ?, failed_tasks = failed_tasks + ?, cancelled_tasks = cancelled_tasks + ?, \
             pending_tasks = pending_tasks + ?, queued_jobs = queued_jobs + ?, running_jobs = running_jobs + ?, \
             task_micros = task_micros + ?; COMMIT",
        )
        .bind(self.uploads)
        .bind(self.bytes_received)
        .bind(self.completed_tasks)
        .bind(self.failed_tasks)
        .bind(self.cancelled_tasks)
        .bind(self.pending_tasks)
        .bind(self.queued_jobs)
        .bind(self.running_jobs)
        .bind(self.task_micros)
        .execute(conn)
        .await
        .map(drop)
    }
}

/// The totals as they stand.
pub(super) async fn read(from: impl SqliteExecutor<'_>) -> Result<Totals, CatalogError> {
    let row: Delta = sqlx::query_as(
        "SELECT uploads, bytes_received, completed_tasks, failed_tasks, cancelled_tasks, pending_tasks, queued_jobs, \
         running_jobs, task_micros FROM totals",
    )
    .fetch_one(from)
    .await?;
    // A negative one would be a fault of ours; zero is the least wrong answer to it.
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(Totals {
        uploads: count(row.uploads),
        bytes_received: count(row.bytes_received),
        completed_tasks: count(row.completed_tasks),
        failed_tasks: count(row.failed_tasks),
        cancelled_tasks: count(row.cancelled_tasks),
        pending_tasks: count(row.pending_tasks),
        queued_jobs: count(row.queued_jobs),
        running_jobs: count(row.running_jobs),
        task_micros: count(row.task_micros),
    })
}
