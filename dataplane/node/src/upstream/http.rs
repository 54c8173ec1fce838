//! The HTTP/1.1 client of one worker: requests to backends over a pool of connections.
//!
//! ```text
//!  begin --> pick a backend --> unused connection, or a new one, or wait --> write head, body ----> backend
//!                ^                        |  lost before the response, safe                           |
//!                '------------------------'                                                           v
//!  Head, Body, Writable, Continue, Upgraded, Failed <-- poll_event <-- decode in the read buffer <-- read
//! ```
//!
//! Owns: connections to backends, their reuse, retries, circuit breakers, back-pressure both ways. Does not own: who
//! the backends are and whether they live (`upstream`), what the messages mean (`session`), framing (`secbeat_http`).
//!
//! Every exchange begun is closed once by its owner: complete, failed or given up. Readiness is edge-triggered: a flag
//! is set by an event and cleared by a short read or write. Cost of a small request on a warm connection: one write,
//! one read, no other system call, no allocation. An idle connection holds its socket and 200 bytes.

mod backends;
mod body;
mod breaker;
mod connection;
mod dispatch;
mod event;
mod exchange;
mod incoming;
mod outgoing;
mod serve;
mod settings;
mod timer;

use std::collections::VecDeque;
use std::sync::Arc;

use mio::Registry;
use secbeat_http::h1::parse::Asked;
use secbeat_http::h1::{Upgrade, encode};
use secbeat_net::time::Instant;
use secbeat_net::timer_wheel::TimerWheel;

pub use event::{Begin, Event, ExchangeId, Failure, What};
pub use settings::{BreakerSettings, Settings, Tokens};

use crate::slab::{Key, Slab};
use crate::telemetry::counters::{Counter, Gauge, WorkerCounters};
use crate::upstream::Upstream;
use backends::Backends;
use connection::Connection;
use exchange::{Exchange, Stage};
use outgoing::WINDOW_BYTES;

/// Exchanges kept with their buffers for the next requests; beyond, they are released.
const SPARE_EXCHANGES_MAX: usize = 1_024;
/// Reads and writes of sockets between two calls of `handle_timeout`: what is left goes on in the next turn, so that
/// large bodies do not keep the worker from its other work. 256 reads of 64 KiB take about 2 ms.
const SERVED_PER_TURN_MAX: u32 = 256;

/// Bytes of requests and responses held for all exchanges of a worker from which windows are small: about a thousand
/// full ones, upwards and downwards.
const HELD_BYTES_HIGH: usize = 64 << 20;
/// A small window: ordinary requests and responses still pass at once, and a flood of stalled ones costs 16 KiB each.
const WINDOW_BYTES_MIN: usize = 8 << 10;

/// What there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections to backends.
    pub connections: u32,
    /// Unused ones among them.
    pub idle: u32,
    /// Exchanges not closed yet.
    pub exchanges: u32,
    /// Exchanges that wait for a connection.
    pub waiting: u32,
}

/// One worker's client.
pub struct Client {
    settings: Settings,
    upstream: Arc<Upstream>,
    registry: Registry,
    tokens: Tokens,
    counters: Arc<WorkerCounters>,
    backends: Backends,
    connections: Slab<Connection>,
    exchanges: Slab<Box<Exchange>>,
    #[expect(clippy::vec_box, reason = "boxes move between here and the table, never what is in them")]
    spare: Vec<Box<Exchange>>,
    timers: TimerWheel,
    /// Connections with something to do.
    queue: VecDeque<Key>,
    /// Exchanges that wait for a connection, the oldest first.
    waiting: VecDeque<Key>,
    events: VecDeque<Event>,
    /// What all connections are read into.
    buffer: Box<[u8]>,
    /// The exchange whose payload lies in `buffer`.
    lent: Option<Key>,
    served: u32,
    /// Bytes held for all exchanges.
    held_bytes: usize,
    is_draining: bool,
    now: Instant,
}

impl Client {
    /// A client without connections. Its sockets are registered under `tokens`.
    pub fn new(
        settings: Settings,
        upstream: Arc<Upstream>,
        registry: Registry,
        tokens: Tokens,
        counters: Arc<WorkerCounters>,
        now: Instant,
    ) -> Self {
        // A head that came in part is carried to the front of the buffer, with a window's room behind it.
        let buffer_bytes = WINDOW_BYTES + settings.limits.head_bytes_max as usize;
        Self {
            upstream,
            registry,
            tokens,
            counters,
            backends: Backends::default(),
            connections: Slab::new(settings.connections_max),
            exchanges: Slab::new(settings.exchanges_max),
            spare: Vec::new(),
            timers: TimerWheel::new(settings.connections_max, now),
            queue: VecDeque::new(),
            waiting: VecDeque::new(),
            events: VecDeque::new(),
            buffer: vec![0; buffer_bytes].into_boxed_slice(),
            lent: None,
            served: 0,
            held_bytes: 0,
            is_draining: false,
            now,
            settings,
        }
    }

    /// The number of a group of backends now; for the next `begin` only, as reloads renumber.
    pub fn group(&self, name: &str) -> Option<usize> {
        self.upstream.snapshot.load().group(name)
    }

