//! Opening the backend side of a flow: source address and port, our SYN, the backend's answer, the next backend.
//!
//! Owns: everything until a flow is ESTABLISHED. Does not own: the handshake with the client (`syncookie`), the
//! choice of backends (the caller's).

use core::time::Duration;

use super::flow::{Flow, Half, HandshakeKind, Offer, Pending, ProxyHeader, is_before};
use super::segment::Arrived;
use super::state::{Class, Side, Signal, State};
use super::translate::{clamp_mss, translate};
use super::{
    BackendId, BackendTarget, Backends, CloseReason, Context, Event, FailReason, FlowId, Handshake,
    OpenRequest, Source, Splice, Traffic, Verdict, own,
};
use crate::flow::{Endpoint, FlowKey, HashKey};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::ports::PortLease;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::tcp::Flags;

/// How long the owner may take to answer `BackendFailed`. It decides in the same turn; the limit only catches one
/// that never does.
const DECISION_TIMEOUT: Duration = Duration::from_secs(1);
/// After a backend's stale connection was reset, our SYN goes out again this soon instead of after a full wait.
const STALE_RETRY: Duration = Duration::from_millis(2);
/// Ports tried that another backend id with the same endpoint holds.
const PORT_TRIES_MAX: usize = 16;
/// Lingering flows looked for when all ports of a backend are taken.
const RECLAIM_PROBES_MAX: usize = 1024;
/// RFC 6528 §3: the clock in initial sequence numbers ticks every 4 microseconds.
const ISN_TICK_NANOS: u64 = 4_000;

/// The backend side of a flow before its first packet.
struct Claim {
    backend_key: FlowKey,
    lease: Option<PortLease>,
    is_transparent: bool,
    proxy: ProxyHeader,
}

impl Splice {
    pub(super) fn open_flow(
        &mut self,
        request: &OpenRequest,
        backends: &Backends,
        now: Instant,
    ) -> Result<FlowId, DropReason> {
        if let Some((slot, side)) = self.table.find(&request.key) {
            let is_lingering =
                self.table.get(slot).is_some_and(|flow| flow.state.class() == Class::Lingering);
            match side {
                _ if is_lingering => self.remove(slot),
                Side::Client => return Ok(self.id(slot)),
                // A client that is itself the backend of a transparent flow, on the same port.
                Side::Backend => return Err(DropReason::NoPort),
            }
        }
        if self.is_draining {
            return Err(DropReason::Draining);
        }
        let target = self.target(request.backend, backends)?;
        if self.table.counts().half_open >= self.limits.half_open_max {
            self.evict_half_open(now);
        }
        let claim = self.claim(request.backend, target, &request.key)?;
        if self.table.is_full() && !self.make_room(now) {
            self.release_port(request.backend, claim.lease);
            return Err(DropReason::FlowTableFull);
        }
        let mut flow = new_flow(request, &claim, now);
        start(&mut flow, &self.keys.isn, self.limits.timeouts.backend_syn, now);
        let (lease, backend) = (flow.lease, flow.backend_id);
        let Some(slot) = self.table.insert(flow) else {
            self.release_port(backend, lease);
            return Err(DropReason::NoPort);
        };
        self.counters.opened += 1;
        self.wheel.skip_to(now);
        self.count_backend(backend, true);
        self.push_pending(slot);
        self.arm(slot);
        let flow = self.id(slot);
        self.push_event(Event::Opened { flow, tag: request.tag, backend });
        Ok(flow)
    }

    pub(super) fn retry_flow(
        &mut self,
        id: FlowId,
        backend: BackendId,
        backends: &Backends,
        now: Instant,
    ) -> Result<(), DropReason> {
        let slot = self.slot(id).ok_or(DropReason::NoFlow)?;
        let flow = self.table.get(slot).ok_or(DropReason::NoFlow)?;
        if flow.state != State::ExpectBackend {
            return Err(DropReason::NoFlow);
        }
        let key = flow.client_key;
        let (old_backend, old_lease) = (flow.backend_id, flow.lease);
        let target = self.target(backend, backends)?;
        let claim = self.claim(backend, target, &key)?;
        if !self.table.rekey_backend(slot, claim.backend_key) {
            self.release_port(backend, claim.lease);
            return Err(DropReason::NoPort);
        }
        self.release_port(old_backend, old_lease);
        self.count_backend(old_backend, false);
        self.count_backend(backend, true);
        self.set_state(slot, State::ExpectBackend.next(Signal::Retry));
        let flow = self.table.get_mut(slot).ok_or(DropReason::NoFlow)?;
        flow.backend_id = backend;
        flow.lease = claim.lease;
        flow.is_transparent = claim.is_transparent;
        flow.proxy = claim.proxy;
        start(flow, &self.keys.isn, self.limits.timeouts.backend_syn, now);
        self.push_pending(slot);
        self.arm(slot);
        Ok(())
    }

