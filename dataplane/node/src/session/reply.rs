//! Answers: of our own (pages, health, redirects), and the head of a backend's as the client gets it.
//!
//! Owns: what they say. Does not own: how they are framed and sent (`http1`, `http2`).

use secbeat_config::node::ServerHeader;
use secbeat_http::head::{Known, Method, Response};
use secbeat_net::time::Instant;

use super::date::Date;
use super::exchange::{Exchange, Reply};
use super::pages::{self, Format};
use super::policy::Forwarding;
use super::slab::Key;
use super::state::{Session, State, Turn};
use super::{http1, http2, request};

/// What we call ourselves when asked to.
const SERVER_NAME: &[u8] = b"secbeat";

/// An answer of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// A page for a status.
    Page { status: u16, retry_after_s: Option<u32> },
    /// Whether the node serves.
    Health,
    /// The same address over HTTPS.
    Redirect { port: u16 },
    /// Where a rule sends the client.
    Location { status: u16 },
}

impl Own {
    pub(super) const fn page(status: u16) -> Self {
        Self::Page { status, retry_after_s: None }
    }
}

/// Answers a request in our own name and gives up its exchange with a backend, if there is one.
pub(super) fn own(s: &mut Session, t: &mut Turn<'_>, key: Key, own: Own) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    exchange.detach(&mut core.client);
    core.store.buffers.release(&mut exchange.request_held);
    core.store.buffers.release(&mut exchange.response_held);
    if exchange.reply != Reply::Expect {
        // Too late for an answer: what was begun is cut off.
        return reset(s, t, key);
    }
    core.text.clear();
    write(exchange, own, &core.policy.pages, core.is_draining, &mut core.text, &mut core.out);
    let is_head = exchange.is_readable && exchange.request.method() == Method::Head;
    head(&core.policy.forwarding, exchange, &mut core.date, t.now);
    exchange.status = exchange.answer.status();
    exchange.body_sent = if is_head { 0 } else { core.text.len() as u64 };
    match s.state {
        State::Http2(_) => http2::send_own(s, t, key, is_head),
        _ => http1::send_own(s, t, key, is_head),
    }
}

/// Fills `exchange.answer` and `text`, its body.
fn write(
    exchange: &mut Exchange,
    own: Own,
    page: &pages::Pages,
    is_draining: bool,
    text: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
) {
    let answer = &mut exchange.answer;
    answer.clear();
    // Statuses and values written here are all valid, so that nothing is refused.
    let (status, content_type) = match own {
        Own::Page { status, retry_after_s } => {
            let format = Format::of(&exchange.request);
            pages::write(text, page, format, status, exchange.id.as_str());
            let _ = answer.set_status(status);
            if let Some(seconds) = retry_after_s.or((status == 503).then_some(1)) {
                scratch.clear();
                let _ = std::io::Write::write_fmt(scratch, format_args!("{seconds}"));
                let _ = answer.fields_mut().append(b"Retry-After", scratch);
            }
            (status, format.content_type())
        }
        Own::Health => {
            text.extend_from_slice(if is_draining { b"draining\n" } else { b"ok\n" });
            (if is_draining { 503 } else { 200 }, &b"text/plain"[..])
        }
        Own::Redirect { port } => {
            request::redirect_location(&exchange.request, port, scratch);
            // 308 keeps method and body (RFC 9110 §15.4.9); old clients know 301 for what they may repeat as GET.
            let is_safe = matches!(exchange.request.method(), Method::Get | Method::Head);
            let status = if is_safe { 301 } else { 308 };
            let _ = answer.set_status(status);
            let _ = answer.fields_mut().append(b"Location", scratch);
            (status, &b"text/plain"[..])
        }
        Own::Location { status } => {
            let location =
                exchange.transaction.running.as_ref().map_or(&b""[..], |running| running.location());
            let _ = answer.set_status(status);
            // A location that is no field's value is left out: the page of the status says enough.
            let _ = answer.fields_mut().append(b"Location", location);
            (status, &b"text/plain"[..])
        }
    };
    if answer.status() == 0 {
        let _ = answer.set_status(status);
    }
    let _ = answer.fields_mut().append(b"Content-Type", content_type);
    let _ = answer.fields_mut().append(b"Cache-Control", b"no-store");
}

/// Adds what every answer of our own says.
fn head(policy: &Forwarding, exchange: &mut Exchange, date: &mut Date, now: Instant) {
    let fields = exchange.answer.fields_mut();
    let _ = fields.append(b"Date", date.http(now));
    if policy.server == ServerHeader::Secbeat {
        let _ = fields.append(b"Server", SERVER_NAME);
    }
    if let Some(name) = &policy.request_id {
        let _ = fields.append(name, exchange.id.as_bytes());
    }
}

/// Changes the head of a backend's response into what the client gets.
pub(super) fn rewrite(
    policy: &Forwarding,
    response: &mut Response,
    id: &super::request_id::RequestId,
    date: &mut Date,
    now: Instant,
) {
    match policy.server {
        ServerHeader::Pass => {}
        ServerHeader::Remove => {
            response.fields_mut().remove(b"server");
            response.fields_mut().remove(b"x-powered-by");
        }
        ServerHeader::Secbeat => {
            let _ = response.fields_mut().set(b"Server", SERVER_NAME);
            response.fields_mut().remove(b"x-powered-by");
        }
    }
    // RFC 9110 §6.6.1: who forwards a response without a date adds one.
    if response.fields().known(Known::Date).is_none() {
        let _ = response.fields_mut().append(b"Date", date.http(now));
    }
    if let Some(name) = &policy.request_id {
        let _ = response.fields_mut().set(name, id.as_bytes());
    }
}

/// Tells the client to send the body (100).
pub(super) fn proceed(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    match s.state {
        State::Http2(_) => http2::send_continue(s, t, key),
        _ => http1::send_continue(s, t),
    }
}

/// Ends a request without an answer, or in the middle of one: HTTP/1 by the end of the connection, HTTP/2 by that
/// of the stream.
pub(super) fn reset(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    match s.state {
        State::Http2(_) => http2::reset(s, t, key),
        _ => super::abort(s, t),
    }
}
