//! `GET /v1/stats[?window=15m]`: totals since the data folder was made, averages since the service started, percentiles of what was done lately.

use std::time::Duration;

use axum::{Json, Router, extract::State, routing::get};
use http::Uri;

use crate::{
    domain::{Code, parse_span},
    http::{App, problem::Problem, view},
    telemetry::rss_bytes,
};

use super::intake::query_pairs;

/// What percentiles are of, unless the client says otherwise.
const DEFAULT_WINDOW: Duration = Duration::from_secs(15 * 60);
/// They are kept by the minute, for an hour.
const SHORTEST_WINDOW: Duration = Duration::from_secs(60);
const LONGEST_WINDOW: Duration = Duration::from_secs(3600);

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/stats", get(stats))
}

async fn stats(State(site): State<App>, uri: Uri) -> Result<Json<view::Stats>, Problem> {
    let window = window_of(&uri)?;
    let (t, priorities) = (site.catalog.totals().await?, site.priorities().await?);
    let timed = t.completed_tasks + t.failed_tasks;
    let avg_execution_time_ms = if timed == 0 { 0.0 } else { (t.task_micros as f64 / timed as f64).round() / 1000.0 };
    let stages = site.metrics.stage_averages().into_iter();
    let load = site.load(&priorities);
    let lately = site.metrics.lately(window);
    let of_priority = |of: &crate::telemetry::PriorityLoad| {
        let load = view::PriorityLoad {
            queued_jobs: of.queued,
            running_jobs: of.running,
            oldest_queued_ms: (of.queued > 0).then(|| view::ms(of.oldest)),
            job_retries: site.metrics.retries(of.priority),
            queue: lately.queue_by_priority.get(of.priority).map(view::percentiles),
        };
        (of.priority.to_owned(), load)
    };
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
            free_cores: load.cores.free,
            used_cores: load.cores.used(),
            free_bytes: load.bytes.free,
            used_bytes: load.bytes.used(),
            budget_bytes: load.bytes.all,
        },
        stages: stages.map(|s| (s.name.to_owned(), view::Stage { count: s.count, avg_ms: s.avg_ms, max_ms: s.max_ms })).collect(),
        max_peak_bytes: site.metrics.max_peak_bytes(),
        priorities: priorities.iter().map(of_priority).collect(),
        window: view::window(window, &lately),
    }))
}

fn window_of(uri: &Uri) -> Result<Duration, Problem> {
    let mut window = DEFAULT_WINDOW;
    for (name, value) in query_pairs(uri)? {
        if name != "window" {
            // At most 64 characters of a client's text go into an error message.
            let name: String = name.chars().take(64).collect();
            return Err(Problem::new(Code::BadOption, format!("unknown query parameter {name:?}, only \"window\" is allowed")));
        }
        let asked = parse_span(&value).ok().filter(|asked| (SHORTEST_WINDOW..=LONGEST_WINDOW).contains(asked));
        window = asked.ok_or_else(|| {
            let value: String = value.chars().take(64).collect();
            Problem::new(Code::BadRequest, format!("window is {value:?}, allowed is 1m to 60m"))
        })?;
    }
    Ok(window)
}
