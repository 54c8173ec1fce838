//! Filter rules: conditions on a packet, tried in order; the first rule whose conditions all hold decides.
//!
//! Owns: what a rule is, how it is compiled and matched, the counters of its hits. Does not own: the order of rules
//! and lists (`Filter::judge`), names of rules (the caller's, by index).

use core::net::IpAddr;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};

use super::lpm::{Lpm, Prefix};
use super::{Error, RULES_MAX};
use crate::limit::RateLimit;
use crate::wire::Headers;

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

/// A rule ready for matching: cheap conditions first.
#[derive(Clone, Debug)]
pub(super) struct CompiledRule {
    pub(super) action: Action,
    protocol: Option<u8>,
    fragment: Option<bool>,
    source_ports: Box<[(u16, u16)]>,
    destination_ports: Box<[(u16, u16)]>,
    sources: Option<Lpm<()>>,
    destinations: Option<Lpm<()>>,
}

impl CompiledRule {
    pub(super) fn new(rule: Rule) -> Result<Self, Error> {
        let ports =
            |ranges: Vec<RangeInclusive<u16>>| ranges.into_iter().map(RangeInclusive::into_inner).collect();
        let set = |prefixes: Vec<Prefix>| match prefixes.as_slice() {
            [] => Ok(None),
            some => Lpm::new(some.iter().map(|prefix| (*prefix, ()))).map(Some),
        };
        Ok(Self {
            action: rule.action,
            protocol: rule.protocol,
            fragment: rule.fragment,
            source_ports: ports(rule.source_ports),
            destination_ports: ports(rule.destination_ports),
            sources: set(rule.sources)?,
            destinations: set(rule.destinations)?,
        })
    }

    #[inline]
    pub(super) fn matches(&self, headers: &Headers) -> bool {
        self.protocol.is_none_or(|protocol| protocol == headers.protocol)
            && self.fragment.is_none_or(|fragment| fragment == headers.fragment.is_some())
            && ports_match(&self.destination_ports, headers, headers.destination_port)
            && ports_match(&self.source_ports, headers, headers.source_port)
            && addr_matches(self.sources.as_ref(), headers.source)
            && addr_matches(self.destinations.as_ref(), headers.destination)
    }
}

#[inline]
fn ports_match(ranges: &[(u16, u16)], headers: &Headers, port: u16) -> bool {
    if ranges.is_empty() {
        return true;
    }
    headers.flow_key().is_some() && ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
}

#[inline]
fn addr_matches(set: Option<&Lpm<()>>, addr: IpAddr) -> bool {
    set.is_none_or(|set| set.contains(addr))
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
