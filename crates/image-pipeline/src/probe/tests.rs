//! Headers of every format, whole, cut and hostile: what the probe says of them.

use super::*;
use std::io::Cursor;

fn ask(bytes: &[u8]) -> Result<Probe, Error> {
    probe(&mut Cursor::new(bytes), &Limits::default())
}

fn png_header(width_px: u32, height_px: u32, bits: u8, colour: u8) -> Vec<u8> {
    let mut typed = b"IHDR".to_vec();
    typed.extend(width_px.to_be_bytes());
    typed.extend(height_px.to_be_bytes());
    typed.extend([bits, colour, 0, 0, 0]);
    let crc = png::crc32(&typed);
    [png::SIGNATURE, &13u32.to_be_bytes(), &typed, &crc.to_be_bytes()].concat()
}

fn jpeg_header(marker: u8, bits: u8, width_px: u16, height_px: u16, components: u8) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, marker];
    bytes.extend((8 + 3 * u16::from(components)).to_be_bytes());
    bytes.push(bits);
    bytes.extend(height_px.to_be_bytes());
    bytes.extend(width_px.to_be_bytes());
    bytes.push(components);
    for index in 0..components {
        bytes.extend([index + 1, if index == 0 { 0x22 } else { 0x11 }, 0]);
    }
    bytes.extend([0xff, 0xda, 0, 6 + 2 * components, components]);
    bytes
}

