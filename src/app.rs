//! The composition root: configuration to parts, once. The only file that names concrete back ends.

use std::{
    fs::{File, TryLockError},
    future::Future,
    num::NonZeroU64,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

use crate::{
    backup::{self, Backup},
    batch::{self, Batches},
    catalog::{Catalog, sqlite::SqliteCatalog},
    clock::{Clock, FlooredIds, IdSource, SystemClock},
    compute::{self, Compute},
    config::{Config, Listen},
    deliver::Deliver,
    erase::{self, Eraser},
    follow::Follow,
    further::Further,
    heap,
    http::{Bound, Clients, Edge, Listener, Pace, ServeOptions, Site, Tls, router, serve},
    ingest::{CommitOptions, Committer, News},
    queue::{self, Queue},
    store::{BlobStore, Disk, Doubts, LocalStore, StagingDir, make_folder},
    telemetry::{Export, Metrics, Traces},
    upkeep,
};

/// A hold lasts this long unless renewed (every third of it): long enough for a stalled disk, short enough that another
/// node takes over soon.
const LEASE: Duration = Duration::from_secs(60);
/// A job whose worker died more often than this is taken for the cause and fails.
const MAX_CRASHES: u32 = 3;

/// The catalog's connections, a few of those for blocking work, upkeep: without these nothing works.
const OTHER_THREADS: usize = 8;

/// The pool has had nothing to do for so long when memory that was freed is given back to the system: long enough not to be in the way
/// of a client that sends one photo after the other.
const IDLE_BEFORE_TRIM: Duration = Duration::from_secs(3);

/// The rows, below the data folder.
const CATALOG: &str = "catalog.db";
/// The stored files, below the data folder.
const BLOBS: &str = "blobs";

/// A service that is ready to serve: recovered, bound, not yet accepting.
pub struct App {
    listener: Listener,
    address: Bound,
    site: Arc<Site>,
    queue: Queue,
    batches: Batches,
    catalog: Arc<SqliteCatalog>,
    repair: upkeep::Repair,
    doubtful: upkeep::Doubtful,
    expiry: upkeep::Expiry,
    options: ServeOptions,
    stop: watch::Sender<bool>,
    export: Option<Export>,
    /// Held while the service lives: no other process may use the data folder.
    _lock: File,
}

impl App {
    /// Opens the data folder, recovers what an earlier process left, binds the address.
    ///
    /// # Errors
    /// When the folder is in use or cannot be used, or the address cannot be bound; the text says which and what to do.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        Self::start_on(config, Disk::default(), Arc::new(SystemClock)).await
    }

    /// The same on a disk and by a clock of the caller's.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_on(config: &Config, disk: Disk, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let started = Instant::now();
        let watermarks = config.read_watermarks()?;
        let root = std::path::absolute(&config.storage.data_dir).context("the data folder has no name")?;
        make_folder(&root).with_context(|| format!("cannot make the data folder {}", root.display()))?;
        let lock = lock(&root)?;
        let (staging, staged_left) = StagingDir::open_on(root.join("staging"), disk.clone()).context("cannot use the staging folder")?;
        let store = LocalStore::open_on(root.join(BLOBS), disk).context("cannot use the blob folder")?;
        store.try_out(&staging).with_context(|| format!("cannot store files below {}", root.display()))?;
        refuse_files_without_a_catalog(&root, &store)?;
        let catalog = Arc::new(SqliteCatalog::open(&root.join(CATALOG)).await.context("cannot use the catalog")?);
        // What carries an earlier time was made by an earlier process; see `upkeep::Repair`.
        let floor = clock.now();
        let ids: Arc<dyn IdSource> = Arc::new(FlooredIds::from(floor));
        let past = catalog.recall(floor).await.context("cannot tell whether the catalog is the newest")?;
        let voided = catalog.void_leases(clock.now(), MAX_CRASHES).await.context("cannot recover jobs")?;
        if staged_left > 0 {
            info!(files = staged_left, "removed unfinished uploads of an earlier process");
        }
        if !voided.requeued.is_empty() || !voided.failed.is_empty() {
            info!(requeued = voided.requeued.len(), failed = voided.failed.len(), "took up jobs of an earlier process");
        }
        let (store, rows): (Arc<dyn BlobStore>, Arc<dyn Catalog>) = (Arc::new(store), catalog.clone());
        let repair = upkeep::Repair::new(Arc::clone(&store), Arc::clone(&rows), floor, past);
        let compute = Compute::start(compute::Options {
            workers: config.pool.workers,
            // They are held as long as the service runs.
            budget_bytes: config.pool.memory_budget_bytes.saturating_sub(watermarks.bytes()),
            max_waiting: config.pool.max_waiting,
            when_idle: Some(compute::WhenIdle { pause: IDLE_BEFORE_TRIM, call: give_memory_back }),
        })
        .context("cannot start worker threads")?;
        let compute = Arc::new(compute);
        let metrics = Arc::new(Metrics::new().context("cannot set up metrics")?);
        let (traces, export) = match &config.otlp_endpoint {
            Some(endpoint) => Traces::to(endpoint.as_str(), Arc::clone(&metrics)).map(|(traces, export)| (traces, Some(export))),
            None => Ok((Traces::off(), None)),
        }
        .map_err(anyhow::Error::msg)?;
        let follow = Follow::new(floor.as_millis());
        let doubts = Doubts::default();
        let mut limits = config.ingest.clone();
        limits.image.max_memory_bytes = compute.budget_bytes();
        let queue = Queue::new(
            queue::Options {
                owner: format!("pid-{}", std::process::id()),
                lease: LEASE,
                job_deadline: config.pool.job_deadline,
                max_crashes: MAX_CRASHES,
                limits: limits.image,
                watermarks: Arc::clone(&watermarks),
                max_queued_jobs: config.pool.max_queued_jobs,
            },
            queue::Parts {
                catalog: Arc::clone(&rows),
                store: Arc::clone(&store),
                compute: Arc::clone(&compute),
                follow: follow.clone(),
                metrics: Arc::clone(&metrics),
                traces: traces.clone(),
                clock: Arc::clone(&clock),
                ids: Arc::clone(&ids),
                doubts: doubts.clone(),
            },
            rows.totals().await.context("cannot read the catalog")?.queued_jobs,
        );
        let on_news = {
            let queue = queue.clone();
            move |news: News<'_>| match news {
                News::Coming(image, staged) => queue.coming(image, staged),
                News::NotComing(jobs) => queue.not_coming(jobs),
                News::Recorded(accepted) => queue.accepted(accepted),
            }
        };
        let committer = Committer::new(
            Arc::clone(&store),
            Arc::clone(&rows),
            Arc::clone(&clock),
            Arc::clone(&ids),
            doubts.clone(),
            CommitOptions {
                limits: limits.image,
                watermarks: Arc::clone(&watermarks),
                max_attempts: config.pool.max_attempts,
                workers: compute.workers(),
                upload_ttl: config.storage.upload_ttl,
            },
            on_news,
        );
        let further = Further {
            store: Arc::clone(&store),
            compute: Arc::clone(&compute),
            committer: committer.clone(),
            limits: limits.image,
            watermarks: Arc::clone(&watermarks),
        };
        let batches = Batches::new(batch::Parts {
            catalog: Arc::clone(&rows),
            queue: queue.clone(),
            further: further.clone(),
            follow: follow.clone(),
            clock: Arc::clone(&clock),
            ids,
        });
        let deliver = Arc::new(Deliver::new(Arc::clone(&rows), Arc::clone(&store)));
        let eraser = Eraser::new(erase::Parts {
            catalog: Arc::clone(&rows),
            store: Arc::clone(&store),
            queue: queue.clone(),
            deliver: Arc::clone(&deliver),
            follow: follow.clone(),
            clock: Arc::clone(&clock),
        });
        let (stop, stopping) = watch::channel(false);
        let max_uploads_in_flight = config.server.max_uploads_in_flight as usize;
        let tls = match &config.server.tls {
            Some(files) => Some(Arc::new(Tls::open(&files.certificate, &files.key).context("cannot use TLS")?)),
            None => None,
        };
        let listener = match &config.server.listen {
            Listen::Tcp(address) => Listener::tcp(address).await,
            Listen::Unix(path) => Listener::unix(path).await,
        };
        let listener = listener.with_context(|| format!("cannot listen on {}", config.server.listen))?;
        let address = listener.bound().clone();
        let site = Arc::new(Site {
            limits,
            presets: config.presets.clone(),
            watermarks,
            edge: Edge::new(config.server.edge.clone(), address.tcp()),
            pace: Pace { idle: config.server.body_idle_timeout, total: config.server.body_timeout, min_rate: config.server.min_body_rate },
            disk_reserve_bytes: config.storage.disk_reserve_bytes,
            staging,
            deliver,
            eraser,
            catalog: rows,
            store,
            committer,
            queue: queue.clone(),
            further,
            batches: batches.clone(),
            compute,
            follow,
            metrics,
            traces,
            uploads: Arc::new(Semaphore::new(max_uploads_in_flight)),
            max_uploads_in_flight,
            uploads_by_client: Clients::new(config.server.max_uploads_per_client),
            max_ttl: config.storage.upload_ttl,
            clock: Arc::clone(&clock),
            stopping,
            started,
            profiler: Default::default(),
            disk: Default::default(),
            catalog_health: Default::default(),
        });
        let proxies = config.server.edge.trusted_proxies.clone();
        let options = ServeOptions {
            max_connections: connections_for(config.server.max_connections, raise_descriptor_limit()),
            clients: Clients::new(config.server.max_connections_per_client),
            is_proxy: Arc::new(move |ip| proxies.as_ref().is_some_and(|proxies| proxies.contains(ip))),
            tls,
            header_timeout: config.server.header_timeout,
            idle_timeout: config.server.idle_timeout,
            write_timeout: config.server.write_timeout,
            min_rate: config.server.min_body_rate,
            grace: config.server.shutdown_grace,
        };
        let doubtful = upkeep::Doubtful { doubts, store: Arc::clone(&site.store), catalog: Arc::clone(&site.catalog) };
        let (eraser, history) = (site.eraser.clone(), config.storage.history);
        let expiry = upkeep::Expiry { catalog: Arc::clone(&site.catalog), eraser, clock, history };
        Ok(Self { listener, address, site, queue, batches, catalog, repair, doubtful, expiry, options, stop, export, _lock: lock })
    }

    /// Compares everything in the data folder with what the catalog says; changes nothing and needs no lock, so it may run beside the service.
    ///
    /// # Errors
    /// When there is no data folder, or the catalog cannot be read.
    pub async fn scrub(config: &Config, bytes_per_second: u64) -> anyhow::Result<upkeep::Scrubbed> {
        let rate = NonZeroU64::new(bytes_per_second).context("the rate is 0 bytes a second, at least 1 is needed")?;
        let root = std::path::absolute(&config.storage.data_dir).context("the data folder has no name")?;
        let cannot = |what: &str| format!("cannot read the {what} in {}", root.display());
        let store = LocalStore::open_to_read(root.join(BLOBS)).with_context(|| cannot("stored files"))?;
        let catalog = SqliteCatalog::open_to_read(&root.join(CATALOG)).await.with_context(|| cannot("catalog"))?;
        upkeep::scrub(&catalog, &store, rate).await.with_context(|| cannot("catalog"))
    }

    /// Copies the data folder to `to`, with its stored files if they are wanted; changes nothing and needs no lock, so it may run beside the service.
    ///
    /// # Errors
    /// When there is no data folder, or `to` is not empty or has no room.
    pub async fn backup(config: &Config, to: &Path, with_blobs: bool) -> anyhow::Result<Backup> {
        let root = std::path::absolute(&config.storage.data_dir).context("the data folder has no name")?;
        let to = std::path::absolute(to).context("the backup's folder has no name")?;
        backup::backup(&root, &to, backup::Names { catalog: CATALOG, blobs: BLOBS }, with_blobs).await.context("no backup was made")
    }

    /// The address that was bound.
    #[must_use]
    pub fn address(&self) -> &Bound {
        &self.address
    }

    /// The same as a URL, with the path prefix; for a Unix socket, which has none, `unix:` and its path.
    #[must_use]
    pub fn url(&self) -> String {
        let prefix = self.site.edge.path_prefix();
        match (&self.address, &self.options.tls) {
            (Bound::Tcp(address), None) => format!("http://{address}{prefix}"),
            (Bound::Tcp(address), Some(_)) => format!("https://{address}{prefix}"),
            (Bound::Unix(_), _) => self.address.to_string(),
        }
    }

    /// Serves until `shutdown` resolves, then stops: no new connections, running requests and jobs within the grace,
    /// the rest stays queued.
    ///
    /// # Errors
    /// When the catalog cannot be closed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let grace = self.options.grace;
        let work = tokio::spawn(self.queue.run(self.stop.subscribe(), grace));
        let batches = tokio::spawn(self.batches.run(self.stop.subscribe()));
        let http = tokio::spawn(serve(self.listener, router(Arc::clone(&self.site)), self.options, self.stop.subscribe()));
        let upkeep = upkeep::run(self.repair, self.doubtful, self.expiry, Arc::clone(&self.site.metrics));
        let upkeep = tokio::spawn(upkeep);
        shutdown.await;
        info!("stopping: no new connections, {} s for what runs", grace.as_secs());
        self.stop.send_replace(true);
        for (name, task) in [("http", http), ("jobs", work), ("batches", batches)] {
            if let Err(error) = task.await {
                warn!(%error, "{name} ended badly");
            }
        }
        upkeep.abort();
        if let Some(export) = self.export {
            export.finish().await;
        }
        self.catalog.close().await;
        info!("stopped");
        Ok(())
    }
}

