//! Entries in little memory, ordered by prefix, with what falls due next and the digest.
//!
//! Owns: the compact form, the indices, the sum of hashes. Does not own: which entry holds (the replica).
//! Cost per entry: 66 bytes of key and record and 32 of index, times 1.5 for the room in tree nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::entry::forget_at_ms;
use super::pool::Pool;
use super::{Entry, Origin, Stamp};

/// Stands for "no end" and "no node".
const NEVER_MS: u64 = u64::MAX;
const NO_NODE: u32 = u32::MAX;

/// An entry without its prefix; texts and UUIDs are numbers of the pool.
#[derive(Clone, Copy, Debug)]
struct Record {
    wall_ms: u64,
    until_ms: u64,
    since_ms: u64,
    counter: u32,
    writer: u32,
    reason: u32,
    actor: u32,
    node: u32,
    origin: Origin,
    removed: bool,
    /// Its end was told; not replicated.
    ended: bool,
}

impl Record {
    fn until_ms(&self) -> Option<u64> {
        (self.until_ms != NEVER_MS).then_some(self.until_ms)
    }

    fn is_active(&self, now_ms: u64) -> bool {
        !self.removed && self.until_ms > now_ms
    }

    /// When something is to be done about it: told as ended, or forgotten.
    fn due_ms(&self) -> Option<u64> {
        if self.removed || self.ended {
            forget_at_ms(self.removed, self.origin, self.wall_ms, self.until_ms())
        } else {
            self.until_ms()
        }
    }

    fn is_displaceable(&self) -> bool {
        self.origin == Origin::Node && !self.removed
    }
}

/// The entries of a replica.
#[derive(Clone, Debug)]
pub(super) struct Table {
    records: BTreeMap<IpNet, Record>,
    pool: Pool,
    /// Entries that may be displaced, and the others, by when they fall due.
    due: [BTreeSet<(u64, IpNet)>; 2],
    /// Entries per length of prefix.
    lengths_v4: [u32; 33],
    lengths_v6: [u32; 129],
    /// Bans whose end was not told yet, by origin.
    active: [usize; Origin::ALL.len()],
    digest: [u64; 4],
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            pool: Pool::default(),
            due: [BTreeSet::new(), BTreeSet::new()],
            lengths_v4: [0; 33],
            lengths_v6: [0; 129],
            active: [0; Origin::ALL.len()],
            digest: [0; 4],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Bans of an origin whose end was not told yet.
    pub(super) fn active_len(&self, origin: Origin) -> usize {
        self.active[origin as usize]
    }

    pub(super) fn get(&self, prefix: &IpNet) -> Option<Entry> {
        self.records.get(prefix).map(|record| self.entry(*prefix, record))
    }

    /// The stamp alone, without copies of texts.
    pub(super) fn stamp(&self, prefix: &IpNet) -> Option<Stamp> {
        self.records.get(prefix).map(|record| self.stamp_of(record))
    }

    pub(super) fn is_active(&self, prefix: &IpNet, now_ms: u64) -> bool {
        self.records.get(prefix).is_some_and(|record| record.is_active(now_ms))
    }

    /// Puts an entry in the place of the one of its prefix.
    pub(super) fn put(&mut self, entry: &Entry) {
        self.take(&entry.prefix);
        let record = Record {
            wall_ms: entry.stamp.wall_ms,
            until_ms: entry.until_ms.unwrap_or(NEVER_MS),
            since_ms: entry.since_ms,
            counter: entry.stamp.counter,
            writer: self.pool.hold(&entry.stamp.writer),
            reason: self.pool.hold(entry.reason.as_bytes()),
            actor: self.pool.hold(entry.actor.as_bytes()),
            node: entry.node.map_or(NO_NODE, |node| self.pool.hold(&node)),
            origin: entry.origin,
            removed: entry.removed,
            ended: false,
        };
        if let Some(due_ms) = record.due_ms() {
            self.due[usize::from(!record.is_displaceable())].insert((due_ms, entry.prefix));
        }
        *self.count(&entry.prefix) += 1;
        self.active[record.origin as usize] += usize::from(!record.removed);
        self.add(&entry.hash(), u64::wrapping_add);
        self.records.insert(entry.prefix, record);
    }

    /// Takes an entry out.
    pub(super) fn take(&mut self, prefix: &IpNet) -> Option<Entry> {
        let record = self.records.remove(prefix)?;
        let entry = self.entry(*prefix, &record);
        if let Some(due_ms) = record.due_ms() {
            self.due[usize::from(!record.is_displaceable())].remove(&(due_ms, *prefix));
        }
        *self.count(prefix) -= 1;
        self.active[record.origin as usize] -= usize::from(!record.removed && !record.ended);
        self.add(&entry.hash(), u64::wrapping_sub);
        for number in [record.writer, record.reason, record.actor, record.node] {
            // NO_NODE is the number of nothing.
            self.pool.release(number);
        }
        Some(entry)
    }

    /// Something that is due by now: an entry that has ended and was not told yet (`true`), or one to forget.
    pub(super) fn next_due(&self, now_ms: u64) -> Option<(IpNet, bool)> {
        let firsts = self.due.iter().filter_map(|due| due.first());
        let (due_ms, prefix) = firsts.min()?;
        let record = self.records.get(prefix).filter(|_| *due_ms <= now_ms)?;
        Some((*prefix, !record.removed && !record.ended))
    }

