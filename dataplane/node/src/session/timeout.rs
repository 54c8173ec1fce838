//! Times of sessions: which one is due next, and what happens when it has passed.
//!
//! Owns: the deadline of every state, derived from the session each time it is asked for: there is nothing to keep in
//! step. Does not own: the wheel (`session`). The wheel's entry is only moved when the deadline comes nearer, so that
//! a busy session does not touch it.
//!
//! | wait | limit | then |
//! |---|---|---|
//! | TLS handshake | `tls_handshake` | reset |
//! | rest of a head | `request_head` | 408 when some of it came, else close |
//! | next request | `keep_alive` | close |
//! | request body | `request_rate_min` over `rate_grace` | 408 |
//! | refused request held back | the rule's `tarpit` | its answer |
//! | response taken | `response_rate_min` over `rate_grace` | reset |
//! | tunnel | `tunnel_idle` | close |
//! | all of an exchange | `total` | 504, reset once the response has begun |
//! | client's end after ours | [`LINGER_MAX`] | reset |

use core::time::Duration;

use secbeat_net::time::Instant;

use super::exchange::{Hold, Reply, Upload};
use super::reply::{self, Own};
use super::slab::Key;
use super::state::{Core, Session, State, Turn};
use super::tls::Outcome;
use super::{http1, http2, record, request, tarpit};
use crate::event::{AttackKind, Offence};
use crate::telemetry::counters::Counter;

/// How long a client may take to end its direction after we have ended ours: as nginx's `lingering_timeout`.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    TlsHandshake,
    RequestHead,
    KeepAlive,
    RequestBody(Key),
    Tarpit(Key),
    Response,
    Tunnel(Key),
    Total(Key),
    Linger,
    Http2,
}

/// The earliest of what is waited for.
struct Earliest(Option<(Instant, Wait)>);

impl Earliest {
    fn add(&mut self, at: Instant, wait: Wait) {
        if self.0.is_none_or(|(earliest, _)| at < earliest) {
            self.0 = Some((at, wait));
        }
    }
}

/// When the session has to be looked at.
pub(super) fn deadline(s: &Session, core: &Core) -> Option<Instant> {
    next(s, core).map(|(at, _)| at)
}

fn next(s: &Session, core: &Core) -> Option<(Instant, Wait)> {
    let times = &core.policy.timeouts;
    let mut earliest = Earliest(None);
    if let Some(pace) = &s.wire.pace {
        earliest.add(pace.start + times.rate_grace, Wait::Response);
    }
    match &s.state {
        State::Gone => return None,
        State::Handshake => earliest.add(s.since + times.tls_handshake, Wait::TlsHandshake),
        State::Preface => earliest.add(s.since + times.request_head, Wait::RequestHead),
        State::Http1(http1) => match http1.exchange {
            Some(key) => exchange(key, core, &mut earliest),
            None if s.is_partial || s.requests == 0 => {
                earliest.add(s.since + times.request_head, Wait::RequestHead);
            }
            None => earliest.add(s.since + times.keep_alive, Wait::KeepAlive),
        },
        State::Http2(_) => {
            for key in http2::exchanges(s) {
                exchange(key, core, &mut earliest);
            }
            if http2::stream_count(s) == 0 {
                earliest.add(s.since + times.keep_alive, Wait::KeepAlive);
            }
            if let Some(at) = http2::poll_timeout(s) {
                earliest.add(Instant::from_millis(at), Wait::Http2);
            }
        }
        State::Tunnel(key) => earliest.add(s.since + times.tunnel_idle, Wait::Tunnel(*key)),
        State::Linger => earliest.add(s.since + LINGER_MAX, Wait::Linger),
    }
    earliest.0
}

fn exchange(key: Key, core: &Core, earliest: &mut Earliest) {
    let Some(exchange) = core.exchanges.get(key) else { return };
    let times = &core.policy.timeouts;
    if let Some(total) = times.total {
        earliest.add(exchange.started + total, Wait::Total(key));
    }
    if let Some((at, _)) = exchange.delayed {
        earliest.add(at, Wait::Tarpit(key));
    } else if exchange.upload == Upload::Open {
        earliest.add(exchange.pace.start + times.rate_grace, Wait::RequestBody(key));
    }
}

