//! Spans for a collector of traces, over OTLP and HTTP: handed over without waiting, sent in batches by a task of its own.
//!
//! Knows nothing of requests and jobs: who measures says what is a span. Invariant: nobody ever waits for the collector; what it does not take is lost and
//! counted (`pixmill_trace_spans_total`), and there are never more than [`MAX_WAITING`] spans in memory. Why it is done so is in
//! `docs/decisions/0067-traces-for-a-collector.md`.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, Key, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tracing::{info, warn};

use super::{Metrics, error_chain};

/// Spans that wait to be sent; more are lost. A few seconds of a busy service, some MiB.
const MAX_WAITING: usize = 16_384;
/// Spans sent together at most; OpenTelemetry's default.
const BATCH: usize = 512;
/// A batch that is not full is sent so long after its first span; OpenTelemetry's default.
const DELAY: Duration = Duration::from_secs(5);
/// What is left when the service stops has so long.
const FAREWELL: Duration = Duration::from_secs(3);

/// Something that took time.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it is part of.
    pub trace: [u8; 16],
    /// Its own id, not 0.
    pub id: u64,
    /// What it happened within; `None` where a trace begins.
    pub parent: Option<u64>,
    /// The kind of thing: few different ones.
    pub name: Cow<'static, str>,
    /// Its part in an exchange.
    pub kind: Kind,
    /// When it began.
    pub start: Instant,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// More about it.
    pub facts: Vec<(&'static str, Fact)>,
}

/// The part of a span in an exchange, as OpenTelemetry tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It answered a request.
    Server,
    /// It did later what a request asked for.
    Consumer,
    /// A step of one of these.
    Internal,
}

/// A value of a span's attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// Words.
    Text(Cow<'static, str>),
    /// Counts and sizes.
    Number(u64),
}

impl From<&'static str> for Fact {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// Takes spans; cheap to clone. Where no collector is configured it is off, and costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Sending>);

#[derive(Clone, Debug)]
struct Sending {
    spans: mpsc::Sender<Span>,
    metrics: Arc<Metrics>,
}

impl Traces {
    /// Takes nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Sends to the collector at `url`, whose path is `/v1/traces` by custom. Headers (`OTEL_EXPORTER_OTLP_HEADERS`), the time a batch may take
    /// (`OTEL_EXPORTER_OTLP_TIMEOUT`) and what the service is called (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) are read from the environment
    /// under the names of OpenTelemetry. Must be called within a runtime.
    ///
    /// # Errors
    /// When the exporter cannot be set up; the text says why.
    pub fn to(url: &str, metrics: Arc<Metrics>) -> Result<(Self, Export), String> {
        let exporter = SpanExporter::builder().with_http().with_endpoint(url).build();
        let mut exporter = exporter.map_err(|error| format!("cannot send traces to {url}: {}", error_chain(&error)))?;
        exporter.set_resource(&resource());
        let (sender, spans) = mpsc::channel(MAX_WAITING);
        let (stop, stopped) = oneshot::channel();
        let collector = Collector { exporter, metrics: Arc::clone(&metrics), anchor: Anchor::now(), is_lost: false };
        let task = tokio::spawn(collector.run(spans, stopped));
        Ok((Self(Some(Sending { spans: sender, metrics })), Export { stop, task }))
    }

    /// Whether anybody wants spans: making them costs, too.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a span over; it is lost where too many wait.
    pub fn send(&self, span: Span) {
        let Some(sending) = &self.0 else { return };
        if sending.spans.try_send(span).is_err() {
            sending.metrics.spans_ended("lost", 1);
        }
    }
}

/// What sends, while the service runs.
#[derive(Debug)]
pub struct Export {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Export {
    /// Sends what waits, for three seconds at most.
    pub async fn finish(self) {
        // It may have panicked; there is nobody to tell then.
        let _ = self.stop.send(());
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            warn!("the collector of traces did not take the last spans in time");
        }
    }
}

