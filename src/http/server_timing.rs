//! `Server-Timing` (W3C): where the time of an answer went, for browsers' tools and for people with `curl -v`.

use std::{fmt::Write as _, time::Duration};

use http::{HeaderName, HeaderValue};

use super::view::ms;

/// Its name.
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Stages by name, in milliseconds.
pub(crate) fn server_timing(stages: &[(&str, Duration)]) -> HeaderValue {
    let mut text = String::with_capacity(24 * stages.len());
    for (at, (stage, time)) in stages.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a String does not fail.
        let _ = write!(text, "{comma}{stage};dur={}", ms(*time));
    }
    // Our own words, digits and points.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_told_in_milliseconds() {
        let header = server_timing(&[("queue", Duration::from_micros(1234)), ("read", Duration::ZERO)]);
        assert_eq!(header, "queue;dur=1.234, read;dur=0");
    }
}
