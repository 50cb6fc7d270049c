//! Odd clients and odd moments: what a well-meant service gets wrong first.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use tokio::{io::AsyncReadExt, time::timeout};

use crate::support::{
    DEADLINE, Server, pictures,
    process::Process,
    wire::{Wire, exchange, head},
};

/// Bytes behind the body of a request that closes the connection must not cost the client its answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_not_lost_behind_stray_bytes() {
    let server = Server::start().await;
    let photo = pictures::small_jpeg(1);
    for stray in ["\r\n", "garbage\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let length = format!("Content-Length: {}", photo.len());
        let body = [&photo[..], stray.as_bytes()].concat();
        let answer = exchange(server.address, &head("PUT", "/v1/images/a.jpg", &[&length]), &body).await;
        assert_eq!(answer.expect("an answer").status, 202, "{stray:?}");
    }
    server.finish().await;
}

/// A connection that says nothing, or only the beginning of a preface, is closed like one that stops in its head.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed() {
    let server = Server::with(|s| s.header_timeout = Some("300ms".parse().expect("a time"))).await;
    let silent = ["", "P", "PRI * HTTP/2.0\r\n", "GET /healthz HTTP/1.1\r\nHost:"].map(async |beginning| {
        let mut wire = Wire::open(server.address).await;
        wire.write(beginning.as_bytes()).await;
        let mut rest = Vec::new();
        let begun = Instant::now();
        let _ = timeout(DEADLINE, wire.0.read_to_end(&mut rest)).await.expect("is closed");
        assert!(begun.elapsed() >= Duration::from_millis(200), "{beginning:?} had its time");
    });
    join_all(silent).await;
    server.finish().await;
}

/// Jobs that take cores first and requests that take memory first must not wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_requests_and_jobs_do_not_lock_each_other() {
    let server = Server::with(|s| {
        s.workers = Some(1);
        s.memory_budget = Some("16MiB".parse().expect("a size"));
    })
    .await;
    let big = pictures::jpeg(&pictures::photo(900, 900, 3), 80);
    let rounds = join_all((0..6).map(async |n: usize| {
        for round in 0..8 {
            let mut file = big.clone();
            file.extend_from_slice(format!("{n} {round}").as_bytes());
            let (method, path) = if n < 3 { (Method::POST, "/v1/process?w=64") } else { (Method::PUT, "/v1/images/a.jpg?w=64") };
            let answer = server.send(method, path, &[("content-type", "image/jpeg")], file).await;
            assert!([200, 202].contains(&answer.status), "{}", answer.text());
        }
    }));
    timeout(DEADLINE, rounds).await.expect("nobody waits for ever");
    server.finish().await;
}

