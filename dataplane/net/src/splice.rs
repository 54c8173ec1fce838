//! Splice: joins a client's TCP connection to one opened towards a backend, packet by packet.
//!
//! After a SYN cookie validates, the backend is opened with our own SYN; from its SYN-ACK on, segments are not
//! terminated but rewritten: addresses, ports, sequence and acknowledgement numbers, SACK blocks, timestamps and
//! windows. Payload is never touched, copied or stored.
//!
//! ```text
//!            client numbering                          backend numbering
//!  client  --- seq c+1.. ----------->  splice  --- seq s+1+h.. ----------->  backend     s: our ISS (RFC 6528)
//!          <-- seq n+1.. ------------          <-- seq b+1.. --------------              h: PROXY header bytes
//!            n: the SYN cookie                         b: the backend's ISS
//! ```
//!
//! Owns: flows, their table, the source ports of one worker, timers, what is sent in our own name (SYN, ACK, RST,
//! PROXY header). Does not own: SYN cookies (`syncookie`), the choice of a backend, frames held for later (the
//! caller keeps them, see [`Verdict::Hold`]), neighbours ([`crate::neighbor`]).
//!
//! Order of calls, once per frame and turn: [`Splice::handle`] for each segment and [`Splice::handle_icmp`] for
//! each ICMP
//! error, [`Splice::open`] when `handle` says [`Verdict::Miss`] and the cookie validates (then `handle` again for
//! the same frame), [`Splice::handle_timeout`], [`Splice::poll_transmit`] until `None`, [`Splice::poll_event`]
//! until `None`.
//!
//! Cost: one keyed hash, one table probe and about 60 bytes written per segment; no allocation after `new`.
//! RFC 9293 (states, RST), 5961 (RST and SYN in a flow), 6528 (ISS), 7323 (window scale, timestamps), 2018 (SACK),
//! 6191 (TIME-WAIT), 5927 (ICMP).

mod close;
pub mod event;
mod flow;
mod forward;
#[doc(hidden)]
pub mod fuzz;
mod handshake;
mod icmp;
pub mod limits;
mod opening;
mod own;
mod segment;
mod state;
pub mod target;
#[cfg(test)]
mod tests;
mod translate;

pub use event::{CloseReason, Event, FailReason, Traffic};
pub use limits::{SpliceLimits, Timeouts};
pub use target::{BackendId, BackendTarget, Backends, PortRange, Source};

use std::collections::VecDeque;
use std::sync::Arc;

use segment::Arrived;
use state::{Class, Side, State};

use crate::flow::{FlowKey, FlowWatch, HashKey, Protocol};
use crate::flow_table::Table;
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::ports::{PortLease, Ports};
use crate::time::Instant;
use crate::timer_wheel::TimerWheel;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::checksum::{self, L4Checksum};

/// Events that wait for their owner. A frame makes at most 3, a burst 64 frames, a turn a few bursts and its timers;
/// the owner empties the queue every turn. What finds no room is lost and counted (`events_lost`).
pub const EVENTS_MAX: usize = 8_192;

/// A flow of one [`Splice`], with the generation of its slot: an id kept after the flow ended names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl FlowId {
    /// The slot in the flow table; below `SpliceLimits::flows_max`. For arrays that run beside the table.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Transmit it (rewritten) on this port.
    Transmit(PortId),
    /// Drop it.
    Drop(DropReason),
    /// Keep it (unchanged) until [`Event::Release`] or [`Event::Closed`] of this flow, then pass it to `handle`
    /// again in the order it came; when there is no room, drop it: the client retransmits.
    Hold(FlowId),
    /// It did its work; release the frame.
    Consumed,
    /// It belongs to no flow here.
    Miss,
}

/// How a flow's handshake with the client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The client has completed the handshake with us (SYN cookie or half-open table).
    Proxied {
        /// Initial sequence number of our SYN-ACK: the cookie; `ack - 1` of the client's ACK.
        isn: u32,
        /// Window field of our SYN-ACK (never scaled), in bytes.
        window: u16,
        /// The window scale our SYN-ACK carried; `None` when it carried none.
        window_scale: Option<u8>,
        /// Timestamps of the client's ACK, when the handshake agreed on them.
        timestamps: Option<HandshakeTimestamps>,
    },
    /// The backend answers: its SYN-ACK is passed on to the client, whose ACK completes both handshakes.
    PassThrough {
        /// TSval of the client's SYN, when it carried timestamps.
        timestamp: Option<u32>,
    },
}

/// The timestamps option of the ACK that completed a proxied handshake (RFC 7323).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeTimestamps {
    /// TSval: the client's clock.
    pub value: u32,
    /// TSecr: the TSval of our SYN-ACK.
    pub echo: u32,
}

