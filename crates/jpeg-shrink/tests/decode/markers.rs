//! Headers: metadata handed out, odd but legal files, kinds that are refused.

use crate::{agreement::decode, pictures};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use jpeg_shrink::{Coding, ColourModel, Decoder, ErrorKind, Layout, Limits, Options, Scale, SegmentKind, probe};

fn plain() -> Vec<u8> {
    pictures::jpeg(97, 75, ColorType::Rgb, pictures::Manner::plain(SamplingFactor::F_1_1))
}

/// Where marker `code` stands.
fn find(bytes: &[u8], code: u8) -> usize {
    let mut at = 2;
    loop {
        if bytes[at + 1] == code {
            return at;
        }
        at += 2 + (usize::from(bytes[at + 2]) << 8 | usize::from(bytes[at + 3]));
    }
}

fn with_inserted(bytes: &[u8], at: usize, what: &[u8]) -> Vec<u8> {
    [&bytes[..at], what, &bytes[at..]].concat()
}

fn segment(code: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 2) as u16;
    [&[0xff, code], &length.to_be_bytes()[..], body].concat()
}

#[test]
fn metadata_are_handed_out() {
    let profile: Vec<u8> = (0..150_000u32).map(|index| (index * 7) as u8).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 80);
    encoder.add_icc_profile(&profile).unwrap();
    encoder.add_app_segment(1, b"Exif\0\0MM\0*tiff".to_vec()).unwrap();
    encoder.add_app_segment(1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>".to_vec()).unwrap();
    let extension = [&b"http://ns.adobe.com/xmp/extension/\0"[..], &[b'f'; 32], &[0; 8], b"<more/>"].concat();
    encoder.add_app_segment(1, extension).unwrap();
    encoder.add_app_segment(2, b"MPF\0index".to_vec()).unwrap();
    encoder.add_app_segment(5, b"else".to_vec()).unwrap();
    encoder.encode(&pictures::pixels(20, 10, 3), 20, 10, ColorType::Rgb).unwrap();
    let header = probe(&bytes).unwrap();
    assert_eq!((header.width_px, header.height_px), (20, 10));
    assert_eq!((header.coding, header.colour), (Coding::Sequential, ColourModel::YCbCr));
    assert_eq!(header.icc_profile(&bytes).unwrap(), profile);
    assert_eq!(&bytes[header.exif().unwrap()], b"MM\0*tiff");
    assert_eq!(&bytes[header.xmp().unwrap()], b"<x:xmpmeta/>");
    assert_eq!(&bytes[header.mpf().unwrap()], b"index");
    let extension = header.segments.iter().find(|segment| segment.kind == SegmentKind::XmpExtension).unwrap();
    assert!(bytes[extension.range.clone()].starts_with(&[b'f'; 32]) && bytes[extension.range.clone()].ends_with(b"<more/>"));
    let other = header.segments.iter().find(|segment| segment.kind == SegmentKind::Application(5)).unwrap();
    assert_eq!(&bytes[other.range.clone()], b"else");
    // A profile with a part missing is none.
    let first = find(&bytes, 0xe2);
    let length = 2 + (usize::from(bytes[first + 2]) << 8 | usize::from(bytes[first + 3]));
    let cut = [&bytes[..first], &bytes[first + length..]].concat();
    assert_eq!(probe(&cut).unwrap().icc_profile(&cut), None);
}

