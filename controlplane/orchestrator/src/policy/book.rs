//! The history: which resource had which version and hash at which revision.
//!
//! Owns: versions that never go back, and the way from the newest revision to an earlier one. Does not own: bodies.
//! Pure. A revision holds only what it changed, with the state before and after: going back `n` revisions costs what
//! these changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use secbeat_config::policy::{Hash, Key};

use super::{Author, Candidate};
use crate::failure::Failure;

/// Revisions that are kept; the oldest go first. A change every five minutes fills it in three days and a half.
pub const REVISIONS_MAX: usize = 1_000;
/// Changed resources over all kept revisions: at 150 bytes each, 30 MB. The oldest revisions go first.
pub(super) const CHANGES_MAX: usize = 200_000;
/// Removed resources whose version is remembered, so that one made anew under an old name goes on counting. Beyond,
/// the lowest go, and new names start above the highest forgotten.
pub(super) const RETIRED_MAX: usize = 16_384;

/// Version and content of a resource.
pub(super) type Entry = (u64, Hash);

/// One resource in one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub key: Key,
    /// Before; `None`: it was not there.
    pub before: Option<Entry>,
    /// After; `None`: removed.
    pub after: Option<Entry>,
}

/// One revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counts from 1.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Who.
    pub actor: String,
    /// Why, as they said.
    pub reason: String,
    /// What changed.
    pub changes: Vec<Changed>,
    /// Of the whole set.
    pub set_hash: Hash,
    /// The revision whose content this one brought back; 0: none.
    pub rolled_back_to: u64,
}

impl Revision {
    /// How many resources were added, changed, removed.
    pub fn counts(&self) -> (u32, u32, u32) {
        self.changes.iter().fold((0, 0, 0), |(added, changed, removed), change| {
            match (&change.before, &change.after) {
                (None, _) => (added + 1, changed, removed),
                (Some(_), Some(_)) => (added, changed + 1, removed),
                (Some(_), None) => (added, changed, removed + 1),
            }
        })
    }
}

/// What is no longer kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Numbers of revisions.
    pub revisions: Vec<u64>,
    /// Contents that nothing needs any more.
    pub hashes: BTreeSet<Hash>,
    /// Removed resources whose version is forgotten.
    pub retired: Vec<Key>,
}

/// History and present.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// What is wanted now.
    pub(super) entries: BTreeMap<Key, Entry>,
    /// Last versions of resources that are gone.
    pub(super) retired: BTreeMap<Key, u64>,
    /// Highest version that was forgotten with a retired name.
    pub(super) floor: u64,
    /// Kept revisions, oldest first, without gaps.
    pub(super) revisions: VecDeque<Arc<Revision>>,
    pub(super) newest: u64,
    /// Removed resources whose version was forgotten since the last [`Book::shorten`].
    pub(super) forgotten: Vec<Key>,
}

impl Book {
    /// Number of the newest revision; 0: none.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Version of every wanted resource.
    pub fn versions(&self) -> BTreeMap<Key, u64> {
        self.entries.iter().map(|(key, (version, _))| (key.clone(), *version)).collect()
    }

    /// Makes a candidate the newest revision.
    pub fn revise(
        &mut self,
        candidate: &Candidate,
        author: &Author,
        rolled_back_to: u64,
        now_ms: u64,
    ) -> Arc<Revision> {
        let mut changes = Vec::new();
        for (_, resource) in candidate.set.iter() {
            let before = self.entries.get(&resource.key).copied();
            if before.is_none_or(|(_, hash)| hash != resource.hash) {
                let after = Some((self.next_version(&resource.key), resource.hash));
                changes.push(Changed { key: resource.key.clone(), before, after });
            }
        }
        let gone = self.entries.iter().filter(|(key, _)| candidate.set.get(key).is_none());
        changes.extend(gone.map(|(key, entry)| Changed {
            key: key.clone(),
            before: Some(*entry),
            after: None,
        }));
        let revision = Arc::new(Revision {
            number: self.newest + 1,
            at_ms: now_ms,
            actor: author.actor.clone(),
            reason: author.reason.clone(),
            changes,
            set_hash: candidate.set.hash(),
            rolled_back_to,
        });
        self.enter(Arc::clone(&revision));
        revision
    }

