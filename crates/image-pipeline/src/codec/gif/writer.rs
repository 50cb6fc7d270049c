//! GIF out: the least rectangle of what changed, what did not change in it transparent, a colour table where the first one will not do.
//! Still pictures are animations of one frame that say nothing of time.
//!
//! A frame waits for the next one: only then is known what must become transparent again behind it. Alpha is all or nothing, as the format
//! has it. What is shown equals what was asked for, but for what a palette cannot show (record 0041).

use crate::codec::{
    ENCODE, Output, Plays,
    changes::{Rect, changed},
    gif::lzw,
    palette::{self, Counts, Exact, Palette, Spread},
};
use crate::error::{Error, ErrorKind};
use crate::pixels::{Layout, Pixels, Shape};
use crate::probe::Format;
use crate::watch::{BAND_BYTES, Watch, band_rows};
use gif::{DisposalMethod, Encoder, Frame, Repeat};
use std::borrow::Cow;

/// From here on a pixel is seen.
const SEEN_ALPHA: u8 = 128;
/// Pixels of a frame that a palette is tried on.
const TRIED: usize = 4096;
/// How much worse than for the frame it was made for a palette may do before another one is made: measured (record 0041).
const WORSE: u64 = 2;
/// Squared distance below which no palette is worth another one: two steps of each channel.
const GOOD: u64 = 17 * 4;
/// A delay that all browsers keep; below it they wait for ten.
const LEAST_DELAY_CS: u64 = 2;

/// Writes frames as they come.
pub(crate) struct Writer {
    encoder: Encoder<Vec<u8>>,
    width: usize,
    height: usize,
    /// Colours of a table, the transparent one included.
    most_colours: usize,
    dither: u8,
    is_still: bool,
    /// What is on the screen below the frame that waits.
    under: Vec<[u8; 4]>,
    waiting: Option<Waiting>,
    first: Option<Table>,
    last: Option<Table>,
    /// Time that was asked for and time that was written, in milliseconds.
    asked_ms: u64,
    written_ms: u64,
}

struct Waiting {
    picture: Vec<[u8; 4]>,
    delay_cs: u16,
}

/// A colour table, and how well it did for what it was made of.
struct Table {
    palette: Palette,
    /// 0: every colour is in it as it was.
    error: u64,
    /// It has a place for what is transparent.
    is_holed: bool,
}

/// Bytes held from the first frame to the last, `frames` of them, the file included: an upper bound. A pixel is a code of 12 bits at most.
pub(crate) fn held_bytes(shape: Shape, frames: u64) -> u64 {
    let file_bytes = frames.saturating_mul(shape.pixels().saturating_mul(25) / 16 + 1024);
    let canvases = if frames > 1 { 8 } else { 4 };
    (64 << 10) + shape.pixels() * canvases + file_bytes + file_bytes / 4
}

/// Bytes held beside that while a frame is written: the next one, indices, their codes, counts.
pub(crate) fn frame_bytes(shape: Shape) -> u64 {
    palette::working_bytes(shape.pixels()) + palette::spread_bytes(shape.width_px) + shape.pixels() * 8
}

fn failed(error: gif::EncodingError) -> Error {
    Error::new(ErrorKind::Internal, ENCODE, "gif could not be written").in_format(Format::Gif).caused_by(error)
}

