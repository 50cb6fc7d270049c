//! Images of the operator's on results: configured by name, seen in the pixels, refused by name, and kept over a restart.

use std::path::{Path, PathBuf};

use http::Method;
use image::{DynamicImage, Rgb, RgbImage, Rgba, RgbaImage};
use pixmill::{app::App, config::Config};

use crate::support::{Server, pictures, small, wire::Form};

const RAW: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

/// Red, opaque, 8 by 4.
fn logo(folder: &Path) -> PathBuf {
    let path = folder.join("logo.png");
    std::fs::write(&path, pictures::png(RgbaImage::from_pixel(8, 4, Rgba([255, 0, 0, 255])))).expect("written");
    path
}

fn grey() -> Vec<u8> {
    pictures::png(RgbImage::from_pixel(40, 20, Rgb([90, 90, 90])))
}

/// First and last column and row of red, and how many are red.
fn reds(picture: &DynamicImage) -> Option<(u32, u32, u32, u32, usize)> {
    let picture = picture.to_rgb8();
    let all: Vec<(u32, u32)> = picture.enumerate_pixels().filter(|(_, _, p)| p.0 == [255, 0, 0]).map(|(x, y, _)| (x, y)).collect();
    let side = |of: fn(&(u32, u32)) -> u32| Some((all.iter().map(of).min()?, all.iter().map(of).max()?));
    let (x, y) = (side(|at| at.0)?, side(|at| at.1)?);
    Some((x.0, x.1, y.0, y.1, all.len()))
}

fn with(name: &str, path: &Path) -> Vec<String> {
    vec![format!("{name}={}", path.display())]
}

