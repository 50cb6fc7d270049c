//! The request body, and multer behind a gate: multer is handed bytes only when it cannot go on without them.
//!
//! multer pulls its stream until it is pending and searches its buffer from the start again, so left alone it buffers without bound.
//! It must not know: fields' meaning, files, disks. Invariants: at most one piece of [`PIECE_BYTES`] is handed over per look, and only after
//! multer found nothing more to do with what it has; outside field data at most [`FRAMING_BYTES`] are handed over between two parts; the end
//! of the stream comes in a poll of its own, after everything before it was searched. What a client gets is thus independent of how its
//! bytes were cut into packets, and the buffer holds at most one piece, the framing budget and the rest of a piece: under 256 KiB.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use multer::{Field, Multipart};

use super::IngestError;
use crate::domain::{Code, Refusal};

/// Largest piece handed to the parser at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Most bytes handed over before the first boundary, or from the end of one part's data to the start of the next's.
const FRAMING_BYTES: usize = 64 * 1024;
/// Pieces smaller than this are gathered with what is ready behind them: one-byte chunks must not cost a search of the buffer each.
const SMALL_BYTES: usize = 4 * 1024;
/// Looks at the body in one poll before other tasks get their turn.
const LOOKS_PER_POLL: u32 = 16;

/// Why a body ended before its end; chosen by who reads the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client went away.
    #[error("client went away")]
    Aborted,
    /// No byte came for too long.
    #[error("no data for too long")]
    TooSlow,
}

/// A request body. Functions here borrow it, so that whatever happens the caller still holds what was not read and can drain it.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// Why no more bytes are handed over.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Body(BodyError),
    Framing,
    TooLarge { received: u64 },
}

#[derive(Debug)]
struct Flow {
    max_bytes: u64,
    received_bytes: u64,
    /// Handed over since the last part began or ended; not counted while a part's data flow.
    framing_bytes: usize,
    in_data: bool,
    /// The parser may look once more in this poll: at a piece, or at the end.
    open: bool,
    /// It found something.
    taken: bool,
    /// The last poll found nothing to do with what the parser has; to ask it again without new bytes would only cost a search.
    searched: bool,
    ended: bool,
    fault: Option<Fault>,
}

/// What the parser's stream and its driver share.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Mutex<Flow>>);

impl Gate {
    /// A gate for one request of at most `max_bytes`, framing included.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(Flow {
            max_bytes,
            received_bytes: 0,
            framing_bytes: 0,
            in_data: false,
            open: false,
            taken: false,
            searched: false,
            ended: false,
            fault: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Flow> {
        // Plain counters: a panic elsewhere cannot leave them half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_poll(&self, open: bool) {
        let mut flow = self.lock();
        flow.open = open;
        flow.taken = false;
    }

    fn enter(&self, in_data: bool) {
        let mut flow = self.lock();
        flow.in_data = in_data;
        flow.framing_bytes = 0;
    }

    /// The error of a fault met by the stream, whatever the parser made of it.
    fn fault(&self) -> Option<IngestError> {
        let flow = self.lock();
        Some(match flow.fault? {
            Fault::Body(error) => error.into(),
            Fault::Framing => {
                let detail = format!("more than {FRAMING_BYTES} bytes without a part's data: no boundary, or endless part headers");
                Refusal::over(Code::MalformedMultipart, detail, FRAMING_BYTES as u64, None).into()
            }
            Fault::TooLarge { received } => too_large_request(flow.max_bytes, received),
        })
    }

