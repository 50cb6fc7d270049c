//! The codecs against the `image` crate and the corpus: what is written reads back, what is broken is refused.

use super::*;
use crate::stage::{self, geometry::Region};
use ::png as png_crate;
use image::ImageFormat;
use png_crate::{BitDepth, ColorType};
use proptest::prelude::*;
use std::io::Cursor;

/// Writes pixels in one pass.
pub(crate) fn encode(pixels: &Pixels, format: OutputFormat, quality: u8) -> Result<Vec<u8>, Error> {
    super::encode(pixels, Output::plain(format, quality), &Written::default(), crate::watch::Watch::NEVER)
}

/// A whole picture, in colour.
pub(crate) struct Decoded {
    pub(crate) pixels: Pixels,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Decoded, Error> {
    let limits = Limits { max_pixels: 4_000_000, max_memory_bytes: 64 << 20, ..Limits::default() };
    let probe = crate::probe::probe(&mut Cursor::new(bytes), &limits)?;
    decode(&probe, bytes, &limits, Reading::WHOLE)
}

/// Reads a file with every byte broken in turn, by its lowest, a middle and its highest bit: whatever comes of it, the error is the file's.
pub(crate) fn no_broken_byte_is_our_fault(bytes: &[u8]) {
    for at in 0..bytes.len() {
        for flip in [1, 0x10, 0x80] {
            let mut broken = bytes.to_vec();
            broken[at] ^= flip;
            if let Err(error) = read(&broken) {
                assert_ne!(error.kind(), ErrorKind::Internal, "byte {at}: {error}");
            }
        }
    }
}

/// What a source holds, its planes brought to one size and to colours.
fn decode(probe: &Probe, source: &[u8], limits: &Limits, reading: Reading) -> Result<Decoded, Error> {
    let mut opened = open(probe, source, limits, reading)?;
    let (width_px, height_px) = (reading.scale.of(probe.width_px), reading.scale.of(probe.height_px));
    let region = Region { left_px: 0.0, top_px: 0.0, width_px: width_px.into(), height_px: height_px.into() };
    let shape = Shape { width_px, height_px, layout: decoded_layout(probe) };
    let mut feed =
        stage::resize::Feed::new(&opened.planes, region, shape, crate::probe::Orientation::Upright, crate::spec::Kernel::Lanczos3, false)?;
    while opened.strip(crate::watch::Watch::NEVER, &mut |plane, rows| {
        feed.push(plane, rows.first_row, rows.bytes, rows.stride, crate::watch::Watch::NEVER)
    })? {}
    let pixels = feed.finish()?;
    let pixels = if matches!(pixels.layout, Layout::Grey8 | Layout::Ycc444) { stage::samples::to_rgb(&pixels) } else { pixels };
    Ok(Decoded { pixels })
}

/// Soft gradients with a disc: something every codec can hold on to, with an edge.
pub(crate) fn picture_of(width_px: u32, height_px: u32, layout: Layout) -> Pixels {
    let mut bytes = Vec::new();
    for y in 0..height_px {
        for x in 0..width_px {
            let (fx, fy) = (x as f32 / width_px as f32, y as f32 / height_px as f32);
            let inside = (fx - 0.5).hypot(fy - 0.4) < 0.25;
            let rgb = [(fx * 255.0) as u8, (fy * 255.0) as u8, if inside { 220 } else { 60 }];
            bytes.extend(rgb);
            if layout == Layout::Rgba8 {
                bytes.push(if inside { 255 } else { (fx * 200.0) as u8 });
            }
        }
    }
    Pixels::new(width_px, height_px, layout, bytes).unwrap()
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

/// A PNG of raw samples, as the reference encoder writes it.
fn png_of(width_px: u32, height_px: u32, colour: ColorType, depth: BitDepth, palette: Option<(&[u8], &[u8])>, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png_crate::Encoder::new(&mut bytes, width_px, height_px);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if let Some((colours, alphas)) = palette {
        if !colours.is_empty() {
            encoder.set_palette(colours.to_vec());
        }
        encoder.set_trns(alphas.to_vec());
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    bytes
}

/// One whole file of each format and kind.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let rgb = picture_of(45, 31, Layout::Rgb8);
    let rgba = picture_of(45, 31, Layout::Rgba8);
    let mut progressive = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut progressive, 80);
    encoder.set_progressive(true);
    encoder.encode(&rgb.bytes, 45, 31, jpeg_encoder::ColorType::Rgb).unwrap();
    let mut one_scan = Vec::new();
    jpeg_encoder::Encoder::new(&mut one_scan, 80).encode(&rgb.bytes, 45, 31, jpeg_encoder::ColorType::Rgb).unwrap();
    let mut gif = Vec::new();
    {
        let mut encoder = ::gif::Encoder::new(&mut gif, 45, 31, &[]).unwrap();
        for _ in 0..3 {
            encoder.write_frame(&::gif::Frame::from_rgba_speed(45, 31, &mut rgba.bytes.clone(), 30)).unwrap();
        }
    }
    let mut lossless = Vec::new();
    image::codecs::webp::WebPEncoder::new_lossless(&mut lossless).encode(&rgba.bytes, 45, 31, image::ExtendedColorType::Rgba8).unwrap();
    vec![
        ("jpeg", encode(&rgb, OutputFormat::Jpeg, 80).unwrap()),
        ("jpeg 4:4:4", encode(&rgb, OutputFormat::Jpeg, 95).unwrap()),
        ("jpeg progressive", progressive),
        ("png", encode(&rgba, OutputFormat::Png, 80).unwrap()),
        ("webp", encode(&rgb, OutputFormat::WebP, 80).unwrap()),
        ("webp alpha", encode(&rgba, OutputFormat::WebP, 80).unwrap()),
        ("webp lossless", lossless),
        ("gif", gif),
        ("jpeg of one scan", one_scan),
    ]
}

#[test]
fn what_we_write_an_independent_reader_reads() {
    // Means over all channels, of 255: chroma at half size costs the sharp disc most.
    for (format, reference, layout, bound) in [
        (OutputFormat::Png, ImageFormat::Png, Layout::Rgb8, 0.0),
        (OutputFormat::Png, ImageFormat::Png, Layout::Rgba8, 0.0),
        (OutputFormat::Jpeg, ImageFormat::Jpeg, Layout::Rgb8, 2.0),
        (OutputFormat::WebP, ImageFormat::WebP, Layout::Rgb8, 3.0),
        (OutputFormat::WebP, ImageFormat::WebP, Layout::Rgba8, 12.0),
    ] {
        for (width_px, height_px) in [(1, 1), (1, 9), (17, 1), (64, 48), (333, 217)] {
            let pixels = picture_of(width_px, height_px, layout);
            let bytes = encode(&pixels, format, 92).unwrap();
            let read = image::load_from_memory_with_format(&bytes, reference).unwrap();
            assert_eq!((read.width(), read.height()), (width_px, height_px));
            let read = match layout {
                Layout::Rgba8 => read.into_rgba8().into_raw(),
                _ => read.into_rgb8().into_raw(),
            };
            let bound = if pixels.bytes.len() < 3000 { bound * 4.0 } else { bound };
            let difference = mean_difference(&read, &pixels.bytes);
            assert!(difference <= bound, "{format:?} {layout:?} {width_px}x{height_px}: {difference}");
        }
    }
}

#[test]
fn what_we_read_an_independent_reader_reads_alike() {
    // zune-jpeg 0.5.15, under the image crate, loses the chroma of baseline pictures whose components have a scan each.
    for (name, bytes) in samples().into_iter().filter(|(name, _)| *name != "jpeg") {
        let ours = read(&bytes).unwrap().pixels;
        let reference = image::load_from_memory(&bytes).unwrap();
        let reference = match ours.layout {
            Layout::Rgba8 => reference.into_rgba8().into_raw(),
            _ => reference.into_rgb8().into_raw(),
        };
        // Readers differ in how they bring chroma up to size; pixels that cannot be seen may differ at all.
        let bound = if name.starts_with("jpeg") || name.starts_with("webp") { 2.5 } else { 0.0 };
        if ours.layout == Layout::Rgb8 {
            let difference = mean_difference(&ours.bytes, &reference);
            assert!(difference <= bound, "{name}: {difference}");
        } else {
            for (a, b) in ours.bytes.as_chunks::<4>().0.iter().zip(reference.as_chunks::<4>().0) {
                assert_eq!(a[3], b[3], "{name}: alpha");
                assert!(a[3] == 0 || bound > 0.0 || a == b, "{name}: {a:?} {b:?}");
            }
        }
    }
}

#[test]
fn the_same_pixels_give_the_same_bytes() {
    let pixels = picture_of(97, 61, Layout::Rgba8);
    for format in [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::WebP] {
        assert_eq!(encode(&pixels, format, 80).unwrap(), encode(&pixels, format, 80).unwrap());
    }
    let bytes = encode(&pixels, OutputFormat::WebP, 80).unwrap();
    assert_eq!(read(&bytes).unwrap().pixels, read(&bytes).unwrap().pixels);
}

#[test]
fn small_depths_palettes_and_transparent_colours() {
    let one_bit = png_of(3, 1, ColorType::Grayscale, BitDepth::One, None, &[0b1010_0000]);
    assert_eq!(read(&one_bit).unwrap().pixels.bytes, [255, 255, 255, 0, 0, 0, 255, 255, 255]);
    let two_bits = png_of(4, 1, ColorType::Grayscale, BitDepth::Two, None, &[0b0001_1011]);
    let greys: Vec<u8> = [0, 85, 170, 255].iter().flat_map(|&grey| [grey; 3]).collect();
    assert_eq!(read(&two_bits).unwrap().pixels.bytes, greys);
    let palette = png_of(2, 1, ColorType::Indexed, BitDepth::Four, Some((&[1, 2, 3, 4, 5, 6], &[9])), &[0x01]);
    let found = read(&palette).unwrap().pixels;
    assert_eq!((found.layout, found.bytes), (Layout::Rgba8, vec![1, 2, 3, 9, 4, 5, 6, 255]));
    let keyed = png_of(2, 1, ColorType::Rgb, BitDepth::Eight, Some((&[], &[0, 7, 0, 8, 0, 9])), &[7, 8, 9, 7, 8, 10]);
    assert_eq!(read(&keyed).unwrap().pixels.bytes, [7, 8, 9, 0, 7, 8, 10, 255]);
}

#[test]
fn sixteen_bits_are_rounded() {
    let samples: [u16; 8] = [0, 128, 129, 257, 32_767, 32_768, 65_407, 65_535];
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let grey_alpha = png_of(4, 1, ColorType::GrayscaleAlpha, BitDepth::Sixteen, None, &data);
    let wanted: Vec<u8> = samples.iter().map(|&sample| (f64::from(sample) / 257.0).round() as u8).collect();
    let spread: Vec<u8> = wanted.chunks(2).flat_map(|pair| [pair[0], pair[0], pair[0], pair[1]]).collect();
    assert_eq!(read(&grey_alpha).unwrap().pixels.bytes, spread);
}

#[test]
fn a_png_with_a_wrong_checksum_is_refused() {
    let good = encode(&picture_of(20, 20, Layout::Rgb8), OutputFormat::Png, 80).unwrap();
    let data_at = good.windows(4).position(|kind| kind == b"IDAT").unwrap();
    for at in [data_at + 9, good.len() - 14] {
        let mut broken = good.clone();
        broken[at] ^= 1;
        assert!(read(&broken).is_err(), "byte {at}");
    }
}

#[test]
fn a_gif_frame_lies_on_its_canvas_and_is_cut_to_it() {
    let mut bytes = Vec::new();
    let mut encoder = ::gif::Encoder::new(&mut bytes, 3, 2, &[10, 20, 30, 40, 50, 60]).unwrap();
    let frame = ::gif::Frame {
        left: 2,
        top: 1,
        width: 2,
        height: 2,
        buffer: vec![0, 1, 1, 1].into(),
        transparent: Some(1),
        ..::gif::Frame::default()
    };
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    let found = read(&bytes).unwrap().pixels;
    let mut wanted = vec![0; 24];
    wanted[20..].copy_from_slice(&[10, 20, 30, 255]);
    assert_eq!((found.layout, found.bytes), (Layout::Rgba8, wanted));
}

#[test]
fn jpegs_of_one_and_four_channels() {
    let mut grey = Vec::new();
    jpeg_encoder::Encoder::new(&mut grey, 95).encode(&[77; 64 * 32], 64, 32, jpeg_encoder::ColorType::Luma).unwrap();
    let found = read(&grey).unwrap().pixels;
    assert_eq!(found.layout, Layout::Rgb8);
    assert!(found.bytes.iter().all(|&value| value.abs_diff(77) <= 1));
    // The encoder writes Adobe's inverted samples: all yellow and half of black, by the formula for what has no profile.
    let printed = |inks: [u8; 4]| {
        let mut rgb = [0; 3];
        inks::Inks::new(None).to_srgb(&inks, &mut rgb);
        rgb
    };
    let wanted = printed([0, 0, 255, 127]);
    for colour in [jpeg_encoder::ColorType::Cmyk, jpeg_encoder::ColorType::CmykAsYcck] {
        let mut ink = Vec::new();
        jpeg_encoder::Encoder::new(&mut ink, 95).encode(&[0, 0, 255, 128].repeat(32 * 32), 32, 32, colour).unwrap();
        let found = read(&ink).unwrap().pixels;
        let [r, g, b] = *found.bytes.first_chunk::<3>().unwrap();
        assert!([r, g, b].iter().zip(wanted).all(|(got, wanted)| got.abs_diff(wanted) <= 5), "{colour:?}: {r} {g} {b}, wanted {wanted:?}");
        let probe = crate::probe::probe(&mut Cursor::new(&ink), &Limits::default()).unwrap();
        let small = decode(&probe, &ink, &Limits::default(), Reading { scale: Scale::Quarter, ..Reading::WHOLE }).unwrap().pixels;
        assert_eq!((small.width_px, small.height_px, &small.bytes[..3]), (8, 8, &found.bytes[..3]), "{colour:?}");
    }
}

/// Without Adobe's word for it the samples are inks: the more, the darker.
#[test]
fn inks_without_adobes_marker_are_not_inverted() {
    let mut ink = Vec::new();
    jpeg_encoder::Encoder::new(&mut ink, 95).encode(&[0, 0, 255, 128].repeat(32 * 32), 32, 32, jpeg_encoder::ColorType::Cmyk).unwrap();
    let at = ink.windows(2).position(|two| two == [0xff, 0xee]).unwrap();
    let length = 2 + usize::from(ink[at + 3]);
    ink.drain(at..at + length);
    // The encoder wrote 255 - ink, which now counts as ink.
    let found = read(&ink).unwrap().pixels;
    let [r, g, b] = *found.bytes.first_chunk::<3>().unwrap();
    let mut wanted = [0; 3];
    inks::Inks::new(None).to_srgb(&[255, 255, 0, 127], &mut wanted);
    assert!([r, g, b].iter().zip(wanted).all(|(got, wanted)| got.abs_diff(wanted) <= 5), "{r} {g} {b}, wanted {wanted:?}");
}

#[test]
fn a_cut_file_is_truncated_at_every_length() {
    for (name, bytes) in samples() {
        let step = if bytes.len() > 4000 { 7 } else { 1 };
        for end in (0..bytes.len()).step_by(step) {
            match read(&bytes[..end]) {
                Err(error) if end >= SMALLEST_HEAD => {
                    assert_eq!(error.kind(), ErrorKind::Truncated, "{name} cut at {end} of {}", bytes.len())
                }
                Err(_) => {}
                // The first frame of a GIF may be whole long before the file is; a WebP may do without its last padding.
                Ok(_) => assert!(name.starts_with("gif") || (name.starts_with("webp") && end + 1 == bytes.len()), "{name} cut at {end}"),
            }
        }
    }
}

/// Shorter heads are no known format.
const SMALLEST_HEAD: usize = crate::probe::SNIFF_BYTES;

#[test]
fn an_early_end_of_image_inside_metadata_is_no_end() {
    let whole = encode(&picture_of(40, 40, Layout::Rgb8), OutputFormat::Jpeg, 80).unwrap();
    let thumbnail = [&[0xff, 0xe5, 0, 8][..], &[1, 2, 0xff, 0xd9, 3, 4]].concat();
    let with_thumbnail = [&whole[..2], &thumbnail, &whole[2..]].concat();
    assert!(read(&with_thumbnail).is_ok());
    assert_eq!(read(&with_thumbnail[..with_thumbnail.len() - 30]).err().map(|error| error.kind()), Some(ErrorKind::Truncated));
    assert!(read(&[&whole[..], b"trailer of a camera"].concat()).is_ok());
}

#[test]
fn an_animated_webp_gives_its_first_frame_on_the_canvas() {
    // Two frames of 2x2 at (2,0) on a canvas of 6x4, built from still pictures.
    let still = encode(&Pixels::new(2, 2, Layout::Rgb8, [200, 30, 30].repeat(4)).unwrap(), OutputFormat::WebP, 90).unwrap();
    let body = &still[12..];
    let mut chunks = b"VP8X\x0a\0\0\0\x12\0\0\0\x05\0\0\x03\0\0ANIM\x06\0\0\0\0\0\0\0\0\0".to_vec();
    for _ in 0..2 {
        chunks.extend(b"ANMF");
        chunks.extend((16 + body.len() as u32).to_le_bytes());
        chunks.extend([1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 100, 0, 0, 0]);
        chunks.extend(body);
    }
    let bytes = [&b"RIFF"[..], &(chunks.len() as u32 + 4).to_le_bytes(), b"WEBP", &chunks].concat();
    let probe = crate::probe::probe(&mut Cursor::new(&bytes), &Limits::default()).unwrap();
    assert_eq!((probe.frames, probe.display_size()), (Some(2), (6, 4)));
    let found = read(&bytes).unwrap().pixels;
    let pixel = |x: usize, y: usize| *found.bytes[(y * 6 + x) * 4..].first_chunk::<4>().unwrap();
    assert_eq!((pixel(0, 0), pixel(5, 3)), ([0; 4], [0; 4]));
    let [r, g, b, a] = pixel(2, 1);
    assert!(r.abs_diff(200) < 12 && g.abs_diff(30) < 12 && b.abs_diff(30) < 12 && a == 255, "{:?}", pixel(2, 1));
    for end in 16..bytes.len() {
        assert_eq!(read(&bytes[..end]).err().map(|error| error.kind()), Some(ErrorKind::Truncated), "cut at {end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Broken bytes may decode or not; they never panic, and what decodes has the sides the probe saw.
    #[test]
    fn flipped_bits_never_panic(which in 0usize..9, flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..12)) {
        let (_, mut bytes) = samples().swap_remove(which);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let _ = read(&bytes);
    }
}

fn corpus_root() -> Option<std::path::PathBuf> {
    #[allow(clippy::disallowed_methods, reason = "tests are told where their cases lie")]
    std::env::var_os("PIXMILL_CORPUS").map(Into::into)
}

/// Names of the corpus' folders; `None` and a word about it where there is no corpus.
pub(crate) fn corpus_folders() -> Option<Vec<String>> {
    let Some(root) = corpus_root() else {
        println!("SKIPPED: PIXMILL_CORPUS is not set");
        return None;
    };
    let folders = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir());
    Some(folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Files under a folder of the corpus, sorted; `None` and a word about it where there is no corpus.
pub(crate) fn corpus(folder: &str) -> Option<Vec<(String, Vec<u8>)>> {
    fn walk(folder: &std::path::Path, files: &mut Vec<(String, Vec<u8>)>) {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, files);
            } else {
                #[allow(clippy::disallowed_methods, reason = "tests read their cases")]
                files.push((path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()));
            }
        }
    }
    let Some(root) = corpus_root() else {
        println!("SKIPPED: {folder}: PIXMILL_CORPUS is not set");
        return None;
    };
    let mut files = Vec::new();
    walk(&root.join(folder), &mut files);
    assert!(!files.is_empty(), "{folder} is empty");
    Some(files)
}

