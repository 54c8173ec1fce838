//! Data that arrived out of order: which ranges, their bytes, and the SACK blocks that tell of them.
//!
//! Owns: [`RangeSet`], at most [`RANGES_MAX`] ranges of one connection, sorted and never touching; [`RangeSets`], the
//! sets of all connections that have any. Does not own: RCV.NXT, the window, when an ACK is due.
//! RFC 2018 (order of blocks: the latest first), 2883 (D-SACK: the answer of [`insert`] names what was there already).
//!
//! When all ranges are taken, data that would need another one is refused: its sender sends it again. What was reported
//! stays: a sender finds out only by a timeout that it is gone (RFC 2018 §8).
//!
//! Cost (SegmentSmack, CVE-2018-5390): a binary search over at most 128 ranges and a move of at most 3 KiB per
//! segment, whatever arrives; memory is bounded by the chain's rule of small neighbours.

use arrayvec::ArrayVec;

use super::chain::Chain;
use super::chunk::ChunkPool;
use super::seq::{distance, earlier, is_after, is_before, later};
use crate::wire::tcp::SackBlock;

/// Ranges of one connection. A full 4 MiB window with 2 % loss has some 60 holes; more cost memory and time.
pub(super) const RANGES_MAX: usize = 128;

/// SACK blocks in a header without timestamps; with them three.
pub(super) const SACK_BLOCKS_MAX: usize = 4;

/// No set.
pub(super) const NO_SET: u16 = u16::MAX;

#[derive(Clone, Copy, Debug)]
struct Range {
    left: u32,
    right: u32,
    chain: Chain,
    /// When it last grew, in the set's own counting.
    stamp: u32,
}

/// The ranges of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeSet {
    ranges: ArrayVec<Range, RANGES_MAX>,
    stamp: u32,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inserted {
    /// Bytes that are new and stored.
    pub(super) stored: u32,
    /// The first part that was there already.
    pub(super) duplicate: Option<SackBlock>,
}

