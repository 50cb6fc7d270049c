//! What was measured lately, for percentiles: a sketch of each series for each minute, kept for an hour.
//!
//! A sketch counts values in buckets whose bounds grow by a constant factor (DDSketch, Masson, Rim and Lee, VLDB 2019), so that every quantile it
//! gives is within [`ERROR`] of a value that was measured, however they are spread. It knows no clock: a minute is a number that grows.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// How many minutes are kept.
pub(super) const MINUTES: u64 = 60;
/// A quantile is off by so much of itself at the most.
const ERROR: f64 = 0.01;
/// Bounds of buckets are so far apart, as a factor.
const FACTOR: f64 = (1.0 + ERROR) / (1.0 - ERROR);
/// What takes longer counts as this long, but for the maximum.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Which values belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// All of a stage.
    Stage,
    /// Those of results in a format.
    Format(&'static str),
    /// Those of one kind of work.
    Operation(&'static str),
    /// Those of a priority.
    Priority(&'static str),
}

/// A series: what values belong to, and the stage they were measured in.
pub(super) type Series = (By, &'static str);

/// Durations, as counts by logarithm.
#[derive(Clone, Debug, Default)]
struct Sketch {
    /// By bucket, ascending.
    buckets: Vec<(u16, u32)>,
    count: u64,
    max: Duration,
}

impl Sketch {
    fn add(&mut self, time: Duration) {
        let bucket = bucket_of(time);
        self.add_many(bucket, 1);
        self.count += 1;
        self.max = self.max.max(time);
    }

    fn add_many(&mut self, bucket: u16, count: u32) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    fn add_all(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add_many(*bucket, *count);
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The value of which so large a share is not above (nearest rank).
    fn quantile(&self, share: f64) -> Duration {
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += u64::from(*count);
            if seen >= rank {
                return middle_of(*bucket).min(self.max);
            }
        }
        self.max
    }
}

/// Bucket i holds what is above FACTOR^(i-1) µs and not above FACTOR^i µs; the first one all up to a microsecond.
fn bucket_of(time: Duration) -> u16 {
    let us = time.min(LONGEST).as_nanos() as f64 / 1000.0;
    // Below 1300 for the longest.
    if us <= 1.0 { 0 } else { (us.ln() / FACTOR.ln()).ceil() as u16 }
}

/// The value that is off by the same share of both bounds of a bucket.
fn middle_of(bucket: u16) -> Duration {
    let us = 2.0 * FACTOR.powi(i32::from(bucket)) / (FACTOR + 1.0);
    Duration::from_nanos((us * 1000.0) as u64)
}

/// Quantiles of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// How many values.
    pub count: u64,
    /// The median.
    pub p50: Duration,
    /// Nine of ten are not above.
    pub p90: Duration,
    /// 99 of 100 are not above.
    pub p99: Duration,
    /// The largest, exactly.
    pub max: Duration,
}

/// One minute.
#[derive(Debug, Default)]
struct Minute {
    number: u64,
    series: BTreeMap<Series, Sketch>,
    completed: u64,
    failed: u64,
}

/// The last hour, minute by minute.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The newest last.
    minutes: VecDeque<Minute>,
}

/// What some minutes came to.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) series: BTreeMap<Series, Quantiles>,
}

impl Window {
    /// The minute of this number, which is not before the last one that was asked for.
    fn minute(&mut self, number: u64) -> &mut Minute {
        let number = self.minutes.back().map_or(number, |last| number.max(last.number));
        if self.minutes.back().is_none_or(|last| last.number < number) {
            while self.minutes.front().is_some_and(|first| first.number + MINUTES <= number) {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Minute { number, ..Minute::default() });
        }
        let last = self.minutes.len() - 1;
        &mut self.minutes[last]
    }

    pub(super) fn record(&mut self, minute: u64, series: Series, time: Duration) {
        self.minute(minute).series.entry(series).or_default().add(time);
    }

    pub(super) fn count(&mut self, minute: u64, completed: bool) {
        let minute = self.minute(minute);
        *(if completed { &mut minute.completed } else { &mut minute.failed }) += 1;
    }

