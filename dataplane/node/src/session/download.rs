//! A response on its way to a client that speaks HTTP/1.
//!
//! Owns: how it is framed, its inspection, the buffer in which its body is held for that. Does not own: what the head
//! says (`reply`), the window towards the backend (`upstream::http`).
//! Back-pressure: a body is taken from the backend only as far as the client takes it; see `wire`.
//! Cost: head and the beginning of the body leave in one send; the rest goes from the read buffer to the front.

use secbeat_http::h1::BodyKind;
use secbeat_http::h1::encode::{self, Hop};
use secbeat_http::head::{Method, Version};

use super::exchange::{Exchange, Hold, Reply};
use super::inspect;
use super::reply::{self, Own};
use super::slab::Key;
use super::state::{Session, Turn};
use super::{http1, request, tunnel};
use crate::telemetry::counters::Counter;
use crate::upstream::http::ExchangeId;

/// Bytes of a body that leave with its head, and payload of a chunk: a TLS record's worth.
const FIRST_BYTES_MAX: usize = 16 << 10;

/// What became of a look at the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// It may go out.
    Pass,
    /// The body is collected first.
    Wait,
    /// The request has ended over it.
    Ended,
}

/// Sends what there is and what fits.
pub(super) fn pump(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    loop {
        let Some(exchange) = t.core.exchanges.get(key) else { return };
        let Some(upstream) = exchange.upstream else { return };
        let is_done = match exchange.reply {
            Reply::Expect if t.core.client.response(upstream).is_none() => return,
            Reply::Expect => match look(s, t, key, upstream) {
                Looked::Pass => send_head(s, t, key, upstream),
                Looked::Wait | Looked::Ended => return,
            },
            Reply::Body(kind) => match send_body(s, t, key, upstream, kind) {
                Some(is_done) => is_done,
                None => return,
            },
            Reply::Done => return,
        };
        if is_done {
            return finish(s, t, key);
        }
    }
}

fn finish(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    if let Some(exchange) = t.core.exchanges.get_mut(key) {
        exchange.reply = Reply::Done;
        exchange.discard_from = exchange.body_received;
        exchange.detach(&mut t.core.client);
        t.core.store.buffers.release(&mut exchange.request_held);
    }
    http1::settle(s, t, key);
}

/// Inspects a response's head, once, and collects its body if that is wanted.
pub(super) fn look(s: &mut Session, t: &mut Turn<'_>, key: Key, upstream: ExchangeId) -> Looked {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return Looked::Ended };
    if !exchange.is_response_seen {
        exchange.is_response_seen = true;
        let Some(response) = core.client.response_mut(upstream) else { return Looked::Wait };
        exchange.status = response.status();
        let (verdict, wants) = core.inspector.response_head(&mut exchange.transaction, response, &core.page);
        reply::rewrite(&core.policy.forwarding, response, &exchange.id, &mut core.date, t.now);
        exchange.transaction.sees_response_body = wants != inspect::Body::Pass;
        if let inspect::Body::Whole { bytes_max, pass_longer } = wants {
            exchange.transaction.passes_longer_response = pass_longer;
            exchange.response_hold = Hold::Collect { bytes_max };
        }
        if !request::apply(s, t, key, verdict) {
            return Looked::Ended;
        }
    }
    collect(s, t, key, upstream)
}

