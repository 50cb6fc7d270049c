//! Samples to pixels: chroma made as large as luma, and colour.
//!
//! Knows nothing of blocks or files. Upsampling by two is libjpeg's "fancy" triangle filter (weights 3/4 and 1/4, centres between the
//! larger samples) where libjpeg has one and the picture is not at 1/8; all else repeats the nearest sample. Colour is JFIF's with
//! libjpeg's 16-bit constants and rounding.

use crate::simd::{self, Avx2};

/// How a component's row becomes an output row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upsampling {
    /// As it is.
    None,
    /// Triangle, twice as wide.
    Wide,
    /// Triangle, twice as high.
    High,
    /// Triangle, both.
    Both,
    /// The nearest sample: output `x` comes from `x * width.0 / width.1`, rows alike.
    Nearest {
        /// Numerator and denominator across.
        width: (usize, usize),
        /// Numerator and denominator down.
        height: (usize, usize),
    },
}

impl Upsampling {
    /// The component's row that output row `y` comes from, and the neighbour that takes part (or the same one).
    pub(crate) fn source_rows(self, y: usize) -> (usize, usize) {
        match self {
            Self::None | Self::Wide => (y, y),
            Self::High | Self::Both => {
                let row = y / 2;
                (row, if y.is_multiple_of(2) { row.saturating_sub(1) } else { row + 1 })
            }
            Self::Nearest { height, .. } => {
                let row = y * height.0 / height.1;
                (row, row)
            }
        }
    }

    /// Fills `out` from the component's row `near` and its neighbour `far`. `out` may be longer or shorter than the row needs.
    pub(crate) fn apply(self, near: &[u8], far: &[u8], y: usize, out: &mut [u8], sums: &mut Vec<u16>) {
        simd::run(Row { upsampling: self, near, far, y, out, sums });
    }
}

/// What [`Upsampling::apply`] does.
struct Row<'r> {
    upsampling: Upsampling,
    near: &'r [u8],
    far: &'r [u8],
    y: usize,
    out: &'r mut [u8],
    sums: &'r mut Vec<u16>,
}

impl simd::Work for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _avx2: Option<Avx2>) {
        let Self { upsampling, near, far, y, out, sums } = self;
        match upsampling {
            Upsampling::None => copy(near, out),
            Upsampling::Wide => wide(near, out),
            Upsampling::High => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((place, &near), &far) in out.iter_mut().zip(near).zip(far) {
                    *place = ((u16::from(near) * 3 + u16::from(far) + bias) >> 2) as u8;
                }
            }
            Upsampling::Both => {
                sums.resize(near.len(), 0);
                for ((sum, &near), &far) in sums.iter_mut().zip(near).zip(far) {
                    *sum = u16::from(near) * 3 + u16::from(far);
                }
                both(sums, out);
            }
            Upsampling::Nearest { width: (1, 2), .. } => {
                for (pair, &value) in out.chunks_mut(2).zip(near) {
                    pair.fill(value);
                }
            }
            Upsampling::Nearest { width: (numerator, denominator), .. } => {
                for (x, place) in out.iter_mut().enumerate() {
                    *place = near.get(x * numerator / denominator).copied().unwrap_or_default();
                }
            }
        }
    }
}

fn copy(row: &[u8], out: &mut [u8]) {
    let length = row.len().min(out.len());
    out[..length].copy_from_slice(&row[..length]);
}

/// Each sample becomes two, `left` of it and the one before, `right` of it and the one after; at the edges a neighbour is the sample
/// itself. The last of `out` may be cut.
#[inline(always)]
fn spread<T: Copy>(row: &[T], out: &mut [u8], left: impl Fn(T, T) -> u8, right: impl Fn(T, T) -> u8) {
    let ([first, ..], [.., last]) = (row, row) else { return };
    let count = row.len();
    let mut ends = |at: usize, before: T, value: T, after: T| {
        for (place, value) in out.iter_mut().skip(2 * at).zip([left(value, before), right(value, after)]) {
            *place = value;
        }
    };
    ends(0, *first, *first, if count > 1 { row[1] } else { *first });
    if count > 1 {
        ends(count - 1, row[count - 2], *last, *last);
    }
    for (three, pair) in row.array_windows::<3>().zip(out.get_mut(2..).unwrap_or_default().as_chunks_mut::<2>().0) {
        // Both in one word, so that vectors need no packing.
        *pair = (u16::from(left(three[1], three[0])) | u16::from(right(three[1], three[2])) << 8).to_le_bytes();
    }
}

/// The triangle across.
#[inline(always)]
fn wide(row: &[u8], out: &mut [u8]) {
    let weigh = |near: u8, far: u8, bias: u16| ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
    spread(row, out, |near, far| weigh(near, far, 1), |near, far| weigh(near, far, 2));
}

/// As [`wide`], from column sums of four times the weight.
#[inline(always)]
fn both(sums: &[u16], out: &mut [u8]) {
    let weigh = |near: u16, far: u16, bias: u16| ((3 * near + far + bias) >> 4) as u8;
    spread(sums, out, |near, far| weigh(near, far, 8), |near, far| weigh(near, far, 7));
}

const HALF: i32 = 1 << 15;

/// `value` with 16 fraction bits.
const fn fixed(value: f64) -> i32 {
    (value * 65536.0 + 0.5) as i32
}

/// One pixel's red, green and blue.
#[inline(always)]
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const RED: i32 = fixed(1.402);
    const BLUE: i32 = fixed(1.772);
    const GREEN_RED: i32 = fixed(0.71414);
    const GREEN_BLUE: i32 = fixed(0.34414);
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let clamp = |value: i32| value.clamp(0, 255) as u8;
    [
        clamp(luma + ((RED * red + HALF) >> 16)),
        clamp(luma + ((-GREEN_BLUE * blue - GREEN_RED * red + HALF) >> 16)),
        clamp(luma + ((BLUE * blue + HALF) >> 16)),
    ]
}