#[tokio::test(flavor = "multi_thread")]
async fn they_lie_where_options_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = logo(folder.path());
    let drawing = folder.path().join("mark.svg");
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"4\" height=\"4\"><rect width=\"4\" height=\"4\" fill=\"#f00\"/></svg>";
    std::fs::write(&drawing, svg).expect("written");
    let server = Server::with(|s| {
        s.watermark_flags = [with("default", &path), with("drawn", &drawing)].concat();
        s.preset_flags = vec!["brand=wm:1:nowe/f:png".to_owned()];
    })
    .await;
    for (options, wanted) in [
        ("wm:1:soea", Some((32, 39, 16, 19, 32))),
        ("wm:1:nowe:2:1:0.5", Some((2, 21, 1, 10, 200))),
        ("wm:1:nowe::::default", Some((0, 7, 0, 3, 32))),
        ("wm:1:nowe::::drawn", Some((0, 3, 0, 3, 16))),
        ("wm:1:re", Some((0, 39, 0, 19, 800))),
        ("wm:0:re", None),
        ("wm:1:soea/-/rot:180", Some((0, 7, 0, 3, 32))),
        ("pr:brand", Some((0, 7, 0, 3, 32))),
    ] {
        let made = server.make_one(grey(), options).await;
        assert_eq!(reds(&made), wanted, "{options}");
    }
    let half = server.make_one(grey(), "wm:0.5:nowe").await.to_rgb8();
    assert_eq!((half.get_pixel(0, 0).0, half.get_pixel(8, 0).0), ([173, 45, 45], [90, 90, 90]));
    let at_once = server.send(Method::POST, "/v1/process?wm=1:soea&f=png", &RAW, grey()).await;
    assert_eq!(reds(&image::load_from_memory(&at_once.body).expect("a picture")), Some((32, 39, 16, 19, 32)));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_lie_on_variants_that_are_asked_for_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::with(|s| s.watermark_flags = with("logo", &logo(folder.path()))).await;
    let upload = server.make(grey(), &["plain=f:png"]).await;
    let image = upload["images"][0]["id"].as_str().expect("an id");
    let json = [("content-type", "application/json")];
    let path = format!("/v1/images/{image}/variants");
    let asked = r#"{"variants": {"marked": "wm:1:soea::::logo/f:png"}}"#;
    let answer = server.send(Method::POST, &path, &json, asked).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(server.finished(&upload).await["status"], "completed");
    // And for all images at once.
    let asked = r#"{"variants": {"all": "wm:1:nowe::::logo/f:png"}}"#;
    let batch = server.send(Method::POST, "/v1/batches", &json, asked).await.json();
    let batch = server.get(&format!("/v1/batches/{}?wait=60", batch["id"].as_str().expect("an id"))).await.json();
    assert_eq!(batch["status"], "completed", "{batch}");
    for (variant, wanted) in [("marked", Some((32, 39, 16, 19, 32))), ("all", Some((0, 7, 0, 3, 32))), ("plain", None)] {
        let made = server.get(&format!("/i/{image}/{variant}.png")).await;
        assert_eq!(reds(&image::load_from_memory(&made.body).expect("a picture")), wanted, "{variant}");
    }
    for (path, asked) in [(&*path, r#"{"variants": {"x": "wm:1:ce::::lego"}}"#), ("/v1/batches", r#"{"variants": {"x": "wm:1"}}"#)] {
        let problem = server.send(Method::POST, path, &json, asked).await.problem(400, "bad_option");
        assert!(problem["detail"].as_str().expect("text").contains("there are logo"), "{problem}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_there_is_refused_at_once() {
    let none = Server::start().await;
    let said = |problem: &serde_json::Value| problem["detail"].as_str().expect("text").to_owned();
    let before = none.stored().await;
    let problem = none.send(Method::POST, "/v1/images?wm=1", &RAW, grey()).await.problem(400, "bad_option");
    assert!(said(&problem).contains("no watermark is called \"default\", none is configured"), "{problem}");
    assert_eq!(none.stored().await, before);
    none.finish().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = logo(folder.path());
    let server = Server::with(|s| s.watermark_flags = with("logo", &path)).await;
    let form = || Form::new().file("file", "a.png", &grey()).field("variant", "x=w:10/-/wm:1:ce::::lego");
    for route in ["/v1/images", "/v1/process"] {
        let problem = server.post_form(route, form()).await.problem(400, "bad_option");
        assert!(said(&problem).contains("no watermark is called \"lego\", there are logo"), "{problem}");
    }
    let explained = server.get("/v1/explain?variant=x%3Dwm:1:ce::::lego").await.problem(400, "bad_option");
    assert!(said(&explained).contains("logo"), "{explained}");
    assert_eq!(server.get("/v1/explain?variant=x%3Dwm:1:ce::::logo").await.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_reads_them_again_and_results_stay_as_they_were_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = logo(folder.path());
    let server = Server::with(|s| s.watermark_flags = with("logo", &path)).await;
    let upload = server.make(grey(), &["one=wm:1:soea::::logo/f:png"]).await;
    let url = upload["images"][0]["variants"][0]["url"].as_str().expect("a url");
    let (at, first) = (url.find("/i/").expect("a path"), server.get(url).await.body);
    let data = server.stopped().await;
    // Another picture under the old name, and one under a new name.
    std::fs::write(&path, pictures::png(RgbaImage::from_pixel(8, 4, Rgba([0, 0, 255, 255])))).expect("written");
    let again = Server::on(data, |s| s.watermark_flags = [with("logo", &path), with("logo-2", &path)].concat()).await;
    assert_eq!(again.get(&url[at..]).await.body, first);
    let same = again.make_one(grey(), "wm:1:soea::::logo/f:png").await;
    assert_eq!(reds(&same), Some((32, 39, 16, 19, 32)), "of the same content and options the result is used again");
    let new = again.make_one(grey(), "wm:1:soea::::logo-2/f:png").await;
    assert_eq!((reds(&new), new.to_rgb8().get_pixel(39, 19).0), (None, [0, 0, 255]));
    again.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_ends_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = logo(folder.path());
    let text = folder.path().join("text.png");
    std::fs::write(&text, "no picture").expect("written");
    let large = folder.path().join("large.png");
    std::fs::write(&large, pictures::png(RgbImage::new(1200, 1000))).expect("written");
    for (flags, preset, hints) in [
        (with("logo", &folder.path().join("nowhere.png")), None, ["watermark logo", "nowhere.png: cannot read it"]),
        (with("logo", &text), None, ["watermark logo", "text.png"]),
        (with("Logo", &path), None, ["watermark Logo", "a-z"]),
        (with("logo", &large), None, ["hold 4800000 bytes decoded", "a quarter of memory-budget"]),
        (with("logo", &path), Some("brand=wm:1:ce::::lego"), ["preset brand", "there are logo"]),
    ] {
        let mut settings = small(folder.path());
        settings.memory_budget = Some("16MiB".parse().expect("a size"));
        settings.watermark_flags = flags;
        settings.preset_flags = preset.iter().map(|&preset| preset.to_owned()).collect();
        let config = Config::resolve(settings).expect("names and files look right");
        let error = match App::start(&config).await {
            Err(error) => format!("{error:#}"),
            Ok(_) => panic!("started with {hints:?}"),
        };
        assert!(hints.iter().all(|hint| error.contains(hint)), "{hints:?}: {error}");
    }
    assert!(!folder.path().join("catalog.db").exists(), "said before the data folder is touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_watermark_went_before_its_turn_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = logo(folder.path());
    let server = Server::with(|s| {
        s.workers = Some(1);
        s.shutdown_grace = Some("10ms".parse().expect("a time"));
        s.watermark_flags = with("logo", &path);
    })
    .await;
    // The only core is busy for a while.
    let slow = pictures::jpeg(&pictures::photo(240, 160, 1), 90);
    let slow = server.send(Method::POST, "/v1/images?variant=x%3Df:avif/effort:9", &RAW, slow).await;
    assert_eq!(slow.status, 202, "{}", slow.text());
    let slow = slow.json();
    let marked = server.send(Method::POST, "/v1/images?variant=x%3Dw:10/wm:1:ce::::logo", &RAW, grey()).await;
    assert_eq!(marked.status, 202, "{}", marked.text());
    assert_eq!(server.stats().await["pending_tasks"], 2);
    let data = server.stopped().await;
    let server = Server::on(data, |s| s.workers = Some(1)).await;
    let slow = format!("/v1/uploads/{}", slow["id"].as_str().expect("an id"));
    assert_eq!(server.send(Method::DELETE, &slow, &[], "").await.status, 204);
    let upload = server.finished(&marked.json()).await;
    assert_eq!(upload["status"], "failed", "{upload}");
    let error = &upload["images"][0]["variants"][0]["error"];
    assert_eq!(error["code"], "limit_exceeded", "{upload}");
    assert!(error.to_string().contains("none is configured"), "{upload}");
    server.finish().await;
}
