//! UDP forwarding with per-flow state: datagrams of one client to one listener go to one backend and back.
//!
//! Owns: flows, their table and source ports, idle timeouts, the amplification filter, the PROXY header in front of
//! payload. Does not own: which backend a flow gets, limits per source (the owner applies them before `handle`,
//! and again before [`UdpForwarder::open`], which is where state is spent), reassembly (`fragment`).
//!
//! ```text
//!  client --> listener   Miss: owner filters, limits, picks a backend, opens   --> source:port of ours --> backend
//!         <--            flow found by the reversed key                        <--
//! ```
//! A UDP source may be forged, so a flow is *one-way* until the backend answers: it lives shortly and is evicted,
//! oldest first, when the table is full. A *two-way* flow is never evicted.
//!
//! **Amplification.** A forged source makes our backend send to a victim. Until a flow has shown a conversation
//! ([`ROUNDS_VALIDATED`] times the client spoke again after an answer) answers may hold at most
//! `amplification_factor` times the bytes of the requests; more is dropped and counted. Requests from source ports
//! that reflected attacks come from are refused by `open`.
//!
//! Order of calls: [`UdpForwarder::handle`]; on [`Verdict::Miss`] perhaps `open` and `handle` again;
//! [`UdpForwarder::handle_timeout`]; [`UdpForwarder::poll_event`] until `None`. A transmitted packet may be longer
//! than its port's MTU if its sender allowed that; `fragment::split` cuts it.
//! RFC 768, RFC 4787 (timeouts, REQ-5), RFC 6935 (zero checksums).

pub mod event;
mod flow;
#[doc(hidden)]
pub mod fuzz;
mod limits;
#[cfg(test)]
mod tests;
mod translate;

use core::time::Duration;
use std::collections::VecDeque;

pub use event::{UdpCloseReason, UdpClosed, UdpCounters, UdpCounts, UdpOpenRequest};
pub use limits::{PortSet, REFLECTION_PORTS, UdpLimits, UdpProxyHeader};

use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::flow_table::{Class, Record, Side, Table};
use crate::icmp::{self, Quote};
use crate::link::Link;
use crate::packet::PacketBuf;
use crate::ports::{PortLease, Ports};
use crate::splice::{
    BackendId, BackendTarget, Backends, Context, EVENTS_MAX, FlowId, Source, SpliceKeys, Verdict,
};
use crate::time::Instant;
use crate::timer_wheel::TimerWheel;
use crate::verdict::DropReason;
use crate::wire::checksum::{self, L4Checksum};
use crate::wire::icmp::{Error, ErrorKind};
use crate::wire::{Headers, be32};
use flow::Flow;
use translate::translate;

/// How often the client must have spoken again after an answer before the amplification filter trusts it. A sender
/// that forges its address sees no answers; it can guess their times, but gains 3 more packets' worth of them.
pub const ROUNDS_VALIDATED: u8 = 3;

/// One worker's UDP flows.
#[derive(Debug)]
pub struct UdpForwarder {
    limits: UdpLimits,
    table: Table<Flow>,
    wheel: TimerWheel,
    ports: Ports,
    counters: UdpCounters,
    events: VecDeque<UdpClosed>,
    is_draining: bool,
}

impl UdpForwarder {
    /// Takes all memory that `limits` speak of. Control path.
    pub fn new(limits: UdpLimits, keys: SpliceKeys) -> Self {
        Self {
            table: Table::new(limits.flows_max, keys.table),
            wheel: TimerWheel::new(limits.flows_max, Instant::ZERO),
            ports: Ports::new(limits.ports, limits.backends_max),
            counters: UdpCounters::default(),
            events: VecDeque::with_capacity(EVENTS_MAX),
            is_draining: false,
            limits,
        }
    }

    /// Handles one datagram of either side: rewrites it in place, or says that it has no flow.
    pub fn handle(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(key) = headers.flow_key().filter(|key| key.protocol == Protocol::Udp) else {
            return Verdict::Miss;
        };
        let Some((slot, side)) = self.table.find(&key) else { return Verdict::Miss };
        match self.forward((slot, side), packet, headers, context, now) {
            Ok(verdict) => verdict,
            Err(reason) => Verdict::Drop(reason),
        }
    }

