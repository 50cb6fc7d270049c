//! Resampling of a part of a picture, fed row by row as a decoder gives them or from a picture that is there. Does not decide sizes;
//! `geometry` does.
//!
//! The kernel asked for, Lanczos unless another is (`row-resize`), on 8-bit sRGB-encoded values, as libvips and Pillow do by default; chroma that must grow to luma's size takes
//! the triangle filter, which is what JPEG decoders bring it to size with. Colours are weighted with their alpha, so that what is
//! transparent leaves no halo. What lies outside the part plays no part.

use row_resize::{Filter, Job, Light, Pixel, Resizer};

use super::{chroma::Parting, geometry::Region, orient};
use crate::error::{Error, ErrorKind};
use crate::pixels::{Layout, Pixels, Shape, SourcePlane};
use crate::probe::Orientation;
use crate::spec::Kernel;
use crate::watch::{BAND_BYTES, Watch};

/// A picture being made of rows that come in order.
pub(crate) struct Feed {
    way: Way,
    target: Pixels,
}

/// What becomes of rows.
enum Way {
    /// One for each plane.
    Resize(Vec<Resizer>),
    /// They stay as large as they are, and become planes; so many came.
    Part(Parting, u32),
}

impl Feed {
    /// Makes a picture of shape `to` of a region (in pixels of the picture that `planes` lie in, which is at least so large). `turned`
    /// says how it will be turned afterwards, so that halved chroma lies right then. `linear_light` undoes sRGB's transfer before and applies
    /// it after; not for chroma. Chroma that must grow takes the triangle filter whatever the `kernel`. Rows of red, green and blue that are to be
    /// planes must keep their size.
    ///
    /// # Errors
    /// `LimitExceeded` if the result passes the address space; `Internal` if the region or the sides are empty, planes are missing, or
    /// colours would become planes and another size.
    pub(crate) fn new(
        planes: &[SourcePlane],
        region: Region,
        to: Shape,
        turned: Orientation,
        kernel: Kernel,
        linear_light: bool,
    ) -> Result<Self, Error> {
        let Shape { width_px, height_px, .. } = to;
        let target = Pixels::blank(to).ok_or_else(|| {
            Error::new(ErrorKind::LimitExceeded, "resize", format!("result of {width_px}x{height_px} pixels is too large"))
        })?;
        if let ([plane], Layout::Ycc420) = (planes, to.layout) {
            let sides = (plane.width_px, plane.height_px);
            if sides == (width_px, height_px) && region == Region::whole(to) && turned == Orientation::Upright {
                return Ok(Self { way: Way::Part(Parting::default(), 0), target });
            }
        }
        if planes.len() < to.layout.planes() {
            return Err(Error::new(ErrorKind::Internal, "resize", "the picture has too few planes"));
        }
        let jobs = planes
            .iter()
            .enumerate()
            .map(|(index, plane)| job(index, *plane, region, to, turned, kernel, linear_light))
            .take(to.layout.planes());
        let resizers = jobs.map(|job| Resizer::new(&job).map_err(internal)).collect::<Result<_, _>>()?;
        Ok(Self { way: Way::Resize(resizers), target })
    }

    /// Takes the next rows of plane `index`, `first_row` and on, `stride` bytes from one to the next. Leaves off once work is to end: the caller
    /// looks for himself.
    pub(crate) fn push(&mut self, index: usize, first_row: u32, rows: &[u8], stride: usize, watch: Watch<'_>) {
        let rows_a_look = self.rows_a_look(index, stride);
        let mut first_row = first_row;
        for some in rows.chunks(stride * rows_a_look as usize) {
            if watch.is_over() {
                return;
            }
            self.push_some(index, first_row, some, stride);
            first_row += rows_a_look;
        }
    }

    /// Rows of a plane that are a band, they or what is made of them: at least one.
    fn rows_a_look(&self, index: usize, stride: usize) -> u32 {
        let made_of_one = match &self.way {
            Way::Resize(resizers) => resizers.get(index).map_or(0, |resizer| resizer.target_bytes() / resizer.source_rows().len().max(1)),
            Way::Part(..) => 0,
        };
        (BAND_BYTES / stride.max(made_of_one).max(1)).max(1) as u32
    }

    fn push_some(&mut self, index: usize, first_row: u32, rows: &[u8], stride: usize) {
        match &mut self.way {
            Way::Resize(resizers) => {
                if let Some(resizer) = resizers.get_mut(index) {
                    resizer.push(first_row, rows, stride, self.target.plane_mut(index));
                }
            }
            Way::Part(parting, came) => {
                let row_bytes = 3 * self.target.width_px as usize;
                for (at, row) in (first_row..).zip(rows.chunks(stride).filter(|row| row.len() >= row_bytes)) {
                    parting.push(at, &row[..row_bytes], &mut self.target);
                    *came += 1;
                }
            }
        }
    }

