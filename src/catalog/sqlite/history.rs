//! What outlives an image: its jobs, as rows of their own that point at nothing; and what is over, found by index.
//!
//! The invariant: no file name, no text of a client and no hash goes into the rows that stay.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqliteExecutor, SqlitePool};
use uuid::Uuid;

use super::{
    super::{
        CatalogError, ImageView, JobTiming, JobView, Listed, Page, PastJob, PastResult, PastTask, Source, TaskTiming, TaskView, Waiting,
    },
    columns::{Columns, Read, id, nanos, size},
    lists::{END, MAX_WEIGHT},
    views::{jobs_of, tasks_of},
    writer::Session,
};
use crate::domain::{ImageId, JobId, JobState, Priority, TaskState, Timestamp, UploadId};

/// Most rows in one statement.
const ROWS: usize = 500;

/// See [`super::super::Catalog::expires_at`].
pub(super) async fn expires_at(from: impl SqliteExecutor<'_>, of: UploadId) -> Read<Option<Timestamp>> {
    let row = sqlx::query("SELECT expires_at FROM uploads WHERE id = ?").bind(id(of.uuid())).fetch_optional(from).await?;
    row.map_or(Ok(None), |row| Columns(&row).maybe_time("expires_at"))
}

pub(super) const EXPIRED: &str = "SELECT id FROM uploads WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?";

/// See [`super::super::Catalog::expired_uploads`].
pub(super) async fn expired_uploads(from: impl SqliteExecutor<'_>, now: Timestamp, limit: u32) -> Read<Vec<UploadId>> {
    let rows = sqlx::query(EXPIRED).bind(now.as_millis()).bind(i64::from(limit)).fetch_all(from).await?;
    rows.iter().map(|row| Columns(row).uuid("id").map(UploadId::from_uuid)).collect()
}

pub(super) const WAITING: &str =
    "SELECT priority, count(*) AS queued, min(queued_at) AS oldest FROM jobs WHERE state = 'queued' GROUP BY priority";

pub(super) const RUNNING: &str = "SELECT priority FROM jobs WHERE state = 'running'";

/// See [`super::super::Catalog::waiting`].
pub(super) async fn waiting(from: &SqlitePool) -> Read<Vec<Waiting>> {
    let mut of: Vec<Waiting> =
        Priority::ALL.iter().map(|priority| Waiting { priority: *priority, queued: 0, oldest: None, running: 0 }).collect();
    let place = |of: &[Waiting], priority: Priority| of.iter().position(|w| w.priority == priority).unwrap_or_default();
    let mut moment = from.begin().await?;
    for row in sqlx::query(WAITING).fetch_all(&mut *moment).await? {
        let row = Columns(&row);
        let at = place(&of, row.word("priority")?);
        (of[at].queued, of[at].oldest) = (row.number("queued")?, row.maybe_time("oldest")?);
    }
    // As many as the pool has cores.
    for row in sqlx::query(RUNNING).fetch_all(&mut *moment).await? {
        let at = place(&of, Columns(&row).word("priority")?);
        of[at].running += 1;
    }
    Ok(of)
}

/// Writes down what there was to know of an image's jobs, which are about to be deleted.
pub(super) async fn keep(session: &mut Session, image: ImageId, owner: &str, at: Timestamp) -> Result<(), CatalogError> {
    let jobs = jobs_of(&mut session.conn, sqlx::query(tasks_of!("j.image = ?")).bind(id(image.uuid()))).await?;
    for (image, job) in &jobs {
        insert(&mut session.conn, image, job, owner, at).await?;
    }
    Ok(())
}

/// The names of a spec's options: what stands before the arguments, some of which are a client's texts.
fn operations(spec: &str) -> String {
    let names: Vec<&str> = spec.split('/').map(|option| option.split(':').next().unwrap_or_default()).collect();
    names.join("/")
}

