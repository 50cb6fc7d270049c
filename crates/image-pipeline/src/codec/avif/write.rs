//! AVIF out, over `ravif` without assembly and threads: 8 bit, 4:4:4, transparency as a picture of its own.

use crate::{
    codec::ENCODE,
    error::{Error, ErrorKind},
    pixels::{Layout, Pixels, Shape},
    probe::Format,
};
use ravif::{AlphaColorMode, BitDepth, Encoder, Img, RGB8, RGBA8};

/// The highest effort.
const MOST_EFFORT: u8 = 9;

/// Writes grey, colours or colours and alpha. `effort` is 0 to 9: the library's speed of 10 to 1.
pub(in crate::codec) fn encode(pixels: &Pixels, quality: u8, effort: u8) -> Result<Vec<u8>, Error> {
    let quality = f32::from(quality.clamp(1, 100));
    let encoder = Encoder::new()
        .with_quality(quality)
        .with_alpha_quality(quality)
        .with_speed(10 - effort.min(MOST_EFFORT))
        .with_bit_depth(BitDepth::Eight)
        .with_alpha_color_mode(AlphaColorMode::UnassociatedClean)
        .with_num_threads(Some(1));
    let (width, height) = (pixels.width_px as usize, pixels.height_px as usize);
    let internal = |text: &'static str| Error::new(ErrorKind::Internal, ENCODE, text).in_format(Format::Avif);
    let written = match pixels.layout {
        Layout::Rgba8 => {
            let samples: Vec<RGBA8> = pixels.bytes.as_chunks::<4>().0.iter().map(|&[r, g, b, a]| RGBA8 { r, g, b, a }).collect();
            encoder.encode_rgba(Img::new(&samples, width, height))
        }
        Layout::Rgb8 => {
            let samples: Vec<RGB8> = pixels.bytes.as_chunks::<3>().0.iter().map(|&[r, g, b]| RGB8 { r, g, b }).collect();
            encoder.encode_rgb(Img::new(&samples, width, height))
        }
        Layout::Grey8 => {
            let samples: Vec<RGB8> = pixels.bytes.iter().map(|&grey| RGB8 { r: grey, g: grey, b: grey }).collect();
            encoder.encode_rgb(Img::new(&samples, width, height))
        }
        Layout::Ycc444 | Layout::Ycc420 => return Err(internal("avif is not written from planes")),
    };
    written.map(|written| written.avif_file).map_err(|error| internal("avif could not be written").caused_by(error))
}

/// Bytes held while writing, the file included: from measured peaks and a margin.
pub(in crate::codec) fn working_bytes(shape: Shape) -> u64 {
    /// Tables and contexts of the encoder, and what its blocks of 64 by 64 take beyond the edges: measured 3 MiB.
    const FIXED: u64 = 7 << 19;
    // Measured 25 of colours. Alpha is a picture of its own, and colours under transparent pixels are chosen in a copy.
    let (pictures, pixel_bytes) = if shape.layout == Layout::Rgba8 { (2, 48) } else { (1, 27) };
    FIXED * pictures + shape.pixels() * pixel_bytes
}
