//! Animations against a slow twin that composes as the specifications say, and against the readers of the `image` crate.

use super::*;
use crate::codec::tests::corpus;
use crate::pixels::Layout;
use crate::probe::probe;
use image::AnimationDecoder;
use proptest::prelude::*;
use std::io::Cursor;

/// What becomes of a frame's rectangle: GIF's disposals and those of APNG.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Then {
    Keep,
    Clear,
    Restore,
}

/// One frame as it is written: where, its straight colours, how long.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) at: [u32; 4],
    pub(crate) pixels: Vec<[u8; 4]>,
    pub(crate) delay_ms: u32,
    pub(crate) then: Then,
    /// Over what is there, or in its place.
    pub(crate) blends: bool,
}

/// A canvas that was seen, and for how long.
pub(crate) type Seen = (Vec<[u8; 4]>, u32);

/// The slow twin: a canvas for every frame, pixel by pixel.
pub(crate) fn composed(width_px: u32, height_px: u32, frames: &[Drawn]) -> Vec<Seen> {
    let mut canvas = vec![[0_u8; 4]; (width_px * height_px) as usize];
    let mut seen = Vec::new();
    for frame in frames {
        let before = canvas.clone();
        let [left, top, width, height] = frame.at;
        let places = || (0..width * height).map(|at| (left + at % width, top + at / width, at as usize));
        for (x, y, from) in places().filter(|&(x, y, _)| x < width_px && y < height_px) {
            let (over, place) = (frame.pixels[from], (y * width_px + x) as usize);
            let under = canvas[place];
            canvas[place] = if !frame.blends {
                over
            } else {
                let (a, b) = (f64::from(over[3]) / 255.0, f64::from(under[3]) / 255.0);
                let alpha = a + b * (1.0 - a);
                let mixed = |channel: usize| (f64::from(over[channel]) * a + f64::from(under[channel]) * b * (1.0 - a)) / alpha;
                if alpha == 0.0 { under } else { [mixed(0), mixed(1), mixed(2), alpha * 255.0].map(|value| value.round() as u8) }
            };
        }
        seen.push((canvas.clone(), frame.delay_ms));
        match frame.then {
            Then::Keep => {}
            Then::Clear => places()
                .filter(|&(x, y, _)| x < width_px && y < height_px)
                .for_each(|(x, y, _)| canvas[(y * width_px + x) as usize] = [0; 4]),
            Then::Restore => canvas = before,
        }
    }
    seen
}

/// A GIF of these frames, whose colours are opaque or wholly transparent; `repeat` of `None`: nothing is said of it.
pub(crate) fn gif_of(width_px: u16, height_px: u16, frames: &[Drawn], repeat: Option<u16>, interlaced: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    {
        let mut encoder = ::gif::Encoder::new(&mut bytes, width_px, height_px, &[]).unwrap();
        if let Some(times) = repeat {
            encoder.set_repeat(if times == 0 { ::gif::Repeat::Infinite } else { ::gif::Repeat::Finite(times) }).unwrap();
        }
        for frame in frames {
            let mut colours: Vec<[u8; 4]> = vec![[0; 4]];
            let indices: Vec<u8> = frame
                .pixels
                .iter()
                .map(|pixel| {
                    let known = colours.iter().position(|colour| colour == pixel);
                    known.unwrap_or_else(|| {
                        colours.push(*pixel);
                        colours.len() - 1
                    }) as u8
                })
                .collect();
            let [left, top, width, height] = frame.at.map(|value| value as u16);
            let rows: Vec<usize> = if interlaced {
                [(0, 8), (4, 8), (2, 4), (1, 2)].into_iter().flat_map(|(first, step)| (first..usize::from(height)).step_by(step)).collect()
            } else {
                (0..usize::from(height)).collect()
            };
            let width_of = usize::from(width);
            let frame = ::gif::Frame {
                left,
                top,
                width,
                height,
                delay: (frame.delay_ms / 10) as u16,
                dispose: match frame.then {
                    Then::Keep => ::gif::DisposalMethod::Keep,
                    Then::Clear => ::gif::DisposalMethod::Background,
                    Then::Restore => ::gif::DisposalMethod::Previous,
                },
                transparent: Some(0),
                interlaced,
                palette: Some(colours.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect()),
                buffer: rows.iter().flat_map(|row| indices[row * width_of..(row + 1) * width_of].to_vec()).collect::<Vec<u8>>().into(),
                ..::gif::Frame::default()
            };
            encoder.write_frame(&frame).unwrap();
        }
    }
    bytes
}

