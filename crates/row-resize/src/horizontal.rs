//! The horizontal pass: one row of result samples, still at half-way scale, from one row at half-way. One channel at a time.
//!
//! Knows nothing of rows above or below. Sums are exact in 32 bits: half-way samples times weights of at most 15 bits, whose absolute
//! values add up to less than 2.

use crate::axis::Columns;
use crate::simd;

/// Makes `columns.starts.len()` samples of each of the first `channels` channels: `planes` holds rows of `plane` samples, one for each,
/// `out` of `result`. Rows must reach to every weight of every column.
pub(crate) fn sum_columns(columns: &Columns, planes: &[i16], plane: usize, out: &mut [i16], result: usize, channels: usize) {
    match simd::detect() {
        Some(avx2) => avx2.sum_columns(columns, planes, plane, out, result, channels),
        None => {
            for (row, out) in planes.chunks_exact(plane).zip(out.chunks_exact_mut(result)).take(channels) {
                plain(columns, row, out);
            }
        }
    }
}

/// The twin.
pub(crate) fn plain(columns: &Columns, row: &[i16], out: &mut [i16]) {
    let round = 1 << (columns.bits - 1);
    let weights = columns.weights.chunks_exact(columns.each);
    for ((out, &start), weights) in out.iter_mut().zip(&columns.starts).zip(weights) {
        let row = &row[start as usize..][..columns.each];
        let sum = row.iter().zip(weights).fold(0_i32, |sum, (&value, &weight)| sum.wrapping_add(i32::from(value) * i32::from(weight)));
        *out = ((sum + round) >> columns.bits).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
    }
}
