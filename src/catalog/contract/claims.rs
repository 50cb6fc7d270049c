//! The contract's part on claims: order, limits, budgets.
//!
//! Knows no back end, as all of the contract.

use super::*;

impl Suite<'_> {
    pub(super) async fn jobs_are_claimed_by_rank(&mut self) {
        let mut images: Vec<_> = (0..4).map(|_| image(&["thumb"])).collect();
        for (image, rank) in images.iter_mut().zip([30, -5, 20, 10]) {
            image.job.rank = rank;
        }
        let upload = self.upload_of(images.clone());
        self.accept(upload.clone()).await;
        let first = self.claim(2, u64::MAX).await;
        assert_eq!(ids(&first), [images[1].job.id, images[3].job.id]);
        assert_ne!(first.jobs[0].lease.token, first.jobs[1].lease.token);
        let job = &first.jobs[0];
        assert_eq!((job.upload, job.image, job.blob, job.bytes), (upload.id, images[1].id, images[1].blob, 1_000));
        assert_eq!((job.cost_bytes, job.attempt, job.max_attempts, job.crashes, job.queued_at), (10, 1, 3, 0, self.now));
        let (task, wanted) = (&job.tasks[0], &images[1].job.tasks[0]);
        assert_eq!((task.id, &task.name, &task.spec, job.tasks.len()), (wanted.id, &wanted.name, &wanted.spec, 1));
        let view = self.catalog.job(job.lease.job).await.expect("job works").expect("is there");
        assert_eq!((view.state, view.attempt, view.started_at), (JobState::Running, 1, Some(self.now)));
        assert_eq!(view.tasks[0].state, TaskState::Running);
        // A job is never given twice; fewer tokens than the limit mean fewer jobs.
        let claim = Claim { owner: "worker-2".into(), tokens: vec![LeaseToken::from_uuid(uuid())], ..self.asking(5) };
        let second = self.claim_as(claim).await;
        assert_eq!(ids(&second), [images[2].job.id]);
        let third = self.claim(5, u64::MAX).await;
        assert_eq!(ids(&third), [images[0].job.id]);
        assert!(self.claim(0, u64::MAX).await.jobs.is_empty());
        self.nothing_waits().await;
        for job in first.jobs.iter().chain(&second.jobs).chain(&third.jobs) {
            self.complete(job).await;
        }
    }

    pub(super) async fn a_claim_stops_at_what_does_not_fit(&mut self) {
        let mut images: Vec<_> = (0..3).map(|_| image(&["thumb"])).collect();
        for (image, (rank, cost_bytes)) in images.iter_mut().zip([(1, 40), (2, 100), (3, 10)]) {
            (image.job.rank, image.job.cost_bytes) = (rank, cost_bytes);
        }
        let upload = self.upload_of(images.clone());
        self.accept(upload).await;
        let first = self.claim(3, 139).await;
        assert_eq!(first.jobs.len(), 1, "the third would fit, but must not overtake");
        assert_eq!(first.blocked_bytes, Some(100));
        let none = self.claim(3, 99).await;
        assert_eq!((none.jobs.len(), none.blocked_bytes), (0, Some(100)));
        let rest = self.claim(3, 110).await;
        assert_eq!(rest.jobs.iter().map(|job| job.cost_bytes).collect::<Vec<_>>(), [100, 10], "a budget may be used to the last byte");
        assert_eq!(rest.blocked_bytes, None);
        for job in first.jobs.iter().chain(&rest.jobs) {
            self.complete(job).await;
        }
    }

    pub(super) async fn a_job_dearer_than_the_whole_budget_is_not_stuck(&mut self) {
        let mut images: Vec<_> = (0..2).map(|_| image(&["thumb"])).collect();
        for (image, (rank, cost_bytes)) in images.iter_mut().zip([(1, 1_000), (2, 10)]) {
            (image.job.rank, image.job.cost_bytes) = (rank, cost_bytes);
        }
        let upload = self.upload_of(images.clone());
        self.accept(upload).await;
        let within = |suite: &Self, budget_bytes| Claim { budget_bytes, whole_budget_bytes: 100, ..suite.asking(5) };
        let none = self.claim_as(within(self, 99)).await;
        assert_eq!((none.jobs.len(), none.blocked_bytes), (0, Some(100)), "it waits for all there is, not for more");
        let dear = self.claim_as(within(self, 100)).await;
        assert_eq!((ids(&dear), dear.blocked_bytes), (vec![images[0].job.id], Some(10)), "it takes all there is");
        assert_eq!(dear.jobs[0].cost_bytes, 1_000, "what it costs is told as it was recorded");
        let rest = self.claim_as(within(self, 10)).await;
        assert_eq!((ids(&rest), rest.blocked_bytes), (vec![images[1].job.id], None));
        for job in dear.jobs.iter().chain(&rest.jobs) {
            self.complete(job).await;
        }
    }

    pub(super) async fn small_jobs_share_a_place(&mut self) {
        let mut images: Vec<_> = (0..7).map(|_| image(&["thumb"])).collect();
        for (image, (rank, cost_bytes)) in images.iter_mut().zip([(1, 9), (2, 50), (3, 10), (4, 8), (5, 9), (6, 50), (7, 1)]) {
            (image.job.rank, image.job.cost_bytes) = (rank, cost_bytes);
        }
        let upload = self.upload_of(images.clone());
        self.accept(upload).await;
        let asking = |suite: &Self, limit, jobs| Claim { together: Together { cost_bytes: 10, jobs }, limit, ..suite.asking(20) };
        let first = self.claim_as(asking(self, 2, 3)).await;
        assert_eq!(ids(&first), images[..4].iter().map(|image| image.job.id).collect::<Vec<_>>(), "one large one, and three that share");
        assert_eq!((first.blocked_bytes, first.waits_alone), (None, false));
        let one = self.claim_as(Claim { budget_bytes: 9, ..asking(self, 1, 3) }).await;
        assert_eq!((ids(&one), one.blocked_bytes), (vec![images[4].job.id], None), "the next has no place: it is not what is waited for");
        let rest = self.claim_as(asking(self, 2, 1)).await;
        assert_eq!(ids(&rest), [images[5].job.id, images[6].job.id], "each in a place of its own");
        for job in first.jobs.iter().chain(&one.jobs).chain(&rest.jobs) {
            self.complete(job).await;
        }
    }
}
