//! Plans run on real pictures: results, order, deadlines, and what is charged for memory.

use super::*;
use crate::{
    codec::{
        Chroma, Reading, Refinement,
        tests::{encode, picture_of},
    },
    pixels::Layout,
    plan::plan,
    probe::{Orientation, Probe, probe},
    spec::{Presets, Spec},
};
use image::imageops::FilterType;
use std::{
    io::Cursor,
    sync::atomic::{AtomicU64, Ordering},
};

mod deep;
mod facts;
mod files;
mod metadata;
mod moving;
mod phones;
mod planes;
mod pngsuite;
mod stopping;
mod twice;
mod upright;

fn specs(texts: &[&str]) -> Vec<Spec> {
    texts.iter().map(|text| Spec::parse(text, &Presets::builtin()).unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
}

fn process(bytes: &[u8], texts: &[&str], limits: &Limits) -> Result<(Vec<VariantOutcome>, RunReport, Plan), Error> {
    let (outcomes, report, plan) = process_with(None, bytes, texts, limits)?;
    assert!(report.peak_bytes <= plan.memory_bytes(bytes.len() as u64), "{report:?} {plan}");
    Ok((outcomes, report, plan))
}

fn process_with(
    spare: Option<&dyn Spare>,
    bytes: &[u8],
    texts: &[&str],
    limits: &Limits,
) -> Result<(Vec<VariantOutcome>, RunReport, Plan), Error> {
    let found = probe(&mut Cursor::new(bytes), limits)?;
    let plan = plan(&found, &specs(texts), limits)?;
    let cancel = AtomicBool::new(false);
    let mut outcomes = Vec::new();
    let report = run(&plan, bytes, &Context { deadline: None, cancel: &cancel, spare }, &mut |outcome| outcomes.push(outcome))?;
    assert_eq!(outcomes.len(), texts.len(), "every variant ends once");
    for outcome in &outcomes {
        if let Ok(encoded) = &outcome.result {
            let (sides, said) = ((encoded.width_px, encoded.height_px), plan.result_size(outcome.index));
            if specs(texts)[outcome.index].first.trim.is_some() {
                assert!(sides.0 <= said.0 && sides.1 <= said.1, "{sides:?} {plan}");
            } else {
                assert_eq!(sides, said, "{plan}");
            }
            assert_eq!(encoded.format, plan.output_format(outcome.index).unwrap_or(encoded.format));
        }
    }
    Ok((outcomes, report, plan))
}

/// The only variant of one spec.
fn one(bytes: &[u8], text: &str) -> Encoded {
    let (mut outcomes, _, _) = process(bytes, &[text], &Limits::default()).unwrap_or_else(|error| panic!("{text}: {error}"));
    outcomes.remove(0).result.unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn png(pixels: &Pixels) -> Vec<u8> {
    encode(pixels, OutputFormat::Png, 80).unwrap()
}

fn rgb(bytes: &[u8]) -> image::RgbImage {
    image::load_from_memory(bytes).unwrap().into_rgb8()
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

/// A JPEG of these stored pixels with an Exif orientation.
fn turned_jpeg(pixels: &Pixels, orientation: Orientation) -> Vec<u8> {
    let jpeg = encode(pixels, OutputFormat::Jpeg, 95).unwrap();
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x00\0\0\0\0\0\0".to_vec();
    exif[25] = orientation.exif();
    let head = [0xff, 0xe1, 0, exif.len() as u8 + 2];
    [&jpeg[..2], &head, &exif, &jpeg[2..]].concat()
}

#[test]
fn resizing_agrees_with_the_reference() {
    let pixels = picture_of(640, 427, Layout::Rgb8);
    let source = png(&pixels);
    let reference = image::RgbImage::from_raw(640, 427, pixels.bytes).unwrap();
    for (text, width_px, height_px) in [("rs:fit:320:320/f:png", 320, 214), ("rs:force:100:300/f:png", 100, 300), ("w:50/f:png", 50, 33)] {
        let ours = one(&source, text);
        assert_eq!((ours.width_px, ours.height_px, ours.quality), (width_px, height_px, None), "{text}");
        let wanted = image::imageops::resize(&reference, width_px, height_px, FilterType::Lanczos3);
        let difference = mean_difference(rgb(&ours.bytes).as_raw(), wanted.as_raw());
        // Both are Lanczos3; fixed-point weights and rounding between the passes leave less than half a step on average.
        assert!(difference < 0.5, "{text}: {difference}");
    }
}

#[test]
fn all_eight_orientations_come_out_upright_and_without_the_tag() {
    let upright = picture_of(96, 64, Layout::Rgb8);
    let wanted = image::RgbImage::from_raw(96, 64, upright.bytes.clone()).unwrap();
    for orientation in Orientation::ALL {
        let stored = stage::orient::orient(upright.clone(), stage::orient::inverse(orientation), Watch::NEVER).unwrap();
        let source = turned_jpeg(&stored, orientation);
        for (text, width_px, height_px) in [("f:png", 96, 64), ("w:48/f:png", 48, 32), ("rs:fill:30:40/g:no/f:png", 30, 40)] {
            let ours = one(&source, text);
            assert_eq!((ours.width_px, ours.height_px), (width_px, height_px), "{orientation:?} {text}");
            let straight = one(&turned_jpeg(&upright, Orientation::Upright), text);
            let difference = mean_difference(rgb(&ours.bytes).as_raw(), rgb(&straight.bytes).as_raw());
            // Chroma is halved along other edges of the stored picture.
            assert!(difference < 2.0, "{orientation:?} {text}: {difference}");
        }
        let whole = one(&source, "f:png");
        assert!(mean_difference(rgb(&whole.bytes).as_raw(), wanted.as_raw()) < 2.5);
        let again = one(&source, "f:jpg");
        assert_eq!(probe(&mut Cursor::new(&again.bytes), &Limits::default()).unwrap().orientation, Orientation::Upright);
        let kept = one(&source, "ar:0/f:png");
        assert_eq!((kept.width_px, kept.height_px), (stored.width_px, stored.height_px), "{orientation:?}");
    }
}

#[test]
fn cheap_variants_end_first_and_every_output_opens() {
    let source = png(&picture_of(400, 300, Layout::Rgba8));
    let texts =
        ["f:jpg", "w:200/f:webp/gray:1", "w:20/f:png", "w:60/bl:2/f:jpg/q:55", "rs:fill:90:90/sh:1/pix:8/f:webp", "bg:00ff00/co:1.2/f:png"];
    let (outcomes, _, plan) = process(&source, &texts, &Limits::default()).unwrap();
    let order: Vec<usize> = outcomes.iter().map(|outcome| outcome.index).collect();
    assert_eq!(order[..2], [2, 3], "{plan}");
    for outcome in &outcomes {
        let encoded = outcome.result.as_ref().unwrap();
        let opened = image::load_from_memory(&encoded.bytes).unwrap();
        assert_eq!((opened.width(), opened.height()), (encoded.width_px, encoded.height_px));
        assert_eq!(opened.color().has_alpha(), encoded.format != OutputFormat::Jpeg && outcome.index != 5, "{}", texts[outcome.index]);
    }
    let quality = |index: usize| outcomes.iter().find(|outcome| outcome.index == index).unwrap().result.as_ref().unwrap().quality;
    assert_eq!((quality(0), quality(3), quality(2)), (Some(80), Some(55), None));
}

#[test]
fn the_same_specs_give_the_same_bytes_and_other_company_nearly_the_same_picture() {
    let source = turned_jpeg(&picture_of(200, 150, Layout::Rgb8), Orientation::Rotate90);
    // All of them need the whole source. What they are made from depends on what is made beside them.
    let texts = ["w:110", "w:40", "w:120/bl:1.5/f:webp", "gray:1", "rot:90/fl:1:1/f:png", ""];
    let (outcomes, _, _) = process(&source, &texts, &Limits::default()).unwrap();
    let (again, _, _) = process(&source, &texts, &Limits::default()).unwrap();
    for (outcome, again) in outcomes.into_iter().zip(again) {
        let (first, second) = (outcome.result.unwrap(), again.result.unwrap());
        assert!(first == second, "{}", texts[outcome.index]);
        let alone = one(&source, texts[outcome.index]);
        let difference = mean_difference(rgb(&alone.bytes).as_raw(), rgb(&first.bytes).as_raw());
        assert!(difference < 1.5, "{}: {difference}", texts[outcome.index]);
    }
}

#[test]
fn light_is_resampled_where_that_is_asked_for() {
    // Lines of black and white a pixel wide: half the light, which is 188, and half the stored values.
    let bytes: Vec<u8> = (0..64 * 64).flat_map(|at| [if at % 2 == 0 { 0 } else { 255 }; 3]).collect();
    let lines = Pixels::new(64, 64, Layout::Rgb8, bytes).unwrap();
    let jpeg = encode(&lines, OutputFormat::Jpeg, 100).unwrap();
    for source in [png(&lines), jpeg] {
        let mean = |text: &str| {
            let picture = rgb(&one(&source, text).bytes).into_raw();
            picture.iter().map(|&value| u32::from(value)).sum::<u32>() / picture.len() as u32
        };
        for (text, wanted) in [("w:16/f:png", 127), ("w:16/ll:1/f:png", 188), ("w:16/linear_light:1/f:jpg/q:95", 188)] {
            let found = mean(text);
            assert!(found.abs_diff(wanted) <= 3, "{text}: {found}");
        }
    }
}

#[test]
fn passes_are_written_where_they_are_asked_for() {
    let source = png(&picture_of(200, 150, Layout::Rgb8));
    let (plain, passes) = (one(&source, "f:jpg"), one(&source, "f:jpg/progressive:1"));
    let is_progressive = |bytes: &[u8]| probe(&mut Cursor::new(bytes), &Limits::default()).unwrap().progressive;
    assert_eq!((is_progressive(&plain.bytes), is_progressive(&passes.bytes)), (false, true));
    assert_eq!(rgb(&plain.bytes), rgb(&passes.bytes));
    // Other formats take no notice.
    assert_eq!(one(&source, "f:png/progressive:1"), one(&source, "f:png"));
}

#[test]
fn what_is_alike_is_made_once() {
    let source = turned_jpeg(&picture_of(900, 600, Layout::Rgb8), Orientation::Rotate90);
    let found = probe(&mut Cursor::new(&source), &Limits::default()).unwrap();
    let counts = |texts: &[&str]| {
        let plan = plan(&found, &specs(texts), &Limits::default()).unwrap();
        (plan.bases.len(), plan.roots().count(), plan.finishes.len())
    };
    // One picture, written three times.
    assert_eq!(counts(&["w:200/f:jpg", "w:200/f:jpg/q:50", "w:200/f:jpg/q:70"]), (1, 1, 1));
    // The same, with colours beside: those are converted and blurred once.
    assert_eq!(counts(&["w:200/f:jpg", "w:200/bl:2/f:webp", "w:200/bl:2/f:png"]), (1, 1, 2));
    // From the larger where it is twice as large, from the rows where not.
    assert_eq!(counts(&["w:400", "w:200", "w:100"]), (3, 1, 3));
    assert_eq!(counts(&["w:400", "w:201", "w:100"]), (3, 2, 3));
    // A part of what the larger shows, and one that it does not show.
    assert_eq!(counts(&["w:400", "rs:fill:100:100/g:no"]), (2, 1, 2));
    assert_eq!(counts(&["rs:fill:300:300/g:so", "w:100"]), (2, 2, 2));
    // Turned otherwise.
    assert_eq!(counts(&["w:400", "w:100/rot:90"]), (2, 2, 2));
}

#[test]
fn a_wide_gamut_profile_becomes_srgb() {
    let pixels = Pixels::new(8, 8, Layout::Rgb8, [200, 100, 50].repeat(64)).unwrap();
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let mut source = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut source, 98);
    encoder.add_icc_profile(&profile).unwrap();
    encoder.encode(&pixels.bytes, 8, 8, jpeg_encoder::ColorType::Rgb).unwrap();
    let converted = rgb(&one(&source, "f:png").bytes).into_raw();
    assert!(converted[0] > 204 && converted[2] < 46, "{:?}", &converted[..3]);
    // A broken profile is no profile.
    let at = source.windows(4).position(|tag| tag == b"acsp").unwrap();
    source[at] ^= 0xff;
    let kept = rgb(&one(&source, "f:png").bytes).into_raw();
    assert!(kept[0].abs_diff(200) < 4 && kept[2].abs_diff(50) < 4, "{:?}", &kept[..3]);
}

#[test]
fn limits_are_told_before_the_work() {
    let source = png(&picture_of(300, 200, Layout::Rgb8));
    let refused = |texts: &[&str], limits: Limits| process(&source, texts, &limits).unwrap_err();
    let error = refused(&["w:5000/el:1"], Limits { max_side_px: 4000, ..Limits::default() });
    assert_eq!((error.kind(), error.stage()), (ErrorKind::InvalidSpec, "plan"));
    assert_eq!(error.to_string(), "result is 5000 by 3333 pixels, longest side allowed for png is 4000");
    assert_eq!(refused(&["w:16384/el:1/f:webp"], Limits::default()).kind(), ErrorKind::InvalidSpec);
    // What trimming leaves may be anything: it is looked at when it is known, and there is room for all that it can be.
    let limits = Limits { max_side_px: 16_384, ..Limits::default() };
    process(&source, &["t:10/w:64/el:1/grayscale:1/f:webp", "t:10/min-width:5/border:2"], &limits).expect("nothing of it is too long");
    let (long, ..) = process(&source, &["t:10/w:5000/el:1/grayscale:1"], &Limits { max_side_px: 4000, ..limits })
        .expect("is looked at when it is known");
    assert_eq!(long[0].result.as_ref().map_err(|error| (error.kind(), error.stage())).err(), Some((ErrorKind::InvalidSpec, "resize")));
    // What is put around it is larger than allowed whatever is left, or with what is left.
    let error = refused(&["t:10/rs:fit:30000:10/ex:1/f:png"], limits);
    assert_eq!((error.kind(), error.stage()), (ErrorKind::InvalidSpec, "plan"));
    let (padded, ..) = process(&source, &["t:10/w:10/pd:0:8190"], &limits).expect("is looked at when it is known");
    let told = padded[0].result.as_ref().map_err(ToString::to_string).err();
    assert_eq!(told.as_deref(), Some("result is 16390 by 7 pixels, longest side allowed is 16384"));
    // A box that is as large as a bound is no reason to leave the picture as it is.
    for (text, sides) in [("t:10/-/w:301/el:1", (301, 201)), ("t:10/-/rs:force:301:201:1", (301, 201)), ("t:10/-/w:300", (300, 200))] {
        let made = one(&source, text);
        assert_eq!((made.width_px, made.height_px), sides, "{text}");
    }
    let error = refused(&["w:10"], Limits { max_memory_bytes: 100_000, ..Limits::default() });
    assert_eq!((error.kind(), error.stage()), (ErrorKind::LimitExceeded, "plan"));
    let error = refused(&["w:10"], Limits { max_bytes: 100, ..Limits::default() });
    assert_eq!(error.to_string(), format!("image has {} bytes, limit is 100", source.len()));
    // The plan fits just so without its source: the run is refused before it decodes.
    let found = probe(&mut Cursor::new(&source), &Limits::default()).unwrap();
    let needed = plan(&found, &specs(&["w:10"]), &Limits::default()).unwrap().memory_bytes(0);
    let error = refused(&["w:10"], Limits { max_memory_bytes: needed, ..Limits::default() });
    assert_eq!((error.kind(), error.stage()), (ErrorKind::LimitExceeded, "decode"));
}

/// Every way to choose a region, upright and turned, at every scale of the shrinking decoder, against the same pixels as PNG.
#[test]
fn a_jpeg_decoded_small_becomes_the_same_picture() {
    for (width_px, height_px) in [(1001, 699), (640, 803)] {
        for orientation in [Orientation::Upright, Orientation::Rotate90, Orientation::Transverse] {
            let jpeg = turned_jpeg(&picture_of(width_px, height_px, Layout::Rgb8), orientation);
            let stored = rgb(&jpeg).into_raw();
            let stored = Pixels::new(width_px, height_px, Layout::Rgb8, stored).unwrap();
            let upright = stage::orient::orient(stored, orientation, Watch::NEVER).unwrap();
            let reference = png(&upright);
            for (texts, divisor) in [
                (&["rs:fit:40:40/f:png"][..], 8),
                (&["rs:fit:105:105/f:png"], 4),
                (&["rs:fit:170:170/f:png", "rs:fit:30:30/f:png"], 2),
                (&["rs:fill:30:15/g:soea/f:png"], 8),
                (&["rs:fill:15:35/g:no/f:png"], 8),
                (&["c:301:203:nowe/rs:force:30:20/f:png"], 4),
                (&["rs:fit:30:30/f:png", "rs:fit:500:500/f:png"], 1),
            ] {
                let (ours, _, plan) = process(&jpeg, texts, &Limits::default()).unwrap();
                let (wanted, ..) = process(&reference, texts, &Limits::default()).unwrap();
                let decoded = (plan.decoded.width_px, plan.decoded.height_px);
                assert_eq!(decoded, (width_px.div_ceil(divisor), height_px.div_ceil(divisor)), "{texts:?} of {width_px}x{height_px}");
                for (ours, wanted) in ours.into_iter().zip(wanted) {
                    let (ours, wanted) = (rgb(&ours.result.unwrap().bytes), rgb(&wanted.result.unwrap().bytes));
                    assert_eq!(ours.dimensions(), wanted.dimensions());
                    let difference = mean_difference(ours.as_raw(), wanted.as_raw());
                    // A region off by one stored pixel differs by more: the gradients alone move a third of a step for each.
                    assert!(difference < 1.0, "{texts:?} of {width_px}x{height_px}, {orientation:?}: {difference}");
                }
            }
        }
    }
}

#[test]
fn how_much_of_a_jpeg_is_read_follows_from_what_is_wanted() {
    let jpeg = turned_jpeg(&picture_of(40, 30, Layout::Rgb8), Orientation::Upright);
    let found = probe(&mut Cursor::new(&jpeg), &Limits::default()).unwrap();
    let reading = |progressive: bool, texts: &[&str]| {
        let found = Probe { width_px: 1600, height_px: 1200, progressive, ..found.clone() };
        let Reading { scale, refinement, chroma, .. } = plan(&found, &specs(texts), &Limits::default()).unwrap().reading;
        (scale.eighths(), refinement == Refinement::Read, chroma == Chroma::Large)
    };
    // Left to the resize: 2.2, 1.54, 1.25 at 1/8; 2.05, 1.6 at 1/2.
    assert_eq!(reading(false, &["rs:fit:90:90/f:png"]), (1, false, true));
    assert_eq!(reading(false, &["rs:fit:130:130/f:png"]), (1, false, true));
    assert_eq!(reading(false, &["rs:fit:160:160/f:png"]), (2, false, true));
    assert_eq!(reading(false, &["rs:fit:500:500/f:png"]), (4, true, true));
    assert_eq!(reading(true, &["rs:fit:90:90/f:png"]), (1, false, true));
    assert_eq!(reading(true, &["rs:fit:130:130/f:png"]), (2, false, true));
    assert_eq!(reading(true, &["rs:fit:390:390/f:png"]), (4, true, false));
    assert_eq!(reading(true, &["rs:fit:362:362/f:png"]), (4, false, false));
    assert_eq!(reading(true, &["rs:fit:250:250/f:png"]), (4, false, false));
    assert_eq!(reading(true, &["rs:fit:500:500/f:png"]), (4, true, true));
    assert_eq!(reading(true, &["rs:fit:600:600/f:png"]), (8, true, true));
    // The one that wants most decides.
    assert_eq!(reading(false, &["rs:fit:90:90/f:png", "rs:fit:500:500/f:png"]), (4, true, true));
    assert_eq!(reading(false, &["rs:fit:90:90/f:png", "w:1600/f:png"]), (8, true, true));
    // Written with chroma of half the sides, chroma as it is stored leaves as much as luma does.
    assert_eq!(reading(false, &["rs:fit:90:90/f:jpg"]), (1, false, true));
    assert_eq!(reading(false, &["rs:fit:500:500/f:jpg", "rs:fit:90:90/f:jpg"]), (4, true, false));
    assert_eq!(reading(false, &["rs:fit:500:500/f:jpg", "rs:fit:90:90/f:webp"]), (4, true, true));
    assert_eq!(reading(false, &["rs:fit:500:500/f:jpg/q:90"]), (4, true, true));
}

#[test]
fn a_grey_jpeg_decoded_small_is_grey() {
    let grey: Vec<u8> = (0..400 * 300u32).map(|at| (at % 400 / 2) as u8).collect();
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 95).encode(&grey, 400, 300, jpeg_encoder::ColorType::Luma).unwrap();
    let (outcomes, _, plan) = process(&jpeg, &["rs:fit:20:20/f:png"], &Limits::default()).unwrap();
    assert_eq!((plan.decoded.width_px, plan.decoded.height_px), (50, 38));
    let picture = rgb(&outcomes[0].result.as_ref().unwrap().bytes);
    for (x, _, pixel) in picture.enumerate_pixels() {
        let wanted = (x * 20 + 10) as f32 / 2.0;
        assert!(pixel.0 == [pixel.0[0]; 3] && (f32::from(pixel.0[0]) - wanted).abs() < 3.0, "{pixel:?} at {x}");
    }
}

#[test]
fn grey_stays_one_channel_through_filters_that_keep_it() {
    let grey: Vec<u8> = (0..160 * 120u32).map(|at| (at % 160 + at / 160) as u8).collect();
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 95).encode(&grey, 160, 120, jpeg_encoder::ColorType::Luma).unwrap();
    let colours = png(&stage::samples::to_rgb(&Pixels::new(160, 120, Layout::Grey8, grey).unwrap()));
    for (filters, stays) in [("bl:3", true), ("sh:1", true), ("pix:7", true), ("co:1.5/br:20/sa:2", true), ("sepia:1", false)] {
        for format in ["png", "webp/q:95", "jpg/q:95"] {
            let text = format!("{filters}/f:{format}");
            let (outcomes, _, plan) = process(&jpeg, &[&text], &Limits::default()).unwrap();
            assert_eq!(plan.to_string().contains(": rgb"), !stays, "{text}: {plan}");
            let found = rgb(&outcomes[0].result.as_ref().unwrap().bytes);
            let difference = mean_difference(found.as_raw(), rgb(&one(&colours, &text).bytes).as_raw());
            assert!(difference < 2.0, "{text}: {difference}");
        }
    }
}

