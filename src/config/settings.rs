//! Every setting once: its flag, its environment variable, its name in the file.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{ByteSize, Config, ConfigError, Listen, LogFormat, Span};

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $field:ident : $ty:ty, $env:literal, $value:literal, |$config:ident| $effective:expr;)+) => {
        /// What flags, environment and file say; absent means the default.
        #[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct Settings {
            $(
                $(#[doc = $doc])+
                #[arg(long, env = $env, value_name = $value, global = true)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$ty>,
            )+
            /// Read SVG, too: drawn here, without anything from outside [default: false]
            #[arg(long, env = "PIXMILL_ALLOW_SVG", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, global = true)]
            #[serde(skip_serializing_if = "Option::is_none")]
            pub allow_svg: Option<bool>,
            /// A named set of options, `name=options`; may be repeated
            #[arg(long = "preset", env = "PIXMILL_PRESET", value_name = "NAME=OPTIONS", global = true, value_delimiter = ';')]
            #[serde(skip)]
            pub preset_flags: Vec<String>,
            /// An image that the option `watermark` may lay on results, `name=file`; may be repeated; a new picture needs a new name
            #[arg(long = "watermark", env = "PIXMILL_WATERMARK", value_name = "NAME=FILE", global = true, value_delimiter = ';')]
            #[serde(skip)]
            pub watermark_flags: Vec<String>,
            #[arg(skip)]
            #[serde(rename = "presets", skip_serializing_if = "BTreeMap::is_empty")]
            pub(super) preset_table: BTreeMap<String, String>,
            #[arg(skip)]
            #[serde(rename = "watermarks", skip_serializing_if = "BTreeMap::is_empty")]
            pub(super) watermark_table: BTreeMap<String, PathBuf>,
        }

        impl Settings {
            /// These settings where they say something, `file`'s where they do not.
            #[must_use]
            pub fn over(mut self, file: Self) -> Self {
                $( self.$field = self.$field.or(file.$field); )+
                self.allow_svg = self.allow_svg.or(file.allow_svg);
                self.preset_table = file.preset_table;
                self.watermark_table = file.watermark_table;
                self
            }

            /// The settings that would give this configuration.
            pub(super) fn effective(config: &Config) -> Self {
                Self {
                    $( $field: { let $config = config; $effective }, )+
                    allow_svg: Some(config.ingest.image.allow_svg),
                    preset_flags: Vec::new(),
                    watermark_flags: Vec::new(),
                    preset_table: config.presets.iter().map(|(name, options)| (name.to_owned(), options.to_owned())).collect(),
                    watermark_table: config.watermarks.clone(),
                }
            }
        }
    };
}