    fn forward(
        &mut self,
        (slot, side): (u32, Side),
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        context: &Context<'_>,
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        if headers.fragment.is_some_and(|fragment| fragment.offset != 0 || fragment.more) {
            return Err(DropReason::Fragment);
        }
        let whole = Headers { fragment: None, ..*headers };
        match context.ingress.checksum {
            L4Checksum::Invalid => return Err(DropReason::L4Checksum),
            L4Checksum::Partial if !checksum::complete_l4(&whole, packet.bytes_mut()) => {
                return Err(DropReason::L4Checksum);
            }
            _ => {}
        }
        let bytes = u64::try_from(headers.payload_len()).unwrap_or(0);
        let factor = self.limits.amplification_factor;
        let flow = self.table.get_mut(slot).ok_or(DropReason::NoFlow)?;
        if side == Side::Backend && !flow.may_answer(bytes, factor) {
            return Err(DropReason::UdpAmplification);
        }
        let link = match side {
            Side::Client => context.backends.link(flow.backend_id).copied().ok_or(DropReason::NoNeighbor)?,
            Side::Backend => flow.client_link,
        };
        if side == Side::Client {
            let ingress = &context.ingress;
            let header = packet.bytes().get(..headers.link_len).unwrap_or(&[]);
            let back = Link::reply_to(ingress.port, ingress.mtu, header);
            if let Some(back) = back.filter(|back| *back != flow.client_link) {
                flow.client_link = back;
                self.counters.client_moves += 1;
            }
        }
        match translate(flow, side, &link, packet, &whole, context.ingress.mtu) {
            Ok(()) => {}
            Err(DropReason::TooBig) => {
                return Ok(self.answer_too_big((slot, side), &link, packet, headers, context));
            }
            Err(reason) => return Err(reason),
        }
        let idle = if side == Side::Backend { self.limits.two_way } else { Duration::ZERO };
        let was_one_way = self.table.get(slot).is_some_and(|flow| flow.class() == Class::HalfOpen);
        let header = self.limits.proxy_header;
        self.table.update(slot, |flow| flow.remember(side, bytes, header, now));
        if was_one_way && idle > Duration::ZERO {
            self.wheel.schedule(slot, now + idle);
        }
        Ok(Verdict::Transmit(link.port))
    }

    fn answer_too_big(
        &mut self,
        (slot, side): (u32, Side),
        link: &Link,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        context: &Context<'_>,
    ) -> Verdict {
        let mut answer = || {
            let flow = self.table.get(slot)?;
            let key = *flow.key(side);
            let to = flow.key(side.other()).source.addr;
            let back = match side {
                Side::Client => flow.client_link,
                Side::Backend => *context.backends.link(flow.backend_id)?,
            };
            let header_len = if side == Side::Client { flow.header_len() as u32 } else { 0 };
            let mtu = icmp::mtu_for(u32::from(link.mtu) - header_len, to, key.source.addr)?;
            let second = be32(packet.bytes(), headers.l4 + 4)?;
            let payload_len = u16::try_from(headers.end - headers.l4).ok()?;
            icmp::emit(packet, &back, ErrorKind::TooBig { mtu }, &Quote { key, second, payload_len })
        };
        match answer() {
            Some(port) => {
                self.counters.too_big_sent += 1;
                Verdict::Transmit(port)
            }
            None => Verdict::Drop(DropReason::TooBig),
        }
    }

    /// Handles one ICMP error about a datagram that we sent: it is passed on to the side whose datagram it was.
    /// [`Verdict::Miss`] when it is no error, or about nothing of ours.
    pub fn handle_icmp(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        context: &Context<'_>,
    ) -> Verdict {
        let error = match Error::parse(packet.bytes(), headers) {
            Ok(Some(error)) if error.inner.flow.protocol == Protocol::Udp => error,
            Ok(_) => return Verdict::Miss,
            Err(reason) => return Verdict::Drop(reason),
        };
        let Some((slot, to)) = self.table.find(&error.inner.flow.reversed()) else { return Verdict::Miss };
        let mut pass = || {
            let flow = self.table.get(slot)?;
            let (at, key) = (flow.key(to).source.addr, *flow.key(to.other()));
            let kind = match error.kind {
                ErrorKind::TooBig { mtu } => {
                    ErrorKind::TooBig { mtu: icmp::mtu_for(mtu, at, key.source.addr)? }
                }
                kind => icmp::translate_kind(kind, at.is_ipv6(), key.source.addr.is_ipv6()),
            };
            let link = match to {
                Side::Client => *context.backends.link(flow.backend_id)?,
                Side::Backend => flow.client_link,
            };
            let second = be32(packet.bytes(), error.inner.l4 + 4)?;
            icmp::emit(packet, &link, kind, &Quote { key, second, payload_len: (second >> 16) as u16 })
        };
        pass().map_or(Verdict::Drop(DropReason::IcmpUnmatched), Verdict::Transmit)
    }

    /// Opens a flow. Its first datagram must then be given to [`UdpForwarder::handle`]. Opening a key that has a flow
    /// answers with that flow.
    ///
    /// # Errors
    /// `Draining`, `UdpAmplification` (the source port is one that reflected traffic comes from), `NoBackend`
    /// (unknown, or of the wrong family), `NoNeighbor`, `NoPort`, `FlowTableFull` (all flows are two-way).
    pub fn open(
        &mut self,
        request: &UdpOpenRequest,
        backends: &Backends,
        now: Instant,
    ) -> Result<FlowId, DropReason> {
        match self.table.find(&request.key) {
            Some((slot, Side::Client)) => return Ok(self.id(slot)),
            Some((_, Side::Backend)) => return Err(DropReason::NoPort),
            None if self.is_draining => return Err(DropReason::Draining),
            None => {}
        }
        if self.limits.reflection_ports.contains(request.key.source.port) {
            return Err(DropReason::UdpAmplification);
        }
        let id = request.backend;
        let is_known = id.0 < self.limits.backends_max;
        let target = backends.target(id).filter(|_| is_known).ok_or(DropReason::NoBackend)?;
        if target.link.is_none() {
            return Err(DropReason::NoNeighbor);
        }
        if self.table.is_full() && !self.evict_oldest(now) {
            return Err(DropReason::FlowTableFull);
        }
        let (backend_key, lease) = self.claim(id, target, &request.key, now)?;
        let flow = Flow::new(request, backend_key, lease, target.proxy_protocol, now);
        let Some(slot) = self.table.insert(flow) else {
            self.release(id, lease);
            return Err(DropReason::NoPort);
        };
        self.counters.opened += 1;
        self.wheel.skip_to(now);
        self.wheel.schedule(slot, now + self.limits.one_way);
        Ok(self.id(slot))
    }

