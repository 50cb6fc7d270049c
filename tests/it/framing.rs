//! Forms written to be misread: what each is answered, that nothing of a refused one stays, and that the service goes on.
//!
//! The numbers are those of the list of faults (B1-B30, B35-B40). Chunkings, prefixes and the parsers' own cases have modules of their own.

use http::Method;
use serde_json::json;

use crate::support::{
    Server, pictures, sha256_hex,
    wire::{self, FORM_TYPE},
};

const CAT: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"";
const TYPE: &str = "multipart/form-data; boundary=B";

fn picture() -> Vec<u8> {
    pictures::palette_png(8, 8, &[[10, 20, 30], [200, 100, 50]], |x, y| ((x + y) % 2) as u8)
}

/// One part behind another, boundary `B`, without the final boundary.
fn open_form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, data) in parts {
        body.extend_from_slice(&[b"--B\r\n", head.as_bytes(), b"\r\n\r\n", data, b"\r\n"].concat());
    }
    body
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    [&open_form(parts)[..], b"--B--\r\n"].concat()
}

/// A file under this head.
fn headed(head: &str) -> Vec<u8> {
    form(&[(head, &picture())])
}

/// A whole form with other bytes put in for the line ends of its first head.
fn with_line_ends(end: &str) -> Vec<u8> {
    form(&[(&format!("{CAT}{end}Content-Type: image/png"), &picture())])
}

/// Case, content type, body, and the code of the refusal; none when it is taken.
type Row = (&'static str, String, Vec<u8>, Option<&'static str>);

