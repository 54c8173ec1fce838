//! Texts with macros, and single values that are made when asked.
//!
//! Owns: what `%{...}` stands for.

use super::data::{Store, TxValue, decimal};
use super::evaluate::Evaluation;
use super::group::sources;
use super::value::ValueId;
use crate::operator::rx::Rx;
use crate::ruleset::{Part, Rule, Test, Text};
use crate::variable::{Kind, Variable};

use super::workspace::SlotId;

/// Expressions with macros that are kept compiled: rules that have one have one or two.
const EXPANDED_MAX: usize = 16;

impl Evaluation<'_> {
    /// Appends a text with its macros replaced.
    pub(super) fn expand(&mut self, text: &Text, out: &mut Vec<u8>) {
        match text {
            Text::Static(text) => out.extend_from_slice(text.as_bytes()),
            Text::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Static(text) => out.extend_from_slice(text.as_bytes()),
                        Part::Tx(id) => self.append_tx(self.tx.data.tx(*id), out),
                        Part::Variable(variable, member) => {
                            self.append_variable(*variable, member.as_deref(), out);
                        }
                    }
                }
            }
        }
    }

    /// A text with its macros replaced, kept.
    pub(super) fn expanded_value(&mut self, text: &Text) -> ValueId {
        if let Some(text) = text.as_str() {
            return self.tx.data.values.add(text.as_bytes());
        }
        let mut buffer = core::mem::take(&mut self.space.text);
        buffer.clear();
        self.expand(text, &mut buffer);
        let value = self.tx.data.values.add(&buffer);
        self.space.text = buffer;
        value
    }

    fn append_tx(&self, value: TxValue, out: &mut Vec<u8>) {
        match value {
            TxValue::Unset => {}
            TxValue::Number(number) => {
                if number < 0 {
                    out.push(b'-');
                }
                out.extend_from_slice(decimal(number.unsigned_abs(), &mut [0; 20]));
            }
            TxValue::Text(text) => out.extend_from_slice(self.tx.data.values.get(text)),
        }
    }

    fn append_variable(&mut self, variable: Variable, member: Option<&str>, out: &mut Vec<u8>) {
        let name = member.unwrap_or_default().as_bytes();
        if variable == Variable::Rule {
            self.append_rule_member(name, out);
        } else if variable == Variable::Tx {
            match self.set.names.find(name) {
                Some(id) => self.append_tx(self.tx.data.tx(id), out),
                None => {
                    if let Some(value) = self.tx.data.find(Store::Tx, name) {
                        out.extend_from_slice(self.tx.data.values.get(value));
                    }
                }
            }
        } else if variable.kind() == Kind::Single {
            let value = self.single(variable);
            out.extend_from_slice(self.tx.data.values.get(value));
        } else {
            let data = &self.tx.data;
            for source in sources(variable) {
                let found = data.members(source.store).iter().find(|candidate| {
                    member.is_none() || data.values.get(candidate.name).eq_ignore_ascii_case(name)
                });
                if let Some(found) = found {
                    let value = if source.sees_names { found.name } else { found.value };
                    out.extend_from_slice(data.values.get(value));
                    return;
                }
            }
        }
    }

    /// `%{rule.id}` and the like: of the rule that is asked now. Yields whether there is such a member.
    pub(super) fn append_rule_member(&mut self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let set = self.set;
        let rule = &set.rules[self.current];
        match name.to_ascii_lowercase().as_slice() {
            b"id" => out.extend_from_slice(decimal(rule.id, &mut [0; 20])),
            b"severity" => out.extend(rule.severity.map(|severity| b'0' + severity)),
            b"rev" => out.extend_from_slice(rule.revision.as_deref().unwrap_or_default().as_bytes()),
            b"ver" => out.extend_from_slice(rule.version.as_deref().unwrap_or_default().as_bytes()),
            b"msg" => rule.message.iter().for_each(|text| self.expand(text, out)),
            b"logdata" => rule.log_data.iter().for_each(|text| self.expand(text, out)),
            _ => return false,
        }
        true
    }

    /// The text of a single variable; some are made when they are asked for.
    pub(super) fn single(&mut self, variable: Variable) -> ValueId {
        let data = &mut self.tx.data;
        match variable {
            Variable::ArgsCombinedSize => data.number(data.arguments_bytes as u64),
            Variable::FilesCombinedSize => data.number(data.files_bytes),
            Variable::HighestSeverity => data.number(u64::from(self.tx.outcome.highest_severity)),
            Variable::Duration => data.number(data.now_us.saturating_sub(data.started_us)),
            Variable::ModsecBuild => data.values.add(b"030000000"),
            Variable::Webappid => data.values.add(self.set.settings.web_app_id.as_bytes()),
            Variable::FullRequest => self.full_request(),
            Variable::FullRequestLength => {
                let value = self.full_request();
                let len = self.tx.data.values.get(value).len() as u64;
                self.tx.data.number(len)
            }
            Variable::MultipartStrictError => data.single(variable),
            _ if super::time::is_time(variable) => super::time::value(data, variable),
            _ => data.single(variable),
        }
    }

    /// Request line, fields and body as one text.
    fn full_request(&mut self) -> ValueId {
        let data = &mut self.tx.data;
        let known = data.single(Variable::FullRequest);
        if known != ValueId::EMPTY {
            return known;
        }
        let mut text = core::mem::take(&mut self.space.buffer);
        text.clear();
        text.extend_from_slice(data.values.get(data.single(Variable::RequestLine)));
        text.extend_from_slice(b"\n");
        for member in data.members(Store::RequestHeaders) {
            text.extend_from_slice(data.values.get(member.name));
            text.extend_from_slice(b": ");
            text.extend_from_slice(data.values.get(member.value));
            text.extend_from_slice(b"\n");
        }
        text.extend_from_slice(b"\n\n");
        text.extend_from_slice(data.values.get(data.body));
        let value = data.values.add(&text);
        data.set_single(Variable::FullRequest, value);
        self.space.buffer = text;
        value
    }

    /// An expression with macros: compiled when it is first asked for in this form.
    pub(super) fn expanded(&mut self, rule: &Rule, slot: SlotId) -> bool {
        let Test::RxMacro(text) = &rule.test else { return false };
        let mut pattern = core::mem::take(&mut self.space.text);
        pattern.clear();
        self.expand(text, &mut pattern);
        let mut kept = core::mem::take(&mut self.space.expanded);
        let index = match kept.iter().position(|(known, _)| *known == pattern) {
            Some(index) => index,
            None => {
                if kept.len() >= EXPANDED_MAX {
                    kept.remove(0);
                }
                let compiled = core::str::from_utf8(&pattern).ok().and_then(|text| Rx::compile(text).ok());
                let with_cache = compiled.map(|rx| {
                    let cache = rx.cache();
                    Box::new((rx, cache))
                });
                kept.push((pattern.clone(), with_cache));
                kept.len() - 1
            }
        };
        self.space.text = pattern;
        let text = self.space.text(&self.tx.data.values, slot);
        let is_match = kept[index].1.as_mut().is_some_and(|pair| {
            let (rx, cache) = &mut **pair;
            let captures = (rule.captures && !rule.is_negated).then_some(&mut self.captures);
            rx.matches(text, cache, captures)
        });
        self.space.expanded = kept;
        is_match
    }
}
