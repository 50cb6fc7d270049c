//! The contract's part on leases: lost, released, renewed, expired and voided ones.
//!
//! Knows no back end, as all of the contract.

use super::*;

impl Suite<'_> {
    pub(super) async fn a_lost_lease_writes_nothing(&mut self) {
        let image = image(&["thumb"]);
        self.accept_image(image.clone()).await;
        let release = || Release { at: self.now, due: self.now, failure: None };
        let never = Lease { job: image.job.id, token: LeaseToken::from_uuid(uuid()) };
        self.all_refused(never, image.job.tasks[0].id, release()).await;
        let job = self.claim_one().await;
        self.all_refused(never, job.tasks[0].id, Release { at: self.now, due: self.now, failure: None }).await;
        let nobody = Lease { job: JobId::from_uuid(uuid()), token: job.lease.token };
        self.all_refused(nobody, job.tasks[0].id, Release { at: self.now, due: self.now, failure: None }).await;
        assert_eq!(self.job_state(job.lease.job).await, JobState::Running);
        self.complete(&job).await;
        self.all_refused(job.lease, job.tasks[0].id, Release { at: self.now, due: self.now, failure: None }).await;
        assert_eq!(self.job_state(job.lease.job).await, JobState::Completed);
    }

    pub(super) async fn all_refused(&self, lease: Lease, task: TaskId, release: Release) {
        for outcome in [Ok(stored()), Err(failure(TaskCode::Timeout))] {
            let refused = self.catalog.finish_task(lease, self.done(task, outcome)).await;
            assert!(matches!(refused, Err(CatalogError::LeaseLost)), "{refused:?}");
        }
        let refused = self.catalog.finish_job(lease, self.job_done()).await;
        assert!(matches!(refused, Err(CatalogError::LeaseLost)), "{refused:?}");
        let refused = self.catalog.release_job(lease, release).await;
        assert!(matches!(refused, Err(CatalogError::LeaseLost)), "{refused:?}");
        assert_eq!(self.catalog.renew_leases(&[lease], self.now).await.expect("renew_leases works"), []);
        self.recount().await;
    }

    pub(super) async fn a_job_that_only_lacks_its_own_end_is_claimed_again(&mut self) {
        self.accept_image(image(&["thumb"])).await;
        let job = self.claim_one().await;
        self.catalog.finish_task(job.lease, self.done(job.tasks[0].id, Ok(stored()))).await.expect("finish_task works");
        self.catalog.void_leases(self.now, 3).await.expect("void_leases works");
        let again = self.claim_one().await;
        assert_eq!((again.lease.job, again.tasks.len()), (job.lease.job, 0));
        let finished = self.catalog.finish_job(again.lease, self.job_done()).await.expect("finish_job works");
        assert_eq!(finished.job, JobState::Completed);
        self.recount().await;
        self.nothing_waits().await;
    }

    pub(super) async fn a_failed_attempt_waits_until_due(&mut self) {
        self.accept_image(image(&["thumb", "soft"])).await;
        let job = self.claim_one().await;
        // What was done in the first attempt stays done.
        let kept = stored();
        self.catalog.finish_task(job.lease, self.done(job.tasks[0].id, Ok(kept.clone()))).await.expect("finish_task works");
        let due = self.now.after(Duration::from_secs(10));
        let release = Release { at: self.now, due, failure: Some(failure(TaskCode::Storage)) };
        self.catalog.release_job(job.lease, release).await.expect("release_job works");
        self.recount().await;
        let view = self.catalog.job(job.lease.job).await.expect("job works").expect("is there");
        assert_eq!((view.state, view.attempt, view.due_at), (JobState::Queued, 1, Some(due)));
        assert_eq!(view.failure, Some(failure(TaskCode::Storage)));
        assert_eq!((view.tasks[0].state, view.tasks[1].state), (TaskState::Completed, TaskState::Queued));
        assert_eq!(self.catalog.next_due().await.expect("next_due works"), Some(due));
        self.nothing_waits().await;
        self.now = Timestamp::from_millis(due.as_millis() - 1);
        self.nothing_waits().await;
        self.now = due;
        let again = self.claim_one().await;
        assert_eq!((again.attempt, again.crashes, again.tasks.len()), (2, 0, 1));
        assert_eq!(again.tasks[0].id, job.tasks[1].id);
        assert_eq!(self.catalog.next_due().await.expect("next_due works"), None);
        self.complete(&again).await;
        let view = self.catalog.job(job.lease.job).await.expect("job works").expect("is there");
        assert_eq!((view.state, view.due_at, &view.failure), (JobState::Completed, None, &None), "a failure that passed is forgotten");
        assert_eq!(view.tasks[0].result.as_ref(), Some(&kept));
    }

    pub(super) async fn the_last_attempt_fails_for_good(&mut self) {
        for first_completes in [true, false] {
            let mut image = image(&["thumb", "soft"]);
            image.job.max_attempts = 2;
            let upload = self.upload_of(vec![image]);
            self.accept(upload.clone()).await;
            for attempt in 1..=2 {
                let job = self.claim_one().await;
                assert_eq!(job.attempt, attempt);
                if first_completes && attempt == 2 {
                    self.catalog.finish_task(job.lease, self.done(job.tasks[0].id, Ok(stored()))).await.expect("finish_task works");
                }
                let release = Release { at: self.now, due: self.now, failure: Some(failure(TaskCode::Storage)) };
                self.catalog.release_job(job.lease, release).await.expect("release_job works");
                self.recount().await;
            }
            self.nothing_waits().await;
            let view = self.catalog.upload(upload.id).await.expect("upload works").expect("is there");
            let job = &view.images[0].1;
            let (upload_state, job_state) =
                if first_completes { (UploadState::Partial, JobState::Partial) } else { (UploadState::Failed, JobState::Failed) };
            assert_eq!((view.state, job.state, job.attempt, job.finished_at), (upload_state, job_state, 2, Some(self.now)));
            assert_eq!((&job.failure, &job.tasks[1].failure), (&Some(failure(TaskCode::Storage)), &Some(failure(TaskCode::Storage))));
            assert_eq!(job.tasks[1].state, TaskState::Failed);
        }
    }

    pub(super) async fn a_shutdown_gives_the_attempt_back(&mut self) {
        self.accept_image(image(&["thumb"])).await;
        for _ in 0..5 {
            let job = self.claim_one().await;
            assert_eq!(job.attempt, 1);
            let release = Release { at: self.now, due: self.now, failure: None };
            self.catalog.release_job(job.lease, release).await.expect("release_job works");
            let view = self.catalog.job(job.lease.job).await.expect("job works").expect("is there");
            assert_eq!((view.state, view.attempt, view.failure), (JobState::Queued, 0, None));
            self.recount().await;
        }
        self.drain().await;
    }

    pub(super) async fn leases_are_renewed_and_expire(&mut self) {
        let upload = self.upload_of(vec![image(&["thumb"]), image(&["thumb"])]);
        self.accept(upload).await;
        let claimed = self.claim(2, u64::MAX).await;
        let (kept, lost) = (&claimed.jobs[0], &claimed.jobs[1]);
        let end = self.now.after(Duration::from_secs(60));
        let voided = self.catalog.expire_leases(end, 3).await.expect("expire_leases works");
        assert_eq!(voided, Voided::default(), "a lease that ends now has not ended before now");
        let stranger = Lease { job: lost.lease.job, token: LeaseToken::from_uuid(uuid()) };
        let renewed = self.catalog.renew_leases(&[stranger, kept.lease], end.after(Duration::from_secs(60))).await;
        assert_eq!(renewed.expect("renew_leases works"), [kept.lease]);
        assert_eq!(self.catalog.renew_leases(&[], end).await.expect("renew_leases works"), []);
        self.now = end.after(Duration::from_millis(1));
        let voided = self.catalog.expire_leases(self.now, 3).await.expect("expire_leases works");
        assert_eq!(voided, Voided { requeued: vec![lost.lease.job], failed: Vec::new() });
        self.recount().await;
        let late = self.catalog.finish_task(lost.lease, self.done(lost.tasks[0].id, Ok(stored()))).await;
        assert!(matches!(late, Err(CatalogError::LeaseLost)), "{late:?}");
        let again = self.claim_one().await;
        assert_eq!((again.lease.job, again.attempt, again.crashes), (lost.lease.job, 1, 1), "a crash is no attempt");
        self.complete(&again).await;
        self.complete(kept).await;
    }

    pub(super) async fn a_restart_voids_all_leases(&mut self) {
        let upload = self.upload_of(vec![image(&["thumb"]), image(&["thumb"]), image(&["thumb"])]);
        self.accept(upload).await;
        let claimed = self.claim(2, u64::MAX).await;
        let mut voided = self.catalog.void_leases(self.now, 3).await.expect("void_leases works");
        let mut running: Vec<_> = claimed.jobs.iter().map(|job| job.lease.job).collect();
        running.sort();
        voided.requeued.sort();
        assert_eq!(voided, Voided { requeued: running, failed: Vec::new() });
        self.recount().await;
        let again = self.claim(5, u64::MAX).await;
        assert_eq!(again.jobs.iter().map(|job| job.crashes).sum::<u32>(), 2, "all are due at once, two of the three crashed");
        for job in &again.jobs {
            self.complete(job).await;
        }
        assert_eq!(self.catalog.void_leases(self.now, 3).await.expect("void_leases works"), Voided::default());
    }

    pub(super) async fn too_many_crashes_fail_a_job(&mut self) {
        self.accept_image(image(&["thumb", "soft"])).await;
        for crashes in 0..2 {
            let job = self.claim_one().await;
            assert_eq!((job.crashes, job.attempt), (crashes, 1));
            if crashes == 1 {
                self.catalog.finish_task(job.lease, self.done(job.tasks[0].id, Ok(stored()))).await.expect("finish_task works");
            }
            let voided = self.catalog.void_leases(self.now, 2).await.expect("void_leases works");
            assert_eq!(voided, Voided { requeued: vec![job.lease.job], failed: Vec::new() });
        }
        let job = self.claim_one().await;
        self.now = self.now.after(Duration::from_secs(3_600));
        let voided = self.catalog.expire_leases(self.now, 2).await.expect("expire_leases works");
        assert_eq!(voided, Voided { requeued: Vec::new(), failed: vec![job.lease.job] });
        self.recount().await;
        self.nothing_waits().await;
        let view = self.catalog.job(job.lease.job).await.expect("job works").expect("is there");
        assert_eq!((view.state, view.finished_at), (JobState::Partial, Some(self.now)), "one task was completed before");
        let failure = view.failure.expect("says why");
        assert_eq!(failure.code, TaskCode::Internal);
        assert!(failure.detail.contains('3') && failure.detail.contains("limit is 2"), "{failure:?}");
        assert_eq!(view.tasks[1].failure.as_ref(), Some(&failure));
    }
}
