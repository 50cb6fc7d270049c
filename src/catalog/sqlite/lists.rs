//! Lists in parts, newest first: each part is one statement that walks an index from the cursor on.
//!
//! The invariant: what a part costs depends on its length, never on the size of a table or on how far in it lies. The
//! rows of one part are put in order here, as a join promises none.

use std::cmp::Reverse;

use sqlx::{SqliteExecutor, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{ImageView, JobView, Listed, Page, UploadView},
    columns::{Columns, Read, id},
    views::{jobs_of, tasks_of, upload_from},
};
use crate::domain::{ImageId, JobId, JobState, UploadId};

pub(super) const UPLOADS: &str = tasks_of!("j.upload IN (SELECT id FROM uploads WHERE owner = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3)");
pub(super) const IMAGES: &str = tasks_of!("j.image IN (SELECT id FROM images WHERE owner = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3)");
pub(super) const JOBS: &str = tasks_of!("j.id IN (SELECT id FROM jobs WHERE owner = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3)");
pub(super) const JOBS_IN_STATE: &str =
    tasks_of!("j.id IN (SELECT id FROM jobs WHERE owner = ?1 AND state = ?4 AND id < ?2 ORDER BY id DESC LIMIT ?3)");

/// After every UUIDv7.
const END: [u8; 16] = [0xff; 16];

/// See [`super::super::Catalog::uploads`].
pub(super) async fn uploads(from: impl SqliteExecutor<'_>, page: &Page<UploadId>) -> Read<Listed<UploadView, UploadId>> {
    let groups = groups(from, UPLOADS, &page.owner, page.before.map(UploadId::uuid), page.limit, None, "u_id").await?;
    let views = groups.iter().map(|rows| upload_from(rows)).collect::<Read<Vec<_>>>()?;
    Ok(cut(views, page.limit, |view| view.id))
}

/// See [`super::super::Catalog::images`].
pub(super) async fn images(from: impl SqliteExecutor<'_>, page: &Page<ImageId>) -> Read<Listed<(ImageView, JobView), ImageId>> {
    let groups = groups(from, IMAGES, &page.owner, page.before.map(ImageId::uuid), page.limit, None, "i_id").await?;
    let mut views = Vec::with_capacity(groups.len());
    for rows in &groups {
        // The first job is the one the image came with.
        views.extend(jobs_of(rows)?.into_iter().next());
    }
    Ok(cut(views, page.limit, |(image, _)| image.id))
}

/// See [`super::super::Catalog::jobs`].
pub(super) async fn jobs(from: impl SqliteExecutor<'_>, page: &Page<JobId>, state: Option<JobState>) -> Read<Listed<JobView, JobId>> {
    let sql = if state.is_some() { JOBS_IN_STATE } else { JOBS };
    let groups = groups(from, sql, &page.owner, page.before.map(JobId::uuid), page.limit, state, "j_id").await?;
    let mut views = Vec::with_capacity(groups.len());
    for rows in &groups {
        views.extend(jobs_of(rows)?.into_iter().map(|(_, job)| job));
    }
    Ok(cut(views, page.limit, |job| job.id))
}

/// One more row group than is wanted was asked for: it tells whether there is a next part.
fn cut<T, I>(mut items: Vec<T>, limit: u32, id_of: impl Fn(&T) -> I) -> Listed<T, I> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(id_of);
    Listed { items, next }
}

/// The rows of a part, a group for each id in column `by`, newest first, each in the order of [`jobs_of`].
async fn groups(
    from: impl SqliteExecutor<'_>,
    sql: &'static str,
    owner: &str,
    before: Option<Uuid>,
    limit: u32,
    state: Option<JobState>,
    by: &str,
) -> Read<Vec<Vec<SqliteRow>>> {
    let before = before.map_or_else(|| END.to_vec(), id);
    let mut query = sqlx::query(sql).bind(owner.to_owned()).bind(before).bind(i64::from(limit) + 1);
    if let Some(state) = state {
        query = query.bind(state.as_str());
    }
    let mut keyed = Vec::new();
    for row in query.fetch_all(from).await? {
        let of = Columns(&row);
        let within = (of.plain::<i64>("i_position")?, of.plain::<i64>("j_queued_at")?, of.uuid("j_id")?, of.plain::<i64>("t_position")?);
        keyed.push(((Reverse(of.uuid(by)?), within), row));
    }
    keyed.sort_by_key(|(key, _)| *key);
    let mut groups: Vec<Vec<SqliteRow>> = Vec::new();
    let mut last = None;
    for ((group, _), row) in keyed {
        match groups.last_mut() {
            Some(rows) if last == Some(group) => rows.push(row),
            _ => groups.push(vec![row]),
        }
        last = Some(group);
    }
    Ok(groups)
}
