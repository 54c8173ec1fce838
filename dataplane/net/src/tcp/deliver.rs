//! The data of an acceptable segment: lent to the owner, stored, or refused; and the peer's FIN.
//!
//! Owns: RCV.NXT, when an ACK is due, growth of the window. Does not own: where bytes wait (`chain`, `assembler`).
//! RFC 9293 §3.8.6 (with 1122 §4.2.3.2: delayed ACK), 5681 §4.2 (immediate ACK for what fills or leaves a hole).

use super::assembler::{Inserted, NO_SET};
use super::connection::{Connection, Marks, NEVER};
use super::segment::Arrived;
use super::seq::{distance, earlier, is_after, is_before, later};
use super::state::{Signal, State};
use super::{CloseReason, ConnectionId, Stack, Verdict};
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::tcp::Flags;

/// A window that fills within this long is in use, and grows: what takes longer needs no larger one.
const ROUND_MS_MAX: u32 = 2_000;

/// In-order data that the owner looks at in the frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    connection: ConnectionId,
    len: u32,
    /// Bytes of the whole segment, for what counts as full.
    segment_len: u32,
}

/// The part of a segment that is new and in the window.
#[derive(Clone, Copy, Debug)]
struct Part {
    seq: u32,
    /// Offset in the frame.
    start: usize,
    len: u32,
}

impl Connection {
    /// Remembers a duplicate for the next ACK.
    pub(super) fn note_duplicate(&mut self, left: u32, right: u32) {
        if self.marks.intersects(Marks::SACK) {
            self.dsack = (left, right);
            self.marks.insert(Marks::DSACK);
        }
    }

    /// What of a segment's data is neither old nor beyond the window.
    fn trim(&self, arrived: &Arrived) -> Part {
        let seq = later(arrived.seq, self.rcv_nxt);
        let end = earlier(arrived.data_end(), self.rcv_edge);
        let start = arrived.start + distance(arrived.seq, seq) as usize;
        Part { seq, start, len: distance(seq, end) }
    }
}

impl Stack {
    /// A segment with data or FIN, in an open connection.
    pub(super) fn on_data(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        arrived: &Arrived,
        now: Instant,
    ) -> Verdict {
        let Some(connection) = self.table.get_mut(slot) else { return Verdict::Miss };
        let part = connection.trim(arrived);
        if !connection.state.may_receive() {
            // The peer has finished: this is its FIN again, or data after it, which nobody can mean.
            if !is_before(arrived.seq, connection.rcv_nxt) {
                return Verdict::Drop(DropReason::OutOfWindow);
            }
            connection.note_duplicate(arrived.seq, earlier(arrived.end(), connection.rcv_nxt));
            return self.answer(slot, packet, now).unwrap_or(Verdict::Consumed);
        }
        if part.len > 0 && connection.marks.intersects(Marks::DETACHED) {
            return self.refuse_data(slot, packet, now);
        }
        if is_before(arrived.seq, part.seq) && arrived.len > 0 {
            let known = earlier(part.seq, arrived.data_end());
            self.counters.duplicates += u64::from(part.len == 0);
            connection.note_duplicate(arrived.seq, known);
        }
        let is_whole = !is_after(arrived.data_end(), connection.rcv_edge);
        if arrived.has(Flags::FIN) && is_whole && !is_before(arrived.data_end(), connection.rcv_nxt) {
            connection.fin_seq = arrived.data_end();
            connection.marks.insert(Marks::FIN_SEEN);
        }
        if part.len == 0 {
            return self.on_no_new_data(slot, packet, now);
        }
        if part.seq != connection.rcv_nxt {
            return self.on_out_of_order(slot, packet, part, now);
        }
        if connection.queue.is_empty() {
            let connection = self.table.id(slot);
            self.lent = Some(Lent { connection, len: part.len, segment_len: arrived.len });
            return Verdict::Data { connection, start: part.start, len: part.len as usize };
        }
        let bytes = packet.bytes().get(part.start..part.start + part.len as usize).unwrap_or(&[]);
        let stored = self.store(slot, bytes);
        self.advance(slot, stored, arrived.len, now);
        Verdict::Consumed
    }

    /// An old segment, a probe of a closed window, or a bare FIN.
    fn on_no_new_data(&mut self, slot: u32, packet: &mut PacketBuf<'_>, now: Instant) -> Verdict {
        self.advance(slot, 0, 0, now);
        self.answer(slot, packet, now).unwrap_or(Verdict::Consumed)
    }