/// A new flow.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest {
    /// Client to listener, as on the wire.
    pub key: FlowKey,
    /// The way back to the client: `Link::reply_to` of its frame.
    pub client_link: Link,
    /// First choice of backend.
    pub backend: BackendId,
    /// The client's initial sequence number.
    pub client_isn: u32,
    /// The client's window field: of its ACK when proxied (scaled by its window scale), else of its SYN.
    pub client_window: u16,
    /// Largest segment the client takes, as it said (or the cookie kept), in bytes.
    pub mss: u16,
    /// The client's window scale, when it offered one and, if proxied, we took it up.
    pub window_scale: Option<u8>,
    /// Whether the client may send and take SACK (and, if proxied, we took it up).
    pub sack_permitted: bool,
    /// Whether the client asked for ECN (ECE and CWR on its SYN) and, if proxied, we took it up.
    pub ecn: bool,
    /// Who answers the client's SYN.
    pub handshake: Handshake,
    /// The caller's number for this flow, for example its listener; comes back in every event.
    pub tag: u32,
}

/// Where a frame came in.
#[derive(Clone, Copy, Debug)]
pub struct Ingress {
    /// The port it arrived on.
    pub port: PortId,
    /// That port's MTU in bytes.
    pub mtu: u16,
    /// What verification of its L4 checksum said; `Partial` is completed here, `Invalid` is dropped.
    pub checksum: L4Checksum,
}

/// What the outside knows at the moment a frame is handled.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The backends of the current policy with their links.
    pub backends: &'a Backends,
    /// Where the frame came in.
    pub ingress: Ingress,
}

/// Secrets of one worker's splice; drawn at random at start.
#[derive(Clone, Copy, Debug)]
pub struct SpliceKeys {
    /// Places flows in the table.
    pub table: HashKey,
    /// Makes initial sequence numbers and timestamp offsets towards backends (RFC 6528). The same on all workers
    /// and across restarts within seconds, where that can be had: it lets a reused port pass a TIME-WAIT.
    pub isn: HashKey,
}

/// How many flows are in which part of their life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All slots in use.
    pub flows: u32,
    /// Backend not open yet, or the client's ACK not seen yet.
    pub half_open: u32,
    /// Open in at least one direction.
    pub established: u32,
    /// TIME-WAIT, or reset and lingering; given up first when the table is full.
    pub time_wait: u32,
}

/// What a splice counted since `new`; monotone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpliceCounters {
    /// Flows opened.
    pub opened: u64,
    /// Flows whose backend answered.
    pub established: u64,
    /// Lingering flows (TIME-WAIT, reset) given up early because their slot or port was needed.
    pub evicted_time_wait: u64,
    /// Half-open flows given up because the table or `half_open_max` was full.
    pub evicted_half_open: u64,
    /// SYNs sent again to a backend.
    pub syns_retransmitted: u64,
    /// PROXY headers sent again to a backend.
    pub headers_retransmitted: u64,
    /// Backends that did not take up timestamps although the client was promised them.
    pub backend_without_timestamps: u64,
    /// Backends that did not take up SACK although the client was promised it.
    pub backend_without_sack: u64,
    /// Backends that did not take up window scaling although the client was promised it.
    pub backend_without_window_scale: u64,
    /// Challenge ACKs sent (RFC 5961).
    pub challenge_acks: u64,
    /// Clients whose link (MAC, VLAN or port) changed within a flow.
    pub client_moves: u64,
    /// ICMP "too big" sent back because a segment did not fit the other side's link.
    pub too_big_sent: u64,
    /// Events lost because the owner did not empty the queue.
    pub events_lost: u64,
}

/// One worker's splice.
#[derive(Debug)]
pub struct Splice {
    limits: SpliceLimits,
    keys: SpliceKeys,
    table: Table<flow::Flow>,
    wheel: TimerWheel,
    ports: Ports,
    counters: SpliceCounters,
    events: VecDeque<Event>,
    /// Slots whose flow has, or had, packets of ours to send; each at most once.
    pending: VecDeque<u32>,
    is_queued: Box<[bool]>,
    /// Live flows per backend.
    backend_flows: Box<[u32]>,
    watch: Option<Arc<dyn FlowWatch>>,
    is_draining: bool,
}

