//! HTTP/1.0 and 1.1 with a client: one request at a time, further ones wait their turn in the connection.
//!
//! ```text
//!  head --begin--> exchange: body --upload--> backend --download--> head, body --complete--> next head | Linger
//! ```
//! Owns: the order of requests, their framing, keep-alive, 100 (Continue). Does not own: what becomes of a request
//! (`request`), its bytes on the way up (`upload`) and down (`download`). RFC 9112.
//! Cost: one parse of the head; a response with a short body leaves in one send.

use secbeat_http::error::Error;
use secbeat_http::h1::body::{Decoder, Step};
use secbeat_http::h1::encode::{self, Connection, Hop};
use secbeat_http::h1::parse::{self, Head, Parsed, Progress};
use secbeat_http::h1::{BodyKind, Upgrade};
use secbeat_http::head::Version;

use super::exchange::{Exchange, Pace, Reply, Upload};
use super::reply::{self, Own};
use super::request::{self, Arrival};
use super::slab::Key;
use super::state::{Session, State, Turn};
use super::{download, linger, record, upload};
use crate::event::{AttackKind, Offence};
use crate::telemetry::counters::Counter;

/// What is sent when not even an exchange can be had.
const OVERLOADED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n";

/// The state of a connection that speaks HTTP/1.
#[derive(Debug, Default)]
pub(super) struct Http1 {
    progress: Progress,
    /// The request at hand.
    pub(super) exchange: Option<Key>,
}

/// The request at hand, if this is HTTP/1.
pub(super) fn running(s: &Session) -> Option<Key> {
    match &s.state {
        State::Http1(http1) => http1.exchange,
        _ => None,
    }
}

/// Takes plaintext; returns how much. Zero: wait for room, or (`is_partial`) for more bytes.
pub(super) fn receive(s: &mut Session, t: &mut Turn<'_>, bytes: &[u8]) -> usize {
    match running(s) {
        Some(key) => receive_body(s, t, key, bytes),
        None => receive_head(s, t, bytes),
    }
}

fn receive_head(s: &mut Session, t: &mut Turn<'_>, bytes: &[u8]) -> usize {
    let State::Http1(http1) = &mut s.state else { return 0 };
    // The next request waits until the client has taken the last response, or what pipelined requests pile up has
    // no end.
    if !s.wire.is_clear() {
        return 0;
    }
    let limits = t.core.policy.limits.head;
    match parse::request(bytes, &mut http1.progress, &limits, &mut t.core.head) {
        Ok(Parsed::Incomplete) => {
            if !s.is_partial && s.requests > 0 {
                s.since = t.now;
            }
            s.is_partial = true;
            0
        }
        Ok(Parsed::Head(head)) => {
            s.is_partial = false;
            begin(s, t, head);
            head.len
        }
        Err(error) => {
            s.is_partial = false;
            refuse(s, t, error);
            bytes.len()
        }
    }
}

/// Takes an exchange for the request whose head is in `core.head`.
fn take(s: &mut Session, t: &mut Turn<'_>) -> Option<Key> {
    let Some(key) = t.core.exchanges.take(Exchange::new) else {
        s.wire.send_all(OVERLOADED, &mut t.core.store, t.front, t.now);
        t.core.page.count(Counter::SessionsRefused);
        linger(s, t);
        return None;
    };
    let exchange = t.core.exchanges.get_mut(key)?;
    core::mem::swap(&mut exchange.request, &mut t.core.head);
    exchange.session = s.key;
    exchange.listener = s.listener;
    exchange.source = s.source.ip();
    (exchange.peer, exchange.server) = (s.source, s.destination);
    exchange.started = t.now;
    exchange.tls = s.tls_facts();
    s.requests = s.requests.saturating_add(1);
    t.core.page.count(Counter::RequestsHttp1);
    if let State::Http1(http1) = &mut s.state {
        http1.exchange = Some(key);
    }
    Some(key)
}

fn begin(s: &mut Session, t: &mut Turn<'_>, head: Head) {
    let Some(key) = take(s, t) else { return };
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let is_last = core.policy.limits.requests_max.is_some_and(|max| s.requests >= max);
    exchange.is_readable = true;
    exchange.body = head.body;
    exchange.keep_alive = head.keep_alive && !is_last && !core.is_draining && !s.wire.is_ended;
    if !matches!(head.body, BodyKind::None | BodyKind::Length(0)) {
        exchange.decoder = Some(Decoder::new(head.body, &core.policy.limits.head));
        exchange.upload = Upload::Open;
        exchange.pace = Pace::start(t.now);
        exchange.expects_continue = head.expect_continue;
    }
    request::start(s, t, key, Arrival { upgrade: head.upgrade, is_last: head.has_unusual_body });
}

/// A head that cannot be read: the client is told, and that is the end of its connection.
fn refuse(s: &mut Session, t: &mut Turn<'_>, error: Error) {
    t.core.page.count(Counter::RequestsMalformed);
    t.core.page.requests.count_error(error);
    // A head whose only fault is its Host was read whole: rules may have something to say about it.
    let is_whole = matches!(error, Error::HostMissing | Error::HostInvalid | Error::HostRepeated);
    if !is_whole {
        t.core.head.clear();
    }
    let Some(key) = take(s, t) else { return };
    let core = &mut *t.core;
    if let Some(exchange) = core.exchanges.get_mut(key) {
        exchange.id = core.ids.next();
    }
    if is_whole {
        request::show(s, t, key);
    }
    let status = error.status();
    request::note(s, t, key, AttackKind::ProtocolAbuse, error.name(), status, Some(Offence::Request));
    reply::own(s, t, key, Own::page(status));
}

