//! Who may pass: allowlist, blocklist with expiry, ordered rules. In this order, so that a source on the allowlist is
//! never dropped by list, rule or limit.
//!
//! Owns: the compiled, immutable [`Filter`] and its verdicts. Does not own: the lists' persistence and merging, the
//! limiter that a `Limit` rule refers to, counters ([`RuleCounters`] are the caller's, one per worker). ICMP is never
//! dropped here: an error about our own packets and neighbour discovery must come through whatever the lists say.
//!
//! Cost: allowlist and blocklist are one range search each (`lpm`, 10 to 60 ns; an empty list nothing). Up to four
//! rules are tried in order, 1 to 10 ns each; more together take one range search for each field that any has a
//! condition on, and a look at the rules that may match: 20 to 60 ns for any number of rules as people write them, 2 us
//! for the worst 10,000 (`table`). No allocation, no lock. Lists are built anew with every change, rules only when they
//! change ([`Filter::with_rules`]).
//!
//! **Fragments**: rules with ports do not match fragments that carry none. That is no way round a drop rule: its
//! first fragment is dropped, and without it no datagram is ever complete.

mod classes;
mod conditions;
pub mod lpm;
mod ranges;
mod rules;
mod sets;
mod table;

use core::fmt;
use core::net::IpAddr;
use std::sync::Arc;

pub use lpm::{Lpm, PREFIXES_MAX, Prefix};
pub use rules::{Action, Rule, RuleCount, RuleCounters, RuleId};
pub use table::{MEMORY_BYTES_MAX, RULE_PREFIXES_MAX, Rules};

use crate::limit::RateLimit;
use crate::time::Instant;
use crate::wire::{Headers, protocol};

/// Rules of a filter: more than the 10,000 that a fleet gives to a node, and as many as two levels of 256 and 64 bits
/// tell apart (`classes`). More: [`Error::TooManyRules`].
pub const RULES_MAX: usize = 16_384;

/// A blocklist entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whom it covers.
    pub prefix: Prefix,
    /// When it ends; `None` = never. After that a shorter entry around it holds again.
    pub expires: Option<Instant>,
    /// The caller's number for why it is there; comes back in the verdict.
    pub reason: u32,
}

/// What a filter is made of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Never dropped.
    pub allow: Vec<Prefix>,
    /// Dropped until they expire.
    pub block: Vec<Block>,
    /// The first that matches decides; what no rule matches passes.
    pub rules: Vec<Rule>,
}

/// Why a filter could not be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A list has more than [`PREFIXES_MAX`] prefixes.
    TooManyPrefixes,
    /// There are more than [`RULES_MAX`] rules.
    TooManyRules,
    /// The rules' sources or destinations are more than [`RULE_PREFIXES_MAX`] prefixes.
    TooManyRulePrefixes,
    /// The rules would need more than [`MEMORY_BYTES_MAX`] bytes.
    TooMuchMemory,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyPrefixes => write!(f, "a list has more than {PREFIXES_MAX} prefixes"),
            Self::TooManyRules => write!(f, "there are more than {RULES_MAX} filter rules"),
            Self::TooManyRulePrefixes => write!(
                f,
                "the filter rules have more than {RULE_PREFIXES_MAX} sources or destinations; put long lists of \
                 sources into the blocklist"
            ),
            Self::TooMuchMemory => write!(
                f,
                "the filter rules need more than {} MiB of memory, because their ranges of ports or addresses \
                 overlap in too many ways; use fewer rules, or ranges that are equal or apart",
                MEMORY_BYTES_MAX >> 20
            ),
        }
    }
}

impl core::error::Error for Error {}

/// What the lists say about a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Listed {
    /// On the allowlist, whatever else covers it.
    Allowed,
    /// On the blocklist.
    Blocked {
        /// [`Block::reason`] of the entry.
        reason: u32,
    },
    /// On neither.
    No,
}

/// What the filter says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict<'a> {
    /// From an allowlisted source: no limit applies either.
    Exempt,
    /// Drop: on the blocklist.
    Blocked {
        /// [`Block::reason`] of the entry.
        reason: u32,
    },
    /// Drop: this rule says so.
    Drop(RuleId),
    /// Pass as long as the source keeps this rule's limit. The caller asks its limiter, with the rule's number and
    /// the source as key.
    Limit(RuleId, &'a RateLimit),
    /// Pass: this rule says so, and no later one is asked.
    Allow(RuleId),
    /// Pass: nothing was said.
    Pass,
}

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    allow: Lpm<()>,
    block: Lpm<Blocked>,
    /// Shared with the filters before and after this one whose rules are the same.
    rules: Arc<Rules>,
}

#[derive(Clone, Copy, Debug)]
struct Blocked {
    /// `u64::MAX` nanoseconds = never; 584 years.
    expires: Instant,
    reason: u32,
}

impl Filter {
    /// Compiles lists and rules.
    ///
    /// # Errors
    /// When a list or the rules are over a limit.
    pub fn new(parts: Parts) -> Result<Self, Error> {
        let rules = Arc::new(Rules::new(&parts.rules)?);
        Self::with_rules(&parts.allow, &parts.block, rules)
    }

    /// Compiles lists, with rules that are compiled already.
    ///
    /// # Errors
    /// When a list is over its limit.
    pub fn with_rules(allow: &[Prefix], block: &[Block], rules: Arc<Rules>) -> Result<Self, Error> {
        let never = Instant::from_nanos(u64::MAX);
        let block = block.iter().map(|block| {
            let expires = block.expires.unwrap_or(never);
            (block.prefix, Blocked { expires, reason: block.reason })
        });
        Ok(Self {
            allow: Lpm::new(allow.iter().map(|prefix| (*prefix, ())))?,
            block: Lpm::new(block)?,
            rules,
        })
    }

    /// A filter that lets everything pass.
    pub fn open() -> Self {
        Self { allow: Lpm::empty(), block: Lpm::empty(), rules: Arc::new(Rules::none()) }
    }

    /// The rules, for a filter with other lists.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Number of rules.
    pub fn rules_count(&self) -> usize {
        self.rules.count()
    }

    /// What the lists say about a source, without the rules: for fragments before they are whole, and for what is
    /// not a packet.
    #[inline]
    pub fn listed(&self, source: IpAddr, now: Instant) -> Listed {
        if self.is_allowed(source) {
            return Listed::Allowed;
        }
        match self.block.find(source, |blocked| blocked.expires > now) {
            Some(blocked) => Listed::Blocked { reason: blocked.reason },
            None => Listed::No,
        }
    }

    /// Whether a source is on the allowlist.
    #[inline]
    pub fn is_allowed(&self, source: IpAddr) -> bool {
        self.allow.contains(source)
    }

    /// What lists and rules say about a packet.
    #[inline]
    pub fn judge(&self, headers: &Headers, now: Instant) -> Verdict<'_> {
        match self.listed(headers.source, now) {
            Listed::Allowed => return Verdict::Exempt,
            _ if matches!(headers.protocol, protocol::ICMP | protocol::ICMPV6) => return Verdict::Pass,
            Listed::Blocked { reason } => return Verdict::Blocked { reason },
            Listed::No => {}
        }
        let Some((id, action)) = self.rules.first_match(headers) else {
            return Verdict::Pass;
        };
        match action {
            Action::Allow => Verdict::Allow(id),
            Action::Drop => Verdict::Drop(id),
            Action::Limit(limit) => Verdict::Limit(id, limit),
        }
    }
}
