//! Batches: further work at all stored images that match a filter. Plain values and one part of the catalog's contract.
//!
//! The invariant: what is done about some images and how far the walk has come is one transaction, so that a batch that is taken up again after a
//! crash does nothing twice and leaves nothing out.

use async_trait::async_trait;

use crate::domain::{BatchCounts, BatchId, BatchState, Code, ImageId, JobId, Priority, Timestamp, UploadId, VariantName};

use super::{CatalogError, Idempotency, ImageView, JobFinished, Listed, NewJob, Page};

/// Which images a batch is about; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFilter {
    /// The original is in one of these formats (`jpeg`, …).
    pub formats: Vec<String>,
    /// Taken in then or later.
    pub since: Option<Timestamp>,
    /// Taken in before then.
    pub until: Option<Timestamp>,
    /// As displayed, in pixels.
    pub min_width_px: Option<u32>,
    /// As displayed, in pixels.
    pub max_width_px: Option<u32>,
    /// As displayed, in pixels.
    pub min_height_px: Option<u32>,
    /// As displayed, in pixels.
    pub max_height_px: Option<u32>,
    /// No variant of this name was ever asked for.
    pub lacks: Option<VariantName>,
    /// Their upload has all these `metadata[key]` pairs.
    pub metadata: Vec<(String, String)>,
}

/// A variant that a batch makes of each image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchVariant {
    /// Its name.
    pub name: VariantName,
    /// What the client wrote.
    pub options: String,
    /// The spec in its one spelling.
    pub spec: String,
    /// SHA-256 of `spec`.
    pub spec_digest: [u8; 32],
}

/// A batch to be recorded.
#[derive(Clone, Debug)]
pub struct NewBatch {
    /// Its id.
    pub id: BatchId,
    /// Whose; only their images are looked at.
    pub owner: String,
    /// Now.
    pub created_at: Timestamp,
    /// Of which images.
    pub filter: ImageFilter,
    /// What is made of each; at least one, names unique.
    pub variants: Vec<BatchVariant>,
    /// How urgent its jobs are.
    pub priority: Priority,
    /// The client's key against sending twice; of another kind than those of uploads.
    pub idempotency: Option<Idempotency>,
}

/// What became of a wish for a batch.
#[derive(Clone, Debug)]
pub struct BatchMade {
    /// The batch as recorded (the first one, on a replay).
    pub batch: BatchView,
    /// An idempotency key matched: nothing new was recorded.
    pub replayed: bool,
}

/// A batch as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    /// Its id.
    pub id: BatchId,
    /// Whose.
    pub owner: String,
    /// Where it stands.
    pub state: BatchState,
    /// Of which images.
    pub filter: ImageFilter,
    /// What is made of each.
    pub variants: Vec<BatchVariant>,
    /// How urgent its jobs are.
    pub priority: Priority,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// All images were looked at.
    pub walked: bool,
    /// What became of them so far.
    pub counts: BatchCounts,
    /// Why images were refused, by code.
    pub refusals: Vec<BatchRefusal>,
}

/// Images of a batch for which there is no job, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRefusal {
    /// The reason.
    pub code: Code,
    /// How many.
    pub images: u64,
    /// The first of them.
    pub example: ImageId,
    /// What was found there.
    pub detail: String,
}

/// What a count of some images found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImagesCounted {
    /// How many match.
    pub matched: u64,
    /// The last that was looked at, if there may be more after it.
    pub next: Option<ImageId>,
}

/// An image that matches, and what it has of what the batch makes.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The image.
    pub image: ImageView,
    /// What is to be done about it.
    pub stands: Stands,
}

/// How an image stands to what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Some variant was not asked for yet.
    Lacks,
    /// All were, with these options.
    HasAll,
    /// This name is taken by other options.
    Taken(VariantName),
}

/// The next images of a batch's walk.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Those that match, in the order of the walk.
    pub images: Vec<Candidate>,
    /// The last that was looked at: where the walk goes on. `None` where none was left.
    pub last: Option<ImageId>,
    /// There is none after it.
    pub ended: bool,
}

