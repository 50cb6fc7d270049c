//! Pictures of half the sides, and back: what is blurred widely has nothing that half of the samples do not have.
//!
//! A sample of the smaller picture lies in the middle between two of the larger, and is weighed from six; on the way back each of the larger
//! is weighed from three of the smaller: both by the binomial of five, `1 5 10 10 5 1`, which takes away what half of the samples cannot hold
//! and is all but a Gaussian. What it widens is left out of the blur between ([`VARIANCE`]). The smaller picture has [`MARGIN`] samples more at
//! each end, the outermost of which see nothing but the end's own value: so it goes on as the larger one does.

use super::rows::{Rows, Words};
use crate::{
    error::Error,
    simd::{Avx2, WORDS as LANES, part, weigh},
    watch::{Watch, band_rows},
};

/// 10, 5 and 1 of 32 in 16 fraction bits, for the two samples nearest, next and third; there is none in the middle.
const WEIGHTS: [u16; 4] = [0, 20_480, 10_240, 2_048];
/// What halving and doubling widen, in square pixels of the larger picture: twice the binomial's 5/4.
pub(super) const VARIANCE: f64 = 2.5;
/// Samples more at each end.
const MARGIN: usize = 2;
/// Rows of the larger picture that one of the smaller is weighed from, and those the other way.
const SIX: usize = 6;
const THREE: usize = 3;

/// Of what three products lose half is given back where there is no alpha, as in the kernel.
const fn given_back<const C: usize>() -> u16 {
    if C == 4 { 0 } else { 1 }
}

/// A side of the smaller picture.
pub(super) const fn halved_px(side_px: usize) -> usize {
    side_px / 2 + 2 * MARGIN
}

/// Bytes that [`halve`] and [`double`] hold beside both pictures, at most.
pub(super) fn scratch_bytes(width_px: usize, channels: usize) -> u64 {
    // Six rows, one with what lies beyond its ends, and its even and its odd pixels.
    let words = (SIX + 2) * (width_px * channels + LANES) + 8 * (MARGIN + 1) * channels + 3 * LANES;
    (words * size_of::<u16>()) as u64
}

/// The smaller picture of rows of `C` channels.
#[inline(always)]
pub(super) fn halve<const C: usize>(avx2: Option<Avx2>, rows: &impl Rows, watch: Watch<'_>) -> Result<Words, Error> {
    let (samples, height) = rows.sides();
    let mut half = Words::new(halved_px(samples / C) * C, halved_px(height));
    let (half_samples, half_height) = half.sides();
    let row_lanes = samples.next_multiple_of(LANES);
    let mut ring = vec![0_u16; SIX * row_lanes];
    // Pairs of pixels from the one before the smaller picture's first to the one behind its last.
    let pairs = half_samples / C + 2;
    let lead = 2 * (MARGIN + 1) * C;
    let mut long = vec![0_u16; 2 * pairs * C + LANES];
    let odd = pairs * C + LANES;
    let mut parted = vec![0_u16; 2 * odd];
    let along = [(C, odd + C), (odd, 2 * C), (0, odd + 2 * C)];
    let mut loaded = 0;
    for y in 0..half_height {
        if y.is_multiple_of(band_rows(2 * samples)) {
            watch.check("blur")?;
        }
        let row = |away: usize| (2 * y + away).saturating_sub(2 * (MARGIN + 1)).min(height - 1);
        while loaded <= row(SIX - 1) {
            rows.load(loaded, &mut ring[(loaded % SIX) * row_lanes..][..samples]);
            loaded += 1;
        }
        let at = |away: usize| (row(away) % SIX) * row_lanes;
        let down = [(at(2), at(3)), (at(1), at(4)), (at(0), at(5))];
        for (left, out) in (0..row_lanes).step_by(LANES).zip(long[lead..].as_chunks_mut::<LANES>().0) {
            *out = weigh(avx2, &ring[left..], 0, &down, &WEIGHTS, given_back::<C>());
        }
        // The first and the last pixel go on.
        let (before, row) = long.split_at_mut(lead);
        let (row, beyond) = row.split_at_mut(samples);
        for (end, pixel) in [(before, &row[..C]), (beyond, &row[samples - C..])] {
            end.chunks_exact_mut(C).for_each(|place| place.copy_from_slice(pixel));
        }
        let (evens, odds) = parted.split_at_mut(odd);
        part_pixels::<C>(&long, evens, odds, pairs);
        for left in (0..half_samples).step_by(LANES) {
            half.store(y, left, &weigh(avx2, &parted[left..], 0, &along, &WEIGHTS, given_back::<C>()));
        }
    }
    Ok(half)
}

