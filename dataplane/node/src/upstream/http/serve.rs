//! What a connection does when its socket is ready.
//!
//! Owns: connecting, writing, reading, what a read brought, the end of a response. Does not own: which connection a
//! request gets (`dispatch`), bytes and framing (`outgoing`, `incoming`).

use std::net::Shutdown;

use super::connection::{Connected, Connection, Received, Stage};
use super::event::{Failure, What};
use super::exchange;
use super::incoming::{Brought, Phase};
use super::{Client, Key, account};
use crate::telemetry::counters::Counter;
use crate::upstream::{BackendOutcome, Outcome};

impl Client {
    /// Does what a connection is ready for.
    pub(super) fn serve(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.is_queued = false;
        match connection.stage {
            Stage::ExpectConnect(exchange) => self.on_connecting(key, exchange),
            Stage::Busy(exchange) => self.serve_busy(key, exchange),
            // Nothing was asked, so nothing good can come: the end, or bytes that belong to no request.
            Stage::Idle if connection.is_readable => {
                if !connection.is_read_closed {
                    self.counters.count(Counter::UpstreamLeftover);
                }
                self.remove(key);
            }
            Stage::Idle => {}
        }
    }

    fn on_connecting(&mut self, key: Key, exchange: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_writable && !connection.is_readable {
            return;
        }
        let opened = match connection.connected() {
            Connected::NotYet => return,
            Connected::Yes => connection.open(exchange, self.now),
            Connected::No(error) => Err(error),
        };
        match opened {
            Ok(()) => self.serve_busy(key, exchange),
            Err(error) => {
                tracing::debug!(backend = connection.backend.0, %error, "backend does not accept");
                self.on_lost(key, Failure::Connect);
            }
        }
    }

    fn serve_busy(&mut self, key: Key, exchange: Key) {
        self.flush(key, exchange);
        let Some(connection) = self.connections.get(key) else { return };
        let wants_bytes =
            self.exchanges.get(exchange).is_some_and(|exchange| exchange.incoming.wants_bytes());
        if connection.is_readable && wants_bytes {
            self.receive(key, exchange);
        }
        if self.connections.get(key).is_some() {
            self.arm(key);
        }
    }

    /// Writes what waits, and tells the owner about room.
    fn flush(&mut self, key: Key, exchange_key: Key) {
        let (Some(connection), Some(exchange)) =
            (self.connections.get_mut(key), self.exchanges.get_mut(exchange_key))
        else {
            return;
        };
        let Connection { stream, is_writable, .. } = connection;
        match exchange.outgoing.flush(stream, is_writable) {
            Ok(0) => {}
            Ok(_) => {
                connection.active_at = self.now;
                account(exchange, &mut self.held_bytes);
            }
            Err(_) => {
                // What the backend said before it went is still to be read; the end of that tells the rest.
                connection.is_broken = true;
                connection.is_readable = true;
            }
        }
        if exchange.outgoing.take_fin() && connection.stream.shutdown(Shutdown::Write).is_err() {
            connection.is_broken = true;
            connection.is_readable = true;
        }
        if exchange.outgoing.take_writable() {
            self.notify(exchange_key, What::Writable);
        }
    }

    fn receive(&mut self, key: Key, exchange_key: Key) {
        self.settle();
        let window = self.window();
        let (Some(connection), Some(exchange)) =
            (self.connections.get_mut(key), self.exchanges.get_mut(exchange_key))
        else {
            return;
        };
        let carried = exchange.incoming.carry_into(&mut self.buffer);
        let limit = (carried + window).min(self.buffer.len());
        let room = self.buffer.get_mut(carried..limit).unwrap_or_default();
        let received = connection.receive(room);
        let len = match received {
            Received::Bytes(len) => len,
            Received::Nothing | Received::End | Received::Broken => {
                exchange.incoming.carry_back(self.buffer.get(..carried).unwrap_or_default());
                match received {
                    Received::End => self.on_end(key, exchange_key),
                    Received::Broken => self.on_broken(key, exchange_key),
                    Received::Nothing | Received::Bytes(_) => {}
                }
                return;
            }
        };
        connection.active_at = self.now;
        let is_readable = connection.is_readable;
        let bytes = self.buffer.get_mut(..carried + len).unwrap_or_default();
        match exchange.incoming.absorb(bytes, &self.settings.limits) {
            Ok(brought) => {
                self.lent = Some(exchange_key);
                self.on_brought(key, exchange_key, brought);
                if is_readable {
                    self.requeue(key, exchange_key);
                }
            }
            Err(error) => {
                self.on_bad_response(key, exchange_key, Failure::BadResponse(error));
            }
        }
    }

