//! Conditional and range requests (RFC 9110, sections 13 and 14) as a pure function of header texts.

use std::ops::Range;

/// The header texts that decide; absent ones are `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    /// `If-Match`
    pub if_match: Option<&'a str>,
    /// `If-None-Match`
    pub if_none_match: Option<&'a str>,
    /// `Range`
    pub range: Option<&'a str>,
    /// `If-Range`
    pub if_range: Option<&'a str>,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200 and everything.
    Whole,
    /// 206 and these bytes.
    Part(Range<u64>),
    /// 304 and nothing.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    NotSatisfiable,
}

/// Longest `Range` text that is looked at; a longer one is ignored, as RFC 9110 allows.
const MAX_RANGE_TEXT: usize = 256;

/// What a GET or HEAD of `total_bytes` bytes tagged `etag` is answered with. Only single ranges are served; several
/// are answered with everything (RFC 9110, 14.2 lets a server ignore `Range`), so overlapping ranges cost nothing.
#[must_use]
pub fn select(conditions: Conditions<'_>, etag: &str, total_bytes: u64) -> Selection {
    if conditions.if_match.is_some_and(|tags| !tags_contain(tags, etag, false)) {
        return Selection::PreconditionFailed;
    }
    if conditions.if_none_match.is_some_and(|tags| tags_contain(tags, etag, true)) {
        return Selection::NotModified;
    }
    let Some(range) = conditions.range.filter(|text| text.len() <= MAX_RANGE_TEXT && !text.contains(',')) else { return Selection::Whole };
    // A date in If-Range never matches: we send no Last-Modified.
    if conditions.if_range.is_some_and(|tag| tag.trim() != etag) {
        return Selection::Whole;
    }
    // A suffix longer than the file is the whole file (RFC 9110, 14.1.2); the crate calls it out of range.
    if let Some(last) = range.trim().strip_prefix("bytes=-").and_then(|n| n.trim().parse::<u64>().ok()) {
        let none = last == 0 || total_bytes == 0;
        return if none { Selection::NotSatisfiable } else { Selection::Part(total_bytes.saturating_sub(last)..total_bytes) };
    }
    let Ok(parsed) = http_range_header::parse_range_header(range) else { return Selection::Whole };
    match parsed.validate(total_bytes).as_deref() {
        Ok([one]) => Selection::Part(*one.start()..one.end().saturating_add(1)),
        _ => Selection::NotSatisfiable,
    }
}

/// Whether a list of entity tags names this one; `weak` ignores the `W/` prefix.
fn tags_contain(tags: &str, etag: &str, weak: bool) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag || (weak && tag.strip_prefix("W/") == Some(etag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"t\"";

    fn range(text: &str) -> Selection {
        select(Conditions { range: Some(text), ..Conditions::default() }, TAG, 100)
    }

    #[test]
    fn ranges() {
        for (text, want) in [
            ("bytes=0-0", Selection::Part(0..1)),
            ("bytes=10-", Selection::Part(10..100)),
            ("bytes=-10", Selection::Part(90..100)),
            ("bytes=-1000", Selection::Part(0..100)),
            ("bytes=90-1000", Selection::Part(90..100)),
            ("bytes=100-", Selection::NotSatisfiable),
            ("bytes=5-1", Selection::NotSatisfiable),
            ("bytes=0-1,3-4", Selection::Whole),
            ("lines=0-1", Selection::Whole),
            ("bytes=x", Selection::Whole),
        ] {
            let got = range(text);
            // A range that makes no sense may be ignored or refused; it may not select bytes.
            if matches!(want, Selection::Part(_)) {
                assert_eq!(got, want, "{text}")
            } else {
                assert!(!matches!(got, Selection::Part(_)), "{text}")
            }
        }
        assert_eq!(range("bytes=100-"), Selection::NotSatisfiable);
        assert_eq!(range("bytes=-0"), Selection::NotSatisfiable);
        assert_eq!(range(&format!("bytes={}", "0-,".repeat(10_000))), Selection::Whole);
    }

    #[test]
    fn conditions() {
        let with = |c: Conditions<'_>| select(c, TAG, 100);
        assert_eq!(with(Conditions { if_none_match: Some("\"x\", W/\"t\""), ..Conditions::default() }), Selection::NotModified);
        assert_eq!(with(Conditions { if_none_match: Some("*"), ..Conditions::default() }), Selection::NotModified);
        assert_eq!(with(Conditions { if_none_match: Some("\"x\""), ..Conditions::default() }), Selection::Whole);
        assert_eq!(with(Conditions { if_match: Some("W/\"t\""), ..Conditions::default() }), Selection::PreconditionFailed);
        assert_eq!(with(Conditions { if_range: Some("\"old\""), range: Some("bytes=0-1"), ..Conditions::default() }), Selection::Whole);
        assert_eq!(with(Conditions { if_range: Some(TAG), range: Some("bytes=0-1"), ..Conditions::default() }), Selection::Part(0..2));
    }
}
