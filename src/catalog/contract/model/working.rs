//! The model's half for workers: claims, leases, ends, what is given back, and what becomes of work whose worker died.
//!
//! Written from the words of [`Catalog`](super::super::super::Catalog), not from any back end.

use super::{
    super::super::{Claim, Claimed, ClaimedJob, ClaimedTask, JobDone, JobFinished, Lease, Release, TaskDone, TaskFinished, Voided},
    commands::Refused,
    rows::{Blob, Hold, Job, Rows},
};
use crate::domain::{JobId, JobState, TaskCode, TaskFailure, TaskState, Timestamp};

impl Rows {
    pub(super) fn claim(&mut self, claim: &Claim) -> Claimed {
        let is_due = |job: &&Job| job.view.state == JobState::Queued && job.view.due_at.is_none_or(|due| due <= claim.now);
        let mut due: Vec<(i64, JobId)> = self.jobs.values().filter(is_due).map(|job| (job.rank, job.view.id)).collect();
        due.sort_unstable();
        let mut claimed = Claimed::default();
        let (mut left_bytes, mut alone, mut beside) = (claim.budget_bytes, 0, 0);
        for ((_, id), token) in due.into_iter().zip(&claim.tokens) {
            if claimed.jobs.iter().any(|job| job.suspect) {
                break;
            }
            let job = &self.jobs[&id];
            let is_small = claim.together.jobs > 1 && job.cost_bytes <= claim.together.cost_bytes;
            *(if is_small { &mut beside } else { &mut alone }) += 1;
            if alone + u32::div_ceil(beside, claim.together.jobs) > claim.limit {
                break;
            }
            if job.suspect && (claim.running > 0 || !claimed.jobs.is_empty()) {
                claimed.waits_alone = true;
                break;
            }
            let charged_bytes = job.cost_bytes.min(claim.whole_budget_bytes);
            if charged_bytes > left_bytes {
                claimed.blocked_bytes = Some(charged_bytes);
                break;
            }
            left_bytes -= charged_bytes;
            claimed.jobs.push(self.hand_out(Lease { job: id, token: *token }, claim));
        }
        claimed
    }

    fn hand_out(&mut self, lease: Lease, claim: &Claim) -> ClaimedJob {
        let job = self.jobs.get_mut(&lease.job).expect("is due");
        job.hold = Some(Hold { owner: claim.owner.clone(), token: lease.token, until: claim.now.after(claim.lease) });
        job.view.state = JobState::Running;
        job.view.attempt += 1;
        job.view.started_at = Some(claim.now);
        job.view.due_at = None;
        let image = &self.images[&job.view.image].view;
        ClaimedJob {
            lease,
            upload: job.view.upload,
            image: image.id,
            blob: image.blob,
            bytes: image.bytes,
            sha256: image.sha256,
            cost_bytes: job.cost_bytes,
            attempt: job.view.attempt,
            max_attempts: job.view.max_attempts,
            crashes: job.crashes,
            suspect: job.suspect,
            has_facts: self.facts.contains_key(&image.blob),
            queued_at: job.view.queued_at,
            priority: job.view.priority,
            origin: job.view.origin,
            tasks: job
                .unfinished()
                .into_iter()
                .map(|at| &job.view.tasks[at])
                .map(|task| ClaimedTask { id: task.id, name: task.name.clone(), spec: task.spec.clone() })
                .collect(),
        }
    }

    /// The job, if it runs under this very lease.
    fn held(&mut self, lease: Lease) -> Result<&mut Job, Refused> {
        let job = self.jobs.get_mut(&lease.job).filter(|job| job.hold.as_ref().is_some_and(|hold| hold.token == lease.token));
        job.ok_or(Refused::LeaseLost)
    }

    pub(super) fn renew(&mut self, leases: &[Lease], until: Timestamp) -> Vec<Lease> {
        let mut held = leases.to_vec();
        held.retain(|lease| {
            let hold = self.held(*lease).ok().and_then(|job| job.hold.as_mut());
            hold.map(|hold| hold.until = until).is_some()
        });
        held
    }

    /// A refusal leaves rows half changed: the caller drops them.
    pub(super) fn finish_task(&mut self, lease: Lease, done: &TaskDone) -> Result<TaskFinished, Refused> {
        let mut finished = self.end_task(lease, done)?;
        if let Some(job) = &done.job {
            finished.job = Some(self.finish_job(lease, job)?);
        }
        Ok(finished)
    }

    /// A refusal leaves rows half changed, but that of a lost lease.
    pub(super) fn finish_tasks(&mut self, of: &[(Lease, TaskDone)]) -> Result<Vec<Result<TaskFinished, Refused>>, Refused> {
        let told = of.iter().map(|(lease, done)| match self.finish_task(*lease, done) {
            Err(Refused::LeaseLost) => Ok(Err(Refused::LeaseLost)),
            told => told.map(Ok),
        });
        told.collect()
    }

