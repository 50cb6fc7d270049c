//! The model's half for clients and upkeep: what comes in, is steered, is deleted, and what becomes of blobs.
//!
//! Written from the words of [`Catalog`](super::super::super::Catalog), not from any back end.

use uuid::Uuid;

use super::{
    super::super::{
        Accepted, Cancellation, Deletion, Erased, ErasedImage, ImageView, JobAdded, JobFinished, JobView, NewImage, NewJob, NewUpload,
        Retried, TaskView, UploadView,
    },
    commands::{Answer, Command, Refused},
    rows::{Blob, Image, Job, Rows, count},
};
use crate::domain::{BlobId, ImageId, JobId, JobState, TaskCode, TaskFailure, TaskState, Timestamp, UploadId, UploadState};

impl Rows {
    /// One transaction: what is refused changes nothing.
    pub(super) fn answer(&mut self, command: &Command) -> Answer {
        let mut rows = self.clone();
        let told = match command {
            Command::Accept(upload) => rows.accept(upload).map(Answer::Accepted),
            Command::Add(image, job, at) => Ok(Answer::Added(rows.add(*image, job, *at))),
            Command::Claim(claim) => Ok(Answer::Claimed(rows.claim(claim))),
            Command::Renew(leases, until) => Ok(Answer::Renewed(rows.renew(leases, *until))),
            Command::FinishTask(lease, done) => rows.finish_task(*lease, done).map(Answer::TaskFinished),
            Command::FinishTasks(of) => rows.finish_tasks(of).map(Answer::TasksFinished),
            Command::FinishJob(lease, done) => rows.finish_job(*lease, done).map(Answer::JobFinished),
            Command::Release(lease, release) => rows.release(*lease, release).map(Answer::Released),
            Command::Void(now, max_crashes) => Ok(Answer::Voided(rows.void(None, *now, *max_crashes))),
            Command::Expire(now, max_crashes) => Ok(Answer::Voided(rows.void(Some(*now), *now, *max_crashes))),
            Command::Cancel(job, at) => Ok(Answer::Cancelled(rows.cancel(*job, *at))),
            Command::Retry(job, at) => Ok(Answer::Retried(rows.retry(*job, *at))),
            Command::DeleteUpload(upload, at) => Ok(Answer::Deleted(rows.delete_upload(*upload, *at))),
            Command::DeleteImage(image, at) => Ok(Answer::Deleted(rows.delete_image(*image, *at))),
            Command::PurgeTombstones(before) => {
                let all = rows.graves.len();
                rows.graves.retain(|_, (_, at)| *at >= *before);
                Ok(Answer::Forgot((all - rows.graves.len()) as u64))
            }
            Command::PurgeBlobs(of) => {
                of.iter().for_each(|blob| rows.purge(*blob));
                Ok(Answer::Done)
            }
            Command::MarkMissing(of) => Ok(Answer::News(rows.mark(of, true))),
            Command::MarkFound(of) => Ok(Answer::News(rows.mark(of, false))),
            Command::Replace(lost, fresh) => Ok(Answer::Replaced(rows.replace(*lost, *fresh))),
        };
        match told {
            Ok(answer) => {
                *self = rows;
                answer
            }
            Err(refused) => Answer::Refused(refused),
        }
    }

    fn accept(&mut self, upload: &NewUpload) -> Result<Accepted, Refused> {
        if let Some(idempotency) = &upload.idempotency {
            let key = (upload.owner.clone(), idempotency.key.clone());
            if let Some((fingerprint, first)) = self.keys.get(&key).copied() {
                if fingerprint != idempotency.fingerprint {
                    return Err(Refused::IdempotencyConflict);
                }
                let view = self.upload(first).expect("a key goes with its upload");
                return Ok(Accepted { upload: view, replayed: true, surplus: upload.images.iter().map(|image| image.blob).collect() });
            }
            self.keys.insert(key, (idempotency.fingerprint, upload.id));
        }
        let head = UploadView {
            id: upload.id,
            owner: upload.owner.clone(),
            state: UploadState::Processing,
            received_at: upload.received_at,
            expires_at: upload.expires_at,
            metadata: upload.metadata.clone(),
            rejected: upload.rejected.clone(),
            images: Vec::new(),
        };
        self.uploads.insert(upload.id, head);
        let mut surplus = Vec::new();
        for (position, image) in upload.images.iter().enumerate() {
            let shared = self.live_with(image.sha256);
            match shared {
                Some(_) => surplus.push(image.blob),
                None => drop(self.blobs.insert(image.blob, Blob { sha256: image.sha256, bytes: image.bytes, live: true, missing: false })),
            }
            let view = image_view(upload, image, shared);
            self.images.insert(image.id, Image { position, view });
            self.new_job((upload.id, image.id), &image.job, upload.received_at);
        }
        Ok(Accepted { upload: self.upload(upload.id).expect("was just recorded"), replayed: false, surplus })
    }

