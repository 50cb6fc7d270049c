//! `POST /v1/images`, `PUT /v1/images/{name}`, `POST /upload-image/`: the ways in; `GET /v1/images/{id}`.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    catalog::{Accepted, JobView, Subject},
    domain::{ImageId, UploadState},
    http::{
        App,
        absent::{absent, gone},
        base_url::BaseUrl,
        form,
        path::Segments,
        problem::Problem,
        query::NoQuery,
        server_timing::SERVER_TIMING,
        view,
    },
    ingest::{FileOutcome, UploadRequest},
};

use super::{intake, uploads, uploads::MAX_WAIT_S};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/images", post(upload))
        .route("/v1/images/{name}", put(upload_named).get(show))
        .route("/upload-image/", post(upload_plain))
        .route("/upload-image", post(upload_plain))
        .route("/v1/presets", get(presets))
}

async fn upload(State(site): State<App>, base: BaseUrl, request: Request) -> Result<Response, Problem> {
    respond(&site, &base.0, request, None).await
}

async fn upload_named(
    State(site): State<App>,
    base: BaseUrl,
    Segments(name): Segments<String>,
    request: Request,
) -> Result<Response, Problem> {
    respond(&site, &base.0, request, Some(&name)).await
}

async fn respond(site: &App, base: &str, request: Request, raw_name: Option<&str>) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let (accepted, _) = accept(site, request, raw_name).await?;
    let mut upload = accepted.upload;
    let mut status = StatusCode::ACCEPTED;
    let wanted = wait_preference(&headers);
    let begun = tokio::time::Instant::now();
    if let Some(wait) = wanted {
        let id = upload.id;
        upload = uploads::wait_until_final(site, id, wait).await?.ok_or_else(|| gone("upload"))?;
        if upload.state.is_final() {
            status = StatusCode::OK;
        }
    }
    let json = view::upload(&upload, base);
    let mut response = (status, [(header::LOCATION, format!("{base}/v1/uploads/{}", upload.id))], Json(json)).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    mark_replay(answer, accepted.replayed);
    if wanted.is_some() {
        answer.insert(SERVER_TIMING, uploads::waited(begun.elapsed(), &upload));
    }
    if let Some(wait) =
        wanted.filter(|_| status == StatusCode::OK).and_then(|w| HeaderValue::from_str(&format!("wait={}", w.as_secs())).ok())
    {
        answer.insert("preference-applied", wait);
    }
    Ok(response)
}

fn mark_replay(answer: &mut HeaderMap, replayed: bool) {
    if replayed {
        answer.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
}

/// Stages, commits, counts.
async fn accept(site: &App, request: Request, raw_name: Option<&str>) -> Result<(Accepted, UploadRequest), Problem> {
    let intake = intake::take_in(site, request, raw_name).await?;
    let mut wanted = form::read(&intake.fields, site.named(), intake.idempotency_key.clone())?;
    intake::check_ttl(site, &wanted)?;
    wanted.client = intake.client.clone();
    wanted.origin = intake.origin;
    // Variants may be named after the last file, so that only now both numbers are known; nothing is durable yet.
    let taken = intake.files.iter().filter(|file| matches!(file, FileOutcome::Staged(_))).count();
    form::check_tasks(taken, wanted.variants.len())?;
    let accepted = site.committer.commit(wanted.clone(), intake.files).await?;
    if !accepted.replayed {
        site.metrics.upload_received(accepted.upload.images.iter().map(|(image, _)| image.bytes).sum());
        for file in &accepted.upload.rejected {
            site.metrics.refused(file.refusal.code.as_str());
        }
    }
    Ok((accepted, wanted))
}

/// The route of FastAPI-style clients: their field names in, their answer out.
async fn upload_plain(State(site): State<App>, base: BaseUrl, request: Request) -> Result<Response, Problem> {
    let (accepted, wanted) = accept(&site, request, None).await?;
    let url = format!("{}/v1/uploads/{}", base.0, accepted.upload.id);
    let file_name = accepted.upload.images.first().and_then(|(image, _)| image.filename.clone());
    let names: Vec<&str> = wanted.variants.iter().map(|v| v.name.as_str()).collect();
    let done = accepted.upload.state == UploadState::Completed;
    let json = view::PlainUpload {
        message: if done { "Image was processed before" } else { "Image uploaded, processing in the background" },
        file_name,
        process_type: names.join(","),
        id: accepted.upload.id.to_string(),
        url: url.clone(),
    };
    let mut response = (StatusCode::ACCEPTED, [(header::LOCATION, url)], Json(json)).into_response();
    mark_replay(response.headers_mut(), accepted.replayed);
    Ok(response)
}

/// `Prefer: wait=N` (RFC 7240); anything else in the header is a preference we do not have.
fn wait_preference(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all("prefer").into_iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split([',', ';']));
    let seconds = preferences.filter_map(|p| p.trim().strip_prefix("wait=")?.trim_matches('"').parse::<u64>().ok()).next()?;
    Some(Duration::from_secs(seconds.min(MAX_WAIT_S)))
}

/// What is known of an image.
async fn show(
    State(site): State<App>,
    base: BaseUrl,
    Segments(id): Segments<String>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = id.parse::<ImageId>().map_err(|_| Problem::not_found("image"))?;
    let upload = match site.catalog.image(id).await? {
        Some(image) => site.catalog.upload(image.upload).await?,
        None => None,
    };
    let of: Vec<_> = upload.iter().flat_map(|upload| &upload.images).filter(|(image, _)| image.id == id).collect();
    match of.first() {
        Some((image, _)) => {
            let work: Vec<&JobView> = of.iter().map(|(_, job)| job).collect();
            let facts = site.catalog.facts(&[image.blob]).await?;
            let shown = view::image(image, &work, facts.first().map(|(_, facts)| facts.as_str()), &base.0);
            Ok(uploads::tagged_json(&headers, &shown))
        }
        None => Err(absent(&site, Subject::Image(id)).await),
    }
}

/// The named sets of options.
async fn presets(State(site): State<App>, _: NoQuery) -> Json<BTreeMap<String, String>> {
    Json(site.presets.iter().map(|(name, options)| (name.to_owned(), options.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_and_capped() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_str(text).expect("ascii"));
            wait_preference(&headers).map(|d| d.as_secs())
        };
        assert_eq!(wait("wait=5"), Some(5));
        assert_eq!(wait("respond-async, wait=7"), Some(7));
        assert_eq!(wait("wait=100000"), Some(MAX_WAIT_S));
        assert_eq!(wait("respond-async"), None);
        assert_eq!(wait("wait=soon"), None);
    }
}
