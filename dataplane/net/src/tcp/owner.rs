//! What the owner of a connection does with it, and what it is told.
//!
//! Owns: the calls of `Stack` that come from above, and the queue of events. Does not own: what becomes of them on
//! the wire.

use super::connection::{Connection, Marks};
use super::event::{CloseReason, Closed, Event};
use super::state::{Signal, State};
use super::{ConnectionId, Stack};
use crate::time::Instant;

impl Connection {
    /// After room was made: whether the peer should be told now. It stands still when the window was closed; one that
    /// has half of the window left is told with the next ACK that is due anyway.
    fn should_tell_window(&self, buffer: u32) -> bool {
        let gain = self.window_gain(buffer);
        gain > 0 && (self.marks.intersects(Marks::WINDOW_CLOSED) || gain >= buffer / 2)
    }
}

impl Stack {
    pub(super) fn consume_stored(&mut self, slot: u32, count: usize, now: Instant) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        let count = count.min(connection.queue.len() as usize) as u32;
        connection.queue.consume(&mut self.shared.chunks, slot, count);
        let is_empty = connection.queue.is_empty();
        if is_empty {
            connection.marks.remove(Marks::READABLE);
        }
        if is_empty && count > 0 && connection.marks.intersects(Marks::FIN_ARRIVED) {
            connection.marks.insert(Marks::PEER_FINISHED);
        }
        if connection.state == State::Closed {
            if is_empty {
                self.tell_closed(slot);
            }
        } else if connection.state.may_receive() {
            let rcv_buffer = connection.rcv_buffer;
            let buffer = self.buffer(rcv_buffer);
            if let Some(connection) = self.table.get_mut(slot)
                && connection.should_tell_window(buffer)
            {
                connection.marks.insert(Marks::ACK_NOW);
            }
        }
        self.settle(slot, now);
    }

    pub(super) fn write(&mut self, slot: u32, bytes: &[u8], now: Instant) -> usize {
        let Some(connection) = self.table.get_mut(slot).filter(|connection| connection.state.may_send())
        else {
            return 0;
        };
        let taken = connection.sender.write(&mut self.shared, bytes, now);
        if taken > 0 && !connection.marks.intersects(Marks::WAITS) {
            connection.marks.insert(Marks::WAITS);
            (connection.progress_una, connection.progress_at) = (connection.sender.unacked(), now);
        }
        if taken < bytes.len() {
            connection.marks.insert(Marks::WANTS_ROOM);
            if connection.sender.queued() == 0 {
                // Chunks are short; no acknowledgement will come that could wake this connection.
                connection.retry_at = now + super::timer::ROOM_RETRY;
            }
        }
        self.settle(slot, now);
        taken
    }

    pub(super) fn finish_sending(&mut self, slot: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(slot).filter(|connection| connection.state.may_send())
        else {
            return;
        };
        connection.state = connection.state.next(Signal::Finish);
        connection.marks.remove(Marks::WANTS_ROOM | Marks::WRITABLE);
        if !connection.marks.intersects(Marks::WAITS) {
            connection.marks.insert(Marks::WAITS);
            (connection.progress_una, connection.progress_at) = (connection.sender.unacked(), now);
        }
        connection.sender.finish(now);
        self.settle(slot, now);
    }

    pub(super) fn detach(&mut self, slot: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        connection.marks.insert(Marks::DETACHED);
        connection.marks.remove(Marks::READABLE | Marks::WRITABLE | Marks::PEER_FINISHED | Marks::WANTS_ROOM);
        connection.queue.clear(&mut self.shared.chunks, slot);
        if connection.state == State::Closed {
            self.tell_closed(slot);
        } else {
            // An end of the window that is never told again; what was missing is of no use.
            self.prune(slot);
            self.finish_sending(slot, now);
        }
        self.settle(slot, now);
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        while let Some(slot) = self.events.front().copied() {
            let connection = self.table.id(slot);
            let Some(found) = self.table.get_mut(slot) else {
                self.events.pop_front();
                continue;
            };
            if let Some(event) = found.take_event(connection) {
                return Some(event);
            }
            found.marks.remove(Marks::EVENT_LISTED);
            self.events.pop_front();
            self.free_if_done(slot);
        }
        None
    }
}

impl Connection {
    fn take_event(&mut self, connection: ConnectionId) -> Option<Event> {
        let user = self.user;
        if self.marks.take(Marks::READABLE) {
            return Some(Event::Readable { connection, user });
        }
        if self.marks.take(Marks::PEER_FINISHED) {
            return Some(Event::PeerFinished { connection, user });
        }
        if self.marks.take(Marks::WRITABLE) {
            return Some(Event::Writable { connection, user });
        }
        self.marks.take(Marks::CLOSED).then(|| {
            Event::Closed(Closed {
                connection,
                user,
                reason: CloseReason::ALL
                    .get(usize::from(self.close_reason))
                    .copied()
                    .unwrap_or(CloseReason::Finished),
                listener: self.listener,
                client: self.key.source.addr,
                opened: self.opened,
                bytes_in: self.bytes_in,
                bytes_out: self.bytes_out,
            })
        })
    }
}
