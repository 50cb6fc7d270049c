//! `Problem`: the one way a refusal or failure becomes a response (RFC 9457), and the one table of statuses.
//!
//! Outward text and inward cause are kept apart: a cause is logged here, once, and never sent.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tracing::error;

use crate::{
    catalog::CatalogError,
    domain::{Code, Refusal, TaskCode, TaskFailure},
    further::FurtherError,
    ingest::{CommitError, IngestError},
    store::StoreError,
    telemetry::error_chain,
};

use super::{request_id::RequestId, view};

/// Seconds a client is asked to wait when the service is short of something.
const RETRY_AFTER_S: u64 = 5;

/// An error on its way out; boxed, because every handler's result carries room for one.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Members>);

#[derive(Clone, Debug)]
struct Members {
    status: StatusCode,
    code: &'static str,
    detail: String,
    limit: Option<u64>,
    received: Option<u64>,
    retry_after_s: Option<u64>,
    /// Every file of the request, when there was more than one and none was taken.
    rejected: Vec<view::Rejected>,
    /// Headers the status asks for (`Allow`, `Content-Range`).
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = status_of(code);
        let wait = matches!(status.as_u16(), 429 | 503 | 507).then_some(RETRY_AFTER_S);
        Self(Box::new(Members {
            status,
            code: code.as_str(),
            detail: detail.into(),
            limit: None,
            received: None,
            retry_after_s: wait,
            rejected: Vec::new(),
            headers: Vec::new(),
        }))
    }

    /// Something of ours broke: logged with its causes, sent without them.
    pub(crate) fn internal(cause: &dyn std::error::Error, doing: &str) -> Self {
        error!(error = %error_chain(cause), "{doing}");
        Self::new(Code::Internal, "something went wrong on our side; quote the id in `instance` when you report it")
    }

    /// Our own shortage, and a passing one.
    fn out_of_descriptors() -> Self {
        tracing::warn!("out of file descriptors; raise the limit or lower --max-uploads-in-flight");
        Self::new(Code::QueueFull, "too many files are open at the moment")
    }

    /// The disk failed: our fault, but one that passes when the disk is repaired, remounted or given its rights back, so the client is asked to
    /// come back instead of being told that its request broke something.
    fn storage(cause: &dyn std::error::Error, doing: &str) -> Self {
        error!(error = %error_chain(cause), "{doing}");
        Self::new(Code::Storage, "the disk cannot be used at the moment")
    }

    /// Says, where the disk failed under an upload, that it may be sent again without a second thought.
    fn with_nothing_kept(mut self) -> Self {
        if self.code() == Code::Storage.as_str() {
            self.0.detail.push_str("; nothing of this request was kept");
        }
        self
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    fn with_rejected(mut self, files: Vec<view::Rejected>) -> Self {
        self.0.rejected = files;
        self
    }

    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    /// The members of RFC 9457 and ours, without `instance`.
    pub(crate) fn members(&self) -> view::Problem {
        view::Problem {
            kind: format!("urn:pixmill:problem:{}", self.0.code),
            title: self.0.code.replace('_', " "),
            status: self.0.status.as_u16(),
            detail: self.0.detail.clone(),
            code: view::ProblemCode(self.0.code),
            limit: self.0.limit,
            received: self.0.received,
            retry_after_s: self.0.retry_after_s,
            rejected: self.0.rejected.clone(),
            instance: None,
        }
    }

    /// A failed task as the answer to a request for its variant.
    pub(crate) fn of_task(failure: &TaskFailure, will_be_tried_again: bool) -> Self {
        let status = if failure.code.is_image_fault() {
            StatusCode::UNPROCESSABLE_ENTITY
        } else if will_be_tried_again {
            StatusCode::SERVICE_UNAVAILABLE
        } else if failure.code == TaskCode::Cancelled {
            StatusCode::GONE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S);
        let mut problem = Self::new(Code::Internal, failure.detail.clone());
        problem.0.status = status;
        problem.0.code = failure.code.as_str();
        problem.0.retry_after_s = retry_after_s;
        problem
    }
}

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    errno.is_some_and(|errno| errno == rustix::io::Errno::MFILE || errno == rustix::io::Errno::NFILE)
}

