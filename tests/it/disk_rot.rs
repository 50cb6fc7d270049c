//! A byte that changed on the disk is found out: not served as good, not worked on, told by the scrub.

use std::path::{Path, PathBuf};

use http::Method;
use pixmill::store::Step;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::support::{
    Server,
    faults::{EIO, Failing},
    files_below, pictures,
    process::pixmill,
    sha256_hex, until,
    wire::Form,
};

/// The stored file with these bytes.
fn stored(data: &Path, bytes: &[u8]) -> PathBuf {
    let mut found = files_below(&data.join("blobs")).into_iter().filter(|path| std::fs::read(path).expect("a file") == bytes);
    found.next().expect("it is stored")
}

/// Changes one bit of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_not_served_as_good() {
    let server = Server::start().await;
    let large = pictures::jpeg(&pictures::photo(1400, 1000, 1), 100);
    assert!(large.len() > 600_000, "{} bytes are not three pieces", large.len());
    for file in [pictures::small_jpeg(1), large] {
        let upload = server.make(file.clone(), &["v=w:40"]).await;
        let url = upload["images"][0]["url"].as_str().expect("a url");
        let path = stored(server.data(), &file);
        for at in [0, file.len() / 2, file.len() - 1] {
            flip(&path, at);
            let answer = server.http.get(url).send().await.expect("an answer");
            if file.len() <= 256 * 1024 {
                assert_eq!(answer.status(), 500, "found before a byte is sent");
                let problem: serde_json::Value = answer.json().await.expect("JSON");
                assert_eq!(problem["code"], "internal", "{problem}");
            } else {
                assert_eq!(answer.status(), 200);
                assert!(answer.bytes().await.is_err(), "the last piece is withheld");
            }
            // What cannot be checked: the head, and a range.
            assert_eq!(server.send(Method::HEAD, url, &[], "").await.status, 200);
            assert_eq!(server.get_with(url, &[("range", "bytes=1-4")]).await.status, 206);
            flip(&path, at);
            let answer = server.get(url).await;
            assert_eq!((answer.status, sha256_hex(&answer.body)), (200, sha256_hex(&file)), "mended, it is served again");
        }
        // Bytes of another length are not the stored ones either, and as good as gone.
        let mut longer = file.clone();
        longer.push(0);
        std::fs::write(&path, &longer).expect("written");
        assert_eq!(server.get(url).await.problem(500, "internal")["detail"].as_str().map(|d| d.contains("missing")), Some(true));
        // A range of what was cut off, and one of what is left.
        std::fs::write(&path, &file[..100]).expect("written");
        for range in ["bytes=200-300", "bytes=1-4", "bytes=-5"] {
            let problem = server.get_with(url, &[("range", range)]).await.problem(500, "internal");
            assert_eq!(problem["detail"].as_str().map(|d| d.contains("missing")), Some(true), "{problem}");
        }
        std::fs::write(&path, &file).expect("written");
        // A variant is bytes like any other.
        let variant = upload["images"][0]["variants"][0]["url"].as_str().expect("a url");
        let bytes = server.get(variant).await.body;
        let path = stored(server.data(), &bytes);
        flip(&path, bytes.len() / 2);
        server.get(variant).await.problem(500, "internal");
        flip(&path, bytes.len() / 2);
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_original_sent_again_is_healed() {
    let server = Server::start().await;
    for file in [pictures::small_jpeg(1), pictures::jpeg(&pictures::photo(1400, 1000, 1), 100)] {
        let first = server.make(file.clone(), &["v=w:40"]).await;
        let url = first["images"][0]["url"].as_str().expect("a url");
        let (damaged, blobs) = (stored(server.data(), &file), server.blobs());
        flip(&damaged, file.len() - 1);
        // The second time there is nothing to heal, and the file that is there stays.
        for _ in 0..2 {
            let again = server.make(file.clone(), &["v=w:40"]).await;
            assert_eq!(again["images"][0]["duplicate"], true);
            for url in [url, again["images"][0]["url"].as_str().expect("a url")] {
                let answer = server.get(url).await;
                assert_eq!((answer.status, sha256_hex(&answer.body)), (200, sha256_hex(&file)), "healed for all that share it");
            }
            assert_eq!((damaged.exists(), server.blobs()), (false, blobs), "the damaged file is gone, and no copy too many is kept");
        }
        // A new job of it works on the good bytes.
        let again = server.make(file.clone(), &["w=w:30"]).await;
        assert_eq!(again["status"], "completed", "{again}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_acknowledged_though_it_cannot_be_healed() {
    let server = Server::with(|s| s.max_attempts = Some(1)).await;
    let (file, new) = (pictures::small_jpeg(1), pictures::small_jpeg(2));
    server.make(file.clone(), &["v=w:40"]).await;
    let damaged = stored(server.data(), &file);
    flip(&damaged, 200);
    let mut raw = SqliteConnectOptions::new().filename(server.data().join("catalog.db")).connect().await.expect("connects");
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON blobs WHEN new.state = 'dead' BEGIN SELECT RAISE(ABORT, 'refused'); END";
    sqlx::query(refuse).execute(&mut raw).await.expect("made");
    let form = Form::new().file("file", "a.jpg", &file).file("file", "b.jpg", &new).field("variant", "w=w:30");
    let answer = server.post_form("/v1/images", form).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let upload = server.finished(&answer.json()).await;
    assert_eq!(upload["images"][1]["variants"][0]["status"], "completed", "the workers were woken: {upload}");
    // The damaged one and its variant, the new one and its variant: the copy is nobody's, and goes once that is certain. Its job has a variant, too, if
    // it was begun while the copy was there.
    let begun = upload["images"][0]["variants"][0]["status"] == "completed";
    until("the copy goes", async || server.blobs() == 4 + usize::from(begun)).await;
    assert!(damaged.exists());
    sqlx::query("DROP TRIGGER refuse").execute(&mut raw).await.expect("dropped");
    raw.close().await.expect("closes");
    server.make(file.clone(), &["v=w:40"]).await;
    assert!(!damaged.exists(), "the next one heals it");
    stored(server.data(), &file);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_original_is_not_worked_on() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |s| s.max_attempts = Some(3)).await;
    let file = pictures::jpeg(&pictures::photo(300, 200, 1), 90);
    // The first attempt cannot read it, so that there is time to damage it before the second.
    failing.arm(Step::Read, 1, usize::MAX, EIO);
    let answer = server.post_form("/v1/images", Form::new().file("file", "a.jpg", &file).field("variant", "v=w:40")).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let path = stored(server.data(), &file);
    until("an attempt fails", async || failing.failed() > 0).await;
    // In the middle of the picture's data: a decoder would make something of it.
    flip(&path, file.len() / 2);
    failing.disarm();
    let upload = server.finished(&answer.json()).await;
    let error = &upload["images"][0]["variants"][0]["error"];
    assert_eq!((&upload["status"], &error["code"]), (&"failed".into(), &"storage".into()), "{upload}");
    assert!(error["detail"].as_str().is_some_and(|text| text.contains("damaged")), "{error}");
    assert_eq!(server.blobs(), 1, "nothing was made of it");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrub_finds_what_is_damaged_or_missing() {
    let server = Server::start().await;
    let (one, two) = (pictures::small_jpeg(1), pictures::small_jpeg(2));
    for file in [&one, &two] {
        server.make(file.clone(), &["v=w:40"]).await;
    }
    let data = server.data().to_owned();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let scrub = |data: PathBuf| {
        let mut command = pixmill(elsewhere.path());
        command.arg("scrub").arg("--data-dir").arg(data);
        tokio::task::spawn_blocking(move || {
            let output = command.output().expect("runs");
            (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"), String::from_utf8(output.stderr).expect("UTF-8"))
        })
    };
    // Beside the service that uses the folder.
    let (code, said, _) = scrub(data.clone()).await.expect("runs");
    assert!(code == Some(0) && said.starts_with("4 blobs, ") && said.ends_with(" 0 not as they should be\n"), "{said}");
    let (damaged, missing) = (stored(&data, &one), stored(&data, &two));
    flip(&damaged, 100);
    std::fs::remove_file(&missing).expect("removed");
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let (code, said, _) = scrub(data.clone()).await.expect("runs");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("{} damaged: ", name(&damaged))) && said.contains(&format!("{} missing\n", name(&missing))), "{said}");
    assert!(said.ends_with(" 2 not as they should be\n"), "{said}");
    // And on a folder at rest.
    flip(&damaged, 100);
    std::fs::write(&missing, &two).expect("written");
    let data = server.stopped().await;
    let (code, said, errors) = scrub(data.path().to_owned()).await.expect("runs");
    assert!(code == Some(0) && said.ends_with(" 0 not as they should be\n"), "{said}{errors}");
    let (code, _, errors) = scrub(elsewhere.path().join("none")).await.expect("runs");
    assert!(code == Some(1) && errors.contains("cannot read the stored files"), "{errors}");
}
