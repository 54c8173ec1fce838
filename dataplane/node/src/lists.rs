//! The allowlist, the blocklist and the bans of a node.
//!
//! Owns: who may never be dropped, who always is, who is banned until when, why and by whom; the file that
//! lets bans survive a restart. Does not own: the look-up per packet (`net::filter` in workers, the LPM map of
//! the XDP program), which get copies: [`Lists::view`] whole, [`Lists::take_changes`] piece by piece.
//!
//! The allowlist wins always: a ban inside it is refused, a ban around it leaves it exempt.
//! Lives in the control thread. Cost of a ban: a hash look-up per prefix length in use, a few microseconds.

mod file;
mod hits;
mod prefixes;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use file::{Prefixes, read_prefixes};
pub use hits::BlockHits;
use hits::Numbers;
use prefixes::PrefixSet;

/// Widest prefix that can be banned. A /8 is 1/256 of the IPv4 Internet, a /16 covers whole IPv6 registries;
/// anything wider is a typing mistake that would cut everybody off. Wider: [`Refusal::TooWide`].
pub const BAN_BITS_MIN_V4: u8 = 8;
/// See [`BAN_BITS_MIN_V4`].
pub const BAN_BITS_MIN_V6: u8 = 16;

/// Sources remembered after their automatic ban ended, so that the next one is longer. 48 bytes each. Full: the
/// one remembered longest is forgotten and starts again with the shortest ban.
pub const PAST_OFFENDERS_MAX: usize = 65_536;

/// Longest reason that is kept, in characters; it is cut there.
pub const REASON_CHARS_MAX: usize = 200;

/// Exempt prefixes named in an answer; there may be more.
const EXEMPT_NAMED_MAX: usize = 16;

/// Who set a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The node itself, because of repeated offences.
    Auto,
    /// A person or program through the management API.
    Api,
    /// The configuration or a list file: no expiry, goes when it is removed there.
    Config,
    /// Another node or the orchestrator.
    Fleet,
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Whom it covers.
    pub prefix: IpNet,
    /// Who set it.
    pub origin: Origin,
    /// Why, for people.
    pub reason: String,
    /// When it was set.
    #[serde(with = "file::seconds")]
    pub since: SystemTime,
    /// When it ends; `None` = never by itself.
    #[serde(with = "file::seconds_optional")]
    pub until: Option<SystemTime>,
    /// How often it was set or set again.
    pub hits: u64,
}

/// A ban to be set.
#[derive(Clone, Debug)]
pub struct BanRequest {
    /// Whom it covers.
    pub prefix: IpNet,
    /// Who sets it.
    pub origin: Origin,
    /// Why.
    pub reason: String,
    /// How long; `None` = the default of its origin.
    pub duration: Option<Duration>,
}

/// A ban that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banned {
    /// The ban as it stands now.
    pub ban: Ban,
    /// Allowlisted prefixes inside it, which stay exempt; some of them when there are many.
    pub exempt: Vec<IpNet>,
}

/// Why a ban was not set or lifted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It lies inside the allowlist.
    #[error("{prefix} is not banned: the allowlist has {by} ({why})")]
    Allowlisted {
        /// What was asked for.
        prefix: IpNet,
        /// The entry that covers it.
        by: IpNet,
        /// Why that is there.
        why: String,
    },
    /// It is wider than anybody means.
    #[error("{prefix} is too wide: at least /{bits_min} for this address family")]
    TooWide {
        /// What was asked for.
        prefix: IpNet,
        /// Shortest prefix length allowed.
        bits_min: u8,
    },
    /// The lists are full of entries that must not be displaced.
    #[error("the lists hold their maximum of {entries_max} entries and none is an automatic ban")]
    Full {
        /// The limit, `[lists] max_entries`.
        entries_max: usize,
    },
    /// No such ban.
    #[error("{prefix} is not banned")]
    NotBanned {
        /// What was asked for.
        prefix: IpNet,
    },
    /// It comes from the configuration and goes only there.
    #[error(
        "{prefix} is blocked by the configuration ([lists] block or block_path); remove it there and reload"
    )]
    Configured {
        /// What was asked for.
        prefix: IpNet,
    },
}

