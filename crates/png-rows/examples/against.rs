//! Rows of PNG files by this crate and by `png`, in turns, in megabytes of rows a second: `cargo run --release -p png-rows --example against -- FILE…`.
//! The ratio counts; absolute times do not travel between machines.
#![allow(clippy::unwrap_used, reason = "an example that ends at the first fault")]

use png_rows::{Rows, Shape};
use std::hint::black_box;
use std::io::Cursor;
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;

fn reader(file: &[u8]) -> png::Reader<Cursor<&[u8]>> {
    let mut options = png::DecodeOptions::default();
    options.set_ignore_adler32(false);
    options.set_ignore_text_chunk(true);
    png::Decoder::new_with_options(Cursor::new(file), options).read_info().unwrap()
}

fn theirs(file: &[u8]) -> Vec<u8> {
    let mut reader = reader(file);
    let mut last = Vec::new();
    while let Some(row) = reader.next_row().unwrap() {
        last.clear();
        last.extend_from_slice(black_box(row.data()));
    }
    reader.finish().unwrap();
    last
}

fn ours(file: &[u8], shape: Shape) -> Vec<u8> {
    let mut rows = Rows::open(file, shape).unwrap();
    let mut last = vec![0; shape.row_bytes];
    while let Some(strip) = rows.next(16).unwrap() {
        last.copy_from_slice(black_box(&strip[strip.len() - shape.row_bytes..]));
    }
    last
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let made = work();
    (begun.elapsed(), made)
}

fn main() {
    for name in std::env::args().skip(1) {
        let file = std::fs::read(&name).unwrap();
        let head = reader(&file);
        let info = head.info();
        if info.interlaced {
            println!("{name}: interlaced");
            continue;
        }
        let shape = Shape { row_bytes: info.raw_row_length() - 1, pixel_bytes: info.bytes_per_pixel(), rows: info.height };
        let rounds: Vec<[Duration; 2]> = (0..ROUNDS)
            .map(|_| {
                let (took, mine) = timed(|| ours(&file, shape));
                let (other, wanted) = timed(|| theirs(&file));
                assert!(mine == wanted, "{name}: the last rows differ");
                [took, other]
            })
            .collect();
        let best = |which: usize| rounds.iter().map(|round| round[which]).min().unwrap();
        let (mine, other) = (best(0), best(1));
        let speed = |took: Duration| shape.row_bytes as f64 * f64::from(shape.rows) / 1e6 / took.as_secs_f64();
        println!("{name}: {:.0} MB/s, png {:.0} MB/s, {:.2}x", speed(mine), speed(other), other.as_secs_f64() / mine.as_secs_f64());
    }
}
