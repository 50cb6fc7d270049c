//! Luma and chroma that stay planes: what is made of them is what is made of colours, all but rounding.

use super::*;
use crate::{codec::tests::read, pixels::Shape, spec::Kernel, stage::geometry::Region};

fn explained(source: &[u8], text: &str) -> String {
    let found = probe(&mut Cursor::new(source), &Limits::default()).unwrap();
    plan(&found, &specs(&[text]), &Limits::default()).unwrap().explain(source.len() as u64)
}

fn jpeg(pixels: &Pixels) -> Vec<u8> {
    encode(pixels, OutputFormat::Jpeg, 89).unwrap()
}

/// Most and mean difference of two files' colours.
fn differences(one: &[u8], other: &[u8]) -> (u8, f64) {
    let (one, other) = (rgb(one).into_raw(), rgb(other).into_raw());
    (one.iter().zip(&other).map(|(one, other)| one.abs_diff(*other)).max().unwrap_or(0), mean_difference(&one, &other))
}

#[test]
fn what_is_only_blurred_stays_planes_on_its_way_to_a_jpeg() {
    let source = picture_of(121, 90, Layout::Rgb8);
    let (as_png, as_jpeg) = (png(&source), jpeg(&source));
    for (source, text, wanted) in [
        (&as_png, "bl:3/f:jpg", [false, false]),
        (&as_jpeg, "bl:3/f:jpg", [false, false]),
        (&as_jpeg, "w:60/bl:2/f:jpg", [false, false]),
        // It is as small as its planes before they are made.
        (&as_png, "w:60/bl:3/f:jpg", [true, false]),
        (&as_png, "rot:90/bl:3/f:jpg", [true, false]),
        // A narrow blur of halved chroma would be another one; and others than a blur want colours.
        (&as_jpeg, "bl:1.9/f:jpg", [false, true]),
        (&as_jpeg, "bl:3/f:png", [false, true]),
        (&as_jpeg, "bl:3/sh:1/f:jpg", [false, true]),
    ] {
        let text_of_plan = explained(source, text);
        let found = [": planes", ": rgb"].map(|step| text_of_plan.contains(step));
        assert!(found == wanted && text_of_plan.contains(": blur"), "{text}: {text_of_plan}");
    }
    assert!(explained(&as_png, "bl:3/f:jpg").contains("to 121x90 ycc 4:2:0") && explained(&as_png, "f:png").contains("to 121x90 rgb"));
}

#[test]
fn blurred_planes_are_blurred_colours() {
    for (width_px, height_px) in [(120, 90), (121, 91), (200, 151)] {
        let source = picture_of(width_px, height_px, Layout::Rgb8);
        for sigma in [2.0, 3.0, 8.0] {
            let mut colours = source.clone();
            stage::blur::blur(&mut colours, sigma, Watch::NEVER).unwrap();
            let (most, mean) = differences(&one(&png(&source), &format!("bl:{sigma}/f:jpg/q:89")).bytes, &jpeg(&colours));
            // Quantised coefficients may fall to either side.
            assert!(most <= 12 && mean <= 0.7, "{width_px}x{height_px}, {sigma}: {most} {mean}");
        }
    }
}

/// A picture that is written as it is: its planes are made row by row, and the encoder makes the same of its colours.
#[test]
fn colours_become_the_same_jpeg_by_planes() {
    for (width_px, height_px) in [(120, 90), (121, 91), (2, 1), (300, 1)] {
        let source = picture_of(width_px, height_px, Layout::Rgb8);
        assert!(one(&png(&source), "f:jpg/q:89").bytes == jpeg(&source), "{width_px}x{height_px}");
    }
}

#[test]
fn a_webp_that_becomes_smaller_is_read_as_planes() {
    let source = picture_of(401, 300, Layout::Rgb8);
    let file = encode(&source, OutputFormat::WebP, 90).unwrap();
    let reads_planes = |file: &[u8], text: &str| explained(file, text).starts_with("decode webp 401x300 ycc");
    for (text, wanted) in
        [("w:200/f:jpg", true), ("w:150/f:png", true), ("w:201/f:jpg", false), ("c:300:300/w:200/f:jpg", false), ("w:100/linear:1", false)]
    {
        assert_eq!(reads_planes(&file, text), wanted, "{text}");
    }
    let with_alpha = encode(&picture_of(401, 300, Layout::Rgba8), OutputFormat::WebP, 90).unwrap();
    assert!(!reads_planes(&with_alpha, "w:100/f:png") && !reads_planes(&with_alpha, "w:100/f:jpg"));
    // The same picture as libwebp's colours make.
    let colours = read(&file).unwrap().pixels;
    let to = Shape { width_px: 100, height_px: 75, layout: Layout::Rgb8 };
    let small = stage::resize::resize(&colours, Region::whole(colours.shape()), to, Kernel::Lanczos3, false, Watch::NEVER).unwrap();
    // At steep edges halved chroma rings in another way.
    for (text, most_allowed, mean_allowed) in [("w:100/h:75/rt:force/f:png", 24, 1.0), ("w:100/h:75/rt:force/f:jpg/q:95", 40, 1.5)] {
        let (most, mean) = differences(&one(&file, text).bytes, &png(&small));
        assert!(most <= most_allowed && mean <= mean_allowed, "{text}: {most} {mean}");
    }
}
