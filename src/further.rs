//! Further work at images that are stored: their header is read again, and what is wanted of them is planned as at an upload. One way for whoever wants more
//! of an image: a request for one, a batch for many, an explanation.
//!
//! Knows no HTTP; decodes no pixel and records nothing. The invariant: a job that comes out of here could be made within the limits there are now.

use std::{io::Cursor, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use image_pipeline::{ErrorKind, Limits, Probe, Spec, Watermarks, probe};

use crate::{
    catalog::{ImageView, NewJob},
    compute::Compute,
    domain::Refusal,
    ingest::{Committer, SourceSize, UploadRequest, plan_source, refusal_of},
    store::{BlobStore, StoreError},
};

/// Enough for nearly every header; what is longer is read whole.
const HEAD_BYTES: u64 = 256 << 10;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum FurtherError {
    /// What is wanted cannot be made of this image, or not within the limits there are now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The original is not to be had.
    #[error("could not open a stored original")]
    Store(#[from] StoreError),
    /// It could not be read; may pass.
    #[error("could not read a stored original")]
    Read(#[source] std::io::Error),
}

/// Plans further work; cheap to clone.
#[derive(Clone)]
pub struct Further {
    /// Where originals are.
    pub store: Arc<dyn BlobStore>,
    /// Whose memory headers are charged against that do not fit the first read.
    pub compute: Arc<Compute>,
    /// Makes jobs of plans.
    pub committer: Committer,
    /// What an image may be, and a job may cost.
    pub limits: Limits,
    /// Images that options may lay over others.
    pub watermarks: Arc<Watermarks>,
}

impl Further {
    /// The job that makes all of `wanted` of an image.
    ///
    /// # Errors
    /// When it cannot be made of this image, or the original cannot be read.
    ///
    /// # Cancel safety
    /// May be dropped at any time; nothing is changed.
    pub async fn job(&self, image: &ImageView, wanted: &UploadRequest) -> Result<NewJob, FurtherError> {
        let probe = self.probe(image).await?;
        let specs: Vec<Spec> = wanted.variants.iter().map(|variant| variant.spec.clone()).collect();
        let plan = plan_source(&probe, image.bytes, &specs, &self.limits, &self.watermarks)?;
        Ok(self.committer.new_job(wanted, &plan, SourceSize { bytes: image.bytes, frames: probe.frames }))
    }

    /// What the header of a stored original says.
    ///
    /// # Errors
    /// As [`Further::job`].
    ///
    /// # Cancel safety
    /// May be dropped at any time; nothing is changed.
    pub async fn probe(&self, image: &ImageView) -> Result<Probe, FurtherError> {
        let refused = |error| FurtherError::Refused(refusal_of(&error));
        match self.probe_first(image, image.bytes.min(HEAD_BYTES)).await? {
            Err(error) if error.kind() == ErrorKind::Truncated && image.bytes > HEAD_BYTES => {
                // As much memory as a job would hold for it, and from the same budget.
                let _bytes = self.compute.bytes(image.bytes).await;
                self.probe_first(image, image.bytes).await?.map_err(refused)
            }
            probed => probed.map_err(refused),
        }
    }

    async fn probe_first(&self, image: &ImageView, bytes: u64) -> Result<Result<Probe, image_pipeline::Error>, FurtherError> {
        let read = self.store.open(image.blob, Some(0..bytes)).await?;
        let head: BytesMut = read
            .stream
            .try_fold(BytesMut::new(), |mut all, piece: Bytes| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
            .map_err(FurtherError::Read)?;
        Ok(probe(&mut Cursor::new(&head[..]), &self.limits))
    }
}