    /// A job of an image that is there; what is made already is born completed.
    fn new_job(&mut self, (upload, image): (UploadId, ImageId), job: &NewJob, at: Timestamp) -> JobFinished {
        let blob = self.images[&image].view.blob;
        let mut tasks = Vec::new();
        for task in &job.tasks {
            let made = self.made(blob, (task.spec_digest, task.pipeline_version)).filter(|made| !self.blobs[&made.blob].missing);
            tasks.push(TaskView {
                id: task.id,
                name: task.name.clone(),
                options: task.options.clone(),
                spec: task.spec.clone(),
                format: task.format.clone(),
                state: if made.is_some() { TaskState::Completed } else { TaskState::Queued },
                result: None,
                timing: None,
                failure: None,
            });
        }
        let all_made = tasks.iter().all(|task| task.state == TaskState::Completed);
        let view = JobView {
            id: job.id,
            upload,
            image,
            state: if all_made { JobState::Completed } else { JobState::Queued },
            attempt: 0,
            max_attempts: job.max_attempts,
            priority: job.priority,
            queued_at: at,
            due_at: None,
            started_at: None,
            finished_at: all_made.then_some(at),
            timing: None,
            peak_bytes: None,
            failure: None,
            origin: job.origin,
            tasks,
        };
        let told = view.state;
        let made = job.tasks.iter().map(|task| (task.spec_digest, task.pipeline_version)).collect();
        let job = Job { view, made, rank: job.rank, cost_bytes: job.cost_bytes, crashes: 0, suspect: false, hold: None };
        self.jobs.insert(job.view.id, job);
        JobFinished { job: told, upload: self.state_of(upload) }
    }

    fn add(&mut self, of: ImageId, job: &NewJob, at: Timestamp) -> JobAdded {
        let Some(image) = self.images.get(&of) else {
            return if self.was_deleted("image", of.uuid()) { JobAdded::Gone } else { JobAdded::Unknown };
        };
        let upload = image.view.upload;
        let mut fresh = NewJob { tasks: Vec::new(), ..job.clone() };
        for task in &job.tasks {
            let jobs = self.jobs.values().filter(|job| job.view.image == of);
            let mut used = jobs.flat_map(|job| job.view.tasks.iter().zip(&job.made)).filter(|(used, _)| used.name == task.name);
            match used.next() {
                None => fresh.tasks.push(task.clone()),
                Some((_, (digest, _))) if *digest == task.spec_digest => {}
                Some(_) => return JobAdded::Taken(task.name.clone()),
            }
        }
        let job = (!fresh.tasks.is_empty()).then(|| (fresh.id, self.new_job((upload, of), &fresh, at)));
        JobAdded::Added { upload, job }
    }

    pub(super) fn was_deleted(&self, kind: &str, id: Uuid) -> bool {
        self.graves.get(&id).is_some_and(|(of, _)| *of == kind)
    }

    fn cancel(&mut self, id: JobId, at: Timestamp) -> Cancellation {
        let Some(job) = self.jobs.get(&id) else {
            return if self.was_deleted("job", id.uuid()) { Cancellation::Gone } else { Cancellation::Unknown };
        };
        let (upload, image, was) = (job.view.upload, job.view.image, job.view.state);
        if was.is_final() {
            return Cancellation::Ended(was);
        }
        let ended = self.end_unfinished(id, at, &TaskFailure { code: TaskCode::Cancelled, detail: "on request".into() });
        Cancellation::Done { upload, image, was, ended }
    }

    fn retry(&mut self, id: JobId, at: Timestamp) -> Retried {
        let was_deleted = self.was_deleted("job", id.uuid());
        let Some(job) = self.jobs.get_mut(&id) else {
            return if was_deleted { Retried::Gone } else { Retried::Unknown };
        };
        let failed = job.view.tasks.iter().filter(|task| task.state == TaskState::Failed).count() as u64;
        if !job.view.state.is_final() || failed == 0 {
            return Retried::NothingFailed(job.view.state);
        }
        for task in job.view.tasks.iter_mut().filter(|task| task.state == TaskState::Failed) {
            (task.state, task.timing, task.failure) = (TaskState::Queued, None, None);
        }
        let view = &mut job.view;
        (view.state, view.attempt, view.queued_at) = (JobState::Queued, 0, at);
        (view.started_at, view.finished_at, view.due_at) = (None, None, None);
        (view.timing, view.peak_bytes, view.failure) = (None, None, None);
        job.rank = at.as_millis() + view.priority.rank_delay_ms();
        (job.suspect, job.crashes) = (job.crashes > 0, 0);
        Retried::Queued { upload: view.upload, image: view.image, tasks: failed, max_attempts: view.max_attempts }
    }

