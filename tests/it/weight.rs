//! What a request may make the service hold: many tasks and much metadata cost memory once, not once for each other.

use crate::support::{
    DEADLINE, pictures,
    process::Process,
    wire::{FORM_TYPE, Form},
};

/// Files, and variants of each: as many tasks as one request may have.
const FILES: usize = 100;
const VARIANTS: u32 = 10;
/// Metadata just within what a request may keep.
const PAIRS: usize = 63;
const PAIR_BYTES: usize = 250;
const MOST_GROWTH_BYTES: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_many_tasks_and_its_lists_cost_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &[]);
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().expect("a client");
    let at = |path: &str| format!("http://{}{path}", process.address);
    let picture = pictures::png(pictures::photo(8, 8, 1));
    let small = Form::new().file("file", "a.png", &picture).end();
    let warm = client.post(at("/v1/images")).header("content-type", FORM_TYPE).header("prefer", "wait=60").body(small);
    assert_eq!(warm.send().await.expect("answers").status(), 200);
    let before = process.peak_resident_bytes();

    let mut form = Form::new();
    for n in 0..FILES {
        form = form.file("file", &format!("{n}.png"), &picture);
    }
    for n in 0..VARIANTS {
        form = form.field("variant", &format!("v{n}=w:{}", n + 1));
    }
    for n in 0..PAIRS {
        form = form.field(&format!("metadata[k{n:03}]"), &"x".repeat(PAIR_BYTES));
    }
    let body = form.end();
    let more = client.post(at("/v1/images?variant=one-more=w:99")).header("content-type", FORM_TYPE).body(body.clone());
    let refused = more.send().await.expect("answers");
    assert_eq!(refused.status(), 400, "100 files with 11 variants are too much");
    assert!(refused.text().await.expect("a body").contains("1100 results in one request, limit is 1000"));
    for _ in 0..4 {
        let sent = client.post(at("/v1/images")).header("content-type", FORM_TYPE).body(body.clone());
        let answer = sent.send().await.expect("answers");
        assert_eq!(answer.status(), 202);
        let upload: serde_json::Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        assert_eq!(upload["images"].as_array().map(Vec::len), Some(FILES));
    }
    let listed = client.get(at("/v1/uploads?limit=200")).send().await.expect("answers");
    assert_eq!(listed.status(), 200);
    let list: serde_json::Value = serde_json::from_slice(&listed.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(list["uploads"].as_array().map(Vec::len), Some(1), "a part ends before 2000 tasks, with one item at least");
    assert!(list["next_cursor"].is_string());
    for path in ["/v1/images?limit=200", "/v1/jobs?limit=200"] {
        let listed = client.get(at(path)).send().await.expect("answers");
        assert_eq!(listed.status(), 200, "{path}");
        listed.bytes().await.expect("a body");
    }
    let growth = process.peak_resident_bytes().saturating_sub(before);
    assert!(growth < MOST_GROWTH_BYTES, "grew by {} KiB", growth / 1024);
}
