//! What a plan says that it holds, against what it holds: every allocation of this process is counted, libwebp's too.
//!
//! The estimate is what the service admits work by, so it must never be too low, nor so high that cores stand idle.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types, reason = "a test may read files and count what malloc gives")]

#[path = "../src/codec/inks/made.rs"]
mod made;

use image_pipeline::{Context, ErrorKind, Limits, Presets, Spec, plan, probe, run};
use std::{
    ffi::{c_int, c_void},
    io::Cursor,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    fn __libc_malloc(bytes: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, bytes: usize) -> *mut c_void;
    fn __libc_realloc(at: *mut c_void, bytes: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, bytes: usize) -> *mut c_void;
    fn __libc_free(at: *mut c_void);
    fn malloc_usable_size(at: *mut c_void) -> usize;
}

fn count(at: *mut c_void) -> *mut c_void {
    if !at.is_null() {
        // SAFETY: `at` came from glibc's allocator just now.
        let bytes = unsafe { malloc_usable_size(at) };
        let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
        MOST.fetch_max(live, Relaxed);
    }
    at
}

fn uncount(at: *mut c_void) {
    if !at.is_null() {
        // SAFETY: `at` came from glibc's allocator and was not freed yet: the caller is about to.
        LIVE.fetch_sub(unsafe { malloc_usable_size(at) }, Relaxed);
    }
}

// SAFETY (all five): glibc's own functions under their other names do the work, with the caller's arguments; a program may replace the
// family as a whole (malloc(3), "Replacing malloc" in the GNU C Library manual).
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    count(unsafe { __libc_malloc(bytes) })
}
#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(number: usize, bytes: usize) -> *mut c_void {
    count(unsafe { __libc_calloc(number, bytes) })
}
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(at: *mut c_void, bytes: usize) -> *mut c_void {
    uncount(at);
    count(unsafe { __libc_realloc(at, bytes) })
}
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, bytes: usize) -> c_int {
    let at = count(unsafe { __libc_memalign(align, bytes) });
    if at.is_null() {
        return 12;
    }
    unsafe { *out = at };
    0
}
#[unsafe(no_mangle)]
unsafe extern "C" fn free(at: *mut c_void) {
    uncount(at);
    unsafe { __libc_free(at) }
}

const SPECS: [&[&str]; 12] = [
    &["rs:fit:320:320/f:jpg/q:80", "rs:fit:1280:1280/f:jpg/q:80"],
    &["rs:fit:200:200/f:webp", "rs:fit:900:900/f:jpg/q:95", "rs:fit:400:400/bl:2/f:png"],
    &["f:jpg"],
    &["rs:fit:1000:1000/f:webp/q:80", "rs:fit:1000:1000/sh:1/f:jpg"],
    &["rs:fill:300:300/g:sm/f:jpg", "c:0.6:0.5:sm/w:500/median:3/f:jpg", "rs:fit:600:600/median:9/normalize/f:jpg"],
    &["rs:fit:500:400/ex:1/border:9:f00/round_corner:60/pd:20/bg:0af/f:jpg", "w:700/duotone:002:ffd/round_corner:30/f:jpg"],
    &[
        "rs:fit:800:800/wmt:SGVsbG8gd29ybGQ:60:fff:0.8:re:20:20/f:jpg",
        "rs:fit:900:900/bl:2/-/c:0.5:0.5/rot:90/-/rs:fill:300:300:1/g:sm/f:png",
    ],
    &["w:900/ra:cubic/mb:20000/f:jpg/q:60", "rs:fit:500:500/ra:nearest/f:jpg"],
    &["t:10/rs:fit:320:320/f:jpg"],
    &["rs:fit:400:400/f:png/sm:0/scp:0", "rs:fit:900:900/f:jpg/q:95/kcr:1", "rs:fit:200:200/f:webp/sm:0/scp:0"],
    &["rs:fit:700:700/f:png/colors:64", "rs:fit:700:700/f:gif/maf:1"],
    &["rs:fit:300:300/f:webp/lossless:1/maf:1"],
];

/// Of animations, with how many times as much may be said as is held: the files grow with what is in the frames, up to noise.
const MOVING: [(&[&str], f64); 6] = [
    (&["f:gif"], 3.0),
    (&["f:webp"], 3.5),
    (&["w:150/f:webp/lossless:1"], 3.5),
    (&["w:200/f:gif", "w:90/bl:2/f:gif/colors:32", "f:webp/q:100", "f:png"], 3.5),
    (&["w:100/rot:90/f:webp/maf:5", "w:100/f:gif/dither:0"], 3.5),
    // Written several times; whether the bound is kept in the end is not asked here.
    (&["f:webp/q:95/mb:60000", "w:150/f:webp/mb:8000"], 3.5),
];

