//! From what was read to a rule set.
//!
//! Owns: numbering of rules, expressions, targets and names; where skipping lands; literals. Does not own: exceptions
//! (`exception` has applied them before), the actions of one rule (`action`).

use std::collections::HashMap;
use std::sync::Arc;

use super::action::{Defaults, Meaning};
use super::exception::{self, Entry};
use super::literal::{LiteralsBuilder, Side};
use super::selection::Wanted;
use super::target::TargetList;
use super::text::Text;
use super::{
    Briefs, Comparison, Described, Group, Names, Number, Pipelines, Rule, RuleBits, Ruleset, Skip, Test,
    TxRead, has_rule,
};
use crate::byte_set::ByteSet;
use crate::operator::rx::Rx;
use crate::operator::{Operator, Word};
use crate::seclang::ast::{
    self, Action, Configuration, OperatorCall, Phase, Position, Selector, Target, Template, TemplatePart,
};
use crate::seclang::settings::UnicodeMap;
use crate::seclang::{Diagnostics, Files};
use crate::variable::Variable;

pub(super) fn compile(configuration: &Configuration) -> Result<Ruleset, Diagnostics> {
    let mut compiler = Compiler::new(configuration);
    let entries = exception::applied(&configuration.directives);
    compiler.describe(&entries);
    for entry in &entries {
        compiler.entry(entry);
    }
    compiler.resolve_skips();
    compiler.finish()
}

/// Where a name can be skipped to: its place among all directives, and in each phase.
type Landing = (usize, [u32; 5]);

/// Data files that were read with the rules.
struct Data<'a> {
    configuration: &'a Configuration,
    position: Position,
}

impl Files for Data<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let found = self.configuration.data_file(self.position, path);
        found.map(<[u8]>::to_vec).ok_or_else(|| "it was not read with the rules".to_owned())
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.to_owned()])
    }
}

pub(super) struct Compiler<'a> {
    configuration: &'a Configuration,
    diagnostics: Diagnostics,
    rules: Vec<Rule>,
    phases: [Vec<u32>; 5],
    pub(super) names: Names,
    pipelines: Pipelines,
    lists: Vec<TargetList>,
    list_numbers: HashMap<Vec<TargetKey>, u32>,
    groups: Vec<Group>,
    group_numbers: HashMap<Group, u32>,
    expressions: Vec<Rx>,
    expression_numbers: HashMap<String, u32>,
    expression_hits: HashMap<(u32, u8), u32>,
    literals: [LiteralsBuilder; 2],
    /// Whose literals the rule that is compiled now needs.
    side: Side,
    selections: Vec<RuleBits>,
    descriptions: Vec<Described>,
    rules_count: usize,
    landings: HashMap<String, Vec<Landing>>,
    skips: Vec<(usize, usize, String)>,
    order: usize,
    notes: Vec<(Position, &'static str)>,
    defaults: Defaults,
}

/// A target as a key: `Target` with its kind of selector spelt out.
#[derive(PartialEq, Eq, Hash)]
struct TargetKey(Variable, u8, String, bool, bool);

impl TargetKey {
    fn of(target: &Target) -> Self {
        let (kind, text) = match &target.selector {
            Selector::All => (0, String::new()),
            Selector::Name(name) => (1, name.to_ascii_lowercase()),
            Selector::Pattern(pattern) => (2, pattern.clone()),
        };
        Self(target.variable, kind, text, target.is_count, target.is_exclusion)
    }
}

impl<'a> Compiler<'a> {
    fn new(configuration: &'a Configuration) -> Self {
        Self {
            configuration,
            diagnostics: Diagnostics::default(),
            rules: Vec::new(),
            phases: Default::default(),
            names: Names::default(),
            pipelines: Pipelines::default(),
            lists: Vec::new(),
            list_numbers: HashMap::new(),
            groups: Vec::new(),
            group_numbers: HashMap::new(),
            expressions: Vec::new(),
            expression_numbers: HashMap::new(),
            expression_hits: HashMap::new(),
            literals: Default::default(),
            side: Side::Request,
            selections: Vec::new(),
            descriptions: Vec::new(),
            rules_count: 0,
            landings: HashMap::new(),
            skips: Vec::new(),
            order: 0,
            notes: Vec::new(),
            defaults: Defaults::default(),
        }
    }

