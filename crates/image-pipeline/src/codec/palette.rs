//! Palettes: all colours of a picture where they are few, else the best few found by cutting the cloud of colours where it is widest, and
//! what each pixel becomes. Knows nothing of files.
//!
//! Colours are red, green, blue and alpha, weighted with alpha while they are compared, so that what cannot be seen plays no part. Whole
//! numbers wherever a result depends on them: the same pixels give the same palette everywhere.

use std::ops::Range;

mod exact;
mod spread;

pub(super) use exact::Exact;
pub(super) use spread::{Spread, spread_bytes};

/// What a step of red, green, blue and alpha counts for in a squared distance: as eyes have it, roughly.
const WEIGHTS: [i32; 4] = [3, 6, 2, 6];
/// Cells that colours are counted in.
const CELLS: usize = 1 << 16;
/// Slots of the memory of answers.
const ANSWERS: usize = 1 << 14;
/// Pixels of a picture that are counted at most; of larger ones some are left out.
const MOST_COUNTED: u64 = 1 << 20;
/// Rounds in which every colour moves to the mean of those that are nearest to it.
const ROUNDS: usize = 2;

/// Bytes held while a palette of a picture of so many pixels is made and used: cells, means of those that are not empty, answers.
pub(super) fn working_bytes(pixels: u64) -> u64 {
    (1700 << 10) + pixels.min(CELLS as u64) * 20
}

/// Straight to weighted with alpha.
#[inline]
pub(super) fn weighted([r, g, b, alpha]: [u8; 4]) -> [u8; 4] {
    if alpha == 255 {
        return [r, g, b, 255];
    }
    let by = |value: u8| ((u32::from(value) * u32::from(alpha) + 127) / 255) as u8;
    [by(r), by(g), by(b), alpha]
}

fn straight([r, g, b, alpha]: [u8; 4]) -> [u8; 4] {
    if alpha == 0 {
        return [0; 4];
    }
    let by = |value: u8| ((u32::from(value) * 255 + u32::from(alpha) / 2) / u32::from(alpha)).min(255) as u8;
    [by(r), by(g), by(b), alpha]
}

/// Colours, counted in cells of like ones.
pub(super) struct Counts {
    cells: Vec<Cell>,
    is_opaque: bool,
    every: u64,
    seen: u64,
}

#[derive(Clone, Copy, Default)]
struct Cell {
    count: u32,
    sum: [u32; 4],
}

impl Counts {
    /// For so many pixels at most; `is_opaque`: none of them is transparent.
    pub(super) fn new(pixels: u64, is_opaque: bool) -> Self {
        Self { cells: vec![Cell::default(); CELLS], is_opaque, every: pixels.div_ceil(MOST_COUNTED).max(1), seen: 0 }
    }

    /// Counts a straight colour.
    #[inline]
    pub(super) fn add(&mut self, colour: [u8; 4]) {
        self.seen += 1;
        if self.every > 1 && !self.seen.is_multiple_of(self.every) {
            return;
        }
        let colour = weighted(colour);
        let [r, g, b, alpha] = colour.map(usize::from);
        let cell = if self.is_opaque { r >> 3 << 11 | g >> 2 << 5 | b >> 3 } else { r >> 4 << 12 | g >> 4 << 8 | b >> 4 << 4 | alpha >> 4 };
        let cell = &mut self.cells[cell];
        cell.count += 1;
        for (sum, value) in cell.sum.iter_mut().zip(colour) {
            *sum += u32::from(value);
        }
    }