    fn delete_upload(&mut self, id: UploadId, at: Timestamp) -> Deletion {
        if !self.uploads.contains_key(&id) {
            return if self.was_deleted("upload", id.uuid()) { Deletion::Gone } else { Deletion::Unknown };
        }
        let images: Vec<ImageId> =
            self.images.values().map(|image| &image.view).filter(|view| view.upload == id).map(|view| view.id).collect();
        Deletion::Done(self.erase(id, &images, at))
    }

    fn delete_image(&mut self, id: ImageId, at: Timestamp) -> Deletion {
        let Some(upload) = self.images.get(&id).map(|image| image.view.upload) else {
            return if self.was_deleted("image", id.uuid()) { Deletion::Gone } else { Deletion::Unknown };
        };
        Deletion::Done(self.erase(upload, &[id], at))
    }

    fn erase(&mut self, upload: UploadId, images: &[ImageId], at: Timestamp) -> Erased {
        let mut erased =
            Erased { upload, images: Vec::new(), running: Vec::new(), queued_jobs: 0, cancelled: Vec::new(), left: None, dead: Vec::new() };
        for id in images {
            let jobs: Vec<Job> = self.jobs.values().filter(|job| job.view.image == *id).cloned().collect();
            let mut variants = Vec::new();
            for mut job in jobs {
                variants.extend(job.view.tasks.iter().map(|task| task.name.clone()));
                if !job.view.state.is_final() {
                    erased.cancelled.push((job.view.id, *id));
                }
                match job.view.state {
                    JobState::Queued => erased.queued_jobs += 1,
                    JobState::Running => erased.running.push(job.view.id),
                    _ => {}
                }
                for task in job.unfinished() {
                    job.view.tasks[task].state = TaskState::Cancelled;
                }
                // What it was counts on; as a job it does so no longer.
                job.view.state = JobState::Cancelled;
                count(&mut self.erased, &job);
                self.jobs.remove(&job.view.id);
                self.graves.insert(job.view.id.uuid(), ("job", at));
            }
            let image = self.images.remove(id).expect("is there");
            self.erased.bytes_received += image.view.bytes;
            self.graves.insert(id.uuid(), ("image", at));
            erased.images.push(ErasedImage { id: *id, variants });
        }
        if self.images.values().all(|image| image.view.upload != upload) {
            self.uploads.remove(&upload);
            self.erased.uploads += 1;
            self.keys.retain(|_, (_, of)| *of != upload);
            self.graves.insert(upload.uuid(), ("upload", at));
        } else if !erased.cancelled.is_empty() {
            erased.left = Some(self.state_of(upload)).filter(|state| state.is_final());
        }
        let originals: Vec<BlobId> = self.images.values().map(|image| image.view.blob).collect();
        self.variants.retain(|(of, ..), _| originals.contains(of));
        erased.dead = self.bury();
        erased
    }

    fn purge(&mut self, blob: BlobId) {
        if self.blobs.get(&blob).is_some_and(|blob| !blob.live) {
            self.blobs.remove(&blob);
            self.facts.remove(&blob);
        }
    }

    fn mark(&mut self, of: &[BlobId], missing: bool) -> Vec<BlobId> {
        let mut news = Vec::new();
        for id in of {
            if let Some(blob) = self.blobs.get_mut(id).filter(|blob| blob.live && blob.missing != missing) {
                blob.missing = missing;
                news.push(*id);
            }
        }
        news
    }

    fn replace(&mut self, lost: BlobId, fresh: BlobId) -> bool {
        let Some(blob) = self.blobs.get_mut(&lost).filter(|blob| blob.live) else { return false };
        blob.live = false;
        let heir = Blob { live: true, missing: false, ..*blob };
        self.blobs.insert(fresh, heir);
        let renamed = |blob: BlobId| if blob == lost { fresh } else { blob };
        self.images.values_mut().for_each(|image| image.view.blob = renamed(image.view.blob));
        self.variants = std::mem::take(&mut self.variants)
            .into_iter()
            .map(|((of, digest, version), mut stored)| {
                stored.blob = renamed(stored.blob);
                ((renamed(of), digest, version), stored)
            })
            .collect();
        if let Some(facts) = self.facts.remove(&lost) {
            self.facts.insert(fresh, facts);
        }
        true
    }
}

fn image_view(upload: &NewUpload, image: &NewImage, shared: Option<BlobId>) -> ImageView {
    ImageView {
        id: image.id,
        upload: upload.id,
        owner: upload.owner.clone(),
        blob: shared.unwrap_or(image.blob),
        bytes: image.bytes,
        sha256: image.sha256,
        filename: image.filename.clone(),
        format: image.format.clone(),
        width_px: image.width_px,
        height_px: image.height_px,
        duplicate: shared.is_some(),
        received_at: upload.received_at,
    }
}
