//! Everything above the connection: TLS, HTTP, limits, inspection, routing, the exchange with a backend.
//!
//! ```text
//!  front --bytes--> [TLS] --> HTTP/1.1 | HTTP/2 --> normalise -> limits -> inspect -> route --> upstream::http
//!  front <--bytes-- [TLS] <-- head, body  <------ inspect <--------------------------- response
//!                                                                        '--> access log, counters, events
//! ```
//! Owns: sessions (one per client connection), exchanges (one per request), their timers. Does not own: the
//! connection under a session (`front`), framing (`secbeat_http`), certificates (`tls`), connections to backends
//! (`upstream::http`).
//!
//! One [`Sessions`] per worker; nothing in it is shared but what [`Shared`] names. Bytes move end to end without a
//! queue of their own: what the client does not take stays in the backend's connection, what the backend does not
//! take stays in the client's, so a slow side slows the other and costs a bounded window.
//! Cost: an idle session holds its state (below 1 KiB beside TLS) and no buffer; a request of a warm worker touches
//! no allocator.

pub mod access_log;
mod buffer;
mod date;
mod download;
mod exchange;
mod flow;
mod forwarding;
mod http1;
mod http2;
mod inspect;
mod limit;
mod misdirected;
pub mod pages;
pub mod policy;
mod record;
mod reply;
pub mod report;
mod request;
mod request_id;
mod route;
mod slab;
mod state;
mod tarpit;
mod timeout;
pub mod tls;
mod tunnel;
mod upload;
mod wire;

use core::net::SocketAddr;
use std::sync::Arc;

use secbeat_http::h2;
use secbeat_http::head::Request;
use secbeat_http::target::Resolved;
use secbeat_net::flow::HashKey;
use secbeat_net::limit::{RateCell, RateTable};
use secbeat_net::time::Instant;
use secbeat_net::timer_wheel::TimerWheel;

use access_log::{AccessLog, Lines};
use buffer::Store;
use date::Date;
use flow::{abort, advance, close, drain, forget, handle_end, handle_upstream, linger, receive, resume};
use http1::Http1;
use inspect::{Inspector, Rules};
pub use policy::L7Policy;
use report::{Reporter, Reports};
use request_id::RequestIds;
use slab::{Key, Slab};
use state::{Core, Session, State, Turn};
use tls::{Engine, Outcome, Stream};

use crate::event::{EventQueue, ListenerId, WorkerId};
use crate::front::{ClientId, Front};
use crate::telemetry::counters::{Counter, Gauge, WorkerCounters};
use crate::upstream::Upstream;
use crate::upstream::http::Client;

/// Exchanges per session there may be on the worker's average: HTTP/1 needs one each, HTTP/2 several for some.
/// Full: 503, or the stream is refused.
const EXCHANGES_PER_SESSION: u32 = 2;

/// The preface of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Names a session within its worker: index and generation, so that a late call finds nothing instead of a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    index: u32,
    generation: u32,
}

impl SessionId {
    fn key(self) -> Key {
        Key { index: self.index, generation: self.generation }
    }

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
    /// Requests per source and per route.
    pub rates: RateTable,
    /// Requests of the node.
    pub global: RateCell,
    /// Secret of the hashes that [`Shared::rates`] is asked by, and by which a client's backend is chosen.
    pub key: HashKey,
    /// Where offenders are reported.
    pub events: Arc<EventQueue>,
    /// Where refused requests are reported; the control thread empties it.
    pub reports: Arc<Reports>,
    /// The backends.
    pub upstream: Arc<Upstream>,
    /// Where lines of the access log go.
    pub access_log: Arc<AccessLog>,
    /// Where records of the audit log go.
    pub audit_log: Arc<AccessLog>,
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
    /// The client towards backends, with its sockets registered where the front polls.
    pub client: Client,
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
    sessions: Slab<Session>,
    timers: TimerWheel,
    core: Core,
    /// When housekeeping was done last.
    now: Instant,
}

