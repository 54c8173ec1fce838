//! HTTP/2 with a client: a stream per request, all in one connection (RFC 9113).
//!
//! Owns: which exchange belongs to which stream, and the order in which streams are served. Does not own: frames,
//! flow control, limits on what a client may do (`secbeat_http::h2`), what becomes of a request (`request`).
//! Back-pressure: a stream's body is taken from the client as far as the backend takes it, and from the backend as
//! far as the stream's window, the connection's and the client's socket allow.

use secbeat_http::h1::BodyKind;
use secbeat_http::h2::{Event, Reason, Server, StreamId, Violation};
use secbeat_http::head::{Fields, Method, Version};

use super::download::{self, Looked};
use super::exchange::{Exchange, Pace, Reply, Upload};
use super::request::{self, Arrival};
use super::slab::Key;
use super::state::{Session, State, Turn};
use super::{linger, record, upload};
use crate::event::{AttackKind, Offence};
use crate::telemetry::counters::Counter;
use crate::upstream::http::ExchangeId;

/// Rounds of "events, then output" in one call. A round only repeats when output made room for more; what is left is
/// done when the client takes more.
const ROUNDS_MAX: usize = 64;

/// Room for streams that an idle connection keeps, 24 bytes each: as many as clients use that ask for one thing after
/// another.
const STREAMS_KEPT_MAX: usize = 8;

/// The state of a connection that speaks HTTP/2.
pub(super) struct Http2 {
    server: Server,
    /// Open streams that have an exchange.
    streams: Vec<(StreamId, Key)>,
}

impl core::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Http2").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

fn http2(s: &mut Session) -> Option<&mut Http2> {
    match &mut s.state {
        State::Http2(http2) => Some(http2),
        _ => None,
    }
}

fn stream_of(t: &Turn<'_>, key: Key) -> Option<StreamId> {
    t.core.exchanges.get(key)?.stream
}

/// Begins with our SETTINGS.
pub(super) fn open(s: &mut Session, t: &mut Turn<'_>) {
    let server = Server::new(std::sync::Arc::clone(&t.core.policy.h2), t.now.as_millis());
    s.state = State::Http2(Box::new(Http2 { server, streams: Vec::new() }));
    s.since = t.now;
    s.is_partial = false;
    turn(s, t);
}

/// Takes plaintext; returns how much.
pub(super) fn receive(s: &mut Session, t: &mut Turn<'_>, bytes: &[u8]) -> usize {
    let now_ms = t.now.as_millis();
    let Some(http2) = http2(s) else { return 0 };
    let taken = http2.server.receive(bytes, now_ms, &mut t.core.h2_pool);
    turn(s, t);
    taken
}

/// Handles what happened and sends what there is, until nothing further comes of it.
pub(super) fn turn(s: &mut Session, t: &mut Turn<'_>) {
    for _ in 0..ROUNDS_MAX {
        let mut is_quiet = true;
        while let Some(event) = http2(s).and_then(|http2| http2.server.poll_event()) {
            is_quiet = false;
            handle(s, t, event);
        }
        if !flush(s, t) && is_quiet {
            break;
        }
    }
    rest(s, t);
}

/// Sends output as far as the client takes it; true when something went out.
fn flush(s: &mut Session, t: &mut Turn<'_>) -> bool {
    let Session { wire, state: State::Http2(http2), .. } = s else { return false };
    let mut has_sent = false;
    loop {
        let output = http2.server.output();
        if output.is_empty() {
            return has_sent;
        }
        let taken = wire.send(output, &mut t.core.store, t.front, t.now);
        http2.server.consume_output(taken);
        has_sent |= taken > 0;
        if taken == 0 {
            return has_sent;
        }
    }
}

/// After a turn: the end of the connection, or memory an idle one does not need.
fn rest(s: &mut Session, t: &mut Turn<'_>) {
    let State::Http2(http2) = &mut s.state else { return };
    if http2.streams.is_empty() && http2.streams.capacity() > STREAMS_KEPT_MAX {
        http2.streams = Vec::new();
    }
    http2.server.settle(&mut t.core.h2_pool);
    // A client that has ended its direction answers no PING and asks for nothing more.
    let is_left = s.wire.is_ended && http2.streams.is_empty();
    if (is_left || http2.server.is_closed()) && http2.server.output().is_empty() {
        for (_, key) in core::mem::take(&mut http2.streams) {
            record::close(t, key);
        }
        linger(s, t);
    }
}

