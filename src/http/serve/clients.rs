//! How much one client may hold at once, counted by address.
//!
//! Must not know what is counted. Invariant: an address without a hold has no entry, so the table is as large as what is held.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Counts of what clients hold. Clones share them.
#[derive(Clone, Debug)]
pub struct Clients {
    held: Arc<Mutex<HashMap<IpAddr, u32>>>,
    limit: u32,
}

/// One place of a client; free again when dropped.
#[derive(Debug)]
pub struct Place {
    clients: Clients,
    client: IpAddr,
}

impl Clients {
    /// Each client may hold `limit` places.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { held: Arc::default(), limit }
    }

    /// Places each client may hold.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// A place for this client, `None` when it holds as many as it may.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let client = client_network(address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(client).or_insert(0);
        if *count >= self.limit {
            if *count == 0 {
                held.remove(&client);
            }
            return None;
        }
        *count += 1;
        Some(Place { clients: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.clients.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 subscriber gets at least.
pub(crate) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_network_and_given_back() {
        let clients = Clients::new(2);
        let enter = |text: &str| clients.enter(text.parse().expect("an address"));
        let (a, b) = (enter("10.0.0.1"), enter("::ffff:10.0.0.1"));
        assert!(a.is_some() && b.is_some() && enter("10.0.0.1").is_none(), "one address in two spellings");
        assert!(enter("10.0.0.2").is_some());
        let (c, d) = (enter("2001:db8::1"), enter("2001:db8::ffff:1"));
        assert!(c.is_some() && d.is_some() && enter("2001:db8:0:0:8::").is_none(), "one /64");
        assert!(enter("2001:db8:0:1::1").is_some(), "another /64");
        drop(a);
        assert!(enter("10.0.0.1").is_some());
        drop((b, c, d));
        assert!(clients.held.lock().expect("no panic").is_empty());
        assert!(Clients::new(0).enter("10.0.0.1".parse().expect("an address")).is_none());
    }
}
