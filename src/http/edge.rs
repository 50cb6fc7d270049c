//! Who may speak to us, and under which name: decided once, before a request is routed.
//!
//! In this order: which host the request names (400 if none can be told), what trusted proxies say, the path prefix, whether
//! the host is served (403), whether the page behind a write may write (403). What was found is put into the request's
//! extensions: [`Client`] and [`Visit`]. Invariant: a header that anyone can send decides nothing unless the sender is a
//! trusted proxy, or lying would only harm the liar. The reasons are in `docs/decisions/0019-who-may-speak.md`.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts};
use tracing::warn;

use crate::domain::{Code, Refusal};

use super::{
    App,
    client::{Client, TrustedProxies},
    forwarded::{self, Told},
    hosts::{self, AllowedHosts, Host},
    origin::{self, AllowedOrigins, Origin, Scheme},
    peer::Peer,
    prefix::{PathPrefix, PublicUrl},
    problem::Problem,
};

/// Probes come under odd names, and ask for no secrets.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
/// What answers without the prefix, too: tools of the same machine know nothing of it.
const WITHOUT_PREFIX: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// What is believed of a request and whom it is served for; all absent by default.
#[derive(Clone, Debug, Default)]
pub struct EdgeOptions {
    /// Base of absolute URLs.
    pub public_url: Option<PublicUrl>,
    /// What all paths begin with.
    pub path_prefix: Option<PathPrefix>,
    /// Who is believed about others.
    pub trusted_proxies: Option<TrustedProxies>,
    /// Names to serve under.
    pub allowed_hosts: Option<AllowedHosts>,
    /// Pages elsewhere that may read and write.
    pub cors_origins: Option<AllowedOrigins>,
}

/// The policy, with what it needs to know of the listener.
#[derive(Debug)]
pub struct Edge {
    pub(crate) options: EdgeOptions,
    /// The address listened on; `None` for a Unix socket.
    address: Option<SocketAddr>,
    /// An unknown name was spoken of in the log.
    unknown_name_seen: AtomicBool,
}

/// Under which address a request came, as far as it is believed.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    scheme: Scheme,
    name: Name,
    /// In front of our paths, as the client sees them: what a proxy took off …
    outer: Option<PathPrefix>,
    /// … and whether `--path-prefix` follows.
    has_prefix: bool,
}

#[derive(Clone, Debug)]
enum Name {
    /// What the request says: read again where it is needed, which is rare.
    Request,
    /// What a trusted proxy says.
    Told(String),
    /// Nothing to believe: our own address, if the connection has one.
    Own(Option<SocketAddr>),
}

/// What becomes of a request.
#[derive(Debug)]
enum Verdict {
    Admitted {
        client: Option<Client>,
        visit: Visit,
        /// The target without the prefix, if it had one.
        target: Option<Uri>,
    },
    /// The prefix without its slash: relative paths of the page would miss it.
    Redirect(HeaderValue),
}

impl Edge {
    /// The policy of a service that listens on `address`, or on a Unix socket.
    #[must_use]
    pub fn new(options: EdgeOptions, address: Option<SocketAddr>) -> Self {
        Self { options, address, unknown_name_seen: AtomicBool::new(false) }
    }

