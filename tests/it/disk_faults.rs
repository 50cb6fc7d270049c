//! Every call to the disk may fail: no acknowledgement of what is not stored, nothing left behind, and all is well again without a restart.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use http::Method;
use pixmill::{
    catalog::{Catalog as _, sqlite::SqliteCatalog},
    clock::{Clock as _, IdSource as _, RandomIds, SystemClock},
    domain::BlobId,
    store::{BlobStore as _, Doubts, LocalStore, Step},
    upkeep::Doubtful,
};
use serde_json::Value;

use crate::support::{
    Server,
    faults::{EDQUOT, EINTR, EIO, ENOSPC, EROFS, Failing, Fault, Tmpfs},
    nothing_left, pictures, sha256_hex, until,
    wire::{Answer, Form},
};

/// The calls by which an upload is stored.
const STORING: &[Step] = &[Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncFolder];

/// A file that is staged in several writes, another with every number.
fn large(number: usize) -> Vec<u8> {
    static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| pictures::jpeg(&pictures::photo(900, 700, 1), 100));
    assert!(FILE.len() > 300_000, "{} bytes fit one buffer", FILE.len());
    pictures::with_comment(&FILE, &format!("large {number}"))
}

fn small(number: usize) -> Vec<u8> {
    pictures::with_comment(&pictures::small_jpeg(1), &format!("small {number}"))
}

/// What an answer to an upload must be when a call of its request failed with `fault`.
fn refused(answer: &Answer, fault: Fault) {
    let (status, code) = if [ENOSPC, EDQUOT].contains(&fault) { (507, "disk_full") } else { (503, "storage") };
    answer.problem(status, code);
}

