//! Cuts a rectangle out, in the buffer it is in.

use super::geometry::Rect;
use crate::pixels::Pixels;

/// Keeps only the pixels of `rect`, which is first confined to the picture. The buffer is reused; its capacity is given back.
pub(crate) fn crop(mut pixels: Pixels, rect: Rect) -> Pixels {
    let rect = rect.confined_to(pixels.width_px, pixels.height_px);
    if (rect.width_px, rect.height_px) == (pixels.width_px, pixels.height_px) {
        return pixels;
    }
    let channels = pixels.layout.channels();
    let (stride, row_bytes) = (pixels.stride(), rect.width_px as usize * channels);
    for row in 0..rect.height_px as usize {
        let start = (rect.top_px as usize + row) * stride + rect.left_px as usize * channels;
        pixels.bytes.copy_within(start..start + row_bytes, row * row_bytes);
    }
    pixels.bytes.truncate(row_bytes * rect.height_px as usize);
    pixels.bytes.shrink_to_fit();
    Pixels { width_px: rect.width_px, height_px: rect.height_px, ..pixels }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, pictures};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_the_pixels_of_the_rectangle(pixels in pictures(20), left in 0_u32..20, top in 0_u32..20, width in 1_u32..20, height in 1_u32..20) {
            let rect = Rect { left_px: left, top_px: top, width_px: width, height_px: height };
            let cut = crop(pixels.clone(), rect);
            let rect = rect.confined_to(pixels.width_px, pixels.height_px);
            prop_assert_eq!((cut.width_px, cut.height_px), (rect.width_px, rect.height_px));
            prop_assert_eq!(Some(cut.bytes.len()), Pixels::byte_count(cut.width_px, cut.height_px, cut.layout));
            for y in 0..cut.height_px {
                for x in 0..cut.width_px {
                    prop_assert_eq!(at(&cut, x, y), at(&pixels, rect.left_px + x, rect.top_px + y));
                }
            }
        }
    }
}