/// An animated PNG of these frames, the first of which covers the canvas.
pub(crate) fn apng_of(width_px: u32, height_px: u32, frames: &[Drawn], plays: u32, has_default: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, width_px, height_px);
    encoder.set_color(::png::ColorType::Rgba);
    encoder.set_animated(frames.len() as u32, plays).unwrap();
    encoder.set_sep_def_img(has_default).unwrap();
    let mut writer = encoder.write_header().unwrap();
    if has_default {
        writer.write_image_data(&vec![77; (width_px * height_px * 4) as usize]).unwrap();
    }
    for frame in frames {
        let [left, top, width, height] = frame.at;
        // Position first back to the corner, as the writer checks both together.
        writer.set_frame_position(0, 0).unwrap();
        writer.set_frame_dimension(width, height).unwrap();
        writer.set_frame_position(left, top).unwrap();
        writer.set_frame_delay(frame.delay_ms as u16, 1000).unwrap();
        writer.set_blend_op(if frame.blends { ::png::BlendOp::Over } else { ::png::BlendOp::Source }).unwrap();
        writer
            .set_dispose_op(match frame.then {
                Then::Keep => ::png::DisposeOp::None,
                Then::Clear => ::png::DisposeOp::Background,
                Then::Restore => ::png::DisposeOp::Previous,
            })
            .unwrap();
        writer.write_image_data(frame.pixels.as_flattened()).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

/// What this crate reads of a file.
pub(crate) fn read(bytes: &[u8]) -> Result<(Vec<Seen>, Plays), Error> {
    let limits = Limits::default();
    let found = probe(&mut Cursor::new(bytes), &limits)?;
    let mut frames = Frames::open(&found, bytes, &limits)?;
    let mut seen = Vec::new();
    while let Some(frame) = frames.next()? {
        seen.push((frame.rgba.as_chunks::<4>().0.to_vec(), frame.delay_ms));
    }
    Ok((seen, frames.plays))
}

/// What the `image` crate reads of a file.
fn independent(bytes: &[u8], format: OutputFormat) -> Vec<Seen> {
    let frames = match format {
        OutputFormat::Gif => image::codecs::gif::GifDecoder::new(Cursor::new(bytes)).unwrap().into_frames(),
        _ => image::codecs::webp::WebPDecoder::new(Cursor::new(bytes)).unwrap().into_frames(),
    };
    frames
        .map(|frame| {
            let frame = frame.unwrap();
            let (numerator, denominator) = frame.delay().numer_denom_ms();
            (frame.buffer().as_raw().as_chunks::<4>().0.to_vec(), numerator / denominator)
        })
        .collect()
}

/// Colours apart where they can be seen.
pub(crate) fn same(found: &[[u8; 4]], wanted: &[[u8; 4]], within: u8) -> bool {
    found.len() == wanted.len()
        && found.iter().zip(wanted).all(|(found, wanted)| {
            found[3].abs_diff(wanted[3]) <= within
                && (wanted[3] == 0 || (0..3).all(|channel| found[channel].abs_diff(wanted[channel]) <= within))
        })
}

fn assert_same(found: &[Seen], wanted: &[Seen], within: u8, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: number of frames");
    for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found.1, wanted.1, "{what}: delay of frame {index}");
        let apart = found.0.iter().zip(&wanted.0).enumerate().find(|(_, (found, wanted))| !same(&[**found], &[**wanted], within));
        assert!(found.0.len() == wanted.0.len() && apart.is_none(), "{what}: frame {index}: place, found, wanted: {apart:?}");
    }
}

/// Writes canvases as an animation.
fn written(width_px: u32, height_px: u32, seen: &[Seen], output: Output, plays: Plays) -> Vec<u8> {
    let picture = |seen: &Seen| Pixels::new(width_px, height_px, Layout::Rgba8, seen.0.as_flattened().to_vec()).unwrap();
    let mut file = Moving::begin(output, plays, &picture(&seen[0]), crate::watch::Watch::NEVER).unwrap();
    for seen in seen {
        file.add(&picture(seen), seen.1, crate::watch::Watch::NEVER).unwrap();
    }
    file.finish(&Written::default(), crate::watch::Watch::NEVER).unwrap()
}

