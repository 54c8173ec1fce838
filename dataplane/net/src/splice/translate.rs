//! Rewriting one segment from one side's view into the other's.
//!
//! Owns: addresses, ports, sequence and acknowledgement number, window, timestamps, SACK blocks, the blanking of
//! options that the backend did not take up, and the checksum, updated for exactly what changed (RFC 1624): a
//! payload that was damaged before us stays detectable behind us. Does not own: whether the segment may pass.
//! Cost: no loop over the payload.

use super::flow::{Flow, ProxyHeader, later};
use super::segment::Arrived;
use super::state::Side;
use crate::egress::{self, Egress, HOP_LIMIT};
use crate::flow_table::Record;
use crate::link::Link;
use crate::packet::PacketBuf;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::checksum::Delta;
use crate::wire::tcp::{Flags, HEADER_BYTES_MIN, Segment};

/// TCP option "no operation".
const NOP: u8 = 1;
/// The two lower bits of the traffic class: ECN (RFC 3168 §5).
const ECN_BITS: u8 = 0b11;

/// Rewrites a segment that came from `side` for the other side, to leave by `link`. One that may be fragmented is
/// let through although it is longer than the link's MTU.
///
/// # Errors
/// As [`egress::readdress`], and `HopLimit`; the segment is then as before.
pub(super) fn translate(
    flow: &Flow,
    side: Side,
    arrived: &Arrived,
    link: &Link,
    packet: &mut PacketBuf<'_>,
    headers: &Headers,
    ingress_mtu: u16,
) -> Result<(), DropReason> {
    let hop_limit = match headers.hop_limit.checked_sub(1) {
        _ if !flow.is_transparent => HOP_LIMIT,
        None | Some(0) => return Err(DropReason::HopLimit),
        Some(left) => left,
    };
    let to = flow.key(side.other());
    let may_fragment = egress::may_fragment(headers, packet.bytes(), ingress_mtu);
    let (source, destination) = (to.destination.addr, to.source.addr);
    let egress = Egress { link, source, destination, hop_limit, may_fragment };
    let mut headers = *headers;
    if flow.blank_ecn && side == Side::Client {
        headers.dscp_ecn &= !ECN_BITS;
    }
    let mut delta = egress::pseudo_delta(&headers, &egress);
    let l4 = egress::readdress(packet, &headers, &egress)?;
    let bytes = packet.bytes_mut().get_mut(l4..).ok_or(DropReason::Truncated)?;

    if let Some(at) = arrived.options.timestamps_offset {
        if flow.blank_timestamps && side == Side::Client {
            blank(bytes, at - 2, 10, &mut delta);
        } else if flow.has_timestamps {
            translate_timestamps(flow, side, arrived, bytes, at, &mut delta);
        }
    }
    if let Some(sack) = arrived.options.sack {
        if is_sack_foreign(flow, side, arrived, bytes) {
            blank(bytes, sack.offset - 2, sack.count * 8 + 2, &mut delta);
        } else {
            let other = flow.half(side.other());
            for at in sack.edge_offsets() {
                replace_u32(bytes, at, |edge| other.inward(edge), &mut delta);
            }
        }
    }
    let mut segment = Segment::new_checked(bytes)?;
    delta.replace_u16(segment.source_port(), to.destination.port);
    segment.set_source_port(to.destination.port);
    delta.replace_u16(segment.destination_port(), to.source.port);
    segment.set_destination_port(to.source.port);
    let seq = flow.half(side).outward(arrived.seq);
    delta.replace_u32(arrived.seq, seq);
    segment.set_seq(seq);
    if arrived.has(Flags::ACK) {
        let ack = ack_for(flow, side, arrived.ack);
        delta.replace_u32(arrived.ack, ack);
        segment.set_ack(ack);
    }
    // The window of a SYN is never scaled (RFC 7323 §2.2).
    if !arrived.has(Flags::SYN) {
        let window = flow.half(side).window_told(arrived.window);
        delta.replace_u16(arrived.window, window);
        segment.set_window(window);
    }
    let checksum = delta.apply(segment.checksum());
    segment.set_checksum(checksum);
    Ok(())
}

