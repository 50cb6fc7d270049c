//! Jobs under lease: claim, renew, finish, give back, and what happens when a worker dies.
//!
//! The invariant: nothing is written for a job unless it is running under the very token the caller holds, but by
//! `void_leases`, `expire_leases`, a cancellation and a deletion, which take the hold away.

use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

use super::{
    super::{
        CatalogError, Claim, Claimed, ClaimedJob, ClaimedTask, JobDone, JobFinished, Lease, Release, StoredVariant, TaskDone, TaskFinished,
        Voided,
    },
    columns::{Columns, Read, id, nanos, nonsense, size},
    erase, views,
    writer::Session,
};
use crate::domain::{
    BlobId, ImageId, JobId, JobState, LeaseToken, TaskCode, TaskFailure, TaskId, TaskState, Timestamp, UploadId, UploadState,
};

/// The first due jobs in order, a row per task that has not ended; one row without a task for a job whose tasks had all
/// ended when its worker died before it could say so. The inner query walks `jobs_queued_rank`; the few rows
/// it yields are put in order by the caller, as a join promises none.
pub(super) const CLAIM: &str = "SELECT j.id AS id, j.upload AS upload, j.image AS image, j.rank AS rank, j.cost_bytes AS cost_bytes, \
     j.attempt AS attempt, j.max_attempts AS max_attempts, j.crashes AS crashes, j.suspect AS suspect, j.queued_at AS queued_at, \
     j.priority AS priority, j.request AS request, j.trace AS trace, i.blob AS blob, b.bytes AS bytes, b.sha256 AS sha256, EXISTS (SELECT 1 FROM facts f WHERE f.blob = i.blob) AS has_facts, t.position AS position, t.id AS task, t.name AS name, t.spec AS spec \
     FROM (SELECT id, upload, image, rank, cost_bytes, attempt, max_attempts, crashes, suspect, queued_at, priority, request, trace \
     FROM jobs WHERE state = 'queued' AND (due_at IS NULL OR due_at <= ?) ORDER BY rank, id LIMIT ?) j \
     JOIN images i ON i.id = j.image JOIN blobs b ON b.id = i.blob LEFT JOIN tasks t ON t.job = j.id AND t.state = 'pending'";

