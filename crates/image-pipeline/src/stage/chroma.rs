//! Planes of luma and chroma to red, green and blue and back, and to chroma of half the sides.

use crate::{
    error::Error,
    pixels::{Layout, Pixels, Shape},
    simd,
    watch::{BAND_BYTES, Watch, band_rows},
};

/// Red, green and blue of planes all of one size (JFIF's YCbCr), or of grey; anything else stays as it is.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn to_rgb(pixels: &Pixels, watch: Watch<'_>) -> Result<Pixels, Error> {
    let Pixels { width_px, height_px, layout, .. } = *pixels;
    let bytes: Vec<u8> = match layout {
        Layout::Grey8 => {
            let mut bytes = vec![0; 3 * pixels.bytes.len()];
            for (grey, rgb) in pixels.bytes.chunks(BAND_BYTES / 3).zip(bytes.chunks_mut(BAND_BYTES)) {
                watch.check("rgb")?;
                simd::run(Spread { grey, rgb: rgb.as_chunks_mut().0 });
            }
            bytes
        }
        Layout::Ycc444 => {
            let plane_bytes = pixels.bytes.len() / 3;
            let mut bytes = vec![0; pixels.bytes.len()];
            let (luma, chroma) = pixels.bytes.split_at(plane_bytes);
            let (blue, red) = chroma.split_at(plane_bytes);
            let [luma, blue, red] = [luma, blue, red].map(|plane| plane.chunks(BAND_BYTES / 3));
            for (((luma, blue), red), rgb) in luma.zip(blue).zip(red).zip(bytes.chunks_mut(BAND_BYTES)) {
                watch.check("rgb")?;
                jpeg_shrink::ycbcr_to_rgb(luma, blue, red, rgb);
            }
            bytes
        }
        Layout::Rgb8 | Layout::Rgba8 | Layout::Ycc420 => return Ok(pixels.clone()),
    };
    Ok(Pixels { width_px, height_px, layout: Layout::Rgb8, bytes })
}

/// Chroma of half the sides, each sample the mean of the up to four it covers; of planes all of one size, anything else stays.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn halve(pixels: &Pixels, watch: Watch<'_>) -> Result<Pixels, Error> {
    let Pixels { width_px, height_px, layout, .. } = *pixels;
    let half = Shape { width_px, height_px, layout: Layout::Ycc420 };
    let Some(mut halved) = Pixels::blank(half).filter(|_| layout == Layout::Ycc444) else { return Ok(pixels.clone()) };
    for (index, from) in pixels.planes().enumerate() {
        let to = halved.plane_mut(index);
        if index == 0 {
            to.copy_from_slice(from.bytes);
            continue;
        }
        let rows = from.bytes.chunks(2 * from.stride);
        for (at, (pair, to)) in rows.zip(to.chunks_exact_mut(from.width_px.div_ceil(2) as usize)).enumerate() {
            if at.is_multiple_of(band_rows(2 * from.stride)) {
                watch.check("halve chroma")?;
            }
            let (above, below) = pair.split_at(from.stride);
            // The last row of an odd number stands for its pair.
            let below = if below.is_empty() { above } else { below };
            simd::run(HalveRow { above, below, to });
        }
    }
    Ok(halved)
}

/// Planes, chroma of half the sides, of rows of red, green and blue as they come: taken apart as the JPEG encoder does it itself.
#[derive(Default)]
pub(crate) struct Parting {
    /// The row of an even number that waits for the next.
    upper: Vec<u8>,
}

impl Parting {
    /// Bytes it holds of rows of so many pixels.
    pub(crate) const fn held_bytes(width_px: u32) -> u64 {
        3 * width_px as u64
    }

    /// Takes row `at`, the one behind the last, of what becomes `planes` of layout `Ycc420`.
    pub(crate) fn push(&mut self, at: u32, row: &[u8], planes: &mut Pixels) {
        if at % 2 == 1 {
            part_pair(at / 2, &self.upper, row, planes);
        } else if at + 1 == planes.height_px {
            part_pair(at / 2, row, row, planes);
        } else {
            self.upper.clear();
            self.upper.extend_from_slice(row);
        }
    }
}

/// Two rows, or the last of an odd number twice, to pair `at` of luma's and a row of chroma's.
fn part_pair(at: u32, upper: &[u8], lower: &[u8], planes: &mut Pixels) {
    let (width, height) = (planes.width_px as usize, planes.height_px as usize);
    let (luma, chroma) = planes.bytes.split_at_mut(width * height);
    let (blue, red) = chroma.split_at_mut(chroma.len() / 2);
    let halves = width.div_ceil(2);
    let (pair, at) = (2 * width * at as usize, halves * at as usize);
    let pair = pair..(pair + 2 * width).min(luma.len());
    jpeg_write::part_rows(upper, lower, &mut luma[pair], &mut blue[at..at + halves], &mut red[at..at + halves]);
}

/// The same of a whole picture; anything but red, green and blue stays.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn to_planes(pixels: &Pixels, watch: Watch<'_>) -> Result<Pixels, Error> {
    let Pixels { width_px, height_px, layout, .. } = *pixels;
    let half = Shape { width_px, height_px, layout: Layout::Ycc420 };
    let Some(mut planes) = Pixels::blank(half).filter(|_| layout == Layout::Rgb8) else { return Ok(pixels.clone()) };
    let pairs_a_look = band_rows(2 * pixels.stride()) as u32;
    for (at, pair) in (0_u32..).zip(pixels.bytes.chunks(2 * pixels.stride())) {
        if at.is_multiple_of(pairs_a_look) {
            watch.check("planes")?;
        }
        let (upper, lower) = pair.split_at(pixels.stride());
        part_pair(at, upper, if lower.is_empty() { upper } else { lower }, &mut planes);
    }
    Ok(planes)
}

