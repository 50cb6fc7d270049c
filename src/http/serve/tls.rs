//! TLS where it ends here: certificate and key from PEM files, looked at again on SIGHUP and when the files change.
//!
//! Must not know HTTP beyond the names ALPN offers. Invariant: a certificate that cannot be used never replaces one that can.

use std::{
    fmt,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{info, warn};

use crate::telemetry::error_chain;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// HTTP/2 and HTTP/1.1 as ALPN calls them (RFC 7301), in our order of liking.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate and key cannot be used; names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM of the wanted kind.
    #[error("{what} {path}")]
    File {
        /// What was being done.
        what: &'static str,
        /// Which file.
        path: String,
        /// Why it failed.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{0} holds no certificate in PEM")]
    Empty(String),
    /// The two do not belong together, or the key is of a kind that is not supported.
    #[error("the certificate and the key cannot be used together")]
    Unusable(#[from] rustls::Error),
}

/// The two files and what was last read from them.
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    files: Files,
    /// How the files looked before they were read.
    opened: Look,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What is shown to clients now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What tells that a file is another than before, without reading it: time of change in nanoseconds, length, inode.
type Look = [Option<(i128, u64, u64)>; 2];

impl Files {
    fn look(&self) -> Look {
        [&self.certificate, &self.key].map(|path| {
            let file = std::fs::metadata(path).ok()?;
            Some((i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec()), file.len(), file.ino()))
        })
    }

    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let of = |path: &Path, what: &'static str| {
            let path = path.display().to_string();
            move |source| TlsError::File { what, path, source }
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(of(&self.certificate, "cannot read the certificate"))?;
        if chain.is_empty() {
            return Err(TlsError::Empty(self.certificate.display().to_string()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(of(&self.key, "cannot read the key"))?;
        Ok(CertifiedKey::from_der(chain, key, provider)?)
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        // Named here and nowhere made the process's default: nothing else depends on which provider that would be.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        // Before they are read: a change in between is then seen by the next look.
        let opened = files.look();
        let current = Arc::new(Current(RwLock::new(Arc::new(files.read(&provider)?))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), current, files, opened })
    }

    /// The handshake, and whether HTTP/2 was agreed on.
    ///
    /// # Errors
    /// When the client leaves or cannot agree.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> std::io::Result<(TlsStream<S>, bool)> {
        let stream = self.acceptor.accept(stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN[0]);
        Ok((stream, is_http2))
    }

    /// Takes up new files; what cannot be used is said once and changes nothing.
    fn reload(&self) {
        let read = self.files.read(self.acceptor.config().crypto_provider());
        match read {
            Ok(key) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                info!("took up the new certificate");
            }
            Err(error) => warn!(error = %error_chain(&error), "cannot use the new certificate, keeping the old one"),
        }
    }

    /// Looks at the files on SIGHUP and every 30 s, for ever.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(super) async fn follow_files(&self) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            warn!("cannot listen for SIGHUP; the certificate is looked at every {} s all the same", LOOK_EVERY.as_secs());
            return self.follow_changes().await;
        };
        let mut seen = self.opened;
        loop {
            let asked = tokio::time::timeout(LOOK_EVERY, hangup.recv()).await.is_ok();
            self.take_up(&mut seen, asked);
        }
    }

    async fn follow_changes(&self) {
        let mut seen = self.opened;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.take_up(&mut seen, false);
        }
    }

    /// A short look at two local files: not worth a thread.
    fn take_up(&self, seen: &mut Look, asked: bool) {
        let now = self.files.look();
        if asked || now != *seen {
            *seen = now;
            self.reload();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("makes");
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("writes");
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("writes");
        made.cert.der().to_vec()
    }

    fn shown(tls: &Tls) -> Vec<u8> {
        tls.current.0.read().expect("no panic").cert[0].to_vec()
    }

    #[test]
    fn new_files_are_taken_up_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let first = write(folder.path(), "one.test");
        let tls = Tls::open(&cert, &key).expect("opens");
        let mut seen = tls.opened;
        assert_eq!(shown(&tls), first);
        tls.take_up(&mut seen, false);
        assert_eq!(shown(&tls), first, "nothing changed");
        let second = write(folder.path(), "two.test");
        tls.take_up(&mut seen, false);
        assert_eq!(shown(&tls), second);
        for broken in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&cert, broken).expect("writes");
            tls.take_up(&mut seen, false);
            assert_eq!(shown(&tls), second);
        }
        std::fs::remove_file(&cert).expect("removes");
        tls.take_up(&mut seen, false);
        assert_eq!(shown(&tls), second);
        let third = write(folder.path(), "three.test");
        tls.take_up(&mut seen, true);
        assert_eq!(shown(&tls), third);
    }

    #[test]
    fn what_cannot_be_used_names_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let said = |cert: &Path, key: &Path| error_chain(&Tls::open(cert, key).expect_err("cannot be used")).to_string();
        assert!(said(&cert, &key).contains("cert.pem"));
        write(folder.path(), "one.test");
        assert!(said(&key, &key).contains("no certificate"), "{}", said(&key, &key));
        assert!(said(&cert, &cert).contains("cannot read the key"));
        let other = rcgen::generate_simple_self_signed(vec!["x.test".to_owned()]).expect("makes");
        std::fs::write(&key, other.signing_key.serialize_pem()).expect("writes");
        assert!(said(&cert, &key).contains("together"));
    }
}