/// The acknowledgement number that the other side reads. The client never sees a number of the PROXY header.
pub(super) fn ack_for(flow: &Flow, side: Side, ack: u32) -> u32 {
    let translated = flow.half(side.other()).inward(ack);
    match (side, flow.proxy) {
        (Side::Backend, ProxyHeader::Due | ProxyHeader::Sent(_)) => {
            later(translated, flow.client_isn.wrapping_add(1))
        }
        _ => translated,
    }
}

fn translate_timestamps(
    flow: &Flow,
    side: Side,
    arrived: &Arrived,
    bytes: &mut [u8],
    at: usize,
    delta: &mut Delta,
) {
    let value_add = flow.half(side).ts_add;
    replace_u32(bytes, at, |value| value.wrapping_add(value_add), delta);
    // Without ACK the echo means nothing and is zero (RFC 7323 §3.2).
    if arrived.has(Flags::ACK) {
        let echo_add = flow.half(side.other()).ts_add;
        replace_u32(bytes, at + 4, |echo| echo.wrapping_sub(echo_add), delta);
    }
}

/// Whether SACK blocks mean nothing to the other side: it has no SACK, or a block (a D-SACK, RFC 2883) names the
/// PROXY header, which the client knows nothing of.
fn is_sack_foreign(flow: &Flow, side: Side, arrived: &Arrived, bytes: &[u8]) -> bool {
    if side == Side::Client {
        return flow.blank_sack;
    }
    let first = flow.client_isn.wrapping_add(1);
    let header_len = flow.proxy_header_len();
    arrived.options.sack_blocks(bytes).any(|block| {
        let before = first.wrapping_sub(flow.client.inward(block.left));
        (1..=header_len).contains(&before)
    })
}

fn replace_u32(bytes: &mut [u8], at: usize, new: impl FnOnce(u32) -> u32, delta: &mut Delta) {
    if let Some(field) = bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut::<4>()) {
        let old = u32::from_be_bytes(*field);
        let new = new(old);
        delta.replace_u32_at(at, old, new);
        *field = new.to_be_bytes();
    }
}

/// Overwrites an option with no-operations, so that no other byte has to move.
fn blank(bytes: &mut [u8], at: usize, len: usize, delta: &mut Delta) {
    let Some(option) = bytes.get_mut(at..at + len) else { return };
    for (index, byte) in option.iter_mut().enumerate() {
        let (old, new) = (u16::from(*byte), u16::from(NOP));
        if (at + index).is_multiple_of(2) {
            delta.replace_u16(old << 8, new << 8);
        } else {
            delta.replace_u16(old, new);
        }
        *byte = NOP;
    }
}

/// Lowers the MSS option of a SYN-ACK (`bytes` start with its TCP header) to `mss_max`, so that neither link is
/// overrun. Without the option the sender assumes 536 or 1220 bytes, which fit every link.
pub(super) fn clamp_mss(bytes: &mut [u8], mss_max: u16) {
    let Ok(segment) = Segment::new_checked(&*bytes) else { return };
    let Some(at) = mss_offset(segment.option_bytes()) else { return };
    let (at, checksum) = (HEADER_BYTES_MIN + at, segment.checksum());
    let Some(field) = bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut::<2>()) else { return };
    let old = u16::from_be_bytes(*field);
    let new = old.min(mss_max);
    *field = new.to_be_bytes();
    let mut delta = Delta::NONE;
    if at.is_multiple_of(2) {
        delta.replace_u16(old, new);
    } else {
        delta.replace_u16(old.swap_bytes(), new.swap_bytes());
    }
    if let Ok(mut segment) = Segment::new_checked(bytes) {
        segment.set_checksum(delta.apply(checksum));
    }
}

/// Offset of the MSS value in option bytes.
fn mss_offset(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match (*options.get(at)?, options.get(at + 1)) {
            (0, _) => return None,
            (NOP, _) => at += 1,
            (2, Some(4)) => return Some(at + 2),
            (_, Some(len)) if *len >= 2 => at += usize::from(*len),
            _ => return None,
        }
    }
}
