//! Parts of lists, newest first, each with the way to the next part.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Batch, Image, Upload, job::Job};

/// A part of the list of uploads.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UploadList {
    /// Newest first.
    pub(crate) uploads: Vec<Upload>,
    /// `cursor` of the next part; null with the last one.
    #[schema(required = true, examples("AZjA3gAAcACAAAAAAAAA_w"))]
    pub(crate) next_cursor: Option<String>,
}

/// A part of the list of images.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImageList {
    /// Newest first.
    pub(crate) images: Vec<Image>,
    /// `cursor` of the next part; null with the last one.
    #[schema(required = true, examples("AZjA3gAAcACAAAAAAAAA_w"))]
    pub(crate) next_cursor: Option<String>,
}

/// A part of the list of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    /// Newest first.
    pub(crate) jobs: Vec<Job>,
    /// `cursor` of the next part; null with the last one.
    #[schema(required = true, examples("AZjA3gAAcACAAAAAAAAA_w"))]
    pub(crate) next_cursor: Option<String>,
}

/// A part of the list of batches.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchList {
    /// Newest first.
    pub(crate) batches: Vec<Batch>,
    /// `cursor` of the next part; null with the last one.
    #[schema(required = true, examples("AZjA3gAAcACAAAAAAAAA_w"))]
    pub(crate) next_cursor: Option<String>,
}
