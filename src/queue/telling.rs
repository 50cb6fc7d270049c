//! What is told to those who follow events, each after the commit that made it true.
//!
//! Invariant: the end of an upload is told with that of its last job, which the catalog names; so it is told once.

use tracing::warn;

use super::{Accepted, Event, Inner, JobFinished, JobId, OfJob, UploadState, What};
use crate::{
    catalog::{ClaimedJob, JobTiming},
    domain::{TaskFailure, UploadId},
    telemetry::error_chain,
};

impl Inner {
    pub(super) fn tell(&self, upload: UploadId, what: What) {
        self.parts.follow.tell(Event { upload: Some(upload), at: self.parts.clock.now(), what });
    }

    /// A new upload; what had been made before is there at once.
    pub(super) fn tell_received(&self, accepted: &Accepted) {
        let upload = &accepted.upload;
        self.tell(upload.id, What::UploadReceived(u32::try_from(upload.images.len()).unwrap_or(u32::MAX)));
        for (image, job) in upload.images.iter().filter(|(_, job)| job.state.is_final()) {
            self.tell(upload.id, What::JobEnded(OfJob { job: job.id, image: image.id }, job.state, None));
        }
        self.tell_if_final(upload.id, upload.state);
    }

    pub(super) fn tell_if_final(&self, upload: UploadId, state: UploadState) {
        if state.is_final() {
            self.tell(upload, What::UploadCompleted(state));
        }
    }

    /// The end of a job that was worked on to its end, and of its upload if that is due.
    pub(super) fn tell_worked(&self, job: &ClaimedJob, ended: JobFinished, timing: &JobTiming, peak_bytes: u64) {
        let JobTiming { queue, read, decode, cpu, total } = *timing;
        let times = vec![("queue_ms", queue), ("read_ms", read), ("decode_ms", decode), ("cpu_ms", cpu), ("total_ms", total)];
        self.tell(job.upload, What::JobWorked(OfJob { job: job.lease.job, image: job.image }, ended.job, times, peak_bytes));
        self.tell_if_final(job.upload, ended.upload);
    }

    /// The end of a job that is given up, and of its upload if that is due.
    pub(super) fn tell_ended(&self, job: &ClaimedJob, ended: JobFinished, why: Option<TaskFailure>) {
        self.tell(job.upload, What::JobEnded(OfJob { job: job.lease.job, image: job.image }, ended.job, why));
        self.tell_if_final(job.upload, ended.upload);
    }

    /// Jobs that were given up as their worker died.
    pub(super) async fn tell_of_failed(&self, jobs: &[JobId]) {
        for job in jobs {
            let told = async {
                let Some(view) = self.parts.catalog.job(*job).await? else { return Ok(()) };
                if !view.state.is_final() {
                    // Somebody had it tried again meanwhile, and that was told.
                    return Ok(());
                }
                // Partial, where some of it had completed.
                self.tell(view.upload, What::JobEnded(OfJob { job: view.id, image: view.image }, view.state, view.failure));
                let upload = self.parts.catalog.upload(view.upload).await?;
                upload.into_iter().for_each(|upload| self.tell_if_final(upload.id, upload.state));
                Ok::<(), crate::catalog::CatalogError>(())
            };
            if let Err(error) = told.await {
                warn!(job.id = %job, error = %error_chain(&error), "could not tell who follows it that a job was given up");
            }
        }
    }
}
