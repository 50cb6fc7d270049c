//! What was acknowledged survives `kill -9`; what runs when the service is asked to stop is finished or given back.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use pixmill::{
    clock::{Clock, IdSource, RandomIds, SystemClock},
    domain::BlobId,
    store::{BlobStore, LocalStore},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{
    DEADLINE, Server, files_below, nothing_left, pictures,
    pictures::Chance,
    process::{Process, pixmill},
    sha256_hex, until,
    wire::{FORM_TYPE, Form},
};

const ROUNDS: u64 = 20;
const CLIENTS: u64 = 4;
/// The kill comes this many milliseconds after the service serves, at most: long enough for uploads and jobs of every age.
const MOST_MS: u32 = 250;

/// An acknowledged upload.
#[derive(Clone, Debug)]
struct Acknowledged {
    upload: String,
    image: String,
    sha256: String,
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().expect("a client")
}

/// Files nobody sent before, from one a single read takes to one that is staged in several writes, made at no cost: a comment
/// segment with a number in each.
struct Files(Vec<Vec<u8>>);

impl Files {
    fn new() -> Self {
        let large = pictures::jpeg(&pictures::photo(900, 700, 1), 100);
        assert!(large.len() > 300_000, "{} bytes fit one buffer", large.len());
        Self(vec![pictures::small_jpeg(1), pictures::jpeg(&pictures::photo(500, 400, 2), 85), pictures::small_jpeg(3), large])
    }

    fn numbered(&self, client: u64, n: u64) -> Vec<u8> {
        pictures::with_comment(&self.0[(n % 4) as usize], &format!("{client}-{n}"))
    }
}

/// Uploads until the service is gone, and notes what was acknowledged.
async fn upload_until_gone(address: SocketAddr, files: Arc<Files>, number: u64, acknowledged: Arc<Mutex<Vec<Acknowledged>>>) {
    let client = client();
    for n in 0.. {
        let file = files.numbered(number, n);
        let sha256 = sha256_hex(&file);
        let body =
            Form::new().file("file", "a.jpg", &file).field("variant", "thumb=rs:fit:64:64").field("variant", "soft=w:200/bl:2").end();
        let request = client.post(format!("http://{address}/v1/images")).header("content-type", FORM_TYPE).body(body);
        let Ok(response) = request.send().await else { return };
        let status = response.status().as_u16();
        assert_eq!(status, 202);
        // A 202 whose body was cut off by the kill promises as much; only its ids are not known.
        let Ok(answer) = response.json::<Value>().await else { return };
        assert_eq!(answer["images"][0]["sha256"], sha256);
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let one = Acknowledged { upload: text(&answer["id"]), image: text(&answer["images"][0]["id"]), sha256 };
        acknowledged.lock().expect("no panic").push(one);
    }
}

/// Fails unless every acknowledged original is there, byte for byte.
async fn served(address: SocketAddr, all: &[Acknowledged]) {
    let client = client();
    for one in all {
        let response = client.get(format!("http://{address}/i/{}", one.image)).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200, "acknowledged and lost: {one:?}");
        let body = response.bytes().await.expect("a whole body");
        assert_eq!(sha256_hex(&body), one.sha256, "acknowledged and changed: {one:?}");
    }
}

