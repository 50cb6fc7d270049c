//! Examples in the document: a real 202, a real job and a problem for each code, built from the types that answer, so that they
//! cannot take another shape.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    domain::{Code, Refusal, TaskCode, TaskFailure},
    facts::{Exif, Facts, Swatch},
    http::{
        problem::Problem,
        view::{self, BatchStatus, JobStatus, Priority, ProblemCode, Rejected, TaskStatus, UploadStatus},
    },
};

pub(super) const UPLOAD: &str = "0198c0de-7a3b-7c4d-8e5f-60718293a4b5";
pub(super) const IMAGE: &str = "0198c0de-7a3c-7d21-9b04-c2f1e8a7d610";
const JOB: &str = "0198c0de-7a3c-7f88-8a11-5d0c94b7e3f2";
const BASE: &str = "http://localhost:8080";
const REQUEST: &str = "urn:uuid:0198c0de-7a3b-7111-a222-b333c444d555";
const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn value(of: &impl Serialize) -> Value {
    // Strings, numbers and lists of them: nothing that JSON cannot say.
    serde_json::to_value(of).unwrap_or_default()
}

fn task(done: bool) -> view::Task {
    let url = format!("{BASE}/i/{IMAGE}/thumb.webp");
    view::Task {
        name: "thumb".into(),
        status: TaskStatus(if done { "completed" } else { "queued" }),
        options: "rs:fill:320:320/f:webp".into(),
        result: done.then(|| view::TaskResult {
            url: url.clone(),
            bytes: 18_211,
            width: 320,
            height: 320,
            format: "webp".into(),
            quality: Some(80),
            frames: 1,
            etag: format!("\"{}\"", &SHA256[..32]),
        }),
        url,
        timing: done.then_some(view::TaskTiming { transform_ms: 1.9, encode_ms: 4.2, store_ms: 0.4 }),
        error: None,
    }
}

fn timing() -> view::JobTiming {
    view::JobTiming { queue_ms: 3.1, read_ms: 0.8, decode_ms: 21.0, cpu_ms: 31.5, total_ms: 34.4 }
}

pub(super) fn explained() -> Value {
    value(&view::Explained {
        variants: vec![view::ExplainedVariant {
            name: "thumb".into(),
            options: "resize:fit:320:320/format:jpg".into(),
            canonical: "rs:fit:320:320/f:jpg".into(),
            result: Some(view::ExplainedResult { width: 320, height: 240, format: Some("jpeg".into()) }),
        }],
        plan: Some(view::ExplainedPlan {
            image: IMAGE.into(),
            memory_bytes: 4_927_112,
            stages: vec![
                view::ExplainedStage {
                    what: "decode jpeg 4032x3024 at 1/8 to 504x378 ycc".into(),
                    rough_ms: Some(10.9),
                    held_bytes: Some(4_927_112),
                },
                view::ExplainedStage {
                    what: "variant 0: encode picture 0 jpeg 320x240 quality 80".into(),
                    rough_ms: Some(0.2),
                    held_bytes: Some(4_400_000),
                },
            ],
        }),
    })
}

fn upload_image(done: bool) -> view::UploadImage {
    view::UploadImage {
        id: IMAGE.into(),
        filename: Some("cat.jpg".into()),
        bytes: 4_183_920,
        sha256: SHA256.into(),
        format: "jpeg".into(),
        width: 4032,
        height: 3024,
        duplicate: false,
        url: format!("{BASE}/i/{IMAGE}"),
        job: JOB.into(),
        status: JobStatus(if done { "completed" } else { "queued" }),
        timing: done.then(timing),
        variants: vec![task(done)],
    }
}

/// An upload of two files, one of them no image; just taken in, or done.
pub(super) fn upload(done: bool) -> Value {
    let refusal = Refusal::new(Code::UnsupportedFormat, "the bytes are no image; jpeg, png, webp and gif are read");
    value(&view::Upload {
        id: UPLOAD.into(),
        status: UploadStatus(if done { "completed" } else { "processing" }),
        url: format!("{BASE}/v1/uploads/{UPLOAD}"),
        events_url: format!("{BASE}/v1/uploads/{UPLOAD}/events"),
        received_at: "2026-11-20T08:41:43.004Z".into(),
        expires_at: Some("2026-11-27T08:41:43.004Z".into()),
        images: vec![upload_image(done)],
        rejected: vec![Rejected { filename: Some("x.exe".into()), problem: Problem::from(refusal).members() }],
        metadata: Map::from_iter([("album".to_owned(), json!("2026"))]),
    })
}

