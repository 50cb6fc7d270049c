//! A batch and what became of its images so far.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    catalog::{BatchView, ImageFilter},
    domain::{self, Timestamp},
};

use super::{BatchStatus, Priority, ProblemCode, SourceFormat, time};

/// Further work at all stored images that match a filter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Batch {
    #[schema(format = "uuid")]
    pub(crate) id: String,
    pub(crate) status: BatchStatus,
    /// Where this is read.
    #[schema(format = "uri")]
    pub(crate) url: String,
    #[schema(format = "date-time")]
    pub(crate) created_at: String,
    /// Null until it has ended.
    #[schema(required = true, format = "date-time")]
    pub(crate) finished_at: Option<String>,
    pub(crate) priority: Priority,
    pub(crate) filter: Filter,
    /// What is made of each image.
    pub(crate) variants: Vec<BatchVariant>,
    pub(crate) counts: BatchCounts,
    /// The share of the images that match about which nothing is left to do; null until they were counted.
    #[schema(required = true, minimum = 0, maximum = 1, examples(0.42))]
    pub(crate) progress: Option<f64>,
    /// When it will have ended if it goes on as it has since the service took it up; null while that is not known.
    #[schema(required = true, format = "date-time")]
    pub(crate) expected_end_at: Option<String>,
    /// Why images were refused, by code.
    pub(crate) refusals: Vec<BatchRefusal>,
}

/// Of which images; what is absent does not matter.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Filter {
    /// The original is in one of these formats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, value_type = Vec<SourceFormat>)]
    pub(crate) format: Vec<String>,
    /// Taken in then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "date-time")]
    pub(crate) since: Option<String>,
    /// Taken in before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "date-time")]
    pub(crate) until: Option<String>,
    /// Pixels, as displayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) min_width: Option<u32>,
    /// Pixels, as displayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) max_width: Option<u32>,
    /// Pixels, as displayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) min_height: Option<u32>,
    /// Pixels, as displayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) max_height: Option<u32>,
    /// No variant of this name was ever asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[a-z0-9_-]{1,64}$")]
    pub(crate) lacks: Option<String>,
    /// Their upload has all these `metadata[key]` pairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// A variant that a batch makes of each image.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchVariant {
    #[schema(pattern = "^[a-z0-9_-]{1,64}$", examples("thumb"))]
    pub(crate) name: String,
    /// What the client asked for.
    #[schema(examples("rs:fill:320:320/f:webp"))]
    pub(crate) options: String,
}

/// What is counted of a batch, in images. Each that was looked at and matches is in exactly one of the counts below `matched`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchCounts {
    /// How many match: as counted at the start, exact once all were looked at; null before the first.
    #[schema(required = true, examples(1_000_000))]
    pub(crate) matched: Option<u64>,
    /// Every variant had been asked for before.
    pub(crate) skipped: u64,
    /// No job can be made for it.
    pub(crate) refused: u64,
    /// Its job waits or runs.
    pub(crate) open: u64,
    /// Its job completed.
    pub(crate) completed: u64,
    /// Its job made some of the variants.
    pub(crate) partial: u64,
    /// Its job made none.
    pub(crate) failed: u64,
    /// Its job was cancelled, or its image deleted before the job had ended.
    pub(crate) cancelled: u64,
}

/// Images of a batch without a job, for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchRefusal {
    pub(crate) code: ProblemCode,
    /// How many.
    #[schema(minimum = 1)]
    pub(crate) images: u64,
    /// Id of the first of them.
    #[schema(format = "uuid")]
    pub(crate) example: String,
    /// What was found there, for people.
    #[schema(examples("variant thumb exists with other options"))]
    pub(crate) detail: String,
}

/// What a batch would be about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchDryRun {
    /// Always true: nothing was recorded.
    pub(crate) dry_run: bool,
    /// How many images match now.
    #[schema(examples(1_000_000))]
    pub(crate) matched: u64,
}

/// What became of a wish about many jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Steered {
    /// How many jobs matched.
    pub(crate) matched: u64,
    /// With how many of them it was done; 0 in a dry run.
    pub(crate) done: u64,
    /// How many are left; say it again.
    pub(crate) left: u64,
    /// Why some are left: `limit` (or a dry run), or `queue_full`. Null where none are.
    #[schema(required = true, examples("limit"))]
    pub(crate) stopped_by: Option<&'static str>,
}

pub(crate) fn batch_counts(of: &domain::BatchCounts) -> BatchCounts {
    BatchCounts {
        matched: of.matched,
        skipped: of.skipped,
        refused: of.refused,
        open: of.open,
        completed: of.completed,
        partial: of.partial,
        failed: of.failed,
        cancelled: of.cancelled,
    }
}

fn filter(of: &ImageFilter) -> Filter {
    Filter {
        format: of.formats.clone(),
        since: of.since.map(time),
        until: of.until.map(time),
        min_width: of.min_width_px,
        max_width: of.max_width_px,
        min_height: of.min_height_px,
        max_height: of.max_height_px,
        lacks: of.lacks.as_ref().map(ToString::to_string),
        metadata: of.metadata.iter().cloned().collect(),
    }
}

/// `GET /v1/batches/{id}`.
pub(crate) fn batch(view: &BatchView, expected_end: Option<Timestamp>, base: &str) -> Batch {
    let share = |matched: u64| match matched {
        0 => 1.0,
        _ => (view.counts.settled().min(matched) as f64 / matched as f64 * 1e4).floor() / 1e4,
    };
    Batch {
        id: view.id.to_string(),
        status: BatchStatus(view.state.as_str()),
        url: format!("{base}/v1/batches/{}", view.id),
        created_at: time(view.created_at),
        finished_at: view.finished_at.map(time),
        priority: Priority(view.priority.as_str()),
        filter: filter(&view.filter),
        variants: view.variants.iter().map(|of| BatchVariant { name: of.name.to_string(), options: of.options.clone() }).collect(),
        counts: batch_counts(&view.counts),
        progress: view.counts.matched.map(share),
        expected_end_at: expected_end.filter(|_| !view.state.is_final()).map(time),
        refusals: view
            .refusals
            .iter()
            .map(|of| BatchRefusal {
                code: ProblemCode(of.code.as_str()),
                images: of.images,
                example: of.example.to_string(),
                detail: of.detail.clone(),
            })
            .collect(),
    }
}
