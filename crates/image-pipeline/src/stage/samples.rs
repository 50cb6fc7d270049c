//! Pictures for the tests of the stages, made in code.

use crate::{
    pixels::{Layout, Pixels},
    stage::chroma,
    watch::Watch,
};
use proptest::prelude::*;

/// A picture whose bytes are `byte(x, y, channel)`.
pub(crate) fn picture(width_px: u32, height_px: u32, layout: Layout, byte: impl Fn(u32, u32, usize) -> u8) -> Pixels {
    let mut bytes = Vec::new();
    for y in 0..height_px {
        for x in 0..width_px {
            bytes.extend((0..layout.channels()).map(|channel| byte(x, y, channel)));
        }
    }
    Pixels::new(width_px, height_px, layout, bytes).expect("as many bytes as pixels ask for")
}

/// Reproducible noise.
pub(crate) fn noise(width_px: u32, height_px: u32, layout: Layout, seed: u64) -> Pixels {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let count = Pixels::byte_count(width_px, height_px, layout).expect("small");
    let bytes = (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    Pixels::new(width_px, height_px, layout, bytes).expect("as many bytes as pixels ask for")
}

/// The bytes of one pixel.
pub(crate) fn at(pixels: &Pixels, x: u32, y: u32) -> &[u8] {
    let channels = pixels.layout.channels();
    let start = y as usize * pixels.stride() + x as usize * channels;
    &pixels.bytes[start..start + channels]
}

/// Small pictures of noise, both layouts.
pub(crate) fn pictures(max_side: u32) -> impl Strategy<Value = Pixels> {
    (1..=max_side, 1..=max_side, any::<bool>(), any::<u64>())
        .prop_map(|(width, height, alpha, seed)| noise(width, height, if alpha { Layout::Rgba8 } else { Layout::Rgb8 }, seed))
}

/// Largest difference of two bytes in the same place.
pub(crate) fn max_difference(one: &Pixels, other: &Pixels) -> u8 {
    assert_eq!((one.width_px, one.height_px, one.layout), (other.width_px, other.height_px, other.layout));
    one.bytes.iter().zip(&other.bytes).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

/// In red, green and blue.
pub(crate) fn to_rgb(pixels: &Pixels) -> Pixels {
    chroma::to_rgb(pixels, Watch::NEVER).expect("nobody ends it")
}

/// With chroma of half the sides.
pub(crate) fn halve(pixels: &Pixels) -> Pixels {
    chroma::halve(pixels, Watch::NEVER).expect("nobody ends it")
}
