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

    // Two that fit one by one do not fit together, though neither has sent a byte.
    let mut first = announced(&server, 40 * MIB).await;
    first.write(&pictures::small_jpeg(1)[..100]).await;
    until("the first is being received", async || server.get("/metrics").await.text().contains("uploads_in_flight 1")).await;
    announced(&server, 40 * MIB).await.read().await.expect("an answer").problem(507, "disk_full");
    let second = announced(&server, 10 * MIB).await;
    until("the second is being received", async || server.get("/metrics").await.text().contains("uploads_in_flight 2")).await;
    drop((first, second));
    until("they are gone", async || server.get("/metrics").await.text().contains("uploads_in_flight 0")).await;
    let third = announced(&server, 40 * MIB).await;
    until("what they had claimed is free again", async || server.get("/metrics").await.text().contains("uploads_in_flight 1")).await;
    drop(third);
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