/// See [`super::super::Catalog::claim_jobs`].
pub(super) async fn claim_jobs(session: &mut Session, claim: &Claim) -> Result<Claimed, CatalogError> {
    let places = usize::try_from(claim.limit).unwrap_or(usize::MAX);
    let limit = claim.tokens.len().min(places.saturating_mul(claim.together.jobs.max(1) as usize));
    if limit == 0 {
        return Ok(Claimed::default());
    }
    let rows =
        sqlx::query(CLAIM).bind(claim.now.as_millis()).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(&mut session.conn).await?;
    let mut keyed = Vec::with_capacity(rows.len());
    for row in &rows {
        let row = Columns(row);
        keyed.push(((row.plain::<i64>("rank")?, row.uuid("id")?, row.plain::<Option<i64>>("position")?), row));
    }
    keyed.sort_by_key(|(key, _)| *key);

    let mut claimed = Claimed::default();
    let (mut left_bytes, mut tokens, mut small) = (claim.budget_bytes, claim.tokens.iter(), 0);
    for ((_, job, _), row) in keyed {
        let job = JobId::from_uuid(job);
        if claimed.jobs.last().is_none_or(|last| last.lease.job != job) {
            if claimed.jobs.last().is_some_and(|last| last.suspect) {
                break;
            }
            small += usize::from(claim.together.holds(row.number("cost_bytes")?));
            if claim.together.places(claimed.jobs.len() + 1, small) > places {
                break;
            }
            if row.plain("suspect")? && (claim.running > 0 || !claimed.jobs.is_empty()) {
                claimed.waits_alone = true;
                break;
            }
            let charged_bytes = row.number::<u64>("cost_bytes")?.min(claim.whole_budget_bytes);
            let Some(left) = left_bytes.checked_sub(charged_bytes) else {
                claimed.blocked_bytes = Some(charged_bytes);
                break;
            };
            let Some(token) = tokens.next() else { break };
            left_bytes = left;
            claimed.jobs.push(claimed_job(row, Lease { job, token: *token })?);
        }
        if let (Some(last), Some(task)) = (claimed.jobs.last_mut(), row.maybe_uuid("task")?) {
            last.tasks.push(ClaimedTask { id: TaskId::from_uuid(task), name: row.word("name")?, spec: row.plain("spec")? });
        }
    }
    if claimed.jobs.is_empty() {
        return Ok(claimed);
    }
    // Every trip to SQLite's own thread costs more than what is done there: one statement for all.
    let mut sql = QueryBuilder::<Sqlite>::new("UPDATE jobs SET state = 'running', attempt = attempt + 1, due_at = NULL, started_at = ");
    sql.push_bind(claim.now.as_millis());
    sql.push(", lease_owner = ").push_bind(claim.owner.clone());
    sql.push(", lease_until = ").push_bind(claim.now.after(claim.lease).as_millis());
    sql.push(", lease_token = held.column2 FROM (");
    sql.push_values(&claimed.jobs, |mut held, job| {
        held.push_bind(id(job.lease.job.uuid())).push_bind(id(job.lease.token.uuid()));
    });
    sql.push(") AS held WHERE jobs.id = held.column1");
    // A text for each number of jobs: many would drive others out of the connection's memory of prepared statements.
    sql.build().persistent(claimed.jobs.len() <= 2).execute(&mut session.conn).await?;
    let jobs = i64::try_from(claimed.jobs.len()).unwrap_or(0);
    session.delta.queued_jobs -= jobs;
    session.delta.running_jobs += jobs;
    Ok(claimed)
}

fn claimed_job(row: Columns<'_>, lease: Lease) -> Read<ClaimedJob> {
    Ok(ClaimedJob {
        lease,
        upload: UploadId::from_uuid(row.uuid("upload")?),
        image: ImageId::from_uuid(row.uuid("image")?),
        blob: BlobId::from_uuid(row.uuid("blob")?),
        bytes: row.number("bytes")?,
        sha256: row.digest("sha256")?,
        cost_bytes: row.number("cost_bytes")?,
        attempt: row.number::<u32>("attempt")?.saturating_add(1),
        max_attempts: row.number("max_attempts")?,
        crashes: row.number("crashes")?,
        suspect: row.plain("suspect")?,
        has_facts: row.plain("has_facts")?,
        queued_at: row.time("queued_at")?,
        priority: row.word("priority")?,
        origin: row.origin("request", "trace")?,
        tasks: Vec::new(),
    })
}

/// See [`super::super::Catalog::renew_leases`].
pub(super) async fn renew_leases(session: &mut Session, leases: &[Lease], until: Timestamp) -> Result<Vec<Lease>, CatalogError> {
    let mut held = Vec::with_capacity(leases.len());
    for part in leases.chunks(200) {
        let mut sql = QueryBuilder::<Sqlite>::new("UPDATE jobs SET lease_until = ");
        sql.push_bind(until.as_millis());
        sql.push(" WHERE state = 'running' AND (id, lease_token) IN (");
        sql.push_values(part, |mut pair, lease| {
            pair.push_bind(id(lease.job.uuid())).push_bind(id(lease.token.uuid()));
        });
        sql.push(") RETURNING id, lease_token");
        for row in sql.build().fetch_all(&mut session.conn).await? {
            let row = Columns(&row);
            let (job, token) = (JobId::from_uuid(row.uuid("id")?), LeaseToken::from_uuid(row.uuid("lease_token")?));
            held.push(Lease { job, token });
        }
    }
    Ok(held)
}

