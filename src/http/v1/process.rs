//! `POST /v1/process`: one file in, one variant out, nothing stored.

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderValue, header};

use crate::{
    domain::{Code, TaskCode, media},
    http::{
        App, form,
        problem::Problem,
        server_timing::{SERVER_TIMING, server_timing},
    },
    ingest::{FileOutcome, plan_file},
    queue::OnceError,
};

use super::intake;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/process", post(process))
}

async fn process(State(site): State<App>, request: Request) -> Result<Response, Problem> {
    let intake = intake::take_in(&site, request, None).await?;
    let wanted = form::read(&intake.fields, site.named(), None)?;
    let [variant] = <[_; 1]>::try_from(wanted.variants)
        .map_err(|v| Problem::new(Code::BadOption, format!("{} variants are asked for, this endpoint makes exactly one", v.len())))?;
    let mut files = intake.files.into_iter();
    let file = match (files.next(), files.next()) {
        (None, _) => return Err(Problem::new(Code::NoFile, "the request has no file part")),
        (Some(_), Some(_)) => return Err(Problem::new(Code::TooManyFiles, "more than one file, this endpoint takes exactly one")),
        (Some(FileOutcome::Rejected { refusal, .. }), None) => return Err(refusal.into()),
        (Some(FileOutcome::Staged(file)), None) => file,
    };
    let plan = plan_file(&file, std::slice::from_ref(&variant.spec), &site.limits.image, &site.watermarks)?;
    let cost_bytes = plan.memory_bytes(file.staged.bytes);
    let filename = file.filename.clone();
    let once = site.queue.run_once(file.staged, variant.spec, cost_bytes).await.map_err(problem_of)?;
    let timing = server_timing(&[
        ("queue", once.queue),
        ("read", once.read),
        ("decode", once.decode),
        ("transform", once.transform),
        ("encode", once.encode),
    ]);
    let format = once.encoded.format.as_str();
    let mut response = once.encoded.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media::media_type(format)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    crate::http::files::guard_headers(headers);
    headers.insert(SERVER_TIMING, timing);
    let name = format!("{}.{}", filename.as_deref().map_or("result", media::stem), media::extension(format));
    headers.insert(header::CONTENT_DISPOSITION, crate::http::files::disposition(&name));
    Ok(response)
}

fn problem_of(error: OnceError) -> Problem {
    match error {
        OnceError::Busy { waiting } => {
            Problem::new(Code::QueueFull, format!("{waiting} requests wait for the pool already, which is the limit"))
        }
        OnceError::TooCostly { .. } => Problem::new(Code::TooCostly, error.to_string()),
        // The request's own image takes too long: trying again would not help.
        OnceError::Failed(failure) if failure.code == TaskCode::Timeout => Problem::new(Code::TooCostly, failure.detail),
        OnceError::Failed(failure) => Problem::of_task(&failure, false),
        OnceError::Read(_) => Problem::internal(&error, "could not read a staged file"),
        OnceError::Stopping => Problem::new(Code::ShuttingDown, "the service is stopping"),
    }
}