impl Writer {
    /// For an animation of frames of this shape, played so often; `plays` of `None`: for a still picture.
    ///
    /// # Errors
    /// `LimitExceeded` where a side is longer than the format can say, `Internal`; as [`Watch::check`].
    pub(crate) fn new(shape: Shape, output: Output, plays: Option<Plays>, first: &Pixels, watch: Watch<'_>) -> Result<Self, Error> {
        let (Ok(width), Ok(height)) = (u16::try_from(shape.width_px), u16::try_from(shape.height_px)) else {
            return Err(Error::new(ErrorKind::LimitExceeded, ENCODE, "result is too large for gif").in_format(Format::Gif));
        };
        let (width_px, height_px) = (usize::from(width), usize::from(height));
        let mut writer = Self {
            encoder: Encoder::new(Vec::new(), width, height, &[]).map_err(failed)?,
            width: width_px,
            height: height_px,
            most_colours: usize::from(output.colors.unwrap_or(256)).clamp(2, 256),
            dither: output.dither,
            is_still: plays.is_none(),
            under: vec![[0; 4]; width_px * height_px],
            waiting: None,
            first: None,
            last: None,
            asked_ms: 0,
            written_ms: 0,
        };
        // The first frame's table is the file's.
        let table = writer.made_for(&seen(first, watch)?, Rect { left: 0, top: 0, width: width_px, height: height_px }, watch)?;
        writer.encoder = Encoder::new(Vec::new(), width, height, &table.bytes()).map_err(failed)?;
        match plays {
            Some(Plays(None)) => writer.encoder.set_repeat(Repeat::Infinite).map_err(failed)?,
            Some(Plays(Some(times))) => {
                // Browsers play once more than is said here; once is said by silence.
                let repeats = u16::try_from(times.get() - 1).unwrap_or(u16::MAX);
                writer.encoder.set_repeat(Repeat::Finite(repeats)).map_err(failed)?;
            }
            None => {}
        }
        writer.first = Some(table);
        Ok(writer)
    }

    /// Takes the next frame, which stays for so long.
    ///
    /// # Errors
    /// `Internal`; as [`Watch::check`].
    pub(crate) fn add(&mut self, pixels: &Pixels, delay_ms: u32, watch: Watch<'_>) -> Result<(), Error> {
        let picture = seen(pixels, watch)?;
        if picture.len() != self.under.len() {
            return Err(Error::new(ErrorKind::Internal, ENCODE, "frames of an animation differ in size").in_format(Format::Gif));
        }
        if let Some(before) = self.waiting.take() {
            let cleared = changed(&before.picture, &picture, self.width, |before, after| before[3] > after[3]);
            self.write(before, cleared, watch)?;
        }
        let delay_cs = self.delay_cs(delay_ms);
        self.waiting = Some(Waiting { picture, delay_cs });
        Ok(())
    }

    /// The file.
    ///
    /// # Errors
    /// `Internal`; as [`Watch::check`].
    pub(crate) fn finish(mut self, watch: Watch<'_>) -> Result<Vec<u8>, Error> {
        if let Some(last) = self.waiting.take() {
            self.write(last, Rect::NONE, watch)?;
        }
        self.encoder.into_inner().map_err(failed)
    }

    /// Hundredths of a second, so that the sum of all is as near as it can be; never less than browsers keep, where more was asked for.
    fn delay_cs(&mut self, delay_ms: u32) -> u16 {
        self.asked_ms += u64::from(delay_ms);
        let due_cs = (self.asked_ms.saturating_sub(self.written_ms) + 5) / 10;
        let least_cs = if delay_ms > 10 { LEAST_DELAY_CS } else { u64::from(delay_ms > 0) };
        // More than one step from what was asked for would be another rhythm.
        let least_cs = least_cs.max(u64::from(delay_ms / 10));
        let most_cs = u64::from(delay_ms.div_ceil(10)).max(least_cs);
        let delay_cs = due_cs.clamp(least_cs, most_cs).min(u64::from(u16::MAX));
        self.written_ms += delay_cs * 10;
        if delay_cs > due_cs || delay_cs == u64::from(u16::MAX) {
            // What cannot be said is not made up for by frames that can.
            self.written_ms = self.asked_ms;
        }
        delay_cs as u16
    }

