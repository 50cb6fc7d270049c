//! What can be asked of a catalog in writing, as values: a back end and the model are asked the same and answer alike.
//!
//! Knows no back end. What a contract leaves open (the order of a set, the words of a failure the catalog itself tells of) is made equal here.

use super::super::super::{
    Accepted, Cancellation, Catalog, CatalogError, Claim, Claimed, Deletion, JobAdded, JobDone, JobFinished, JobView, Lease, NewJob,
    NewUpload, Release, Retried, TaskDone, TaskFinished, UploadView, Voided,
};
use crate::domain::{BlobId, ImageId, JobId, TaskFailure, Timestamp, UploadId};

/// A failure made up by the suite has a detail that starts so; all others are in the catalog's own words.
pub(super) const MADE_UP: &str = "made up";

/// One transaction.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Accept(NewUpload),
    Add(ImageId, NewJob, Timestamp),
    Claim(Claim),
    Renew(Vec<Lease>, Timestamp),
    FinishTask(Lease, TaskDone),
    FinishTasks(Vec<(Lease, TaskDone)>),
    FinishJob(Lease, JobDone),
    Release(Lease, Release),
    Void(Timestamp, u32),
    Expire(Timestamp, u32),
    Cancel(JobId, Timestamp),
    Retry(JobId, Timestamp),
    DeleteUpload(UploadId, Timestamp),
    DeleteImage(ImageId, Timestamp),
    PurgeTombstones(Timestamp),
    PurgeBlobs(Vec<BlobId>),
    MarkMissing(Vec<BlobId>),
    MarkFound(Vec<BlobId>),
    Replace(BlobId, BlobId),
}

/// What is told of one.
#[derive(Debug)]
#[expect(dead_code, reason = "compared by what Debug shows of it")]
pub(super) enum Answer {
    Accepted(Accepted),
    Added(JobAdded),
    Claimed(Claimed),
    Renewed(Vec<Lease>),
    TaskFinished(TaskFinished),
    TasksFinished(Vec<Result<TaskFinished, Refused>>),
    JobFinished(JobFinished),
    Released(Option<JobFinished>),
    Voided(Voided),
    Cancelled(Cancellation),
    Retried(Retried),
    Deleted(Deletion),
    Forgot(u64),
    News(Vec<BlobId>),
    Replaced(bool),
    Done,
    Refused(Refused),
}

/// A refusal, as far as callers tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    IdempotencyConflict,
    LeaseLost,
    /// What makes no sense, and should never be asked.
    Nonsense,
}

/// Asks a back end.
///
/// # Errors
/// When it failed in a way that no request explains.
pub(super) async fn ask(catalog: &impl Catalog, command: Command) -> Result<Answer, String> {
    let told = match command {
        Command::Accept(upload) => catalog.accept_upload(upload).await.map(Answer::Accepted),
        Command::Add(image, job, at) => catalog.add_job(image, job, at).await.map(Answer::Added),
        Command::Claim(claim) => catalog.claim_jobs(claim).await.map(Answer::Claimed),
        Command::Renew(leases, until) => catalog.renew_leases(&leases, until).await.map(Answer::Renewed),
        Command::FinishTask(lease, done) => catalog.finish_task(lease, done).await.map(Answer::TaskFinished),
        Command::FinishTasks(of) => catalog.finish_tasks(of).await.map(|all| {
            let refused = |error| if matches!(error, CatalogError::LeaseLost) { Refused::LeaseLost } else { Refused::Nonsense };
            Answer::TasksFinished(all.into_iter().map(|one| one.map_err(refused)).collect())
        }),
        Command::FinishJob(lease, done) => catalog.finish_job(lease, done).await.map(Answer::JobFinished),
        Command::Release(lease, release) => catalog.release_job(lease, release).await.map(Answer::Released),
        Command::Void(now, max_crashes) => catalog.void_leases(now, max_crashes).await.map(Answer::Voided),
        Command::Expire(now, max_crashes) => catalog.expire_leases(now, max_crashes).await.map(Answer::Voided),
        Command::Cancel(job, at) => catalog.cancel_job(job, at).await.map(Answer::Cancelled),
        Command::Retry(job, at) => catalog.retry_job(job, at).await.map(Answer::Retried),
        Command::DeleteUpload(upload, at) => catalog.delete_upload(upload, at).await.map(Answer::Deleted),
        Command::DeleteImage(image, at) => catalog.delete_image(image, at).await.map(Answer::Deleted),
        Command::PurgeTombstones(before) => catalog.purge_tombstones(before, u32::MAX).await.map(Answer::Forgot),
        Command::PurgeBlobs(of) => catalog.purge_blobs(&of).await.map(|()| Answer::Done),
        Command::MarkMissing(of) => catalog.mark_missing(&of).await.map(Answer::News),
        Command::MarkFound(of) => catalog.mark_found(&of).await.map(Answer::News),
        Command::Replace(lost, fresh) => catalog.replace_blob(lost, fresh).await.map(Answer::Replaced),
    };
    match told {
        Ok(answer) => Ok(answer),
        Err(CatalogError::IdempotencyConflict) => Ok(Answer::Refused(Refused::IdempotencyConflict)),
        Err(CatalogError::LeaseLost) => Ok(Answer::Refused(Refused::LeaseLost)),
        // Told apart from a fault of the back end by the model, which knows when nothing else is due.
        Err(CatalogError::Backend(source)) if !source.is::<std::io::Error>() => {
            tracing::debug!(error = %source, "refused");
            Ok(Answer::Refused(Refused::Nonsense))
        }
        Err(error) => Err(format!("{error}: {error:?}")),
    }
}

impl Answer {
    /// With what a contract leaves open made equal.
    pub(super) fn plain(mut self) -> Self {
        match &mut self {
            Self::Accepted(accepted) => {
                accepted.upload = plain_upload(accepted.upload.clone());
                accepted.surplus.sort();
            }
            Self::Renewed(leases) => leases.sort_by_key(|lease| lease.job),
            Self::Voided(voided) => {
                voided.requeued.sort();
                voided.failed.sort();
            }
            Self::Deleted(Deletion::Done(erased)) => {
                erased.images.sort_by_key(|image| image.id);
                erased.images.iter_mut().for_each(|image| image.variants.sort());
                erased.running.sort();
                erased.cancelled.sort();
                erased.dead.sort();
            }
            Self::News(blobs) => blobs.sort(),
            _ => {}
        }
        self
    }
}

pub(super) fn plain_upload(mut upload: UploadView) -> UploadView {
    for (_, job) in &mut upload.images {
        *job = plain_job(job.clone());
    }
    upload
}

pub(super) fn plain_job(mut job: JobView) -> JobView {
    job.failure = job.failure.map(plain_failure);
    for task in &mut job.tasks {
        task.failure = task.failure.take().map(plain_failure);
    }
    job
}

fn plain_failure(failure: TaskFailure) -> TaskFailure {
    let detail = if failure.detail.starts_with(MADE_UP) { failure.detail } else { "in the catalog's words".into() };
    TaskFailure { detail, ..failure }
}
