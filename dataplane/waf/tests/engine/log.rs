//! What an evaluation saw and decided, in the words of ModSecurity's logs.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use secbeat_waf::ruleset::Ruleset;
use secbeat_waf::seclang::ast::{Action, Configuration, Directive, Rule, Selector, Template, TemplatePart};
use secbeat_waf::transaction::{Observer, Transaction};
use secbeat_waf::transform::Transformation;

/// A rule after all others that sees what variables hold in the end; not part of the log.
pub(crate) const PROBE: &str = "SecRule TX|IP|GLOBAL|RESOURCE|SESSION|USER|ENV \"@unconditionalMatch\" \
     \"id:4000000000,phase:5,pass,nolog,noauditlog,t:none\"";
const PROBE_ID: u64 = 4_000_000_000;
/// How much of a value ModSecurity's log shows.
const SHOWN: usize = 80;

/// How a rule is written: operator, argument, targets.
type Call = (String, String, String);

#[derive(Default)]
struct Inner {
    text: String,
    /// What variables hold in the end; before the rest, as it was set before it was seen.
    held: String,
    uri: String,
    begun: Vec<u64>,
    current: u64,
    /// By rule and link: how its call, and its targets, are written.
    calls: BTreeMap<(u64, usize), Option<Call>>,
}

/// A log that an evaluator writes and a test reads.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Inner>>);

fn template(template: &Template) -> String {
    let parts = template.0.iter().map(|part| match part {
        TemplatePart::Text(text) => text.clone(),
        TemplatePart::Macro(variable, None) => format!("%{{{}}}", variable.name()),
        TemplatePart::Macro(variable, Some(name)) => format!("%{{{}.{name}}}", variable.name()),
    });
    parts.collect()
}

fn call(rule: &Rule) -> Option<Call> {
    let operator = rule.operator.as_ref()?;
    let mut name = operator.name.clone();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let targets: Vec<String> = rule
        .targets
        .iter()
        .map(|target| match &target.selector {
            Selector::All => target.variable.name().to_owned(),
            Selector::Name(name) | Selector::Pattern(name) => format!("{}:{name}", target.variable.name()),
        })
        .collect();
    Some((name, template(&operator.argument), targets.join("|")))
}

fn id_of(rule: &Rule) -> u64 {
    let mut ids =
        rule.actions.iter().filter_map(|action| if let Action::Id(id) = action { Some(*id) } else { None });
    ids.next_back().unwrap_or(0)
}

/// As ModSecurity shows a value: what cannot be printed in hexadecimal, and no more than some of it.
fn shown(value: &[u8]) -> String {
    let mut text = String::new();
    for byte in value {
        if (0x20..0x7f).contains(byte) {
            text.push(char::from(*byte));
        } else {
            write!(text, "\\x{byte:02x}").unwrap();
        }
    }
    if text.len() > SHOWN {
        let left = text.len() - SHOWN;
        text.truncate(SHOWN);
        write!(text, " ({left} characters omitted)").unwrap();
    }
    text
}

impl Log {
    pub(crate) fn new(configuration: &Configuration, uri: &str) -> Self {
        let mut inner = Inner { uri: uri.to_owned(), ..Inner::default() };
        for directive in &configuration.directives {
            let Directive::Rule(rule) = directive else { continue };
            let id = id_of(rule);
            for (link, part) in std::iter::once(rule.as_ref()).chain(&rule.links).enumerate() {
                inner.calls.insert((id, link), call(part));
            }
        }
        Self(Arc::new(Mutex::new(inner)))
    }

    pub(crate) fn line(&self, line: &str) {
        let mut inner = self.0.lock().unwrap();
        let uri = inner.uri.clone();
        writeln!(inner.text, "[1] [{uri}] [9] {line}").unwrap();
    }

