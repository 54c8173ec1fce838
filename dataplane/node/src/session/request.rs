//! From the head of a request to what becomes of it: an answer of our own, or an exchange with a backend.
//!
//! ```text
//!  head -> id, client -> health path -> redirect -> meaning of the path -> route -> rates -> right connection
//!       -> inspect -> size of the body -> what the backend is told -> begin
//! ```
//! Owns: this order. Does not own: each step's rule (`target`, `route`, `limit`, `misdirected`, `inspect`,
//! `forwarding`), how answers are sent (`reply`). The same for both versions of HTTP.

use std::io::Write;

use secbeat_http::h1::{BodyKind, Upgrade};
use secbeat_http::head::{Known, Request, Scheme};
use secbeat_net::flow::hash_addr;

use super::exchange::{Hold, Upload};
use super::inspect::{self, Block, Cleaning, Facts, Verdict};
use super::limit::{self, Exceeded};
use super::policy::Service;
use super::reply::{self, Own};
use super::slab::Key;
use super::state::{Session, Turn};
use super::{misdirected, tarpit, upload};
use crate::event::{AttackKind, Offence};
use crate::telemetry::counters::Counter;
use crate::upstream::http::Begin;

/// Keeps the hash by which a client's backend is chosen apart from others of the same key.
const DOMAIN_BACKEND: u32 = 0x4245;

/// The content type of a form.
const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// What the framing said besides the head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrival {
    pub(super) upgrade: Option<Upgrade>,
    pub(super) is_last: bool,
}

/// What becomes of a request.
enum Decision {
    Answer(Own),
    Refuse(Verdict),
    Forward,
}

/// Decides about a request whose head is in its exchange, and begins what follows.
pub(super) fn start(s: &mut Session, t: &mut Turn<'_>, key: Key, arrival: Arrival) {
    match decide(s, t, key) {
        Decision::Answer(own) => reply::own(s, t, key, own),
        Decision::Refuse(verdict) => {
            apply(s, t, key, verdict);
        }
        Decision::Forward => forward(s, t, key, arrival),
    }
}

/// Does what the inspector says; false when that ends the request.
pub(super) fn apply(s: &mut Session, t: &mut Turn<'_>, key: Key, verdict: Verdict) -> bool {
    let (block, own) = match verdict {
        Verdict::Allow => return true,
        Verdict::Block(block) => (block, Some(Own::page(block.status))),
        Verdict::Reset(block) => (block, None),
        Verdict::Redirect(block) => (block, Some(Own::Location { status: block.status })),
    };
    note_block(s, t, key, block);
    match own {
        Some(own) => tarpit::answer(s, t, key, own, block.tarpit_s),
        None => reply::reset(s, t, key),
    }
    false
}

/// Counts and reports a request that may not pass. What a backend gives away is not the client's offence.
fn note_block(s: &mut Session, t: &mut Turn<'_>, key: Key, block: Block) {
    t.core.page.count(Counter::RequestsBlocked);
    let is_response = t.core.exchanges.get(key).is_some_and(|exchange| exchange.is_response_seen);
    let offence = (!is_response).then_some(Offence::Request);
    note(s, t, key, block.attack, block.rule, block.status, offence);
}

/// Notes an attack by a request: page, report, offence.
pub(super) fn note(
    s: &Session,
    t: &mut Turn<'_>,
    key: Key,
    attack: AttackKind,
    rule: &'static str,
    status: u16,
    offence: Option<Offence>,
) {
    t.core.page.add_attack(attack, 1);
    let Some(exchange) = t.core.exchanges.get_mut(key) else { return };
    exchange.reason = Some(rule);
    let (source, now) = (exchange.source, t.now);
    let exchange = &*exchange;
    t.core.reporter.report(|worker| exchange.report(worker, attack, rule, status, now));
    // A proxy in front of the node is not banned for its clients.
    if let Some(offence) = offence.filter(|_| !s.is_exempt && source == s.source.ip()) {
        t.core.reporter.offend(source, offence, &t.core.policy.offences, now);
    }
}