/// Who we are, in every batch.
fn resource() -> Resource {
    let ours = || Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let named = ours().build();
    // What the library says where the environment says nothing.
    let is_unknown = |name: opentelemetry::Value| name.as_str().starts_with("unknown_service");
    if named.get(&Key::from_static_str("service.name")).is_none_or(is_unknown) {
        ours().with_service_name("pixmill").build()
    } else {
        named
    }
}

struct Collector {
    exporter: SpanExporter,
    metrics: Arc<Metrics>,
    anchor: Anchor,
    /// It did not take the last batch, and that was said.
    is_lost: bool,
}

impl Collector {
    async fn run(mut self, mut spans: mpsc::Receiver<Span>, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let is_over = tokio::select! {
                biased;
                _ = &mut stopped => true,
                () = fill(&mut spans, &mut batch) => false,
            };
            if is_over {
                break;
            }
            self.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await;
        }
        // What came before the end is sent; nobody hands over more.
        spans.close();
        while spans.recv_many(&mut batch, BATCH).await > 0 {
            self.send(std::mem::take(&mut batch)).await;
        }
        self.send(batch).await;
    }

    async fn send(&mut self, batch: Vec<Span>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        self.anchor.settle();
        let batch = batch.into_iter().map(|span| data(span, &self.anchor)).collect();
        match self.exporter.export(batch).await {
            Ok(()) => {
                self.metrics.spans_ended("sent", count);
                if std::mem::take(&mut self.is_lost) {
                    info!("the collector of traces takes spans again");
                }
            }
            Err(error) => {
                self.metrics.spans_ended("lost", count);
                if !std::mem::replace(&mut self.is_lost, true) {
                    warn!(error = %error_chain(&error), "the collector of traces takes no spans; they are lost until it does");
                }
            }
        }
    }
}

/// Fills a batch, or part of it after a while.
///
/// # Cancel safety
/// What was received is in `batch`.
async fn fill(spans: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) {
    if batch.is_empty() && spans.recv_many(batch, BATCH).await == 0 {
        // Nobody is left to hand over more.
        return std::future::pending().await;
    }
    let delay = tokio::time::sleep(DELAY);
    tokio::pin!(delay);
    while batch.len() < BATCH {
        let missing = BATCH - batch.len();
        tokio::select! {
            received = spans.recv_many(batch, missing) => if received == 0 { return },
            () = &mut delay => return,
        }
    }
}

/// A moment by both clocks. It is kept, so that spans lie within each other as they did.
struct Anchor {
    instant: Instant,
    wall: SystemTime,
}

impl Anchor {
    /// The wall clock may be set or drift by this much before the anchor follows.
    const SLACK: Duration = Duration::from_millis(5);

    fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    fn settle(&mut self) {
        let now = Self::now();
        let told = self.wall_at(now.instant);
        let apart = told.duration_since(now.wall).unwrap_or_else(|error| error.duration());
        if apart > Self::SLACK {
            *self = now;
        }
    }

    fn wall_at(&self, instant: Instant) -> SystemTime {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.wall + later,
            None => self.wall.checked_sub(self.instant - instant).unwrap_or(self.wall),
        }
    }
}

fn data(span: Span, anchor: &Anchor) -> SpanData {
    let Span { trace, id, parent, name, kind, start, took, error, facts } = span;
    let context = SpanContext::new(
        TraceId::from_bytes(trace),
        SpanId::from_bytes(id.to_be_bytes()),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    );
    let attribute = |(key, fact)| match fact {
        Fact::Text(Cow::Borrowed(text)) => KeyValue::new(key, text),
        Fact::Text(Cow::Owned(text)) => KeyValue::new(key, text),
        Fact::Number(number) => KeyValue::new(key, i64::try_from(number).unwrap_or(i64::MAX)),
    };
    let start = anchor.wall_at(start);
    SpanData {
        span_context: context,
        parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.to_be_bytes())),
        parent_span_is_remote: kind == Kind::Server,
        span_kind: match kind {
            Kind::Server => SpanKind::Server,
            Kind::Consumer => SpanKind::Consumer,
            Kind::Internal => SpanKind::Internal,
        },
        name,
        start_time: start,
        end_time: start + took,
        attributes: facts.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("pixmill").with_version(env!("CARGO_PKG_VERSION")).build(),
    }
}
