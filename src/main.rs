//! Flags to configuration to telemetry to app; nothing else.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use pixmill::{
    app::{self, App},
    cli::{Cli, Command, explain, greeting},
    config::{Config, LogFormat},
    heap, http,
    signals::Signals,
    telemetry,
};

/// Threads for blocking file work: enough to keep a disk's queue full, few enough to bound their stacks.
const MAX_BLOCKING_THREADS: usize = 64;

fn main() -> ExitCode {
    // Where there are no such bounds (not glibc) the service runs all the same.
    let _ = heap::bound();
    match start() {
        Ok(code) => code,
        Err(error) => {
            // The message and its causes in one line; a backtrace would only hide what an operator has to do.
            eprintln!("pixmill: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<ExitCode> {
    let (command, config) = Cli::parse().resolve()?;
    let text = match &command {
        Command::Serve | Command::Scrub { .. } | Command::Backup { .. } => None,
        Command::Config => Some(config.to_toml()),
        Command::Openapi => Some(format!("{}\n", http::openapi_json())),
        Command::Explain { image, options } => Some(explain(&config, image, options)?),
    };
    if let Some(text) = text {
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::start_logging(config.log_format == LogFormat::Json, &config.log).map_err(anyhow::Error::msg)?;
    app::check_threads(config.pool.workers)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("pixmill-io")
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build()?;
    match command {
        Command::Scrub { rate } => runtime.block_on(scrub(&config, rate.bytes())),
        Command::Backup { to, blobs } => {
            let backup = runtime.block_on(App::backup(&config, &to, blobs))?;
            write!(std::io::stdout(), "{backup}")?;
            // 1 is what errors end with.
            Ok(if backup.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
        }
        _ => runtime.block_on(run(&config)).map(|()| ExitCode::SUCCESS),
    }
}

async fn scrub(config: &Config, bytes_per_second: u64) -> anyhow::Result<ExitCode> {
    let scrubbed = App::scrub(config, bytes_per_second).await?;
    write!(std::io::stdout(), "{scrubbed}")?;
    Ok(if scrubbed.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(config: &Config) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let app = App::start(config).await?;
    let own = app.url();
    let url = config.server.edge.public_url.as_ref().map_or_else(|| own.clone(), ToString::to_string);
    let mut out = std::io::stdout();
    // Nobody reading standard output is no reason not to serve.
    let _ = out.write_all(greeting(&own).as_bytes()).and_then(|()| out.flush());
    tracing::info!(url, data_dir = %config.storage.data_dir.display(), workers = config.pool.workers, "serving");
    app.run(signals.until_stop(config.server.tls.is_some())).await
}
