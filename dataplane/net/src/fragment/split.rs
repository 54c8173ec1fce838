//! Cutting a packet that is longer than its link's MTU.
//!
//! Owns: [`Split`]. Does not own: whether the packet may be cut (`egress::may_fragment`). RFC 791 §3.2, 8200 §4.5.

use crate::packet::PacketBuf;
use crate::wire::{self, Headers, IpVersion, ipv4, ipv6};

/// The pieces of one packet, written one by one.
#[derive(Debug)]
pub struct Split<'a> {
    frame: &'a [u8],
    headers: Headers,
    /// End of the headers that every piece repeats, and start of the data that is cut.
    data: usize,
    /// Bytes of data per piece, a multiple of 8.
    piece_len: usize,
    ident: u32,
    offset: usize,
}

impl<'a> Split<'a> {
    /// Cuts the IP packet in `frame` so that every piece fits `mtu`. `ident` tells its pieces from those of other
    /// packets between the same addresses: the caller counts. `None` when the frame is no IP packet or a piece
    /// of it already, or the MTU has no room for data. A packet that fits becomes one piece.
    ///
    /// Extension headers of IPv6 are cut with the data: packets that we send carry none that routers read.
    pub fn new(frame: &'a [u8], mtu: u16, ident: u32) -> Option<Self> {
        let headers = wire::parse(frame).ok().filter(|headers| headers.fragment.is_none())?;
        let (data, header_len) = match headers.version {
            IpVersion::V4 => (headers.l4, ipv4::HEADER_BYTES_MIN),
            IpVersion::V6 => {
                (headers.link_len + ipv6::HEADER_BYTES, ipv6::HEADER_BYTES + ipv6::FRAGMENT_HEADER_BYTES)
            }
        };
        let piece_len = usize::from(mtu).checked_sub(header_len)? & !7;
        (piece_len > 0).then_some(Self { frame, headers, data, piece_len, ident, offset: 0 })
    }

    /// Whether a frame's IP packet is longer than `mtu`.
    pub fn is_needed(frame: &[u8], mtu: u16) -> bool {
        // The longest Ethernet header is not in the MTU; only what might be too long is parsed.
        frame.len() > usize::from(mtu)
            && wire::parse(frame).is_ok_and(|headers| headers.packet_len() > usize::from(mtu))
    }

    /// Writes the next piece into `out` (start as given, old content lost). `None` after the last one, or when it
    /// does not fit.
    pub fn poll_piece(&mut self, out: &mut PacketBuf<'_>) -> Option<()> {
        let whole = self.frame.get(self.data..self.headers.end)?;
        let rest = whole.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let part = rest.get(..self.piece_len).unwrap_or(rest);
        let more = part.len() < rest.len();
        let link = self.frame.get(..self.headers.link_len)?;
        let ip = self.frame.get(self.headers.link_len..)?;
        let front_len = link.len()
            + match self.headers.version {
                IpVersion::V4 => ipv4::HEADER_BYTES_MIN,
                IpVersion::V6 => ipv6::HEADER_BYTES + ipv6::FRAGMENT_HEADER_BYTES,
            };
        if !out.set_len(front_len + part.len()) {
            return None;
        }
        let bytes = out.bytes_mut();
        bytes.get_mut(..link.len())?.copy_from_slice(link);
        bytes.get_mut(front_len..)?.copy_from_slice(part);
        let new_ip = bytes.get_mut(link.len()..)?;
        match self.headers.version {
            IpVersion::V4 => {
                let mut repr = ipv4::Repr::parse(ip).ok()?;
                repr.payload_len = part.len() as u16;
                repr.ident = self.ident as u16;
                repr.emit(new_ip)?;
                let mut packet = ipv4::Packet::new_checked(new_ip).ok()?;
                packet.set_fragment(self.offset as u16, more, false);
                packet.fill_checksum();
            }
            IpVersion::V6 => {
                let mut repr = ipv6::Repr::parse(ip).ok()?;
                let next_header = repr.next_header;
                repr.payload_len = (ipv6::FRAGMENT_HEADER_BYTES + part.len()) as u16;
                repr.next_header = ipv6::NEXT_HEADER_FRAGMENT;
                repr.emit(new_ip)?;
                let header = new_ip.get_mut(ipv6::HEADER_BYTES..)?.first_chunk_mut::<8>()?;
                header[..2].copy_from_slice(&[next_header, 0]);
                header[2..4].copy_from_slice(&(self.offset as u16 | u16::from(more)).to_be_bytes());
                header[4..].copy_from_slice(&self.ident.to_be_bytes());
            }
        }
        self.offset += part.len();
        Some(())
    }
}
