//! How one operation is written down: a thin layer over utoipa's builders that knows our problems, headers and examples.
//!
//! Invariant: the status of a problem comes from the one table in `http/problem.rs`, never from here.

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Content, ContentBuilder, Header, Ref, RefOr, Required, Response, ResponseBuilder,
        path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem, PathsBuilder},
        request_body::RequestBody,
        schema::{AdditionalProperties, AllOfBuilder, Object, ObjectBuilder, Schema, SchemaType, Type},
    },
};

use crate::{
    domain::{Code, TaskCode},
    http::problem::Problem,
};

use super::examples;

/// A schema in its place.
pub(super) type Shape = RefOr<Schema>;

/// What problems are sent as.
pub(super) const PROBLEM_TYPE: &str = "application/problem+json";

/// One operation, growing.
pub(super) struct Op {
    method: HttpMethod,
    path: &'static str,
    inner: OperationBuilder,
    parameters: Vec<RefOr<Parameter>>,
    /// Status and code words of the problems it gives.
    problems: Vec<(u16, &'static str)>,
}

/// A header of an answer: its name, what it says, and a value.
pub(super) type HeaderDoc = (&'static str, &'static str, &'static str);

pub(super) const LOCATION: HeaderDoc =
    ("Location", "Where the upload's state is read.", "http://localhost:8080/v1/uploads/0198c0de-7a3b-7c4d-8e5f-60718293a4b5");
pub(super) const REPLAYED: HeaderDoc = ("Idempotency-Replayed", "`true` when this is the first answer again; absent otherwise.", "true");
pub(super) const APPLIED: HeaderDoc = ("Preference-Applied", "The wait that was granted, with 200 only.", "wait=10");
pub(super) const RETRY_AFTER: HeaderDoc = ("Retry-After", "Seconds after which asking again is worth it.", "5");
pub(super) const ETAG: HeaderDoc =
    ("ETag", "Strong tag; send it as `If-None-Match` and get 304 while nothing changed.", "\"9f86d081884c7d659a2feaa0c55ad015\"");
pub(super) const CACHE_STATE: HeaderDoc = ("Cache-Control", "May be kept, and asked about each time.", "no-cache");
pub(super) const CACHE_NEVER: HeaderDoc = ("Cache-Control", "Not to be kept.", "no-store");
pub(super) const CACHE_IMMUTABLE: HeaderDoc =
    ("Cache-Control", "Names are write-once: keep it for good, or until its upload's time is over.", "public, max-age=31536000, immutable");
/// Of answers that were held until something had ended.
pub(super) const WAITED: HeaderDoc = (
    "Server-Timing",
    "When the end was waited for: milliseconds this answer was held, and the times of the job that took longest, once it has ended.",
    "wait;dur=38.2, queue;dur=3.1, read;dur=0.8, decode;dur=21, cpu;dur=31.5, total;dur=34.4",
);
pub(super) const REQUEST_ID: HeaderDoc = ("X-Request-Id", "Id of this request, also in the log.", "0198c0de-7a3b-7c4d-8e5f-60718293a4b5");

/// Codes of tasks that failed because of the image, answered with 422.
pub(super) const IMAGE_FAULTS: &[TaskCode] =
    &[TaskCode::MalformedImage, TaskCode::TruncatedImage, TaskCode::UnsupportedFormat, TaskCode::TooManyPixels, TaskCode::LimitExceeded];

impl Op {
    pub(super) fn new(method: HttpMethod, path: &'static str, id: &str, tag: &str, summary: &str, description: &str) -> Self {
        let inner = OperationBuilder::new().operation_id(Some(id)).tag(tag).summary(Some(summary)).description(Some(description));
        Self { method, path, inner, parameters: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn param(mut self, parameter: impl Into<RefOr<Parameter>>) -> Self {
        self.parameters.push(parameter.into());
        self
    }

    pub(super) fn params(self, parameters: impl IntoIterator<Item = impl Into<RefOr<Parameter>>>) -> Self {
        parameters.into_iter().fold(self, Self::param)
    }

    pub(super) fn body(mut self, body: RequestBody) -> Self {
        self.inner = self.inner.request_body(Some(body));
        self
    }

    /// An answer that is no problem. Every answer carries the request's id.
    pub(super) fn answer(
        mut self,
        status: u16,
        description: &str,
        content: impl IntoIterator<Item = (&'static str, Content)>,
        headers: &[HeaderDoc],
    ) -> Self {
        let mut response = ResponseBuilder::new().description(description);
        for (media_type, content) in content {
            response = response.content(media_type, content);
        }
        self.inner = self.inner.response(status.to_string(), with_headers(response, headers));
        self
    }

    pub(super) fn problems(mut self, codes: &[Code]) -> Self {
        self.problems.extend(codes.iter().map(|code| (status_of(*code), code.as_str())));
        self
    }

    /// Codes of failed tasks, which answer with a status of their own here.
    pub(super) fn task_problems(mut self, status: u16, codes: &[TaskCode]) -> Self {
        self.problems.extend(codes.iter().map(|code| (status, code.as_str())));
        self
    }

    /// The operation into its path.
    pub(super) fn into_paths(mut self, paths: PathsBuilder) -> PathsBuilder {
        let mut statuses: Vec<u16> = self.problems.iter().map(|(status, _)| *status).collect();
        statuses.sort_unstable();
        statuses.dedup();
        for status in statuses {
            let mut codes: Vec<&str> = self.problems.iter().filter(|(s, _)| *s == status).map(|(_, code)| *code).collect();
            codes.sort_unstable();
            codes.dedup();
            self.inner = self.inner.response(status.to_string(), problem(status, &codes));
        }
        let mut operation: Operation = self.inner.build();
        // The builder takes no references.
        operation.parameters = Some(self.parameters).filter(|parameters| !parameters.is_empty());
        paths.path(self.path, PathItem::new(self.method, operation))
    }
}

pub(super) fn status_of(code: Code) -> u16 {
    Problem::new(code, "").members().status
}

fn with_headers(mut response: ResponseBuilder, headers: &[HeaderDoc]) -> Response {
    for (name, description, example) in headers.iter().chain([&REQUEST_ID]) {
        let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String));
        header.description = Some((*description).to_owned());
        header.example = Some((*example).into());
        response = response.header(*name, header);
    }
    response.build()
}

/// The answer of one status: the problem's members, with the codes that come with this status here.
fn problem(status: u16, codes: &[&'static str]) -> Response {
    let narrowed = ObjectBuilder::new()
        .property("status", ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([status])))
        .property("code", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes.iter().copied())));
    let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(narrowed);
    let examples =
        codes.iter().map(|code| (*code, RefOr::Ref(Ref::new(format!("#/components/examples/{}", examples::name_of(code, status))))));
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples);
    let words: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut headers = vec![CACHE_NEVER];
    match status {
        429 | 503 | 507 => headers.push(RETRY_AFTER),
        416 => headers.push(("Content-Range", "The file's size.", "bytes */4183920")),
        _ => {}
    }
    let response = ResponseBuilder::new().description(words.join(", ")).content(PROBLEM_TYPE, content.build());
    with_headers(response, &headers)
}