pub(super) fn image() -> Value {
    value(&view::Image {
        image: upload_image(true),
        upload: UPLOAD.into(),
        received_at: "2026-11-20T08:41:43.004Z".into(),
        facts: Some(facts()),
    })
}

fn facts() -> Facts {
    let swatch = |colour: &str, share| Swatch { colour: colour.into(), share };
    Facts {
        bits: 8,
        channels: 3,
        alpha: false,
        icc: true,
        profile: Some("Display P3".into()),
        frames: Some(1),
        blurhash: "LEHV6nWB2yk8pyo0adR*.7kCMdnj".into(),
        thumbhash: "3OcRJYB4d3h/iIeHeEh3eIhw+j2w".into(),
        dominant: Some("#a3b1c2".into()),
        palette: vec![swatch("#a3b1c2", 0.612), swatch("#4a3f35", 0.241)],
        exif: Some(Exif {
            make: Some("Acme".into()),
            model: Some("A-1".into()),
            lens: None,
            taken_at: Some("2026-05-04T12:31:07+02:00".into()),
            exposure_time_s: Some(0.004),
            f_number: Some(2.8),
            iso: Some(400),
            focal_length_mm: Some(35.0),
            software: None,
            artist: None,
            copyright: None,
        }),
    }
}

pub(super) fn variants() -> Value {
    value(&view::Variants { image: IMAGE.into(), upload: UPLOAD.into(), job: Some(JOB.into()), variants: vec![task(false)] })
}

/// A job that waits, or is done.
pub(super) fn job(done: bool) -> Value {
    value(&view::Job {
        id: JOB.into(),
        image: IMAGE.into(),
        upload: UPLOAD.into(),
        status: JobStatus(if done { "completed" } else { "queued" }),
        attempt: u32::from(done),
        max_attempts: 5,
        priority: Priority("normal"),
        queued_at: "2026-11-20T08:41:43.004Z".into(),
        started_at: done.then(|| "2026-11-20T08:41:43.007Z".into()),
        finished_at: done.then(|| "2026-11-20T08:41:43.041Z".into()),
        timing: done.then(timing),
        peak_bytes: done.then_some(15_728_640),
        tasks: vec![task(done)],
        error: None,
        request_id: Some(REQUEST["urn:uuid:".len()..].into()),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        next_attempt_at: None,
    })
}

/// A job whose image is gone.
pub(super) fn past_job() -> Value {
    value(&view::PastJob {
        id: JOB.into(),
        image: IMAGE.into(),
        upload: UPLOAD.into(),
        status: JobStatus("completed"),
        attempt: 1,
        max_attempts: 5,
        priority: Priority("normal"),
        queued_at: "2026-11-20T08:41:43.004Z".into(),
        started_at: Some("2026-11-20T08:41:43.007Z".into()),
        finished_at: "2026-11-20T08:41:43.041Z".into(),
        deleted_at: "2026-11-27T08:41:43.512Z".into(),
        timing: Some(timing()),
        peak_bytes: Some(15_728_640),
        error_code: None,
        source: view::Source { format: "jpeg".into(), bytes: 4_183_920, width: 4032, height: 3024 },
        request_id: Some(REQUEST["urn:uuid:".len()..].into()),
        trace_id: None,
        tasks: vec![view::PastTask {
            name: "thumb".into(),
            status: TaskStatus("completed"),
            operations: vec!["resize".into(), "format".into()],
            format: "webp".into(),
            bytes: Some(18_211),
            width: Some(320),
            height: Some(240),
            timing: Some(view::TaskTiming { transform_ms: 1.9, encode_ms: 4.2, store_ms: 0.4 }),
            error_code: None,
        }],
    })
}

pub(super) fn plain_upload() -> Value {
    value(&view::PlainUpload {
        message: "Image uploaded, processing in the background",
        file_name: Some("cat.jpg".into()),
        process_type: "thumbnail".into(),
        id: UPLOAD.into(),
        url: format!("{BASE}/v1/uploads/{UPLOAD}"),
    })
}

