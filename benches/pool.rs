//! Where should CPU work run? The same image work inline on the async threads, in unbounded `spawn_blocking`, and in
//! [`Compute`], with the latency of other requests on the same runtime beside it.
//!
//! One round is [`PIECES`] pieces of work handed in at once, as a burst of uploads would. Meanwhile a client on a thread of its own
//! asks an echo task on the same runtime over a loopback connection, one question every [`PACE`]. A question counts from the moment
//! it was due, not from when it was sent, so that a stall is charged to every question it held up. criterion reports the
//! throughput; the table after it has the latencies. The last table is what lending idle cores comes to: one job with eight variants alone,
//! and as many at once as keep every core busy, each with and without. Runs in a minute.

use std::{
    hint::black_box,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use image_pipeline::{Context, Limits, Presets, Spare, Spec, plan, probe, run};
use pixmill::compute::{BytesPermit, Compute, Options, Stop};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Runtime,
    task::JoinSet,
};

/// Pieces of work in one round.
const PIECES: usize = 32;
/// Between two questions.
const PACE: Duration = Duration::from_millis(2);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// What one piece makes of the photo.
const OPTIONS: &str = "rs:fit:640:640/sh:0.8/f:jpg/q:80";

/// What a job with several variants makes of it.
const EIGHT: [&str; 8] = [
    "rs:fit:1280:1280/f:webp",
    "rs:fit:1280:1280/f:jpg",
    "rs:fit:960:960/f:webp",
    "rs:fit:800:800/f:jpg",
    "rs:fit:640:640/f:webp",
    "rs:fit:640:640/bl:2/gray:1/f:jpg",
    "rs:fit:320:320/f:jpg",
    "rs:fill:160:160/f:jpg",
];
/// Jobs with several variants that come at once.
const JOBS: usize = 12;
/// How often each way is measured, in turns.
const TURNS: usize = 7;

/// What the pool lends, as the service passes it on.
#[derive(Debug)]
struct Lent<'a>(&'a Stop, Mutex<Vec<BytesPermit>>);

impl Spare for Lent<'_> {
    fn share(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        self.0.share(count, work);
    }

    fn lend_bytes(&self, bytes: u64) -> bool {
        let permit = self.0.more_bytes(bytes);
        let is_lent = permit.is_some();
        self.1.lock().expect("no panic").extend(permit);
        is_lent
    }
}

/// Where the work runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the task itself, on the thread that serves connections.
    Inline,
    /// On tokio's blocking pool, as many threads as there are pieces.
    SpawnBlocking,
    /// In the service's own pool.
    Compute,
}

impl Place {
    const ALL: [Self; 3] = [Self::Inline, Self::SpawnBlocking, Self::Compute];

    const fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::SpawnBlocking => "spawn_blocking",
            Self::Compute => "compute",
        }
    }
}

/// What was seen of one place.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<Duration>,
    pieces: usize,
    busy: Duration,
}

/// Everything the rounds share.
struct Bench {
    runtime: Runtime,
    echo: SocketAddr,
    compute: Arc<Compute>,
    photo: Arc<[u8]>,
    spec: Spec,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let echo = runtime.block_on(serve_echo());
        let workers = u32::try_from(thread::available_parallelism().map_or(1, usize::from)).expect("few cores");
        let compute = Compute::start(Options { workers, budget_bytes: 1 << 30, max_waiting: 64, when_idle: None }).expect("threads start");
        let spec = Spec::parse(OPTIONS, &Presets::builtin()).expect("valid options");
        Self { runtime, echo, compute: Arc::new(compute), photo: photo().into(), spec }
    }

    /// One piece of work: header to encoded result.
    fn piece(&self) -> impl FnOnce() -> usize + Send + 'static {
        let (photo, spec) = (Arc::clone(&self.photo), self.spec.clone());
        move || {
            let limits = Limits::default();
            let found = probe(&mut std::io::Cursor::new(&photo[..]), &limits).expect("a photo");
            let planned = plan(&found, &[spec], &limits).expect("within limits");
            let (cancel, mut bytes) = (AtomicBool::new(false), 0);
            let context = Context { deadline: None, cancel: &cancel, spare: None };
            run(&planned, &photo, &context, &mut |outcome| bytes += outcome.result.expect("a variant").bytes.len()).expect("it decodes");
            bytes
        }
    }

    /// Hands in one round and waits for its end.
    fn round(&self, place: Place) {
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..PIECES {
                let piece = self.piece();
                match place {
                    Place::Inline => {
                        tasks.spawn(async move { black_box(piece()) });
                    }
                    Place::SpawnBlocking => {
                        tasks.spawn_blocking(move || black_box(piece()));
                    }
                    Place::Compute => {
                        let compute = Arc::clone(&self.compute);
                        tasks.spawn(async move {
                            let core = compute.core().await;
                            let done = compute.run(core, PATIENCE, Arc::default(), |_| piece()).await;
                            black_box(done.expect("it runs"))
                        });
                    }
                }
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("no panic");
            }
        });
    }

    /// The time `rounds` rounds took; latencies meanwhile go into `seen`.
    fn measure(&self, place: Place, rounds: u64, seen: &mut Seen) -> Duration {
        let over = OnceLock::new();
        thread::scope(|scope| {
            let asking = scope.spawn(|| ask(self.echo, &over));
            let begun = Instant::now();
            for _ in 0..rounds {
                self.round(place);
            }
            let took = begun.elapsed();
            over.get_or_init(Instant::now);
            seen.latencies.extend(asking.join().expect("the client lives"));
            seen.pieces += PIECES * usize::try_from(rounds).expect("few rounds");
            seen.busy += took;
            took
        })
    }

    /// Seconds for so many jobs with eight variants, handed in at once.
    fn jobs(&self, jobs: usize, lending: bool) -> f64 {
        let specs: Arc<[Spec]> = EIGHT.iter().map(|text| Spec::parse(text, &Presets::builtin()).expect("valid options")).collect();
        let begun = Instant::now();
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..jobs {
                let (compute, photo, specs) = (Arc::clone(&self.compute), Arc::clone(&self.photo), Arc::clone(&specs));
                tasks.spawn(async move {
                    let core = compute.core().await;
                    let work = move |stop: &Stop| {
                        let limits = Limits::default();
                        let found = probe(&mut std::io::Cursor::new(&photo[..]), &limits).expect("a photo");
                        let planned = plan(&found, &specs, &limits).expect("within limits");
                        let (lent, mut made) = (Lent(stop, Mutex::default()), 0);
                        let spare: Option<&dyn Spare> = if lending { Some(&lent) } else { None };
                        let context = Context { deadline: None, cancel: &stop.cancel, spare };
                        run(&planned, &photo, &context, &mut |outcome| made += outcome.result.map_or(0, |_| 1)).expect("it decodes");
                        assert_eq!(made, EIGHT.len());
                    };
                    compute.run(core, PATIENCE, Arc::default(), work).await.expect("it runs");
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("no panic");
            }
        });
        begun.elapsed().as_secs_f64()
    }

    /// One job alone and many at once, with and without what the pool lends: medians.
    fn lending(&self) {
        println!("{:<34}{:>12}{:>12}{:>8}", "jobs of eight variants, seconds", "not lending", "lending", "ratio");
        for jobs in [1, JOBS] {
            let mut took = [Vec::new(), Vec::new()];
            for _ in 0..TURNS {
                for lending in [false, true] {
                    took[usize::from(lending)].push(self.jobs(jobs, lending));
                }
            }
            let [without, with] = took.map(|mut all| {
                all.sort_unstable_by(f64::total_cmp);
                all[TURNS / 2]
            });
            println!("{:<34}{without:>12.3}{with:>12.3}{:>8.2}", format!("{jobs} at once"), with / without);
        }
    }

    /// Latencies with nothing else to do.
    fn idle(&self) -> Seen {
        let over = OnceLock::new();
        let latencies = thread::scope(|scope| {
            let asking = scope.spawn(|| ask(self.echo, &over));
            thread::sleep(Duration::from_secs(2));
            over.get_or_init(Instant::now);
            asking.join().expect("the client lives")
        });
        Seen { latencies, ..Seen::default() }
    }
}