impl RangeSet {
    /// Bytes in all ranges.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u32 {
        self.ranges.iter().map(|range| range.chain.len()).sum()
    }

    /// Whether there is no range.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Stores `bytes`, the first of which has number `left`; all lie beyond RCV.NXT and within the window.
    pub(super) fn insert(&mut self, pool: &mut ChunkPool, owner: u32, left: u32, bytes: &[u8]) -> Inserted {
        let mut inserted = Inserted::default();
        let end = left.wrapping_add(bytes.len() as u32);
        let mut at = left;
        // The first range that ends at or behind `left`: the only one that can hold its first byte or touch it.
        let index = self.ranges.partition_point(|range| is_before(range.right, left));
        self.stamp = self.stamp.wrapping_add(1);
        while at != end {
            let covers = self.ranges.get(index).is_some_and(|range| !is_after(range.left, at));
            if covers {
                at = self.skip_known(index, at, end, &mut inserted);
            }
            if at == end {
                break;
            }
            let next_left =
                self.ranges.get(index + usize::from(covers)).map_or(end, |next| earlier(next.left, end));
            let from = distance(left, at) as usize;
            let part = bytes.get(from..from + distance(at, next_left) as usize).unwrap_or(&[]);
            let stored = if covers {
                self.extend(pool, owner, index, part)
            } else {
                self.add(pool, owner, index, at, part)
            };
            inserted.stored += stored;
            if (stored as usize) < part.len() || part.is_empty() {
                break;
            }
            at = next_left;
        }
        if let Some(range) = self.ranges.get_mut(index) {
            range.stamp = self.stamp;
        }
        inserted
    }

    /// Steps over what range `index` holds of `at..end`.
    fn skip_known(&self, index: usize, at: u32, end: u32, inserted: &mut Inserted) -> u32 {
        let Some(range) = self.ranges.get(index) else { return at };
        let known = earlier(range.right, end);
        if is_after(known, at) && inserted.duplicate.is_none() {
            inserted.duplicate = Some(SackBlock { left: at, right: known });
        }
        later(at, known)
    }

    /// Appends to range `index`, and joins the next one when it now touches.
    fn extend(&mut self, pool: &mut ChunkPool, owner: u32, index: usize, part: &[u8]) -> u32 {
        let next = self.ranges.get(index + 1).copied();
        let Some(range) = self.ranges.get_mut(index) else { return 0 };
        let stored = range.chain.push(pool, owner, part) as u32;
        range.right = range.right.wrapping_add(stored);
        if let Some(next) = next.filter(|next| next.left == range.right) {
            range.chain.join(pool, owner, next.chain);
            range.right = next.right;
            self.ranges.remove(index + 1);
        }
        stored
    }

    /// Stores a part in front of range `index`: as its new front when it touches, else as a range of its own.
    fn add(&mut self, pool: &mut ChunkPool, owner: u32, index: usize, at: u32, part: &[u8]) -> u32 {
        let right = at.wrapping_add(part.len() as u32);
        if let Some(next) = self.ranges.get_mut(index).filter(|next| next.left == right) {
            let stored = next.chain.prepend(pool, owner, part) as u32;
            next.left = next.left.wrapping_sub(stored);
            return stored;
        }
        if self.ranges.is_full() {
            return 0;
        }
        let mut chain = Chain::EMPTY;
        let stored = chain.push(pool, owner, part) as u32;
        if stored > 0 {
            let right = at.wrapping_add(stored);
            self.ranges.insert(index, Range { left: at, right, chain, stamp: self.stamp });
        }
        stored
    }

    fn drop_last(&mut self, pool: &mut ChunkPool, owner: u32) -> u32 {
        self.ranges.pop().map_or(0, |mut range| {
            let bytes = range.chain.len();
            range.chain.clear(pool, owner);
            bytes
        })
    }

    /// What of the first range lies before `next`: it came a second time with the data in order.
    pub(super) fn overlap(&self, next: u32) -> Option<(u32, u32)> {
        let range = self.ranges.first().filter(|range| is_before(range.left, next))?;
        Some((range.left, earlier(range.right, next)))
    }

    /// Moves what has become in-order behind `queue` and answers with the new RCV.NXT.
    pub(super) fn drain(
        &mut self,
        pool: &mut ChunkPool,
        owner: u32,
        mut next: u32,
        queue: &mut Chain,
    ) -> u32 {
        while let Some(range) = self.ranges.first().filter(|range| !is_after(range.left, next)) {
            let (left, right, mut chain) = (range.left, range.right, range.chain);
            chain.consume(pool, owner, distance(left, next));
            queue.join(pool, owner, chain);
            next = later(next, right);
            self.ranges.remove(0);
        }
        next
    }

    /// Drops every range; answers how many bytes they had.
    pub(super) fn clear(&mut self, pool: &mut ChunkPool, owner: u32) -> u32 {
        let mut bytes = 0;
        while !self.ranges.is_empty() {
            bytes += self.drop_last(pool, owner);
        }
        bytes
    }

    /// The blocks to report, the range that grew last first (RFC 2018 §4).
    pub(super) fn sack_blocks(&self, blocks: &mut ArrayVec<SackBlock, SACK_BLOCKS_MAX>, count_max: usize) {
        let mut newer_than = None;
        while blocks.len() < count_max {
            let age = |range: &&Range| self.stamp.wrapping_sub(range.stamp);
            let older =
                self.ranges.iter().filter(|range| newer_than.is_none_or(|newest| age(range) > newest));
            let Some(range) = older.min_by_key(age) else { break };
            newer_than = Some(age(&range));
            blocks.push(SackBlock { left: range.left, right: range.right });
        }
    }

    /// Panics when a range is not what it says. For tests and fuzzing; answers how many chunks are held.
    pub(super) fn check(&self, pool: &ChunkPool, rcv_nxt: u32) -> usize {
        let mut edge = rcv_nxt;
        for range in &self.ranges {
            assert!(is_after(range.left, edge), "ranges touch or are not sorted");
            assert_eq!(distance(range.left, range.right), range.chain.len());
            assert!(!range.chain.is_empty());
            edge = range.right;
        }
        self.ranges.iter().map(|range| range.chain.chunk_count(pool)).sum()
    }
}