/// The row of a running job, if it runs under this very lease.
pub(super) fn held(row: Option<&SqliteRow>, lease: Lease) -> Read<Columns<'_>> {
    let row = Columns(row.ok_or(CatalogError::LeaseLost)?);
    if row.uuid("lease_token")? == lease.token.uuid() { Ok(row) } else { Err(CatalogError::LeaseLost) }
}

/// What has to be known of tasks before their end is written: a row for each whose job is running, with its place in the list as `n`.
pub(super) async fn before_the_end(session: &mut Session, of: &[(Lease, TaskDone)]) -> Result<Vec<SqliteRow>, CatalogError> {
    let mut sql = QueryBuilder::<Sqlite>::new("WITH w (n, job, task, sha256) AS (");
    sql.push_values(of.iter().enumerate(), |mut row, (n, (lease, done))| {
        let sha256 = done.outcome.as_ref().ok().map(|stored| stored.sha256.to_vec());
        row.push_bind(i64::try_from(n).unwrap_or(i64::MAX)).push_bind(id(lease.job.uuid()));
        row.push_bind(id(done.task.uuid())).push_bind(sha256);
    });
    // The tasks first, however many: each of the others is found by its key.
    sql.push(
        ") SELECT w.n AS n, j.lease_token AS lease_token, j.upload AS upload, t.position AS position, t.state AS state, i.blob AS blob, \
         t.spec_digest AS spec_digest, t.pipeline_version AS pipeline_version, v.result AS existing, \
         x.sha256 AS existing_sha256, x.missing AS existing_missing, (SELECT id FROM blobs WHERE state = 'live' AND sha256 = w.sha256) AS same, \
         (SELECT group_concat(DISTINCT o.state) FROM tasks o WHERE o.job = j.id AND o.position <> t.position) AS others \
         FROM w CROSS JOIN jobs j ON j.id = w.job AND j.state = 'running' JOIN images i ON i.id = j.image \
         LEFT JOIN tasks t ON t.job = j.id AND t.id = w.task \
         LEFT JOIN variants v ON v.blob = i.blob AND v.spec_digest = t.spec_digest AND v.pipeline_version = t.pipeline_version \
         LEFT JOIN blobs x ON x.id = v.result",
    );
    Ok(sql.build().persistent(of.len() == 1).fetch_all(&mut session.conn).await?)
}

/// See [`super::super::Catalog::finish_task`]. Two trips to SQLite's own thread, the end of the job included.
pub(super) async fn finish_task(session: &mut Session, one: &(Lease, TaskDone)) -> Result<TaskFinished, CatalogError> {
    let rows = before_the_end(session, std::slice::from_ref(one)).await?;
    let (lease, done) = (one.0, &one.1);
    let row = held(rows.first(), lease)?;
    let Some(position) = row.plain::<Option<i64>>("position")? else {
        return Err(nonsense(format!("job {} has no task {}", lease.job, done.task)));
    };
    let was: String = row.plain("state")?;
    let is_pending = was == "pending";
    let failure = done.outcome.as_ref().err();
    let state = if is_pending { failure.map_or(TaskState::Completed, ended_by) } else { views::task_state(&was, JobState::Running)? };
    let mut job_state = None;
    if done.job.is_some() {
        job_state = Some(state_with_others(lease.job, row, state)?);
    }

    let mut existing = row.maybe_uuid("existing")?.map(BlobId::from_uuid);
    let mut dead = None;
    if let (Some(lost), Ok(stored), true) = (existing, &done.outcome, is_pending)
        && row.plain("existing_missing")?
        && row.digest("existing_sha256")? != stored.sha256
    {
        // Made anew, and not to the byte as before: what is lost gives way. Were the bytes the same, `replace_blob` would do.
        sqlx::query("DELETE FROM variants WHERE blob = ? AND spec_digest = ? AND pipeline_version = ?")
            .bind(row.plain::<Vec<u8>>("blob")?)
            .bind(row.plain::<Vec<u8>>("spec_digest")?)
            .bind(row.plain::<i64>("pipeline_version")?)
            .execute(&mut session.conn)
            .await?;
        dead = erase::unref(session, lost).await?.then_some(lost);
        existing = None;
    }
    // The same bytes under another id: one live blob for one content, results included.
    let twin = row.maybe_uuid("same")?.map(BlobId::from_uuid);
    let same = existing.or(twin);
    let own = done.outcome.as_ref().ok().map(|stored| stored.blob);
    let mut surplus = own.filter(|own| same.is_some_and(|same| same != *own));
    let kept = same.filter(|same| surplus.is_some() && Some(*same) == twin);

    let mut sql = QueryBuilder::<Sqlite>::new("");
    if is_pending {
        if let (Ok(stored), None) = (&done.outcome, existing) {
            insert_result(&mut sql, stored, same);
            insert_variant(&mut sql, row, stored, same)?;
        }
        push_task_end(&mut sql, lease.job, position, state, done);
        count_ended(session, state, 1);
        if state != TaskState::Cancelled {
            let worked = done.timing.transform + done.timing.encode + done.timing.store;
            session.delta.task_micros += i64::try_from(worked.as_micros()).unwrap_or(0);
        }
    } else {
        // Told twice: the first time counts. Bytes that nothing points to are not needed.
        surplus = own.filter(|own| same != Some(*own));
    }
    let mut job = None;
    if let (Some(state), Some(done)) = (job_state, &done.job) {
        job = Some(end_job(session, sql, lease.job, state, done).await?);
    } else if is_pending {
        sql.build().execute(&mut session.conn).await?;
    }
    Ok(TaskFinished { surplus, kept, dead, job })
}

