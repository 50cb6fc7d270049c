//! The parser against a slow obvious twin, in every cut, and against bodies written to make readers disagree.

use std::time::Instant;

use proptest::prelude::*;

use super::*;

/// Events with adjacent data put together, and how it ended.
type Heard = (Vec<Told>, Result<(), Fault>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Part(Vec<(Vec<u8>, Vec<u8>)>),
    Data(Vec<u8>),
    PartEnd,
    End,
}

fn tell(told: &mut Vec<Told>, event: Event) {
    match event {
        Event::Part(head) => {
            told.push(Told::Part(head.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()));
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

/// What the parser says of a body that comes in these pieces.
fn hear(boundary: &str, pieces: impl IntoIterator<Item = Bytes>) -> Heard {
    let mut parser = PushParser::new(boundary);
    let mut told = Vec::new();
    for mut input in pieces {
        loop {
            match parser.next(&mut input) {
                Ok(Some(event)) => tell(&mut told, event),
                Ok(None) => break assert!(input.is_empty()),
                Err(fault) => {
                    assert_eq!(parser.next(&mut Bytes::new()), Err(fault), "a fault stays");
                    assert_eq!(parser.finish(), Err(fault));
                    return (told, Err(fault));
                }
            }
        }
    }
    (told, parser.finish())
}

fn pieces(body: &[u8], size: usize) -> impl Iterator<Item = Bytes> {
    body.chunks(size).map(Bytes::copy_from_slice)
}

fn cut(mut body: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for &size in sizes {
        let (piece, rest) = body.split_at(size.min(body.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        body = rest;
    }
    pieces.push(Bytes::copy_from_slice(body));
    pieces
}

/// The same reading, of a whole body, by looking for everything from its beginning.
fn twin(boundary: &str, body: &[u8]) -> Heard {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
    let text = [b"\r\n", body].concat();
    let (mut told, mut part) = (Vec::new(), 0);
    let fault = |part, flaw| Err(Fault { part, flaw });
    // The imagined line end is not counted.
    let preamble = find(&text, &delimiter).unwrap_or_else(|| text.len() - held(&text, &delimiter)).saturating_sub(2);
    if preamble > MAX_PREAMBLE_BYTES {
        return (told, fault(0, Flaw::NoBoundary));
    }
    let Some(first) = find(&text, &delimiter) else { return (told, fault(0, Flaw::EndsBeforeParts)) };
    let mut rest = &text[first + delimiter.len()..];
    loop {
        // Behind a boundary.
        if rest == b"-" {
            return (told, fault(part, Flaw::EndsAtBoundary));
        }
        let last = rest.starts_with(b"--");
        if last {
            told.push(Told::End);
            rest = &rest[2..];
        }
        let blanks = rest.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
        if blanks > MAX_PADDING_BYTES {
            return (told, fault(part, Flaw::Padding));
        }
        rest = &rest[blanks..];
        let wrong = match rest {
            [] | [b'\r'] => {
                return (told, if last { Ok(()) } else { fault(part, Flaw::EndsAtBoundary) });
            }
            [b'\r', b'\n', ..] => None,
            [b'\r', byte, ..] => Some(*byte),
            // A dash alone: what follows it is at fault.
            [b'-', byte, ..] if !last && blanks == 0 => Some(*byte),
            [byte, ..] => Some(*byte),
        };
        match (wrong, last) {
            (Some(byte), true) => return (told, fault(part, Flaw::AfterEnd(byte))),
            (Some(byte), false) => return (told, fault(part, Flaw::AfterBoundary(byte))),
            (None, true) => return (told, Ok(())),
            (None, false) => rest = &rest[2..],
        }
        // Lines of the head.
        part += 1;
        let (mut fields, mut head_bytes) = (Vec::new(), 0);
        loop {
            let Some(end) = find(rest, b"\n") else {
                return (told, fault(part, if head_bytes + rest.len() > MAX_HEAD_BYTES { Flaw::HeadTooLong } else { Flaw::EndsInHead }));
            };
            let line;
            (line, rest) = rest.split_at(end + 1);
            head_bytes += line.len();
            if head_bytes > MAX_HEAD_BYTES {
                return (told, fault(part, Flaw::HeadTooLong));
            }
            let Some(line) = line.strip_suffix(b"\r\n") else { return (told, fault(part, Flaw::BareLineFeed)) };
            if line.is_empty() {
                break;
            }
            match twin_header(line, fields.len()) {
                Ok(field) => fields.push(field),
                Err(flaw) => return (told, fault(part, flaw)),
            }
        }
        if rest.is_empty() {
            // The parser speaks when the empty line is there, and so does this.
            told.push(Told::Part(fields));
            return (told, fault(part, Flaw::EndsInData));
        }
        told.push(Told::Part(fields));
        if rest.starts_with(&delimiter[2..]) {
            return (told, fault(part, Flaw::DataAreBoundary));
        }
        let Some(end) = find(rest, &delimiter) else {
            // What may begin a boundary, here or as if behind a line end, is not given out.
            let data = if delimiter[2..].starts_with(rest) { &[][..] } else { &rest[..rest.len() - held(rest, &delimiter)] };
            if !data.is_empty() {
                told.push(Told::Data(data.to_vec()));
            }
            return (told, fault(part, Flaw::EndsInData));
        };
        if end > 0 {
            told.push(Told::Data(rest[..end].to_vec()));
        }
        told.push(Told::PartEnd);
        rest = &rest[end + delimiter.len()..];
    }
}

/// How many bytes at the end of `text` may begin a delimiter.
fn held(text: &[u8], delimiter: &[u8]) -> usize {
    (0..delimiter.len()).rev().find(|&n| text.ends_with(&delimiter[..n])).unwrap_or(0)
}

fn twin_header(line: &[u8], before: usize) -> Result<(Vec<u8>, Vec<u8>), Flaw> {
    let text: String = line.iter().map(|&b| char::from(b)).collect();
    if text.contains('\r') {
        return Err(Flaw::BareCarriageReturn);
    }
    if text.starts_with([' ', '\t']) {
        return Err(Flaw::Folded);
    }
    if before == MAX_HEADERS {
        return Err(Flaw::TooManyHeaders);
    }
    let (name, value) = text.split_once(':').ok_or(Flaw::NoHeader)?;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)) {
        return Err(Flaw::NoHeader);
    }
    let names = name.eq_ignore_ascii_case("Content-Disposition");
    if let Some(control) = value.chars().find(|&c| c == '\0' || (!names && c != '\t' && c.is_ascii_control())) {
        return Err(Flaw::Control(control as u8));
    }
    let bytes = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).expect("one byte")).collect();
    Ok((bytes(name), bytes(value.trim_matches([' ', '\t']))))
}

/// The same in every one of these cuts and by the twin.
fn heard(boundary: &str, body: &[u8]) -> Heard {
    let want = twin(boundary, body);
    for size in [1, 2, 3, 7, 13, 4096, body.len().max(1)] {
        if size < 7 && body.len() > 100_000 {
            continue;
        }
        assert_eq!(hear(boundary, pieces(body, size)), want, "in pieces of {size}");
    }
    want
}

fn flaw(body: &[u8]) -> Flaw {
    heard("B", body).1.expect_err("refused").flaw
}

fn header(name: &str, value: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    vec![(name.as_bytes().to_vec(), value.as_bytes().to_vec())]
}

#[test]
fn a_form_is_told_part_by_part() {
    let body = b"ignored\r\n--B \t\r\nA:  1 \r\n\r\nfirst\r\n--B\r\nb: 2\r\n\r\n\r\n--B\r\n\r\nthird\r\n--B--\t \r\nepilogue\r\n--B\r\n";
    let (told, end) = heard("B", body);
    assert_eq!(end, Ok(()));
    let data = |text: &str| Told::Data(text.as_bytes().to_vec());
    assert_eq!(
        told,
        [
            Told::Part(header("A", "1")),
            data("first"),
            Told::PartEnd,
            Told::Part(header("b", "2")),
            Told::PartEnd,
            Told::Part(Vec::new()),
            data("third"),
            Told::PartEnd,
            Told::End
        ]
    );
}

#[test]
fn the_final_boundary_alone_is_an_empty_form() {
    for body in [&b"--B--"[..], b"--B--\r", b"--B--\r\n", b"--B-- \t", b"\r\n--B--", b"text\r\n\r\n--B--\r\nmore"] {
        assert_eq!(heard("B", body), (vec![Told::End], Ok(())));
    }
}

#[test]
fn data_that_look_like_boundaries_are_kept() {
    for data in
        ["\r", "\n", "\r\n", "\r\r\n-", "\r\n-B", "\r\n--A", "\n--B--", "x--B--", "\r--B\r\n", "\r\n\r\n--", "--A", "-", "\r\n--\r\n--"]
    {
        let (told, end) = heard("B", format!("--B\r\n\r\n{data}\r\n--B--").as_bytes());
        assert_eq!(end, Ok(()), "{data:?}");
        assert_eq!(told[1], Told::Data(data.as_bytes().to_vec()));
    }
    // A boundary that is the beginning of itself.
    let (told, _) = heard("--BB", b"----BB\r\n\r\n\r\n----B\r\n----\r\n----B\r\n----BB--");
    assert_eq!(told[1], Told::Data(b"\r\n----B\r\n----\r\n----B".to_vec()));
}

#[test]
fn where_readers_would_disagree_it_is_refused() {
    for (body, want) in [
        (&b""[..], Flaw::EndsBeforeParts),
        (b"--A\r\n", Flaw::EndsBeforeParts),
        (b"x--B--", Flaw::EndsBeforeParts),
        (b"\n--B--", Flaw::EndsBeforeParts),
        (b"--B", Flaw::EndsAtBoundary),
        (b"--B-", Flaw::EndsAtBoundary),
        (b"--B \r", Flaw::EndsAtBoundary),
        (b"--Bx", Flaw::AfterBoundary(b'x')),
        (b"--B\n", Flaw::AfterBoundary(b'\n')),
        (b"--B\rx", Flaw::AfterBoundary(b'x')),
        (b"--B -- ", Flaw::AfterBoundary(b'-')),
        (b"--B-x", Flaw::AfterBoundary(b'x')),
        (b"--B--x", Flaw::AfterEnd(b'x')),
        (b"--B---", Flaw::AfterEnd(b'-')),
        (b"--B--\n", Flaw::AfterEnd(b'\n')),
        (b"--B--\rx", Flaw::AfterEnd(b'x')),
        (b"--B\r\n\r\ndata\r\n--Bxyz\r\n--B--", Flaw::AfterBoundary(b'x')),
        (b"--B\r\n\r\n--B--", Flaw::DataAreBoundary),
        (b"--B\r\n\r\n", Flaw::EndsInData),
        (b"--B\r\n\r\n--", Flaw::EndsInData),
        (b"--B\r\n\r\ndata\r\n--", Flaw::EndsInData),
        (b"--B\r\n\r\ndata--B--", Flaw::EndsInData),
        (b"--B\r\n\r\ndata\n--B--", Flaw::EndsInData),
        (b"--B\r\nA: 1\r\n", Flaw::EndsInHead),
        (b"--B\r\nA: 1\r\n\r", Flaw::EndsInHead),
        (b"--B\r\nA: 1\n\r\n", Flaw::BareLineFeed),
        (b"--B\r\nA: 1\r\n\n", Flaw::BareLineFeed),
        (b"--B\r\n\n", Flaw::BareLineFeed),
        (b"--B\r\nA: 1\r2\r\n", Flaw::BareCarriageReturn),
        (b"--B\r\nA: 1\r\r\n", Flaw::BareCarriageReturn),
        (b"--B\r\nA: 1\r\n\rx\r\n", Flaw::BareCarriageReturn),
        (b"--B\r\nA: 1\r\n 2\r\n", Flaw::Folded),
        (b"--B\r\n\tA: 1\r\n", Flaw::Folded),
        (b"--B\r\nA\r\n", Flaw::NoHeader),
        (b"--B\r\n: 1\r\n", Flaw::NoHeader),
        (b"--B\r\nA : 1\r\n", Flaw::NoHeader),
        (b"--B\r\nA\x1b: 1\r\n", Flaw::NoHeader),
        (b"--B\r\n<A>: 1\r\n", Flaw::NoHeader),
        (b"--B\r\n\xc3\xa4: 1\r\n", Flaw::NoHeader),
        (b"--B\r\nA: 1\r\n--B--\r\n", Flaw::NoHeader),
        (b"--B\r\nA: \0\r\n", Flaw::Control(0)),
        (b"--B\r\nA: \x1b\r\n", Flaw::Control(0x1b)),
        (b"--B\r\nA: \x7f\r\n", Flaw::Control(0x7f)),
        (b"--B\r\nContent-Disposition: form-data; name=\"\0\"\r\n", Flaw::Control(0)),
    ] {
        assert_eq!(flaw(body), want, "{:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn control_characters_pass_in_the_disposition_alone() {
    let value = "form-data; name=\"\u{1}\t\u{b}\u{c}\u{1b}\u{7f}\"; filename=\"ä\"";
    let (told, end) = heard("B", format!("--B\r\ncontent-DISPOSITION:{value}\r\nA:\ta\tä\t\r\n\r\n\r\n--B--").as_bytes());
    assert_eq!(end, Ok(()));
    assert_eq!(told[0], Told::Part([header("content-DISPOSITION", value), header("A", "a\tä")].concat()));
}

#[test]
fn limits_are_exact() {
    let fits = |body: &[u8]| heard("B", body).1 == Ok(());
    for (over, fits_it) in [(0, true), (1, false)] {
        let preamble = [&vec![b'p'; MAX_PREAMBLE_BYTES + over][..], b"\r\n--B--"].concat();
        assert_eq!(fits(&preamble), fits_it);
        let padded = |end: &str| format!("--B{}{}", end, " ".repeat(MAX_PADDING_BYTES + over)).into_bytes();
        assert_eq!(fits(&padded("--")), fits_it);
        assert_eq!(fits(&[&padded("")[..], b"\r\n\r\n\r\n--B--"].concat()), fits_it);
        let head = format!("A: {}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES - 7 + over));
        assert_eq!(head.len(), MAX_HEAD_BYTES + over);
        assert_eq!(fits(format!("--B\r\n{head}\r\n--B--").as_bytes()), fits_it);
        let many = "A: 1\r\n".repeat(MAX_HEADERS + over);
        assert_eq!(fits(format!("--B\r\n{many}\r\n\r\n--B--").as_bytes()), fits_it);
        // The limit is a part's: the next one has its own.
        let two = format!("--B\r\n{many}\r\n1\r\n--B\r\n{many}\r\n2\r\n--B--");
        assert_eq!(fits(two.as_bytes()), fits_it);
    }
    // Refused when it is clear, not when it ends.
    assert_eq!(flaw(&[b'p'; MAX_PREAMBLE_BYTES + 2]), Flaw::NoBoundary);
    assert_eq!(flaw(&[&b"--B\r\n"[..], &[b'h'; MAX_HEAD_BYTES + 1]].concat()), Flaw::HeadTooLong);
    assert_eq!(flaw(&[&b"--B"[..], &[b'\t'; MAX_PADDING_BYTES + 1]].concat()), Flaw::Padding);
}

#[test]
fn faults_say_what_and_where() {
    for (body, want) in [
        (&b"--B\r\n\r\n1\r\n--B\r\nA: 1\n\r\n"[..], "part 2: a header ends in a line feed without a carriage return"),
        (b"--Bq", "before the first part: a line begins with the boundary and goes on with byte 0x71, allowed is its end or --"),
        (b"--B\r\n\r\n1\r\n--B-", "the body ends in a boundary after part 1"),
        (b"--B\r\n\r\n1\r\n--B--!", "after part 1: the final boundary is followed by byte 0x21, allowed is a line end"),
        (b"--B\r\n\r\n1", "the body ends in the data of part 1, before the final boundary"),
        (b"B", "the body ends before its first boundary"),
    ] {
        assert_eq!(heard("B", body).1.expect_err("refused").to_string(), want);
    }
    let over = heard("B", &[b'p'; MAX_PREAMBLE_BYTES + 100]).1.expect_err("refused");
    assert_eq!((over.to_string().as_str(), over.limit()), ("no boundary in the first 65536 bytes of the body", Some(65_536)));
}

#[test]
fn data_are_slices_of_what_came_in() {
    let mut parser = PushParser::new("B");
    let mut input = Bytes::from_static(b"--B\r\n\r\n");
    assert!(matches!(parser.next(&mut input), Ok(Some(Event::Part(_)))));
    let whole = Bytes::from(vec![b'x'; 100_000]);
    let mut input = whole.clone();
    let Ok(Some(Event::Data(data))) = parser.next(&mut input) else { panic!("data") };
    assert_eq!((data.as_ptr(), data.len()), (whole.as_ptr(), whole.len()));
    assert!(input.is_empty());
}

/// CVE-2016-3092, CVE-2023-46136 and kin: what made other parsers go over the same bytes again and again.
#[test]
fn hostile_bodies_cost_what_plain_ones_do() {
    const BYTES: usize = 8 << 20;
    let long = "b".repeat(70);
    let near = format!("\r\n--{}", &long[..69]);
    let head = |boundary: &str| format!("--{boundary}\r\n\r\n").into_bytes();
    let fill = |unit: &[u8]| unit.repeat(BYTES / unit.len() + 1);
    for piece in [1460, 8191, 8192, 8193, 65_536, BYTES] {
        for (what, unit) in [
            ("plain", &b"abcdefgh"[..]),
            ("CR", b"\r"),
            ("LF", b"\n"),
            ("CRLF", b"\r\n"),
            ("dashes", b"\r\n--"),
            ("near", near.as_bytes()),
            ("b", b"b"),
        ] {
            let body = [head(&long), fill(unit)].concat();
            let start = Instant::now();
            let mut parser = PushParser::new(&long);
            let mut given = 0;
            for mut input in pieces(&body, piece) {
                while let Some(event) = parser.next(&mut input).expect("data") {
                    if let Event::Data(bytes) = event {
                        given += bytes.len();
                    }
                }
            }
            assert!(given >= BYTES - near.len(), "{what} in {piece}: {given}");
            // Minutes if it were quadratic, hundredths of a second as it is.
            assert!(start.elapsed().as_secs() < 5, "{what} in {piece}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn boundaries_as_long_as_a_buffer_are_found() {
    for boundary in ["b", &"b".repeat(69), &"b".repeat(70), "'()+_,-./:=? x", "----WebKitFormBoundary0123456789abcdef"] {
        let data = format!("\r\n--{}", &boundary[..boundary.len() - 1]).repeat(3);
        let body = format!("--{boundary}\r\nA: 1\r\n\r\n{data}\r\n--{boundary}--\r\n");
        let (told, end) = heard(boundary, body.as_bytes());
        assert_eq!((told.get(1), end), (Some(&Told::Data(data.into_bytes())), Ok(())), "{boundary}");
    }
}

/// Pieces of forms, right and wrong.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        4 => Just(b"\r\n--B".to_vec()),
        2 => Just(b"--B".to_vec()),
        3 => Just(b"\r\n".to_vec()),
        2 => Just(b"\r\n\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"\n".to_vec()),
        2 => Just(b"--".to_vec()),
        1 => Just(b"-".to_vec()),
        1 => Just(b" \t".to_vec()),
        2 => Just(b"\r\n--B\r\nA: 1\r\n\r\n".to_vec()),
        2 => Just(b"Content-Disposition: form-data; name=\"\x1b\"".to_vec()),
        1 => Just(b"X: \0".to_vec()),
        1 => Just(b": ".to_vec()),
        2 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(fragment, 0..24).prop_map(|fragments| fragments.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_twin_agrees_in_any_cut(body in fragments(), opened in any::<bool>(), sizes in proptest::collection::vec(0_usize..30, 0..60)) {
        let body = if opened { [b"--B\r\nA: 1\r\n\r\n", &body[..], b"\r\n--B--"].concat() } else { body };
        let want = twin("B", &body);
        prop_assert_eq!(&hear("B", cut(&body, &sizes)), &want);
        prop_assert_eq!(&hear("B", pieces(&body, 1)), &want);
        prop_assert_eq!(&hear("B", [Bytes::copy_from_slice(&body)]), &want);
    }

    #[test]
    fn what_was_put_in_comes_out(
        parts in proptest::collection::vec((("[A-Za-z-]{1,10}", "[!-~]([ -~]{0,20}[!-~])?"), proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'B'), any::<u8>()], 0..300)), 0..5),
        sizes in proptest::collection::vec(0_usize..100, 0..40),
    ) {
        let clean = |data: &[u8]| !data.starts_with(b"--B") && !data.windows(5).any(|window| window == b"\r\n--B");
        prop_assume!(parts.iter().all(|(_, data)| clean(data)));
        let (mut body, mut want) = (Vec::new(), Vec::new());
        for ((name, value), data) in &parts {
            body.extend_from_slice(format!("--B\r\n{name}: {value}\r\n\r\n").as_bytes());
            body.extend_from_slice(data);
            body.extend_from_slice(b"\r\n");
            want.push(Told::Part(header(name, value)));
            if !data.is_empty() {
                want.push(Told::Data(data.clone()));
            }
            want.push(Told::PartEnd);
        }
        body.extend_from_slice(b"--B--\r\n");
        want.push(Told::End);
        prop_assert_eq!(hear("B", cut(&body, &sizes)), (want, Ok(())));
    }
}
