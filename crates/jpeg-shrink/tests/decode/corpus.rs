//! Real and broken files from the folder `PIXMILL_CORPUS` names: decoded at every scale, counted, timed; skipped aloud without it.

use crate::agreement::SCALES;
use jpeg_shrink::{Decoder, ErrorKind, Limits, Options, Outcome, Scale, probe};
use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

fn files(folder: &str) -> Option<Vec<PathBuf>> {
    let Some(root) = env::var_os("PIXMILL_CORPUS") else {
        eprintln!("SKIPPED: PIXMILL_CORPUS names no folder, {folder} is not decoded");
        return None;
    };
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("jpg") || end.eq_ignore_ascii_case("jpeg")) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(&root).join(folder), &mut found);
    found.sort();
    Some(found)
}

/// FNV-1a.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn decode(bytes: &[u8], options: Options) -> Result<(Vec<u8>, Outcome), jpeg_shrink::Error> {
    let mut decoder = Decoder::new(bytes, options)?;
    let mut pixels = vec![0; decoder.output_bytes()];
    let outcome = decoder.decode_into(&mut pixels)?;
    Ok((pixels, outcome))
}

/// How a file ends at a scale, strictly and leniently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Pixels from both, the same.
    Whole,
    /// Refused strictly; leniently all rows (progressive, with scans missing) or some.
    AllRows,
    SomeRows,
    NoRow,
    Refused(ErrorKind),
}

/// A decode's time may be this long; one takes a few milliseconds.
const MOST: Duration = Duration::from_secs(2);

fn end(path: &Path, bytes: &[u8], scale: Scale) -> End {
    let decode = |lenient: bool| {
        let start = Instant::now();
        let limits = Limits { max_pixels: 1 << 27, max_memory_bytes: 256 << 20, ..Limits::default() };
        let decoded = decode(bytes, Options { lenient, limits, ..Options::new(scale) });
        assert!(start.elapsed() < MOST, "{} at {scale:?} took {:?}", path.display(), start.elapsed());
        decoded
    };
    match (decode(false), decode(true)) {
        (Ok((strict, _)), Ok((lenient, outcome))) => {
            assert_eq!(outcome.fault, None, "{} at {scale:?}", path.display());
            assert!(strict == lenient, "{} at {scale:?}", path.display());
            End::Whole
        }
        (Err(strict), Ok((_, outcome))) => {
            assert!(strict.position() <= bytes.len());
            assert!(outcome.fault.is_some(), "{} at {scale:?}: strictly {strict}, leniently faultless", path.display());
            let height = scale.of(probe(bytes).unwrap().height_px);
            match outcome.rows {
                0 => End::NoRow,
                rows if rows == height => End::AllRows,
                _ => End::SomeRows,
            }
        }
        (Err(strict), Err(lenient)) => {
            assert!(strict.position() <= bytes.len() && lenient.position() <= bytes.len());
            End::Refused(lenient.kind())
        }
        (Ok(_), Err(lenient)) => panic!("{} at {scale:?} decodes strictly, leniently it does not: {lenient}", path.display()),
    }
}

/// Every file of the corpus ends as it should, strictly and leniently, at every scale, each decode within two seconds: counted by how
/// they end. What `djpeg` makes of them is compared by scripts/compare/djpeg.
#[test]
fn every_file_ends_in_good_time() {
    // Whole; leniently all rows, some, none; refused as malformed, truncated, unsupported, too much.
    let folders = [
        ("crash-jpeg-decoder", 111, [8, 43, 11, 7, 26, 6, 8, 2]),
        ("crash-imagetestsuite", 96, [5, 42, 9, 7, 21, 4, 7, 1]),
        ("img-exif-orientation", 18, [18, 0, 0, 0, 0, 0, 0, 0]),
        ("img-polyglot", 17, [13, 2, 0, 0, 0, 0, 2, 0]),
        ("img-avif", 12, [12, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let mut seen = Vec::new();
    for (folder, ..) in folders {
        let Some(files) = files(folder) else { return };
        let mut ends = [0; 8];
        for path in &files {
            let bytes = fs::read(path).unwrap();
            let full = end(path, &bytes, Scale::Full);
            for scale in [Scale::Eighth, Scale::Quarter, Scale::Half] {
                let small = end(path, &bytes, scale);
                // A strict decoder reads less of a file at a smaller scale, and may miss what is wrong in the rest.
                assert!(
                    small == full || matches!(full, End::AllRows | End::SomeRows | End::NoRow),
                    "{}: {full:?}, {small:?}",
                    path.display()
                );
            }
            ends[match full {
                End::Whole => 0,
                End::AllRows => 1,
                End::SomeRows => 2,
                End::NoRow => 3,
                End::Refused(ErrorKind::Malformed) => 4,
                End::Refused(ErrorKind::Truncated) => 5,
                End::Refused(ErrorKind::Unsupported) => 6,
                End::Refused(_) => 7,
            }] += 1;
        }
        seen.push((folder, files.len(), ends));
    }
    eprintln!("files and how they end: {seen:?}");
    assert_eq!(seen, folders);
}

/// Large photos against recorded checksums. Those at full size, and at an eighth but for `craft-beer`, are libjpeg-turbo's own (Pillow
/// 13, `draft`: accurate transform, fancy upsampling), to the last bit; so was found when they were recorded.
#[test]
fn large_photos_are_as_recorded() {
    const RECORDED: [(&str, [u64; 4]); 4] = [
        ("Elephants_5640x3172.jpg", [0xc20b_8781_c72d_9c4d, 0x00e0_370e_170b_bf67, 0xbc45_d0c3_874a_5ed2, 0xd8ed_5b09_f009_8574]),
        ("craft-beer.jpg", [0xdfba_c9de_81d8_1e6b, 0xf301_fc79_af2c_7b82, 0x663d_7638_f8f3_e357, 0xbcfd_3e27_65b8_29a3]),
        ("kleiber-6028x3391-baseline.jpg", [0xe8f0_3f21_4e4a_0709, 0x650f_979b_7e39_fec7, 0x9f4b_823c_7143_e014, 0xfafe_c8bf_9570_5f4e]),
        ("samsung-s7-edge-4032x3024.jpg", [0x5a0a_91f7_c8ff_63fb, 0x36ac_8a87_3cdd_59b4, 0xa6e9_b779_289b_e7b1, 0x343a_36ab_fc61_4c9a]),
    ];
    let Some(files) = files("large-photos") else { return };
    assert_eq!(files.len(), RECORDED.len());
    for (path, (name, recorded)) in files.iter().zip(RECORDED) {
        assert!(path.ends_with(name), "{}", path.display());
        let bytes = fs::read(path).unwrap();
        let sums = SCALES.map(|scale| checksum(&decode(&bytes, Options::new(scale)).unwrap().0));
        assert_eq!(sums, recorded, "{name}");
    }
}
