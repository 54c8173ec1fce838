//! Whole cases of ModSecurity v3's regression tests: rules, a request, a response, and what must come of them.
//!
//! A case names a status, a place to go to, and pieces of ModSecurity's logs. What was seen and decided is written into
//! a log in its words, as far as it speaks of things that are here; the rest is counted by kind in `NOT_LOOKED_FOR`.
//! Where the engine differs by design, the case and its reason stand in `EXCEPTIONS`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "engine/case.rs"]
mod case;
#[path = "seclang/disk.rs"]
mod disk;
#[path = "engine/log.rs"]
mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use case::Run;
use disk::{Disk, folder};
use regex::bytes::Regex;
use serde_json::Value;

/// Pieces of logs that are not looked for: how the pattern begins or what it holds, and why.
const NOT_LOOKED_FOR: &[(&str, &str)] = &[
    ("--A--", AUDIT_FORM),
    (r"\A[\s\S]{0}\z", AUDIT_FORM),
    ("Request was relevant", AUDIT_FORM),
    ("t:trim", STEPS),
    ("t:lowercase", STEPS),
    ("t:base64", STEPS),
    ("o0,", OFFSETS),
    ("v16,6v23", OFFSETS),
    ("o0,1v226", OFFSETS),
    ("o7,5v29", OFFSETS),
    ("Setting SecRuleEngine to", WORDS),
    ("Request body processing is enabled", WORDS),
    ("Registered XML namespace", WORDS),
    ("XML: Failed parsing document", WORDS),
    ("Response Content-Type is", WORDS),
    ("Running action: log", WORDS),
    ("Dropping the evaluation", WORDS),
    ("Rule engine disabled", WORDS),
    ("Multipart: ", PARSER_WORDS),
    ("Adding request argument", PARSER_WORDS),
    ("Added file part", PARSER_WORDS),
    ("Upload file limit", PARSER_WORDS),
    ("Skipping request argument", PARSER_WORDS),
    ("no filename= but filename*", PARSER_WORDS),
    ("Warning: ", PARSER_WORDS),
    ("Content-Disposition", PARSER_WORDS),
    ("Final boundary missing", PARSER_WORDS),
    ("nvalid part header", PARSER_WORDS),
    ("oundary ", PARSER_WORDS),
    ("Invalid boundary", PARSER_WORDS),
    ("boundary was quoted", PARSER_WORDS),
    ("No boundaries found", PARSER_WORDS),
    ("Failed to parse request body", PARSER_WORDS),
    ("Request body excluding files", PARSER_WORDS),
    ("name: a.*variable: 1", PARSER_WORDS),
    ("regex error 'MATCH_LIMIT'", LINEAR),
    ("MSC_PCRE", LINEAR),
    (r"parameter `\^attack\$'", EXPANDED),
    ("`Within' with parameter `/name1/'", EXPANDED),
    ("json.key1.key2.key3.key4.key5", WORDS),
];
const EXPANDED: &str = "an argument with macros is not told as it was expanded";
const AUDIT_FORM: &str = "the audit log's form is the node's affair";
const STEPS: &str = "single steps of transformations are not logged; tests/transform looks at each, and what a rule sees is looked for";
const OFFSETS: &str = "places of values in the request are not kept";
const WORDS: &str = "the engine's own words about itself; what follows from it is looked for in the status";
const PARSER_WORDS: &str = "words of the body parsers; tests/body looks at them";
const LINEAR: &str = "expressions run in linear time and have no limit to reach";

