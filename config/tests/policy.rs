//! The policy file: what an operator is told, the shipped example, the corpus of the fuzzer.
//!
//! Golden files: `tests/golden/policy/<name>.toml` is read, `<name>.txt` holds the messages. `UPDATE_GOLDEN=1` writes
//! them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use secbeat_config::Layers;
use secbeat_config::policy::{Document, Key, Kind, Resource, ResourceError, Set, check, compose, fuzz};

fn directory(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn messages_are_as_recorded() {
    let mut names: Vec<_> =
        fs::read_dir(directory("tests/golden/policy")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    names.sort();
    assert!(names.len() >= 5, "golden files are missing");
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let got = format!("{}\n", Document::parse(&name, &text).expect_err("a golden file holds mistakes"));
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &got).unwrap();
        }
        assert_eq!(got, fs::read_to_string(&golden).unwrap_or_default(), "{}", golden.display());
    }
}

fn example() -> (Document, Set) {
    let text = fs::read_to_string(directory("policy.example.toml")).unwrap();
    let document = Document::parse("policy.example.toml", &text).unwrap();
    let mut set = Set::new();
    document.resources.iter().for_each(|resource| set.insert(resource.clone()).unwrap());
    (document, set)
}

#[test]
fn shipped_example_has_every_kind_fits_together_and_applies_to_an_empty_file() {
    let (document, set) = example();
    for kind in Kind::ALL {
        assert!(set.iter().any(|(key, _)| key.kind == kind), "{kind} is missing");
    }
    assert_eq!(document.bans.len(), 1);
    assert_eq!(document.bans[0].duration, Some(Duration::from_secs(3_600)));
    assert_eq!(document.bans[0].prefix.to_string(), "203.0.113.7/32");
    check(&set).unwrap();
    let composed = compose(&Layers::default(), &set).unwrap();
    assert_eq!(composed.rejected, []);
    assert_eq!(composed.config.filter.rules[1].name, "edge/deny-ssh");
    assert_eq!(composed.config.limits.source_rate, Some(50));
    assert_eq!(composed.config.listeners.len(), 1);
    assert_eq!(composed.config.waf.rules[0].id, "old-cms");
}

#[test]
fn set_written_as_a_file_is_the_same_set_again() {
    let (_, set) = example();
    let text = Document::from_set(&set);
    let again = Document::parse("again", &text).unwrap();
    let mut other = Set::new();
    again.resources.into_iter().for_each(|resource| other.insert(resource).unwrap());
    assert_eq!(set.hash(), other.hash(), "{text}");
}

#[test]
fn body_from_a_file_and_body_from_json_have_one_hash() {
    let (_, set) = example();
    for (key, resource) in set.iter() {
        let pretty = serde_json::to_string_pretty(&resource.value()).unwrap();
        assert_eq!(Resource::parse(key.clone(), &pretty).unwrap(), **resource, "{key}");
    }
}

