//! The walk: a step of each batch in turn, then again, for as long as there is something to do and room in the queue.
//!
//! Invariant: it holds nothing that is not in the catalog but what a step is made of, so it may end between any two steps, however it ends.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use image_pipeline::{Presets, Spec};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    catalog::{BatchStep, BatchView, Candidate, CatalogError, NewJob, Stands},
    domain::{BatchId, BatchState, Code, ImageId, Timestamp},
    follow::What,
    further::FurtherError,
    ingest::{UploadRequest, VariantRequest},
    order::Client,
    store::StoreError,
    telemetry::error_chain,
};

use super::{COUNT, Inner, Pace, pace::EVERY};

/// Most jobs of one batch that wait or run at one time: enough for a large pool between two looks, and nothing beside the queue's limit.
const MOST_OPEN: u64 = 256;
/// Most jobs made in one step, which is one commit: others wait for the one connection that writes no longer than for a large upload.
const STEP: u64 = 32;
/// Images that are looked at in one read.
const LOOK: u32 = 500;
/// Headers that are read at one time.
const READ_AT_ONCE: usize = 4;
/// A look at what has become of its jobs, after something has happened.
const BREATH: Duration = Duration::from_millis(100);
/// A look without that, while there is nothing to do.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// An original that cannot be read is tried so often before it is passed over; the disk may be away for a moment.
const TRIES: u32 = 4;
/// The first pause after a failure; it doubles, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// When it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// There is more to do.
    AtOnce,
    /// When jobs have ended, or there is another batch.
    Woken,
    /// Something failed that may pass.
    Paused,
    /// When there is a batch.
    Idle,
}

pub(super) struct Runner {
    inner: Arc<Inner>,
    stop: watch::Receiver<bool>,
    held_up: HashMap<BatchId, HeldUp>,
    /// Rounds in which something failed, one after the other.
    failed: u32,
}

/// By what a batch is held up.
#[derive(Clone, Copy, Debug)]
struct HeldUp {
    image: ImageId,
    tries: u32,
    until: Timestamp,
}

