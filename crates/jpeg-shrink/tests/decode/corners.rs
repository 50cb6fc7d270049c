//! Leaving out the corners of blocks at 1/2: what it changes, and what it does not.

use jpeg_encoder::{ColorType, Encoder};
use jpeg_shrink::{Corners, Decoder, Options, Scale};

const SIDE: u16 = 200;

fn picture(value: impl Fn(u32, u32) -> u8) -> [Vec<u8>; 2] {
    let pixels: Vec<u8> = (0..u32::from(SIDE).pow(2)).map(|at| value(at % u32::from(SIDE), at / u32::from(SIDE))).collect();
    [false, true].map(|progressive| {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 95);
        encoder.set_progressive(progressive);
        encoder.encode(&pixels, SIDE, SIDE, ColorType::Luma).unwrap();
        bytes
    })
}

fn decode(bytes: &[u8], scale: Scale, corners: Corners) -> Vec<u8> {
    let mut decoder = Decoder::new(bytes, Options { corners, ..Options::new(scale) }).unwrap();
    let mut pixels = vec![0; decoder.output_bytes()];
    decoder.decode_into(&mut pixels).unwrap();
    pixels
}

fn noise(x: u32, y: u32) -> u8 {
    let mixed = (x.wrapping_mul(0x9E37_79B9) ^ y.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0xC2B2_AE35);
    (mixed >> 24) as u8
}

#[test]
fn one_direction_keeps_all_it_has() {
    for bytes in picture(|x, _| noise(x, 0)) {
        assert_eq!(decode(&bytes, Scale::Half, Corners::LeaveOut), decode(&bytes, Scale::Half, Corners::Read));
    }
}

#[test]
fn other_scales_have_no_corners() {
    for bytes in picture(noise) {
        for scale in [Scale::Full, Scale::Quarter, Scale::Eighth] {
            assert_eq!(decode(&bytes, scale, Corners::LeaveOut), decode(&bytes, scale, Corners::Read), "{scale:?}");
        }
    }
}

#[test]
fn both_codings_lose_the_same_of_noise_and_a_few_levels_only() {
    let [sequential, progressive] = picture(noise);
    let rounded = decode(&sequential, Scale::Half, Corners::LeaveOut);
    assert_eq!(rounded, decode(&progressive, Scale::Half, Corners::LeaveOut));
    let whole = decode(&sequential, Scale::Half, Corners::Read);
    let loss = whole.iter().zip(&rounded).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>() / whole.len() as f64;
    let all = whole.iter().map(|&value| (f64::from(value) - 128.0).powi(2)).sum::<f64>() / whole.len() as f64;
    // Noise has as much of each frequency: three of sixteen, one of them DC.
    assert!(loss > 0.1 * all && loss < 0.3 * all, "{loss} of {all}");
}
