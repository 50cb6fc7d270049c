//! The HTTP room: router, extractors, problems, one file per group of endpoints. The only room that knows axum.
//!
//! The layers, the outermost first; each needs those above it:
//! 1. `request_id`: every answer has an id, those of later layers too.
//! 2. `problem::render`: whoever refuses below, the body is written here, with the id.
//! 3. The span of the trace, with the path as it came.
//! 4. `nosniff` and `Cross-Origin-Resource-Policy`, where nothing below says otherwise.
//! 5. `cors`: answers preflights; marks refusals too, or a page could not read why it was refused.
//! 6. The panic net.
//! 7. `edge::admit`: hosts, proxies, prefix, origins. Its own router has no routes, so that the path may change before routing.
//! 8. Routing; then `measure`, which needs the route's pattern; then the handler.

mod absent;
mod base_url;
mod body;
mod client;
mod cors;
mod debug;
mod edge;
mod files;
mod form;
mod forwarded;
mod hosts;
mod json;
mod openapi;
mod operate;
mod origin;
mod page;
mod path;
mod peer;
mod prefix;
mod problem;
mod query;
mod request_id;
mod room;
mod serve;
mod server_timing;
mod traced;
mod v1;
mod view;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::Response,
};
use http::{HeaderName, HeaderValue, Method, header};
use image_pipeline::{Presets, Watermarks};
use tokio::sync::{Semaphore, watch};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer, trace::TraceLayer};
use tracing::{Span, debug, info_span};

use crate::{
    batch::Batches,
    catalog::{Catalog, CatalogError},
    clock::Clock,
    compute::Compute,
    deliver::Deliver,
    domain::Code,
    erase::Eraser,
    follow::Follow,
    further::Further,
    ingest::{Committer, IngestLimits},
    profile::Profiler,
    queue::Queue,
    store::{BlobStore, StagingDir},
    telemetry::{Load, Metrics, Permits, PriorityLoad, Traces},
};

use problem::Problem;
use request_id::RequestId;

pub use body::Pace;
pub use client::TrustedProxies;
pub use edge::{Edge, EdgeOptions};
pub use hosts::AllowedHosts;
pub use openapi::openapi_json;
pub use origin::AllowedOrigins;
pub use prefix::{PathPrefix, PublicUrl};
pub use room::DiskGauge;
use serve::client_network;
pub use serve::{Bound, Clients, Listener, Place, ServeOptions, Tls, TlsError, serve};
use traced::Traced;

/// What the handlers work with.
pub struct Site {
    /// What a request may bring.
    pub limits: IngestLimits,
    /// Named sets of options.
    pub presets: Presets,
    /// Images that options may lay over others.
    pub watermarks: Arc<Watermarks>,
    /// Who may speak to us, and under which name.
    pub edge: Edge,
    /// How slow a body may come.
    pub pace: Pace,
    /// Free bytes below which uploads are refused.
    pub disk_reserve_bytes: u64,
    /// Where uploads are staged.
    pub staging: StagingDir,
    /// Rows.
    pub catalog: Arc<dyn Catalog>,
    /// Bytes.
    pub store: Arc<dyn BlobStore>,
    /// Makes uploads durable.
    pub committer: Committer,
    /// The job engine.
    pub queue: Queue,
    /// The pool; its free permits are shown to operators.
    pub compute: Arc<Compute>,
    /// Plans more work of stored images.
    pub further: Further,
    /// Work at many stored images.
    pub batches: Batches,
    /// Look-ups for delivery.
    pub deliver: Arc<Deliver>,
    /// Deletes uploads and images.
    pub eraser: Eraser,
    /// Waiters.
    pub follow: Follow,
    /// Counts and times.
    pub metrics: Arc<Metrics>,
    /// Where spans go.
    pub traces: Traces,
    /// One permit an upload that is being received.
    pub uploads: Arc<Semaphore>,
    /// Uploads being received, by client.
    pub uploads_by_client: Clients,
    /// How many permits `uploads` has in all.
    pub max_uploads_in_flight: usize,
    /// The longest an upload may ask to be kept, where there is a bound.
    pub max_ttl: Option<Duration>,
    /// Time, for ages that are told.
    pub clock: Arc<dyn Clock>,
    /// Turns true when the service stops.
    pub stopping: watch::Receiver<bool>,
    /// When the service started.
    pub started: Instant,
    /// Makes CPU profiles for operators.
    pub profiler: Profiler,
    /// Room on the store's disk, and who has spoken for it.
    pub disk: DiskGauge,
    /// Whether the catalog answered when last asked.
    pub catalog_health: CatalogGauge,
}

