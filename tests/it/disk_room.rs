//! Room is asked for before the body is read: the reserve, what is declared, what others have declared, files that can still be made.

use http::Method;

use crate::support::{
    Server,
    faults::Tmpfs,
    pictures, until,
    wire::{self, Form, Wire},
};

const MIB: u64 = 1 << 20;

/// The head of a PUT with so long a body; nothing of the body.
async fn announced(server: &Server, bytes: u64) -> Wire {
    let mut wire = Wire::open(server.address).await;
    wire.write(&wire::head("PUT", "/v1/images/a.jpg", &[&format!("Content-Length: {bytes}")])).await;
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_fit_is_refused_by_its_head() {
    let Some((tmpfs, folder)) = Tmpfs::mount("size=96m") else { return };
    let server = Server::on(folder, |s| s.disk_reserve_bytes = Some("32MiB".parse().expect("a size"))).await;
    // 96 MiB less the reserve leave 64, less a little for the catalog.
    announced(&server, 65 * MIB).await.read().await.expect("an answer").problem(507, "disk_full");
    let form = Form::new().file("file", "a.jpg", &pictures::small_jpeg(1));
    assert_eq!(server.post_form("/v1/images", form.clone()).await.status, 202, "small ones go on");

    // Declarations alone hold little: with ten that would each fill the disk, others go on.
    let mut silent = Vec::new();
    for _ in 0..10 {
        let mut wire = announced(&server, 50 * MIB).await;
        wire.write(&pictures::small_jpeg(1)[..8]).await;
        silent.push(wire);
    }
    until("they are being received", async || server.get("/metrics").await.text().contains("uploads_in_flight 10")).await;
    let held =
        server.get("/metrics").await.text().lines().find_map(|line| line.strip_prefix("pixmill_disk_spoken_for_bytes ")?.parse().ok());
    let held: u64 = held.expect("it is told");
    assert!((9 * MIB..12 * MIB).contains(&held), "{held} bytes are spoken for");
    assert_eq!(server.post_form("/v1/images", form.clone()).await.status, 202, "small ones go on");
    drop(silent);
    until("they are gone", async || server.get("/metrics").await.text().contains("uploads_in_flight 0")).await;

    // What comes claims as much again: 20 MiB arrived and 20 claimed leave no room for 40.
    let mut first = announced(&server, 60 * MIB).await;
    let photo = pictures::small_jpeg(1);
    first.write(&[&photo[..], &vec![7; (20 << 20) - photo.len()]].concat()).await;
    until("no second fits beside it", async || {
        let second = announced(&server, 40 * MIB).await;
        // Admitted while the first is not all here: it then waits for its body.
        let answer = tokio::time::timeout(std::time::Duration::from_millis(300), second.read()).await;
        answer.is_ok_and(|answer| answer.is_some_and(|answer| answer.status == 507))
    })
    .await;
    drop(first);
    until("it is gone", async || server.get("/metrics").await.text().contains("uploads_in_flight 0")).await;
    until("what it held is free again", async || {
        let third = announced(&server, 40 * MIB).await;
        tokio::time::timeout(std::time::Duration::from_millis(300), third.read()).await.is_err()
    })
    .await;
    until("it is gone", async || server.get("/metrics").await.text().contains("uploads_in_flight 0")).await;

    // Others fill the disk to the reserve.
    std::fs::write(tmpfs.path().join("filler"), vec![1; 66 << 20]).expect("written");
    until("the disk is looked at again", async || server.post_form("/v1/images", form.clone()).await.status == 507).await;
    server.send(Method::PUT, "/v1/images/a.jpg", &[], pictures::small_jpeg(1)).await.problem(507, "disk_full");
    assert_eq!(server.get("/readyz").await.json()["checks"]["disk"], false);
    std::fs::remove_file(tmpfs.path().join("filler")).expect("removed");
    until("it recovers by itself", async || server.post_form("/v1/images", form.clone()).await.status == 202).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_more_files_is_full() {
    let Some((tmpfs, folder)) = Tmpfs::mount("size=64m,nr_inodes=800") else { return };
    for (reserve, leave) in [("1MiB", 200), ("0", 0)] {
        let folder = if leave == 0 {
            tempfile::tempdir_in(tmpfs.path()).expect("a folder")
        } else {
            tempfile::tempdir_in(folder.path()).expect("a folder")
        };
        let server = Server::on(folder, |s| s.disk_reserve_bytes = Some(reserve.parse().expect("a size"))).await;
        let upload = server.make(pictures::small_jpeg(1), &["v=w:40"]).await;
        let many = tempfile::tempdir_in(tmpfs.path()).expect("a folder");
        let mut number = 0;
        while rustix::fs::statvfs(tmpfs.path()).expect("a file system").f_favail > leave {
            number += 1;
            std::fs::write(many.path().join(number.to_string()), b"").expect("made");
        }
        let form = Form::new().file("file", "a.jpg", &pictures::small_jpeg(2));
        until("the disk is looked at again", async || server.post_form("/v1/images", form.clone()).await.status == 507).await;
        server.post_form("/v1/images", form.clone()).await.problem(507, "disk_full");
        assert_eq!(server.get(upload["images"][0]["url"].as_str().expect("a url")).await.status, 200, "reads go on");
        drop(many);
        until("it recovers by itself", async || server.post_form("/v1/images", form.clone()).await.status == 202).await;
        server.finish().await;
    }
}
