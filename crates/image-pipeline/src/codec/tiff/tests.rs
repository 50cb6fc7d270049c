//! TIFFs of many kinds: written by the `tiff` crate's encoder where it can, by hand where it cannot.

use super::half_to_f64;
use crate::{
    codec::tests::{no_broken_byte_is_our_fault, picture_of, read},
    error::ErrorKind,
    limits::Limits,
    pixels::Layout,
    probe::{Format, Orientation, Probe, probe},
};
use std::io::Cursor;
use tiff::{
    encoder::{Compression, TiffEncoder, colortype},
    tags::{ExtraSamples, Tag},
};

/// A field of a directory: tag, type, values.
type Field = (u16, u16, Vec<u32>);

/// A file of one page, made by hand: fields, and strips or tiles, whose places are put in.
fn file(big_endian: bool, fields: &[Field], chunks: &[Vec<u8>]) -> Vec<u8> {
    let short = |value: u32| if big_endian { (value as u16).to_be_bytes() } else { (value as u16).to_le_bytes() };
    let long = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut data = Vec::new();
    let mut places = Vec::new();
    for chunk in chunks {
        places.push(8 + data.len() as u32);
        data.extend(chunk);
    }
    let lengths: Vec<u32> = chunks.iter().map(|chunk| chunk.len() as u32).collect();
    let is_tiled = fields.iter().any(|(tag, ..)| *tag == 322);
    let mut fields = fields.to_vec();
    fields.push((if is_tiled { 324 } else { 273 }, 4, places));
    fields.push((if is_tiled { 325 } else { 279 }, 4, lengths));
    fields.sort_by_key(|(tag, ..)| *tag);
    let mut directory = short(fields.len() as u32).to_vec();
    for (tag, kind, values) in &fields {
        let bytes: Vec<u8> =
            values.iter().flat_map(|&value| if *kind == 3 { short(value).to_vec() } else { long(value).to_vec() }).collect();
        directory.extend(short(u32::from(*tag)));
        directory.extend(short(u32::from(*kind)));
        directory.extend(long(values.len() as u32));
        if bytes.len() <= 4 {
            directory.extend(&bytes);
            directory.extend(&[0; 4][bytes.len()..]);
        } else {
            directory.extend(long(8 + data.len() as u32));
            data.extend(&bytes);
        }
    }
    directory.extend([0; 4]);
    let head = if big_endian { b"MM\0*" } else { b"II*\0" };
    [&head[..], &long(8 + data.len() as u32), &data, &directory].concat()
}

fn fields(width: u32, height: u32, bits: &[u32], photometric: u32) -> Vec<Field> {
    vec![
        (256, 3, vec![width]),
        (257, 3, vec![height]),
        (258, 3, bits.to_vec()),
        (262, 3, vec![photometric]),
        (277, 3, vec![bits.len() as u32]),
    ]
}

