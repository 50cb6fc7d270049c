//! Where to listen, as people write it: `host:port` or `unix:/path`.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::size::text_in_files;

/// A TCP address or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`; the host may be a name, port 0 picks a free one.
    Tcp(String),
    /// The socket's file.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(format!("{text:?} names no absolute path behind unix:")) };
        }
        let is_address = text.rsplit_once(':').is_some_and(|(host, port)| {
            // Several colons are an IPv6 address, which is told from its port by brackets.
            let is_host = !host.is_empty() && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')));
            is_host && port.parse::<u16>().is_ok()
        });
        if is_address { Ok(Self::Tcp(text.to_owned())) } else { Err(format!("{text:?} is no address: host:port or unix:/path is allowed")) }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

text_in_files!(Listen, "an address such as \"127.0.0.1:8080\" or \"unix:/run/pixmill.sock\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_written() {
        for text in ["127.0.0.1:8080", "localhost:0", "[::1]:80", "0.0.0.0:65535", "unix:/run/pixmill.sock"] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", "8080", ":8080", "::1:80", "localhost", "localhost:x", "localhost:70000", "unix:", "unix:sock", "http://x:80"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
