//! AVIF sequences: put together here of still pictures, and those of the corpus.

use crate::{
    codec::{
        Frames, Plays, can_move,
        tests::{corpus, encode, picture_of, read},
    },
    error::ErrorKind,
    limits::Limits,
    pixels::{Layout, Pixels},
    probe::{Parts, Probe, probe},
    spec::OutputFormat,
};
use std::{io::Cursor, num::NonZeroU32};

const DELAYS: [u32; 3] = [40, 70, 33];

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

/// A full box of 32-bit fields.
fn fields(kind: &[u8; 4], flags: u32, words: &[u32]) -> Vec<u8> {
    let words = std::iter::once(&flags).chain(words);
    boxed(kind, &words.flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>())
}

/// Frame `index` of the film.
fn frame(index: usize, layout: Layout) -> Pixels {
    let mut pixels = picture_of(36, 20, layout);
    pixels.bytes.rotate_right(index * 4 * layout.channels());
    pixels
}

fn probed(bytes: &[u8]) -> Probe {
    probe(&mut Cursor::new(bytes), &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

const ALPHA: &[u8] = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha";
const DEPTH: &[u8] = b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth";

fn film(layout: Layout, plays: u32) -> (Vec<Vec<u8>>, Vec<u8>) {
    film_of(layout, plays, ALPHA)
}

/// The stills of a film, and the film: the first still's file, and behind it a movie of all of them, their alpha a track of `what`. It is played `plays`
/// times, 0 for ever.
fn film_of(layout: Layout, plays: u32, what: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let stills: Vec<Vec<u8>> = (0..DELAYS.len()).map(|index| encode(&frame(index, layout), OutputFormat::Avif, 90).unwrap()).collect();
    let mut file = stills[0].clone();
    file[8..12].copy_from_slice(b"avis");
    // Data first: samples of colours, then those of transparency, a chunk each.
    let (mut places, mut data) = (Vec::new(), Vec::new());
    for is_alpha in [false, true] {
        for still in &stills {
            let found = probed(still);
            let Parts::Heif(heif) = &found.parts else { panic!("is AVIF") };
            let Some(coded) = (if is_alpha { heif.alpha.as_ref() } else { Some(&heif.colour) }) else { continue };
            let place = &coded.tiles[0][0];
            let sample = &still[place.start as usize..place.end as usize];
            places.push((is_alpha, (file.len() + 8 + data.len()) as u32, sample.len() as u32));
            data.extend(sample);
        }
    }
    file.extend(boxed(b"mdat", &data));
    let track = |is_alpha: bool, id: u32| {
        let own: Vec<(u32, u32)> = places.iter().filter(|place| place.0 == is_alpha).map(|&(_, at, bytes)| (at, bytes)).collect();
        let kind = if is_alpha { boxed(b"auxi", &[&[0; 4][..], what, b"\0"].concat()) } else { Vec::new() };
        let entry = [&[0; 24][..], &36_u16.to_be_bytes(), &20_u16.to_be_bytes(), &[0; 50], &kind].concat();
        let description = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &boxed(b"av01", &entry)].concat());
        let times: Vec<u32> = DELAYS.iter().flat_map(|&delay| [1, delay]).collect();
        let sizes: Vec<u32> = own.iter().map(|(_, bytes)| *bytes).collect();
        let offsets: Vec<u32> = own.iter().map(|(at, _)| *at).collect();
        let table = boxed(
            b"stbl",
            &[
                description,
                fields(b"stts", 0, &[&[3], &times[..]].concat()),
                fields(b"stsc", 0, &[1, 1, 1, 1]),
                fields(b"stsz", 0, &[&[0, 3], &sizes[..]].concat()),
                fields(b"stco", 0, &[&[3], &offsets[..]].concat()),
            ]
            .concat(),
        );
        let handler = boxed(b"hdlr", &[&[0; 8][..], if is_alpha { b"auxv" } else { b"pict" }, &[0; 13]].concat());
        let media = boxed(b"mdia", &[fields(b"mdhd", 0, &[0, 0, 1000, 143, 0]), handler, boxed(b"minf", &table)].concat());
        let length = if plays == 0 { u32::MAX } else { 143 * plays };
        let header = fields(b"tkhd", 3, &[0, 0, id, 0, length]);
        let edits = boxed(b"edts", &fields(b"elst", 1, &[1, 143, 0, 0x0001_0000]));
        let about = if is_alpha { boxed(b"tref", &boxed(b"auxl", &1_u32.to_be_bytes())) } else { Vec::new() };
        boxed(b"trak", &[header, edits, about, media].concat())
    };
    let mut tracks = track(false, 1);
    if layout == Layout::Rgba8 {
        tracks.extend(track(true, 2));
    }
    file.extend(boxed(b"moov", &tracks));
    (stills, file)
}