/// Cases that end otherwise here: how the file's name begins, a piece of the title or of the pattern, the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("", "@inspectFile is not supported", REFUSED),
    ("", "@fuzzyHash is not supported", REFUSED),
    ("", "@validateDTD is not supported", REFUSED),
    ("operator-rx", "unclosed group", "a rule that cannot be carried out is refused when it is read"),
    ("action-ctl_request_body_access", "756b6d74fa1a8ee2", BODY),
    ("action-ctl_rule_engine", "status 302", "a node that only looks never blocks because a rule says so"),
    ("action-msg", "variable expansion", PERCENT),
    ("collection-case-insensitive", "matched_var", PERCENT),
    ("collection-tx-with-macro", "PHPSESSID", PERCENT),
    ("variable-SESSIONID", "(2/2)", PERCENT),
    ("variable-USERID", "(2/2)", PERCENT),
    ("action-tag", "Rule tag: teste no-cache", "tags with macros are not told"),
    ("action-xmlns", "price", XPATH),
    ("config-xml_external_entity", "jo smith", XPATH),
    ("collection-resource", "RESOURCE:whee", "members are told without the key of their collection"),
    ("config-body_limits", "Reject", "a body beyond its limit is answered with 413, or 502, by the node"),
    ("variable-INBOUND_DATA_ERROR", "(1/1)", "what is not written is Reject, as the manual says"),
    (
        "config-update-action-by-id",
        "status 200",
        "a rule without a verdict has the default's, as the manual says",
    ),
    (
        "config-update-target-by-id",
        "exclude from ARGS_NAMES",
        "values that are left out are not names that are",
    ),
    ("issue-1725", "DURATION", "microseconds, as the manual says"),
    ("issue-1812", "foo=", "REQUEST_URI is as it was sent"),
    ("issue-1825", "ab0-_xy.txt", FILENAME),
    ("issue-1825", "status 200", FILENAME),
    ("issue-1831", "912160 - ", OPENED),
    ("variable-RULE", "IP:block_reason", OPENED),
    ("issue-2296", "Testing is a simple test", MEMBER),
    ("issue-2296", "TX (6/n)", MEMBER),
    ("variable-ENV", "Variable: ENV:", "the environment of the process is not shown to rules"),
    ("variable-ARGS_GET", "(6/6)", FRAGMENT),
    ("variable-QUERY_STRING", "fragment", FRAGMENT),
    ("variable-REQUEST_URI", "fragment", FRAGMENT),
    ("variable-UNIQUE_ID", "UNIQUE_ID", "its form is the node's affair"),
    ("variable-variation-count", "REQUEST_HEADERS:Accept", "a count is told with the name in lower case"),
    ("variable-FULL_REQUEST_LENGTH", "690", "the request line belongs to the request, as the manual says"),
    ("variable-STATUS", "(2/2)", "a request that is refused has no response whose status could be seen"),
];
const REFUSED: &str = "the rule is refused when it is compiled, with its reason";
const BODY: &str = "REQUEST_BODY holds forms, and what is forced: the Core Rule Set counts on it";
const PERCENT: &str = "a % behind a macro is a character like others";
const XPATH: &str = "XML has the paths /* and //@*";
const FILENAME: &str = "filename* is refused: forms have none (RFC 7578, 4.2)";
const OPENED: &str = "a collection that was not opened keeps nothing, as the manual says";
const MEMBER: &str = "a macro names one member";
const FRAGMENT: &str = "a target with # is refused before any rule sees it";

/// What was counted.
#[derive(Default)]
struct Count {
    cases: usize,
    refused: usize,
    checks: usize,
    passed: usize,
    excepted: BTreeMap<&'static str, usize>,
    not_looked_for: BTreeMap<&'static str, usize>,
    used: BTreeSet<usize>,
    wrong: Vec<String>,
}

impl Count {
    fn check(&mut self, file: &str, title: &str, what: &str, is_right: bool, shown: impl FnOnce() -> String) {
        self.checks += 1;
        if is_right {
            self.passed += 1;
            return;
        }
        let exception = EXCEPTIONS.iter().position(|(name, piece, _)| {
            file.starts_with(name) && (title.contains(piece) || what.contains(piece))
        });
        match exception {
            Some(place) => {
                self.used.insert(place);
                *self.excepted.entry(EXCEPTIONS[place].2).or_default() += 1;
            }
            None => self.wrong.push(format!("{file}: {title}: {what}\n{}", shown())),
        }
    }

