//! The same input, options and build come to the same bytes: again, and with threads lent.

use super::*;

/// Each of them with each format; those that stand for nothing alone come with what they need.
const OPTIONS: &[&str] = &[
    "",
    "rs:fit:90:70",
    "rs:fill:60:60/g:noea",
    "rs:fill-down:300:100/g:fp:0.2:0.8",
    "rs:force:50:90:1",
    "rs:auto:64:48",
    "s:80:40:1",
    "w:33/ll:1",
    "h:41/el:1",
    "c:100:0.5:sowe/w:40",
    "a:top/rs:fill:50:20",
    "ar:0/rot:90/fl:1:0",
    "flop:1/rot:180",
    "br:-40",
    "co:1.7",
    "sa:2.5",
    "gray:1",
    "sepia:1/invert:1",
    "filt:greyscale",
    "bl:1.5/w:80",
    "sh:1/w:80",
    "pix:7",
    "bg:336699",
    "q:35",
    "q:95/progressive:1",
    "effort:0",
    "scp:0/kcr:1",
    "sm:0",
    "pr:thumbnail",
];

const FORMATS: &[&str] = &["keep", "auto", "jpg", "png", "webp"];

/// Lends three threads, and all the memory that is asked for.
#[derive(Debug)]
struct Generous;

impl Spare for Generous {
    fn share(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let all = || {
            while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < count) {
                work(index);
            }
        };
        #[allow(clippy::disallowed_methods, reason = "a test may start threads to lend")]
        std::thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(all)));
            all();
        });
    }

    fn lend_bytes(&self, _: u64) -> bool {
        true
    }
}

fn bytes_of(spare: Option<&dyn Spare>, source: &[u8], texts: &[&str]) -> Vec<Vec<u8>> {
    let (mut outcomes, _, _) = process_with(spare, source, texts, &Limits::default()).unwrap();
    outcomes.sort_by_key(|outcome| outcome.index);
    outcomes.into_iter().zip(texts).map(|(outcome, text)| outcome.result.unwrap_or_else(|error| panic!("{text}: {error}")).bytes).collect()
}

#[test]
fn everything_twice_comes_to_the_same_bytes() {
    let photo = picture_of(170, 120, Layout::Rgb8);
    let sources = [
        ("jpeg", encode(&photo, OutputFormat::Jpeg, 90).unwrap()),
        ("png", png(&picture_of(150, 110, Layout::Rgba8))),
        ("webp", encode(&photo, OutputFormat::WebP, 90).unwrap()),
    ];
    let texts: Vec<String> = OPTIONS
        .iter()
        .flat_map(|options| FORMATS.iter().map(move |format| format!("{options}/f:{format}").trim_start_matches('/').to_owned()))
        .collect();
    let mut compared = 0;
    for (name, source) in &sources {
        // Some at a time, as a job has them; what is made beside a variant may decide how it is read.
        for some in texts.chunks(7) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            let first = bytes_of(None, source, &some);
            for spare in [None, Some(&Generous as &dyn Spare)] {
                let again = bytes_of(spare, source, &some);
                for ((text, one), other) in some.iter().zip(&first).zip(&again) {
                    assert!(one == other, "{name} {text}, lent {}: {} and {} bytes", spare.is_some(), one.len(), other.len());
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, sources.len() * OPTIONS.len() * FORMATS.len() * 2);
}

/// The other formats, still and moving, with an option of each kind: resized, turned, filtered, cut, drawn on.
#[test]
fn formats_that_are_dear_or_move_twice_come_to_the_same_bytes() {
    use crate::codec::frames::tests::{apng_of, gif_of, scene};
    let formats = [
        "f:gif",
        "f:gif/colors:16/dither:0.5",
        "f:avif/effort:0",
        "f:avif/q:40/effort:0",
        "f:webp/lossless:1",
        "f:png/colors:32",
        "f:jpg/progressive:1",
        "f:webp/max_bytes:4000",
        "f:auto",
    ];
    let options =
        ["", "rs:fit:60:60", "rot:90/bl:1.5", "rs:fill:40:40/g:sm", "w:50/pd:4/border:2:ff0000", "duotone:112233:ffeecc/round_corner:9"];
    let still = png(&picture_of(90, 70, Layout::Rgba8));
    let frames = scene(40, 30, 4);
    let sources = [("png", still), ("gif", gif_of(40, 30, &frames, Some(0), false)), ("apng", apng_of(40, 30, &frames, 2, true))];
    let texts: Vec<String> = options
        .iter()
        .flat_map(|options| formats.iter().map(move |format| format!("{options}/{format}").trim_start_matches('/').to_owned()))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut compared = 0;
    for (name, source) in &sources {
        for some in texts.chunks(9) {
            let first = bytes_of(None, source, some);
            for spare in [None, Some(&Generous as &dyn Spare)] {
                for ((text, one), other) in some.iter().zip(&first).zip(&bytes_of(spare, source, some)) {
                    assert!(one == other, "{name} {text}, lent {}: {} and {} bytes", spare.is_some(), one.len(), other.len());
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 3 * 54 * 2);
}