/// What is done about some images of a batch.
#[derive(Clone, Debug, Default)]
pub struct BatchStep {
    /// Work at images.
    pub jobs: Vec<(ImageId, NewJob)>,
    /// Images of which every variant was asked for before.
    pub skipped: u64,
    /// Images for which no job can be made.
    pub refused: Vec<(ImageId, Code, String)>,
    /// The walk has come to this image.
    pub cursor: Option<ImageId>,
    /// All images were looked at.
    pub walked: bool,
}

/// A job that a step made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobOfStep {
    /// The job.
    pub job: JobId,
    /// Its image.
    pub image: ImageId,
    /// The image's upload.
    pub upload: UploadId,
    /// What the job is, and what its upload is by it.
    pub told: JobFinished,
}

/// The part of a catalog for batches. Each call is short, whatever the number of images.
///
/// # Cancel safety
/// As [`super::Catalog`].
#[async_trait]
pub trait Batches: Send + Sync {
    /// Records a batch over the images there are now; those that are recorded meanwhile may be in it or not.
    /// With an idempotency key that was used before: the first batch if the fingerprints agree.
    ///
    /// # Errors
    /// [`CatalogError::IdempotencyConflict`] if the key was used with another fingerprint.
    async fn make_batch(&self, batch: NewBatch) -> Result<BatchMade, CatalogError>;

    /// A batch with its counts.
    async fn batch(&self, id: BatchId) -> Result<Option<BatchView>, CatalogError>;

    /// Batches, newest first.
    async fn batches(&self, page: Page<BatchId>) -> Result<Listed<BatchView, BatchId>, CatalogError>;

    /// Batches that have not ended, and cancelled ones of which jobs wait or run, oldest first.
    async fn open_batches(&self) -> Result<Vec<BatchId>, CatalogError>;

    /// Counts those that match among the next `most` images of an owner after `after`, up to the end of `of` if it is of a batch.
    async fn count_images(
        &self,
        owner: &str,
        filter: &ImageFilter,
        of: Option<BatchId>,
        after: Option<ImageId>,
        most: u32,
    ) -> Result<ImagesCounted, CatalogError>;

    /// Notes how many images match, as counted before the walk.
    async fn note_matched(&self, id: BatchId, matched: u64) -> Result<(), CatalogError>;

    /// The next images of the walk that match: at most `most` that lack something, of at most `looked_at` in all. Empty and ended if there is no such batch.
    async fn candidates(&self, id: BatchId, most: u32, looked_at: u32) -> Result<Candidates, CatalogError>;

    /// Records what is done about some images, and how far the walk has come, all or nothing. Jobs are recorded as [`super::Catalog::add_job`] does; an
    /// image that has all by now counts as skipped, one that is gone or has a name taken as refused. Nothing is done, and `None` returned, if the batch has
    /// ended. With the last step `matched` becomes exact.
    async fn step_batch(&self, id: BatchId, step: BatchStep, at: Timestamp) -> Result<Option<Vec<JobOfStep>>, CatalogError>;

    /// Ends a batch whose images were all looked at and whose jobs have all ended; returns it if that is so, and was not so before.
    async fn end_batch(&self, id: BatchId, at: Timestamp) -> Result<Option<BatchView>, CatalogError>;

    /// Ends a batch wherever it stands. Its jobs that wait or run are not touched, see [`Batches::open_jobs`]. Returns the batch; it has changed if it was
    /// running before (`true`).
    async fn cancel_batch(&self, id: BatchId, at: Timestamp) -> Result<Option<(BatchView, bool)>, CatalogError>;

    /// Some of a batch's jobs that wait or run.
    async fn open_jobs(&self, id: BatchId, most: u32) -> Result<Vec<JobId>, CatalogError>;

    /// Forgets batches that ended before `before` and have no job that waits or runs, the first to end first. The jobs that name one forget it before:
    /// at most `limit` rows are changed in all. Returns how many; fewer than `limit` if nothing is left to do.
    async fn purge_batches(&self, before: Timestamp, limit: u32) -> Result<u64, CatalogError>;
}
