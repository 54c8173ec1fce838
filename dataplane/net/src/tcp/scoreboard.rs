//! What is in flight (RFC 6675): one record per segment, in two orders.
//!
//! Owns: the pool of records of a stack ([`RecordPool`]) and the lists of one connection ([`Scoreboard`]): in the order
//! of sequence numbers, and, of those in flight, in the order in which they were sent. Does not own: which record is
//! lost (`rack`, `recovery`), the bytes (`chunk`), windows.
//!
//! ```text
//!   sequence:  head ─► [acked?..] [in flight] [sacked] [lost] [in flight] ◄─ tail
//!   time:      oldest ─► the records in flight, those sent again last ◄─ newest
//! ```
//! A record is in one of three states ([`Standing`]); it is in the order of time exactly while it is in flight. The sum
//! over the records in flight is what RFC 6675 calls `pipe`; sums of the other two are kept as records change.
//!
//! A peer cannot make a record smaller: a SACK block counts for the records that it covers whole, so crumbs of SACK
//! (CVE-2019-11477, -11478) neither split nor multiply anything. All blocks of an ACK are looked up in one walk.
//! Cost: 44 bytes per record, none while nothing is in flight; an ACK in order takes one record off the head.

use super::seq::is_before;

mod record;
#[cfg(test)]
mod tests;

pub(super) use record::{NONE, Record, RecordPool, Stamp, Standing};

/// What the records of a connection add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Sequence number of the first.
    pub(super) first: Option<u32>,
    /// Sequence numbers of all.
    pub(super) total: u32,
    /// Of those that the peer has.
    pub(super) sacked: u32,
    /// Of those that are lost.
    pub(super) lost: u32,
}

/// What is in flight of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scoreboard {
    head: u32,
    tail: u32,
    oldest: u32,
    newest: u32,
    /// No record before this one is lost; [`NONE`] when none is known.
    first_lost: u32,
    count: u16,
    /// Bytes that the peer has beyond the cumulative ACK.
    sacked: u32,
    /// Bytes that are lost and wait to be sent again.
    lost: u32,
}

