//! What comes over HTTP/1 is read in one way or refused; a body is asked for only when it is wanted; a refusal arrives.

use std::{future::poll_fn, time::Duration};

use http::{Method, Request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    DEADLINE, Server, pictures,
    wire::{Answer, FORM_TYPE, Wire, answer_of, chunked, exchange, head},
};

/// Sends bytes, reads until the service closes: all that came.
async fn raw(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut wire = Wire::open(server.address).await;
    // Refusals may come before all is written.
    let _ = timeout(DEADLINE, wire.0.write_all(bytes)).await.expect("takes bytes in time");
    let mut all = Vec::new();
    let _ = timeout(DEADLINE, wire.0.read_to_end(&mut all)).await.expect("closes in time");
    all
}

/// The statuses of all answers, final and interim.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
}

const NEXT: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_can_be_read_two_ways_are_refused_and_nothing_behind_them_is_read() {
    let server = Server::start().await;
    for (fields, body, hint) in [
        ("Host: localhost\r\nContent-Length: -1", "", "Content-Length"),
        ("Host: localhost\r\nContent-Length: five", "hello", "Content-Length"),
        ("Host: localhost\r\nContent-Length: 9223372036854775808", "", "Content-Length"),
        ("Host: localhost\r\nContent-Length: 5\r\nContent-Length: 6", "hello", "different"),
        ("Host: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "both"),
        ("Host: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n", "both"),
        ("Host: localhost\r\nTransfer-Encoding: xchunked", "0\r\n\r\n", "Transfer-Encoding"),
        ("Host: localhost\r\nTransfer-Encoding: chunked, chunked", "0\r\n\r\n", "Transfer-Encoding"),
        ("Host: localhost\r\nTransfer-Encoding: chunked\x0b", "0\r\n\r\n", ""),
        ("Host: localhost\r\nTransfer-Encoding : chunked", "0\r\n\r\n", ""),
        ("X-Host: localhost", "", "no Host"),
        ("Host: localhost\r\nHost: localhost", "", "Host"),
        ("Host: localhost\r\nX: a\r\n b", "", ""),
        ("Host: localhost\r\nX: \x01", "", ""),
    ] {
        let request = format!("PUT /v1/images/a.jpg HTTP/1.1\r\n{fields}\r\n\r\n{body}{NEXT}");
        let all = raw(&server, request.as_bytes()).await;
        assert_eq!(statuses(&all), [400], "{fields:?}: {}", String::from_utf8_lossy(&all));
        let answer = answer_of(&all).expect("an answer");
        let problem = answer.problem(400, "bad_request");
        assert!(problem["detail"].as_str().expect("text").contains(hint), "{fields:?}: {problem}");
        assert_eq!(answer.header("connection"), "close");
        assert!(!answer.header("x-request-id").is_empty() && !answer.header("date").is_empty());
    }
    // In its turn, behind a good one.
    let all = raw(&server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(statuses(&all), [200, 400]);
    // What stands behind a body of known length is another request, and garbage is no request.
    let photo = pictures::small_jpeg(1);
    let first = format!("PUT /v1/images/a.jpg HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", photo.len());
    let all = raw(&server, &[first.as_bytes(), &photo, b"\x00\x01garbage\r\n\r\n"].concat()).await;
    assert_eq!(statuses(&all), [202, 400]);
    // A target in absolute form is fine, and so is HTTP/1.0 without a host.
    let all = raw(&server, b"GET http://elsewhere/healthz HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n").await;
    assert_eq!(statuses(&all), [200]);
    assert!(raw(&server, b"GET /healthz HTTP/1.0\r\n\r\n").await.starts_with(b"HTTP/1.0 200"));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_are_refused_and_store_nothing() {
    let server = Server::start().await;
    let photo = pictures::small_jpeg(1);
    let good = chunked(&photo, 100);
    let text = |text: &str| text.as_bytes().to_vec();
    let behind = |tail: &str| [&good[..good.len() - 5], tail.as_bytes()].concat();
    let before = server.stored().await;
    for (what, body) in [
        ("no digits", text("g\r\n")),
        ("a sign", text("-1\r\nx\r\n0\r\n\r\n")),
        ("17 digits", text("10000000000000000\r\n")),
        ("a bare line end", text("1\nx\n0\n\n")),
        ("an endless extension", text(&format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(64 << 10)))),
        ("data longer than said", behind("1\r\nxy\r\n0\r\n\r\n")),
        ("no line end behind data", behind("1\r\nx0\r\n\r\n")),
        ("endless trailers", behind(&format!("0\r\nX: {}\r\n\r\n", "x".repeat(64 << 10)))),
    ] {
        let request =
            [&b"PUT /v1/images/a.jpg HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &body, NEXT.as_bytes()]
                .concat();
        let all = raw(&server, &request).await;
        assert_eq!(statuses(&all), [400], "{what}: {}", String::from_utf8_lossy(&all));
        answer_of(&all).expect("an answer").problem(400, "bad_request");
    }
    server.staging_becomes_empty().await;
    assert_eq!(server.stored().await, before);
    let answer = exchange(server.address, &head("PUT", "/v1/images/a.jpg", &["Transfer-Encoding: chunked"]), &good).await;
    assert_eq!(answer.expect("an answer").status, 202);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_told_so() {
    let server = Server::start().await;
    let many: String = (0..150).map(|n| format!("X-{n}: y\r\n")).collect();
    for (what, head) in [
        ("one field", format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "y".repeat(100_000))),
        ("many fields", format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")),
        ("the target", format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "y".repeat(100_000))),
    ] {
        let all = raw(&server, head.as_bytes()).await;
        let answer = answer_of(&all).unwrap_or_else(|| panic!("{what}: no answer"));
        answer.problem(431, "headers_too_large");
    }
    server.finish().await;
}

/// Sends a head that waits for 100 Continue and no body; all that came until the service closed.
async fn expecting(server: &Server, method: &str, path: &str, headers: &[&str]) -> Vec<u8> {
    let mut wire = Wire::open(server.address).await;
    wire.write(&head(method, path, &[headers, &["Expect: 100-continue"]].concat())).await;
    let mut all = Vec::new();
    // The answer is there before the connection is closed, which the service does when we do not.
    while !all.ends_with(b"}") {
        let read = timeout(DEADLINE, wire.0.read_buf(&mut all)).await.expect("answers in time").expect("answers");
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&all));
    }
    wire.end().await;
    let _ = timeout(DEADLINE, wire.0.read_to_end(&mut all)).await.expect("closes in time");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_only_when_it_is_wanted() {
    let server = Server::with(|s| {
        s.max_file_bytes = Some("1MB".parse().expect("a size"));
        s.max_request_bytes = Some("1MB".parse().expect("a size"));
    })
    .await;
    for (method, path, headers, status, code) in [
        ("PUT", "/v1/images/a.jpg", &["Content-Length: 2000000"][..], 413, "too_large"),
        ("POST", "/v1/images", &["Content-Length: 1000", "Content-Type: application/json"], 415, "unsupported_media_type"),
        ("POST", "/v1/nowhere", &["Content-Length: 1000"], 404, "not_found"),
        ("DELETE", "/v1/images", &["Content-Length: 1000"], 405, "method_not_allowed"),
        ("PUT", "/v1/images/a.jpg?widht=3", &["Content-Length: 1000"], 400, "bad_option"),
        ("PUT", "/v1/images/a.jpg", &["Transfer-Encoding: chunked", "Idempotency-Key: "], 400, "bad_request"),
    ] {
        let all = expecting(&server, method, path, headers).await;
        assert_eq!(statuses(&all), [status], "{method} {path}: {}", String::from_utf8_lossy(&all));
        let answer = answer_of(&all).expect("an answer");
        answer.problem(status, code);
        assert_eq!(answer.header("connection"), "close", "{method} {path}");
    }
    let photo = pictures::small_jpeg(1);
    let mut wire = Wire::open(server.address).await;
    wire.write(&head("PUT", "/v1/images/a.jpg", &[&format!("Content-Length: {}", photo.len()), "Expect: 100-continue"])).await;
    let first = wire.read_until(b"\r\n\r\n").await;
    assert_eq!(first, b"HTTP/1.1 100 Continue\r\n\r\n");
    wire.write(&photo).await;
    assert_eq!(wire.read().await.expect("an answer").status, 202);
    server.finish().await;
    let server = Server::with(|s| s.max_queued_jobs = Some(0)).await;
    let all = expecting(&server, "PUT", "/v1/images/a.jpg", &["Content-Length: 1000"]).await;
    assert_eq!(statuses(&all), [503]);
    server.finish().await;
}

/// Writes a chunked body of `bytes` bytes without reading, then reads.
async fn write_then_read(server: &Server, method: &str, path: &str, header: &str, bytes: usize) -> Option<Answer> {
    let mut wire = Wire::open(server.address).await;
    wire.write(&head(method, path, &["Transfer-Encoding: chunked", header])).await;
    let chunk = chunked(&vec![b'\xff'; 64 << 10], 64 << 10);
    let chunk = &chunk[..chunk.len() - 5];
    for _ in 0..bytes / (64 << 10) {
        timeout(DEADLINE, wire.0.write_all(chunk)).await.expect("takes bytes in time").expect("is not closed under a client that writes");
    }
    wire.write(b"0\r\n\r\n").await;
    wire.read().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_writes_before_it_reads() {
    const BYTES: usize = 6 << 20;
    let server = Server::with(|s| {
        s.max_file_bytes = Some("1MB".parse().expect("a size"));
        s.max_request_bytes = Some("1MB".parse().expect("a size"));
    })
    .await;
    let form = format!("Content-Type: {FORM_TYPE}");
    for _ in 0..4 {
        for (method, path, header, status) in [
            ("PUT", "/v1/images/a.jpg", "X: y", 415),
            ("POST", "/v1/images", &form, 400),
            ("POST", "/v1/nowhere", "X: y", 404),
            ("POST", "/v1/images", "Content-Type: text/plain", 415),
        ] {
            let answer = write_then_read(&server, method, path, header, BYTES).await;
            assert_eq!(answer.expect("an answer").status, status, "{method} {path}");
        }
        // In the middle: the file is an image as far as its head goes, and too large.
        let mut wire = Wire::open(server.address).await;
        let large = [&pictures::png(pictures::photo(16, 16, 1))[..], &vec![7; BYTES]].concat();
        wire.write(&head("PUT", "/v1/images/a.png", &["Transfer-Encoding: chunked"])).await;
        timeout(DEADLINE, wire.0.write_all(&chunked(&large, 64 << 10))).await.expect("in time").expect("is not closed under us");
        wire.read().await.expect("an answer").problem(413, "too_large");
    }
    server.finish().await;
    let server = Server::with(|s| s.max_queued_jobs = Some(0)).await;
    for _ in 0..4 {
        let answer = write_then_read(&server, "PUT", "/v1/images/a.jpg", "X: y", BYTES).await;
        answer.expect("an answer").problem(503, "queue_full");
    }
    server.finish().await;
}

/// Over HTTP/2 the rest of a refused body is taken and dropped: many clients take a reset stream for a failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_over_http2_lets_the_client_finish() {
    const BYTES: usize = 3 << 20;
    let server = Server::start().await;
    let stream = TcpStream::connect(server.address).await.expect("connects");
    let (mut send, connection) = h2::client::handshake(stream).await.expect("speaks HTTP/2");
    let connection = tokio::spawn(connection);
    for (method, path, status) in [("PUT", "/v1/images/a.jpg", 415), ("POST", "/v1/nowhere", 404), ("PUT", "/v1/images/a.jpg?widht=3", 400)]
    {
        let request = Request::builder().method(method).uri(format!("{}{path}", server.base())).body(()).expect("a request");
        let (answer, mut body) = send.send_request(request, false).expect("sends");
        let mut left = BYTES;
        while left > 0 {
            body.reserve_capacity(left.min(64 << 10));
            let granted =
                timeout(DEADLINE, poll_fn(|cx| body.poll_capacity(cx))).await.expect("in time").expect("is not reset").expect("room");
            let piece = granted.min(left);
            left -= piece;
            body.send_data(vec![0xff; piece].into(), left == 0).expect("is not reset");
        }
        assert_eq!(timeout(DEADLINE, answer).await.expect("in time").expect("answers").status(), status, "{method} {path}");
    }
    connection.abort();
    server.finish().await;
}

/// A connection whose request was refused with all of its body read, or which had none, goes on.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_without_a_rest_keep_the_connection() {
    let server = Server::start().await;
    let mut wire = Wire::open(server.address).await;
    for _ in 0..3 {
        wire.write(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let bytes = wire.read_until(b"}").await;
        let answer = answer_of(&bytes).expect("an answer");
        answer.problem(404, "not_found");
        assert_eq!(answer.header("connection"), "");
    }
    drop(wire);
    assert_eq!(server.send(Method::GET, "/healthz", &[], "").await.status, 200);
    tokio::time::timeout(Duration::from_secs(60), server.finish()).await.expect("ends");
}
