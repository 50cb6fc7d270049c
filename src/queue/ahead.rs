//! Work that is begun while its upload is still being made durable, so that the disk and the pool are busy at the same time.
//!
//! Only what an idle pool has room for is begun, and nothing of it leaves this room before the job it belongs to was recorded and is claimed like any
//! other: who claims it takes the work over (`work.rs`). Invariants: a job that waits is never held up by work begun ahead; at most as many
//! are kept as the pool has cores; a request that fails leaves nothing behind.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use image_pipeline::Spec;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    catalog::{Accepted, ClaimedJob, NewImage},
    domain::{JobId, JobState, TaskId},
    store::Staged,
};

use super::{
    Inner, Queue,
    making::{Outcomes, Wanted, on_pool},
    work::Done,
};

/// Work under way for a job that nobody has claimed yet. Dropping it cancels the work.
pub(super) struct Begun {
    /// What the work was begun for, in the order of its outcomes.
    tasks: Vec<TaskId>,
    /// Its job waits to be claimed.
    is_recorded: bool,
    pub(super) started: Instant,
    pub(super) outcomes: Outcomes,
    pub(super) done: JoinHandle<Done>,
    pub(super) cancel: Cancelling,
}

/// Sets the flag when dropped, unless it was taken.
pub(super) struct Cancelling(Option<Arc<AtomicBool>>);

impl Cancelling {
    /// The flag, which only its new owner sets from now on.
    pub(super) fn take(&mut self) -> Arc<AtomicBool> {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for Cancelling {
    fn drop(&mut self) {
        if let Some(flag) = &self.0 {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

/// What was begun and not claimed, by job.
#[derive(Default)]
pub(super) struct Ahead(Mutex<HashMap<JobId, Begun>>);

impl Ahead {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Begun>> {
        // The map is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was begun for this job, if it is what is asked of it now.
    pub(super) fn take(&self, job: &ClaimedJob) -> Option<Begun> {
        let begun = self.lock().remove(&job.lease.job)?;
        job.tasks.iter().map(|task| task.id).eq(begun.tasks.iter().copied()).then_some(begun)
    }

    /// No job waits any more: what was recorded and is still here belongs to jobs that were deleted before they were claimed.
    pub(super) fn none_waits(&self) {
        self.lock().retain(|_, begun| !begun.is_recorded);
    }

    fn forget(&self, jobs: &[JobId]) {
        let mut begun = self.lock();
        for job in jobs {
            begun.remove(job);
        }
    }
}

impl Queue {
    /// An image is about to be recorded: the work it will be is begun at once if the pool has nothing else to do. `staged` is where its bytes are now.
    pub fn coming(&self, image: &NewImage, staged: &Staged) {
        let inner = &self.inner;
        let compute = &inner.parts.compute;
        // What waits goes first. Anything that comes in from here on finds this work as it would find any other.
        if self.queued() > 0 || inner.ahead.lock().len() >= compute.workers() {
            return;
        }
        let Ok(specs) = image.job.tasks.iter().map(|task| Spec::parse(&task.spec, &inner.presets)).collect::<Result<Vec<Spec>, _>>() else {
            // Told by whoever works on the job.
            return;
        };
        let Some(core) = compute.try_core() else { return };
        let Some(bytes) = compute.try_bytes(image.job.cost_bytes) else { return };
        let started = Instant::now();
        let cancel = Arc::new(AtomicBool::new(false));
        // What is known of an original already is known again, for the same bytes.
        let wanted = Wanted { specs, sha256: image.sha256, cost_bytes: image.job.cost_bytes, facts: true };
        let (publish, outcomes) = mpsc::unbounded_channel();
        let (read, job) = (staged.read_beside(), image.job.id);
        // Held until it is in: what ends at once finds itself there.
        let mut all = inner.ahead.lock();
        let done = tokio::spawn({
            let (inner, cancel) = (Arc::clone(inner), Arc::clone(&cancel));
            async move {
                let source = match read.await {
                    Ok(source) => source,
                    Err(error) => {
                        tracing::debug!(%error, "a staged file could not be read ahead");
                        // Unless its job was claimed meanwhile nobody takes this over: core and memory are free with the end of this task. Whoever
                        // claims the job needs a core for that, and this may be the only one.
                        inner.ahead.forget(&[job]);
                        return Done::NotRead(core, bytes);
                    }
                };
                let read = started.elapsed();
                Done::Worked { read, result: Box::new(on_pool(&inner, wanted, source, (core, Some(bytes)), cancel, publish).await) }
            }
        });
        let tasks = image.job.tasks.iter().map(|task| task.id).collect();
        all.insert(job, Begun { tasks, is_recorded: false, started, outcomes, done, cancel: Cancelling(Some(cancel)) });
    }

    /// Jobs that were [coming](Queue::coming) will not be recorded.
    pub fn not_coming(&self, jobs: &[JobId]) {
        self.inner.ahead.forget(jobs);
    }

    /// What was begun for these jobs is to be claimed, or forgotten where nobody will: its results were there already.
    pub(super) fn recorded(&self, accepted: &Accepted) {
        let mut begun = self.inner.ahead.lock();
        for (_, job) in &accepted.upload.images {
            if job.state != JobState::Queued {
                begun.remove(&job.id);
            } else if let Some(begun) = begun.get_mut(&job.id) {
                begun.is_recorded = true;
            }
        }
    }
}

impl Inner {
    /// Whether work was begun ahead that nobody has claimed.
    #[cfg(test)]
    pub(super) fn has_begun(&self, job: JobId) -> bool {
        self.ahead.lock().contains_key(&job)
    }
}

#[cfg(test)]
mod tests;
