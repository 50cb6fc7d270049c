//! The contract's part on lists: order, parts, owners, states.
//!
//! Knows no back end, as all of the contract.

use super::*;

fn page<I>(owner: &str, before: Option<I>, limit: u32) -> Page<I> {
    Page { owner: owner.into(), before, limit }
}

impl Suite<'_> {
    /// All uploads of an owner in parts of `limit`.
    async fn walk_uploads(&self, owner: &str, limit: u32) -> Vec<UploadId> {
        let (mut walked, mut before) = (Vec::new(), None);
        loop {
            let part = self.catalog.uploads(page(owner, before, limit)).await.expect("uploads works");
            assert!(part.items.len() <= usize::try_from(limit).expect("small"));
            assert!(part.next.is_none() || part.next == part.items.last().map(|last| last.id), "the last id is the cursor");
            walked.extend(part.items.iter().map(|upload| upload.id));
            let Some(next) = part.next else { return walked };
            before = Some(next);
        }
    }

    pub(super) async fn lists_are_walked_newest_first(&mut self) {
        let mut wanted = self.uploads.clone();
        wanted.sort();
        wanted.reverse();
        let bobs = wanted.len() - self.walk_uploads("ada", 200).await.len();
        assert_eq!(bobs, 1, "all of the suite's uploads but one are Ada's");
        for limit in [1, 2, 7, 200] {
            let walked = self.walk_uploads("ada", limit).await;
            assert!(walked.iter().all(|id| wanted.contains(id)) && walked.is_sorted_by(|a, b| a > b), "{limit}: newest first, each once");
            assert_eq!(walked.len() + bobs, wanted.len(), "{limit}");
        }
        // What is listed is what is shown alone.
        let part = self.catalog.uploads(page("ada", None, 5)).await.expect("uploads works");
        for upload in &part.items {
            let alone = self.catalog.upload(upload.id).await.expect("upload works");
            assert_eq!(format!("{alone:?}"), format!("{:?}", Some(upload)));
        }
        let part = self.catalog.images(page("ada", None, 200)).await.expect("images works");
        assert!(part.items.is_sorted_by(|a, b| a.0.id > b.0.id));
        for (image, jobs) in part.items.iter().take(5) {
            let job = &jobs[0];
            assert_eq!(format!("{:?}", self.catalog.image(image.id).await.expect("image works")), format!("{:?}", Some(image)));
            assert_eq!(format!("{:?}", self.catalog.job(job.id).await.expect("job works")), format!("{:?}", Some(job)));
            assert_eq!(job.image, image.id);
        }
        let (mut images, mut before) = (Vec::new(), None);
        loop {
            let part = self.catalog.images(page("ada", before, 3)).await.expect("images works");
            images.extend(part.items.iter().map(|(image, _)| image.id));
            before = part.next;
            if before.is_none() {
                break;
            }
        }
        let all: Vec<_> = part.items.iter().map(|(image, _)| image.id).collect();
        assert_eq!(images[..all.len()], all, "parts of three and of two hundred tell the same");
        // A place in the list need not be of anything there is.
        let nowhere = self.catalog.uploads(page("ada", Some(UploadId::from_uuid(Uuid::nil())), 5)).await.expect("uploads works");
        assert!(nowhere.items.is_empty() && nowhere.next.is_none());
    }

    pub(super) async fn lists_are_each_owners_own_and_by_state(&mut self) {
        let mut upload = self.upload_of(vec![image(&["thumb", "soft"]), image(&["thumb"]), image(&["thumb"])]);
        upload.owner = "eve".into();
        self.accept(upload.clone()).await;
        assert_eq!(self.walk_uploads("eve", 1).await, [upload.id]);
        assert!(self.walk_uploads("nobody", 1).await.is_empty());
        let of_state = async |state| -> Vec<JobId> {
            let part = self.catalog.jobs(page("eve", None, 200), state).await.expect("jobs works");
            assert!(part.next.is_none() && part.items.is_sorted_by(|a, b| a.id > b.id));
            assert!(part.items.iter().all(|job| state.is_none_or(|state| job.state == state) && !job.tasks.is_empty()));
            part.items.iter().map(|job| job.id).collect()
        };
        assert_eq!(of_state(None).await.len(), 3);
        assert_eq!(of_state(Some(JobState::Queued)).await.len(), 3);
        let held = self.catalog.claim_jobs(self.asking(1)).await.expect("claim_jobs works").jobs.remove(0);
        assert_eq!(of_state(Some(JobState::Running)).await, [held.lease.job]);
        assert_eq!(of_state(Some(JobState::Queued)).await.len(), 2);
        let first = self.catalog.jobs(page("eve", None, 1), Some(JobState::Queued)).await.expect("jobs works");
        let second = self.catalog.jobs(page("eve", first.next, 1), Some(JobState::Queued)).await.expect("jobs works");
        assert!(first.items[0].id > second.items[0].id && second.next.is_none(), "a cursor works within a state");
        assert!(of_state(Some(JobState::Failed)).await.is_empty());
        self.complete(&held).await;
        self.drain().await;
        assert_eq!(of_state(Some(JobState::Completed)).await.len(), 3);
        assert_eq!(self.catalog.images(page("eve", None, 200)).await.expect("images works").items.len(), 3);
    }
}