    /// Marks the end of an entry as told; next it falls due to be forgotten.
    pub(super) fn mark_ended(&mut self, prefix: &IpNet) {
        let Some(record) = self.records.get_mut(prefix) else { return };
        let due = &mut self.due[usize::from(!record.is_displaceable())];
        if let Some(due_ms) = record.due_ms() {
            due.remove(&(due_ms, *prefix));
        }
        self.active[record.origin as usize] -= usize::from(!record.removed && !record.ended);
        record.ended = true;
        if let Some(due_ms) = record.due_ms() {
            due.insert((due_ms, *prefix));
        }
    }

    /// The entry that makes room first: of those that nodes set, the one that ends first.
    pub(super) fn displaceable(&self) -> Option<&IpNet> {
        self.due[0].first().map(|(_, prefix)| prefix)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.records.iter().map(|(prefix, record)| self.entry(*prefix, record))
    }

    /// Entries of prefixes after `last`, in order.
    pub(super) fn after(&self, last: Option<IpNet>) -> impl Iterator<Item = Entry> + '_ {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = last.map_or(Unbounded, Excluded);
        self.records.range((from, Unbounded)).map(|(prefix, record)| self.entry(*prefix, record))
    }

    pub(super) fn active(&self, now_ms: u64) -> impl Iterator<Item = (IpNet, Option<u64>)> + '_ {
        let active = self.records.iter().filter(move |(_, record)| record.is_active(now_ms));
        active.map(|(prefix, record)| (*prefix, record.until_ms()))
    }

    /// Prefixes held that lie within `outer` (itself included; `None`: all) and come after `last`, each with whether
    /// it is in force and of which origin.
    pub(super) fn within(
        &self,
        outer: Option<IpNet>,
        last: Option<IpNet>,
        now_ms: u64,
    ) -> impl Iterator<Item = (IpNet, bool, Origin)> + '_ {
        use core::ops::Bound::{Excluded, Included, Unbounded};
        let end = match outer {
            Some(IpNet::V4(v4)) => Included(IpNet::V4(Ipv4Net::new_assert(v4.broadcast(), 32))),
            Some(IpNet::V6(v6)) => Included(IpNet::V6(Ipv6Net::new_assert(v6.broadcast(), 128))),
            None => Unbounded,
        };
        // Ordered by address, then by length: what lies within `outer` follows it directly.
        let start = match (outer, last) {
            (Some(outer), Some(last)) if last < outer => Included(outer),
            (Some(outer), None) => Included(outer),
            (_, Some(last)) => Excluded(last),
            (None, None) => Unbounded,
        };
        let is_empty = matches!((start, end), (Excluded(start), Included(end)) if start >= end);
        let range = (!is_empty).then(|| self.records.range((start, end)));
        let inside =
            range.into_iter().flatten().filter(move |(net, _)| outer.is_none_or(|o| o.contains(*net)));
        inside.map(move |(prefix, record)| (*prefix, record.is_active(now_ms), record.origin))
    }

    /// Prefixes held that cover `prefix`, itself included, the widest first.
    pub(super) fn covering(&self, prefix: IpNet) -> impl Iterator<Item = IpNet> + '_ {
        let lengths: &[u32] = match prefix {
            IpNet::V4(_) => &self.lengths_v4,
            IpNet::V6(_) => &self.lengths_v6,
        };
        let used = lengths.iter().zip(0_u8..=prefix.prefix_len()).filter(|(count, _)| **count > 0);
        used.filter_map(move |(_, bits)| {
            let wider = IpNet::new(prefix.addr(), bits).ok()?.trunc();
            self.records.contains_key(&wider).then_some(wider)
        })
    }

    /// Sum of the hashes of all entries.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, lane) in bytes.chunks_exact_mut(8).zip(self.digest) {
            chunk.copy_from_slice(&lane.to_be_bytes());
        }
        bytes
    }

    fn add(&mut self, hash: &[u8; 32], operation: fn(u64, u64) -> u64) {
        for (lane, chunk) in self.digest.iter_mut().zip(hash.as_chunks::<8>().0) {
            *lane = operation(*lane, u64::from_be_bytes(*chunk));
        }
    }

    fn count(&mut self, prefix: &IpNet) -> &mut u32 {
        let bits = usize::from(prefix.prefix_len());
        match prefix {
            IpNet::V4(_) => &mut self.lengths_v4[bits],
            IpNet::V6(_) => &mut self.lengths_v6[bits],
        }
    }

    fn stamp_of(&self, record: &Record) -> Stamp {
        Stamp {
            wall_ms: record.wall_ms,
            counter: record.counter,
            writer: self.uuid(record.writer).unwrap_or_default(),
        }
    }

    fn entry(&self, prefix: IpNet, record: &Record) -> Entry {
        Entry {
            prefix,
            stamp: self.stamp_of(record),
            removed: record.removed,
            until_ms: record.until_ms(),
            since_ms: record.since_ms,
            reason: self.text(record.reason),
            origin: record.origin,
            actor: self.text(record.actor),
            node: self.uuid(record.node),
        }
    }

    fn text(&self, number: u32) -> String {
        String::from_utf8_lossy(self.pool.get(number).unwrap_or_default()).into_owned()
    }

    fn uuid(&self, number: u32) -> Option<[u8; 16]> {
        self.pool.get(number)?.try_into().ok()
    }
}

/// The prefix of one address.
pub(super) fn host(address: IpAddr) -> IpNet {
    IpNet::from(address.to_canonical())
}