#[test]
fn a_broken_jpeg_decoded_small_is_refused() {
    let jpeg = turned_jpeg(&picture_of(400, 300, Layout::Rgb8), Orientation::Upright);
    let kind = |bytes: &[u8]| process(bytes, &["rs:fit:30:30"], &Limits::default()).map(|_| ()).unwrap_err().kind();
    assert_eq!(kind(&jpeg[..jpeg.len() - 300]), ErrorKind::Truncated);
    // Cut, but with an end: its data end before their time.
    let cut = [&jpeg[..jpeg.len() - 300], &[0xff, 0xd9]].concat();
    assert_eq!(kind(&cut), ErrorKind::Malformed);
}

#[test]
fn a_deadline_and_a_flag_end_what_is_left() {
    let source = png(&picture_of(100, 100, Layout::Rgb8));
    let limits = Limits::default();
    let plan = plan(&probe(&mut Cursor::new(&source), &limits).unwrap(), &specs(&["w:10", "w:20", "w:30"]), &limits).unwrap();
    let cancel = AtomicBool::new(true);
    let error = run(&plan, &source, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |_| panic!("nothing is published"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    cancel.store(false, Ordering::Relaxed);
    let past = Context { deadline: Some(Instant::now()), cancel: &cancel, spare: None };
    assert_eq!(run(&plan, &source, &past, &mut |_| panic!("nothing is published")).unwrap_err().kind(), ErrorKind::TimedOut);
    let mut kinds = Vec::new();
    run(&plan, &source, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| {
        kinds.push(outcome.result.map(|encoded| encoded.width_px).map_err(|error| error.kind()));
        cancel.store(true, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(kinds, [Ok(10), Err(ErrorKind::Cancelled), Err(ErrorKind::Cancelled)]);
}

/// So many threads beside the calling one; with none of them a `Spare` that has nothing to lend.
#[derive(Debug)]
struct Threads(usize);

impl Spare for Threads {
    fn share(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let all = || {
            while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < count) {
                work(index);
            }
        };
        std::thread::scope(|scope| {
            let lent: Vec<_> = (0..self.0).map(|_| scope.spawn(all)).collect();
            all();
            for thread in lent {
                thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
            }
        });
    }
}

/// The first piece on another thread, then the others on this one; lends so much memory.
#[derive(Debug)]
struct First {
    left_bytes: AtomicU64,
}

impl First {
    fn lending(left_bytes: u64) -> Self {
        Self { left_bytes: AtomicU64::new(left_bytes) }
    }
}

impl Spare for First {
    fn share(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| scope.spawn(|| work(0)).join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)));
        (1..count).for_each(work);
    }

    fn lend_bytes(&self, bytes: u64) -> bool {
        self.left_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// Several formats of one picture, filters, smaller from larger, dear and cheap ones: enough to be worth sharing.
const MANY: [&str; 9] = [
    "w:600/f:webp",
    "w:600/f:jpg/q:70",
    "w:600/f:png",
    "w:600/bl:2/f:jpg",
    "w:600/bl:2/f:webp/q:60",
    "w:300/f:jpg",
    "w:150/f:webp",
    "rs:fill:90:90/sh:1/pix:8/f:webp",
    "w:500/gray:1/f:png",
];

#[test]
fn the_bytes_are_the_same_whoever_helps() {
    let sources = [png(&picture_of(700, 500, Layout::Rgba8)), turned_jpeg(&picture_of(700, 500, Layout::Rgb8), Orientation::Rotate90)];
    let mut lent_in_all_bytes = 0;
    for source in &sources {
        let (alone, alone_report, _) = process(source, &MANY, &Limits::default()).unwrap();
        let in_order: Vec<usize> = alone.iter().map(|outcome| outcome.index).collect();
        const LENT_BYTES: u64 = 64 << 20;
        let (poor, rich) = (First::lending(0), First::lending(LENT_BYTES));
        let helpers: [(&dyn Spare, u64); 6] =
            [(&Threads(0), 0), (&Threads(1), 0), (&Threads(2), 0), (&Threads(7), 0), (&poor, 0), (&rich, LENT_BYTES)];
        for (which, (spare, lent_bytes)) in helpers.into_iter().enumerate() {
            let (mut shared, report, plan) = process_with(Some(spare), source, &MANY, &Limits::default()).unwrap();
            assert!(pieces::is_worth_sharing(&plan), "{plan}");
            let planned_bytes = plan.memory_bytes(source.len() as u64);
            let used_bytes = lent_bytes - if which == 5 { rich.left_bytes.load(Ordering::Relaxed) } else { 0 };
            lent_in_all_bytes += used_bytes;
            assert!(report.peak_bytes <= planned_bytes + used_bytes, "{report:?} {planned_bytes} {used_bytes}");
            assert!(report.peak_bytes >= alone_report.peak_bytes / 2, "{report:?} {alone_report:?}");
            let order: Vec<usize> = shared.iter().map(|outcome| outcome.index).collect();
            let places: Vec<usize> = order.iter().map(|index| in_order.iter().position(|other| other == index).unwrap()).collect();
            match which {
                0 => assert!(places.is_sorted(), "cheap ones first: {order:?}"),
                // The lent thread began with a dear one; a piece is two outputs at the most here.
                4 => assert!(places[0] > 1 && places[2..].is_sorted(), "{order:?} {in_order:?}"),
                5 => assert!(places[0] + 2 >= MANY.len() && places[2..].is_sorted(), "{order:?} {in_order:?}"),
                _ => {}
            }
            shared.sort_by_key(|outcome| outcome.index);
            for outcome in &alone {
                let (alone, shared) = (outcome.result.as_ref().unwrap(), shared[outcome.index].result.as_ref().unwrap());
                assert!(alone == shared, "{spare:?}: {}", MANY[outcome.index]);
            }
        }
    }
    assert!(lent_in_all_bytes > 0, "memory was lent where it helps");
}

#[test]
fn little_work_is_not_shared() {
    #[derive(Debug)]
    struct Never;
    impl Spare for Never {
        fn share(&self, _: usize, _: &(dyn Fn(usize) + Sync)) {
            panic!("asked for help");
        }
    }
    let source = png(&picture_of(100, 80, Layout::Rgb8));
    for texts in [&["w:90/f:webp"][..], &["w:20", "w:40/f:png"], &["w:2000/el:1"]] {
        process_with(Some(&Never), &source, texts, &Limits::default()).unwrap();
    }
}

#[test]
fn a_panic_of_a_lent_thread_comes_out() {
    let source = png(&picture_of(700, 500, Layout::Rgb8));
    let limits = Limits::default();
    let plan = plan(&probe(&mut Cursor::new(&source), &limits).unwrap(), &specs(&MANY), &limits).unwrap();
    let cancel = AtomicBool::new(false);
    let helpers: [Option<&dyn Spare>; 4] = [None, Some(&Threads(0)), Some(&Threads(2)), Some(&First::lending(0))];
    for spare in helpers {
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = run(&plan, &source, &Context { deadline: None, cancel: &cancel, spare }, &mut |_| panic!("boom"));
        }))
        .unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"boom"));
    }
}

