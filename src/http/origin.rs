//! Origins: which pages may write here (`--cors-origins` and our own), and the check of `Origin` on every write.
//!
//! A page of another site can make a browser send forms and simple requests to us without asking first; what it cannot do is
//! lie about `Origin` and `Sec-Fetch-Site`. Programs send neither, and pass. Invariant: what is not understood is foreign.

use std::{fmt, str::FromStr};

use http::{HeaderMap, HeaderValue, Method, header};

use crate::domain::{Code, Refusal};

use super::hosts::Host;

/// What a URL of ours begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An origin of the web: scheme, name, port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host<'a>,
}

impl<'a> Origin<'a> {
    /// Reads `scheme://host[:port]`; `None` for other schemes, `null` and anything with a path.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, host) = text.split_once("://")?;
        Some(Self { scheme: Scheme::parse(scheme)?, host: Host::parse(host)? })
    }

    pub(crate) fn is(&self, other: &Origin<'_>) -> bool {
        let ports = (self.host.port_or(self.scheme.port()), other.host.port_or(other.scheme.port()));
        self.scheme == other.scheme && self.host.has_name_of(&other.host) && ports.0 == ports.1
    }
}

/// `--cors-origins`: origins whose pages may read and write, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Every page, `null` ones too.
    Any,
    /// These, written as browsers write them.
    Listed(Vec<String>),
}

impl AllowedOrigins {
    fn lists(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(origins) => origins.iter().any(|listed| listed == origin),
        }
    }
}

impl FromStr for AllowedOrigins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        text.split(',').map(str::trim).map(written_as_browsers_do).collect::<Result<_, _>>().map(Self::Listed)
    }
}

/// An origin without what browsers leave out: capital letters, a default port, a slash at the end.
fn written_as_browsers_do(word: &str) -> Result<String, String> {
    let bad = || format!("{word:?} is not an origin; allowed are scheme://host[:port] such as https://app.example.com, or * alone");
    let (scheme, rest) = word.split_once("://").ok_or_else(bad)?;
    let host = Host::parse(rest.strip_suffix('/').unwrap_or(rest)).ok_or_else(bad)?;
    let is_scheme =
        |s: &str| s.starts_with(|c: char| c.is_ascii_alphabetic()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !is_scheme(scheme) {
        return Err(bad());
    }
    // Other schemes than ours are those of apps and extensions, and have no default port.
    let host = match Scheme::parse(scheme) {
        Some(known) => host.without_port(known.port()),
        None => host,
    };
    Ok(format!("{scheme}://{host}").to_ascii_lowercase())
}

impl fmt::Display for AllowedOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Listed(origins) => f.write_str(&origins.join(",")),
        }
    }
}

/// Whether a request may write, by the page that made a browser send it. `own` are our origins: as the client sees this
/// request, and that of `--public-url`.
///
/// # Errors
/// `forbidden`, for a page that is neither ours nor allowed.
pub(crate) fn check(
    method: &Method,
    headers: &HeaderMap,
    own: [Option<Origin<'_>>; 2],
    allowed: Option<&AllowedOrigins>,
) -> Result<(), Refusal> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Ok(());
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        let is_foreign = headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site");
        return if is_foreign && allowed != Some(&AllowedOrigins::Any) {
            Err(Refusal::new(Code::Forbidden, "a page of another site may not write here; allow its origin with --cors-origins"))
        } else {
            Ok(())
        };
    };
    let text = if origins.next().is_none() { origin.to_str().ok() } else { None };
    let is_ours = |text| Origin::parse(text).is_some_and(|origin| own.iter().flatten().any(|own| own.is(&origin)));
    if text.is_some_and(is_ours)
        || allowed.is_some_and(|allowed| allowed == &AllowedOrigins::Any || text.is_some_and(|text| allowed.lists(text)))
    {
        return Ok(());
    }
    Err(Refusal::new(
        Code::Forbidden,
        format!(
            "a page of origin {} may not write here; allow it with --cors-origins, or say with --public-url or --trusted-proxies under which address this service is seen",
            shown(origin)
        ),
    ))
}

/// At most so much of what a client sent as an answer needs.
fn shown(origin: &HeaderValue) -> String {
    let text: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(128).collect();
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_write(origin: Option<&'static str>, site: Option<&'static str>, own: &str, allowed: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        let allowed = allowed.map(|text| text.parse().expect("valid"));
        let public = Origin::parse("https://img.example.com");
        assert!(check(&Method::GET, &headers, [None, None], None).is_ok(), "reading is free");
        check(&Method::POST, &headers, [Origin::parse(own), public], allowed.as_ref()).is_ok()
    }

    #[test]
    fn pages_of_ours_and_programs_may_write_and_others_when_listed() {
        let own = "http://localhost:8080";
        for (origin, site, allowed, may) in [
            (None, None, None, true),
            (None, Some("same-origin"), None, true),
            (None, Some("none"), None, true),
            (None, Some("cross-site"), None, false),
            (None, Some("cross-site"), Some("https://app.example.com"), false),
            (None, Some("cross-site"), Some("*"), true),
            (Some("http://localhost:8080"), Some("same-origin"), None, true),
            (Some("http://localhost:8081"), None, None, false),
            (Some("https://localhost:8080"), None, None, false),
            (Some("http://localhost.evil.example:8080"), None, None, false),
            (Some("https://img.example.com"), None, None, true),
            (Some("https://img.example.com:443"), None, None, true),
            (Some("http://img.example.com"), None, None, false),
            (Some("null"), None, None, false),
            (Some("null"), None, Some("https://app.example.com"), false),
            (Some(""), None, None, false),
            (Some("https://app.example.com"), None, Some("https://x.example,HTTPS://App.example.com:443/"), true),
            (Some("https://app.example.com.evil.example"), None, Some("https://app.example.com"), false),
            (Some("capacitor://localhost"), None, Some("capacitor://localhost"), true),
            (Some("https://evil.example"), None, Some("*"), true),
            (Some("http://localhost:8080 https://evil.example"), None, None, false),
        ] {
            assert_eq!(may_write(origin, site, own, allowed), may, "{origin:?} {site:?} {allowed:?}");
        }
        // The default port is no other origin.
        assert!(may_write(Some("http://pix.example"), None, "http://pix.example:80", None));
    }

    #[test]
    fn two_origins_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::ORIGIN, HeaderValue::from_static("http://a"));
        headers.append(header::ORIGIN, HeaderValue::from_static("http://b"));
        assert!(check(&Method::POST, &headers, [Origin::parse("http://a"), None], None).is_err());
    }

    #[test]
    fn lists_are_written_as_browsers_write_them() {
        let list: AllowedOrigins = "https://A.example:443/, http://b:8080,http://[::1]:80".parse().expect("valid");
        assert_eq!(list.to_string(), "https://a.example,http://b:8080,http://[::1]");
        for text in ["", "a.example", "https://a/b", "https://", "https://a,*", "null", "https://*.a", "1x://a"] {
            assert!(text.parse::<AllowedOrigins>().is_err(), "{text:?}");
        }
    }
}