/// What a job comes to with this state of one task, by a row of [`before_the_end`], and the others as they are.
pub(super) fn state_with_others(job: JobId, row: Columns<'_>, state: TaskState) -> Read<JobState> {
    let others: Option<String> = row.plain("others")?;
    let others = others.iter().flat_map(|words| words.split(',')).map(|word| views::task_state(word, JobState::Running));
    ended_state(job, others.chain([Ok(state)]).collect::<Read<Vec<TaskState>>>()?)
}

/// The variant that a task came to.
fn insert_variant(sql: &mut QueryBuilder<Sqlite>, of: Columns<'_>, stored: &StoredVariant, same: Option<BlobId>) -> Read<()> {
    sql.push("INSERT INTO variants (blob, spec_digest, pipeline_version, result, format, quality, width_px, height_px, frames) VALUES (");
    let mut values = sql.separated(", ");
    values
        .push_bind(of.plain::<Vec<u8>>("blob")?)
        .push_bind(of.plain::<Vec<u8>>("spec_digest")?)
        .push_bind(of.plain::<i64>("pipeline_version")?)
        .push_bind(id(same.unwrap_or(stored.blob).uuid()))
        .push_bind(stored.format.clone())
        .push_bind(stored.quality.map(i64::from))
        .push_bind(i64::from(stored.width_px))
        .push_bind(i64::from(stored.height_px))
        .push_bind(i64::from(stored.frames));
    sql.push("); ");
    Ok(())
}

fn push_task_end(sql: &mut QueryBuilder<Sqlite>, job: JobId, position: i64, state: TaskState, done: &TaskDone) {
    let failure = done.outcome.as_ref().err();
    sql.push("UPDATE tasks SET state = ").push_bind(state.as_str());
    sql.push(", finished_at = ").push_bind(done.at.as_millis());
    sql.push(", transform_ns = ").push_bind(nanos(done.timing.transform));
    sql.push(", encode_ns = ").push_bind(nanos(done.timing.encode));
    sql.push(", store_ns = ").push_bind(nanos(done.timing.store));
    sql.push(", failure_code = ").push_bind(failure.map(|f| f.code.as_str()));
    sql.push(", failure_detail = ").push_bind(failure.map(|f| f.detail.clone()));
    sql.push(" WHERE job = ").push_bind(id(job.uuid()));
    sql.push(" AND position = ").push_bind(position);
    sql.push("; ");
}

