//! Many jobs steered at once, in small steps. Knows nothing of what becomes of one: that is `steer.rs`.
//!
//! The invariant: a look is bounded by the rows it looks at, not by those it finds.

use async_trait::async_trait;
use sqlx::{QueryBuilder, Sqlite};

use super::{
    super::{Bulk, Cancellation, CatalogError, JobFilter, JobsMatching, Retried},
    SqliteCatalog,
    columns::{Columns, id},
    steer,
};
use crate::domain::{JobId, JobState, Timestamp};

/// The jobs of an owner in one state, each with whether it matches; the index gives them in order.
fn matching(filter: &JobFilter, state: JobState, after: Option<JobId>, most: u32) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("SELECT j.id AS id, (");
    if state.is_final() {
        sql.push("EXISTS (SELECT 1 FROM tasks t WHERE t.job = j.id AND t.state = 'failed')");
    } else {
        sql.push("1");
    }
    if !filter.codes.is_empty() {
        let codes = |sql: &mut QueryBuilder<Sqlite>| {
            let mut words = sql.separated(", ");
            for code in &filter.codes {
                words.push_bind(code.as_str());
            }
            sql.push(")");
        };
        sql.push(" AND (j.failure_code IN (");
        codes(&mut sql);
        sql.push(" OR EXISTS (SELECT 1 FROM tasks t WHERE t.job = j.id AND t.state = 'failed' AND t.failure_code IN (");
        codes(&mut sql);
        sql.push("))");
    }
    let at = if state.is_final() { "j.finished_at" } else { "j.queued_at" };
    for (bound, than) in [(filter.since, " >= "), (filter.until, " < ")] {
        if let Some(bound) = bound {
            sql.push(" AND ").push(at).push(than).push_bind(bound.as_millis());
        }
    }
    for (column, of) in [("upload", filter.upload.map(|of| of.uuid())), ("batch", filter.batch.map(|of| of.uuid()))] {
        if let Some(of) = of {
            // NULL where there is none.
            sql.push(" AND coalesce(j.").push(column).push(" = ").push_bind(id(of)).push(", 0)");
        }
    }
    sql.push(") AS matches FROM jobs j WHERE j.owner = ").push_bind(filter.owner.clone());
    sql.push(" AND j.state = ").push_bind(state.as_str());
    sql.push(" AND j.id > ").push_bind(after.map_or_else(Vec::new, |after| id(after.uuid())));
    sql.push(" ORDER BY j.id LIMIT ").push_bind(i64::from(most));
    sql
}

#[async_trait]
impl Bulk for SqliteCatalog {
    async fn matching_jobs(
        &self,
        filter: &JobFilter,
        state: JobState,
        after: Option<JobId>,
        most: u32,
    ) -> Result<JobsMatching, CatalogError> {
        let rows = matching(filter, state, after, most).build().fetch_all(&self.readers).await?;
        let mut found = JobsMatching::default();
        for row in &rows {
            let row = Columns(row);
            let job = JobId::from_uuid(row.uuid("id")?);
            if row.plain("matches")? {
                found.jobs.push(job);
            }
            found.next = Some(job);
        }
        found.next = found.next.filter(|_| rows.len() >= usize::try_from(most).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn retry_jobs(&self, of: &[JobId], at: Timestamp) -> Result<Vec<(JobId, Retried)>, CatalogError> {
        let of = of.to_vec();
        self.writer
            .run(move |session| {
                Box::pin(async move {
                    let mut all = Vec::with_capacity(of.len());
                    for job in of {
                        all.push((job, steer::retry_job(session, job, at).await?));
                    }
                    Ok(all)
                })
            })
            .await
    }

    async fn cancel_jobs(&self, of: &[JobId], at: Timestamp) -> Result<Vec<(JobId, Cancellation)>, CatalogError> {
        let of = of.to_vec();
        self.writer
            .run(move |session| {
                Box::pin(async move {
                    let mut all = Vec::with_capacity(of.len());
                    for job in of {
                        all.push((job, steer::cancel_job(session, job, at).await?));
                    }
                    Ok(all)
                })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions as _, Row as _, sqlite::SqliteConnectOptions};

    use super::*;
    use crate::domain::{BatchId, TaskCode, UploadId};

    #[tokio::test]
    async fn a_look_walks_the_index_of_a_state_and_does_not_sort() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("catalog.db");
        drop(SqliteCatalog::open(&path).await.expect("opens"));
        let mut raw = SqliteConnectOptions::new().filename(&path).connect().await.expect("connects");
        let some = uuid::Uuid::from_u128(1);
        let filter = JobFilter {
            owner: "ada".into(),
            codes: vec![TaskCode::Storage, TaskCode::Timeout],
            since: Some(Timestamp::from_millis(1)),
            until: Some(Timestamp::from_millis(2)),
            upload: Some(UploadId::from_uuid(some)),
            batch: Some(BatchId::from_uuid(some)),
        };
        for state in [JobState::Queued, JobState::Failed] {
            let query = matching(&filter, state, Some(JobId::from_uuid(some)), 10);
            let sql = format!("EXPLAIN QUERY PLAN {}", query.sql().as_str());
            let plan = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut raw).await.expect("explains");
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().any(|step| step.contains("jobs_owner_state (owner=? AND state=? AND id>?)")), "{plan:#?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE") || step.starts_with("SCAN")), "{plan:#?}");
        }
    }
}
