//! What is hidden from logs, and what is taken out of a request.
//!
//! Owns: `sanitise...` of SecLang, which hides values in the audit log, and the action `sanitize` of JSON rules, which
//! takes what matched out of an argument, a cookie or a field. The request is then written anew from what is left.

use super::Transaction;
use super::evaluate::Evaluation;
use super::value::ValueId;
use super::workspace::Seen;
use crate::ruleset::{Rule, Ruleset, Test};
use crate::variable::Variable;

/// Most values hidden or changed: beyond, the request is refused rather than half cleaned.
const REMOVALS_MAX: usize = 64;
/// How often what is left is looked at again: taking a match out can make another.
const ROUNDS_MAX: usize = 8;

/// What the audit log does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Masked {
    /// An argument of this name, in lower case.
    Argument(Box<str>),
    RequestHeader(Box<str>),
    ResponseHeader(Box<str>),
    /// This value.
    Value(ValueId),
}

/// A value that loses what matched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removal {
    /// Number of the expression.
    expression: u32,
    variable: Variable,
    name: Option<ValueId>,
}

/// A value of a request and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned<'a> {
    /// Where it came from: `ARGS_GET`, `ARGS_POST`, `REQUEST_COOKIES`, `REQUEST_HEADERS`.
    pub variable: Variable,
    /// Its name.
    pub name: &'a [u8],
    /// What it was.
    pub before: &'a [u8],
    /// What is left.
    pub after: Vec<u8>,
}

impl Evaluation<'_> {
    pub(super) fn mask(&mut self, masked: Masked) {
        let list = &mut self.tx.outcome.sanitised;
        if list.len() < REMOVALS_MAX && !list.contains(&masked) {
            list.push(masked);
        }
    }

    pub(super) fn mask_matched(&mut self, matched: Option<(Seen, ValueId)>) {
        if let Some((seen, text)) = matched {
            self.mask(Masked::Value(seen.value));
            self.mask(Masked::Value(text));
        }
    }

    pub(super) fn note_sanitize(&mut self, rule: &Rule, seen: Seen) {
        let Test::Rx(expression) = rule.test else { return };
        let removals = &mut self.tx.outcome.removals;
        if removals.len() < REMOVALS_MAX {
            removals.push(Removal { expression, variable: seen.variable, name: seen.name });
        }
    }
}

impl Transaction {
    /// Whether a rule wants something taken out of the request.
    #[must_use]
    pub fn is_sanitized(&self) -> bool {
        !self.outcome.removals.is_empty()
    }

    /// Every argument, cookie or field that changes, and what is left of it. `None` when what matched cannot be taken
    /// out (it is in a name, a path, or a body that is no form), or comes back each time: the request must be refused
    /// then.
    #[must_use]
    pub fn cleaned<'a>(&'a self, set: &Ruleset) -> Option<Vec<Cleaned<'a>>> {
        use super::data::Store;
        let mut all: Vec<Cleaned<'a>> = Vec::new();
        if self.outcome.removals.len() >= REMOVALS_MAX {
            return None;
        }
        for removal in &self.outcome.removals {
            let stores: &[(Store, Variable)] = match removal.variable {
                Variable::Args => {
                    &[(Store::ArgsGet, Variable::ArgsGet), (Store::ArgsPost, Variable::ArgsPost)]
                }
                Variable::ArgsGet => &[(Store::ArgsGet, Variable::ArgsGet)],
                Variable::ArgsPost => &[(Store::ArgsPost, Variable::ArgsPost)],
                Variable::RequestCookies => &[(Store::RequestCookies, Variable::RequestCookies)],
                Variable::RequestHeaders => &[(Store::RequestHeaders, Variable::RequestHeaders)],
                _ => return None,
            };
            let wanted = removal.name.map(|name| self.data.values.get(name))?;
            let rx = &set.expressions[removal.expression as usize];
            for (store, variable) in stores {
                for member in self.data.members(*store) {
                    let name = self.data.values.get(member.name);
                    if name != wanted {
                        continue;
                    }
                    let before = self.data.values.get(member.value);
                    let known = all
                        .iter()
                        .position(|c| c.variable == *variable && c.name == name && c.before == before);
                    let text = known.map_or(before, |index| all[index].after.as_slice());
                    let after = without(rx, text)?;
                    if after == text {
                        // The rule saw the value decoded once more; what it saw is not in what was sent.
                        known?;
                        continue;
                    }
                    match known {
                        Some(index) => all[index].after = after,
                        None => all.push(Cleaned { variable: *variable, name, before, after }),
                    }
                }
            }
        }
        Some(all)
    }

    /// Whether a value of this place is hidden from logs.
    #[must_use]
    pub fn is_masked(&self, variable: Variable, name: &[u8], value: &[u8]) -> bool {
        self.outcome.sanitised.iter().any(|masked| match masked {
            Masked::Argument(wanted) => {
                matches!(variable, Variable::Args | Variable::ArgsGet | Variable::ArgsPost)
                    && name.eq_ignore_ascii_case(wanted.as_bytes())
            }
            Masked::RequestHeader(wanted) => {
                variable == Variable::RequestHeaders && name.eq_ignore_ascii_case(wanted.as_bytes())
            }
            Masked::ResponseHeader(wanted) => {
                variable == Variable::ResponseHeaders && name.eq_ignore_ascii_case(wanted.as_bytes())
            }
            Masked::Value(hidden) => !value.is_empty() && self.data.values.get(*hidden) == value,
        })
    }
}

/// The text without what the expression matches, until it matches no more; `None` when that does not end.
fn without(rx: &crate::operator::rx::Rx, text: &[u8]) -> Option<Vec<u8>> {
    let mut cache = rx.cache();
    let mut text = text.to_vec();
    for _ in 0..ROUNDS_MAX {
        let mut left = Vec::with_capacity(text.len());
        let (mut from, mut is_changed) = (0, false);
        while let Some(found) = rx.find_from(&text, from, &mut cache) {
            if found.is_empty() {
                break;
            }
            left.extend_from_slice(&text[from..found.start]);
            from = found.end;
            is_changed = true;
        }
        left.extend_from_slice(&text[from..]);
        if !is_changed {
            return Some(text);
        }
        text = left;
    }
    None
}
