//! Which connection a request gets: an unused one, a new one, a place in the queue, or another try.
//!
//! Owns: the choice of a backend, connecting, retries, the queue of those that wait. Does not own: reading and writing.
//!
//! Tried again: a request that no connection took; one whose used connection turned out to be dead (on a new connection
//! to the same backend, without counting as a try); one that is idempotent and whose backend died before its first
//! byte (on another backend). Never: after a byte of a response, after time ran out, or when sent bytes are gone.

use std::io;

use mio::Interest;
use mio::net::TcpStream;

use super::connection::{Connection, Stage as ConnectionStage};
use super::event::{Failure, What};
use super::exchange::{Exchange, Stage};
use super::{Client, Key};
use crate::telemetry::counters::Counter;
use crate::upstream::{BackendId, BackendOutcome, BackendsSnapshot, Outcome};

/// Waiting requests looked at when a connection became free: one is enough unless groups differ.
const WAITING_SCANNED_MAX: usize = 16;

/// What became of the search for a connection.
enum Found {
    /// There is one.
    Connection,
    /// All backends have as many as they may.
    Full,
}

impl Client {
    /// Gives a new exchange a connection or a place in the queue.
    pub(super) fn start(&mut self, key: Key) -> Result<(), Failure> {
        match self.dispatch(key)? {
            Found::Connection => Ok(()),
            Found::Full => self.wait(key),
        }
    }

