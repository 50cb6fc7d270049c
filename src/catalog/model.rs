//! What goes into and comes out of a catalog: plain values, the same for every back end.

use std::time::Duration;

use crate::domain::{
    BlobId, ImageId, JobId, JobState, Origin, Priority, Refusal, TaskFailure, TaskId, TaskState, Timestamp, UploadId, UploadState,
    VariantName,
};

use super::Lease;

/// An upload to be recorded.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its id.
    pub id: UploadId,
    /// Whose it is; empty while keys are not in use.
    pub owner: String,
    /// When it was taken in.
    pub received_at: Timestamp,
    /// When its time is over; kept until it is deleted, if absent.
    pub expires_at: Option<Timestamp>,
    /// `metadata[key]` pairs of the request.
    pub metadata: Vec<(String, String)>,
    /// Files that were refused, in order.
    pub rejected: Vec<RejectedFile>,
    /// Files that were taken in, in order.
    pub images: Vec<NewImage>,
    /// The client's key against sending twice.
    pub idempotency: Option<Idempotency>,
}

/// An idempotency key and what it was used with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key (unique per owner).
    pub key: String,
    /// SHA-256 over the hashes of all files and the options.
    pub fingerprint: [u8; 32],
}

/// A file that was refused while others were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedFile {
    /// The client's name for it.
    pub filename: Option<String>,
    /// Why.
    pub refusal: Refusal,
}

/// An accepted file.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// Its id.
    pub id: ImageId,
    /// Where its bytes were put.
    pub blob: BlobId,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Its size in bytes.
    pub bytes: u64,
    /// The client's name for it, sanitised for display.
    pub filename: Option<String>,
    /// `jpeg`, `png`, …
    pub format: String,
    /// Width as displayed, in pixels.
    pub width_px: u32,
    /// Height as displayed, in pixels.
    pub height_px: u32,
    /// What upload libraries said about the file (`relativePath`, …).
    pub metadata: Vec<(String, String)>,
    /// The work wanted of it.
    pub job: NewJob,
}

/// The work wanted of one image.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// How urgent.
    pub priority: Priority,
    /// Place in the order of work: smaller is sooner.
    pub rank: i64,
    /// What admission charges against the memory budget.
    pub cost_bytes: u64,
    /// How many attempts it gets.
    pub max_attempts: u32,
    /// The request it came with.
    pub origin: Option<Origin>,
    /// One per variant (at least one), names unique.
    pub tasks: Vec<NewTask>,
}

/// One wanted variant.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// The variant's name.
    pub name: VariantName,
    /// What the client wrote.
    pub options: String,
    /// The spec in its one spelling.
    pub spec: String,
    /// SHA-256 of `spec`.
    pub spec_digest: [u8; 32],
    /// Version of the pipeline that will make it.
    pub pipeline_version: u32,
    /// The format it will have (`jpeg`, `png`, `webp`), or [`BY_CONTENT`](crate::domain::media::BY_CONTENT) where its pixels decide.
    pub format: String,
}

/// What became of an upload.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The upload as recorded (the first one, on a replay).
    pub upload: UploadView,
    /// An idempotency key matched: nothing new was recorded.
    pub replayed: bool,
    /// Blobs of this request that are not needed, because the bytes were there already (all of them, on a replay).
    pub surplus: Vec<BlobId>,
}

/// A worker asks for work.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who asks.
    pub owner: String,
    /// At most this many places: each job takes one, but those that may share one.
    pub limit: u32,
    /// Which jobs share a place.
    pub together: Together,
    /// What the worker can admit now; jobs that cost more together are left.
    pub budget_bytes: u64,
    /// All it may ever admit. A job that costs more is taken to cost this much: it was accepted under a larger budget, and
    /// shall run into its limit rather than hold up the queue for ever.
    pub whole_budget_bytes: u64,
    /// Jobs it holds already: while there are any, no suspect is given to it.
    pub running: u32,
    /// Now.
    pub now: Timestamp,
    /// How long the hold lasts unless renewed.
    pub lease: Duration,
    /// Fresh tokens: never more jobs than there are of these.
    pub tokens: Vec<crate::domain::LeaseToken>,
}

