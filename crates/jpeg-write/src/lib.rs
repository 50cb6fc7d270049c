//! Writes JPEG, baseline or progressive, from planes as a resize leaves them, or from interleaved pixels. Safe code but for vector
//! instructions, no dependencies.
//!
//! # How a picture becomes a file
//!
//! - **Planes are taken as they are.** Luma at full size and chroma at half of it are what 4:2:0 stores: whoever has them need not
//!   make pixels of them for the encoder to take apart again. Pixels are converted a row of MCUs at a time.
//! - **Two blocks go through the transform side by side**, one in either half of a vector: two of luma, or the two of chroma. It is
//!   libjpeg's accurate one (`islow`, 13 fraction bits), to the last bit; quantisation multiplies by reciprocals that are proven to
//!   divide. Coefficients leave in order of rising frequency with a mask of those that are not zero, so that coding visits no
//!   others. The same planes give the same coefficients as with libjpeg-turbo.
//! - **Pixels are passed over once.** A block becomes tokens of 32 bits, a Huffman symbol and the bits behind it (T.81, F.1.2). When all are
//!   there and counted, codes are made for this picture (package-merge: the best there are of at most 16 bits), and tokens become
//!   bits two at a time without a branch; bytes that need a zero behind them are looked for eight at a time afterwards.
//! - **Memory is bounded.** Tokens of what photos need are kept; where a picture has more (noise at the highest quality), its blocks are
//!   transformed a second time rather than held ([`working_bytes`]).
//! - **Progressive** pictures (T.81, G) keep their coefficients instead and send them in six scans: spectral selection, successive
//!   approximation of luma, runs of empty blocks, and codes of its own for each scan.
//!
//! What comes out is JFIF: APP0, the caller's segments, tables, frame, scans. 8 bits a sample, one or three components, 4:4:4 or 4:2:0.
//! Nothing fails once the arguments are accepted ([`Error`]) unless the caller says so ([`encode_while`]), and the same arguments give the same bytes on every processor.
//!
//! # Example
//!
//! ```
//! use jpeg_write::{Options, Picture, Plane, encode};
//!
//! let luma = Plane { samples: &[200; 16 * 9], stride: 16, width_px: 16, height_px: 9 };
//! let blue = Plane { samples: &[128; 8 * 5], stride: 8, width_px: 8, height_px: 5 };
//! let red = Plane { samples: &[90; 8 * 5], stride: 8, width_px: 8, height_px: 5 };
//! let mut jpeg = Vec::new();
//! encode(&Picture::YCbCr { luma, blue, red }, &Options::new(80), &mut jpeg)?;
//! assert!(jpeg.starts_with(&[0xff, 0xd8, 0xff, 0xe0]));
//! # Ok::<(), jpeg_write::Error>(())
//! ```
//!
//! # Sources
//!
//! ITU-T T.81 (coding, markers, the tables of annex K); JFIF 1.02 (colour, sampling positions); Loeffler, Ligtenberg and Moschytz, ICASSP
//! 1989 (the 8-point transform); Larmore and Hirschberg, 1990 (codes of bounded length).
#![deny(unsafe_code)]

mod bits;
mod encode;
mod error;
mod frame;
mod huffman;
mod marker;
mod picture;
mod progressive;
mod quantise;
mod simd;
mod strip;
mod token;
mod transform;
mod walk;

pub use encode::{encode, encode_while, working_bytes};
pub use error::Error;
pub use picture::{MAX_SEGMENT_BYTES, Options, Picture, Plane, Sampling, Segment};
pub use strip::part_rows;