fn handle(s: &mut Session, t: &mut Turn<'_>, event: Event) {
    match event {
        Event::Request { stream, end } => begin(s, t, stream, end),
        Event::Data { stream } => {
            if let Some(key) = exchange_of(s, stream) {
                receive_body(s, t, key);
            }
        }
        Event::End { stream } => {
            if let Some(key) = exchange_of(s, stream) {
                if let Some(exchange) = t.core.exchanges.get_mut(key) {
                    exchange.is_end_seen = true;
                }
                receive_body(s, t, key);
            }
        }
        Event::Reset { stream, .. } => {
            if let Some(key) = exchange_of(s, stream) {
                forget(s, key);
                record::close(t, key);
            }
        }
        Event::Writable { stream } => {
            if let Some(key) = exchange_of(s, stream) {
                pump(s, t, key);
            }
        }
        Event::Violation { stream, violation } => note(s, t, stream, violation),
        Event::Draining | Event::Closed { .. } => {}
    }
}

/// Counts a violation; what is more than a slip is an offence.
fn note(s: &Session, t: &mut Turn<'_>, stream: Option<StreamId>, violation: Violation) {
    t.core.page.requests.count_violation(violation);
    if stream.is_some() {
        return;
    }
    t.core.page.add_attack(AttackKind::ProtocolAbuse, 1);
    let (source, listener, now) = (s.source.ip(), s.listener, t.now);
    t.core.reporter.report(|worker| {
        super::report::Report::of_session(
            worker,
            listener,
            AttackKind::ProtocolAbuse,
            violation.name(),
            source,
            now,
        )
    });
    if !s.is_exempt {
        t.core.reporter.offend(source, Offence::Request, &t.core.policy.offences, now);
    }
}

fn exchange_of(s: &mut Session, stream: StreamId) -> Option<Key> {
    http2(s)?.streams.iter().find(|(id, _)| *id == stream).map(|(_, key)| *key)
}

fn forget(s: &mut Session, key: Key) {
    if let Some(http2) = http2(s) {
        http2.streams.retain(|(_, other)| *other != key);
    }
}

fn begin(s: &mut Session, t: &mut Turn<'_>, stream: StreamId, end: bool) {
    let tls = s.tls_facts();
    let Session { key: session, listener, source, destination, requests, state: State::Http2(http2), .. } = s
    else {
        return;
    };
    let core = &mut *t.core;
    let Some(key) = core.exchanges.take(Exchange::new) else {
        http2.server.reset(stream, Reason::RefusedStream);
        core.page.count(Counter::SessionsRefused);
        return;
    };
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    if let Some(head) = http2.server.request_mut(stream) {
        core::mem::swap(&mut exchange.request, head);
    }
    exchange.request.set_version(Version::Http2);
    exchange.session = *session;
    exchange.stream = Some(stream);
    exchange.listener = *listener;
    exchange.source = source.ip();
    (exchange.peer, exchange.server) = (*source, *destination);
    exchange.started = t.now;
    exchange.is_readable = true;
    exchange.keep_alive = true;
    exchange.tls = tls;
    exchange.is_end_seen = end;
    exchange.is_last = false;
    if !end {
        exchange.body = http2.server.content_length(stream).map_or(BodyKind::Chunked, BodyKind::Length);
        exchange.upload = Upload::Open;
        exchange.pace = Pace::start(t.now);
        let expect = exchange.request.fields().known(secbeat_http::head::Known::Expect);
        exchange.expects_continue = expect.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    }
    http2.streams.push((stream, key));
    *requests = requests.saturating_add(1);
    core.page.count(Counter::RequestsHttp2);
    let is_last = core.policy.limits.requests_max.is_some_and(|max| *requests >= max);
    if is_last {
        http2.server.shut_down(t.now.as_millis());
    }
    let is_last = !end && !exchange.request.method().expects_body();
    request::start(s, t, key, Arrival { upgrade: None, is_last });
}

/// Passes on what waits of a request's body.
pub(super) fn receive_body(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    loop {
        let room = upload::room(t, key);
        let core = &mut *t.core;
        let Some(exchange) = core.exchanges.get_mut(key) else { return };
        let (Some(stream), State::Http2(http2)) = (exchange.stream, &mut s.state) else { return };
        if exchange.upload == Upload::Done {
            return;
        }
        let waiting = http2.server.peek_body(stream);
        if waiting.is_empty() {
            if exchange.is_end_seen {
                upload::end(s, t, key);
                return settle(s, t, key);
            }
            return;
        }
        if room == 0 {
            if let Some(upstream) = exchange.upstream {
                core.client.want_room(upstream);
            }
            return;
        }
        // The stream's buffer is lent while its bytes are passed on.
        core.out.clear();
        core.out.extend_from_slice(waiting.get(..room.min(waiting.len())).unwrap_or_default());
        let bytes = core::mem::take(&mut core.out);
        http2.server.consume_body(stream, bytes.len());
        let goes_on = upload::accept(s, t, key, &bytes);
        t.core.out = bytes;
        if !goes_on {
            return;
        }
    }
}