/// A photo-like JPEG of two megapixels: smooth shapes with some noise, so that every block costs some decoding.
fn photo() -> Vec<u8> {
    let mut noise = 1_u32;
    let picture = image::RgbImage::from_fn(1600, 1200, |x, y| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = noise >> 28;
        let wave = |scale: f32| ((x as f32 / scale).sin() * (y as f32 / scale).cos() * 100.0 + 128.0) as u32;
        image::Rgb([wave(90.0), wave(140.0), wave(35.0)].map(|v| u8::try_from((v + grain).min(255)).expect("at most 255")))
    });
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Jpeg).expect("a JPEG is made");
    file.into_inner()
}

/// Answers each byte with itself: the smallest request the runtime can serve.
async fn serve_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true).expect("a TCP stream");
                while let Ok(byte) = stream.read_u8().await {
                    if stream.write_u8(byte).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Asks every question that is due before `over`, late ones too; how long each answer took from the moment its question was due.
fn ask(echo: SocketAddr, over: &OnceLock<Instant>) -> Vec<Duration> {
    let mut stream = TcpStream::connect(echo).expect("the echo task listens");
    stream.set_nodelay(true).expect("a TCP stream");
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP stream");
    let (mut latencies, mut due) = (Vec::new(), Instant::now());
    while over.get().is_none_or(|end| due < *end) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(&[7]).expect("connected");
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        latencies.push(due.elapsed());
        due += PACE;
    }
    latencies
}

/// The value below which `share` of the sorted values lie.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0)
}

fn row(name: &str, seen: &mut Seen) {
    seen.latencies.sort_unstable();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| quantile(&seen.latencies, share));
    let rate = if seen.pieces == 0 { "-".to_owned() } else { format!("{:.1}", seen.pieces as f64 / seen.busy.as_secs_f64()) };
    println!("{name:<16}{rate:>10}{p50:>10.2}{p99:>10.2}{max:>10.2}{:>12}", seen.latencies.len());
}

fn pool(criterion: &mut Criterion) {
    // As in the service.
    let _ = pixmill::heap::bound();
    let bench = Bench::new();
    let mut rows = vec![("idle", bench.idle())];
    let mut group = criterion.benchmark_group("pool");
    group.throughput(Throughput::Elements(PIECES as u64));
    group.sampling_mode(SamplingMode::Flat).sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(8));
    for place in Place::ALL {
        let mut seen = Seen::default();
        group.bench_function(place.name(), |bencher| bencher.iter_custom(|rounds| bench.measure(place, rounds, &mut seen)));
        rows.push((place.name(), seen));
    }
    group.finish();
    println!("\n{:<16}{:>10}{:>10}{:>10}{:>10}{:>12}", "other requests", "pieces/s", "p50 ms", "p99 ms", "max ms", "questions");
    for (name, mut seen) in rows {
        row(name, &mut seen);
    }
    println!();
    bench.lending();
}

criterion_group!(benches, pool);
criterion_main!(benches);
