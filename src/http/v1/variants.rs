//! `POST /v1/images/{id}/variants`: more variants of an image that is stored, as a job of its own.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::BytesMut;
use futures_util::TryStreamExt as _;
use http::{HeaderValue, StatusCode, header};
use image_pipeline::Spec;
use serde::Deserialize;

use crate::{
    catalog::{JobAdded, Subject, TaskView},
    domain::{Code, ImageId, Refusal, VariantName},
    http::{
        App,
        absent::{absent, gone},
        base_url::BaseUrl,
        body, form,
        path::Segments,
        problem::Problem,
        query::NoQuery,
        request_id, view,
    },
    ingest::{BodyError, SourceSize, UploadRequest, essence, plan_source},
};

use super::{explain::probed, intake};

/// Longest body: 32 variants with long options are a tenth of it.
const MAX_BODY_BYTES: usize = 64 << 10;

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
    let probe = probed(&site, &image).await?;
    let specs: Vec<Spec> = wanted.variants.iter().map(|variant| variant.spec.clone()).collect();
    let plan = plan_source(&probe, image.bytes, &specs, &site.limits.image, &site.watermarks)?;
    let job = site.committer.new_job(&wanted, &plan, SourceSize { bytes: image.bytes, frames: probe.frames });
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
    let json = view::Variants {
        image: id.to_string(),
        upload: upload.to_string(),
        job: job.map(|(job, _)| job.to_string()),
        variants: asked.map(|task| view::task(task, id, &base.0)).collect(),
    };
    let mut response = (StatusCode::ACCEPTED, Json(json)).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&format!("{}/v1/uploads/{upload}", base.0)) {
        answer.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Reads the body.
async fn wanted(site: &App, request: Request) -> Result<UploadRequest, Problem> {
    let (head, body) = request.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).and_then(essence);
    if kind.as_deref() != Some("application/json") {
        let found = kind.as_deref().unwrap_or("none").to_owned();
        return Err(Problem::new(Code::UnsupportedMediaType, format!("content type is {found}; application/json is allowed")));
    }
    let text = body::stream(body, site.pace).map_err(of_body).try_fold(BytesMut::new(), |mut text, chunk| async move {
        if text.len() + chunk.len() > MAX_BODY_BYTES {
            let limit = MAX_BODY_BYTES as u64;
            return Err(Refusal::over(Code::TooLarge, format!("the request has more bytes than {limit}"), limit, None).into());
        }
        text.extend_from_slice(&chunk);
        Ok(text)
    });
    let asked: Asked = serde_json::from_slice(&text.await?).map_err(|error| {
        let example = r#"{"variants": {"thumb": "rs:fill:320:320/f:webp"}, "priority": "low"}"#;
        Problem::new(Code::BadRequest, format!("the body is not what is expected, such as {example}: {error}"))
    })?;
    if asked.variants.is_empty() {
        return Err(Problem::new(Code::BadOption, "variants is empty; name at least one"));
    }
    let mut fields = Vec::with_capacity(asked.variants.len() + 1);
    for (name, options) in asked.variants {
        let name = name.parse::<VariantName>().map_err(|error| Problem::new(Code::BadOption, error))?;
        fields.push(("variant".to_owned(), format!("{name}={options}")));
    }
    fields.extend(asked.priority.map(|priority| ("priority".to_owned(), priority)));
    let mut wanted = form::read(&fields, site.named(), None)?;
    wanted.client = intake::pool_client(&head.extensions);
    wanted.origin = request_id::origin(&head.headers, &head.extensions);
    Ok(wanted)
}

fn of_body(error: BodyError) -> Problem {
    crate::ingest::IngestError::from(error).into()
}
