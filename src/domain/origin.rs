//! Where work came from: the request that asked for it, and the trace that request belongs to.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// The request that work came with; kept with it, as its log lines and those of the request are found by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The request's id, which its answer carried as `X-Request-Id`.
    pub request: Uuid,
    /// The trace its client said it belongs to.
    pub trace: Option<TraceId>,
}

impl Origin {
    /// The trace that the request and its work belong to: its client's, or one that begins with it and has its id.
    #[must_use]
    pub fn trace_or_own(&self) -> [u8; 16] {
        self.trace.map_or_else(|| self.request.into_bytes(), |trace| *trace.as_bytes())
    }
}

/// The id of the span that stands for what a UUID names: its last eight bytes, which are never all zero and of which 62 bits are random.
#[must_use]
pub fn span_id(of: Uuid) -> u64 {
    of.as_u64_pair().1
}

/// The trace-id of a `traceparent` (W3C Trace Context, section 3.2.2.3): 16 bytes, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// From its bytes; none for zeros, which the standard calls invalid.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        Some(Self(bytes)).filter(|_| bytes != [0; 16])
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The trace of a `traceparent` header, and the span its sender is in. What is not one is taken as absent, as the standard wants (section 4.3).
    #[must_use]
    pub fn of_traceparent(header: &str) -> Option<(Self, u64)> {
        let mut parts = header.trim().split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex =
            |text: &str, digits: usize| text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        // A later version may say more; the first one says no more than this.
        let is_known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        if !is_known || !hex(parent, 16) || !hex(flags, 2) {
            return None;
        }
        let parent = u64::from_str_radix(parent, 16).ok().filter(|parent| *parent != 0)?;
        Some((trace.parse().ok()?, parent))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::hex(&self.0))
    }
}

impl FromStr for TraceId {
    type Err = String;

    /// 32 digits of lower-case hex.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no trace-id: 32 digits of lower-case hex, not all zero, are");
        let mut bytes = [0; 16];
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(wrong());
        }
        for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Self::from_bytes(bytes).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_read_or_taken_as_absent() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let of = TraceId::of_traceparent;
        for whole in [format!("00-{trace}-00f067aa0ba902b7-01"), format!("cc-{trace}-00f067aa0ba902b7-01-what-comes-later")] {
            assert_eq!(of(&whole).map(|(id, parent)| (id.to_string(), parent)), Some((trace.to_owned(), 0x00f0_67aa_0ba9_02b7)), "{whole}");
        }
        for broken in [
            String::new(),
            trace.to_owned(),
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{}é-00f067aa0ba902b7-01", &trace[..30]),
        ] {
            assert_eq!(of(&broken), None, "{broken}");
        }
    }
}
