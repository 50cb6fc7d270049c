//! Keeping house beside the service, in small steps: what an earlier process left is repaired, old tombstones go, metric
//! buffers stay small.
//!
//! Runs once the service serves, so that a start costs the same with ten images as with a million.

mod repair;

use std::{sync::Arc, time::Duration};

use tracing::warn;

use crate::{
    catalog::Catalog,
    clock::Clock,
    telemetry::{Metrics, error_chain},
};

pub use repair::Repair;

/// Histogram buffers are drained this often.
const METRICS_EVERY: Duration = Duration::from_secs(5);
/// How long a deleted id is told from one that never was.
const TOMBSTONES_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Tombstones are looked through this often.
const TOMBSTONES_EVERY: Duration = Duration::from_secs(3600);
/// Tombstones that go in one transaction.
const TOMBSTONES_AT_ONCE: u32 = 500;

/// Repairs once, then keeps house for as long as it is polled.
pub async fn run(repair: Repair, catalog: Arc<dyn Catalog>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) {
    let tombstones = async {
        let mut tick = tokio::time::interval(TOMBSTONES_EVERY);
        loop {
            tick.tick().await;
            purge_tombstones(&*catalog, &*clock).await;
        }
    };
    let buffers = async {
        let mut tick = tokio::time::interval(METRICS_EVERY);
        loop {
            tick.tick().await;
            metrics.upkeep();
        }
    };
    // The last two never end.
    tokio::join!(repair.run(), tombstones, buffers);
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
