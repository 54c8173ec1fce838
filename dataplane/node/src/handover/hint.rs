//! Which worker opened a flow: the hint table.
//!
//! Owns: its slots, one atomic word each. Does not own: who sets and clears them (`pipeline`). A hint is never needed
//! for correctness, because the owner judges the frame again; so every access is relaxed, and what a race can lose is
//! one hint.

use crate::event::WorkerId;
use crate::sync::{Ordering, Word};

/// Slots of the hint table, 8 bytes each: 512 KiB for the whole node. A hint that was overwritten by another
/// flow costs nothing but the hand-over: the frame is then judged where it landed.
pub const HINT_SLOTS: usize = 1 << 16;

/// Who opened a flow, for frames that arrive on a core which does not know it.
///
/// A slot is `tag (48 bits of the flow's keyed hash) | worker + 1 (16 bits)`; zero is empty. Written when a flow
/// opens, read only on a miss, cleared when it closes. Collisions overwrite: a hint is never needed for
/// correctness, because the owner judges the frame again.
#[derive(Debug)]
pub struct HintTable {
    slots: Box<[Word]>,
}

impl HintTable {
    /// A table of `slots` slots, rounded up to a power of two.
    pub fn new(slots: usize) -> Self {
        let slots = slots.max(1).next_power_of_two();
        Self { slots: (0..slots).map(|_| Word::new(0)).collect() }
    }

    /// Notes that `worker` owns the flow with this hash.
    pub fn set(&self, hash: u64, worker: WorkerId) {
        self.slot(hash).store(Self::entry(hash, worker), Ordering::Relaxed);
    }

    /// The owner of the flow with this hash, as far as known.
    pub fn owner(&self, hash: u64) -> Option<WorkerId> {
        let entry = self.slot(hash).load(Ordering::Relaxed);
        let worker = (entry & 0xffff).checked_sub(1)?;
        (entry >> 16 == hash >> 16).then_some(worker as WorkerId)
    }

    /// Forgets the flow, unless another flow took the slot meanwhile.
    pub fn clear(&self, hash: u64, worker: WorkerId) {
        let entry = Self::entry(hash, worker);
        let _ = self.slot(hash).compare_exchange(entry, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn entry(hash: u64, worker: WorkerId) -> u64 {
        (hash & !0xffff) | u64::from(worker.saturating_add(1))
    }

    /// The low bits choose the slot, the high 48 are compared.
    fn slot(&self, hash: u64) -> &Word {
        &self.slots[hash as usize & (self.slots.len() - 1)]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn hint_names_the_owner_until_it_is_cleared_or_overwritten() {
        let hints = HintTable::new(16);
        let (one, other) = (0x1234_5678_9abc_0003, 0x4321_5678_9abc_0003);
        hints.set(one, 0);
        assert_eq!(hints.owner(one), Some(0));
        assert_eq!(hints.owner(other), None, "same slot, other flow");
        hints.set(other, 5);
        assert_eq!(hints.owner(one), None);
        hints.clear(one, 0);
        assert_eq!(hints.owner(other), Some(5), "clearing the lost flow keeps the new one");
        hints.clear(other, 5);
        assert_eq!(hints.owner(other), None);
    }
}
