//! `GET /v1/stats`: totals since the data folder was made, and averages since the service started.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Map, Value, json};

use crate::{
    http::{App, problem::Problem},
    telemetry::rss_bytes,
};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/stats", get(stats))
}

async fn stats(State(site): State<App>) -> Result<Json<Value>, Problem> {
    let t = site.catalog.totals().await?;
    let timed = t.completed_tasks + t.failed_tasks;
    let average_ms = if timed == 0 { 0.0 } else { (t.task_micros as f64 / timed as f64).round() / 1000.0 };
    let stages: Map<String, Value> = site
        .metrics
        .stage_averages()
        .into_iter()
        .map(|stage| {
            let numbers = json!({ "count": stage.count, "avg_ms": stage.avg_ms, "max_ms": stage.max_ms });
            (stage.name.to_owned(), numbers)
        })
        .collect();
    Ok(Json(json!({
        "total_tasks": t.completed_tasks + t.failed_tasks + t.pending_tasks,
        "completed_tasks": t.completed_tasks,
        "failed_tasks": t.failed_tasks,
        "cancelled_tasks": t.cancelled_tasks,
        "pending_tasks": t.pending_tasks,
        "avg_execution_time_ms": average_ms,
        "queued_jobs": t.queued_jobs,
        "running_jobs": t.running_jobs,
        "uploads": t.uploads,
        "bytes_received": t.bytes_received,
        "uptime_s": site.started.elapsed().as_secs(),
        "rss_bytes": rss_bytes(),
        "pool": {
            "free_cores": site.compute.free_cores(),
            "free_bytes": site.compute.free_bytes(),
            "budget_bytes": site.compute.budget_bytes(),
        },
        "stages": stages,
        "max_peak_bytes": site.metrics.max_peak_bytes(),
    })))
}
