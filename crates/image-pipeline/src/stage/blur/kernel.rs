//! The Gaussian kernel itself, in words: rows are summed down the columns, then along, and written back.
//!
//! Between the passes values have 7 fraction bits, weights 16, and a product keeps its upper word; half of what is cut off on average is
//! given back where there is no alpha. So a result is at most `(radius + 1) / 128` off, with alpha twice that, and a flat picture stays
//! as it is. Lanes run along the row, whatever the number of channels. Colours are weighted with their alpha on the way in; those of
//! nearly transparent pixels are coarse.

use crate::{
    pixels::{Layout, Pixels},
    simd::{self, Avx2, WORDS as LANES, part, weigh},
};

/// Fraction bits of a value between the passes: two values fit a word.
const VALUE_BITS: u32 = 7;
/// Most weights on one side of the middle: results must be far less than half a step off, and two values with what is given back fit.
const MAX_RADIUS: usize = 31;

/// Weights from the middle outwards in 16 fraction bits; all together 1, the middle once, the others on both sides.
pub(super) struct Weights(Vec<u16>);

impl Weights {
    /// Of a Gaussian of `sigma_px`, above 0, three sigmas wide.
    pub(super) fn of(sigma_px: f32) -> Self {
        let sigma = f64::from(sigma_px);
        let radius = radius_of(sigma_px);
        debug_assert!(radius <= MAX_RADIUS, "{sigma_px} is too wide");
        let raw: Vec<f64> = (0..=radius).map(|at| (-((at * at) as f64) / (2.0 * sigma * sigma)).exp()).collect();
        let sum = raw[0] + 2.0 * raw[1..].iter().sum::<f64>();
        let mut weights: Vec<u16> = raw.iter().map(|weight| (weight / sum * 65_536.0).round().min(65_535.0) as u16).collect();
        // What rounding the others left is the middle's; the whole of it would not fit a word.
        let others: u32 = weights[1..].iter().map(|weight| u32::from(*weight)).sum();
        weights[0] = (65_536 - 2 * others).min(65_535) as u16;
        Self(weights)
    }
}

fn radius_of(sigma_px: f32) -> usize {
    (3.0 * sigma_px).ceil() as usize
}

/// Bytes [`blur`] holds beside the picture: the rows its weights reach, and one that goes on at its ends.
pub(super) fn scratch_bytes(sigma_px: f32, stride: usize) -> u64 {
    let radius = radius_of(sigma_px);
    ((2 * radius + 2) * (stride + LANES) + 2 * 4 * radius) as u64 * size_of::<u16>() as u64
}

/// Blurs a picture of one plane.
pub(super) fn blur(pixels: &mut Pixels, weights: &Weights) {
    if pixels.layout == Layout::Rgba8 {
        simd::run(Blur::<true> { pixels, weights: &weights.0 });
    } else {
        simd::run(Blur::<false> { pixels, weights: &weights.0 });
    }
}

struct Blur<'b, const ALPHA: bool> {
    pixels: &'b mut Pixels,
    weights: &'b [u16],
}

impl<const ALPHA: bool> simd::Work for Blur<'_, ALPHA> {
    #[inline(always)]
    fn run(self, avx2: Option<Avx2>) {
        let Self { pixels, weights } = self;
        let (stride, channels, height) = (pixels.stride(), pixels.layout.channels(), pixels.height_px as usize);
        let radius = weights.len() - 1;
        // With alpha none: nothing of a colour must stay nothing however little the opacity it is divided by.
        let given_back = if ALPHA { 0 } else { weights.len() as u16 / 2 };
        let row_lanes = stride.next_multiple_of(LANES);
        // Rows as they were before any was written, the last in use of each slot.
        let slots = 2 * radius + 1;
        let mut ring = vec![0_u16; slots * row_lanes];
        let lead = radius * channels;
        let mut long = vec![0_u16; row_lanes + 2 * lead];
        let mut pairs = vec![(0, 0); radius];
        let mut loaded = 0;
        for y in 0..height {
            while loaded <= (y + radius).min(height - 1) {
                let at = (loaded % slots) * row_lanes;
                load::<ALPHA>(&pixels.bytes[loaded * stride..][..stride], &mut ring[at..at + stride]);
                loaded += 1;
            }
            for (distance, pair) in (1..).zip(&mut pairs) {
                *pair = ((y.saturating_sub(distance) % slots) * row_lanes, ((y + distance).min(height - 1) % slots) * row_lanes);
            }
            let middle = (y % slots) * row_lanes;
            for (at, out) in (0..).step_by(LANES).zip(long[lead..lead + row_lanes].as_chunks_mut::<LANES>().0) {
                *out = weigh(avx2, &ring[at..], middle, &pairs, weights, given_back);
            }
            // The first and the last pixel go on.
            for distance in 0..radius {
                long.copy_within(lead..lead + channels, distance * channels);
                long.copy_within(lead + stride - channels..lead + stride, lead + stride + distance * channels);
            }
            for (distance, pair) in (1..).zip(&mut pairs) {
                *pair = (lead - distance * channels, lead + distance * channels);
            }
            let row = &mut pixels.bytes[y * stride..][..stride];
            let (blocks, rest) = row.as_chunks_mut::<LANES>();
            for (block, at) in blocks.iter_mut().zip((0..).step_by(LANES)) {
                *block = bytes_of::<ALPHA>(weigh(avx2, &long[at..], lead, &pairs, weights, given_back));
            }
            if !rest.is_empty() {
                let last = bytes_of::<ALPHA>(weigh(avx2, &long[row_lanes - LANES..], lead, &pairs, weights, given_back));
                rest.copy_from_slice(&last[..rest.len()]);
            }
        }
    }
}

#[inline(always)]
fn load<const ALPHA: bool>(bytes: &[u8], values: &mut [u16]) {
    if !ALPHA {
        values.iter_mut().zip(bytes).for_each(|(value, byte)| *value = u16::from(*byte) << VALUE_BITS);
        return;
    }
    for (values, pixel) in values.as_chunks_mut::<4>().0.iter_mut().zip(bytes.as_chunks::<4>().0) {
        let alpha = u16::from(pixel[3]);
        // 128 / 255 in 16 fraction bits, rounded up: 255 weighted with alpha is alpha, exactly.
        let weighted = |colour: u8| part(u16::from(colour) * alpha, 32_897);
        *values = [weighted(pixel[0]), weighted(pixel[1]), weighted(pixel[2]), alpha << VALUE_BITS];
    }
}

#[inline(always)]
fn bytes_of<const ALPHA: bool>(sums: [u16; LANES]) -> [u8; LANES] {
    let mut bytes = sums.map(rounded);
    if ALPHA {
        for (pixel, sums) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(sums.as_chunks::<4>().0) {
            let unweight = if sums[3] > 0 { 255.0 / f32::from(sums[3]) } else { 0.0 };
            for (byte, sum) in pixel[..3].iter_mut().zip(sums) {
                // A cast of a float to u8 saturates, and half is added for the nearest.
                *byte = (f32::from(*sum) * unweight + 0.5) as u8;
            }
        }
    }
    bytes
}

#[inline(always)]
fn rounded(sum: u16) -> u8 {
    ((sum + (1 << (VALUE_BITS - 1))) >> VALUE_BITS) as u8
}