fn percentiles([p50_ms, p90_ms, p99_ms, max_ms]: [f64; 4]) -> view::Percentiles {
    view::Percentiles { count: 600, p50_ms, p90_ms, p99_ms, max_ms }
}

pub(super) fn stats() -> Value {
    value(&view::Stats {
        total_tasks: 1204,
        completed_tasks: 1200,
        failed_tasks: 3,
        cancelled_tasks: 0,
        pending_tasks: 1,
        avg_execution_time_ms: 6.5,
        queued_jobs: 0,
        running_jobs: 1,
        uploads: 602,
        bytes_received: 2_518_719_840,
        uptime_s: 86_400,
        rss_bytes: 48_234_496,
        pool: view::Pool { free_cores: 3, used_cores: 1, free_bytes: 4_160_749_568, used_bytes: 134_217_728, budget_bytes: 4_294_967_296 },
        stages: [("decode".to_owned(), view::Stage { count: 602, avg_ms: 21.0, max_ms: 84.2 })].into(),
        max_peak_bytes: 62_914_560,
        priorities: [(
            "normal".to_owned(),
            view::PriorityLoad {
                queued_jobs: 2,
                running_jobs: 1,
                oldest_queued_ms: Some(812.0),
                job_retries: 0,
                queue: Some(percentiles([2.1, 6.8, 31.0, 44.7])),
            },
        )]
        .into(),
        window: view::Window {
            asked_s: 900,
            covered_s: 900,
            completed_tasks: 1200,
            failed_tasks: 3,
            stages: [("decode".to_owned(), percentiles([19.8, 27.5, 61.2, 84.2]))].into(),
            formats: [("webp".to_owned(), [("encode".to_owned(), percentiles([4.2, 5.1, 9.9, 12.0]))].into())].into(),
            operations: [("resize".to_owned(), [("total".to_owned(), percentiles([24.0, 33.1, 70.4, 90.2]))].into())].into(),
        },
    })
}

/// A batch that is half done.
pub(super) fn batch() -> Value {
    value(&view::Batch {
        id: UPLOAD.into(),
        status: BatchStatus("running"),
        url: format!("{BASE}/v1/batches/{UPLOAD}"),
        created_at: "2026-11-20T08:41:43.004Z".into(),
        finished_at: None,
        priority: Priority("low"),
        filter: view::Filter { format: vec!["jpeg".into(), "png".into()], lacks: Some("thumbnail".into()), ..view::Filter::default() },
        variants: vec![view::BatchVariant { name: "thumbnail".into(), options: "rs:fit:320:320".into() }],
        counts: view::BatchCounts {
            matched: Some(1000),
            skipped: 12,
            refused: 2,
            open: 200,
            completed: 484,
            partial: 0,
            failed: 2,
            cancelled: 0,
        },
        progress: Some(0.5),
        expected_end_at: Some("2026-11-20T08:43:01.510Z".into()),
        refusals: vec![view::BatchRefusal {
            code: ProblemCode("variant_exists"),
            images: 2,
            example: IMAGE.into(),
            detail: "variant thumbnail exists with other options".into(),
        }],
    })
}

pub(super) fn dry_run() -> Value {
    value(&view::BatchDryRun { dry_run: true, matched: 1000 })
}

pub(super) fn steered() -> Value {
    value(&view::Steered { matched: 1204, done: 1000, left: 204, stopped_by: Some("limit") })
}

pub(super) fn readiness(ready: bool) -> Value {
    let checks = view::Checks { serving: true, pool: true, disk: ready, queue: true, catalog: true };
    value(&view::Readiness { status: if ready { "ready" } else { "not ready" }, checks })
}

/// The name of a problem's example: its code, with the status where a failed task's differs from the request's.
pub(super) fn name_of(code: &str, status: u16) -> String {
    match code.parse::<Code>() {
        Ok(known) if super::operation::status_of(known) == status => code.to_owned(),
        _ => format!("task_{code}_{status}"),
    }
}

/// One example of each problem, by name.
pub(super) fn problems() -> Vec<(String, Value)> {
    let of_requests = Code::ALL.iter().map(|code| Problem::from(refusal(*code)));
    let of_tasks = TaskCode::ALL.iter().flat_map(|code| {
        let failure = TaskFailure { code: *code, detail: task_detail(*code).to_owned() };
        [Problem::of_task(&failure, false), Problem::of_task(&failure, true)]
    });
    let mut all: Vec<(String, Value)> = Vec::new();
    for problem in of_requests.chain(of_tasks) {
        let mut members = problem.members();
        members.instance = Some(REQUEST.to_owned());
        let name = name_of(problem.code(), members.status);
        if !all.iter().any(|(known, _)| *known == name) {
            all.push((name, value(&members)));
        }
    }
    all
}