impl Runner {
    pub(super) fn new(inner: Arc<Inner>, stop: watch::Receiver<bool>) -> Self {
        Self { inner, stop, held_up: HashMap::new(), failed: 0 }
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    pub(super) async fn run(mut self) {
        let inner = Arc::clone(&self.inner);
        let mut news = inner.parts.follow.news();
        while !self.is_stopping() {
            news.borrow_and_update();
            let failed = self.failed;
            let next = self.round().await.unwrap_or_else(|error| {
                warn!(error = %error_chain(&error), "batches cannot go on at the moment");
                self.failed += 1;
                Next::Paused
            });
            if failed == self.failed {
                self.failed = 0;
            }
            let pause = match next {
                Next::AtOnce => continue,
                Next::Paused => pause_after(self.failed),
                // What was not told for its being too early is told then.
                Next::Woken => EVERY,
                Next::Idle => LOOK_EVERY,
            };
            let woken = async {
                if next == Next::Paused {
                    return std::future::pending().await;
                }
                tokio::select! {
                    () = inner.wake.notified() => {}
                    // The ring lives as long as the service.
                    _ = news.changed() => tokio::time::sleep(BREATH).await,
                }
            };
            tokio::select! {
                _ = self.stop.wait_for(|stopping| *stopping) => break,
                () = woken => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// A step of each batch.
    async fn round(&mut self) -> Result<Next, CatalogError> {
        let open = self.inner.parts.catalog.open_batches().await?;
        self.held_up.retain(|batch, _| open.contains(batch));
        self.inner.paces().retain(|batch, _| open.contains(batch));
        let mut round = None;
        for batch in open {
            if self.is_stopping() {
                break;
            }
            let next = self.step(batch).await.unwrap_or_else(|error| {
                warn!(batch.id = %batch, error = %error_chain(&error), "a batch cannot go on at the moment");
                self.failed += 1;
                Next::Paused
            });
            // Who can go on does so at once; who is held up waits for his pause only where nobody else can.
            round = Some(round.map_or(next, |round: Next| round.min(next)));
        }
        Ok(round.unwrap_or(Next::Idle))
    }

    async fn step(&mut self, id: BatchId) -> Result<Next, CatalogError> {
        let inner = Arc::clone(&self.inner);
        let Some(batch) = inner.parts.catalog.batch(id).await? else { return Ok(Next::Woken) };
        if batch.state == BatchState::Cancelled {
            // Whoever cancelled it did not come to its end.
            inner.parts.queue.cancel_batch_jobs(id).await?;
            return Ok(Next::Woken);
        }
        let mut next = Next::Woken;
        if !batch.walked {
            next = if batch.counts.matched.is_none() { self.count(&batch).await? } else { self.walk(&batch).await? };
        }
        if batch.walked && batch.counts.open == 0 {
            if let Some(ended) = inner.parts.catalog.end_batch(id, inner.parts.clock.now()).await? {
                let counts = ended.counts;
                info!(batch.id = %id, state = %ended.state, matched = counts.matched, completed = counts.completed, skipped = counts.skipped,
                    refused = counts.refused, failed = counts.failed, "batch ended");
                inner.tell_ended(&ended);
            }
        } else {
            self.tell_progress(&batch);
        }
        Ok(next)
    }

    fn tell_progress(&self, batch: &BatchView) {
        let now = self.inner.parts.clock.now();
        let is_news = self.inner.paces().entry(batch.id).or_insert_with(|| Pace::begun(now, batch.counts)).is_news(now, batch.counts);
        if is_news {
            self.inner.tell(What::BatchProgress(batch.id, batch.counts));
        }
    }

    /// How many images match, for who wants to know how far it is.
    async fn count(&self, batch: &BatchView) -> Result<Next, CatalogError> {
        let catalog = &self.inner.parts.catalog;
        let (mut matched, mut after) = (0, None);
        loop {
            let counted = catalog.count_images(&batch.owner, &batch.filter, Some(batch.id), after, COUNT).await?;
            matched += counted.matched;
            match counted.next {
                Some(_) if self.is_stopping() => return Ok(Next::Woken),
                Some(next) => after = Some(next),
                None => break,
            }
        }
        catalog.note_matched(batch.id, matched).await?;
        Ok(Next::AtOnce)
    }

    /// Jobs for the next images, if there is room for some.
    async fn walk(&mut self, batch: &BatchView) -> Result<Next, CatalogError> {
        let parts = &self.inner.parts;
        let now = parts.clock.now();
        if self.held_up.get(&batch.id).is_some_and(|held| held.until > now) {
            return Ok(Next::Paused);
        }
        let limit = parts.queue.max_queued_jobs();
        let most_open = (limit / 4).clamp(1, MOST_OPEN);
        // Half of the queue is for uploads, whatever batches there are.
        let in_queue = (limit / 2).max(1).saturating_sub(parts.queue.queued());
        let room = most_open.saturating_sub(batch.counts.open).min(in_queue).min(STEP);
        // One commit for many rather than one for each.
        if room < STEP.min((most_open / 2).max(1)) {
            return Ok(Next::Woken);
        }
        let found = parts.catalog.candidates(batch.id, u32::try_from(room).unwrap_or(u32::MAX), LOOK).await?;
        let wanted = wanted(batch);
        let mut stop = self.stop.clone();
        let plans: Vec<_> = found.images.iter().map(|of| self.plan(of, wanted.as_ref())).collect();
        let planned = tokio::select! {
            _ = stop.wait_for(|stopping| *stopping) => return Ok(Next::Woken),
            planned = stream::iter(plans).buffered(READ_AT_ONCE).collect::<Vec<_>>() => planned,
        };
        let mut step = BatchStep { cursor: found.last, walked: found.ended, ..BatchStep::default() };
        let (mut before, mut is_held_up) = (None, false);
        for (candidate, planned) in found.images.iter().zip(planned) {
            let image = candidate.image.id;
            match planned {
                Planned::Job(job) => step.jobs.push((image, job)),
                Planned::Skipped => step.skipped += 1,
                Planned::Refused(code, detail) => step.refused.push((image, code, detail)),
                Planned::Unread(error) => {
                    let tries = self.held_up.get(&batch.id).filter(|held| held.image == image).map_or(1, |held| held.tries + 1);
                    if tries < TRIES {
                        warn!(batch.id = %batch.id, image.id = %image, tries, error = %error_chain(&error), "an original cannot be read at the moment");
                        self.held_up.insert(batch.id, HeldUp { image, tries, until: now.after(pause_after(tries)) });
                        (step.cursor, step.walked, is_held_up) = (before, false, true);
                        break;
                    }
                    step.refused.push((image, Code::Storage, "the original could not be read".to_owned()));
                }
            }
            before = Some(image);
        }
        if !is_held_up || step.cursor.is_some() {
            self.inner.parts.queue.add_of_batch(batch.id, step).await?;
        }
        Ok(if is_held_up { Next::Paused } else { Next::AtOnce })
    }

    async fn plan(&self, candidate: &Candidate, wanted: Result<&UploadRequest, &String>) -> Planned {
        match &candidate.stands {
            Stands::HasAll => return Planned::Skipped,
            Stands::Taken(name) => return Planned::Refused(Code::VariantExists, format!("variant {name} exists with other options")),
            Stands::Lacks => {}
        }
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(why) => return Planned::Refused(Code::BadOption, why.clone()),
        };
        let image = &candidate.image;
        match self.inner.parts.further.job(image, wanted).await {
            Ok(job) => Planned::Job(job),
            Err(FurtherError::Refused(refusal)) => Planned::Refused(refusal.code, refusal.detail),
            Err(FurtherError::Store(StoreError::NotFound(_) | StoreError::Damaged(..))) => {
                match self.inner.parts.catalog.image(image.id).await {
                    Ok(None) => Planned::Refused(Code::Gone, "the image was deleted".to_owned()),
                    _ => Planned::Refused(Code::Storage, "the original's file is missing or damaged".to_owned()),
                }
            }
            Err(error @ (FurtherError::Store(_) | FurtherError::Read(_))) => Planned::Unread(error),
        }
    }
}

/// The pause after so many failures; one second if there were none.
fn pause_after(failures: u32) -> Duration {
    PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

/// What is to be done about one image.
enum Planned {
    Job(NewJob),
    Skipped,
    Refused(Code, String),
    /// The disk failed, which may pass.
    Unread(FurtherError),
}

/// What is wanted of each image.
///
/// # Errors
/// In words, where this release does not know an option that an earlier one did.
fn wanted(batch: &BatchView) -> Result<UploadRequest, String> {
    let presets = Presets::builtin();
    let mut variants = Vec::with_capacity(batch.variants.len());
    for variant in &batch.variants {
        let spec = Spec::parse(&variant.spec, &presets).map_err(|error| format!("variant {}: {error}", variant.name))?;
        variants.push(VariantRequest { name: variant.name.clone(), options: variant.options.clone(), spec });
    }
    Ok(UploadRequest {
        owner: batch.owner.clone(),
        // A client of its own: it holds up nobody's uploads, and no other batch.
        client: Client::Owner(format!("batch {}", batch.id)),
        variants,
        priority: batch.priority,
        // An image goes when its upload does.
        ttl: None,
        metadata: Vec::new(),
        idempotency_key: None,
        // The request that began it ended long ago, and may have been to another process.
        origin: None,
    })
}
