//! What is refused, with what text, and that nothing is written then.

use crate::fixture::plane;
use jpeg_write::{Error, MAX_SEGMENT_BYTES, Options, Picture, Plane, Sampling, Segment, encode, encode_while};
use std::cell::Cell;

fn refused(picture: &Picture<'_>, options: &Options<'_>) -> Error {
    let mut out = vec![1, 2, 3];
    let error = encode(picture, options, &mut out).expect_err("a refusal");
    assert_eq!(out, [1, 2, 3]);
    error
}

#[test]
fn what_cannot_be_written_is_refused() {
    let options = Options::new(80);
    let bytes = vec![0; 3 * 65536];
    let text = |picture: Picture<'_>| refused(&picture, &options).to_string();
    assert_eq!(text(Picture::Grey(plane(&bytes, 0, 5))), "picture is 0 x 5 pixels, a side can have 1 to 65535");
    assert_eq!(
        text(Picture::Rgb { bytes: &bytes, width_px: 65536, height_px: 1 }),
        "picture is 65536 x 1 pixels, a side can have 1 to 65535"
    );
    assert_eq!(
        text(Picture::Rgba { bytes: &bytes, width_px: u32::MAX, height_px: u32::MAX }),
        "picture is 4294967295 x 4294967295 pixels, a side can have 1 to 65535"
    );
    assert_eq!(text(Picture::Rgb { bytes: &bytes[..11], width_px: 2, height_px: 2 }), "picture has 11 bytes, its sides need 12");
    assert_eq!(text(Picture::Rgba { bytes: &bytes[..15], width_px: 2, height_px: 2 }), "picture has 15 bytes, its sides need 16");
    assert_eq!(text(Picture::Grey(plane(&bytes[..3], 2, 2))), "picture has 3 bytes, its sides need 4");
    let short = Plane { samples: &bytes, stride: 7, width_px: 8, height_px: 8 };
    assert_eq!(text(Picture::Grey(short)), "stride is 7 bytes, a row needs 8");
    let wide = Plane { samples: &bytes, stride: usize::MAX, width_px: 8, height_px: 3 };
    assert_eq!(refused(&Picture::Grey(wide), &options), Error::TooFewBytes { found: bytes.len(), needed: usize::MAX });
}

#[test]
fn chroma_fits_luma() {
    let bytes = [0; 400];
    let options = Options::new(80);
    let of = |blue, red| Picture::YCbCr { luma: plane(&bytes, 9, 7), blue, red };
    let error = refused(&of(plane(&bytes, 4, 4), plane(&bytes, 4, 4)), &options);
    assert_eq!(error.to_string(), "chroma is 4 x 4 and 4 x 4 samples, allowed are 9 x 7 or 5 x 4 for both");
    let differing = of(plane(&bytes, 5, 4), plane(&bytes, 9, 7));
    assert_eq!(refused(&differing, &options), Error::Chroma { luma_px: (9, 7), blue_px: (5, 4), red_px: (9, 7) });
    let empty = of(plane(&bytes, 5, 4), plane(&bytes[..19], 5, 4));
    assert_eq!(refused(&empty, &options), Error::TooFewBytes { found: 19, needed: 20 });
    encode(&of(plane(&bytes, 5, 4), plane(&bytes, 5, 4)), &options, &mut Vec::new()).unwrap();
}

#[test]
fn options_are_checked() {
    let picture = Picture::Grey(plane(&[0; 64], 8, 8));
    assert_eq!(refused(&picture, &Options::new(0)).to_string(), "quality is 0, allowed are 1 to 100");
    assert_eq!(refused(&picture, &Options::new(101)), Error::Quality(101));
    let long = vec![0; MAX_SEGMENT_BYTES + 1];
    let with = |segment: &[Segment<'_>]| refused(&picture, &Options { segments: segment, sampling: Sampling::Full, ..Options::new(80) });
    assert_eq!(
        with(&[Segment { number: 2, bytes: &long }]).to_string(),
        "segment APP2 has 65534 bytes, allowed are APP0 to APP15 and 65533 bytes"
    );
    assert_eq!(with(&[Segment { number: 16, bytes: &[] }]), Error::Segment { number: 16, bytes: 0 });
}

/// Asked once a row of MCUs at least, in every pass; given up at whichever question, nothing is left behind; otherwise the bytes are the same.
#[test]
fn a_picture_can_be_given_up_all_along() {
    let (width_px, height_px) = (640, 400);
    let mut state = 1_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    let noise: Vec<u8> = (0..3 * 640 * 400).map(|_| next()).collect();
    let picture = Picture::Rgb { bytes: &noise, width_px, height_px };
    for (progressive, quality, passes) in [(false, 80, 1), (false, 100, 2), (true, 80, 2), (true, 100, 2)] {
        let options = Options { progressive, ..Options::new(quality) };
        let (mut plain, mut asked) = (Vec::new(), Vec::new());
        encode(&picture, &options, &mut plain).expect("writes");
        let questions = Cell::new(0_u32);
        let count = || {
            questions.set(questions.get() + 1);
            true
        };
        encode_while(&picture, &options, &mut asked, &count).expect("writes");
        assert_eq!(plain, asked);
        let all = questions.get();
        let mcu_rows = height_px.div_ceil(if options.sampling == Sampling::Half { 16 } else { 8 });
        assert!(all >= passes * mcu_rows, "{all} questions, {progressive} {quality}");
        for last in [0, 1, mcu_rows, all / 2, all - 1] {
            questions.set(0);
            let until = || {
                questions.set(questions.get() + 1);
                questions.get() <= last
            };
            let mut out = vec![1, 2, 3];
            assert_eq!(encode_while(&picture, &options, &mut out, &until), Err(Error::Interrupted), "after {last} of {all}");
            assert_eq!((&out[..], questions.get()), (&[1, 2, 3][..], last + 1));
        }
    }
}
