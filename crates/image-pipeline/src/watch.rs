//! When work is to end before it is done: a deadline and a flag of the caller's.
//!
//! Every loop that goes over a whole picture looks here about once a [`BAND_BYTES`], a few milliseconds of work; codecs of others are asked
//! between their calls. Knows nothing of what is done. Invariant: what is done does not depend on it, but for whether it is done at all.

use crate::error::{Error, ErrorKind};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// Bytes that are worked on between two looks: whole pixels of one, three or four channels.
pub(crate) const BAND_BYTES: usize = 12 << 16;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch<'a> {
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancel: &'a AtomicBool,
}

impl Watch<'static> {
    /// Work that nobody ends.
    pub(crate) const NEVER: Self = {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self { deadline: None, cancel: &NEVER }
    };
}

impl Watch<'_> {
    /// Goes on, or not.
    ///
    /// # Errors
    /// `Cancelled` once the flag is set, `TimedOut` once the deadline has passed.
    pub(crate) fn check(self, stage: &'static str) -> Result<(), Error> {
        #[cfg(test)]
        let ends_here = LOOKS.with(looked);
        #[cfg(not(test))]
        let ends_here = false;
        if ends_here || self.cancel.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, stage, "work was cancelled"));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::new(ErrorKind::TimedOut, stage, "work took longer than is allowed"));
        }
        Ok(())
    }

    /// Whether work is to end: for those who have an error of their own.
    pub(crate) fn is_over(self) -> bool {
        self.check("").is_err()
    }

    /// Gives `bytes` to `work` band by band, each of whole pixels.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn bands(self, stage: &'static str, bytes: &mut [u8], mut work: impl FnMut(&mut [u8])) -> Result<(), Error> {
        for band in bytes.chunks_mut(BAND_BYTES) {
            self.check(stage)?;
            work(band);
        }
        Ok(())
    }
}

/// Rows of so many bytes that make a band: at least one.
pub(crate) const fn band_rows(row_bytes: usize) -> usize {
    let rows = BAND_BYTES / if row_bytes == 0 { 1 } else { row_bytes };
    if rows == 0 { 1 } else { rows }
}

#[cfg(test)]
thread_local! {
    /// Looks of this thread, and the one from which on work is to end.
    static LOOKS: std::cell::Cell<(u64, u64)> = const { std::cell::Cell::new((0, u64::MAX)) };
}

#[cfg(test)]
fn looked(looks: &std::cell::Cell<(u64, u64)>) -> bool {
    let (count, last) = looks.get();
    looks.set((count + 1, last));
    count >= last
}

/// Does `work`, which is ended after so many looks of this thread, and counts those.
#[cfg(test)]
pub(crate) fn ended_after<T>(last: u64, work: impl FnOnce() -> T) -> (T, u64) {
    LOOKS.set((0, last));
    let done = work();
    let (count, _) = LOOKS.replace((0, u64::MAX));
    (done, count)
}
