//! Which listener a packet is for: a fixed hash table over (protocol, address, port).
//!
//! Owns: the lookup. Does not own: what a listener does (`policy`). The keys are ours, not the sender's, so the
//! hash needs no secret: probing is bounded by the table, which is at most a quarter full.
//! Cost: one multiplication and usually one compare per lookup.

use core::net::IpAddr;

use secbeat_net::flow::{Endpoint, Protocol};

use crate::event::ListenerId;

/// Listeners times addresses they are bound to. A wildcard listener takes one entry per local address; 4,096 is
/// 64 listeners on 64 addresses. More: the policy is refused with an error.
pub const BINDINGS_MAX: usize = 4_096;

type Key = (Protocol, Endpoint);

/// Finds the listener of a destination.
#[derive(Clone, Debug, Default)]
pub struct ListenerTable {
    slots: Box<[Option<(Key, ListenerId)>]>,
    count: usize,
}

impl ListenerTable {
    /// A table of these bindings; the first one wins when two are equal. `None` when there are more than
    /// [`BINDINGS_MAX`].
    pub fn new(bindings: &[(Protocol, Endpoint, ListenerId)]) -> Option<Self> {
        if bindings.len() > BINDINGS_MAX {
            return None;
        }
        let slots = vec![None; (bindings.len() * 4).next_power_of_two().max(16)].into_boxed_slice();
        let mut table = Self { slots, count: 0 };
        for &(protocol, endpoint, listener) in bindings {
            let key = (protocol, endpoint);
            if table.find(key.0, key.1).is_some() {
                continue;
            }
            let mask = table.slots.len() - 1;
            let mut index = hash(&key) & mask;
            while table.slots[index].is_some() {
                index = (index + 1) & mask;
            }
            table.slots[index] = Some((key, listener));
            table.count += 1;
        }
        Some(table)
    }

    /// The listener bound to this destination.
    pub fn find(&self, protocol: Protocol, destination: Endpoint) -> Option<ListenerId> {
        let mask = self.slots.len().checked_sub(1)?;
        let key = (protocol, destination);
        let mut index = hash(&key) & mask;
        // An empty slot always ends the search: three quarters of them are empty.
        while let Some((held, listener)) = &self.slots[index] {
            if *held == key {
                return Some(*listener);
            }
            index = (index + 1) & mask;
        }
        None
    }

    /// Number of bindings.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no binding.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Every binding, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Protocol, Endpoint, ListenerId)> + '_ {
        self.slots.iter().flatten().map(|((protocol, endpoint), listener)| (*protocol, *endpoint, *listener))
    }
}

/// Fibonacci hashing of address and port.
fn hash((protocol, endpoint): &Key) -> usize {
    let addr = match endpoint.addr {
        IpAddr::V4(addr) => u64::from(addr.to_bits()),
        IpAddr::V6(addr) => {
            let bits = addr.to_bits();
            (bits >> 64) as u64 ^ bits as u64
        }
    };
    let folded = addr ^ (u64::from(endpoint.port) << 40) ^ (u64::from(*protocol as u8) << 32);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(addr: &str, port: u16) -> Endpoint {
        Endpoint { addr: addr.parse().expect("address"), port }
    }

    #[test]
    fn exact_bindings_are_found_and_others_are_not() {
        let mut bindings = Vec::new();
        for port in 0..500 {
            bindings.push((Protocol::Tcp, endpoint("10.99.0.1", port), port));
            bindings.push((Protocol::Udp, endpoint("fd99::1", port), 1_000 + port));
        }
        let table = ListenerTable::new(&bindings).expect("table");
        assert_eq!(table.len(), 1_000);
        for &(protocol, endpoint, listener) in &bindings {
            assert_eq!(table.find(protocol, endpoint), Some(listener));
        }
        assert_eq!(table.find(Protocol::Udp, endpoint("10.99.0.1", 80)), None, "other protocol");
        assert_eq!(table.find(Protocol::Tcp, endpoint("10.99.0.2", 80)), None, "other address");
        assert_eq!(table.find(Protocol::Tcp, endpoint("10.99.0.1", 500)), None, "other port");
    }

    #[test]
    fn empty_table_finds_nothing_and_the_first_of_two_equal_bindings_wins() {
        assert_eq!(ListenerTable::default().find(Protocol::Tcp, endpoint("::1", 1)), None);
        let twice = [(Protocol::Tcp, endpoint("::1", 1), 7), (Protocol::Tcp, endpoint("::1", 1), 8)];
        let table = ListenerTable::new(&twice).expect("table");
        assert_eq!((table.len(), table.find(Protocol::Tcp, endpoint("::1", 1))), (1, Some(7)));
        let many = vec![twice[0]; BINDINGS_MAX + 1];
        assert!(ListenerTable::new(&many).is_none());
    }
}
