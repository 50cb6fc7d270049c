//! The order of every 202, read from the system calls of the real binary: write, sync the file, rename, sync the folder, write and sync the
//! catalog, answer.
//!
//! Said aloud and passed over where `strace` is not installed or may not trace.

use std::{collections::HashMap, path::Path, process::Command};

use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    DEADLINE, files_below, pictures,
    process::Process,
    sha256_hex,
    wire::{FORM_TYPE, Form},
};

const CALLS: &str =
    "openat,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,sync_file_range,rename,renameat,renameat2,link,linkat,sendto,sendmsg";

/// A system call that succeeded; its first and last line in the trace tell what came before what.
#[derive(Debug)]
struct Call {
    name: String,
    /// With strings and paths as the bytes they are.
    arguments: Vec<u8>,
    result: i64,
    begin: usize,
    end: usize,
}

impl Call {
    /// The path of the descriptor that is the first argument (`12</data/file>`).
    fn path(&self) -> Option<&str> {
        let start = self.arguments.iter().position(|byte| *byte == b'<')?;
        let is_number = start > 0 && self.arguments[..start].iter().all(u8::is_ascii_digit);
        let end = start + self.arguments[start..].iter().position(|byte| *byte == b'>')?;
        std::str::from_utf8(&self.arguments[start + 1..end]).ok().filter(|_| is_number)
    }

    /// From and to of a call that gives a file a name.
    fn names(&self) -> Option<(String, String)> {
        let text = String::from_utf8_lossy(&self.arguments).into_owned();
        let quoted: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
        ["rename", "renameat", "renameat2", "link", "linkat"].contains(&self.name.as_str()).then(|| {
            let [from, to] = quoted[..] else { panic!("{text}") };
            (from.to_owned(), to.to_owned())
        })
    }

    fn writes(&self) -> bool {
        ["write", "pwrite64", "writev", "pwritev", "pwritev2"].contains(&self.name.as_str())
    }

    fn syncs(&self) -> bool {
        ["fsync", "fdatasync"].contains(&self.name.as_str())
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        self.arguments.windows(bytes.len()).any(|window| window == bytes)
    }
}

/// Undoes `\x41`: what `strace -xx` makes of every byte of strings and paths.
fn unescaped(line: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(line.len() / 2);
    let mut rest = line;
    while let Some(at) = rest.find("\\x") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).expect("two digits"));
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// The successful calls of a trace of several threads, in order of their ends.
fn calls_of(trace: &str) -> Vec<Call> {
    let mut open: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let line = line.trim_start();
        let (begin, text) = if let Some(first) = line.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (number, first));
            continue;
        } else if line.starts_with("<... ") {
            let Some((begin, first)) = open.remove(thread) else { continue };
            (begin, format!("{first}{}", line.split_once(" resumed>").expect("a resumed call").1))
        } else {
            (number, line.to_owned())
        };
        let (Some((name, rest)), Some((head, result))) = (text.split_once('('), text.rsplit_once(" = ")) else { continue };
        let result: i64 = result.split(['<', ' ']).next().and_then(|n| n.parse().ok()).unwrap_or(-1);
        if result >= 0 {
            let arguments = unescaped(&rest[..rest.len().saturating_sub(text.len() - head.len())]);
            calls.push(Call { name: name.to_owned(), arguments, result, begin, end: number });
        }
    }
    calls
}

/// An acknowledged upload, as its client saw it.
struct Acknowledged {
    id: Uuid,
    sha256: Vec<String>,
}

async fn upload(address: std::net::SocketAddr, files: &[Vec<u8>]) -> Acknowledged {
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().expect("a client");
    let form = files.iter().fold(Form::new(), |form, file| form.file("file", "a.jpg", file)).field("variant", "v=w:40").end();
    let request = client.post(format!("http://{address}/v1/images")).header("content-type", FORM_TYPE).body(form);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 202);
    let answer: Value = answer.json().await.expect("JSON");
    let told: Vec<&str> = answer["images"].as_array().expect("images").iter().map(|i| i["sha256"].as_str().expect("text")).collect();
    let sha256: Vec<String> = files.iter().map(|file| sha256_hex(file)).collect();
    assert_eq!(told, sha256);
    Acknowledged { id: answer["id"].as_str().expect("an id").parse().expect("a UUID"), sha256 }
}

/// Where the folder sync that made this blob durable ended, its file's size checked on the way.
fn durable_at(calls: &[Call], blob: &Path) -> usize {
    let named = calls.iter().find_map(|call| call.names().filter(|(_, to)| Path::new(to) == blob).map(|(from, _)| (call, from)));
    let Some((rename, from)) = named else { panic!("{} was never renamed into place", blob.display()) };
    let writes: Vec<&Call> = calls.iter().filter(|call| call.writes() && call.path() == Some(from.as_str())).collect();
    let written: i64 = writes.iter().map(|call| call.result).sum();
    assert_eq!(written.unsigned_abs(), std::fs::metadata(blob).expect("a file").len(), "{from}: all of it was written by traced calls");
    let last = writes.iter().map(|call| call.end).max().expect("writes");
    let sync = calls.iter().find(|call| call.syncs() && call.path() == Some(from.as_str()) && call.begin > last && call.end < rename.begin);
    assert!(sync.is_some(), "{from} was not synced between its last write and its rename");
    let folder = blob.parent().and_then(Path::to_str).expect("a folder");
    let sync = calls.iter().find(|call| call.syncs() && call.path() == Some(folder) && call.begin > rename.end);
    sync.unwrap_or_else(|| panic!("{folder} was not synced after the rename")).end
}