prop_compose! {
    /// A frame anywhere on a canvas of 12x9, of a few colours; `any_alpha`: also half transparent ones.
    fn drawn(any_alpha: bool, may_jut: bool)(
        place in (0_u32..12, 0_u32..9, 1_u32..=12, 1_u32..=9), colours in proptest::collection::vec((any::<[u8; 3]>(), 0_u8..4), 1..5),
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 108), delay_cs in 0_u32..30, then in 0_u8..4, blends in any::<bool>(),
    ) -> Drawn {
        let (left, top) = (place.0, place.1);
        let (width, height) = if may_jut { (place.2, place.3) } else { (place.2.min(12 - left), place.3.min(9 - top)) };
        let colour = |&([r, g, b], alpha): &([u8; 3], u8)| match alpha {
            0 => [0; 4],
            1 if any_alpha => [r, g, b, r / 2 + 60],
            _ => [r, g, b, 255],
        };
        let pixels = picks[..(width * height) as usize].iter().map(|pick| colour(pick.get(&colours))).collect();
        let then = [Then::Keep, Then::Keep, Then::Clear, Then::Restore][usize::from(then)];
        Drawn { at: [left, top, width, height], pixels, delay_ms: delay_cs * 10, then, blends: blends || !any_alpha }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gifs_are_composed_as_they_should_be(frames in proptest::collection::vec(drawn(false, true), 1..7), interlaced in any::<bool>()) {
        let file = gif_of(12, 9, &frames, Some(0), interlaced);
        let wanted = composed(12, 9, &frames);
        assert_same(&read(&file).unwrap().0, &wanted, 0, "gif");
    }

    #[test]
    fn animated_pngs_are_composed_as_they_should_be(
        first in drawn(true, false), rest in proptest::collection::vec(drawn(true, false), 0..6), plays in 0_u32..3, has_default in any::<bool>(),
    ) {
        let whole = Drawn { at: [0, 0, 12, 9], pixels: first.pixels.iter().cycle().take(108).copied().collect(), ..first };
        let frames: Vec<Drawn> = std::iter::once(whole).chain(rest).collect();
        let file = apng_of(12, 9, &frames, plays, has_default);
        let (seen, found) = read(&file).unwrap();
        assert_same(&seen, &composed(12, 9, &frames), 2, "apng");
        prop_assert_eq!(found, Plays(NonZeroU32::new(plays)));
    }

    #[test]
    fn what_is_written_is_what_was_seen(frames in proptest::collection::vec(drawn(true, false), 1..7), any_alpha in any::<bool>()) {
        let mut seen = composed(12, 9, &frames);
        for (canvas, delay_ms) in &mut seen {
            // Delays that both formats keep.
            *delay_ms = if *delay_ms == 10 { 20 } else { *delay_ms };
            if !any_alpha {
                canvas.iter_mut().for_each(|pixel| *pixel = if pixel[3] < 128 { [0; 4] } else { [pixel[0], pixel[1], pixel[2], 255] });
            }
        }
        let lossless = Output { lossless: true, ..Output::plain(OutputFormat::WebP, 80) };
        let file = written(12, 9, &seen, lossless, Plays::FOREVER);
        // That reader rounds where it blends.
        assert_same(&independent(&file, OutputFormat::WebP), &seen, 1, "webp");
        // As some delays of 0 and 10 are kept here, too.
        assert_same(&read(&file).unwrap().0, &seen, 0, "webp, read here");
        let hard: Vec<Seen> = seen
            .iter()
            .map(|(canvas, delay_ms)| {
                let hard = |pixel: &[u8; 4]| if pixel[3] < 128 { [0; 4] } else { [pixel[0], pixel[1], pixel[2], 255] };
                (canvas.iter().map(hard).collect(), *delay_ms)
            })
            .collect();
        let file = written(12, 9, &seen, Output::plain(OutputFormat::Gif, 80), Plays::FOREVER);
        assert_same(&independent(&file, OutputFormat::Gif), &hard, 0, "gif");
        assert_same(&read(&file).unwrap().0, &hard, 0, "gif, read here");
    }

    #[test]
    fn broken_animations_never_panic(which in 0_usize..3, flips in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..8), cut in any::<prop::sample::Index>()) {
        let mut bytes = samples().swap_remove(which);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let _ = read(&bytes);
        let _ = read(&bytes[..cut.index(bytes.len())]);
    }
}

