//! Median: each value becomes the middle one of a square window around it; edges go on with their last pixel.
//!
//! A window of 3 is sorted by minima and maxima over whole rows (`network`); larger ones are counted in histograms that slide along, one a column and one
//! for the window, so that the time does not grow with the window (Perreault and Hébert: Median Filtering in Constant Time, 2007). Colours
//! are weighted with their alpha while they are compared, so that what cannot be seen does not show.

use super::premultiplied;
use crate::{
    error::Error,
    pixels::{Layout, Pixels},
    watch::Watch,
};

mod network;

/// Result columns that are worked on at a time: their histograms stay in the second-level cache.
const STRIPE_PX: usize = 256;
/// Rows of a stripe between two looks at the watch: a pixel takes ten to twenty nanoseconds.
const ROWS_A_LOOK: usize = 64;

/// In errors.
const STAGE: &str = "median";

/// Coarse counts of 16 values each, then fine ones.
type Histogram = [u16; 16 + 256];

/// Takes the median of windows of `window_px`, at most 255; 0 and 1 do nothing. A window of an even side reaches one further to the left and up.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn median(pixels: &mut Pixels, window_px: u32, watch: Watch<'_>) -> Result<(), Error> {
    if window_px < 2 {
        return Ok(());
    }
    if pixels.layout == Layout::Rgba8 {
        premultiplied::multiply(pixels, STAGE, watch)?;
    }
    if window_px == 3 {
        network::median_of_nine(pixels, watch)?;
    } else {
        let source = pixels.clone();
        for channel in 0..pixels.layout.channels() {
            count(&source, pixels, channel, window_px.min(255) as usize, watch)?;
        }
    }
    if pixels.layout == Layout::Rgba8 {
        premultiplied::divide(pixels, STAGE, watch)?;
    }
    Ok(())
}

/// Most bytes held beside a picture of these sides and channels.
pub(crate) fn scratch_bytes(width_px: u32, picture_bytes: u64, channels: usize, window_px: u32) -> u64 {
    match window_px {
        0 | 1 => 0,
        3 => network::scratch_bytes(width_px, channels),
        window => picture_bytes + (STRIPE_PX as u64 + 2 + u64::from(window)) * size_of::<Histogram>() as u64,
    }
}

fn add(to: &mut Histogram, value: u8) {
    to[usize::from(value >> 4)] += 1;
    to[16 + usize::from(value)] += 1;
}

fn remove(from: &mut Histogram, value: u8) {
    from[usize::from(value >> 4)] -= 1;
    from[16 + usize::from(value)] -= 1;
}

/// The value that `rank` others are before.
fn value_at(histogram: &Histogram, rank: u16) -> u8 {
    let (coarse, fine) = histogram.split_at(16);
    let (mut below, mut group) = (0, 0);
    while below + coarse[group] <= rank {
        below += coarse[group];
        group += 1;
    }
    let mut value = group * 16;
    while below + fine[value] <= rank {
        below += fine[value];
        value += 1;
    }
    // All counts together are more than the rank, so it is reached before their end.
    value as u8
}

