//! Ban lists of both sides, brought together.
//!
//! Owns: taking in parts of the orchestrator's whole list, finding out what it lacks, and cutting what is sent into
//! parts. Does not own: merging (`secbeat_config::ban`), enforcement ([`super::host::Host::merge_bans`]).
//! Merging is idempotent and knows no order, so that a part that comes twice, late or not at all costs an exchange,
//! never correctness.

use std::collections::HashMap;

use ipnet::IpNet;
use secbeat_config::ban::{Entry, Stamp};
use secbeat_proto::v1;

use super::host::Host;
use super::link::Numbers;

/// Entries of one message: about 300 KB.
pub(super) const PART_ENTRIES_MAX: usize = 2_000;

/// Entries of a whole exchange whose stamps are remembered, about 60 bytes each. More: the rest is sent back although
/// the orchestrator has it, and merges to nothing there.
const ENTRIES_REMEMBERED_MAX: usize = 1_048_576;

/// What was received of a whole list so far.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    theirs: HashMap<IpNet, Stamp>,
    is_open: bool,
}

impl Exchange {
    /// Takes a message in and answers with what the other side lacks. Blocks for as long as enforcement takes.
    pub(super) fn receive(&mut self, delta: v1::BanDelta, host: &dyn Host) -> Vec<v1::BanDelta> {
        let mut entries = Vec::with_capacity(delta.entries.len().min(PART_ENTRIES_MAX));
        let mut refused = 0;
        for message in delta.entries {
            match Entry::try_from(message) {
                Ok(entry) => entries.push(entry),
                Err(_) => refused += 1,
            }
        }
        if refused > 0 {
            tracing::warn!(component = "agent", refused, "entries of the ban list cannot be read");
        }
        if delta.is_whole {
            if !core::mem::replace(&mut self.is_open, true) {
                self.theirs.clear();
            }
            let room = ENTRIES_REMEMBERED_MAX.saturating_sub(self.theirs.len());
            self.theirs.extend(entries.iter().take(room).map(|entry| (entry.prefix, entry.stamp)));
        }
        let changed = host.merge_bans(entries);
        Numbers::add(&host.link().numbers.ban_merges, changed);
        if !delta.is_whole || delta.has_more {
            return Vec::new();
        }
        self.is_open = false;
        let theirs = core::mem::take(&mut self.theirs);
        let lacks = |entry: &Entry| theirs.get(&entry.prefix).is_none_or(|stamp| *stamp < entry.stamp);
        let lacking: Vec<Entry> = host.ban_entries().into_iter().filter(lacks).collect();
        parts(&lacking, false, host)
    }
}

/// Everything that the node has.
pub(super) fn whole(host: &dyn Host) -> Vec<v1::BanDelta> {
    let entries = host.ban_entries();
    if entries.is_empty() {
        return vec![message(&[], true, false, host)];
    }
    parts(&entries, true, host)
}

/// Entries in parts of a size that a message may have.
pub(super) fn parts(entries: &[Entry], is_whole: bool, host: &dyn Host) -> Vec<v1::BanDelta> {
    let count = entries.len().div_ceil(PART_ENTRIES_MAX);
    let chunks = entries.chunks(PART_ENTRIES_MAX).enumerate();
    chunks.map(|(index, part)| message(part, is_whole, is_whole && index + 1 < count, host)).collect()
}

fn message(entries: &[Entry], is_whole: bool, has_more: bool, host: &dyn Host) -> v1::BanDelta {
    v1::BanDelta {
        entries: entries.iter().cloned().map(v1::BanEntry::from).collect(),
        is_whole,
        digest: host.bans_digest().0.to_vec(),
        has_more,
    }
}
