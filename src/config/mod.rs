//! Configuration: flags = environment = file, resolved once into sections with every default filled in.
//!
//! Knows the options of other rooms, and no other room knows where its options came from.

mod collector;
mod listen;
mod settings;
mod size;
mod watermarks;

use std::{collections::BTreeMap, path::PathBuf, str::FromStr, time::Duration};

use image_pipeline::{Limits, Presets};

use crate::{http::EdgeOptions, ingest::IngestLimits};

pub use collector::Collector;
pub use listen::Listen;
pub use settings::Settings;
pub use size::{ByteSize, Span};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The effective configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where and how connections are served.
    pub server: Server,
    /// Where bytes and rows live.
    pub storage: Storage,
    /// What a request may bring.
    pub ingest: IngestLimits,
    /// How much work runs at once.
    pub pool: Pool,
    /// Named sets of options.
    pub presets: Presets,
    /// Files of the images that options may lay over others, by name; see [`Config::read_watermarks`].
    pub watermarks: BTreeMap<String, PathBuf>,
    /// Where traces are sent, if anywhere.
    pub otlp_endpoint: Option<Collector>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written (`tracing` filter syntax).
    pub log: String,
}

/// Where and how connections are served.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address to listen on; port 0 picks one.
    pub listen: Listen,
    /// TLS, if it ends here.
    pub tls: Option<TlsFiles>,
    /// Who may speak to the service, and under which name.
    pub edge: EdgeOptions,
    /// Connections served at once; more wait in the kernel's line.
    pub max_connections: u32,
    /// Connections served at once for each client; more are refused with 429.
    pub max_connections_per_client: u32,
    /// Uploads being received at once; more are refused with 503.
    pub max_uploads_in_flight: u32,
    /// Uploads being received at once from each client; more are refused with 429.
    pub max_uploads_per_client: u32,
    /// Longest time for a TLS handshake, and for a request's head.
    pub header_timeout: Duration,
    /// Longest wait for the next byte of a body.
    pub body_idle_timeout: Duration,
    /// Longest time for a whole body.
    pub body_timeout: Duration,
    /// Fewest bytes a second of a body, and of an answer that waits to be taken.
    pub min_body_rate: u64,
    /// Longest time in which a client takes less of an answer than that.
    pub write_timeout: Duration,
    /// Longest time a connection stays open without a request.
    pub idle_timeout: Duration,
    /// How long running requests and jobs may go on after SIGTERM.
    pub shutdown_grace: Duration,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The chain, our own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Where bytes and rows live.
#[derive(Clone, Debug)]
pub struct Storage {
    /// `staging/`, `blobs/` and `catalog.db` are made below it.
    pub data_dir: PathBuf,
    /// Uploads are refused with 507 when less than this is free.
    pub disk_reserve_bytes: u64,
    /// How long an upload is kept, and the longest it may ask for; for ever, if absent.
    pub upload_ttl: Option<Duration>,
    /// How long a job is remembered after it ended, once its image is gone, and a batch in any case.
    pub history: Duration,
}

/// How much work runs at once.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Worker threads.
    pub workers: u32,
    /// Bytes all running jobs may use together.
    pub memory_budget_bytes: u64,
    /// Longest time one job may hold a core.
    pub job_deadline: Duration,
    /// Attempts a job gets when it fails for passing reasons.
    pub max_attempts: u32,
    /// Waiting jobs above which uploads are refused with 503.
    pub max_queued_jobs: u64,
    /// `POST /v1/process` requests that may wait for the pool.
    pub max_waiting: u32,
}

