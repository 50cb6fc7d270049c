//! One picture, many files: however its coefficients are written, its pixels are the same, at every size.
//!
//! The files are the [`writer`](crate::writer)'s, so here stand the manners that encoders do not have: odd factors, a scan for each
//! component, refinements of every kind, 16-bit quantisers, a late height, fill bytes.

use crate::{
    agreement::{SCALES, decode},
    chance::by_chance,
    twin,
    writer::{Codes, Manner, Picture, Scan, Sign, jpeg, quantisers},
};
use jpeg_shrink::{Chroma, Decoder, ErrorKind, Layout, Options, Scale};
use proptest::prelude::*;

type Factors = &'static [(usize, usize)];

pub(crate) const FACTORS: [(&str, Factors); 19] = [
    ("grey", &[(1, 1)]),
    ("4:4:4", &[(1, 1), (1, 1), (1, 1)]),
    ("4:4:4 by 2x2", &[(2, 2), (2, 2), (2, 2)]),
    ("4:2:2", &[(2, 1), (1, 1), (1, 1)]),
    ("4:2:2 by 2x2", &[(2, 2), (1, 2), (1, 2)]),
    ("4:4:0", &[(1, 2), (1, 1), (1, 1)]),
    ("4:2:0", &[(2, 2), (1, 1), (1, 1)]),
    ("4:1:1", &[(4, 1), (1, 1), (1, 1)]),
    ("4:1:0", &[(4, 2), (1, 1), (1, 1)]),
    ("1x4", &[(1, 4), (1, 1), (1, 1)]),
    ("3x1", &[(3, 1), (1, 1), (1, 1)]),
    ("1x3", &[(1, 3), (1, 1), (1, 1)]),
    ("3x2 and 2x1", &[(3, 2), (2, 1), (1, 1)]),
    ("4x4 and 3x3", &[(4, 4), (3, 3), (1, 1)]),
    ("2x2, 2x1, 1x2", &[(2, 2), (2, 1), (1, 2)]),
    ("chroma larger", &[(1, 1), (2, 2), (2, 2)]),
    ("none largest", &[(1, 2), (2, 1), (1, 1)]),
    ("four", &[(1, 1), (1, 1), (1, 1), (1, 1)]),
    ("four, 2x2", &[(2, 2), (1, 1), (1, 1), (2, 2)]),
];

/// The manner others are compared with: all in one scan where an MCU may have so many blocks.
pub(crate) fn plainly(factors: Factors) -> Manner {
    let blocks: usize = factors.iter().map(|factor| factor.0 * factor.1).sum();
    if blocks <= 10 { Manner::plain(factors.len()) } else { Manner::apart(factors.len()) }
}

/// Every scan split into scans of one component: for factors that have too many blocks for an MCU.
pub(crate) fn take_apart(manner: &mut Manner) {
    let alone = |scan: &Scan, part: usize| Scan { parts: vec![part], ..scan.clone() };
    manner.scans = manner.scans.iter().flat_map(|scan| scan.parts.iter().map(move |&part| alone(scan, part))).collect();
}

fn at_all_scales(file: &[u8]) -> [Vec<u8>; 4] {
    with_chroma(file, Chroma::Large)
}

fn with_chroma(file: &[u8], chroma: Chroma) -> [Vec<u8>; 4] {
    SCALES.map(|scale| decode(file, Options { chroma, ..Options::new(scale) }).0)
}

/// Worst and root-mean-square error against the slow twin.
pub(crate) fn against_twin(name: &str, file: &[u8], scale: Scale) -> (f64, f64) {
    let (got, width, height, layout) = decode(file, Options::new(scale));
    let (want, twin_width, twin_height, channels) = twin::decode(file, scale.eighths() as usize);
    assert_eq!((width as usize, height as usize, layout.channels()), (twin_width, twin_height, channels), "{name} {scale:?}");
    assert_eq!(got.len(), want.len());
    let errors = got.iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs());
    let (worst, sum) = errors.fold((0f64, 0f64), |(worst, sum), error| (worst.max(error), sum + error * error));
    (worst, (sum / want.len() as f64).sqrt())
}

fn assert_near_twin(name: &str, file: &[u8], scale: Scale) {
    let (worst, mean) = against_twin(name, file, scale);
    // The mean of a few samples says nothing.
    let most = if file.len() < 2000 { 1.5 } else { 0.8 };
    assert!(worst <= 3.0 && mean <= most, "{name} at {scale:?}: worst error {worst}, root mean square {mean}");
}