/// Whether the catalog could be written, tried at most once a second: asking costs a synced commit.
#[derive(Debug, Default)]
pub struct CatalogGauge(tokio::sync::Mutex<Option<(Instant, bool)>>);

impl CatalogGauge {
    async fn answers(&self, catalog: &dyn Catalog) -> bool {
        let mut last = self.0.lock().await;
        match *last {
            Some((at, ok)) if at.elapsed() < Duration::from_secs(1) => ok,
            _ => {
                let ok = catalog.ping().await.is_ok();
                *last = Some((Instant::now(), ok));
                ok
            }
        }
    }
}

impl Site {
    /// What options may name.
    fn named(&self) -> (&Presets, &Watermarks) {
        (&self.presets, &self.watermarks)
    }

    /// What waits and runs, by priority.
    async fn priorities(&self) -> Result<Vec<PriorityLoad>, CatalogError> {
        let (now, waiting) = (self.clock.now(), self.catalog.waiting().await?);
        let of = waiting.into_iter().map(|of| PriorityLoad {
            priority: of.priority.as_str(),
            queued: of.queued,
            oldest: of.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)),
            running: of.running,
        });
        Ok(of.collect())
    }

    /// How things stand now.
    fn load<'l>(&self, priorities: &'l [PriorityLoad]) -> Load<'l> {
        Load {
            priorities,
            cores: Permits { all: self.compute.workers() as u64, free: self.compute.free_cores() },
            bytes: Permits { all: self.compute.budget_bytes(), free: self.compute.free_bytes() },
            uploads_in_flight: self.max_uploads_in_flight.saturating_sub(self.uploads.available_permits()) as u64,
            spoken_for_bytes: self.spoken_for_bytes(),
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

type App = Arc<Site>;

/// Whether other sites may embed an answer without asking (the Fetch standard's `Cross-Origin-Resource-Policy`).
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// All routes over `site`.
pub fn router(site: Arc<Site>) -> Router {
    let routes = Router::new()
        .merge(page::routes())
        .merge(openapi::routes())
        .merge(operate::routes())
        .merge(debug::routes())
        .merge(files::routes())
        .merge(v1::routes());
    let routes = routes
        .fallback(async || Problem::new(Code::NotFound, "there is nothing at this path"))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, "this path does not take this method"))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), measure))
        .with_state(Arc::clone(&site));
    let cors = site.edge.options.cors_origins.as_ref().map(cors::layer);
    let admitted = Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn_with_state(site, edge::admit))
        .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(Problem::new(Code::Internal, "a handler failed"))));
    let admitted = match cors {
        Some(cors) => admitted.layer(cors),
        None => admitted,
    };
    admitted
        .layer(SetResponseHeaderLayer::if_not_present(RESOURCE_POLICY, HeaderValue::from_static("same-origin")))
        .layer(SetResponseHeaderLayer::if_not_present(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(|request: &http::Request<_>| {
                    let id = request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default();
                    let trace = request_id::trace(request.headers()).map(tracing::field::display);
                    info_span!("http", method = %request.method(), path = request.uri().path(), id, trace.id = trace)
                })
                .on_request(())
                .on_response(|response: &http::Response<_>, latency: Duration, _: &Span| {
                    debug!(status = response.status().as_u16(), took_ms = view::ms(latency), "answered");
                })
                .on_failure(()),
        )
        .layer(middleware::from_fn(problem::render))
        .layer(middleware::from_fn(request_id::assign))
}

/// Times each request under its route's pattern, so that ids do not become metric labels.
async fn measure(State(site): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let traced = if site.traces.is_on() { Traced::of(&request) } else { None };
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let route = format!("{method} {route}");
    let response = next.run(request).await;
    let (status, took) = (response.status(), begun.elapsed());
    let problem = response.extensions().get::<Problem>().map(Problem::code);
    if let Some(traced) = traced {
        site.traces.send(traced.answered(&route, status, took, problem));
    }
    site.metrics.http_request(route, status.as_u16(), took);
    if let Some(code) = problem {
        site.metrics.refused(code);
    }
    response
}
