//! Bodies of requests that are JSON: small, of the right type, and refused in words where they are not what is expected.

use axum::extract::Request;
use bytes::BytesMut;
use futures_util::TryStreamExt as _;
use http::{Extensions, HeaderMap, HeaderValue, header};
use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Number, Value};

use crate::{
    domain::{Code, Refusal, Timestamp},
    ingest::{BodyError, IngestError, essence},
};

use super::{App, body, problem::Problem};

/// Longest body: 32 variants with long options are a tenth of it.
const MAX_BODY_BYTES: usize = 64 << 10;

/// What came with a body.
pub(crate) struct Sent<T> {
    pub(crate) json: T,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: Extensions,
}

/// Reads a body; `example` is shown to whoever sends something else.
///
/// # Errors
/// `unsupported_media_type`, `too_large`, or `bad_request` with what was found.
pub(crate) async fn read<T: DeserializeOwned>(site: &App, request: Request, example: &str) -> Result<Sent<T>, Problem> {
    let (head, body) = request.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).and_then(essence);
    if kind.as_deref() != Some("application/json") {
        let found = kind.as_deref().unwrap_or("none").to_owned();
        return Err(Problem::new(Code::UnsupportedMediaType, format!("content type is {found}; application/json is allowed")));
    }
    let text = body::stream(body, site.pace).map_err(of_body).try_fold(BytesMut::new(), |mut text, chunk| async move {
        if text.len() + chunk.len() > MAX_BODY_BYTES {
            let limit = MAX_BODY_BYTES as u64;
            return Err(Refusal::over(Code::TooLarge, format!("the request has more bytes than {limit}"), limit, None).into());
        }
        text.extend_from_slice(&chunk);
        Ok(text)
    });
    let text = text.await?;
    let unexpected = |why: &str| Problem::new(Code::BadRequest, format!("the body is not what is expected, such as {example}: {why}"));
    // A list would be taken for the members of an object, in order.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(unexpected("it is no object"));
    }
    // Left out and null are two ways to say nothing; one of them is described.
    if serde_json::from_slice(&text).is_ok_and(|value| has_null(&value)) {
        return Err(unexpected("a member is null; leave it out"));
    }
    let json = serde_json::from_slice(&text).map_err(|error| unexpected(&error.to_string()))?;
    Ok(Sent { json, headers: head.headers, extensions: head.extensions })
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

fn of_body(error: BodyError) -> Problem {
    IngestError::from(error).into()
}

/// A whole number in a body: `2.0` is one, too, as JSON Schema has it. For members that may be left out.
///
/// # Errors
/// What was found instead: a fraction, a negative number, one too large for `T`.
pub(crate) fn whole<'de, D: Deserializer<'de>, T: TryFrom<u64>>(member: D) -> Result<Option<T>, D::Error> {
    /// From here on not every whole number is an `f64`.
    const EXACT: f64 = (1_u64 << 53) as f64;
    let found = Number::deserialize(member)?;
    let of_float = |float: f64| (float.fract() == 0.0 && (0.0..EXACT).contains(&float)).then_some(float as u64);
    let whole = found.as_u64().or_else(|| found.as_f64().and_then(of_float));
    let fitting = whole.and_then(|whole| T::try_from(whole).ok());
    fitting
        .map(Some)
        .ok_or_else(|| D::Error::custom(format_args!("{found} is no whole number from 0 to {}", u64::MAX >> (64 - 8 * size_of::<T>()))))
}

/// A time in a body.
///
/// # Errors
/// `bad_request` when it is none.
pub(crate) fn time_of(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let at = text.parse::<jiff::Timestamp>().map_err(|_| {
        let text: String = text.chars().take(64).collect();
        Problem::new(Code::BadRequest, format!("{name} is {text:?}, expected a time of RFC 3339 such as 2026-11-20T08:00:00Z"))
    })?;
    Ok(Some(Timestamp::from_millis(at.as_millisecond())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default)]
    struct Body {
        #[serde(deserialize_with = "whole")]
        small: Option<u32>,
        #[serde(deserialize_with = "whole")]
        large: Option<u64>,
    }

    #[test]
    fn whole_numbers_are_whole_with_a_point_too_and_others_are_refused_in_words() {
        let read = |text: &str| serde_json::from_str::<Body>(text).map(|body| (body.small, body.large)).map_err(|error| error.to_string());
        assert_eq!(read("{}"), Ok((None, None)));
        assert_eq!(read(r#"{"small": 7, "large": 9744.0}"#), Ok((Some(7), Some(9744))));
        assert_eq!(read(r#"{"large": 18446744073709551615}"#), Ok((None, Some(u64::MAX))));
        for (text, told) in [
            (r#"{"small": 7.5}"#, "7.5 is no whole number from 0 to 4294967295"),
            (r#"{"small": -7}"#, "-7 is no whole number from 0 to 4294967295"),
            (r#"{"small": 4294967296}"#, "4294967296 is no whole number from 0 to 4294967295"),
            (r#"{"large": 1e300}"#, "is no whole number from 0 to 18446744073709551615"),
            (r#"{"large": "7"}"#, "invalid type: string"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
