//! `POST /v1/jobs/retry` and `POST /v1/jobs/cancel`: all jobs that match a filter, a bounded number at a time.

use axum::{Json, Router, extract::Request, extract::State, routing::post};
use serde::Deserialize;

use crate::{
    catalog::JobFilter,
    domain::{BatchId, Code, TaskCode, UploadId},
    http::{App, json, problem::Problem, query::NoQuery, view},
    queue::Steer,
};

use super::intake;

/// Jobs of one request unless it says otherwise, and at most: the answer comes when it is done.
const DEFAULT_LIMIT: u64 = 1000;
const MAX_LIMIT: u64 = 10_000;

const EXAMPLE: &str = r#"{"error": ["storage", "timeout"], "since": "2026-11-20T08:00:00Z", "limit": 1000}"#;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/jobs/retry", post(retry)).route("/v1/jobs/cancel", post(cancel))
}

/// What is asked for; what is not said does not matter.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    error: Option<OneOrMore>,
    since: Option<String>,
    until: Option<String>,
    upload: Option<String>,
    batch: Option<String>,
    #[serde(deserialize_with = "json::whole")]
    limit: Option<u64>,
    dry_run: bool,
}

/// A word, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a word or a list of words")]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(super) fn words(this: Option<Self>) -> Vec<String> {
        match this {
            None => Vec::new(),
            Some(Self::One(word)) => vec![word],
            Some(Self::More(words)) => words,
        }
    }
}

impl Asked {
    /// Filter and limit.
    fn read(self) -> Result<(JobFilter, u64), Problem> {
        let bad = |detail: String| Problem::new(Code::BadRequest, detail);
        let words = OneOrMore::words(self.error);
        let codes =
            words.iter().map(|word| word.parse::<TaskCode>()).collect::<Result<_, _>>().map_err(|error| bad(format!("error {error}")))?;
        let id = |name: &str, text: &str| bad(format!("{name} is {:?}, expected an id", text.chars().take(64).collect::<String>()));
        let upload = self.upload.map(|text| text.parse::<UploadId>().map_err(|_| id("upload", &text))).transpose()?;
        let batch = self.batch.map(|text| text.parse::<BatchId>().map_err(|_| id("batch", &text))).transpose()?;
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(bad(format!("limit is {limit}, allowed is 1 to {MAX_LIMIT}")));
        }
        let (since, until) = (json::time_of("since", self.since.as_deref())?, json::time_of("until", self.until.as_deref())?);
        let filter = JobFilter { owner: String::new(), codes, since, until, upload, batch };
        Ok((filter, if self.dry_run { 0 } else { limit }))
    }
}

async fn retry(State(site): State<App>, _: NoQuery, request: Request) -> Result<Json<view::Steered>, Problem> {
    let (filter, most) = json::read::<Asked>(&site, request, EXAMPLE).await?.json.read()?;
    if most > 0 {
        intake::admit_work(&site)?;
    }
    steer(&site, Steer::Retry, filter, most).await
}

async fn cancel(State(site): State<App>, _: NoQuery, request: Request) -> Result<Json<view::Steered>, Problem> {
    let (filter, most) = json::read::<Asked>(&site, request, EXAMPLE).await?.json.read()?;
    if filter == JobFilter::default() {
        let detail = "this would cancel everything that waits; name at least one of error, since, until, upload and batch";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    steer(&site, Steer::Cancel, filter, most).await
}

async fn steer(site: &App, steer: Steer, filter: JobFilter, most: u64) -> Result<Json<view::Steered>, Problem> {
    let all = site.queue.steer_all(steer, filter, most).await?;
    let left = all.matched.saturating_sub(all.done);
    let stopped_by = match (left, all.full) {
        (0, _) => None,
        (_, true) => Some("queue_full"),
        (_, false) => Some("limit"),
    };
    Ok(Json(view::Steered { matched: all.matched, done: all.done, left, stopped_by }))
}
