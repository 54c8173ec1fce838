//! Rewriting one datagram from one side's view into the other's, with the PROXY header where one is due.
//!
//! The checksum is updated for exactly what changed (RFC 1624), so that damage before us stays visible; only where a
//! header is put in, or IPv6 asks for a checksum that was absent, it is computed anew.

use core::net::IpAddr;

use super::flow::Flow;
use crate::egress::{self, Egress, HOP_LIMIT, ip_header_len};
use crate::flow::FlowKey;
use crate::flow_table::{Record, Side};
use crate::link::{LINK_HEADER_BYTES_MAX, Link};
use crate::packet::PacketBuf;
use crate::proxy_protocol;
use crate::verdict::DropReason;
use crate::wire::{Headers, be16, checksum, ipv4, ipv6, udp};

/// Rewrites a datagram that came from `side` for the other side; the first ones may get a PROXY header.
pub(super) fn translate(
    flow: &Flow,
    side: Side,
    link: &Link,
    packet: &mut PacketBuf<'_>,
    headers: &Headers,
    ingress_mtu: u16,
) -> Result<(), DropReason> {
    let hop_limit = match headers.hop_limit.checked_sub(1) {
        _ if flow.lease.is_some() => HOP_LIMIT,
        None | Some(0) => return Err(DropReason::HopLimit),
        Some(left) => left,
    };
    let to = flow.key(side.other());
    let may_fragment = egress::may_fragment(headers, packet.bytes(), ingress_mtu);
    let (source, destination) = (to.destination.addr, to.source.addr);
    let egress = Egress { link, source, destination, hop_limit, may_fragment };
    let header_len = if side == Side::Client { flow.header_len() } else { 0 };
    let new_len = ip_header_len(destination) + header_len + headers.end - headers.l4;
    if !may_fragment && new_len > usize::from(link.mtu) {
        return Err(DropReason::TooBig);
    }
    let mut delta = egress::pseudo_delta(headers, &egress);
    let at = egress::readdress(packet, headers, &egress)?;
    let bytes = packet.bytes_mut().get_mut(at..).ok_or(DropReason::Truncated)?;
    let mut datagram = udp::Datagram::new_checked(bytes)?;
    delta.replace_u16(datagram.source_port(), to.destination.port);
    datagram.set_source_port(to.destination.port);
    delta.replace_u16(datagram.destination_port(), to.source.port);
    datagram.set_destination_port(to.source.port);
    let stored = datagram.checksum();
    datagram.set_checksum(delta.apply_udp(stored));
    // No checksum is legal over IPv4 only (RFC 8200 §8.1).
    let must_sum = stored == 0 && destination.is_ipv6();
    if header_len > 0 {
        insert_header(&flow.client_key, packet, at, destination)?;
    }
    if must_sum || (header_len > 0 && stored != 0) {
        let headers = crate::wire::parse(packet.bytes())?;
        checksum::complete_l4(&headers, packet.bytes_mut());
    }
    Ok(())
}

/// Longest headers in front of UDP payload here: Ethernet, IPv6, UDP, PROXY.
const FRONT_BYTES_MAX: usize =
    LINK_HEADER_BYTES_MAX + ipv6::HEADER_BYTES + udp::HEADER_BYTES + proxy_protocol::HEADER_BYTES_MAX;

/// Puts the PROXY header between UDP header (at `l4`) and payload: the headers in front move forward, the payload
/// stays. Lengths are corrected, the UDP checksum is not.
fn insert_header(
    client: &FlowKey,
    packet: &mut PacketBuf<'_>,
    l4: usize,
    destination: IpAddr,
) -> Result<(), DropReason> {
    let front_len = l4 + udp::HEADER_BYTES;
    let mut header = [0; proxy_protocol::HEADER_BYTES_MAX];
    let header = proxy_protocol::emit(client, &mut header);
    let mut buffer = [0; FRONT_BYTES_MAX];
    let front = buffer.get_mut(..front_len + header.len()).ok_or(DropReason::NoFrame)?;
    front[..front_len].copy_from_slice(packet.bytes().get(..front_len).ok_or(DropReason::Truncated)?);
    front[front_len..].copy_from_slice(header);
    let udp_len = be16(front, l4 + 4).and_then(|len| len.checked_add(header.len() as u16));
    let udp_len = udp_len.ok_or(DropReason::TooBig)?;
    front[l4 + 4..l4 + 6].copy_from_slice(&udp_len.to_be_bytes());
    lengthen_ip(&mut front[..l4], destination, header.len() as u16)?;
    if packet.replace_front(front_len, front) { Ok(()) } else { Err(DropReason::NoFrame) }
}

/// Adds `more` to the length in the IP header, without options, that `front` ends with.
fn lengthen_ip(front: &mut [u8], destination: IpAddr, more: u16) -> Result<(), DropReason> {
    let at = front.len().checked_sub(ip_header_len(destination)).ok_or(DropReason::Truncated)?;
    if destination.is_ipv6() {
        let mut ip = ipv6::Packet::new_checked(&mut front[at..])?;
        let len = ip.payload_len().checked_add(more).ok_or(DropReason::TooBig)?;
        ip.set_payload_len(len);
    } else {
        let mut ip = ipv4::Packet::new_checked(&mut front[at..])?;
        let len = ip.total_len().checked_add(more).ok_or(DropReason::TooBig)?;
        ip.set_total_len(len);
        ip.fill_checksum();
    }
    Ok(())
}
