//! Lists in parts, newest first: a first statement walks an index from the cursor on and says how large each item is, a
//! second reads those that fit into the part; both see the same moment.
//!
//! The invariant: what a part costs is bounded by [`MAX_WEIGHT`] and by the largest item, whatever the limit, the size of a
//! table and how far in it lies.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::{
    SqliteConnection, SqlitePool,
    sqlite::{Sqlite, SqliteRow},
};
use uuid::Uuid;

use super::{
    super::{ImageView, JobView, Listed, Page, UploadView},
    columns::{Columns, Read, id},
    views::{jobs_of, tasks_of, upload_from, with_images},
};
use crate::domain::{ImageId, JobId, JobState, UploadId};

/// Where a part ends before its limit: in tasks, and in KiB of what uploads hold beside them.
pub(super) const MAX_WEIGHT: u64 = 2000;

/// Walks: ids, newest first, with the number of tasks.
pub(super) const WALK_UPLOADS: &str = "SELECT u.id AS id, u.owner AS owner, u.received_at AS received_at, u.expires_at AS expires_at, u.metadata AS metadata, \
     u.rejected AS rejected, length(u.metadata) + length(u.rejected) AS chars, \
     (SELECT count(*) FROM images i JOIN tasks t ON t.image = i.id WHERE i.upload = u.id) AS tasks \
     FROM uploads u WHERE u.owner = ?1 AND u.id < ?2 ORDER BY u.id DESC LIMIT ?3";
pub(super) const WALK_IMAGES: &str = "SELECT i.id AS id, 0 AS chars, (SELECT count(*) FROM tasks t WHERE t.image = i.id) AS tasks \
     FROM images i WHERE i.owner = ?1 AND i.id < ?2 ORDER BY i.id DESC LIMIT ?3";
pub(super) const WALK_JOBS: &str = "SELECT j.id AS id, 0 AS chars, (SELECT count(*) FROM tasks t WHERE t.job = j.id) AS tasks \
     FROM jobs j WHERE j.owner = ?1 AND j.id < ?2 ORDER BY j.id DESC LIMIT ?3";
pub(super) const WALK_JOBS_IN_STATE: &str = "SELECT j.id AS id, 0 AS chars, (SELECT count(*) FROM tasks t WHERE t.job = j.id) AS tasks \
     FROM jobs j WHERE j.owner = ?1 AND j.state = ?4 AND j.id < ?2 ORDER BY j.id DESC LIMIT ?3";

/// What lies between the cursor and the last of the part.
pub(super) const UPLOADS: &str = tasks_of!("j.upload IN (SELECT id FROM uploads WHERE owner = ?1 AND id < ?2 AND id >= ?3)");
pub(super) const IMAGES: &str = tasks_of!("j.image IN (SELECT id FROM images WHERE owner = ?1 AND id < ?2 AND id >= ?3)");
pub(super) const JOBS: &str = tasks_of!("j.id IN (SELECT id FROM jobs WHERE owner = ?1 AND id < ?2 AND id >= ?3)");
pub(super) const JOBS_IN_STATE: &str = tasks_of!("j.id IN (SELECT id FROM jobs WHERE owner = ?1 AND state = ?4 AND id < ?2 AND id >= ?3)");

/// After every UUIDv7.
pub(super) const END: [u8; 16] = [0xff; 16];

/// See [`super::super::Catalog::uploads`].
pub(super) async fn uploads(from: &SqlitePool, page: &Page<UploadId>) -> Read<Listed<UploadView, UploadId>> {
    let mut moment = from.begin().await?;
    let range = Range { owner: &page.owner, before: page.before.map(UploadId::uuid), state: None };
    let walked = range.walk(&mut moment, WALK_UPLOADS, page.limit, upload_from).await?;
    let mut images: HashMap<UploadId, Vec<(ImageView, JobView)>> = HashMap::new();
    for (image, job) in range.jobs(&mut moment, UPLOADS, walked.last).await? {
        images.entry(image.upload).or_default().push((image, job));
    }
    let items = walked
        .items
        .into_iter()
        .filter_map(|head| {
            let images = images.remove(&head.id)?;
            Some(with_images(head, images))
        })
        .collect();
    Ok(Listed { items, next: walked.next.map(UploadId::from_uuid) })
}

