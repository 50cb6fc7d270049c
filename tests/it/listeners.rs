//! Where the service listens and whom it takes: Unix socket, TLS with certificates that change, places for each client,
//! descriptors that run out, and the end.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use http::Method;
use pixmill::{app::App, config::Config, http::Bound};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer},
};

use crate::support::{
    DEADLINE, Server, pictures,
    process::Process,
    small, until,
    wire::{Answer, Wire, answer_of, exchange, head},
};

/// One request on any stream, read to the stream's end.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Answer {
    timeout(DEADLINE, stream.write_all(request)).await.expect("in time").expect("takes it");
    let mut all = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut all)).await.expect("closes in time");
    answer_of(&all).expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_like_a_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pixmill.sock");
    // What a killed process left.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
    let mut settings = small(&folder.path().join("data"));
    settings.listen = Some(format!("unix:{}", path.display()).parse().expect("an address"));
    let config = Config::resolve(settings).expect("valid");
    let app = App::start(&config).await.expect("starts");
    assert_eq!(app.address(), &Bound::Unix(path.clone()));
    assert_eq!(app.url(), format!("unix:{}", path.display()));
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(app.run(async {
        let _ = stopped.await;
    }));
    let connect = async || UnixStream::connect(&path).await.expect("connects");
    assert_eq!(ask(connect().await, &head("GET", "/healthz", &[])).await.status, 200);
    let photo = pictures::small_jpeg(1);
    let request = [head("PUT", "/v1/images/a.jpg?w=10", &[&format!("Content-Length: {}", photo.len()), "Prefer: wait=60"]), photo].concat();
    let answer = ask(connect().await, &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    stop.send(()).expect("runs");
    timeout(DEADLINE, running).await.expect("stops in time").expect("runs").expect("stops well");
    assert!(!path.exists(), "the socket goes with the service");
}

/// A certificate for `localhost` and its key, written into `folder`; the certificate.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("makes");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("writes");
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("writes");
    made.cert.der().clone()
}

