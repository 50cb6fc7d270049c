//! `GET /i/{image}` and `GET /i/{image}/{variant}[.{ext}]`: bytes out, with tags, ranges and no surprises.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::{
    catalog::Subject,
    deliver::{Conditions, Found, Selection, Servable, select},
    domain::{Code, ImageId, Timestamp, VariantName, media},
    store::StoreError,
};

use super::{
    App, RESOURCE_POLICY,
    absent::{absent, gone},
    base_url::BaseUrl,
    path::Segments,
    problem::Problem,
    query::NoQuery,
    server_timing::{SERVER_TIMING, server_timing},
    view,
};

/// Seconds until a variant in work is worth asking for again.
const ASK_AGAIN_S: u64 = 1;

/// As long as caches are told to keep anything, in seconds: a year.
const MAX_AGE_S: u64 = 31_536_000;

pub(super) fn routes() -> Router<App> {
    // Results are made to be embedded in pages of any site.
    let embeddable = SetResponseHeaderLayer::overriding(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    Router::new().route("/i/{image}", get(original)).route("/i/{image}/{variant}", get(variant)).layer(embeddable)
}

async fn original(
    State(site): State<App>,
    Segments(image): Segments<String>,
    _: NoQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let image: ImageId = image.parse().map_err(|_| Problem::not_found("image"))?;
    let begun = Instant::now();
    // Bytes that are not where the index says may be elsewhere by now: the second look asks the catalog.
    for last in [false, true] {
        let Found::Ready(servable) = site.deliver.original(image).await? else { break };
        if let Some(response) = send(&site, &servable, &method, &headers, begun).await? {
            return Ok(response);
        }
        site.deliver.forget(image, None);
        if last {
            return Err(lost(&site, &servable).await);
        }
    }
    Err(absent(&site, Subject::Image(image)).await)
}

async fn variant(
    State(site): State<App>,
    base: BaseUrl,
    Segments((image, file)): Segments<(String, String)>,
    _: NoQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let image: ImageId = image.parse().map_err(|_| Problem::not_found("image"))?;
    let (name, extension) = file.rsplit_once('.').map_or((file.as_str(), None), |(name, extension)| (name, Some(extension)));
    let name: VariantName = name.parse().map_err(|_| Problem::not_found("variant"))?;
    let begun = Instant::now();
    let mut found = site.deliver.variant(image, &name).await?;
    if let Found::Ready(servable) = &found {
        has_extension(&servable.format, extension)?;
        if let Some(response) = send(&site, servable, &method, &headers, begun).await? {
            return Ok(response);
        }
        // Not where the index says; the second look asks the catalog.
        site.deliver.forget(image, Some(&name));
        found = site.deliver.variant(image, &name).await?;
    }
    match found {
        Found::Ready(servable) => match send(&site, &servable, &method, &headers, begun).await? {
            Some(response) => Ok(response),
            None => {
                site.deliver.forget(image, Some(&name));
                Err(lost(&site, &servable).await)
            }
        },
        Found::InWork(job) => {
            let mut response = (StatusCode::ACCEPTED, Json(view::job(&job, &base.0))).into_response();
            let answer = response.headers_mut();
            answer.insert(header::RETRY_AFTER, HeaderValue::from(ASK_AGAIN_S));
            answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        Found::Failed(both) => {
            let (task, job) = *both;
            match task.failure.or(job.failure) {
                Some(failure) => Err(Problem::of_task(&failure, !job.state.is_final())),
                None => Err(Problem::new(Code::Gone, "the variant was cancelled")),
            }
        }
        Found::Missing => match absent(&site, Subject::Image(image)).await {
            problem if problem.code() == Code::Gone.as_str() => Err(problem),
            _ => Err(Problem::not_found("variant")),
        },
    }
}

/// What we acknowledged and cannot find. No 410: the file comes back with the same bytes sent again or with a backup, while
/// caches may keep a 410. No 404: the image is known. It is our fault, and retrying at once does not help: 500.
async fn lost(site: &App, servable: &Servable) -> Problem {
    site.deliver.note_missing(servable).await;
    Problem::new(Code::Internal, "the stored file is missing on the server; it is restored when the same original is uploaded again")
}

/// A variant has one format; its name with another extension is another, absent thing.
fn has_extension(format: &str, extension: Option<&str>) -> Result<(), Problem> {
    match extension {
        Some(extension) if media::of_extension(extension) != Some(format) => {
            Err(Problem::new(Code::NotFound, format!("this variant is {format}, ask for it with .{}", media::extension(format))))
        }
        _ => Ok(()),
    }
}

/// The answer for bytes that are there; `None` if they are not. `begun` is when they were first looked for.
async fn send(
    site: &App,
    servable: &Arc<Servable>,
    method: &Method,
    headers: &HeaderMap,
    begun: Instant,
) -> Result<Option<Response>, Problem> {
    let lookup = begun.elapsed();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let conditions = Conditions {
        if_match: text(header::IF_MATCH),
        if_none_match: text(header::IF_NONE_MATCH),
        range: text(header::RANGE).filter(|_| method == Method::GET),
        if_range: text(header::IF_RANGE),
    };
    let total = servable.bytes;
    let (status, range) = match select(conditions, &servable.etag, total) {
        Selection::Whole => (StatusCode::OK, None),
        Selection::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
        Selection::NotModified => (StatusCode::NOT_MODIFIED, None),
        Selection::PreconditionFailed => return Err(Problem::new(Code::PreconditionFailed, "the stored file has another tag")),
        Selection::NotSatisfiable => {
            let problem = Problem::new(Code::RangeNotSatisfiable, format!("the range lies outside the {total} bytes of the file"));
            return Err(problem.with_header(header::CONTENT_RANGE, number(format!("bytes */{total}"))));
        }
    };
    let mut answer = HeaderMap::new();
    answer.insert(header::ETAG, number(servable.etag.clone()));
    answer.insert(header::CACHE_CONTROL, cache_control(servable.expires_at, site.clock.now())?);
    answer.insert(SERVER_TIMING, server_timing(&[("lookup", lookup)]));
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    guard_headers(&mut answer);
    if status == StatusCode::NOT_MODIFIED {
        // Of a known length, an answer to HEAD would say that its length is 0, which is said of the file, and not to GET.
        return Ok(Some(
            (status, answer, Body::from_stream(futures_util::stream::empty::<std::io::Result<bytes::Bytes>>())).into_response(),
        ));
    }
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(media::media_type(&servable.format)));
    let name = servable.filename.as_deref().unwrap_or("image");
    let name = format!("{name}.{}", media::extension(&servable.format));
    // A drawing is a document that may hold scripts: it is saved, never opened here.
    let named = if servable.format == "svg" { disposition_as("attachment", &name) } else { disposition(&name) };
    answer.insert(header::CONTENT_DISPOSITION, named);
    let length = range.as_ref().map_or(total, |r| r.end - r.start);
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = &range {
        answer.insert(header::CONTENT_RANGE, number(format!("bytes {}-{}/{total}", range.start, range.end - 1)));
    }
    if method == Method::HEAD {
        return Ok(Some((status, answer, Body::empty()).into_response()));
    }
    match site.deliver.open(servable, range).await {
        Ok(read) => {
            answer.insert(SERVER_TIMING, server_timing(&[("lookup", lookup), ("open", begun.elapsed() - lookup)]));
            Ok(Some((status, answer, Body::from_stream(read.stream)).into_response()))
        }
        // Handled where it is known which image this is of.
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// For a year, which is for ever, or until it goes by itself.
///
/// # Errors
/// `gone` when it should have gone by now.
fn cache_control(expires_at: Option<Timestamp>, now: Timestamp) -> Result<HeaderValue, Problem> {
    let seconds = match expires_at {
        None => MAX_AGE_S,
        Some(at) if at <= now => return Err(gone("image")),
        Some(at) => at.since(now).as_secs().min(MAX_AGE_S),
    };
    Ok(number(format!("public, max-age={seconds}, immutable")))
}

fn number(text: String) -> HeaderValue {
    // Digits, quotes and ASCII words only, built above.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What every stored byte is sent with: never sniffed, never run.
pub(super) fn guard_headers(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
}

/// `inline` with a name: an ASCII fallback, and the whole of it in RFC 8187 encoding (RFC 6266, section 4.3).
pub(super) fn disposition(name: &str) -> HeaderValue {
    disposition_as("inline", name)
}

/// The same with `inline` or `attachment`.
fn disposition_as(kind: &str, name: &str) -> HeaderValue {
    let plain: String =
        name.chars().map(|c| if (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%') { c } else { '_' }).collect();
    let mut text = format!("{kind}; filename=\"{plain}\"");
    if plain != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            // attr-char of RFC 8187, section 3.2.1.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    number(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_header() {
        assert_eq!(disposition("cat.jpg"), "inline; filename=\"cat.jpg\"");
        assert_eq!(disposition_as("attachment", "cat.svg"), "attachment; filename=\"cat.svg\"");
        assert_eq!(
            disposition("a\"b\r\nSet-Cookie: x.jpg"),
            "inline; filename=\"a_b__Set-Cookie: x.jpg\"; filename*=UTF-8''a%22b%0D%0ASet-Cookie%3A%20x.jpg"
        );
        assert_eq!(disposition("猫.png"), "inline; filename=\"_.png\"; filename*=UTF-8''%E7%8C%AB.png");
    }

    #[test]
    fn caches_keep_nothing_longer_than_it_is_kept_here() {
        let told = |seconds: Option<i64>| {
            let at = seconds.map(|s| Timestamp::from_millis(1_000_000 + s * 1000));
            cache_control(at, Timestamp::from_millis(1_000_000)).map_err(|problem| problem.code())
        };
        let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
        assert_eq!((told(None), told(Some(1 << 40))), (Ok(for_ever.clone()), Ok(for_ever)));
        assert_eq!(told(Some(90)), Ok(HeaderValue::from_static("public, max-age=90, immutable")));
        assert_eq!((told(Some(0)), told(Some(-5))), (Err("gone"), Err("gone")));
    }

    #[test]
    fn a_variant_answers_to_its_own_extension_only() {
        assert!(has_extension("jpeg", Some("jpg")).is_ok());
        assert!(has_extension("jpeg", Some("jpeg")).is_ok());
        assert!(has_extension("jpeg", None).is_ok());
        assert!(has_extension("jpeg", Some("webp")).is_err());
        assert!(has_extension("jpeg", Some("exe")).is_err());
    }
}
