//! Rows of PNGs against the `png` crate, which shares no code with ours: the same files are read and refused, with the same rows.
//!
//! An input is a kind of pixels, a width, a height and a size of pieces, a byte each, then the picture's data as it lies in the file; chunks
//! and their checksums are made here, so that what is fuzzed is the inflating and the filters. What may differ: a wrong checksum of the pixels, which
//! the other looks at only where its buffers happen to end there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use miniz_oxide::inflate::core::{
    DecompressorOxide, decompress,
    inflate_flags::{TINFL_FLAG_IGNORE_ADLER32, TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
};
use png_rows::{Fault, Rows, Shape};
use std::io::Cursor;

/// Colour type, bits a sample and samples a pixel.
const KINDS: [(u8, u8, usize); 8] = [(0, 8, 1), (0, 16, 1), (2, 8, 3), (2, 16, 3), (4, 8, 2), (4, 16, 2), (6, 8, 4), (6, 16, 4)];

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]) {
    file.extend((body.len() as u32).to_be_bytes());
    let from = file.len();
    file.extend(kind);
    file.extend(body);
    let sum = crc32fast::hash(&file[from..]);
    file.extend(sum.to_be_bytes());
}

fn ours(file: &[u8], shape: Shape) -> Result<Vec<u8>, Fault> {
    let mut rows = Rows::open(file, shape)?;
    let mut all = Vec::new();
    while let Some(strip) = rows.next(7)? {
        all.extend_from_slice(strip);
    }
    Ok(all)
}

fn theirs(file: &[u8]) -> Result<Vec<u8>, png::DecodingError> {
    let mut options = png::DecodeOptions::default();
    options.set_ignore_adler32(false);
    let mut reader = png::Decoder::new_with_options(Cursor::new(file), options).read_info()?;
    let mut all = Vec::new();
    while let Some(row) = reader.next_row()? {
        all.extend_from_slice(row.data());
    }
    // What is wrong behind the last row is seen or not, as buffers happen to end.
    let _ = reader.finish();
    Ok(all)
}

/// Whether a third reader inflates as many bytes, whatever comes behind them.
fn has_all(data: &[u8], bytes: usize) -> bool {
    let flags = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_IGNORE_ADLER32;
    let mut all = vec![0; bytes];
    decompress(&mut DecompressorOxide::new(), data, &mut all, 0, flags).2 == bytes
}

fuzz_target!(|input: &[u8]| {
    let [kind, width, height, piece, data @ ..] = input else { return };
    let (colour, bits, samples) = KINDS[usize::from(kind % 8)];
    let (width, height) = (u32::from(*width) + 1, u32::from(*height) + 1);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, colour, 0, 0, 0]].concat();
    chunk(&mut file, b"IHDR", &header);
    for piece in data.chunks(usize::from(*piece) * 16 + 1) {
        chunk(&mut file, b"IDAT", piece);
    }
    if data.is_empty() {
        chunk(&mut file, b"IDAT", b"");
    }
    chunk(&mut file, b"IEND", b"");
    let pixel_bytes = samples * usize::from(bits / 8);
    let shape = Shape { row_bytes: width as usize * pixel_bytes, pixel_bytes, rows: height };
    match (ours(&file, shape), theirs(&file)) {
        (Ok(ours), Ok(theirs)) => assert!(ours == theirs, "other rows"),
        (Err(_), Err(_)) | (Err(Fault::Malformed("the checksum of its pixels is wrong")), Ok(_)) => {}
        // The other looks as far ahead as its buffers go, and may find what is wrong behind the last row.
        (Ok(_), Err(_)) if has_all(data, (shape.row_bytes + 1) * height as usize) => {}
        (ours, theirs) => panic!("{:?} {:?}", ours.map(|rows| rows.len()), theirs.map(|rows| rows.len())),
    }
});