/// The larger picture, of rows of `C` channels, from the smaller.
#[inline(always)]
pub(super) fn double<const C: usize>(half: &Words, rows: &mut impl Rows, watch: Watch<'_>) -> Result<(), Error> {
    let (samples, height) = rows.sides();
    let pairs = (samples / C).div_ceil(2);
    // A word more is written, and then left out.
    let row_lanes = (2 * pairs * C + 1).next_multiple_of(LANES);
    let mut ring = vec![0_u16; THREE * row_lanes];
    let pair_lanes = (pairs * C + 1).next_multiple_of(LANES);
    let (mut evens, mut odds) = (vec![0_u16; pair_lanes], vec![0_u16; pair_lanes]);
    let mut made = MARGIN - 1;
    for y in 0..height.div_ceil(2) {
        if y.is_multiple_of(band_rows(2 * samples)) {
            watch.check("blur")?;
        }
        while made <= y + MARGIN + 1 {
            let row = half.row_from(made);
            let outs = evens.as_chunks_mut::<LANES>().0.iter_mut().zip(odds.as_chunks_mut::<LANES>().0);
            for (left, (even, odd)) in (0..pairs * C).step_by(LANES).zip(outs) {
                let block = |pixel: usize| row[pixel * C + left..].first_chunk().expect("a block lies behind each row");
                [*even, *odd] = between::<C>([block(MARGIN - 1), block(MARGIN), block(MARGIN + 1)]);
            }
            join_pixels::<C>(&evens, &odds, &mut ring[(made % THREE) * row_lanes..][..row_lanes], pairs);
            made += 1;
        }
        let at = |away: usize| ((y + MARGIN - 1 + away) % THREE) * row_lanes;
        for left in (0..samples).step_by(LANES) {
            let block = |away: usize| ring[at(away) + left..].first_chunk().expect("rows are whole blocks");
            let [upper, lower] = between::<C>([block(0), block(1), block(2)]);
            rows.store(2 * y, left, &upper);
            if 2 * y + 1 < height {
                rows.store(2 * y + 1, left, &lower);
            }
        }
    }
    Ok(())
}

/// The two samples of the larger picture around the middle one of the smaller: the one before, and the one behind.
#[inline(always)]
fn between<const C: usize>([before, middle, behind]: [&[u16; LANES]; THREE]) -> [[u16; LANES]; 2] {
    // Twice the weights, for each sees every other one.
    let near: [u16; LANES] = std::array::from_fn(|at| part(middle[at], 2 * WEIGHTS[1]) + given_back::<C>());
    let with = |next: &[u16; LANES], third: &[u16; LANES]| {
        std::array::from_fn(|at| near[at].wrapping_add(part(next[at], 2 * WEIGHTS[2])).wrapping_add(part(third[at], 2 * WEIGHTS[3])))
    };
    [with(before, behind), with(behind, before)]
}

/// The pixels of so many pairs by turns.
#[inline(always)]
fn part_pixels<const C: usize>(row: &[u16], evens: &mut [u16], odds: &mut [u16], pairs: usize) {
    if C == 3 {
        // Four words are moved in one go; the one too many is overwritten by the next.
        for at in (0..pairs * C).step_by(C) {
            evens[at..at + 4].copy_from_slice(&row[2 * at..2 * at + 4]);
            odds[at..at + 4].copy_from_slice(&row[2 * at + 3..2 * at + 7]);
        }
        return;
    }
    let places = evens.as_chunks_mut::<C>().0.iter_mut().zip(odds.as_chunks_mut::<C>().0);
    for ((even, odd), pair) in places.zip(row.as_chunks::<C>().0.as_chunks().0).take(pairs) {
        [*even, *odd] = *pair;
    }
}

/// The opposite.
#[inline(always)]
fn join_pixels<const C: usize>(evens: &[u16], odds: &[u16], row: &mut [u16], pairs: usize) {
    if C == 3 {
        for at in (0..pairs * C).step_by(C) {
            row[2 * at..2 * at + 4].copy_from_slice(&evens[at..at + 4]);
            row[2 * at + 3..2 * at + 7].copy_from_slice(&odds[at..at + 4]);
        }
        return;
    }
    let pixels = evens.as_chunks::<C>().0.iter().zip(odds.as_chunks::<C>().0);
    for ((even, odd), pair) in pixels.zip(row.as_chunks_mut::<C>().0.as_chunks_mut().0).take(pairs) {
        *pair = [*even, *odd];
    }
}