/// See [`super::super::Catalog::images`].
pub(super) async fn images(from: &SqlitePool, page: &Page<ImageId>) -> Read<Listed<(ImageView, Vec<JobView>), ImageId>> {
    let mut moment = from.begin().await?;
    let range = Range { owner: &page.owner, before: page.before.map(ImageId::uuid), state: None };
    let walked = range.walk(&mut moment, WALK_IMAGES, page.limit, |_| Ok(())).await?;
    let mut jobs = range.jobs(&mut moment, IMAGES, walked.last).await?;
    // Stable: the first job of an image is the one it came with.
    jobs.sort_by_key(|(image, _)| std::cmp::Reverse(image.id));
    let mut items: Vec<(ImageView, Vec<JobView>)> = Vec::new();
    for (image, job) in jobs {
        match items.last_mut().filter(|(last, _)| last.id == image.id) {
            Some((_, work)) => work.push(job),
            None => items.push((image, vec![job])),
        }
    }
    Ok(Listed { items, next: walked.next.map(ImageId::from_uuid) })
}

/// See [`super::super::Catalog::jobs`].
pub(super) async fn jobs(from: &SqlitePool, page: &Page<JobId>, state: Option<JobState>) -> Read<Listed<JobView, JobId>> {
    let (walk, read) = if state.is_some() { (WALK_JOBS_IN_STATE, JOBS_IN_STATE) } else { (WALK_JOBS, JOBS) };
    let mut moment = from.begin().await?;
    let range = Range { owner: &page.owner, before: page.before.map(JobId::uuid), state };
    let walked = range.walk(&mut moment, walk, page.limit, |_| Ok(())).await?;
    let mut items: Vec<JobView> = range.jobs(&mut moment, read, walked.last).await?.into_iter().map(|(_, job)| job).collect();
    items.sort_by_key(|job| std::cmp::Reverse(job.id));
    Ok(Listed { items, next: walked.next.map(JobId::from_uuid) })
}

/// Which part of a list.
struct Range<'p> {
    owner: &'p str,
    before: Option<Uuid>,
    state: Option<JobState>,
}

/// What a part consists of.
struct Walked<H> {
    items: Vec<H>,
    /// The oldest of the part.
    last: Option<Uuid>,
    /// The same, if the list goes on after it.
    next: Option<Uuid>,
}

impl Range<'_> {
    fn before(&self) -> Vec<u8> {
        self.before.map_or_else(|| END.to_vec(), id)
    }

    /// Which items are in the part: at least one, if there is any.
    async fn walk<H>(
        &self,
        from: &mut SqliteConnection,
        sql: &'static str,
        limit: u32,
        head: impl Fn(&SqliteRow) -> Read<H>,
    ) -> Read<Walked<H>> {
        // One more than is wanted tells whether there is a next part.
        let query = sqlx::query::<Sqlite>(sql).bind(self.owner.to_owned()).bind(self.before()).bind(i64::from(limit) + 1);
        let query = if let Some(state) = self.state { query.bind(state.as_str()) } else { query };
        let mut rows = query.fetch(from);
        let (mut walked, mut weight) = (Walked { items: Vec::new(), last: None, next: None }, 0);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        while let Some(row) = rows.try_next().await? {
            let of = Columns(&row);
            weight += of.number::<u64>("tasks")? + of.number::<u64>("chars")? / 1024;
            if !walked.items.is_empty() && (walked.items.len() == limit || weight > MAX_WEIGHT) {
                walked.next = walked.last;
                break;
            }
            walked.items.push(head(&row)?);
            walked.last = Some(of.uuid("id")?);
        }
        Ok(walked)
    }

    /// All jobs of the part down to `last`.
    async fn jobs(&self, from: &mut SqliteConnection, sql: &'static str, last: Option<Uuid>) -> Read<Vec<(ImageView, JobView)>> {
        let Some(last) = last else { return Ok(Vec::new()) };
        let query = sqlx::query(sql).bind(self.owner.to_owned()).bind(self.before()).bind(id(last));
        let query = if let Some(state) = self.state { query.bind(state.as_str()) } else { query };
        jobs_of(from, query).await
    }
}
