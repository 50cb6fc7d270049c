//! What leaves with a variant beside its pixels: looked for by another reader of Exif, and as bytes.

use super::*;
use crate::{codec::webp, metadata::Written};

/// Whatever must never leave says so.
const LEAK: &[u8] = b"MUSTSTAY";
const XMP: &str = r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description exif:GPSLatitude="MUSTSTAY"><photoshop:Credit>Agency</photoshop:Credit></rdf:Description></x:xmpmeta>"#;

/// A directory: entries by tag, type, count and value, and the place of the next one.
fn directory(at: u32, entries: &[(u16, u16, u32, Vec<u8>)], next: u32) -> Vec<u8> {
    let mut values: Vec<u8> = Vec::new();
    let mut out = (entries.len() as u16).to_be_bytes().to_vec();
    let behind = at + 2 + 12 * entries.len() as u32 + 4;
    for (tag, kind, count, value) in entries {
        out.extend(tag.to_be_bytes());
        out.extend(kind.to_be_bytes());
        out.extend(count.to_be_bytes());
        if value.len() <= 4 {
            out.extend(value);
            out.resize(out.len() + 4 - value.len(), 0);
        } else {
            out.extend((behind + values.len() as u32).to_be_bytes());
            values.extend(value);
        }
    }
    out.extend(next.to_be_bytes());
    out.extend(values);
    out
}

/// A camera's block: what may leave, and a place, a thumbnail, a maker's note, a comment and serial numbers, which may not.
fn planted(orientation: Orientation) -> Vec<u8> {
    let text = |tag, text: &str| (tag, 2, text.len() as u32 + 1, [text.as_bytes(), &[0]].concat());
    let hidden = |tag, kind| (tag, kind, 2 * LEAK.len() as u32, LEAK.repeat(2));
    let long = |tag, value: u32| (tag, 4, 1, value.to_be_bytes().to_vec());
    let (camera_at, place_at, thumbnail_at) = (600, 1400, 2000);
    let picture = directory(
        8,
        &[
            text(0x010f, "Maker"),
            (0x0112, 3, 1, u16::from(orientation.exif()).to_be_bytes().to_vec()),
            text(0x013b, "Ann"),
            hidden(0x02bc, 1),
            text(0x8298, "(c) Ann"),
            long(0x8769, camera_at),
            long(0x8825, place_at),
            hidden(0xc4a5, 7),
        ],
        thumbnail_at,
    );
    let camera = directory(
        camera_at,
        &[
            (0x8827, 3, 1, 400_u16.to_be_bytes().to_vec()),
            text(0x9003, "2024:05:06 07:08:09"),
            hidden(0x927c, 7),
            hidden(0x9286, 7),
            (0xa001, 3, 1, u16::MAX.to_be_bytes().to_vec()),
            hidden(0xa430, 2),
            hidden(0xa431, 2),
            text(0xa434, "A lens"),
            hidden(0xa435, 2),
        ],
        0,
    );
    let place = directory(place_at, &[hidden(0x0002, 5), hidden(0x001b, 7)], 0);
    let thumbnail = directory(thumbnail_at, &[long(0x0201, 2100), long(0x0202, 2 * LEAK.len() as u32)], 0);
    let mut block = b"MM\0*\0\0\0\x08".to_vec();
    for (at, part) in [(8, picture), (camera_at, camera), (place_at, place), (thumbnail_at, thumbnail), (2100, LEAK.repeat(2))] {
        assert!(block.len() <= at as usize, "{} bytes before {at}", block.len());
        block.resize(at as usize, 0);
        block.extend(part);
    }
    block
}

