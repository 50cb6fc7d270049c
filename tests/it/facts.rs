//! What an image is, as its JSON tells it; and formats that are chosen by what a result shows.

use image::{Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::{Value, json};

use crate::support::{Server, pictures};

async fn image_of(server: &Server, upload: &Value) -> Value {
    server.get(&format!("/v1/images/{}", upload["images"][0]["id"].as_str().expect("an id"))).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_tells_what_it_is_once_it_was_decoded() {
    let server = Server::start().await;
    let flag = RgbImage::from_fn(400, 200, |x, _| if x < 300 { Rgb([240, 120, 10]) } else { Rgb([10, 20, 200]) });
    let file = pictures::png(flag.clone());
    let upload = server.make(file.clone(), &["a=w:100", "b=rs:fill:30:30"]).await;
    let facts = image_of(&server, &upload).await["facts"].clone();
    assert_eq!(facts["palette"], json!([{ "colour": "#f0780a", "share": 0.75 }, { "colour": "#0a14c8", "share": 0.25 }]));
    assert_eq!(
        ["bits", "channels", "alpha", "icc", "frames", "dominant", "exif"].map(|name| facts[name].clone()),
        [json!(8), json!(3), json!(false), json!(false), json!(1), json!("#f0780a"), Value::Null]
    );
    assert_eq!(facts["blurhash"].as_str().map(str::len), Some(28));
    assert!(facts["thumbhash"].as_str().is_some_and(|hash| hash.len() >= 24), "{facts}");
    // The same in the list, and for the same bytes under another id, though nothing of them is made again.
    assert_eq!(server.get("/v1/images").await.json()["images"][0]["facts"], facts);
    let again = server.make(file, &["a=w:100"]).await;
    assert_eq!(image_of(&server, &again).await["facts"], facts);
    // Turned by its metadata it is a portrait; the camera's words are told.
    let turned = server.make(pictures::with_orientation(&pictures::jpeg(&flag, 95), 6), &["a=w:100"]).await;
    let facts = image_of(&server, &turned).await["facts"].clone();
    assert!(facts["blurhash"].as_str().is_some_and(|hash| hash.starts_with('T')), "{facts}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_decoded_tells_nothing() {
    let server = Server::start().await;
    let mut file = pictures::png(pictures::photo(200, 200, 1));
    file.truncate(file.len() / 2);
    let upload = server.make(file, &["a=w:100"]).await;
    assert_eq!(upload["status"], "failed");
    assert_eq!(image_of(&server, &upload).await["facts"], Value::Null);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn formats_left_open_are_chosen_by_the_result() {
    let server = Server::start().await;
    let tiles =
        RgbaImage::from_fn(400, 200, |x, y| if (x / 100 + y / 50) % 2 == 0 { Rgba([200, 30, 30, 255]) } else { Rgba([0, 0, 0, 0]) });
    for (file, want, extension) in [
        (pictures::jpeg(&pictures::photo(600, 400, 2), 90), "jpeg", "jpg"),
        (pictures::png(pictures::translucent(300, 200)), "webp", "webp"),
        (pictures::png(tiles), "png", "png"),
    ] {
        let upload = server.make(file.clone(), &["v=f:auto/w:200"]).await;
        let task = &upload["images"][0]["variants"][0];
        let url = task["url"].as_str().expect("a url");
        assert!(url.ends_with("/v"), "{url}: no extension before the end, so none after it");
        assert_eq!((&task["result"]["format"], &task["result"]["url"]), (&json!(want), &task["url"]));
        for url in [url.to_owned(), format!("{url}.{extension}")] {
            let answer = server.get(&url).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, format!("image/{want}").as_str()));
        }
        server.get(&format!("{url}.gif")).await.problem(404, "not_found");
        let again = server.make(file.clone(), &["v=f:auto/w:200"]).await;
        assert_eq!(again["images"][0]["variants"][0]["result"]["format"], want, "of what was there already, too");
        let once =
            server.send(http::Method::POST, "/v1/process?output=auto&w=200", &[("content-type", "application/octet-stream")], file).await;
        assert_eq!((once.status, once.header("content-type")), (200, format!("image/{want}").as_str()));
    }
    server.finish().await;
}
