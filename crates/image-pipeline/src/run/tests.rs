//! Plans run on real pictures: results, order, deadlines, and what is charged for memory.

use super::*;
use crate::{
    codec::{
        Chroma, Reading, Refinement,
        tests::{corpus, picture_of},
    },
    pixels::Layout,
    plan::plan,
    probe::{Orientation, Probe, probe},
    spec::{Presets, Spec},
};
use image::imageops::FilterType;
use std::io::Cursor;

fn specs(texts: &[&str]) -> Vec<Spec> {
    texts.iter().map(|text| Spec::parse(text, &Presets::builtin()).unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
}

fn process(bytes: &[u8], texts: &[&str], limits: &Limits) -> Result<(Vec<VariantOutcome>, RunReport, Plan), Error> {
    let found = probe(&mut Cursor::new(bytes), limits)?;
    let plan = plan(&found, &specs(texts), limits)?;
    let cancel = AtomicBool::new(false);
    let mut outcomes = Vec::new();
    let report = run(&plan, bytes, &Context { deadline: None, cancel: &cancel }, &mut |outcome| outcomes.push(outcome))?;
    assert_eq!(outcomes.len(), texts.len(), "every variant ends once");
    assert!(report.peak_bytes <= plan.memory_bytes(bytes.len() as u64), "{report:?} {plan}");
    for outcome in &outcomes {
        if let Ok(encoded) = &outcome.result {
            assert_eq!((encoded.width_px, encoded.height_px), plan.result_size(outcome.index), "{plan}");
            assert_eq!(encoded.format, plan.output_format(outcome.index));
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
    codec::encode(pixels, OutputFormat::Png, 80).unwrap()
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
    let jpeg = codec::encode(pixels, OutputFormat::Jpeg, 95).unwrap();
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
        let stored = stage::orient::orient(upright.clone(), stage::orient::inverse(orientation));
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
fn small_variants_end_first_and_every_output_opens() {
    let source = png(&picture_of(400, 300, Layout::Rgba8));
    let texts =
        ["f:jpg", "w:200/f:webp/gray:1", "w:20/f:png", "w:60/bl:2/f:jpg/q:55", "rs:fill:90:90/sh:1/pix:8/f:webp", "bg:00ff00/co:1.2/f:png"];
    let (outcomes, _, plan) = process(&source, &texts, &Limits::default()).unwrap();
    let order: Vec<usize> = outcomes.iter().map(|outcome| outcome.index).collect();
    assert_eq!(order[..3], [2, 3, 4], "{plan}");
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
fn one_variant_alone_is_the_same_as_among_others() {
    let source = turned_jpeg(&picture_of(200, 150, Layout::Rgb8), Orientation::Rotate90);
    // All of them need the whole source; where the largest decides for a smaller one, that one gets better.
    let texts = ["w:110", "w:120/bl:1.5/f:webp", "gray:1", "rot:90/fl:1:1/f:png", ""];
    let (outcomes, _, _) = process(&source, &texts, &Limits::default()).unwrap();
    for outcome in outcomes {
        assert_eq!(one(&source, texts[outcome.index]), outcome.result.unwrap(), "{}", texts[outcome.index]);
    }
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
            let upright = stage::orient::orient(Pixels::new(width_px, height_px, Layout::Rgb8, stored).unwrap(), orientation);
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
        let Reading { scale, refinement, chroma } = plan(&found, &specs(texts), &Limits::default()).unwrap().reading;
        (scale.eighths(), refinement == Refinement::Read, chroma == Chroma::Large)
    };
    // Left to the resize: 2.2, 1.54, 1.25 at 1/8; 2.05, 1.6 at 1/2.
    assert_eq!(reading(false, &["rs:fit:90:90"]), (1, false, true));
    assert_eq!(reading(false, &["rs:fit:130:130"]), (1, false, true));
    assert_eq!(reading(false, &["rs:fit:160:160"]), (2, false, true));
    assert_eq!(reading(false, &["rs:fit:500:500"]), (4, true, true));
    assert_eq!(reading(true, &["rs:fit:90:90"]), (1, false, true));
    assert_eq!(reading(true, &["rs:fit:130:130"]), (2, false, true));
    assert_eq!(reading(true, &["rs:fit:390:390"]), (4, true, false));
    assert_eq!(reading(true, &["rs:fit:250:250"]), (4, true, false));
    assert_eq!(reading(true, &["rs:fit:500:500"]), (4, true, true));
    assert_eq!(reading(true, &["rs:fit:600:600"]), (8, true, true));
    // The one that wants most decides.
    assert_eq!(reading(false, &["rs:fit:90:90", "rs:fit:500:500"]), (4, true, true));
    assert_eq!(reading(false, &["rs:fit:90:90", "w:1600"]), (8, true, true));
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
    let error = run(&plan, &source, &Context { deadline: None, cancel: &cancel }, &mut |_| panic!("nothing is published")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    cancel.store(false, Ordering::Relaxed);
    let past = Context { deadline: Some(Instant::now()), cancel: &cancel };
    assert_eq!(run(&plan, &source, &past, &mut |_| panic!("nothing is published")).unwrap_err().kind(), ErrorKind::TimedOut);
    let mut kinds = Vec::new();
    run(&plan, &source, &Context { deadline: None, cancel: &cancel }, &mut |outcome| {
        kinds.push(outcome.result.map(|encoded| encoded.width_px).map_err(|error| error.kind()));
        cancel.store(true, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(kinds, [Ok(10), Err(ErrorKind::Cancelled), Err(ErrorKind::Cancelled)]);
}

#[test]
fn the_plan_says_what_it_will_do() {
    let source = turned_jpeg(&picture_of(400, 200, Layout::Rgb8), Orientation::Rotate90);
    let found = probe(&mut Cursor::new(&source), &Limits::default()).unwrap();
    let plan = plan(&found, &specs(&["rs:fit:50:50/bl:2/f:webp"]), &Limits::default()).unwrap();
    let text = plan.to_string();
    // Eight times less is wanted: a quarter is decoded, and two times less is left to the resize; an eighth would leave nothing.
    assert!(text.starts_with("decode jpeg 100x50 to rgb\nvariant 0: resize 100"), "{text}");
    assert!(text.contains("to 50x25, orient 6, blur 2, encode webp quality 80: 25x50\n"), "{text}");
    assert_eq!((plan.result_size(0), plan.variant_count()), ((25, 50), 1));
    let empty = super::super::plan::plan(&found, &[], &Limits::default()).unwrap();
    let cancel = AtomicBool::new(false);
    run(&empty, &source, &Context { deadline: None, cancel: &cancel }, &mut |_| panic!("no variants")).unwrap();
}

/// Files through probe, plan and run with a box of 320: pictures, errors; the time each took is bounded.
fn survey(folder: &str, extensions: &[&str]) -> Option<(usize, usize)> {
    let files = corpus(folder)?;
    let (mut pictures, mut refused, mut slowest) = (0, 0, Duration::ZERO);
    let limits = Limits { max_memory_bytes: 2 << 30, ..Limits::default() };
    for (name, bytes) in files.iter().filter(|(name, _)| extensions.iter().any(|extension| name.to_ascii_lowercase().ends_with(extension)))
    {
        let started = Instant::now();
        match process(bytes, &["rs:fit:320:320"], &limits) {
            Ok((mut outcomes, _, _)) => {
                let encoded = outcomes.remove(0).result.unwrap_or_else(|error| panic!("{name}: {error}"));
                let opened = image::load_from_memory(&encoded.bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!((opened.width(), opened.height()), (encoded.width_px, encoded.height_px), "{name}");
                pictures += 1;
            }
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::Internal, "{name}: {error}");
                println!("{folder}/{name}: {:?} in {}: {error}", error.kind(), error.stage());
                refused += 1;
            }
        }
        slowest = slowest.max(started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
    }
    println!("{folder}: {pictures} pictures, {refused} refused, slowest {slowest:?}");
    Some((pictures, refused))
}

const ALL: [&str; 5] = [".jpg", ".jpeg", ".png", ".gif", ".webp"];

#[test]
fn corpus_of_good_pictures() {
    for (folder, at_least) in [("img-gif", 14), ("img-webp", 150), ("img-exif-orientation", 18), ("large-photos", 6)] {
        let Some((pictures, _)) = survey(folder, &ALL) else { return };
        assert!(pictures >= at_least, "{folder}: {pictures} pictures, wanted {at_least}");
    }
}

#[test]
fn corpus_of_broken_pictures() {
    for (folder, at_least) in [("crash-jpeg-decoder", 100), ("crash-imagetestsuite", 350), ("img-polyglot", 25)] {
        let Some((pictures, refused)) = survey(folder, &ALL) else { return };
        assert!(pictures + refused >= at_least, "{folder}: {pictures} and {refused} cases, wanted {at_least}");
    }
}

#[test]
fn corpus_of_turned_photos_is_upright() {
    let Some(files) = corpus("img-exif-orientation") else { return };
    let mut compared = 0;
    for name in ["Landscape", "Portrait"] {
        let upright = |number: u32| {
            let wanted = format!("{name}_{number}.jpg");
            let (_, bytes) = files.iter().find(|(name, _)| *name == wanted).unwrap_or_else(|| panic!("{wanted} is missing"));
            rgb(&one(bytes, "w:80/f:png").bytes)
        };
        let first = upright(1);
        for number in 2..=8 {
            let other = upright(number);
            assert_eq!(other.dimensions(), first.dimensions(), "{name} {number}");
            // Each file was compressed on its own, and carries its own number in large figures.
            let difference = mean_difference(other.as_raw(), first.as_raw());
            assert!(difference < 12.0, "{name} {number}: {difference}");
            compared += 1;
        }
    }
    println!("img-exif-orientation: {compared} compared");
}

#[test]
fn corpus_of_profiles_never_panics() {
    let Some(files) = corpus("img-icc") else { return };
    let mut usable = 0;
    for (_, bytes) in files.iter().filter(|(name, _)| name.ends_with(".icc") || name.ends_with(".icm")) {
        if let Some(to_srgb) = ToSrgb::from_profile(bytes) {
            let mut pixels = picture_of(33, 17, Layout::Rgba8);
            let alpha = |pixels: &Pixels| pixels.bytes.iter().skip(3).step_by(4).copied().collect::<Vec<u8>>();
            let before = alpha(&pixels);
            to_srgb.apply(&mut pixels);
            assert_eq!(alpha(&pixels), before);
            usable += 1;
        }
    }
    println!("img-icc: {} files, {usable} profiles that change something", files.len());
    assert!(files.len() >= 40 && usable >= 1, "{} {usable}", files.len());
}
