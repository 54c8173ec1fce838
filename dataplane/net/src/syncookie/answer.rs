//! The SYN-ACK, written over the SYN it answers.
//!
//! Owns: the frame. Link addresses are exchanged and VLAN tags kept; IP options and extension headers of the SYN are
//! removed, its data is dropped; the TCP header is new, its checksum computed in full, never derived from
//! the received one (which may be partial, see `wire::checksum`).

use core::net::IpAddr;

use super::{HOP_LIMIT_OURS, Keys, Offer, SynAck};
use crate::flow::FlowKey;
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::checksum::{Sum, pseudo_v4, pseudo_v6};
use crate::wire::tcp::{self, Flags, Segment};
use crate::wire::{Headers, ethernet, ipv4, ipv6, protocol};

/// Answers a SYN with a cookie, in place. The frame must hold a TCP segment with SYN and without ACK whose
/// checksum was verified; afterwards it holds the SYN-ACK, to be sent out of the port it came in by.
///
/// # Errors
/// [`DropReason::Malformed`] when its options are broken, [`DropReason::NoFrame`] when the buffer has no room for
/// the answer, [`DropReason::NoFlow`] when it is no SYN. The frame is then unchanged.
#[inline]
pub fn answer_syn(
    packet: &mut PacketBuf<'_>,
    headers: &Headers,
    keys: &Keys,
    offer: &Offer,
    now: Instant,
) -> Result<(), DropReason> {
    if !headers.tcp_flags.is_initial_syn() {
        return Err(DropReason::NoFlow);
    }
    let flow = headers.flow_key().ok_or(DropReason::NoFlow)?;
    let l4 = packet.bytes().get(headers.l4..headers.end).ok_or(DropReason::Truncated)?;
    let segment = Segment::new_checked(l4)?;
    let (client_isn, options) = (segment.seq(), segment.options()?);
    let ecn = headers.tcp_flags.contains(Flags::ECE | Flags::CWR);
    let syn_ack = super::make(keys, &flow, client_isn, &options, ecn, offer, now);
    write_syn_ack(packet, &SynAckFrame { link_len: headers.link_len, flow, syn_ack })?;
    ethernet::swap_addresses(packet.bytes_mut());
    Ok(())
}

/// A SYN-ACK and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SynAckFrame {
    /// Length of the link header that is already in the frame.
    pub(crate) link_len: usize,
    /// The client's flow, as it came in.
    pub(crate) flow: FlowKey,
    /// What to say.
    pub(crate) syn_ack: SynAck,
}

/// Writes IP and TCP header behind the link header and sets the frame's length.
///
/// # Errors
/// [`DropReason::NoFrame`] when there is no room; the frame is then unchanged.
#[inline]
pub(crate) fn write_syn_ack(packet: &mut PacketBuf<'_>, frame: &SynAckFrame) -> Result<(), DropReason> {
    let mut options = [0; tcp::OPTIONS_BYTES_MAX];
    let options_len = frame.syn_ack.options.emit(&mut options);
    let tcp_len = tcp::HEADER_BYTES_MIN + options_len;
    let ip_len = match frame.flow.source.addr {
        IpAddr::V4(_) => ipv4::HEADER_BYTES_MIN,
        IpAddr::V6(_) => ipv6::HEADER_BYTES,
    };
    if !packet.set_len(frame.link_len + ip_len + tcp_len) {
        return Err(DropReason::NoFrame);
    }
    let bytes = packet.bytes_mut().get_mut(frame.link_len..).ok_or(DropReason::NoFrame)?;
    let pseudo = write_ip(bytes, &frame.flow, tcp_len).ok_or(DropReason::NoFrame)?;
    let segment = bytes.get_mut(ip_len..).ok_or(DropReason::NoFrame)?;
    let ece = if frame.syn_ack.ecn { Flags::ECE } else { Flags::NONE };
    let header = tcp::Repr {
        source_port: frame.flow.destination.port,
        destination_port: frame.flow.source.port,
        seq: frame.syn_ack.isn,
        ack: frame.syn_ack.ack,
        flags: Flags::SYN_ACK | ece,
        window: frame.syn_ack.window,
    };
    let options = options.get(..options_len).ok_or(DropReason::NoFrame)?;
    header.emit(segment, options).ok_or(DropReason::NoFrame)?;
    let checksum = pseudo.add_bytes(segment).checksum();
    Segment::new_checked(segment)?.set_checksum(checksum);
    Ok(())
}

/// Writes the IP header of the answer to `flow` and returns the sum of its pseudo header.
#[inline]
fn write_ip(bytes: &mut [u8], flow: &FlowKey, tcp_len: usize) -> Option<Sum> {
    match (flow.destination.addr, flow.source.addr) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = ipv4::Repr {
                source,
                destination,
                protocol: protocol::TCP,
                payload_len: tcp_len as u16,
                ttl: HOP_LIMIT_OURS,
                // A SYN-ACK is never ECN-capable (RFC 3168 §6.1.1), even when it takes up ECN.
                dscp_ecn: 0,
                ident: 0,
                dont_fragment: true,
            };
            header.emit(bytes)?;
            Some(pseudo_v4(source, destination, protocol::TCP, tcp_len))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Repr {
                source,
                destination,
                next_header: protocol::TCP,
                payload_len: tcp_len as u16,
                hop_limit: HOP_LIMIT_OURS,
                traffic_class: 0,
                flow_label: 0,
            };
            header.emit(bytes)?;
            Some(pseudo_v6(source, destination, protocol::TCP, tcp_len))
        }
        _ => None,
    }
}