#[test]
fn sniffing_wants_a_whole_signature_and_sixteen_bytes() {
    let cases: [(&[u8], Option<Format>); 9] = [
        (b"\xff\xd8\xff\xe0aaaaaaaaaaaaaaaa", Some(Format::Jpeg)),
        (b"\x89PNG\r\n\x1a\naaaaaaaaaaaa", Some(Format::Png)),
        (b"GIF87aaaaaaaaaaaaaaaa", Some(Format::Gif)),
        (b"GIF89aaaaaaaaaaaaaaaa", Some(Format::Gif)),
        (b"RIFFaaaaWEBPVP8 aaaa", Some(Format::WebP)),
        (b"RIFFaaaaWAVEfmt aaaa", None),
        (b"GIF88aaaaaaaaaaaaaaaa", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", Some(Format::Svg)),
        (b"<!DOCTYPE html><html></html>", None),
    ];
    for (bytes, wanted) in cases {
        assert_eq!(sniff(bytes), wanted, "{bytes:?}");
        assert_eq!(sniff(&bytes[..15]), None);
    }
    assert_eq!(ask(b"<!DOCTYPE html><html></html>").unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn jpeg_geometry_and_kinds() {
    let found = ask(&jpeg_header(0xc2, 8, 4032, 3024, 3)).unwrap();
    assert_eq!((found.width_px, found.height_px, found.progressive, found.channels), (4032, 3024, true, 3));
    assert_eq!((found.frame.sampling[..3].to_vec(), found.frame.is_ycbcr, found.frame.waits), (vec![(2, 2), (1, 1), (1, 1)], true, true));
    for (marker, bits, components) in [(0xc9, 8, 3), (0xc3, 8, 3), (0xc5, 8, 3), (0xc1, 12, 3), (0xc0, 8, 2)] {
        assert_eq!(ask(&jpeg_header(marker, bits, 16, 16, components)).unwrap_err().kind(), ErrorKind::Unsupported, "{marker:x}");
    }
    assert_eq!(ask(&jpeg_header(0xc0, 8, 16, 0, 3)).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn jpeg_orientation_and_profile() {
    let frame = jpeg_header(0xc0, 8, 40, 30, 3);
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut bytes = frame[..2].to_vec();
    bytes.extend([0xff, 0xff, 0xe1]);
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend([0xff, 0xe2, 0, 16]);
    bytes.extend(b"ICC_PROFILE\0\x01\x01");
    bytes.extend(&frame[2..]);
    let found = ask(&bytes).unwrap();
    assert_eq!((found.orientation, found.has_icc, found.display_size()), (Orientation::Rotate90, true, (30, 40)));
}

#[test]
fn too_many_pixels_says_both_numbers() {
    let error = ask(&png_header(18_000, 10_000, 8, 2)).unwrap_err();
    assert_eq!((error.kind(), error.format(), error.stage()), (ErrorKind::TooManyPixels, Some(Format::Png), "probe"));
    assert_eq!(error.to_string(), "image has 180000000 pixels, limit is 100000000");
    // No overflow where both sides are as large as the format can say.
    let error = ask(&png_header(0x7fff_ffff, 0x7fff_ffff, 8, 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyPixels);
}

#[test]
fn png_header_is_checked() {
    let good = [png_header(10, 20, 16, 6), b"\0\0\0\0IDAT".to_vec()].concat();
    let found = ask(&good).unwrap();
    assert_eq!((found.width_px, found.height_px, found.has_alpha, found.bits, found.channels), (10, 20, true, 16, 4));
    for at in 8..33 {
        let mut broken = good.clone();
        broken[at] ^= 0x10;
        assert!(ask(&broken).is_err(), "a flipped bit at {at}");
    }
    assert_eq!(ask(&png_header(0, 20, 8, 2)).unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(ask(&png_header(4, 4, 3, 2)).unwrap_err().kind(), ErrorKind::Malformed);
    let animated = [png_header(10, 20, 8, 2), b"\0\0\0\x08acTL\0\0\x27\x10\0\0\0\0crc!\0\0\0\0IDAT".to_vec()].concat();
    assert_eq!(ask(&animated).unwrap_err().kind(), ErrorKind::TooManyFrames);
}

#[test]
fn every_cut_of_a_header_asks_for_more() {
    let webp = [&b"RIFF\x2a\0\0\0WEBPVP8X\x0a\0\0\0\x08\0\0\0\x09\0\0\x13\0\0"[..], b"VP8 \x02\0\0\0aaEXIF\x02\0\0\0bb"].concat();
    let gif = b"GIF89a\x02\0\x02\0\0\0\0\x2c\0\0\0\0\x02\0\x02\0\0\x02\x02\x4c\x01\0";
    let png = [png_header(10, 20, 8, 3), b"\0\0\0\x03PLTEabccrc!\0\0\0\x01tRNSxcrc!\0\0\0\0IDAT".to_vec()].concat();
    for whole in [jpeg_header(0xc0, 8, 16, 16, 3), png, webp, gif.to_vec()] {
        let answer = ask(&whole).unwrap();
        assert!(answer.frames.is_some_and(|frames| frames == 1) || answer.format == Format::Gif);
        for end in 0..whole.len() - 5 {
            let error = ask(&whole[..end]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Truncated, "{} cut at {end}: {error}", answer.format);
        }
    }
}

#[test]
fn gif_frames_are_counted_and_bounded() {
    let head = b"GIF89a\x02\0\x02\0\0\0\0".to_vec();
    let frame = b"\x21\xf9\x04\x01\0\0\0\0\x2c\0\0\0\0\x02\0\x02\0\0\x02\x02\x4c\x01\0";
    let three = [head.clone(), frame.repeat(3), vec![0x3b]].concat();
    let found = ask(&three).unwrap();
    assert_eq!((found.frames, found.has_alpha), (Some(3), true));
    assert_eq!(ask(&three[..three.len() - 1]).unwrap().frames, None);
    let many = [head, frame.repeat(1001)].concat();
    assert_eq!(ask(&many).unwrap_err().kind(), ErrorKind::TooManyFrames);
}

#[test]
fn work_is_bounded_on_endless_headers() {
    let mut stray = vec![0xff, 0xd8, 0xff, 0xe0, 0, 2];
    stray.resize(4 << 20, 0);
    assert_eq!(ask(&stray).unwrap_err().kind(), ErrorKind::Malformed);
    let segments = [vec![0xff, 0xd8], [0xff, 0xe0, 0, 2].repeat(1 << 16)].concat();
    assert_eq!(ask(&segments).unwrap_err().kind(), ErrorKind::Malformed);
    let chunks = [png_header(10, 20, 8, 2), b"\0\0\0\0teXtcrc!".repeat(20_000)].concat();
    assert_eq!(ask(&chunks).unwrap_err().kind(), ErrorKind::Malformed);
}
