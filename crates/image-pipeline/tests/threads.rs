//! No codec starts threads: who works is the caller's to say. One test, alone in its process, so that threads can be counted.

use image_pipeline::{Context, Limits, Presets, Spec, plan, probe, run};
use std::{io::Cursor, sync::atomic::AtomicBool};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux").count()
}

/// What one file becomes.
fn made(file: &[u8], options: &str) -> Vec<u8> {
    let limits = Limits::default();
    let found = probe(&mut Cursor::new(file), &limits).expect("is read");
    let spec = Spec::parse(options, &Presets::builtin()).expect("parses");
    let planned = plan(&found, &[spec], &limits).expect("fits");
    let (cancel, mut bytes) = (AtomicBool::new(false), Vec::new());
    run(&planned, file, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| {
        bytes = outcome.result.expect("is made").bytes;
    })
    .expect("is decoded");
    bytes
}

#[test]
fn no_codec_starts_a_thread() {
    let mut png = Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(300, 200, |x, y| image::Rgb([(x * y) as u8, x as u8, y as u8]));
    picture.write_to(&mut png, image::ImageFormat::Png).expect("writes");
    let before = threads();
    for format in ["jpg", "jpg/progressive:1", "png", "png/colors:64", "webp", "webp/lossless:1", "gif", "avif", "avif/effort:6"] {
        let file = made(png.get_ref(), &format!("f:{format}"));
        assert_eq!(threads(), before, "writing {format}");
        made(&file, "w:100/f:png");
        assert_eq!(threads(), before, "reading {format}");
    }
}
