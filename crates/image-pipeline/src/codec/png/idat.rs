//! Rows to the bytes of a PNG's IDAT chunk: filtered, then deflated, a row at a time.
//!
//! What comes is what the `png` crate writes for the same settings, to the byte, but it writes a whole picture in one call: here the watch is
//! looked at between bands. Filters are chosen row by row by the least sum of differences (third edition, 12.7).

use super::ENCODE;
use crate::{
    error::{Error, ErrorKind},
    probe::Format,
    simd,
    watch::{Watch, band_rows},
};
use flate2::write::ZlibEncoder;
use std::io::{Cursor, Error as IoError, Write};

/// Most bytes of a chunk that this writes at a time; a length has 31 bits (third edition, 5.3).
pub(super) const MOST_CHUNK_BYTES: usize = (u32::MAX >> 1) as usize;

/// A picture's rows, tightly packed.
#[derive(Clone, Copy)]
pub(super) struct Rows<'r> {
    pub(super) bytes: &'r [u8],
    /// At least 1.
    pub(super) row_bytes: usize,
    /// Bytes from a sample to the same one of the pixel before; 1 where pixels are smaller.
    pub(super) pixel_bytes: usize,
    /// Whether neighbours are alike.
    pub(super) filtered: bool,
}

/// Takes a row behind the number of its filter.
type Take<'t> = dyn FnMut(u8, &[u8]) -> Result<(), IoError> + 't;

impl Rows<'_> {
    /// By zlib at a level, or without one by `fdeflate`: for photos.
    ///
    /// # Errors
    /// `Internal`; as [`Watch::check`].
    pub(super) fn pack(self, level: Option<u8>, watch: Watch<'_>) -> Result<Vec<u8>, Error> {
        if let Some(level) = level {
            let mut zlib = ZlibEncoder::new(Vec::new(), flate2::Compression::new(level.into()));
            self.each(watch, &mut |filter, row| {
                zlib.write_all(&[filter])?;
                zlib.write_all(row)
            })?;
            return zlib.finish().map_err(unwritable);
        }
        let mut fast = fdeflate::Compressor::new(Cursor::new(Vec::new())).map_err(unwritable)?;
        let mut line = Vec::with_capacity(1 + self.row_bytes);
        self.each(watch, &mut |filter, row| {
            // In one piece: runs do not go on from call to call.
            line.clear();
            line.push(filter);
            line.extend_from_slice(row);
            fast.write_data(&line)
        })?;
        let packed = fast.finish().map_err(unwritable)?.into_inner();
        let lines = self.bytes.len() / self.row_bytes;
        if packed.len() <= fdeflate::StoredOnlyCompressor::<()>::compressed_size(self.bytes.len() + lines) {
            return Ok(packed);
        }
        // Noise is smaller as it is.
        drop(packed);
        let mut stored = fdeflate::StoredOnlyCompressor::new(Cursor::new(Vec::new())).map_err(unwritable)?;
        Self { filtered: false, ..self }.each(watch, &mut |filter, row| {
            stored.write_data(&[filter])?;
            stored.write_data(row)
        })?;
        Ok(stored.finish().map_err(unwritable)?.into_inner())
    }

    /// Gives every row to `take`, with the number of its filter.
    fn each(self, watch: Watch<'_>, take: &mut Take<'_>) -> Result<(), Error> {
        let Self { bytes, row_bytes, pixel_bytes, filtered } = self;
        let rows_a_look = band_rows(row_bytes);
        let (mut best, mut tried) = (vec![0; row_bytes], vec![0; row_bytes]);
        let edge = vec![0; row_bytes];
        let mut above = &edge[..];
        for (at, row) in bytes.chunks_exact(row_bytes).enumerate() {
            if at.is_multiple_of(rows_a_look) {
                watch.check(ENCODE)?;
            }
            if !filtered {
                take(0, row).map_err(unwritable)?;
                continue;
            }
            let filter = simd::run(Choosing { row, above, pixel_bytes, best: &mut best, tried: &mut tried });
            take(filter, &best).map_err(unwritable)?;
            above = row;
        }
        Ok(())
    }
}

fn unwritable(error: IoError) -> Error {
    Error::new(ErrorKind::Internal, ENCODE, "png could not be written").in_format(Format::Png).caused_by(error)
}

/// A row and the one above it, to the filter that leaves least.
struct Choosing<'c> {
    row: &'c [u8],
    above: &'c [u8],
    pixel_bytes: usize,
    /// The row as that filter leaves it.
    best: &'c mut Vec<u8>,
    tried: &'c mut Vec<u8>,
}

/// Numbers of the filters (third edition, 9.2), in the order in which they are tried.
const UP: u8 = 2;
const SUB: u8 = 1;
const AVERAGE: u8 = 3;
const PAETH: u8 = 4;

impl simd::Work for Choosing<'_> {
    type Output = u8;

    #[inline(always)]
    fn run(self, _: Option<simd::Avx2>) -> u8 {
        let Self { row, above, pixel_bytes, best, tried } = self;
        let mut least = (u64::MAX, 0);
        for filter in [UP, SUB, AVERAGE, PAETH] {
            match filter {
                UP => filtered(row, above, pixel_bytes, tried, |_, above, _| above),
                SUB => filtered(row, above, pixel_bytes, tried, |left, _, _| left),
                // Rounded down, without a carry.
                AVERAGE => filtered(row, above, pixel_bytes, tried, |left, above, _| (left & above) + ((left ^ above) >> 1)),
                _ => filtered(row, above, pixel_bytes, tried, nearest),
            }
            let sum = sum_of(tried);
            // Of equal ones the last.
            if sum <= least.0 {
                least = (sum, filter);
                std::mem::swap(best, tried);
            }
            if sum == 0 {
                break;
            }
        }
        least.1
    }
}

