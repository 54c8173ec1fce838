//! The life of a TCP flow beside its packets: admission, choice of backend, what is given back at its end.
//!
//! Owns: the accounts of a flow with limits, backends and hints; each is opened and closed exactly once. Does not
//! own: the flow itself (`net::splice`), which reports by events.

use core::net::IpAddr;

use secbeat_net::flow::FlowKey;
use secbeat_net::link::Link;
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::{self, Event, FlowId, Handshake, OpenRequest};
use secbeat_net::syncookie::ClientOptions;
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::Headers;

use super::{Note, Pipeline, Seen, Wake};
use crate::event::ListenerId;
use crate::policy::{self, Policy};
use crate::telemetry::counters::Counter;
use crate::upstream::{self, BackendOutcome, Outcome};

/// What the client's part of a handshake said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Its initial sequence number.
    pub(super) client_isn: u32,
    /// Its window field.
    pub(super) client_window: u16,
    /// What was agreed, or (passed through) asked for.
    pub(super) agreed: ClientOptions,
    /// Who answered its SYN.
    pub(super) handshake: Handshake,
    /// Whether a later segment of the client would be validated again.
    pub(super) may_try_again: bool,
}

impl Request {
    /// Whether the client has shown that it receives what is sent to its address.
    fn is_proven(&self) -> bool {
        matches!(self.handshake, Handshake::Proxied { .. })
    }
}

impl Pipeline {
    /// Whether this source, which has proven its address, may have another connection; counts it. What it breaks
    /// again and again leads to a ban.
    pub(super) fn admit(&mut self, source: IpAddr, exempt: bool, now: Instant) -> Result<(), DropReason> {
        let limits = &self.policy.limits;
        let Err(refused) = self.shared.limits.open(source, limits, exempt, now) else {
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

    /// Opens a flow to the first backend that takes it. A connection that was admitted is given back when it cannot
    /// be opened; one whose handshake is passed through is admitted later, when its client has answered the
    /// backend: until then anybody may have written its source address, and nobody is charged for it.
    /// The frame is then to be given to splice.
    #[expect(clippy::too_many_arguments, reason = "frame, its headers and what was learnt of them")]
    pub(super) fn open_flow(
        &mut self,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
        request: &Request,
        seen: &Seen,
        now: Instant,
    ) -> Result<(), DropReason> {
        let opened = self.open_on_backend(packet, headers, key, listener, request, seen, now);
        self.settle_opening(key, opened.map(drop), request.is_proven())
    }

    /// Counts what was opened and tells the other workers whose it is; gives back what was admitted but not opened.
    pub(super) fn settle_opening(
        &self,
        key: &FlowKey,
        opened: Result<(), DropReason>,
        was_admitted: bool,
    ) -> Result<(), DropReason> {
        if opened.is_err() {
            if was_admitted {
                self.shared.limits.close(key.source.addr, &self.policy.limits);
            }
            return opened;
        }
        self.page.count(Counter::ConnectionsOpened);
        if self.shared.workers() > 1 {
            self.shared.hints.set(self.hint_hash(key), self.id);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "frame, its headers and what was learnt of them")]
    fn open_on_backend(
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
        let (agreed, proven) = (&request.agreed, request.is_proven());
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
                        let (counted, exempt) = (proven, seen.exempt);
                        let backend = Some(reserved);
                        *note = Note { flow: Some(flow), hash, attempt, backend, counted, exempt };
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
            Event::Established { flow, tag, key, .. } => {
                self.page.count(Counter::ConnectionsEstablished);
                // A proxied handshake was counted when its ACK was validated.
                let listener = self.policy.listener(tag as ListenerId);
                if listener
                    .is_some_and(|listener| matches!(listener.handshake, policy::Handshake::PassThrough(_)))
                {
                    self.detector.count_completed(tag as ListenerId, 1);
                }
                if let Some(backend) = self.note(flow).backend {
                    self.report_backend(backend, Outcome::Established);
                }
                self.admit_proven(flow, key.source.addr, now);
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

    /// A passed-through handshake is complete: now the source counts, and one that has too much is reset.
    fn admit_proven(&mut self, flow: FlowId, source: IpAddr, now: Instant) {
        let Note { counted, exempt, .. } = self.note(flow);
        if counted {
            return;
        }
        match self.admit(source, exempt, now) {
            Ok(()) => {
                if let Some(note) = self.notes.get_mut(flow.index()).filter(|note| note.flow == Some(flow)) {
                    note.counted = true;
                }
            }
            Err(_) => {
                self.page.count(Counter::ConnectionsRefused);
                self.splice.abort(flow, now);
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
        if self.note(flow).counted {
            self.shared.limits.close(key.source.addr, &self.policy.limits);
        }
        if let Some(backend) = self.take_backend(flow) {
            self.report_backend(backend, Outcome::Closed);
        }
        if let Some(note) = self.notes.get_mut(flow.index()).filter(|note| note.flow == Some(flow)) {
            *note = Note::default();
        }
        // The hint stays: a flow that lingers in TIME-WAIT still answers, and a stale hint costs one hand-over.
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
                    (note.attempt, note.backend) = (attempt, Some(reserved));
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

    pub(super) fn report_backend(&self, backend: upstream::BackendId, outcome: Outcome) {
        self.shared.upstream.report(BackendOutcome { backend, outcome });
    }
}

/// The backend that takes this connection, counted as open, and the number splice knows it by.
pub(super) fn reserve(
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
