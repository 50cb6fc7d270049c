//! The request's `Content-Type`: is it a form, and what parts it. Pure: bytes in, a boundary out.
//!
//! Invariant: exactly one boundary of 1 to 70 legal characters (RFC 2046), or a refusal; time is linear in a bounded length.

use crate::domain::{Code, Refusal};

/// Longest value looked at; longer ones are refused unread.
const MAX_VALUE_BYTES: usize = 2048;
/// Most parameters.
const MAX_PARAMETERS: usize = 16;
/// RFC 2046, 5.1.1.
const MAX_BOUNDARY_BYTES: usize = 70;

/// `type/subtype` in lower case without parameters; `None` when it is not of that form.
#[must_use]
pub fn essence(value: &[u8]) -> Option<String> {
    let end = value.iter().take(MAX_VALUE_BYTES).position(|&b| b == b';').unwrap_or(value.len());
    let text = value[..end].trim_ascii();
    let slash = text.iter().position(|&b| b == b'/')?;
    let (kind, subtype) = (&text[..slash], &text[slash + 1..]);
    let is_token = |token: &[u8]| !token.is_empty() && token.iter().all(|&b| is_token_char(b));
    if text.len() > 127 || !is_token(kind) || !is_token(subtype) {
        return None;
    }
    Some(text.iter().map(|&b| char::from(b.to_ascii_lowercase())).collect())
}

/// RFC 9110 `tchar`.
pub(super) const fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// RFC 2046 `bchars`.
const fn is_boundary_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'\'' | b'(' | b')' | b'+' | b'_' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?' | b' ')
}

/// The boundary of a `multipart/form-data` value. Legal boundary characters are accepted without quotes, too, as clients send them.
///
/// # Errors
/// `unsupported_media_type` when it is another type; `malformed_multipart` when the boundary is missing, given twice or as `boundary*`,
/// empty, longer than 70 characters, ends in a blank or has other characters than RFC 2046 allows; when the value is over long.
pub fn boundary(value: &[u8]) -> Result<String, Refusal> {
    let refuse = |text: String| Refusal::new(Code::MalformedMultipart, text);
    if essence(value).as_deref() != Some("multipart/form-data") {
        return Err(Refusal::new(Code::UnsupportedMediaType, "content-type is not multipart/form-data"));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(refuse(format!("content-type has {} bytes, limit is {MAX_VALUE_BYTES}", value.len())));
    }
    let mut found = None;
    let mut parameters = 0;
    let mut rest = &value[value.iter().position(|&b| b == b';').unwrap_or(value.len())..];
    while let Some(tail) = rest.strip_prefix(b";") {
        let tail = tail.trim_ascii_start();
        if tail.is_empty() || tail.starts_with(b";") {
            rest = tail;
            continue;
        }
        parameters += 1;
        if parameters > MAX_PARAMETERS {
            return Err(refuse(format!("content-type has more than {MAX_PARAMETERS} parameters")));
        }
        let malformed = || refuse("content-type is malformed".to_owned());
        let equals = tail.iter().position(|&b| matches!(b, b'=' | b';' | b'"')).filter(|&at| tail[at] == b'=').ok_or_else(malformed)?;
        let key = tail[..equals].trim_ascii_end();
        let (argument, after) = argument(tail[equals + 1..].trim_ascii_start()).ok_or_else(malformed)?;
        rest = after.trim_ascii_start();
        if key.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"boundary*")) {
            return Err(refuse("boundary is given in the extended form, expected boundary=".to_owned()));
        }
        if key.eq_ignore_ascii_case(b"boundary") && found.replace(argument).is_some() {
            return Err(refuse("boundary is given twice".to_owned()));
        }
    }
    if !rest.is_empty() {
        return Err(refuse("content-type is malformed".to_owned()));
    }
    let boundary = found.ok_or_else(|| refuse("content-type has no boundary".to_owned()))?;
    if boundary.is_empty() || boundary.len() > MAX_BOUNDARY_BYTES {
        return Err(refuse(format!("boundary has {} characters, allowed is 1 to {MAX_BOUNDARY_BYTES}", boundary.len())));
    }
    if boundary.ends_with(b" ") || !boundary.iter().all(|&b| is_boundary_char(b)) {
        return Err(refuse("boundary has characters other than letters, digits, '()+_,-./:=? and inner blanks".to_owned()));
    }
    Ok(boundary.into_iter().map(char::from).collect())
}