impl Sessions {
    /// No session yet.
    pub fn new(setup: Setup, now: Instant) -> Self {
        let Setup { worker, sessions_max, policy, shared, page, client, seed } = setup;
        let (reports, events) = (Arc::clone(&shared.reports), Arc::clone(&shared.events));
        let core = Core {
            worker,
            tls: policy.tls.as_ref().map(|acceptor| Engine::new(Arc::clone(acceptor), now)),
            page,
            client,
            exchanges: Slab::new(sessions_max.saturating_mul(EXCHANGES_PER_SESSION)),
            store: Store::default(),
            plain: Vec::new(),
            inspector: Inspector::new(Rules::new(Lines::new(Arc::clone(&shared.audit_log)))),
            reporter: Reporter::new(worker, reports, events, shared.key),
            ids: RequestIds::new(seed),
            lines: Lines::new(Arc::clone(&shared.access_log)),
            date: Date::new(),
            h2_pool: h2::Pool::default(),
            head: Request::new(),
            target: Resolved::new(),
            out: Vec::new(),
            text: Vec::new(),
            sampled: 0,
            held_bytes: 0,
            tarpitted: 0,
            is_draining: false,
            policy,
            shared,
        };
        Self { sessions: Slab::new(sessions_max), timers: TimerWheel::new(sessions_max, now), core, now }
    }

    /// Takes over a connection.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is kept then.
    pub fn open(&mut self, accepted: Accepted, now: Instant) -> Result<SessionId, Refusal> {
        let opened = self.open_inner(&accepted, now);
        let counter = if opened.is_ok() { Counter::SessionsOpened } else { Counter::SessionsRefused };
        self.core.page.count(counter);
        opened
    }

    fn open_inner(&mut self, accepted: &Accepted, now: Instant) -> Result<SessionId, Refusal> {
        if self.core.is_draining {
            return Err(Refusal::Draining);
        }
        let listener = self.core.policy.listener(accepted.listener).ok_or(Refusal::NoListener)?;
        let is_tls = listener.tls;
        if is_tls && self.core.tls.is_none() {
            return Err(Refusal::NoListener);
        }
        let tls = is_tls.then(|| Box::new(Stream::new(accepted.source.ip(), accepted.exempt)));
        let state = match (is_tls, listener.http2) {
            (true, _) => State::Handshake,
            (false, true) => State::Preface,
            (false, false) => State::Http1(Http1::default()),
        };
        let nobody = || Session::new(Key { index: 0, generation: 0 }, accepted, None, State::Gone, now);
        let key = self.sessions.take(nobody).ok_or(Refusal::Full)?;
        if let Some(session) = self.sessions.get_mut(key) {
            *session = Session::new(key, accepted, tls, state, now);
            arm(&mut self.timers, session, &self.core);
        }
        Ok(SessionId { index: key.index, generation: key.generation })
    }

    /// Bytes from the client, in order. May change them (decryption in place). Returns how many were taken; when
    /// fewer than given, the front keeps the rest, reads no more, and calls again after [`Front::resume`].
    pub fn handle_data(
        &mut self,
        id: SessionId,
        bytes: &mut [u8],
        front: &mut dyn Front,
        now: Instant,
    ) -> usize {
        let taken = self.with(id.key(), front, now, |s, t| receive(s, t, bytes));
        self.settle(front, now);
        taken.unwrap_or(bytes.len())
    }

    /// The client takes bytes again after a short [`Front::send`].
    pub fn handle_writable(&mut self, id: SessionId, front: &mut dyn Front, now: Instant) {
        self.with(id.key(), front, now, |s, t| {
            if s.wire.flush(&mut t.core.store, t.front, t.now) {
                advance(s, t);
            }
        });
        self.settle(front, now);
    }

    /// The client sent its last byte (FIN); all of them were handed in before.
    pub fn handle_end(&mut self, id: SessionId, front: &mut dyn Front, now: Instant) {
        self.with(id.key(), front, now, |s, t| {
            s.wire.is_ended = true;
            handle_end(s, t);
        });
        self.settle(front, now);
    }

    /// The connection is gone (RST, timeout, cut by the front). The session is forgotten; nothing is asked of the
    /// front about this client again.
    pub fn handle_closed(&mut self, id: SessionId, front: &mut dyn Front, now: Instant) {
        self.with(id.key(), front, now, |s, t| {
            if matches!(s.state, State::Handshake) {
                t.core.page.requests.count_handshake(Outcome::Abandoned);
            }
            forget(s, t);
        });
        self.settle(front, now);
    }

    /// An event of a socket to a backend; false when its token is none of ours.
    pub fn handle_ready(&mut self, event: &mio::event::Event, front: &mut dyn Front, now: Instant) -> bool {
        let is_ours = self.core.client.handle_ready(event, now);
        if is_ours {
            self.settle(front, now);
        }
        is_ours
    }

