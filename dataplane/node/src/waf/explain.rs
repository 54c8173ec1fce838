//! Rules on the command line: whether files are right, and which rules a request matches.
//!
//! Owns: the texts of `secbeat-node waf check` and `waf explain`. Does not own: rules, or their evaluation.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use secbeat_http::h1::parse::{self, Parsed, Progress};
use secbeat_http::head::Request;
use secbeat_http::limits::Limits;
use secbeat_waf::transaction::{Connection, Evaluator, Observer, RequestHead, Transaction};
use secbeat_waf::transform::Transformation;

use super::Waf;

/// Longest value that is shown, bytes.
const SHOWN_BYTES_MAX: usize = 200;
/// Most values shown of one rule.
const VALUES_MAX: usize = 16;

/// What a rule set holds, in a line or two, and what has no effect.
pub fn summary(waf: &Waf) -> String {
    let set = &waf.ruleset;
    let mut phases = [0_usize; 5];
    for rule in set.rules() {
        phases[rule.phase as usize - 1] += 1;
    }
    let [one, two, three, four, five] = phases;
    let mut out = format!(
        "ok: {} rules (phases 1 to 5: {one}, {two}, {three}, {four}, {five}), {} of them JSON, {} bytes\n",
        set.rules_len(),
        waf.json.len(),
        set.bytes()
    );
    for note in &waf.notes {
        let _ = writeln!(out, "without effect: {note}");
    }
    out
}

/// A value that matched.
struct Value {
    name: String,
    text: String,
    steps: Vec<Transformation>,
}

/// What was seen of a rule that is asked.
#[derive(Default)]
struct Asked {
    values: Vec<Value>,
}

/// A rule that matched, link by link.
struct Found {
    rule: u64,
    link: usize,
    values: Vec<Value>,
}

#[derive(Default)]
struct Seen {
    now: Asked,
    since: Option<Instant>,
    found: Vec<Found>,
    times: std::collections::HashMap<u64, (Duration, u32)>,
}

/// Notes matches and times.
struct Notes(Arc<Mutex<Seen>>);

impl Observer for Notes {
    fn begin(&mut self, _rule: u64, _link: usize) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.now = Asked::default();
        seen.since = Some(Instant::now());
    }

    fn value(&mut self, name: &[u8], value: &[u8], transformations: &[Transformation], is_match: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_match && seen.now.values.len() < VALUES_MAX {
            let text = value.get(..SHOWN_BYTES_MAX).unwrap_or(value).escape_ascii().to_string();
            let name = name.escape_ascii().to_string();
            seen.now.values.push(Value { name, text, steps: transformations.to_vec() });
        }
    }

    fn end(&mut self, rule: u64, link: usize, is_match: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let time = seen.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let sum = seen.times.entry(rule).or_default();
        *sum = (sum.0 + time, sum.1 + 1);
        if is_match {
            let values = core::mem::take(&mut seen.now.values);
            seen.found.push(Found { rule, link, values });
        }
    }
}

/// Which rules a raw HTTP/1 request matches, and why.
///
/// # Errors
/// When it is no request.
pub fn request(waf: &Waf, raw: &[u8]) -> Result<String, String> {
    let mut head = Request::new();
    let parsed = parse::request(raw, &mut Progress::default(), &Limits::default(), &mut head);
    let len = match parsed {
        Ok(Parsed::Head(parsed)) => parsed.len,
        Ok(Parsed::Incomplete) => {
            return Err("the head does not end: an empty line must follow it".to_owned());
        }
        Err(error) => return Err(format!("not a request: {error}")),
    };
    let body = raw.get(len..).unwrap_or_default();
    let mut evaluator =
        Evaluator::new(Arc::clone(&waf.ruleset), Arc::clone(&waf.lasting.persistent), waf.budget);
    let seen = Arc::new(Mutex::new(Seen::default()));
    evaluator.observe(Some(Box::new(Notes(Arc::clone(&seen)))));
    let mut tx = Transaction::new();
    let local = core::net::Ipv4Addr::LOCALHOST.into();
    let connection = Connection { client: local, client_port: 0, server: local, server_port: 80 };
    let site = waf.site(head.host(), head.path(), None).ok().flatten().cloned();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let start = Instant::now();
    evaluator.begin(&mut tx, site, &connection, b"explain", now.as_secs(), 0);
    let line = RequestHead { method: head.method_bytes(), target: head.target(), protocol: b"HTTP/1.1" };
    let fields = head.fields().iter().map(|field| (field.name, field.value));
    if evaluator.request_head(&mut tx, &line, fields).is_none() {
        evaluator.request_body(&mut tx, body, true);
    }
    evaluator.finish(&mut tx, u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    let time = start.elapsed();
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(text(waf, &tx, &seen, time))
}

fn text(waf: &Waf, tx: &Transaction, seen: &Seen, time: Duration) -> String {
    let mut out = String::new();
    // Writing to memory does not fail.
    for found in tx.matches(&waf.ruleset) {
        let (time, times) = seen.times.get(&found.id).copied().unwrap_or_default();
        let _ = writeln!(
            out,
            "{} {}",
            found.label.map_or_else(|| found.id.to_string(), str::to_owned),
            shown(found.message)
        );
        let _ = writeln!(
            out,
            "    phase {}, severity {}, {}:{}, asked {times} times in {time:.1?}",
            found.phase as u8,
            found.severity.map_or_else(|| "none".to_owned(), |severity| severity.to_string()),
            found.file,
            found.line,
        );
        for asked in seen.found.iter().filter(|asked| asked.rule == found.id) {
            for value in &asked.values {
                let steps: Vec<String> = value.steps.iter().map(|step| format!("{step:?}")).collect();
                let link = if asked.link > 0 { format!(" (link {})", asked.link) } else { String::new() };
                let _ = writeln!(out, "    {}{link} [{}]: {}", value.name, steps.join(" > "), value.text);
            }
        }
    }
    for name in ["blocking_inbound_anomaly_score", "detection_inbound_anomaly_score", "anomaly_score"] {
        if let Some(score) = tx.tx_number(&waf.ruleset, name) {
            let _ = writeln!(out, "{name}: {score}");
        }
    }
    let verdict = match (tx.interruption(), tx.detected()) {
        (Some(found), _) => format!("{:?} with status {} by rule {}", found.kind, found.status, found.id),
        (None, Some(found)) => format!("passes; rule {} would refuse it with {}", found.id, found.status),
        (None, None) => "passes".to_owned(),
    };
    let _ = writeln!(out, "verdict: {verdict}");
    let _ = writeln!(out, "{} bytes read by rules in {time:.1?}, with watching", tx.work_bytes());
    out
}

fn shown(bytes: &[u8]) -> String {
    bytes.get(..SHOWN_BYTES_MAX).unwrap_or(bytes).escape_ascii().to_string()
}