/// Luma and both chroma (JFIF's YCbCr, a sample of each for a pixel) to red, green and blue, three bytes a pixel; as many pixels as the
/// shortest has.
pub fn ycbcr_to_rgb(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    let pixels = luma.len().min(blue.len()).min(red.len()).min(out.len() / 3);
    ycbcr(&luma[..pixels], &blue[..pixels], &red[..pixels], &mut out[..3 * pixels]);
}

/// YCbCr to RGB8.
pub(crate) fn ycbcr(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    let done = match simd::detect() {
        Some(avx2) => avx2.ycbcr(luma, blue, red, out),
        None => 0,
    };
    ycbcr_plainly(&luma[done..], &blue[done..], &red[done..], &mut out[3 * done..]);
}

/// As [`ycbcr`], on any processor.
fn ycbcr_plainly(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    const STEP: usize = 32;
    fn array(chunk: &[u8]) -> Result<&[u8; STEP], std::array::TryFromSliceError> {
        chunk.try_into()
    }
    let chunks = out.chunks_mut(3 * STEP).zip(luma.chunks(STEP)).zip(blue.chunks(STEP)).zip(red.chunks(STEP));
    for (((out, luma), blue), red) in chunks {
        if let (Ok(luma), Ok(blue), Ok(red)) = (array(luma), array(blue), array(red))
            && out.len() == 3 * STEP
        {
            // Planes first, in vectors; then the interleaving.
            let mut planes = [[0u8; STEP]; 3];
            for x in 0..STEP {
                let pixel = rgb(luma[x], blue[x], red[x]);
                planes[0][x] = pixel[0];
                planes[1][x] = pixel[1];
                planes[2][x] = pixel[2];
            }
            for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
                pixel[0] = planes[0][x & (STEP - 1)];
                pixel[1] = planes[1][x & (STEP - 1)];
                pixel[2] = planes[2][x & (STEP - 1)];
            }
        } else {
            for (((pixel, &luma), &blue), &red) in out.chunks_exact_mut(3).zip(luma).zip(blue).zip(red) {
                pixel.copy_from_slice(&rgb(luma, blue, red));
            }
        }
    }
}

/// YCCK to CMYK8: the first three become `255 - rgb`, black stays.
pub(crate) fn ycck([luma, blue, red, black]: [&[u8]; 4], out: &mut [u8]) {
    for ((((pixel, &luma), &blue), &red), &black) in out.chunks_exact_mut(4).zip(luma).zip(blue).zip(red).zip(black) {
        let [r, g, b] = rgb(luma, blue, red);
        pixel.copy_from_slice(&[255 - r, 255 - g, 255 - b, black]);
    }
}

/// Planes to pixels as they are.
pub(crate) fn interleave(planes: &[&[u8]], out: &mut [u8]) {
    for (channel, plane) in planes.iter().enumerate() {
        for (pixel, &value) in out.chunks_exact_mut(planes.len()).zip(*plane) {
            pixel[channel] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Upsampling, ycbcr, ycbcr_plainly};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn colour_is_near_the_formula(luma in any::<u8>(), blue in any::<u8>(), red in any::<u8>(), width in 1usize..70) {
            let (y, cb, cr) = (f64::from(luma), f64::from(blue) - 128.0, f64::from(red) - 128.0);
            let want = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
            let mut out = vec![0; 3 * width];
            ycbcr(&vec![luma; width], &vec![blue; width], &vec![red; width], &mut out);
            for pixel in out.chunks_exact(3) {
                for (got, want) in pixel.iter().zip(want) {
                    prop_assert!((f64::from(*got) - want.clamp(0.0, 255.0)).abs() <= 0.51);
                }
            }
        }

        #[test]
        fn vectors_give_what_plain_code_gives(planes in prop::collection::vec(any::<[u8; 3]>(), 1..100)) {
            let plane = |index: usize| -> Vec<u8> { planes.iter().map(|pixel| pixel[index]).collect() };
            let (luma, blue, red) = (plane(0), plane(1), plane(2));
            let (mut plain, mut vectors) = (vec![0; 3 * luma.len()], vec![0; 3 * luma.len()]);
            ycbcr_plainly(&luma, &blue, &red, &mut plain);
            ycbcr(&luma, &blue, &red, &mut vectors);
            prop_assert_eq!(plain, vectors);
        }

        #[test]
        fn triangles_weigh_three_to_one(row in prop::collection::vec(any::<u8>(), 3..40), far in prop::collection::vec(any::<u8>(), 40), cut in 0usize..2) {
            let far = &far[..row.len()];
            let width = 2 * row.len() - cut;
            let mut sums = Vec::new();
            let at = |row: &[u8], x: usize, right: bool| {
                let other = if right { (x + 1).min(row.len() - 1) } else { x.saturating_sub(1) };
                (0.75 * f64::from(row[x]) + 0.25 * f64::from(row[other]), ())
            };
            for (method, y) in [(Upsampling::Wide, 0), (Upsampling::Both, 0), (Upsampling::Both, 1)] {
                let mut out = vec![0; width];
                method.apply(&row, far, y, &mut out, &mut sums);
                for (x, &got) in out.iter().enumerate() {
                    let near = at(&row, x / 2, x % 2 == 1).0;
                    let want = if method == Upsampling::Wide { near } else { 0.75 * near + 0.25 * at(far, x / 2, x % 2 == 1).0 };
                    prop_assert!((f64::from(got) - want).abs() <= 0.51, "{} is not near {}", got, want);
                }
            }
        }
    }
}
