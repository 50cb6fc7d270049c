//! Batches: the walk over images, and what is recorded of it.
//!
//! Invariants: a look is bounded by the rows it looks at, not by those it finds; jobs of a step and the place the walk has come to are written together.
//! The counts of a batch's jobs are moved by triggers (migration 5), so nothing here or elsewhere has to remember them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Sqlite, SqliteExecutor, sqlite::SqliteRow};

use super::{
    super::{
        BatchMade, BatchRefusal, BatchStep, BatchVariant, BatchView, Batches, Candidate, Candidates, CatalogError, ImageFilter,
        ImagesCounted, JobAdded, JobOfStep, Listed, NewBatch, Page, Stands,
    },
    SqliteCatalog, add,
    columns::{Columns, Read, id, nonsense, size},
    views,
    writer::Session,
};
use crate::domain::{BatchCounts, BatchId, BatchState, Code, ImageId, JobId, Timestamp};

/// After every UUIDv7.
const END: [u8; 16] = [0xff; 16];

const COLUMNS: &str = "SELECT id, owner, state, filter, variants, priority, created_at, finished_at, walked, matched, skipped, refused, open_jobs, \
     completed_jobs, partial_jobs, failed_jobs, cancelled_jobs, fingerprint FROM batches";
pub(super) const OPEN: &str = "SELECT id FROM batches WHERE state = 'running' OR open_jobs > 0 ORDER BY id";
pub(super) const OPEN_JOBS: &str =
    "SELECT id FROM jobs INDEXED BY jobs_batch_open WHERE batch = ? AND state IN ('queued', 'running') LIMIT ?";
pub(super) const OVER: &str = "SELECT id FROM batches WHERE finished_at < ? AND open_jobs = 0 ORDER BY finished_at LIMIT 1";
pub(super) const PART: &str = "UPDATE jobs SET batch = NULL WHERE id IN (SELECT id FROM jobs WHERE batch = ? LIMIT ?)";
pub(super) const LIST: &str = "owner = ? AND id < ? ORDER BY id DESC LIMIT ?";

/// A filter as it is stored.
#[derive(Serialize, Deserialize)]
struct FilterText {
    formats: Vec<String>,
    since: Option<i64>,
    until: Option<i64>,
    width: (Option<u32>, Option<u32>),
    height: (Option<u32>, Option<u32>),
    lacks: Option<String>,
    metadata: Vec<(String, String)>,
}

fn filter_text(filter: &ImageFilter) -> Result<String, CatalogError> {
    let plain = FilterText {
        formats: filter.formats.clone(),
        since: filter.since.map(Timestamp::as_millis),
        until: filter.until.map(Timestamp::as_millis),
        width: (filter.min_width_px, filter.max_width_px),
        height: (filter.min_height_px, filter.max_height_px),
        lacks: filter.lacks.as_ref().map(|name| name.as_str().to_owned()),
        metadata: filter.metadata.clone(),
    };
    serde_json::to_string(&plain).map_err(|e| CatalogError::Backend(e.into()))
}

fn filter_from(text: &str) -> Read<ImageFilter> {
    let plain: FilterText = serde_json::from_str(text).map_err(|e| nonsense(format!("column filter: {e}")))?;
    let lacks = plain.lacks.map(|name| name.parse()).transpose().map_err(|e| nonsense(format!("column filter: {e}")))?;
    Ok(ImageFilter {
        formats: plain.formats,
        since: plain.since.map(Timestamp::from_millis),
        until: plain.until.map(Timestamp::from_millis),
        min_width_px: plain.width.0,
        max_width_px: plain.width.1,
        min_height_px: plain.height.0,
        max_height_px: plain.height.1,
        lacks,
        metadata: plain.metadata,
    })
}

/// Variants as they are stored: an array of [name, options, spec, digest].
type VariantText = (String, String, String, [u8; 32]);

fn variants_text(variants: &[BatchVariant]) -> Result<String, CatalogError> {
    let plain = |of: &BatchVariant| (of.name.as_str().to_owned(), of.options.clone(), of.spec.clone(), of.spec_digest);
    let plain: Vec<VariantText> = variants.iter().map(plain).collect();
    serde_json::to_string(&plain).map_err(|e| CatalogError::Backend(e.into()))
}

