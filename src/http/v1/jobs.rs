//! `GET /v1/jobs/{id}`: a job with its tasks, timings and errors.

use axum::{Router, extract::State, response::Response, routing::get};
use http::HeaderMap;

use crate::http::{App, base_url::BaseUrl, path::Segments, problem::Problem, query::NoQuery, view};

use super::uploads::tagged_json;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/jobs/{id}", get(show))
}

async fn show(
    State(site): State<App>,
    base: BaseUrl,
    Segments(id): Segments<String>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found("job"))?;
    let view = site.catalog.job(id).await?.ok_or_else(|| Problem::not_found("job"))?;
    Ok(tagged_json(&headers, &view::job(&view, &base.0)))
}
