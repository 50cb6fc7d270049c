//! Undoing the filters of rows (clause 9), four rows at once where that is quicker.
//!
//! A filter that looks left makes each pixel wait for the one before it. Four rows, each two pixels behind the one above it, do not wait for
//! each other: their pixels stand side by side in one vector, and what lies above is ready a turn before it is asked for.
//!
//! Knows nothing of how rows came here. The slow obvious twin is [`row`].

use crate::fault::Fault;
use crate::simd;

pub(crate) const SUB: u8 = 1;
pub(crate) const UP: u8 = 2;
pub(crate) const AVERAGE: u8 = 3;
pub(crate) const PAETH: u8 = 4;

/// Rows that go side by side.
const WAVE: usize = 4;

/// Of `filtered`, rows of `row_bytes` each behind the number of its filter, to `done`: there a row lies that is above the first, then room.
pub(crate) fn rows(filtered: &[u8], pixel_bytes: usize, row_bytes: usize, done: &mut [u8]) -> Result<(), Fault> {
    let mut filtered = filtered;
    let mut done = done;
    while !filtered.is_empty() {
        if let Some(avx2) = simd::detect()
            && pixel_bytes <= 4
            && filtered.len() >= WAVE * (row_bytes + 1)
            && row_bytes >= 4 * WAVE * pixel_bytes
        {
            let raw: [&[u8]; WAVE] = std::array::from_fn(|at| &filtered[at * (row_bytes + 1)..(at + 1) * (row_bytes + 1)]);
            let filters = raw.map(|row| row[0]);
            // What has no such filter is done as quickly row by row.
            if filters.iter().any(|filter| (AVERAGE..=PAETH).contains(filter)) && filters.iter().all(|filter| *filter <= PAETH) {
                let (above, out) = done.split_at_mut(row_bytes);
                wave(avx2, filters, raw.map(|row| &row[1..]), above, &mut out[..WAVE * row_bytes], pixel_bytes);
                filtered = &filtered[WAVE * (row_bytes + 1)..];
                done = &mut done[WAVE * row_bytes..];
                continue;
            }
        }
        let (above, out) = done.split_at_mut(row_bytes);
        row(filtered[0], &filtered[1..=row_bytes], pixel_bytes, above, &mut out[..row_bytes])?;
        filtered = &filtered[row_bytes + 1..];
        done = &mut done[row_bytes..];
    }
    Ok(())
}

/// One row under another.
fn row(filter: u8, raw: &[u8], pixel_bytes: usize, above: &[u8], out: &mut [u8]) -> Result<(), Fault> {
    if filter > PAETH {
        return Err(Fault::Malformed("a row has a filter that there is not"));
    }
    let pixels = out.len() / pixel_bytes;
    match pixel_bytes {
        1 => part::<1>(filter, raw, above, out, 0..pixels),
        2 => part::<2>(filter, raw, above, out, 0..pixels),
        3 => part::<3>(filter, raw, above, out, 0..pixels),
        4 => part::<4>(filter, raw, above, out, 0..pixels),
        6 => part::<6>(filter, raw, above, out, 0..pixels),
        8 => part::<8>(filter, raw, above, out, 0..pixels),
        _ => return Err(Fault::Malformed("its pixels are of a size that there is not")),
    }
    Ok(())
}

/// Some pixels of a row; those before them are done.
#[inline(always)]
fn part<const N: usize>(filter: u8, raw: &[u8], above: &[u8], out: &mut [u8], pixels: std::ops::Range<usize>) {
    let bytes = pixels.start * N..pixels.end * N;
    if bytes.is_empty() {
        return;
    }
    let left = pixels.start.checked_sub(1);
    let (mut a, mut c) = ([0; N], [0; N]);
    if let Some(left) = left {
        a = *out[left * N..].first_chunk().expect("it is done");
        c = *above[left * N..].first_chunk().expect("rows are as long");
    }
    let (raw, above, out) = (&raw[bytes.clone()], &above[bytes.clone()], &mut out[bytes]);
    let (raw, above, out) = (raw.as_chunks::<N>().0, above.as_chunks::<N>().0, out.as_chunks_mut::<N>().0);
    match filter {
        SUB => {
            for (to, from) in out.iter_mut().zip(raw) {
                a = std::array::from_fn(|at| from[at].wrapping_add(a[at]));
                *to = a;
            }
        }
        UP => {
            for ((to, from), b) in out.as_flattened_mut().iter_mut().zip(raw.as_flattened()).zip(above.as_flattened()) {
                *to = from.wrapping_add(*b);
            }
        }
        AVERAGE => {
            for ((to, from), b) in out.iter_mut().zip(raw).zip(above) {
                a = std::array::from_fn(|at| from[at].wrapping_add(u16::midpoint(u16::from(a[at]), u16::from(b[at])) as u8));
                *to = a;
            }
        }
        PAETH => {
            for ((to, from), b) in out.iter_mut().zip(raw).zip(above) {
                a = std::array::from_fn(|at| from[at].wrapping_add(paeth(a[at], b[at], c[at])));
                c = *b;
                *to = a;
            }
        }
        _ => out.as_flattened_mut().copy_from_slice(raw.as_flattened()),
    }
}