async fn json(address: SocketAddr, path: &str) -> Value {
    client().get(format!("http://{address}{path}")).send().await.expect("an answer").json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let seed: u64 = std::env::var("PIXMILL_CRASH_SEED").ok().map_or(20_260_821, |text| text.parse().expect("a number"));
    println!("crash seed {seed} (PIXMILL_CRASH_SEED)");
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (mut chance, files) = (Chance(seed), Arc::new(Files::new()));
    let mut all: Vec<Acknowledged> = Vec::new();
    for round in 0..ROUNDS {
        let service = Process::start(folder.path(), &[]);
        let address = service.address;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            clients.spawn(upload_until_gone(address, Arc::clone(&files), round * CLIENTS + n, Arc::clone(&acknowledged)));
        }
        let after = Duration::from_micros(u64::from(chance.below(MOST_MS * 1000)));
        // The moment of the kill is the experiment; nothing below depends on its length.
        tokio::time::sleep(after).await;
        service.kill();
        while let Some(ended) = clients.join_next().await {
            ended.expect("a client saw only what was promised");
        }
        let new = std::mem::take(&mut *acknowledged.lock().expect("no panic"));
        println!(
            "round {round}: killed after {after:?}, {} acknowledged, {} staged files left",
            new.len(),
            files_below(&data.join("staging")).len()
        );
        all.extend(new);
    }
    assert!(all.len() > ROUNDS as usize, "only {} uploads were acknowledged, this proves little", all.len());

    let mut service = Process::start(folder.path(), &[]);
    let address = service.address;
    served(address, &all).await;
    let mut states: BTreeMap<String, u32> = BTreeMap::new();
    for one in &all {
        let upload = json(address, &format!("/v1/uploads/{}?wait=60", one.upload)).await;
        let state = upload["status"].as_str().expect("a state").to_owned();
        // A job that ran at more than three kills is taken for their cause and given up; nothing else may fail.
        let suspect = upload["images"][0]["variants"]
            .as_array()
            .expect("variants")
            .iter()
            .all(|v| v["error"].is_null() || v["error"]["code"] == "internal");
        assert!(state == "completed" || ((state == "failed" || state == "partial") && suspect), "{upload}");
        for variant in upload["images"][0]["variants"].as_array().expect("variants").iter().filter(|v| v["status"] == "completed") {
            let response = client().get(variant["url"].as_str().expect("a url")).send().await.expect("an answer");
            let body = response.bytes().await.expect("a whole body");
            assert_eq!(variant["result"]["bytes"].as_u64(), Some(body.len() as u64));
            image::load_from_memory(&body).expect("a published variant is whole");
        }
        *states.entry(state).or_default() += 1;
    }
    println!("{} acknowledged uploads ended: {states:?}", all.len());
    assert!(states.get("completed").copied().unwrap_or(0) as usize * 10 >= all.len() * 9, "{states:?}");
    // Uploads nobody got an answer for may be there, too: their jobs end like all others.
    until("all jobs end", async || {
        let stats = json(address, "/v1/stats").await;
        stats["queued_jobs"] == 0 && stats["running_jobs"] == 0 && stats["pending_tasks"] == 0
    })
    .await;
    // The sweep of this start ran beside all that; a second start would find nothing more to remove.
    service.terminate();
    assert!(service.ended().success());
    nothing_left(&data).await;
    let loud: Vec<Value> = service.log().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(loud.is_empty(), "{loud:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_sweeps_what_a_crash_left_and_nothing_else() {
    let server = Server::start().await;
    let upload = server.make(pictures::small_jpeg(1), &["v=w:10"]).await;
    let data = server.stopped().await;
    let blobs = data.path().join("blobs");
    let clock = SystemClock;
    // Renamed into place, its row never written; and two that were never whole.
    let orphan = BlobId::from_uuid(RandomIds.new_id(clock.now()));
    LocalStore::open(blobs.clone()).expect("opens").put(orphan, b"left by a crash".as_slice().into()).await.expect("stored");
    std::fs::write(data.path().join("staging/up-left"), b"left").expect("written");
    std::fs::write(blobs.join("incoming/.tmp-left"), b"left").expect("written");
    assert_eq!(files_below(&blobs).len(), 4);

    let server = Server::on(data, |_| ()).await;
    assert_eq!((server.staged(), files_below(&server.data().join("blobs/incoming")).len()), (0, 0), "before it serves");
    until("the orphan goes", async || server.blobs() == 2).await;
    let image = upload["images"][0]["id"].as_str().expect("an id");
    assert_eq!(server.get(&format!("/i/{image}")).await.body, pictures::small_jpeg(1));
    assert_eq!(server.get(&format!("/i/{image}/v.jpg")).await.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_serves_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = Process::start(folder.path(), &[]);
    let second = pixmill(folder.path()).args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]).output().expect("runs");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("is in use by another pixmill") && said.contains("--data-dir"), "{said}");
    assert!(second.stdout.is_empty(), "it never said it listens");
    assert_eq!(json(service.address, "/healthz").await["status"], "ok", "the first is not disturbed");
    service.terminate();
    assert!(service.ended().success());
    let mut again = Process::start(folder.path(), &[]);
    again.terminate();
    assert!(again.ended().success(), "the lock went with its process");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_or_gives_back_what_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    for (grace, jobs) in [("30s", 3_u64), ("0s", 6)] {
        let mut service = Process::start(folder.path(), &["--shutdown-grace", grace]);
        let mut uploads = Vec::new();
        for n in 0..jobs {
            let file = pictures::jpeg(&pictures::photo(1200, 900, 1000 * jobs + n), 90);
            let body = Form::new().file("file", "a.jpg", &file).field("variant", "a=w:900/bl:5/f:png").field("variant", "b=w:300").end();
            let request = client().post(format!("http://{}/v1/images", service.address)).header("content-type", FORM_TYPE).body(body);
            let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
            uploads.push(answer["id"].as_str().expect("an id").to_owned());
        }
        service.terminate();
        assert_eq!(service.ended().code(), Some(0), "grace {grace}");
        nothing_left(&folder.path().join("data")).await;

        let mut service = Process::start(folder.path(), &[]);
        for upload in uploads {
            let upload = json(service.address, &format!("/v1/uploads/{upload}?wait=60")).await;
            assert_eq!(upload["status"], "completed", "{upload}");
            let job = json(service.address, &format!("/v1/jobs/{}", upload["images"][0]["job"].as_str().expect("a job"))).await;
            assert_eq!(job["attempt"], 1, "an orderly stop costs no attempt: {job}");
        }
        service.terminate();
        assert!(service.ended().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_without_tls_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::start(folder.path(), &[]);
    process.signal(rustix::process::Signal::HUP);
    until("it says so", async || process.log().iter().any(|line| line.to_string().contains("SIGHUP is ignored"))).await;
    let answer = client().get(format!("http://{}/healthz", process.address)).send().await.expect("answers");
    assert_eq!(answer.status().as_u16(), 200);
    process.terminate();
    assert!(process.ended().success());
}