/// The blob of a result: a new row, or one reference more to the one that holds the same bytes.
fn insert_result(sql: &mut QueryBuilder<Sqlite>, stored: &StoredVariant, same: Option<BlobId>) {
    if let Some(same) = same {
        sql.push("UPDATE blobs SET refs = refs + 1 WHERE id = ").push_bind(id(same.uuid()));
        sql.push("; ");
    } else {
        sql.push("INSERT INTO blobs (refs, state, id, sha256, bytes) VALUES (1, 'live', ");
        let mut values = sql.separated(", ");
        values.push_bind(id(stored.blob.uuid())).push_bind(stored.sha256.to_vec()).push_bind(size(stored.bytes));
        sql.push("); ");
    }
}

/// The state of a task that ended without a variant.
fn ended_by(failure: &TaskFailure) -> TaskState {
    if failure.code == TaskCode::Cancelled { TaskState::Cancelled } else { TaskState::Failed }
}

pub(super) fn count_ended(session: &mut Session, state: TaskState, tasks: i64) {
    session.delta.pending_tasks -= tasks;
    match state {
        TaskState::Completed => session.delta.completed_tasks += tasks,
        TaskState::Failed => session.delta.failed_tasks += tasks,
        TaskState::Cancelled => session.delta.cancelled_tasks += tasks,
        TaskState::Queued | TaskState::Running => {}
    }
}

/// See [`super::super::Catalog::finish_job`].
pub(super) async fn finish_job(session: &mut Session, lease: Lease, done: &JobDone) -> Result<JobFinished, CatalogError> {
    let rows = sqlx::query(
        "SELECT j.lease_token AS lease_token, t.state AS state FROM jobs j JOIN tasks t ON t.job = j.id \
         WHERE j.id = ? AND j.state = 'running'",
    )
    .bind(id(lease.job.uuid()))
    .fetch_all(&mut session.conn)
    .await?;
    held(rows.first(), lease)?;
    let mut tasks = Vec::with_capacity(rows.len());
    for row in &rows {
        tasks.push(views::task_state(Columns(row).plain("state")?, JobState::Running)?);
    }
    end_job(session, QueryBuilder::new(""), lease.job, ended_state(lease.job, tasks)?, done).await
}

/// What a job with these tasks has come to, which must all have ended.
fn ended_state(job: JobId, tasks: Vec<TaskState>) -> Read<JobState> {
    let state = JobState::of_tasks(tasks);
    if state.is_final() { Ok(state) } else { Err(nonsense(format!("job {job} was to be ended while it has unfinished tasks"))) }
}

/// Runs `sql`, which is empty or ends its last statement, and ends a running job with it, in one trip.
async fn end_job(
    session: &mut Session,
    mut sql: QueryBuilder<Sqlite>,
    job: JobId,
    state: JobState,
    done: &JobDone,
) -> Result<JobFinished, CatalogError> {
    // The failure of an earlier attempt is over; what failed now is told by the tasks.
    sql.push("UPDATE jobs SET suspect = 0, lease_owner = NULL, lease_token = NULL, lease_until = NULL, failure_code = NULL, ");
    sql.push("failure_detail = NULL, state = ").push_bind(state.as_str());
    sql.push(", finished_at = ").push_bind(done.at.as_millis());
    sql.push(", queue_ns = ").push_bind(nanos(done.timing.queue));
    sql.push(", read_ns = ").push_bind(nanos(done.timing.read));
    sql.push(", decode_ns = ").push_bind(nanos(done.timing.decode));
    sql.push(", cpu_ns = ").push_bind(nanos(done.timing.cpu));
    sql.push(", total_ns = ").push_bind(nanos(done.timing.total));
    sql.push(", peak_bytes = ").push_bind(size(done.peak_bytes));
    sql.push(" WHERE id = ").push_bind(id(job.uuid()));
    if let Some(facts) = &done.facts {
        sql.push("; INSERT OR IGNORE INTO facts (blob, facts) SELECT i.blob, ").push_bind(facts.clone());
        sql.push(" FROM jobs j JOIN images i ON i.id = j.image WHERE j.id = ").push_bind(id(job.uuid()));
    }
    sql.push("; SELECT DISTINCT state FROM jobs WHERE upload = (SELECT upload FROM jobs WHERE id = ").push_bind(id(job.uuid()));
    sql.push(")");
    let rows = sql.build().fetch_all(&mut session.conn).await?;
    session.delta.running_jobs -= 1;
    Ok(JobFinished { job: state, upload: upload_state(&rows)? })
}