    fn target<'a>(&self, id: BackendId, backends: &'a Backends) -> Result<&'a BackendTarget, DropReason> {
        let target =
            backends.target(id).filter(|_| self.limits.has_backend(id)).ok_or(DropReason::NoBackend)?;
        if target.link.is_none() { Err(DropReason::NoNeighbor) } else { Ok(target) }
    }

    /// Takes an address and port towards a backend. A lingering flow in the way is removed: its time was a courtesy.
    fn claim(
        &mut self,
        id: BackendId,
        target: &BackendTarget,
        client: &FlowKey,
    ) -> Result<Claim, DropReason> {
        let key_for = |source: Endpoint| FlowKey {
            protocol: client.protocol,
            source: target.endpoint,
            destination: source,
        };
        let proxy = if target.proxy_protocol { ProxyHeader::Due } else { ProxyHeader::None };
        let addrs = match &target.source {
            Source::Transparent => {
                if client.source.addr.is_ipv4() != target.endpoint.addr.is_ipv4() {
                    return Err(DropReason::NoBackend);
                }
                let backend_key = key_for(client.source);
                return if self.is_key_free(&backend_key) {
                    Ok(Claim { backend_key, lease: None, is_transparent: true, proxy })
                } else {
                    Err(DropReason::NoPort)
                };
            }
            Source::Snat(addrs) => addrs,
        };
        for turn in 0..addrs.len() {
            let index = (self.counters.opened as usize).wrapping_add(turn) % addrs.len();
            let addr = addrs[index];
            if addr.is_ipv4() != target.endpoint.addr.is_ipv4() {
                continue;
            }
            let key_of = |port| key_for(Endpoint { addr, port });
            if let Some(lease) = self.take_port(id, index as u8, key_of) {
                let backend_key = key_of(lease.port);
                return Ok(Claim { backend_key, lease: Some(lease), is_transparent: false, proxy });
            }
        }
        Err(DropReason::NoPort)
    }

    fn take_port(&mut self, id: BackendId, addr: u8, key_of: impl Fn(u16) -> FlowKey) -> Option<PortLease> {
        for _ in 0..PORT_TRIES_MAX {
            let Some(lease) = self.ports.take(id, addr) else {
                return self.reclaim_port(id, addr, key_of);
            };
            if self.is_key_free(&key_of(lease.port)) {
                return Some(lease);
            }
            self.ports.release(id, lease);
        }
        None
    }

    /// All ports are taken: looks for the lingering flow that has had its port longest.
    fn reclaim_port(
        &mut self,
        id: BackendId,
        addr: u8,
        key_of: impl Fn(u16) -> FlowKey,
    ) -> Option<PortLease> {
        let mut port = self.ports.oldest(id, addr)?;
        for _ in 0..RECLAIM_PROBES_MAX {
            let key = key_of(port);
            if self.table.find(&key).is_some() && self.is_key_free(&key) {
                return self
                    .ports
                    .take(id, addr)
                    .filter(|lease| self.table.find(&key_of(lease.port)).is_none());
            }
            port = self.ports.after(port);
        }
        None
    }

    /// Whether no flow has this key, after removing one that only lingers.
    fn is_key_free(&mut self, key: &FlowKey) -> bool {
        let Some((slot, _)) = self.table.find(key) else { return true };
        let is_lingering = self.table.get(slot).is_some_and(|flow| flow.state.class() == Class::Lingering);
        if is_lingering {
            self.counters.evicted_time_wait += 1;
            self.remove(slot);
        }
        is_lingering
    }

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
            // Counted even when it cannot leave now: the timer tries again, and gives up in time.
            self.counters.syns_retransmitted += u64::from(flow.syns > 0);
            flow.retransmit = now + wait * (1 << flow.syns.min(6));
            flow.syns = flow.syns.saturating_add(1);
        }
        let port = own::emit_syn(flow, backends.link(flow.backend_id)?, packet);
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
        let (tag, backend) = (flow.tag, flow.backend_id);
        let connect_time = now - flow.connecting;
        self.set_state(slot, next);
        self.counters.established += 1;
        self.arm(slot);
        let flow = self.id(slot);
        self.push_event(Event::Established { flow, tag, backend, connect_time });
    }

    /// Tells the owner that held frames may go, when they may.
    pub(super) fn release_held(&mut self, slot: u32) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        if flow.is_holding && flow.is_ready_for_data() && flow.state.class() != Class::HalfOpen {
            flow.is_holding = false;
            let flow = self.id(slot);
            self.push_event(Event::Release { flow });
        }
    }

    /// The present backend cannot be opened; the owner decides.
    pub(super) fn fail(&mut self, slot: u32, reason: FailReason, now: Instant) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        let next = flow.state.next(Signal::BackendFailed);
        flow.retransmit = now + DECISION_TIMEOUT;
        flow.pending.clear();
        let (tag, backend) = (flow.tag, flow.backend_id);
        self.set_state(slot, next);
        self.arm(slot);
        let flow = self.id(slot);
        self.push_event(Event::BackendFailed { flow, tag, backend, reason });
    }
}

