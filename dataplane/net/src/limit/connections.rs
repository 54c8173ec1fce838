//! How many connections are open at once: per source, per prefix and in all; shared by all workers.
//!
//! Owns: the counts. Does not own: connections; whoever acquires must release once, with the same address.
//!
//! ```text
//! slot: | tag, 40 bits of the hash | count, 24 bits |   count 0 = free
//! ```
//! A key is looked for in `PROBE_SETS` neighbouring cache lines and takes the first free slot there. The table has at
//! least four slots per connection allowed in all, so it is at most half full (each connection has two keys), and
//! a key that finds no slot is practically impossible; should it happen, the connection is **refused**
//! ([`Refusal::TableFull`]): admitting it uncounted would make its release count down somebody else.
//!
//! Two workers that meet a new source in the same instant, while a slot in between is being freed, may count it in
//! two slots; the limit is then exceeded by at most one connection until one of them closes. Nothing is lost:
//! every release finds a count to take back.
//!
//! Cost: acquire and release are three atomic updates, about 40 ns; once per connection, never per packet.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sync::{AtomicU32, AtomicU64, Ordering};
use crate::flow::{HashKey, hash_addr};

/// Slots of a set: a cache line.
#[cfg(not(loom))]
const WAYS: usize = 8;
/// The model checker visits every order of events; fewer slots show the same ones.
#[cfg(loom)]
const WAYS: usize = 2;

/// Neighbouring sets searched for a key. With 8 slots per set and the table half full, the chance that 32
/// slots in a row are taken is below 10^-9.
#[cfg(not(loom))]
const PROBE_SETS: usize = 4;
#[cfg(loom)]
const PROBE_SETS: usize = 1;

/// Most connections in all that a table is made for; 2^24 connections take 512 MiB of counts.
pub const TOTAL_MAX: u32 = 1 << 24;

const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// How many connections may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// From one source: an IPv4 address, or an IPv6 prefix of `source_len_v6`.
    pub per_source: u32,
    /// From one prefix.
    pub per_prefix: u32,
    /// In all.
    pub total: u32,
    /// What counts as one IPv6 source, bits; above 128 counts as 128. A host can use its whole /64.
    pub source_len_v6: u8,
    /// Length of an IPv4 prefix, bits; above 32 counts as 32.
    pub prefix_len_v4: u8,
    /// Length of an IPv6 prefix, bits; above 128 counts as 128.
    pub prefix_len_v6: u8,
}

impl ConnectionLimits {
    /// No limit.
    pub const NONE: Self = Self {
        per_source: u32::MAX,
        per_prefix: u32::MAX,
        total: u32::MAX,
        source_len_v6: 128,
        prefix_len_v4: 24,
        prefix_len_v6: 64,
    };

    fn prefix(&self, source: IpAddr) -> IpAddr {
        masked(source, self.prefix_len_v4, self.prefix_len_v6)
    }

    fn source(&self, source: IpAddr) -> IpAddr {
        masked(source, 32, self.source_len_v6)
    }
}

fn masked(addr: IpAddr, len_v4: u8, len_v6: u8) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len_v4.min(32))).unwrap_or(0);
            Ipv4Addr::from(u32::from(addr) & mask).into()
        }
        IpAddr::V6(addr) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len_v6.min(128))).unwrap_or(0);
            Ipv6Addr::from(u128::from(addr) & mask).into()
        }
    }
}

/// Which limit a connection hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The prefix has as many connections as allowed.
    Prefix,
    /// The source has as many connections as allowed.
    Source,
    /// No slot is free to count it in.
    TableFull,
    /// The node has as many connections as allowed.
    Total,
}

#[derive(Debug)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// Counts of open connections.
#[derive(Debug)]
pub struct ConnectionCounts {
    sets: Box<[Set]>,
    mask: u64,
    total: AtomicU32,
    key: HashKey,
}

impl ConnectionCounts {
    /// Counts for at most `total` connections (at most [`TOTAL_MAX`]), 32 bytes each; `key` is a secret.
    pub fn new(total: u32, key: HashKey) -> Self {
        let slots = (total.clamp(1, TOTAL_MAX) as usize) * 4;
        let sets = slots.div_ceil(WAYS).next_power_of_two().max(PROBE_SETS);
        let empty = || Set(core::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            sets: (0..sets).map(|_| empty()).collect(),
            mask: sets as u64 - 1,
            total: AtomicU32::new(0),
            key,
        }
    }

    /// Connections open now.
    pub fn total(&self) -> u32 {
        self.total.load(Ordering::Relaxed)
    }

