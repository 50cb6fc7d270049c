//! Results that are sums of many source pixels: the rows kept, and one result row from them. Knows nothing of strides or of how
//! rows come.
//!
//! Rows wait in a ring of as many as two neighbouring result rows are made of at most: as bytes where all are opaque and encoded values are wanted,
//! else as half-way samples. A picture with alpha begins with bytes; the first row that is not opaque widens the ring. Whether a result
//! row is made of bytes or of samples does not show in it: both sums are exact and rounded alike.

use std::ops::Range;

use crate::axis::{Axis, Columns};
use crate::light::{self, Deep};
use crate::{Job, Light, Pixel, horizontal, vertical, weave};

/// Most fraction bits of weights for half-way samples: 32-bit sums have room for no more.
pub(crate) const MOST_BITS_OF_WORDS: u32 = 15;
/// The same for bytes.
const MOST_BITS_OF_BYTES: u32 = 22;

/// Fraction bits that vertical weights may have.
pub(crate) fn most_bits(job: &Job) -> u32 {
    if job.light == Light::Linear || job.pixel == Pixel::Rgba8 { MOST_BITS_OF_WORDS } else { MOST_BITS_OF_BYTES }
}

/// How long the buffers are, in their elements. Kept in `u64`: a job may be refused for them.
struct Sizes {
    /// Samples between one row of the ring and the next.
    pitch: u64,
    slots: u64,
    /// Samples of one channel at half-way, and of one in the result.
    plane: u64,
    result: u64,
}

impl Sizes {
    fn new(across: &Axis, down: &Axis, channels: usize) -> Self {
        let plane = (across.length() as u64).next_multiple_of(weave::GROUP as u64);
        let block = vertical::BLOCK as u64;
        let blocks = (plane * channels as u64).div_ceil(block);
        // An odd number of cache lines, so that rows do not fall onto the same places of the cache.
        let pitch = (blocks | 1) * block;
        let plane = if channels == 1 { pitch } else { plane };
        let result = u64::from(across.target).next_multiple_of(weave::GROUP as u64);
        Self { pitch, slots: down.most_rows_of_two() as u64, plane, result }
    }
}

/// What a [`Filtering`] holds, at most.
pub(crate) fn working_bytes(job: &Job, across: &Axis, down: &Axis) -> u64 {
    let channels = job.pixel.channels();
    let sizes = Sizes::new(across, down, channels);
    let bytes_a_sample = match (job.pixel, job.light) {
        (_, Light::Linear) => 2,
        // The ring of bytes, and of samples once a row is not opaque.
        (Pixel::Rgba8, Light::Encoded) => 3,
        _ => 1,
    };
    let ring = sizes.slots.saturating_mul(sizes.pitch).saturating_mul(bytes_a_sample);
    let split = if channels == 1 { 0 } else { sizes.plane * channels as u64 };
    let rows = 2 * (2 * sizes.pitch + split + sizes.result * channels as u64);
    let columns = u64::from(across.target).next_multiple_of(Columns::STEP as u64) * (4 + 2 * Columns::each(across) as u64);
    // Opacity, offsets, weights, exact weights; the last two also while columns are weighed.
    let taps = (sizes.slots + 1) * (1 + 8 + 2 * 2 + 8) + across.most_taps() as u64 * (2 + 8);
    ring.saturating_add(rows).saturating_add(columns).saturating_add(taps)
}

/// What one result row is made of.
#[derive(Default)]
struct Taps {
    rows: Range<u32>,
    weights: Vec<i16>,
}

pub(crate) struct Filtering {
    down: Axis,
    columns: Columns,
    channels: usize,
    deep: Deep,
    alpha: bool,
    /// Whether the ring of samples is the one in use.
    is_deep: bool,
    /// Whether it is so from the first row on.
    starts_deep: bool,
    pitch: usize,
    slots: usize,
    bytes: Vec<u8>,
    words: Vec<i16>,
    /// For each row of the ring; never false where there is no alpha.
    opaque: Vec<bool>,
    /// The next result rows', one or two: source rows, and weights for all rows of both.
    taps: [Taps; 2],
    count: usize,
    /// Where in the ring those rows are.
    offsets: Vec<usize>,
    exact: Vec<f64>,
    /// Samples at half-way, interleaved; one row for each channel; results, one row for each channel.
    half_way: Vec<i16>,
    planes: Vec<i16>,
    plane: usize,
    results: Vec<i16>,
    result: usize,
}

impl Filtering {
    /// Sizes must have been checked: `working_bytes` must not pass the address space.
    pub(crate) fn new(job: &Job, across: &Axis, down: Axis) -> Self {
        let channels = job.pixel.channels();
        let sizes = Sizes::new(across, &down, channels);
        let (pitch, slots) = (sizes.pitch as usize, sizes.slots as usize);
        let (plane, result) = (sizes.plane as usize, sizes.result as usize);
        let starts_deep = job.light == Light::Linear;
        let mut filtering = Self {
            columns: Columns::new(across),
            channels,
            deep: Deep::new(job.pixel, job.light),
            alpha: job.pixel == Pixel::Rgba8,
            is_deep: starts_deep,
            starts_deep,
            pitch,
            slots,
            bytes: if starts_deep { Vec::new() } else { vec![0; slots * pitch] },
            words: if starts_deep { vec![0; slots * pitch] } else { Vec::new() },
            opaque: vec![true; slots],
            taps: [(); 2].map(|()| Taps { rows: 0..0, weights: Vec::with_capacity(slots + 1) }),
            count: 0,
            offsets: Vec::with_capacity(slots + 1),
            exact: Vec::with_capacity(slots),
            half_way: vec![0; 2 * pitch],
            planes: if channels == 1 { Vec::new() } else { vec![0; channels * plane] },
            plane,
            results: vec![0; channels * result],
            result,
            down,
        };
        filtering.prepare(0);
        filtering
    }

