//! The single table of metric names, and the handles behind `/metrics`. One registry per service, none global.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::window::{By, MINUTES, Quantiles, Window};

const UPLOADS: &str = "pixmill_uploads_total";
const RECEIVED_BYTES: &str = "pixmill_received_bytes_total";
const REFUSED: &str = "pixmill_refused_total";
const TASKS: &str = "pixmill_tasks_total";
const TRACE_SPANS: &str = "pixmill_trace_spans_total";
const RETRIES: &str = "pixmill_job_retries_total";
const QUEUE_SECONDS: &str = "pixmill_queue_seconds";
const TASK_SECONDS: &str = "pixmill_task_seconds";
const STAGE_SECONDS: &str = "pixmill_stage_seconds";
const JOB_PEAK_BYTES: &str = "pixmill_job_peak_bytes";
const HTTP_SECONDS: &str = "pixmill_http_request_seconds";
const QUEUED_JOBS: &str = "pixmill_queued_jobs";
const RUNNING_JOBS: &str = "pixmill_running_jobs";
const OLDEST_QUEUED_SECONDS: &str = "pixmill_oldest_queued_seconds";
const USED_CORES: &str = "pixmill_pool_used_cores";
const USED_POOL_BYTES: &str = "pixmill_pool_used_bytes";
const FREE_CORES: &str = "pixmill_pool_free_cores";
const FREE_POOL_BYTES: &str = "pixmill_pool_free_bytes";
const UPLOADS_IN_FLIGHT: &str = "pixmill_uploads_in_flight";
const SPOKEN_FOR_BYTES: &str = "pixmill_disk_spoken_for_bytes";
const RSS_BYTES: &str = "pixmill_rss_bytes";

/// Name, unit and meaning of every metric, as `/metrics` describes them.
const COUNTERS: &[(&str, &str)] = &[
    (UPLOADS, "uploads acknowledged"),
    (RECEIVED_BYTES, "bytes of accepted files"),
    (REFUSED, "requests and files refused, by code"),
    (TASKS, "tasks ended, by outcome, format and operation"),
    (TRACE_SPANS, "spans for the collector of traces, sent or lost, by outcome"),
    (RETRIES, "attempts that failed for a passing reason, by priority"),
];
const HISTOGRAMS: &[(&str, Unit, &str)] = &[
    (TASK_SECONDS, Unit::Seconds, "from a job's start until the task's result was stored"),
    (STAGE_SECONDS, Unit::Seconds, "time in one stage: queue, read, decode, transform, encode, store"),
    (QUEUE_SECONDS, Unit::Seconds, "from a job's enqueueing until its start, by priority"),
    (JOB_PEAK_BYTES, Unit::Bytes, "most bytes charged against a job's memory limit"),
    (HTTP_SECONDS, Unit::Seconds, "from a request's head until its answer's head, by route and status"),
];
const GAUGES: &[(&str, &str)] = &[
    (QUEUED_JOBS, "jobs waiting, by priority"),
    (OLDEST_QUEUED_SECONDS, "how long ago the oldest job that waits was enqueued, by priority; 0 when none waits"),
    (RUNNING_JOBS, "jobs held by a worker, by priority"),
    (USED_CORES, "permits of the pool in use"),
    (FREE_CORES, "permits of the pool not in use"),
    (USED_POOL_BYTES, "bytes of the memory budget in use"),
    (FREE_POOL_BYTES, "bytes of the memory budget not in use"),
    (UPLOADS_IN_FLIGHT, "uploads being received"),
    (SPOKEN_FOR_BYTES, "room on the disk that uploads in flight have claimed, and what came since the disk was last looked at"),
    (RSS_BYTES, "resident memory of the process"),
];

/// 0.5 ms to 60 s, about a factor of two apart.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// 64 KiB to 4 GiB, a factor of four apart.
const BYTES: &[f64] = &[65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0, 268435456.0, 1073741824.0, 4294967296.0];

/// The numbers of one task, the same as in its log line and its job's JSON.
#[derive(Clone, Copy, Debug)]
pub struct TaskSample {
    /// `completed` or a failure's code.
    pub outcome: &'static str,
    /// The kind of work.
    pub operation: &'static str,
    /// The result's format.
    pub format: &'static str,
    /// Between decode and encode.
    pub transform: Duration,
    /// Writing the format.
    pub encode: Duration,
    /// Making it durable.
    pub store: Duration,
    /// From the job's start.
    pub total: Duration,
}