#[tokio::test(flavor = "multi_thread")]
async fn every_202_comes_after_all_that_makes_it_true() {
    let able = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !able.as_ref().is_ok_and(std::process::ExitStatus::success) {
        eprintln!("SKIPPED: strace is not installed or may not trace: {able:?}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder_path = folder.path().canonicalize().expect("a path");
    let trace = folder_path.join("trace.txt");
    let trace_option = format!("trace={CALLS}");
    // A page of the catalog is 4096 bytes and shown whole; a piece of a file is not, its length is enough.
    let tracer =
        ["strace", "-f", "-y", "-xx", "-s", "4200", "-e", &trace_option, "-e", "signal=none", "-o", trace.to_str().expect("UTF-8")];
    let mut service = Process::start_by(&tracer, &folder_path, &[]);
    let large = pictures::jpeg(&pictures::photo(1400, 1000, 7), 100);
    assert!(large.len() > 600_000);
    let small = pictures::small_jpeg(1);
    let numbered = |n: u32| pictures::with_comment(&small, &n.to_string());
    let mut all = Vec::new();
    all.push(upload(service.address, std::slice::from_ref(&small)).await);
    all.push(upload(service.address, std::slice::from_ref(&large)).await);
    all.push(upload(service.address, &[numbered(1), pictures::with_comment(&large, "2"), numbered(3)]).await);
    // Known bytes, alone, beside new ones, and twice in one request.
    all.push(upload(service.address, std::slice::from_ref(&large)).await);
    all.push(upload(service.address, &[small.clone(), numbered(4), numbered(4)]).await);
    let (five, six, both) = ([numbered(5)], [pictures::with_comment(&large, "6")], [numbered(7)]);
    let (a, b, c, d) = tokio::join!(
        upload(service.address, &five),
        upload(service.address, &six),
        upload(service.address, &both),
        upload(service.address, &both)
    );
    all.extend([a, b, c, d]);
    service.terminate();
    assert!(service.ended().success());

    let calls = calls_of(&std::fs::read_to_string(&trace).expect("a trace"));
    let data = folder_path.join("data");
    let blobs: HashMap<String, std::path::PathBuf> =
        files_below(&data.join("blobs")).into_iter().map(|path| (sha256_hex(&std::fs::read(&path).expect("a file")), path)).collect();
    let log = data.join("catalog.db-wal");
    let log = log.to_str().expect("UTF-8");
    let mut answers = 0;
    for one in &all {
        let id = one.id.to_string();
        let sends = |call: &&Call| call.holds(b"HTTP/1.1 202") && call.holds(id.as_bytes());
        let answer = calls.iter().filter(sends).min_by_key(|call| call.begin).unwrap_or_else(|| panic!("{id}: no answer in the trace"));
        // Duplicates are answered by what the first of them made durable: the one file that is there.
        let durable = one.sha256.iter().map(|sha256| durable_at(&calls, &blobs[sha256])).max().expect("files");
        assert!(durable < answer.begin, "{id}: answered before a file was durable");
        let row = calls.iter().filter(|call| call.writes() && call.path() == Some(log) && call.holds(one.id.as_bytes()));
        let row = row.min_by_key(|call| call.begin).unwrap_or_else(|| panic!("{id}: its row was never written to the catalog's log"));
        assert!(durable < row.begin, "{id}: its row was written before its files were durable");
        let sync = calls.iter().find(|call| call.syncs() && call.path() == Some(log) && call.begin > row.end && call.end < answer.begin);
        assert!(sync.is_some(), "{id}: answered before the catalog was synced");
        answers += 1;
    }
    assert_eq!(answers, 9);
    let of_trace = calls.iter().filter(|call| call.holds(b"HTTP/1.1 202")).count();
    assert_eq!(of_trace, answers, "the trace holds every 202");
}

#[test]
fn the_trace_is_read_as_it_is_meant() {
    let trace = "7 write(3<\\x2f\\x61>, \"\\x41\\x42\", 2 <unfinished ...>\n\
                 8 fsync(4</b>) = -1 EIO (Input/output error)\n\
                 7 <... write resumed>) = 2\n\
                 8 renameat2(AT_FDCWD</>, \"/a\", AT_FDCWD</>, \"\\x2f\\x62\", RENAME_NOREPLACE) = 0\n\
                 7 openat(AT_FDCWD</>, \"/a\", O_RDONLY) = 5</a>\n7 +++ exited with 0 +++\n";
    let calls = calls_of(trace);
    let names: Vec<_> = calls.iter().map(|call| (call.name.as_str(), call.begin, call.end, call.result)).collect();
    assert_eq!(names, [("write", 0, 2, 2), ("renameat2", 3, 3, 0), ("openat", 4, 4, 5)]);
    assert!(calls[0].path() == Some("/a") && calls[0].holds(b"AB") && calls[0].writes());
    assert_eq!(calls[1].names(), Some(("/a".to_owned(), "/b".to_owned())));
    assert_eq!(calls[2].path(), None);
}
