//! Operations about many at once: batches, and jobs steered by what they have in common.

use serde_json::{Value, json};
use utoipa::openapi::{
    ContentBuilder, Required,
    path::{HttpMethod, ParameterIn},
    request_body::{RequestBody, RequestBodyBuilder},
    schema::{ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, Type},
};

use crate::{
    domain::{Code, Priority, TaskCode},
    http::view::{Batch, BatchDryRun, BatchList, Steered},
};

use super::{
    examples,
    lists::list,
    operation::{CACHE_NEVER, CACHE_STATE, ETAG, Op, REPLAYED, Shape, id, if_none_match, json as body_of, object, parameter, string},
};

const TAG: &str = "batches";

/// What any request with a small JSON body may be refused for.
const ANY_JSON: &[Code] = &[
    Code::BadOption,
    Code::BadRequest,
    Code::Forbidden,
    Code::TooSlow,
    Code::TooLarge,
    Code::UnsupportedMediaType,
    Code::Internal,
    Code::DiskFull,
    Code::Storage,
];

pub(super) fn operations() -> Vec<Op> {
    let retry = "Queues the failed tasks of all jobs that match, as `POST /v1/jobs/{id}/retry` does of one: the oldest first, at most `limit`, and no more than the \
                 queue has room for. Without a filter it is about every job of which a task failed. Said twice it is as said once, as a job that waits again has \
                 not failed. `since` and `until` are about when the job ended.";
    let cancel = "Cancels all jobs that wait and match, as `DELETE /v1/jobs/{id}` does of one. At least one of error, since, until, upload and batch must be named. \
                  `error` is why its last attempt failed; `since` and `until` are about when the job was enqueued. With `batch` see `DELETE /v1/batches/{id}`, too.";
    vec![
        make(),
        list::<BatchList>(
            "/v1/batches",
            "listBatches",
            "Batches, newest first",
            json!({ "batches": [examples::batch()], "next_cursor": null }),
        ),
        show(),
        stop(),
        steer("/v1/jobs/retry", "retryJobs", "Work on the failed tasks of many jobs again", retry)
            .problems(&[Code::QueueFull, Code::ShuttingDown]),
        steer("/v1/jobs/cancel", "cancelJobs", "Cancel many jobs that wait", cancel),
    ]
}

fn body(schema: Object, example: Value) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
    RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True)).build()
}

fn one_or_more(word: ObjectBuilder) -> Shape {
    let word = word.build();
    Shape::T(Schema::OneOf(OneOfBuilder::new().item(word.clone()).item(ArrayBuilder::new().items(word)).build()))
}

fn word(words: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.into_iter().collect::<Vec<_>>()))
}

fn time(about: &str) -> ObjectBuilder {
    string(Some("date-time"), None).description(Some(about))
}

fn number(about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).description(Some(about))
}

fn flag(about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean).description(Some(about))
}

fn texts(about: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(string(None, None))).description(Some(about))
}