/// For pictures made here only: it takes long.
const SLOW_SPECS: [&[&str]; 2] = [&["rs:fit:500:500/f:avif/q:70"], &["rs:fit:300:300/f:avif/effort:0", "rs:fit:200:200/f:avif/effort:5"]];

/// What is not worth telling apart: tables and windows, which small pictures need as well.
const FIXED: u64 = 1 << 20;

/// What reading a profile with tables takes.
const PROFILE: u64 = 3 << 20;

/// What is counted is the whole process: one test at a time.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Runs a picture; what was held and what was said, or `None` where it is refused.
fn held(bytes: &[u8], texts: &[&str]) -> Option<(u64, u64, String)> {
    let limits = Limits { max_memory_bytes: 4 << 30, max_side_px: 16_383, ..Limits::default() };
    let specs: Vec<Spec> = texts.iter().map(|text| Spec::parse(text, &Presets::builtin()).expect("options parse")).collect();
    let found = probe(&mut Cursor::new(bytes), &limits).ok()?;
    let planned = plan(&found, &specs, &limits).ok()?;
    let said = planned.memory_bytes(bytes.len() as u64);
    let cancel = AtomicBool::new(false);
    let before = LIVE.load(Relaxed);
    MOST.store(before, Relaxed);
    let report = run(&planned, bytes, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| {
        // Dropped here, as if it were stored at once.
        if let Err(error) = outcome.result {
            assert_ne!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        }
    });
    let most = MOST.load(Relaxed).saturating_sub(before) as u64 + bytes.len() as u64;
    let report = report.ok()?;
    assert!(report.peak_bytes <= said, "charged {} of {said}", report.peak_bytes);
    Some((most, said, planned.explain(bytes.len() as u64)))
}

/// Pictures of noise and of gradients, of several kinds.
fn made() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (width, height, noise) in [(2400_u32, 1600_u32, 8_u32), (900, 2500, 40), (300, 200, 3)] {
        let mut state = 0x1234_5678_u32;
        let rgb: Vec<u8> = (0..width * height * 3)
            .map(|at| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let (x, y) = (at / 3 % width, at / 3 / width);
                (100.0 + 60.0 * (x as f32 / 90.0).sin() * (y as f32 / 70.0 + (at % 3) as f32).cos() + (state % noise) as f32) as u8
            })
            .collect();
        let picture = image::DynamicImage::from(image::RgbImage::from_raw(width, height, rgb.clone()).expect("as many bytes"));
        for format in
            [image::ImageFormat::Png, image::ImageFormat::WebP, image::ImageFormat::Gif, image::ImageFormat::Bmp, image::ImageFormat::Qoi]
        {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format).expect("writes");
            all.push((format!("{width}x{height} {format:?}"), bytes.into_inner()));
        }
        for (kind, rows) in [("lzw", 16), ("plain", 1 << 16)] {
            let mut bytes = Cursor::new(Vec::new());
            let compression = if kind == "lzw" { tiff::encoder::Compression::Lzw } else { tiff::encoder::Compression::Uncompressed };
            let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).expect("begins").with_compression(compression);
            let mut page = encoder.new_image::<tiff::encoder::colortype::RGB8>(width, height).expect("begins");
            page.rows_per_strip(rows.min(height)).expect("sets");
            page.write_data(&rgb).expect("writes");
            all.push((format!("{width}x{height} tiff, {kind}"), bytes.into_inner()));
        }
        if width < 1000 {
            let pixels: Vec<ravif::RGB8> = rgb.as_chunks::<3>().0.iter().map(|&[r, g, b]| ravif::RGB8 { r, g, b }).collect();
            for depth in [ravif::BitDepth::Eight, ravif::BitDepth::Ten] {
                let encoder = ravif::Encoder::new().with_speed(10).with_bit_depth(depth);
                let written = encoder.encode_rgb(ravif::Img::new(&pixels, width as usize, height as usize)).expect("writes");
                all.push((format!("{width}x{height} avif, {depth:?}"), written.avif_file));
            }
        }
        for progressive in [false, true] {
            let mut bytes = Vec::new();
            let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
            encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
            encoder.set_progressive(progressive);
            encoder.encode(&rgb, width as u16, height as u16, jpeg_encoder::ColorType::Rgb).expect("writes");
            all.push((format!("{width}x{height} jpeg, progressive {progressive}"), bytes));
        }
        let inks: Vec<u8> = rgb.as_chunks::<3>().0.iter().flat_map(|&[c, m, y]| [c, m, y, c / 2]).collect();
        for grid in [0, 5, 9] {
            let mut bytes = Vec::new();
            let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
            if grid > 0 {
                encoder.add_icc_profile(&made::profile_of_inks(grid).encode().expect("writes")).expect("fits");
            }
            encoder.encode(&inks, width as u16, height as u16, jpeg_encoder::ColorType::Cmyk).expect("writes");
            all.push((format!("{width}x{height} jpeg of inks, profile of {grid} steps"), bytes));
        }
    }
    all
}

