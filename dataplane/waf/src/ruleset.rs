//! A rule set, compiled once and shared by all workers.
//!
//! Owns: [`Ruleset`] and its parts: rules laid out by phase, the tree of transformations, lists of targets,
//! expressions, literals, interned names of `TX`. Does not own: text ([`crate::seclang`]), or a transaction's data
//! ([`crate::transaction`]). A set never changes; another one takes its place.
//! Cost: compiling the Core Rule Set takes some 0.3 s, mostly expressions; afterwards nothing here allocates.

mod action;
mod brief;
mod compile;
mod exception;
mod literal;
mod name;
mod pipeline;
mod rule;
mod selection;
mod site;
mod target;
mod text;

use std::collections::HashMap;

use crate::operator::rx::Rx;
use crate::seclang::Diagnostics;
use crate::seclang::ast::{Configuration, Phase, Position};
use crate::seclang::settings::Settings;

pub(crate) use brief::{Briefs, Kind as BriefKind, Look};
pub(crate) use literal::{Literals, Side};
pub(crate) use name::{CAPTURE_NAMES, Names, TxId};
pub(crate) use pipeline::{Node, Pipelines, ROOT, Step};
pub(crate) use rule::{
    Comparison, Disruption, Effect, Number, Operation, Rule, RuleControl, Skip, Test, TxKey, TxRead,
};
pub(crate) use selection::Described;
pub use site::{Site, SiteError};
pub(crate) use target::{Group, Include, Select, SelectCache, TargetList};
pub(crate) use text::{Part, Text};

/// Words of a set of rules, a bit each.
pub(crate) type RuleBits = Box<[u64]>;

/// Whether a rule is in a set.
#[inline]
pub(crate) fn has_rule(bits: &[u64], rule: usize) -> bool {
    bits.get(rule / 64).is_some_and(|word| word & (1 << (rule % 64)) != 0)
}

/// A compiled rule set.
#[derive(Debug)]
pub struct Ruleset {
    pub(crate) settings: Settings,
    /// Heads of chains, each followed by its links.
    pub(crate) rules: Vec<Rule>,
    /// By phase, the heads in order.
    pub(crate) phases: [Vec<u32>; 5],
    /// The same, packed: what is asked first.
    pub(crate) briefs: Briefs,
    pub(crate) pipelines: Pipelines,
    pub(crate) lists: Vec<TargetList>,
    /// Pairs of list and pipeline that rules use.
    pub(crate) groups: Vec<Group>,
    pub(crate) names: Names,
    pub(crate) expressions: Vec<Rx>,
    /// By [`Side`].
    pub(crate) literals: [Literals; 2],
    /// What `ctl:ruleRemoveBy...` and the like name.
    pub(crate) selections: Vec<RuleBits>,
    /// Rules by identifier.
    by_id: HashMap<u64, u32>,
    /// Who the rules are, for sites that do without some.
    pub(crate) descriptions: Vec<Described>,
    /// Names of the files it was read from.
    pub(crate) files: Vec<String>,
}

/// A rule as it is shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleView<'a> {
    /// Its number.
    pub id: u64,
    /// Its name, if it has one beside the number (rules of a JSON set).
    pub label: Option<&'a str>,
    /// When it is asked.
    pub phase: Phase,
    /// Its message as written, when it holds no macros.
    pub message: Option<&'a str>,
    /// 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// Its tags without macros.
    pub tags: Tags<'a>,
    /// `ver`.
    pub version: Option<&'a str>,
    /// `rev`.
    pub revision: Option<&'a str>,
    /// `maturity` and `accuracy`.
    pub quality: (Option<u8>, Option<u8>),
    /// Where it stands.
    pub file: &'a str,
    /// The line, from 1.
    pub line: u32,
}

/// Tags of a rule.
#[derive(Clone, Copy)]
pub struct Tags<'a>(&'a [Text]);

impl<'a> Tags<'a> {
    /// Those without macros, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.iter().filter_map(Text::as_str)
    }
}

impl core::fmt::Debug for Tags<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Tags<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Tags<'_> {}

impl Ruleset {
    /// Compiles what was read.
    ///
    /// # Errors
    /// Every rule that cannot be compiled, with file and line.
    pub fn compile(configuration: &Configuration) -> Result<Self, Diagnostics> {
        compile::compile(configuration)
    }

    /// What its directives set.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many rules it has, links of chains not counted.
    #[must_use]
    pub fn rules_len(&self) -> usize {
        self.phases.iter().map(Vec::len).sum()
    }

    /// Its rules, by phase and in order.
    pub fn rules(&self) -> impl Iterator<Item = RuleView<'_>> {
        self.phases.iter().flatten().map(|index| self.view(*index as usize))
    }

    /// A rule by its number.
    #[must_use]
    pub fn rule_by_id(&self, id: u64) -> Option<RuleView<'_>> {
        self.by_id.get(&id).map(|index| self.view(*index as usize))
    }

    /// The tags of a rule, as far as they hold no macros.
    pub fn tags(&self, id: u64) -> impl Iterator<Item = &str> {
        let rule = self.by_id.get(&id).map(|index| &self.rules[*index as usize]);
        rule.into_iter().flat_map(|rule| rule.tags.iter()).filter_map(Text::as_str)
    }

    /// The rule at an index that a match carries.
    pub(crate) fn view(&self, index: usize) -> RuleView<'_> {
        let rule = &self.rules[index];
        RuleView {
            id: rule.id,
            label: rule.label.as_deref(),
            phase: rule.phase,
            message: rule.message.as_ref().and_then(Text::as_str),
            severity: rule.severity,
            tags: Tags(&rule.tags),
            version: rule.version.as_deref(),
            revision: rule.revision.as_deref(),
            quality: (rule.maturity, rule.accuracy),
            file: self.file(rule.position),
            line: rule.position.line,
        }
    }

    fn file(&self, position: Position) -> &str {
        self.files.get(usize::from(position.file)).map_or("", String::as_str)
    }

    /// Memory of the set, bytes, as far as its parts tell.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let expressions: usize = self.expressions.iter().map(Rx::bytes).sum();
        expressions
            + self.literals.iter().map(Literals::bytes).sum::<usize>()
            + self.rules.len() * size_of::<Rule>()
    }
}