/// A job taken in under a larger budget than today's ends with a clear failure and holds nobody up.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_beyond_a_smaller_budget_does_not_block_the_queue() {
    let mut server = Server::with(|s| s.workers = Some(1)).await;
    // Stopped before they can all be worked on.
    let big = pictures::jpeg(&pictures::photo(3000, 3000, 5), 60);
    let mut uploads = Vec::new();
    for n in 0..4u8 {
        let answer = server.send(Method::PUT, "/v1/images/a.jpg?w=64", &[], [&big[..], &[n]].concat()).await;
        uploads.push(answer.json());
    }
    server.ask_to_stop();
    let data = server.stopped().await;
    let server = Server::on(data, |s| s.memory_budget = Some("16MiB".parse().expect("a size"))).await;
    let small = server.make(pictures::small_jpeg(9), &["a=w:20"]).await;
    assert_eq!(small["status"], "completed");
    for upload in &uploads {
        let upload = server.finished(upload).await;
        let task = &upload["images"][0]["variants"][0];
        assert!(task["status"] == "completed" || task["error"]["code"] == "limit_exceeded", "{task}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_hosts_and_expectations_that_make_no_sense() {
    let server = Server::start().await;
    for path in ["/i/%ff", "/v1/uploads/%ff", "/v1/jobs/%ff", "/i/%ff/thumb.jpg", "/v1/images/%ff"] {
        server.get(path).await.problem(404, "not_found");
    }
    let photo = pictures::small_jpeg(2);
    let length = format!("Content-Length: {}", photo.len());
    let odd = exchange(server.address, &head("PUT", "/v1/images/a.jpg", &[&length, "Expect: a banana"]), &photo).await;
    odd.expect("an answer").problem(417, "expectation_failed");
    let request = format!("PUT /v1/images/a.jpg HTTP/1.1\r\nHost: user:word@elsewhere:99\r\nConnection: close\r\n{length}\r\n\r\n");
    exchange(server.address, request.as_bytes(), &photo).await.expect("an answer").problem(400, "bad_request");
    server.finish().await;
}

/// A request that is refused before its handler ran is drained, too: the answer arrives after the client has written all.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_arrive_wherever_they_are_made() {
    let server = Server::start().await;
    let body = vec![0; 25 << 20];
    let length = format!("Content-Length: {}", body.len());
    for (method, path, header, status) in [
        ("POST", "/v1/nowhere", "X: y", 404),
        ("POST", "/v1/uploads/0198c0de-0000-7000-8000-00000000abcd", "X: y", 405),
        ("PUT", "/v1/images/a.jpg", "Idempotency-Key: ", 400),
        ("PUT", "/v1/images/a.jpg?widht=3", "X: y", 400),
    ] {
        let mut wire = Wire::open(server.address).await;
        wire.write(&head(method, path, &[&length, header])).await;
        // Writes all before it reads anything.
        wire.write(&body).await;
        assert_eq!(wire.read().await.expect("an answer").status, status, "{method} {path}");
    }
    server.finish().await;
}

/// What is in the staging folder and is not ours stays.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_files_are_left_alone() {
    let data = tempfile::tempdir().expect("a folder");
    let staging = data.path().join("staging");
    std::fs::create_dir(&staging).expect("a folder");
    for name in ["thesis.doc", "up-left"] {
        std::fs::write(staging.join(name), "x").expect("writes");
    }
    let server = Server::on(data, |_| ()).await;
    assert!(staging.join("thesis.doc").exists());
    assert!(!staging.join("up-left").exists());
    std::fs::remove_file(staging.join("thesis.doc")).expect("removes");
    server.finish().await;
}

/// Readers that do not read cost a buffer each, not the file each.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_do_not_fill_memory() {
    const BEHIND_BYTES: usize = 32 << 20;
    const READERS: u64 = 8;
    let folder = tempfile::tempdir().expect("a folder");
    let server = Process::start(folder.path(), &[]);
    // A small picture with much behind its end: the original is served as it was sent.
    let original = [&pictures::png(pictures::photo(16, 16, 1))[..], &vec![7; BEHIND_BYTES]].concat();
    let length = format!("Content-Length: {}", original.len());
    let answer = exchange(server.address, &head("PUT", "/v1/images/a.png", &[&length, "Prefer: wait=60"]), &original).await;
    let upload = answer.expect("an answer").json();
    let path = format!("/i/{}", upload["images"][0]["id"].as_str().expect("an id"));
    let before = server.resident_bytes();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut wire = Wire::open(server.address).await;
        wire.write(&head("GET", &path, &[])).await;
        wire.read_until(b"\r\n\r\n").await;
        readers.push(wire);
    }
    // All were answered; what would pile up for them does so while others are served.
    for _ in 0..200 {
        assert_eq!(exchange(server.address, &head("GET", "/healthz", &[]), b"").await.expect("an answer").status, 200);
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < READERS * BEHIND_BYTES as u64 / 4, "{READERS} readers who hold still cost {grown} bytes of {BEHIND_BYTES} each");
    drop(readers);
    server.kill();
}
