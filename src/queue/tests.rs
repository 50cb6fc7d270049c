//! The count of what waits.

use super::*;
use crate::{
    catalog::{Lease, sqlite::SqliteCatalog},
    clock::{RandomIds, SystemClock},
    compute,
    domain::{BlobId, ImageId, JobId, UploadId},
    store::LocalStore,
};

#[tokio::test]
async fn a_job_that_was_deleted_before_it_could_start_is_not_counted_again() {
    let folder = tempfile::tempdir().expect("temp folder");
    let catalog = Arc::new(SqliteCatalog::open(&folder.path().join("catalog.db")).await.expect("opens"));
    let options = compute::Options { workers: 1, budget_bytes: 1 << 20, max_waiting: 1 };
    let parts = Parts {
        catalog: catalog.clone(),
        store: Arc::new(LocalStore::open(folder.path().join("blobs")).expect("opens")),
        compute: Arc::new(Compute::start(options).expect("starts")),
        follow: Follow::default(),
        metrics: Arc::new(Metrics::new().expect("sets up")),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        doubts: Doubts::default(),
    };
    let options = Options {
        owner: "test".to_owned(),
        lease: Duration::from_secs(60),
        job_deadline: Duration::from_secs(60),
        max_crashes: 3,
        limits: Limits::default(),
        max_queued_jobs: 10,
    };
    let queue = Queue::new(options, parts, 3);
    let id = |n| uuid::Uuid::from_u128(n);
    let job = ClaimedJob {
        lease: Lease { job: JobId::from_uuid(id(1)), token: LeaseToken::from_uuid(id(2)) },
        upload: UploadId::from_uuid(id(3)),
        image: ImageId::from_uuid(id(4)),
        blob: BlobId::from_uuid(id(5)),
        bytes: 1,
        sha256: [0; 32],
        cost_bytes: 1,
        attempt: 1,
        max_attempts: 3,
        crashes: 0,
        suspect: false,
        queued_at: SystemClock.now(),
        tasks: Vec::new(),
    };
    queue.inner.give_back(&job).await;
    assert_eq!(queue.queued(), 3, "it does not wait");
    // Nor one of which the catalog cannot say so: its lease ends, and it is counted then.
    catalog.close().await;
    queue.inner.give_back(&job).await;
    assert_eq!(queue.queued(), 3);
}
