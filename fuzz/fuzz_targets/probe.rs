//! Headers: whatever the bytes are, they are read or refused in words, what is read is within the limits, and a head slice says nothing
//! else than the whole.
#![no_main]

use image_pipeline::{ErrorKind, Limits, probe};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

fuzz_target!(|input: &[u8]| {
    let limits = Limits { max_pixels: 1_000_000, max_frames: 50, ..Limits::default() };
    let whole = probe(&mut Cursor::new(input), &limits);
    match &whole {
        Ok(found) => {
            assert!(found.width_px > 0 && found.height_px > 0 && found.pixels() <= limits.max_pixels, "{found:?}");
            assert!(found.frames.is_none_or(|frames| (1..=limits.max_frames).contains(&frames)), "{found:?}");
            let (width_px, height_px) = found.display_size();
            assert_eq!(u64::from(width_px) * u64::from(height_px), found.pixels());
        }
        Err(error) => assert_ne!(error.kind(), ErrorKind::Internal, "{error}"),
    }
    let head = &input[..input.len() / 2];
    if let (Ok(of_head), Ok(whole)) = (probe(&mut Cursor::new(head), &limits), &whole) {
        assert_eq!((of_head.format, of_head.width_px, of_head.height_px), (whole.format, whole.width_px, whole.height_px));
    }
});