/// Of the states of an upload's jobs: which there are is all that counts, however many jobs.
fn upload_state(rows: &[SqliteRow]) -> Read<UploadState> {
    Ok(UploadState::of_jobs(rows.iter().map(|row| Columns(row).word("state")).collect::<Read<Vec<JobState>>>()?))
}

/// See [`super::super::Catalog::release_job`].
pub(super) async fn release_job(session: &mut Session, lease: Lease, release: &Release) -> Result<Option<JobFinished>, CatalogError> {
    let row = sqlx::query("SELECT lease_token, attempt, max_attempts, crashes FROM jobs WHERE id = ? AND state = 'running'")
        .bind(id(lease.job.uuid()))
        .fetch_optional(&mut session.conn)
        .await?;
    let row = held(row.as_ref(), lease)?;
    let failure = release.failure.as_ref();
    if let Some(failure) = failure
        && row.number::<u32>("attempt")? >= row.number::<u32>("max_attempts")?
    {
        return fail_job(session, lease.job, release.at, failure, row.number("crashes")?).await.map(Some);
    }
    sqlx::query(
        "UPDATE jobs SET state = 'queued', suspect = 0, attempt = max(0, attempt - ?), due_at = ?, lease_owner = NULL, lease_token = NULL, \
         lease_until = NULL, failure_code = coalesce(?, failure_code), failure_detail = coalesce(?, failure_detail) WHERE id = ?",
    )
    .bind(i64::from(failure.is_none()))
    .bind(release.due.as_millis())
    .bind(failure.map(|f| f.code.as_str()))
    .bind(failure.map(|f| f.detail.as_str()))
    .bind(id(lease.job.uuid()))
    .execute(&mut session.conn)
    .await?;
    session.delta.running_jobs -= 1;
    session.delta.queued_jobs += 1;
    Ok(None)
}

/// Requeues the running jobs whose lease ended before `ended_before` (all, when absent) as suspects. The one that was all
/// its worker held has one more crash counted, and fails when these are more than `max_crashes`.
pub(super) async fn void_leases(
    session: &mut Session,
    ended_before: Option<Timestamp>,
    now: Timestamp,
    max_crashes: u32,
) -> Result<Voided, CatalogError> {
    let last_end = ended_before.map_or(i64::MAX, |before| before.as_millis().saturating_sub(1));
    // Read before anything is written: who ran beside whom is gone with the first that is taken back.
    let lost = sqlx::query(
        "SELECT id, crashes, NOT EXISTS (SELECT 1 FROM jobs beside WHERE beside.state = 'running' \
         AND beside.lease_owner = jobs.lease_owner AND beside.id <> jobs.id) AS alone \
         FROM jobs WHERE state = 'running' AND lease_until <= ?",
    )
    .bind(last_end)
    .fetch_all(&mut session.conn)
    .await?;
    let mut voided = Voided::default();
    for row in &lost {
        let row = Columns(row);
        let (job, alone) = (JobId::from_uuid(row.uuid("id")?), row.plain::<bool>("alone")?);
        let crashes = row.number::<u32>("crashes")?.saturating_add(u32::from(alone));
        if alone && crashes > max_crashes {
            let detail = format!("given up: {crashes} workers died while they worked on this job alone, limit is {max_crashes}");
            fail_job(session, job, now, &TaskFailure { code: TaskCode::Internal, detail }, crashes).await?;
            voided.failed.push(job);
            continue;
        }
        sqlx::query(
            "UPDATE jobs SET state = 'queued', suspect = 1, crashes = ?, attempt = max(0, attempt - 1), due_at = NULL, \
             lease_owner = NULL, lease_token = NULL, lease_until = NULL WHERE id = ?",
        )
        .bind(i64::from(crashes))
        .bind(id(job.uuid()))
        .execute(&mut session.conn)
        .await?;
        session.delta.running_jobs -= 1;
        session.delta.queued_jobs += 1;
        voided.requeued.push(job);
    }
    Ok(voided)
}

