//! Sums of a plane weighted with products of cosines, as both hashes are made of. Separable: rows first, then columns.

use std::f64::consts::PI;

/// Means of `plane` (rows of `width`, `plane.len() / width` of them) times `cos(pi * cx * (x + shift) / width) * cos(pi * cy * (y + shift)
/// / height)` for `cx` below `across` and `cy` below `down`: row by row, `across * down` of them.
pub(super) fn means(plane: &[f64], width: usize, (across, down): (usize, usize), shift: f64) -> Vec<f64> {
    let height = plane.len() / width;
    let along = table(across, width, shift);
    let mut rows = vec![0.0; height * across];
    for (row, sums) in plane.chunks_exact(width).zip(rows.chunks_exact_mut(across)) {
        for (sum, cosines) in sums.iter_mut().zip(along.chunks_exact(width)) {
            *sum = row.iter().zip(cosines).map(|(value, cosine)| value * cosine).sum();
        }
    }
    let below = table(down, height, shift);
    let mut means = Vec::with_capacity(across * down);
    for cosines in below.chunks_exact(height) {
        for cx in 0..across {
            let sum: f64 = cosines.iter().zip(rows.chunks_exact(across)).map(|(cosine, sums)| cosine * sums[cx]).sum();
            means.push(sum / plane.len() as f64);
        }
    }
    means
}

fn table(count: usize, length: usize, shift: f64) -> Vec<f64> {
    let cosine = |frequency: usize, at: usize| (PI * frequency as f64 * (at as f64 + shift) / length as f64).cos();
    (0..count).flat_map(|frequency| (0..length).map(move |at| cosine(frequency, at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_the_slow_twin() {
        let (width, height) = (7, 5);
        let plane: Vec<f64> = (0..width * height).map(|at| ((at * 37) % 11) as f64 / 11.0).collect();
        for shift in [0.0, 0.5] {
            let got = means(&plane, width, (4, 3), shift);
            for cy in 0..3 {
                for cx in 0..4 {
                    let mut want = 0.0;
                    for y in 0..height {
                        for x in 0..width {
                            let across = (PI * cx as f64 * (x as f64 + shift) / width as f64).cos();
                            let down = (PI * cy as f64 * (y as f64 + shift) / height as f64).cos();
                            want += plane[y * width + x] * across * down;
                        }
                    }
                    want /= (width * height) as f64;
                    assert!((got[cy * 4 + cx] - want).abs() < 1e-12, "{cx} {cy} {shift}");
                }
            }
        }
    }
}
