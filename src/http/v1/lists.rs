//! `GET /v1/uploads`, `GET /v1/images`, `GET /v1/jobs`, `GET /v1/batches`: newest first, in parts, each with the way to the next.
//!
//! A cursor is the last id of a part, opaque to clients: it stays good when things are added or deleted.

use std::collections::HashMap;

use axum::{Router, extract::State, response::Response, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Uri, header};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    catalog::{ImageView, JobView, Listed, Page, UploadView},
    domain::{BatchId, BlobId, Code, ImageId, JobId, JobState, UploadId},
    http::{App, base_url::BaseUrl, problem::Problem, view},
};

use super::{batches::shown, intake::query_pairs, uploads::tagged_json};

/// Items in a part unless the client says otherwise.
pub(super) const DEFAULT_LIMIT: u32 = 50;
/// Most items in a part.
const MAX_LIMIT: u32 = 200;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/uploads", get(uploads))
        .route("/v1/images", get(images))
        .route("/v1/jobs", get(jobs))
        .route("/v1/batches", get(batches))
}

async fn uploads(State(site): State<App>, base: BaseUrl, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let asked = Asked::of(&uri, false)?;
    let list = upload_list(&site.catalog.uploads(asked.page(UploadId::from_uuid)).await?, &base.0);
    Ok(asked.answer(&headers, &base.0, "uploads", list.next_cursor.clone(), &list))
}

/// A part of the list of uploads, as it is sent.
pub(super) fn upload_list(part: &Listed<UploadView, UploadId>, base: &str) -> view::UploadList {
    let uploads = part.items.iter().map(|item| view::upload(item, base)).collect();
    view::UploadList { uploads, next_cursor: part.next.map(|next| cursor(next.uuid())) }
}

async fn images(State(site): State<App>, base: BaseUrl, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let asked = Asked::of(&uri, false)?;
    let part = site.catalog.images(asked.page(ImageId::from_uuid)).await?;
    let blobs: Vec<BlobId> = part.items.iter().map(|(image, _)| image.blob).collect();
    let facts: HashMap<BlobId, String> = site.catalog.facts(&blobs).await?.into_iter().collect();
    let image = |(image, jobs): &(ImageView, Vec<JobView>)| {
        view::image(image, &jobs.iter().collect::<Vec<_>>(), facts.get(&image.blob).map(String::as_str), &base.0)
    };
    let images = part.items.iter().map(image).collect();
    let next_cursor = part.next.map(|next| cursor(next.uuid()));
    Ok(asked.answer(&headers, &base.0, "images", next_cursor.clone(), &view::ImageList { images, next_cursor }))
}

async fn jobs(State(site): State<App>, base: BaseUrl, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let asked = Asked::of(&uri, true)?;
    let part = site.catalog.jobs(asked.page(JobId::from_uuid), asked.status).await?;
    let jobs = part.items.iter().map(|item| view::job(item, &base.0)).collect();
    let next_cursor = part.next.map(|next| cursor(next.uuid()));
    Ok(asked.answer(&headers, &base.0, "jobs", next_cursor.clone(), &view::JobList { jobs, next_cursor }))
}

async fn batches(State(site): State<App>, base: BaseUrl, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let asked = Asked::of(&uri, false)?;
    let part = site.catalog.batches(asked.page(BatchId::from_uuid)).await?;
    let batches = part.items.iter().map(|item| shown(&site, item, &base)).collect();
    let next_cursor = part.next.map(|next| cursor(next.uuid()));
    Ok(asked.answer(&headers, &base.0, "batches", next_cursor.clone(), &view::BatchList { batches, next_cursor }))
}

pub(super) fn cursor(last: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(last.as_bytes())
}

/// What the query asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    limit: u32,
    before: Option<Uuid>,
    status: Option<JobState>,
}

impl Asked {
    pub(super) fn of(uri: &Uri, with_status: bool) -> Result<Self, Problem> {
        let bad = |detail: String| Problem::new(Code::BadRequest, detail);
        let mut asked = Self { limit: DEFAULT_LIMIT, before: None, status: None };
        for (name, value) in query_pairs(uri)? {
            match name.as_str() {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    asked.limit = limit.ok_or_else(|| bad(format!("limit is {value:?}, allowed is 1 to {MAX_LIMIT}")))?;
                }
                "cursor" => {
                    let id = URL_SAFE_NO_PAD.decode(&value).ok().and_then(|bytes| Uuid::from_slice(&bytes).ok());
                    asked.before =
                        Some(id.ok_or_else(|| bad("cursor is not one of ours; use next_cursor of an earlier answer as it is".into()))?);
                }
                "status" if with_status => {
                    asked.status = Some(value.parse().map_err(|error| bad(format!("status {error}")))?);
                }
                _ => {
                    let allowed = if with_status { "limit, cursor and status" } else { "limit and cursor" };
                    let detail = format!("unknown query parameter {name:?}, allowed are {allowed}");
                    return Err(Problem::new(Code::BadOption, detail));
                }
            }
        }
        Ok(asked)
    }

    /// There are no keys yet, so everything has the empty owner.
    pub(super) fn page<I>(&self, id: impl FnOnce(Uuid) -> I) -> Page<I> {
        Page { owner: String::new(), before: self.before.map(id), limit: self.limit }
    }

    pub(super) fn answer(
        &self,
        headers: &HeaderMap,
        base: &str,
        name: &str,
        next_cursor: Option<String>,
        json: &impl Serialize,
    ) -> Response {
        let mut response = tagged_json(headers, json);
        if let Some(cursor) = next_cursor {
            let status = self.status.map_or_else(String::new, |status| format!("status={status}&"));
            let link = format!("<{base}/v1/{name}?{status}limit={}&cursor={cursor}>; rel=\"next\"", self.limit);
            // The base came as a header or from the configuration, the rest is ASCII.
            if let Ok(link) = HeaderValue::from_str(&link) {
                response.headers_mut().insert(header::LINK, link);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<Asked, String> {
        Asked::of(&format!("/v1/jobs?{query}").parse().expect("a URI"), true).map_err(|problem| problem.members().detail)
    }

    #[test]
    fn queries_are_read_and_refused_in_words() {
        assert_eq!(asked(""), Ok(Asked { limit: 50, before: None, status: None }));
        let id = Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_00ff);
        let cursor = URL_SAFE_NO_PAD.encode(id.as_bytes());
        assert_eq!(
            asked(&format!("limit=200&cursor={cursor}&status=failed")),
            Ok(Asked { limit: 200, before: Some(id), status: Some(JobState::Failed) })
        );
        for limit in ["0", "201", "-1", "", "1e2", "ten"] {
            assert!(asked(&format!("limit={limit}")).expect_err("is refused").contains("1 to 200"), "{limit}");
        }
        for cursor in ["", "x", "AAAA", &format!("{cursor}="), "%00", &"A".repeat(1000)] {
            assert!(asked(&format!("cursor={cursor}")).expect_err("is refused").contains("next_cursor"), "{cursor}");
        }
        assert!(asked("status=done").expect_err("is refused").contains("queued, running, completed, partial, failed, cancelled"));
        assert!(asked("page=2").expect_err("is refused").contains("limit, cursor and status"));
    }
}
