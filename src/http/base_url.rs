//! Where absolute URLs begin: `--public-url`, else the address the request came to.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{Uri, header, request::Parts, uri::Authority};

use super::{App, Bound, peer::Peer};

/// Scheme and authority, without a slash at the end.
pub(crate) struct BaseUrl(pub(crate) String);

impl FromRequestParts<App> for BaseUrl {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &App) -> Result<Self, Infallible> {
        if let Some(url) = &site.public_url {
            return Ok(Self(url.clone()));
        }
        let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let authority = host.and_then(|host| host.parse::<Authority>().ok()).or_else(|| Uri::authority(&parts.uri).cloned());
        // User information has no place in a host, and would be reflected to whoever follows the link.
        let authority = authority.filter(|authority| !authority.as_str().contains('@'));
        let scheme = if parts.extensions.get::<Peer>().is_some_and(|peer| peer.is_tls) { "https" } else { "http" };
        let authority = authority.map_or_else(
            || match &site.address {
                Bound::Tcp(address) => address.to_string(),
                Bound::Unix(_) => "localhost".to_owned(),
            },
            |authority| authority.to_string(),
        );
        Ok(Self(format!("{scheme}://{authority}")))
    }
}
