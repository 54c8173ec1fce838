//! What rules look at, gathered from what variables hold.
//!
//! Owns: which texts a list of targets means now, and what all of them have together, so that most rules are answered
//! without looking at any text. Lists are gathered once per phase; those that rules themselves change are gathered for
//! each rule.

use super::data::{Data, Store};
use super::evaluate::Evaluation;
use super::value::ValueId;
use super::workspace::{Gathered, Seen, Together};
use crate::byte_set::ByteSet;
use crate::ruleset::{Include, Select, TargetList};
use crate::variable::{Kind, Variable};

/// What `RULE` holds.
const RULE_MEMBERS: [&[u8]; 6] = [b"id", b"severity", b"rev", b"ver", b"msg", b"logdata"];

/// Where members of a collection are, and whether a rule sees their names in place of their values.
pub(crate) struct Source {
    pub(crate) store: Store,
    pub(crate) sees_names: bool,
    /// `ARGS:a` in `MATCHED_VAR_NAME`; the names' collections have names of their own there.
    pub(crate) variable: Variable,
}

/// The stores behind a collection, in order.
pub(crate) fn sources(variable: Variable) -> &'static [Source] {
    macro_rules! of {
        ($($store:ident $names:literal $variable:ident),+) => {
            &[$(Source { store: Store::$store, sees_names: $names, variable: Variable::$variable }),+]
        };
    }
    match variable {
        Variable::Args => of!(ArgsGet false Args, ArgsPost false Args),
        Variable::ArgsNames => of!(ArgsGet true ArgsNames, ArgsPost true ArgsNames),
        Variable::ArgsGet => of!(ArgsGet false ArgsGet),
        Variable::ArgsGetNames => of!(ArgsGet true ArgsGetNames),
        Variable::ArgsPost => of!(ArgsPost false ArgsPost),
        Variable::ArgsPostNames => of!(ArgsPost true ArgsPostNames),
        Variable::RequestHeaders => of!(RequestHeaders false RequestHeaders),
        Variable::RequestHeadersNames => of!(RequestHeaders true RequestHeadersNames),
        Variable::RequestCookies => of!(RequestCookies false RequestCookies),
        Variable::RequestCookiesNames => of!(RequestCookies true RequestCookiesNames),
        Variable::ResponseHeaders => of!(ResponseHeaders false ResponseHeaders),
        Variable::ResponseHeadersNames => of!(ResponseHeaders true ResponseHeadersNames),
        Variable::Files => of!(Files false Files),
        Variable::FilesNames => of!(Files true FilesNames),
        Variable::FilesSizes => of!(FilesSizes false FilesSizes),
        Variable::MultipartFilename => of!(MultipartFilename false MultipartFilename),
        Variable::MultipartName => of!(MultipartName false MultipartName),
        Variable::MultipartPartHeaders => of!(MultipartPartHeaders false MultipartPartHeaders),
        Variable::Xml => of!(XmlContent false Xml, XmlAttributes false Xml),
        Variable::Env => of!(Env false Env),
        Variable::MatchedVars => of!(MatchedVars false MatchedVars),
        Variable::MatchedVarsNames => of!(MatchedVars true MatchedVarsNames),
        Variable::Global => of!(Global false Global),
        Variable::Ip => of!(Ip false Ip),
        Variable::Resource => of!(Resource false Resource),
        Variable::Session => of!(Session false Session),
        Variable::User => of!(User false User),
        _ => &[],
    }
}

