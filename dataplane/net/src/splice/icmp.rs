//! ICMP errors about packets that splice sent: passed on to the side whose packet it was.
//!
//! Owns: finding the flow by the inner header, the checks of RFC 5927 §4 (an error must quote a sequence number in
//! flight), translation into the other side's view. Does not own: reading (`wire::icmp`) and writing
//! ([`crate::icmp`]) messages.

use super::flow::{Flow, is_before};
use super::forward::link_to;
use super::state::{Class, Side, State};
use super::{Context, FailReason, Splice, Verdict};
use crate::flow::Protocol;
use crate::flow_table::Record;
use crate::icmp::{self, Quote};
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::icmp::{Error, ErrorKind};
use crate::wire::{Headers, ipv4, ipv6};

impl Splice {
    pub(super) fn on_icmp(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let error = match Error::parse(packet.bytes(), headers) {
            Ok(Some(error)) if error.inner.flow.protocol == Protocol::Tcp => error,
            Ok(_) => return Verdict::Miss,
            Err(reason) => return Verdict::Drop(reason),
        };
        // The quoted packet went to the side that answers with the reversed key.
        let Some((slot, to)) = self.table.find(&error.inner.flow.reversed()) else { return Verdict::Miss };
        let Some(flow) = self.table.get(slot) else { return Verdict::Miss };
        let from = to.other();
        if flow.state == State::SynSent {
            let is_about_syn = to == Side::Backend && error.inner.seq == flow.iss && flow.syns > 0;
            if is_about_syn && matches!(error.kind, ErrorKind::Unreachable { .. }) {
                self.fail(slot, FailReason::Unreachable, now);
                return Verdict::Consumed;
            }
            return Verdict::Drop(DropReason::IcmpUnmatched);
        }
        let seq = flow.half(from).inward(error.inner.seq);
        if flow.state.class() == Class::HalfOpen || !is_in_flight(flow, from, seq) {
            return Verdict::Drop(DropReason::IcmpUnmatched);
        }
        let Some(kind) = kind_for(flow, from, error.kind) else {
            return Verdict::Drop(DropReason::IcmpUnmatched);
        };
        let Some(link) = link_to(flow, from, context) else { return Verdict::Drop(DropReason::NoNeighbor) };
        let payload_len = inner_payload_len(packet, &error);
        let quote = Quote { key: *flow.key(from), second: seq, payload_len };
        match icmp::emit(packet, &link, kind, &quote) {
            Some(port) => Verdict::Transmit(port),
            None => Verdict::Drop(DropReason::IcmpUnmatched),
        }
    }
}

/// Whether `seq` was sent by `from` and is not acknowledged. One that was sent last and carried no data counts: its
/// number is the next one.
fn is_in_flight(flow: &Flow, from: Side, seq: u32) -> bool {
    let half = flow.half(from);
    !is_before(seq, half.acked) && !is_before(half.next, seq)
}

/// The error as the sender must hear it; `None` when it must not be believed or means nothing there.
fn kind_for(flow: &Flow, sender: Side, kind: ErrorKind) -> Option<ErrorKind> {
    let at = flow.key(sender.other()).source.addr;
    let to = flow.key(sender).source.addr;
    match kind {
        ErrorKind::TooBig { mtu } => Some(ErrorKind::TooBig { mtu: icmp::mtu_for(mtu, at, to)? }),
        ErrorKind::ParameterProblem => None,
        kind => Some(icmp::translate_kind(kind, at.is_ipv6(), to.is_ipv6())),
    }
}

/// Bytes behind the IP header of the quoted packet, as it says itself.
fn inner_payload_len(packet: &PacketBuf<'_>, error: &Error) -> u16 {
    let Some(inner) = packet.bytes().get(error.inner.ip..) else { return 0 };
    let v4 = ipv4::Packet::new_checked(inner).map(|ip| ip.total_len().saturating_sub(ip.header_len() as u16));
    let v6 = || ipv6::Packet::new_checked(inner).map_or(0, |ip| ip.payload_len());
    v4.unwrap_or_else(|_| v6())
}