#[test]
fn the_height_may_come_behind_the_scan() {
    let bytes = plain();
    let (want, ..) = decode(&bytes, Options::new(Scale::Half));
    let mut late = bytes[..bytes.len() - 2].to_vec();
    let frame = find(&late, 0xc0);
    late[frame + 5..frame + 7].copy_from_slice(&[0, 0]);
    assert_eq!(probe(&late).unwrap_err().kind(), ErrorKind::Truncated);
    late.extend(segment(0xdc, &75u16.to_be_bytes()));
    late.extend([0xff, 0xd9]);
    assert_eq!(probe(&late).unwrap().height_px, 75);
    assert!(decode(&late, Options::new(Scale::Half)).0 == want);
    let nowhere = [&late[..late.len() - 8], &[0xff, 0xd9][..]].concat();
    assert_eq!(probe(&nowhere).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn fill_bytes_stray_bytes_and_wide_quantisers_change_nothing() {
    let bytes = plain();
    let (want, ..) = decode(&bytes, Options::new(Scale::Quarter));
    let filled = with_inserted(&bytes, find(&bytes, 0xc0), &[0xff, 0xff, 0xff]);
    assert!(decode(&filled, Options::new(Scale::Quarter)).0 == want);
    let stray = with_inserted(&bytes, find(&bytes, 0xc0), &[0x12, 0, 0x77]);
    assert!(decode(&stray, Options::new(Scale::Quarter)).0 == want);
    let table = find(&bytes, 0xdb);
    let mut wide = vec![0x10 | bytes[table + 4]];
    wide.extend(bytes[table + 5..table + 69].iter().flat_map(|&value| [0, value]));
    let widened = [&bytes[..table], &segment(0xdb, &wide)[..], &bytes[table + 69..]].concat();
    assert!(decode(&widened, Options::new(Scale::Quarter)).0 == want);
}

#[test]
fn adobe_transform_0_is_rgb() {
    let bytes = plain();
    let (yes, ..) = decode(&bytes, Options::new(Scale::Full));
    let jfif = find(&bytes, 0xe0);
    let length = 2 + (usize::from(bytes[jfif + 2]) << 8 | usize::from(bytes[jfif + 3]));
    let adobe = segment(0xee, b"Adobe\0\x64\0\0\0\0\0");
    let rgb = [&bytes[..jfif], &adobe[..], &bytes[jfif + length..]].concat();
    let header = probe(&rgb).unwrap();
    assert_eq!((header.colour, header.adobe_transform), (ColourModel::Rgb, Some(0)));
    let (no, ..) = decode(&rgb, Options::new(Scale::Full));
    // The first channel is luma as it was.
    for (yes, no) in yes.chunks_exact(3).zip(no.chunks_exact(3)) {
        let luma = 0.299 * f32::from(yes[0]) + 0.587 * f32::from(yes[1]) + 0.114 * f32::from(yes[2]);
        let clipped = yes.iter().any(|&value| value == 0 || value == 255);
        assert!(clipped || (luma - f32::from(no[0])).abs() < 2.0);
    }
}

#[test]
fn inks_are_told_apart() {
    for (colour, model) in [(ColorType::Cmyk, ColourModel::Cmyk), (ColorType::CmykAsYcck, ColourModel::Ycck)] {
        let bytes = pictures::jpeg(40, 40, colour, pictures::Manner::plain(SamplingFactor::F_1_1));
        let decoder = Decoder::new(&bytes, Options::new(Scale::Half)).unwrap();
        assert_eq!((decoder.header().colour, decoder.layout()), (model, Layout::Cmyk8));
        assert!(decoder.header().adobe_transform.is_some());
    }
}

#[test]
fn kinds_that_are_not_decoded_are_refused_as_such() {
    let bytes = plain();
    let frame = find(&bytes, 0xc0);
    for code in [0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf, 0xde] {
        let mut other = bytes.clone();
        other[frame + 1] = code;
        let error = probe(&other).unwrap_err();
        assert_eq!((error.kind(), error.position()), (ErrorKind::Unsupported, frame), "{code:#x}");
    }
    let mut deep = bytes.clone();
    deep[frame + 4] = 12;
    assert_eq!(probe(&deep).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(probe(b"\x89PNG").unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(probe(b"").unwrap_err().kind(), ErrorKind::Truncated);
    let two_frames = with_inserted(&bytes, frame, &bytes[frame..frame + 19]);
    assert_eq!(probe(&two_frames).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn limits_hold_before_anything_is_allocated() {
    let bytes = plain();
    let options = |limits| Options { limits, ..Options::new(Scale::Full) };
    let kind = |bytes: &[u8], limits| {
        let mut decoder = match Decoder::new(bytes, options(limits)) {
            Ok(decoder) => decoder,
            Err(error) => return Some(error.kind()),
        };
        let mut pixels = vec![0; decoder.output_bytes()];
        decoder.decode_into(&mut pixels).err().map(|error| error.kind())
    };
    assert_eq!(kind(&bytes, Limits::default()), None);
    let exceeded = Some(ErrorKind::LimitExceeded);
    assert_eq!(kind(&bytes, Limits { max_pixels: 97 * 75 - 1, ..Limits::default() }), exceeded);
    assert_eq!(kind(&bytes, Limits { max_pixels: 97 * 75, ..Limits::default() }), None);
    assert_eq!(kind(&bytes, Limits { max_memory_bytes: 1000, ..Limits::default() }), exceeded);
    assert_eq!(kind(&bytes, Limits { max_work: 100, ..Limits::default() }), exceeded);
    let (_, progressive) = pictures::FIXTURES[0];
    assert_eq!(kind(progressive, Limits { max_scans: 9, ..Limits::default() }), exceeded);
    assert_eq!(kind(progressive, Limits { max_scans: 10, ..Limits::default() }), None);
    assert_eq!(kind(progressive, Limits { max_work: 1000, ..Limits::default() }), exceeded);
    // A header that promises more blocks than the file has bits for.
    let mut huge = bytes.clone();
    let frame = find(&huge, 0xc0);
    huge[frame + 5..frame + 9].copy_from_slice(&[0x3f, 0xff, 0x3f, 0xff]);
    assert_eq!(kind(&huge, Limits::default()), Some(ErrorKind::Truncated));
}
