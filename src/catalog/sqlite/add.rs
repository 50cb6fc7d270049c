//! More work for an image that is there. Knows nothing of leases.
//!
//! The invariant: a variant's name is written once; what it stands for never changes.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Sqlite};

use super::{
    super::{CatalogError, JobAdded, NewJob, Subject},
    accept::{count_job, existing_variants, insert_job},
    columns::{Columns, id},
    erase, work,
    writer::Session,
};
use crate::domain::{BatchId, BlobId, ImageId, JobState, Timestamp, UploadId};

/// See [`super::super::Catalog::add_job`]; `batch` is what it is made for.
pub(super) async fn add_job(
    session: &mut Session,
    of: ImageId,
    job: &NewJob,
    batch: Option<BatchId>,
    at: Timestamp,
) -> Result<JobAdded, CatalogError> {
    let row =
        sqlx::query("SELECT upload, owner, blob FROM images WHERE id = ?").bind(id(of.uuid())).fetch_optional(&mut session.conn).await?;
    let Some(row) = row else {
        let was_deleted = erase::was_deleted(&mut session.conn, Subject::Image(of)).await?;
        return Ok(if was_deleted { JobAdded::Gone } else { JobAdded::Unknown });
    };
    let row = Columns(&row);
    let (upload, blob) = (UploadId::from_uuid(row.uuid("upload")?), BlobId::from_uuid(row.uuid("blob")?));
    let owner: String = row.plain("owner")?;
    let rows = sqlx::query("SELECT name, spec_digest FROM tasks WHERE image = ?").bind(id(of.uuid())).fetch_all(&mut session.conn).await?;
    let mut used: HashMap<String, [u8; 32]> = HashMap::with_capacity(rows.len());
    for row in &rows {
        let row = Columns(row);
        used.insert(row.plain("name")?, row.digest("spec_digest")?);
    }
    let mut fresh = NewJob { tasks: Vec::with_capacity(job.tasks.len()), ..job.clone() };
    for task in &job.tasks {
        match used.get(task.name.as_str()) {
            None => fresh.tasks.push(task.clone()),
            Some(spec_digest) if *spec_digest == task.spec_digest => {}
            Some(_) => return Ok(JobAdded::Taken(task.name.clone())),
        }
    }
    if fresh.tasks.is_empty() {
        return Ok(JobAdded::Added { upload, job: None });
    }
    let made = existing_variants(session, blob, &fresh.tasks).await?;
    let mut sql = QueryBuilder::<Sqlite>::new("");
    insert_job(&mut sql, (upload, of, &owner), batch, &fresh, &made, at.as_millis());
    sql.build().execute(&mut session.conn).await?;
    count_job(session, &made);
    let state = if made.iter().all(Option::is_some) { JobState::Completed } else { JobState::Queued };
    let told = work::ended(session, fresh.id, state).await?;
    Ok(JobAdded::Added { upload, job: Some((fresh.id, told)) })
}
