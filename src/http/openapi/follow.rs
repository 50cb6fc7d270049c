//! Operations that tell what became of uploads, images and jobs, and where the variants are.

use utoipa::openapi::{
    Content,
    path::{HttpMethod, ParameterIn},
    schema::{Object, ObjectBuilder, Type},
};

use crate::{
    domain::{Code, TaskCode, media},
    http::view::{Explained, Image, Job, Upload},
};

use super::{
    examples,
    operation::{
        CACHE_IMMUTABLE, CACHE_NEVER, CACHE_STATE, ETAG, HeaderDoc, IMAGE_FAULTS, Op, RETRY_AFTER, WAITED, bytes, id, if_none_match, json,
        parameter, string,
    },
    options,
};

/// What a stored image may be refused for by other limits than it was taken in under.
const IMAGE_REFUSED: &[Code] = &[Code::TooManyPixels, Code::TooManyFrames, Code::MalformedImage, Code::UnsupportedFormat, Code::TooCostly];

const RANGES: HeaderDoc = ("Accept-Ranges", "Single ranges are served.", "bytes");
const RANGE: HeaderDoc = ("Content-Range", "Which bytes these are.", "bytes 0-1023/4183920");
const SERVED: HeaderDoc =
    ("Server-Timing", "Milliseconds until it was found, and until its first bytes were there.", "lookup;dur=0.003, open;dur=0.12");
const NAME: HeaderDoc = ("Content-Disposition", "Names the file.", "inline; filename=\"cat.jpg\"");

pub(super) fn operations() -> Vec<Op> {
    let mut all = vec![events_of_upload(), events(), upload(), image(), job(), cancel_job(), retry_job(), explain()];
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
        .answer(200, "The upload as it is now.", json::<Upload>(examples::upload(true)), &[ETAG, CACHE_STATE, WAITED])
        .answer(304, "Not changed since.", [], &[ETAG, CACHE_STATE, WAITED])
        .problems(&[Code::BadRequest, Code::BadOption, Code::NotFound, Code::Gone, Code::Internal, Code::Storage])
}

fn image() -> Op {
    // The pattern's name is that of the PUT on the same path.
    Op::new(HttpMethod::Get, "/v1/images/{name}", "showImage", "follow", "What is known of an image", "Size, format, hash, variants, and once a job of it has ended what it is: BlurHash, ThumbHash, colours, and what its Exif block says of how it was taken.")
        .param(id("name", "image"))
        .params([if_none_match()])
        .answer(200, "The image.", json::<Image>(examples::image()), &[ETAG, CACHE_STATE])
        .answer(304, "Not changed since.", [], &[ETAG, CACHE_STATE])
        .problems(&[Code::BadOption, Code::NotFound, Code::Gone, Code::Internal, Code::Storage])
}

