//! What proxies say about a request: `Forwarded` (RFC 7239) and the older `X-Forwarded-*`.
//!
//! Asked only for requests that come from a trusted proxy. Lists are read from their right end, where our proxy wrote, through
//! as many hops as are trusted, and no further: what stands left of that is the client's own invention. Invariants: nothing
//! here fails, what cannot be read is as if it were not there; and when the two families of headers contradict each other
//! (one of them came through from the client) neither is believed.

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, header};
use tracing::debug;

use super::{client::TrustedProxies, hosts::Host, origin::Scheme, prefix::PathPrefix};

/// What is believed; all empty when nothing was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Who asked the outermost trusted proxy.
    pub(crate) client: Option<IpAddr>,
    /// How.
    pub(crate) scheme: Option<Scheme>,
    /// Under which name: reads as a `Host`.
    pub(crate) host: Option<String>,
    /// What a proxy took off the path.
    pub(crate) prefix: Option<PathPrefix>,
}

/// A header that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

/// Reads all there is. The peer who sent these headers is trusted.
pub(crate) fn told(headers: &HeaderMap, trusted: &TrustedProxies) -> Told {
    let mut told = match (standard(headers, trusted), older(headers, trusted)) {
        (Ok(standard), Ok(older)) => agreed(standard, older).unwrap_or_else(|| {
            debug!("Forwarded and X-Forwarded-* contradict each other, both are ignored");
            Told::default()
        }),
        // Were the other family believed now, a client could break the one our proxy writes and use its own.
        (standard, _) => {
            let name = if standard.is_err() { "Forwarded" } else { "X-Forwarded-For" };
            debug!("{name} is malformed; what proxies say of this request is ignored");
            Told::default()
        }
    };
    told.prefix = one_line(headers, "x-forwarded-prefix").and_then(|text| {
        let prefix = text.strip_suffix('/').unwrap_or(text);
        let read = prefix.parse().ok();
        if read.is_none() && !prefix.is_empty() {
            debug!("an X-Forwarded-Prefix header is malformed and ignored");
        }
        read
    });
    told
}

/// Both, where neither says other than the other.
fn agreed(one: Told, other: Told) -> Option<Told> {
    fn both<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
        match (one, other) {
            (Some(one), Some(other)) if one != other => None,
            (one, other) => Some(one.or(other)),
        }
    }
    // Names are the same in either case (RFC 9110, section 4.2.3).
    let lower = |host: Option<String>| host.map(|host| host.to_ascii_lowercase());
    both(lower(one.host.clone()), lower(other.host.clone()))?;
    Some(Told {
        client: both(one.client, other.client)?,
        scheme: both(one.scheme, other.scheme)?,
        host: one.host.or(other.host),
        prefix: None,
    })
}

fn one_line<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    if lines.next().is_some() { None } else { line.to_str().ok().map(str::trim) }
}

/// Members of a comma-separated list over all its lines, the last first.
fn from_the_right<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = Result<&'h str, Malformed>> {
    headers.get_all(name).iter().rev().flat_map(|line| {
        let (text, bad) = line.to_str().map_or((None, Some(Err(Malformed))), |text| (Some(text), None));
        text.into_iter().flat_map(|text| text.rsplit(',').map(|member| Ok(member.trim()))).chain(bad)
    })
}

/// `X-Forwarded-For`, `-Proto` and `-Host`.
fn older(headers: &HeaderMap, trusted: &TrustedProxies) -> Result<Told, Malformed> {
    let mut client = None;
    let mut hops = 0;
    for (index, member) in from_the_right(headers, "x-forwarded-for").enumerate() {
        hops = index;
        let Node::Address(ip) = node(member?)? else { break };
        client = Some(ip);
        if !trusted.contains(ip) {
            break;
        }
    }
    // Written by the proxy that wrote the client's address, or by one nearer to us when not all of them write it.
    let at_hop = |name| from_the_right(headers, name).take(hops + 1).last().and_then(Result::ok);
    let scheme = at_hop("x-forwarded-proto").and_then(readable("X-Forwarded-Proto", Scheme::parse));
    let host = at_hop("x-forwarded-host").and_then(readable("X-Forwarded-Host", host));
    Ok(Told { client, scheme, host, prefix: None })
}

