//! The contract's part on more work for images that are there: jobs of their own, names that are written once.
//!
//! Knows no back end, as all of the contract.

use super::*;

impl Suite<'_> {
    async fn add(&mut self, to: ImageId, job: NewJob) -> JobAdded {
        let added = self.catalog.add_job(to, job, self.now).await.expect("add_job works");
        self.recount().await;
        added
    }

    /// A job for these variants, made later than all before it.
    fn later(&mut self, variants: &[&str]) -> NewJob {
        self.now = self.now.after(Duration::from_millis(5));
        let mut job = image(variants).job;
        job.id = JobId::from_uuid(RandomIds.new_id(self.now));
        job
    }

    pub(super) async fn more_variants_of_an_image_are_a_job_of_their_own(&mut self) {
        let first = image(&["thumb"]);
        let mut twin = image(&["thumb", "large"]);
        twin.sha256 = first.sha256;
        let (upload, other) = (self.upload_of(vec![first.clone(), image(&["thumb"])]), self.upload_of(vec![twin]));
        self.accept(upload.clone()).await;
        self.accept(other).await;
        self.drain().await;
        // One of the two has been made of the same bytes.
        let job = self.later(&["soft", "large"]);
        let told = JobFinished { job: JobState::Queued, upload: UploadState::Processing };
        assert_eq!(self.add(first.id, job.clone()).await, JobAdded::Added { upload: upload.id, job: Some((job.id, told)) });
        let view = self.catalog.job(job.id).await.expect("job works").expect("is there");
        assert_eq!((view.state, view.image, view.upload, view.queued_at), (JobState::Queued, first.id, upload.id, self.now));
        let states = view.tasks.iter().map(|task| (task.name.clone(), task.state)).collect::<Vec<_>>();
        assert_eq!(states, [(name("soft"), TaskState::Queued), (name("large"), TaskState::Completed)]);
        let whole = self.catalog.upload(upload.id).await.expect("upload works").expect("is there");
        let jobs = whole.images.iter().map(|(image, job)| (image.id, job.id)).collect::<Vec<_>>();
        let wanted = [(first.id, first.job.id), (first.id, job.id), (upload.images[1].id, upload.images[1].job.id)];
        assert_eq!((whole.state, jobs.as_slice()), (UploadState::Processing, wanted.as_slice()), "with its image, after the first");
        let listed = self.catalog.images(Page { owner: "ada".into(), before: None, limit: 200 }).await.expect("images works");
        let (_, work) = listed.items.iter().find(|(image, _)| image.id == first.id).expect("is listed");
        assert_eq!(work.iter().map(|job| job.id).collect::<Vec<_>>(), [first.job.id, job.id]);
        let claimed = self.claim_one().await;
        assert_eq!((claimed.lease.job, claimed.blob, claimed.tasks.len()), (job.id, first.blob, 1));
        self.complete(&claimed).await;
        let found = self.catalog.variant(first.id, &name("soft")).await.expect("variant works").expect("is there");
        assert_eq!((found.job.id, found.task.state), (job.id, TaskState::Completed));
        // What has all been made is there at once.
        let made = self.later(&["large"]);
        let told = JobFinished { job: JobState::Completed, upload: UploadState::Completed };
        let last = upload.images[1].id;
        let mut same = image(&["thumb"]);
        same.sha256 = first.sha256;
        let third = self.upload_of(vec![same.clone()]);
        self.accept(third.clone()).await;
        assert_eq!(self.add(same.id, made.clone()).await, JobAdded::Added { upload: third.id, job: Some((made.id, told)) });
        self.nothing_waits().await;
        // It all goes with the image.
        let Ok(Deletion::Done(erased)) = self.catalog.delete_image(last, self.now).await else { panic!("is there") };
        let (gone, work) = &whole.images[2];
        self.note_erased(gone, work);
        self.catalog.purge_blobs(&erased.dead).await.expect("purge_blobs works");
        self.recount().await;
        assert_eq!(self.add(last, image(&["soft"]).job).await, JobAdded::Gone);
        assert_eq!(self.add(ImageId::from_uuid(uuid()), image(&["soft"]).job).await, JobAdded::Unknown);
    }

    pub(super) async fn names_are_written_once(&mut self) {
        let first = image(&["thumb", "soft"]);
        let accepted = self.accept_image(first.clone()).await;
        let upload = accepted.upload.id;
        // In whatever state: here it waits.
        let mut other = self.later(&["new", "thumb"]);
        other.tasks[1].spec_digest = [9; 32];
        assert_eq!(self.add(first.id, other).await, JobAdded::Taken(name("thumb")));
        assert!(self.catalog.variant(first.id, &name("new")).await.expect("variant works").is_none(), "all or nothing");
        let again = self.later(&["soft", "thumb"]);
        assert_eq!(self.add(first.id, again).await, JobAdded::Added { upload, job: None }, "the same again is no news");
        let more = self.later(&["thumb", "new"]);
        assert!(matches!(self.add(first.id, more.clone()).await, JobAdded::Added { job: Some(_), .. }));
        let view = self.catalog.job(more.id).await.expect("job works").expect("is there");
        assert_eq!(view.tasks.iter().map(|task| task.name.clone()).collect::<Vec<_>>(), [name("new")]);
        self.drain().await;
        let whole = self.catalog.upload(upload).await.expect("upload works").expect("is there");
        assert_eq!((whole.state, whole.images.len()), (UploadState::Completed, 2));
    }
}
