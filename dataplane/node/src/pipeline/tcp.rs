//! TCP: what a segment without flow means.
//!
//! ```text
//!   segment --> flow? --yes--> splice
//!      |        connection of ours? --yes--> terminator
//!      | no
//!      |-- answer of a backend --> another worker's | dropped
//!      |-- SYN ---> cookie (answered in place) | half-open table | passed through to the backend
//!      |-- ACK ---> half-open? cookie? --no--> dropped
//!      |              | yes: the source is who it says
//!      |              '-> limits --> backend --> flow opened --> splice, or session --> terminator
//!      '-- RST ---> half-open entry ended | dropped
//! ```
//!
//! Owns: these decisions, and when a listener answers with cookies. Does not own: the rewriting (`net::splice`), the
//! cookie (`net::syncookie`), the half-open table (`net::halfopen`), the account of a flow (`flow`).

use secbeat_config::node::SynCookies;
use secbeat_net::flow::{FlowKey, Protocol};
use secbeat_net::halfopen::{AckVerdict, SwitchLimits, Switched, SynIngress};
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::{Handshake as SpliceHandshake, HandshakeTimestamps};
use secbeat_net::syncookie::{self, ClientOptions};
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::Headers;
use secbeat_net::wire::tcp::{Flags, MSS_DEFAULT_V4, MSS_DEFAULT_V6, Segment, Timestamps};

