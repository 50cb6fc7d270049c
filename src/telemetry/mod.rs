//! Log lines, metrics and traces: set-up, and the single table of metric names. Knows no other room.

mod metrics;
mod traces;
mod window;

use std::{io::IsTerminal, sync::Once};

use tracing_subscriber::EnvFilter;

pub use metrics::{Lately, Load, Metrics, Permits, PriorityLoad, StageAverage, TaskSample, rss_bytes};
pub use traces::{Export, Fact, Kind, Span, Traces};
pub use window::Quantiles;

/// Starts logging to standard error. A second call in one process changes nothing.
///
/// # Errors
/// When `filter` cannot be read; the text says why.
pub fn start_logging(json: bool, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("log filter {filter:?}: {e}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A subscriber set earlier (by a test) stays.
    let _ = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    log_panics();
    Ok(())
}

/// An error with its causes, for a log line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// A panic becomes one log line with its place, so that whoever catches it need not guess.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let text = panic.payload_as_str().unwrap_or("no text");
            let thread = std::thread::current();
            tracing::error!(thread = thread.name().unwrap_or("unnamed"), place, "panicked: {text}");
        }));
    });
}