settings! {
    /// Address to listen on, host:port or unix:/path; port 0 picks a free one [default: 127.0.0.1:8080]
    listen: Listen, "PIXMILL_LISTEN", "ADDR", |c| Some(c.server.listen.clone());
    /// Certificate chain in PEM, for TLS; taken up again when it changes and on SIGHUP
    tls_cert: PathBuf, "PIXMILL_TLS_CERT", "FILE", |c| c.server.tls.as_ref().map(|tls| tls.certificate.clone());
    /// Its private key in PEM
    tls_key: PathBuf, "PIXMILL_TLS_KEY", "FILE", |c| c.server.tls.as_ref().map(|tls| tls.key.clone());
    /// Folder for originals, results and the catalog [default: ./uploads]
    data_dir: PathBuf, "PIXMILL_DATA_DIR", "DIR", |c| Some(c.storage.data_dir.clone());
    /// Base of the URLs in answers [default: what the request was sent to, if believed]
    public_url: String, "PIXMILL_PUBLIC_URL", "URL", |c| text(c.server.edge.public_url.as_ref());
    /// Path all routes are below, such as /pix [default: none]
    path_prefix: String, "PIXMILL_PATH_PREFIX", "PATH", |c| text(c.server.edge.path_prefix.as_ref());
    /// Names to serve under, such as img.example.com,*.example.com or *; others are refused [default: all, on loopback only local ones]
    allowed_hosts: String, "PIXMILL_ALLOWED_HOSTS", "LIST", |c| text(c.server.edge.allowed_hosts.as_ref());
    /// Networks and unix (our socket) whose word on client, scheme, host and prefix counts [default: none]
    trusted_proxies: String, "PIXMILL_TRUSTED_PROXIES", "LIST", |c| text(c.server.edge.trusted_proxies.as_ref());
    /// Origins whose pages may upload, read and delete, such as `https://app.example.com`, or * [default: only our own]
    cors_origins: String, "PIXMILL_CORS_ORIGINS", "LIST", |c| text(c.server.edge.cors_origins.as_ref());
    /// Worker threads [default: the cores the machine or cgroup grants]
    workers: u32, "PIXMILL_WORKERS", "N", |c| Some(c.pool.workers);
    /// Memory for image work, such as 2GiB [default: half of what the machine or cgroup grants]
    memory_budget: ByteSize, "PIXMILL_MEMORY_BUDGET", "SIZE", |c| Some(ByteSize(c.pool.memory_budget_bytes));
    /// Largest file [default: 256 MiB]
    max_file_bytes: ByteSize, "PIXMILL_MAX_FILE_BYTES", "SIZE", |c| Some(ByteSize(c.ingest.max_file_bytes));
    /// Largest request body [default: 4 x max-file-bytes]
    max_request_bytes: ByteSize, "PIXMILL_MAX_REQUEST_BYTES", "SIZE", |c| Some(ByteSize(c.ingest.max_request_bytes));
    /// Most files in one request [default: 100]
    max_files: u32, "PIXMILL_MAX_FILES", "N", |c| Some(c.ingest.max_files);
    /// Most other fields in one request [default: 200]
    max_fields: u32, "PIXMILL_MAX_FIELDS", "N", |c| Some(c.ingest.max_fields);
    /// Most pixels of an image, all frames on their canvas counted once [default: 100000000]
    max_pixels: u64, "PIXMILL_MAX_PIXELS", "N", |c| Some(c.ingest.image.max_pixels);
    /// Most frames of an image [default: 1000]
    max_frames: u32, "PIXMILL_MAX_FRAMES", "N", |c| Some(c.ingest.image.max_frames);
    /// Most pixels of all frames of an animation, each as large as its canvas [default: 500000000]
    max_animation_pixels: u64, "PIXMILL_MAX_ANIMATION_PIXELS", "N", |c| Some(c.ingest.image.max_animation_pixels);
    /// Free disk below which uploads are refused [default: 256 MiB]
    disk_reserve_bytes: ByteSize, "PIXMILL_DISK_RESERVE_BYTES", "SIZE", |c| Some(ByteSize(c.storage.disk_reserve_bytes));
    /// How long uploads are kept, such as 7d; requests may ask for less with ttl [default: for ever]
    upload_ttl: Span, "PIXMILL_UPLOAD_TTL", "TIME", |c| c.storage.upload_ttl.map(Span);
    /// How long a job is remembered after it ended, once its image was deleted, and a batch; 0s for not at all [default: 30d]
    history: Span, "PIXMILL_HISTORY", "TIME", |c| Some(Span(c.storage.history));
    /// Connections served at once [default: 4096]
    max_connections: u32, "PIXMILL_MAX_CONNECTIONS", "N", |c| Some(c.server.max_connections);
    /// Connections served at once for each client (IPv6: each /64) [default: 512]
    max_connections_per_client: u32, "PIXMILL_MAX_CONNECTIONS_PER_CLIENT", "N", |c| Some(c.server.max_connections_per_client);
    /// Uploads received at once [default: 256]
    max_uploads_in_flight: u32, "PIXMILL_MAX_UPLOADS_IN_FLIGHT", "N", |c| Some(c.server.max_uploads_in_flight);
    /// Uploads received at once from each client (IPv6: each /64) [default: 128]
    max_uploads_per_client: u32, "PIXMILL_MAX_UPLOADS_PER_CLIENT", "N", |c| Some(c.server.max_uploads_per_client);
    /// Waiting jobs above which uploads are refused [default: 100000]
    max_queued_jobs: u64, "PIXMILL_MAX_QUEUED_JOBS", "N", |c| Some(c.pool.max_queued_jobs);
    /// Requests that may wait for the pool at once [default: 64]
    max_waiting: u32, "PIXMILL_MAX_WAITING", "N", |c| Some(c.pool.max_waiting);
    /// Attempts a job gets when it fails for passing reasons [default: 5]
    max_attempts: u32, "PIXMILL_MAX_ATTEMPTS", "N", |c| Some(c.pool.max_attempts);
    /// Longest time a job may hold a core [default: 60s]
    job_deadline: Span, "PIXMILL_JOB_DEADLINE", "TIME", |c| Some(Span(c.pool.job_deadline));
    /// Longest time for a TLS handshake, and for a request's head [default: 30s]
    header_timeout: Span, "PIXMILL_HEADER_TIMEOUT", "TIME", |c| Some(Span(c.server.header_timeout));
    /// Longest wait for the next bytes of a body [default: 30s]
    body_idle_timeout: Span, "PIXMILL_BODY_IDLE_TIMEOUT", "TIME", |c| Some(Span(c.server.body_idle_timeout));
    /// Longest time for a whole body [default: 1h]
    body_timeout: Span, "PIXMILL_BODY_TIMEOUT", "TIME", |c| Some(Span(c.server.body_timeout));
    /// Fewest bytes a second of a body we wait for, or of an answer the client asked for; 0 for any [default: 1KiB]
    min_body_rate: ByteSize, "PIXMILL_MIN_BODY_RATE", "SIZE", |c| Some(ByteSize(c.server.min_body_rate));
    /// Longest time in which a client takes less of an answer than that rate [default: 30s]
    write_timeout: Span, "PIXMILL_WRITE_TIMEOUT", "TIME", |c| Some(Span(c.server.write_timeout));
    /// Longest time a connection stays open without a request [default: 75s]
    idle_timeout: Span, "PIXMILL_IDLE_TIMEOUT", "TIME", |c| Some(Span(c.server.idle_timeout));
    /// How long running work may go on after SIGTERM [default: 20s]
    shutdown_grace: Span, "PIXMILL_SHUTDOWN_GRACE", "TIME", |c| Some(Span(c.server.shutdown_grace));
    /// Collector that takes traces over OTLP and HTTP, such as `http://localhost:4318`; without a path /v1/traces is meant [default: none]
    otlp_endpoint: String, "PIXMILL_OTLP_ENDPOINT", "URL", |c| text(c.otlp_endpoint.as_ref());
    /// How log lines look: human or json [default: human]
    log_format: LogFormat, "PIXMILL_LOG_FORMAT", "FORMAT", |c| Some(c.log_format);
    /// Which log lines are written, such as info or pixmill=debug [default: info]
    log: String, "PIXMILL_LOG", "FILTER", |c| Some(c.log.clone());
}

