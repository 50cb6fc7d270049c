//! From staged files to an acknowledged upload: durable blobs, one catalog transaction, then the answer.
//!
//! The commit runs to its end in a task of its own, because a handler's future is dropped when its client goes.
//! Invariant: what `commit` returned survives power loss; when it fails, no row of the request points at a missing blob.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use image_pipeline::{Limits, PIPELINE_VERSION, Plan, Probe, Spec, Watermarks, plan_with};
use sha2::{Digest, Sha256};

use crate::{
    catalog::{Accepted, Catalog, CatalogError, Idempotency, NewImage, NewJob, NewTask, NewUpload, RejectedFile},
    clock::{Clock, IdSource},
    copies::{Copied, Copies},
    domain::{BlobId, Code, ImageId, JobId, Origin, Priority, Refusal, TaskId, Timestamp, UploadId, VariantName, media},
    order::{Client, Order},
    store::{BlobStore, Doubts, Staged, StoreError},
};

use super::{FileOutcome, StagedFile, sniff::refusal_of};

/// Files of one request that are made durable at once: each holds a blocking thread and a descriptor meanwhile, and a disk's
/// queue is full with fewer.
const PERSISTED_AT_ONCE: usize = 8;

/// One variant the client asked for.
#[derive(Clone, Debug)]
pub struct VariantRequest {
    /// Its name, unique in the request.
    pub name: VariantName,
    /// What the client wrote.
    pub options: String,
    /// The same, parsed.
    pub spec: Spec,
}

/// Everything of a request but its files.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// Whose.
    pub owner: String,
    /// With whom it shares the pool.
    pub client: Client,
    /// Wanted of every file; at least one.
    pub variants: Vec<VariantRequest>,
    /// How urgent.
    pub priority: Priority,
    /// How long it is kept; the service's own measure, if absent.
    pub ttl: Option<Duration>,
    /// `metadata[key]` pairs.
    pub metadata: Vec<(String, String)>,
    /// The client's key against sending twice.
    pub idempotency_key: Option<String>,
    /// The request this is.
    pub origin: Option<Origin>,
}