    /// Runs one poll of the parser to its end: first with what it has, then with one piece after another.
    fn drive<T>(&self, cx: &mut Context<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        if !mem::take(&mut self.lock().searched) {
            self.begin_poll(false);
            if let Poll::Ready(value) = poll(cx) {
                return Poll::Ready(value);
            }
        }
        for _ in 0..LOOKS_PER_POLL {
            self.begin_poll(true);
            if let Poll::Ready(value) = poll(cx) {
                return Poll::Ready(value);
            }
            let mut flow = self.lock();
            if !flow.taken {
                flow.searched = true;
                return Poll::Pending; // the body is pending and has our waker
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads and drops what follows the last part, within the limit of the whole request.
    ///
    /// # Errors
    /// When the body fails or passes the limit.
    ///
    /// # Cancel safety
    /// What was read is counted; calling again goes on.
    pub(super) async fn drain(&self, body: &mut BodyStream) -> Result<(), IngestError> {
        loop {
            if let Some(error) = self.fault() {
                return Err(error);
            }
            if self.lock().ended {
                return Ok(());
            }
            let next = body.next().await;
            self.lock().count(next);
            tokio::task::coop::consume_budget().await;
        }
    }
}

impl Flow {
    /// Books what the body said; bytes are given back when they may be used.
    fn count(&mut self, next: Option<Result<Bytes, BodyError>>) -> Option<Bytes> {
        match next {
            None => self.ended = true,
            Some(Err(error)) => self.fault = Some(Fault::Body(error)),
            Some(Ok(bytes)) => {
                self.received_bytes = self.received_bytes.saturating_add(bytes.len() as u64);
                if self.received_bytes <= self.max_bytes {
                    return Some(bytes);
                }
                self.fault = Some(Fault::TooLarge { received: self.received_bytes });
            }
        }
        None
    }
}

pub(super) fn too_large_request(limit: u64, received: u64) -> IngestError {
    Refusal::over(Code::TooLarge, format!("request body is larger than {limit} bytes"), limit, Some(received)).into()
}

/// Shown to the parser in place of the fault, which the gate keeps.
#[derive(Debug, thiserror::Error)]
#[error("body stopped")]
struct Stopped;

/// The parser's view of the body.
struct Guard<'r> {
    body: &'r mut BodyStream,
    /// Taken from the body, not yet handed over.
    held: Bytes,
    /// Comes after `held`.
    behind: Bytes,
    gate: Gate,
}

impl Stream for Guard<'_> {
    type Item = Result<Bytes, Stopped>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { body, held, behind, gate } = &mut *self;
        let mut flow = gate.lock();
        if held.is_empty() {
            mem::swap(held, behind);
        }
        if !mem::take(&mut flow.open) {
            // One look in a poll. multer may ask a second time without searching what it gets: it gets nothing, nor the end, before the next.
            return Poll::Pending;
        }
        if held.is_empty() {
            if flow.ended {
                return Poll::Ready(None);
            }
            if flow.fault.is_some() {
                return Poll::Ready(Some(Err(Stopped)));
            }
            let Poll::Ready(next) = body.as_mut().poll_next(cx) else { return Poll::Pending };
            flow.taken = true;
            match flow.count(next) {
                Some(bytes) => *held = bytes,
                None if flow.fault.is_some() => return Poll::Ready(Some(Err(Stopped))),
                None => return Poll::Ready(None),
            }
            if held.len() < SMALL_BYTES {
                gather(body, held, behind, &mut flow, cx);
            }
        }
        flow.taken = true;
        let room = if flow.in_data { PIECE_BYTES } else { FRAMING_BYTES - flow.framing_bytes };
        if room == 0 {
            flow.fault = Some(Fault::Framing);
            return Poll::Ready(Some(Err(Stopped)));
        }
        let piece = held.split_to(held.len().min(room));
        if !flow.in_data {
            flow.framing_bytes += piece.len();
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

/// Adds to a small piece what is ready behind it; a large item found there waits in `behind`.
fn gather(body: &mut BodyStream, held: &mut Bytes, behind: &mut Bytes, flow: &mut Flow, cx: &mut Context<'_>) {
    let mut gathered = BytesMut::from(&held[..]);
    while gathered.len() < SMALL_BYTES && behind.is_empty() {
        // Pending is no loss: the piece at hand is handed over, and the next look asks again.
        let Poll::Ready(next) = body.as_mut().poll_next(cx) else { break };
        match flow.count(next) {
            Some(bytes) if bytes.is_empty() => break, // an endless row of empty frames must not hold the thread
            Some(bytes) if bytes.len() < SMALL_BYTES => gathered.extend_from_slice(&bytes),
            Some(bytes) => *behind = bytes,
            None => break,
        }
    }
    *held = gathered.freeze();
}

/// The parts of a body, one after another.
pub(super) struct Parts<'r> {
    gate: Gate,
    multipart: Multipart<'r>,
}

impl<'r> Parts<'r> {
    /// Reads `body` through `gate`; bytes the parser did not ask for stay in the body.
    pub(super) fn new(body: &'r mut BodyStream, gate: Gate, boundary: String) -> Self {
        let guard = Guard { body, held: Bytes::new(), behind: Bytes::new(), gate: gate.clone() };
        Self { gate, multipart: Multipart::new(guard, boundary) }
    }

    /// The next part, `None` after the final boundary. The previous one must have been read to its end.
    ///
    /// # Errors
    /// Broken framing, a failed body, or one of the gate's limits; the request cannot be read on after that.
    ///
    /// # Cancel safety
    /// Nothing is lost; calling again goes on.
    pub(super) async fn next(&mut self) -> Result<Option<Field<'r>>, IngestError> {
        let Self { gate, multipart } = self;
        let found = poll_fn(|cx| gate.drive(cx, |cx| multipart.poll_next_field(cx))).await;
        tokio::task::coop::consume_budget().await;
        match found {
            Ok(field) => {
                gate.enter(true);
                Ok(field)
            }
            Err(error) => Err(self.refusal(&error)),
        }
    }

    /// The next bytes of a part, never empty; `None` at its end.
    ///
    /// # Errors
    /// As [`Parts::next`].
    ///
    /// # Cancel safety
    /// Nothing is lost; calling again goes on.
    pub(super) async fn chunk(&mut self, field: &mut Field<'r>) -> Result<Option<Bytes>, IngestError> {
        loop {
            let gate = &self.gate;
            let chunk = poll_fn(|cx| gate.drive(cx, |cx| Pin::new(&mut *field).poll_next(cx))).await;
            tokio::task::coop::consume_budget().await;
            match chunk {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => return Ok(Some(bytes)),
                Some(Err(error)) => return Err(self.refusal(&error)),
                None => {
                    self.gate.enter(false);
                    return Ok(None);
                }
            }
        }
    }

    fn refusal(&self, error: &multer::Error) -> IngestError {
        self.gate.fault().unwrap_or_else(|| Refusal::new(Code::MalformedMultipart, format!("multipart framing is broken: {error}")).into())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Instant,
    };

    use futures_util::stream;

    use super::*;
    use crate::ingest::fixtures::{chunked, chunked_with_pauses};

    /// A body of `total` bytes after `head`, always ready, that counts what was taken from it.
    fn endless(head: &'static [u8], fill: &'static [u8], total: u64) -> (BodyStream, Arc<AtomicU64>) {
        let taken = Arc::new(AtomicU64::new(0));
        let counter = taken.clone();
        let times = total / fill.len() as u64;
        let body = stream::iter(std::iter::once(Bytes::from_static(head)).chain((0..times).map(move |_| Bytes::from_static(fill)))).map(
            move |bytes| {
                counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(bytes)
            },
        );
        (Box::pin(body), taken)
    }

    fn code(error: &IngestError) -> Code {
        match error {
            IngestError::Refused(refusal) => refusal.code,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn only_the_final_boundary_is_an_empty_form_in_every_chunking() {
        for size in 1..=12 {
            let mut body = chunked_with_pauses(b"--B--", size);
            let mut parts = Parts::new(&mut body, Gate::new(1000), "B".into());
            assert!(parts.next().await.expect("well-formed").is_none(), "{size}");
            let long = b"--boundary--\r\n";
            let mut body = chunked_with_pauses(long, size);
            let mut parts = Parts::new(&mut body, Gate::new(1000), "boundary".into());
            assert!(parts.next().await.expect("well-formed").is_none(), "{size}");
            let mut body = chunked(long, size);
            let mut parts = Parts::new(&mut body, Gate::new(1000), "boundary".into());
            assert!(parts.next().await.expect("well-formed").is_none(), "{size}");
        }
    }

    #[tokio::test]
    async fn field_data_pass_in_constant_memory() {
        const HEAD: &[u8] = b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n";
        let near_boundaries = b"\r\n--A".repeat(300).leak();
        for fill in [&[b'x'; 1460][..], &[b'\r'; PIECE_BYTES], &[7; 1 << 20], near_boundaries] {
            let (mut body, taken) = endless(HEAD, fill, 256 << 20);
            let mut parts = Parts::new(&mut body, Gate::new(u64::MAX), "B".into());
            let mut field = parts.next().await.expect("a part").expect("a part");
            let (mut delivered, mut held_most) = (0_u64, 0);
            let error = loop {
                match parts.chunk(&mut field).await {
                    Ok(Some(bytes)) => delivered += bytes.len() as u64,
                    Ok(None) => panic!("no boundary, no end"),
                    Err(error) => break error,
                }
                held_most = held_most.max(taken.load(Ordering::Relaxed) - delivered);
            };
            assert_eq!(code(&error), Code::MalformedMultipart);
            assert!(delivered >= (256 << 20) - (1 << 20), "{delivered}");
            // One item of the body itself (ours to hold whatever we do), a piece, and the head.
            let allowed = (fill.len() + PIECE_BYTES + HEAD.len()) as u64;
            assert!(held_most <= allowed, "{held_most} of {allowed}");
        }
    }

    #[tokio::test]
    async fn framing_is_bounded_wherever_it_is_endless() {
        let cases: [(&str, &[u8]); 5] = [
            ("preamble", b"preamble"),
            ("headers", b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\nX: "),
            ("padding", b"--B "),
            ("second headers", b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\ndata\r\n--B\r\nX: "),
            ("second padding", b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\ndata\r\n--B\t"),
        ];
        for (name, head) in cases {
            for fill in [&[b' '; 1][..], &[b' '; 1460], &[b' '; PIECE_BYTES], &[b' '; 1 << 20]] {
                let (mut body, taken) = endless(head, fill, 16 << 20);
                let mut parts = Parts::new(&mut body, Gate::new(u64::MAX), "B".into());
                let start = Instant::now();
                let error = loop {
                    match parts.next().await {
                        Ok(Some(mut field)) => while parts.chunk(&mut field).await.expect("data").is_some() {},
                        Ok(None) => panic!("{name}: no end was sent"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(code(&error), Code::MalformedMultipart, "{name}");
                let taken = taken.load(Ordering::Relaxed);
                let most = (2 * FRAMING_BYTES + 2 * PIECE_BYTES.max(fill.len()) + head.len()) as u64;
                assert!(taken <= most, "{name}: took {taken} of {most} bytes in items of {}", fill.len());
                assert!(start.elapsed().as_secs() < 5, "{name}: {:?}", start.elapsed());
            }
        }
    }

    #[tokio::test]
    async fn many_small_parts_are_not_read_ahead() {
        let part = b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv\r\n";
        let text = part.repeat(PIECE_BYTES / part.len()).leak();
        let (mut body, taken) = endless(b"", text, 4 << 20);
        let mut parts = Parts::new(&mut body, Gate::new(u64::MAX), "B".into());
        let mut parsed = 0_u64;
        while parsed < 2 << 20 {
            let mut field = parts.next().await.expect("a part").expect("a part");
            while parts.chunk(&mut field).await.expect("data").is_some() {}
            parsed += part.len() as u64;
            let ahead = taken.load(Ordering::Relaxed) - parsed.min(taken.load(Ordering::Relaxed));
            assert!(ahead <= (text.len() + PIECE_BYTES) as u64, "{ahead}");
        }
    }

    #[tokio::test]
    async fn the_rest_of_the_body_stays_with_the_caller() {
        let (mut body, taken) = endless(b"no multipart at all", &[b'x'; 1024], 1 << 20);
        let gate = Gate::new(u64::MAX);
        assert!(Parts::new(&mut body, gate, "B".into()).next().await.is_err());
        let before = taken.load(Ordering::Relaxed);
        let mut rest = 0;
        while let Some(bytes) = body.next().await {
            rest += bytes.expect("bytes").len() as u64;
        }
        assert!(rest > 0 && before + rest == taken.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn whole_request_is_counted_to_the_byte() {
        let text = b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv\r\n--B--\r\nepilogue";
        for (limit, fits) in [(text.len() - 1, false), (text.len(), true), (text.len() + 1, true)] {
            for size in [1, 5, 4096] {
                let mut body = chunked(text, size);
                let gate = Gate::new(limit as u64);
                let read = async {
                    let mut parts = Parts::new(&mut body, gate.clone(), "B".into());
                    while let Some(mut field) = parts.next().await? {
                        while parts.chunk(&mut field).await?.is_some() {}
                    }
                    drop(parts);
                    gate.drain(&mut body).await
                };
                match read.await {
                    Ok(()) => assert!(fits, "{limit} {size}"),
                    Err(error) => assert!(!fits && code(&error) == Code::TooLarge, "{limit} {size} {error:?}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_failing_body_is_told_apart_from_bad_framing() {
        for (fault, slow) in [(BodyError::Aborted, false), (BodyError::TooSlow, true)] {
            let items: Vec<Result<Bytes, BodyError>> =
                vec![Ok(Bytes::from_static(b"--B\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv")), Err(fault)];
            let mut body: BodyStream = Box::pin(stream::iter(items));
            let mut parts = Parts::new(&mut body, Gate::new(1000), "B".into());
            let mut field = parts.next().await.expect("a part").expect("a part");
            let error = loop {
                match parts.chunk(&mut field).await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("no end was sent"),
                    Err(error) => break error,
                }
            };
            assert_eq!(matches!(error, IngestError::TooSlow), slow, "{error:?}");
            assert_eq!(matches!(error, IngestError::Aborted), !slow, "{error:?}");
        }
    }
}
