//! The count of what waits; the check of an original beside the work at it.

use super::*;
use crate::{
    catalog::{Lease, NewImage, NewJob, NewTask, NewUpload, StoredVariant, TaskDone, TaskTiming, Together, sqlite::SqliteCatalog},
    clock::{RandomIds, SystemClock},
    compute,
    domain::{BlobId, ImageId, JobId, Priority, TaskCode, TaskId, UploadId},
    follow::Since,
    store::LocalStore,
};
use image_pipeline::{RunReport, VariantOutcome};

#[tokio::test]
async fn a_job_that_was_deleted_before_it_could_start_is_not_counted_again() {
    let folder = tempfile::tempdir().expect("temp folder");
    let catalog = Arc::new(SqliteCatalog::open(&folder.path().join("catalog.db")).await.expect("opens"));
    let queue = queue_on(&folder, Arc::clone(&catalog), 3);
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
        has_facts: false,
        queued_at: SystemClock.now(),
        priority: Priority::Normal,
        origin: None,
        tasks: Vec::new(),
    };
    queue.inner.give_back(&job).await;
    assert_eq!(queue.queued(), 3, "it does not wait");
    // Nor one of which the catalog cannot say so: its lease ends, and it is counted then.
    catalog.close().await;
    queue.inner.give_back(&job).await;
    assert_eq!(queue.queued(), 3);
}

fn queue_on(folder: &tempfile::TempDir, catalog: Arc<SqliteCatalog>, queued: u64) -> Queue {
    let options = compute::Options { workers: 1, budget_bytes: 1 << 20, max_waiting: 1, when_idle: None };
    let parts = Parts {
        catalog,
        store: Arc::new(LocalStore::open(folder.path().join("blobs")).expect("opens")),
        compute: Arc::new(Compute::start(options).expect("starts")),
        follow: Follow::default(),
        metrics: Arc::new(Metrics::new().expect("sets up")),
        traces: crate::telemetry::Traces::off(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        doubts: Doubts::default(),
    };
    let options = Options {
        owner: "test".to_owned(),
        lease: Duration::from_secs(60),
        job_deadline: Duration::from_secs(60),
        // The first is one too many.
        max_crashes: 0,
        limits: Limits::default(),
        watermarks: Arc::default(),
        max_queued_jobs: 10,
    };
    Queue::new(options, parts, queued)
}

#[tokio::test]
async fn jobs_that_are_given_up_as_nobody_renews_them_are_told_of() {
    let folder = tempfile::tempdir().expect("temp folder");
    let catalog = Arc::new(SqliteCatalog::open(&folder.path().join("catalog.db")).await.expect("opens"));
    let queue = queue_on(&folder, Arc::clone(&catalog), 0);
    let id = || RandomIds.new_id(SystemClock.now());
    let task = |name: &str| NewTask {
        id: TaskId::from_uuid(id()),
        name: name.parse().expect("a name"),
        options: "w:1".into(),
        spec: "w:1".into(),
        spec_digest: [name.len() as u8; 32],
        pipeline_version: 1,
        format: "png".into(),
    };
    let tasks = vec![task("a"), task("bb")];
    let job =
        NewJob { id: JobId::from_uuid(id()), priority: Priority::Normal, rank: 1, cost_bytes: 1, max_attempts: 3, origin: None, tasks };
    let image = NewImage {
        id: ImageId::from_uuid(id()),
        blob: BlobId::from_uuid(id()),
        sha256: [1; 32],
        bytes: 1,
        filename: None,
        format: "png".into(),
        width_px: 1,
        height_px: 1,
        metadata: Vec::new(),
        job: job.clone(),
    };
    let (of, upload) = (OfJob { job: job.id, image: image.id }, UploadId::from_uuid(id()));
    let received_at = SystemClock.now();
    let new = NewUpload {
        id: upload,
        owner: String::new(),
        received_at,
        expires_at: None,
        metadata: Vec::new(),
        rejected: Vec::new(),
        images: vec![image],
        idempotency: None,
    };
    catalog.accept_upload(new).await.expect("accepts");
    // Its worker made one of the two, died, and had died over it too often before.
    let claim = Claim {
        owner: "gone".into(),
        limit: 1,
        together: Together::NONE,
        budget_bytes: 1,
        whole_budget_bytes: 1,
        running: 0,
        now: SystemClock.now().before(Duration::from_secs(9)),
        lease: Duration::from_secs(1),
        tokens: vec![LeaseToken::from_uuid(id())],
    };
    let held = catalog.claim_jobs(claim).await.expect("claims").jobs.remove(0);
    let stored = StoredVariant {
        blob: BlobId::from_uuid(id()),
        bytes: 1,
        sha256: [2; 32],
        width_px: 1,
        height_px: 1,
        format: "png".into(),
        quality: None,
        frames: 1,
    };
    let done = TaskDone { task: held.tasks[0].id, at: received_at, outcome: Ok(stored), timing: TaskTiming::default(), job: None };
    catalog.finish_task(held.lease, done).await.expect("records");
    queue.inner.take_back_expired().await;
    let Since::Events { events, .. } = queue.inner.parts.follow.since(1, Some(upload), 9) else { panic!("nothing is lost") };
    let told: Vec<_> = events.iter().map(|told| &told.event.what).collect();
    match told.as_slice() {
        [What::JobEnded(job, JobState::Partial, Some(why)), What::UploadCompleted(UploadState::Partial)] => {
            assert_eq!((*job, why.code), (of, TaskCode::Internal));
        }
        other => panic!("{other:?}"),
    }
    queue.inner.take_back_expired().await;
    assert_eq!(queue.inner.parts.follow.next_place(), 3, "once");
}

#[tokio::test]
async fn nothing_is_published_of_an_original_before_it_was_seen_to_be_whole() {
    for workers in [1, 2] {
        let options = compute::Options { workers, budget_bytes: 1 << 20, max_waiting: 1, when_idle: None };
        let compute = Compute::start(options).expect("starts");
        for (source_bytes, whole) in [(1, true), (1, false), (8 << 20, true), (8 << 20, false)] {
            let core = compute.core().await;
            let work = move |stop: &compute::Stop| {
                let (checks, mut published) = (AtomicU64::new(0), 0);
                let is_intact = || {
                    // Were the work not to wait for it, it would be done before.
                    std::thread::sleep(Duration::from_millis(20));
                    checks.fetch_add(1, Ordering::SeqCst);
                    whole
                };
                let report =
                    making::beside_check(stop, source_bytes, &is_intact, &mut |_| published += checks.load(Ordering::SeqCst), |publish| {
                        let timing = Duration::ZERO;
                        let outcome = |index| VariantOutcome { index, result: Err(refusal()), transform: timing, encode: timing };
                        (0..3).map(outcome).for_each(publish);
                        Ok(RunReport { decode: timing, peak_bytes: 7, facts: None })
                    });
                (report.map(|report| report.expect("made").peak_bytes), published)
            };
            let wanted = if whole { (Some(7), 3) } else { (None, 0) };
            assert_eq!(compute.run(core, Duration::from_secs(60), Arc::default(), work).await.expect("runs"), wanted, "{source_bytes}");
        }
    }
}

/// Any error of the pipeline.
fn refusal() -> image_pipeline::Error {
    image_pipeline::probe(&mut std::io::Cursor::new(b"no picture"), &Limits::default()).expect_err("no picture")
}
