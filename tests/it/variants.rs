//! More variants of an image that is stored: made from its original, once for each name.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Server, pictures, until, wire::Answer};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

async fn add(server: &Server, image: &str, asked: &Value) -> Answer {
    let path = format!("/v1/images/{image}/variants");
    server.send(Method::POST, &path, &[("content-type", "application/json; charset=utf-8")], asked.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_variants_are_made_of_the_stored_original() {
    let server = Server::start().await;
    let upload = server.make(pictures::jpeg(&pictures::photo(300, 200, 1), 90), &["a=w:20"]).await;
    let image = text(&upload["images"][0], "id").to_owned();
    let answer = add(&server, &image, &json!({ "variants": { "b": "w:30/f:png", "c": "w:40" }, "priority": "low" })).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("location"), text(&upload, "url"));
    let added = answer.json();
    assert_eq!((&added["image"], &added["upload"]), (&json!(image), &upload["id"]));
    let names: Vec<&str> = added["variants"].as_array().expect("variants").iter().map(|variant| text(variant, "name")).collect();
    assert_eq!(names, ["b", "c"]);
    let done = server.finished(&upload).await;
    assert_eq!((&done["status"], done["images"].as_array().map(Vec::len)), (&json!("completed"), Some(1)), "one image still: {done}");
    let shown = &done["images"][0];
    let all: Vec<&str> = shown["variants"].as_array().expect("variants").iter().map(|variant| text(variant, "name")).collect();
    assert_eq!((all, &shown["job"], &shown["status"]), (vec!["a", "b", "c"], &upload["images"][0]["job"], &json!("completed")));
    for (variant, size) in [("b", (30, 20)), ("c", (40, 27))] {
        let url = text(added["variants"].as_array().expect("some").iter().find(|of| of["name"] == variant).expect("is there"), "url");
        let answer = server.get(url).await;
        assert_eq!(answer.status, 200, "{variant}: {}", answer.text());
        let picture = image::load_from_memory(&answer.body).expect("decodes");
        assert_eq!((picture.width(), picture.height()), size);
    }
    let job = server.get(&format!("/v1/jobs/{}", text(&added, "job"))).await.json();
    assert_eq!((&job["priority"], &job["image"], &job["status"]), (&json!("low"), &json!(image), &json!("completed")));
    // Alone and in the list it is told as in its upload.
    let alone = server.get(&format!("/v1/images/{image}")).await.json();
    let listed = server.get("/v1/images").await.json();
    for seen in [&alone, &listed["images"][0]] {
        assert_eq!((&seen["variants"], &seen["status"], &seen["job"]), (&shown["variants"], &shown["status"], &shown["job"]));
    }
    assert_eq!(listed["images"].as_array().map(Vec::len), Some(1));
    // It all goes together.
    let deleted = server.send(Method::DELETE, &format!("/v1/uploads/{}", text(&upload, "id")), &[], "").await;
    assert_eq!((deleted.status, server.blobs()), (204, 0));
    add(&server, &image, &json!({ "variants": { "d": "w:10" } })).await.problem(410, "gone");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_written_once_and_nothing_is_made_twice() {
    let server = Server::start().await;
    let file = pictures::small_jpeg(2);
    let upload = server.make(file.clone(), &["a=w:20/f:png"]).await;
    let image = text(&upload["images"][0], "id").to_owned();
    let before = server.stored().await;
    let refused = add(&server, &image, &json!({ "variants": { "a": "w:21", "new": "w:22" } })).await.problem(409, "variant_exists");
    assert!(text(&refused, "detail").contains("variant a "), "{refused}");
    assert_eq!(server.stored().await, before, "nothing of it");
    server.get(&format!("/i/{image}/new")).await.problem(404, "not_found");
    // The same again, also spelled otherwise, is no news.
    let again = add(&server, &image, &json!({ "variants": { "a": "format:png/width:20" } })).await;
    assert_eq!((again.status, &again.json()["job"]), (202, &Value::Null), "{}", again.text());
    assert_eq!(again.json()["variants"][0]["status"], "completed");
    // What was made of the same bytes for another image, or under another name, is there at once.
    let twin = server.make(file, &["b=w:24/f:png"]).await;
    let twin = text(&twin["images"][0], "id").to_owned();
    let blobs = server.blobs();
    let shared = add(&server, &twin, &json!({ "variants": { "mine": "w:20/f:png" } })).await.json();
    assert_eq!((&shared["variants"][0]["status"], server.blobs()), (&json!("completed"), blobs), "{shared}");
    let (one, other) = (server.get(&format!("/i/{image}/a.png")).await, server.get(&format!("/i/{twin}/mine.png")).await);
    assert!(one.status == 200 && one.body == other.body && one.header("etag") == other.header("etag"));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_wish_is_told_in_words() {
    let server = Server::start().await;
    let upload = server.make(pictures::small_jpeg(3), &["a=w:20"]).await;
    let image = text(&upload["images"][0], "id").to_owned();
    let before = server.stored().await;
    let many: serde_json::Map<String, Value> = (0..33).map(|n| (format!("v{n}"), json!("w:1"))).collect();
    for (asked, code, hint) in [
        (json!({ "variants": {} }), "bad_option", "at least one"),
        (json!({ "variants": { "A": "w:1" } }), "bad_option", "a-z"),
        (json!({ "variants": { "b=c": "w:1" } }), "bad_option", "a-z"),
        (json!({ "variants": { "b": "widht:1" } }), "bad_option", "width"),
        (json!({ "variants": { "b": "q:101" } }), "bad_option", "100"),
        (json!({ "variants": many }), "bad_option", "32"),
        (json!({ "variants": { "b": "w:1" }, "priority": "urgent" }), "bad_option", "high, normal, low"),
        (json!({ "variants": { "b": "w:1" }, "metadata": {} }), "bad_request", "metadata"),
        (json!({ "variants": ["w:1"] }), "bad_request", "such as"),
        (json!([]), "bad_request", "such as"),
        (json!({}), "bad_request", "variants"),
    ] {
        let problem = add(&server, &image, &asked).await.problem(400, code);
        assert!(text(&problem, "detail").contains(hint), "{asked}: {problem}");
    }
    let path = format!("/v1/images/{image}/variants");
    let long = json!({ "variants": { "b": "w:1" }, "priority": "x".repeat(70_000) }).to_string();
    server.send(Method::POST, &path, &[("content-type", "application/json")], long).await.problem(413, "too_large");
    for kind in [&[("content-type", "text/plain")][..], &[]] {
        server.send(Method::POST, &path, kind, r#"{"variants":{"b":"w:1"}}"#).await.problem(415, "unsupported_media_type");
    }
    add(&server, "0198c0de-0000-7000-8000-00000000abcd", &json!({ "variants": { "b": "w:1" } })).await.problem(404, "not_found");
    add(&server, "x", &json!({ "variants": { "b": "w:1" } })).await.problem(404, "not_found");
    assert_eq!(server.stored().await, before);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_for_the_same_at_once_get_one() {
    let server = Server::start().await;
    let upload = server.make(pictures::small_jpeg(4), &["a=w:20"]).await;
    let image = text(&upload["images"][0], "id").to_owned();
    let asked = json!({ "variants": { "b": "w:30/f:png" } });
    let answers = futures_util::future::join_all((0..20).map(|_| add(&server, &image, &asked))).await;
    assert!(answers.iter().all(|answer| answer.status == 202));
    assert_eq!(answers.iter().filter(|answer| answer.json()["job"].is_string()).count(), 1, "one job");
    until("it is made", async || server.get(&format!("/i/{image}/b.png")).await.status == 200).await;
    assert_eq!(server.stats().await["total_tasks"], 2);
    server.finish().await;
}
