//! A backup taken beside the running service is a data folder of its own: what its catalog names is in it, whatever was deleted meanwhile.

use std::{
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;

use crate::support::{
    DEADLINE, Server,
    faults::Tmpfs,
    files_below, nothing_left, pictures,
    process::{Process, pixmill},
    sha256_hex, until,
    wire::{FORM_TYPE, Form},
};

fn backup(folder: &Path, arguments: &[&str]) -> Output {
    pixmill(folder).args(["--data-dir", "data", "backup"]).args(arguments).output().expect("runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Fails unless the list and the files say the same; returns how many those are.
fn listed_is_there(copy: &Path) -> usize {
    let list = std::fs::read_to_string(copy.join("blobs.txt")).expect("a list");
    let lines: Vec<Vec<&str>> = list.lines().filter(|line| !line.starts_with('#')).map(|line| line.split("  ").collect()).collect();
    for line in &lines {
        let [sha256, bytes, file] = line[..] else { panic!("no line of the list: {line:?}") };
        let found = std::fs::read(copy.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!((sha256_hex(&found), found.len().to_string()), (sha256.to_owned(), bytes.to_owned()), "{file}");
    }
    assert_eq!(files_below(&copy.join("blobs")).len(), lines.len(), "nothing but what is listed");
    lines.len()
}

/// Serves a data folder and reads every original and every result; returns how many images that were.
async fn everything_is_served(copy: &Path) -> usize {
    let held = tempfile::tempdir().expect("a folder");
    let moved = tempfile::TempDir::new_in(held.path()).expect("a folder");
    std::fs::remove_dir(moved.path()).expect("empty");
    std::fs::rename(copy, moved.path()).expect("moves");
    let server = Server::on(moved, |_| ()).await;
    until("what waited in the copy is done", async || server.stats().await["pending_tasks"] == 0).await;
    let (mut images, mut next) = (0, "/v1/uploads?limit=50".to_owned());
    loop {
        let list = server.get(&next).await.json();
        for image in list["uploads"].as_array().expect("uploads").iter().flat_map(|upload| upload["images"].as_array().expect("images")) {
            let original = server.get(image["url"].as_str().expect("a url")).await;
            assert_eq!(original.status, 200, "{image}");
            assert_eq!(sha256_hex(&original.body), image["sha256"], "{image}");
            for variant in image["variants"].as_array().expect("variants") {
                assert_eq!(variant["status"], "completed", "{variant}");
                let result = server.get(variant["url"].as_str().expect("a url")).await;
                assert_eq!(result.status, 200, "{variant}");
                image::load_from_memory(&result.body).expect("decodes");
            }
            images += 1;
        }
        let Some(cursor) = list["next_cursor"].as_str() else { break };
        next = format!("/v1/uploads?limit=50&cursor={cursor}");
    }
    server.finish().await;
    images
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_beside_uploads_and_deletions_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Process::start(folder.path(), &[]);
    let base = format!("http://{}", service.address);
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().expect("a client");
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..2)
        .map(|number| {
            let (client, base, stop) = (client.clone(), base.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let file = pictures::small_jpeg(number);
                let (mut kept, mut sent) = (Vec::new(), 0_u32);
                while !stop.load(Ordering::Relaxed) {
                    let file = pictures::with_comment(&file, &format!("{number}-{sent}"));
                    let body = Form::new().file("file", "a.jpg", &file).field("variant", "v=w:20").field("variant", "w=w:30/f:png").end();
                    let request = client.post(format!("{base}/v1/images")).header("content-type", FORM_TYPE).body(body);
                    let upload: Value = request.send().await.expect("an answer").json().await.expect("JSON");
                    kept.push(upload["url"].as_str().expect("a url").to_owned());
                    sent += 1;
                    // Old and new ones go, most of them soon after they came.
                    if sent % 4 != 0 {
                        let gone = kept.swap_remove((sent as usize * 7) % kept.len());
                        assert_eq!(client.delete(gone).send().await.expect("an answer").status(), 204);
                    }
                }
                sent
            })
        })
        .collect();
    let mut copies = Vec::new();
    for round in 0..4 {
        let stats =
            async || -> Value { client.get(format!("{base}/v1/stats")).send().await.expect("an answer").json().await.expect("JSON") };
        let before = stats().await["uploads"].as_u64();
        until("there is more to copy", async || stats().await["uploads"].as_u64() >= before.map(|n| n + 20)).await;
        let to = format!("copy-{round}");
        let path = folder.path().to_owned();
        let done = tokio::task::spawn_blocking(move || backup(&path, &[&to, "--blobs"])).await.expect("runs");
        assert_eq!(done.status.code(), Some(0), "{}", said(&done));
        assert!(said(&done).contains(" 0 missing"), "{}", said(&done));
        println!("{} rounds more", said(&done).matches("copying the catalog again").count());
        copies.push(folder.path().join(format!("copy-{round}")));
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for one in busy {
        sent += one.await.expect("no refusal");
    }
    let mut service = service;
    service.terminate();
    assert!(service.ended().success());
    let loud: Vec<Value> = service.log().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(loud.is_empty(), "a backup is no trouble to the service: {loud:#?}");
    // What was copied does not need what it was copied from.
    std::fs::remove_dir_all(folder.path().join("data")).expect("removes");
    let mut images = Vec::new();
    for copy in copies {
        assert!(listed_is_there(&copy) > 0);
        images.push(everything_is_served(&copy).await);
    }
    println!("{sent} uploads sent, {images:?} images in the copies");
    assert!(images.iter().all(|images| *images > 0) && images[3] > images[0], "{images:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_service_is_backed_up_and_left_as_it_was() {
    let server = Server::start().await;
    let file = pictures::small_jpeg(1);
    server.make(file.clone(), &["v=w:10"]).await;
    let data = server.stopped().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::rename(data.path(), folder.path().join("data")).expect("moves");
    let before = std::fs::read(folder.path().join("data/catalog.db")).expect("a catalog");

    // The catalog and the list alone.
    let done = backup(folder.path(), &["rows"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path().join("rows")).expect("reads").map(|of| of.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["blobs.txt", "catalog.db"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("rows/blobs.txt")).expect("a list").lines().count(), 3);
    // Without its files it is no data folder, but that is for who starts it to find out: rows are there, files are told as missing.

    let done = backup(folder.path(), &["whole", "--blobs"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("2 linked, 0 copied, 0 missing"), "{}", said(&done));
    assert_eq!(listed_is_there(&folder.path().join("whole")), 2);
    assert_eq!(std::fs::read(folder.path().join("data/catalog.db")).expect("a catalog"), before, "the copied folder is as it was");
    nothing_left(&folder.path().join("data")).await;

    for (arguments, text) in [
        (&["whole"][..], "is not empty"),
        (&["data/copy"], "lies in the data folder"),
        (&["data"], "lies in the data folder"),
        (&["new", "--data-dir", "nowhere"], "catalog"),
    ] {
        let refused = backup(folder.path(), arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}: {}", said(&refused));
        assert!(said(&refused).contains(text), "{arguments:?}: {}", said(&refused));
    }
    assert!(!folder.path().join("new").exists(), "what fails leaves nothing");
    assert_eq!(everything_is_served(&folder.path().join("whole")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_data_folder_has_lost_is_told_with_its_upload() {
    let server = Server::start().await;
    let (lost, cut) = (pictures::small_jpeg(1), pictures::small_jpeg(2));
    let uploads = [server.make(lost.clone(), &["v=w:10"]).await, server.make(cut.clone(), &["v=w:10"]).await];
    let data = server.stopped().await;
    for (bytes, remove) in [(lost, true), (cut, false)] {
        let file = files_below(&data.path().join("blobs")).into_iter().find(|path| std::fs::read(path).expect("reads") == bytes);
        let file = file.expect("is stored");
        if remove { std::fs::remove_file(file).expect("removes") } else { std::fs::write(file, &bytes[1..]).expect("writes") }
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::rename(data.path(), folder.path().join("data")).expect("moves");
    let done = backup(folder.path(), &["copy", "--blobs"]);
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    let text = said(&done);
    for upload in &uploads {
        assert!(text.contains(upload["id"].as_str().expect("an id")), "{text}");
    }
    assert!(text.contains("its file is not there") && text.contains("its file is damaged") && text.contains("2 missing"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_has_no_room_leaves_nothing() {
    let server = Server::start().await;
    server.make(pictures::jpeg(&pictures::photo(900, 700, 1), 100), &["v=w:10"]).await;
    let data = server.stopped().await;
    let from = data.path().to_str().expect("UTF-8");
    // Of the first the files pass the room, of the second the catalog does.
    for (size, arguments) in [("size=400k", &["--blobs"][..]), ("size=64k", &[])] {
        let Some((tmpfs, _folder)) = Tmpfs::mount(size) else { return };
        for to in [tmpfs.path().to_owned(), tmpfs.path().join("below")] {
            let was_there = to.exists();
            let done = pixmill(data.path()).args(["--data-dir", from, "backup"]).arg(&to).args(arguments).output().expect("runs");
            assert_eq!(done.status.code(), Some(1), "{size}: {}", said(&done));
            assert!(said(&done).contains("no room left"), "{size}: {}", said(&done));
            assert_eq!(files_below(tmpfs.path()), Vec::<std::path::PathBuf>::new(), "what was written is removed");
            assert_eq!(to.exists(), was_there);
        }
    }
}
