//! The service's own description: `/openapi.json`, made once from the types that answer, and `/docs`, which shows it.
//!
//! Operations are written down in `ingest.rs`, `follow.rs`, `lists.rs`, `batches.rs` and `operate.rs`; shapes come from `http/view/`, statuses from `http/problem.rs`,
//! options from the pipeline's table. Tests hold the document to the router.

mod batches;
mod examples;
mod follow;
mod ingest;
mod lists;
mod operate;
mod operation;
mod options;

use std::sync::OnceLock;

use axum::{Router, response::Response, routing::get};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};
use utoipa::{
    ToSchema,
    openapi::{
        ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder, RefOr, ServerBuilder,
        example::ExampleBuilder,
        schema::Schema,
        tag::{Tag, TagBuilder},
    },
};

use crate::deliver::{Conditions, Selection, etag, select};

use super::{App, view};

const PAGE: &str = include_str!("docs.html");

pub(super) fn routes() -> Router<App> {
    Router::new().route("/openapi.json", get(show)).route("/docs", get(docs))
}

/// The document as JSON with line breaks, for people.
#[must_use]
pub fn openapi_json() -> String {
    // Strings, numbers and lists of them: nothing that JSON cannot say.
    document().to_pretty_json().unwrap_or_default()
}

/// The same in short, made once.
fn compact() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| document().to_json().unwrap_or_default())
}

async fn show(headers: HeaderMap) -> Response {
    static TAG: OnceLock<String> = OnceLock::new();
    let text = compact();
    tagged(&headers, TAG.get_or_init(|| etag(&Sha256::digest(text).into())), "application/json", text)
}

async fn docs(headers: HeaderMap) -> Response {
    static TAG: OnceLock<String> = OnceLock::new();
    let mut response = tagged(&headers, TAG.get_or_init(|| etag(&Sha256::digest(PAGE).into())), "text/html; charset=utf-8", PAGE);
    if let Ok(policy) = HeaderValue::from_str(policy()) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The page's own script and style, by their hashes, and requests to where it came from; nothing else.
fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let hash = |tag: &str| {
            let inner = PAGE.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
            BASE64_STANDARD.encode(Sha256::digest(inner.map_or("", |(inner, _)| inner)))
        };
        format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash("script"),
            hash("style")
        )
    })
}

/// A fixed text, or 304 if the client has it.
fn tagged(headers: &HeaderMap, tag: &str, media_type: &'static str, text: &'static str) -> Response {
    let if_none_match = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = match select(Conditions { if_none_match, ..Conditions::default() }, tag, text.len() as u64) {
        Selection::NotModified => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        _ => {
            let mut response = Response::new(text.into());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
            response
        }
    };
    let answer = response.headers_mut();
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.insert(header::ETAG, tag);
    }
    response
}

/// The whole description.
fn document() -> OpenApi {
    let operations = ingest::operations()
        .into_iter()
        .chain(follow::operations())
        .chain(lists::operations())
        .chain(batches::operations())
        .chain(operate::operations());
    let paths = operations.fold(PathsBuilder::new(), |paths, operation| operation.into_paths(paths));
    let mut components = ComponentsBuilder::new().schemas_from_iter(
        [
            of::<view::Upload>(),
            of::<view::PlainUpload>(),
            of::<view::Image>(),
            of::<view::UploadImage>(),
            of::<view::Job>(),
            of::<view::UploadList>(),
            of::<view::ImageList>(),
            of::<view::JobList>(),
            of::<view::Batch>(),
            of::<view::BatchDryRun>(),
            of::<view::BatchList>(),
            of::<view::Steered>(),
            of::<view::PastJobList>(),
            of::<view::Event>(),
            of::<view::Variants>(),
            of::<view::Explained>(),
            of::<view::Stats>(),
            of::<view::Health>(),
            of::<view::Readiness>(),
            of::<view::Problem>(),
            of::<view::Rejected>(),
        ]
        .concat(),
    );
    for parameter in options::query_components() {
        components = components.parameter(parameter.name.clone(), parameter);
    }
    for (name, value) in examples::problems() {
        components = components.example(name, ExampleBuilder::new().value(Some(value)).build());
    }
    let about = format!("{ABOUT}\n\n## Options\n\n{}", options::grammar());
    let licence = LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).identifier(Some(env!("CARGO_PKG_LICENSE"))).build();
    let info = InfoBuilder::new().title("pixmill").version(env!("CARGO_PKG_VERSION")).description(Some(about)).license(Some(licence));
    // Relative to this document, so that it holds behind any prefix.
    let here = ServerBuilder::new().url(".").description(Some("Where this document came from")).build();
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([here]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(TAGS.iter().map(|(name, what)| tag(name, what))))
        .build()
}

/// A type's schema and those it refers to, by name.
fn of<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    all
}

fn tag(name: &str, what: &str) -> Tag {
    TagBuilder::new().name(name).description(Some(what)).build()
}

const TAGS: &[(&str, &str)] = &[
    ("ingest", "Images in: streamed, made durable, answered with 202 before any pixel is worked on."),
    ("follow", "What became of them: poll, wait with `?wait=S`, or listen to events; cancel and retry."),
    ("batches", "The same for many stored images at once, in the background."),
    ("deliver", "Originals and variants out: strong tags, single ranges, cached for good."),
    ("operate", "Health, figures, presets."),
    ("pages", "For people."),
];

const ABOUT: &str = "Self-hosted upload-and-process image service: stream in, answer 202, make variants in a bounded pool, fetch them.\n\n\
    JSON is snake_case, times are RFC 3339 in UTC, durations are `*_ms`. URLs in answers are absolute. HEAD is answered wherever GET is. Every answer \
    carries `X-Request-Id`.\n\n\
    Every refusal and failure is `application/problem+json` (RFC 9457) with a stable `code`; each operation lists the codes it gives. Any path \
    answers an unknown method with 405 `method_not_allowed` and `Allow`, an unknown path is 404 `not_found`, a host that is not served 403 `forbidden`, a request that names no host 400 \
    `bad_request`. `429`, `503` \
    and `507` carry `Retry-After`.\n\n\
    ```\ncurl -F file=@cat.jpg -F 'variant=thumb=rs:fill:320:320/f:webp' localhost:8080/v1/images\n```";

#[cfg(test)]
mod tests;
