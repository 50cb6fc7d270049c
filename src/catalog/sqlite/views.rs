//! Rows as clients see them. Reads only; what can change of a view is one statement and so one moment.
//!
//! The invariant: a row is folded into the view as it comes and let go. What is large and there once for many tasks (an
//! upload's metadata and refused files) is no column of a task's row, as each row holds a copy of each of its values.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::{
    QueryBuilder, Row as _, Sqlite, SqliteConnection, SqliteExecutor, SqlitePool,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    super::{CatalogError, ImageView, JobTiming, JobView, RejectedFile, StoredVariant, TaskTiming, TaskView, UploadView, VariantView},
    columns::{Columns, Read, id, nonsense},
};
use crate::domain::{BlobId, ImageId, JobId, JobState, Refusal, TaskId, TaskState, Timestamp, UploadId, UploadState, VariantName};

/// Most blobs asked for in one statement.
const BLOBS: usize = 500;

/// One row per task, with all that stands above it.
macro_rules! tasks_of {
    ($filter:literal) => {
        concat!(
            "SELECT i.id AS i_id, i.upload AS i_upload, i.position AS i_position, i.owner AS i_owner, i.blob AS i_blob, i.filename AS i_filename, i.format AS i_format, \
             i.width_px AS i_width_px, i.height_px AS i_height_px, i.duplicate AS i_duplicate, i.received_at AS i_received_at, \
             b.sha256 AS b_sha256, b.bytes AS b_bytes, \
             j.id AS j_id, j.state AS j_state, j.attempt AS j_attempt, j.max_attempts AS j_max_attempts, j.priority AS j_priority, \
             j.queued_at AS j_queued_at, j.due_at AS j_due_at, j.started_at AS j_started_at, j.finished_at AS j_finished_at, \
             j.queue_ns AS j_queue_ns, j.read_ns AS j_read_ns, j.decode_ns AS j_decode_ns, j.cpu_ns AS j_cpu_ns, j.total_ns AS j_total_ns, \
             j.peak_bytes AS j_peak_bytes, j.failure_code AS j_failure_code, j.failure_detail AS j_failure_detail, \
             j.request AS j_request, j.trace AS j_trace, \
             t.position AS t_position, t.id AS t_id, t.name AS t_name, t.options AS t_options, t.spec AS t_spec, t.format AS t_format, t.state AS t_state, \
             t.transform_ns AS t_transform_ns, t.encode_ns AS t_encode_ns, t.store_ns AS t_store_ns, \
             t.failure_code AS t_failure_code, t.failure_detail AS t_failure_detail, \
             v.result AS v_result, v.format AS v_format, v.quality AS v_quality, v.width_px AS v_width_px, v.height_px AS v_height_px, \
             v.frames AS v_frames, r.sha256 AS r_sha256, r.bytes AS r_bytes \
             FROM jobs j JOIN images i ON i.id = j.image JOIN blobs b ON b.id = i.blob \
             JOIN tasks t ON t.job = j.id \
             LEFT JOIN variants v ON t.state = 'completed' AND v.blob = i.blob AND v.spec_digest = t.spec_digest \
             AND v.pipeline_version = t.pipeline_version \
             LEFT JOIN blobs r ON r.id = v.result WHERE ",
            $filter
        )
    };
}
pub(super) use tasks_of;

/// An upload with its images, jobs and tasks.
pub(super) async fn upload(from: &mut SqliteConnection, of: UploadId) -> Read<Option<UploadView>> {
    // First what never changes, then the rest: an upload that is deleted in between has no rows left.
    let head = sqlx::query("SELECT id, owner, received_at, expires_at, metadata, rejected FROM uploads WHERE id = ?")
        .bind(id(of.uuid()))
        .fetch_optional(&mut *from)
        .await?;
    let Some(head) = head.map(|row| upload_from(&row)).transpose()? else { return Ok(None) };
    let images = jobs_of(from, sqlx::query(tasks_of!("j.upload = ?")).bind(id(of.uuid()))).await?;
    Ok((!images.is_empty()).then(|| with_images(head, images)))
}

/// An upload, still without its images.
pub(super) fn upload_from(row: &SqliteRow) -> Read<UploadView> {
    let row = Columns(row);
    let of = UploadId::from_uuid(row.uuid("id")?);
    let (metadata, rejected) = (row.plain("metadata")?, row.plain("rejected")?);
    Ok(UploadView {
        id: of,
        owner: row.plain("owner")?,
        state: UploadState::Processing,
        received_at: row.time("received_at")?,
        expires_at: row.maybe_time("expires_at")?,
        metadata: serde_json::from_str(metadata).map_err(|e| nonsense(format!("metadata of upload {of}: {e}")))?,
        rejected: rejected_from(rejected)?,
        images: Vec::new(),
    })
}

/// The upload, in the state that follows from its jobs.
pub(super) fn with_images(head: UploadView, images: Vec<(ImageView, JobView)>) -> UploadView {
    let state = UploadState::of_jobs(images.iter().map(|(_, job)| job.state));
    UploadView { state, images, ..head }
}