/// `Forwarded`.
fn standard(headers: &HeaderMap, trusted: &TrustedProxies) -> Result<Told, Malformed> {
    let mut told = Told::default();
    for line in headers.get_all(header::FORWARDED).iter().rev() {
        for element in elements(line.to_str().map_err(|_| Malformed)?)?.into_iter().rev() {
            // The proxy farthest out that says it knows best; those nearer to us only saw the next proxy.
            told.scheme = element.proto.as_deref().and_then(readable("Forwarded proto", Scheme::parse)).or(told.scheme);
            told.host = element.host.as_deref().and_then(readable("Forwarded host", host)).or(told.host);
            let Some(Node::Address(ip)) = element.node else { return Ok(told) };
            told.client = Some(ip);
            if !trusted.contains(ip) {
                return Ok(told);
            }
        }
    }
    Ok(told)
}

fn host(text: &str) -> Option<String> {
    Host::parse(text).map(|host| host.to_string())
}

/// `read`, with a line when something is there and cannot be read.
fn readable<T>(name: &'static str, read: impl Fn(&str) -> Option<T>) -> impl Fn(&str) -> Option<T> {
    move |text| {
        let value = read(text);
        if value.is_none() && !text.is_empty() {
            debug!("{name} is malformed and ignored");
        }
        value
    }
}

/// Who was in front of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    /// `unknown`, or a name only that proxy understands.
    Hidden,
}

/// `node` of RFC 7239, section 6, and an IPv6 address without brackets, as `X-Forwarded-For` has it.
fn node(text: &str) -> Result<Node, Malformed> {
    if text.eq_ignore_ascii_case("unknown") || text.strip_prefix('_').is_some_and(|rest| !rest.is_empty()) {
        return Ok(Node::Hidden);
    }
    let ip = text.parse::<IpAddr>().ok().or_else(|| Host::parse(text)?.ip()).ok_or(Malformed)?;
    Ok(Node::Address(ip.to_canonical()))
}

/// What one proxy wrote.
#[derive(Debug, Default)]
struct Element<'a> {
    node: Option<Node>,
    proto: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
}

/// The elements of one line (RFC 7239, section 4). Colons and brackets outside quotes are taken as well: many proxies write so.
fn elements(line: &str) -> Result<Vec<Element<'_>>, Malformed> {
    let mut all = Vec::new();
    let mut rest = line.trim_start();
    loop {
        let mut element = Element::default();
        loop {
            let (name, value, after) = pair(rest)?;
            rest = after;
            let slot = match name.to_ascii_lowercase().as_str() {
                "for" if element.node.is_none() => {
                    element.node = Some(node(&value)?);
                    None
                }
                "proto" => Some(&mut element.proto),
                "host" => Some(&mut element.host),
                "for" => return Err(Malformed),
                // `by`, and extensions we do not know.
                _ => None,
            };
            if let Some(slot) = slot {
                if slot.is_some() {
                    return Err(Malformed);
                }
                *slot = Some(value);
            }
            match rest.strip_prefix(';') {
                Some(next) => rest = next.trim_start(),
                None => break,
            }
        }
        all.push(element);
        if rest.is_empty() {
            return Ok(all);
        }
        rest = rest.strip_prefix(',').ok_or(Malformed)?.trim_start();
    }
}

