//! The median of nine by minima and maxima alone, over whole rows of bytes, in vectors where there are any.
//!
//! Columns of three are sorted first; the middle of nine is then the middle of the largest low, the middle of the middles and the smallest high
//! (Smith: Implementing median filters in XC4000E FPGAs, 1996).

use crate::{
    error::Error,
    pixels::Pixels,
    simd,
    watch::{Watch, band_rows},
};

/// Rows with a pixel more on each side, and what is sorted of three of them.
const ROWS: usize = 6;

pub(super) fn scratch_bytes(width_px: u32, channels: usize) -> u64 {
    (u64::from(width_px) + 2) * channels as u64 * ROWS as u64 + 256
}

pub(super) fn median_of_nine(pixels: &mut Pixels, watch: Watch<'_>) -> Result<(), Error> {
    let channels = pixels.layout.channels();
    let stride = pixels.stride();
    let padded = stride + 2 * channels;
    let rows = pixels.bytes.len() / stride;
    // A row as it was, its edges once more.
    let take = |row: &[u8], into: &mut Vec<u8>| {
        into.clear();
        into.extend_from_slice(&row[..channels]);
        into.extend_from_slice(row);
        into.extend_from_slice(&row[stride - channels..]);
    };
    let [mut above, mut here, mut below] = [(); 3].map(|()| Vec::with_capacity(padded));
    let mut sorted = [(); 3].map(|()| vec![0; padded]);
    take(&pixels.bytes[..stride], &mut here);
    above.clone_from(&here);
    for y in 0..rows {
        if y.is_multiple_of(band_rows(stride)) {
            watch.check(super::STAGE)?;
        }
        let next = (y + 1).min(rows - 1) * stride;
        take(&pixels.bytes[next..next + stride], &mut below);
        let [low, middle, high] = &mut sorted;
        simd::run(Columns { above: &above, here: &here, below: &below, low, middle, high });
        simd::run(Rows { low, middle, high, channels, to: &mut pixels.bytes[y * stride..][..stride] });
        std::mem::swap(&mut above, &mut here);
        std::mem::swap(&mut here, &mut below);
    }
    Ok(())
}

struct Columns<'c> {
    above: &'c [u8],
    here: &'c [u8],
    below: &'c [u8],
    low: &'c mut [u8],
    middle: &'c mut [u8],
    high: &'c mut [u8],
}

impl simd::Work for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Option<simd::Avx2>) {
        let sorted = self.low.iter_mut().zip(self.middle).zip(self.high);
        for (((low, middle), high), ((a, b), c)) in sorted.zip(self.above.iter().zip(self.here).zip(self.below)) {
            let (less, more) = (*a.min(b), *a.max(b));
            *low = less.min(*c);
            *high = more.max(*c);
            *middle = more.min(less.max(*c));
        }
    }
}

struct Rows<'r> {
    low: &'r [u8],
    middle: &'r [u8],
    high: &'r [u8],
    channels: usize,
    to: &'r mut [u8],
}

impl simd::Work for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: Option<simd::Avx2>) {
        let count = self.to.len();
        let lows = part(self.low, self.channels, count, 0).iter().zip(part(self.low, self.channels, count, 1)).zip(part(
            self.low,
            self.channels,
            count,
            2,
        ));
        let middles = part(self.middle, self.channels, count, 0).iter().zip(part(self.middle, self.channels, count, 1)).zip(part(
            self.middle,
            self.channels,
            count,
            2,
        ));
        let highs = part(self.high, self.channels, count, 0).iter().zip(part(self.high, self.channels, count, 1)).zip(part(
            self.high,
            self.channels,
            count,
            2,
        ));
        for (((place, ((a, b), c)), ((d, e), f)), ((g, h), i)) in self.to.iter_mut().zip(lows).zip(middles).zip(highs) {
            let low = *a.max(b).max(c);
            let middle = middle(*d, *e, *f);
            let high = *g.min(h).min(i);
            *place = self::middle(low, middle, high);
        }
    }
}

#[inline(always)]
fn middle(a: u8, b: u8, c: u8) -> u8 {
    a.max(b).min(a.min(b).max(c))
}

/// `count` bytes of a row, so many pixels further on.
#[inline(always)]
fn part(row: &[u8], channels: usize, count: usize, pixels: usize) -> &[u8] {
    &row[pixels * channels..][..count]
}
