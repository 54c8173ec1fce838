//! What is asked first of the rules of a phase, packed.
//!
//! Owns: [`Brief`]s in the order of the rules, and the conditions that values must meet, in one piece of memory. A
//! request goes past some six hundred rules, nearly all of which say no at once; reading only this keeps them in the
//! cache. Does not own: rules; whoever is not answered here is asked in full.

use super::rule::{Comparison, Disruption, Number, Rule, Skip, Test, TxRead};
use super::target::{Group, TargetList};
use crate::byte_set::ByteSet;
use crate::operator::prefilter::{Need, folded};
use crate::operator::rx::Rx;

/// A rule, briefly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brief {
    /// Index of the rule.
    pub(crate) head: u32,
    pub(crate) kind: Kind,
}

/// How a rule is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It compares a `TX` number and, if that holds, only steers where to go on.
    Steer { read: TxRead, comparison: Comparison, is_negated: bool, argument: Number, skip: Skip },
    /// It looks at values, which must have something.
    Look(Look),
    /// It is asked in full.
    Full,
}

/// What some value of a group must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) group: u32,
    bytes_min: u32,
    clauses: u32,
    clauses_len: u32,
    /// `u32::MAX`: no literal is needed.
    pub(crate) hit: u32,
}

/// A clause of a need; its choices are a range.
#[derive(Clone, Copy, Debug)]
struct Clause {
    all: ByteSet,
    choices: u32,
    choices_len: u32,
}

/// Briefs of all phases with their conditions.
#[derive(Debug, Default)]
pub(crate) struct Briefs {
    phases: [Vec<Brief>; 5],
    clauses: Vec<Clause>,
    choices: Vec<ByteSet>,
}

impl Briefs {
    pub(super) fn new(
        phases: &[Vec<u32>; 5],
        rules: &[Rule],
        groups: &[Group],
        lists: &[TargetList],
        expressions: &[Rx],
    ) -> Self {
        let mut briefs = Self::default();
        for (phase, heads) in phases.iter().enumerate() {
            for head in heads {
                let rule = &rules[*head as usize];
                let kind = briefs.kind(rule, groups, lists, expressions);
                briefs.phases[phase].push(Brief { head: *head, kind });
            }
        }
        briefs
    }

    fn kind(&mut self, rule: &Rule, groups: &[Group], lists: &[TargetList], expressions: &[Rx]) -> Kind {
        if let Test::TxNumber { read, comparison, argument } = rule.test {
            let is_steering = rule.links == 0
                && rule.effects.is_empty()
                && rule.severity.is_none()
                && !rule.is_logged
                && !rule.is_audited
                && matches!(rule.disruption, Disruption::Pass);
            if is_steering {
                let is_negated = rule.is_negated;
                return Kind::Steer { read, comparison, is_negated, argument, skip: rule.skip };
            }
            return Kind::Full;
        }
        let is_asked = matches!(rule.test, Test::Rx(_) | Test::Operator(..));
        if !is_asked || rule.is_negated || rule.is_multi_match {
            return Kind::Full;
        }
        if lists[groups[rule.group as usize].list as usize].is_volatile {
            return Kind::Full;
        }
        let need = match rule.test {
            Test::Rx(number) => expressions[number as usize].need().clone(),
            _ => Need::nothing(),
        };
        let clauses = self.clauses.len() as u32;
        for clause in &need.clauses {
            let choices = self.choices.len() as u32;
            self.choices.extend_from_slice(&clause.choices);
            self.choices.extend(rule.needed.map(folded));
            let choices_len = self.choices.len() as u32 - choices;
            self.clauses.push(Clause { all: clause.all, choices, choices_len });
        }
        Kind::Look(Look {
            group: rule.group,
            bytes_min: need.bytes_min as u32,
            clauses,
            clauses_len: self.clauses.len() as u32 - clauses,
            hit: rule.hit.unwrap_or(u32::MAX),
        })
    }

    /// The rules of a phase (0-4), in order.
    #[inline]
    pub(crate) fn of(&self, phase: usize) -> &[Brief] {
        &self.phases[phase]
    }

    /// Whether values that are at most so long and have these bytes together ([`folded`]) may hold what is needed;
    /// literals are asked elsewhere.
    #[inline]
    pub(crate) fn may_match(&self, look: &Look, len_max: usize, presence: &ByteSet) -> bool {
        let start = look.clauses as usize;
        len_max >= look.bytes_min as usize
            && self.clauses[start..start + look.clauses_len as usize].iter().any(|clause| {
                let choices = clause.choices as usize;
                presence.covers(&clause.all)
                    && self.choices[choices..choices + clause.choices_len as usize]
                        .iter()
                        .all(|choice| presence.meets(choice))
            })
    }
}
