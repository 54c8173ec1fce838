//! How bytes, ends and events move through the states of a session.
//!
//! Owns: TLS around the states, the input that waits in a session, the common ends: [`linger`], [`close`], [`abort`].
//! Does not own: what each state does with plaintext.
//! Input waits here only as the beginning of a head, or (TLS) when a record held more than could be used; what else
//! cannot be used stays with the front, which reads no more until it is told to.

use super::buffer::Buffer;
use super::exchange::{Reply, Upload};
use super::http1::Http1;
use super::reply::Own;
use super::slab::Key;
use super::state::{Session, State, Turn};
use super::tls::{Outcome, Protocol, Received, TlsError};
use super::{PREFACE, http1, http2, record, reply, tunnel, upload};
use crate::telemetry::counters::Counter;
use crate::upstream::http::What;

/// Bytes from the front; returns how many were taken.
pub(super) fn receive(s: &mut Session, t: &mut Turn<'_>, bytes: &mut [u8]) -> usize {
    let taken = if s.wire.tls.is_some() { receive_tls(s, t, bytes) } else { receive_plain(s, t, bytes) };
    if taken < bytes.len() && !s.is_gone() {
        s.wire.is_paused = true;
    }
    taken
}

fn receive_plain(s: &mut Session, t: &mut Turn<'_>, bytes: &[u8]) -> usize {
    let mut taken = 0;
    if s.input.is_some() {
        let held = s.input.as_ref().map_or(0, Buffer::len);
        // One more than a head may have: the parser then says that it is too long.
        let max = t.core.policy.limits.head.head_bytes_max as usize + 1;
        taken = bytes.len().min(max.saturating_sub(held));
        t.core.store.buffers.push(&mut s.input, bytes.get(..taken).unwrap_or_default());
        use_input(s, t);
        if s.input.is_some() {
            return taken;
        }
    }
    let rest = bytes.get(taken..).unwrap_or_default();
    taken += use_plain(s, t, rest);
    if taken < bytes.len() && s.is_partial {
        t.core.store.buffers.push(&mut s.input, bytes.get(taken..).unwrap_or_default());
        taken = bytes.len();
    }
    taken
}

fn receive_tls(s: &mut Session, t: &mut Turn<'_>, bytes: &mut [u8]) -> usize {
    let mut taken = 0;
    // While plaintext waits for a slow backend, no more is decrypted.
    while (s.input.is_none() || s.is_partial) && !s.is_gone() {
        let core = &mut *t.core;
        let (Some(stream), Some(engine)) = (&mut s.wire.tls, &mut core.tls) else { return bytes.len() };
        let rest = bytes.get_mut(taken..).unwrap_or_default();
        core.plain.clear();
        core.store.records.clear();
        let result = stream.receive(engine, rest, &mut core.plain, &mut core.store.records, t.now);
        s.wire.hand_over(&mut core.store, t.front, t.now);
        match result {
            Ok(received) => {
                taken += received.taken;
                let is_stuck = received.taken == 0 && core.plain.is_empty();
                use_received(s, t, received);
                if taken >= bytes.len() || is_stuck {
                    break;
                }
            }
            Err(error) => {
                fail_tls(s, t, &error);
                return bytes.len();
            }
        }
    }
    taken
}

fn use_received(s: &mut Session, t: &mut Turn<'_>, received: Received) {
    if let Some(outcome) = received.established {
        t.core.page.requests.count_handshake(outcome);
        s.since = t.now;
        let protocol = s.wire.tls.as_ref().and_then(|stream| stream.protocol());
        match protocol {
            Some(Protocol::H2) => http2::open(s, t),
            _ => s.state = State::Http1(Http1::default()),
        }
    }
    if !t.core.plain.is_empty() {
        let mut plain = core::mem::take(&mut t.core.plain);
        if s.input.is_some() {
            t.core.store.buffers.push(&mut s.input, &plain);
            use_input(s, t);
        } else {
            let used = use_plain(s, t, &plain);
            if !s.is_gone() {
                t.core.store.buffers.push(&mut s.input, plain.get(used..).unwrap_or_default());
            }
        }
        plain.clear();
        t.core.plain = plain;
    }
    if received.is_end && !s.is_gone() {
        s.wire.is_ended = true;
        handle_end(s, t);
    }
}

