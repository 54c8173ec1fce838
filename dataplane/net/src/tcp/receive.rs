//! A segment arrives (RFC 9293 §3.10.7.4): is it acceptable, and what does it acknowledge?
//!
//! Owns: the order of the checks, challenge ACKs, TIME-WAIT's answers. Does not own: the data (`deliver`), the
//! numbers we send (`send`).
//!
//! Order, as Linux: PAWS, sequence number, RST, SYN, ACK bit, acknowledgement number (RFC 5961), then what it brings.
//! A segment without timestamps on a connection that has them is taken, as Linux does: middleboxes strip them.

use super::challenge::CHALLENGE_INTERVAL_MS;
use super::connection::{Connection, Marks};
use super::segment::Arrived;
use super::send::{AckVerdict, Acknowledgment};
use super::seq::{is_after, is_before};
use super::state::{Signal, State};
use super::time_wait::Answer;
use super::{CloseReason, PROGRESS_BYTES, Stack, Verdict};
use crate::link::Link;
use crate::packet::PacketBuf;
use crate::splice::Ingress;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::tcp::Flags;

/// After this long without a newer timestamp, TS.Recent is no longer compared: the peer's clock may have wrapped (RFC
/// 7323 §5.5).
const PAWS_VALID_SECS: u32 = 24 * 24 * 3_600;

/// How much older than TS.Recent a timestamp may be, in ticks of the peer's clock (a millisecond for nearly all). A
/// segment that was overtaken by a retransmission sent after it is no old duplicate, and fills a hole; the duplicates
/// that PAWS is against are older by the time in which 4 GiB were sent. Linux allows one tick, and sees such segments
/// as lost.
const PAWS_TOLERANCE_TICKS: u32 = 100;

/// How far behind RCV.NXT data may lie to be a late copy rather than a guess: as far as windows go.
const OLD_BYTES: u32 = 1 << 24;

/// What the first checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// It lies in the window and has an acknowledgement number.
    Acceptable,
    /// Its timestamp is old (PAWS).
    OldTimestamp,
    /// All of its data came before.
    Duplicate,
    /// A keep-alive, or a probe of a closed window: the number before the next, and no data or one byte.
    Probe,
    /// It lies outside of the window.
    OutOfWindow,
    /// A RST that may be forged, or a SYN.
    Suspect(DropReason),
    /// A RST at RCV.NXT.
    Reset,
    /// Nothing to say to it.
    Drop(DropReason),
}

fn judge(connection: &Connection, arrived: &Arrived, now: Instant) -> Judgement {
    let is_reset = arrived.has(Flags::RST);
    if !is_reset && has_old_timestamp(connection, arrived, now) {
        return Judgement::OldTimestamp;
    }
    let end = arrived.end();
    if !connection.is_in_window(arrived.seq, end) {
        let age = connection.rcv_nxt.wrapping_sub(arrived.seq);
        return match () {
            () if is_reset => Judgement::Drop(DropReason::RstOutOfWindow),
            () if arrived.has(Flags::SYN) => Judgement::Suspect(DropReason::OutOfWindow),
            () if age == 1 && arrived.len <= 1 && arrived.has(Flags::ACK) => Judgement::Probe,
            () if arrived.len > 0 && !is_after(end, connection.rcv_nxt) && age < OLD_BYTES => {
                Judgement::Duplicate
            }
            () => Judgement::OutOfWindow,
        };
    }
    if is_reset {
        let is_exact = arrived.seq == connection.rcv_nxt;
        return if is_exact { Judgement::Reset } else { Judgement::Suspect(DropReason::RstOutOfWindow) };
    }
    if arrived.has(Flags::SYN) {
        return Judgement::Suspect(DropReason::OutOfWindow);
    }
    if !arrived.has(Flags::ACK) {
        return Judgement::Drop(DropReason::TcpFlags);
    }
    Judgement::Acceptable
}

fn has_old_timestamp(connection: &Connection, arrived: &Arrived, now: Instant) -> bool {
    let Some(timestamps) = arrived.options.timestamps else { return false };
    connection.marks.intersects(Marks::TIMESTAMPS)
        && connection.marks.intersects(Marks::TS_RECENT)
        && is_before(timestamps.value.wrapping_add(PAWS_TOLERANCE_TICKS), connection.ts_recent)
        && (now.as_secs() as u32).wrapping_sub(connection.ts_recent_secs) < PAWS_VALID_SECS
}