/// What the store is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where bans are kept; `None` = only in memory.
    pub path: Option<PathBuf>,
    /// Prefixes never banned, each with the reason it is there ("allowlist", "backend web-1", "own address").
    pub allow: Vec<(IpNet, String)>,
    /// Prefixes always blocked.
    pub block: Vec<IpNet>,
    /// Entries of all lists together.
    pub entries_max: usize,
    /// First automatic ban.
    pub ban_time: Duration,
    /// Longest automatic ban.
    pub ban_time_max: Duration,
    /// Ban that names no length.
    pub manual_ban_time: Duration,
}

/// Everything at one moment, for workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Grows with every change.
    pub generation: u64,
    /// Never dropped.
    pub allow: Vec<IpNet>,
    /// Dropped, with the time left; `None` = for ever.
    pub block: Vec<(IpNet, Option<Duration>)>,
    /// Where each of these is counted, in the same order; what is missing is counted in common.
    pub numbers: Vec<u32>,
}

/// One step that brings a copy up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Drop these, for that long or for ever.
    Block(IpNet, Option<Duration>),
    /// No longer dropped.
    Unblock(IpNet),
}

/// The steps since the last call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// These, one per prefix. The allowlist is not among them: a change of it changes everything.
    Steps(Vec<Change>),
    /// So many that copies are to be made anew from [`Lists::view`].
    Everything,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Past {
    strikes: u32,
    #[serde(with = "file::seconds")]
    ended: SystemTime,
}

/// The store.
#[derive(Debug)]
pub struct Lists {
    settings: Settings,
    allow: PrefixSet,
    allow_reasons: BTreeMap<IpNet, String>,
    configured: BTreeSet<IpNet>,
    bans: BTreeMap<IpNet, Ban>,
    past: BTreeMap<IpNet, Past>,
    numbers: Numbers,
    /// What copies do not know yet.
    changed: BTreeSet<IpNet>,
    changed_all: bool,
    generation: u64,
    saved_generation: u64,
    displaced: u64,
}

impl Lists {
    /// A store with the bans of its file that are still in force, and what was wrong with the file, if anything.
    /// A damaged file never stops a node: it is set aside and the last good copy is used.
    pub fn open(settings: Settings, now: SystemTime) -> (Self, Vec<String>) {
        let mut lists = Self {
            allow: PrefixSet::default(),
            allow_reasons: BTreeMap::new(),
            configured: BTreeSet::new(),
            bans: BTreeMap::new(),
            past: BTreeMap::new(),
            numbers: Numbers::default(),
            changed: BTreeSet::new(),
            changed_all: true,
            generation: 1,
            saved_generation: 0,
            displaced: 0,
            settings,
        };
        lists.adopt_settings();
        let mut warnings = Vec::new();
        if let Some(path) = lists.settings.path.clone() {
            let stored = file::load(&path, &mut warnings);
            lists.restore(stored, now, &mut warnings);
        }
        (lists, warnings)
    }

    fn restore(&mut self, stored: file::Stored, now: SystemTime, warnings: &mut Vec<String>) {
        let room = self.settings.entries_max.saturating_sub(self.len());
        let mut lost = 0usize;
        for ban in stored.bans {
            if ban.until.is_some_and(|until| until <= now) || self.allow.covering(&ban.prefix).is_some() {
                continue;
            }
            if self.bans.len() < room {
                self.bans.insert(ban.prefix, ban);
            } else {
                lost += 1;
            }
        }
        if lost > 0 {
            warnings.push(format!("{lost} stored bans exceed [lists] max_entries and were left out"));
        }
        self.number_all();
        self.past = stored.past.into_iter().take(PAST_OFFENDERS_MAX).map(|p| (p.prefix, p.past)).collect();
    }

