//! One direction of the resampling: which source samples a result sample is made of, and with what weights. Knows nothing of pixels.
//!
//! A result sample `j` of `n` lies over the source at `c = start + (j + 1/2) * length / n`; source sample `i`, whose centre is at `i + 1/2`,
//! has the weight `f((i + 1/2 - c) / s)`, where `s = max(1, length / n)` stretches the filter when the picture shrinks. Only samples that
//! the region touches play a part, and the weights of one result sample are divided by their sum. As integers they keep that sum
//! exactly, so that flat colour stays flat: each is the difference of two rounded partial sums, and what a smooth picture gains by one
//! rounding it loses by the next.

use crate::Filter;
use std::f64::consts::PI;
use std::ops::Range;

/// What floating-point noise may add to an edge that is meant to lie between two pixels.
const EDGE: f64 = 1e-6;

/// Fraction bits of weights where the picture grows; no weight reaches 2 (one at an edge may pass 1).
const FEWEST_BITS: u32 = 14;

/// One direction of a job.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// Source samples that the region touches.
    pub(crate) source: Range<u32>,
    /// Result samples.
    pub(crate) target: u32,
    /// Where the region begins, and what one result sample takes of it, in source samples.
    start: f64,
    scale: f64,
    stretch: f64,
    /// Half the filter's width in source samples.
    radius: f64,
    filter: Filter,
    /// Fraction bits of the weights.
    pub(crate) bits: u32,
}

impl Axis {
    /// `None` if the region's side is empty, not finite or reaches beyond `side`. `most_bits` says what the sums have room for.
    pub(crate) fn new(start: f64, length: f64, side: u32, target: u32, filter: Filter, most_bits: u32) -> Option<Self> {
        let limit = f64::from(side);
        // Written so that NaN is refused.
        if !(start >= -EDGE && length > 0.0 && start + length <= limit + EDGE) {
            return None;
        }
        let start = start.clamp(0.0, limit);
        let length = length.min(limit - start);
        let first = (start + EDGE).floor().min(limit - 1.0) as u32;
        let end = ((start + length - EDGE).ceil().clamp(0.0, limit) as u32).max(first + 1);
        let scale = length / f64::from(target);
        let stretch = scale.max(1.0);
        let radius = filter.support() * stretch;
        let bits = (FEWEST_BITS + stretch.log2() as u32).min(most_bits);
        Some(Self { source: first..end, target, start, scale, stretch, radius, filter, bits })
    }

    /// Source samples in the region.
    pub(crate) fn length(&self) -> usize {
        self.source.len()
    }

    /// Whether every result sample is one source sample, in order.
    pub(crate) fn is_copy(&self) -> bool {
        self.length() == self.target as usize
            && (self.scale - 1.0).abs() * f64::from(self.target) < EDGE
            && (self.start - f64::from(self.source.start)).abs() < EDGE
    }

    /// The source sample nearest to the middle of a result sample.
    pub(crate) fn nearest(&self, result: u32) -> u32 {
        (self.centre(result).floor() as u32).clamp(self.source.start, self.source.end - 1)
    }

    /// Most weights a result sample has.
    pub(crate) fn most_taps(&self) -> usize {
        // Points one apart in a closed interval of twice the radius.
        ((2.0 * self.radius) as usize + 1).min(self.length())
    }

    /// Most source samples that two neighbouring result samples are made of.
    pub(crate) fn most_rows_of_two(&self) -> usize {
        if self.target == 1 { self.most_taps() } else { ((2.0 * self.radius + self.scale) as usize + 2).min(self.length()) }
    }

    fn centre(&self, result: u32) -> f64 {
        self.start + (f64::from(result) + 0.5) * self.scale
    }

    /// Puts the weights of a result sample into `weights` and returns the source sample that the first is for. They sum up to
    /// `1 << bits`; neither the first nor the last is zero. `exact` is scratch.
    pub(crate) fn weigh(&self, result: u32, exact: &mut Vec<f64>, weights: &mut Vec<i16>) -> u32 {
        let centre = self.centre(result);
        let nearest = self.nearest(result);
        let first = ((centre - self.radius - 0.5).ceil().max(0.0) as u32).clamp(self.source.start, nearest);
        let end = ((centre + self.radius + 0.5).floor().max(0.0) as u32).clamp(nearest + 1, self.source.end);
        exact.clear();
        let from = (f64::from(first) + 0.5 - centre) / self.stretch;
        self.filter.sample(from, 1.0 / self.stretch, (end - first) as usize, exact);
        let sum: f64 = exact.iter().sum();
        let unit = f64::from(1_u32 << self.bits) / sum;
        weights.clear();
        let (mut partial, mut so_far) = (0.0, 0);
        let mut leading = 0;
        for value in &*exact {
            partial += value * unit;
            // Far from zero, so that cutting off is rounding down.
            let rounded = (partial + (16_777_216.0 + 0.5)) as i32 - 16_777_216;
            let weight = rounded - so_far;
            so_far = rounded;
            if weight == 0 && weights.is_empty() {
                leading += 1;
                continue;
            }
            debug_assert!(i16::try_from(weight).is_ok(), "a weight of {weight}");
            weights.push(weight as i16);
        }
        while weights.last() == Some(&0) {
            weights.pop();
        }
        debug_assert_eq!(weights.iter().map(|weight| i32::from(*weight)).sum::<i32>(), 1 << self.bits);
        first + leading
    }
}

