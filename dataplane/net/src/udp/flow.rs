//! The record of one UDP flow, and the PROXY header in front of its payload.

use core::net::IpAddr;

use super::{ROUNDS_VALIDATED, UdpOpenRequest, UdpProxyHeader};
use crate::egress::ip_header_len;
use crate::flow::FlowKey;
use crate::flow_table::{Class, Record, Side};
use crate::link::{LINK_HEADER_BYTES_MAX, Link};
use crate::packet::PacketBuf;
use crate::ports::PortLease;
use crate::proxy_protocol;
use crate::splice::{BackendId, Traffic};
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::{be16, ipv4, ipv6, udp};

/// One flow.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) client_key: FlowKey,
    pub(super) backend_key: FlowKey,
    pub(super) client_link: Link,
    pub(super) backend_id: BackendId,
    /// The port of our slice; `None` in transparent mode.
    pub(super) lease: Option<PortLease>,
    /// Whether datagrams to the backend still get the PROXY header.
    has_header: bool,
    /// How often the client spoke again after an answer.
    rounds: u8,
    /// Who spoke last.
    last: Side,
    pub(super) tag: u32,
    pub(super) to_backend: Traffic,
    pub(super) to_client: Traffic,
    pub(super) opened: Instant,
    pub(super) active: Instant,
}

impl Record for Flow {
    fn key(&self, side: Side) -> &FlowKey {
        match side {
            Side::Client => &self.client_key,
            Side::Backend => &self.backend_key,
        }
    }

    fn set_backend_key(&mut self, key: FlowKey) {
        self.backend_key = key;
    }

    fn class(&self) -> Class {
        if self.to_client.packets == 0 { Class::HalfOpen } else { Class::Established }
    }
}

impl Flow {
    pub(super) fn new(
        request: &UdpOpenRequest,
        backend_key: FlowKey,
        lease: Option<PortLease>,
        has_header: bool,
        now: Instant,
    ) -> Self {
        Self {
            client_key: request.key,
            backend_key,
            client_link: request.client_link,
            backend_id: request.backend,
            lease,
            has_header,
            rounds: 0,
            last: Side::Client,
            tag: request.tag,
            to_backend: Traffic::default(),
            to_client: Traffic::default(),
            opened: now,
            active: now,
        }
    }

    /// Whether the backend may send `bytes` more to a client that perhaps never asked.
    pub(super) fn may_answer(&self, bytes: u64, factor: u32) -> bool {
        factor == 0
            || self.rounds >= ROUNDS_VALIDATED
            || self.to_client.bytes + bytes <= self.to_backend.bytes.saturating_mul(u64::from(factor))
    }

    /// Notes a datagram that was passed on.
    pub(super) fn remember(&mut self, side: Side, bytes: u64, header: UdpProxyHeader, now: Instant) {
        let traffic = match side {
            Side::Client => &mut self.to_backend,
            Side::Backend => &mut self.to_client,
        };
        traffic.bytes += bytes;
        traffic.packets += 1;
        if side == Side::Client && self.last == Side::Backend {
            self.rounds = self.rounds.saturating_add(1);
        }
        if side == Side::Backend && header == UdpProxyHeader::UntilAnswered {
            self.has_header = false;
        }
        self.last = side;
        self.active = now;
    }

    /// Bytes of PROXY header that the next datagram to the backend gets.
    pub(super) fn header_len(&self) -> usize {
        if self.has_header { proxy_protocol::header_len(self.client_key.source.addr) } else { 0 }
    }
}

/// Longest headers in front of UDP payload here: Ethernet, IPv6, UDP, PROXY.
const FRONT_BYTES_MAX: usize =
    LINK_HEADER_BYTES_MAX + ipv6::HEADER_BYTES + udp::HEADER_BYTES + proxy_protocol::HEADER_BYTES_MAX;

/// Puts the PROXY header between UDP header (at `l4`) and payload: the headers in front move forward, the payload
/// stays. Lengths are corrected, the UDP checksum is not.
pub(super) fn insert_header(
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
