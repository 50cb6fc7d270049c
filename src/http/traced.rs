//! A request as a span, named as OpenTelemetry's conventions for HTTP servers say.
//!
//! Its trace is the one its client says (`traceparent`), or begins with it; the id of the span is of the request's id, so that jobs find it.

use std::time::{Duration, Instant};

use axum::extract::Request;
use http::StatusCode;

use crate::{
    domain::{Origin, span_id},
    telemetry::{Kind, Span},
};

use super::request_id;

/// What asks every few seconds, and would hide everything else in a list of traces.
const UNTRACED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Characters of a path that are told.
const MAX_PATH_CHARS: usize = 256;

/// A request that is being answered.
pub(crate) struct Traced {
    origin: Origin,
    /// The span its client is in.
    parent: Option<u64>,
    path: String,
    start: Instant,
}

impl Traced {
    /// What is remembered of a request; `None` for those nobody wants to see.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        if UNTRACED.contains(&path) {
            return None;
        }
        Some(Self {
            origin: request_id::origin(request.headers(), request.extensions())?,
            parent: request_id::traceparent(request.headers()).map(|(_, parent)| parent),
            // As long as the longest of ours with room to spare: what waits for the collector is bounded by its number.
            path: path.chars().take(MAX_PATH_CHARS).collect(),
            start: Instant::now(),
        })
    }

    /// Its span, up to the answer's head; `route` is method, of those that are known, and pattern: a client may name others as long as it likes.
    pub(crate) fn answered(self, route: &str, status: StatusCode, took: Duration, problem: Option<&'static str>) -> Span {
        let Self { origin, parent, path, start } = self;
        let (method, pattern) = route.split_once(' ').unwrap_or(("", route));
        let mut facts = vec![
            ("http.request.method", if method == "other" { "_OTHER" } else { method }.to_owned().into()),
            ("http.route", pattern.to_owned().into()),
            ("url.path", path.into()),
            ("http.response.status_code", u64::from(status.as_u16()).into()),
            ("pixmill.request.id", origin.request.to_string().into()),
        ];
        facts.extend(problem.map(|code| ("error.type", code.into())));
        Span {
            trace: origin.trace_or_own(),
            id: span_id(origin.request),
            parent,
            name: route.to_owned().into(),
            kind: Kind::Server,
            start,
            took,
            error: status.is_server_error().then(|| problem.unwrap_or("internal").to_owned()),
            facts,
        }
    }
}