/// The one table of statuses.
fn status_of(code: Code) -> StatusCode {
    let status = match code {
        Code::MalformedMultipart | Code::NoFile | Code::EmptyFile | Code::BadOption | Code::BadRequest | Code::DigestMismatch => 400,
        Code::Unauthorized => 401,
        Code::Forbidden => 403,
        Code::NotFound => 404,
        Code::MethodNotAllowed => 405,
        Code::NotAcceptable => 406,
        Code::TooSlow => 408,
        Code::IdempotencyConflict | Code::VariantExists | Code::NothingToRetry => 409,
        Code::Gone => 410,
        Code::PreconditionFailed => 412,
        Code::TooLarge | Code::TooManyFiles | Code::TooManyFields => 413,
        Code::UnsupportedMediaType | Code::UnsupportedFormat => 415,
        Code::RangeNotSatisfiable => 416,
        Code::ExpectationFailed => 417,
        Code::TooManyPixels | Code::TooManyFrames | Code::MalformedImage | Code::TooCostly => 422,
        Code::RateLimited => 429,
        Code::HeadersTooLarge => 431,
        Code::Internal => 500,
        Code::QueueFull | Code::ShuttingDown | Code::Storage => 503,
        Code::DiskFull => 507,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let mut problem = Self::new(refusal.code, refusal.detail);
        problem.0.limit = refusal.limit;
        problem.0.received = refusal.received;
        problem
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::IdempotencyConflict => {
                Self::new(Code::IdempotencyConflict, "this Idempotency-Key was used with other files or options")
            }
            CatalogError::Full(cause) => {
                error!(error = %cause, "no room for the catalog");
                Self::new(Code::DiskFull, "there is no room left to record this")
            }
            CatalogError::Disk(_) => Self::storage(&error, "the catalog's disk failed"),
            CatalogError::LeaseLost | CatalogError::Backend(_) => Self::internal(&error, "the catalog failed"),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(cause) => {
                error!(error = %cause, "no room in the store");
                Self::new(Code::DiskFull, "there is no room left to store this")
            }
            StoreError::Io(cause) if is_out_of_descriptors(&cause) => Self::out_of_descriptors(),
            StoreError::Io(_) => Self::storage(&error, "the store failed"),
            StoreError::Damaged(..) => {
                error!(error = %error_chain(&error), "stored bytes are damaged");
                Self::new(Code::Internal, "the stored file is damaged and is not sent; it must be restored or uploaded again")
            }
            StoreError::NotFound(_) => Self::internal(&error, "the store failed"),
        }
    }
}

impl From<FurtherError> for Problem {
    fn from(error: FurtherError) -> Self {
        match error {
            FurtherError::Refused(refusal) => refusal.into(),
            FurtherError::Store(error) => error.into(),
            FurtherError::Read(_) => Self::internal(&error, "could not read a stored original"),
        }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Refused(refusal) => refusal.into(),
            // Nobody is left to read this; the status only shows in the trace.
            IngestError::Aborted => Self::new(Code::BadRequest, "the body's framing is broken, or it ended before it was complete"),
            IngestError::TooSlow => Self::new(Code::TooSlow, "the body came too slowly or took too long"),
            IngestError::Full(cause) => {
                error!(error = %cause, "no room in staging");
                Self::new(Code::DiskFull, "there is no room left to take this in")
            }
            IngestError::Io(cause) if is_out_of_descriptors(&cause) => Self::out_of_descriptors(),
            IngestError::Io(_) => Self::storage(&error, "staging failed").with_nothing_kept(),
        }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::AllRefused { refusal, rejected } => {
                let problem = Self::from(refusal);
                if rejected.len() > 1 { problem.with_rejected(view::rejected(&rejected)) } else { problem }
            }
            CommitError::Store(error) => Self::from(error).with_nothing_kept(),
            CommitError::Catalog(error) => error.into(),
            CommitError::Interrupted => Self::internal(&error, "a commit was interrupted"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a problem on its way out, when the request's id is known.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().copied();
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let mut members = problem.members();
    members.instance = id.map(RequestId::urn);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(header::CONTENT_LENGTH);
    if let Some(seconds) = problem.0.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    for (name, value) in problem.0.headers {
        headers.insert(name, value);
    }
    // Strings, numbers and lists of them: nothing that JSON cannot say.
    *response.body_mut() = axum::body::Body::from(serde_json::to_vec(&members).unwrap_or_default());
    response
}

/// A problem as bytes for the wire, for refusals made before there is a request; the connection ends behind it.
/// `date` is a whole header line.
pub(crate) fn wire_answer(code: Code, detail: &str, date: Option<&str>) -> Bytes {
    let problem = Problem::new(code, detail);
    let id = RequestId::new();
    let mut members = problem.members();
    members.instance = Some(id.urn());
    let body = serde_json::to_string(&members).unwrap_or_default();
    let mut text = format!("HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n", problem.0.status);
    if let Some(seconds) = problem.0.retry_after_s {
        text.push_str(&format!("retry-after: {seconds}\r\n"));
    }
    if let Some(date) = date {
        text.push_str(&format!("{date}\r\n"));
    }
    text.push_str(&format!("x-content-type-options: nosniff\r\nx-request-id: {id}\r\nconnection: close\r\n"));
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_shortages_are_the_only_5xx_and_ask_to_come_back() {
        for code in Code::ALL {
            let problem = Problem::new(*code, "x");
            let server_side = matches!(code, Code::Internal | Code::QueueFull | Code::ShuttingDown | Code::DiskFull | Code::Storage);
            assert_eq!(problem.0.status.is_server_error(), server_side, "{code}");
            assert_eq!(problem.0.retry_after_s.is_some(), matches!(problem.0.status.as_u16(), 429 | 503 | 507), "{code}");
        }
    }

    #[test]
    fn members_are_complete() {
        let problem = Problem::from(Refusal::over(Code::TooLarge, "file has 11 bytes, limit is 10", 10, Some(11)));
        let members = serde_json::to_value(problem.members()).expect("serialises");
        for name in ["type", "title", "status", "detail", "code", "limit", "received"] {
            assert!(members.get(name).is_some(), "{name}");
        }
        assert_eq!(members["status"], 413);
    }
}