/// What waits and runs of one priority.
#[derive(Clone, Copy, Debug)]
pub struct PriorityLoad {
    /// Its word.
    pub priority: &'static str,
    /// Jobs that wait.
    pub queued: u64,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// Jobs held by a worker.
    pub running: u64,
}

/// What there is of a thing with permits, and how much of it is free.
#[derive(Clone, Copy, Debug)]
pub struct Permits {
    /// In all.
    pub all: u64,
    /// Not in use.
    pub free: u64,
}

impl Permits {
    /// In use.
    #[must_use]
    pub const fn used(self) -> u64 {
        self.all.saturating_sub(self.free)
    }
}

/// How things stand at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Load<'l> {
    /// An entry for each priority.
    pub priorities: &'l [PriorityLoad],
    /// Of the pool.
    pub cores: Permits,
    /// Of its memory budget.
    pub bytes: Permits,
    /// Uploads being received.
    pub uploads_in_flight: u64,
    /// Room on the disk that is claimed.
    pub spoken_for_bytes: u64,
}

/// Counts and times of one service.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    stages: Mutex<BTreeMap<&'static str, StageSum>>,
    retries: Mutex<BTreeMap<&'static str, u64>>,
    /// The last hour, by minutes since `started`.
    window: Mutex<Window>,
    started: Instant,
    max_peak_bytes: AtomicU64,
}

/// What was measured lately.
#[derive(Clone, Debug, Default)]
pub struct Lately {
    /// Time it covers: whole minutes, of which the last is not over, and no more than since the start.
    pub covered: Duration,
    /// Tasks that completed.
    pub completed_tasks: u64,
    /// Tasks that failed.
    pub failed_tasks: u64,
    /// By stage.
    pub stages: BTreeMap<&'static str, Quantiles>,
    /// By format of the result, then by stage; of completed tasks.
    pub formats: BTreeMap<&'static str, BTreeMap<&'static str, Quantiles>>,
    /// By kind of work, then by stage; of completed tasks.
    pub operations: BTreeMap<&'static str, BTreeMap<&'static str, Quantiles>>,
    /// How long jobs waited, by priority.
    pub queue_by_priority: BTreeMap<&'static str, Quantiles>,
}

#[derive(Clone, Copy, Debug, Default)]
struct StageSum {
    count: u64,
    sum: Duration,
    max: Duration,
}

/// What one stage took since the service started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageAverage {
    /// `queue`, `read`, `decode`, `transform`, `encode` or `store`.
    pub name: &'static str,
    /// How often.
    pub count: u64,
    /// On average, in milliseconds.
    pub avg_ms: f64,
    /// At most, in milliseconds.
    pub max_ms: f64,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn metadata() -> Metadata<'static> {
    Metadata::new("pixmill", Level::INFO, None)
}