fn decide(s: &mut Session, t: &mut Turn<'_>, key: Key) -> Decision {
    let core = &mut *t.core;
    let policy = &*core.policy;
    let Some(exchange) = core.exchanges.get_mut(key) else { return Decision::Forward };
    let head = &mut exchange.request;
    head.set_scheme(s.scheme());
    exchange.source = policy.forwarding.client(s.source.ip(), head.fields());
    exchange.id =
        policy.forwarding.foreign_id(s.source.ip(), head.fields()).unwrap_or_else(|| core.ids.next());
    let Some(listener) = policy.listener(s.listener) else { return Decision::Answer(Own::page(503)) };
    if policy.health_path.as_deref().is_some_and(|path| path == head.path()) {
        return Decision::Answer(Own::Health);
    }
    if let Service::Redirect { port } = listener.service {
        return Decision::Answer(if head.authority().is_empty() {
            Own::page(400)
        } else {
            Own::Redirect { port }
        });
    }
    core.target.resolve(head.path());
    exchange.route = listener.routes.find(head.host(), core.target.path());
    let route = exchange.route.and_then(|index| policy.routes.get(usize::from(index)));
    if !s.is_exempt
        && let Err(exceeded) =
            limit::admit(&core.shared, policy, route, exchange.route, exchange.source, t.now)
    {
        return limited(s, t, key, exceeded);
    }
    if misdirected::is_misdirected(policy, listener, &s.wire, core.tls.as_ref(), s.source.ip(), head.host()) {
        exchange.reason = Some("misdirected");
        return Decision::Answer(Own::page(421));
    }
    let facts = Facts {
        now: t.now,
        peer: s.source,
        client: exchange.source,
        server: s.destination,
        id: exchange.id.as_bytes(),
        mode: route.and_then(|route| route.waf).or(listener.waf),
        has_body: exchange.upload == Upload::Open,
    };
    let (verdict, wants) = core.inspector.request_head(
        &mut exchange.transaction,
        &policy.inspection,
        &facts,
        head,
        &core.target,
    );
    if verdict != Verdict::Allow {
        return Decision::Refuse(verdict);
    }
    let body_max = route.and_then(|route| route.body_max).or(policy.limits.request_body_max);
    exchange.body_max = body_max.unwrap_or(u64::MAX);
    if matches!(exchange.body, BodyKind::Length(length) if length > exchange.body_max) {
        exchange.reason = Some("body_size");
        return Decision::Answer(Own::page(413));
    }
    if exchange.transaction.running.is_some()
        && policy.inspection.waf.as_ref().is_some_and(|waf| waf.wants_plain_responses)
    {
        exchange.request.fields_mut().remove(b"accept-encoding");
    }
    exchange.transaction.sees_request_body = wants != inspect::Body::Pass;
    exchange.request_hold = Hold::No;
    if let inspect::Body::Whole { bytes_max, pass_longer } = wants
        && exchange.upload == Upload::Open
    {
        exchange.transaction.passes_longer_request = pass_longer;
        exchange.request_hold = Hold::Collect { bytes_max };
    }
    Decision::Forward
}

/// Shows rules a request that is refused whatever they say.
pub(super) fn show(s: &Session, t: &mut Turn<'_>, key: Key) {
    let core = &mut *t.core;
    let policy = &*core.policy;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let facts = Facts {
        now: t.now,
        peer: s.source,
        client: exchange.source,
        server: s.destination,
        id: exchange.id.as_bytes(),
        mode: policy.listener(s.listener).and_then(|listener| listener.waf),
        has_body: false,
    };
    core.target.resolve(exchange.request.path());
    let inspector = &mut core.inspector;
    let transaction = &mut exchange.transaction;
    let _ = inspector.request_head(transaction, &policy.inspection, &facts, &exchange.request, &core.target);
}

fn limited(s: &mut Session, t: &mut Turn<'_>, key: Key, exceeded: Exceeded) -> Decision {
    t.core.page.count(exceeded.counter);
    note(s, t, key, AttackKind::HttpFlood, exceeded.rule, 429, exceeded.offence);
    Decision::Answer(Own::Page { status: 429, retry_after_s: Some(exceeded.retry_after_s) })
}

