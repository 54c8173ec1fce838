//! The rules of a filter, compiled: the first one whose conditions all hold decides.
//!
//! Owns: compiled rules and their limits, the choice between few rules tried one after another (`conditions`) and many
//! that are found by sets (`sets`). Does not own: what a rule is (`rules`), the lists (`Filter`).
//!
//! Cost per packet: with 10,000 rules as people write them 60 ns, with the worst ones 2 us (4 with all that fit). No
//! allocation, no lock. Memory: some 100 bytes a rule, at most [`MEMORY_BYTES_MAX`]. Compiling 10,000 rules takes 5 to
//! 50 ms.

use super::classes::Budget;
use super::conditions::{Conditions, FEW_RULES_MAX};
use super::rules::{Action, Rule, RuleId};
use super::sets::Sets;
use super::{Error, RULES_MAX};
use crate::wire::Headers;

/// Most prefixes in the source conditions of all rules together, and in the destination conditions: as many as the
/// Internet's routing table has. More: [`Error::TooManyRulePrefixes`].
pub const RULE_PREFIXES_MAX: usize = 1 << 20;

/// Most memory of compiled rules: 128 MiB. What needs it is conditions that overlap in ever new ways, up to 2 KiB for
/// each end of a range: a different port range in each of 16,384 rules needs 65 MiB, where hosts and networks need
/// less than 2. More: [`Error::TooMuchMemory`].
pub const MEMORY_BYTES_MAX: usize = 128 << 20;

/// Compiled rules.
#[derive(Debug)]
pub struct Rules {
    actions: Box<[Action]>,
    search: Search,
    bytes: usize,
}

#[derive(Debug)]
enum Search {
    OneByOne(Box<[Conditions]>),
    Sets(Box<Sets>),
}

impl Rules {
    /// Compiles rules.
    ///
    /// # Errors
    /// When there are too many of them or their prefixes, or they would need too much memory.
    pub fn new(rules: &[Rule]) -> Result<Self, Error> {
        if rules.len() > RULES_MAX {
            return Err(Error::TooManyRules);
        }
        let sources: usize = rules.iter().map(|rule| rule.sources.len()).sum();
        let destinations: usize = rules.iter().map(|rule| rule.destinations.len()).sum();
        if sources.max(destinations) > RULE_PREFIXES_MAX {
            return Err(Error::TooManyRulePrefixes);
        }
        let mut budget = Budget(MEMORY_BYTES_MAX);
        let actions: Box<[Action]> = rules.iter().map(|rule| rule.action).collect();
        budget.take(size_of_val(&*actions))?;
        let search = if rules.len() <= FEW_RULES_MAX {
            Search::OneByOne(
                rules.iter().map(|rule| Conditions::new(rule, &mut budget)).collect::<Result<_, _>>()?,
            )
        } else {
            Search::Sets(Box::new(Sets::new(rules, &mut budget)?))
        };
        Ok(Self { actions, search, bytes: MEMORY_BYTES_MAX - budget.0 })
    }

    /// No rules.
    pub fn none() -> Self {
        Self { actions: Box::default(), search: Search::OneByOne(Box::default()), bytes: 0 }
    }

    /// Number of rules.
    pub fn count(&self) -> usize {
        self.actions.len()
    }

    /// Memory of the compiled rules, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first rule whose conditions all hold.
    #[inline]
    pub(super) fn first_match(&self, headers: &Headers) -> Option<(RuleId, &Action)> {
        let at = match &self.search {
            Search::OneByOne(rules) => rules.iter().position(|rule| rule.hold(headers))?,
            Search::Sets(sets) => sets.first_match(headers)?,
        };
        Some((RuleId(at as u16), self.actions.get(at)?))
    }
}