    /// The last `minutes` minutes, that of `now` the last of them.
    pub(super) fn sum(&self, now: u64, minutes: u64) -> Sum {
        let (mut all, mut sum): (BTreeMap<Series, Sketch>, _) = (BTreeMap::new(), Sum::default());
        for minute in self.minutes.iter().filter(|minute| minute.number + minutes > now) {
            (sum.completed, sum.failed) = (sum.completed + minute.completed, sum.failed + minute.failed);
            for (series, sketch) in &minute.series {
                all.entry(*series).or_default().add_all(sketch);
            }
        }
        let quantiles = |sketch: Sketch| Quantiles {
            count: sketch.count,
            p50: sketch.quantile(0.5),
            p90: sketch.quantile(0.9),
            p99: sketch.quantile(0.99),
            max: sketch.max,
        };
        sum.series = all.into_iter().map(|(series, sketch)| (series, quantiles(sketch))).collect();
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: Series = (By::Stage, "decode");

    /// Values without a pattern (splitmix64), spread over `octaves` powers of two of microseconds.
    fn spread(count: u64, octaves: f64) -> Vec<Duration> {
        let value = |n: u64| {
            let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let share = (z ^ (z >> 31)) as f64 / u64::MAX as f64;
            Duration::from_nanos((1000.0 * (share * octaves).exp2()) as u64)
        };
        (0..count).map(value).collect()
    }

    #[test]
    fn quantiles_are_within_the_error_of_the_true_ones() {
        for (count, octaves) in [(1, 10.0), (2, 25.0), (100, 4.0), (20_000, 30.0)] {
            let mut values = spread(count, octaves);
            let mut window = Window::default();
            values.iter().for_each(|value| window.record(0, SERIES, *value));
            let found = window.sum(0, 1).series[&SERIES];
            values.sort();
            assert_eq!((found.count, found.max), (count, values[values.len() - 1]));
            for (share, found) in [(0.5, found.p50), (0.9, found.p90), (0.99, found.p99)] {
                let rank = ((share * count as f64).ceil() as usize).max(1);
                let truth = values[rank - 1].as_secs_f64();
                let off = (found.as_secs_f64() - truth).abs() / truth;
                assert!(off <= ERROR * 1.001, "{share} of {count}: {found:?} is off by {off} of {truth}");
            }
        }
    }

    #[test]
    fn nothing_and_ages_are_values_too() {
        let mut window = Window::default();
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            window.record(0, SERIES, time);
        }
        let found = window.sum(0, 1).series[&SERIES];
        assert!(found.p50 <= Duration::from_micros(1) && found.max == Duration::MAX, "{found:?}");
        assert!(found.p99 >= LONGEST.mul_f64(0.99) && found.p99 <= LONGEST.mul_f64(1.01), "{found:?}");
    }

    #[test]
    fn a_window_is_of_its_minutes_and_no_others() {
        let mut window = Window::default();
        for minute in [0, 1, 5, 59] {
            window.record(minute, SERIES, Duration::from_millis(minute + 1));
            window.count(minute, minute != 5);
        }
        let counted = |window: &Window, now, minutes| window.sum(now, minutes).series.get(&SERIES).map_or(0, |found| found.count);
        assert_eq!([1, 54, 55, 59, 60].map(|minutes| counted(&window, 59, minutes)), [1, 1, 2, 3, 4]);
        assert_eq!(counted(&window, 61, 60), 2, "a minute that nothing happened in counts all the same");
        let sum = window.sum(59, 60);
        assert_eq!((sum.completed, sum.failed), (3, 1));
        window.record(60, SERIES, Duration::from_millis(1));
        assert_eq!(counted(&window, 60, 60), 4, "the first minute is gone");
        // A clock that stands or goes back writes into the newest minute.
        window.record(3, SERIES, Duration::from_millis(1));
        assert_eq!(counted(&window, 60, 1), 2);
    }

    #[test]
    fn memory_is_bounded_by_the_buckets() {
        let mut window = Window::default();
        for value in spread(200_000, 36.0) {
            window.record(7, SERIES, value);
        }
        let sketch = &window.minutes[0].series[&SERIES];
        assert!(sketch.buckets.len() < 1300, "{} buckets", sketch.buckets.len());
        let many: u64 = sketch.buckets.iter().map(|(_, count)| u64::from(*count)).sum();
        assert_eq!(many, 200_000);
    }
}
