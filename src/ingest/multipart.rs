//! A form: which parts are files and which are text, and what becomes of each.
//!
//! It must not know which text fields are options. Invariants: parts are read one at a time, in order; a refused file costs its own place
//! and a bounded number of bytes, nothing else; a form is given back only when its framing is whole to the last byte of the body.

use std::mem;

use super::{
    BodyStream, FileOutcome, IngestError, IngestLimits, StagedFile,
    digest::sha256_of_repr_digest,
    disposition::{Disposition, display_name, parse_disposition, text_of},
    guard::Parts,
    media_type::boundary,
    parser::PartHead,
    writer::{FileWriter, WriteError},
};
use crate::{
    domain::{Code, Refusal},
    store::StagingDir,
};

/// Field names that mean a file even without a file name.
const FILE_FIELDS: &[&str] = &["file", "files", "files[]", "image", "images", "images[]"];
/// What browsers' upload libraries add; kept with the next file.
const METADATA_FIELDS: &[&str] = &["name", "type", "relativePath", "_charset_"];
/// Names and values of all text fields together, as a multiple of the longest single one: many long fields must not add up.
const TEXT_FIELDS_IN_ALL: u64 = 16;

/// A whole form.
#[derive(Debug, Default)]
pub struct Form {
    /// Text fields `(name, value)` in order, names as often as they came.
    pub fields: Vec<(String, String)>,
    /// Files in order, at least one. Dropping the form unlinks those that were staged.
    pub files: Vec<FileOutcome>,
}

/// Reads a `multipart/form-data` body to its end; `content_type` is the request's header.
///
/// A part is a file when it has a `filename` or `filename*`, or when its field is named `file`, `files`, `files[]`, `image`, `images` or
/// `images[]`. A part with an empty file name and no bytes is what browsers send for an input nobody filled in: it is passed over, and
/// counts as a field. Fields named `name`, `type`, `relativePath`, `_charset_` are kept as metadata of the next file (of the last one, when
/// none follows). Text that is no UTF-8 is read as ISO-8859-1. A file that is refused is read and dropped, and the form goes on.
///
/// The body is borrowed: after an error what was not read is still in it, for the caller to drain; after success it is at its end.
///
/// # Errors
/// `Refused` with `unsupported_media_type`, `malformed_multipart`, `no_file`, `too_large` (the request, a text field, or refused files in all),
/// `too_many_files`, `too_many_fields`, `bad_request` (a transfer encoding); `Aborted`, `TooSlow` when the body failed; `Full`, `Io` when the
/// staging disk did. Whatever was staged is gone.
///
/// # Cancel safety
/// Dropped at any point it leaves no file; what was read of the body is lost.
pub async fn receive_form(
    content_type: &[u8],
    body: &mut BodyStream,
    limits: &IngestLimits,
    staging: &StagingDir,
) -> Result<Form, IngestError> {
    let boundary = boundary(content_type)?;
    let mut parts = Parts::new(body, &boundary, limits.max_request_bytes);
    let mut reader =
        FormReader { limits, staging, form: Form::default(), metadata: Vec::new(), fields: 0, files: 0, text_bytes: 0, dropped_bytes: 0 };
    while let Some(head) = parts.next().await? {
        reader.read_part(&mut parts, PartMeaning::of(&head)?).await?;
    }
    reader.end()
}

/// What a part's headers say of it.
struct PartMeaning {
    disposition: Disposition,
    repr_digest: Result<Option<[u8; 32]>, Refusal>,
}

impl PartMeaning {
    fn of(head: &PartHead) -> Result<Self, Refusal> {
        let part = head.number();
        let refuse = |code, text: String| Refusal::new(code, format!("part {part}: {text}"));
        // Given twice, one reader takes the first and another the last: two forms in one body.
        let only = |name: &'static str| {
            let mut values = head.values(name);
            match (values.next(), values.next()) {
                (value, None) => Ok(value),
                (_, Some(_)) => Err(refuse(Code::MalformedMultipart, format!("{name} is given twice"))),
            }
        };
        only("content-type")?;
        let disposition =
            only("content-disposition")?.ok_or_else(|| refuse(Code::MalformedMultipart, "there is no content-disposition".to_owned()))?;
        let disposition = parse_disposition(disposition).map_err(|refusal| refuse(refusal.code, refusal.detail))?;
        if let Some(encoding) = only("content-transfer-encoding")? {
            // RFC 7578, 4.7: deprecated. Decoding it here and nowhere else would let two readers see two files.
            if ![&b"binary"[..], b"8bit", b"7bit"].iter().any(|plain| plain.eq_ignore_ascii_case(encoding)) {
                let text =
                    format!("content-transfer-encoding {:?} is not supported, send the bytes as they are", shortened(&text_of(encoding)));
                return Err(refuse(Code::BadRequest, text));
            }
        }
        let repr_digest = only("repr-digest")?.map_or(Ok(None), sha256_of_repr_digest);
        Ok(Self { disposition, repr_digest })
    }

    fn is_file(&self) -> bool {
        self.disposition.filename.is_some() || FILE_FIELDS.contains(&self.disposition.name.as_str())
    }
}

struct FormReader<'a> {
    limits: &'a IngestLimits,
    staging: &'a StagingDir,
    form: Form,
    /// Waits for the next file.
    metadata: Vec<(String, String)>,
    fields: u32,
    files: u32,
    text_bytes: u64,
    dropped_bytes: u64,
}

