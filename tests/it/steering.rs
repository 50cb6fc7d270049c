//! Jobs are steered: cancelled wherever they stand, and retried once they have failed.

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

async fn cancel(server: &Server, job: &str) -> Answer {
    server.send(Method::DELETE, &format!("/v1/jobs/{job}"), &[], Bytes::new()).await
}

async fn retry(server: &Server, job: &str) -> Answer {
    server.send(Method::POST, &format!("/v1/jobs/{job}/retry"), &[], Bytes::new()).await
}

async fn job(server: &Server, job: &str) -> Value {
    server.get(&format!("/v1/jobs/{job}")).await.json()
}

/// Takes a picture in that keeps a core busy for long; its job's id.
async fn start_long_work(server: &Server) -> String {
    let form = Form::new()
        .file("file", "a.jpg", &pictures::jpeg(&pictures::photo(3000, 2000, 5), 85))
        .field("variant", "slow=rs:force:4000:3000:1/median:99/f:png")
        .field("variant", "also=rs:force:4001:3000:1/median:99/f:png");
    let answer = server.post_form("/v1/images", form).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    text(&answer.json()["images"][0], "job").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_cancelled_and_its_core_comes_back() {
    let server = Server::start().await;
    let slow = start_long_work(&server).await;
    until("the work runs", async || job(&server, &slow).await["status"] == "running").await;
    assert_eq!(cancel(&server, &slow).await.status, 204);
    let seen = job(&server, &slow).await;
    assert_eq!((&seen["status"], &seen["error"]["code"]), (&json!("cancelled"), &json!("cancelled")), "at once: {seen}");
    assert!(seen["finished_at"].is_string() && seen["tasks"][0]["status"] == "cancelled", "{seen}");
    until("the cores are free", async || {
        let pool = &server.stats().await["pool"];
        pool["free_cores"] == 2 && pool["free_bytes"] == pool["budget_bytes"]
    })
    .await;
    assert_eq!(cancel(&server, &slow).await.status, 204, "twice is once");
    let upload = server.get(&format!("/v1/uploads/{}", text(&seen, "upload"))).await.json();
    assert_eq!(upload["status"], "cancelled");
    let original = server.get(&format!("/i/{}", text(&seen, "image"))).await;
    assert_eq!(original.status, 200, "the original stays");
    server.get(&format!("/i/{}/slow", text(&seen, "image"))).await.problem(410, "cancelled");
    retry(&server, &slow).await.problem(409, "nothing_to_retry");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_is_cancelled_at_once_and_who_waits_for_it_is_told() {
    let server = Server::with(|settings| settings.workers = Some(1)).await;
    let slow = start_long_work(&server).await;
    until("the core is busy", async || server.stats().await["pool"]["free_cores"] == 0).await;
    let form = Form::new().file("file", "b.jpg", &pictures::small_jpeg(7)).field("variant", "v=w:10");
    let waiting = server.post_form("/v1/images", form).await.json();
    let id = text(&waiting["images"][0], "job").to_owned();
    let path = format!("/v1/uploads/{}?wait=60", text(&waiting, "id"));
    let (told, cancelled) = tokio::join!(server.get(&path), cancel(&server, &id));
    assert_eq!((cancelled.status, &told.json()["status"]), (204, &json!("cancelled")));
    assert!(job(&server, &slow).await["finished_at"].is_null(), "the other goes on");
    // That one was begun before anybody could claim it, as the only core is its own.
    assert_eq!(cancel(&server, &slow).await.status, 204);
    server.make(pictures::small_jpeg(6), &["v=w:10"]).await;
    assert_eq!(job(&server, &slow).await["status"], "cancelled");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_for_a_passing_reason_is_retried_and_completes() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |settings| settings.max_attempts = Some(1)).await;
    failing.arm(Step::Read, 1, usize::MAX, EIO);
    let upload = server.make(pictures::small_jpeg(8), &["a=w:10", "b=w:12"]).await;
    let id = text(&upload["images"][0], "job").to_owned();
    let failed = job(&server, &id).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("storage")), "{failed}");
    assert!(failing.disarm() > 0);
    let answer = retry(&server, &id).await;
    assert_eq!((answer.status, answer.header("location")), (202, format!("{}/v1/jobs/{id}", server.base()).as_str()));
    assert_eq!((text(&answer.json(), "id"), &answer.json()["max_attempts"]), (id.as_str(), &json!(1)));
    let done = server.finished(&upload).await;
    assert_eq!((&done["status"], done["images"][0]["variants"].as_array().map(Vec::len)), (&json!("completed"), Some(2)), "{done}");
    let seen = job(&server, &id).await;
    assert_eq!((&seen["attempt"], &seen["error"]), (&json!(1), &Value::Null), "{seen}");
    retry(&server, &id).await.problem(409, "nothing_to_retry");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_failed_waits_with_its_next_time_in_sight() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |_| ()).await;
    failing.arm(Step::Read, 1, usize::MAX, EIO);
    let form = Form::new().file("file", "a.jpg", &pictures::small_jpeg(9)).field("variant", "a=w:10");
    let taken = server.post_form("/v1/images", form).await.json();
    let id = text(&taken["images"][0], "job").to_owned();
    // A second attempt failed, too, so that it waits for a second or two.
    until("two attempts failed", async || {
        let seen = job(&server, &id).await;
        seen["status"] == "queued" && seen["attempt"] == 2
    })
    .await;
    let seen = job(&server, &id).await;
    assert_eq!((&seen["max_attempts"], &seen["error"]["code"]), (&json!(5), &json!("storage")), "{seen}");
    assert!(text(&seen, "next_attempt_at") > text(&seen, "started_at"), "{seen}");
    retry(&server, &id).await.problem(409, "nothing_to_retry");
    failing.disarm();
    let done = server.finished(&taken).await;
    assert_eq!(done["status"], "completed");
    let seen = job(&server, &id).await;
    assert!(seen["attempt"] == 3 && seen.get("next_attempt_at").is_none() && seen["error"].is_null(), "{seen}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_failure_is_tried_again_too_and_fails_again() {
    let server = Server::start().await;
    let upload = server.make(pictures::corrupt_png(), &["a=w:10"]).await;
    let id = text(&upload["images"][0], "job").to_owned();
    assert_eq!(upload["status"], "failed");
    let before = server.stats().await;
    assert_eq!(retry(&server, &id).await.status, 202);
    assert_eq!(server.finished(&upload).await["status"], "failed");
    let after = server.stats().await;
    assert_eq!((&before["failed_tasks"], &after["failed_tasks"], &after["total_tasks"]), (&json!(1), &json!(1), &json!(1)));
    for path in ["0198c0de-0000-7000-8000-00000000abcd", "x"] {
        retry(&server, path).await.problem(404, "not_found");
        cancel(&server, path).await.problem(404, "not_found");
    }
    server.send(Method::POST, &format!("/v1/jobs/{id}/retry?all=1"), &[], Bytes::new()).await.problem(400, "bad_option");
    let deleted = server.send(Method::DELETE, &format!("/v1/uploads/{}", text(&upload, "id")), &[], Bytes::new()).await;
    assert_eq!(deleted.status, 204);
    retry(&server, &id).await.problem(410, "gone");
    cancel(&server, &id).await.problem(410, "gone");
    server.finish().await;
}
