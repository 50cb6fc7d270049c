//! What the tests stand on: the service in this process or as the real binary, a reference client and a raw one, pictures.
//!
//! Invariant: a server that was started is ended by `finish`, which fails on leftover jobs, leases, staged files and orphaned blobs.

pub(crate) mod faults;
pub(crate) mod pictures;
pub(crate) mod process;
pub(crate) mod wire;

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use pixmill::{
    app::App,
    catalog::{Catalog, Voided, sqlite::SqliteCatalog},
    clock::{Clock, SystemClock},
    config::{Config, Settings},
    http::Bound,
    store::{BlobStore, Disk, LocalStore},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

use wire::{Answer, FORM_TYPE, Form};

/// Longer than anything here takes on a busy machine; reaching it is a failure, never a measure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks until `condition` holds.
///
/// # Panics
/// When it does not hold within [`DEADLINE`].
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Files below a folder, at any depth.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Settings of a small service on a free port.
pub(crate) fn small(data_dir: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.listen = Some("127.0.0.1:0".parse().expect("an address"));
    settings.data_dir = Some(data_dir.to_owned());
    settings.workers = Some(2);
    settings.memory_budget = Some("512MiB".parse().expect("a size"));
    settings.disk_reserve_bytes = Some("0".parse().expect("a size"));
    settings
}

/// The service in this process, on a folder of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
    data: Option<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Server {
    /// A server with [`small`] settings.
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// A server whose settings are [`small`] but for what `tune` changes.
    pub(crate) async fn with(tune: impl FnOnce(&mut Settings)) -> Self {
        Self::on(tempfile::tempdir().expect("a folder"), tune).await
    }

    /// A server on a folder that may hold something already.
    pub(crate) async fn on(data: TempDir, tune: impl FnOnce(&mut Settings)) -> Self {
        Self::on_disk(data, Disk::default(), tune).await
    }

    /// A server on a folder whose disk may fail.
    pub(crate) async fn on_disk(data: TempDir, disk: Disk, tune: impl FnOnce(&mut Settings)) -> Self {
        Self::on_disk_by(data, disk, Arc::new(SystemClock), tune).await
    }

    /// A server by a clock of the test's.
    pub(crate) async fn by(clock: Arc<dyn Clock>, data: TempDir, tune: impl FnOnce(&mut Settings)) -> Self {
        Self::on_disk_by(data, Disk::default(), clock, tune).await
    }

    async fn on_disk_by(data: TempDir, disk: Disk, clock: Arc<dyn Clock>, tune: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = small(data.path());
        tune(&mut settings);
        let config = Config::resolve(settings).expect("settings are valid");
        let app = App::start_on(&config, disk, clock).await.expect("starts");
        let Bound::Tcp(address) = *app.address() else { panic!("listens on {}", app.address()) };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        // Environment proxies are not meant for loopback; redirects would hide what the service said.
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { address, http, data: Some(data), stop: Some(stop), running: Some(running) }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.as_ref().expect("not finished").path()
    }

    pub(crate) fn staged(&self) -> usize {
        files_below(&self.data().join("staging")).len()
    }

    pub(crate) fn blobs(&self) -> usize {
        files_below(&self.data().join("blobs")).len()
    }

    /// Sends a request with the reference client. `path` may be an absolute URL the service gave.
    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let url = if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", self.base()) };
        let mut request = self.http.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = timeout(DEADLINE, request.send()).await.expect("an answer in time").expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = timeout(DEADLINE, response.bytes()).await.expect("a body in time").expect("a whole body");
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, Bytes::new()).await
    }

    pub(crate) async fn post_form(&self, path: &str, form: Form) -> Answer {
        self.send(Method::POST, path, &[("content-type", FORM_TYPE)], form.end()).await
    }

    pub(crate) async fn post_form_with(&self, path: &str, headers: &[(&str, &str)], form: Form) -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", FORM_TYPE)]).collect();
        self.send(Method::POST, path, &headers, form.end()).await
    }

    /// Uploads one file with variants `name=options` and waits for the upload's end; the upload's final JSON.
    pub(crate) async fn make(&self, file: impl Into<Vec<u8>>, variants: &[&str]) -> Value {
        let mut form = Form::new().file("file", "picture", &file.into());
        for variant in variants {
            form = form.field("variant", variant);
        }
        let answer = self.post_form("/v1/images", form).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        self.finished(&answer.json()).await
    }

    /// One image's bytes through one variant's options.
    pub(crate) async fn make_one(&self, file: impl Into<Vec<u8>>, options: &str) -> image::DynamicImage {
        let upload = self.make(file, &[&format!("one={options}")]).await;
        let task = &upload["images"][0]["variants"][0];
        assert_eq!(task["status"], "completed", "{options}: {task}");
        let answer = self.get(task["url"].as_str().expect("a url")).await;
        assert_eq!(answer.status, 200, "{options}: {}", answer.text());
        image::load_from_memory(&answer.body).expect("the variant decodes")
    }

    /// The final JSON of an upload whose JSON is given.
    pub(crate) async fn finished(&self, upload: &Value) -> Value {
        let id = upload["id"].as_str().expect("an id");
        let answer = self.get(&format!("/v1/uploads/{id}?wait=60")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let upload = answer.json();
        assert_ne!(upload["status"], "processing", "{upload}");
        upload
    }

    pub(crate) async fn stats(&self) -> Value {
        let answer = self.get("/v1/stats").await;
        assert_eq!(answer.status, 200);
        answer.json()
    }

    /// Totals that only change when something is stored.
    pub(crate) async fn stored(&self) -> (Value, Value, Value, usize) {
        let stats = self.stats().await;
        (stats["uploads"].clone(), stats["bytes_received"].clone(), stats["total_tasks"].clone(), self.blobs())
    }

    /// Looks until nothing is staged: a refused or aborted upload is unlinked by a blocking thread soon after.
    pub(crate) async fn staging_becomes_empty(&self) {
        until("staging becomes empty", async || self.staged() == 0).await;
    }

    /// Asks the service to stop, without waiting for it.
    pub(crate) fn ask_to_stop(&mut self) {
        let _ = self.stop.take().expect("asked once").send(());
    }

    /// Waits until all work has ended, stops the service and fails on anything left over.
    pub(crate) async fn finish(self) {
        let end = Instant::now() + DEADLINE;
        loop {
            let stats = self.stats().await;
            if ["queued_jobs", "running_jobs", "pending_tasks"].iter().all(|name| stats[*name] == 0) {
                break;
            }
            assert!(Instant::now() < end, "jobs are left over: {stats}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.staging_becomes_empty().await;
        let data = self.stopped().await;
        nothing_left(data.path()).await;
    }

    /// Stops the service and gives its folder back, whatever is in it.
    pub(crate) async fn stopped(mut self) -> TempDir {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let running = self.running.take().expect("runs");
        timeout(DEADLINE, running).await.expect("stops in time").expect("does not panic").expect("stops well");
        self.data.take().expect("not finished")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that forgets the check would pass with leftovers.
        assert!(self.running.is_none() || std::thread::panicking(), "a test ended without finish()");
    }
}

/// Fails if the folder of a stopped service holds a lease, a staged file, an unfinished blob or a blob without a row.
pub(crate) async fn nothing_left(data: &Path) {
    assert_eq!(files_below(&data.join("staging")), Vec::<PathBuf>::new(), "staged files are left");
    assert_eq!(files_below(&data.join("blobs/incoming")), Vec::<PathBuf>::new(), "unfinished blobs are left");
    let catalog = SqliteCatalog::open(&data.join("catalog.db")).await.expect("opens");
    let voided = catalog.void_leases(SystemClock.now(), 3).await.expect("answers");
    assert_eq!(voided, Voided::default(), "leases are left");
    let stored = LocalStore::open(data.join("blobs")).expect("opens").list().await.expect("lists");
    let mut orphans = stored.clone();
    let live = catalog.live_blobs(&stored).await.expect("answers");
    orphans.retain(|blob| !live.contains(blob));
    assert!(orphans.is_empty(), "{} of {} blobs have no row: {orphans:?}", orphans.len(), stored.len());
    catalog.close().await;
}
