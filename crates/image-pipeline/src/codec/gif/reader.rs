//! The blocks of a GIF (GIF89a specification, sections 18 to 27): one picture after the other, as indices. Composes nothing.
//!
//! What comes behind a whole picture and is no block, or nothing at all, ends the file, as the probe has it. A picture that is cut is an
//! error (record 0008).

use super::lzw::{Decoder, Fault, SLACK};
use crate::codec::{DECODE, Plays};
use crate::error::{Error, ErrorKind};
use crate::probe::Format;
use std::num::NonZeroU32;

/// What becomes of a picture's place before the next one is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposal {
    Keep,
    /// Its rectangle becomes transparent, as browsers have it.
    Clear,
    /// What was there before it comes back.
    Restore,
}

/// One picture: where it lies, its colours, how long it stays. Its indices are the reader's, row by row as they came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'s> {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) interlaced: bool,
    /// Red, green, blue of each index; what lies behind its end is black.
    pub(super) palette: &'s [u8],
    pub(super) transparent: Option<u8>,
    /// Hundredths of a second.
    pub(super) delay_cs: u16,
    pub(super) disposal: Disposal,
}

/// Reads a file that lies in memory.
pub(super) struct Reader<'s> {
    source: &'s [u8],
    at: usize,
    global: &'s [u8],
    pub(super) width: usize,
    pub(super) height: usize,
    pictures: u32,
    lzw: Decoder,
    /// Of the picture read last, and [`SLACK`] bytes.
    indices: Vec<u8>,
    /// Most pixels of a picture: what the plan has room for.
    max_pixels: u64,
}

/// A graphic control extension, for the picture behind it.
#[derive(Clone, Copy)]
struct Control {
    packed: u8,
    delay_cs: u16,
    transparent: u8,
}

pub(super) fn truncated() -> Error {
    Error::new(ErrorKind::Truncated, DECODE, "gif ends before its picture does").in_format(Format::Gif)
}

fn malformed(text: &'static str) -> Error {
    Error::new(ErrorKind::Malformed, DECODE, text).in_format(Format::Gif)
}

impl<'s> Reader<'s> {
    /// Reads the logical screen. Pictures of more than `max_pixels` are refused.
    pub(super) fn open(source: &'s [u8], max_pixels: u64) -> Result<Self, Error> {
        let head = source.first_chunk::<13>().ok_or_else(truncated)?;
        let mut reader = Self {
            source,
            at: 13,
            global: &[],
            width: usize::from(u16::from_le_bytes([head[6], head[7]])),
            height: usize::from(u16::from_le_bytes([head[8], head[9]])),
            pictures: 0,
            lzw: Decoder::new(),
            indices: Vec::new(),
            max_pixels,
        };
        reader.global = reader.colours(head[10])?.unwrap_or_default();
        Ok(reader)
    }

