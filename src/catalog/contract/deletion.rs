//! The contract's part on deletion: what goes, what stays, what is remembered, and what late workers find.
//!
//! Knows no back end, as all of the contract.

use super::*;

impl Suite<'_> {
    /// Deletes an upload; what it counted stays counted, and what was unfinished is cancelled.
    pub(super) async fn erase_upload(&mut self, id: UploadId) -> Erased {
        let view = self.catalog.upload(id).await.expect("upload works").expect("is there");
        let Deletion::Done(erased) = self.catalog.delete_upload(id, self.now).await.expect("delete_upload works") else {
            panic!("{id} is there")
        };
        for (index, (image, job)) in view.images.iter().enumerate() {
            self.note_erased(image, job);
            if index > 0 && view.images[index - 1].0.id == image.id {
                // A further job of the same image.
                self.erased.bytes_received -= image.bytes;
            }
        }
        self.erased.uploads += 1;
        self.uploads.retain(|upload| *upload != id);
        self.recount().await;
        assert_eq!(erased.upload, id);
        assert_eq!(erased.queued_jobs, view.images.iter().filter(|(_, job)| job.state == JobState::Queued).count() as u64);
        let open = view.images.iter().filter(|(_, job)| !job.state.is_final()).map(|(image, job)| (job.id, image.id));
        let (mut open, mut told): (Vec<_>, _) = (open.collect(), erased.cancelled.clone());
        open.sort();
        told.sort();
        assert_eq!((told, erased.left), (open, None), "each that had not ended is told of");
        assert!(self.catalog.upload(id).await.expect("upload works").is_none());
        for (image, job) in &view.images {
            assert!(self.catalog.image(image.id).await.expect("image works").is_none());
            assert!(self.catalog.job(job.id).await.expect("job works").is_none());
            for task in &job.tasks {
                assert!(self.catalog.variant(image.id, &task.name).await.expect("variant works").is_none());
            }
            for subject in [Subject::Image(image.id), Subject::Job(job.id), Subject::Upload(id)] {
                assert!(self.catalog.was_deleted(subject).await.expect("was_deleted works"), "{subject:?}");
            }
        }
        assert!(matches!(self.catalog.delete_upload(id, self.now).await, Ok(Deletion::Gone)), "once");
        self.recount().await;
        erased
    }

    pub(super) fn note_erased(&mut self, image: &ImageView, job: &JobView) {
        count(&mut self.erased, image, job);
        (self.erased.queued_jobs, self.erased.running_jobs) = (0, 0);
        self.erased.cancelled_tasks += std::mem::take(&mut self.erased.pending_tasks);
    }

    async fn live(&self, of: &[BlobId]) -> Vec<BlobId> {
        let mut live = self.catalog.live_blobs(of).await.expect("live_blobs works");
        live.sort_by_key(|blob| of.iter().position(|of| of == blob));
        live
    }

    pub(super) async fn a_deleted_upload_leaves_tombstones_and_dead_blobs(&mut self) {
        let mut first = image(&["thumb", "soft"]);
        first.job.rank = 1;
        let mut again = image(&["thumb"]);
        again.sha256 = first.sha256;
        let upload = self.upload_of(vec![first.clone(), again, image(&["large"])]);
        self.accept(upload.clone()).await;
        let job = self.claim_one().await;
        let made = self.complete(&job).await;
        let mut held = self.claim(1, u64::MAX).await.jobs;
        // One ended, one runs, one waits.
        let erased = self.erase_upload(upload.id).await;
        assert_eq!((erased.running, erased.queued_jobs), (vec![held.remove(0).lease.job], 1));
        assert_eq!(erased.images.len(), 3);
        let mut names = erased.images.iter().find(|image| image.id == first.id).expect("is among them").variants.clone();
        names.sort();
        assert_eq!(names, [name("soft"), name("thumb")]);
        let mut wanted = vec![first.blob, upload.images[2].blob, made[0].blob, made[1].blob];
        let mut dead = erased.dead;
        wanted.sort();
        dead.sort();
        assert_eq!(dead, wanted, "originals and results");
        assert_eq!(self.live(&wanted).await, []);
        let mut listed = self.catalog.dead_blobs(None, 100).await.expect("dead_blobs works");
        listed.sort();
        assert_eq!(listed, wanted);
        assert_eq!(self.catalog.dead_blobs(None, 3).await.expect("dead_blobs works").len(), 3);
        assert_eq!(self.catalog.dead_blobs(Some(wanted[0]), 2).await.expect("dead_blobs works"), wanted[1..3]);
        self.catalog.purge_blobs(&wanted).await.expect("purge_blobs works");
        assert_eq!(self.catalog.dead_blobs(None, 100).await.expect("dead_blobs works"), []);
        self.catalog.purge_blobs(&[]).await.expect("purge_blobs works");
        let never = UploadId::from_uuid(uuid());
        assert!(matches!(self.catalog.delete_upload(never, self.now).await, Ok(Deletion::Unknown)));
        assert!(matches!(self.catalog.delete_image(ImageId::from_uuid(uuid()), self.now).await, Ok(Deletion::Unknown)));
        assert!(!self.catalog.was_deleted(Subject::Upload(never)).await.expect("was_deleted works"));
        let other_kind = Subject::Image(ImageId::from_uuid(upload.id.uuid()));
        assert!(!self.catalog.was_deleted(other_kind).await.expect("was_deleted works"), "an id is of one kind");
        self.nothing_waits().await;
    }

    pub(super) async fn deleting_spares_what_others_share(&mut self) {
        let first = image(&["thumb", "soft"]);
        let mut twin = image(&["thumb"]);
        twin.sha256 = first.sha256;
        // Its original is what `soft` of the first came to.
        let mut loop_back = image(&["thumb"]);
        let one = self.upload_of(vec![first.clone()]);
        self.accept(one.clone()).await;
        let job = self.claim_one().await;
        let made = self.complete(&job).await;
        (loop_back.sha256, loop_back.bytes) = (made[1].sha256, made[1].bytes);
        let (two, three) = (self.upload_of(vec![twin.clone()]), self.upload_of(vec![loop_back]));
        self.accept(two.clone()).await;
        let accepted = self.accept(three.clone()).await;
        assert_eq!(accepted.upload.images[0].0.blob, made[1].blob, "one blob for one content");
        self.drain().await;
        let all = [first.blob, made[0].blob, made[1].blob];

        assert_eq!(self.erase_upload(one.id).await.dead, [], "the twin has the bytes and all that was made of them");
        assert_eq!(self.live(&all).await, all);
        let variant = self.catalog.variant(twin.id, &name("thumb")).await.expect("variant works").expect("is there");
        assert_eq!(variant.task.result.map(|stored| stored.blob), Some(made[0].blob));
        let mut dead = self.erase_upload(two.id).await.dead;
        dead.sort();
        let mut wanted = vec![first.blob, made[0].blob];
        wanted.sort();
        assert_eq!(dead, wanted, "the result that is an original lives on");
        assert_eq!(self.live(&all).await, [made[1].blob]);
        assert!(self.erase_upload(three.id).await.dead.contains(&made[1].blob));
        assert_eq!(self.live(&all).await, []);
    }

    pub(super) async fn images_go_one_by_one_and_the_last_takes_the_upload(&mut self) {
        let upload = self.upload_of(vec![image(&["thumb"]), image(&["thumb"])]);
        self.accept(upload.clone()).await;
        self.drain().await;
        for (left, gone) in [(1, &upload.images[1]), (0, &upload.images[0])] {
            let before = self.catalog.upload(upload.id).await.expect("upload works").expect("is there");
            let (image, job) = before.images.iter().find(|(image, _)| image.id == gone.id).expect("is there");
            let Ok(Deletion::Done(erased)) = self.catalog.delete_image(gone.id, self.now).await else { panic!("is there") };
            self.note_erased(image, job);
            assert_eq!((erased.upload, erased.images[0].id, erased.dead.len()), (upload.id, gone.id, 2));
            assert!(matches!(self.catalog.delete_image(gone.id, self.now).await, Ok(Deletion::Gone)));
            let after = self.catalog.upload(upload.id).await.expect("upload works");
            assert_eq!(after.map_or(0, |upload| upload.images.len()), left);
            assert_eq!(self.catalog.was_deleted(Subject::Upload(upload.id)).await.expect("was_deleted works"), left == 0);
            if left == 0 {
                self.uploads.retain(|id| *id != upload.id);
                self.erased.uploads += 1;
            }
            self.recount().await;
        }
        assert!(matches!(self.catalog.delete_upload(upload.id, self.now).await, Ok(Deletion::Gone)));
    }

    pub(super) async fn what_is_left_of_an_upload_may_end_with_an_image(&mut self) {
        let upload = self.upload_of(vec![image(&["thumb"]), image(&["thumb"]), image(&["thumb"]), image(&["thumb"])]);
        self.accept(upload.clone()).await;
        let done = self.claim(2, u64::MAX).await;
        for job in &done.jobs {
            self.complete(job).await;
        }
        let ended: Vec<ImageId> = done.jobs.iter().map(|job| job.image).collect();
        let waiting: Vec<ImageId> = upload.images.iter().map(|image| image.id).filter(|id| !ended.contains(id)).collect();
        // The first is one of two that wait, the second the last of them; the third had ended before.
        for (gone, left) in [(waiting[0], None), (waiting[1], Some(UploadState::Completed)), (ended[0], None)] {
            let before = self.catalog.upload(upload.id).await.expect("upload works").expect("is there");
            let (image, job) = before.images.iter().find(|(image, _)| image.id == gone).expect("is there");
            let Ok(Deletion::Done(erased)) = self.catalog.delete_image(gone, self.now).await else { panic!("is there") };
            self.note_erased(image, job);
            self.recount().await;
            let cancelled = if waiting.contains(&gone) { vec![(job.id, gone)] } else { vec![] };
            assert_eq!((erased.left, erased.cancelled), (left, cancelled));
        }
    }

    pub(super) async fn a_job_that_was_deleted_is_lost_to_its_worker(&mut self) {
        // Deleted after the claim, after one of two tasks, after both, and after the end.
        for ended in 0..=3_usize {
            let upload = self.upload_of(vec![image(&["thumb", "soft"])]);
            self.accept(upload.clone()).await;
            let job = self.claim_one().await;
            for task in job.tasks.iter().take(ended) {
                self.catalog.finish_task(job.lease, self.done(task.id, Ok(stored()))).await.expect("finish_task works");
            }
            if ended == 3 {
                self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
            }
            let erased = self.erase_upload(upload.id).await;
            assert_eq!(erased.dead.len(), 1 + ended.min(2));
            assert_eq!(erased.running.len(), usize::from(ended < 3));
            let late = stored();
            let refused = self.catalog.finish_task(job.lease, self.done(job.tasks[1].id, Ok(late.clone()))).await;
            assert!(matches!(refused, Err(CatalogError::LeaseLost)), "{refused:?}");
            self.all_refused(job.lease, job.tasks[0].id, Release { at: self.now, due: self.now, failure: None }).await;
            assert_eq!(self.live(&[late.blob, upload.images[0].blob]).await, [], "nothing comes back");
            assert_eq!(self.catalog.void_leases(self.now, 3).await.expect("void_leases works"), Voided::default());
            self.nothing_waits().await;
        }
    }

    pub(super) async fn bytes_that_come_after_a_deletion_are_new(&mut self) {
        let first = image(&["thumb"]);
        let one = self.upload_of(vec![first.clone()]);
        self.accept(one.clone()).await;
        let job = self.claim_one().await;
        let made = self.complete(&job).await;
        assert!(self.erase_upload(one.id).await.dead.contains(&first.blob));
        // The files of the dead ones may be unlinked at any moment from here on.
        let mut again = image(&["thumb"]);
        again.sha256 = first.sha256;
        let accepted = self.accept_image(again.clone()).await;
        assert_eq!((accepted.surplus.as_slice(), accepted.upload.images[0].0.blob), ([].as_slice(), again.blob));
        assert!(!accepted.upload.images[0].0.duplicate);
        let job = self.claim_one().await;
        // To the byte what it was before.
        let mut same = stored();
        same.sha256 = made[0].sha256;
        let finished = self.catalog.finish_task(job.lease, self.done(job.tasks[0].id, Ok(same.clone()))).await;
        assert_eq!(finished.expect("finish_task works").surplus, None);
        self.catalog.finish_job(job.lease, self.job_done()).await.expect("finish_job works");
        let dead = self.catalog.dead_blobs(None, 100).await.expect("dead_blobs works");
        self.catalog.purge_blobs(&[dead.as_slice(), &[again.blob, same.blob]].concat()).await.expect("purge_blobs works");
        assert_eq!(self.live(&[again.blob, same.blob]).await, [again.blob, same.blob], "a live blob is never purged");
        // The other order: shared first, then deleted.
        let mut third = image(&["thumb"]);
        third.sha256 = first.sha256;
        let two = self.uploads.last().copied().expect("the second upload");
        assert_eq!(self.accept_image(third).await.surplus.len(), 1);
        assert_eq!(self.erase_upload(two).await.dead, []);
        assert_eq!(self.live(&[again.blob, same.blob]).await, [again.blob, same.blob]);
    }

    pub(super) async fn a_deleted_idempotency_key_is_free(&mut self) {
        let mut first = self.upload_of(vec![image(&["thumb"])]);
        first.idempotency = Some(Idempotency { key: "key-d".into(), fingerprint: [1; 32] });
        self.accept(first.clone()).await;
        self.erase_upload(first.id).await;
        let mut again = self.upload_of(vec![image(&["thumb"])]);
        again.idempotency = Some(Idempotency { key: "key-d".into(), fingerprint: [2; 32] });
        assert!(!self.accept(again).await.replayed);
        self.drain().await;
    }

    pub(super) async fn tombstones_are_purged(&mut self) {
        let upload = self.upload_of(vec![image(&["thumb"])]);
        self.accept(upload.clone()).await;
        self.now = self.now.after(Duration::from_secs(60));
        self.erase_upload(upload.id).await;
        while self.catalog.purge_tombstones(self.now, 7).await.expect("purge_tombstones works") > 0 {}
        assert!(self.catalog.was_deleted(Subject::Upload(upload.id)).await.expect("was_deleted works"), "of now, not from before");
        let later = self.now.after(Duration::from_millis(1));
        assert_eq!(self.catalog.purge_tombstones(later, 2).await.expect("purge_tombstones works"), 2);
        assert_eq!(self.catalog.purge_tombstones(later, 7).await.expect("purge_tombstones works"), 1);
        assert!(matches!(self.catalog.delete_upload(upload.id, self.now).await, Ok(Deletion::Unknown)), "nobody remembers");
    }
}
