//! AVIF from tiles, turned, cut, transparent, deep and marked: written with `ravif` and put into boxes here.

use crate::{
    codec::{
        self, Reading,
        tests::{no_broken_byte_is_our_fault, read},
    },
    error::{Error, ErrorKind},
    limits::Limits,
    pixels::{Layout, Pixels},
    probe::{Format, Orientation, Parts, Probe, probe},
};
use ravif::{BitDepth, ColorModel, Encoder, Img, RGB8, RGBA8};
use std::io::Cursor;

const NO_LIMITS: Limits = Limits {
    max_bytes: u64::MAX,
    max_pixels: 1 << 30,
    max_frames: 1000,
    max_animation_pixels: u64::MAX,
    max_memory_bytes: 1 << 32,
    max_side_px: 1 << 16,
    allow_svg: false,
};

fn encoder(bits: BitDepth) -> Encoder<'static> {
    Encoder::new().with_quality(90.0).with_alpha_quality(100.0).with_speed(10).with_bit_depth(bits)
}

/// A gradient with a bright corner at the top left.
fn colours(width: usize, height: usize) -> Vec<[u8; 3]> {
    (0..width * height)
        .map(|at| {
            let (x, y) = (at % width, at / width);
            if x < width / 4 && y < height / 4 { [250, 240, 60] } else { [(x * 200 / width) as u8, 90, (y * 200 / height) as u8] }
        })
        .collect()
}

fn file(width: usize, height: usize, bits: BitDepth) -> Vec<u8> {
    let pixels: Vec<RGB8> = colours(width, height).iter().map(|&[r, g, b]| RGB8 { r, g, b }).collect();
    encoder(bits).encode_rgb(Img::new(&pixels, width, height)).unwrap().avif_file
}

fn probed(bytes: &[u8]) -> Probe {
    probe(&mut Cursor::new(bytes), &NO_LIMITS).unwrap_or_else(|error| panic!("{error}"))
}

