//! Ethernet II headers with up to two VLAN tags (IEEE 802.3 §3.2, 802.1Q §9).
//!
//! Owns: EtherTypes, MAC addresses, the two address fields. Does not own: the walk over the tags
//! (`wire::headers`) or ready-made headers to send with (`crate::link`).

use core::fmt;

/// Length of a header without tags, in bytes.
pub const HEADER_BYTES: usize = 14;

/// Length of one VLAN tag, in bytes.
pub const VLAN_TAG_BYTES: usize = 4;

/// VLAN tags accepted before the IP header. Two cover QinQ (802.1ad); a third is no provider's set-up, and an
/// unbounded walk would let the sender choose our cost. A frame with more is not ours.
pub const VLAN_TAGS_MAX: usize = 2;

/// EtherType numbers.
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q customer VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// 802.1ad service VLAN tag.
    pub const QINQ: u16 = 0x88a8;
}

/// A 48-bit link-layer address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The broadcast address.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set: multicast or broadcast.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The address a frame is sent to; `None` when the frame is shorter than a header.
pub fn destination(frame: &[u8]) -> Option<MacAddr> {
    frame.first_chunk::<HEADER_BYTES>()?.first_chunk().map(|b| MacAddr(*b))
}

/// The address a frame comes from; `None` when the frame is shorter than a header.
pub fn source(frame: &[u8]) -> Option<MacAddr> {
    frame.first_chunk::<HEADER_BYTES>()?[6..].first_chunk().map(|b| MacAddr(*b))
}

/// Exchanges the two addresses, to send a frame back where it came from. A frame shorter than a header is left
/// as it is.
#[inline]
pub fn swap_addresses(frame: &mut [u8]) {
    let Some(header) = frame.first_chunk_mut::<HEADER_BYTES>() else { return };
    let (destination, rest) = header.split_at_mut(6);
    destination.swap_with_slice(&mut rest[..6]);
}

/// Writes an untagged header into the front of `buffer`; `None` when it is too short.
pub fn emit(buffer: &mut [u8], destination: MacAddr, source: MacAddr, ether_type: u16) -> Option<()> {
    let header = buffer.first_chunk_mut::<HEADER_BYTES>()?;
    header[..6].copy_from_slice(&destination.0);
    header[6..12].copy_from_slice(&source.0);
    header[12..].copy_from_slice(&ether_type.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_swapped_and_written() {
        let mut frame = [0u8; 16];
        let (a, b) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        emit(&mut frame, a, b, ether_type::IPV4).unwrap();
        assert_eq!(destination(&frame), Some(a));
        assert_eq!(source(&frame), Some(b));
        swap_addresses(&mut frame);
        assert_eq!((destination(&frame), source(&frame)), (Some(b), Some(a)));
        assert_eq!(frame[12..14], [8, 0]);
        assert_eq!(a.to_string(), "02:00:00:00:00:01");
    }

    #[test]
    fn short_frame_has_no_addresses() {
        let mut frame = [1u8; 13];
        assert_eq!(destination(&frame), None);
        assert_eq!(source(&frame), None);
        swap_addresses(&mut frame);
        assert_eq!(frame, [1u8; 13]);
        assert_eq!(emit(&mut frame, MacAddr::BROADCAST, MacAddr::default(), 0), None);
        assert!(MacAddr::BROADCAST.is_multicast());
    }
}
