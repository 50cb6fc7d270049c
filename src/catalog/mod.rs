//! Rows: what the service knows of uploads, images, jobs, tasks, variants and blobs.
//!
//! One method is one whole transaction. SQL lives in the back ends below this folder and nowhere else; no back end
//! knows HTTP, files or pixels. The contract every back end must keep is `contract.rs`.

mod batches;
mod bulk;
pub mod contract;
mod history;
mod model;
pub mod sqlite;
mod standing;
mod steering;

use async_trait::async_trait;

use crate::domain::{BlobId, ImageId, JobId, JobState, LeaseToken, Timestamp, UploadId, VariantName};

pub use batches::*;
pub use bulk::*;
pub use history::*;
pub use model::*;
pub use standing::*;
pub use steering::*;

/// Errors of a catalog, as far as a caller can act on them.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyConflict,
    /// The lease is no longer ours; the late result must be dropped.
    #[error("the lease is no longer held")]
    LeaseLost,
    /// No room to write.
    #[error("no room left for the catalog")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Its disk failed, or may not be written now; may pass.
    #[error("the catalog's disk failed")]
    Disk(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The catalog cannot be reached or answered nonsense.
    #[error("catalog failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where rows are kept.
///
/// # Cancel safety
/// Every method may be dropped at any await point: the transaction then either happens wholly or not at all.
#[async_trait]
pub trait Catalog: Bulk + Batches + Send + Sync + 'static {
    /// Records an upload with its images, jobs and tasks, all or nothing. Images whose bytes are known share the live
    /// blob (their own blob is returned for dropping); tasks whose variant exists already, and is not known to be missing,
    /// are born completed.
    /// With an idempotency key that was used before: the first upload's id if the fingerprints agree.
    ///
    /// # Errors
    /// [`CatalogError::IdempotencyConflict`] if the key was used with another fingerprint.
    async fn accept_upload(&self, upload: NewUpload) -> Result<Accepted, CatalogError>;

    /// Takes the first jobs in rank order that are due, as many as `claim.limit` places hold, under fresh leases; stops at the
    /// first that does not fit into what is left of `claim.budget_bytes`, so that a costly job is never overtaken for good.
    /// A job costs at most `claim.whole_budget_bytes` here: alone, every job fits.
    ///
    /// A suspect is given to a worker that holds nothing (`claim.running` is 0), as the first and last job of the claim;
    /// met anywhere else it ends the claim (`waits_alone`) and keeps its place. Whoever got one claims nothing until that
    /// attempt has ended.
    async fn claim_jobs(&self, claim: Claim) -> Result<Claimed, CatalogError>;

    /// Moves the end of the given leases to `until`; returns the leases that are still held.
    async fn renew_leases(&self, leases: &[Lease], until: Timestamp) -> Result<Vec<Lease>, CatalogError>;

    /// Stores the outcome of one task, and its variant if there is one. With `done.job` it ends the job, too, as
    /// [`Catalog::finish_job`] does: both or neither.
    ///
    /// # Errors
    /// [`CatalogError::LeaseLost`] if another worker holds the job by now.
    async fn finish_task(&self, lease: Lease, done: TaskDone) -> Result<TaskFinished, CatalogError>;

    /// The same of many tasks, in one transaction, as if they were told one after the other. Who has lost his lease is told so in his place, and the
    /// others are written all the same.
    ///
    /// # Errors
    /// Any other failure of any of them is that of all: nothing was written.
    async fn finish_tasks(&self, of: Vec<(Lease, TaskDone)>) -> Result<Vec<Result<TaskFinished, CatalogError>>, CatalogError>;

    /// Ends a job: its state follows from its tasks (all of which have ended).
    ///
    /// # Errors
    /// [`CatalogError::LeaseLost`] if another worker holds the job by now.
    async fn finish_job(&self, lease: Lease, done: JobDone) -> Result<JobFinished, CatalogError>;

    /// Gives a job back: its unfinished tasks are queued again, due at `release.due`. An attempt that failed for a
    /// passing reason keeps its count and records the failure; a shutdown (`failure: None`) gives the attempt back. What failed for the
    /// last time ends; that end is returned.
    ///
    /// # Errors
    /// [`CatalogError::LeaseLost`] if another worker holds the job by now.
    async fn release_job(&self, lease: Lease, release: Release) -> Result<Option<JobFinished>, CatalogError>;

    /// At an embedded start: all running jobs go back to the queue at once, as suspects that will run alone until an
    /// attempt at them ends. Only the job that was all its worker held has a crash counted, as only there it is clear who
    /// was at work; with more than `max_crashes` it fails with `internal`. Returns which were requeued and failed.
    async fn void_leases(&self, now: Timestamp, max_crashes: u32) -> Result<Voided, CatalogError>;

    /// Requeues running jobs whose lease ended before `now`, as above. What else their worker holds counts as beside them,
    /// whether that lease has ended or not.
    async fn expire_leases(&self, now: Timestamp, max_crashes: u32) -> Result<Voided, CatalogError>;

    /// Ends a job that has not ended: its unfinished tasks are cancelled, what had ended stays. Whoever holds it finds the lease lost.
    async fn cancel_job(&self, id: JobId, at: Timestamp) -> Result<Cancellation, CatalogError>;

    /// Queues the failed tasks of a job that has ended, whatever they failed for, as if it were enqueued at `at` with its
    /// priority and had never been tried: all its attempts are before it. It keeps what had completed or was cancelled. A job
    /// that workers died of is a suspect, and runs alone.
    async fn retry_job(&self, id: JobId, at: Timestamp) -> Result<Retried, CatalogError>;

    /// Records more work for an image that is there, as `accept_upload` does: what exists already is born completed. Names are write-once: a
    /// name that is used with the same spec is left out of the job, one that is used with another refuses it whole.
    async fn add_job(&self, image: ImageId, job: NewJob, at: Timestamp) -> Result<JobAdded, CatalogError>;

    /// When the next queued job that is not yet due will be due.
    async fn next_due(&self) -> Result<Option<Timestamp>, CatalogError>;

    /// An upload with its images, jobs and tasks.
    async fn upload(&self, id: UploadId) -> Result<Option<UploadView>, CatalogError>;

    /// A job with its tasks.
    async fn job(&self, id: JobId) -> Result<Option<JobView>, CatalogError>;

    /// An image and where its bytes are.
    async fn image(&self, id: ImageId) -> Result<Option<ImageView>, CatalogError>;

    /// What is known of the images in these blobs, of those where something is ([`JobDone::facts`]), in no order.
    async fn facts(&self, of: &[BlobId]) -> Result<Vec<(BlobId, String)>, CatalogError>;

    /// A named variant of an image, in whatever state, with its job.
    async fn variant(&self, image: ImageId, name: &VariantName) -> Result<Option<VariantView>, CatalogError>;

    /// Totals since the data folder was made, and what waits and runs now. O(1) in the number of rows.
    async fn totals(&self) -> Result<Totals, CatalogError>;

    /// Which of the given blobs are live (referenced as an original or as a variant's bytes); for sweeps.
    async fn live_blobs(&self, of: &[BlobId]) -> Result<Vec<BlobId>, CatalogError>;

    /// Uploads as [`Catalog::upload`] gives them, newest first. O(limit) in the number of rows, as all lists.
    async fn uploads(&self, page: Page<UploadId>) -> Result<Listed<UploadView, UploadId>, CatalogError>;

    /// Images with all their jobs, the one they came with first; newest images first.
    async fn images(&self, page: Page<ImageId>) -> Result<Listed<(ImageView, Vec<JobView>), ImageId>, CatalogError>;

    /// Jobs, all or those in one state, newest first.
    async fn jobs(&self, page: Page<JobId>, state: Option<JobState>) -> Result<Listed<JobView, JobId>, CatalogError>;

    /// Removes all rows of an upload, whatever its jobs are doing: their leases are lost, their unfinished tasks count as
    /// cancelled, its idempotency key is free again. References of its images are given back, and those of the results
    /// made of a blob with the last image of that blob; blobs that nothing points to are dead from here on and are
    /// never live again. A tombstone stays for the upload, each image and each job, and of each job what it was ([`PastJob`]).
    async fn delete_upload(&self, id: UploadId, at: Timestamp) -> Result<Deletion, CatalogError>;

    /// Removes one image like [`Catalog::delete_upload`], with the last image of an upload the upload, too.
    async fn delete_image(&self, id: ImageId, at: Timestamp) -> Result<Deletion, CatalogError>;

    /// Whether there is a tombstone.
    async fn was_deleted(&self, subject: Subject) -> Result<bool, CatalogError>;

    /// Forgets the oldest tombstones from before `before`, at most `limit`; returns how many those were.
    async fn purge_tombstones(&self, before: Timestamp, limit: u32) -> Result<u64, CatalogError>;

    /// When an upload's time is over; none also where there is no such upload.
    async fn expires_at(&self, id: UploadId) -> Result<Option<Timestamp>, CatalogError>;

    /// Uploads whose time was over at `now`, those that have waited longest first, at most `limit`.
    async fn expired_uploads(&self, now: Timestamp, limit: u32) -> Result<Vec<UploadId>, CatalogError>;

    /// What is remembered of a job whose image was deleted.
    async fn past_job(&self, id: JobId) -> Result<Option<PastJob>, CatalogError>;

    /// Jobs whose images were deleted, newest first.
    async fn past_jobs(&self, page: Page<JobId>) -> Result<Listed<PastJob, JobId>, CatalogError>;

    /// Forgets past jobs that ended before `before`, the oldest first, at most `limit`; returns how many those were.
    async fn purge_past_jobs(&self, before: Timestamp, limit: u32) -> Result<u64, CatalogError>;

    /// What waits and runs now, an entry for each priority in the order of their declaration. O(n) in the jobs that wait.
    async fn waiting(&self) -> Result<Vec<Waiting>, CatalogError>;

    /// Dead blobs in the order of their ids, after `after`, at most `limit`: what a crash left between a deletion and the removal of its files.
    async fn dead_blobs(&self, after: Option<BlobId>, limit: u32) -> Result<Vec<BlobId>, CatalogError>;

    /// Forgets dead blobs, once their files are removed. Live ones are left alone.
    async fn purge_blobs(&self, of: &[BlobId]) -> Result<(), CatalogError>;

    /// Live blobs in the order of their ids, after `after`, at most `limit`.
    async fn blobs_after(&self, after: Option<BlobId>, limit: u32) -> Result<Vec<LiveBlob>, CatalogError>;

    /// Notes that the files of these live blobs are not there, or not whole; returns those that this is news of. A result
    /// that is missing no longer lets a new task be born completed.
    async fn mark_missing(&self, of: &[BlobId]) -> Result<Vec<BlobId>, CatalogError>;

    /// Notes that the files of these blobs are there (again); returns those that this is news of.
    async fn mark_found(&self, of: &[BlobId]) -> Result<Vec<BlobId>, CatalogError>;

    /// Puts `fresh`, a blob nobody knows yet that holds the very same bytes, in the place of the live blob `lost`, whose
    /// file is not there: all that pointed at `lost` points at `fresh` then, and `lost` is dead. False if `lost` was not
    /// live (any more); then nothing points at `fresh`.
    async fn replace_blob(&self, lost: BlobId, fresh: BlobId) -> Result<bool, CatalogError>;

    /// What this catalog is to the files beside it. One that is found to be an older one says so at this start only; that files from before `now` are
    /// kept stays. To be asked once at a start, before anything else is written.
    async fn recall(&self, now: Timestamp) -> Result<Past, CatalogError>;

    /// From now on files that no row names and that were made before `before` are kept ([`Past::keep_before`]).
    async fn keep_files(&self, before: Timestamp) -> Result<(), CatalogError>;

    /// This is the catalog of the files beside it: from now on it is noted how far it has come, for [`recall`](Self::recall) at later starts. Where
    /// something was noted before, that call goes on by itself.
    async fn vouch(&self) -> Result<(), CatalogError>;

    /// Whether the catalog answers and can be written.
    async fn ping(&self) -> Result<(), CatalogError>;
}

/// A worker's hold on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The token that must still match for anything to be written.
    pub token: LeaseToken,
}
