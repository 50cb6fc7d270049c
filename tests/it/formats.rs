//! Formats beyond those of the web's early days: they come in through the service, say what they are, and AVIF goes out.

use http::Method;
use image::ImageFormat;
use serde_json::json;

use crate::support::{Server, pictures};

const RAW: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

const DRAWING: &str = "<?xml version=\"1.0\"?>\n<!-- made by hand, with a comment that is longer than the few bytes that tell most formats -->\n\
     <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"30\" height=\"20\"><rect width=\"30\" height=\"20\" fill=\"#36c\"/></svg>";

#[tokio::test(flavor = "multi_thread")]
async fn they_come_in_and_avif_goes_out() {
    let server = Server::start().await;
    let picture = pictures::photo(60, 40, 5);
    let process = async |options: &str, file: Vec<u8>| server.send(Method::POST, &format!("/v1/process?{options}"), &RAW, file).await;
    let avif = process("f=avif", pictures::png(picture.clone())).await;
    assert_eq!((avif.status, avif.header("content-type")), (200, "image/avif"), "{}", avif.text());
    for (word, file) in [
        ("bmp", pictures::file(picture.clone(), ImageFormat::Bmp)),
        ("qoi", pictures::file(picture.clone(), ImageFormat::Qoi)),
        ("ico", pictures::file(picture.clone(), ImageFormat::Ico)),
        ("avif", avif.body.to_vec()),
    ] {
        let answer = server.send(Method::POST, "/v1/images?w=20&f=png", &RAW, file.clone()).await;
        assert_eq!(answer.status, 202, "{word}: {}", answer.text());
        let json = answer.json();
        let image = &json["images"][0];
        assert_eq!((&image["format"], &image["width"], &image["height"]), (&json!(word), &json!(60), &json!(40)));
        assert_eq!(server.finished(&json).await["status"], "completed", "{word}");
        let original = server.get(&format!("/i/{}", image["id"].as_str().expect("an id"))).await;
        assert_eq!(original.body, file, "{word}, byte for byte");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drawings_are_refused_unless_they_are_allowed() {
    let closed = Server::start().await;
    let problem = closed.send(Method::POST, "/v1/images", &RAW, DRAWING).await.problem(415, "unsupported_format");
    assert!(problem["detail"].as_str().expect("text").contains("--allow-svg"), "{problem}");
    closed.finish().await;
    let open = Server::with(|s| s.allow_svg = Some(true)).await;
    let answer = open.send(Method::POST, "/v1/images?w=300&f=png", &RAW, DRAWING).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let json = answer.json();
    assert_eq!(open.finished(&json).await["status"], "completed");
    let image = &json["images"][0];
    assert_eq!((&image["format"], &image["width"]), (&json!("svg"), &json!(30)));
    let id = image["id"].as_str().expect("an id");
    let drawn = image::load_from_memory(&open.get(&format!("/i/{id}/result")).await.body).expect("a PNG");
    assert_eq!((drawn.width(), drawn.height()), (300, 200));
    let original = open.get(&format!("/i/{id}")).await;
    assert!(original.header("content-disposition").starts_with("attachment"), "a drawing is a document");
    assert_eq!(original.header("content-security-policy"), "default-src 'none'; sandbox");
    open.finish().await;
}
