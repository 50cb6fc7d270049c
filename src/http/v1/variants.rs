//! `POST /v1/images/{id}/variants`: more variants of an image that is stored, as a job of its own.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;

use crate::{
    catalog::{JobAdded, Subject, TaskView},
    domain::{Code, ImageId, VariantName},
    http::{
        App,
        absent::{absent, gone},
        base_url::BaseUrl,
        form, json,
        path::Segments,
        problem::Problem,
        query::NoQuery,
        request_id, view,
    },
    ingest::UploadRequest,
};

use super::intake;

pub(super) fn routes() -> Router<App> {
    // The name of the segment is that of the other routes below it.
    Router::new().route("/v1/images/{name}/variants", post(add))
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Options by name.
    variants: BTreeMap<String, String>,
    priority: Option<String>,
}

async fn add(
    State(site): State<App>,
    base: BaseUrl,
    Segments(id): Segments<String>,
    _: NoQuery,
    request: Request,
) -> Result<Response, Problem> {
    let id = id.parse::<ImageId>().map_err(|_| Problem::not_found("image"))?;
    intake::admit_work(&site)?;
    let wanted = wanted(&site, request).await?;
    let Some(image) = site.catalog.image(id).await? else { return Err(absent(&site, Subject::Image(id)).await) };
    let job = site.further.job(&image, &wanted).await?;
    let (upload, job) = match site.queue.add(id, job).await? {
        JobAdded::Added { upload, job } => (upload, job),
        JobAdded::Taken(name) => {
            let detail = format!("variant {name} exists with other options; a name is written once, use another");
            return Err(Problem::new(Code::VariantExists, detail));
        }
        JobAdded::Gone => return Err(gone("image")),
        JobAdded::Unknown => return Err(Problem::not_found("image")),
    };
    let Some(whole) = site.catalog.upload(upload).await? else { return Err(gone("image")) };
    let tasks: Vec<&TaskView> = whole.images.iter().filter(|(image, _)| image.id == id).flat_map(|(_, job)| &job.tasks).collect();
    let asked = wanted.variants.iter().filter_map(|variant| tasks.iter().find(|task| task.name == variant.name));
    let answer = view::Variants {
        image: id.to_string(),
        upload: upload.to_string(),
        job: job.map(|(job, _)| job.to_string()),
        variants: asked.map(|task| view::task(task, id, &base.0)).collect(),
    };
    let mut response = (StatusCode::ACCEPTED, Json(answer)).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&format!("{}/v1/uploads/{upload}", base.0)) {
        answer.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Reads the body.
async fn wanted(site: &App, request: Request) -> Result<UploadRequest, Problem> {
    let sent = json::read::<Asked>(site, request, r#"{"variants": {"thumb": "rs:fill:320:320/f:webp"}, "priority": "low"}"#).await?;
    let asked = sent.json;
    if asked.variants.is_empty() {
        return Err(Problem::new(Code::BadOption, "variants is empty; name at least one"));
    }
    let mut fields = variant_fields(asked.variants)?;
    fields.extend(asked.priority.map(|priority| ("priority".to_owned(), priority)));
    let mut wanted = form::read(&fields, site.named(), None)?;
    wanted.client = intake::pool_client(&sent.extensions);
    wanted.origin = request_id::origin(&sent.headers, &sent.extensions);
    Ok(wanted)
}

/// Options by name as the fields they would be of a form.
///
/// # Errors
/// `bad_option` for what is no name of a variant.
pub(super) fn variant_fields(variants: BTreeMap<String, String>) -> Result<Vec<(String, String)>, Problem> {
    let field = |(name, options): (String, String)| {
        let name = name.parse::<VariantName>().map_err(|error| Problem::new(Code::BadOption, error))?;
        Ok(("variant".to_owned(), format!("{name}={options}")))
    };
    variants.into_iter().map(field).collect()
}
