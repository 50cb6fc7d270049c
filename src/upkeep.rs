//! Keeping house: blobs nobody refers to, metric buffers. Runs beside the service, in small steps.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    catalog::Catalog,
    domain::BlobId,
    store::{BlobStore, StoreError},
    telemetry::Metrics,
};

/// Blobs looked up in one catalog read.
const BATCH: usize = 500;
/// Histogram buffers are drained this often.
const METRICS_EVERY: Duration = Duration::from_secs(5);

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

/// Sweeps once, then keeps metric buffers small for as long as it is polled.
pub async fn run(sweep: OrphanSweep, metrics: Arc<Metrics>) {
    let removed = sweep.finish().await;
    if removed > 0 {
        info!(blobs = removed, "removed stored bytes that an interrupted upload or job had left");
    }
    let mut tick = tokio::time::interval(METRICS_EVERY);
    loop {
        tick.tick().await;
        metrics.upkeep();
    }
}
