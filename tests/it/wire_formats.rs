//! Bodies as the clients of this world write them, byte for byte: each is taken, under the name its user gave the file.
//!
//! Where a comment says `recorded`, the form is what that client really sent, names and pictures apart; the others follow what the named
//! part of the client's source writes.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    Server, pictures,
    wire::{self, Answer, FORM_TYPE, Form, Wire},
};

/// One request of one client.
struct Sent {
    client: &'static str,
    /// As in the `Content-Type` of the request, quotes and all.
    boundary: &'static str,
    /// Head lines, and text; `None` stands for the picture.
    parts: &'static [(&'static [&'static str], Option<&'static str>)],
    /// What follows the last `--boundary`.
    end: &'static str,
    /// What the answer calls each file.
    names: &'static [Option<&'static str>],
}

const CRLF: &str = "--\r\n";

#[rustfmt::skip]
const CLIENTS: &[Sent] = &[
    // lib/mime.c, escape_string and Curl_mime_prepare_headers (recorded from 7.88).
    Sent { client: "curl -F w=10 -F file=@", boundary: "------------------------410ac25bf7f524da", end: CRLF, names: &[Some("cat 猫.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"cat 猫.png\"", "Content-Type: image/png"], None),
    ] },
    Sent { client: "curl, a quote in the name", boundary: "------------------------410ac25bf7f524da", end: CRLF, names: &[Some("a\"b.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"a%22b.png\"", "Content-Type: image/png"], None),
    ] },
    // Before 7.81 a backslash escaped both.
    Sent { client: "curl 7.68, a quote in the name", boundary: "------------------------410ac25bf7f524da", end: CRLF, names: &[Some("a\"b.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"a\\\"b.png\"", "Content-Type: image/png"], None),
    ] },
    Sent { client: "curl -F 'file=<-'", boundary: "------------------------9924149ab9d5987b", end: CRLF, names: &[None], parts: &[
        (&["Content-Disposition: form-data; name=\"file\""], None),
    ] },
    // HTML standard, "multipart/form-data encoding algorithm"; third_party/blink/renderer/platform/network/form_data_encoder.cc.
    Sent { client: "Chrome, Edge, Safari", boundary: "----WebKitFormBoundary7MA4YWxkTrZu0gW", end: CRLF, names: &[Some("Фото \"1\".png"), Some("c.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Disposition: form-data; name=\"photos\"; filename=\"Фото %221%22.png\"", "Content-Type: image/png"], None),
        (&["Content-Disposition: form-data; name=\"photos\"; filename=\"b\\c.png\"", "Content-Type: image/png"], None),
    ] },
    Sent { client: "a browser's input nobody filled in, beside one", boundary: "----WebKitFormBoundary7MA4YWxkTrZu0gW", end: CRLF, names: &[Some("a.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"second\"; filename=\"\"", "Content-Type: application/octet-stream"], Some("")),
        (&["Content-Disposition: form-data; name=\"first\"; filename=\"a.png\"", "Content-Type: image/png"], None),
    ] },
    Sent { client: "a folder chosen in a browser (webkitdirectory)", boundary: "----WebKitFormBoundary7MA4YWxkTrZu0gW", end: CRLF, names: &[Some("b.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"files[]\"; filename=\"holiday/a/b.png\"", "Content-Type: image/png"], None),
    ] },
    Sent { client: "fetch with a Blob", boundary: "----WebKitFormBoundary7MA4YWxkTrZu0gW", end: CRLF, names: &[Some("blob")], parts: &[
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"blob\"", "Content-Type: image/png"], None),
    ] },
    // dom/html/HTMLFormSubmission.cpp, FSMultipartFormData.
    Sent { client: "Firefox", boundary: "----geckoformboundary8c79e61efa53dc5d441481912ad86439", end: CRLF, names: &[Some("naïve.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"naïve.png\"", "Content-Type: image/png"], None),
    ] },
    Sent { client: "Firefox before 90", boundary: "---------------------------9051914041544843365972754266", end: CRLF, names: &[Some("a\"b.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"a\\\"b.png\"", "Content-Type: image/png"], None),
    ] },
    Sent { client: "Internet Explorer, whole paths", boundary: "---------------------------7e13a92150a54", end: CRLF, names: &[Some("x.jpg"), Some("y.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"_charset_\""], Some("utf-8")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"C:\\fakepath\\x.jpg\"", "Content-Type: image/x-png"], None),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"\\\\server\\share\\new\\y.png\"", "Content-Type: image/pjpeg"], None),
    ] },
    // urllib3/fields.py and filepost.py (recorded from requests 2.34, urllib3 2).
    Sent { client: "Python requests", boundary: "6cbdf05b189f56003f25ac5459542945", end: CRLF, names: &[Some("猫\".png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"猫%22.png\""], None),
    ] },
    Sent { client: "Python requests with urllib3 1", boundary: "93050f64e83540548efb62a52297b9ed", end: CRLF, names: &[Some("猫.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"file\"; filename*=utf-8''%E7%8C%AB.png", "Content-Type: image/png"], None),
    ] },
    // httpx/_multipart.py (recorded from 0.28): backslashes are doubled, quotes are %22.
    Sent { client: "httpx", boundary: "f0880066182049473326d37b45cb2dbf", end: CRLF, names: &[Some("猫\".png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"pics\\\\猫%22.png\"", "Content-Type: image/png"], None),
    ] },
    // aiohttp/formdata.py and multipart.py (recorded from 3.14): the type first.
    Sent { client: "aiohttp", boundary: "95b4eae696374e27bd501a08b2511e00", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["Content-Type: text/plain; charset=utf-8", "Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Type: image/png", "Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\""], None),
    ] },
    Sent { client: "aiohttp, quote_fields=False", boundary: "d542f4b19a204bde854f0829152db433", end: CRLF, names: &[Some("猫.png")], parts: &[
        (&["Content-Type: application/octet-stream", "Content-Disposition: form-data; name=\"file\"; filename=\"猫.png\""], None),
    ] },
    // Its default percent-encodes all of a name. A browser's file may really be called so: nothing is guessed.
    Sent { client: "aiohttp, a name in another script", boundary: "66bc90221f81415fb3b51ad3032f4869", end: CRLF, names: &[Some("%E7%8C%AB%20.png")], parts: &[
        (&["Content-Type: image/png", "Content-Disposition: form-data; name=\"file\"; filename=\"%E7%8C%AB%20.png\""], None),
    ] },
    // lib/web/fetch/body.js (recorded from Node 20).
    Sent { client: "undici, Node's fetch", boundary: "----formdata-undici-001079300127", end: CRLF, names: &[Some("猫 \"x.png"), Some("blob")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"猫 %22x%0D%0A.png\"", "Content-Type: image/png"], None),
        (&["Content-Disposition: form-data; name=\"b\"; filename=\"blob\"", "Content-Type: application/octet-stream"], None),
    ] },
    // lib/form_data.js, _multiPartHeader and _lastBoundary.
    Sent { client: "axios and got with form-data", boundary: "--------------------------515890814546601021194782", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"", "Content-Type: image/png"], None),
    ] },
    // lib/helpers/formDataToStream.js.
    Sent { client: "axios with a FormData of Node", boundary: "axios-1.7-boundary-k3mNfYq8rT2wXz5b0aGhCdLeP", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"", "Content-Type: image/png"], None),
    ] },
    // MultipartFormDataContent.Add and ContentDispositionHeaderValue: no quotes round tokens, both kinds of names, no more than needed.
    Sent { client: ".NET HttpClient", boundary: "\"0a1b2c3d-1111-2222-3333-444455556666\"", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["Content-Type: text/plain; charset=utf-8", "Content-Disposition: form-data; name=w"], Some("10")),
        (&["Content-Type: image/png", "Content-Disposition: form-data; name=file; filename=cat.png; filename*=utf-8''cat.png"], None),
    ] },
    Sent { client: ".NET HttpClient, a name in another script", boundary: "\"0a1b2c3d-1111-2222-3333-444455556666\"", end: CRLF, names: &[Some("猫 1.png")], parts: &[
        (&["Content-Disposition: form-data; name=file; filename=\"=?utf-8?B?54yrIDEucG5n?=\"; filename*=utf-8''%E7%8C%AB%201.png"], None),
    ] },
    // mime/multipart/writer.go, CreateFormFile: quoteEscaper.
    Sent { client: "Go mime/multipart", boundary: "5a1f0d7c9be84236a0e19c37f55d8b42e60a71c3d98f2b4460c5e7a91b3d", end: CRLF, names: &[Some("a\"b.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"a\\\"b.png\"", "Content-Type: application/octet-stream"], None),
    ] },
    // okhttp/MultipartBody.kt: appendQuotedString; Content-Length in parts before version 5.
    Sent { client: "OkHttp, Retrofit", boundary: "b7f0a8a1-52a5-4f44-9c35-6a8c0d8e3b1f", end: CRLF, names: &[Some("猫\".png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\"", "Content-Length: 2"], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"猫%22.png\"", "Content-Type: image/png", "Content-Length: 77"], None),
    ] },
    // HttpMultipart and MultipartEntityBuilder, mode STRICT.
    Sent { client: "Apache HttpClient", boundary: "k9vY2_tWq0LZ8xN-3rT5sJ7hB1cD", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\"", "Content-Type: text/plain; charset=ISO-8859-1", "Content-Transfer-Encoding: 8bit"], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"", "Content-Type: image/png", "Content-Transfer-Encoding: binary"], None),
    ] },
    // spring-web, FormHttpMessageConverter and ContentDisposition.
    Sent { client: "Spring RestTemplate", boundary: "rU5xkEo0vYzQ8WqLw2mB", end: CRLF, names: &[Some("猫.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\"", "Content-Type: text/plain;charset=UTF-8", "Content-Length: 2"], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"=?UTF-8?Q?=E7=8C=AB.png?=\"; filename*=UTF-8''%E7%8C%AB.png", "Content-Type: image/png"], None),
    ] },
    // guzzle/psr7, MultipartStream.php: versions of many years put a Content-Length in every part.
    Sent { client: "PHP Guzzle", boundary: "6e2f0c2f3a8d4b7c9e1a5d6f7b8c9d0e1f2a3b4c", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\"", "Content-Length: 2"], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"", "Content-Length: 77", "Content-Type: image/png"], None),
    ] },
    // symfony/mime, FormDataPart.
    Sent { client: "Symfony HttpClient", boundary: "hN3xKq_1", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Type: image/png", "Content-Transfer-Encoding: 8bit", "Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\""], None),
    ] },
    // package:http, multipart_request.dart: lower case, a boundary of 70 characters.
    Sent { client: "Dart http, Flutter", boundary: "dart-http-boundary-RYVXqJ4-l7zKSGgDYH.v_bPzgQkOV+bpJYLcnYiFSIArIfK3_.0", end: CRLF, names: &[Some("猫\".png")], parts: &[
        (&["content-disposition: form-data; name=\"w\""], Some("10")),
        (&["content-type: image/png", "content-disposition: form-data; name=\"file\"; filename=\"猫%22.png\""], None),
    ] },
    // dio, form_data.dart.
    Sent { client: "Dio, Flutter", boundary: "--dio-boundary-1723456789", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["content-disposition: form-data; name=\"w\""], Some("10")),
        (&["content-disposition: form-data; name=\"file\"; filename=\"cat.png\"", "content-type: image/png"], None),
    ] },
    // Source/Features/MultipartFormData.swift.
    Sent { client: "Alamofire, iOS", boundary: "alamofire.boundary.3f2a1b0c9d8e7f60", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"", "Content-Type: image/png"], None),
    ] },
    // lib/faraday/multipart and multipart-post, parts.rb.
    Sent { client: "Ruby multipart-post", boundary: "-----------RubyMultipartPost-4c1d9e8f7a6b5c4d3e2f1a0b9c8d7e6f", end: "--\r\n\r\n", names: &[Some("cat.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"", "Content-Length: 77", "Content-Type: image/png", "Content-Transfer-Encoding: binary"], None),
    ] },
    // reqwest, src/async_impl/multipart.rs: a name in another script by filename* alone.
    Sent { client: "Rust reqwest", boundary: "3b8f1c5e2d7a4960-9e0f1a2b3c4d5e6f-1122334455667788-99aabbccddeeff00", end: CRLF, names: &[Some("猫.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"w\""], Some("10")),
        (&["Content-Disposition: form-data; name=\"file\"; filename*=utf-8''%E7%8C%AB.png", "Content-Type: image/png"], None),
    ] },
    // packages/@uppy/xhr-upload: metadata first, a file without a path says null.
    Sent { client: "Uppy", boundary: "----WebKitFormBoundary7MA4YWxkTrZu0gW", end: CRLF, names: &[Some("cat.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"relativePath\""], Some("null")),
        (&["Content-Disposition: form-data; name=\"name\""], Some("cat.png")),
        (&["Content-Disposition: form-data; name=\"type\""], Some("image/png")),
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"", "Content-Type: image/png"], None),
    ] },
    // dropzone.js, paramName with uploadMultiple.
    Sent { client: "Dropzone", boundary: "----WebKitFormBoundary7MA4YWxkTrZu0gW", end: CRLF, names: &[Some("a.png"), Some("b.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"file[0]\"; filename=\"a.png\"", "Content-Type: image/png"], None),
        (&["Content-Disposition: form-data; name=\"file[1]\"; filename=\"b.png\"", "Content-Type: image/png"], None),
    ] },
    // No line end after the final boundary, as busboy's and undici's test suites have it.
    Sent { client: "older Node clients", boundary: "---------------------------paZqsnEHRufoShdX6fh0lUhXBP4k", end: "--", names: &[Some("cat.png")], parts: &[
        (&["Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"", "Content-Type: application/octet-stream"], None),
    ] },
];

fn picture() -> Vec<u8> {
    pictures::palette_png(8, 8, &[[10, 20, 30], [200, 100, 50]], |x, y| ((x + y) % 2) as u8)
}

impl Sent {
    fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    fn body(&self) -> Vec<u8> {
        let boundary = self.boundary.trim_matches('"');
        let mut body = Vec::new();
        for (lines, text) in self.parts {
            body.extend_from_slice(format!("--{boundary}\r\n{}\r\n\r\n", lines.join("\r\n")).as_bytes());
            match text {
                Some(text) => body.extend_from_slice(text.as_bytes()),
                None => body.extend_from_slice(&picture()),
            }
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}{}", self.end).as_bytes());
        body
    }
}

fn names_in(answer: &Answer) -> Vec<Value> {
    answer.json()["images"].as_array().expect("images").iter().map(|image| image["filename"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_is_understood() {
    let server = Server::start().await;
    for sent in CLIENTS {
        let (content_type, body) = (sent.content_type(), sent.body());
        let at_once = server.send(Method::POST, "/v1/images", &[("content-type", &content_type)], body.clone()).await;
        let head = wire::head("POST", "/v1/images", &[&format!("Content-Type: {content_type}"), "Transfer-Encoding: chunked"]);
        let in_chunks = wire::exchange(server.address, &head, &wire::chunked(&body, 11)).await.expect("an answer");
        for answer in [at_once, in_chunks] {
            assert_eq!(answer.status, 202, "{}: {}", sent.client, answer.text());
            assert_eq!(names_in(&answer), sent.names.iter().map(|name| json!(name)).collect::<Vec<_>>(), "{}", sent.client);
            let upload = answer.json();
            assert_eq!(upload["rejected"], json!([]), "{}", sent.client);
            let asked = sent.parts.iter().any(|(_, text)| *text == Some("10"));
            let wanted = if asked { "result" } else { "thumb" };
            for image in upload["images"].as_array().expect("images") {
                assert_eq!(image["variants"][0]["name"], wanted, "{}: its field counts", sent.client);
            }
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_waits_for_100_continue() {
    let server = Server::start().await;
    let sent = &CLIENTS[0];
    let body = wire::chunked(&sent.body(), 65_536);
    let content_type = format!("Content-Type: {}", sent.content_type());
    let head = wire::head(
        "POST",
        "/v1/images",
        &["User-Agent: curl/7.88.1", "Accept: */*", "Transfer-Encoding: chunked", "Expect: 100-continue", &content_type],
    );
    let mut connection = Wire::open(server.address).await;
    connection.write(&head).await;
    connection.read_until(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    connection.write(&body).await;
    let answer = connection.read().await.expect("an answer");
    assert_eq!((answer.status, names_in(&answer)), (202, vec![json!("cat 猫.png")]));
    server.finish().await;
}

/// The name a download offers, read as RFC 6266 says: `filename*` before `filename`.
fn offered(answer: &Answer) -> String {
    let value = answer.header("content-disposition");
    let Some((_, coded)) = value.split_once("filename*=UTF-8''") else {
        let (_, plain) = value.split_once("filename=\"").expect("a name");
        return plain.trim_end_matches('"').to_owned();
    };
    let mut bytes = Vec::new();
    let mut rest = coded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digits: String = rest.by_ref().take(2).map(char::from).collect();
            u8::from_str_radix(&digits, 16).expect("hex")
        } else {
            byte
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_any_script_come_back() {
    let server = Server::start().await;
    let long = "長".repeat(80);
    for (name, shown) in [
        ("صورة القطة", "صورة القطة"),
        ("גורים", "גורים"),
        ("我的猫咪", "我的猫咪"),
        ("写真 ねこ", "写真 ねこ"),
        ("고양이", "고양이"),
        ("แมว", "แมว"),
        ("बिल्ली", "बिल्ली"),
        ("Zażółć gęślą", "Zażółć gęślą"),
        // Decomposed, as macOS writes it: not made one with the composed form.
        ("re\u{301}sume\u{301}", "re\u{301}sume\u{301}"),
        ("👩‍👩‍👧‍👦🏳️‍🌈", "👩‍👩‍👧‍👦🏳️‍🌈"),
        ("𝒻𝒶𝓃𝒸𝓎 𐍈", "𝒻𝒶𝓃𝒸𝓎 𐍈"),
        // What turns the direction of a name would show another ending than it has.
        ("invoice\u{202e}gnp", "invoicegnp"),
        ("\u{2066}a\u{2069}\u{200f}", "a"),
        ("tab\there\u{7f}\u{1b}[31m", "tabhere[31m"),
        ("it's 100% & <b>", "it's 100% & <b>"),
        (&long, &long),
    ] {
        for head in [
            format!("name=\"file\"; filename=\"{name}.png\""),
            format!("name=\"file\"; filename*=UTF-8''{}.png", name.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>()),
        ] {
            let form = Form::new().part(&format!("Content-Disposition: form-data; {head}"), &picture());
            let answer = server.post_form("/v1/images", form).await;
            assert_eq!((answer.status, names_in(&answer)), (202, vec![json!(format!("{shown}.png"))]), "{name}: {}", answer.text());
            let upload = answer.json();
            let image = &upload["images"][0];
            let known = server.get(&format!("/v1/images/{}", image["id"].as_str().expect("an id"))).await.json();
            assert_eq!(known["filename"], format!("{shown}.png"));
            let stored = server.get(image["url"].as_str().expect("a url")).await;
            assert_eq!((stored.status, &stored.body[..]), (200, &picture()[..]));
            assert_eq!(offered(&stored), format!("{shown}.png"), "{}", stored.header("content-disposition"));
        }
    }
    server.finish().await;
}

/// A page in ISO-8859-1 sends its bytes, and what its encoding lacks as character references (HTML, "escape").
#[tokio::test(flavor = "multi_thread")]
async fn names_of_pages_in_other_encodings_come_back() {
    let server = Server::start().await;
    for (name, shown) in [(&b"gr\xfc\xdfe.png"[..], "grüße.png"), (b"&#29483;.png", "&#29483;.png")] {
        let head = [b"Content-Disposition: form-data; name=\"file\"; filename=\"", name, b"\""].concat();
        let body = [format!("--{}\r\n", wire::BOUNDARY).as_bytes(), &head, b"\r\n\r\n", &picture(), b"\r\n", &Form::new().end()].concat();
        let answer = server.send(Method::POST, "/v1/images", &[("content-type", FORM_TYPE)], body).await;
        assert_eq!((answer.status, names_in(&answer)), (202, vec![json!(shown)]), "{}", answer.text());
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_some_of_them_bad_are_told_apart() {
    let server = Server::start().await;
    let mut form = Form::new();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for index in 0..24 {
        let name = format!("写真 {index}.png");
        (form, _) = match index % 4 {
            1 => (
                form.file("files[]", &name, b"<html>this is no picture</html> and a little more of it, so that it is judged"),
                bad.push((name, "unsupported_format")),
            ),
            3 => (form.file("files[]", &name, b""), bad.push((name, "empty_file"))),
            _ => (form.file("files[]", &name, &picture()), good.push(json!(name))),
        };
    }
    let answer = server.post_form("/v1/images", form).await;
    assert_eq!((answer.status, names_in(&answer)), (202, good), "{}", answer.text());
    let upload = answer.json();
    let rejected: Vec<_> = upload["rejected"]
        .as_array()
        .expect("rejected")
        .iter()
        .map(|file| (file["filename"].as_str().expect("a name").to_owned(), file["problem"]["code"].as_str().expect("a code").to_owned()))
        .collect();
    assert_eq!(rejected, bad.into_iter().map(|(name, code)| (name, code.to_owned())).collect::<Vec<_>>());
    assert_eq!(server.finished(&upload).await["status"], "completed");
    server.finish().await;
}
