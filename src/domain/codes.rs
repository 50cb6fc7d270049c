//! Stable codes of refusals and failures. The words are part of the HTTP contract; which status a code
//! maps to is `http`'s business alone.

use super::states::words;
use std::{fmt, str::FromStr};

words!(
    /// Why a request, or one file of it, was refused.
    Code {
        /// The body is not the multipart it claims to be.
        MalformedMultipart = "malformed_multipart",
        /// No file part in the request.
        NoFile = "no_file",
        /// A file of zero bytes.
        EmptyFile = "empty_file",
        /// An unknown option, or one out of range.
        BadOption = "bad_option",
        /// Anything else that is wrong with the request.
        BadRequest = "bad_request",
        /// The bytes do not have the digest the client announced.
        DigestMismatch = "digest_mismatch",
        /// A key is needed.
        Unauthorized = "unauthorized",
        /// The key does not allow this.
        Forbidden = "forbidden",
        /// No such thing.
        NotFound = "not_found",
        /// The path exists, the method does not.
        MethodNotAllowed = "method_not_allowed",
        /// Nothing we can send is acceptable.
        NotAcceptable = "not_acceptable",
        /// It was here once.
        Gone = "gone",
        /// The body came too slowly.
        TooSlow = "too_slow",
        /// The key was used with another request.
        IdempotencyConflict = "idempotency_conflict",
        /// The variant name is taken by other options.
        VariantExists = "variant_exists",
        /// The job has no failed task, or has not ended.
        NothingToRetry = "nothing_to_retry",
        /// A precondition header failed.
        PreconditionFailed = "precondition_failed",
        /// A file or the whole request is too large.
        TooLarge = "too_large",
        /// Too many files in a request.
        TooManyFiles = "too_many_files",
        /// Too many parts that are no files.
        TooManyFields = "too_many_fields",
        /// The request's media type is not one we take.
        UnsupportedMediaType = "unsupported_media_type",
        /// The bytes are no image we read.
        UnsupportedFormat = "unsupported_format",
        /// The range lies outside the file.
        RangeNotSatisfiable = "range_not_satisfiable",
        /// An expectation we cannot meet.
        ExpectationFailed = "expectation_failed",
        /// The head of the request is too large.
        HeadersTooLarge = "headers_too_large",
        /// More pixels than allowed.
        TooManyPixels = "too_many_pixels",
        /// More frames than allowed.
        TooManyFrames = "too_many_frames",
        /// The head of the image is broken.
        MalformedImage = "malformed_image",
        /// One job would pass the whole memory budget.
        TooCostly = "too_costly",
        /// This client sends too often.
        RateLimited = "rate_limited",
        /// We are at fault.
        Internal = "internal",
        /// The service has too much waiting.
        QueueFull = "queue_full",
        /// The service is stopping.
        ShuttingDown = "shutting_down",
        /// No room on the disk.
        DiskFull = "disk_full",
        /// The disk cannot be written or read now.
        Storage = "storage",
    }
);

words!(
    /// Why a task failed.
    TaskCode {
        /// The image's data are broken.
        MalformedImage = "malformed_image",
        /// The image ends too early.
        TruncatedImage = "truncated_image",
        /// A real image of a kind we do not read.
        UnsupportedFormat = "unsupported_format",
        /// More pixels than allowed.
        TooManyPixels = "too_many_pixels",
        /// Another limit (memory, frames).
        LimitExceeded = "limit_exceeded",
        /// The deadline passed.
        Timeout = "timeout",
        /// Somebody cancelled it.
        Cancelled = "cancelled",
        /// Reading or storing failed; it is tried again.
        Storage = "storage",
        /// We are at fault.
        Internal = "internal",
    }
);

impl TaskCode {
    /// The image itself is at fault: trying again cannot help.
    #[must_use]
    pub const fn is_image_fault(self) -> bool {
        matches!(self, Self::MalformedImage | Self::TruncatedImage | Self::UnsupportedFormat | Self::TooManyPixels | Self::LimitExceeded)
    }
}

/// A refusal: what was found and what is allowed, for the client's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// Lower case; says what was found and what is allowed, with units.
    pub detail: String,
    /// The limit that was passed, if there is one.
    pub limit: Option<u64>,
    /// What was received, in the unit of `limit`.
    pub received: Option<u64>,
}

impl Refusal {
    /// A refusal without figures.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), limit: None, received: None }
    }

    /// A refusal because `received` passed `limit`.
    #[must_use]
    pub fn over(code: Code, detail: impl Into<String>, limit: u64, received: Option<u64>) -> Self {
        Self { code, detail: detail.into(), limit: Some(limit), received }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Refusal {}

/// Why a task ended without a variant, as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFailure {
    /// The stable code.
    pub code: TaskCode,
    /// What was found, lower case; never a path or a stack.
    pub detail: String,
}
