//! What runs tell of an image beside its variants.

use super::*;
use crate::facts::Swatch;

fn facts_of(bytes: &[u8], texts: &[&str]) -> Facts {
    let limits = Limits::default();
    let found = probe(&mut Cursor::new(bytes), &limits).unwrap();
    let plan = plan(&found, &specs(texts), &limits).unwrap().with_facts().unwrap();
    let cancel = AtomicBool::new(false);
    let report = run(&plan, bytes, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| {
        outcome.result.unwrap();
    });
    let report = report.unwrap();
    assert!(report.peak_bytes <= plan.memory_bytes(bytes.len() as u64));
    report.facts.unwrap()
}

/// Left three quarters orange, the rest blue.
fn flag(layout: Layout) -> Pixels {
    crate::stage::samples::picture(400, 100, layout, |x, _, channel| match (x < 300, channel) {
        (_, 3) => 255,
        (true, channel) => [240, 120, 10][channel],
        (false, channel) => [10, 20, 200][channel],
    })
}

#[test]
fn facts_are_those_of_the_picture_as_shown() {
    let file = png(&flag(Layout::Rgb8));
    let facts = facts_of(&file, &["w:20/c:10:10"]);
    let colours: Vec<[u8; 3]> = facts.palette.iter().map(|swatch| swatch.colour.0).collect();
    assert_eq!(colours, [[240, 120, 10], [10, 20, 200]]);
    assert_eq!(facts.palette.iter().map(|swatch| swatch.share).collect::<Vec<_>>(), [0.75, 0.25]);
    assert_eq!((facts.bits, facts.channels, facts.has_alpha, facts.frames), (8, 3, false, Some(1)));
    assert_eq!((facts.blurhash.len(), &facts.blurhash[..1]), (28, "L"));
    // The top bits of a landscape's second half say so; none is transparent.
    assert_eq!((facts.thumbhash[4] >> 7, facts.thumbhash[2] >> 7), (1, 0));
    // Turned by a quarter it is a portrait: 3 by 4.
    let mut turned = encode(&flag(Layout::Rgb8), OutputFormat::Jpeg, 95).unwrap();
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\x03Ed\0\0\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let segment = [&[0xff, 0xe1][..], &((exif.len() + 2) as u16).to_be_bytes(), exif].concat();
    turned.splice(2..2, segment);
    let facts = facts_of(&turned, &["w:20"]);
    assert_eq!((&facts.blurhash[..1], facts.thumbhash[4] >> 7), ("T", 0));
    assert_eq!(facts.camera.unwrap().make.as_deref(), Some("Ed"));
}

#[test]
fn facts_do_not_depend_on_what_is_made_beside_them() {
    let file = png(&picture_of(640, 480, Layout::Rgb8));
    let first = facts_of(&file, &["w:320"]);
    for texts in [&[][..], &["w:640"], &["w:100/h:100/rt:fill", "bl:3"], &["gray:1"], &["rot:90"]] {
        assert_eq!(facts_of(&file, texts), first, "{texts:?}");
    }
    // Of a JPEG the rows may be of a smaller decode: the same but for the last bits.
    let file = encode(&flag(Layout::Rgb8), OutputFormat::Jpeg, 95).unwrap();
    let [large, small] = ["w:400", "w:20"].map(|text| facts_of(&file, &[text]).palette);
    let apart =
        |a: &Swatch, b: &Swatch| a.colour.0.iter().zip(b.colour.0).all(|(a, b)| a.abs_diff(b) < 8) && (a.share - b.share).abs() < 0.05;
    assert!(large.iter().zip(&small).all(|(a, b)| apart(a, b)), "{large:?} {small:?}");
}

#[test]
fn what_is_transparent_has_no_colour_but_shows_in_the_hash() {
    let clear = crate::stage::samples::picture(64, 64, Layout::Rgba8, |x, _, channel| match channel {
        3 if x < 32 => 0,
        3 => 255,
        _ => {
            if x < 32 {
                200
            } else {
                10
            }
        }
    });
    let facts = facts_of(&png(&clear), &["w:20"]);
    assert_eq!(facts.palette.len(), 1);
    assert_eq!((facts.has_alpha, facts.thumbhash[2] >> 7), (true, 1));
    let none = Pixels::new(1, 1, Layout::Rgba8, vec![1, 2, 3, 0]).unwrap();
    assert!(facts_of(&png(&none), &[]).palette.is_empty());
}

#[test]
fn without_being_asked_nothing_is_told() {
    let (_, report, plan) = process(&png(&flag(Layout::Rgb8)), &["w:20"], &Limits::default()).unwrap();
    assert_eq!(report.facts, None);
    assert!(plan.clone().with_facts().unwrap().memory_bytes(0) > plan.memory_bytes(0) || plan.memory_bytes(0) > 0);
    let limits = Limits { max_memory_bytes: plan.memory_bytes(0), ..Limits::default() };
    let found = probe(&mut Cursor::new(&png(&picture_of(9, 9, Layout::Rgb8))), &limits).unwrap();
    let small = crate::plan::plan(&found, &[], &limits).unwrap();
    assert!(small.clone().with_facts().unwrap().memory_bytes(0) > small.memory_bytes(0));
}

#[test]
fn the_format_is_chosen_by_the_result() {
    let photo = encode(&picture_of(200, 150, Layout::Rgb8), OutputFormat::Jpeg, 90).unwrap();
    for (file, text, want) in [
        (&photo, "f:auto", OutputFormat::Jpeg),
        (&photo, "f:auto/pix:50", OutputFormat::Png),
        (&png(&flag(Layout::Rgba8)), "f:auto/w:100", OutputFormat::Png),
    ] {
        let encoded = one(file, text);
        assert_eq!(encoded.format, want, "{text}");
        assert_eq!(image::guess_format(&encoded.bytes).unwrap().to_mime_type(), want.media_type());
        // Lossy ones may be written from other planes where their format is known before.
        let said = one(file, &text.replace("auto", want.extension()));
        assert!(want != OutputFormat::Png || said.bytes == encoded.bytes, "{text}");
    }
}