/// Small jobs that share a place of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Together {
    /// What one of them may cost at most.
    pub cost_bytes: u64,
    /// How many share a place; with 1 each job has its own.
    pub jobs: u32,
}

impl Together {
    /// Each job in a place of its own.
    pub const NONE: Self = Self { cost_bytes: 0, jobs: 1 };

    /// The places that so many jobs take, of which the second number are small.
    #[must_use]
    pub fn places(self, jobs: usize, small: usize) -> usize {
        (jobs - small) + small.div_ceil(self.jobs.max(1) as usize)
    }

    /// Whether a job of this cost shares its place.
    #[must_use]
    pub fn holds(self, cost_bytes: u64) -> bool {
        self.jobs > 1 && cost_bytes <= self.cost_bytes
    }
}

/// What a claim gave.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// In rank order.
    pub jobs: Vec<ClaimedJob>,
    /// The cost of the first due job that did not fit into the budget, at most the whole budget.
    pub blocked_bytes: Option<u64>,
    /// The next job in order is a suspect, which waits until all others of this worker have ended.
    pub waits_alone: bool,
}

/// A job under lease, with all its work needs.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// The hold.
    pub lease: Lease,
    /// Its upload.
    pub upload: UploadId,
    /// Its image.
    pub image: ImageId,
    /// Where the original's bytes are.
    pub blob: BlobId,
    /// Their number.
    pub bytes: u64,
    /// Their SHA-256, as it was when they came in.
    pub sha256: [u8; 32],
    /// What admission charges; may be more than the whole budget.
    pub cost_bytes: u64,
    /// Counts from 1.
    pub attempt: u32,
    /// After so many attempts it fails for good.
    pub max_attempts: u32,
    /// How often a worker died while this job was all it worked on.
    pub crashes: u32,
    /// It was being worked on when a worker died, and no attempt at it has ended since: nothing may run beside it.
    pub suspect: bool,
    /// What its image is was told before.
    pub has_facts: bool,
    /// When it was enqueued.
    pub queued_at: Timestamp,
    /// How urgent.
    pub priority: Priority,
    /// The request it came with.
    pub origin: Option<Origin>,
    /// The tasks that have not ended.
    pub tasks: Vec<ClaimedTask>,
}

/// A task to be done.
#[derive(Clone, Debug)]
pub struct ClaimedTask {
    /// Its id.
    pub id: TaskId,
    /// The variant's name.
    pub name: VariantName,
    /// The spec in its one spelling.
    pub spec: String,
}

/// A stored result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVariant {
    /// Where its bytes are.
    pub blob: BlobId,
    /// Their number.
    pub bytes: u64,
    /// SHA-256 of them: the strong ETag.
    pub sha256: [u8; 32],
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// `jpeg`, `png`, `webp`, `gif`.
    pub format: String,
    /// 1 to 100, for formats that have one.
    pub quality: Option<u8>,
    /// Frames of an animation; 1 for a still picture.
    pub frames: u32,
}

/// Times of a task's own steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TaskTiming {
    /// Everything between decode and encode.
    pub transform: Duration,
    /// Writing the format.
    pub encode: Duration,
    /// Making it durable.
    pub store: Duration,
}

/// Times of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JobTiming {
    /// From enqueued to started.
    pub queue: Duration,
    /// Fetching the original.
    pub read: Duration,
    /// The one decode.
    pub decode: Duration,
    /// On the pool's core, all in all.
    pub cpu: Duration,
    /// From started to finished.
    pub total: Duration,
}

/// The end of a task.
#[derive(Clone, Debug)]
pub struct TaskDone {
    /// Which.
    pub task: TaskId,
    /// When.
    pub at: Timestamp,
    /// The stored variant, or why there is none.
    pub outcome: Result<StoredVariant, TaskFailure>,
    /// How long its steps took.
    pub timing: TaskTiming,
    /// The job's own end, recorded with that of its last task in one commit.
    pub job: Option<JobDone>,
}

