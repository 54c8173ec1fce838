//! Maglev hashing (Eisenbud et al., NSDI 2016, §3.4): which backend a flow goes to.
//!
//! Owns: the lookup table and its building, with weights. Does not own: health (a sick backend is left out of the
//! table, or skipped by [`Maglev::lookup_where`]) and flow state (a table only decides for new flows).
//! Properties, tested below: every backend gets its share within a few percent; adding or removing one moves
//! little more than its own share; the same members in any order give the same table on every node.
//! Cost: lookup is one array read; building about 2 ms for 65,537 entries, on the control path.

use crate::splice::BackendId;

/// Members of a table. More would leave each fewer than 64 entries of the largest table.
pub const MEMBERS_MAX: usize = 1024;
/// Other entries that `lookup_where` tries before it walks over all members.
const OTHER_CHOICES_MAX: usize = 8;
const EMPTY: u16 = u16::MAX;

/// Number of entries; prime, so that every stride visits all of them. The share of a backend is exact to about
/// members / entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableSize {
    /// 4,099 entries, 8 KiB: up to about 40 backends within 1 %.
    #[default]
    Small,
    /// 16,381 entries, 32 KiB.
    Medium,
    /// 65,537 entries, 128 KiB: the size in the paper.
    Large,
}

impl TableSize {
    /// The number of entries.
    pub const fn entries(self) -> usize {
        match self {
            Self::Small => 4_099,
            Self::Medium => 16_381,
            Self::Large => 65_537,
        }
    }

    /// The smallest size whose shares are exact within about 1 % for `members`.
    pub const fn for_members(members: usize) -> Self {
        match members {
            0..=40 => Self::Small,
            41..=160 => Self::Medium,
            _ => Self::Large,
        }
    }
}

/// A backend as the table sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// What a lookup answers.
    pub id: BackendId,
    /// What stays the same over restarts and on every node: a hash of the backend's address and port. Members
    /// with one identity share one place in the order; the one with the lower id goes first.
    pub identity: u64,
    /// Share relative to the others; a member with 0 gets nothing.
    pub weight: u16,
}

/// A lookup table.
#[derive(Clone, Debug)]
pub struct Maglev {
    /// Index into `members` per entry; empty when there is no member.
    table: Box<[u16]>,
    members: Box<[BackendId]>,
}

/// A fixed bijective mix (the finalizer of SplitMix64): spreads identities and hashes; keeps no secret.
const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The order in which one member asks for entries.
struct Permutation {
    position: usize,
    stride: usize,
    weight: u32,
    credit: u32,
}

impl Maglev {
    /// Builds the table. Members beyond [`MEMBERS_MAX`] and those of weight 0 are left out.
    pub fn build(members: &[Member], size: TableSize) -> Self {
        let entries = size.entries();
        let mut members: Vec<Member> =
            members.iter().copied().filter(|member| member.weight > 0).take(MEMBERS_MAX).collect();
        members.sort_by_key(|member| (member.identity, member.id));
        if members.is_empty() {
            return Self { table: Box::default(), members: Box::default() };
        }
        let mut permutations: Vec<Permutation> = members
            .iter()
            .map(|member| {
                let hash = mix(member.identity.wrapping_add(0x9e37_79b9_7f4a_7c15));
                Permutation {
                    position: (hash % entries as u64) as usize,
                    stride: (mix(hash) % (entries as u64 - 1)) as usize + 1,
                    weight: u32::from(member.weight),
                    credit: 0,
                }
            })
            .collect();
        let mut table = vec![EMPTY; entries];
        fill(&mut table, &mut permutations);
        let members = members.iter().map(|member| member.id).collect();
        Self { table: table.into_boxed_slice(), members }
    }

    /// The backend for a flow's hash (which must be keyed, as strangers choose its input); `None` when there is no
    /// member.
    #[inline]
    pub fn lookup(&self, hash: u64) -> Option<BackendId> {
        let entry = mix(hash).checked_rem(self.table.len() as u64)?;
        let member = *self.table.get(entry as usize)?;
        self.members.get(usize::from(member)).copied()
    }

    /// Like [`Maglev::lookup`], passing over backends that `is_usable` refuses: first a few other entries that
    /// the hash names (so that the flows of a failed backend spread over all others), then all members in turn.
    pub fn lookup_where(&self, hash: u64, is_usable: impl Fn(BackendId) -> bool) -> Option<BackendId> {
        let mut choice = hash;
        for _ in 0..OTHER_CHOICES_MAX {
            let id = self.lookup(choice)?;
            if is_usable(id) {
                return Some(id);
            }
            choice = mix(choice.wrapping_add(1));
        }
        let start = (choice % self.members.len().max(1) as u64) as usize;
        let (before, after) = self.members.split_at(start);
        after.iter().chain(before).copied().find(|id| is_usable(*id))
    }

    /// Entries of each member, for people who ask what share a backend has.
    pub fn shares(&self) -> impl Iterator<Item = (BackendId, usize)> {
        self.members
            .iter()
            .enumerate()
            .map(|(index, id)| (*id, self.table.iter().filter(|entry| usize::from(**entry) == index).count()))
    }
}