/// JSON of a type, with an example.
pub(super) fn json<T: ToSchema>(example: Value) -> [(&'static str, Content); 1] {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).example(Some(example));
    [("application/json", content.build())]
}

/// Text of some media type.
pub(super) fn text(media_type: &'static str) -> [(&'static str, Content); 1] {
    [(media_type, Content::new(Some(String::schema())))]
}

/// Bytes of these media types.
pub(super) fn bytes(media_types: &[&'static str]) -> Vec<(&'static str, Content)> {
    media_types.iter().map(|media_type| (*media_type, Content::new(Some(binary())))).collect()
}

/// Bytes, as OpenAPI 3.1 spells them and older tools understand them.
pub(super) fn binary() -> Object {
    let format = utoipa::openapi::SchemaFormat::Custom("binary".to_owned());
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build()
}

/// What a body is: these members, and no others.
pub(super) fn object() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
}

/// A string in a format.
pub(super) fn string(format: Option<&str>, pattern: Option<&str>) -> ObjectBuilder {
    let format = format.map(|format| utoipa::openapi::SchemaFormat::Custom(format.to_owned()));
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).format(format).pattern(pattern)
}

/// A parameter of a request.
pub(super) fn parameter(place: ParameterIn, name: &str, description: &str, schema: impl Into<Shape>, example: Option<Value>) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .example(example)
        .build()
}

/// An id in the path.
pub(super) fn id(name: &str, of: &str) -> Parameter {
    parameter(ParameterIn::Path, name, &format!("Id of the {of}."), string(Some("uuid"), None), Some(super::examples::IMAGE.into()))
}

/// The condition of reads that are polled.
pub(super) fn if_none_match() -> Parameter {
    parameter(
        ParameterIn::Header,
        "If-None-Match",
        "Answer with 304 if this is still the tag.",
        string(None, None),
        Some("\"9f86d081884c7d65\"".into()),
    )
}
