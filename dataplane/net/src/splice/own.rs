//! Segments that we send in our own name: SYN, ACK, RST and the PROXY header.
//!
//! Owns: their bytes, built whole into a frame (in place of a received one where that did its work). Does not own:
//! when they are sent. Checksums are computed in full: there is nothing to update.

use super::flow::Flow;
use super::state::Side;
use crate::egress::{self, Egress, HOP_LIMIT, ip_header_len};
use crate::flow_table::Record;
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::proxy_protocol;
use crate::wire::tcp::{Flags, HEADER_BYTES_MIN, OPTIONS_BYTES_MAX, Repr, SynOptions, Timestamps};
use crate::wire::{checksum, protocol};

/// Least MSS that is announced to a backend, in bytes: a client that names less (CVE-2019-11479) would make the
/// backend send a packet per few bytes. Linux's `TCP_MIN_SND_MSS`.
pub(super) const MSS_BYTES_MIN: u16 = 48;

/// A segment to build.
struct Own<'a> {
    /// Who gets it.
    to: Side,
    flags: Flags,
    seq: u32,
    ack: u32,
    window: u16,
    options: &'a [u8],
    payload: &'a [u8],
}

/// The greatest MSS whose packets fit both links.
pub(super) fn mss_max(flow: &Flow, backend_link: &Link) -> u16 {
    let payload = |link: &Link, side: Side| {
        let headers = ip_header_len(flow.key(side).source.addr) + HEADER_BYTES_MIN;
        link.mtu.saturating_sub(headers as u16)
    };
    payload(&flow.client_link, Side::Client).min(payload(backend_link, Side::Backend))
}

/// Our SYN to the backend: what the client offered, in our numbering.
pub(super) fn emit_syn(flow: &Flow, link: &Link, packet: &mut PacketBuf<'_>) -> Option<PortId> {
    let offer = &flow.offer;
    let mut buffer = [0; OPTIONS_BYTES_MAX];
    let timestamps = Timestamps { value: flow.client.ts_last.wrapping_add(flow.client.ts_add), echo: 0 };
    let len = SynOptions {
        mss: Some(offer.mss.min(mss_max(flow, link)).max(MSS_BYTES_MIN)),
        window_scale: offer.window_scale,
        sack_permitted: offer.sack_permitted,
        timestamps: offer.timestamps.then_some(timestamps),
    }
    .emit(&mut buffer);
    let ecn = if offer.ecn { Flags::ECE | Flags::CWR } else { Flags::NONE };
    let own = Own {
        to: Side::Backend,
        flags: Flags::SYN | ecn,
        seq: flow.iss,
        ack: 0,
        window: flow.client.window_bytes(flow.client.window).min(0xffff) as u16,
        options: &buffer[..len],
        payload: &[],
    };
    emit(flow, &own, link, packet)
}

/// An ACK of everything from `to` that the other side has acknowledged: what is still on its way may be lost, and we
/// could not send it again.
pub(super) fn emit_ack(flow: &Flow, to: Side, link: &Link, packet: &mut PacketBuf<'_>) -> Option<PortId> {
    emit_with_ack(flow, to, Flags::ACK, &[], link, packet)
}

/// The PROXY header, as the first bytes of our stream to the backend.
pub(super) fn emit_proxy_header(flow: &Flow, link: &Link, packet: &mut PacketBuf<'_>) -> Option<PortId> {
    let mut buffer = [0; proxy_protocol::HEADER_BYTES_MAX];
    let header = proxy_protocol::emit(&flow.client_key, &mut buffer);
    emit_with_ack(flow, Side::Backend, Flags::ACK | Flags::PSH, header, link, packet)
}

fn emit_with_ack(
    flow: &Flow,
    to: Side,
    flags: Flags,
    payload: &[u8],
    link: &Link,
    packet: &mut PacketBuf<'_>,
) -> Option<PortId> {
    let from = flow.half(to.other());
    let peer = flow.half(to);
    let seq = match to {
        // The header comes first, also when it is sent again after data.
        Side::Backend if !payload.is_empty() => flow.iss.wrapping_add(1),
        Side::Backend => flow.backend_seq(),
        Side::Client => from.outward(from.next),
    };
    let mut options = [1; 12];
    options[2..4].copy_from_slice(&[8, 10]);
    options[4..8].copy_from_slice(&from.ts_last.wrapping_add(from.ts_add).to_be_bytes());
    options[8..12].copy_from_slice(&peer.ts_last.to_be_bytes());
    let own = Own {
        to,
        flags,
        seq,
        ack: peer.acked,
        window: from.window_told(from.window),
        options: if flow.has_timestamps { &options } else { &[] },
        payload,
    };
    emit(flow, &own, link, packet)
}

/// A RST to `to`, at the number we believe it expects.
pub(super) fn emit_reset(flow: &Flow, to: Side, link: &Link, packet: &mut PacketBuf<'_>) -> Option<PortId> {
    let seq = match to {
        Side::Backend => flow.backend_seq(),
        Side::Client => flow.backend.outward(flow.backend.next),
    };
    let own = Own {
        to,
        flags: Flags::RST_ACK,
        seq,
        ack: flow.half(to).next,
        window: 0,
        options: &[],
        payload: &[],
    };
    emit(flow, &own, link, packet)
}

/// The RST that answers a segment of `to` with this acknowledgement number: exact for its sender, whatever we
/// remember (RFC 9293 §3.10.7.1).
pub(super) fn emit_reset_at(
    flow: &Flow,
    to: Side,
    ack: u32,
    link: &Link,
    packet: &mut PacketBuf<'_>,
) -> Option<PortId> {
    let own = Own { to, flags: Flags::RST, seq: ack, ack: 0, window: 0, options: &[], payload: &[] };
    emit(flow, &own, link, packet)
}

fn emit(flow: &Flow, own: &Own<'_>, link: &Link, packet: &mut PacketBuf<'_>) -> Option<PortId> {
    let to = flow.key(own.to);
    let (source, destination) = (to.destination.addr, to.source.addr);
    let egress = Egress { link, source, destination, hop_limit: HOP_LIMIT, may_fragment: false };
    let len = HEADER_BYTES_MIN + own.options.len() + own.payload.len();
    let at = egress::emit(packet, &egress, protocol::TCP, 0, len)?;
    let bytes = packet.bytes_mut().get_mut(at..)?;
    let header = Repr {
        source_port: to.destination.port,
        destination_port: to.source.port,
        seq: own.seq,
        ack: own.ack,
        flags: own.flags,
        window: own.window,
    };
    let header_len = header.emit(bytes, own.options)?;
    bytes.get_mut(header_len..)?.copy_from_slice(own.payload);
    let sum = checksum::pseudo(source, destination, protocol::TCP, len).add_bytes(bytes).checksum();
    bytes.get_mut(16..18)?.copy_from_slice(&sum.to_be_bytes());
    Some(link.port)
}
