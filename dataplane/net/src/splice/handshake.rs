//! The handshake with the backend: our SYN, its answers, and what the client sends meanwhile.
//!
//! Owns: everything from SYN-SENT to ESTABLISHED that packets do. Does not own: the handshake with the client when it
//! is proxied (`syncookie`), addresses and first numbers (`opening`).

use core::time::Duration;

use super::flow::{Flow, HandshakeKind, Pending, ProxyHeader, is_before};
use super::segment::Arrived;
use super::state::{Side, Signal, State};
use super::translate::{clamp_mss, translate};
use super::{Backends, CloseReason, Context, Event, FailReason, Splice, Traffic, Verdict, own};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::tcp::Flags;

/// After a backend's stale connection was reset, our SYN goes out again this soon instead of after a full wait.
const STALE_RETRY: Duration = Duration::from_millis(2);

impl Splice {
    /// A segment of the client before the backend has answered.
    pub(super) fn on_client_while_opening(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        arrived: &Arrived,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(flow) = self.table.get_mut(slot) else { return Verdict::Miss };
        let is_pass_through = flow.is_pass_through();
        if arrived.has(Flags::RST) {
            // Nothing of the client was passed on, so its own numbers alone decide.
            if is_before(arrived.seq, flow.client.acked) || is_before(flow.client.edge, arrived.seq) {
                return Verdict::Drop(DropReason::RstOutOfWindow);
            }
            self.close(slot, Signal::Reset, CloseReason::ClientReset, now);
            return Verdict::Consumed;
        }
        if arrived.has(Flags::SYN) {
            if arrived.seq != flow.client_isn && !is_pass_through {
                // Its source is not proven, that of the flow is: a stranger must not end it. A client that did
                // start anew gets a challenge ACK as soon as the backend has answered.
                return Verdict::Drop(DropReason::OutOfWindow);
            }
            if arrived.seq != flow.client_isn {
                // The client has started anew; what it left has opened nothing yet.
                self.close(slot, Signal::Reset, CloseReason::ClientReset, now);
                self.remove(slot);
                return Verdict::Miss;
            }
            return self.send_syn_in_place(slot, packet, context, now);
        }
        if !arrived.has(Flags::ACK) {
            return Verdict::Drop(DropReason::TcpFlags);
        }
        if is_pass_through || !flow.client.is_in_window(arrived.seq, arrived.end()) {
            return Verdict::Drop(DropReason::OutOfWindow);
        }
        flow.client.window = arrived.window;
        if arrived.len > 0 || arrived.has(Flags::FIN) {
            flow.is_holding = true;
            return Verdict::Hold(self.id(slot));
        }
        self.send_syn_in_place(slot, packet, context, now)
    }

    /// If our SYN has not gone out yet, the received frame, which did its work, becomes it.
    fn send_syn_in_place(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let is_due = self.table.get(slot).is_some_and(|flow| flow.pending.contains(Pending::SYN));
        if !is_due {
            return Verdict::Consumed;
        }
        self.transmit_syn(slot, packet, context.backends, now).map_or(Verdict::Consumed, Verdict::Transmit)
    }

    /// Builds our SYN and sets its timer.
    pub(super) fn transmit_syn(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        backends: &Backends,
        now: Instant,
    ) -> Option<PortId> {
        let wait = self.limits.timeouts.backend_syn;
        let flow = self.table.get_mut(slot)?;
        flow.pending.take(Pending::SYN);
        if flow.state == State::SynSent {
            // Counted even when no frame takes it: the timer tries again, and gives up in time.
            self.counters.syns_retransmitted += u64::from(flow.syns > 0);
            flow.retransmit = now + wait * (1 << flow.syns.min(6));
            flow.syns = flow.syns.saturating_add(1);
        }
        let Some(link) = backends.link(flow.backend_id) else {
            // Better another backend now than this one perhaps later.
            if flow.state == State::SynSent {
                self.fail(slot, FailReason::NoLink, now);
            }
            return None;
        };
        let port = own::emit_syn(flow, link, packet);
        self.arm(slot);
        port
    }

    /// A segment of the backend before the flow is open.
    pub(super) fn on_backend_while_opening(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(flow) = self.table.get_mut(slot) else { return Verdict::Miss };
        let is_ours = arrived.has(Flags::ACK) && arrived.ack == flow.iss.wrapping_add(1);
        let is_asked = flow.state == State::SynSent;
        if arrived.has(Flags::RST) {
            if !is_ours || !is_asked {
                return Verdict::Drop(DropReason::RstOutOfWindow);
            }
            self.fail(slot, FailReason::Refused, now);
            return Verdict::Consumed;
        }
        let Some(link) = context.backends.link(flow.backend_id) else {
            return Verdict::Drop(DropReason::NoNeighbor);
        };
        if !is_asked || !is_ours || !arrived.has(Flags::SYN) {
            // A connection that only the backend remembers: end it, then ask again (RFC 9293 §3.10.7.3). A segment
            // that does acknowledge our SYN has overtaken the SYN-ACK.
            if !arrived.has(Flags::ACK) || (is_asked && is_ours) {
                return Verdict::Drop(DropReason::OutOfWindow);
            }
            if is_asked && flow.syns > 0 {
                flow.retransmit = flow.retransmit.min(now + STALE_RETRY);
            }
            let port = own::emit_reset_at(flow, Side::Backend, arrived.ack, link, packet);
            self.arm(slot);
            return port.map_or(Verdict::Drop(DropReason::OutOfWindow), Verdict::Transmit);
        }
        let mss = arrived.options.mss.map_or(u32::MAX, u32::from);
        if mss < flow.proxy_header_len() {
            let port = own::emit_reset_at(flow, Side::Backend, arrived.ack, link, packet);
            self.fail(slot, FailReason::ProxyHeader, now);
            return port.map_or(Verdict::Consumed, Verdict::Transmit);
        }
        if flow.is_pass_through() {
            self.pass_syn_ack(slot, packet, headers, arrived, context, now)
        } else {
            self.answer_syn_ack(slot, packet, arrived, link, now)
        }
    }