async fn insert(conn: &mut SqliteConnection, image: &ImageView, job: &JobView, owner: &str, at: Timestamp) -> Result<(), CatalogError> {
    // What had not ended is cancelled by its deletion.
    let state = if job.state.is_final() { job.state } else { JobState::Cancelled };
    let timing = job.timing.as_ref();
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO past_jobs (id, owner, upload, image, state, priority, attempt, max_attempts, queued_at, started_at, finished_at, erased_at, \
         queue_ns, read_ns, decode_ns, cpu_ns, total_ns, peak_bytes, failure_code, source_format, source_bytes, source_width_px, \
         source_height_px, request, trace) VALUES (",
    );
    let mut values = sql.separated(", ");
    values
        .push_bind(id(job.id.uuid()))
        .push_bind(owner.to_owned())
        .push_bind(id(job.upload.uuid()))
        .push_bind(id(job.image.uuid()))
        .push_bind(state.as_str())
        .push_bind(job.priority.as_str())
        .push_bind(i64::from(job.attempt))
        .push_bind(i64::from(job.max_attempts))
        .push_bind(job.queued_at.as_millis())
        .push_bind(job.started_at.map(Timestamp::as_millis))
        .push_bind(job.finished_at.unwrap_or(at).as_millis())
        .push_bind(at.as_millis());
    for time in [|t: &JobTiming| t.queue, |t: &JobTiming| t.read, |t: &JobTiming| t.decode, |t: &JobTiming| t.cpu, |t: &JobTiming| t.total]
    {
        values.push_bind(timing.map(time).map(nanos));
    }
    values
        .push_bind(job.peak_bytes.map(size))
        .push_bind(job.failure.as_ref().map(|failure| failure.code.as_str()))
        .push_bind(image.format.clone())
        .push_bind(size(image.bytes))
        .push_bind(i64::from(image.width_px))
        .push_bind(i64::from(image.height_px))
        .push_bind(job.origin.map(|origin| id(origin.request)))
        .push_bind(job.origin.and_then(|origin| origin.trace).map(|trace| trace.as_bytes().to_vec()));
    sql.push(")");
    sql.build().execute(&mut *conn).await?;
    let tasks: Vec<(usize, &TaskView)> = job.tasks.iter().enumerate().collect();
    for part in tasks.chunks(ROWS) {
        insert_tasks(job.id, part).build().execute(&mut *conn).await?;
    }
    Ok(())
}

fn insert_tasks(job: JobId, tasks: &[(usize, &TaskView)]) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(
        "INSERT INTO past_tasks (job, position, name, operations, format, state, transform_ns, encode_ns, store_ns, failure_code, \
         bytes, width_px, height_px) ",
    );
    sql.push_values(tasks, |mut values, (position, task)| {
        let state = match task.state {
            TaskState::Queued | TaskState::Running => TaskState::Cancelled,
            ended => ended,
        };
        let (timing, result) = (task.timing.as_ref(), task.result.as_ref());
        values
            .push_bind(id(job.uuid()))
            .push_bind(i64::try_from(*position).unwrap_or(i64::MAX))
            .push_bind(task.name.as_str().to_owned())
            .push_bind(operations(&task.spec))
            .push_bind(result.map_or(&task.format, |stored| &stored.format).clone())
            .push_bind(state.as_str())
            .push_bind(timing.map(|t| nanos(t.transform)))
            .push_bind(timing.map(|t| nanos(t.encode)))
            .push_bind(timing.map(|t| nanos(t.store)))
            .push_bind(task.failure.as_ref().map(|failure| failure.code.as_str()))
            .push_bind(result.map(|stored| size(stored.bytes)))
            .push_bind(result.map(|stored| i64::from(stored.width_px)))
            .push_bind(result.map(|stored| i64::from(stored.height_px)));
    });
    sql
}

pub(super) const PAST_JOBS: &str = "SELECT j.*, (SELECT count(*) FROM past_tasks t WHERE t.job = j.id) AS tasks \
     FROM past_jobs j WHERE j.owner = ?1 AND j.id < ?2 ORDER BY j.id DESC LIMIT ?3";
pub(super) const PAST_TASKS: &str = "SELECT t.* FROM past_tasks t \
     WHERE t.job IN (SELECT id FROM past_jobs WHERE owner = ?1 AND id < ?2 AND id >= ?3)";

/// See [`super::super::Catalog::past_jobs`]. Parts end as those of other lists do.
pub(super) async fn past_jobs(from: &SqlitePool, page: &Page<JobId>) -> Read<Listed<PastJob, JobId>> {
    let before = page.before.map_or_else(|| END.to_vec(), |before| id(before.uuid()));
    let mut moment = from.begin().await?;
    let (mut items, mut next, mut weight): (Vec<PastJob>, _, u64) = (Vec::new(), None, 0);
    {
        let mut rows =
            sqlx::query(PAST_JOBS).bind(page.owner.as_str()).bind(before.clone()).bind(i64::from(page.limit) + 1).fetch(&mut *moment);
        while let Some(row) = rows.try_next().await? {
            weight += Columns(&row).number::<u64>("tasks")?;
            if !items.is_empty() && (items.len() as u64 == u64::from(page.limit) || weight > MAX_WEIGHT) {
                next = items.last().map(|last| last.id);
                break;
            }
            items.push(past_job_from(Columns(&row))?);
        }
    }
    let Some(last) = items.last().map(|last| last.id) else { return Ok(Listed { items, next }) };
    let mut tasks: HashMap<Uuid, Vec<(i64, PastTask)>> = HashMap::new();
    let mut rows = sqlx::query(PAST_TASKS).bind(page.owner.as_str()).bind(before.clone()).bind(id(last.uuid())).fetch(&mut *moment);
    while let Some(row) = rows.try_next().await? {
        let row = Columns(&row);
        tasks.entry(row.uuid("job")?).or_default().push((row.plain("position")?, past_task_from(row)?));
    }
    for job in &mut items {
        let mut of = tasks.remove(&job.id.uuid()).unwrap_or_default();
        of.sort_by_key(|(position, _)| *position);
        job.tasks = of.into_iter().map(|(_, task)| task).collect();
    }
    Ok(Listed { items, next })
}