impl Splice {
    /// Takes all memory that `limits` speak of. Control path.
    pub fn new(limits: SpliceLimits, keys: SpliceKeys) -> Self {
        let slots = limits.flows_max as usize;
        Self {
            limits,
            keys,
            table: Table::new(limits.flows_max, keys.table),
            wheel: TimerWheel::new(limits.flows_max, Instant::ZERO),
            ports: Ports::new(limits.ports, limits.backends_max),
            counters: SpliceCounters::default(),
            events: VecDeque::with_capacity(EVENTS_MAX),
            pending: VecDeque::with_capacity(slots),
            is_queued: vec![false; slots].into_boxed_slice(),
            backend_flows: vec![0; usize::from(limits.backends_max)].into_boxed_slice(),
            watch: None,
            is_draining: false,
        }
    }

    /// Lets `watch` hear of every flow. Before the first one.
    pub fn set_watch(&mut self, watch: Arc<dyn FlowWatch>) {
        self.watch = Some(watch);
    }

    /// Handles one TCP segment of either side: rewrites it in place, or says that it has no flow.
    pub fn handle(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        let Some(key) = headers.flow_key().filter(|key| key.protocol == Protocol::Tcp) else {
            return Verdict::Miss;
        };
        let Some((slot, side)) = self.table.find(&key) else { return Verdict::Miss };
        if headers.fragment.is_some_and(|fragment| fragment.offset != 0 || fragment.more) {
            return Verdict::Drop(DropReason::Fragment);
        }
        match context.ingress.checksum {
            L4Checksum::Valid => {}
            L4Checksum::Invalid => return Verdict::Drop(DropReason::L4Checksum),
            L4Checksum::Partial => {
                // An update of a partial sum would be a wrong full one. (An atomic fragment is a whole packet.)
                let whole = Headers { fragment: None, ..*headers };
                if !checksum::complete_l4(&whole, packet.bytes_mut()) {
                    return Verdict::Drop(DropReason::L4Checksum);
                }
            }
        }
        let arrived = match Arrived::read(packet, headers) {
            Ok(arrived) => arrived,
            Err(reason) => return Verdict::Drop(reason),
        };
        let Some(flow) = self.table.get(slot) else { return Verdict::Miss };
        match (flow.state, side) {
            (State::SynSent | State::ExpectBackend, Side::Client) => {
                self.on_client_while_opening(slot, packet, &arrived, context, now)
            }
            (State::SynSent | State::ExpectBackend, Side::Backend) => {
                self.on_backend_while_opening(slot, packet, headers, &arrived, context, now)
            }
            (State::TimeWait, _) => self.on_time_wait((slot, side), packet, headers, &arrived, context, now),
            (State::Closed, _) => self.on_closed((slot, side), packet, &arrived, context),
            _ => self.on_segment((slot, side), packet, headers, &arrived, context, now),
        }
    }

    /// Handles one ICMP or ICMPv6 packet: an error about a packet we sent is passed on to the side that caused
    /// it. [`Verdict::Miss`] when it is no error, or about nothing of ours.
    pub fn handle_icmp(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        context: &Context<'_>,
        now: Instant,
    ) -> Verdict {
        self.on_icmp(packet, headers, context, now)
    }

    /// Opens a flow. Its first segment must then be given to [`Splice::handle`] (it may become the SYN to the
    /// backend in place). Opening a key that has a live flow answers with that flow; a flow that only lingers
    /// makes way.
    ///
    /// # Errors
    /// `Draining`, `NoBackend` (unknown, or of the wrong family), `NoNeighbor` (the backend has no link), `NoPort`,
    /// `FlowTableFull`.
    pub fn open(
        &mut self,
        request: &OpenRequest,
        backends: &Backends,
        now: Instant,
    ) -> Result<FlowId, DropReason> {
        self.open_flow(request, backends, now)
    }

    /// After `BackendFailed`: opens another backend for the same flow.
    ///
    /// # Errors
    /// As [`Splice::open`]; the flow then still waits for a decision. `NoFlow` when it does not wait for one.
    pub fn retry(
        &mut self,
        flow: FlowId,
        backend: BackendId,
        backends: &Backends,
        now: Instant,
    ) -> Result<(), DropReason> {
        self.retry_flow(flow, backend, backends, now)
    }

    /// Ends a flow with RST to the client, and to the backend when it was open. False when the flow is gone or has
    /// ended already.
    pub fn abort(&mut self, flow: FlowId, now: Instant) -> bool {
        let Some(slot) = self.slot(flow) else { return false };
        let Some(state) = self.table.get(slot).map(|flow| flow.state) else { return false };
        if state.class() == Class::Lingering {
            return false;
        }
        let has_failed = state == State::ExpectBackend;
        let reason = if has_failed { CloseReason::BackendFailed } else { CloseReason::Aborted };
        self.reset(slot, reason, now);
        true
    }

