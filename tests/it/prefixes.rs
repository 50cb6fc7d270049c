//! Half an upload is no upload: every prefix of a valid body, over real sockets, stores nothing and is never acknowledged.

use futures_util::stream::{self, StreamExt};

use crate::support::{
    Server, pictures,
    wire::{self, FORM_TYPE, Form, Wire},
};

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// A form with fields on both sides and two files, below 2000 bytes.
fn body() -> Vec<u8> {
    let palette = [[10, 20, 30], [200, 100, 50]];
    let picture = pictures::palette_png(8, 8, &palette, |x, y| ((x + y) % 2) as u8);
    Form::new().field("priority", "low").file("file", "a.png", &picture).file("file", "b.png", &picture).field("variant", "v=w:4").end()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_prefix_of_a_form_is_stored_or_acknowledged() {
    let server = Server::start().await;
    let address = server.address;
    let body = body();
    assert!((700..2000).contains(&body.len()), "{} bytes", body.len());
    // The closing delimiter is whole two bytes before the end: what follows it is a line end nobody needs (RFC 2046, 5.1.1).
    let whole = body.len() - 2;
    let before = server.stored().await;
    let content_type = format!("Content-Type: {FORM_TYPE}");

    // Declared short: the request is complete as HTTP, its form is not.
    let short = stream::iter(0..whole).map(|cut| {
        let head = wire::head("POST", "/v1/images", &[&content_type, &format!("Content-Length: {cut}")]);
        let body = &body[..cut];
        async move { (cut, wire::exchange(address, &head, body).await) }
    });
    let mut short = short.buffer_unordered(AT_ONCE);
    let mut cuts = 0;
    while let Some((cut, answer)) = short.next().await {
        let answer = answer.unwrap_or_else(|| panic!("cut at {cut}: no answer"));
        answer.problem(400, "malformed_multipart");
        cuts += 1;
    }
    drop(short);
    assert_eq!(cuts, whole);

    // Lost: the client announced all of it and went away.
    let head = wire::head("POST", "/v1/images", &[&content_type, &format!("Content-Length: {}", body.len())]);
    let chunked = wire::head("POST", "/v1/images", &[&content_type, "Transfer-Encoding: chunked"]);
    let coded = wire::chunked(&body, 100);
    let lost = (0..body.len()).map(|cut| (&head, &body[..cut])).chain((0..coded.len()).step_by(3).map(|cut| (&chunked, &coded[..cut])));
    let mut lost = stream::iter(lost)
        .map(|(head, part)| async move {
            let mut wire = Wire::open(address).await;
            wire.write(head).await;
            wire.write(part).await;
            wire.end().await;
            (part.len(), wire.read().await)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((cut, answer)) = lost.next().await {
        if let Some(answer) = answer {
            assert!((400..500).contains(&answer.status), "cut at {cut}: {} {}", answer.status, answer.text());
        }
    }

    server.staging_becomes_empty().await;
    assert_eq!(server.stored().await, before);
    // The same body, whole, is taken: the cuts were what was wrong.
    for end in [whole, body.len()] {
        let head = wire::head("POST", "/v1/images", &[&content_type, &format!("Content-Length: {end}")]);
        assert_eq!(wire::exchange(address, &head, &body[..end]).await.expect("an answer").status, 202);
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_prefix_of_a_raw_body_is_stored() {
    let server = Server::start().await;
    let address = server.address;
    let file = pictures::png(pictures::photo(12, 10, 1));
    let before = server.stored().await;
    let head = wire::head("PUT", "/v1/images/a.png", &[&format!("Content-Length: {}", file.len())]);
    let mut lost = stream::iter((0..file.len()).step_by(2))
        .map(|cut| {
            let (head, part) = (&head, &file[..cut]);
            async move {
                let mut wire = Wire::open(address).await;
                wire.write(head).await;
                wire.write(part).await;
                wire.end().await;
                (cut, wire.read().await)
            }
        })
        .buffer_unordered(AT_ONCE);
    while let Some((cut, answer)) = lost.next().await {
        if let Some(answer) = answer {
            assert!((400..500).contains(&answer.status), "cut at {cut}: {}", answer.text());
        }
    }
    server.staging_becomes_empty().await;
    assert_eq!(server.stored().await, before);
    server.finish().await;
}
