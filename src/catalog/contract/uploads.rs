//! The contract's part on taking in: reading back, shared bytes, known variants, idempotency.
//!
//! Knows no back end, as all of the contract.

use super::*;

impl Suite<'_> {
    pub(super) async fn an_upload_reads_back(&mut self) {
        let (mut first, second) = (image(&["thumb", "soft"]), image(&["thumb"]));
        first.job.priority = Priority::High;
        let mut upload = self.upload_of(vec![first.clone(), second.clone()]);
        upload.metadata = vec![("k".into(), "v".into()), ("k".into(), "\"again\"".into())];
        upload.rejected = vec![
            RejectedFile { filename: None, refusal: Refusal::new(Code::UnsupportedFormat, "no image we read") },
            RejectedFile { filename: Some("b.png".into()), refusal: Refusal::over(Code::TooLarge, "too large", 5, Some(u64::MAX)) },
        ];
        let accepted = self.accept(upload.clone()).await;
        assert!(!accepted.replayed && accepted.surplus.is_empty());
        let view = accepted.upload;
        assert_eq!((view.id, view.owner.as_str(), view.received_at), (upload.id, "ada", self.now));
        assert_eq!((view.state, &view.metadata, &view.rejected), (UploadState::Processing, &upload.metadata, &upload.rejected));
        assert_eq!(view.images.iter().map(|(image, _)| image.id).collect::<Vec<_>>(), [first.id, second.id], "in the order they came");

        let (seen, job) = &view.images[0];
        assert_eq!((seen.upload, seen.owner.as_str(), seen.blob, seen.bytes), (upload.id, "ada", first.blob, first.bytes));
        assert_eq!((seen.sha256, &seen.filename, &seen.format), (first.sha256, &first.filename, &first.format));
        assert_eq!((seen.width_px, seen.height_px, seen.duplicate, seen.received_at), (640, 480, false, self.now));
        assert_eq!((job.id, job.upload, job.image, job.state), (first.job.id, upload.id, first.id, JobState::Queued));
        assert_eq!((job.attempt, job.max_attempts, job.priority, job.queued_at), (0, 3, Priority::High, self.now));
        assert_eq!((job.due_at, job.started_at, job.finished_at, job.timing), (None, None, None, None));
        assert_eq!((job.peak_bytes, &job.failure), (None, &None));
        for (task, wanted) in job.tasks.iter().zip(&first.job.tasks) {
            assert_eq!((task.id, &task.name, &task.options, &task.spec), (wanted.id, &wanted.name, &wanted.options, &wanted.spec));
            assert_eq!((&task.format, task.state, &task.result), (&wanted.format, TaskState::Queued, &None));
            assert_eq!((task.timing, &task.failure), (None, &None));
        }
        assert_eq!(job.tasks.len(), 2);

        let alone = self.catalog.job(job.id).await.expect("job works");
        assert_eq!(format!("{alone:?}"), format!("{:?}", Some(job)));
        let alone = self.catalog.image(seen.id).await.expect("image works");
        assert_eq!(format!("{alone:?}"), format!("{:?}", Some(seen)));
        let variant = self.catalog.variant(first.id, &name("soft")).await.expect("variant works").expect("is there");
        assert_eq!((variant.owner.as_str(), &variant.filename, variant.task.id), ("ada", &first.filename, first.job.tasks[1].id));
        assert_eq!(format!("{:?}", variant.job), format!("{job:?}"), "a variant comes with its whole job");
        self.drain().await;
        let view = self.catalog.upload(upload.id).await.expect("upload works").expect("is there");
        assert_eq!(view.state, UploadState::Completed);
    }

    pub(super) async fn unknown_ids_are_none(&mut self) {
        assert!(self.catalog.upload(UploadId::from_uuid(uuid())).await.expect("upload works").is_none());
        assert!(self.catalog.job(JobId::from_uuid(uuid())).await.expect("job works").is_none());
        assert!(self.catalog.image(ImageId::from_uuid(uuid())).await.expect("image works").is_none());
        let known = image(&["thumb"]);
        self.accept_image(known.clone()).await;
        assert!(self.catalog.variant(ImageId::from_uuid(uuid()), &name("thumb")).await.expect("variant works").is_none());
        assert!(self.catalog.variant(known.id, &name("other")).await.expect("variant works").is_none());
        self.drain().await;
    }

    pub(super) async fn the_same_bytes_share_a_blob(&mut self) {
        let first = image(&["thumb"]);
        let (mut again, mut twin) = (image(&["thumb"]), image(&["soft"]));
        (again.sha256, twin.sha256) = (first.sha256, first.sha256);
        // Twice in one request.
        let upload = self.upload_of(vec![first.clone(), again.clone()]);
        let accepted = self.accept(upload).await;
        assert_eq!(accepted.surplus, [again.blob]);
        let blobs: Vec<_> = accepted.upload.images.iter().map(|(image, _)| (image.blob, image.duplicate)).collect();
        assert_eq!(blobs, [(first.blob, false), (first.blob, true)]);
        // In another request, while the work is not done.
        let accepted = self.accept_image(twin.clone()).await;
        assert_eq!(accepted.surplus, [twin.blob]);
        assert_eq!((accepted.upload.images[0].0.blob, accepted.upload.images[0].0.duplicate), (first.blob, true));
        assert_eq!(accepted.upload.images[0].1.state, JobState::Queued);
        self.drain().await;
    }

    pub(super) async fn known_variants_complete_at_birth(&mut self) {
        let first = image(&["thumb", "soft"]);
        self.accept_image(first.clone()).await;
        let job = self.claim_one().await;
        let made = self.complete(&job).await;
        // All known: the job is born completed and nothing waits.
        let mut same = image(&["soft", "thumb"]);
        same.sha256 = first.sha256;
        let accepted = self.accept_image(same.clone()).await;
        assert_eq!((accepted.upload.state, accepted.surplus.as_slice()), (UploadState::Completed, [same.blob].as_slice()));
        let born = &accepted.upload.images[0].1;
        assert_eq!((born.state, born.attempt, born.finished_at, born.timing), (JobState::Completed, 0, Some(self.now), None));
        let results: Vec<_> = born.tasks.iter().map(|task| (task.state, task.result.clone(), task.timing)).collect();
        let completed = |made: &StoredVariant| (TaskState::Completed, Some(made.clone()), None);
        assert_eq!(results, [completed(&made[1]), completed(&made[0])]);
        self.nothing_waits().await;
        // One known, one not, one of another pipeline: the job has two tasks to do.
        let mut more = image(&["thumb", "large", "soft"]);
        more.sha256 = first.sha256;
        more.job.tasks[2].pipeline_version += 1;
        let accepted = self.accept_image(more.clone()).await;
        let states: Vec<_> = accepted.upload.images[0].1.tasks.iter().map(|task| task.state).collect();
        assert_eq!(states, [TaskState::Completed, TaskState::Queued, TaskState::Queued]);
        let job = self.claim_one().await;
        assert_eq!(job.tasks.iter().map(|task| task.id).collect::<Vec<_>>(), [more.job.tasks[1].id, more.job.tasks[2].id]);
        assert_eq!(job.blob, first.blob);
        self.complete(&job).await;
    }

    pub(super) async fn idempotency_keys_replay_or_conflict(&mut self) {
        let key = |fingerprint| Some(Idempotency { key: "key-1".into(), fingerprint });
        let mut first = self.upload_of(vec![image(&["thumb"])]);
        first.idempotency = key([1; 32]);
        self.accept(first.clone()).await;
        let mut again = self.upload_of(vec![image(&["thumb"]), image(&["thumb"])]);
        again.idempotency = key([1; 32]);
        let replayed = self.accept(again.clone()).await;
        assert!(replayed.replayed);
        assert_eq!(replayed.upload.id, first.id);
        assert_eq!(replayed.surplus, [again.images[0].blob, again.images[1].blob]);
        assert!(self.catalog.upload(again.id).await.expect("upload works").is_none(), "nothing new was recorded");
        let mut other = self.upload_of(vec![image(&["thumb"])]);
        other.idempotency = key([2; 32]);
        let refused = self.catalog.accept_upload(other.clone()).await;
        assert!(matches!(refused, Err(CatalogError::IdempotencyConflict)), "{refused:?}");
        self.recount().await;
        other.owner = "bob".into();
        assert!(!self.accept(other).await.replayed, "keys are each owner's own");
        self.drain().await;
    }
}