/// The trailers of a stream's request, once it is complete.
pub(super) fn trailers(s: &mut Session, stream: StreamId) -> Option<&mut Fields> {
    http2(s)?.server.trailers_mut(stream)
}

/// Sends what the backend, or we ourselves, have for a stream, as far as it may.
pub(super) fn pump(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    loop {
        let Some(exchange) = t.core.exchanges.get(key) else { return };
        let is_done = match (exchange.reply, exchange.upstream) {
            (Reply::Done, _) => return,
            (Reply::Expect, None) => return,
            (Reply::Expect, Some(upstream)) if t.core.client.response(upstream).is_none() => return,
            (Reply::Expect, Some(upstream)) => match download::look(s, t, key, upstream) {
                Looked::Pass => send_head(s, t, key, upstream),
                Looked::Wait | Looked::Ended => return,
            },
            (Reply::Body(_), upstream) => match send_body(s, t, key, upstream) {
                Some(is_done) => is_done,
                None => return,
            },
        };
        if is_done {
            return finish(s, t, key);
        }
    }
}

fn finish(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    let core = &mut *t.core;
    if let Some(exchange) = core.exchanges.get_mut(key) {
        exchange.reply = Reply::Done;
        exchange.discard_from = exchange.body_received;
        exchange.detach(&mut core.client);
        core.store.buffers.release(&mut exchange.request_held);
    }
    settle(s, t, key);
}

fn send_head(s: &mut Session, t: &mut Turn<'_>, key: Key, upstream: ExchangeId) -> bool {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return false };
    let (Some(stream), State::Http2(http2)) = (exchange.stream, &mut s.state) else { return false };
    let Some(response) = core.client.response_mut(upstream) else { return false };
    let is_bodiless = exchange.request.method() == Method::Head || matches!(response.status(), 204 | 304);
    if let Some(via) = core.policy.forwarding.via.as_deref() {
        core.text.clear();
        core.text.extend_from_slice(b"1.1 ");
        core.text.extend_from_slice(via.as_bytes());
        let _ = response.fields_mut().append(b"via", &core.text);
    }
    let kind = core.client.response_body(upstream);
    let is_empty = is_bodiless
        || matches!(kind, BodyKind::None | BodyKind::Length(0))
        || (core.client.is_complete(upstream)
            && core.client.peek_body(upstream).is_empty()
            && core.client.trailers(upstream).is_none_or(Fields::is_empty)
            && exchange.response_held.is_none());
    exchange.reply = Reply::Body(kind);
    let Some(response) = core.client.response(upstream) else { return false };
    if http2.server.respond(stream, response, is_empty).is_err() {
        reset(s, t, key);
        return false;
    }
    is_empty
}

/// Sends a piece of the body. `None`: nothing can be sent now; else whether that was the last.
fn send_body(s: &mut Session, t: &mut Turn<'_>, key: Key, upstream: Option<ExchangeId>) -> Option<bool> {
    let core = &mut *t.core;
    let exchange = core.exchanges.get_mut(key)?;
    let (Some(stream), State::Http2(http2)) = (exchange.stream, &mut s.state) else { return None };
    if let Some(held) = &exchange.response_held {
        let is_last = upstream.is_none();
        let len = held.len();
        let taken = http2.server.send(stream, held.bytes(), is_last);
        core.store.buffers.consume(&mut exchange.response_held, taken);
        exchange.body_sent += taken as u64;
        core.page.add(Counter::ResponseBodyBytes, taken as u64);
        return (taken == len).then_some(is_last);
    }
    let upstream = upstream?;
    let waiting = core.client.peek_body(upstream).len();
    let is_complete = core.client.is_complete(upstream);
    if waiting == 0 && !is_complete {
        return None;
    }
    if !download::inspect_piece(s, t, key, upstream, waiting, is_complete) {
        return None;
    }
    let core = &mut *t.core;
    let State::Http2(http2) = &mut s.state else { return None };
    let trailers = core.client.trailers(upstream).filter(|fields| is_complete && !fields.is_empty());
    let is_last = is_complete && trailers.is_none();
    let bytes = core.client.peek_body(upstream);
    let taken = http2.server.send(stream, bytes, is_last);
    let is_whole = taken == bytes.len();
    if is_whole && let Some(trailers) = trailers {
        // The stream is gone only if the client reset it, which the next event says.
        let _ = http2.server.send_trailers(stream, trailers);
    }
    download::consume(t, key, upstream, taken);
    is_whole.then_some(is_complete)
}

