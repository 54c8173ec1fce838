//! TIME-WAIT as a compact record (RFC 9293 §3.4.2, 6191, 1337): what is left of a connection that we finished first.
//!
//! Owns: a bounded table of 64-byte records in order of their end, and what a segment to one of them means. Does not
//! own: how the answer is written.
//!
//! * The peer's FIN again, or other old data: an ACK; a FIN restarts the 60 s.
//! * A RST: ignored (RFC 1337: it would end the wait early).
//! * A SYN that is clearly newer (by its timestamp, else by its number; RFC 6191): the port may be used again. The
//!   record stays until the new handshake is complete, since a SYN proves nothing about its sender.
//! * An older SYN: an ACK, from which an honest client learns to send a RST and try again.
//! * Anything else may be the last segment of a new handshake: a miss, the caller checks its cookie.

use core::time::Duration;

use super::segment::Arrived;
use super::seq::{is_after, is_before};
use crate::flow::FlowKey;
use crate::flow_index::FlowIndex;
use crate::time::Instant;
use crate::wire::tcp::Flags;

const NONE: u32 = u32::MAX;

/// Unit of the end of a wait, in milliseconds.
const TICK_MS: u64 = 100;

/// How far behind both of its numbers a segment may lie to be an old one of this connection. As far as usual windows
/// go, and little enough that the numbers of a new handshake are not taken for old ones (2^-24).
const OLD_BYTES: u32 = 1 << 20;

/// What is kept of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) key: FlowKey,
    /// Whether timestamps are in use.
    pub(super) has_timestamps: bool,
    pub(super) snd_nxt: u32,
    pub(super) rcv_nxt: u32,
    /// Timestamp to echo.
    pub(super) ts_recent: u32,
    /// As in the connection.
    pub(super) ts_offset: u32,
    /// End of the wait, in [`TICK_MS`] since the stack was made: 13 years fit.
    expires: u32,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    next: u32,
    previous: u32,
}

/// What to do with a segment to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Acknowledge with the record's numbers.
    Ack,
    /// Nothing.
    Drop,
    /// It is not for the old connection.
    Miss,
}

/// All records of one stack.
#[derive(Debug)]
pub(super) struct TimeWait {
    records: Vec<Record>,
    links: Vec<Links>,
    index: FlowIndex,
    records_max: u32,
    wait_ms: u64,
    /// When the stack was made, in milliseconds: the caller's clock may count from 1970, which no record could hold.
    origin_ms: u64,
    /// Chained by `Links::next`.
    free: u32,
    /// In order of their end.
    first: u32,
    last: u32,
    len: u32,
}

