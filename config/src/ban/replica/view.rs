//! Looking at a replica.
//!
//! Owns: listings, look-ups, counts. Changes nothing. Cost: named at each; texts are copied for entries given.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Losses, Replica};
use crate::ban::{Entry, Origin, table};

/// Part of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Bans in force, by prefix.
    pub entries: Vec<Entry>,
    /// The last prefix looked at; `None`: the listing is complete.
    pub next: Option<IpNet>,
}

impl Replica {
    /// Order-independent, kept up with every change: equal for replicas that hold the same entries.
    pub fn digest(&self) -> [u8; 32] {
        self.table.digest()
    }

    /// Bans in force.
    pub fn active(&self, now_ms: u64) -> impl Iterator<Item = Entry> + '_ {
        self.table.iter().filter(move |entry| entry.is_active(now_ms))
    }

    /// Prefixes in force and their ends, without copies of texts.
    pub fn active_prefixes(&self, now_ms: u64) -> impl Iterator<Item = (IpNet, Option<u64>)> + '_ {
        self.table.active(now_ms)
    }

    /// What is held for a prefix, lifts and ended bans included.
    pub fn get(&self, prefix: &IpNet) -> Option<Entry> {
        self.table.get(prefix)
    }

    /// Bans in force that cover an address, the widest first.
    pub fn covering(&self, address: IpAddr, now_ms: u64) -> impl Iterator<Item = Entry> + '_ {
        self.covering_prefix(table::host(address), now_ms)
    }

    /// Bans in force that cover a prefix or are it, the widest first.
    pub fn covering_prefix(&self, prefix: IpNet, now_ms: u64) -> impl Iterator<Item = Entry> + '_ {
        let covering = self.table.covering(prefix).filter(move |held| self.table.is_active(held, now_ms));
        covering.filter_map(|held| self.table.get(&held))
    }

    /// Bans in force that lie in a prefix or are it.
    pub fn within(&self, prefix: IpNet, now_ms: u64) -> impl Iterator<Item = Entry> + '_ {
        let within = self.table.within(Some(prefix), None, now_ms).filter(|(_, is_active, _)| *is_active);
        within.filter_map(|(held, ..)| self.table.get(&held))
    }

    /// Bans in force in the order of prefixes: those after `last` that lie in `outer` (`None`: anywhere) and have one
    /// of `origins` (empty: any), at most `count_max`, looking at no more than `looked_at_max` entries.
    pub fn page(
        &self,
        last: Option<IpNet>,
        outer: Option<IpNet>,
        origins: &[Origin],
        count_max: usize,
        looked_at_max: usize,
        now_ms: u64,
    ) -> Page {
        let mut page = Page::default();
        for (looked_at, (prefix, is_active, origin)) in self.table.within(outer, last, now_ms).enumerate() {
            if page.entries.len() >= count_max || looked_at >= looked_at_max {
                return page;
            }
            page.next = Some(prefix);
            if is_active && (origins.is_empty() || origins.contains(&origin)) {
                page.entries.extend(self.table.get(&prefix));
            }
        }
        page.next = None;
        page
    }

    /// Bans of these origins (empty: all) in force when [`Self::expire`] was called last.
    pub fn active_len(&self, origins: &[Origin]) -> usize {
        let origins = if origins.is_empty() { &Origin::ALL } else { origins };
        origins.iter().map(|origin| self.table.active_len(*origin)).sum()
    }

    /// Counts changes: equal means nothing changed since.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was not taken.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// Everything held, lifts and ended bans included, by prefix: what is sent to another replica.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.table.iter()
    }

    /// As [`Self::entries`], the prefixes after `last` only: for whole exchanges in parts.
    pub fn entries_after(&self, last: Option<IpNet>) -> impl Iterator<Item = Entry> + '_ {
        self.table.after(last)
    }
}
