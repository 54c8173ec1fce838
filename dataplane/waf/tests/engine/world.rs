//! Requests and rules in a line each, for tests that say what must come of them.
use std::sync::Arc;

use secbeat_waf::ruleset::{Ruleset, Site};
use secbeat_waf::seclang::ast::{Action, Configuration, Directive};
use secbeat_waf::seclang::{Files, read_text};
use secbeat_waf::transaction::{
    Budget, Connection, Evaluator, Interruption, Observer, Persistent, RequestHead, ResponseHead, Transaction,
};
use secbeat_waf::transform::Transformation;

/// No file is there.
pub(crate) struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("{path} is not there"))
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.to_owned()])
    }
}

/// A request and its response.
#[derive(Clone, Copy)]
pub(crate) struct Exchange<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    pub(crate) status: u16,
    pub(crate) response_fields: &'a [(&'a str, &'a str)],
    pub(crate) response_body: &'a [u8],
    pub(crate) time_unix_s: u64,
}

pub(crate) const FORM: &[(&str, &str)] =
    &[("Host", "shop.example"), ("Content-Type", "application/x-www-form-urlencoded")];

/// A request for this target.
pub(crate) const fn get(target: &str) -> Exchange<'_> {
    Exchange {
        method: "GET",
        target,
        fields: &[("Host", "shop.example")],
        body: b"",
        status: 200,
        response_fields: &[("Content-Type", "text/html; charset=utf-8")],
        response_body: b"<p>ordinary</p>",
        time_unix_s: 1_700_000_000,
    }
}

/// A form.
pub(crate) const fn post(body: &str) -> Exchange<'_> {
    Exchange { method: "POST", fields: FORM, body: body.as_bytes(), ..get("/form") }
}

/// One worker with its rules.
pub(crate) struct World {
    pub(crate) set: Arc<Ruleset>,
    pub(crate) evaluator: Evaluator,
    pub(crate) tx: Transaction,
    pub(crate) site: Option<Arc<Site>>,
}

/// Rules after `SecRuleEngine On` and access to both bodies.
pub(crate) fn world(rules: &str) -> World {
    world_with(rules, Budget::default(), Arc::new(Persistent::default()))
}

pub(crate) fn world_with(rules: &str, budget: Budget, persistent: Arc<Persistent>) -> World {
    world_of(&read_rules(rules), budget, persistent)
}

/// The same, whose rules that pass take out what they match: only rules of a JSON set can say so.
pub(crate) fn world_that_cleans(rules: &str) -> World {
    let mut configuration = read_rules(rules);
    for directive in &mut configuration.directives {
        if let Directive::Rule(rule) = directive {
            rule.actions.retain(|action| *action != Action::Pass);
            rule.actions.push(Action::Sanitize);
        }
    }
    world_of(&configuration, Budget::default(), Arc::new(Persistent::default()))
}

fn read_rules(rules: &str) -> Configuration {
    let text = format!("SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n{rules}");
    read_text("test.conf", &text, &NoFiles).unwrap_or_else(|errors| panic!("{errors}"))
}

fn world_of(configuration: &Configuration, budget: Budget, persistent: Arc<Persistent>) -> World {
    let set = Arc::new(Ruleset::compile(configuration).unwrap_or_else(|errors| panic!("{errors}")));
    World {
        evaluator: Evaluator::new(set.clone(), persistent, budget),
        set,
        tx: Transaction::new(),
        site: None,
    }
}

/// Fields as an evaluator takes them.
pub(crate) fn fields<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

pub(crate) fn begin(
    evaluator: &mut Evaluator,
    tx: &mut Transaction,
    site: Option<Arc<Site>>,
    time_unix_s: u64,
) {
    let connection = Connection {
        client: [192, 0, 2, 7].into(),
        client_port: 40_000,
        server: [198, 51, 100, 1].into(),
        server_port: 443,
    };
    evaluator.begin(tx, site, &connection, b"id-1", time_unix_s, 5_000);
}

