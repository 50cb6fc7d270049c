//! Connections: accepted within a limit, with a time-out on the head, ended politely.
//!
//! `axum::serve` installs no timer, so that hyper's header time-out would never fire; hence hyper-util's builder.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router};
use http::Version;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tracing::{debug, warn};

use super::peer::Peer;

/// hyper reads ahead at most this much of a connection: what an upload holds in memory is then a constant.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/2: what one stream and one connection may have in flight unread.
const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const H2_MAX_STREAMS: u32 = 100;
const H2_MAX_HEADER_LIST_BYTES: u32 = 16 << 10;
const H2_MAX_PENDING_RESETS: usize = 20;

/// The version a client speaks, told by its first bytes, which stay in the socket; `None` when it leaves before.
async fn first_words(stream: &TcpStream) -> Option<Version> {
    let mut seen = [0; H2_PREFACE.len()];
    loop {
        let n = stream.peek(&mut seen).await.ok().filter(|n| *n > 0)?;
        if seen[..n] != H2_PREFACE[..n] {
            return Some(Version::HTTP_11);
        }
        if n == H2_PREFACE.len() {
            return Some(Version::HTTP_2);
        }
        // Peeking does not wait for more than what is there; the rest of a preface is rarely late.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How connections are served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Connections served at once; more wait in the kernel's line.
    pub max_connections: u32,
    /// Longest wait for a request's head.
    pub header_timeout: Duration,
    /// How long open requests may go on after `stop`.
    pub grace: Duration,
}

/// Serves until `stop` turns true, then lets open requests end within the grace.
pub async fn serve(listener: TcpListener, router: Router, options: ServeOptions, mut stop: watch::Receiver<bool>) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(options.header_timeout).max_buf_size(READ_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(H2_MAX_STREAMS)
        .max_header_list_size(H2_MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(H2_MAX_PENDING_RESETS);
    let connections = Arc::new(Semaphore::new(options.max_connections as usize));
    let graceful = GracefulShutdown::new();
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
        let (stream, from) = match accepted {
            Ok((stream, from)) => (stream, from),
            Err(error) => {
                // Out of descriptors, mostly: waiting lets connections end; a loop without a pause would only burn the core.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let peer = Peer { remote: Some(from.ip()), local: stream.local_addr().ok(), is_tls: false };
        let service = TowerToHyperService::new(router.clone().layer(Extension(peer)));
        let (builder, watcher, timeout) = (builder.clone(), graceful.watcher(), options.header_timeout);
        tokio::spawn(async move {
            let _permit = permit;
            // hyper's own look at the first bytes has no time-out: a connection that says nothing would stay for ever.
            let Ok(Some(version)) = tokio::time::timeout(timeout, first_words(&stream)).await else { return };
            let builder = match version {
                Version::HTTP_2 => builder.http2_only(),
                _ => builder.http1_only(),
            };
            let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
            if let Err(error) = connection.await {
                debug!(%error, "connection ended with an error");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(options.grace, graceful.shutdown()).await.is_err() {
        warn!("grace is over, closing connections that are still open");
    }
}
