//! Keeping house: blobs nobody refers to, doubtful ones, metric buffers. Runs beside the service, in small steps.

mod scrub;

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    catalog::Catalog,
    domain::BlobId,
    store::{BlobStore, Doubts, StoreError},
    telemetry::Metrics,
};

pub use scrub::{Finding, Scrubbed, Wrong, scrub};

/// Blobs looked up in one catalog read.
const BATCH: usize = 500;
/// Doubtful blobs are looked at and histogram buffers drained this often.
const EVERY: Duration = Duration::from_secs(5);

/// Removes blobs that a crash left between their rename and their row.
///
/// Only what was there when the service began is looked at: a blob made later may belong to a commit in progress.
pub struct OrphanSweep {
    store: Arc<dyn BlobStore>,
    catalog: Arc<dyn Catalog>,
    found: Vec<BlobId>,
}

impl OrphanSweep {
    /// Notes what is stored now; to be called before the service takes anything in.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn begin(store: Arc<dyn BlobStore>, catalog: Arc<dyn Catalog>) -> Result<Self, StoreError> {
        let found = store.list().await?;
        Ok(Self { store, catalog, found })
    }

    /// Removes what no row refers to; returns how many blobs that were.
    pub async fn finish(self) -> usize {
        let mut removed = 0;
        for batch in self.found.chunks(BATCH) {
            let live = match self.catalog.live_blobs(batch).await {
                Ok(live) => live,
                Err(error) => {
                    warn!(%error, "sweep stopped, the catalog failed");
                    return removed;
                }
            };
            let live: std::collections::HashSet<BlobId> = live.into_iter().collect();
            for blob in batch.iter().filter(|blob| !live.contains(blob)) {
                match self.store.delete(*blob).await {
                    Ok(()) => removed += 1,
                    Err(error) => warn!(%blob, %error, "could not remove an orphaned blob"),
                }
            }
        }
        removed
    }
}

/// Blobs of failed commits, settled while the service runs: a full disk must not stay full of what was refused.
pub struct Doubtful {
    /// The list.
    pub doubts: Doubts,
    /// Bytes.
    pub store: Arc<dyn BlobStore>,
    /// Rows.
    pub catalog: Arc<dyn Catalog>,
}

impl Doubtful {
    /// Removes those that no row refers to; returns how many blobs that were. What cannot be told or removed yet stays on the list.
    ///
    /// # Cancel safety
    /// When dropped, some may be off the list without being removed; the sweep at the next start finds them.
    pub async fn settle(&self) -> usize {
        let doubtful = self.doubts.take();
        // A commit that goes through takes the place of the failed one in the log: from then on it is certain that this one is not coming back.
        if doubtful.is_empty() || self.catalog.ping().await.is_err() {
            self.doubts.add(doubtful);
            return 0;
        }
        let mut removed = 0;
        for batch in doubtful.chunks(BATCH) {
            let Ok(live) = self.catalog.live_blobs(batch).await else {
                self.doubts.add(batch.iter().copied());
                continue;
            };
            for blob in batch.iter().filter(|blob| !live.contains(blob)) {
                match self.store.delete(*blob).await {
                    Ok(()) => removed += 1,
                    Err(_) => self.doubts.add([*blob]),
                }
            }
        }
        removed
    }
}

/// Sweeps once, then settles what is in doubt and keeps metric buffers small for as long as it is polled.
pub async fn run(sweep: OrphanSweep, doubtful: Doubtful, metrics: Arc<Metrics>) {
    let removed = sweep.finish().await;
    if removed > 0 {
        info!(blobs = removed, "removed stored bytes that an interrupted upload or job had left");
    }
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        metrics.upkeep();
        let removed = doubtful.settle().await;
        if removed > 0 {
            info!(blobs = removed, "removed stored bytes of commits that had failed");
        }
    }
}