/// Grey as all three colours.
struct Spread<'s> {
    grey: &'s [u8],
    rgb: &'s mut [[u8; 3]],
}

impl simd::Work for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Option<simd::Avx2>) {
        for (pixel, &grey) in self.rgb.iter_mut().zip(self.grey) {
            *pixel = [grey; 3];
        }
    }
}

/// Two rows of a plane, the same one twice at an odd end, to one of half as many samples, rounded up.
struct HalveRow<'h> {
    above: &'h [u8],
    below: &'h [u8],
    to: &'h mut [u8],
}

impl simd::Work for HalveRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Option<simd::Avx2>) {
        let mean = |above: [u8; 2], below: [u8; 2]| {
            let sum = |[left, right]: [u8; 2]| u16::from(left) + u16::from(right);
            ((sum(above) + sum(below) + 2) / 4) as u8
        };
        let ((above, above_end), (below, below_end)) = (self.above.as_chunks::<2>(), self.below.as_chunks::<2>());
        for ((place, above), below) in self.to.iter_mut().zip(above).zip(below) {
            *place = mean(*above, *below);
        }
        // The last column of an odd number stands for its pair.
        if let (Some(place), &[above], &[below]) = (self.to.last_mut(), above_end, below_end) {
            *place = mean([above; 2], [below; 2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::noise;
    use super::*;
    use crate::{codec::Output, metadata::Written, spec::OutputFormat};

    fn to_rgb(pixels: &Pixels) -> Pixels {
        super::to_rgb(pixels, Watch::NEVER).expect("nobody ends it")
    }

    fn halve(pixels: &Pixels) -> Pixels {
        super::halve(pixels, Watch::NEVER).expect("nobody ends it")
    }

    fn to_planes(pixels: &Pixels) -> Pixels {
        super::to_planes(pixels, Watch::NEVER).expect("nobody ends it")
    }

    #[test]
    fn colours_are_those_of_jfif() {
        let bytes = vec![0, 255, 128, 76, 128, 128, 128, 85, 128, 128, 128, 255];
        let rgb = to_rgb(&Pixels::new(4, 1, Layout::Ycc444, bytes).unwrap());
        assert_eq!((rgb.layout, &rgb.bytes[..9]), (Layout::Rgb8, &[0, 0, 0, 255, 255, 255, 128, 128, 128][..]));
        // T.871: 76, 85, 255 is red.
        assert!(rgb.bytes[9] >= 253 && rgb.bytes[10] <= 1 && rgb.bytes[11] <= 1, "{:?}", &rgb.bytes[9..]);
        let grey = to_rgb(&Pixels::new(2, 1, Layout::Grey8, vec![7, 200]).unwrap());
        assert_eq!(grey.bytes, [7, 7, 7, 200, 200, 200]);
    }

    /// Rows one by one, and the picture at once, are what the encoder makes of colours: the file is the same.
    #[test]
    fn parted_planes_are_written_as_their_colours_are() {
        // Planes of one pixel are all of one size, and written as such.
        for (width, height) in [(2, 1), (5, 3), (16, 8), (33, 18), (70, 1), (1, 7)] {
            let rgb = noise(width, height, Layout::Rgb8, 9);
            let planes = to_planes(&rgb);
            let mut by_rows = Pixels::blank(planes.shape()).unwrap();
            let mut parting = Parting::default();
            for (at, row) in (0..).zip(rgb.bytes.chunks(rgb.stride())) {
                parting.push(at, row, &mut by_rows);
            }
            assert!(by_rows == planes, "{width}x{height}");
            let written = |pixels: &Pixels| {
                crate::codec::encode(pixels, Output::plain(OutputFormat::Jpeg, 80), &Written::default(), Watch::NEVER).unwrap()
            };
            assert!(written(&planes) == written(&rgb), "{width}x{height}");
        }
    }

    #[test]
    fn halves_are_means_of_what_they_cover() {
        for (width, height) in [(1, 1), (5, 3), (8, 6), (1, 4)] {
            let whole = noise(width, height, Layout::Ycc444, 3);
            let half = halve(&whole);
            for (index, (from, to)) in whole.planes().zip(half.planes()).enumerate() {
                for y in 0..to.height_px {
                    for x in 0..to.width_px {
                        let got = f64::from(to.bytes[(y * to.width_px + x) as usize]);
                        let at = |x: u32, y: u32| f64::from(from.bytes[(y.min(height - 1) * width + x.min(width - 1)) as usize]);
                        let want = if index == 0 {
                            at(x, y)
                        } else {
                            (at(2 * x, 2 * y) + at(2 * x + 1, 2 * y) + at(2 * x, 2 * y + 1) + at(2 * x + 1, 2 * y + 1)) / 4.0
                        };
                        assert!((got - want).abs() <= 0.5, "{width}x{height} plane {index} at {x},{y}: {got} {want}");
                    }
                }
            }
        }
    }
}