    fn wait(&mut self, key: Key) -> Result<(), Failure> {
        if self.waiting.len() >= self.settings.waiting_max as usize {
            return Err(Failure::Overloaded);
        }
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.stage = Stage::Waiting(self.now);
        }
        self.waiting.push_back(key);
        Ok(())
    }

    /// Finds a backend and a connection to it.
    fn dispatch(&mut self, key: Key) -> Result<Found, Failure> {
        let upstream = std::sync::Arc::clone(&self.upstream);
        let snapshot = upstream.snapshot.load();
        self.adopt(&snapshot);
        loop {
            let Some(exchange) = self.exchanges.get(key) else { return Err(Failure::NoBackend) };
            if exchange.tried.len() >= self.settings.tries.max(1) as usize || exchange.tried.is_full() {
                return Err(exchange.failure.unwrap_or(Failure::Connect));
            }
            let (group, hash, client) = (exchange.group, exchange.hash, exchange.client);
            let may_reuse = !exchange.wants_new;
            let can_connect = !self.connections.is_full();
            let has_idle = |id| may_reuse && self.backends.has_idle(id, client);
            let picked = snapshot.pick_where(group, hash, |id| {
                self.admits(exchange, id) && (can_connect && snapshot.has_room(id) || has_idle(id))
            });
            let Some(id) = picked else {
                return self.not_picked(&snapshot, key);
            };
            if may_reuse && self.reuse(key, id) {
                return Ok(Found::Connection);
            }
            let address = snapshot.backend(id).and_then(|backend| backend.address);
            if let Some(address) = address
                && snapshot.reserve(id)
            {
                match self.connect(key, id, address) {
                    Ok(()) => return Ok(Found::Connection),
                    Err(error) => self.on_not_begun(id, &error),
                }
            }
            if let Some(exchange) = self.exchanges.get_mut(key) {
                exchange.note_tried(id);
                exchange.failure = Some(Failure::Connect);
            }
        }
    }

    /// Whether a backend may be asked: not yet tried for this request, and its breaker closed.
    fn admits(&self, exchange: &Exchange, id: BackendId) -> bool {
        !exchange.tried.contains(&id)
            && self.backends.backend(id).is_none_or(|backend| backend.breaker.admits(self.now))
    }

    /// Why there is nobody: full, cut off by breakers, or nobody at all.
    fn not_picked(&self, snapshot: &BackendsSnapshot, key: Key) -> Result<Found, Failure> {
        let Some(exchange) = self.exchanges.get(key) else { return Err(Failure::NoBackend) };
        let (group, hash) = (exchange.group, exchange.hash);
        if snapshot.pick_where(group, hash, |id| self.admits(exchange, id)).is_some() {
            return Ok(Found::Full);
        }
        if let Some(failure) = exchange.failure {
            return Err(failure);
        }
        let anybody = snapshot.pick_where(group, hash, |_| true).is_some();
        Err(if anybody { Failure::BreakerOpen } else { Failure::NoBackend })
    }

    /// Takes an unused connection. False when there is none.
    fn reuse(&mut self, key: Key, id: BackendId) -> bool {
        let Some(exchange) = self.exchanges.get_mut(key) else { return false };
        let Some(connection_key) = self.backends.take_idle(id, exchange.client) else { return false };
        let Some(connection) = self.connections.get_mut(connection_key) else { return false };
        exchange.stage = Stage::UnderWay(connection_key);
        exchange.backend = Some(id);
        exchange.connections += 1;
        connection.stage = ConnectionStage::Busy(key);
        connection.requests += 1;
        connection.active_at = self.now;
        self.on_begun(id);
        self.counters.count(Counter::UpstreamReused);
        self.enqueue(connection_key);
        true
    }

    fn connect(&mut self, key: Key, id: BackendId, address: core::net::SocketAddr) -> io::Result<()> {
        let stream = TcpStream::connect(address)?;
        let Some(exchange) = self.exchanges.get_mut(key) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let now = self.now;
        let client = exchange.client;
        let inserted =
            self.connections.insert_with(|_| Connection::new(stream, id, address, client, key, now));
        let Some(connection_key) = inserted else { return Err(io::ErrorKind::OutOfMemory.into()) };
        let token = self.tokens.token(connection_key.to_bits());
        if let Some(connection) = self.connections.get_mut(connection_key) {
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = self.registry.register(&mut connection.stream, token, interest) {
                self.connections.remove(connection_key);
                return Err(error);
            }
        }
        exchange.stage = Stage::UnderWay(connection_key);
        exchange.backend = Some(id);
        exchange.connections += 1;
        exchange.outgoing.rewind();
        self.on_begun(id);
        self.counters.count(Counter::UpstreamConnects);
        self.arm(connection_key);
        Ok(())
    }

    fn on_begun(&mut self, id: BackendId) {
        let now = self.now;
        if let Some(backend) = self.backends.backend_mut(id) {
            backend.breaker.on_begin(now);
        }
    }

    /// A connection could not even be started.
    fn on_not_begun(&mut self, id: BackendId, error: &io::Error) {
        tracing::debug!(backend = id.0, %error, "no connection to a backend can be started");
        // Want of descriptors or local ports is not the backend's fault.
        if error.kind() == io::ErrorKind::ConnectionRefused {
            self.upstream.report(BackendOutcome { backend: id, outcome: Outcome::Failed });
        }
        self.upstream.report(BackendOutcome { backend: id, outcome: Outcome::Closed });
    }

    /// A connection is lost to its exchange before the response began: another one, or the end.
    pub(super) fn on_lost(&mut self, connection_key: Key, failure: Failure) {
        let Some(connection) = self.connections.get(connection_key) else { return };
        let Some(key) = connection.exchange() else { return };
        let was_used = connection.requests > 1;
        let backend = connection.backend;
        self.remove(connection_key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.stage = Stage::Over;
        exchange.failure = Some(failure);
        let is_late = matches!(failure, Failure::ResponseTimeout | Failure::IdleTimeout);
        let is_stale = was_used && failure == Failure::Reset;
        let again = exchange.can_be_sent_again() && !is_late && !exchange.outgoing.is_refused();
        if is_stale {
            // The backend closed what it had kept: no fault, and no try.
            exchange.wants_new = true;
            if let Some(backend) = self.backends.backend_mut(backend) {
                backend.breaker.on_abandoned();
            }
        } else {
            exchange.note_tried(backend);
            self.on_fault(backend);
        }
        if !again {
            self.fail(key, failure);
            return;
        }
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.outgoing.rewind();
            exchange.stage = Stage::Waiting(self.now);
        }
        match self.start(key) {
            Ok(()) => self.counters.count(Counter::UpstreamRetries),
            Err(failure) => self.fail(key, failure),
        }
    }

    /// A backend failed a request.
    pub(super) fn on_fault(&mut self, id: BackendId) {
        self.upstream.report(BackendOutcome { backend: id, outcome: Outcome::Failed });
        self.on_answer(id, false);
    }

    /// A request had its answer or failed: the breaker's business.
    pub(super) fn on_answer(&mut self, id: BackendId, success: bool) {
        let now = self.now;
        if let Some(settings) = &self.settings.breaker
            && let Some(backend) = self.backends.backend_mut(id)
            && backend.breaker.on_end(success, settings, now)
        {
            self.counters.count(Counter::UpstreamBreakerOpened);
        }
    }

    /// Ends an exchange without a whole response.
    pub(super) fn fail(&mut self, key: Key, failure: Failure) {
        self.counters.count(match failure {
            Failure::Overloaded => Counter::UpstreamOverloaded,
            Failure::ConnectTimeout | Failure::ResponseTimeout | Failure::IdleTimeout => {
                Counter::UpstreamTimeouts
            }
            _ => Counter::UpstreamFailed,
        });
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.stage = Stage::Over;
            exchange.outgoing.refuse();
        }
        self.notify(key, What::Failed(failure));
    }

    /// Closes a connection.
    pub(super) fn remove(&mut self, key: Key) {
        let Some(connection) = self.connections.remove(key) else { return };
        self.timers.cancel(key.index);
        if connection.stage == ConnectionStage::Idle {
            self.backends.forget(connection.backend, key);
        }
        self.upstream.report(BackendOutcome { backend: connection.backend, outcome: Outcome::Closed });
        drop(connection);
        self.serve_waiting();
    }

    /// A connection's response is complete: keeps or closes it.
    pub(super) fn release(&mut self, key: Key, can_be_kept: bool) {
        let can_be_kept = can_be_kept && !self.is_draining && !self.settings.keepalive_timeout.is_zero();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_fresh = connection.requests < self.settings.requests_max
            && self.now.saturating_since(connection.opened_at) < self.settings.age_max
            && !connection.is_read_closed
            && !connection.is_broken;
        if can_be_kept
            && is_fresh
            && self.backends.keep(connection.backend, connection.address, key, connection.client)
        {
            connection.stage = ConnectionStage::Idle;
            connection.active_at = self.now;
            self.arm(key);
            self.serve_waiting();
        } else {
            self.remove(key);
        }
    }

    /// A connection became free: whoever waits may have it.
    pub(super) fn serve_waiting(&mut self) {
        let mut index = 0;
        while index < self.waiting.len().min(WAITING_SCANNED_MAX) {
            let Some(key) = self.waiting.get(index).copied() else { return };
            match self.dispatch(key) {
                Ok(Found::Full) => index += 1,
                Ok(Found::Connection) => {
                    self.waiting.remove(index);
                }
                Err(failure) => {
                    self.waiting.remove(index);
                    self.fail(key, failure);
                }
            }
        }
    }

    /// Takes a new snapshot of the backends.
    pub(super) fn adopt(&mut self, snapshot: &BackendsSnapshot) {
        if !self.backends.is_outdated(snapshot) {
            return;
        }
        let mut gone = Vec::new();
        self.backends.adopt(snapshot, self.settings.idle_max, self.settings.workers, &mut gone);
        for key in gone {
            // Not by `remove`: it is no longer among the unused, and whoever waits is served by the caller.
            if let Some(connection) = self.connections.remove(key) {
                self.timers.cancel(key.index);
                let outcome = Outcome::Closed;
                self.upstream.report(BackendOutcome { backend: connection.backend, outcome });
            }
        }
    }
}