impl Filter {
    /// Half the width outside of which the filter is zero, in result samples.
    fn support(self) -> f64 {
        match self {
            Self::Lanczos3 => 3.0,
            Self::CatmullRom => 2.0,
            Self::Triangle => 1.0,
            Self::Nearest => 0.5,
        }
    }

    /// Values at `count` points from `x` on, `step` apart.
    fn sample(self, x: f64, step: f64, count: usize, values: &mut Vec<f64>) {
        let points = (0..count).map(|at| x + at as f64 * step);
        match self {
            Self::Lanczos3 => {
                // sinc(x) * sinc(x / 3) with t = pi * x / 3 is sin(3t) / 3t * sin(t) / t; sin(3t) = sin(t) * (3 - 4 * sin(t)^2). So one
                // sine does, and the next is found by turning on, not by asking the library.
                let (mut sine, mut cosine) = (PI / 3.0 * x).sin_cos();
                let (turn_sine, turn_cosine) = (PI / 3.0 * step).sin_cos();
                for x in points {
                    let t = PI / 3.0 * x;
                    let square = sine * sine;
                    values.push(if x.abs() >= 3.0 {
                        0.0
                    } else if t.abs() < 1e-7 {
                        1.0
                    } else {
                        square * (3.0 - 4.0 * square) / (3.0 * t * t)
                    });
                    (sine, cosine) = (sine * turn_cosine + cosine * turn_sine, cosine * turn_cosine - sine * turn_sine);
                }
            }
            Self::CatmullRom => values.extend(points.map(|x| {
                let x = x.abs();
                if x < 1.0 {
                    (1.5 * x - 2.5) * x * x + 1.0
                } else if x < 2.0 {
                    ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
                } else {
                    0.0
                }
            })),
            Self::Triangle => values.extend(points.map(|x| (1.0 - x.abs()).max(0.0))),
            Self::Nearest => values.extend(points.map(|_| 1.0)),
        }
    }
}

/// The weights of all result columns, laid out for vectors: as many for each, zeros behind.
pub(crate) struct Columns {
    /// For each result column, the first source sample, counted from the region's first.
    pub(crate) starts: Vec<u32>,
    /// `each` weights for every column.
    pub(crate) weights: Vec<i16>,
    pub(crate) each: usize,
    /// No column's weights reach beyond this many source samples.
    pub(crate) reach: usize,
    pub(crate) bits: u32,
}

impl Columns {
    /// Result columns are rounded up to this; those beyond have no weights.
    pub(crate) const STEP: usize = 8;

    /// Weights stored for each column.
    pub(crate) fn each(axis: &Axis) -> usize {
        match axis.most_taps() {
            ..=8 => 8,
            taps => taps.next_multiple_of(16),
        }
    }

    /// Source samples must be readable up to the next multiple of 16.
    pub(crate) fn new(axis: &Axis) -> Self {
        let each = Self::each(axis);
        let columns = (axis.target as usize).next_multiple_of(Self::STEP);
        let readable = axis.length().next_multiple_of(16);
        let mut starts = vec![0; columns];
        let mut all = vec![0; columns * each];
        let (mut exact, mut weights) = (Vec::with_capacity(axis.most_taps()), Vec::with_capacity(axis.most_taps()));
        for (result, (start, place)) in (0..axis.target).zip(starts.iter_mut().zip(all.chunks_exact_mut(each))) {
            let first = (axis.weigh(result, &mut exact, &mut weights) - axis.source.start) as usize;
            let from = first.min(readable - each);
            place[first - from..][..weights.len()].copy_from_slice(&weights);
            *start = from as u32;
        }
        Self { starts, weights: all, each, reach: readable, bits: axis.bits }
    }
}