impl Config {
    /// Fills in defaults and checks that the parts agree.
    ///
    /// # Errors
    /// When a value is out of range or two values contradict each other; the text names both.
    pub fn resolve(s: Settings) -> Result<Self, ConfigError> {
        let workers = s.workers.unwrap_or_else(granted_cores);
        if workers == 0 || workers > 1024 {
            return Err(ConfigError(format!("workers is {workers}, allowed is 1 to 1024")));
        }
        let memory_budget_bytes = s.memory_budget.map_or_else(|| granted_memory() / 2, ByteSize::bytes);
        if memory_budget_bytes < 16 << 20 {
            return Err(ConfigError(format!("memory-budget is {memory_budget_bytes} bytes, at least 16 MiB are needed")));
        }
        let max_file_bytes = s.max_file_bytes.map_or(256 << 20, ByteSize::bytes);
        let max_request_bytes = s.max_request_bytes.map_or(max_file_bytes.saturating_mul(4), ByteSize::bytes);
        if max_request_bytes < max_file_bytes {
            return Err(ConfigError(format!("max-request-bytes ({max_request_bytes}) is below max-file-bytes ({max_file_bytes})")));
        }
        let mut presets = Presets::builtin();
        for (name, options) in s.presets() {
            presets = presets.with(&name, &options).map_err(|e| ConfigError(format!("preset {name}: {e}")))?;
        }
        let watermarks = s.watermarks()?;
        let tls = match (s.tls_cert, s.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            _ => return Err(ConfigError("tls-cert and tls-key belong together: give both or none".to_owned())),
        };
        let time = |name: &str, given: Option<Span>, default_s: u64| match given.map_or(Duration::from_secs(default_s), Span::duration) {
            Duration::ZERO => Err(ConfigError(format!("{name} is 0, more is needed"))),
            time => Ok(time),
        };
        // A service whose line is no place long would start and answer nobody.
        let count = |name: &str, given: Option<u32>, default: u32| match given.unwrap_or(default) {
            0 => Err(ConfigError(format!("{name} is 0, at least 1 is needed"))),
            count => Ok(count),
        };
        Ok(Self {
            server: Server {
                listen: s.listen.unwrap_or_else(|| Listen::Tcp("127.0.0.1:8080".to_owned())),
                tls,
                edge: EdgeOptions {
                    public_url: read("public-url", s.public_url)?,
                    path_prefix: read("path-prefix", s.path_prefix)?,
                    trusted_proxies: read("trusted-proxies", s.trusted_proxies)?,
                    allowed_hosts: read("allowed-hosts", s.allowed_hosts)?,
                    cors_origins: read("cors-origins", s.cors_origins)?,
                },
                max_connections: count("max-connections", s.max_connections, 4096)?,
                max_connections_per_client: count("max-connections-per-client", s.max_connections_per_client, 512)?,
                max_uploads_in_flight: count("max-uploads-in-flight", s.max_uploads_in_flight, 256)?,
                max_uploads_per_client: count("max-uploads-per-client", s.max_uploads_per_client, 128)?,
                header_timeout: time("header-timeout", s.header_timeout, 30)?,
                body_idle_timeout: time("body-idle-timeout", s.body_idle_timeout, 30)?,
                body_timeout: time("body-timeout", s.body_timeout, 3600)?,
                min_body_rate: s.min_body_rate.map_or(1024, ByteSize::bytes),
                write_timeout: time("write-timeout", s.write_timeout, 30)?,
                idle_timeout: time("idle-timeout", s.idle_timeout, 75)?,
                shutdown_grace: s.shutdown_grace.map_or(Duration::from_secs(20), Span::duration),
            },
            storage: Storage {
                data_dir: s.data_dir.unwrap_or_else(|| PathBuf::from("uploads")),
                disk_reserve_bytes: s.disk_reserve_bytes.map_or(256 << 20, ByteSize::bytes),
                upload_ttl: s.upload_ttl.map(|ttl| time("upload-ttl", Some(ttl), 0)).transpose()?,
                history: s.history.map_or(Duration::from_secs(30 * 24 * 3600), Span::duration),
            },
            ingest: IngestLimits {
                max_file_bytes,
                max_request_bytes,
                max_files: count("max-files", s.max_files, 100)?,
                max_fields: s.max_fields.unwrap_or(200),
                max_field_bytes: 64 << 10,
                max_refused_bytes: max_file_bytes,
                image: Limits {
                    max_bytes: max_file_bytes,
                    max_pixels: s.max_pixels.unwrap_or(100_000_000),
                    max_frames: s.max_frames.unwrap_or(1000),
                    max_animation_pixels: s.max_animation_pixels.unwrap_or(500_000_000),
                    max_memory_bytes: memory_budget_bytes,
                    allow_svg: s.allow_svg.unwrap_or(false),
                    ..Limits::default()
                },
            },
            pool: Pool {
                workers,
                memory_budget_bytes,
                job_deadline: s.job_deadline.map_or(Duration::from_secs(60), Span::duration),
                max_attempts: s.max_attempts.unwrap_or(5).max(1),
                max_queued_jobs: s.max_queued_jobs.unwrap_or(100_000),
                max_waiting: s.max_waiting.unwrap_or(64),
            },
            presets,
            watermarks,
            otlp_endpoint: read("otlp-endpoint", s.otlp_endpoint)?,
            log_format: s.log_format.unwrap_or(LogFormat::Human),
            log: s.log.unwrap_or_else(|| "info".to_owned()),
        })
    }

