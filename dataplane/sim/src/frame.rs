//! Frames as the simulated hosts write and read them.
//!
//! Written apart from `net::wire` on purpose: what the node sends is read by other code than its own, and every
//! length and checksum is verified here, so that a mistake shared by its parser and its writer is seen.
//! Slow and allocating: nothing here ships.

pub mod read;
pub mod write;

use core::net::{IpAddr, SocketAddr};

pub use read::{Unreadable, read};

/// TCP flags, as in RFC 9293 §3.1.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push function.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 0x10;
    /// ECN echo (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced (RFC 3168).
    pub const CWR: u8 = 0x80;
}

/// The Ethernet header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkHeader {
    /// Receiver.
    pub destination: [u8; 6],
    /// Sender.
    pub source: [u8; 6],
    /// VLAN ids, outermost first; two make an 802.1ad frame.
    pub vlans: Vec<u16>,
}

impl LinkHeader {
    /// The way back.
    pub fn reversed(&self) -> Self {
        Self { destination: self.source, source: self.destination, vlans: self.vlans.clone() }
    }
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Ethernet.
    pub link: LinkHeader,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// What the packet carries.
    pub payload: Payload,
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A whole TCP segment.
    Tcp(Segment),
    /// A whole UDP datagram.
    Udp(Datagram),
    /// ICMP or ICMPv6: type, code and everything after the checksum.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// The rest of the header and the body.
        rest: Vec<u8>,
    },
    /// A fragment of a datagram.
    Fragment {
        /// Protocol of the whole datagram.
        protocol: u8,
        /// Identification.
        id: u32,
        /// Offset in bytes; a multiple of 8.
        offset: u16,
        /// Whether more fragments follow.
        more: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// A TCP segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// See [`flag`].
    pub flags: u8,
    /// Window field, not scaled.
    pub window: u16,
    /// Options.
    pub options: Options,
    /// Data.
    pub data: Vec<u8>,
}

impl Segment {
    /// RFC 9293 §3.5.2: the RST that answers this segment where it has no connection.
    pub(crate) fn reset(&self) -> Self {
        let reset = Self {
            source_port: self.destination_port,
            destination_port: self.source_port,
            flags: flag::RST,
            ..Self::default()
        };
        if self.has(flag::ACK) {
            Self { seq: self.ack, ..reset }
        } else {
            Self { ack: self.seq.wrapping_add(self.len()), flags: flag::RST | flag::ACK, ..reset }
        }
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Sequence numbers used: data, SYN and FIN.
    pub fn len(&self) -> u32 {
        self.data.len() as u32 + u32::from(self.has(flag::SYN)) + u32::from(self.has(flag::FIN))
    }

    /// Whether it uses no sequence number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// TCP options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// TSval and TSecr.
    pub timestamps: Option<(u32, u32)>,
    /// SACK blocks.
    pub sack: Vec<(u32, u32)>,
}

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Data.
    pub data: Vec<u8>,
}

impl Packet {
    /// Sender with its port; port 0 where there is none.
    pub fn from(&self) -> SocketAddr {
        SocketAddr::new(self.source, self.ports().0)
    }

    /// Receiver with its port; port 0 where there is none.
    pub fn to(&self) -> SocketAddr {
        SocketAddr::new(self.destination, self.ports().1)
    }

    fn ports(&self) -> (u16, u16) {
        match &self.payload {
            Payload::Tcp(segment) => (segment.source_port, segment.destination_port),
            Payload::Udp(datagram) => (datagram.source_port, datagram.destination_port),
            Payload::Icmp { .. } | Payload::Fragment { .. } => (0, 0),
        }
    }
}

/// Sum of 16-bit words, not folded (RFC 1071).
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

/// The Internet checksum of parts whose sums were added up.
pub(crate) fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Sum of the pseudo header of TCP, UDP and ICMPv6.
pub(crate) fn pseudo_header_sum(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u32 {
    let addresses = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => sum(&source.octets()) + sum(&destination.octets()),
        (IpAddr::V6(source), IpAddr::V6(destination)) => sum(&source.octets()) + sum(&destination.octets()),
        _ => 0,
    };
    addresses + u32::from(protocol) + (len as u32 & 0xffff) + (len as u32 >> 16)
}

#[cfg(test)]
mod tests;
