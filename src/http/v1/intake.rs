//! What every endpoint that takes a body does first: refuse cheaply, then stage what comes, and let refusals arrive.

use std::{
    net::IpAddr,
    sync::{Arc, Once},
};

use axum::extract::Request;
use futures_util::TryStreamExt as _;
use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, header, request::Parts};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    domain::{Code, Origin, Refusal},
    http::{App, Place, body, client, client_network, form, peer::Peer, problem::Problem, request_id, room::DiskClaim},
    ingest::{self, BodyStream, FileOutcome, Form, UploadRequest, receive_form, receive_raw},
    order::Client,
};

/// Content types of a raw body, beside `image/*`; a body that declares nothing counts as this.
const RAW_TYPE: &str = "application/octet-stream";

/// Longest `Idempotency-Key`.
const MAX_KEY_BYTES: usize = 255;

/// A staged request.
pub(super) struct Intake {
    /// Files in the order they came.
    pub(super) files: Vec<FileOutcome>,
    /// Form fields, then query pairs.
    pub(super) fields: Vec<(String, String)>,
    /// The client's key against sending twice.
    pub(super) idempotency_key: Option<String>,
    /// With whom it shares the pool.
    pub(super) client: Client,
    /// The request this is.
    pub(super) origin: Option<Origin>,
    /// Held until the request is answered.
    _admission: Admission,
}

/// What an upload holds while it is received: its place among all, and among its client's.
struct Admission {
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

/// Admits the request and stages its body.
///
/// # Errors
/// A problem, ready to be sent. What is left of the body is not looked at: over HTTP/1 a client that waits for 100 Continue
/// is never asked for it.
///
/// # Cancel safety
/// Dropped at any point it leaves no file.
pub(super) async fn take_in(site: &App, request: Request, raw_name: Option<&str>) -> Result<Intake, Problem> {
    let (head, body) = request.into_parts();
    let claim = DiskClaim::new(site);
    let mut body = counted(body::stream(body, site.pace), &claim);
    let admission = admit(site, &head)?;
    let idempotency_key = idempotency_key(&head.headers)?;
    let fields = query_pairs(&head.uri)?;
    // What the query says wrongly need not wait for the body.
    check_ttl(site, &form::read(&fields, site.named(), None)?)?;
    claim.declare(declared_bytes(&head.headers)).await?;
    let mut form = receive(site, &head.headers, &head.method, &mut body, raw_name).await?;
    form.fields.extend(fields);
    Ok(Intake {
        files: form.files,
        fields: form.fields,
        idempotency_key,
        client: pool_client(&head.extensions),
        origin: request_id::origin(&head.headers, &head.extensions),
        _admission: admission,
    })
}

/// Whether what is asked for may be kept for as long as it asks.
///
/// # Errors
/// `bad_option` with both times.
pub(super) fn check_ttl(site: &App, wanted: &UploadRequest) -> Result<(), Problem> {
    match (wanted.ttl, site.max_ttl) {
        (Some(ttl), Some(limit)) => Ok(form::check_ttl(ttl, limit)?),
        _ => Ok(()),
    }
}

/// Whose jobs a request brings, as far as fairness goes: there are no keys yet, so by address.
pub(super) fn pool_client(extensions: &Extensions) -> Client {
    client::client_of(extensions).map_or(Client::Local, |address| Client::Address(client_network(address)))
}

/// The client's key against sending twice.
///
/// # Errors
/// `bad_request` when it is no key.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().map(|text| text.trim().trim_matches('"')).filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES);
    let key = key
        .ok_or_else(|| Problem::new(Code::BadRequest, format!("Idempotency-Key must be 1 to {MAX_KEY_BYTES} visible ASCII characters")))?;
    Ok(Some(key.to_owned()))
}

/// The body, whose bytes are told to the claim as they come.
fn counted(body: BodyStream, claim: &Arc<DiskClaim>) -> BodyStream {
    let claim = Arc::clone(claim);
    Box::pin(body.inspect_ok(move |chunk| claim.arrived(chunk.len())))
}

fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok())
}

/// Whether more work may be queued.
///
/// # Errors
/// `shutting_down` or `queue_full`.
pub(super) fn admit_work(site: &App) -> Result<(), Problem> {
    if site.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    if site.queue.is_full() {
        return Err(Problem::new(
            Code::QueueFull,
            format!("{} jobs are waiting, limit is {}", site.queue.queued(), site.queue.max_queued_jobs()),
        ));
    }
    Ok(())
}

