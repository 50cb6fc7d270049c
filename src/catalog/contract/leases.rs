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

    pub(super) async fn ends_told_together_are_as_one_after_the_other(&mut self) {
        let images: Vec<_> = (0..3).map(|_| image(&["thumb"])).collect();
        let upload = self.upload_of(images.clone());
        self.accept(upload).await;
        let (same, two) = (image(&["thumb"]), image(&["thumb", "soft"]));
        let wanted: Vec<JobId> = images.iter().chain([&same, &two]).map(|image| image.job.id).collect();
        self.accept_image(same).await;
        self.accept_image(two).await;
        let mut claimed = self.claim(5, u64::MAX).await.jobs;
        claimed.sort_by_key(|job| wanted.iter().position(|id| *id == job.lease.job));
        let [a, b, c, twin, two] = claimed.as_slice() else { panic!("five wait: {claimed:?}") };
        let ends = |job: &ClaimedJob, task: usize, outcome, with_job: bool| {
            let facts = Some(format!("of {}", job.image));
            let job_done = JobDone { facts, ..self.job_done() };
            (job.lease, TaskDone { job: with_job.then_some(job_done), ..self.done(job.tasks[task].id, outcome) })
        };
        let never = Lease { job: c.lease.job, token: LeaseToken::from_uuid(uuid()) };
        let kept = stored();
        let copy = StoredVariant { blob: BlobId::from_uuid(uuid()), ..kept.clone() };
        let all = vec![
            ends(a, 0, Ok(stored()), true),
            (never, ends(c, 0, Ok(stored()), true).1),
            ends(b, 0, Ok(kept.clone()), true),
            ends(twin, 0, Ok(copy.clone()), true),
            ends(two, 0, Ok(stored()), false),
            ends(two, 1, Err(failure(TaskCode::MalformedImage)), true),
            ends(c, 0, Ok(stored()), true),
        ];
        let told = self.catalog.finish_tasks(all.clone()).await.expect("finish_tasks works");
        let ended = |n: usize| told[n].as_ref().expect("was held").job;
        let finished = |job, upload| Some(JobFinished { job, upload });
        assert_eq!(ended(0), finished(JobState::Completed, UploadState::Processing));
        assert!(matches!(told[1], Err(CatalogError::LeaseLost)), "{:?}", told[1]);
        assert_eq!(ended(2), finished(JobState::Completed, UploadState::Processing));
        assert_eq!(ended(3), finished(JobState::Completed, UploadState::Completed));
        assert_eq!((ended(4), ended(5)), (None, finished(JobState::Partial, UploadState::Partial)));
        assert_eq!(ended(6), finished(JobState::Completed, UploadState::Completed), "told once, with the last");
        let twice = told[3].as_ref().expect("was held");
        assert_eq!((twice.surplus, twice.kept), (Some(copy.blob), Some(kept.blob)), "the same bytes are kept once");
        self.recount().await;
        for job in [a, b, c, twin] {
            let view = self.catalog.job(job.lease.job).await.expect("job works").expect("is there");
            let (task, wanted) = (&view.tasks[0], self.job_done());
            assert_eq!((view.state, view.finished_at, view.timing), (JobState::Completed, Some(self.now), Some(wanted.timing)));
            assert_eq!((task.state, view.peak_bytes), (TaskState::Completed, Some(wanted.peak_bytes)));
            let facts = self.catalog.facts(&[job.blob]).await.expect("facts works");
            assert_eq!(facts, [(job.blob, format!("of {}", job.image))]);
        }
        let again = self.catalog.finish_tasks(all).await.expect("finish_tasks works");
        assert!(again.iter().all(|told| matches!(told, Err(CatalogError::LeaseLost))), "all have ended: {again:?}");
        assert!(self.catalog.finish_tasks(Vec::new()).await.expect("finish_tasks works").is_empty());
        // One that makes no sense takes all others with it.
        for _ in 0..2 {
            self.accept_image(image(&["thumb"])).await;
        }
        let claimed = self.claim(2, u64::MAX).await.jobs;
        let mut odd = ends_of(self, &claimed[1]);
        odd.1.task = TaskId::from_uuid(uuid());
        let refused = self.catalog.finish_tasks(vec![ends_of(self, &claimed[0]), odd]).await;
        assert!(matches!(refused, Err(CatalogError::Backend(_))), "{refused:?}");
        assert_eq!(self.job_state(claimed[0].lease.job).await, JobState::Running);
        self.recount().await;
        for job in &claimed {
            self.complete(job).await;
        }
    }

    pub(super) async fn plain_ends_told_together_end_their_upload_once(&mut self) {
        let images: Vec<_> = (0..3).map(|_| image(&["thumb"])).collect();
        let upload = self.upload_of(images.clone());
        self.accept(upload).await;
        let other = image(&["thumb", "soft"]);
        self.accept_image(other.clone()).await;
        let mut claimed = self.claim(4, u64::MAX).await.jobs;
        claimed.sort_by_key(|job| job.lease.job == other.job.id);
        let mut all: Vec<_> = claimed.iter().map(|job| ends_of(self, job)).collect();
        // One that goes on after this: its job ends later.
        all[3].1.job = None;
        all.rotate_right(1);
        let told = self.catalog.finish_tasks(all.clone()).await.expect("finish_tasks works");
        let told: Vec<_> = told.into_iter().map(|told| told.expect("was held").job).collect();
        let ended = |upload| Some(JobFinished { job: JobState::Completed, upload });
        let (open, done) = (ended(UploadState::Processing), ended(UploadState::Completed));
        assert_eq!(told, [None, open, open, done], "told once, with the last");
        self.recount().await;
        for ((lease, wanted), job) in all.iter().zip([&claimed[3], &claimed[0], &claimed[1], &claimed[2]]) {
            let view = self.catalog.job(lease.job).await.expect("job works").expect("is there");
            let task = view.tasks.iter().find(|task| task.id == job.tasks[0].id).expect("is there");
            let stored = wanted.outcome.as_ref().expect("was made");
            assert_eq!((task.state, task.result.as_ref(), task.timing), (TaskState::Completed, Some(stored), Some(wanted.timing)));
            assert_eq!((view.state == JobState::Completed, view.timing), (wanted.job.is_some(), wanted.job.as_ref().map(|job| job.timing)));
        }
        let rest = self.done(claimed[3].tasks[1].id, Ok(stored()));
        self.catalog.finish_task(claimed[3].lease, rest).await.expect("finish_task works");
        self.catalog.finish_job(claimed[3].lease, self.job_done()).await.expect("finish_job works");
        self.recount().await;
    }

    pub(super) async fn one_original_twice_among_ends_is_kept_once(&mut self) {
        let (first, mut again) = (image(&["thumb"]), image(&["thumb"]));
        (again.sha256, again.bytes) = (first.sha256, first.bytes);
        self.accept_image(first.clone()).await;
        self.accept_image(again).await;
        let mut claimed = self.claim(2, u64::MAX).await.jobs;
        claimed.sort_by_key(|job| job.lease.job != first.job.id);
        assert_eq!(claimed[0].blob, claimed[1].blob, "the same bytes");
        let mut all: Vec<_> = claimed.iter().map(|job| ends_of(self, job)).collect();
        for ((_, done), facts) in all.iter_mut().zip(["found first", "found again"]) {
            done.job = Some(JobDone { facts: Some(facts.to_owned()), ..self.job_done() });
        }
        let late = all[1].1.outcome.as_ref().expect("was made").blob;
        let told = self.catalog.finish_tasks(all).await.expect("finish_tasks works");
        let surplus: Vec<_> = told.iter().map(|told| told.as_ref().expect("was held").surplus).collect();
        assert_eq!(surplus, [None, Some(late)], "another result of the same work is not needed");
        let facts = self.catalog.facts(&[claimed[0].blob]).await.expect("facts works");
        assert_eq!(facts, [(claimed[0].blob, "found first".to_owned())]);
        self.recount().await;
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
        let beside = self.claim_as(Claim { running: 1, ..self.asking(1) }).await;
        assert_eq!((beside.jobs.len(), beside.waits_alone), (0, true), "a suspect waits until nothing runs beside it");
        self.complete(kept).await;
        let again = self.claim_one().await;
        assert_eq!((again.lease.job, again.attempt), (lost.lease.job, 1), "a crash is no attempt");
        assert_eq!((again.crashes, again.suspect), (0, true), "it was not alone, but may have been the cause");
        self.complete(&again).await;
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
        let (mut seen, mut suspects) = (0, 0);
        while seen < 3 {
            let job = self.claim_one().await;
            (seen, suspects) = (seen + 1, suspects + u32::from(job.suspect));
            self.complete(&job).await;
        }
        assert_eq!(suspects, 2, "all are due at once, two of the three were being worked on");
        self.nothing_waits().await;
        assert_eq!(self.catalog.void_leases(self.now, 3).await.expect("void_leases works"), Voided::default());
    }

    pub(super) async fn too_many_crashes_fail_a_job(&mut self) {
        self.accept_image(image(&["thumb", "soft"])).await;
        for crashes in 0..2 {
            let job = self.claim_one().await;
            assert_eq!((job.crashes, job.attempt, job.suspect), (crashes, 1, crashes > 0));
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
    /// One upload of `count` jobs, ranked in the order of the answer.
    async fn accept_ranked(&mut self, count: i64) -> Vec<JobId> {
        let mut images: Vec<_> = (0..count).map(|_| image(&["thumb"])).collect();
        for (image, rank) in images.iter_mut().zip(1..) {
            image.job.rank = rank;
        }
        let jobs = images.iter().map(|image| image.job.id).collect();
        let upload = self.upload_of(images);
        self.accept(upload).await;
        jobs
    }

    /// All workers die; nothing is given up.
    async fn crash(&self, max_crashes: u32) {
        let voided = self.catalog.void_leases(self.now, max_crashes).await.expect("void_leases works");
        assert_eq!(voided.failed, []);
        self.recount().await;
    }

    pub(super) async fn give_back(&self, job: &ClaimedJob) {
        let release = Release { at: self.now, due: self.now, failure: None };
        self.catalog.release_job(job.lease, release).await.expect("release_job works");
        self.recount().await;
    }

    pub(super) async fn suspects_run_alone_and_in_order(&mut self) {
        let jobs = self.accept_ranked(5).await;
        // The first is healthy and waits for its second attempt while the next two are being worked on.
        let first = self.claim_one().await;
        let due = self.now.after(Duration::from_secs(1));
        let release = Release { at: self.now, due, failure: Some(failure(TaskCode::Storage)) };
        self.catalog.release_job(first.lease, release).await.expect("release_job works");
        assert_eq!(ids(&self.claim(2, u64::MAX).await), jobs[1..3]);
        self.crash(0).await;
        self.now = due;
        // A suspect behind others ends the claim there, and nothing overtakes it.
        let healthy = self.claim(5, u64::MAX).await;
        assert_eq!((ids(&healthy), healthy.waits_alone, healthy.blocked_bytes), (vec![jobs[0]], true, None));
        assert!(!healthy.jobs[0].suspect);
        let beside = self.claim_as(Claim { running: 1, budget_bytes: 0, ..self.asking(5) }).await;
        assert_eq!((ids(&beside), beside.waits_alone, beside.blocked_bytes), (Vec::new(), true, None));
        self.complete(&healthy.jobs[0]).await;
        // At the head it has to fit like any other, and then ends the claim.
        let dear = self.claim(5, 9).await;
        assert_eq!((ids(&dear), dear.waits_alone, dear.blocked_bytes), (Vec::new(), false, Some(10)));
        for suspect in &jobs[1..3] {
            let alone = self.claim(5, u64::MAX).await;
            assert_eq!((ids(&alone), alone.jobs[0].suspect, alone.jobs[0].tasks.len()), (vec![*suspect], true, 1));
            assert!(!alone.waits_alone, "what comes after it waits for it, not to be alone");
            self.complete(&alone.jobs[0]).await;
        }
        let rest = self.claim_as(Claim { running: 1, ..self.asking(5) }).await;
        assert_eq!((ids(&rest), rest.waits_alone), (jobs[3..].to_vec(), false), "healthy ones run beside others again");
        for job in &rest.jobs {
            self.complete(job).await;
        }
    }

    pub(super) async fn an_attempt_that_ends_clears_the_suspicion(&mut self) {
        self.accept_ranked(1).await;
        for reason in [None, Some(failure(TaskCode::Storage))] {
            let before = self.claim_one().await;
            self.crash(9).await;
            let suspect = self.claim_one().await;
            assert_eq!((suspect.suspect, suspect.crashes), (true, before.crashes + 1));
            let release = Release { at: self.now, due: self.now, failure: reason };
            self.catalog.release_job(suspect.lease, release).await.expect("release_job works");
            let beside = self.claim_as(Claim { running: 7, ..self.asking(1) }).await;
            assert_eq!((beside.jobs[0].suspect, beside.jobs[0].crashes), (false, before.crashes + 1), "the count stays");
            self.give_back(&beside.jobs[0]).await;
        }
        self.drain().await;
    }

    pub(super) async fn neighbours_of_crashes_survive(&mut self) {
        let jobs = self.accept_ranked(3).await;
        for _ in 0..10 {
            let together = self.claim(3, u64::MAX).await;
            assert_eq!(ids(&together), jobs);
            // Not one crash is allowed.
            self.crash(0).await;
            // Each gets through alone, but for its end: the service stops, in good order.
            let mut alone = Vec::new();
            for _ in 0..3 {
                let due = self.now.after(Duration::from_secs(1));
                let job = self.claim_one().await;
                assert_eq!((job.suspect, job.crashes, job.attempt), (true, 0, 1));
                let release = Release { at: self.now, due, failure: None };
                self.catalog.release_job(job.lease, release).await.expect("release_job works");
                alone.push(job.lease.job);
            }
            assert_eq!(alone, jobs);
            self.recount().await;
            self.now = self.now.after(Duration::from_secs(1));
        }
        self.drain().await;
        for job in jobs {
            assert_eq!(self.job_state(job).await, JobState::Completed);
        }
    }

    pub(super) async fn the_culprit_among_neighbours_fails_alone(&mut self) {
        let jobs = self.accept_ranked(3).await;
        let culprit = jobs[1];
        let mut deaths = 0;
        loop {
            let claimed = self.claim(3, u64::MAX).await;
            if claimed.jobs.is_empty() {
                break;
            }
            if !ids(&claimed).contains(&culprit) {
                for job in &claimed.jobs {
                    self.complete(job).await;
                }
                continue;
            }
            assert!(claimed.jobs.len() == 1 || deaths == 0, "only the first death has neighbours");
            deaths += 1;
            let voided = self.catalog.void_leases(self.now, 2).await.expect("void_leases works");
            assert_eq!(voided.failed.contains(&culprit), deaths == 4, "one beside others, and more than two alone");
            self.recount().await;
        }
        assert_eq!(deaths, 4);
        let mut states = Vec::new();
        for job in jobs {
            states.push(self.job_state(job).await);
        }
        assert_eq!(states, [JobState::Completed, JobState::Failed, JobState::Completed]);
    }

    pub(super) async fn each_worker_has_neighbours_of_its_own(&mut self) {
        let jobs = self.accept_ranked(3).await;
        let pair = self.claim(2, u64::MAX).await;
        let single = self.claim_as(Claim { owner: "worker-2".into(), ..self.asking(1) }).await;
        assert_eq!((ids(&pair), ids(&single)), (jobs[..2].to_vec(), jobs[2..].to_vec()));
        let voided = self.catalog.void_leases(self.now, 0).await.expect("void_leases works");
        assert_eq!(voided.failed, jobs[2..], "it was all its worker did, whatever others did");
        assert_eq!(voided.requeued.len(), 2);
        self.recount().await;
        self.drain().await;
    }
}

/// The end of a job of one task.
fn ends_of(suite: &Suite<'_>, job: &ClaimedJob) -> (Lease, TaskDone) {
    (job.lease, TaskDone { job: Some(suite.job_done()), ..suite.done(job.tasks[0].id, Ok(stored())) })
}
