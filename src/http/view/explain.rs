//! What options come to and what would be done, without doing it.

use serde::Serialize;
use utoipa::ToSchema;

use super::ResultFormat;

/// What was asked for, as it was understood.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explained {
    /// In the order they were asked for.
    pub(crate) variants: Vec<ExplainedVariant>,
    /// What would be done with the image; null where none was named.
    #[schema(required = true)]
    pub(crate) plan: Option<ExplainedPlan>,
}

/// One variant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainedVariant {
    #[schema(examples("thumb"))]
    pub(crate) name: String,
    /// As they were written.
    #[schema(examples("resize:fit:320:320/format:jpg"))]
    pub(crate) options: String,
    /// The one spelling of everything that means the same: what does nothing is left out.
    #[schema(examples("rs:fit:320:320/f:jpg"))]
    pub(crate) canonical: String,
    /// What it would be; null where no image was named.
    #[schema(required = true)]
    pub(crate) result: Option<ExplainedResult>,
}

/// A result that was not made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainedResult {
    #[schema(minimum = 1, examples(320))]
    pub(crate) width: u32,
    #[schema(minimum = 1, examples(240))]
    pub(crate) height: u32,
    /// Null where the result's own pixels decide it (`f:auto`).
    #[schema(required = true, value_type = Option<ResultFormat>)]
    pub(crate) format: Option<String>,
}

/// One decode and what is made of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainedPlan {
    /// Id of the image.
    #[schema(format = "uuid")]
    pub(crate) image: String,
    /// The most bytes held at one time: what the job is admitted with.
    #[schema(examples(15_728_640))]
    pub(crate) memory_bytes: u64,
    /// In the order of the work.
    pub(crate) stages: Vec<ExplainedStage>,
}

/// One stage.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainedStage {
    /// In words, for people.
    #[schema(examples("decode jpeg 4032x3024 at 1/8 to 504x378 ycc"))]
    pub(crate) what: String,
    /// Roughly what one core needs, to tell dear from cheap; null where it is part of the stage before.
    #[schema(required = true, minimum = 0)]
    pub(crate) rough_ms: Option<f64>,
    /// Held while it runs, the source included: an upper bound; null where it is part of the stage before.
    #[schema(required = true)]
    pub(crate) held_bytes: Option<u64>,
}
