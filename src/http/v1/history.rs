//! `GET /v1/history[/{id}]`: jobs whose images are gone, for as long as `--history` says.

use axum::{Router, extract::State, response::Response, routing::get};
use http::{HeaderMap, Uri};

use crate::{
    domain::JobId,
    http::{App, base_url::BaseUrl, path::Segments, problem::Problem, query::NoQuery, view},
};

use super::{
    lists::{Asked, cursor},
    uploads::tagged_json,
};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/history", get(list)).route("/v1/history/{id}", get(show))
}

async fn list(State(site): State<App>, base: BaseUrl, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let asked = Asked::of(&uri, false)?;
    let part = site.catalog.past_jobs(asked.page(JobId::from_uuid)).await?;
    let jobs = part.items.iter().map(view::past_job).collect();
    let next_cursor = part.next.map(|next| cursor(next.uuid()));
    Ok(asked.answer(&headers, &base.0, "history", next_cursor.clone(), &view::PastJobList { jobs, next_cursor }))
}

/// 404 for a job that is still there, too: that is found where jobs are.
async fn show(State(site): State<App>, Segments(id): Segments<String>, _: NoQuery, headers: HeaderMap) -> Result<Response, Problem> {
    let absent = || Problem::not_found("past job");
    let id = id.parse::<JobId>().map_err(|_| absent())?;
    let past = site.catalog.past_job(id).await?.ok_or_else(absent)?;
    Ok(tagged_json(&headers, &view::past_job(&past)))
}