impl World {
    /// The site that these directives make.
    pub(crate) fn with_site(mut self, rules: &str) -> Self {
        let configuration =
            read_text("site.conf", rules, &NoFiles).unwrap_or_else(|errors| panic!("{errors}"));
        self.site = Some(Arc::new(Site::compile(&self.set, &configuration).unwrap()));
        self
    }

    /// Carries an exchange out, to the end or to the first interruption, and then the last phase.
    pub(crate) fn run(&mut self, exchange: &Exchange<'_>) -> Option<Interruption> {
        begin(&mut self.evaluator, &mut self.tx, self.site.clone(), exchange.time_unix_s);
        let found = self.phases(exchange);
        self.evaluator.finish(&mut self.tx, 8_000);
        found
    }

    fn phases(&mut self, exchange: &Exchange<'_>) -> Option<Interruption> {
        let (evaluator, tx) = (&mut self.evaluator, &mut self.tx);
        if let Some(found) = head(evaluator, tx, exchange) {
            return Some(found);
        }
        if let Some(found) = body(evaluator, tx, exchange.body) {
            return Some(found);
        }
        let response = ResponseHead { status: exchange.status, protocol: b"HTTP/1.1" };
        if let Some(found) = evaluator.response_head(tx, &response, fields(exchange.response_fields)) {
            return Some(found);
        }
        match evaluator.wants_response_body(tx) {
            None => evaluator.response_body(tx, b"", true),
            Some(max) => {
                let (bytes, is_whole) = cut(exchange.response_body, max);
                evaluator.response_body(tx, bytes, is_whole)
            }
        }
    }

    /// The numbers of the rules that matched, in order.
    pub(crate) fn matched(&self) -> Vec<u64> {
        self.tx.matches(&self.set).map(|found| found.id).collect()
    }

    /// The numbers of the rules that match this.
    pub(crate) fn matches_of(&mut self, exchange: &Exchange<'_>) -> Vec<u64> {
        self.run(exchange);
        self.matched()
    }

    /// `message|data|name|value` of every match.
    pub(crate) fn told(&self) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let matches = self.tx.matches(&self.set);
        matches
            .map(|found| {
                format!(
                    "{}|{}|{}|{}",
                    text(found.message),
                    text(found.data),
                    text(found.name),
                    text(found.value)
                )
            })
            .collect()
    }

    /// The messages of all matches.
    pub(crate) fn messages_of(&mut self, exchange: &Exchange<'_>) -> Vec<String> {
        self.run(exchange);
        self.tx.matches(&self.set).map(|found| String::from_utf8_lossy(found.message).into_owned()).collect()
    }
}

fn cut(bytes: &[u8], max: u64) -> (&[u8], bool) {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if bytes.len() > max { (&bytes[..max], false) } else { (bytes, true) }
}

pub(crate) fn head(
    evaluator: &mut Evaluator,
    tx: &mut Transaction,
    exchange: &Exchange<'_>,
) -> Option<Interruption> {
    let head = RequestHead {
        method: exchange.method.as_bytes(),
        target: exchange.target.as_bytes(),
        protocol: b"HTTP/1.1",
    };
    evaluator.request_head(tx, &head, fields(exchange.fields))
}

pub(crate) fn body(evaluator: &mut Evaluator, tx: &mut Transaction, bytes: &[u8]) -> Option<Interruption> {
    match evaluator.wants_request_body(tx) {
        None => evaluator.request_body(tx, b"", true),
        Some(max) => {
            let (bytes, is_whole) = cut(bytes, max);
            evaluator.request_body(tx, bytes, is_whole)
        }
    }
}

/// Sees every value and does nothing: with it, no rule is answered beforehand.
pub(crate) struct SeesAll;

impl Observer for SeesAll {
    fn wants_all(&self) -> bool {
        true
    }

    fn begin(&mut self, _rule: u64, _link: usize) {}

    fn value(&mut self, _name: &[u8], _value: &[u8], _transformations: &[Transformation], _is_match: bool) {}

    fn end(&mut self, _rule: u64, _link: usize, _is_match: bool) {}
}
