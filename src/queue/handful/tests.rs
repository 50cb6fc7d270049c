//! Small jobs on one core: they go well together, and what is wrong with one is wrong with it alone.

use std::collections::BTreeMap;

use image_pipeline::{Limits, PIPELINE_VERSION, Presets};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::{
    catalog::{Accepted, Catalog as _, NewImage, NewJob, NewTask, NewUpload, sqlite::SqliteCatalog},
    clock::{Clock as _, IdSource as _, RandomIds, SystemClock},
    compute::{self, Compute},
    domain::{ImageId, JobId, JobState, Priority, TaskCode, TaskId, UploadId},
    follow::{Event, Follow, Since, What},
    queue::{Options, Parts, Queue},
    store::{BlobStore as _, Doubts, LocalStore},
    telemetry::Metrics,
};

const WAIT: Duration = Duration::from_secs(60);

struct Bench {
    queue: Queue,
    catalog: Arc<SqliteCatalog>,
    store: Arc<LocalStore>,
    follow: Follow,
    _folder: tempfile::TempDir,
}

async fn bench() -> Bench {
    let folder = tempfile::tempdir().expect("temp folder");
    let catalog = Arc::new(SqliteCatalog::open(&folder.path().join("catalog.db")).await.expect("opens"));
    let store = Arc::new(LocalStore::open(folder.path().join("blobs")).expect("opens"));
    let options = compute::Options { workers: 1, budget_bytes: 256 << 20, max_waiting: 1, when_idle: None };
    let follow = Follow::default();
    let parts = Parts {
        catalog: catalog.clone(),
        store: store.clone(),
        compute: Arc::new(Compute::start(options).expect("starts")),
        follow: follow.clone(),
        metrics: Arc::new(Metrics::new().expect("sets up")),
        traces: crate::telemetry::Traces::off(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        doubts: Doubts::default(),
    };
    let options = Options {
        owner: "test".to_owned(),
        lease: WAIT,
        job_deadline: WAIT,
        max_crashes: 3,
        limits: Limits::default(),
        watermarks: Arc::default(),
        max_queued_jobs: 1_000,
    };
    Bench { queue: Queue::new(options, parts, 0), catalog, store, follow, _folder: folder }
}

fn id() -> Uuid {
    RandomIds.new_id(SystemClock.now())
}

fn png(n: u8) -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(4, 3, |x, y| image::Rgb([x as u8, y as u8, n]));
    image::DynamicImage::from(picture).write_to(&mut png, image::ImageFormat::Png).expect("writes");
    png.into_inner()
}

/// An upload of pictures with these names of variants each.
fn upload(files: &[(Vec<u8>, &[&str])]) -> NewUpload {
    let task = |name: &str| {
        let spec = Spec::parse(name, &Presets::builtin()).expect("parses");
        NewTask {
            id: TaskId::from_uuid(id()),
            name: name.replace(['/', ':'], "-").parse().expect("a name"),
            options: name.to_owned(),
            spec: spec.canonical(),
            spec_digest: spec.digest(),
            pipeline_version: PIPELINE_VERSION,
            format: "png".to_owned(),
        }
    };
    let image = |(rank, (bytes, names)): (usize, &(Vec<u8>, &[&str]))| NewImage {
        id: ImageId::from_uuid(id()),
        blob: BlobId::from_uuid(id()),
        sha256: Sha256::digest(bytes).into(),
        bytes: bytes.len() as u64,
        filename: None,
        format: "png".to_owned(),
        width_px: 4,
        height_px: 3,
        metadata: Vec::new(),
        job: NewJob {
            id: JobId::from_uuid(id()),
            priority: Priority::Normal,
            rank: rank as i64,
            cost_bytes: 1_200 << 10,
            max_attempts: 1,
            origin: None,
            tasks: names.iter().copied().map(task).collect(),
        },
    };
    NewUpload {
        id: UploadId::from_uuid(id()),
        owner: String::new(),
        received_at: SystemClock.now(),
        expires_at: None,
        metadata: Vec::new(),
        rejected: Vec::new(),
        images: files.iter().enumerate().map(image).collect(),
        idempotency: None,
    }
}

impl Bench {
    async fn accept(&self, files: &[(Vec<u8>, &[&str])]) -> Accepted {
        self.accept_as(upload(files), files).await
    }

    async fn accept_as(&self, upload: NewUpload, files: &[(Vec<u8>, &[&str])]) -> Accepted {
        for (image, (bytes, _)) in upload.images.iter().zip(files) {
            self.store.put(image.blob, Bytes::from(bytes.clone())).await.expect("puts");
        }
        self.catalog.accept_upload(upload).await.expect("accepts")
    }

