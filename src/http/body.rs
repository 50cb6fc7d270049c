//! Request bodies on their way in: idle time-out, errors told apart, and the drain that lets a refusal arrive.

use std::time::Duration;

use axum::body::Body;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use tower_http::timeout::{TimeoutBody, TimeoutError};

use crate::ingest::{BodyError, BodyStream};

/// After a refusal the rest of the body is read and dropped, so that a client that writes before it reads still
/// sees the answer (closing with unread data would reset the connection): this long at most in all …
const DRAIN_TOTAL: Duration = Duration::from_secs(30);
/// … and this long without a byte.
const DRAIN_IDLE: Duration = Duration::from_secs(5);

/// The body as ingest takes it.
pub(crate) fn stream(body: Body, idle: Duration) -> BodyStream {
    let timed = TimeoutBody::new(idle, body);
    let chunks = timed.into_data_stream().map_err(|error| if is_timeout(&*error) { BodyError::TooSlow } else { BodyError::Aborted });
    Box::pin(chunks)
}

fn is_timeout(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<TimeoutError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Reads and drops what is left, in the background, for a bounded time.
pub(crate) fn drain(mut rest: BodyStream) {
    tokio::spawn(async move {
        let reading = async { while let Ok(Some(Ok(_))) = tokio::time::timeout(DRAIN_IDLE, rest.next()).await {} };
        let _ = tokio::time::timeout(DRAIN_TOTAL, reading).await;
    });
}
