//! Totals and averages for people who operate the service.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::{Lately, Quantiles};

use super::ms;

/// Totals since the data folder was made; `uptime_s`, `stages`, `max_peak_bytes` and `job_retries` since the service started; `window` of what was
/// done lately; the others of now.
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
    /// By priority: `high`, `normal`, `low`.
    pub(crate) priorities: BTreeMap<String, PriorityLoad>,
    pub(crate) window: Window,
}

/// What waits and runs of one priority.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PriorityLoad {
    pub(crate) queued_jobs: u64,
    pub(crate) running_jobs: u64,
    /// How long ago the oldest job that waits was enqueued; null when none waits.
    #[schema(required = true, minimum = 0)]
    pub(crate) oldest_queued_ms: Option<f64>,
    /// Attempts that failed for a passing reason, since the service started.
    pub(crate) job_retries: u64,
    /// How long jobs waited that ended within the window; null when none did.
    #[schema(required = true)]
    pub(crate) queue: Option<Percentiles>,
}

/// Percentiles of what ended within the last minutes, since the start at most.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Window {
    /// What was asked for, in seconds.
    #[schema(minimum = 60, maximum = 3600, examples(900))]
    pub(crate) asked_s: u64,
    /// What is covered, in seconds: whole minutes, of which the newest is not over, and no more than since the service started.
    pub(crate) covered_s: u64,
    pub(crate) completed_tasks: u64,
    pub(crate) failed_tasks: u64,
    /// By stage: `queue`, `read`, `decode` of jobs; `transform`, `encode`, `store` and `total` of tasks.
    pub(crate) stages: BTreeMap<String, Percentiles>,
    /// By format of the result, then by stage; of completed tasks.
    pub(crate) formats: BTreeMap<String, BTreeMap<String, Percentiles>>,
    /// By the dearest kind of work in it (`convert`, `crop`, `resize`, `canvas`, `filter`, `overlay`), then by stage; of completed tasks.
    pub(crate) operations: BTreeMap<String, BTreeMap<String, Percentiles>>,
}

/// Percentiles of a time, in milliseconds, each within 1 % of a value that was measured; `max_ms` is exact.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Percentiles {
    #[schema(minimum = 1)]
    pub(crate) count: u64,
    #[schema(minimum = 0)]
    pub(crate) p50_ms: f64,
    #[schema(minimum = 0)]
    pub(crate) p90_ms: f64,
    #[schema(minimum = 0)]
    pub(crate) p99_ms: f64,
    #[schema(minimum = 0)]
    pub(crate) max_ms: f64,
}

pub(crate) fn percentiles(of: &Quantiles) -> Percentiles {
    Percentiles { count: of.count, p50_ms: ms(of.p50), p90_ms: ms(of.p90), p99_ms: ms(of.p99), max_ms: ms(of.max) }
}

/// What was measured lately, when so much was asked for.
pub(crate) fn window(asked: Duration, lately: &Lately) -> Window {
    let named = |of: &BTreeMap<&'static str, Quantiles>| of.iter().map(|(name, of)| ((*name).to_owned(), percentiles(of))).collect();
    let grouped = |of: &BTreeMap<&'static str, BTreeMap<&'static str, Quantiles>>| {
        of.iter().map(|(name, stages)| ((*name).to_owned(), named(stages))).collect()
    };
    Window {
        asked_s: asked.as_secs(),
        covered_s: lately.covered.as_secs(),
        completed_tasks: lately.completed_tasks,
        failed_tasks: lately.failed_tasks,
        stages: named(&lately.stages),
        formats: grouped(&lately.formats),
        operations: grouped(&lately.operations),
    }
}

/// What the worker pool has left.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pool {
    pub(crate) free_cores: u64,
    pub(crate) used_cores: u64,
    pub(crate) free_bytes: u64,
    /// What running jobs have been admitted with.
    pub(crate) used_bytes: u64,
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