fn fail_tls(s: &mut Session, t: &mut Turn<'_>, error: &TlsError) {
    if matches!(s.state, State::Handshake) {
        t.core.page.requests.count_handshake(error.outcome());
        if !matches!(error, TlsError::SourceLimit | TlsError::WorkerLimit) && !s.wire.is_clear() {
            return linger(s, t);
        }
    }
    abort(s, t);
}

/// Gives plaintext to the state; returns how much was used. With `is_partial` set, what is left is wanted again with
/// more behind it.
fn use_plain(s: &mut Session, t: &mut Turn<'_>, bytes: &[u8]) -> usize {
    let mut used = 0;
    while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
        let count = match s.state {
            State::Gone | State::Handshake | State::Linger => rest.len(),
            State::Preface => {
                choose(s, t, rest);
                if s.is_partial {
                    break;
                }
                continue;
            }
            State::Http1(_) => http1::receive(s, t, rest),
            State::Http2(_) => http2::receive(s, t, rest),
            State::Tunnel(key) => tunnel::receive(s, t, key, rest),
        };
        if count == 0 {
            break;
        }
        used += count;
    }
    used
}

/// Which version a client without TLS speaks: the preface of HTTP/2 is no request of HTTP/1 (RFC 9113 §3.4).
fn choose(s: &mut Session, t: &mut Turn<'_>, bytes: &[u8]) {
    let len = bytes.len().min(PREFACE.len());
    s.is_partial = bytes.get(..len) == PREFACE.get(..len) && len < PREFACE.len();
    if s.is_partial {
        return;
    }
    if bytes.starts_with(PREFACE) {
        http2::open(s, t);
    } else {
        s.state = State::Http1(Http1::default());
    }
}

/// Uses what waits in the session.
fn use_input(s: &mut Session, t: &mut Turn<'_>) {
    let Some(mut input) = s.input.take() else { return };
    let used = use_plain(s, t, input.bytes());
    input.consume(used);
    if input.is_empty() || s.is_gone() {
        t.core.store.buffers.give_back(input);
    } else {
        s.input = Some(input);
    }
}

/// Goes on with input: what waits here, then what waits at the front.
pub(super) fn resume(s: &mut Session, t: &mut Turn<'_>) {
    if s.input.is_some() && !s.is_partial {
        use_input(s, t);
    }
    if s.is_gone() {
        return;
    }
    if s.input.is_none() || s.is_partial {
        s.wire.resume(t.front);
    }
    if s.wire.is_ended && s.input.is_none() && !s.wire.is_paused && matches!(s.state, State::Http1(_)) {
        handle_end(s, t);
    }
}

/// The client can take more, or the backend has said something: sends what there is and goes on with input.
pub(super) fn advance(s: &mut Session, t: &mut Turn<'_>) {
    match s.state {
        State::Gone | State::Handshake | State::Preface => {}
        State::Http1(_) => http1::pump(s, t),
        State::Http2(_) => http2::turn(s, t),
        State::Tunnel(key) => tunnel::pump(s, t, key),
        State::Linger => {}
    }
    if matches!(s.state, State::Linger) {
        return end_linger(s, t);
    }
    if !s.is_gone() {
        resume(s, t);
    }
}

/// The client's direction has ended.
pub(super) fn handle_end(s: &mut Session, t: &mut Turn<'_>) {
    match s.state {
        State::Gone => {}
        State::Handshake | State::Preface => {
            if matches!(s.state, State::Handshake) {
                t.core.page.requests.count_handshake(Outcome::Abandoned);
            }
            linger(s, t);
        }
        State::Http1(_) => http1::handle_end(s, t),
        // Requests that came whole are answered.
        State::Http2(_) => http2::handle_end(s, t),
        State::Tunnel(key) => {
            if s.input.is_none() {
                tunnel::handle_end(s, t, key);
            }
        }
        State::Linger => end_linger(s, t),
    }
}