/// Of left, above and both the one nearest to `a + b - c` (clause 9.4).
#[inline(always)]
fn paeth(a: u8, b: u8, c: u8) -> u8 {
    let (to_a, to_b) = (i16::from(b) - i16::from(c), i16::from(a) - i16::from(c));
    let (pa, pb, pc) = (to_a.abs(), to_b.abs(), (to_a + to_b).abs());
    let near = if pb <= pc { b } else { c };
    if pa <= pb && pa <= pc { a } else { near }
}

/// Four rows, the corners of the wave in plain code.
fn wave(avx2: simd::Avx2, filters: [u8; WAVE], raw: [&[u8]; WAVE], above: &[u8], out: &mut [u8], pixel_bytes: usize) {
    match pixel_bytes {
        1 => wave_of::<1>(avx2, filters, raw, above, out),
        2 => wave_of::<2>(avx2, filters, raw, above, out),
        3 => wave_of::<3>(avx2, filters, raw, above, out),
        _ => wave_of::<4>(avx2, filters, raw, above, out),
    }
}

fn wave_of<const N: usize>(avx2: simd::Avx2, filters: [u8; WAVE], raw: [&[u8]; WAVE], above: &[u8], out: &mut [u8]) {
    let pixels = above.len() / N;
    let (first, rest) = out.split_at_mut(above.len());
    let (second, rest) = rest.split_at_mut(above.len());
    let (third, fourth) = rest.split_at_mut(above.len());
    // Row `r` is `2 r` pixels behind the first: the vectors begin where it has 6 - 2 r, and end where the first has but one left.
    part::<N>(filters[0], raw[0], above, first, 0..6);
    part::<N>(filters[1], raw[1], first, second, 0..4);
    part::<N>(filters[2], raw[2], second, third, 0..2);
    avx2.wave::<N>(filters, raw, above, [first, second, third, fourth]);
    part::<N>(filters[0], raw[0], above, first, pixels - 1..pixels);
    part::<N>(filters[1], raw[1], first, second, pixels - 3..pixels);
    part::<N>(filters[2], raw[2], second, third, pixels - 5..pixels);
    part::<N>(filters[3], raw[3], third, fourth, pixels - 7..pixels);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(400)))]

        /// Four rows at once are four rows one by one.
        #[test]
        fn waves_are_what_rows_are(pixel_bytes in 1..=4_usize, pixels in 16..70_usize, filters in prop::array::uniform8(0..5_u8),
            bytes in prop::collection::vec(any::<u8>(), 9 * 70 * 4), mild: bool) {
            let row_bytes = pixels * pixel_bytes;
            let bytes: Vec<u8> = bytes.iter().map(|&byte| if mild { byte % 5 } else { byte }).collect();
            let mut filtered = Vec::new();
            for (filter, row) in filters.iter().zip(bytes[row_bytes..].chunks(row_bytes)) {
                filtered.push(*filter);
                filtered.extend_from_slice(row);
            }
            let done = [&bytes[..row_bytes], &vec![0; 8 * row_bytes][..]].concat();
            let (mut plain, mut vectors) = (done.clone(), done);
            simd::PLAIN.set(true);
            rows(&filtered, pixel_bytes, row_bytes, &mut plain).unwrap();
            simd::PLAIN.set(false);
            rows(&filtered, pixel_bytes, row_bytes, &mut vectors).unwrap();
            prop_assert!(plain == vectors);
        }
    }

    #[test]
    fn the_predictor_is_that_of_the_standard() {
        for (a, b, c) in
            (0..=255).step_by(5).flat_map(|a| (0..=255).step_by(3).flat_map(move |b| (0..=255).step_by(7).map(move |c| (a, b, c))))
        {
            let p = i32::from(a) + i32::from(b) - i32::from(c);
            let nearest = [a, b, c].into_iter().min_by_key(|&byte: &u8| (p - i32::from(byte)).abs());
            assert_eq!(Some(paeth(a, b, c)), nearest);
        }
    }
}