    /// Builds the next packet that we send in our own name into `packet` (start and capacity as given; the old
    /// content does not matter) and returns its port, or `None` when there is none.
    pub fn poll_transmit(
        &mut self,
        packet: &mut PacketBuf<'_>,
        backends: &Backends,
        now: Instant,
    ) -> Option<PortId> {
        while let Some(slot) = self.pending.pop_front() {
            if let Some(is_queued) = self.is_queued.get_mut(slot as usize) {
                *is_queued = false;
            }
            let port = self.transmit_own(slot, packet, backends, now);
            if self.table.get(slot).is_some_and(|flow| !flow.pending.is_empty()) {
                self.push_pending(slot);
            }
            if port.is_some() {
                return port;
            }
        }
        None
    }

    /// Whether [`Splice::poll_transmit`] may have something, so that no frame is taken for nothing.
    pub fn has_transmit(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When [`Splice::handle_timeout`] should be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.poll_timeout()
    }

    /// Lets time pass: retransmits, idle timeouts. Handles at most `budget` flows and returns how many it did;
    /// when that equals `budget` there may be more.
    pub fn handle_timeout(&mut self, now: Instant, budget: usize) -> usize {
        for done in 0..budget {
            let Some(slot) = self.wheel.poll_expired(now) else { return done };
            self.on_timer(slot, now);
        }
        budget
    }

    /// The next finding. Empty the queue once per turn.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// While draining no flow is opened; live ones go on.
    pub fn set_draining(&mut self, is_draining: bool) {
        self.is_draining = is_draining;
    }

    /// How many flows are where in their life.
    pub fn counts(&self) -> Counts {
        let counts = self.table.counts();
        let (half_open, established, time_wait) = (counts.half_open, counts.established, counts.lingering);
        Counts { flows: half_open + established + time_wait, half_open, established, time_wait }
    }

    /// Live flows of one backend; those that linger are not counted.
    pub fn backend_flows(&self, backend: BackendId) -> u32 {
        self.backend_flows.get(usize::from(backend.0)).copied().unwrap_or(0)
    }

    /// What was counted since `new`.
    pub fn counters(&self) -> &SpliceCounters {
        &self.counters
    }

    /// The limits in force.
    pub fn limits(&self) -> &SpliceLimits {
        &self.limits
    }

    /// The id of a slot's present flow.
    fn id(&self, slot: u32) -> FlowId {
        FlowId { index: slot, generation: self.table.generation(slot) }
    }

    /// The slot of a flow that is still there.
    fn slot(&self, id: FlowId) -> Option<u32> {
        self.table.is_live(id.index, id.generation).then_some(id.index)
    }

    fn set_state(&mut self, slot: u32, state: State) {
        self.table.update(slot, |flow| flow.state = state);
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        } else {
            self.counters.events_lost += 1;
        }
    }

    fn push_pending(&mut self, slot: u32) {
        if let Some(is_queued) = self.is_queued.get_mut(slot as usize).filter(|is_queued| !**is_queued) {
            *is_queued = true;
            self.pending.push_back(slot);
        }
    }

    fn count_backend(&mut self, backend: BackendId, is_more: bool) {
        if let Some(flows) = self.backend_flows.get_mut(usize::from(backend.0)) {
            *flows = if is_more { *flows + 1 } else { flows.saturating_sub(1) };
        }
    }

    fn release_port(&mut self, backend: BackendId, lease: Option<PortLease>) {
        if let Some(lease) = lease {
            self.ports.release(backend, lease);
        }
    }

    /// Clients' keys of all flows, those that linger included. For tests and the simulation.
    #[doc(hidden)]
    pub fn keys(&self) -> impl Iterator<Item = FlowKey> {
        self.table.iter().map(|(_, flow)| flow.client_key)
    }

    /// Panics when the parts of the splice disagree. For tests and fuzzing.
    #[doc(hidden)]
    pub fn check(&self) {
        self.table.check();
        let mut leases = 0;
        let mut live = vec![0; self.backend_flows.len()];
        for (slot, flow) in self.table.iter() {
            assert!(self.wheel.is_scheduled(slot), "a flow without a timer would stay for ever");
            let is_queued = self.is_queued.get(slot as usize) == Some(&true);
            assert!(flow.pending.is_empty() || is_queued, "a packet that nobody sends");
            leases += usize::from(flow.lease.is_some());
            live[usize::from(flow.backend_id.0)] += u32::from(flow.state.class() != Class::Lingering);
        }
        assert_eq!(leases, self.ports.taken_count(), "ports leak");
        assert_eq!(*live, *self.backend_flows, "flows per backend");
        let queued = self.is_queued.iter().filter(|is_queued| **is_queued).count();
        assert_eq!(queued, self.pending.len());
    }
}