fn variants_from(text: &str) -> Read<Vec<BatchVariant>> {
    let plain: Vec<VariantText> = serde_json::from_str(text).map_err(|e| nonsense(format!("column variants: {e}")))?;
    let whole = |(name, options, spec, spec_digest): VariantText| {
        let name = name.parse().map_err(|e| nonsense(format!("column variants: {e}")))?;
        Ok(BatchVariant { name, options, spec, spec_digest })
    };
    plain.into_iter().map(whole).collect()
}

/// A batch, still without the reasons of its refusals.
fn batch_from(row: &SqliteRow) -> Read<BatchView> {
    let row = Columns(row);
    Ok(BatchView {
        id: BatchId::from_uuid(row.uuid("id")?),
        owner: row.plain("owner")?,
        state: row.word("state")?,
        filter: filter_from(row.plain("filter")?)?,
        variants: variants_from(row.plain("variants")?)?,
        priority: row.word("priority")?,
        created_at: row.time("created_at")?,
        finished_at: row.maybe_time("finished_at")?,
        walked: row.plain("walked")?,
        counts: BatchCounts {
            matched: row.maybe_number("matched")?,
            skipped: row.number("skipped")?,
            refused: row.number("refused")?,
            open: row.number("open_jobs")?,
            completed: row.number("completed_jobs")?,
            partial: row.number("partial_jobs")?,
            failed: row.number("failed_jobs")?,
            cancelled: row.number("cancelled_jobs")?,
        },
        refusals: Vec::new(),
    })
}

async fn refusals<'e>(from: impl SqliteExecutor<'e>, of: BatchId) -> Read<Vec<BatchRefusal>> {
    let rows = sqlx::query("SELECT code, images, example, detail FROM batch_refusals WHERE batch = ? ORDER BY code")
        .bind(id(of.uuid()))
        .fetch_all(from)
        .await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = Columns(row);
        all.push(BatchRefusal {
            code: row.word("code")?,
            images: row.number("images")?,
            example: ImageId::from_uuid(row.uuid("example")?),
            detail: row.plain("detail")?,
        });
    }
    Ok(all)
}

/// A batch as it is inside the open transaction.
async fn batch_now(session: &mut Session, of: BatchId) -> Read<Option<BatchView>> {
    let row =
        sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = ?"))).bind(id(of.uuid())).fetch_optional(&mut session.conn).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(BatchView { refusals: refusals(&mut session.conn, of).await?, ..batch_from(&row)? }))
}

/// The condition an image `i` has to meet.
fn push_condition(sql: &mut QueryBuilder<Sqlite>, filter: &ImageFilter) {
    sql.push("(1");
    if !filter.formats.is_empty() {
        sql.push(" AND i.format IN (");
        let mut formats = sql.separated(", ");
        for format in &filter.formats {
            formats.push_bind(format.clone());
        }
        sql.push(")");
    }
    let times =
        [(filter.since, "i.received_at >= "), (filter.until, "i.received_at < ")].map(|(at, than)| (at.map(Timestamp::as_millis), than));
    let sizes = [
        (filter.min_width_px, "i.width_px >= "),
        (filter.max_width_px, "i.width_px <= "),
        (filter.min_height_px, "i.height_px >= "),
        (filter.max_height_px, "i.height_px <= "),
    ];
    for (bound, than) in times.into_iter().chain(sizes.map(|(px, than)| (px.map(i64::from), than))) {
        if let Some(bound) = bound {
            sql.push(" AND ").push(than).push_bind(bound);
        }
    }
    if let Some(name) = &filter.lacks {
        sql.push(" AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image = i.id AND t.name = ").push_bind(name.as_str().to_owned()).push(")");
    }
    for (key, value) in &filter.metadata {
        sql.push(" AND EXISTS (SELECT 1 FROM uploads u, json_each(u.metadata) m WHERE u.id = i.upload AND m.value ->> 0 = ")
            .push_bind(key.clone())
            .push(" AND m.value ->> 1 = ")
            .push_bind(value.clone())
            .push(")");
    }
    sql.push(")");
}