impl Stack {
    /// A segment of a live connection.
    pub(super) fn on_segment(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        ingress: &Ingress,
        now: Instant,
    ) -> Verdict {
        self.counters.segments_in += 1;
        let Some(connection) = self.table.get(slot) else { return Verdict::Miss };
        match judge(connection, arrived, now) {
            Judgement::Acceptable => {}
            Judgement::OldTimestamp => {
                self.counters.paws += 1;
                return self.challenge(slot, packet, DropReason::OutOfWindow, now);
            }
            Judgement::Duplicate => return self.on_duplicate(slot, packet, arrived, now),
            Judgement::Probe => return self.on_probe(slot, packet, arrived, now),
            Judgement::OutOfWindow => {
                self.counters.out_of_window += 1;
                return self.challenge(slot, packet, DropReason::OutOfWindow, now);
            }
            Judgement::Suspect(reason) => {
                self.counters.resets_inexact += u64::from(arrived.has(Flags::RST));
                self.counters.syns_in_connection += u64::from(arrived.has(Flags::SYN));
                return self.challenge(slot, packet, reason, now);
            }
            Judgement::Reset => {
                self.end(slot, CloseReason::PeerReset, false);
                self.settle(slot, now);
                return Verdict::Consumed;
            }
            Judgement::Drop(reason) => {
                self.counters.resets_out_of_window += u64::from(arrived.has(Flags::RST));
                return Verdict::Drop(reason);
            }
        }
        let Some(acks_fin) = self.acknowledge(slot, packet, headers, arrived, now) else {
            self.counters.acks_unacceptable += 1;
            return self.challenge(slot, packet, DropReason::OutOfWindow, now);
        };
        // First what it says of the peer: TIME-WAIT takes the peer's clock along.
        self.note_heard(slot, packet, headers, arrived, ingress, now);
        if acks_fin {
            self.on_fin_acked(slot, now);
        }
        let is_open = self.table.get(slot).is_some_and(|connection| connection.state != State::Closed);
        let verdict = if is_open && (arrived.len > 0 || arrived.has(Flags::FIN)) {
            self.on_data(slot, packet, arrived, now)
        } else {
            Verdict::Consumed
        };
        self.settle(slot, now);
        verdict
    }

    /// Gives the acknowledgement to the sending side, and says whether it is that of our FIN; `None` when it cannot be.
    fn acknowledge(
        &mut self,
        slot: u32,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        now: Instant,
    ) -> Option<bool> {
        let connection = self.table.get_mut(slot)?;
        let has_timestamps = connection.marks.intersects(Marks::TIMESTAMPS);
        let echo = arrived.options.timestamps.filter(|_| has_timestamps).map(|timestamps| timestamps.echo);
        let sack = arrived.sack(packet, headers);
        let acknowledgment = Acknowledgment {
            seq: arrived.seq,
            ack: arrived.ack,
            window: u32::from(arrived.window) << connection.scale_theirs,
            sack: if connection.marks.intersects(Marks::SACK) { &sack } else { &[] },
            echo,
            clock: connection.clock(now),
            carries_data: arrived.len > 0 || arrived.has(Flags::FIN),
        };
        let (bytes, fin) = match connection.sender.handle_ack(&mut self.shared, &acknowledgment, now) {
            AckVerdict::Unacceptable => return None,
            AckVerdict::Accepted { bytes, fin, has_room } => {
                if has_room && connection.marks.take(Marks::WANTS_ROOM) {
                    connection.marks.insert(Marks::WRITABLE);
                }
                (bytes, fin)
            }
        };
        if bytes > 0 {
            connection.bytes_out += u64::from(bytes);
            let una = connection.sender.unacked();
            if connection.sender.queued() == 0 {
                connection.marks.remove(Marks::WAITS);
            } else if una.wrapping_sub(connection.progress_una) >= PROGRESS_BYTES {
                (connection.progress_una, connection.progress_at) = (una, now);
            }
        }
        Some(fin)
    }

    fn on_fin_acked(&mut self, slot: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        connection.marks.remove(Marks::WAITS);
        // From here FIN-WAIT-2 is timed.
        connection.progress_at = now;
        connection.state = connection.state.next(Signal::FinAcked);
        self.end_if_finished(slot, now);
    }