/// Waits for the end of the upload, then compares its originals.
async fn is_served(server: &Server, answer: &Answer, files: &[&[u8]]) -> Value {
    assert_eq!(answer.status, 202, "{}", answer.text());
    let upload = server.finished(&answer.json()).await;
    assert_eq!(upload["status"], "completed", "{upload}");
    for (image, file) in upload["images"].as_array().expect("images").iter().zip(files) {
        assert_eq!(image["sha256"], sha256_hex(file), "{image}");
        let original = server.get(image["url"].as_str().expect("a url")).await;
        assert_eq!((original.status, &original.body[..]), (200, *file));
    }
    upload
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_an_upload_may_fail() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |_| ()).await;
    let (mut number, mut failures) = (0, BTreeMap::new());
    for step in STORING {
        for fault in [ENOSPC, EDQUOT, EIO, EROFS] {
            for n in 1.. {
                number += 1;
                let files = [large(number), small(number)];
                let form = Form::new().file("file", "a.jpg", &files[0]).file("file", "b.jpg", &files[1]).field("variant", "v=w:40");
                let before = server.stored().await;
                failing.arm(*step, n, 1, fault);
                let answer = server.post_form("/v1/images", form).await;
                let stored = server.stored().await;
                // Polls and reads go on with the disk as it is.
                assert_eq!(server.get("/healthz").await.status, 200);
                // The job's own calls may have come under the fault; then it is tried again, and that is another test.
                if answer.status == 202 {
                    failing.disarm();
                    is_served(&server, &answer, &[&files[0], &files[1]]).await;
                    break;
                }
                assert_eq!(failing.disarm(), 1, "{step:?} {n} {fault:?}: {}", answer.text());
                refused(&answer, fault);
                // The surplus copy of an earlier result may go just now, after its job's end was told; what stays too many `finish` finds.
                let is_kept = (&stored.0, &stored.1, &stored.2) != (&before.0, &before.1, &before.2) || stored.3 > before.3;
                assert!(!is_kept, "{step:?} {n} {fault:?}: something of a refused request was kept: {stored:?}, before {before:?}");
                server.staging_becomes_empty().await;
                *failures.entry(format!("{step:?}")).or_insert(0_usize) += 1;
            }
        }
    }
    println!("calls failed and refused: {failures:?}");
    // Two files: one made, synced, renamed each; the large one written in more than one piece.
    assert_eq!(failures.len(), STORING.len(), "{failures:?}");
    assert!(failures.values().all(|n| *n >= 2 * 4) && failures["Write"] >= 3 * 4, "{failures:?}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_and_interrupted_writes_are_gone_on_with() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |_| ()).await;
    for (number, fault) in [Fault::Short, EINTR].into_iter().enumerate() {
        let file = large(number);
        failing.arm(Step::Write, 1, 50, fault);
        let answer = server.post_form("/v1/images", Form::new().file("file", "a.jpg", &file)).await;
        assert_eq!(failing.disarm(), 50);
        is_served(&server, &answer, &[&file]).await;
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_never_tried_again() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |_| ()).await;
    let file = large(1);
    let before = failing.calls();
    failing.arm(Step::SyncFile, 1, 1, EIO);
    server.send(Method::PUT, "/v1/images/a.jpg", &[], file.clone()).await.problem(503, "storage");
    failing.disarm();
    let after = failing.calls();
    let since = |step| after.get(&step).copied().unwrap_or(0) - before.get(&step).copied().unwrap_or(0);
    assert_eq!(
        (since(Step::SyncFile), since(Step::Rename)),
        (1, 0),
        "the kernel calls the pages clean now; only a new file can be trusted"
    );
    server.staging_becomes_empty().await;
    // The same bytes again are a new file, and no duplicate of the one that was given up.
    let answer = server.send(Method::PUT, "/v1/images/a.jpg", &[], file.clone()).await;
    assert_eq!(answer.json()["images"][0]["duplicate"], false);
    is_served(&server, &answer, &[&file]).await;
    assert!(failing.calls()[&Step::Create] > after[&Step::Create]);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_cannot_be_stored_is_tried_again() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |_| ()).await;
    let calls_now = || STORING.iter().chain([&Step::Read]).map(|step| failing.calls().get(step).copied().unwrap_or(0)).collect::<Vec<_>>();
    // What one upload of one small file takes, its job aside.
    let of_upload: &[usize] = &[1, 1, 1, 1, 1, 0];
    let (mut number, mut failures) = (0, 0);
    for (index, step) in STORING.iter().chain([&Step::Read]).enumerate() {
        for fault in [ENOSPC, EIO] {
            number += 1;
            let file = small(number);
            let before = calls_now();
            // A read of the staged file, of work begun while it is made durable, is no attempt.
            let times = if *step == Step::Read { 2 } else { 1 };
            failing.arm(*step, of_upload[index] + 1, times, fault);
            let answer = server.post_form("/v1/images", Form::new().file("file", "a.jpg", &file).field("variant", "v=w:40")).await;
            assert_eq!(answer.status, 202, "{step:?}: {}", answer.text());
            let upload = server.finished(&answer.json()).await;
            assert_eq!(upload["status"], "completed", "{upload}");
            assert_eq!(failing.disarm(), times, "{step:?} was not called for the result: {before:?} {:?}", calls_now());
            let job = server.get(&format!("/v1/jobs/{}", upload["images"][0]["job"].as_str().expect("a job"))).await.json();
            assert_eq!(job["attempt"], 2, "{step:?} {fault:?}: {job}");
            is_served(&server, &answer, &[&file]).await;
            let variant = upload["images"][0]["variants"][0]["url"].as_str().expect("a url");
            image::load_from_memory(&server.get(variant).await.body).expect("the variant is whole");
            failures += 1;
        }
    }
    assert_eq!(failures, (STORING.len() + 1) * 2);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_can_never_be_stored_fails_with_storage_and_the_original_stays() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |s| s.max_attempts = Some(2)).await;
    let file = small(1);
    failing.arm(Step::Write, 2, usize::MAX, ENOSPC);
    let answer = server.post_form("/v1/images", Form::new().file("file", "a.jpg", &file).field("variant", "v=w:40")).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let upload = server.finished(&answer.json()).await;
    assert_eq!((&upload["status"], failing.disarm()), (&"failed".into(), 2), "{upload}");
    let variant = &upload["images"][0]["variants"][0];
    assert_eq!((&variant["status"], &variant["error"]["code"]), (&"failed".into(), &"storage".into()), "{variant}");
    let told = server.get(variant["url"].as_str().expect("a url")).await;
    assert_eq!(told.status, 500, "no attempt is left: {}", told.text());
    let original = server.get(upload["images"][0]["url"].as_str().expect("a url")).await;
    assert_eq!((original.status, &original.body[..]), (200, &file[..]));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_is_said_and_passes() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |_| ()).await;
    let upload = server.make(small(1), &["v=w:40"]).await;
    let url = upload["images"][0]["url"].as_str().expect("a url").to_owned();
    for n in [1, 2] {
        failing.arm(Step::Read, n, 1, EIO);
        let problem = server.get(&url).await.problem(503, "storage");
        assert_eq!(problem["detail"], "the disk cannot be used at the moment", "nothing was sent that could be kept");
        assert_eq!(failing.disarm(), 1);
    }
    assert_eq!(server.get(&url).await.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_removed_is_removed_later() {
    let (failing, disk) = Failing::new();
    let server = Server::on_disk(tempfile::tempdir().expect("a folder"), disk, |_| ()).await;
    let file = small(1);
    server.make(file.clone(), &["v=w:40"]).await;
    let before = server.blobs();
    // The same bytes again: the second copy is dropped after the commit.
    failing.arm(Step::Delete, 1, 1, EIO);
    let answer = server.post_form("/v1/images", Form::new().file("file", "b.jpg", &file).field("variant", "v=w:40")).await;
    assert_eq!((answer.status, &answer.json()["images"][0]["duplicate"]), (202, &true.into()));
    assert_eq!((failing.disarm(), server.blobs()), (1, before + 1));
    until("the copy goes while the service runs", async || server.blobs() == before).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_written_is_said_at_the_start() {
    for (step, fault, word) in
        [(Step::Create, EROFS, "Read-only"), (Step::SyncFile, EIO, "Input/output"), (Step::Rename, ENOSPC, "no room")]
    {
        let (failing, disk) = Failing::new();
        failing.arm(step, 1, 1, fault);
        let folder = tempfile::tempdir().expect("a folder");
        let config = pixmill::config::Config::resolve(crate::support::small(folder.path())).expect("valid");
        let Err(error) = pixmill::app::App::start_on(&config, disk, Arc::new(SystemClock)).await else { panic!("it started") };
        let said = format!("{error:#}");
        assert!(said.contains("cannot store files below") && said.contains(word), "{said}");
    }
}

/// The whole disk, catalog included, filled to each page of the last ones: what is acknowledged is there, what is refused left nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_full_to_any_page_loses_nothing() {
    let Some((tmpfs, folder)) = Tmpfs::mount("size=24m") else { return };
    let server = Server::on(folder, |s| s.max_attempts = Some(50)).await;
    let first = server.make(small(0), &["v=w:40"]).await;
    let filler = tmpfs.path().join("filler");
    let (mut acknowledged, mut answers) = (Vec::new(), BTreeMap::new());
    for pages in 0..40_usize {
        let free = rustix::fs::statvfs(tmpfs.path()).map(|of| of.f_bavail * of.f_frsize).expect("a file system");
        let bytes = usize::try_from(free).expect("small").saturating_sub(pages * 4096);
        std::fs::write(&filler, vec![1; bytes]).expect("fills the disk");
        let file = small(1000 + pages);
        let answer = server.post_form("/v1/images", Form::new().file("file", "a.jpg", &file).field("variant", "v=w:40")).await;
        *answers.entry(answer.status).or_insert(0) += 1;
        if answer.status != 202 {
            answer.problem(507, "disk_full");
        }
        assert_eq!(server.get("/healthz").await.status, 200);
        let id = first["id"].as_str().expect("an id");
        assert_eq!(server.get(&format!("/v1/uploads/{id}")).await.status, 200, "polls go on");
        assert_eq!(server.get(first["images"][0]["url"].as_str().expect("a url")).await.status, 200, "reads go on");
        std::fs::remove_file(&filler).expect("gives room back");
        if answer.status == 202 {
            // Tried again as soon as there is room.
            is_served(&server, &answer, &[&file]).await;
            acknowledged.push((answer.json(), file));
        }
    }
    println!("answers on a full disk: {answers:?}");
    assert!(answers[&507] > 3 && answers[&202] > 3, "{answers:?}");
    for (upload, file) in &acknowledged {
        let upload = server.finished(upload).await;
        assert_eq!(upload["status"], "completed", "tried again once there was room: {upload}");
        assert_eq!(server.get(upload["images"][0]["url"].as_str().expect("a url")).await.body, &file[..]);
    }
    // The originals, and one variant: of files that differ in a comment only, it is the same bytes.
    let wanted = 1 + acknowledged.len() + 1;
    until("what was refused is gone while the service runs", async || server.blobs() == wanted).await;
    server.staging_becomes_empty().await;
    let data = server.stopped().await;
    nothing_left(data.path()).await;
    drop(tmpfs);
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_are_settled_by_the_catalog_and_only_by_it() {
    let server = Server::start().await;
    server.make(small(1), &["v=w:40"]).await;
    let data = server.stopped().await;
    let store = Arc::new(LocalStore::open(data.path().join("blobs")).expect("opens"));
    let catalog = Arc::new(SqliteCatalog::open(&data.path().join("catalog.db")).await.expect("opens"));
    let live = store.list().await.expect("lists");
    assert_eq!(live.len(), 2);
    let orphan = BlobId::from_uuid(RandomIds.new_id(SystemClock.now()));
    store.put(orphan, b"its commit failed".as_slice().into()).await.expect("stored");
    let doubtful = Doubtful { doubts: Doubts::default(), store: store.clone(), catalog: catalog.clone() };
    doubtful.doubts.add(live.iter().copied().chain([orphan]));
    assert_eq!(doubtful.settle().await, 1);
    assert_eq!(sorted(store.list().await.expect("lists")), sorted(live.clone()), "what has a row stays, whatever was doubted");
    assert_eq!(doubtful.settle().await, 0, "settled is settled");
    // A catalog that takes no commit settles nothing.
    store.put(orphan, b"again".as_slice().into()).await.expect("stored");
    doubtful.doubts.add([orphan]);
    catalog.close().await;
    assert_eq!((doubtful.settle().await, doubtful.doubts.take()), (0, vec![orphan]));
    assert!(catalog.ping().await.is_err());
}

fn sorted(mut blobs: Vec<BlobId>) -> Vec<BlobId> {
    blobs.sort_unstable();
    blobs
}
