//! From staged files to an acknowledged upload: durable blobs, one catalog transaction, then the answer.
//!
//! The commit runs to its end in a task of its own, because a handler's future is dropped when its client goes.
//! Invariant: what `commit` returned survives power loss; when it fails, no row of the request points at a missing blob.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::{StreamExt as _, stream};
use image_pipeline::{Limits, PIPELINE_VERSION, Plan, Spec, plan};
use sha2::{Digest, Sha256};

use crate::{
    catalog::{Accepted, Catalog, CatalogError, Idempotency, NewImage, NewJob, NewTask, NewUpload, RejectedFile},
    clock::{Clock, IdSource},
    copies::{Copied, Copies},
    domain::{BlobId, Code, ImageId, JobId, Priority, Refusal, TaskId, Timestamp, UploadId, VariantName},
    store::{BlobStore, Doubts, StoreError},
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
    /// Wanted of every file; at least one.
    pub variants: Vec<VariantRequest>,
    /// How urgent.
    pub priority: Priority,
    /// `metadata[key]` pairs.
    pub metadata: Vec<(String, String)>,
    /// The client's key against sending twice.
    pub idempotency_key: Option<String>,
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

/// What jobs are recorded with.
#[derive(Clone, Copy, Debug)]
pub struct CommitOptions {
    /// What an image may be, and a job may cost.
    pub limits: Limits,
    /// Attempts a job gets.
    pub max_attempts: u32,
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
    on_commit: Box<dyn Fn(&Accepted) + Send + Sync>,
}

impl Committer {
    /// `on_commit` is called after each commit, before the answer: it wakes the workers.
    pub fn new(
        store: Arc<dyn BlobStore>,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        doubts: Doubts,
        options: CommitOptions,
        on_commit: impl Fn(&Accepted) + Send + Sync + 'static,
    ) -> Self {
        Self { parts: Arc::new(Parts { store, catalog, clock, ids, doubts, options, on_commit: Box::new(on_commit) }) }
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
        for p in planned {
            images.push(self.new_image(&request, &p, now));
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
            metadata: request.metadata,
            rejected,
            images,
            idempotency,
        };
        match self.catalog.accept_upload(upload).await {
            Ok(accepted) => {
                self.settle_surplus(&accepted, &sent).await;
                (self.on_commit)(&accepted);
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
                FileOutcome::Staged(file) => match plan_file(&file, &specs, &self.options.limits) {
                    Ok(plan) => planned.push(Planned { file, plan, blob: BlobId::from_uuid(self.ids.new_id(now)) }),
                    Err(refusal) => rejected.push(RejectedFile { filename: file.filename, refusal }),
                },
            }
        }
        (planned, rejected)
    }

    fn new_image(&self, request: &UploadRequest, p: &Planned, now: Timestamp) -> NewImage {
        let (width_px, height_px) = p.file.probe.display_size();
        let tasks = request.variants.iter().enumerate().map(|(index, variant)| NewTask {
            id: TaskId::from_uuid(self.ids.new_id(now)),
            name: variant.name.clone(),
            options: variant.options.clone(),
            spec: variant.spec.canonical(),
            spec_digest: variant.spec.digest(),
            pipeline_version: PIPELINE_VERSION,
            format: p.plan.output_format(index).as_str().to_owned(),
        });
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
            job: NewJob {
                id: JobId::from_uuid(self.ids.new_id(now)),
                priority: request.priority,
                rank: now.as_millis() + request.priority.rank_delay_ms(),
                cost_bytes: p.plan.memory_bytes(p.file.staged.bytes),
                max_attempts: self.options.max_attempts,
                tasks: tasks.collect(),
            },
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
pub fn plan_file(file: &StagedFile, specs: &[Spec], limits: &Limits) -> Result<Plan, Refusal> {
    let planned = plan(&file.probe, specs, limits).map_err(|error| refusal_of(&error))?;
    let cost_bytes = planned.memory_bytes(file.staged.bytes);
    if cost_bytes > limits.max_memory_bytes {
        let detail = format!("the work needs {cost_bytes} bytes of memory, limit is {}", limits.max_memory_bytes);
        return Err(Refusal::over(Code::TooCostly, detail, limits.max_memory_bytes, Some(cost_bytes)));
    }
    Ok(planned)
}

/// SHA-256 over what decides what an upload comes to: file hashes in order, options, priority. Names and metadata do not.
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
    hash.finalize().into()
}
