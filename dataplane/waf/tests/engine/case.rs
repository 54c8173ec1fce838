//! One case of ModSecurity's regression tests, carried out as a node would.
use std::net::IpAddr;
use std::sync::Arc;

use secbeat_waf::ruleset::Ruleset;
use secbeat_waf::seclang::ast::EngineMode;
use secbeat_waf::seclang::read_text;
use secbeat_waf::transaction::{
    Budget, Connection, Evaluator, Interruption, InterruptionKind, Persistent, RequestHead, ResponseHead,
    Transaction,
};
use serde_json::Value;

use crate::disk::Disk;
use crate::log::{Log, PROBE};

/// What came of a case.
pub(crate) struct Run {
    pub(crate) log: String,
    pub(crate) status: u16,
    pub(crate) location: String,
    begun: Vec<u64>,
}

impl Run {
    /// Whether a rule was asked at all.
    pub(crate) fn has_begun(&self, id: u64) -> bool {
        self.begun.contains(&id)
    }
}

/// Carries a case out; why not, when its rules are refused.
pub(crate) fn run(file: &str, case: &Value, files: &Disk) -> Result<Run, String> {
    let rules: Vec<&str> =
        case["rules"].as_array().into_iter().flatten().map(|rule| rule.as_str().unwrap()).collect();
    let text = format!("{}\n{PROBE}", rules.join("\n"));
    let mut configuration = read_text(&format!("{file}.json"), &text, files).map_err(|_| String::new())?;
    // What is not written is On in ModSecurity 3, and Off in its manual and here.
    configuration.settings.request_body_access |= !text.contains("SecRequestBodyAccess");
    configuration.settings.response_body_access |= !text.contains("SecResponseBodyAccess");
    if !configuration.settings.is_engine_set {
        configuration.settings.engine = EngineMode::On;
    }
    let set = match Ruleset::compile(&configuration) {
        Ok(set) => Arc::new(set),
        Err(errors) => return Err(errors.to_string()),
    };
    let mut evaluator = Evaluator::new(set.clone(), Arc::new(Persistent::default()), Budget::default());
    let log = Log::new(&configuration, case["request"]["uri"].as_str().unwrap_or_default());
    evaluator.observe(Some(Box::new(log.clone())));
    let mut tx = Transaction::new();
    begin(&mut evaluator, &mut tx, case);
    // A body beyond a limit is refused by the node, not by a rule.
    let (interruption, limit_status) = match exchange(&mut evaluator, &mut tx, case) {
        Ok(interruption) => (interruption, 200),
        Err(status) => (None, status),
    };
    evaluator.finish(&mut tx, 1_500);
    let (status, location) = match &interruption {
        None => (limit_status, String::new()),
        Some(found) => (found.status, String::from_utf8_lossy(tx.location(found)).into_owned()),
    };
    log.conclude(&tx, &set);
    note_verdict(&log, &tx, interruption.as_ref());
    let (log, begun) = log.taken();
    Ok(Run { log, status, location, begun })
}

fn note_verdict(log: &Log, tx: &Transaction, verdict: Option<&Interruption>) {
    if let Some(verdict) = verdict.copied().or(tx.detected()) {
        let action = match verdict.kind {
            InterruptionKind::Deny => "deny",
            InterruptionKind::Drop => "drop",
            InterruptionKind::Redirect => "redirect",
            InterruptionKind::Challenge => "challenge",
        };
        log.line(&format!("Running action {action}"));
        log.line(&format!("Access denied with code {}", verdict.status));
    }
}

fn begin(evaluator: &mut Evaluator, tx: &mut Transaction, case: &Value) {
    let address = |of: &str| -> IpAddr {
        case[of]["ip"].as_str().and_then(|text| text.parse().ok()).unwrap_or([127, 0, 0, 1].into())
    };
    let port = |of: &str, default: u64| case[of]["port"].as_u64().unwrap_or(default) as u16;
    let connection = Connection {
        client: address("client"),
        client_port: port("client", 40_000),
        server: address("server"),
        server_port: port("server", 80),
    };
    evaluator.begin(tx, None, &connection, b"unique-1", 1_700_000_000, 1_000);
}

/// Members of an object as fields of a head.
fn fields(value: &Value) -> Vec<(&[u8], &[u8])> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.as_bytes(), value.as_str().unwrap_or_default().as_bytes())).collect()
}

/// Every line of these tests ends with LF.
fn body(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        _ => value
            .as_array()
            .into_iter()
            .flatten()
            .map(|line| format!("{}\n", line.as_str().unwrap()))
            .collect(),
    }
}

/// As far as a limit allows, unless a body beyond it does not pass.
fn cut(body: &str, max: u64, passes: bool) -> Result<(&[u8], bool), ()> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if body.len() <= max {
        return Ok((body.as_bytes(), true));
    }
    if passes { Ok((&body.as_bytes()[..max], false)) } else { Err(()) }
}

/// What rules decide, or the status at a limit.
fn exchange(
    evaluator: &mut Evaluator,
    tx: &mut Transaction,
    case: &Value,
) -> Result<Option<Interruption>, u16> {
    let request = &case["request"];
    let version = match &request["http_version"] {
        Value::Number(number) => format!("HTTP/{number}"),
        Value::String(text) => format!("HTTP/{text}"),
        _ => "HTTP/1.1".to_owned(),
    };
    let head = RequestHead {
        method: request["method"].as_str().unwrap_or("GET").as_bytes(),
        target: request["uri"].as_str().unwrap_or("/").as_bytes(),
        protocol: version.as_bytes(),
    };
    if let Some(found) = evaluator.request_head(tx, &head, fields(&request["headers"]).into_iter()) {
        return Ok(Some(found));
    }
    let sent = body(&request["body"]);
    let found = match evaluator.wants_request_body(tx) {
        None => evaluator.request_body(tx, b"", true),
        Some(max) => match cut(&sent, max, evaluator.passes_longer_request(tx)) {
            Ok((bytes, is_whole)) => evaluator.request_body(tx, bytes, is_whole),
            Err(()) => return Err(413),
        },
    };
    if found.is_some() {
        return Ok(found);
    }
    let response = &case["response"];
    let head = ResponseHead {
        status: response["code"].as_u64().unwrap_or(200) as u16,
        protocol: response["protocol"].as_str().unwrap_or("HTTP/1.1").as_bytes(),
    };
    if let Some(found) = evaluator.response_head(tx, &head, fields(&response["headers"]).into_iter()) {
        return Ok(Some(found));
    }
    let sent = body(&response["body"]);
    match evaluator.wants_response_body(tx) {
        None => Ok(evaluator.response_body(tx, b"", true)),
        Some(max) => match cut(&sent, max, evaluator.passes_longer_response(tx)) {
            Ok((bytes, is_whole)) => Ok(evaluator.response_body(tx, bytes, is_whole)),
            Err(()) => Err(502),
        },
    }
}
