//! What every request passes between the connection and the router: who asks, what is in flight, and what becomes of a
//! body nobody reads.
//!
//! Must not know routes. Invariant: a refusal may be made anywhere by dropping the request; it reaches the client.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::timeout;
use tower_service::Service;

use crate::http::peer::Peer;

use super::{
    pulse::Pulse,
    wire::{LINGER_IDLE, LINGER_TOTAL},
};

/// hyper gives the end of an HTTP/2 answer to h2 at once and drops its body, whether or not the client's window has room for
/// it, and what is dropped is no longer in flight. So the end is a piece of its own, which is asked for when all before it
/// has its room, and is short enough to be gone in a moment.
const LAST_PIECE_BYTES: usize = 1 << 10;

/// Hands one request to the router.
pub(super) async fn answer(
    mut router: Router,
    peer: Peer,
    pulse: Arc<Pulse>,
    request: Request<Incoming>,
) -> Result<Response<Leaving>, Infallible> {
    let in_flight = InFlight::begin(pulse);
    let version = request.version();
    let abandoned = Arc::new(AtomicBool::new(false));
    let mut request = request.map(|body| {
        if body.is_end_stream() {
            Body::empty()
        } else {
            Body::new(Arriving { body: Some(body), is_http2: version == Version::HTTP_2, abandoned: Arc::clone(&abandoned) })
        }
    });
    request.extensions_mut().insert(peer);
    let mut response = router.call(request).await?;
    if abandoned.load(Ordering::Acquire) && version < Version::HTTP_2 {
        // What is left of the body stands between this request and the next.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    in_flight.0.peer_is_next();
    Ok(response.map(|body| Leaving { body, last: Bytes::new(), is_http2: version == Version::HTTP_2, in_flight, is_peers_turn: true }))
}

/// A request that counts until its answer has ended.
struct InFlight(Arc<Pulse>);

impl InFlight {
    fn begin(pulse: Arc<Pulse>) -> Self {
        pulse.request_begins();
        Self(pulse)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// A request's body. Dropped before its end, the rest is dealt with: over HTTP/1 the connection is closed behind the
/// answer, and what still comes is dropped there (`wire.rs`); over HTTP/2 it is read and dropped in the background,
/// because many clients take a reset stream for a failure even if the answer came before it.
struct Arriving {
    /// `None` once it has ended.
    body: Option<Incoming>,
    is_http2: bool,
    abandoned: Arc<AtomicBool>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        let ended = match &polled {
            Poll::Ready(Some(Ok(_))) => body.is_end_stream(),
            // The connection or the stream is broken: there is no rest.
            Poll::Ready(Some(Err(_)) | None) => true,
            Poll::Pending => false,
        };
        if ended {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Some(mut rest) = self.body.take() else { return };
        self.abandoned.store(true, Ordering::Release);
        if self.is_http2
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                let reading = async { while let Ok(Some(Ok(_))) = timeout(LINGER_IDLE, rest.frame()).await {} };
                let _ = timeout(LINGER_TOTAL, reading).await;
            });
        }
    }
}

/// An answer's body, which tells whose turn it is.
pub(super) struct Leaving {
    body: Body,
    /// The end of the body, kept back.
    last: Bytes,
    is_http2: bool,
    in_flight: InFlight,
    is_peers_turn: bool,
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.last.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.last)))));
        }
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.is_http2
            && self.body.is_end_stream()
            && let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(data) = frame.data_mut().filter(|data| data.len() > LAST_PIECE_BYTES)
        {
            self.last = data.split_off(data.len() - LAST_PIECE_BYTES);
        }
        match (polled.is_pending(), self.is_peers_turn) {
            (true, true) => self.in_flight.0.we_are_next(),
            (false, false) => self.in_flight.0.peer_is_next(),
            _ => {}
        }
        self.is_peers_turn = polled.is_ready();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, kept_bytes) = (self.body.size_hint(), self.last.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + kept_bytes);
        }
        hint.set_lower(hint.lower() + kept_bytes);
        hint
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.is_peers_turn {
            self.in_flight.0.we_are_next();
        }
    }
}