/// See [`super::super::Catalog::past_job`].
pub(super) async fn past_job(from: &SqlitePool, of: JobId) -> Read<Option<PastJob>> {
    let mut moment = from.begin().await?;
    let row = sqlx::query("SELECT * FROM past_jobs WHERE id = ?").bind(id(of.uuid())).fetch_optional(&mut *moment).await?;
    let Some(row) = row else { return Ok(None) };
    let mut job = past_job_from(Columns(&row))?;
    let rows = sqlx::query("SELECT * FROM past_tasks WHERE job = ? ORDER BY position").bind(id(of.uuid())).fetch_all(&mut *moment).await?;
    job.tasks = rows.iter().map(|row| past_task_from(Columns(row))).collect::<Read<_>>()?;
    Ok(Some(job))
}

/// A past job, still without its tasks.
fn past_job_from(row: Columns<'_>) -> Read<PastJob> {
    let timing = match row.maybe_duration("total_ns")? {
        None => None,
        Some(total) => Some(JobTiming {
            queue: row.maybe_duration("queue_ns")?.unwrap_or_default(),
            read: row.maybe_duration("read_ns")?.unwrap_or_default(),
            decode: row.maybe_duration("decode_ns")?.unwrap_or_default(),
            cpu: row.maybe_duration("cpu_ns")?.unwrap_or_default(),
            total,
        }),
    };
    Ok(PastJob {
        id: JobId::from_uuid(row.uuid("id")?),
        upload: UploadId::from_uuid(row.uuid("upload")?),
        image: ImageId::from_uuid(row.uuid("image")?),
        state: row.word("state")?,
        priority: row.word("priority")?,
        attempt: row.number("attempt")?,
        max_attempts: row.number("max_attempts")?,
        queued_at: row.time("queued_at")?,
        started_at: row.maybe_time("started_at")?,
        finished_at: row.time("finished_at")?,
        erased_at: row.time("erased_at")?,
        timing,
        peak_bytes: row.maybe_number("peak_bytes")?,
        failure: row.maybe_word("failure_code")?,
        source: Source {
            format: row.plain("source_format")?,
            bytes: row.number("source_bytes")?,
            width_px: row.number("source_width_px")?,
            height_px: row.number("source_height_px")?,
        },
        origin: row.origin("request", "trace")?,
        tasks: Vec::new(),
    })
}

fn past_task_from(row: Columns<'_>) -> Read<PastTask> {
    let timing = match row.maybe_duration("transform_ns")? {
        None => None,
        Some(transform) => Some(TaskTiming {
            transform,
            encode: row.maybe_duration("encode_ns")?.unwrap_or_default(),
            store: row.maybe_duration("store_ns")?.unwrap_or_default(),
        }),
    };
    let result = match row.maybe_number("bytes")? {
        None => None,
        Some(bytes) => Some(PastResult { bytes, width_px: row.number("width_px")?, height_px: row.number("height_px")? }),
    };
    Ok(PastTask {
        name: row.word("name")?,
        operations: row.plain::<&str>("operations")?.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        format: row.plain("format")?,
        state: row.word("state")?,
        timing,
        failure: row.maybe_word("failure_code")?,
        result,
    })
}

pub(super) const PURGE_PAST_JOBS: &str =
    "DELETE FROM past_jobs WHERE id IN (SELECT id FROM past_jobs WHERE finished_at < ? ORDER BY finished_at LIMIT ?)";

/// See [`super::super::Catalog::purge_past_jobs`]. Their tasks go with them.
pub(super) async fn purge_past_jobs(session: &mut Session, before: Timestamp, limit: u32) -> Result<u64, CatalogError> {
    let gone = sqlx::query(PURGE_PAST_JOBS).bind(before.as_millis()).bind(i64::from(limit)).execute(&mut session.conn).await?;
    Ok(gone.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::operations;

    #[test]
    fn operations_are_names_alone() {
        assert_eq!(operations("rs:fit:320:320/wmt:SGVsbG8/-/bl:4/f:webp"), "rs/wmt/-/bl/f");
        assert_eq!(operations(""), "");
    }
}
