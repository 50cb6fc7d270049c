//! What phones put beside a picture: gain maps (Ultra HDR), further pictures (MPO), films (motion photos). Made here, segment by segment.
//!
//! Held: the first picture is the picture, to the byte of what it is without them, and nothing of the rest reaches a variant.

use super::*;

/// A JPEG's segment.
fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    [&[0xff, marker][..], &(body.len() as u16 + 2).to_be_bytes(), body].concat()
}

fn xmp(text: &str) -> Vec<u8> {
    segment(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", text.as_bytes()].concat())
}

/// CIPA DC-007: an index of two pictures, the second of so many bytes, so far behind this block's byte order mark.
fn multi_picture(first_bytes: u32, second_bytes: u32, second_at: u32) -> Vec<u8> {
    let mut body = b"MPF\0MM\0*\0\0\0\x08\0\x03".to_vec();
    for (tag, kind, count, value) in
        [(0xb000_u16, 7_u16, 4_u32, *b"0100"), (0xb001, 4, 1, 2_u32.to_be_bytes()), (0xb002, 7, 32, 50_u32.to_be_bytes())]
    {
        body.extend(tag.to_be_bytes());
        body.extend(kind.to_be_bytes());
        body.extend(count.to_be_bytes());
        body.extend(value);
    }
    body.extend([0; 4]);
    for (attribute, bytes, at) in [(0x2003_0000_u32, first_bytes, 0), (0, second_bytes, second_at)] {
        for word in [attribute, bytes, at] {
            body.extend(word.to_be_bytes());
        }
        body.extend([0; 4]);
    }
    segment(0xe2, &body)
}

const GAIN_MAP: &str = r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description hdrgm:Version="1.0" hdrgm:GainMapMax="2" Item:Semantic="GainMap"/></x:xmpmeta>"#;
const MOTION: &str =
    r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="64"/></x:xmpmeta>"#;
/// The beginning of a film, and what would tell that it had been copied.
const FILM: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42\0\0\0\x18mdatTHE-FILM-ITSELF";

/// The picture alone, and what phones make of it.
fn cases() -> (Vec<u8>, Vec<(&'static str, Vec<u8>)>) {
    let plain = encode(&picture_of(96, 64, Layout::Rgb8), OutputFormat::Jpeg, 90).unwrap();
    let second = encode(&picture_of(48, 32, Layout::Rgb8), OutputFormat::Jpeg, 50).unwrap();
    let behind = |segments: &[u8]| [&plain[..2], segments, &plain[2..]].concat();
    let with_second = |before: &[u8], second: &[u8]| {
        let index = multi_picture(0, second.len() as u32, 0).len();
        let first_bytes = (plain.len() + before.len() + index) as u32;
        // Counted from the byte order mark: behind SOI, what is before, the marker, the length and the name.
        let at = first_bytes - (2 + before.len() + 4 + 4) as u32;
        [behind(&[before, &multi_picture(first_bytes, second.len() as u32, at)].concat()), second.to_vec()].concat()
    };
    let gain_map = [&second[..2], &xmp(GAIN_MAP), &second[2..]].concat();
    let files = vec![
        ("Ultra HDR", with_second(&xmp(GAIN_MAP), &gain_map)),
        ("MPO", with_second(&[], &second)),
        ("motion photo", [behind(&xmp(MOTION)), FILM.to_vec()].concat()),
        ("all of it", [with_second(&xmp(GAIN_MAP), &gain_map), FILM.to_vec()].concat()),
    ];
    (plain, files)
}

#[test]
fn the_first_picture_is_the_picture_and_the_rest_is_dropped() {
    let (plain, files) = cases();
    let mut looked_at = 0;
    for (name, source) in &files {
        let found = probe(&mut Cursor::new(source), &Limits::default()).unwrap();
        assert_eq!((found.format, found.display_size(), found.frames), (crate::Format::Jpeg, (96, 64), Some(1)), "{name}");
        for format in ["jpg", "png", "webp", "avif", "gif"] {
            for options in ["", "kcr:1", "sm:0", "scp:0/sm:0"] {
                let made = one(source, &format!("{options}/f:{format}")).bytes;
                for left in [&b"MPF\0"[..], b"hdrgm", b"GainMap", b"MotionPhoto", b"MicroVideo", b"ftypmp42", b"THE-FILM"] {
                    assert!(
                        !made.windows(left.len()).any(|window| window == left),
                        "{name} to {format} {options}: {}",
                        left.escape_ascii()
                    );
                }
                if options.is_empty() {
                    assert!(made == one(&plain, &format!("f:{format}")).bytes, "{name} to {format}");
                }
                looked_at += 1;
            }
        }
    }
    assert_eq!(looked_at, 4 * 5 * 4);
}

/// Real ones of the corpus: what they carry, and that a variant does not.
#[test]
fn corpus_of_gain_maps() {
    let Some(files) = crate::codec::tests::corpus("img-avif") else { return };
    let holds = |file: &[u8], wanted: &[u8]| file.windows(wanted.len()).any(|window| window == wanted);
    let mut carried = 0;
    for (name, bytes) in files.iter().filter(|(name, _)| name.contains("gainmap") && name.ends_with(".jpg")) {
        let marks: [&[u8]; 3] = [b"MPF\0", b"hdrgm", b"HDRGainMap"];
        let has = marks.iter().filter(|mark| holds(bytes, mark)).count();
        assert!(has > 0, "{name} carries nothing");
        for options in ["f:jpg", "f:jpg/sm:0/kcr:1", "f:webp/sm:0", "f:png/sm:0"] {
            let made = one(bytes, &format!("rs:fit:200:200/{options}")).bytes;
            assert!(!marks.iter().any(|mark| holds(&made, mark)), "{name} {options}");
        }
        carried += 1;
    }
    println!("img-avif: {carried} JPEGs with gain maps");
    assert!(carried >= 6, "{carried}");
}
