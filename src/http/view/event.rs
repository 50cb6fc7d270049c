//! An event as it is sent: one flat object for all kinds, with the same names and numbers as a job's JSON.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    domain::{self, BatchId, BatchState, TaskFailure},
    follow::{self, Attempt, OfJob, Times, What},
};

use super::{BatchCounts, batch_counts, job::Failure, job::failure, ms, time};

/// The data of an event, whatever its name; members that say nothing of it are absent.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Event {
    #[schema(format = "date-time")]
    pub(crate) at: String,
    /// Id of the upload; absent where it is of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uuid")]
    pub(crate) upload: Option<String>,
    /// Id of the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uuid")]
    pub(crate) batch: Option<String>,
    /// What is counted of the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) counts: Option<BatchCounts>,
    /// Id of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uuid")]
    pub(crate) image: Option<String>,
    /// Id of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uuid")]
    pub(crate) job: Option<String>,
    /// Name of the variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("thumb"))]
    pub(crate) variant: Option<String>,
    /// State of what the event is of: a job, a task, an upload, a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("completed"))]
    pub(crate) status: Option<&'static str>,
    /// How many images an upload has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) images: Option<u32>,
    /// Attempts so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) attempt: Option<u32>,
    /// After so many it fails for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) max_attempts: Option<u32>,
    /// When it is due again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "date-time")]
    pub(crate) next_attempt_at: Option<String>,
    /// The stored variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) result: Option<EventResult>,
    /// Where the task's or job's time went, in milliseconds.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(required = false, value_type = BTreeMap<String, f64>)]
    pub(crate) timing: Map<String, Value>,
    /// The most bytes charged against a job's memory limit at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples(15_728_640))]
    pub(crate) peak_bytes: Option<u64>,
    /// Why it failed, or is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) error: Option<Failure>,
}

/// A stored variant; its address is in the upload's JSON.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventResult {
    pub(crate) bytes: u64,
    /// Pixels.
    pub(crate) width: u32,
    /// Pixels.
    pub(crate) height: u32,
    pub(crate) format: String,
}

impl Event {
    fn of_job(mut self, of: OfJob, status: &'static str) -> Self {
        self.image = Some(of.image.to_string());
        self.job = Some(of.job.to_string());
        self.status = Some(status);
        self
    }

    fn of_batch(mut self, of: BatchId, state: BatchState, counts: &domain::BatchCounts) -> Self {
        self.batch = Some(of.to_string());
        self.status = Some(state.as_str());
        self.counts = Some(batch_counts(counts));
        self
    }

    fn of_attempt(mut self, of: Attempt) -> Self {
        (self.attempt, self.max_attempts) = (Some(of.attempt), Some(of.max_attempts));
        self
    }

    fn because(mut self, why: Option<&TaskFailure>) -> Self {
        self.error = why.map(failure);
        self
    }
}

/// The data of an event.
pub(crate) fn event(told: &follow::Event) -> Event {
    let plain = Event { at: time(told.at), upload: told.upload.map(|upload| upload.to_string()), ..Event::default() };
    match &told.what {
        What::UploadReceived(images) => Event { images: Some(*images), ..plain },
        What::JobStarted(of, attempt) => plain.of_job(*of, "running").of_attempt(*attempt),
        What::TaskCompleted(of, variant, stored, times) => Event {
            variant: Some(variant.to_string()),
            result: Some(EventResult {
                bytes: stored.bytes,
                width: stored.width_px,
                height: stored.height_px,
                format: stored.format.clone(),
            }),
            timing: timing(times),
            ..plain.of_job(*of, "completed")
        },
        What::TaskFailed(of, variant, why) => {
            let status = if why.code == crate::domain::TaskCode::Cancelled { "cancelled" } else { "failed" };
            Event { variant: Some(variant.to_string()), ..plain.of_job(*of, status).because(Some(why)) }
        }
        What::JobRetrying(of, attempt, due, why) => {
            Event { next_attempt_at: Some(time(*due)), ..plain.of_job(*of, "queued").of_attempt(*attempt).because(why.as_ref()) }
        }
        What::JobEnded(of, state, why) => plain.of_job(*of, state.as_str()).because(why.as_ref()),
        What::JobWorked(of, state, times, peak_bytes) => {
            Event { timing: timing(times), peak_bytes: Some(*peak_bytes), ..plain.of_job(*of, state.as_str()) }
        }
        What::JobCancelled(of, state) => plain.of_job(*of, state.as_str()),
        What::UploadCompleted(state) => Event { status: Some(state.as_str()), ..plain },
        What::UploadDeleted => plain,
        What::BatchProgress(of, counts) => plain.of_batch(*of, BatchState::Running, counts),
        What::BatchCompleted(of, state, counts) => plain.of_batch(*of, *state, counts),
    }
}

fn timing(times: &Times) -> Map<String, Value> {
    times.iter().map(|(name, taken)| ((*name).to_owned(), Value::from(ms(*taken)))).collect()
}