fn rows() -> Vec<Row> {
    const BAD: Option<&str> = Some("malformed_multipart");
    let good = headed(CAT);
    let typed = |parameters: &str| format!("multipart/form-data{parameters}");
    let bounded = |boundary: &str| {
        let text = [format!("--{boundary}\r\n{CAT}\r\n\r\n").as_bytes(), &picture(), format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        (typed(&format!("; boundary=\"{boundary}\"")), text)
    };
    let mut rows: Vec<Row> = vec![
        ("B2 no boundary", typed(""), good.clone(), BAD),
        ("B4 empty body", TYPE.into(), Vec::new(), BAD),
        ("B6 the final boundary alone", TYPE.into(), b"--B--".to_vec(), Some("no_file")),
        ("B7 another boundary", typed("; boundary=C"), good.clone(), BAD),
        ("B8 no characters", typed("; boundary="), good.clone(), BAD),
        ("B8 ends in a blank", typed("; boundary=\"B \""), good.clone(), BAD),
        (
            "B8 unquoted signs",
            typed("; boundary=a=b:c/d(e)"),
            {
                let (_, body) = bounded("a=b:c/d(e)");
                body
            },
            None,
        ),
        ("B10 a thousand parameters", typed(&format!("{}; boundary=B", "; a=b".repeat(1000))), good.clone(), BAD),
        ("B10 a long quoted string", typed(&format!("; a=\"{}\"; boundary=B", "\\\"".repeat(4000))), good.clone(), BAD),
        ("B11 two boundaries", typed("; boundary=B; boundary=B"), good.clone(), BAD),
        ("B11 an extended boundary", typed("; boundary=B; boundary*=utf-8''B"), good.clone(), BAD),
        ("B12 a long preamble", TYPE.into(), [&vec![b'p'; 70_000][..], b"\r\n", &good].concat(), BAD),
        ("B12 a short one", TYPE.into(), [b"This is a form.\r\n", &good[..]].concat(), None),
        ("B13 a preamble of lines", TYPE.into(), [&b"\r\n".repeat(40_000)[..], &good].concat(), BAD),
        ("B13 a few", TYPE.into(), [b"\r\n\r\n", &good[..]].concat(), None),
        ("B14 an epilogue", TYPE.into(), [&good[..], &vec![b'e'; 3_000_000]].concat(), None),
        ("B14 an epilogue that looks like parts", TYPE.into(), [&good[..], &good].concat(), None),
        ("B14 junk right behind the end", TYPE.into(), [&good[..good.len() - 2], b"junk"].concat(), BAD),
        ("B16 a boundary that goes on", TYPE.into(), form(&[(CAT, &[&picture()[..], b"\r\n--Bxyz"].concat())]), BAD),
        ("B16 LF before a boundary", TYPE.into(), form(&[(CAT, &[&picture()[..], b"\n--B--"].concat())]), None),
        ("B16 a boundary at the start of data", TYPE.into(), form(&[(CAT, b"--B--")]), BAD),
        ("B17 a header of 64 KiB", TYPE.into(), headed(&format!("{CAT}\r\nX: {}", "x".repeat(65_536))), BAD),
        ("B17 a name of 64 KiB", TYPE.into(), headed(&CAT.replace("cat", &"c".repeat(65_536))), BAD),
        ("B17 a name of 4 KiB", TYPE.into(), headed(&CAT.replace("cat", &"c".repeat(4096))), None),
        ("B18 33 headers", TYPE.into(), headed(&format!("{CAT}{}", "\r\nX: y".repeat(32))), BAD),
        ("B18 16 headers", TYPE.into(), headed(&format!("{CAT}{}", "\r\nX: y".repeat(15))), None),
        (
            "B24 a form in a form",
            TYPE.into(),
            headed("Content-Disposition: form-data; name=\"file\"\r\nContent-Type: multipart/mixed; boundary=C"),
            None,
        ),
        (
            "B24 and files in that",
            TYPE.into(),
            form(&[(CAT, b"--C\r\nContent-Disposition: file; filename=\"a.png\"\r\n\r\nhello, there\r\n--C--")]),
            Some("unsupported_format"),
        ),
        ("B25 no disposition", TYPE.into(), headed("Content-Type: image/png"), BAD),
        ("B25 no headers", TYPE.into(), [b"--B\r\n\r\n", &picture()[..], b"\r\n--B--"].concat(), BAD),
        ("B25 an attachment", TYPE.into(), headed(&CAT.replace("form-data", "attachment")), BAD),
        ("B25 an empty disposition", TYPE.into(), headed("Content-Disposition: "), BAD),
        ("B25 two dispositions", TYPE.into(), headed(&format!("{CAT}\r\n{CAT}")), BAD),
        ("B26 no name", TYPE.into(), headed("Content-Disposition: form-data; filename=\"cat.png\""), BAD),
        ("B26 two names", TYPE.into(), headed("Content-Disposition: form-data; name=file; name=file; filename=\"cat.png\""), BAD),
        ("B26 upper case", TYPE.into(), headed("CONTENT-DISPOSITION: FORM-DATA; NAME=\"file\"; FileName=\"cat.png\""), None),
        ("B27 an empty name", TYPE.into(), headed(&CAT.replace("\"file\"", "\"\"")), BAD),
        ("B28 a folded header", TYPE.into(), with_line_ends("\r\n "), BAD),
        ("B28 LF alone", TYPE.into(), with_line_ends("\n"), BAD),
        ("B28 CR alone", TYPE.into(), with_line_ends("\r"), BAD),
        ("B28 LF CR", TYPE.into(), with_line_ends("\n\r"), BAD),
        ("B28 NUL in a name", TYPE.into(), headed(&CAT.replace("cat", "c\0t")), BAD),
        ("B28 NUL in a header", TYPE.into(), headed(&format!("{CAT}\r\nX: \0")), BAD),
        ("B28 ESC in a header", TYPE.into(), headed(&format!("{CAT}\r\nX: \u{1b}[0m")), BAD),
        ("B28 ESC behind a name", TYPE.into(), headed(&format!("{CAT}\u{1b}")), BAD),
        // As browsers send it.
        ("B28 ESC in a name", TYPE.into(), headed(&CAT.replace("cat", "cat\u{1b}")), None),
        ("B29 base64", TYPE.into(), headed(&format!("{CAT}\r\nContent-Transfer-Encoding: base64")), Some("bad_request")),
        ("B35 filename* alone", TYPE.into(), headed("Content-Disposition: form-data; name=x; filename*=utf-8''cat.png"), None),
        ("B35 filename* first", TYPE.into(), headed("Content-Disposition: form-data; name=x; filename*=utf-8''cat.png; filename=y"), None),
        ("B36 a name within a name", TYPE.into(), headed("Content-Disposition: form-data; filename=\"x; name=evil\"; name=\"file\""), None),
        ("B37 no file name", TYPE.into(), headed("Content-Disposition: form-data; name=\"image\""), None),
        ("B38 a false type", TYPE.into(), headed(&format!("{}\r\nContent-Type: image/svg+xml", CAT.replace("png", "jpg"))), None),
        ("B38 a page named .png", TYPE.into(), form(&[(CAT, b"<!doctype html><script>alert(1)</script>")]), Some("unsupported_format")),
        ("B40 unquoted, with blanks", TYPE.into(), headed("Content-Disposition: form-data; name= file ; filename = cat.png"), None),
    ];
    for (case, boundary) in [
        ("B8 70 characters", "b".repeat(70)),
        ("B8 quoted blanks", "a b".into()),
        ("B8 every sign", "'()+_,-./:=?".into()),
        ("B8 dashes only", "----".into()),
    ] {
        let (content_type, body) = bounded(&boundary);
        rows.push((case, content_type, body, None));
    }
    for (case, length) in [("B8 71 characters", 71), ("B8 256 characters", 256)] {
        let (content_type, body) = bounded(&"b".repeat(length));
        rows.push((case, content_type, body, BAD));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_written_to_be_misread_has_one_answer() {
    let server = Server::start().await;
    let mut failures = Vec::new();
    for (case, content_type, body, refused) in rows() {
        let before = server.stored().await;
        let head =
            wire::head("POST", "/v1/images", &[&format!("Content-Type: {content_type}"), &format!("Content-Length: {}", body.len())]);
        for size in [body.len().max(1), 1000] {
            let answer = wire::exchange_in_pieces(server.address, &head, &body, size).await;
            let Some(answer) = answer else {
                failures.push(format!("{case} in pieces of {size}: no answer"));
                continue;
            };
            let fits = match refused {
                None => answer.status == 202,
                Some(code) => (400..500).contains(&answer.status) && answer.problem(answer.status, code)["code"] == code,
            };
            if answer.status == 202 {
                server.finished(&answer.json()).await;
            }
            if !fits {
                failures.push(format!("{case} in pieces of {size}, want {refused:?}: {} {}", answer.status, answer.text()));
            }
        }
        if refused.is_some() && server.stored().await != before {
            failures.push(format!("{case}: something was stored"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    server.staging_becomes_empty().await;
    server.finish().await;
}

/// B15, B16: bytes that look like boundaries are the file's own.
#[tokio::test(flavor = "multi_thread")]
async fn lookalikes_in_data_are_kept() {
    let server = Server::start().await;
    for tail in
        [&b"\r"[..], b"\n", b"\r\n", b"\r\n-", b"\r\n--", b"\n--B--\r\n", b"\r--B--", b"\r\n--A\r\n--b--", b"--B--", &[b'\r'; 100_000]]
    {
        // What follows a PNG's end is no part of the picture, but of the file.
        let file = [&picture()[..], tail].concat();
        for size in [1 << 20, 7] {
            let body = form(&[(CAT, &file)]);
            let size = if body.len() > 10_000 { size.max(1460) } else { size };
            let head = wire::head("POST", "/v1/images", &[&format!("Content-Type: {TYPE}"), "Transfer-Encoding: chunked"]);
            let answer = wire::exchange(server.address, &head, &wire::chunked(&body, size)).await.expect("an answer");
            assert_eq!(answer.status, 202, "{tail:.10?}: {}", answer.text());
            assert_eq!(answer.json()["images"][0]["sha256"], sha256_hex(&file), "{tail:.10?}");
        }
    }
    server.finish().await;
}

/// B19-B22: parts without end are cut off at the limits, whatever is in their heads.
#[tokio::test(flavor = "multi_thread")]
async fn endless_parts_are_cut_off() {
    let server = Server::start().await;
    let before = server.stored().await;
    let escapes = format!("Content-Disposition: form-data; name=\"{}\"", "a\\".repeat(4000));
    let field = "Content-Disposition: form-data; name=\"metadata[x]\"";
    for (case, head, data, count, code) in [
        ("B19 4000 parts of 8 KB of escapes", escapes.as_str(), &b"x"[..], 4000, "too_"),
        ("B20 110 000 tiny fields", field, b"", 110_000, "too_many_fields"),
        ("B21 1000 files of one byte", CAT, b"x", 1000, "too_many_files"),
    ] {
        let body = open_form(&[(head, data)]).repeat(count);
        let answer = server.send(Method::POST, "/v1/images", &[("content-type", TYPE)], body).await;
        assert_eq!(answer.status, 413, "{case}: {}", answer.text());
        assert!(answer.json()["code"].as_str().expect("a code").starts_with(code), "{case}: {}", answer.text());
    }
    let long = form(&[(field, &vec![b'x'; 20_000_000])]);
    server.send(Method::POST, "/v1/images", &[("content-type", TYPE)], long).await.problem(413, "too_large");
    server.staging_becomes_empty().await;
    assert_eq!(server.stored().await, before);
    server.finish().await;
}

/// B23, B39: what a form may say twice, and what not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_twice_is_told_apart() {
    let server = Server::start().await;
    let field = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"");
    let picture = picture();
    let twins = server.send(Method::POST, "/v1/images", &[("content-type", TYPE)], form(&[(CAT, &picture), (CAT, &picture)])).await;
    let images = twins.json()["images"].clone();
    assert_eq!((twins.status, &images[0]["filename"], &images[1]["filename"]), (202, &json!("cat.png"), &json!("cat.png")));
    assert_ne!(images[0]["id"], images[1]["id"]);
    let (width, stray) = (field("w"), field("stray"));
    for parts in [&[(CAT, &picture[..]), (&width, b"10"), (&width, b"20")][..], &[(CAT, &picture), (&stray, b"1")]] {
        server.send(Method::POST, "/v1/images", &[("content-type", TYPE)], form(parts)).await.problem(400, "bad_option");
    }
    let answer = server.send(Method::POST, "/v1/images", &[("content-type", FORM_TYPE)], form(&[(CAT, &picture)])).await;
    answer.problem(400, "malformed_multipart");
    server.finish().await;
}