#[test]
fn a_flag_ends_what_is_left_on_all_threads() {
    let source = png(&picture_of(700, 500, Layout::Rgb8));
    let limits = Limits::default();
    let plan = plan(&probe(&mut Cursor::new(&source), &limits).unwrap(), &specs(&MANY), &limits).unwrap();
    let cancel = AtomicBool::new(false);
    let mut kinds = Vec::new();
    let report = run(&plan, &source, &Context { deadline: None, cancel: &cancel, spare: Some(&First::lending(0)) }, &mut |outcome| {
        kinds.push(outcome.result.map(|_| ()).map_err(|error| error.kind()));
        cancel.store(true, Ordering::Relaxed);
    });
    report.unwrap();
    assert_eq!((kinds.len(), kinds[0]), (MANY.len(), Ok(())));
    assert!(kinds[1..].iter().all(|kind| *kind == Err(ErrorKind::Cancelled)), "{kinds:?}");
}

#[test]
fn the_plan_says_what_it_will_do() {
    let source = turned_jpeg(&picture_of(400, 200, Layout::Rgb8), Orientation::Rotate90);
    let found = probe(&mut Cursor::new(&source), &Limits::default()).unwrap();
    let texts = ["rs:fit:50:50/bl:2/f:webp", "rs:fit:20:20/f:jpg", "rs:fit:50:50/f:jpg/q:95"];
    let plan = plan(&found, &specs(&texts), &Limits::default()).unwrap();
    // Eight times less is wanted: a quarter is decoded, and two times less is left to the resize; an eighth would leave nothing. The
    // smallest comes from the others' picture, which is turned once, and ends first.
    let found_lines: Vec<String> =
        plan.explain(source.len() as u64).lines().map(|line| line.split("  ~").next().unwrap().trim().to_owned()).collect();
    let wanted = [
        "decode jpeg 400x200 at 1/4 to 100x50 ycc",
        "picture 0: 100x50 at 0,0 to 50x25 ycc 4:4:4",
        "picture 0: orient 6",
        "picture 1: 25x50 at 0,0 of picture 0 to 10x20 ycc 4:2:0",
        "variant 1: encode picture 1 jpeg 10x20 quality 80",
        "variant 2: encode picture 0 jpeg 25x50 quality 95",
        "variant 0: rgb",
        "variant 0: blur 2",
        "variant 0: encode picture 0 webp 25x50 quality 80",
    ];
    assert_eq!(found_lines[..wanted.len()], wanted, "{}", plan.explain(0));
    assert!(found_lines.last().unwrap().starts_with("most held "), "{found_lines:?}");
    assert_eq!((plan.result_size(1), plan.variant_count()), ((10, 20), 3));
    let plan = super::super::plan::plan(&found, &specs(&texts[..1]), &Limits::default()).unwrap();
    assert_eq!((plan.result_size(0), plan.variant_count()), ((25, 50), 1));
    let empty = super::super::plan::plan(&found, &[], &Limits::default()).unwrap();
    let cancel = AtomicBool::new(false);
    run(&empty, &source, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |_| panic!("no variants")).unwrap();
}
