//! Many jobs are steered by what they have in common: retried, cancelled, and each told of.

use bytes::Bytes;
use http::Method;
use pixmill::store::Step;
use serde_json::{Value, json};

use crate::support::{
    Server,
    faults::{EIO, Failing},
    pictures, until,
    wire::{Answer, Form},
};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

async fn post(server: &Server, path: &str, asked: &Value) -> Answer {
    server.send(Method::POST, path, &[("content-type", "application/json")], asked.to_string()).await
}

async fn said(server: &Server, path: &str, asked: &Value) -> Value {
    let answer = post(server, path, asked).await;
    assert_eq!(answer.status, 200, "{asked}: {}", answer.text());
    answer.json()
}

fn told(matched: u64, done: u64, stopped_by: Option<&str>) -> Value {
    json!({ "matched": matched, "done": done, "left": matched - done, "stopped_by": stopped_by })
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_failed_for_one_reason_is_retried_in_parts() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |settings| settings.max_attempts = Some(1)).await;
    failing.arm(Step::Read, 1, usize::MAX, EIO);
    let mut uploads = Vec::new();
    for n in 0..5 {
        let upload = server.make(pictures::small_jpeg(n), &["a=w:10"]).await;
        assert_eq!(upload["status"], "failed");
        uploads.push(upload);
    }
    assert!(failing.disarm() > 0);
    let broken = server.make(pictures::corrupt_png(), &["a=w:10"]).await;
    let fine = server.make(pictures::small_jpeg(9), &["a=w:10"]).await;
    assert_eq!((&broken["status"], &fine["status"]), (&json!("failed"), &json!("completed")));

    let path = "/v1/jobs/retry";
    assert_eq!(said(&server, path, &json!({ "dry_run": true })).await, told(6, 0, Some("limit")));
    assert_eq!(said(&server, path, &json!({ "error": ["timeout", "internal"] })).await, told(0, 0, None));
    assert_eq!(said(&server, path, &json!({ "until": "2026-01-01T00:00:00+02:00" })).await, told(0, 0, None));
    let one = said(&server, path, &json!({ "error": "storage", "upload": uploads[4]["id"] })).await;
    assert_eq!((one, &server.finished(&uploads[4]).await["status"]), (told(1, 1, None), &json!("completed")));
    assert_eq!(said(&server, path, &json!({ "error": "storage", "limit": 3 })).await, told(4, 3, Some("limit")));
    for upload in &uploads[..3] {
        assert_eq!(server.finished(upload).await["status"], "completed", "the oldest first");
    }
    let since = json!({ "error": ["storage", "timeout"], "since": "2026-01-01T00:00:00Z" });
    assert_eq!(said(&server, path, &since).await, told(1, 1, None));
    assert_eq!(server.finished(&uploads[3]).await["status"], "completed");
    assert_eq!(said(&server, path, &since).await, told(0, 0, None), "said twice it is as said once");
    assert_eq!(server.finished(&broken).await["images"][0]["timing"], broken["images"][0]["timing"], "not touched");
    assert_eq!(server.stats().await["total_tasks"], 7);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_takes_no_more_than_the_queue_has_room_for() {
    let (failing, disk) = Failing::new();
    let tune = |settings: &mut pixmill::config::Settings| {
        (settings.max_attempts, settings.workers, settings.max_queued_jobs) = (Some(1), Some(1), Some(3));
    };
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, tune).await;
    failing.arm(Step::Read, 1, usize::MAX, EIO);
    for n in 0..5 {
        server.make(pictures::small_jpeg(n), &["a=w:10"]).await;
    }
    failing.disarm();
    let slow = start_long_work(&server).await;
    let answer = said(&server, "/v1/jobs/retry", &json!({})).await;
    assert_eq!((&answer["matched"], &answer["stopped_by"]), (&json!(5), &json!("queue_full")), "{answer}");
    assert_eq!(answer["done"], 2, "the long work waits, too, as far as the queue knows: {answer}");
    assert_eq!(server.stats().await["queued_jobs"], 3);
    post(&server, "/v1/jobs/retry", &json!({})).await.problem(503, "queue_full");
    assert_eq!(said(&server, "/v1/jobs/retry", &json!({ "dry_run": true })).await["matched"], 3);
    assert_eq!(server.send(Method::DELETE, &format!("/v1/jobs/{slow}"), &[], Bytes::new()).await.status, 204);
    server.finish().await;
}

