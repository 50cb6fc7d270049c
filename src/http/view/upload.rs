//! An upload: one client request and what became of its files.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    catalog::{ImageView, JobView, RejectedFile, UploadView},
    http::problem,
};

use super::{Problem, UploadImage, UploadStatus, image::upload_image, time};

/// One client request: the images taken in with their variants, and the files refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Upload {
    #[schema(format = "uuid")]
    pub(crate) id: String,
    pub(crate) status: UploadStatus,
    /// Where this is read again.
    #[schema(format = "uri")]
    pub(crate) url: String,
    /// Where what happens to it is told as it happens (server-sent events).
    #[schema(format = "uri")]
    pub(crate) events_url: String,
    /// When the request was complete and durable.
    #[schema(format = "date-time")]
    pub(crate) received_at: String,
    /// When its time is over and it is deleted by itself; null where it is kept until it is deleted.
    #[schema(required = true, format = "date-time")]
    pub(crate) expires_at: Option<String>,
    /// Files taken in, in the order they came.
    pub(crate) images: Vec<UploadImage>,
    /// Files refused while others were taken, in the order they came.
    pub(crate) rejected: Vec<Rejected>,
    /// `metadata[key]` fields of the request; absent when there were none.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(required = false, value_type = BTreeMap<String, String>)]
    pub(crate) metadata: Map<String, Value>,
}

/// A file that was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Rejected {
    /// The client's name for it.
    #[schema(required = true, examples("x.exe"))]
    pub(crate) filename: Option<String>,
    #[schema(no_recursion)]
    pub(crate) problem: Problem,
}

/// The answer FastAPI-style clients expect.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlainUpload {
    /// For people.
    #[schema(examples("Image uploaded, processing in the background"))]
    pub(crate) message: &'static str,
    /// The client's name for the file.
    #[schema(required = true, examples("cat.jpg"))]
    pub(crate) file_name: Option<String>,
    /// Names of the variants in work, separated by commas.
    #[schema(examples("thumbnail"))]
    pub(crate) process_type: String,
    /// The upload's id.
    #[schema(format = "uuid")]
    pub(crate) id: String,
    /// Where the upload's state is read.
    #[schema(format = "uri")]
    pub(crate) url: String,
}

/// `GET /v1/uploads/{id}` and the 202.
pub(crate) fn upload(view: &UploadView, base: &str) -> Upload {
    Upload {
        id: view.id.to_string(),
        status: UploadStatus(view.state.as_str()),
        url: format!("{base}/v1/uploads/{}", view.id),
        events_url: format!("{base}/v1/uploads/{}/events", view.id),
        received_at: time(view.received_at),
        expires_at: view.expires_at.map(time),
        images: view.images.chunk_by(|(a, _), (b, _)| a.id == b.id).map(|of| image_of(of, base)).collect(),
        rejected: rejected(&view.rejected),
        metadata: view.metadata.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect(),
    }
}

/// An image from its jobs, of which there is one at least.
fn image_of(jobs: &[(ImageView, JobView)], base: &str) -> UploadImage {
    let work: Vec<&JobView> = jobs.iter().map(|(_, job)| job).collect();
    upload_image(&jobs[0].0, &work, base)
}

/// The refused files of a request.
pub(crate) fn rejected(files: &[RejectedFile]) -> Vec<Rejected> {
    let one =
        |file: &RejectedFile| Rejected { filename: file.filename.clone(), problem: problem::Problem::from(file.refusal.clone()).members() };
    files.iter().map(one).collect()
}
