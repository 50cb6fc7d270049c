//! The scrub: every stored byte read once, at a bounded rate, and compared with what the catalog says it should be.
//!
//! Reads and reports, changes nothing. May run beside a service that uses the same folder: what that deletes meanwhile is no finding.

use std::{fmt, num::NonZeroU64, time::Duration};

use futures_util::TryStreamExt as _;
use sha2::{Digest, Sha256};

use crate::{
    catalog::{Catalog, CatalogError, LiveBlob},
    domain::BlobId,
    store::{BlobStore, StoreError},
};

use super::BATCH;

/// Bytes read between two pauses.
const STRIDE_BYTES: u64 = 1 << 20;

/// What a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Blobs looked at.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was wrong, one entry a blob.
    pub findings: Vec<Finding>,
}

/// A blob that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub blob: BlobId,
    /// In what way.
    pub wrong: Wrong,
}

/// In what way a blob is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Other bytes.
    Damaged(String),
    /// No file.
    Missing,
    /// A file that could not be read.
    Unreadable(String),
}

impl fmt::Display for Scrubbed {
    /// A line for each finding, then the sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        writeln!(f, "{} blobs, {} bytes, {} not as they should be", self.blobs, self.bytes, self.findings.len())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wrong {
            Wrong::Damaged(how) => write!(f, "{} damaged: {how}", self.blob),
            Wrong::Missing => write!(f, "{} missing", self.blob),
            Wrong::Unreadable(why) => write!(f, "{} unreadable: {why}", self.blob),
        }
    }
}

/// Reads all blobs the catalog knows, `bytes_per_second` at most on the average.
///
/// # Errors
/// When the catalog fails; what is wrong with blobs is no error but a finding.
pub async fn scrub(catalog: &dyn Catalog, store: &dyn BlobStore, bytes_per_second: NonZeroU64) -> Result<Scrubbed, CatalogError> {
    let mut scrubbed = Scrubbed::default();
    let mut pace = Pace::new(bytes_per_second);
    let (mut after, limit) = (None, u32::try_from(BATCH).unwrap_or(u32::MAX));
    loop {
        let batch = catalog.blobs_after(after, limit).await?;
        let Some(last) = batch.last() else { return Ok(scrubbed) };
        after = Some(last.id);
        for stored in batch {
            scrubbed.blobs += 1;
            scrubbed.bytes += stored.bytes;
            let Some(wrong) = look_at(store, &stored, &mut pace).await else { continue };
            // What was deleted while it was read, or before, is not wrong.
            if !catalog.live_blobs(&[stored.id]).await?.is_empty() {
                scrubbed.findings.push(Finding { blob: stored.id, wrong });
            }
        }
    }
}

async fn look_at(store: &dyn BlobStore, stored: &LiveBlob, pace: &mut Pace) -> Option<Wrong> {
    let unreadable = |error: &dyn std::error::Error| Some(Wrong::Unreadable(error.to_string()));
    let mut read = match store.open(stored.id, None).await {
        Ok(read) => read,
        Err(StoreError::NotFound(_)) => return Some(Wrong::Missing),
        Err(error) => return unreadable(std::error::Error::source(&error).unwrap_or(&error)),
    };
    if read.total_bytes != stored.bytes {
        return Some(Wrong::Damaged(format!("{} bytes, {} were stored", read.total_bytes, stored.bytes)));
    }
    let mut hash = Sha256::new();
    loop {
        match read.stream.try_next().await {
            Ok(Some(piece)) => {
                hash.update(&piece);
                pace.keep(piece.len() as u64).await;
            }
            Ok(None) => break,
            Err(error) => return unreadable(&error),
        }
    }
    (<[u8; 32]>::from(hash.finalize()) != stored.sha256).then(|| Wrong::Damaged("its SHA-256 is not the one that was recorded".to_owned()))
}

/// Lets so many bytes pass a second, in strides.
struct Pace {
    tick: tokio::time::Interval,
    owed_bytes: u64,
}

impl Pace {
    fn new(bytes_per_second: NonZeroU64) -> Self {
        let stride = Duration::from_secs(1).mul_f64(STRIDE_BYTES as f64 / bytes_per_second.get() as f64);
        Self { tick: tokio::time::interval(stride.max(Duration::from_micros(1))), owed_bytes: 0 }
    }

    async fn keep(&mut self, bytes: u64) {
        self.owed_bytes += bytes;
        while self.owed_bytes >= STRIDE_BYTES {
            self.owed_bytes -= STRIDE_BYTES;
            self.tick.tick().await;
        }
    }
}
