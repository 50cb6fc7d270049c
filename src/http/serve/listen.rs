//! Where connections come from: a TCP port or a Unix socket, and the streams they give.
//!
//! Must not know HTTP. Invariant: a socket file that is there belongs to a living process, or is ours and goes with us.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use tokio_rustls::server::TlsStream;

use crate::http::peer::Peer;

/// Who may connect to a Unix socket: its owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Bytes the kernel keeps unsent for one connection. Enough to keep a link busy; small enough that a reader at the
/// minimum rate is seen to take something within the write time-out.
const UNSENT_BYTES: u32 = 64 << 10;

/// What is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket's file.
    Unix(PathBuf),
}

impl Bound {
    /// The TCP address, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound socket, not yet accepting. A Unix socket's file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    bound: Bound,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// With the identity of the file, so that only our own is removed.
    Unix(UnixListener, (u64, u64)),
}

impl Listener {
    /// Binds `host:port`; a name is resolved, and the first address that can be bound is taken.
    ///
    /// # Errors
    /// When none can be bound.
    pub async fn tcp(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let bound = Bound::Tcp(listener.local_addr()?);
        Ok(Self { socket: Socket::Tcp(listener), bound })
    }

    /// Binds a Unix socket. A socket file nobody listens on is replaced.
    ///
    /// # Errors
    /// When a living process listens there, something else is in the way, or the folder cannot be written.
    pub async fn unix(path: &Path) -> io::Result<Self> {
        if let Ok(there) = std::fs::symlink_metadata(path) {
            if !there.file_type().is_socket() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of this name, and it is no socket"));
            }
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket")),
            }
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        let file = std::fs::symlink_metadata(path)?;
        Ok(Self { socket: Socket::Unix(listener, (file.dev(), file.ino())), bound: Bound::Unix(path.to_owned()) })
    }

    /// What was bound.
    #[must_use]
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// The next connection.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // Both only make it better: a connection that refuses them is served all the same.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
                let remote: IpAddr = from.ip().to_canonical();
                let peer = Peer { remote: Some(remote), local: stream.local_addr().ok(), is_tls: false };
                Ok((Stream::Tcp(stream), peer))
            }
            Socket::Unix(listener, _) => Ok((Stream::Unix(listener.accept().await?.0), Peer::default())),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let (Socket::Unix(_, identity), Bound::Unix(path)) = (&self.socket, &self.bound) {
            let is_ours = std::fs::symlink_metadata(path).is_ok_and(|file| (file.dev(), file.ino()) == *identity);
            if is_ours {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// A connection's bytes.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp(inner) => {
                let $stream = Pin::new(inner);
                $call
            }
            Stream::Unix(inner) => {
                let $stream = Pin::new(inner);
                $call
            }
        }
    };
}

/// What can be closed without sending what it still holds.
pub(super) trait Abandon {
    /// Closing throws away what is unsent and resets the connection: a peer that does not read would keep it in the kernel.
    fn abandon(&self);
}

impl Abandon for Stream {
    fn abandon(&self) {
        if let Self::Tcp(stream) = self {
            // At worst it is closed politely.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl<S: Abandon> Abandon for TlsStream<S> {
    fn abandon(&self) {
        self.get_ref().0.abandon();
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pixmill.sock");
        let first = Listener::unix(&path).await.expect("binds");
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, SOCKET_MODE);
        assert_eq!(Listener::unix(&path).await.expect_err("it lives").kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists(), "removed at the end");
        // What a killed process leaves: a file, and nobody behind it.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
        assert!(path.exists());
        let second = Listener::unix(&path).await.expect("replaces it");
        std::fs::remove_file(&path).expect("removes");
        std::fs::write(&path, "mine").expect("writes");
        drop(second);
        assert_eq!(std::fs::read(&path).expect("foreign files stay"), b"mine");
        assert_eq!(Listener::unix(&path).await.expect_err("no socket").kind(), io::ErrorKind::AlreadyExists);
    }
}
