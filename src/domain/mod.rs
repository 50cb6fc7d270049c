//! The words of the service: ids, states and their legal moves, priorities, refusals.
//! No I/O, no serde, no clock: everything here is plain values that any room may hold.

mod batch;
mod codes;
mod digest;
mod ids;
pub mod media;
mod origin;
mod states;
mod time;

pub use batch::{BatchCounts, BatchState};
pub use codes::{Code, Refusal, TaskCode, TaskFailure};
pub use digest::hex;
pub use ids::{BatchId, BlobId, ImageId, JobId, LeaseToken, TaskId, UploadId, VariantName};
pub use origin::{Origin, TraceId, span_id};
pub use states::{JobState, Priority, TaskState, UploadState};
pub use time::{Timestamp, parse_span, span_text};