    fn end_task(&mut self, lease: Lease, done: &TaskDone) -> Result<TaskFinished, Refused> {
        let job = self.held(lease)?;
        let at = job.view.tasks.iter().position(|task| task.id == done.task).ok_or(Refused::Nonsense)?;
        let (image, made, was_told) = (job.view.image, job.made[at], job.view.tasks[at].state != TaskState::Queued);
        let of = (self.images[&image].view.blob, made.0, made.1);
        let mut finished = TaskFinished::default();
        if let Ok(stored) = &done.outcome {
            let lost = self.variants.get(&of).map(|variant| variant.blob).filter(|blob| self.blobs[blob].missing);
            if let Some(lost) = lost.filter(|lost| !was_told && self.blobs[lost].sha256 != stored.sha256) {
                // Made anew, and other bytes than those that are gone.
                self.variants.remove(&of);
                finished.dead = self.bury().into_iter().find(|dead| *dead == lost);
            }
            let twin = self.live_with(stored.sha256);
            let instead = self.variants.get(&of).map(|variant| variant.blob).or(twin);
            if !was_told && !self.variants.contains_key(&of) {
                let kept = super::super::super::StoredVariant { blob: twin.unwrap_or(stored.blob), ..stored.clone() };
                self.variants.insert(of, kept);
                if twin.is_none() {
                    self.blobs.insert(stored.blob, Blob { sha256: stored.sha256, bytes: stored.bytes, live: true, missing: false });
                }
            }
            // Needed only where something points to it now.
            let is_needed = if was_told { instead == Some(stored.blob) } else { instead.is_none_or(|instead| instead == stored.blob) };
            if !is_needed {
                finished.surplus = Some(stored.blob);
                finished.kept = twin.filter(|twin| instead == Some(*twin));
            }
        }
        if !was_told {
            let failure = done.outcome.as_ref().err().cloned();
            let task = &mut self.held(lease)?.view.tasks[at];
            task.state = failure.as_ref().map_or(TaskState::Completed, ended_by);
            (task.timing, task.failure) = (Some(done.timing), failure);
        }
        Ok(finished)
    }

    pub(super) fn finish_job(&mut self, lease: Lease, done: &JobDone) -> Result<JobFinished, Refused> {
        let job = self.held(lease)?;
        if !job.unfinished().is_empty() {
            return Err(Refused::Nonsense);
        }
        (job.view.timing, job.view.peak_bytes, job.view.failure) = (Some(done.timing), Some(done.peak_bytes), None);
        let image = job.view.image;
        let finished = self.end(lease.job, done.at);
        if let Some(facts) = &done.facts {
            self.facts.entry(self.images[&image].view.blob).or_insert_with(|| facts.clone());
        }
        Ok(finished)
    }

    /// Ends a job whose tasks have all ended.
    fn end(&mut self, id: JobId, at: Timestamp) -> JobFinished {
        let job = self.jobs.get_mut(&id).expect("is there");
        job.view.state = JobState::of_tasks(job.view.tasks.iter().map(|task| task.state));
        (job.view.finished_at, job.view.due_at) = (Some(at), None);
        (job.hold, job.suspect) = (None, false);
        let (state, upload) = (job.view.state, job.view.upload);
        JobFinished { job: state, upload: self.state_of(upload) }
    }

    /// Ends a job and all its unfinished tasks, with one failure for all of them.
    pub(super) fn end_unfinished(&mut self, id: JobId, at: Timestamp, failure: &TaskFailure) -> JobFinished {
        let job = self.jobs.get_mut(&id).expect("is there");
        let unfinished = job.unfinished();
        job.view.failure = Some(failure.clone()).filter(|_| !unfinished.is_empty());
        for task in unfinished {
            job.view.tasks[task].state = ended_by(failure);
            job.view.tasks[task].failure = Some(failure.clone());
        }
        self.end(id, at)
    }

    /// Back into the queue.
    fn requeue(&mut self, id: JobId, due_at: Option<Timestamp>, attempt_counts: bool) -> &mut Job {
        let job = self.jobs.get_mut(&id).expect("is there");
        (job.view.state, job.view.due_at, job.hold) = (JobState::Queued, due_at, None);
        job.view.attempt -= u32::from(!attempt_counts);
        job
    }

    pub(super) fn release(&mut self, lease: Lease, release: &Release) -> Result<Option<JobFinished>, Refused> {
        let job = self.held(lease)?;
        if let Some(failure) = release.failure.as_ref().filter(|_| job.view.attempt >= job.view.max_attempts) {
            return Ok(Some(self.end_unfinished(lease.job, release.at, failure)));
        }
        let job = self.requeue(lease.job, Some(release.due), release.failure.is_some());
        job.suspect = false;
        if release.failure.is_some() {
            job.view.failure = release.failure.clone();
        }
        Ok(None)
    }

    /// All leases, or those that ended before a time, are void.
    pub(super) fn void(&mut self, ended_before: Option<Timestamp>, now: Timestamp, max_crashes: u32) -> Voided {
        let held: Vec<(JobId, Hold)> = self.jobs.values().filter_map(|job| Some((job.view.id, job.hold.clone()?))).collect();
        let mut voided = Voided::default();
        for (id, hold) in held.iter().filter(|(_, hold)| ended_before.is_none_or(|before| hold.until < before)) {
            let alone = held.iter().filter(|(_, beside)| beside.owner == hold.owner).count() == 1;
            let crashes = self.jobs[id].crashes + u32::from(alone);
            if alone && crashes > max_crashes {
                self.end_unfinished(*id, now, &TaskFailure { code: TaskCode::Internal, detail: "its workers died".into() });
                voided.failed.push(*id);
            } else {
                self.requeue(*id, None, false).suspect = true;
                voided.requeued.push(*id);
            }
            self.jobs.get_mut(id).expect("is there").crashes = crashes;
        }
        voided
    }
}

/// The state of a task that ended without a variant.
fn ended_by(failure: &TaskFailure) -> TaskState {
    if failure.code == TaskCode::Cancelled { TaskState::Cancelled } else { TaskState::Failed }
}
