//! The ways out: originals and variants, their tags, ranges and headers; variants in work and failed ones.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use image_pipeline::{PIPELINE_VERSION, Presets, Spec};
use pixmill::{
    catalog::{Catalog, Claim, Lease, NewImage, NewJob, NewTask, NewUpload, Release, Together, sqlite::SqliteCatalog},
    clock::{Clock, IdSource, RandomIds, SystemClock},
    domain::{BlobId, ImageId, JobId, LeaseToken, Priority, TaskCode, TaskFailure, TaskId, UploadId},
    store::{BlobStore, LocalStore},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{Server, pictures, wire::Form};

/// An image with a JPEG variant `small`; its URL and the original's bytes.
async fn with_one_image(server: &Server, filename: &str) -> (String, Vec<u8>) {
    let file = pictures::small_jpeg(1);
    let form = Form::new().file("file", filename, &file).field("variant", "small=w:40");
    let upload = server.post_form("/v1/images", form).await.json();
    let upload = server.finished(&upload).await;
    assert_eq!(upload["status"], "completed", "{upload}");
    (upload["images"][0]["url"].as_str().expect("a url").to_owned(), file)
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_and_variants_come_with_their_headers() {
    let server = Server::start().await;
    let (url, file) = with_one_image(&server, "ca\\\"t 猫.jpg").await;
    let original = server.get(&url).await;
    assert_eq!((original.status, &original.body[..]), (200, &file[..]));
    let small = server.get(&format!("{url}/small.jpg")).await;
    assert_eq!(small.status, 200);
    for (answer, name) in [(&original, "猫.jpg"), (&small, "猫-small.jpg")] {
        assert_eq!(answer.header("content-type"), "image/jpeg");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert!(!answer.headers.contains_key("vary"), "one URL, one representation");
        let tag = answer.header("etag");
        assert!(tag.starts_with('"') && tag.len() > 10, "strong: {tag}");
        let disposition = answer.header("content-disposition");
        assert!(disposition.starts_with("inline; filename=\"") && disposition.is_ascii(), "{disposition}");
        let encoded: String = name
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() || b"-.".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        assert!(disposition.contains("filename*=UTF-8''") && disposition.ends_with(&encoded), "{disposition} should end with {encoded}");
    }
    assert_ne!(original.header("etag"), small.header("etag"));
    for file in ["small", "small.jpg", "small.jpeg"] {
        assert_eq!(server.get(&format!("{url}/{file}")).await.body, small.body, "{file}");
    }
    for file in ["small.webp", "small.png", "small.exe", "other.jpg", "other"] {
        server.get(&format!("{url}/{file}")).await.problem(404, "not_found");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_save_the_body() {
    let server = Server::start().await;
    let (url, _) = with_one_image(&server, "a.jpg").await;
    for url in [url.clone(), format!("{url}/small.jpg")] {
        let whole = server.get(&url).await;
        let tag = whole.header("etag").to_owned();
        for seen in [tag.clone(), format!("\"x\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            let answer = server.get_with(&url, &[("if-none-match", &seen)]).await;
            assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (304, 0, tag.as_str()), "{seen}");
            assert_eq!(answer.header("cache-control"), whole.header("cache-control"));
        }
        assert_eq!(server.get_with(&url, &[("if-none-match", "\"x\"")]).await.status, 200);
        assert_eq!(server.get_with(&url, &[("if-match", &tag)]).await.status, 200);
        server.get_with(&url, &[("if-match", "\"x\"")]).await.problem(412, "precondition_failed");
        let head = server.send(Method::HEAD, &url, &[], Bytes::new()).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["etag", "content-type", "content-length", "content-disposition", "cache-control", "accept-ranges"] {
            assert_eq!(head.header(name), whole.header(name), "{name}");
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_select_bytes() {
    let server = Server::start().await;
    let (url, file) = with_one_image(&server, "a.jpg").await;
    let tag = server.get(&url).await.header("etag").to_owned();
    let total = file.len();
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=10-99".to_owned(), 10, 100),
        (format!("bytes={}-", total - 5), total - 5, total),
        ("bytes=-7".to_owned(), total - 7, total),
        (format!("bytes=100-{}", total * 2), 100, total),
        (format!("bytes=0-{}", total - 1), 0, total),
    ] {
        let answer = server.get_with(&url, &[("range", &range)]).await;
        assert_eq!((answer.status, &answer.body[..]), (206, &file[from..to]), "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {from}-{}/{total}", to - 1));
        assert_eq!(answer.header("content-length"), (to - from).to_string());
        assert_eq!(answer.header("etag"), tag);
    }
    let outside = server.get_with(&url, &[("range", &format!("bytes={total}-"))]).await;
    outside.problem(416, "range_not_satisfiable");
    assert_eq!(outside.header("content-range"), format!("bytes */{total}"));
    for range in ["bytes=0-1,5-6", "lines=0-1", "nonsense"] {
        assert_eq!(server.get_with(&url, &[("range", range)]).await.body, file, "{range}: not served, everything comes");
    }
    let resumed = server.get_with(&url, &[("range", "bytes=5-"), ("if-range", &tag)]).await;
    assert_eq!((resumed.status, &resumed.body[..]), (206, &file[5..]));
    let changed = server.get_with(&url, &[("range", "bytes=5-"), ("if-range", "\"other\"")]).await;
    assert_eq!((changed.status, &changed.body[..]), (200, &file[..]));
    let dated = server.get_with(&url, &[("range", "bytes=5-"), ("if-range", "Wed, 21 Oct 2026 07:28:00 GMT")]).await;
    assert_eq!(dated.status, 200);
    server.finish().await;
}

/// A folder with one image whose job waits an hour for its second attempt: in work for as long as any test may look.
async fn folder_with_waiting_job() -> (tempfile::TempDir, ImageId) {
    let folder = tempfile::tempdir().expect("a folder");
    let (clock, ids) = (SystemClock, RandomIds);
    let now = clock.now();
    let store = LocalStore::open(folder.path().join("blobs")).expect("opens");
    let catalog = SqliteCatalog::open(&folder.path().join("catalog.db")).await.expect("opens");
    let file = pictures::small_jpeg(2);
    let blob = BlobId::from_uuid(ids.new_id(now));
    store.put(blob, file.clone().into()).await.expect("stored");
    let spec = Spec::parse("w:40", &Presets::builtin()).expect("valid");
    let image = ImageId::from_uuid(ids.new_id(now));
    let task = NewTask {
        id: TaskId::from_uuid(ids.new_id(now)),
        name: "small".parse().expect("a name"),
        options: "w:40".to_owned(),
        spec: spec.canonical(),
        spec_digest: spec.digest(),
        pipeline_version: PIPELINE_VERSION,
        format: "jpeg".to_owned(),
    };
    let job = NewJob {
        id: JobId::from_uuid(ids.new_id(now)),
        priority: Priority::Normal,
        rank: now.as_millis(),
        cost_bytes: 1,
        max_attempts: 5,
        origin: None,
        tasks: vec![task],
    };
    let new_image = NewImage {
        id: image,
        blob,
        sha256: Sha256::digest(&file).into(),
        bytes: file.len() as u64,
        filename: None,
        format: "jpeg".to_owned(),
        width_px: 160,
        height_px: 120,
        metadata: Vec::new(),
        job,
    };
    let upload = NewUpload {
        id: UploadId::from_uuid(ids.new_id(now)),
        owner: String::new(),
        received_at: now,
        expires_at: None,
        metadata: Vec::new(),
        rejected: Vec::new(),
        images: vec![new_image],
        idempotency: None,
    };
    catalog.accept_upload(upload).await.expect("recorded");
    let tokens = vec![LeaseToken::from_uuid(ids.new_id(now))];
    let claim = Claim {
        owner: "test".to_owned(),
        limit: 1,
        together: Together::NONE,
        budget_bytes: 1 << 30,
        whole_budget_bytes: 1 << 30,
        running: 0,
        now,
        lease: Duration::from_secs(60),
        tokens,
    };
    let claimed = catalog.claim_jobs(claim).await.expect("answers").jobs.pop().expect("the job");
    let lease: Lease = claimed.lease;
    let failure = Some(TaskFailure { code: TaskCode::Storage, detail: "reading the stored original failed".to_owned() });
    catalog.release_job(lease, Release { at: now, due: now.after(Duration::from_secs(3600)), failure }).await.expect("given back");
    catalog.close().await;
    (folder, image)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_in_work_is_202_with_its_job() {
    let (folder, image) = folder_with_waiting_job().await;
    let server = Server::on(folder, |_| ()).await;
    for file in ["small.jpg", "small"] {
        let answer = server.get(&format!("/i/{image}/{file}")).await;
        assert_eq!(
            (answer.status, answer.header("retry-after"), answer.header("cache-control")),
            (202, "1", "no-store"),
            "{}",
            answer.text()
        );
        let job = answer.json();
        assert_eq!((&job["status"], &job["attempt"], &job["tasks"][0]["name"]), (&json!("queued"), &json!(1), &json!("small")));
        assert_eq!((&job["error"]["code"], &job["tasks"][0]["result"]), (&json!("storage"), &json!(null)));
        assert!(job["next_attempt_at"].is_string(), "{job}");
        assert_eq!(server.get(&format!("/v1/jobs/{}", job["id"].as_str().expect("an id"))).await.json(), job);
        // The upload waits as asked and says so as it is.
        let upload = job["upload"].as_str().expect("an upload");
        let state = server.get(&format!("/v1/uploads/{upload}?wait=0")).await;
        assert_eq!((state.status, &state.json()["status"]), (200, &json!("processing")));
    }
    assert_eq!(server.get(&format!("/i/{image}")).await.status, 200, "the original is there at once");
    assert_eq!(server.stats().await["queued_jobs"], 1);
    // The job is meant to be left: only that nothing else is.
    let data = server.stopped().await;
    crate::support::nothing_left(data.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_variant_says_why_for_good() {
    let server = Server::start().await;
    let whole = pictures::jpeg(&pictures::photo(400, 300, 3), 90);
    for (file, code) in [(pictures::corrupt_png(), "malformed_image"), (whole[..whole.len() / 2].to_vec(), "truncated_image")] {
        let upload = server.make(file.clone(), &["a=w:40", "b=h:20/f:webp"]).await;
        assert_eq!(upload["status"], "failed", "{upload}");
        let image = &upload["images"][0];
        let url = image["url"].as_str().expect("a url");
        for name in ["a", "b"] {
            server.get(&format!("{url}/{name}")).await.problem(422, code);
        }
        let job = server.get(&format!("/v1/jobs/{}", image["job"].as_str().expect("a job"))).await.json();
        assert_eq!((&job["status"], &job["attempt"]), (&json!("failed"), &json!(1)), "no attempt would help: {job}");
        for task in job["tasks"].as_array().expect("tasks") {
            assert_eq!((&task["status"], &task["error"]["code"], &task["result"]), (&json!("failed"), &json!(code), &json!(null)));
            assert!(task["error"]["detail"].as_str().is_some_and(|text| !text.is_empty()));
        }
        assert_eq!(server.get(url).await.body, file, "the original is kept as it came");
    }
    let stats = server.stats().await;
    assert_eq!((&stats["failed_tasks"], &stats["completed_tasks"]), (&json!(4), &json!(0)));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_survives_a_restart() {
    let server = Server::start().await;
    let (url, file) = with_one_image(&server, "a.jpg").await;
    let path = url.strip_prefix(&server.base()).expect("ours").to_owned();
    let small = server.get(&format!("{path}/small.jpg")).await;
    let server = Server::on(server.stopped().await, |_| ()).await;
    assert_eq!(server.get(&path).await.body, file);
    let again = server.get(&format!("{path}/small.jpg")).await;
    assert_eq!((&again.body, again.header("etag")), (&small.body, small.header("etag")));
    assert_eq!(server.stats().await["completed_tasks"], 1, "totals are of the folder, not of the process");
    server.finish().await;
}