    /// Handles up to `budget` timers that are due, and work towards backends left over from the last turn; returns
    /// how many timers. Once per turn.
    pub fn handle_timeout(&mut self, front: &mut dyn Front, now: Instant, budget: usize) -> usize {
        let mut count = 0;
        while count < budget {
            let Some(index) = self.timers.poll_expired(now) else { break };
            count += 1;
            let Some(key) = self.sessions.key_at(index) else { continue };
            self.with(key, front, now, |s, t| {
                s.timer_at = None;
                timeout::handle(s, t);
            });
        }
        self.core.client.handle_timeout(now);
        self.settle(front, now);
        count
    }

    /// When [`Sessions::handle_timeout`] has something to do, at the earliest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let client = self.core.client.poll_timeout();
        self.timers.poll_timeout().into_iter().chain(client).min()
    }

    /// Once in a while (1 ms to 100 ms): gauges, budgets of reports, lines of the access log.
    pub fn handle_housekeeping(&mut self, front: &mut dyn Front, now: Instant) {
        let _ = front;
        self.now = now;
        let counts = self.counts();
        let page = &self.core.page;
        page.set(Gauge::Sessions, counts.sessions.into());
        page.set(Gauge::Exchanges, counts.exchanges.into());
        page.set(Gauge::SessionBuffers, counts.buffers.into());
        self.core.client.report_gauges();
        self.core.reporter.handle_tick();
        self.core.lines.hand_over();
        self.core.inspector.rules.handle_tick();
    }

    /// Takes a new policy: from the next request on.
    pub fn adopt(&mut self, policy: Arc<L7Policy>) {
        match (&mut self.core.tls, &policy.tls) {
            (Some(engine), Some(acceptor)) => engine.adopt(Arc::clone(acceptor)),
            (tls @ None, Some(acceptor)) => *tls = Some(Engine::new(Arc::clone(acceptor), self.now)),
            // Connections that speak TLS go on.
            (_, None) => {}
        }
        self.core.inspector.rules.adopt(policy.inspection.waf.as_ref());
        self.core.policy = policy;
    }

    /// No new session; idle ones are closed, running requests finish, their answers say that they are the last.
    pub fn set_draining(&mut self, front: &mut dyn Front, now: Instant) {
        self.core.is_draining = true;
        self.core.client.set_draining();
        self.for_all(front, now, drain);
    }

    /// Cuts all sessions (the time for draining is over); returns how many.
    pub fn abort_all(&mut self, front: &mut dyn Front, now: Instant) -> u32 {
        let count = self.sessions.len();
        self.for_all(front, now, abort);
        count
    }

    /// What there is now.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.sessions.len(),
            exchanges: self.core.exchanges.len(),
            buffers: self.core.store.buffers.lent(),
        }
    }

    fn for_all(&mut self, front: &mut dyn Front, now: Instant, f: fn(&mut Session, &mut Turn<'_>)) {
        for index in 0..self.sessions.slots() {
            if let Some(key) = self.sessions.key_at(index) {
                self.with(key, front, now, f);
            }
        }
        self.settle(front, now);
    }

    /// Calls `f` with a session; afterwards the session is released if it has ended, or its timer is set.
    fn with<R>(
        &mut self,
        key: Key,
        front: &mut dyn Front,
        now: Instant,
        f: impl FnOnce(&mut Session, &mut Turn<'_>) -> R,
    ) -> Option<R> {
        let session = self.sessions.get_mut(key)?;
        let mut turn = Turn { core: &mut self.core, front, now };
        let result = f(session, &mut turn);
        if session.is_gone() {
            self.timers.cancel(key.index);
            self.sessions.release(key);
            self.core.page.count(Counter::SessionsClosed);
        } else {
            arm(&mut self.timers, session, &self.core);
        }
        Some(result)
    }

    /// Does what sockets to backends are ready for, and passes on what came of it.
    fn settle(&mut self, front: &mut dyn Front, now: Instant) {
        while let Some(event) = self.core.client.poll_event() {
            let key = Key::from_bits(event.user);
            match self.core.exchanges.get(key).map(|exchange| exchange.session) {
                Some(session) => {
                    self.with(session, front, now, |s, t| handle_upstream(s, t, key, event.what));
                }
                None => self.core.client.close(event.exchange),
            }
        }
    }
}

impl core::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sessions").field("worker", &self.core.worker).finish_non_exhaustive()
    }
}

/// Moves a session's timer if its deadline has come nearer.
fn arm(timers: &mut TimerWheel, session: &mut Session, core: &Core) {
    let Some(at) = timeout::deadline(session, core) else { return };
    if session.timer_at.is_none_or(|set| at < set) {
        session.timer_at = Some(at);
        timers.schedule(session.key.index, at);
    }
}

#[cfg(test)]
mod tests;
