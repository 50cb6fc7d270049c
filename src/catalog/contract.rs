//! The contract of a catalog: what every back end must keep, as a suite any of them can run.
//!
//! Knows no back end: it goes through [`Catalog`] alone, with times it chooses itself. After every step of the work it
//! counts all rows again and holds [`Catalog::totals`] against them. Its twin with random histories is `model.rs`, for tests only.

mod adding;
mod batches;
mod blobs;
mod bulk;
mod claims;
mod deletion;
mod history;
mod leases;
mod lists;
#[cfg(test)]
pub(crate) mod model;
mod steering;
mod uploads;

use std::time::Duration;

use uuid::Uuid;

use super::{
    Accepted, Cancellation, Catalog, CatalogError, Claim, Claimed, ClaimedJob, Deletion, Erased, Idempotency, ImageView, JobAdded, JobDone,
    JobFinished, JobTiming, JobView, Lease, NewImage, NewJob, NewTask, NewUpload, Page, PastResult, RejectedFile, Release, Retried,
    StoredVariant, Subject, TaskDone, TaskTiming, Together, Totals, Voided,
};
use crate::{
    clock::{IdSource as _, RandomIds},
    domain::{
        BatchId, BlobId, Code, ImageId, JobId, JobState, LeaseToken, Priority, Refusal, TaskCode, TaskFailure, TaskId, TaskState,
        Timestamp, UploadId, UploadState, VariantName,
    },
};

/// Runs the whole suite against an empty catalog.
///
/// # Panics
/// When the catalog breaks the contract; the message says where.
pub async fn check(catalog: &dyn Catalog) {
    let mut suite = Suite { catalog, uploads: Vec::new(), erased: Totals::default(), now: Timestamp::from_millis(1_790_000_000_000) };
    assert_eq!(suite.totals().await, Totals::default(), "the suite wants an empty catalog");
    suite.what_is_kept_stays_kept().await;
    suite.an_upload_reads_back().await;
    suite.what_is_over_is_found_in_order().await;
    suite.a_deleted_job_is_remembered_without_its_texts().await;
    suite.what_waits_is_told_by_priority().await;
    suite.unknown_ids_are_none().await;
    suite.the_same_bytes_share_a_blob().await;
    suite.known_variants_complete_at_birth().await;
    suite.idempotency_keys_replay_or_conflict().await;
    suite.jobs_are_claimed_by_rank().await;
    suite.a_claim_stops_at_what_does_not_fit().await;
    suite.small_jobs_share_a_place().await;
    suite.a_job_dearer_than_the_whole_budget_is_not_stuck().await;
    suite.a_job_ends_as_its_tasks_did().await;
    suite.what_is_told_twice_counts_once().await;
    suite.ends_told_together_are_as_one_after_the_other().await;
    suite.plain_ends_told_together_end_their_upload_once().await;
    suite.one_original_twice_among_ends_is_kept_once().await;
    suite.the_same_variant_is_kept_once().await;
    suite.the_same_result_bytes_are_kept_once().await;
    suite.a_lost_lease_writes_nothing().await;
    suite.a_failed_attempt_waits_until_due().await;
    suite.a_job_that_only_lacks_its_own_end_is_claimed_again().await;
    suite.the_last_attempt_fails_for_good().await;
    suite.a_shutdown_gives_the_attempt_back().await;
    suite.leases_are_renewed_and_expire().await;
    suite.a_restart_voids_all_leases().await;
    suite.too_many_crashes_fail_a_job().await;
    suite.suspects_run_alone_and_in_order().await;
    suite.an_attempt_that_ends_clears_the_suspicion().await;
    suite.neighbours_of_crashes_survive().await;
    suite.the_culprit_among_neighbours_fails_alone().await;
    suite.each_worker_has_neighbours_of_its_own().await;
    suite.a_job_that_waits_is_cancelled_at_once().await;
    suite.a_running_job_that_is_cancelled_is_lost_to_its_worker().await;
    suite.a_job_that_has_ended_is_not_cancelled().await;
    suite.a_retry_is_of_failed_tasks_only().await;
    suite.a_retry_begins_afresh_and_in_line().await;
    suite.a_retry_of_what_killed_workers_runs_alone().await;
    suite.only_what_has_ended_and_failed_is_retried().await;
    suite.more_variants_of_an_image_are_a_job_of_their_own().await;
    suite.names_are_written_once().await;
    suite.live_blobs_are_told_from_others().await;
    suite.lists_are_walked_newest_first().await;
    suite.lists_are_each_owners_own_and_by_state().await;
    suite.a_deleted_upload_leaves_tombstones_and_dead_blobs().await;
    suite.deleting_spares_what_others_share().await;
    suite.images_go_one_by_one_and_the_last_takes_the_upload().await;
    suite.what_is_left_of_an_upload_may_end_with_an_image().await;
    suite.a_job_that_was_deleted_is_lost_to_its_worker().await;
    suite.bytes_that_come_after_a_deletion_are_new().await;
    suite.a_deleted_idempotency_key_is_free().await;
    suite.tombstones_are_purged().await;
    suite.missing_blobs_are_marked_once().await;
    suite.a_fresh_blob_takes_the_place_of_a_lost_one().await;
    suite.a_missing_result_is_made_again().await;
    suite.facts_are_told_once_and_go_with_their_blob().await;
    suite.jobs_are_found_by_why_they_failed_and_steered_together().await;
    suite.a_batch_reads_back_and_its_key_replays().await;
    suite.a_batch_is_about_what_matches_and_was_there().await;
    suite.a_batch_counts_what_becomes_of_its_jobs().await;
    suite.a_batch_that_is_cancelled_makes_no_more_jobs().await;
    suite.batches_are_forgotten_a_few_rows_at_a_time().await;
    suite.catalog.ping().await.expect("ping works");
}

