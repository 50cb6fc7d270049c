//! What many listeners take alike: pieces of the ring, each put together once and handed to all who have come to the same place.
//!
//! Knows nothing of how events are written; who needs a piece first makes it. Invariants: a piece is what is in the ring between two places, no more and no
//! less, so whoever takes it misses nothing; pieces are few and soon forgotten. Whoever joins late is led to where a piece of the others ends.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Told,
    ring::{Ring, Since},
};

/// Pieces that are remembered at one time.
const KEPT_PIECES: usize = 8;

/// A stretch of the ring as it is sent.
#[derive(Clone, Debug)]
struct Piece {
    first: u64,
    next: u64,
    bytes: Bytes,
    made: Instant,
}

/// What is there for one who has come to some place.
#[derive(Debug, PartialEq, Eq)]
pub enum Shared {
    /// To be sent; `next` is the place after it.
    Piece {
        /// Its events.
        bytes: Bytes,
        /// Where to go on.
        next: u64,
    },
    /// Nothing is new.
    Nothing,
    /// Some of it has left the ring.
    Lost,
}

/// The pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces(Mutex<VecDeque<Piece>>);

impl Pieces {
    /// The piece from `place` on, of `most` events at most, which `make` puts together if nobody did within `fresh` before `now`.
    pub(super) fn from(
        &self,
        ring: &Ring,
        place: u64,
        most: usize,
        (now, fresh): (Instant, Duration),
        make: impl FnOnce(&[Arc<Told>]) -> Bytes,
    ) -> Shared {
        // Held while a piece is made, so that the others wait for it instead of making it again. A queue of pieces is whole between any two statements.
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.retain(|piece| now.saturating_duration_since(piece.made) < fresh);
        if let Some(piece) = pieces.iter().find(|piece| piece.first == place) {
            return Shared::Piece { bytes: piece.bytes.clone(), next: piece.next };
        }
        // In the middle of what others had: no further than they went, to be with them from there on.
        let until = pieces.iter().find(|piece| (piece.first..piece.next).contains(&place)).map(|piece| piece.next);
        let most = until.map_or(most, |until| most.min(usize::try_from(until - place).unwrap_or(usize::MAX)));
        match ring.since(place, None, most) {
            Since::Lost => Shared::Lost,
            Since::Events { events, .. } if events.is_empty() => Shared::Nothing,
            Since::Events { events, next } => {
                let bytes = make(&events);
                // What ends where another does is not what the others will ask for.
                if until.is_none() {
                    if pieces.len() == KEPT_PIECES {
                        pieces.pop_front();
                    }
                    pieces.push_back(Piece { first: place, next, bytes: bytes.clone(), made: now });
                }
                Shared::Piece { bytes, next }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Timestamp,
        follow::{Event, What},
    };
    use std::cell::Cell;

    const FRESH: Duration = Duration::from_millis(100);

    fn tell(ring: &Ring, events: u64) {
        for _ in 0..events {
            ring.tell(Event { upload: None, at: Timestamp::from_millis(0), what: What::UploadReceived(1) });
        }
    }

    /// The numbers of a piece's events, a byte each.
    fn numbers(events: &[Arc<Told>]) -> Bytes {
        events.iter().map(|told| told.seq as u8).collect()
    }

    fn piece(numbers: std::ops::Range<u8>) -> Shared {
        Shared::Piece { next: numbers.end.into(), bytes: numbers.collect() }
    }

    #[test]
    fn a_piece_is_made_once_and_given_to_all_who_come_in_time() {
        let (ring, pieces, made, begin) = (Ring::new(7), Pieces::default(), Cell::new(0), Instant::now());
        let take = |place, at_ms| {
            let at = begin + Duration::from_millis(at_ms);
            pieces.from(&ring, place, 64, (at, FRESH), |events| {
                made.set(made.get() + 1);
                numbers(events)
            })
        };
        assert_eq!(take(1, 0), Shared::Nothing);
        tell(&ring, 3);
        assert_eq!(take(1, 1), piece(1..4));
        // What came meanwhile is for the next piece: all go on from the same place.
        tell(&ring, 2);
        for at_ms in 2..90 {
            assert_eq!(take(1, at_ms), piece(1..4));
        }
        assert_eq!(made.get(), 1);
        assert_eq!((take(4, 95), take(4, 96), made.get()), (piece(4..6), piece(4..6), 2));
        // One that comes too late for its piece gets all there is.
        assert_eq!((take(1, 101), made.get()), (piece(1..6), 3));
    }

    #[test]
    fn whoever_joins_is_led_to_where_the_others_are() {
        let (ring, pieces, now) = (Ring::new(7), Pieces::default(), Instant::now());
        let take = |place, most| pieces.from(&ring, place, most, (now, FRESH), numbers);
        tell(&ring, 6);
        assert_eq!(take(1, 64), piece(1..7));
        tell(&ring, 4);
        assert_eq!((take(3, 64), take(3, 2)), (piece(3..7), piece(3..5)));
        assert_eq!((take(7, 64), take(9, 64)), (piece(7..11), piece(9..11)));
    }

    #[test]
    fn pieces_are_few_and_what_is_lost_is_said_to_be() {
        let (ring, pieces, now) = (Ring::new(7), Pieces::default(), Instant::now());
        tell(&ring, super::super::KEPT_EVENTS as u64 + 10);
        assert_eq!(pieces.from(&ring, 1, 64, (now, FRESH), |_| panic!("nothing to make")), Shared::Lost);
        for place in 0..100 {
            let taken = pieces.from(&ring, 20 + 10 * place, 5, (now, FRESH), |_| Bytes::from_static(b"x"));
            assert_eq!(taken, Shared::Piece { bytes: Bytes::from_static(b"x"), next: 25 + 10 * place });
        }
        assert_eq!(pieces.0.lock().expect("whole").len(), KEPT_PIECES);
    }
}
