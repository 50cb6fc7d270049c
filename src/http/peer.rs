//! Who is at the other end of a connection, as the transport knows it: put into every request's extensions.
//!
//! Must not read headers: what a client or a proxy says about itself is another matter.

use std::net::{IpAddr, SocketAddr};

/// One connection's two ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Who connected; `None` on a Unix socket.
    pub(crate) remote: Option<IpAddr>,
    /// Our address they connected to; `None` on a Unix socket.
    pub(crate) local: Option<SocketAddr>,
    /// Whether TLS ends here.
    pub(crate) is_tls: bool,
}
