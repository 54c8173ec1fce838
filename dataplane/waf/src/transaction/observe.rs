//! Watching an evaluation, for people who ask why a rule matched.
//!
//! Owns: [`Observer`] and the points at which it is told. Without one, each point costs a branch.

use super::Evaluator;
use super::data::TxValue;
use super::evaluate::Evaluation;
use super::workspace::{Seen, SlotId};
use crate::ruleset::{ROOT, Rule, TxRead};
use crate::transform::Transformation;

/// Watches an evaluation.
pub trait Observer: Send {
    /// Whether every value is shown to its rule, also where it is known beforehand that it cannot match.
    fn wants_all(&self) -> bool {
        false
    }

    /// A rule is asked now; `link` is its place in a chain, 0 for the head.
    fn begin(&mut self, rule: u64, link: usize);

    /// The rule saw this value of this place, after these transformations.
    fn value(&mut self, name: &[u8], value: &[u8], transformations: &[Transformation], is_match: bool);

    /// The rule was asked; whether any value matched.
    fn end(&mut self, rule: u64, link: usize, is_match: bool);
}

impl Evaluator {
    /// Sets who watches, or nobody.
    pub fn observe(&mut self, observer: Option<Box<dyn Observer>>) {
        self.space.observer = Watch(observer);
    }
}

/// Who watches.
#[derive(Default)]
pub(crate) struct Watch(Option<Box<dyn Observer>>);

impl core::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(if self.0.is_some() { "Watch" } else { "no Watch" })
    }
}

impl Watch {
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn wants_all(&self) -> bool {
        self.0.as_ref().is_some_and(|observer| observer.wants_all())
    }
}

impl Evaluation<'_> {
    pub(super) fn observe_begin(&mut self, rule: &Rule, link: usize) {
        if let Some(observer) = &mut self.space.observer.0 {
            observer.begin(rule.id, link);
        }
    }

    pub(super) fn observe_end(&mut self, rule: &Rule, link: usize, is_match: bool) {
        if let Some(observer) = &mut self.space.observer.0 {
            observer.end(rule.id, link, is_match);
        }
    }

    /// A number of `TX`, before a match does anything with it.
    pub(super) fn observe_tx(&mut self, read: TxRead, is_match: bool) {
        let (TxRead::Value(id) | TxRead::Count(id)) = read;
        let held = self.tx.data.tx(id);
        let (prefix, held) = match read {
            TxRead::Value(_) => ("TX:", held),
            TxRead::Count(_) => ("&TX:", TxValue::Number(i64::from(self.tx.data.tx_number(held).is_some()))),
        };
        let Some(value) = self.tx.data.tx_text(held) else { return };
        let mut name = prefix.as_bytes().to_vec();
        name.extend_from_slice(self.set.names.name(id));
        if let Some(observer) = &mut self.space.observer.0 {
            observer.value(&name, self.tx.data.values.get(value), &[], is_match);
        }
    }

    pub(super) fn observe_value(&mut self, rule: &Rule, seen: Seen, slot: SlotId, is_match: bool) {
        let Some(mut observer) = self.space.observer.0.take() else { return };
        let values = &self.tx.data.values;
        let mut name = if seen.is_count { b"&".to_vec() } else { Vec::new() };
        name.extend_from_slice(seen.variable.name().as_bytes());
        if let Some(member) = seen.name {
            name.push(b':');
            name.extend_from_slice(values.get(member));
        }
        let mut steps = rule.steps.to_vec();
        let mut node = self.set.groups[rule.group as usize].node;
        if steps.is_empty() {
            while node != ROOT {
                let step = self.set.pipelines.step(node);
                steps.insert(0, step.transformation);
                node = step.parent;
            }
        }
        observer.value(&name, self.space.text(values, slot), &steps, is_match);
        self.space.observer.0 = Some(observer);
    }
}
