//! The rows of the model: plain maps, and every view and every sum worked out from them anew each time.
//!
//! Knows no back end and no steps. Nothing is kept twice here: references, totals and the states of uploads are counted when they are asked for.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::super::{ImageView, JobView, LiveBlob, StoredVariant, TaskView, Totals, UploadView, VariantView};
use crate::domain::{BlobId, ImageId, JobId, JobState, LeaseToken, TaskState, Timestamp, UploadId, UploadState, VariantName};

/// What a variant is of: an original, a spec's digest, a version of the pipeline.
pub(super) type Made = (BlobId, [u8; 32], u32);

/// All that a catalog remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// Without their images and in no particular state: both follow from the jobs.
    pub(super) uploads: BTreeMap<UploadId, UploadView>,
    pub(super) images: BTreeMap<ImageId, Image>,
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) blobs: BTreeMap<BlobId, Blob>,
    pub(super) variants: BTreeMap<Made, StoredVariant>,
    pub(super) facts: BTreeMap<BlobId, String>,
    /// Owner and key, to fingerprint and upload.
    pub(super) keys: BTreeMap<(String, String), ([u8; 32], UploadId)>,
    /// When what was deleted, and of which kind it was.
    pub(super) graves: BTreeMap<Uuid, (&'static str, Timestamp)>,
    /// What deleted rows had counted.
    pub(super) erased: Totals,
}

#[derive(Clone, Debug)]
pub(super) struct Image {
    /// Its place in its upload.
    pub(super) position: usize,
    pub(super) view: ImageView,
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Tasks that have not ended are `Queued` here, whatever the job does, and no task has its result here.
    pub(super) view: JobView,
    /// Of each task the spec's digest and the version of the pipeline.
    pub(super) made: Vec<([u8; 32], u32)>,
    pub(super) rank: i64,
    pub(super) cost_bytes: u64,
    pub(super) crashes: u32,
    pub(super) suspect: bool,
    /// While it runs.
    pub(super) hold: Option<Hold>,
}

#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) owner: String,
    pub(super) token: LeaseToken,
    pub(super) until: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    pub(super) sha256: [u8; 32],
    pub(super) bytes: u64,
    pub(super) live: bool,
    pub(super) missing: bool,
}

impl Job {
    /// The places of the tasks that have not ended.
    pub(super) fn unfinished(&self) -> Vec<usize> {
        (0..self.view.tasks.len()).filter(|at| self.view.tasks[*at].state == TaskState::Queued).collect()
    }
}

impl Rows {
    /// The one live blob with these bytes.
    pub(super) fn live_with(&self, sha256: [u8; 32]) -> Option<BlobId> {
        self.blobs.iter().find(|(_, blob)| blob.live && blob.sha256 == sha256).map(|(id, _)| *id)
    }

    fn is_referenced(&self, blob: BlobId) -> bool {
        self.images.values().any(|image| image.view.blob == blob) || self.variants.values().any(|stored| stored.blob == blob)
    }

    /// Live blobs that nothing points to die; returns them in order.
    pub(super) fn bury(&mut self) -> Vec<BlobId> {
        let unreferenced: Vec<BlobId> =
            self.blobs.iter().filter(|(id, blob)| blob.live && !self.is_referenced(**id)).map(|(id, _)| *id).collect();
        for id in &unreferenced {
            self.blobs.entry(*id).and_modify(|blob| blob.live = false);
        }
        unreferenced
    }

    /// The variant that a task of this image would make, if it is there.
    pub(super) fn made(&self, blob: BlobId, (digest, version): ([u8; 32], u32)) -> Option<&StoredVariant> {
        self.variants.get(&(blob, digest, version))
    }

    pub(super) fn job(&self, id: JobId) -> Option<JobView> {
        let job = self.jobs.get(&id)?;
        let blob = self.images[&job.view.image].view.blob;
        let task = |(task, made): (&TaskView, &([u8; 32], u32))| TaskView {
            state: match task.state {
                TaskState::Queued if job.view.state == JobState::Running => TaskState::Running,
                state => state,
            },
            result: self.made(blob, *made).filter(|_| task.state == TaskState::Completed).cloned(),
            ..task.clone()
        };
        Some(JobView { tasks: job.view.tasks.iter().zip(&job.made).map(task).collect(), ..job.view.clone() })
    }

    /// The jobs of an upload, each with its image: in the order of the images, then of the ids.
    fn jobs_of(&self, upload: UploadId) -> Vec<(ImageView, JobView)> {
        let mut placed: Vec<(usize, JobId)> = self
            .jobs
            .values()
            .filter(|job| job.view.upload == upload)
            .map(|job| (self.images[&job.view.image].position, job.view.id))
            .collect();
        placed.sort_unstable();
        placed.into_iter().filter_map(|(_, id)| self.job(id)).map(|job| (self.images[&job.image].view.clone(), job)).collect()
    }

    pub(super) fn upload(&self, id: UploadId) -> Option<UploadView> {
        let images = self.jobs_of(id);
        let head = self.uploads.get(&id)?;
        Some(UploadView { state: self.state_of(id), images, ..head.clone() })
    }

    pub(super) fn state_of(&self, upload: UploadId) -> UploadState {
        UploadState::of_jobs(self.jobs.values().filter(|job| job.view.upload == upload).map(|job| job.view.state))
    }

    pub(super) fn variant(&self, image: ImageId, name: &VariantName) -> Option<VariantView> {
        let of = &self.images.get(&image)?.view;
        let jobs = self.jobs.values().filter(|job| job.view.image == image);
        let job = jobs.into_iter().find(|job| job.view.tasks.iter().any(|task| task.name == *name))?;
        let job = self.job(job.view.id)?;
        let task = job.tasks.iter().find(|task| task.name == *name).cloned()?;
        Some(VariantView { owner: of.owner.clone(), filename: of.filename.clone(), task, job })
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.jobs.values().filter(|job| job.view.state == JobState::Queued).filter_map(|job| job.view.due_at).min()
    }

    pub(super) fn live(&self) -> Vec<LiveBlob> {
        let live = self.blobs.iter().filter(|(_, blob)| blob.live);
        live.map(|(id, blob)| LiveBlob { id: *id, bytes: blob.bytes, sha256: blob.sha256, missing: blob.missing }).collect()
    }

    pub(super) fn dead(&self) -> Vec<BlobId> {
        self.blobs.iter().filter(|(_, blob)| !blob.live).map(|(id, _)| *id).collect()
    }

    /// What deleted rows had counted, and what is there.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = self.erased;
        totals.uploads += self.uploads.len() as u64;
        totals.bytes_received += self.images.values().map(|image| image.view.bytes).sum::<u64>();
        self.jobs.values().for_each(|job| count(&mut totals, job));
        totals
    }
}

/// Adds a job and its tasks.
pub(super) fn count(totals: &mut Totals, job: &Job) {
    totals.queued_jobs += u64::from(job.view.state == JobState::Queued);
    totals.running_jobs += u64::from(job.view.state == JobState::Running);
    for task in &job.view.tasks {
        match task.state {
            TaskState::Completed => totals.completed_tasks += 1,
            TaskState::Failed => totals.failed_tasks += 1,
            TaskState::Cancelled => totals.cancelled_tasks += 1,
            TaskState::Queued | TaskState::Running => totals.pending_tasks += 1,
        }
        if let (Some(timing), TaskState::Completed | TaskState::Failed) = (task.timing, task.state) {
            totals.task_micros += u64::try_from((timing.transform + timing.encode + timing.store).as_micros()).unwrap_or(u64::MAX);
        }
    }
}
