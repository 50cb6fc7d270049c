//! What an image is: a picture small enough to hash and to count colours in, and what its header and its Exif block say.
//!
//! Knows nothing of options or of what is made of the image. The picture is sampled from the rows that the variants are made of, at a
//! bounded number of points whatever its size; metadata is read from a bounded block, and what tells where or with which very camera it was
//! taken is not read at all. Broken metadata is no metadata, never an error.

mod blurhash;
mod camera;
mod cosines;
mod palette;
mod profile;
mod sample;
mod thumbhash;

pub use camera::Camera;
pub use palette::Swatch;
pub(crate) use sample::Sampler;

use crate::{
    pixels::{Layout, Pixels},
    probe::Probe,
};

/// Bytes held beside everything else while facts are gathered: sums of the samples (37 KiB), the small picture and its planes of floats
/// (100 KiB), bins of colours (100 KiB), text.
pub(crate) const WORKING_BYTES: u64 = 320 << 10;

/// What is known of an image once it was decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Bits a channel as stored: 1, 2, 4, 8 or 16; of a palette, of its index.
    pub bits: u8,
    /// Channels as stored: 1 grey or palette, 2 grey and alpha, 3 colour, 4 colour and alpha, or CMYK in a JPEG.
    pub channels: u8,
    /// Whether pixels may be transparent.
    pub has_alpha: bool,
    /// Frames, 1 for a still picture; `None` where they were not counted.
    pub frames: Option<u32>,
    /// An ICC profile is embedded.
    pub has_icc: bool,
    /// What that profile calls itself.
    pub profile: Option<String>,
    /// BlurHash of 4 by 3 components (3 by 4 of portraits), over white where it is transparent.
    pub blurhash: String,
    /// ThumbHash, with alpha.
    pub thumbhash: Vec<u8>,
    /// Its main colours, most of it first, at most [`Swatch::MOST`]; none of a picture that is all transparent.
    pub palette: Vec<Swatch>,
    /// What its Exif block says of how it was taken.
    pub camera: Option<Camera>,
}

impl Facts {
    /// Of an image, from its small picture as shown, red, green and blue (and alpha).
    pub(crate) fn of(probe: &Probe, source: &[u8], icc: Option<&[u8]>, small: &Pixels) -> Self {
        let rgba = rgba_of(small);
        let (width, height) = (small.width_px as usize, small.height_px as usize);
        let exif = probe.exif_at.and_then(|block| block.of(source));
        Self {
            bits: probe.bits,
            channels: probe.channels,
            has_alpha: probe.has_alpha,
            frames: probe.frames,
            has_icc: probe.has_icc,
            profile: icc.and_then(profile::name),
            blurhash: blurhash::blurhash(&rgba, width, height),
            thumbhash: thumbhash::thumbhash(&rgba, width, height),
            palette: palette::palette(&rgba),
            camera: exif.and_then(Camera::from_exif),
        }
    }
}

/// Characters of a text that are kept.
const MOST_CHARACTERS: usize = 128;

/// A text of a stranger, cut, and freed of what is no text.
fn clean(text: &str) -> String {
    let is_text = |c: &char| !c.is_control() && *c != char::REPLACEMENT_CHARACTER && !is_invisible(*c);
    let text: String = text.chars().filter(is_text).take(MOST_CHARACTERS).collect();
    text.trim().to_owned()
}

/// Marks that turn the direction of what follows or take no room: names that look like others are made of them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The pixels of a picture of red, green and blue, opaque where it has no alpha.
fn rgba_of(pixels: &Pixels) -> Vec<[u8; 4]> {
    match pixels.layout {
        Layout::Rgba8 => pixels.bytes.as_chunks().0.to_vec(),
        Layout::Rgb8 => pixels.bytes.as_chunks().0.iter().map(|&[r, g, b]| [r, g, b, 255]).collect(),
        // The run has turned planes to colours; grey may be left.
        _ => pixels.bytes.iter().map(|&grey| [grey, grey, grey, 255]).collect(),
    }
}