/// A picture that carries them, in every format that can.
fn sources(orientation: Orientation) -> Vec<(&'static str, Vec<u8>)> {
    let (pixels, exif) = (picture_of(48, 32, Layout::Rgb8), planted(orientation));
    let jpeg = encode(&pixels, OutputFormat::Jpeg, 90).unwrap();
    let segment =
        |name: &[u8], body: &[u8]| [&[0xff, 0xe1][..], &((2 + name.len() + body.len()) as u16).to_be_bytes(), name, body].concat();
    let jpeg = [&jpeg[..2], &segment(b"Exif\0\0", &exif), &segment(b"http://ns.adobe.com/xap/1.0/\0", XMP.as_bytes()), &jpeg[2..]].concat();
    let mut png = Vec::new();
    let mut info = ::png::Info::with_size(48, 32);
    info.exif_metadata = Some(exif.clone().into());
    let mut encoder = ::png::Encoder::with_info(&mut png, info).unwrap();
    encoder.set_color(::png::ColorType::Rgb);
    encoder.add_itxt_chunk("XML:com.adobe.xmp".to_owned(), XMP.to_owned()).unwrap();
    encoder.add_text_chunk("Comment".to_owned(), "MUSTSTAY".to_owned()).unwrap();
    encoder.write_header().unwrap().write_image_data(&pixels.bytes).unwrap();
    let written = Written { exif: Some(exif), xmp: Some(XMP.to_owned()), profile: None };
    let webp = webp::with_blocks(encode(&pixels, OutputFormat::WebP, 90).unwrap(), pixels.shape(), &written);
    vec![("jpeg", jpeg), ("png", png), ("webp", webp)]
}

fn holds(file: &[u8], bytes: &[u8]) -> bool {
    file.windows(bytes.len()).any(|window| window == bytes)
}

fn exif_of(file: &[u8]) -> Option<exif::Exif> {
    exif::Reader::new().read_from_container(&mut Cursor::new(file)).ok()
}

#[test]
fn nothing_leaves_unasked_and_what_is_asked_for_leaves_clean() {
    let mut looked_at = 0;
    for (name, source) in sources(Orientation::Rotate90) {
        assert!(holds(&source, LEAK), "{name}: something is planted");
        for format in ["jpg", "png", "webp"] {
            for (options, kept) in [("", 0), ("kcr:1", 1), ("sm:0", 2), ("sm:0/kcr:1", 2), ("sm:1/kcr:0", 0)] {
                let case = format!("{name} to {format} {options}");
                let file = one(&source, &format!("rs:fit:30:30/f:{format}/{options}")).bytes;
                looked_at += 1;
                assert!(!holds(&file, LEAK), "{case}");
                let opened = image::load_from_memory(&file).unwrap_or_else(|error| panic!("{case}: {error}"));
                // Turned: the tag that said so must not be there to turn it again.
                assert_eq!((opened.width(), opened.height()), (20, 30), "{case}");
                let exif = exif_of(&file);
                let text = |tag| exif.as_ref()?.get_field(tag, exif::In::PRIMARY).map(|field| field.display_value().to_string());
                let shown = |text: &str| Some(format!("\"{text}\"")).filter(|_| kept > 0);
                assert_eq!(text(exif::Tag::Copyright), shown("(c) Ann"), "{case}");
                assert_eq!(text(exif::Tag::Artist), shown("Ann"), "{case}");
                assert_eq!(holds(&file, b"<photoshop:Credit>Agency<"), kept > 0, "{case}");
                let camera = |text: &str| Some(text.to_owned()).filter(|_| kept > 1);
                assert_eq!(text(exif::Tag::PhotographicSensitivity), camera("400"), "{case}");
                assert_eq!(text(exif::Tag::LensModel), camera("\"A lens\""), "{case}");
                assert_eq!(text(exif::Tag::Make), camera("\"Maker\""), "{case}");
                let number = |tag| exif.as_ref()?.get_field(tag, exif::In::PRIMARY)?.value.get_uint(0);
                assert_eq!(number(exif::Tag::Orientation), Some(1).filter(|_| kept > 1), "{case}");
                assert_eq!(number(exif::Tag::ColorSpace), Some(1).filter(|_| kept > 1), "{case}");
                let others = exif
                    .iter()
                    .flat_map(|exif| exif.fields())
                    .filter(|field| field.tag.context() == exif::Context::Gps || field.ifd_num != exif::In::PRIMARY);
                assert_eq!(others.count(), 0, "{case}");
            }
        }
    }
    assert_eq!(looked_at, 45);
}

#[test]
fn a_picture_left_as_stored_keeps_how_it_is_turned() {
    for (name, source) in sources(Orientation::Rotate90) {
        for (options, wanted) in [("ar:0/sm:0", 6), ("ar:0/rot:90/sm:0", 1), ("rot:90/sm:0", 1)] {
            let exif = exif_of(&one(&source, &format!("{options}/f:jpg")).bytes).unwrap();
            let number = exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY).unwrap().value.get_uint(0);
            assert_eq!(number, Some(wanted), "{name} {options}");
        }
    }
}

