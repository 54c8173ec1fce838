//! IPv6 headers and extension headers (RFC 8200).
//!
//! Owns: the fixed header (view, emit) and the bounded walk over extension headers. Does not own: what hop-by-hop
//! or destination options say (they are skipped, not obeyed).

use core::net::Ipv6Addr;

use super::be16;
use super::headers::Fragment;
use crate::verdict::DropReason;

/// Length of the fixed header in bytes.
pub const HEADER_BYTES: usize = 40;

/// Length of the fragment header in bytes.
pub const FRAGMENT_HEADER_BYTES: usize = 8;

/// Smallest MTU of an IPv6 link (RFC 8200 §5), in bytes.
pub const MTU_BYTES_MIN: u16 = 1280;

/// Extension headers walked in one packet. RFC 8200 §4.1 names six and lets one of them come twice; a longer
/// chain only serves to cost us time and is refused as malformed.
pub const EXTENSION_HEADERS_MAX: usize = 8;

/// Next-header numbers of extension headers.
mod next_header {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const HIP: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

/// Number of the fragment extension header, as a `next header` value.
pub const NEXT_HEADER_FRAGMENT: u8 = next_header::FRAGMENT;

/// Where a walk over the extension headers ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) l4: usize,
    pub(super) protocol: u8,
    pub(super) fragment: Option<Fragment>,
}

/// Walks from the extension header of kind `protocol` at `at`. Stops at the first header that is not an
/// extension, or behind the fragment header of a fragment that is not the first.
#[inline]
pub(super) fn walk_extensions(packet: &[u8], at: usize, protocol: u8) -> Result<Walk, DropReason> {
    let mut walk = Walk { l4: at, protocol, fragment: None };
    for index in 0..=EXTENSION_HEADERS_MAX {
        let unit = match walk.protocol {
            next_header::HOP_BY_HOP if index > 0 => return Err(DropReason::Malformed),
            next_header::FRAGMENT => {
                walk_fragment(packet, &mut walk)?;
                if walk.fragment.is_some_and(|fragment| fragment.offset != 0) {
                    return Ok(walk);
                }
                continue;
            }
            next_header::AUTHENTICATION => 4,
            next_header::HOP_BY_HOP
            | next_header::ROUTING
            | next_header::DESTINATION
            | next_header::MOBILITY
            | next_header::HIP
            | next_header::SHIM6 => 8,
            _ => return Ok(walk),
        };
        let header = packet.get(walk.l4..).and_then(|rest| rest.first_chunk::<8>());
        let header = header.ok_or(DropReason::Truncated)?;
        // RFC 5095: routing type 0 lets the sender choose a path and amplify; nobody may process it.
        if walk.protocol == next_header::ROUTING && header[2] == 0 && header[3] != 0 {
            return Err(DropReason::Malformed);
        }
        // RFC 8200 §4: 8-octet units beyond the first; RFC 4302 §2.2 counts in 4 octets, minus 2.
        let len = if unit == 4 { (usize::from(header[1]) + 2) * 4 } else { (usize::from(header[1]) + 1) * 8 };
        walk.protocol = header[0];
        walk.l4 += len;
    }
    Err(DropReason::Malformed)
}

fn walk_fragment(packet: &[u8], walk: &mut Walk) -> Result<(), DropReason> {
    if walk.fragment.is_some() {
        return Err(DropReason::Malformed);
    }
    let header = packet.get(walk.l4..).and_then(|rest| rest.first_chunk::<FRAGMENT_HEADER_BYTES>());
    let header = header.ok_or(DropReason::Truncated)?;
    let word = u16::from_be_bytes([header[2], header[3]]);
    let (offset, more) = (word & 0xfff8, word & 1 != 0);
    // RFC 6946: offset 0 and no more is an atomic fragment, a whole packet with a useless header.
    if offset != 0 || more {
        let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        walk.fragment = Some(Fragment { id, offset, more, header: walk.l4 });
    }
    walk.protocol = header[0];
    walk.l4 += FRAGMENT_HEADER_BYTES;
    Ok(())
}

