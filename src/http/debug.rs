//! `GET /debug/profile`: where the CPU's time goes, for who keeps the service; asked on the machine itself only.
//!
//! Invariant: nothing that came through a proxy, or from a page of another site, is answered, whatever its sender's address. A profile tells nothing of
//! what is stored, only which code ran.

use std::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::{domain::Code, profile::ProfileError};

use super::{App, client::client_of, problem::Problem, v1::query_pairs};

/// Unless the query says otherwise.
const DEFAULT_SECONDS: u64 = 10;
/// Longest look: what an answer may be waited for elsewhere, too.
const MAX_SECONDS: u64 = 60;
/// What a proxy adds; a request that has one of these was not made on this machine, or not to us.
const PROXY_HEADERS: [HeaderName; 4] =
    [header::FORWARDED, header::VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];
/// Where a browser says who asks (Fetch Metadata); other clients do not send it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) fn routes() -> Router<App> {
    Router::new().route("/debug/profile", get(profile))
}

async fn profile(State(site): State<App>, uri: Uri, request: Request) -> Result<Response, Problem> {
    operator_only(&request)?;
    let asked = Asked::of(&uri)?;
    let mut stopping = site.stopping.clone();
    let recorded = tokio::select! {
        recorded = site.profiler.record(asked.time) => recorded,
        _ = stopping.wait_for(|stopping| *stopping) => return Err(Problem::new(Code::ShuttingDown, "the service is stopping")),
    };
    let profile = recorded.map_err(|error| match error {
        ProfileError::Busy => Problem::new(Code::QueueFull, "another profile is being made, one at a time is allowed"),
        ProfileError::Unsupported => Problem::new(Code::NotFound, error.to_string()),
        ProfileError::Refused(_) => Problem::internal(&error, "could not make a profile"),
    })?;
    let (kind, text) = if asked.is_svg { ("image/svg+xml", profile.to_svg()) } else { ("text/plain; charset=utf-8", profile.to_string()) };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox")),
    ];
    Ok((headers, text).into_response())
}

/// The request comes from this machine, and straight from it.
fn operator_only(request: &Request) -> Result<(), Problem> {
    let headers: &HeaderMap = request.headers();
    let is_near = client_of(request.extensions()).is_none_or(|address| address.to_canonical().is_loopback());
    let is_direct = !PROXY_HEADERS.iter().any(|name| headers.contains_key(name));
    let is_own = headers.get(FETCH_SITE).is_none_or(|from| from == "none" || from == "same-origin");
    if is_near && is_direct && is_own {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, "profiles are made for requests from this machine only, without a proxy: curl it on the machine"))
}

struct Asked {
    time: Duration,
    is_svg: bool,
}

impl Asked {
    fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut asked = Self { time: Duration::from_secs(DEFAULT_SECONDS), is_svg: true };
        for (name, value) in query_pairs(uri)? {
            match (name.as_str(), value.as_str()) {
                ("seconds", value) => {
                    let seconds = value.parse().ok().filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
                    asked.time =
                        Duration::from_secs(seconds.ok_or_else(|| {
                            Problem::new(Code::BadRequest, format!("seconds is {value:?}, allowed is 1 to {MAX_SECONDS}"))
                        })?);
                }
                ("format", "svg") => asked.is_svg = true,
                ("format", "folded") => asked.is_svg = false,
                ("format", value) => {
                    return Err(Problem::new(Code::BadRequest, format!("format is {value:?}, allowed are svg and folded")));
                }
                _ => {
                    let detail = format!("unknown query parameter {name:?}, allowed are seconds and format");
                    return Err(Problem::new(Code::BadOption, detail));
                }
            }
        }
        Ok(asked)
    }
}
