//! Results that keep 16 bits, through plans: exact where nothing is resampled, turned and cut as 8 bits are, and only where they are asked for.

use super::*;
use png::{BitDepth, ColorType};

const WIDTH_PX: u32 = 60;
const HEIGHT_PX: u32 = 40;

/// Smooth, with something in all 16 bits.
fn sample(at: usize, channels: usize) -> u16 {
    let (pixel, channel) = (at / channels, at % channels);
    let (x, y) = (pixel as u32 % WIDTH_PX, pixel as u32 / WIDTH_PX);
    (5_000 + x * 701 + y * 37 + channel as u32 * 3_001) as u16
}

/// A file of these channels; with an Exif orientation and a gamma of its own, if they are given.
fn file(colour: ColorType, orientation: Option<u8>, gamma: Option<f32>) -> Vec<u8> {
    let channels = colour.samples();
    let bytes: Vec<u8> = (0..(WIDTH_PX * HEIGHT_PX) as usize * channels).flat_map(|at| sample(at, channels).to_be_bytes()).collect();
    let mut file = Vec::new();
    let mut info = png::Info::with_size(WIDTH_PX, HEIGHT_PX);
    let exif = orientation.map(|value| [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[value, 0, 0, 0, 0, 0, 0]].concat());
    info.exif_metadata = exif.map(Into::into);
    info.source_gamma = gamma.map(png::ScaledFloat::new);
    let mut encoder = png::Encoder::with_info(&mut file, info).unwrap();
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&bytes).unwrap();
    writer.finish().unwrap();
    file
}

/// Depth, colour type and samples of a PNG, none of them changed.
fn read(file: &[u8]) -> (BitDepth, ColorType, Vec<u16>) {
    let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    let samples = bytes.as_chunks::<2>().0.iter().map(|sample| u16::from_be_bytes(*sample)).collect();
    (frame.bit_depth, frame.color_type, samples)
}

const COLOURS: [ColorType; 4] = [ColorType::Grayscale, ColorType::GrayscaleAlpha, ColorType::Rgb, ColorType::Rgba];

#[test]
fn every_bit_stays_where_the_picture_does() {
    for colour in COLOURS {
        let wanted: Vec<u16> = (0..(WIDTH_PX * HEIGHT_PX) as usize * colour.samples()).map(|at| sample(at, colour.samples())).collect();
        assert_eq!(read(&one(&file(colour, None, None), "scp:0/f:png").bytes), (BitDepth::Sixteen, colour, wanted), "{colour:?}");
    }
}

#[test]
fn it_is_asked_for_with_the_colours_of_the_source() {
    let deep = file(ColorType::Rgb, None, None);
    let depth = |text: &str| probe(&mut Cursor::new(&one(&deep, text).bytes), &Limits::default()).unwrap().bits;
    for text in ["scp:0", "scp:0/f:png", "scp:0/w:20", "scp:0/rs:fill:20:20/rot:90/fl:1:1", "scp:0/c:10:10:no"] {
        assert_eq!(depth(text), 16, "{text}");
    }
    // What is done in 8 bits leaves 8.
    for text in ["f:png", "w:20/f:png", "scp:0/bl:2/f:png", "scp:0/f:png/colors:64", "scp:0/f:webp/lossless:1", "scp:0/ll:1/w:20/f:png"] {
        assert_eq!(depth(text), 8, "{text}");
    }
    let with_gamma = file(ColorType::Rgb, None, Some(1.0 / 1.8));
    assert_eq!(read(&one(&with_gamma, "scp:0/f:png").bytes).0, BitDepth::Sixteen);
}

