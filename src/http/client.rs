//! Who is asking: the address a request came from, seen through the proxies that `--trusted-proxies` names.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::peer::Peer;

/// The client's address: of the connection, or what a trusted proxy said it was. In the extensions of every request that has
/// one; what came over a Unix socket has none unless the proxy behind it says so. Never an IPv4 address in IPv6's clothes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client(pub(crate) IpAddr);

/// `--trusted-proxies`: networks, and `unix` for whoever may open our Unix socket. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
}

impl TrustedProxies {
    /// Whether what the other end of this connection says about others is believed.
    pub(crate) fn trusts(&self, peer: &Peer) -> bool {
        peer.remote.map_or(self.unix, |ip| self.contains(ip))
    }

    /// Whether this is the address of a proxy: behind it there are many clients.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut proxies = Self::default();
        for word in text.split(',').map(str::trim) {
            if word == "unix" {
                proxies.unix = true;
                continue;
            }
            let network = word.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical())).or_else(|_| word.parse::<IpNet>());
            let network = network.map_err(|_| {
                format!("{word:?} is not a network; allowed are addresses, networks such as 10.0.0.0/8 or fd00::/8, and the word unix")
            })?;
            proxies.networks.push(network.trunc());
        }
        Ok(proxies)
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = self.networks.iter().map(IpNet::to_string).collect();
        words.extend(self.unix.then(|| "unix".to_owned()));
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_matched_and_written() {
        let proxies: TrustedProxies = "10.1.2.3/8, unix ,192.0.2.7,fd00::/8".parse().expect("valid");
        assert_eq!(proxies.to_string(), "10.0.0.0/8,192.0.2.7/32,fd00::/8,unix");
        let trusts = |text: &str| proxies.trusts(&Peer { remote: Some(text.parse().expect("an address")), ..Peer::default() });
        assert!(trusts("10.255.0.1") && trusts("192.0.2.7") && trusts("fd00::1") && trusts("::ffff:10.0.0.1"));
        assert!(!trusts("11.0.0.1") && !trusts("192.0.2.8") && !trusts("::1"));
        assert!(proxies.trusts(&Peer::default()) && !TrustedProxies::default().trusts(&Peer::default()));
        for text in ["", "10.0.0.0/33", "example.com", "10.0.0.1,", "10.0.0.1:80", "Unix"] {
            assert!(text.parse::<TrustedProxies>().is_err(), "{text:?}");
        }
    }
}
