//! What is begun before it is recorded: taken over by whoever claims the job, told to nobody before, and gone where nothing comes of it.

use std::{io::Write as _, time::Duration};

use image_pipeline::{Limits, PIPELINE_VERSION, Presets};
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::{
    catalog::{Catalog, NewJob, NewTask, NewUpload, sqlite::SqliteCatalog},
    clock::{Clock as _, RandomIds, SystemClock},
    compute::{self, Compute},
    domain::{BlobId, ImageId, Priority, UploadId, VariantName},
    follow::Follow,
    queue::{Options, Parts},
    store::{BlobStore, Doubts, LocalStore, StagingDir},
    telemetry::Metrics,
};

const WAIT: Duration = Duration::from_secs(60);

struct Bench {
    queue: Queue,
    catalog: Arc<SqliteCatalog>,
    store: Arc<LocalStore>,
    staging: StagingDir,
    _folder: tempfile::TempDir,
}

async fn bench(waiting: u64) -> Bench {
    let folder = tempfile::tempdir().expect("temp folder");
    let catalog = Arc::new(SqliteCatalog::open(&folder.path().join("catalog.db")).await.expect("opens"));
    let store = Arc::new(LocalStore::open(folder.path().join("blobs")).expect("opens"));
    let (staging, _) = StagingDir::open(folder.path().join("staging")).expect("opens");
    let options = compute::Options { workers: 2, budget_bytes: 64 << 20, max_waiting: 1, when_idle: None };
    let parts = Parts {
        catalog: catalog.clone(),
        store: store.clone(),
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
        lease: WAIT,
        job_deadline: WAIT,
        max_crashes: 3,
        limits: Limits::default(),
        watermarks: Arc::default(),
        max_queued_jobs: 10,
    };
    Bench { queue: Queue::new(options, parts, waiting), catalog, store, staging, _folder: folder }
}

/// A picture as it is when its request has ended, and what will be recorded of it.
fn taken_in(bench: &Bench, n: u128) -> (NewImage, Staged) {
    let mut png = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8, y as u8, n as u8]));
    image::DynamicImage::from(picture).write_to(&mut png, image::ImageFormat::Png).expect("writes");
    let png = png.into_inner();
    let (mut file, path) = bench.staging.create().expect("creates");
    file.write_all(&png).expect("writes");
    let spec = Spec::parse("w:16/f:png", &Presets::builtin()).expect("parses");
    let id = |kind: u128| Uuid::from_u128(kind << 64 | n);
    let image = NewImage {
        id: ImageId::from_uuid(id(1)),
        blob: BlobId::from_uuid(id(2)),
        sha256: <sha2::Sha256 as sha2::Digest>::digest(&png).into(),
        bytes: png.len() as u64,
        filename: None,
        format: "png".to_owned(),
        width_px: 64,
        height_px: 48,
        metadata: Vec::new(),
        job: NewJob {
            id: JobId::from_uuid(id(3)),
            priority: Priority::Normal,
            rank: 0,
            cost_bytes: 4 << 20,
            max_attempts: 3,
            origin: None,
            tasks: vec![NewTask {
                id: TaskId::from_uuid(id(4)),
                name: "thumb".parse::<VariantName>().expect("a name"),
                options: "w:16/f:png".to_owned(),
                spec: spec.canonical(),
                spec_digest: spec.digest(),
                pipeline_version: PIPELINE_VERSION,
                format: "png".to_owned(),
            }],
        },
    };
    (image, bench.staging.staged(path, png.len() as u64))
}

fn upload(n: u128, image: NewImage) -> NewUpload {
    NewUpload {
        id: UploadId::from_uuid(Uuid::from_u128(n)),
        owner: String::new(),
        received_at: SystemClock.now(),
        expires_at: None,
        metadata: Vec::new(),
        rejected: Vec::new(),
        images: vec![image],
        idempotency: None,
    }
}

/// Looks again and again; what never comes is a failure.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let looking = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(WAIT, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

impl Bench {
    fn has_ended(&self, job: JobId) -> bool {
        self.queue.inner.ahead.lock().get(&job).is_some_and(|begun| begun.done.is_finished())
    }

    fn free_cores(&self) -> u64 {
        self.queue.inner.parts.compute.free_cores()
    }

