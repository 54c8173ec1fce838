//! Records of the audit log.
//!
//! Owns: their two forms. Does not own: which transactions get one (rules and `[waf] audit_all`), the way to the file
//! (`access_log`). Values that rules hide are written as `****`.
//! Cost: some kilobytes written per record, on the worker; a record is bounded by the bounds of heads and matches.
//!
//! ```json
//! {"time":"2026-01-02T03:04:05.678Z","id":"..","client":"192.0.2.1","client_port":1,"server":"..","server_port":443,
//!  "engine":"on","request":{"method":"GET","uri":"/a","protocol":"HTTP/1.1","headers":{"Host":"a"},"body":".."},
//!  "response":{"status":403,"headers":{..}},"matches":[{"id":942100,"msg":"..","data":"..","severity":2,"phase":2,
//!  "tags":[".."],"name":"ARGS:a","value":"..","file":"..","line":1}],"inbound_score":5,"outbound_score":0,
//!  "interruption":{"id":949110,"action":"deny","status":403},"limits":["work"]}
//! ```

use std::io::Write;

use secbeat_config::node::AuditFormat;
use secbeat_waf::seclang::ast::EngineMode;
use secbeat_waf::transaction::{InterruptionKind, Limit, MatchView, Transaction};
use secbeat_waf::variable::Variable;

use super::super::pages::escape_json;
use super::rules::End;
use crate::waf::{Audit, Waf};

/// Longest text in a record, bytes.
const TEXT_BYTES_MAX: usize = 4_096;
/// Longest body in a record, bytes: more is no use to people.
const BODY_BYTES_MAX: usize = 64 << 10;
/// What stands in place of a hidden value.
const HIDDEN: &[u8] = b"****";
/// Variables of the Core Rule Set that hold scores: those of 4, then those of 3.
const INBOUND: [&str; 2] = ["blocking_inbound_anomaly_score", "anomaly_score"];
const OUTBOUND: [&str; 2] = ["blocking_outbound_anomaly_score", "outbound_anomaly_score"];

/// What a record is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) waf: &'a Waf,
    pub(super) tx: &'a Transaction,
    pub(super) end: &'a End<'a>,
    pub(super) protocol: &'static str,
}

impl Record<'_> {
    fn score(&self, names: [&str; 2]) -> Option<i64> {
        names.into_iter().find_map(|name| self.tx.tx_number(&self.waf.ruleset, name))
    }

    fn shown<'v>(&self, variable: Variable, name: &[u8], value: &'v [u8]) -> &'v [u8] {
        if self.tx.is_masked(variable, name, value) { HIDDEN } else { cut(value, TEXT_BYTES_MAX) }
    }

    /// The matches that want to be written.
    fn matches(&self) -> impl Iterator<Item = MatchView<'_>> {
        self.tx.matches(&self.waf.ruleset).filter(|found| found.is_logged || found.is_audited)
    }

    /// Where a match was, taken apart: the variable and the member.
    fn place<'m>(found: &MatchView<'m>) -> (Option<Variable>, &'m [u8]) {
        let colon = found.name.iter().position(|byte| *byte == b':').unwrap_or(found.name.len());
        let variable = found.name.get(..colon).unwrap_or_default();
        let known = Variable::ALL.iter().find(|known| known.name().as_bytes() == variable).copied();
        (known, found.name.get(colon + 1..).unwrap_or_default())
    }

    /// The value of a match, and its log data, which usually repeats it.
    fn found<'m>(&self, found: &MatchView<'m>) -> (&'m [u8], &'m [u8]) {
        let (variable, member) = Self::place(found);
        let is_hidden = variable.is_some_and(|variable| self.tx.is_masked(variable, member, found.value));
        if is_hidden {
            (HIDDEN, HIDDEN)
        } else {
            (cut(found.value, TEXT_BYTES_MAX), cut(found.data, TEXT_BYTES_MAX))
        }
    }
}

/// Writes a record without a line end.
pub(super) fn write(out: &mut Vec<u8>, audit: &Audit, record: &Record<'_>) {
    match audit.format {
        AuditFormat::Json => json(out, audit, record),
        AuditFormat::Native => native(out, audit, record),
    }
}

fn cut(bytes: &[u8], max: usize) -> &[u8] {
    bytes.get(..max).unwrap_or(bytes)
}

