//! `POST /v1/process`: the image itself comes back and nothing is kept.

use http::Method;
use serde_json::json;

use crate::support::{Server, pictures, wire::Form};

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_the_image_and_nothing_is_stored() {
    let server = Server::start().await;
    let before = server.stored().await;
    let photo = pictures::photo(300, 200, 1);
    for (query, size, content_type, name) in [
        ("?w=150", (150, 100), "image/jpeg", "cat.jpg"),
        ("?w=150&f=png", (150, 100), "image/png", "cat.png"),
        ("?variant=x%3Drs:fill:50:50/f:webp", (50, 50), "image/webp", "cat.webp"),
        ("", (300, 200), "image/jpeg", "cat.jpg"),
        ("?gray=1&h=20", (30, 20), "image/jpeg", "cat.jpg"),
    ] {
        let answer =
            server.post_form(&format!("/v1/process{query}"), Form::new().file("file", "cat.jpeg", &pictures::jpeg(&photo, 90))).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, content_type), "{query}: {}", answer.text());
        let picture = image::load_from_memory(&answer.body).expect("decodes");
        assert_eq!((picture.width(), picture.height()), size, "{query}");
        assert_eq!(answer.header("content-disposition"), format!("inline; filename=\"{name}\""));
        assert_eq!((answer.header("cache-control"), answer.header("x-content-type-options")), ("no-store", "nosniff"));
        let timing = answer.header("server-timing");
        for stage in ["queue", "read", "decode", "transform", "encode"] {
            let duration = timing.split(", ").find_map(|entry| entry.strip_prefix(stage)?.strip_prefix(";dur="));
            let duration: f64 = duration.unwrap_or_else(|| panic!("{stage} is missing in {timing}")).parse().expect("a number");
            assert!((0.0..60_000.0).contains(&duration), "{timing}");
        }
    }
    let raw = server.send(Method::POST, "/v1/process?w=30", &[("content-type", "image/png")], pictures::png(photo)).await;
    assert_eq!((raw.status, raw.header("content-type")), (200, "image/png"));
    assert_eq!(server.stored().await, before);
    assert_eq!(server.staged(), 0, "not even for a moment after the answer");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_problems() {
    let server = Server::start().await;
    let whole = pictures::jpeg(&pictures::photo(300, 200, 2), 90);
    let send = async |path: &str, body: Vec<u8>| server.send(Method::POST, path, &[("content-type", "image/jpeg")], body).await;
    send("/v1/process?w=10", whole[..whole.len() / 2].to_vec()).await.problem(422, "truncated_image");
    send("/v1/process?w=10", pictures::corrupt_png()).await.problem(422, "malformed_image");
    send("/v1/process?w=10", b"no image".to_vec()).await.problem(415, "unsupported_format");
    send("/v1/process?w=10", vec![]).await.problem(400, "empty_file");
    // What only the work itself can tell is the request's fault, too.
    let unkept = send("/v1/process?f=jpg&mb=50", whole.clone()).await.problem(422, "limit_exceeded");
    assert!(unkept["detail"].as_str().expect("text").ends_with("at the lowest quality, max_bytes is 50"), "{unkept}");
    send("/v1/process?w=abc", whole.clone()).await.problem(400, "bad_option");
    send("/v1/process?preset=default,thumbnail", whole.clone()).await.problem(400, "bad_option");
    assert_eq!(send("/v1/process?preset=thumbnail", whole).await.status, 200);
    assert_eq!(server.stats().await["total_tasks"], json!(0));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_share_the_pool() {
    let server = Server::with(|s| {
        s.workers = Some(1);
        s.max_waiting = Some(64);
    })
    .await;
    let picture = pictures::jpeg(&pictures::photo(200, 150, 3), 90);
    let send = |seed: u32| {
        let (server, picture) = (&server, picture.clone());
        async move {
            let path = format!("/v1/process?w={}&f=png", 20 + seed);
            let answer = server.send(Method::POST, &path, &[("content-type", "image/jpeg")], picture).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(image::load_from_memory(&answer.body).expect("decodes").width(), 20 + seed);
        }
    };
    futures_util::future::join_all((0..24).map(send)).await;
    let pool = &server.stats().await["pool"];
    assert_eq!((&pool["free_cores"], &pool["free_bytes"]), (&json!(1), &pool["budget_bytes"]), "everything was given back");
    server.finish().await;
}