    /// When [`UdpForwarder::handle_timeout`] should be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.poll_timeout()
    }

    /// Ends silent flows. Handles at most `budget` flows and returns how many it did; when that equals `budget`
    /// there may be more.
    pub fn handle_timeout(&mut self, now: Instant, budget: usize) -> usize {
        for done in 0..budget {
            let Some(slot) = self.wheel.poll_expired(now) else { return done };
            let Some(flow) = self.table.get(slot) else { continue };
            let idle = match flow.class() {
                Class::HalfOpen => self.limits.one_way,
                Class::Established | Class::Lingering => self.limits.two_way,
            };
            let deadline = flow.active + idle;
            if now < deadline {
                self.wheel.schedule(slot, deadline);
            } else {
                self.close(slot, UdpCloseReason::IdleTimeout, now);
            }
        }
        budget
    }

    /// The next flow that ended. Empty the queue once per turn.
    pub fn poll_event(&mut self) -> Option<UdpClosed> {
        self.events.pop_front()
    }

    /// While draining no flow is opened; live ones go on.
    pub fn set_draining(&mut self, is_draining: bool) {
        self.is_draining = is_draining;
    }

    /// How many flows there are.
    pub fn counts(&self) -> UdpCounts {
        let counts = self.table.counts();
        UdpCounts { one_way: counts.half_open, two_way: counts.established }
    }

    /// What was counted since `new`.
    pub fn counters(&self) -> &UdpCounters {
        &self.counters
    }

    fn id(&self, slot: u32) -> FlowId {
        FlowId { index: slot, generation: self.table.generation(slot) }
    }

    /// Takes a source towards the backend.
    fn claim(
        &mut self,
        id: BackendId,
        target: &BackendTarget,
        client: &FlowKey,
        now: Instant,
    ) -> Result<(FlowKey, Option<PortLease>), DropReason> {
        let is_v4 = target.endpoint.addr.is_ipv4();
        let key_for = |source| FlowKey { source: target.endpoint, destination: source, ..*client };
        let addrs = match &target.source {
            Source::Transparent if client.source.addr.is_ipv4() != is_v4 => {
                return Err(DropReason::NoBackend);
            }
            Source::Transparent => return Ok((key_for(client.source), None)),
            Source::Snat(addrs) => addrs,
        };
        // The second round comes after the oldest one-way flow gave up its port, perhaps one of these.
        for _ in 0..2 {
            for (index, addr) in addrs.iter().enumerate().filter(|(_, addr)| addr.is_ipv4() == is_v4) {
                let Some(lease) = self.ports.take(id, index as u8) else { continue };
                let key = key_for(Endpoint { addr: *addr, port: lease.port });
                if self.table.find(&key).is_none() {
                    return Ok((key, Some(lease)));
                }
                self.ports.release(id, lease);
            }
            if !self.evict_oldest(now) {
                break;
            }
        }
        Err(DropReason::NoPort)
    }

    fn evict_oldest(&mut self, now: Instant) -> bool {
        let Some(slot) = self.table.oldest_half_open() else { return false };
        self.counters.evicted += 1;
        self.close(slot, UdpCloseReason::Evicted, now);
        true
    }

    fn close(&mut self, slot: u32, reason: UdpCloseReason, now: Instant) {
        let id = self.id(slot);
        self.wheel.cancel(slot);
        let Some(flow) = self.table.remove(slot) else { return };
        self.release(flow.backend_id, flow.lease);
        let event = UdpClosed {
            flow: id,
            tag: flow.tag,
            key: flow.client_key,
            backend: flow.backend_id,
            reason,
            to_backend: flow.to_backend,
            to_client: flow.to_client,
            lifetime: now - flow.opened,
        };
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        } else {
            self.counters.events_lost += 1;
        }
    }

    fn release(&mut self, backend: BackendId, lease: Option<PortLease>) {
        if let Some(lease) = lease {
            self.ports.release(backend, lease);
        }
    }

    /// Panics when the parts of the forwarder disagree. For tests and fuzzing.
    #[doc(hidden)]
    pub fn check(&self) {
        self.table.check();
        let mut leases = 0;
        for (slot, flow) in self.table.iter() {
            assert!(self.wheel.is_scheduled(slot), "a flow without a timer would stay for ever");
            leases += usize::from(flow.lease.is_some());
        }
        assert_eq!(leases, self.ports.taken_count(), "ports leak");
    }
}