/// One argument, quoted or bare, and what follows it.
fn argument(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|&b| b == b';').unwrap_or(text.len());
        let bare = text[..end].trim_ascii_end();
        return (!bare.iter().any(|&b| matches!(b, b'"' | b' ' | b'\t'))).then(|| (bare.to_vec(), &text[end..]));
    };
    let mut argument = Vec::new();
    let mut at = 0;
    loop {
        match quoted.get(at)? {
            b'"' => return Some((argument, &quoted[at + 1..])),
            b'\\' => {
                argument.push(*quoted.get(at + 1)?);
                at += 2;
            }
            &byte => {
                argument.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn legal_boundaries_are_found() {
        let long = "b".repeat(70);
        for (value, want) in [
            ("multipart/form-data; boundary=B", "B"),
            ("Multipart/Form-Data;BOUNDARY=\"a b\";charset=utf-8", "a b"),
            ("multipart/form-data; charset=\"x;boundary=no\"; boundary=----WebKit", "----WebKit"),
            ("multipart/form-data; boundary='()+_,-./:=?0", "'()+_,-./:=?0"),
            ("multipart/form-data ; boundary = x ; ", "x"),
            (&format!("multipart/form-data; boundary={long}"), &long),
        ] {
            assert_eq!(boundary(value.as_bytes()).as_deref(), Ok(want), "{value}");
        }
    }

    #[test]
    fn bad_boundaries_are_refused() {
        for value in [
            "multipart/form-data",
            "multipart/form-data;",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=\"a ",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=\"a\"b",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=a; Boundary=a",
            "multipart/form-data; boundary*=utf-8''a",
            "multipart/form-data; boundary=a; boundary*0=b",
            "multipart/form-data; boundary=ä",
            "multipart/form-data; boundary=\"a\\\"b\"",
            "multipart/form-data; boundary=a@b",
            &format!("multipart/form-data; boundary={}", "b".repeat(71)),
            &format!("multipart/form-data; boundary={}", "b".repeat(9000)),
            &format!("multipart/form-data{}; boundary=a", "; a=b".repeat(17)),
        ] {
            assert_eq!(boundary(value.as_bytes()).expect_err(value).code, Code::MalformedMultipart, "{value}");
        }
        for value in
            ["", "/", "multipart/mixed; boundary=a", "application/json", "multipart/form-datax; boundary=a", "multipart; boundary=a"]
        {
            assert_eq!(boundary(value.as_bytes()).expect_err(value).code, Code::UnsupportedMediaType, "{value}");
        }
    }

    #[test]
    fn essence_is_lower_case_and_bare() {
        assert_eq!(essence(b" Image/PNG ; q=1").as_deref(), Some("image/png"));
        for bad in ["", "image", "image/", "/png", "ima ge/png", "a/b/c"] {
            assert_eq!(essence(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn hostile_headers_cost_little() {
        for unit in ["; a=b", "\\\"", ";", "=", "\""] {
            let value = format!("multipart/form-data; a=\"{}", unit.repeat(100_000));
            let start = Instant::now();
            assert!(boundary(value.as_bytes()).is_err());
            assert!(start.elapsed().as_millis() < 50, "{unit}: {:?}", start.elapsed());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut typed = b"multipart/form-data;".to_vec();
            typed.extend_from_slice(&value);
            if let Ok(found) = boundary(&typed) {
                prop_assert!((1..=70).contains(&found.len()) && found.bytes().all(is_boundary_char));
            }
        }
    }
}