impl Evaluation<'_> {
    /// The texts that a list means, as a range of `space.seen`.
    pub(super) fn gather(&mut self, list: u32) -> core::ops::Range<usize> {
        let index = list as usize;
        let known = self.space.gathered[index];
        if known.stamp == self.space.stamp {
            return known.start as usize..known.end as usize;
        }
        let targets = &self.set.lists[index];
        let start = self.space.seen.len();
        for include in &targets.includes {
            self.gather_target(targets, include);
        }
        let end = self.space.seen.len();
        if !targets.is_volatile {
            self.space.gathered[index] =
                Gathered { stamp: self.space.stamp, start: start as u32, end: end as u32 };
        }
        start..end
    }

    fn gather_target(&mut self, list: &TargetList, include: &Include) {
        let from = self.space.seen.len();
        match (include.variable, include.variable.kind()) {
            (Variable::Tx, _) => self.gather_tx(list, include),
            (Variable::Rule, _) => self.gather_rule(include),
            (Variable::Xml, _) => self.gather_xml(list, include),
            (variable, Kind::Single) => {
                if !list.excludes(variable, b"", &mut self.space.select) {
                    let value = self.single(variable);
                    self.see(variable, None, value);
                }
            }
            (variable, Kind::Collection) => self.gather_members(list, include, sources(variable)),
        }
        if include.is_count {
            let count = self.space.seen.len() - from;
            self.space.seen.truncate(from);
            let value = self.tx.data.number(count as u64);
            let name = match &include.select {
                Select::Name(name) => Some(self.tx.data.values.add(name)),
                Select::Tx(id) => Some(self.tx.data.values.add(self.set.names.name(*id))),
                Select::All | Select::Pattern(_) => None,
            };
            self.space.seen.push(Seen { variable: include.variable, name, value, is_count: true });
        }
    }

    fn see(&mut self, variable: Variable, name: Option<ValueId>, value: ValueId) {
        self.space.seen.push(Seen { variable, name, value, is_count: false });
    }

    fn gather_members(&mut self, list: &TargetList, include: &Include, sources: &[Source]) {
        let space = &mut *self.space;
        let data = &self.tx.data;
        for source in sources {
            for member in data.members(source.store) {
                let name = data.values.get(member.name);
                if include.select.takes(name, &mut space.select)
                    && !list.excludes(include.variable, name, &mut space.select)
                {
                    let value = if source.sees_names { member.name } else { member.value };
                    space.seen.push(Seen {
                        variable: source.variable,
                        name: Some(member.name),
                        value,
                        is_count: false,
                    });
                }
            }
        }
    }

    /// `XML:/*` is the text of the document, every other path its attributes (`//@*`): the two that rules use.
    fn gather_xml(&mut self, list: &TargetList, include: &Include) {
        let (path, store): (&[u8], _) = match &include.select {
            Select::Name(path) if path.contains(&b'@') => (b"//@*", Store::XmlAttributes),
            _ => (b"/*", Store::XmlContent),
        };
        if list.excludes(Variable::Xml, path, &mut self.space.select) {
            return;
        }
        for index in 0..self.tx.data.members(store).len() {
            let member = self.tx.data.members(store)[index];
            self.see(Variable::Xml, Some(member.name), member.value);
        }
    }

    fn gather_tx(&mut self, list: &TargetList, include: &Include) {
        if let Select::Tx(id) = include.select {
            let value = self.tx.data.tx(id);
            if let Some(text) = self.tx.data.tx_text(value) {
                let name = self.tx.data.values.add(self.set.names.name(id));
                if !list.excludes(Variable::Tx, self.set.names.name(id), &mut self.space.select) {
                    self.see(Variable::Tx, Some(name), text);
                }
            }
            return;
        }
        for index in 0..self.set.names.len() {
            let id = crate::ruleset::TxId(index as u16);
            let value = self.tx.data.tx(id);
            let name = self.set.names.name(id);
            if matches!(value, super::data::TxValue::Unset)
                || !include.select.takes(name, &mut self.space.select)
                || list.excludes(Variable::Tx, name, &mut self.space.select)
            {
                continue;
            }
            let Some(text) = self.tx.data.tx_text(value) else { continue };
            let name = self.tx.data.values.add(name);
            self.see(Variable::Tx, Some(name), text);
        }
        let source = Source { store: Store::Tx, sees_names: false, variable: Variable::Tx };
        self.gather_members(list, include, &[source]);
    }

    fn gather_rule(&mut self, include: &Include) {
        for name in RULE_MEMBERS {
            if !include.select.takes(name, &mut self.space.select) {
                continue;
            }
            let mut text = core::mem::take(&mut self.space.text);
            text.clear();
            self.append_rule_member(name, &mut text);
            let value = self.tx.data.values.add(&text);
            self.space.text = text;
            let name = self.tx.data.values.add(name);
            self.see(Variable::Rule, Some(name), value);
        }
    }

    /// What all texts of a group have together.
    pub(super) fn together(&mut self, group: u32) -> Together {
        let known = self.space.together[group as usize];
        if known.stamp == self.space.stamp {
            return known;
        }
        let of = self.set.groups[group as usize];
        let mut together = Together { stamp: self.space.stamp, is_empty: true, ..Together::default() };
        for index in self.gather(of.list) {
            let slot = self.slot_at(index, of.node);
            let slot = self.space.slot(slot);
            together.folded = together.folded.union(slot.folded);
            together.is_empty = false;
            together.len_max = together.len_max.max(slot.len());
        }
        self.space.together[group as usize] = together;
        together
    }

    /// Whether any text of the group holds a literal of this bit.
    pub(super) fn any_hit(&mut self, group: u32, bit: u32) -> bool {
        let together = self.together(group);
        let start = match together.hits {
            Some(start) => start,
            None => {
                let of = self.set.groups[group as usize];
                let range = self.gather(of.list);
                let mut slots = core::mem::take(&mut self.space.picked);
                slots.clear();
                slots.extend(range.map(|index| self.slot_at(index, of.node)));
                slots.sort_unstable();
                slots.dedup();
                let start = self.space.hits_together(self.set, &self.tx.data.values, slots.iter().copied());
                self.space.picked = slots;
                self.space.together[group as usize].hits = Some(start);
                start
            }
        };
        self.space.hit_at(start, bit)
    }

    /// The slot of a gathered text behind these transformations.
    #[inline]
    pub(super) fn slot_at(&mut self, seen: usize, node: crate::ruleset::Node) -> u32 {
        let value = self.space.seen[seen].value;
        let slot = self.space.slot_of(&self.tx.data.values, value);
        self.space.version(self.set, &self.tx.data.values, slot, node)
    }
}

/// Whether a set of needed bytes is met.
pub(super) fn meets(needed: Option<&ByteSet>, presence: &ByteSet) -> bool {
    needed.is_none_or(|needed| presence.meets(needed))
}

impl Data {
    /// The store behind a persistent collection, or `ENV`.
    pub(crate) const fn store_of(variable: Variable) -> Option<Store> {
        Some(match variable {
            Variable::Global => Store::Global,
            Variable::Ip => Store::Ip,
            Variable::Resource => Store::Resource,
            Variable::Session => Store::Session,
            Variable::User => Store::User,
            Variable::Env => Store::Env,
            _ => return None,
        })
    }
}