impl Scoreboard {
    /// Nothing in flight.
    pub(super) const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        oldest: NONE,
        newest: NONE,
        first_lost: NONE,
        count: 0,
        sacked: 0,
        lost: 0,
    };

    /// Records.
    #[inline]
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Bytes that the peer has beyond the cumulative ACK.
    #[inline]
    pub(super) fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Bytes that wait to be sent again.
    #[inline]
    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    /// The record with the lowest sequence number.
    #[inline]
    pub(super) fn head(&self) -> u32 {
        self.head
    }

    /// The record with the highest sequence number.
    #[inline]
    pub(super) fn tail(&self) -> u32 {
        self.tail
    }

    /// Of the records in flight the one sent first.
    #[inline]
    pub(super) fn oldest(&self) -> u32 {
        self.oldest
    }

    /// The record behind `index` in the order of sequence numbers.
    #[inline]
    pub(super) fn next(pool: &RecordPool, index: u32) -> u32 {
        pool.get(index).map_or(NONE, |record| record.next)
    }

    /// The record sent after `index`.
    #[inline]
    pub(super) fn newer(pool: &RecordPool, index: u32) -> u32 {
        pool.get(index).map_or(NONE, |record| record.newer)
    }

    /// Appends a segment sent for the first time. False when the pool is full: then it must not be sent.
    pub(super) fn push(
        &mut self,
        pool: &mut RecordPool,
        seq: u32,
        len: u16,
        now_us: u32,
        stamp: Stamp,
    ) -> bool {
        let record = Record {
            seq,
            len,
            standing: Standing::InFlight,
            transmissions: 1,
            sent_us: now_us,
            stamp,
            previous: self.tail,
            ..Record::FREE
        };
        let Some(index) = pool.take(record) else { return false };
        match pool.get_mut(self.tail) {
            Some(tail) => tail.next = index,
            None => self.head = index,
        }
        self.tail = index;
        self.count += 1;
        self.append_to_time(pool, index);
        true
    }

    /// Takes the head off, which is cumulatively acknowledged, and answers with what it was.
    pub(super) fn pop(&mut self, pool: &mut RecordPool) -> Option<Record> {
        let index = self.head;
        let record = *pool.get(index)?;
        self.leave(pool, index, &record);
        if self.first_lost == index {
            self.first_lost = record.next;
        }
        self.head = record.next;
        match pool.get_mut(record.next) {
            Some(next) => next.previous = NONE,
            None => self.tail = NONE,
        }
        self.count -= 1;
        pool.give_back(index);
        Some(record)
    }

    /// The first `len` sequence numbers of the head are acknowledged, not all of it.
    pub(super) fn trim_head(&mut self, pool: &mut RecordPool, len: u16) {
        let Some(record) = pool.get_mut(self.head) else { return };
        let len = len.min(record.len);
        record.seq = record.seq.wrapping_add(u32::from(len));
        record.len -= len;
        match record.standing {
            Standing::InFlight => {}
            Standing::Sacked => self.sacked -= u32::from(len),
            Standing::Lost => self.lost -= u32::from(len),
        }
    }

    /// Cuts a record in two, so that the first part has `len` sequence numbers. Both stand as the whole did. False
    /// when there is nothing to cut or the pool is full.
    pub(super) fn split(&mut self, pool: &mut RecordPool, index: u32, len: u16) -> bool {
        let Some(record) = pool.get(index).copied() else { return false };
        if len == 0 || len >= record.len {
            return false;
        }
        let rest = Record {
            seq: record.seq.wrapping_add(u32::from(len)),
            len: record.len - len,
            previous: index,
            newer: NONE,
            older: NONE,
            ..record
        };
        let Some(second) = pool.take(rest) else { return false };
        if let Some(first) = pool.get_mut(index) {
            (first.len, first.next) = (len, second);
        }
        match pool.get_mut(record.next) {
            Some(next) => next.previous = second,
            None => self.tail = second,
        }
        self.count += 1;
        if record.standing == Standing::InFlight {
            self.insert_in_time(pool, index, second);
        }
        true
    }

    /// The peer has this record.
    pub(super) fn mark_sacked(&mut self, pool: &mut RecordPool, index: u32) {
        self.stand(pool, index, Standing::Sacked);
    }

    /// This record is believed lost.
    pub(super) fn mark_lost(&mut self, pool: &mut RecordPool, index: u32) {
        self.stand(pool, index, Standing::Lost);
    }

    /// This record was sent again.
    pub(super) fn mark_sent(&mut self, pool: &mut RecordPool, index: u32, now_us: u32, stamp: Stamp) {
        let Some(record) = pool.get(index).copied() else { return };
        self.leave(pool, index, &record);
        if let Some(record) = pool.get_mut(index) {
            record.standing = Standing::InFlight;
            (record.sent_us, record.stamp) = (now_us, stamp);
            record.transmissions = record.transmissions.saturating_add(1);
        }
        self.append_to_time(pool, index);
    }

    fn stand(&mut self, pool: &mut RecordPool, index: u32, standing: Standing) {
        let Some(record) = pool.get(index).copied() else { return };
        if record.standing == standing {
            return;
        }
        self.leave(pool, index, &record);
        if let Some(record) = pool.get_mut(index) {
            record.standing = standing;
        }
        match standing {
            Standing::InFlight => self.insert_by_time(pool, index, record.sent_us),
            Standing::Sacked => self.sacked += u32::from(record.len),
            Standing::Lost => {
                self.lost += u32::from(record.len);
                let is_first = pool.get(self.first_lost).is_none_or(|first| is_before(record.seq, first.seq));
                if is_first {
                    self.first_lost = index;
                }
            }
        }
    }

    /// Takes a record out of what its standing put it into.
    fn leave(&mut self, pool: &mut RecordPool, index: u32, record: &Record) {
        match record.standing {
            Standing::Sacked => self.sacked -= u32::from(record.len),
            Standing::Lost => self.lost -= u32::from(record.len),
            Standing::InFlight => {
                match pool.get_mut(record.older) {
                    Some(older) => older.newer = record.newer,
                    None => self.oldest = record.newer,
                }
                match pool.get_mut(record.newer) {
                    Some(newer) => newer.older = record.older,
                    None => self.newest = record.older,
                }
                if let Some(record) = pool.get_mut(index) {
                    (record.older, record.newer) = (NONE, NONE);
                }
            }
        }
    }

    fn append_to_time(&mut self, pool: &mut RecordPool, index: u32) {
        let newest = self.newest;
        if let Some(record) = pool.get_mut(index) {
            (record.older, record.newer) = (newest, NONE);
        }
        match pool.get_mut(newest) {
            Some(newest) => newest.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
    }

    /// Puts `index` where it belongs in the order of time. What is taken back was mostly sent before all the rest.
    fn insert_by_time(&mut self, pool: &mut RecordPool, index: u32, sent_us: u32) {
        let (mut before, mut newer) = (NONE, self.oldest);
        while let Some(record) = pool.get(newer).filter(|record| is_before(record.sent_us, sent_us)) {
            (before, newer) = (newer, record.newer);
        }
        if before != NONE {
            self.insert_in_time(pool, before, index);
            return;
        }
        let oldest = self.oldest;
        if let Some(record) = pool.get_mut(index) {
            (record.older, record.newer) = (NONE, oldest);
        }
        match pool.get_mut(oldest) {
            Some(oldest) => oldest.older = index,
            None => self.newest = index,
        }
        self.oldest = index;
    }

    /// Puts `index` right behind `before` in the order of time.
    fn insert_in_time(&mut self, pool: &mut RecordPool, before: u32, index: u32) {
        let newer = Self::newer(pool, before);
        if let Some(record) = pool.get_mut(before) {
            record.newer = index;
        }
        if let Some(record) = pool.get_mut(index) {
            (record.older, record.newer) = (before, newer);
        }
        match pool.get_mut(newer) {
            Some(newer) => newer.older = index,
            None => self.newest = index,
        }
    }

    /// The lost record with the lowest sequence number.
    pub(super) fn first_lost(&mut self, pool: &RecordPool) -> Option<u32> {
        if self.lost == 0 {
            self.first_lost = NONE;
            return None;
        }
        let mut index = if self.first_lost == NONE { self.head } else { self.first_lost };
        while let Some(record) = pool.get(index) {
            if record.standing == Standing::Lost {
                self.first_lost = index;
                return Some(index);
            }
            index = record.next;
        }
        None
    }

    /// Takes back every verdict "lost": what was thought lost is only late.
    pub(super) fn forgive(&mut self, pool: &mut RecordPool) {
        let mut index = self.tail;
        while let Some(record) = pool.get(index).copied() {
            if record.standing == Standing::Lost {
                self.stand(pool, index, Standing::InFlight);
            }
            index = record.previous;
        }
        self.first_lost = NONE;
    }

    /// Nothing of this can be relied on: all of it is lost, what the peer said it had included.
    pub(super) fn mark_all_lost(&mut self, pool: &mut RecordPool) {
        let mut index = self.head;
        while let Some(record) = pool.get(index).copied() {
            self.stand(pool, index, Standing::Lost);
            index = record.next;
        }
    }

    /// What the records say one by one, for checks.
    pub(super) fn sums(&self, pool: &RecordPool) -> Result<Sums, &'static str> {
        let mut sums = Sums { first: pool.get(self.head).map(|record| record.seq), ..Sums::default() };
        let (mut index, mut count, mut in_flight) = (self.head, 0u16, 0u16);
        while let Some(record) = pool.get(index) {
            let len = u32::from(record.len);
            let end = sums.first.map(|first| first.wrapping_add(sums.total));
            if len == 0 || end != Some(record.seq) {
                return Err("the records do not follow one another");
            }
            sums.total += len;
            count += 1;
            match record.standing {
                Standing::InFlight => in_flight += 1,
                Standing::Sacked => sums.sacked += len,
                Standing::Lost => sums.lost += len,
            }
            index = record.next;
        }
        let (mut index, mut timed, mut last) = (self.oldest, 0u16, None);
        while let Some(record) = pool.get(index) {
            if last.is_some_and(|last| is_before(record.sent_us, last)) {
                return Err("the order of time is wrong");
            }
            last = Some(record.sent_us);
            timed += 1;
            index = record.newer;
        }
        if (count, in_flight) != (self.count, timed) {
            return Err("the lists do not hold what they should");
        }
        Ok(sums)
    }

    /// Gives every record back.
    pub(super) fn clear(&mut self, pool: &mut RecordPool) {
        while self.pop(pool).is_some() {}
        *self = Self::EMPTY;
    }
}
