//! Pictures made in code: photo-like ones, and files in every format, depth and orientation the tests need.

use std::io::Cursor;

use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

/// Numbers that look like chance and are the same every time (Knuth's MMIX generator).
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }
}

/// Something like a photo: light, soft shapes, an edge, a little grain.
pub(crate) fn photo(width_px: u32, height_px: u32, seed: u64) -> RgbImage {
    let mut chance = Chance(seed ^ 0x9E37_79B9);
    let phase = f64::from(chance.below(628)) / 100.0;
    RgbImage::from_fn(width_px, height_px, |x, y| {
        let (u, v) = (f64::from(x) / f64::from(width_px), f64::from(y) / f64::from(height_px));
        let wave = (u * 9.0 + phase).sin() * (v * 7.0 - phase).cos();
        let edge = if (u - 0.5).hypot(v - 0.4) < 0.25 { 50.0 } else { 0.0 };
        let grain = f64::from(chance.below(7)) - 3.0;
        let level = |base: f64, share: f64| (base + 60.0 * wave * share + edge + 40.0 * v + grain).clamp(0.0, 255.0) as u8;
        Rgb([level(70.0, 1.0), level(90.0, 0.6), level(120.0, -0.8)])
    })
}

pub(crate) fn jpeg(picture: &RgbImage, quality: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, quality);
    encoder.write_image(picture.as_raw(), picture.width(), picture.height(), image::ExtendedColorType::Rgb8).expect("encodes");
    file
}

/// The picture in a format the `image` crate writes.
pub(crate) fn file(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.into().write_to(&mut file, format).expect("encodes");
    file.into_inner()
}

pub(crate) fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    file(picture, ImageFormat::Png)
}

/// A small photo as JPEG.
pub(crate) fn small_jpeg(seed: u64) -> Vec<u8> {
    jpeg(&photo(160, 120, seed), 85)
}

/// A picture with soft transparency.
pub(crate) fn translucent(width_px: u32, height_px: u32) -> RgbaImage {
    let opaque = photo(width_px, height_px, 3);
    RgbaImage::from_fn(width_px, height_px, |x, y| {
        let Rgb([r, g, b]) = *opaque.get_pixel(x, y);
        Rgba([r, g, b, (255 * x / width_px) as u8])
    })
}

/// The JPEG with an Exif segment that says only its orientation (Exif 2.32, tag 0x0112), right after SOI.
pub(crate) fn with_orientation(jpeg: &[u8], orientation: u16) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    exif.extend_from_slice(&orientation.to_be_bytes());
    exif.extend_from_slice(&[0; 6]);
    let mut file = jpeg[..2].to_vec();
    file.extend_from_slice(&[0xFF, 0xE1]);
    file.extend_from_slice(&u16::try_from(exif.len() + 2).expect("short").to_be_bytes());
    file.extend_from_slice(&exif);
    file.extend_from_slice(&jpeg[2..]);
    file
}

/// The JPEG with a comment segment right after SOI: other bytes, the same picture (ITU-T T.81, B.2.4.5).
pub(crate) fn with_comment(jpeg: &[u8], text: &str) -> Vec<u8> {
    let mut file = jpeg[..2].to_vec();
    file.extend_from_slice(&[0xFF, 0xFE]);
    file.extend_from_slice(&u16::try_from(text.len() + 2).expect("short").to_be_bytes());
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(&jpeg[2..]);
    file
}

/// What a viewer shows of stored pixels with an orientation (the meaning of the values 1 to 8, Exif 2.32).
pub(crate) fn displayed(stored: &DynamicImage, orientation: u16) -> DynamicImage {
    match orientation {
        1 => stored.clone(),
        2 => stored.fliph(),
        3 => stored.rotate180(),
        4 => stored.flipv(),
        5 => stored.rotate90().fliph(),
        6 => stored.rotate90(),
        7 => stored.rotate270().fliph(),
        8 => stored.rotate270(),
        _ => panic!("no such orientation: {orientation}"),
    }
}

/// A PNG with a palette, written by hand: stored deflate blocks, so that nothing but this file decides its bytes.
pub(crate) fn palette_png(width_px: u32, height_px: u32, palette: &[[u8; 3]], index: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let mut rows = Vec::new();
    for y in 0..height_px {
        rows.push(0);
        rows.extend((0..width_px).map(|x| index(x, y)));
    }
    let mut header = Vec::new();
    header.extend_from_slice(&width_px.to_be_bytes());
    header.extend_from_slice(&height_px.to_be_bytes());
    header.extend_from_slice(&[8, 3, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"PLTE", palette.as_flattened());
    chunk(&mut file, b"IDAT", &stored_zlib(&rows));
    chunk(&mut file, b"IEND", &[]);
    file
}

/// A PNG of one colour whose header says what it likes: the cheapest large picture there is. `rows` are filtered rows.
pub(crate) fn png_saying(width_px: u32, height_px: u32, rows: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend_from_slice(&width_px.to_be_bytes());
    header.extend_from_slice(&height_px.to_be_bytes());
    header.extend_from_slice(&[8, 0, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &stored_zlib(rows));
    chunk(&mut file, b"IEND", &[]);
    file
}

/// A PNG whose head is fine and whose pixel data are not: right checksum of the chunk, nonsense instead of a zlib stream.
pub(crate) fn corrupt_png() -> Vec<u8> {
    let mut header = Vec::new();
    header.extend_from_slice(&64_u32.to_be_bytes());
    header.extend_from_slice(&64_u32.to_be_bytes());
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &[0xAB; 200]);
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend_from_slice(&u32::try_from(data.len()).expect("short").to_be_bytes());
    let begin = file.len();
    file.extend_from_slice(kind);
    file.extend_from_slice(data);
    let sum = crc32(&file[begin..]);
    file.extend_from_slice(&sum.to_be_bytes());
}

/// Stored blocks in a zlib wrapper (RFC 1950, RFC 1951 section 3.2.4).
fn stored_zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut pieces = data.chunks(65_535).peekable();
    while let Some(piece) = pieces.next() {
        let length = u16::try_from(piece.len()).expect("short");
        out.push(u8::from(pieces.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(piece);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend_from_slice(&(b << 16 | a).to_be_bytes());
    out
}

/// CRC of PNG chunks (ISO 3309, PNG annex D), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0_u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 }))
}

/// Options that keep a core for many seconds, whatever the source; whoever asks for it cancels it.
pub(crate) const SLOW: &str = "rs:force:4000:3000:1/median:99/f:png";
