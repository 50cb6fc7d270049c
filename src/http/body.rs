//! Request bodies on their way in: a client must send at a minimum rate, without long pauses, and come to an end.
//!
//! Only time spent waiting for the client counts: while we write to a slow disk the client waits for us. What becomes of a
//! body that is dropped before its end is the connection's matter (`serve/service.rs`).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep};

use crate::ingest::{BodyError, BodyStream};

/// Waiting that is granted before the rate is looked at.
const GRACE: Duration = Duration::from_secs(10);

/// How slow a client may be.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Longest wait for the next byte.
    pub idle: Duration,
    /// Longest time from the first look at the body to its end.
    pub total: Duration,
    /// Fewest bytes a second of waiting; 0 for any.
    pub min_rate: u64,
}

impl Pace {
    fn grace(&self) -> Duration {
        if self.min_rate == 0 { self.idle } else { GRACE.min(self.idle) }
    }

    /// Waiting that these bytes pay for.
    fn earned(&self, bytes: usize) -> Duration {
        match self.min_rate {
            0 => self.idle,
            rate => Duration::try_from_secs_f64(bytes as f64 / rate as f64).unwrap_or(self.idle),
        }
    }
}

/// A body that fails when it comes too slowly.
struct Paced {
    chunks: BodyDataStream,
    pace: Pace,
    /// Waiting the client may still do; each byte adds to it. Never more than the idle time-out, so that a fast
    /// beginning does not pay for an hour of trickling.
    credit: Duration,
    waiting_since: Option<Instant>,
    end: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

/// The body as ingest takes it.
pub(crate) fn stream(body: Body, pace: Pace) -> BodyStream {
    Box::pin(Paced {
        chunks: body.into_data_stream(),
        pace,
        credit: pace.grace(),
        waiting_since: None,
        end: None,
        alarm: Box::pin(sleep(Duration::ZERO)),
    })
}

impl Stream for Paced {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let paced = &mut *self;
        let polled = Pin::new(&mut paced.chunks).poll_next(cx);
        let Poll::Ready(next) = polled else {
            let now = Instant::now();
            let end = *paced.end.get_or_insert(now + paced.pace.total);
            if paced.waiting_since.is_none() {
                paced.waiting_since = Some(now);
                paced.alarm.as_mut().reset((now + paced.credit).min(end));
            }
            return paced.alarm.as_mut().poll(cx).map(|()| Some(Err(BodyError::TooSlow)));
        };
        let waited = paced.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let Some(Ok(bytes)) = next else {
            return Poll::Ready(next.map(|result| result.map_err(|_| BodyError::Aborted)));
        };
        let credit = paced.credit.saturating_sub(waited) + paced.pace.earned(bytes.len());
        paced.credit = credit.min(paced.pace.idle);
        // Bytes that come all the time never let the alarm be asked.
        if paced.end.is_some_and(|end| Instant::now() >= end) {
            return Poll::Ready(Some(Err(BodyError::TooSlow)));
        }
        Poll::Ready(Some(Ok(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};

    use super::*;

    const PACE: Pace = Pace { idle: Duration::from_secs(30), total: Duration::from_secs(3600), min_rate: 1024 };

    /// A client that sends `bytes` after each pause of `pause`, and a server that takes `work` over each piece; when it
    /// ended, and how.
    async fn run(pace: Pace, pieces: usize, bytes: usize, pause: Duration, work: Duration) -> (Duration, Option<BodyError>) {
        let begun = Instant::now();
        let mut left = pieces;
        // The client's pause begins when its last piece was taken, as with a full window.
        let client = stream::unfold((), move |()| async move {
            tokio::time::sleep(pause).await;
            Some((Ok::<_, Infallible>(Bytes::from(vec![0; bytes])), ()))
        });
        let mut body = super::stream(Body::from_stream(client.take(pieces)), pace);
        while let Some(piece) = body.next().await {
            match piece {
                Ok(_) => tokio::time::sleep(work).await,
                Err(error) => return (begun.elapsed(), Some(error)),
            }
            left -= 1;
        }
        assert_eq!(left, 0);
        (begun.elapsed(), None)
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn trickling_ends_and_a_slow_link_does_not() {
        let slow = |(at, error): (Duration, Option<BodyError>)| (at.as_secs(), matches!(error, Some(BodyError::TooSlow)));
        assert_eq!(slow(run(PACE, 1000, 1, s(9), s(0)).await), (10, true), "one byte every nine seconds");
        // In theory after 427 s; timers round up to a millisecond, which a little below the rate is much.
        let (ended, is_slow) = slow(run(PACE, 1000, 1000, s(1), s(0)).await);
        assert!(is_slow && (300..=427).contains(&ended), "a little below the rate: {ended} s");
        assert_eq!(slow(run(PACE, 1000, 1100, s(1), s(0)).await), (1000, false), "above the rate");
        assert_eq!(slow(run(PACE, 10, 1 << 20, s(25), s(0)).await), (10, true), "the first pause has no more than the grace");
        assert_eq!(slow(run(PACE, 10, 1 << 20, s(9), s(0)).await), (90, false));
        assert_eq!(slow(run(PACE, 1, 1, s(11), s(0)).await), (10, true));
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_slowness_is_not_the_clients() {
        let (at, error) = run(PACE, 20, 1000, Duration::from_millis(500), s(100)).await;
        assert!(error.is_none() && at > s(1900), "{at:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_comes_to_an_end() {
        let (at, error) = run(PACE, 100_000, 1 << 20, s(1), s(0)).await;
        assert!(matches!(error, Some(BodyError::TooSlow)) && at.as_secs() == 3600, "{at:?}");
        let (at, error) = run(Pace { min_rate: 0, ..PACE }, 50, 1, s(29), s(0)).await;
        assert!(error.is_none() && at.as_secs() == 50 * 29, "without a rate only pauses count: {at:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_borne_by_what_was_sent_before() {
        let client = stream::iter([(1usize << 20, 1u64), (1, 29), (1, 29)]).then(|(bytes, pause)| async move {
            tokio::time::sleep(s(pause)).await;
            Ok::<_, Infallible>(Bytes::from(vec![0; bytes]))
        });
        let mut body = super::stream(Body::from_stream(client), PACE);
        assert!(body.next().await.expect("a piece").is_ok());
        assert!(body.next().await.expect("a piece").is_ok(), "29 s after a megabyte");
        assert!(matches!(body.next().await, Some(Err(BodyError::TooSlow))), "and not again");
    }
}
