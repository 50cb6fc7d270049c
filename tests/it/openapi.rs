//! The service describes itself truly: what it answers has the shapes of its own `/openapi.json`, and `/docs` needs nothing from elsewhere.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    Server, pictures,
    wire::{Answer, Form},
};

struct Document(Value);

impl Document {
    async fn of(server: &Server) -> Self {
        let answer = server.get("/openapi.json").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        Self(answer.json())
    }

    /// Fails unless the answer is one that this operation may give.
    fn allows(&self, method: &str, path: &str, answer: &Answer) {
        let response = &self.0["paths"][path][method]["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{method} {path} may not answer {}: {}", answer.status, answer.text());
        let named = response["headers"].as_object().expect("headers");
        for name in ["location", "etag", "retry-after"] {
            let described = named.keys().any(|header| header.eq_ignore_ascii_case(name));
            assert_eq!(answer.headers.contains_key(name), described, "{method} {path} {}: {name}", answer.status);
        }
        let Some(content) = response.get("content").and_then(Value::as_object) else {
            assert!(answer.body.is_empty(), "{method} {path} {}: a body nobody described", answer.status);
            return;
        };
        let kind = answer.header("content-type").split(';').next().unwrap_or_default();
        let content = content.get(kind).unwrap_or_else(|| panic!("{method} {path} {}: {kind} is not described", answer.status));
        if !kind.ends_with("json") {
            return;
        }
        let mut schema = content["schema"].as_object().expect("a schema").clone();
        schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        let mut components = self.0["components"].clone();
        close(&mut components["schemas"]);
        schema.insert("components".into(), components);
        let validator = jsonschema::options().should_validate_formats(true).build(&Value::Object(schema)).expect("a schema");
        let body = answer.json();
        let wrong: Vec<String> = validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{method} {path} {}: {wrong:?}\n{body}", answer.status);
    }
}

