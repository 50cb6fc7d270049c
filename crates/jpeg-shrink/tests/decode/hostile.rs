//! Broken input: flips, cuts, bombs. Never a panic; strict decoders refuse, lenient ones say how far they came.

use crate::{agreement::SCALES, pictures, writer::segment};
use jpeg_encoder::{ColorType, SamplingFactor};
use jpeg_shrink::{Decoder, ErrorKind, Limits, Options, Outcome, Refinement, Scale};
use proptest::prelude::*;
use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

fn decode(bytes: &[u8], options: Options) -> Result<(Vec<u8>, Outcome), jpeg_shrink::Error> {
    let mut decoder = Decoder::new(bytes, options)?;
    let mut pixels = vec![0; decoder.output_bytes()];
    let outcome = decoder.decode_into(&mut pixels)?;
    Ok((pixels, outcome))
}

/// A few of each kind, small.
static PICTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut pictures: Vec<Vec<u8>> = pictures::FIXTURES.iter().map(|(_, bytes)| bytes.to_vec()).collect();
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2] {
        for (restart, optimised, progressive) in [(0, false, false), (4, false, false), (0, true, false), (0, true, true)] {
            let manner = pictures::Manner { restart, optimised, progressive, ..pictures::Manner::plain(sampling) };
            pictures.push(pictures::jpeg(83, 61, ColorType::Rgb, manner));
        }
    }
    pictures
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn flips_never_panic(
        picture in 0usize..12,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        scale in 0usize..4,
        lenient in any::<bool>(),
        coarse in any::<bool>(),
    ) {
        let mut bytes = PICTURES[picture].clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        let refinement = if coarse { Refinement::LeaveOut } else { Refinement::Read };
        // A flipped size may be a large one.
        let options = Options { lenient, refinement, ..Options::new(SCALES[scale]) };
        let options = Options { limits: jpeg_shrink::Limits { max_pixels: 1 << 20, ..options.limits }, ..options };
        match decode(&bytes, options) {
            Ok((_, outcome)) => prop_assert!(lenient || outcome.fault.is_none()),
            Err(error) => prop_assert!(error.position() <= bytes.len()),
        }
    }

    #[test]
    fn cuts_are_refused_or_told(picture in 0usize..12, cut in any::<prop::sample::Index>(), scale in 0usize..4) {
        let bytes = &PICTURES[picture];
        let cut = cut.index(bytes.len() - 4);
        let options = Options::new(SCALES[scale]);
        let strict = decode(&bytes[..cut], options);
        prop_assert_eq!(strict.err().map(|error| error.kind()), Some(ErrorKind::Truncated));
        if let Ok((_, outcome)) = decode(&bytes[..cut], Options { lenient: true, ..options }) {
            prop_assert_eq!(outcome.fault.map(|fault| fault.kind()), Some(ErrorKind::Truncated));
        }
    }
}

#[test]
fn a_lenient_decoder_returns_the_rows_it_read() {
    let bytes = pictures::jpeg(83, 200, ColorType::Rgb, pictures::Manner::plain(SamplingFactor::F_2_2));
    for scale in SCALES {
        let options = Options { lenient: true, ..Options::new(scale) };
        let (whole, outcome) = decode(&bytes, options).unwrap();
        assert_eq!(outcome.fault, None);
        let (part, outcome) = decode(&bytes[..bytes.len() * 2 / 3], options).unwrap();
        assert_eq!(outcome.fault.unwrap().kind(), ErrorKind::Truncated);
        let rows = outcome.rows as usize;
        let row_bytes = Decoder::new(&bytes, options).unwrap().row_bytes();
        let height = whole.len() / row_bytes;
        assert!(rows > height / 3 && rows < height, "{rows} of {height} rows");
        // The last row read may be blended with its missing neighbour.
        assert!(part[..(rows - 1) * row_bytes] == whole[..(rows - 1) * row_bytes]);
        assert!(part[rows * row_bytes..].iter().all(|&value| value == 0));
    }
}

