//! Whole files on their way out, hashed in passing: a damaged one never arrives complete.
//!
//! Knows nothing of stores. Invariant: the piece that completes a file is given only after the hash of all pieces was found to be the stored
//! one; the client, which was told the length before, sees a broken connection instead of a good-looking file.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest, Sha256};

use super::Servable;
use crate::{
    domain::BlobId,
    store::{BlobRead, StoreError},
};

struct Checking {
    blob: BlobId,
    wanted: [u8; 32],
    hash: Sha256,
    left_bytes: u64,
}

impl Checking {
    /// Lets a piece pass.
    ///
    /// # Errors
    /// When it is the last one and the whole is not what was stored.
    fn pass(&mut self, piece: Bytes) -> Result<Bytes, StoreError> {
        self.hash.update(&piece);
        self.left_bytes = self.left_bytes.saturating_sub(piece.len() as u64);
        if self.left_bytes == 0 && <[u8; 32]>::from(self.hash.finalize_reset()) != self.wanted {
            return Err(StoreError::Damaged(self.blob, "its SHA-256 is not the one that was recorded".to_owned()));
        }
        Ok(piece)
    }
}

/// The same bytes, checked; `read` is the whole file.
///
/// # Errors
/// When the first piece is the whole file, and damaged: then nothing was sent yet.
pub(super) async fn checked(read: BlobRead, servable: &Servable) -> Result<BlobRead, StoreError> {
    let BlobRead { total_bytes, mut stream } = read;
    let mut checking = Checking { blob: servable.blob, wanted: servable.sha256, hash: Sha256::new(), left_bytes: total_bytes };
    // The store has read it already, so this does not wait.
    let Some(first) = stream.try_next().await? else { return Ok(BlobRead { total_bytes, stream }) };
    let first = checking.pass(first)?;
    let rest = stream.map(move |piece| {
        checking.pass(piece?).map_err(|error| {
            tracing::error!(%error, "broke off a download");
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    });
    Ok(BlobRead { total_bytes, stream: stream::iter([Ok(first)]).chain(rest).boxed() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces as they arrive from a store whose file has `stored`, when `recorded` went in.
    async fn through(stored: &[&'static [u8]], recorded: &[u8]) -> Result<Vec<Result<Bytes, io::ErrorKind>>, StoreError> {
        let servable = Servable {
            blob: BlobId::from_uuid(uuid::Uuid::from_u128(7)),
            bytes: recorded.len() as u64,
            etag: String::new(),
            sha256: Sha256::digest(recorded).into(),
            format: "png".to_owned(),
            filename: None,
            expires_at: None,
        };
        let pieces: Vec<io::Result<Bytes>> = stored.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        let read = BlobRead { total_bytes: recorded.len() as u64, stream: stream::iter(pieces).boxed() };
        let read = checked(read, &servable).await?;
        Ok(read.stream.map(|piece| piece.map_err(|e| e.kind())).collect().await)
    }

    #[tokio::test]
    async fn what_was_stored_passes_unchanged() {
        for pieces in [&[b"abc".as_slice()][..], &[b"abc", b"def", b"g"]] {
            let passed = through(pieces, &pieces.concat()).await.expect("opens");
            assert_eq!(passed, pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect::<Vec<_>>());
        }
        assert_eq!(through(&[], b"").await.expect("opens"), []);
    }

    #[tokio::test]
    async fn a_flipped_byte_withholds_the_last_piece() {
        let passed = through(&[b"abX", b"def", b"g"], b"abcdefg").await.expect("opens");
        assert_eq!(passed, [Ok(Bytes::from_static(b"abX")), Ok(Bytes::from_static(b"def")), Err(io::ErrorKind::InvalidData)]);
        assert!(matches!(through(&[b"abX"], b"abc").await, Err(StoreError::Damaged(..))), "one piece is refused before it is sent");
    }
}