/// Takes a picture in that keeps the only core busy for long, and waits until it does. Its work was begun before anybody could claim it, so its job waits
/// as all others do; its id.
async fn start_long_work(server: &Server) -> String {
    let form = Form::new().file("file", "a.jpg", &pictures::small_jpeg(99)).field("variant", &format!("slow={}", pictures::SLOW));
    let answer = server.post_form("/v1/images", form).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    until("the core is busy", async || server.stats().await["pool"]["free_cores"] == 0).await;
    text(&answer.json()["images"][0], "job").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_cancelled_together_and_nothing_else() {
    let server = Server::with(|settings| settings.workers = Some(1)).await;
    let slow = start_long_work(&server).await;
    let mut uploads = Vec::new();
    for n in 0..4 {
        let form = Form::new().file("file", "b.jpg", &pictures::small_jpeg(n)).field("variant", "v=w:10");
        uploads.push(server.post_form("/v1/images", form).await.json());
    }
    let path = "/v1/jobs/cancel";
    let refused = post(&server, path, &json!({})).await.problem(400, "bad_request");
    assert!(text(&refused, "detail").contains("at least one of error"), "{refused}");
    assert_eq!(said(&server, path, &json!({ "upload": uploads[3]["id"] })).await, told(1, 1, None));
    let all = json!({ "since": uploads[0]["received_at"], "limit": 2 });
    assert_eq!(said(&server, path, &json!({ "error": "storage" })).await, told(0, 0, None), "no attempt of any has failed");
    assert_eq!(said(&server, path, &all).await, told(3, 2, Some("limit")));
    assert_eq!(said(&server, path, &all).await, told(1, 1, None));
    for upload in &uploads {
        assert_eq!(server.finished(upload).await["status"], "cancelled");
    }
    let before = server.get(&format!("/v1/jobs/{slow}")).await.json();
    assert!(before["finished_at"].is_null(), "it came before: {before}");
    // Work begun ahead holds the core; its job may have been claimed by now, or not yet.
    let stats = server.stats().await;
    assert_eq!(
        stats["queued_jobs"].as_u64().zip(stats["running_jobs"].as_u64()).map(|(queued, running)| queued + running),
        Some(1),
        "{stats}"
    );
    assert_eq!(server.send(Method::DELETE, &format!("/v1/jobs/{slow}"), &[], Bytes::new()).await.status, 204);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_filter_is_told_in_words() {
    let server = Server::start().await;
    for path in ["/v1/jobs/retry", "/v1/jobs/cancel"] {
        for (asked, hint) in [
            (json!({ "error": "storrage" }), "storage"),
            (json!({ "error": 5 }), "a word or a list of words"),
            (json!({ "since": "yesterday" }), "RFC 3339"),
            (json!({ "until": "2026-13-01T00:00:00Z" }), "until"),
            (json!({ "upload": "x" }), "expected an id"),
            (json!({ "batch": "x" }), "expected an id"),
            (json!({ "limit": 0 }), "1 to 10000"),
            (json!({ "limit": 10_001 }), "1 to 10000"),
            (json!({ "limit": -1 }), "such as"),
            (json!({ "status": "failed" }), "status"),
            (json!([]), "such as"),
        ] {
            let problem = post(&server, path, &asked).await.problem(400, "bad_request");
            assert!(text(&problem, "detail").contains(hint), "{asked}: {problem}");
        }
        server.send(Method::POST, path, &[("content-type", "text/plain")], "{}").await.problem(415, "unsupported_media_type");
        server.send(Method::POST, &format!("{path}?error=storage"), &[], "{}").await.problem(400, "bad_option");
    }
    server.finish().await;
}
