//! What is remembered of jobs whose images are gone: times and ends, no names of files and no texts of clients.

use image_pipeline::OPTIONS;
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog;

use super::{
    JobStatus, JobTiming, Priority, SourceFormat, TaskErrorCode, TaskStatus, TaskTiming,
    job::{job_timing, task_timing},
    time,
};

/// A part of the history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PastJobList {
    pub(crate) jobs: Vec<PastJob>,
    /// `cursor` of the next part; null at the end.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
}

/// A job whose image was deleted, or whose upload's time was over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PastJob {
    #[schema(format = "uuid")]
    pub(crate) id: String,
    /// Id its image had.
    #[schema(format = "uuid")]
    pub(crate) image: String,
    /// Id of its upload, which may be gone, too.
    #[schema(format = "uuid")]
    pub(crate) upload: String,
    /// How it ended; `cancelled` if the deletion ended it.
    pub(crate) status: JobStatus,
    #[schema(examples(1))]
    pub(crate) attempt: u32,
    #[schema(minimum = 1, examples(5))]
    pub(crate) max_attempts: u32,
    pub(crate) priority: Priority,
    #[schema(format = "date-time")]
    pub(crate) queued_at: String,
    /// Null if it never began.
    #[schema(required = true, format = "date-time")]
    pub(crate) started_at: Option<String>,
    #[schema(format = "date-time")]
    pub(crate) finished_at: String,
    /// When its image was deleted.
    #[schema(format = "date-time")]
    pub(crate) deleted_at: String,
    /// Null if it was not worked on to its end, or all was there already.
    #[schema(required = true)]
    pub(crate) timing: Option<JobTiming>,
    #[schema(required = true, examples(15_728_640))]
    pub(crate) peak_bytes: Option<u64>,
    /// The last passing failure, or why it was given up.
    #[schema(required = true)]
    pub(crate) error_code: Option<TaskErrorCode>,
    pub(crate) source: Source,
    /// `X-Request-Id` of the answer to the request it came with.
    #[schema(required = true, format = "uuid")]
    pub(crate) request_id: Option<String>,
    /// The trace that request said it belongs to.
    #[schema(required = true, pattern = "^[0-9a-f]{32}$")]
    pub(crate) trace_id: Option<String>,
    /// In the order they were asked for.
    pub(crate) tasks: Vec<PastTask>,
}

/// What the original was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Source {
    #[schema(value_type = SourceFormat)]
    pub(crate) format: String,
    pub(crate) bytes: u64,
    /// Pixels, as displayed.
    pub(crate) width: u32,
    /// Pixels, as displayed.
    pub(crate) height: u32,
}

/// One variant of a past job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PastTask {
    #[schema(pattern = "^[a-z0-9_-]{1,64}$", examples("thumb"))]
    pub(crate) name: String,
    pub(crate) status: TaskStatus,
    /// Names of the options that were asked for, without their arguments; `-` begins another pass.
    pub(crate) operations: Vec<String>,
    /// Of the result, or that which was asked for; `auto` where the pixels were to decide.
    #[schema(examples("webp"))]
    pub(crate) format: String,
    /// Of the result; null where there was none.
    #[schema(required = true, examples(18_211))]
    pub(crate) bytes: Option<u64>,
    /// Pixels.
    #[schema(required = true, examples(320))]
    pub(crate) width: Option<u32>,
    /// Pixels.
    #[schema(required = true, examples(240))]
    pub(crate) height: Option<u32>,
    /// Null if it was not worked on to its end, or was there already.
    #[schema(required = true)]
    pub(crate) timing: Option<TaskTiming>,
    #[schema(required = true)]
    pub(crate) error_code: Option<TaskErrorCode>,
}

/// `GET /v1/history/{id}`, and an item of the list.
pub(crate) fn past_job(view: &catalog::PastJob) -> PastJob {
    PastJob {
        id: view.id.to_string(),
        image: view.image.to_string(),
        upload: view.upload.to_string(),
        status: JobStatus(view.state.as_str()),
        attempt: view.attempt,
        max_attempts: view.max_attempts,
        priority: Priority(view.priority.as_str()),
        queued_at: time(view.queued_at),
        started_at: view.started_at.map(time),
        finished_at: time(view.finished_at),
        deleted_at: time(view.erased_at),
        timing: job_timing(view.timing.as_ref()),
        peak_bytes: view.peak_bytes,
        error_code: view.failure.map(|code| TaskErrorCode(code.as_str())),
        source: Source {
            format: view.source.format.clone(),
            bytes: view.source.bytes,
            width: view.source.width_px,
            height: view.source.height_px,
        },
        request_id: view.origin.map(|origin| origin.request.to_string()),
        trace_id: view.origin.and_then(|origin| origin.trace).map(|trace| trace.to_string()),
        tasks: view.tasks.iter().map(past_task).collect(),
    }
}

fn past_task(view: &catalog::PastTask) -> PastTask {
    PastTask {
        name: view.name.as_str().to_owned(),
        status: TaskStatus(view.state.as_str()),
        operations: view.operations.iter().map(|name| long_name(name)).collect(),
        format: view.format.clone(),
        bytes: view.result.map(|result| result.bytes),
        width: view.result.map(|result| result.width_px),
        height: view.result.map(|result| result.height_px),
        timing: view.timing.as_ref().map(task_timing),
        error_code: view.failure.map(|code| TaskErrorCode(code.as_str())),
    }
}

/// An option's long name: the canonical text, which the catalog has them from, uses short ones.
fn long_name(name: &str) -> String {
    OPTIONS.iter().find(|row| row.spellings().any(|spelling| spelling == name)).map_or(name, |row| row.name).to_owned()
}