    /// Has all claimed and done as one handful.
    async fn work(&self, jobs: u32) {
        let inner = &self.queue.inner;
        let claimed = inner.claim(1, Together { cost_bytes: SMALL_BYTES, jobs }).await.expect("claims").jobs;
        assert_eq!(claimed.len(), jobs as usize);
        let small = claimed.into_iter().map(|job| {
            let held = inner.leases.hold(job.lease, Arc::default());
            Small { bytes: inner.parts.compute.try_bytes(job.cost_bytes).expect("is free"), job, held }
        });
        let core = inner.parts.compute.core().await;
        Arc::clone(inner).work_on_handful(small.collect(), core).await;
        assert_eq!(inner.leases.count(), 0, "nothing is held any more");
        assert_eq!(inner.parts.compute.free_bytes(), inner.parts.compute.budget_bytes());
    }

    /// What was told, by kind.
    fn told(&self) -> BTreeMap<&'static str, usize> {
        let Since::Events { events, .. } = self.follow.since(1, None, 1_000) else { panic!("nothing is lost") };
        let mut told = BTreeMap::new();
        for Event { what, .. } in events.iter().map(|told| &told.event) {
            let kind = match what {
                What::JobStarted(..) => "started",
                What::TaskCompleted(..) => "task completed",
                What::TaskFailed(..) => "task failed",
                What::JobWorked(..) => "worked",
                What::JobEnded(..) => "ended",
                What::UploadCompleted(..) => "upload completed",
                _ => "other",
            };
            *told.entry(kind).or_default() += 1;
        }
        told
    }
}

#[tokio::test]
async fn all_end_together_with_their_results() {
    let bench = bench().await;
    let files: Vec<(Vec<u8>, &[&str])> =
        (0..20).map(|n| (png(n), if n % 2 == 0 { &["w:2/f:png"][..] } else { &["w:1/f:png", "w:3/f:png"] })).collect();
    let accepted = bench.accept(&files).await;
    let before = bench.catalog.commits();
    bench.work(20).await;
    assert_eq!(bench.catalog.commits() - before, 2, "one claim, one end");
    let upload = bench.catalog.upload(accepted.upload.id).await.expect("reads").expect("is there");
    for ((_, job), (_, names)) in upload.images.iter().zip(&files) {
        assert_eq!((job.state, job.attempt, job.tasks.len()), (JobState::Completed, 1, names.len()));
        for task in &job.tasks {
            let variant = bench.catalog.variant(job.image, &task.name).await.expect("reads").expect("is there");
            let stored = variant.task.result.expect("is stored");
            let bytes = bench.store.read(stored.blob).await.expect("reads");
            assert_eq!(<[u8; 32]>::from(Sha256::digest(&bytes)), stored.sha256);
        }
    }
    let told = bench.told();
    assert_eq!(told, BTreeMap::from([("started", 20), ("task completed", 30), ("worked", 20), ("upload completed", 1)]));
}

#[tokio::test]
async fn what_is_urgent_does_not_wait_for_the_others_of_its_handful() {
    let bench = bench().await;
    let files: Vec<(Vec<u8>, &[&str])> = (0..5).map(|n| (png(n), &["w:2/f:png"][..])).collect();
    let mut upload = upload(&files);
    upload.images[0].job.priority = Priority::High;
    let before = bench.catalog.commits();
    bench.accept_as(upload, &files).await;
    bench.work(5).await;
    assert_eq!(bench.catalog.commits() - before, 4, "taken in, claimed, the urgent one's end, that of the others");
    let Since::Events { events, .. } = bench.follow.since(1, None, 1_000) else { panic!("nothing is lost") };
    let ended = events.iter().filter_map(|told| match &told.event.what {
        What::JobWorked(of, ..) => Some(of.job),
        _ => None,
    });
    let ended: Vec<JobId> = ended.collect();
    let urgent = bench.catalog.job(ended[0]).await.expect("reads").expect("is there");
    assert_eq!((urgent.priority, ended.len()), (Priority::High, 5));
}

#[tokio::test]
async fn what_is_wrong_with_one_is_wrong_with_it_alone() {
    let bench = bench().await;
    let one: &[&str] = &["w:2/f:png"];
    let mut files: Vec<(Vec<u8>, &[&str])> = (0..6).map(|n| (png(n), one)).collect();
    // Not a picture; missing; other bytes than were stored; the very bytes of another.
    files[1].0 = b"\x89PNG\r\n\x1a\n and no more".to_vec();
    let accepted = bench.accept(&files).await;
    let images = &accepted.upload.images;
    bench.store.delete(images[2].0.blob).await.expect("deletes");
    bench.store.delete(images[3].0.blob).await.expect("deletes");
    bench.store.put(images[3].0.blob, Bytes::from(png(99))).await.expect("puts");
    bench.work(6).await;
    let upload = bench.catalog.upload(accepted.upload.id).await.expect("reads").expect("is there");
    let failed = |n: usize| {
        let job = &upload.images[n].1;
        (job.state, job.tasks[0].failure.as_ref().map(|failure| failure.code))
    };
    for n in [0, 4, 5] {
        assert_eq!(failed(n), (JobState::Completed, None), "{n}");
    }
    assert!(matches!(failed(1), (JobState::Failed, Some(TaskCode::MalformedImage | TaskCode::TruncatedImage))), "{:?}", failed(1));
    assert_eq!((failed(2), failed(3)), ((JobState::Failed, Some(TaskCode::Storage)), (JobState::Failed, Some(TaskCode::Storage))));
    let told = bench.told();
    assert_eq!((told["started"], told["upload completed"]), (6, 1), "{told:?}");
}

