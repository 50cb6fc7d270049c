//! Room on the disk, asked for before a body is read: what is free, less the reserve, less what other uploads have declared and not yet sent.
//!
//! Invariant: bytes are counted once, as declared, as arrived since the disk was last looked at, or as gone from what is free; a claim ends with
//! its request, however that ends.

use std::{
    sync::{
        Arc,
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

/// What is free and what is spoken for.
#[derive(Debug, Default)]
pub struct DiskGauge {
    looked: Mutex<Option<(Instant, Option<Free>)>>,
    /// Declared by requests in flight, not yet arrived.
    declared_bytes: AtomicU64,
    /// Arrived since the disk was last looked at: some of it may not show there yet.
    arrived_bytes: AtomicU64,
}

/// Room one request has spoken for. Dropping it gives back what did not arrive.
pub(super) struct DiskClaim {
    site: App,
    left_bytes: AtomicU64,
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

    fn is_short_of_files(&self, free: Free) -> bool {
        // Who wants no reserve gets none.
        let reserve_files = if self.disk_reserve_bytes == 0 { 1 } else { RESERVE_FILES };
        free.files.is_some_and(|files| files < reserve_files)
    }
}

impl DiskClaim {
    /// A claim to nothing yet.
    pub(super) fn new(site: &App) -> Arc<Self> {
        Arc::new(Self { site: Arc::clone(site), left_bytes: AtomicU64::new(0) })
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
        // Added first, looked at then: of two that would not fit together, at least one sees the other.
        let gauge = &self.site.disk;
        let others_bytes = gauge.declared_bytes.fetch_add(wanted, Ordering::AcqRel);
        self.left_bytes.fetch_add(wanted, Ordering::AcqRel);
        let spoken_for = others_bytes.saturating_add(gauge.arrived_bytes.load(Ordering::Acquire));
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
        let gauge = &self.site.disk;
        gauge.arrived_bytes.fetch_add(bytes, Ordering::AcqRel);
        gauge.declared_bytes.fetch_sub(take_from(&self.left_bytes, bytes), Ordering::AcqRel);
    }

    /// The rest is not written, even if it still comes.
    pub(super) fn release(&self) {
        self.site.disk.declared_bytes.fetch_sub(take_from(&self.left_bytes, u64::MAX), Ordering::AcqRel);
    }
}

/// Takes off so much, or all there is; returns how much that was.
fn take_from(left: &AtomicU64, bytes: u64) -> u64 {
    let before = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(left.saturating_sub(bytes)));
    before.unwrap_or_else(|before| before).min(bytes)
}

impl Drop for DiskClaim {
    fn drop(&mut self) {
        self.release();
    }
}