#[test]
fn all_factors_agree_with_the_twin_in_every_manner() {
    let mut files = 0;
    for (name, factors) in FACTORS {
        for (number, size) in [(97, 75), (33, 17), (1, 1), (5, 90)].into_iter().enumerate() {
            let picture = by_chance(size, factors, quantisers(2, 1), 3, 7 + number as u64);
            let plain = plainly(factors);
            let parts = factors.len();
            let file = jpeg(&picture, &plain);
            for scale in SCALES {
                assert_near_twin(&format!("{name} {size:?}"), &file, scale);
            }
            let want = at_all_scales(&file);
            let mut manners = vec![
                Manner::apart(parts),
                Manner { codes: Codes::Steep, ..plain.clone() },
                Manner { restart: 1, ..plain.clone() },
                Manner { restart: 3, fill: true, ..Manner::apart(parts) },
                Manner { wide: true, late: true, ..plain.clone() },
                Manner { late: true, fill: true, ..Manner::apart(parts) },
            ];
            for choice in [0, 0b0_1010_1111, 0b1_1000_0101, 0x7ff, 0x1234] {
                let mut manner = Manner::progressive(parts, choice);
                if plain.scans.len() > 1 {
                    take_apart(&mut manner);
                }
                manners.extend([Manner { restart: 2, codes: Codes::Steep, ..manner.clone() }, manner]);
            }
            if parts == 3 {
                // Two components together and one alone, the last first.
                let whole = |parts: &[usize]| Scan { parts: parts.to_vec(), first: 0, last: 63, high: 0, low: 0 };
                let pair: usize = factors[..2].iter().map(|factor| factor.0 * factor.1).sum();
                if pair <= 10 {
                    manners.push(Manner { scans: vec![whole(&[2]), whole(&[0, 1])], ..plain.clone() });
                }
            }
            for manner in &manners {
                let other = jpeg(&picture, manner);
                assert!(at_all_scales(&other) == want, "{name} {size:?} {manner:?}");
                files += 1;
            }
        }
    }
    assert_eq!(files, 4 * (19 * 16 + 15));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_script_changes_a_pixel(
        which in 0..FACTORS.len(),
        size in (1usize..70, 1usize..70),
        choice in any::<u32>(),
        (restart, busy, seed) in (0u16..6, 0u32..=8, any::<u64>()),
        (steep, small) in any::<(bool, bool)>(),
    ) {
        let (_, factors) = FACTORS[which];
        let picture = by_chance(size, factors, quantisers(1, 0), busy, seed);
        let plain = plainly(factors);
        let mut manner = Manner::progressive(factors.len(), choice);
        if plain.scans.len() > 1 {
            take_apart(&mut manner);
        }
        manner.restart = restart;
        manner.codes = if steep { Codes::Steep } else { Codes::Flat };
        let chroma = if small { Chroma::Small } else { Chroma::Large };
        prop_assert!(with_chroma(&jpeg(&picture, &manner), chroma) == with_chroma(&jpeg(&picture, &plain), chroma));
    }
}

/// Values above 255 are what 16 bits are for.
#[test]
fn quantisers_of_sixteen_bits_weigh() {
    let mut tables = quantisers(3, 0);
    tables[0][1] = 700;
    tables[1][2] = 256;
    let picture = Picture::new((40, 24), &[(1, 1), (1, 1), (1, 1)], tables, |_, x, _| {
        let mut block = [0; 64];
        block[..3].copy_from_slice(&[20, x as i16 % 2, 1]);
        block
    });
    let file = jpeg(&picture, &Manner { wide: true, ..Manner::plain(3) });
    let header = jpeg_shrink::probe(&file).unwrap();
    assert_eq!((header.width_px, header.height_px), (40, 24));
    for scale in SCALES {
        assert_near_twin("wide", &file, scale);
    }
}

#[test]
fn sides_may_be_65535_long() {
    for (name, factors) in [FACTORS[0], FACTORS[6], FACTORS[7]] {
        for size in [(65_535, 5), (3, 65_535)] {
            let picture = by_chance(size, factors, quantisers(4, 2), 1, 3);
            let file = jpeg(&picture, &plainly(factors));
            for scale in SCALES {
                let (_, width, height, _) = decode(&file, Options::new(scale));
                assert_eq!((width, height), (scale.of(size.0 as u32), scale.of(size.1 as u32)));
            }
            assert_near_twin(name, &file, Scale::Eighth);
            assert_near_twin(name, &file, Scale::Quarter);
            let apart = jpeg(&picture, &Manner::apart(factors.len()));
            assert!(at_all_scales(&apart) == at_all_scales(&file), "{name} {size:?}");
        }
    }
}

/// Narrow pictures have MCUs that lie mostly outside, and scans of one component leave those blocks out: a file may be much shorter
/// than a bit for each of them.
#[test]
fn flat_narrow_pictures_are_not_too_short() {
    for factors in [FACTORS[6].1, FACTORS[13].1] {
        let picture = Picture::new((8, 65_535), factors, quantisers(1, 0), |_, _, _| [0; 64]);
        let mut manner = Manner::progressive(3, 0b1_0000);
        assert!(manner.scans.iter().all(|scan| scan.parts.len() == 1));
        manner.codes = Codes::Steep;
        for file in [jpeg(&picture, &manner), jpeg(&picture, &Manner { codes: Codes::Steep, ..Manner::apart(3) })] {
            for scale in SCALES {
                let (pixels, ..) = decode(&file, Options::new(scale));
                assert!(pixels.iter().all(|&value| value == 128));
            }
        }
    }
}

