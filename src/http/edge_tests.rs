//! The policy without a socket: who is refused, who is believed, and what URLs begin with.

use http::Request;

use super::*;

const LOOPBACK: &str = "127.0.0.1:8080";
const OPEN: &str = "0.0.0.0:8080";

/// What was asked, in the order of a request.
struct Asked<'a> {
    peer: &'a str,
    method: Method,
    target: &'a str,
    headers: &'a [(&'static str, &'a str)],
}

fn get<'a>(peer: &'a str, target: &'a str, headers: &'a [(&'static str, &'a str)]) -> Asked<'a> {
    Asked { peer, method: Method::GET, target, headers }
}

fn edge(listen: &str, settings: &[(&str, &str)]) -> Edge {
    let of = |name| settings.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    let options = EdgeOptions {
        public_url: of("public-url").map(|t| t.parse().expect("valid")),
        path_prefix: of("path-prefix").map(|t| t.parse().expect("valid")),
        trusted_proxies: of("trusted-proxies").map(|t| t.parse().expect("valid")),
        allowed_hosts: of("allowed-hosts").map(|t| t.parse().expect("valid")),
        cors_origins: of("cors-origins").map(|t| t.parse().expect("valid")),
    };
    Edge::new(options, listen.parse().ok())
}

/// `peer` is an address, `unix`, or an address behind `tls+`. The connection came to the address listened on, or to 192.0.2.80.
fn judge(edge: &Edge, asked: Asked<'_>) -> Result<(Parts, Option<Client>), String> {
    let (is_tls, who) = asked.peer.strip_prefix("tls+").map_or((false, asked.peer), |who| (true, who));
    let local = if edge.address == OPEN.parse().ok() { "192.0.2.80:8080".parse().ok() } else { edge.address };
    let peer = match who {
        "unix" => Peer::default(),
        who => Peer { remote: Some(who.parse().expect("an address")), local, is_tls },
    };
    let mut request = Request::builder().method(asked.method).uri(asked.target);
    for (name, value) in asked.headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).expect("a request").into_parts();
    match edge.judge(peer, &parts.method, parts.version, &parts.uri, &parts.headers) {
        Ok(Verdict::Admitted { client, visit, target }) => {
            parts.uri = target.unwrap_or(parts.uri);
            parts.extensions.insert(visit);
            Ok((parts, client))
        }
        Ok(Verdict::Redirect(to)) => Err(format!("redirect to {}", to.to_str().expect("ASCII"))),
        Err(refusal) => Err(format!("{}: {}", refusal.code.as_str(), refusal.detail)),
    }
}

/// What URLs in the answer begin with, or the refusal.
fn base(edge: &Edge, asked: Asked<'_>) -> String {
    judge(edge, asked).map_or_else(|refusal| refusal, |(parts, _)| edge.base_url(&parts))
}

#[test]
fn on_loopback_only_names_that_cannot_be_rebound_are_served() {
    let edge = edge(LOOPBACK, &[]);
    for (host, wanted) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost:8080", "http://localhost:8080"),
        ("a.localhost", "http://a.localhost"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("evil.example", "forbidden: host \"evil.example\" is not served here; allow it with --allowed-hosts"),
        (
            "127.0.0.1.evil.example:8080",
            "forbidden: host \"127.0.0.1.evil.example:8080\" is not served here; allow it with --allowed-hosts",
        ),
        ("192.0.2.1", "forbidden: host \"192.0.2.1\" is not served here; allow it with --allowed-hosts"),
        ("0.0.0.0:8080", "forbidden: host \"0.0.0.0:8080\" is not served here; allow it with --allowed-hosts"),
    ] {
        assert_eq!(base(&edge, get("127.0.0.1", "/v1/stats", &[("host", host)])), wanted);
        assert!(judge(&edge, get("127.0.0.1", "/healthz", &[("host", host)])).is_ok(), "a probe by {host}");
    }
    let socket = super::Edge::new(EdgeOptions::default(), None);
    assert!(judge(&socket, get("unix", "/", &[("host", "evil.example")])).is_err());
    assert_eq!(base(&socket, get("unix", "/", &[("host", "localhost")])), "http://localhost");
}

#[test]
fn elsewhere_unknown_names_are_served_and_not_repeated() {
    let open = edge(OPEN, &[]);
    assert_eq!(base(&open, get("198.51.100.7", "/", &[("host", "evil.example")])), "http://192.0.2.80:8080");
    assert_eq!(base(&open, get("tls+198.51.100.7", "/", &[("host", "evil.example")])), "https://192.0.2.80:8080");
    assert_eq!(base(&open, get("198.51.100.7", "/", &[("host", "192.0.2.80:9")])), "http://192.0.2.80:9");
    let listed = edge(OPEN, &[("allowed-hosts", "img.example.com,*.shop.example")]);
    assert_eq!(base(&listed, get("198.51.100.7", "/", &[("host", "IMG.example.com:81")])), "http://IMG.example.com:81");
    assert_eq!(base(&listed, get("198.51.100.7", "/", &[("host", "a.shop.example")])), "http://a.shop.example");
    assert!(base(&listed, get("198.51.100.7", "/", &[("host", "evil.example")])).contains("--allowed-hosts"));
    let any = edge(LOOPBACK, &[("allowed-hosts", "*")]);
    assert_eq!(base(&any, get("127.0.0.1", "/", &[("host", "any.example")])), "http://any.example");
    let public = edge(LOOPBACK, &[("public-url", "https://img.example.com/pix")]);
    for host in ["img.example.com", "localhost"] {
        assert_eq!(base(&public, get("127.0.0.1", "/", &[("host", host)])), "https://img.example.com/pix");
    }
    assert!(judge(&public, get("127.0.0.1", "/", &[("host", "evil.example")])).is_err());
}

