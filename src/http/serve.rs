//! Connections: accepted within limits, followed while they live, ended politely.
//!
//! `axum::serve` installs no timer, so that hyper's header time-out would never fire; hence hyper-util's builder, and our
//! own judge of a connection's times (`pulse.rs`). Must not know routes.

mod clients;
mod frames;
mod framing;
mod listen;
mod pulse;
mod service;
mod tls;
mod wire;

use std::{
    net::IpAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use axum::Router;
use bytes::{Bytes, BytesMut};
use http::Version;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::domain::Code;

use super::{peer::Peer, problem};
use listen::{Abandon, Stream};
use pulse::{Bounds, Pulse, Verdict, Watch};
use wire::Wire;

pub(crate) use clients::client_network;
pub use clients::{Clients, Place};
pub use listen::{Bound, Listener};
pub use tls::{Tls, TlsError};

/// hyper reads ahead at most this much of a connection: what an upload holds in memory is then a constant.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/2: what one stream may have in flight unread, and all of a connection together: so much that streams we do not get to
/// cannot hold up another, whose silence would be taken for its client's. Uploads are the only ones that stay unread, and there
/// are `--max-uploads-in-flight` of them in all; what is left of any other body is read and dropped.
const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
const H2_CONNECTION_WINDOW_BYTES: u32 = H2_MAX_STREAMS * H2_STREAM_WINDOW_BYTES;
/// What one stream may have waiting to be sent.
const H2_SEND_BUFFER_BYTES: usize = 256 << 10;
/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const H2_MAX_STREAMS: u32 = 100;
const H2_MAX_HEADER_LIST_BYTES: u32 = 16 << 10;
/// Streams reset before they were accepted; and streams we reset for the client's errors in a connection's life, to which
/// belong those a client opens beyond the limit before it knows it.
const H2_MAX_PENDING_RESETS: usize = 20;
const H2_MAX_ERROR_RESETS: usize = 1024;

/// Pause after a failed accept: out of descriptors, mostly. Connections end meanwhile; without it the loop would only burn
/// the core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// At most one log line in this time about connections that cannot be taken.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// How long an idle connection may take to end in the protocol's way.
const GOODBYE: Duration = Duration::from_secs(5);
/// Connections over their client's limit that are told so at once; more are closed without a word.
const MAX_TOLD: usize = 64;
/// How long one of them is kept, so that the answer is not lost to a reset.
const TELLING: Duration = Duration::from_secs(1);

/// How connections are served.
#[derive(Clone)]
pub struct ServeOptions {
    /// Connections served at once; more wait in the kernel's line.
    pub max_connections: u32,
    /// Connections each client may have.
    pub clients: Clients,
    /// Addresses to which that does not apply: proxies, behind which there are many clients.
    pub is_proxy: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// TLS, if it ends here.
    pub tls: Option<Arc<Tls>>,
    /// Longest time for a TLS handshake and for a request's head.
    pub header_timeout: Duration,
    /// Longest time without a request.
    pub idle_timeout: Duration,
    /// Longest time in which a client takes less than the minimum rate of an answer.
    pub write_timeout: Duration,
    /// Fewest bytes a second.
    pub min_rate: u64,
    /// How long open requests may go on after `stop`.
    pub grace: Duration,
}

/// What every connection is served with.
struct Shared {
    router: Router,
    builder: auto::Builder<TokioExecutor>,
    options: ServeOptions,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
    /// Cancelled when the grace is over.
    over: CancellationToken,
}

/// Serves until `stop` turns true, then lets open requests end within the grace.
pub async fn serve(listener: Listener, router: Router, options: ServeOptions, mut stop: watch::Receiver<bool>) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The times of HTTP/1 are ours: hyper's would count a kept-alive connection's pause as a slow head.
    builder.http1().header_read_timeout(None).max_buf_size(READ_BUFFER_BYTES);
    // No pings: they queue behind what the client has not taken, and would end one that reads slowly and fast enough. Who is gone
    // is found by the judge, too: as stalled, or as idle.
    builder
        .http2()
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES)
        .max_concurrent_streams(H2_MAX_STREAMS)
        .max_header_list_size(H2_MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(H2_MAX_PENDING_RESETS)
        .max_local_error_reset_streams(H2_MAX_ERROR_RESETS);
    let bounds =
        Bounds { head: options.header_timeout, idle: options.idle_timeout, write: options.write_timeout, min_rate: options.min_rate };
    let connections = Arc::new(Semaphore::new(options.max_connections as usize));
    let told = Arc::new(Semaphore::new(MAX_TOLD));
    let shared = Arc::new(Shared { router, builder, options, bounds, stop: stop.clone(), over: CancellationToken::new() });
    let open = TaskTracker::new();
    if let Some(tls) = shared.options.tls.clone() {
        let stopped = shared.over.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(tls.follow_files()).await });
    }
    let mut said = None;
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&connections).acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let (accepted, permit) = tokio::select! {
            biased;
            _ = stop.wait_for(|stopping| *stopping) => break,
            accepted = accepted => match accepted {
                Some(both) => both,
                None => break,
            },
        };
        let (stream, peer) = match accepted {
            Ok(both) => both,
            Err(error) => {
                if said.is_none_or(|at: Instant| at.elapsed() > SAY_EVERY) {
                    said = Some(Instant::now());
                    warn!(%error, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = match peer.remote.filter(|remote| !(shared.options.is_proxy)(*remote)) {
            None => None,
            Some(remote) => match shared.options.clients.enter(remote) {
                Some(place) => Some(place),
                None => {
                    if shared.options.tls.is_none()
                        && let Ok(telling) = Arc::clone(&told).try_acquire_owned()
                    {
                        let limit = shared.options.clients.limit();
                        open.spawn(async move {
                            let _telling = telling;
                            let _ = timeout(TELLING, tell(stream, limit)).await;
                        });
                    }
                    continue;
                }
            },
        };
        let shared = Arc::clone(&shared);
        open.spawn(async move {
            let _held = (permit, place);
            connection(stream, peer, &shared).await;
        });
    }
    drop(listener);
    open.close();
    if timeout(shared.options.grace, open.wait()).await.is_err() {
        warn!(connections = open.len(), "grace is over, closing connections that are still open");
    }
    shared.over.cancel();
}

/// Says that this client has too many connections, without waiting for what it wants.
async fn tell(mut stream: Stream, limit: u32) {
    let detail = format!("this client has {limit} connections, which is the limit");
    if stream.write_all(&problem::wire_answer(Code::RateLimited, &detail, None)).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut dropped = [0; 1024];
        while stream.read(&mut dropped).await.is_ok_and(|n| n > 0) {}
    }
}

/// One connection from its first byte to its last.
async fn connection(stream: Stream, mut peer: Peer, shared: &Shared) {
    let (limit, mut stop) = (shared.options.header_timeout, shared.stop.clone());
    // Who has not even begun to speak is not waited for when we stop.
    macro_rules! in_time {
        ($beginning:expr) => {
            tokio::select! {
                begun = timeout(limit, $beginning) => match begun {
                    Ok(Some(begun)) => begun,
                    _ => return,
                },
                _ = stop.wait_for(|stopping| *stopping) => return,
            }
        };
    }
    match &shared.options.tls {
        None => {
            let (stream, version, replay) = in_time!(first_words(stream));
            converse(stream, version, replay, peer, shared).await;
        }
        Some(tls) => {
            let beginning = async {
                match tls.accept(stream).await {
                    Ok((stream, true)) => Some((stream, Version::HTTP_2, Bytes::new())),
                    Ok((stream, false)) => first_words(stream).await,
                    Err(error) => {
                        debug!(%error, "a TLS handshake failed");
                        None
                    }
                }
            };
            let (stream, version, replay) = in_time!(beginning);
            peer.is_tls = true;
            converse(stream, version, replay, peer, shared).await;
        }
    }
}

/// The version a client speaks, told by its first bytes, which are given back; `None` when it leaves before.
async fn first_words<S: AsyncRead + Unpin>(mut stream: S) -> Option<(S, Version, Bytes)> {
    let mut seen = BytesMut::with_capacity(512);
    loop {
        let before = seen.len();
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            // What was said is no whole request, and nobody waits for an answer to nothing.
            return (before > 0).then(|| (stream, Version::HTTP_11, seen.freeze()));
        }
        let compared = seen.len().min(H2_PREFACE.len());
        if seen[..compared] != H2_PREFACE[..compared] {
            return Some((stream, Version::HTTP_11, seen.freeze()));
        }
        if compared == H2_PREFACE.len() {
            return Some((stream, Version::HTTP_2, seen.freeze()));
        }
    }
}

