//! Strips of rows: what is inflated, without its filters.
//!
//! Knows nothing of colours: a pixel is some bytes. Invariant: a strip is given out only if every row of it was there and had a filter that
//! there is; behind the last row the file must reach its end.

use crate::bits::Bits;
use crate::chunks::Pieces;
use crate::fault::Fault;
use crate::inflate::Inflater;
use crate::unfilter;

/// How a picture's rows lie.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a row, without the one that names its filter; at least 1.
    pub row_bytes: usize,
    /// Bytes from a sample to the same of the next pixel: 1 to 8, and 1 where a byte holds several pixels (clause 9.2).
    pub pixel_bytes: usize,
    /// Rows in all; at least 1.
    pub rows: u32,
}

/// The rows of a file's default image, from the top.
pub struct Rows<'s> {
    inflater: Inflater<'s>,
    shape: Shape,
    left: u32,
    /// The last row given out, then those being made.
    done: Vec<u8>,
    most_rows: usize,
}

impl<'s> Rows<'s> {
    /// Rows a strip has at most.
    pub const STRIP: u32 = 16;

    /// Finds the picture's data in `file`; the header, which `shape` was read from, is not read again.
    ///
    /// # Errors
    /// If `file` is no PNG file with a picture.
    ///
    /// # Panics
    /// If `shape` is none that can be.
    pub fn open(file: &'s [u8], shape: Shape) -> Result<Self, Fault> {
        assert!(shape.row_bytes > 0 && shape.rows > 0 && (1..=8).contains(&shape.pixel_bytes), "{shape:?}");
        let most_rows = Self::STRIP.min(shape.rows) as usize;
        let filtered = shape.row_bytes + 1;
        let inflater = Inflater::new(Bits::new(Pieces::of(file)?), filtered as u64 * u64::from(shape.rows), filtered * most_rows);
        Ok(Self { inflater, shape, left: shape.rows, done: vec![0; shape.row_bytes * (most_rows + 1)], most_rows })
    }

    /// Bytes held for a picture of this shape.
    pub fn held_bytes(shape: Shape) -> u64 {
        /// The window, what is inflated at a time, pieces put together, tables, what lanes note.
        const FIXED: u64 = 448 << 10;
        FIXED + (shape.row_bytes as u64 + 1) * (2 * u64::from(Self::STRIP.min(shape.rows)) + 1)
    }

    /// The next rows, tightly packed, samples as the file has them; at most `most` and [`STRIP`](Self::STRIP) of them. `None` behind the last.
    ///
    /// # Errors
    /// If the file is cut or broken; then there are no more rows.
    pub fn next(&mut self, most: usize) -> Result<Option<&[u8]>, Fault> {
        let row_bytes = self.shape.row_bytes;
        let rows = most.min(self.most_rows).min(self.left as usize);
        if self.left == 0 {
            self.inflater.finish()?;
            return Ok(None);
        }
        let bytes = rows * (row_bytes + 1);
        let filtered = self.inflater.ahead(bytes)?;
        if filtered.len() < bytes {
            return Err(Fault::Malformed("its data is too short for its picture"));
        }
        unfilter::rows(filtered, self.shape.pixel_bytes, row_bytes, &mut self.done)?;
        self.inflater.take(bytes);
        self.left -= rows as u32;
        // The last one is what the next lie under.
        let end = row_bytes * (rows + 1);
        self.done.copy_within(end - row_bytes..end, 0);
        Ok(Some(&self.done[row_bytes..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::PLAIN;
    use png::{BitDepth, ColorType, Compression, DeflateCompression, Encoder, Filter};
    use proptest::prelude::*;

    fn written(kind: (ColorType, BitDepth), width: u32, bytes: &[u8], filter: Filter, level: u8) -> (Vec<u8>, Shape) {
        let samples = kind.0.samples() * if kind.1 == BitDepth::Sixteen { 2 } else { 1 };
        let row_bytes = width as usize * samples;
        let rows = (bytes.len() / row_bytes) as u32;
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, width, rows);
        encoder.set_color(kind.0);
        encoder.set_depth(kind.1);
        match level {
            0 => encoder.set_compression(Compression::Fast),
            level => encoder.set_deflate_compression(DeflateCompression::Level(level)),
        }
        encoder.set_filter(filter);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&bytes[..row_bytes * rows as usize]).unwrap();
        writer.finish().unwrap();
        (file, Shape { row_bytes, pixel_bytes: samples, rows })
    }

    fn read(file: &[u8], shape: Shape, most: usize) -> Result<Vec<u8>, Fault> {
        let mut rows = Rows::open(file, shape)?;
        let mut all = Vec::new();
        while let Some(strip) = rows.next(most)? {
            all.extend_from_slice(strip);
        }
        Ok(all)
    }

    const KINDS: [(ColorType, BitDepth); 8] = [
        (ColorType::Rgb, BitDepth::Eight),
        (ColorType::Rgba, BitDepth::Eight),
        (ColorType::Grayscale, BitDepth::Eight),
        (ColorType::GrayscaleAlpha, BitDepth::Eight),
        (ColorType::Rgb, BitDepth::Sixteen),
        (ColorType::Rgba, BitDepth::Sixteen),
        (ColorType::Grayscale, BitDepth::Sixteen),
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen),
    ];
    const FILTERS: [Filter; 6] = [Filter::NoFilter, Filter::Sub, Filter::Up, Filter::Avg, Filter::Paeth, Filter::Adaptive];

    /// Bytes like a photo's, a drawing's or none's.
    fn bytes(count: usize, style: u8, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as u32
        };
        let mut last = 0_i32;
        (0..count)
            .map(|at| match style {
                0 => random() as u8,
                1 => {
                    last += (random() % 7) as i32 - 3;
                    last as u8
                }
                2 => (at / 97 % 5) as u8 * 50,
                3 => {
                    last += (random() % 24 + random() % 24) as i32 - 23;
                    last as u8
                }
                _ => {
                    if random() % 50 == 0 {
                        random() as u8
                    } else {
                        (at % 7) as u8
                    }
                }
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(300)))]

