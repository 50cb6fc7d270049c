//! The contract's part on many jobs at once: which match, and that each is steered as if it were alone.
//!
//! Knows no back end, as all of the contract.

use super::*;
use crate::catalog::{JobFilter, JobsMatching};

impl Suite<'_> {
    /// All jobs of an owner in a state that match, looked for in parts.
    pub(super) async fn matching(&self, filter: &JobFilter, state: JobState) -> Vec<JobId> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let JobsMatching { jobs, next } = self.catalog.matching_jobs(filter, state, after, 2).await.expect("matching_jobs works");
            assert!(jobs.len() <= 2);
            all.extend(jobs);
            match next {
                Some(next) => after = Some(next),
                None => return all,
            }
        }
    }

    /// A job of Flo's that ends like this; its upload and id.
    async fn ended_as(&mut self, outcomes: &[Result<(), TaskCode>]) -> (UploadId, JobId) {
        self.now = self.now.after(Duration::from_millis(10));
        let names = ["thumb", "soft", "large"];
        let mut upload = self.upload_of(vec![image(&names[..outcomes.len()])]);
        upload.owner = "flo".into();
        upload.images[0].job.id = JobId::from_uuid(RandomIds.new_id(self.now));
        self.accept(upload.clone()).await;
        let job = self.claim_one().await;
        for (task, outcome) in job.tasks.iter().zip(outcomes) {
            let done = self.done(task.id, outcome.map(|()| stored()).map_err(failure));
            self.catalog.finish_task(job.lease, done).await.expect("finish_task works");
        }
        self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
        self.recount().await;
        (upload.id, job.lease.job)
    }

    pub(super) async fn jobs_are_found_by_why_they_failed_and_steered_together(&mut self) {
        use TaskCode::{MalformedImage, Storage, Timeout};
        let flo = || JobFilter { owner: "flo".into(), ..JobFilter::default() };
        let begun = self.now.after(Duration::from_millis(1));
        let (first, storage) = self.ended_as(&[Err(Storage)]).await;
        let (_, both) = self.ended_as(&[Err(MalformedImage), Err(Storage)]).await;
        let before_timeout = self.now.after(Duration::from_millis(1));
        let (_, timeout) = self.ended_as(&[Err(Timeout)]).await;
        let (_, partial) = self.ended_as(&[Ok(()), Err(Storage), Err(MalformedImage)]).await;
        let (_, done) = self.ended_as(&[Ok(())]).await;
        // Partial, too, and nothing of it failed.
        let (_, unwanted) = self.ended_as(&[Ok(()), Err(TaskCode::Cancelled)]).await;
        assert_eq!(self.job_state(unwanted).await, JobState::Partial);
        for (filter, failed, partials) in [
            (flo(), vec![storage, both, timeout], vec![partial]),
            (JobFilter { owner: "nobody".into(), ..flo() }, vec![], vec![]),
            (JobFilter { codes: vec![Storage], ..flo() }, vec![storage, both], vec![partial]),
            (JobFilter { codes: vec![Timeout, MalformedImage], ..flo() }, vec![both, timeout], vec![partial]),
            (JobFilter { codes: vec![TaskCode::Internal], ..flo() }, vec![], vec![]),
            (JobFilter { since: Some(begun), until: Some(before_timeout), ..flo() }, vec![storage, both], vec![]),
            (JobFilter { since: Some(before_timeout), ..flo() }, vec![timeout], vec![partial]),
            (JobFilter { upload: Some(first), codes: vec![Storage], ..flo() }, vec![storage], vec![]),
            (JobFilter { batch: Some(BatchId::from_uuid(uuid())), ..flo() }, vec![], vec![]),
        ] {
            assert_eq!(self.matching(&filter, JobState::Failed).await, failed, "{filter:?}");
            assert_eq!(self.matching(&filter, JobState::Partial).await, partials, "{filter:?}");
        }
        // One that is gone, or has nothing to retry, is no harm to the others.
        let unknown = JobId::from_uuid(uuid());
        let told = self.catalog.retry_jobs(&[storage, unknown, done, partial], self.now).await.expect("retry_jobs works");
        self.recount().await;
        let tasks = |retried: &Retried| match retried {
            Retried::Queued { tasks, .. } => *tasks,
            _ => 0,
        };
        assert_eq!(
            told.iter().map(|(job, retried)| (*job, tasks(retried))).collect::<Vec<_>>(),
            [(storage, 1), (unknown, 0), (done, 0), (partial, 2)]
        );
        assert_eq!(told[1].1, Retried::Unknown);
        assert_eq!(told[2].1, Retried::NothingFailed(JobState::Completed));
        assert_eq!(self.matching(&flo(), JobState::Failed).await, [both, timeout]);
        // What waits for its first attempt has failed for nothing.
        assert_eq!(self.matching(&flo(), JobState::Queued).await, [storage, partial]);
        assert_eq!(self.matching(&JobFilter { codes: vec![Storage], ..flo() }, JobState::Queued).await, []);
        let claimed = self.claim(2, u64::MAX).await;
        assert_eq!(claimed.jobs.len(), 2);
        let due = self.now.after(Duration::from_secs(9));
        let release = |code| Release { at: self.now, due, failure: Some(failure(code)) };
        for (job, code) in claimed.jobs.iter().zip([Storage, Timeout]) {
            self.catalog.release_job(job.lease, release(code)).await.expect("release_job works");
        }
        let (held_up, other) = (claimed.jobs[0].lease.job, claimed.jobs[1].lease.job);
        assert_eq!(self.matching(&JobFilter { codes: vec![Storage], ..flo() }, JobState::Queued).await, [held_up]);
        let told = self.catalog.cancel_jobs(&[held_up, done, unknown], self.now).await.expect("cancel_jobs works");
        self.recount().await;
        assert!(matches!(told[0].1, Cancellation::Done { was: JobState::Queued, .. }));
        assert_eq!(told[1..], [(done, Cancellation::Ended(JobState::Completed)), (unknown, Cancellation::Unknown)]);
        assert_eq!(self.matching(&flo(), JobState::Queued).await, [other]);
        self.catalog.cancel_jobs(&[other], self.now).await.expect("cancel_jobs works");
        self.recount().await;
        self.nothing_waits().await;
    }
}
