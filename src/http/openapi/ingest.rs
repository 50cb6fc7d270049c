//! Operations that take images in.

use serde_json::json;
use utoipa::openapi::{
    Content, ContentBuilder, Required,
    path::{HttpMethod, Parameter, ParameterIn},
    request_body::{RequestBody, RequestBodyBuilder},
    schema::{Object, ObjectBuilder, Type},
};

use crate::{
    domain::{Code, TaskCode},
    http::view::{PlainUpload, Upload, Variants},
};

use super::{
    examples,
    operation::{APPLIED, CACHE_NEVER, IMAGE_FAULTS, LOCATION, Op, REPLAYED, WAITED, binary, bytes, id, json, object, parameter, string},
    options,
};

const TAG: &str = "ingest";

/// What any request with a body may be answered with.
const ANY_BODY: &[Code] = &[
    Code::EmptyFile,
    Code::BadOption,
    Code::BadRequest,
    Code::DigestMismatch,
    Code::Forbidden,
    Code::TooSlow,
    Code::TooLarge,
    Code::UnsupportedFormat,
    Code::ExpectationFailed,
    Code::TooManyPixels,
    Code::TooManyFrames,
    Code::MalformedImage,
    Code::TooCostly,
    Code::Internal,
    Code::QueueFull,
    Code::ShuttingDown,
    Code::DiskFull,
    Code::Storage,
];

/// What forms add.
const FORMS: &[Code] = &[Code::MalformedMultipart, Code::NoFile, Code::TooManyFiles, Code::TooManyFields, Code::UnsupportedMediaType];

/// What storing adds.
const STORING: &[Code] = &[Code::IdempotencyConflict, Code::Gone];

pub(super) fn operations() -> Vec<Op> {
    vec![
        upload(),
        upload_named(),
        more_variants(),
        process(),
        plain("/upload-image/", "uploadImagePlain"),
        plain("/upload-image", "uploadImagePlainNoSlash"),
    ]
}

fn upload() -> Op {
    let about = "A form with files and options in any order (`curl -F`), or one file as a raw body with options in the query. All of a request \
                 commits together; the answer is sent when every accepted file is on disk and its work is queued. A bad file does not cost \
                 the good ones: it is listed in `rejected`. When none was taken, the answer is the problem of the only file, or of the first.";
    let op = Op::new(HttpMethod::Post, "/v1/images", "uploadImages", TAG, "Take images in", about);
    stored(op.params(headers()).params(options::query()).body(body(options::form(false)))).problems(FORMS)
}

fn upload_named() -> Op {
    let about = "One file as a raw body of any declared type or none (`curl -T photo.jpg …/v1/images/`).";
    let name = parameter(ParameterIn::Path, "name", "The file's name.", string(None, None).min_length(Some(1)), Some("photo.jpg".into()));
    let op = Op::new(HttpMethod::Put, "/v1/images/{name}", "uploadImage", TAG, "Take one image in under its name", about);
    let body = raw(RequestBodyBuilder::new(), &["application/octet-stream", "image/*"]);
    stored(op.param(name).params(headers()).params(options::query()).body(body)).problems(&[Code::NotFound])
}

fn stored(op: Op) -> Op {
    op.answer(202, "Taken in; work goes on.", json::<Upload>(examples::upload(false)), &[LOCATION, REPLAYED, CACHE_NEVER])
        .answer(
            200,
            "With `Prefer: wait=N`: taken in and finished.",
            json::<Upload>(examples::upload(true)),
            &[LOCATION, REPLAYED, APPLIED, WAITED, CACHE_NEVER],
        )
        .problems(ANY_BODY)
        .problems(STORING)
}

fn more_variants() -> Op {
    let about = "A job of its own makes them, from the stored original. A name is written once: with the options it has it is no news, with others it is \
                 409 `variant_exists`, and nothing of the request is done. What exists already, for this image or another of the same bytes, is not made again.";
    let variants = ObjectBuilder::new()
        .schema_type(Type::Object)
        .min_properties(Some(1))
        .max_properties(Some(32))
        .property_names(Some(string(None, Some("^[a-z0-9_-]{1,64}$"))))
        .additional_properties(Some(string(None, None)))
        .description(Some("Options by name, 32 at most."));
    let priority = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["high", "normal", "low"]));
    let asked = object().property("variants", variants).required("variants").property("priority", priority);
    let example = json!({ "variants": { "thumb": "rs:fill:320:320/f:webp" }, "priority": "low" });
    let content = ContentBuilder::new().schema(Some(asked)).example(Some(example)).build();
    let body = RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True)).build();
    // The pattern's name is that of the PUT on the path above.
    Op::new(HttpMethod::Post, "/v1/images/{name}/variants", "addVariants", TAG, "More variants of a stored image", about)
        .param(id("name", "image"))
        .body(body)
        .answer(202, "Recorded; work goes on.", json::<Variants>(examples::variants()), &[LOCATION, CACHE_NEVER])
        .problems(&[Code::BadOption, Code::BadRequest, Code::Forbidden, Code::NotFound, Code::Gone, Code::TooSlow, Code::VariantExists])
        .problems(&[Code::TooLarge, Code::UnsupportedMediaType, Code::UnsupportedFormat, Code::TooManyPixels, Code::TooManyFrames])
        .problems(&[
            Code::MalformedImage,
            Code::TooCostly,
            Code::Internal,
            Code::QueueFull,
            Code::ShuttingDown,
            Code::DiskFull,
            Code::Storage,
        ])
}

