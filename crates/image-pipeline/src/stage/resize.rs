//! Lanczos resampling of a region of one picture into another. Does not decide sizes; `geometry` does.
//!
//! Works on 8-bit sRGB-encoded values, as libvips and Pillow do by default. Colours are weighted with their alpha, so that what is
//! transparent leaves no halo. What lies outside the region plays no part.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::geometry::{Rect, Region};
use crate::error::{Error, ErrorKind};
use crate::pixels::{Layout, Pixels};

/// Makes a picture of `width_px` x `height_px` (each at least 1) of a region of the source. A region of whole pixels and the same size
/// is copied unchanged.
///
/// # Errors
/// `LimitExceeded` if the result passes the address space; `Internal` if the region or the sides are empty.
pub(crate) fn resize(source: &Pixels, region: Region, width_px: u32, height_px: u32) -> Result<Pixels, Error> {
    let target_bytes = Pixels::byte_count(width_px, height_px, source.layout)
        .ok_or_else(|| Error::new(ErrorKind::LimitExceeded, "resize", format!("result of {width_px}x{height_px} pixels is too large")))?;
    let mut bytes = vec![0; target_bytes];
    match source.layout {
        Layout::Rgb8 => resample::<U8x3>(source, region, (width_px, height_px), &mut bytes, false)?,
        // Opaque pictures need no weighting and so no weighted copy.
        Layout::Rgba8 => resample::<U8x4>(source, region, (width_px, height_px), &mut bytes, !is_opaque(source))?,
    }
    Pixels::new(width_px, height_px, source.layout, bytes)
        .ok_or_else(|| Error::new(ErrorKind::Internal, "resize", format!("result of {width_px}x{height_px} pixels has no size")))
}

/// The same for one kind of pixel, into `bytes`.
fn resample<P: PixelTrait>(source: &Pixels, region: Region, to_px: (u32, u32), bytes: &mut [u8], weigh: bool) -> Result<(), Error> {
    let (view, inner) = view(source, region);
    let from = TypedImageRef::<P>::from_buffer(source.width_px, source.height_px, &source.bytes).map_err(internal)?;
    let from = TypedCroppedImage::from_ref(&from, view.left_px, view.top_px, view.width_px, view.height_px).map_err(internal)?;
    let mut to = TypedImage::<P>::from_buffer(to_px.0, to_px.1, bytes).map_err(internal)?;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(inner.left_px, inner.top_px, inner.width_px, inner.height_px)
        .use_alpha(weigh);
    Resizer::new().resize_typed(&from, &mut to, &options).map_err(internal)
}

/// Most bytes [`resize`] holds beside the source and while it runs: the result, the half-way picture, the weighted copy.
pub(crate) fn scratch_bytes(layout: Layout, region: Region, width_px: u32, height_px: u32) -> u64 {
    let channels = layout.channels() as u64;
    let (from_width, from_height) = (region.width_px.ceil() as u64 + 1, region.height_px.ceil() as u64 + 1);
    let result = u64::from(width_px).saturating_mul(u64::from(height_px));
    // The half-way picture has the result's width and the region's height.
    let half_way = u64::from(width_px).saturating_mul(from_height);
    let weighted = if layout == Layout::Rgba8 { from_width.saturating_mul(from_height) } else { 0 };
    result.saturating_add(half_way).saturating_add(weighted).saturating_mul(channels)
}

/// Whole pixels around the region, and the region within them. Both confined to the source.
fn view(source: &Pixels, region: Region) -> (Rect, Region) {
    let span = |start: f64, length: f64, side: u32| {
        let first = (start + EDGE).floor().clamp(0.0, f64::from(side - 1)) as u32;
        let end = ((start + length - EDGE).ceil().clamp(0.0, f64::from(side)) as u32).max(first + 1);
        let inner_start = (start - f64::from(first)).clamp(0.0, f64::from(end - first));
        let mut inner_length = length.min(f64::from(end - first) - inner_start);
        while inner_start + inner_length > f64::from(end - first) {
            inner_length = inner_length.next_down();
        }
        (first, end - first, inner_start, inner_length)
    };
    let (left_px, width_px, inner_left, inner_width) = span(region.left_px, region.width_px, source.width_px);
    let (top_px, height_px, inner_top, inner_height) = span(region.top_px, region.height_px, source.height_px);
    (
        Rect { left_px, top_px, width_px, height_px },
        Region { left_px: inner_left, top_px: inner_top, width_px: inner_width, height_px: inner_height },
    )
}

/// What floating-point noise may add to an edge that is meant to lie between two pixels.
const EDGE: f64 = 1e-6;

fn is_opaque(pixels: &Pixels) -> bool {
    pixels.bytes.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == u8::MAX)
}

fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "resize", "the picture could not be resized").caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, max_difference, noise, picture, pictures};
    use super::*;
    use proptest::prelude::*;

    fn whole(pixels: &Pixels) -> Region {
        Region { left_px: 0.0, top_px: 0.0, width_px: f64::from(pixels.width_px), height_px: f64::from(pixels.height_px) }
    }

    fn lanczos3(x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
        if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 }
    }

    /// The slow twin: Lanczos weights as defined, one pixel after the other, in doubles; colours weighted with alpha.
    fn slow(source: &Pixels, region: Region, width: u32, height: u32) -> Pixels {
        let weights = |start: f64, length: f64, side: u32, out_side: u32, out: u32| {
            let scale = length / f64::from(out_side);
            let stretch = scale.max(1.0);
            let centre = start + (f64::from(out) + 0.5) * scale;
            let (first, last) = (start.floor() as i64, ((start + length).ceil() as i64).min(i64::from(side)) - 1);
            let raw: Vec<(u32, f64)> = (first..=last)
                .map(|at| (at as u32, lanczos3((at as f64 + 0.5 - centre) / stretch)))
                .filter(|(_, weight)| *weight != 0.0)
                .collect();
            let sum: f64 = raw.iter().map(|(_, weight)| weight).sum();
            raw.into_iter().map(|(at, weight)| (at, weight / sum)).collect::<Vec<_>>()
        };
        picture(width, height, source.layout, |x, y, channel| {
            let (mut colour, mut alpha) = (0.0, 0.0);
            for (from_y, weight_y) in weights(region.top_px, region.height_px, source.height_px, height, y) {
                for (from_x, weight_x) in weights(region.left_px, region.width_px, source.width_px, width, x) {
                    let pixel = at(source, from_x, from_y);
                    let opacity = pixel.get(3).map_or(1.0, |alpha| f64::from(*alpha) / 255.0);
                    alpha += weight_x * weight_y * opacity;
                    colour += weight_x * weight_y * opacity * f64::from(pixel[channel]);
                }
            }
            let value = if channel == 3 {
                alpha * 255.0
            } else if alpha > 0.0 {
                colour / alpha
            } else {
                0.0
            };
            value.round().clamp(0.0, 255.0) as u8
        })
    }

    #[test]
    fn agrees_with_the_definition_of_lanczos() {
        // No steep edges: the library confines overshoot to 0..=255 between the passes, the definition only at the end.
        let smooth = picture(61, 47, Layout::Rgb8, |x, y, channel| (x * 2 + y) as u8 + channel as u8 * 20 + 20);
        for (width, height) in [(20, 15), (7, 40), (61, 10), (100, 90), (1, 1)] {
            for region in [whole(&smooth), Region { left_px: 10.25, top_px: 3.5, width_px: 40.5, height_px: 30.0 }] {
                let fast = resize(&smooth, region, width, height).expect("resizes");
                let difference = max_difference(&fast, &slow(&smooth, region, width, height));
                // The library rounds weights to 8-bit fixed point and once between the passes.
                assert!(difference <= 3, "{width}x{height} {region:?}: {difference}");
            }
        }
    }

    #[test]
    fn transparent_colour_leaves_no_halo() {
        // Opaque red on fully transparent green: no result pixel may be greenish.
        let source = picture(64, 64, Layout::Rgba8, |x, _, channel| match (channel, x < 30) {
            (0, true) | (3, true) => 255,
            (1, false) => 255,
            _ => 0,
        });
        let small = resize(&source, whole(&source), 16, 16).expect("resizes");
        for x in 0..16 {
            let pixel = at(&small, x, 8);
            assert!(pixel[3] == 0 || (pixel[0] >= 250 && pixel[1] <= 5), "{x}: {pixel:?}");
        }
    }

    #[test]
    fn extreme_shapes_and_whole_pixel_regions() {
        let line = noise(1, 65_535, Layout::Rgb8, 1);
        let small = resize(&line, whole(&line), 1, 3).expect("resizes");
        assert_eq!((small.width_px, small.height_px), (1, 3));
        let source = noise(9, 7, Layout::Rgba8, 2);
        let region = Region { left_px: 2.0, top_px: 1.0, width_px: 4.0, height_px: 5.0 };
        let cut = resize(&source, region, 4, 5).expect("copies");
        assert_eq!(cut, super::super::crop::crop(source, Rect { left_px: 2, top_px: 1, width_px: 4, height_px: 5 }));
    }

    #[test]
    fn outside_of_the_region_plays_no_part() {
        let source = picture(40, 40, Layout::Rgb8, |x, _, _| if x < 20 { 200 } else { 0 });
        let region = Region { left_px: 0.0, top_px: 0.0, width_px: 20.0, height_px: 40.0 };
        let half = resize(&source, region, 5, 10).expect("resizes");
        assert!(half.bytes.iter().all(|byte| *byte == 200), "{:?}", half.bytes);
    }

    proptest! {
        #[test]
        fn flat_colour_stays_and_any_region_works(
            pixels in pictures(24), width in 1_u32..40, height in 1_u32..40, place in (0.0_f64..1.0, 0.0_f64..1.0, 0.01_f64..1.0, 0.01_f64..1.0),
        ) {
            let region = Region {
                left_px: place.0 * f64::from(pixels.width_px) * (1.0 - place.2),
                top_px: place.1 * f64::from(pixels.height_px) * (1.0 - place.3),
                width_px: f64::from(pixels.width_px) * place.2,
                height_px: f64::from(pixels.height_px) * place.3,
            };
            let any = resize(&pixels, region, width, height);
            prop_assert!(any.is_ok());
            let flat = picture(pixels.width_px, pixels.height_px, Layout::Rgb8, |_, _, channel| [10, 128, 250][channel]);
            let flat = resize(&flat, region, width, height).expect("resizes");
            for pixel in flat.bytes.chunks(3) {
                prop_assert!(pixel[0].abs_diff(10) <= 1 && pixel[1].abs_diff(128) <= 1 && pixel[2].abs_diff(250) <= 1, "{:?}", pixel);
            }
        }
    }
}
