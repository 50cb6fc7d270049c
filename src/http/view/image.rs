//! An image: a complete stored original, with the work wanted of it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    catalog::{ImageView, JobView},
    domain::{JobState, hex},
    facts::Facts,
};

use super::{
    JobStatus, JobTiming, SourceFormat, Task,
    job::{job_timing, task},
    time,
};

/// A stored original and its variants, as part of its upload.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UploadImage {
    #[schema(format = "uuid")]
    pub(crate) id: String,
    /// The client's name for it, made safe to show; null when it gave none.
    #[schema(required = true, examples("cat.jpg"))]
    pub(crate) filename: Option<String>,
    /// Size of the original.
    #[schema(examples(4_183_920))]
    pub(crate) bytes: u64,
    /// SHA-256 of the original's bytes, lower-case hex.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(crate) sha256: String,
    #[schema(value_type = SourceFormat)]
    pub(crate) format: String,
    /// Pixels as displayed: EXIF orientation applied.
    #[schema(minimum = 1, examples(4032))]
    pub(crate) width: u32,
    /// Pixels as displayed: EXIF orientation applied.
    #[schema(minimum = 1, examples(3024))]
    pub(crate) height: u32,
    /// The same bytes had been uploaded before: they are stored once, and variants that exist are not made again.
    pub(crate) duplicate: bool,
    /// The original as it was sent.
    #[schema(format = "uri")]
    pub(crate) url: String,
    /// Id of the job it came with; more variants have jobs of their own.
    #[schema(format = "uuid")]
    pub(crate) job: String,
    /// Of all its jobs together.
    pub(crate) status: JobStatus,
    /// Times of the job it came with; null until it has ended.
    #[schema(required = true)]
    pub(crate) timing: Option<JobTiming>,
    /// Of all its jobs, in the order they were asked for.
    pub(crate) variants: Vec<Task>,
}

/// What is known of a stored original.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Image {
    #[serde(flatten)]
    pub(crate) image: UploadImage,
    /// Id of its upload.
    #[schema(format = "uuid")]
    pub(crate) upload: String,
    #[schema(format = "date-time")]
    pub(crate) received_at: String,
    /// What it is; null until a job of it has ended, and where it could not be decoded.
    #[schema(required = true)]
    pub(crate) facts: Option<Facts>,
}

/// `work`: its jobs, the one it came with first.
pub(super) fn upload_image(view: &ImageView, work: &[&JobView], base: &str) -> UploadImage {
    UploadImage {
        id: view.id.to_string(),
        filename: view.filename.clone(),
        bytes: view.bytes,
        sha256: hex(&view.sha256),
        format: view.format.clone(),
        width: view.width_px,
        height: view.height_px,
        duplicate: view.duplicate,
        url: format!("{base}/i/{}", view.id),
        job: work.first().map(|job| job.id.to_string()).unwrap_or_default(),
        status: JobStatus(together(work).as_str()),
        timing: job_timing(work.first().and_then(|job| job.timing.as_ref())),
        variants: work.iter().flat_map(|job| &job.tasks).map(|t| task(t, view.id, base)).collect(),
    }
}

/// What several jobs are as if they were one.
fn together(work: &[&JobView]) -> JobState {
    let is_any = |state| work.iter().any(|job| job.state == state);
    match work {
        [job] => job.state,
        _ if is_any(JobState::Running) => JobState::Running,
        _ if is_any(JobState::Queued) => JobState::Queued,
        _ => JobState::of_tasks(work.iter().flat_map(|job| &job.tasks).map(|task| task.state)),
    }
}

/// `GET /v1/images/{id}`; `work`: its jobs, the one it came with first.
pub(crate) fn image(view: &ImageView, work: &[&JobView], facts: Option<&str>, base: &str) -> Image {
    Image {
        image: upload_image(view, work, base),
        upload: view.upload.to_string(),
        received_at: time(view.received_at),
        facts: facts.and_then(Facts::from_text),
    }
}
