//! How often a ban dropped something, as workers count it.
//!
//! Owns: a table of counters that workers add to, and which ban has which place. Does not own: bans (`super`), what
//! the XDP program counts. Cost: an atomic addition per dropped packet; 128 KiB. Full: further bans are enforced and not
//! counted here.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

/// Bans that workers count one by one, and the first place: 0 counts what has none.
const COUNTED_MAX: usize = 16_384;

/// The counters, by number of a ban.
#[derive(Debug)]
pub struct BlockHits(Box<[AtomicU64]>);

impl Default for BlockHits {
    fn default() -> Self {
        Self((0..COUNTED_MAX).map(|_| AtomicU64::new(0)).collect())
    }
}

impl BlockHits {
    /// Counts one; from any worker.
    pub fn count(&self, number: u32) {
        if let Some(count) = self.0.get(number as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn get(&self, number: u32) -> u64 {
        self.0.get(number as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn reset(&self, number: u32) {
        if let Some(count) = self.0.get(number as usize) {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// Which ban has which number.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    hits: Arc<BlockHits>,
    of: BTreeMap<IpNet, u32>,
    free: Vec<u32>,
    used: u32,
}

impl Numbers {
    /// Where workers count from now on.
    pub(super) fn set_hits(&mut self, hits: Arc<BlockHits>) {
        self.hits = hits;
    }

    /// A ban is there, or not.
    pub(super) fn note(&mut self, prefix: IpNet, is_banned: bool) {
        if !is_banned {
            self.free.extend(self.of.remove(&prefix));
        } else if !self.of.contains_key(&prefix) {
            let number = self.free.pop().or_else(|| {
                let is_room = (self.used as usize) < COUNTED_MAX - 1;
                is_room.then(|| {
                    self.used += 1;
                    self.used
                })
            });
            if let Some(number) = number {
                // A worker that has not seen the change may still add one of the ban before.
                self.hits.reset(number);
                self.of.insert(prefix, number);
            }
        }
    }

    /// The number of a ban; 0 for one that has none.
    pub(super) fn number(&self, prefix: &IpNet) -> u32 {
        self.of.get(prefix).copied().unwrap_or(0)
    }

    /// What was counted for a ban.
    pub(super) fn hits(&self, prefix: &IpNet) -> u64 {
        self.of.get(prefix).map_or(0, |number| self.hits.get(*number))
    }

    /// Prefixes that have a number.
    pub(super) fn prefixes(&self) -> Vec<IpNet> {
        self.of.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_counts_begin_anew() {
        let mut numbers = Numbers::default();
        let hits = Arc::<BlockHits>::default();
        numbers.set_hits(Arc::clone(&hits));
        let (one, other): (IpNet, IpNet) = ("192.0.2.1/32".parse().unwrap(), "192.0.2.2/32".parse().unwrap());
        numbers.note(one, true);
        numbers.note(one, true);
        hits.count(numbers.number(&one));
        hits.count(numbers.number(&one));
        assert_eq!((numbers.hits(&one), numbers.number(&other)), (2, 0));
        let number = numbers.number(&one);
        numbers.note(one, false);
        numbers.note(other, true);
        assert_eq!((numbers.number(&other), numbers.hits(&other), numbers.hits(&one)), (number, 0, 0));
    }

    #[test]
    fn bans_beyond_the_table_are_not_counted() {
        let mut numbers = Numbers::default();
        let prefix = |n: u32| IpNet::from(core::net::IpAddr::from(n.to_be_bytes()));
        (0..COUNTED_MAX as u32 + 10).for_each(|n| numbers.note(prefix(n), true));
        assert_eq!(numbers.number(&prefix(COUNTED_MAX as u32 + 5)), 0);
        assert_eq!(numbers.number(&prefix(7)), 8);
    }
}