fn probed(bytes: &[u8]) -> Probe {
    probe(&mut Cursor::new(bytes), &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn pixels(bytes: &[u8]) -> (Layout, Vec<u8>) {
    let found = read(bytes).unwrap_or_else(|error| panic!("{error}")).pixels;
    (found.layout, found.bytes)
}

#[test]
fn what_the_library_writes_is_read_back() {
    let picture = picture_of(70, 41, Layout::Rgb8);
    for (name, compression) in [
        ("none", Compression::Uncompressed),
        ("lzw", Compression::Lzw),
        ("deflate", Compression::Deflate(Default::default())),
        ("packbits", Compression::Packbits),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap().with_compression(compression);
        let mut image = encoder.new_image::<colortype::RGB8>(70, 41).unwrap();
        image.rows_per_strip(7).unwrap();
        image.write_data(&picture.bytes).unwrap();
        let bytes = bytes.into_inner();
        assert_eq!(pixels(&bytes), (Layout::Rgb8, picture.bytes.clone()), "{name}");
        let found = probed(&bytes);
        assert_eq!((found.format, found.frames, found.bits, found.channels), (Format::Tiff, Some(1), 8, 3));
    }
}

#[test]
fn pages_are_counted_and_the_first_is_read() {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    for page in 0..3 {
        encoder.write_image::<colortype::Gray8>(2, 1, &[page * 50, 9]).unwrap();
    }
    let bytes = bytes.into_inner();
    assert_eq!((probed(&bytes).frames, pixels(&bytes).1), (Some(3), vec![0, 0, 0, 9, 9, 9]));
    let limits = Limits { max_frames: 2, ..Limits::default() };
    assert_eq!(probe(&mut Cursor::new(&bytes), &limits).unwrap_err().kind(), ErrorKind::TooManyFrames);
}

#[test]
fn transparency_apart_and_multiplied() {
    for (extra, wanted) in [(ExtraSamples::UnassociatedAlpha, [100, 50, 20, 128]), (ExtraSamples::AssociatedAlpha, [199, 100, 40, 128])] {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
        let mut image = encoder.new_image::<colortype::RGBA8>(1, 1).unwrap();
        image.encoder().write_tag(Tag::ExtraSamples, &[extra.to_u16()][..]).unwrap();
        image.write_data(&[100, 50, 20, 128]).unwrap();
        assert_eq!(pixels(&bytes.into_inner()), (Layout::Rgba8, wanted.to_vec()));
    }
    // What is not said to be transparency is none.
    let unsaid = file(false, &fields(1, 1, &[8, 8, 8, 8], 2), &[vec![1, 2, 3, 4]]);
    assert_eq!(pixels(&unsaid), (Layout::Rgb8, vec![1, 2, 3]));
}

#[test]
fn both_byte_orders_and_all_depths() {
    for big_endian in [false, true] {
        let sixteen: Vec<u8> =
            [0_u16, 129, 65_535].iter().flat_map(|&v| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }).collect();
        assert_eq!(pixels(&file(big_endian, &fields(1, 1, &[16; 3], 2), &[sixteen])).1, [0, 1, 255]);
        let floats: Vec<u8> =
            [-1.0_f32, 0.5, 7.0].iter().flat_map(|&v| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }).collect();
        let with_format = |bits: &[u32], format: u32| {
            let mut all = fields(1, 1, bits, 2);
            all.push((339, 3, vec![format; bits.len()]));
            all
        };
        assert_eq!(pixels(&file(big_endian, &with_format(&[32; 3], 3), &[floats])).1, [0, 128, 255]);
        let long: Vec<u8> =
            [0_u32, 1 << 31, u32::MAX].iter().flat_map(|&v| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }).collect();
        assert_eq!(pixels(&file(big_endian, &with_format(&[32; 3], 1), &[long])).1, [0, 128, 255]);
        for signed in [&[16_u32; 3][..], &[8; 3]] {
            let error = read(&file(big_endian, &with_format(signed, 2), &[vec![0; 6]])).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }
    assert_eq!(pixels(&file(false, &fields(3, 1, &[1], 1), &[vec![0b1010_0000]])).1, [255, 255, 255, 0, 0, 0, 255, 255, 255]);
    assert_eq!(pixels(&file(false, &fields(3, 1, &[1], 0), &[vec![0b1010_0000]])).1, [0, 0, 0, 255, 255, 255, 0, 0, 0]);
    assert_eq!(pixels(&file(true, &fields(2, 2, &[4], 1), &[vec![0x0f, 0x30]])).1[..9], [0, 0, 0, 255, 255, 255, 51, 51, 51]);
    assert_eq!(pixels(&file(true, &fields(4, 1, &[2], 1), &[vec![0b0001_1011]])).1, [[0; 3], [85; 3], [170; 3], [255; 3]].concat());
}

#[test]
fn halves_are_binary16() {
    for (bits, wanted) in
        [(0x3c00, 1.0), (0x3800, 0.5), (0, 0.0), (0xc000, -2.0), (0x0001, 2_f64.powi(-24)), (0x7bff, 65_504.0), (0x7e00, 0.0)]
    {
        assert_eq!(half_to_f64(bits), wanted, "{bits:04x}");
    }
}

#[test]
fn palettes_inks_and_planes() {
    for big_endian in [false, true] {
        let mut palette = fields(3, 1, &[2], 3);
        palette.push((320, 3, vec![0, 65_535, 257, 0, 0, 0, 514, 0, 0, 0, 771, 65_535]));
        assert_eq!(pixels(&file(big_endian, &palette, &[vec![0b0001_1000]])).1, [0, 0, 0, 255, 0, 0, 1, 2, 3]);
        // No ink, all of black, and all of cyan.
        let (layout, found) = pixels(&file(big_endian, &fields(3, 1, &[8; 4], 5), &[vec![0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0]]));
        assert_eq!((layout, &found[..3]), (Layout::Rgb8, &[255; 3][..]));
        assert!(found[3..6].iter().all(|&value| value < 50) && found[6] < 20 && found[8] > 200, "{found:?}");
        let mut planar = fields(2, 2, &[8; 3], 2);
        planar.extend([(284, 3, vec![2]), (278, 3, vec![1])]);
        let chunks: Vec<Vec<u8>> = [[1, 2], [3, 4], [11, 12], [13, 14], [21, 22], [23, 24]].map(|chunk| chunk.to_vec()).to_vec();
        assert_eq!(pixels(&file(big_endian, &planar, &chunks)).1, [1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24]);
    }
    let mut short = fields(1, 1, &[8], 3);
    short.push((320, 3, vec![0; 12]));
    assert_eq!(read(&file(false, &short, &[vec![0]])).err().unwrap().kind(), ErrorKind::Unsupported);
}