impl TimeWait {
    pub(super) fn new(records_max: u32, wait: Duration, now: Instant) -> Self {
        let capacity = records_max as usize;
        Self {
            records: Vec::with_capacity(capacity),
            links: Vec::with_capacity(capacity),
            index: FlowIndex::new(capacity),
            records_max,
            wait_ms: wait.as_millis() as u64,
            origin_ms: now.as_millis(),
            free: NONE,
            first: NONE,
            last: NONE,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(super) fn find(&self, key: &FlowKey, hash: u64) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        self.index.find(hash, |slot| self.get(slot).is_some_and(|record| record.key == *key))
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Record> {
        self.records.get(slot as usize)
    }

    /// The record that must go before another one is made; `None` when there is room.
    pub(super) fn evictable(&self) -> Option<u32> {
        (self.len >= self.records_max && self.len > 0).then_some(self.first)
    }

    /// Makes a record whose wait begins now; false when there is no room.
    pub(super) fn insert(&mut self, mut record: Record, hash: u64, now: Instant) -> bool {
        if self.len >= self.records_max {
            return false;
        }
        record.expires = self.end(now);
        let slot = if self.free == NONE {
            self.records.push(record);
            self.links.push(Links { next: NONE, previous: NONE });
            (self.records.len() - 1) as u32
        } else {
            let slot = self.free;
            self.free = self.links[slot as usize].next;
            self.records[slot as usize] = record;
            slot
        };
        let is_indexed = self.index.insert(hash, slot);
        debug_assert!(is_indexed, "the index has room for every record");
        self.len += 1;
        self.push_last(slot);
        true
    }

    fn end(&self, now: Instant) -> u32 {
        (now.as_millis().saturating_sub(self.origin_ms) + self.wait_ms).div_ceil(TICK_MS) as u32
    }

    fn push_last(&mut self, slot: u32) {
        let previous = core::mem::replace(&mut self.last, slot);
        if previous == NONE {
            self.first = slot;
        } else {
            self.links[previous as usize].next = slot;
        }
        self.links[slot as usize] = Links { next: NONE, previous };
    }

    fn unlink(&mut self, slot: u32) {
        let Links { next, previous } = self.links[slot as usize];
        match next {
            NONE => self.last = previous,
            next => self.links[next as usize].previous = previous,
        }
        match previous {
            NONE => self.first = next,
            previous => self.links[previous as usize].next = next,
        }
    }

    /// Drops a record; false when there was none.
    pub(super) fn remove(&mut self, slot: u32, hash: u64) -> bool {
        let is_found = self.index.remove(hash, slot);
        if is_found {
            self.unlink(slot);
            self.links[slot as usize].next = self.free;
            self.free = slot;
            self.len -= 1;
        }
        is_found
    }

    /// What a segment to the record in `slot` means; restarts its wait where that is due.
    pub(super) fn on_segment(&mut self, slot: u32, arrived: &Arrived, now: Instant) -> Answer {
        let expires = self.end(now);
        let Some(record) = self.records.get_mut(slot as usize) else { return Answer::Miss };
        if arrived.has(Flags::RST) {
            return Answer::Drop;
        }
        let timestamps = arrived.options.timestamps.filter(|_| record.has_timestamps);
        if arrived.has(Flags::SYN) {
            // A clock may tick seldom: of SYNs with the same timestamp the number says which is newer (RFC 6191 §2).
            let is_newer = match timestamps {
                Some(timestamps) if timestamps.value != record.ts_recent => {
                    is_after(timestamps.value, record.ts_recent)
                }
                _ => is_after(arrived.seq, record.rcv_nxt),
            };
            return if is_newer && !arrived.has(Flags::ACK) { Answer::Miss } else { Answer::Ack };
        }
        let is_old = !is_after(arrived.end(), record.rcv_nxt)
            && record.rcv_nxt.wrapping_sub(arrived.seq) < OLD_BYTES
            && !is_after(arrived.ack, record.snd_nxt)
            && record.snd_nxt.wrapping_sub(arrived.ack) < OLD_BYTES;
        if !arrived.has(Flags::ACK) || !is_old {
            return Answer::Miss;
        }
        if let Some(timestamps) = timestamps {
            if is_before(timestamps.value, record.ts_recent) {
                return Answer::Ack;
            }
            if arrived.seq == record.rcv_nxt {
                record.ts_recent = timestamps.value;
            }
        }
        if arrived.has(Flags::FIN) && arrived.end() == record.rcv_nxt {
            record.expires = expires;
            self.unlink(slot);
            self.push_last(slot);
            return Answer::Ack;
        }
        // The last ACK of an orderly close says nothing; more data would.
        if arrived.len > 0 || arrived.has(Flags::FIN) { Answer::Ack } else { Answer::Drop }
    }

    /// The record whose wait is over.
    pub(super) fn poll_expired(&self, now: Instant) -> Option<u32> {
        self.poll_timeout().filter(|end| *end <= now).map(|_| self.first)
    }

    /// When the next wait is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let record = self.get(self.first).filter(|_| self.len > 0)?;
        Some(Instant::from_millis(self.origin_ms + u64::from(record.expires) * TICK_MS))
    }

    /// Keys of all records. For tests and the simulation.
    pub(super) fn keys(&self) -> impl Iterator<Item = FlowKey> {
        let mut at = self.first;
        core::iter::from_fn(move || {
            let record = self.get(at).filter(|_| at != NONE)?;
            at = self.links.get(at as usize).map_or(NONE, |links| links.next);
            Some(record.key)
        })
    }

    /// Panics when the parts disagree. For tests and fuzzing.
    pub(super) fn check(&self) {
        self.index.check();
        let (mut at, mut previous, mut count) = (self.first, NONE, 0);
        while at != NONE {
            assert_eq!(self.links[at as usize].previous, previous);
            (previous, at) = (at, self.links[at as usize].next);
            count += 1;
        }
        assert_eq!((count, previous), (self.len, self.last));
    }
}

impl Record {
    pub(super) const fn new(key: FlowKey, snd_nxt: u32, rcv_nxt: u32) -> Self {
        Self { key, has_timestamps: false, snd_nxt, rcv_nxt, ts_recent: 0, ts_offset: 0, expires: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_at_most_64_bytes() {
        assert!(size_of::<Record>() <= 64, "{}", size_of::<Record>());
    }
}
