//! The end of flows, and time: FIN and RST complete, idle and handshake timeouts, eviction, what is sent by a timer.
//!
//! Owns: leaving the table, events of the end, the deadline of each state, the queue of packets of our own. Does
//! not own: which segment ends a flow (`forward`).

use core::time::Duration;

use super::flow::{Flow, Pending, ProxyHeader};
use super::state::{Class, Side, Signal, State};
use super::{Backends, CloseReason, Event, FailReason, Splice, Timeouts, own};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::time::Instant;

/// PROXY headers sent before the backend is given up: 250 ms doubling, 15 s in all.
const PROXY_HEADERS_MAX: u8 = 6;
/// Half-open flows that one `open` may evict. One is enough; the second covers a flow that held no slot.
const EVICTIONS_MAX: usize = 2;

impl Splice {
    /// Ends a flow for its owner: the last event, and a state that lingers.
    pub(super) fn close(&mut self, slot: u32, signal: Signal, reason: CloseReason, now: Instant) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        if flow.state.class() == Class::Lingering {
            return;
        }
        let next = flow.state.next(signal);
        flow.pending.clear();
        flow.active = now;
        self.report_closed(slot, reason, now);
        self.set_state(slot, next);
        self.arm(slot);
    }

    /// Both FINs are acknowledged.
    pub(super) fn finish(&mut self, slot: u32, now: Instant) {
        self.report_closed(slot, CloseReason::Finished, now);
        if let Some(flow) = self.table.get_mut(slot) {
            flow.active = now;
        }
        self.set_state(slot, State::TimeWait);
        self.arm(slot);
    }

    fn report_closed(&mut self, slot: u32, reason: CloseReason, now: Instant) {
        let id = self.id(slot);
        let Some(flow) = self.table.get(slot) else { return };
        let backend = flow.backend_id;
        let event = Event::Closed {
            flow: id,
            tag: flow.tag,
            key: flow.client_key,
            backend,
            reason,
            to_backend: flow.client.traffic,
            to_client: flow.backend.traffic,
            lifetime: now - flow.opened,
        };
        self.count_backend(backend, false);
        self.push_event(event);
    }

    /// Ends a flow with RST to both ends, as far as they know of it.
    pub(super) fn reset(&mut self, slot: u32, reason: CloseReason, now: Instant) {
        let Some(flow) = self.table.get(slot) else { return };
        let state = flow.state;
        self.close(slot, Signal::Reset, reason, now);
        // A SYN-ACK that is still to come is answered with RST by CLOSED.
        let is_backend_open = !matches!(state, State::SynSent | State::ExpectBackend);
        if is_backend_open {
            self.want(slot, Pending::RESET_BACKEND);
        }
        // In SYN-RECEIVED nobody has proved to be the client.
        if state != State::SynReceived {
            self.want(slot, Pending::RESET_CLIENT);
        }
    }

    /// Forgets a flow. Its `Closed` event has been given, or is by the caller.
    pub(super) fn remove(&mut self, slot: u32) {
        self.wheel.cancel(slot);
        if let Some(flow) = self.table.remove(slot) {
            self.release_port(flow.backend_id, flow.lease);
            if let Some(watch) = &self.watch {
                watch.freed(&flow.client_key);
            }
        }
    }

    /// Makes a free slot: the oldest lingering flow goes, else the oldest half-open one.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        for _ in 0..EVICTIONS_MAX {
            if let Some(slot) = self.table.oldest_lingering() {
                self.counters.evicted_time_wait += 1;
                self.remove(slot);
            } else {
                self.evict_half_open(now);
            }
            if !self.table.is_full() {
                return true;
            }
        }
        false
    }

    /// Gives up the oldest half-open flow.
    pub(super) fn evict_half_open(&mut self, now: Instant) {
        if let Some(slot) = self.table.oldest_half_open() {
            self.counters.evicted_half_open += 1;
            self.report_closed(slot, CloseReason::Evicted, now);
            self.remove(slot);
        }
    }

    /// Sets the flow's timer to its deadline.
    pub(super) fn arm(&mut self, slot: u32) {
        if let Some(flow) = self.table.get(slot) {
            self.wheel.schedule(slot, deadline(flow, &self.limits.timeouts));
        }
    }

    /// A flow's timer fired: the deadline has moved on with its traffic, or has come.
    pub(super) fn on_timer(&mut self, slot: u32, now: Instant) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        if now < deadline(flow, &self.limits.timeouts) {
            self.arm(slot);
            return;
        }
        match flow.state {
            State::SynSent => self.on_syn_timer(slot, now),
            State::ExpectBackend => self.reset(slot, CloseReason::HandshakeTimeout, now),
            State::SynReceived => self.reset(slot, CloseReason::HandshakeTimeout, now),
            State::TimeWait | State::Closed => self.remove(slot),
            _ if now < idle_deadline(flow, &self.limits.timeouts) => self.on_header_timer(slot, now),
            _ => self.reset(slot, CloseReason::IdleTimeout, now),
        }
    }

    fn on_syn_timer(&mut self, slot: u32, now: Instant) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        if flow.syns >= self.limits.backend_syns_max {
            self.fail(slot, FailReason::Timeout, now);
            return;
        }
        // Until the SYN has really left, which sets the next wait.
        flow.retransmit = now + self.limits.timeouts.backend_syn;
        self.want(slot, Pending::SYN);
        self.arm(slot);
    }

    fn on_header_timer(&mut self, slot: u32, now: Instant) {
        let Some(flow) = self.table.get_mut(slot) else { return };
        let ProxyHeader::Sent(times) = flow.proxy else { return };
        if times >= PROXY_HEADERS_MAX {
            self.reset(slot, CloseReason::BackendFailed, now);
            return;
        }
        flow.retransmit = now + self.limits.timeouts.backend_syn;
        self.want(slot, Pending::PROXY_HEADER);
        self.arm(slot);
    }

    /// Builds the PROXY header, sets its timer and lets held data follow.
    pub(super) fn transmit_proxy_header(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        backends: &Backends,
        now: Instant,
    ) -> Option<PortId> {
        let first_wait = self.limits.timeouts.backend_syn;
        let flow = self.table.get_mut(slot)?;
        flow.pending.take(Pending::PROXY_HEADER);
        let times = match flow.proxy {
            ProxyHeader::None | ProxyHeader::Acked => return None,
            ProxyHeader::Due => 0,
            ProxyHeader::Sent(times) => times,
        };
        self.counters.headers_retransmitted += u64::from(times > 0);
        flow.proxy = ProxyHeader::Sent(times.saturating_add(1));
        flow.retransmit = now + first_wait * (1 << times.min(6));
        let port = own::emit_proxy_header(flow, backends.link(flow.backend_id)?, packet);
        self.arm(slot);
        self.release_held(slot);
        port
    }

    /// Notes that a flow has a packet of ours to send.
    pub(super) fn want(&mut self, slot: u32, pending: Pending) {
        if let Some(flow) = self.table.get_mut(slot) {
            flow.pending.insert(pending);
            self.push_pending(slot);
        }
    }

    /// Builds one packet of ours, of one flow. `None` when it has none, or none that can leave now.
    pub(super) fn transmit_own(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        backends: &Backends,
        now: Instant,
    ) -> Option<PortId> {
        let flow = self.table.get_mut(slot)?;
        let backend_link = |flow: &Flow| -> Option<Link> { backends.link(flow.backend_id).copied() };
        if flow.pending.contains(Pending::SYN) {
            self.transmit_syn(slot, packet, backends, now)
        } else if flow.pending.contains(Pending::PROXY_HEADER) {
            self.transmit_proxy_header(slot, packet, backends, now)
        } else if flow.pending.take(Pending::RESET_BACKEND) {
            own::emit_reset(flow, Side::Backend, &backend_link(flow)?, packet)
        } else if flow.pending.take(Pending::RESET_CLIENT) {
            let link = flow.client_link;
            own::emit_reset(flow, Side::Client, &link, packet)
        } else {
            None
        }
    }
}

/// When a silent flow of this state ends.
fn idle_deadline(flow: &Flow, timeouts: &Timeouts) -> Instant {
    let silence: Duration = match flow.state {
        State::SynSent | State::ExpectBackend => return flow.retransmit,
        State::SynReceived => timeouts.handshake,
        State::Established if flow.is_suspect => timeouts.half_closed,
        State::Established => timeouts.established,
        State::TimeWait => timeouts.time_wait,
        State::Closed => timeouts.reset,
        State::FinWait(_) | State::CloseWait(_) | State::Closing | State::LastAck(_) => timeouts.half_closed,
    };
    flow.active + silence
}

/// When something is due for a flow, if nothing more is heard of it.
fn deadline(flow: &Flow, timeouts: &Timeouts) -> Instant {
    let idle = idle_deadline(flow, timeouts);
    match flow.proxy {
        ProxyHeader::Sent(_) if flow.state.class() == Class::Established => idle.min(flow.retransmit),
        _ => idle,
    }
}