/// Animations: one of noise, one of which little changes, one with holes.
fn animated() -> Vec<(String, Vec<u8>)> {
    let (width, height) = (320_u16, 240_u16);
    let mut all = Vec::new();
    for (name, noise, moves, clears) in [("noise", 200_u32, 999_u32, false), ("a spot", 3, 20, false), ("holes", 30, 120, true)] {
        let mut bytes = Vec::new();
        let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[]).expect("writes");
        let mut state = 0x1234_5678_u32;
        for frame in 0..12_u32 {
            let mut rgba: Vec<u8> = (0..u32::from(width) * u32::from(height))
                .flat_map(|at| {
                    let (x, y) = (at % u32::from(width), at / u32::from(width));
                    let is_spot = x.abs_diff(20 * frame) < moves && y.abs_diff(100) < moves;
                    if is_spot {
                        state ^= state << 13;
                        state ^= state >> 17;
                        state ^= state << 5;
                    }
                    let value = if is_spot { state % noise } else { 7 };
                    [
                        (x / 2 + value) as u8,
                        (y / 2 + value / 2) as u8,
                        90,
                        if clears && (x / 9 + frame).is_multiple_of(5) { 0 } else { 255 },
                    ]
                })
                .collect();
            let mut frame = gif::Frame::from_rgba_speed(width, height, &mut rgba, 30);
            frame.dispose = if clears { gif::DisposalMethod::Background } else { gif::DisposalMethod::Keep };
            encoder.write_frame(&frame).expect("writes");
        }
        drop(encoder);
        all.push((format!("animation, {name}"), bytes));
    }
    all
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let Some(root) = std::env::var_os("PIXMILL_CORPUS") else {
        println!("PIXMILL_CORPUS is not set: only pictures made in code are weighed");
        return Vec::new();
    };
    let mut files = Vec::new();
    let mut folders = vec![Path::new(&root).to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("lists").flatten().map(|entry| entry.path()) {
            let name = path.to_string_lossy().to_ascii_lowercase();
            if path.is_dir() {
                folders.push(path);
            } else if [".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".tif", ".jxl"].iter().any(|ending| name.ends_with(ending)) {
                files.push((path.display().to_string(), std::fs::read(&path).expect("reads")));
            }
        }
    }
    files.sort();
    assert!(files.len() > 800, "{} files", files.len());
    files
}

#[test]
fn what_is_said_is_what_is_held() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (mut weighed, mut worst, mut wrong) = (0, 1.0_f64, Vec::new());
    for (name, bytes) in made().into_iter().chain(corpus()) {
        let is_made = !name.contains('/');
        for texts in SPECS.into_iter().chain(SLOW_SPECS.into_iter().filter(|_| is_made)) {
            let Some((most, said, plan)) = held(&bytes, texts) else { continue };
            let mut check = |holds: bool| {
                if !holds {
                    wrong.push(format!("{name} {texts:?}: held {most}, said {said}\n{plan}"));
                }
            };
            check(said >= most);
            // What a packed profile holds, and whether it can be used, is known only when it is read.
            let profile = if plan.contains("decode png") && plan.contains(": profile") { PROFILE } else { 0 };
            let ratio = said as f64 / (most + FIXED + profile) as f64;
            // What libwebp needs for an alpha channel depends on what is in it: 34 bytes a pixel for noise, next to nothing for none.
            let alpha = texts.iter().any(|text| text.contains("webp")) && plan.contains("rgba");
            // A GIF grows with what is in it: of noise to one and a half bytes a pixel, and its codes while they are made to twice that.
            let grows = alpha || texts.iter().any(|text| text.contains("gif") || text.contains("lossless"));
            // Of a flat picture there is less to keep, too.
            let webp = texts.iter().any(|text| text.contains("webp"));
            // The files of an animation are planned for noise in every frame, and one that is cut short for as many frames as are allowed.
            if plan.contains("for each of ") {
                continue;
            }
            // Planes are half of what colours were, and beside them the file weighs twice: as much as noise would need, and next to nothing of a white page.
            let planes = plan.contains("ycc 4:2:0") && plan.contains(" jpeg ");
            let most_ratio = match (grows, webp || planes) {
                (true, _) => 3.5,
                (_, true) => 2.0,
                _ => 1.5,
            };
            check(ratio <= most_ratio);
            if grows {
                continue;
            }
            worst = worst.max(ratio);
            weighed += 1;
        }
    }
    assert!(wrong.is_empty(), "{}\n{} in all", wrong[..wrong.len().min(10)].join("\n"), wrong.len());
    println!("{weighed} plans weighed; at worst {worst:.2} times as much was said as was held");
    assert!(weighed >= 50, "{weighed}");
}

