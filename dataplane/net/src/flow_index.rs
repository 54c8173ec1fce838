//! The index of a flow table: from the keyed hash of a 5-tuple to a slot number.
//!
//! Owns: an open-addressing table of 8-byte entries, linear probing, at most half full. Deletion shifts later
//! entries back instead of leaving a tombstone, so that years of churn leave probes as short as on the first day.
//! Does not own: the keys; the caller compares the few candidates against its own records.
//! Cost: usually one cache line per lookup; 16 bytes per entry of capacity, taken at `new`.

/// Marks a free entry.
const FREE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Lower half of the hash; its low bits say where the entry would like to be.
    hash: u32,
    value: u32,
}

/// Maps hashes to values below `u32::MAX`; a hash may occur more than once.
#[derive(Debug)]
pub(crate) struct FlowIndex {
    entries: Box<[Entry]>,
    mask: usize,
    used: usize,
    capacity: usize,
}

impl FlowIndex {
    /// An index for up to `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let size = (capacity.max(1) * 2).next_power_of_two();
        Self {
            entries: vec![Entry { hash: 0, value: FREE }; size].into_boxed_slice(),
            mask: size - 1,
            used: 0,
            capacity,
        }
    }

    /// The value stored under `hash` that `is_match` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = hash as u32;
        let mut at = hash as usize & self.mask;
        loop {
            let entry = self.entries[at];
            if entry.value == FREE {
                return None;
            }
            if entry.hash == hash && is_match(entry.value) {
                return Some(entry.value);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Stores `value`. Returns false when the index holds its capacity already.
    #[must_use]
    pub(crate) fn insert(&mut self, hash: u64, value: u32) -> bool {
        if self.used == self.capacity || value == FREE {
            return false;
        }
        let hash = hash as u32;
        let mut at = hash as usize & self.mask;
        while self.entries[at].value != FREE {
            at = (at + 1) & self.mask;
        }
        self.entries[at] = Entry { hash, value };
        self.used += 1;
        true
    }

    /// Removes the entry with this hash and value; returns whether there was one.
    pub(crate) fn remove(&mut self, hash: u64, value: u32) -> bool {
        let hash = hash as u32;
        let mut at = hash as usize & self.mask;
        while self.entries[at] != (Entry { hash, value }) {
            if self.entries[at].value == FREE {
                return false;
            }
            at = (at + 1) & self.mask;
        }
        self.used -= 1;
        let mut hole = at;
        loop {
            at = (at + 1) & self.mask;
            let entry = self.entries[at];
            if entry.value == FREE {
                break;
            }
            // An entry may fill the hole unless that would put it before its home.
            let home = entry.hash as usize & self.mask;
            if at.wrapping_sub(home) & self.mask >= at.wrapping_sub(hole) & self.mask {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole].value = FREE;
        true
    }

    /// Number of entries.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Panics when an entry cannot be found from its home. For tests and fuzzing.
    pub(crate) fn check(&self) {
        let mut used = 0;
        for (index, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.value != FREE) {
            used += 1;
            let mut at = entry.hash as usize & self.mask;
            while at != index {
                assert_ne!(self.entries[at].value, FREE, "a gap before entry {index}");
                at = (at + 1) & self.mask;
            }
        }
        assert_eq!(used, self.used);
        assert!(self.used <= self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_that_share_a_hash_are_told_apart() {
        let mut index = FlowIndex::new(4);
        assert!(index.insert(5, 1) && index.insert(5, 2) && index.insert(6, 3));
        assert_eq!(index.find(5, |value| value == 2), Some(2));
        assert!(index.remove(5, 1));
        assert!(!index.remove(5, 1));
        assert_eq!(index.find(5, |_| true), Some(2));
        assert_eq!(index.find(6, |_| true), Some(3));
    }

    #[test]
    fn full_index_refuses() {
        let mut index = FlowIndex::new(2);
        assert!(index.insert(1, 1) && index.insert(2, 2));
        assert!(!index.insert(3, 3));
        assert!(index.remove(1, 1) && index.insert(3, 3));
    }

    proptest! {
        /// Few distinct hashes, so that runs collide and wrap around the end.
        #[test]
        fn index_agrees_with_a_list(steps in prop::collection::vec((any::<bool>(), 0u64..24, 0u32..6), 1..300)) {
            let mut index = FlowIndex::new(8);
            let mut model: Vec<(u64, u32)> = Vec::new();
            for (is_insert, hash, value) in steps {
                if is_insert && !model.contains(&(hash, value)) {
                    prop_assert_eq!(index.insert(hash, value), model.len() < 8);
                    if model.len() < 8 {
                        model.push((hash, value));
                    }
                } else if !is_insert {
                    let known = model.iter().position(|entry| *entry == (hash, value));
                    prop_assert_eq!(index.remove(hash, value), known.is_some());
                    known.map(|at| model.swap_remove(at));
                }
                index.check();
                prop_assert_eq!(index.len(), model.len());
                for (hash, value) in &model {
                    prop_assert_eq!(index.find(*hash, |other| other == *value), Some(*value));
                }
            }
        }
    }
}