    /// Proxied: the backend is open. Our ACK, with the PROXY header if there is one, takes the SYN-ACK's frame.
    fn answer_syn_ack(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        arrived: &Arrived,
        link: &Link,
        now: Instant,
    ) -> Verdict {
        let Some(flow) = self.table.get_mut(slot) else { return Verdict::Miss };
        agree(flow, arrived);
        self.counters.backend_without_window_scale +=
            u64::from(flow.offer.window_scale.is_some() && arrived.options.window_scale.is_none());
        self.counters.backend_without_timestamps += u64::from(flow.blank_timestamps);
        self.counters.backend_without_sack += u64::from(flow.blank_sack);
        flow.active = now;
        flow.pending.take(Pending::SYN);
        let port = if flow.proxy == ProxyHeader::Due {
            flow.proxy = ProxyHeader::Sent(1);
            flow.retransmit = now + self.limits.timeouts.backend_syn;
            own::emit_proxy_header(flow, link, packet)
        } else {
            own::emit_ack(flow, Side::Backend, link, packet)
        };
        self.on_established(slot, Signal::Opened, now);
        self.release_held(slot);
        port.map_or(Verdict::Consumed, Verdict::Transmit)
    }

    /// Pass-through: the client gets the backend's SYN-ACK, in its own numbering.
    pub(super) fn pass_syn_ack(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(flow) = self.table.get_mut(slot) else { return Verdict::Miss };
        let Some(link) = context.backends.link(flow.backend_id) else {
            return Verdict::Drop(DropReason::NoNeighbor);
        };
        if flow.state == State::SynSent {
            agree(flow, arrived);
            flow.active = now;
            flow.pending.take(Pending::SYN);
        }
        let client_link = flow.client_link;
        if let Err(reason) =
            translate(flow, Side::Backend, arrived, &client_link, packet, headers, context.ingress.mtu)
        {
            return Verdict::Drop(reason);
        }
        let l4 = client_link.header().len() + crate::egress::ip_header_len(flow.client_key.source.addr);
        if let Some(bytes) = packet.bytes_mut().get_mut(l4..) {
            clamp_mss(bytes, own::mss_max(flow, link));
        }
        flow.client.on_acked(flow.client.next, u32::from(arrived.window));
        let next = flow.state.next(Signal::SynAckPassed);
        self.set_state(slot, next);
        self.arm(slot);
        Verdict::Transmit(client_link.port)
    }

    /// Both handshakes are complete.
    pub(super) fn on_established(&mut self, slot: u32, signal: Signal, now: Instant) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        let next = flow.state.next(signal);
        let (tag, key, backend) = (flow.tag, flow.client_key, flow.backend_id);
        let connect_time = now - flow.connecting;
        self.set_state(slot, next);
        self.counters.established += 1;
        self.arm(slot);
        let flow = self.id(slot);
        self.push_event(Event::Established { flow, tag, key, backend, connect_time });
    }
}

/// Takes what the backend's SYN-ACK says into the translation of both directions.
fn agree(flow: &mut Flow, arrived: &Arrived) {
    let (offer, options) = (flow.offer, &arrived.options);
    let scales = offer.window_scale.zip(options.window_scale);
    let timestamps = options.timestamps.filter(|_| offer.timestamps);
    let first = arrived.seq.wrapping_add(1);
    flow.backend_isn = arrived.seq;
    flow.has_timestamps = timestamps.is_some();
    let backend = &mut flow.backend;
    backend.traffic = Traffic::default();
    backend.ts_last = timestamps.map_or(0, |timestamps| timestamps.value);
    (backend.next, backend.acked, backend.edge) = (first, first, first);
    backend.scale = scales.map_or(0, |(_, backend)| backend);
    flow.client.scale_told = scales.map_or(0, |(client, _)| client);
    match flow.handshake {
        HandshakeKind::Proxied { isn, ts, scale } => {
            backend.scale_told = scale;
            backend.seq_add = isn.wrapping_add(1).wrapping_sub(first);
            backend.ts_add = ts.wrapping_sub(backend.ts_last);
            flow.blank_timestamps = offer.timestamps && timestamps.is_none();
            flow.blank_sack = offer.sack_permitted && !options.sack_permitted;
            flow.blank_ecn = offer.ecn && !arrived.has(Flags::ECE);
        }
        HandshakeKind::PassThrough => {
            backend.scale_told = backend.scale;
            (backend.seq_add, backend.ts_add) = (0, 0);
            flow.client.scale = flow.client.scale_told;
        }
    }
    // The backend was told the client's window in our SYN.
    let told = u32::from(flow.client.window_told(flow.client.window)) << flow.client.scale_told;
    flow.backend.on_acked(first, told.max(1));
    // What it sends before its first ACK carries the window that its SYN-ACK named, not scaled.
    flow.backend.window =
        u32::from(arrived.window).min(0xffff).checked_shr(u32::from(flow.backend.scale)).unwrap_or(0) as u16;
}
