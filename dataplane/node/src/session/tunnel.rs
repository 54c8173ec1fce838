//! A connection switched to WebSocket: bytes both ways until both directions have ended (RFC 9110 §7.8, RFC 6455).
//!
//! Owns: the switch towards the client, half-close, the end. Does not own: what the bytes mean. Idle time is judged in
//! `timeout`. Back-pressure: bytes are taken from one side only as far as the other takes them.

use secbeat_http::h1::BodyKind;
use secbeat_http::h1::encode::{self, Connection, Hop};

use super::exchange::{Reply, Upload};
use super::record;
use super::slab::Key;
use super::state::{Session, State, Turn};
use crate::telemetry::counters::Counter;

/// Answers 101 and becomes a tunnel.
pub(super) fn open(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let Some(response) = exchange.upstream.and_then(|upstream| core.client.response(upstream)) else {
        return;
    };
    let via = core.policy.forwarding.via.as_deref();
    let hop = Hop { body: BodyKind::None, connection: Connection::WebSocket, via };
    core.out.clear();
    encode::response(response, hop, &mut core.out);
    exchange.status = 101;
    exchange.reply = Reply::Body(BodyKind::UntilClose);
    exchange.upload = Upload::Open;
    exchange.keep_alive = false;
    core.page.count(Counter::Upgrades);
    s.state = State::Tunnel(key);
    s.since = t.now;
    s.wire.send_all(&core.out, &mut core.store, t.front, t.now);
    if s.wire.is_ended && s.input.is_none() {
        handle_end(s, t, key);
    }
}

/// Bytes from the client; returns how many the backend took.
pub(super) fn receive(s: &mut Session, t: &mut Turn<'_>, key: Key, bytes: &[u8]) -> usize {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return bytes.len() };
    let Some(upstream) = exchange.upstream else { return bytes.len() };
    let taken = core.client.send_body(upstream, bytes);
    if taken > 0 {
        s.since = t.now;
    }
    exchange.body_received += taken as u64;
    core.page.add(Counter::RequestBodyBytes, taken as u64);
    taken
}

/// The client ended its direction, and all it sent was passed on.
pub(super) fn handle_end(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    let Some(exchange) = t.core.exchanges.get_mut(key) else { return };
    if let Some(upstream) = exchange.upstream
        && exchange.upload == Upload::Open
    {
        exchange.upload = Upload::Done;
        t.core.client.end_body(upstream, None);
    }
    pump(s, t, key);
}

/// Sends what the backend has for the client.
pub(super) fn pump(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    loop {
        let core = &mut *t.core;
        let Some(exchange) = core.exchanges.get_mut(key) else { return };
        let Some(upstream) = exchange.upstream else { return };
        let bytes = core.client.peek_body(upstream);
        if bytes.is_empty() {
            s.wire.pace = None;
            if core.client.is_complete(upstream) {
                exchange.reply = Reply::Done;
                s.wire.finish(&mut core.store, t.front, t.now);
            }
            break;
        }
        let taken = s.wire.send(bytes, &mut core.store, t.front, t.now);
        if taken == 0 {
            break;
        }
        s.since = t.now;
        core.client.consume_body(upstream, taken);
        exchange.body_sent += taken as u64;
        core.page.add(Counter::ResponseBodyBytes, taken as u64);
    }
    let is_complete = t.core.exchanges.get(key).is_some_and(super::exchange::Exchange::is_complete);
    if is_complete && s.wire.is_finished() {
        record::close(t, key);
        super::close(s, t);
    }
}
