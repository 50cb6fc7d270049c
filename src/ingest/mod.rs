//! From a request's stream to staged files: count, hash and sniff in passing, in constant memory per upload.
//!
//! No HTTP statuses, no framework types: a body is a `Stream` of `Bytes`; what is wrong with it is a `Refusal`.
//! Invariant: an upload that waits for its client holds no thread; what is dropped leaves no file behind.

mod commit;
mod digest;
mod disposition;
mod guard;
mod media_type;
mod multipart;
pub mod parser;
mod raw;
mod sniff;
mod writer;

#[cfg(test)]
mod fixtures;

pub use commit::{CommitError, CommitOptions, Committer, News, SourceSize, UploadRequest, VariantRequest, plan_file, plan_source};
pub use digest::sha256_of_repr_digest;
pub use disposition::{Disposition, display_name, parse_disposition};
pub use guard::{BodyError, BodyStream};
pub use media_type::{boundary, essence};
pub use multipart::{Form, receive_form};
pub use raw::receive_raw;
pub use sniff::refusal_of;
pub use writer::StagedFile;

use image_pipeline::Limits;

use crate::domain::Refusal;

/// What one request may bring.
#[derive(Clone, Debug)]
pub struct IngestLimits {
    /// Largest file.
    pub max_file_bytes: u64,
    /// Largest body, framing included.
    pub max_request_bytes: u64,
    /// Most file parts (refused ones included).
    pub max_files: u32,
    /// Most other parts.
    pub max_fields: u32,
    /// Longest text field.
    pub max_field_bytes: u64,
    /// Bytes of refused files that are read and dropped, per request, so that later files still count.
    pub max_refused_bytes: u64,
    /// What an image may be.
    pub image: Limits,
}

/// Why a body was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The request is at fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The client went away or its connection broke; nobody is left to answer.
    #[error("client went away")]
    Aborted,
    /// No byte came for too long.
    #[error("no data for too long")]
    TooSlow,
    /// The staging disk is full.
    #[error("no room in staging")]
    Full(#[source] std::io::Error),
    /// The staging disk failed.
    #[error("staging failed")]
    Io(#[source] std::io::Error),
}

/// One file of a request: taken in, or refused while the others go on.
#[derive(Debug)]
pub enum FileOutcome {
    /// Whole, hashed, an image by its bytes, within the limits.
    Staged(StagedFile),
    /// Refused; nothing of it is kept.
    Rejected {
        /// The client's name for it.
        filename: Option<String>,
        /// Why.
        refusal: Refusal,
    },
}

impl From<BodyError> for IngestError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Aborted => Self::Aborted,
            BodyError::TooSlow => Self::TooSlow,
        }
    }
}
