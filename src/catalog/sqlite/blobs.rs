//! Blobs as such: which are live, which are dead and wait for their files to go, which have lost theirs.
//!
//! Knows no files: what is there and what is not, it is told.

use sqlx::{QueryBuilder, Sqlite, SqliteExecutor, SqlitePool};

use super::{
    super::{CatalogError, LiveBlob},
    columns::{Columns, Read, id},
    writer::Session,
};
use crate::domain::BlobId;

/// Most ids in one statement.
const IDS: usize = 500;

/// Which of the given blobs are live.
pub(super) async fn live_blobs(from: &SqlitePool, of: &[BlobId]) -> Read<Vec<BlobId>> {
    let mut live = Vec::new();
    for part in of.chunks(IDS) {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT id FROM blobs WHERE state = 'live' AND id IN (");
        push_ids(&mut sql, part);
        for row in sql.build().fetch_all(from).await? {
            live.push(BlobId::from_uuid(Columns(&row).uuid("id")?));
        }
    }
    Ok(live)
}

fn push_ids(sql: &mut QueryBuilder<Sqlite>, of: &[BlobId]) {
    let mut ids = sql.separated(", ");
    for blob in of {
        ids.push_bind(id(blob.uuid()));
    }
    sql.push(")");
}

pub(super) const DEAD: &str = "SELECT id FROM blobs WHERE id > ? AND state = 'dead' ORDER BY id LIMIT ?";

/// See [`super::super::Catalog::dead_blobs`].
pub(super) async fn dead_blobs(from: impl SqliteExecutor<'_>, after: Option<BlobId>, limit: u32) -> Read<Vec<BlobId>> {
    let after = after.map_or_else(Vec::new, |after| id(after.uuid()));
    let rows = sqlx::query(DEAD).bind(after).bind(i64::from(limit)).fetch_all(from).await?;
    rows.iter().map(|row| Columns(row).uuid("id").map(BlobId::from_uuid)).collect()
}

/// See [`super::super::Catalog::purge_blobs`].
pub(super) async fn purge_blobs(session: &mut Session, of: &[BlobId]) -> Result<(), CatalogError> {
    for part in of.chunks(IDS) {
        let mut sql = QueryBuilder::<Sqlite>::new("DELETE FROM blobs WHERE state = 'dead' AND id IN (");
        push_ids(&mut sql, part);
        sql.build().execute(&mut session.conn).await?;
    }
    Ok(())
}

pub(super) const AFTER: &str = "SELECT id, bytes, sha256, missing FROM blobs WHERE id > ? AND state = 'live' ORDER BY id LIMIT ?";

/// See [`super::super::Catalog::blobs_after`].
pub(super) async fn blobs_after(from: impl SqliteExecutor<'_>, after: Option<BlobId>, limit: u32) -> Read<Vec<LiveBlob>> {
    let after = after.map_or_else(Vec::new, |after| id(after.uuid()));
    let rows = sqlx::query(AFTER).bind(after).bind(i64::from(limit)).fetch_all(from).await?;
    let mut blobs = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = Columns(row);
        blobs.push(LiveBlob {
            id: BlobId::from_uuid(row.uuid("id")?),
            bytes: row.number("bytes")?,
            sha256: row.digest("sha256")?,
            missing: row.plain("missing")?,
        });
    }
    Ok(blobs)
}

/// Sets the mark of live blobs; returns those it changed.
pub(super) async fn mark(session: &mut Session, of: &[BlobId], missing: bool) -> Result<Vec<BlobId>, CatalogError> {
    let mut changed = Vec::new();
    for part in of.chunks(IDS) {
        let mut sql = QueryBuilder::<Sqlite>::new("UPDATE blobs SET missing = ");
        sql.push_bind(missing).push(" WHERE state = 'live' AND missing <> ").push_bind(missing).push(" AND id IN (");
        push_ids(&mut sql, part);
        sql.push(" RETURNING id");
        for row in sql.build().fetch_all(&mut session.conn).await? {
            changed.push(BlobId::from_uuid(Columns(&row).uuid("id")?));
        }
    }
    Ok(changed)
}

/// See [`super::super::Catalog::replace_blob`].
pub(super) async fn replace_blob(session: &mut Session, lost: BlobId, fresh: BlobId) -> Result<bool, CatalogError> {
    let refs: Option<i64> = sqlx::query_scalar("SELECT refs FROM blobs WHERE id = ? AND state = 'live'")
        .bind(id(lost.uuid()))
        .fetch_optional(&mut session.conn)
        .await?;
    let Some(refs) = refs else { return Ok(false) };
    // First dead, then its heir: only one live blob may have these bytes.
    for sql in [
        "UPDATE blobs SET refs = 0, state = 'dead' WHERE id = ?2",
        "INSERT INTO blobs (id, sha256, bytes, refs, state) SELECT ?1, sha256, bytes, ?3, 'live' FROM blobs WHERE id = ?2",
        "UPDATE images SET blob = ?1 WHERE blob = ?2",
        "UPDATE variants SET blob = ?1 WHERE blob = ?2",
        "UPDATE variants SET result = ?1 WHERE result = ?2",
        "UPDATE facts SET blob = ?1 WHERE blob = ?2",
    ] {
        sqlx::query(sql).bind(id(fresh.uuid())).bind(id(lost.uuid())).bind(refs).execute(&mut session.conn).await?;
    }
    Ok(true)
}

/// See [`super::super::Catalog::keep_files`].
pub(super) async fn keep_files(session: &mut Session, before_ms: i64) -> Result<(), CatalogError> {
    sqlx::query("INSERT OR IGNORE INTO kept_files (before) VALUES (?)").bind(before_ms).execute(&mut session.conn).await?;
    Ok(())
}