    /// The picture, once all rows were given.
    ///
    /// # Errors
    /// `Internal` if rows are missing.
    pub(crate) fn finish(self) -> Result<Pixels, Error> {
        let is_done = match &self.way {
            Way::Resize(resizers) => resizers.iter().all(Resizer::is_done),
            Way::Part(_, came) => *came == self.target.height_px,
        };
        if is_done { Ok(self.target) } else { Err(Error::new(ErrorKind::Internal, "resize", "the picture ended before its rows")) }
    }
}

/// The same from a picture that is there.
///
/// # Errors
/// As [`Feed::new`] and [`Watch::check`].
pub(crate) fn resize(
    source: &Pixels,
    region: Region,
    to: Shape,
    kernel: Kernel,
    linear_light: bool,
    watch: Watch<'_>,
) -> Result<Pixels, Error> {
    let planes: Vec<SourcePlane> = planes_of(source.shape()).collect();
    let mut feed = Feed::new(&planes, region, to, Orientation::Upright, kernel, linear_light)?;
    for (index, plane) in source.planes().enumerate() {
        feed.push(index, 0, plane.bytes, plane.stride, watch);
        watch.check("resize")?;
    }
    feed.finish()
}

/// Most bytes held beside source and result while a region of a picture of shape `from` is resampled to `to`.
pub(crate) fn feed_bytes(from: Shape, region: Region, to: Shape, kernel: Kernel, linear_light: bool) -> u64 {
    if from.layout == Layout::Rgb8 && to.layout.planes() > 1 {
        return Parting::held_bytes(to.width_px);
    }
    let jobs = planes_of(from).enumerate().map(|(index, plane)| job(index, plane, region, to, Orientation::Upright, kernel, linear_light));
    jobs.take(to.layout.planes()).map(|job| row_resize::working_bytes(&job)).sum()
}

/// The planes of a picture of ours.
fn planes_of(shape: Shape) -> impl Iterator<Item = SourcePlane> {
    (0..shape.layout.planes()).map(move |index| {
        let (width_px, height_px) = shape.layout.plane_px(index, shape.width_px, shape.height_px);
        let share = if shape.layout == Layout::Ycc420 && index > 0 { (0.5, 0.5) } else { (1.0, 1.0) };
        SourcePlane { width_px, height_px, share }
    })
}

fn job(index: usize, plane: SourcePlane, region: Region, to: Shape, turned: Orientation, kernel: Kernel, linear_light: bool) -> Job {
    let target_px = to.layout.plane_px(index, to.width_px, to.height_px);
    let is_half = to.layout == Layout::Ycc420 && index > 0;
    let mirrored = orient::mirrors_stored(turned);
    let span = |start: f64, length: f64, share: f64, side: u32, sides: (u32, u32), mirrored: bool| {
        // Where a side is odd, the last sample of halved chroma also covers a pixel behind the picture's end.
        let over = if is_half { length * f64::from(2 * sides.1 - sides.0) / f64::from(sides.0) } else { 0.0 };
        let (start, end) = if mirrored { (start - over, start + length) } else { (start, start + length + over) };
        let (start, end) = ((start * share).max(0.0), (end * share).min(f64::from(side)));
        (start, end - start)
    };
    let across = span(region.left_px, region.width_px, plane.share.0, plane.width_px, (to.width_px, target_px.0), mirrored.0);
    let down = span(region.top_px, region.height_px, plane.share.1, plane.height_px, (to.height_px, target_px.1), mirrored.1);
    let region = row_resize::Region { left_px: across.0, top_px: down.0, width_px: across.1, height_px: down.1 };
    let grows = region.width_px < f64::from(target_px.0) || region.height_px < f64::from(target_px.1);
    let is_chroma = index > 0;
    Job {
        source_px: (plane.width_px, plane.height_px),
        region,
        target_px,
        pixel: match to.layout {
            Layout::Rgb8 => Pixel::Rgb8,
            Layout::Rgba8 => Pixel::Rgba8,
            Layout::Grey8 | Layout::Ycc444 | Layout::Ycc420 => Pixel::Grey8,
        },
        filter: match kernel {
            _ if is_chroma && grows => Filter::Triangle,
            Kernel::Lanczos3 => Filter::Lanczos3,
            Kernel::Cubic => Filter::CatmullRom,
            Kernel::Linear => Filter::Triangle,
            Kernel::Nearest => Filter::Nearest,
        },
        light: if linear_light { Light::Linear } else { Light::Encoded },
    }
}

fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "resize", "the picture could not be resized").caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, max_difference, noise, picture, pictures};
    use super::*;
    use proptest::prelude::*;

    fn resize(source: &Pixels, region: Region, to: Shape, kernel: Kernel, linear_light: bool) -> Result<Pixels, Error> {
        super::resize(source, region, to, kernel, linear_light, Watch::NEVER)
    }

    fn resize_to(source: &Pixels, region: Region, width_px: u32, height_px: u32) -> Result<Pixels, Error> {
        resize(source, region, Shape { width_px, height_px, layout: source.layout }, Kernel::Lanczos3, false)
    }

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
                let fast = resize_to(&smooth, region, width, height).expect("resizes");
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
        let small = resize_to(&source, whole(&source), 16, 16).expect("resizes");
        for x in 0..16 {
            let pixel = at(&small, x, 8);
            assert!(pixel[3] == 0 || (pixel[0] >= 250 && pixel[1] <= 5), "{x}: {pixel:?}");
        }
    }

    #[test]
    fn extreme_shapes_and_whole_pixel_regions() {
        let line = noise(1, 65_535, Layout::Rgb8, 1);
        let small = resize_to(&line, whole(&line), 1, 3).expect("resizes");
        assert_eq!((small.width_px, small.height_px), (1, 3));
        let source = noise(9, 7, Layout::Rgba8, 2);
        let region = Region { left_px: 2.0, top_px: 1.0, width_px: 4.0, height_px: 5.0 };
        let cut = resize_to(&source, region, 4, 5).expect("copies");
        for (y, row) in cut.bytes.chunks_exact(cut.stride()).enumerate() {
            assert_eq!(row, &source.bytes[(y + 1) * source.stride() + 8..][..16]);
        }
    }

    /// Planes of every layout, resized, are near the same picture resized in colour.
    #[test]
    fn planes_are_resized_as_colours_are() {
        let smooth = picture(120, 90, Layout::Rgb8, |_, _, _| 0);
        let mut smooth = Pixels { layout: Layout::Ycc444, ..smooth };
        let value = |index: usize, x: u32, y: u32| [x * 2, 90 + y, 200 - x][index] as u8;
        for index in 0..3 {
            for (at, sample) in smooth.plane_mut(index).iter_mut().enumerate() {
                *sample = value(index, at as u32 % 120, at as u32 / 120);
            }
        }
        let rgb = super::super::samples::to_rgb(&smooth);
        for (width_px, height_px) in [(40, 30), (37, 11), (120, 90), (7, 7)] {
            let region = Region { left_px: 3.5, top_px: 2.25, width_px: 111.0, height_px: 80.5 };
            let wanted = resize_to(&rgb, region, width_px, height_px).expect("resizes");
            let got =
                resize(&smooth, region, Shape { width_px, height_px, layout: Layout::Ycc444 }, Kernel::Lanczos3, false).expect("resizes");
            let difference = max_difference(&super::super::samples::to_rgb(&got), &wanted);
            assert!(difference <= 4, "{width_px}x{height_px}: {difference}");
            // Halved chroma is the mean of what it covers.
            let half =
                resize(&smooth, region, Shape { width_px, height_px, layout: Layout::Ycc420 }, Kernel::Lanczos3, false).expect("resizes");
            let difference = max_difference(&half, &super::super::samples::halve(&got));
            assert!(difference <= 6, "{width_px}x{height_px}: {difference}");
        }
    }

    #[test]
    fn halved_chroma_that_keeps_its_size_keeps_its_samples() {
        for (width_px, height_px) in [(8, 6), (9, 7), (1, 1)] {
            let source = noise(width_px, height_px, Layout::Ycc420, 4);
            let same = resize(&source, whole(&source), source.shape(), Kernel::Lanczos3, false).expect("copies");
            assert_eq!(same, source);
        }
    }

    #[test]
    fn kernels_are_what_they_are_called() {
        let edge = picture(8, 1, Layout::Grey8, |x, _, _| if x < 4 { 40 } else { 200 });
        let grown = |kernel| {
            resize(&edge, whole(&edge), Shape { width_px: 64, height_px: 1, layout: Layout::Grey8 }, kernel, false).expect("grows").bytes
        };
        let nearest = grown(Kernel::Nearest);
        assert!(nearest[..32].iter().all(|value| *value == 40) && nearest[32..].iter().all(|value| *value == 200));
        let linear = grown(Kernel::Linear);
        assert!(linear.is_sorted() && linear.iter().all(|value| (40..=200).contains(value)) && linear[30].abs_diff(90) <= 1);
        // Both have negative lobes, cubic one, Lanczos more of them.
        let (cubic, lanczos) = (grown(Kernel::Cubic), grown(Kernel::Lanczos3));
        assert!(cubic.iter().any(|value| *value < 38) && cubic.iter().any(|value| *value > 202) && cubic[8] == 40);
        assert!(lanczos.iter().any(|value| *value < 36) && cubic[16] == 40 && lanczos[16] > 42, "{lanczos:?}");
    }

    #[test]
    fn outside_of_the_region_plays_no_part() {
        let source = picture(40, 40, Layout::Rgb8, |x, _, _| if x < 20 { 200 } else { 0 });
        let region = Region { left_px: 0.0, top_px: 0.0, width_px: 20.0, height_px: 40.0 };
        let half = resize_to(&source, region, 5, 10).expect("resizes");
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
            let any = resize_to(&pixels, region, width, height);
            prop_assert!(any.is_ok());
            let flat = picture(pixels.width_px, pixels.height_px, Layout::Rgb8, |_, _, channel| [10, 128, 250][channel]);
            let flat = resize_to(&flat, region, width, height).expect("resizes");
            for pixel in flat.bytes.chunks(3) {
                prop_assert!(pixel[0].abs_diff(10) <= 1 && pixel[1].abs_diff(128) <= 1 && pixel[2].abs_diff(250) <= 1, "{:?}", pixel);
            }
        }
    }
}
