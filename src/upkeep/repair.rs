//! What an earlier process left, found and put right while the service serves: files of deleted blobs, files without a
//! row, rows without a file. One log line each, with the count.
//!
//! The invariants that make this safe beside uploads, jobs and deletions:
//! - A blob is live only after its file is durable, and its file goes only after it is dead. So a live blob without a file
//!   has lost it; that it was still live is checked by the very statement that marks it.
//! - A dead blob is never live again, and no row ever points at an id that was not made for it. So a file that has no
//!   live row and was not made by this process is nobody's, now and for ever. Who made it is told by its id alone: this
//!   process makes none with a time before its `floor` ([`crate::clock::FlooredIds`]), wherever its clock goes, and the
//!   lock on the data folder says that whoever made the others has ended. A clock that was ahead in an earlier process
//!   only makes its leftovers wait for a later start.
//! - All that is true of the catalog that was last in use here. An older one, restored over it, does not know files that are live in the newer one, and
//!   their number does not tell: a thousand short lives leave thousands of strays. So the catalog notes beside itself how far it has come
//!   ([`Catalog::recall`]); where it is found to have come less far, all files that were there are kept, for good (record 0066).

use std::{collections::HashSet, sync::Arc, time::Duration};

use tracing::{error, info, warn};

use crate::{
    catalog::{Catalog, CatalogError, Past, Standing},
    domain::{BlobId, Timestamp},
    store::{BlobStore, StoreError, is_whole},
    telemetry::error_chain,
};

/// Blobs in one catalog read.
const BATCH: u32 = 500;
/// Pause after each batch, so that requests come first.
const PAUSE: Duration = Duration::from_millis(10);

/// More orphans than this are no leftovers of interrupted requests.
const MANY_ORPHANS: usize = 1000;
/// So few may be all there is: a first upload that was interrupted.
const FEW_ORPHANS: usize = 16;

/// Why a step stopped; the next start begins again.
#[derive(Debug, thiserror::Error)]
enum RepairError {
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Whether so many orphans among so many files speak for a catalog that is not the one of these files, where nothing was noted that would tell. What is
/// interrupted leaves few; a catalog from an older backup knows nothing of all that came after it, and those files are the only copies.
fn too_many(orphans: usize, files: usize) -> bool {
    orphans > MANY_ORPHANS || (orphans > FEW_ORPHANS && orphans > files / 2)
}

/// The repair of one start.
pub struct Repair {
    store: Arc<dyn BlobStore>,
    catalog: Arc<dyn Catalog>,
    floor: Timestamp,
    past: Past,
}

impl Repair {
    /// A repair of what was made before `floor`, the earliest time an id of this process carries; `past` is what the catalog recalled at this start.
    #[must_use]
    pub fn new(store: Arc<dyn BlobStore>, catalog: Arc<dyn Catalog>, floor: Timestamp, past: Past) -> Self {
        Self { store, catalog, floor, past }
    }

    /// Does all steps, one after the other; one that fails does not keep the others from being done.
    ///
    /// # Cancel safety
    /// May be dropped at any time; what is not done is done at the next start.
    pub async fn run(self) {
        match self.dead().await {
            Ok(0) => {}
            Ok(files) => info!(files, "removed files of deleted images that an interrupted deletion had left"),
            Err(error) => warn!(error = %error_chain(&error), "could not remove what interrupted deletions left"),
        }
        match self.orphans().await {
            Ok(0) => {}
            Ok(blobs) => info!(blobs, "removed stored bytes that an interrupted upload or job had left"),
            Err(error) => warn!(error = %error_chain(&error), "could not look for stored bytes without a row"),
        }
        match self.missing().await {
            Ok((0, 0)) => {}
            Ok((missing, 0)) => error!(missing, "files of stored images or variants are missing; the same bytes sent again heal them"),
            Ok((missing, found)) => info!(missing, found, "stored files that were missing are there again"),
            Err(error) => warn!(error = %error_chain(&error), "could not look for missing files"),
        }
    }