/// `token "=" (token / quoted-string)` and the blanks behind it; what is left begins with a separator or is empty.
fn pair(text: &str) -> Result<(&str, Cow<'_, str>, &str), Malformed> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let (name, rest) = text.split_once('=').ok_or(Malformed)?;
    if name.is_empty() || !name.chars().all(is_token) {
        return Err(Malformed);
    }
    let (value, rest) = if let Some(quoted) = rest.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next().ok_or(Malformed)? {
                (at, '"') => break at,
                (_, '\\') => value.push(chars.next().ok_or(Malformed)?.1),
                (_, c) => value.push(c),
            }
        };
        (Cow::Owned(value), &quoted[end + 1..])
    } else {
        let end = rest.find(|c: char| !is_token(c) && !"[]:".contains(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(Malformed);
        }
        (Cow::Borrowed(&rest[..end]), &rest[end..])
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with([';', ',']) { Ok((name, value, rest)) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn told_by(lines: &[(&str, &str)]) -> Told {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"));
        }
        told(&headers, &"10.0.0.0/8,fd00::/8".parse().expect("valid"))
    }

    fn client_by(lines: &[(&str, &str)]) -> Option<String> {
        told_by(lines).client.map(|ip| ip.to_string())
    }

    #[test]
    fn the_client_is_the_first_untrusted_hop_from_the_right() {
        for (line, client) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("6.6.6.6, 192.0.2.1", Some("192.0.2.1")),
            ("6.6.6.6, 192.0.2.1, 10.0.0.2", Some("192.0.2.1")),
            ("garbage, 192.0.2.1", Some("192.0.2.1")),
            ("10.0.0.3, 10.0.0.2", Some("10.0.0.3")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1, unknown, 10.0.0.2", Some("10.0.0.2")),
            ("unknown", None),
            ("garbage", None),
            ("192.0.2.1, garbage, 10.0.0.2", None),
            ("192.0.2.1,", None),
            ("", None),
        ] {
            assert_eq!(client_by(&[("x-forwarded-for", line)]).as_deref(), client, "{line}");
        }
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client_by(&lines).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn the_standard_header_is_read_in_full() {
        for (line, client) in [
            ("for=192.0.2.1", Some("192.0.2.1")),
            ("For=\"[2001:db8:cafe::17]:4711\";proto=https", Some("2001:db8:cafe::17")),
            ("for=6.6.6.6, for=192.0.2.1;by=10.0.0.1 , for=10.0.0.2", Some("192.0.2.1")),
            ("for=\"192.0.2.1:_port\"", None),
            ("for=192.0.2.1:80", Some("192.0.2.1")),
            ("for=\"19\\2.0.2.1\";ext=\"a,b;c\\\"d\"", Some("192.0.2.1")),
            ("for=192.0.2.1, for=_hidden, for=10.0.0.2", Some("10.0.0.2")),
            ("proto=https, for=10.0.0.2", Some("10.0.0.2")),
            ("for=192.0.2.1;for=6.6.6.6", None),
            ("for=192.0.2.1;", None),
            ("for", None),
            ("for=", None),
            ("for=\"192.0.2.1", None),
            ("for=192.0.2.1 x", None),
        ] {
            assert_eq!(client_by(&[("forwarded", line)]).as_deref(), client, "{line}");
        }
        // A line of the client's that is broken does not take ours with it.
        assert_eq!(client_by(&[("forwarded", "for=\""), ("forwarded", "for=192.0.2.1")]).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn scheme_and_host_are_those_of_the_outermost_trusted_proxy() {
        let told = told_by(&[(
            "forwarded",
            "for=6.6.6.6;proto=http;host=evil.example, for=192.0.2.1;proto=https;host=img.example.com, for=10.0.0.2;proto=http;host=inner",
        )]);
        assert_eq!((told.scheme, told.host.as_deref()), (Some(Scheme::Https), Some("img.example.com")));
        let told = told_by(&[
            ("x-forwarded-for", "6.6.6.6, 192.0.2.1, 10.0.0.2"),
            ("x-forwarded-proto", "http, https, http"),
            ("x-forwarded-host", "evil.example, img.example.com:444, inner"),
        ]);
        assert_eq!((told.scheme, told.host.as_deref()), (Some(Scheme::Https), Some("img.example.com:444")));
        let told = told_by(&[("x-forwarded-proto", "HTTPS"), ("x-forwarded-host", "img.example.com")]);
        assert_eq!((told.scheme, told.host.as_deref(), told.client), (Some(Scheme::Https), Some("img.example.com"), None));
        let told = told_by(&[("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a b")]);
        assert_eq!(told, Told::default());
    }

    #[test]
    fn families_that_contradict_each_other_are_both_ignored() {
        let same = [("forwarded", "for=192.0.2.1;proto=https"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-host", "a.example")];
        let told = told_by(&same);
        assert_eq!((told.client.is_some(), told.scheme, told.host.as_deref()), (true, Some(Scheme::Https), Some("a.example")));
        let told = told_by(&[("forwarded", "for=192.0.2.1;host=Img.Example.com"), ("x-forwarded-host", "img.example.COM")]);
        assert_eq!(told.host.map(|host| host.to_ascii_lowercase()).as_deref(), Some("img.example.com"), "names have no case");
        for lines in [
            [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")],
            [("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "6.6.6.6")],
            [("forwarded", "for=192.0.2.1;host=evil.example"), ("x-forwarded-host", "img.example.com")],
            [("forwarded", "for=\"192"), ("x-forwarded-for", "6.6.6.6")],
            [("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "garbage")],
        ] {
            assert_eq!(told_by(&lines), Told::default(), "{lines:?}");
        }
    }

    #[test]
    fn a_prefix_is_taken_when_it_is_one() {
        let prefix = |lines: &[(&str, &str)]| told_by(lines).prefix.map(|prefix| prefix.to_string());
        assert_eq!(prefix(&[("x-forwarded-prefix", "/pix")]).as_deref(), Some("/pix"));
        assert_eq!(prefix(&[("x-forwarded-prefix", "/a/pix/")]).as_deref(), Some("/a/pix"));
        for bad in ["", "/", "pix", "//evil.example", "/a/..", "/a,/b", "/a?b", "https://evil.example"] {
            assert_eq!(prefix(&[("x-forwarded-prefix", bad)]), None, "{bad}");
        }
        assert_eq!(prefix(&[("x-forwarded-prefix", "/a"), ("x-forwarded-prefix", "/b")]), None);
    }

    const NAMES: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix"];

    proptest! {
        /// Whatever comes: no panic, and what is believed is an address, a scheme, a host and a prefix that read as such.
        #[test]
        fn anything_is_read_without_harm(lines in proptest::collection::vec((0..NAMES.len(), proptest::collection::vec(any::<u8>(), 0..60)), 0..6)) {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(NAMES[name], value);
                }
            }
            let told = told(&headers, &"10.0.0.0/8".parse().expect("valid"));
            prop_assert!(told.host.is_none_or(|host| Host::parse(&host).is_some()));
        }

        /// The same with text that is nearly right.
        #[test]
        fn nearly_right_text_is_read_without_harm(line in "((for|proto|host|by|x)=?(\"?(10\\.0\\.0\\.1|192\\.0\\.2\\.1|https|\\[::1\\]:?8?|a\\.b|\\\\\"|_x|unknown)\"?)?[;, ]{0,2}){0,8}") {
            let _ = told_by(&[("forwarded", &line), ("x-forwarded-for", &line)]);
        }

        /// Whatever a client puts in front of what our proxy appends changes nothing.
        #[test]
        fn what_stands_left_of_the_proxys_word_is_ignored(noise in "[a-z0-9.:;=\\[\\] ]{0,40}") {
            let lines = [("x-forwarded-for".to_owned(), format!("{noise}, 192.0.2.1")), ("x-forwarded-proto".to_owned(), format!("{noise}, https"))];
            let told = told_by(&lines.each_ref().map(|(name, value)| (name.as_str(), value.as_str())));
            prop_assert_eq!((told.client, told.scheme), ("192.0.2.1".parse().ok(), Some(Scheme::Https)));
            let told = told_by(&[("forwarded", &noise), ("forwarded", "for=192.0.2.1;proto=https")]);
            prop_assert_eq!((told.client, told.scheme), ("192.0.2.1".parse().ok(), Some(Scheme::Https)));
        }

        /// Headers of no meaning here are never believed.
        #[test]
        fn unknown_parameters_and_headers_say_nothing(name in "x-[a-z]{1,12}", value in "[a-z0-9.]{1,20}") {
            prop_assume!(!NAMES.contains(&name.as_str()));
            prop_assert_eq!(told_by(&[(&name, &value)]), Told::default());
            prop_assert_eq!(told_by(&[("forwarded", &format!("{name}={value}"))]), Told::default());
        }
    }
}
