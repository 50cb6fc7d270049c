//! Live state for waiters: who waits for an upload is woken when something of it has changed, and what happens is kept in a ring for those who follow it.
//!
//! Holds no state of uploads itself: a woken waiter reads the catalog, or the ring. An upload nobody waits for costs nothing but its events.

mod ring;
mod shared;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::domain::UploadId;

use ring::Ring;
use shared::Pieces;

pub use ring::{Attempt, Event, KEPT_EVENTS, OfJob, Since, Stored, Times, Told, What};
pub use shared::Shared;

/// Most clients that follow events at one time.
pub const MAX_LISTENERS: usize = 4096;

type Waiters = HashMap<UploadId, watch::Sender<()>>;

/// The switchboard between workers and waiters.
#[derive(Clone, Debug)]
pub struct Follow {
    waiters: Arc<Mutex<Waiters>>,
    ring: Arc<Ring>,
    pieces: Arc<Pieces>,
    seats: Arc<Semaphore>,
}

impl Default for Follow {
    fn default() -> Self {
        Self::new(0)
    }
}

/// One waiter's ear; dropping it forgets the upload if nobody else listens.
#[derive(Debug)]
pub struct Subscription {
    upload: UploadId,
    changes: watch::Receiver<()>,
    follow: Follow,
}

impl Follow {
    /// A switchboard of a process that began at `epoch`: ids of events of another are told apart by it.
    #[must_use]
    pub fn new(epoch: i64) -> Self {
        Self {
            waiters: Arc::default(),
            ring: Arc::new(Ring::new(epoch)),
            pieces: Arc::default(),
            seats: Arc::new(Semaphore::new(MAX_LISTENERS)),
        }
    }

    /// Something has happened (and is committed). Never waits.
    pub fn tell(&self, event: Event) {
        let upload = event.upload;
        self.ring.tell(event);
        if let Some(upload) = upload {
            self.changed(upload);
        }
    }

    /// The place in the ring where the next event will be.
    #[must_use]
    pub fn next_place(&self) -> u64 {
        self.ring.next()
    }

    /// What has happened from this place on, to one upload or all, at most so many events.
    #[must_use]
    pub fn since(&self, place: u64, of: Option<UploadId>, most: usize) -> Since {
        self.ring.since(place, of, most)
    }

    /// What has happened from this place on to all uploads, as `make` writes it, at most so many events: the same bytes for all who ask for the same
    /// place within `fresh` of the first, whose `now` counts.
    pub fn shared_since(
        &self,
        place: u64,
        most: usize,
        (now, fresh): (Instant, Duration),
        make: impl FnOnce(&[Arc<Told>]) -> Bytes,
    ) -> Shared {
        self.pieces.from(&self.ring, place, most, (now, fresh), make)
    }

    /// The place after the event of this id; `None` if the id is not of this process, or what came after it has left the ring.
    #[must_use]
    pub fn place_after(&self, id: &str) -> Option<u64> {
        self.ring.place_after(id)
    }

    /// The id of the event before this place.
    #[must_use]
    pub fn id_before(&self, place: u64) -> String {
        self.ring.id_before(place)
    }

    /// Wakes whenever anything has happened.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.ring.news()
    }

    /// Seats that are taken.
    #[must_use]
    pub fn listeners(&self) -> usize {
        MAX_LISTENERS - self.seats.available_permits()
    }

    /// A seat for one that follows events; `None` where all [`MAX_LISTENERS`] are taken.
    #[must_use]
    pub fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // The map is whole between any two statements, so a panic elsewhere leaves nothing half done.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to an upload from now on. To be called before its state is read, so that no change is missed.
    #[must_use]
    pub fn subscribe(&self, upload: UploadId) -> Subscription {
        let changes = self.lock().entry(upload).or_insert_with(|| watch::channel(()).0).subscribe();
        Subscription { upload, changes, follow: self.clone() }
    }

    /// Something of the upload has changed (and is committed).
    pub fn changed(&self, upload: UploadId) {
        if let Some(waiters) = self.lock().get(&upload) {
            waiters.send_replace(());
        }
    }

    /// Uploads somebody listens to.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Nobody listens to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Subscription {
    /// Resolves when something has changed since the subscription or the last call.
    ///
    /// # Cancel safety
    /// A change is not lost when the future is dropped.
    pub async fn change(&mut self) {
        if self.changes.changed().await.is_err() {
            // The sender lives in the map for as long as this subscription does.
            std::future::pending().await
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiters = self.follow.lock();
        // Our own receiver is still counted.
        if waiters.get(&self.upload).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiters.remove(&self.upload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;

    #[tokio::test]
    async fn waiters_are_woken_and_forgotten() {
        let follow = Follow::default();
        let upload = UploadId::from_uuid(uuid::Uuid::from_u128(1));
        follow.changed(upload);
        let (mut a, mut b) = (follow.subscribe(upload), follow.subscribe(upload));
        assert!(poll!(Box::pin(a.change())).is_pending(), "changes before the subscription do not count");
        follow.changed(upload);
        a.change().await;
        b.change().await;
        assert!(poll!(Box::pin(a.change())).is_pending());
        drop(a);
        assert_eq!(follow.len(), 1);
        drop(b);
        assert!(follow.is_empty());
    }
}
