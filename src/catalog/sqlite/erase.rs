//! Deletion: all rows of an upload or an image in one transaction, tombstones, and what becomes of their blobs. What is remembered of their jobs is
//! `history.rs`'s.
//!
//! Invariants: the references of a blob are the images and variants that point at it; a variant lives as long as its
//! original has an image; a dead blob is never live again, as sharing looks at live ones only.

use super::{
    super::{CatalogError, Deletion, Erased, ErasedImage, Subject},
    columns::{Columns, id},
    history,
    writer::Session,
};
use crate::domain::{BlobId, ImageId, JobId, JobState, Timestamp, UploadId, UploadState};
use sqlx::SqliteExecutor;
use uuid::Uuid;

/// See [`super::super::Catalog::delete_upload`].
pub(super) async fn delete_upload(session: &mut Session, of: UploadId, at: Timestamp) -> Result<Deletion, CatalogError> {
    let owner: Option<String> =
        sqlx::query_scalar("SELECT owner FROM uploads WHERE id = ?").bind(id(of.uuid())).fetch_optional(&mut session.conn).await?;
    let Some(owner) = owner else { return absent(session, Subject::Upload(of)).await };
    let rows = sqlx::query("SELECT id, blob FROM images WHERE upload = ?").bind(id(of.uuid())).fetch_all(&mut session.conn).await?;
    let mut images = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = Columns(row);
        images.push((ImageId::from_uuid(row.uuid("id")?), BlobId::from_uuid(row.uuid("blob")?)));
    }
    let mut erased = nothing_of(of);
    for (image, blob) in images {
        erase_image(session, &mut erased, image, blob, &owner, at).await?;
    }
    erase_upload(session, of, &owner, at).await?;
    Ok(Deletion::Done(erased))
}

/// See [`super::super::Catalog::delete_image`].
pub(super) async fn delete_image(session: &mut Session, of: ImageId, at: Timestamp) -> Result<Deletion, CatalogError> {
    let row =
        sqlx::query("SELECT upload, owner, blob FROM images WHERE id = ?").bind(id(of.uuid())).fetch_optional(&mut session.conn).await?;
    let Some(row) = row else { return absent(session, Subject::Image(of)).await };
    let row = Columns(&row);
    let (upload, owner) = (UploadId::from_uuid(row.uuid("upload")?), row.plain::<String>("owner")?);
    let mut erased = nothing_of(upload);
    erase_image(session, &mut erased, of, BlobId::from_uuid(row.uuid("blob")?), &owner, at).await?;
    let others: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM images WHERE upload = ?)")
        .bind(id(upload.uuid()))
        .fetch_one(&mut session.conn)
        .await?;
    if !others {
        erase_upload(session, upload, &owner, at).await?;
    } else if !erased.cancelled.is_empty() {
        let rows =
            sqlx::query("SELECT DISTINCT state FROM jobs WHERE upload = ?").bind(id(upload.uuid())).fetch_all(&mut session.conn).await?;
        let states = rows.iter().map(|row| Columns(row).word("state")).collect::<Result<Vec<JobState>, _>>()?;
        erased.left = Some(UploadState::of_jobs(states)).filter(|state| state.is_final());
    }
    Ok(Deletion::Done(erased))
}

fn nothing_of(upload: UploadId) -> Erased {
    Erased { upload, images: Vec::new(), running: Vec::new(), queued_jobs: 0, cancelled: Vec::new(), left: None, dead: Vec::new() }
}

async fn absent(session: &mut Session, subject: Subject) -> Result<Deletion, CatalogError> {
    Ok(if was_deleted(&mut session.conn, subject).await? { Deletion::Gone } else { Deletion::Unknown })
}

