//! Forms as clients send them, cut anywhere.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::*;
use crate::ingest::{
    BodyError,
    fixtures::{MEDIA_TYPE, Stage, chunked, chunked_with_pauses, cut_with_pauses, multipart_body, noise_png, wide_limits},
    parser::MAX_HEAD_BYTES,
};

const CAT: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"\r\nContent-Type: image/png";
const DOG: &str = "Content-Disposition: form-data; name=\"photo\"; filename=\"C:\\pics\\dog.png\"";

fn field(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"{name}\"")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A form's outcome in a form that can be compared.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Seen {
    Form { fields: Vec<(String, String)>, files: Vec<SeenFile> },
    Refused(Code),
    Aborted,
}

#[derive(Debug, PartialEq, Eq, Clone)]
enum SeenFile {
    Staged { filename: Option<String>, sha256: [u8; 32], metadata: Vec<(String, String)> },
    Rejected { filename: Option<String>, code: Code },
}

fn seen(result: &Result<Form, IngestError>) -> Seen {
    match result {
        Ok(form) => Seen::Form {
            fields: form.fields.clone(),
            files: form
                .files
                .iter()
                .map(|outcome| match outcome {
                    FileOutcome::Staged(file) => {
                        let bytes = std::fs::read(&file.staged.path).expect("the staged file");
                        assert_eq!(bytes.len() as u64, file.staged.bytes);
                        assert_eq!(sha256(&bytes), file.sha256);
                        SeenFile::Staged { filename: file.filename.clone(), sha256: file.sha256, metadata: file.metadata.clone() }
                    }
                    FileOutcome::Rejected { filename, refusal } => SeenFile::Rejected { filename: filename.clone(), code: refusal.code },
                })
                .collect(),
        },
        Err(IngestError::Refused(refusal)) => Seen::Refused(refusal.code),
        Err(IngestError::Aborted) => Seen::Aborted,
        Err(other) => panic!("{other:?}"),
    }
}

async fn receive(body: BodyStream, limits: &IngestLimits) -> Seen {
    receive_into(&Stage::new(), body, limits).await
}

async fn receive_into(stage: &Stage, mut body: BodyStream, limits: &IngestLimits) -> Seen {
    seen(&receive_form(MEDIA_TYPE, &mut body, limits, &stage.dir).await)
}

async fn receive_parts(parts: &[(&str, &[u8])]) -> Seen {
    receive(chunked(&multipart_body(parts), 4096), &wide_limits()).await
}

fn staged(filename: Option<&str>, bytes: &[u8]) -> SeenFile {
    SeenFile::Staged { filename: filename.map(str::to_owned), sha256: sha256(bytes), metadata: Vec::new() }
}

