//! Slow and silent clients are given their time and no more, and none of it is taken from others.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::support::{
    DEADLINE, Server, pictures,
    wire::{Wire, answer_of, exchange, head},
};

fn time(text: &str) -> Option<pixmill::config::Span> {
    Some(text.parse().expect("a time"))
}

fn size(text: &str) -> Option<pixmill::config::ByteSize> {
    Some(text.parse().expect("a size"))
}

/// Sends a head, then a byte again and again until there is an answer; that, and when it came.
async fn trickle(server: &Server, pause: Duration) -> (crate::support::wire::Answer, Duration) {
    let begun = Instant::now();
    let wire = Wire::open(server.address).await;
    let (mut reader, mut writer) = wire.0.into_split();
    writer.write_all(&head("PUT", "/v1/images/a.jpg", &["Content-Length: 1000000"])).await.expect("takes it");
    let trickle = tokio::spawn(async move {
        let photo = pictures::small_jpeg(1);
        for byte in photo.iter().cycle() {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
    });
    let mut all = Vec::new();
    while !all.ends_with(b"}") {
        let read = timeout(DEADLINE, reader.read_buf(&mut all)).await.expect("answers in time").expect("answers");
        assert_ne!(read, 0, "closed without an answer");
    }
    let took = begun.elapsed();
    trickle.abort();
    (answer_of(&all).expect("an answer"), took)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_below_the_rate_is_given_up() {
    let server = Server::with(|s| {
        s.body_idle_timeout = time("1s");
        s.min_body_rate = size("1MB");
    })
    .await;
    // Never silent for long, and never fast: the grace of one second is all there is.
    let (answer, took) = trickle(&server, Duration::from_millis(20)).await;
    answer.problem(408, "too_slow");
    assert_eq!(answer.header("connection"), "close");
    assert!(took >= Duration::from_millis(900), "{took:?}");
    server.staging_becomes_empty().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_total_time() {
    let server = Server::with(|s| {
        s.body_timeout = time("500ms");
        s.min_body_rate = size("0");
    })
    .await;
    let (answer, took) = trickle(&server, Duration::from_millis(10)).await;
    answer.problem(408, "too_slow");
    assert!(took >= Duration::from_millis(450), "{took:?}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let server = Server::with(|s| s.idle_timeout = time("400ms")).await;
    let begun = Instant::now();
    let mut idle = Wire::open(server.address).await;
    idle.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let photo = pictures::small_jpeg(1);
    let mut busy = Wire::open(server.address).await;
    busy.write(&head("PUT", "/v1/images/a.jpg", &[&format!("Content-Length: {}", photo.len())])).await;
    let mut all = Vec::new();
    timeout(DEADLINE, idle.0.read_to_end(&mut all)).await.expect("is closed").expect("in the protocol's way");
    assert_eq!(answer_of(&all).expect("an answer").status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(350), "it had its time: {:?}", begun.elapsed());
    // The other has been at it for longer than that without a request's end.
    sleep(Duration::from_millis(400)).await;
    busy.write(&photo).await;
    assert_eq!(busy.read().await.expect("an answer").status, 202);
    server.finish().await;
}

/// A connection with HTTP/2; `window` is how much of an answer the client takes unasked.
async fn http2(server: &Server, window: u32) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(server.address).await.expect("connects");
    let (send, connection) = h2::client::Builder::new().initial_window_size(window).handshake(stream).await.expect("speaks HTTP/2");
    (send, tokio::spawn(connection))
}

fn get(server: &Server, path: &str) -> Request<()> {
    Request::get(format!("{}{path}", server.base())).body(()).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_that_only_pings_is_idle() {
    let server = Server::with(|s| s.idle_timeout = time("400ms")).await;
    let stream = TcpStream::connect(server.address).await.expect("connects");
    let (mut send, mut connection) = h2::client::handshake(stream).await.expect("speaks HTTP/2");
    let mut pings = connection.ping_pong().expect("once");
    let connection = tokio::spawn(connection);
    let (answer, _) = send.send_request(get(&server, "/healthz"), true).expect("sends");
    let begun = Instant::now();
    assert_eq!(timeout(DEADLINE, answer).await.expect("in time").expect("answers").status(), 200);
    let pinging = tokio::spawn(async move {
        while pings.ping(h2::Ping::opaque()).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    // GOAWAY without an error, and then the end.
    timeout(DEADLINE, connection).await.expect("is closed").expect("runs").expect("in the protocol's way");
    assert!(begun.elapsed() >= Duration::from_millis(350), "{:?}", begun.elapsed());
    timeout(DEADLINE, pinging).await.expect("ends").expect("runs");
    server.finish().await;
}

/// What is whole in memory is given to h2 at once; it is in flight until the client has had room for it, all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_waits_for_the_clients_window_is_not_idle() {
    const WINDOW: u32 = 8 << 10;
    let server = Server::with(|s| s.idle_timeout = time("400ms")).await;
    let (mut send, connection) = http2(&server, WINDOW).await;
    let whole = server.get("/openapi.json").await.body;
    let (answer, _) = send.send_request(get(&server, "/openapi.json"), true).expect("sends");
    let mut body = timeout(DEADLINE, answer).await.expect("in time").expect("answers").into_body();
    let (begun, mut read) = (Instant::now(), Vec::new());
    while let Some(data) = timeout(DEADLINE, body.data()).await.expect("in time") {
        let data = data.expect("is not cut");
        // As slow as it takes for the whole to last four times the idle time.
        sleep(Duration::from_secs_f64(1.6 * data.len() as f64 / whole.len() as f64)).await;
        read.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).expect("gives it back");
    }
    assert!(begun.elapsed() >= Duration::from_millis(1200), "{:?}", begun.elapsed());
    assert_eq!(read.len(), whole.len());
    // No goodbye was said meanwhile.
    send = timeout(DEADLINE, send.ready()).await.expect("in time").expect("takes another");
    let (answer, _) = send.send_request(get(&server, "/healthz"), true).expect("sends");
    assert_eq!(timeout(DEADLINE, answer).await.expect("in time").expect("answers").status(), 200);
    drop(send);
    let _ = timeout(DEADLINE, connection).await.expect("ends");
    server.finish().await;
}

/// Stores an original of many bytes; its path.
async fn large_original(server: &Server, bytes: usize) -> String {
    let original = [&pictures::png(pictures::photo(16, 16, 1))[..], &vec![7; bytes]].concat();
    let upload = server.send(Method::PUT, "/v1/images/a.png", &[], original).await;
    assert_eq!(upload.status, 202, "{}", upload.text());
    format!("/i/{}", server.finished(&upload.json()).await["images"][0]["id"].as_str().expect("an id"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_let_go() {
    const BYTES: usize = 40 << 20;
    let server = Server::with(|s| s.write_timeout = time("300ms")).await;
    let path = large_original(&server, BYTES).await;
    let data = server.stopped().await;
    // One connection at a time: the next is served when the reader that holds still has been closed.
    let server = Server::on(data, |s| {
        s.write_timeout = time("300ms");
        s.max_connections = Some(1);
    })
    .await;
    let mut still = Wire::open(server.address).await;
    still.write(&head("GET", &path, &[])).await;
    still.read_until(b"\r\n\r\n").await;
    assert_eq!(exchange(server.address, &head("GET", "/healthz", &[]), b"").await.expect("an answer").status, 200);
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, still.0.read_to_end(&mut rest)).await.expect("is closed");
    assert!(rest.len() < BYTES, "the answer was cut");
    // The same for a window that is never opened.
    let (send, connection) = http2(&server, 0).await;
    let mut send = send.ready().await.expect("ready");
    let (answer, _) = send.send_request(get(&server, &path), true).expect("sends");
    let answer = timeout(DEADLINE, answer).await.expect("in time").expect("answers");
    assert_eq!(answer.status(), 200);
    let _ = timeout(DEADLINE, connection).await.expect("is closed");
    drop(answer);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_above_the_rate_gets_everything() {
    const BYTES: usize = 24 << 20;
    let server = Server::with(|s| s.write_timeout = time("1500ms")).await;
    let path = large_original(&server, BYTES).await;
    let mut wire = Wire::open(server.address).await;
    wire.write(&head("GET", &path, &[])).await;
    let (begun, mut read, mut piece) = (Instant::now(), 0, vec![0; 256 << 10]);
    loop {
        match timeout(DEADLINE, wire.0.read(&mut piece)).await.expect("in time").expect("is not cut") {
            0 => break,
            n => read += n,
        }
        sleep(Duration::from_millis(25)).await;
    }
    assert!(read > BYTES && begun.elapsed() > Duration::from_secs(2), "{read} bytes in {:?}", begun.elapsed());
    server.finish().await;
}

/// Frames that bring nothing end the connection, however they are answered.
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_empty_frames_end_the_connection() {
    let server = Server::start().await;
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
    let settings = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let window = vec![0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let priority = vec![0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 3, 7];
    for (what, frame) in [("PING", ping), ("SETTINGS", settings), ("WINDOW_UPDATE", window), ("PRIORITY", priority)] {
        let wire = Wire::open(server.address).await;
        let (mut reader, mut writer) = wire.0.into_split();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            let _ = reader.read_to_end(&mut all).await;
        });
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        bytes.extend(frame.repeat(40_000));
        let _ = timeout(DEADLINE, writer.write_all(&bytes)).await.expect("takes them or closes");
        timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("{what}: is not closed")).expect("runs");
    }
    assert_eq!(server.get("/healthz").await.status, 200);
    server.finish().await;
}

/// Two hundred uploads over one connection: all come through, at most a hundred at a time.
#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_over_one_http2_connection_all_come_through() {
    let server = Server::start().await;
    let (send, connection) = http2(&server, 1 << 16).await;
    let photo = Bytes::from(pictures::small_jpeg(5));
    // The answer comes behind the service's settings: from then on the client keeps to a hundred streams.
    let (answer, _) = send.clone().ready().await.expect("ready").send_request(get(&server, "/healthz"), true).expect("sends");
    assert_eq!(timeout(DEADLINE, answer).await.expect("in time").expect("answers").status(), 200);
    let mut answers = Vec::new();
    for n in 0..200 {
        let mut send = timeout(DEADLINE, send.clone().ready()).await.expect("in time").expect("ready");
        let request = Request::put(format!("{}/v1/images/{n}.jpg?w=8", server.base())).body(()).expect("a request");
        let (answer, mut body) = send.send_request(request, false).expect("sends");
        let photo = photo.clone();
        answers.push(tokio::spawn(async move {
            body.send_data(photo, true).expect("sends");
            answer.await.expect("answers").status().as_u16()
        }));
    }
    for answer in answers {
        assert_eq!(timeout(DEADLINE, answer).await.expect("in time").expect("runs"), 202);
    }
    drop(send);
    connection.abort();
    server.finish().await;
}