/// Adobe's transform decides where no JFIF segment does; four components are inks.
#[test]
fn signs_decide_on_colour() {
    let layout = |parts: usize, sign: Sign| {
        let factors = vec![(1, 1); parts];
        let picture = by_chance((16, 16), &factors, quantisers(2, 1), 3, 1);
        let file = jpeg(&picture, &Manner { sign, ..Manner::plain(parts) });
        assert_near_twin("sign", &file, Scale::Half);
        let decoder = Decoder::new(&file, Options::new(Scale::Half)).unwrap();
        (decoder.layout(), decoder.header().colour)
    };
    use jpeg_shrink::ColourModel::{Cmyk, Grey, Rgb, YCbCr, Ycck};
    assert_eq!(layout(1, Sign::Adobe(0)), (Layout::Grey8, Grey));
    assert_eq!(layout(3, Sign::None), (Layout::Rgb8, YCbCr));
    assert_eq!(layout(3, Sign::Jfif), (Layout::Rgb8, YCbCr));
    assert_eq!(layout(3, Sign::Adobe(1)), (Layout::Rgb8, YCbCr));
    assert_eq!(layout(3, Sign::Adobe(0)), (Layout::Rgb8, Rgb));
    assert_eq!(layout(4, Sign::None), (Layout::Cmyk8, Cmyk));
    assert_eq!(layout(4, Sign::Adobe(0)), (Layout::Cmyk8, Cmyk));
    assert_eq!(layout(4, Sign::Adobe(2)), (Layout::Cmyk8, Ycck));
}

/// Long enough for every way of reading ahead there is: more than 400 KB in one scan. Many blocks end without an end code (busy) or
/// are very short (calm).
fn large() -> Vec<(String, Factors, Picture, Codes)> {
    let mut all = Vec::new();
    for (name, factors) in [0, 1, 3, 5, 6, 7, 14].map(|which| FACTORS[which]) {
        let busy = if factors.len() == 1 { (1480, 1160) } else { (740, 1160) };
        all.push((format!("{name}, busy"), factors, by_chance(busy, factors, quantisers(1, 0), 6, 11), Codes::Steep));
        if factors == FACTORS[6].1 {
            all.push((format!("{name}, calm"), factors, by_chance((2500, 2300), factors, quantisers(2, 1), 1, 12), Codes::Flat));
        }
    }
    all
}

#[test]
fn large_pictures_agree_with_the_twin_and_with_other_writings() {
    for (name, factors, picture, codes) in large() {
        let manner = Manner { codes, ..Manner::plain(factors.len()) };
        let file = jpeg(&picture, &manner);
        assert!(file.len() > 400_000, "{name} has {} bytes", file.len());
        let want = at_all_scales(&file);
        for scale in [Scale::Eighth, Scale::Quarter] {
            assert_near_twin(&name, &file, scale);
        }
        let other_codes = if codes == Codes::Flat { Codes::Steep } else { Codes::Flat };
        for other in [Manner::apart(factors.len()), Manner { restart: 61, ..manner.clone() }, Manner { codes: other_codes, ..manner }] {
            assert!(at_all_scales(&jpeg(&picture, &other)) == want, "{name} {other:?}");
        }
    }
}

/// What a lenient decoder shows of a large picture that is cut or damaged is that picture, as far as it was whole.
#[test]
fn large_pictures_are_shown_up_to_their_fault() {
    for (name, factors, picture, codes) in large().into_iter().filter(|(name, ..)| name.contains("busy")) {
        let file = jpeg(&picture, &Manner { codes, ..Manner::plain(factors.len()) });
        for scale in SCALES {
            let options = Options { lenient: true, ..Options::new(scale) };
            let (whole, ..) = decode(&file, options);
            for eighths in [1, 3, 5, 7] {
                let cut = &file[..file.len() * eighths / 8];
                let mut decoder = Decoder::new(cut, options).unwrap();
                let (row_bytes, height) = (decoder.row_bytes(), decoder.height_px() as usize);
                let mut pixels = vec![0; decoder.output_bytes()];
                let outcome = decoder.decode_into(&mut pixels).unwrap();
                assert_eq!(outcome.fault.map(|fault| fault.kind()), Some(ErrorKind::Truncated), "{name} {scale:?}");
                let rows = outcome.rows as usize;
                assert!(rows > height * (eighths - 1) / 8 && rows < height, "{name} {scale:?} {eighths}/8: {rows} of {height} rows");
                // The last row read may be blended with its missing neighbour.
                assert!(pixels[..(rows - 1) * row_bytes] == whole[..(rows - 1) * row_bytes], "{name} {scale:?} {eighths}/8");
                let strict = Decoder::new(cut, Options::new(scale)).and_then(|mut decoder| decoder.decode_into(&mut pixels));
                assert_eq!(strict.map_err(|error| error.kind()), Err(ErrorKind::Truncated));
            }
        }
    }
}
