//! JPEG XL from a file of 247 bytes: bare, in boxes, in pieces, cut and broken.

use crate::{
    codec::{
        Frames, Plays,
        tests::{no_broken_byte_is_our_fault, read},
    },
    error::ErrorKind,
    limits::Limits,
    pixels::Layout,
    probe::{Format, Probe, probe, sniff},
};
use std::io::Cursor;

/// Five by three pixels, written losslessly by libjxl 0.11 (`effort` 1) from red `50 x`, green `80 y`, blue `30 x y`.
const CODESTREAM: &str = "\
    ff0a1050100908020100ac034b189b9c71840338800338204ac0390501002044800810012240e4f9f7eff9efa1b1e65aebde7b779224090155555555 \
    55d5ffffff73efebeeeeee86fff7eff9efa131e79c6bed736f922409015555555555d5ffffff73efebeeeeee86fff7eff9efa131e79c6bed736f9224 \
    09015555555555d5ffffff73efebeeeeee86fff7eff9efa131e79c6bed736f922409015555555555d5ffffff73efebeeeeeebe403c00eee49dbc93cf \
    9527e473e54e3e8e4f96c7f1c9f238dec93be93edec7fbf8003d1f1fa0db79023d3e0feee3fd00b93ff0f8b88f37febc78d01ec73b7e7feef81dc7cc \
    42112c84220433";

/// An animation of three frames of six by four pixels, for 40, 70 and 110 ms, for ever, written losslessly by libjxl 0.7 (`effort` 1): red `40 x`,
/// green `60 y`, blue `80 n`, transparent where `x + y + n` is a multiple of three.
const ANIMATION: &str = "\
    ff0a1840c100161497040808200a00000c014b12a5428524d6c0e23600802392007f004444c46544445c4644c465444478f0e0c183070000383f3f3f \
    3fff083e828fc07cebe79b6ffd7cebad9f6ffdfcf5f3ad9f0f0808a01100002c014b12a5428524d6a0e2441a008025d58f3e7007e0414444bc8c8888 \
    971111f1322222feffc2850b172e0000f0fbf3f3f3f3f30fc187e04330dffaf9d65b3fdffaf9ebe75b3fdf7cebe75b0f0808a05b00002c014b12a542 \
    8524d6a0e2241c008025447c51ee003c888888cb8888b88c8888cb8888f8ff0f1e3c78f0000080df3f3f3f3f3fff107c083e04f3d7cfb77efefaf9d6 \
    cf37dffaf9d65b3fdffaf9";

fn codestream() -> Vec<u8> {
    of_digits(CODESTREAM)
}

fn of_digits(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits"))
        .collect()
}

fn wanted() -> Vec<u8> {
    (0..15_u32).flat_map(|at| [at % 5 * 50, at / 5 * 80, at % 5 * (at / 5) * 30].map(|value| value as u8)).collect()
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

fn container(boxes: &[Vec<u8>]) -> Vec<u8> {
    [boxed(b"JXL ", b"\r\n\x87\n"), boxed(b"ftyp", b"jxl \0\0\0\0jxl "), boxed(b"Exif", &[0; 40]), boxes.concat()].concat()
}

/// As it is, in one box, in three.
fn forms() -> [Vec<u8>; 3] {
    let bare = codestream();
    let piece = |number: u32, range: std::ops::Range<usize>| boxed(b"jxlp", &[&number.to_be_bytes()[..], &bare[range]].concat());
    let pieces = [piece(0, 0..7), piece(1, 7..100), piece(0x8000_0002, 100..bare.len())];
    [bare.clone(), container(&[boxed(b"jxlc", &bare)]), container(&pieces)]
}

fn probed(bytes: &[u8]) -> Probe {
    probe(&mut Cursor::new(bytes), &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn all_forms_hold_the_same_picture() {
    for bytes in forms() {
        assert_eq!(sniff(&bytes), Some(Format::Jxl));
        let found = probed(&bytes);
        assert_eq!((found.width_px, found.height_px, found.bits, found.channels, found.frames), (5, 3, 8, 3, Some(1)));
        let pixels = read(&bytes).unwrap_or_else(|error| panic!("{error}")).pixels;
        assert_eq!((pixels.layout, pixels.bytes), (Layout::Rgb8, wanted()));
    }
}

#[test]
fn cut_and_broken_files_are_errors() {
    for bytes in forms() {
        for end in 16..bytes.len() {
            if let Err(error) = read(&bytes[..end]) {
                assert!(matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Malformed), "cut at {end}: {error}");
            } else {
                // The last bits of the entropy coder may be zeros that nobody needs.
                assert!(end + 4 > bytes.len(), "cut at {end} of {}", bytes.len());
            }
        }
        no_broken_byte_is_our_fault(&bytes);
    }
    // 2^30 by 2^30 pixels.
    let huge = [&[0xff, 0x0a, 0xfe, 0xff, 0xff, 0xff, 0xf1, 0xff, 0xff, 0xff, 0x0f][..], &[0; 20]].concat();
    assert_eq!(probe(&mut Cursor::new(huge), &Limits::default()).unwrap_err().kind(), ErrorKind::TooManyPixels);
}

#[test]
fn every_frame_of_an_animation_is_read_with_its_delay() {
    let bare = of_digits(ANIMATION);
    for bytes in [bare.clone(), container(&[boxed(b"jxlc", &bare)])] {
        let found = probed(&bytes);
        assert_eq!((found.display_size(), found.frames, found.has_alpha), ((6, 4), Some(3), true));
        let mut frames = Frames::open(&found, &bytes, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(frames.plays, Plays::FOREVER);
        for (number, delay_ms) in [40, 70, 110].into_iter().enumerate() {
            let frame = frames.next().unwrap_or_else(|error| panic!("{error}")).expect("a frame");
            assert_eq!(frame.delay_ms, delay_ms);
            for (at, pixel) in frame.rgba.as_chunks::<4>().0.iter().enumerate() {
                let (x, y) = (at % 6, at / 6);
                let alpha = if (x + y + number) % 3 > 0 { 255 } else { 0 };
                assert_eq!(pixel[3], alpha, "frame {number}, {x}, {y}");
                assert!(
                    alpha == 0 || pixel[..3] == [40 * x, 60 * y, 80 * number].map(|value| value as u8),
                    "frame {number}, {x}, {y}: {pixel:?}"
                );
            }
        }
        assert!(frames.next().unwrap_or_else(|error| panic!("{error}")).is_none());
        assert_eq!(read(&bytes).unwrap_or_else(|error| panic!("{error}")).pixels.bytes[4..8], [40, 0, 0, 255]);
    }
}

#[test]
fn a_cut_or_broken_animation_is_an_error_in_its_frame() {
    let bytes = of_digits(ANIMATION);
    let found = probed(&bytes);
    let walk = |bytes: &[u8]| -> Result<usize, ErrorKind> {
        let mut frames = Frames::open(&found, bytes, &Limits::default()).map_err(|error| error.kind())?;
        let mut count = 0;
        while frames.next().map_err(|error| error.kind())?.is_some() {
            count += 1;
        }
        Ok(count)
    };
    assert_eq!(walk(&bytes), Ok(3));
    for end in 16..bytes.len() - 4 {
        assert!(matches!(walk(&bytes[..end]), Err(ErrorKind::Truncated | ErrorKind::Malformed)), "cut at {end}");
    }
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 0x10;
        assert!(!matches!(walk(&broken), Err(ErrorKind::Internal)), "byte {at}");
    }
}
