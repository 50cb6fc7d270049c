//! A job and its tasks, with where their time went.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    catalog::{self, JobView, StoredVariant, TaskView},
    deliver::etag,
    domain::{ImageId, TaskFailure, media},
};

use super::{JobStatus, Priority, ResultFormat, TaskErrorCode, TaskStatus, ms, time};

/// The durable unit of work: all variants wanted of one image, made from one decode.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    #[schema(format = "uuid")]
    pub(crate) id: String,
    /// Id of its image.
    #[schema(format = "uuid")]
    pub(crate) image: String,
    /// Id of its upload.
    #[schema(format = "uuid")]
    pub(crate) upload: String,
    pub(crate) status: JobStatus,
    /// Attempts so far; what a restart of the service interrupts does not count.
    #[schema(examples(1))]
    pub(crate) attempt: u32,
    /// After so many it fails for good.
    #[schema(minimum = 1, examples(5))]
    pub(crate) max_attempts: u32,
    pub(crate) priority: Priority,
    #[schema(format = "date-time")]
    pub(crate) queued_at: String,
    /// When the last attempt began; null before the first.
    #[schema(required = true, format = "date-time")]
    pub(crate) started_at: Option<String>,
    /// Null until it has ended.
    #[schema(required = true, format = "date-time")]
    pub(crate) finished_at: Option<String>,
    /// Null until it has ended.
    #[schema(required = true)]
    pub(crate) timing: Option<JobTiming>,
    /// The most bytes charged against its memory limit at one time; null until it has ended.
    #[schema(required = true, examples(15_728_640))]
    pub(crate) peak_bytes: Option<u64>,
    /// In the order they were asked for; each is published the moment it ends, small results first.
    pub(crate) tasks: Vec<Task>,
    /// The last passing failure, or why it was given up.
    #[schema(required = true)]
    pub(crate) error: Option<Failure>,
    /// `X-Request-Id` of the answer to the request it came with; null for jobs of before this was kept.
    #[schema(required = true, format = "uuid")]
    pub(crate) request_id: Option<String>,
    /// The trace that request said it belongs to (`traceparent`).
    #[schema(required = true, pattern = "^[0-9a-f]{32}$")]
    pub(crate) trace_id: Option<String>,
    /// When it is due again, while it waits for another attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "date-time")]
    pub(crate) next_attempt_at: Option<String>,
}

/// One variant inside a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Task {
    /// Name of the variant.
    #[schema(pattern = "^[a-z0-9_-]{1,64}$", examples("thumb"))]
    pub(crate) name: String,
    pub(crate) status: TaskStatus,
    /// What the client asked for.
    #[schema(examples("rs:fill:320:320/f:webp"))]
    pub(crate) options: String,
    /// Where the variant is, or will be: 202 while in work.
    #[schema(format = "uri")]
    pub(crate) url: String,
    /// Null until it has completed.
    #[schema(required = true)]
    pub(crate) result: Option<TaskResult>,
    /// Null until it has ended, and when the variant was there already.
    #[schema(required = true)]
    pub(crate) timing: Option<TaskTiming>,
    /// Null unless it failed.
    #[schema(required = true)]
    pub(crate) error: Option<Failure>,
}

/// A stored variant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskResult {
    #[schema(format = "uri")]
    pub(crate) url: String,
    #[schema(examples(18_211))]
    pub(crate) bytes: u64,
    /// Pixels.
    #[schema(minimum = 1, maximum = 16_384, examples(320))]
    pub(crate) width: u32,
    /// Pixels.
    #[schema(minimum = 1, maximum = 16_384, examples(320))]
    pub(crate) height: u32,
    #[schema(value_type = ResultFormat)]
    pub(crate) format: String,
    /// Null where there is none: PNG, GIF, lossless WebP.
    #[schema(required = true, minimum = 1, maximum = 100, examples(80))]
    pub(crate) quality: Option<u8>,
    /// Frames of an animation; 1 for a still picture.
    #[schema(minimum = 1, examples(1))]
    pub(crate) frames: u32,
    /// The strong tag it is delivered with, quotes included.
    #[schema(pattern = "^\"[^\"]+\"$")]
    pub(crate) etag: String,
}

