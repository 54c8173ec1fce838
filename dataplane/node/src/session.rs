//! Everything above the connection: TLS, HTTP, limits, inspection, routing, the exchange with a backend.
//!
//! ```text
//!  front --bytes--> [TLS] --> HTTP/1.1 | HTTP/2 --> normalise -> limits -> inspect -> route --> upstream::http
//!  front <--bytes-- [TLS] <-- head, body  <------ inspect <--------------------------- response
//!                                                                        '--> access log, counters, events
//! ```
//! Owns: sessions (one per client connection), exchanges (one per request), their timers. Does not own: the connection
//! under a session (`front`), framing (`secbeat_http`), certificates (`tls`), connections to backends (`upstream::http`).
//!
//! One [`Sessions`] per worker; nothing in it is shared but what [`Shared`] names. Bytes move end to end without a queue
//! of their own: what the client does not take stays in the backend's connection, what the backend does not take stays
//! in the client's, so a slow side slows the other and costs a bounded window.
//! Cost: an idle session holds its state (below 1 KiB beside TLS) and no buffer; a request of a warm worker touches
//! no allocator.

pub mod access_log;
mod buffer;
pub mod pages;
pub mod policy;
mod request_id;
mod route;
mod slab;
pub mod tls;

use core::net::SocketAddr;
use std::sync::Arc;

use mio::Registry;
use secbeat_net::flow::HashKey;
use secbeat_net::limit::{RateCell, RateTable};
use secbeat_net::time::Instant;

pub use policy::L7Policy;

use crate::event::{EventQueue, ListenerId, WorkerId};
use crate::front::{ClientId, Front};
use crate::telemetry::counters::WorkerCounters;
use crate::upstream::Upstream;

/// Names a session within its worker: index and generation, so that a late call finds nothing instead of a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    index: u32,
    generation: u32,
}

impl SessionId {
    /// As one number, for a front to keep.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The inverse of [`SessionId::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// A client's connection as the front hands it over: established, let in by lists and connection limits.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// The front's name for it.
    pub client: ClientId,
    /// The client.
    pub source: SocketAddr,
    /// The address the client connected to.
    pub destination: SocketAddr,
    /// The listener, by its number in [`L7Policy::listeners`].
    pub listener: ListenerId,
    /// Whether the source is allowlisted: no limit of rates applies to it.
    pub exempt: bool,
}

/// Why a connection cannot become a session. The front closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many sessions as this worker takes.
    Full,
    /// The worker is draining.
    Draining,
    /// The policy has no `l7` listener of this number.
    NoListener,
    /// Its source may start no further TLS handshake now.
    HandshakeRate,
}

/// What the sessions of all workers share.
#[derive(Debug)]
pub struct Shared {
    /// Requests per source and per source and route.
    pub rates: RateTable,
    /// Requests of the node.
    pub global: RateCell,
    /// Secret of the hashes that [`Shared::rates`] is asked by.
    pub key: HashKey,
    /// Where offenders and attacks are reported.
    pub events: Arc<EventQueue>,
    /// The backends.
    pub upstream: Arc<Upstream>,
}

/// What one worker's sessions are made from.
#[derive(Debug)]
pub struct Setup {
    /// The worker.
    pub worker: WorkerId,
    /// Sessions at once. Memory for their timers (16 bytes each) is taken at start, for the rest on demand.
    pub sessions_max: u32,
    /// The first policy.
    pub policy: Arc<L7Policy>,
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// This worker's page of counters.
    pub page: Arc<WorkerCounters>,
    /// Where sockets to backends are registered.
    pub registry: Registry,
    /// Tokens from here on belong to these sockets; the front routes their events to [`Sessions::handle_ready`].
    pub first_token: usize,
    /// Random, different for every worker and start: prefix of request ids.
    pub seed: u64,
}

/// What there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions.
    pub sessions: u32,
    /// Requests being served, tunnels included.
    pub exchanges: u32,
    /// Buffers lent to sessions.
    pub buffers: u32,
}

/// All sessions of one worker.
pub struct Sessions {
    policy: Arc<L7Policy>,
    setup: Setup,
}

impl Sessions {
    /// No session yet.
    pub fn new(setup: Setup, now: Instant) -> Self {
        let _ = now;
        Self { policy: Arc::clone(&setup.policy), setup }
    }

    /// Takes over a connection.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is kept then.
    pub fn open(&mut self, accepted: Accepted, now: Instant) -> Result<SessionId, Refusal> {
        let _ = (accepted, now, &self.policy, &self.setup);
        Err(Refusal::Full)
    }

    /// Bytes from the client, in order. May change them (decryption in place). Returns how many were taken; when fewer
    /// than given, the front keeps the rest, reads no more, and calls again after [`Front::resume`].
    pub fn handle_data(
        &mut self,
        id: SessionId,
        bytes: &mut [u8],
        front: &mut dyn Front,
        now: Instant,
    ) -> usize {
        let _ = (id, front, now);
        bytes.len()
    }

    /// The client takes bytes again after a short [`Front::send`].
    pub fn handle_writable(&mut self, id: SessionId, front: &mut dyn Front, now: Instant) {
        let _ = (id, front, now);
    }

    /// The client sent its last byte (FIN); all of them were handed in before.
    pub fn handle_end(&mut self, id: SessionId, front: &mut dyn Front, now: Instant) {
        let _ = (id, front, now);
    }

    /// The connection is gone (RST, timeout, cut by the front). The session is forgotten; `front` must not be called
    /// about this client again.
    pub fn handle_closed(&mut self, id: SessionId, front: &mut dyn Front, now: Instant) {
        let _ = (id, front, now);
    }

    /// An event of a socket to a backend; false when the token is none of ours.
    pub fn handle_ready(
        &mut self,
        token: usize,
        readable: bool,
        writable: bool,
        front: &mut dyn Front,
        now: Instant,
    ) -> bool {
        let _ = (token, readable, writable, front, now);
        false
    }

    /// Handles up to `budget` timers that are due; returns how many.
    pub fn handle_timeout(&mut self, front: &mut dyn Front, now: Instant, budget: usize) -> usize {
        let _ = (front, now, budget);
        0
    }

    /// When [`Sessions::handle_timeout`] has something to do, at the earliest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Once in a while (1 ms to 100 ms): gauges, the budget of offenders, a new snapshot of backends.
    pub fn handle_housekeeping(&mut self, front: &mut dyn Front, now: Instant) {
        let _ = (front, now);
    }

    /// Takes a new policy: from the next request on.
    pub fn adopt(&mut self, policy: Arc<L7Policy>) {
        self.policy = policy;
    }

    /// No new session; idle ones are closed, running requests finish, their answers say that they are the last.
    pub fn set_draining(&mut self, front: &mut dyn Front, now: Instant) {
        let _ = (front, now);
    }

    /// Cuts all sessions (the time for draining is over); returns how many.
    pub fn abort_all(&mut self, front: &mut dyn Front, now: Instant) -> u32 {
        let _ = (front, now);
        0
    }

    /// What there is now.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}

impl core::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sessions").field("worker", &self.setup.worker).finish_non_exhaustive()
    }
}