/// Why nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No file was taken in: the refusal of the first, and all of them.
    #[error("{refusal}")]
    AllRefused {
        /// Of the first file.
        refusal: Refusal,
        /// Of every file, in order.
        rejected: Vec<RejectedFile>,
    },
    /// Bytes could not be made durable.
    #[error("storing the upload failed")]
    Store(#[from] StoreError),
    /// Rows could not be written.
    #[error("recording the upload failed")]
    Catalog(#[from] CatalogError),
    /// The commit's own task died.
    #[error("the commit was interrupted")]
    Interrupted,
}

/// How large a source is.
#[derive(Clone, Copy, Debug)]
pub struct SourceSize {
    /// Of its file.
    pub bytes: u64,
    /// Where they were counted.
    pub frames: Option<u32>,
}

/// What jobs are recorded with.
#[derive(Clone, Debug)]
pub struct CommitOptions {
    /// What an image may be, and a job may cost.
    pub limits: Limits,
    /// Images that options may lay over others.
    pub watermarks: Arc<Watermarks>,
    /// Attempts a job gets.
    pub max_attempts: u32,
    /// Cores of the pool.
    pub workers: usize,
    /// How long uploads are kept that do not say so; for ever, if absent.
    pub upload_ttl: Option<Duration>,
}

/// Makes uploads durable.
#[derive(Clone)]
pub struct Committer {
    parts: Arc<Parts>,
}

struct Parts {
    store: Arc<dyn BlobStore>,
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    doubts: Doubts,
    options: CommitOptions,
    order: Order,
    on_news: Box<dyn Fn(News<'_>) + Send + Sync>,
}

/// What a commit tells those who will work on what it brings.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// This is about to be made durable and recorded, if nothing fails: it may be worked on, but nothing of it may be told.
    Coming(&'a NewImage, &'a Staged),
    /// It will not be recorded: the jobs of all that was coming.
    NotComing(&'a [JobId]),
    /// It was recorded, before the answer.
    Recorded(&'a Accepted),
}

/// Says that what was coming does not come, unless it was recorded.
struct Coming<'a> {
    parts: &'a Parts,
    jobs: Vec<JobId>,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        (self.parts.on_news)(News::NotComing(&self.jobs));
    }
}

impl Committer {
    /// `on_news` is told what comes and what becomes of it.
    pub fn new(
        store: Arc<dyn BlobStore>,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        doubts: Doubts,
        options: CommitOptions,
        on_news: impl Fn(News<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            parts: Arc::new(Parts {
                store,
                catalog,
                clock,
                ids,
                doubts,
                order: Order::new(options.workers),
                options,
                on_news: Box::new(on_news),
            }),
        }
    }

    /// The work wanted of an image that is stored, to be recorded as a job of its own.
    #[must_use]
    pub fn new_job(&self, request: &UploadRequest, plan: &Plan, source: SourceSize) -> NewJob {
        self.parts.new_job(request, plan, source, self.parts.clock.now())
    }

    /// Makes the staged files durable and records the upload with its jobs.
    ///
    /// # Errors
    /// When every file is refused, or bytes or rows could not be written; then nothing of the request is kept.
    ///
    /// # Cancel safety
    /// Once polled, the commit goes on to its end even when this future is dropped.
    pub async fn commit(&self, request: UploadRequest, files: Vec<FileOutcome>) -> Result<Accepted, CommitError> {
        let parts = Arc::clone(&self.parts);
        tokio::spawn(async move { parts.commit(request, files).await }).await.unwrap_or(Err(CommitError::Interrupted))
    }
}

/// A file that will be taken in, planned.
struct Planned {
    file: StagedFile,
    plan: Plan,
    blob: BlobId,
}

impl Parts {
    async fn commit(&self, request: UploadRequest, files: Vec<FileOutcome>) -> Result<Accepted, CommitError> {
        let now = self.clock.now();
        let (planned, rejected) = self.plan_all(&request, files, now);
        if planned.is_empty() {
            let refusal = match rejected.first() {
                Some(first) => first.refusal.clone(),
                None => Refusal::new(Code::NoFile, "the request has no file part"),
            };
            return Err(CommitError::AllRefused { refusal, rejected });
        }
        let idempotency =
            request.idempotency_key.as_ref().map(|key| Idempotency { key: key.clone(), fingerprint: fingerprint(&request, &planned) });
        let blobs: Vec<BlobId> = planned.iter().map(|p| p.blob).collect();
        let sent: Vec<Copied> =
            planned.iter().map(|p| Copied { blob: p.blob, sha256: p.file.sha256, bytes: p.file.staged.bytes }).collect();
        let mut images = Vec::with_capacity(planned.len());
        let mut staged = Vec::with_capacity(planned.len());
        let mut coming = Coming { parts: self, jobs: Vec::with_capacity(planned.len()) };
        for p in planned {
            let image = self.new_image(&request, &p, now);
            coming.jobs.push(image.job.id);
            (self.on_news)(News::Coming(&image, &p.file.staged));
            images.push(image);
            staged.push(self.store.persist(p.blob, p.file.staged));
        }
        // To the end of all, also after a failure: none may become a blob once those that are there are dropped.
        let stored: Vec<_> = stream::iter(staged).buffer_unordered(PERSISTED_AT_ONCE).collect().await;
        if let Some(failure) = stored.into_iter().find_map(Result::err) {
            self.drop_blobs(&blobs).await;
            return Err(failure.into());
        }
        // From here the jobs wait for the pool; making bytes durable is not part of that wait.
        let received_at = self.clock.now();
        let upload = NewUpload {
            id: UploadId::from_uuid(self.ids.new_id(received_at)),
            owner: request.owner,
            received_at,
            expires_at: request.ttl.or(self.options.upload_ttl).map(|ttl| received_at.after(ttl)),
            metadata: request.metadata,
            rejected,
            images,
            idempotency,
        };
        match self.catalog.accept_upload(upload).await {
            Ok(accepted) => {
                self.settle_surplus(&accepted, &sent).await;
                if !accepted.replayed {
                    coming.jobs.clear();
                }
                (self.on_news)(News::Recorded(&accepted));
                Ok(accepted)
            }
            Err(error) => {
                // After any other failure the rows may be there all the same: SQLite recovers a commit whose sync failed, and
                // they must not point at nothing.
                if matches!(error, CatalogError::IdempotencyConflict) {
                    self.drop_blobs(&blobs).await;
                } else {
                    self.doubts.add(blobs);
                }
                Err(error.into())
            }
        }
    }

    fn plan_all(&self, request: &UploadRequest, files: Vec<FileOutcome>, now: Timestamp) -> (Vec<Planned>, Vec<RejectedFile>) {
        let specs: Vec<Spec> = request.variants.iter().map(|v| v.spec.clone()).collect();
        let (mut planned, mut rejected) = (Vec::new(), Vec::new());
        for outcome in files {
            match outcome {
                FileOutcome::Rejected { filename, refusal } => rejected.push(RejectedFile { filename, refusal }),
                FileOutcome::Staged(file) => match plan_file(&file, &specs, &self.options.limits, &self.options.watermarks) {
                    Ok(plan) => planned.push(Planned { file, plan, blob: BlobId::from_uuid(self.ids.new_id(now)) }),
                    Err(refusal) => rejected.push(RejectedFile { filename: file.filename, refusal }),
                },
            }
        }
        (planned, rejected)
    }

    fn new_job(&self, request: &UploadRequest, plan: &Plan, source: SourceSize, now: Timestamp) -> NewJob {
        let tasks = request.variants.iter().enumerate().map(|(index, variant)| NewTask {
            id: TaskId::from_uuid(self.ids.new_id(now)),
            name: variant.name.clone(),
            options: variant.options.clone(),
            spec: variant.spec.canonical(),
            spec_digest: variant.spec.digest(),
            pipeline_version: PIPELINE_VERSION,
            format: plan.output_format(index).map_or(media::BY_CONTENT, |format| format.as_str()).to_owned(),
        });
        NewJob {
            id: JobId::from_uuid(self.ids.new_id(now)),
            priority: request.priority,
            rank: self.order.rank(&request.client, request.priority, work_of(plan, source), now),
            cost_bytes: plan.memory_bytes(source.bytes),
            max_attempts: self.options.max_attempts,
            origin: request.origin,
            tasks: tasks.collect(),
        }
    }

    fn new_image(&self, request: &UploadRequest, p: &Planned, now: Timestamp) -> NewImage {
        let (width_px, height_px) = p.file.probe.display_size();
        let source = SourceSize { bytes: p.file.staged.bytes, frames: p.file.probe.frames };
        NewImage {
            id: ImageId::from_uuid(self.ids.new_id(now)),
            blob: p.blob,
            sha256: p.file.sha256,
            bytes: p.file.staged.bytes,
            filename: p.file.filename.clone(),
            format: p.file.probe.format.as_str().to_owned(),
            width_px,
            height_px,
            metadata: p.file.metadata.clone(),
            job: self.new_job(request, &p.plan, source, now),
        }
    }

    /// Drops the copies that are not needed, or puts them in the place of files that are lost or damaged. The upload is recorded: nothing of this
    /// may fail the request.
    async fn settle_surplus(&self, accepted: &Accepted, sent: &[Copied]) {
        for copy in sent.iter().filter(|copy| accepted.surplus.contains(&copy.blob)) {
            let kept = accepted.upload.images.iter().find(|(image, _)| image.sha256 == copy.sha256).map(|(image, _)| image.blob);
            self.copies().settle(copy, kept).await;
        }
    }

    async fn drop_blobs(&self, blobs: &[BlobId]) {
        for blob in blobs {
            self.copies().remove(*blob).await;
        }
    }

    fn copies(&self) -> Copies<'_> {
        Copies { store: &*self.store, catalog: &*self.catalog, doubts: &self.doubts }
    }
}