    /// Connections open now from `source`.
    pub fn of_source(&self, source: IpAddr, limits: &ConnectionLimits) -> u32 {
        self.count(self.source_hash(source, limits))
    }

    /// Connections open now from the prefix of `source`.
    pub fn of_prefix(&self, source: IpAddr, limits: &ConnectionLimits) -> u32 {
        self.count(self.prefix_hash(source, limits))
    }

    fn source_hash(&self, source: IpAddr, limits: &ConnectionLimits) -> u64 {
        hash_addr(&self.key, limits.source(source), u32::from(limits.source_len_v6))
    }

    /// The length is hashed with the prefix: counts made under another length never mix with new ones.
    fn prefix_hash(&self, source: IpAddr, limits: &ConnectionLimits) -> u64 {
        let len = if source.is_ipv4() { limits.prefix_len_v4 } else { limits.prefix_len_v6 };
        hash_addr(&self.key, limits.prefix(source), 0x100 | u32::from(len))
    }

    /// Counts a connection from `source`, unless it would exceed a limit. An `exempt` (allowlisted) source is
    /// counted and never refused; should there be no slot for it, its release may take back a count of
    /// another connection of its own source or prefix.
    ///
    /// # Errors
    /// The limit that was hit; nothing is counted then.
    pub fn acquire(&self, source: IpAddr, limits: &ConnectionLimits, exempt: bool) -> Result<(), Refusal> {
        let bound = |limit: u32| if exempt { u32::MAX } else { limit };
        let total = |count: u32| (count < bound(limits.total)).then(|| count + 1);
        if self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, total).is_err() {
            return Err(Refusal::Total);
        }
        let prefix = self.prefix_hash(source, limits);
        if let Err(refusal) = self.increment(prefix, bound(limits.per_prefix), Refusal::Prefix)
            && !exempt
        {
            self.release_total();
            return Err(refusal);
        }
        let source = self.source_hash(source, limits);
        if let Err(refusal) = self.increment(source, bound(limits.per_source), Refusal::Source)
            && !exempt
        {
            self.decrement(prefix);
            self.release_total();
            return Err(refusal);
        }
        Ok(())
    }

    /// Takes back one connection that was acquired. `limits` need only have the prefix lengths of that time.
    pub fn release(&self, source: IpAddr, limits: &ConnectionLimits) {
        self.decrement(self.source_hash(source, limits));
        self.decrement(self.prefix_hash(source, limits));
        self.release_total();
    }

    fn release_total(&self) {
        let down = |count: u32| count.checked_sub(1);
        let _ = self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, down);
    }

    /// The slots where a key may be, in the order of the search.
    fn slots(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        (0..PROBE_SETS as u64)
            .filter_map(move |step| self.sets.get((hash.wrapping_add(step) & self.mask) as usize))
            .flat_map(|set| &set.0)
    }

    fn count(&self, hash: u64) -> u32 {
        let tag = hash & !COUNT_MASK;
        let values = self.slots(hash).map(|slot| slot.load(Ordering::Relaxed));
        values.filter(|value| value & !COUNT_MASK == tag).map(|value| (value & COUNT_MASK) as u32).sum()
    }

    fn increment(&self, hash: u64, limit: u32, refusal: Refusal) -> Result<(), Refusal> {
        let tag = hash & !COUNT_MASK;
        let limit = u64::from(limit).min(COUNT_MASK);
        loop {
            let mut free = None;
            let mut ours = None;
            for slot in self.slots(hash) {
                let value = slot.load(Ordering::Relaxed);
                if value & COUNT_MASK == 0 {
                    free = free.or(Some((slot, value)));
                } else if value & !COUNT_MASK == tag {
                    ours = Some((slot, value));
                    break;
                }
            }
            if limit == 0 || ours.is_some_and(|(_, value)| value & COUNT_MASK >= limit) {
                return Err(refusal);
            }
            let (slot, value, next) = match (ours, free) {
                (Some((slot, value)), _) => (slot, value, value + 1),
                (None, Some((slot, value))) => (slot, value, tag | 1),
                (None, None) => return Err(Refusal::TableFull),
            };
            // A failed exchange means that another worker's succeeded; look again, as the slot may be anybody's.
            if slot.compare_exchange(value, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(());
            }
        }
    }

    fn decrement(&self, hash: u64) {
        let tag = hash & !COUNT_MASK;
        for slot in self.slots(hash) {
            let down = |value: u64| {
                let ours = value & !COUNT_MASK == tag && value & COUNT_MASK > 0;
                ours.then(|| if value & COUNT_MASK == 1 { 0 } else { value - 1 })
            };
            if slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, down).is_ok() {
                return;
            }
        }
    }
}