    /// What every acceptable segment says beside its data: that the peer lives, where, at what time.
    fn note_heard(
        &mut self,
        slot: u32,
        packet: &PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        ingress: &Ingress,
        now: Instant,
    ) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        connection.heard_at = now;
        connection.keep_alive_probes = 0;
        if let Some(timestamps) = arrived.options.timestamps
            && connection.marks.intersects(Marks::TIMESTAMPS)
            && !is_after(arrived.seq, connection.ack_sent)
        {
            // RFC 7323 §4.3: only what lies at or before the last ACK moves TS.Recent, and only forward, unless its
            // value is so old that it says nothing.
            let age = (now.as_secs() as u32).wrapping_sub(connection.ts_recent_secs);
            let is_older = is_before(timestamps.value, connection.ts_recent) && age < PAWS_VALID_SECS;
            if !is_older {
                connection.ts_recent = timestamps.value;
            }
            connection.ts_recent_secs = now.as_secs() as u32;
            connection.marks.insert(Marks::TS_RECENT);
        }
        if connection.marks.intersects(Marks::ECN) {
            if arrived.has(Flags::CWR) {
                connection.marks.remove(Marks::ECN_ECHO);
            }
            if arrived.is_ce {
                connection.marks.insert(Marks::ECN_ECHO);
            }
        }
        let header = packet.bytes().get(..headers.link_len).unwrap_or(&[]);
        if !is_from(&connection.link, header, ingress)
            && let Some(link) = Link::reply_to(ingress.port, ingress.mtu, header)
        {
            connection.link = link;
            self.counters.client_moves += 1;
        }
    }

    /// Data that came before: its sender missed our ACK, and is told what it sent twice (RFC 2883).
    fn on_duplicate(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        arrived: &Arrived,
        now: Instant,
    ) -> Verdict {
        self.counters.duplicates += 1;
        if let Some(connection) = self.table.get_mut(slot) {
            connection.note_duplicate(arrived.seq, arrived.data_end());
        }
        self.answer(slot, packet, now).unwrap_or(Verdict::Drop(DropReason::OutOfWindow))
    }

    /// A sign that the peer lives; it wants the same from us. Limited for this connection only: an attack on others
    /// must not leave it without answer.
    fn on_probe(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        arrived: &Arrived,
        now: Instant,
    ) -> Verdict {
        let now_ms = now.as_millis() as u32;
        let Some(connection) = self.table.get_mut(slot) else { return Verdict::Miss };
        if now_ms.wrapping_sub(connection.challenged_ms) < CHALLENGE_INTERVAL_MS {
            return Verdict::Drop(DropReason::OutOfWindow);
        }
        (connection.challenged_ms, connection.heard_at) = (now_ms, now);
        connection.keep_alive_probes = 0;
        if arrived.len > 0 {
            connection.note_duplicate(arrived.seq, arrived.data_end());
        }
        self.answer(slot, packet, now).unwrap_or(Verdict::Consumed)
    }

    /// An ACK of where we stand, for a segment that may be forged, within the limits of RFC 5961 §7.
    fn challenge(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        reason: DropReason,
        now: Instant,
    ) -> Verdict {
        let now_ms = now.as_millis() as u32;
        let is_due = self
            .table
            .get(slot)
            .is_some_and(|connection| now_ms.wrapping_sub(connection.challenged_ms) >= CHALLENGE_INTERVAL_MS);
        if !is_due || !self.challenges.take(now) {
            self.counters.challenge_acks_limited += 1;
            return Verdict::Drop(reason);
        }
        if let Some(connection) = self.table.get_mut(slot) {
            connection.challenged_ms = now_ms;
        }
        self.counters.challenge_acks += 1;
        self.answer(slot, packet, now).unwrap_or(Verdict::Drop(reason))
    }

    /// Writes an ACK over the frame at hand.
    pub(super) fn answer(&mut self, slot: u32, packet: &mut PacketBuf<'_>, now: Instant) -> Option<Verdict> {
        let port = self.emit_ack(slot, packet, now)?;
        self.settle(slot, now);
        Some(Verdict::Transmit(port))
    }

    /// A segment to what is left of an old connection.
    pub(super) fn on_time_wait(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        arrived: &Arrived,
        ingress: &Ingress,
        now: Instant,
    ) -> Verdict {
        match self.time_wait.on_segment(slot, arrived, now) {
            Answer::Miss => Verdict::Miss,
            Answer::Drop => Verdict::Drop(DropReason::OutOfWindow),
            Answer::Ack => {
                let answered = self.answer_time_wait(slot, packet, headers, ingress, now);
                answered.map_or(Verdict::Drop(DropReason::OutOfWindow), Verdict::Transmit)
            }
        }
    }
}

/// Whether a frame with this link header came the way that `link` leads.
fn is_from(link: &Link, header: &[u8], ingress: &Ingress) -> bool {
    let ours = link.header();
    link.port == ingress.port
        && ours.len() == header.len()
        && ours.get(..6) == header.get(6..12)
        && ours.get(6..12) == header.get(..6)
        && ours.get(12..) == header.get(12..)
}
