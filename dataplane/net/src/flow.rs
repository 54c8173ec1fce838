//! The identity of a flow: its 5-tuple, and a keyed hash of it.
//!
//! Owns: [`FlowKey`], [`Endpoint`], [`HashKey`], and [`FlowWatch`], what a table tells whoever must know which flows
//! are alive. Does not own: tables of flows (`splice`, `tcp`, `udp`).
//! The hash is keyed (SipHash-1-3) because its input is chosen by strangers: without a secret a few thousand
//! chosen ports would pile up in one bucket.

use core::fmt;
use core::net::IpAddr;

use crate::siphash::hash13;

/// An address and a port of a transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The IP address.
    pub addr: IpAddr,
    /// The port, host byte order.
    pub port: u16,
}

/// A transport protocol that SecBeat forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// Transmission Control Protocol, IP protocol 6.
    Tcp = 6,
    /// User Datagram Protocol, IP protocol 17.
    Udp = 17,
}

/// One direction of a flow: who sends to whom. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The sender.
    pub source: Endpoint,
    /// The receiver.
    pub destination: Endpoint,
}

impl FlowKey {
    /// The same flow seen from the other side.
    pub fn reversed(&self) -> Self {
        Self { protocol: self.protocol, source: self.destination, destination: self.source }
    }

    /// Keyed hash of the flow in this direction (SipHash-1-3), for tables. Not for the wire: cookies have their
    /// own, stronger one.
    #[inline]
    pub fn hash(&self, key: &HashKey) -> u64 {
        let ports = u64::from(self.source.port) << 16 | u64::from(self.destination.port);
        let tail = (self.protocol as u64) << 32 | ports;
        match (self.source.addr, self.destination.addr) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let addrs = u64::from(u32::from(source)) << 32 | u64::from(u32::from(destination));
                hash13(key, [addrs], tail, 5)
            }
            (source, destination) => {
                let ([a, b], [c, d]) = (addr_words(source), addr_words(destination));
                hash13(key, [a, b, c, d], tail, 5)
            }
        }
    }
}

/// An address as two words; IPv4 in its IPv6-mapped form.
#[inline]
pub(crate) fn addr_words(addr: IpAddr) -> [u64; 2] {
    match addr {
        IpAddr::V4(addr) => [0, 0xffff_0000_0000 | u64::from(u32::from(addr))],
        IpAddr::V6(addr) => {
            let bits = u128::from(addr);
            [(bits >> 64) as u64, bits as u64]
        }
    }
}

/// Keyed hash (SipHash-1-3) of an address together with a number that keeps users of one key apart, such as a
/// rule or a prefix length.
#[inline]
pub fn hash_addr(key: &HashKey, addr: IpAddr, domain: u32) -> u64 {
    match addr {
        IpAddr::V4(addr) => hash13(key, [u64::from(domain) << 32 | u64::from(u32::from(addr))], 0, 0),
        IpAddr::V6(_) => {
            let [high, low] = addr_words(addr);
            hash13(key, [high, low], u64::from(domain), 4)
        }
    }
}

/// Hears of every client that a table of flows would not turn away: from before its first segment is judged until its
/// record is gone, what lingers (TIME-WAIT, reset) included. A key may be opened more than once at a time; each opening
/// is freed once. Called on the packet path: an implementation neither blocks nor allocates.
pub trait FlowWatch: fmt::Debug + Send + Sync {
    /// Segments with this key, client to listener, are known from now on.
    fn opened(&self, key: &FlowKey);

    /// One opening of this key has ended.
    fn freed(&self, key: &FlowKey);
}

/// A 128-bit secret for a keyed hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u64; 2]);

impl fmt::Debug for HashKey {
    /// Never prints the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn key(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, ports: (u16, u16)) -> FlowKey {
        FlowKey {
            protocol: Protocol::Tcp,
            source: Endpoint { addr: source.into(), port: ports.0 },
            destination: Endpoint { addr: destination.into(), port: ports.1 },
        }
    }

    #[test]
    fn hash_depends_on_every_field_and_on_the_key() {
        let secret = HashKey([1, 2]);
        let (a, b) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        let flow = key(a, b, (1000, 443));
        let hash = flow.hash(&secret);
        assert_eq!(hash, flow.hash(&secret));
        let udp = FlowKey { protocol: Protocol::Udp, ..flow };
        for other in
            [flow.reversed(), key(a, b, (1001, 443)), key(a, b, (1000, 444)), key(b, b, (1000, 443)), udp]
        {
            assert_ne!(hash, other.hash(&secret), "{other:?}");
        }
        assert_ne!(hash, flow.hash(&HashKey([1, 3])));
        let six = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        let flow = key(six(1), six(2), (1, 2));
        assert_ne!(flow.hash(&secret), key(six(3), six(2), (1, 2)).hash(&secret));
        assert_ne!(flow.hash(&secret), flow.reversed().hash(&secret));
    }

    #[test]
    fn hash_of_an_address_keeps_domains_and_families_apart() {
        let secret = HashKey([7, 8]);
        let four = IpAddr::from([10, 0, 0, 1]);
        let mapped = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        let hashes = [
            hash_addr(&secret, four, 0),
            hash_addr(&secret, four, 1),
            hash_addr(&secret, mapped, 0),
            hash_addr(&secret, mapped, 1),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[index + 1..].contains(hash));
        }
    }
}