/// What can be told without the body.
fn admit_head(site: &App, headers: &HeaderMap) -> Result<(), Problem> {
    if let Some(expectation) = headers.get(header::EXPECT).filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        let detail = format!("expectation {expectation:?} cannot be met, only 100-continue can");
        return Err(Problem::new(Code::ExpectationFailed, detail));
    }
    admit_work(site)?;
    let limit = site.limits.max_request_bytes;
    if let Some(bytes) = declared_bytes(headers).filter(|bytes| *bytes > limit) {
        let detail = format!("the request has {bytes} bytes, limit is {limit}");
        return Err(Refusal::over(Code::TooLarge, detail, limit, Some(bytes)).into());
    }
    Ok(())
}

fn admit(site: &App, head: &Parts) -> Result<Admission, Problem> {
    admit_head(site, &head.headers)?;
    let place = match client::client_of(&head.extensions) {
        None => None,
        Some(address) => Some(site.uploads_by_client.enter(address).ok_or_else(|| {
            tell_of_proxy(head, address);
            let limit = site.uploads_by_client.limit();
            Problem::new(Code::RateLimited, format!("{limit} uploads of this client are being received, which is the limit"))
        })?),
    };
    let permit = site.uploads.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::QueueFull, format!("{} uploads are being received, which is the limit", site.max_uploads_in_flight))
    })?;
    Ok(Admission { _permit: permit, _place: place })
}

/// Says once that a client at its limit may be a proxy with many behind it: nobody else would find out why.
fn tell_of_proxy(head: &Parts, counted_as: IpAddr) {
    static SAID: Once = Once::new();
    let remote = head.extensions.get::<Peer>().and_then(|peer| peer.remote);
    if is_perhaps_proxy(&head.headers, remote, counted_as) {
        SAID.call_once(|| {
            tracing::warn!(address = %counted_as, "a client is at its limit of uploads that seems to be a proxy; --trusted-proxies would count its clients apart");
        });
    }
}

/// Whether the connection's own address is counted although somebody says on whose behalf it asks.
fn is_perhaps_proxy(headers: &HeaderMap, remote: Option<IpAddr>, counted_as: IpAddr) -> bool {
    let speaks_for_others = headers.contains_key(header::FORWARDED) || headers.contains_key("x-forwarded-for");
    speaks_for_others && remote.is_some_and(|remote| remote.to_canonical() == counted_as.to_canonical())
}

async fn receive(site: &App, headers: &HeaderMap, method: &Method, body: &mut BodyStream, raw_name: Option<&str>) -> Result<Form, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = content_type.and_then(ingest::essence);
    if method == Method::POST && essence.as_deref() == Some("multipart/form-data") {
        return Ok(receive_form(content_type.unwrap_or_default(), body, &site.limits, &site.staging).await?);
    }
    // A PUT takes bytes of any declared type: what they are is told by the bytes.
    let is_raw = method == Method::PUT || essence.as_deref().is_some_and(|e| e == RAW_TYPE || e.starts_with("image/"));
    if !is_raw {
        let found = essence.as_deref().unwrap_or("none");
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("content type is {found}; multipart/form-data, image/* and {RAW_TYPE} are allowed"),
        ));
    }
    let digest = headers.get("repr-digest").map(HeaderValue::as_bytes);
    let file = receive_raw(body, raw_name, digest, &site.limits, &site.staging).await?;
    Ok(Form { files: vec![FileOutcome::Staged(file)], fields: Vec::new() })
}

/// Decodes `?name=value&…`.
///
/// # Errors
/// `bad_request` when it is no query in the form encoding.
pub(crate) fn query_pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let axum::extract::Query(pairs) = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Problem::new(Code::BadRequest, "the query is not name=value pairs in UTF-8"))?;
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_is_not_trusted_is_told_by_its_headers() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (proxy, client) = (ip("127.0.0.1"), ip("192.0.2.1"));
        for (name, remote, counted_as, found) in [
            ("x-forwarded-for", Some(proxy), proxy, true),
            ("forwarded", Some(ip("::ffff:127.0.0.1")), proxy, true),
            ("x-forwarded-for", Some(proxy), client, false),
            ("accept", Some(proxy), proxy, false),
            ("x-forwarded-for", None, client, false),
        ] {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static("192.0.2.1"))]);
            assert_eq!(is_perhaps_proxy(&headers, remote, counted_as), found, "{name} from {remote:?} counted as {counted_as}");
        }
    }
}
