//! The ends of many tasks in a few statements, where nothing is out of the ordinary; the others one by one (`work.rs`).
//!
//! The invariant: what is written is what `finish_task` would have written for each, one after the other.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

use super::{
    super::{CatalogError, JobDone, JobFinished, Lease, StoredVariant, TaskDone, TaskFinished},
    columns::{Columns, Read, id, nanos, nonsense, size},
    work,
    writer::Session,
};
use crate::domain::{JobId, JobState, TaskState, UploadId, UploadState};

/// A task that was pending and has come to a variant that nobody has made yet, of bytes that nobody has stored yet.
struct Plain<'a> {
    n: usize,
    job: JobId,
    upload: UploadId,
    position: i64,
    done: &'a TaskDone,
    stored: &'a StoredVariant,
    /// Original, digest of the options, version of the pipeline.
    of: (&'a [u8], &'a [u8], i64),
    ends: Option<(JobState, &'a JobDone)>,
}

/// See [`super::super::Catalog::finish_tasks`]. Two trips to SQLite's own thread for all that are plain.
pub(super) async fn finish_tasks(
    session: &mut Session,
    of: &[(Lease, TaskDone)],
) -> Result<Vec<Result<TaskFinished, CatalogError>>, CatalogError> {
    let rows = work::before_the_end(session, of).await?;
    let plain = plain_ones(&rows, of)?;
    let mut finished: Vec<Option<Result<TaskFinished, CatalogError>>> = of.iter().map(|_| None).collect();
    for (n, job) in write(session, &plain).await? {
        finished[n] = Some(Ok(TaskFinished { job, ..TaskFinished::default() }));
    }
    let mut all = Vec::with_capacity(of.len());
    for (finished, one) in finished.into_iter().zip(of) {
        let finished = match finished {
            Some(finished) => finished,
            None => work::finish_task(session, one).await,
        };
        match finished {
            Ok(_) | Err(CatalogError::LeaseLost) => all.push(finished),
            // It may have written a part of what it has to: that is taken back with all the others.
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Those that no other one of them has to do with, either: a job or an original that is named twice, the same bytes twice, and uploads of which not
/// all are plain are left to be told in their order.
fn plain_ones<'a>(rows: &'a [SqliteRow], of: &'a [(Lease, TaskDone)]) -> Read<Vec<Plain<'a>>> {
    let jobs = counts(of.iter().map(|(lease, _)| lease.job));
    let bytes = counts(of.iter().filter_map(|(_, done)| done.outcome.as_ref().ok()).map(|stored| stored.sha256));
    let originals: Vec<&[u8]> = rows.iter().map(|row| Columns(row).plain("blob")).collect::<Read<_>>()?;
    let originals = counts(originals.into_iter());
    let (mut plain, mut mixed) = (Vec::with_capacity(rows.len()), HashSet::new());
    for row in rows {
        let n: usize = Columns(row).number("n")?;
        let (lease, done) = &of[n];
        match plain_one(row, n, *lease, done)? {
            Some(one) if jobs[&one.job] == 1 && bytes[&one.stored.sha256] == 1 && originals[one.of.0] == 1 => plain.push(one),
            _ => {
                mixed.insert(UploadId::from_uuid(Columns(row).uuid("upload")?));
            }
        }
    }
    plain.retain(|one| !mixed.contains(&one.upload));
    plain.sort_by_key(|one| one.n);
    Ok(plain)
}

fn plain_one<'a>(row: &'a SqliteRow, n: usize, lease: Lease, done: &'a TaskDone) -> Read<Option<Plain<'a>>> {
    let (Ok(row), Ok(stored)) = (work::held(Some(row), lease), &done.outcome) else { return Ok(None) };
    let Some(position) = row.plain::<Option<i64>>("position")? else { return Ok(None) };
    if row.plain::<&str>("state")? != "pending" || row.maybe_uuid("existing")?.is_some() || row.maybe_uuid("same")?.is_some() {
        return Ok(None);
    }
    let mut ends = None;
    if let Some(job_done) = &done.job {
        // Where others have not ended it is refused, by who tells the refusals.
        let Ok(state) = work::state_with_others(lease.job, row, TaskState::Completed) else { return Ok(None) };
        ends = Some((state, job_done));
    }
    let upload = UploadId::from_uuid(row.uuid("upload")?);
    let of = (row.plain("blob")?, row.plain("spec_digest")?, row.plain("pipeline_version")?);
    Ok(Some(Plain { n, job: lease.job, upload, position, done, stored, of, ends }))
}

fn counts<K: Eq + Hash>(of: impl Iterator<Item = K>) -> HashMap<K, usize> {
    let mut counts = HashMap::new();
    of.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

/// Writes them all in one trip; the place of each, and its job's end if that is due.
async fn write(session: &mut Session, plain: &[Plain<'_>]) -> Result<Vec<(usize, Option<JobFinished>)>, CatalogError> {
    if plain.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO blobs (refs, state, id, sha256, bytes) SELECT 1, 'live', * FROM (");
    sql.push_values(plain, |mut row, Plain { stored, .. }| {
        row.push_bind(id(stored.blob.uuid())).push_bind(stored.sha256.to_vec()).push_bind(size(stored.bytes));
    });
    sql.push("); INSERT INTO variants (blob, spec_digest, pipeline_version, result, format, quality, width_px, height_px, frames) ");
    sql.push_values(plain, |mut row, Plain { stored, of: (blob, digest, version), .. }| {
        row.push_bind(blob.to_vec()).push_bind(digest.to_vec()).push_bind(*version).push_bind(id(stored.blob.uuid()));
        row.push_bind(stored.format.clone()).push_bind(stored.quality.map(i64::from));
        row.push_bind(i64::from(stored.width_px)).push_bind(i64::from(stored.height_px)).push_bind(i64::from(stored.frames));
    });
    sql.push("; UPDATE tasks SET state = 'completed', finished_at = w.column3, transform_ns = w.column4, encode_ns = w.column5, ");
    sql.push("store_ns = w.column6, failure_code = NULL, failure_detail = NULL FROM (");
    sql.push_values(plain, |mut row, Plain { job, position, done, .. }| {
        row.push_bind(id(job.uuid())).push_bind(*position).push_bind(done.at.as_millis());
        row.push_bind(nanos(done.timing.transform)).push_bind(nanos(done.timing.encode)).push_bind(nanos(done.timing.store));
    });
    sql.push(") AS w WHERE tasks.job = w.column1 AND tasks.position = w.column2");
    let ending: Vec<(&Plain<'_>, JobState, &JobDone)> =
        plain.iter().filter_map(|one| one.ends.map(|(state, done)| (one, state, done))).collect();
    push_job_ends(&mut sql, &ending);
    let rows = sql.build().persistent(false).fetch_all(&mut session.conn).await?;

    work::count_ended(session, TaskState::Completed, i64::try_from(plain.len()).unwrap_or(0));
    for one in plain {
        let worked = one.done.timing.transform + one.done.timing.encode + one.done.timing.store;
        session.delta.task_micros += i64::try_from(worked.as_micros()).unwrap_or(0);
    }
    session.delta.running_jobs -= i64::try_from(ending.len()).unwrap_or(0);
    let mut uploads: HashMap<JobId, UploadState> = HashMap::with_capacity(rows.len());
    for row in &rows {
        let row = Columns(row);
        let states = row.plain::<&str>("states")?.split(',').map(|word| word.parse::<JobState>().map_err(nonsense));
        uploads.insert(JobId::from_uuid(row.uuid("job")?), UploadState::of_jobs(states.collect::<Read<Vec<JobState>>>()?));
    }
    // Of the jobs of one upload the last one tells its end; before it that one was still running.
    let last: HashMap<UploadId, JobId> = ending.iter().map(|(one, ..)| (one.upload, one.job)).collect();
    let told = |one: &Plain<'_>| {
        let Some((job, _)) = one.ends else { return Ok((one.n, None)) };
        let upload = uploads.get(&one.job).ok_or_else(|| nonsense(format!("job {} has no upload", one.job)))?;
        let upload = if last[&one.upload] == one.job { *upload } else { UploadState::Processing };
        Ok((one.n, Some(JobFinished { job, upload })))
    };
    plain.iter().map(told).collect()
}

/// The ends of their jobs, what was found out of their originals, and what their uploads are then.
fn push_job_ends(sql: &mut QueryBuilder<Sqlite>, ending: &[(&Plain<'_>, JobState, &JobDone)]) {
    if ending.is_empty() {
        return;
    }
    sql.push("; UPDATE jobs SET suspect = 0, lease_owner = NULL, lease_token = NULL, lease_until = NULL, failure_code = NULL, ");
    sql.push("failure_detail = NULL, state = w.column2, finished_at = w.column3, queue_ns = w.column4, read_ns = w.column5, ");
    sql.push("decode_ns = w.column6, cpu_ns = w.column7, total_ns = w.column8, peak_bytes = w.column9 FROM (");
    sql.push_values(ending, |mut row, (one, state, done)| {
        row.push_bind(id(one.job.uuid())).push_bind(state.as_str()).push_bind(done.at.as_millis());
        row.push_bind(nanos(done.timing.queue)).push_bind(nanos(done.timing.read)).push_bind(nanos(done.timing.decode));
        row.push_bind(nanos(done.timing.cpu)).push_bind(nanos(done.timing.total)).push_bind(size(done.peak_bytes));
    });
    sql.push(") AS w WHERE jobs.id = w.column1");
    let facts: Vec<(&[u8], &String)> =
        ending.iter().filter_map(|(one, _, done)| done.facts.as_ref().map(|facts| (one.of.0, facts))).collect();
    if !facts.is_empty() {
        sql.push("; INSERT OR IGNORE INTO facts (blob, facts) ");
        sql.push_values(facts, |mut row, (blob, facts)| {
            row.push_bind(blob.to_vec()).push_bind(facts.clone());
        });
    }
    sql.push("; SELECT j.id AS job, (SELECT group_concat(DISTINCT o.state) FROM jobs o WHERE o.upload = j.upload) AS states FROM jobs j WHERE j.id IN (");
    let mut jobs = sql.separated(", ");
    for (one, ..) in ending {
        jobs.push_bind(id(one.job.uuid()));
    }
    sql.push(")");
}
