//! The rows' way through: which of them play a part, when a result row is complete, where it goes. Knows nothing of arithmetic.
//!
//! Invariant: result rows are made in order, by twos, as soon as the last source row that either needs has come, and from the same numbers however
//! the rows were cut into pieces.

use std::ops::Range;

use crate::axis::Axis;
use crate::filtering::{self, Filtering};
use crate::pick::Pick;
use crate::{Error, Filter, Job};

/// Makes one picture of another whose rows come in order. See the crate's text.
pub struct Resizer {
    way: Way,
    /// Rows of the source that play a part.
    rows: Range<u32>,
    /// The part of a row that does, and a whole row, in bytes.
    part: Range<usize>,
    row_bytes: usize,
    target_row_bytes: usize,
    target_rows: u32,
    /// The next source row to come, and how many result rows are complete.
    next: u32,
    done: u32,
}

enum Way {
    Pick(Pick),
    Filter(Box<Filtering>),
}

/// The two directions of a job, and what it takes.
struct Plan {
    across: Axis,
    down: Axis,
    picks: bool,
    working_bytes: u64,
}

impl Plan {
    fn new(job: &Job) -> Result<Self, Error> {
        let ((source_width, source_height), (target_width, target_height)) = (job.source_px, job.target_px);
        if [source_width, source_height, target_width, target_height].contains(&0) {
            return Err(Error::EmptySide);
        }
        let region = &job.region;
        let across = Axis::new(region.left_px, region.width_px, source_width, target_width, job.filter, filtering::MOST_BITS_OF_WORDS);
        let down = Axis::new(region.top_px, region.height_px, source_height, target_height, job.filter, filtering::most_bits(job));
        let (Some(across), Some(down)) = (across, down) else { return Err(Error::Region) };
        let picks = job.filter == Filter::Nearest || (across.is_copy() && down.is_copy());
        let working_bytes = if picks { Pick::working_bytes(&across) } else { filtering::working_bytes(job, &across, &down) }
            + size_of::<Filtering>() as u64;
        Ok(Self { across, down, picks, working_bytes })
    }
}

impl Resizer {
    /// Prepares a job: weights for the columns, buffers for the rows.
    ///
    /// # Errors
    /// [`Error::EmptySide`], [`Error::Region`]; [`Error::TooLarge`] if the result or the buffers pass the address space.
    pub fn new(job: &Job) -> Result<Self, Error> {
        let plan = Plan::new(job)?;
        let channels = job.pixel.channels();
        let fits = |bytes: u64| isize::try_from(bytes).map_err(|_| Error::TooLarge);
        fits(plan.working_bytes)?;
        let row_bytes = fits(u64::from(job.source_px.0) * channels as u64)? as usize;
        let target_row_bytes = fits(u64::from(job.target_px.0) * channels as u64)? as usize;
        fits((target_row_bytes as u64).checked_mul(u64::from(job.target_px.1)).ok_or(Error::TooLarge)?)?;
        let part = plan.across.source.start as usize * channels..plan.across.source.end as usize * channels;
        let (rows, way) = if plan.picks {
            let pick = Pick::new(&plan.across, plan.down, channels);
            (pick.source_row(0)..pick.source_row(job.target_px.1 - 1) + 1, Way::Pick(pick))
        } else {
            (plan.down.source.clone(), Way::Filter(Box::new(Filtering::new(job, &plan.across, plan.down))))
        };
        let next = rows.start;
        Ok(Self { way, rows, part, row_bytes, target_row_bytes, target_rows: job.target_px.1, next, done: 0 })
    }

    /// Rows of the source that play a part.
    pub fn source_rows(&self) -> Range<u32> {
        self.rows.clone()
    }

    /// Bytes of the whole result, tightly packed.
    pub fn target_bytes(&self) -> usize {
        self.target_row_bytes * self.target_rows as usize
    }

    /// Takes rows `first_row..` of the source, each `stride` bytes after the one before (the last may end with its pixels), and writes the
    /// result rows that are complete with them: two at a time where a filter sums. Returns how many result rows are complete, of all.
    ///
    /// Rows must come in order and without gaps, in pieces of any height; those outside of [`source_rows`](Self::source_rows), and
    /// those that came before, are passed over. `target` holds the whole result, tightly packed, and must keep its contents from
    /// call to call only for the caller's own sake.
    ///
    /// # Panics
    /// If rows that play a part are missing between this piece and the one before, if `stride` is shorter than a row, or if `target` is
    /// not [`target_bytes`](Self::target_bytes) long.
    pub fn push(&mut self, first_row: u32, rows: &[u8], stride: usize, target: &mut [u8]) -> usize {
        assert!(stride >= self.row_bytes, "rows are {stride} bytes apart, a row has {}", self.row_bytes);
        assert!(target.len() == self.target_bytes(), "the target has {} bytes, the result {}", target.len(), self.target_bytes());
        let count = (rows.len() + (stride - self.row_bytes)) / stride;
        let end = u32::try_from(u64::from(first_row) + count as u64).unwrap_or(u32::MAX).min(self.rows.end);
        if end <= self.next || self.is_done() {
            return self.done as usize;
        }
        assert!(first_row <= self.next, "rows from {first_row} on came, row {} was due", self.next);
        for index in self.next..end {
            let row = &rows[(index - first_row) as usize * stride..][self.part.clone()];
            match &mut self.way {
                Way::Pick(pick) => {
                    while self.done < self.target_rows && pick.source_row(self.done) == index {
                        pick.produce(row, &mut target[self.done as usize * self.target_row_bytes..][..self.target_row_bytes]);
                        self.done += 1;
                    }
                }
                Way::Filter(filtering) => {
                    filtering.keep(index, row);
                    while self.done < self.target_rows && filtering.last_row() <= index {
                        let count = filtering.count();
                        let place = self.done as usize * self.target_row_bytes;
                        filtering.produce(&mut target[place..][..count * self.target_row_bytes], self.target_row_bytes);
                        self.done += count as u32;
                        if self.done < self.target_rows {
                            filtering.prepare(self.done);
                        }
                    }
                }
            }
        }
        self.next = end;
        self.done as usize
    }

    /// Whether every result row is complete.
    pub fn is_done(&self) -> bool {
        self.done == self.target_rows
    }

    /// The same job again, for another picture: buffers and weights are kept.
    pub fn reset(&mut self) {
        (self.next, self.done) = (self.rows.start, 0);
        if let Way::Filter(filtering) = &mut self.way {
            filtering.reset();
        }
    }
}

/// Most bytes that a [`Resizer`] for this job holds: rows kept, buffers, weights. 0 for a job that is refused.
pub fn working_bytes(job: &Job) -> u64 {
    Plan::new(job).map_or(0, |plan| plan.working_bytes)
}

/// Does a job at once: `source` is the whole picture, tightly packed, and `target` the whole result.
///
/// # Errors
/// As [`Resizer::new`].
///
/// # Panics
/// If `source` or `target` is not as long as its sides say.
pub fn resize(job: &Job, source: &[u8], target: &mut [u8]) -> Result<(), Error> {
    let mut resizer = Resizer::new(job)?;
    assert!(source.len() as u64 == resizer.row_bytes as u64 * u64::from(job.source_px.1), "the source is {} bytes long", source.len());
    resizer.push(0, source, resizer.row_bytes, target);
    Ok(())
}
