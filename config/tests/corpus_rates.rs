//! How the shipped patterns do on the two corpora of `tests/waf/corpus`, without a WAF: values are taken out of
//! each request and decoded as the WAF does, then every pattern is tried on every value.
//!
//! `cargo test -p secbeat-config --test corpus_rates -- --nocapture` prints the rates and who is to blame. The real
//! thing, over HTTP, is `tests/waf/measure.py`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use regex::bytes::{Regex, RegexBuilder};
use secbeat_config::waf_rules::{Action, Rule, RuleSet};
use values::{Request, Value, values};

/// Fewest requests of each corpus.
const REQUESTS_MIN: usize = 1_500;
/// Most ordinary requests that may be refused, in percent. Code that people post is counted apart.
const FALSE_POSITIVES_PERCENT_MAX: f64 = 0.2;
/// Fewest attacks that must be refused, in percent.
const DETECTION_PERCENT_MIN: f64 = 85.0;
/// The class of ordinary requests that carry source code or SQL in prose: no pattern can tell them from attacks.
const CODE: &str = "code";

struct Rules(Vec<(Rule, Regex)>);

impl Rules {
    fn shipped() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("waf_rules.json");
        let set = RuleSet::parse(&fs::read_to_string(path).unwrap()).unwrap();
        let compile = |rule: &Rule| RegexBuilder::new(&rule.pattern).unicode(false).build().unwrap();
        Self(set.rules.into_iter().map(|rule| (rule.clone(), compile(&rule))).collect())
    }

    /// Ids of the rules that refuse or clean a request, with what each matched and a little after it.
    fn acting<'a>(&'a self, values: &[Value]) -> Vec<(&'a str, String)> {
        let mut found = Vec::new();
        for (rule, regex) in self.0.iter().filter(|(rule, _)| rule.action != Action::Log) {
            let hit = values.iter().find(|v| rule.applies_to(v.target) && regex.is_match(&v.bytes));
            if let Some(value) = hit {
                let at = regex
                    .find(&value.bytes)
                    .map_or(0..0, |m| m.start()..(m.end() + 20).min(value.bytes.len()));
                found.push((rule.id.as_str(), String::from_utf8_lossy(&value.bytes[at]).into_owned()));
            }
        }
        found
    }
}

fn corpus(name: &str) -> Vec<Request> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/waf/corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    texts
        .flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
        .collect()
}

/// Requests and refused requests of each class; `report` sees each request with what matched.
fn tally(
    requests: &[Request],
    mut report: impl FnMut(&Request, &[(&str, String)]),
) -> BTreeMap<String, (u32, u32)> {
    let rules = Rules::shipped();
    let mut classes = BTreeMap::<String, (u32, u32)>::new();
    for request in requests {
        let found = rules.acting(&values(request));
        let (all, refused) = classes.entry(request.class.clone()).or_default();
        *all += 1;
        *refused += u32::from(!found.is_empty());
        report(request, &found);
    }
    classes
}

fn percent(classes: &BTreeMap<String, (u32, u32)>, is_counted: impl Fn(&str) -> bool) -> f64 {
    let counted = classes.iter().filter(|(class, _)| is_counted(class)).map(|(_, counts)| counts);
    let (all, refused) = counted.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    f64::from(refused) * 100.0 / f64::from(all)
}

fn print(classes: &BTreeMap<String, (u32, u32)>) {
    for (class, (all, refused)) in classes {
        println!(
            "{class:16} {refused:5} of {all:5}  {:6.2} %",
            f64::from(*refused) * 100.0 / f64::from(*all)
        );
    }
}

#[test]
fn ordinary_requests_pass() {
    let requests = corpus("ordinary");
    assert!(requests.len() >= REQUESTS_MIN, "{} requests", requests.len());
    let classes = tally(&requests, |request, found| {
        for (rule, value) in found {
            println!("false positive: {} {} {rule}: {value:.160?}", request.class, request.id);
        }
    });
    print(&classes);
    let rate = percent(&classes, |class| class != CODE);
    println!("ordinary: {} requests, false positives {rate:.3} % without class {CODE}", requests.len());
    assert!(rate <= FALSE_POSITIVES_PERCENT_MAX, "{rate} % of ordinary requests are refused");
}

#[test]
fn attacks_are_refused() {
    let requests = corpus("attacks");
    assert!(requests.len() >= REQUESTS_MIN, "{} requests", requests.len());
    let classes = tally(&requests, |request, found| {
        if found.is_empty() {
            println!("missed: {} {} {:.200?}", request.class, request.id, request.summary());
        }
    });
    print(&classes);
    let rate = percent(&classes, |_| true);
    println!("attacks: {} requests, refused {rate:.2} %", requests.len());
    assert!(rate >= DETECTION_PERCENT_MIN, "only {rate} % of attacks are refused");
}
