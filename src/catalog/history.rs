//! What is remembered of jobs whose image is gone, and what waits: plain values, the same for every back end.

use crate::domain::{ImageId, JobId, JobState, Origin, Priority, TaskCode, TaskState, Timestamp, UploadId, VariantName};

use super::{JobTiming, TaskTiming};

/// A job whose image was deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct PastJob {
    /// Its id.
    pub id: JobId,
    /// Its upload, which may be gone, too.
    pub upload: UploadId,
    /// Its image, which is gone.
    pub image: ImageId,
    /// How it ended; what had not ended when it was deleted is `Cancelled`.
    pub state: JobState,
    /// How urgent.
    pub priority: Priority,
    /// Attempts.
    pub attempt: u32,
    /// Attempts allowed.
    pub max_attempts: u32,
    /// When it was enqueued.
    pub queued_at: Timestamp,
    /// When the last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// When it was deleted.
    pub erased_at: Timestamp,
    /// Its times, where it ended by itself.
    pub timing: Option<JobTiming>,
    /// The most bytes charged.
    pub peak_bytes: Option<u64>,
    /// Why it was given up.
    pub failure: Option<TaskCode>,
    /// What the original was.
    pub source: Source,
    /// The request it came with.
    pub origin: Option<Origin>,
    /// In the order the client named them.
    pub tasks: Vec<PastTask>,
}

/// What an original was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `jpeg`, …
    pub format: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Width as displayed, in pixels.
    pub width_px: u32,
    /// Height as displayed, in pixels.
    pub height_px: u32,
}

/// A task of a job whose image was deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct PastTask {
    /// The variant's name.
    pub name: VariantName,
    /// Names of the options of its spec in their order, without arguments, which may be texts of a client.
    pub operations: Vec<String>,
    /// The format it had, or was to have.
    pub format: String,
    /// How it ended.
    pub state: TaskState,
    /// Its times, where it ended by itself.
    pub timing: Option<TaskTiming>,
    /// Why it failed.
    pub failure: Option<TaskCode>,
    /// What the result was.
    pub result: Option<PastResult>,
}

/// What a result was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastResult {
    /// Its size in bytes.
    pub bytes: u64,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
}

/// What waits and runs of one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of which priority.
    pub priority: Priority,
    /// Jobs that wait.
    pub queued: u64,
    /// When the first of these was enqueued.
    pub oldest: Option<Timestamp>,
    /// Jobs held by a worker.
    pub running: u64,
}