    /// Takes new settings (at reload). Bans stay, except those that the new allowlist covers.
    pub fn reload(&mut self, settings: Settings) {
        self.settings = settings;
        self.adopt_settings();
        let allow = &self.allow;
        self.bans.retain(|prefix, _| allow.covering(prefix).is_none());
        self.number_all();
        self.touch_all();
    }

    fn adopt_settings(&mut self) {
        self.allow = self.settings.allow.iter().map(|(prefix, _)| *prefix).collect();
        self.allow_reasons = self.settings.allow.iter().cloned().collect();
        self.configured = self.settings.block.iter().copied().collect();
    }

    /// Sets a ban, or renews it: the later end holds, unless a person says otherwise.
    ///
    /// # Errors
    /// When the allowlist covers it, it is too wide, or there is no room.
    pub fn ban(&mut self, request: BanRequest, now: SystemTime) -> Result<Banned, Refusal> {
        let prefix = request.prefix.trunc();
        let bits_min = if prefix.addr().is_ipv4() { BAN_BITS_MIN_V4 } else { BAN_BITS_MIN_V6 };
        if prefix.prefix_len() < bits_min {
            return Err(Refusal::TooWide { prefix, bits_min });
        }
        if let Some(by) = self.allow.covering(&prefix) {
            let why = self.allow_reasons.get(&by).cloned().unwrap_or_default();
            return Err(Refusal::Allowlisted { prefix, by, why });
        }
        let until = now.checked_add(self.length(&request, prefix));
        let exempt = self.allow.within(&prefix, EXEMPT_NAMED_MAX);
        let reason = request.reason.chars().take(REASON_CHARS_MAX).collect();
        if let Some(ban) = self.bans.get_mut(&prefix) {
            ban.hits = ban.hits.saturating_add(1);
            let later = ban.until.is_some_and(|old| until.is_none_or(|new| new > old));
            if later || request.origin == Origin::Api {
                ban.until = until;
                ban.reason = reason;
                // An automatic renewal never turns a person's ban into one that may be displaced.
                if request.origin != Origin::Auto {
                    ban.origin = request.origin;
                }
            }
            let ban = ban.clone();
            self.touch(prefix);
            return Ok(Banned { ban, exempt });
        }
        self.make_room()?;
        let ban = Ban { prefix, origin: request.origin, reason, since: now, until, hits: 1 };
        self.bans.insert(prefix, ban.clone());
        self.touch(prefix);
        Ok(Banned { ban, exempt })
    }

    /// How long a ban is to be: an automatic one doubles for a source that was banned before.
    fn length(&self, request: &BanRequest, prefix: IpNet) -> Duration {
        if let Some(duration) = request.duration {
            return duration;
        }
        match request.origin {
            Origin::Auto => {
                let strikes = self.past.get(&prefix).map_or(0, |past| past.strikes);
                let factor = 1u32.checked_shl(strikes.min(30)).unwrap_or(u32::MAX);
                self.settings.ban_time.saturating_mul(factor).min(self.settings.ban_time_max)
            }
            Origin::Api | Origin::Config | Origin::Fleet => self.settings.manual_ban_time,
        }
    }