    /// The owner has closed: what is said to it now is lost, and the peer must know (RFC 9293 §3.6.1, RFC 1122
    /// §4.2.2.13).
    fn refuse_data(&mut self, slot: u32, packet: &mut PacketBuf<'_>, now: Instant) -> Verdict {
        self.end(slot, CloseReason::DataAfterClose, true);
        let port = self.emit_reset(slot, packet, Flags::RST);
        self.settle(slot, now);
        port.map_or(Verdict::Consumed, Verdict::Transmit)
    }

    /// Stores what leaves a hole, and tells the peer of it at once.
    fn on_out_of_order(
        &mut self,
        slot: u32,
        packet: &mut PacketBuf<'_>,
        part: Part,
        now: Instant,
    ) -> Verdict {
        let bytes = packet.bytes().get(part.start..part.start + part.len as usize).unwrap_or(&[]);
        let inserted = self.insert_out_of_order(slot, part.seq, bytes);
        if let Some(connection) = self.table.get_mut(slot) {
            if let Some(duplicate) = inserted.duplicate {
                connection.note_duplicate(duplicate.left, duplicate.right);
            }
            connection.rcv_mss = connection.rcv_mss.max(part.len.min(0xffff) as u16);
        }
        if inserted.stored > 0 {
            self.counters.out_of_order += 1;
        } else if inserted.duplicate.is_some() {
            self.counters.duplicates += 1;
        } else {
            self.counters.out_of_order_dropped += 1;
        }
        self.answer(slot, packet, now).unwrap_or(Verdict::Drop(DropReason::OutOfWindow))
    }

    fn insert_out_of_order(&mut self, slot: u32, seq: u32, bytes: &[u8]) -> Inserted {
        let is_short = self.is_short();
        let Some(connection) = self.table.get(slot) else { return Inserted::default() };
        if is_short {
            return Inserted::default();
        }
        if !connection.has_ranges() {
            let Some(set) = self.take_set(slot) else { return Inserted::default() };
            if let Some(connection) = self.table.get_mut(slot) {
                connection.ranges = set;
            }
        }
        let Some(connection) = self.table.get_mut(slot) else { return Inserted::default() };
        let Some(set) = self.sets.get_mut(connection.ranges) else { return Inserted::default() };
        let inserted = set.insert(&mut self.shared.chunks, slot, seq, bytes);
        if set.is_empty() {
            self.sets.give_back(connection.ranges);
            connection.ranges = NO_SET;
        }
        inserted
    }

    /// A set of ranges; when all are in use, that of another connection whose turn it is.
    fn take_set(&mut self, slot: u32) -> Option<u16> {
        if let Some(set) = self.sets.take(slot) {
            return Some(set);
        }
        let other = self.sets.next_owner()?;
        self.prune(other);
        self.sets.take(slot)
    }

    /// Drops what a connection holds out of order.
    pub(super) fn prune(&mut self, slot: u32) {
        let Some(connection) = self.table.get_mut(slot).filter(|connection| connection.has_ranges()) else {
            return;
        };
        if let Some(set) = self.sets.get_mut(connection.ranges) {
            self.counters.pruned_bytes += u64::from(set.clear(&mut self.shared.chunks, slot));
        }
        self.sets.give_back(connection.ranges);
        connection.ranges = NO_SET;
    }

    /// After `Verdict::Data`.
    pub(super) fn take_lent(&mut self, id: ConnectionId, rest: &[u8], now: Instant) {
        let Some(lent) = self.lent.take().filter(|lent| lent.connection == id) else { return };
        let Some(slot) = self.table.slot(id) else { return };
        // The owner may have closed or reset the connection while it looked at the data.
        let may_receive = self.table.get(slot).is_some_and(|connection| {
            connection.state.may_receive() && !connection.marks.intersects(Marks::DETACHED)
        });
        let is_gone = self.table.get(slot).is_none_or(|connection| connection.state == State::Closed);
        if is_gone {
            return;
        }
        let rest = rest.get(..rest.len().min(lent.len as usize)).unwrap_or(&[]);
        let mut accepted = lent.len - rest.len() as u32;
        if may_receive {
            accepted += self.store(slot, rest);
        } else {
            // Dropped with the rest of what was stored, but it did arrive.
            accepted = lent.len;
        }
        self.advance(slot, accepted, lent.segment_len, now);
        self.settle(slot, now);
    }

