//! Keeping house beside the service, in small steps: what an earlier process left is repaired, failed commits are settled, uploads whose time
//! is over and old history and tombstones go, metric buffers stay small.
//!
//! Runs once the service serves, so that a start costs the same with ten images as with a million.

mod doubtful;
mod expiry;
mod repair;
mod scrub;

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    catalog::Catalog,
    clock::Clock,
    telemetry::{Metrics, error_chain},
};

pub use doubtful::Doubtful;
pub use expiry::Expiry;
pub use repair::Repair;
pub use scrub::{Finding, Scrubbed, Wrong, scrub};

/// Blobs looked up in one catalog read.
const BATCH: usize = 500;
/// Histogram buffers are drained and doubtful blobs looked at this often.
const OFTEN: Duration = Duration::from_secs(5);
/// How long a deleted id is told from one that never was.
const TOMBSTONES_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Tombstones are looked through this often.
const TOMBSTONES_EVERY: Duration = Duration::from_secs(3600);
/// Tombstones that go in one transaction.
const TOMBSTONES_AT_ONCE: u32 = 500;

/// Repairs once, then keeps house for as long as it is polled.
pub async fn run(repair: Repair, doubtful: Doubtful, expiry: Expiry, metrics: Arc<Metrics>) {
    let Expiry { catalog, clock, .. } = &expiry;
    let tombstones = async {
        let mut tick = tokio::time::interval(TOMBSTONES_EVERY);
        loop {
            tick.tick().await;
            purge_tombstones(&**catalog, &**clock).await;
        }
    };
    let often = async {
        let mut tick = tokio::time::interval(OFTEN);
        loop {
            tick.tick().await;
            metrics.upkeep();
            let removed = doubtful.settle().await;
            if removed > 0 {
                info!(blobs = removed, "removed stored bytes of commits that had failed");
            }
        }
    };
    // All but the first never end.
    tokio::join!(repair.run(), tombstones, often, expiry.run());
}

async fn purge_tombstones(catalog: &dyn Catalog, clock: &dyn Clock) {
    let before = clock.now().before(TOMBSTONES_FOR);
    loop {
        match catalog.purge_tombstones(before, TOMBSTONES_AT_ONCE).await {
            Ok(gone) if gone < u64::from(TOMBSTONES_AT_ONCE) => return,
            Ok(_) => {}
            Err(error) => return warn!(error = %error_chain(&error), "could not purge tombstones"),
        }
    }
}