    fn pattern(&mut self, file: &str, title: &str, pattern: &str, run: &Run) {
        if pattern.is_empty() {
            return;
        }
        if let Some((_, reason)) = NOT_LOOKED_FOR.iter().find(|(piece, _)| pattern.contains(piece)) {
            *self.not_looked_for.entry(reason).or_default() += 1;
            return;
        }
        let is_right = match skipped_rule(pattern) {
            Some(id) => !run.has_begun(id),
            None => {
                Regex::new(&format!("(?sm-u){pattern}")).is_ok_and(|regex| regex.is_match(run.log.as_bytes()))
            }
        };
        self.check(file, title, &format!("log with {pattern}"), is_right, || run.log.clone());
    }
}

/// The rule that a pattern says was passed over.
fn skipped_rule(pattern: &str) -> Option<u64> {
    let text = pattern.replace('\\', "");
    let rest = text.split_once("Skipped rule id '").or_else(|| text.split_once("Rule id: "))?.1;
    let end = rest.find(['\'', ' '])?;
    if !text.to_lowercase().contains("skipped") {
        return None;
    }
    rest[..end].rsplit(':').next()?.parse().ok()
}

#[test]
fn cases_of_the_regression_tests_end_as_they_should() {
    let Some(folder) = folder("SECLANG_VECTORS", "seclang-vectors") else { return };
    let files = Disk(folder.join("modsecurity/test"));
    let mut names: Vec<PathBuf> = std::fs::read_dir(files.0.join("test-cases/regression"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    names.sort();
    let mut count = Count::default();
    for path in names {
        let bytes = std::fs::read(&path).unwrap();
        let cases: Value = serde_json::from_str(&String::from_utf8_lossy(&bytes)).unwrap();
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        for case in cases.as_array().unwrap() {
            judge(&mut count, &file, case, &files);
        }
    }
    report(&count);
}

fn judge(count: &mut Count, file: &str, case: &Value, files: &Disk) {
    let expected = &case["expected"];
    let title = case["title"].as_str().unwrap_or_default();
    if expected["parser_error"].is_string() {
        return;
    }
    count.cases += 1;
    // Which rules are refused, and that they should be, `seclang_vectors` looks at.
    let run = match case::run(file, case, files) {
        Ok(run) => run,
        Err(message) => {
            count.refused += 1;
            count.check(file, title, &format!("compiles: {message}"), message.is_empty(), String::new);
            return;
        }
    };
    if let Some(code) = expected["http_code"].as_u64() {
        let status = u64::from(run.status);
        count.check(file, title, &format!("status {code} and not {status}"), status == code, || {
            run.log.clone()
        });
    }
    if let Some(url) = expected["redirect_url"].as_str() {
        let what = format!("location {url} and not {}", run.location);
        count.check(file, title, &what, run.location == url, || run.log.clone());
    }
    for key in ["debug_log", "error_log", "audit_log"] {
        if let Some(pattern) = expected[key].as_str() {
            count.pattern(file, title, pattern, &run);
        }
    }
}

fn report(count: &Count) {
    let sum = |map: &BTreeMap<&str, usize>| map.values().sum::<usize>();
    println!(
        "{} cases, {} of them with rules refused by design; {} checks, {} passed, {} excepted; {} patterns not looked for",
        count.cases,
        count.refused,
        count.checks,
        count.passed,
        sum(&count.excepted),
        sum(&count.not_looked_for)
    );
    for (reason, number) in &count.excepted {
        println!("  excepted {number}: {reason}");
    }
    for (reason, number) in &count.not_looked_for {
        println!("  not looked for {number}: {reason}");
    }
    assert!(count.wrong.is_empty(), "{} wrong:\n{}", count.wrong.len(), count.wrong.join("\n\n"));
    let unused: Vec<_> = (0..EXCEPTIONS.len()).filter(|place| !count.used.contains(place)).collect();
    assert!(
        unused.is_empty(),
        "exceptions that nothing needs: {:?}",
        unused.iter().map(|place| EXCEPTIONS[*place]).collect::<Vec<_>>()
    );
    assert!(count.checks > 500, "only {} checks", count.checks);
}
