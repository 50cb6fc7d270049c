//! Animations through plans: every frame as if it were a picture of its own, and never one frame where many were asked for.

use super::*;
use crate::codec::frames::tests::{Drawn, apng_of, composed, gif_of, read, same, scene};

/// A moving scene with holes, 40x30.
fn holed(count: u32) -> Vec<Drawn> {
    let mut frames = scene(40, 30, count);
    for (index, frame) in frames.iter_mut().enumerate() {
        frame.pixels.iter_mut().enumerate().filter(|(at, _)| (at / 5 + index).is_multiple_of(7)).for_each(|(_, pixel)| *pixel = [0; 4]);
        frame.then = crate::codec::frames::tests::Then::Clear;
    }
    frames
}

fn canvas_png(seen: &[[u8; 4]], width_px: u32, height_px: u32) -> Vec<u8> {
    png(&Pixels::new(width_px, height_px, Layout::Rgba8, seen.as_flattened().to_vec()).unwrap())
}

#[test]
fn every_frame_goes_the_way_of_a_still_picture() {
    let texts = [
        "",
        "w:20",
        "rs:fill:16:16/g:no",
        "c:20:10:soea/rot:90/fl:1:0",
        "gray:1/br:20",
        "w:30/bl:1.5",
        "sh:1/pix:5",
        "bg:00ff00/co:1.3",
        "rs:force:60:20:1/sepia:1/invert:1",
        "w:20/ll:1",
    ];
    let frames = holed(4);
    let seen = composed(40, 30, &frames);
    let sources = [gif_of(40, 30, &frames, Some(3), false), apng_of(40, 30, &frames, 4, true)];
    for source in &sources {
        let moving: Vec<String> = texts.iter().map(|text| format!("{text}/f:webp/lossless:1")).collect();
        let moving: Vec<&str> = moving.iter().map(String::as_str).collect();
        let (outcomes, ..) = process(source, &moving, &Limits::default()).unwrap();
        for outcome in outcomes {
            let text = texts[outcome.index];
            let encoded = outcome.result.unwrap();
            let (found, plays) = read(&encoded.bytes).unwrap();
            assert_eq!((encoded.frames, found.len(), encoded.quality), (4, 4, None), "{text}");
            assert_eq!(plays, codec::Plays(std::num::NonZeroU32::new(4)), "{text}");
            for (index, (found, (canvas, delay_ms))) in found.iter().zip(&seen).enumerate() {
                let still = one(&canvas_png(canvas, 40, 30), &format!("{text}/f:png"));
                let wanted = image::load_from_memory(&still.bytes).unwrap().into_rgba8().into_raw();
                assert_eq!((still.width_px, still.height_px), (encoded.width_px, encoded.height_px), "{text}");
                assert!(same(&found.0, wanted.as_chunks::<4>().0, 0), "{text}: frame {index}");
                assert_eq!(found.1, *delay_ms, "{text}: frame {index}");
            }
        }
    }
}

#[test]
fn what_cannot_move_shows_the_first_frame_and_the_rest_all() {
    let frames = scene(40, 30, 5);
    let source = gif_of(40, 30, &frames, Some(0), false);
    let texts = ["", "f:gif/maf:3", "f:webp", "f:webp/maf:1", "f:png", "f:jpg/q:95", "w:20/f:gif/maf:2", "f:webp/maf:99"];
    let (mut outcomes, _, plan) = process(&source, &texts, &Limits::default()).unwrap();
    assert_eq!(outcomes.iter().map(|outcome| outcome.index).filter(|&index| plan.moves(index)).count(), 5);
    let last_still = outcomes.iter().rposition(|outcome| !plan.moves(outcome.index)).unwrap();
    assert!(outcomes[..=last_still].iter().all(|outcome| !plan.moves(outcome.index)), "still ones first");
    outcomes.sort_by_key(|outcome| outcome.index);
    let encoded: Vec<Encoded> = outcomes.into_iter().map(|outcome| outcome.result.unwrap()).collect();
    let counts: Vec<u32> = encoded.iter().map(|encoded| encoded.frames).collect();
    assert_eq!(counts, [5, 3, 5, 1, 1, 1, 2, 5]);
    for (encoded, text) in encoded.iter().zip(texts) {
        let found = probe(&mut Cursor::new(&encoded.bytes), &Limits::default()).unwrap();
        assert_eq!(found.frames, Some(encoded.frames), "{text}");
        assert_eq!(found.format.as_str(), encoded.format.as_str(), "{text}");
        let first = image::load_from_memory(&encoded.bytes).unwrap();
        if encoded.width_px == 40 {
            let wanted: Vec<u8> = frames[0].pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
            let difference = mean_difference(first.into_rgb8().as_raw(), &wanted);
            assert!(difference < 9.0, "{text}: {difference}");
        }
    }
    // The same bytes again, whatever stands beside.
    assert_eq!(one(&source, "f:webp"), encoded[2]);
    assert_eq!(one(&source, ""), encoded[0]);
}