/// The plan for a staged file, or why it can never be worked on.
///
/// # Errors
/// A refusal when the wanted variants cannot be made within the limits.
pub fn plan_file(file: &StagedFile, specs: &[Spec], limits: &Limits, watermarks: &Watermarks) -> Result<Plan, Refusal> {
    plan_source(&file.probe, file.staged.bytes, specs, limits, watermarks)
}

/// The plan for a source of so many bytes, of which this is known.
///
/// # Errors
/// As [`plan_file`].
pub fn plan_source(probe: &Probe, bytes: u64, specs: &[Spec], limits: &Limits, watermarks: &Watermarks) -> Result<Plan, Refusal> {
    let planned = plan_with(probe, specs, limits, watermarks).and_then(Plan::with_facts).map_err(|error| refusal_of(&error))?;
    let cost_bytes = planned.memory_bytes(bytes);
    if cost_bytes > limits.max_memory_bytes {
        let detail = format!("the work needs {cost_bytes} bytes of memory, limit is {}", limits.max_memory_bytes);
        return Err(Refusal::over(Code::TooCostly, detail, limits.max_memory_bytes, Some(cost_bytes)));
    }
    Ok(planned)
}

/// What the work takes one core, roughly: to tell dear from cheap.
fn work_of(plan: &Plan, source: SourceSize) -> Duration {
    let once_ns: u64 = plan.explained(source.bytes).iter().filter_map(|stage| stage.cost).map(|cost| cost.time_ns).sum();
    Duration::from_nanos(once_ns.saturating_mul(source.frames.unwrap_or(1).max(1).into()))
}

/// SHA-256 over what decides what an upload comes to: file hashes in order, options, priority, its time if it has one of its own. Names and
/// metadata do not.
fn fingerprint(request: &UploadRequest, planned: &[Planned]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut piece = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for p in planned {
        piece(&p.file.sha256);
    }
    let variants: BTreeSet<(&str, String)> = request.variants.iter().map(|v| (v.name.as_str(), v.spec.canonical())).collect();
    for (name, spec) in &variants {
        piece(name.as_bytes());
        piece(spec.as_bytes());
    }
    piece(request.priority.as_str().as_bytes());
    if let Some(ttl) = request.ttl {
        piece(&ttl.as_millis().to_le_bytes());
    }
    hash.finalize().into()
}
