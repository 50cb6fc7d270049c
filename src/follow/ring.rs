//! What has happened lately, in order, for those who follow it: a ring of bounded length that everybody reads at his own pace.
//!
//! Knows no rows and no HTTP. Invariants: whoever tells something never waits for whoever listens; a listener costs its place in the ring and nothing else;
//! an event is told after the commit that made it true; what has left the ring is said to be lost, never left out in silence.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::domain::{
    BatchCounts, BatchId, BatchState, ImageId, JobId, JobState, TaskFailure, Timestamp, UploadId, UploadState, VariantName,
};

/// Events that are kept. At 2000 jobs a second a listener may look away for a second.
pub const KEPT_EVENTS: usize = 8192;

/// Something that has happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// To this upload; what happens to a batch is of none.
    pub upload: Option<UploadId>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// A job, as events name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfJob {
    /// The job.
    pub job: JobId,
    /// Its image.
    pub image: ImageId,
}

/// Times by the names they have in JSON and in the log.
pub type Times = Vec<(&'static str, Duration)>;

/// What can happen.
#[derive(Clone, Debug)]
pub enum What {
    /// It was taken in, with so many images.
    UploadReceived(u32),
    /// A worker has taken it up.
    JobStarted(OfJob, Attempt),
    /// A variant is stored.
    TaskCompleted(OfJob, VariantName, Stored, Times),
    /// It ended without a variant.
    TaskFailed(OfJob, VariantName, TaskFailure),
    /// An attempt failed, or somebody wants the failed tasks tried again: it is due at this time.
    JobRetrying(OfJob, Attempt, Timestamp, Option<TaskFailure>),
    /// It has ended by itself, in this state, without having been worked on to its end.
    JobEnded(OfJob, JobState, Option<TaskFailure>),
    /// It was worked on to its end, in these times, and charged so many bytes at most.
    JobWorked(OfJob, JobState, Times, u64),
    /// Somebody cancelled it; what had completed stays.
    JobCancelled(OfJob, JobState),
    /// All its jobs have ended.
    UploadCompleted(UploadState),
    /// It was deleted.
    UploadDeleted,
    /// Images of a batch were looked at, or jobs of it have ended; told once a second at most.
    BatchProgress(BatchId, BatchCounts),
    /// A batch has ended, in this state.
    BatchCompleted(BatchId, BatchState, BatchCounts),
}

/// Which attempt, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1; 0 before the first.
    pub attempt: u32,
    /// After so many it fails for good.
    pub max_attempts: u32,
}

/// A stored variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Size of its file.
    pub bytes: u64,
    /// Pixels.
    pub width_px: u32,
    /// Pixels.
    pub height_px: u32,
    /// `jpeg`, …
    pub format: String,
}

impl Event {
    /// Its name, which is part of the HTTP contract.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match &self.what {
            What::UploadReceived(_) => "upload.received",
            What::JobStarted(..) => "job.started",
            What::TaskCompleted(..) => "task.completed",
            What::TaskFailed(..) => "task.failed",
            What::JobRetrying(..) => "job.retrying",
            What::JobEnded(_, JobState::Failed, _) | What::JobWorked(_, JobState::Failed, ..) => "job.failed",
            What::JobCancelled(..) | What::JobEnded(_, JobState::Cancelled, _) | What::JobWorked(_, JobState::Cancelled, ..) => {
                "job.cancelled"
            }
            // Some of it completed, at least.
            What::JobEnded(..) | What::JobWorked(..) => "job.completed",
            What::UploadCompleted(_) => "upload.completed",
            What::UploadDeleted => "upload.deleted",
            What::BatchProgress(..) => "batch.progress",
            What::BatchCompleted(..) => "batch.completed",
        }
    }

    /// Nothing more will happen to its upload, unless somebody wants more of it.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self.what, What::UploadCompleted(_) | What::UploadDeleted)
    }
}

/// An event in its place.
#[derive(Debug)]
pub struct Told {
    /// Counts from 1 since the process began.
    pub seq: u64,
    /// What was told.
    pub event: Event,
    text: OnceLock<Bytes>,
}

impl Told {
    /// The event as it is sent, made by the first who needs it and shared by all.
    pub fn text(&self, make: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.text.get_or_init(|| make(self)).clone()
    }
}

/// What came after a place in the ring.
#[derive(Debug)]
pub enum Since {
    /// In order; maybe none. `next` is the place after what was looked at.
    Events {
        /// Those that were asked for.
        events: Vec<Arc<Told>>,
        /// Where to go on.
        next: u64,
    },
    /// Some of it has left the ring.
    Lost,
}

#[derive(Debug)]
struct Kept {
    events: VecDeque<Arc<Told>>,
    /// The number of the next event.
    next: u64,
}

/// The ring.
#[derive(Debug)]
pub(super) struct Ring {
    kept: Mutex<Kept>,
    head: watch::Sender<u64>,
    /// Told apart from the rings of other processes by this.
    epoch: i64,
}

impl Ring {
    pub(super) fn new(epoch: i64) -> Self {
        Self { kept: Mutex::new(Kept { events: VecDeque::new(), next: 1 }), head: watch::channel(1).0, epoch }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Whole between any two statements.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, event: Event) {
        let mut kept = self.lock();
        let seq = kept.next;
        kept.next += 1;
        if kept.events.len() == KEPT_EVENTS {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::new(Told { seq, event, text: OnceLock::new() }));
        drop(kept);
        // Only ever forward, whoever comes first.
        self.head.send_if_modified(|head| {
            let is_news = *head <= seq;
            *head = (*head).max(seq + 1);
            is_news
        });
    }

