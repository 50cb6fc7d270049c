//! What is refused is refused in the contract's words, reaches the client, and leaves nothing behind.

use bytes::Bytes;
use http::Method;
use image::ImageFormat;
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::support::{
    DEADLINE, Server, pictures,
    wire::{self, Answer, FORM_TYPE, Form, Wire},
};

/// A request for the table: method, path, content type, body; then what is promised.
type Row = (&'static str, &'static str, &'static str, Vec<u8>, u16, &'static str, &'static str);

fn file(form: Form) -> Form {
    form.file("file", "a.jpg", &pictures::small_jpeg(1))
}

fn with(name: &str, value: &str) -> Vec<u8> {
    file(Form::new().field(name, value)).end()
}

fn animated_gif(frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    encoder
        .encode_frames((0..frames).map(|seed| image::Frame::new(image::DynamicImage::from(pictures::photo(8, 8, seed.into())).to_rgba8())))
        .expect("encodes");
    drop(encoder);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_have_their_status_and_code() {
    let server = Server::with(|s| {
        s.max_files = Some(3);
        s.max_fields = Some(5);
        s.max_pixels = Some(1_000_000);
        s.max_frames = Some(4);
        s.max_file_bytes = Some("300KB".parse().expect("a size"));
        s.max_request_bytes = Some("1MB".parse().expect("a size"));
    })
    .await;
    let jpeg = pictures::small_jpeg(1);
    let large = pictures::png(pictures::photo(640, 480, 2));
    assert!((300_001..1_000_000).contains(&large.len()), "{}", large.len());
    let many = |n: u64| (0..n).fold(Form::new(), |form, i| form.file("file", "a.jpg", &pictures::small_jpeg(i))).end();
    let fields = |n: u64| file((0..n).fold(Form::new(), |form, i| form.field(&format!("metadata[{i}]"), "x"))).end();
    let html = b"<!doctype html><script>alert(1)</script>".to_vec();
    let unclosed = file(Form::new()).end()[..500].to_vec();
    let nameless = Form::new().part("Content-Disposition: form-data; filename=\"a.jpg\"", &jpeg).end();
    let headless = Form::new().part("X-Nothing: here", &jpeg).end();
    let (f, raw) = (FORM_TYPE, "application/octet-stream");
    let table: Vec<Row> = vec![
        ("POST", "/v1/images", "", jpeg.clone(), 415, "unsupported_media_type", "multipart/form-data"),
        ("POST", "/v1/images", "application/json", b"{}".to_vec(), 415, "unsupported_media_type", "application/json"),
        ("POST", "/v1/images", "multipart/mixed; boundary=B", b"--B--".to_vec(), 415, "unsupported_media_type", "multipart/mixed"),
        ("POST", "/v1/images", "multipart/form-data", many(1), 400, "malformed_multipart", "boundary"),
        ("POST", "/v1/images", f, b"".to_vec(), 400, "malformed_multipart", ""),
        ("POST", "/v1/images", f, unclosed, 400, "malformed_multipart", ""),
        ("POST", "/v1/images", f, nameless, 400, "malformed_multipart", "name"),
        ("POST", "/v1/images", f, headless, 400, "malformed_multipart", "content-disposition"),
        ("POST", "/v1/images", f, with("widht", "10"), 400, "bad_option", "did you mean \"width\"?"),
        ("POST", "/v1/images", f, with("varaint", "a=w:1"), 400, "bad_option", "did you mean \"variant\"?"),
        ("POST", "/v1/images", f, with("variant", "a=widht:10"), 400, "bad_option", "did you mean \"width\"?"),
        ("POST", "/v1/images", f, with("variant", "a=q:101"), 400, "bad_option", "1 to 100"),
        ("POST", "/v1/images", f, with("variant", "A=w:10"), 400, "bad_option", "a-z"),
        ("POST", "/v1/images", f, with("variant", "w:10"), 400, "bad_option", "name=options"),
        ("POST", "/v1/images", f, with("q", "0"), 400, "bad_option", "1 to 100"),
        ("POST", "/v1/images", f, with("w", "1e9"), 400, "bad_option", "65535"),
        ("POST", "/v1/images", f, with("w", "-1"), 400, "bad_option", "65535"),
        ("POST", "/v1/images", f, with("blur", "NaN"), 400, "bad_option", "0 to 100"),
        ("POST", "/v1/images", f, with("f", "exe"), 400, "bad_option", "webp"),
        ("POST", "/v1/images", f, with("preset", "nope"), 400, "bad_option", "thumbnail"),
        ("POST", "/v1/images", f, with("priority", "urgent"), 400, "bad_option", "high"),
        ("POST", "/v1/images?variant=a%3Dw:1", f, with("variant", "a=w:2"), 400, "bad_option", "twice"),
        ("POST", "/v1/images?w=%FF", f, many(1), 400, "bad_option", "65535"),
        ("POST", "/v1/images?zzz=1", raw, jpeg.clone(), 400, "bad_option", "zzz"),
        ("POST", "/v1/images", f, many(4), 413, "too_many_files", "3"),
        ("POST", "/v1/images", f, fields(6), 413, "too_many_fields", "5"),
        ("POST", "/v1/images", f, with("metadata[x]", &"x".repeat(70_000)), 413, "too_large", "65536"),
        ("PUT", "/v1/images/a.png", "", large.clone(), 413, "too_large", "300000"),
        ("PUT", "/v1/images/a.png", "", vec![7; 1_000_001], 413, "too_large", "1000000"),
        ("PUT", "/v1/images/a.png", "image/png", html.clone(), 415, "unsupported_format", "HTML"),
        ("POST", "/v1/images", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), 415, "unsupported_format", "SVG"),
        ("PUT", "/v1/images/a.png", "", jpeg[..80].to_vec(), 422, "malformed_image", ""),
        ("PUT", "/v1/images/a.png", "", pictures::png_saying(2000, 2000, &[]), 422, "too_many_pixels", "1000000"),
        ("PUT", "/v1/images/a.png", "", pictures::png_saying(0, 10, &[]), 422, "malformed_image", ""),
        ("PUT", "/v1/images/a.gif", "", animated_gif(5), 422, "too_many_frames", "4"),
        ("POST", "/v1/process", f, Form::new().end(), 400, "no_file", ""),
        ("POST", "/v1/process", f, many(2), 413, "too_many_files", "one"),
        ("POST", "/v1/process?variant=a%3Dw:1&variant=b%3Dw:2", raw, jpeg.clone(), 400, "bad_option", "one"),
        ("POST", "/v1/process?w=10", raw, html, 415, "unsupported_format", "HTML"),
        ("GET", "/nothing/here", "", vec![], 404, "not_found", ""),
        ("GET", "/v1/uploads/0198c5f0-0000-7000-8000-000000000000", "", vec![], 404, "not_found", "upload"),
        ("GET", "/v1/jobs/0198c5f0-0000-7000-8000-000000000000", "", vec![], 404, "not_found", "job"),
        ("GET", "/v1/images/0198c5f0-0000-7000-8000-000000000000", "", vec![], 404, "not_found", "image"),
        ("GET", "/i/0198c5f0-0000-7000-8000-000000000000", "", vec![], 404, "not_found", "image"),
        ("GET", "/i/0198c5f0-0000-7000-8000-000000000000/thumb.jpg", "", vec![], 404, "not_found", "variant"),
        ("GET", "/v1/uploads/x?wait=1", "", vec![], 404, "not_found", ""),
        ("DELETE", "/v1/images", "", vec![], 405, "method_not_allowed", ""),
        ("POST", "/i/x", "", vec![], 405, "method_not_allowed", ""),
        ("PUT", "/v1/stats", "", vec![], 405, "method_not_allowed", ""),
    ];
    let before = server.stored().await;
    for (method, path, content_type, body, status, code, hint) in table {
        let headers: &[(&str, &str)] = if content_type.is_empty() { &[] } else { &[("content-type", content_type)] };
        let answer = server.send(method.parse().expect("a method"), path, headers, body).await;
        let context = format!("{method} {path} {content_type}: {}", answer.text());
        assert_eq!(answer.status, status, "{context}");
        let problem = answer.problem(status, code);
        assert!(problem["detail"].as_str().expect("text").contains(hint), "{hint:?} is not in {context}");
        if status == 405 {
            assert!(!answer.header("allow").is_empty(), "a 405 says what is allowed (RFC 9110, 15.5.6): {context}");
        }
        if code == "too_large" {
            assert!(problem["limit"].is_u64(), "{context}");
        }
    }
    server.staging_becomes_empty().await;
    assert_eq!(server.stored().await, before);
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("pixmill_refused_total{code=\"bad_option\"}"), "{metrics}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_ids_and_paths_are_not_found() {
    let server = Server::start().await;
    std::fs::write(server.data().join("canary"), b"secret").expect("written");
    for id in [
        "x",
        "..",
        "%2e%2e",
        "..%2f..%2fcanary",
        "%00",
        "0198c5f0",
        "%F0%9F%98%80",
        "catalog.db",
        "0198C5F0-0000-7000-8000-00000000000G",
        &"a".repeat(4000),
    ] {
        for path in [
            format!("/i/{id}"),
            format!("/i/{id}/thumb.jpg"),
            format!("/v1/uploads/{id}"),
            format!("/v1/jobs/{id}"),
            format!("/v1/images/{id}"),
        ] {
            // Raw: the reference client would resolve the dots.
            let answer = wire::exchange(server.address, &wire::head("GET", &path, &[]), b"").await.expect("an answer");
            assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
            assert!(!answer.text().contains("secret"), "{path}");
        }
    }
    let image = server.make(pictures::small_jpeg(1), &["thumb=w:10"]).await["images"][0]["id"].as_str().expect("an id").to_owned();
    for name in ["THUMB.jpg", "thumb%00.jpg", "thumb.jpg.jpg", "thumb.", ".jpg", "..", "%2e%2e", "thumb.jpg%2f..", &"t".repeat(65)] {
        let answer = wire::exchange(server.address, &wire::head("GET", &format!("/i/{image}/{name}"), &[]), b"").await.expect("an answer");
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
    }
    std::fs::remove_file(server.data().join("canary")).expect("removed");
    server.finish().await;
}

/// Writes the head and `bytes` bytes of body without reading, then reads.
async fn write_then_read(server: &Server, head: &[u8], bytes: usize) -> (usize, Option<Answer>) {
    let mut wire = Wire::open(server.address).await;
    wire.write(head).await;
    let piece = vec![b'x'; 64 << 10];
    let mut written = 0;
    while written < bytes {
        let size = piece.len().min(bytes - written);
        if timeout(DEADLINE, wire.0.write_all(&piece[..size])).await.expect("takes bytes in time").is_err() {
            break;
        }
        written += size;
    }
    (written, wire.read().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_writes_50_mb_before_it_reads_still_sees_the_refusal() {
    const BYTES: usize = 50_000_000;
    let server = Server::with(|s| {
        s.max_file_bytes = Some("1MB".parse().expect("a size"));
        s.max_request_bytes = Some("1MB".parse().expect("a size"));
    })
    .await;
    let length = format!("Content-Length: {BYTES}");
    let form = format!("Content-Type: {FORM_TYPE}");
    for (head, status, code) in [
        (wire::head("PUT", "/v1/images/a.jpg", &[&length]), 413, "too_large"),
        (wire::head("POST", "/v1/images", &[&form, &length]), 413, "too_large"),
        (wire::head("POST", "/v1/images", &["Content-Type: application/json", &length]), 413, "too_large"),
        (wire::head("POST", "/v1/process?w=10", &["Content-Type: image/jpeg", &length]), 413, "too_large"),
    ] {
        let (written, answer) = write_then_read(&server, &head, BYTES).await;
        let answer = answer.unwrap_or_else(|| panic!("no answer after {written} bytes: {}", String::from_utf8_lossy(&head)));
        answer.problem(status, code);
        assert_eq!(written, BYTES, "the connection was closed under a client that still wrote");
    }
    server.finish().await;
    // The same for a refusal told by the first bytes, where the size would have been allowed.
    let server = Server::start().await;
    let (written, answer) = write_then_read(&server, &wire::head("PUT", "/v1/images/a.jpg", &[&length]), BYTES).await;
    answer.expect("an answer").problem(415, "unsupported_format");
    assert_eq!(written, BYTES);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_before_the_body_is_read() {
    let server = Server::with(|s| s.disk_reserve_bytes = Some("1000000TiB".parse().expect("a size"))).await;
    let form = Form::new().file("file", "a.jpg", &pictures::small_jpeg(1));
    server.post_form("/v1/images", form.clone()).await.problem(507, "disk_full");
    server.send(Method::PUT, "/v1/images/a.jpg", &[], pictures::small_jpeg(1)).await.problem(507, "disk_full");
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["checks"]["disk"]), (503, &false.into()));
    assert_eq!(server.get("/healthz").await.status, 200, "the process is well");
    assert_eq!(server.stats().await["uploads"], 0);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_uploads_and_nothing_else() {
    let server = Server::with(|s| s.max_queued_jobs = Some(0)).await;
    server.post_form("/v1/images", file(Form::new())).await.problem(503, "queue_full");
    server.send(Method::PUT, "/v1/images/a.jpg", &[], pictures::small_jpeg(1)).await.problem(503, "queue_full");
    assert_eq!(server.get("/readyz").await.status, 503);
    assert_eq!(server.get("/v1/stats").await.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_flight_are_bounded() {
    let server = Server::with(|s| s.max_uploads_in_flight = Some(1)).await;
    let picture = pictures::small_jpeg(2);
    let mut first = Wire::open(server.address).await;
    first.write(&wire::head("PUT", "/v1/images/a.jpg", &[&format!("Content-Length: {}", picture.len()), "Expect: 100-continue"])).await;
    // The service asks for the body: the first upload is being received.
    first.read_until(b"100 Continue\r\n\r\n").await;
    server.send(Method::PUT, "/v1/images/b.jpg", &[], picture.clone()).await.problem(503, "queue_full");
    first.write(&picture).await;
    assert_eq!(first.read().await.expect("an answer").status, 202);
    assert_eq!(server.send(Method::PUT, "/v1/images/b.jpg", &[], picture).await.status, 202, "the place is free again");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_under_way_is_finished_when_the_service_stops() {
    let mut server = Server::start().await;
    let picture = pictures::small_jpeg(3);
    let mut wire = Wire::open(server.address).await;
    wire.write(&wire::head("PUT", "/v1/images/a.jpg?w=10", &[&format!("Content-Length: {}", picture.len()), "Expect: 100-continue"])).await;
    wire.read_until(b"100 Continue\r\n\r\n").await;
    server.ask_to_stop();
    // Closed to newcomers …
    crate::support::until("no new connections", async || tokio::net::TcpStream::connect(server.address).await.is_err()).await;
    // … but not to whom it had begun to serve.
    wire.write(&picture).await;
    let answer = wire.read().await.expect("an answer");
    assert_eq!(answer.status, 202, "{}", answer.text());
    let data = server.stopped().await;
    // Acknowledged, hence there after a start, and worked on.
    let server = Server::on(data, |_| ()).await;
    let upload = server.finished(&answer.json()).await;
    assert_eq!(upload["status"], "completed", "{upload}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_is_given_up() {
    let server = Server::with(|s| s.body_idle_timeout = Some("200ms".parse().expect("a time"))).await;
    let picture = pictures::file(pictures::photo(40, 40, 1), ImageFormat::Png);
    let mut wire = Wire::open(server.address).await;
    wire.write(&wire::head("PUT", "/v1/images/a.png", &[&format!("Content-Length: {}", picture.len())])).await;
    wire.write(&picture[..100]).await;
    let bytes = wire.read_until(b"}").await;
    wire::answer_of(&bytes).expect("an answer").problem(408, "too_slow");
    drop(wire);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_beyond_the_memory_budget_is_refused_at_once() {
    let server = Server::with(|s| s.memory_budget = Some("16MiB".parse().expect("a size"))).await;
    let wide = pictures::png_saying(5000, 4000, &[]);
    // Small results are made of rows as they come; at full size all of it must be held.
    let problem = server.send(Method::PUT, "/v1/images/a.png?variant=all%3Df:jpg", &[], wide).await.problem(422, "too_costly");
    assert!(problem["detail"].as_str().expect("text").contains("16777216"), "{problem}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused_and_the_service_lives() {
    let server = Server::start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\0\x01"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET  / \r\n\r\n",
        b"PUT /v1/images/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ] {
        let mut wire = Wire::open(server.address).await;
        wire.write(bytes).await;
        wire.end().await;
        if let Some(answer) = wire.read().await {
            assert!((400..500).contains(&answer.status) || answer.status == 505, "{bytes:?}: {}", answer.status);
        }
    }
    let both = wire::head("PUT", "/v1/images/a", &["Content-Length: 5", "Transfer-Encoding: chunked"]);
    let answer = wire::exchange(server.address, &both, b"0\r\n\r\n").await;
    assert!(answer.is_none_or(|answer| answer.status == 400), "two lengths");
    assert_eq!(server.send(Method::GET, "/healthz", &[], Bytes::new()).await.status, 200);
    server.finish().await;
}
