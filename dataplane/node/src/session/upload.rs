//! A request's body on its way to the backend.
//!
//! Owns: its size limit, inspection, and the buffer in which it waits while it is held for inspection. Does not
//! own: its framing on either side, the window towards the backend (`upstream::http`).
//! Back-pressure: nobody gives more than [`room`]; what the backend does not take stays with the client.

use secbeat_http::h1::body::Decoder;

use super::exchange::{Hold, Reply, Upload};
use super::reply::{self, Own};
use super::slab::Key;
use super::state::{Session, Turn};
use super::{http2, request};
use crate::event::AttackKind;
use crate::telemetry::counters::Counter;

/// Bytes of a body thrown away after the response has ended, so that the connection can be used again. A client that
/// sends more is cut off.
pub(super) const DISCARD_BYTES_MAX: u64 = 256 << 10;

/// Bytes of the body that can be taken now.
pub(super) fn room(t: &Turn<'_>, key: Key) -> usize {
    let Some(exchange) = t.core.exchanges.get(key) else { return 0 };
    if exchange.reply == Reply::Done {
        return usize::MAX;
    }
    if exchange.delayed.is_some() {
        return 0;
    }
    let held = exchange.request_held.as_ref().map_or(0, |held| held.len());
    match exchange.request_hold {
        Hold::Collect { bytes_max } => bytes_max.saturating_sub(held),
        _ if held > 0 => 0,
        _ => exchange.upstream.map_or(0, |id| t.core.client.room(id)),
    }
}

/// Takes bytes of the body, no more than [`room`] said. False when the request has ended over them.
pub(super) fn accept(s: &mut Session, t: &mut Turn<'_>, key: Key, bytes: &[u8]) -> bool {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return false };
    exchange.expects_continue = false;
    exchange.body_received = exchange.body_received.saturating_add(bytes.len() as u64);
    exchange.pace.add(bytes.len());
    core.page.add(Counter::RequestBodyBytes, bytes.len() as u64);
    if exchange.reply == Reply::Done {
        return true;
    }
    if exchange.body_received > exchange.body_max {
        exchange.reason = Some("body_size");
        reply::own(s, t, key, Own::page(413));
        return false;
    }
    match exchange.request_hold {
        Hold::Collect { bytes_max } => {
            if !exchange.may_hold(bytes.len(), &mut core.held_bytes, &core.policy.inspection) {
                core.page.count(Counter::WafHeldFull);
                exchange.reason = Some("no_room_to_inspect");
                reply::own(s, t, key, Own::page(503));
                return false;
            }
            core.store.buffers.push(&mut exchange.request_held, bytes);
            if exchange.request_held.as_ref().map_or(0, |held| held.len()) >= bytes_max {
                return judge(s, t, key, false);
            }
        }
        Hold::No | Hold::Release => {
            if exchange.transaction.sees_request_body && exchange.request_hold == Hold::No {
                let verdict = core.inspector.request_body(&mut exchange.transaction, bytes, false);
                if !request::apply(s, t, key, verdict) {
                    return false;
                }
            }
            send(t, key, bytes);
        }
    }
    true
}

/// Passes bytes on; what does not fit after all waits.
fn send(t: &mut Turn<'_>, key: Key, bytes: &[u8]) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let Some(upstream) = exchange.upstream else { return };
    let taken = core.client.send_body(upstream, bytes);
    core.store.buffers.push(&mut exchange.request_held, bytes.get(taken..).unwrap_or_default());
}

/// The body is complete.
pub(super) fn end(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    exchange.upload = Upload::Done;
    exchange.expects_continue = false;
    if exchange.delayed.is_some() {
        return;
    }
    match exchange.request_hold {
        Hold::Collect { .. } => {
            judge(s, t, key, true);
        }
        Hold::No if exchange.transaction.sees_request_body && exchange.reply != Reply::Done => {
            let verdict = core.inspector.request_body(&mut exchange.transaction, b"", true);
            if request::apply(s, t, key, verdict) {
                release_held(s, t, key);
            }
        }
        Hold::No | Hold::Release => release_held(s, t, key),
    }
}

/// Judges a body that was held; false when the request has ended over it.
fn judge(s: &mut Session, t: &mut Turn<'_>, key: Key, is_whole: bool) -> bool {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return false };
    if !is_whole && !exchange.transaction.passes_longer_request {
        exchange.reason = Some("body_too_long_to_inspect");
        reply::own(s, t, key, Own::page(413));
        return false;
    }
    let bytes = exchange.request_held.as_ref().map_or(&b""[..], |held| held.bytes());
    let verdict = core.inspector.request_body(&mut exchange.transaction, bytes, is_whole);
    if !request::apply(s, t, key, verdict) || !request::sanitize(s, t, key, is_whole) {
        return false;
    }
    if let Some(exchange) = t.core.exchanges.get_mut(key) {
        exchange.request_hold = Hold::Release;
        request::begin(s, t, key);
    }
    t.core.exchanges.get(key).is_some_and(|exchange| exchange.upstream.is_some())
}

/// Sends what was held, as far as it fits, and the end after the last byte.
pub(super) fn release_held(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let Some(upstream) = exchange.upstream else { return };
    if let Some(held) = &exchange.request_held {
        let taken = core.client.send_body(upstream, held.bytes());
        core.store.buffers.consume(&mut exchange.request_held, taken);
    }
    if exchange.request_held.is_none() && exchange.upload == Upload::Done && !exchange.is_upload_ended {
        exchange.is_upload_ended = true;
        let trailers = match exchange.stream {
            Some(stream) => http2::trailers(s, stream),
            None => exchange.decoder.as_mut().and_then(Decoder::trailers_mut),
        };
        // The field by which a backend knows a request has the operator's own name: no client may write it.
        let own = core.policy.forwarding.request_id.as_deref();
        let trailers = trailers.map(|trailers| {
            own.map(|own| trailers.remove(own));
            &*trailers
        });
        core.client.end_body(upstream, trailers);
    }
}

/// A body that breaks its framing.
pub(super) fn malformed(s: &mut Session, t: &mut Turn<'_>, key: Key, error: secbeat_http::error::Error) {
    t.core.page.count(Counter::RequestsMalformed);
    t.core.page.requests.count_error(error);
    let offence = Some(crate::event::Offence::Request);
    request::note(s, t, key, AttackKind::ProtocolAbuse, error.name(), error.status(), offence);
    if let Some(exchange) = t.core.exchanges.get_mut(key) {
        // Where the next message begins is not known (RFC 9112 §11.2).
        exchange.keep_alive = false;
    }
    reply::own(s, t, key, Own::page(error.status()));
}
