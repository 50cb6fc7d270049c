//! A connection's bytes on their way between socket and parser: watched, counted, and ended so that the last answer arrives.
//!
//! Must not know requests; what it tells others goes through [`Pulse`]. Invariant: no more than one small buffer is held
//! here, and closing takes at most [`LINGER_TOTAL`].

use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::Version;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::{domain::Code, http::problem};

use super::{
    frames::Frames,
    framing::{Fault, Framing},
    listen::Abandon,
    pulse::Pulse,
};

/// After the last answer what still comes is read and dropped, so that a client that writes before it reads sees the
/// answer (closing with unread data would reset the connection): this long at most in all …
pub(super) const LINGER_TOTAL: Duration = Duration::from_secs(30);
/// … and this long without a byte.
pub(super) const LINGER_IDLE: Duration = Duration::from_secs(5);
/// Bytes read at once only to be dropped, and how often before others have their turn.
const DROPPED_AT_ONCE: usize = 16 << 10;
const DROPS_IN_A_ROW: usize = 16;

/// A stream between socket and parser.
pub(super) struct Wire<S: Abandon> {
    stream: S,
    pulse: Arc<Pulse>,
    /// What was read to learn the protocol.
    replay: Bytes,
    inbound: Inbound,
    /// Our answer in place of the parser's bare one, as far as it is not written.
    answer: Bytes,
    end: End,
}

enum Inbound {
    Http1 { framing: Framing, fault: Option<Fault> },
    Http2(Frames),
}

enum End {
    Open,
    /// Our side is closed.
    Closed,
    Linger(Box<Linger>),
}

struct Linger {
    total: Pin<Box<Sleep>>,
    idle: Pin<Box<Sleep>>,
}

impl<S: Abandon> Drop for Wire<S> {
    fn drop(&mut self) {
        if self.pulse.is_given_up.load(Relaxed) {
            self.stream.abandon();
        }
    }
}

impl<S: Abandon> Wire<S> {
    /// `replay` was read from the stream already.
    pub(super) fn new(stream: S, version: Version, replay: Bytes, pulse: Arc<Pulse>) -> Self {
        let inbound = match version {
            Version::HTTP_2 => Inbound::Http2(Frames::new()),
            _ => Inbound::Http1 { framing: Framing::new(), fault: None },
        };
        Self { stream, pulse, replay, inbound, answer: Bytes::new(), end: End::Open }
    }

    /// Looks at what was just read into `buf` from `before` on.
    fn look(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        match &mut self.inbound {
            Inbound::Http2(frames) => {
                let sent = self.pulse.sent_bytes.load(Relaxed);
                if frames.feed(&buf.filled()[before..], self.pulse.now_ms(), sent) {
                    Ok(())
                } else {
                    Err(io::Error::other("the client sends too many frames that bring nothing"))
                }
            }
            Inbound::Http1 { framing, fault } => {
                if let Err(found) = framing.feed(&buf.filled()[before..]) {
                    // The parser must not see the end of this head: with a NUL in its place it refuses the request,
                    // in its turn behind earlier ones, and `refusal` gives the answer its words. A broken body is
                    // shown to it as it is, and nothing behind it.
                    let end = before + found.at;
                    if found.in_head {
                        buf.filled_mut()[end] = 0;
                    }
                    buf.set_filled(end + 1);
                    *fault = Some(found);
                }
                if framing.is_in_head() && fault.is_none() {
                    self.pulse.head.begin(self.pulse.now_ms());
                } else {
                    self.pulse.head.clear();
                }
                Ok(())
            }
        }
    }

    /// The words for a refusal that the parser is about to send bare; `None` for everything else.
    fn refusal(&self, head: &[u8]) -> Option<Bytes> {
        let Inbound::Http1 { fault, .. } = &self.inbound else { return None };
        let (code, detail) = match head.strip_prefix(b"HTTP/1.")?.get(2..5)? {
            b"400" => (Code::BadRequest, fault.filter(|fault| fault.in_head).map_or("this is no HTTP/1.1 request", |fault| fault.why)),
            b"414" | b"431" => (Code::HeadersTooLarge, "the request's head is too large: 64 KiB and 100 fields are allowed"),
            _ => return None,
        };
        let text =
            std::str::from_utf8(head).ok().filter(|text| text.ends_with("\r\n\r\n") && text.contains("\r\ncontent-length: 0\r\n"))?;
        let date = text.split("\r\n").find(|line| line.starts_with("date: "));
        Some(problem::wire_answer(code, detail, date))
    }