    /// Indices of the picture read last.
    pub(super) fn indices(&self) -> &[u8] {
        &self.indices[..self.indices.len() - SLACK.min(self.indices.len())]
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.source.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).ok_or_else(truncated)?;
        self.at += N;
        Ok(*bytes)
    }

    /// The colour table that a packed field announces.
    fn colours(&mut self, packed: u8) -> Result<Option<&'s [u8]>, Error> {
        if packed & 0x80 == 0 {
            return Ok(None);
        }
        let bytes = 3 << ((packed & 7) + 1);
        let table = self.source.get(self.at..self.at + bytes).ok_or_else(truncated)?;
        self.at += bytes;
        Ok(Some(table))
    }

    /// The next sub-block; `None` at the terminator.
    fn sub_block(&mut self) -> Result<Option<&'s [u8]>, Error> {
        let [size] = self.take()?;
        let bytes = self.source.get(self.at..self.at + usize::from(size)).ok_or_else(truncated)?;
        self.at += bytes.len();
        Ok((size > 0).then_some(bytes))
    }

    fn skip_sub_blocks(&mut self) -> Result<(), Error> {
        while self.sub_block()?.is_some() {}
        Ok(())
    }

    /// How often the whole is played, as the first extension says that is there for it, wherever it stands; once where none does.
    pub(super) fn plays(&self) -> Plays {
        let mut walk = Self { lzw: Decoder::new(), indices: Vec::new(), ..*self };
        // What is broken is found when it is read.
        walk.find_plays().ok().flatten().unwrap_or(Plays::ONCE)
    }

    fn find_plays(&mut self) -> Result<Option<Plays>, Error> {
        loop {
            match self.take::<1>()? {
                [0x21] => {
                    let [label] = self.take()?;
                    let first = self.sub_block()?;
                    if label == 0xff && matches!(first, Some(b"NETSCAPE2.0" | b"ANIMEXTS1.0")) {
                        while let Some(block) = self.sub_block()? {
                            if let [1, low, high, ..] = *block {
                                // Browsers repeat so many times what was played once.
                                let repeats = u32::from(u16::from_le_bytes([low, high]));
                                return Ok(Some(if repeats == 0 { Plays::FOREVER } else { Plays(NonZeroU32::new(repeats + 1)) }));
                            }
                        }
                    } else if first.is_some() {
                        self.skip_sub_blocks()?;
                    }
                }
                [0x2c] => {
                    let [.., packed] = self.take::<9>()?;
                    self.colours(packed)?;
                    self.take::<1>()?;
                    self.skip_sub_blocks()?;
                }
                _ => return Ok(None),
            }
        }
    }

    /// The next picture; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Placed<'s>>, Error> {
        let mut control = Control { packed: 0, delay_cs: 0, transparent: 0 };
        loop {
            if self.at >= self.source.len() && self.pictures > 0 {
                return Ok(None);
            }
            match self.take::<1>()? {
                [0x21] => {
                    let [label] = self.take()?;
                    let first = self.sub_block()?;
                    if let (0xf9, Some(&[packed, low, high, transparent, ..])) = (label, first) {
                        control = Control { packed, delay_cs: u16::from_le_bytes([low, high]), transparent };
                    }
                    if first.is_some() {
                        self.skip_sub_blocks()?;
                    }
                }
                [0x2c] => return self.picture(control).map(Some),
                [0x3b] if self.pictures == 0 => return Err(malformed("gif ends without a picture")),
                [0x3b] => return Ok(None),
                _ if self.pictures > 0 => return Ok(None),
                _ => return Err(malformed("gif has an unknown block")),
            }
        }
    }

    fn picture(&mut self, control: Control) -> Result<Placed<'s>, Error> {
        let [l0, l1, t0, t1, w0, w1, h0, h1, packed] = self.take()?;
        let number = |low, high| usize::from(u16::from_le_bytes([low, high]));
        let (width, height) = (number(w0, w1), number(h0, h1));
        let palette = self.colours(packed)?.unwrap_or(self.global);
        if palette.is_empty() {
            return Err(malformed("gif has a picture without colours"));
        }
        let [code_bits] = self.take()?;
        let pixels = width * height;
        if pixels as u64 > self.max_pixels {
            let text = format!("gif has a frame of {pixels} pixels, limit is {}", self.max_pixels);
            return Err(Error::new(ErrorKind::LimitExceeded, DECODE, text).in_format(Format::Gif));
        }
        if pixels == 0 {
            self.indices.clear();
            self.skip_sub_blocks()?;
        } else {
            if self.indices.len() != pixels + SLACK {
                self.indices.clear();
                self.indices.shrink_to(pixels + SLACK);
                self.indices.resize(pixels + SLACK, 0);
            }
            self.at = self.lzw.decode(self.source, self.at, code_bits, pixels, &mut self.indices).map_err(|fault| match fault {
                Fault::Truncated => truncated(),
                Fault::Malformed => malformed("gif is broken"),
            })?;
        }
        self.pictures += 1;
        Ok(Placed {
            left: number(l0, l1),
            top: number(t0, t1),
            width,
            height,
            interlaced: packed & 0x40 != 0,
            palette,
            transparent: (control.packed & 1 == 1).then_some(control.transparent),
            delay_cs: control.delay_cs,
            disposal: match control.packed >> 2 & 7 {
                2 => Disposal::Clear,
                3 => Disposal::Restore,
                _ => Disposal::Keep,
            },
        })
    }
}

/// Of a picture of `height` rows that came in the order of an interlaced one (appendix E): the row each of them is.
pub(super) fn interlaced_rows(height: usize) -> impl Iterator<Item = usize> {
    [(0, 8), (4, 8), (2, 4), (1, 2)].into_iter().flat_map(move |(first, step)| (first..height).step_by(step))
}
