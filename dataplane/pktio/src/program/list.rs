//! The allow- and blocklist as the kernel's longest-prefix maps need it.
//!
//! Owns: which prefixes are listed, and what each map entry must say. Does not own: the maps (`maps`), the
//! clock (`now` is passed in). Cost: a change walks the covering prefixes (at most 129) and the covered ones.
//!
//! The program makes one lookup, and the longest prefix wins. Two rules are therefore compiled into the entries:
//! a block inside an allowed prefix is stored as an allow, so an allowed address is never dropped; and a block
//! inside a longer-lasting block ends with the latter, so a short ban never opens a hole in a long one.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::skel::xdp::types::{index_slot, limit, list_action, list_value};

/// A point in time that never comes, of the kernel's clock. The kernel's 0 is this.
const NEVER_NS: u64 = u64::MAX;

/// A prefix as the order of the tree needs it: network bits left-aligned, then length. The prefixes inside
/// another follow it without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    bits: u128,
    len: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    is_allowed: bool,
    /// End of the block; `NEVER_NS` until unblocked.
    block_until_ns: Option<u64>,
}

/// What a map entry must become: a value, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) prefix: IpNet,
    /// There was no entry before.
    pub(super) is_new: bool,
    pub(super) value: Option<list_value>,
}

/// Nanoseconds in a second, the unit of the index.
const SECOND_NS: u64 = 1_000_000_000;

/// The family's maximum of entries is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
struct Family {
    entries: BTreeMap<Key, Entry>,
    ends: BTreeSet<(u64, Key)>,
    is_v6: bool,
}

/// Both families.
#[derive(Debug)]
pub(super) struct List {
    v4: Family,
    v6: Family,
}

impl Key {
    fn of(prefix: IpNet) -> Self {
        let prefix = prefix.trunc();
        let bits = match prefix.network() {
            IpAddr::V4(addr) => u128::from(addr.to_bits()) << 96,
            IpAddr::V6(addr) => addr.to_bits(),
        };
        Self { bits, len: prefix.prefix_len() }
    }

    fn mask(len: u8) -> u128 {
        if len == 0 { 0 } else { u128::MAX << (128 - len) }
    }

    /// This prefix and all that contain it, shortest first.
    fn covering(self) -> impl Iterator<Item = Self> {
        (0..=self.len).map(move |len| Self { bits: self.bits & Self::mask(len), len })
    }

    /// The last key that can lie inside this prefix.
    fn last(self) -> Self {
        Self { bits: self.bits | !Self::mask(self.len), len: 128 }
    }
}

impl Family {
    fn new(is_v6: bool) -> Self {
        Self { entries: BTreeMap::new(), ends: BTreeSet::new(), is_v6 }
    }

    fn prefix(&self, key: Key) -> IpNet {
        if self.is_v6 {
            Ipv6Net::new_assert(key.bits.into(), key.len).into()
        } else {
            Ipv4Net::new_assert(((key.bits >> 96) as u32).into(), key.len).into()
        }
    }

    fn value(&self, key: Key) -> Option<list_value> {
        let own = self.entries.get(&key)?;
        let (mut allowed, mut until) = (false, None);
        for entry in key.covering().filter_map(|key| self.entries.get(&key)) {
            allowed |= entry.is_allowed;
            until = until.max(entry.block_until_ns);
        }
        let action = if allowed { list_action::LIST_ALLOW } else { list_action::LIST_BLOCK };
        Some(list_value {
            expires_ns: to_kernel(until),
            block_until_ns: to_kernel(own.block_until_ns),
            action: action.0 as u8,
            is_allowed: own.is_allowed.into(),
            is_blocked: own.block_until_ns.is_some().into(),
            ..Default::default()
        })
    }

    /// Sets an entry, or removes it when it says nothing, and answers what changes in the map.
    fn set(&mut self, key: Key, entry: Entry) -> Result<Vec<Change>, Full> {
        let old = self.entries.get(&key).copied();
        if old.unwrap_or_default() == entry {
            return Ok(Vec::new());
        }
        if old.is_none() && self.entries.len() >= limit::LIST_ENTRIES_MAX.0 as usize {
            return Err(Full);
        }
        if let Some(until) = old.and_then(|old| old.block_until_ns) {
            self.ends.remove(&(until, key));
        }
        if let Some(until) = entry.block_until_ns {
            self.ends.insert((until, key));
        }
        if entry == Entry::default() {
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, entry);
        }
        let mut changes =
            vec![Change { prefix: self.prefix(key), is_new: old.is_none(), value: self.value(key) }];
        let covered = self.entries.range(key..=key.last()).map(|(covered, _)| *covered);
        changes.extend(covered.filter(|&covered| covered != key).map(|covered| Change {
            prefix: self.prefix(covered),
            is_new: false,
            value: self.value(covered),
        }));
        Ok(changes)
    }

    fn entry(&self, key: Key) -> Entry {
        self.entries.get(&key).copied().unwrap_or_default()
    }
}

/// Slots of the IPv4 index that a change of `prefix` can touch.
pub(super) fn index_slots(prefix: IpNet) -> core::ops::Range<usize> {
    match prefix.trunc() {
        IpNet::V4(prefix) => {
            let first = (prefix.network().to_bits() >> 16) as usize;
            first..first + (1 << 16u8.saturating_sub(prefix.prefix_len()))
        }
        IpNet::V6(_) => 0..0,
    }
}

