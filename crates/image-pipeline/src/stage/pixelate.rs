//! Square blocks of one colour each: the mean of the block, colours weighted with their alpha.

use crate::{
    error::Error,
    pixels::{Layout, Pixels},
    watch::{Watch, band_rows},
};

/// Replaces each block of `block_px` x `block_px` pixels by its mean; blocks at the right and the bottom may be smaller. 0 and 1 do nothing.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn pixelate(pixels: &mut Pixels, block_px: u32, watch: Watch<'_>) -> Result<(), Error> {
    if block_px < 2 {
        return Ok(());
    }
    match pixels.layout {
        Layout::Rgba8 => pixelate_channels::<4>(pixels, block_px as usize, watch),
        Layout::Grey8 => pixelate_channels::<1>(pixels, block_px as usize, watch),
        // Planes of luma and chroma are made red, green and blue before.
        _ => pixelate_channels::<3>(pixels, block_px as usize, watch),
    }
}

fn pixelate_channels<const C: usize>(pixels: &mut Pixels, block: usize, watch: Watch<'_>) -> Result<(), Error> {
    let width = pixels.width_px as usize;
    let rows_a_look = band_rows(width * C);
    let (all, _) = pixels.bytes.as_chunks_mut::<C>();
    // One set of sums for each block across; a u64 holds 2^32 pixels of 255 * 255.
    let mut sums = vec![[0_u64; C]; width.div_ceil(block)];
    for band in all.chunks_mut(width.saturating_mul(block)) {
        sums.fill([0; C]);
        for rows in band.chunks(width * rows_a_look) {
            watch.check("pixelate")?;
            for row in rows.chunks_exact(width) {
                for (pixels, sum) in row.chunks(block).zip(&mut sums) {
                    for pixel in pixels {
                        let weight = if C == 4 { u64::from(pixel[3]) } else { 1 };
                        for channel in 0..C.min(3) {
                            sum[channel] += u64::from(pixel[channel]) * weight;
                        }
                        if C == 4 {
                            sum[3] += weight;
                        }
                    }
                }
            }
        }
        let rows = band.len() / width;
        let mean_of = |(index, sum): (usize, &[u64; C])| -> [u8; C] {
            let count = (rows * block.min(width - index * block)) as u64;
            std::array::from_fn(|channel| {
                let weight = if C == 4 && channel < 3 { sum[3] } else { count };
                // A mean of bytes is a byte; a block that is all transparent is black and transparent.
                (sum[channel] + weight / 2).checked_div(weight).unwrap_or(0).min(255) as u8
            })
        };
        let means: Vec<[u8; C]> = sums.iter().enumerate().map(mean_of).collect();
        for rows in band.chunks_mut(width * rows_a_look) {
            watch.check("pixelate")?;
            for row in rows.chunks_exact_mut(width) {
                row.chunks_mut(block).zip(&means).for_each(|(pixels, mean)| pixels.fill(*mean));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, noise, pictures};
    use super::*;
    use proptest::prelude::*;

    fn pixelate(pixels: &mut Pixels, block_px: u32) {
        super::pixelate(pixels, block_px, Watch::NEVER).expect("nobody ends it");
    }

    #[test]
    fn grey_is_one_channel_of_colour() {
        let grey = noise(23, 17, Layout::Grey8, 5);
        let mut colour = super::super::samples::to_rgb(&grey);
        let mut alone = grey;
        pixelate(&mut alone, 5);
        pixelate(&mut colour, 5);
        assert_eq!(super::super::samples::to_rgb(&alone), colour);
    }

    proptest! {
        #[test]
        fn each_pixel_is_the_mean_of_its_block(pixels in pictures(20), block in 0_u32..30) {
            let mut fast = pixels.clone();
            pixelate(&mut fast, block);
            let block = block.max(1);
            for y in 0..pixels.height_px {
                for x in 0..pixels.width_px {
                    let (left, top) = (x / block * block, y / block * block);
                    let members: Vec<&[u8]> = (top..(top + block).min(pixels.height_px))
                        .flat_map(|y| (left..(left + block).min(pixels.width_px)).map(move |x| (x, y)))
                        .map(|(x, y)| at(&pixels, x, y))
                        .collect();
                    let opacity: f64 = members.iter().map(|pixel| f64::from(*pixel.get(3).unwrap_or(&1))).sum();
                    for channel in 0..pixels.layout.channels() {
                        let mean = if block == 1 {
                            f64::from(at(&pixels, x, y)[channel])
                        } else if channel == 3 {
                            opacity / members.len() as f64
                        } else if opacity > 0.0 {
                            members.iter().map(|pixel| f64::from(pixel[channel]) * f64::from(*pixel.get(3).unwrap_or(&1))).sum::<f64>() / opacity
                        } else {
                            0.0
                        };
                        prop_assert!((f64::from(at(&fast, x, y)[channel]) - mean).abs() <= 0.51);
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_larger_than_the_picture() {
        let mut pixels = noise(5, 3, Layout::Rgb8, 9);
        pixelate(&mut pixels, u32::MAX);
        assert!(pixels.bytes.chunks(3).all(|pixel| pixel == &pixels.bytes[..3]));
    }
}
