//! Pages of other origins, as `--cors-origins` lists them: what their browsers are told they may send and read.
//!
//! Telling a browser is no protection (`origin.rs` is); no credentials are ever asked for.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{Any, CorsLayer};

use super::origin::AllowedOrigins;

/// Browsers cap this themselves, at two hours or a day.
const MAX_AGE: Duration = Duration::from_secs(86_400);

/// What pages may set: ours, those of upload libraries, and those of resumable uploads (tus 1.0).
const REQUEST_HEADERS: [&str; 20] = [
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "if-range",
    "last-event-id",
    "prefer",
    "range",
    "repr-digest",
    "tus-resumable",
    "upload-checksum",
    "upload-concat",
    "upload-defer-length",
    "upload-length",
    "upload-metadata",
    "upload-offset",
    "x-http-method-override",
    "x-request-id",
    "x-requested-with",
];

/// What pages may read beside the few headers everyone may.
const RESPONSE_HEADERS: [&str; 20] = [
    "accept-ranges",
    "content-disposition",
    "content-range",
    "etag",
    "idempotency-replayed",
    "location",
    "preference-applied",
    "retry-after",
    "server-timing",
    "tus-checksum-algorithm",
    "tus-extension",
    "tus-max-size",
    "tus-resumable",
    "tus-version",
    "upload-expires",
    "upload-length",
    "upload-metadata",
    "upload-offset",
    "www-authenticate",
    "x-request-id",
];

/// The layer for these origins. With a list every answer says `Vary: Origin`, so that no cache hands one page's to another.
pub(crate) fn layer(origins: &AllowedOrigins) -> CorsLayer {
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let layer = CorsLayer::new()
        .allow_methods(methods)
        .allow_headers(REQUEST_HEADERS.map(HeaderName::from_static))
        .expose_headers(RESPONSE_HEADERS.map(HeaderName::from_static))
        .max_age(MAX_AGE);
    match origins {
        AllowedOrigins::Any => layer.allow_origin(Any).vary([] as [HeaderName; 0]),
        AllowedOrigins::Listed(listed) => {
            // Read as origins, hence visible ASCII.
            let values = listed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
            layer.allow_origin(values.collect::<Vec<_>>()).vary([header::ORIGIN])
        }
    }
}
