//! What becomes of a wish to steer a job, or to add one: plain values, the same for every back end.

use crate::domain::{ImageId, JobId, JobState, UploadId, VariantName};

use super::JobFinished;

/// What became of a wish to cancel a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// It ended by this: its unfinished tasks are cancelled, a lease on it is lost.
    Done {
        /// Its upload.
        upload: UploadId,
        /// Its image.
        image: ImageId,
        /// `Queued` or `Running`.
        was: JobState,
        /// `Cancelled`, or what its tasks that had ended make of it.
        ended: JobFinished,
    },
    /// It had ended before, in this state, and stays as it is.
    Ended(JobState),
    /// It was deleted.
    Gone,
    /// There never was such a job, or so long ago that nobody remembers.
    Unknown,
}

/// What became of a wish to retry a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// Its failed tasks wait again.
    Queued {
        /// Its upload.
        upload: UploadId,
        /// Its image.
        image: ImageId,
        /// How many tasks that are.
        tasks: u64,
        /// How many attempts are before it.
        max_attempts: u32,
    },
    /// It has not ended, or none of its tasks failed; it is as it was, in this state.
    NothingFailed(JobState),
    /// It was deleted.
    Gone,
    /// There never was such a job, or so long ago that nobody remembers.
    Unknown,
}

/// What became of a wish for more variants of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobAdded {
    /// Every name has its variant, or a task that makes it.
    Added {
        /// The image's upload.
        upload: UploadId,
        /// The new job, with its state and what the upload is by it; none where every variant was asked for before.
        job: Option<(JobId, JobFinished)>,
    },
    /// This name is taken by other options; nothing was recorded.
    Taken(VariantName),
    /// The image was deleted.
    Gone,
    /// There never was such an image, or so long ago that nobody remembers.
    Unknown,
}