    /// As if no row had come.
    pub(crate) fn reset(&mut self) {
        self.is_deep = self.starts_deep;
        self.prepare(0);
    }

    /// Finds the weights of a result row, and of the one below if there is one: most of what it takes to add up bytes is to unpack
    /// them, and two rows that lie over nearly the same source share that.
    pub(crate) fn prepare(&mut self, result: u32) {
        self.count = if result + 1 < self.down.target { 2 } else { 1 };
        for (result, taps) in (result..).zip(&mut self.taps[..self.count]) {
            let first = self.down.weigh(result, &mut self.exact, &mut taps.weights);
            taps.rows = first..first + taps.weights.len() as u32;
        }
        let rows = self.rows();
        // Weights of both for all rows of both, and for an even number of them.
        let count = rows.len().next_multiple_of(2);
        for taps in &mut self.taps[..self.count] {
            let (leading, length) = ((taps.rows.start - rows.start) as usize, taps.weights.len());
            taps.weights.resize(count, 0);
            taps.weights.copy_within(..length, leading);
            taps.weights[..leading].fill(0);
        }
    }

    /// How many result rows are prepared.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The source row that must have come before the result rows prepared can be made.
    pub(crate) fn last_row(&self) -> u32 {
        self.rows().end - 1
    }

    /// Source rows of all that is prepared.
    fn rows(&self) -> Range<u32> {
        let taps = &self.taps[..self.count];
        let first = taps.iter().map(|taps| taps.rows.start).min().unwrap_or(0);
        first..taps.iter().map(|taps| taps.rows.end).max().unwrap_or(1)
    }

    /// Keeps a source row, the region's part of it.
    pub(crate) fn keep(&mut self, index: u32, row: &[u8]) {
        let slot = index as usize % self.slots;
        let place = slot * self.pitch;
        let opaque = !self.alpha || light::is_opaque(row);
        self.opaque[slot] = opaque;
        if !opaque && !self.is_deep {
            self.is_deep = true;
            self.words.resize(self.bytes.len(), 0);
            for (word, byte) in self.words.iter_mut().zip(&self.bytes) {
                *word = light::widen(*byte);
            }
        }
        if self.is_deep {
            self.deep.row(row, &mut self.words[place..][..row.len()]);
        } else {
            self.bytes[place..][..row.len()].copy_from_slice(row);
        }
    }

    /// Makes the result rows prepared, of `row_bytes` each; all they are made of must be kept.
    pub(crate) fn produce(&mut self, out: &mut [u8], row_bytes: usize) {
        let rows = self.rows();
        self.offsets.clear();
        self.offsets.extend(rows.clone().map(|row| row as usize % self.slots * self.pitch));
        // Rows are added by twos; an odd one has another beside it, without weight.
        if !self.offsets.len().is_multiple_of(2) {
            self.offsets.push(self.offsets[0]);
        }
        let bits = self.down.bits;
        let two = &self.taps[..self.count];
        let (upper, lower) = self.half_way.split_at_mut(self.pitch);
        // From an even place to an even place.
        let spans = |taps: &Taps| {
            let (start, end) = ((taps.rows.start - rows.start) as usize, (taps.rows.end - rows.start) as usize);
            start / 2 * 2..end.next_multiple_of(2)
        };
        match two {
            [first, second] if !self.is_deep => {
                let weights = [&first.weights[..], &second.weights[..]];
                vertical::sum_bytes_twice(&self.bytes, &self.offsets, weights, [spans(first), spans(second)], bits, [upper, lower]);
            }
            _ => {
                for (taps, half_way) in two.iter().zip([upper, lower]) {
                    let (offsets, weights) = (&self.offsets[spans(taps)], &taps.weights[spans(taps)]);
                    if self.is_deep {
                        vertical::sum_words(&self.words, offsets, weights, bits, half_way);
                    } else {
                        vertical::sum_bytes(&self.bytes, offsets, weights, bits, half_way);
                    }
                }
            }
        }
        for at in 0..self.count {
            let opaque = self.taps[at].rows.clone().all(|row| self.opaque[row as usize % self.slots]);
            self.finish(at, self.alpha && opaque, &mut out[at * row_bytes..][..row_bytes]);
        }
    }

    /// What is left to do when a row is at half-way.
    fn finish(&mut self, at: usize, opaque: bool, out: &mut [u8]) {
        let half_way = &self.half_way[at * self.pitch..][..self.pitch];
        let planes = if self.channels == 1 {
            half_way
        } else {
            weave::split(half_way, self.channels, &mut self.planes, self.plane);
            &self.planes
        };
        let wanted = if opaque { 3 } else { self.channels };
        horizontal::sum_columns(&self.columns, planes, self.plane, &mut self.results, self.result, wanted);
        if self.starts_deep || (self.alpha && !opaque) {
            self.deep.finish(&self.results, self.result, opaque, out);
        } else {
            weave::weave(&self.results, self.result, self.channels, opaque, out);
        }
    }
}
