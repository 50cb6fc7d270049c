//! Batches: variants for many stored images in the background, once each, whatever happens meanwhile.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use pixmill::{domain::BlobId, store::Step};
use serde_json::{Value, json};

use crate::support::{
    DEADLINE, Server,
    faults::{EIO, Failing},
    files_below, nothing_left, pictures,
    pictures::Chance,
    process::Process,
    until,
    wire::{Answer, FORM_TYPE, Form},
};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

async fn ask(server: &Server, headers: &[(&str, &str)], asked: &Value) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
    server.send(Method::POST, "/v1/batches", &headers, asked.to_string()).await
}

/// Makes a batch and waits for its end.
async fn run(server: &Server, asked: &Value) -> Value {
    let answer = ask(server, &[], asked).await;
    assert_eq!(answer.status, 202, "{asked}: {}", answer.text());
    ended(server, &answer.json()).await
}

async fn ended(server: &Server, batch: &Value) -> Value {
    let answer = server.get(&format!("/v1/batches/{}?wait=60", text(batch, "id"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let batch = answer.json();
    assert_ne!(batch["status"], "running", "{batch}");
    batch
}

/// Counts of which most are 0.
fn counts(some: &[(&str, u64)]) -> Value {
    let mut all = json!({ "matched": 0, "skipped": 0, "refused": 0, "open": 0, "completed": 0, "partial": 0, "failed": 0, "cancelled": 0 });
    for (name, count) in some {
        all[name] = json!(count);
    }
    all
}

fn image_of(upload: &Value) -> &str {
    text(&upload["images"][0], "id")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_image_that_matches_gets_its_variants_once() {
    let server = Server::start().await;
    let mut images = Vec::new();
    for n in 0..30 {
        let file = if n % 3 == 0 { pictures::png(pictures::photo(60 + n, 40, n.into())) } else { pictures::small_jpeg(n.into()) };
        images.push((image_of(&server.make(file, &["a=w:8"]).await).to_owned(), n % 3 == 0));
    }
    let before = server.stored().await;
    let asked = json!({ "preset": "thumbnail", "variants": { "wide": "w:40/f:webp" }, "filter": { "format": "jpg" } });
    let mut dry = asked.clone();
    dry["dry_run"] = json!(true);
    let answer = ask(&server, &[], &dry).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "dry_run": true, "matched": 20 })));
    assert_eq!(
        (server.stored().await, server.get("/v1/batches").await.json()["batches"].clone()),
        (before, json!([])),
        "nothing is recorded"
    );

    let answer = ask(&server, &[("idempotency-key", "once")], &asked).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let made = answer.json();
    assert_eq!(answer.header("location"), text(&made, "url"));
    assert_eq!((&made["status"], &made["priority"], &made["filter"]), (&json!("running"), &json!("low"), &json!({ "format": ["jpeg"] })));
    let batch = ended(&server, &made).await;
    assert_eq!((&batch["status"], &batch["counts"]), (&json!("completed"), &counts(&[("matched", 20), ("completed", 20)])), "{batch}");
    assert_eq!((&batch["progress"], &batch["expected_end_at"], &batch["refusals"]), (&json!(1.0), &Value::Null, &json!([])));
    assert!(batch["finished_at"].is_string());
    for (image, is_png) in &images {
        for name in ["thumbnail", "wide.webp"] {
            assert_eq!(server.get(&format!("/i/{image}/{name}")).await.status, if *is_png { 404 } else { 200 });
        }
    }
    let jobs = server.get("/v1/jobs?limit=200").await.json();
    let low = jobs["jobs"].as_array().expect("jobs").iter().filter(|job| job["priority"] == "low").count();
    assert_eq!(low, 20, "a job an image");

    // The same request again is the same batch; the same wish again finds nothing to do.
    let tag = server.get(text(&batch, "url")).await.header("etag").to_owned();
    assert_eq!(server.get_with(text(&batch, "url"), &[("if-none-match", &tag)]).await.status, 304);
    let again = ask(&server, &[("idempotency-key", "once")], &asked).await;
    assert_eq!((again.status, again.header("idempotency-replayed"), &again.json()["id"]), (202, "true", &batch["id"]));
    ask(&server, &[("idempotency-key", "once")], &json!({ "preset": "thumbnail" })).await.problem(409, "idempotency_conflict");
    let second = run(&server, &asked).await;
    assert_eq!((&second["status"], &second["counts"]), (&json!("completed"), &counts(&[("matched", 20), ("skipped", 20)])));
    let rest =
        run(&server, &json!({ "preset": ["thumbnail"], "filter": { "lacks": "thumbnail", "min_width": 61 }, "priority": "high" })).await;
    assert_eq!(rest["counts"], counts(&[("matched", 9), ("completed", 9)]), "the png of 60 is too small: {rest}");
    let listed = server.get("/v1/batches").await.json();
    let ids: Vec<&str> = listed["batches"].as_array().expect("batches").iter().map(|batch| text(batch, "id")).collect();
    assert_eq!(ids, [text(&rest, "id"), text(&second, "id"), text(&batch, "id")]);
    assert_eq!(server.stats().await["total_tasks"], 30 + 40 + 9);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_for_which_there_is_no_job_are_counted_and_do_not_end_it() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |_| ()).await;
    let mut images = Vec::new();
    for n in 0..6 {
        let options = if n == 1 { "b=w:9" } else { "a=w:8" };
        images.push(image_of(&server.make(pictures::small_jpeg(n), &[options]).await).to_owned());
    }
    // Half a file: its header is fine, and its end is missing.
    let whole = pictures::jpeg(&pictures::photo(300, 200, 3), 90);
    let cut = server.make(whole[..whole.len() / 2].to_vec(), &["a=w:8"]).await;
    assert!(cut["images"][0]["id"].is_string(), "{cut}");
    // The file of one is lost.
    let blob = files_below(&server.data().join("blobs")).into_iter().find(|path| {
        let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<BlobId>().ok());
        id.is_some() && std::fs::read(path).expect("reads") == pictures::small_jpeg(4)
    });
    std::fs::remove_file(blob.expect("is there")).expect("removed");
    // And the disk fails once, which passes.
    failing.arm(Step::Read, 2, 1, EIO);
    let batch = run(&server, &json!({ "variants": { "b": "w:20/f:png" } })).await;
    let failed = u64::from(batch["counts"]["failed"] == 1);
    let wanted = counts(&[("matched", 7), ("refused", 2), ("completed", 5 - failed), ("failed", failed)]);
    assert_eq!((&batch["status"], &batch["counts"]), (&json!("partial"), &wanted), "{batch}");
    let refusals = batch["refusals"].as_array().expect("refusals");
    let seen: Vec<_> = refusals.iter().map(|of| (text(of, "code"), of["images"].as_u64(), text(of, "example"))).collect();
    assert_eq!(seen, [("storage", Some(1), images[4].as_str()), ("variant_exists", Some(1), images[1].as_str())]);
    assert_eq!(server.get(&format!("/i/{}/b.png", images[0])).await.status, 200);
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_cancelled_stops_at_once_and_what_was_done_stays() {
    let server = Server::with(|settings| settings.max_queued_jobs = Some(16)).await;
    let mut images = Vec::new();
    for n in 0..10 {
        let file = pictures::jpeg(&pictures::photo(600, 400, n), 85);
        images.push(image_of(&server.make(file, &["a=w:8"]).await).to_owned());
    }
    // The first is quick, the others keep a core for long.
    let quick = run(&server, &json!({ "variants": { "b": "w:20" }, "filter": { "metadata": { "no": "such" } } })).await;
    assert_eq!((&quick["status"], &quick["counts"]), (&json!("completed"), &counts(&[])));
    let asked = json!({ "variants": { "slow": pictures::SLOW } });
    let made = ask(&server, &[], &asked).await.json();
    let url = text(&made, "url").to_owned();
    until("the pool works at it", async || server.stats().await["running_jobs"] == 2).await;
    let seen = server.get(&url).await.json();
    let open = seen["counts"]["open"].as_u64().expect("a number");
    assert!((2..=4).contains(&open), "a quarter of the queue's limit at most: {seen}");
    assert_eq!(seen["counts"]["matched"], 10);
    // Uploads go first, and find room.
    let upload = server.post_form("/v1/images", Form::new().file("file", "u.jpg", &pictures::small_jpeg(77))).await;
    assert_eq!(upload.status, 202, "{}", upload.text());
    for _ in 0..2 {
        assert_eq!(server.send(Method::DELETE, &url, &[], Bytes::new()).await.status, 204, "twice is once");
    }
    let seen = server.get(&url).await.json();
    assert_eq!(
        (&seen["status"], &seen["counts"]["open"], &seen["counts"]["cancelled"]),
        (&json!("cancelled"), &json!(0), &json!(open)),
        "{seen}"
    );
    assert!(seen["finished_at"].is_string() && seen["expected_end_at"].is_null(), "{seen}");
    assert_eq!(server.finished(&upload.json()).await["status"], "completed");
    until("the cores are free", async || server.stats().await["pool"]["free_cores"] == 2).await;
    let stats = server.stats().await;
    assert_eq!((&stats["queued_jobs"], &stats["running_jobs"], &stats["cancelled_tasks"]), (&json!(0), &json!(0), &json!(open)));
    assert_eq!(server.get(&url).await.json(), seen, "nothing more is made");
    server.send(Method::DELETE, "/v1/batches/0198c0de-0000-7000-8000-00000000abcd", &[], Bytes::new()).await.problem(404, "not_found");
    server.get("/v1/batches/x").await.problem(404, "not_found");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_batch_that_failed_are_retried_together_and_it_ends_again() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |settings| settings.max_attempts = Some(1)).await;
    for n in 0..4 {
        server.make(pictures::small_jpeg(n), &["a=w:8"]).await;
    }
    let broken = server.make(pictures::corrupt_png(), &["a=w:10"]).await;
    assert_eq!(broken["status"], "failed");
    failing.arm(Step::Write, 1, usize::MAX, EIO);
    let batch = run(&server, &json!({ "variants": { "b": "w:20/f:png" }, "filter": { "format": ["jpeg", "webp"] } })).await;
    assert_eq!((&batch["status"], &batch["counts"]), (&json!("failed"), &counts(&[("matched", 4), ("failed", 4)])), "{batch}");
    assert!(failing.disarm() > 0);
    let asked = json!({ "batch": batch["id"], "error": "storage" }).to_string();
    let retried = server.send(Method::POST, "/v1/jobs/retry", &[("content-type", "application/json")], asked).await;
    assert_eq!(retried.json(), json!({ "matched": 4, "done": 4, "left": 0, "stopped_by": null }), "and not the one that failed before");
    let batch = ended(&server, &batch).await;
    assert_eq!((&batch["status"], &batch["counts"]), (&json!("completed"), &counts(&[("matched", 4), ("completed", 4)])), "{batch}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_wish_is_told_in_words() {
    let server = Server::start().await;
    server.make(pictures::small_jpeg(1), &["a=w:8"]).await;
    let before = server.stored().await;
    let of = |filter: Value| json!({ "preset": "thumbnail", "filter": filter });
    for (asked, code, hint) in [
        (json!({}), "bad_option", "name a preset"),
        (json!({ "preset": "thumbnial" }), "bad_option", "thumbnail"),
        (json!({ "preset": 1 }), "bad_request", "a word or a list of words"),
        (json!({ "variants": { "A": "w:1" } }), "bad_option", "a-z"),
        (json!({ "variants": { "b": "widht:1" } }), "bad_option", "width"),
        (json!({ "variants": { "b": "wm:1" } }), "bad_option", "watermark"),
        (json!({ "preset": ["thumbnail", "thumbnail"] }), "bad_option", "twice"),
        (json!({ "preset": "thumbnail", "priority": "urgent" }), "bad_option", "high, normal, low"),
        (json!({ "preset": "thumbnail", "filtre": {} }), "bad_request", "filtre"),
        (of(json!({ "format": "tga" })), "bad_request", "jpeg, png"),
        (of(json!({ "since": "yesterday" })), "bad_request", "RFC 3339"),
        (of(json!({ "since": "2026-11-20T08:00:00Z", "until": "2026-11-20T08:00:00Z" })), "bad_request", "since is not before until"),
        (of(json!({ "min_width": 9, "max_width": 8 })), "bad_request", "min_width is 9 and max_width is 8"),
        (of(json!({ "max_height": -1 })), "bad_request", "such as"),
        (of(json!({ "lacks": "A" })), "bad_request", "lacks"),
        (of(json!({ "width": 9 })), "bad_request", "min_width"),
        (of(json!({ "metadata": { "album": 2026 } })), "bad_request", "such as"),
    ] {
        let problem = ask(&server, &[], &asked).await.problem(400, code);
        assert!(text(&problem, "detail").contains(hint), "{asked}: {problem}");
    }
    server.send(Method::POST, "/v1/batches", &[], "{}").await.problem(415, "unsupported_media_type");
    ask(&server, &[("idempotency-key", "")], &json!({ "preset": "thumbnail" })).await.problem(400, "bad_request");
    assert_eq!((server.stored().await, server.get("/v1/batches").await.json()["batches"].clone()), (before, json!([])));
    server.finish().await;
}

