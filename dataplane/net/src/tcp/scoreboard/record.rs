//! One segment in flight, and the memory for all of them.
//!
//! Owns: the records of a stack and their free list. Does not own: the lists of a connection (`scoreboard`).

/// End of a list.
pub(in crate::tcp) const NONE: u32 = u32::MAX;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) enum Standing {
    /// Sent, and believed to be on its way.
    InFlight,
    /// The peer has it (RFC 2018), though not all before it.
    Sacked,
    /// Believed lost, to be sent again.
    Lost,
}

/// What a model of the path remembers of a segment when it is sent (draft-cheng-iccrg-delivery-rate-estimation §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tcp) struct Stamp {
    /// Bytes that had arrived by then.
    pub(in crate::tcp) delivered: u32,
    /// When the last of them did, microseconds.
    pub(in crate::tcp) delivered_us: u32,
    /// When the segment was sent whose arrival that was, microseconds.
    pub(in crate::tcp) first_sent_us: u32,
    /// Whether there was too little to send to fill the path.
    pub(in crate::tcp) is_limited: bool,
}

/// One segment that was sent and is not cumulatively acknowledged.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct Record {
    /// Its first sequence number.
    pub(in crate::tcp) seq: u32,
    /// Sequence numbers it takes, FIN included.
    pub(in crate::tcp) len: u16,
    /// Where it stands.
    pub(in crate::tcp) standing: Standing,
    /// Times it was sent, as far as 255.
    pub(in crate::tcp) transmissions: u8,
    /// When it was sent last, microseconds.
    pub(in crate::tcp) sent_us: u32,
    /// What was known then.
    pub(in crate::tcp) stamp: Stamp,
    pub(super) next: u32,
    pub(super) previous: u32,
    pub(super) newer: u32,
    pub(super) older: u32,
}

impl Record {
    pub(super) const FREE: Self = Self {
        seq: 0,
        len: 0,
        standing: Standing::Lost,
        transmissions: 0,
        sent_us: 0,
        stamp: Stamp { delivered: 0, delivered_us: 0, first_sent_us: 0, is_limited: false },
        next: NONE,
        previous: NONE,
        newer: NONE,
        older: NONE,
    };

    /// The sequence number behind it.
    pub(in crate::tcp) fn end(&self) -> u32 {
        self.seq.wrapping_add(u32::from(self.len))
    }

    /// Whether it was sent more than once: then an ACK does not tell which copy arrived (Karn).
    pub(in crate::tcp) fn is_retransmitted(&self) -> bool {
        self.transmissions > 1
    }
}

/// Records of all connections of a stack.
#[derive(Debug)]
pub(in crate::tcp) struct RecordPool {
    /// Grows with use up to `capacity`, reserved at start: pages are touched as records are needed.
    records: Vec<Record>,
    capacity: usize,
    free: u32,
    used: usize,
}

impl RecordPool {
    /// A pool of `count_max` records.
    pub(in crate::tcp) fn new(count_max: u32) -> Self {
        let capacity = (count_max as usize).clamp(1, NONE as usize - 1);
        Self { records: Vec::with_capacity(capacity), capacity, free: NONE, used: 0 }
    }

    /// Records in use.
    pub(in crate::tcp) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn take(&mut self, record: Record) -> Option<u32> {
        let index = if self.free != NONE {
            let index = self.free;
            let place = self.records.get_mut(index as usize)?;
            self.free = place.next;
            *place = record;
            index
        } else if self.records.len() < self.capacity {
            self.records.push(record);
            self.records.len() as u32 - 1
        } else {
            return None;
        };
        self.used += 1;
        Some(index)
    }

    pub(super) fn give_back(&mut self, index: u32) {
        let free = self.free;
        if let Some(record) = self.records.get_mut(index as usize) {
            *record = Record { next: free, ..Record::FREE };
            self.free = index;
            self.used -= 1;
        }
    }

    /// The record at `index`, which a list named.
    #[inline]
    pub(in crate::tcp) fn get(&self, index: u32) -> Option<&Record> {
        self.records.get(index as usize)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Record> {
        self.records.get_mut(index as usize)
    }
}
