//! Who sends much waits for himself: another client's work, and more urgent work, is done first.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::{Server, pictures, until, wire::Form};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// One core, and clients told apart by what a proxy says.
async fn start() -> Server {
    Server::with(|settings| {
        settings.workers = Some(1);
        settings.trusted_proxies = Some("127.0.0.0/8".to_owned());
    })
    .await
}

async fn post(server: &Server, client: &str, files: std::ops::Range<usize>, priority: &str, variant: &str) -> Value {
    let photo = pictures::small_jpeg(3);
    let mut form = Form::new().field("variant", variant).field("priority", priority);
    for n in files {
        form = form.file("file", "a.jpg", &pictures::with_comment(&photo, &format!("{client} {n}")));
    }
    let answer = server.post_form_with("/v1/images", &[("x-forwarded-for", client)], form).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()
}

/// Keeps the only core busy until its job, whose id is returned, is cancelled.
async fn occupy(server: &Server) -> String {
    let mut form = Form::new().file("file", "a.jpg", &pictures::jpeg(&pictures::photo(3000, 2000, 5), 85)).field("priority", "high");
    for n in 0..4 {
        form = form.field("variant", &format!("v{n}=rs:force:{}:3000:1/median:99/f:png", 4000 + n));
    }
    let upload = server.post_form_with("/v1/images", &[("x-forwarded-for", "192.0.2.99")], form).await.json();
    let job = text(&upload["images"][0], "job").to_owned();
    until("the core is busy", async || server.stats().await["pool"]["free_cores"] == 0).await;
    job
}

async fn vacate(server: &Server, job: &str) {
    let seen = server.get(&format!("/v1/jobs/{job}")).await.json();
    assert!(seen["finished_at"].is_null(), "it kept the core all the while: {seen}");
    assert_eq!(server.send(Method::DELETE, &format!("/v1/jobs/{job}"), &[], Bytes::new()).await.status, 204);
}

async fn finished_at(server: &Server, upload: &Value) -> Vec<String> {
    let done = server.finished(upload).await;
    let jobs = done["images"].as_array().expect("images").iter().map(|image| text(image, "job").to_owned()).collect::<Vec<_>>();
    let mut ends = Vec::new();
    for job in jobs {
        let seen = server.get(&format!("/v1/jobs/{job}")).await.json();
        assert_eq!(seen["status"], json!("completed"), "{seen}");
        ends.push(text(&seen, "finished_at").to_owned());
    }
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn one_clients_many_jobs_do_not_hold_up_anothers_one() {
    let server = start().await;
    let blocker = occupy(&server).await;
    // Enough work for each to have a good part of a second of room to itself.
    let begun = std::time::Instant::now();
    let many = post(&server, "192.0.2.1", 0..60, "normal", "v=rs:force:1600:1600/f:png").await;
    let one = post(&server, "192.0.2.2", 0..1, "normal", "v=w:10").await;
    let between = begun.elapsed();
    vacate(&server, &blocker).await;
    let one = finished_at(&server, &one).await.remove(0);
    let ends = finished_at(&server, &many).await;
    let before = ends.iter().filter(|end| **end < one).count();
    // Only what has room in the time between the two, which is long on a busy machine; each takes 80 ms of it.
    let room = (15 + between.as_millis() as usize / 50).min(ends.len() - 1);
    assert!(before <= room, "{before} of {} jobs of the other client were done before, in {between:?}", ends.len());
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_urgent_is_done_before_what_is_not_of_the_same_client() {
    let server = start().await;
    let blocker = occupy(&server).await;
    let low = post(&server, "192.0.2.1", 0..40, "low", "v=w:10").await;
    let normal = post(&server, "192.0.2.1", 40..80, "normal", "v=w:10").await;
    let high = post(&server, "192.0.2.1", 80..81, "high", "v=w:10").await;
    vacate(&server, &blocker).await;
    let (low, normal, high) = (finished_at(&server, &low).await, finished_at(&server, &normal).await, finished_at(&server, &high).await);
    assert!(normal.iter().chain(&low).all(|end| *end >= high[0]), "high is first");
    let last_normal = normal.iter().max().expect("some");
    assert!(low.iter().all(|end| end >= last_normal), "low is last, as long as it has not waited");
    server.finish().await;
}
