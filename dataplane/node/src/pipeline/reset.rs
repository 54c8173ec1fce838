//! Telling a client that proved its address that it will not be served.
//!
//! Owns: when that is done, and the RST written over the refused segment. Does not own: RSTs of flows (`net::splice`).
//! Only a validated source gets one, so nothing is ever reflected at a stranger. A client refused by a limit whose
//! cookie stays good gets none: its retransmission is a new try, and by then there may be room.

use secbeat_net::egress::{self, Egress, HOP_LIMIT};
use secbeat_net::link::Link;
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::Ingress;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::tcp::{self, Flags, Segment};
use secbeat_net::wire::{Headers, checksum, protocol};

use super::Fate;

/// What becomes of a validated segment that was refused for `reason`.
pub(super) fn refuse(
    packet: &mut PacketBuf<'_>,
    headers: &Headers,
    ingress: &Ingress,
    may_try_again: bool,
    reason: DropReason,
) -> Result<Fate, DropReason> {
    let by_limit = matches!(reason, DropReason::ConnectionRate | DropReason::ConnectionLimit);
    if by_limit && may_try_again {
        return Err(reason);
    }
    write(packet, headers, ingress).ok_or(reason)?;
    Ok(Fate::Reset(reason, ingress.port))
}

/// Turns a segment with ACK into the RST that answers it (RFC 9293 §3.10.7.1).
fn write(packet: &mut PacketBuf<'_>, headers: &Headers, ingress: &Ingress) -> Option<()> {
    let bytes = packet.bytes();
    let seq = Segment::new_checked(bytes.get(headers.l4..headers.end)?).ok()?.ack();
    let link = Link::reply_to(ingress.port, ingress.mtu, bytes.get(..headers.link_len)?)?;
    let (source, destination) = (headers.destination, headers.source);
    let egress = Egress { link: &link, source, destination, hop_limit: HOP_LIMIT, may_fragment: false };
    let at = egress::emit(packet, &egress, protocol::TCP, 0, tcp::HEADER_BYTES_MIN)?;
    let segment = packet.bytes_mut().get_mut(at..)?;
    let header = tcp::Repr {
        source_port: headers.destination_port,
        destination_port: headers.source_port,
        seq,
        ack: 0,
        flags: Flags::RST,
        window: 0,
    };
    header.emit(segment, &[])?;
    let len = tcp::HEADER_BYTES_MIN;
    let sum = checksum::pseudo(source, destination, protocol::TCP, len).add_bytes(segment).checksum();
    Segment::new_checked(segment).ok()?.set_checksum(sum);
    Some(())
}
