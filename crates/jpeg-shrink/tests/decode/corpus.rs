//! Real and broken files from the folder `PIXMILL_CORPUS` names: decoded at every scale, counted, timed; skipped aloud without it.

use crate::agreement::SCALES;
use jpeg_shrink::{Decoder, Limits, Options};
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
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn decode(bytes: &[u8], options: Options) -> Result<Vec<u8>, jpeg_shrink::Error> {
    let mut decoder = Decoder::new(bytes, options)?;
    let mut pixels = vec![0; decoder.output_bytes()];
    decoder.decode_into(&mut pixels)?;
    Ok(pixels)
}

/// Broken files end in errors, whole ones in pixels, each in good time (eight decodes of each in 8 s, built without optimisation of
/// the tests). libjpeg-turbo pads nine of the first folder's and seven of the second's with grey and a warning; a strict decoder
/// refuses those.
#[test]
fn crash_files_end() {
    for (folder, files_wanted, whole_wanted) in
        [("crash-jpeg-decoder", 111, 8), ("crash-imagetestsuite", 96, 5), ("img-exif-orientation", 18, 18)]
    {
        let Some(files) = files(folder) else { return };
        let mut whole = 0;
        for path in &files {
            let bytes = fs::read(path).unwrap();
            let start = Instant::now();
            let mut decoded = Vec::new();
            for lenient in [false, true] {
                for scale in SCALES {
                    let limits = Limits { max_pixels: 1 << 27, ..Limits::default() };
                    let result = decode(&bytes, Options { lenient, limits, ..Options::new(scale) });
                    if !lenient {
                        decoded.push(result.is_ok());
                    }
                }
            }
            whole += usize::from(decoded[3]);
            assert!(start.elapsed() < Duration::from_secs(8), "{} took {:?}", path.display(), start.elapsed());
        }
        eprintln!("{folder}: {} files, {whole} decode", files.len());
        assert_eq!((files.len(), whole), (files_wanted, whole_wanted), "{folder}");
    }
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
        let sums = SCALES.map(|scale| checksum(&decode(&bytes, Options::new(scale)).unwrap()));
        assert_eq!(sums, recorded, "{name}");
    }
}
