//! Segments of an open flow: is it in the window, pass it on, remember what it said.
//!
//! Owns: validation, the order of effects (check, translate, then remember: a segment that cannot leave leaves no
//! trace), FIN, RST and SYN inside a flow, TIME-WAIT and CLOSED. Does not own: rewriting (`translate`), opening.
//!
//! Payload, PSH, URG, keep-alives and window probes pass untouched; neither side's congestion control,
//! retransmission or delayed ACK is ours.

use super::flow::{Flow, Pending, ProxyHeader, is_before};
use super::segment::Arrived;
use super::state::{Class, Side, Signal, State};
use super::translate::translate;
use super::{CloseReason, Context, Splice, Verdict, own};
use crate::flow_table::Record;
use crate::icmp::{self, Quote};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::icmp::ErrorKind;
use crate::wire::tcp::{Flags, Timestamps};

/// Least time between two challenge ACKs of one flow (Linux's `tcp_invalid_ratelimit`): whoever forges segments
/// gets no packet per packet out of us.
pub(super) const CHALLENGE_INTERVAL_MS: u32 = 500;

impl Splice {
    /// A segment of an established or closing flow.
    pub(super) fn on_segment(
        &mut self,
        (slot, side): (u32, Side),
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(flow) = self.table.get_mut(slot) else { return Verdict::Miss };
        if arrived.has(Flags::RST) {
            return self.on_reset((slot, side), packet, headers, arrived, context, now);
        }
        if arrived.has(Flags::SYN) {
            return self.on_syn((slot, side), packet, headers, arrived, context, now);
        }
        if !arrived.has(Flags::ACK) {
            return Verdict::Drop(DropReason::TcpFlags);
        }
        let acked = flow.half(side.other()).inward(arrived.ack);
        if !flow.half(side).is_in_window(arrived.seq, arrived.end())
            || !flow.half(side.other()).is_plausible_ack(acked)
        {
            return Verdict::Drop(DropReason::OutOfWindow);
        }
        // Only the exact number proves that this client heard the backend's SYN-ACK.
        let is_proof = acked == flow.half(side.other()).next;
        if flow.state == State::SynReceived && side == Side::Client && !is_proof {
            return Verdict::Drop(DropReason::OutOfWindow);
        }
        if side == Side::Client {
            self.follow_client(slot, packet, headers, context);
            if let Some(verdict) = self.put_header_first(slot, packet, arrived, context, now) {
                return verdict;
            }
        } else if self.is_header_ack(slot, arrived) {
            self.remember((slot, side), arrived, now);
            return Verdict::Consumed;
        }
        match self.pass((slot, side), packet, headers, arrived, context) {
            Ok(port) => {
                self.remember((slot, side), arrived, now);
                Verdict::Transmit(port)
            }
            Err(verdict) => verdict,
        }
    }

    /// Translates a segment for the other side. `Err` when it did not go there: one that does not fit the other
    /// link is answered by ICMP, which then is what the frame holds.
    fn pass(
        &mut self,
        (slot, side): (u32, Side),
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        context: &Context<'_>,
    ) -> Result<PortId, Verdict> {
        let flow = self.table.get_mut(slot).ok_or(Verdict::Miss)?;
        let link = link_to(flow, side.other(), context).ok_or(Verdict::Drop(DropReason::NoNeighbor))?;
        match translate(flow, side, arrived, &link, packet, headers, context.ingress.mtu) {
            Ok(()) => {
                let traffic = &mut flow.half_mut(side).traffic;
                traffic.bytes += u64::from(arrived.len);
                traffic.packets += 1;
                Ok(link.port)
            }
            Err(DropReason::TooBig) => {
                let port = answer_too_big(flow, side, &link, packet, headers, arrived, context);
                self.counters.too_big_sent += u64::from(port.is_some());
                Err(port.map_or(Verdict::Drop(DropReason::TooBig), Verdict::Transmit))
            }
            Err(reason) => Err(Verdict::Drop(reason)),
        }
    }

