//! The contract's part on blobs whose file is gone: marks, and how they are healed.
//!
//! Knows no back end, as all of the contract.

use super::{
    super::{Past, Standing},
    *,
};

impl Suite<'_> {
    /// All live blobs, walked in parts.
    async fn walk_blobs(&self) -> Vec<super::super::LiveBlob> {
        let mut all: Vec<super::super::LiveBlob> = Vec::new();
        loop {
            let part = self.catalog.blobs_after(all.last().map(|blob| blob.id), 7).await.expect("blobs_after works");
            if part.is_empty() {
                return all;
            }
            all.extend(part);
        }
    }

    pub(super) async fn what_is_kept_stays_kept(&mut self) {
        let at = Timestamp::from_millis;
        let recall = async |now| self.catalog.recall(at(now)).await.expect("recall works");
        assert_eq!(recall(10).await, Past { standing: Standing::Unknown, keep_before: None }, "nothing was noted yet");
        assert_eq!(recall(11).await, Past { standing: Standing::Unknown, keep_before: None }, "asking notes nothing");
        self.catalog.vouch().await.expect("vouch works");
        assert_eq!(recall(12).await, Past { standing: Standing::Newest, keep_before: None });
        for before in [5, 7, 6] {
            self.catalog.keep_files(at(before)).await.expect("keep_files works");
        }
        assert_eq!(recall(13).await, Past { standing: Standing::Newest, keep_before: Some(at(7)) }, "the latest counts");
    }

    pub(super) async fn missing_blobs_are_marked_once(&mut self) {
        let known = image(&["thumb"]);
        self.accept_image(known.clone()).await;
        let gone = self.upload_of(vec![image(&["thumb"])]);
        self.accept(gone.clone()).await;
        self.erase_upload(gone.id).await;
        let all = self.walk_blobs().await;
        assert!(all.is_sorted_by(|a, b| a.id < b.id) && all.iter().all(|blob| !blob.missing));
        assert!(all.iter().any(|blob| blob.id == known.blob && blob.bytes == known.bytes));
        assert!(all.iter().all(|blob| blob.id != gone.images[0].blob), "dead ones are not looked for");
        let asked = [known.blob, gone.images[0].blob, BlobId::from_uuid(uuid())];
        assert_eq!(self.catalog.mark_missing(&asked).await.expect("mark_missing works"), [known.blob], "live ones only");
        assert_eq!(self.catalog.mark_missing(&asked).await.expect("mark_missing works"), [], "news once");
        assert!(self.walk_blobs().await.iter().all(|blob| blob.missing == (blob.id == known.blob)));
        assert_eq!(self.catalog.mark_found(&asked).await.expect("mark_found works"), [known.blob]);
        assert_eq!(self.catalog.mark_found(&asked).await.expect("mark_found works"), []);
        assert_eq!(self.catalog.mark_found(&[]).await.expect("mark_found works"), []);
        self.drain().await;
    }

    pub(super) async fn a_fresh_blob_takes_the_place_of_a_lost_one(&mut self) {
        let first = image(&["thumb"]);
        self.accept_image(first.clone()).await;
        let job = self.claim_one().await;
        let made = self.complete(&job).await;
        let mut again = image(&["thumb", "soft"]);
        again.sha256 = first.sha256;
        let accepted = self.accept_image(again.clone()).await;
        assert_eq!(accepted.surplus, [again.blob]);
        let queued = self.claim_one().await;
        assert_eq!(queued.blob, first.blob);
        self.catalog.mark_missing(&[first.blob]).await.expect("mark_missing works");
        assert!(self.catalog.replace_blob(first.blob, again.blob).await.expect("replace_blob works"));
        assert!(!self.catalog.replace_blob(first.blob, BlobId::from_uuid(uuid())).await.expect("replace_blob works"), "once");
        assert!(!self.catalog.replace_blob(BlobId::from_uuid(uuid()), again.blob).await.expect("replace_blob works"), "nothing to replace");
        for of in [first.id, again.id] {
            let view = self.catalog.image(of).await.expect("image works").expect("is there");
            assert_eq!((view.blob, view.sha256, view.bytes), (again.blob, first.sha256, first.bytes));
        }
        let variant = self.catalog.variant(first.id, &name("thumb")).await.expect("variant works").expect("is there");
        assert_eq!(variant.task.result.as_ref(), Some(&made[0]), "what was made of it is kept");
        assert_eq!(self.catalog.live_blobs(&[first.blob, again.blob]).await.expect("live_blobs works"), [again.blob]);
        assert!(self.catalog.dead_blobs(None, 100).await.expect("dead_blobs works").contains(&first.blob));
        assert!(self.walk_blobs().await.iter().all(|blob| !blob.missing), "the new one is there");
        // A worker that holds the job goes on; given back, it finds the new one.
        self.give_back(&queued).await;
        let queued = self.claim_one().await;
        assert_eq!(queued.blob, again.blob);
        self.complete(&queued).await;
        let uploads = self.uploads[self.uploads.len() - 2..].to_vec();
        self.erase_upload(uploads[0]).await;
        assert!(self.erase_upload(uploads[1]).await.dead.contains(&again.blob), "the references came with it");
    }

    pub(super) async fn facts_are_told_once_and_go_with_their_blob(&mut self) {
        let facts_of = async |suite: &Self, blob| {
            let mut known = suite.catalog.facts(&[BlobId::from_uuid(uuid()), blob]).await.expect("facts works");
            assert!(known.len() <= 1 && known.iter().all(|(of, _)| *of == blob));
            known.pop().map(|(_, facts)| facts)
        };
        let first = image(&["thumb"]);
        self.accept_image(first.clone()).await;
        assert_eq!(facts_of(self, first.blob).await, None);
        let job = self.claim_one().await;
        assert!(!job.has_facts);
        self.catalog.finish_task(job.lease, self.done(job.tasks[0].id, Ok(stored()))).await.expect("finish_task works");
        let done = JobDone { facts: Some("{\"bits\":8}".into()), ..self.job_done() };
        self.catalog.finish_job(job.lease, done).await.expect("finish_job works");
        assert_eq!(facts_of(self, first.blob).await.as_deref(), Some("{\"bits\":8}"));
        // The same bytes again: they are known, and stay as they were.
        let mut again = image(&["soft"]);
        again.sha256 = first.sha256;
        self.accept_image(again.clone()).await;
        let job = self.claim_one().await;
        assert!(job.has_facts);
        let mut last = self.done(job.tasks[0].id, Ok(stored()));
        last.job = Some(JobDone { facts: Some("{}".into()), ..self.job_done() });
        self.catalog.finish_task(job.lease, last).await.expect("finish_task works");
        assert_eq!(facts_of(self, first.blob).await.as_deref(), Some("{\"bits\":8}"));
        // They follow the bytes.
        self.catalog.mark_missing(&[first.blob]).await.expect("mark_missing works");
        assert!(self.catalog.replace_blob(first.blob, again.blob).await.expect("replace_blob works"));
        assert_eq!(facts_of(self, first.blob).await, None);
        assert_eq!(facts_of(self, again.blob).await.as_deref(), Some("{\"bits\":8}"));
        let uploads = self.uploads[self.uploads.len() - 2..].to_vec();
        for upload in uploads {
            self.erase_upload(upload).await;
        }
        self.catalog.purge_blobs(&[first.blob, again.blob]).await.expect("purge_blobs works");
        assert_eq!(facts_of(self, again.blob).await, None);
        self.recount().await;
    }

    pub(super) async fn a_missing_result_is_made_again(&mut self) {
        for same_bytes in [true, false] {
            let first = image(&["thumb"]);
            self.accept_image(first.clone()).await;
            let job = self.claim_one().await;
            let lost = self.complete(&job).await.remove(0);
            self.catalog.mark_missing(&[lost.blob]).await.expect("mark_missing works");
            let mut again = image(&["thumb"]);
            again.sha256 = first.sha256;
            let accepted = self.accept_image(again.clone()).await;
            assert_eq!(accepted.upload.images[0].1.state, JobState::Queued, "not born completed with a file that is gone");
            let job = self.claim_one().await;
            let mut fresh = stored();
            if same_bytes {
                fresh.sha256 = lost.sha256;
            }
            let finished = self.catalog.finish_task(job.lease, self.done(job.tasks[0].id, Ok(fresh.clone()))).await;
            let finished = finished.expect("finish_task works");
            if same_bytes {
                assert_eq!((finished.surplus, finished.kept), (Some(fresh.blob), Some(lost.blob)), "the worker looks, and replaces");
                assert_eq!(finished.dead, None);
                assert!(self.catalog.replace_blob(lost.blob, fresh.blob).await.expect("replace_blob works"));
            } else {
                assert_eq!((finished.surplus, finished.kept, finished.dead), (None, None, Some(lost.blob)), "the worker removes it");
            }
            self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
            for of in [first.id, again.id] {
                let variant = self.catalog.variant(of, &name("thumb")).await.expect("variant works").expect("is there");
                assert_eq!(variant.task.result.map(|result| result.blob), Some(fresh.blob));
            }
            assert_eq!(self.catalog.live_blobs(&[lost.blob, fresh.blob]).await.expect("live_blobs works"), [fresh.blob]);
            self.recount().await;
        }
    }
}
