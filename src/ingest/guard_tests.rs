//! The driver on bodies that never end, wait, fail or are too long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use futures_util::stream;

use super::*;
use crate::ingest::{
    fixtures::{chunked, chunked_with_pauses},
    parser::MAX_PREAMBLE_BYTES,
};

/// An item of a body as a fast client's.
const PACKET_BYTES: usize = 64 * 1024;

/// A body of `total` bytes after `head`, always ready, that counts what was taken from it.
fn endless(head: &'static [u8], fill: &'static [u8], total: u64) -> (BodyStream, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let times = total / fill.len() as u64;
    let body = stream::iter(std::iter::once(Bytes::from_static(head)).chain((0..times).map(move |_| Bytes::from_static(fill)))).map(
        move |bytes| {
            counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes)
        },
    );
    (Box::pin(body), taken)
}

fn code(error: &IngestError) -> Code {
    match error {
        IngestError::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_the_final_boundary_is_an_empty_form_in_every_chunking() {
    for size in 1..=12 {
        let mut body = chunked_with_pauses(b"--B--", size);
        let mut parts = Parts::new(&mut body, "B", 1000);
        assert!(parts.next().await.expect("well-formed").is_none(), "{size}");
        let long = b"--boundary--\r\n";
        let mut body = chunked_with_pauses(long, size);
        let mut parts = Parts::new(&mut body, "boundary", 1000);
        assert!(parts.next().await.expect("well-formed").is_none(), "{size}");
        let mut body = chunked(long, size);
        let mut parts = Parts::new(&mut body, "boundary", 1000);
        assert!(parts.next().await.expect("well-formed").is_none(), "{size}");
    }
}

#[tokio::test]
async fn field_data_pass_in_constant_memory() {
    const HEAD: &[u8] = b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n";
    let near_boundaries = b"\r\n--A".repeat(300).leak();
    for fill in [&[b'x'; 1460][..], &[b'\r'; PACKET_BYTES], &[7; 1 << 20], near_boundaries] {
        let (mut body, taken) = endless(HEAD, fill, 256 << 20);
        let mut parts = Parts::new(&mut body, "B", u64::MAX);
        parts.next().await.expect("a part").expect("a part");
        let (mut delivered, mut held_most) = (0_u64, 0);
        let error = loop {
            match parts.chunk().await {
                Ok(Some(bytes)) => delivered += bytes.len() as u64,
                Ok(None) => panic!("no boundary, no end"),
                Err(error) => break error,
            }
            held_most = held_most.max(taken.load(Ordering::Relaxed) - delivered);
        };
        assert_eq!(code(&error), Code::MalformedMultipart);
        assert!(delivered >= (256 << 20) - 4000, "{delivered}");
        // One item of the body itself (ours to hold whatever we do), what may begin a boundary, and the head.
        let allowed = (fill.len() + "\r\n--B".len() + HEAD.len()) as u64;
        assert!(held_most <= allowed, "{held_most} of {allowed}");
    }
}

#[tokio::test]
async fn framing_is_bounded_wherever_it_is_endless() {
    let cases: [(&str, &[u8]); 5] = [
        ("preamble", b"preamble"),
        ("headers", b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\nX: "),
        ("padding", b"--B "),
        ("second headers", b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\ndata\r\n--B\r\nX: "),
        ("second padding", b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\ndata\r\n--B\t"),
    ];
    for (name, head) in cases {
        for fill in [&[b' '; 1][..], &[b' '; 1460], &[b' '; PACKET_BYTES], &[b' '; 1 << 20]] {
            let (mut body, taken) = endless(head, fill, 16 << 20);
            let mut parts = Parts::new(&mut body, "B", u64::MAX);
            let start = Instant::now();
            let error = loop {
                match parts.next().await {
                    Ok(Some(_)) => while parts.chunk().await.expect("data").is_some() {},
                    Ok(None) => panic!("{name}: no end was sent"),
                    Err(error) => break error,
                }
            };
            assert_eq!(code(&error), Code::MalformedMultipart, "{name}");
            let taken = taken.load(Ordering::Relaxed);
            let most = (MAX_PREAMBLE_BYTES + fill.len() + head.len()) as u64;
            assert!(taken <= most, "{name}: took {taken} of {most} bytes in items of {}", fill.len());
            assert!(start.elapsed().as_secs() < 5, "{name}: {:?}", start.elapsed());
        }
    }
}

#[tokio::test]
async fn many_small_parts_are_not_read_ahead() {
    let part = b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv\r\n";
    let text = part.repeat(PACKET_BYTES / part.len()).leak();
    let (mut body, taken) = endless(b"", text, 4 << 20);
    let mut parts = Parts::new(&mut body, "B", u64::MAX);
    let mut parsed = 0_u64;
    while parsed < 2 << 20 {
        parts.next().await.expect("a part").expect("a part");
        while parts.chunk().await.expect("data").is_some() {}
        parsed += part.len() as u64;
        let ahead = taken.load(Ordering::Relaxed) - parsed.min(taken.load(Ordering::Relaxed));
        assert!(ahead <= text.len() as u64, "{ahead}");
    }
}

#[tokio::test]
async fn the_rest_of_the_body_stays_with_the_caller() {
    let (mut body, taken) = endless(b"no multipart at all", &[b'x'; 1024], 1 << 20);
    assert!(Parts::new(&mut body, "B", u64::MAX).next().await.is_err());
    let before = taken.load(Ordering::Relaxed);
    let mut rest = 0;
    while let Some(bytes) = body.next().await {
        rest += bytes.expect("bytes").len() as u64;
    }
    assert!(rest > 0 && before + rest == taken.load(Ordering::Relaxed));
}

#[tokio::test]
async fn whole_request_is_counted_to_the_byte() {
    let text = b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv\r\n--B--\r\nepilogue";
    for (limit, fits) in [(text.len() - 1, false), (text.len(), true), (text.len() + 1, true)] {
        for size in [1, 5, 4096] {
            let mut body = chunked(text, size);
            let read: Result<(), IngestError> = async {
                let mut parts = Parts::new(&mut body, "B", limit as u64);
                while parts.next().await?.is_some() {
                    while parts.chunk().await?.is_some() {}
                }
                Ok(())
            }
            .await;
            match read {
                Ok(()) => assert!(fits, "{limit} {size}"),
                Err(error) => assert!(!fits && code(&error) == Code::TooLarge, "{limit} {size} {error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_failing_body_is_told_apart_from_bad_framing() {
    for (fault, slow) in [(BodyError::Aborted, false), (BodyError::TooSlow, true)] {
        let items: Vec<Result<Bytes, BodyError>> =
            vec![Ok(Bytes::from_static(b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv")), Err(fault)];
        let mut body: BodyStream = Box::pin(stream::iter(items));
        let mut parts = Parts::new(&mut body, "B", 1000);
        parts.next().await.expect("a part").expect("a part");
        let error = loop {
            match parts.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no end was sent"),
                Err(error) => break error,
            }
        };
        assert_eq!(matches!(error, IngestError::TooSlow), slow, "{error:?}");
        assert_eq!(matches!(error, IngestError::Aborted), !slow, "{error:?}");
    }
}

#[tokio::test]
async fn a_body_that_never_waits_lets_others_work() {
    const PART: &[u8] = b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv\r\n";
    for item in [&b""[..], PART, b"\r\n", b"x"] {
        let others = Arc::new(AtomicU64::new(0));
        let (seen, mut asked) = (others.clone(), 0);
        let mut body: BodyStream = Box::pin(stream::poll_fn(move |_| {
            asked += 1;
            assert!(asked < 1_000_000, "nobody else got a turn");
            let ended = seen.load(Ordering::Relaxed) > 0;
            std::task::Poll::Ready((!ended).then_some(Ok(Bytes::from_static(if asked == 1 { PART } else { item }))))
        }));
        let other = tokio::spawn(async move { others.fetch_add(1, Ordering::Relaxed) });
        let mut parts = Parts::new(&mut body, "B", u64::MAX);
        let error = loop {
            match parts.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no end was sent"),
                Err(error) => break error,
            }
        };
        assert_eq!(code(&error), Code::MalformedMultipart);
        other.await.expect("no panic");
    }
}

#[tokio::test]
async fn what_is_left_of_a_part_is_passed_over() {
    let text = b"--B\r\nA: 1\r\n\r\nfirst\r\n--B\r\nA: 2\r\n\r\nsecond\r\n--B--";
    for size in [1, 3, 100] {
        let mut body = chunked(text, size);
        let mut parts = Parts::new(&mut body, "B", 1000);
        let mut values = Vec::new();
        while let Some(head) = parts.next().await.expect("a form") {
            values.extend(head.values("a").map(<[u8]>::to_vec));
        }
        assert_eq!(values, [b"1", b"2"], "{size}");
        assert!(parts.next().await.expect("still whole").is_none());
    }
}

#[tokio::test]
async fn the_end_of_a_part_is_said_as_often_as_it_is_asked_for() {
    let text = b"--B\r\nA: 1\r\n\r\n\r\n--B\r\nA: 2\r\n\r\nsecond\r\n--B--";
    for size in [1, 100] {
        let mut body = chunked(text, size);
        let mut parts = Parts::new(&mut body, "B", 1000);
        assert_eq!(parts.chunk().await.expect("no part yet"), None);
        parts.next().await.expect("a part").expect("a part");
        for _ in 0..3 {
            assert_eq!(parts.chunk().await.expect("its end"), None);
        }
        let second = parts.next().await.expect("a part").expect("not swallowed");
        assert_eq!(second.number(), 2);
        let mut data = Vec::new();
        while let Some(bytes) = parts.chunk().await.expect("data") {
            data.extend_from_slice(&bytes);
        }
        assert_eq!((data.as_slice(), parts.chunk().await.expect("its end")), (&b"second"[..], None));
        assert!(parts.next().await.expect("whole").is_none());
    }
}