    /// Writes a frame over what is under it; what must be transparent behind it is cleared with its rectangle.
    fn write(&mut self, frame: Waiting, cleared: Rect, watch: Watch<'_>) -> Result<(), Error> {
        watch.check(ENCODE)?;
        let Waiting { picture, delay_cs } = frame;
        let mut rect = changed(&self.under, &picture, self.width, |before, after| before != after).with(cleared);
        if rect.is_empty() {
            // Nothing changed; the format wants a pixel.
            rect = Rect { left: 0, top: 0, width: 1, height: 1 };
        }
        if self.is_still {
            rect = Rect { left: 0, top: 0, width: self.width, height: self.height };
        }
        let mut indices = vec![0; rect.width * rect.height];
        let (width, dither) = (self.width, self.dither);
        let in_use = self.choose(&picture, rect, watch)?;
        let chosen = if in_use == Chosen::First { &mut self.first } else { &mut self.last };
        let Some(chosen) = chosen else {
            return Err(Error::new(ErrorKind::Internal, ENCODE, "gif has no colour table").in_format(Format::Gif));
        };
        let (transparent, is_exact) = (chosen.transparent(), chosen.error == 0);
        let mut spread = Spread::new(rect.width, if is_exact { 0 } else { dither });
        let mut is_holed = false;
        for (at, (pixels, row)) in rect.rows(width).zip(indices.chunks_exact_mut(rect.width)).enumerate() {
            if at.is_multiple_of(rows_a_look(rect.width)) {
                watch.check(ENCODE)?;
            }
            let (after, under) = (&picture[pixels.clone()], &self.under[pixels]);
            row.fill(transparent);
            spread.row(&mut chosen.palette, row, |x| (after[x] != under[x] && after[x][3] > 0).then_some(after[x]));
            is_holed |= after.iter().zip(under).any(|(after, under)| after == under || after[3] == 0);
        }
        let local = (in_use == Chosen::Last).then(|| chosen.bytes());
        // No doubling.
        let most_bytes = indices.len() * 25 / 16 + 1024;
        let frame = Frame {
            delay: delay_cs,
            dispose: if cleared.is_empty() { DisposalMethod::Keep } else { DisposalMethod::Background },
            transparent: is_holed.then_some(transparent),
            left: rect.left as u16,
            top: rect.top as u16,
            width: rect.width as u16,
            height: rect.height as u16,
            palette: local,
            buffer: Cow::Owned(lzw::pack(indices, watch)?),
            ..Frame::default()
        };
        let file = self.encoder.get_mut();
        if file.capacity() - file.len() < most_bytes {
            file.reserve_exact(most_bytes.max(file.len() / 4));
        }
        self.encoder.write_lzw_pre_encoded_frame(&frame).map_err(failed)?;
        self.under = picture;
        if !cleared.is_empty() {
            for row in rect.rows(width) {
                self.under[row].fill([0; 4]);
            }
        }
        Ok(())
    }

    /// Sees to a table for what is drawn of a frame in its rectangle: the file's, the last one that was made, or a new one in its place.
    fn choose(&mut self, picture: &[[u8; 4]], rect: Rect, watch: Watch<'_>) -> Result<Chosen, Error> {
        let every = (rect.width * rect.height).div_ceil(TRIED).max(1);
        let Self { under, width, first, last, .. } = self;
        if drawn(picture, under, rect, *width).next().is_none() {
            return Ok(Chosen::First);
        }
        let tried: Vec<[u8; 4]> = drawn(picture, under, rect, *width).step_by(every).collect();
        for (table, chosen) in [(first, Chosen::First), (last, Chosen::Last)] {
            let Some(table) = table else { continue };
            let error = table.error_of(&tried);
            let will_do = if table.error > 0 {
                error <= (table.error * WORSE).max(GOOD)
            } else {
                error == 0 && table.holds(drawn(picture, under, rect, *width))
            };
            if will_do {
                return Ok(chosen);
            }
        }
        self.last = Some(self.made_for(picture, rect, watch)?);
        Ok(Chosen::Last)
    }