fn to_kernel(until: Option<u64>) -> u64 {
    match until {
        None | Some(NEVER_NS) => 0,
        Some(until) => until,
    }
}

impl List {
    pub(super) fn new() -> Self {
        Self { v4: Family::new(false), v6: Family::new(true) }
    }

    fn family(&mut self, prefix: IpNet) -> &mut Family {
        match prefix {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        }
    }

    /// Takes an entry over from a map that an earlier process left.
    pub(super) fn restore(&mut self, prefix: IpNet, value: &list_value) {
        let until = if value.block_until_ns == 0 { NEVER_NS } else { value.block_until_ns };
        let entry = Entry {
            is_allowed: value.is_allowed != 0,
            block_until_ns: (value.is_blocked != 0).then_some(until),
        };
        // The map that it comes from has the same maximum.
        let _ = self.family(prefix).set(Key::of(prefix), entry);
    }

    /// Lists a block until `until_ns` (`None`: for ever).
    pub(super) fn block(&mut self, prefix: IpNet, until_ns: Option<u64>) -> Result<Vec<Change>, Full> {
        let (key, family) = (Key::of(prefix), self.family(prefix));
        // The last nanosecond of the clock and 0 have other meanings; no deadline comes near them.
        let until = until_ns.map_or(NEVER_NS, |until| until.clamp(1, NEVER_NS - 1));
        let entry = Entry { block_until_ns: Some(until), ..family.entry(key) };
        family.set(key, entry)
    }

    /// Ends a block; `None` when there is none.
    pub(super) fn unblock(&mut self, prefix: IpNet) -> Option<Vec<Change>> {
        let (key, family) = (Key::of(prefix), self.family(prefix));
        let entry = family.entry(key);
        entry.block_until_ns?;
        family.set(key, Entry { block_until_ns: None, ..entry }).ok()
    }

    /// Lists or unlists an allowed prefix.
    pub(super) fn set_allowed(&mut self, prefix: IpNet, is_allowed: bool) -> Result<Vec<Change>, Full> {
        let (key, family) = (Key::of(prefix), self.family(prefix));
        let entry = Entry { is_allowed, ..family.entry(key) };
        family.set(key, entry)
    }

    /// What the IPv4 index must say in `slot`; see `enum index_slot`.
    pub(super) fn index_slot(&self, slot: usize) -> u32 {
        if self.v4.entries.is_empty() {
            return index_slot::INDEX_NONE.0;
        }
        let key = Key { bits: (slot as u128) << 112, len: 16 };
        // Everything inside follows the /16 itself.
        let inside = Key { len: 17, ..key };
        if self.v4.entries.range(inside..=key.last()).next().is_some() {
            return index_slot::INDEX_LOOK.0;
        }
        let (mut allowed, mut until) = (false, None);
        for entry in key.covering().filter_map(|key| self.v4.entries.get(&key)) {
            allowed |= entry.is_allowed;
            until = until.max(entry.block_until_ns);
        }
        match until {
            _ if allowed => index_slot::INDEX_NONE.0,
            None => index_slot::INDEX_NONE.0,
            Some(NEVER_NS) => index_slot::INDEX_BLOCKED.0,
            // The rest of its last second is looked up.
            Some(until) => {
                let seconds = u32::try_from(until / SECOND_NS).unwrap_or(u32::MAX);
                seconds.clamp(index_slot::INDEX_LOOK.0, index_slot::INDEX_BLOCKED.0 - 1)
            }
        }
    }

    /// Whether there is an entry of exactly this prefix.
    pub(super) fn has(&self, prefix: IpNet) -> bool {
        let family = match prefix {
            IpNet::V4(_) => &self.v4,
            IpNet::V6(_) => &self.v6,
        };
        family.entries.contains_key(&Key::of(prefix))
    }

    /// Number of IPv6 entries.
    pub(super) fn len_v6(&self) -> usize {
        self.v6.entries.len()
    }

    /// All allowed prefixes.
    pub(super) fn allowed(&self) -> Vec<IpNet> {
        let families = [&self.v4, &self.v6];
        let allowed = families.iter().flat_map(|family| {
            family.entries.iter().filter(|(_, entry)| entry.is_allowed).map(|(key, _)| family.prefix(*key))
        });
        allowed.collect()
    }

    /// A block that has ended by `now_ns`.
    pub(super) fn expired(&self, now_ns: u64) -> Option<IpNet> {
        [&self.v4, &self.v6].iter().find_map(|family| {
            let &(until, key) = family.ends.first()?;
            (until != NEVER_NS && until <= now_ns).then(|| family.prefix(key))
        })
    }

    /// All blocks: prefix, end (`None`: for ever), whether an allowed prefix covers it.
    pub(super) fn blocked(&self) -> impl Iterator<Item = (IpNet, Option<u64>, bool)> {
        [&self.v4, &self.v6].into_iter().flat_map(|family| {
            family.entries.iter().filter_map(|(&key, entry)| {
                let until = entry.block_until_ns?;
                let suppressed = family.value(key)?.action == list_action::LIST_ALLOW.0 as u8;
                Some((family.prefix(key), (until != NEVER_NS).then_some(until), suppressed))
            })
        })
    }
}

#[cfg(test)]
mod tests;
