//! Chains ahead and the serial reader see the same, in whole files and in broken ones.

use super::*;
use crate::options::{Corners, Scale};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Some windows of entropy-coded data each, from smooth (few bits a block) to noise, with one and two pairs of tables.
static PICTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut pictures = Vec::new();
    for (sampling, colour, noise, quality, side) in [
        (SamplingFactor::F_1_1, ColorType::Rgb, 40, 95, 700),
        (SamplingFactor::F_2_2, ColorType::Rgb, 60, 98, 900),
        (SamplingFactor::F_2_1, ColorType::Rgb, 9, 85, 1700),
        (SamplingFactor::F_1_1, ColorType::Luma, 90, 90, 900),
        (SamplingFactor::F_1_1, ColorType::Luma, 2, 60, 3000),
    ] {
        let channels = if colour == ColorType::Luma { 1 } else { 3 };
        let mut state = 0x1234_5678_u32;
        let pixels: Vec<u8> = (0..side * side * channels)
            .map(|at| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let (x, y) = (at / channels % side, at / channels / side);
                let wave = 60.0 * (x as f32 / 40.0).sin() * (y as f32 / 55.0 + (at % channels) as f32).cos();
                (120.0 + wave + (state % noise) as f32) as u8
            })
            .collect();
        for optimised in [false, true] {
            let mut out = Vec::new();
            let mut encoder = Encoder::new(&mut out, quality);
            encoder.set_sampling_factor(sampling);
            encoder.set_optimized_huffman_tables(optimised);
            encoder.encode(&pixels, side as u16, side as u16, colour).unwrap();
            assert!(out.len() > 150 << 10, "{sampling:?} {colour:?}: {} bytes", out.len());
            pictures.push(out);
        }
    }
    pictures
});

/// Rows, and the fault.
fn decoded(bytes: &[u8], options: Options, serial: bool) -> (Vec<u8>, Option<Error>) {
    let input = Input::whole(bytes);
    let mut picture = Picture::new(input, options).unwrap();
    if let (Mode::Streaming(stream), true) = (&mut picture.mode, serial) {
        stream.read_serially();
    }
    let mut pixels = vec![0; picture.row_bytes() * picture.row_count()];
    let fault = picture.read_rows(input, &mut pixels, &|| true).err().or_else(|| picture.fault().cloned());
    (pixels, fault)
}

#[test]
fn looking_ahead_changes_nothing() {
    for (index, bytes) in PICTURES.iter().enumerate() {
        for scale in [Scale::Eighth, Scale::Quarter, Scale::Half] {
            for corners in [Corners::Read, Corners::LeaveOut] {
                let options = Options { corners, ..Options::new(scale) };
                let (got, fault) = decoded(bytes, options, false);
                assert_eq!(fault, None);
                assert!(got == decoded(bytes, options, true).0, "picture {index} {scale:?} {corners:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn nor_does_it_in_what_is_broken(
        picture in 0usize..10,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        lenient in any::<bool>(),
        quarter in any::<bool>(),
    ) {
        let mut bytes = PICTURES[picture].clone();
        // The header stays as it is.
        for (at, value) in flips {
            let at = 1000 + at.index(bytes.len() - 1000);
            bytes[at] ^= value;
        }
        if let Some(cut) = cut {
            bytes.truncate(bytes.len() / 2 + cut.index(bytes.len() / 2));
        }
        let options = Options { lenient, ..Options::new(if quarter { Scale::Quarter } else { Scale::Eighth }) };
        let (got, fault) = decoded(&bytes, options, false);
        let (want, serial_fault) = decoded(&bytes, options, true);
        prop_assert_eq!(fault, serial_fault);
        prop_assert!(got == want);
    }
}