use super::flow::Request;
use super::{Fate, Pipeline, Seen, fate, reset};
use crate::event::{AttackKind, ListenerId, What};
use crate::policy::Handshake;
use crate::telemetry::counters::Counter;
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
        if let Some(fate) = self.terminate(packet, headers, seen, now) {
            return fate;
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
        if self.policy.listener(listener).is_some_and(|listener| listener.is_l7) && self.terminator.is_none()
        {
            // The first listener of its mode came with a reload; the reload said that it needs a restart.
            return Err(DropReason::NoListener);
        }
        let flags = headers.tcp_flags;
        if flags.is_initial_syn() {
            return self.judge_syn(packet, headers, &key, listener, seen, now);
        }
        if flags.contains(Flags::RST) {
            return self.judge_rst(packet, headers, listener);
        }
        if flags.contains(Flags::SYN) || !flags.contains(Flags::ACK) {
            return Err(DropReason::NoFlow);
        }
        self.judge_ack(packet, headers, &key, listener, seen, now)
    }

    /// What splice makes of it; `None` when there is no flow.
    pub(super) fn splice(
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
        if self.is_draining() {
            return Err(DropReason::Draining);
        }
        if !seen.exempt && !self.shared.limits.admit_syn(listener, &self.policy.limits, now) {
            return Err(DropReason::SynRate);
        }
        let handshake = self.policy.listener(listener).ok_or(DropReason::NoListener)?.handshake;
        match handshake {
            Handshake::Proxied(SynCookies::Always) | Handshake::PassThrough(SynCookies::Always) => {
                self.answer_with_cookie(packet, headers, listener, seen, now)
            }
            Handshake::Proxied(SynCookies::Never) => {
                self.answer_from_table(packet, headers, listener, seen, now)
            }
            Handshake::Proxied(SynCookies::Auto) => {
                if self.shared.board.is_answering(listener) || self.decide_cookies(listener, now) {
                    return self.answer_with_cookie(packet, headers, listener, seen, now);
                }
                match self.answer_from_table(packet, headers, listener, seen, now) {
                    // Other listeners fill the table.
                    Err(DropReason::BacklogFull) => {
                        self.answer_with_cookie(packet, headers, listener, seen, now)
                    }
                    answered => answered,
                }
            }
            Handshake::PassThrough(SynCookies::Auto)
                if self.shared.board.is_answering(listener) || self.decide_cookies(listener, now) =>
            {
                self.answer_with_cookie(packet, headers, listener, seen, now)
            }
            Handshake::PassThrough(_) => self.pass_through(packet, headers, key, listener, seen, now),
        }
    }

    /// Whether this listener answers with cookies now; reports when that changes.
    fn decide_cookies(&mut self, listener: ListenerId, now: Instant) -> bool {
        let passes_through =
            self.policy.listener(listener).is_some_and(|l| matches!(l.handshake, Handshake::PassThrough(_)));
        let (half_open, high) = if passes_through {
            // Embryonic flows are not counted by listener; above half of them cookies take over for all.
            (self.splice.counts().half_open, self.splice.limits().half_open_max / 2)
        } else {
            (self.half_open.of_listener(listener), self.half_open_max)
        };
        let Some(switch) = self.switches.get_mut(usize::from(listener)) else {
            return true;
        };
        let switched = switch.decide(half_open, &SwitchLimits::for_backlog(high), now);
        let active = switch.is_on();
        if let Some(switched) = switched {
            debug_assert_eq!(active, switched == Switched::ToCookies);
            self.page.count(Counter::CookieSwitches);
            self.report(What::Cookies { listener, active }, now);
            if active {
                self.want_front(listener);
            }
        }
        active
    }

    /// Lets listeners that use cookies go back to the table. Now and then, from housekeeping.
    pub(super) fn decide_cookies_again(&mut self, now: Instant) -> u64 {
        let mut active = 0;
        for index in 0..self.switches.len().min(self.policy.listeners.len()) {
            let is_on = self.switches.get(index).is_some_and(|switch| switch.is_on());
            let listener = index as ListenerId;
            let still_on = is_on && (self.is_led(listener) || self.decide_cookies(listener, now));
            let always = self.policy.listeners.get(index).is_some_and(|listener| {
                matches!(
                    listener.handshake,
                    Handshake::Proxied(SynCookies::Always) | Handshake::PassThrough(SynCookies::Always)
                )
            });
            active += u64::from(still_on || always);
        }
        active
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
        if let Some(switch) = self.switches.get_mut(usize::from(listener)).filter(|switch| switch.is_on()) {
            switch.on_cookie_sent(now);
        }
        self.page.count(Counter::CookiesSent);
        self.page.count(Counter::SynAckSent);
        Ok(Fate::Transmit(seen.ingress.port))
    }

    fn answer_from_table(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        listener: ListenerId,
        seen: &Seen,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        let offer = &self.policy.listener(listener).ok_or(DropReason::NoListener)?.offer;
        let ingress = SynIngress { port: seen.ingress.port, mtu: seen.ingress.mtu, listener };
        self.half_open.handle_syn(packet, headers, ingress, offer, now)?;
        self.page.count(Counter::SynAckSent);
        Ok(Fate::Transmit(seen.ingress.port))
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
            may_try_again: true,
        };
        self.open_flow(packet, headers, key, listener, &request, seen, now)?;
        self.splice(packet, headers, seen, now).unwrap_or(Err(DropReason::NoFlow))
    }

    /// A RST without flow ends a half-open connection, or is nothing honest.
    fn judge_rst(
        &mut self,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        listener: ListenerId,
    ) -> Result<Fate, DropReason> {
        if !self.half_open.is_empty() && self.half_open.handle_rst(headers, segment(packet, headers)?.seq()) {
            return Ok(Fate::Consumed);
        }
        self.note_attack(Some(listener), AttackKind::RstFlood);
        Err(DropReason::NoFlow)
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
        let Some(request) = self.validate(packet, headers, key, listener, now)? else {
            self.note_attack(Some(listener), AttackKind::AckFlood);
            return Err(DropReason::CookieInvalid);
        };
        let admitted = if self.is_draining() {
            Err(DropReason::Draining)
        } else {
            self.admit(key.source.addr, seen.exempt, now)
        };
        let is_l7 = self.policy.listener(listener).is_some_and(|listener| listener.is_l7);
        let opened = admitted.and_then(|()| {
            if is_l7 {
                self.open_session(packet, headers, key, listener, &request, seen, now)
            } else {
                self.open_flow(packet, headers, key, listener, &request, seen, now)
            }
        });
        match opened {
            Ok(()) if is_l7 => self.terminate(packet, headers, seen, now).unwrap_or(Err(DropReason::NoFlow)),
            Ok(()) => self.splice(packet, headers, seen, now).unwrap_or(Err(DropReason::NoFlow)),
            Err(reason) => reset::refuse(packet, headers, &seen.ingress, request.may_try_again, reason),
        }
    }

    /// What a valid ACK proves; `None` when it proves nothing.
    fn validate(
        &mut self,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener_id: ListenerId,
        now: Instant,
    ) -> Result<Option<Request>, DropReason> {
        let segment = segment(packet, headers)?;
        if !self.half_open.is_empty()
            && let Some(request) = self.complete_half_open(headers, &segment)?
        {
            self.detector.count_completed(listener_id, 1);
            return Ok(Some(request));
        }
        let listener = self.policy.listener(listener_id).ok_or(DropReason::NoListener)?;
        if !listener.handshake.may_use_cookies() {
            return Ok(None);
        }
        let timestamps = segment.options()?.timestamps;
        let (client_isn, isn) = (segment.seq().wrapping_sub(1), segment.ack().wrapping_sub(1));
        let echo = timestamps.map(|timestamps| timestamps.echo);
        let Some(agreed) = syncookie::check(&self.policy.keys, key, client_isn, isn, echo) else {
            return Ok(None);
        };
        // Its first SYN may still be in the table, from before cookies were switched on.
        self.half_open.forget(key);
        let offer = &listener.offer;
        let window_scale = offer.window_scale.filter(|_| agreed.window_scale.is_some());
        let request = Request {
            client_isn,
            client_window: segment.window(),
            agreed,
            handshake: SpliceHandshake::Proxied {
                isn,
                window: offer.window,
                window_scale,
                timestamps: timestamps.filter(|_| agreed.timestamps).map(handshake_timestamps),
            },
            may_try_again: true,
        };
        self.note_valid_cookie(listener_id, now);
        Ok(Some(request))
    }

    fn complete_half_open(
        &mut self,
        headers: &Headers,
        segment: &Segment<&[u8]>,
    ) -> Result<Option<Request>, DropReason> {
        let accepted = match self.half_open.handle_ack(headers, segment) {
            AckVerdict::Accepted(accepted) => accepted,
            AckVerdict::Drop(reason) => return Err(reason),
            AckVerdict::Miss => return Ok(None),
        };
        self.page.count(Counter::HandshakesCompleted);
        Ok(Some(Request {
            client_isn: accepted.client_isn,
            client_window: segment.window(),
            agreed: accepted.options,
            handshake: SpliceHandshake::Proxied {
                isn: accepted.isn,
                window: accepted.window,
                window_scale: accepted.window_scale,
                timestamps: accepted.timestamps.map(handshake_timestamps),
            },
            // The entry is gone from the table: no later segment would be known.
            may_try_again: false,
        }))
    }

    pub(super) fn is_draining(&self) -> bool {
        self.stage > Stage::Serve || self.policy.draining
    }
}

fn handshake_timestamps(timestamps: Timestamps) -> HandshakeTimestamps {
    HandshakeTimestamps { value: timestamps.value, echo: timestamps.echo }
}

fn segment<'a>(packet: &'a PacketBuf<'_>, headers: &Headers) -> Result<Segment<&'a [u8]>, DropReason> {
    Segment::new_checked(packet.bytes().get(headers.l4..headers.end).ok_or(DropReason::Truncated)?)
}

fn mss_default(key: &FlowKey) -> u16 {
    if key.source.addr.is_ipv4() { MSS_DEFAULT_V4 } else { MSS_DEFAULT_V6 }
}