    fn make_room(&mut self) -> Result<(), Refusal> {
        if self.len() < self.settings.entries_max {
            return Ok(());
        }
        let first = self.bans.values().filter(|ban| ban.origin == Origin::Auto).min_by_key(|ban| ban.until);
        let prefix =
            first.map(|ban| ban.prefix).ok_or(Refusal::Full { entries_max: self.settings.entries_max })?;
        self.bans.remove(&prefix);
        self.displaced += 1;
        self.touch(prefix);
        Ok(())
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// When there is none, or it stands in the configuration.
    pub fn unban(&mut self, prefix: IpNet) -> Result<Ban, Refusal> {
        let prefix = prefix.trunc();
        let Some(ban) = self.bans.remove(&prefix) else {
            let configured = self.configured.contains(&prefix);
            return Err(if configured {
                Refusal::Configured { prefix }
            } else {
                Refusal::NotBanned { prefix }
            });
        };
        self.past.remove(&prefix);
        self.touch(prefix);
        Ok(ban)
    }

    /// Sets a ban exactly as given, in place of the one of its prefix: what a fleet agreed upon.
    ///
    /// # Errors
    /// When the allowlist covers it, it is too wide, or there is no room.
    pub fn hold(&mut self, ban: Ban) -> Result<(), Refusal> {
        let prefix = ban.prefix.trunc();
        let bits_min = if prefix.addr().is_ipv4() { BAN_BITS_MIN_V4 } else { BAN_BITS_MIN_V6 };
        if prefix.prefix_len() < bits_min {
            return Err(Refusal::TooWide { prefix, bits_min });
        }
        if let Some(by) = self.allow.covering(&prefix) {
            let why = self.allow_reasons.get(&by).cloned().unwrap_or_default();
            return Err(Refusal::Allowlisted { prefix, by, why });
        }
        match self.bans.get(&prefix) {
            Some(held) if held.until == ban.until && held.origin == ban.origin => return Ok(()),
            Some(_) => {}
            None => self.make_room()?,
        }
        let reason = ban.reason.chars().take(REASON_CHARS_MAX).collect();
        let hits = self.bans.get(&prefix).map_or(ban.hits, |held| held.hits);
        self.bans.insert(prefix, Ban { prefix, reason, hits, ..ban });
        self.touch(prefix);
        Ok(())
    }

    /// Takes a ban out that the fleet lifted; `false`: there is none.
    pub fn release(&mut self, prefix: IpNet) -> bool {
        let is_there = self.bans.remove(&prefix.trunc()).is_some();
        if is_there {
            self.touch(prefix.trunc());
        }
        is_there
    }

    /// Whether a prefix is banned here, by a ban or by the configuration.
    pub fn is_blocked(&self, prefix: &IpNet) -> bool {
        self.bans.contains_key(prefix) || self.configured.contains(prefix)
    }

    /// Removes bans whose time is over and returns them. To be called about once a second.
    pub fn expire(&mut self, now: SystemTime) -> Vec<Ban> {
        let over = |ban: &Ban| ban.until.is_some_and(|until| until <= now);
        let ended: Vec<Ban> = self.bans.values().filter(|ban| over(ban)).cloned().collect();
        for ban in &ended {
            self.bans.remove(&ban.prefix);
            self.touch(ban.prefix);
            if ban.origin == Origin::Auto {
                self.remember(ban.prefix, now);
            }
        }
        // Whoever behaved for as long as the longest ban starts anew.
        let memory = self.settings.ban_time_max;
        self.past.retain(|_, past| now.duration_since(past.ended).is_ok_and(|age| age < memory));
        ended
    }

    fn remember(&mut self, prefix: IpNet, now: SystemTime) {
        if self.past.len() >= PAST_OFFENDERS_MAX && !self.past.contains_key(&prefix) {
            let oldest = self.past.iter().min_by_key(|(_, past)| past.ended).map(|(prefix, _)| *prefix);
            if let Some(oldest) = oldest {
                self.past.remove(&oldest);
            }
        }
        let past = self.past.entry(prefix).or_insert(Past { strikes: 0, ended: now });
        past.strikes = past.strikes.saturating_add(1);
        past.ended = now;
    }

    /// The allowlist entry that covers a prefix.
    pub fn allowlisted(&self, prefix: &IpNet) -> Option<IpNet> {
        self.allow.covering(prefix)
    }

    /// All bans, by prefix.
    pub fn bans(&self) -> impl Iterator<Item = &Ban> {
        self.bans.values()
    }

    /// Prefixes blocked by the configuration.
    pub fn configured(&self) -> impl Iterator<Item = IpNet> {
        self.configured.iter().copied()
    }

    /// Blocked prefixes: bans and the configuration's.
    pub fn blocked_len(&self) -> usize {
        self.bans.len() + self.configured.len()
    }

    /// Entries of all lists.
    pub fn len(&self) -> usize {
        self.blocked_len() + self.allow.len()
    }

    /// Whether all lists are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Automatic bans that made room for others since the start.
    pub fn displaced(&self) -> u64 {
        self.displaced
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Everything as it is now.
    pub fn view(&self, now: SystemTime) -> View {
        let mut block: Vec<_> = self.configured.iter().map(|prefix| (*prefix, None)).collect();
        let bans = self.bans.values().filter(|ban| !self.configured.contains(&ban.prefix));
        block.extend(bans.filter_map(|ban| Some((ban.prefix, left(ban, now)?))));
        let numbers = block.iter().map(|(prefix, _)| self.numbers.number(prefix)).collect();
        View { generation: self.generation, allow: self.allow.iter().collect(), block, numbers }
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self, now: SystemTime) -> Changes {
        if core::mem::take(&mut self.changed_all) {
            self.changed.clear();
            return Changes::Everything;
        }
        let changed = core::mem::take(&mut self.changed);
        let step = |prefix: IpNet| match self.bans.get(&prefix) {
            _ if self.configured.contains(&prefix) => Change::Block(prefix, None),
            Some(ban) => left(ban, now).map_or(Change::Unblock(prefix), |left| Change::Block(prefix, left)),
            None => Change::Unblock(prefix),
        };
        Changes::Steps(changed.into_iter().map(step).collect())
    }

    fn touch(&mut self, prefix: IpNet) {
        self.generation += 1;
        self.numbers.note(prefix, self.bans.contains_key(&prefix));
        // Past this, making copies anew is cheaper than following.
        if self.changed.len() >= self.settings.entries_max {
            self.changed_all = true;
        }
        if !self.changed_all {
            self.changed.insert(prefix);
        }
    }

    /// Gives every ban its number, and takes them from what is none any more.
    fn number_all(&mut self) {
        for prefix in self.numbers.prefixes() {
            self.numbers.note(prefix, self.bans.contains_key(&prefix));
        }
        for prefix in self.bans.keys() {
            self.numbers.note(*prefix, true);
        }
    }

    /// Where workers count what bans dropped.
    pub fn set_hits(&mut self, hits: Arc<BlockHits>) {
        self.numbers.set_hits(hits);
    }

    /// What workers dropped for a ban.
    pub fn hits(&self, prefix: &IpNet) -> u64 {
        self.numbers.hits(prefix)
    }

    fn touch_all(&mut self) {
        self.generation += 1;
        self.changed_all = true;
    }

    /// Whether something changed since it was saved.
    pub fn is_unsaved(&self) -> bool {
        self.settings.path.is_some() && self.saved_generation != self.generation
    }

    /// Writes bans to their file: a new file, synced, renamed over the old one, which is kept as a copy.
    ///
    /// # Errors
    /// When the file system refuses; the old file is intact then.
    pub fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.settings.path.clone() else { return Ok(()) };
        file::save(&path, self.bans.values(), &self.past)?;
        self.saved_generation = self.generation;
        Ok(())
    }
}

/// Time left of a ban: `None` when it is over, `Some(None)` when it never is.
#[expect(clippy::option_option, reason = "the outer one is whether, the inner one how long")]
fn left(ban: &Ban, now: SystemTime) -> Option<Option<Duration>> {
    match ban.until {
        None => Some(None),
        Some(until) => until.duration_since(now).ok().filter(|left| !left.is_zero()).map(Some),
    }
}

#[cfg(test)]
mod tests;
