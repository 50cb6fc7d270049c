//! Room on the disk, asked for before a body is read: what is free, less the reserve, less what other uploads have declared and not yet sent.
//!
//! Invariant: bytes are counted once, as claimed, as arrived since the disk was last looked at, or as gone from what is free; a claim ends with
//! its request, however that ends. A declaration costs a client nothing, so it holds nothing from others: a claim is as large as what came, see
//! [`claim_bytes`].

use std::{
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::{domain::Code, store::Free};

use super::{App, Site, problem::Problem};

/// The disk is asked at most this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Files that can still be made below which uploads are refused: an upload is one and each result another, and folders and the catalog's own
/// files need some. Meant for file systems with a fixed number of them.
const RESERVE_FILES: u64 = 256;
/// What a request may claim ahead of its bytes before the first of them came, and at most.
const FIRST_CLAIM_BYTES: u64 = 1 << 20;
const MAX_CLAIM_BYTES: u64 = 64 << 20;

/// What is free and what is spoken for.
#[derive(Debug, Default)]
pub struct DiskGauge {
    looked: Mutex<Option<(Instant, Option<Free>)>>,
    /// Claimed by requests in flight, not yet arrived.
    claimed_bytes: AtomicU64,
    /// Arrived since the disk was last looked at: some of it may not show there yet.
    arrived_bytes: AtomicU64,
}

/// Room one request has spoken for. Dropping it gives back what did not arrive.
pub(super) struct DiskClaim {
    site: App,
    /// Never locked across an await.
    progress: StdMutex<Progress>,
}

/// How far a body has come.
#[derive(Debug, Default)]
struct Progress {
    /// Declared and not yet come.
    left_bytes: u64,
    came_bytes: u64,
    /// Its part of the gauge.
    claimed_bytes: u64,
}

/// What a body with so much left claims after so much came: as much again as came, within bounds. Many silent requests hold little that way, and
/// large bodies that are under way see each other.
fn claim_bytes(left_bytes: u64, came_bytes: u64) -> u64 {
    left_bytes.min(came_bytes.clamp(FIRST_CLAIM_BYTES, MAX_CLAIM_BYTES))
}

impl Site {
    /// What is free on the store's disk, at most a second old; `None` where it is not known.
    pub(super) async fn free_disk(&self) -> Option<Free> {
        let mut looked = self.disk.looked.lock().await;
        match *looked {
            Some((at, free)) if at.elapsed() < LOOK_EVERY => free,
            _ => {
                // Before the look: what arrives meanwhile is counted twice rather than not at all.
                self.disk.arrived_bytes.store(0, Ordering::Relaxed);
                // A store that cannot tell is not full for all we know; writing will tell.
                let free = self.store.free().await.ok().flatten();
                *looked = Some((Instant::now(), free));
                free
            }
        }
    }

    /// Whether the reserve is whole.
    pub(super) async fn has_disk_reserve(&self) -> bool {
        self.free_disk().await.is_none_or(|free| free.bytes >= self.disk_reserve_bytes && !self.is_short_of_files(free))
    }

    /// Room that uploads have spoken for: claimed, or arrived and perhaps not yet to be seen on the disk.
    pub(super) fn spoken_for_bytes(&self) -> u64 {
        self.disk.claimed_bytes.load(Ordering::Acquire).saturating_add(self.disk.arrived_bytes.load(Ordering::Acquire))
    }

    fn is_short_of_files(&self, free: Free) -> bool {
        // Who wants no reserve gets none.
        let reserve_files = if self.disk_reserve_bytes == 0 { 1 } else { RESERVE_FILES };
        free.files.is_some_and(|files| files < reserve_files)
    }
}

impl DiskClaim {
    /// A claim to nothing yet.
    pub(super) fn new(site: &App) -> Arc<Self> {
        Arc::new(Self { site: Arc::clone(site), progress: StdMutex::default() })
    }

    /// Claims room for a body of so many bytes; one that declares nothing is only held to the reserve.
    ///
    /// # Errors
    /// `disk_full` when it would not fit.
    pub(super) async fn declare(&self, declared_bytes: Option<u64>) -> Result<(), Problem> {
        let Some(free) = self.site.free_disk().await else { return Ok(()) };
        let reserve_bytes = self.site.disk_reserve_bytes;
        if self.site.is_short_of_files(free) {
            tracing::warn!(free_files = free.files, "refusing uploads, the disk has no more files to give");
            return Err(Problem::new(Code::DiskFull, "the disk can take only few more files"));
        }
        let wanted = declared_bytes.unwrap_or(0);
        // Added first, looked at then: of two claims that would not fit together, at least one sees the other.
        let own_bytes = self.advance(|progress| progress.left_bytes = wanted);
        let spoken_for = self.site.spoken_for_bytes().saturating_sub(own_bytes);
        let room = free.bytes.saturating_sub(reserve_bytes).saturating_sub(spoken_for);
        if free.bytes < reserve_bytes || room < wanted {
            self.release();
            tracing::warn!(free_bytes = free.bytes, reserve_bytes, spoken_for, wanted, "refusing an upload, the disk is nearly full");
            let detail = if declared_bytes.is_some() && free.bytes >= reserve_bytes {
                format!("the request has {wanted} bytes, the disk has room for {room}")
            } else {
                "the disk's reserve is reached".to_owned()
            };
            return Err(Problem::new(Code::DiskFull, detail));
        }
        Ok(())
    }

    /// Bytes of the body came in.
    pub(super) fn arrived(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.site.disk.arrived_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.advance(|progress| {
            progress.left_bytes = progress.left_bytes.saturating_sub(bytes);
            progress.came_bytes = progress.came_bytes.saturating_add(bytes);
        });
    }

    /// The rest is not written, even if it still comes.
    pub(super) fn release(&self) {
        self.advance(|progress| progress.left_bytes = 0);
    }

    /// Changes the progress, and the gauge with it; returns the new claim.
    fn advance(&self, change: impl FnOnce(&mut Progress)) -> u64 {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut progress);
        let (before, now) = (progress.claimed_bytes, claim_bytes(progress.left_bytes, progress.came_bytes));
        progress.claimed_bytes = now;
        let gauge = &self.site.disk.claimed_bytes;
        if now >= before {
            gauge.fetch_add(now - before, Ordering::AcqRel);
        } else {
            gauge.fetch_sub(before - now, Ordering::AcqRel);
        }
        now
    }
}

impl Drop for DiskClaim {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_as_large_as_what_came() {
        const MIB: u64 = 1 << 20;
        for (left, came, claim) in [
            (1024 * MIB, 0, MIB),
            (1024 * MIB, 8, MIB),
            (1000 * MIB, 24 * MIB, 24 * MIB),
            (500 * MIB, 524 * MIB, 64 * MIB),
            (5000, 0, 5000),
            (10, 1024 * MIB, 10),
            (0, 7, 0),
        ] {
            assert_eq!(claim_bytes(left, came), claim, "{left} left, {came} came");
        }
    }
}
