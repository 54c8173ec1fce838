//! TCP: what a segment without flow means, and the account of every flow.
//!
//! ```text
//!   segment --> flow? --yes--> splice
//!      | no
//!      |-- answer of a backend --> another worker's | dropped
//!      |-- SYN ---> cookie (answered in place) | half-open table | passed through to the backend
//!      |-- ACK ---> half-open? cookie? --no--> dropped
//!      |              | yes: the source is who it says
//!      |              '-> limits --> backend --> flow opened --> splice
//!      '-- RST ---> dropped
//! ```
//!
//! Owns: these decisions, the limits of validated sources, the choice of the next backend when one fails. Does not
//! own: the rewriting (`net::splice`), the cookie (`net::syncookie`).

use secbeat_config::node::SynCookies;
use secbeat_net::flow::{FlowKey, Protocol};
use secbeat_net::link::Link;
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::{
    self, Event, FlowId, Handshake as SpliceHandshake, HandshakeTimestamps, OpenRequest,
};
use secbeat_net::syncookie::{self, ClientOptions, Offer};
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::Headers;
use secbeat_net::wire::tcp::{Flags, MSS_DEFAULT_V4, MSS_DEFAULT_V6, Segment};

use super::{Fate, Note, Pipeline, Seen, Wake, fate};
use crate::event::{AttackKind, ListenerId};
use crate::policy::{Handshake, Policy};
use crate::telemetry::counters::Counter;
use crate::upstream::{self, BackendOutcome, Outcome};
use crate::worker::shared::Stage;

impl Pipeline {
    pub(super) fn judge_tcp(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        seen: &Seen,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        if let Some(fate) = self.splice(packet, headers, seen, now) {
            return fate.inspect_err(|reason| self.note_splice_drop(*reason));
        }
        let key = headers.flow_key().ok_or(DropReason::NotOurs)?;
        if let Some(owner) = self.owner(&key, seen.origin) {
            return Ok(Fate::HandOver(owner));
        }
        if self.policy.is_from_backend(key.source, key.destination) {
            return Err(DropReason::NoFlow);
        }
        let listener =
            self.policy.bindings.find(Protocol::Tcp, key.destination).ok_or(DropReason::NoListener)?;
        let flags = headers.tcp_flags;
        if flags.is_initial_syn() {
            return self.judge_syn(packet, headers, &key, listener, seen, now);
        }
        if flags.contains(Flags::RST) {
            self.note_attack(Some(listener), AttackKind::RstFlood);
            return Err(DropReason::NoFlow);
        }
        if flags.contains(Flags::SYN) || !flags.contains(Flags::ACK) {
            return Err(DropReason::NoFlow);
        }
        self.judge_ack(packet, headers, &key, listener, seen, now)
    }

    /// What splice makes of it; `None` when there is no flow.
    fn splice(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        seen: &Seen,
        now: Instant,
    ) -> Option<Result<Fate, DropReason>> {
        let context = Self::context(&self.policy, seen.ingress);
        fate(self.splice.handle(packet, headers, &context, now))
    }

    fn note_splice_drop(&mut self, reason: DropReason) {
        if reason == DropReason::RstOutOfWindow {
            self.note_attack(None, AttackKind::RstFlood);
        }
    }

    /// A SYN that opens something new. Nothing of its source is known to be true.
    fn judge_syn(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
        seen: &Seen,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        self.page.count(Counter::SynReceived);
        self.detector.count(Some(listener), AttackKind::SynFlood);
        if self.stage > Stage::Serve || self.policy.draining {
            return Err(DropReason::Draining);
        }
        if !seen.exempt && !self.shared.limits.admit_syn(listener, &self.policy.limits, now) {
            return Err(DropReason::SynRate);
        }
        let handshake = self.policy.listener(listener).ok_or(DropReason::NoListener)?.handshake;
        match handshake {
            Handshake::Proxied(_) => self.answer_with_cookie(packet, headers, listener, seen, now),
            Handshake::PassThrough(cookies) => {
                if cookies == SynCookies::Always || self.is_pass_through_full(cookies) {
                    return self.answer_with_cookie(packet, headers, listener, seen, now);
                }
                self.pass_through(packet, headers, key, listener, seen, now)
            }
        }
    }

    fn answer_with_cookie(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        listener: ListenerId,
        seen: &Seen,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        let offer = &self.policy.listener(listener).ok_or(DropReason::NoListener)?.offer;
        syncookie::answer_syn(packet, headers, &self.policy.keys, offer, now)?;
        self.page.count(Counter::CookiesSent);
        self.page.count(Counter::SynAckSent);
        Ok(Fate::Transmit(seen.ingress.port))
    }

    /// Whether too many handshakes are in flight to pass another one through.
    fn is_pass_through_full(&self, cookies: SynCookies) -> bool {
        let half_open_max = self.splice.limits().half_open_max;
        cookies == SynCookies::Auto && self.splice.counts().half_open >= half_open_max / 2
    }

