//! Words with a closed list of values: each serialises as its word, and its schema lists every word the domain knows.

use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

use crate::domain::{self, Code, TaskCode};

/// A string that is one of `words`.
fn one_of(words: impl IntoIterator<Item = &'static str>, description: &str) -> RefOr<Schema> {
    let mut seen: Vec<&str> = Vec::new();
    for word in words {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    ObjectBuilder::new().schema_type(Type::String).description(Some(description)).enum_values(Some(seen)).into()
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident of $values:expr, $description:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Serialize)]
        #[serde(transparent)]
        pub(crate) struct $name(pub(crate) &'static str);

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                one_of($values, $description)
            }
        }

        impl ToSchema for $name {}
    };
}

word!(
    /// State of an upload.
    UploadStatus of domain::UploadState::ALL.iter().map(|state| state.as_str()),
    "`processing`: some job is queued or running. Then for good: `completed`: every task completed · `partial`: some did · `failed`: none did · `cancelled`: stopped before any did."
);

word!(
    /// State of a job.
    JobStatus of domain::JobState::ALL.iter().map(|state| state.as_str()),
    "`queued` (also between attempts) → `running` → `completed`: every task completed · `partial`: some did · `failed`: none did · `cancelled`. A retry queues a `partial` or `failed` one again."
);

word!(
    /// State of a batch.
    BatchStatus of domain::BatchState::ALL.iter().map(|state| state.as_str()),
    "`running` → `completed`: every image that matches has its variants · `partial`: some have · `failed`: none has · `cancelled`: stopped; what was done stays. A retry of a job makes one that had ended by itself run again."
);

word!(
    /// State of a task.
    TaskStatus of domain::TaskState::ALL.iter().map(|state| state.as_str()),
    "`queued` → `running` → `completed`: its variant is stored · `failed`: it ended without one · `cancelled`."
);

word!(
    /// How urgent a job is.
    Priority of domain::Priority::ALL.iter().map(|priority| priority.as_str()),
    "`high` jobs go before others enqueued within the last minute; `low` ones may wait a quarter of an hour for others, and never starve."
);

word!(
    /// Why a request was refused or failed.
    ProblemCode of Code::ALL.iter().map(|code| code.as_str()).chain(TaskCode::ALL.iter().map(|code| code.as_str())),
    "Stable; branch on this, never on the text. Each operation lists the codes it gives. A variant that failed answers with the code of its task."
);

word!(
    /// Why a task failed.
    TaskErrorCode of TaskCode::ALL.iter().map(|code| code.as_str()),
    "Why a task failed. `storage` and `timeout` may pass and are tried again, up to `max_attempts`; the image itself is at fault with `malformed_image`, `truncated_image`, `unsupported_format`, `too_many_pixels`, `limit_exceeded`."
);

word!(
    /// A format that is read.
    SourceFormat of image_pipeline::Format::ALL.iter().map(|format| format.as_str()),
    "What the bytes are, told by the bytes: never by name or declared type."
);

word!(
    /// A format that is written.
    ResultFormat of ["jpeg", "png", "webp", "avif", "gif"],
    "Format of a variant."
);
