//! Opening the backend side of a flow: source address and port, first numbers, the next backend after a failure.
//!
//! Owns: new records, claims on ports. Does not own: the packets of the handshake (`handshake`), the choice of
//! backends (the caller's).

use core::time::Duration;

use super::flow::{Flow, Half, HandshakeKind, Offer, Pending, ProxyHeader};
use super::state::{Class, Side, Signal, State};
use super::{
    BackendId, BackendTarget, Backends, Event, FailReason, FlowId, Handshake, OpenRequest, Source, Splice,
};
use crate::flow::{Endpoint, FlowKey, HashKey};
use crate::ports::PortLease;
use crate::time::Instant;
use crate::verdict::DropReason;

/// How long the owner may take to answer `BackendFailed`. It decides in the same turn; the limit only catches one
/// that never does.
const DECISION_TIMEOUT: Duration = Duration::from_secs(1);
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
    /// Opens a flow. It is announced before an earlier one that lingers makes way, so that its key is never unknown.
    pub(super) fn open_flow(
        &mut self,
        request: &OpenRequest,
        backends: &Backends,
        now: Instant,
    ) -> Result<FlowId, DropReason> {
        let opened_before = self.counters.opened;
        if let Some(watch) = &self.watch {
            watch.opened(&request.key);
        }
        let result = self.open_in_table(request, backends, now);
        if self.counters.opened == opened_before
            && let Some(watch) = &self.watch
        {
            watch.freed(&request.key);
        }
        result
    }

    fn open_in_table(
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
