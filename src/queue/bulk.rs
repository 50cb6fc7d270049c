//! Many jobs at once: retried or cancelled by what they have in common, and made for a batch. In small steps, so that uploads and workers never wait
//! long for the catalog.
//!
//! Invariant: once polled a wish is carried out to its end, for whoever asked may go; each job is told of as if it had been steered alone.

use std::sync::atomic::Ordering;

use tracing::info;

use crate::{
    catalog::{BatchStep, Cancellation, CatalogError, JobFilter, JobFinished, JobOfStep, Retried},
    domain::{BatchId, JobId, JobState, Timestamp, UploadId},
    follow::{Attempt, OfJob, What},
};

use super::{Inner, Queue};

/// Jobs that are written to in one transaction: others wait for the one connection that writes no longer than for a large upload.
const STEP: usize = 32;
/// Jobs that are looked at in one read.
const LOOK: u32 = 1000;

/// What is done with each job that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Its failed tasks are queued again.
    Retry,
    /// It is cancelled, if it waits.
    Cancel,
}

impl Steer {
    const fn states(self) -> &'static [JobState] {
        match self {
            Self::Retry => &[JobState::Failed, JobState::Partial],
            Self::Cancel => &[JobState::Queued],
        }
    }
}

/// What became of a wish about many jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steered {
    /// How many jobs matched.
    pub matched: u64,
    /// With how many of them it was done.
    pub done: u64,
    /// It stopped because the queue is full.
    pub full: bool,
}

impl Queue {
    /// Steers the jobs that match, the oldest first, at most `most` of them; with `most` 0 they are only counted. Said twice it is as said once: a job that was
    /// steered does not match any more.
    ///
    /// # Errors
    /// When the catalog fails; what was done before is done.
    ///
    /// # Cancel safety
    /// Once polled, it goes on to its end even when this future is dropped.
    pub async fn steer_all(&self, steer: Steer, filter: JobFilter, most: u64) -> Result<Steered, CatalogError> {
        let this = self.clone();
        let steering = tokio::spawn(async move {
            let mut all = Steered::default();
            for state in steer.states() {
                this.steer_in_state(steer, *state, &filter, most, &mut all).await?;
            }
            if all.done > 0 {
                info!(?steer, matched = all.matched, done = all.done, "steered many jobs");
            }
            Ok(all)
        });
        steering.await.unwrap_or_else(|died| Err(CatalogError::Backend(died.into())))
    }

    async fn steer_in_state(
        &self,
        steer: Steer,
        state: JobState,
        filter: &JobFilter,
        most: u64,
        all: &mut Steered,
    ) -> Result<(), CatalogError> {
        let mut after = None;
        loop {
            let found = self.inner.parts.catalog.matching_jobs(filter, state, after, LOOK).await?;
            all.matched += found.jobs.len() as u64;
            for step in found.jobs.chunks(STEP) {
                let wanted = most.saturating_sub(all.done).min(step.len() as u64);
                let now = if steer == Steer::Retry { wanted.min(self.room()) } else { wanted };
                all.full |= now < wanted;
                let step = &step[..usize::try_from(now).unwrap_or(usize::MAX)];
                if !step.is_empty() {
                    all.done += match steer {
                        Steer::Retry => self.retry_each(step).await?,
                        Steer::Cancel => self.cancel_each(step).await?,
                    };
                }
            }
            match found.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// How many more jobs may wait.
    fn room(&self) -> u64 {
        self.max_queued_jobs().saturating_sub(self.queued())
    }

    /// Returns how many were queued.
    async fn retry_each(&self, jobs: &[JobId]) -> Result<u64, CatalogError> {
        let now = self.inner.parts.clock.now();
        let mut done = 0;
        for (job, retried) in self.inner.parts.catalog.retry_jobs(jobs, now).await? {
            done += u64::from(matches!(retried, Retried::Queued { .. }));
            self.inner.retried(job, &retried, now);
        }
        Ok(done)
    }

    /// Returns how many ended by it.
    async fn cancel_each(&self, jobs: &[JobId]) -> Result<u64, CatalogError> {
        let mut done = 0;
        for (job, cancelled) in self.inner.parts.catalog.cancel_jobs(jobs, self.inner.parts.clock.now()).await? {
            done += u64::from(matches!(cancelled, Cancellation::Done { .. }));
            self.cancelled(job, &cancelled);
        }
        Ok(done)
    }

    /// Cancels the jobs of a batch that wait or run.
    ///
    /// # Errors
    /// When the catalog fails; what was done before is done.
    ///
    /// # Cancel safety
    /// Once polled, it goes on to its end even when this future is dropped.
    pub async fn cancel_batch_jobs(&self, batch: BatchId) -> Result<u64, CatalogError> {
        let this = self.clone();
        let cancelling = tokio::spawn(async move {
            let mut done = 0;
            loop {
                let open = this.inner.parts.catalog.open_jobs(batch, STEP as u32).await?;
                if open.is_empty() {
                    return Ok(done);
                }
                done += this.cancel_each(&open).await?;
            }
        });
        cancelling.await.unwrap_or_else(|died| Err(CatalogError::Backend(died.into())))
    }

    /// Records what is done about some images of a batch; returns how many jobs that made, or `None` if the batch has ended.
    ///
    /// # Errors
    /// When the catalog fails; then nothing is recorded.
    ///
    /// # Cancel safety
    /// Once polled, it goes on to its end even when this future is dropped.
    pub async fn add_of_batch(&self, batch: BatchId, step: BatchStep) -> Result<Option<usize>, CatalogError> {
        let this = self.clone();
        let adding = tokio::spawn(async move {
            let parts = &this.inner.parts;
            let Some(made) = parts.catalog.step_batch(batch, step, parts.clock.now()).await? else { return Ok(None) };
            for JobOfStep { job, image, upload, told } in &made {
                this.inner.added(*upload, OfJob { job: *job, image: *image }, *told);
            }
            if !made.is_empty() {
                this.inner.wake.notify_one();
            }
            Ok(Some(made.len()))
        });
        adding.await.unwrap_or_else(|died| Err(CatalogError::Backend(died.into())))
    }

    /// What follows from a cancellation that is committed.
    pub(super) fn cancelled(&self, job: JobId, cancelled: &Cancellation) {
        let Cancellation::Done { upload, image, was, ended } = *cancelled else { return };
        if was == JobState::Queued {
            self.inner.queued.fetch_sub(1, Ordering::Relaxed);
            self.not_coming(&[job]);
        } else {
            self.inner.leases.cancel(&[job]);
        }
        self.inner.tell(upload, What::JobCancelled(OfJob { job, image }, ended.job));
        self.inner.tell_if_final(upload, ended.upload);
        self.inner.wake.notify_one();
    }
}

impl Inner {
    /// What follows from a retry that is committed.
    pub(super) fn retried(&self, job: JobId, retried: &Retried, now: Timestamp) {
        let Retried::Queued { upload, image, max_attempts, .. } = *retried else { return };
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.tell(upload, What::JobRetrying(OfJob { job, image }, Attempt { attempt: 0, max_attempts }, now, None));
        self.wake.notify_one();
    }

    /// What follows from a further job of an image that is committed.
    pub(super) fn added(&self, upload: UploadId, of: OfJob, told: JobFinished) {
        if told.job == JobState::Queued {
            self.queued.fetch_add(1, Ordering::Relaxed);
            self.parts.follow.changed(upload);
        } else {
            self.tell(upload, What::JobEnded(of, told.job, None));
            self.tell_if_final(upload, told.upload);
        }
    }
}
