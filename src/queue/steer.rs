//! Jobs steered from outside: added to an image, cancelled, retried. The catalog first, then everybody who has something of the job.
//!
//! Invariant: once polled a wish is carried out to its end, for whoever asked may go; what runs is asked to stop only after the commit that took
//! its lease away.

use tracing::info;

use crate::{
    catalog::{Cancellation, CatalogError, JobAdded, NewJob, Retried},
    domain::{ImageId, JobId},
    follow::OfJob,
};

use super::Queue;

impl Queue {
    /// Cancels a job that has not ended. One that waits ends at once; of one that runs the state is told at once, and the work is asked to stop: its
    /// core and memory come back when the codec next looks.
    ///
    /// # Errors
    /// When the catalog fails; then the job is as it was.
    ///
    /// # Cancel safety
    /// Once polled, it goes on to its end even when this future is dropped.
    pub async fn cancel(&self, job: JobId) -> Result<Cancellation, CatalogError> {
        let this = self.clone();
        let cancelling = tokio::spawn(async move {
            let parts = &this.inner.parts;
            let cancelled = parts.catalog.cancel_job(job, parts.clock.now()).await?;
            if let Cancellation::Done { upload, was, ended, .. } = cancelled {
                info!(job.id = %job, upload.id = %upload, %was, state = %ended.job, "job cancelled");
            }
            this.cancelled(job, &cancelled);
            Ok(cancelled)
        });
        cancelling.await.unwrap_or_else(|died| Err(CatalogError::Backend(died.into())))
    }

    /// Records more work for an image that is there, and queues it.
    ///
    /// # Errors
    /// When the catalog fails; then nothing is recorded.
    ///
    /// # Cancel safety
    /// Once polled, it goes on to its end even when this future is dropped.
    pub async fn add(&self, image: ImageId, job: NewJob) -> Result<JobAdded, CatalogError> {
        let this = self.clone();
        let adding = tokio::spawn(async move {
            let parts = &this.inner.parts;
            let added = parts.catalog.add_job(image, job, parts.clock.now()).await?;
            if let JobAdded::Added { upload, job: Some((job, told)) } = added {
                this.inner.added(upload, OfJob { job, image }, told);
                this.inner.wake.notify_one();
            }
            Ok(added)
        });
        adding.await.unwrap_or_else(|died| Err(CatalogError::Backend(died.into())))
    }

    /// Queues the failed tasks of a job that has ended.
    ///
    /// # Errors
    /// When the catalog fails; then the job is as it was.
    ///
    /// # Cancel safety
    /// Once polled, it goes on to its end even when this future is dropped.
    pub async fn retry(&self, job: JobId) -> Result<Retried, CatalogError> {
        let this = self.clone();
        let retrying = tokio::spawn(async move {
            let parts = &this.inner.parts;
            let now = parts.clock.now();
            let retried = parts.catalog.retry_job(job, now).await?;
            if let Retried::Queued { upload, tasks, .. } = retried {
                info!(job.id = %job, upload.id = %upload, tasks, "failed tasks are tried again");
            }
            this.inner.retried(job, &retried, now);
            Ok(retried)
        });
        retrying.await.unwrap_or_else(|died| Err(CatalogError::Backend(died.into())))
    }
}