/// Ends a running job and all its unfinished tasks for good. What it had completed stays completed.
async fn fail_job(
    session: &mut Session,
    job: JobId,
    at: Timestamp,
    failure: &TaskFailure,
    crashes: u32,
) -> Result<JobFinished, CatalogError> {
    end_unfinished(session, job, JobState::Running, at, failure, crashes).await
}

/// A job that is in this state now, and what its upload is by that.
pub(super) async fn ended(session: &mut Session, job: JobId, state: JobState) -> Result<JobFinished, CatalogError> {
    let rows = sqlx::query("SELECT DISTINCT state FROM jobs WHERE upload = (SELECT upload FROM jobs WHERE id = ?)")
        .bind(id(job.uuid()))
        .fetch_all(&mut session.conn)
        .await?;
    Ok(JobFinished { job: state, upload: upload_state(&rows)? })
}

/// Ends a job that is queued or running, and all its unfinished tasks; returns what it is then. What had ended stays as it is.
pub(super) async fn end_unfinished(
    session: &mut Session,
    job: JobId,
    was: JobState,
    at: Timestamp,
    failure: &TaskFailure,
    crashes: u32,
) -> Result<JobFinished, CatalogError> {
    let task_state = ended_by(failure);
    let tasks = sqlx::query(
        "UPDATE tasks SET state = ?, finished_at = ?, failure_code = ?, failure_detail = ? WHERE job = ? AND state = 'pending'",
    )
    .bind(task_state.as_str())
    .bind(at.as_millis())
    .bind(failure.code.as_str())
    .bind(failure.detail.as_str())
    .bind(id(job.uuid()))
    .execute(&mut session.conn)
    .await?
    .rows_affected();
    let rows = sqlx::query("SELECT DISTINCT state FROM tasks WHERE job = ?").bind(id(job.uuid())).fetch_all(&mut session.conn).await?;
    let mut states = Vec::with_capacity(rows.len());
    for row in &rows {
        states.push(views::task_state(Columns(row).plain("state")?, JobState::Running)?);
    }
    let state = JobState::of_tasks(states);
    // Where nothing was left to end there is nothing to say.
    let failure = Some(failure).filter(|_| tasks > 0);
    sqlx::query(
        "UPDATE jobs SET state = ?, suspect = 0, finished_at = ?, crashes = ?, due_at = NULL, lease_owner = NULL, lease_token = NULL, \
         lease_until = NULL, failure_code = ?, failure_detail = ? WHERE id = ?",
    )
    .bind(state.as_str())
    .bind(at.as_millis())
    .bind(i64::from(crashes))
    .bind(failure.map(|f| f.code.as_str()))
    .bind(failure.map(|f| f.detail.as_str()))
    .bind(id(job.uuid()))
    .execute(&mut session.conn)
    .await?;
    count_ended(session, task_state, i64::try_from(tasks).unwrap_or(0));
    match was {
        JobState::Queued => session.delta.queued_jobs -= 1,
        JobState::Running => session.delta.running_jobs -= 1,
        JobState::Completed | JobState::Partial | JobState::Failed | JobState::Cancelled => {}
    }
    ended(session, job, state).await
}
