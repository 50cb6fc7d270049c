//! Interleaved pixels to planes, a row of MCUs at a time.
//!
//! JFIF's YCbCr in integers of 16 fraction bits. Chroma of 4:2:0 comes from the sum of four pixels, rounded once; beyond an odd edge the
//! last pixel counts twice. Knows nothing of blocks. Invariant: no more than one row of MCUs is held.

use crate::{
    frame::Frame,
    picture::{Picture, Plane, Sampling},
    simd::{self, Avx2, Work},
};

const fn fixed(value: f64) -> i32 {
    (value * 65536.0 + 0.5) as i32
}

/// Weights of red, green and blue; those of a difference add up to nothing, those of luma to one.
pub(crate) const LUMA: [i32; 3] = [fixed(0.299), fixed(0.587), fixed(0.114)];
pub(crate) const BLUE: [i32; 3] = [-fixed(0.168735892), -fixed(0.331264108), fixed(0.5)];
pub(crate) const RED: [i32; 3] = [fixed(0.5), -fixed(0.418687589), -fixed(0.081312411)];
const _: () = assert!(LUMA[0] + LUMA[1] + LUMA[2] == 1 << 16 && BLUE[0] + BLUE[1] == -BLUE[2] && RED[1] + RED[2] == -RED[0]);

/// Room for a row of MCUs of each component; none where the picture is of planes.
pub(crate) struct Strip<'a> {
    bytes: &'a [u8],
    channels: usize,
    width: usize,
    height: usize,
    rows: usize,
    half: bool,
    planes: [Vec<u8>; 3],
}

impl<'a> Strip<'a> {
    pub(crate) fn new(picture: &Picture<'a>, frame: &Frame) -> Self {
        let (bytes, channels) = match *picture {
            Picture::Rgb { bytes, .. } => (bytes, 3),
            Picture::Rgba { bytes, .. } => (bytes, 4),
            Picture::Grey(_) | Picture::YCbCr { .. } => (&[][..], 0),
        };
        let (width, height) = (frame.width_px as usize, frame.height_px as usize);
        let (rows, half) = (frame.mcu_rows_px(), frame.sampling == Some(Sampling::Half));
        let [luma, chroma] = if channels > 0 { plane_bytes(width, rows, half) } else { [0; 2] };
        Self { bytes, channels, width, height, rows, half, planes: [vec![0; luma], vec![0; chroma], vec![0; chroma]] }
    }

    /// Bytes a strip of `frame` holds.
    pub(crate) fn working_bytes(frame: &Frame) -> usize {
        let [luma, chroma] = plane_bytes(frame.width_px as usize, frame.mcu_rows_px(), frame.sampling == Some(Sampling::Half));
        luma + 2 * chroma
    }

    /// The row of MCUs from the pixels of row `first` on.
    pub(crate) fn converted(&mut self, first: usize) -> [Plane<'_>; 3] {
        let (width, shrink) = (self.width, 1 + usize::from(self.half));
        let rows = self.rows.min(self.height - first);
        let row_bytes = self.channels * width;
        let pixels = |row: usize| &self.bytes[row * row_bytes..][..row_bytes];
        let [luma, blue, red] = &mut self.planes;
        let chroma_width = width.div_ceil(shrink);
        let chroma = blue.chunks_exact_mut(chroma_width).zip(red.chunks_exact_mut(chroma_width));
        for (turn, (luma, (blue, red))) in luma.chunks_exact_mut(shrink * width).zip(chroma).enumerate().take(rows.div_ceil(shrink)) {
            let upper = first + turn * shrink;
            // Beyond the last row it is taken again, and its luma not looked at.
            let lower = (upper + shrink - 1).min(self.height - 1);
            let pixels = [pixels(upper), pixels(lower)];
            let wide = self.channels == 4;
            match (wide, self.half) {
                (false, false) => simd::run(Full::<3> { pixels: pixels[0], luma, blue, red }),
                (true, false) => simd::run(Full::<4> { pixels: pixels[0], luma, blue, red }),
                (false, true) => simd::run(Half::<3> { pixels, luma, blue, red }),
                (true, true) => simd::run(Half::<4> { pixels, luma, blue, red }),
            }
        }
        let of = |shrink: usize| (width.div_ceil(shrink), rows.div_ceil(shrink) as u32);
        let ((luma_width, luma_rows), (chroma_width, chroma_rows)) = (of(1), of(shrink));
        let [luma, blue, red] = &self.planes;
        [
            Plane { samples: luma, stride: luma_width, width_px: luma_width as u32, height_px: luma_rows },
            Plane { samples: blue, stride: chroma_width, width_px: chroma_width as u32, height_px: chroma_rows },
            Plane { samples: red, stride: chroma_width, width_px: chroma_width as u32, height_px: chroma_rows },
        ]
    }
}