fn text(value: Option<&impl ToString>) -> Option<String> {
    value.map(ToString::to_string)
}

impl Settings {
    /// Reads the file's syntax: the flags' names without dashes in front, and tables `[presets]` and `[watermarks]`.
    ///
    /// # Errors
    /// On broken TOML, an unknown name or a value that cannot be read; the text says where.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError(e.to_string()))
    }

    /// Presets of the file, then those of the flags (which win by coming later).
    pub(super) fn presets(&self) -> Vec<(String, String)> {
        let flags = self.preset_flags.iter().map(|flag| {
            let (name, options) = flag.split_once('=').unwrap_or((flag, ""));
            (name.to_owned(), options.to_owned())
        });
        self.preset_table.iter().map(|(n, o)| (n.clone(), o.clone())).chain(flags).collect()
    }

    /// Watermarks of the file, then those of the flags, which take the place of one of the same name.
    ///
    /// # Errors
    /// When a flag names no file.
    pub(super) fn watermarks(&self) -> Result<BTreeMap<String, PathBuf>, ConfigError> {
        let mut all = self.watermark_table.clone();
        // Empty text is absence: environments often set what they do not use.
        for flag in self.watermark_flags.iter().filter(|flag| !flag.is_empty()) {
            let pair = flag.split_once('=').filter(|(_, file)| !file.is_empty());
            let (name, file) =
                pair.ok_or_else(|| ConfigError(format!("watermark is {flag:?}, expected name=file such as logo=logo.png")))?;
            all.insert(name.to_owned(), PathBuf::from(file));
        }
        Ok(all)
    }
}
