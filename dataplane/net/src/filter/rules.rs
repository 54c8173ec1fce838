//! Filter rules: conditions on a packet, in order; the first rule whose conditions all hold decides.
//!
//! Owns: what a rule is, the counters of its hits (16 bytes a rule and worker, two stores a hit). Does not own: how
//! rules are compiled and matched (`table`), the order of rules and lists (`Filter::judge`), names of rules (the
//! caller's, by index).

use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};

use super::RULES_MAX;
use super::lpm::Prefix;
use crate::limit::RateLimit;

/// A rule by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u16);

/// What happens to a packet that matches a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Pass, and try no further rule. Limits still apply.
    Allow,
    /// Drop.
    Drop,
    /// Pass as long as each source keeps this limit.
    Limit(RateLimit),
}

/// A rule as it is written. Empty lists and `None` match anything.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What happens.
    pub action: Action,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Where the packet comes from: in any of these.
    pub sources: Vec<Prefix>,
    /// Where it goes: in any of these.
    pub destinations: Vec<Prefix>,
    /// Its source port: in any of these. A packet without ports does not match.
    pub source_ports: Vec<RangeInclusive<u16>>,
    /// Its destination port: in any of these. A packet without ports does not match.
    pub destination_ports: Vec<RangeInclusive<u16>>,
    /// Whether it is a fragment.
    pub fragment: Option<bool>,
}

impl Rule {
    /// A rule that matches everything.
    pub const fn any(action: Action) -> Self {
        Self {
            action,
            protocol: None,
            sources: Vec::new(),
            destinations: Vec::new(),
            source_ports: Vec::new(),
            destination_ports: Vec::new(),
            fragment: None,
        }
    }
}

/// Packets and bytes that matched a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCount {
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
}

/// Hits per rule of one worker: written by the worker, read by anyone. They start again at zero with a new filter,
/// whose rules may be others.
#[derive(Debug)]
pub struct RuleCounters(Box<[[AtomicU64; 2]]>);

impl RuleCounters {
    /// Counters for `rules` rules, at most [`RULES_MAX`].
    pub fn new(rules: usize) -> Self {
        Self((0..rules.min(RULES_MAX)).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect())
    }

    /// Counts a packet of `bytes` bytes that matched a rule. A rule that is not there is not counted.
    #[inline]
    pub fn count(&self, rule: RuleId, bytes: usize) {
        if let Some([packets, total]) = self.0.get(usize::from(rule.0)) {
            // One writer: a load and a store are enough, and cheaper than a locked addition.
            packets.store(packets.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            total.store(total.load(Ordering::Relaxed).wrapping_add(bytes as u64), Ordering::Relaxed);
        }
    }

    /// What matched a rule so far.
    pub fn of(&self, rule: RuleId) -> RuleCount {
        self.0.get(usize::from(rule.0)).map_or_else(RuleCount::default, |[packets, bytes]| RuleCount {
            packets: packets.load(Ordering::Relaxed),
            bytes: bytes.load(Ordering::Relaxed),
        })
    }
}