fn explain() -> Op {
    let about = "The options as they were understood, each in its one canonical spelling; with `image`, what would be done with it, in which \
                 memory, and the size and format of each result. Nothing is decoded and nothing is kept.";
    Op::new(HttpMethod::Get, "/v1/explain", "explain", "follow", "What options come to, without doing it", about)
        .param(parameter(ParameterIn::Query, "image", "Id of a stored image.", string(Some("uuid"), None), None))
        .params(options::query())
        .answer(200, "What it comes to.", json::<Explained>(examples::explained()), &[])
        .problems(IMAGE_REFUSED)
        .problems(&[Code::BadOption, Code::BadRequest, Code::NotFound, Code::Gone, Code::Internal, Code::Storage])
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

/// What both streams have in common.
const STREAM: &str = "Server-sent events; the data of each is an `Event` as JSON. Names: `upload.received`, `job.started`, `task.completed`, `task.failed`, \
     `job.retrying`, `job.completed` (some of it completed, at least), `job.failed`, `job.cancelled`, `upload.completed` (all its jobs have ended), \
     `upload.deleted`; among all events also `batch.progress` (once a second at most) and `batch.completed` (it has ended, `status` says how). A comment is sent every 15 seconds. Who comes back with `Last-Event-ID` gets what it missed; where that is not known any more, or a \
     listener was too slow, `reset` comes with how things are now. An event may be told again that `reset` shows already.";

fn events_of_upload() -> Op {
    let about = format!(
        "{STREAM} Without `Last-Event-ID` the first is `reset`, whose data is the upload as `GET /v1/uploads/{{id}}` gives it. The stream ends with the \
         upload; asking again then is answered with 204, after which browsers stop asking."
    );
    let op = Op::new(HttpMethod::Get, "/v1/uploads/{id}/events", "uploadEvents", "follow", "What happens to an upload", &about);
    stream(op.param(id("id", "upload")))
        .answer(204, "The upload is final, and nothing has happened since.", [], &[])
        .problems(&[Code::NotFound, Code::Gone])
}

fn events() -> Op {
    let about = format!(
        "{STREAM} The data of `reset` is the first part of `GET /v1/uploads`. Without `Last-Event-ID` it begins with what happens next."
    );
    stream(Op::new(HttpMethod::Get, "/v1/events", "events", "follow", "What happens to all uploads", &about))
}

fn stream(op: Op) -> Op {
    let last = "The id of the last event that was seen; browsers send it by themselves.";
    op.param(parameter(ParameterIn::Header, "Last-Event-ID", last, string(None, None), Some("1795766503004-4711".into())))
        .answer(200, "Events, until the service stops.", [("text/event-stream", Content::new(Some(one_event())))], &[CACHE_NEVER])
        .problems(&[Code::BadOption, Code::Internal, Code::Storage, Code::QueueFull])
}

/// The fields of each event of a stream (WHATWG HTML, 9.2.5).
fn one_event() -> Object {
    let field = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("id", field("For `Last-Event-ID`."))
        .property("event", field("Its name."))
        .property("data", field("JSON."))
        .property("retry", field("Milliseconds after which to come back."))
        .description(Some("Each event of the stream."))
        .build()
}

fn cancel_job() -> Op {
    let about = "One that waits ends at once. Of one that runs the state is told at once, and its core is free when the codec next looks. What had \
                 completed stays. A job that has ended stays as it is, and the answer is the same.";
    Op::new(HttpMethod::Delete, "/v1/jobs/{id}", "cancelJob", "follow", "Cancel a job", about)
        .param(id("id", "job"))
        .answer(204, "It has ended.", [], &[])
        .problems(&[Code::BadOption, Code::Forbidden, Code::NotFound, Code::Gone, Code::Internal, Code::DiskFull, Code::Storage])
}

fn retry_job() -> Op {
    let about = "Queues the failed tasks of a job that has ended, whatever they failed for, with all their attempts before them; what had \
                 completed stays. The upload is `processing` again.";
    let location = ("Location", "Where the job's state is read.", "http://localhost:8080/v1/jobs/0198c0de-7a3c-7f88-8a11-5d0c94b7e3f2");
    Op::new(HttpMethod::Post, "/v1/jobs/{id}/retry", "retryJob", "follow", "Work on failed tasks again", about)
        .param(id("id", "job"))
        .answer(202, "Its failed tasks wait.", json::<Job>(examples::job(false)), &[location, CACHE_NEVER])
        .problems(&[Code::NothingToRetry, Code::QueueFull, Code::ShuttingDown])
        .problems(&[Code::BadOption, Code::Forbidden, Code::NotFound, Code::Gone, Code::Internal, Code::DiskFull, Code::Storage])
}

fn original(method: HttpMethod) -> Op {
    let (operation, summary) =
        if method == HttpMethod::Get { ("fetchOriginal", "The original") } else { ("headOriginal", "The original's headers") };
    let op =
        Op::new(method.clone(), "/i/{image}", operation, "deliver", summary, "The bytes as they were sent.").param(id("image", "image"));
    served(op, &method, &media::media_types().collect::<Vec<_>>()).problems(&[
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
    served(op, &method, &["image/jpeg", "image/png", "image/webp", "image/avif", "image/gif"])
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
        .answer(200, "All of it.", content(), &[ETAG, CACHE_IMMUTABLE, RANGES, NAME, SERVED])
        .answer(304, "Not changed since.", [], &[ETAG, CACHE_IMMUTABLE, SERVED])
        .problems(&[Code::PreconditionFailed]);
    if !is_get {
        return op;
    }
    op.params([
        condition("Range", "One range of bytes; several are answered with everything.", "bytes=0-1023"),
        condition("If-Range", "The tag for which the range is meant; with another tag everything is sent.", "\"9f86d081884c7d65\""),
    ])
    .answer(206, "The range.", content(), &[ETAG, CACHE_IMMUTABLE, RANGE, NAME, SERVED])
    .problems(&[Code::RangeNotSatisfiable])
}