/// A row less what `guess` makes of the neighbours left, above, and above left; what lies beyond the edge is 0.
#[inline(always)]
fn filtered(row: &[u8], above: &[u8], pixel_bytes: usize, to: &mut [u8], guess: impl Fn(u8, u8, u8) -> u8) {
    let ahead = pixel_bytes.min(row.len());
    for at in 0..ahead {
        to[at] = row[at].wrapping_sub(guess(0, above[at], 0));
    }
    let neighbours = row.iter().zip(&above[ahead..]).zip(above);
    for ((to, value), ((left, up), corner)) in to[ahead..].iter_mut().zip(&row[ahead..]).zip(neighbours) {
        *to = value.wrapping_sub(guess(*left, *up, *corner));
    }
}

/// Paeth's: of the neighbours the one nearest to left + above - corner, in bytes throughout.
#[inline(always)]
fn nearest(left: u8, above: u8, corner: u8) -> u8 {
    let (to_left, to_above) = (above.abs_diff(corner), left.abs_diff(corner));
    // Beyond both neighbours the corner is the farthest.
    let is_between = (left >= corner) != (above >= corner) || left == corner || above == corner;
    let to_corner = if is_between { to_left.abs_diff(to_above) } else { u8::MAX };
    if to_left <= to_above && to_left <= to_corner {
        left
    } else if to_above <= to_corner {
        above
    } else {
        corner
    }
}

/// The sum of how far bytes are from 0 either way.
#[inline(always)]
fn sum_of(bytes: &[u8]) -> u64 {
    let (many, few) = bytes.as_chunks::<64>();
    let off = |byte: &u8| u16::from(byte.cast_signed().unsigned_abs());
    // At most 64 times 128.
    let sums = many.iter().map(|some| u64::from(some.iter().map(off).sum::<u16>()));
    sums.sum::<u64>() + few.iter().map(|byte| u64::from(off(byte))).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pixels::{Layout, Pixels},
        stage::samples::{noise, picture},
    };
    use png::{BitDepth, ColorType, Compression, DeflateCompression, Filter};
    use proptest::prelude::*;

    fn rows(pixels: &Pixels, filtered: bool) -> Rows<'_> {
        Rows { bytes: &pixels.bytes, row_bytes: pixels.stride(), pixel_bytes: pixels.layout.channels(), filtered }
    }

    /// The data of all IDAT chunks that the crate writes by itself.
    fn by_the_crate(pixels: &Pixels, filtered: bool, level: Option<u8>) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, pixels.width_px, pixels.height_px);
        encoder.set_color(match pixels.layout {
            Layout::Rgba8 => ColorType::Rgba,
            Layout::Rgb8 => ColorType::Rgb,
            _ => ColorType::Grayscale,
        });
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(Compression::Fast);
        if let Some(level) = level {
            encoder.set_deflate_compression(DeflateCompression::Level(level));
        }
        encoder.set_filter(if filtered { Filter::Adaptive } else { Filter::NoFilter });
        encoder.write_header().unwrap().write_image_data(&pixels.bytes).unwrap();
        let (mut at, mut data) = (8, Vec::new());
        while at < file.len() {
            let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            if &file[at + 4..at + 8] == b"IDAT" {
                data.extend_from_slice(&file[at + 8..at + 8 + length]);
            }
            at += 12 + length;
        }
        data
    }

    fn assert_same(pixels: &Pixels) {
        for (filtered, level) in [(true, None), (true, Some(5)), (false, Some(5)), (false, None)] {
            let ours = rows(pixels, filtered).pack(level, Watch::NEVER).unwrap();
            assert!(ours == by_the_crate(pixels, filtered, level), "{:?} {filtered} {level:?}", pixels.shape());
        }
    }

    #[test]
    fn large_pictures_are_what_the_crate_writes() {
        for layout in [Layout::Rgb8, Layout::Rgba8, Layout::Grey8] {
            // Several bands and windows of deflate; smooth, drawn, flat and noise.
            assert_same(&picture(900, 700, layout, |x, y, channel| ((x * x + y * 3) / 300 + (x ^ y) % 3 + channel as u32 * 40) as u8));
            assert_same(&picture(900, 700, layout, |x, y, _| if (x / 31 + y / 17) % 3 == 0 { 240 } else { (x / 100) as u8 }));
            assert_same(&picture(900, 700, layout, |_, _, _| 0));
            assert_same(&noise(400, 300, layout, 5));
        }
    }

    #[test]
    fn all_neighbours_give_the_definition_of_paeth() {
        for (left, above) in (0..=255_u8).flat_map(|left| (0..=255_u8).map(move |above| (left, above))) {
            for corner in 0..=255_u8 {
                let guess = i32::from(left) + i32::from(above) - i32::from(corner);
                let off = |value: u8| (guess - i32::from(value)).abs();
                let wanted = [left, above, corner].into_iter().min_by_key(|value| off(*value)).unwrap();
                assert_eq!(nearest(left, above, corner), wanted, "{left} {above} {corner}");
            }
        }
    }

    proptest! {
        #[test]
        fn small_pictures_are_what_the_crate_writes(width in 1_u32..40, height in 1_u32..12, which in 0..3, coarse in 0_u32..8, seed: u64) {
            let layout = [Layout::Rgb8, Layout::Rgba8, Layout::Grey8][which as usize];
            let mut pixels = noise(width, height, layout, seed);
            pixels.bytes.iter_mut().for_each(|byte| *byte = *byte >> coarse << coarse);
            assert_same(&pixels);
            simd::PLAIN.set(true);
            assert_same(&pixels);
            simd::PLAIN.set(false);
        }
    }
}