#[test]
fn of_animations_too() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (mut weighed, mut wrong) = (0, Vec::new());
    for (name, bytes) in animated() {
        for (texts, most_ratio) in MOVING {
            let (most, said, plan) = held(&bytes, texts).expect("it is whole");
            let mut check = |holds: bool| {
                if !holds {
                    wrong.push(format!("{name} {texts:?}: held {most}, said {said}\n{plan}"));
                }
            };
            check(said >= most);
            let ratio = said as f64 / (most + FIXED) as f64;
            println!("{name} {texts:?}: {ratio:.2}");
            check(ratio <= most_ratio);
            weighed += 1;
        }
    }
    assert!(wrong.is_empty(), "{}\n{} in all", wrong.join("\n"), wrong.len());
    assert!(weighed >= 18, "{weighed}");
}

/// AVIF sequences and animated JPEG XL of the corpus: decoders that keep pictures for later ones.
#[test]
fn what_is_said_of_films_is_enough() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (mut weighed, mut least) = (0, f64::MAX);
    for (name, bytes) in corpus().into_iter().filter(|(name, _)| name.contains("animated")) {
        for (texts, _) in MOVING {
            let Some((most, said, plan)) = held(&bytes, texts) else { continue };
            assert!(said >= most, "{name} {texts:?}: held {most}, said {said}\n{plan}");
            least = least.min(said as f64 / most as f64);
            weighed += 1;
        }
    }
    println!("{weighed} plans of films weighed; at least {least:.2} times as much was said as was held");
    assert!(std::env::var_os("PIXMILL_CORPUS").is_none() || weighed >= 20, "{weighed}");
}

#[test]
fn noise_is_what_an_encoder_holds_most_for() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (width, height) in [(60, 60), (300, 300), (1000, 700)] {
        let mut state = 0x1234_5678_u32;
        let noise = image::RgbImage::from_fn(width, height, |_, _| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            image::Rgb(state.to_le_bytes()[..3].try_into().expect("three"))
        });
        let mut png = Cursor::new(Vec::new());
        image::DynamicImage::from(noise).write_to(&mut png, image::ImageFormat::Png).expect("writes");
        for quality in [1, 50, 80, 90, 95, 100] {
            for how in ["f:jpg", "f:jpg/progressive:1", "f:webp/effort:0", "f:webp", "f:webp/effort:3", "f:webp/effort:6"] {
                let text = format!("{how}/q:{quality}");
                let (most, said, plan) = held(png.get_ref(), &[&text]).expect("fits");
                assert!(said >= most, "{width}x{height} {text}: held {most}, said {said}\n{plan}");
            }
        }
    }
}

/// An AVIF whose pictures take more memory than its header let expect: what the decoder was refused, it gives back.
#[test]
fn a_refused_picture_leaves_nothing_behind() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut png = Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(1024, 16).write_to(&mut png, image::ImageFormat::Png).expect("writes");
    let mut avif = once(png.get_ref(), "f:avif").expect("it is whole");
    // As many pixels, of which a row takes no 1024 samples.
    let sides = avif.windows(4).position(|four| four == b"ispe").expect("there is one") + 8;
    avif[sides..sides + 8].copy_from_slice(&[0, 0, 0, 128, 0, 0, 0, 128]);
    assert_eq!(once(&avif, "f:jpg").expect_err("the picture is not what the header says"), ErrorKind::LimitExceeded);
    let before = LIVE.load(Relaxed);
    for _ in 0..20 {
        assert!(once(&avif, "f:jpg").is_err());
    }
    let left = LIVE.load(Relaxed).saturating_sub(before);
    assert!(left < 1000, "{left} bytes are left of 20 refused pictures");
}

/// The only result of a picture.
fn once(source: &[u8], text: &str) -> Result<Vec<u8>, ErrorKind> {
    let limits = Limits::default();
    let spec = Spec::parse(text, &Presets::builtin()).expect("it parses");
    let found = probe(&mut Cursor::new(source), &limits).map_err(|error| error.kind())?;
    let plan = plan(&found, &[spec], &limits).map_err(|error| error.kind())?;
    let cancel = AtomicBool::new(false);
    let mut made = Err(ErrorKind::Internal);
    run(&plan, source, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| {
        made = outcome.result.map(|encoded| encoded.bytes).map_err(|error| error.kind());
    })
    .map_err(|error| error.kind())?;
    made
}