    fn note<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.pulse.is_blocked.store(polled.is_pending(), Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Abandon + Unpin> Wire<S> {
    /// Writes what is left of our own answer.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.answer.has_remaining() {
            let polled = Pin::new(&mut self.stream).poll_write(cx, &self.answer);
            match ready!(self.note(polled))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.answer.advance(taken),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn sent(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.pulse.sent_bytes.fetch_add(*bytes as u64, Relaxed);
        }
        self.note(polled)
    }
}

impl<S: AsyncRead + Abandon + Unpin> Wire<S> {
    /// Reads and drops; ready when the client has closed or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>, idle: bool) -> Poll<()> {
        let mut space = [MaybeUninit::<u8>::uninit(); DROPPED_AT_ONCE];
        let mut came = false;
        for _ in 0..DROPS_IN_A_ROW {
            let mut buf = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => came = true,
                // The client has closed, or is gone.
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    if !came && matches!(self.end, End::Closed) && idle {
                        return Poll::Ready(());
                    }
                    return self.poll_patience(cx, came);
                }
            }
        }
        let patience = self.poll_patience(cx, true);
        cx.waker().wake_by_ref();
        patience
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>, came: bool) -> Poll<()> {
        if matches!(self.end, End::Closed) {
            self.end = End::Linger(Box::new(Linger { total: Box::pin(sleep(LINGER_TOTAL)), idle: Box::pin(sleep(LINGER_IDLE)) }));
        }
        let End::Linger(linger) = &mut self.end else { return Poll::Ready(()) };
        if came {
            linger.idle.as_mut().reset(Instant::now() + LINGER_IDLE);
        }
        if linger.total.as_mut().poll(cx).is_ready() || linger.idle.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<S: AsyncRead + Abandon + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if matches!(&wire.inbound, Inbound::Http1 { fault: Some(_), .. }) {
            // Nothing behind a fault is for the parser.
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if wire.replay.is_empty() {
            ready!(Pin::new(&mut wire.stream).poll_read(cx, buf))?;
        } else {
            let here = wire.replay.len().min(buf.remaining());
            buf.put_slice(&wire.replay.split_to(here));
        }
        Poll::Ready(wire.look(buf, before))
    }
}

impl<S: AsyncRead + AsyncWrite + Abandon + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        ready!(wire.poll_answer(cx))?;
        if let Some(answer) = wire.refusal(buf) {
            wire.answer = answer;
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut wire.stream).poll_write(cx, buf);
        wire.sent(polled)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        ready!(wire.poll_answer(cx))?;
        if let Some(answer) = bufs.first().and_then(|first| wire.refusal(first)) {
            wire.answer = answer;
            return Poll::Ready(Ok(bufs.first().map_or(0, |first| first.len())));
        }
        let polled = Pin::new(&mut wire.stream).poll_write_vectored(cx, bufs);
        wire.sent(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        ready!(wire.poll_answer(cx))?;
        let polled = Pin::new(&mut wire.stream).poll_flush(cx);
        wire.note(polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if matches!(wire.end, End::Open) {
            ready!(wire.poll_answer(cx))?;
            ready!(Pin::new(&mut wire.stream).poll_shutdown(cx))?;
            wire.end = End::Closed;
            wire.pulse.is_lingering.store(true, Relaxed);
        }
        // Between requests only what is there already is dropped: waiting for a client that has all it wanted helps nobody.
        let nothing_owed = match &wire.inbound {
            Inbound::Http1 { framing, fault } => framing.is_between() && fault.is_none() && wire.replay.is_empty(),
            Inbound::Http2(_) => true,
        };
        ready!(wire.poll_linger(cx, nothing_owed));
        Poll::Ready(Ok(()))
    }
}
