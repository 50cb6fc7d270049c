//! What a burst of photos needed in memory is not kept once it is over.

use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{
    DEADLINE, pictures,
    process::Process,
    until,
    wire::{FORM_TYPE, Form},
};

const CLIENTS: u32 = 6;
const UPLOADS_EACH: u32 = 6;

/// What may stay above the memory of a service that has worked on one photo: the free tops of the heap's arenas (16 MiB), the
/// page caches of the catalog, stacks of threads.
const KEPT_BYTES: u64 = 48 << 20;

async fn upload(client: &reqwest::Client, base: &str, file: &[u8]) {
    let form = Form::new().file("file", "a.jpg", file).field("variant", "a=rs:fit:320:320/f:jpg").field("variant", "b=w:1280/f:webp");
    let request = client.post(format!("{base}/v1/images")).header("content-type", FORM_TYPE).body(form.end());
    assert_eq!(request.send().await.expect("an answer").status(), 202);
}

async fn is_quiet(client: &reqwest::Client, base: &str) -> bool {
    let answer = client.get(format!("{base}/v1/stats")).send().await.expect("an answer");
    let stats: Value = answer.json().await.expect("JSON");
    stats["queued_jobs"] == 0 && stats["running_jobs"] == 0
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_env = "gnu")]
async fn a_burst_of_photos_leaves_no_memory_behind() {
    let folder = tempfile::tempdir().expect("temp folder");
    let server = Process::start(folder.path(), &[]);
    let base: Arc<str> = format!("http://{}", server.address).into();
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().expect("a client");
    let photos: Arc<[Vec<u8>]> =
        [(2400, 1800), (1600, 1200), (900, 700)].map(|(w, h)| pictures::jpeg(&pictures::photo(w, h, u64::from(w)), 85)).into();

    upload(&client, &base, &photos[0]).await;
    until("the first photo is worked on", || is_quiet(&client, &base)).await;
    let before = server.resident_bytes();

    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (base, client, photos) = (Arc::clone(&base), client.clone(), Arc::clone(&photos));
        clients.spawn(async move {
            for n in 0..UPLOADS_EACH {
                let photo = &photos[(number + n) as usize % photos.len()];
                upload(&client, &base, &pictures::with_comment(photo, &format!("{number}-{n}"))).await;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("uploads");
    }
    until("the burst is worked on", || is_quiet(&client, &base)).await;
    let kept = server.resident_bytes().saturating_sub(before);
    assert!(kept < KEPT_BYTES, "{} MiB are kept above the {} MiB before", kept >> 20, before >> 20);
}