/// Where a part of the walk begins and ends.
fn push_range(sql: &mut QueryBuilder<Sqlite>, owner: &str, of: Option<BatchId>) {
    sql.push(" FROM images i WHERE i.owner = ").push_bind(owner.to_owned());
    match of {
        // NULL where there was no image: then none is in it.
        Some(of) => sql.push(" AND i.id <= (SELECT upto FROM batches WHERE id = ").push_bind(id(of.uuid())).push(")"),
        None => sql.push(" AND i.id <= ").push_bind(END.to_vec()),
    };
}

fn count(owner: &str, filter: &ImageFilter, of: Option<BatchId>, after: Option<ImageId>, most: u32) -> QueryBuilder<Sqlite> {
    let mut sql =
        QueryBuilder::new("SELECT count(*) AS looked_at, coalesce(sum(matches), 0) AS matched, max(id) AS last FROM (SELECT i.id AS id, ");
    push_condition(&mut sql, filter);
    sql.push(" AS matches");
    push_range(&mut sql, owner, of);
    sql.push(" AND i.id > ").push_bind(after.map_or_else(Vec::new, |after| id(after.uuid())));
    sql.push(" ORDER BY i.id LIMIT ").push_bind(i64::from(most)).push(")");
    sql
}

/// The next images of the walk, each with whether it matches, how many of the variants it has, and which name is taken.
fn walk(batch: &BatchView, most: u32) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(
        "SELECT i.id AS i_id, i.upload AS i_upload, i.owner AS i_owner, i.blob AS i_blob, i.filename AS i_filename, \
         i.format AS i_format, i.width_px AS i_width_px, i.height_px AS i_height_px, i.duplicate AS i_duplicate, \
         i.received_at AS i_received_at, b.sha256 AS b_sha256, b.bytes AS b_bytes, w.matches AS matches, \
         CASE WHEN w.matches THEN (SELECT count(*) FROM tasks t WHERE t.image = w.id AND ",
    );
    let named = |sql: &mut QueryBuilder<Sqlite>, than: &str| {
        sql.push("(");
        for (n, variant) in batch.variants.iter().enumerate() {
            sql.push(if n == 0 { "" } else { " OR " });
            sql.push("(t.name = ").push_bind(variant.name.as_str().to_owned());
            sql.push(" AND t.spec_digest ").push(than).push_bind(variant.spec_digest.to_vec()).push(")");
        }
        sql.push(")");
    };
    named(&mut sql, "= ");
    sql.push(") END AS same, CASE WHEN w.matches THEN (SELECT min(t.name) FROM tasks t WHERE t.image = w.id AND ");
    named(&mut sql, "<> ");
    sql.push(") END AS taken FROM (SELECT i.id AS id, ");
    push_condition(&mut sql, &batch.filter);
    sql.push(" AS matches");
    push_range(&mut sql, &batch.owner, Some(batch.id));
    sql.push(" AND i.id > coalesce((SELECT cursor FROM batches WHERE id = ").push_bind(id(batch.id.uuid())).push("), x'')");
    sql.push(" ORDER BY i.id LIMIT ").push_bind(i64::from(most));
    sql.push(") w JOIN images i ON i.id = w.id JOIN blobs b ON b.id = i.blob ORDER BY w.id");
    sql
}