/// Descriptors that are no connections: catalog, staged files, blobs being written and read.
const OTHER_DESCRIPTORS: u64 = 512;

/// What the pool does when it is idle.
fn give_memory_back() {
    let begun = Instant::now();
    let given = heap::trim();
    debug!(given, took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), "the pool is idle, the heap was trimmed");
}

/// Asks for all the descriptors the system will give; returns how many that are.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let granted = if setrlimit(Resource::Nofile, wanted).is_ok() { limit.maximum } else { limit.current };
    granted.unwrap_or(u64::MAX)
}

/// Connections that can be served with so many descriptors: an upload or a download may need a second one.
fn connections_for(wanted: u32, descriptors: u64) -> u32 {
    let room = (descriptors.saturating_sub(OTHER_DESCRIPTORS.min(descriptors / 2)) / 2).max(1);
    let fits = u32::try_from(room).unwrap_or(u32::MAX).min(wanted);
    if fits < wanted {
        warn!(wanted, fits, descriptors, "serving fewer connections at once than configured: the limit on open files is low");
    }
    fits
}

/// Whether the threads of the service can be started: tokio panics when it cannot start one, and a limit that is too low is
/// better told in words. To be called before there is a runtime.
///
/// # Errors
/// When they cannot; the text says how many are needed and what to raise.
pub fn check_threads(workers: u32) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = cores + workers as usize + OTHER_THREADS;
    compute::can_start(threads)
        .with_context(|| format!("cannot start {threads} threads; raise the limit on processes (ulimit -u, pids.max)"))
}

/// A catalog made now would know none of the files that are there, and the repair would take them all for leftovers. To be asked before one is
/// made: a start that was refused must be refused again.
///
/// # Errors
/// When there are stored files and no catalog.
fn refuse_files_without_a_catalog(root: &Path, store: &LocalStore) -> anyhow::Result<()> {
    let catalog = root.join(CATALOG);
    // SQLite takes an empty file for a new catalog, too.
    let is_there = match std::fs::metadata(&catalog) {
        Ok(found) => found.len() > 0,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("cannot look at the catalog {}", catalog.display())),
    };
    if !is_there && !store.is_empty().context("cannot look through the blob folder")? {
        bail!(
            "there is no catalog at {}, but {} holds stored files, which a new catalog would not know and the service would remove; \
             restore the catalog, or move the files away",
            catalog.display(),
            root.join(BLOBS).display()
        );
    }
    Ok(())
}

/// Takes the data folder for this process. The lock goes with the process, however it ends.
fn lock(root: &Path) -> anyhow::Result<File> {
    let path = root.join(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "the data folder {} is in use by another pixmill; stop that one, or choose another folder with --data-dir",
                root.display()
            )
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}