    fn judge(&self, peer: Peer, method: &Method, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Verdict, Refusal> {
        let named = hosts::of_request(version, uri, headers).map_err(|what| Refusal::new(Code::BadRequest, what))?;
        let proxies = self.options.trusted_proxies.as_ref().filter(|proxies| proxies.trusts(&peer));
        let told = proxies.map_or_else(Told::default, |proxies| forwarded::told(headers, proxies));
        let client = told.client.or(peer.remote.map(|ip| ip.to_canonical())).map(Client);
        let scheme = told.scheme.unwrap_or(if peer.is_tls { Scheme::Https } else { Scheme::Http });
        let host = told.host.as_deref().and_then(Host::parse).or(named);

        let (path, has_prefix) = match &self.options.path_prefix {
            None => (uri.path(), false),
            Some(prefix) => match prefix.rest(uri.path()) {
                Some("") if [Method::GET, Method::HEAD].contains(method) => return Ok(Verdict::Redirect(to_folder(prefix, uri))),
                Some(rest) => (rest, true),
                None if self.is_served_without(uri.path(), &told) => (uri.path(), false),
                None => return Err(Refusal::new(Code::NotFound, format!("there is nothing outside {prefix}/"))),
            },
        };
        let is_believed = match &host {
            Some(host) => {
                self.believes(host, proxies.is_some()).or_else(|refusal| if PROBES.contains(&path) { Ok(false) } else { Err(refusal) })?
            }
            None => false,
        };
        let own = host.map(|host| Origin { scheme, host });
        let public = self.options.public_url.as_ref().and_then(PublicUrl::origin);
        origin::check(method, headers, [own, public], self.options.cors_origins.as_ref())?;

        let target = match &self.options.path_prefix {
            Some(prefix) if has_prefix => Some(
                prefix.off(uri).ok_or_else(|| Refusal::new(Code::NotFound, format!("there is nothing at this path below {prefix}/")))?,
            ),
            _ => None,
        };
        let name = match told.host {
            _ if !is_believed => Name::Own(peer.local.or(self.address)),
            Some(host) => Name::Told(host),
            None => Name::Request,
        };
        // A proxy that names the prefix and leaves it in the path means one prefix, not two.
        let outer = told.prefix.filter(|outer| !(has_prefix && Some(outer) == self.options.path_prefix.as_ref()));
        Ok(Verdict::Admitted { client, visit: Visit { scheme, name, outer, has_prefix }, target })
    }

    /// With a prefix configured, what comes without it must come from where something takes it off.
    fn is_served_without(&self, path: &str, told: &Told) -> bool {
        let is_taken_off = told.prefix.is_some() || self.options.public_url.as_ref().is_some_and(|url| !url.path().is_empty());
        is_taken_off || WITHOUT_PREFIX.contains(&path)
    }

    /// Whether URLs may begin with this host.
    ///
    /// # Errors
    /// `forbidden`, when the request is not served at all under this name.
    fn believes(&self, host: &Host<'_>, is_from_proxy: bool) -> Result<bool, Refusal> {
        let ip = host.ip();
        let is_public = || self.options.public_url.as_ref().and_then(PublicUrl::origin).is_some_and(|url| url.host.has_name_of(host));
        let refused = || {
            let name = host.to_string();
            Err(Refusal::new(Code::Forbidden, format!("host {name:?} is not served here; allow it with --allowed-hosts")))
        };
        // Neither an address nor a name that never leaves the machine can be pointed at us by somebody's name server.
        let is_fixed = ip.is_some() || host.is_localhost();
        if let Some(allowed) = &self.options.allowed_hosts {
            return if is_fixed || allowed.lists(host) || is_public() { Ok(true) } else { refused() };
        }
        if is_from_proxy {
            return Ok(true);
        }
        // What only this machine can reach, a page in its browser reaches as well, under any name its owner gives our address.
        let is_private = self.address.is_none_or(|address| address.ip().is_loopback());
        if is_private {
            let is_here = host.is_localhost() || ip.is_some_and(|ip| ip.is_loopback());
            return if is_here || is_public() { Ok(true) } else { refused() };
        }
        let is_believed = is_fixed || is_public();
        if !is_believed && self.options.public_url.is_none() && !self.unknown_name_seen.swap(true, Ordering::Relaxed) {
            warn!(host = %host, "URLs in answers begin with an address, not with this name: say which names are yours with --public-url or --allowed-hosts");
        }
        Ok(is_believed)
    }

    /// What all paths begin with; empty where nothing was asked for.
    #[must_use]
    pub fn path_prefix(&self) -> &str {
        self.options.path_prefix.as_ref().map_or("", PathPrefix::as_str)
    }

    /// What absolute URLs begin with, without a slash at the end.
    pub(crate) fn base_url(&self, parts: &Parts) -> String {
        let prefix = self.path_prefix();
        if let Some(url) = &self.options.public_url {
            // A path there says where all of us is seen, whatever lies between.
            return if url.path().is_empty() { format!("{url}{prefix}") } else { url.to_string() };
        }
        let Some(visit) = parts.extensions.get::<Visit>() else { return format!("http://{}{prefix}", own(self.address)) };
        let outer = visit.outer.as_ref().map_or("", PathPrefix::as_str);
        let prefix = if visit.has_prefix { prefix } else { "" };
        let scheme = visit.scheme.as_str();
        match &visit.name {
            Name::Told(host) => format!("{scheme}://{host}{outer}{prefix}"),
            Name::Own(address) => format!("{scheme}://{}{outer}{prefix}", own(*address)),
            Name::Request => match hosts::of_request(parts.version, &parts.uri, &parts.headers) {
                Ok(Some(host)) => format!("{scheme}://{host}{outer}{prefix}"),
                _ => format!("{scheme}://{}{outer}{prefix}", own(self.address)),
            },
        }
    }
}

/// An address as part of a URL; a Unix socket has none that a URL could name.
fn own(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "localhost".to_owned(), |address| SocketAddr::new(address.ip().to_canonical(), address.port()).to_string())
}

/// From `/pix` to `pix/`: relative, so that it is right behind any proxy.
fn to_folder(prefix: &PathPrefix, uri: &Uri) -> HeaderValue {
    let last = prefix.as_str().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // Both are parts of a target that was read, hence visible ASCII.
    HeaderValue::from_str(&format!("{last}/{query}")).unwrap_or_else(|_| HeaderValue::from_static("./"))
}

/// The layer around all routes.
pub(super) async fn admit(State(site): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    match site.edge.judge(peer, request.method(), request.version(), request.uri(), request.headers()) {
        Ok(Verdict::Admitted { client, visit, target }) => {
            if let Some(target) = target {
                *request.uri_mut() = target;
            }
            if let Some(client) = client {
                request.extensions_mut().insert(client);
            }
            request.extensions_mut().insert(visit);
            next.run(request).await
        }
        Ok(Verdict::Redirect(location)) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response(),
        Err(refusal) => {
            site.metrics.refused(refusal.code.as_str());
            Problem::from(refusal).into_response()
        }
    }
}

#[cfg(test)]
#[path = "edge_tests.rs"]
mod tests;
