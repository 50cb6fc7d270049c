//! What comes out is what a slow, obvious computation gives: Lanczos3 of the `image` crate on the same decoded source, and
//! the filters' definitions. The measure is the mean absolute difference per channel, of 255.
//!
//! Thresholds: resizing of a PNG source 1.0 (two implementations of one kernel differ by rounding and at borders), of a JPEG
//! source 2.0 (two decoders, and a decode at a reduced size is allowed). Filters without resizing: every value within 1.

use image::{DynamicImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, imageops::FilterType};
use serde_json::json;

use crate::support::{Server, pictures};

const PNG_MEAN: f64 = 1.0;
const JPEG_MEAN: f64 = 2.0;

/// Mean absolute difference per channel over RGBA.
fn mean_difference(a: &DynamicImage, b: &DynamicImage) -> f64 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()), "sizes differ");
    let (a, b) = (a.to_rgba8(), b.to_rgba8());
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.as_raw().len() as f64
}

fn most_difference(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions(), "sizes differ");
    a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

fn resized(source: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    source.resize_exact(width, height, FilterType::Lanczos3)
}

/// Scaled so that it covers, then cut in the middle. Only for sizes where scale and cut fall on whole pixels: elsewhere the service
/// places its cut between pixels, and this does not.
fn filled(source: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let scale = (f64::from(width) / f64::from(source.width())).max(f64::from(height) / f64::from(source.height()));
    let side = |px: u32| (f64::from(px) * scale).round() as u32;
    let covering = resized(source, side(source.width()), side(source.height()));
    covering.crop_imm((covering.width() - width) / 2, (covering.height() - height) / 2, width, height)
}

#[test]
fn the_measure_can_tell_pictures_apart() {
    let photo = DynamicImage::from(pictures::photo(60, 40, 1));
    assert_eq!(mean_difference(&photo, &photo), 0.0);
    // What the thresholds must not let through: a mirrored result, one moved by two pixels, another kernel.
    assert!(mean_difference(&photo, &photo.fliph()) > 2.0 * JPEG_MEAN);
    let wide = DynamicImage::from(pictures::photo(600, 400, 1));
    let moved = wide.crop_imm(12, 0, 588, 400);
    assert!(mean_difference(&resized(&wide, 60, 40), &resized(&moved, 60, 40)) > PNG_MEAN);
    let nearest = wide.resize_exact(60, 40, FilterType::Nearest);
    assert!(mean_difference(&resized(&wide, 60, 40), &nearest) > PNG_MEAN);
}

