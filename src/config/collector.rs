//! Where traces are sent, as people write it: `http://host:port`, with or without a path.

use std::{fmt, str::FromStr};

/// The URL that takes traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector(String);

impl Collector {
    /// The URL, with its path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Not quoted: people put secrets into such texts.
        let bad = || {
            "this is no address of a collector; allowed are http:// and https:// without a query, such as http://localhost:4318".to_owned()
        };
        let url: http::Uri = text.parse().map_err(|_| bad())?;
        let authority = url.authority().filter(|_| matches!(url.scheme_str(), Some("http" | "https"))).ok_or_else(bad)?;
        if authority.as_str().contains('@') {
            // The configuration is shown to whoever asks for it.
            return Err("a name and password do not belong into it; send them as a header, by OTEL_EXPORTER_OTLP_HEADERS".to_owned());
        }
        if url.query().is_some() {
            return Err(bad());
        }
        // The path that is meant where none is said, by the specification of OTLP.
        let path = if url.path() == "/" { "/v1/traces" } else { url.path() };
        Ok(Self(format!("{}://{authority}{path}", url.scheme_str().unwrap_or("http"))))
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_url_and_tells_no_secrets() {
        for (text, url) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://otel.example.com/v1/traces", "https://otel.example.com/v1/traces"),
            ("https://otel.example.com/in/pixmill", "https://otel.example.com/in/pixmill"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(text.parse::<Collector>().map(|url| url.to_string()).as_deref(), Ok(url));
        }
        let error = "https://otel.example.com/?api-key=secret".parse::<Collector>().expect_err("tells a secret");
        assert!(error.contains("query") && !error.contains("secret"), "{error}");
        for bad in ["", "localhost:4318", "grpc://localhost:4317", "http://", "/v1/traces", "http://a/?b=c", "http://a b"] {
            assert!(bad.parse::<Collector>().is_err(), "{bad}");
        }
        let error = "https://me:secret@otel.example.com".parse::<Collector>().expect_err("tells a secret");
        assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS") && !error.contains("secret"), "{error}");
    }
}
