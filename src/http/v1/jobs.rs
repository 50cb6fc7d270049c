//! `GET /v1/jobs/{id}`: a job with its tasks, timings and errors; `DELETE` cancels it, `POST …/retry` works on its failed tasks again.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    catalog::{Cancellation, Retried, Subject},
    domain::{Code, JobId, JobState},
    http::{
        App,
        absent::{absent, gone},
        base_url::BaseUrl,
        path::Segments,
        problem::Problem,
        query::NoQuery,
        view,
    },
};

use super::{intake, uploads::tagged_json};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/jobs/{id}", get(show).delete(cancel)).route("/v1/jobs/{id}/retry", post(retry))
}

fn id_of(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem::not_found("job"))
}

async fn show(
    State(site): State<App>,
    base: BaseUrl,
    Segments(id): Segments<String>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    let Some(view) = site.catalog.job(id).await? else { return Err(absent(&site, Subject::Job(id)).await) };
    Ok(tagged_json(&headers, &view::job(&view, &base.0)))
}

/// 204 also for a job that has ended, as whoever asks cannot know that it just did; it stays as it is.
async fn cancel(State(site): State<App>, Segments(id): Segments<String>, _: NoQuery) -> Result<StatusCode, Problem> {
    match site.queue.cancel(id_of(&id)?).await? {
        Cancellation::Done { .. } | Cancellation::Ended(_) => Ok(StatusCode::NO_CONTENT),
        Cancellation::Gone => Err(gone("job")),
        Cancellation::Unknown => Err(Problem::not_found("job")),
    }
}

async fn retry(State(site): State<App>, base: BaseUrl, Segments(id): Segments<String>, _: NoQuery) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    intake::admit_work(&site)?;
    match site.queue.retry(id).await? {
        Retried::Queued { .. } => {}
        Retried::NothingFailed(state) => return Err(nothing_failed(state)),
        Retried::Gone => return Err(gone("job")),
        Retried::Unknown => return Err(Problem::not_found("job")),
    }
    let view = site.catalog.job(id).await?.ok_or_else(|| gone("job"))?;
    let headers = [
        (header::LOCATION, HeaderValue::from_str(&format!("{}/v1/jobs/{id}", base.0)).ok()),
        (header::CACHE_CONTROL, Some(HeaderValue::from_static("no-store"))),
    ];
    let mut response = (StatusCode::ACCEPTED, axum::Json(view::job(&view, &base.0))).into_response();
    response.headers_mut().extend(headers.into_iter().filter_map(|(name, value)| Some((name, value?))));
    Ok(response)
}

fn nothing_failed(state: JobState) -> Problem {
    let detail = match state {
        JobState::Queued | JobState::Running => format!("the job is {state}; what fails of it can be retried once it has ended"),
        JobState::Completed | JobState::Partial | JobState::Failed | JobState::Cancelled => {
            format!("the job is {state} and none of its tasks failed; failed tasks can be retried")
        }
    };
    Problem::new(Code::NothingToRetry, detail)
}