    pub(super) fn next(&self) -> u64 {
        self.lock().next
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    pub(super) fn since(&self, place: u64, of: Option<UploadId>, most: usize) -> Since {
        let kept = self.lock();
        let first = kept.next - kept.events.len() as u64;
        let Some(skip) = place.checked_sub(first).and_then(|skip| usize::try_from(skip).ok()) else { return Since::Lost };
        let (mut events, mut next) = (Vec::new(), place);
        for told in kept.events.iter().skip(skip) {
            if events.len() == most {
                break;
            }
            if of.is_none_or(|of| told.event.upload == Some(of)) {
                events.push(Arc::clone(told));
            }
            next = told.seq + 1;
        }
        Since::Events { events, next }
    }

    /// What a listener that has come to this place names it by.
    pub(super) fn id_before(&self, place: u64) -> String {
        format!("{}-{}", self.epoch, place.saturating_sub(1))
    }

    /// The place after an id, if it is one of ours and nothing after it has left the ring.
    pub(super) fn place_after(&self, id: &str) -> Option<u64> {
        let (epoch, seq) = id.trim().rsplit_once('-')?;
        let (epoch, place) = (epoch.parse::<i64>().ok()?, seq.parse::<u64>().ok()?.checked_add(1)?);
        let kept = self.lock();
        let first = kept.next - kept.events.len() as u64;
        (epoch == self.epoch && (first..=kept.next).contains(&place)).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn event(of: u128) -> Event {
        let at = Timestamp::from_millis(1_790_000_000_000);
        Event { upload: Some(UploadId::from_uuid(Uuid::from_u128(of))), at, what: What::UploadReceived(1) }
    }

    fn seqs(ring: &Ring, place: u64, of: Option<u128>, most: usize) -> Option<(Vec<u64>, u64)> {
        match ring.since(place, of.map(|of| UploadId::from_uuid(Uuid::from_u128(of))), most) {
            Since::Lost => None,
            Since::Events { events, next } => Some((events.iter().map(|told| told.seq).collect(), next)),
        }
    }

    #[test]
    fn events_are_read_in_order_from_any_place_by_anybody() {
        let ring = Ring::new(7);
        assert_eq!((ring.next(), seqs(&ring, 1, None, 9)), (1, Some((vec![], 1))));
        for n in 1..=6 {
            ring.tell(event(n % 2));
        }
        assert_eq!(seqs(&ring, 1, None, 100), Some((vec![1, 2, 3, 4, 5, 6], 7)));
        assert_eq!(seqs(&ring, 3, None, 2), Some((vec![3, 4], 5)), "the rest next time");
        assert_eq!(seqs(&ring, 2, Some(1), 100), Some((vec![3, 5], 7)));
        assert_eq!(seqs(&ring, 1, Some(9), 1), Some((vec![], 7)), "what is not for it is passed over");
        assert_eq!(seqs(&ring, 7, None, 1), Some((vec![], 7)));
    }

    #[test]
    fn what_has_left_the_ring_is_lost_and_said_to_be() {
        let ring = Ring::new(7);
        for _ in 0..=KEPT_EVENTS {
            ring.tell(event(1));
        }
        assert_eq!(seqs(&ring, 1, None, 1), None);
        assert_eq!(seqs(&ring, 2, None, 1), Some((vec![2], 3)));
        assert_eq!(ring.lock().events.len(), KEPT_EVENTS);
    }

    #[test]
    fn ids_lead_back_to_their_place_in_this_ring_only() {
        let ring = Ring::new(1_790_000_000_000);
        assert_eq!(ring.place_after(&ring.id_before(1)), Some(1));
        ring.tell(event(1));
        ring.tell(event(1));
        assert_eq!(ring.place_after("1790000000000-1"), Some(2));
        assert_eq!(ring.place_after("1790000000000-2"), Some(3));
        for foreign in ["1790000000000-3", "1790000000001-1", "1", "", "-", "x-1", "1790000000000-18446744073709551615"] {
            assert_eq!(ring.place_after(foreign), None, "{foreign}");
        }
        for _ in 0..KEPT_EVENTS {
            ring.tell(event(1));
        }
        assert_eq!(ring.place_after("1790000000000-1"), None, "what came after it is lost");
        assert_eq!(ring.place_after("1790000000000-2"), Some(3));
    }

    #[tokio::test]
    async fn who_tells_never_waits_and_who_listens_is_woken() {
        let ring = Ring::new(1);
        let mut news = ring.news();
        for n in 0..100_000 {
            ring.tell(event(n));
        }
        news.changed().await.expect("the ring is there");
        assert_eq!(*news.borrow_and_update(), 100_001);
        assert!(!news.has_changed().expect("the ring is there"));
    }

    #[test]
    fn a_text_is_made_once() {
        let ring = Ring::new(1);
        ring.tell(event(1));
        let Since::Events { events, .. } = ring.since(1, None, 1) else { panic!("it is there") };
        assert_eq!(events[0].text(|_| Bytes::from_static(b"once")), "once");
        assert_eq!(events[0].text(|_| panic!("made before")), "once");
    }
}