        #[test]
        fn rows_are_what_was_written(kind in 0..8_usize, width in 1..90_u32, height in 1..60_usize, filter in 0..6_usize, level in 0..10_u8,
            style in 0..5_u8, seed: u64, most in 1..20_usize) {
            let kind = KINDS[kind];
            let pixels = bytes(width as usize * height * 8, style, seed);
            let (file, shape) = written(kind, width, &pixels, FILTERS[filter], level);
            for plain in [true, false] {
                PLAIN.set(plain);
                let all = read(&file, shape, most);
                PLAIN.set(false);
                prop_assert!(all.as_deref() == Ok(&pixels[..shape.row_bytes * shape.rows as usize]), "plain {}", plain);
            }
        }

        /// The other reader takes the same files for whole, and for broken, but for the rules that are stricter here; what it refuses and is read here
        /// has the rows that were written.
        #[test]
        fn broken_files_are_refused_as_another_reader_does(kind in 0..8_usize, width in 1..120_u32, height in 1..80_usize, level in 0..10_u8,
            style in 0..5_u8, seed: u64, at in 0.0..1.0_f64, bit in 0..8, fix: bool) {
            let pixels = bytes(width as usize * height * 8, style, seed);
            let (mut file, shape) = written(KINDS[kind], width, &pixels, Filter::Adaptive, level);
            let data = file.windows(4).position(|four| four == b"IDAT").unwrap() + 4;
            let at = data + ((file.len() - data) as f64 * at) as usize;
            file[at] ^= 1_u8 << bit;
            if fix {
                let length = u32::from_be_bytes(*file[data - 8..].first_chunk().unwrap()) as usize;
                if data + length < file.len() {
                    let sum = crc32fast::hash(&file[data - 4..data + length]);
                    file[data + length..data + length + 4].copy_from_slice(&sum.to_be_bytes());
                }
            }
            let mut decoder = png::Decoder::new(std::io::Cursor::new(&file));
            decoder.ignore_checksums(false);
            let theirs = decoder.read_info().and_then(|mut reader| {
                let mut all = Vec::new();
                while let Some(row) = reader.next_row()? {
                    all.extend_from_slice(row.data());
                }
                // What makes no sense behind the last row is seen or not, as buffers happen to end there.
                Ok((all, reader.finish().is_ok()))
            });
            for plain in [true, false] {
                PLAIN.set(plain);
                let ours = read(&file, shape, 16);
                PLAIN.set(false);
                match (&ours, &theirs) {
                    (Ok(ours), Ok((theirs, _))) => prop_assert_eq!(ours, theirs),
                    (Err(_), Err(_) | Ok((_, false))) => {}
                    // It looks as far ahead as its buffers go, and may find what is wrong behind the last row before that.
                    (Ok(ours), Err(_)) => prop_assert_eq!(&ours[..], &pixels[..shape.row_bytes * shape.rows as usize]),
                    (Err(Fault::Malformed("the checksum of its pixels is wrong")), Ok(_)) => {}
                    _ => prop_assert!(false, "{:?} {:?}", ours.map(|ours| ours.len()), theirs.as_ref().map(|(all, _)| all.len())),
                }
            }
        }
    }

    /// What is like a photo is read by all four lanes at once, from pieces of any size, and comes out as it was.
    #[test]
    fn lanes_find_to_the_right_words() {
        let pixels = bytes(1200 * 600 * 3, 3, 11);
        let (mut in_full, mut in_part) = (0, 0);
        for (filter, level) in [(Filter::Paeth, 6), (Filter::Sub, 9), (Filter::Up, 1)] {
            let (file, shape) = written(KINDS[0], 1200, &pixels, filter, level);
            let mut rows = Rows::open(&file, shape).unwrap();
            let mut all = Vec::new();
            while let Some(strip) = rows.next(16).unwrap() {
                all.extend_from_slice(strip);
            }
            assert!(all == pixels, "{filter:?}");
            let [_, few @ .., four] = rows.inflater.lanes.rounds;
            in_full += four;
            in_part += few.iter().sum::<usize>();
        }
        assert!(in_full > 100 && in_full > 10 * in_part, "{in_full}, {in_part}");
    }

    #[test]
    fn data_in_pieces_of_any_size_is_read() {
        let pixels = bytes(120 * 80 * 3, 1, 7);
        let (file, shape) = written(KINDS[0], 120, &pixels, Filter::Adaptive, 6);
        let data = file.windows(4).position(|four| four == b"IDAT").unwrap();
        let length = u32::from_be_bytes(*file[data - 4..].first_chunk().unwrap()) as usize;
        for size in [1, 2, 3, 7, 15, 16, 17, 100, length] {
            let mut pieces = file[..data - 4].to_vec();
            for piece in file[data + 4..data + 4 + length].chunks(size) {
                let framed = [b"IDAT", piece].concat();
                pieces.extend((piece.len() as u32).to_be_bytes());
                pieces.extend(&framed);
                pieces.extend(crc32fast::hash(&framed).to_be_bytes());
            }
            pieces.extend(&file[data + 8 + length..]);
            assert!(read(&pieces, shape, 5).as_deref() == Ok(&pixels), "{size}");
        }
    }

    #[test]
    fn more_data_than_the_picture_is_passed_over_and_less_is_refused() {
        let (file, shape) = written(KINDS[0], 30, &bytes(30 * 3 * 40, 1, 3), Filter::Paeth, 6);
        assert_eq!(read(&file, Shape { rows: 39, ..shape }, 16).unwrap().len(), 30 * 3 * 39);
        assert!(read(&file, Shape { rows: 41, ..shape }, 16).is_err());
    }

    #[test]
    fn a_filter_that_there_is_not_is_refused() {
        let (file, shape) = written(KINDS[2], 3, &[9; 9], Filter::NoFilter, 6);
        assert!(read(&file, shape, 3).is_ok());
        // A row more and one byte less each: filters are read where pixels are.
        assert_eq!(
            read(&file, Shape { row_bytes: 2, rows: 4, pixel_bytes: 1 }, 3),
            Err(Fault::Malformed("a row has a filter that there is not"))
        );
    }

    /// Found by fuzzing: what makes no sense lies right behind the last row, within a look or in the next block.
    #[test]
    fn what_makes_no_sense_behind_the_last_row_does_no_harm() {
        let framed = |kind: &[u8; 4], body: &[u8]| {
            let named = [kind, body].concat();
            [&(body.len() as u32).to_be_bytes()[..], &named, &crc32fast::hash(&named).to_be_bytes()].concat()
        };
        let file = |width: u32, rows: u32, colour: u8, data: &[u8]| {
            let header = [&width.to_be_bytes()[..], &rows.to_be_bytes(), &[8, colour, 0, 0, 0]].concat();
            [b"\x89PNG\r\n\x1a\n", &framed(b"IHDR", &header)[..], &framed(b"IDAT", data), &framed(b"IEND", b"")].concat()
        };
        // A stored block with all of it, then a block of a kind that there is not.
        let stored: Vec<u8> = (0..44).map(|at| if at % 11 == 0 { 0 } else { at }).collect();
        let data = [&[0x78, 1, 0, 44, 0, 211, 255][..], &stored, &[7, 0, 0, 0, 0, 0, 0, 0]].concat();
        let shape = Shape { row_bytes: 10, pixel_bytes: 2, rows: 4 };
        let wanted: Vec<u8> = stored.chunks(11).flat_map(|row| row[1..].to_vec()).collect();
        for most in [1, 4] {
            assert_eq!(read(&file(5, 4, 4, &data), shape, most).as_deref(), Ok(&wanted[..]), "{most}");
        }
        // Fixed codes: literals for eight rows of one byte, and in the same turn a copy from before the beginning.
        let data = [
            0x78, 0x01, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x62, 0x21, 0x62,
            0x62, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x00, 0x00, 0x01, 0x00, 0x01, 0xff, 0x00,
        ];
        let shape = Shape { row_bytes: 1, pixel_bytes: 1, rows: 8 };
        for rows_there in [7, 8, 9] {
            let shape = Shape { rows: rows_there, ..shape };
            let read = read(&file(1, rows_there, 0, &data), shape, 16);
            assert_eq!(read.is_ok(), rows_there <= 8, "{rows_there}: {read:?}");
        }
    }
}
