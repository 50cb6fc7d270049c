//! The JSON clients see, as types: snake_case, RFC 3339 times, `*_ms` durations, absolute URLs. What derives `Serialize` here derives its
//! schema from the same fields, so that the service's own description cannot say otherwise.
//!
//! Must not know requests or statuses: rows of the catalog go in, bodies come out.

mod batch;
mod event;
mod explain;
mod history;
mod image;
mod job;
mod lists;
mod operate;
mod problem;
mod stats;
mod upload;
mod words;

use std::time::Duration;

use crate::domain::Timestamp;

pub(crate) use batch::{Batch, BatchCounts, BatchDryRun, BatchRefusal, BatchVariant, Filter, Steered, batch, batch_counts};
pub(crate) use event::{Event, event};
pub(crate) use explain::{Explained, ExplainedPlan, ExplainedResult, ExplainedStage, ExplainedVariant};
pub(crate) use history::{PastJob, PastJobList, PastTask, Source, past_job};
pub(crate) use image::{Image, UploadImage, image};
pub(crate) use job::{Job, JobTiming, Task, TaskResult, TaskTiming, Variants, job, task};
pub(crate) use lists::{BatchList, ImageList, JobList, UploadList};
pub(crate) use operate::{Checks, Health, Readiness};
pub(crate) use problem::Problem;
pub(crate) use stats::{Percentiles, Pool, PriorityLoad, Stage, Stats, Window, percentiles, window};
pub(crate) use upload::{PlainUpload, Rejected, Upload, rejected, upload};
pub(crate) use words::{
    BatchStatus, JobStatus, Priority, ProblemCode, ResultFormat, SourceFormat, TaskErrorCode, TaskStatus, UploadStatus,
};

/// Milliseconds with microsecond precision.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn time(at: Timestamp) -> String {
    // Out of range is what no clock says: past the year 9999.
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_read_as_promised() {
        assert_eq!(time(Timestamp::from_millis(1_790_000_000_120)), "2026-09-21T14:13:20.120Z");
        assert_eq!(ms(Duration::from_micros(1234)), 1.234);
    }
}