    /// The client's way back, from a segment that passed validation: its MAC, VLAN or port may change in a flow.
    fn follow_client(&mut self, slot: u32, packet: &PacketBuf<'_>, headers: &Headers, context: &Context<'_>) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        let ingress = &context.ingress;
        let link = packet
            .bytes()
            .get(..headers.link_len)
            .and_then(|header| Link::reply_to(ingress.port, ingress.mtu, header));
        if let Some(link) = link.filter(|link| *link != flow.client_link) {
            flow.client_link = link;
            self.counters.client_moves += 1;
        }
    }

    /// Pass-through with a PROXY header: the client's first ACK proves it real; the header takes a bare ACK's
    /// frame, data waits until the header was sent.
    fn put_header_first(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        arrived: &Arrived,
        context: &Context<'_>,
        now: Instant,
    ) -> Option<Verdict> {
        if self.table.get(slot)?.state == State::SynReceived {
            self.on_established(slot, Signal::HandshakeAck, now);
        }
        let flow = self.table.get_mut(slot)?;
        if flow.is_ready_for_data() {
            return None;
        }
        if !arrived.is_pure_ack() {
            flow.is_holding = true;
            let id = self.id(slot);
            self.want(slot, Pending::PROXY_HEADER);
            return Some(Verdict::Hold(id));
        }
        self.remember((slot, Side::Client), arrived, now);
        let port = self.transmit_proxy_header(slot, packet, context.backends, now);
        Some(port.map_or(Verdict::Consumed, Verdict::Transmit))
    }

    /// Notes an acknowledgement of the PROXY header; answers whether the segment says nothing else.
    fn is_header_ack(&mut self, slot: u32, arrived: &Arrived) -> bool {
        let Some(flow) = self.table.get_mut(slot) else { return false };
        if !matches!(flow.proxy, ProxyHeader::Sent(_)) {
            return false;
        }
        let first = flow.client_isn.wrapping_add(1);
        let acked = flow.client.inward(arrived.ack);
        if !is_before(acked, first) {
            flow.proxy = ProxyHeader::Acked;
            flow.pending.take(Pending::PROXY_HEADER);
        }
        arrived.is_pure_ack() && !is_before(first, acked)
    }

    /// What a segment that was passed on says about the flow.
    fn remember(&mut self, (slot, side): (u32, Side), arrived: &Arrived, now: Instant) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        let told = u32::from(flow.half(side).window_told(arrived.window)) << flow.half(side).scale_told;
        let end = arrived.end();
        let half = flow.half_mut(side);
        if !is_before(end, half.next) {
            half.next = end;
            half.window = arrived.window;
            half.ts_last = arrived.options.timestamps.map_or(half.ts_last, |timestamps| timestamps.value);
        }
        if arrived.has(Flags::FIN) {
            half.fin_end = end;
        }
        let other = flow.half_mut(side.other());
        let acked = other.inward(arrived.ack);
        other.on_acked(acked, told);
        let other_fin = other.fin_end;
        let old = flow.state;
        if old.class() == Class::Lingering {
            return;
        }
        flow.active = now;
        flow.is_suspect = false;
        let mut state = old;
        if state.has_fin(side.other()) && !is_before(acked, other_fin) {
            state = state.next(Signal::FinAcked(side.other()));
        }
        if arrived.has(Flags::FIN) {
            state = state.next(Signal::Fin(side));
        }
        if state == State::TimeWait {
            self.finish(slot, now);
        } else if state != old {
            self.set_state(slot, state);
            self.arm(slot);
        }
    }

    /// RST (RFC 5961 §3): exact ends the flow; within the window it may be exact for the receiver, which has seen
    /// less than we have, and passes; anything else is a guess.
    fn on_reset(
        &mut self,
        (slot, side): (u32, Side),
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(flow) = self.table.get_mut(slot) else { return Verdict::Miss };
        let half = flow.half(side);
        let is_exact = arrived.seq == half.next || arrived.seq == half.acked;
        // A FIN may lie one number beyond the window, so the exact number may, too.
        if !is_exact && (is_before(arrived.seq, half.acked) || is_before(half.edge, arrived.seq)) {
            return Verdict::Drop(DropReason::RstOutOfWindow);
        }
        let is_lingering = flow.state.class() == Class::Lingering;
        let passed = self.pass((slot, side), packet, headers, arrived, context);
        let verdict = passed.map_or_else(|verdict| verdict, Verdict::Transmit);
        if is_lingering {
            return verdict;
        }
        if is_exact {
            let reason = match side {
                Side::Client => CloseReason::ClientReset,
                Side::Backend => CloseReason::BackendReset,
            };
            self.close(slot, Signal::Reset, reason, now);
        } else if let Some(flow) = self.table.get_mut(slot) {
            flow.is_suspect = true;
            self.arm(slot);
        }
        verdict
    }

    /// SYN in an open flow (RFC 5961 §4). The backend's is its SYN-ACK again, whose ACK was lost. The client's may
    /// be forged, or the client lost its memory: it is challenged, and answers with RST if it did.
    fn on_syn(
        &mut self,
        (slot, side): (u32, Side),
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(flow) = self.table.get_mut(slot) else { return Verdict::Miss };
        if side == Side::Backend {
            let is_again = arrived.has(Flags::ACK)
                && arrived.ack == flow.iss.wrapping_add(1)
                && arrived.seq == flow.backend_isn;
            let Some(link) = context.backends.link(flow.backend_id).filter(|_| is_again) else {
                return Verdict::Drop(DropReason::OutOfWindow);
            };
            if flow.is_pass_through() {
                return self.pass_syn_ack(slot, packet, headers, arrived, context, now);
            }
            let port = own::emit_ack(flow, Side::Backend, link, packet);
            return port.map_or(Verdict::Consumed, Verdict::Transmit);
        }
        if flow.state == State::SynReceived && arrived.seq == flow.client_isn {
            // The SYN-ACK was lost: our SYN makes the backend send it again.
            flow.pending.insert(Pending::SYN);
            let port = self.transmit_syn(slot, packet, context.backends, now);
            return port.map_or(Verdict::Consumed, Verdict::Transmit);
        }
        self.challenge(slot, packet, now)
    }

    fn challenge(&mut self, slot: u32, packet: &mut PacketBuf<'_>, now: Instant) -> Verdict {
        let Some(flow) = self.table.get_mut(slot) else { return Verdict::Miss };
        let now_ms = now.as_millis() as u32;
        if now_ms.wrapping_sub(flow.challenged_ms) < CHALLENGE_INTERVAL_MS {
            return Verdict::Drop(DropReason::OutOfWindow);
        }
        flow.challenged_ms = now_ms;
        self.counters.challenge_acks += 1;
        let link = flow.client_link;
        own::emit_ack(flow, Side::Client, &link, packet).map_or(Verdict::Consumed, Verdict::Transmit)
    }

    /// A segment of a flow in TIME-WAIT: passed on, so that a lost last ACK can be sent again; a new SYN of the
    /// client may take the flow's place.
    pub(super) fn on_time_wait(
        &mut self,
        (slot, side): (u32, Side),
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(flow) = self.table.get(slot) else { return Verdict::Miss };
        if arrived.flags.is_initial_syn() && side == Side::Client {
            // RFC 9293 §3.6.1 and RFC 6191: beyond the old sequence numbers, or by a later clock.
            let later_clock = |timestamps: Timestamps| {
                flow.client.ts_last != 0 && is_before(flow.client.ts_last, timestamps.value)
            };
            if is_before(flow.client.next, arrived.seq.wrapping_add(1))
                || arrived.options.timestamps.is_some_and(later_clock)
            {
                // The flow stays until `open` takes its place: the SYN may be forged, and the lost last ACK of the
                // old connection may still have to be sent again.
                return Verdict::Miss;
            }
            return self.challenge(slot, packet, now);
        }
        // The ACK that completes a new handshake, when the owner answers SYNs without asking us.
        let is_beyond = is_before(flow.client.fin_end, arrived.seq);
        if side == Side::Client && arrived.flags & (Flags::ACK | Flags::RST | Flags::SYN) == Flags::ACK {
            let is_known = flow.half(side).is_in_window(arrived.seq, arrived.end()) && !is_beyond;
            if !is_known {
                return Verdict::Miss;
            }
        }
        self.on_segment((slot, side), packet, headers, arrived, context, now)
    }

    /// A segment of a flow that was reset: its sender is told, until the flow is forgotten.
    pub(super) fn on_closed(
        &mut self,
        (slot, side): (u32, Side),
        packet: &mut PacketBuf<'_>,
        arrived: &Arrived,
        context: &Context<'_>,
    ) -> Verdict {
        let Some(flow) = self.table.get(slot) else { return Verdict::Miss };
        if arrived.flags.is_initial_syn() && side == Side::Client {
            return Verdict::Miss;
        }
        if arrived.has(Flags::RST) || !arrived.has(Flags::ACK) {
            return Verdict::Consumed;
        }
        let is_known =
            flow.client.is_in_window(arrived.seq, arrived.end()) && !is_before(flow.client.next, arrived.seq);
        if side == Side::Client && !is_known {
            // Perhaps the ACK of a new handshake; the owner's cookie check tells.
            return Verdict::Miss;
        }
        let Some(link) = link_to(flow, side, context) else { return Verdict::Drop(DropReason::NoNeighbor) };
        own::emit_reset_at(flow, side, arrived.ack, &link, packet)
            .map_or(Verdict::Consumed, Verdict::Transmit)
    }
}

/// The way to one side of a flow.
pub(super) fn link_to(flow: &Flow, side: Side, context: &Context<'_>) -> Option<Link> {
    match side {
        Side::Client => Some(flow.client_link),
        Side::Backend => context.backends.link(flow.backend_id).copied(),
    }
}

/// Turns a segment that does not fit `link` and must stay whole into the ICMP error that tells its sender
/// (RFC 1191, 8201).
fn answer_too_big(
    flow: &Flow,
    side: Side,
    link: &Link,
    packet: &mut PacketBuf<'_>,
    headers: &Headers,
    arrived: &Arrived,
    context: &Context<'_>,
) -> Option<PortId> {
    let back = link_to(flow, side, context)?;
    let key = *flow.key(side);
    let to_addr = flow.key(side.other()).source.addr;
    let mtu = icmp::mtu_for(u32::from(link.mtu), to_addr, key.source.addr)?;
    let payload_len = u16::try_from(headers.end - headers.l4).ok()?;
    let quote = Quote { key, second: arrived.seq, payload_len };
    icmp::emit(packet, &back, ErrorKind::TooBig { mtu }, &quote)
}