    /// A table made for what is drawn of a frame.
    fn made_for(&self, picture: &[[u8; 4]], rect: Rect, watch: Watch<'_>) -> Result<Table, Error> {
        let drawn = || drawn(picture, &self.under, rect, self.width);
        // A still picture without holes needs no colour for them.
        let is_holed = !self.is_still || picture.iter().any(|pixel| pixel[3] == 0);
        let most = self.most_colours - usize::from(is_holed);
        let mut exact = Exact::new(most);
        if drawn().all(|colour| exact.index(colour).is_some()) {
            return Ok(Table { palette: exact.palette(), error: 0, is_holed });
        }
        let pixels = rect.width * rect.height;
        let mut counts = Counts::new(pixels as u64, true);
        for rows in rect.bands(rows_a_look(rect.width)) {
            watch.check(ENCODE)?;
            self::drawn(picture, &self.under, rows, self.width).for_each(|colour| counts.add(colour));
        }
        watch.check(ENCODE)?;
        let mut table = Table { palette: counts.palette(most), error: 0, is_holed };
        let tried: Vec<[u8; 4]> = drawn().step_by(pixels.div_ceil(TRIED).max(1)).collect();
        table.error = table.error_of(&tried).max(1);
        Ok(table)
    }
}

/// Straight colours of what a frame draws in its rectangle over what is under it.
fn drawn<'p>(picture: &'p [[u8; 4]], under: &'p [[u8; 4]], rect: Rect, width: usize) -> impl Iterator<Item = [u8; 4]> + 'p {
    rect.rows(width).flatten().filter(|&at| picture[at] != under[at] && picture[at][3] > 0).map(|at| picture[at])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chosen {
    First,
    Last,
}

impl Table {
    /// Mean squared distance of colours from what they would become.
    fn error_of(&mut self, colours: &[[u8; 4]]) -> u64 {
        let palette = &mut self.palette;
        let sum: u64 = colours
            .iter()
            .map(|&colour| {
                let index = palette.nearest(colour);
                palette.distance(index, colour)
            })
            .sum();
        sum / (colours.len() as u64).max(1)
    }

    /// Whether all these colours are in it.
    fn holds(&mut self, mut colours: impl Iterator<Item = [u8; 4]>) -> bool {
        let palette = &mut self.palette;
        colours.all(|colour| {
            let index = palette.nearest(colour);
            palette.distance(index, colour) == 0
        })
    }

    /// The index of what is transparent: behind the colours.
    fn transparent(&self) -> u8 {
        self.palette.len().min(255) as u8
    }

    /// As the file has it.
    fn bytes(&self) -> Vec<u8> {
        let colours = self.palette.colours().flat_map(|[r, g, b, _]| [r, g, b]);
        colours.chain([0; 3].into_iter().take(if self.is_holed { 3 } else { 0 })).collect()
    }
}

/// Rows of so many pixels between two looks at the watch.
fn rows_a_look(width: usize) -> usize {
    band_rows(width * 4)
}

/// Straight colours whose alpha is all or nothing; what cannot be seen is one colour.
fn seen(pixels: &Pixels, watch: Watch<'_>) -> Result<Vec<[u8; 4]>, Error> {
    let mut all = Vec::with_capacity(pixels.shape().pixels() as usize);
    for band in pixels.bytes.chunks(BAND_BYTES) {
        watch.check(ENCODE)?;
        see(band, pixels.layout, &mut all);
    }
    Ok(all)
}

fn see(bytes: &[u8], layout: Layout, all: &mut Vec<[u8; 4]>) {
    match layout {
        Layout::Rgba8 => {
            let bytes = bytes.as_chunks::<4>().0;
            all.extend(bytes.iter().map(|&[r, g, b, alpha]| if alpha < SEEN_ALPHA { [0; 4] } else { [r, g, b, 255] }));
        }
        Layout::Rgb8 => all.extend(bytes.as_chunks::<3>().0.iter().map(|&[r, g, b]| [r, g, b, 255])),
        Layout::Grey8 | Layout::Ycc444 | Layout::Ycc420 => all.extend(bytes.iter().map(|&grey| [grey, grey, grey, 255])),
    }
}