struct Suite<'c> {
    catalog: &'c dyn Catalog,
    /// All that were recorded, for counting again.
    uploads: Vec<UploadId>,
    /// What those counted that were deleted since.
    erased: Totals,
    now: Timestamp,
}

fn uuid() -> Uuid {
    RandomIds.new_id(Timestamp::from_millis(1_790_000_000_000))
}

/// A digest like no other.
fn digest() -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(uuid().as_bytes());
    digest[16..].copy_from_slice(uuid().as_bytes());
    digest
}

fn name(text: &str) -> VariantName {
    text.parse().expect("the suite's names are legal")
}

fn failure(code: TaskCode) -> TaskFailure {
    TaskFailure { code, detail: format!("made up: {code}") }
}

/// An image of its own bytes with one task for each of `variants`; the same name means the same spec everywhere.
fn image(variants: &[&str]) -> NewImage {
    let task = |variant: &&str| {
        let mut spec_digest = [7; 32];
        spec_digest[..variant.len()].copy_from_slice(variant.as_bytes());
        NewTask {
            id: TaskId::from_uuid(uuid()),
            name: name(variant),
            options: format!("w:320 ({variant})"),
            spec: format!("resize:fit:320:0 ({variant})"),
            spec_digest,
            pipeline_version: 3,
            format: "webp".into(),
        }
    };
    NewImage {
        id: ImageId::from_uuid(uuid()),
        blob: BlobId::from_uuid(uuid()),
        sha256: digest(),
        bytes: 1_000,
        filename: Some("cät.jpg".into()),
        format: "jpeg".into(),
        width_px: 640,
        height_px: 480,
        metadata: vec![("relativePath".into(), "a/cat.jpg".into())],
        job: NewJob {
            id: JobId::from_uuid(uuid()),
            priority: Priority::Normal,
            rank: 100,
            cost_bytes: 10,
            max_attempts: 3,
            origin: None,
            tasks: variants.iter().map(task).collect(),
        },
    }
}

