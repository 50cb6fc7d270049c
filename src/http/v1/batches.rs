//! `POST /v1/batches`: variants for all stored images that match a filter; `GET` tells how far one is, `DELETE` stops it.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    batch::WantedBatch,
    catalog::{BatchView, CatalogError, ImageFilter},
    domain::{BatchId, Code, Priority},
    http::{App, base_url::BaseUrl, form, json, path::Segments, problem::Problem, query::NoQuery, view},
};

use super::{bulk::OneOrMore, intake, uploads, variants::variant_fields};

/// A waiting client looks again this soon after something has happened.
const BREATH: Duration = Duration::from_millis(100);

const EXAMPLE: &str = r#"{"preset": "thumbnail", "filter": {"format": "jpeg", "lacks": "thumbnail"}, "dry_run": true}"#;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/batches", post(make)).route("/v1/batches/{id}", get(show).delete(cancel))
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    preset: Option<OneOrMore>,
    #[serde(default)]
    variants: BTreeMap<String, String>,
    #[serde(default)]
    filter: Filter,
    priority: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// Of which images; what is not said does not matter.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Filter {
    format: Option<OneOrMore>,
    since: Option<String>,
    until: Option<String>,
    #[serde(deserialize_with = "json::whole")]
    min_width: Option<u32>,
    #[serde(deserialize_with = "json::whole")]
    max_width: Option<u32>,
    #[serde(deserialize_with = "json::whole")]
    min_height: Option<u32>,
    #[serde(deserialize_with = "json::whole")]
    max_height: Option<u32>,
    lacks: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Filter {
    fn read(self) -> Result<ImageFilter, Problem> {
        let bad = |detail: String| Problem::new(Code::BadRequest, detail);
        let mut formats = Vec::new();
        for word in OneOrMore::words(self.format) {
            let format = image_pipeline::Format::from_name(&word).ok_or_else(|| {
                let known: Vec<&str> = image_pipeline::Format::ALL.iter().map(|format| format.as_str()).collect();
                bad(format!("format is {:?}, known are {}", word.chars().take(64).collect::<String>(), known.join(", ")))
            })?;
            formats.push(format.as_str().to_owned());
        }
        let (since, until) = (json::time_of("since", self.since.as_deref())?, json::time_of("until", self.until.as_deref())?);
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(bad("since is not before until; no image can match".to_owned()));
        }
        for (name, min, max) in [("width", self.min_width, self.max_width), ("height", self.min_height, self.max_height)] {
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                return Err(bad(format!("min_{name} is {min} and max_{name} is {max}; no image can match")));
            }
        }
        let lacks = self.lacks.map(|name| name.parse()).transpose().map_err(|error| bad(format!("lacks: {error}")))?;
        Ok(ImageFilter {
            formats,
            since,
            until,
            min_width_px: self.min_width,
            max_width_px: self.max_width,
            min_height_px: self.min_height,
            max_height_px: self.max_height,
            lacks,
            metadata: self.metadata.into_iter().collect(),
        })
    }
}

impl Asked {
    fn read(self, site: &App, idempotency_key: Option<String>) -> Result<WantedBatch, Problem> {
        let mut fields = variant_fields(self.variants)?;
        fields.extend(OneOrMore::words(self.preset).into_iter().map(|name| ("preset".to_owned(), name)));
        if fields.is_empty() {
            return Err(Problem::new(Code::BadOption, "nothing is to be made; name a preset or at least one of variants"));
        }
        // Behind what clients upload, unless somebody says otherwise.
        fields.push(("priority".to_owned(), self.priority.unwrap_or_else(|| Priority::Low.as_str().to_owned())));
        let wanted = form::read(&fields, site.named(), None)?;
        let filter = self.filter.read()?;
        Ok(WantedBatch { owner: wanted.owner, filter, variants: wanted.variants, priority: wanted.priority, idempotency_key })
    }
}

async fn make(State(site): State<App>, base: BaseUrl, _: NoQuery, request: Request) -> Result<Response, Problem> {
    let sent = json::read::<Asked>(&site, request, EXAMPLE).await?;
    let (asked, key) = (sent.json, intake::idempotency_key(&sent.headers)?);
    let dry_run = asked.dry_run;
    let wanted = asked.read(&site, key)?;
    if dry_run {
        let matched = site.batches.count(&wanted.owner, &wanted.filter).await?;
        let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        return Ok((headers, Json(view::BatchDryRun { dry_run, matched })).into_response());
    }
    if site.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    let made = site.batches.make(wanted).await?;
    let json = shown(&site, &made.batch, &base);
    let mut response = (StatusCode::ACCEPTED, Json(json)).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&format!("{}/v1/batches/{}", base.0, made.batch.id)) {
        answer.insert(header::LOCATION, location);
    }
    if made.replayed {
        answer.insert(HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A batch as it is sent.
pub(super) fn shown(site: &App, batch: &BatchView, base: &BaseUrl) -> view::Batch {
    view::batch(batch, site.batches.expected_end(batch.id), &base.0)
}

fn id_of(text: &str) -> Result<BatchId, Problem> {
    text.parse().map_err(|_| Problem::not_found("batch"))
}

async fn show(State(site): State<App>, base: BaseUrl, Segments(id): Segments<String>, request: Request) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    let batch = match uploads::wait_of(request.uri())? {
        Some(wait) => wait_until_final(&site, id, wait).await?,
        None => site.catalog.batch(id).await?,
    };
    let Some(batch) = batch else { return Err(Problem::not_found("batch")) };
    Ok(uploads::tagged_json(request.headers(), &shown(&site, &batch, &base)))
}

/// The batch as soon as it is final, or as it is when `wait` is over. Ends early when the service stops.
///
/// # Cancel safety
/// May be dropped at any time; nothing is changed.
async fn wait_until_final(site: &App, id: BatchId, wait: Duration) -> Result<Option<BatchView>, CatalogError> {
    let until = Instant::now() + wait;
    let (mut stopping, mut news) = (site.stopping.clone(), site.follow.news());
    loop {
        news.borrow_and_update();
        let batch = site.catalog.batch(id).await?;
        if batch.as_ref().is_none_or(|batch| batch.state.is_final()) {
            return Ok(batch);
        }
        let woken = async {
            // The ring lives as long as the service.
            if news.changed().await.is_ok() {
                tokio::time::sleep(BREATH).await;
            }
        };
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep_until(until) => return Ok(batch),
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(batch),
        }
    }
}

/// 204 also for a batch that has ended, as whoever asks cannot know that it just did; it stays as it is.
async fn cancel(State(site): State<App>, Segments(id): Segments<String>, _: NoQuery) -> Result<StatusCode, Problem> {
    match site.batches.cancel(id_of(&id)?).await? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(Problem::not_found("batch")),
    }
}