/// Takes a held body from the backend until it is whole or too long, then judges it.
fn collect(s: &mut Session, t: &mut Turn<'_>, key: Key, upstream: ExchangeId) -> Looked {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return Looked::Ended };
    let Hold::Collect { bytes_max } = exchange.response_hold else { return Looked::Pass };
    let held = exchange.response_held.as_ref().map_or(0, |held| held.len());
    let waiting = core.client.peek_body(upstream);
    let len = waiting.len().min(bytes_max.saturating_sub(held));
    let has_room = exchange.may_hold(len, &mut core.held_bytes, &core.policy.inspection);
    let len = if has_room { len } else { 0 };
    if !has_room {
        core.page.count(Counter::WafHeldFull);
    }
    core.store.buffers.push(&mut exchange.response_held, waiting.get(..len).unwrap_or_default());
    let is_whole = core.client.is_complete(upstream) && len == waiting.len();
    core.client.consume_body(upstream, len);
    if !is_whole && held + len < bytes_max && has_room {
        return Looked::Wait;
    }
    if !is_whole && !exchange.transaction.passes_longer_response {
        exchange.reason = Some("response_too_long_to_inspect");
        reply::own(s, t, key, Own::page(502));
        return Looked::Ended;
    }
    exchange.response_hold = Hold::Release;
    let bytes = exchange.response_held.as_ref().map_or(&b""[..], |held| held.bytes());
    let verdict = core.inspector.response_body(&mut exchange.transaction, bytes, is_whole);
    if request::apply(s, t, key, verdict) { Looked::Pass } else { Looked::Ended }
}

/// Shows a piece that is about to pass to the inspector; false when that ends the request.
pub(super) fn inspect_piece(
    s: &mut Session,
    t: &mut Turn<'_>,
    key: Key,
    upstream: ExchangeId,
    len: usize,
    is_last: bool,
) -> bool {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return false };
    if !exchange.transaction.sees_response_body || exchange.response_hold != Hold::No {
        return true;
    }
    // A piece that was cut short by a slow client comes again with more behind it: only the new bytes are shown.
    let bytes = core.client.peek_body(upstream);
    let seen = exchange.response_seen.min(len);
    let new = bytes.get(seen..len).unwrap_or_default();
    if new.is_empty() && (!is_last || exchange.is_response_end_seen) {
        return true;
    }
    exchange.is_response_end_seen = is_last;
    exchange.response_seen = len;
    let verdict = core.inspector.response_body(&mut exchange.transaction, new, is_last);
    request::apply(s, t, key, verdict)
}

/// How the client gets a body that the backend framed as `kind`.
fn framing(exchange: &Exchange, kind: BodyKind, status: u16) -> BodyKind {
    let has_none = exchange.request.method() == Method::Head || matches!(status, 204 | 304);
    match kind {
        _ if has_none => BodyKind::None,
        BodyKind::None | BodyKind::Length(_) => kind,
        // HTTP/1.0 knows no chunks; the end of the connection ends the body.
        _ if exchange.request.version() == Version::Http10 => BodyKind::UntilClose,
        _ => BodyKind::Chunked,
    }
}

/// Sends the head with what there is of the body. True when that was all.
fn send_head(s: &mut Session, t: &mut Turn<'_>, key: Key, upstream: ExchangeId) -> bool {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return false };
    let Some(response) = core.client.response(upstream) else { return false };
    if response.status() == 101 && http1::may_switch(exchange) {
        tunnel::open(s, t, key);
        return false;
    }
    let kind = framing(exchange, core.client.response_body(upstream), response.status());
    if kind == BodyKind::UntilClose || core.is_draining {
        exchange.keep_alive = false;
    }
    let via = core.policy.forwarding.via.as_deref();
    let hop = Hop { body: kind, connection: http1::connection(exchange), via };
    core.out.clear();
    encode::response(response, hop, &mut core.out);
    exchange.reply = Reply::Body(kind);
    let is_held = exchange.response_held.is_some();
    let is_done = kind == BodyKind::None || (!is_held && append_first(s, t, key, upstream, kind));
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get(key) else { return false };
    if exchange.upstream.is_none() {
        // Inspection of the first piece ended it.
        return false;
    }
    s.wire.send_all(&core.out, &mut core.store, t.front, t.now);
    is_done
}

