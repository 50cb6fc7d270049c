//! Taking an upload in: all its rows in one transaction. Knows nothing of leases.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::{QueryBuilder, Sqlite};

use super::{
    super::{Accepted, CatalogError, ImageView, JobView, NewImage, NewJob, NewTask, NewUpload, StoredVariant, TaskView, UploadView},
    columns::{Columns, id, nonsense, size},
    views,
    writer::Session,
};
use crate::domain::{BatchId, BlobId, ImageId, JobState, TaskState, Timestamp, UploadId, UploadState};

/// Most hashes asked for, and most tasks inserted, in one statement.
const ROWS: usize = 500;

/// See [`super::super::Catalog::accept_upload`].
pub(super) async fn accept_upload(session: &mut Session, upload: &NewUpload) -> Result<Accepted, CatalogError> {
    if let Some(replayed) = replay(session, upload).await? {
        return Ok(Accepted { upload: replayed, replayed: true, surplus: upload.images.iter().map(|image| image.blob).collect() });
    }
    let mut known = known_blobs(session, &upload.images).await?;
    let (mut surplus, mut images) = (Vec::new(), Vec::with_capacity(upload.images.len()));
    for (position, image) in upload.images.iter().enumerate() {
        let shared = known.get(&image.sha256).copied();
        let made = match shared {
            // A blob that came with this request has no variants yet, but is looked up all the same: it is rare.
            Some(blob) => existing_variants(session, blob, &image.job.tasks).await?,
            None => vec![None; image.job.tasks.len()],
        };
        insert_image(session, upload, position, shared, &made).await?;
        match shared {
            Some(_) => surplus.push(image.blob),
            None => drop(known.insert(image.sha256, image.blob)),
        }
        count(session, image, &made);
        images.push(view_of(upload, image, shared, made)?);
    }
    if images.is_empty() {
        return Err(nonsense(format!("upload {} has no images", upload.id)));
    }
    session.delta.uploads += 1;
    let head = UploadView {
        id: upload.id,
        owner: upload.owner.clone(),
        state: UploadState::Processing,
        received_at: upload.received_at,
        expires_at: upload.expires_at,
        metadata: upload.metadata.clone(),
        rejected: upload.rejected.clone(),
        images: Vec::new(),
    };
    Ok(Accepted { upload: views::with_images(head, images), replayed: false, surplus })
}

/// An image and its job as they were inserted, which is what reading them back would tell.
fn view_of(
    upload: &NewUpload,
    image: &NewImage,
    shared: Option<BlobId>,
    made: Vec<Option<StoredVariant>>,
) -> Result<(ImageView, JobView), CatalogError> {
    if made.is_empty() {
        return Err(nonsense(format!("image {} has no tasks", image.id)));
    }
    let done = made.iter().all(Option::is_some);
    let task = |(task, made): (&NewTask, Option<StoredVariant>)| TaskView {
        id: task.id,
        name: task.name.clone(),
        options: task.options.clone(),
        spec: task.spec.clone(),
        format: task.format.clone(),
        state: if made.is_some() { TaskState::Completed } else { TaskState::Queued },
        result: made,
        timing: None,
        failure: None,
    };
    let job = JobView {
        id: image.job.id,
        upload: upload.id,
        image: image.id,
        state: if done { JobState::Completed } else { JobState::Queued },
        attempt: 0,
        max_attempts: image.job.max_attempts,
        priority: image.job.priority,
        queued_at: upload.received_at,
        due_at: None,
        started_at: None,
        finished_at: done.then_some(upload.received_at),
        timing: None,
        peak_bytes: None,
        failure: None,
        origin: image.job.origin,
        tasks: image.job.tasks.iter().zip(made).map(task).collect(),
    };
    let view = ImageView {
        id: image.id,
        upload: upload.id,
        owner: upload.owner.clone(),
        blob: shared.unwrap_or(image.blob),
        bytes: image.bytes,
        sha256: image.sha256,
        filename: image.filename.clone(),
        format: image.format.clone(),
        width_px: image.width_px,
        height_px: image.height_px,
        duplicate: shared.is_some(),
        received_at: upload.received_at,
    };
    Ok((view, job))
}