/// A view of an IPv6 header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// A view of `bytes`, which start with an IPv6 header.
    ///
    /// # Errors
    /// [`DropReason::Truncated`] when there are fewer than [`HEADER_BYTES`], [`DropReason::Malformed`] when the
    /// version is not 6.
    pub fn new_checked(bytes: T) -> Result<Self, DropReason> {
        let slice = bytes.as_ref();
        if slice.len() < HEADER_BYTES {
            return Err(DropReason::Truncated);
        }
        if slice[0] >> 4 != 6 { Err(DropReason::Malformed) } else { Ok(Self(bytes)) }
    }

    fn word(&self, at: usize) -> u16 {
        be16(self.0.as_ref(), at).unwrap_or(0)
    }

    fn addr(&self, at: usize) -> Ipv6Addr {
        let bytes = self.0.as_ref().get(at..).and_then(|rest| rest.first_chunk::<16>());
        Ipv6Addr::from(bytes.copied().unwrap_or_default())
    }

    /// DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        (self.word(0) >> 4) as u8
    }

    /// Flow label, 20 bits.
    pub fn flow_label(&self) -> u32 {
        super::be32(self.0.as_ref(), 0).unwrap_or(0) & 0xf_ffff
    }

    /// Bytes after the fixed header, extension headers included.
    pub fn payload_len(&self) -> u16 {
        self.word(4)
    }

    /// Kind of the header that follows.
    pub fn next_header(&self) -> u8 {
        self.0.as_ref()[6]
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        self.0.as_ref()[7]
    }

    /// Source address.
    pub fn source(&self) -> Ipv6Addr {
        self.addr(8)
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv6Addr {
        self.addr(24)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets DSCP and ECN.
    pub fn set_traffic_class(&mut self, value: u8) {
        let bytes = self.0.as_mut();
        bytes[0] = 0x60 | (value >> 4);
        bytes[1] = (value << 4) | (bytes[1] & 0x0f);
    }

    /// Sets the number of bytes after the fixed header.
    pub fn set_payload_len(&mut self, len: u16) {
        self.0.as_mut()[4..6].copy_from_slice(&len.to_be_bytes());
    }

    /// Sets the kind of the header that follows.
    pub fn set_next_header(&mut self, value: u8) {
        self.0.as_mut()[6] = value;
    }

    /// Sets the hop limit.
    pub fn set_hop_limit(&mut self, value: u8) {
        self.0.as_mut()[7] = value;
    }

    /// Sets the source address. The L4 checksum changes with it.
    pub fn set_source(&mut self, addr: Ipv6Addr) {
        self.0.as_mut()[8..24].copy_from_slice(&addr.octets());
    }

    /// Sets the destination address. The L4 checksum changes with it.
    pub fn set_destination(&mut self, addr: Ipv6Addr) {
        self.0.as_mut()[24..40].copy_from_slice(&addr.octets());
    }
}

/// The legal values of an IPv6 header without extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Kind of the header that follows.
    pub next_header: u8,
    /// Bytes after the fixed header.
    pub payload_len: u16,
    /// Hop limit.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
}

impl Repr {
    /// Reads a header.
    ///
    /// # Errors
    /// As [`Packet::new_checked`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let packet = Packet::new_checked(bytes)?;
        Ok(Self {
            source: packet.source(),
            destination: packet.destination(),
            next_header: packet.next_header(),
            payload_len: packet.payload_len(),
            hop_limit: packet.hop_limit(),
            traffic_class: packet.traffic_class(),
            flow_label: packet.flow_label(),
        })
    }

    /// Writes the header into the front of `buffer` and returns its length; `None` when it does not fit.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> Option<usize> {
        let header = buffer.first_chunk_mut::<HEADER_BYTES>()?;
        let first = 0x6000_0000 | u32::from(self.traffic_class) << 20 | (self.flow_label & 0xf_ffff);
        header[..4].copy_from_slice(&first.to_be_bytes());
        header[4..6].copy_from_slice(&self.payload_len.to_be_bytes());
        header[6] = self.next_header;
        header[7] = self.hop_limit;
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..40].copy_from_slice(&self.destination.octets());
        Some(HEADER_BYTES)
    }
}
