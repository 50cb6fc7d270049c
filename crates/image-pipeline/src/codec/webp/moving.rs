//! Animated WebP out: frames are pictures of their own, written by libwebp as stills are, and put together here (RFC 9649, section 2.7.1).
//! Safe code: the container is a list of chunks.
//!
//! Of each frame the least rectangle that changed is written. libwebp's own assembler drops frames that equal the one before, so their number
//! would change, and holds four canvases; this one holds one (record 0041).

use super::encode;
use crate::codec::{
    ENCODE, Output, Plays,
    changes::{Rect, changed},
};
use crate::error::{Error, ErrorKind};
use crate::pixels::{Layout, Pixels, Shape};
use crate::probe::Format;

/// Bytes before the first frame: RIFF head, VP8X, ANIM.
const HEAD_BYTES: usize = 12 + 18 + 14;
/// Longest duration, 24 bits of milliseconds.
const MOST_MS: u32 = 0xff_ffff;
/// Side of the blocks that lossy frames leave out.
const BLOCK: usize = 8;
/// Flags of VP8X and of ANMF.
const HAS_ANIMATION: u8 = 0x02;
const HAS_ALPHA: u8 = 0x10;
const DO_NOT_BLEND: u8 = 0x02;

/// Writes frames as they come.
pub(crate) struct Writer {
    file: Vec<u8>,
    output: Output,
    plays: Plays,
    width: usize,
    height: usize,
    /// What was asked to be on the screen; empty before the first frame.
    shown: Vec<[u8; 4]>,
    /// Difference of a channel that is let pass: none where nothing may be lost.
    tolerance: u8,
    has_alpha: bool,
}

/// Bytes held from the first frame to the last, `frames` of them, the file included: an upper bound for real pictures, from measured noise.
pub(crate) fn held_bytes(shape: Shape, frames: u64, output: Output) -> u64 {
    // Sixteenths of a byte a pixel.
    let share = match output {
        Output { lossless: true, .. } => 68,
        Output { quality: ..=80, .. } => 20,
        Output { quality: ..=95, .. } => 36,
        _ => 48,
    };
    let alpha = if shape.layout == Layout::Rgba8 && !output.lossless { 16 } else { 0 };
    let file_bytes = frames.saturating_mul(shape.pixels() * (share + alpha) / 16 + 1024);
    // With blocks beside its frames the file is copied once.
    let copied_bytes = if output.carry.is_nothing() { 0 } else { file_bytes };
    shape.pixels() * 4 + file_bytes + file_bytes / 4 + copied_bytes
}

/// Bytes held beside that while a frame is written.
pub(crate) fn frame_bytes(shape: Shape, output: Output) -> u64 {
    // The frame as colours, and the part of it that is written.
    shape.pixels() * 8 + crate::codec::still_working_bytes(Shape { layout: Layout::Rgba8, ..shape }, output)
}

impl Writer {
    /// For an animation of frames of this shape, played so often.
    pub(crate) fn new(shape: Shape, output: Output, plays: Plays) -> Self {
        // What libwebp's assembler lets pass: 31 at quality 0, 1 at 100.
        let loss = 1.0 - (f32::from(output.quality.min(100)) / 100.0).sqrt();
        Self {
            file: vec![0; HEAD_BYTES],
            output,
            plays,
            width: shape.width_px as usize,
            height: shape.height_px as usize,
            shown: Vec::new(),
            tolerance: if output.lossless { 0 } else { (1.0 + 30.0 * loss) as u8 },
            has_alpha: false,
        }
    }