    /// Stores in-order bytes; what was received out of order makes way for them.
    fn store(&mut self, slot: u32, bytes: &[u8]) -> u32 {
        let mut stored = 0;
        loop {
            let Some(connection) = self.table.get_mut(slot) else { return stored };
            let rest = bytes.get(stored as usize..).unwrap_or(&[]);
            stored += connection.queue.push(&mut self.shared.chunks, slot, rest) as u32;
            if stored as usize == bytes.len() {
                return stored;
            }
            let Some(owner) = self.sets.next_owner() else { break };
            self.prune(owner);
        }
        self.counters.store_failed_bytes += bytes.len() as u64 - u64::from(stored);
        stored
    }

    /// RCV.NXT moves on by `accepted` bytes, and over what was waiting behind them.
    fn advance(&mut self, slot: u32, accepted: u32, segment_len: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        let before = connection.rcv_nxt;
        connection.rcv_nxt = before.wrapping_add(accepted);
        connection.rcv_mss = connection.rcv_mss.max(segment_len.min(0xffff) as u16);
        let mut is_urgent = false;
        // What a filled hole sets free is there at once, and no sign of an owner that does not keep up.
        let waited = connection.queue.len();
        if connection.has_ranges() && accepted > 0 {
            is_urgent = true;
            let was_empty = connection.queue.is_empty();
            let mut duplicate = None;
            if let Some(set) = self.sets.get_mut(connection.ranges) {
                let (chunks, next) = (&mut self.shared.chunks, connection.rcv_nxt);
                duplicate = set.overlap(next);
                connection.rcv_nxt = set.drain(chunks, slot, next, &mut connection.queue);
                if set.is_empty() {
                    self.sets.give_back(connection.ranges);
                    connection.ranges = NO_SET;
                }
            }
            if was_empty && !connection.queue.is_empty() {
                connection.marks.insert(Marks::READABLE);
            }
            if let Some((left, right)) = duplicate.filter(|_| !connection.marks.intersects(Marks::DSACK)) {
                connection.note_duplicate(left, right);
            }
        }
        let moved = connection.rcv_nxt.wrapping_sub(before);
        connection.bytes_in += u64::from(moved);
        self.counters.bytes_in += u64::from(moved);
        if moved > 0 && connection.state == State::FinWait2 {
            connection.progress_at = now;
        }
        let fin = connection.marks.intersects(Marks::FIN_SEEN) && connection.rcv_nxt == connection.fin_seq;
        if fin && connection.state.may_receive() {
            return self.on_fin(slot, now);
        }
        if accepted == 0 {
            return;
        }
        let unacknowledged = connection.rcv_nxt.wrapping_sub(connection.ack_sent);
        if is_urgent || connection.quick_acks > 0 || unacknowledged > u32::from(connection.rcv_mss) {
            connection.quick_acks = connection.quick_acks.saturating_sub(1);
            connection.marks.insert(Marks::ACK_NOW);
        } else if connection.ack_at == NEVER {
            connection.ack_at = now + self.limits.delayed_ack;
        }
        self.grow_window(slot, waited, now);
    }

    /// A peer that filled the window within a short time, and an owner that kept up (`waited`: bytes it had left before
    /// this segment): next time twice as much.
    fn grow_window(&mut self, slot: u32, waited: u32, now: Instant) {
        let is_short = self.is_short();
        let Some(connection) = self.table.get_mut(slot) else { return };
        if is_before(connection.rcv_nxt, connection.round_edge) {
            return;
        }
        let now_ms = now.as_millis() as u32;
        let is_fast = now_ms.wrapping_sub(connection.round_ms) < ROUND_MS_MAX;
        if is_fast && !is_short && waited < connection.rcv_buffer / 4 {
            let largest = self.limits.receive_window_max.min(0xffff << connection.scale_ours);
            connection.rcv_buffer = (connection.rcv_buffer * 2).min(largest.max(connection.rcv_buffer));
        }
        connection.round_ms = now_ms;
        let window = connection.rcv_buffer.max(connection.rcv_window());
        connection.round_edge = connection.rcv_nxt.wrapping_add(window);
    }

    /// The peer's FIN, and nothing before it is missing.
    fn on_fin(&mut self, slot: u32, now: Instant) {
        // What was stored beyond a FIN is nothing.
        self.prune(slot);
        let Some(connection) = self.table.get_mut(slot) else { return };
        connection.rcv_nxt = connection.rcv_nxt.wrapping_add(1);
        connection.rcv_edge = later(connection.rcv_edge, connection.rcv_nxt);
        connection.marks.insert(Marks::FIN_ARRIVED | Marks::ACK_NOW);
        if connection.queue.is_empty() && !connection.marks.intersects(Marks::DETACHED) {
            connection.marks.insert(Marks::PEER_FINISHED);
        }
        connection.state = connection.state.next(Signal::FinArrived);
        self.end_if_finished(slot, now);
    }
}