const IMAGES: u64 = 40;

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().expect("a client")
}

async fn json_of(service: &Process, path: &str) -> Value {
    client().get(format!("http://{}{path}", service.address)).send().await.expect("an answer").json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_on_after_kill_9_and_makes_nothing_twice() {
    let seed: u64 = std::env::var("PIXMILL_CRASH_SEED").ok().map_or(20_261_201, |text| text.parse().expect("a number"));
    println!("crash seed {seed} (PIXMILL_CRASH_SEED)");
    let mut chance = Chance(seed);
    let folder = tempfile::tempdir().expect("a folder");
    // Two jobs of it wait or run at one time, so that the walk is cut short, too.
    let more = ["--max-queued-jobs", "8"];
    let mut service = Process::start(folder.path(), &more);
    for n in 0..IMAGES {
        let file = pictures::with_comment(&pictures::jpeg(&pictures::photo(500, 400, 1), 85), &n.to_string());
        let body = Form::new().file("file", "a.jpg", &file).field("variant", "a=w:8").end();
        let request =
            client().post(format!("http://{}/v1/images", service.address)).header("content-type", FORM_TYPE).header("prefer", "wait=60");
        assert_eq!(request.body(body).send().await.expect("an answer").status().as_u16(), 200);
    }
    let asked = json!({ "variants": { "b": "w:400/bl:3/f:png", "c": "w:10/f:png" } }).to_string();
    let request = client().post(format!("http://{}/v1/batches", service.address)).header("content-type", "application/json").body(asked);
    let batch: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let (mut kills, mut settled) = (0, 0);
    loop {
        let seen = json_of(&service, &path).await;
        let done = seen["counts"]["completed"].as_u64().expect("a number");
        assert!(done >= settled, "what was done stays: {seen}");
        settled = done;
        if seen["status"] != "running" {
            break;
        }
        // The moment of the kill is the experiment; nothing below depends on its length.
        tokio::time::sleep(Duration::from_millis(u64::from(chance.below(300)))).await;
        if kills < 6 {
            kills += 1;
            service.kill();
            service = Process::start(folder.path(), &more);
        }
    }
    let seen = json_of(&service, &path).await;
    println!("{kills} kills, {seen}");
    assert!(kills >= 2, "it ended before it was killed twice, this proves little");
    assert_eq!((&seen["status"], &seen["counts"]), (&json!("completed"), &counts(&[("matched", IMAGES), ("completed", IMAGES)])), "{seen}");
    assert_eq!(json_of(&service, "/v1/stats").await["completed_tasks"], 3 * IMAGES);
    let images = json_of(&service, "/v1/images?limit=200").await;
    for image in images["images"].as_array().expect("images") {
        let names: Vec<_> =
            image["variants"].as_array().expect("variants").iter().map(|of| (text(of, "name"), text(of, "status"))).collect();
        assert_eq!(names, [("a", "completed"), ("b", "completed"), ("c", "completed")], "{image}");
    }
    let jobs = json_of(&service, "/v1/jobs?limit=200").await;
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(2 * IMAGES as usize));
    service.terminate();
    assert!(service.ended().success());
    nothing_left(&folder.path().join("data")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_the_next_start_when_the_service_is_asked_to_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let more = ["--max-queued-jobs", "8", "--shutdown-grace", "30s"];
    let mut service = Process::start(folder.path(), &more);
    for n in 0..12 {
        let file = pictures::jpeg(&pictures::photo(500, 400, n), 85);
        let body = Form::new().file("file", "a.jpg", &file).field("variant", "a=w:8").end();
        let request =
            client().post(format!("http://{}/v1/images", service.address)).header("content-type", FORM_TYPE).header("prefer", "wait=60");
        assert_eq!(request.body(body).send().await.expect("an answer").status().as_u16(), 200);
    }
    let asked = json!({ "variants": { "b": "w:400/bl:20/f:png" } }).to_string();
    let request = client().post(format!("http://{}/v1/batches", service.address)).header("content-type", "application/json").body(asked);
    let batch: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    until("it has begun", async || json_of(&service, &path).await["counts"]["open"] != 0).await;
    service.terminate();
    assert!(service.ended().success());
    nothing_left(&folder.path().join("data")).await;
    let mut service = Process::start(folder.path(), &more);
    let seen = json_of(&service, &format!("{path}?wait=60")).await;
    assert_eq!((&seen["status"], &seen["counts"]), (&json!("completed"), &counts(&[("matched", 12), ("completed", 12)])), "{seen}");
    service.terminate();
    assert!(service.ended().success());
    let loud: Vec<Value> = service.log().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(loud.is_empty(), "{loud:#?}");
}
