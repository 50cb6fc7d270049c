//! Who may speak to the service and under which name, from outside: hosts, proxies, prefix, origins, pages of other sites.

use http::Method;
use serde_json::Value;

use crate::support::{
    Server, pictures,
    wire::{Answer, FORM_TYPE, Form, Wire, exchange},
};

/// One request as it stands, connection closed after it.
async fn asked(server: &Server, first: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut text = format!("{first} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    exchange(server.address, text.as_bytes(), body).await.expect("an answer")
}

/// Every URL in a JSON value.
fn urls(json: &Value) -> Vec<String> {
    match json {
        Value::String(text) if text.contains("://") => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(urls).collect(),
        Value::Object(members) => members.values().flat_map(urls).collect(),
        _ => Vec::new(),
    }
}

fn one_picture() -> Vec<u8> {
    Form::new().file("file", "a.jpg", &pictures::small_jpeg(1)).end()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_could_be_rebound_is_not_served_on_loopback() {
    let server = Server::start().await;
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.0.2.1"] {
        for path in ["/", "/v1/stats", "/i/0198c0de-0000-7000-8000-00000000abcd", "/metrics", "/nowhere"] {
            let problem = asked(&server, &format!("GET {path}"), &[&format!("Host: {host}")], b"").await.problem(403, "forbidden");
            let detail = problem["detail"].as_str().expect("text").to_owned();
            assert!(detail.contains(host) && detail.contains("--allowed-hosts"), "{detail}");
        }
        assert_eq!(asked(&server, "GET /healthz", &[&format!("Host: {host}")], b"").await.status, 200);
        assert_eq!(asked(&server, "GET /readyz", &[&format!("Host: {host}")], b"").await.status, 200);
    }
    for host in ["localhost", "LOCALHOST:1", "pix.localhost", "127.0.0.1", "127.8.9.1:80", "[::1]"] {
        assert_eq!(asked(&server, "GET /v1/stats", &[&format!("Host: {host}")], b"").await.status, 200, "{host}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_exactly_one_host() {
    let server = Server::start().await;
    for headers in [
        &[][..],
        &["Host: localhost", "Host: localhost"],
        &["Host: a b"],
        &["Host: user@localhost"],
        &["Host: localhost:99999"],
        &["Host:"],
    ] {
        asked(&server, "GET /v1/stats", headers, b"").await.problem(400, "bad_request");
    }
    let old = exchange(server.address, b"GET /v1/stats HTTP/1.0\r\n\r\n", b"").await.expect("an answer");
    assert_eq!(old.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_begin_with_what_is_believed() {
    let open = Server::with(|s| s.listen = Some("0.0.0.0:0".parse().expect("an address"))).await;
    let own = format!("http://127.0.0.1:{}", open.address.port());
    for (host, base) in [("evil.example", own.as_str()), ("localhost:7", "http://localhost:7"), ("192.0.2.9", "http://192.0.2.9")] {
        let said = [
            &format!("Host: {host}"),
            "X-Forwarded-Host: evil.example",
            "Forwarded: host=evil.example;proto=https",
            "X-Forwarded-Prefix: /evil",
        ];
        let answer = asked(&open, "PUT /v1/images/a.jpg", &said, &pictures::small_jpeg(1)).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let urls: Vec<_> = urls(&answer.json()).into_iter().chain([answer.header("location").to_owned()]).collect();
        assert!(urls.len() >= 4 && urls.iter().all(|url| url.starts_with(&format!("{base}/"))), "{host}: {urls:?}");
    }
    open.finish().await;
    let listed = Server::with(|s| s.allowed_hosts = Some("img.example.com,*.shop.example".to_owned())).await;
    for (host, status) in
        [("img.example.com", 202), ("a.shop.example:81", 202), ("shop.example", 403), ("evil.example", 403), ("127.0.0.1", 202)]
    {
        let answer = asked(&listed, "PUT /v1/images/a.jpg", &[&format!("Host: {host}")], &pictures::small_jpeg(1)).await;
        assert_eq!(answer.status, status, "{host}: {}", answer.text());
        if status == 202 {
            assert!(answer.header("location").starts_with(&format!("http://{host}/v1/uploads/")), "{}", answer.header("location"));
        }
    }
    listed.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_how_the_service_is_seen() {
    let server = Server::with(|s| s.trusted_proxies = Some("127.0.0.0/8".to_owned())).await;
    for said in [
        &["Host: inner", "Forwarded: for=192.0.2.7;proto=https;host=img.example.com", "X-Forwarded-Prefix: /pix"][..],
        &[
            "Host: inner",
            "X-Forwarded-For: 192.0.2.7",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: img.example.com",
            "X-Forwarded-Prefix: /pix/",
        ],
        &["Host: img.example.com", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /pix"],
    ] {
        let same_origin: Vec<_> = said.iter().copied().chain(["Origin: https://img.example.com", "Prefer: wait=60"]).collect();
        let answer = asked(&server, "PUT /v1/images/a.jpg", &same_origin, &pictures::small_jpeg(1)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let urls = urls(&answer.json());
        assert!(urls.len() >= 4 && urls.iter().all(|url| url.starts_with("https://img.example.com/pix/")), "{urls:?}");
        assert!(answer.header("location").starts_with("https://img.example.com/pix/v1/uploads/"));
    }
    let broken = ["Host: localhost:5", "Forwarded: for=\"broken;proto=https", "X-Forwarded-Host: evil.example"];
    let answer = asked(&server, "PUT /v1/images/a.jpg", &broken, &pictures::small_jpeg(1)).await;
    assert!(answer.header("location").starts_with("http://localhost:5/v1/uploads/"), "{}", answer.header("location"));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_lives_below_the_prefix() {
    let server = Server::with(|s| s.path_prefix = Some("/pix".to_owned())).await;
    let answer = server
        .post_form_with("/pix/v1/images?w=20", &[("prefer", "wait=60")], Form::new().file("file", "a.jpg", &pictures::small_jpeg(1)))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let below = format!("{}/pix/", server.base());
    let urls: Vec<_> = urls(&answer.json()).into_iter().chain([answer.header("location").to_owned()]).collect();
    for url in &urls {
        assert!(url.starts_with(&below), "{url}");
        assert_eq!(server.get(url).await.status, 200, "{url}");
    }
    assert!(urls.len() >= 5, "{urls:?}");
    for path in ["/", "/v1/stats", "/v1/images", "/pixel/", "/PIX/v1/stats"] {
        server.get(path).await.problem(404, "not_found");
    }
    server.get("/pix/nowhere").await.problem(404, "not_found");
    for path in ["/healthz", "/readyz", "/metrics", "/pix/healthz", "/pix/readyz", "/pix/metrics", "/pix/"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    let bare = server.get("/pix").await;
    assert_eq!((bare.status, bare.header("location")), (308, "pix/"));
    let page = server.get("/pix/").await.text();
    for absolute in ["fetch(\"/", "fetch(`/", "\"/v1", "href=\"/", "src=\"/", "location.origin"] {
        assert!(!page.contains(absolute), "the page has {absolute}");
    }
    // Metrics know routes, not prefixes.
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("GET /v1/uploads/{id}") && !metrics.contains("/pix/v1"), "{metrics}");
    let stats = server.get("/pix/v1/stats").await.json();
    assert_eq!(stats["uploads"], 1);
    // `finish` asks without the prefix.
    let data = server.stopped().await;
    crate::support::nothing_left(data.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_cannot_write() {
    let server = Server::start().await;
    let host = format!("Host: {}", server.address);
    let own = format!("Origin: {}", server.base());
    let before = server.stored().await;
    let form = one_picture();
    let kind = format!("Content-Type: {FORM_TYPE}");
    for foreign in ["Origin: http://evil.example", "Origin: null", "Origin: https://127.0.0.1", "Origin: x", "Sec-Fetch-Site: cross-site"] {
        let headers = [host.as_str(), kind.as_str(), foreign];
        for first in
            ["POST /v1/images", "POST /v1/process", "POST /upload-image/", "PUT /v1/images/a.jpg", "DELETE /v1/uploads/x", "POST /nowhere"]
        {
            let problem = asked(&server, first, &headers, &form).await.problem(403, "forbidden");
            assert!(problem["detail"].as_str().is_some_and(|text| text.contains("--cors-origins")), "{problem}");
        }
        assert_eq!(asked(&server, "GET /v1/stats", &headers, b"").await.status, 200, "reading is free");
    }
    server.staging_becomes_empty().await;
    assert_eq!(server.stored().await, before);
    for ours in [own.as_str(), "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none", "User-Agent: curl"] {
        let answer = asked(&server, "POST /v1/images", &[&host, &kind, ours], &form).await;
        assert_eq!(answer.status, 202, "{ours}: {}", answer.text());
    }
    server.finish().await;
}

/// A refusal by the head arrives although the client writes all of its body before it reads.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_at_the_edge_arrive() {
    let server = Server::start().await;
    let body = vec![0; 25 << 20];
    for (headers, status) in [("Host: evil.example", 403), ("Host: localhost\r\nOrigin: http://evil.example", 403), ("Host: a b", 400)] {
        let mut wire = Wire::open(server.address).await;
        wire.write(format!("PUT /v1/images/a.jpg HTTP/1.1\r\n{headers}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes()).await;
        wire.write(&body).await;
        let answer = wire.read().await.expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (status, "close"), "{headers}");
    }
    server.finish().await;
}

const APP: &str = "https://app.example.com";

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_can_upload_and_read_every_answer() {
    let server = Server::with(|s| s.cors_origins = Some(format!("http://other.example:8080,{APP}"))).await;
    let ask = [
        ("origin", APP),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,idempotency-key,x-requested-with,upload-offset"),
    ];
    let preflight = server.send(Method::OPTIONS, "/v1/images", &ask, "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, APP));
    assert_eq!((preflight.header("access-control-max-age"), preflight.header("vary")), ("86400", "origin"));
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert!(preflight.header("access-control-allow-methods").split(',').any(|m| m == method), "{method}");
    }
    let allowed: Vec<_> = preflight.header("access-control-allow-headers").split(',').collect();
    for header in [
        "content-type",
        "idempotency-key",
        "repr-digest",
        "prefer",
        "last-event-id",
        "if-none-match",
        "range",
        "authorization",
        "x-requested-with",
        "tus-resumable",
    ] {
        assert!(allowed.contains(&header), "{header}");
    }
    assert!(preflight.headers.get("access-control-allow-credentials").is_none());

    let is_readable = |answer: &Answer| {
        assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (APP, "origin"), "{}", answer.text());
        let exposed: Vec<_> = answer.header("access-control-expose-headers").split(',').collect();
        for header in [
            "location",
            "etag",
            "retry-after",
            "idempotency-replayed",
            "x-request-id",
            "content-range",
            "server-timing",
            "preference-applied",
        ] {
            assert!(exposed.contains(&header), "{header}");
        }
    };
    let from_app = [("origin", APP), ("sec-fetch-site", "cross-site"), ("content-type", FORM_TYPE)];
    let taken = server.send(Method::POST, "/v1/images", &from_app, one_picture()).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    is_readable(&taken);
    let upload = server.finished(&taken.json()).await;
    is_readable(&server.get_with(upload["images"][0]["variants"][0]["url"].as_str().expect("a url"), &[("origin", APP)]).await);
    // Refusals of every layer: routing, options, intake, the edge.
    for (method, path, headers, status) in [
        (Method::POST, "/v1/nowhere", &from_app[..], 404),
        (Method::POST, "/v1/stats", &from_app[..], 405),
        (Method::POST, "/v1/images?widht=3", &from_app[..], 400),
        (Method::POST, "/v1/images", &[("origin", APP), ("content-type", "text/plain")], 415),
        (Method::POST, "/v1/images", &[("origin", APP), ("host", "evil.example")], 403),
    ] {
        let refused = server.send(method, path, headers, one_picture()).await;
        assert_eq!((refused.status, refused.header("content-type")), (status, "application/problem+json"), "{}", refused.text());
        is_readable(&refused);
    }
    // Others: no word of permission, and no cache may mix the two up.
    let stranger = server.get_with("/v1/stats", &[("origin", "http://evil.example")]).await;
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin"), stranger.header("vary")), (200, "", "origin"));
    assert_eq!(server.get("/v1/stats").await.header("vary"), "origin");
    let refused = server.send(Method::POST, "/v1/images", &[("origin", "http://evil.example")], "").await;
    refused.problem(403, "forbidden");
    assert_eq!(refused.header("access-control-allow-origin"), "");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_origin_and_none() {
    let any = Server::with(|s| s.cors_origins = Some("*".to_owned())).await;
    for origin in ["https://anyone.example", "null"] {
        let answer = any.send(Method::POST, "/v1/images", &[("origin", origin), ("content-type", FORM_TYPE)], one_picture()).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin"), answer.header("vary")),
            (202, "*", ""),
            "{}",
            answer.text()
        );
    }
    any.finish().await;
    let none = Server::start().await;
    let answer = none.get_with("/v1/stats", &[("origin", APP)]).await;
    assert!(answer.status == 200 && !answer.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{:?}", answer.headers);
    let preflight = none.send(Method::OPTIONS, "/v1/images", &[("origin", APP), ("access-control-request-method", "POST")], "").await;
    assert_eq!(preflight.header("access-control-allow-origin"), "");
    none.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_may_be_embedded_anywhere_and_nothing_else() {
    let server = Server::start().await;
    let upload = server.make(pictures::small_jpeg(1), &["a=w:20"]).await;
    let image = &upload["images"][0];
    for url in [&image["url"], &image["variants"][0]["url"]] {
        let answer = server.get(url.as_str().expect("a url")).await;
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    for path in ["/", "/v1/stats", "/nowhere", upload["url"].as_str().expect("a url")] {
        assert_eq!(server.get(path).await.header("cross-origin-resource-policy"), "same-origin", "{path}");
    }
    let process = server.send(Method::POST, "/v1/process?w=10", &[("content-type", "image/jpeg")], pictures::small_jpeg(1)).await;
    assert_eq!((process.status, process.header("cross-origin-resource-policy")), (200, "same-origin"));
    server.finish().await;
}
