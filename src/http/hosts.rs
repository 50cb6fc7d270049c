//! Host names: how a `Host` is read, and which of them `--allowed-hosts` lists.
//!
//! Must not know who is asking; a name that is read is not yet a name that is believed (`edge.rs`).

use std::{fmt, net::IpAddr, str::FromStr};

use http::{HeaderMap, Uri, Version, header};

/// Longest name of the domain name system, in bytes (RFC 1035, section 2.3.4).
const MAX_NAME_BYTES: usize = 255;

/// `uri-host [":" port]` (RFC 9110, section 7.2), without user information, escapes or anything else a name has no need of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host<'a> {
    /// A name without a dot at its end, an IPv4 address, or an IPv6 address in its brackets; in the case it came in.
    name: &'a str,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`; `None` for anything else.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (name, rest) = if text.starts_with('[') {
            let end = text.find(']')?;
            text[1..end].parse::<std::net::Ipv6Addr>().ok()?;
            text.split_at(end + 1)
        } else {
            let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            let name = name.strip_suffix('.').unwrap_or(name);
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
            if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_plain) || name.split('.').any(str::is_empty) {
                return None;
            }
            (name, rest)
        };
        // A colon without a port means the scheme's own.
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        Some(Self { name, port })
    }

    /// The address, if the name is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    }

    /// `localhost` and all below it: names that never leave the machine (RFC 6761, section 6.3).
    pub(crate) fn is_localhost(&self) -> bool {
        is_or_is_below(self.name, "localhost")
    }

    /// Whether both name the same, ports aside.
    pub(crate) fn has_name_of(&self, other: &Host<'_>) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
    }

    /// The same, without a port that its scheme implies anyway.
    pub(crate) fn without_port(mut self, default: u16) -> Self {
        self.port = self.port.filter(|port| *port != default);
        self
    }

    /// The port, or the one its scheme implies.
    pub(crate) fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn is_or_is_below(name: &str, domain: &str) -> bool {
    name.eq_ignore_ascii_case(domain) || is_below(name, domain)
}

fn is_below(name: &str, domain: &str) -> bool {
    // Names are ASCII, and compared as bytes: cutting them cannot fail.
    let (name, domain) = (name.as_bytes(), domain.as_bytes());
    name.len() > domain.len() + 1
        && name[name.len() - domain.len() - 1] == b'.'
        && name[name.len() - domain.len()..].eq_ignore_ascii_case(domain)
}

/// The host a request names: of its target where that has one (HTTP/2, absolute form), else of its `Host`. `Ok(None)` only
/// where the version allows it.
///
/// # Errors
/// What is wrong: no host, two, two that differ, or one that cannot be read.
pub(crate) fn of_request<'r>(version: Version, uri: &'r Uri, headers: &'r HeaderMap) -> Result<Option<Host<'r>>, &'static str> {
    let mut lines = headers.get_all(header::HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err("the request has more than one Host header");
    }
    let line = match line {
        Some(line) => {
            Some(line.to_str().ok().and_then(Host::parse).ok_or("the Host header is not a name or address with an optional port")?)
        }
        None => None,
    };
    let Some(target) = uri.authority() else {
        return match line {
            None if version >= Version::HTTP_11 => Err("the request has no Host header"),
            line => Ok(line),
        };
    };
    let target = Host::parse(target.as_str()).ok_or("the authority is not a name or address with an optional port")?;
    match line {
        // RFC 9112, section 3.2: the header must be there, though the target's absolute form is what counts (section 3.2.2).
        None if version == Version::HTTP_11 => Err("the request has no Host header"),
        // RFC 9113, section 8.3.1: two that differ are malformed.
        Some(line) if version >= Version::HTTP_2 && !(line.has_name_of(&target) && line.port == target.port) => {
            Err("the Host header and :authority differ")
        }
        _ => Ok(Some(target)),
    }
}

/// `--allowed-hosts`: names, `*.` with a name for all below it, `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Any,
    Is(String),
    Below(String),
}

impl AllowedHosts {
    pub(crate) fn lists(&self, host: &Host<'_>) -> bool {
        self.entries.iter().any(|entry| match entry {
            Entry::Any => true,
            Entry::Is(name) => name.eq_ignore_ascii_case(host.name),
            Entry::Below(domain) => is_below(host.name, domain),
        })
    }
}

impl FromStr for AllowedHosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entry = |word: &str| {
            let (below, name) = word.strip_prefix("*.").map_or((false, word), |name| (true, name));
            match Host::parse(name) {
                _ if word == "*" => Ok(Entry::Any),
                Some(host) if host.port.is_none() && !name.ends_with(':') => {
                    let name = host.name.to_ascii_lowercase();
                    Ok(if below { Entry::Below(name) } else { Entry::Is(name) })
                }
                _ => Err(format!("{word:?} is not a host; allowed are names such as img.example.com, *.example.com and *, without ports")),
            }
        };
        let entries = text.split(',').map(str::trim).map(entry).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }
}