/// The sets of all connections that hold data out of order.
#[derive(Debug)]
pub(super) struct RangeSets {
    /// Filled as far as it was ever used; never grows beyond the capacity taken at `new`.
    sets: Vec<RangeSet>,
    /// Owner of each set; `None` = free.
    owners: Vec<Option<u32>>,
    free: Vec<u16>,
    sets_max: u16,
    used: u16,
    /// Where [`RangeSets::next_owner`] looks next.
    hand: u16,
}

impl RangeSets {
    /// Room for `sets_max` sets.
    pub(super) fn new(sets_max: u16) -> Self {
        let capacity = usize::from(sets_max);
        Self {
            sets: Vec::with_capacity(capacity),
            owners: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            sets_max: sets_max.min(NO_SET - 1),
            used: 0,
            hand: 0,
        }
    }

    /// A set for `owner`; `None` when all are in use.
    pub(super) fn take(&mut self, owner: u32) -> Option<u16> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.sets.len() < usize::from(self.sets_max) => {
                self.sets.push(RangeSet::default());
                self.owners.push(None);
                (self.sets.len() - 1) as u16
            }
            None => return None,
        };
        *self.owners.get_mut(usize::from(index))? = Some(owner);
        self.used += 1;
        Some(index)
    }

    /// Gives an empty set back.
    pub(super) fn give_back(&mut self, index: u16) {
        if let Some(owner) = self.owners.get_mut(usize::from(index)).filter(|owner| owner.is_some()) {
            *owner = None;
            self.used -= 1;
            self.free.push(index);
        }
    }

    /// A set in use.
    #[inline]
    pub(super) fn get(&self, index: u16) -> Option<&RangeSet> {
        self.sets.get(usize::from(index))
    }

    /// A set in use, to change.
    #[inline]
    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut RangeSet> {
        self.sets.get_mut(usize::from(index))
    }

    /// Sets in use.
    pub(super) fn used(&self) -> u16 {
        self.used
    }

    /// The owner of some set, another one each time, so that pruning goes round.
    pub(super) fn next_owner(&mut self) -> Option<u32> {
        let count = self.owners.len();
        for _ in 0..count {
            let at = usize::from(self.hand) % count;
            self.hand = (at + 1) as u16;
            if let Some(Some(owner)) = self.owners.get(at) {
                return Some(*owner);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::chunk::CHUNK_BYTES;
    use super::*;

    fn blocks(set: &RangeSet, count_max: usize) -> Vec<(u32, u32)> {
        let mut blocks = ArrayVec::new();
        set.sack_blocks(&mut blocks, count_max);
        blocks.iter().map(|block| (block.left, block.right)).collect()
    }

    fn pool() -> ChunkPool {
        ChunkPool::new(400 * CHUNK_BYTES)
    }

    #[test]
    fn blocks_are_reported_latest_first() {
        let (mut pool, mut set) = (pool(), RangeSet::default());
        for left in [100, 300, 500, 700] {
            set.insert(&mut pool, 0, left, &[0; 50]);
        }
        set.insert(&mut pool, 0, 350, &[0; 50]);
        assert_eq!(blocks(&set, 3), [(300, 400), (700, 750), (500, 550)]);
        assert_eq!(blocks(&set, 4).last(), Some(&(100, 150)));
    }

    #[test]
    fn hole_that_fills_joins_its_neighbours() {
        let (mut pool, mut set) = (pool(), RangeSet::default());
        set.insert(&mut pool, 0, 10, b"aa");
        set.insert(&mut pool, 0, 14, b"cc");
        let inserted = set.insert(&mut pool, 0, 11, b"abbc");
        assert_eq!(inserted.stored, 2);
        assert_eq!(inserted.duplicate, Some(SackBlock { left: 11, right: 12 }));
        assert_eq!(blocks(&set, 4), [(10, 16)]);
        let mut queue = Chain::EMPTY;
        assert_eq!(set.drain(&mut pool, 0, 9, &mut queue), 9, "a hole is left");
        assert_eq!(set.drain(&mut pool, 0, 11, &mut queue), 16);
        assert_eq!(queue.peek_mut(&mut pool), b"abbcc");
    }

    #[test]
    fn when_all_ranges_are_taken_only_what_touches_one_is_stored() {
        let (mut pool, mut set) = (pool(), RangeSet::default());
        for index in 0..RANGES_MAX as u32 {
            set.insert(&mut pool, 0, 1_000 + index * 10, &[1]);
        }
        for left in [500, 1_005, 9_000] {
            assert_eq!(set.insert(&mut pool, 0, left, &[1]), Inserted::default());
        }
        assert_eq!(set.insert(&mut pool, 0, 1_001, &[1; 9]).stored, 9, "joins two");
        assert_eq!(set.insert(&mut pool, 0, 500, &[1]).stored, 1, "which makes room");
        assert_eq!(set.clear(&mut pool, 0), RANGES_MAX as u32 + 10);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn sets_come_back_and_pruning_goes_round() {
        let mut sets = RangeSets::new(2);
        let (first, second) = (sets.take(7).unwrap(), sets.take(8).unwrap());
        assert_eq!(sets.take(9), None);
        assert_eq!([sets.next_owner(), sets.next_owner(), sets.next_owner()], [Some(7), Some(8), Some(7)]);
        sets.give_back(first);
        sets.give_back(first);
        assert_eq!((sets.used(), sets.next_owner()), (1, Some(8)));
        sets.give_back(second);
        assert_eq!(sets.next_owner(), None);
    }

    proptest! {
        /// A stream of known bytes arrives in any pieces and order, near the wrap; a bit map is the model.
        #[test]
        fn ranges_agree_with_a_map(
            pieces in prop::collection::vec((1u32..600, 1u32..90), 1..150),
            base in prop_oneof![Just(0u32), Just(u32::MAX - 300)],
        ) {
            let (mut pool, mut set) = (pool(), RangeSet::default());
            let mut model = vec![false; 700];
            let byte = |offset: u32| (offset * 7) as u8;
            for (offset, len) in pieces {
                let bytes: Vec<u8> = (offset..offset + len).map(byte).collect();
                let news = model[offset as usize..(offset + len) as usize].iter().filter(|known| !**known).count();
                let inserted = set.insert(&mut pool, 0, base.wrapping_add(offset), &bytes);
                prop_assert_eq!(inserted.duplicate.is_some(), news < len as usize);
                if set.ranges.len() < RANGES_MAX {
                    prop_assert_eq!(inserted.stored as usize, news);
                    model[offset as usize..(offset + len) as usize].fill(true);
                } else {
                    // With all ranges taken the model follows what is there.
                    for (at, known) in model.iter_mut().enumerate() {
                        let number = base.wrapping_add(at as u32);
                        *known = set.ranges.iter().any(|range| {
                            !is_after(range.left, number) && is_before(number, range.right)
                        });
                    }
                }
                prop_assert_eq!(set.check(&pool, base), pool.used());
                prop_assert_eq!(set.bytes() as usize, model.iter().filter(|known| **known).count());
            }
            let first_hole = 1 + model[1..].iter().position(|known| !known).unwrap();
            let mut queue = Chain::EMPTY;
            let next = set.drain(&mut pool, 0, base.wrapping_add(1), &mut queue);
            prop_assert_eq!(next, base.wrapping_add(first_hole as u32));
            let mut at = 1;
            while !queue.is_empty() {
                let part = queue.peek_mut(&mut pool).to_vec();
                for found in &part {
                    prop_assert_eq!(*found, byte(at));
                    at += 1;
                }
                queue.consume(&mut pool, 0, part.len() as u32);
            }
            prop_assert_eq!(at as usize, first_hole);
        }
    }
}