/// Members take turns; each turn takes the next entry in the member's order that is still free. A member of the
/// greatest weight has a turn in every round, another one in its proportion.
fn fill(table: &mut [u16], permutations: &mut [Permutation]) {
    let entries = table.len();
    let weight_max = permutations.iter().map(|member| member.weight).max().unwrap_or(1);
    let mut free = entries;
    loop {
        for (index, member) in permutations.iter_mut().enumerate() {
            member.credit += member.weight;
            if member.credit < weight_max {
                continue;
            }
            member.credit -= weight_max;
            // Ends: the stride is coprime to the prime number of entries and one of them is free.
            while table[member.position] != EMPTY {
                member.position = (member.position + member.stride) % entries;
            }
            table[member.position] = index as u16;
            free -= 1;
            if free == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn members(weights: &[u16]) -> Vec<Member> {
        let member = |(index, weight): (usize, &u16)| Member {
            id: BackendId(index as u16),
            identity: 1_000 + index as u64,
            weight: *weight,
        };
        weights.iter().enumerate().map(member).collect()
    }

    fn shares(table: &Maglev) -> HashMap<BackendId, usize> {
        table.shares().collect()
    }

    #[test]
    fn sizes_are_prime() {
        for size in [TableSize::Small, TableSize::Medium, TableSize::Large] {
            let n = size.entries();
            assert!((2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d)), "{n}");
        }
    }

    #[test]
    fn equal_members_have_equal_shares() {
        let table = Maglev::build(&members(&[7; 10]), TableSize::Small);
        for (id, share) in table.shares() {
            assert!((409..=411).contains(&share), "{id:?} has {share}");
        }
    }

    #[test]
    fn shares_follow_weights() {
        let table = Maglev::build(&members(&[100, 50, 25, 0, 1]), TableSize::Large);
        let shares = shares(&table);
        let unit = 65_537.0 / 176.0;
        for (id, weight) in [(0, 100.0), (1, 50.0), (2, 25.0), (4, 1.0)] {
            let share = shares[&BackendId(id)] as f64;
            assert!((share / (weight * unit) - 1.0).abs() < 0.02, "backend {id}: {share}");
        }
        assert!(!shares.contains_key(&BackendId(3)));
    }

    #[test]
    fn order_of_members_does_not_matter() {
        let mut list = members(&[3, 1, 4, 1, 5]);
        let forward = Maglev::build(&list, TableSize::Small);
        list.reverse();
        let backward = Maglev::build(&list, TableSize::Small);
        assert!((0..10_000).all(|hash| forward.lookup(hash) == backward.lookup(hash)));
    }

    #[test]
    fn removing_a_member_moves_little_more_than_its_share() {
        let all = members(&[1; 20]);
        let before = Maglev::build(&all, TableSize::Large);
        let gone = BackendId(7);
        let left: Vec<Member> = all.into_iter().filter(|member| member.id != gone).collect();
        let after = Maglev::build(&left, TableSize::Large);
        let hashes = 0..100_000u64;
        let moved = hashes
            .clone()
            .filter(|hash| before.lookup(*hash) != Some(gone) && before.lookup(*hash) != after.lookup(*hash))
            .count();
        assert!(moved < 3_000, "{moved} of 100,000 flows moved without need");
        assert!(hashes.clone().all(|hash| after.lookup(hash) != Some(gone)));
    }

    #[test]
    fn refused_backend_is_passed_over_and_its_flows_spread() {
        let table = Maglev::build(&members(&[1; 5]), TableSize::Small);
        let gone = BackendId(2);
        let mut taken: HashMap<BackendId, usize> = HashMap::new();
        for hash in (0..10_000).filter(|hash| table.lookup(*hash) == Some(gone)) {
            let other = table.lookup_where(hash, |id| id != gone).unwrap();
            *taken.entry(other).or_default() += 1;
        }
        assert_eq!(taken.len(), 4);
        assert!(taken.values().all(|count| *count > 300), "{taken:?}");
        let only = BackendId(4);
        assert_eq!(table.lookup_where(1, |id| id == only), Some(only));
        assert_eq!(table.lookup_where(1, |_| false), None);
    }

    #[test]
    fn no_member_no_backend_and_the_limit_holds() {
        let empty = Maglev::build(&members(&[0, 0]), TableSize::Small);
        assert_eq!(empty.lookup(5), None);
        assert_eq!(empty.lookup_where(5, |_| true), None);
        let crowd = Maglev::build(&members(&[1; MEMBERS_MAX + 1]), TableSize::Large);
        assert_eq!(crowd.shares().count(), MEMBERS_MAX);
    }

    #[test]
    fn identical_identities_still_fill_the_table() {
        let twins: Vec<Member> =
            (0..3).map(|id| Member { id: BackendId(id), identity: 9, weight: 1 }).collect();
        let table = Maglev::build(&twins, TableSize::Small);
        assert!(table.shares().all(|(_, share)| share.abs_diff(1_366) <= 1));
    }
}