#[test]
fn messages_of_a_body_name_the_rule_the_key_and_what_is_allowed() {
    let message =
        |key: &str, body: &str| Resource::parse(key.parse::<Key>().unwrap(), body).unwrap_err().to_string();
    assert_eq!(
        message("filter-set/edge", r#"{"rules":[{"id":"a"},{"id":"b","rate":0,"protcol":"tcp"}]}"#),
        "filter-set/edge: rules[id=b]: [[rules]] rate: 0 is out of range: must be 1 to 10000000 packets/s\n\
         rules[id=b]: [[rules]] protcol: unknown key; did you mean `protocol`?"
    );
    assert_eq!(
        message("limits/default", r#"{"source_rate":"many"}"#),
        "limits/default: body: source_rate: \"many\" is not a whole number"
    );
    assert!(message("limits/other", "{}").contains("it is called `limits/default`"));
    assert!(message("list/a", "[]").contains("not a JSON object"));
    assert!(message("list/a", r#"{"action":"allow","action":"block"}"#).contains("`action` stands twice"));
    assert!(message("list/a", r#"{"action":null}"#).contains("a null is not a string"));
    assert!(
        message("listener/web", r#"{"bind_address":"0.0.0.0:1","name":"other"}"#).contains("leave it out")
    );
    assert!(message("backend-group/b", r#"{"backends":[]}"#).contains("at least one backend"));
    assert!(message("waf-set/w", r#"{"audit_log":"/etc/passwd"}"#).contains("names a file of the node"));
    assert!(
        message("waf-set/w", r#"{"rules":[{"id":"x"}]}"#)
            .contains("rules[id=x]: WAF rules: missing field `name`")
    );
    let large = format!(r#"{{"action":"allow","prefixes":["{}"]}}"#, "1".repeat(5 << 20));
    assert!(message("list/a", &large).contains("more than the 4194304 that one resource may have"));
}

#[test]
fn single_rules_are_added_replaced_and_removed_in_place() {
    let key: Key = "filter-set/edge".parse().unwrap();
    let empty = Resource::empty_rules(key.clone()).unwrap();
    let ids =
        |resource: &Resource| resource.rules().into_iter().map(|(id, _)| id).collect::<Vec<_>>().join(" ");
    let three = empty.with_rules(&[r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"id":"c"}"#], &[], false).unwrap();
    assert_eq!(ids(&three), "a b c");
    let changed =
        three.with_rules(&[r#"{"id":"d"}"#, r#"{"id":"b","action":"pass"}"#], &["a"], false).unwrap();
    assert_eq!(ids(&changed), "b c d");
    assert_eq!(changed.rules()[0].1["action"], "pass");
    assert_eq!(ids(&changed.with_rules(&[r#"{"id":"x"}"#], &[], true).unwrap()), "x");
    let error = |result: Result<Resource, ResourceError>| result.unwrap_err().to_string();
    assert!(error(three.with_rules(&[], &["cc"], false)).contains("no rule with this id"));
    assert!(error(three.with_rules(&[r#"{"action":"drop"}"#], &[], false)).contains("each rule has an `id`"));
    assert!(error(three.with_rules(&[r#"{"id":"x"}"#, r#"{"id":"x"}"#], &[], false)).contains("given twice"));
    assert!(error(three.with_rules(&[r#"{"id":"x","rat":1}"#], &[], false)).contains("did you mean `rate`"));
    assert!(error(Resource::empty_rules("list/a".parse().unwrap())).contains("only filter-set and waf-set"));
    let many: Vec<String> = (0..=16_384).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(error(empty.with_rules(&many, &[], false)).contains("must be at most 16384"));
}

#[test]
fn corpus_of_the_fuzzer_is_replayed() {
    let mut count = 0;
    for entry in fs::read_dir(directory("../fuzz/corpus/config_policy")).unwrap() {
        fuzz(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 8, "the corpus is missing");
}

/// Headers, and keys with values that are often right.
const LINES: &str = concat!(
    "(\\[\\[?(limits|lists|listeners|filter_sets|filter_sets.rules|waf_sets|backend_groups|",
    "backend_groups.backends|bans)\\]?\\]\n|",
    "(name|id|action|prefixes|priority|address|bind_address|rules|source_rate|for|prefix|enable) = ",
    "(\"[ -~]{0,12}\"|\"(allow|drop|10.0.0.0/8|192.0.2.1:80)\"|-?[0-9]{1,20}|true|\\[[^\\]\n]{0,20}\\])\n){0,24}"
);
const JSON: &str = concat!(
    "(\\{|\\}|\\[|\\]|:|,|\"(rules|id|action|name|prefixes|backends|x)\"|",
    "\"[a-z.$/\\\\ ]{0,6}\"|-?[0-9]{1,20}|null|true|1e9){0,24}"
);

proptest! {
    /// Whatever the text, the answer is a policy or a list of mistakes, never a panic.
    #[test]
    fn any_text_is_answered(text in LINES) {
        fuzz(text.as_bytes());
    }

    #[test]
    fn any_json_is_answered(text in JSON) {
        fuzz(text.as_bytes());
    }
}
