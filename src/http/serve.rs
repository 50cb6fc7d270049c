//! Connections: accepted within a limit, with a time-out on the head, ended politely.
//!
//! `axum::serve` installs no timer, so that hyper's header time-out would never fire; hence hyper-util's builder.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tracing::{debug, warn};

/// hyper reads ahead at most this much of a connection: what an upload holds in memory is then a constant.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/2: what one stream and one connection may have in flight unread.
const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
const H2_MAX_STREAMS: u32 = 100;
const H2_MAX_HEADER_LIST_BYTES: u32 = 16 << 10;
const H2_MAX_PENDING_RESETS: usize = 20;

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
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(READ_BUFFER_BYTES)
        .pipeline_flush(true)
        .half_close(true);
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
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, mostly: waiting lets connections end; a loop without a pause would only burn the core.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection ended with an error");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(options.grace, graceful.shutdown()).await.is_err() {
        warn!("grace is over, closing connections that are still open");
    }
}