/// What became of a wish for more variants.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Variants {
    /// Id of the image.
    #[schema(format = "uuid")]
    pub(crate) image: String,
    /// Id of its upload, with which they are followed.
    #[schema(format = "uuid")]
    pub(crate) upload: String,
    /// Id of the job that makes them; null where all had been asked for before.
    #[schema(required = true, format = "uuid")]
    pub(crate) job: Option<String>,
    /// Those that were asked for, by name.
    pub(crate) variants: Vec<Task>,
}

/// Where a job's time went, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobTiming {
    /// From enqueued to started.
    #[schema(minimum = 0, examples(3.1))]
    pub(crate) queue_ms: f64,
    /// Fetching the original from the store.
    #[schema(minimum = 0, examples(0.8))]
    pub(crate) read_ms: f64,
    /// The one decode.
    #[schema(minimum = 0, examples(21.0))]
    pub(crate) decode_ms: f64,
    /// On the pool's core, all in all.
    #[schema(minimum = 0, examples(31.5))]
    pub(crate) cpu_ms: f64,
    /// From started to finished.
    #[schema(minimum = 0, examples(34.4))]
    pub(crate) total_ms: f64,
}

/// Where a task's own time went, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskTiming {
    /// Everything between decode and encode.
    #[schema(minimum = 0, examples(1.9))]
    pub(crate) transform_ms: f64,
    /// Writing the format.
    #[schema(minimum = 0, examples(4.2))]
    pub(crate) encode_ms: f64,
    /// Making it durable.
    #[schema(minimum = 0, examples(0.4))]
    pub(crate) store_ms: f64,
}

/// Why a task or job ended without a result, or will be tried again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Failure {
    pub(crate) code: TaskErrorCode,
    /// What was found, for people.
    #[schema(examples("the file ends before the image is complete"))]
    pub(crate) detail: String,
}

/// `GET /v1/jobs/{id}`.
pub(crate) fn job(view: &JobView, base: &str) -> Job {
    Job {
        id: view.id.to_string(),
        image: view.image.to_string(),
        upload: view.upload.to_string(),
        status: JobStatus(view.state.as_str()),
        attempt: view.attempt,
        max_attempts: view.max_attempts,
        priority: Priority(view.priority.as_str()),
        queued_at: time(view.queued_at),
        started_at: view.started_at.map(time),
        finished_at: view.finished_at.map(time),
        timing: job_timing(view.timing.as_ref()),
        peak_bytes: view.peak_bytes,
        tasks: view.tasks.iter().map(|t| task(t, view.image, base)).collect(),
        error: view.failure.as_ref().map(failure),
        request_id: view.origin.map(|origin| origin.request.to_string()),
        trace_id: view.origin.and_then(|origin| origin.trace).map(|trace| trace.to_string()),
        next_attempt_at: view.due_at.filter(|_| !view.state.is_final()).map(time),
    }
}

pub(crate) fn task(view: &TaskView, image: ImageId, base: &str) -> Task {
    let mut url = format!("{base}/i/{image}/{}", view.name);
    // Where the pixels decide, the extension is not known before the end, and a URL stays what it was.
    if view.format != media::BY_CONTENT {
        url += ".";
        url += media::extension(&view.format);
    }
    Task {
        name: view.name.as_str().to_owned(),
        status: TaskStatus(view.state.as_str()),
        options: view.options.clone(),
        result: view.result.as_ref().map(|stored| result(stored, &url)),
        url,
        timing: view.timing.as_ref().map(task_timing),
        error: view.failure.as_ref().map(failure),
    }
}

fn result(stored: &StoredVariant, url: &str) -> TaskResult {
    TaskResult {
        url: url.to_owned(),
        bytes: stored.bytes,
        width: stored.width_px,
        height: stored.height_px,
        format: stored.format.clone(),
        quality: stored.quality,
        frames: stored.frames,
        etag: etag(&stored.sha256),
    }
}

pub(super) fn job_timing(timing: Option<&catalog::JobTiming>) -> Option<JobTiming> {
    timing.map(|t| JobTiming {
        queue_ms: ms(t.queue),
        read_ms: ms(t.read),
        decode_ms: ms(t.decode),
        cpu_ms: ms(t.cpu),
        total_ms: ms(t.total),
    })
}

pub(super) fn task_timing(t: &catalog::TaskTiming) -> TaskTiming {
    TaskTiming { transform_ms: ms(t.transform), encode_ms: ms(t.encode), store_ms: ms(t.store) }
}

pub(super) fn failure(failure: &TaskFailure) -> Failure {
    Failure { code: TaskErrorCode(failure.code.as_str()), detail: failure.detail.clone() }
}