/// Passes a request on, or first collects its body for inspection.
fn forward(s: &mut Session, t: &mut Turn<'_>, key: Key, arrival: Arrival) {
    let Some(exchange) = t.core.exchanges.get_mut(key) else { return };
    exchange.upgrade = arrival.upgrade.filter(|_| t.core.policy.upgrade);
    exchange.is_last = arrival.is_last;
    if matches!(exchange.request_hold, Hold::Collect { .. }) {
        if exchange.expects_continue {
            exchange.expects_continue = false;
            exchange.request.fields_mut().remove(b"expect");
            reply::proceed(s, t, key);
        }
        return;
    }
    if sanitize(s, t, key, false) {
        begin(s, t, key);
    }
}

/// Takes out of a request what rules want taken out; false when that ends it. `is_body_here`: all of its body is held.
pub(super) fn sanitize(s: &mut Session, t: &mut Turn<'_>, key: Key, is_body_here: bool) -> bool {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return false };
    let Some(running) = &mut exchange.transaction.running else { return true };
    let changes = match running.cleaning() {
        Cleaning::Keep => return true,
        Cleaning::Refuse => Vec::new(),
        Cleaning::Change(changes) => changes,
    };
    let kind = exchange.request.fields().known(Known::ContentType).unwrap_or_default();
    let is_form = kind.len() >= FORM.len() && kind[..FORM.len()].eq_ignore_ascii_case(FORM);
    let held = exchange.request_held.as_ref().map(|held| held.bytes());
    let body = held.filter(|_| is_form && is_body_here);
    let cleaned =
        if changes.is_empty() { None } else { inspect::clean(&mut exchange.request, body, &changes).ok() };
    let Some(cleaned) = cleaned else {
        let block = running.refusal();
        return apply(s, t, key, Verdict::Block(block));
    };
    if let Some(body) = cleaned {
        if let BodyKind::Length(length) = &mut exchange.body {
            *length = body.len() as u64;
        }
        core.store.buffers.release(&mut exchange.request_held);
        core.store.buffers.push(&mut exchange.request_held, &body);
    }
    core.page.count(Counter::WafSanitized);
    true
}

/// Begins the exchange with a backend.
pub(super) fn begin(s: &mut Session, t: &mut Turn<'_>, key: Key) {
    let core = &mut *t.core;
    let policy = &*core.policy;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let route = exchange.route.and_then(|index| policy.routes.get(usize::from(index)));
    let listener = policy.listener(s.listener);
    let Some(name) =
        route.map(|route| &route.group).or(listener.and_then(|listener| listener.group.as_ref()))
    else {
        exchange.reason = Some("no_route");
        return reply::own(s, t, key, Own::page(404));
    };
    let Some(group) = core.client.group(name) else {
        exchange.reason = Some("no_group");
        return reply::own(s, t, key, Own::page(503));
    };
    let proxy_protocol = route
        .and_then(|route| route.proxy_protocol)
        .or(listener.map(|listener| listener.proxy_protocol))
        .unwrap_or_default();
    let forwarding = &policy.forwarding;
    let head = &mut exchange.request;
    if head.authority().is_empty() {
        // HTTP/1.0 without Host: what the client connected to is all it said.
        core.text.clear();
        let _ = write!(core.text, "{}", s.destination);
        let _ = head.set_authority(&core.text);
    }
    super::forwarding::describe(forwarding, head, s.source, s.scheme(), &exchange.id, &mut core.text);
    let began = core.client.begin(
        Begin {
            group,
            hash: hash_addr(&core.shared.key, exchange.source, DOMAIN_BACKEND),
            head,
            body: exchange.body,
            via: forwarding.via.as_deref(),
            upgrade: exchange.upgrade,
            client: proxy_protocol.then_some((s.source, s.destination)),
            is_last: exchange.is_last,
            response_timeout: route.and_then(|route| route.response_timeout),
            user: key.to_bits(),
        },
        t.now,
    );
    match began {
        Ok(id) => {
            exchange.upstream = Some(id);
            upload::release_held(s, t, key);
        }
        Err(failure) => {
            exchange.reason = Some(failure.name());
            reply::own(s, t, key, Own::page(failure.status()));
        }
    }
}

/// The address a redirect sends the client to.
pub(super) fn redirect_location(head: &Request, port: u16, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(Scheme::Https.as_str().as_bytes());
    out.extend_from_slice(b"://");
    out.extend_from_slice(head.host());
    if port != 443 {
        let _ = write!(out, ":{port}");
    }
    if head.target() != b"*" {
        out.extend_from_slice(head.target());
    }
}
