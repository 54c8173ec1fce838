//! Time: one wheel entry per connection, its deadlines in the record.
//!
//! Owns: which deadlines there are, and what happens at them; the search for peers that hold memory. Does not own: the
//! deadline of the sending side (retransmission, tail loss probe, reordering, window probe), which is one of them.
//!
//! The wheel wakes a connection at or before its earliest deadline. One that moved later is left alone, and the wheel
//! set again when it fires: acknowledgements, which move deadlines all the time, do not touch it.

use core::time::Duration;

use super::connection::{Connection, Marks, NEVER};
use super::send::{GiveUp, TimeoutVerdict};
use super::state::State;
use super::{CloseReason, Limits, Stack};
use crate::time::Instant;

/// When an owner whose `send` found no chunk tries again.
pub(super) const ROOM_RETRY: Duration = Duration::from_millis(20);

/// How often something is done about short memory: a turn may take a few microseconds, and looking at records that are
/// not in the cache takes longer.
const RELIEF_INTERVAL: Duration = Duration::from_millis(1);

/// Connections looked at each time: a table of 65,536 is searched in a quarter of a second.
const SEARCHED_PER_RELIEF: usize = 256;

/// Sets of ranges dropped each time.
const PRUNED_PER_RELIEF: usize = 16;

impl Connection {
    /// The next keep-alive probe. With data in flight the retransmission timer finds a dead peer.
    fn keep_alive_at(&self, limits: &Limits) -> Instant {
        if self.sender.has_unacked() {
            return NEVER;
        }
        self.heard_at + limits.keep_alive + limits.keep_alive_interval * u32::from(self.keep_alive_probes)
    }

    fn stalled_at(&self, limits: &Limits) -> Instant {
        if self.marks.intersects(Marks::WAITS) { self.progress_at + limits.stall } else { NEVER }
    }

    fn fin_wait_ends(&self, limits: &Limits) -> Instant {
        if self.state == State::FinWait2 { self.progress_at + limits.fin_wait_2 } else { NEVER }
    }

    fn next_deadline(&self, limits: &Limits) -> Instant {
        self.sender
            .poll_timeout()
            .unwrap_or(NEVER)
            .min(self.ack_at)
            .min(self.retry_at)
            .min(self.keep_alive_at(limits))
            .min(self.stalled_at(limits))
            .min(self.fin_wait_ends(limits))
    }
}

impl Stack {
    /// Sets the wheel if it would wake the connection too late.
    pub(super) fn arm(&mut self, slot: u32, _now: Instant) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        let deadline = connection.next_deadline(&self.limits);
        if deadline < connection.wake_at {
            connection.wake_at = deadline;
            self.wheel.schedule(slot, deadline);
        }
    }

    pub(super) fn pass_time(&mut self, now: Instant, budget: usize) -> usize {
        if self.is_pressed() && self.relieve_at <= now {
            self.relieve_at = now + RELIEF_INTERVAL;
            self.relieve(now);
        }
        let mut done = 0;
        while done < budget {
            if let Some(slot) = self.wheel.poll_expired(now) {
                self.on_timer(slot, now);
            } else if let Some(record) = self.time_wait.poll_expired(now) {
                self.remove_time_wait(record);
            } else {
                break;
            }
            done += 1;
        }
        done
    }

    fn on_timer(&mut self, slot: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        connection.wake_at = NEVER;
        if let Some(reason) = self.expired(slot, now) {
            self.end(slot, reason, true);
        }
        self.settle(slot, now);
    }

    /// Acts on every deadline that has passed; answers with the reason when one of them ends the connection.
    fn expired(&mut self, slot: u32, now: Instant) -> Option<CloseReason> {
        let connection = self.table.get_mut(slot)?;
        if connection.stalled_at(&self.limits) <= now {
            return Some(CloseReason::Stalled);
        }
        if connection.fin_wait_ends(&self.limits) <= now {
            return Some(CloseReason::FinWaitTimeout);
        }
        if connection.ack_at <= now {
            connection.ack_at = NEVER;
            connection.marks.insert(Marks::ACK_NOW);
        }
        if connection.keep_alive_at(&self.limits) <= now {
            if connection.keep_alive_probes >= self.limits.keep_alive_probes {
                return Some(CloseReason::KeepAlive);
            }
            connection.keep_alive_probes += 1;
            connection.marks.insert(Marks::PROBE);
            self.counters.keep_alives += 1;
        }
        if connection.retry_at <= now {
            connection.retry_at = NEVER;
            if connection.marks.intersects(Marks::WANTS_ROOM) {
                if connection.sender.room(&self.shared) > 0 {
                    connection.marks.remove(Marks::WANTS_ROOM);
                    connection.marks.insert(Marks::WRITABLE);
                } else {
                    connection.retry_at = now + ROOM_RETRY;
                }
            }
        }
        if connection.sender.poll_timeout().is_some_and(|deadline| deadline <= now) {
            return match connection.sender.handle_timeout(&mut self.shared, now) {
                TimeoutVerdict::Nothing | TimeoutVerdict::Transmit => None,
                TimeoutVerdict::GiveUp(GiveUp::ZeroWindow) => Some(CloseReason::Stalled),
                TimeoutVerdict::GiveUp(_) => Some(CloseReason::Unreachable),
            };
        }
        None
    }

    /// Memory is short: what came out of order goes, and peers that hold data and take none are reset.
    fn relieve(&mut self, now: Instant) {
        for _ in 0..PRUNED_PER_RELIEF {
            let Some(owner) = self.sets.next_owner() else { break };
            self.prune(owner);
        }
        for _ in 0..SEARCHED_PER_RELIEF.min(self.table.len() as usize) {
            let Some(slot) = self.table.next_in_round(&mut self.hand) else { continue };
            let Some(connection) = self.table.get(slot) else { continue };
            let is_stalled = connection.marks.intersects(Marks::WAITS)
                && connection.progress_at + self.limits.stall_pressed <= now;
            if is_stalled && connection.state != State::Closed {
                self.end(slot, CloseReason::MemoryPressure, true);
                self.settle(slot, now);
            }
        }
    }
}