    /// Notes who the rules are before any is compiled, since `ctl` may name rules that follow.
    fn describe(&mut self, entries: &[Entry<'_>]) {
        let mut head = 0;
        for entry in entries {
            let Entry::Rule(rule) = entry else { continue };
            let mut description =
                Described { id: 0, tags: Vec::new(), message: None, head, links: rule.links.len() };
            for action in &rule.actions {
                match action {
                    Action::Id(id) => description.id = *id,
                    Action::Tag(tag) => description.tags.extend(tag.as_text().map(str::to_owned)),
                    Action::Msg(message) => description.message = message.as_text().map(str::to_owned),
                    _ => {}
                }
            }
            head += 1 + rule.links.len();
            self.descriptions.push(description);
        }
        self.rules_count = head;
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        self.order += 1;
        match entry {
            Entry::Marker(name) => self.land(name),
            Entry::DefaultAction(default) => self.defaults.set(default),
            Entry::Rule(rule) => self.chain(rule),
        }
    }

    fn land(&mut self, name: &str) {
        let places = core::array::from_fn(|phase| self.phases[phase].len() as u32);
        self.landings.entry(name.to_owned()).or_default().push((self.order, places));
    }

    fn chain(&mut self, rule: &ast::Rule) {
        let phase = phase_of(rule);
        let head = self.rules.len();
        self.phases[phase as usize - 1].push(head as u32);
        self.rule(rule, phase, None);
        let id = self.rules[head].id;
        for link in &rule.links {
            self.rule(link, phase, Some(head));
        }
        self.rules[head].links = rule.links.len() as u16;
        self.land(&id.to_string());
    }

    /// Compiles a head, or a link of the chain of `head`.
    fn rule(&mut self, rule: &ast::Rule, phase: Phase, head: Option<usize>) {
        self.side = Side::of(phase);
        let meaning = Meaning::of(self, rule, phase);
        let (test, hit) = self.test(rule, &meaning);
        let group = self.group(rule, &meaning);
        let index = self.rules.len();
        let (skip, landing) = meaning.skip;
        if let Some(name) = landing {
            self.skips.push((head.unwrap_or(index), self.order, name));
        }
        let is_negated = rule.operator.as_ref().is_some_and(|operator| operator.is_negated);
        let mut compiled = Rule {
            id: meaning.id,
            label: meaning.label,
            position: rule.position,
            phase,
            group,
            steps: meaning.steps.into(),
            is_multi_match: meaning.is_multi_match,
            is_negated,
            captures: meaning.captures,
            needed: if is_negated { None } else { needed_by(&test) },
            test,
            hit: if is_negated { None } else { hit },
            effects: meaning.effects.into(),
            links: 0,
            disruption: meaning.disruption,
            status: meaning.status,
            tarpit_s: meaning.tarpit_s,
            skip,
            is_logged: meaning.is_logged,
            is_audited: meaning.is_audited,
            message: meaning.message,
            log_data: meaning.log_data,
            severity: meaning.severity,
            tags: meaning.tags.into(),
            version: meaning.version,
            revision: meaning.revision,
            maturity: meaning.maturity,
            accuracy: meaning.accuracy,
        };
        if let Some(head) = head {
            compiled.id = self.rules[head].id;
            // A link may say how the chain goes on.
            if compiled.skip != Skip::No {
                self.rules[head].skip = compiled.skip;
            }
            // ... and with which status it ends.
            if rule.actions.iter().any(|action| matches!(action, Action::Status(_))) {
                self.rules[head].status = compiled.status;
            }
        }
        self.rules.push(compiled);
    }

    fn test(&mut self, rule: &ast::Rule, meaning: &Meaning) -> (Test, Option<u32>) {
        let Some(operator) = &rule.operator else { return (Test::Always, None) };
        if let Some(test) = self.tx_number(rule, operator, meaning) {
            return (test, None);
        }
        let name = operator.name.as_str();
        if name.eq_ignore_ascii_case("rx") || name.eq_ignore_ascii_case("rxGlobal") {
            return self.expression(rule, operator);
        }
        let data = Data { configuration: self.configuration, position: rule.position };
        match Operator::compile(name, operator.argument.as_text(), "", &data) {
            Ok(compiled) => {
                let note = match Word::from_name(name) {
                    Some(Word::GeoLookup) => {
                        Some("@geoLookup: no list of addresses and countries; it finds nothing")
                    }
                    Some(Word::Rbl) => {
                        Some("@rbl: no name server is asked while a request waits; it finds nothing")
                    }
                    _ => None,
                };
                self.notes.extend(note.map(|note| (rule.position, note)));
                let hit = compiled.phrases().map(|phrases| self.literals[self.side as usize].add(phrases));
                let argument = Text::compile(&operator.argument, &mut self.names);
                (Test::Operator(Box::new(compiled), argument), hit)
            }
            Err(error) => {
                self.wrong(rule.position, error.to_string());
                (Test::Always, None)
            }
        }
    }

    /// A rule that compares one `TX` number: most of those that steer others.
    fn tx_number(&mut self, rule: &ast::Rule, operator: &OperatorCall, meaning: &Meaning) -> Option<Test> {
        let comparison = match operator.name.to_ascii_lowercase().as_str() {
            "eq" => Comparison::Equal,
            "ge" => Comparison::GreaterOrEqual,
            "gt" => Comparison::Greater,
            "le" => Comparison::LessOrEqual,
            "lt" => Comparison::Less,
            _ => return None,
        };
        let [target] = rule.targets.as_slice() else { return None };
        let Selector::Name(name) = &target.selector else { return None };
        let is_plain = target.variable == Variable::Tx && !target.is_exclusion && meaning.steps.is_empty();
        if !is_plain || meaning.captures || name.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let argument = match operator.argument.0.as_slice() {
            [TemplatePart::Text(text)] => Number::Static(text.trim().parse().ok()?),
            [TemplatePart::Macro(Variable::Tx, Some(name))] => {
                Number::Tx(self.names.intern(name.as_bytes())?)
            }
            _ => return None,
        };
        let id = self.names.intern(name.as_bytes())?;
        let read = if target.is_count { TxRead::Count(id) } else { TxRead::Value(id) };
        Some(Test::TxNumber { read, comparison, argument })
    }

    fn expression(&mut self, rule: &ast::Rule, operator: &OperatorCall) -> (Test, Option<u32>) {
        let is_global = operator.name.eq_ignore_ascii_case("rxGlobal");
        let Some(pattern) = operator.argument.as_text() else {
            return (Test::RxMacro(Text::compile(&operator.argument, &mut self.names)), None);
        };
        let Some(number) = self.expression_number(rule.position, pattern) else {
            return (Test::Always, None);
        };
        let hit = match self.expression_hits.get(&(number, self.side as u8)) {
            Some(hit) => Some(*hit),
            None => {
                let literals = &self.expressions[number as usize].need().literals;
                (!literals.is_empty()).then(|| {
                    let hit = self.literals[self.side as usize].add(literals.iter().map(Vec::as_slice));
                    self.expression_hits.insert((number, self.side as u8), hit);
                    hit
                })
            }
        };
        (if is_global { Test::RxGlobal(number) } else { Test::Rx(number) }, hit)
    }

    fn expression_number(&mut self, position: Position, pattern: &str) -> Option<u32> {
        if let Some(number) = self.expression_numbers.get(pattern) {
            return Some(*number);
        }
        match Rx::compile(pattern) {
            Ok(rx) => {
                let number = self.expressions.len() as u32;
                self.expressions.push(rx);
                self.expression_numbers.insert(pattern.to_owned(), number);
                Some(number)
            }
            Err(error) => {
                self.wrong(position, format!("@rx: {error}"));
                None
            }
        }
    }

    fn group(&mut self, rule: &ast::Rule, meaning: &Meaning) -> u32 {
        let list = self.list(rule.position, &rule.targets);
        let node =
            if meaning.is_multi_match { Some(super::ROOT) } else { self.pipelines.intern(&meaning.steps) };
        let Some(node) = node else {
            self.wrong(rule.position, "too many different sequences of transformations".to_owned());
            return 0;
        };
        let group = Group { list, node };
        *self.group_numbers.entry(group).or_insert_with(|| {
            self.groups.push(group);
            self.groups.len() as u32 - 1
        })
    }

    /// The number of a list of targets.
    pub(super) fn list(&mut self, position: Position, targets: &[Target]) -> u32 {
        let key: Vec<TargetKey> = targets.iter().map(TargetKey::of).collect();
        if let Some(number) = self.list_numbers.get(&key) {
            return *number;
        }
        match TargetList::compile(targets, Some(&mut self.names)) {
            Ok(list) => {
                self.lists.push(list);
                let number = self.lists.len() as u32 - 1;
                self.list_numbers.insert(key, number);
                number
            }
            Err(error) => {
                self.wrong(position, format!("selector: {error}"));
                0
            }
        }
    }

    /// The number of a set of rules: by identifiers, tag or message.
    pub(super) fn selection(&mut self, wanted: &Wanted<'_>) -> u32 {
        let bits = wanted.bits(&self.descriptions, self.rules_count);
        if let Some(known) = self.selections.iter().position(|selection| *selection == bits) {
            return known as u32;
        }
        self.selections.push(bits);
        self.selections.len() as u32 - 1
    }

    pub(super) fn wrong(&mut self, position: Position, message: String) {
        let file = self.configuration.files.get(usize::from(position.file)).map_or("", String::as_str);
        self.diagnostics.push(file, position.line, message);
    }

    pub(super) fn text(&mut self, template: &Template) -> Text {
        Text::compile(template, &mut self.names)
    }

    pub(super) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    fn resolve_skips(&mut self) {
        for (head, order, name) in core::mem::take(&mut self.skips) {
            let phase = self.rules[head].phase as usize - 1;
            let landing = self
                .landings
                .get(&name)
                .and_then(|landings| landings.iter().find(|(place, _)| *place > order))
                .map_or(u32::MAX, |(_, places)| places[phase]);
            self.rules[head].skip = Skip::To(landing);
        }
    }

    fn finish(self) -> Result<Ruleset, Diagnostics> {
        let mut diagnostics = self.diagnostics;
        let literals = self.literals.map(|literals| {
            literals.build().unwrap_or_else(|message| {
                diagnostics.push("", 0, message);
                super::Literals::default()
            })
        });
        if !diagnostics.list.is_empty() {
            return Err(diagnostics);
        }
        let mut settings = self.configuration.settings.clone();
        settings.without_effect.extend(self.notes);
        // Without a file, the best fit of US-ASCII: what most servers behind make of full-width letters.
        settings.unicode_map.get_or_insert_with(|| Arc::new(UnicodeMap::us_ascii()));
        let briefs = Briefs::new(&self.phases, &self.rules, &self.groups, &self.lists, &self.expressions);
        let heads = self.phases.iter().flatten();
        let by_id = heads.map(|head| (self.rules[*head as usize].id, *head)).collect();
        debug_assert!(self.selections.iter().all(|bits| !has_rule(bits, self.rules_count)));
        Ok(Ruleset {
            settings,
            rules: self.rules,
            briefs,
            phases: self.phases,
            pipelines: self.pipelines,
            lists: self.lists,
            groups: self.groups,
            names: self.names,
            expressions: self.expressions,
            literals,
            selections: self.selections,
            descriptions: self.descriptions,
            by_id,
            files: self.configuration.files.clone(),
        })
    }
}

pub(super) fn phase_of(rule: &ast::Rule) -> Phase {
    let mut phases = rule.actions.iter().rev().filter_map(|action| match action {
        Action::Phase(phase) => Some(*phase),
        _ => None,
    });
    phases.next().unwrap_or(Phase::RequestBody)
}

fn needed_by(test: &Test) -> Option<ByteSet> {
    match test {
        Test::Operator(operator, _) => operator.bytes_needed(),
        _ => None,
    }
}