fn refusal(code: Code) -> Refusal {
    let (detail, figures): (&str, Option<(u64, u64)>) = match code {
        Code::MalformedMultipart => ("the form ends inside a part", None),
        Code::NoFile => ("the request has no file part", None),
        Code::EmptyFile => ("the file has no bytes", None),
        Code::BadOption => ("unknown field \"widht\", did you mean \"width\"?", None),
        Code::BadRequest => ("wait is \"soon\", allowed is 0 to 60 seconds", None),
        Code::DigestMismatch => ("the file does not have the announced sha-256 digest", None),
        Code::Unauthorized => ("a key is needed", None),
        Code::Forbidden => ("a page of another site may not write here; allow its origin with --cors-origins", None),
        Code::NotFound => ("there is no such upload", None),
        Code::MethodNotAllowed => ("this path does not take this method", None),
        Code::NotAcceptable => ("nothing that can be sent is acceptable", None),
        Code::Gone => ("the upload was deleted", None),
        Code::TooSlow => ("no data came for too long", None),
        Code::IdempotencyConflict => ("this Idempotency-Key was used with other files or options", None),
        Code::VariantExists => ("variant thumb exists with other options", None),
        Code::NothingToRetry => ("the job is completed and none of its tasks failed; failed tasks can be retried", None),
        Code::PreconditionFailed => ("the stored file has another tag", None),
        Code::TooLarge => ("file has 268435457 bytes, limit is 268435456", Some((268_435_456, 268_435_457))),
        Code::TooManyFiles => ("more than 100 files in one request", Some((100, 101))),
        Code::TooManyFields => ("more than 200 fields in one request", Some((200, 201))),
        Code::UnsupportedMediaType => {
            ("content type is text/plain; multipart/form-data, image/* and application/octet-stream are allowed", None)
        }
        Code::UnsupportedFormat => ("the bytes are no image; jpeg, png, webp and gif are read", None),
        Code::RangeNotSatisfiable => ("the range lies outside the 4183920 bytes of the file", None),
        Code::ExpectationFailed => ("expectation \"200-ok\" cannot be met, only 100-continue can", None),
        Code::HeadersTooLarge => ("the request's headers are too large", None),
        Code::TooManyPixels => ("image has 180000000 pixels, limit is 100000000", Some((100_000_000, 180_000_000))),
        Code::TooManyFrames => ("image has 1200 frames, limit is 1000", Some((1000, 1200))),
        Code::MalformedImage => ("the head of the jpeg is broken", None),
        Code::TooCostly => ("the job would need 5368709120 bytes, the whole budget is 4294967296", Some((4_294_967_296, 5_368_709_120))),
        Code::RateLimited => ("more than 10 requests in a second", None),
        Code::Internal => ("something went wrong on our side; quote the id in `instance` when you report it", None),
        Code::QueueFull => ("100000 jobs are waiting, limit is 100000", None),
        Code::ShuttingDown => ("the service is stopping", None),
        Code::DiskFull => ("the disk's reserve is reached", None),
        Code::Storage => ("the disk cannot be used at the moment", None),
    };
    match figures {
        Some((limit, received)) => Refusal::over(code, detail, limit, Some(received)),
        None => Refusal::new(code, detail),
    }
}

fn task_detail(code: TaskCode) -> &'static str {
    match code {
        TaskCode::MalformedImage => "the image's data are broken",
        TaskCode::TruncatedImage => "the file ends before the image is complete",
        TaskCode::UnsupportedFormat => "arithmetic coding is not read",
        TaskCode::TooManyPixels => "image has 180000000 pixels, limit is 100000000",
        TaskCode::LimitExceeded => "the work would need more memory than the job was granted",
        TaskCode::Timeout => "the job held a core for 60 s, which is the limit",
        TaskCode::Cancelled => "the job was cancelled",
        TaskCode::Storage => "the variant could not be stored",
        TaskCode::Internal => "something went wrong on our side",
    }
}
