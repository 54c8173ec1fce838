//! Time-outs of connections and of requests that wait.
//!
//! Owns: deadlines. One lazily re-armed timer per connection: a busy connection whose deadline only moves later does
//! not touch the wheel. Does not own: what a session allows itself (`session`).

use core::time::Duration;

use secbeat_net::time::Instant;

use super::connection::Stage;
use super::event::Failure;
use super::incoming::Phase;
use super::{Client, Key, exchange};

/// Timers handled per call.
const TIMERS_PER_TURN_MAX: usize = 256;
/// How often requests that wait are offered to backends whose connections another worker may have given up.
const WAITING_RETRY: Duration = Duration::from_millis(10);

/// What a connection waits for.
enum Awaited {
    /// The backend, until then.
    Backend(Instant, Failure),
    /// Somebody else; look again then.
    Other(Instant),
}

impl Client {
    /// Handles what is due, a bounded number. Once per turn; then call `poll_event`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.served = 0;
        let upstream = std::sync::Arc::clone(&self.upstream);
        self.adopt(&upstream.snapshot.load());
        for _ in 0..TIMERS_PER_TURN_MAX {
            let Some(index) = self.timers.poll_expired(now) else { break };
            let Some(key) = self.connections.key_at(index) else { continue };
            self.on_timer(key);
        }
        self.expire_waiting();
    }

    /// When [`Client::handle_timeout`] has something to do, at the earliest; the present when work was left over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.queue.is_empty() || !self.events.is_empty() {
            return Some(self.now);
        }
        let waiting = (!self.waiting.is_empty()).then(|| self.now + WAITING_RETRY);
        [self.timers.poll_timeout(), waiting].into_iter().flatten().min()
    }

    fn on_timer(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.armed_at = None;
        match self.awaited(key) {
            Some(Awaited::Backend(at, failure)) if at <= self.now => self.on_late(key, failure),
            Some(_) => self.arm(key),
            None => self.remove(key),
        }
    }

    fn on_late(&mut self, key: Key, failure: Failure) {
        let Some(connection) = self.connections.get(key) else { return };
        let Some(exchange_key) = connection.exchange() else {
            self.remove(key);
            return;
        };
        let has_begun =
            self.exchanges.get(exchange_key).is_some_and(|exchange| exchange.incoming.has_begun());
        if has_begun {
            self.on_bad_response(key, exchange_key, failure);
        } else {
            self.on_lost(key, failure);
        }
    }

    /// Sets the timer of a connection unless it fires early enough already.
    pub(super) fn arm(&mut self, key: Key) {
        let at = match self.awaited(key) {
            Some(Awaited::Backend(at, _) | Awaited::Other(at)) => at,
            None => self.now,
        };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.armed_at.is_none_or(|armed| at < armed) {
            connection.armed_at = Some(at);
            self.timers.schedule(key.index, at);
        }
    }

    /// `None` = an unused connection whose time is over, or one without its exchange.
    fn awaited(&self, key: Key) -> Option<Awaited> {
        let connection = self.connections.get(key)?;
        let settings = &self.settings;
        let active_at = connection.active_at;
        let exchange = match connection.stage {
            Stage::ExpectConnect(_) => {
                return Some(Awaited::Backend(active_at + settings.connect_timeout, Failure::ConnectTimeout));
            }
            Stage::Idle => {
                let at = active_at + settings.keepalive_timeout;
                return (at > self.now).then_some(Awaited::Other(at));
            }
            Stage::Busy(exchange) => self.exchanges.get(exchange)?,
        };
        let idle = active_at + settings.idle_timeout;
        Some(match exchange.incoming.phase {
            Phase::Tunnel | Phase::Complete => {
                Awaited::Backend(active_at + settings.tunnel_idle_timeout, Failure::IdleTimeout)
            }
            Phase::Body if exchange.incoming.wants_bytes() => Awaited::Backend(idle, Failure::IdleTimeout),
            // The owner takes its time; it has time-outs of its own.
            Phase::Body => Awaited::Other(self.now + settings.idle_timeout),
            Phase::ExpectHead if exchange.outgoing.has_unsent() => {
                Awaited::Backend(idle, Failure::IdleTimeout)
            }
            Phase::ExpectHead if !exchange.outgoing.is_complete() => {
                Awaited::Other(self.now + settings.idle_timeout)
            }
            Phase::ExpectHead => {
                Awaited::Backend(active_at + exchange.response_timeout, Failure::ResponseTimeout)
            }
        })
    }

    /// Requests that waited too long end; the others are offered once more.
    fn expire_waiting(&mut self) {
        while let Some(key) = self.waiting.front().copied() {
            let stage = self.exchanges.get(key).map(|exchange| exchange.stage);
            let Some(exchange::Stage::Waiting(since)) = stage else {
                self.waiting.pop_front();
                continue;
            };
            if self.now.saturating_since(since) < self.settings.connect_timeout {
                break;
            }
            self.waiting.pop_front();
            self.fail(key, Failure::Overloaded);
        }
        if !self.waiting.is_empty() {
            self.serve_waiting();
        }
    }
}
