//! `GET /v1/stats`: totals since the data folder was made, and averages since the service started.

use axum::{Json, Router, extract::State, routing::get};

use crate::{
    http::{App, problem::Problem, query::NoQuery, view},
    telemetry::rss_bytes,
};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/stats", get(stats))
}

async fn stats(State(site): State<App>, _: NoQuery) -> Result<Json<view::Stats>, Problem> {
    let t = site.catalog.totals().await?;
    let timed = t.completed_tasks + t.failed_tasks;
    let avg_execution_time_ms = if timed == 0 { 0.0 } else { (t.task_micros as f64 / timed as f64).round() / 1000.0 };
    let stages = site.metrics.stage_averages().into_iter();
    Ok(Json(view::Stats {
        total_tasks: t.completed_tasks + t.failed_tasks + t.pending_tasks,
        completed_tasks: t.completed_tasks,
        failed_tasks: t.failed_tasks,
        cancelled_tasks: t.cancelled_tasks,
        pending_tasks: t.pending_tasks,
        avg_execution_time_ms,
        queued_jobs: t.queued_jobs,
        running_jobs: t.running_jobs,
        uploads: t.uploads,
        bytes_received: t.bytes_received,
        uptime_s: site.started.elapsed().as_secs(),
        rss_bytes: rss_bytes(),
        pool: view::Pool {
            free_cores: site.compute.free_cores(),
            free_bytes: site.compute.free_bytes(),
            budget_bytes: site.compute.budget_bytes(),
        },
        stages: stages.map(|s| (s.name.to_owned(), view::Stage { count: s.count, avg_ms: s.avg_ms, max_ms: s.max_ms })).collect(),
        max_peak_bytes: site.metrics.max_peak_bytes(),
    }))
}
