//! The contract's part on steering: what a cancellation ends and what it leaves, and what a retry begins again.
//!
//! Knows no back end, as all of the contract.

use super::*;

impl Suite<'_> {
    async fn cancel(&mut self, job: JobId) -> Cancellation {
        let cancelled = self.catalog.cancel_job(job, self.now).await.expect("cancel_job works");
        self.recount().await;
        cancelled
    }

    async fn retry(&mut self, job: JobId) -> Retried {
        let retried = self.catalog.retry_job(job, self.now).await.expect("retry_job works");
        self.recount().await;
        retried
    }

    async fn seen(&self, job: JobId) -> JobView {
        self.catalog.job(job).await.expect("job works").expect("is there")
    }

    /// Ends each task of a claimed job, then the job.
    async fn end(&mut self, job: &ClaimedJob, outcomes: &[Result<StoredVariant, TaskFailure>]) {
        for (task, outcome) in job.tasks.iter().zip(outcomes) {
            self.catalog.finish_task(job.lease, self.done(task.id, outcome.clone())).await.expect("finish_task works");
        }
        self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
        self.recount().await;
    }

    pub(super) async fn a_job_that_waits_is_cancelled_at_once(&mut self) {
        let upload = self.upload_of(vec![image(&["thumb", "soft"]), image(&["thumb"])]);
        let (job, other) = (upload.images[0].job.id, upload.images[1].job.id);
        self.accept(upload.clone()).await;
        self.now = self.now.after(Duration::from_millis(7));
        // The other image's job is still to come.
        let ended = JobFinished { job: JobState::Cancelled, upload: UploadState::Processing };
        let done = Cancellation::Done { upload: upload.id, image: upload.images[0].id, was: JobState::Queued, ended };
        assert_eq!(self.cancel(job).await, done);
        let view = self.seen(job).await;
        assert_eq!((view.state, view.finished_at, view.due_at, view.attempt), (JobState::Cancelled, Some(self.now), None, 0));
        assert_eq!(view.failure.map(|failure| failure.code), Some(TaskCode::Cancelled));
        for task in &view.tasks {
            assert_eq!((task.state, task.failure.as_ref().map(|f| f.code)), (TaskState::Cancelled, Some(TaskCode::Cancelled)));
        }
        let claimed = self.claim(10, u64::MAX).await;
        assert_eq!(ids(&claimed), [other], "the cancelled one is not given out");
        self.complete(&claimed.jobs[0]).await;
        assert_eq!(self.cancel(job).await, Cancellation::Ended(JobState::Cancelled), "twice is once");
        // One that waits for another attempt waits no longer.
        self.accept_image(image(&["thumb"])).await;
        let held = self.claim_one().await;
        let release = Release { at: self.now, due: self.now.after(Duration::from_secs(9)), failure: Some(failure(TaskCode::Storage)) };
        self.catalog.release_job(held.lease, release).await.expect("release_job works");
        assert!(matches!(self.cancel(held.lease.job).await, Cancellation::Done { was: JobState::Queued, .. }));
        assert_eq!(self.catalog.next_due().await.expect("next_due works"), None);
        assert_eq!(self.cancel(JobId::from_uuid(uuid())).await, Cancellation::Unknown);
    }

    pub(super) async fn a_running_job_that_is_cancelled_is_lost_to_its_worker(&mut self) {
        // Before anything of it has ended, after one of two tasks, and after both.
        let cases = [
            (0, JobState::Cancelled, UploadState::Cancelled),
            (1, JobState::Partial, UploadState::Partial),
            (2, JobState::Completed, UploadState::Completed),
        ];
        for (ended, state, upload_state) in cases {
            let upload = self.upload_of(vec![image(&["thumb", "soft"])]);
            self.accept(upload.clone()).await;
            let job = self.claim_one().await;
            let made = [stored(), stored()];
            for (task, stored) in job.tasks.iter().zip(&made).take(ended) {
                self.catalog.finish_task(job.lease, self.done(task.id, Ok(stored.clone()))).await.expect("finish_task works");
            }
            let finished = JobFinished { job: state, upload: upload_state };
            let done = Cancellation::Done { upload: upload.id, image: upload.images[0].id, was: JobState::Running, ended: finished };
            assert_eq!(self.cancel(job.lease.job).await, done);
            self.all_refused(job.lease, job.tasks[1].id, Release { at: self.now, due: self.now, failure: None }).await;
            let view = self.seen(job.lease.job).await;
            assert_eq!((view.state, view.finished_at), (state, Some(self.now)));
            assert_eq!(view.failure.is_some(), ended < 2, "who cancels what is done has ended nothing: {view:?}");
            for (task, stored) in view.tasks.iter().zip(&made).take(ended) {
                assert_eq!(task.result.as_ref(), Some(stored), "what had completed stays");
            }
            assert_eq!(self.catalog.void_leases(self.now, 3).await.expect("void_leases works"), Voided::default());
            self.nothing_waits().await;
            let erased = self.erase_upload(upload.id).await;
            self.catalog.purge_blobs(&erased.dead).await.expect("purge_blobs works");
            assert_eq!(self.cancel(job.lease.job).await, Cancellation::Gone);
            assert_eq!(self.retry(job.lease.job).await, Retried::Gone);
        }
    }

    pub(super) async fn a_job_that_has_ended_is_not_cancelled(&mut self) {
        for outcome in [Ok(stored()), Err(failure(TaskCode::MalformedImage))] {
            self.accept_image(image(&["thumb"])).await;
            let job = self.claim_one().await;
            self.end(&job, &[outcome]).await;
            let before = self.seen(job.lease.job).await;
            assert_eq!(self.cancel(job.lease.job).await, Cancellation::Ended(before.state));
            assert_eq!(format!("{:?}", self.seen(job.lease.job).await), format!("{before:?}"));
        }
    }

    pub(super) async fn a_retry_is_of_failed_tasks_only(&mut self) {
        let upload = self.upload_of(vec![image(&["thumb", "soft", "large"])]);
        self.accept(upload.clone()).await;
        let job = self.claim_one().await;
        let kept = stored();
        // A final failure and a passing one, alike.
        self.end(&job, &[Err(failure(TaskCode::MalformedImage)), Ok(kept.clone()), Err(failure(TaskCode::Storage))]).await;
        assert_eq!(self.job_state(job.lease.job).await, JobState::Partial);
        assert_eq!(
            self.retry(job.lease.job).await,
            Retried::Queued { upload: upload.id, image: upload.images[0].id, tasks: 2, max_attempts: 3 }
        );
        let view = self.seen(job.lease.job).await;
        assert_eq!((view.state, view.attempt, view.finished_at), (JobState::Queued, 0, None));
        assert_eq!((view.failure, view.timing, view.peak_bytes, view.started_at), (None, None, None, None));
        let states = view.tasks.iter().map(|task| task.state).collect::<Vec<_>>();
        assert_eq!(states, [TaskState::Queued, TaskState::Completed, TaskState::Queued]);
        assert!(view.tasks[0].failure.is_none() && view.tasks[0].timing.is_none());
        assert_eq!(view.tasks[1].result.as_ref(), Some(&kept));
        let parent = self.catalog.upload(upload.id).await.expect("upload works").expect("is there");
        assert_eq!(parent.state, UploadState::Processing);
        let again = self.claim_one().await;
        assert_eq!(again.tasks.iter().map(|task| task.id).collect::<Vec<_>>(), [job.tasks[0].id, job.tasks[2].id]);
        self.all_refused(job.lease, job.tasks[0].id, Release { at: self.now, due: self.now, failure: None }).await;
        self.complete(&again).await;
        assert_eq!(self.retry(job.lease.job).await, Retried::NothingFailed(JobState::Completed));
    }

    pub(super) async fn a_retry_begins_afresh_and_in_line(&mut self) {
        let mut tried = image(&["thumb"]);
        tried.job.max_attempts = 2;
        self.accept_image(tried).await;
        for _ in 0..2 {
            let job = self.claim_one().await;
            let release = Release { at: self.now, due: self.now, failure: Some(failure(TaskCode::Storage)) };
            self.catalog.release_job(job.lease, release).await.expect("release_job works");
        }
        self.recount().await;
        let job = *self.uploads.last().expect("one");
        let job = self.catalog.upload(job).await.expect("upload works").expect("is there").images[0].1.id;
        assert_eq!(self.job_state(job).await, JobState::Failed);
        self.now = self.now.after(Duration::from_secs(3));
        assert!(matches!(self.retry(job).await, Retried::Queued { tasks: 1, .. }));
        assert_eq!(self.seen(job).await.queued_at, self.now);
        // As one that came now, and not as the old one it is.
        let came_now = self.now.as_millis() + Priority::Normal.rank_delay_ms();
        let mut images = [image(&["thumb"]), image(&["thumb"])];
        (images[0].job.rank, images[1].job.rank) = (came_now - 1, came_now + 1);
        let order = [images[0].job.id, job, images[1].job.id];
        let upload = self.upload_of(images.into());
        self.accept(upload).await;
        let claimed = self.claim(10, u64::MAX).await;
        assert_eq!(ids(&claimed), order);
        assert_eq!((claimed.jobs[1].attempt, claimed.jobs[1].max_attempts, claimed.jobs[1].suspect), (1, 2, false));
        for job in &claimed.jobs {
            self.complete(job).await;
        }
    }

    pub(super) async fn a_retry_of_what_killed_workers_runs_alone(&mut self) {
        self.accept_image(image(&["thumb"])).await;
        let job = self.claim_one().await;
        let voided = self.catalog.void_leases(self.now, 0).await.expect("void_leases works");
        assert_eq!(voided.failed, [job.lease.job]);
        self.retry(job.lease.job).await;
        let beside = self.claim_as(Claim { running: 1, ..self.asking(1) }).await;
        assert_eq!((beside.jobs.len(), beside.waits_alone), (0, true));
        let alone = self.claim_one().await;
        assert_eq!((alone.suspect, alone.crashes), (true, 0), "as many deaths are before it as before any");
        self.complete(&alone).await;
    }

    pub(super) async fn only_what_has_ended_and_failed_is_retried(&mut self) {
        let accepted = self.accept_image(image(&["thumb", "soft"])).await;
        let job = accepted.upload.images[0].1.id;
        assert_eq!(self.retry(job).await, Retried::NothingFailed(JobState::Queued));
        let held = self.claim_one().await;
        self.catalog
            .finish_task(held.lease, self.done(held.tasks[0].id, Err(failure(TaskCode::MalformedImage))))
            .await
            .expect("finish_task works");
        assert_eq!(self.retry(job).await, Retried::NothingFailed(JobState::Running), "it has not ended");
        self.cancel(job).await;
        // One failed, one was cancelled: what somebody did not want is not made.
        assert!(matches!(self.retry(job).await, Retried::Queued { tasks: 1, .. }));
        let again = self.claim_one().await;
        assert_eq!(again.tasks.iter().map(|task| task.id).collect::<Vec<_>>(), [held.tasks[0].id]);
        self.end(&again, &[Ok(stored())]).await;
        assert_eq!(self.job_state(job).await, JobState::Partial);
        self.accept_image(image(&["thumb"])).await;
        let waiting = self.claim_one().await.lease.job;
        self.cancel(waiting).await;
        assert_eq!(self.retry(waiting).await, Retried::NothingFailed(JobState::Cancelled));
        assert_eq!(self.retry(JobId::from_uuid(uuid())).await, Retried::Unknown);
    }
}
