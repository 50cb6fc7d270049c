//! Lists: newest first, in parts, with a cursor that stays good while things come and go.

use serde_json::{Value, json};

use crate::support::{Server, pictures};

/// Follows `Link` from `path` on; the ids of all items under `name`.
async fn walk(server: &Server, path: &str, name: &str, most: usize) -> Vec<String> {
    let (mut ids, mut next) = (Vec::new(), path.to_owned());
    loop {
        let answer = server.get(&next).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        let items = json[name].as_array().expect("a list");
        assert!(items.len() <= most, "{json}");
        ids.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        let Some(cursor) = json["next_cursor"].as_str() else {
            assert!(json["next_cursor"].is_null() && answer.header("link").is_empty(), "{json}");
            return ids;
        };
        let link = answer.header("link").strip_suffix(">; rel=\"next\"").and_then(|link| link.strip_prefix('<')).expect("a link");
        assert!(link.starts_with("http://") && link.ends_with(&format!("cursor={cursor}")), "{link}");
        next = link.to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_walked_by_cursor_newest_first() {
    let server = Server::start().await;
    for path in ["/v1/uploads", "/v1/images", "/v1/jobs"] {
        let name = path.rsplit('/').next().expect("a name");
        assert_eq!(server.get(path).await.json(), json!({ name: [], "next_cursor": null }));
    }
    let mut uploads = Vec::new();
    for seed in 0..5 {
        uploads.push(server.make(pictures::small_jpeg(seed), &["a=w:10", "b=w:12"]).await);
    }
    server.make(pictures::corrupt_png(), &["a=w:10"]).await;
    let id = |value: &Value| value["id"].as_str().expect("an id").to_owned();
    let mut wanted: Vec<String> = uploads.iter().map(id).collect();
    wanted.sort();
    wanted.reverse();
    for limit in [1, 2, 5, 6, 200] {
        let walked = walk(&server, &format!("/v1/uploads?limit={limit}"), "uploads", limit).await;
        assert_eq!((walked.len(), walked.is_sorted_by(|a, b| a > b)), (6, true), "{limit}");
        assert_eq!(walked[1..], wanted, "the corrupt one came last");
        for name in ["images", "jobs"] {
            let walked = walk(&server, &format!("/v1/{name}?limit={limit}"), name, limit).await;
            assert_eq!((walked.len(), walked.is_sorted_by(|a, b| a > b)), (6, true), "{name}, {limit}");
        }
    }
    // Items are what their own addresses show.
    for (list, name) in [("/v1/uploads", "uploads"), ("/v1/images", "images"), ("/v1/jobs", "jobs")] {
        let item = server.get(list).await.json()[name][0].clone();
        assert_eq!(server.get(&format!("{list}/{}", id(&item))).await.json(), item);
    }
    let tag = server.get("/v1/uploads").await.header("etag").to_owned();
    assert_eq!(server.get_with("/v1/uploads", &[("if-none-match", &tag)]).await.status, 304);

    let failed = server.get("/v1/jobs?status=failed").await.json();
    assert_eq!((failed["jobs"].as_array().map(Vec::len), &failed["jobs"][0]["tasks"][0]["status"]), (Some(1), &json!("failed")));
    assert_eq!(walk(&server, "/v1/jobs?status=completed&limit=2", "jobs", 2).await.len(), 5, "the filter goes along with the link");
    assert_eq!(server.get("/v1/jobs?status=running").await.json()["jobs"], json!([]));

    // A cursor whose item is deleted meanwhile is as good as before.
    let first = server.get("/v1/uploads?limit=2").await.json();
    let (last, cursor) = (id(&first["uploads"][1]), first["next_cursor"].as_str().expect("more").to_owned());
    assert_eq!(server.send(http::Method::DELETE, &format!("/v1/uploads/{last}"), &[], "").await.status, 204);
    let rest = walk(&server, &format!("/v1/uploads?cursor={cursor}"), "uploads", 50).await;
    assert_eq!(rest, wanted[1..]);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_make_no_sense_are_refused_in_words() {
    let server = Server::start().await;
    for (query, says) in [
        ("limit=0", "1 to 200"),
        ("limit=201", "1 to 200"),
        ("limit=many", "1 to 200"),
        ("cursor=", "next_cursor"),
        ("cursor=../../etc", "next_cursor"),
        ("page=2", "limit"),
        ("limit=%ff", "1 to 200"),
    ] {
        for list in ["uploads", "images", "jobs"] {
            let code = if query.starts_with("page") { "bad_option" } else { "bad_request" };
            let problem = server.get(&format!("/v1/{list}?{query}")).await.problem(400, code);
            assert!(problem["detail"].as_str().is_some_and(|text| text.contains(says)), "{query}: {problem}");
        }
    }
    let problem = server.get("/v1/jobs?status=done").await.problem(400, "bad_request");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("queued, running, completed")), "{problem}");
    server.get("/v1/uploads?status=completed").await.problem(400, "bad_option");
    server.finish().await;
}
