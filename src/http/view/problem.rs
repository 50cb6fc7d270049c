//! The body of every refusal and failure: `application/problem+json` (RFC 9457).

use serde::Serialize;
use utoipa::ToSchema;

use super::{ProblemCode, Rejected};

/// Why a request was refused or failed (RFC 9457). `code` is stable; `detail` says what was found and what is allowed, for people.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The code as a URN.
    #[serde(rename = "type")]
    #[schema(format = "uri", examples("urn:pixmill:problem:bad_option"))]
    pub(crate) kind: String,
    /// The code in words.
    #[schema(examples("bad option"))]
    pub(crate) title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, examples(400))]
    pub(crate) status: u16,
    /// What was found and what is allowed, with units.
    #[schema(examples("unknown field \"widht\", did you mean \"width\"?"))]
    pub(crate) detail: String,
    pub(crate) code: ProblemCode,
    /// The limit that was passed, in the unit `detail` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) limit: Option<u64>,
    /// What was received, in the unit of `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) received: Option<u64>,
    /// The same as `Retry-After`, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) retry_after_s: Option<u64>,
    /// Every file of the request, when there was more than one and none was taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub(crate) rejected: Vec<Rejected>,
    /// The request's id, to quote when you report a fault; also in `X-Request-Id`. Not in the problem of one file among others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uri", examples("urn:uuid:0198c0de-7a3b-7c4d-8e5f-60718293a4b5"))]
    pub(crate) instance: Option<String>,
}
