//! The Gaussian kernel itself, in words: rows are summed down the columns, then along, and written back.
//!
//! Weights have 16 fraction bits, and a product keeps its upper word; half of what is cut off on average is given back where there is no
//! alpha. So a result is at most `(radius + 1) / 128` off, with alpha twice that, and a flat picture stays as it is. Lanes run along the
//! row, whatever the number of channels.

use super::rows::Rows;
use crate::{
    error::Error,
    simd::{Avx2, WORDS as LANES, weigh},
    watch::{Watch, band_rows},
};

/// Most weights on one side of the middle: results must be far less than half a step off, and two values with what is given back fit.
const MAX_RADIUS: usize = 9;

/// Weights from the middle outwards in 16 fraction bits; all together 1, the middle once, the others on both sides.
pub(super) struct Weights(Vec<u16>);

impl Weights {
    /// Of a Gaussian of `sigma_px`, above 0, three sigmas wide.
    pub(super) fn of(sigma_px: f64) -> Self {
        let radius = radius_of(sigma_px);
        debug_assert!(radius <= MAX_RADIUS, "sigma {sigma_px} is too wide");
        let raw: Vec<f64> = (0..=radius).map(|at| (-((at * at) as f64) / (2.0 * sigma_px * sigma_px)).exp()).collect();
        let sum = raw[0] + 2.0 * raw[1..].iter().sum::<f64>();
        let mut weights: Vec<u16> = raw.iter().map(|weight| (weight / sum * 65_536.0).round().min(65_535.0) as u16).collect();
        // What rounding the others left is the middle's; the whole of it would not fit a word.
        let others: u32 = weights[1..].iter().map(|weight| u32::from(*weight)).sum();
        weights[0] = (65_536 - 2 * others).min(65_535) as u16;
        Self(weights)
    }
}

fn radius_of(sigma_px: f64) -> usize {
    (3.0 * sigma_px).ceil() as usize
}

/// Bytes [`blur`] holds beside the rows: those its weights reach, and one that goes on at its ends.
pub(super) fn scratch_bytes(sigma_px: f64, samples: usize) -> u64 {
    let radius = radius_of(sigma_px);
    ((2 * radius + 2) * (samples + LANES) + 2 * 4 * radius) as u64 * size_of::<u16>() as u64
}

/// Blurs rows of `C` channels.
#[inline(always)]
pub(super) fn blur<const C: usize>(
    avx2: Option<Avx2>,
    rows: &mut impl Rows,
    Weights(weights): &Weights,
    watch: Watch<'_>,
) -> Result<(), Error> {
    let (samples, height) = rows.sides();
    let radius = weights.len() - 1;
    // With alpha none: nothing of a colour must stay nothing however little the opacity it is divided by.
    let given_back = if C == 4 { 0 } else { weights.len() as u16 / 2 };
    let row_lanes = samples.next_multiple_of(LANES);
    // Rows as they were before any was written, the last in use of each slot.
    let slots = 2 * radius + 1;
    let mut ring = vec![0_u16; slots * row_lanes];
    let lead = radius * C;
    let mut long = vec![0_u16; row_lanes + 2 * lead];
    let mut pairs = vec![(0, 0); radius];
    let mut loaded = 0;
    for y in 0..height {
        if y.is_multiple_of(band_rows(samples)) {
            watch.check("blur")?;
        }
        while loaded <= (y + radius).min(height - 1) {
            rows.load(loaded, &mut ring[(loaded % slots) * row_lanes..][..samples]);
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
            long.copy_within(lead..lead + C, distance * C);
            long.copy_within(lead + samples - C..lead + samples, lead + samples + distance * C);
        }
        for (distance, pair) in (1..).zip(&mut pairs) {
            *pair = (lead - distance * C, lead + distance * C);
        }
        for left in (0..samples).step_by(LANES) {
            rows.store(y, left, &weigh(avx2, &long[left..], lead, &pairs, weights, given_back));
        }
    }
    Ok(())
}
