//! The next segment to send, if any may be sent now.
//!
//! Owns: the order (what is due, what is lost, what is new), how long a segment gets, PSH and FIN, silly window
//! avoidance (RFC 9293 §3.8.6.2.1), the restart after idle time. Does not own: headers, options (their length is
//! passed in).

use super::{
    Due, Fin, Outgoing, OutgoingKind, SEGMENTS_IN_FLIGHT_MAX, Sender, Shared, Timer, micros, millis,
};
use crate::tcp::chunk::ChunkQueue;
use crate::tcp::recovery::Phase;
use crate::tcp::scoreboard::Standing;
use crate::tcp::seq::{is_after, is_before};
use crate::time::Instant;

impl Sender {
    /// The next segment, with room for `options_len` bytes of options; `clock` is our TSval in it. Once `None`, there
    /// is nothing until [`Sender::wants_transmit`] says otherwise.
    pub(in crate::tcp) fn poll_segment(
        &mut self,
        shared: &mut Shared,
        options_len: usize,
        clock: u32,
        now: Instant,
    ) -> Option<Outgoing> {
        let room = self.path.payload_max(options_len);
        let due = core::mem::replace(&mut self.due, Due::None);
        let segment = match due {
            Due::Window => Some(self.window_probe(shared)),
            Due::Tail => self.tail_probe(shared, room, clock, now),
            Due::None | Due::Repair | Due::Small => None,
        };
        let segment = segment
            .or_else(|| self.repair(shared, room, due == Due::Repair, clock, now))
            .or_else(|| self.new_segment(shared, room, due == Due::Small, false, now));
        self.is_ready = segment.is_some();
        segment
    }

    /// Copies the payload of a segment that [`Sender::poll_segment`] answered with into `out`, which is as long.
    pub(in crate::tcp) fn copy_payload(&self, shared: &Shared, segment: &Outgoing, out: &mut [u8]) {
        let is_after_cursor =
            !is_before(self.cursor_seq, self.una) && !is_before(segment.seq, self.cursor_seq);
        let place = if is_after_cursor {
            self.cursor.advanced(&shared.chunks, segment.seq.wrapping_sub(self.cursor_seq) as usize)
        } else {
            self.queue.cursor(&shared.chunks, segment.seq.wrapping_sub(self.una) as usize)
        };
        ChunkQueue::copy(&shared.chunks, place, out);
    }

    /// The first lost segment, if the congestion window allows it or `is_forced`.
    fn repair(
        &mut self,
        shared: &mut Shared,
        room: u16,
        is_forced: bool,
        clock: u32,
        now: Instant,
    ) -> Option<Outgoing> {
        let index = self.board.first_lost(&shared.records)?;
        let len = u32::from(shared.records.get(index)?.len.min(room));
        let pipe = self.pipe();
        if !is_forced && pipe > 0 && pipe + len > self.congestion.cwnd() {
            return None;
        }
        if self.must_wait(is_forced, now) {
            return None;
        }
        self.send_again(shared, index, room, clock, now)
    }

    /// Sends a record again, as much of it as fits; the rest becomes a record of its own.
    fn send_again(
        &mut self,
        shared: &mut Shared,
        index: u32,
        room: u16,
        clock: u32,
        now: Instant,
    ) -> Option<Outgoing> {
        let record = *shared.records.get(index)?;
        let has_fin = self.fin == Fin::Sent && record.end() == self.next;
        let payload = record.len - u16::from(has_fin);
        if payload > room && !self.board.split(&mut shared.records, index, room) {
            // No record for the rest. Something is in flight or lost, so a timer runs and it will be tried again.
            shared.counters.records_full += 1;
            return None;
        }
        let len = payload.min(room);
        let fin = has_fin && len == payload;
        let stamp = self.congestion.stamp(self.pipe() == 0, micros(now));
        self.board.mark_sent(&mut shared.records, index, micros(now), stamp);
        self.congestion.on_sent(u32::from(len) + u32::from(fin), Some(clock), micros(now));
        shared.counters.retransmitted += 1;
        if record.seq == self.una || self.timer == Timer::None {
            self.retransmit_at = now + self.rtt.rto();
        }
        self.arm(None, self.phase == Phase::Recovery, now);
        let end = record.seq.wrapping_add(u32::from(len));
        let push = len > 0 && self.unsent() == 0 && end == self.data_end();
        Some(Outgoing { seq: record.seq, len, push, fin, kind: OutgoingKind::Retransmission })
    }

    /// The sequence number behind the last byte written.
    fn data_end(&self) -> u32 {
        self.una.wrapping_add(self.queue.len() as u32)
    }