    /// Goes on reading later if the owner need not consume first.
    fn requeue(&mut self, key: Key, exchange: Key) {
        if self.exchanges.get(exchange).is_some_and(|exchange| exchange.incoming.wants_bytes()) {
            self.enqueue(key);
        }
    }

    fn on_brought(&mut self, key: Key, exchange_key: Key, brought: Brought) {
        if brought.proceed {
            self.notify(exchange_key, What::Continue);
        }
        if brought.head || brought.upgraded {
            self.on_head(key, exchange_key);
        }
        if brought.upgraded {
            if let Some(exchange) = self.exchanges.get_mut(exchange_key) {
                exchange.outgoing.become_tunnel();
            }
            self.notify(exchange_key, What::Upgraded);
        }
        let is_complete = self
            .exchanges
            .get(exchange_key)
            .is_some_and(|exchange| exchange.incoming.phase == Phase::Complete);
        if brought.head {
            self.notify(exchange_key, What::Head);
        } else if brought.body {
            self.notify(exchange_key, What::Body);
        }
        if brought.leftover {
            self.counters.count(Counter::UpstreamLeftover);
        }
        if is_complete {
            self.on_complete(key, exchange_key, !brought.leftover);
        }
    }

    fn on_head(&mut self, key: Key, exchange_key: Key) {
        let (Some(connection), Some(exchange)) =
            (self.connections.get(key), self.exchanges.get(exchange_key))
        else {
            return;
        };
        let backend = connection.backend;
        let status = exchange.incoming.response.status();
        self.upstream.report(BackendOutcome { backend, outcome: Outcome::Established });
        // What a gateway says of what is behind it: the backend is there, but of no use.
        self.on_answer(backend, !matches!(status, 502..=504));
    }

    /// The response is complete: the connection is done with, or may serve the next request.
    fn on_complete(&mut self, key: Key, exchange_key: Key, is_clean: bool) {
        let Some(exchange) = self.exchanges.get_mut(exchange_key) else { return };
        // An answer before the end of the request: where the next one would begin, the backend may not know.
        let can_be_kept =
            is_clean && exchange.incoming.keep_alive && exchange.outgoing.is_complete() && !exchange.is_last;
        exchange.stage = exchange::Stage::Over;
        if !exchange.outgoing.is_complete() {
            exchange.outgoing.refuse();
            if exchange.outgoing.take_writable() {
                self.notify(exchange_key, What::Writable);
            }
        }
        self.release(key, can_be_kept);
    }

    /// The backend finished its side.
    fn on_end(&mut self, key: Key, exchange_key: Key) {
        let Some(exchange) = self.exchanges.get_mut(exchange_key) else { return };
        if let Some(connection) = self.connections.get_mut(key) {
            connection.is_read_closed = true;
            connection.is_readable = false;
        }
        if exchange.incoming.phase == Phase::Tunnel {
            // Half-closed: the other direction goes on until the owner closes the exchange.
            let _ = exchange.incoming.finish();
            self.notify(exchange_key, What::Body);
        } else if exchange.incoming.has_begun() {
            match exchange.incoming.finish() {
                Ok(()) => {
                    self.notify(exchange_key, What::Body);
                    self.on_complete(key, exchange_key, false);
                }
                Err(_) => self.on_bad_response(key, exchange_key, Failure::Truncated),
            }
        } else {
            self.on_lost(key, Failure::Reset);
        }
    }

    /// The connection broke.
    fn on_broken(&mut self, key: Key, exchange_key: Key) {
        match self.exchanges.get(exchange_key).map(|exchange| exchange.incoming.has_begun()) {
            Some(true) => self.on_bad_response(key, exchange_key, Failure::Truncated),
            Some(false) => self.on_lost(key, Failure::Reset),
            None => self.remove(key),
        }
    }

    /// A response went wrong after its first byte: nobody else can be asked any more.
    pub(super) fn on_bad_response(&mut self, key: Key, exchange_key: Key, failure: Failure) {
        if let Some(backend) = self.connections.get(key).map(|connection| connection.backend)
            && let Some(exchange) = self.exchanges.get(exchange_key)
            && !exchange.incoming.has_head()
        {
            self.on_fault(backend);
        }
        if let Some(exchange) = self.exchanges.get_mut(exchange_key) {
            exchange.stage = exchange::Stage::Over;
        }
        self.remove(key);
        self.fail(exchange_key, failure);
    }

    /// Stores payload that its owner left in the read buffer.
    fn settle(&mut self) {
        if let Some(exchange) = self.lent.take().and_then(|key| self.exchanges.get_mut(key)) {
            exchange.incoming.settle(&self.buffer);
            account(exchange, &mut self.held_bytes);
        }
    }
}
