//! What the catalog costs: taking uploads in, alone and together; a claim from a short and from a long queue; the whole
//! way of a job through its rows. On a real file, so that syncs are what the disk makes of them.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pixmill::{
    catalog::{
        Catalog, Claim, JobDone, JobTiming, NewImage, NewJob, NewTask, NewUpload, Release, StoredVariant, TaskDone, TaskTiming, Together,
        sqlite::SqliteCatalog,
    },
    clock::{IdSource as _, RandomIds},
    domain::{BlobId, ImageId, JobId, LeaseToken, Priority, TaskId, Timestamp, UploadId},
};
use tokio::runtime::Runtime;
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn uuid() -> Uuid {
    RandomIds.new_id(NOW)
}

fn digest() -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(uuid().as_bytes());
    digest[16..].copy_from_slice(uuid().as_bytes());
    digest
}

fn image(rank: i64) -> NewImage {
    let task = NewTask {
        id: TaskId::from_uuid(uuid()),
        name: "thumb".parse().expect("a legal name"),
        options: "rs:fit:320:320".into(),
        spec: "resize:fit:320:320".into(),
        spec_digest: [7; 32],
        pipeline_version: 1,
        format: "jpeg".into(),
    };
    NewImage {
        id: ImageId::from_uuid(uuid()),
        blob: BlobId::from_uuid(uuid()),
        sha256: digest(),
        bytes: 4_000_000,
        filename: Some("cat.jpg".into()),
        format: "jpeg".into(),
        width_px: 4032,
        height_px: 3024,
        metadata: Vec::new(),
        job: NewJob {
            id: JobId::from_uuid(uuid()),
            priority: Priority::Normal,
            rank,
            cost_bytes: 1,
            max_attempts: 5,
            origin: None,
            tasks: vec![task],
        },
    }
}

fn upload(images: Vec<NewImage>) -> NewUpload {
    NewUpload {
        id: UploadId::from_uuid(uuid()),
        owner: String::new(),
        received_at: NOW,
        expires_at: None,
        metadata: Vec::new(),
        rejected: Vec::new(),
        images,
        idempotency: None,
    }
}

fn claim() -> Claim {
    Claim {
        owner: "bench".into(),
        limit: 1,
        together: Together::NONE,
        budget_bytes: u64::MAX,
        whole_budget_bytes: u64::MAX,
        running: 0,
        now: NOW,
        lease: Duration::from_secs(600),
        tokens: vec![LeaseToken::from_uuid(uuid())],
    }
}

/// Accepted, claimed, its task and the job finished. Some job: with many callers not always one's own.
async fn cycle(catalog: &SqliteCatalog) {
    catalog.accept_upload(upload(vec![image(0)])).await.expect("accepts");
    let job = catalog.claim_jobs(claim()).await.expect("claims").jobs.pop().expect("one is waiting for every caller");
    let stored = StoredVariant {
        blob: BlobId::from_uuid(uuid()),
        bytes: 20_000,
        sha256: digest(),
        width_px: 320,
        height_px: 240,
        frames: 1,
        format: "jpeg".into(),
        quality: Some(80),
    };
    let done = TaskDone { task: job.tasks[0].id, at: NOW, outcome: Ok(stored), timing: TaskTiming::default(), job: None };
    catalog.finish_task(job.lease, done).await.expect("finishes the task");
    let done = JobDone { at: NOW, timing: JobTiming::default(), peak_bytes: 1, facts: None };
    black_box(catalog.finish_job(job.lease, done).await.expect("finishes the job"));
}

struct Bench {
    runtime: Runtime,
    catalog: Arc<SqliteCatalog>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let folder = tempfile::tempdir().expect("a temp folder");
        let catalog = runtime.block_on(SqliteCatalog::open(&folder.path().join("catalog.db"))).expect("opens");
        Self { runtime, catalog: Arc::new(catalog), _folder: folder }
    }

    /// Runs `work` `times` times, at most `callers` at once.
    fn together<F>(&self, callers: u64, times: u64, work: fn(Arc<SqliteCatalog>) -> F) -> Duration
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let start = Instant::now();
        self.runtime.block_on(async {
            let callers: Vec<_> = (0..callers)
                .map(|caller| {
                    let (catalog, share) = (Arc::clone(&self.catalog), (times + caller) / callers);
                    tokio::spawn(async move {
                        for _ in 0..share {
                            work(Arc::clone(&catalog)).await;
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.await.expect("runs");
            }
        });
        start.elapsed()
    }
}

fn accept_uploads(c: &mut Criterion) {
    let mut group = c.benchmark_group("accept_upload");
    group.throughput(Throughput::Elements(1));
    for callers in [1, 64] {
        let bench = Bench::new();
        group.bench_function(format!("{callers}_callers"), |b| {
            b.iter_custom(|times| {
                bench.together(callers, times, |catalog| async move {
                    black_box(catalog.accept_upload(upload(vec![image(0)])).await.expect("accepts"));
                })
            });
        });
    }
    group.finish();
}

fn claims(c: &mut Criterion) {
    let mut group = c.benchmark_group("claim_jobs");
    group.throughput(Throughput::Elements(1));
    for queued in [100_i64, 100_000] {
        let bench = Bench::new();
        for first in (0..queued).step_by(1_000) {
            let images = (first..queued.min(first + 1_000)).map(image).collect();
            bench.runtime.block_on(bench.catalog.accept_upload(upload(images))).expect("accepts");
        }
        group.bench_function(format!("{queued}_queued"), |b| {
            b.iter_custom(|times| {
                let mut taken = Duration::ZERO;
                for _ in 0..times {
                    bench.runtime.block_on(async {
                        let start = Instant::now();
                        let claimed = bench.catalog.claim_jobs(claim()).await.expect("claims");
                        taken += start.elapsed();
                        let release = Release { at: NOW, due: NOW, failure: None };
                        bench.catalog.release_job(claimed.jobs[0].lease, release).await.expect("gives it back");
                    });
                }
                taken
            });
        });
    }
    group.finish();
}

fn cycles(c: &mut Criterion) {
    let mut group = c.benchmark_group("accept_claim_finish");
    group.throughput(Throughput::Elements(1));
    for callers in [1, 64] {
        let bench = Bench::new();
        group.bench_function(format!("{callers}_callers"), |b| {
            b.iter_custom(|times| bench.together(callers, times, |catalog| async move { cycle(&catalog).await }));
        });
    }
    group.finish();
}

criterion_group!(benches, accept_uploads, claims, cycles);
criterion_main!(benches);
