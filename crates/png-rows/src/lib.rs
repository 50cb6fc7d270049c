//! Rows of PNG pictures (W3C PNG, third edition) that are not interlaced, from the bytes of a file, in bounded memory.
//!
//! Here live the inflating of a picture's data (RFC 1950 and 1951), the undoing of row filters (clause 9) and the checks of what stands
//! around them: lengths, order and checksums of chunks. Not here: what a header says, colours, metadata, animation and interlacing, which a
//! caller reads otherwise; files, threads, other formats.
//!
//! Memory is the 32 KiB window, a stretch of inflated bytes and the rows given out; none of it grows with the height of a picture.
//!
//! ```no_run
//! # fn main() -> Result<(), png_rows::Fault> {
//! let file = std::fs::read("photo.png").unwrap();
//! let shape = png_rows::Shape { row_bytes: 4032 * 3, pixel_bytes: 3, rows: 3024 };
//! let mut rows = png_rows::Rows::open(&file, shape)?;
//! while let Some(strip) = rows.next(16)? {
//!     assert_eq!(strip.len() % shape.row_bytes, 0);
//! }
//! # Ok(())
//! # }
//! ```

mod bits;
mod chunks;
mod codes;
mod fault;
mod inflate;
mod lanes;
mod rows;
mod simd;
mod unfilter;

pub use fault::Fault;
pub use rows::{Rows, Shape};

/// How many cases a property is tried with: so many, or as `PROPTEST_CASES` says.
#[cfg(test)]
fn test_cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}