/// What recording a task's end did.
#[derive(Clone, Debug, Default)]
pub struct TaskFinished {
    /// The same variant was there already (another worker was first): these bytes are not needed.
    pub surplus: Option<BlobId>,
    /// The blob that holds the very same bytes instead of `surplus`.
    pub kept: Option<BlobId>,
    /// A result whose file was missing and that gave way to this one: what is left of its file may go, then its row.
    pub dead: Option<BlobId>,
    /// The job's end, if that was recorded with it.
    pub job: Option<JobFinished>,
}

/// The end of a job.
#[derive(Clone, Debug)]
pub struct JobDone {
    /// When.
    pub at: Timestamp,
    /// How long its steps took.
    pub timing: JobTiming,
    /// The most bytes charged against its memory limit at one time.
    pub peak_bytes: u64,
    /// What its image is, as `facts` writes it, if that was found out: kept with the original's blob. What was known before stays.
    pub facts: Option<String>,
}

/// What recording a job's end did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobFinished {
    /// The job's state.
    pub job: JobState,
    /// The upload's state: final if this was its last job to end, and then told this once.
    pub upload: UploadState,
}

/// A job is given back.
#[derive(Clone, Debug)]
pub struct Release {
    /// Now: when the job ended, should this have been its last attempt.
    pub at: Timestamp,
    /// Due again.
    pub due: Timestamp,
    /// The passing failure; `None`: the service is stopping and the attempt does not count.
    pub failure: Option<TaskFailure>,
}

/// What became of jobs whose worker died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voided {
    /// Queued again.
    pub requeued: Vec<JobId>,
    /// Given up.
    pub failed: Vec<JobId>,
}

/// An upload as clients see it.
#[derive(Clone, Debug)]
pub struct UploadView {
    /// Its id.
    pub id: UploadId,
    /// Whose.
    pub owner: String,
    /// Follows from its jobs.
    pub state: UploadState,
    /// When it was taken in.
    pub received_at: Timestamp,
    /// When its time is over, if ever.
    pub expires_at: Option<Timestamp>,
    /// `metadata[key]` pairs.
    pub metadata: Vec<(String, String)>,
    /// Refused files.
    pub rejected: Vec<RejectedFile>,
    /// Images in the order they came, each with its job.
    pub images: Vec<(ImageView, JobView)>,
}

/// An image as clients see it.
#[derive(Clone, Debug)]
pub struct ImageView {
    /// Its id.
    pub id: ImageId,
    /// Its upload.
    pub upload: UploadId,
    /// Whose.
    pub owner: String,
    /// Where its bytes are.
    pub blob: BlobId,
    /// Their number.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
    /// The client's name.
    pub filename: Option<String>,
    /// `jpeg`, …
    pub format: String,
    /// Width as displayed, in pixels.
    pub width_px: u32,
    /// Height as displayed, in pixels.
    pub height_px: u32,
    /// The same bytes had been uploaded before.
    pub duplicate: bool,
    /// When it was taken in.
    pub received_at: Timestamp,
}

/// A job as clients see it.
#[derive(Clone, Debug)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Its upload.
    pub upload: UploadId,
    /// Its image.
    pub image: ImageId,
    /// Where it stands.
    pub state: JobState,
    /// Attempts so far.
    pub attempt: u32,
    /// Attempts allowed.
    pub max_attempts: u32,
    /// How urgent.
    pub priority: Priority,
    /// When it was enqueued.
    pub queued_at: Timestamp,
    /// When it is due, if it waits for another attempt.
    pub due_at: Option<Timestamp>,
    /// When the last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its times, once ended.
    pub timing: Option<JobTiming>,
    /// The most bytes charged, once ended.
    pub peak_bytes: Option<u64>,
    /// The last passing failure, or why it was given up.
    pub failure: Option<TaskFailure>,
    /// The request it came with.
    pub origin: Option<Origin>,
    /// In the order the client named them.
    pub tasks: Vec<TaskView>,
}

