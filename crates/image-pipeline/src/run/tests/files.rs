//! The corpus, where there is one: every picture, or a clean error, in bounded time.

use super::*;
use crate::codec::tests::{corpus, corpus_folders};

/// What no file may take here, from bytes to a picture in a box of 320. The promise is two seconds, of the release binary: `scripts/faults/run --case B83`
/// measures that. A test build on whatever machine there is catches what does not end, not what is slow.
const BOUND: Duration = Duration::from_secs(8);

/// Time this thread has had on a core (Linux), or time that passed: other work on the machine must not decide.
fn clock() -> Duration {
    #[allow(clippy::disallowed_methods, reason = "a test may ask how long it took")]
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let on_core = told.and_then(|told| told.split(' ').next()?.parse().ok()).filter(|&ns| ns > 0).map(Duration::from_nanos);
    on_core.unwrap_or_else(|| {
        static STARTED: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        STARTED.get_or_init(Instant::now).elapsed()
    })
}

/// What work came to, and the least time of up to three tries.
fn in_time<T>(name: &str, mut work: impl FnMut() -> T) -> (T, Duration) {
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let before = clock();
        let made = work();
        least = least.min(clock().saturating_sub(before));
        if least < BOUND {
            return (made, least);
        }
    }
    panic!("{name} took {least:?}, at most {BOUND:?} are allowed");
}

