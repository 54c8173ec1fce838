//! The identity of a flow: its 5-tuple, and a keyed hash of it.
//!
//! Owns: [`FlowKey`], [`Endpoint`], [`HashKey`]. Does not own: tables of flows (`splice`, `udp`).
//! The hash is keyed (SipHash-1-3) because its input is chosen by strangers: without a secret a few thousand
//! chosen ports would pile up in one bucket.

use core::net::IpAddr;

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
}

/// A 128-bit secret for a keyed hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u64; 2]);

impl core::fmt::Debug for HashKey {
    /// Never prints the secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(..)")
    }
}
