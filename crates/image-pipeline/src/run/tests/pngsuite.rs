//! PngSuite from bytes to a variant: the good ones against a second decoder, their gamma against the formula; the broken ones refused.
//!
//! Invariant: nothing of ours computes what is wanted. The `image` crate decodes, and knows nothing of gAMA; what a value becomes is written out here.

use super::*;
use crate::codec::tests::corpus;

/// Body of the first chunk of this kind.
fn chunk<'b>(png: &'b [u8], wanted: &[u8; 4]) -> Option<&'b [u8]> {
    let mut rest = &png[8..];
    while let Some((&[a, b, c, d, ref kind @ ..], body)) = rest.split_first_chunk::<8>() {
        let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
        if kind == wanted {
            return body.get(..bytes);
        }
        rest = body.get(bytes + 4..)?;
    }
    None
}

/// PNG (third edition, 11.3.2.1): light is the value to the power of one over gAMA; IEC 61966-2-1 stores it. A gamma within 5 % of 1/2.2 is
/// sRGB's own curve (record 0037).
fn as_srgb(value: u8, gamma: Option<f64>) -> f64 {
    let stored = f64::from(value) / 255.0;
    let Some(gamma) = gamma.filter(|gamma| (gamma * 2.2 - 1.0).abs() > 0.05) else { return f64::from(value) };
    let light = stored.powf(1.0 / gamma);
    let shown = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    shown * 255.0
}

#[test]
fn the_good_ones_are_as_a_second_decoder_has_them_and_the_bad_ones_refused() {
    let Some(files) = corpus("img-pngsuite") else { return };
    let (mut equal, mut bent, mut refused, mut worst) = (0, 0, 0, (0.0_f64, String::new()));
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".png")) {
        if name.starts_with('x') {
            let failed = process(bytes, &["f:png"], &Limits::default());
            let is_refused = match failed {
                Err(error) => matches!(error.kind(), ErrorKind::Malformed | ErrorKind::Truncated | ErrorKind::Unsupported),
                Ok((outcomes, ..)) => outcomes.iter().all(|outcome| outcome.result.is_err()),
            };
            assert!(is_refused, "{name} became a picture");
            refused += 1;
            continue;
        }
        assert!([b"iCCP", b"sRGB", b"cICP"].iter().all(|kind| chunk(bytes, kind).is_none()), "{name}: more than gamma counts");
        let gamma = chunk(bytes, b"gAMA").map(|body| f64::from(u32::from_be_bytes(*body.first_chunk().unwrap())) / 100_000.0);
        let reference = image::load_from_memory(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_deep = reference.color().bytes_per_pixel() > reference.color().channel_count();
        let made = one(bytes, "f:png");
        let ours = image::load_from_memory(&made.bytes).unwrap().into_rgba8();
        let reference = reference.into_rgba8();
        assert_eq!(ours.dimensions(), reference.dimensions(), "{name}");
        // 16 bits are rounded to 8 on either side, and then bent: where the curve is steep a step becomes several.
        for (found, wanted) in ours.pixels().zip(reference.pixels()) {
            assert_eq!(found[3], wanted[3], "{name}: alpha");
            if wanted[3] == 0 {
                continue;
            }
            for channel in 0..3 {
                let stored = wanted[channel];
                let nearest = |value: u8| (as_srgb(value, gamma) - f64::from(found[channel])).abs();
                let steps = if is_deep { stored.saturating_sub(1)..=stored.saturating_add(1) } else { stored..=stored };
                let apart = steps.map(nearest).fold(f64::MAX, f64::min);
                if apart > worst.0 {
                    worst = (apart, name.clone());
                }
                let bound = if gamma.is_none() { 0.0 } else { 1.01 };
                assert!(apart <= bound, "{name}: {stored} became {}, wanted {:.2}", found[channel], as_srgb(stored, gamma));
            }
        }
        if gamma.is_some() { bent += 1 } else { equal += 1 }
    }
    println!("PngSuite: {equal} without gamma equal, {bent} with it off by {} at most ({}), {refused} refused", worst.0, worst.1);
    assert_eq!((equal + bent, equal, refused), (162, 18, 14));
}