    /// Files of dead blobs, then their rows.
    async fn dead(&self) -> Result<usize, RepairError> {
        let (mut removed, mut after) = (0, None);
        loop {
            let dead = self.catalog.dead_blobs(after, BATCH).await?;
            let mut gone = Vec::with_capacity(dead.len());
            for blob in &dead {
                match self.store.delete(*blob).await {
                    Ok(()) => gone.push(*blob),
                    Err(error) => warn!(%blob, error = %error_chain(&error), "could not remove a deleted file"),
                }
            }
            self.catalog.purge_blobs(&gone).await?;
            removed += gone.len();
            // What could not be removed is gone past, and tried again at the next start.
            after = dead.last().copied();
            if dead.len() < BATCH as usize {
                return Ok(removed);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Files of earlier processes that no live row points at, the newest first: what the last process left goes even if this one has no long life. None
    /// is removed that an older catalog may be found not to know.
    async fn orphans(&self) -> Result<usize, RepairError> {
        let mut old: Vec<BlobId> = self.store.list().await?.into_iter().filter(|blob| blob.made_at() < self.floor).collect();
        old.sort_unstable_by(|a, b| b.cmp(a));
        let kept_from = self.past.keep_before.map_or(old.len(), |before| old.partition_point(|blob| blob.made_at() >= before));
        let (swept, kept) = old.split_at(kept_from);
        let removed =
            if self.past.standing == Standing::Unknown { self.few_orphans(swept).await? } else { self.all_orphans(swept).await? };
        let mut unknown = 0;
        for batch in kept.chunks(BATCH as usize) {
            unknown += self.unknown(batch).await?.len();
        }
        if unknown > 0 {
            self.tell_older(unknown, old.len());
        }
        Ok(removed)
    }

    /// The catalog is known to be the one of these files: whatever it does not know goes.
    async fn all_orphans(&self, of: &[BlobId]) -> Result<usize, RepairError> {
        let mut removed = 0;
        for batch in of.chunks(BATCH as usize) {
            removed += self.remove(&self.unknown(batch).await?).await;
        }
        Ok(removed)
    }

    /// Nothing tells whether it is: none goes where they are too many to be leftovers, and those are kept for good then.
    async fn few_orphans(&self, of: &[BlobId]) -> Result<usize, RepairError> {
        let mut orphans = Vec::new();
        for batch in of.chunks(BATCH as usize) {
            orphans.extend(self.unknown(batch).await?);
        }
        let too_many = too_many(orphans.len(), of.len());
        let mut removed = 0;
        if too_many {
            self.tell_older(orphans.len(), of.len());
            self.catalog.keep_files(self.floor).await?;
        } else {
            for batch in orphans.chunks(BATCH as usize) {
                removed += self.remove(batch).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.catalog.vouch().await?;
        Ok(removed)
    }

    /// Those of these files that no live row points at. Makes a pause.
    async fn unknown(&self, of: &[BlobId]) -> Result<Vec<BlobId>, RepairError> {
        let live: HashSet<BlobId> = self.catalog.live_blobs(of).await?.into_iter().collect();
        tokio::time::sleep(PAUSE).await;
        Ok(of.iter().filter(|blob| !live.contains(blob)).copied().collect())
    }

    async fn remove(&self, orphans: &[BlobId]) -> usize {
        let mut removed = 0;
        for blob in orphans {
            match self.store.delete(*blob).await {
                Ok(()) => removed += 1,
                Err(error) => warn!(%blob, error = %error_chain(&error), "could not remove an orphaned blob"),
            }
        }
        removed
    }

    fn tell_older(&self, unknown: usize, files: usize) {
        error!(
            unknown,
            files,
            "the catalog seems older than the files: those that it does not know are kept; \
             restore the newest catalog, or move the files away that are not needed"
        );
    }

    /// Marks live blobs whose file is not there or not whole, and takes the mark from those whose file is there again;
    /// returns how many are missing in all, and how many were found.
    async fn missing(&self) -> Result<(usize, usize), RepairError> {
        let (mut missing, mut found, mut after) = (0, 0, None);
        let mut unreadable = 0_usize;
        loop {
            let batch = self.catalog.blobs_after(after, BATCH).await?;
            let (mut lost, mut back) = (Vec::new(), Vec::new());
            for blob in &batch {
                match is_whole(&*self.store, blob.id, blob.bytes).await {
                    Ok(true) if blob.missing => back.push(blob.id),
                    Ok(true) => {}
                    Ok(false) if blob.missing => missing += 1,
                    Ok(false) => lost.push(blob.id),
                    // Not known to be lost: what cannot be read now may be read later.
                    Err(_) => unreadable += 1,
                }
            }
            // Only what is live still: one that was deleted meanwhile lost its file by right.
            missing += self.catalog.mark_missing(&lost).await?.len();
            found += self.catalog.mark_found(&back).await?.len();
            after = batch.last().map(|blob| blob.id);
            if batch.len() < BATCH as usize {
                if unreadable > 0 {
                    warn!(files = unreadable, "could not look at some stored files");
                }
                return Ok((missing, found));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_few() {
        for (orphans, files, refused) in [
            (0, 0, false),
            (16, 16, false),
            (17, 17, true),
            (17, 33, true),
            (17, 34, false),
            (1000, 1_000_000, false),
            (1001, 1_000_000, true),
        ] {
            assert_eq!(too_many(orphans, files), refused, "{orphans} of {files}");
        }
    }
}
