//! The rules of a phase, in order.
//!
//! Owns: the loop, chains, skipping, what a match means for the request. Does not own: which texts a rule looks at
//! (`group`), what a match does (`effect`).
//!
//! A rule is answered at the first of these that says no: its number is removed; what all its texts have together lacks
//! a byte or literal that it needs; a text alone lacks it; the operator.

use core::ops::ControlFlow;

use super::group::meets;
use super::outcome::{Interruption, InterruptionKind, Limit};
use super::workspace::{Seen, SlotId, Workspace};
use super::{Budget, Persistent, Transaction};
use crate::operator::Captures;
use crate::ruleset::{
    BriefKind, Disruption, Look, Number, Rule, Ruleset, Side, Skip, Test, TxRead, has_rule,
};
use crate::seclang::ast::{AllowScope, EngineMode, Phase};
use crate::variable::Variable;

/// Where a phase goes on after a match.
fn landing(skip: Skip, place: usize) -> usize {
    match skip {
        Skip::No => place,
        Skip::Rules(count) => place.saturating_add(count as usize),
        Skip::To(landing) => place.max(landing as usize),
    }
}

/// One phase of one transaction.
pub(super) struct Evaluation<'a> {
    pub(super) set: &'a Ruleset,
    pub(super) tx: &'a mut Transaction,
    pub(super) space: &'a mut Workspace,
    pub(super) budget: Budget,
    pub(super) persistent: &'a Persistent,
    /// The rule that is asked now.
    pub(super) current: usize,
    pub(super) captures: Captures,
}

impl super::Evaluator {
    /// Asks the rules of a phase.
    pub(super) fn run(&mut self, tx: &mut Transaction, phase: Phase) -> Option<Interruption> {
        if tx.outcome.engine == EngineMode::Off || !tx.outcome.runs(phase) {
            return None;
        }
        self.space.enter(tx.serial, Side::of(phase));
        self.space.work_bytes = tx.outcome.work_bytes;
        let mut evaluation = Evaluation {
            set: &self.set,
            tx,
            space: &mut self.space,
            budget: self.budget,
            persistent: &self.persistent,
            current: 0,
            captures: Captures::new(),
        };
        evaluation.phase(phase);
        tx.outcome.work_bytes = self.space.work_bytes;
        tx.outcome.phase = phase as u8;
        tx.outcome.interruption
    }
}

