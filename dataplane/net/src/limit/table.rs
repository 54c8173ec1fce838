//! A rate per key in fixed memory: the table behind per-source limits.
//!
//! Owns: slots and their replacement. See `crate::limit` for the algorithm and the layout of a slot.
//!
//! Two workers that meet a new key at once both choose the first empty slot, and one of them loses the exchange and
//! looks again; a slot never becomes empty again. So without eviction a key has one slot, and the limit holds
//! exactly. Only when the set is full and changes under the search can a key get a second slot, worth one
//! burst, which is what eviction costs anyway.

use super::sync::{AtomicU64, Ordering};
use super::{Admission, RateLimit, TAT_BITS, TAT_MASK, advance, debt, units};
use crate::time::Instant;

/// Slots of a set: a cache line.
#[cfg(not(loom))]
const WAYS: usize = 8;
/// The model checker visits every order of events; two slots show the same ones.
#[cfg(loom)]
const WAYS: usize = 2;

/// Most slots of a table: 512 MiB. A larger request is cut to it.
pub const SLOTS_MAX: usize = 1 << 26;

#[derive(Debug)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// Rates of many keys, shared by all workers.
#[derive(Debug)]
pub struct RateTable {
    sets: Box<[Set]>,
    /// Number of sets minus one; a power of two minus one.
    mask: u64,
}

impl RateTable {
    /// A table of at least `slots` slots (rounded up to a power of two, at most [`SLOTS_MAX`]), 8 bytes each. Take
    /// twice the number of keys expected to be active at once.
    pub fn new(slots: usize) -> Self {
        let sets = slots.clamp(WAYS, SLOTS_MAX).div_ceil(WAYS).next_power_of_two();
        let empty = || Set(core::array::from_fn(|_| AtomicU64::new(0)));
        Self { sets: (0..sets).map(|_| empty()).collect(), mask: sets as u64 - 1 }
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// Takes one cell of the key with this hash.
    #[inline]
    pub fn hit(&self, hash: u64, limit: &RateLimit, now: Instant) -> Admission {
        let now = units(now);
        let tag = tag_of(hash);
        // `hash & mask` is below the number of sets, which is never zero.
        let set = &self.sets[(hash & self.mask) as usize].0;
        loop {
            let (slot, value) = match find(set, tag, now) {
                Found::Ours(slot, value) => (slot, value),
                Found::Victim(slot, value) => {
                    let next = advance(now, now, limit, 1).unwrap_or(now);
                    if slot.compare_exchange(value, tag | next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                    {
                        let evicts = value != 0 && debt(value & TAT_MASK, now) > 0;
                        return if evicts { Admission::AdmittedEvicting } else { Admission::Admitted };
                    }
                    // Somebody changed the slot; perhaps to our key. Look again.
                    continue;
                }
            };
            let Some(next) = advance(value & TAT_MASK, now, limit, 1) else { return Admission::Refused };
            if slot.compare_exchange(value, tag | next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Admission::Admitted;
            }
        }
    }

    /// Whether the key with this hash has all its credit, without taking any: for reports, not for decisions.
    pub fn is_idle(&self, hash: u64, now: Instant) -> bool {
        let now = units(now);
        match find(&self.sets[(hash & self.mask) as usize].0, tag_of(hash), now) {
            Found::Ours(_, value) => debt(value & TAT_MASK, now) == 0,
            Found::Victim(..) => true,
        }
    }

    /// Forgets all debts, for example when a limit was changed by hand. Not atomic over the table.
    pub fn clear(&self) {
        for slot in self.sets.iter().flat_map(|set| &set.0) {
            slot.store(0, Ordering::Relaxed);
        }
    }
}

/// The tag in the upper bits of a slot; zero is kept for empty slots.
#[inline]
const fn tag_of(hash: u64) -> u64 {
    let tag = hash & !TAT_MASK;
    if tag == 0 { 1 << TAT_BITS } else { tag }
}

enum Found<'a> {
    Ours(&'a AtomicU64, u64),
    Victim(&'a AtomicU64, u64),
}

/// The key's slot, or else the one to take: the first empty one, or the one with the least debt, which among
/// debtless ones is the one idle for longest.
#[inline]
fn find(set: &[AtomicU64; WAYS], tag: u64, now: u64) -> Found<'_> {
    let mut victim = (&set[0], 0, u64::MAX);
    for slot in set {
        let value = slot.load(Ordering::Relaxed);
        if value & !TAT_MASK == tag {
            return Found::Ours(slot, value);
        }
        if value == 0 {
            return Found::Victim(slot, 0);
        }
        let age_rank = rank(value & TAT_MASK, now);
        if age_rank < victim.2 {
            victim = (slot, value, age_rank);
        }
    }
    Found::Victim(victim.0, victim.1)
}

/// Orders times from longest past to furthest ahead.
#[inline]
const fn rank(tat: u64, now: u64) -> u64 {
    if debt(tat, now) > 0 {
        return (1 << TAT_BITS) + debt(tat, now);
    }
    TAT_MASK - (now.wrapping_sub(tat) & TAT_MASK)
}
