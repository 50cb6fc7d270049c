//! Rows as the JSON clients see: snake_case, RFC 3339 times, `*_ms` durations, absolute URLs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    catalog::{ImageView, JobTiming, JobView, RejectedFile, StoredVariant, TaskTiming, TaskView, UploadView},
    deliver::etag,
    domain::{ImageId, TaskFailure, Timestamp, hex, media},
};

use super::problem::Problem;

/// Milliseconds with microsecond precision.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn time(at: Timestamp) -> Value {
    jiff::Timestamp::from_millisecond(at.as_millis()).map_or(Value::Null, |t| json!(format!("{t:.3}")))
}

pub(crate) fn rejected(files: &[RejectedFile]) -> Value {
    files.iter().map(|file| json!({ "filename": file.filename, "problem": Problem::from(file.refusal.clone()).members() })).collect()
}

/// `GET /v1/uploads/{id}` and the 202.
pub(crate) fn upload(view: &UploadView, base: &str) -> Value {
    let metadata: Map<String, Value> = view.metadata.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let images: Vec<Value> = view.images.iter().map(|(image, job)| upload_image(image, job, base)).collect();
    let mut json = json!({
        "id": view.id.to_string(),
        "status": view.state.as_str(),
        "url": format!("{base}/v1/uploads/{}", view.id),
        "received_at": time(view.received_at),
        "images": images,
        "rejected": rejected(&view.rejected),
    });
    if !metadata.is_empty() {
        json["metadata"] = Value::Object(metadata);
    }
    json
}

fn upload_image(view: &ImageView, work: &JobView, base: &str) -> Value {
    let mut json = image_facts(view, base);
    json["job"] = json!(work.id.to_string());
    json["status"] = json!(work.state.as_str());
    json["timing"] = job_timing(work.timing.as_ref());
    json["variants"] = work.tasks.iter().map(|t| task(t, view.id, base)).collect();
    json
}

fn image_facts(view: &ImageView, base: &str) -> Value {
    json!({
        "id": view.id.to_string(),
        "filename": view.filename,
        "bytes": view.bytes,
        "sha256": hex(&view.sha256),
        "format": view.format,
        "width": view.width_px,
        "height": view.height_px,
        "duplicate": view.duplicate,
        "url": format!("{base}/i/{}", view.id),
    })
}

/// `GET /v1/images/{id}`.
pub(crate) fn image(view: &ImageView, work: &JobView, base: &str) -> Value {
    let mut json = upload_image(view, work, base);
    json["upload"] = json!(view.upload.to_string());
    json["received_at"] = time(view.received_at);
    json
}

/// `GET /v1/jobs/{id}`.
pub(crate) fn job(view: &JobView, base: &str) -> Value {
    let mut json = json!({
        "id": view.id.to_string(),
        "image": view.image.to_string(),
        "upload": view.upload.to_string(),
        "status": view.state.as_str(),
        "attempt": view.attempt,
        "max_attempts": view.max_attempts,
        "priority": view.priority.as_str(),
        "queued_at": time(view.queued_at),
        "started_at": view.started_at.map(time),
        "finished_at": view.finished_at.map(time),
        "timing": job_timing(view.timing.as_ref()),
        "peak_bytes": view.peak_bytes,
        "tasks": view.tasks.iter().map(|t| task(t, view.image, base)).collect::<Vec<_>>(),
        "error": view.failure.as_ref().map(failure),
    });
    if let (Some(due), false) = (view.due_at, view.state.is_final()) {
        json["next_attempt_at"] = time(due);
    }
    json
}

fn task(view: &TaskView, image: ImageId, base: &str) -> Value {
    let url = variant_url(view, image, base);
    json!({
        "name": view.name.as_str(),
        "status": view.state.as_str(),
        "options": view.options,
        "url": url,
        "result": view.result.as_ref().map(|stored| result(stored, &url)),
        "timing": task_timing(view.timing.as_ref()),
        "error": view.failure.as_ref().map(failure),
    })
}

fn variant_url(view: &TaskView, image: ImageId, base: &str) -> String {
    format!("{base}/i/{image}/{}.{}", view.name, media::extension(&view.format))
}

fn result(stored: &StoredVariant, url: &str) -> Value {
    json!({
        "url": url,
        "bytes": stored.bytes,
        "width": stored.width_px,
        "height": stored.height_px,
        "format": stored.format,
        "quality": stored.quality,
        "etag": etag(&stored.sha256),
    })
}

fn job_timing(timing: Option<&JobTiming>) -> Value {
    timing.map_or(Value::Null, |t| {
        json!({
            "queue_ms": ms(t.queue), "read_ms": ms(t.read), "decode_ms": ms(t.decode), "cpu_ms": ms(t.cpu), "total_ms": ms(t.total),
        })
    })
}

fn task_timing(timing: Option<&TaskTiming>) -> Value {
    timing.map_or(Value::Null, |t| json!({ "transform_ms": ms(t.transform), "encode_ms": ms(t.encode), "store_ms": ms(t.store) }))
}

fn failure(failure: &TaskFailure) -> Value {
    json!({ "code": failure.code.as_str(), "detail": failure.detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_read_as_promised() {
        assert_eq!(time(Timestamp::from_millis(1_790_000_000_120)), json!("2026-09-21T14:13:20.120Z"));
        assert_eq!(ms(Duration::from_micros(1234)), 1.234);
    }
}