/// A ball that crosses a scene, some frames long.
pub(crate) fn scene(width_px: u32, height_px: u32, count: u32) -> Vec<Drawn> {
    (0..count)
        .map(|frame| {
            let pixels = (0..width_px * height_px).map(|at| {
                let (x, y) = (at % width_px, at / width_px);
                let centre = width_px * (frame + 1) / (count + 1);
                let is_ball = (x as f32 - centre as f32).hypot(y as f32 - height_px as f32 / 2.0) < height_px as f32 / 4.0;
                if is_ball { [230, 40, 30, 255] } else { [(x * 8 / width_px * 30) as u8, (y * 8 / height_px * 30) as u8, 90, 255] }
            });
            Drawn { at: [0, 0, width_px, height_px], pixels: pixels.collect(), delay_ms: 40 + 10 * frame, then: Then::Keep, blends: true }
        })
        .collect()
}

fn samples() -> Vec<Vec<u8>> {
    let frames = scene(32, 24, 4);
    let seen = composed(32, 24, &frames);
    vec![
        gif_of(32, 24, &frames, Some(0), false),
        apng_of(32, 24, &frames, 0, false),
        written(32, 24, &seen, Output::plain(OutputFormat::WebP, 80), Plays::FOREVER),
    ]
}

#[test]
fn how_often_it_is_played_is_kept() {
    let frames = scene(8, 8, 2);
    for (repeat, plays) in [
        (None, Plays::ONCE),
        (Some(0), Plays::FOREVER),
        (Some(1), Plays(NonZeroU32::new(2))),
        (Some(65_535), Plays(NonZeroU32::new(65_536))),
    ] {
        let (seen, found) = read(&gif_of(8, 8, &frames, repeat, false)).unwrap();
        assert_eq!(found, plays, "{repeat:?}");
        for format in [OutputFormat::Gif, OutputFormat::WebP] {
            let again = read(&written(8, 8, &seen, Output::plain(format, 80), plays)).unwrap().1;
            // WebP counts to 65535.
            let wanted = if format == OutputFormat::WebP && repeat == Some(65_535) { Plays(NonZeroU32::new(65_535)) } else { plays };
            assert_eq!(again, wanted, "{format:?} {repeat:?}");
        }
    }
}

#[test]
fn the_extension_is_found_behind_the_first_frame_too() {
    let frames = scene(8, 8, 2);
    let whole = gif_of(8, 8, &frames, Some(0), false);
    let without = gif_of(8, 8, &frames, None, false);
    let extension = whole.windows(19).find(|window| window.starts_with(b"\x21\xff\x0bNETSCAPE")).unwrap();
    let late = [&without[..without.len() - 1], extension, &[0x3b]].concat();
    assert_eq!(read(&late).unwrap().1, Plays::FOREVER);
}

#[test]
fn frames_that_do_not_change_are_frames_all_the_same() {
    let mut seen = composed(16, 16, &scene(16, 16, 1));
    seen = vec![seen[0].clone(); 4];
    for output in [Output::plain(OutputFormat::Gif, 80), Output::plain(OutputFormat::WebP, 80)] {
        let file = written(16, 16, &seen, output, Plays::FOREVER);
        let delays: Vec<u32> = read(&file).unwrap().0.iter().map(|(_, delay_ms)| *delay_ms).collect();
        assert_eq!(delays, [40; 4], "{output:?}");
        assert!(file.len() < 2500, "{output:?}: {}", file.len());
    }
}