/// Requests and answers until one side ends it.
async fn converse<S>(stream: S, version: Version, replay: Bytes, peer: Peer, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Abandon + Unpin + Send + 'static,
{
    let pulse = Arc::new(Pulse::new());
    let wire = Wire::new(stream, version, replay, Arc::clone(&pulse));
    let builder = shared.builder.clone();
    let builder = match version {
        Version::HTTP_2 => builder.http2_only(),
        _ => builder.http1_only(),
    };
    let service = {
        let (router, pulse) = (shared.router.clone(), Arc::clone(&pulse));
        service_fn(move |request| service::answer(router.clone(), peer, Arc::clone(&pulse), request))
    };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
    let mut stop = shared.stop.clone();
    let mut stopped = pin!(stop.wait_for(|stopping| *stopping));
    let mut over = pin!(shared.over.cancelled());
    let mut ticks = interval(shared.bounds.tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::default();
    let mut is_stopping = false;
    let mut goodbye: Option<Instant> = None;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "connection ended with an error");
                }
                return;
            }
            _ = stopped.as_mut(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = over.as_mut() => return,
            _ = ticks.tick() => match watch.judge(&pulse, &shared.bounds, pulse.now_ms()) {
                Verdict::Fine => goodbye = None,
                Verdict::Idle => match goodbye {
                    None => {
                        goodbye = Some(Instant::now());
                        connection.as_mut().graceful_shutdown();
                    }
                    Some(since) if since.elapsed() < GOODBYE => {}
                    Some(_) => return,
                },
                verdict @ (Verdict::SlowHead | Verdict::SlowReader) => {
                    debug!(?verdict, "closing a slow connection");
                    pulse.is_given_up.store(true, Relaxed);
                    return;
                }
            },
        }
    }
}
