//! Body of the fuzz target `waf_transaction`, shared with the corpus replay in `tests/engine.rs`.
//!
//! Not part of the interface. A rule set that names every variable, transformation and operator judges a request cut
//! from the bytes. Panics when a property that must hold for all requests does not: rules answered beforehand are those
//! that would not have matched, a transaction that is used again ends the same, work and matches stay within their
//! bounds.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use super::{
    Budget, Connection, Evaluator, Limit, Observer, Persistent, RequestHead, ResponseHead, Transaction,
};
use crate::ruleset::Ruleset;
use crate::seclang::{Files, read_text};
use crate::transform::Transformation;
use crate::variable::Variable;

/// Operators that rules of the set cycle through.
const OPERATORS: &[&str] = &[
    r"@rx (?i)(?:union\s+select|<script|\.\./|[0-9]{2,}x)",
    "@contains abc",
    "@pm select union script passwd",
    r"!@rx ^[\x20-\x7e]*$",
    "@beginsWith a",
    "@endsWith =",
    "@detectSQLi",
    "@detectXSS",
    "@validateByteRange 32-126",
    "@streq abc",
    "@within abc,abd,abe",
    "@ge 3",
    "@containsWord abc",
    "@validateUrlEncoding",
    "@validateUtf8Encoding",
    r"@rxGlobal \d+",
    r"@verifyCC \d{13,16}",
    "@ipMatch 192.0.2.0/24,2001:db8::/32",
    "@restpath /{a}/{b}",
    "@strmatch def",
    r"@verifySSN \d{3}-?\d{2}-?\d{4}",
    r"@verifyCPF ([0-9]{3}\.){2}[0-9]{3}-[0-9]{2}",
    r"@rx %{tx.last}",
    "@contains %{args.a}",
    "@unconditionalMatch",
    "@noMatch",
    r"@rx \bsleep\s*\(",
    "@lt 2",
    r"!@rx (?i)^(?:get|post)$",
    "!@pm a e i o u",
    r"@rx (?i)\b(?:onerror|onload)\s*=",
    r"@rx etc/(?:passwd|shadow)",
    r"@rx \$\{jndi:",
    r"@rx ^[a-z]{3}$",
    r"@rx (?:;|\|)\s*(?:cat|id|ls)\b",
    r"@rx \x{ff}",
];

/// Rules with what the others have not: chains, captures, exclusions, counts, `ctl`, `multiMatch`, skipping.
const RULES: &str = r#"
SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess On
SecArgumentsLimit 40
SecAction "id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR},setvar:ip.n=+1,setvar:tx.last=zz"
SecRule ARGS "@rx ^(.)(.)?" "id:2,phase:1,pass,log,capture,setvar:tx.n=+1,setvar:'tx.m_%{tx.1}=%{tx.2}',msg:'%{tx.1}%{tx.2}'"
SecRule ARGS|!ARGS:/^b/|!ARGS:a "@rx ." "id:3,phase:2,pass,log,chain,msg:'%{MATCHED_VAR_NAME}',logdata:'%{MATCHED_VAR}'"
  SecRule MATCHED_VARS "@rx [a-z]" "t:lowercase,chain,setvar:tx.last=%{MATCHED_VAR}"
    SecRule TX:/^m_/ "@rx ." ""