impl Metrics {
    /// An empty registry with every metric described.
    ///
    /// # Errors
    /// Only if a bucket list were empty, which the tables above rule out.
    pub fn new() -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new().set_buckets(SECONDS)?;
        builder = builder.set_buckets_for_metric(metrics_exporter_prometheus::Matcher::Full(JOB_PEAK_BYTES.to_owned()), BYTES)?;
        let recorder = builder.build_recorder();
        for (name, text) in COUNTERS {
            recorder.describe_counter(KeyName::from_const_str(name), None, SharedString::const_str(text));
        }
        for (name, unit, text) in HISTOGRAMS {
            recorder.describe_histogram(KeyName::from_const_str(name), Some(*unit), SharedString::const_str(text));
        }
        for (name, text) in GAUGES {
            recorder.describe_gauge(KeyName::from_const_str(name), None, SharedString::const_str(text));
        }
        let handle = recorder.handle();
        Ok(Self {
            recorder,
            handle,
            stages: Mutex::default(),
            retries: Mutex::default(),
            window: Mutex::default(),
            started: Instant::now(),
            max_peak_bytes: AtomicU64::new(0),
        })
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &metadata())
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &metadata())
    }

    fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &metadata())
    }

    /// An upload was acknowledged.
    pub fn upload_received(&self, bytes: u64) {
        self.counter(UPLOADS, vec![]).increment(1);
        self.counter(RECEIVED_BYTES, vec![]).increment(bytes);
    }

    /// A request, or a file of one, was refused.
    pub fn refused(&self, code: &'static str) {
        self.counter(REFUSED, vec![Label::from_static_parts("code", code)]).increment(1);
    }

    /// Spans were sent to the collector of traces, or lost, as `outcome` says.
    pub fn spans_ended(&self, outcome: &'static str, count: u64) {
        self.counter(TRACE_SPANS, vec![Label::from_static_parts("outcome", outcome)]).increment(count);
    }

    /// A task ended.
    pub fn task_ended(&self, sample: &TaskSample) {
        let TaskSample { outcome, operation, format, transform, encode, store, total } = *sample;
        let labels = vec![
            Label::from_static_parts("outcome", outcome),
            Label::from_static_parts("format", format),
            Label::from_static_parts("operation", operation),
        ];
        self.counter(TASKS, labels.clone()).increment(1);
        self.histogram(TASK_SECONDS, labels).record(total);
        let is_completed = outcome == "completed";
        // One that failed with its whole job was in none of them.
        if is_completed || !(transform + encode + store).is_zero() {
            self.stage("transform", transform);
            self.stage("encode", encode);
            self.stage("store", store);
        }
        let minute = self.minute();
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.count(minute, is_completed);
        window.record(minute, (By::Stage, "total"), total);
        if is_completed {
            for (stage, time) in [("transform", transform), ("encode", encode), ("store", store), ("total", total)] {
                window.record(minute, (By::Format(format), stage), time);
                window.record(minute, (By::Operation(operation), stage), time);
            }
        }
    }

    /// A job of this priority had waited for so long when it began, and came to its end.
    pub fn job_waited(&self, priority: &'static str, queue: Duration) {
        self.stage("queue", queue);
        self.histogram(QUEUE_SECONDS, vec![Label::from_static_parts("priority", priority)]).record(queue);
        let minute = self.minute();
        self.window.lock().unwrap_or_else(PoisonError::into_inner).record(minute, (By::Priority(priority), "queue"), queue);
    }

    fn minute(&self) -> u64 {
        self.started.elapsed().as_secs() / 60
    }

    /// What was measured within `window`, rounded up to minutes, an hour at most.
    #[must_use]
    pub fn lately(&self, window: Duration) -> Lately {
        let minutes = window.as_secs().div_ceil(60).clamp(1, MINUTES);
        let sum = self.window.lock().unwrap_or_else(PoisonError::into_inner).sum(self.minute(), minutes);
        let covered = Duration::from_secs(minutes * 60).min(self.started.elapsed());
        let mut lately = Lately { covered, completed_tasks: sum.completed, failed_tasks: sum.failed, ..Lately::default() };
        for ((by, stage), quantiles) in sum.series {
            match by {
                By::Stage => lately.stages.insert(stage, quantiles),
                By::Format(format) => lately.formats.entry(format).or_default().insert(stage, quantiles),
                By::Operation(operation) => lately.operations.entry(operation).or_default().insert(stage, quantiles),
                By::Priority(priority) => lately.queue_by_priority.insert(priority, quantiles),
            };
        }
        lately
    }

    /// Time spent in one stage of a job or task.
    pub fn stage(&self, stage: &'static str, time: Duration) {
        self.histogram(STAGE_SECONDS, vec![Label::from_static_parts("stage", stage)]).record(time);
        let minute = self.minute();
        self.window.lock().unwrap_or_else(PoisonError::into_inner).record(minute, (By::Stage, stage), time);
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = stages.entry(stage).or_default();
        sum.count += 1;
        sum.sum += time;
        sum.max = sum.max.max(time);
    }

    /// What each stage took since the service started.
    #[must_use]
    pub fn stage_averages(&self) -> Vec<StageAverage> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |time: Duration| time.as_micros() as f64 / 1000.0;
        stages
            .iter()
            .map(|(name, s)| {
                // An entry is made by its first sample, so the count is not zero.
                let avg_ms = (s.sum.as_micros() as f64 / s.count as f64).round() / 1000.0;
                StageAverage { name, count: s.count, avg_ms, max_ms: ms(s.max) }
            })
            .collect()
    }

    /// The most bytes any job was charged since the service started.
    #[must_use]
    pub fn max_peak_bytes(&self) -> u64 {
        self.max_peak_bytes.load(Ordering::Relaxed)
    }

    /// The most bytes a job was charged.
    pub fn job_peak(&self, bytes: u64) {
        self.histogram(JOB_PEAK_BYTES, vec![]).record(bytes as f64);
        self.max_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// An attempt at a job of this priority failed for a passing reason.
    pub fn job_retried(&self, priority: &'static str) {
        self.counter(RETRIES, vec![Label::from_static_parts("priority", priority)]).increment(1);
        *self.retries.lock().unwrap_or_else(PoisonError::into_inner).entry(priority).or_default() += 1;
    }

    /// How many those were since the service started.
    #[must_use]
    pub fn retries(&self, priority: &'static str) -> u64 {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner).get(priority).copied().unwrap_or_default()
    }

    /// A request was answered.
    pub fn http_request(&self, route: String, status: u16, time: Duration) {
        self.histogram(HTTP_SECONDS, vec![Label::new("route", route), Label::new("status", status.to_string())]).record(time);
    }

    /// Gauges of the moment, set when `/metrics` is read.
    pub fn set_gauges(&self, load: &Load<'_>) {
        for of in load.priorities {
            let labels = || vec![Label::from_static_parts("priority", of.priority)];
            self.gauge(QUEUED_JOBS, labels()).set(of.queued as f64);
            self.gauge(OLDEST_QUEUED_SECONDS, labels()).set(of.oldest.as_secs_f64());
            self.gauge(RUNNING_JOBS, labels()).set(of.running as f64);
        }
        for (name, value) in [
            (FREE_CORES, load.cores.free),
            (USED_CORES, load.cores.used()),
            (FREE_POOL_BYTES, load.bytes.free),
            (USED_POOL_BYTES, load.bytes.used()),
            (UPLOADS_IN_FLIGHT, load.uploads_in_flight),
            (SPOKEN_FOR_BYTES, load.spoken_for_bytes),
            (RSS_BYTES, rss_bytes()),
        ] {
            self.gauge(name, vec![]).set(value as f64);
        }
    }

    /// Everything in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Drains histogram buffers; to be called every few seconds so that memory stays flat when nobody reads `/metrics`.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
#[must_use]
pub fn rss_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered() {
        let metrics = Metrics::new().expect("tables are valid");
        metrics.upload_received(7);
        let ms = Duration::from_millis;
        let sample = TaskSample {
            outcome: "completed",
            operation: "resize",
            format: "jpeg",
            transform: ms(1),
            encode: ms(2),
            store: ms(3),
            total: ms(9),
        };
        metrics.task_ended(&sample);
        let none = Duration::ZERO;
        metrics.task_ended(&TaskSample { outcome: "timeout", transform: none, encode: none, store: none, ..sample });
        metrics.job_waited("low", ms(70));
        metrics.job_retried("low");
        let low = PriorityLoad { priority: "low", queued: 1, oldest: ms(1500), running: 2 };
        let permits = Permits { all: 4, free: 3 };
        metrics.set_gauges(&Load { priorities: &[low], cores: permits, bytes: permits, uploads_in_flight: 5, spoken_for_bytes: 6 });
        let text = metrics.render();
        for line in [
            "pixmill_received_bytes_total 7",
            "pixmill_tasks_total{outcome=\"completed\",format=\"jpeg\",operation=\"resize\"} 1",
            "pixmill_stage_seconds_count{stage=\"encode\"} 1",
            "pixmill_running_jobs{priority=\"low\"} 2",
            "pixmill_oldest_queued_seconds{priority=\"low\"} 1.5",
            "pixmill_job_retries_total{priority=\"low\"} 1",
            "pixmill_queue_seconds_count{priority=\"low\"} 1",
            "pixmill_pool_used_cores 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        let lately = metrics.lately(Duration::from_secs(900));
        assert_eq!((lately.completed_tasks, lately.failed_tasks), (1, 1));
        let [encode, total] = ["encode", "total"].map(|stage| lately.stages[stage]);
        assert_eq!((encode.count, encode.max, total.count), (1, ms(2), 2), "what failed with its job was encoded never");
        let off = |found: Duration, truth: Duration| (found.as_secs_f64() / truth.as_secs_f64() - 1.0).abs();
        assert!(off(encode.p50, ms(2)) <= 0.01 && off(lately.queue_by_priority["low"].p99, ms(70)) <= 0.01, "{lately:?}");
        assert_eq!(lately.formats["jpeg"]["total"].count, 1);
        assert_eq!(lately.operations["resize"]["transform"].count, 1);
        assert_eq!((metrics.retries("low"), metrics.retries("high")), (1, 0));
        assert!(lately.covered < Duration::from_secs(60), "no more than since the start: {:?}", lately.covered);
    }
}