/// A job with its tasks.
pub(super) async fn job(from: impl SqliteExecutor<'_>, of: JobId) -> Read<Option<JobView>> {
    let jobs = jobs_of(from, sqlx::query(tasks_of!("j.id = ?")).bind(id(of.uuid()))).await?;
    Ok(jobs.into_iter().next().map(|(_, job)| job))
}

/// An image and where its bytes are.
pub(super) async fn image(from: impl SqliteExecutor<'_>, of: ImageId) -> Read<Option<ImageView>> {
    let row = sqlx::query(
        "SELECT i.id AS i_id, i.upload AS i_upload, i.owner AS i_owner, i.blob AS i_blob, i.filename AS i_filename, \
         i.format AS i_format, i.width_px AS i_width_px, i.height_px AS i_height_px, i.duplicate AS i_duplicate, \
         i.received_at AS i_received_at, b.sha256 AS b_sha256, b.bytes AS b_bytes \
         FROM images i JOIN blobs b ON b.id = i.blob WHERE i.id = ?",
    )
    .bind(id(of.uuid()))
    .fetch_optional(from)
    .await?;
    row.map(|row| image_from(Columns(&row))).transpose()
}

/// What is known of the images in these blobs.
pub(super) async fn facts(from: &SqlitePool, of: &[BlobId]) -> Read<Vec<(BlobId, String)>> {
    let mut known = Vec::with_capacity(of.len());
    for part in of.chunks(BLOBS) {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT blob, facts FROM facts WHERE blob IN (");
        let mut blobs = sql.separated(", ");
        for blob in part {
            blobs.push_bind(id(blob.uuid()));
        }
        sql.push(")");
        for row in sql.build().fetch_all(from).await? {
            let row = Columns(&row);
            known.push((BlobId::from_uuid(row.uuid("blob")?), row.plain("facts")?));
        }
    }
    Ok(known)
}

/// A named variant of an image, with its job.
pub(super) async fn variant(from: impl SqliteExecutor<'_>, of: ImageId, name: &VariantName) -> Read<Option<VariantView>> {
    let query = sqlx::query(tasks_of!("j.id = (SELECT job FROM tasks WHERE image = ? AND name = ?)"));
    let jobs = jobs_of(from, query.bind(id(of.uuid())).bind(name.as_str().to_owned())).await?;
    let Some((image, job)) = jobs.into_iter().next() else { return Ok(None) };
    let task = job.tasks.iter().find(|task| task.name == *name).cloned();
    Ok(task.map(|task| VariantView { owner: image.owner, filename: image.filename, task, job }))
}

/// The earliest time at which a queued job is due that has to wait for one.
pub(super) async fn next_due(from: impl SqliteExecutor<'_>) -> Read<Option<Timestamp>> {
    let due: Option<i64> =
        sqlx::query_scalar("SELECT min(due_at) FROM jobs WHERE state = 'queued' AND due_at IS NOT NULL").fetch_one(from).await?;
    Ok(due.map(Timestamp::from_millis))
}

/// `rejected` as it is stored: an array of [filename, code, detail, limit, received].
pub(super) fn rejected_text(rejected: &[RejectedFile]) -> Result<String, CatalogError> {
    let plain =
        |r: &RejectedFile| (r.filename.clone(), r.refusal.code.as_str(), r.refusal.detail.clone(), r.refusal.limit, r.refusal.received);
    serde_json::to_string(&rejected.iter().map(plain).collect::<Vec<_>>()).map_err(|e| CatalogError::Backend(e.into()))
}

fn rejected_from(text: &str) -> Read<Vec<RejectedFile>> {
    type Plain = (Option<String>, String, String, Option<u64>, Option<u64>);
    let plain: Vec<Plain> = serde_json::from_str(text).map_err(|e| nonsense(format!("column rejected: {e}")))?;
    let whole = |(filename, code, detail, limit, received): Plain| {
        let code = code.parse().map_err(|e| nonsense(format!("column rejected: {e}")))?;
        Ok(RejectedFile { filename, refusal: Refusal { code, detail, limit, received } })
    };
    plain.into_iter().map(whole).collect()
}

/// A statement with what is bound to it.
pub(super) type Asked<'q> = Query<'q, Sqlite, SqliteArguments>;

/// A job whose rows are coming in.
struct Gathered {
    /// Its place among the jobs of its upload: image, then id, which carries the time it was made.
    place: (i64, JobId),
    image: ImageView,
    job: JobView,
    tasks: Vec<(i64, TaskView)>,
}

/// The jobs of [`tasks_of`], each with its image, in the order of the images, then of the jobs; their tasks in order. A
/// join promises no order, so they are put in it here.
pub(super) async fn jobs_of<'e>(from: impl SqliteExecutor<'e>, query: Asked<'e>) -> Read<Vec<(ImageView, JobView)>> {
    let mut rows = query.fetch(from);
    let mut gathered: Vec<Gathered> = Vec::new();
    let mut known: HashMap<JobId, usize> = HashMap::new();
    while let Some(row) = rows.try_next().await? {
        let row = Columns(&row);
        let of = JobId::from_uuid(row.uuid("j_id")?);
        let at = match known.get(&of) {
            Some(at) => *at,
            None => {
                let place = (row.plain("i_position")?, of);
                gathered.push(Gathered { place, image: image_from(row)?, job: job_from(row, of)?, tasks: Vec::new() });
                known.insert(of, gathered.len() - 1);
                gathered.len() - 1
            }
        };
        let of = &mut gathered[at];
        of.tasks.push((row.plain("t_position")?, task_from(row, of.job.state)?));
    }
    gathered.sort_by_key(|of| of.place);
    let whole = |mut of: Gathered| {
        of.tasks.sort_by_key(|(position, _)| *position);
        of.job.tasks = of.tasks.into_iter().map(|(_, task)| task).collect();
        (of.image, of.job)
    };
    Ok(gathered.into_iter().map(whole).collect())
}