    /// The backend answers the SYN itself.
    fn pass_through(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
        seen: &Seen,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        let segment = segment(packet, headers)?;
        let options = segment.options()?;
        let request = Request {
            client_isn: segment.seq(),
            client_window: segment.window(),
            agreed: ClientOptions {
                mss: options.mss.unwrap_or(mss_default(key)),
                window_scale: options.window_scale,
                sack_permitted: options.sack_permitted,
                timestamps: options.timestamps.is_some(),
                ecn: headers.tcp_flags.contains(Flags::ECE | Flags::CWR),
            },
            handshake: SpliceHandshake::PassThrough { timestamp: options.timestamps.map(|t| t.value) },
        };
        self.admit(key, seen, now)?;
        self.open(packet, headers, key, listener, &request, seen, now)
    }

    /// An ACK without flow: the last segment of a handshake, or nothing honest.
    fn judge_ack(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
        seen: &Seen,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        let Some(request) = self.validate(packet, headers, key, listener)? else {
            self.note_attack(Some(listener), AttackKind::AckFlood);
            return Err(DropReason::CookieInvalid);
        };
        self.detector.count_completed(listener);
        if self.stage > Stage::Serve || self.policy.draining {
            return Err(DropReason::Draining);
        }
        self.admit(key, seen, now)?;
        self.open(packet, headers, key, listener, &request, seen, now)
    }

    /// What a valid ACK proves; `None` when it proves nothing.
    fn validate(
        &mut self,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
    ) -> Result<Option<Request>, DropReason> {
        let segment = segment(packet, headers)?;
        let timestamps = segment.options()?.timestamps;
        let (client_isn, isn) = (segment.seq().wrapping_sub(1), segment.ack().wrapping_sub(1));
        let listener = self.policy.listener(listener).ok_or(DropReason::NoListener)?;
        let echo = timestamps.map(|timestamps| timestamps.echo);
        let Some(agreed) = syncookie::check(&self.policy.keys, key, client_isn, isn, echo) else {
            return Ok(None);
        };
        self.page.count(Counter::CookiesValid);
        let timestamps = timestamps.filter(|_| agreed.timestamps);
        Ok(Some(Request {
            client_isn,
            client_window: segment.window(),
            agreed,
            handshake: SpliceHandshake::Proxied {
                isn,
                window: listener.offer.window,
                window_scale: our_window_scale(&listener.offer, &agreed),
                timestamps: timestamps.map(|t| HandshakeTimestamps { value: t.value, echo: t.echo }),
            },
        }))
    }

    /// Whether this source may have another connection. It has proven its address, or (passed through) its backend
    /// will see to that; what it breaks again and again leads to a ban only in the first case.
    fn admit(&mut self, key: &FlowKey, seen: &Seen, now: Instant) -> Result<(), DropReason> {
        let source = key.source.addr;
        let limits = &self.policy.limits;
        let Err(refused) = self.shared.limits.open(source, limits, seen.exempt, now) else {
            return Ok(());
        };
        if let Some(offence) = refused.offence {
            let hash = self.offender_hash(source);
            let policy = &self.policy.offences;
            if let Some(what) = self.offenders.handle_offence(source, hash, offence, policy, now) {
                self.report(what, now);
            }
        }
        Err(refused.reason)
    }

    /// Opens a flow to the first backend that takes it and gives the frame to splice. The connection was admitted;
    /// when it cannot be opened it is given back.
    #[expect(clippy::too_many_arguments, reason = "frame, its headers and what was learnt of them")]
    fn open(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
        request: &Request,
        seen: &Seen,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        let opened = self.open_flow(packet, headers, key, listener, request, seen, now);
        if let Err(reason) = opened {
            self.shared.limits.close(key.source.addr, &self.policy.limits);
            return Err(reason);
        }
        self.page.count(Counter::ConnectionsOpened);
        if self.shared.workers() > 1 {
            self.shared.hints.set(key.hash(&self.hint_key), self.id);
        }
        self.splice(packet, headers, seen, now).unwrap_or(Err(DropReason::NoFlow))
    }

    #[expect(clippy::too_many_arguments, reason = "frame, its headers and what was learnt of them")]
    fn open_flow(
        &mut self,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
        request: &Request,
        seen: &Seen,
        now: Instant,
    ) -> Result<FlowId, DropReason> {
        let link_header = packet.bytes().get(..headers.link_len).ok_or(DropReason::Truncated)?;
        let client_link =
            Link::reply_to(seen.ingress.port, seen.ingress.mtu, link_header).ok_or(DropReason::Malformed)?;
        let hash = key.hash(&self.balance_key);
        let agreed = &request.agreed;
        let mut failure = DropReason::NoBackend;
        for attempt in 0..self.policy.backend_tries {
            let Some((reserved, backend)) = reserve(&self.policy, listener, hash, attempt) else {
                break;
            };
            let request = OpenRequest {
                key: *key,
                client_link,
                backend,
                client_isn: request.client_isn,
                client_window: request.client_window,
                mss: agreed.mss,
                window_scale: agreed.window_scale,
                sack_permitted: agreed.sack_permitted,
                ecn: agreed.ecn,
                handshake: request.handshake,
                tag: u32::from(listener),
            };
            match self.splice.open(&request, &self.policy.targets, now) {
                Ok(flow) => {
                    if let Some(note) = self.notes.get_mut(flow.index()) {
                        *note = Note { flow: Some(flow), hash, attempt, backend: Some(reserved) };
                    }
                    return Ok(flow);
                }
                Err(reason) => {
                    self.report_backend(reserved, Outcome::Closed);
                    failure = reason;
                }
            }
        }
        Err(failure)
    }