/// Something happened to an exchange's other side.
pub(super) fn handle_upstream(s: &mut Session, t: &mut Turn<'_>, key: Key, what: What) {
    match what {
        What::Continue => {
            let wants = t.core.exchanges.get(key).is_some_and(|exchange| {
                exchange.expects_continue
                    && exchange.upload == Upload::Open
                    && exchange.reply == Reply::Expect
            });
            if wants {
                if let Some(exchange) = t.core.exchanges.get_mut(key) {
                    exchange.expects_continue = false;
                    exchange.pace = super::exchange::Pace::start(t.now);
                }
                reply::proceed(s, t, key);
            }
        }
        What::Head | What::Body | What::Upgraded => match s.state {
            State::Http2(_) => http2::pump(s, t, key),
            State::Tunnel(_) => tunnel::pump(s, t, key),
            _ => http1::pump(s, t),
        },
        What::Writable => {
            upload::release_held(s, t, key);
            if matches!(s.state, State::Http2(_)) {
                http2::receive_body(s, t, key);
            }
        }
        What::Failed(failure) => {
            let Some(exchange) = t.core.exchanges.get_mut(key) else { return };
            exchange.reason = Some(failure.name());
            if exchange.reply == Reply::Expect {
                reply::own(s, t, key, Own::page(failure.status()));
            } else {
                t.core.page.count(Counter::ResponsesTruncated);
                reply::reset(s, t, key);
            }
        }
    }
    if s.is_gone() {
        return;
    }
    if matches!(s.state, State::Http2(_)) {
        http2::turn(s, t);
    }
    if matches!(s.state, State::Linger) { end_linger(s, t) } else { resume(s, t) }
}

/// Ends our direction and waits for the client to end its own; see [`State::Linger`].
pub(super) fn linger(s: &mut Session, t: &mut Turn<'_>) {
    if matches!(s.state, State::Gone | State::Linger) {
        return;
    }
    s.state = State::Linger;
    s.since = t.now;
    s.is_partial = false;
    t.core.store.buffers.release(&mut s.input);
    s.wire.finish(&mut t.core.store, t.front, t.now);
    s.wire.resume(t.front);
    end_linger(s, t);
}

fn end_linger(s: &mut Session, t: &mut Turn<'_>) {
    if s.wire.is_ended && s.wire.is_finished() {
        close(s, t);
    }
}

/// Lets the front finish the connection on its own.
pub(super) fn close(s: &mut Session, t: &mut Turn<'_>) {
    t.front.close(s.wire.client);
    forget(s, t);
}

/// Resets the connection.
pub(super) fn abort(s: &mut Session, t: &mut Turn<'_>) {
    if !s.is_gone() {
        t.front.abort(s.wire.client);
        forget(s, t);
    }
}

/// Gives back all that the session has.
pub(super) fn forget(s: &mut Session, t: &mut Turn<'_>) {
    match core::mem::replace(&mut s.state, State::Gone) {
        State::Http1(Http1 { exchange: Some(key), .. }) | State::Tunnel(key) => record::close(t, key),
        State::Http2(http2) => http2::forget_all(*http2, t),
        _ => {}
    }
    t.core.store.buffers.release(&mut s.input);
    s.wire.release(&mut t.core.store.buffers);
}

/// The node drains: what is idle ends now, the rest after its request.
pub(super) fn drain(s: &mut Session, t: &mut Turn<'_>) {
    match &s.state {
        State::Http2(_) => http2::shut_down(s, t),
        State::Preface | State::Handshake => linger(s, t),
        State::Http1(http1) if http1.exchange.is_none() && s.input.is_none() && s.wire.is_clear() => {
            linger(s, t);
        }
        State::Http1(http1) => {
            if let Some(exchange) = http1.exchange.and_then(|key| t.core.exchanges.get_mut(key))
                && exchange.reply == Reply::Expect
            {
                exchange.keep_alive = false;
            }
        }
        State::Tunnel(_) | State::Linger | State::Gone => {}
    }
}
