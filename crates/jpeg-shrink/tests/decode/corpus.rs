//! Real and broken files from the folder `PIXMILL_CORPUS` names: decoded at every scale, counted, timed; skipped aloud without it.

use crate::agreement::SCALES;
use jpeg_shrink::{Decoder, Limits, Options, Scale};
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
