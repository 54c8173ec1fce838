//! The way out of a forwarded packet: a new Ethernet and IP header in front of its L4 segment.
//!
//! Owns: [`readdress`] for a received packet, [`emit`] for one of our own, [`pseudo_delta`] for the checksum above.
//! Does not own: the L4 header.
//!
//! A forwarded packet always gets a fresh IP header: options and extension headers end here, padding is cut,
//! the families of the two sides may differ. Kept are DSCP, ECN, the IPv4 identification and "don't fragment".
//! The IPv6 flow label is zero on all packets of a flow: those that we send in our own name have no sender's label
//! to share, and two labels could take two paths. The hop limit starts anew at [`HOP_LIMIT`] when the packet leaves
//! with our own address (we are its sender, like any proxy, and a sender cannot make it expire between us and the
//! backend); it is decremented when the source is kept (transparent mode: there we are a router and must break loops).

use core::net::IpAddr;

use crate::link::{LINK_HEADER_BYTES_MAX, Link};
use crate::packet::PacketBuf;
use crate::verdict::DropReason;
use crate::wire::checksum::Delta;
use crate::wire::{Headers, IpVersion, ipv4, ipv6};

/// Hop limit of packets that we are the sender of (RFC 1700; what Linux uses).
pub const HOP_LIMIT: u8 = 64;

/// Longest Ethernet and IP header written here, in bytes.
const HEADERS_BYTES_MAX: usize = LINK_HEADER_BYTES_MAX + ipv6::HEADER_BYTES;

/// Who a packet is from and to, and how it leaves.
#[derive(Clone, Copy, Debug)]
pub struct Egress<'a> {
    /// The port and Ethernet header.
    pub link: &'a Link,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Hop limit or TTL.
    pub hop_limit: u8,
    /// Whether a packet longer than the link's MTU is let through, for `fragment` to cut it.
    pub may_fragment: bool,
}

impl Egress<'_> {
    fn fits(&self, l4_len: usize) -> bool {
        self.may_fragment || l4_len + ip_header_len(self.destination) <= usize::from(self.link.mtu)
    }
}

/// Whether a packet may leave in fragments: IPv4 without "don't fragment", or one that came in fragments, as its
/// length beyond the MTU of the port it came in on shows. What stays whole makes its sender learn the path MTU.
pub fn may_fragment(headers: &Headers, frame: &[u8], ingress_mtu: u16) -> bool {
    if headers.packet_len() > usize::from(ingress_mtu) {
        return true;
    }
    let ip = frame.get(headers.link_len..).map(ipv4::Packet::new_checked);
    headers.version == IpVersion::V4 && matches!(ip, Some(Ok(ip)) if !ip.dont_fragment())
}

/// Length of an IP header without options, in bytes.
pub const fn ip_header_len(addr: IpAddr) -> usize {
    match addr {
        IpAddr::V4(_) => ipv4::HEADER_BYTES_MIN,
        IpAddr::V6(_) => ipv6::HEADER_BYTES,
    }
}

/// The fields of an IP header that are neither addresses nor lengths.
#[derive(Clone, Copy, Debug)]
struct Marks {
    protocol: u8,
    dscp_ecn: u8,
    hop_limit: u8,
    ident: u16,
    dont_fragment: bool,
}