/// Sends an answer of our own: `exchange.answer`, with the body in `core.text`.
pub(super) fn send_own(s: &mut Session, t: &mut Turn<'_>, key: Key, is_head: bool) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let (Some(stream), State::Http2(http2)) = (exchange.stream, &mut s.state) else { return };
    core.out.clear();
    let _ = std::io::Write::write_fmt(&mut core.out, format_args!("{}", core.text.len()));
    let _ = exchange.answer.fields_mut().append(b"content-length", &core.out);
    exchange.reply = Reply::Body(BodyKind::Length(core.text.len() as u64));
    let is_empty = is_head || core.text.is_empty();
    if http2.server.respond(stream, &exchange.answer, is_empty).is_err() {
        return reset(s, t, key);
    }
    exchange.body_sent = 0;
    if is_empty {
        return finish(s, t, key);
    }
    core.store.buffers.push(&mut exchange.response_held, &core.text);
    pump(s, t, key);
}

/// 100: the client shall send its body.
pub(super) fn send_continue(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let (Some(stream), State::Http2(http2)) = (exchange.stream, &mut s.state) else { return };
    exchange.answer.clear();
    // A stream that is gone says so in its next event.
    if exchange.answer.set_status(100).is_ok() {
        let _ = http2.server.respond(stream, &exchange.answer, false);
    }
}

/// Ends a stream in the middle.
pub(super) fn reset(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    if let (Some(stream), State::Http2(http2)) = (stream_of(t, key), &mut s.state) {
        http2.server.reset(stream, Reason::InternalError);
    }
    forget(s, key);
    record::close(t, key);
}

/// Ends the exchange when its response is complete. A body the client still sends is of no more use: the stream is
/// reset without error (RFC 9113 §8.1).
fn settle(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    let Some(exchange) = t.core.exchanges.get(key) else { return };
    if exchange.reply != Reply::Done {
        return;
    }
    if let (Upload::Open, Some(stream), State::Http2(http2)) =
        (exchange.upload, exchange.stream, &mut s.state)
    {
        http2.server.reset(stream, Reason::NoError);
    }
    forget(s, key);
    record::close(t, key);
    if let Some(http2) = http2(s)
        && http2.streams.is_empty()
    {
        s.since = t.now;
    }
}

/// The client ended its direction: what it had asked for whole is answered.
pub(super) fn handle_end(s: &mut Session, t: &mut Turn<'_>) {
    let mut index = 0;
    while let Some((stream, key)) = http2(s).and_then(|http2| http2.streams.get(index).copied()) {
        let is_whole = t.core.exchanges.get(key).is_some_and(|exchange| exchange.is_end_seen);
        if is_whole {
            index += 1;
        } else {
            if let Some(http2) = http2(s) {
                http2.server.reset(stream, Reason::Cancel);
            }
            forget(s, key);
            record::close(t, key);
        }
    }
    shut_down(s, t);
    if stream_count(s) == 0 {
        linger(s, t);
    }
}

/// Ends all exchanges of a connection that is gone.
pub(super) fn forget_all(mut http2: Http2, t: &mut Turn<'_>) {
    for (_, key) in http2.streams.drain(..) {
        record::close(t, key);
    }
    http2.server.settle(&mut t.core.h2_pool);
}

/// GOAWAY: running streams finish, new ones are not taken.
pub(super) fn shut_down(s: &mut Session, t: &mut Turn<'_>) {
    if let Some(http2) = http2(s) {
        http2.server.shut_down(t.now.as_millis());
    }
    turn(s, t);
}

/// Open streams with an exchange.
pub(super) fn stream_count(s: &Session) -> usize {
    match &s.state {
        State::Http2(http2) => http2.streams.len(),
        _ => 0,
    }
}

/// The exchanges of its streams.
pub(super) fn exchanges(s: &Session) -> impl Iterator<Item = Key> {
    let streams = match &s.state {
        State::Http2(http2) => http2.streams.as_slice(),
        _ => &[],
    };
    streams.iter().map(|(_, key)| *key)
}

/// When the protocol itself wants to be called.
pub(super) fn poll_timeout(s: &Session) -> Option<u64> {
    match &s.state {
        State::Http2(http2) => http2.server.poll_timeout(),
        _ => None,
    }
}

/// Times of the protocol itself.
pub(super) fn handle_timeout(s: &mut Session, t: &mut Turn<'_>) {
    if let Some(http2) = http2(s) {
        http2.server.handle_timeout(t.now.as_millis());
    }
    turn(s, t);
}
