//! Bytes on a socket: forms written by hand, requests sent in any cuts, answers read to their end.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::DEADLINE;

pub(crate) const BOUNDARY: &str = "pixmill-tests-7MA4YWxk";
pub(crate) const FORM_TYPE: &str = "multipart/form-data; boundary=pixmill-tests-7MA4YWxk";

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The text of a header, empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// The JSON of a problem, checked for everything RFC 9457 and the contract promise of each.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(status.into()), Some(code)), "{problem}");
        for member in ["type", "title", "detail", "instance"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} is missing in {problem}");
        }
        let detail = problem["detail"].as_str().unwrap_or_default();
        for secret in ["/tmp", "src/", ".rs:", "panicked", "SQL", "sqlite"] {
            assert!(!detail.contains(secret), "{detail}");
        }
        let waits = matches!(status, 429 | 503 | 507);
        assert_eq!(!self.header("retry-after").is_empty(), waits, "Retry-After with {status}");
        assert_eq!(problem["retry_after_s"].is_u64(), waits, "{problem}");
        problem
    }
}

/// A form, part by part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form(Vec<u8>);

impl Form {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn part(mut self, headers: &str, body: &[u8]) -> Self {
        self.0.extend_from_slice(format!("--{BOUNDARY}\r\n{headers}\r\n\r\n").as_bytes());
        self.0.extend_from_slice(body);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    pub(crate) fn field(self, name: &str, value: &str) -> Self {
        self.part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_bytes())
    }

    pub(crate) fn file(self, name: &str, filename: &str, body: &[u8]) -> Self {
        let head =
            format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\nContent-Type: application/octet-stream");
        self.part(&head, body)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.0
    }
}

/// `Repr-Digest` of some bytes (RFC 9530).
pub(crate) fn repr_digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(bytes)))
}

/// A request's head, connection closed after it. `headers` are whole lines without their ends.
pub(crate) fn head(method: &str, path: &str, headers: &[&str]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// A body in the chunked coding, `size` bytes a chunk.
pub(crate) fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut coded = Vec::new();
    for piece in body.chunks(size) {
        coded.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        coded.extend_from_slice(piece);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}

/// A connection to the service.
pub(crate) struct Wire(pub(crate) TcpStream);

impl Wire {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        stream.set_nodelay(true).expect("a socket");
        Self(stream)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        timeout(DEADLINE, self.0.write_all(bytes)).await.expect("takes bytes in time").expect("takes bytes");
    }

    /// Says that nothing more will be written.
    pub(crate) async fn end(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// What comes until the service closes: the final answer, if there was one.
    pub(crate) async fn read(mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        // A reset after the answer is an end, too.
        let _ = timeout(DEADLINE, self.0.read_to_end(&mut bytes)).await.expect("closes in time");
        answer_of(&bytes)
    }

    /// Reads until what came contains `wanted`.
    pub(crate) async fn read_until(&mut self, wanted: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !bytes.windows(wanted.len()).any(|window| window == wanted) {
            let read = timeout(DEADLINE, self.0.read_buf(&mut bytes)).await.expect("answers in time").expect("answers");
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        }
        bytes
    }
}

/// Sends all of it, reads the answer.
pub(crate) async fn exchange(address: SocketAddr, head: &[u8], body: &[u8]) -> Option<Answer> {
    let mut wire = Wire::open(address).await;
    wire.write(head).await;
    // A refusal may come, and the connection end, before all was written.
    let _ = timeout(DEADLINE, wire.0.write_all(body)).await.expect("takes bytes in time");
    wire.read().await
}

/// Sends the body in pieces of `size` bytes, the first few as segments of their own.
pub(crate) async fn exchange_in_pieces(address: SocketAddr, head: &[u8], body: &[u8], size: usize) -> Option<Answer> {
    let mut wire = Wire::open(address).await;
    wire.write(head).await;
    for (index, piece) in body.chunks(size.max(1)).enumerate() {
        if timeout(DEADLINE, wire.0.write_all(piece)).await.expect("takes bytes in time").is_err() {
            break;
        }
        if index < 16 && size < body.len() {
            // Not awaited for anything: it makes separate reads likely, and no result depends on it.
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }
    wire.read().await
}

/// The final answer in what a connection gave, interim ones passed over.
pub(crate) fn answer_of(mut bytes: &[u8]) -> Option<Answer> {
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (head, rest) = (std::str::from_utf8(&bytes[..end]).expect("an ASCII head"), &bytes[end + 4..]);
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        if (100..200).contains(&status) {
            bytes = rest;
            continue;
        }
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').expect("a header line");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value.trim()).expect("a value"));
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let body = match (text("content-length"), text("transfer-encoding")) {
            (Some(length), _) => {
                let length: usize = length.parse().expect("a number");
                assert!(rest.len() >= length, "the answer is cut short: {} of {length} bytes", rest.len());
                rest[..length].to_vec()
            }
            (None, Some("chunked")) => unchunked(rest),
            _ => rest.to_vec(),
        };
        return Some(Answer { status, headers, body: body.into() });
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).expect("ASCII"), 16).expect("a size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
}
