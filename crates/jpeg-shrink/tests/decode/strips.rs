//! Samples as they lie: upsampled and coloured here, pixel by pixel, they are the rows; in parts and pieces they are the same.

use crate::{
    agreement::{SCALES, decode},
    pictures::{self, Manner},
};
use jpeg_encoder::{ColorType, SamplingFactor};
use jpeg_shrink::{Chroma, ColourModel, Component, Decoder, Header, Options, PushDecoder, Refinement, Scale, Strip};

#[derive(Debug, Default, Clone, PartialEq)]
struct Plane {
    width: usize,
    rows: Vec<Vec<u8>>,
}

/// Puts a strip below what is there, and checks what it says of itself.
fn add(planes: &mut Vec<Plane>, strip: Strip<'_>, first: &mut [usize]) {
    planes.resize(strip.components().len(), Plane::default());
    for ((plane, samples), first) in planes.iter_mut().zip(strip.components()).zip(first) {
        assert_eq!(samples.first_row as usize, *first);
        assert!(samples.height_px > 0 && samples.stride >= samples.width_px as usize);
        assert_eq!(samples.bytes.len(), (samples.height_px as usize - 1) * samples.stride + samples.width_px as usize);
        assert_eq!(samples.rows().len(), samples.height_px as usize);
        plane.width = samples.width_px as usize;
        plane.rows.extend(samples.rows().map(<[u8]>::to_vec));
        *first += samples.height_px as usize;
    }
}

fn planes(mut decoder: Decoder<'_>) -> Vec<Plane> {
    let (mut planes, mut first) = (Vec::new(), [0; 4]);
    let sides = decoder.plane_sides();
    while let Some(strip) = decoder.read_strip().unwrap() {
        add(&mut planes, strip, &mut first);
    }
    assert!(decoder.read_strip().unwrap().is_none());
    for (plane, side) in planes.iter().zip(&sides) {
        assert_eq!((plane.width, plane.rows.len()), (side.0 as usize, side.1 as usize));
    }
    assert_eq!(planes.len(), sides.len());
    planes
}

/// How many times larger each way a component becomes, as two fractions.
fn ratios(part: &Component, header: &Header, options: Options) -> [(usize, usize); 2] {
    let luma_side = options.scale.eighths() as usize;
    let most = |of: fn(&Component) -> u8| usize::from(header.components.iter().map(of).max().unwrap());
    let (across, down) = (luma_side * most(|part| part.horizontal), luma_side * most(|part| part.vertical));
    let (h, v) = (usize::from(part.horizontal), usize::from(part.vertical));
    let mut side = luma_side;
    while side < 8 && across.is_multiple_of(2 * side * h) && down.is_multiple_of(2 * side * v) {
        let enough = match options.chroma {
            Chroma::Large => false,
            Chroma::Small => across <= 2 * side * h && down <= 2 * side * v,
            Chroma::Native => true,
        };
        if enough {
            break;
        }
        side *= 2;
    }
    [(across, h * side), (down, v * side)]
}

/// One sample of a component in the picture's size.
fn sample(plane: &Plane, [across, down]: [(usize, usize); 2], fancy: bool, x: usize, y: usize) -> i32 {
    let at = |x: usize, y: usize| i32::from(plane.rows[y.min(plane.rows.len() - 1)][x.min(plane.width - 1)]);
    let beside = |place: usize| if place.is_multiple_of(2) { (place / 2).saturating_sub(1) } else { place / 2 + 1 };
    let twice = |(of, to): (usize, usize)| of == 2 * to;
    let same = |(of, to): (usize, usize)| of == to;
    let wide = fancy && plane.width > 2;
    if wide && twice(across) && same(down) {
        (3 * at(x / 2, y) + at(beside(x), y) + if x.is_multiple_of(2) { 1 } else { 2 }) >> 2
    } else if fancy && same(across) && twice(down) {
        (3 * at(x, y / 2) + at(x, beside(y)) + if y.is_multiple_of(2) { 1 } else { 2 }) >> 2
    } else if wide && twice(across) && twice(down) {
        let sum = |x: usize| 3 * at(x, y / 2) + at(x, beside(y));
        (3 * sum(x / 2) + sum(beside(x)) + if x.is_multiple_of(2) { 8 } else { 7 }) >> 4
    } else {
        at(x * across.1 / across.0, y * down.1 / down.0)
    }
}