/// Appends the beginning of the body to `core.out`; true when that is all of it.
fn append_first(s: &mut Session, t: &mut Turn<'_>, key: Key, upstream: ExchangeId, kind: BodyKind) -> bool {
    let waiting = t.core.client.peek_body(upstream).len();
    let len = waiting.min(FIRST_BYTES_MAX);
    let is_last = len == waiting && t.core.client.is_complete(upstream);
    if !inspect_piece(s, t, key, upstream, len, is_last) {
        return false;
    }
    let core = &mut *t.core;
    let bytes = core.client.peek_body(upstream).get(..len).unwrap_or_default();
    append(bytes, kind, &mut core.out);
    if is_last && kind == BodyKind::Chunked {
        encode::last_chunk(core.client.trailers(upstream), &mut core.out);
    }
    consume(t, key, upstream, len);
    is_last
}

fn append(bytes: &[u8], kind: BodyKind, out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    if kind == BodyKind::Chunked {
        encode::chunk_head(bytes.len(), out);
    }
    out.extend_from_slice(bytes);
    if kind == BodyKind::Chunked {
        encode::chunk_tail(out);
    }
}

/// Notes bytes as sent.
pub(super) fn consume(t: &mut Turn<'_>, key: Key, upstream: ExchangeId, len: usize) {
    t.core.client.consume_body(upstream, len);
    if let Some(exchange) = t.core.exchanges.get_mut(key) {
        exchange.response_seen = exchange.response_seen.saturating_sub(len);
    }
    count(t, key, len);
}

fn count(t: &mut Turn<'_>, key: Key, len: usize) {
    t.core.page.add(Counter::ResponseBodyBytes, len as u64);
    if let Some(exchange) = t.core.exchanges.get_mut(key) {
        exchange.body_sent += len as u64;
    }
}

/// Sends a piece of the body. `None`: nothing can be sent now; else whether that was the last.
fn send_body(
    s: &mut Session,
    t: &mut Turn<'_>,
    key: Key,
    upstream: ExchangeId,
    kind: BodyKind,
) -> Option<bool> {
    if !s.wire.is_clear() {
        return None;
    }
    if t.core.exchanges.get(key)?.response_held.is_some() {
        return send_held(s, t, key, kind);
    }
    let core = &mut *t.core;
    let waiting = core.client.peek_body(upstream).len();
    let is_complete = core.client.is_complete(upstream);
    if waiting == 0 && !is_complete {
        s.wire.pace = None;
        return None;
    }
    let len = if kind == BodyKind::Chunked { waiting.min(FIRST_BYTES_MAX) } else { waiting };
    let is_last = len == waiting && is_complete;
    if !inspect_piece(s, t, key, upstream, len, is_last) {
        return None;
    }
    let core = &mut *t.core;
    let bytes = core.client.peek_body(upstream).get(..len).unwrap_or_default();
    if kind == BodyKind::Chunked {
        core.out.clear();
        append(bytes, kind, &mut core.out);
        if is_last {
            encode::last_chunk(core.client.trailers(upstream), &mut core.out);
        }
        s.wire.send_all(&core.out, &mut core.store, t.front, t.now);
        consume(t, key, upstream, len);
        return Some(is_last);
    }
    let taken = s.wire.send(bytes, &mut core.store, t.front, t.now);
    consume(t, key, upstream, taken);
    if taken == 0 && len > 0 {
        // The front is full: it says when there is room. (Some and not all is no sign of that: TLS takes what it
        // expects to fit, and a front that then took everything says nothing later.)
        return None;
    }
    Some(is_last && taken == len)
}

/// Sends a piece of a body that was held.
fn send_held(s: &mut Session, t: &mut Turn<'_>, key: Key, kind: BodyKind) -> Option<bool> {
    let core = &mut *t.core;
    let exchange = core.exchanges.get_mut(key)?;
    let held = exchange.response_held.as_ref()?;
    let len = held.len().min(FIRST_BYTES_MAX);
    core.out.clear();
    append(held.bytes().get(..len)?, kind, &mut core.out);
    core.store.buffers.consume(&mut exchange.response_held, len);
    s.wire.send_all(&core.out, &mut core.store, t.front, t.now);
    count(t, key, len);
    Some(false)
}