async fn shake_hands(address: SocketAddr, trusted: &CertificateDer<'static>, protocols: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await.expect("connects");
    let name = "localhost".try_into().expect("a name");
    timeout(DEADLINE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("in time")
}

/// The real binary with TLS; its certificate is in `folder`.
fn with_tls(folder: &Path, more: &[&str]) -> Process {
    Process::start(folder, &[&["--tls-cert", "cert.pem", "--tls-key", "key.pem"], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_serves_both_versions_and_takes_up_new_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = certify(folder.path());
    let mut server = with_tls(folder.path(), &[]);
    let stream = shake_hands(server.address, &first, &[]).await.expect("is trusted");
    assert_eq!(ask(stream, &head("GET", "/healthz", &[])).await.status, 200);
    let photo = pictures::small_jpeg(1);
    let request = [head("PUT", "/v1/images/a.jpg", &[&format!("Content-Length: {}", photo.len())]), photo].concat();
    let answer = ask(shake_hands(server.address, &first, &[b"http/1.1"]).await.expect("is trusted"), &request).await;
    assert_eq!((answer.status, answer.header("location").starts_with("https://localhost/")), (202, true), "{:?}", answer.headers);

    let stream = shake_hands(server.address, &first, &[b"h2", b"http/1.1"]).await.expect("is trusted");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut send, connection) = h2::client::handshake(stream).await.expect("speaks HTTP/2");
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://localhost/healthz").body(()).expect("a request");
    let (answer, _) = send.send_request(request, true).expect("sends");
    assert_eq!(timeout(DEADLINE, answer).await.expect("in time").expect("answers").status(), 200);
    connection.abort();

    // A certificate that cannot be used changes nothing, and is said once.
    std::fs::write(folder.path().join("cert.pem"), "no certificate").expect("writes");
    server.signal(Signal::HUP);
    let warnings = || server.log().iter().filter(|line| line["level"] == "WARN").count();
    until("a warning", async || warnings() > 0).await;
    shake_hands(server.address, &first, &[]).await.expect("the old one is still shown");
    let second = certify(folder.path());
    server.signal(Signal::HUP);
    until("the new certificate is shown", async || shake_hands(server.address, &second, &[]).await.is_ok()).await;
    assert!(shake_hands(server.address, &first, &[]).await.is_err(), "and the old one is not");
    assert_eq!(warnings(), 1, "{:?}", server.log());
    server.terminate();
    assert!(server.ended().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_do_not_come_are_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let trusted = certify(folder.path());
    let server = with_tls(folder.path(), &["--header-timeout", "3s"]);
    let mut silent = Wire::open(server.address).await;
    silent.write(b"\x16\x03\x01\x02\x00").await;
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, silent.0.read_to_end(&mut rest)).await.expect("is closed");
    let mut plain = Wire::open(server.address).await;
    plain.write(&head("GET", "/healthz", &[])).await;
    let _ = timeout(DEADLINE, plain.0.read_to_end(&mut rest)).await.expect("plain HTTP is closed");
    let stream = shake_hands(server.address, &trusted, &[]).await.expect("is trusted");
    assert_eq!(ask(stream, &head("GET", "/healthz", &[])).await.status, 200);
    server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_has_its_places() {
    let server = Server::with(|s| {
        s.max_connections_per_client = Some(2);
        s.max_uploads_per_client = Some(1);
    })
    .await;
    let photo = pictures::small_jpeg(1);
    let length = format!("Content-Length: {}", photo.len());
    let mut first = Wire::open(server.address).await;
    first.write(&head("PUT", "/v1/images/a.jpg", &[&length, "Expect: 100-continue"])).await;
    first.read_until(b"100 Continue\r\n\r\n").await;
    let mut second = Wire::open(server.address).await;
    let again = format!("PUT /v1/images/a.jpg HTTP/1.1\r\nHost: localhost\r\n{length}\r\nExpect: 100-continue\r\n\r\n");
    second.write(again.as_bytes()).await;
    answer_of(&second.read_until(b"}").await).expect("an answer").problem(429, "rate_limited");
    // Both places are taken, and a third connection is told so.
    let third = Wire::open(server.address).await;
    third.read().await.expect("an answer").problem(429, "rate_limited");
    first.write(&photo).await;
    assert_eq!(first.read().await.expect("an answer").status, 202);
    drop(second);
    let free = async || exchange(server.address, &head("GET", "/healthz", &[]), b"").await.is_some_and(|answer| answer.status == 200);
    until("a place is free again", free).await;
    let put = async || exchange(server.address, &head("PUT", "/v1/images/a.jpg", &[&length]), &photo).await;
    until("an upload is taken again", async || put().await.is_some_and(|answer| answer.status == 202)).await;
    let free = async || exchange(server.address, &head("GET", "/healthz", &[]), b"").await.is_some_and(|answer| answer.status == 200);
    until("a place is free at the end", free).await;
    let data = server.stopped().await;
    crate::support::nothing_left(data.path()).await;
}

/// With too few descriptors accepting pauses, does not spin, and goes on when there are some again.
#[tokio::test(flavor = "multi_thread")]
async fn too_few_descriptors_are_a_pause() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Process::start(folder.path(), &[]);
    let pid = server.pid();
    let few = Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::prlimit(Some(pid), Resource::Nofile, few).expect("limits");
    let mut wires = Vec::new();
    for _ in 0..200 {
        let mut wire = Wire::open(server.address).await;
        wire.write(&head("GET", "/healthz", &[])[..20]).await;
        wires.push(wire);
    }
    let of_accepting = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("cannot accept"));
    let short = || server.log().iter().any(of_accepting);
    until("it says so", async || short()).await;
    let before = cpu_ticks(pid);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // A loop without a pause would take all of a core: 100 ticks a second.
    let spent = cpu_ticks(pid) - before;
    assert!(spent < 50, "{spent} ticks of 10 ms in a second");
    drop(wires);
    assert_eq!(exchange(server.address, &head("GET", "/healthz", &[]), b"").await.expect("an answer").status, 200);
    let said = server.log().iter().filter(|line| of_accepting(line)).count();
    assert!(said <= 2, "{said} warnings");
    server.kill();
}

/// Processor time a process has used, in ticks of 10 ms.
fn cpu_ticks(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("a process of ours");
    let behind_name = stat.rsplit_once(')').expect("a name").1;
    behind_name.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum()
}

/// A request that was on its way when the service began to stop is answered, an upload with `shutting_down`.
#[tokio::test(flavor = "multi_thread")]
async fn requests_on_their_way_at_the_end_are_told_so() {
    let mut server = Server::start().await;
    let photo = pictures::small_jpeg(3);
    let length = format!("Content-Length: {}", photo.len());
    let mut upload = Wire::open(server.address).await;
    upload.write(&head("PUT", "/v1/images/a.jpg", &[&length, "Expect: 100-continue"])).await;
    upload.read_until(b"100 Continue\r\n\r\n").await;
    let request = head("PUT", "/v1/images/b.jpg", &[&length]);
    let (begun, rest) = request.split_at(30);
    let mut on_their_way = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::open(server.address).await;
        wire.write(begun).await;
        on_their_way.push(wire);
    }
    // Answered after all of those were accepted, and, but for the last perhaps, after their first bytes were read.
    for _ in 0..5 {
        server.send(Method::GET, "/healthz", &[], "").await;
    }
    server.ask_to_stop();
    until("no new connections", async || TcpStream::connect(server.address).await.is_err()).await;
    let mut told = 0;
    for mut wire in on_their_way {
        // One of which nothing had been read yet is closed without a word.
        let _ = wire.0.write_all(&[rest, &photo].concat()).await;
        if let Some(answer) = wire.read().await {
            answer.problem(503, "shutting_down");
            assert_eq!(answer.header("connection"), "close");
            told += 1;
        }
    }
    assert!(told > 0, "nobody was told");
    upload.write(&photo).await;
    let answer = upload.read().await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (202, "close"));
    server.stopped().await;
}
