//! The JPEG decoder against others that share none of its code: the slow twin of its tests at every scale, zune-jpeg at full size.
//!
//! An input is bytes that choose a manner of writing and then the coefficients; the tests' writer makes a file of them that breaks no
//! rule, so a strict decoder must take it. (Fuzzing the files themselves says little here: damaged ones decode differently in any
//! two decoders, and rightly; the target `jpeg` sees those.)
//!
//! What may differ, and is left out or allowed for:
//! - rounding: zune-jpeg's transforms have 12 bits of fraction where ours have 13, its colour conversion fewer than 16: a sample may
//!   be off by 1, a colour by 4; the twin rounds not at all: 3;
//! - chroma stored smaller: zune-jpeg's triangle filter rounds otherwise and stops at the edges of its strips; so where there is
//!   some, colours are not compared but the luma that they give back, which no filter changes (within 3: three colours are rounded),
//!   at pixels where no colour is clipped;
//! - factors other than 1 and 2 with luma's the largest, and files that zune-jpeg refuses;
//! - scans one after another with restart markers: zune-jpeg counts to the next marker across them.
#![no_main]

#[path = "../../crates/jpeg-shrink/tests/decode/twin.rs"]
mod twin;
#[path = "../src/written.rs"]
mod written;

use jpeg_shrink::{Decoder, Layout, Options, Scale};
use libfuzzer_sys::fuzz_target;
use written::{Manner, Written, jpeg, written};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

fn ours(bytes: &[u8], scale: Scale) -> (Vec<u8>, usize, usize, Layout) {
    let mut decoder = Decoder::new(bytes, Options::new(scale)).expect("the file breaks no rule");
    let mut pixels = vec![0; decoder.output_bytes()];
    decoder.decode_into(&mut pixels).expect("the file breaks no rule");
    (pixels, decoder.width_px() as usize, decoder.height_px() as usize, decoder.layout())
}

fn against_zune(bytes: &[u8], factors: &[(usize, usize)]) {
    let (pixels, width, height, layout) = ours(bytes, Scale::Full);
    let colours = if layout == Layout::Grey8 { ColorSpace::Luma } else { ColorSpace::RGB };
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(colours);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let Ok(want) = decoder.decode() else { return };
    assert_eq!(decoder.dimensions(), Some((width, height)));
    assert_eq!(want.len(), pixels.len());
    if factors.iter().all(|factor| *factor == factors[0]) {
        let most = if layout == Layout::Grey8 { 1 } else { 4 };
        for (at, (ours, theirs)) in pixels.iter().zip(&want).enumerate() {
            assert!(ours.abs_diff(*theirs) <= most, "sample {at} is {ours} here, {theirs} there");
        }
        return;
    }
    let luma = |pixel: &[u8]| 0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2]);
    let clipped = |pixel: &[u8]| pixel.iter().any(|&value| value == 0 || value == 255);
    for (at, (ours, theirs)) in pixels.chunks_exact(3).zip(want.chunks_exact(3)).enumerate() {
        let clipped = clipped(ours) || clipped(theirs);
        assert!(clipped || (luma(ours) - luma(theirs)).abs() <= 3.0, "pixel {at} is {ours:?} here, {theirs:?} there");
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else { return };
    let scale = [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full][usize::from(first & 3)];
    let Written { picture, manner } = written(rest, false);
    let factors: Vec<(usize, usize)> = picture.parts.iter().map(|part| (part.h, part.v)).collect();
    let bytes = jpeg(&picture, &manner);
    let (pixels, width, height, layout) = ours(&bytes, scale);
    let (want, twin_width, twin_height, channels) = twin::decode(&bytes, scale.eighths() as usize);
    assert_eq!((width, height, layout.channels()), (twin_width, twin_height, channels));
    assert_eq!(want.len(), pixels.len());
    for (at, (ours, twins)) in pixels.iter().zip(&want).enumerate() {
        assert!((f64::from(*ours) - twins).abs() <= 3.0, "sample {at} is {ours} here, {twins} there");
    }
    let counted_across = manner.restart > 0 && manner.scans.len() > 1;
    // The same picture with all that should change nothing.
    let noisy = Manner { fill: true, late: true, ..manner };
    assert!(ours(&jpeg(&picture, &noisy), scale).0 == pixels, "fill bytes or a late height change pixels");
    let largest = factors[0];
    let common = factors.iter().all(|factor| factor.0.max(factor.1) <= 2 && factor.0 <= largest.0 && factor.1 <= largest.1);
    if factors.len() < 4 && common && !counted_across {
        against_zune(&bytes, &factors);
    }
});