    /// Starts a request.
    ///
    /// # Errors
    /// When no backend can be tried, or too many requests wait already; there is nothing to close then.
    pub fn begin(&mut self, begin: Begin<'_>, now: Instant) -> Result<ExchangeId, Failure> {
        self.now = now;
        let mut exchange = self.spare.pop().unwrap_or_else(|| Box::new(Exchange::new()));
        // Nothing but a well-formed WebSocket handshake is passed on; others are ordinary requests.
        let upgrade = begin.upgrade.filter(|upgrade| *upgrade == Upgrade::WebSocket);
        let is_idempotent = begin.head.method().is_idempotent();
        let connection = match (upgrade, begin.is_last) {
            (Some(_), _) => encode::Connection::WebSocket,
            (None, true) => encode::Connection::Close,
            (None, false) => encode::Connection::KeepAlive,
        };
        let hop = encode::Hop { body: begin.body, connection, via: begin.via };
        exchange.outgoing.start(begin.body, is_idempotent, |out| encode::request(begin.head, hop, out));
        exchange.incoming.start(Asked { method: begin.head.method(), upgrade });
        exchange.outgoing.window = self.window();
        exchange.accounted = 0;
        exchange.user = begin.user;
        exchange.group = begin.group;
        exchange.hash = begin.hash;
        exchange.client = begin.client;
        exchange.stage = Stage::Waiting(now);
        exchange.tried.clear();
        exchange.connections = 0;
        exchange.wants_new = false;
        exchange.is_idempotent = is_idempotent;
        exchange.is_last = begin.is_last;
        exchange.response_timeout = begin.response_timeout.unwrap_or(self.settings.response_timeout);
        exchange.backend = None;
        exchange.failure = None;
        self.counters.count(Counter::UpstreamRequests);
        let Some(key) = self.exchanges.insert_with(|_| exchange) else {
            return Err(self.refused(Failure::Overloaded));
        };
        match self.start(key) {
            Ok(()) => Ok(ExchangeId(key)),
            Err(failure) => {
                self.recycle(key);
                Err(self.refused(failure))
            }
        }
    }

    /// Ends an exchange. One that is not complete is given up, and its connection with it.
    pub fn close(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(id.0) else { return };
        match exchange.stage {
            Stage::UnderWay(connection) => {
                if let Some(backend) = exchange.backend.and_then(|id| self.backends.backend_mut(id)) {
                    backend.breaker.on_abandoned();
                }
                self.remove(connection);
            }
            Stage::Waiting(_) => self.waiting.retain(|key| *key != id.0),
            Stage::Over => {}
        }
        self.recycle(id.0);
    }

    /// An event of a socket. False when its token is none of this client's kind.
    pub fn handle_ready(&mut self, event: &mio::event::Event, now: Instant) -> bool {
        let Some(bits) = self.tokens.bits(event.token()) else { return false };
        self.now = now;
        let key = Key::from_bits(bits);
        let is_closed = event.is_read_closed() || event.is_error();
        if let Some(connection) = self.connections.get_mut(key) {
            connection.is_readable |= event.is_readable() || is_closed;
            connection.is_writable |= event.is_writable();
            connection.is_read_closed |= is_closed;
            self.enqueue(key);
        }
        true
    }

    /// The next event; does what sockets are ready for. Call until `None` after anything else was called.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                // The exchange may have been closed since.
                if self.exchanges.get(event.exchange.0).is_some() {
                    return Some(event);
                }
                continue;
            }
            if self.served >= SERVED_PER_TURN_MAX {
                return None;
            }
            let key = self.queue.pop_front()?;
            self.served += 1;
            self.serve(key);
        }
    }

    /// No connection is kept any more.
    pub fn set_draining(&mut self) {
        self.is_draining = true;
        let mut gone = Vec::new();
        self.backends.drain(&mut gone);
        for key in gone {
            self.remove(key);
        }
    }

    /// What there is now.
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.connections.len(),
            idle: u32::try_from(self.backends.idle_count()).unwrap_or(u32::MAX),
            exchanges: self.exchanges.len(),
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
        }
    }

    /// Sets the client's gauges on the worker's page.
    pub fn report_gauges(&self) {
        let counts = self.counts();
        self.counters.set(Gauge::UpstreamConnections, u64::from(counts.connections));
        self.counters.set(Gauge::UpstreamIdle, u64::from(counts.idle));
        self.counters.set(Gauge::UpstreamWaiting, u64::from(counts.waiting));
    }

    fn enqueue(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.queue.push_back(key);
        }
    }

    fn notify(&mut self, exchange: Key, what: What) {
        if let Some(user) = self.exchanges.get(exchange).map(|exchange| exchange.user) {
            self.events.push_back(Event { exchange: ExchangeId(exchange), user, what });
        }
    }

    /// Bytes of one exchange that may wait in each direction.
    fn window(&self) -> usize {
        if self.held_bytes > HELD_BYTES_HIGH { WINDOW_BYTES_MIN } else { WINDOW_BYTES }
    }

    fn refused(&self, failure: Failure) -> Failure {
        self.counters.count(match failure {
            Failure::Overloaded => Counter::UpstreamOverloaded,
            _ => Counter::UpstreamFailed,
        });
        failure
    }

    /// Takes an exchange out and keeps its buffers.
    fn recycle(&mut self, key: Key) {
        if self.lent == Some(key) {
            self.lent = None;
        }
        let Some(mut exchange) = self.exchanges.remove(key) else { return };
        self.held_bytes = self.held_bytes.saturating_sub(exchange.accounted);
        if self.spare.len() < SPARE_EXCHANGES_MAX {
            exchange.outgoing.shrink();
            exchange.incoming.shrink();
            self.spare.push(exchange);
        }
    }
}

/// Brings the sum of bytes held up to date with one exchange.
fn account(exchange: &mut Exchange, held_bytes: &mut usize) {
    let held = exchange.outgoing.held_bytes() + exchange.incoming.held_bytes();
    *held_bytes = held_bytes.saturating_sub(exchange.accounted).saturating_add(held);
    exchange.accounted = held;
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
