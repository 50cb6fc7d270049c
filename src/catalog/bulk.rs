//! Many jobs steered at once: which ones a wish is about, and what becomes of each. Plain values and one part of the catalog's contract.

use async_trait::async_trait;

use crate::domain::{BatchId, JobId, JobState, TaskCode, Timestamp, UploadId};

use super::{Cancellation, CatalogError, Retried};

/// Which jobs a wish is about; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Whose; empty while keys are not in use.
    pub owner: String,
    /// One of its failed tasks, or its last attempt, failed for one of these reasons.
    pub codes: Vec<TaskCode>,
    /// It ended then or later; one that has not ended was enqueued then or later.
    pub since: Option<Timestamp>,
    /// The same, before then.
    pub until: Option<Timestamp>,
    /// It is of this upload.
    pub upload: Option<UploadId>,
    /// It was made by this batch.
    pub batch: Option<BatchId>,
}

/// What a look at some jobs in one state found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobsMatching {
    /// Those that match, oldest first.
    pub jobs: Vec<JobId>,
    /// The last that was looked at, if there may be more after it.
    pub next: Option<JobId>,
}

/// The part of a catalog for wishes about many jobs. Each call is short, whatever the number of jobs; whoever has many goes on from call to call.
///
/// # Cancel safety
/// As [`super::Catalog`].
#[async_trait]
pub trait Bulk: Send + Sync {
    /// Looks at the first `most` jobs in `state` after `after`, in the order they were made. Of jobs that have ended only those match of which a task
    /// failed.
    async fn matching_jobs(
        &self,
        filter: &JobFilter,
        state: JobState,
        after: Option<JobId>,
        most: u32,
    ) -> Result<JobsMatching, CatalogError>;

    /// [`super::Catalog::retry_job`] of each, all in one transaction.
    async fn retry_jobs(&self, of: &[JobId], at: Timestamp) -> Result<Vec<(JobId, Retried)>, CatalogError>;

    /// [`super::Catalog::cancel_job`] of each, all in one transaction.
    async fn cancel_jobs(&self, of: &[JobId], at: Timestamp) -> Result<Vec<(JobId, Cancellation)>, CatalogError>;
}