    /// Takes the next frame, which stays for so long.
    ///
    /// # Errors
    /// `Internal`, `LimitExceeded` where the file would be larger than the format can say.
    pub(crate) fn add(&mut self, pixels: &Pixels, delay_ms: u32) -> Result<(), Error> {
        let picture = straight(pixels);
        if picture.len() != self.width * self.height {
            return Err(Error::new(ErrorKind::Internal, ENCODE, "frames of an animation differ in size").in_format(Format::WebP));
        }
        let tolerance = self.tolerance;
        let differs = move |before: [u8; 4], after: [u8; 4]| {
            before != after && (before[3] != after[3] || (0..3).any(|channel| before[channel].abs_diff(after[channel]) > tolerance))
        };
        let mut rect = if self.shown.is_empty() {
            Rect { left: 0, top: 0, width: self.width, height: self.height }
        } else {
            changed(&self.shown, &picture, self.width, differs)
        };
        if rect.is_empty() {
            // Nothing changed; the format wants a pixel.
            rect = Rect { left: 0, top: 0, width: 1, height: 1 };
        }
        // Places are even.
        let rect =
            Rect { left: rect.left & !1, top: rect.top & !1, width: rect.width + (rect.left & 1), height: rect.height + (rect.top & 1) };
        let mut part: Vec<[u8; 4]> = rect.rows(self.width).flat_map(|row| picture[row].iter().copied()).collect();
        let mut blends = false;
        if self.shown.is_empty() {
            self.shown = picture;
        } else {
            let kept = self.kept(&picture, rect, differs);
            blends = !kept.is_empty();
            for (row, pixels) in rect.rows(self.width).enumerate() {
                for (column, at) in pixels.enumerate() {
                    match kept.get(row * rect.width + column) {
                        Some(Some(stand_in)) => part[row * rect.width + column] = *stand_in,
                        _ => self.shown[at] = picture[at],
                    }
                }
            }
        }
        self.write(rect, &part, delay_ms.min(MOST_MS), blends)
    }

    /// What pixels of the rectangle show through to what is there already, each with the colour that stands in its place, transparent; none
    /// where little would be left out, or where something must become transparent, which cannot be drawn over.
    fn kept(&self, picture: &[[u8; 4]], rect: Rect, differs: impl Fn([u8; 4], [u8; 4]) -> bool) -> Vec<Option<[u8; 4]>> {
        let mut kept = vec![None; rect.width * rect.height];
        let (mut same, mut count) = (vec![false; kept.len()], 0);
        for (row, pixels) in rect.rows(self.width).enumerate() {
            for (column, at) in pixels.enumerate() {
                if differs(self.shown[at], picture[at]) {
                    if picture[at][3] < 255 {
                        return Vec::new();
                    }
                } else {
                    same[row * rect.width + column] = true;
                    count += 1;
                }
            }
        }
        if 2 * count < kept.len() {
            return Vec::new();
        }
        if self.output.lossless {
            kept.iter_mut().zip(&same).filter(|(_, same)| **same).for_each(|(kept, _)| *kept = Some([0; 4]));
            return kept;
        }
        // Lossy pictures have no sharp edges: whole blocks, of the colour they have in the mean.
        let mut left_out = 0;
        for top in (0..rect.height).step_by(BLOCK) {
            for left in (0..rect.width).step_by(BLOCK) {
                let places = || {
                    let (right, bottom) = ((left + BLOCK).min(rect.width), (top + BLOCK).min(rect.height));
                    (top..bottom).flat_map(move |y| (left..right).map(move |x| y * rect.width + x))
                };
                if places().all(|at| same[at]) {
                    let colour_at = |at: usize| picture[(rect.top + at / rect.width) * self.width + rect.left + at % rect.width];
                    let count = places().count() as u32;
                    let mean = |channel: usize| (places().map(|at| u32::from(colour_at(at)[channel])).sum::<u32>() / count) as u8;
                    let stand_in = Some([mean(0), mean(1), mean(2), 0]);
                    places().for_each(|at| kept[at] = stand_in);
                    left_out += count as usize;
                }
            }
        }
        if 2 * left_out < kept.len() { Vec::new() } else { kept }
    }