/// Numbers for a first SYN to `flow.backend_key`: ours when the source is ours, the client's when it is kept.
fn start(flow: &mut Flow, isn_key: &HashKey, backend_syn: Duration, now: Instant) {
    let header_len = flow.proxy_header_len();
    if flow.is_transparent {
        flow.iss = flow.client_isn.wrapping_sub(header_len);
        flow.client.ts_add = 0;
    } else {
        let hash = flow.backend_key.hash(isn_key);
        flow.iss = (hash as u32).wrapping_add((now.as_nanos() / ISN_TICK_NANOS) as u32);
        let clock = ((hash >> 32) as u32).wrapping_add(now.as_millis() as u32);
        flow.client.ts_add = clock.wrapping_sub(flow.client.ts_last);
    }
    flow.client.seq_add = flow.iss.wrapping_add(header_len).wrapping_sub(flow.client_isn);
    flow.syns = 0;
    flow.connecting = now;
    flow.active = now;
    flow.retransmit = now + backend_syn;
    flow.pending.clear();
    flow.pending.insert(Pending::SYN);
}

/// The record of a new flow; [`start`] adds the numbers towards the backend.
fn new_flow(request: &OpenRequest, claim: &Claim, now: Instant) -> Flow {
    let first = request.client_isn.wrapping_add(1);
    let mut client =
        Half { next: first, acked: first, edge: first, window: request.client_window, ..Half::default() };
    let mut backend = Half::default();
    let (handshake, has_timestamps) = match request.handshake {
        Handshake::Proxied { isn, window, window_scale, timestamps } => {
            client.on_acked(first, u32::from(window));
            client.ts_last = timestamps.map_or(0, |timestamps| timestamps.value);
            client.scale = request.window_scale.unwrap_or(0);
            // Until the backend answers, only a RST is sent to the client: at this number.
            backend.next = isn.wrapping_add(1);
            backend.acked = backend.next;
            let ts = timestamps.map_or(0, |timestamps| timestamps.echo);
            let scale = window_scale.unwrap_or(0);
            (HandshakeKind::Proxied { isn, ts, scale }, timestamps.is_some())
        }
        Handshake::PassThrough { timestamp } => {
            client.ts_last = timestamp.unwrap_or(0);
            (HandshakeKind::PassThrough, timestamp.is_some())
        }
    };
    Flow {
        state: State::SynSent,
        pending: Pending::default(),
        proxy: claim.proxy,
        syns: 0,
        is_holding: false,
        is_suspect: false,
        has_timestamps: false,
        blank_timestamps: false,
        blank_sack: false,
        blank_ecn: false,
        is_transparent: claim.is_transparent,
        client_key: request.key,
        backend_key: claim.backend_key,
        client_link: request.client_link,
        client,
        backend,
        handshake,
        offer: Offer {
            mss: request.mss,
            window_scale: request.window_scale,
            sack_permitted: request.sack_permitted,
            timestamps: has_timestamps,
            ecn: request.ecn,
        },
        backend_id: request.backend,
        lease: claim.lease,
        client_isn: request.client_isn,
        backend_isn: 0,
        iss: 0,
        challenged_ms: (now.as_millis() as u32).wrapping_sub(super::forward::CHALLENGE_INTERVAL_MS),
        tag: request.tag,
        opened: now,
        connecting: now,
        active: now,
        retransmit: now,
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