fn make() -> Op {
    let about = "Jobs are made for all stored images that match, oldest first, in the background: a few hundred wait at one time, so that the queue stays free for \
                 uploads, and at `low` priority unless something else is said. Images that are uploaded after this are not in it. Names are written once, as \
                 with `POST /v1/images/{id}/variants`: an image that has all of the variants is skipped, one that has a name taken by other options is refused, and \
                 the batch goes on. It survives a restart. With `dry_run` the images are only counted, and nothing is recorded.";
    let px = || number("Pixels, as displayed.");
    let filter = object()
        .description(Some("What is absent does not matter; without a filter it is about all images."))
        .property("format", one_or_more(word(image_pipeline::Format::ALL.iter().map(|format| format.as_str()))))
        .property("since", time("Taken in then or later."))
        .property("until", time("Taken in before then."))
        .property("min_width", px())
        .property("max_width", px())
        .property("min_height", px())
        .property("max_height", px())
        .property("lacks", string(None, Some("^[a-z0-9_-]{1,64}$")).description(Some("No variant of this name was ever asked for.")))
        .property("metadata", texts("Their upload has all these `metadata[key]` pairs."));
    let asked = object()
        .property("preset", one_or_more(string(None, None).description(Some("Named like the variant it makes."))))
        .property("variants", texts("Options by name; with the presets 32 at most, one at least."))
        .property("filter", filter)
        .property("priority", word(Priority::ALL.iter().map(|priority| priority.as_str())))
        .property("dry_run", flag("Only count."))
        .build();
    let example =
        json!({ "preset": "thumbnail", "filter": { "format": ["jpeg", "png"], "until": "2026-11-20T08:00:00Z", "lacks": "thumbnail" } });
    let key = "The same request again gets the first answer; with another filter or variants it is 409. Keys of uploads are others.";
    let location = ("Location", "Where the batch is read.", "http://localhost:8080/v1/batches/0198c0de-7a3b-7c4d-8e5f-60718293a4b5");
    Op::new(HttpMethod::Post, "/v1/batches", "makeBatch", TAG, "Variants for all images that match", about)
        .param(parameter(ParameterIn::Header, "Idempotency-Key", key, string(None, None), Some("thumbs-2026-11".into())))
        .body(body(asked, example))
        .answer(202, "Recorded; work goes on.", body_of::<Batch>(examples::batch()), &[location, REPLAYED, CACHE_NEVER])
        .answer(200, "With `dry_run`: how many match.", body_of::<BatchDryRun>(examples::dry_run()), &[CACHE_NEVER])
        .problems(ANY_JSON)
        .problems(&[Code::IdempotencyConflict, Code::ShuttingDown])
}

fn show() -> Op {
    let wait = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(60));
    let about = "How far it is. With `wait` the answer is held until the batch has ended, or that many seconds have passed. Which jobs failed: `POST \
                 /v1/jobs/retry` with `batch` finds them again.";
    Op::new(HttpMethod::Get, "/v1/batches/{id}", "showBatch", TAG, "What became of a batch", about)
        .param(id("id", "batch"))
        .param(parameter(ParameterIn::Query, "wait", "Seconds to wait for the end.", wait, Some(10.into())))
        .params([if_none_match()])
        .answer(200, "The batch as it is now.", body_of::<Batch>(examples::batch()), &[ETAG, CACHE_STATE])
        .answer(304, "Not changed since.", [], &[ETAG, CACHE_STATE])
        .problems(&[Code::BadRequest, Code::BadOption, Code::NotFound, Code::Internal, Code::Storage])
}

fn stop() -> Op {
    let about = "No more jobs are made, and those of it that wait or run are cancelled; what was done stays. A batch that has ended stays as it is, and the answer \
                 is the same.";
    Op::new(HttpMethod::Delete, "/v1/batches/{id}", "cancelBatch", TAG, "Stop a batch", about)
        .param(id("id", "batch"))
        .answer(204, "It has ended.", [], &[])
        .problems(&[Code::BadOption, Code::Forbidden, Code::NotFound, Code::Internal, Code::DiskFull, Code::Storage])
}

fn steer(path: &'static str, operation: &str, summary: &str, about: &str) -> Op {
    let of = |what: &str| string(Some("uuid"), None).description(Some(format!("Jobs of this {what} only.")));
    let limit = number("Most jobs of this request; 1000 if nothing is said.").minimum(Some(1)).maximum(Some(10_000));
    let asked = object()
        .property("error", one_or_more(word(TaskCode::ALL.iter().map(|code| code.as_str()))))
        .property("since", time("Then or later."))
        .property("until", time("Before then."))
        .property("upload", of("upload"))
        .property("batch", of("batch"))
        .property("limit", limit)
        .property("dry_run", flag("Only count."))
        .build();
    let example = json!({ "error": ["storage", "timeout"], "since": "2026-11-20T08:00:00Z", "limit": 1000 });
    Op::new(HttpMethod::Post, path, operation, "follow", summary, about)
        .body(body(asked, example))
        .answer(200, "How many matched, and with how many it was done.", body_of::<Steered>(examples::steered()), &[])
        .problems(ANY_JSON)
}