    /// The effective configuration in the file's own syntax. There are no secrets in it yet; a section that
    /// gains one prints it as `"redacted"`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let settings = Settings::effective(self);
        toml::to_string(&settings).unwrap_or_else(|e| format!("# cannot be written: {e}\n"))
    }
}

/// A setting with a form of its own. Empty text is absence: environments often set what they do not use.
fn read<T: FromStr<Err = String>>(name: &str, text: Option<String>) -> Result<Option<T>, ConfigError> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|error| ConfigError(format!("{name}: {error}")))).transpose()
}

/// Cores the scheduler and the cgroup grant (std reads both).
fn granted_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1024).min(1024))
}

/// Bytes of memory the machine has or the cgroup grants, whichever is less.
fn granted_memory() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    // cgroup v2: the limit of our own group (`0::/path` in /proc/self/cgroup), or of the root as a container sees it.
    let own = read("/proc/self/cgroup")
        .and_then(|text| Some(format!("/sys/fs/cgroup{}/memory.max", text.lines().find_map(|l| l.strip_prefix("0::"))?)));
    let cgroup = own.as_deref().into_iter().chain(["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
    let cgroup = cgroup.filter_map(|path| read(path)?.trim().parse::<u64>().ok()).min();
    machine.unwrap_or(2 << 30).min(cgroup.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_resolve_and_print_as_a_file_that_reads_back() {
        let config = Config::resolve(Settings::default()).expect("defaults are valid");
        let text = config.to_toml();
        let again = Config::resolve(Settings::from_toml(&text).expect("own output parses")).expect("and resolves");
        assert_eq!(again.to_toml(), text);
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = Settings::from_toml("workers = 3\nmax-pixels = 5\n[presets]\nhero = \"rs:fill:1600:600\"\n").expect("valid");
        let flags = Settings { workers: Some(2), ..Settings::default() };
        let config = Config::resolve(flags.over(file)).expect("valid");
        assert_eq!((config.pool.workers, config.ingest.image.max_pixels), (2, 5));
        assert_eq!(config.presets.get("hero"), Some("rs:fill:1600:600"));
    }

    #[test]
    fn contradictions_and_unknown_names_are_errors() {
        assert!(Settings::from_toml("wrokers = 3").is_err());
        for text in [
            "workers = 0",
            "memory-budget = \"1 MiB\"",
            "max-file-bytes = 10\nmax-request-bytes = 5",
            "public-url = \"x\"",
            "tls-cert = \"x\"",
            "idle-timeout = \"0s\"",
            "upload-ttl = \"0s\"",
        ] {
            let settings = Settings::from_toml(text).expect("parses");
            assert!(Config::resolve(settings).is_err(), "{text}");
        }
        for name in ["max-connections", "max-connections-per-client", "max-uploads-in-flight", "max-uploads-per-client", "max-files"] {
            let none = Settings::from_toml(&format!("{name} = 0")).expect("parses");
            let refused = Config::resolve(none).expect_err("a service that answers nobody").to_string();
            assert_eq!(refused, format!("{name} is 0, at least 1 is needed"));
            assert!(Config::resolve(Settings::from_toml(&format!("{name} = 1")).expect("parses")).is_ok(), "{name}");
        }
        let bad = Settings::from_toml("[presets]\nx = \"widht:1\"").expect("parses");
        assert!(Config::resolve(bad).expect_err("unknown option").to_string().contains("widht"));
    }
}