fn json(out: &mut Vec<u8>, audit: &Audit, record: &Record<'_>) {
    let Record { tx, end, .. } = record;
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(end.time);
    // Writing to memory does not fail.
    let _ = write!(out, ".{:03}Z\"", end.now.as_millis() % 1_000);
    text(out, ",\"id\":", end.id);
    let port = if end.client == end.peer.ip() { end.peer.port() } else { 0 };
    let _ = write!(out, ",\"client\":\"{}\",\"client_port\":{port}", end.client);
    let _ = write!(out, ",\"server\":\"{}\",\"server_port\":{}", end.server.ip(), end.server.port());
    let engine = match tx.engine() {
        EngineMode::On => "on",
        EngineMode::Off => "off",
        EngineMode::DetectionOnly => "detection_only",
    };
    let _ = write!(out, ",\"engine\":\"{engine}\",\"request\":{{");
    text(out, "\"method\":", tx.text(Variable::RequestMethod));
    text(out, ",\"uri\":", cut(tx.text(Variable::RequestUriRaw), TEXT_BYTES_MAX));
    text(out, ",\"protocol\":", tx.text(Variable::RequestProtocol));
    if audit.parts.contains('B') {
        fields(out, record, Variable::RequestHeaders, tx.request_fields());
    }
    if audit.parts.contains('C') && !tx.request_body().is_empty() {
        text(out, ",\"body\":", cut(tx.request_body(), BODY_BYTES_MAX));
    }
    let _ = write!(out, "}},\"response\":{{\"status\":{}", end.status);
    if audit.parts.contains('F') {
        fields(out, record, Variable::ResponseHeaders, tx.response_fields());
    }
    out.push(b'}');
    if audit.parts.contains('H') {
        matches(out, record);
    }
    for (name, score) in
        [("inbound_score", record.score(INBOUND)), ("outbound_score", record.score(OUTBOUND))]
    {
        if let Some(score) = score {
            let _ = write!(out, ",\"{name}\":{score}");
        }
    }
    interruption(out, tx);
    out.push(b'}');
}

fn matches(out: &mut Vec<u8>, record: &Record<'_>) {
    out.extend_from_slice(b",\"matches\":[");
    for (index, found) in record.matches().enumerate() {
        let _ = write!(out, "{}{{\"id\":{}", if index > 0 { "," } else { "" }, found.id);
        if let Some(label) = found.label {
            text(out, ",\"rule\":", label.as_bytes());
        }
        let (value, data) = record.found(&found);
        text(out, ",\"msg\":", cut(found.message, TEXT_BYTES_MAX));
        text(out, ",\"data\":", data);
        if let Some(severity) = found.severity {
            let _ = write!(out, ",\"severity\":{severity}");
        }
        let _ = write!(out, ",\"phase\":{},\"tags\":[", found.phase as u8);
        for (index, tag) in record.waf.ruleset.tags(found.id).enumerate() {
            text(out, if index > 0 { "," } else { "" }, tag.as_bytes());
        }
        out.push(b']');
        text(out, ",\"name\":", cut(found.name, TEXT_BYTES_MAX));
        text(out, ",\"value\":", value);
        text(out, ",\"file\":", found.file.as_bytes());
        let _ = write!(out, ",\"line\":{}}}", found.line);
    }
    out.push(b']');
}

fn interruption(out: &mut Vec<u8>, tx: &Transaction) {
    for (name, interruption) in [("interruption", tx.interruption()), ("detected", tx.detected())] {
        let Some(interruption) = interruption else { continue };
        let action = action(interruption.kind);
        let _ = write!(out, ",\"{name}\":{{\"id\":{},\"action\":\"{action}\"", interruption.id);
        let _ = write!(out, ",\"status\":{}", interruption.status);
        if let Some(limit) = interruption.limit {
            let _ = write!(out, ",\"limit\":\"{}\"", limit.name());
        }
        out.push(b'}');
    }
    let mut limits = Limit::ALL.into_iter().filter(|limit| tx.limits().contains(*limit)).peekable();
    if limits.peek().is_some() {
        out.extend_from_slice(b",\"limits\":[");
        for (index, limit) in limits.enumerate() {
            let _ = write!(out, "{}\"{}\"", if index > 0 { "," } else { "" }, limit.name());
        }
        out.push(b']');
    }
}

