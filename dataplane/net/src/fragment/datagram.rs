//! One unfinished datagram: what identifies it, what its first piece said, and the whole packet at the end.

use core::net::IpAddr;

use super::pool::{NONE, Pool};
use crate::flow::HashKey;
use crate::link::LINK_HEADER_BYTES_MAX;
use crate::packet::PacketBuf;
use crate::siphash::hash13;
use crate::time::Instant;
use crate::wire::{Headers, IpVersion, ipv4, ipv6};

/// What identifies the datagram of a piece (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) id: u32,
    /// Part of the identity in IPv4 only; zero in IPv6.
    pub(super) protocol: u8,
}

impl Key {
    pub(super) fn hash(&self, key: &HashKey) -> u64 {
        let words = |addr: IpAddr| match addr {
            IpAddr::V4(addr) => [u64::from(u32::from(addr)), 4],
            IpAddr::V6(addr) => [u128::from(addr) as u64, (u128::from(addr) >> 64) as u64],
        };
        let (s, d) = (words(self.source), words(self.destination));
        hash13(key, [s[0], s[1], d[0], d[1]], u64::from(self.id) | u64::from(self.protocol) << 32, 5)
    }
}

/// An unfinished datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub(super) key: Key,
    /// First piece in the pool, by rising offset.
    pub(super) pieces: u32,
    pub(super) piece_count: u8,
    /// Bytes of data that are here.
    pub(super) received: u32,
    /// Bytes of data in all; known from the last piece.
    pub(super) total: Option<u32>,
    /// Ethernet header of the first piece.
    pub(super) link: [u8; LINK_HEADER_BYTES_MAX],
    pub(super) link_len: u8,
    /// From the first piece: protocol of the data, hop limit, traffic class.
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
    pub(super) dscp_ecn: u8,
    /// Whether a piece was marked "congestion experienced".
    pub(super) is_congested: bool,
    /// Whether pieces contradicted each other: later ones are dropped until the time is over.
    pub(super) is_void: bool,
    pub(super) deadline: Instant,
    /// Neighbours in order of age.
    pub(super) older: u32,
    pub(super) newer: u32,
}

impl Datagram {
    /// One of which nothing is known; `older` is its neighbour in the order of age.
    pub(super) fn new(key: Key, deadline: Instant, older: u32) -> Self {
        Self {
            key,
            pieces: NONE,
            piece_count: 0,
            received: 0,
            total: None,
            link: [0; LINK_HEADER_BYTES_MAX],
            link_len: 0,
            protocol: 0,
            hop_limit: 0,
            dscp_ecn: 0,
            is_congested: false,
            is_void: false,
            deadline,
            older,
            newer: NONE,
        }
    }

    /// Takes what the whole packet inherits from its first piece.
    pub(super) fn take_headers(&mut self, frame: &[u8], headers: &Headers, fragment_header: usize) {
        let Some(link) = frame.get(..headers.link_len.min(LINK_HEADER_BYTES_MAX)) else { return };
        self.link[..link.len()].copy_from_slice(link);
        self.link_len = link.len() as u8;
        self.hop_limit = headers.hop_limit;
        self.dscp_ecn = headers.dscp_ecn;
        self.protocol = match headers.version {
            IpVersion::V4 => headers.protocol,
            // Extension headers behind the fragment header are part of the data.
            IpVersion::V6 => frame.get(fragment_header).copied().unwrap_or(headers.protocol),
        };
    }

    /// Writes the whole packet.
    pub(super) fn write_out(&self, pool: &Pool, out: &mut PacketBuf<'_>) -> Option<()> {
        let link_len = usize::from(self.link_len);
        let (data_len, ip_len) = match self.key.source {
            IpAddr::V4(_) => (self.received as usize, ipv4::HEADER_BYTES_MIN),
            IpAddr::V6(_) => (self.received as usize, ipv6::HEADER_BYTES),
        };
        if link_len == 0 || !out.set_len(link_len + ip_len + data_len) {
            return None;
        }
        let bytes = out.bytes_mut();
        bytes.get_mut(..link_len)?.copy_from_slice(&self.link[..link_len]);
        let dscp_ecn = self.dscp_ecn | if self.is_congested { 3 } else { 0 };
        let ip = bytes.get_mut(link_len..)?;
        let payload_len = u16::try_from(data_len).ok()?;
        match (self.key.source, self.key.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4::Repr {
                source,
                destination,
                protocol: self.protocol,
                payload_len,
                ttl: self.hop_limit,
                dscp_ecn,
                ident: self.key.id as u16,
                dont_fragment: false,
            }
            .emit(ip)?,
            (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6::Repr {
                source,
                destination,
                next_header: self.protocol,
                payload_len,
                hop_limit: self.hop_limit,
                traffic_class: dscp_ecn,
                flow_label: 0,
            }
            .emit(ip)?,
            _ => return None,
        };
        let mut data = bytes.get_mut(link_len + ip_len..)?;
        let mut piece = self.pieces;
        while piece != NONE {
            let (part, rest) = data.split_at_mut_checked(usize::from(pool.piece(piece).len))?;
            pool.read(piece, part);
            data = rest;
            piece = pool.piece(piece).next_piece;
        }
        Some(())
    }
}
