//! What a match does besides deciding: variables, collections, `ctl`.
//!
//! Owns: effects in the order written, once per value that matches.

use super::data::{Data, TxValue, exact_number};
use super::evaluate::Evaluation;
use super::sanitize::Masked;
use super::value::ValueId;
use super::workspace::Seen;
use crate::operator::number_of;
use crate::ruleset::{Effect, Operation, Rule, RuleControl, Text, TxKey};
use crate::seclang::ast::EngineMode;
use crate::variable::Variable;

/// Most members of a collection that rules may make under names of their own: above what any public rule set makes.
const DYNAMIC_MEMBERS_MAX: usize = 256;

impl Evaluation<'_> {
    pub(super) fn effects(&mut self, rule: &Rule, matched: Option<(Seen, ValueId)>) {
        for effect in &rule.effects {
            self.effect(effect, matched);
        }
    }

    fn effect(&mut self, effect: &Effect, matched: Option<(Seen, ValueId)>) {
        match effect {
            Effect::SetTx(TxKey::Static(id), operation) => {
                let before = self.tx.data.tx(*id);
                if let Some(value) = self.operated(before, operation) {
                    self.tx.data.set_tx(*id, value);
                }
            }
            Effect::SetTx(TxKey::Dynamic(name), operation) => {
                let name = self.expanded_value(name);
                self.set_dynamic(name, operation);
            }
            Effect::SetMember(variable, name, operation) => self.set_member(*variable, name, operation),
            Effect::SetEnv(name, value) => {
                let name = self.expanded_value(name);
                let value = self.expanded_value(value);
                self.set_in(Variable::Env, name, Some(value));
            }
            Effect::ExpireVar(variable, name, seconds) => self.expire(*variable, name, seconds),
            Effect::InitCol(variable, key) => {
                let key = self.expanded_value(key);
                self.open_collection(*variable, key);
            }
            Effect::SetSid(key) => self.set_key(Variable::Sessionid, Variable::Session, key),
            Effect::SetUid(key) => self.set_key(Variable::Userid, Variable::User, key),
            Effect::SetRsc(key) => {
                let key = self.expanded_value(key);
                self.open_collection(Variable::Resource, key);
            }
            Effect::Control(control) => self.control(control),
            Effect::SanitiseArg(name) => self.mask(Masked::Argument(name.clone())),
            Effect::SanitiseRequestHeader(name) => self.mask(Masked::RequestHeader(name.clone())),
            Effect::SanitiseResponseHeader(name) => self.mask(Masked::ResponseHeader(name.clone())),
            Effect::SanitiseMatched => self.mask_matched(matched),
        }
    }

    fn operated(&mut self, before: TxValue, operation: &Operation) -> Option<TxValue> {
        Some(match operation {
            Operation::Unset => TxValue::Unset,
            Operation::Set(text) => match self.text_number(text) {
                Ok(number) => TxValue::Number(number),
                Err(value) => TxValue::Text(value),
            },
            Operation::Add(text) => {
                let by = self.amount(text);
                let number = self.tx.data.tx_number(before).unwrap_or(0);
                TxValue::Number(number.saturating_add(by))
            }
            Operation::Subtract(text) => {
                let by = self.amount(text);
                let number = self.tx.data.tx_number(before).unwrap_or(0);
                TxValue::Number(number.saturating_sub(by))
            }
        })
    }

    /// The expanded text as a number, if nothing is lost so; else as a kept text.
    fn text_number(&mut self, text: &Text) -> Result<i64, ValueId> {
        if let Some(text) = text.as_str() {
            return exact_number(text.as_bytes()).ok_or_else(|| self.tx.data.values.add(text.as_bytes()));
        }
        let mut buffer = core::mem::take(&mut self.space.text);
        buffer.clear();
        self.expand(text, &mut buffer);
        let result = exact_number(&buffer).ok_or_else(|| self.tx.data.values.add(&buffer));
        self.space.text = buffer;
        result
    }

    fn amount(&mut self, text: &Text) -> i64 {
        match self.text_number(text) {
            Ok(number) => number,
            Err(value) => number_of(self.tx.data.values.get(value)),
        }
    }

    /// A `TX` variable whose name no rule writes out.
    fn set_dynamic(&mut self, name: ValueId, operation: &Operation) {
        let mut lower = core::mem::take(&mut self.space.name);
        lower.clear();
        lower.extend_from_slice(self.tx.data.values.get(name));
        lower.make_ascii_lowercase();
        self.set_named(&lower, operation);
        self.space.name = lower;
    }

    fn set_named(&mut self, lower: &[u8], operation: &Operation) {
        if let Some(id) = self.set.names.find(lower) {
            let before = self.tx.data.tx(id);
            if let Some(value) = self.operated(before, operation) {
                self.tx.data.set_tx(id, value);
            }
            return;
        }
        let before = self.tx.data.find(super::data::Store::Tx, lower).map_or(TxValue::Unset, TxValue::Text);
        if let Some(value) = self.operated(before, operation) {
            let value = self.tx.data.tx_text(value);
            let is_known = !matches!(before, TxValue::Unset);
            if is_known || self.tx.data.members(super::data::Store::Tx).len() < DYNAMIC_MEMBERS_MAX {
                self.tx.data.set_member(super::data::Store::Tx, lower, value);
            }
        }
    }

    fn set_member(&mut self, variable: Variable, name: &Text, operation: &Operation) {
        let name = self.expanded_value(name);
        if variable.is_persistent() {
            self.set_persistent(variable, name, operation);
            return;
        }
        let Some(store) = Data::store_of(variable) else { return };
        let lower = self.tx.data.values.get(name).to_ascii_lowercase();
        let before = self.tx.data.find(store, &lower).map_or(TxValue::Unset, TxValue::Text);
        if let Some(value) = self.operated(before, operation) {
            let value = self.tx.data.tx_text(value);
            self.set_in(variable, name, value);
        }
    }

    fn set_in(&mut self, variable: Variable, name: ValueId, value: Option<ValueId>) {
        let Some(store) = Data::store_of(variable) else { return };
        let lower = self.tx.data.values.get(name).to_ascii_lowercase();
        if self.tx.data.members(store).len() < DYNAMIC_MEMBERS_MAX
            || self.tx.data.find(store, &lower).is_some()
        {
            self.tx.data.set_member(store, &lower, value);
        }
    }

    fn set_key(&mut self, single: Variable, collection: Variable, key: &Text) {
        let key = self.expanded_value(key);
        self.tx.data.set_single(single, key);
        self.open_collection(collection, key);
    }

    fn control(&mut self, control: &RuleControl) {
        let outcome = &mut self.tx.outcome;
        match control {
            RuleControl::Engine(mode) => {
                // A node that only looks never blocks because a rule says so.
                if self.set.settings.engine != EngineMode::DetectionOnly || *mode != EngineMode::On {
                    outcome.engine = *mode;
                }
            }
            RuleControl::Audit(mode) => outcome.audit = *mode,
            RuleControl::AuditParts(change, parts) => {
                let mut now: String =
                    outcome.audit_parts.as_deref().unwrap_or(&self.set.settings.audit_parts).to_owned();
                match change {
                    None => now = parts.to_string(),
                    Some(true) => {
                        let more: String = parts.chars().filter(|part| !now.contains(*part)).collect();
                        now.push_str(&more);
                    }
                    Some(false) => now.retain(|part| !parts.contains(part)),
                }
                outcome.audit_parts = Some(now.into());
            }
            RuleControl::RequestBodyAccess(on) => outcome.request_body_access = *on,
            RuleControl::ResponseBodyAccess(on) => outcome.response_body_access = *on,
            RuleControl::ForceRequestBody(on) => outcome.force_request_body = *on,
            RuleControl::RequestBodyLimit(bytes) => outcome.request_body_bytes_max = *bytes,
            RuleControl::ResponseBodyLimit(bytes) => outcome.response_body_bytes_max = *bytes,
            RuleControl::Processor(processor) => {
                self.tx.data.processor = Some(*processor);
                self.tx.data.set_text(Variable::ReqbodyProcessor, processor.name().as_bytes());
            }
            RuleControl::Remove(selection) => {
                let rules = &self.set.selections[*selection as usize];
                for (word, more) in outcome.removed.iter_mut().zip(rules) {
                    *word |= more;
                }
                outcome.has_removed = true;
            }
            RuleControl::RemoveTarget(selection, list) => {
                let pair = (*selection, *list);
                if !outcome.untargeted.contains(&pair) {
                    outcome.untargeted.push(pair);
                }
            }
        }
    }
}