fn files(seen: Seen) -> Vec<SeenFile> {
    match seen {
        Seen::Form { files, .. } => files,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_chunking_gives_the_same_form() {
    let (cat, dog) = (noise_png(20, 30), noise_png(320, 320));
    let body = multipart_body(&[(&field("variant"), b"thumb=w:10"), (CAT, &cat), (&field("name"), b"d"), (DOG, &dog), (&field("w"), b"5")]);
    let want = Seen::Form {
        fields: vec![("variant".into(), "thumb=w:10".into()), ("w".into(), "5".into())],
        files: vec![
            staged(Some("cat.png"), &cat),
            SeenFile::Staged { filename: Some("dog.png".into()), sha256: sha256(&dog), metadata: vec![("name".into(), "d".into())] },
        ],
    };
    for size in [1, 2, 7, 13, 4096, body.len()] {
        assert_eq!(receive(chunked(&body, size), &wide_limits()).await, want, "{size}");
        assert_eq!(receive(chunked_with_pauses(&body, size), &wide_limits()).await, want, "{size} with pauses");
    }
}

#[tokio::test]
async fn no_prefix_passes_for_the_whole() {
    let (cat, dog) = (noise_png(4, 4), noise_png(5, 5));
    let body = multipart_body(&[(CAT, &cat), (DOG, &dog), (&field("w"), b"5")]);
    let (stage, limits) = (Stage::new(), wide_limits());
    let whole = body.len() - 2; // the line end after the final boundary may be missing
    for cut in 0..whole {
        for size in [1, 7, body.len()] {
            assert_eq!(
                receive_into(&stage, chunked_with_pauses(&body[..cut], size), &limits).await,
                Seen::Refused(Code::MalformedMultipart),
                "{cut}"
            );
        }
        let items = vec![Ok(Bytes::copy_from_slice(&body[..cut])), Err(BodyError::Aborted)];
        assert_eq!(receive_into(&stage, Box::pin(stream::iter(items)), &limits).await, Seen::Aborted, "{cut}");
        assert_eq!(stage.files(), 0);
    }
    for cut in whole..=body.len() {
        assert_eq!(files(receive_into(&stage, chunked(&body[..cut], 7), &limits).await).len(), 2);
    }
}

#[tokio::test]
async fn limits_are_exact() {
    let image = noise_png(10, 10);
    let name = field("w");
    let body = multipart_body(&[(&name, b"12345"), (CAT, &image), (&name, b"6"), (DOG, &image)]);
    let image_bytes = image.len() as u64;
    type Set = fn(&mut IngestLimits, u64);
    let cases: [(&str, Set, u64, Code); 5] = [
        ("request", |limits, n| limits.max_request_bytes = n, body.len() as u64, Code::TooLarge),
        ("files", |limits, n| limits.max_files = u32::try_from(n).expect("small"), 2, Code::TooManyFiles),
        ("fields", |limits, n| limits.max_fields = u32::try_from(n).expect("small"), 2, Code::TooManyFields),
        ("field", |limits, n| limits.max_field_bytes = n, 5, Code::TooLarge),
        ("file", |limits, n| limits.max_file_bytes = n, image_bytes, Code::TooLarge),
    ];
    for (what, set, edge, code) in cases {
        for (value, fits) in [(edge - 1, false), (edge, true), (edge + 1, true)] {
            let mut limits = wide_limits();
            set(&mut limits, value);
            for size in [1, 64, body.len()] {
                let got = receive(chunked(&body, size), &limits).await;
                match (fits, what) {
                    (true, _) => assert!(files(got).iter().all(|file| matches!(file, SeenFile::Staged { .. })), "{what} {value}"),
                    (false, "file") => {
                        assert!(files(got).iter().all(|file| matches!(file, SeenFile::Rejected { code: got, .. } if *got == code)))
                    }
                    (false, _) => assert_eq!(got, Seen::Refused(code), "{what} {value}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn refused_bytes_are_bounded_to_the_byte() {
    let (text, image) = ([b'x'; 1000], noise_png(10, 10));
    let body = multipart_body(&[(CAT, &text), (DOG, &image), (CAT, &text)]);
    let edge = 2 * (1000 - 64);
    for (max_refused_bytes, fits) in [(edge - 1, false), (edge, true), (edge + 1, true)] {
        let limits = IngestLimits { max_refused_bytes, ..wide_limits() };
        for size in [1, 7, 64, 4096] {
            match receive(chunked(&body, size), &limits).await {
                Seen::Form { files, .. } => assert!(fits && files.len() == 3, "{max_refused_bytes} {size}"),
                other => assert!(!fits && other == Seen::Refused(Code::TooLarge), "{max_refused_bytes} {size} {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_bad_file_does_not_stop_a_good_one() {
    let image = noise_png(400, 400);
    let got = files(receive_parts(&[(DOG, b"no image"), (CAT, &image), (DOG, &b"neither ".repeat(100_000)), (DOG, b"")]).await);
    let rejected = |code| SeenFile::Rejected { filename: Some("dog.png".into()), code };
    assert_eq!(
        got,
        [rejected(Code::UnsupportedFormat), staged(Some("cat.png"), &image), rejected(Code::UnsupportedFormat), rejected(Code::EmptyFile)]
    );
}

#[tokio::test]
async fn digests_of_parts_are_checked() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let image = noise_png(10, 10);
    let with = |digest: &str| format!("{CAT}\r\nRepr-Digest: {digest}");
    let good = with(&format!("md5=:AAAA:, sha-256=:{}:", BASE64_STANDARD.encode(sha256(&image))));
    let other = with(&format!("sha-256=:{}:", BASE64_STANDARD.encode([1; 32])));
    let (malformed, unknown) = (with("sha-256=:AAAA:"), with("sha-512=:AAAA:"));
    let got = files(receive_parts(&[(&good, &image), (&other, &image), (&malformed, &image), (&unknown, &image)]).await);
    let rejected = |code| SeenFile::Rejected { filename: Some("cat.png".into()), code };
    let taken = staged(Some("cat.png"), &image);
    assert_eq!(got, [taken.clone(), rejected(Code::DigestMismatch), rejected(Code::BadRequest), taken.clone()]);
    // A refused file without bytes does not take the next part with it.
    assert_eq!(files(receive_parts(&[(&malformed, b""), (CAT, &image)]).await), [rejected(Code::BadRequest), taken]);
}

#[tokio::test]
async fn what_is_a_file_is_told_by_the_head() {
    let image = noise_png(10, 10);
    for name in FILE_FIELDS {
        assert_eq!(files(receive_parts(&[(&field(name), &image)]).await), [staged(None, &image)]);
    }
    let starred = "Content-Disposition: form-data; name=x; filename*=utf-8''n%C3%A4.png";
    assert_eq!(files(receive_parts(&[(starred, &image)]).await), [staged(Some("nä.png"), &image)]);
    let nameless = "Content-Disposition: form-data; name=x; filename=\"\"";
    assert_eq!(files(receive_parts(&[(nameless, &image), (nameless, b"")]).await), [staged(None, &image)]);
    assert_eq!(receive_parts(&[(nameless, b""), (&field("w"), b"1")]).await, Seen::Refused(Code::NoFile));
    assert_eq!(receive_parts(&[]).await, Seen::Refused(Code::NoFile));
    assert_eq!(receive_parts(&[(&field("picture"), b"text")]).await, Seen::Refused(Code::NoFile));
    // Inputs nobody filled in do not count as files.
    let limits = IngestLimits { max_files: 1, ..wide_limits() };
    let body = multipart_body(&[(nameless, b""), (CAT, &image), (nameless, b"")]);
    assert_eq!(files(receive(chunked(&body, 9), &limits).await).len(), 1);
}

#[tokio::test]
async fn metadata_belongs_to_the_next_file_and_text_is_decoded() {
    let image = noise_png(10, 10);
    let parts: [(&str, &[u8]); 6] = [
        (&field("type"), b"image/png"),
        (CAT, &image),
        (&field("relativePath"), b"a/b.png"),
        (CAT, &image),
        (&field("name"), b"late"),
        (&field("metadata[x]"), b"gr\xfc\xdfe"),
    ];
    let Seen::Form { fields, files } = receive_parts(&parts).await else { panic!("a form") };
    assert_eq!(fields, [("metadata[x]".to_owned(), "grüße".to_owned())]);
    let metadata: Vec<_> = files
        .into_iter()
        .map(|file| match file {
            SeenFile::Staged { metadata, .. } => metadata,
            SeenFile::Rejected { .. } => panic!("staged"),
        })
        .collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(metadata, [vec![pair("type", "image/png")], vec![pair("relativePath", "a/b.png"), pair("name", "late")]]);
}

#[tokio::test]
async fn malformed_parts_refuse_the_request() {
    let image = noise_png(10, 10);
    let long = format!("{CAT}\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
    let many = format!("{CAT}{}", "\r\nX: y".repeat(40));
    for (head, code) in [
        ("Content-Type: image/png", Code::MalformedMultipart),
        ("Content-Disposition: attachment; name=file", Code::MalformedMultipart),
        ("Content-Disposition: form-data; filename=x", Code::MalformedMultipart),
        ("Content-Disposition: form-data; name=\"\"; filename=x", Code::MalformedMultipart),
        ("Content-Disposition: form-data; name=\"a\0b\"", Code::MalformedMultipart),
        ("Content-Disposition: form-data;\r\n name=a", Code::MalformedMultipart),
        ("Content-Disposition: form-data; name=file\nX: y", Code::MalformedMultipart),
        ("Content-Disposition: form-data; name=file\rX: y", Code::MalformedMultipart),
        ("Content-Disposition: form-data; name=file\x1b", Code::MalformedMultipart),
        ("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b", Code::MalformedMultipart),
        ("Content-Disposition: form-data; name=a\r\nContent-Type: a/b\r\ncontent-type: a/b", Code::MalformedMultipart),
        (
            "Content-Disposition: form-data; name=file; filename=a\r\nRepr-Digest: md5=:AA==:\r\nRepr-Digest: md5=:AA==:",
            Code::MalformedMultipart,
        ),
        ("Content-Disposition: form-data; name=file\r\nContent-Transfer-Encoding: base64", Code::BadRequest),
        (&long, Code::MalformedMultipart),
        (&many, Code::MalformedMultipart),
    ] {
        for size in [1, 1460, 1 << 20] {
            let body = multipart_body(&[(CAT, &image), (head, &image)]);
            assert_eq!(receive(chunked(&body, size), &wide_limits()).await, Seen::Refused(code), "{head:.100} {size}");
        }
    }
    let plain = format!("{CAT}\r\nContent-Transfer-Encoding: Binary");
    assert_eq!(files(receive_parts(&[(&plain, &image)]).await), [staged(Some("cat.png"), &image)]);
}

#[tokio::test]
async fn text_fields_do_not_add_up_without_bound() {
    let (name, value) = (field("metadata[x]"), [b'x'; 1000]);
    let mut parts: Vec<(&str, &[u8])> = vec![(&name, &value); 16];
    let image = noise_png(10, 10);
    parts.push((CAT, &image));
    let limits = IngestLimits { max_field_bytes: 1000, ..wide_limits() };
    assert_eq!(receive(chunked(&multipart_body(&parts), 4096), &limits).await, Seen::Refused(Code::TooLarge));
    parts.remove(0);
    assert_eq!(files(receive(chunked(&multipart_body(&parts), 4096), &limits).await).len(), 1);
}

#[tokio::test]
async fn an_epilogue_is_read_and_counted() {
    let image = noise_png(10, 10);
    let mut text = multipart_body(&[(CAT, &image)]);
    text.extend_from_slice(&[b'e'; 200_000]);
    let stage = Stage::new();
    let mut body = chunked_with_pauses(&text, 1460);
    let form = receive_form(MEDIA_TYPE, &mut body, &wide_limits(), &stage.dir).await.expect("a form");
    assert!(body.next().await.is_none());
    drop(form);
    let limits = IngestLimits { max_request_bytes: text.len() as u64 - 1, ..wide_limits() };
    assert_eq!(receive(chunked(&text, 1460), &limits).await, Seen::Refused(Code::TooLarge));
}

#[tokio::test]
async fn dropped_at_any_wait_for_the_client_it_leaves_nothing() {
    let image = noise_png(400, 400);
    let body = multipart_body(&[(CAT, &image), (DOG, &image)]);
    let pieces: Vec<_> = body.chunks(50_000).map(Bytes::copy_from_slice).collect();
    let stage = Stage::new();
    let limits = wide_limits();
    let most_files = Arc::new(AtomicUsize::new(0));
    for sent in 0..=pieces.len() {
        // After `sent` pieces the client falls silent, and says so here.
        let silent = Arc::new(Notify::new());
        let (tell, most, path) = (silent.clone(), most_files.clone(), stage.path());
        let rest = stream::poll_fn(move |_| {
            most.fetch_max(std::fs::read_dir(&path).expect("the folder").count(), Ordering::Relaxed);
            tell.notify_one();
            Poll::Pending
        });
        let mut stream: BodyStream = Box::pin(stream::iter(pieces[..sent].to_vec()).map(Ok).chain(rest));
        tokio::select! {
            result = receive_form(MEDIA_TYPE, &mut stream, &limits, &stage.dir) => panic!("the body has no end: {result:?}"),
            () = silent.notified() => {}
        }
        assert!(stage.becomes_empty().await, "after {sent} pieces");
    }
    assert_eq!(most_files.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_lost_connection_takes_finished_files_with_it() {
    let image = noise_png(400, 400);
    let body = multipart_body(&[(CAT, &image), (DOG, &image)]);
    let stage = Stage::new();
    let items = vec![Ok(Bytes::copy_from_slice(&body[..body.len() - 20])), Err(BodyError::Aborted)];
    let mut stream: BodyStream = Box::pin(stream::iter(items));
    assert!(matches!(receive_form(MEDIA_TYPE, &mut stream, &wide_limits(), &stage.dir).await, Err(IngestError::Aborted)));
    assert_eq!(stage.files(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_cuts_change_nothing(
        sizes in proptest::collection::vec(prop_oneof![0_usize..40, 0_usize..5000, 60_000_usize..70_000], 0..400),
        data in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'B'), any::<u8>()], 0..3000),
    ) {
        // Data full of near-boundaries, after an image so that they count.
        prop_assume!(!data.windows(5).any(|window| window == b"\r\n--B"));
        // Data that begin with the boundary are refused: the line end before belongs to the head.
        prop_assume!(!data.starts_with(b"--B"));
        let mut image = noise_png(150, 150);
        image.extend_from_slice(&data);
        let body = multipart_body(&[(&field("w"), b"1"), (CAT, &image), (DOG, &data)]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let want = receive(chunked(&body, body.len()), &wide_limits()).await;
            prop_assert_eq!(&files(want.clone())[0], &staged(Some("cat.png"), &image));
            let got = receive(cut_with_pauses(&body, sizes), &wide_limits()).await;
            prop_assert_eq!(got, want);
            Ok(())
        })?;
    }

    #[test]
    fn any_body_is_survived_alike(
        data in proptest::collection::vec(prop_oneof![
            Just(&b"--B"[..]), Just(&b"\r\n"[..]), Just(&b"--"[..]), Just(&b" "[..]), Just(&b"x"[..]), Just(&b"\r\n\r\n"[..]),
            Just(&b"--B\r\nContent-Disposition: form-data; name=a\r\n\r\n"[..]), Just(&b"\r\n--B\r\n"[..]), Just(&b"\r\n--B--"[..]),
        ], 0..20),
        size in 1_usize..10,
    ) {
        let body = data.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let want = receive(chunked(&body, body.len().max(1)), &wide_limits()).await;
            prop_assert_eq!(receive(chunked_with_pauses(&body, size), &wide_limits()).await, want.clone());
            prop_assert_eq!(receive(chunked(&body, size), &wide_limits()).await, want);
            Ok(())
        })?;
    }
}

/// Bodies of other projects' test suites, in the folder `PIXMILL_CORPUS` names.
#[tokio::test]
async fn corpus_of_other_parsers() {
    let Some(corpus) = std::env::var_os("PIXMILL_CORPUS") else {
        eprintln!("SKIPPED corpus_of_other_parsers: PIXMILL_CORPUS is not set");
        return;
    };
    let folder = std::path::Path::new(&corpus).join("mp-cases");
    let list = std::fs::read_to_string(folder.join("cases.jsonl")).expect("the list of cases");
    let (mut cases, mut images, mut wrong) = (0, 0, Vec::new());
    let mut verdicts: BTreeMap<&str, u32> = BTreeMap::new();
    for line in list.lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("a case");
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let (id, content_type) = (text(&case["id"]), text(&case["content_type"]));
        let content_type: Vec<u8> = content_type.chars().map(|ch| u8::try_from(u32::from(ch)).unwrap_or(b'?')).collect();
        let run = async |body: &[u8]| {
            let mut outcomes = Vec::new();
            for size in [body.len().max(1), 1, 7] {
                for pauses in [false, true] {
                    let stage = Stage::new();
                    let mut stream = if pauses { chunked_with_pauses(body, size) } else { chunked(body, size) };
                    outcomes.push(seen(&receive_form(&content_type, &mut stream, &wide_limits(), &stage.dir).await));
                }
            }
            assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{id}: outcome depends on the chunking: {outcomes:?}");
            outcomes.remove(0)
        };
        let body = std::fs::read(folder.join(text(&case["body"]))).expect("a body");
        let plain = run(&body).await;
        cases += 1;
        if case["service"] == "reject" && matches!(plain, Seen::Form { .. }) {
            wrong.push(format!("{id}: want a refusal, got {plain:?}"));
        }
        let variant = &case["png_variant"];
        if variant.is_null() {
            continue;
        }
        images += 1;
        let body = std::fs::read(folder.join(text(&variant["body"]))).expect("a body");
        let got = run(&body).await;
        *verdicts.entry(if matches!(got, Seen::Form { .. }) { "taken" } else { "refused" }).or_default() += 1;
        let want: Vec<String> = variant["files"].as_array().expect("files").iter().map(|file| text(&file["sha256"])).collect();
        match got {
            Seen::Form { files, .. } => {
                let found: Vec<String> = files
                    .iter()
                    .map(|file| match file {
                        SeenFile::Staged { sha256, .. } => sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
                        SeenFile::Rejected { code, .. } => code.to_string(),
                    })
                    .collect();
                let whole = case["service"] == "accept";
                if if whole { found != want } else { !want.iter().all(|sha256| found.contains(sha256)) } {
                    wrong.push(format!("{id}: files {found:?}, want {want:?}"));
                }
            }
            other if case["service"] == "accept" => wrong.push(format!("{id}: want files, got {other:?}")),
            _ => {}
        }
    }
    eprintln!("{cases} cases, {images} with images: {verdicts:?}");
    assert_eq!((cases, images), (181, 81), "the corpus is another one");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn refusals_say_which_part() {
    let image = noise_png(10, 10);
    for (head, want) in [
        ("Content-Type: image/png", "part 2: there is no content-disposition"),
        ("Content-Disposition: form-data; name=a; name=b", "part 2: content-disposition has a parameter twice"),
        (
            "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: x",
            "part 2: content-transfer-encoding \"x\" is not supported",
        ),
        ("Content-Disposition: form-data; name=a\nX: y", "multipart framing is broken: part 2: a header ends in a line feed"),
    ] {
        let stage = Stage::new();
        let mut body = chunked(&multipart_body(&[(CAT, &image), (head, b"v")]), 100);
        match receive_form(MEDIA_TYPE, &mut body, &wide_limits(), &stage.dir).await {
            Err(IngestError::Refused(refusal)) => assert!(refusal.detail.starts_with(want), "{refusal}"),
            other => panic!("{other:?}"),
        }
    }
}
