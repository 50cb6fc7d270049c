//! `GET /v1/explain`: what options come to, and what a job would do, held to what it does.

use serde_json::{Value, json};

use crate::support::{Server, pictures};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_is_made() {
    let server = Server::start().await;
    let upload = server.make(pictures::jpeg(&pictures::photo(640, 480, 1), 90), &["a=resize:fit:320:320/format:png/quality:80"]).await;
    let image = upload["images"][0]["id"].as_str().expect("an id");
    let explained = server.get(&format!("/v1/explain?image={image}&variant=a=resize:fit:320:320/format:png/blur:0&w=100")).await;
    assert_eq!(explained.status, 200, "{}", explained.text());
    let explained = explained.json();
    let variants = explained["variants"].as_array().expect("variants");
    assert_eq!(variants.len(), 2);
    assert_eq!(
        variants[0],
        json!({ "name": "a", "options": "resize:fit:320:320/format:png/blur:0", "canonical": "rs:fit:320:320/f:png",
            "result": { "width": 320, "height": 240, "format": "png" } })
    );
    assert_eq!((&variants[1]["name"], &variants[1]["result"]["height"]), (&json!("result"), &json!(75)));
    let made = &upload["images"][0]["variants"][0]["result"];
    assert_eq!((&made["width"], &made["height"]), (&variants[0]["result"]["width"], &variants[0]["result"]["height"]));
    let plan = &explained["plan"];
    assert_eq!(plan["image"], image);
    let stages = plan["stages"].as_array().expect("stages");
    assert!(stages[0]["what"].as_str().expect("words").starts_with("decode jpeg 640x480"), "{plan}");
    let held = stages.iter().filter_map(|stage| stage["held_bytes"].as_u64()).max();
    assert_eq!(held, plan["memory_bytes"].as_u64(), "the most of any stage");
    assert!(held > Some(10_000), "{plan}");
    assert!(stages.iter().all(|stage| stage["rough_ms"].is_null() == stage["held_bytes"].is_null()), "{plan}");
    assert_eq!(server.stats().await["total_tasks"], 1, "nothing was asked of the pool");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_explained_without_an_image_and_faults_are_told() {
    let server = Server::start().await;
    let explained = server.get("/v1/explain?preset=thumbnail").await.json();
    assert_eq!(
        explained,
        json!({ "variants": [{ "name": "thumbnail", "options": explained["variants"][0]["options"], "canonical": "rs:fit:320:320", "result": null }], "plan": null })
    );
    let code = async |query: &str| -> (u16, Value) {
        let answer = server.get(&format!("/v1/explain?{query}")).await;
        (answer.status, answer.json()["code"].clone())
    };
    assert_eq!(code("widht=3").await, (400, json!("bad_option")));
    assert_eq!(code("image=x").await, (404, json!("not_found")));
    assert_eq!(code("image=0198c0de-7a3b-7c4d-8e5f-60718293a4b5").await, (404, json!("not_found")));
    assert_eq!(code("image=a&image=b").await, (400, json!("bad_option")));
    server.finish().await;
}