    /// Takes note of what happened to a flow.
    pub(super) fn note_event(&mut self, event: Event, now: Instant) -> Wake {
        match event {
            Event::Opened { .. } => Wake::Noted,
            Event::Established { flow, .. } => {
                self.page.count(Counter::ConnectionsEstablished);
                if let Some(backend) = self.note(flow).backend {
                    self.report_backend(backend, Outcome::Established);
                }
                Wake::Noted
            }
            Event::Release { flow } => Wake::Release(flow),
            Event::BackendFailed { flow, tag, .. } => {
                self.try_next_backend(flow, tag as ListenerId, now);
                Wake::Noted
            }
            Event::Closed { flow, key, reason, .. } => {
                self.note_closed(flow, &key, reason);
                Wake::Discard(flow)
            }
        }
    }

    fn note_closed(&mut self, flow: FlowId, key: &FlowKey, reason: splice::CloseReason) {
        self.page.count(Counter::ConnectionsClosed);
        match reason {
            splice::CloseReason::BackendFailed => self.page.count(Counter::ConnectionsFailed),
            splice::CloseReason::Evicted => self.page.count(Counter::FlowsEvicted),
            splice::CloseReason::HandshakeTimeout => self.page.count(Counter::HandshakesExpired),
            _ => {}
        }
        self.shared.limits.close(key.source.addr, &self.policy.limits);
        if let Some(backend) = self.take_backend(flow) {
            self.report_backend(backend, Outcome::Closed);
        }
        if let Some(note) = self.notes.get_mut(flow.index()).filter(|note| note.flow == Some(flow)) {
            *note = Note::default();
        }
        if self.shared.workers() > 1 {
            self.shared.hints.clear(key.hash(&self.hint_key), self.id);
        }
    }

    /// A backend did not answer: the next one is tried, until the policy's tries are used up; then the client is told.
    fn try_next_backend(&mut self, flow: FlowId, listener: ListenerId, now: Instant) {
        if let Some(backend) = self.take_backend(flow) {
            self.report_backend(backend, Outcome::Failed);
            self.report_backend(backend, Outcome::Closed);
        }
        let Note { hash, attempt, .. } = self.note(flow);
        for attempt in attempt + 1..self.policy.backend_tries {
            let Some((reserved, backend)) = reserve(&self.policy, listener, hash, attempt) else {
                break;
            };
            if self.splice.retry(flow, backend, &self.policy.targets, now).is_ok() {
                self.page.count(Counter::ConnectionsRetried);
                if let Some(note) = self.notes.get_mut(flow.index()) {
                    *note = Note { flow: Some(flow), hash, attempt, backend: Some(reserved) };
                }
                return;
            }
            self.report_backend(reserved, Outcome::Closed);
        }
        self.splice.abort(flow, now);
    }

    fn note(&self, flow: FlowId) -> Note {
        let note = self.notes.get(flow.index()).filter(|note| note.flow == Some(flow));
        note.copied().unwrap_or_default()
    }

    fn take_backend(&mut self, flow: FlowId) -> Option<upstream::BackendId> {
        self.notes.get_mut(flow.index()).filter(|note| note.flow == Some(flow))?.backend.take()
    }

    fn report_backend(&self, backend: upstream::BackendId, outcome: Outcome) {
        self.shared.upstream.report(BackendOutcome { backend, outcome });
    }
}

/// What the client's part of a handshake said.
#[derive(Clone, Copy, Debug)]
struct Request {
    client_isn: u32,
    client_window: u16,
    agreed: ClientOptions,
    handshake: SpliceHandshake,
}

/// The backend that takes this connection, counted as open, and the number splice knows it by.
fn reserve(
    policy: &Policy,
    listener: ListenerId,
    hash: u64,
    attempt: u32,
) -> Option<(upstream::BackendId, splice::BackendId)> {
    let listener = policy.listener(listener)?;
    let backend = policy.backends.pick(listener.group, hash, attempt)?;
    let target = listener.target(backend)?;
    policy.backends.reserve(backend).then_some((backend, target))
}

fn segment<'a>(packet: &'a PacketBuf<'_>, headers: &Headers) -> Result<Segment<&'a [u8]>, DropReason> {
    Segment::new_checked(packet.bytes().get(headers.l4..headers.end).ok_or(DropReason::Truncated)?)
}

fn mss_default(key: &FlowKey) -> u16 {
    if key.source.addr.is_ipv4() { MSS_DEFAULT_V4 } else { MSS_DEFAULT_V6 }
}

/// The window scale that our SYN-ACK carried.
fn our_window_scale(offer: &Offer, agreed: &ClientOptions) -> Option<u8> {
    offer.window_scale.filter(|_| agreed.window_scale.is_some())
}