async fn make_batch(session: &mut Session, new: &NewBatch) -> Result<BatchMade, CatalogError> {
    if let Some(idempotency) = &new.idempotency {
        let found = sqlx::query("SELECT id, fingerprint FROM batches WHERE owner = ? AND key = ?")
            .bind(new.owner.as_str())
            .bind(idempotency.key.as_str())
            .fetch_optional(&mut session.conn)
            .await?;
        if let Some(found) = found {
            if Columns(&found).digest("fingerprint")? != idempotency.fingerprint {
                return Err(CatalogError::IdempotencyConflict);
            }
            let first = BatchId::from_uuid(Columns(&found).uuid("id")?);
            let batch = batch_now(session, first).await?;
            return Ok(BatchMade { batch: batch.ok_or_else(|| nonsense(format!("batch {first} is not there")))?, replayed: true });
        }
    }
    sqlx::query(
        "INSERT INTO batches (id, owner, state, filter, variants, priority, key, fingerprint, created_at, upto) \
         SELECT ?1, ?2, 'running', ?3, ?4, ?5, ?6, ?7, ?8, (SELECT max(id) FROM images WHERE owner = ?2)",
    )
    .bind(id(new.id.uuid()))
    .bind(new.owner.as_str())
    .bind(filter_text(&new.filter)?)
    .bind(variants_text(&new.variants)?)
    .bind(new.priority.as_str())
    .bind(new.idempotency.as_ref().map(|of| of.key.as_str()))
    .bind(new.idempotency.as_ref().map(|of| of.fingerprint.to_vec()))
    .bind(new.created_at.as_millis())
    .execute(&mut session.conn)
    .await?;
    let batch = batch_now(session, new.id).await?.ok_or_else(|| nonsense(format!("batch {} is not there", new.id)))?;
    Ok(BatchMade { batch, replayed: false })
}

async fn step_batch(session: &mut Session, of: BatchId, step: &BatchStep, at: Timestamp) -> Result<Option<Vec<JobOfStep>>, CatalogError> {
    let state: Option<String> =
        sqlx::query_scalar("SELECT state FROM batches WHERE id = ?").bind(id(of.uuid())).fetch_optional(&mut session.conn).await?;
    if state.as_deref() != Some(BatchState::Running.as_str()) {
        return Ok(None);
    }
    let (mut made, mut skipped, mut refused) = (Vec::with_capacity(step.jobs.len()), step.skipped, step.refused.clone());
    for (image, job) in &step.jobs {
        match add::add_job(session, *image, job, Some(of), at).await? {
            JobAdded::Added { upload, job: Some((job, told)) } => made.push(JobOfStep { job, image: *image, upload, told }),
            JobAdded::Added { job: None, .. } => skipped += 1,
            JobAdded::Taken(name) => refused.push((*image, Code::VariantExists, format!("variant {name} exists with other options"))),
            JobAdded::Gone | JobAdded::Unknown => refused.push((*image, Code::Gone, "the image was deleted".to_owned())),
        }
    }
    for (image, code, detail) in &refused {
        sqlx::query(
            "INSERT INTO batch_refusals (batch, code, images, example, detail) VALUES (?, ?, 1, ?, ?) \
             ON CONFLICT (batch, code) DO UPDATE SET images = images + 1",
        )
        .bind(id(of.uuid()))
        .bind(code.as_str())
        .bind(id(image.uuid()))
        .bind(detail.as_str())
        .execute(&mut session.conn)
        .await?;
    }
    sqlx::query(
        "UPDATE batches SET cursor = coalesce(?2, cursor), skipped = skipped + ?3, refused = refused + ?4, walked = ?5, \
         matched = CASE WHEN ?5 THEN skipped + ?3 + refused + ?4 + open_jobs + completed_jobs + partial_jobs + failed_jobs + cancelled_jobs \
         ELSE matched END WHERE id = ?1",
    )
    .bind(id(of.uuid()))
    .bind(step.cursor.map(|image| id(image.uuid())))
    .bind(size(skipped))
    .bind(size(refused.len() as u64))
    .bind(step.walked)
    .execute(&mut session.conn)
    .await?;
    Ok(Some(made))
}

/// Ends a batch that is running, in this state.
async fn end(session: &mut Session, of: BatchId, state: BatchState, at: Timestamp) -> Result<(), CatalogError> {
    sqlx::query("UPDATE batches SET state = ?, finished_at = ? WHERE id = ?")
        .bind(state.as_str())
        .bind(at.as_millis())
        .bind(id(of.uuid()))
        .execute(&mut session.conn)
        .await?;
    Ok(())
}