impl Evaluation<'_> {
    fn phase(&mut self, phase: Phase) {
        let set = self.set;
        let briefs = set.briefs.of(phase as usize - 1);
        let is_watched = self.space.observer.is_on();
        let sees_all = is_watched && self.space.observer.wants_all();
        let mut place = 0;
        while let Some(brief) = briefs.get(place) {
            place += 1;
            let head = brief.head as usize;
            match &brief.kind {
                BriefKind::Steer { read, comparison, is_negated, argument, skip }
                    if !is_watched && self.is_all_targeted() =>
                {
                    let holds = self
                        .tx_number(*read, *argument)
                        .is_some_and(|(value, argument)| comparison.holds(value, argument) != *is_negated);
                    if holds && !self.is_removed(head) {
                        place = landing(*skip, place);
                    }
                    continue;
                }
                BriefKind::Look(look) if !sees_all => {
                    if is_watched {
                        self.observe_begin(&set.rules[head], 0);
                    }
                    if !self.group_may_match(look) {
                        if is_watched {
                            self.observe_end(&set.rules[head], 0, false);
                        }
                        if self.is_exhausted(head) {
                            return;
                        }
                        continue;
                    }
                }
                _ => {}
            }
            let is_match = !self.is_removed(head) && self.chain(head);
            if is_match {
                place = landing(set.rules[head].skip, place);
                if self.conclude(head).is_break() || self.tx.outcome.engine == EngineMode::Off {
                    return;
                }
            }
            // A rule that does not match has worked all the same.
            if self.is_exhausted(head) {
                return;
            }
        }
        // Gathering and changing values may have reached a bound without any rule asked in full.
        self.is_exhausted(briefs.last().map_or(0, |brief| brief.head as usize));
    }

    fn is_removed(&self, rule: usize) -> bool {
        let outcome = &self.tx.outcome;
        (outcome.has_removed && has_rule(&outcome.removed, rule))
            || self.tx.site.as_ref().is_some_and(|site| has_rule(&site.removed, rule))
    }

    /// Whether a rule and all links of its chain match.
    fn chain(&mut self, head: usize) -> bool {
        let links = usize::from(self.set.rules[head].links);
        self.tx.outcome.matched_in_rule = 0;
        (head..=head + links).all(|index| {
            if !self.space.observer.is_on() {
                return self.rule(index);
            }
            let rule = &self.set.rules[index];
            self.observe_begin(rule, index - head);
            let is_match = self.rule(index);
            self.observe_end(rule, index - head, is_match);
            is_match
        })
    }

    /// Asks one rule, or one link; every match has its effects at once.
    fn rule(&mut self, index: usize) -> bool {
        let set = self.set;
        let rule = &set.rules[index];
        self.current = index;
        match &rule.test {
            Test::Always => {
                self.effects(rule, None);
                true
            }
            Test::TxNumber { read, comparison, argument } => {
                let is_match = self
                    .tx_number(*read, *argument)
                    .is_some_and(|(value, argument)| comparison.holds(value, argument) != rule.is_negated);
                let is_match = is_match && !self.is_tx_untargeted(*read);
                if self.space.observer.is_on() && (is_match || self.space.observer.wants_all()) {
                    self.observe_tx(*read, is_match);
                }
                if is_match {
                    self.tx_matched(rule, *read);
                }
                is_match
            }
            _ => self.look(rule),
        }
    }

    fn tx_number(&self, read: TxRead, argument: Number) -> Option<(i64, i64)> {
        let data = &self.tx.data;
        let argument = match argument {
            Number::Static(number) => number,
            Number::Tx(id) => data.tx_number(data.tx(id)).unwrap_or(0),
        };
        let value = match read {
            TxRead::Value(id) => data.tx_number(data.tx(id))?,
            TxRead::Count(id) => i64::from(data.tx_number(data.tx(id)).is_some()),
        };
        Some((value, argument))
    }

    fn tx_matched(&mut self, rule: &Rule, read: TxRead) {
        let (TxRead::Value(id) | TxRead::Count(id)) = read;
        if rule.is_logged || rule.links > 0 || !rule.effects.is_empty() {
            let value = match read {
                TxRead::Value(_) => self.tx.data.tx(id),
                TxRead::Count(_) => super::data::TxValue::Number(i64::from(
                    self.tx.data.tx_number(self.tx.data.tx(id)).is_some(),
                )),
            };
            let value = self.tx.data.tx_text(value).unwrap_or(super::value::ValueId::EMPTY);
            let name = self.tx.data.values.add(self.set.names.name(id));
            let is_count = matches!(read, TxRead::Count(_));
            let seen = Seen { variable: Variable::Tx, name: Some(name), value, is_count };
            self.matched(seen, value);
        }
        self.effects(rule, None);
    }

    /// Looks at every text that the rule means.
    fn look(&mut self, rule: &Rule) -> bool {
        let group = self.set.groups[rule.group as usize];
        let is_volatile = self.set.lists[group.list as usize].is_volatile;
        let range = self.gather(group.list);
        let (start, end) = (range.start, range.end);
        let mut is_match = false;
        for index in range {
            let seen = self.space.seen[index];
            if self.is_untargeted(&seen) {
                continue;
            }
            if rule.is_multi_match {
                is_match |= self.every_step(rule, index);
            } else {
                let slot = self.slot_at(index, group.node);
                is_match |= self.text(rule, index, slot);
            }
            if self.space.work_bytes > self.budget.work_bytes_max {
                break;
            }
        }
        if is_volatile && self.space.seen.len() == end {
            self.space.seen.truncate(start);
        }
        is_match
    }

    /// Whether all texts together have what a rule needs of one.
    fn group_may_match(&mut self, look: &Look) -> bool {
        let together = self.together(look.group);
        !together.is_empty
            && self.set.briefs.may_match(look, together.len_max, &together.folded)
            && (look.hit == u32::MAX || self.any_hit(look.group, look.hit))
    }

    /// `multiMatch`: asks after every transformation that changes the text.
    fn every_step(&mut self, rule: &Rule, seen: usize) -> bool {
        let value = self.space.seen[seen].value;
        let mut slot = self.space.slot_of(&self.tx.data.values, value);
        let mut is_match = self.text(rule, seen, slot);
        for step in &rule.steps {
            let after = self.space.step(self.set, &self.tx.data.values, slot, *step);
            if after != slot {
                slot = after;
                is_match |= self.text(rule, seen, slot);
            }
        }
        is_match
    }

    /// Asks about one text.
    fn text(&mut self, rule: &Rule, seen: usize, slot: SlotId) -> bool {
        let is_match = self.test(rule, slot);
        let seen = self.space.seen[seen];
        if self.space.observer.is_on() && (is_match || self.space.observer.wants_all()) {
            self.observe_value(rule, seen, slot, is_match);
        }
        if !is_match {
            return false;
        }
        let text = self.space.text(&self.tx.data.values, slot);
        let text = if text == self.tx.data.values.get(seen.value) {
            seen.value
        } else {
            // What transformations made belongs to the worker; the match keeps a copy.
            let mut copy = core::mem::take(&mut self.space.buffer);
            copy.clear();
            copy.extend_from_slice(self.space.text(&self.tx.data.values, slot));
            let value = self.tx.data.values.add(&copy);
            self.space.buffer = copy;
            value
        };
        // What does not match captures nothing.
        if rule.captures && !rule.is_negated {
            self.capture(slot);
        }
        self.matched(seen, text);
        self.effects(rule, Some((seen, text)));
        if matches!(rule.disruption, Disruption::Sanitize) {
            self.note_sanitize(rule, seen);
        }
        true
    }

    fn test(&mut self, rule: &Rule, slot: SlotId) -> bool {
        let set = self.set;
        let known = *self.space.slot(slot);
        if !rule.is_negated {
            if !meets(rule.needed.as_ref(), &known.presence) {
                return false;
            }
            if let Test::Rx(number) | Test::RxGlobal(number) = rule.test
                && !set.expressions[number as usize].need().may_match(known.len(), &known.folded)
            {
                return false;
            }
            if let Some(bit) = rule.hit
                && !self.space.has_hit(set, &self.tx.data.values, slot, bit)
            {
                return false;
            }
        }
        self.space.work_bytes += known.len() as u64 + 1;
        let values = &self.tx.data.values;
        let is_match = match &rule.test {
            Test::Always | Test::TxNumber { .. } => true,
            Test::Rx(number) => {
                let rx = &set.expressions[*number as usize];
                let captures = (rule.captures && !rule.is_negated).then_some(&mut self.captures);
                let (text, caches) = self.space.text_and_caches(values, slot);
                rx.matches(text, caches.of(*number as usize, rx), captures)
            }
            Test::RxGlobal(number) => self.every_place(*number, slot),
            Test::RxMacro(_) => self.expanded(rule, slot),
            Test::Operator(operator, argument) => {
                self.captures.clear();
                match argument.as_str() {
                    Some(argument) => {
                        let text = self.space.text(values, slot);
                        operator.matches(text, argument.as_bytes(), &mut self.captures)
                    }
                    None => {
                        let mut expanded = core::mem::take(&mut self.space.text);
                        expanded.clear();
                        self.expand(argument, &mut expanded);
                        let text = self.space.text(&self.tx.data.values, slot);
                        let is_match = operator.matches(text, &expanded, &mut self.captures);
                        self.space.text = expanded;
                        is_match
                    }
                }
            }
        };
        is_match != rule.is_negated
    }

    /// `@rxGlobal`: every place is captured, as far as there is room.
    fn every_place(&mut self, number: u32, slot: SlotId) -> bool {
        let rx = &self.set.expressions[number as usize];
        let (text, caches) = self.space.text_and_caches(&self.tx.data.values, slot);
        let cache = caches.of(number as usize, rx);
        self.captures.clear();
        let (mut from, mut places) = (0, 0);
        while let Some(found) = rx.find_from(text, from, cache) {
            from = found.end.max(found.start + 1);
            self.captures.set(places, found);
            places += 1;
            if places >= crate::operator::CAPTURES_MAX {
                break;
            }
        }
        places > 0
    }

    /// Notes what a match captured as `TX:0` to `TX:9`.
    fn capture(&mut self, slot: SlotId) {
        for index in 0..crate::operator::CAPTURES_MAX {
            let mut copy = core::mem::take(&mut self.space.text);
            copy.clear();
            let text = self.space.text(&self.tx.data.values, slot);
            let found = self.captures.get(index, text);
            copy.extend_from_slice(found.unwrap_or_default());
            self.tx.data.captured[index] = found.is_some().then(|| self.tx.data.values.add(&copy));
            self.space.text = copy;
        }
    }

    /// Whether nothing is left out of any rule.
    fn is_all_targeted(&self) -> bool {
        let site = self.tx.site.as_ref();
        self.tx.outcome.untargeted.is_empty() && site.is_none_or(|site| site.untargeted.is_empty())
    }

    fn is_tx_untargeted(&mut self, read: TxRead) -> bool {
        if self.is_all_targeted() {
            return false;
        }
        let (TxRead::Value(id) | TxRead::Count(id)) = read;
        let name = Some(self.tx.data.values.add(self.set.names.name(id)));
        let value = super::value::ValueId::EMPTY;
        self.is_untargeted(&Seen { variable: Variable::Tx, name, value, is_count: false })
    }

    /// Whether rules of this site, or `ctl`, leave a text out for the current rule.
    fn is_untargeted(&mut self, seen: &Seen) -> bool {
        if self.is_all_targeted() {
            return false;
        }
        let site = self.tx.site.as_ref();
        let values = &self.tx.data.values;
        let name = seen.name.map_or(b"".as_slice(), |name| values.get(name));
        let select = &mut self.space.select;
        let by_control = self.tx.outcome.untargeted.iter().any(|(rules, list)| {
            has_rule(&self.set.selections[*rules as usize], self.current)
                && self.set.lists[*list as usize].excludes(seen.variable, name, select)
        });
        by_control
            || site.is_some_and(|site| {
                site.untargeted.iter().any(|(rules, list)| {
                    has_rule(rules, self.current) && list.excludes(seen.variable, name, select)
                })
            })
    }

    /// What the match of a whole chain means.
    fn conclude(&mut self, head: usize) -> ControlFlow<()> {
        let set = self.set;
        let rule = &set.rules[head];
        self.current = head;
        self.note_match(head);
        let kind = match &rule.disruption {
            Disruption::Pass => return ControlFlow::Continue(()),
            Disruption::Allow(scope) => {
                if self.tx.outcome.engine != EngineMode::On {
                    return ControlFlow::Continue(());
                }
                self.tx.outcome.allow(*scope, rule.phase);
                return match scope {
                    AllowScope::Request if rule.phase >= Phase::ResponseHeaders => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                };
            }
            Disruption::Sanitize => return ControlFlow::Continue(()),
            Disruption::Deny => InterruptionKind::Deny,
            Disruption::Drop => InterruptionKind::Drop,
            Disruption::Challenge => InterruptionKind::Challenge,
            Disruption::Redirect(_) => InterruptionKind::Redirect,
        };
        let location = match &rule.disruption {
            Disruption::Redirect(url) => Some(self.expanded_value(url)),
            _ => None,
        };
        self.interrupt(Interruption {
            rule: head as u32,
            id: rule.id,
            kind,
            status: rule.status,
            tarpit_s: rule.tarpit_s,
            location,
            limit: None,
        })
    }

    fn interrupt(&mut self, interruption: Interruption) -> ControlFlow<()> {
        let outcome = &mut self.tx.outcome;
        if outcome.engine == EngineMode::DetectionOnly || outcome.phase_now == Phase::Logging as u8 {
            outcome.detected.get_or_insert(interruption);
            return ControlFlow::Continue(());
        }
        outcome.interruption.get_or_insert(interruption);
        ControlFlow::Break(())
    }

    /// Ends the phase at a bound of the budget.
    fn is_exhausted(&mut self, head: usize) -> bool {
        let limit = if self.space.work_bytes > self.budget.work_bytes_max {
            Limit::Work
        } else if self.tx.data.values.is_full() {
            Limit::Data
        } else {
            return false;
        };
        self.reach(limit, head);
        true
    }

    pub(super) fn reach(&mut self, limit: Limit, head: usize) {
        self.tx.outcome.limits.insert(limit);
        if self.budget.refuses {
            let interruption = Interruption {
                rule: head as u32,
                id: self.set.rules.get(head).map_or(0, |rule| rule.id),
                kind: InterruptionKind::Deny,
                status: 403,
                tarpit_s: 0,
                location: None,
                limit: Some(limit),
            };
            let _ = self.interrupt(interruption);
        }
    }
}
