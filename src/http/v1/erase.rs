//! `DELETE /v1/uploads/{id}` and `DELETE /v1/images/{id}`: 204 once the rows are gone durably.

use axum::{Router, extract::State, routing::delete};
use http::StatusCode;

use crate::{
    erase::{Outcome, Target},
    http::{App, absent::gone, path::Segments, problem::Problem, query::NoQuery},
};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/uploads/{id}", delete(upload)).route("/v1/images/{name}", delete(image))
}

async fn upload(State(site): State<App>, Segments(id): Segments<String>, _: NoQuery) -> Result<StatusCode, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found("upload"))?;
    answer(site.eraser.erase(Target::Upload(id)).await?, "upload")
}

async fn image(State(site): State<App>, Segments(id): Segments<String>, _: NoQuery) -> Result<StatusCode, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found("image"))?;
    answer(site.eraser.erase(Target::Image(id)).await?, "image")
}

fn answer(outcome: Outcome, what: &str) -> Result<StatusCode, Problem> {
    match outcome {
        Outcome::Done => Ok(StatusCode::NO_CONTENT),
        Outcome::Gone => Err(gone(what)),
        Outcome::Unknown => Err(Problem::not_found(what)),
    }
}