impl fmt::Display for AllowedHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match entry {
                Entry::Any => f.write_str("*"),
                Entry::Is(name) => f.write_str(name),
                Entry::Below(domain) => write!(f, "*.{domain}"),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_read_strictly_and_written_plainly() {
        for (text, written) in [
            ("localhost", "localhost"),
            ("localhost:8080", "localhost:8080"),
            ("Img.Example.com.", "Img.Example.com"),
            ("pix_mill:80", "pix_mill:80"),
            ("name:", "name"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(Host::parse(text).map(|host| host.to_string()).as_deref(), Some(written), "{text}");
        }
        for text in [
            "",
            ":80",
            ".",
            "a..b",
            "a b",
            "user@host",
            "a/b",
            "a:b",
            "a:65536",
            "a:+1",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[x]",
            "ä",
            "%61",
        ] {
            assert!(Host::parse(text).is_none(), "{text:?}");
        }
        assert!(Host::parse(&"a".repeat(256)).is_none());
    }

    #[test]
    fn local_names_and_addresses_are_told_apart_from_those_that_look_like_them() {
        let is_localhost = |text| Host::parse(text).expect("a host").is_localhost();
        assert!(is_localhost("localhost") && is_localhost("LOCALHOST.:80") && is_localhost("a.localhost"));
        assert!(!is_localhost("localhost.evil.example") && !is_localhost("notlocalhost") && !is_localhost("127.0.0.1"));
        let ip = |text| Host::parse(text).expect("a host").ip();
        assert!(ip("127.0.0.1:80").is_some_and(|ip| ip.is_loopback()) && ip("[::ffff:127.0.0.1]").is_some_and(|ip| ip.is_loopback()));
        assert!(ip("127.0.0.1.evil.example").is_none() && ip("2130706433").is_none());
    }

    #[test]
    fn lists_are_read_matched_and_written() {
        let hosts: AllowedHosts = "Img.example.com, *.Shop.example,[::1]".parse().expect("valid");
        assert_eq!(hosts.to_string(), "img.example.com,*.shop.example,[::1]");
        for (host, listed) in [
            ("img.EXAMPLE.com:99", true),
            ("img.example.com.", true),
            ("a.shop.example", true),
            ("a.b.shop.example", true),
            ("shop.example", false),
            ("ashop.example", false),
            ("x.img.example.com", false),
            ("[::1]:80", true),
        ] {
            assert_eq!(hosts.lists(&Host::parse(host).expect("a host")), listed, "{host}");
        }
        assert!("*".parse::<AllowedHosts>().expect("valid").lists(&Host::parse("any").expect("a host")));
        for text in ["", "a,,b", "a:80", "http://a", "*.", "*a", "a b", "a.*"] {
            assert!(text.parse::<AllowedHosts>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let read = |version, target: &str, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_static(host));
            }
            of_request(version, &target.parse().expect("a target"), &headers).map(|host| host.map(|host| host.to_string()))
        };
        assert_eq!(read(Version::HTTP_11, "/", &["a:1"]), Ok(Some("a:1".to_owned())));
        assert_eq!(read(Version::HTTP_11, "http://b/", &["a"]), Ok(Some("b".to_owned())));
        assert_eq!(read(Version::HTTP_10, "/", &[]), Ok(None));
        assert_eq!(read(Version::HTTP_2, "http://b/", &[]), Ok(Some("b".to_owned())));
        assert_eq!(read(Version::HTTP_2, "http://b/", &["B"]), Ok(Some("b".to_owned())));
        for (version, target, hosts) in [
            (Version::HTTP_11, "/", &[][..]),
            (Version::HTTP_11, "http://b/", &[]),
            (Version::HTTP_11, "/", &["a", "a"]),
            (Version::HTTP_11, "/", &["a b"]),
            (Version::HTTP_11, "/", &[""]),
            (Version::HTTP_2, "/", &[]),
            (Version::HTTP_2, "http://b/", &["a"]),
            (Version::HTTP_2, "http://u@b/", &[]),
        ] {
            assert!(read(version, target, hosts).is_err(), "{version:?} {target} {hosts:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_so_that_it_reads_the_same(text in "\\PC{0,40}|[a-z0-9.:\\[\\]@/_-]{0,20}") {
            if let Some(host) = Host::parse(&text) {
                let written = host.to_string();
                let again = Host::parse(&written).expect("reads back");
                prop_assert!(again.has_name_of(&host) && again.port == host.port);
                prop_assert!(!written.contains(['@', '/', '%', ' ']));
            }
        }
    }
}
