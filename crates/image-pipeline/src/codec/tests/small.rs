//! BMP, ICO and QOI: written by the `image` crate, or by hand, and read back.

use super::{picture_of, read};
use crate::{
    error::ErrorKind,
    limits::Limits,
    pixels::{Layout, Pixels},
    probe::{Format, Probe, probe, sniff},
};
use image::{ExtendedColorType, ImageFormat};
use std::io::Cursor;

fn written(pixels: &Pixels, format: ImageFormat) -> Vec<u8> {
    let colour = if pixels.layout == Layout::Rgba8 { ExtendedColorType::Rgba8 } else { ExtendedColorType::Rgb8 };
    let mut bytes = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut bytes, &pixels.bytes, pixels.width_px, pixels.height_px, colour, format).unwrap();
    bytes.into_inner()
}

fn probed(bytes: &[u8]) -> Probe {
    probe(&mut Cursor::new(bytes), &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Bitmap file of 40-byte header; rows as they are to lie in the file.
fn bitmap(width: i32, height: i32, bits: u16, palette: &[u8], rows: &[u8]) -> Vec<u8> {
    let at = 54 + palette.len() as u32;
    let mut bytes = b"BM".to_vec();
    bytes.extend((at + rows.len() as u32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(at.to_le_bytes());
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([1, 0]);
    bytes.extend(bits.to_le_bytes());
    bytes.extend([0; 24]);
    bytes.extend(palette);
    bytes.extend(rows);
    bytes
}

/// Icon file of these entries: width, height, bits, bytes.
fn icon(entries: &[(u8, u8, u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 0, entries.len() as u8, 0];
    let mut at = 6 + 16 * entries.len();
    for (width, height, bits, body) in entries {
        bytes.extend([*width, *height, 0, 0, 1, 0]);
        bytes.extend(bits.to_le_bytes());
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend((at as u32).to_le_bytes());
        at += body.len();
    }
    entries.iter().for_each(|(.., body)| bytes.extend(body));
    bytes
}

#[test]
fn what_the_library_writes_is_read_back() {
    for (name, format) in [(Format::Bmp, ImageFormat::Bmp), (Format::Qoi, ImageFormat::Qoi), (Format::Ico, ImageFormat::Ico)] {
        for layout in [Layout::Rgb8, Layout::Rgba8] {
            let picture = picture_of(61, 37, layout);
            let bytes = written(&picture, format);
            let (found, probe) = (read(&bytes).unwrap().pixels, probed(&bytes));
            assert_eq!((sniff(&bytes), probe.format, probe.frames), (Some(name), name, Some(1)));
            assert_eq!(found.layout, layout, "{name}");
            assert_eq!(found.bytes, picture.bytes, "{name} {layout:?}");
        }
    }
}

#[test]
fn bitmaps_of_few_bits_and_both_directions() {
    let upwards = bitmap(2, 2, 24, &[], &[1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0]);
    assert_eq!(read(&upwards).unwrap().pixels.bytes, [9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4]);
    let downwards = bitmap(2, -2, 24, &[], &[1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0]);
    assert_eq!(read(&downwards).unwrap().pixels.bytes, [3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10]);
    let palette = bitmap(3, 1, 1, &[10, 20, 30, 0, 40, 50, 60, 0], &[0b0100_0000, 0, 0, 0]);
    let found = probed(&palette);
    assert_eq!((found.bits, found.channels), (1, 1));
    assert_eq!(read(&palette).unwrap().pixels.bytes, [30, 20, 10, 60, 50, 40, 30, 20, 10]);
    for (width, height, kind) in [(0, 2, ErrorKind::Malformed), (-3, 2, ErrorKind::Malformed), (60_000, -60_000, ErrorKind::TooManyPixels)]
    {
        let error = probe(&mut Cursor::new(bitmap(width, height, 24, &[], &[0; 64])), &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{width} {height}");
    }
}

#[test]
fn the_largest_picture_of_an_icon_is_shown() {
    // 32 bits, height of colours and mask: the second row's first pixel is masked out.
    let body = |width: i32, height: i32, rows: &[u8]| bitmap(width, height * 2, 32, &[], rows)[14..].to_vec();
    let small = body(1, 1, &[9, 9, 9, 255, 0, 0, 0, 0]);
    let large = body(2, 2, &[3, 2, 1, 255, 6, 5, 4, 255, 9, 8, 7, 200, 12, 11, 10, 255, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    let bytes = icon(&[(1, 1, 32, small.clone()), (2, 2, 32, large), (1, 1, 32, small)]);
    let found = read(&bytes).unwrap().pixels;
    assert_eq!((found.width_px, found.height_px, found.layout), (2, 2, Layout::Rgba8));
    assert_eq!(found.bytes, [7, 8, 9, 200, 10, 11, 12, 255, 1, 2, 3, 0, 4, 5, 6, 255]);
    let picture = picture_of(40, 30, Layout::Rgb8);
    let png = written(&picture, ImageFormat::Png);
    let bytes = icon(&[(2, 2, 32, vec![0; 60]), (40, 30, 24, png)]);
    let (found, probe) = (read(&bytes).unwrap().pixels, probed(&bytes));
    assert_eq!((probe.format, found.layout, found.bytes), (Format::Ico, Layout::Rgb8, picture.bytes));
}

#[test]
fn weak_signatures_take_more_than_their_letters() {
    for bytes in [
        &b"BM is a word, and so are many others of them"[..],
        b"\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\0\0\x01\xba\x21\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        assert_eq!(sniff(bytes), None, "{bytes:?}");
    }
}

#[test]
fn cut_and_broken_files_are_errors() {
    let picture = picture_of(20, 12, Layout::Rgba8);
    for format in [ImageFormat::Bmp, ImageFormat::Qoi, ImageFormat::Ico] {
        let bytes = written(&picture, format);
        for end in 0..bytes.len() {
            if read(&bytes[..end]).is_ok() {
                // QOI's end marker says nothing.
                assert!(format == ImageFormat::Qoi && end + 8 >= bytes.len(), "{format:?} cut at {end} of {}", bytes.len());
            }
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x10, 0x80] {
                let mut broken = bytes.clone();
                broken[at] ^= flip;
                if let Err(error) = read(&broken) {
                    assert_ne!(error.kind(), ErrorKind::Internal, "{format:?} byte {at}: {error}");
                }
            }
        }
    }
}