/// The jobs of a claim, in its order.
fn ids(claimed: &Claimed) -> Vec<JobId> {
    claimed.jobs.iter().map(|job| job.lease.job).collect()
}

/// Adds one image and its job.
fn count(counted: &mut Totals, image: &ImageView, job: &JobView) {
    counted.bytes_received += image.bytes;
    counted.queued_jobs += u64::from(job.state == JobState::Queued);
    counted.running_jobs += u64::from(job.state == JobState::Running);
    assert_eq!(job.finished_at.is_some(), job.state.is_final(), "{job:?}");
    for task in &job.tasks {
        match task.state {
            TaskState::Completed => counted.completed_tasks += 1,
            TaskState::Failed => counted.failed_tasks += 1,
            TaskState::Cancelled => counted.cancelled_tasks += 1,
            TaskState::Queued | TaskState::Running => counted.pending_tasks += 1,
        }
        assert_eq!(task.result.is_some(), task.state == TaskState::Completed, "{task:?}");
        if let (Some(timing), TaskState::Completed | TaskState::Failed) = (task.timing, task.state) {
            let worked = timing.transform + timing.encode + timing.store;
            counted.task_micros += u64::try_from(worked.as_micros()).expect("small");
        }
    }
}

fn stored() -> StoredVariant {
    StoredVariant {
        blob: BlobId::from_uuid(uuid()),
        bytes: 77,
        sha256: digest(),
        width_px: 320,
        height_px: 240,
        format: "webp".into(),
        quality: Some(80),
        frames: 1,
    }
}

