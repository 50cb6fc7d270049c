//! `GET /v1/uploads/{id}[?wait=S]`: the state of an upload, polled cheaply or waited for.

use std::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    catalog::{CatalogError, Subject, UploadView},
    deliver::{Conditions, Selection, etag, select},
    domain::{Code, UploadId},
    http::{
        App,
        absent::absent,
        base_url::BaseUrl,
        path::Segments,
        problem::Problem,
        server_timing::{SERVER_TIMING, server_timing},
        view,
    },
};

use super::intake::query_pairs;

/// Longest `?wait=` and `Prefer: wait=`, in seconds.
pub(super) const MAX_WAIT_S: u64 = 60;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/uploads/{id}", get(show))
}

async fn show(State(site): State<App>, base: BaseUrl, Segments(id): Segments<String>, request: Request) -> Result<Response, Problem> {
    let id = id.parse::<UploadId>().map_err(|_| Problem::not_found("upload"))?;
    let (begun, wait) = (Instant::now(), wait_of(request.uri())?);
    let view = match wait {
        Some(wait) => wait_until_final(&site, id, wait).await?,
        None => site.catalog.upload(id).await?,
    };
    let Some(view) = view else { return Err(absent(&site, Subject::Upload(id)).await) };
    let mut response = tagged_json(request.headers(), &view::upload(&view, &base.0));
    if wait.is_some() {
        response.headers_mut().insert(SERVER_TIMING, waited(begun.elapsed(), &view));
    }
    Ok(response)
}

/// Where the time of an answer went that was waited for: how long it was held, and the times of the upload's job that took longest.
pub(super) fn waited(held: Duration, upload: &UploadView) -> HeaderValue {
    let mut stages = vec![("wait", held)];
    let timings = upload.images.iter().filter_map(|(_, job)| job.timing);
    if let Some(t) = timings.max_by_key(|timing| timing.queue + timing.total) {
        stages.extend([("queue", t.queue), ("read", t.read), ("decode", t.decode), ("cpu", t.cpu), ("total", t.total)]);
    }
    server_timing(&stages)
}

/// The `?wait=` of a read.
///
/// # Errors
/// `bad_request` out of range, `bad_option` for any other parameter.
pub(super) fn wait_of(uri: &http::Uri) -> Result<Option<Duration>, Problem> {
    let mut wait = None;
    for (name, value) in query_pairs(uri)? {
        if name != "wait" {
            return Err(Problem::new(Code::BadOption, format!("unknown query parameter {name:?}, only \"wait\" is allowed")));
        }
        let seconds = value.parse::<u64>().ok().filter(|s| *s <= MAX_WAIT_S);
        let seconds =
            seconds.ok_or_else(|| Problem::new(Code::BadRequest, format!("wait is {value:?}, allowed is 0 to {MAX_WAIT_S} seconds")))?;
        wait = Some(Duration::from_secs(seconds));
    }
    Ok(wait)
}

/// The upload as soon as it is final, or as it is when `wait` is over. Ends early when the service stops.
///
/// # Cancel safety
/// May be dropped at any time; nothing is changed.
pub(super) async fn wait_until_final(site: &App, id: UploadId, wait: Duration) -> Result<Option<UploadView>, CatalogError> {
    let until = Instant::now() + wait;
    let mut stopping = site.stopping.clone();
    let mut subscription = site.follow.subscribe(id);
    loop {
        let view = site.catalog.upload(id).await?;
        if view.as_ref().is_none_or(|view| view.state.is_final()) {
            return Ok(view);
        }
        tokio::select! {
            () = subscription.change() => {}
            () = tokio::time::sleep_until(until) => return Ok(view),
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(view),
        }
    }
}

/// JSON with a strong tag, or 304 if the client has it.
pub(super) fn tagged_json(headers: &HeaderMap, json: &impl Serialize) -> Response {
    // Strings, numbers and lists of them: nothing that JSON cannot say.
    let text = serde_json::to_string(json).unwrap_or_default();
    let tag = etag(&Sha256::digest(&text).into());
    let if_none_match = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let conditions = Conditions { if_none_match, ..Conditions::default() };
    let mut response = match select(conditions, &tag, text.len() as u64) {
        Selection::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        _ => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response(),
    };
    let answer = response.headers_mut();
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.insert(header::ETAG, tag);
    }
    response
}
