//! Batches: a preset, or any variants, for all stored images that match a filter, in the background, behind what clients upload meanwhile.
//!
//! Knows no HTTP and no rows. Invariants: a batch has few jobs in the queue at one time, whatever its size, so that it never fills it; what is done and how far
//! the walk has come are one commit, so that a batch taken up again after a crash does nothing twice (`catalog/batches.rs`).

mod pace;
mod runner;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};
use tracing::info;

use crate::{
    catalog::{BatchMade, BatchVariant, BatchView, Catalog, CatalogError, Idempotency, ImageFilter, NewBatch},
    clock::{Clock, IdSource},
    domain::{BatchId, Priority, Timestamp},
    follow::{Event, Follow, What},
    further::Further,
    ingest::VariantRequest,
    queue::Queue,
};

use pace::Pace;
use runner::Runner;

/// Images that are counted in one read: 28 ms on average with every member of the filter (record 0057).
const COUNT: u32 = 5000;

/// What batches are worked on with.
#[derive(Clone)]
pub struct Parts {
    /// Rows.
    pub catalog: Arc<dyn Catalog>,
    /// Where jobs wait.
    pub queue: Queue,
    /// Plans jobs of stored images.
    pub further: Further,
    /// Who is told.
    pub follow: Follow,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn IdSource>,
}

/// A batch somebody wants.
#[derive(Clone, Debug)]
pub struct WantedBatch {
    /// Whose.
    pub owner: String,
    /// Of which images.
    pub filter: ImageFilter,
    /// What is made of each.
    pub variants: Vec<VariantRequest>,
    /// How urgent its jobs are.
    pub priority: Priority,
    /// The client's key against sending twice.
    pub idempotency_key: Option<String>,
}

/// All batches; cheap to clone.
#[derive(Clone)]
pub struct Batches(Arc<Inner>);

struct Inner {
    parts: Parts,
    wake: Notify,
    paces: Mutex<HashMap<BatchId, Pace>>,
}

impl Batches {
    /// Does nothing until [`Batches::run`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, wake: Notify::new(), paces: Mutex::default() }))
    }

    /// Records a batch and begins with it.
    ///
    /// # Errors
    /// When its idempotency key was used for something else, or the catalog fails; then nothing is recorded.
    pub async fn make(&self, wanted: WantedBatch) -> Result<BatchMade, CatalogError> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let idempotency = wanted.idempotency_key.as_ref().map(|key| Idempotency { key: key.clone(), fingerprint: fingerprint(&wanted) });
        let variant = |of: VariantRequest| BatchVariant {
            name: of.name,
            options: of.options,
            spec: of.spec.canonical(),
            spec_digest: of.spec.digest(),
        };
        let made = parts
            .catalog
            .make_batch(NewBatch {
                id: BatchId::from_uuid(parts.ids.new_id(now)),
                owner: wanted.owner,
                created_at: now,
                filter: wanted.filter,
                variants: wanted.variants.into_iter().map(variant).collect(),
                priority: wanted.priority,
                idempotency,
            })
            .await?;
        if !made.replayed {
            info!(batch.id = %made.batch.id, variants = made.batch.variants.len(), "batch made");
            self.0.wake.notify_one();
        }
        Ok(made)
    }

    /// How many images there are now that match.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn count(&self, owner: &str, filter: &ImageFilter) -> Result<u64, CatalogError> {
        let (mut matched, mut after) = (0, None);
        loop {
            let counted = self.0.parts.catalog.count_images(owner, filter, None, after, COUNT).await?;
            matched += counted.matched;
            match counted.next {
                Some(next) => after = Some(next),
                None => return Ok(matched),
            }
        }
    }

    /// Stops a batch: no more jobs are made, and those of it that wait or run are cancelled; what was done stays. One that has ended stays as it is.
    /// `None` if there is no such batch.
    ///
    /// # Errors
    /// When the catalog fails; a batch that was stopped before that is stopped, and what is left of its jobs is cancelled later.
    ///
    /// # Cancel safety
    /// Once polled, it goes on to its end even when this future is dropped.
    pub async fn cancel(&self, id: BatchId) -> Result<Option<BatchView>, CatalogError> {
        let this = self.clone();
        let cancelling = tokio::spawn(async move {
            let parts = &this.0.parts;
            let Some((batch, is_news)) = parts.catalog.cancel_batch(id, parts.clock.now()).await? else { return Ok(None) };
            if !is_news {
                return Ok(Some(batch));
            }
            let jobs = parts.queue.cancel_batch_jobs(id).await?;
            let batch = parts.catalog.batch(id).await?.unwrap_or(batch);
            info!(batch.id = %id, jobs, "batch cancelled");
            this.0.tell_ended(&batch);
            Ok(Some(batch))
        });
        cancelling.await.unwrap_or_else(|died| Err(CatalogError::Backend(died.into())))
    }

    /// When a batch will have ended if it goes on as it has since it was taken up; known from its first progress on.
    #[must_use]
    pub fn expected_end(&self, id: BatchId) -> Option<Timestamp> {
        self.0.paces().get(&id)?.expected_end()
    }

    /// Works on all batches that have not ended, also those of an earlier process, until `stop` turns true.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        Runner::new(self.0, stop).run().await;
    }
}

impl Inner {
    fn paces(&self) -> MutexGuard<'_, HashMap<BatchId, Pace>> {
        // The map is whole between any two statements.
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, what: What) {
        self.parts.follow.tell(Event { upload: None, at: self.parts.clock.now(), what });
    }

    fn tell_ended(&self, batch: &BatchView) {
        self.paces().remove(&batch.id);
        self.tell(What::BatchCompleted(batch.id, batch.state, batch.counts));
    }
}

/// SHA-256 over what decides what a batch comes to: filter, variants, priority.
fn fingerprint(wanted: &WantedBatch) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut piece = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    let ImageFilter { formats, since, until, min_width_px, max_width_px, min_height_px, max_height_px, lacks, metadata } = &wanted.filter;
    let mut formats = formats.clone();
    formats.sort_unstable();
    piece(&formats.join(","));
    for at in [since, until] {
        piece(&at.map_or_else(String::new, |at| at.as_millis().to_string()));
    }
    for px in [min_width_px, max_width_px, min_height_px, max_height_px] {
        piece(&px.map_or_else(String::new, |px| px.to_string()));
    }
    piece(lacks.as_ref().map_or("", |name| name.as_str()));
    let mut metadata: Vec<_> = metadata.iter().collect();
    metadata.sort_unstable();
    piece(&metadata.len().to_string());
    for (key, value) in metadata {
        piece(key);
        piece(value);
    }
    let mut variants: Vec<_> = wanted.variants.iter().map(|of| (of.name.as_str(), of.spec.canonical())).collect();
    variants.sort_unstable();
    for (name, spec) in &variants {
        piece(name);
        piece(spec);
    }
    piece(wanted.priority.as_str());
    hash.finalize().into()
}