const fn action(kind: InterruptionKind) -> &'static str {
    match kind {
        InterruptionKind::Deny => "deny",
        InterruptionKind::Drop => "drop",
        InterruptionKind::Redirect => "redirect",
        InterruptionKind::Challenge => "challenge",
    }
}

/// Fields as an object; one that came more than once has a list.
fn fields<'f>(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    variable: Variable,
    all: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
) {
    out.extend_from_slice(b",\"headers\":{");
    let mut is_first = true;
    for (index, (name, _)) in all.clone().enumerate() {
        let is_same = |(other, _): &(&[u8], &[u8])| other.eq_ignore_ascii_case(name);
        if all.clone().take(index).any(|field| is_same(&field)) {
            continue;
        }
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        text(out, "", cut(name, TEXT_BYTES_MAX));
        out.push(b':');
        let mut values = all.clone().filter(is_same).map(|(_, value)| record.shown(variable, name, value));
        let first = values.next().unwrap_or_default();
        match values.next() {
            None => text(out, "", first),
            Some(second) => {
                text(out, "[", first);
                text(out, ",", second);
                for value in values {
                    text(out, ",", value);
                }
                out.push(b']');
            }
        }
    }
    out.push(b'}');
}

fn text(out: &mut Vec<u8>, before: &str, bytes: &[u8]) {
    out.extend_from_slice(before.as_bytes());
    out.push(b'"');
    escape_json(out, bytes);
    out.push(b'"');
}

/// ModSecurity's own form: parts with a boundary that no part can hold, since line ends are written as spaces.
fn native(out: &mut Vec<u8>, audit: &Audit, record: &Record<'_>) {
    let Record { waf, tx, end, protocol } = record;
    let part = |out: &mut Vec<u8>, letter: char| {
        out.extend_from_slice(b"--");
        out.extend_from_slice(end.id);
        let _ = writeln!(out, "-{letter}--");
    };
    part(out, 'A');
    out.push(b'[');
    out.extend_from_slice(end.time);
    let _ = write!(out, ".{:03}Z] ", end.now.as_millis() % 1_000);
    out.extend_from_slice(end.id);
    let port = if end.client == end.peer.ip() { end.peer.port() } else { 0 };
    let _ = writeln!(out, " {} {port} {} {}\n", end.client, end.server.ip(), end.server.port());
    if audit.parts.contains('B') {
        part(out, 'B');
        line(out, cut(tx.text(Variable::RequestLine), TEXT_BYTES_MAX));
        native_fields(out, record, Variable::RequestHeaders, tx.request_fields());
    }
    if audit.parts.contains('C') && !tx.request_body().is_empty() {
        part(out, 'C');
        line(out, cut(tx.request_body(), BODY_BYTES_MAX));
        out.push(b'\n');
    }
    if audit.parts.contains('F') {
        part(out, 'F');
        let _ = writeln!(out, "{protocol} {}", end.status);
        native_fields(out, record, Variable::ResponseHeaders, tx.response_fields());
    }
    if audit.parts.contains('H') {
        part(out, 'H');
        for found in record.matches() {
            let (_, data) = record.found(&found);
            let mut message = Vec::new();
            let _ = write!(message, "Message: [file \"{}\"] [line \"{}\"]", found.file, found.line);
            let _ = write!(message, " [id \"{}\"] [msg \"", found.id);
            message.extend_from_slice(cut(found.message, TEXT_BYTES_MAX));
            message.extend_from_slice(b"\"] [data \"");
            message.extend_from_slice(data);
            let _ = write!(message, "\"] [severity \"{}\"]", found.severity.unwrap_or(u8::MAX));
            for tag in waf.ruleset.tags(found.id) {
                let _ = write!(message, " [tag \"{tag}\"]");
            }
            line(out, &message);
        }
        if let Some(interruption) = tx.interruption() {
            let action = action(interruption.kind);
            let _ = writeln!(
                out,
                "Action: Intercepted (id {}, {action}, status {})",
                interruption.id, end.status
            );
        }
        let _ = writeln!(out, "Engine-Mode: \"{:?}\"\n", tx.engine());
    }
    part(out, 'Z');
}

fn native_fields<'f>(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    variable: Variable,
    all: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) {
    for (name, value) in all {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        line(out, record.shown(variable, name, value));
    }
    out.push(b'\n');
}

/// A line: bytes that would end it, or drive a terminal, become spaces.
fn line(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
    out.push(b'\n');
}
