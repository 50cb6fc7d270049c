//! What is deleted is gone: rows, files, addresses; and nothing of it comes back, whatever was being done with it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{Server, pictures, pictures::Chance, sha256_hex, until, wire::Form};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

async fn delete(server: &Server, path: &str) -> u16 {
    let answer = server.send(Method::DELETE, path, &[], Bytes::new()).await;
    match answer.status {
        204 => assert!(answer.body.is_empty()),
        410 => drop(answer.problem(410, "gone")),
        status => drop(answer.problem(status, "not_found")),
    }
    answer.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_upload_is_gone_everywhere() {
    let server = Server::start().await;
    let kept = server.make(pictures::small_jpeg(1), &["v=w:10"]).await;
    let upload = server.make(pictures::small_jpeg(2), &["v=w:10", "w=w:20/f:png"]).await;
    let (id, image) = (text(&upload, "id"), &upload["images"][0]);
    let paths = [
        format!("/v1/uploads/{id}"),
        format!("/v1/uploads/{id}?wait=60"),
        format!("/v1/images/{}", text(image, "id")),
        format!("/v1/jobs/{}", text(image, "job")),
        format!("/i/{}", text(image, "id")),
        format!("/i/{}/v.jpg", text(image, "id")),
        format!("/i/{}/w.png", text(image, "id")),
    ];
    for path in &paths {
        // Also fills the index that delivery reads without asking the catalog.
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    let before = server.stats().await;
    assert_eq!((server.blobs(), delete(&server, &paths[0]).await), (5, 204));
    assert_eq!(server.blobs(), 2, "the files are gone with the answer");
    for path in &paths {
        let problem = server.get_with(path, &[("if-none-match", "*")]).await.problem(410, "gone");
        assert!(text(&problem, "detail").contains("deleted"), "{problem}");
    }
    assert_eq!((delete(&server, &paths[0]).await, delete(&server, &paths[2]).await), (410, 410));
    let never = "0198c0de-0000-7000-8000-00000000abcd";
    for path in [format!("/v1/uploads/{never}"), format!("/v1/images/{never}"), "/v1/images/x".into()] {
        assert_eq!(delete(&server, &path).await, 404);
    }
    server.get(&format!("/v1/images/{id}")).await.problem(404, "not_found");
    assert_eq!(server.get(&format!("/i/{}/v.jpg", text(&kept["images"][0], "id"))).await.status, 200);
    server.get(&format!("/i/{}/x.jpg", text(&kept["images"][0], "id"))).await.problem(404, "not_found");
    let after = server.stats().await;
    for name in ["uploads", "bytes_received", "total_tasks", "completed_tasks", "cancelled_tasks", "pending_tasks"] {
        assert_eq!(before[name], after[name], "{name} counts since the data folder was made");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_bytes_live_as_long_as_one_image_has_them() {
    let server = Server::start().await;
    let file = pictures::small_jpeg(3);
    let first = server.make(file.clone(), &["v=w:10"]).await;
    let second = server.make(file.clone(), &["v=w:10"]).await;
    assert_eq!(server.blobs(), 2);
    let address = |upload: &Value| format!("/i/{}", text(&upload["images"][0], "id"));
    assert_eq!(server.get(&address(&first)).await.status, 200);
    assert_eq!(delete(&server, &format!("/v1/images/{}", text(&first["images"][0], "id"))).await, 204);
    server.get(&address(&first)).await.problem(410, "gone");
    server.get(&format!("/v1/uploads/{}", text(&first, "id"))).await.problem(410, "gone");
    assert_eq!(server.get(&address(&second)).await.body, file);
    assert_eq!(server.get(&format!("{}/v.jpg", address(&second))).await.status, 200);
    assert_eq!(delete(&server, &format!("/v1/uploads/{}", text(&second, "id"))).await, 204);
    assert_eq!(server.blobs(), 0);
    // The same bytes again are new bytes.
    let third = server.make(file.clone(), &["v=w:10"]).await;
    assert_eq!(third["images"][0]["duplicate"], false);
    assert_eq!(server.get(&address(&third)).await.body, file);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_deleted_upload_is_told() {
    let server = Arc::new(Server::with(|settings| settings.workers = Some(1)).await);
    let large = pictures::jpeg(&pictures::photo(3000, 2000, 5), 90);
    let form = Form::new().file("file", "a.jpg", &large).field("variant", "slow=w:2900/bl:30/f:png").field("variant", "also=w:2800/f:png");
    let posting = {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.post_form_with("/v1/images", &[("prefer", "wait=60")], form).await })
    };
    until("the upload is recorded", async || server.stats().await["uploads"] == 1).await;
    let id = text(&server.get("/v1/uploads").await.json()["uploads"][0], "id").to_owned();
    let waiting = {
        let (server, path) = (Arc::clone(&server), format!("/v1/uploads/{id}?wait=60"));
        tokio::spawn(async move { server.get(&path).await })
    };
    assert_eq!(delete(&server, &format!("/v1/uploads/{id}")).await, 204);
    waiting.await.expect("runs").problem(410, "gone");
    posting.await.expect("runs").problem(410, "gone");
    let stats = server.stats().await;
    assert_eq!((&stats["queued_jobs"], &stats["running_jobs"], &stats["pending_tasks"]), (&0.into(), &0.into(), &0.into()));
    assert_eq!(stats["cancelled_tasks"].as_u64().map(|n| n + stats["completed_tasks"].as_u64().unwrap_or(0)), Some(2));
    until("late results are dropped", async || server.blobs() == 0).await;
    // The core is free for others long before the deleted work would have ended by itself.
    server.make(pictures::small_jpeg(6), &["v=w:10"]).await;
    let Ok(server) = Arc::try_unwrap(server) else { panic!("nobody else holds it") };
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_has_begun_is_completed() {
    let server = Server::start().await;
    let mut chance = Chance(9);
    let noise = image::RgbImage::from_fn(2200, 2000, |_, _| image::Rgb([chance.next() as u8, chance.next() as u8, chance.next() as u8]));
    let file = pictures::png(noise);
    assert!(file.len() > 12_000_000, "more than sockets hold");
    let upload = server.make(file.clone(), &["v=w:10"]).await;
    let url = format!("{}/i/{}", server.base(), text(&upload["images"][0], "id"));
    let response = server.http.get(&url).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let mut body = response.bytes_stream();
    let mut got = body.next().await.expect("a piece").expect("comes").to_vec();
    assert_eq!(delete(&server, &format!("/v1/uploads/{}", text(&upload, "id"))).await, 204);
    assert_eq!(server.blobs(), 0);
    while let Some(piece) = body.next().await {
        got.extend_from_slice(&piece.expect("comes"));
    }
    assert_eq!(sha256_hex(&got), sha256_hex(&file));
    server.finish().await;
}

/// Uploads, some of the same bytes as others, and deletes each at some moment: before, while and after it is worked on.
#[tokio::test(flavor = "multi_thread")]
async fn deleting_at_any_moment_leaves_nothing() {
    const CLIENTS: u64 = 4;
    const UPLOADS: u64 = 20;
    let server = Arc::new(Server::start().await);
    let files: Arc<Vec<Vec<u8>>> = Arc::new((0..4).map(|n| pictures::jpeg(&pictures::photo(300 + 100 * n, 400, n.into()), 85)).collect());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (server, files) = (Arc::clone(&server), Arc::clone(&files));
        clients.spawn(async move {
            let mut chance = Chance(client * 77 + 1);
            for n in 0..UPLOADS {
                let file = &files[chance.below(4) as usize];
                // A third shares its bytes with what others send and delete at the same time.
                let file = if chance.below(3) == 0 { file.clone() } else { pictures::with_comment(file, &format!("{client}-{n}")) };
                let form = Form::new()
                    .file("file", "a.jpg", &file)
                    .file("file", "b.jpg", &files[0])
                    .field("variant", "a=w:200/bl:2")
                    .field("variant", "b=w:64");
                let answer = server.post_form("/v1/images", form).await;
                assert_eq!(answer.status, 202, "{}", answer.text());
                let upload = answer.json();
                let original = &upload["images"][0];
                match chance.below(4) {
                    0 => {}
                    1 => drop(server.finished(&upload).await),
                    // How far the work has come is left to chance; what must hold holds at any moment.
                    _ => tokio::time::sleep(std::time::Duration::from_millis(chance.below(40).into())).await,
                }
                let delivered = server.get(&format!("/i/{}", text(original, "id"))).await;
                assert_eq!((delivered.status, sha256_hex(&delivered.body)), (200, sha256_hex(&file)), "acknowledged and lost");
                if chance.below(2) == 0 {
                    assert_eq!(delete(&server, &format!("/v1/images/{}", text(original, "id"))).await, 204);
                    let left = server.get(&format!("/v1/uploads/{}", text(&upload, "id"))).await.json();
                    assert_eq!(left["images"].as_array().map(Vec::len), Some(1), "{left}");
                }
                assert_eq!(delete(&server, &format!("/v1/uploads/{}", text(&upload, "id"))).await, 204);
                server.get(&format!("/i/{}", text(original, "id"))).await.problem(410, "gone");
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client saw only what was promised");
    }
    until("late results are dropped", async || server.blobs() == 0).await;
    for list in ["uploads", "images", "jobs"] {
        assert_eq!(server.get(&format!("/v1/{list}")).await.json()[list].as_array().map(Vec::len), Some(0), "{list}");
    }
    let stats = server.stats().await;
    let number = |name: &str| stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"));
    assert_eq!((number("queued_jobs"), number("running_jobs"), number("pending_tasks")), (0, 0, 0), "{stats}");
    assert_eq!(number("uploads"), CLIENTS * UPLOADS);
    assert_eq!(number("completed_tasks") + number("cancelled_tasks"), CLIENTS * UPLOADS * 4, "{stats}");
    assert_eq!(number("failed_tasks"), 0, "what was deleted did not fail: {stats}");
    assert!(number("cancelled_tasks") > 0, "nothing was deleted before its end, this proves little: {stats}");
    let Ok(server) = Arc::try_unwrap(server) else { panic!("nobody else holds it") };
    server.finish().await;
}