/// The rows of one image: tasks, jobs, the image, its reference, and with the last image of a blob the variants.
async fn erase_image(
    session: &mut Session,
    erased: &mut Erased,
    image: ImageId,
    blob: BlobId,
    owner: &str,
    at: Timestamp,
) -> Result<(), CatalogError> {
    history::keep(session, image, owner, at).await?;
    let tasks =
        sqlx::query("DELETE FROM tasks WHERE image = ? RETURNING name, state").bind(id(image.uuid())).fetch_all(&mut session.conn).await?;
    let mut variants = Vec::with_capacity(tasks.len());
    for row in &tasks {
        let row = Columns(row);
        variants.push(row.word("name")?);
        if row.plain::<&str>("state")? == "pending" {
            session.delta.pending_tasks -= 1;
            session.delta.cancelled_tasks += 1;
        }
    }
    let jobs =
        sqlx::query("DELETE FROM jobs WHERE image = ? RETURNING id, state").bind(id(image.uuid())).fetch_all(&mut session.conn).await?;
    for row in &jobs {
        let row = Columns(row);
        let job = JobId::from_uuid(row.uuid("id")?);
        let state: JobState = row.word("state")?;
        if !state.is_final() {
            erased.cancelled.push((job, image));
        }
        match state {
            JobState::Queued => {
                session.delta.queued_jobs -= 1;
                erased.queued_jobs += 1;
            }
            JobState::Running => {
                session.delta.running_jobs -= 1;
                erased.running.push(job);
            }
            JobState::Completed | JobState::Partial | JobState::Failed | JobState::Cancelled => {}
        }
        bury(session, Subject::Job(job), owner, at).await?;
    }
    sqlx::query("DELETE FROM images WHERE id = ?").bind(id(image.uuid())).execute(&mut session.conn).await?;
    bury(session, Subject::Image(image), owner, at).await?;
    erased.images.push(ErasedImage { id: image, variants });
    if unref(session, blob).await? {
        erased.dead.push(blob);
    }
    let results =
        sqlx::query("DELETE FROM variants WHERE blob = ?1 AND NOT EXISTS (SELECT 1 FROM images WHERE blob = ?1) RETURNING result")
            .bind(id(blob.uuid()))
            .fetch_all(&mut session.conn)
            .await?;
    for row in &results {
        let result = BlobId::from_uuid(Columns(row).uuid("result")?);
        if unref(session, result).await? {
            erased.dead.push(result);
        }
    }
    Ok(())
}

/// The upload's own row and its idempotency key.
async fn erase_upload(session: &mut Session, of: UploadId, owner: &str, at: Timestamp) -> Result<(), CatalogError> {
    sqlx::query("DELETE FROM idempotency WHERE upload = ?").bind(id(of.uuid())).execute(&mut session.conn).await?;
    sqlx::query("DELETE FROM uploads WHERE id = ?").bind(id(of.uuid())).execute(&mut session.conn).await?;
    bury(session, Subject::Upload(of), owner, at).await
}

/// Takes one reference from a live blob; true if it was the last and the blob is dead now.
pub(super) async fn unref(session: &mut Session, blob: BlobId) -> Result<bool, CatalogError> {
    let state: Option<String> = sqlx::query_scalar(
        "UPDATE blobs SET refs = refs - 1, state = CASE refs WHEN 1 THEN 'dead' ELSE state END WHERE id = ? RETURNING state",
    )
    .bind(id(blob.uuid()))
    .fetch_optional(&mut session.conn)
    .await?;
    Ok(state.as_deref() == Some("dead"))
}

/// The word of a subject and its id.
fn told(subject: Subject) -> (&'static str, Uuid) {
    match subject {
        Subject::Upload(of) => ("upload", of.uuid()),
        Subject::Image(of) => ("image", of.uuid()),
        Subject::Job(of) => ("job", of.uuid()),
    }
}

async fn bury(session: &mut Session, subject: Subject, owner: &str, at: Timestamp) -> Result<(), CatalogError> {
    let (kind, of) = told(subject);
    sqlx::query("INSERT INTO tombstones (id, kind, owner, deleted_at) VALUES (?, ?, ?, ?)")
        .bind(id(of))
        .bind(kind)
        .bind(owner)
        .bind(at.as_millis())
        .execute(&mut session.conn)
        .await?;
    Ok(())
}

/// See [`super::super::Catalog::was_deleted`].
pub(super) async fn was_deleted(from: impl SqliteExecutor<'_>, subject: Subject) -> Result<bool, CatalogError> {
    let (kind, of) = told(subject);
    let there =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tombstones WHERE id = ? AND kind = ?)").bind(id(of)).bind(kind).fetch_one(from);
    Ok(there.await?)
}

/// See [`super::super::Catalog::purge_tombstones`].
pub(super) async fn purge_tombstones(session: &mut Session, before: Timestamp, limit: u32) -> Result<u64, CatalogError> {
    let gone = sqlx::query(PURGE_TOMBSTONES).bind(before.as_millis()).bind(i64::from(limit)).execute(&mut session.conn).await?;
    Ok(gone.rows_affected())
}

pub(super) const PURGE_TOMBSTONES: &str =
    "DELETE FROM tombstones WHERE id IN (SELECT id FROM tombstones WHERE deleted_at < ? ORDER BY deleted_at LIMIT ?)";