fn process() -> Op {
    let about =
        "One file in, one variant out, nothing is stored. It waits for a core in a bounded line. `Server-Timing` says where the time went.";
    let timing =
        ("Server-Timing", "Stage times in milliseconds.", "queue;dur=0.1, read;dur=0.2, decode;dur=21, transform;dur=1.9, encode;dur=4.2");
    let name = ("Content-Disposition", "Names the file.", "inline; filename=\"cat.webp\"");
    Op::new(HttpMethod::Post, "/v1/process", "processImage", TAG, "Make one variant and answer with it", about)
        .params([repr_digest()])
        .params(options::query())
        .body(body(options::form(true)))
        .answer(
            200,
            "The variant.",
            bytes(&["image/jpeg", "image/png", "image/webp", "image/avif", "image/gif"]),
            &[timing, name, CACHE_NEVER],
        )
        .problems(ANY_BODY)
        .problems(FORMS)
        .task_problems(422, IMAGE_FAULTS)
        .task_problems(410, &[TaskCode::Cancelled])
        .task_problems(500, &[TaskCode::Internal, TaskCode::Storage])
}

fn plain(path: &'static str, id: &str) -> Op {
    let about = "The route of FastAPI-style clients: the same as `POST /v1/images`, with their field names and their answer. `process_type` names a preset.";
    let mut form = options::form(true);
    form.properties.insert("process_type".to_owned(), preset_name().into());
    if let Some(pattern) = form.property_names.as_deref_mut().and_then(|names| match names {
        utoipa::openapi::schema::Schema::Object(names) => names.pattern.as_mut(),
        _ => None,
    }) {
        *pattern = pattern.replacen("^(file|", "^(file|process_type|", 1);
    }
    Op::new(HttpMethod::Post, path, id, TAG, "Take one image in, as FastAPI-style clients do", about)
        .params([idempotency_key(), repr_digest()])
        .param(parameter(ParameterIn::Query, "process_type", "The same as `preset`.", preset_name(), None))
        .params(options::query())
        .body(body(form))
        .answer(202, "Taken in; work goes on.", json::<PlainUpload>(examples::plain_upload()), &[LOCATION, REPLAYED])
        .problems(ANY_BODY)
        .problems(FORMS)
        .problems(STORING)
}

fn preset_name() -> ObjectBuilder {
    string(None, None).description(Some("A preset: `thumbnail`, `filter`, or one of the service's own.")).examples([json!("thumbnail")])
}

/// A form, or a raw body.
fn body(form: Object) -> RequestBody {
    let form = ContentBuilder::new().schema(Some(form)).build();
    raw(RequestBodyBuilder::new().content("multipart/form-data", form), &["application/octet-stream", "image/*"])
}

fn raw(mut body: RequestBodyBuilder, media_types: &[&str]) -> RequestBody {
    for media_type in media_types {
        body = body.content(*media_type, Content::new(Some(binary())));
    }
    body.required(Some(Required::True)).build()
}

fn headers() -> [Parameter; 3] {
    let wait = "`wait=N`: answer with 200 and the final state if it is reached in N seconds (60 at most), else with 202 (RFC 7240).";
    [idempotency_key(), parameter(ParameterIn::Header, "Prefer", wait, string(None, None), Some("wait=10".into())), repr_digest()]
}

fn idempotency_key() -> Parameter {
    let what = "The same key with the same files and options gets the first answer again; with others, 409.";
    let schema =
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)).pattern(Some(r"^[\t -~]*[!#-~][\t -~]*$"));
    parameter(ParameterIn::Header, "Idempotency-Key", what, schema, Some("order-4711".into()))
}

fn repr_digest() -> Parameter {
    let what = "SHA-256 of a raw body, checked (RFC 9530); other algorithms are not looked at. In a form it may be a header of a part.";
    let schema = string(None, None);
    parameter(ParameterIn::Header, "Repr-Digest", what, schema, Some("sha-256=:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=:".into()))
}