    fn next_version(&self, key: &Key) -> u64 {
        let known = self.entries.get(key).map(|(version, _)| *version);
        known.or_else(|| self.retired.get(key).copied()).unwrap_or(self.floor) + 1
    }

    /// Puts a revision at the end. It must follow the newest.
    pub(super) fn enter(&mut self, revision: Arc<Revision>) {
        for change in &revision.changes {
            match change.after {
                Some(entry) => {
                    self.retired.remove(&change.key);
                    self.entries.insert(change.key.clone(), entry);
                }
                None => {
                    if let Some((version, _)) = self.entries.remove(&change.key) {
                        self.retire(change.key.clone(), version);
                    }
                }
            }
        }
        self.newest = revision.number;
        self.revisions.push_back(revision);
    }

    fn retire(&mut self, key: Key, version: u64) {
        self.retired.insert(key, version);
        if self.retired.len() > RETIRED_MAX {
            let lowest = self.retired.iter().min_by_key(|(_, version)| **version);
            if let Some((key, version)) = lowest.map(|(key, version)| (key.clone(), *version)) {
                self.floor = self.floor.max(version);
                self.retired.remove(&key);
                self.forgotten.push(key);
            }
        }
    }

    /// Lets the oldest revisions go, but none that is needed to get back to `needed`.
    pub fn shorten(&mut self, needed: u64) -> Dropped {
        let mut changes: usize = self.revisions.iter().map(|revision| revision.changes.len()).sum();
        let mut dropped = Dropped { retired: core::mem::take(&mut self.forgotten), ..Dropped::default() };
        while self.revisions.len() > REVISIONS_MAX || changes > CHANGES_MAX {
            // To reach `needed` again, every later revision is walked back.
            let is_free = |oldest: &Arc<Revision>| oldest.number <= needed && oldest.number != self.newest;
            if !self.revisions.front().is_some_and(is_free) {
                break;
            }
            let Some(oldest) = self.revisions.pop_front() else { break };
            changes -= oldest.changes.len();
            dropped.revisions.push(oldest.number);
            let entries = oldest.changes.iter().flat_map(|change| [change.before, change.after]).flatten();
            dropped.hashes.extend(entries.map(|(_, hash)| hash));
        }
        if !dropped.hashes.is_empty() {
            let needed = self.hashes();
            dropped.hashes.retain(|hash| !needed.contains(hash));
        }
        dropped
    }

    /// What was wanted at a revision.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when it never was or is no longer kept.
    pub fn at(&self, revision: u64) -> Result<BTreeMap<Key, Entry>, Failure> {
        // The state before the oldest kept revision can be reached too: that is one number lower.
        let oldest = self.revisions.front().map_or(self.newest, |oldest| oldest.number - 1);
        if revision > self.newest {
            return Err(Failure::NotFound(format!(
                "there is no revision {revision}: the newest is {}",
                self.newest
            )));
        }
        if revision < oldest {
            return Err(Failure::NotFound(format!(
                "revision {revision} is no longer kept: the oldest is {oldest} (at most {REVISIONS_MAX} are kept)"
            )));
        }
        let mut entries = self.entries.clone();
        for newer in self.revisions.iter().rev().take_while(|newer| newer.number > revision) {
            for change in &newer.changes {
                match change.before {
                    Some(entry) => entries.insert(change.key.clone(), entry),
                    None => entries.remove(&change.key),
                };
            }
        }
        Ok(entries)
    }

    /// Revisions before one (0: from the newest), newest first.
    pub fn before(&self, before: u64, count_max: usize) -> Vec<Arc<Revision>> {
        let is_before = |revision: &&Arc<Revision>| before == 0 || revision.number < before;
        self.revisions.iter().rev().filter(is_before).take(count_max).cloned().collect()
    }

    /// Every content that the present or a kept revision needs.
    pub fn hashes(&self) -> BTreeSet<Hash> {
        let present = self.entries.values().map(|(_, hash)| *hash);
        let past = self.revisions.iter().flat_map(|revision| &revision.changes);
        let past = past.flat_map(|change| [change.before, change.after]).flatten().map(|(_, hash)| hash);
        present.chain(past).collect()
    }
}
