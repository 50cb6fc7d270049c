//! The ways in: every shape of body that is taken, and the answer promised for it.

use bytes::Bytes;
use http::Method;
use image::ImageFormat;
use serde_json::{Value, json};

use crate::support::{
    Server, pictures, sha256_hex, until,
    wire::{self, BOUNDARY, FORM_TYPE, Form, repr_digest},
};

fn names(image: &Value) -> Vec<&str> {
    image["variants"].as_array().expect("variants").iter().map(|v| v["name"].as_str().expect("a name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_answered_as_the_contract_shows() {
    let server = Server::start().await;
    let cat = pictures::small_jpeg(1);
    let form =
        Form::new().file("file", "cat.jpg", &cat).field("variant", "thumb=rs:fill:32:32/f:webp").field("variant", "soft=w:80/bl:4/gray:1");
    let answer = server.post_form("/v1/images", form).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let upload = answer.json();
    let base = server.base();
    let (id, image) = (upload["id"].as_str().expect("an id"), &upload["images"][0]);
    assert_eq!(answer.header("location"), format!("{base}/v1/uploads/{id}"));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(upload["url"], format!("{base}/v1/uploads/{id}"));
    assert!(["processing", "completed"].contains(&upload["status"].as_str().expect("a status")));
    assert_eq!(upload["rejected"], json!([]));
    for (member, value) in [
        ("filename", json!("cat.jpg")),
        ("bytes", json!(cat.len())),
        ("sha256", json!(sha256_hex(&cat))),
        ("format", json!("jpeg")),
        ("width", json!(160)),
        ("height", json!(120)),
        ("duplicate", json!(false)),
    ] {
        assert_eq!(image[member], value, "{member}");
    }
    let image_id = image["id"].as_str().expect("an id");
    assert_eq!(image["url"], format!("{base}/i/{image_id}"));
    assert_eq!(names(image), ["thumb", "soft"]);
    assert_eq!(image["variants"][0]["options"], "rs:fill:32:32/f:webp");
    assert_eq!(image["variants"][0]["url"], format!("{base}/i/{image_id}/thumb.webp"));
    assert_eq!(image["variants"][1]["url"], format!("{base}/i/{image_id}/soft.jpg"), "no format given: the source's");

    let end = server.finished(&upload).await;
    assert_eq!(end["status"], "completed", "{end}");
    let thumb = server.get(&format!("/i/{image_id}/thumb.webp")).await;
    assert_eq!((thumb.status, thumb.header("content-type")), (200, "image/webp"));
    let decoded = image::load_from_memory(&thumb.body).expect("a WebP");
    assert_eq!((decoded.width(), decoded.height()), (32, 32));
    assert_eq!(server.get(&format!("/i/{image_id}")).await.body, cat, "byte for byte");
    assert_eq!(server.get(&format!("/v1/images/{image_id}")).await.json()["sha256"], sha256_hex(&cat));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_bodies_are_taken_by_post_and_put() {
    let server = Server::start().await;
    let picture = pictures::photo(60, 40, 2);
    for (format, content_type, word) in [
        (ImageFormat::Jpeg, "image/jpeg", "jpeg"),
        (ImageFormat::Png, "image/png", "png"),
        (ImageFormat::WebP, "application/octet-stream", "webp"),
    ] {
        let file = pictures::file(picture.clone(), format);
        let answer = server.send(Method::POST, "/v1/images?w=20", &[("content-type", content_type)], file.clone()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let image = &answer.json()["images"][0];
        assert_eq!((&image["format"], &image["filename"]), (&json!(word), &Value::Null));
        assert_eq!(names(image), ["result"], "bare options make `result`");
    }
    let gif = pictures::file(pictures::translucent(30, 20), ImageFormat::Gif);
    for headers in [&[][..], &[("content-type", "text/plain")], &[("content-type", "nonsense")]] {
        let answer = server.send(Method::PUT, "/v1/images/holiday%20%E7%8C%AB.gif", headers, gif.clone()).await;
        assert_eq!(answer.status, 202, "{headers:?}: {}", answer.text());
        let image = &answer.json()["images"][0];
        assert_eq!((&image["format"], &image["filename"]), (&json!("gif"), &json!("holiday 猫.gif")));
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fastapi_route_answers_in_its_own_words() {
    let server = Server::start().await;
    for (path, process_type) in [("/upload-image/", "thumbnail"), ("/upload-image/", "filter"), ("/upload-image", "default")] {
        let form = Form::new().file("file", "me.jpg", &pictures::small_jpeg(3)).field("process_type", process_type);
        let answer = server.post_form(path, form).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let json = answer.json();
        let name = if process_type == "default" { "thumb" } else { process_type };
        assert_eq!((&json["file_name"], &json["process_type"]), (&json!("me.jpg"), &json!(name)));
        assert!(json["message"].is_string());
        let url = json["url"].as_str().expect("a url");
        assert_eq!(
            (url, answer.header("location")),
            (format!("{}/v1/uploads/{}", server.base(), json["id"].as_str().expect("an id")).as_str(), url)
        );
        assert_eq!(server.finished(&json).await["status"], "completed");
    }
    let wrong = Form::new().file("file", "me.jpg", &pictures::small_jpeg(3)).field("process_type", "thumbnial");
    let problem = server.post_form("/upload-image/", wrong).await.problem(400, "bad_option");
    assert!(problem["detail"].as_str().expect("text").contains("thumbnail"), "{problem}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_count_wherever_they_stand() {
    let server = Server::start().await;
    let file = |form: Form, n: u64| form.file("photo", "a.jpg", &pictures::small_jpeg(n));
    let field = |form: Form| form.field("variant", "v=w:10").field("priority", "low").field("metadata[album]", "2026");
    for (place, form) in
        [("before", file(field(Form::new()), 1)), ("after", field(file(Form::new(), 2))), ("between", file(field(file(Form::new(), 3)), 4))]
    {
        let upload = server.post_form("/v1/images", form).await.json();
        assert_eq!(upload["metadata"], json!({ "album": "2026" }), "{place}");
        for image in upload["images"].as_array().expect("images") {
            assert_eq!(names(image), ["v"], "{place}");
            let job = server.get(&format!("/v1/jobs/{}", image["job"].as_str().expect("a job"))).await.json();
            assert_eq!(job["priority"], "low", "{place}");
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_in_the_query_is_the_same_as_in_fields() {
    let server = Server::start().await;
    let file = || Form::new().file("file", "a.jpg", &pictures::small_jpeg(5));
    for (query, fields, wanted) in [
        ("", vec![], vec!["thumb"]),
        ("?preset=thumbnail", vec![], vec!["thumbnail"]),
        ("", vec![("upload_preset", "filter")], vec!["filter"]),
        ("?variant=a%3Dw:10/f:png", vec![("variant", "b=h:10")], vec!["b", "a"]),
        ("?w=10&gray=1", vec![("q", "50")], vec!["result"]),
        ("?preset=default,filter", vec![], vec!["thumb", "filter"]),
    ] {
        let form = fields.iter().fold(file(), |form, (name, value)| form.field(name, value));
        let answer = server.post_form(&format!("/v1/images{query}"), form).await;
        assert_eq!(answer.status, 202, "{query} {fields:?}: {}", answer.text());
        assert_eq!(names(&answer.json()["images"][0]), wanted, "{query} {fields:?}");
    }
    let default = server.post_form("/v1/images", file()).await.json();
    assert_eq!(default["images"][0]["variants"][0]["options"], "rs:fit:320:320");
    let presets = server.get("/v1/presets").await.json();
    assert_eq!(presets["default"], "rs:fit:320:320");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_does_not_cost_the_good_ones() {
    let server = Server::start().await;
    let form = Form::new()
        .file("files[]", "a.jpg", &pictures::small_jpeg(6))
        .file("files[]", "x.exe", b"MZ\x90\0 this is no image")
        .file("files[]", "b.png", &pictures::png(pictures::photo(20, 20, 7)))
        .file("files[]", "empty.jpg", b"")
        .part("Content-Disposition: form-data; name=\"image\"", &pictures::small_jpeg(8));
    let answer = server.post_form("/v1/images", form).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let upload = answer.json();
    let taken: Vec<_> = upload["images"].as_array().expect("images").iter().map(|image| &image["filename"]).collect();
    assert_eq!(taken, [&json!("a.jpg"), &json!("b.png"), &Value::Null]);
    let refused: Vec<_> = upload["rejected"]
        .as_array()
        .expect("rejected")
        .iter()
        .map(|file| (&file["filename"], &file["problem"]["code"], &file["problem"]["status"]))
        .collect();
    assert_eq!(
        refused,
        [(&json!("x.exe"), &json!("unsupported_format"), &json!(415)), (&json!("empty.jpg"), &json!("empty_file"), &json!(400))]
    );
    assert_eq!(server.finished(&upload).await["status"], "completed", "what was refused is not part of the work");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_file_there_is_a_problem() {
    let server = Server::start().await;
    let before = server.stored().await;
    let post = async |form: Form| server.post_form("/v1/images", form).await;
    post(Form::new().file("file", "x.txt", b"hello, world")).await.problem(415, "unsupported_format");
    let two = post(Form::new().file("file", "x.txt", b"hello, world").file("file", "y.jpg", b"")).await.problem(415, "unsupported_format");
    assert_eq!(two["rejected"].as_array().map(Vec::len), Some(2), "{two}");
    post(Form::new().file("file", "x.jpg", b"")).await.problem(400, "empty_file");
    post(Form::new().field("w", "10")).await.problem(400, "no_file");
    post(Form::new()).await.problem(400, "no_file");
    let put = server.send(Method::PUT, "/v1/images/a.jpg", &[], Bytes::new()).await;
    put.problem(400, "empty_file");
    assert_eq!(server.stored().await, before);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_a_preference() {
    let server = Server::start().await;
    let form = Form::new().file("file", "a.jpg", &pictures::small_jpeg(9)).field("w", "20");
    let answer = server.post_form_with("/v1/images", &[("prefer", "respond-async, wait=60")], form).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (200, "wait=60"), "{}", answer.text());
    let upload = answer.json();
    assert_eq!(upload["status"], "completed");
    let result = &upload["images"][0]["variants"][0]["result"];
    assert_eq!((&result["width"], &result["height"], &result["format"]), (&json!(20), &json!(15), &json!("jpeg")));
    assert!(!answer.header("location").is_empty());
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_first_answer_again() {
    let server = Server::start().await;
    let form = |seed: u64, width: &str| Form::new().file("file", "a.jpg", &pictures::small_jpeg(seed)).field("w", width);
    let key = [("idempotency-key", "order-17")];
    let first = server.post_form_with("/v1/images", &key, form(10, "20")).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, ""));
    let before = server.stored().await;
    let again = server.post_form_with("/v1/images", &key, form(10, "20")).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, "true"), "{}", again.text());
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert_eq!(again.header("location"), first.header("location"));
    server.post_form_with("/v1/images", &key, form(11, "20")).await.problem(409, "idempotency_conflict");
    server.post_form_with("/v1/images", &key, form(10, "21")).await.problem(409, "idempotency_conflict");
    server.finished(&first.json()).await;
    let after = server.stored().await;
    assert_eq!((after.0, after.1, after.2), (before.0, before.1, before.2), "a replay counts nothing");
    let other = server.post_form_with("/v1/images", &[("idempotency-key", "order-18")], form(10, "20")).await;
    assert_ne!(other.json()["id"], first.json()["id"]);
    for key in ["", &"k".repeat(256)] {
        server.post_form_with("/v1/images", &[("idempotency-key", key)], form(10, "20")).await.problem(400, "bad_request");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_at_once_makes_one_upload() {
    let server = Server::start().await;
    let send = || {
        let form = Form::new().file("file", "a.jpg", &pictures::small_jpeg(12)).field("w", "20");
        server.post_form_with("/v1/images", &[("idempotency-key", "race")], form)
    };
    let answers = futures_util::future::join_all((0..8).map(|_| send())).await;
    let first = answers[0].json()["id"].clone();
    assert!(answers.iter().all(|answer| answer.status == 202 && answer.json()["id"] == first));
    assert_eq!(answers.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count(), 1);
    assert_eq!(server.stats().await["uploads"], 1);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_digests_are_checked() {
    let server = Server::start().await;
    let (good, other) = (pictures::small_jpeg(13), pictures::small_jpeg(14));
    let put = async |digest: &str| server.send(Method::PUT, "/v1/images/a.jpg", &[("repr-digest", digest)], good.clone()).await;
    assert_eq!(put(&repr_digest(&good)).await.status, 202);
    put(&repr_digest(&other)).await.problem(400, "digest_mismatch");
    put("sha-256=:AAAA:").await.problem(400, "bad_request");
    assert_eq!(put("md5=:AAAAAAAAAAAAAAAAAAAAAA==:").await.status, 202, "an algorithm we do not check");
    let part = |bytes: &[u8], digest: &str| {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"p.jpg\"\r\nRepr-Digest: {digest}");
        Form::new().part(&head, bytes).file("file", "q.jpg", &good)
    };
    let right = server.post_form("/v1/images", part(&good, &repr_digest(&good))).await.json();
    assert_eq!(right["images"].as_array().map(Vec::len), Some(2));
    let wrong = server.post_form("/v1/images", part(&good, &repr_digest(&other))).await.json();
    assert_eq!((wrong["images"].as_array().map(Vec::len), &wrong["rejected"][0]["problem"]["code"]), (Some(1), &json!("digest_mismatch")));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_stored_once() {
    let server = Server::start().await;
    let file = pictures::small_jpeg(15);
    let first = server.make(file.clone(), &["v=w:20"]).await;
    let blobs = server.blobs();
    assert_eq!(blobs, 2, "an original and a variant");
    let again = server.make(file.clone(), &["v=w:20"]).await;
    assert_eq!((&first["images"][0]["duplicate"], &again["images"][0]["duplicate"]), (&json!(false), &json!(true)));
    assert_ne!(first["images"][0]["id"], again["images"][0]["id"], "each upload has its own image");
    assert_eq!(server.blobs(), blobs);
    for upload in [&first, &again] {
        let id = upload["images"][0]["id"].as_str().expect("an id");
        assert_eq!(server.get(&format!("/i/{id}")).await.body, file);
        assert_eq!(server.get(&format!("/i/{id}/v.jpg")).await.status, 200);
    }
    let twice =
        Form::new().file("file", "a.jpg", &pictures::small_jpeg(16)).file("file", "b.jpg", &pictures::small_jpeg(16)).field("w", "10");
    let upload = server.post_form("/v1/images", twice).await.json();
    assert_eq!(server.finished(&upload).await["status"], "completed");
    assert_eq!(upload["images"][1]["duplicate"], true, "also within one request");
    // Both jobs made it; the copy that came second goes after its job's end is recorded, which is when who waits for it may be told.
    until("the second copy is gone", async || server.blobs() == blobs + 2).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn length_and_chunks_come_to_the_same() {
    let server = Server::start().await;
    let file = pictures::jpeg(&pictures::photo(500, 400, 17), 90);
    let body = Form::new().file("file", "a.jpg", &file).field("w", "20").end();
    let content_type = format!("Content-Type: {FORM_TYPE}");
    let length = format!("Content-Length: {}", body.len());
    let by_length = wire::exchange(server.address, &wire::head("POST", "/v1/images", &[&content_type, &length]), &body).await;
    let mut answers = vec![by_length.expect("an answer")];
    for size in [1000, 65_536, usize::MAX >> 1] {
        let head = wire::head("POST", "/v1/images", &[&content_type, "Transfer-Encoding: chunked"]);
        answers.push(wire::exchange(server.address, &head, &wire::chunked(&body, size)).await.expect("an answer"));
    }
    for answer in &answers {
        assert_eq!(answer.status, 202, "{}", answer.text());
        let image = &answer.json()["images"][0];
        assert_eq!((&image["sha256"], &image["bytes"]), (&json!(sha256_hex(&file)), &json!(file.len())));
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_100_continue_is_answered_before_the_body() {
    let server = Server::start().await;
    let file = pictures::small_jpeg(18);
    let mut wire = wire::Wire::open(server.address).await;
    let length = format!("Content-Length: {}", file.len());
    wire.write(&wire::head("PUT", "/v1/images/a.jpg", &[&length, "Expect: 100-continue"])).await;
    wire.read_until(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    wire.write(&file).await;
    assert_eq!(wire.read().await.expect("an answer").status, 202);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_and_foreign_names_are_only_shown() {
    let server = Server::start().await;
    for (head, shown) in [
        (r#"name="f"; filename="../../etc/passwd""#, json!("passwd")),
        (r#"name="f"; filename="C:\dir\cat.jpg""#, json!("cat.jpg")),
        (r#"name="f"; filename="x; name=evil""#, json!("x; name=evil")),
        (r#"name="f"; filename*=UTF-8''%E7%8C%AB.jpg"#, json!("猫.jpg")),
        (r#"filename="b.jpg"; name=f"#, json!("b.jpg")),
    ] {
        let form = Form::new().part(&format!("Content-Disposition: form-data; {head}"), &pictures::small_jpeg(19));
        let answer = server.post_form("/v1/images", form).await;
        assert_eq!(answer.status, 202, "{head}: {}", answer.text());
        assert_eq!(answer.json()["images"][0]["filename"], shown, "{head}");
    }
    let outside =
        std::fs::read_dir(server.data()).expect("a folder").map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut outside: Vec<String> = outside.filter(|name| !name.starts_with("catalog.db")).collect();
    outside.sort();
    assert_eq!(outside, [".lock", "blobs", "staging"], "nothing is written elsewhere");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_upload_libraries_and_of_strangers() {
    let server = Server::start().await;
    let form = || Form::new().field("name", "cat.jpg").field("type", "image/jpeg").file("file", "blob", &pictures::small_jpeg(20));
    assert_eq!(server.post_form("/v1/images", form()).await.status, 202);
    let problem = server.post_form("/v1/images", form().field("widht", "10")).await.problem(400, "bad_option");
    assert!(problem["detail"].as_str().expect("text").contains("did you mean \"width\"?"), "{problem}");
    let kept = server.post_form("/v1/images?unknown_fields=metadata", form().field("title", "cat")).await;
    assert_eq!(kept.json()["metadata"], json!({ "title": "cat" }));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_follow_the_configuration_or_the_request() {
    let server = Server::with(|s| s.public_url = Some("https://img.example.org/".to_owned())).await;
    let upload = server.post_form("/v1/images", Form::new().file("file", "a.jpg", &pictures::small_jpeg(21))).await.json();
    assert!(upload["url"].as_str().expect("a url").starts_with("https://img.example.org/v1/uploads/"), "{upload}");
    server.finish().await;
    let server = Server::with(|s| s.allowed_hosts = Some("photos.example".to_owned())).await;
    let body = Form::new().file("file", "a.jpg", &pictures::small_jpeg(21)).end();
    let length = body.len();
    let head = format!(
        "POST /v1/images HTTP/1.1\r\nHost: photos.example:81\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=\"{BOUNDARY}\"\r\nContent-Length: {length}\r\n\r\n"
    );
    let answer = wire::exchange(server.address, head.as_bytes(), &body).await.expect("an answer");
    assert!(answer.json()["url"].as_str().expect("a url").starts_with("http://photos.example:81/v1/uploads/"), "{}", answer.text());
    server.finish().await;
}
