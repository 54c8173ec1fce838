//! What the owner of an exchange sends and gets: the body of the request, head and body of the response.
//!
//! Owns: these calls. Does not own: when sockets are read (`serve`), bytes and framing (`outgoing`, `incoming`).

use secbeat_http::h1::BodyKind;
use secbeat_http::head::{Fields, Response};

use super::connection::{Connection, Stage as ConnectionStage};
use super::event::ExchangeId;
use super::exchange::{Exchange, Stage};
use super::incoming::Phase;
use super::{Client, account};
use crate::slab::{Key, Slab};
use crate::upstream::BackendId;

impl Client {
    /// Bytes that [`Client::send_body`] takes now.
    pub fn room(&self, id: ExchangeId) -> usize {
        self.exchanges.get(id.0).map_or(0, |exchange| exchange.outgoing.room())
    }

    /// There is no room, and [`What::Writable`] shall say when there is: for callers that ask for room before they have
    /// bytes to offer.
    pub fn want_room(&mut self, id: ExchangeId) {
        if let Some(exchange) = self.exchanges.get_mut(id.0) {
            exchange.outgoing.want_room();
        }
    }

    /// Sends body (or tunnel) bytes; the framing is added here. Returns how many were taken: after fewer than given,
    /// [`What::Writable`] follows. When the backend answers early and takes no more, the rest is taken and dropped.
    pub fn send_body(&mut self, id: ExchangeId, bytes: &[u8]) -> usize {
        let len = self.send_body_inner(id, bytes);
        let window = self.window();
        if let Some(exchange) = self.exchanges.get_mut(id.0) {
            exchange.outgoing.window = window;
            account(exchange, &mut self.held_bytes);
        }
        len
    }

    fn send_body_inner(&mut self, id: ExchangeId, bytes: &[u8]) -> usize {
        let Some(exchange) = self.exchanges.get_mut(id.0) else { return bytes.len() };
        let connection = match exchange.stage {
            Stage::UnderWay(key) => self.connections.get_mut(key).map(|connection| (key, connection)),
            Stage::Waiting(_) => None,
            Stage::Over => return bytes.len(),
        };
        let Some((key, connection)) = connection else { return exchange.outgoing.push(bytes) };
        if !matches!(connection.stage, ConnectionStage::Busy(_)) || connection.is_broken {
            return exchange.outgoing.push(bytes);
        }
        let Connection { stream, is_writable, .. } = connection;
        match exchange.outgoing.push_through(bytes, stream, is_writable) {
            Ok(len) => {
                if len > 0 {
                    connection.active_at = self.now;
                }
                if exchange.outgoing.is_writable_due() {
                    self.enqueue(key);
                }
                len
            }
            Err(_) => {
                connection.is_broken = true;
                connection.is_readable = true;
                self.enqueue(key);
                exchange_push(&mut self.exchanges, id.0, bytes)
            }
        }
    }

    /// The body is complete: ends chunks, and sends FIN into a tunnel. Does nothing for other bodies.
    pub fn end_body(&mut self, id: ExchangeId, trailers: Option<&Fields>) {
        let Some(exchange) = self.exchanges.get_mut(id.0) else { return };
        exchange.outgoing.end(trailers);
        if let Some(key) = exchange.connection() {
            self.enqueue(key);
        }
    }

    /// The head of the response, from [`What::Head`] or [`What::Upgraded`] on.
    pub fn response(&self, id: ExchangeId) -> Option<&Response> {
        let exchange = self.exchanges.get(id.0)?;
        exchange.incoming.has_head().then_some(&exchange.incoming.response)
    }

    /// The same, to change before it goes to the client.
    pub fn response_mut(&mut self, id: ExchangeId) -> Option<&mut Response> {
        let exchange = self.exchanges.get_mut(id.0)?;
        exchange.incoming.has_head().then_some(&mut exchange.incoming.response)
    }

    /// How the backend frames the body of its response.
    pub fn response_body(&self, id: ExchangeId) -> BodyKind {
        self.exchanges.get(id.0).map_or(BodyKind::None, |exchange| exchange.incoming.kind)
    }

    /// Payload that waits, framing removed. What is not consumed before the next `poll_event` is stored, and nothing
    /// more is read from the backend until all of it is.
    pub fn peek_body(&self, id: ExchangeId) -> &[u8] {
        self.exchanges.get(id.0).map_or(&[], |exchange| exchange.incoming.peek(&self.buffer))
    }

    /// The first `len` bytes of [`Client::peek_body`] are done with.
    pub fn consume_body(&mut self, id: ExchangeId, len: usize) {
        let Some(exchange) = self.exchanges.get_mut(id.0) else { return };
        exchange.incoming.consume(len);
        account(exchange, &mut self.held_bytes);
        if exchange.incoming.wants_bytes()
            && let Some(key) = exchange.connection()
            && let Some(connection) = self.connections.get_mut(key)
        {
            // The pause was ours: the backend's time begins now.
            connection.active_at = self.now;
            if connection.is_readable {
                self.enqueue(key);
            }
        }
    }

    /// Whether the response is complete: what [`Client::peek_body`] gives is the rest of it. In a tunnel: the backend
    /// has finished.
    pub fn is_complete(&self, id: ExchangeId) -> bool {
        self.exchanges.get(id.0).is_some_and(|exchange| exchange.incoming.phase == Phase::Complete)
    }

    /// The trailer section of a complete response.
    pub fn trailers(&self, id: ExchangeId) -> Option<&Fields> {
        self.exchanges.get(id.0)?.incoming.trailers()
    }

    /// The backend that has, or had, the request.
    pub fn backend(&self, id: ExchangeId) -> Option<BackendId> {
        self.exchanges.get(id.0)?.backend
    }

    /// Connections tried for the request, the present one included.
    pub fn connections_tried(&self, id: ExchangeId) -> u32 {
        self.exchanges.get(id.0).map_or(0, |exchange| exchange.connections)
    }
}

/// Takes body bytes that the socket did not.
fn exchange_push(exchanges: &mut Slab<Box<Exchange>>, key: Key, bytes: &[u8]) -> usize {
    exchanges.get_mut(key).map_or(bytes.len(), |exchange| exchange.outgoing.push(bytes))
}