    /// Appends an ANMF chunk.
    fn write(&mut self, rect: Rect, part: &[[u8; 4]], delay_ms: u32, blends: bool) -> Result<(), Error> {
        let is_opaque = part.iter().all(|pixel| pixel[3] == 255);
        let (layout, bytes) = if is_opaque {
            (Layout::Rgb8, part.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect())
        } else {
            (Layout::Rgba8, part.as_flattened().to_vec())
        };
        self.has_alpha |= !is_opaque;
        let internal = || Error::new(ErrorKind::Internal, ENCODE, "webp could not be put together").in_format(Format::WebP);
        let pixels = Pixels::new(rect.width as u32, rect.height as u32, layout, bytes).ok_or_else(internal)?;
        let still = encode(&pixels, self.output)?;
        drop(pixels);
        let chunks = bitstream(&still).ok_or_else(internal)?;
        let frame_bytes: usize = chunks.clone().map(<[u8]>::len).sum::<usize>() + 16;
        let needed_bytes = frame_bytes + 8;
        if u32::try_from(self.file.len() + needed_bytes).is_err() {
            return Err(
                Error::new(ErrorKind::LimitExceeded, ENCODE, "animation is larger than the 4 GiB of a webp").in_format(Format::WebP)
            );
        }
        if self.file.capacity() - self.file.len() < needed_bytes {
            // No doubling.
            self.file.reserve_exact(needed_bytes.max(self.file.len() / 4));
        }
        let three = |value: usize| (value as u32).to_le_bytes();
        self.file.extend(b"ANMF");
        self.file.extend((frame_bytes as u32).to_le_bytes());
        for value in [rect.left / 2, rect.top / 2, rect.width - 1, rect.height - 1, delay_ms as usize] {
            self.file.extend(&three(value)[..3]);
        }
        self.file.push(if blends { 0 } else { DO_NOT_BLEND });
        chunks.for_each(|chunk| self.file.extend(chunk));
        Ok(())
    }

    /// What its frames are, as far as the container says.
    pub(crate) fn shape(&self) -> Shape {
        Shape { width_px: self.width as u32, height_px: self.height as u32, layout: Layout::Rgba8 }
    }

    /// The file.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend(b"RIFF");
        head.extend((self.file.len() as u32 - 8).to_le_bytes());
        head.extend(b"WEBPVP8X\x0a\0\0\0");
        head.extend([HAS_ANIMATION | if self.has_alpha { HAS_ALPHA } else { 0 }, 0, 0, 0]);
        head.extend(&(self.width as u32 - 1).to_le_bytes()[..3]);
        head.extend(&(self.height as u32 - 1).to_le_bytes()[..3]);
        // A background that is transparent.
        head.extend(b"ANIM\x06\0\0\0\0\0\0\0");
        let times = self.plays.0.map_or(0, |times| u16::try_from(times.get()).unwrap_or(u16::MAX));
        head.extend(times.to_le_bytes());
        self.file[..HEAD_BYTES].copy_from_slice(&head);
        self.file
    }
}

/// The chunks of a still file that make its picture, each with its head and padding: alpha, then the bitstream.
fn bitstream(still: &[u8]) -> Option<impl Iterator<Item = &[u8]> + Clone> {
    let mut found = [None; 2];
    let mut rest = still.get(12..)?;
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let bytes = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let whole = bytes + (bytes & 1);
        let chunk = rest.get(..8 + whole)?;
        match &head[..4] {
            b"ALPH" => found[0] = Some(chunk),
            b"VP8 " | b"VP8L" => found[1] = Some(chunk),
            _ => {}
        }
        rest = body.get(whole..)?;
    }
    found[1].map(|_| found.into_iter().flatten())
}

/// Straight colours; what cannot be seen is one colour.
fn straight(pixels: &Pixels) -> Vec<[u8; 4]> {
    match pixels.layout {
        Layout::Rgba8 => pixels.bytes.as_chunks::<4>().0.iter().map(|&pixel| if pixel[3] == 0 { [0; 4] } else { pixel }).collect(),
        Layout::Rgb8 => pixels.bytes.as_chunks::<3>().0.iter().map(|&[r, g, b]| [r, g, b, 255]).collect(),
        Layout::Grey8 | Layout::Ycc444 | Layout::Ycc420 => pixels.bytes.iter().map(|&grey| [grey, grey, grey, 255]).collect(),
    }
}