#[tokio::test(flavor = "multi_thread")]
async fn resizing_agrees_with_lanczos3() {
    let server = Server::start().await;
    let photo = DynamicImage::from(pictures::photo(600, 400, 1));
    let png = pictures::png(photo.clone());
    let jpeg = pictures::jpeg(&photo.to_rgb8(), 92);
    let from_jpeg = image::load_from_memory(&jpeg).expect("decodes");
    for (options, size) in [
        ("rs:fit:120:120", (120, 80)),
        ("w:200", (200, 133)),
        ("h:50", (75, 50)),
        ("rs:force:90:130", (90, 130)),
        ("rs:fit:1200:1200:1", (1200, 800)),
        ("rs:fit:1200:1200", (600, 400)),
    ] {
        for (file, source, limit) in [(&png, &photo, PNG_MEAN), (&jpeg, &from_jpeg, JPEG_MEAN)] {
            let got = server.make_one(file.clone(), &format!("{options}/f:png")).await;
            assert_eq!((got.width(), got.height()), size, "{options}");
            let off = mean_difference(&got, &resized(source, size.0, size.1));
            assert!(off <= limit, "{options}: mean difference {off:.3}, limit {limit}");
        }
    }
    for (options, (width, height)) in
        [("rs:fill:120:120", (120, 120)), ("rs:fill:300:100", (300, 100)), ("rs:fill-down:100:200", (100, 200))]
    {
        for (file, source, limit) in [(&png, &photo, PNG_MEAN), (&jpeg, &from_jpeg, JPEG_MEAN)] {
            let got = server.make_one(file.clone(), &format!("{options}/f:png")).await;
            assert_eq!((got.width(), got.height()), (width, height), "{options}");
            let off = mean_difference(&got, &filled(source, width, height));
            assert!(off <= limit, "{options}: mean difference {off:.3}, limit {limit}");
        }
    }
    // fill-down larger than the source: its aspect, as large as the source allows (imgproxy's meaning).
    let got = server.make_one(png.clone(), "rs:fill-down:1000:1000/f:png").await;
    assert_eq!((got.width(), got.height()), (400, 400));
    assert!(mean_difference(&got, &photo.crop_imm(100, 0, 400, 400)) <= PNG_MEAN);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_stand_upright() {
    let server = Server::start().await;
    let stored = pictures::jpeg(&pictures::photo(240, 160, 2), 92);
    let pixels = image::load_from_memory(&stored).expect("decodes");
    for orientation in 1..=8 {
        let file = pictures::with_orientation(&stored, orientation);
        let shown = pictures::displayed(&pixels, orientation);
        let upload = server.make(file.clone(), &["as=f:png", "off=ar:0/f:png", "small=w:60/f:png", "cut=rs:fill:60:80/f:png"]).await;
        let image = &upload["images"][0];
        assert_eq!((&image["width"], &image["height"]), (&json!(shown.width()), &json!(shown.height())), "orientation {orientation}");
        let wanted = [
            shown.clone(),
            pixels.clone(),
            resized(&shown, 60, (60.0 * f64::from(shown.height()) / f64::from(shown.width())).round() as u32),
            filled(&shown, 60, 80),
        ];
        for (task, wanted) in image["variants"].as_array().expect("variants").iter().zip(wanted) {
            let answer = server.get(task["url"].as_str().expect("a url")).await;
            let got = image::load_from_memory(&answer.body).expect("decodes");
            let off = mean_difference(&got, &wanted);
            assert!(off <= JPEG_MEAN, "orientation {orientation}, {}: mean difference {off:.3}", task["name"]);
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn depths_palettes_and_transparency_are_kept() {
    let server = Server::start().await;
    let deep: ImageBuffer<Rgb<u16>, Vec<u16>> =
        ImageBuffer::from_fn(120, 80, |x, y| Rgb([(x * 546) as u16, (y * 819) as u16, ((x + y) * 327) as u16]));
    let grey: ImageBuffer<Luma<u8>, Vec<u8>> = ImageBuffer::from_fn(120, 80, |x, y| Luma([(x + y) as u8]));
    let clear = pictures::translucent(120, 80);
    let palette: Vec<[u8; 3]> = (0..=255).map(|i| [i, 255 - i, i / 2]).collect();
    let index = |x: u32, y: u32| ((x * 2 + y) % 256) as u8;
    let palette_picture = RgbImage::from_fn(120, 80, |x, y| Rgb(palette[usize::from(index(x, y))]));
    for (what, file, source) in [
        ("16 bits", pictures::png(deep.clone()), DynamicImage::from(deep).to_rgb8().into()),
        ("grey", pictures::png(grey.clone()), DynamicImage::from(grey)),
        ("palette", pictures::palette_png(120, 80, &palette, index), DynamicImage::from(palette_picture)),
        ("alpha", pictures::png(clear.clone()), DynamicImage::from(clear.clone())),
    ] {
        let whole = server.make_one(file.clone(), "f:png").await;
        let off = mean_difference(&whole, &source);
        assert!(off <= 0.5, "{what}: mean difference {off:.3} without any change");
        assert_eq!(whole.color().has_alpha(), source.color().has_alpha(), "{what}");
        if what != "alpha" {
            let off = mean_difference(&server.make_one(file, "w:60/f:png").await, &resized(&source, 60, 40));
            assert!(off <= 1.5, "{what}: mean difference {off:.3}");
        }
    }
    // Under transparency JPEG needs a colour: white unless said. Alpha is a ramp, so the left edge is all background.
    for (options, paper) in [("f:jpg/q:95", [255, 255, 255]), ("bg:0000ff/f:jpg/q:95", [0, 0, 255]), ("bg:0000ff/f:png", [0, 0, 255])] {
        let got = server.make_one(pictures::png(clear.clone()), options).await;
        assert!(!got.color().has_alpha(), "{options}");
        let wanted = RgbImage::from_fn(120, 80, |x, y| {
            let Rgba([r, g, b, a]) = *clear.get_pixel(x, y);
            let over = |c: u8, under: u8| ((u32::from(c) * u32::from(a) + u32::from(under) * (255 - u32::from(a)) + 127) / 255) as u8;
            Rgb([over(r, paper[0]), over(g, paper[1]), over(b, paper[2])])
        });
        let off = mean_difference(&got, &wanted.into());
        assert!(off <= JPEG_MEAN, "{options}: mean difference {off:.3}");
    }
    // Resizing weighs colours by their alpha: a hidden colour must not bleed into what is seen.
    let hidden = image::RgbaImage::from_fn(80, 80, |x, _| if x < 40 { Rgba([255, 0, 0, 255]) } else { Rgba([0, 255, 0, 0]) });
    let small = server.make_one(pictures::png(hidden), "w:10/f:png").await.to_rgba8();
    for Rgba([r, g, _, a]) in small.pixels() {
        assert!(*a < 8 || (*r > 240 && *g < 16), "the hidden green is seen: {r} {g} with alpha {a}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_what_their_definitions_say() {
    let server = Server::start().await;
    let source = pictures::photo(90, 70, 4);
    let file = pictures::png(source.clone());
    let limited = |value: f64| value.round().clamp(0.0, 255.0) as u8;
    let each =
        |f: &dyn Fn([f64; 3]) -> [f64; 3]| RgbImage::from_fn(90, 70, |x, y| Rgb(f(source.get_pixel(x, y).0.map(f64::from)).map(limited)));
    let luma = |[r, g, b]: [f64; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let sepia =
        |[r, g, b]: [f64; 3]| [0.393 * r + 0.769 * g + 0.189 * b, 0.349 * r + 0.686 * g + 0.168 * b, 0.272 * r + 0.534 * g + 0.131 * b];
    for (options, wanted) in [
        ("gray:1", each(&|p| [luma(p); 3])),
        ("invert:1", each(&|p| p.map(|c| 255.0 - c))),
        ("sepia:1", each(&sepia)),
        ("br:40", each(&|p| p.map(|c| c + 40.0))),
        ("br:-200", each(&|p| p.map(|c| c - 200.0))),
        ("co:1.5", each(&|p| p.map(|c| (c - 127.5) * 1.5 + 127.5))),
        ("sa:0", each(&|p| [luma(p); 3])),
    ] {
        let got = server.make_one(file.clone(), &format!("{options}/f:png")).await.to_rgb8();
        let off = most_difference(&got, &wanted);
        assert!(off <= 1, "{options}: a value is off by {off}");
    }
    // Order is fixed whatever the client wrote: brightness before grey before the negative.
    let (a, b) = ("br:30/gray:1/invert:1/f:png", "invert:1/gray:1/br:30/f:png");
    assert_eq!(server.make_one(file.clone(), a).await, server.make_one(file.clone(), b).await);
    // A blur keeps the mean and calms noise: a Gaussian of sigma 3 leaves about a tenth of its spread (1 / (2 sigma sqrt(pi))).
    let mut chance = pictures::Chance(9);
    let noise = RgbImage::from_fn(90, 70, |_, _| Rgb([chance.below(256) as u8; 3]));
    let blurred = server.make_one(pictures::png(noise.clone()), "bl:3/f:png").await.to_rgb8();
    let mean = |p: &RgbImage| p.as_raw().iter().map(|v| f64::from(*v)).sum::<f64>() / p.as_raw().len() as f64;
    let spread =
        |p: &RgbImage| (p.as_raw().iter().map(|v| (f64::from(*v) - mean(p)).powi(2)).sum::<f64>() / p.as_raw().len() as f64).sqrt();
    assert!((mean(&blurred) - mean(&noise)).abs() < 1.5);
    let left = spread(&blurred) / spread(&noise);
    assert!((0.05..0.2).contains(&left), "{left:.3} of the noise is left");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn formats_and_turns_are_as_asked() {
    let server = Server::start().await;
    let photo = pictures::photo(90, 60, 5);
    let file = pictures::png(photo.clone());
    let source = DynamicImage::from(photo);
    for (options, wanted, limit) in [
        ("rot:90/f:png", source.rotate90(), 0.0),
        ("rot:180/f:png", source.rotate180(), 0.0),
        ("rot:270/f:png", source.rotate270(), 0.0),
        ("fl:1/f:png", source.fliph(), 0.0),
        ("fl:0:1/f:png", source.flipv(), 0.0),
        ("c:30:20:nowe/f:png", source.crop_imm(0, 0, 30, 20), 0.0),
        ("c:30:20:ce/f:png", source.crop_imm(30, 20, 30, 20), 0.0),
        ("c:30:20:soea/f:png", source.crop_imm(60, 40, 30, 20), 0.0),
        ("f:jpg/q:95", source.clone(), 3.0),
        ("f:webp/q:95", source.clone(), 3.0),
        ("f:keep", source.clone(), 0.0),
    ] {
        let off = mean_difference(&server.make_one(file.clone(), options).await, &wanted);
        assert!(off <= limit, "{options}: mean difference {off:.3}, limit {limit}");
    }
    let large = pictures::png(pictures::photo(300, 200, 6));
    let upload = server.make(large, &["good=f:jpg/q:90", "poor=f:jpg/q:20"]).await;
    let sizes: Vec<u64> = upload["images"][0]["variants"]
        .as_array()
        .expect("variants")
        .iter()
        .map(|v| v["result"]["bytes"].as_u64().expect("bytes"))
        .collect();
    assert!(sizes[1] * 2 < sizes[0], "quality decides the size: {sizes:?}");
    assert_eq!(upload["images"][0]["variants"][1]["result"]["quality"], 20);
    server.finish().await;
}
