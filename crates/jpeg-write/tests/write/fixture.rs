//! Pictures made of arithmetic, decoders, and how alike two pictures are.
//!
//! Holds no tests. Invariant: the same arguments give the same picture.

use jpeg_write::{Options, Picture, Plane, encode};

/// What a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Photo,
    Noise,
    Flat,
    Text,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Photo, Kind::Noise, Kind::Flat, Kind::Text];

/// RGB8 rows, tightly packed.
pub(crate) fn rgb(kind: Kind, width: u32, height: u32) -> Vec<u8> {
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    let mut bytes = Vec::with_capacity(3 * (width * height) as usize);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        match kind {
            Kind::Photo => {
                // Shapes of all sizes, the larger the stronger, and a little grain.
                let shapes: f32 = [64, 32, 16, 8, 4].iter().map(|size| *size as f32 * 1.2 * lattice(x, y, *size)).sum();
                let grain = random() as f32 / 50.0;
                for (tint, shift) in [(0.8, 40), (1.0, 0), (1.1, 90)] {
                    let hue = 30.0 * lattice(x + shift, y, 48);
                    bytes.push((110.0 + shapes * tint + hue + grain).clamp(0.0, 255.0) as u8);
                }
            }
            Kind::Noise => bytes.extend((0..3).map(|_| random() as u8)),
            Kind::Flat => bytes.extend([200, 30, 90]),
            Kind::Text => bytes.extend([if (x / 3 * 7 + y / 5 * 13 + x * y / 40) % 5 < 2 { 20 } else { 240 }; 3]),
        }
    }
    bytes
}

/// Chance values from -1 to 1 at every `size`th point, and straight lines between them.
fn lattice(x: u32, y: u32, size: u32) -> f32 {
    let point = |x: u32, y: u32| {
        let mixed = (x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77) ^ size).wrapping_mul(0xc2b2_ae3d);
        (mixed ^ mixed >> 15).wrapping_mul(0x27d4_eb2f) as f32 / (1u32 << 31) as f32 - 1.0
    };
    let (column, row) = (x / size, y / size);
    let (right, down) = ((x % size) as f32 / size as f32, (y % size) as f32 / size as f32);
    let across = |row: u32| point(column, row) * (1.0 - right) + point(column + 1, row) * right;
    across(row) * (1.0 - down) + across(row + 1) * down
}

/// One channel of three.
pub(crate) fn channel(rgb: &[u8], index: usize) -> Vec<u8> {
    rgb.iter().skip(index).step_by(3).copied().collect()
}

/// JFIF's conversion in floating point: planes at full size.
pub(crate) fn ycbcr(rgb: &[u8]) -> [Vec<u8>; 3] {
    let mut planes = [const { Vec::new() }; 3];
    for pixel in rgb.as_chunks::<3>().0 {
        let [r, g, b] = pixel.map(f64::from);
        planes[0].push((0.299 * r + 0.587 * g + 0.114 * b).round() as u8);
        planes[1].push((128.0 - 0.168735892 * r - 0.331264108 * g + 0.5 * b).round().min(255.0) as u8);
        planes[2].push((128.0 + 0.5 * r - 0.418687589 * g - 0.081312411 * b).round().min(255.0) as u8);
    }
    planes
}

/// Means of 2x2 samples; the last column or row alone where a side is odd.
pub(crate) fn halved(plane: &[u8], width: u32, height: u32) -> Vec<u8> {
    let at = |x: u32, y: u32| u32::from(plane[(y.min(height - 1) * width + x.min(width - 1)) as usize]);
    let four = |x: u32, y: u32| (at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1) + 2) / 4;
    (0..height.div_ceil(2)).flat_map(|y| (0..width.div_ceil(2)).map(move |x| (x, y))).map(|(x, y)| four(2 * x, 2 * y) as u8).collect()
}

pub(crate) fn plane(samples: &[u8], width_px: u32, height_px: u32) -> Plane<'_> {
    Plane { samples, stride: width_px as usize, width_px, height_px }
}

pub(crate) fn written(picture: &Picture<'_>, options: &Options<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(picture, options, &mut out).expect("picture and options are right");
    out
}

/// By this project's decoder, strict: grey or RGB8.
pub(crate) fn decoded(jpeg: &[u8]) -> Vec<u8> {
    let mut options = jpeg_shrink::Options::new(jpeg_shrink::Scale::Full);
    options.limits.max_pixels = u64::MAX;
    let mut decoder = jpeg_shrink::Decoder::new(jpeg, options).expect("a JPEG");
    let mut pixels = vec![0; decoder.output_bytes()];
    decoder.decode_into(&mut pixels).expect("a whole JPEG");
    pixels
}

/// By zune-jpeg, strict: grey or RGB8.
pub(crate) fn decoded_by_zune(jpeg: &[u8]) -> Vec<u8> {
    let options = zune_core::options::DecoderOptions::default().set_strict_mode(true).set_max_width(65535).set_max_height(65535);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(zune_core::bytestream::ZCursor::new(jpeg), options);
    decoder.decode_headers().expect("a JPEG");
    let grey = decoder.info().expect("headers are read").components == 1;
    let space = if grey { zune_core::colorspace::ColorSpace::Luma } else { zune_core::colorspace::ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    decoder.decode().expect("a whole JPEG")
}

/// Peak signal-to-noise ratio in dB; infinite for the same samples.
pub(crate) fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares as f64).log10()
}