    /// The `most` colours, 1 to 256, that are near to all of them.
    pub(super) fn palette(self, most: usize) -> Palette {
        let mut points: Vec<Point> = self.cells.iter().filter(|cell| cell.count > 0).map(Point::of).collect();
        if points.is_empty() {
            return Palette::of(vec![[0; 4]]);
        }
        let mut boxes = vec![Cut::of(&points, 0..points.len())];
        while boxes.len() < most {
            let worst = boxes.iter().enumerate().max_by(|a, b| a.1.error.total_cmp(&b.1.error).then(b.0.cmp(&a.0)));
            let Some((index, cut)) = worst.filter(|(_, cut)| cut.error > 0.0) else { break };
            let cut = cut.clone();
            let middle = cut.range.start + split(&mut points[cut.range.clone()], cut.axis, cut.mean);
            if middle == cut.range.start || middle == cut.range.end {
                boxes[index].error = 0.0;
                continue;
            }
            boxes[index] = Cut::of(&points, cut.range.start..middle);
            boxes.push(Cut::of(&points, middle..cut.range.end));
        }
        let mut palette = Palette::of(boxes.iter().map(|cut| mean(&points[cut.range.clone()])).collect());
        for _ in 0..ROUNDS {
            palette = palette.moved(&points);
        }
        palette
    }
}

/// The mean of a cell's colours.
#[derive(Clone, Copy)]
struct Point {
    count: u32,
    at: [f32; 4],
}

impl Point {
    fn of(cell: &Cell) -> Self {
        Self { count: cell.count, at: cell.sum.map(|sum| sum as f32 / cell.count as f32) }
    }
}

/// Some points, and where they would be parted.
#[derive(Clone)]
struct Cut {
    range: Range<usize>,
    axis: usize,
    mean: f32,
    /// The sum of squared distances from the mean along all axes.
    error: f64,
}

impl Cut {
    fn of(points: &[Point], range: Range<usize>) -> Self {
        let (mut count, mut sum, mut squares) = (0.0_f64, [0.0_f64; 4], [0.0_f64; 4]);
        for point in &points[range.clone()] {
            let weight = f64::from(point.count);
            count += weight;
            for axis in 0..4 {
                let value = f64::from(point.at[axis]);
                sum[axis] += weight * value;
                squares[axis] += weight * value * value;
            }
        }
        let spread: [f64; 4] =
            std::array::from_fn(|axis| (squares[axis] - sum[axis] * sum[axis] / count).max(0.0) * f64::from(WEIGHTS[axis]));
        let axis = (1..4).fold(0, |best, axis| if spread[axis] > spread[best] { axis } else { best });
        // What floating point leaves of nothing.
        let error = Some(spread.iter().sum::<f64>()).filter(|error| *error > 1e-3 && range.len() > 1).unwrap_or(0.0);
        Self { range, axis, mean: (sum[axis] / count) as f32, error }
    }
}

/// Brings the points up to `mean` to the front; how many those are.
fn split(points: &mut [Point], axis: usize, mean: f32) -> usize {
    let mut front = 0;
    for at in 0..points.len() {
        if points[at].at[axis] <= mean {
            points.swap(front, at);
            front += 1;
        }
    }
    front
}

/// The mean of all, weighted with alpha as they are.
fn mean(points: &[Point]) -> [u8; 4] {
    let count: f64 = points.iter().map(|point| f64::from(point.count)).sum();
    std::array::from_fn(|axis| {
        let sum: f64 = points.iter().map(|point| f64::from(point.count) * f64::from(point.at[axis])).sum();
        (sum / count).round() as u8
    })
}

/// Up to 256 colours.
#[derive(Clone)]
pub(super) struct Palette {
    /// Weighted with alpha.
    colours: Vec<[u8; 4]>,
    /// The same by channel, as they are compared.
    channels: [[f32; 256]; 4],
    /// A colour and its index, by a hash of the colour.
    answers: Vec<u64>,
    /// Colours are told apart to the last bit.
    is_exact: bool,
}

impl Palette {
    /// Of colours weighted with alpha, 1 to 256 of them.
    fn of(mut colours: Vec<[u8; 4]>) -> Self {
        colours.truncate(256);
        let mut channels = [[0.0; 256]; 4];
        for (index, colour) in colours.iter().enumerate() {
            for (channel, &value) in channels.iter_mut().zip(colour) {
                channel[index] = f32::from(value);
            }
        }
        Self { colours, channels, answers: Vec::new(), is_exact: false }
    }