impl Suite<'_> {
    fn upload_of(&self, images: Vec<NewImage>) -> NewUpload {
        NewUpload {
            id: UploadId::from_uuid(uuid()),
            owner: "ada".into(),
            received_at: self.now,
            expires_at: None,
            metadata: Vec::new(),
            rejected: Vec::new(),
            images,
            idempotency: None,
        }
    }

    async fn accept(&mut self, upload: NewUpload) -> Accepted {
        let accepted = self.catalog.accept_upload(upload).await.expect("accept_upload works");
        if !accepted.replayed {
            self.uploads.push(accepted.upload.id);
        }
        let read = self.catalog.upload(accepted.upload.id).await.expect("upload works");
        assert_eq!(format!("{:?}", Some(&accepted.upload)), format!("{:?}", read.as_ref()), "what is answered is what is read");
        self.recount().await;
        accepted
    }

    async fn accept_image(&mut self, image: NewImage) -> Accepted {
        let upload = self.upload_of(vec![image]);
        self.accept(upload).await
    }

    fn asking(&self, limit: u32) -> Claim {
        Claim {
            owner: "worker-1".into(),
            limit,
            together: Together::NONE,
            budget_bytes: u64::MAX,
            whole_budget_bytes: u64::MAX,
            running: 0,
            now: self.now,
            lease: Duration::from_secs(60),
            tokens: (0..limit).map(|_| LeaseToken::from_uuid(uuid())).collect(),
        }
    }

    async fn claim(&mut self, limit: u32, budget_bytes: u64) -> Claimed {
        self.claim_as(Claim { budget_bytes, ..self.asking(limit) }).await
    }

    async fn claim_as(&mut self, claim: Claim) -> Claimed {
        let claimed = self.catalog.claim_jobs(claim).await.expect("claim_jobs works");
        self.recount().await;
        claimed
    }

    async fn claim_one(&mut self) -> ClaimedJob {
        let mut claimed = self.claim(1, u64::MAX).await;
        assert_eq!(claimed.jobs.len(), 1, "one job is waiting");
        claimed.jobs.remove(0)
    }

    async fn nothing_waits(&mut self) {
        let claimed = self.claim(10, u64::MAX).await;
        assert!(claimed.jobs.is_empty(), "nothing is due: {claimed:?}");
        assert_eq!((claimed.blocked_bytes, claimed.waits_alone), (None, false));
    }

    fn done(&self, task: TaskId, outcome: Result<StoredVariant, TaskFailure>) -> TaskDone {
        let timing = TaskTiming {
            transform: Duration::from_nanos(1_900_123),
            encode: Duration::from_micros(4_200),
            store: Duration::from_micros(400),
        };
        TaskDone { task, at: self.now, outcome, timing, job: None }
    }

    fn job_done(&self) -> JobDone {
        let timing = JobTiming {
            queue: Duration::from_nanos(3_100_001),
            read: Duration::from_micros(800),
            decode: Duration::from_micros(21_000),
            cpu: Duration::from_micros(31_500),
            total: Duration::from_micros(34_400),
        };
        JobDone { at: self.now, timing, peak_bytes: 15_728_640, facts: None }
    }

    /// Completes all tasks of a claimed job, then the job.
    async fn complete(&mut self, job: &ClaimedJob) -> Vec<StoredVariant> {
        let mut all = Vec::new();
        for task in &job.tasks {
            let stored = stored();
            let finished = self.catalog.finish_task(job.lease, self.done(task.id, Ok(stored.clone()))).await.expect("finish_task works");
            assert_eq!(finished.surplus, None);
            all.push(stored);
        }
        let finished = self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
        assert_eq!(finished.job, JobState::Completed);
        self.recount().await;
        all
    }

    /// Claims and completes until nothing waits.
    async fn drain(&mut self) {
        loop {
            let claimed = self.claim(10, u64::MAX).await;
            if claimed.jobs.is_empty() {
                return;
            }
            for job in &claimed.jobs {
                for task in &job.tasks {
                    let done = self.done(task.id, Ok(stored()));
                    self.catalog.finish_task(job.lease, done).await.expect("finish_task works");
                }
                self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
            }
        }
    }

    async fn job_state(&self, job: JobId) -> JobState {
        self.catalog.job(job).await.expect("job works").expect("the job is there").state
    }

    async fn totals(&self) -> Totals {
        self.catalog.totals().await.expect("totals works")
    }

    /// Counts everything again from the views.
    async fn recount(&self) {
        let mut counted = self.erased;
        for id in &self.uploads {
            let upload = self.catalog.upload(*id).await.expect("upload works").expect("the upload is there");
            counted.uploads += 1;
            for (index, (image, job)) in upload.images.iter().enumerate() {
                count(&mut counted, image, job);
                if index > 0 && upload.images[index - 1].0.id == image.id {
                    // A further job of the same image.
                    counted.bytes_received -= image.bytes;
                }
            }
        }
        assert_eq!(self.totals().await, counted, "the totals are what the rows say");
    }

    async fn a_job_ends_as_its_tasks_did(&mut self) {
        use TaskCode::{Cancelled, MalformedImage};
        let cases: [(&[Option<TaskCode>], JobState, UploadState); 5] = [
            (&[None, None], JobState::Completed, UploadState::Completed),
            (&[None, Some(MalformedImage)], JobState::Partial, UploadState::Partial),
            (&[Some(MalformedImage), Some(Cancelled)], JobState::Failed, UploadState::Failed),
            (&[Some(Cancelled), Some(Cancelled)], JobState::Cancelled, UploadState::Cancelled),
            (&[Some(MalformedImage), None], JobState::Partial, UploadState::Partial),
        ];
        // In two ways: the job's end by itself, and with that of its last task.
        let ways = |case| [(case, false), (case, true)];
        for ((outcomes, job_state, upload_state), with_last) in cases.into_iter().flat_map(ways) {
            let upload = self.upload_of(vec![image(&["thumb", "soft"])]);
            self.accept(upload.clone()).await;
            let job = self.claim_one().await;
            let early = self.catalog.finish_job(job.lease, self.job_done()).await;
            assert!(matches!(early, Err(CatalogError::Backend(_))), "a job with unfinished tasks cannot end: {early:?}");
            self.now = self.now.after(Duration::from_millis(5));
            let mut wanted = Vec::new();
            let mut early = self.done(job.tasks[0].id, Ok(stored()));
            early.job = Some(self.job_done());
            let early = self.catalog.finish_task(job.lease, early).await;
            assert!(matches!(early, Err(CatalogError::Backend(_))), "nor with the first of them, which has not ended then: {early:?}");
            for (index, (task, outcome)) in job.tasks.iter().zip(outcomes).enumerate() {
                let outcome = outcome.map_or_else(|| Ok(stored()), |code| Err(failure(code)));
                let mut done = self.done(task.id, outcome.clone());
                done.job = Some(self.job_done()).filter(|_| with_last && index + 1 == outcomes.len());
                self.catalog.finish_task(job.lease, done.clone()).await.expect("finish_task works");
                self.recount().await;
                wanted.push((outcome, done.timing));
            }
            if with_last {
                let again = self.catalog.finish_job(job.lease, self.job_done()).await;
                assert!(matches!(again, Err(CatalogError::LeaseLost)), "{again:?}");
            } else {
                assert_eq!(self.job_state(job.lease.job).await, JobState::Running, "a job ends when it is told to");
                let finished = self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
                assert_eq!(finished.job, job_state);
                self.recount().await;
            }
            let view = self.catalog.upload(upload.id).await.expect("upload works").expect("is there");
            let seen = &view.images[0].1;
            assert_eq!((view.state, seen.state, seen.finished_at), (upload_state, job_state, Some(self.now)));
            assert_eq!((seen.timing, seen.peak_bytes, &seen.failure), (Some(self.job_done().timing), Some(15_728_640), &None));
            for (task, (outcome, timing)) in seen.tasks.iter().zip(wanted) {
                assert_eq!((task.result.clone().ok_or(()), task.timing), (outcome.clone().map_err(|_| ()), Some(timing)));
                assert_eq!(task.failure, outcome.err());
            }
        }
        // An upload ends with the last of its jobs.
        let upload = self.upload_of(vec![image(&["thumb"]), image(&["thumb"])]);
        self.accept(upload.clone()).await;
        let mut claimed = self.claim(2, u64::MAX).await;
        let last = claimed.jobs.pop().expect("two jobs");
        let done = self.done(claimed.jobs[0].tasks[0].id, Ok(stored()));
        self.catalog.finish_task(claimed.jobs[0].lease, done).await.expect("finish_task works");
        let finished = self.catalog.finish_job(claimed.jobs[0].lease, self.job_done()).await.expect("finish_job works");
        assert_eq!(finished.job, JobState::Completed);
        let view = self.catalog.upload(upload.id).await.expect("upload works").expect("is there");
        assert_eq!(view.state, UploadState::Processing);
        self.complete(&last).await;
        let view = self.catalog.upload(upload.id).await.expect("upload works").expect("is there");
        assert_eq!(view.state, UploadState::Completed);
    }

    async fn what_is_told_twice_counts_once(&mut self) {
        self.accept_image(image(&["thumb", "soft"])).await;
        let job = self.claim_one().await;
        let done = self.done(job.tasks[0].id, Ok(stored()));
        for _ in 0..2 {
            let finished = self.catalog.finish_task(job.lease, done.clone()).await.expect("finish_task works");
            assert_eq!(finished.surplus, None, "the bytes are in use");
            self.recount().await;
        }
        let other = stored();
        let late = self.done(job.tasks[0].id, Ok(other.clone()));
        assert_eq!(self.catalog.finish_task(job.lease, late).await.expect("finish_task works").surplus, Some(other.blob));
        let failed = self.done(job.tasks[1].id, Err(failure(TaskCode::Timeout)));
        self.catalog.finish_task(job.lease, failed).await.expect("finish_task works");
        let other = stored();
        let late = self.done(job.tasks[1].id, Ok(other.clone()));
        assert_eq!(self.catalog.finish_task(job.lease, late).await.expect("finish_task works").surplus, Some(other.blob));
        let stranger = self.done(TaskId::from_uuid(uuid()), Ok(stored()));
        assert!(matches!(self.catalog.finish_task(job.lease, stranger).await, Err(CatalogError::Backend(_))), "no task of this job");
        self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
        let again = self.catalog.finish_job(job.lease, self.job_done()).await;
        assert!(matches!(again, Err(CatalogError::LeaseLost)), "{again:?}");
        self.recount().await;
    }

    async fn the_same_variant_is_kept_once(&mut self) {
        let first = image(&["thumb"]);
        let mut twin = image(&["thumb"]);
        twin.sha256 = first.sha256;
        let upload = self.upload_of(vec![first, twin.clone()]);
        self.accept(upload).await;
        let claimed = self.claim(2, u64::MAX).await;
        let (winner, loser) = (stored(), stored());
        let mut surplus = Vec::new();
        for (job, stored) in claimed.jobs.iter().zip([&winner, &loser]) {
            let done = self.done(job.tasks[0].id, Ok(stored.clone()));
            surplus.push(self.catalog.finish_task(job.lease, done).await.expect("finish_task works").surplus);
            self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
        }
        assert_eq!(surplus, [None, Some(loser.blob)]);
        for job in &claimed.jobs {
            let view = self.catalog.job(job.lease.job).await.expect("job works").expect("is there");
            assert_eq!(view.tasks[0].result.as_ref(), Some(&winner));
        }
        self.recount().await;
    }

    async fn the_same_result_bytes_are_kept_once(&mut self) {
        self.accept_image(image(&["thumb", "soft"])).await;
        let job = self.claim_one().await;
        let (first, mut second) = (stored(), stored());
        second.sha256 = first.sha256;
        second.width_px = 99;
        let done = self.done(job.tasks[0].id, Ok(first.clone()));
        assert_eq!(self.catalog.finish_task(job.lease, done).await.expect("finish_task works").surplus, None);
        let done = self.done(job.tasks[1].id, Ok(second.clone()));
        assert_eq!(self.catalog.finish_task(job.lease, done).await.expect("finish_task works").surplus, Some(second.blob));
        self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
        let view = self.catalog.job(job.lease.job).await.expect("job works").expect("is there");
        let seen = view.tasks[1].result.clone().expect("has a result");
        assert_eq!((seen.blob, seen.width_px), (first.blob, 99), "the bytes are shared, what is said of them is not");
        self.recount().await;
    }

    async fn live_blobs_are_told_from_others(&mut self) {
        let (first, mut twin) = (image(&["thumb"]), image(&["thumb"]));
        twin.sha256 = first.sha256;
        let upload = self.upload_of(vec![first.clone(), twin.clone()]);
        self.accept(upload).await;
        let claimed = self.claim(2, u64::MAX).await;
        let made = self.complete(&claimed.jobs[0]).await;
        self.catalog.finish_task(claimed.jobs[1].lease, self.done(claimed.jobs[1].tasks[0].id, Ok(stored()))).await.expect("works");
        self.catalog.finish_job(claimed.jobs[1].lease, self.job_done()).await.expect("finish_job works");
        let mut asked = vec![first.blob, twin.blob, made[0].blob];
        asked.extend((0..1_200).map(|_| BlobId::from_uuid(uuid())));
        let mut live = self.catalog.live_blobs(&asked).await.expect("live_blobs works");
        let mut wanted = vec![first.blob, made[0].blob];
        live.sort();
        wanted.sort();
        assert_eq!(live, wanted, "an original and a variant's bytes are live, surplus and unknown blobs are not");
        assert_eq!(self.catalog.live_blobs(&[]).await.expect("live_blobs works"), []);
        self.recount().await;
    }
}