/// The upload that was recorded under the same idempotency key.
async fn replay(session: &mut Session, upload: &NewUpload) -> Result<Option<UploadView>, CatalogError> {
    let Some(idempotency) = &upload.idempotency else { return Ok(None) };
    let found = sqlx::query("SELECT fingerprint, upload FROM idempotency WHERE owner = ? AND key = ?")
        .bind(upload.owner.as_str())
        .bind(idempotency.key.as_str())
        .fetch_optional(&mut session.conn)
        .await?;
    let Some(found) = found else { return Ok(None) };
    if Columns(&found).digest("fingerprint")? != idempotency.fingerprint {
        return Err(CatalogError::IdempotencyConflict);
    }
    let first = UploadId::from_uuid(Columns(&found).uuid("upload")?);
    let view = views::upload(&mut session.conn, first).await?;
    Ok(Some(view.ok_or_else(|| nonsense(format!("upload {first} of an idempotency key is not there")))?))
}

/// The live blobs that hold the same bytes as one of the images.
async fn known_blobs(session: &mut Session, images: &[NewImage]) -> Result<HashMap<[u8; 32], BlobId>, CatalogError> {
    let mut known = HashMap::new();
    for part in images.chunks(ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT id, sha256 FROM blobs WHERE state = 'live' AND sha256 IN (");
        let mut hashes = sql.separated(", ");
        for image in part {
            hashes.push_bind(image.sha256.to_vec());
        }
        sql.push(")");
        for row in sql.build().fetch_all(&mut session.conn).await? {
            let row = Columns(&row);
            known.insert(row.digest("sha256")?, BlobId::from_uuid(row.uuid("id")?));
        }
    }
    Ok(known)
}

/// For each task the variant of the blob that it would make, if that is there already.
pub(super) async fn existing_variants(
    session: &mut Session,
    blob: BlobId,
    tasks: &[NewTask],
) -> Result<Vec<Option<StoredVariant>>, CatalogError> {
    let mut rows = sqlx::query(
        "SELECT v.spec_digest AS spec_digest, v.pipeline_version AS pipeline_version, v.result AS v_result, v.format AS v_format, \
         v.quality AS v_quality, v.width_px AS v_width_px, v.height_px AS v_height_px, v.frames AS v_frames, \
         r.sha256 AS r_sha256, r.bytes AS r_bytes \
         FROM variants v JOIN blobs r ON r.id = v.result AND r.missing = 0 WHERE v.blob = ?",
    )
    .bind(id(blob.uuid()))
    .fetch(&mut session.conn);
    let mut existing = vec![None; tasks.len()];
    while let Some(row) = rows.try_next().await? {
        let row = Columns(&row);
        let of = (row.digest("spec_digest")?, row.number::<u32>("pipeline_version")?);
        for (task, made) in tasks.iter().zip(&mut existing) {
            if of == (task.spec_digest, task.pipeline_version) {
                *made = Some(views::stored_from(row)?);
            }
        }
    }
    Ok(existing)
}

/// All rows of one image in one trip; with the first one the upload's own.
async fn insert_image(
    session: &mut Session,
    upload: &NewUpload,
    position: usize,
    shared: Option<BlobId>,
    made: &[Option<StoredVariant>],
) -> Result<(), CatalogError> {
    let image = &upload.images[position];
    let received_at = upload.received_at.as_millis();
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let mut sql = QueryBuilder::<Sqlite>::new("");
    if position == 0 {
        insert_upload(&mut sql, upload)?;
    }
    match shared {
        Some(blob) => sql.push("UPDATE blobs SET refs = refs + 1 WHERE id = ").push_bind(id(blob.uuid())),
        None => {
            sql.push("INSERT INTO blobs (refs, state, id, sha256, bytes) VALUES (1, 'live', ");
            let mut values = sql.separated(", ");
            values.push_bind(id(image.blob.uuid())).push_bind(image.sha256.to_vec()).push_bind(size(image.bytes));
            sql.push(")")
        }
    };
    sql.push(
        "; INSERT INTO images (id, upload, position, owner, blob, filename, format, width_px, height_px, duplicate, received_at, metadata) \
         VALUES (",
    );
    let mut values = sql.separated(", ");
    values
        .push_bind(id(image.id.uuid()))
        .push_bind(id(upload.id.uuid()))
        .push_bind(position)
        .push_bind(upload.owner.clone())
        .push_bind(id(shared.unwrap_or(image.blob).uuid()))
        .push_bind(image.filename.clone())
        .push_bind(image.format.clone())
        .push_bind(i64::from(image.width_px))
        .push_bind(i64::from(image.height_px))
        .push_bind(shared.is_some())
        .push_bind(received_at)
        .push_bind(pairs_text(&image.metadata)?);
    sql.push("); ");
    insert_job(&mut sql, (upload.id, image.id, &upload.owner), None, &image.job, made, received_at);
    sql.build().execute(&mut session.conn).await?;
    Ok(())
}

fn insert_upload(sql: &mut QueryBuilder<Sqlite>, upload: &NewUpload) -> Result<(), CatalogError> {
    sql.push("INSERT INTO uploads (id, owner, received_at, expires_at, metadata, rejected) VALUES (");
    let mut values = sql.separated(", ");
    values
        .push_bind(id(upload.id.uuid()))
        .push_bind(upload.owner.clone())
        .push_bind(upload.received_at.as_millis())
        .push_bind(upload.expires_at.map(Timestamp::as_millis))
        .push_bind(pairs_text(&upload.metadata)?)
        .push_bind(views::rejected_text(&upload.rejected)?);
    sql.push("); ");
    if let Some(idempotency) = &upload.idempotency {
        sql.push("INSERT INTO idempotency (owner, key, fingerprint, upload) VALUES (");
        let mut values = sql.separated(", ");
        values
            .push_bind(upload.owner.clone())
            .push_bind(idempotency.key.clone())
            .push_bind(idempotency.fingerprint.to_vec())
            .push_bind(id(upload.id.uuid()));
        sql.push("); ");
    }
    Ok(())
}

/// The rows of a job of an image of an upload, made for a batch or not; `made` says which of its variants are there.
pub(super) fn insert_job(
    sql: &mut QueryBuilder<Sqlite>,
    (upload, image, owner): (UploadId, ImageId, &str),
    batch: Option<BatchId>,
    job: &NewJob,
    made: &[Option<StoredVariant>],
    at: i64,
) {
    let done = made.iter().all(Option::is_some);
    sql.push(
        "INSERT INTO jobs (id, upload, image, owner, batch, state, priority, rank, cost_bytes, max_attempts, queued_at, finished_at, \
         request, trace) VALUES (",
    );
    let mut values = sql.separated(", ");
    values
        .push_bind(id(job.id.uuid()))
        .push_bind(id(upload.uuid()))
        .push_bind(id(image.uuid()))
        .push_bind(owner.to_owned())
        .push_bind(batch.map(|of| id(of.uuid())))
        .push_bind(if done { "completed" } else { "queued" })
        .push_bind(job.priority.as_str())
        .push_bind(job.rank)
        .push_bind(size(job.cost_bytes))
        .push_bind(i64::from(job.max_attempts))
        .push_bind(at)
        .push_bind(done.then_some(at))
        .push_bind(job.origin.map(|origin| id(origin.request)))
        .push_bind(job.origin.and_then(|origin| origin.trace).map(|trace| trace.as_bytes().to_vec()));
    sql.push(")");
    let tasks: Vec<_> = job.tasks.iter().zip(made).enumerate().collect();
    for part in tasks.chunks(ROWS) {
        sql.push(
            "; INSERT INTO tasks (job, position, id, image, name, options, spec, spec_digest, pipeline_version, format, state, finished_at) ",
        );
        sql.push_values(part, |mut values, (position, (task, made))| {
            values
                .push_bind(id(job.id.uuid()))
                .push_bind(i64::try_from(*position).unwrap_or(i64::MAX))
                .push_bind(id(task.id.uuid()))
                .push_bind(id(image.uuid()))
                .push_bind(task.name.as_str().to_owned())
                .push_bind(task.options.clone())
                .push_bind(task.spec.clone())
                .push_bind(task.spec_digest.to_vec())
                .push_bind(i64::from(task.pipeline_version))
                .push_bind(task.format.clone())
                .push_bind(if made.is_some() { "completed" } else { "pending" })
                .push_bind(made.is_some().then_some(at));
        });
    }
}

/// `metadata` as it is stored: an array of [key, value], which keeps order and repeated keys.
fn pairs_text(pairs: &[(String, String)]) -> Result<String, CatalogError> {
    serde_json::to_string(pairs).map_err(|e| CatalogError::Backend(e.into()))
}

fn count(session: &mut Session, image: &NewImage, made: &[Option<StoredVariant>]) {
    session.delta.bytes_received += size(image.bytes);
    count_job(session, made);
}

/// A new job, of whose variants `made` are there.
pub(super) fn count_job(session: &mut Session, made: &[Option<StoredVariant>]) {
    let tasks = i64::try_from(made.len()).unwrap_or(i64::MAX);
    let completed = i64::try_from(made.iter().filter(|made| made.is_some()).count()).unwrap_or(i64::MAX);
    session.delta.completed_tasks += completed;
    session.delta.pending_tasks += tasks - completed;
    session.delta.queued_jobs += i64::from(completed < tasks);
}
