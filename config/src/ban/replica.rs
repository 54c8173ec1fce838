//! One holder's copy of the ban list.
//!
//! Owns: decisions, merging, expiry, room. Full: see [`Replica`].

mod view;

use ipnet::IpNet;

use super::entry::cut;
use super::table::Table;
use super::{ACTOR_BYTES_MAX, Clock, ENTRIES_MAX, Entry, Origin, REASON_BYTES_MAX, SKEW_MS_MAX, canonical};

pub use view::Page;

/// Most entries that one [`Replica::expire`] ends or forgets: 10 ms of work. The rest is done by the next.
const DUE_PER_CALL_MAX: usize = 4_096;

/// Reason of the lift of a ban that comes too late.
const LATE_REASON: &str = "older than what is remembered of lifted bans; set it again if it is meant";

/// What was not taken, since the replica was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Entries refused because the table was full.
    pub full: u64,
    /// Bans of nodes that made room for decisions of people.
    pub displaced: u64,
    /// Entries refused because their stamp was more than [`SKEW_MS_MAX`] ahead.
    pub ahead: u64,
    /// Bans lifted because they came later than the retention of lifts.
    pub late: u64,
    /// Entries with a prefix wider than may be banned.
    pub wide: u64,
}

/// Why a ban is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No room, and nothing in the table may be displaced.
    #[error(
        "the ban list is full: {entries_max} entries; lift bans or put neighbours together in wider prefixes"
    )]
    Full {
        /// The limit.
        entries_max: usize,
    },
    /// Wider than may be banned.
    #[error("prefix: `{0}` is wider than may be banned: /8 for IPv4, /16 for IPv6")]
    Wide(IpNet),
}

/// A replica of the ban list.
///
/// At most `entries_max` entries, lifts and ended bans included. Full: a decision of a person or an expert, and every
/// lift, displaces the ban that a node set by itself and that ends first ([`Losses::displaced`]); a node's ban takes
/// the place of one that has ended; otherwise it is refused ([`Losses::full`]). Full replicas need not be equal.
#[derive(Clone, Debug)]
pub struct Replica {
    table: Table,
    clock: Clock,
    entries_max: usize,
    losses: Losses,
    changes: u64,
    is_keeper: bool,
    /// Newest wall clock among stamps of forgotten entries that something older may have outlived.
    forgotten_ms: u64,
    /// Of a keeper: prefixes that left the table and are to leave its store. Never more than were in the table.
    dropped: Vec<IpNet>,
    /// Entries written anew because the clock was wrong. Never more than are in the table.
    rewritten: Vec<Entry>,
}

impl Replica {
    /// An empty replica that writes as `writer`: a UUID that no other uses.
    pub fn new(writer: [u8; 16], entries_max: usize) -> Self {
        Self {
            table: Table::new(),
            clock: Clock::new(writer),
            entries_max: entries_max.clamp(1, u32::MAX as usize / 8),
            losses: Losses::default(),
            changes: 0,
            is_keeper: false,
            forgotten_ms: 0,
            dropped: Vec::new(),
            rewritten: Vec::new(),
        }
    }

    /// One that lifts bans that come too late, as the head of [`crate::ban`] says. `forgotten_ms` is what
    /// [`Self::forgotten_ms`] said last; it is to be kept as long as the entries are. 0: nothing forgotten yet.
    /// After a restart the entries come back by [`Self::restore`].
    pub fn keeper(writer: [u8; 16], entries_max: usize, forgotten_ms: u64) -> Self {
        Self { is_keeper: true, forgotten_ms, ..Self::new(writer, entries_max) }
    }

