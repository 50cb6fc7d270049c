//! The contract's part on time: what is over, what is remembered of what is gone, and what waits.
//!
//! Knows no back end, as all of the contract.

use super::*;
use crate::{
    catalog::{PastJob, Source, Waiting},
    domain::{Origin, TraceId},
};

impl Suite<'_> {
    async fn expired(&self, at: Timestamp, limit: u32) -> Vec<UploadId> {
        self.catalog.expired_uploads(at, limit).await.expect("expired_uploads works")
    }

    async fn remembered(&self, job: JobId) -> Option<PastJob> {
        self.catalog.past_job(job).await.expect("past_job works")
    }

    pub(super) async fn what_is_over_is_found_in_order(&mut self) {
        let mut uploads = Vec::new();
        for seconds in [Some(30), None, Some(10), Some(20)] {
            let mut upload = self.upload_of(vec![image(&["thumb"])]);
            upload.expires_at = seconds.map(|seconds| self.now.after(Duration::from_secs(seconds)));
            uploads.push(self.accept(upload).await.upload);
        }
        assert_eq!(uploads[0].expires_at, Some(self.now.after(Duration::from_secs(30))));
        let (ids, at): (Vec<_>, _) = (uploads.iter().map(|upload| upload.id).collect(), |ms| self.now.after(Duration::from_millis(ms)));
        for upload in &uploads {
            assert_eq!(self.catalog.expires_at(upload.id).await.expect("expires_at works"), upload.expires_at);
        }
        assert_eq!(self.catalog.expires_at(UploadId::from_uuid(uuid())).await.expect("expires_at works"), None);
        assert_eq!(self.expired(at(9_999), 10).await, []);
        assert_eq!(self.expired(at(10_000), 10).await, [ids[2]], "at its very time");
        assert_eq!(self.expired(at(1 << 40), 10).await, [ids[2], ids[3], ids[0]], "what has no end is never over");
        assert_eq!(self.expired(at(1 << 40), 2).await, [ids[2], ids[3]]);
        for upload in ids {
            self.erase_upload(upload).await;
        }
        assert_eq!(self.expired(self.now.after(Duration::from_secs(1 << 30)), 10).await, []);
        self.forget_all().await;
    }

    pub(super) async fn a_deleted_job_is_remembered_without_its_texts(&mut self) {
        let origin = Some(Origin { request: uuid(), trace: TraceId::from_bytes([7; 16]) });
        let mut ended = image(&["thumb", "soft"]);
        ended.job.origin = origin;
        (ended.job.rank, ended.job.priority) = (1, Priority::High);
        let upload = self.upload_of(vec![ended, image(&["thumb"])]);
        let before = self.accept(upload.clone()).await.upload;
        assert_eq!(before.images[0].1.origin, origin);
        let (ended, waits) = (upload.images[0].job.id, upload.images[1].job.id);
        let claimed = self.claim_one().await;
        assert_eq!((claimed.lease.job, claimed.origin, claimed.priority), (ended, origin, Priority::High));
        let lost = failure(TaskCode::MalformedImage);
        for (task, outcome) in claimed.tasks.iter().zip([Ok(stored()), Err(lost)]) {
            self.catalog.finish_task(claimed.lease, self.done(task.id, outcome)).await.expect("finish_task works");
        }
        self.catalog.finish_job(claimed.lease, self.job_done()).await.expect("finish_job works");
        assert_eq!(self.remembered(ended).await, None, "it is still there itself");
        let finished_at = self.now;
        self.now = self.now.after(Duration::from_secs(5));
        self.erase_upload(upload.id).await;

        let past = self.remembered(ended).await.expect("is remembered");
        assert_eq!((past.id, past.upload, past.image), (ended, upload.id, upload.images[0].id));
        assert_eq!((past.state, past.priority, past.attempt, past.max_attempts), (JobState::Partial, Priority::High, 1, 3));
        assert_eq!((past.started_at, past.finished_at, past.erased_at), (Some(finished_at), finished_at, self.now));
        assert_eq!((past.timing, past.peak_bytes, past.origin), (Some(self.job_done().timing), Some(15_728_640), origin));
        assert_eq!(past.source, Source { format: "jpeg".into(), bytes: 1_000, width_px: 640, height_px: 480 });
        let [made, failed] = &past.tasks[..] else { panic!("two tasks: {past:?}") };
        assert_eq!((made.name.as_str(), &made.operations[..], made.state), ("thumb", &["resize".to_owned()][..], TaskState::Completed));
        assert_eq!(made.result, Some(PastResult { bytes: 77, width_px: 320, height_px: 240 }));
        assert_eq!(made.timing, Some(self.done(claimed.tasks[0].id, Ok(stored())).timing));
        assert_eq!((failed.state, failed.failure, failed.result), (TaskState::Failed, Some(TaskCode::MalformedImage), None));
        let cancelled = self.remembered(waits).await.expect("is remembered");
        assert_eq!((cancelled.state, cancelled.finished_at), (JobState::Cancelled, self.now), "by the deletion");
        assert_eq!(cancelled.tasks[0].state, TaskState::Cancelled);
        let text = format!("{past:?}{cancelled:?}");
        for secret in ["cät", "relativePath", "fit", "(thumb)", "w:320", "made up"] {
            assert!(!text.contains(secret), "{secret} is remembered: {text}");
        }

        // Newest first, in parts, each owner's own.
        let page = |before, limit| Page { owner: "ada".to_owned(), before, limit };
        let listed = self.catalog.past_jobs(page(None, 10)).await.expect("past_jobs works");
        let mut both = vec![past.clone(), cancelled];
        both.sort_by_key(|job| std::cmp::Reverse(job.id));
        assert_eq!((&listed.items, listed.next), (&both, None));
        let first = self.catalog.past_jobs(page(None, 1)).await.expect("past_jobs works");
        assert_eq!((&first.items[..], first.next), (&both[..1], Some(both[0].id)));
        let second = self.catalog.past_jobs(page(first.next, 1)).await.expect("past_jobs works");
        assert_eq!((&second.items[..], second.next), (&both[1..], None));
        let others = Page { owner: "bob".to_owned(), before: None, limit: 10 };
        assert_eq!(self.catalog.past_jobs(others).await.expect("past_jobs works").items, []);

        // Forgotten in order of their ends, in steps.
        let purge = async |before, limit| self.catalog.purge_past_jobs(before, limit).await.expect("purge_past_jobs works");
        assert_eq!(purge(finished_at, 10).await, 0, "not at its very time");
        assert_eq!(purge(self.now.after(Duration::from_millis(1)), 1).await, 1);
        assert_eq!((self.remembered(ended).await, self.remembered(waits).await.is_some()), (None, true));
        assert_eq!(purge(self.now.after(Duration::from_millis(1)), 10).await, 1);
        assert_eq!(self.catalog.past_jobs(page(None, 10)).await.expect("past_jobs works").items, []);
        assert!(
            self.catalog.was_deleted(Subject::Job(ended)).await.expect("was_deleted works"),
            "a tombstone stays longer or not, for itself"
        );
    }

    pub(super) async fn what_waits_is_told_by_priority(&mut self) {
        let mut uploads = Vec::new();
        let first = self.now;
        for priority in [Priority::Low, Priority::High, Priority::Low] {
            let mut upload = self.upload_of(vec![image(&["thumb"])]);
            upload.images[0].job.priority = priority;
            upload.images[0].job.rank = if priority == Priority::High { 1 } else { 50 };
            uploads.push(self.accept(upload).await.upload.id);
            self.now = self.now.after(Duration::from_secs(1));
        }
        let catalog = self.catalog;
        let waiting = async || catalog.waiting().await.expect("waiting works");
        let none = |priority| Waiting { priority, queued: 0, oldest: None, running: 0 };
        let low = Waiting { queued: 2, oldest: Some(first), ..none(Priority::Low) };
        let high = Waiting { queued: 1, oldest: Some(first.after(Duration::from_secs(1))), ..none(Priority::High) };
        assert_eq!(waiting().await, [high, none(Priority::Normal), low]);
        let claimed = self.claim_one().await;
        assert_eq!(waiting().await, [Waiting { running: 1, ..none(Priority::High) }, none(Priority::Normal), low]);
        self.complete(&claimed).await;
        for upload in uploads {
            self.erase_upload(upload).await;
        }
        assert_eq!(waiting().await, [none(Priority::High), none(Priority::Normal), none(Priority::Low)]);
        self.forget_all().await;
    }

    /// Nothing is left of what was deleted here, for those that count.
    async fn forget_all(&self) {
        self.catalog.purge_past_jobs(self.now.after(Duration::from_secs(1)), u32::MAX).await.expect("purge_past_jobs works");
        let dead = self.catalog.dead_blobs(None, u32::MAX).await.expect("dead_blobs works");
        self.catalog.purge_blobs(&dead).await.expect("purge_blobs works");
    }
}