/// Files through probe, plan and run with a box of 320: pictures, errors; the time each took is bounded.
fn survey(folder: &str, extensions: &[&str]) -> Option<(usize, usize)> {
    let files = corpus(folder)?;
    let (mut pictures, mut refused, mut slowest) = (0, 0, Duration::ZERO);
    let limits = Limits { max_memory_bytes: 2 << 30, ..Limits::default() };
    for (name, bytes) in files.iter().filter(|(name, _)| extensions.iter().any(|extension| name.to_ascii_lowercase().ends_with(extension)))
    {
        // AVIF is not read by the crate that looks at the result.
        let options = if name.ends_with(".avif") { "rs:fit:320:320/f:png" } else { "rs:fit:320:320" };
        let (made, took) = in_time(name, || process(bytes, &[options], &limits));
        slowest = slowest.max(took);
        match made {
            Ok((mut outcomes, _, _)) => {
                let encoded = match outcomes.remove(0).result {
                    Ok(encoded) => encoded,
                    // An animation that is broken behind its first frame.
                    Err(error) if matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Malformed) => {
                        println!("{folder}/{name}: {:?} in {}: {error}", error.kind(), error.stage());
                        refused += 1;
                        continue;
                    }
                    Err(error) => panic!("{name}: {error}"),
                };
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
    }
    println!("{folder}: {pictures} pictures, {refused} refused, slowest {slowest:?}");
    Some((pictures, refused))
}

const ALL: [&str; 8] = [".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".tif", ".tiff"];

#[test]
fn corpus_of_good_pictures() {
    for (folder, at_least) in [("img-gif", 14), ("img-webp", 150), ("img-exif-orientation", 18), ("large-photos", 7), ("img-avif", 54)] {
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
            to_srgb.apply(&mut pixels, crate::watch::Watch::NEVER).unwrap();
            assert_eq!(alpha(&pixels), before);
            usable += 1;
        }
    }
    println!("img-icc: {} files, {usable} profiles that change something", files.len());
    assert!(files.len() >= 40 && usable >= 1, "{} {usable}", files.len());
}

/// Folders of the corpus, and how many files of each are looked at, at least.
const FOLDERS: [(&str, usize); 11] = [
    ("crash-imagetestsuite", 414),
    ("crash-jpeg-decoder", 113),
    ("img-avif", 89),
    ("img-exif-orientation", 20),
    ("img-gif", 22),
    ("img-icc", 46),
    ("img-pngsuite", 180),
    ("img-polyglot", 108),
    ("img-svg", 98),
    ("img-webp", 153),
    ("large-photos", 7),
];

/// Bodies of forms: those are the service's.
const NO_IMAGES: [&str; 1] = ["mp-cases"];

/// Every file of every folder, whatever it is: told by its bytes alone, made small and looked at for what it is.
#[test]
fn corpus_as_a_whole_ends_well() {
    let Some(there) = corpus_folders() else { return };
    let known = |folder: &str| FOLDERS.iter().any(|(known, _)| *known == folder) || NO_IMAGES.contains(&folder);
    assert!(there.iter().all(|folder| known(folder)), "a folder is not looked at: {there:?}");
    let limits = Limits { max_memory_bytes: 1 << 30, allow_svg: true, ..Limits::default() };
    let (mut files_seen, mut pictures, mut refused) = (0, 0, std::collections::BTreeMap::<String, usize>::new());
    for (folder, at_least) in FOLDERS {
        let Some(files) = corpus(folder) else { return };
        assert!(files.len() >= at_least, "{folder}: {} files", files.len());
        let (mut of_folder, mut slowest) = (0, (Duration::ZERO, ""));
        for (name, bytes) in &files {
            let run_on = |found: Probe| {
                let plan = plan(&found, &specs(&["rs:fit:320:320/f:auto"]), &limits)?.with_facts()?;
                let cancel = AtomicBool::new(false);
                let mut made = None;
                let context = Context { deadline: None, cancel: &cancel, spare: None };
                let report = run(&plan, bytes, &context, &mut |outcome| made = Some(outcome.result))?;
                assert!(report.peak_bytes <= plan.memory_bytes(bytes.len() as u64), "{name}");
                assert!(report.facts.is_some_and(|facts| facts.blurhash.len() == 28 && facts.thumbhash.len() >= 5), "{name}");
                made.expect("the variant ends")
            };
            let (made, took) = in_time(name, || probe(&mut Cursor::new(bytes), &limits).and_then(run_on));
            slowest = slowest.max((took, name));
            files_seen += 1;
            match made {
                Ok(encoded) => {
                    assert!((1..=320).contains(&encoded.width_px) && (1..=320).contains(&encoded.height_px), "{name}");
                    of_folder += 1;
                }
                Err(error) => {
                    assert!(
                        !matches!(error.kind(), ErrorKind::Internal | ErrorKind::InvalidSpec | ErrorKind::Cancelled),
                        "{name}: {error}"
                    );
                    *refused.entry(format!("{:?}", error.kind())).or_default() += 1;
                }
            }
        }
        println!("{folder}: {} files, {of_folder} pictures, slowest {slowest:?}", files.len());
        pictures += of_folder;
    }
    println!("corpus: {files_seen} files, {pictures} pictures; refused: {refused:?}");
    assert_eq!(files_seen, pictures + refused.values().sum::<usize>());
    assert!(files_seen >= 1250 && pictures >= 580, "{files_seen} files, {pictures} pictures");
}

#[test]
fn a_bound_goes_before_a_format_that_nobody_asked_for() {
    // Few colours, and no two neighbours alike: a PNG of it is large.
    let drawn = crate::stage::samples::picture(96, 64, Layout::Rgb8, |x, y, channel| {
        let tone = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 24;
        [tone, 255 - tone / 2, 60][channel] as u8
    });
    let source = png(&drawn);
    let free = one(&source, "f:auto");
    assert_eq!(free.format, OutputFormat::Png);
    let bound = free.bytes.len();
    assert_eq!(one(&source, &format!("f:auto/mb:{bound}")), free, "what fits is left alone");
    let smallest = one(&source, "f:webp/q:1").bytes.len();
    assert!(smallest < bound, "{smallest} of {bound}");
    let kept = one(&source, &format!("f:auto/mb:{}", bound - 1));
    assert!(kept.format == OutputFormat::WebP && kept.quality.is_some() && kept.bytes.len() < bound);
    let refused = |text: &str| {
        let (outcomes, ..) = process(&source, &[text], &Limits::default()).unwrap();
        outcomes.into_iter().next().unwrap().result.unwrap_err().to_string()
    };
    assert!(refused("f:auto/mb:30").contains("webp has") && refused("f:auto/mb:30").ends_with("at the lowest quality, max_bytes is 30"));
    assert!(refused("f:webp/lossless:1/mb:30").contains("no quality to lower"));
    assert!(refused("f:png/colors:4/mb:30").contains("png has") && refused("f:auto/lossless:1/mb:30").contains("no quality to lower"));
    // AVIF has a quality like any other.
    let free = one(&source, "f:avif/q:70");
    let kept = one(&source, &format!("f:avif/q:70/mb:{}", free.bytes.len() - 1));
    assert!(kept.bytes.len() < free.bytes.len() && kept.quality < Some(70));
    assert!(refused("f:avif/mb:30").contains("avif has") && refused("f:avif/mb:30").contains("at the lowest quality"));
}