/// An image by the columns of [`image`].
pub(super) fn image_from(row: Columns<'_>) -> Read<ImageView> {
    Ok(ImageView {
        id: ImageId::from_uuid(row.uuid("i_id")?),
        upload: UploadId::from_uuid(row.uuid("i_upload")?),
        owner: row.plain("i_owner")?,
        blob: BlobId::from_uuid(row.uuid("i_blob")?),
        bytes: row.number("b_bytes")?,
        sha256: row.digest("b_sha256")?,
        filename: row.plain("i_filename")?,
        format: row.plain("i_format")?,
        width_px: row.number("i_width_px")?,
        height_px: row.number("i_height_px")?,
        duplicate: row.plain("i_duplicate")?,
        received_at: row.time("i_received_at")?,
    })
}

/// A job, still without its tasks.
fn job_from(row: Columns<'_>, of: JobId) -> Read<JobView> {
    let timing = match row.maybe_duration("j_total_ns")? {
        None => None,
        Some(total) => Some(JobTiming {
            queue: row.maybe_duration("j_queue_ns")?.unwrap_or_default(),
            read: row.maybe_duration("j_read_ns")?.unwrap_or_default(),
            decode: row.maybe_duration("j_decode_ns")?.unwrap_or_default(),
            cpu: row.maybe_duration("j_cpu_ns")?.unwrap_or_default(),
            total,
        }),
    };
    Ok(JobView {
        id: of,
        upload: UploadId::from_uuid(row.uuid("i_upload")?),
        image: ImageId::from_uuid(row.uuid("i_id")?),
        state: row.word("j_state")?,
        attempt: row.number("j_attempt")?,
        max_attempts: row.number("j_max_attempts")?,
        priority: row.word("j_priority")?,
        queued_at: row.time("j_queued_at")?,
        due_at: row.maybe_time("j_due_at")?,
        started_at: row.maybe_time("j_started_at")?,
        finished_at: row.maybe_time("j_finished_at")?,
        timing,
        peak_bytes: row.maybe_number("j_peak_bytes")?,
        failure: row.failure("j_failure_code", "j_failure_detail")?,
        origin: row.origin("j_request", "j_trace")?,
        tasks: Vec::new(),
    })
}

fn task_from(row: Columns<'_>, job: JobState) -> Read<TaskView> {
    let timing = match row.maybe_duration("t_transform_ns")? {
        None => None,
        Some(transform) => Some(TaskTiming {
            transform,
            encode: row.maybe_duration("t_encode_ns")?.unwrap_or_default(),
            store: row.maybe_duration("t_store_ns")?.unwrap_or_default(),
        }),
    };
    let result = if row.maybe_uuid("v_result")?.is_some() { Some(stored_from(row)?) } else { None };
    Ok(TaskView {
        id: TaskId::from_uuid(row.uuid("t_id")?),
        name: row.word("t_name")?,
        options: row.plain("t_options")?,
        spec: row.plain("t_spec")?,
        format: row.plain("t_format")?,
        state: task_state(row.0.try_get("t_state")?, job)?,
        result,
        timing,
        failure: row.failure("t_failure_code", "t_failure_detail")?,
    })
}

/// A variant that is there.
pub(super) fn stored_from(row: Columns<'_>) -> Read<StoredVariant> {
    Ok(StoredVariant {
        blob: BlobId::from_uuid(row.uuid("v_result")?),
        bytes: row.number("r_bytes")?,
        sha256: row.digest("r_sha256")?,
        width_px: row.number("v_width_px")?,
        height_px: row.number("v_height_px")?,
        format: row.plain("v_format")?,
        quality: row.maybe_number("v_quality")?,
        frames: row.number("v_frames")?,
    })
}

/// A task's state: 'pending' is what its job does.
pub(super) fn task_state(word: &str, job: JobState) -> Read<TaskState> {
    match (word, job) {
        ("pending", JobState::Running) => Ok(TaskState::Running),
        ("pending", _) => Ok(TaskState::Queued),
        (word, _) => word.parse().map_err(|e| nonsense(format!("column state: {e}"))),
    }
}
