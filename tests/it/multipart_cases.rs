//! The multipart cases of other parsers' test suites, where `PIXMILL_CORPUS` names the folder that holds them.
//!
//! Every case, in several cuts, is answered alike and never with a 5xx; what is accepted comes back byte for byte.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::{Server, sha256_hex, wire};

/// Cases in the corpus.
const CASES: usize = 181;
/// Longest body that is sent byte by byte.
const MOST_BYTEWISE: usize = 20_000;

/// The corpus, or a line that says why there is none.
fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("PIXMILL_CORPUS").map(PathBuf::from).filter(|folder| folder.join("mp-cases/cases.jsonl").exists());
    if folder.is_none() {
        eprintln!("SKIPPED: PIXMILL_CORPUS does not name a folder with mp-cases/cases.jsonl");
    }
    folder
}

fn cases(corpus: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(corpus.join("mp-cases/cases.jsonl")).expect("readable");
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(cases.len(), CASES, "the corpus is not the one this test knows");
    cases
}

/// Where forms with fields of their own are sent: the cases have fields that are no options of ours.
const PATH: &str = "/v1/images?unknown_fields=metadata";

/// The driver that came with the cases; its complaints.
async fn drive(server: &Server, path: &str, corpus: &Path, flags: &[&str]) -> Vec<String> {
    let mut command = Command::new("python3");
    command.arg("-B").arg(corpus.join("run_mp_cases.py")).arg(format!("{}{path}", server.base())).args(flags);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed: Vec<String> = said.lines().filter_map(|line| line.strip_prefix("FAIL ")).map(str::to_owned).collect();
    assert_eq!(output.status.code(), Some(i32::from(!failed.is_empty())), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{path} {flags:?}: {}", said.lines().last().unwrap_or_default());
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_corpus_driver_is_content() {
    let Some(corpus) = corpus() else { return };
    cases(&corpus);
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no python3");
        return;
    }
    let server = Server::start().await;
    let mut failed = Vec::new();
    for (path, flags) in [
        (PATH, &["--png"][..]),
        (PATH, &["--png", "--te", "--chunk", "whole,7"]),
        (PATH, &["--accept-4xx"]),
        // By default a stray field is refused, so that here 4xx is fair; 5xx, silence and answers that depend on the cuts are not.
        ("/v1/images", &["--png", "--accept-4xx"]),
        ("/v1/images", &["--accept-4xx", "--te"]),
    ] {
        failed.extend(drive(&server, path, &corpus, flags).await);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_files_come_back_byte_for_byte() {
    let Some(corpus) = corpus() else { return };
    let server = Server::start().await;
    let (mut sent, mut files, mut failures) = (0, 0, Vec::new());
    for case in cases(&corpus) {
        let Some(body) = case["png_variant"]["body"].as_str() else { continue };
        let body = std::fs::read(corpus.join("mp-cases").join(body)).expect("readable");
        let id = case["id"].as_str().expect("an id");
        let mut wanted: Vec<String> = case["png_variant"]["files"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|file| file["png_sha256"].as_str().or(file["sha256"].as_str()).expect("a hash").to_owned())
            .collect();
        wanted.sort();
        let mut outcomes = Vec::new();
        for size in [body.len(), 1, 7, 4096] {
            if size == 1 && body.len() > MOST_BYTEWISE {
                continue;
            }
            let (host, length) = (server.address, body.len());
            let first = format!("POST {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\nContent-Type: ");
            let mut head = first.into_bytes();
            // As the corpus has it, one byte a character.
            head.extend(case["content_type"].as_str().expect("a type").chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')));
            head.extend_from_slice(b"\r\n\r\n");
            let Some(answer) = wire::exchange_in_pieces(server.address, &head, &body, size).await else {
                failures.push(format!("{id} in pieces of {size}: no answer"));
                continue;
            };
            let mut hashes = Vec::new();
            if answer.status == 202 {
                for image in answer.json()["images"].as_array().expect("images") {
                    let stored = server.get(image["url"].as_str().expect("a url")).await;
                    let hash = sha256_hex(&stored.body);
                    assert_eq!(image["sha256"], hash, "{id}: the answer and the download disagree");
                    hashes.push(hash);
                    files += 1;
                }
                hashes.sort();
                if hashes != wanted {
                    failures.push(format!("{id} in pieces of {size}: stored {hashes:?}, sent {wanted:?}"));
                }
            }
            outcomes.push((answer.status, hashes));
            sent += 1;
        }
        if outcomes.windows(2).any(|pair| pair[0] != pair[1]) {
            failures.push(format!("{id}: depends on the cuts: {outcomes:?}"));
        }
        let status = outcomes.first().map_or(0, |(status, _)| *status);
        let fits = match case["service"].as_str().expect("a verdict") {
            "accept" => status == 202,
            "reject" => (400..500).contains(&status),
            "either" | "accept-or-limit" => status == 202 || (400..500).contains(&status),
            other => panic!("unknown verdict {other}"),
        };
        if !fits {
            failures.push(format!("{id}: {status}, the corpus says {}", case["service"]));
        }
    }
    println!("{sent} requests, {files} files compared");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(files > 300, "only {files} files came back");
    server.finish().await;
}