#[test]
fn an_animated_webp_becomes_a_gif_and_back() {
    let frames = scene(40, 30, 4);
    let gif = gif_of(40, 30, &frames, None, false);
    let webp = one(&gif, "f:webp/lossless:1");
    let again = one(&webp.bytes, "f:gif");
    let (wanted, plays) = read(&gif).unwrap();
    let (found, again_plays) = read(&again.bytes).unwrap();
    assert_eq!(plays, again_plays);
    assert!(wanted == found, "four opaque frames of few colours");
    // `keep` keeps it moving, and so does `auto`, but for a first frame alone.
    assert_eq!((one(&gif, "f:auto").format, one(&gif, "f:auto").frames), (OutputFormat::WebP, 4));
    assert_eq!((one(&gif, "f:auto/maf:1").format, one(&gif, "f:auto/maf:1").frames), (OutputFormat::Png, 1));
    assert_eq!((one(&webp.bytes, "w:20").format, one(&webp.bytes, "w:20").frames), (OutputFormat::WebP, 4));
}

#[test]
fn still_gifs_are_written_too() {
    let source = png(&picture_of(90, 60, Layout::Rgba8));
    let encoded = one(&source, "f:gif");
    assert_eq!((encoded.frames, encoded.quality), (1, None));
    let read = image::load_from_memory(&encoded.bytes).unwrap().into_rgba8();
    let wanted = picture_of(90, 60, Layout::Rgba8);
    for (found, wanted) in read.as_raw().chunks(4).zip(wanted.bytes.chunks(4)) {
        assert_eq!(found[3] > 0, wanted[3] >= 128);
    }
    let colours = |text: &str| {
        let picture = rgb(&one(&source, text).bytes);
        picture.pixels().map(|pixel| pixel.0).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert!(colours("bg:fff/f:gif/colors:8") <= 8 && colours("bg:fff/f:png/colors:8") <= 8 && colours("bg:fff/f:gif") > 100);
    let grey = turned_jpeg(&stage::samples::to_rgb(&picture_of(30, 20, Layout::Rgb8)), Orientation::Rotate90);
    assert_eq!((one(&grey, "f:gif").width_px, one(&grey, "f:gif/gray:1").height_px), (20, 30));
}

#[test]
fn a_later_frame_that_is_broken_ends_what_needs_it() {
    let frames = scene(40, 30, 5);
    let source = gif_of(40, 30, &frames, Some(0), false);
    let cut = &source[..source.len() - 40];
    let (outcomes, ..) = process(cut, &["f:png", "f:gif", "f:webp/w:20", "f:gif/maf:2"], &Limits::default()).unwrap();
    let kind = |index: usize| {
        let outcome = outcomes.iter().find(|outcome| outcome.index == index).unwrap();
        outcome.result.as_ref().map(|encoded| encoded.frames).map_err(Error::kind)
    };
    // All that are made of frames are read together.
    assert_eq!([kind(0), kind(1), kind(2)], [Ok(1), Err(ErrorKind::Truncated), Err(ErrorKind::Truncated)]);
    assert_eq!(one(cut, "f:gif/maf:2").frames, 2);
}

#[test]
fn frames_and_their_pixels_are_bounded() {
    let source = gif_of(40, 30, &scene(40, 30, 6), Some(0), false);
    let kind = |limits: &Limits| process(&source, &["f:gif"], limits).map(|_| ()).unwrap_err();
    let few = kind(&Limits { max_frames: 5, ..Limits::default() });
    assert_eq!(few.kind(), ErrorKind::TooManyFrames);
    let small = kind(&Limits { max_animation_pixels: 40 * 30 * 6 - 1, ..Limits::default() });
    assert_eq!((small.kind(), small.stage()), (ErrorKind::TooManyPixels, "probe"), "{small}");
    assert!(process(&source, &["f:gif"], &Limits { max_animation_pixels: 40 * 30 * 6, max_frames: 6, ..Limits::default() }).is_ok());
    // Where the header does not tell, the walk does.
    let limits = Limits::default();
    let found = Probe { frames: None, ..probe(&mut Cursor::new(&source), &limits).unwrap() };
    for (limits, wanted) in [
        (Limits { max_frames: 5, ..limits }, ErrorKind::TooManyFrames),
        (Limits { max_animation_pixels: 40 * 30 * 5, ..limits }, ErrorKind::TooManyPixels),
    ] {
        let plan = plan(&found, &specs(&["f:gif", "w:9/f:webp"]), &limits).unwrap();
        let cancel = AtomicBool::new(false);
        let mut kinds = Vec::new();
        run(&plan, &source, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| {
            kinds.push(outcome.result.map(|_| ()).map_err(|error| error.kind()));
        })
        .unwrap();
        assert_eq!(kinds, [Err(wanted), Err(wanted)]);
    }
}

/// A flag that is set once it was looked at so often cannot be had: the deadline has passed from the start, or the flag is set by the first
/// variant that ends.
#[test]
fn a_deadline_and_a_flag_end_an_animation() {
    let source = gif_of(40, 30, &scene(40, 30, 6), Some(0), false);
    let limits = Limits::default();
    let plan = plan(&probe(&mut Cursor::new(&source), &limits).unwrap(), &specs(&["f:png", "f:gif", "f:webp"]), &limits).unwrap();
    let cancel = AtomicBool::new(false);
    let mut kinds = Vec::new();
    run(&plan, &source, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| {
        kinds.push(outcome.result.map(|_| ()).map_err(|error| error.kind()));
        cancel.store(true, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(kinds, [Ok(()), Err(ErrorKind::Cancelled), Err(ErrorKind::Cancelled)]);
}

#[test]
fn the_plan_says_that_it_moves() {
    let source = gif_of(40, 30, &scene(40, 30, 6), Some(0), false);
    let found = probe(&mut Cursor::new(&source), &Limits::default()).unwrap();
    let plan = plan(&found, &specs(&["w:20/f:webp/maf:4", "f:png"]), &Limits::default()).unwrap();
    let text = plan.explain(source.len() as u64);
    assert!(text.contains("for each of 4 frames:") && text.contains("variant 0: encode picture 0 webp 20x15 quality 80"), "{text}");
    assert_eq!(
        (plan.variant_count(), plan.result_size(0), plan.result_size(1), plan.moves(0), plan.moves(1)),
        (2, (20, 15), (40, 30), true, false)
    );
}

#[test]
fn a_bound_is_kept_by_animations_or_refused() {
    let frames = scene(60, 40, 5);
    let source = gif_of(60, 40, &frames, Some(0), false);
    let free = one(&source, "f:webp/q:90");
    let bound = free.bytes.len() * 2 / 3;
    let text = format!("f:webp/q:90/mb:{bound}");
    let kept = one(&source, &text);
    assert!(kept.bytes.len() <= bound && kept.frames == 5, "{} of {bound}", kept.bytes.len());
    let quality = kept.quality.unwrap();
    assert!(quality < 90);
    assert_eq!(one(&source, &format!("f:webp/q:{quality}")).bytes, kept.bytes, "as if that quality had been asked for");
    assert!(one(&source, &format!("f:webp/q:{}", quality + 1)).bytes.len() > bound, "the highest that fits");
    assert_eq!(one(&source, &format!("f:webp/q:90/mb:{}", free.bytes.len())), free, "what fits anyhow is left alone");
    // What is decided by the first frame, other sizes and other files beside are what they are alone.
    let beside = [
        "f:webp",
        &text,
        "w:30/normalize:1/f:webp/q:90/mb:900",
        "rs:fill:20:20/g:sm/f:gif",
        "f:gif/mb:20",
        "f:webp/lossless:1/mb:20",
        "f:webp/mb:20",
    ];
    let (mut outcomes, ..) = process(&source, &beside, &Limits::default()).unwrap();
    outcomes.sort_by_key(|outcome| outcome.index);
    for (outcome, text) in outcomes.into_iter().zip(beside) {
        match outcome.result {
            Ok(encoded) => assert_eq!(encoded, one(&source, text), "{text}"),
            Err(error) => {
                let words = if text == "f:webp/mb:20" { "at the lowest quality" } else { "and has no quality to lower" };
                assert!(text.ends_with("mb:20") && error.kind() == ErrorKind::InvalidSpec, "{text}: {error}");
                assert!(error.to_string().contains(words) && error.to_string().ends_with("max_bytes is 20"), "{text}: {error}");
            }
        }
    }
}
