//! Paths above ours: `--path-prefix`, the path of `--public-url`, and a prefix a proxy took off.

use std::{fmt, str::FromStr};

use http::{Uri, uri::PathAndQuery};

use super::origin::Origin;

/// Longest prefix taken from a header, in bytes.
const MAX_PREFIX_BYTES: usize = 255;

/// One or more segments, each behind its slash, none behind the last: `/pix`, `/apps/pix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// The prefix as it is written in front of a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the prefix in a path, with its slash; empty for the prefix alone, `None` for other paths.
    pub(crate) fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The same target without the prefix, which its path begins with.
    pub(crate) fn off(&self, uri: &Uri) -> Option<Uri> {
        let mut parts = uri.clone().into_parts();
        let rest = parts.path_and_query.as_ref()?.as_str().strip_prefix(self.as_str())?;
        parts.path_and_query = Some(rest.parse::<PathAndQuery>().ok()?);
        Uri::from_parts(parts).ok()
    }
}

impl FromStr for PathPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let is_segment = |s: &str| !["", ".", ".."].contains(&s) && s.bytes().all(is_plain);
        match text.strip_prefix('/') {
            Some(segments) if text.len() <= MAX_PREFIX_BYTES && segments.split('/').all(is_segment) => Ok(Self(text.to_owned())),
            _ => {
                let shown: String = text.chars().take(64).collect();
                Err(format!(
                    "{shown:?} is not a path prefix; it begins with / and does not end with one, such as /pix, of letters, digits and -._~"
                ))
            }
        }
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `--public-url`: scheme, host and perhaps a path; no query, no slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    text: String,
    /// Where the path begins; the text's length if there is none.
    path_at: usize,
}

impl PublicUrl {
    /// The URL without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path, or nothing.
    pub(crate) fn path(&self) -> &str {
        &self.text[self.path_at..]
    }

    pub(crate) fn origin(&self) -> Option<Origin<'_>> {
        Origin::parse(&self.text[..self.path_at])
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |what| Err(format!("{text:?} {what}; expected is a URL such as https://img.example.com or https://example.com/pix"));
        let trimmed = text.trim_end_matches('/');
        let Some((_, rest)) = trimmed.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme)) else {
            return bad("does not begin with http:// or https://");
        };
        let path_at = rest.find('/').map_or(trimmed.len(), |at| trimmed.len() - rest.len() + at);
        if Origin::parse(&trimmed[..path_at]).is_none() {
            return bad("has no usable host");
        }
        if path_at < trimmed.len() && trimmed[path_at..].parse::<PathPrefix>().is_err() {
            return bad("has a path that is not made of plain segments");
        }
        Ok(Self { text: trimmed.to_owned(), path_at })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_whole_segments() {
        for text in ["/pix", "/apps/pix-1", "/~a/b.c"] {
            assert_eq!(text.parse::<PathPrefix>().expect("valid").as_str(), text);
        }
        for text in ["", "/", "pix", "/pix/", "//pix", "/a//b", "/..", "/a/./b", "/a b", "/a?b", "/%2e", "/a,/b", "/ä", "/a\r\nb"] {
            assert!(text.parse::<PathPrefix>().is_err(), "{text:?}");
        }
        let prefix: PathPrefix = "/pix".parse().expect("valid");
        assert_eq!(prefix.rest("/pix/v1/images"), Some("/v1/images"));
        assert_eq!(prefix.rest("/pix"), Some(""));
        assert_eq!((prefix.rest("/pixel"), prefix.rest("/v1"), prefix.rest("/PIX/v1")), (None, None, None));
        let off = |uri: &str| prefix.off(&uri.parse().expect("a target")).map(|uri| uri.to_string());
        assert_eq!(off("/pix/i/x?w=1&a=/pix").as_deref(), Some("/i/x?w=1&a=/pix"));
        assert_eq!(off("http://a:1/pix/i").as_deref(), Some("http://a:1/i"));
        assert_eq!(off("/pix//x").as_deref(), Some("//x"));
    }

    #[test]
    fn public_urls_have_a_host_and_perhaps_a_path() {
        for (text, written, path) in [
            ("https://x.example/", "https://x.example", ""),
            ("http://x.example:8080", "http://x.example:8080", ""),
            ("https://x.example/pix/", "https://x.example/pix", "/pix"),
            ("http://[::1]:80/a/b", "http://[::1]:80/a/b", "/a/b"),
        ] {
            let url: PublicUrl = text.parse().expect("valid");
            assert_eq!((url.as_str(), url.path()), (written, path));
            assert!(url.origin().is_some());
        }
        for text in
            ["", "x", "ftp://x", "https://", "https:///", "https://u@x", "https://x?y", "https://x/a?y", "https://x/#a", "https://x y"]
        {
            assert!(text.parse::<PublicUrl>().is_err(), "{text:?}");
        }
    }
}