    /// Works until the job has ended.
    async fn work_off(&self, job: JobId) -> crate::catalog::JobView {
        let (stop, stopping) = watch::channel(false);
        let working = tokio::spawn(self.queue.clone().run(stopping, WAIT));
        let looking = async {
            loop {
                match self.catalog.job(job).await.expect("answers") {
                    Some(view) if view.state.is_final() => return view,
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let view = tokio::time::timeout(WAIT, looking).await.expect("ends");
        stop.send_replace(true);
        working.await.expect("no panic");
        view
    }
}

#[tokio::test]
async fn who_claims_the_job_takes_over_what_was_begun() {
    let bench = bench(0).await;
    let (image, staged) = taken_in(&bench, 1);
    let (job, blob) = (image.job.id, image.blob);
    bench.queue.coming(&image, &staged);
    until("the work ends", || bench.has_ended(job)).await;
    assert_eq!(bench.store.list().await.expect("lists"), [], "nothing is stored of an upload that was not recorded");
    bench.store.persist(blob, staged).await.expect("persists");
    let accepted = bench.catalog.accept_upload(upload(1, image)).await.expect("is recorded");
    bench.queue.accepted(&accepted);
    // The original is not read again, or the job would fail.
    bench.store.delete(blob).await.expect("deletes");
    let view = bench.work_off(job).await;
    assert_eq!((view.state, view.attempt), (JobState::Completed, 1));
    let timing = view.timing.expect("timings");
    assert!(timing.queue.is_zero() && timing.read > Duration::ZERO && timing.total >= timing.cpu + timing.read, "{timing:?}");
    let result = view.tasks[0].result.clone().expect("a result");
    let png = bench.store.read(result.blob).await.expect("is stored");
    assert_eq!(image::load_from_memory(&png).expect("a picture").width(), 16);
    assert_eq!((bench.free_cores(), bench.queue.queued()), (2, 0));
}

#[tokio::test]
async fn what_does_not_come_is_cancelled_and_forgotten() {
    let bench = bench(0).await;
    let (image, staged) = taken_in(&bench, 1);
    bench.queue.coming(&image, &staged);
    let flag = bench.queue.inner.ahead.lock()[&image.job.id].cancel.0.clone().expect("not taken");
    bench.queue.not_coming(&[image.job.id]);
    assert!(flag.load(Ordering::Relaxed));
    assert!(!bench.queue.inner.has_begun(image.job.id));
    until("cores and memory are free again", || bench.free_cores() == 2 && bench.queue.inner.parts.compute.free_bytes() == 64 << 20).await;
}

#[tokio::test]
async fn nothing_is_begun_where_others_wait_or_the_pool_is_busy() {
    let waiting = bench(1).await;
    let (image, staged) = taken_in(&waiting, 1);
    waiting.queue.coming(&image, &staged);
    assert!(!waiting.queue.inner.has_begun(image.job.id), "a job waits");

    let busy = bench(0).await;
    let compute = &busy.queue.inner.parts.compute;
    let cores = [compute.core().await, compute.core().await];
    let (image, staged) = taken_in(&busy, 1);
    busy.queue.coming(&image, &staged);
    assert!(!busy.queue.inner.has_begun(image.job.id), "no core is free");
    drop(cores);
    let bytes = compute.bytes(62 << 20).await;
    busy.queue.coming(&image, &staged);
    assert!(!busy.queue.inner.has_begun(image.job.id), "no memory is free");
    drop(bytes);
    // Whatever is begun and not claimed counts, done or not.
    for n in 2..4 {
        let (image, staged) = taken_in(&busy, n);
        busy.queue.coming(&image, &staged);
        until("the work ends", || busy.has_ended(image.job.id)).await;
    }
    busy.queue.coming(&image, &staged);
    assert!(!busy.queue.inner.has_begun(image.job.id), "as many are kept as there are cores");
}

#[tokio::test]
async fn a_job_that_asks_for_something_else_begins_afresh() {
    let bench = bench(0).await;
    let (mut image, staged) = taken_in(&bench, 1);
    let job = image.job.id;
    bench.queue.coming(&image, &staged);
    bench.store.persist(image.blob, staged).await.expect("persists");
    image.job.tasks[0].id = TaskId::from_uuid(Uuid::from_u128(99));
    let accepted = bench.catalog.accept_upload(upload(1, image)).await.expect("is recorded");
    bench.queue.accepted(&accepted);
    let view = bench.work_off(job).await;
    assert_eq!((view.state, view.attempt), (JobState::Completed, 1));
    assert!(!bench.queue.inner.has_begun(job));
}

#[tokio::test]
async fn what_cannot_be_read_ahead_is_read_where_it_is_stored() {
    let bench = bench(0).await;
    let (image, staged) = taken_in(&bench, 1);
    let job = image.job.id;
    let bytes = std::fs::read(&staged.path).expect("reads");
    std::fs::remove_file(&staged.path).expect("removes");
    bench.queue.coming(&image, &staged);
    // It gives its core back by itself: whoever claims the job needs one for that.
    until("the attempt ends and is forgotten", || !bench.queue.inner.has_begun(job) && bench.free_cores() == 2).await;
    bench.store.put(image.blob, bytes.into()).await.expect("stores");
    let accepted = bench.catalog.accept_upload(upload(1, image)).await.expect("is recorded");
    bench.queue.accepted(&accepted);
    let view = bench.work_off(job).await;
    assert_eq!((view.state, view.attempt), (JobState::Completed, 1), "the attempt ahead does not count");
}

#[tokio::test]
async fn what_was_deleted_before_it_was_claimed_is_forgotten() {
    let bench = bench(0).await;
    let (image, staged) = taken_in(&bench, 1);
    let job = image.job.id;
    bench.queue.coming(&image, &staged);
    bench.store.persist(image.blob, staged).await.expect("persists");
    let accepted = bench.catalog.accept_upload(upload(1, image)).await.expect("is recorded");
    bench.queue.accepted(&accepted);
    let crate::catalog::Deletion::Done(erased) = bench.catalog.delete_upload(accepted.upload.id, SystemClock.now()).await.expect("answers")
    else {
        panic!("it was there");
    };
    bench.queue.erased(&erased);
    let (stop, stopping) = watch::channel(false);
    let working = tokio::spawn(bench.queue.clone().run(stopping, WAIT));
    until("it is forgotten", || !bench.queue.inner.has_begun(job)).await;
    stop.send_replace(true);
    working.await.expect("no panic");
}