/// Forbids members that are not described, so that an answer cannot say more than the document.
fn close(schemas: &mut Value) {
    for schema in schemas.as_object_mut().expect("schemas").values_mut().filter_map(Value::as_object_mut) {
        if schema.contains_key("properties") {
            schema.insert("unevaluatedProperties".into(), json!(false));
        }
    }
    // It is part of another object.
    schemas["UploadImage"].as_object_mut().expect("a schema").remove("unevaluatedProperties");
    schemas["Image"]["unevaluatedProperties"] = json!(false);
    schemas["Problem"].as_object_mut().expect("a schema").remove("unevaluatedProperties");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_as_described() {
    let server = Server::start().await;
    let document = Document::of(&server).await;
    let mixed = Form::new()
        .file("file", "cat.jpg", &pictures::small_jpeg(1))
        .file("file", "x.exe", b"MZ no image at all, whatever its name")
        .field("metadata[album]", "2026")
        .field("variant", "a=w:20/f:png");
    let taken = server.post_form("/v1/images", mixed).await;
    document.allows("post", "/v1/images", &taken);
    let upload = server.finished(&taken.json()).await;
    let (id, image, job) = (&upload["id"], &upload["images"][0]["id"], &upload["images"][0]["job"]);
    let (id, image, job) = (id.as_str().expect("an id"), image.as_str().expect("an id"), job.as_str().expect("an id"));
    let tag = server.get(&format!("/v1/uploads/{id}")).await.header("etag").to_owned();
    let gets: &[(&str, String)] = &[
        ("/v1/uploads/{id}", format!("/v1/uploads/{id}")),
        ("/v1/uploads/{id}", format!("/v1/uploads/{id}?wait=61")),
        ("/v1/uploads/{id}", format!("/v1/uploads/{id}?weight=1")),
        ("/v1/uploads/{id}", "/v1/uploads/nothing".to_owned()),
        ("/v1/uploads/{id}/events", format!("/v1/uploads/{id}/events")),
        ("/v1/uploads/{id}/events", "/v1/uploads/nothing/events".to_owned()),
        ("/v1/events", "/v1/events?x=1".to_owned()),
        ("/v1/images/{name}", format!("/v1/images/{image}")),
        ("/v1/images/{name}", format!("/v1/images/{image}?x=1")),
        ("/v1/jobs/{id}", format!("/v1/jobs/{job}")),
        ("/v1/jobs/{id}", format!("/v1/jobs/{job}?x")),
        ("/i/{image}", format!("/i/{image}")),
        ("/i/{image}", format!("/i/{image}?w=300")),
        ("/i/{image}/{variant}", format!("/i/{image}/a.png")),
        ("/i/{image}/{variant}", format!("/i/{image}/b.png")),
        ("/v1/presets", "/v1/presets".to_owned()),
        ("/v1/stats", "/v1/stats".to_owned()),
        ("/v1/stats", "/v1/stats?x=1".to_owned()),
        ("/v1/stats", "/v1/stats?window=1h".to_owned()),
        ("/v1/stats", "/v1/stats?window=1s".to_owned()),
        ("/v1/history", "/v1/history".to_owned()),
        ("/v1/history/{id}", "/v1/history/nothing".to_owned()),
        ("/healthz", "/healthz".to_owned()),
        ("/readyz", "/readyz".to_owned()),
        ("/metrics", "/metrics".to_owned()),
        ("/", "/".to_owned()),
        ("/docs", "/docs".to_owned()),
    ];
    for (path, url) in gets {
        document.allows("get", path, &server.get(url).await);
    }
    let unchanged = server.get_with(&format!("/v1/uploads/{id}"), &[("if-none-match", &tag)]).await;
    assert_eq!(unchanged.status, 304);
    document.allows("get", "/v1/uploads/{id}", &unchanged);
    for (range, status) in [("bytes=0-9", 206), ("bytes=99999999-", 416)] {
        let part = server.get_with(&format!("/i/{image}"), &[("range", range)]).await;
        assert_eq!(part.status, status);
        document.allows("get", "/i/{image}", &part);
    }
    let head = server.send(Method::HEAD, &format!("/i/{image}/a"), &[], Bytes::new()).await;
    document.allows("head", "/i/{image}/{variant}", &head);

    let bad = Form::new().file("file", "a", b"nothing").file("file", "b", b"");
    let refused = server.post_form("/v1/images", bad).await;
    assert!(refused.json()["rejected"].is_array(), "{}", refused.text());
    document.allows("post", "/v1/images", &refused);
    let broken = server.send(Method::PUT, "/v1/images/a.jpg?wait=x", &[], pictures::small_jpeg(2)).await;
    assert_eq!(broken.status, 400);
    document.allows("put", "/v1/images/{name}", &broken);
    for list in ["uploads", "images", "jobs"] {
        let path = format!("/v1/{list}");
        for query in ["", "?limit=1", "?limit=0", "?page=2"] {
            document.allows("get", &path, &server.get(&format!("{path}{query}")).await);
        }
    }
    let no_job = "/v1/jobs/0198c0de-0000-7000-8000-00000000abcd";
    for url in [&format!("/v1/jobs/{job}"), no_job] {
        document.allows("delete", "/v1/jobs/{id}", &server.send(Method::DELETE, url, &[], Bytes::new()).await);
        document.allows("post", "/v1/jobs/{id}/retry", &server.send(Method::POST, &format!("{url}/retry"), &[], Bytes::new()).await);
    }
    let more = format!("/v1/images/{image}/variants");
    for (body, status) in [
        (r#"{"variants":{"b":"w:9"},"priority":"low"}"#, 202),
        (r#"{"variants":{"b":"w:9"}}"#, 202),
        (r#"{"variants":{"b":"w:8"}}"#, 409),
        (r#"{"variants":{"c":"widht:8"}}"#, 400),
        ("{", 400),
    ] {
        let answer = server.send(Method::POST, &more, &[("content-type", "application/json")], body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        document.allows("post", "/v1/images/{name}/variants", &answer);
    }
    document.allows("post", "/v1/images/{name}/variants", &server.send(Method::POST, &more, &[], "{}").await);
    for (path, body, status) in [
        (
            "/v1/batches",
            r#"{"preset":"thumbnail","filter":{"format":"jpeg","since":"2026-01-01T00:00:00Z","max_width":9000,"lacks":"x"},"dry_run":true}"#,
            200,
        ),
        ("/v1/batches", r#"{"preset":"thumbnail","filter":{"metadata":{"album":"2026"},"min_height":1}}"#, 202),
        ("/v1/batches", r#"{"variants":{"a":"w:9"}}"#, 202),
        ("/v1/batches", r#"{"preset":"thumbnail","filter":{"min_width":9,"max_width":8}}"#, 400),
        ("/v1/jobs/retry", r#"{"error":"storage"}"#, 200),
        ("/v1/jobs/cancel", r#"{"error":["storage"],"dry_run":true}"#, 200),
        ("/v1/jobs/cancel", "{}", 400),
    ] {
        let answer = server.send(Method::POST, path, &[("content-type", "application/json")], body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        document.allows("post", path, &answer);
        if answer.status != 202 {
            continue;
        }
        let url = answer.json()["url"].as_str().expect("a url").to_owned();
        let ended = server.get(&format!("{url}?wait=60")).await;
        document.allows("get", "/v1/batches/{id}", &ended);
        // The second finds its name taken.
        assert_eq!(ended.json()["refusals"].as_array().map(Vec::len), Some(usize::from(body.contains("variants"))), "{}", ended.text());
        document.allows("get", "/v1/batches", &server.get("/v1/batches?limit=1").await);
        document.allows("delete", "/v1/batches/{id}", &server.send(Method::DELETE, &url, &[], Bytes::new()).await);
    }
    for method in [Method::GET, Method::DELETE] {
        let none = server.send(method.clone(), "/v1/batches/0198c0de-0000-7000-8000-00000000abcd", &[], Bytes::new()).await;
        document.allows(method.as_str().to_lowercase().as_str(), "/v1/batches/{id}", &none);
    }
    let failed = server.make(pictures::corrupt_png(), &["a=w:10"]).await;
    let retried = format!("/v1/jobs/{}/retry", failed["images"][0]["job"].as_str().expect("an id"));
    let retried = server.send(Method::POST, &retried, &[], Bytes::new()).await;
    assert_eq!(retried.status, 202, "{}", retried.text());
    document.allows("post", "/v1/jobs/{id}/retry", &retried);
    for (path, url) in [("/v1/images/{name}", format!("/v1/images/{image}")), ("/v1/uploads/{id}", format!("/v1/uploads/{id}"))] {
        for _ in 0..2 {
            document.allows("delete", path, &server.send(Method::DELETE, &url, &[], Bytes::new()).await);
        }
        document.allows("get", path, &server.get(&url).await);
    }
    for query in ["", "?limit=0", "?status=failed"] {
        document.allows("get", "/v1/history", &server.get(&format!("/v1/history{query}")).await);
    }
    document.allows("get", "/v1/history/{id}", &server.get(&format!("/v1/history/{job}")).await);
    let plain = Form::new().file("file", "cat.jpg", &pictures::small_jpeg(3)).field("process_type", "thumbnail");
    document.allows("post", "/upload-image/", &server.post_form("/upload-image/", plain).await);
    let one = server.send(Method::POST, "/v1/process?w=8&f=png", &[("content-type", "image/jpeg")], pictures::small_jpeg(4)).await;
    assert_eq!(one.status, 200, "{}", one.text());
    document.allows("post", "/v1/process", &one);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_are_cheap_to_ask_for_again() {
    let server = Server::start().await;
    for path in ["/openapi.json", "/docs"] {
        let first = server.get(path).await;
        assert_eq!((first.status, first.header("cache-control")), (200, "no-cache"));
        let again = server.get_with(path, &[("if-none-match", first.header("etag"))]).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
    }
    let policy = server.get("/docs").await.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    server.finish().await;
}