/// Rows from planes.
fn pixels(planes: &[Plane], header: &Header, options: Options) -> Vec<u8> {
    let (width, height) = (options.scale.of(header.width_px) as usize, options.scale.of(header.height_px) as usize);
    let ratios: Vec<_> = header.components.iter().map(|part| ratios(part, header, options)).collect();
    let fancy = options.scale != Scale::Eighth || options.chroma != Chroma::Large;
    let mut out = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let values: Vec<i32> = planes.iter().zip(&ratios).map(|(plane, ratios)| sample(plane, *ratios, fancy, x, y)).collect();
            let colours = || {
                let (luma, blue, red) = (values[0], values[1] - 128, values[2] - 128);
                let fixed = |value: f64| (value * 65536.0).round() as i32;
                [
                    luma + ((fixed(1.402) * red + 32768) >> 16),
                    luma + ((-fixed(0.34414) * blue - fixed(0.71414) * red + 32768) >> 16),
                    luma + ((fixed(1.772) * blue + 32768) >> 16),
                ]
                .map(|value| value.clamp(0, 255) as u8)
            };
            match header.colour {
                ColourModel::YCbCr => out.extend(colours()),
                ColourModel::Ycck => out.extend(colours().map(|value| 255 - value).into_iter().chain([values[3] as u8])),
                ColourModel::Grey | ColourModel::Rgb | ColourModel::Cmyk => out.extend(values.iter().map(|&value| value as u8)),
            }
        }
    }
    out
}