#[test]
fn a_lenient_decoder_shows_a_progressive_picture_without_its_last_scans() {
    let (_, bytes) = pictures::FIXTURES[2];
    let options = Options { lenient: true, ..Options::new(Scale::Full) };
    let (whole, _) = decode(bytes, options).unwrap();
    let (part, outcome) = decode(&bytes[..bytes.len() * 3 / 4], options).unwrap();
    assert_eq!(outcome.rows, 93);
    assert_eq!(outcome.fault.unwrap().kind(), ErrorKind::Truncated);
    let sum: f64 = whole.iter().zip(&part).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    let decibels = 10.0 * (255.0 * 255.0 / (sum / whole.len() as f64)).log10();
    assert!(decibels > 24.0 && decibels < 60.0, "{decibels:.1} dB");
}

/// Many scans over many blocks in few bytes: each band scan of a bomb is one run over nothing.
#[test]
fn scan_bombs_end() {
    let (_, bytes) = pictures::FIXTURES[3];
    let last_scan = bytes.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    let mut bomb = bytes[..bytes.len() - 2].to_vec();
    for _ in 0..100_000 {
        bomb.extend_from_slice(&bytes[last_scan..last_scan + 12]);
    }
    bomb.extend([0xff, 0xd9]);
    let error = decode(&bomb, Options::new(Scale::Full)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn every_cut_is_told_as_one() {
    let kind = |error: jpeg_shrink::Error| error.kind();
    for (picture, bytes) in PICTURES.iter().enumerate() {
        for cut in 0..bytes.len() - 4 {
            for scale in SCALES {
                let options = Options::new(scale);
                assert_eq!(decode(&bytes[..cut], options).err().map(kind), Some(ErrorKind::Truncated), "{picture} {cut} {scale:?}");
                if let Ok((_, outcome)) = decode(&bytes[..cut], Options { lenient: true, ..options }) {
                    assert_eq!(outcome.fault.map(kind), Some(ErrorKind::Truncated), "{picture} {cut} {scale:?}, lenient");
                }
            }
        }
    }
}

/// A picture of 16384x16384 in half a megabyte, progressive: one bit of DC a block, and scans of nothing but runs of empty blocks.
/// What it costs is counted in blocks, not in bytes or scans.
#[test]
fn runs_of_empty_blocks_are_work() {
    let side = 16_384u16.to_be_bytes();
    let mut bomb = vec![0xff, 0xd8];
    segment(&mut bomb, 0xdb, &[&[0][..], &[1; 64]].concat(), false);
    segment(&mut bomb, 0xc2, &[8, side[0], side[1], side[0], side[1], 1, 1, 0x11, 0], false);
    let one_code = |table: u8, symbol: u8| [&[table, 1][..], &[0; 15], &[symbol]].concat();
    segment(&mut bomb, 0xc4, &one_code(0, 0), false);
    // The only AC code: a run of 2^14 blocks and as many as its 14 bits say.
    segment(&mut bomb, 0xc4, &one_code(0x10, 0xe0), false);
    segment(&mut bomb, 0xda, &[1, 1, 0, 0, 0, 0], false);
    bomb.extend(std::iter::repeat_n(0, 2048 * 2048 / 8));
    let one_scan = bomb.len();
    let runs = 2048 * 2048 / (1 << 14);
    segment(&mut bomb, 0xda, &[1, 1, 0, 1, 63, 0], false);
    bomb.extend(std::iter::repeat_n(0, runs * 15 / 8));
    let scan = bomb[one_scan..].to_vec();
    for _ in 0..198 {
        bomb.extend_from_slice(&scan);
    }
    bomb.extend([0xff, 0xd9]);
    let blocks = 2048 * 2048;
    let first_row = |scale: Scale, max_work: u64| {
        let options = Options { limits: Limits { max_work, ..Limits::default() }, ..Options::new(scale) };
        let started = Instant::now();
        let mut decoder = Decoder::new(&bomb, options).unwrap();
        let mut row = vec![0; decoder.row_bytes()];
        let end = decoder.read_rows(&mut row).map_err(|error| error.kind());
        (end, started.elapsed())
    };
    // At an eighth only the DC scan is read.
    assert_eq!(first_row(Scale::Eighth, 2 * blocks).0, Ok(1));
    for scale in [Scale::Quarter, Scale::Half] {
        let (end, elapsed) = first_row(scale, 20 * blocks);
        assert_eq!(end, Err(ErrorKind::LimitExceeded));
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    }
}