    /// New data, and the FIN with or after the last of it. `is_small_allowed` overrides silly window avoidance,
    /// `is_probe` the congestion window.
    fn new_segment(
        &mut self,
        shared: &mut Shared,
        room: u16,
        is_small_allowed: bool,
        is_probe: bool,
        now: Instant,
    ) -> Option<Outgoing> {
        let unsent = self.unsent();
        if unsent == 0 && self.fin != Fin::Queued {
            self.is_window_full = false;
            if self.board.lost() == 0 {
                self.congestion.on_nothing_to_send(self.pipe());
            }
            return None;
        }
        self.restart_after_idle(now);
        let edge = self.una.wrapping_add(self.window);
        let usable = if is_after(edge, self.next) { edge.wrapping_sub(self.next) } else { 0 };
        let len = u32::from(room).min(unsent).min(usable);
        let fin = self.fin == Fin::Queued && len == unsent && usable > len;
        let is_silly = len < unsent && len < u32::from(room) && len < self.window_max / 2;
        if (len == 0 && !fin) || (is_silly && !is_small_allowed) {
            self.wait_for_window(now);
            return None;
        }
        let pipe = self.pipe();
        if pipe > 0 && pipe + len > self.congestion.cwnd() && !is_probe {
            self.is_window_full = true;
            return None;
        }
        if self.must_wait(is_probe, now) {
            return None;
        }
        self.is_window_full = false;
        let sequence_len = len as u16 + u16::from(fin);
        let seq = self.next;
        if self.board.count() >= SEGMENTS_IN_FLIGHT_MAX || !self.push_record(shared, sequence_len, now) {
            shared.counters.records_full += 1;
            self.wait_for_record(now);
            return None;
        }
        self.on_new_sent(shared, len, fin, now);
        let push = len > 0 && len == unsent;
        Some(Outgoing { seq, len: len as u16, push, fin, kind: OutgoingKind::New })
    }

    /// Whether the pace says to wait; then a timer runs.
    fn must_wait(&mut self, is_forced: bool, now: Instant) -> bool {
        let wait_us = self.congestion.pace_wait_us(micros(now)).filter(|_| !is_forced);
        if let Some(wait_us) = wait_us {
            self.wait_for_turn(wait_us, now);
        }
        wait_us.is_some()
    }

    /// Notes a new segment as in flight. False when no record is free.
    fn push_record(&mut self, shared: &mut Shared, sequence_len: u16, now: Instant) -> bool {
        let stamp = self.congestion.stamp(self.pipe() == 0, micros(now));
        self.board.push(&mut shared.records, self.next, sequence_len, micros(now), stamp)
    }

    /// Books a new segment of `len` bytes at SND.NXT.
    fn on_new_sent(&mut self, shared: &mut Shared, len: u32, fin: bool, now: Instant) {
        let seq = self.next;
        let is_first = !self.has_unacked();
        let is_cursor_valid = !is_before(self.cursor_seq, self.una) && is_before(self.una, self.next);
        self.cursor = if is_cursor_valid {
            self.cursor.advanced(&shared.chunks, seq.wrapping_sub(self.cursor_seq) as usize)
        } else {
            self.queue.cursor(&shared.chunks, seq.wrapping_sub(self.una) as usize)
        };
        self.cursor_seq = seq;
        self.next = seq.wrapping_add(len + u32::from(fin));
        if fin {
            self.fin = Fin::Sent;
        }
        self.congestion.on_sent(len + u32::from(fin), None, micros(now));
        self.sent_ms = millis(now);
        if is_first {
            self.progress_ms = millis(now);
            self.retransmit_at = now + self.rtt.rto();
            self.window_probes = 0;
        }
        shared.counters.segments += 1;
        shared.counters.bytes += u64::from(len);
        self.arm(None, true, now);
    }

    fn restart_after_idle(&mut self, now: Instant) {
        if self.has_unacked() {
            return;
        }
        let idle_us = millis(now).wrapping_sub(self.sent_ms).saturating_mul(1_000);
        let rto_us = self.rtt.rto_base_us();
        if idle_us > rto_us {
            self.congestion.restart_after_idle(idle_us, rto_us, self.mss());
            self.sent_ms = millis(now);
        }
    }

    /// RFC 8985 §7.3: new data if there is any, else the last segment again. While repairing the first one, whose
    /// repair must have been lost.
    fn tail_probe(&mut self, shared: &mut Shared, room: u16, clock: u32, now: Instant) -> Option<Outgoing> {
        let is_repairing = self.phase == Phase::Recovery;
        if self.phase == Phase::Loss || !self.has_unacked() {
            return None;
        }
        let new = if is_repairing { None } else { self.new_segment(shared, room, true, true, now) };
        let segment = new.or_else(|| {
            let index = if is_repairing { self.board.head() } else { self.board.tail() };
            let is_waiting = shared.records.get(index)?.standing == Standing::InFlight;
            if is_waiting { self.send_again(shared, index, room, clock, now) } else { None }
        })?;
        shared.counters.tail_probes += 1;
        self.rack.on_probe_sent(self.next, segment.kind == OutgoingKind::Retransmission);
        self.retransmit_at = now + self.rtt.rto();
        self.arm(None, false, now);
        Some(segment)
    }

    /// An empty segment that the peer must answer with its window, as Linux sends it.
    fn window_probe(&mut self, shared: &mut Shared) -> Outgoing {
        shared.counters.window_probes += 1;
        Outgoing { seq: self.una.wrapping_sub(1), len: 0, push: false, fin: false, kind: OutgoingKind::Probe }
    }
}
