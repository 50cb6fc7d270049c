//! What has a time goes by itself when it is over, whatever happens to the service meanwhile; what is remembered of it goes later.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use pixmill::clock::{Clock as _, ManualClock, SystemClock};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Server, pictures, until, wire::Form};

const HOUR_MS: i64 = 3_600_000;

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn now() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(SystemClock.now()))
}

/// Uploads one file under these fields; its final JSON.
async fn sent(server: &Server, file: &[u8], fields: &[(&str, &str)]) -> Value {
    let mut form = Form::new().file("file", "a secret name.jpg", file).field("variant", "v=w:10/wmt:c2VjcmV0");
    for (name, value) in fields {
        form = form.field(name, value);
    }
    let answer = server.post_form("/v1/images", form).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    server.finished(&answer.json()).await
}

async fn is_gone(server: &Server, upload: &Value) {
    let path = format!("/v1/uploads/{}", text(upload, "id"));
    until("an upload goes when its time is over", async || server.get(&path).await.status != 200).await;
    server.get(&path).await.problem(410, "gone");
    for path in ["", "/v.jpg"] {
        server.get(&format!("/i/{}{path}", text(&upload["images"][0], "id"))).await.problem(410, "gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_when_its_time_is_over_and_spares_what_others_share() {
    let clock = now();
    let server = Server::by(clock.clone(), folder(), |settings| settings.upload_ttl = "7d".parse().ok()).await;
    let file = pictures::small_jpeg(1);
    let week = sent(&server, &file, &[]).await;
    let hour = sent(&server, &file, &[("ttl", "1h")]).await;
    let minutes = sent(&server, &pictures::small_jpeg(2), &[("ttl", "120")]).await;
    assert_eq!(server.blobs(), 4, "two originals, a result of each");
    let time = |upload: &Value, name: &str| text(upload, name).parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    for (upload, kept_ms) in [(&week, 7 * 24 * HOUR_MS), (&hour, HOUR_MS), (&minutes, 120_000)] {
        assert_eq!(time(upload, "expires_at") - time(upload, "received_at"), kept_ms, "{upload}");
    }
    let address = |upload: &Value| format!("/i/{}/v.jpg", text(&upload["images"][0], "id"));
    for (upload, max_age) in [(&week, 604_800), (&hour, 3600), (&minutes, 120)] {
        let answer = server.get(&address(upload)).await;
        assert_eq!(answer.header("cache-control"), format!("public, max-age={max_age}, immutable"), "no cache keeps it longer");
    }

    clock.advance(120_000);
    is_gone(&server, &minutes).await;
    // Files are removed once the rows are gone for good.
    until("its files go, too", async || server.blobs() == 2).await;
    clock.advance(HOUR_MS - 120_001);
    assert_eq!(server.get(&address(&hour)).await.status, 200, "not a moment too soon");
    clock.advance(1);
    is_gone(&server, &hour).await;
    assert_eq!((server.blobs(), server.get(&address(&week)).await.status), (2, 200), "what is shared stays");

    // The rest of the week passes while the service is down.
    let data = server.stopped().await;
    clock.advance(7 * 24 * HOUR_MS);
    let server = Server::by(clock, data, |_| ()).await;
    is_gone(&server, &week).await;
    until("the files go, too", async || server.blobs() == 0).await;
    let stats = server.stats().await;
    assert_eq!((&stats["uploads"], &stats["completed_tasks"]), (&3.into(), &3.into()), "totals are since the folder was made");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_has_a_time_unless_it_is_given_one_and_none_may_pass_the_bound() {
    let server = Server::start().await;
    let upload = server.make(pictures::small_jpeg(1), &["v=w:10"]).await;
    assert!(upload["expires_at"].is_null(), "{upload}");
    let url = format!("/i/{}", text(&upload["images"][0], "id"));
    assert_eq!(server.get(&url).await.header("cache-control"), "public, max-age=31536000, immutable");
    let form = || Form::new().file("file", "a.jpg", &pictures::small_jpeg(2));
    let problem = server.post_form("/v1/images", form().field("ttl", "4000d")).await.problem(400, "bad_option");
    assert!(text(&problem, "detail").contains("limit is 3650d"), "{problem}");
    server.post_form("/v1/images", form().field("ttl", "soon")).await.problem(400, "bad_option");
    server.finish().await;
    let server = Server::with(|settings| settings.upload_ttl = "90m".parse().ok()).await;
    for answer in [server.post_form("/v1/images?ttl=2h", form()).await, server.post_form("/v1/images", form().field("ttl", "7200")).await] {
        let problem = answer.problem(400, "bad_option");
        assert_eq!((&problem["limit"], &problem["received"]), (&5400.into(), &7200.into()), "{problem}");
    }
    assert_eq!(server.stats().await["uploads"], 0);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_over_before_its_work_is_done_is_cancelled() {
    let clock = now();
    let server = Server::by(clock.clone(), folder(), |settings| settings.workers = Some(1)).await;
    let large = pictures::jpeg(&pictures::photo(3000, 2000, 5), 90);
    let form = Form::new().file("file", "a.jpg", &large).field("variant", "slow=w:2900/bl:30/f:png").field("ttl", "60");
    let upload = server.post_form("/v1/images", form).await.json();
    let path = format!("/v1/uploads/{}", text(&upload, "id"));
    clock.advance(60_000);
    until("it goes", async || server.get(&path).await.status == 410).await;
    until("late results are dropped", async || server.blobs() == 0).await;
    let past = server.get(&format!("/v1/history/{}", text(&upload["images"][0], "job"))).await.json();
    assert!(["cancelled", "completed"].contains(&text(&past, "status")), "{past}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_remembered_for_a_while_after_they_ended() {
    let clock = now();
    let server = Server::by(clock.clone(), folder(), |settings| settings.history = "2h".parse().ok()).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let form = Form::new().file("file", "a secret name.jpg", &pictures::small_jpeg(1)).field("variant", "v=w:10/wmt:c2VjcmV0/f:png");
    let form = form.field("metadata[album]", "secret too");
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let answer = server.post_form_with("/v1/images", &[("traceparent", &parent)], form).await;
    let request = answer.header("x-request-id").to_owned();
    let first = server.finished(&answer.json()).await;
    let job_id = text(&first["images"][0], "job").to_owned();
    let job = server.get(&format!("/v1/jobs/{job_id}")).await.json();
    assert_eq!((text(&job, "request_id"), text(&job, "trace_id")), (request.as_str(), trace));
    let path = format!("/v1/history/{job_id}");
    server.get(&path).await.problem(404, "not_found");
    clock.advance(HOUR_MS);
    let second = sent(&server, &pictures::small_jpeg(2), &[]).await;
    for upload in [&first, &second] {
        let path = format!("/v1/uploads/{}", text(upload, "id"));
        assert_eq!(server.send(Method::DELETE, &path, &[], Bytes::new()).await.status, 204);
    }

    server.get(&format!("/v1/jobs/{job_id}")).await.problem(410, "gone");
    let answer = server.get(&path).await;
    let past = answer.json();
    for name in [
        "id",
        "image",
        "upload",
        "status",
        "attempt",
        "max_attempts",
        "priority",
        "queued_at",
        "started_at",
        "finished_at",
        "timing",
        "peak_bytes",
        "request_id",
        "trace_id",
    ] {
        assert_eq!(past[name], job[name], "{name}");
    }
    let (task, was) = (&past["tasks"][0], &job["tasks"][0]);
    assert_eq!((&task["name"], &task["timing"], &task["format"]), (&was["name"], &was["timing"], &was["result"]["format"]));
    assert_eq!([&task["bytes"], &task["width"]], [&was["result"]["bytes"], &was["result"]["width"]]);
    assert_eq!(task["operations"], serde_json::json!(["resize", "watermark_text", "format"]));
    assert_eq!((&past["source"]["format"], &past["source"]["bytes"]), (&"jpeg".into(), &first["images"][0]["bytes"]));
    for secret in ["secret", "c2VjcmV0", text(&first["images"][0], "sha256")] {
        assert!(!answer.text().contains(secret), "{secret} is remembered: {past}");
    }
    let listed = server.get("/v1/history").await.json();
    let ids: Vec<&str> = listed["jobs"].as_array().expect("jobs").iter().map(|job| text(job, "id")).collect();
    assert_eq!(ids.len(), 2);
    let part = server.get("/v1/history?limit=1").await;
    assert!(part.header("link").contains("/v1/history?limit=1&cursor="), "{}", part.header("link"));
    let rest = server.get(&format!("/v1/history?limit=1&cursor={}", text(&part.json(), "next_cursor"))).await.json();
    assert_eq!([text(&part.json()["jobs"][0], "id"), text(&rest["jobs"][0], "id")], ids[..]);

    // Looked through at each start.
    let data = server.stopped().await;
    clock.advance(HOUR_MS + 60_000);
    let server = Server::by(clock, data, |settings| settings.history = "2h".parse().ok()).await;
    until("what ended two hours ago is forgotten", async || server.get(&path).await.status == 404).await;
    assert_eq!(server.get("/v1/history").await.json()["jobs"].as_array().map(Vec::len), Some(1), "the other ended later");
    server.get(&format!("/v1/jobs/{job_id}")).await.problem(410, "gone");
    server.finish().await;
}