/// Replaces everything in front of the L4 header of a received packet and cuts what is behind it. Afterwards the
/// L4 header starts at the answered offset. The L4 checksum is the caller's, see [`pseudo_delta`].
///
/// # Errors
/// [`DropReason::TooBig`] when the packet does not fit the link, [`DropReason::NoFrame`] when its buffer has no
/// room in front, [`DropReason::Malformed`] when the addresses are of two families. The frame is then as before.
pub fn readdress(
    packet: &mut PacketBuf<'_>,
    headers: &Headers,
    egress: &Egress<'_>,
) -> Result<usize, DropReason> {
    let l4_len = headers.end.saturating_sub(headers.l4);
    if !egress.fits(l4_len) {
        return Err(DropReason::TooBig);
    }
    let ip = packet.bytes().get(headers.link_len..).ok_or(DropReason::Truncated)?;
    let mut marks = Marks {
        protocol: headers.protocol,
        dscp_ecn: headers.dscp_ecn,
        hop_limit: egress.hop_limit,
        ident: 0,
        dont_fragment: true,
    };
    if headers.version == IpVersion::V4 {
        let ip = ipv4::Packet::new_checked(ip)?;
        (marks.ident, marks.dont_fragment) = (ip.ident(), ip.dont_fragment());
    }
    let mut buffer = [0; HEADERS_BYTES_MAX];
    let front_len = write_front(&mut buffer, egress, &marks, l4_len).ok_or(DropReason::Malformed)?;
    if front_len > packet.headroom() + headers.l4 {
        return Err(DropReason::NoFrame);
    }
    let is_cut = packet.set_len(headers.end);
    if is_cut && packet.replace_front(headers.l4, &buffer[..front_len]) {
        Ok(front_len)
    } else {
        Err(DropReason::NoFrame)
    }
}

/// What [`readdress`] changes under an L4 checksum: the pseudo header's addresses. Its length and protocol stay.
pub fn pseudo_delta(headers: &Headers, egress: &Egress<'_>) -> Delta {
    let mut delta = Delta::NONE;
    delta.replace_addr(headers.source, egress.source);
    delta.replace_addr(headers.destination, egress.destination);
    delta
}

/// Starts a packet of our own: its frame becomes Ethernet header, IP header and `l4_len` bytes that the caller
/// fills from the answered offset. `None` when it does not fit the buffer or the link.
pub fn emit(
    packet: &mut PacketBuf<'_>,
    egress: &Egress<'_>,
    protocol: u8,
    dscp_ecn: u8,
    l4_len: usize,
) -> Option<usize> {
    if !egress.fits(l4_len) {
        return None;
    }
    let marks = Marks { protocol, dscp_ecn, hop_limit: egress.hop_limit, ident: 0, dont_fragment: true };
    let mut buffer = [0; HEADERS_BYTES_MAX];
    let front_len = write_front(&mut buffer, egress, &marks, l4_len)?;
    if !packet.set_len(front_len + l4_len) {
        return None;
    }
    packet.bytes_mut().get_mut(..front_len)?.copy_from_slice(&buffer[..front_len]);
    Some(front_len)
}