    /// Its colours, straight.
    pub(super) fn colours(&self) -> impl ExactSizeIterator<Item = [u8; 4]> + '_ {
        self.colours.iter().map(|&colour| straight(colour))
    }

    pub(super) fn len(&self) -> usize {
        self.colours.len()
    }

    /// The same colours in the order of their alpha, those that are opaque last.
    pub(super) fn with_transparent_first(self) -> Self {
        let Self { mut colours, is_exact, .. } = self;
        colours.sort_by_key(|colour| colour[3]);
        Self { is_exact, ..Self::of(colours) }
    }

    /// Index of the colour that is nearest to one that is weighted with alpha: to within a step of four, unless all are exact.
    #[inline]
    pub(super) fn nearest(&mut self, colour: [u8; 4]) -> u8 {
        if self.answers.is_empty() {
            self.answers = vec![u64::MAX; ANSWERS];
        }
        let all = u32::from_le_bytes(colour);
        let key = if self.is_exact { all } else { all >> 2 & 0x3f3f_3f3f };
        let slot = key.wrapping_mul(0x9e37_79b1) as usize >> 18;
        let answer = self.answers[slot];
        if (answer >> 8) as u32 == key && answer != u64::MAX {
            return answer as u8;
        }
        let index = self.search(if self.is_exact { colour } else { key.to_le_bytes().map(|six| six << 2 | six >> 4) });
        self.answers[slot] = u64::from(key) << 8 | u64::from(index);
        index
    }

    /// The first of those that are nearest. Whole numbers below 2^24, which floating point keeps: vectors of them are multiplied everywhere.
    fn search(&self, colour: [u8; 4]) -> u8 {
        let count = self.colours.len();
        let [red, green, blue, alpha] = [0, 1, 2, 3].map(|channel: usize| &self.channels[channel][..count]);
        let [r, g, b, a] = colour.map(f32::from);
        let [wr, wg, wb, wa] = WEIGHTS.map(|weight| weight as f32);
        let mut distances = [f32::MAX; 256];
        for (index, distance) in distances[..count].iter_mut().enumerate() {
            let (r, g, b, a) = (red[index] - r, green[index] - g, blue[index] - b, alpha[index] - a);
            *distance = r * r * wr + g * g * wg + b * b * wb + a * a * wa;
        }
        let least = distances.as_chunks::<8>().0.iter().fold([f32::MAX; 8], |mut least, eight| {
            for (least, &distance) in least.iter_mut().zip(eight) {
                *least = if distance < *least { distance } else { *least };
            }
            least
        });
        let least = least.into_iter().fold(f32::MAX, f32::min);
        distances.iter().position(|&distance| distance == least).unwrap_or(0) as u8
    }

    /// The squared distance of a colour weighted with alpha from that of `index`.
    pub(super) fn distance(&self, index: u8, colour: [u8; 4]) -> u64 {
        let apart = self.colours[usize::from(index)].iter().zip(colour).zip(WEIGHTS);
        apart.map(|((&ours, other), weight)| u64::from(ours.abs_diff(other)).pow(2) * weight as u64).sum()
    }

    /// Its colours moved to the mean of the points that are nearest to them.
    fn moved(self, points: &[Point]) -> Self {
        let mut sums = vec![(0.0_f64, [0.0_f64; 4]); self.colours.len()];
        for point in points {
            let index = self.search(point.at.map(|value| value.round() as u8));
            let (count, sum) = &mut sums[usize::from(index)];
            *count += f64::from(point.count);
            for (sum, value) in sum.iter_mut().zip(point.at) {
                *sum += f64::from(point.count) * f64::from(value);
            }
        }
        let colours = self.colours.iter().zip(sums).map(|(&colour, (count, sum))| {
            // One that is nearest to nothing stays.
            if count > 0.0 { sum.map(|sum| (sum / count).round() as u8) } else { colour }
        });
        Self::of(colours.collect())
    }
}

#[cfg(test)]
mod tests;