/// A task as clients see it.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// The variant's name.
    pub name: VariantName,
    /// What the client wrote.
    pub options: String,
    /// The spec in its one spelling.
    pub spec: String,
    /// The format it has or will have, or [`BY_CONTENT`](crate::domain::media::BY_CONTENT): then its result has one.
    pub format: String,
    /// Where it stands.
    pub state: TaskState,
    /// The stored variant, once completed.
    pub result: Option<StoredVariant>,
    /// Its times, once ended here (absent when the variant was there already).
    pub timing: Option<TaskTiming>,
    /// Why it failed.
    pub failure: Option<TaskFailure>,
}

/// A named variant with what delivery needs to answer for it.
#[derive(Clone, Debug)]
pub struct VariantView {
    /// The image's owner.
    pub owner: String,
    /// The image's display name.
    pub filename: Option<String>,
    /// The task that makes or made it.
    pub task: TaskView,
    /// The whole job, for a 202.
    pub job: JobView,
}

/// Totals since the data folder was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Uploads taken in.
    pub uploads: u64,
    /// Bytes of accepted files.
    pub bytes_received: u64,
    /// Tasks that completed (also those whose variant was there already).
    pub completed_tasks: u64,
    /// Tasks that failed.
    pub failed_tasks: u64,
    /// Tasks that were cancelled.
    pub cancelled_tasks: u64,
    /// Tasks queued or running.
    pub pending_tasks: u64,
    /// Jobs queued.
    pub queued_jobs: u64,
    /// Jobs running.
    pub running_jobs: u64,
    /// Sum over completed and failed tasks of transform + encode + store, in microseconds.
    pub task_micros: u64,
}

/// What an id can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An upload.
    Upload(UploadId),
    /// An image.
    Image(ImageId),
    /// A job.
    Job(JobId),
}

/// A part of a list, newest first: what comes after a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<I> {
    /// Whose; empty while keys are not in use, as is the owner of everything then.
    pub owner: String,
    /// Only what is older than this: the last id of the part before.
    pub before: Option<I>,
    /// At most so many, at least 1.
    pub limit: u32,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Listed<T, I> {
    /// Newest first.
    pub items: Vec<T>,
    /// `before` of the next part, if there is one.
    pub next: Option<I>,
}

/// What became of a wish to delete.
#[derive(Clone, Debug)]
pub enum Deletion {
    /// The rows are gone.
    Done(Erased),
    /// They were gone before.
    Gone,
    /// There never was such a thing, or so long ago that nobody remembers.
    Unknown,
}

/// What a deletion took away, for those who hold something of it.
#[derive(Clone, Debug)]
pub struct Erased {
    /// The upload, whole or in part.
    pub upload: UploadId,
    /// Its images that are gone.
    pub images: Vec<ErasedImage>,
    /// Jobs that were being worked on; their leases are lost.
    pub running: Vec<JobId>,
    /// How many jobs waited.
    pub queued_jobs: u64,
    /// All its jobs that had not ended, each with its image: they ended by this.
    pub cancelled: Vec<(JobId, ImageId)>,
    /// What is left of the upload has ended by this, in this state. `None` where nothing is left, goes on, or had ended before.
    pub left: Option<UploadState>,
    /// Blobs nothing points to any more. Their files may be removed, then their rows ([`super::Catalog::purge_blobs`]).
    pub dead: Vec<BlobId>,
}

/// An image that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedImage {
    /// Its id.
    pub id: ImageId,
    /// The names of its variants, in whatever state they were.
    pub variants: Vec<VariantName>,
}

/// What the catalog knows of a live blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveBlob {
    /// Its id.
    pub id: BlobId,
    /// The size its file has to have.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
    /// Its file was looked for in vain.
    pub missing: bool,
}