SecRule &ARGS "@gt 2" "id:4,phase:2,pass,log"
SecRule &REQUEST_HEADERS:Cookie "@eq 0" "id:5,phase:1,pass,nolog,skip:1"
SecRule REQUEST_HEADERS:Content-Type "@contains xml" "id:6,phase:1,pass,log,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "@contains json" "id:7,phase:1,pass,log,ctl:requestBodyProcessor=JSON"
SecRule ARGS "@rx [A-Z%&\\]" "id:8,phase:2,pass,log,multiMatch,t:urlDecodeUni,t:htmlEntityDecode,t:lowercase,setvar:tx.mm=+1,msg:'%{tx.mm}'"
SecRule ARGS:off "@streq 1" "id:9,phase:1,pass,log,ctl:ruleRemoveById=100-120,ctl:ruleRemoveTargetById=121-400;ARGS"
SecRule TX:n "@ge 3" "id:10,phase:2,pass,log,skipAfter:END"
SecRule ARGS_NAMES|REQUEST_COOKIES_NAMES "@rx ^[^a-z]" "id:11,phase:2,pass,log,capture,t:none,t:length"
SecMarker END
SecRule ARGS:deny "@streq 1" "id:12,phase:2,deny,status:406"
SecRule XML:/*|XML://@* "@rx ." "id:13,phase:2,pass,log,t:compressWhitespace"
SecRule ARGS "@rx (?s)^.{3}" "id:14,phase:5,pass,log,sanitiseMatched,t:base64Decode"
"#;

/// Most matches noted in the bounded run.
const MATCHES_MAX: u32 = 8;
/// Budget of the bounded run, bytes.
const WORK_BYTES_MAX: u64 = 4_096;
/// How often one rule of the set may read what is kept of a request: steps, prefilters and links of a chain.
const READS_OF_A_RULE_MAX: u64 = 40;

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("not there".into())
    }

    fn expand(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// Sees every value, so that no rule is answered beforehand.
struct SeesAll;

impl Observer for SeesAll {
    fn wants_all(&self) -> bool {
        true
    }

    fn begin(&mut self, _: u64, _: usize) {}

    fn value(&mut self, _: &[u8], _: &[u8], _: &[Transformation], _: bool) {}

    fn end(&mut self, _: u64, _: usize, _: bool) {}
}

/// `RULES`, and for every variable and every transformation two rules.
fn text() -> String {
    let mut text = RULES.to_owned();
    let steps = Transformation::ALL;
    // Rules that name the last one are refused.
    let variables: Vec<Variable> =
        Variable::ALL.iter().copied().filter(|variable| *variable != Variable::WebserverErrorLog).collect();
    for number in 0..2 * steps.len().max(variables.len()) {
        let variable = variables[number % variables.len()];
        let target = match variable {
            Variable::Rule => "RULE:id".to_owned(),
            Variable::Xml => "XML:/*".to_owned(),
            _ => format!("{}|ARGS|REQUEST_HEADERS", variable.name()),
        };
        let (operator, phase) = (OPERATORS[number % OPERATORS.len()], 1 + number % 5);
        let (first, second) = (steps[number % steps.len()].name(), steps[number * 7 % steps.len()].name());
        let id = 100 + number;
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "SecRule {target} \"{operator}\" \"id:{id},phase:{phase},pass,log,capture,t:none,t:{first},t:{second},\
             msg:'%{{tx.0}}'\""
        );
    }
    // Many texts with one that matches among them: what they have together must not hide it.
    for (number, operator) in OPERATORS.iter().enumerate() {
        for (place, steps) in ["t:none", "t:urlDecodeUni,t:lowercase"].iter().enumerate() {
            let id = 1_000 + 2 * number + place;
            let _ = writeln!(
                text,
                "SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES|REQUEST_HEADERS:Content-Type \"{operator}\" \
                 \"id:{id},phase:2,pass,log,{steps},msg:'%{{MATCHED_VAR_NAME}}'\""
            );
        }
    }
    text
}

fn set() -> Arc<Ruleset> {
    static SET: OnceLock<Arc<Ruleset>> = OnceLock::new();
    let make = || {
        let configuration = read_text("fuzz.conf", &text(), &NoFiles);
        let configuration = configuration.unwrap_or_else(|errors| panic!("rules of this file: {errors}"));
        let set = Ruleset::compile(&configuration);
        Arc::new(set.unwrap_or_else(|errors| panic!("rules of this file: {errors}")))
    };
    SET.get_or_init(make).clone()
}

/// A request, cut from bytes: a kind, then lines of target, type, cookie, response; then the body.
struct Cut<'a> {
    method: &'a [u8],
    content_type: &'a [u8],
    target: &'a [u8],
    cookie: &'a [u8],
    response: &'a [u8],
    body: &'a [u8],
}

impl<'a> Cut<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let (kind, mut rest) = bytes.split_first().map_or((0, bytes), |(kind, rest)| (*kind, rest));
        let mut line = || {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let found = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            found
        };
        let (target, cookie, response) = (line(), line(), line());
        let types: [&[u8]; 6] = [
            b"application/x-www-form-urlencoded",
            b"multipart/form-data; boundary=b",
            b"application/json",
            b"text/xml",
            b"text/plain",
            response,
        ];
        Self {
            method: if kind & 0x80 == 0 { b"POST" } else { b"GET" },
            content_type: types[usize::from(kind & 0x7f) % types.len()],
            target,
            cookie,
            response,
            body: rest,
        }
    }

    fn run(&self, evaluator: &mut Evaluator, tx: &mut Transaction) {
        let connection = Connection {
            client: [192, 0, 2, 9].into(),
            client_port: 40_000,
            server: [198, 51, 100, 1].into(),
            server_port: 443,
        };
        evaluator.begin(tx, None, &connection, b"id", 1_700_000_000, 10);
        let fields: [(&[u8], &[u8]); 3] =
            [(b"Host", b"h.example"), (b"Content-Type", self.content_type), (b"Cookie", self.cookie)];
        let head = RequestHead { method: self.method, target: self.target, protocol: b"HTTP/1.1" };
        let response = ResponseHead { status: 200, protocol: b"HTTP/1.1" };
        let response_fields: [(&[u8], &[u8]); 2] = [(b"Content-Type", b"text/html"), (b"X-A", self.response)];
        let is_refused = evaluator.request_head(tx, &head, fields.into_iter()).is_some()
            || evaluator.request_body(tx, self.body, self.body.len() % 7 != 3).is_some()
            || evaluator.response_head(tx, &response, response_fields.into_iter()).is_some()
            || evaluator.response_body(tx, self.response, true).is_some();
        assert_eq!(is_refused, tx.interruption().is_some());
        evaluator.finish(tx, 20);
    }
}

/// What came of a transaction, as people see it.
fn told(tx: &Transaction, set: &Ruleset) -> Vec<String> {
    let matches = tx.matches(set);
    let mut told: Vec<String> = matches
        .map(|found| {
            let [message, data, name, value] = [found.message, found.data, found.name, found.value]
                .map(|text| text.escape_ascii().to_string());
            format!("{} {message}|{data}|{name}|{value}", found.id)
        })
        .collect();
    told.push(format!("{:?} {:?} {}", tx.interruption(), tx.detected(), tx.matches_count()));
    told
}

/// Judges a request in four ways.
pub fn fuzz(bytes: &[u8]) {
    let cut = Cut::of(bytes);
    let set = set();
    let budget = Budget { data_bytes_max: 4 << 20, matches_max: 4_096, ..Budget::default() };
    let evaluator = || Evaluator::new(set.clone(), Arc::new(Persistent::default()), budget);
    let (mut quick, mut tx) = (evaluator(), Transaction::new());
    cut.run(&mut quick, &mut tx);
    let first = told(&tx, &set);
    let kept = tx.data.values.bytes().len() as u64;
    if !tx.limits().contains(Limit::Work) && !tx.limits().contains(Limit::Data) {
        let (mut thorough, mut seen) = (evaluator(), Transaction::new());
        thorough.observe(Some(Box::new(SeesAll)));
        cut.run(&mut thorough, &mut seen);
        if !seen.limits().contains(Limit::Work) && !seen.limits().contains(Limit::Data) {
            assert_eq!(first, told(&seen, &set), "a rule was answered wrongly beforehand");
        }
    }
    // The same transaction and evaluator once more, with collections as they were at first.
    quick.persistent = Arc::new(Persistent::default());
    cut.run(&mut quick, &mut tx);
    assert_eq!(first, told(&tx, &set), "something of the transaction before was left");
    quick.budget = Budget { work_bytes_max: WORK_BYTES_MAX, matches_max: MATCHES_MAX, ..budget };
    cut.run(&mut quick, &mut tx);
    assert!(tx.matches(&set).count() <= MATCHES_MAX as usize);
    // In each phase at most one rule goes beyond the budget.
    let bound = WORK_BYTES_MAX + 5 * READS_OF_A_RULE_MAX * (kept + 1_024);
    assert!(tx.work_bytes() <= bound, "{} bytes of work, {bound} are the bound", tx.work_bytes());
    if tx.work_bytes() > WORK_BYTES_MAX {
        assert!(tx.limits().contains(Limit::Work), "a bound was passed in silence");
    }
}