impl FormReader<'_> {
    async fn read_part(&mut self, parts: &mut Parts<'_>, meaning: PartMeaning) -> Result<(), IngestError> {
        if meaning.is_file() { self.read_file(parts, meaning).await } else { self.read_text(parts, meaning.disposition.name).await }
    }

    fn count_field(&mut self) -> Result<(), IngestError> {
        self.fields = self.fields.saturating_add(1);
        if self.fields > self.limits.max_fields {
            let limit = self.limits.max_fields;
            return Err(Refusal::over(Code::TooManyFields, format!("request has more than {limit} fields"), limit.into(), None).into());
        }
        Ok(())
    }

    fn count_file(&mut self) -> Result<(), IngestError> {
        self.files = self.files.saturating_add(1);
        if self.files > self.limits.max_files {
            let limit = self.limits.max_files;
            return Err(Refusal::over(Code::TooManyFiles, format!("request has more than {limit} files"), limit.into(), None).into());
        }
        Ok(())
    }

    async fn read_text(&mut self, parts: &mut Parts<'_>, name: String) -> Result<(), IngestError> {
        self.count_field()?;
        let (limit, limit_in_all) = (self.limits.max_field_bytes, self.limits.max_field_bytes.saturating_mul(TEXT_FIELDS_IN_ALL));
        self.text_bytes += name.len() as u64;
        let mut value = Vec::new();
        while let Some(chunk) = parts.chunk().await? {
            let value_bytes = (value.len() + chunk.len()) as u64;
            if value_bytes > limit {
                let detail = format!("field {:?} is larger than {limit} bytes", shortened(&name));
                return Err(Refusal::over(Code::TooLarge, detail, limit, None).into());
            }
            value.extend_from_slice(&chunk);
        }
        self.text_bytes += value.len() as u64;
        if self.text_bytes > limit_in_all {
            let detail = format!("text fields are larger than {limit_in_all} bytes in all");
            return Err(Refusal::over(Code::TooLarge, detail, limit_in_all, None).into());
        }
        let value = text_of(&value);
        let kept = if METADATA_FIELDS.contains(&name.as_str()) { &mut self.metadata } else { &mut self.form.fields };
        kept.push((name, value));
        Ok(())
    }

    async fn read_file(&mut self, parts: &mut Parts<'_>, meaning: PartMeaning) -> Result<(), IngestError> {
        let first = parts.chunk().await?;
        if first.is_none() && meaning.disposition.filename.as_deref() == Some("") {
            return self.count_field();
        }
        self.count_file()?;
        let filename = meaning.disposition.filename.as_deref().and_then(display_name);
        let metadata = mem::take(&mut self.metadata);
        let written = match meaning.repr_digest {
            Ok(sha256) => self.write_file(parts, first, sha256).await?,
            Err(refusal) => {
                self.drop_rest(parts, first.map_or(0, |chunk| chunk.len() as u64)).await?;
                Err(refusal)
            }
        };
        self.form.files.push(match written {
            Ok(file) => FileOutcome::Staged(StagedFile { filename, metadata, ..file }),
            Err(refusal) => FileOutcome::Rejected { filename, refusal },
        });
        Ok(())
    }

    /// Reads a file part to its end. The outer error ends the request, the inner one is about this file.
    async fn write_file(
        &mut self,
        parts: &mut Parts<'_>,
        first: Option<bytes::Bytes>,
        sha256: Option<[u8; 32]>,
    ) -> Result<Result<StagedFile, Refusal>, IngestError> {
        let mut writer = FileWriter::new(self.limits, self.staging);
        let mut received_bytes = 0;
        let mut next = first;
        while let Some(chunk) = next {
            received_bytes += chunk.len() as u64;
            writer = match writer.feed(&chunk).await {
                Ok(writer) => writer,
                Err(WriteError::Failed(error)) => return Err(error),
                Err(WriteError::Refused { refusal, at_bytes }) => {
                    self.drop_rest(parts, received_bytes - at_bytes).await?;
                    return Ok(Err(refusal));
                }
            };
            next = parts.chunk().await?;
        }
        match writer.finish(sha256).await {
            Ok(file) => Ok(Ok(file)),
            Err(WriteError::Refused { refusal, .. }) => Ok(Err(refusal)),
            Err(WriteError::Failed(error)) => Err(error),
        }
    }

    /// Reads and drops the rest of a refused file, `already` of which came with the bytes that decided it.
    async fn drop_rest(&mut self, parts: &mut Parts<'_>, already: u64) -> Result<(), IngestError> {
        let limit = self.limits.max_refused_bytes;
        self.dropped_bytes = self.dropped_bytes.saturating_add(already);
        while self.dropped_bytes <= limit {
            let Some(chunk) = parts.chunk().await? else { return Ok(()) };
            self.dropped_bytes = self.dropped_bytes.saturating_add(chunk.len() as u64);
        }
        Err(Refusal::over(Code::TooLarge, format!("refused files are larger than {limit} bytes in all"), limit, None).into())
    }

    fn end(mut self) -> Result<Form, IngestError> {
        if self.form.files.is_empty() {
            return Err(Refusal::new(Code::NoFile, "request has no file part").into());
        }
        let last = self.form.files.iter_mut().rev().find_map(|outcome| match outcome {
            FileOutcome::Staged(file) => Some(file),
            FileOutcome::Rejected { .. } => None,
        });
        if let Some(file) = last {
            file.metadata.append(&mut self.metadata);
        }
        Ok(self.form)
    }
}

/// The beginning of a name, for messages.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
