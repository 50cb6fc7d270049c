//! The contract's part on batches: the walk, that a step is all or nothing, and counts that follow the jobs wherever they go.
//!
//! Knows no back end, as all of the contract.

use super::*;
use crate::{
    catalog::{BatchMade, BatchStep, BatchVariant, BatchView, ImageFilter, JobFilter, NewBatch, Stands},
    domain::{BatchCounts, BatchState},
};

impl Suite<'_> {
    fn batch_of(&self, owner: &str, filter: ImageFilter, names: &[&str]) -> NewBatch {
        let variant =
            |task: NewTask| BatchVariant { name: task.name, options: task.options, spec: task.spec, spec_digest: task.spec_digest };
        NewBatch {
            id: BatchId::from_uuid(RandomIds.new_id(self.now)),
            owner: owner.into(),
            created_at: self.now,
            filter,
            variants: image(names).job.tasks.into_iter().map(variant).collect(),
            priority: Priority::Low,
            idempotency: None,
        }
    }

    async fn make_batch(&self, batch: NewBatch) -> BatchId {
        let made = self.catalog.make_batch(batch).await.expect("make_batch works");
        assert!(!made.replayed);
        made.batch.id
    }

    async fn batch_now(&self, id: BatchId) -> BatchView {
        self.catalog.batch(id).await.expect("batch works").expect("is there")
    }

    /// Takes images of an owner in, all made already but for what a batch may want; their ids in the order of the walk.
    async fn images_of(&mut self, owner: &str, images: Vec<NewImage>) -> Vec<ImageId> {
        let mut ids: Vec<ImageId> = images.iter().map(|image| image.id).collect();
        for image in images {
            let mut upload = self.upload_of(vec![image]);
            upload.owner = owner.into();
            self.accept(upload).await;
        }
        self.drain().await;
        ids.sort();
        ids
    }

    /// A step over the next images, with a job for each that lacks something.
    async fn step(&mut self, batch: BatchId, names: &[&str], most: u32) -> Vec<JobId> {
        let found = self.catalog.candidates(batch, most, 100).await.expect("candidates works");
        let mut step = BatchStep { cursor: found.last, walked: found.ended, ..BatchStep::default() };
        for candidate in found.images {
            match candidate.stands {
                Stands::Lacks => step.jobs.push((candidate.image.id, image(names).job)),
                Stands::HasAll => step.skipped += 1,
                Stands::Taken(name) => step.refused.push((candidate.image.id, Code::VariantExists, format!("{name} is taken"))),
            }
        }
        let made = self.catalog.step_batch(batch, step, self.now).await.expect("step_batch works").expect("goes on");
        self.recount().await;
        made.into_iter().map(|of| of.job).collect()
    }

    pub(super) async fn a_batch_reads_back_and_its_key_replays(&mut self) {
        let filter = ImageFilter {
            formats: vec!["jpeg".into(), "png".into()],
            since: Some(Timestamp::from_millis(1)),
            until: Some(Timestamp::from_millis(2)),
            min_width_px: Some(3),
            max_width_px: Some(4),
            min_height_px: Some(5),
            max_height_px: Some(6),
            lacks: Some(name("soft")),
            metadata: vec![("k".into(), "v\"é".into())],
        };
        let mut new = self.batch_of("dan", filter.clone(), &["thumb", "soft"]);
        new.idempotency = Some(Idempotency { key: "key".into(), fingerprint: [1; 32] });
        let BatchMade { batch, replayed } = self.catalog.make_batch(new.clone()).await.expect("make_batch works");
        let wanted = BatchView {
            id: new.id,
            owner: "dan".into(),
            state: BatchState::Running,
            filter,
            variants: new.variants.clone(),
            priority: Priority::Low,
            created_at: self.now,
            finished_at: None,
            walked: false,
            counts: BatchCounts::default(),
            refusals: Vec::new(),
        };
        assert_eq!((replayed, &batch), (false, &wanted));
        assert_eq!(self.batch_now(new.id).await, wanted);
        let again = NewBatch { id: BatchId::from_uuid(uuid()), ..new.clone() };
        let made = self.catalog.make_batch(again.clone()).await.expect("make_batch works");
        assert_eq!((made.replayed, made.batch), (true, wanted.clone()));
        let other = NewBatch { idempotency: Some(Idempotency { key: "key".into(), fingerprint: [2; 32] }), ..again };
        assert!(matches!(self.catalog.make_batch(other).await, Err(CatalogError::IdempotencyConflict)));
        self.now = self.now.after(Duration::from_millis(5));
        let newer = self.make_batch(self.batch_of("dan", ImageFilter::default(), &["thumb"])).await;
        self.make_batch(self.batch_of("kim", ImageFilter::default(), &["thumb"])).await;
        let first = self.catalog.batches(Page { owner: "dan".into(), before: None, limit: 1 }).await.expect("batches works");
        assert_eq!((first.items[0].id, first.next), (newer, Some(newer)));
        let rest = self.catalog.batches(Page { owner: "dan".into(), before: first.next, limit: 1 }).await.expect("batches works");
        assert_eq!((rest.items, rest.next), (vec![wanted], None));
        // Nobody of the two has images: each is walked at once and ends.
        for id in self.catalog.open_batches().await.expect("open_batches works") {
            assert_eq!(self.catalog.end_batch(id, self.now).await.expect("end_batch works"), None, "not walked");
            assert_eq!(self.step(id, &["thumb"], 9).await, []);
            let ended = self.catalog.end_batch(id, self.now).await.expect("end_batch works").expect("ends");
            assert_eq!((ended.state, ended.finished_at, ended.counts.matched), (BatchState::Completed, Some(self.now), Some(0)));
            assert_eq!(self.catalog.end_batch(id, self.now).await.expect("end_batch works"), None, "once");
        }
        assert_eq!(self.catalog.open_batches().await.expect("open_batches works"), []);
        let nobody = BatchId::from_uuid(uuid());
        assert!(self.catalog.batch(nobody).await.expect("batch works").is_none());
        assert!(self.catalog.cancel_batch(nobody, self.now).await.expect("cancel_batch works").is_none());
        assert_eq!(self.catalog.step_batch(nobody, BatchStep::default(), self.now).await.expect("step_batch works"), None);
    }

    pub(super) async fn a_batch_is_about_what_matches_and_was_there(&mut self) {
        let mut images: Vec<NewImage> = (0..6).map(|_| image(&["thumb"])).collect();
        images.sort_by_key(|image| image.id);
        images[1].format = "png".into();
        images[2].width_px = 100;
        images[3].height_px = 2000;
        images[4].job = image(&["thumb", "soft"]).job;
        let ids = self.images_of("gil", images).await;
        self.now = self.now.after(Duration::from_secs(1));
        let (mut albums, mut late) = (self.upload_of(vec![image(&["thumb"])]), Duration::from_millis(0));
        albums.owner = "gil".into();
        albums.metadata = vec![("album".into(), "2026".into()), ("x".into(), "album".into())];
        // Behind all others in the walk.
        albums.images[0].id = ImageId::from_uuid(RandomIds.new_id(self.now));
        let album = albums.images[0].id;
        self.accept(albums).await;
        self.drain().await;
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let all = ImageFilter::default();
        for (filter, wanted) in [
            (all.clone(), vec![ids[0], ids[1], ids[2], ids[3], ids[4], ids[5], album]),
            (ImageFilter { formats: vec!["png".into(), "gif".into()], ..all.clone() }, vec![ids[1]]),
            (ImageFilter { max_width_px: Some(100), ..all.clone() }, vec![ids[2]]),
            (ImageFilter { min_width_px: Some(641), ..all.clone() }, vec![]),
            (ImageFilter { min_height_px: Some(481), ..all.clone() }, vec![ids[3]]),
            (
                ImageFilter { max_height_px: Some(480), min_width_px: Some(101), formats: vec!["jpeg".into()], ..all.clone() },
                vec![ids[0], ids[4], ids[5], album],
            ),
            (ImageFilter { lacks: Some(name("soft")), max_width_px: Some(639), ..all.clone() }, vec![ids[2]]),
            (ImageFilter { lacks: Some(name("thumb")), ..all.clone() }, vec![]),
            (ImageFilter { since: Some(self.now), ..all.clone() }, vec![album]),
            (ImageFilter { until: Some(self.now), lacks: Some(name("soft")), ..all.clone() }, vec![ids[0], ids[1], ids[2], ids[3], ids[5]]),
            (ImageFilter { metadata: vec![pair("album", "2026")], ..all.clone() }, vec![album]),
            (ImageFilter { metadata: vec![pair("album", "2026"), pair("x", "album")], ..all.clone() }, vec![album]),
            (ImageFilter { metadata: vec![pair("x", "2026")], ..all.clone() }, vec![]),
        ] {
            late += Duration::from_millis(1);
            let mut new = self.batch_of("gil", filter.clone(), &["thumb", "soft"]);
            new.id = BatchId::from_uuid(RandomIds.new_id(self.now.after(late)));
            let batch = self.make_batch(new).await;
            // Counted as walked, in parts of any size.
            for most in [1, 3, 100] {
                for of in [None, Some(batch)] {
                    let (mut matched, mut after) = (0, None);
                    loop {
                        let counted = self.catalog.count_images("gil", &filter, of, after, most).await.expect("count_images works");
                        matched += counted.matched;
                        match counted.next {
                            Some(next) => after = Some(next),
                            None => break,
                        }
                    }
                    assert_eq!(matched, wanted.len() as u64, "{filter:?} in parts of {most}");
                }
            }
            let mut walked = Vec::new();
            loop {
                let found = self.catalog.candidates(batch, 2, 3).await.expect("candidates works");
                walked.extend(found.images.iter().map(|of| of.image.id));
                assert!(found.images.iter().filter(|of| of.stands == Stands::Lacks).count() <= 2);
                let step = BatchStep { cursor: found.last, walked: found.ended, ..BatchStep::default() };
                assert_eq!(self.catalog.step_batch(batch, step, self.now).await.expect("step_batch works"), Some(vec![]));
                if found.ended {
                    break;
                }
            }
            assert_eq!(walked, wanted, "{filter:?}");
            assert!(self.catalog.end_batch(batch, self.now).await.expect("end_batch works").is_some());
        }
        // What came after it is not in it, and what is another's never.
        let batch = self.make_batch(self.batch_of("gil", all, &["thumb", "soft"])).await;
        let mut late = image(&["thumb"]);
        late.id = ImageId::from_uuid(RandomIds.new_id(self.now.after(Duration::from_secs(1))));
        self.images_of("gil", vec![late]).await;
        let found = self.catalog.candidates(batch, 100, 100).await.expect("candidates works");
        let seen: Vec<_> = found.images.iter().map(|of| (of.image.id, of.stands == Stands::HasAll)).collect();
        assert_eq!(
            seen,
            [(ids[0], false), (ids[1], false), (ids[2], false), (ids[3], false), (ids[4], true), (ids[5], false), (album, false)]
        );
        assert_eq!(found.images[1].image.format, "png");
        assert!(matches!(self.catalog.cancel_batch(batch, self.now).await, Ok(Some((_, true)))));
    }

    pub(super) async fn a_batch_counts_what_becomes_of_its_jobs(&mut self) {
        let mut images: Vec<NewImage> = (0..8).map(|_| image(&["thumb"])).collect();
        images.sort_by_key(|image| image.id);
        images[0].job = image(&["thumb", "soft"]).job;
        images[1].job = image(&["thumb", "soft"]).job;
        images[1].job.tasks[1].spec_digest = [9; 32];
        let ids = self.images_of("hal", images).await;
        self.now = self.now.after(Duration::from_millis(1));
        let batch = self.make_batch(self.batch_of("hal", ImageFilter::default(), &["soft", "large"])).await;
        // The first has one of the two, which is not all.
        self.catalog.note_matched(batch, 9).await.expect("note_matched works");
        let mut jobs = self.step(batch, &["soft", "large"], 3).await;
        let counts = BatchCounts { matched: Some(9), refused: 1, open: 3, ..BatchCounts::default() };
        assert_eq!((self.batch_now(batch).await.counts, self.batch_now(batch).await.walked), (counts, false));
        // Deleted between the look and the step, and asked for by somebody else meanwhile.
        let found = self.catalog.candidates(batch, 2, 100).await.expect("candidates works");
        let (gone, taken) = (ids[4], ids[5]);
        assert_eq!(found.images.iter().map(|of| of.image.id).collect::<Vec<_>>(), [gone, taken]);
        let whole = self.catalog.image(gone).await.expect("image works").expect("is there");
        let view = self.catalog.upload(whole.upload).await.expect("upload works").expect("is there");
        assert_eq!(view.images.len(), 1);
        self.erase_upload(whole.upload).await;
        let mut other = image(&["large"]).job;
        other.tasks[0].spec_digest = [8; 32];
        assert!(matches!(self.catalog.add_job(taken, other.clone(), self.now).await, Ok(JobAdded::Added { job: Some(_), .. })));
        let step = BatchStep {
            jobs: found.images.iter().map(|of| (of.image.id, image(&["soft", "large"]).job)).collect(),
            refused: vec![(taken, Code::TooCostly, "made up".into())],
            skipped: 1,
            cursor: found.last,
            walked: found.ended,
        };
        assert_eq!(self.catalog.step_batch(batch, step, self.now).await.expect("step_batch works"), Some(vec![]), "no job of any");
        jobs.extend(self.step(batch, &["soft", "large"], 9).await);
        let seen = self.batch_now(batch).await;
        let mut counts = BatchCounts { matched: Some(9), skipped: 1, refused: 4, open: 5, ..BatchCounts::default() };
        counts.matched = Some(counts.looked_at());
        assert_eq!((seen.walked, seen.counts), (true, counts), "exact once all were looked at");
        let refusals: Vec<_> = seen.refusals.iter().map(|of| (of.code, of.images, of.example)).collect();
        assert_eq!(refusals, [(Code::Gone, 1, gone), (Code::TooCostly, 1, taken), (Code::VariantExists, 2, ids[1])]);
        self.catalog.note_matched(batch, 99).await.expect("note_matched works");
        assert_eq!(self.batch_now(batch).await.counts, counts, "known better");
        let open = self.catalog.open_jobs(batch, 100).await.expect("open_jobs works");
        assert_eq!((open.len(), open.iter().all(|job| jobs.contains(job))), (5, true));
        let of_batch = JobFilter { owner: "hal".into(), batch: Some(batch), ..JobFilter::default() };
        assert_eq!(self.matching(&of_batch, JobState::Queued).await.len(), 5, "and not the one that somebody else wanted");
        self.catalog.cancel_job(other.id, self.now).await.expect("cancel_job works");

        // One completes, one in part, one fails, one is cancelled while it runs, one deleted while it waits.
        self.recount().await;
        let mut claimed = self.claim(4, u64::MAX).await;
        // Jobs of one rank come in the order of their ids; one of these has a single task and cannot end in part.
        claimed.jobs.sort_by_key(|job| job.tasks.len());
        assert_eq!(claimed.jobs[1].tasks.len(), 2);
        assert_eq!(self.batch_now(batch).await.counts, counts, "waiting or running, it is open");
        let outcomes = [
            [Ok(stored()), Ok(stored())],
            [Ok(stored()), Err(failure(TaskCode::Storage))],
            [Err(failure(TaskCode::Storage)), Err(failure(TaskCode::Storage))],
        ];
        for (job, outcomes) in claimed.jobs.iter().zip(outcomes) {
            for (task, outcome) in job.tasks.iter().zip(outcomes) {
                self.catalog.finish_task(job.lease, self.done(task.id, outcome)).await.expect("finish_task works");
            }
            self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
        }
        self.catalog.cancel_job(claimed.jobs[3].lease.job, self.now).await.expect("cancel_job works");
        self.recount().await;
        assert_eq!(self.catalog.end_batch(batch, self.now).await.expect("end_batch works"), None, "one waits");
        let last = self.catalog.open_jobs(batch, 100).await.expect("open_jobs works");
        let last = self.catalog.job(last[0]).await.expect("job works").expect("is there");
        self.erase_upload(last.upload).await;
        (counts.open, counts.completed, counts.partial, counts.failed, counts.cancelled) = (0, 1, 1, 1, 2);
        assert_eq!(self.batch_now(batch).await.counts, counts);
        let ended = self.catalog.end_batch(batch, self.now).await.expect("end_batch works").expect("ends");
        assert_eq!((ended.state, ended.counts), (BatchState::Partial, counts));
        // Deleted after its end it stays what it was.
        let completed = self.catalog.job(claimed.jobs[0].lease.job).await.expect("job works").expect("is there");
        self.erase_upload(completed.upload).await;
        assert_eq!(self.batch_now(batch).await.counts, counts);
        // A retry makes work of it again, a crash does not.
        let failed = self.matching(&of_batch, JobState::Failed).await;
        assert_eq!(failed, [claimed.jobs[2].lease.job]);
        self.catalog.retry_jobs(&failed, self.now).await.expect("retry_jobs works");
        self.recount().await;
        let again = self.batch_now(batch).await;
        assert_eq!((again.state, again.finished_at, again.counts.failed, again.counts.open), (BatchState::Running, None, 0, 1));
        assert_eq!(self.catalog.open_batches().await.expect("open_batches works"), [batch]);
        let job = self.claim_one().await;
        self.catalog.void_leases(self.now, 3).await.expect("void_leases works");
        self.recount().await;
        assert_eq!(self.batch_now(batch).await.counts, again.counts);
        let job = ClaimedJob { lease: self.claim_one().await.lease, ..job };
        self.complete(&job).await;
        (counts.completed, counts.failed) = (2, 0);
        let ended = self.catalog.end_batch(batch, self.now).await.expect("end_batch works").expect("ends");
        assert_eq!(ended.counts, counts);
    }

    pub(super) async fn batches_are_forgotten_a_few_rows_at_a_time(&mut self) {
        let owned = async |catalog: &dyn Catalog| {
            let page = Page { owner: "joe".into(), before: None, limit: 10 };
            catalog.batches(page).await.expect("batches works").items.iter().map(|batch| batch.id).collect::<Vec<_>>()
        };
        // What earlier stories left is forgotten first.
        self.now = self.now.after(Duration::from_secs(1));
        while self.catalog.purge_batches(self.now, 100).await.expect("purge_batches works") == 100 {}
        let images = (0..3).map(|_| image(&["thumb"])).collect();
        let ids = self.images_of("joe", images).await;
        let mut ended = vec![];
        for name in ["soft", "large"] {
            self.now = self.now.after(Duration::from_millis(5));
            let batch = self.make_batch(self.batch_of("joe", ImageFilter::default(), &[name])).await;
            let jobs = self.step(batch, &[name], 9).await;
            assert_eq!(jobs.len(), ids.len());
            self.catalog.cancel_jobs(&jobs, self.now).await.expect("cancel_jobs works");
            self.recount().await;
            ended.push((batch, self.catalog.end_batch(batch, self.now).await.expect("end_batch works").expect("ends"), jobs));
        }
        let [(first, of_first, jobs), (second, of_second, _)] = &ended[..] else { panic!("two") };
        self.now = self.now.after(Duration::from_millis(5));
        let waiting = self.make_batch(self.batch_of("joe", ImageFilter::default(), &["later"])).await;
        let later = self.step(waiting, &["later"], 1).await;
        self.catalog.cancel_batch(waiting, self.now).await.expect("cancel_batch works");
        self.recount().await;

        let purge = async |before, limit| self.catalog.purge_batches(before, limit).await.expect("purge_batches works");
        assert_eq!(purge(of_first.finished_at.expect("ended"), 9).await, 0, "what ended at that very time stays");
        let after = of_first.finished_at.expect("ended").after(Duration::from_millis(1));
        assert!(after <= of_second.finished_at.expect("ended"));
        assert_eq!(purge(after, 2).await, 2, "two of its jobs know it no more");
        assert_eq!(owned(self.catalog).await, [waiting, *second, *first]);
        assert_eq!(purge(after, 9).await, 2, "the third, and then its row");
        assert_eq!(owned(self.catalog).await, [waiting, *second]);
        assert_eq!(self.catalog.batch(*first).await.expect("batch works"), None);
        // Its jobs are jobs like any others, and move no counts.
        assert!(self.catalog.job(jobs[0]).await.expect("job works").is_some());
        self.catalog.retry_jobs(jobs, self.now).await.expect("retry_jobs works");
        self.catalog.cancel_jobs(jobs, self.now).await.expect("cancel_jobs works");
        self.recount().await;

        self.now = self.now.after(Duration::from_millis(5));
        assert_eq!(purge(self.now, 100).await, 4, "not the one of which a job waits");
        assert_eq!(owned(self.catalog).await, [waiting]);
        self.catalog.cancel_jobs(&later, self.now).await.expect("cancel_jobs works");
        self.recount().await;
        assert_eq!((purge(self.now, 100).await, owned(self.catalog).await.len()), (2, 0));
        self.catalog.ping().await.expect("ping works");
    }

    pub(super) async fn a_batch_that_is_cancelled_makes_no_more_jobs(&mut self) {
        let images = (0..4).map(|_| image(&["thumb"])).collect();
        let ids = self.images_of("ida", images).await;
        let batch = self.make_batch(self.batch_of("ida", ImageFilter::default(), &["soft"])).await;
        let jobs = self.step(batch, &["soft"], 2).await;
        let failed = self.claim_one().await;
        let done = self.done(failed.tasks[0].id, Err(failure(TaskCode::Storage)));
        self.catalog.finish_task(failed.lease, done).await.expect("finish_task works");
        self.catalog.finish_job(failed.lease, self.job_done()).await.expect("finish_job works");
        self.now = self.now.after(Duration::from_millis(5));
        let (seen, is_news) = self.catalog.cancel_batch(batch, self.now).await.expect("cancel_batch works").expect("is there");
        assert_eq!((is_news, seen.state, seen.finished_at), (true, BatchState::Cancelled, Some(self.now)));
        let late = BatchStep { jobs: vec![(ids[2], image(&["soft"]).job)], cursor: Some(ids[2]), ..BatchStep::default() };
        assert_eq!(
            self.catalog.step_batch(batch, late, self.now).await.expect("step_batch works"),
            None,
            "what was under way comes too late"
        );
        self.recount().await;
        assert_eq!(self.catalog.open_batches().await.expect("open_batches works"), [batch], "a job of it waits");
        let open = self.catalog.open_jobs(batch, 100).await.expect("open_jobs works");
        assert_eq!((open.len(), jobs.contains(&open[0])), (1, true));
        self.catalog.cancel_jobs(&open, self.now).await.expect("cancel_jobs works");
        self.recount().await;
        assert_eq!(self.catalog.open_batches().await.expect("open_batches works"), []);
        assert!(matches!(self.catalog.cancel_batch(batch, self.now).await, Ok(Some((_, false)))), "twice is once");
        assert_eq!(self.catalog.end_batch(batch, self.now).await.expect("end_batch works"), None);
        // Whoever wants one of its jobs all the same gets it, and the batch stays what it was.
        let before = self.batch_now(batch).await;
        assert!(matches!(self.catalog.retry_job(failed.lease.job, self.now).await, Ok(Retried::Queued { .. })));
        assert_eq!(self.batch_now(batch).await, before);
        assert_eq!(self.catalog.open_batches().await.expect("open_batches works"), []);
        self.drain().await;
        self.recount().await;
        assert_eq!((self.job_state(failed.lease.job).await, self.batch_now(batch).await), (JobState::Completed, before));
    }
}