/// Hundredths of a second: the whole takes as long as it should, no frame is off by more than one, none becomes one that browsers slow down.
#[test]
fn delays_of_gifs_are_rounded_without_drift() {
    let canvas = vec![[9, 9, 9, 255]; 4];
    let delays = |asked: &[u32]| {
        let seen: Vec<Seen> = asked.iter().map(|&delay_ms| (canvas.clone(), delay_ms)).collect();
        let file = written(2, 2, &seen, Output::plain(OutputFormat::Gif, 80), Plays::FOREVER);
        read(&file).unwrap().0.iter().map(|(_, delay_ms)| *delay_ms).collect::<Vec<u32>>()
    };
    assert_eq!(delays(&[33; 6]), [30, 40, 30, 30, 40, 30]);
    assert_eq!(delays(&[0, 4, 10, 11, 16, 16, 40]), [0, 10, 10, 20, 20, 20, 40]);
    let asked: Vec<u32> = (0..200).map(|at| 25 + at * 7 % 60).collect();
    let found = delays(&asked);
    assert!(asked.iter().zip(&found).all(|(asked, found)| asked.abs_diff(*found) <= 10));
    assert!(asked.iter().sum::<u32>().abs_diff(found.iter().sum()) <= 5);
    assert_eq!(delays(&[700_000]), [655_350]);
}

#[test]
fn a_cut_animation_is_truncated() {
    for (which, bytes) in samples().into_iter().enumerate() {
        let wanted = read(&bytes).unwrap().0.len();
        for end in 60..bytes.len() {
            match read(&bytes[..end]) {
                Err(error) => assert!(matches!(error.kind(), ErrorKind::Truncated), "{which} cut at {end}: {error}"),
                // Without its trailer, or behind a whole frame, a GIF is whole; a WebP may do without its last padding.
                Ok((seen, _)) => {
                    assert!(which == 0 || (which == 2 && end + 1 == bytes.len()), "{which} cut at {end}: {} of {wanted}", seen.len())
                }
            }
        }
    }
}

#[test]
fn little_that_changes_costs_little() {
    let frames = scene(160, 120, 8);
    let seen = composed(160, 120, &frames);
    for output in [
        Output::plain(OutputFormat::Gif, 80),
        Output::plain(OutputFormat::WebP, 80),
        Output { lossless: true, ..Output::plain(OutputFormat::WebP, 80) },
    ] {
        let whole: usize = seen.iter().map(|seen| written(160, 120, std::slice::from_ref(seen), output, Plays::ONCE).len()).sum();
        let together = written(160, 120, &seen, output, Plays::ONCE).len();
        println!("{:?} lossless {}: {together} bytes, one by one {whole}", output.format, output.lossless);
        // Heads and tables of a few hundred bytes are there for every frame, and a drawn scene has little more.
        let share = if output.format == OutputFormat::Gif { 2.0 } else { 1.1 };
        assert!(together as f64 * share < whole as f64, "{output:?}: {together} of {whole}");
    }
}

#[test]
fn lossy_animations_stay_near_what_was_asked() {
    let seen = composed(96, 64, &scene(96, 64, 6));
    let file = written(96, 64, &seen, Output::plain(OutputFormat::WebP, 80), Plays::FOREVER);
    let found = independent(&file, OutputFormat::WebP);
    assert_eq!(found.len(), 6);
    for (index, (found, wanted)) in found.iter().zip(&seen).enumerate() {
        assert_eq!(found.1, wanted.1);
        let apart: u32 = found.0.as_flattened().iter().zip(wanted.0.as_flattened()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        assert!(apart / (96 * 64 * 4) < 4, "frame {index}: {apart}");
        assert!(found.0.iter().all(|pixel| pixel[3] == 255), "frame {index}");
    }
}

#[test]
fn corpus_of_animations_reads_as_an_independent_reader_reads_it() {
    let Some(files) = corpus("img-gif") else { return };
    let (mut alike, mut refused, mut apart) = (0, 0, Vec::new());
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".gif")) {
        let ours = match read(bytes) {
            Ok((seen, _)) => seen,
            Err(error) => {
                println!("{name}: {:?}: {error}", error.kind());
                refused += 1;
                continue;
            }
        };
        let Ok(decoder) = image::codecs::gif::GifDecoder::new(Cursor::new(bytes)) else { continue };
        let theirs: Vec<_> = decoder.into_frames().map_while(Result::ok).collect();
        let is_alike = theirs.len() == ours.len()
            && theirs.iter().zip(&ours).all(|(theirs, ours)| same(&ours.0, theirs.buffer().as_raw().as_chunks::<4>().0, 0));
        if is_alike { alike += 1 } else { apart.push((name, ours.len(), theirs.len())) }
    }
    println!("img-gif: {alike} alike, {refused} refused, otherwise composed: {apart:?}");
    assert!(alike >= 8, "{alike} {apart:?}");
}
