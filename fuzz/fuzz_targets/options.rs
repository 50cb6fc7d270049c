//! The option grammar: what is parsed has a canonical text, and that text means the same.
#![no_main]

use image_pipeline::{Presets, Spec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let presets = Presets::builtin();
    let Ok(spec) = Spec::parse(text, &presets) else { return };
    let canonical = spec.canonical();
    let again = Spec::parse(&canonical, &presets).unwrap_or_else(|error| panic!("{text:?} -> {canonical:?}: {error}"));
    assert_eq!(again, spec, "{text:?} -> {canonical:?}");
    assert_eq!(again.canonical(), canonical, "{text:?}");
});