/// Does what is due. The session is looked at again when it moves or its next deadline comes.
pub(super) fn handle(s: &mut Session, t: &mut Turn<'_>) {
    let Some((at, wait)) = next(s, t.core) else { return };
    if at > t.now {
        return;
    }
    match wait {
        Wait::TlsHandshake => {
            t.core.page.count(Counter::TimeoutsTlsHandshake);
            t.core.page.requests.count_handshake(Outcome::Timeout);
            slow(s, t, "tls_handshake_timeout");
            super::abort(s, t);
        }
        Wait::RequestHead => head(s, t),
        Wait::KeepAlive => {
            t.core.page.count(Counter::TimeoutsKeepAlive);
            match s.state {
                // GOAWAY first; without answer the connection goes at the next look.
                State::Http2(_) if !s.is_partial => {
                    s.is_partial = true;
                    s.since = t.now;
                    http2::shut_down(s, t);
                }
                State::Http2(_) => super::linger(s, t),
                _ => super::linger(s, t),
            }
        }
        Wait::RequestBody(key) => body(s, t, key),
        Wait::Tarpit(key) => tarpit::release(s, t, key),
        Wait::Response => response(s, t),
        Wait::Tunnel(key) => {
            t.core.page.count(Counter::TimeoutsTunnel);
            record::close(t, key);
            s.state = State::Linger;
            super::abort(s, t);
        }
        Wait::Total(key) => {
            t.core.page.count(Counter::TimeoutsTotal);
            if let Some(exchange) = t.core.exchanges.get_mut(key) {
                exchange.reason = Some("total_timeout");
                exchange.keep_alive = false;
                if exchange.reply == Reply::Done {
                    exchange.upload = Upload::Done;
                    return http1::settle(s, t, key);
                }
            }
            reply::own(s, t, key, Own::page(504));
        }
        Wait::Linger => super::abort(s, t),
        Wait::Http2 => http2::handle_timeout(s, t),
    }
}

/// A head that does not come: an answer only to those who began one.
fn head(s: &mut Session, t: &mut Turn<'_>) {
    t.core.page.count(Counter::TimeoutsRequestHead);
    if s.input.is_none() {
        return super::linger(s, t);
    }
    slow(s, t, "request_head_timeout");
    s.is_partial = false;
    t.core.store.buffers.release(&mut s.input);
    if matches!(s.state, State::Http1(_)) {
        http1::time_out(s, t);
    } else {
        super::linger(s, t);
    }
}

/// The end of a window of a request's body.
fn body(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    let core = &mut *t.core;
    let times = core.policy.timeouts;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    // While it is the backend that takes nothing, or the node that answers, the client cannot be slow.
    let is_ours = exchange.request_held.is_some() && exchange.request_hold == Hold::Release
        || exchange.upstream.is_some_and(|upstream| core.client.room(upstream) == 0)
        || exchange.expects_continue;
    if exchange.pace.is_kept(times.rate_grace, times.request_rate_min, t.now) || is_ours {
        return;
    }
    core.page.count(Counter::TimeoutsRequestBody);
    exchange.keep_alive = false;
    request::note(s, t, key, AttackKind::SlowClient, "request_body_timeout", 408, Some(Offence::SlowClient));
    if let Some(exchange) = t.core.exchanges.get_mut(key)
        && exchange.reply == Reply::Done
    {
        exchange.upload = Upload::Done;
        return http1::settle(s, t, key);
    }
    reply::own(s, t, key, Own::page(408));
}

/// The end of a window of what waits for the client.
fn response(s: &mut Session, t: &mut Turn<'_>) {
    let times = t.core.policy.timeouts;
    let is_kept = s
        .wire
        .pace
        .as_mut()
        .is_some_and(|pace| pace.is_kept(times.rate_grace, times.response_rate_min, t.now));
    if is_kept {
        return;
    }
    t.core.page.count(Counter::TimeoutsResponse);
    slow(s, t, "response_timeout");
    super::abort(s, t);
}

/// Reports a slow client.
fn slow(s: &Session, t: &mut Turn<'_>, rule: &'static str) {
    let (source, listener, now) = (s.source.ip(), s.listener, t.now);
    t.core.page.add_attack(AttackKind::SlowClient, 1);
    t.core.reporter.report(|worker| {
        super::report::Report::of_session(worker, listener, AttackKind::SlowClient, rule, source, now)
    });
    if !s.is_exempt && !t.core.policy.forwarding.is_trusted(source) {
        t.core.reporter.offend(source, Offence::SlowClient, &t.core.policy.offences, now);
    }
}