#[tokio::test]
async fn a_queue_of_small_jobs_is_worked_off_in_handfuls() {
    let bench = bench().await;
    let files: Vec<(Vec<u8>, &[&str])> = (0..100).map(|n| (png(n), &["w:2/f:png"][..])).collect();
    let accepted = bench.accept(&files).await;
    let before = bench.catalog.commits();
    bench.queue.accepted(&accepted);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(bench.queue.clone().run(stopped, WAIT));
    let mut changes = bench.follow.subscribe(accepted.upload.id);
    loop {
        let upload = bench.catalog.upload(accepted.upload.id).await.expect("reads").expect("is there");
        if upload.state.is_final() {
            let ends: BTreeMap<_, _> = upload.images.iter().map(|(_, job)| (job.state.as_str(), job.attempt)).collect();
            assert_eq!(ends, BTreeMap::from([("completed", 1)]));
            break;
        }
        tokio::time::timeout(WAIT, changes.change()).await.expect("goes on");
    }
    let commits = bench.catalog.commits() - before;
    assert!(commits < 100, "{commits} commits: each job was claimed and ended by itself");
    assert_eq!(bench.queue.queued(), 0);
    stop.send_replace(true);
    running.await.expect("ends");
}

#[tokio::test]
async fn what_a_stop_or_the_end_of_the_slice_leaves_is_not_begun() {
    let bench = bench().await;
    let inner = &bench.queue.inner;
    let accepted = bench.accept(&[(png(1), &["w:2/f:png"]), (png(2), &["w:2/f:png"])]).await;
    let claimed = inner.claim(1, Together { cost_bytes: SMALL_BYTES, jobs: 2 }).await.expect("claims").jobs;
    let mut works = Vec::new();
    for job in &claimed {
        let source = bench.store.read(job.blob).await.expect("reads");
        works.push((inner.work_of(job, source).expect("parses"), Arc::<AtomicBool>::default()));
    }
    let core = inner.parts.compute.core().await;
    let stopping = Arc::new(AtomicBool::new(true));
    let (made, _) = inner.parts.compute.run(core, WAIT, stopping, move |stop| make_all(&works, WAIT, stop)).await.expect("runs");
    assert_eq!(made.len(), 1);
    assert!(matches!(&made[0], (outcomes, Ok(Worked { report: Some(Ok(_)), .. })) if outcomes.len() == 1), "it has a flag of its own");
    // Given back it is as if it had not been claimed.
    let [_, left] = claimed.try_into().expect("two");
    let (job, held) = (left.lease.job, inner.leases.hold(left.lease, Arc::default()));
    inner.back(Small { bytes: inner.parts.compute.try_bytes(left.cost_bytes).expect("is free"), job: left, held }).await;
    let view = bench.catalog.job(job).await.expect("reads").expect("is there");
    assert_eq!((view.state, view.attempt, bench.queue.queued()), (JobState::Queued, 0, 1));
    assert!(accepted.upload.images.iter().any(|(_, begun)| begun.id == job));
}

#[test]
fn a_handful_is_what_fits_into_a_slice() {
    let pace = Pace::default();
    let jobs = |pace: &Pace| pace.together(0).jobs;
    assert_eq!(jobs(&pace), FEWEST);
    for _ in 0..10 {
        pace.note(jobs(&pace) as usize, jobs(&pace) as usize, SLICE / 4);
    }
    assert_eq!(jobs(&pace), MOST, "grows while there is time left");
    pace.note(1, 1, Duration::ZERO);
    pace.note(64, 64, SLICE);
    assert_eq!(jobs(&pace), MOST, "a single one says nothing, nor one that just fits");
    pace.note(64, 64, SLICE * 2);
    assert_eq!(jobs(&pace), MOST / 2);
    pace.note(32, 5, SLICE * 2);
    assert_eq!(jobs(&pace), 5, "as many as were begun");
    pace.note(5, 1, SLICE * 9);
    assert_eq!(jobs(&pace), FEWEST);
    assert_eq!(pace.together(MOST_HELD), Together { cost_bytes: SMALL_BYTES, jobs: 1 }, "enough is held");
}
