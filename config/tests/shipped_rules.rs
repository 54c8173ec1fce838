//! `waf_rules.json` as the WAF will read it: each pattern compiles small, matches what it is for and spares the rest.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use regex::bytes::{Regex, RegexBuilder};
use secbeat_config::waf_rules::{Action, Rule, RuleSet};

/// Fewest patterns that the shipped file promises.
const RULES_MIN: usize = 150;

/// Largest compiled pattern in bytes: 250 of them then take less than 64 MiB, and most take a few KiB.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

fn shipped() -> RuleSet {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/waf_rules.json");
    RuleSet::parse(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

fn try_compile(rule: &Rule) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&rule.pattern).unicode(false).size_limit(COMPILED_BYTES_MAX).build()
}

fn compile(rule: &Rule) -> Regex {
    try_compile(rule).unwrap_or_else(|error| panic!("{}: {error}", rule.id))
}

#[test]
fn every_shipped_pattern_compiles_small() {
    let set = shipped();
    assert!(set.rules.len() >= RULES_MIN, "{} rules", set.rules.len());
    let mut wrong = Vec::new();
    for rule in &set.rules {
        match try_compile(rule) {
            Err(error) => wrong.push(format!("{}: {error}", rule.id)),
            Ok(regex) if regex.is_match(b"") => wrong.push(format!("{}: matches an empty value", rule.id)),
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_shipped_pattern_holds_to_its_examples() {
    let mut wrong = Vec::new();
    for rule in &shipped().rules {
        let regex = compile(rule);
        for value in rule.examples.matching.iter().filter(|value| !regex.is_match(value.as_bytes())) {
            wrong.push(format!("{} does not match {value:?}", rule.id));
        }
        for value in rule.examples.passing.iter().filter(|value| regex.is_match(value.as_bytes())) {
            wrong.push(format!("{} matches {value:?}", rule.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ordinary_values_are_spared_by_all_rules_that_act() {
    let set = shipped();
    let rules: Vec<_> = set.rules.iter().filter(|rule| rule.action != Action::Log).collect();
    for value in [
        "union+jack",
        "select a colour and update your profile",
        "I like cats; dogs are fine too",
        "$(amount)",
        "5 < 6 and 7 > 3",
        "O'Brien & Sons",
        "Rock 'n' roll or jazz = good",
        "the boys' -- and girls' -- choir",
        "JavaScript: the good parts",
        "Tom & Jerry | id cards; order by mail",
        "p@ss'w0rd\"--x",
        "Grüße aus Köln – „schön“; bis bald!",
        "请从菜单中选择一个；谢谢",
    ] {
        let found: Vec<_> = rules.iter().filter(|rule| compile(rule).is_match(value.as_bytes())).collect();
        let ids: Vec<_> = found.iter().map(|rule| rule.id.as_str()).collect();
        assert!(ids.is_empty(), "{value}: {ids:?}");
    }
}