/// The same parts, sizes and turns as in 8 bits, of which it is never more than rounding apart.
#[test]
fn geometry_is_that_of_eight_bits() {
    for colour in COLOURS {
        for orientation in [None, Some(3), Some(6), Some(5)] {
            let source = file(colour, orientation, None);
            for text in
                ["", "w:25", "rs:force:31:17:1", "rs:fill:20:20/g:soea", "c:30:20:noea/rot:90", "fl:1:0/h:11", "ar:0/w:30", "w:90/el:1"]
            {
                let [deep, shallow] = [format!("scp:0/{text}/f:png"), format!("{text}/f:png")].map(|text| one(&source, &text));
                assert_eq!((deep.width_px, deep.height_px), (shallow.width_px, shallow.height_px), "{colour:?} {orientation:?} {text}");
                let (depth, found, samples) = read(&deep.bytes);
                assert_eq!((depth, found), (BitDepth::Sixteen, colour));
                let eight = image::load_from_memory(&shallow.bytes).unwrap().into_rgba8().into_raw();
                let channels = colour.samples();
                for (at, sample) in samples.into_iter().enumerate() {
                    let (pixel, channel) = (at / channels, at % channels);
                    let place = if channels % 2 == 0 && channel == channels - 1 { 3 } else { channel };
                    let (ours, theirs) = (f64::from(sample) / 257.0, f64::from(eight[pixel * 4 + place]));
                    assert!((ours - theirs).abs() <= 1.6, "{colour:?} {orientation:?} {text}: {ours} {theirs} at {at}");
                }
            }
        }
    }
}

#[test]
fn it_is_made_beside_others_and_stopped_as_they_are() {
    let source = file(ColorType::Rgba, None, None);
    let (outcomes, _, plan) = process(&source, &["w:20/f:jpg", "scp:0/w:30/f:png", "w:10/f:webp"], &Limits::default()).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    assert!(plan.explain(source.len() as u64).contains("variant 1: decode, resize and encode png 30x20, 16 bit"), "{plan}");
    let alone = plan_of(&source, &["scp:0/w:30/f:png"]);
    assert!(alone.reads_no_still());
    let cancel = AtomicBool::new(true);
    let mut outcomes = Vec::new();
    run(&alone, &source, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| outcomes.push(outcome)).unwrap();
    assert_eq!(outcomes.remove(0).result.unwrap_err().kind(), ErrorKind::Cancelled);
    let cut = &source[..source.len() / 2];
    let (mut outcomes, ..) = process(cut, &["scp:0/w:30/f:png"], &Limits::default()).unwrap();
    assert_eq!(outcomes.remove(0).result.unwrap_err().kind(), ErrorKind::Truncated);
}

fn plan_of(source: &[u8], texts: &[&str]) -> Plan {
    plan(&probe(&mut Cursor::new(source), &Limits::default()).unwrap(), &specs(texts), &Limits::default()).unwrap()
}

/// A colour that is transparent becomes alpha, and an interlaced file goes another way.
#[test]
fn rare_kinds_keep_their_bits_too() {
    let mut keyed = file(ColorType::Rgb, None, None);
    let key: Vec<u8> = (0..3).flat_map(|channel| sample(channel, 3).to_be_bytes()).collect();
    let data = keyed.windows(4).position(|four| four == b"IDAT").unwrap() - 4;
    let body = [b"tRNS", &key[..]].concat();
    let chunk = [&6_u32.to_be_bytes(), &body[..], &crc(&body).to_be_bytes()].concat();
    keyed.splice(data..data, chunk);
    let (depth, colour, samples) = read(&one(&keyed, "scp:0/f:png").bytes);
    assert_eq!((depth, colour), (BitDepth::Sixteen, ColorType::Rgba));
    assert_eq!((samples[3], samples[7]), (0, u16::MAX));
    assert_eq!(samples[4..7], [sample(3, 3), sample(4, 3), sample(5, 3)]);

    // A single pixel lies in an interlaced file as in any other.
    let mut single = Vec::new();
    let mut encoder = png::Encoder::new(&mut single, 1, 1);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
    writer.finish().unwrap();
    single[28] = 1;
    let sum = crc(&single[12..29]);
    single[29..33].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(read(&one(&single, "scp:0/f:png").bytes), (BitDepth::Sixteen, ColorType::Rgb, vec![0x0102, 0x0304, 0x0506]));
}

/// ISO 3309, a bit at a time.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg())))
}
