//! The single table of metric names, and the handles behind `/metrics`. One registry per service, none global.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

const UPLOADS: &str = "pixmill_uploads_total";
const RECEIVED_BYTES: &str = "pixmill_received_bytes_total";
const REFUSED: &str = "pixmill_refused_total";
const TASKS: &str = "pixmill_tasks_total";
const RETRIES: &str = "pixmill_job_retries_total";
const TASK_SECONDS: &str = "pixmill_task_seconds";
const STAGE_SECONDS: &str = "pixmill_stage_seconds";
const JOB_PEAK_BYTES: &str = "pixmill_job_peak_bytes";
const HTTP_SECONDS: &str = "pixmill_http_request_seconds";
const QUEUED_JOBS: &str = "pixmill_queued_jobs";
const RUNNING_JOBS: &str = "pixmill_running_jobs";
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
    (TASKS, "tasks ended, by outcome and format"),
    (RETRIES, "attempts that failed for a passing reason"),
];
const HISTOGRAMS: &[(&str, Unit, &str)] = &[
    (TASK_SECONDS, Unit::Seconds, "from a job's start until the task's result was stored"),
    (STAGE_SECONDS, Unit::Seconds, "time in one stage: queue, read, decode, transform, encode, store"),
    (JOB_PEAK_BYTES, Unit::Bytes, "most bytes charged against a job's memory limit"),
    (HTTP_SECONDS, Unit::Seconds, "from a request's head until its answer's head, by route and status"),
];
const GAUGES: &[(&str, &str)] = &[
    (QUEUED_JOBS, "jobs waiting"),
    (RUNNING_JOBS, "jobs held by a worker"),
    (FREE_CORES, "permits of the pool not in use"),
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

/// Counts and times of one service.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    stages: Mutex<BTreeMap<&'static str, StageSum>>,
    max_peak_bytes: AtomicU64,
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
        Ok(Self { recorder, handle, stages: Mutex::default(), max_peak_bytes: AtomicU64::new(0) })
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &metadata())
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &metadata())
    }

    fn gauge(&self, name: &'static str) -> Gauge {
        self.recorder.register_gauge(&Key::from_static_name(name), &metadata())
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

    /// A task ended.
    pub fn task_ended(&self, sample: &TaskSample) {
        let labels = vec![Label::from_static_parts("outcome", sample.outcome), Label::from_static_parts("format", sample.format)];
        self.counter(TASKS, labels.clone()).increment(1);
        self.histogram(TASK_SECONDS, labels).record(sample.total);
        self.stage("transform", sample.transform);
        self.stage("encode", sample.encode);
        self.stage("store", sample.store);
    }

    /// Time spent in one stage of a job or task.
    pub fn stage(&self, stage: &'static str, time: Duration) {
        self.histogram(STAGE_SECONDS, vec![Label::from_static_parts("stage", stage)]).record(time);
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

    /// An attempt failed for a passing reason.
    pub fn job_retried(&self) {
        self.counter(RETRIES, vec![]).increment(1);
    }

    /// A request was answered.
    pub fn http_request(&self, route: String, status: u16, time: Duration) {
        self.histogram(HTTP_SECONDS, vec![Label::new("route", route), Label::new("status", status.to_string())]).record(time);
    }

    /// Gauges of the moment, set when `/metrics` is read.
    pub fn set_gauges(
        &self,
        queued: u64,
        running: u64,
        free_cores: u64,
        free_pool_bytes: u64,
        uploads_in_flight: u64,
        spoken_for_bytes: u64,
    ) {
        self.gauge(QUEUED_JOBS).set(queued as f64);
        self.gauge(RUNNING_JOBS).set(running as f64);
        self.gauge(FREE_CORES).set(free_cores as f64);
        self.gauge(FREE_POOL_BYTES).set(free_pool_bytes as f64);
        self.gauge(UPLOADS_IN_FLIGHT).set(uploads_in_flight as f64);
        self.gauge(SPOKEN_FOR_BYTES).set(spoken_for_bytes as f64);
        self.gauge(RSS_BYTES).set(rss_bytes() as f64);
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
        let sample = TaskSample { outcome: "completed", format: "jpeg", transform: ms(1), encode: ms(2), store: ms(3), total: ms(9) };
        metrics.task_ended(&sample);
        metrics.set_gauges(1, 2, 3, 4, 5, 6);
        let text = metrics.render();
        for line in [
            "pixmill_received_bytes_total 7",
            "pixmill_tasks_total{outcome=\"completed\",format=\"jpeg\"} 1",
            "pixmill_stage_seconds_count{stage=\"encode\"} 1",
            "pixmill_running_jobs 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
