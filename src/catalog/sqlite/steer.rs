//! Jobs steered by clients: cancelled, and retried after they failed.
//!
//! The invariant: what a worker holds is taken away in the same transaction that says so; nothing but failed tasks is ever worked on again.

use super::{
    super::{Cancellation, CatalogError, Retried, Subject},
    columns::{Columns, id},
    erase,
    work::end_unfinished,
    writer::Session,
};
use crate::domain::{ImageId, JobId, JobState, Priority, TaskCode, TaskFailure, Timestamp, UploadId};

/// See [`super::super::Catalog::cancel_job`].
pub(super) async fn cancel_job(session: &mut Session, of: JobId, at: Timestamp) -> Result<Cancellation, CatalogError> {
    let row = sqlx::query("SELECT upload, image, state, crashes FROM jobs WHERE id = ?")
        .bind(id(of.uuid()))
        .fetch_optional(&mut session.conn)
        .await?;
    let Some(row) = row else {
        let was_deleted = erase::was_deleted(&mut session.conn, Subject::Job(of)).await?;
        return Ok(if was_deleted { Cancellation::Gone } else { Cancellation::Unknown });
    };
    let row = Columns(&row);
    let (upload, was) = (UploadId::from_uuid(row.uuid("upload")?), row.word::<JobState>("state")?);
    if was.is_final() {
        return Ok(Cancellation::Ended(was));
    }
    let failure = TaskFailure { code: TaskCode::Cancelled, detail: "cancelled on request".to_owned() };
    let ended = end_unfinished(session, of, was, at, &failure, row.number("crashes")?).await?;
    Ok(Cancellation::Done { upload, image: ImageId::from_uuid(row.uuid("image")?), was, ended })
}

/// See [`super::super::Catalog::retry_job`].
pub(super) async fn retry_job(session: &mut Session, of: JobId, at: Timestamp) -> Result<Retried, CatalogError> {
    let row = sqlx::query("SELECT upload, image, state, priority, max_attempts FROM jobs WHERE id = ?")
        .bind(id(of.uuid()))
        .fetch_optional(&mut session.conn)
        .await?;
    let Some(row) = row else {
        let was_deleted = erase::was_deleted(&mut session.conn, Subject::Job(of)).await?;
        return Ok(if was_deleted { Retried::Gone } else { Retried::Unknown });
    };
    let row = Columns(&row);
    let (upload, was) = (UploadId::from_uuid(row.uuid("upload")?), row.word::<JobState>("state")?);
    let rank = at.as_millis() + row.word::<Priority>("priority")?.rank_delay_ms();
    let failed = sqlx::query("SELECT transform_ns, encode_ns, store_ns FROM tasks WHERE job = ? AND state = 'failed'")
        .bind(id(of.uuid()))
        .fetch_all(&mut session.conn)
        .await?;
    if !was.may_become(JobState::Queued) || !was.is_final() || failed.is_empty() {
        return Ok(Retried::NothingFailed(was));
    }
    for row in &failed {
        let row = Columns(row);
        let mut worked = std::time::Duration::ZERO;
        for step in ["transform_ns", "encode_ns", "store_ns"] {
            worked += row.maybe_duration(step)?.unwrap_or_default();
        }
        // What its next end adds is counted then.
        session.delta.task_micros -= i64::try_from(worked.as_micros()).unwrap_or(0);
    }
    sqlx::query(
        "UPDATE tasks SET state = 'pending', finished_at = NULL, transform_ns = NULL, encode_ns = NULL, store_ns = NULL, \
         failure_code = NULL, failure_detail = NULL WHERE job = ? AND state = 'failed'",
    )
    .bind(id(of.uuid()))
    .execute(&mut session.conn)
    .await?;
    // The right-hand sides are those of the old row: what killed workers before runs alone. A job of a batch that was cancelled is one of its own from here
    // on, or the batch would take it back.
    sqlx::query(
        "UPDATE jobs SET batch = CASE (SELECT state FROM batches b WHERE b.id = jobs.batch) WHEN 'cancelled' THEN NULL ELSE batch END, state = 'queued', rank = ?, queued_at = ?, due_at = NULL, started_at = NULL, finished_at = NULL, attempt = 0, \
         suspect = crashes > 0, crashes = 0, queue_ns = NULL, read_ns = NULL, decode_ns = NULL, cpu_ns = NULL, total_ns = NULL, \
         peak_bytes = NULL, failure_code = NULL, failure_detail = NULL WHERE id = ?",
    )
    .bind(rank)
    .bind(at.as_millis())
    .bind(id(of.uuid()))
    .execute(&mut session.conn)
    .await?;
    let tasks = i64::try_from(failed.len()).unwrap_or(i64::MAX);
    session.delta.failed_tasks -= tasks;
    session.delta.pending_tasks += tasks;
    session.delta.queued_jobs += 1;
    let image = ImageId::from_uuid(row.uuid("image")?);
    Ok(Retried::Queued { upload, image, tasks: failed.len() as u64, max_attempts: row.number("max_attempts")? })
}
