//! Which rules a directive or `ctl` means.
//!
//! Owns: [`Described`], who a rule is, and [`Wanted`], by what rules are meant. A chain is meant as a whole.

use super::RuleBits;
use crate::seclang::ast::IdRange;

/// What selects rules of a compiled set.
pub(crate) struct Described {
    pub(crate) id: u64,
    pub(crate) tags: Vec<String>,
    pub(crate) message: Option<String>,
    pub(crate) head: usize,
    pub(crate) links: usize,
}

impl core::fmt::Debug for Described {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "rule {}", self.id)
    }
}

/// What rules are meant by.
pub(crate) enum Wanted<'a> {
    Ids(&'a [IdRange]),
    Tag(&'a str),
    Message(&'a str),
}

impl Wanted<'_> {
    fn takes(&self, rule: &Described) -> bool {
        match self {
            Self::Ids(ranges) => ranges.iter().any(|range| range.contains(rule.id)),
            Self::Tag(tag) => rule.tags.iter().any(|own| own == tag),
            Self::Message(message) => rule.message.as_deref() == Some(message),
        }
    }

    /// The rules meant, a bit each; `count` is that of all rules, links included.
    pub(crate) fn bits(&self, rules: &[Described], count: usize) -> RuleBits {
        let mut bits = vec![0_u64; count.div_ceil(64)].into_boxed_slice();
        for rule in rules.iter().filter(|rule| self.takes(rule)) {
            for index in rule.head..=rule.head + rule.links {
                bits[index / 64] |= 1 << (index % 64);
            }
        }
        bits
    }
}