/// The rest of a head did not come in time.
pub(super) fn time_out(s: &mut Session, t: &mut Turn<'_>) {
    t.core.head.clear();
    let Some(key) = take(s, t) else { return };
    let core = &mut *t.core;
    if let Some(exchange) = core.exchanges.get_mut(key) {
        exchange.id = core.ids.next();
        exchange.reason = Some("request_head_timeout");
    }
    reply::own(s, t, key, Own::page(408));
}

fn receive_body(s: &mut Session, t: &mut Turn<'_>, key: Key, bytes: &[u8]) -> usize {
    let room = upload::room(t, key);
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return 0 };
    if exchange.upload == Upload::Done {
        return 0;
    }
    if room == 0 {
        if let Some(upstream) = exchange.upstream {
            core.client.want_room(upstream);
        }
        return 0;
    }
    let window = bytes.get(..room.min(bytes.len())).unwrap_or_default();
    let Some(decoder) = &mut exchange.decoder else { return 0 };
    match decoder.decode(window) {
        Ok(Step::Data(range)) => {
            let (end, is_done) = (range.end, decoder.is_done());
            let data = window.get(range).unwrap_or_default();
            if upload::accept(s, t, key, data) && is_done {
                end_body(s, t, key);
            }
            end
        }
        Ok(Step::End { consumed }) => {
            end_body(s, t, key);
            consumed
        }
        Ok(Step::NeedMore) => {
            let len = window.len();
            exchange.pace.add(len);
            len
        }
        Err(error) => {
            upload::malformed(s, t, key, error);
            bytes.len()
        }
    }
}

fn end_body(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    upload::end(s, t, key);
    settle(s, t, key);
}

/// The client's FIN: what is complete is answered, what is not never will be.
pub(super) fn handle_end(s: &mut Session, t: &mut Turn<'_>) {
    let Some(key) = running(s) else {
        return if s.input.is_none() || s.is_partial { linger(s, t) } else { super::resume(s, t) };
    };
    let Some(exchange) = t.core.exchanges.get_mut(key) else { return };
    exchange.keep_alive = false;
    if exchange.upload == Upload::Open && s.input.is_none() {
        if exchange.reply == Reply::Done {
            exchange.upload = Upload::Done;
            return settle(s, t, key);
        }
        // Half a request: nobody waits for its answer.
        t.core.page.requests.count_error(Error::Truncated);
        exchange.reason = Some(Error::Truncated.name());
        super::abort(s, t);
    }
}

/// Sends an answer of our own: `exchange.answer`, with the body in `core.text`.
pub(super) fn send_own(s: &mut Session, t: &mut Turn<'_>, key: Key, is_head: bool) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    // What is left of the request's body is not worth reading.
    exchange.keep_alive &= exchange.upload == Upload::Done && !core.is_draining;
    let hop = Hop {
        body: BodyKind::Length(core.text.len() as u64),
        connection: connection(exchange),
        via: core.policy.forwarding.via.as_deref(),
    };
    core.out.clear();
    encode::response(&exchange.answer, hop, &mut core.out);
    if !is_head {
        core.out.extend_from_slice(&core.text);
    }
    exchange.reply = Reply::Done;
    s.wire.send_all(&core.out, &mut core.store, t.front, t.now);
    settle(s, t, key);
}

/// What a client is told about its connection.
pub(super) fn connection(exchange: &Exchange) -> Connection {
    match (exchange.keep_alive, exchange.request.version()) {
        (false, _) => Connection::Close,
        (true, Version::Http10) => Connection::KeepAliveNamed,
        (true, _) => Connection::KeepAlive,
    }
}

/// 100: the client shall send its body.
pub(super) fn send_continue(s: &mut Session, t: &mut Turn<'_>) {
    let core = &mut *t.core;
    core.out.clear();
    encode::proceed(&mut core.out);
    s.wire.send_all(&core.out, &mut core.store, t.front, t.now);
}

/// Whether the switch a response makes is the one asked for.
pub(super) fn may_switch(exchange: &Exchange) -> bool {
    exchange.upgrade == Some(Upgrade::WebSocket) && exchange.stream.is_none()
}

/// Ends the exchange when it is complete, or not worth completing.
pub(super) fn settle(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    if running(s) != Some(key) {
        return;
    }
    let Some(exchange) = t.core.exchanges.get_mut(key) else { return };
    if exchange.reply != Reply::Done {
        return;
    }
    if exchange.upload == Upload::Open {
        let left = exchange.decoder.as_ref().and_then(Decoder::remaining);
        let is_short = left.is_none_or(|left| left <= upload::DISCARD_BYTES_MAX)
            && exchange.body_received <= exchange.discard_from + upload::DISCARD_BYTES_MAX;
        // A client that was never told to go on may send the body or not: the next request could be either.
        if exchange.keep_alive && is_short && !exchange.expects_continue {
            return;
        }
        exchange.keep_alive = false;
    }
    let keep_alive = exchange.keep_alive && !s.wire.is_ended;
    record::close(t, key);
    if let State::Http1(http1) = &mut s.state {
        *http1 = Http1::default();
    }
    if keep_alive {
        s.since = t.now;
        s.is_partial = false;
    } else {
        linger(s, t);
    }
}

/// Sends what the backend has for the client.
pub(super) fn pump(s: &mut Session, t: &mut Turn<'_>) {
    if let Some(key) = running(s) {
        download::pump(s, t, key);
    }
}