#[test]
fn tiles_are_cut_at_the_edges_in_one_plane_and_in_several() {
    let (width, height, side) = (20_u32, 18_u32, 16_u32);
    for bits in [8_u32, 16] {
        for planar in [false, true] {
            let value = |x: u32, y: u32, channel: u32| (x * 9 + y * 3 + channel * 70) & 255;
            let put = |out: &mut Vec<u8>, value: u32| {
                if bits == 8 { out.push(value as u8) } else { out.extend((value as u16 * 257).to_le_bytes()) }
            };
            let mut chunks = Vec::new();
            for plane in 0..if planar { 3 } else { 1 } {
                for tile in 0..4 {
                    let mut chunk = Vec::new();
                    for at in 0..side * side {
                        let (x, y) = (tile % 2 * side + at % side, tile / 2 * side + at / side);
                        if planar {
                            put(&mut chunk, value(x, y, plane));
                        } else {
                            (0..3).for_each(|channel| put(&mut chunk, value(x, y, channel)));
                        }
                    }
                    chunks.push(chunk);
                }
            }
            let mut all = fields(width, height, &[bits; 3], 2);
            all.extend([(322, 3, vec![side]), (323, 3, vec![side]), (284, 3, vec![if planar { 2 } else { 1 }])]);
            let wanted: Vec<u8> =
                (0..width * height).flat_map(|at| [0, 1, 2].map(|channel| value(at % width, at / width, channel) as u8)).collect();
            assert_eq!(pixels(&file(false, &all, &chunks)).1, wanted, "{bits} bits, planar {planar}");
        }
    }
}

#[test]
fn jpeg_within_is_read_and_not_believed() {
    let picture = picture_of(32, 16, Layout::Rgb8);
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 95).encode(&picture.bytes, 32, 16, jpeg_encoder::ColorType::Rgb).unwrap();
    let with = |width: u32, height: u32| {
        let mut all = fields(width, height, &[8; 3], 6);
        all.push((259, 3, vec![7]));
        file(false, &all, std::slice::from_ref(&jpeg))
    };
    let (_, found) = pixels(&with(32, 16));
    let off: u32 = found.iter().zip(&picture.bytes).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    assert!(off / (found.len() as u32) < 6, "{off}");
    // A small page with a large picture inside.
    assert_eq!(read(&with(8, 8)).err().unwrap().kind(), ErrorKind::Malformed);
}

#[test]
fn orientation_is_that_of_the_tag() {
    for wanted in Orientation::ALL {
        let mut all = fields(2, 1, &[8], 1);
        all.push((274, 3, vec![u32::from(wanted.exif())]));
        assert_eq!(probed(&file(true, &all, &[vec![0, 9]])).orientation, wanted);
    }
}

#[test]
fn cut_broken_and_hostile_files_are_errors() {
    let mut all = fields(20, 20, &[8; 3], 2);
    all.extend([(278, 3, vec![5]), (259, 3, vec![5])]);
    let mut lzw = Cursor::new(Vec::new());
    TiffEncoder::new(&mut lzw)
        .unwrap()
        .with_compression(Compression::Lzw)
        .write_image::<colortype::RGB8>(20, 20, &picture_of(20, 20, Layout::Rgb8).bytes)
        .unwrap();
    let plain = file(true, &fields(20, 20, &[8; 3], 2), &[vec![7; 1200]]);
    for bytes in [lzw.into_inner(), plain, file(false, &all, &[vec![1], vec![2], vec![3], vec![4]])] {
        for end in 16..bytes.len() {
            assert!(read(&bytes[..end]).is_err() || end + 8 > bytes.len(), "cut at {end} of {}", bytes.len());
        }
        no_broken_byte_is_our_fault(&bytes);
    }
    let huge = file(false, &fields(60_000, 60_000, &[8; 3], 2), &[vec![0]]);
    assert_eq!(probe(&mut Cursor::new(huge), &Limits::default()).unwrap_err().kind(), ErrorKind::TooManyPixels);
}
