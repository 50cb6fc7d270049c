//! An id for every request: in its span, in its answer's `X-Request-Id`, in `instance` of a problem.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{Extensions, HeaderMap, HeaderValue};
use uuid::Uuid;

use crate::domain::{Origin, TraceId};

/// The id of one request, made here: a client's own is not trusted into our logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId(Uuid);

impl RequestId {
    pub(crate) fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// As the `instance` of a problem.
    pub(crate) fn urn(self) -> String {
        self.0.urn().to_string()
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// Where the work that a request brings comes from: the request itself, and the trace its client says it belongs to.
pub(crate) fn origin(headers: &HeaderMap, extensions: &Extensions) -> Option<Origin> {
    let request = extensions.get::<RequestId>()?.0;
    Some(Origin { request, trace: trace(headers) })
}

/// The trace a client says its request belongs to. It names nothing of ours, so it may go into our logs.
pub(crate) fn trace(headers: &HeaderMap) -> Option<TraceId> {
    traceparent(headers).map(|(trace, _)| trace)
}

/// The same, and the span its client is in.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<(TraceId, u64)> {
    TraceId::of_traceparent(headers.get("traceparent")?.to_str().ok()?)
}

/// Gives the request an id and its answer the header.
pub(crate) async fn assign(mut request: Request, next: Next) -> Response {
    let id = RequestId::new();
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
