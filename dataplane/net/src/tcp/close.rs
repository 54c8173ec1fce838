//! The end of a connection: from its last number to its freed slot.
//!
//! Owns: leaving the table and giving back memory; what goes on as a TIME-WAIT record. Does not own: what ends a
//! connection.
//!
//! A connection that ended leaves the index at once, so that its client may use the port again, but keeps its slot
//! until its last segment was sent, data that is still stored was taken, and its owner was told.

use super::connection::{Connection, Marks, NEVER};
use super::state::{Signal, State};
use super::time_wait::Record;
use super::{CloseReason, Stack};
use crate::time::Instant;

impl Stack {
    /// After a FIN of either side: what the state now asks for.
    pub(super) fn end_if_finished(&mut self, slot: u32, now: Instant) {
        let Some(connection) = self.table.get(slot) else { return };
        match connection.state {
            State::TimeWait => {
                self.enter_time_wait(slot, now);
                self.end(slot, CloseReason::Finished, false);
            }
            State::Closed => self.end(slot, CloseReason::Finished, false),
            _ => {}
        }
    }

    fn enter_time_wait(&mut self, slot: u32, now: Instant) {
        let Some(connection) = self.table.get(slot) else { return };
        let mut record = Record::new(connection.key, connection.sender.next_seq(), connection.rcv_nxt);
        record.has_timestamps = connection.marks.intersects(Marks::TIMESTAMPS);
        record.ts_recent = connection.ts_recent;
        record.ts_offset = connection.ts_offset;
        if let Some(oldest) = self.time_wait.evictable() {
            self.remove_time_wait(oldest);
            self.counters.time_wait_evicted += 1;
        }
        let (key, hash) = (record.key, self.hash(&record.key));
        self.counters.time_wait += 1;
        if self.time_wait.insert(record, hash, now) {
            self.tell_opened(&key);
        }
    }

    /// Ends a connection. In-order data that was stored stays for its owner when both sides finished in order; else
    /// everything goes.
    pub(super) fn end(&mut self, slot: u32, reason: CloseReason, with_reset: bool) {
        let Some(connection) = self.table.get(slot) else { return };
        let is_in_table = !connection.marks.intersects(Marks::TOLD | Marks::ENDED);
        if is_in_table {
            let key = connection.key;
            let hash = self.hash(&key);
            self.table.unlink(slot, hash);
            self.tell_freed(&key);
            self.wheel.cancel(slot);
            self.prune(slot);
        }
        let Some(connection) = self.table.get_mut(slot) else { return };
        if is_in_table {
            connection.state = connection.state.next(Signal::Reset);
            connection.wake_at = NEVER;
            connection.close_reason =
                CloseReason::ALL.iter().position(|other| *other == reason).unwrap_or(0) as u8;
            connection.marks.remove(Marks::PROBE | Marks::WRITABLE | Marks::WANTS_ROOM);
            connection.marks.insert(Marks::ENDED);
            if with_reset {
                connection.marks.remove(Marks::ACK_NOW);
                connection.marks.insert(Marks::RESET);
            }
            connection.sender.release(&mut self.shared);
        }
        let keeps_data = reason == CloseReason::Finished && !connection.marks.intersects(Marks::DETACHED);
        if !keeps_data {
            connection.marks.remove(Marks::READABLE | Marks::PEER_FINISHED);
            connection.queue.clear(&mut self.shared.chunks, slot);
        }
        if connection.queue.is_empty() {
            self.tell_closed(slot);
        }
    }

    /// The connection has ended and nothing is left to take: its owner may be told.
    pub(super) fn tell_closed(&mut self, slot: u32) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        if connection.marks.take(Marks::ENDED) {
            connection.marks.insert(Marks::CLOSED | Marks::TOLD);
            let reason = usize::from(connection.close_reason);
            if let Some(count) = self.counters.closed.get_mut(reason) {
                *count += 1;
            }
        }
    }

    /// Frees the slot of a connection that ended when nobody waits for anything of it.
    pub(super) fn free_if_done(&mut self, slot: u32) {
        let is_done = |connection: &Connection| {
            let waits =
                Marks::EVENTS | Marks::SENDS | Marks::TRANSMIT_LISTED | Marks::EVENT_LISTED | Marks::ENDED;
            connection.state == State::Closed && !connection.marks.intersects(waits)
        };
        if self.table.get(slot).is_some_and(is_done) {
            self.table.remove(slot);
        }
    }
}
