//! Work that is ended while it is done: every step of ours, decoders and encoders look often enough, and end at whichever look.

use super::*;
use crate::watch::{BAND_BYTES, ended_after};

/// Of two megapixels: some bands of whatever layout.
const SIDES_PX: (u32, u32) = (1600, 1250);

/// How the first variant, or the run, ended.
fn end(source: &[u8], texts: &[&str]) -> Result<usize, ErrorKind> {
    let limits = Limits::default();
    let plan = plan(&probe(&mut Cursor::new(source), &limits).unwrap(), &specs(texts), &limits).unwrap();
    let cancel = AtomicBool::new(false);
    let mut ended = None;
    run(&plan, source, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| ended = Some(outcome.result))
        .map_err(|error| error.kind())?;
    ended.unwrap().map(|encoded| encoded.bytes.len()).map_err(|error| error.kind())
}

/// A band is worked on between two looks on average, or two, in each of so many passes over a picture of these bytes; and whichever look says so
/// ends the work as cancelled.
fn assert_looks(source: &[u8], text: &str, passes_bytes: u64) {
    let (whole, looks) = ended_after(u64::MAX, || end(source, &[text]));
    assert!(whole.is_ok(), "{text}: {whole:?}");
    let wanted = passes_bytes / (2 * BAND_BYTES as u64);
    assert!(looks >= wanted, "{text}: {looks} looks, {wanted} wanted");
    for last in [0, looks / 7, looks / 3, looks * 2 / 3, looks * 9 / 10, looks - 1] {
        let (ended, more) = ended_after(last, || end(source, &[text]));
        assert_eq!(ended, Err(ErrorKind::Cancelled), "{text}: ended at look {last} of {looks}");
        assert!(more <= last + 6, "{text}: {more} looks, the one at {last} said to end");
    }
    let (again, _) = ended_after(u64::MAX, || end(source, &[text]));
    assert_eq!(whole, again, "{text}");
}

fn photo(layout: Layout) -> Pixels {
    let value = |x: u32, y: u32, channel: usize| ((x * x / 900 + y * 2 + ((x * 7) ^ (y * 13)) % 9) as usize + channel * 70) as u8;
    stage::samples::picture(SIDES_PX.0, SIDES_PX.1, layout, value)
}

const PIXELS: u64 = SIDES_PX.0 as u64 * SIDES_PX.1 as u64;

#[test]
fn every_step_of_ours_ends_when_it_is_told() {
    let (colours, clear) = (png(&photo(Layout::Rgb8)), png(&photo(Layout::Rgba8)));
    // What is decoded, and what is written, is a pass each.
    for (text, passes) in [
        ("bl:1/f:png", 3),
        ("bl:20/f:png", 4),
        ("sh:2/f:png", 4),
        ("median:3/f:png", 3),
        ("median:9/f:png", 5),
        ("pix:9/f:png", 4),
        ("pix:1000/f:png", 4),
        ("gray:1/tint:336699/f:png", 3),
        ("normalize:1/f:png", 4),
        ("rot:90/f:png", 3),
        ("rot:180/f:png", 3),
        ("t:10/f:png", 3),
        ("rs:fill:1200:1200/g:sm/f:png", 2),
        ("rs:force:1601:1251:1/f:png", 3),
    ] {
        assert_looks(&colours, text, passes * PIXELS * 3);
        assert_looks(&clear, text, passes * PIXELS * 4);
    }
    assert_looks(&clear, "bg:ffffff/f:png", 3 * PIXELS * 4);
    // A small picture made large.
    let small = png(&picture_of(60, 50, Layout::Rgb8));
    assert_looks(&small, "rs:force:3000:2500:1/f:png", 2 * 3000 * 2500 * 3);
}

#[test]
fn every_encoder_of_ours_ends_when_it_is_told() {
    for layout in [Layout::Rgb8, Layout::Rgba8] {
        let source = png(&photo(layout));
        let bytes = PIXELS * layout.channels() as u64;
        for (text, passes) in [
            ("f:png", 2),
            ("f:png/colors:200", 3),
            ("f:gif", 4),
            ("f:jpg/q:80", 2),
            ("f:jpg/q:95", 2),
            ("f:jpg/progressive:1/q:90", 4),
            ("mb:90000/f:jpg", 4),
        ] {
            assert_looks(&source, text, passes * bytes);
        }
    }
}

#[test]
fn jpegs_of_many_scans_end_when_they_are_told() {
    let pixels = photo(Layout::Rgb8);
    for progressive in [false, true] {
        let output = codec::Output { progressive, ..codec::Output::plain(OutputFormat::Jpeg, 90) };
        let source = codec::encode(&pixels, output, &Written::default(), Watch::NEVER).unwrap();
        assert_looks(&source, "w:500/f:png", if progressive { 4 } else { 1 } * PIXELS * 3);
        assert_looks(&source, "f:jpg/q:50", if progressive { 5 } else { 2 } * PIXELS * 3);
    }
}

#[test]
fn a_deadline_ends_work_under_way() {
    let source = png(&photo(Layout::Rgb8));
    let limits = Limits::default();
    let plan = plan(&probe(&mut Cursor::new(&source), &limits).unwrap(), &specs(&["median:99/f:png"]), &limits).unwrap();
    let cancel = AtomicBool::new(false);
    // It takes much longer than that, and is decoded long before.
    let deadline = Some(Instant::now() + Duration::from_millis(150));
    let mut ended = None;
    let run = run(&plan, &source, &Context { deadline, cancel: &cancel, spare: None }, &mut |outcome| ended = Some(outcome.result));
    let kind = run.err().or_else(|| ended.and_then(Result::err)).map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::TimedOut));
}
