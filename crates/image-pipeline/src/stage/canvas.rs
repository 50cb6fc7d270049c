//! A picture on a larger ground: paddings, borders, what fills a box up. Places are the caller's.

use super::geometry::Rect;
use crate::{
    pixels::{Layout, Pixels, Shape},
    spec::Rgb,
};

/// What a picture is once it lies on a ground of these sides: with alpha if that is transparent.
pub(crate) fn laid(shape: Shape, width_px: u32, height_px: u32, colour: Option<Rgb>) -> Shape {
    let layout = if colour.is_none() { Layout::Rgba8 } else { shape.layout };
    Shape { width_px, height_px, layout }
}

/// Lays a picture of red, green, blue and perhaps alpha on a ground, its top left pixel at `left_px`, `top_px`. The ground is nowhere smaller;
/// `None` makes it transparent. `None` is returned where the result passes the address space.
pub(crate) fn lay(pixels: &Pixels, ground: Rect, colour: Option<Rgb>) -> Option<Pixels> {
    let mut result = Pixels::blank(laid(pixels.shape(), ground.width_px, ground.height_px, colour))?;
    if let Some(Rgb([r, g, b])) = colour {
        match result.layout {
            Layout::Rgba8 => result.bytes.as_chunks_mut::<4>().0.fill([r, g, b, 255]),
            _ => result.bytes.as_chunks_mut::<3>().0.fill([r, g, b]),
        }
    }
    let (from_channels, to_channels) = (pixels.layout.channels(), result.layout.channels());
    let to_stride = result.stride();
    let start = ground.top_px as usize * to_stride + ground.left_px as usize * to_channels;
    for (from, to) in pixels.bytes.chunks_exact(pixels.stride()).zip(result.bytes[start..].chunks_mut(to_stride)) {
        if from_channels == to_channels {
            to[..from.len()].copy_from_slice(from);
        } else {
            for (from, to) in from.as_chunks::<3>().0.iter().zip(to.as_chunks_mut::<4>().0) {
                *to = [from[0], from[1], from[2], 255];
            }
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, pictures};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_picture_lies_there_and_the_ground_is_round_it(
            pixels in pictures(12), gaps in proptest::array::uniform4(0_u32..5), colour in proptest::option::of(any::<[u8; 3]>()),
        ) {
            let [left_px, top_px, right, bottom] = gaps;
            let ground = Rect { left_px, top_px, width_px: pixels.width_px + left_px + right, height_px: pixels.height_px + top_px + bottom };
            let result = lay(&pixels, ground, colour.map(Rgb)).expect("small");
            prop_assert_eq!(result.shape(), laid(pixels.shape(), ground.width_px, ground.height_px, colour.map(Rgb)));
            for y in 0..result.height_px {
                for x in 0..result.width_px {
                    let inside = x >= left_px && y >= top_px && x < left_px + pixels.width_px && y < top_px + pixels.height_px;
                    let mut wanted = match (inside, colour) {
                        (true, _) => at(&pixels, x - left_px, y - top_px).to_vec(),
                        (false, Some(colour)) => colour.to_vec(),
                        (false, None) => vec![0; 4],
                    };
                    if wanted.len() < result.layout.channels() {
                        wanted.push(255);
                    }
                    prop_assert_eq!(at(&result, x, y), &wanted[..]);
                }
            }
        }
    }
}
