//! What operators and their tools read: health, readiness, metrics.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use std::time::Duration;

use super::{App, view};

/// A pool that has had work and ended none for this long does not move.
const STUCK_AFTER: Duration = Duration::from_secs(300);

pub(super) fn routes() -> Router<App> {
    Router::new().route("/healthz", get(health)).route("/readyz", get(readiness)).route("/metrics", get(metrics))
}

/// The process answers.
async fn health() -> Json<view::Health> {
    Json(view::Health { status: "ok" })
}

/// The service can take work: each check by name, 503 if one fails.
async fn readiness(State(site): State<App>) -> Response {
    let disk = site.has_disk_reserve().await;
    let pool = site.compute.free_cores() > 0 || site.queue.time_without_progress() < STUCK_AFTER;
    let catalog = site.catalog_health.answers(&*site.catalog).await;
    let checks = view::Checks { serving: !site.is_stopping(), pool, disk, queue: !site.queue.is_full(), catalog };
    let ready = checks.all();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(view::Readiness { status: if ready { "ready" } else { "not ready" }, checks })).into_response()
}

/// Prometheus' text format.
async fn metrics(State(site): State<App>) -> Response {
    if let Ok(priorities) = site.priorities().await {
        site.metrics.set_gauges(&site.load(&priorities));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], site.metrics.render()).into_response()
}