/// Broken blocks are no blocks: every cut and a change at every place.
#[test]
fn broken_blocks_are_left_out() {
    let (_, jpeg) = sources(Orientation::Upright).remove(0);
    let block_at = jpeg.windows(4).position(|four| four == b"MM\0*").unwrap();
    for at in (block_at..block_at + 2116).step_by(3) {
        for value in [0, 0x7f, 0xff] {
            let mut broken = jpeg.clone();
            broken[at] = value;
            let file = one(&broken, "w:8/f:jpg/sm:0").bytes;
            assert!(image::load_from_memory(&file).is_ok(), "{at}");
        }
    }
}

#[test]
fn a_profile_is_kept_where_it_is_asked_for() {
    let pixels = Pixels::new(40, 30, Layout::Rgb8, [200, 100, 50].repeat(1200)).unwrap();
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let written = Written { profile: Some(profile.clone()), ..Written::default() };
    let webp = webp::with_blocks(encode(&pixels, OutputFormat::WebP, 100).unwrap(), pixels.shape(), &written);
    let mut jpeg = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 98);
    encoder.add_icc_profile(&profile).unwrap();
    encoder.encode(&pixels.bytes, 40, 30, jpeg_encoder::ColorType::Rgb).unwrap();
    let mut info = ::png::Info::with_size(40, 30);
    info.icc_profile = Some(profile.clone().into());
    let mut png = Vec::new();
    let mut encoder = ::png::Encoder::with_info(&mut png, info).unwrap();
    encoder.set_color(::png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels.bytes).unwrap();
    for (name, source) in [("jpeg", jpeg), ("png", png), ("webp", webp)] {
        for format in ["jpg", "png", "webp"] {
            // Both at once: what is kept must not be converted for the other.
            let texts = [format!("w:20/f:{format}/q:95/scp:0"), format!("w:20/f:{format}/q:95"), format!("w:10/f:{format}/q:95/scp:0")];
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let (mut outcomes, ..) = process(&source, &texts, &Limits::default()).unwrap();
            outcomes.sort_by_key(|outcome| outcome.index);
            for outcome in outcomes {
                let file = outcome.result.unwrap().bytes;
                let mut decoder: Box<dyn image::ImageDecoder> = match format {
                    "jpg" => Box::new(image::codecs::jpeg::JpegDecoder::new(Cursor::new(&file)).unwrap()),
                    "png" => Box::new(image::codecs::png::PngDecoder::new(Cursor::new(&file)).unwrap()),
                    _ => Box::new(image::codecs::webp::WebPDecoder::new(Cursor::new(&file)).unwrap()),
                };
                let found = decoder.icc_profile().unwrap();
                let stored = rgb(&file).into_raw();
                let wanted = if outcome.index == 1 { [215, 93, 31] } else { [200, 100, 50] };
                assert_eq!(found.as_ref(), Some(&profile).filter(|_| outcome.index != 1), "{name} to {format}");
                assert!(
                    stored[..3].iter().zip(wanted).all(|(got, wanted)| got.abs_diff(wanted) <= 5),
                    "{name} to {format}: {:?}",
                    &stored[..3]
                );
            }
        }
    }
}

#[test]
fn numbers_of_a_png_become_a_profile_where_colours_are_kept() {
    let mut source = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut source, 4, 4);
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_source_gamma(::png::ScaledFloat::from_scaled(100_000));
    encoder.write_header().unwrap().write_image_data(&[55; 48]).unwrap();
    assert_eq!(rgb(&one(&source, "f:png").bytes).into_raw()[..3], [128; 3]);
    let kept = one(&source, "f:png/scp:0").bytes;
    assert_eq!(rgb(&kept).into_raw()[..3], [55; 3]);
    // Read again, the profile says the same.
    assert_eq!(rgb(&one(&kept, "f:png").bytes).into_raw()[..3], [128; 3]);
}

#[test]
fn grey_and_inks_become_srgb_even_so() {
    let profile = moxcms::ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let mut jpeg = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 98);
    encoder.add_icc_profile(&profile).unwrap();
    encoder.encode(&[55; 64], 8, 8, jpeg_encoder::ColorType::Luma).unwrap();
    for options in ["", "/scp:0"] {
        for format in ["jpg", "png", "webp"] {
            let file = one(&jpeg, &format!("f:{format}/q:95{options}")).bytes;
            assert!(rgb(&file).into_raw().iter().all(|value| value.abs_diff(128) <= 3), "{format}{options}");
            assert!(!holds(&file, b"acsp"));
        }
    }
}
