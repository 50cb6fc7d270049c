//! A body that is one file and nothing else.
//!
//! Invariant: it is refused as soon as its beginning tells, with the rest of the body left to the caller.

use futures_util::StreamExt;

use super::{
    BodyStream, IngestError, IngestLimits, StagedFile, digest::sha256_of_repr_digest, disposition::display_name, guard::too_large_request,
    writer::FileWriter,
};
use crate::store::StagingDir;

/// Stages a raw body. `filename` is the client's name for it, `repr_digest` the value of its `Repr-Digest` header.
///
/// # Errors
/// `Refused` as soon as the bytes read so far tell that the file is none we take; the rest is still in `body`, for the caller to drain.
/// `Aborted`, `TooSlow` when the body failed, `Full`, `Io` when the disk did. Nothing stays on the staging disk.
///
/// # Cancel safety
/// Dropped at any point it leaves no file; what was read of the body is lost.
pub async fn receive_raw(
    body: &mut BodyStream,
    filename: Option<&str>,
    repr_digest: Option<&[u8]>,
    limits: &IngestLimits,
    staging: &StagingDir,
) -> Result<StagedFile, IngestError> {
    let sha256 = repr_digest.map(sha256_of_repr_digest).transpose()?.flatten();
    let mut writer = FileWriter::new(limits, staging);
    let mut received_bytes = 0_u64;
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        received_bytes = received_bytes.saturating_add(chunk.len() as u64);
        if received_bytes > limits.max_request_bytes {
            return Err(too_large_request(limits.max_request_bytes, received_bytes));
        }
        writer = writer.feed(&chunk).await?;
        tokio::task::coop::consume_budget().await;
    }
    let mut file = writer.finish(sha256).await?;
    file.filename = filename.and_then(display_name);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use bytes::Bytes;
    use futures_util::stream;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::{
        domain::Code,
        ingest::{
            BodyError,
            fixtures::{Stage, chunked, chunked_with_pauses, noise_png, wide_limits},
        },
    };

    async fn receive(bytes: &[u8], size: usize, stage: &Stage, limits: &IngestLimits, digest: Option<&[u8]>) -> Result<StagedFile, Code> {
        receive_raw(&mut chunked_with_pauses(bytes, size), Some("a/b\\c.png"), digest, limits, &stage.dir).await.map_err(
            |error| match error {
                IngestError::Refused(refusal) => refusal.code,
                other => panic!("{other:?}"),
            },
        )
    }

    #[tokio::test]
    async fn a_raw_image_is_staged() {
        let stage = Stage::new();
        let image = noise_png(400, 400);
        let sha256 = <[u8; 32]>::from(Sha256::digest(&image));
        let header = format!("sha-256=:{}:", BASE64_STANDARD.encode(sha256));
        for size in [7, 1460, 1 << 20] {
            let file = receive(&image, size, &stage, &wide_limits(), Some(header.as_bytes())).await.expect("an image");
            assert_eq!((file.sha256, file.filename.as_deref(), file.staged.bytes), (sha256, Some("c.png"), image.len() as u64));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_has_its_code() {
        let stage = Stage::new();
        let image = noise_png(20, 20);
        let wide = wide_limits();
        let fails = async |bytes: &[u8], limits: &IngestLimits, digest: Option<&[u8]>| {
            receive(bytes, 50, &stage, limits, digest).await.map(drop).expect_err("refused")
        };
        assert_eq!(fails(b"", &wide, None).await, Code::EmptyFile);
        assert_eq!(fails(b"text", &wide, None).await, Code::UnsupportedFormat);
        assert_eq!(fails(&image, &wide, Some(b"sha-256=:AAAA:")).await, Code::BadRequest);
        let other = format!("sha-256=:{}:", BASE64_STANDARD.encode([0; 32]));
        assert_eq!(fails(&image, &wide, Some(other.as_bytes())).await, Code::DigestMismatch);
        let file = IngestLimits { max_file_bytes: image.len() as u64 - 1, ..wide_limits() };
        assert_eq!(fails(&image, &file, None).await, Code::TooLarge);
        let request = IngestLimits { max_request_bytes: image.len() as u64 - 1, ..wide_limits() };
        assert_eq!(fails(&image, &request, None).await, Code::TooLarge);
    }

    #[tokio::test]
    async fn refusal_comes_at_once_and_leaves_the_rest() {
        let stage = Stage::new();
        let text = vec![b'x'; 1 << 20];
        let mut body = chunked(&text, 100);
        assert!(receive_raw(&mut body, None, None, &wide_limits(), &stage.dir).await.is_err());
        let mut rest = 0;
        while let Some(chunk) = body.next().await {
            rest += chunk.expect("bytes").len();
        }
        assert_eq!(rest, text.len() - 100);
    }

    #[tokio::test]
    async fn a_lost_connection_leaves_nothing() {
        let stage = Stage::new();
        let image = noise_png(400, 400);
        let items: Vec<Result<Bytes, BodyError>> = vec![Ok(Bytes::from(image)), Err(BodyError::Aborted)];
        let mut body: BodyStream = Box::pin(stream::iter(items));
        let result = receive_raw(&mut body, None, None, &wide_limits(), &stage.dir).await;
        assert!(matches!(result, Err(IngestError::Aborted)), "{result:?}");
        assert_eq!(stage.files(), 0);
    }
}
