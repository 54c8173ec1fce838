//! Connections that end here: from a validated handshake to a session, and back to the limits at their end.
//!
//! Owns: the accounts of these connections with limits, hints and counters; each is opened and closed exactly once.
//! Does not own: the connections (`front::packet`), who is let in (`flow`, shared with what is forwarded).

use secbeat_net::flow::FlowKey;
use secbeat_net::link::Link;
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::Handshake;
use secbeat_net::tcp::{CloseReason, Closed, Open, Stack};
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::Headers;

use super::flow::Request;
use super::{Fate, Pipeline, Seen};
use crate::event::ListenerId;
use crate::front::packet::{Finding, Taken, Terminator};
use crate::telemetry::counters::{Counter, Gauge, WorkerCounters};

impl Pipeline {
    /// Lets connections of `l7` listeners end here. Before the first turn.
    pub fn set_terminator(&mut self, mut terminator: Box<Terminator>) {
        if let Some(front) = self.shared.forefront.clone() {
            terminator.set_watch(front);
        }
        self.terminator = Some(terminator);
    }

    /// The connections that end here.
    pub fn terminator(&self) -> Option<&Terminator> {
        self.terminator.as_deref()
    }

    /// What our own TCP makes of a segment; `None` when it is of no connection that ends here.
    pub(super) fn terminate(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        seen: &Seen,
        now: Instant,
    ) -> Option<Result<Fate, DropReason>> {
        let terminator = self.terminator.as_mut()?;
        terminator.handle(packet, headers, &seen.ingress, now).map(fate)
    }

    /// Opens a connection and its session for a validated client. One that was admitted is given back when it cannot be
    /// opened. The frame is then to be given to [`Pipeline::terminate`].
    #[expect(clippy::too_many_arguments, reason = "frame, its headers and what was learnt of them")]
    pub(super) fn open_session(
        &mut self,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
        request: &Request,
        seen: &Seen,
        now: Instant,
    ) -> Result<(), DropReason> {
        let opened = self.open_connection(packet, headers, key, listener, request, seen, now);
        self.settle_opening(key, opened, true)?;
        self.page.count(Counter::ConnectionsEstablished);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "frame, its headers and what was learnt of them")]
    fn open_connection(
        &mut self,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        key: &FlowKey,
        listener: ListenerId,
        request: &Request,
        seen: &Seen,
        now: Instant,
    ) -> Result<(), DropReason> {
        let terminator = self.terminator.as_mut().ok_or(DropReason::NoListener)?;
        // A passed-through handshake is the backend's; here there is none.
        let Handshake::Proxied { isn, window, window_scale, timestamps } = request.handshake else {
            return Err(DropReason::NoListener);
        };
        let link_header = packet.bytes().get(..headers.link_len).ok_or(DropReason::Truncated)?;
        let mtu = seen.ingress.mtu.min(terminator.packet_bytes_max());
        let link = Link::reply_to(seen.ingress.port, mtu, link_header).ok_or(DropReason::Malformed)?;
        let open = Open {
            key: *key,
            listener,
            link,
            client_isn: request.client_isn,
            isn,
            agreed: request.agreed,
            window,
            window_scale,
            timestamps,
            client_window: request.client_window,
        };
        terminator.open(&open, seen.exempt, now)
    }

    /// Handles the next finding about connections that end here; false when there is none.
    pub(super) fn note_finding(&mut self, now: Instant) -> bool {
        let Some(finding) = self.terminator.as_mut().and_then(|l7| l7.poll_finding(now)) else {
            return false;
        };
        if let Finding::Closed(closed) = finding {
            self.note_session_closed(&closed);
        }
        true
    }

    fn note_session_closed(&self, closed: &Closed) {
        self.shared.limits.close(closed.client, &self.policy.limits);
        self.page.count(Counter::ConnectionsClosed);
        if matches!(closed.reason, CloseReason::Stalled | CloseReason::MemoryPressure) {
            self.page.count(Counter::ConnectionsStalled);
        }
    }

    /// Looks at the sockets towards backends; returns how many had something to say.
    pub fn poll_sockets(&mut self, now: Instant) -> usize {
        self.terminator.as_mut().map_or(0, |l7| l7.poll_sockets(now))
    }

    /// The worker was asleep.
    pub fn note_wake(&mut self) {
        if let Some(l7) = &mut self.terminator {
            l7.note_wake();
        }
    }

    /// What sessions need once a millisecond.
    pub(super) fn keep_sessions(&mut self, now: Instant) {
        if let Some(l7) = &mut self.terminator {
            l7.handle_housekeeping(now);
            count_stack(l7.stack(), &self.page);
        }
    }
}

/// Copies what the stack counted since the last time.
fn count_stack(stack: &Stack, page: &WorkerCounters) {
    let (counted, sent) = (stack.counters(), stack.send_counters());
    for (counter, total) in [
        (Counter::TcpSegmentsIn, counted.segments_in),
        (Counter::TcpSegmentsOut, counted.segments_out),
        (Counter::TcpRetransmitted, sent.retransmitted),
        (Counter::TcpTimeouts, sent.timeouts),
        (Counter::TcpOutOfOrder, counted.out_of_order),
        (Counter::TcpDuplicates, counted.duplicates),
        (Counter::TcpOutOfWindow, counted.out_of_window),
        (Counter::TcpOldTimestamps, counted.paws),
        (Counter::TcpChallengeAcks, counted.challenge_acks),
        (Counter::TcpResetsOut, counted.resets_out),
        (Counter::TcpPrunedBytes, counted.pruned_bytes),
        (Counter::TcpMemoryFull, sent.chunks_full),
    ] {
        page.add(counter, total.saturating_sub(page.get(counter)));
    }
    let counts = stack.counts();
    page.set(Gauge::TcpConnections, u64::from(counts.connections));
    page.set(Gauge::TcpTimeWait, u64::from(counts.time_wait));
    page.set(Gauge::TcpBufferBytes, counts.chunk_bytes as u64);
}

/// The fate of a frame that our own TCP took.
pub(super) fn fate(taken: Taken) -> Result<Fate, DropReason> {
    match taken {
        Taken::Consumed => Ok(Fate::Consumed),
        Taken::Transmit(port) => Ok(Fate::Transmit(port)),
        Taken::Drop(reason) => Err(reason),
    }
}