/// Two rows of red, green and blue to luma and to chroma of half the sides (rounded up): what [`encode`](crate::encode) makes of a
/// [`Picture::Rgb`] written as [`Sampling::Half`], so that the planes are written to the same file. `luma` takes both rows, or only the
/// first: at an odd end a picture's last row is given twice.
///
/// # Panics
/// Where the rows differ in length, or a plane has less room.
pub fn part_rows(upper: &[u8], lower: &[u8], luma: &mut [u8], blue: &mut [u8], red: &mut [u8]) {
    let width = upper.len() / 3;
    let halves = width.div_ceil(2);
    assert!(upper.len() == lower.len() && luma.len() >= width, "two rows of one picture");
    simd::run(Half::<3> { pixels: [upper, lower], luma, blue: &mut blue[..halves], red: &mut red[..halves] });
}

/// Bytes of luma's and of one chroma plane of a strip.
fn plane_bytes(width: usize, rows: usize, half: bool) -> [usize; 2] {
    let luma = width * rows;
    [luma, if half { width.div_ceil(2) * rows / 2 } else { luma }]
}

/// `pixel`, weighed; of one or, with two bits more to lose, the sum of four.
#[inline(always)]
fn weighed(pixel: [i32; 3], weights: [i32; 3], offset: i32, shift: u32) -> u8 {
    // Rounded to the nearest, halves of chroma down so that pure blue and red stay within 255.
    let round = (1 << (shift - 1)) - i32::from(offset != 0);
    ((pixel[0] * weights[0] + pixel[1] * weights[1] + pixel[2] * weights[2] + (offset << shift) + round) >> shift) as u8
}

#[inline(always)]
fn rgb<const N: usize>(pixel: &[u8; N]) -> [i32; 3] {
    [i32::from(pixel[0]), i32::from(pixel[1]), i32::from(pixel[2])]
}

/// A row with a sample of each component a pixel.
struct Full<'a, const N: usize> {
    pixels: &'a [u8],
    luma: &'a mut [u8],
    blue: &'a mut [u8],
    red: &'a mut [u8],
}

impl<const N: usize> Work for Full<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self, _avx2: Option<Avx2>) {
        let (pixels, _) = self.pixels.as_chunks::<N>();
        for (((pixel, luma), blue), red) in pixels.iter().zip(self.luma).zip(self.blue).zip(self.red) {
            let pixel = rgb(pixel);
            *luma = weighed(pixel, LUMA, 0, 16);
            *blue = weighed(pixel, BLUE, 128, 16);
            *red = weighed(pixel, RED, 128, 16);
        }
    }
}

/// Two rows, with a sample of each difference for four pixels.
struct Half<'a, const N: usize> {
    pixels: [&'a [u8]; 2],
    luma: &'a mut [u8],
    blue: &'a mut [u8],
    red: &'a mut [u8],
}

impl<const N: usize> Work for Half<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self, avx2: Option<Avx2>) {
        let Self { pixels: [upper, lower], luma, blue, red } = self;
        let (upper_luma, lower_luma) = luma.split_at_mut(upper.len() / N);
        let done = match avx2 {
            // Beyond a last row there is no luma: that is done below.
            Some(avx2) if lower_luma.len() == upper_luma.len() => avx2.half::<N>([upper, lower], [upper_luma, lower_luma], blue, red),
            _ => 0,
        };
        let [(upper, _), (lower, _)] = [upper, lower].map(|row| row[N * done..].as_chunks::<N>());
        for (pixels, luma) in [(upper, upper_luma), (lower, lower_luma)] {
            for (pixel, luma) in pixels.iter().zip(luma.iter_mut().skip(done)) {
                *luma = weighed(rgb(pixel), LUMA, 0, 16);
            }
        }
        let four = |[upper_left, upper_right, lower_left, lower_right]: [&[u8; N]; 4]| -> [i32; 3] {
            std::array::from_fn(|c| {
                i32::from(upper_left[c]) + i32::from(upper_right[c]) + i32::from(lower_left[c]) + i32::from(lower_right[c])
            })
        };
        let (blue, red) = (&mut blue[done / 2..], &mut red[done / 2..]);
        let ((upper_pairs, upper_last), (lower_pairs, lower_last)) = (upper.as_chunks::<2>(), lower.as_chunks::<2>());
        for (((upper, lower), blue), red) in upper_pairs.iter().zip(lower_pairs).zip(&mut *blue).zip(&mut *red) {
            let sum = four([&upper[0], &upper[1], &lower[0], &lower[1]]);
            *blue = weighed(sum, BLUE, 128, 18);
            *red = weighed(sum, RED, 128, 18);
        }
        if let ([upper], [lower], Some(blue), Some(red)) = (upper_last, lower_last, blue.last_mut(), red.last_mut()) {
            let sum = four([upper, upper, lower, lower]);
            *blue = weighed(sum, BLUE, 128, 18);
            *red = weighed(sum, RED, 128, 18);
        }
    }
}