#[test]
fn every_frame_of_a_film_is_the_picture_it_was_made_of() {
    for (layout, plays) in [(Layout::Rgb8, 0), (Layout::Rgba8, 3)] {
        let (stills, file) = film(layout, plays);
        let found = probed(&file);
        assert_eq!((found.frames, can_move(&found)), (Some(3), true));
        let mut frames = Frames::open(&found, &file, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(frames.plays, Plays(NonZeroU32::new(plays)));
        let mut count = 0;
        while let Some(frame) = frames.next().unwrap_or_else(|error| panic!("{error}")) {
            let still = read(&stills[count]).unwrap().pixels;
            let wanted: Vec<u8> = match still.layout {
                Layout::Rgba8 => still.bytes,
                _ => still.bytes.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect(),
            };
            assert!(frame.rgba == wanted, "{layout:?}: frame {count}");
            assert_eq!(frame.delay_ms, DELAYS[count]);
            count += 1;
        }
        assert_eq!(count, 3);
    }
}

#[test]
fn a_track_of_depth_is_no_transparency() {
    let (_, file) = film_of(Layout::Rgba8, 0, DEPTH);
    let mut frames = Frames::open(&probed(&file), &file, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
    let mut count = 0;
    while let Some(frame) = frames.next().unwrap_or_else(|error| panic!("{error}")) {
        assert!(frame.rgba.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == 255), "frame {count}");
        count += 1;
    }
    assert_eq!(count, 3);
}

#[test]
fn a_film_that_is_cut_or_broken_is_an_error_in_its_frame_or_no_film() {
    let (_, file) = film(Layout::Rgba8, 1);
    let movie = file.len() - file.windows(4).rev().position(|kind| kind == b"moov").unwrap();
    let mut films = 0;
    for at in movie - 8..file.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut broken = file.clone();
            broken[at] = value;
            let Ok(found) = probe(&mut Cursor::new(&broken), &Limits::default()) else { continue };
            if !can_move(&found) {
                continue;
            }
            films += 1;
            let Ok(mut frames) = Frames::open(&found, &broken, &Limits::default()) else { continue };
            while let Ok(Some(_)) = frames.next() {}
        }
    }
    assert!(films > 500, "{films}");
    // Samples that lie behind the end.
    let (_, whole) = film(Layout::Rgb8, 1);
    let found = probed(&whole);
    let data_at = whole.len() - 400;
    let cut = Frames::open(&found, &whole[..data_at.min(300)], &Limits::default()).map(|_| ()).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::Truncated, "{cut}");
}

#[test]
fn frames_of_a_film_are_bounded() {
    let (_, file) = film(Layout::Rgb8, 1);
    let kind = |limits: Limits| probe(&mut Cursor::new(&file), &limits).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(kind(Limits { max_frames: 2, ..Limits::default() }), Err(ErrorKind::TooManyFrames));
    assert_eq!(kind(Limits { max_animation_pixels: 36 * 20 * 3 - 1, ..Limits::default() }), Err(ErrorKind::TooManyPixels));
    assert_eq!(kind(Limits { max_frames: 3, max_animation_pixels: 36 * 20 * 3, ..Limits::default() }), Ok(()));
}

#[test]
fn corpus_of_films_is_read_to_the_last_frame() {
    let Some(files) = corpus("img-avif") else { return };
    let mut films = 0;
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("colors-animated")) {
        let found = probed(bytes);
        assert!(can_move(&found), "{name}");
        let mut frames = Frames::open(&found, bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (mut count, mut total_ms, mut pictures) = (0, 0, std::collections::BTreeSet::new());
        while let Some(frame) = frames.next().unwrap_or_else(|error| panic!("{name}: {error}")) {
            count += 1;
            total_ms += frame.delay_ms;
            pictures.insert(frame.rgba.to_vec());
        }
        println!("{name}: {count} frames, {total_ms} ms, {} different", pictures.len());
        assert_eq!(Some(count), found.frames, "{name}");
        assert!(pictures.len() > 1 && total_ms > 0, "{name}: {} different, {total_ms} ms", pictures.len());
        films += 1;
    }
    assert!(films >= 5, "{films}");
}