async fn end_batch(session: &mut Session, of: BatchId, at: Timestamp) -> Result<Option<BatchView>, CatalogError> {
    let Some(batch) = batch_now(session, of).await? else { return Ok(None) };
    if batch.state.is_final() || !batch.walked || batch.counts.open > 0 {
        return Ok(None);
    }
    let state = BatchState::of_counts(&batch.counts);
    end(session, of, state, at).await?;
    Ok(Some(BatchView { state, finished_at: Some(at), ..batch }))
}

async fn cancel_batch(session: &mut Session, of: BatchId, at: Timestamp) -> Result<Option<(BatchView, bool)>, CatalogError> {
    let Some(batch) = batch_now(session, of).await? else { return Ok(None) };
    if batch.state.is_final() {
        return Ok(Some((batch, false)));
    }
    end(session, of, BatchState::Cancelled, at).await?;
    Ok(Some((BatchView { state: BatchState::Cancelled, finished_at: Some(at), ..batch }, true)))
}

/// Its jobs may be those of images that stay for years; a retry of them moves no counts any more.
async fn purge_batches(session: &mut Session, before: Timestamp, limit: u32) -> Result<u64, CatalogError> {
    let limit = u64::from(limit);
    let mut changed = 0;
    while changed < limit {
        let over: Option<Vec<u8>> = sqlx::query_scalar(OVER).bind(before.as_millis()).fetch_optional(&mut session.conn).await?;
        let Some(over) = over else { break };
        let left = i64::try_from(limit - changed).unwrap_or(i64::MAX);
        changed += sqlx::query(PART).bind(&over).bind(left).execute(&mut session.conn).await?.rows_affected();
        if changed < limit {
            // A row for each code at most.
            sqlx::query("DELETE FROM batch_refusals WHERE batch = ?").bind(&over).execute(&mut session.conn).await?;
            changed += sqlx::query("DELETE FROM batches WHERE id = ?").bind(&over).execute(&mut session.conn).await?.rows_affected();
        }
    }
    Ok(changed)
}

#[async_trait]
impl Batches for SqliteCatalog {
    async fn make_batch(&self, batch: NewBatch) -> Result<BatchMade, CatalogError> {
        self.writer.run(move |session| Box::pin(async move { make_batch(session, &batch).await })).await
    }

    async fn batch(&self, of: BatchId) -> Result<Option<BatchView>, CatalogError> {
        let mut moment = self.readers.begin().await?;
        let row =
            sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = ?"))).bind(id(of.uuid())).fetch_optional(&mut *moment).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(BatchView { refusals: refusals(&mut *moment, of).await?, ..batch_from(&row)? }))
    }

    async fn batches(&self, page: Page<BatchId>) -> Result<Listed<BatchView, BatchId>, CatalogError> {
        let _turn = self.list_turn().await?;
        let mut moment = self.readers.begin().await?;
        let before = page.before.map_or_else(|| END.to_vec(), |before| id(before.uuid()));
        // One more than is wanted tells whether there is a next part.
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE {LIST}")))
            .bind(page.owner.as_str())
            .bind(before)
            .bind(i64::from(page.limit) + 1)
            .fetch_all(&mut *moment)
            .await?;
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let mut items = Vec::with_capacity(rows.len().min(limit));
        for row in rows.iter().take(limit) {
            let batch = batch_from(row)?;
            items.push(BatchView { refusals: refusals(&mut *moment, batch.id).await?, ..batch });
        }
        let next = items.last().map(|last| last.id).filter(|_| rows.len() > limit);
        Ok(Listed { items, next })
    }