#[test]
fn planes_hold_what_rows_are_made_of() {
    let mut compared = 0;
    for (name, bytes) in pictures::all() {
        for scale in SCALES {
            for chroma in [Chroma::Large, Chroma::Small, Chroma::Native] {
                let options = Options { chroma, ..Options::new(scale) };
                let decoder = Decoder::new(&bytes, options).unwrap();
                let header = decoder.header().clone();
                let planes = planes(decoder);
                assert!(pixels(&planes, &header, options) == decode(&bytes, options).0, "{name} {scale:?} {chroma:?}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 208 * 12);
}

#[test]
fn native_planes_keep_the_ratio_of_their_factors() {
    for (sampling, divisors) in [
        (SamplingFactor::F_1_1, (1, 1)),
        (SamplingFactor::F_2_1, (2, 1)),
        (SamplingFactor::F_2_2, (2, 2)),
        (SamplingFactor::F_4_1, (4, 1)),
        (SamplingFactor::F_4_2, (4, 2)),
    ] {
        let bytes = pictures::jpeg(640, 480, ColorType::Rgb, Manner::plain(sampling));
        for scale in SCALES {
            let decoder = Decoder::new(&bytes, Options { chroma: Chroma::Native, ..Options::new(scale) }).unwrap();
            let luma = (scale.of(640), scale.of(480));
            let chroma = (luma.0 / divisors.0, luma.1 / divisors.1);
            assert_eq!(decoder.plane_sides(), [luma, chroma, chroma], "{sampling:?} {scale:?}");
        }
    }
}

#[test]
fn parts_give_their_own_strips() {
    let mut split = 0;
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2, SamplingFactor::F_2_1] {
        let mcu = if sampling == SamplingFactor::F_1_1 { 8 } else { 16 };
        // A restart each row of MCUs, and every third.
        for every in [1, 3] {
            let manner = Manner { restart: (403u16.div_ceil(mcu)) * every, ..Manner::plain(sampling) };
            let bytes = pictures::jpeg(403, 301, ColorType::Rgb, manner);
            for scale in SCALES {
                let options = Options::new(scale);
                let whole = planes(Decoder::new(&bytes, options).unwrap());
                let (mut joined, mut first) = (Vec::new(), [0; 4]);
                for mut part in Decoder::new(&bytes, options).unwrap().split(3) {
                    while let Some(strip) = part.read_strip().unwrap() {
                        add(&mut joined, strip, &mut first);
                    }
                    split += 1;
                }
                assert!(joined == whole, "{sampling:?} {scale:?}");
            }
        }
    }
    assert_eq!(split, 3 * 2 * 4 * 3);
}

#[test]
fn pieces_give_the_same_strips() {
    let manner = Manner { quality: 100, ..Manner::plain(SamplingFactor::F_2_2) };
    for (progressive, restart) in [(false, 0), (false, 9), (true, 0)] {
        let bytes = pictures::jpeg(700, 500, ColorType::Rgb, Manner { progressive, restart, ..manner });
        for scale in SCALES {
            let options = Options { chroma: Chroma::Native, ..Options::new(scale) };
            let mut decoder = PushDecoder::new(options);
            assert!(decoder.plane_sides().is_empty() && decoder.read_strip().unwrap().is_none());
            let (mut pushed, mut first, mut early) = (Vec::new(), [0; 4], 0);
            for piece in bytes.chunks(10_007) {
                decoder.push(piece).unwrap();
                while let Some(strip) = decoder.read_strip().unwrap() {
                    add(&mut pushed, strip, &mut first);
                    early += 1;
                }
            }
            decoder.finish().unwrap();
            while let Some(strip) = decoder.read_strip().unwrap() {
                add(&mut pushed, strip, &mut first);
            }
            assert!(decoder.is_done());
            assert_eq!(early > 5, !progressive);
            assert!(pushed == planes(Decoder::new(&bytes, options).unwrap()), "{progressive} {restart} {scale:?}");
        }
    }
}

#[test]
fn a_fault_ends_strips_as_it_ends_rows() {
    let bytes = pictures::jpeg(400, 300, ColorType::Rgb, Manner::plain(SamplingFactor::F_2_2));
    for cut in [bytes.len() / 2, bytes.len() - 40] {
        let cut = &bytes[..cut];
        for scale in SCALES {
            let mut strict = Decoder::new(cut, Options::new(scale)).unwrap();
            let fault = loop {
                match strict.read_strip() {
                    Ok(strip) => assert!(strip.is_some()),
                    Err(fault) => break fault,
                }
            };
            assert_eq!(strict.read_strip().unwrap_err(), fault);

            let options = Options { lenient: true, ..Options::new(scale) };
            let mut lenient = Decoder::new(cut, options).unwrap();
            let (mut planes, mut first) = (Vec::new(), [0; 4]);
            while let Some(strip) = lenient.read_strip().unwrap() {
                add(&mut planes, strip, &mut first);
            }
            assert_eq!(lenient.fault(), Some(&fault));
            let mut rows = Decoder::new(cut, options).unwrap();
            let mut pixels = vec![0; rows.output_bytes()];
            assert_eq!(rows.decode_into(&mut pixels).unwrap().rows as usize, planes[0].rows.len(), "{scale:?}");
            // At the end of its strips a decoder has no rows either.
            assert_eq!(lenient.read_rows(&mut pixels).unwrap(), 0);
        }
    }
}

/// Not how it is meant; but it neither panics nor gives a wrong row.
#[test]
fn rows_after_strips_are_those_below_them() {
    let bytes = pictures::jpeg(97, 75, ColorType::Rgb, Manner::plain(SamplingFactor::F_2_2));
    for (bytes, refinement) in [(&bytes[..], Refinement::Read), (pictures::FIXTURES[2].1, Refinement::LeaveOut)] {
        for scale in SCALES {
            let options = Options { refinement, chroma: Chroma::Native, ..Options::new(scale) };
            let (want, ..) = decode(bytes, options);
            let mut decoder = Decoder::new(bytes, options).unwrap();
            let first = decoder.read_strip().unwrap().unwrap().components().next().unwrap().height_px;
            let mut below = vec![0; decoder.output_bytes()];
            let rows = decoder.read_rows(&mut below).unwrap();
            assert_eq!(rows as u32, decoder.height_px() - first);
            let row_bytes = decoder.row_bytes();
            assert!(below[..rows * row_bytes] == want[want.len() - rows * row_bytes..], "{scale:?}");
            // And strips after rows: none are left.
            assert!(decoder.read_strip().unwrap().is_none());
        }
    }
}
