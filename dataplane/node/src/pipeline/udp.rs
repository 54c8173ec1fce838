//! UDP: what a datagram without flow means, and the account of every flow.
//!
//! Owns: the rate per source before anything else is done, the choice of a backend, what is given back at a flow's
//! end. Does not own: rewriting, the amplification filter (`net::udp`). A source of UDP proves nothing, so the
//! limits here only bound cost; nobody is banned for what came from an address.

use secbeat_net::flow::{FlowKey, Protocol};
use secbeat_net::link::Link;
use secbeat_net::packet::PacketBuf;
use secbeat_net::time::Instant;
use secbeat_net::udp::UdpOpenRequest;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::Headers;

use super::flow::reserve;
use super::{Fate, Origin, Pipeline, Seen, fate};
use crate::event::{AttackKind, ListenerId};
use crate::telemetry::counters::Counter;
use crate::upstream::Outcome;

impl Pipeline {
    pub(super) fn judge_udp(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        seen: &Seen,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        let key = headers.flow_key().ok_or(DropReason::NotOurs)?;
        let from_backend = self.policy.is_from_backend(key.source, key.destination);
        // What another worker handed over was counted there.
        if !seen.exempt && !from_backend && seen.origin == Origin::Wire {
            self.shared.limits.admit_datagram(key.source.addr, &self.policy.limits, now)?;
        }
        if let Some(fate) = self.forward_datagram(packet, headers, seen, now) {
            return fate;
        }
        if let Some(owner) = self.owner(&key, seen.origin) {
            return Ok(Fate::HandOver(owner));
        }
        if from_backend {
            return Err(DropReason::NoFlow);
        }
        let listener = self.policy.bindings.find(Protocol::Udp, key.destination);
        let listener = listener.ok_or(DropReason::NoListener)?;
        let opened = self.open_datagram_flow(packet, headers, &key, listener, seen, now);
        opened.inspect_err(|reason| {
            if matches!(reason, DropReason::UdpAmplification | DropReason::FlowTableFull | DropReason::NoPort)
            {
                self.note_attack(Some(listener), AttackKind::UdpFlood);
            }
        })?;
        self.page.count(Counter::UdpFlowsOpened);
        if self.shared.workers() > 1 {
            self.shared.hints.set(self.hint_hash(&key), self.id);
        }
        self.forward_datagram(packet, headers, seen, now).unwrap_or(Err(DropReason::NoFlow))
    }

    /// What the forwarder makes of it; `None` when there is no flow.
    fn forward_datagram(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        seen: &Seen,
        now: Instant,
    ) -> Option<Result<Fate, DropReason>> {
        let context = Self::context(&self.policy, seen.ingress);
        fate(self.udp.handle(packet, headers, &context, now))
    }

    fn open_datagram_flow(
        &mut self,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
        seen: &Seen,
        now: Instant,
    ) -> Result<(), DropReason> {
        if self.is_draining() {
            return Err(DropReason::Draining);
        }
        let link_header = packet.bytes().get(..headers.link_len).ok_or(DropReason::Truncated)?;
        let client_link =
            Link::reply_to(seen.ingress.port, seen.ingress.mtu, link_header).ok_or(DropReason::Malformed)?;
        let hash = key.hash(&self.balance_key);
        let mut failure = DropReason::NoBackend;
        for attempt in 0..self.policy.backend_tries {
            let Some((reserved, backend)) = reserve(&self.policy, listener, hash, attempt) else {
                break;
            };
            let request = UdpOpenRequest { key: *key, client_link, backend, tag: u32::from(listener) };
            match self.udp.open(&request, &self.policy.targets, now) {
                Ok(flow) => {
                    if let Some(note) = self.udp_notes.get_mut(flow.index()) {
                        *note = Some(reserved);
                    }
                    return Ok(());
                }
                Err(reason) => {
                    self.report_backend(reserved, Outcome::Closed);
                    failure = reason;
                }
            }
        }
        Err(failure)
    }

    /// Takes note of a UDP flow that ended; false when none did.
    pub(super) fn note_udp_closed(&mut self) -> bool {
        let Some(closed) = self.udp.poll_event() else {
            return false;
        };
        self.page.count(Counter::UdpFlowsClosed);
        let note = self.udp_notes.get_mut(closed.flow.index());
        if let Some(backend) = note.and_then(Option::take) {
            self.report_backend(backend, Outcome::Closed);
        }
        true
    }
}
