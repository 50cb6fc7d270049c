//! Which client a request counts for.
//!
//! Must not read headers: who stands behind a proxy is found out before, and put into the request's extensions.

use std::net::IpAddr;

use http::Extensions;

use super::peer::Peer;

/// The address limits are counted by; `None` where there is none (a Unix socket).
pub(crate) fn client_of(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().and_then(|peer| peer.remote)
}
