//! Decodes JPEG straight to 1/2, 1/4 or 1/8 of its size (or whole), reading only what that size needs. Safe code but for
//! vector instructions, no dependencies.
//!
//! # How a JPEG is made smaller without being decoded
//!
//! A JPEG is a grid of 8x8 blocks, each stored as the 64 coefficients of its cosine transform (ITU-T T.81, A.3.3), lowest frequencies
//! first. The lowest one, DC, is eight times the block's mean: a picture of all DC values *is* the picture at 1/8. In the same way the
//! lowest 2x2 coefficients, through a 2x2 inverse transform, give the block at 2x2 samples, the lowest 4x4 at 4x4. Such a picture is
//! what a good low-pass filter would have left, and costs a fraction of the arithmetic.
//!
//! Most of the time is not arithmetic, though, but Huffman decoding, and a decoder that only leaves out the arithmetic (libjpeg's way)
//! still reads every symbol. Here
//!
//! - **what is not kept is skipped, not decoded**: a table found by the next 13 bits says how many bits *several whole symbols* take
//!   together with their extra bits, and how many coefficients they pass. Both are added to one counter, so that a look-up is a shift,
//!   a load and an addition. Where a block ends at its 64th coefficient, without an end code, an entry may swallow bits of the
//!   next block; the counter shows it, and those few symbols are done again singly;
//! - **what is kept is read two symbols a look-up** where both are seen, with values that need no branch and next to no arithmetic;
//! - **a scan is read at four places at once**: Huffman codes must be read one after another, and each look-up waits for the one before.
//!   But codes synchronise themselves: a reader that begins anywhere is soon where a true one would be. So four chains run in turns, and
//!   where the one before meets a later one, that one was right. What they find is where each block begins; blocks are then decoded
//!   independently of each other;
//! - **bytes are unstuffed apart**, 124 KiB at a time, so that the bit reader refills its 64-bit accumulator without a branch;
//! - **progressive pictures are read in part**: scans that touch no kept coefficient are stepped over by looking for the next marker.
//!   What is kept waits as 1, 4, 16 or 64 values a block, never as all of them unless all are wanted. A refinement scan can only be
//!   read by who knows which coefficients of its band are not zero, so it draws in the scans before it; [`Refinement::LeaveOut`] goes
//!   without.
//!
//! # What comes out
//!
//! Rows of RGB, grey or CMYK ([`Layout`]), as stored: no orientation, no colour profile applied; both are handed out by [`Header`].
//! A side of `n` pixels becomes `n * eighths / 8`, rounded up. At full size and at 1/8 the pixels are libjpeg-turbo's to the last
//! bit wherever chroma has luma's size at that scale by its rules; at 1/4 and 1/2, and in chroma stored smaller, they differ from its
//! (38 to 54 dB on photos), because its 2x2 and 4x4 transforms also weigh in higher odd coefficients, to give the mean of the full
//! block's pixels. Those are the coefficients skipped here.
//!
//! Chroma stored smaller than luma gets a larger inverse transform where that makes it luma's size (4:2:0 at 1/8 to 1/2), else is
//! upsampled: by the triangle filter from 1/4 on up, by repetition at 1/8 and for uncommon factors. [`Chroma::Small`] saves the larger
//! transform, and the coefficients it needs, for pictures that are to be made smaller still; it upsamples by the triangle at 1/8, too.
//!
//! Or each component's samples as they are, strip by strip, without upsampling, colour or a copy: [`Decoder::read_strip`]. With
//! [`Chroma::Native`] nothing is decoded there that the file does not hold.
//!
//! # Input in pieces, pictures in parts
//!
//! [`PushDecoder`] takes a file as it comes and gives rows as soon as their bytes are there. [`Decoder::split`] makes several decoders of
//! one for as many threads, where restart markers allow it. Neither starts a thread, reads a file or waits.
//!
//! # Broken and hostile input
//!
//! Nothing panics. A strict decoder (the default) ends with an [`Error`] that names kind and position; a lenient one
//! ([`Options::lenient`]) gives the rows it could read and tells the fault. [`Limits`] bound pixels, memory, scans and work;
//! nothing is allocated before they are checked, nor (strict) where the file is too short for its number of blocks.
//!
//! Arithmetic coding, lossless and hierarchical processes and 12-bit samples are refused as unsupported.
//!
//! # Example
//!
//! ```
//! use jpeg_shrink::{Decoder, Options, Scale};
//!
//! fn thumbnail(jpeg: &[u8]) -> Result<(u32, u32, Vec<u8>), jpeg_shrink::Error> {
//!     let header = jpeg_shrink::probe(jpeg)?;
//!     // Leave a factor of two for a better filter to finish with.
//!     let scale = Scale::leaving(header.width_px.max(header.height_px), 320, 2.0);
//!     let mut decoder = Decoder::new(jpeg, Options::new(scale))?;
//!     let mut pixels = vec![0; decoder.output_bytes()];
//!     decoder.decode_into(&mut pixels)?;
//!     Ok((decoder.width_px(), decoder.height_px(), pixels))
//! }
//!
//! assert!(thumbnail(b"not a jpeg").is_err());
//! ```
//!
//! # Sources
//!
//! ITU-T T.81 (coding, markers, tables); JFIF 1.02 (YCbCr, sampling positions); Adobe TN 5116 (the APP14 transform, inverted inks);
//! Exif 2.32, ICC.1 annex B.4, CIPA DC-007 (what APP1 and APP2 hold); Loeffler, Ligtenberg and Moschytz, ICASSP 1989 (the 8-point
//! transform).
#![deny(unsafe_code)]

mod band;
mod block;
mod decoder;
mod entropy;
mod error;
mod header;
mod huffman;
mod idct;
mod input;
mod lanes;
mod options;
mod picture;
mod plane;
mod push;
mod rows;
mod scan;
mod simd;
mod stream;
mod strip;
mod symbols;

pub use decoder::Decoder;
pub use error::{Error, ErrorKind};
pub use header::{Coding, ColourModel, Component, Header, Segment, SegmentKind, probe};
pub use options::{Chroma, Corners, Layout, Limits, Options, Outcome, Refinement, Scale};
pub use push::PushDecoder;
pub use rows::ycbcr_to_rgb;
pub use strip::{Samples, Strip};
