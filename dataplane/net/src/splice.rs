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
//! Order of calls, once per frame and turn: [`Splice::handle`] for each segment and [`Splice::handle_icmp`] for each ICMP
//! error, [`Splice::open`] when `handle` says [`Verdict::Miss`] and the cookie validates (then `handle` again for
//! the same frame), [`Splice::handle_timeout`], [`Splice::poll_transmit`] until `None`, [`Splice::poll_event`]
//! until `None`.
//!
//! Cost: one keyed hash, one table probe and about 60 bytes written per segment; no allocation after `new`.
//! RFC 9293 (states, RST), 5961 (RST and SYN in a flow), 6528 (ISS), 7323 (window scale, timestamps), 2018 (SACK),
//! 6191 (TIME-WAIT), 5927 (ICMP).

pub mod event;
pub mod limits;
pub mod target;

pub use event::{CloseReason, Event, FailReason, Traffic};
pub use limits::{SpliceLimits, Timeouts};
pub use target::{BackendId, BackendTarget, Backends, PortRange, Source};

use crate::flow::{FlowKey, HashKey};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::checksum::L4Checksum;

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
    counters: SpliceCounters,
    is_draining: bool,
}

impl Splice {
    /// Takes all memory that `limits` speak of. Control path.
    pub fn new(limits: SpliceLimits, _keys: SpliceKeys) -> Self {
        Self { limits, counters: SpliceCounters::default(), is_draining: false }
    }

    /// Handles one TCP segment of either side: rewrites it in place, or says that it has no flow.
    pub fn handle(
        &mut self,
        _packet: &mut PacketBuf<'_>,
        _headers: &Headers,
        _context: &Context<'_>,
        _now: Instant,
    ) -> Verdict {
        Verdict::Miss
    }

    /// Handles one ICMP or ICMPv6 packet: an error about a packet we sent is passed on to the side that caused
    /// it. [`Verdict::Miss`] when it is no error, or about nothing of ours.
    pub fn handle_icmp(
        &mut self,
        _packet: &mut PacketBuf<'_>,
        _headers: &Headers,
        _context: &Context<'_>,
        _now: Instant,
    ) -> Verdict {
        Verdict::Miss
    }

    /// Opens a flow. Its first segment must then be given to [`Splice::handle`] (it may become the SYN to the
    /// backend in place). Opening a key that has a live flow answers with that flow.
    ///
    /// # Errors
    /// `Draining`, `NoBackend`, `NoNeighbor` (the backend has no link), `NoPort`, `FlowTableFull`.
    pub fn open(
        &mut self,
        _request: &OpenRequest,
        _backends: &Backends,
        _now: Instant,
    ) -> Result<FlowId, DropReason> {
        Err(DropReason::FlowTableFull)
    }

    /// After `BackendFailed`: opens another backend for the same flow.
    ///
    /// # Errors
    /// As [`Splice::open`]; the flow then still waits for a decision. `NoFlow` when it does not wait for one.
    pub fn retry(
        &mut self,
        _flow: FlowId,
        _backend: BackendId,
        _backends: &Backends,
        _now: Instant,
    ) -> Result<(), DropReason> {
        Err(DropReason::NoFlow)
    }

    /// Ends a flow with RST to the client, and to the backend when it was open. False when the flow is gone.
    pub fn abort(&mut self, _flow: FlowId, _now: Instant) -> bool {
        false
    }

    /// Builds the next packet that we send in our own name into `packet` (start and capacity as given; the old
    /// content does not matter) and returns its port, or `None` when there is none.
    pub fn poll_transmit(
        &mut self,
        _packet: &mut PacketBuf<'_>,
        _backends: &Backends,
        _now: Instant,
    ) -> Option<PortId> {
        None
    }

    /// Whether [`Splice::poll_transmit`] has something, so that no frame is taken for nothing.
    pub fn has_transmit(&self) -> bool {
        false
    }

    /// When [`Splice::handle_timeout`] should be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Lets time pass: retransmits, idle timeouts. Handles at most `budget` flows and returns how many it did;
    /// when that equals `budget` there may be more.
    pub fn handle_timeout(&mut self, _now: Instant, _budget: usize) -> usize {
        0
    }

    /// The next finding. Empty the queue once per turn.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// While draining no flow is opened; live ones go on.
    pub fn set_draining(&mut self, is_draining: bool) {
        self.is_draining = is_draining;
    }

    /// How many flows are where in their life.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }

    /// Live flows of one backend.
    pub fn backend_flows(&self, _backend: BackendId) -> u32 {
        0
    }

    /// What was counted since `new`.
    pub fn counters(&self) -> &SpliceCounters {
        &self.counters
    }

    /// The limits in force.
    pub fn limits(&self) -> &SpliceLimits {
        &self.limits
    }
}
