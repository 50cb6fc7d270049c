//! A point in time as the service stores it: whole milliseconds, no calendar; and lengths of time as people write them.

use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant moved into the future, saturating.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This instant moved into the past, saturating.
    #[must_use]
    pub fn before(self, delay: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time since `earlier`; zero when the clock was set back in between.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Of the units that are written alone: a day is 24 hours, whatever the calendar says.
const LONG_UNITS: &[(char, u64)] = &[('w', 7 * 24 * 3600), ('d', 24 * 3600)];

/// Reads a length of time: `500ms`, `30s`, `5m`, `1h`, `7d`, `2w`.
///
/// # Errors
/// When it is none; the text says what is allowed.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time: 500ms, 30s, 5m, 1h, 7d or 2w is allowed");
    for (unit, seconds) in LONG_UNITS {
        if let Some(count) = text.trim().strip_suffix(*unit).and_then(|number| number.trim().parse::<u64>().ok()) {
            return count.checked_mul(*seconds).map(Duration::from_secs).ok_or_else(wrong);
        }
    }
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| format!("{text:?} is negative"))
}

/// The same length as [`parse_span`] reads it back.
#[must_use]
pub fn span_text(span: Duration) -> String {
    let ms = span.as_millis();
    match ms / 1000 {
        _ if !ms.is_multiple_of(1000) => format!("{ms}ms"),
        s if s > 0 && s.is_multiple_of(24 * 3600) => format!("{}d", s / (24 * 3600)),
        s => format!("{s}s"),
    }
}
