//! `GET /debug/profile`: shows the pool at work, to who asks on the machine itself.

use crate::support::{Server, pictures};

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_shows_the_pool_at_work() {
    let server = Server::start().await;
    // More than two seconds of work: the median of a large picture, several times, each with other options.
    let variants: Vec<String> = (3..=9).map(|n| format!("v{n}=median:{n}/w:{}/f:png", 1500 + n)).collect();
    let variants: Vec<&str> = variants.iter().map(String::as_str).collect();
    let asked = || server.get("/debug/profile?seconds=2&format=folded");
    let (one, other, _) = tokio::join!(asked(), asked(), server.make(pictures::jpeg(&pictures::photo(2400, 1800, 1), 90), &variants));
    // One at a time, whichever came first.
    let (profile, refused) = if one.status == 200 { (one, other) } else { (other, one) };
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("queue_full")));
    assert_eq!((profile.status, profile.header("content-type")), (200, "text/plain; charset=utf-8"), "{}", profile.text());
    let text = profile.text();
    let at_work = text.lines().filter(|line| line.starts_with("pixmill-work;") && line.contains("image_pipeline::")).count();
    assert!(at_work > 0, "{text}");
    let picture = server.get("/debug/profile?seconds=1").await;
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/svg+xml"));
    assert!(picture.header("content-security-policy").contains("default-src 'none'"));
    assert!(picture.text().ends_with("</svg>\n"));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_elsewhere_gets_no_profile_and_faults_are_told() {
    let server = Server::start().await;
    for (name, value) in
        [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("via", "1.1 near"), ("sec-fetch-site", "cross-site")]
    {
        let answer = server.get_with("/debug/profile?seconds=1", &[(name, value)]).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("forbidden")), "{name}");
    }
    for (query, code) in
        [("seconds=0", "bad_request"), ("seconds=61", "bad_request"), ("format=pdf", "bad_request"), ("second=1", "bad_option")]
    {
        let answer = server.get(&format!("/debug/profile?{query}")).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some(code)), "{query}");
    }
    server.finish().await;
}