    /// Bans a prefix, in place of what holds for it. A node's own ban that is weaker than the one in force (shorter, or
    /// against a decision of a person) changes nothing, and what is in force is given back.
    ///
    /// # Errors
    /// When there is no room, or the prefix is wider than may be banned.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a field of the entry; a struct would say them twice"
    )]
    pub fn ban(
        &mut self,
        prefix: IpNet,
        until_ms: Option<u64>,
        reason: &str,
        origin: Origin,
        actor: &str,
        node: Option<[u8; 16]>,
        now_ms: u64,
    ) -> Result<Entry, Refusal> {
        let drafted = self.draft(prefix, until_ms, reason, origin, actor, node, now_ms);
        self.losses.full += u64::from(matches!(drafted, Err(Refusal::Full { .. })));
        let (mut entry, is_weaker) = drafted?;
        if is_weaker {
            return Ok(entry);
        }
        if !self.make_room(&entry, now_ms) {
            return Err(Refusal::Full { entries_max: self.entries_max });
        }
        entry.stamp = self.clock.tick(now_ms);
        self.put(&entry);
        Ok(entry)
    }

    /// What [`Self::ban`] would write, without a stamp, and whether that is what is in force already. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::ban`].
    #[expect(clippy::too_many_arguments, reason = "those of `ban`")]
    pub fn draft(
        &self,
        prefix: IpNet,
        until_ms: Option<u64>,
        reason: &str,
        origin: Origin,
        actor: &str,
        node: Option<[u8; 16]>,
        now_ms: u64,
    ) -> Result<(Entry, bool), Refusal> {
        let prefix = canonical(prefix).ok_or(Refusal::Wide(prefix))?;
        let held = self.get(&prefix).filter(|held| held.is_active(now_ms));
        if let Some(held) = held.as_ref().filter(|_| origin == Origin::Node) {
            let end = |until_ms: Option<u64>| until_ms.unwrap_or(u64::MAX);
            if end(held.until_ms) >= end(until_ms) {
                return Ok((held.clone(), true));
            }
        }
        let entry = normal(Entry {
            prefix,
            stamp: Default::default(),
            removed: false,
            until_ms,
            since_ms: held.map_or(now_ms, |held| held.since_ms),
            reason: cut(reason, REASON_BYTES_MAX).into(),
            origin,
            actor: cut(actor, ACTOR_BYTES_MAX).into(),
            node,
        });
        if !self.has_room(&entry, now_ms) {
            return Err(Refusal::Full { entries_max: self.entries_max });
        }
        Ok((entry, false))
    }

    /// Takes a decision back that could not be kept: unless something newer came, what was there before is there
    /// again.
    pub fn undo(&mut self, entry: &Entry, before: Option<Entry>) {
        if self.table.stamp(&entry.prefix) != Some(entry.stamp) {
            return;
        }
        self.changes += 1;
        match before {
            Some(before) => self.table.put(&before),
            None => drop(self.table.take(&entry.prefix)),
        }
    }

    /// Lifts a ban that is in force. `None`: there is none.
    pub fn lift(&mut self, prefix: IpNet, actor: &str, reason: &str, now_ms: u64) -> Option<Entry> {
        let held = self.get(&canonical(prefix)?).filter(|held| held.is_active(now_ms))?;
        Some(self.write_lift(held, actor, reason, now_ms))
    }

    /// Takes entries of another replica; gives back those that changed this one, and what it decided about them.
    pub fn merge(&mut self, entries: impl IntoIterator<Item = Entry>, now_ms: u64) -> Vec<Entry> {
        entries.into_iter().filter_map(|entry| self.merge_one(normal(entry), now_ms)).collect()
    }

    /// Takes back what this replica held before a restart: nothing of it comes too late or is too far ahead.
    pub fn restore(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            let Some(prefix) = canonical(entry.prefix) else { continue };
            self.clock.restore(&entry.stamp);
            // A smaller limit than before the restart holds from now on.
            if self.len() < self.entries_max || self.table.stamp(&prefix).is_some() {
                self.put(&normal(Entry { prefix, ..entry }));
            } else {
                self.losses.full += 1;
            }
        }
    }

    fn merge_one(&mut self, mut entry: Entry, now_ms: u64) -> Option<Entry> {
        let Some(prefix) = canonical(entry.prefix) else {
            self.losses.wide += 1;
            return None;
        };
        entry.prefix = prefix;
        if !self.clock.observe(&entry.stamp, now_ms) {
            self.losses.ahead += 1;
            return None;
        }
        if entry.forget_at_ms().is_some_and(|forget_at_ms| forget_at_ms <= now_ms) {
            return None;
        }
        match self.table.stamp(&prefix) {
            Some(held) if held > entry.stamp => return None,
            Some(held) if held == entry.stamp => {
                // The same writer and the same moment: the same entry, or a UUID that two use.
                let held = self.get(&prefix)?;
                if entry.order(&held).is_le() {
                    return None;
                }
            }
            Some(_) => {}
            None => {
                let is_late = self.is_keeper && entry.stamp.wall_ms <= self.forgotten_ms;
                if is_late && entry.is_active(now_ms) {
                    self.losses.late += 1;
                    return self
                        .make_room(&entry, now_ms)
                        .then(|| self.write_lift(entry, "", LATE_REASON, now_ms));
                }
                if !self.make_room(&entry, now_ms) {
                    return None;
                }
            }
        }
        self.put(&entry);
        Some(entry)
    }

    /// Ends what has ended and forgets what may be forgotten, at most some thousands per call; gives back the
    /// bans that ended. Call it again at once while [`Self::is_due`].
    pub fn expire(&mut self, now_ms: u64) -> Vec<Entry> {
        let mut ended = Vec::new();
        for _ in 0..DUE_PER_CALL_MAX {
            let Some((prefix, is_end)) = self.table.next_due(now_ms) else { break };
            if is_end {
                self.table.mark_ended(&prefix);
                ended.extend(self.get(&prefix));
            } else if let Some(entry) = self.take(&prefix) {
                // What it hides may live on where nobody has heard of it.
                let hides = if entry.removed {
                    entry.until_ms.is_none_or(|until_ms| until_ms > now_ms)
                } else {
                    entry.origin != Origin::Node && entry.since_ms < entry.stamp.wall_ms
                };
                if hides {
                    self.forgotten_ms = self.forgotten_ms.max(entry.stamp.wall_ms);
                }
            }
        }
        if self.clock.is_ahead(now_ms) {
            self.write_anew(now_ms);
        }
        ended
    }

    /// Whether [`Self::expire`] has something to do.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.table.next_due(now_ms).is_some()
    }

    /// Of a keeper: prefixes that left the table since the last call, forgotten or displaced. To be called after each
    /// change, so that the store holds what the table does.
    pub fn take_dropped(&mut self) -> Vec<IpNet> {
        core::mem::take(&mut self.dropped)
    }

    /// Entries that [`Self::expire`] wrote anew because the own clock was wrong: to be kept and sent like
    /// decisions.
    pub fn take_rewritten(&mut self) -> Vec<Entry> {
        core::mem::take(&mut self.rewritten)
    }

    /// See [`Self::keeper`].
    pub fn forgotten_ms(&self) -> u64 {
        self.forgotten_ms
    }

    /// UUID that its stamps carry.
    pub fn writer(&self) -> [u8; 16] {
        self.clock.writer()
    }

    fn put(&mut self, entry: &Entry) {
        self.table.put(entry);
        self.changes += 1;
    }

    /// The lift of `ban`, which need not be held.
    fn write_lift(&mut self, ban: Entry, actor: &str, reason: &str, now_ms: u64) -> Entry {
        let lift = Entry {
            stamp: self.clock.tick(now_ms),
            removed: true,
            reason: cut(reason, REASON_BYTES_MAX).into(),
            actor: cut(actor, ACTOR_BYTES_MAX).into(),
            origin: Origin::Operator,
            node: None,
            ..ban
        };
        self.put(&lift);
        lift
    }

    fn take(&mut self, prefix: &IpNet) -> Option<Entry> {
        let entry = self.table.take(prefix)?;
        self.changes += 1;
        if self.is_keeper {
            self.dropped.push(*prefix);
        }
        Some(entry)
    }

    /// Whether `entry` finds a place: `None` when there is none, otherwise what has to go.
    fn place(&self, entry: &Entry, now_ms: u64) -> Option<Option<IpNet>> {
        if self.len() < self.entries_max || self.table.stamp(&entry.prefix).is_some() {
            return Some(None);
        }
        let victim = self.table.displaceable().copied();
        let victim =
            victim.filter(|victim| !entry.is_displaceable() || !self.table.is_active(victim, now_ms));
        victim.map(Some)
    }

    fn has_room(&self, entry: &Entry, now_ms: u64) -> bool {
        self.place(entry, now_ms).is_some()
    }

    /// Whether `entry` has a place, if need be that of another.
    fn make_room(&mut self, entry: &Entry, now_ms: u64) -> bool {
        let Some(victim) = self.place(entry, now_ms) else {
            self.losses.full += 1;
            return false;
        };
        if let Some(victim) = victim {
            self.losses.displaced += u64::from(self.table.is_active(&victim, now_ms));
            self.take(&victim);
        }
        true
    }

    /// The own clock was far ahead and has been set right: what was written by it would be refused by all. It is
    /// written anew, and ends as long after now as it would have after it was written.
    fn write_anew(&mut self, now_ms: u64) {
        let limit_ms = now_ms.saturating_add(SKEW_MS_MAX);
        self.rewritten.clear();
        let ahead: Vec<Entry> = self.table.iter().filter(|entry| entry.stamp.wall_ms > limit_ms).collect();
        for mut entry in ahead {
            let length_ms = |until_ms: u64| until_ms.saturating_sub(entry.stamp.wall_ms);
            entry.until_ms = entry.until_ms.map(|until_ms| now_ms.saturating_add(length_ms(until_ms)));
            entry.since_ms = entry.since_ms.min(now_ms);
            entry.stamp = self.clock.tick(now_ms);
            let entry = normal(entry);
            self.put(&entry);
            self.rewritten.push(entry);
        }
        // Nothing may have been held: the clock comes back all the same.
        if self.clock.is_ahead(now_ms) {
            self.clock.tick(now_ms);
        }
    }
}

impl Default for Replica {
    /// For tests and tools: one that writes as nobody.
    fn default() -> Self {
        Self::new([0; 16], ENTRIES_MAX)
    }
}

/// An end that the wire can say: 0 means "never" there.
fn normal(mut entry: Entry) -> Entry {
    entry.until_ms = entry.until_ms.filter(|until_ms| *until_ms != u64::MAX).map(|until_ms| until_ms.max(1));
    entry
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
