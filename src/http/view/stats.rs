//! Totals and averages for people who operate the service.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Totals since the data folder was made; `uptime_s`, `stages` and `max_peak_bytes` since the service started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stats {
    /// Completed, failed and still to do.
    pub(crate) total_tasks: u64,
    /// Also those whose variant was there already.
    pub(crate) completed_tasks: u64,
    pub(crate) failed_tasks: u64,
    pub(crate) cancelled_tasks: u64,
    /// Queued or running.
    pub(crate) pending_tasks: u64,
    /// Mean of transform, encode and store together over ended tasks; 0 while there are none.
    #[schema(minimum = 0)]
    pub(crate) avg_execution_time_ms: f64,
    pub(crate) queued_jobs: u64,
    pub(crate) running_jobs: u64,
    pub(crate) uploads: u64,
    /// Bytes of accepted files.
    pub(crate) bytes_received: u64,
    /// Seconds since the service started.
    pub(crate) uptime_s: u64,
    /// Resident memory of the process; 0 where the system does not say.
    pub(crate) rss_bytes: u64,
    pub(crate) pool: Pool,
    /// By stage of the work: `queue`, `read`, `decode`, `transform`, `encode`, `store`, …
    pub(crate) stages: BTreeMap<String, Stage>,
    /// The most bytes any job was charged.
    pub(crate) max_peak_bytes: u64,
}

/// What the worker pool has left.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pool {
    pub(crate) free_cores: u64,
    pub(crate) free_bytes: u64,
    /// All memory that running jobs may use together.
    pub(crate) budget_bytes: u64,
}

/// Times of one stage.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stage {
    pub(crate) count: u64,
    #[schema(minimum = 0)]
    pub(crate) avg_ms: f64,
    #[schema(minimum = 0)]
    pub(crate) max_ms: f64,
}