#[test]
fn what_strangers_say_of_others_is_ignored_and_what_proxies_say_is_not() {
    let said = [
        ("host", "localhost:8080"),
        ("x-forwarded-for", "198.51.100.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "img.example.com"),
        ("x-forwarded-prefix", "/pix"),
    ];
    let (closed, open) = (edge(LOOPBACK, &[("trusted-proxies", "10.0.0.0/8")]), edge(LOOPBACK, &[("trusted-proxies", "127.0.0.1,unix")]));
    let client = |edge: &Edge, peer| judge(edge, get(peer, "/", &said)).expect("admitted").1.map(|client| client.0.to_string());
    assert_eq!(base(&closed, get("127.0.0.1", "/", &said)), "http://localhost:8080");
    assert_eq!(client(&closed, "127.0.0.1").as_deref(), Some("127.0.0.1"));
    assert_eq!(client(&closed, "::ffff:127.0.0.1").as_deref(), Some("127.0.0.1"));
    assert_eq!(client(&closed, "unix"), None);
    for peer in ["127.0.0.1", "unix"] {
        assert_eq!(base(&open, get(peer, "/", &said)), "https://img.example.com/pix");
        assert_eq!(client(&open, peer).as_deref(), Some("198.51.100.7"));
    }
    // A proxy that passes the name on in `Host` is believed as well; a list of names binds proxies, too.
    assert_eq!(base(&open, get("unix", "/", &[("host", "img.example.com")])), "http://img.example.com");
    let bound = edge(LOOPBACK, &[("trusted-proxies", "127.0.0.1"), ("allowed-hosts", "img.example.com")]);
    assert_eq!(base(&bound, get("127.0.0.1", "/", &said)), "https://img.example.com/pix");
    assert!(judge(&bound, get("127.0.0.1", "/", &[("host", "localhost"), ("x-forwarded-host", "evil.example")])).is_err());
}

#[test]
fn prefixes_come_off_and_go_back_on() {
    let inner = edge(LOOPBACK, &[("path-prefix", "/pix"), ("trusted-proxies", "10.0.0.1")]);
    let host = ("host", "localhost");
    let path = |target| judge(&inner, get("127.0.0.1", target, &[host])).map(|(parts, _)| parts.uri.to_string());
    assert_eq!(path("/pix/v1/stats?a=b"), Ok("/v1/stats?a=b".to_owned()));
    assert_eq!(base(&inner, get("127.0.0.1", "/pix/", &[host])), "http://localhost/pix");
    assert_eq!(path("/pix?a=b"), Err("redirect to pix/?a=b".to_owned()));
    for (target, served) in
        [("/v1/stats", false), ("/pixel/", false), ("/", false), ("/metrics", true), ("/healthz", true), ("/readyz", true)]
    {
        assert_eq!(path(target).is_ok(), served, "{target}");
    }
    // A proxy that takes the same prefix off, one that names it and leaves it on, one that took another off.
    let named = |prefix| [host, ("x-forwarded-host", "a.example"), ("x-forwarded-prefix", prefix)];
    assert_eq!(base(&inner, get("10.0.0.1", "/v1/stats", &named("/pix"))), "http://a.example/pix");
    assert_eq!(base(&inner, get("10.0.0.1", "/pix/v1/stats", &named("/pix"))), "http://a.example/pix");
    assert_eq!(base(&inner, get("10.0.0.1", "/pix/v1/stats", &named("/apps"))), "http://a.example/apps/pix");
    assert!(judge(&inner, get("127.0.0.1", "/v1/stats", &named("/pix"))).is_err(), "a stranger takes nothing off");
    let both = edge(LOOPBACK, &[("path-prefix", "/pix"), ("public-url", "https://a.example/apps/pix")]);
    for target in ["/pix/v1/stats", "/v1/stats"] {
        assert_eq!(base(&both, get("127.0.0.1", target, &[host])), "https://a.example/apps/pix");
    }
    let short = edge(LOOPBACK, &[("path-prefix", "/pix"), ("public-url", "https://a.example")]);
    assert_eq!(base(&short, get("127.0.0.1", "/pix/v1/stats", &[host])), "https://a.example/pix");
}

#[test]
fn a_write_comes_from_a_page_of_ours_as_the_client_sees_it() {
    let proxied = edge(OPEN, &[("trusted-proxies", "10.0.0.1")]);
    let headers = [
        ("host", "inner:80"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "img.example.com"),
        ("origin", "https://img.example.com"),
    ];
    let post = |peer| Asked { method: Method::POST, ..get(peer, "/v1/images", &headers) };
    assert!(judge(&proxied, post("10.0.0.1")).is_ok());
    assert!(
        judge(&proxied, post("10.0.0.2"))
            .expect_err("a stranger's word")
            .starts_with("forbidden: a page of origin \"https://img.example.com\"")
    );
    let direct = [("host", "img.example.com"), ("origin", "https://img.example.com")];
    let post = |peer| Asked { method: Method::DELETE, ..get(peer, "/v1/uploads/x", &direct) };
    assert!(judge(&proxied, post("tls+198.51.100.7")).is_ok() && judge(&proxied, post("198.51.100.7")).is_err());
}