    async fn open_batches(&self) -> Result<Vec<BatchId>, CatalogError> {
        let rows = sqlx::query(OPEN).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok(BatchId::from_uuid(Columns(row).uuid("id")?))).collect()
    }

    async fn count_images(
        &self,
        owner: &str,
        filter: &ImageFilter,
        of: Option<BatchId>,
        after: Option<ImageId>,
        most: u32,
    ) -> Result<ImagesCounted, CatalogError> {
        let row = count(owner, filter, of, after, most).build().fetch_one(&self.readers).await?;
        let row = Columns(&row);
        let next = row.maybe_uuid("last")?.map(ImageId::from_uuid);
        Ok(ImagesCounted { matched: row.number("matched")?, next: next.filter(|_| row.number("looked_at").is_ok_and(|n: u32| n >= most)) })
    }

    async fn note_matched(&self, of: BatchId, matched: u64) -> Result<(), CatalogError> {
        self.writer
            .run(move |session| {
                Box::pin(async move {
                    // Once all were looked at it is known better.
                    sqlx::query("UPDATE batches SET matched = ? WHERE id = ? AND walked = 0")
                        .bind(size(matched))
                        .bind(id(of.uuid()))
                        .execute(&mut session.conn)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn candidates(&self, of: BatchId, most: u32, looked_at: u32) -> Result<Candidates, CatalogError> {
        let mut moment = self.readers.begin().await?;
        let row =
            sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = ?"))).bind(id(of.uuid())).fetch_optional(&mut *moment).await?;
        let Some(batch) = row.map(|row| batch_from(&row)).transpose()? else {
            return Ok(Candidates { ended: true, ..Candidates::default() });
        };
        let rows = walk(&batch, looked_at).build().fetch_all(&mut *moment).await?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut lacking = 0;
        let mut found = Candidates { ended: rows.len() < usize::try_from(looked_at).unwrap_or(usize::MAX), ..Candidates::default() };
        for row in &rows {
            let row = Columns(row);
            if row.plain("matches")? {
                let stands = match (row.plain::<Option<&str>>("taken")?, row.number::<usize>("same")?) {
                    (Some(_), _) => Stands::Taken(row.word("taken")?),
                    (None, same) if same == batch.variants.len() => Stands::HasAll,
                    (None, _) => Stands::Lacks,
                };
                if stands == Stands::Lacks {
                    if lacking == most {
                        found.ended = false;
                        break;
                    }
                    lacking += 1;
                }
                found.images.push(Candidate { image: views::image_from(row)?, stands });
            }
            found.last = Some(ImageId::from_uuid(row.uuid("i_id")?));
        }
        Ok(found)
    }

    async fn step_batch(&self, of: BatchId, step: BatchStep, at: Timestamp) -> Result<Option<Vec<JobOfStep>>, CatalogError> {
        self.writer.run(move |session| Box::pin(async move { step_batch(session, of, &step, at).await })).await
    }

    async fn end_batch(&self, of: BatchId, at: Timestamp) -> Result<Option<BatchView>, CatalogError> {
        self.writer.run(move |session| Box::pin(end_batch(session, of, at))).await
    }

    async fn cancel_batch(&self, of: BatchId, at: Timestamp) -> Result<Option<(BatchView, bool)>, CatalogError> {
        self.writer.run(move |session| Box::pin(cancel_batch(session, of, at))).await
    }

    async fn open_jobs(&self, of: BatchId, most: u32) -> Result<Vec<JobId>, CatalogError> {
        let rows = sqlx::query(OPEN_JOBS).bind(id(of.uuid())).bind(i64::from(most)).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok(JobId::from_uuid(Columns(row).uuid("id")?))).collect()
    }

    async fn purge_batches(&self, before: Timestamp, limit: u32) -> Result<u64, CatalogError> {
        self.writer.run(move |session| Box::pin(purge_batches(session, before, limit))).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use sqlx::{ConnectOptions as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

    use super::*;
    use crate::{
        clock::{IdSource as _, RandomIds},
        domain::Priority,
    };

    struct Stage {
        catalog: SqliteCatalog,
        raw: SqliteConnection,
        _folder: tempfile::TempDir,
    }

    async fn stage() -> Stage {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("catalog.db");
        let catalog = SqliteCatalog::open(&path).await.expect("opens");
        let raw = SqliteConnectOptions::new().filename(&path).connect().await.expect("connects");
        Stage { catalog, raw, _folder: folder }
    }

    fn all_there_is() -> ImageFilter {
        ImageFilter {
            formats: vec!["jpeg".into(), "png".into()],
            since: Some(Timestamp::from_millis(1)),
            until: Some(Timestamp::from_millis(i64::MAX)),
            min_width_px: Some(1),
            max_width_px: Some(9_000),
            min_height_px: Some(1),
            max_height_px: Some(9_000),
            lacks: Some("soft".parse().expect("a name")),
            metadata: vec![("album".into(), "2026".into())],
        }
    }

    fn new_batch(filter: ImageFilter) -> NewBatch {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let variant = |name: &str| BatchVariant {
            name: name.parse().expect("a name"),
            options: "w:1".into(),
            spec: "w:1".into(),
            spec_digest: [7; 32],
        };
        NewBatch {
            id: BatchId::from_uuid(RandomIds.new_id(now)),
            owner: String::new(),
            created_at: now,
            filter,
            variants: vec![variant("soft"), variant("large")],
            priority: Priority::Low,
            idempotency: None,
        }
    }

    #[tokio::test]
    async fn a_look_walks_the_index_of_an_owners_images() {
        let mut stage = stage().await;
        let batch = stage.catalog.make_batch(new_batch(all_there_is())).await.expect("works").batch;
        for (query, bound) in [
            (walk(&batch, 10), "SEARCH i USING INDEX images_owner (owner=? AND id>? AND id<?)"),
            (count("", &batch.filter, Some(batch.id), None, 10), "SEARCH i USING INDEX images_owner (owner=? AND id>? AND id<?)"),
            (count("", &batch.filter, None, None, 10), "SEARCH i USING INDEX images_owner (owner=? AND id>? AND id<?)"),
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {}", query.sql().as_str());
            let plan = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut stage.raw).await.expect("explains");
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().any(|step| step == bound), "{plan:#?}");
            assert!(
                !plan.iter().any(|step| step.starts_with("SCAN i") || step.starts_with("SCAN t") || step.starts_with("SCAN u")),
                "{plan:#?}"
            );
        }
    }

    /// `cargo test --release --lib a_million_images -- --ignored --nocapture`
    #[tokio::test]
    #[ignore = "measures; half a minute and a gigabyte of disk"]
    async fn a_million_images() {
        let mut stage = stage().await;
        for sql in [
            "INSERT INTO uploads VALUES (randomblob(16), '', 1, '[[\"album\",\"2026\"]]', '[]')",
            "INSERT INTO blobs (id, sha256, bytes, refs, state) VALUES (randomblob(16), randomblob(32), 10, 1000000, 'live')",
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 1000000) \
             INSERT INTO images SELECT CAST(unhex(printf('0198c0de%08x', n)) || randomblob(8) AS BLOB), u.id, 0, '', b.id, 'a photo.jpg', 'jpeg', 4032, 3024, 0, n, '[]' \
             FROM n, uploads u, blobs b",
            "INSERT INTO jobs (id, upload, image, state, priority, rank, cost_bytes, max_attempts, queued_at, finished_at) \
             SELECT randomblob(16), upload, id, 'completed', 'normal', 1, 1, 3, 1, 1 FROM images",
            "INSERT INTO tasks (job, position, id, image, name, options, spec, spec_digest, pipeline_version, format, state) \
             SELECT id, 0, randomblob(16), image, 'thumb', 'w:1', 'w:1', randomblob(32), 1, 'png', 'completed' FROM jobs",
        ] {
            sqlx::query(sql).execute(&mut stage.raw).await.expect("inserts");
        }
        for filter in [ImageFilter::default(), all_there_is()] {
            let (begun, mut matched, mut after, mut longest) = (Instant::now(), 0, None, std::time::Duration::ZERO);
            loop {
                let read = Instant::now();
                let counted = stage.catalog.count_images("", &filter, None, after, 5000).await.expect("counts");
                longest = longest.max(read.elapsed());
                matched += counted.matched;
                match counted.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            println!("counted {matched} in {:?}, the longest read took {longest:?}", begun.elapsed());
            let batch = stage.catalog.make_batch(new_batch(filter)).await.expect("works").batch;
            let read = Instant::now();
            let found = stage.catalog.candidates(batch.id, 32, 500).await.expect("looks");
            println!("looked for {} candidates in {:?}", found.images.len(), read.elapsed());
        }
    }
}