/// Writes Ethernet and IP header and returns their length.
fn write_front(
    buffer: &mut [u8; HEADERS_BYTES_MAX],
    egress: &Egress<'_>,
    marks: &Marks,
    l4_len: usize,
) -> Option<usize> {
    let link = egress.link.header();
    buffer.get_mut(..link.len())?.copy_from_slice(link);
    let is_v6 = egress.destination.is_ipv6();
    // The EtherType follows the packet: a link may have been learnt or resolved for the other family.
    let ether_type = if is_v6 { 0x86dd_u16 } else { 0x0800 };
    buffer.get_mut(link.len().checked_sub(2)?..link.len())?.copy_from_slice(&ether_type.to_be_bytes());
    let payload_len = u16::try_from(l4_len).ok()?;
    let ip = buffer.get_mut(link.len()..)?;
    let ip_len = match (egress.source, egress.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4::Repr {
            source,
            destination,
            protocol: marks.protocol,
            payload_len,
            ttl: marks.hop_limit,
            dscp_ecn: marks.dscp_ecn,
            ident: marks.ident,
            dont_fragment: marks.dont_fragment,
        }
        .emit(ip)?,
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6::Repr {
            source,
            destination,
            next_header: marks.protocol,
            payload_len,
            hop_limit: marks.hop_limit,
            traffic_class: marks.dscp_ecn,
            flow_label: 0,
        }
        .emit(ip)?,
        _ => return None,
    };
    Some(link.len() + ip_len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::PortId;
    use crate::wire::{self, checksum, udp};

    fn link(mtu: u16) -> Link {
        let header = [[1; 6].as_slice(), &[2; 6], &[0x81, 0, 0, 5, 0x08, 0]].concat();
        Link::new(PortId(3), mtu, &header).unwrap()
    }

    /// A VLAN-less UDP packet with IPv4 options, six bytes of payload and Ethernet padding.
    fn udp_with_options() -> Vec<u8> {
        let mut frame = [[9; 6].as_slice(), &[8; 6], &[0x08, 0x00]].concat();
        frame.extend([0x46, 0x2e, 0, 38, 0x12, 0x34, 0x00, 0x00, 7, 17, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0]);
        let sum = checksum::internet(&frame[14..38]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame.extend([0x10, 0, 0x20, 0, 0, 14, 0, 0]);
        frame.extend(b"hello!");
        let headers = wire::parse(&frame).unwrap();
        assert!(checksum::complete_l4(&headers, &mut frame));
        frame.resize(60, 0);
        frame
    }

    fn rewritten(egress: &Egress<'_>) -> (Vec<u8>, Headers) {
        let frame = udp_with_options();
        let mut memory = vec![0; 256];
        memory[100..100 + frame.len()].copy_from_slice(&frame);
        let mut packet = PacketBuf::new(&mut memory, 100, frame.len());
        let headers = wire::parse(packet.bytes()).unwrap();
        let delta = pseudo_delta(&headers, egress);
        let l4 = readdress(&mut packet, &headers, egress).unwrap();
        let mut datagram = udp::Datagram::new_checked(&mut packet.bytes_mut()[l4..]).unwrap();
        let new = delta.apply_udp(datagram.checksum());
        datagram.set_checksum(new);
        let headers = wire::parse(packet.bytes()).unwrap();
        (packet.bytes().to_vec(), headers)
    }

    #[test]
    fn options_and_padding_end_here_and_marks_are_kept() {
        let link = link(1500);
        let (source, destination) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let (frame, headers) =
            rewritten(&Egress { link: &link, source, destination, hop_limit: 64, may_fragment: false });
        assert_eq!(frame[..18], *link.header());
        assert_eq!(frame.len(), 18 + 20 + 14);
        assert_eq!((headers.source, headers.destination), (source, destination));
        assert_eq!((headers.hop_limit, headers.dscp_ecn), (64, 0x2e));
        let ip = ipv4::Packet::new_checked(&frame[18..]).unwrap();
        assert_eq!((ip.ident(), ip.dont_fragment()), (0x1234, false));
        assert_eq!(checksum::verify_l4(&headers, &frame), checksum::L4Checksum::Valid);
    }

    #[test]
    fn family_may_change_on_the_way() {
        let link = link(1500);
        let source: IpAddr = "2001:db8::1".parse().unwrap();
        let destination: IpAddr = "2001:db8::2".parse().unwrap();
        let (frame, headers) =
            rewritten(&Egress { link: &link, source, destination, hop_limit: 64, may_fragment: false });
        assert_eq!(headers.version, IpVersion::V6);
        assert_eq!(checksum::verify_l4(&headers, &frame), checksum::L4Checksum::Valid);
        assert_eq!(&frame[headers.payload..headers.end], b"hello!");
    }

    #[test]
    fn too_big_for_the_link_leaves_the_frame_alone() {
        let frame = udp_with_options();
        let mut memory = frame.clone();
        let mut packet = PacketBuf::new(&mut memory, 0, frame.len());
        let headers = wire::parse(packet.bytes()).unwrap();
        let source = [192, 0, 2, 1].into();
        let narrow = link(33);
        let egress =
            Egress { link: &narrow, source, destination: source, hop_limit: 64, may_fragment: false };
        assert_eq!(readdress(&mut packet, &headers, &egress), Err(DropReason::TooBig));
        let wide = link(34);
        let v6: IpAddr = "::1".parse().unwrap();
        let egress =
            Egress { link: &wide, source: v6, destination: source, hop_limit: 64, may_fragment: false };
        assert_eq!(readdress(&mut packet, &headers, &egress), Err(DropReason::Malformed));
        assert_eq!(packet.bytes(), frame);
    }
}