#[test]
fn pngsuite_reads_as_the_reference_reads_it() {
    let Some(files) = corpus("img-pngsuite") else { return };
    let (mut read_alike, mut refused) = (0, 0);
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".png")) {
        if name.starts_with('x') && name.len() == "xs1n0g01.png".len() {
            assert!(read(bytes).is_err(), "{name} must be refused");
            refused += 1;
            continue;
        }
        let ours = read(bytes).unwrap_or_else(|error| panic!("{name}: {error}")).pixels;
        let reference = image::load_from_memory(bytes).unwrap();
        let deep = matches!(
            reference.color(),
            image::ColorType::L16 | image::ColorType::La16 | image::ColorType::Rgb16 | image::ColorType::Rgba16
        );
        let reference = match ours.layout {
            Layout::Rgba8 => reference.into_rgba8().into_raw(),
            _ => reference.into_rgb8().into_raw(),
        };
        let worst = ours.bytes.iter().zip(&reference).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(ours.bytes.len() == reference.len() && worst <= Some(u8::from(deep)), "{name}: {worst:?}");
        read_alike += 1;
    }
    println!("pngsuite: {read_alike} read, {refused} refused");
    assert_eq!(refused, 14);
    assert!(read_alike >= 150, "{read_alike}");
}

mod small;
