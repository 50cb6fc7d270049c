//! The multipart parser: what it says must not depend on how the bytes were cut, and its limits must hold.
//!
//! An input is a count, as many sizes of pieces, and the body; its boundary is `B`.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pixmill_fuzz::ingest::{
    display_name, parse_disposition,
    parser::{Event, Fault, MAX_HEAD_BYTES, MAX_HEADERS, PushParser},
};

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Part(Vec<u8>),
    Data(Vec<u8>),
    PartEnd,
    End,
}

/// Header lines, data put together, ends; or the fault.
fn hear(pieces: impl Iterator<Item = Bytes>) -> (Vec<Told>, Result<(), Fault>) {
    let mut parser = PushParser::new("B");
    let mut told: Vec<Told> = Vec::new();
    for mut input in pieces {
        loop {
            let before = input.len();
            let event = match parser.next(&mut input) {
                Ok(Some(event)) => event,
                Ok(None) => {
                    assert!(input.is_empty());
                    break;
                }
                Err(fault) => {
                    assert_eq!(parser.finish(), Err(fault));
                    assert!(!fault.to_string().is_empty());
                    return (told, Err(fault));
                }
            };
            assert!(input.len() <= before);
            match event {
                Event::Part(head) => {
                    let mut text = Vec::new();
                    for (name, value) in head.fields() {
                        assert!(!name.is_empty() && !value.contains(&b'\n') && !value.contains(&b'\r') && !value.contains(&0));
                        text.extend_from_slice(&[b"\n", name, b":", value].concat());
                    }
                    assert!(head.fields().count() <= MAX_HEADERS && text.len() <= MAX_HEAD_BYTES);
                    for value in head.values("content-disposition") {
                        if let Ok(found) = parse_disposition(value) {
                            assert!(!found.name.is_empty());
                            let _ = found.filename.as_deref().and_then(display_name);
                        }
                    }
                    told.push(Told::Part(text));
                }
                Event::Data(bytes) => {
                    assert!(!bytes.is_empty());
                    match told.last_mut() {
                        Some(Told::Data(data)) => data.extend_from_slice(&bytes),
                        _ => told.push(Told::Data(bytes.to_vec())),
                    }
                }
                Event::PartEnd => told.push(Told::PartEnd),
                Event::End => told.push(Told::End),
            }
        }
    }
    let end = parser.finish();
    assert_eq!(end.is_ok(), told.last() == Some(&Told::End));
    (told, end)
}

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else { return };
    let (sizes, body) = rest.split_at(usize::from(count).min(rest.len()));
    let mut left = body;
    let mut pieces: Vec<Bytes> = sizes
        .iter()
        .map(|&size| {
            let (piece, rest) = left.split_at(usize::from(size).min(left.len()));
            left = rest;
            Bytes::copy_from_slice(piece)
        })
        .collect();
    pieces.push(Bytes::copy_from_slice(left));
    let whole = hear(std::iter::once(Bytes::copy_from_slice(body)));
    assert_eq!(hear(pieces.into_iter()), whole);
    assert_eq!(hear(body.chunks(1).map(Bytes::copy_from_slice)), whole);
    if whole.1.is_ok() {
        // What follows the final boundary's line changes nothing.
        let longer = [body, b"\r\n--B\r\nA: 1\r\n\r\n"].concat();
        let again = hear(std::iter::once(Bytes::from(longer)));
        assert!(again == whole || again.1.is_err(), "an epilogue was heard");
    }
});