fn mean(found: &Pixels, wanted: &[[u8; 3]]) -> f64 {
    let channels = found.layout.channels();
    let found = found.bytes.chunks_exact(channels).flat_map(|pixel| &pixel[..3]);
    let sum: u32 = found.zip(wanted.iter().flatten()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / (wanted.len() * 3) as f64
}

#[test]
fn pictures_of_both_depths_read_as_they_were_written() {
    for (width, height, bits) in [(64, 48, BitDepth::Eight), (65, 47, BitDepth::Ten), (1, 1, BitDepth::Eight), (300, 20, BitDepth::Ten)] {
        let bytes = file(width, height, bits);
        let found = probed(&bytes);
        assert_eq!((found.format, found.frames, found.has_alpha), (Format::Avif, Some(1), false));
        assert_eq!(found.bits, if bits == BitDepth::Ten { 10 } else { 8 });
        let pixels = read(&bytes).unwrap().pixels;
        assert_eq!((pixels.width_px as usize, pixels.height_px as usize, pixels.layout), (width, height, Layout::Rgb8));
        let off = mean(&pixels, &colours(width, height));
        assert!(off < 3.0, "{width}x{height}: {off}");
    }
}

#[test]
fn transparency_is_read_beside_colours() {
    let (width, height) = (40, 30);
    let pixels: Vec<RGBA8> =
        (0..width * height).map(|at| RGBA8 { r: 200, g: 40, b: 90, a: (at % width * 255 / (width - 1)) as u8 }).collect();
    for model in [ColorModel::YCbCr, ColorModel::RGB] {
        let bytes =
            encoder(BitDepth::Eight).with_internal_color_model(model).encode_rgba(Img::new(&pixels, width, height)).unwrap().avif_file;
        let found = read(&bytes).unwrap().pixels;
        assert_eq!((found.layout, probed(&bytes).channels), (Layout::Rgba8, 4));
        for (pixel, wanted) in found.bytes.as_chunks::<4>().0.iter().zip(&pixels) {
            assert!(pixel[3].abs_diff(wanted.a) <= 3, "{pixel:?} {wanted:?}");
            assert!(wanted.a < 20 || pixel[0].abs_diff(200) <= 12 && pixel[1].abs_diff(40) <= 12, "{pixel:?} {wanted:?}");
        }
    }
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

fn full(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    boxed(kind, &[&[0; 4][..], body].concat())
}

/// What of a file's boxes a test changes.
#[derive(Default)]
struct Boxes {
    /// Columns, rows, and the picture's sides.
    grid: Option<(u8, u8, u16, u16)>,
    /// Bodies of `irot`, `imir`, `clap`, `colr`, in order, of the picture that is shown.
    extra: Vec<([u8; 4], Vec<u8>)>,
}

/// A file of these AV1 pictures, each of the same sides: one, or the tiles of a grid.
fn container(tiles: &[&[u8]], (width, height): (u32, u32), boxes: &Boxes) -> Vec<u8> {
    let first_tile = if boxes.grid.is_some() { 2_u16 } else { 1 };
    let size = |w: u32, h: u32| full(b"ispe", &[w.to_be_bytes(), h.to_be_bytes()].concat());
    let mut properties = [size(width, height), boxed(b"av1C", &[0x81, 0x20, 0x00, 0x00])];
    let mut defined = properties.concat();
    let mut of_shown = vec![1_u8, 2];
    if let Some((_, _, w, h)) = boxes.grid {
        properties[0] = size(u32::from(w), u32::from(h));
        defined.extend(&properties[0]);
        of_shown = vec![3];
    }
    let mut index = if boxes.grid.is_some() { 3 } else { 2 };
    for (kind, body) in &boxes.extra {
        index += 1;
        defined.extend(boxed(kind, body));
        of_shown.push(index);
    }
    let mut associations = vec![(1_u16, of_shown)];
    if boxes.grid.is_some() {
        associations.extend((0..tiles.len() as u16).map(|at| (first_tile + at, vec![1, 2])));
    }
    let mut table = (associations.len() as u32).to_be_bytes().to_vec();
    for (item, list) in &associations {
        table.extend(item.to_be_bytes());
        table.push(list.len() as u8);
        table.extend(list);
    }
    let properties = boxed(b"iprp", &[boxed(b"ipco", &defined), full(b"ipma", &table)].concat());
    let entry = |item: u16, kind: &[u8; 4]| {
        let mut entry = boxed(b"infe", &[&[2, 0, 0, 0][..], &item.to_be_bytes(), &[0, 0], kind, &[0]].concat());
        entry.shrink_to_fit();
        entry
    };
    let mut items: Vec<Vec<u8>> = (0..tiles.len() as u16).map(|at| entry(first_tile + at, b"av01")).collect();
    let mut references = Vec::new();
    let mut data = Vec::new();
    if let Some((columns, rows, w, h)) = boxes.grid {
        items.insert(0, entry(1, b"grid"));
        let ids: Vec<u8> = (0..tiles.len() as u16).flat_map(|at| (first_tile + at).to_be_bytes()).collect();
        references = full(b"iref", &boxed(b"dimg", &[&1_u16.to_be_bytes()[..], &(tiles.len() as u16).to_be_bytes(), &ids].concat()));
        data = [&[0, 0, rows - 1, columns - 1][..], &w.to_be_bytes(), &h.to_be_bytes()].concat();
    }
    let info = full(b"iinf", &[&(items.len() as u16).to_be_bytes()[..], &items.concat()].concat());
    let handler = full(b"hdlr", b"\0\0\0\0pict\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let places = |data_at: u32| {
        let mut body = vec![1, 0, 0, 0, 0x44, 0];
        body.extend((items.len() as u16).to_be_bytes());
        if boxes.grid.is_some() {
            body.extend([0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8]);
        }
        let mut at = data_at;
        for (index, tile) in tiles.iter().enumerate() {
            body.extend((first_tile + index as u16).to_be_bytes());
            body.extend([0, 0, 0, 0, 0, 1]);
            body.extend(at.to_be_bytes());
            body.extend((tile.len() as u32).to_be_bytes());
            at += tile.len() as u32;
        }
        boxed(b"iloc", &body)
    };
    let meta = |data_at: u32| {
        let idat = if data.is_empty() { Vec::new() } else { boxed(b"idat", &data) };
        full(b"meta", &[&handler[..], &full(b"pitm", &[0, 1]), &places(data_at), &info, &references, &properties, &idat].concat())
    };
    let head = boxed(b"ftyp", b"avif\0\0\0\0avifmif1miaf");
    let data_at = head.len() + meta(0).len() + 8;
    [head, meta(data_at as u32), boxed(b"mdat", &tiles.concat())].concat()
}

/// The AV1 bytes of a file with one picture.
fn stream(bytes: &[u8]) -> Vec<u8> {
    let Parts::Heif(heif) = probed(bytes).parts else { panic!("no parts") };
    heif.colour.tiles[0].iter().flat_map(|place| bytes[place.start as usize..place.end as usize].to_vec()).collect()
}

#[test]
fn tiles_lie_side_by_side_and_are_cut_at_the_edges() {
    let (columns, rows, tile) = (3_usize, 2_usize, 64_usize);
    let (width, height) = (150, 100);
    let whole = colours(columns * tile, rows * tile);
    let streams: Vec<Vec<u8>> = (0..columns * rows)
        .map(|at| {
            let pixels: Vec<RGB8> = (0..tile * tile)
                .map(|pixel| {
                    let [r, g, b] = whole[(at / columns * tile + pixel / tile) * columns * tile + at % columns * tile + pixel % tile];
                    RGB8 { r, g, b }
                })
                .collect();
            stream(&encoder(BitDepth::Eight).encode_rgb(Img::new(&pixels, tile, tile)).unwrap().avif_file)
        })
        .collect();
    let tiles: Vec<&[u8]> = streams.iter().map(Vec::as_slice).collect();
    let boxes = Boxes { grid: Some((3, 2, width as u16, height as u16)), extra: Vec::new() };
    let bytes = container(&tiles, (tile as u32, tile as u32), &boxes);
    let found = read(&bytes).unwrap().pixels;
    assert_eq!((found.width_px as usize, found.height_px as usize), (width, height));
    let wanted: Vec<[u8; 3]> = (0..width * height).map(|at| whole[at / width * columns * tile + at % width]).collect();
    let off = mean(&found, &wanted);
    assert!(off < 3.0, "{off}");
    // One tile less than the grid says.
    let fewer = container(&tiles[..5], (tile as u32, tile as u32), &boxes);
    assert_eq!(probe(&mut Cursor::new(&fewer), &NO_LIMITS).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn turns_mirrors_and_cuts_are_what_the_boxes_say() {
    let (width, height) = (64, 48);
    let tile = stream(&file(width, height, BitDepth::Eight));
    let with = |extra: Vec<([u8; 4], Vec<u8>)>| container(&[&tile], (width as u32, height as u32), &Boxes { grid: None, extra });
    for (turn, orientation) in
        [(0, Orientation::Upright), (1, Orientation::Rotate270), (2, Orientation::Rotate180), (3, Orientation::Rotate90)]
    {
        assert_eq!(probed(&with(vec![(*b"irot", vec![turn])])).orientation, orientation);
    }
    assert_eq!(probed(&with(vec![(*b"imir", vec![1])])).orientation, Orientation::FlipHorizontal);
    let numbers = |all: [u32; 8]| all.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    // 20 by 10 of the middle, one pixel to the left.
    let cut = with(vec![(*b"clap", numbers([20, 1, 10, 1, u32::MAX, 1, 0, 1])), (*b"irot", vec![3])]);
    let found = probed(&cut);
    assert_eq!((found.width_px, found.height_px, found.display_size()), (20, 10, (10, 20)));
    let pixels = read(&cut).unwrap().pixels;
    let whole = colours(width, height);
    let wanted: Vec<[u8; 3]> = (0..200).map(|at| whole[(at / 20 + 19) * width + at % 20 + 21]).collect();
    let off = mean(&pixels, &wanted);
    assert!(off < 3.0, "{off}");
    let unknown = with(vec![(*b"abcd", vec![0])]);
    assert!(read(&unknown).is_ok(), "what is not essential is passed over");
}

#[test]
fn colours_are_those_of_the_box_where_there_is_one() {
    let tile = stream(&file(16, 16, BitDepth::Eight));
    let nclx = |primaries: u8, transfer: u8, matrix: u8, range: u8| {
        let body = [&b"nclx"[..], &[0, primaries, 0, transfer, 0, matrix, range]].concat();
        container(&[&tile], (16, 16), &Boxes { grid: None, extra: vec![(*b"colr", body)] })
    };
    let wide = nclx(12, 13, 6, 0x80);
    assert!(probed(&wide).needs_profile && !probed(&nclx(1, 13, 6, 0x80)).needs_profile);
    fn opened(bytes: &[u8]) -> Result<codec::Opened<'_>, Error> {
        codec::open(&probed(bytes), bytes, &NO_LIMITS, Reading::WHOLE)
    }
    assert!(opened(&wide).unwrap().to_srgb.is_some() && opened(&nclx(1, 13, 6, 0x80)).unwrap().to_srgb.is_none());
    // Light is bent where it is made, so that nothing is left to do.
    assert!(opened(&nclx(9, 16, 9, 0x80)).unwrap().to_srgb.is_none() && !probed(&nclx(9, 16, 9, 0x80)).needs_profile);
    let error = opened(&nclx(9, 14, 10, 0)).err().unwrap();
    assert_eq!((error.kind(), error.to_string().contains("10")), (ErrorKind::Unsupported, true));
}

#[test]
fn other_sides_than_said_are_refused() {
    let tile = stream(&file(64, 48, BitDepth::Eight));
    for (sides, kind) in [((64, 47), ErrorKind::LimitExceeded), ((65, 48), ErrorKind::Malformed), ((8, 8), ErrorKind::LimitExceeded)] {
        let bytes = container(&[&tile], sides, &Boxes::default());
        assert_eq!(read(&bytes).err().map(|error| error.kind()), Some(kind), "{sides:?}");
    }
    let error = probe(&mut Cursor::new(container(&[&tile], (60_000, 60_000), &Boxes::default())), &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyPixels);
    assert_eq!(read(&container(&[&tile], (0, 48), &Boxes::default())).err().map(|error| error.kind()), Some(ErrorKind::Malformed));
}

#[test]
fn cut_and_broken_files_are_errors() {
    let bytes = file(70, 50, BitDepth::Ten);
    for end in 16..bytes.len() {
        let error = read(&bytes[..end]).err().unwrap_or_else(|| panic!("cut at {end}"));
        assert_eq!(error.kind(), ErrorKind::Truncated, "cut at {end}: {error}");
    }
    no_broken_byte_is_our_fault(&bytes);
}