    /// The matches, as ModSecurity's error log tells them.
    pub(crate) fn conclude(&self, tx: &Transaction, set: &Ruleset) {
        for found in tx.matches(set) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let call = self.last_call(found.id);
            let matched = call.map_or(String::new(), |(name, argument, _)| {
                format!(
                    "Matched \"Operator `{name}' with parameter `{argument}' against variable `{}' (Value: `{}' ) ",
                    text(found.name),
                    text(found.value)
                )
            });
            let mut line = format!(
                "ModSecurity: Warning. {matched}[line \"{}\"] [id \"{}\"] [msg \"{}\"] [data \"{}\"] [severity \"{}\"]",
                found.line,
                found.id,
                text(found.message),
                text(found.data),
                found.severity.unwrap_or(0)
            );
            let view = set.rule_by_id(found.id).unwrap();
            write!(line, " [ver \"{}\"]", view.version.unwrap_or_default()).unwrap();
            let (maturity, accuracy) = view.quality;
            write!(
                line,
                " [maturity \"{}\"] [accuracy \"{}\"]",
                maturity.unwrap_or(0),
                accuracy.unwrap_or(0)
            )
            .unwrap();
            for tag in found.tags.iter() {
                write!(line, " [tag \"{tag}\"]").unwrap();
            }
            self.matched(&line, &String::from_utf8_lossy(found.message), found.tags.iter());
        }
    }

    /// How the last link of a rule's chain is written.
    fn last_call(&self, id: u64) -> Option<Call> {
        let inner = self.0.lock().unwrap();
        let last = inner.calls.range((id, 0)..=(id, usize::MAX)).next_back();
        last.and_then(|(_, call)| call.clone())
    }

    fn matched<'a>(&self, line: &str, message: &str, tags: impl Iterator<Item = &'a str>) {
        self.line(line);
        self.line(&format!("Saving msg: {message}"));
        for tag in tags {
            self.line(&format!("Rule tag: {tag}"));
        }
    }

    /// The text, and the rules that were asked.
    pub(crate) fn taken(&self) -> (String, Vec<u64>) {
        let mut inner = self.0.lock().unwrap();
        let text = format!("{}{}", inner.held, inner.text);
        (text, std::mem::take(&mut inner.begun))
    }

    /// What a variable holds in the end.
    fn held(&self, name: &str, value: &str) {
        let before = std::mem::take(&mut self.0.lock().unwrap().text);
        self.held_lines(name, value);
        let mut inner = self.0.lock().unwrap();
        let lines = std::mem::replace(&mut inner.text, before);
        inner.held.push_str(&lines);
    }

    fn held_lines(&self, name: &str, value: &str) {
        self.line(&format!("Saving variable: {name} with value: {value}"));
        if let Some(name) = name.strip_prefix("ENV:") {
            self.line(&format!("Setting environment variable: {name} to {value}"));
        }
        if let Some(number) = name.strip_prefix("TX:") {
            self.line(&format!("Added regex subexpression TX.{number}: {value}"));
            for word in ["DetectSQLi", "DetectXSS", "VerifyCC", "VerifyCPF", "VerifySSN", "VerifySVNR"] {
                self.line(&format!("Added {word} match TX.{number}: {value}"));
            }
        }
    }
}

impl Observer for Log {
    fn wants_all(&self) -> bool {
        true
    }

    fn begin(&mut self, rule: u64, link: usize) {
        let mut inner = self.0.lock().unwrap();
        inner.current = rule;
        if rule == PROBE_ID {
            return;
        }
        inner.begun.push(rule);
        let call = inner.calls.get(&(rule, link)).cloned().flatten();
        drop(inner);
        match call {
            Some((name, argument, targets)) => self.line(&format!(
                "(Rule: {rule}) Executing operator \"{name}\" with param \"{argument}\" against {targets}."
            )),
            None => self.line(&format!("(Rule: {rule}) Executing unconditional rule...")),
        }
    }

    fn value(&mut self, name: &[u8], value: &[u8], transformations: &[Transformation], _is_match: bool) {
        // A count has its collection's name there.
        let name = String::from_utf8_lossy(name.strip_prefix(b"&").unwrap_or(name)).into_owned();
        if self.0.lock().unwrap().current == PROBE_ID {
            self.held(&name, &String::from_utf8_lossy(value));
            return;
        }
        let value = shown(value);
        if let Some(last) = transformations.last() {
            self.line(&format!(" T (0) t:{}: \"{value}\"", last.name()));
        }
        self.line(&format!("Target value: \"{value}\" (Variable: {name})"));
    }

    fn end(&mut self, rule: u64, _link: usize, is_match: bool) {
        if rule != PROBE_ID {
            self.line(&format!("Rule returned {}.", u8::from(is_match)));
        }
    }
}