fn count(source: &Pixels, target: &mut Pixels, channel: usize, window: usize, watch: Watch<'_>) -> Result<(), Error> {
    let channels = source.layout.channels();
    let (width, height) = (source.width_px as usize, source.height_px as usize);
    let at = |x: usize, y: usize| source.bytes[(y * width + x) * channels + channel];
    let (before, after) = (window / 2, window - 1 - window / 2);
    let rank = (window * window / 2) as u16;
    let row_at = |y: isize| y.clamp(0, height as isize - 1) as usize;
    for left in (0..width).step_by(STRIPE_PX) {
        let right = (left + STRIPE_PX).min(width);
        let (first, end) = (left.saturating_sub(before), (right + after).min(width));
        let mut columns: Vec<Histogram> = vec![[0; 16 + 256]; end - first];
        for (x, column) in (first..end).zip(&mut columns) {
            for dy in 0..window {
                add(column, at(x, row_at(dy as isize - before as isize)));
            }
        }
        for y in 0..height {
            if y.is_multiple_of(ROWS_A_LOOK) {
                watch.check(STAGE)?;
            }
            if y > 0 {
                let (gone, new) = (row_at(y as isize - 1 - before as isize), row_at((y + after) as isize));
                for (x, column) in (first..end).zip(&mut columns) {
                    remove(column, at(x, gone));
                    add(column, at(x, new));
                }
            }
            let column = |x: isize| &columns[x.clamp(first as isize, end as isize - 1) as usize - first];
            let mut sum: Histogram = [0; 16 + 256];
            for dx in 0..window {
                sum.iter_mut().zip(column(left as isize + dx as isize - before as isize)).for_each(|(sum, count)| *sum += count);
            }
            for x in left..right {
                target.bytes[(y * width + x) * channels + channel] = value_at(&sum, rank);
                let (gone, new) = (column(x as isize - before as isize), column((x + 1 + after) as isize));
                for ((sum, gone), new) in sum.iter_mut().zip(gone).zip(new) {
                    // Counts stay below 2^16 only in the end.
                    *sum = sum.wrapping_add(*new).wrapping_sub(*gone);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, noise, picture, pictures};
    use super::*;
    use crate::simd;
    use proptest::prelude::*;

    fn median(pixels: &mut Pixels, window_px: u32) {
        super::median(pixels, window_px, Watch::NEVER).expect("nobody ends it");
    }

    /// The slow twin: sorted, one pixel after the other.
    fn slow(pixels: &Pixels, window: u32) -> Pixels {
        let mut source = pixels.clone();
        if source.layout == Layout::Rgba8 {
            premultiplied::multiply(&mut source, STAGE, Watch::NEVER).expect("nobody ends it");
        }
        let before = (window / 2) as i64;
        let side = |at: i64, sides: u32| at.clamp(0, i64::from(sides) - 1) as u32;
        let mut result = picture(pixels.width_px, pixels.height_px, pixels.layout, |x, y, channel| {
            let mut values: Vec<u8> = (0..i64::from(window))
                .flat_map(|dy| (0..i64::from(window)).map(move |dx| (dx, dy)))
                .map(|(dx, dy)| {
                    let (x, y) = (side(i64::from(x) + dx - before, source.width_px), side(i64::from(y) + dy - before, source.height_px));
                    at(&source, x, y)[channel]
                })
                .collect();
            values.sort_unstable();
            values[values.len() / 2]
        });
        if result.layout == Layout::Rgba8 {
            premultiplied::divide(&mut result, STAGE, Watch::NEVER).expect("nobody ends it");
        }
        result
    }

    #[test]
    fn a_speck_goes_and_an_edge_stays() {
        let mut pixels = picture(40, 20, Layout::Rgb8, |x, y, _| match (x, y) {
            (5, 5) => 255,
            (..20, _) => 30,
            _ => 200,
        });
        let clean = picture(40, 20, Layout::Rgb8, |x, _, _| if x < 20 { 30 } else { 200 });
        for window in [3, 5, 7] {
            let mut filtered = pixels.clone();
            median(&mut filtered, window);
            assert_eq!(filtered, clean, "window {window}");
        }
        let before = pixels.clone();
        median(&mut pixels, 1);
        assert_eq!(pixels, before);
    }

    #[test]
    fn wider_than_a_stripe_and_smaller_than_the_window() {
        for (width, height, window) in [(600, 3, 5), (259, 4, 3), (3, 2, 21), (1, 1, 99), (257, 1, 4)] {
            let pixels = noise(width, height, Layout::Grey8, 5);
            let mut fast = pixels.clone();
            median(&mut fast, window);
            assert_eq!(fast, slow(&pixels, window), "{width}x{height} {window}");
        }
    }

    #[test]
    fn hidden_colours_do_not_show() {
        let mut pixels = picture(12, 12, Layout::Rgba8, |x, _, channel| match (channel, x < 6) {
            (0, true) | (1, false) => 255,
            (3, true) => 255,
            _ => 0,
        });
        median(&mut pixels, 3);
        assert!(pixels.bytes.chunks(4).all(|pixel| pixel[3] == 0 || pixel[1] == 0), "green was under alpha 0");
    }

    proptest! {
        #[test]
        fn agrees_with_sorting(pixels in pictures(20), window in 2_u32..=9) {
            let mut fast = pixels.clone();
            median(&mut fast, window);
            prop_assert_eq!(fast, slow(&pixels, window));
        }

        #[test]
        fn is_the_same_with_vectors_and_without(pixels in pictures(70)) {
            let (mut fast, mut plain) = (pixels.clone(), pixels);
            median(&mut fast, 3);
            simd::PLAIN.set(true);
            median(&mut plain, 3);
            simd::PLAIN.set(false);
            prop_assert!(fast == plain);
        }
    }
}
