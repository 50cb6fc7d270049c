//! What a crash, a torn disk or somebody with `rm` left is put right while the service serves, or told in clear words.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pixmill::{
    app::App,
    catalog::{Catalog, Deletion, Past, Standing, sqlite::SqliteCatalog},
    clock::{Clock, IdSource, RandomIds, SystemClock},
    config::Config,
    domain::{BlobId, Timestamp},
    store::{BlobStore, LocalStore, Step},
    upkeep::Repair,
};
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::support::{
    Server,
    faults::{EIO, Failing},
    files_below, pictures,
    process::Process,
    small, until,
    wire::Form,
};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// The file of a blob that holds these bytes.
fn file_of(data: &Path, bytes: &[u8]) -> PathBuf {
    // Files that come and go beside it are none of them.
    let found = files_below(&data.join("blobs")).into_iter().find(|path| std::fs::read(path).is_ok_and(|found| found == bytes));
    found.expect("a blob with these bytes")
}

async fn is_missing(server: &Server, path: &str) {
    let problem = server.get(path).await.problem(500, "internal");
    assert!(text(&problem, "detail").contains("missing"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_vanished_are_healed_by_the_same_bytes() {
    let file = pictures::small_jpeg(1);
    let variants = ["v=w:10", "w=w:30"];
    let server = Server::start().await;
    let first = server.make(file.clone(), &variants).await;
    let image = format!("/i/{}", text(&first["images"][0], "id"));
    let variant = server.get(&format!("{image}/v.jpg")).await.body;
    let data = server.stopped().await;
    // One is gone, one is cut short.
    std::fs::remove_file(file_of(data.path(), &variant)).expect("removed");
    let cut = file_of(data.path(), &file);
    std::fs::write(&cut, &file[..100]).expect("cut");

    let server = Server::on(data, |_| ()).await;
    for path in [&image, &format!("{image}/v.jpg"), &image] {
        is_missing(&server, path).await;
    }
    assert_eq!(server.get(&format!("{image}/w.jpg")).await.status, 200, "what is there is served");
    let second = server.make(file.clone(), &variants).await;
    assert_eq!((&second["status"], &second["images"][0]["duplicate"]), (&"completed".into(), &true.into()), "{second}");
    for path in [image.clone(), format!("/i/{}", text(&second["images"][0], "id"))] {
        assert_eq!(server.get(&path).await.body, file, "healed for all that share it");
        // Made again beside other variants than the first time, so the decode may have been another one.
        let again = server.get(&format!("{path}/v.jpg")).await;
        let again = image::load_from_memory(&again.body).expect("a whole picture");
        assert_eq!((again.width(), again.height()), (10, 8));
    }
    assert_eq!((cut.exists(), server.blobs()), (false, 3), "what was left of the lost file is gone, too");

    // The same without a restart, and with an index that remembers where it was.
    std::fs::remove_file(file_of(server.data(), &file)).expect("removed");
    is_missing(&server, &image).await;
    server.make(file.clone(), &variants).await;
    assert_eq!(server.get(&image).await.body, file);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_upload_is_never_dropped_for_a_file_that_is_gone() {
    let file = pictures::small_jpeg(2);
    let server = Server::start().await;
    server.make(file.clone(), &["v=w:10"]).await;
    // Nobody has noticed yet when the same bytes come again.
    std::fs::remove_file(file_of(server.data(), &file)).expect("removed");
    let answer = server.send(http::Method::POST, "/v1/images", &[("content-type", "image/jpeg")], file.clone()).await;
    assert_eq!(answer.status, 202);
    let again = format!("/i/{}", text(&answer.json()["images"][0], "id"));
    assert_eq!(server.get(&again).await.body, file);
    // As a replay, too.
    std::fs::remove_file(file_of(server.data(), &file)).expect("removed");
    let headers = [("content-type", "image/jpeg"), ("idempotency-key", "k")];
    for round in 0..2 {
        let answer = server.send(http::Method::POST, "/v1/images", &headers, file.clone()).await;
        assert_eq!((answer.status, answer.header("idempotency-replayed") == "true"), (202, round == 1));
        assert_eq!(server.get(&format!("/i/{}", text(&answer.json()["images"][0], "id"))).await.body, file);
        if round == 0 {
            std::fs::remove_file(file_of(server.data(), &file)).expect("removed");
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_back_is_found() {
    let file = pictures::small_jpeg(3);
    let server = Server::start().await;
    let upload = server.make(file.clone(), &["v=w:10"]).await;
    let image = format!("/i/{}", text(&upload["images"][0], "id"));
    let data = server.stopped().await;
    let path = file_of(data.path(), &file);
    std::fs::remove_file(&path).expect("removed");
    let server = Server::on(data, |_| ()).await;
    is_missing(&server, &image).await;
    let data = server.stopped().await;
    std::fs::write(&path, &file).expect("restored");
    let server = Server::on(data, |_| ()).await;
    assert_eq!(server.get(&image).await.body, file);
    let catalog = SqliteCatalog::open(&server.data().join("catalog.db")).await.expect("opens");
    until("the mark is taken away", async || catalog.blobs_after(None, 10).await.expect("reads").iter().all(|blob| !blob.missing)).await;
    catalog.close().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_original_is_gone_fails_in_clear_words() {
    let one_attempt = |settings: &mut pixmill::config::Settings| {
        settings.max_attempts = Some(1);
        settings.shutdown_grace = Some("0s".parse().expect("a time"));
    };
    let server = Server::with(one_attempt).await;
    let large = pictures::jpeg(&pictures::photo(2000, 1500, 4), 90);
    let mut uploads = Vec::new();
    for n in 0..3 {
        let form =
            Form::new().file("file", "a.jpg", &pictures::with_comment(&large, &n.to_string())).field("variant", "v=w:1900/bl:20/f:png");
        uploads.push(server.post_form("/v1/images", form).await.json());
    }
    let data = server.stopped().await;
    for file in files_below(&data.path().join("blobs")) {
        std::fs::remove_file(file).expect("removed");
    }
    let server = Server::on(data, one_attempt).await;
    for upload in &uploads {
        let upload = server.finished(upload).await;
        let task = &upload["images"][0]["variants"][0];
        if task["status"] == "failed" {
            assert_eq!(task["error"]["code"], "storage", "{upload}");
            assert!(text(&task["error"], "detail").contains("original is missing"), "{upload}");
        }
    }
    assert!(server.stats().await["failed_tasks"].as_u64().is_some_and(|failed| failed > 0), "the last ones waited when all stopped");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_finishes_deletions_and_spares_what_it_did_not_make() {
    let server = Server::start().await;
    let gone = server.make(pictures::small_jpeg(5), &["v=w:10"]).await;
    let kept = server.make(pictures::small_jpeg(6), &["v=w:10"]).await;
    let data = server.stopped().await;
    // Killed after the commit, before the files went.
    let catalog = SqliteCatalog::open(&data.path().join("catalog.db")).await.expect("opens");
    let upload = text(&gone, "id").parse().expect("an id");
    assert!(matches!(catalog.delete_upload(upload, SystemClock.now()).await, Ok(Deletion::Done(_))));
    catalog.close().await;
    // Two without a row: one from before, one of a clock that was ahead.
    let now = SystemClock.now().as_millis();
    let (before, ahead) = (now - 1, now + 3_600_000);
    let [before, ahead] = [before, ahead].map(|ms| BlobId::from_uuid(RandomIds.new_id(Timestamp::from_millis(ms))));
    let store = LocalStore::open(data.path().join("blobs")).expect("opens");
    for blob in [before, ahead] {
        store.put(blob, b"nobody's".as_slice().into()).await.expect("stored");
    }
    assert_eq!(files_below(&data.path().join("blobs")).len(), 6);
    let server = Server::on(data, |_| ()).await;
    until("what was deleted and what is nobody's goes", async || server.blobs() == 3).await;
    let listed = store.list().await.expect("lists");
    assert!(listed.contains(&ahead) && !listed.contains(&before), "younger than the process is not its to judge");
    assert_eq!(server.get(&format!("/i/{}/v.jpg", text(&kept["images"][0], "id"))).await.status, 200);
    server.get(&format!("/i/{}", text(&gone["images"][0], "id"))).await.problem(410, "gone");
    store.delete(ahead).await.expect("deleted");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_their_catalog_are_refused_and_kept() {
    let server = Server::start().await;
    server.make(pictures::small_jpeg(8), &["v=w:10"]).await;
    let data = server.stopped().await;
    let (path, aside) = (data.path().join("catalog.db"), data.path().join("aside"));
    std::fs::rename(&path, &aside).expect("moved");
    // None, again none, and one that was begun and never written.
    for round in 0..3 {
        if round == 2 {
            std::fs::write(&path, b"").expect("written");
        }
        let refused = match App::start(&Config::resolve(small(data.path())).expect("valid")).await {
            Ok(_) => panic!("starts without the catalog of its files"),
            Err(error) => format!("{error:#}"),
        };
        for part in [path.to_str(), data.path().join("blobs").to_str(), Some("restore the catalog")] {
            assert!(refused.contains(part.expect("UTF-8")), "{refused}");
        }
        assert_eq!(files_below(&data.path().join("blobs")).len(), 2);
    }
    std::fs::rename(&aside, &path).expect("restored");
    let server = Server::on(data, |_| ()).await;
    server.finish().await;
}

/// A store with a few live files, its catalog, and what the catalog recalls at a start; `mark`: whether what it noted is there.
async fn at_a_start(mark: bool) -> (tempfile::TempDir, Arc<LocalStore>, Arc<SqliteCatalog>, Past) {
    let server = Server::start().await;
    let noted = server.data().join("catalog.db-mark");
    server.make(pictures::small_jpeg(9), &["v=w:10"]).await;
    until("the first repair has vouched for the catalog", async || noted.exists()).await;
    let data = server.stopped().await;
    if !mark {
        std::fs::remove_file(data.path().join("catalog.db-mark")).expect("removed");
    }
    let store = Arc::new(LocalStore::open(data.path().join("blobs")).expect("opens"));
    let catalog = Arc::new(SqliteCatalog::open(&data.path().join("catalog.db")).await.expect("opens"));
    let past = catalog.recall(SystemClock.now()).await.expect("recalls");
    (data, store, catalog, past)
}

async fn strays(store: &LocalStore, count: usize) {
    let before = Timestamp::from_millis(SystemClock.now().as_millis() - 1);
    for _ in 0..count {
        store.put(BlobId::from_uuid(RandomIds.new_id(before)), b"stray".as_slice().into()).await.expect("stored");
    }
}

async fn repair(store: &Arc<LocalStore>, catalog: &Arc<SqliteCatalog>, past: Past) -> usize {
    Repair::new(store.clone(), catalog.clone(), SystemClock.now(), past).run().await;
    store.list().await.expect("lists").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_strays_short_lives_leave_all_of_them_go() {
    let (_data, store, catalog, past) = at_a_start(true).await;
    assert_eq!(past, Past { standing: Standing::Newest, keep_before: None });
    strays(&store, 1100).await;
    assert_eq!(repair(&store, &catalog, past).await, 2, "more than there are live files, and more than a thousand");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_tells_how_old_the_catalog_is_few_strays_go_and_many_stay() {
    let (_data, store, catalog, past) = at_a_start(false).await;
    assert_eq!(past, Past { standing: Standing::Unknown, keep_before: None });
    strays(&store, 16).await;
    assert_eq!(repair(&store, &catalog, past).await, 2);
    catalog.close().await;

    let (data, store, catalog, past) = at_a_start(false).await;
    strays(&store, 17).await;
    assert_eq!(repair(&store, &catalog, past).await, 2 + 17, "none is removed");
    catalog.close().await;
    // It is noted by now how far the catalog has come, and still they stay; what comes later is a stray as any other.
    let catalog = Arc::new(SqliteCatalog::open(&data.path().join("catalog.db")).await.expect("opens"));
    let past = catalog.recall(SystemClock.now()).await.expect("recalls");
    assert!(past.standing == Standing::Newest && past.keep_before.is_some(), "{past:?}");
    tokio::time::sleep(Duration::from_millis(5)).await;
    strays(&store, 3).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(repair(&store, &catalog, past).await, 2 + 17);
    catalog.close().await;
}

/// A copy of the catalog, put back after more has come, few or many, and used: none of what came is lost for the newer catalog, however many
/// starts there are and whatever comes meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_catalog_costs_the_newer_one_none_of_its_files() {
    for more in [1, 20] {
        let server = Server::start().await;
        let noted = server.data().join("catalog.db-mark");
        server.make(pictures::small_jpeg(1), &["v=w:10"]).await;
        until("the first repair has vouched for the catalog", async || noted.exists()).await;
        let data = server.stopped().await;
        let (path, older, newer) = (data.path().join("catalog.db"), data.path().join("older"), data.path().join("newer"));
        std::fs::copy(&path, &older).expect("copied");
        let server = Server::on(data, |_| ()).await;
        let mut later = Vec::new();
        for number in 0..more {
            let file = pictures::small_jpeg(100 + number);
            let upload = server.make(file.clone(), &["v=w:10"]).await;
            later.push((text(&upload["images"][0], "id").to_owned(), file));
        }
        let files = server.blobs();
        assert_eq!(files, 2 + 2 * later.len());
        let data = server.stopped().await;
        std::fs::rename(&path, &newer).expect("moved");
        std::fs::copy(&older, &path).expect("put back");

        let mut data = data;
        let mut own = 0;
        for number in 0..3 {
            let server = Server::on(data, |_| ()).await;
            // The older catalog comes further than the newer one was.
            for more in 0..=later.len() as u64 {
                server.make(pictures::small_jpeg(1000 + 100 * number + more), &["v=w:10"]).await;
                own += 2;
            }
            // A stray of its own, from before the next start, goes there; its going says that the sweep is over.
            data = server.stopped().await;
            let store = LocalStore::open(data.path().join("blobs")).expect("opens");
            strays(&store, 1).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
            let server = Server::on(data, |_| ()).await;
            until("the stray goes", async || server.blobs() == files + own).await;
            data = server.stopped().await;
        }

        std::fs::rename(&newer, &path).expect("the newest is put back");
        let server = Server::on(data, |_| ()).await;
        for (image, file) in &later {
            assert_eq!(server.get(&format!("/i/{image}")).await.body, *file);
            assert_eq!(server.get(&format!("/i/{image}/v.jpg")).await.status, 200);
        }
        // What the older one took in meanwhile is kept, too: this one knows it as little as that one knew of what came later.
        assert_eq!(server.blobs(), files + own);
        drop(server.stopped().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_removed_does_not_keep_the_others() {
    let server = Server::start().await;
    let upload = server.make(pictures::small_jpeg(10), &["v=w:10"]).await;
    let data = server.stopped().await;
    let catalog = Arc::new(SqliteCatalog::open(&data.path().join("catalog.db")).await.expect("opens"));
    // Each replacement leaves a dead blob; two catalog reads of them.
    let mut live = catalog.image(text(&upload["images"][0], "id").parse().expect("an id")).await.expect("reads").expect("is there").blob;
    for _ in 0..501 {
        let fresh = BlobId::from_uuid(RandomIds.new_id(SystemClock.now()));
        assert!(catalog.replace_blob(live, fresh).await.expect("replaces"));
        live = fresh;
    }
    let dead = catalog.dead_blobs(None, 1000).await.expect("reads");
    assert_eq!(dead.len(), 501);
    let (failing, disk) = Failing::new();
    let store = Arc::new(LocalStore::open_on(data.path().join("blobs"), disk).expect("opens"));
    failing.arm(Step::Delete, 1, 1, EIO);
    let past = Past { standing: Standing::Newest, keep_before: None };
    Repair::new(store, catalog.clone(), Timestamp::from_millis(0), past).run().await;
    assert_eq!(failing.disarm(), 1);
    assert_eq!(catalog.dead_blobs(None, 1000).await.expect("reads"), dead[..1], "that one alone waits for the next start");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_gave_way_is_removed_by_who_made_the_new_one() {
    let file = pictures::small_jpeg(11);
    let server = Server::start().await;
    let upload = server.make(file.clone(), &["v=w:10"]).await;
    let variant = format!("/i/{}/v.jpg", text(&upload["images"][0], "id"));
    let lost = file_of(server.data(), &server.get(&variant).await.body);
    // Cut short, and of a release that made other bytes.
    std::fs::write(&lost, b"cut short").expect("written");
    let mut raw = SqliteConnectOptions::new().filename(server.data().join("catalog.db")).connect().await.expect("connects");
    let changed = sqlx::query("UPDATE blobs SET sha256 = zeroblob(32) WHERE id IN (SELECT result FROM variants)").execute(&mut raw).await;
    assert_eq!(changed.expect("written").rows_affected(), 1);
    raw.close().await.expect("closes");
    is_missing(&server, &variant).await;
    server.make(file, &["v=w:10"]).await;
    assert_eq!(server.get(&variant).await.status, 200, "made again");
    assert_eq!((lost.exists(), server.blobs()), (false, 2), "what was left of the lost one is gone without a restart");
    let catalog = SqliteCatalog::open(&server.data().join("catalog.db")).await.expect("opens");
    assert_eq!(catalog.dead_blobs(None, 10).await.expect("reads"), []);
    catalog.close().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_log_does_not_keep_the_service_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (round, bytes) in [1_usize, 17, 100, 512].into_iter().enumerate() {
        let service = Process::start(folder.path(), &[]);
        let url = format!("http://{}/v1/images", service.address);
        let file = pictures::small_jpeg(round as u64);
        let answer = client.post(url).header("content-type", "image/jpeg").body(file).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
        service.kill();
        let log = folder.path().join("data/catalog.db-wal");
        let mut torn = std::fs::read(&log).expect("a log is left");
        let end = torn.len();
        if round % 2 == 0 {
            torn[end - bytes..].fill(0x5a)
        } else {
            torn.extend(std::iter::repeat_n(0xa5, bytes))
        }
        std::fs::write(&log, torn).expect("torn");
    }
    let mut service = Process::start(folder.path(), &[]);
    let stats: Value =
        client.get(format!("http://{}/v1/stats", service.address)).send().await.expect("an answer").json().await.expect("JSON");
    assert!(stats["uploads"].as_u64().is_some_and(|uploads| (2..=4).contains(&uploads)), "only the last commits are lost: {stats}");
    service.terminate();
    assert!(service.ended().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_catalog_is_told_at_start() {
    let server = Server::start().await;
    server.make(pictures::small_jpeg(7), &["v=w:10"]).await;
    let data = server.stopped().await;
    let path = data.path().join("catalog.db");
    let whole = std::fs::read(&path).expect("readable");
    for damage in [0..16, 0..4096] {
        let mut torn = whole.clone();
        torn[damage].fill(0xa5);
        std::fs::write(&path, torn).expect("written");
        let refused = match App::start(&Config::resolve(small(data.path())).expect("valid")).await {
            Ok(_) => panic!("a damaged catalog starts"),
            Err(error) => format!("{error:#}"),
        };
        assert!(refused.contains("catalog.db is no catalog of this program or is damaged"), "{refused}");
    }
}
