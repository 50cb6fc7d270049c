//! Operations that tell what became of uploads, images and jobs, and where the variants are.

use utoipa::openapi::{
    path::{HttpMethod, ParameterIn},
    schema::{ObjectBuilder, Type},
};

use crate::{
    domain::{Code, TaskCode},
    http::view::{Image, Job, Upload},
};

use super::{
    examples,
    operation::{
        CACHE_IMMUTABLE, CACHE_NEVER, CACHE_STATE, ETAG, HeaderDoc, IMAGE_FAULTS, Op, RETRY_AFTER, bytes, id, if_none_match, json,
        parameter, string,
    },
};

const RANGES: HeaderDoc = ("Accept-Ranges", "Single ranges are served.", "bytes");
const RANGE: HeaderDoc = ("Content-Range", "Which bytes these are.", "bytes 0-1023/4183920");
const NAME: HeaderDoc = ("Content-Disposition", "Names the file.", "inline; filename=\"cat.jpg\"");

pub(super) fn operations() -> Vec<Op> {
    let mut all = vec![upload(), image(), job()];
    for method in [HttpMethod::Get, HttpMethod::Head] {
        all.extend([original(method.clone()), variant(method)]);
    }
    all
}

fn upload() -> Op {
    let wait = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(60));
    let about = "State, images, variants and timings; read it as often as you like. With `wait` the answer is held until the upload is final, \
                 or that many seconds have passed.";
    Op::new(HttpMethod::Get, "/v1/uploads/{id}", "showUpload", "follow", "What became of an upload", about)
        .param(id("id", "upload"))
        .param(parameter(ParameterIn::Query, "wait", "Seconds to wait for the end.", wait, Some(10.into())))
        .params([if_none_match()])
        .answer(200, "The upload as it is now.", json::<Upload>(examples::upload(true)), &[ETAG, CACHE_STATE])
        .answer(304, "Not changed since.", [], &[ETAG, CACHE_STATE])
        .problems(&[Code::BadRequest, Code::BadOption, Code::NotFound, Code::Gone, Code::Internal, Code::Storage])
}

fn image() -> Op {
    // The pattern's name is that of the PUT on the same path.
    Op::new(HttpMethod::Get, "/v1/images/{name}", "showImage", "follow", "What is known of an image", "Size, format, hash and variants.")
        .param(id("name", "image"))
        .answer(200, "The image.", json::<Image>(examples::image()), &[])
        .problems(&[Code::BadOption, Code::NotFound, Code::Gone, Code::Internal, Code::Storage])
}

fn job() -> Op {
    let about = "Attempts, timings, peak memory, tasks and errors.";
    Op::new(HttpMethod::Get, "/v1/jobs/{id}", "showJob", "follow", "A job and its tasks", about)
        .param(id("id", "job"))
        .params([if_none_match()])
        .answer(200, "The job as it is now.", json::<Job>(examples::job(true)), &[ETAG, CACHE_STATE])
        .answer(304, "Not changed since.", [], &[ETAG, CACHE_STATE])
        .problems(&[Code::BadOption, Code::NotFound, Code::Gone, Code::Internal, Code::Storage])
}

fn original(method: HttpMethod) -> Op {
    let (operation, summary) =
        if method == HttpMethod::Get { ("fetchOriginal", "The original") } else { ("headOriginal", "The original's headers") };
    let op =
        Op::new(method.clone(), "/i/{image}", operation, "deliver", summary, "The bytes as they were sent.").param(id("image", "image"));
    served(op, &method, &["image/jpeg", "image/png", "image/webp", "image/gif"]).problems(&[
        Code::NotFound,
        Code::Gone,
        Code::BadOption,
        Code::Internal,
        Code::Storage,
    ])
}

fn variant(method: HttpMethod) -> Op {
    let is_get = method == HttpMethod::Get;
    let (operation, summary) = if is_get { ("fetchVariant", "A variant") } else { ("headVariant", "A variant's headers") };
    let about = "By name, with or without its extension. May be asked for at any time: while it is in work the answer is 202 with the job.";
    let pattern = string(None, Some(r"^[a-z0-9_-]{1,64}(\.[a-z]{1,5})?$"));
    let name =
        parameter(ParameterIn::Path, "variant", "Name of the variant, and its extension if you like.", pattern, Some("thumb.webp".into()));
    let op = Op::new(method.clone(), "/i/{image}/{variant}", operation, "deliver", summary, about).param(id("image", "image")).param(name);
    let waiting = if is_get { json::<Job>(examples::job(false)).into() } else { Vec::new() };
    served(op, &method, &["image/jpeg", "image/png", "image/webp"])
        .answer(202, "In work.", waiting, &[RETRY_AFTER, CACHE_NEVER])
        .problems(&[Code::NotFound, Code::Gone, Code::BadOption, Code::Internal, Code::Storage])
        .task_problems(410, &[TaskCode::Cancelled])
        .task_problems(422, IMAGE_FAULTS)
        .task_problems(500, &[TaskCode::Internal, TaskCode::Storage, TaskCode::Timeout])
        .task_problems(503, &[TaskCode::Internal, TaskCode::Storage, TaskCode::Timeout, TaskCode::Cancelled])
}

/// What delivery answers for stored bytes.
fn served(op: Op, method: &HttpMethod, media_types: &[&'static str]) -> Op {
    let is_get = *method == HttpMethod::Get;
    let content = || if is_get { bytes(media_types) } else { Vec::new() };
    let condition =
        |name: &str, what: &str, example: &str| parameter(ParameterIn::Header, name, what, string(None, None), Some(example.into()));
    let op = op
        .params([if_none_match(), condition("If-Match", "Answer with 412 unless this is the tag.", "\"9f86d081884c7d65\"")])
        .answer(200, "All of it.", content(), &[ETAG, CACHE_IMMUTABLE, RANGES, NAME])
        .answer(304, "Not changed since.", [], &[ETAG, CACHE_IMMUTABLE])
        .problems(&[Code::PreconditionFailed]);
    if !is_get {
        return op;
    }
    op.params([
        condition("Range", "One range of bytes; several are answered with everything.", "bytes=0-1023"),
        condition("If-Range", "The tag for which the range is meant; with another tag everything is sent.", "\"9f86d081884c7d65\""),
    ])
    .answer(206, "The range.", content(), &[ETAG, CACHE_IMMUTABLE, RANGE, NAME])
    .problems(&[Code::RangeNotSatisfiable])
}
